//! After a restart: takes that a former process left unfinished become drafts, notes whose room is gone settle, and bytes that no row refers to are deleted.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::{Inner, millis, unix_ms};
use crate::error::RecorderError;
use crate::note::{Note, NoteState, TakeReason};
use crate::spool;
use crate::store::NoteRow;
use crate::upload;

/// A process that was not there for so long has no successor: its folder was deleted, or the server moved.
const GONE: Duration = Duration::from_secs(24 * 3_600);

/// Bytes without a row are left alone this long: a draft that is being kept has its bytes first.
const YOUNG: Duration = Duration::from_secs(600);

/// When a take that could not be kept for want of room is tried again.
const AGAIN: Duration = Duration::from_secs(30);

impl Inner {
    /// Takes up what a former process left.
    pub(super) async fn recover(self: &Arc<Self>, folder: &Path) -> Result<(), RecorderError> {
        let mut takes = by_note(folder)?;
        let mut uploads = uploads(folder)?;
        for row in self.store.open_notes(None).await? {
            let mine = takes.remove(&row.id).unwrap_or_default();
            let arriving = matches!(row.state, NoteState::Recording | NoteState::Saving) && mine.is_empty();
            if let Some(path) = uploads.remove(&(row.id.clone(), row.take)).filter(|_| arriving) {
                self.await_arrival(row, path).await?;
                continue;
            }
            if let Some(row) = self.recover_note(row, &mine).await? {
                tracing::warn!(note = row.id, "a take from before the start waits for room on the disk");
                tokio::spawn(again(Arc::downgrade(self), row, mine));
            }
        }
        // Of notes that are over.
        takes.values().flatten().for_each(|(_, path)| remove(path));
        uploads.values().for_each(|path| remove(path));
        if let Err(error) = self.sweep().await {
            // Calls go on without a bucket that is out of reach.
            tracing::error!(%error, "what is old or left over cannot be deleted now; again in an hour");
        }
        Ok(())
    }

    /// Makes a draft of the takes that a note has on disk, and settles it. A note whose take cannot be kept now is returned.
    async fn recover_note(
        self: &Arc<Self>,
        mut row: NoteRow,
        takes: &[(u32, PathBuf)],
    ) -> Result<Option<NoteRow>, RecorderError> {
        let interrupted = matches!(row.state, NoteState::Countdown | NoteState::Recording);
        let mut reason = row.reason.as_deref().and_then(TakeReason::parse);
        for (_, path) in takes {
            match self.keep_take(&row, path, None, Duration::ZERO).await {
                Ok(draft) => {
                    reason = if interrupted { Some(TakeReason::CallerGone) } else { reason };
                    row.draft = Some(draft);
                }
                Err(TakeReason::Disk) => return Ok(Some(row)),
                Err(why) => reason = Some(why),
            }
        }
        self.settle(row, reason).await?;
        takes.iter().for_each(|(_, path)| remove(path));
        Ok(None)
    }

    /// With a take it is a draft that can be sent; without one there is nothing left to record with.
    async fn settle(self: &Arc<Self>, mut row: NoteRow, reason: Option<TakeReason>) -> Result<(), RecorderError> {
        let now = unix_ms();
        let was_draft = row.state == NoteState::Draft;
        let until = row.expires_at.filter(|_| was_draft).unwrap_or(now + millis(row.limits.draft_expires));
        if row.draft.is_none() {
            self.store.give_up(&row.id, NoteState::Expired).await?;
            return Ok(());
        }
        row.state = NoteState::Draft;
        row.expires_at = Some(until);
        row.reason = reason.map(|reason| reason.as_str().to_owned());
        self.store.put_state(&row).await?;
        let left = Duration::from_millis(until.saturating_sub(now));
        let note = Note::restore(Instant::now(), row.limits.clone(), row.take, left, reason);
        self.take_up(row, note, None).await;
        Ok(())
    }

    /// Forgets what is too old, and deletes bytes that no row refers to.
    pub(super) async fn sweep(&self) -> Result<(), RecorderError> {
        if let Some(retention) = self.config.retention {
            let keys = self.store.forget_before(unix_ms().saturating_sub(millis(retention))).await?;
            self.delete_all(keys).await;
            self.store.forget_occurrences_before(unix_ms().saturating_sub(millis(retention))).await?;
        }
        if let Some(retention) = self.config.event_retention {
            self.store.forget_events_before(unix_ms().saturating_sub(millis(retention))).await?;
        }
        self.store.forget_processes_before(unix_ms().saturating_sub(millis(GONE))).await?;
        let old = unix_ms().saturating_sub(millis(YOUNG));
        let kept = self.bytes.keys("notes").await?;
        let in_use = self.store.keys_in_use().await?;
        let orphans = kept.into_iter().filter(|(key, written)| *written < old && !in_use.contains(key));
        self.delete_all(orphans.map(|(key, _)| key).collect()).await;
        Ok(())
    }
}

async fn again(inner: Weak<Inner>, mut row: NoteRow, takes: Vec<(u32, PathBuf)>) {
    loop {
        tokio::time::sleep(AGAIN).await;
        let Some(inner) = inner.upgrade() else { return };
        let note = row.id.clone();
        match inner.recover_note(row, &takes).await {
            Ok(None) => return,
            Ok(Some(waits)) => row = waits,
            Err(error) => {
                return tracing::error!(%error, note, "what a former process left is not taken up; again at the next start");
            }
        }
    }
}

/// The takes on disk, by note, in order.
fn by_note(folder: &Path) -> Result<HashMap<String, Vec<(u32, PathBuf)>>, RecorderError> {
    let failed = |source| RecorderError::Spool { doing: "listing", path: folder.to_owned(), source };
    let mut takes: HashMap<String, Vec<(u32, PathBuf)>> = HashMap::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if let Some((note, take)) = upload::of_file(&path, upload::MP4) {
            takes.entry(note).or_default().push((take, path));
            continue;
        }
        if path.extension().is_none_or(|extension| extension != spool::EXTENSION) {
            continue;
        }
        match spool::read_header(&path) {
            Ok(header) => takes.entry(header.note).or_default().push((header.take, path)),
            // Made a moment before the end.
            Err(_) if path.metadata().is_ok_and(|file| file.len() == 0) => remove(&path),
            Err(error) => tracing::warn!(%error, "a file beside the takes is left alone"),
        }
    }
    takes.values_mut().for_each(|takes| takes.sort_unstable());
    Ok(takes)
}

/// The uploads on disk, by note and take.
fn uploads(folder: &Path) -> Result<HashMap<(String, u32), PathBuf>, RecorderError> {
    let failed = |source| RecorderError::Spool { doing: "listing", path: folder.to_owned(), source };
    let files = std::fs::read_dir(folder).map_err(failed)?;
    let files = files.map(|entry| entry.map(|entry| entry.path()).map_err(failed)).collect::<Result<Vec<_>, _>>()?;
    Ok(files.into_iter().filter_map(|path| Some((upload::of_file(&path, upload::EXTENSION)?, path))).collect())
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(%error, path = %path.display(), "a take that is done with stays on disk");
    }
}
