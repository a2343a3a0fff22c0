//! A WebM file that a browser's `MediaRecorder` made, as the events of a take: read by EBML's rules (RFC 8794, RFC 9559), as far as it is whole, and trusted in nothing. Only Opus and VP8 are
//! taken; the note's own file is made of them as of any other take. Sizes that are unknown, as in a stream that was cut, are walked through, for which the crate that writes our files has no reader.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use crate::note::TakeReason;
use crate::packet::{Codec, NoteKind, TakeEvent, TakePacket, TrackKind};
use crate::timeline::{AUDIO_CLOCK, frame_samples};

/// What each WebM file begins with: the id of the EBML header.
pub(crate) const MAGIC: [u8; 4] = [0x1A, 0x45, 0xDF, 0xA3];

const SEGMENT: u32 = 0x1853_8067;
const INFO: u32 = 0x1549_A966;
const TIMESTAMP_SCALE: u32 = 0x2A_D7B1;
const TRACKS: u32 = 0x1654_AE6B;
const TRACK_ENTRY: u32 = 0xAE;
const TRACK_NUMBER: u32 = 0xD7;
const TRACK_TYPE: u32 = 0x83;
const CODEC_ID: u32 = 0x86;
const CONTENT_ENCODINGS: u32 = 0x6D80;
const CLUSTER: u32 = 0x1F43_B675;
const TIMESTAMP: u32 = 0xE7;
const BLOCK_GROUP: u32 = 0xA0;
const BLOCK: u32 = 0xA1;
const SIMPLE_BLOCK: u32 = 0xA3;

/// Elements whose content is walked through as if it stood in their place.
const MASTERS: [u32; 6] = [SEGMENT, INFO, TRACKS, TRACK_ENTRY, CLUSTER, BLOCK_GROUP];

/// More tracks than any browser records.
const MOST_TRACKS: usize = 16;

/// A frame is handed on in pieces of at most so many bytes, as packets come.
const PIECE: usize = 16 * 1024;

/// The largest Opus packet that is worth reading: 120 ms at the highest rate (RFC 6716, 3.2.5).
const LARGEST_SOUND: usize = 6 * 1_275 + 16;

/// Sound follows on sound if a timestamp says no other than this much off, in samples: browsers stamp packets by a clock that shivers, and 100 ms of silence is a gap.
const SHIVER: i64 = AUDIO_CLOCK / 10;

/// A track of the file.
#[derive(Debug, Default, Clone)]
struct Track {
    number: u64,
    kind: u64,
    codec: String,
    encoded: bool,
}

/// Reads a file, as long as the longest take at most.
pub(crate) fn read(file: &Bytes, kind: NoteKind, longest: Duration) -> Result<Vec<TakeEvent>, TakeReason> {
    if !file.starts_with(&MAGIC) {
        return Err(TakeReason::Codec);
    }
    let mut reader = Reader { file, at: 0, tracks: Vec::new(), scale: 1_000_000, cluster: 0, take: Take::new(longest) };
    while let Some(()) = reader.element(kind)? {}
    match reader.take.events.is_empty() {
        true => Err(TakeReason::NoMedia),
        false => Ok(reader.take.events),
    }
}

struct Reader<'a> {
    file: &'a Bytes,
    at: usize,
    tracks: Vec<Track>,
    /// Nanoseconds of one unit of a timestamp.
    scale: u64,
    cluster: u64,
    take: Take,
}

impl Reader<'_> {
    /// Reads the next element; `None` at the end of what is whole.
    fn element(&mut self, kind: NoteKind) -> Result<Option<()>, TakeReason> {
        let Some(id) = self.id() else { return Ok(None) };
        let Some(size) = self.size() else { return Ok(None) };
        if MASTERS.contains(&id) {
            if id == TRACK_ENTRY {
                self.tracks.push(Track::default());
                if self.tracks.len() > MOST_TRACKS {
                    return Err(TakeReason::Failed);
                }
            }
            return Ok(Some(()));
        }
        // Only masters are of unknown size.
        let size = size.and_then(|size| usize::try_from(size).ok()).ok_or(TakeReason::Failed)?;
        let Some(end) = self.at.checked_add(size).filter(|end| *end <= self.file.len()) else { return Ok(None) };
        let body = self.file.slice(self.at..end);
        self.at = end;
        let track = self.tracks.last_mut();
        match (id, track) {
            (TIMESTAMP_SCALE, _) => self.scale = number(&body).clamp(1, 1_000_000_000),
            (TIMESTAMP, _) => self.cluster = number(&body),
            (TRACK_NUMBER, Some(track)) => track.number = number(&body),
            (TRACK_TYPE, Some(track)) => track.kind = number(&body),
            (CODEC_ID, Some(track)) => track.codec = String::from_utf8_lossy(&body).trim_end_matches('\0').to_owned(),
            (CONTENT_ENCODINGS, Some(track)) => track.encoded = true,
            (SIMPLE_BLOCK | BLOCK, _) => self.block(&body, kind)?,
            _ => {}
        }
        Ok(Some(()))
    }

    /// The id, with its marker (RFC 8794, 5).
    fn id(&mut self) -> Option<u32> {
        let length = self.file.get(self.at)?.leading_zeros() as usize + 1;
        let bytes = self.file.get(self.at..self.at + length).filter(|_| length <= 4)?;
        self.at += length;
        Some(bytes.iter().fold(0, |id, byte| (id << 8) | u32::from(*byte)))
    }

    /// The size (RFC 8794, 6); `Some(None)` where it is unknown.
    fn size(&mut self) -> Option<Option<u64>> {
        let (size, length) = variable(self.file.get(self.at..)?)?;
        self.at += length;
        Some((size != (1 << (7 * length)) - 1).then_some(size))
    }

    fn block(&mut self, body: &Bytes, wanted: NoteKind) -> Result<(), TakeReason> {
        let Some((number, length)) = variable(body) else { return Ok(()) };
        let Some(&[high, low, flags]) = body.get(length..length + 3) else { return Ok(()) };
        let Some(track) = self.tracks.iter().find(|track| track.number == number) else { return Ok(()) };
        let (kind, codec) = match (track.kind, wanted) {
            (1, NoteKind::Video) => (TrackKind::Video, "V_VP8"),
            (2, _) => (TrackKind::Audio, "A_OPUS"),
            _ => return Ok(()),
        };
        if track.codec != codec || track.encoded {
            return Err(TakeReason::Codec);
        }
        // Several frames in one block: no browser does that.
        if flags & 0b110 != 0 {
            return Err(TakeReason::Failed);
        }
        // Of two microphones the first counts.
        if self.tracks.iter().find(|other| other.kind == track.kind).is_some_and(|first| first.number != number) {
            return Ok(());
        }
        let units = i128::from(self.cluster) + i128::from(i16::from_be_bytes([high, low]));
        let nanos = u64::try_from(units * i128::from(self.scale)).unwrap_or(0);
        self.take.frame(kind, Duration::from_nanos(nanos), body.slice(length + 3..));
        Ok(())
    }
}

/// A number of variable length without its marker, and how many bytes it has; `None` where that is torn.
fn variable(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let length = first.leading_zeros() as usize + 1;
    let bytes = bytes.get(..length).filter(|_| length <= 8)?;
    let value = bytes.iter().fold(0_u64, |value, byte| (value << 8) | u64::from(*byte));
    Some((value & ((1_u64 << (7 * length)) - 1), length))
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |value, byte| (value << 8) | u64::from(*byte))
}

/// Frames on their way to events: as the packets that would have carried them.
struct Take {
    longest: Duration,
    /// When the file begins.
    begin: Option<Duration>,
    /// Where the sound so far ends, in samples.
    sound_end: Option<i64>,
    sequences: [u16; 2],
    events: Vec<TakeEvent>,
}

impl Take {
    fn new(longest: Duration) -> Self {
        Self { longest, begin: None, sound_end: None, sequences: [0; 2], events: Vec::new() }
    }

    fn frame(&mut self, track: TrackKind, time: Duration, data: Bytes) {
        let arrival = time.saturating_sub(*self.begin.get_or_insert(time));
        if arrival > self.longest || data.is_empty() {
            return;
        }
        match track {
            TrackKind::Audio => {
                let Some(samples) = frame_samples(&data).filter(|_| data.len() <= LARGEST_SOUND) else { return };
                let said = i64::try_from(arrival.as_micros()).unwrap_or(0) * AUDIO_CLOCK / 1_000_000;
                let at = self.sound_end.filter(|end| (said - end).abs() < SHIVER).unwrap_or(said);
                self.sound_end = Some(at + samples);
                self.packet(track, arrival, at as u32, true, data);
            }
            TrackKind::Video => {
                let timestamp = (arrival.as_micros() * 90_000 / 1_000_000) as u32;
                let pieces = data.len().div_ceil(PIECE);
                for (index, piece) in data.chunks(PIECE).enumerate() {
                    let mut payload = BytesMut::with_capacity(piece.len() + 1);
                    // The payload descriptor: whether it begins a picture (RFC 7741, 4.2).
                    payload.put_u8(if index == 0 { 0x10 } else { 0 });
                    payload.put_slice(piece);
                    self.packet(track, arrival, timestamp, index + 1 == pieces, payload.freeze());
                }
            }
        }
    }

    fn packet(&mut self, track: TrackKind, arrival: Duration, timestamp: u32, marker: bool, payload: Bytes) {
        let codec = if track == TrackKind::Audio { Codec::Opus } else { Codec::Vp8 };
        let sequence = &mut self.sequences[usize::from(track == TrackKind::Video)];
        *sequence = sequence.wrapping_add(1);
        let sequence = *sequence;
        let packet = TakePacket { track, codec, arrival, sequence, timestamp, marker, level: None, payload };
        self.events.push(TakeEvent::Packet(packet));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::file::{FileOptions, VIDEO_TYPE, VOICE_TYPE, make_file};
    use crate::timeline::{AudioFrame, Timeline, VideoFrame};
    use crate::webm;

    const LONGEST: Duration = Duration::from_secs(60);

    /// A picture that any reader takes for a keyframe of 16 by 16 pixels, of so many bytes.
    fn picture(at: i64, bytes: usize) -> VideoFrame {
        let mut data = vec![0x10, 0, 0, 0x9D, 0x01, 0x2A, 16, 0, 16, 0];
        data.resize(bytes, 7);
        VideoFrame { at, keyframe: Some((16, 16)), data: data.into() }
    }

    fn sound() -> Vec<AudioFrame> {
        let mut encoder = opus::Encoder::new(48_000, opus::Channels::Mono, opus::Application::Voip).unwrap();
        let frame = |index: i64| {
            let pcm: Vec<f32> = (0..960).map(|n| 0.5 * ((index * 960 + n) as f32 * 0.05).sin()).collect();
            AudioFrame { at: index * 960, samples: 960, data: encoder.encode_vec_float(&pcm, 1_275).unwrap().into() }
        };
        (0..100).map(frame).collect()
    }

    /// A file as our own muxer makes one.
    fn file() -> Bytes {
        let video: Vec<_> =
            (0..50).map(|index| picture(index * 1_920, if index == 0 { 40_000 } else { 900 })).collect();
        webm::write(&video, &sound(), 0, 96_000).unwrap().into()
    }

    #[test]
    fn a_file_is_read_as_the_take_that_it_was_made_of() {
        let events = read(&file(), NoteKind::Video, LONGEST).unwrap();
        let take = Timeline::of(&events);
        assert_eq!(take.audio, sound());
        assert_eq!(take.video.len(), 50);
        assert_eq!((take.video[0].data.len(), take.video[49].at), (40_000, 49 * 1_920));
        let made = make_file(NoteKind::Video, &events, &FileOptions::default()).unwrap();
        assert_eq!((made.content_type, made.duration), (VIDEO_TYPE, Duration::from_secs(2)));
        // Of a voice only the sound is taken.
        let made =
            make_file(NoteKind::Voice, &read(&file(), NoteKind::Voice, LONGEST).unwrap(), &FileOptions::default());
        assert_eq!(made.unwrap().content_type, VOICE_TYPE);
    }

    #[test]
    fn timestamps_that_shiver_leave_no_gaps_and_a_pause_leaves_its_own() {
        let mut take = Take::new(LONGEST);
        let frames = sound();
        for (index, frame) in frames.iter().enumerate() {
            let shiver = [0, 7, 13, 3][index % 4];
            let pause = if index < 50 { 0 } else { 400 };
            take.frame(TrackKind::Audio, Duration::from_millis(20 * index as u64 + shiver + pause), frame.data.clone());
        }
        let heard = Timeline::of(&take.events).audio;
        assert!(heard[..50].windows(2).all(|two| two[0].end() == two[1].at));
        assert!((18_000..20_500).contains(&(heard[50].at - heard[49].end())), "{}", heard[50].at - heard[49].end());
    }

    #[test]
    fn what_is_longer_than_a_take_may_be_is_cut_off() {
        let events = read(&file(), NoteKind::Video, Duration::from_secs(1)).unwrap();
        assert!(events.iter().all(|event| event.arrival() <= Duration::from_secs(1)));
        assert!(events.len() > 50);
    }

    #[test]
    fn what_is_no_webm_or_holds_what_notes_do_not_is_refused_with_the_reason() {
        let reason = |bytes: &[u8]| read(&Bytes::copy_from_slice(bytes), NoteKind::Video, LONGEST).unwrap_err();
        assert_eq!(reason(b"\0\0\0\x20ftypmp42"), TakeReason::Codec);
        assert_eq!(reason(&MAGIC), TakeReason::NoMedia);
        let text = |codec: &[u8], other: &[u8]| {
            let file = file();
            let at = file.windows(codec.len()).position(|window| window == codec).unwrap();
            let mut bytes = file.to_vec();
            bytes[at..at + other.len()].copy_from_slice(other);
            bytes
        };
        assert_eq!(reason(&text(b"V_VP8", b"V_VP9")), TakeReason::Codec);
        assert_eq!(reason(&text(b"A_OPUS", b"A_FLAC")), TakeReason::Codec);
    }

    #[test]
    fn a_file_that_is_cut_anywhere_is_read_up_to_the_cut() {
        let (file, mut most) = (file(), 0);
        for length in (0..file.len()).step_by(97) {
            if let Ok(events) = read(&file.slice(..length), NoteKind::Video, LONGEST) {
                assert!(events.len() >= most, "a longer file holds no less");
                most = events.len();
            }
        }
        assert!(most > 140, "{most}");
    }

    proptest! {
        #[test]
        fn bytes_that_are_wrong_are_no_danger(cut in 0..40_000_usize, wrong in prop::collection::vec((0..60_000_usize, any::<u8>()), 1..20)) {
            let mut bytes = file().to_vec();
            for (at, byte) in wrong {
                // The header is where most can go wrong.
                let at = if at % 2 == 0 { at % 400 } else { at % bytes.len() };
                bytes[at] = byte;
            }
            bytes.truncate(bytes.len() - cut);
            if let Ok(events) = read(&bytes.into(), NoteKind::Video, LONGEST) {
                let _ = Timeline::of(&events);
            }
        }

        #[test]
        fn noise_is_no_danger(mut noise in prop::collection::vec(any::<u8>(), 0..2_000)) {
            noise.splice(..0, MAGIC);
            let _ = read(&noise.into(), NoteKind::Video, LONGEST);
        }
    }
}
