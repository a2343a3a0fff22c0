//! Calls that are over, and the threads they make up.

use sqlx::AnyConnection;

use super::events::append;
use super::rows::{integer, kind_name, text};
use super::{CallRow, Cursor, NewEvent, NoteRow, Page, Store, ThreadEntry, failed};
use crate::error::RecorderError;

impl Store {
    /// Keeps a call, and tells of it in the log as `call.ended` with its details. The same call again changes nothing; false then.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn put_call(&self, call: &CallRow) -> Result<bool, RecorderError> {
        let failed = failed("keeping a call");
        let mut work = self.begin().await.map_err(&failed)?;
        let inserted = sqlx::query(
            "INSERT INTO calls (id, kind, thread, caller, outcome, placed_at, ended_at, ring_ms, talk_ms, acknowledged, details, hook_done)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT (id) DO NOTHING",
        )
        .bind(&call.id)
        .bind(kind_name(call.kind))
        .bind(&call.thread)
        .bind(&call.caller)
        .bind(&call.outcome)
        .bind(integer(call.placed_at))
        .bind(integer(call.ended_at))
        .bind(integer(call.ring_ms))
        .bind(integer(call.talk_ms))
        .bind(i64::from(call.acknowledged))
        .bind(call.details.to_string())
        .bind(i64::from(call.hook_done))
        .execute(&mut *work)
        .await
        .map_err(&failed)?;
        if inserted.rows_affected() == 0 {
            return Ok(false);
        }
        for user in call.callees.iter().chain([&call.caller]) {
            sqlx::query(
                "INSERT INTO call_parties (call_id, user_id) VALUES ($1, $2) ON CONFLICT (call_id, user_id) DO NOTHING",
            )
            .bind(&call.id)
            .bind(user)
            .execute(&mut *work)
            .await
            .map_err(&failed)?;
        }
        super::live_calls::forget(&call.id, &mut work).await.map_err(&failed)?;
        let event = NewEvent { at: call.ended_at, kind: "call.ended".to_owned(), body: call.details.clone() };
        let newest = append(&[event], &mut work).await.map_err(&failed)?;
        self.commit(work, newest).await.map_err(&failed)?;
        Ok(true)
    }

    /// Calls of which the missed-call hook has not been told, oldest first.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn hooks_due(&self) -> Result<Vec<CallRow>, RecorderError> {
        let failed = failed("looking for hooks that are due");
        let mut connection = self.pool.acquire().await.map_err(&failed)?;
        let rows = sqlx::query("SELECT * FROM calls WHERE hook_done = 0 ORDER BY placed_at")
            .fetch_all(&mut *connection)
            .await
            .map_err(&failed)?;
        let mut calls = Vec::with_capacity(rows.len());
        for row in &rows {
            calls.push(with_callees(CallRow::of(row)?, &mut connection).await?);
        }
        Ok(calls)
    }

    /// The missed-call hook has been told of a call.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn hook_done(&self, call: &str) -> Result<(), RecorderError> {
        let query = sqlx::query("UPDATE calls SET hook_done = 1 WHERE id = $1").bind(call);
        query.execute(&self.pool).await.map_err(failed("marking a hook as done"))?;
        Ok(())
    }

    /// A thread as one user sees it, newest first: one entry for each call they were a party of, with the note that was left in it. Whoever leaves a note sees
    /// it in every state; the others once it is sent.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn thread(
        &self,
        user: &str,
        thread: &str,
        before: Option<&Cursor>,
        limit: u32,
    ) -> Result<Page<ThreadEntry>, RecorderError> {
        let failed = failed("listing a thread");
        let mut connection = self.pool.acquire().await.map_err(&failed)?;
        let (at, id) = before.map_or((i64::MAX, ""), |cursor| (integer(cursor.at), cursor.id.as_str()));
        let rows = sqlx::query(
            "SELECT calls.* FROM calls JOIN call_parties ON call_parties.call_id = calls.id
             WHERE call_parties.user_id = $1 AND calls.thread = $2 AND (placed_at < $3 OR (placed_at = $3 AND id < $4))
             ORDER BY placed_at DESC, id DESC LIMIT $5",
        )
        .bind(user)
        .bind(thread)
        .bind(at)
        .bind(id)
        .bind(i64::from(limit) + 1)
        .fetch_all(&mut *connection)
        .await
        .map_err(&failed)?;
        let more = rows.len() > limit as usize;
        let mut entries = Vec::with_capacity(rows.len());
        for row in rows.iter().take(limit as usize) {
            let call = with_callees(CallRow::of(row)?, &mut connection).await?;
            let note = note_of(&call, user, &mut connection).await?;
            entries.push(ThreadEntry { call, note });
        }
        let last = entries.last().filter(|_| more);
        let next = last.map(|entry| Cursor { at: entry.call.placed_at, id: entry.call.id.clone() });
        Ok(Page { rows: entries, next })
    }
}

async fn with_callees(call: CallRow, connection: &mut AnyConnection) -> Result<CallRow, RecorderError> {
    let rows = sqlx::query("SELECT user_id FROM call_parties WHERE call_id = $1 AND user_id <> $2 ORDER BY user_id")
        .bind(&call.id)
        .bind(&call.caller)
        .fetch_all(connection)
        .await
        .map_err(failed("reading who was called"))?;
    let callees = rows.iter().map(|row| text(row, "user_id")).collect::<Result<_, _>>()?;
    Ok(CallRow { callees, ..call })
}

async fn note_of(call: &CallRow, user: &str, connection: &mut AnyConnection) -> Result<Option<NoteRow>, RecorderError> {
    let row = sqlx::query("SELECT * FROM notes WHERE call_id = $1").bind(&call.id).fetch_optional(&mut *connection);
    let Some(row) = row.await.map_err(failed("reading a call's note"))? else { return Ok(None) };
    let note = super::notes::with_people(NoteRow::of(&row)?, connection).await?;
    Ok(Some(note).filter(|note| note.is_for(user)))
}
