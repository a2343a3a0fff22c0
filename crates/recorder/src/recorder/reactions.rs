//! Reactions to notes: keeps them, and says who is to be told.

use super::{NoteEvent, Recorder, RecorderEvent, unix_ms};
use crate::error::RecorderError;
use crate::info::NoteInfo;

/// The longest reaction in bytes: the longest emoji there is has 35.
const LONGEST: usize = 64;

impl Recorder {
    /// Somebody whom a sent note concerns reacts to it with an emoji, in place of the one before, or takes theirs back. The same again changes nothing. `name` is
    /// what they are called in what is told of it. What is an emoji is for whoever
    /// calls this to say.
    ///
    /// # Errors
    /// `NotFound` for everybody else and for a note that is not sent; `Forbidden` where the emoji is empty or longer than 64 bytes; `Conflict` where whoever left the note has deleted it; `TooManyChanges`.
    pub async fn react(
        &self,
        note: &str,
        user: &str,
        name: Option<&str>,
        emoji: Option<&str>,
    ) -> Result<NoteInfo, RecorderError> {
        if emoji.is_some_and(|emoji| emoji.is_empty() || emoji.len() > LONGEST) {
            return Err(RecorderError::Forbidden("a reaction has 1 to 64 bytes"));
        }
        let Some(row) = self.inner.store.put_reaction(note, (user, name), emoji, unix_ms()).await? else {
            return self.note(note, user).await;
        };
        let info = NoteInfo::of(&row, None);
        let event = if emoji.is_some() { NoteEvent::Reacted } else { NoteEvent::Unreacted };
        let all = std::iter::once(&row.from).chain(row.to.iter().map(|to| &to.user));
        let users = all.filter(|user| row.is_for(user)).cloned().collect();
        self.inner.emit(RecorderEvent::Note { users, event, note: Box::new(info.clone()) });
        Ok(info)
    }
}
