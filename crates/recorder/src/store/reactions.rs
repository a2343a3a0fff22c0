//! Reactions to notes: one emoji for each of those whom a sent note concerns, in a row that goes with the note's. Which texts are emoji is not known here.

use sqlx::AnyConnection;

use super::note_events::{NoteNews, note_now};
use super::rows::{integer, natural, optional_text, text};
use super::{NoteRow, Store, failed};
use crate::error::RecorderError;
use crate::info::NoteReaction;
use crate::note::NoteState;
use crate::recorder::NoteEvent;

/// How often one user may change their reaction to one note. Each change is an event of the log and goes to everybody who has the note: enough for any change of mind, and no game.
pub(crate) const MOST_CHANGES: i64 = 50;

impl Store {
    /// Keeps a user's reaction to a sent note in place of the one before, or takes it back. Returns the note where that changed anything.
    ///
    /// # Errors
    /// Where there is no such note for this user, whoever left it has deleted it, they have changed their reaction to it too often, or the database fails. Taking back is never too often.
    pub async fn put_reaction(
        &self,
        note: &str,
        (user, name): (&str, Option<&str>),
        emoji: Option<&str>,
        at: u64,
    ) -> Result<Option<NoteRow>, RecorderError> {
        let failed = failed("keeping a reaction to a note");
        let mut work = self.begin().await.map_err(&failed)?;
        let known = sqlx::query("SELECT id FROM notes WHERE id = $1").bind(note).fetch_optional(&mut *work);
        let missing = || RecorderError::NotFound(note.to_owned());
        known.await.map_err(&failed)?.ok_or_else(missing)?;
        let row = note_now(note, &mut work).await?;
        if row.state != NoteState::Sent || !row.is_for(user) {
            return Err(missing());
        }
        if row.deleted && emoji.is_some() {
            return Err(RecorderError::Conflict { state: "deleted by whoever left it", wanted: "reacted to" });
        }
        let before = row.reactions.iter().find(|one| one.user == user).map(|one| one.emoji.as_str());
        if before == emoji {
            return Ok(None);
        }
        let query = match emoji {
            Some(emoji) => sqlx::query(
                "INSERT INTO note_reactions (note_id, user_id, at, emoji, changes, user_name) VALUES ($1, $2, $3, $4, 1, $6)
                 ON CONFLICT (note_id, user_id) DO UPDATE SET at = EXCLUDED.at, emoji = EXCLUDED.emoji, user_name = EXCLUDED.user_name, changes = note_reactions.changes + 1
                 WHERE note_reactions.changes < $5",
            )
            .bind(note)
            .bind(user)
            .bind(integer(at))
            .bind(emoji)
            .bind(MOST_CHANGES)
            .bind(name),
            None => sqlx::query("UPDATE note_reactions SET at = $3, emoji = NULL WHERE note_id = $1 AND user_id = $2")
                .bind(note)
                .bind(user)
                .bind(integer(at)),
        };
        if query.execute(&mut *work).await.map_err(&failed)?.rows_affected() == 0 {
            return Err(RecorderError::TooManyChanges(MOST_CHANGES));
        }
        let row = note_now(note, &mut work).await?;
        let event = if emoji.is_some() { NoteEvent::Reacted } else { NoteEvent::Unreacted };
        let news = NoteNews { note: row.clone(), event, user: Some(user) };
        self.tell_and_commit(work, Some(news)).await.map_err(&failed)?;
        Ok(Some(row))
    }
}

/// The reactions to a note, in the order in which they came.
pub(super) async fn reactions(note: &str, connection: &mut AnyConnection) -> Result<Vec<NoteReaction>, RecorderError> {
    let rows = sqlx::query(
        "SELECT user_id, user_name, emoji, at FROM note_reactions WHERE note_id = $1 AND emoji IS NOT NULL ORDER BY at, user_id",
    );
    let rows = rows.bind(note).fetch_all(connection).await.map_err(failed("reading the reactions to a note"))?;
    let reaction = |row| {
        let (user, name) = (text(row, "user_id")?, optional_text(row, "user_name")?);
        Ok(NoteReaction { user, name, emoji: text(row, "emoji")?, at: natural(row, "at")? })
    };
    rows.iter().map(reaction).collect()
}
