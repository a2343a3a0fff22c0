//! From a take to the file of a note: voice as Ogg/Opus, video as WebM with VP8 and Opus, with waveform, duration and poster. Pure and busy with the
//! processor only (about 30 µs for each 20 ms of sound, for the waveform): call it where blocking is allowed.

use std::time::Duration;

use bytes::Bytes;

use crate::error::RecorderError;
use crate::loudness::Loudness;
use crate::ogg::{self, Voice};
use crate::packet::{NoteKind, TakeEvent};
use crate::poster::{self, Poster};
use crate::timeline::Timeline;
use crate::{trim, webm};

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
    /// The waveform: 0 is silence, 255 full scale, on a scale of decibels.
    pub peaks: Vec<u8>,
    /// Nobody says anything in it.
    pub silent: bool,
    /// The picture of a video note.
    pub poster: Option<Poster>,
}

/// The media type of a voice note.
pub const VOICE_TYPE: &str = "audio/ogg; codecs=opus";

/// The media type of a video note.
pub const VIDEO_TYPE: &str = "video/webm; codecs=\"vp8, opus\"";

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
    Ok(NoteFile {
        content_type,
        bytes: bytes.into(),
        duration: Duration::from_nanos(samples * 1_000_000 / 48),
        peaks,
        silent: silent && cut.video.is_empty(),
        poster: poster::of(cut.video),
    })
}
