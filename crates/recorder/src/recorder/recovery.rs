//! After a restart: takes that a former process left unfinished become drafts, notes whose room is gone settle, and bytes that no row refers to are deleted.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Inner, millis, unix_ms};
use crate::error::RecorderError;
use crate::note::{Note, NoteState, TakeReason};
use crate::spool;
use crate::store::NoteRow;

/// Bytes without a row are left alone this long: a draft that is being kept has its bytes first.
const YOUNG: Duration = Duration::from_secs(600);

impl Inner {
    /// Takes up what a former process left.
    pub(super) async fn recover(self: &Arc<Self>, folder: &Path) -> Result<(), RecorderError> {
        let failed = |source| RecorderError::Spool { doing: "listing", path: folder.to_owned(), source };
        let mut takes = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == spool::EXTENSION) {
                takes.push(path);
            }
        }
        let mut undone: Vec<PathBuf> = Vec::new();
        for mut row in self.store.open_notes(None).await? {
            let mut mine: Vec<(u32, &Path)> = Vec::new();
            for path in &takes {
                if let Ok((header, _)) = spool::read_spool(path)
                    && header.note == row.id
                {
                    mine.push((header.take, path));
                }
            }
            mine.sort_unstable();
            let mut reason = None;
            for (_, path) in mine {
                reason = Some(TakeReason::CallerGone);
                match self.keep_file(&row, path.to_owned()).await {
                    Ok(draft) => {
                        let old = self.store.put_draft(&row.id, &draft).await?;
                        self.delete_all(old).await;
                        row.draft = Some(draft);
                    }
                    Err(why) => {
                        reason = Some(why);
                        if why == TakeReason::Disk {
                            undone.push(path.to_owned());
                        }
                    }
                }
            }
            self.settle(row, reason).await?;
        }
        for path in takes.iter().filter(|path| !undone.contains(path)) {
            // Kept, or of a note that is over, or no take at all.
            if let Err(error) = std::fs::remove_file(path) {
                tracing::warn!(%error, path = %path.display(), "a take that is done with stays on disk");
            }
        }
        self.sweep().await
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
        if let Some(reason) = reason {
            row.reason = Some(reason.as_str().to_owned());
        }
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
        }
        let old = unix_ms().saturating_sub(millis(YOUNG));
        let kept = self.bytes.keys("notes").await?;
        let in_use = self.store.keys_in_use().await?;
        let orphans = kept.into_iter().filter(|(key, written)| *written < old && !in_use.contains(key));
        self.delete_all(orphans.map(|(key, _)| key).collect()).await;
        Ok(())
    }
}
