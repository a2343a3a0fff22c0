//! Threads, inboxes and the media behind them, as one user may see them; what recipients do with notes.

use std::ops::Range;

use bytes::Bytes;

use super::{NoteEvent, Recorder, RecorderEvent, unix_ms};
use crate::error::RecorderError;
use crate::info::NoteInfo;
use crate::link::{LINK_HOLDS, MediaPart};
use crate::poster;
use crate::store::{CallRow, Cursor, NoteRow, Page};

/// An object that a user may get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// Its media type.
    pub content_type: String,
    /// How many bytes it has.
    pub size: u64,
    /// Names these bytes and no others.
    pub tag: String,
    key: String,
}

impl Recorder {
    fn shown(&self, row: &NoteRow) -> NoteInfo {
        let active = self.inner.active(&row.id);
        NoteInfo::of(row, active.and_then(|active| active.room()).filter(|_| !row.state.is_final()))
    }

    /// A thread as a user sees it, newest first: each call with the note that was left in it.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn thread(
        &self,
        user: &str,
        thread: &str,
        before: Option<&Cursor>,
        limit: u32,
    ) -> Result<Page<(CallRow, Option<NoteInfo>)>, RecorderError> {
        let page = self.inner.store.thread(user, thread, before, limit).await?;
        let rows = page.rows.into_iter().map(|entry| (entry.call, entry.note.map(|note| self.shown(&note))));
        Ok(Page { rows: rows.collect(), next: page.next })
    }

    /// The notes that were sent to a user, newest first.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn inbox(
        &self,
        user: &str,
        before: Option<&Cursor>,
        limit: u32,
        unheard_only: bool,
    ) -> Result<Page<NoteInfo>, RecorderError> {
        let page = self.inner.store.inbox(user, before, limit, unheard_only).await?;
        Ok(Page { rows: page.rows.iter().map(|row| self.shown(row)).collect(), next: page.next })
    }

    /// How many notes wait for a user.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn unheard(&self, user: &str) -> Result<u64, RecorderError> {
        self.inner.store.unheard(user).await
    }

    /// The notes that a user has not finished leaving.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn open_notes(&self, user: &str) -> Result<Vec<NoteInfo>, RecorderError> {
        let rows = self.inner.store.open_notes(Some(user)).await?;
        Ok(rows.iter().map(|row| self.shown(row)).collect())
    }

    /// What there is for a user who comes: the notes that they have not finished leaving, and how many wait for them.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn at_start(&self, user: &str) -> Result<(Vec<NoteInfo>, u64), RecorderError> {
        let (open, unheard) = self.inner.store.at_start(user).await?;
        Ok((open.iter().map(|row| self.shown(row)).collect(), unheard))
    }

    /// One note, for somebody whom it concerns.
    ///
    /// # Errors
    /// `NotFound` for everybody else.
    pub async fn note(&self, note: &str, user: &str) -> Result<NoteInfo, RecorderError> {
        let row = self.inner.store.note(note).await?.filter(|row| row.is_for(user));
        row.map(|row| self.shown(&row)).ok_or_else(|| RecorderError::NotFound(note.to_owned()))
    }

    /// A recipient has heard a note, or wants it to count as unheard.
    ///
    /// # Errors
    /// `NotFound` where it is not theirs.
    pub async fn heard(&self, note: &str, user: &str, heard: bool) -> Result<NoteInfo, RecorderError> {
        let changed = self.inner.store.put_heard(note, user, heard.then(unix_ms)).await?;
        let info = self.note(note, user).await?;
        if info.from.user == user && !info.to.iter().any(|to| to.user == user) {
            return Err(RecorderError::Forbidden("only whom a note is for can hear it"));
        }
        if changed {
            let event = if heard { NoteEvent::Heard } else { NoteEvent::Unheard };
            // Whoever left it learns that it was heard, and not that somebody wants to hear it again.
            let sender = Some(info.from.user.clone()).filter(|_| heard);
            let users = std::iter::once(user.to_owned()).chain(sender).collect();
            self.inner.emit(RecorderEvent::Note { users, event, note: Box::new(info.clone()) });
        }
        Ok(info)
    }

    /// Takes a sent note away from one of those whom it concerns. Once nobody has it any more, its bytes are deleted.
    ///
    /// # Errors
    /// `NotFound` where it was not theirs.
    pub async fn delete(&self, note: &str, user: &str) -> Result<NoteInfo, RecorderError> {
        let info = self.note(note, user).await?;
        let keys = self.inner.store.delete_for(note, user).await?;
        let keys = keys.ok_or_else(|| RecorderError::NotFound(note.to_owned()))?;
        self.inner.delete_all(keys).await;
        let users = vec![user.to_owned()];
        self.inner.emit(RecorderEvent::Note { users, event: NoteEvent::Deleted, note: Box::new(info.clone()) });
        Ok(info)
    }

    /// A note's file or poster, for somebody whom it concerns.
    ///
    /// # Errors
    /// `NotFound` for everybody else, or where there is none.
    pub async fn media(&self, note: &str, part: MediaPart, user: &str) -> Result<Media, RecorderError> {
        let missing = || RecorderError::NotFound(note.to_owned());
        let row = self.inner.store.note(note).await?.filter(|row| row.is_for(user)).ok_or_else(missing)?;
        let draft = row.draft.ok_or_else(missing)?;
        let (key, content_type) = match part {
            MediaPart::File => (draft.file_key, draft.content_type),
            MediaPart::Poster => {
                let key = draft.poster_key.ok_or_else(missing)?;
                let content_type = poster::content_type(&key).to_owned();
                (key, content_type)
            }
        };
        let size = self.inner.bytes.size(&key).await?.ok_or_else(missing)?;
        // A key is never written twice.
        Ok(Media { content_type, size, tag: key.replace('/', "-"), key })
    }

    /// Reads a part of it.
    ///
    /// # Errors
    /// Where the store of bytes fails.
    pub async fn read(&self, media: &Media, range: Range<u64>) -> Result<Bytes, RecorderError> {
        self.inner.bytes.get(&media.key, range).await
    }

    /// The query of a link to a note's media that holds for an hour, for one user.
    pub fn sign(&self, note: &str, part: MediaPart, user: &str) -> String {
        self.inner.links.sign(note, part, user, unix_ms() + super::millis(LINK_HOLDS))
    }

    /// The user whom a link lets in.
    pub fn check_link(&self, note: &str, part: MediaPart, user: &str, until: u64, signature: &str) -> Option<String> {
        self.inner.links.check(note, part, user, until, signature, unix_ms())
    }
}
