//! The video a participant publishes: the VP8 frames of an IVF file in a loop, paced by the file's timestamps. Nothing
//! is encoded; a receiver that asks for a keyframe gets the clip from its last keyframe on. No clock inside: each frame
//! says when it is due.
//!
//! The parser is our own (IVF is a 32-byte header and a 12-byte header per frame): the one in `rtc-media` allocates
//! whatever length a frame header claims, and cannot tell the end of a file from a cut frame.

use std::path::Path;
use std::time::Duration;

use bytes::{Buf, Bytes};

use crate::ClientError;

/// Length of the IVF file header in bytes.
const FILE_HEADER: usize = 32;

/// Length of an IVF frame header in bytes: the frame's length and its timestamp.
const FRAME_HEADER: usize = 12;

/// The longest time a frame may stand still, so that a broken timestamp is refused rather than waited for.
const LONGEST_FRAME: Duration = Duration::from_secs(10);

/// How long a clip of one frame shows it: 30 frames a second.
const LONE_FRAME: Duration = Duration::from_millis(33);

/// The least time between two keyframes that are sent on request: a receiver that asks on every packet must not freeze
/// the picture for the others.
const KEYFRAME_INTERVAL: Duration = Duration::from_millis(200);

/// A parsed IVF file.
#[derive(Debug)]
pub(crate) struct Clip {
    frames: Vec<ClipFrame>,
}

#[derive(Debug)]
struct ClipFrame {
    data: Bytes,
    keyframe: bool,
    /// Until the next frame is due.
    lasts: Duration,
}

impl Clip {
    /// Reads an IVF file of VP8 frames.
    ///
    /// # Errors
    /// When it cannot be read, is no IVF, holds another codec, is cut off, or starts without a keyframe.
    pub(crate) fn open(path: &Path) -> Result<Self, ClientError> {
        let bytes = std::fs::read(path).map_err(|source| ClientError::Read { path: path.to_owned(), source })?;
        Self::parse(bytes.into()).map_err(|reason| ClientError::Ivf { path: path.to_owned(), reason })
    }

    fn parse(mut file: Bytes) -> Result<Self, String> {
        if file.len() < FILE_HEADER || !file.starts_with(b"DKIF") {
            return Err("it is no IVF file: it does not start with a DKIF header of 32 bytes".to_owned());
        }
        let mut header = file.split_to(FILE_HEADER);
        header.advance(4);
        let (version, header_length) = (header.get_u16_le(), header.get_u16_le());
        if version != 0 || usize::from(header_length) != FILE_HEADER {
            return Err(format!(
                "IVF version {version} with a header of {header_length} bytes; expected version 0 and 32 bytes"
            ));
        }
        let codec = header.split_to(4);
        if codec != b"VP80"[..] {
            return Err(format!("its codec is {}; expected VP80", codec.escape_ascii()));
        }
        header.advance(4);
        // The time base is `scale / rate` seconds per tick.
        let (rate, scale) = (header.get_u32_le(), header.get_u32_le());
        if rate == 0 || scale == 0 {
            return Err(format!("its time base is {scale}/{rate} s"));
        }
        let seconds_per_tick = f64::from(scale) / f64::from(rate);

        let mut frames: Vec<(u64, Bytes)> = Vec::new();
        let mut number = 0;
        while !file.is_empty() {
            if file.len() < FRAME_HEADER {
                return Err(format!("frame {number} is cut off: {} of 12 header bytes", file.len()));
            }
            let (length, timestamp) = (file.get_u32_le() as usize, file.get_u64_le());
            if file.len() < length {
                return Err(format!("frame {number} is cut off: {} of {length} bytes", file.len()));
            }
            // Encoders write an empty frame where they dropped one.
            if length > 0 {
                frames.push((timestamp, file.split_to(length)));
            }
            number += 1;
        }
        if frames.is_empty() {
            return Err("it holds no frames".to_owned());
        }

        let mut clip = Vec::with_capacity(frames.len());
        let mut lasts = LONE_FRAME;
        for (number, (timestamp, data)) in frames.iter().enumerate() {
            if let Some((next, _)) = frames.get(number + 1) {
                let ticks = next.checked_sub(*timestamp).filter(|&ticks| ticks > 0);
                lasts = ticks
                    .and_then(|ticks| Duration::try_from_secs_f64(ticks as f64 * seconds_per_tick).ok())
                    .filter(|lasts| !lasts.is_zero() && *lasts <= LONGEST_FRAME)
                    .ok_or_else(|| {
                        format!("timestamps {timestamp} and {next} follow one another; expected up to 10 s between")
                    })?;
            }
            // RFC 6386 section 9.1: the lowest bit of a frame is 0 in a keyframe.
            let keyframe = data.first().is_some_and(|byte| byte & 1 == 0);
            clip.push(ClipFrame { data: data.clone(), keyframe, lasts });
        }
        if !clip.first().is_some_and(|frame| frame.keyframe) {
            return Err("its first frame is no keyframe, so nobody could decode the rest".to_owned());
        }
        Ok(Self { frames: clip })
    }
}

/// A frame to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) data: Bytes,
    /// When it is due, counted from the first one.
    pub(crate) at: Duration,
    pub(crate) keyframe: bool,
}

/// Plays a clip in a loop.
#[derive(Debug)]
pub(crate) struct Camera {
    clip: Clip,
    next: usize,
    due: Duration,
    keyframe_at: Option<Duration>,
}

impl Camera {
    pub(crate) fn new(clip: Clip) -> Self {
        Self { clip, next: 0, due: Duration::ZERO, keyframe_at: None }
    }

    /// The next frame; after the last comes the first again.
    pub(crate) fn next_frame(&mut self) -> Option<Frame> {
        let current = self.clip.frames.get(self.next)?;
        let frame = Frame { data: current.data.clone(), at: self.due, keyframe: current.keyframe };
        self.due += current.lasts;
        self.next = (self.next + 1) % self.clip.frames.len();
        if frame.keyframe {
            self.keyframe_at = Some(frame.at);
        }
        Some(frame)
    }

    /// A receiver needs a keyframe: goes back to the last one, unless one was sent within 200 ms.
    pub(crate) fn request_keyframe(&mut self) {
        let recent = self.keyframe_at.is_some_and(|at| self.due.saturating_sub(at) < KEYFRAME_INTERVAL);
        if !recent {
            self.rewind();
        }
    }

    /// Goes back to the last keyframe, so that what follows can be decoded.
    pub(crate) fn rewind(&mut self) {
        while !self.clip.frames.get(self.next).is_none_or(|frame| frame.keyframe) {
            self.next -= 1;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An IVF file in milliseconds; the first byte of a frame tells keyframes (even) from others (odd).
    fn ivf(frames: &[(u64, &[u8])]) -> Vec<u8> {
        let mut file = b"DKIF\0\0\x20\0VP80".to_vec();
        file.extend([64, 0, 48, 0]);
        file.extend(1000_u32.to_le_bytes());
        file.extend(1_u32.to_le_bytes());
        file.extend((frames.len() as u32).to_le_bytes());
        file.extend([0; 4]);
        for (timestamp, data) in frames {
            file.extend((data.len() as u32).to_le_bytes());
            file.extend(timestamp.to_le_bytes());
            file.extend(*data);
        }
        file
    }

    fn camera(frames: &[(u64, &[u8])]) -> Camera {
        Camera::new(Clip::parse(ivf(frames).into()).unwrap())
    }

    fn refused(file: Vec<u8>) -> String {
        Clip::parse(file.into()).unwrap_err()
    }

    #[test]
    fn frames_are_due_as_the_file_says_and_the_clip_loops() {
        let mut camera = camera(&[(0, &[0, 1]), (100, &[1, 2]), (140, &[1, 3])]);
        let played: Vec<_> = (0..5).map(|_| camera.next_frame().unwrap()).collect();
        let due: Vec<_> = played.iter().map(|frame| frame.at.as_millis()).collect();
        assert_eq!(due, [0, 100, 140, 180, 280], "the last frame lasts as long as the one before it");
        assert_eq!(played[3].data, played[0].data);
        assert_eq!(played.iter().map(|frame| frame.keyframe).collect::<Vec<_>>(), [true, false, false, true, false]);
    }

    #[test]
    fn who_asks_for_a_keyframe_gets_one_but_not_twice_at_once() {
        let mut camera = camera(&[(0, &[0]), (150, &[1]), (300, &[1]), (450, &[1])]);
        for _ in 0..3 {
            camera.next_frame();
        }
        camera.request_keyframe();
        let keyframe = camera.next_frame().unwrap();
        assert!(keyframe.keyframe);
        assert_eq!(keyframe.at.as_millis(), 450, "time goes on although the clip went back");
        camera.request_keyframe();
        assert!(!camera.next_frame().unwrap().keyframe);
    }

    #[test]
    fn a_file_that_is_no_usable_ivf_is_refused_with_the_reason() {
        let good = ivf(&[(0, &[0, 1, 2, 3]), (40, &[1, 2, 3, 4])]);
        let changed = |at: usize, byte: u8| {
            let mut file = good.clone();
            file[at] = byte;
            refused(file)
        };
        assert!(refused(b"RIFF".to_vec()).contains("no IVF"));
        assert!(changed(0, b'X').contains("no IVF"));
        assert!(changed(4, 9).contains("version 9"));
        assert!(changed(10, b'9').contains("VP90; expected VP80"));
        assert!(changed(20, 0).contains("time base"));
        assert!(changed(35, 0xff).contains("frame 0 is cut off: 20 of 4278190084 bytes"));
        assert!(changed(44, 1).contains("no keyframe"));
        assert!(refused(good[..good.len() - 1].to_vec()).contains("frame 1 is cut off: 3 of 4 bytes"));
        assert!(refused(good[..50].to_vec()).contains("frame 1 is cut off: 2 of 12 header bytes"));
        assert!(refused(ivf(&[])).contains("no frames"));
        assert!(refused(ivf(&[(40, &[0]), (40, &[1])])).contains("timestamps 40 and 40"));
        assert!(refused(ivf(&[(0, &[0]), (u64::MAX, &[1])])).contains("timestamps"));
    }

    proptest! {
        #[test]
        fn no_file_makes_the_parser_panic(tail in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut file = ivf(&[]);
            file.extend(tail);
            let _ = Clip::parse(file.into());
        }
    }
}
