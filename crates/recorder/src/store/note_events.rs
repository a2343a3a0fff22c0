//! What happens to notes, as events of the log: each with the note as it is then, in the transaction that made it so.

use serde_json::json;
use sqlx::{Any, Transaction};

use super::events::append;
use super::notes::with_people;
use super::{NewEvent, NoteRow, Store, failed};
use crate::error::RecorderError;
use crate::info::NoteInfo;
use crate::recorder::{NoteEvent, unix_ms};

/// What happened to a note, and whose doing it was where it is one of those it is for.
pub(super) struct NoteNews<'a> {
    pub(super) note: NoteRow,
    pub(super) event: NoteEvent,
    pub(super) user: Option<&'a str>,
}

impl Store {
    /// Ends a transaction: puts what happened into the log, if anything did, and commits.
    pub(super) async fn tell_and_commit(
        &self,
        mut work: Transaction<'static, Any>,
        news: Option<NoteNews<'_>>,
    ) -> Result<(), sqlx::Error> {
        let Some(NoteNews { note, event, user }) = news else { return work.commit().await };
        let mut body = json!({ "note": NoteInfo::of(&note, None) });
        if let Some(user) = user {
            body["user"] = user.into();
        }
        let newest = append(&[NewEvent { at: unix_ms(), kind: event.name(), body }], &mut work).await?;
        self.commit(work, newest).await
    }
}

/// A note as it is within a transaction.
pub(super) async fn note_now(id: &str, work: &mut sqlx::AnyConnection) -> Result<NoteRow, RecorderError> {
    let row = sqlx::query("SELECT * FROM notes WHERE id = $1").bind(id).fetch_one(&mut *work);
    with_people(NoteRow::of(&row.await.map_err(failed("reading a note"))?)?, work).await
}
