//! What has arrived of a take that the caller recorded by themselves: one file beside the takes, which grows at its end only. How far it has come is how long it is, so that an upload goes on
//! after any cut, of its socket or of the process. It is not looked into here, beyond its first bytes; once it is whole it is read as a take: as [WebM](crate::webm_take), or as [MP4](crate::mp4_take), of which the file itself is kept until the draft is.

use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::fs::OpenOptions;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};

use crate::error::RecorderError;
use crate::mp4_take;
use crate::packet::NoteKind;
use crate::poster::Poster;
use crate::webm_take::MAGIC;

/// The ending of the file's name.
pub(crate) const EXTENSION: &str = "upload";

/// The ending of its name once it is whole, and an MP4 file of which a take can be made.
pub(crate) const MP4: &str = "mp4";

/// What an upload has beside its media, in bytes.
const FRAME: u64 = 256 * 1024;

/// The most bytes of a second of voice: 256 kbit/s, twice what browsers record at most.
const VOICE: u64 = 32 * 1024;

/// The most bytes of a second of video: 4 Mbit/s. Browsers record at 2.5 unless told.
const VIDEO: u64 = 512 * 1024;

/// How far an upload has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadState {
    /// Which take of its note it is.
    pub take: u32,
    /// Bytes that have arrived.
    pub offset: u64,
    /// Bytes that it will have, where that is known.
    pub length: Option<u64>,
    /// The most bytes that it may have.
    pub most: u64,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Upload {
    path: PathBuf,
    state: UploadState,
    /// What its caller's browser has drawn of it, for where no poster can be made here. Not on disk: a process that dies meanwhile costs no more than that.
    poster: Option<Poster>,
}

/// Where an upload lies.
pub(crate) fn path(folder: &Path, note: &str, take: u32) -> PathBuf {
    folder.join(format!("{note}.{take}.{EXTENSION}"))
}

/// Where one lies that is whole, and MP4.
pub(crate) fn mp4_path(folder: &Path, note: &str, take: u32) -> PathBuf {
    folder.join(format!("{note}.{take}.{MP4}"))
}

/// The note and the take that a file with this ending is of; `None` where it has another.
pub(crate) fn of_file(path: &Path, extension: &str) -> Option<(String, u32)> {
    let name = path.file_name()?.to_str()?.strip_suffix(extension)?.strip_suffix('.')?;
    let (note, take) = name.rsplit_once('.')?;
    Some((note.to_owned(), take.parse().ok()?))
}

/// The most bytes of a take.
pub(crate) fn most(kind: NoteKind, longest: Duration) -> u64 {
    let second = match kind {
        NoteKind::Voice => VOICE,
        NoteKind::Video => VIDEO,
    };
    FRAME + second * (longest.as_secs() + 1)
}

impl Upload {
    /// Begins with an empty file.
    pub(crate) async fn create(path: PathBuf, take: u32, most: u64) -> Result<Self, RecorderError> {
        let upload = Self { path, state: UploadState { take, offset: 0, length: None, most }, poster: None };
        let made = OpenOptions::new().write(true).create_new(true).open(&upload.path).await;
        made.map(|_| ()).map_err(|source| upload.failed("creating", source))?;
        Ok(upload)
    }

    /// Goes on with a file that is there.
    pub(crate) fn resume(path: PathBuf, take: u32, most: u64) -> io::Result<Self> {
        let offset = path.metadata()?.len();
        Ok(Self { path, state: UploadState { take, offset, length: None, most }, poster: None })
    }

    pub(crate) fn state(&self) -> UploadState {
        self.state
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The last one counts.
    pub(crate) fn set_poster(&mut self, poster: Poster) {
        self.poster = Some(poster);
    }

    pub(crate) fn take_poster(&mut self) -> Option<Poster> {
        self.poster.take()
    }

    /// How long it will be; told once.
    pub(crate) fn set_length(&mut self, length: u64) -> Result<(), RecorderError> {
        if length > self.state.most {
            return Err(RecorderError::TooLarge(self.state.most));
        }
        if length < self.state.offset || self.state.length.is_some_and(|told| told != length) {
            return Err(RecorderError::Offset(self.state.offset));
        }
        self.state.length = Some(length);
        Ok(())
    }

    /// Takes the next bytes.
    pub(crate) async fn append(&mut self, offset: u64, bytes: &[u8]) -> Result<UploadState, RecorderError> {
        let UploadState { offset: here, length, most, .. } = self.state;
        if offset != here {
            return Err(RecorderError::Offset(here));
        }
        let most = length.unwrap_or(most);
        if bytes.len() as u64 > most.saturating_sub(here) {
            return Err(RecorderError::TooLarge(most));
        }
        let webm = bytes.iter().zip(MAGIC).all(|(byte, expected)| *byte == expected);
        if here == 0 && !webm && !mp4_take::begins(bytes) {
            return Err(RecorderError::NotARecording);
        }
        self.write(bytes).await.map_err(|source| self.failed("writing", source))?;
        self.state.offset += bytes.len() as u64;
        Ok(self.state)
    }

    /// What a former attempt wrote and did not finish is written over.
    async fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).open(&self.path).await?;
        file.seek(SeekFrom::Start(self.state.offset)).await?;
        file.write_all(bytes).await?;
        file.flush().await
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.state.length == Some(self.state.offset)
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> RecorderError {
        RecorderError::Spool { doing, path: self.path.clone(), source }
    }
}
