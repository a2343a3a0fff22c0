//! Takes that the caller records by themselves, since their media is not connected: they arrive as a file, piece by piece, and become a draft of the same note as any other take.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::active::Active;
use super::{Inner, Recorder, whole};
use crate::error::RecorderError;
use crate::mp4_take;
use crate::note::{Note, NoteState, TakeReason};
use crate::packet::NoteKind;
use crate::poster::{LARGEST, Poster};
use crate::spool::{SpoolHeader, SpoolWriter};
use crate::store::NoteRow;
use crate::upload::{self, Upload, UploadState};
use crate::webm_take;

/// How long what was recorded may take to arrive, beyond the longest take. Longer rides out a tunnel, and lets a note stand as being recorded that never comes.
pub(super) const ARRIVES: Duration = Duration::from_secs(15 * 60);

/// What must stay free on the disk beside twice the upload, in bytes: the database goes on.
const ROOM: u64 = 16 << 20;

impl Recorder {
    /// The caller records by themselves: the next take arrives by [`append_upload`](Self::append_upload). `length` is how many bytes it has, where that is known already.
    ///
    /// # Errors
    /// Where it is not this user's or cannot be recorded as it is, would be too large, or the disk has no room.
    pub async fn begin_upload(
        &self,
        note: &str,
        user: &str,
        length: Option<u64>,
    ) -> Result<UploadState, RecorderError> {
        let active = self.inner.owned(note, user).await?;
        let inner = self.inner.clone();
        whole(async move { active.begin_upload(&inner, length).await }).await
    }

    /// How far a take has come.
    ///
    /// # Errors
    /// Where it is not this user's, or not on its way.
    pub async fn upload(&self, note: &str, user: &str, take: u32) -> Result<UploadState, RecorderError> {
        let active = self.inner.owned(note, user).await?;
        let upload = active.upload().lock().await;
        upload_of(upload.as_ref(), note, take).map(Upload::state)
    }

    /// How many bytes a take has, told once it is recorded.
    ///
    /// # Errors
    /// Where it is not on its way, something else was told before, or it would be too large.
    pub async fn upload_length(
        &self,
        note: &str,
        user: &str,
        take: u32,
        length: u64,
    ) -> Result<UploadState, RecorderError> {
        let active = self.inner.owned(note, user).await?;
        let mut upload = active.upload().lock().await;
        upload_of(upload.as_ref(), note, take)?;
        if let Some(upload) = upload.as_mut() {
            upload.set_length(length)?;
        }
        upload_of(upload.as_ref(), note, take).map(Upload::state)
    }

    /// Takes the next bytes of a take. Once it is whole its draft follows as an event, or why there is none.
    ///
    /// # Errors
    /// [`Offset`](RecorderError::Offset) where it goes on elsewhere, and where it is not on its way, becomes too large or is none of the files that are taken.
    pub async fn append_upload(
        &self,
        note: &str,
        user: &str,
        take: u32,
        offset: u64,
        bytes: Bytes,
    ) -> Result<UploadState, RecorderError> {
        let active = self.inner.owned(note, user).await?;
        let (inner, note) = (self.inner.clone(), note.to_owned());
        whole(async move {
            let mut upload = active.upload().lock().await;
            upload_of(upload.as_ref(), &note, take)?;
            let Some(arriving) = upload.as_mut() else { return Err(RecorderError::NotFound(note)) };
            let state = arriving.append(offset, &bytes).await?;
            if arriving.is_whole() {
                let (path, poster) = (arriving.path().to_owned(), arriving.take_poster());
                *upload = None;
                drop(upload);
                active.arrived(&inner, take, path, poster).await;
            }
            Ok(state)
        })
        .await
    }
}

impl Recorder {
    /// Takes a picture that the caller's browser has drawn of a take while it is on its way, in place of the one before: the poster, where none can be made here.
    ///
    /// # Errors
    /// Where the take is not on its way, or not this user's, the note is none with pictures, or the picture is too large.
    pub async fn put_poster(&self, note: &str, user: &str, take: u32, poster: Poster) -> Result<(), RecorderError> {
        if poster.bytes.len() > LARGEST {
            return Err(RecorderError::TooLarge(LARGEST as u64));
        }
        let active = self.inner.owned(note, user).await?;
        if active.kind().await != NoteKind::Video {
            return Err(RecorderError::NotFound(note.to_owned()));
        }
        let mut upload = active.upload().lock().await;
        upload_of(upload.as_ref(), note, take)?;
        if let Some(upload) = upload.as_mut() {
            upload.set_poster(poster);
        }
        Ok(())
    }
}

fn upload_of<'a>(upload: Option<&'a Upload>, note: &str, take: u32) -> Result<&'a Upload, RecorderError> {
    upload.filter(|upload| upload.state().take == take).ok_or_else(|| RecorderError::NotFound(note.to_owned()))
}

impl Inner {
    /// The file of an upload, after whether there is room for it.
    pub(super) async fn make_upload(
        &self,
        note: &NoteRow,
        take: u32,
        length: Option<u64>,
    ) -> Result<Upload, RecorderError> {
        let most = upload::most(note.kind, note.limits.max);
        let path = upload::path(&self.spool, &note.id, take);
        if length.is_some_and(|length| length > most) {
            return Err(RecorderError::TooLarge(most));
        }
        // The file, and the take that is made of it. Where the system does not say, writing will.
        let room = 2 * length.unwrap_or(most) + ROOM;
        if fs4::available_space(&self.spool).is_ok_and(|available| available < room) {
            let source = std::io::ErrorKind::StorageFull.into();
            return Err(RecorderError::Spool { doing: "making room for", path, source });
        }
        let mut upload = Upload::create(path, take, most).await?;
        if let Some(length) = length {
            upload.set_length(length)?;
        }
        Ok(upload)
    }

    /// Makes a take of what has arrived, on disk like any other.
    pub(super) async fn take_of_upload(&self, note: &NoteRow, take: u32, path: PathBuf) -> Result<PathBuf, TakeReason> {
        let _permit = self.makers.acquire().await.map_err(|_| TakeReason::Failed)?;
        let header = SpoolHeader { note: note.id.clone(), take, kind: note.kind, began_at: note.created_at };
        let (folder, kind, longest) = (self.spool.clone(), note.kind, note.limits.max);
        let made = tokio::task::spawn_blocking(move || {
            let spooled = spool_upload(&folder, &header, &path, kind, longest);
            forget(&path);
            spooled
        });
        made.await.map_err(|_| TakeReason::Failed)?
    }

    /// Waits on for a take that was on its way before a restart.
    pub(super) async fn await_arrival(self: &Arc<Self>, mut row: NoteRow, path: PathBuf) -> Result<(), RecorderError> {
        let most = upload::most(row.kind, row.limits.max);
        let failed = |source| RecorderError::Spool { doing: "looking at", path: path.clone(), source };
        let upload = Upload::resume(path.clone(), row.take, most).map_err(failed)?;
        row.state = NoteState::Recording;
        self.store.put_state(&row).await?;
        let draft = row.draft.as_ref().map(|_| row.limits.draft_expires);
        let note =
            Note::restore_elsewhere(Instant::now(), row.limits.clone(), row.take, row.limits.max + ARRIVES, draft);
        let id = row.id.clone();
        self.take_up(row, note, None).await;
        if let Some(active) = self.active(&id) {
            *active.upload().lock().await = Some(upload);
        }
        Ok(())
    }
}

fn spool_upload(
    folder: &Path,
    header: &SpoolHeader,
    path: &Path,
    kind: NoteKind,
    longest: Duration,
) -> Result<PathBuf, TakeReason> {
    let disk = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, note = header.note, "what was uploaded cannot be kept");
        TakeReason::Disk
    };
    let file = std::fs::read(path).map_err(|error| disk(&error))?;
    if mp4_take::begins(&file) {
        mp4_take::read(&file, kind, longest).map_err(|error| {
            tracing::info!(%error, note = header.note, "what was uploaded is no take");
            error.reason
        })?;
        let kept = upload::mp4_path(folder, &header.note, header.take);
        std::fs::rename(path, &kept).map_err(|error| disk(&error))?;
        return Ok(kept);
    }
    let events = webm_take::read(&file.into(), kind, longest)?;
    let write = || {
        let mut writer = SpoolWriter::create(folder, header)?;
        events.iter().try_for_each(|event| writer.append(event))?;
        writer.finish()
    };
    write().map_err(|error: RecorderError| disk(&error))
}

impl Active {
    async fn begin_upload(
        self: &Arc<Self>,
        inner: &Arc<Inner>,
        length: Option<u64>,
    ) -> Result<UploadState, RecorderError> {
        let upload = self.record_elsewhere(inner, length).await?;
        let state = upload.state();
        // Whoever begins again and again fills no disk.
        if let Some(former) = self.upload().lock().await.replace(upload) {
            forget(former.path());
        }
        Ok(state)
    }
}

/// Deletes an upload that is done with.
pub(super) fn forget(path: &Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %path.display(), "an upload that is done with stays on disk");
    }
}
