//! From a take to the file of a note: voice as Ogg/Opus, video as WebM with VP8 and Opus, what was recorded as MP4 as MP4, with waveform, duration and poster. Pure and busy with the
//! processor only (about 30 µs for each 20 ms of sound, for the waveform): call it where blocking is allowed.

use std::time::Duration;

use bytes::Bytes;

use crate::error::RecorderError;
use crate::loudness::Loudness;
use crate::mp4_take::{self, Mp4Track, Sample};
use crate::ogg::{self, Voice};
use crate::packet::{NoteKind, TakeEvent};
use crate::poster::{self, Poster};
use crate::timeline::{AUDIO_CLOCK, AudioFrame, Timeline, frame_samples};
use crate::{mp4, trim, webm};

/// How a file is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileOptions {
    /// Cut silence off at both ends.
    pub trim_silence: bool,
    /// How many peaks the waveform has, 64 to 256.
    pub peaks: usize,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self { trim_silence: true, peaks: 128 }
    }
}

/// A note's file, and what is shown of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteFile {
    /// Its media type, with codecs.
    pub content_type: &'static str,
    /// The file.
    pub bytes: Bytes,
    /// How long it plays.
    pub duration: Duration,
    /// The waveform: 0 is silence, 255 full scale, on a scale of decibels. Empty where the sound cannot be decoded here.
    pub peaks: Vec<u8>,
    /// Nobody says anything in it.
    pub silent: bool,
    /// Width and height of the picture of a video note, in pixels.
    pub picture: Option<(u16, u16)>,
    /// Its poster, where one can be made without decoding.
    pub poster: Option<Poster>,
}

/// The media type of a voice note.
pub const VOICE_TYPE: &str = "audio/ogg; codecs=opus";

/// The media type of a video note.
pub const VIDEO_TYPE: &str = "video/webm; codecs=\"vp8, opus\"";

/// The media type of a voice note that was recorded as MP4.
pub const MP4_VOICE_TYPE: &str = "audio/mp4";

/// The media type of a video note that was recorded as MP4.
pub const MP4_VIDEO_TYPE: &str = "video/mp4";

/// Makes the file of a take. A video take without a picture becomes a voice file.
///
/// # Errors
/// [`RecorderError::Take`] where there is nothing in it.
pub fn make_file(kind: NoteKind, events: &[TakeEvent], options: &FileOptions) -> Result<NoteFile, RecorderError> {
    let mut take = Timeline::of(events);
    if kind == NoteKind::Voice {
        take.video.clear();
    }
    if take.audio.is_empty() && take.video.is_empty() {
        return Err(RecorderError::Take("nothing arrived that can be kept"));
    }
    let loudness = Loudness::of(&take.audio)?;
    let silent = loudness.is_silent();
    // Somebody may wave without a word: a silent picture is a note, and is kept whole.
    let cut = if options.trim_silence && !silent { trim::silence(&take, &loudness) } else { trim::whole(&take) };
    let origin = take.audio.first().map_or(0, |frame| frame.at);
    let peaks = loudness.peaks(cut.begin - origin, cut.end - origin, options.peaks.clamp(64, 256));
    let (content_type, bytes) = if cut.video.is_empty() {
        let voice = Voice { frames: cut.audio, pre_skip: cut.pre_skip };
        (VOICE_TYPE, ogg::write(voice)?)
    } else {
        (VIDEO_TYPE, webm::write(cut.video, cut.audio, cut.begin, cut.end)?)
    };
    let samples = u64::try_from(cut.end - cut.begin).unwrap_or(0);
    let poster = poster::of(cut.video);
    Ok(NoteFile {
        content_type,
        bytes: bytes.into(),
        duration: Duration::from_nanos(samples * 1_000_000 / 48),
        peaks,
        silent: silent && cut.video.is_empty(),
        picture: poster.as_ref().map(|poster| (poster.width, poster.height)),
        poster,
    })
}

/// Makes the file of a take that was recorded as MP4: its samples in a file of our own. AAC is not decoded, so that there is no waveform of it, nothing is trimmed, and a take of silence
/// is none; nor is H.264, so that its poster is whatever the caller has drawn.
pub(crate) fn make_mp4_file(
    kind: NoteKind,
    recording: &[u8],
    longest: Duration,
    options: &FileOptions,
) -> Result<NoteFile, RecorderError> {
    let take = mp4_take::read(recording, kind, longest).map_err(|error| {
        tracing::info!(%error, "an MP4 file is no take");
        RecorderError::Take("the MP4 file is not whole")
    })?;
    let mut picture = None;
    let mut loudness = None;
    for track in &take.tracks {
        match &track.codec {
            mp4_atom::Codec::Avc1(avc) => picture = Some((avc.visual.width, avc.visual.height)),
            mp4_atom::Codec::Opus(_) => loudness = Some(Loudness::of(&opus_frames(track, recording))?),
            _ => {}
        }
    }
    let samples = i64::try_from(take.duration.as_micros()).unwrap_or(i64::MAX / AUDIO_CLOCK) * AUDIO_CLOCK / 1_000_000;
    let peaks = loudness.as_ref().map(|loudness| loudness.peaks(0, samples, options.peaks.clamp(64, 256)));
    Ok(NoteFile {
        content_type: if picture.is_some() { MP4_VIDEO_TYPE } else { MP4_VOICE_TYPE },
        bytes: mp4::write(&take, recording)?.into(),
        duration: take.duration,
        peaks: peaks.unwrap_or_default(),
        silent: picture.is_none() && loudness.is_some_and(|loudness| loudness.is_silent()),
        picture,
        poster: None,
    })
}

/// Opus packets of an MP4 track.
fn opus_frames(track: &Mp4Track, recording: &[u8]) -> Vec<AudioFrame> {
    let mut end = 0;
    let frame = |sample: &Sample| {
        let data = Bytes::copy_from_slice(&recording[sample.bytes.clone()]);
        let samples = frame_samples(&data)?;
        let at = i64::try_from(track.time(sample.at).as_micros()).ok()? * AUDIO_CLOCK / 1_000_000;
        // Rounded times must not make them overlap.
        let at = at.max(end);
        end = at + samples;
        Some(AudioFrame { at, samples, data })
    };
    track.samples.iter().filter_map(frame).collect()
}
