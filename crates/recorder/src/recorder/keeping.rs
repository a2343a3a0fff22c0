//! From a take on disk to a draft: the file is made, its bytes are kept, and then the row that refers to them. What has no room yet is tried again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::Rng;
use rand::distr::Alphanumeric;

use super::{Inner, millis};
use crate::error::RecorderError;
use crate::file::{self, FileOptions, MP4_VIDEO_TYPE, MP4_VOICE_TYPE, NoteFile, VOICE_TYPE};
use crate::note::TakeReason;
use crate::poster::Poster;
use crate::spool;
use crate::store::{Draft, NoteRow};
use crate::upload;

/// A take shorter than this is a slip of the finger.
const SHORTEST: Duration = Duration::from_millis(400);

/// How long to wait at first until a take that cannot be kept is tried again; twice as long each time.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// The longest of these pauses: the take is given up for now after 8 s in all. The caller waits meanwhile.
pub(super) const LAST_WAIT: Duration = Duration::from_secs(4);

impl Inner {
    pub(super) async fn delete_all(&self, keys: Vec<String>) {
        for key in keys {
            if let Err(error) = self.bytes.delete(&key).await {
                // The sweep tries again.
                tracing::warn!(%error, "bytes of a note stay for now");
            }
        }
    }

    /// Makes the file of a take, and keeps its bytes and then the row that refers to them; where there is no room for it, again and
    /// again, with pauses that grow up to `patience`. `drawn`: its poster, where none can be made of it.
    pub(super) async fn keep_take(
        &self,
        note: &NoteRow,
        path: &Path,
        drawn: Option<Poster>,
        patience: Duration,
    ) -> Result<Draft, TakeReason> {
        let mut file = self.make_file(note, path.to_owned()).await?;
        if file.poster.is_none() && file.picture.is_some() {
            file.poster = drawn;
        }
        let name: String = rand::rng().sample_iter(Alphanumeric).take(12).map(char::from).collect();
        let mut wait = FIRST_WAIT;
        loop {
            match self.keep_draft(note, &name, file.clone()).await {
                Ok(draft) => return Ok(draft),
                Err(error) if wait <= patience => {
                    tracing::warn!(%error, note = note.id, "a take cannot be kept yet");
                    tokio::time::sleep(wait).await;
                    wait *= 2;
                }
                Err(error) => {
                    tracing::error!(%error, note = note.id, "a take cannot be kept");
                    return Err(TakeReason::Disk);
                }
            }
        }
    }

    /// Deletes what is left of a note's takes on disk.
    pub(super) fn forget_takes(&self, note: &str, takes: u32) {
        for take in 1..=takes {
            let spool = &self.spool;
            for path in
                [spool::path(spool, note, take), upload::path(spool, note, take), upload::mp4_path(spool, note, take)]
            {
                if let Err(error) = std::fs::remove_file(&path)
                    && error.kind() != std::io::ErrorKind::NotFound
                {
                    tracing::warn!(%error, path = %path.display(), "a take that is done with stays on disk");
                }
            }
        }
    }

    async fn make_file(&self, note: &NoteRow, path: PathBuf) -> Result<NoteFile, TakeReason> {
        let _permit = self.makers.acquire().await.map_err(|_| TakeReason::Failed)?;
        let (kind, longest) = (note.kind, note.limits.max);
        let made = tokio::task::spawn_blocking(move || {
            if path.extension().is_some_and(|extension| extension == upload::MP4) {
                let recording = std::fs::read(&path);
                let recording = recording.map_err(|source| RecorderError::Spool {
                    doing: "reading",
                    path: path.clone(),
                    source,
                })?;
                return file::make_mp4_file(kind, &recording, longest, &FileOptions::default());
            }
            let (_, events) = spool::read_spool(&path)?;
            file::make_file(kind, &events, &FileOptions::default())
        });
        let file = match made.await {
            Ok(Ok(file)) => file,
            Ok(Err(RecorderError::Take(_))) => return Err(TakeReason::NoMedia),
            Ok(Err(error)) => {
                tracing::error!(%error, note = note.id, "no file can be made of a take");
                return Err(TakeReason::Failed);
            }
            Err(_) => return Err(TakeReason::Failed),
        };
        if file.silent {
            return Err(TakeReason::Silent);
        }
        if file.duration < SHORTEST {
            return Err(TakeReason::TooShort);
        }
        Ok(file)
    }

    async fn keep_draft(&self, note: &NoteRow, name: &str, file: NoteFile) -> Result<Draft, RecorderError> {
        let draft = self.keep_bytes(note, name, file).await?;
        // Where this fails nobody knows whether the row was written, so the bytes stay for the next try or the sweep.
        let old = self.store.put_draft(&note.id, &draft).await?;
        self.delete_all(old).await;
        Ok(draft)
    }

    async fn keep_bytes(&self, note: &NoteRow, name: &str, file: NoteFile) -> Result<Draft, RecorderError> {
        let extension = match file.content_type {
            MP4_VOICE_TYPE => "m4a",
            MP4_VIDEO_TYPE => "mp4",
            VOICE_TYPE => "ogg",
            _ => "webm",
        };
        let file_key = self.bytes.key(format!("notes/{}/{name}.{extension}", note.id));
        let mut size = file.bytes.len() as u64;
        self.bytes.put(&file_key, file.bytes).await?;
        let mut poster_key = None;
        let picture = file.picture;
        if let Some(poster) = file.poster {
            let key = self.bytes.key(format!("notes/{}/{name}{}", note.id, poster.extension()));
            size += poster.bytes.len() as u64;
            self.bytes.put(&key, poster.bytes).await?;
            poster_key = Some(key);
        }
        let (duration_ms, content_type) = (millis(file.duration), file.content_type.to_owned());
        Ok(Draft { file_key, poster_key, content_type, size, duration_ms, peaks: file.peaks, picture })
    }
}
