//! Notes, who has heard them, and inboxes. A change of state says in SQL from which states it may come, so that of two at once one wins, and is told in the log
//! of events in the same transaction.

use sqlx::{Any, AnyConnection, Row, Transaction};

use super::note_events::{NoteNews, note_now};
use super::reactions::reactions;
use super::rows::{integer, kind_name, natural, optional, text};
use super::{Cursor, Draft, NoteRow, Page, Recipient, Store, failed};
use crate::error::RecorderError;
use crate::note::NoteState;
use crate::recorder::NoteEvent;

impl Store {
    /// Keeps a new note. Where its call has one already, that one is returned.
    ///
    /// # Errors
    /// Where the database fails, or there is no such call.
    pub async fn put_note(&self, note: &NoteRow) -> Result<NoteRow, RecorderError> {
        let failed = failed("keeping a note");
        let mut work = self.begin().await.map_err(&failed)?;
        let inserted = sqlx::query(
            "INSERT INTO notes (id, call_id, thread, kind, state, sender, sender_name, created_at, expires_at, limits, take, size, duration_ms, peaks)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, 0, 0, '[]') ON CONFLICT (call_id) DO NOTHING",
        )
        .bind(&note.id)
        .bind(&note.call)
        .bind(&note.thread)
        .bind(kind_name(note.kind))
        .bind(note.state.as_str())
        .bind(&note.from)
        .bind(&note.from_name)
        .bind(integer(note.created_at))
        .bind(note.expires_at.map(integer))
        .bind(serde_json::to_string(&note.limits).unwrap_or_default())
        .execute(&mut *work)
        .await
        .map_err(&failed)?;
        if inserted.rows_affected() > 0 {
            for to in &note.to {
                sqlx::query("INSERT INTO note_recipients (note_id, user_id) VALUES ($1, $2)")
                    .bind(&note.id)
                    .bind(&to.user)
                    .execute(&mut *work)
                    .await
                    .map_err(&failed)?;
            }
        }
        let row = sqlx::query("SELECT * FROM notes WHERE call_id = $1").bind(&note.call).fetch_one(&mut *work);
        let kept = with_people(NoteRow::of(&row.await.map_err(&failed)?)?, &mut work).await?;
        let news = NoteNews { note: kept.clone(), event: NoteEvent::State(kept.state), user: None };
        self.tell_and_commit(work, (inserted.rows_affected() > 0).then_some(news)).await.map_err(&failed)?;
        Ok(kept)
    }

    /// Keeps where an unfinished note stands, and tells of it where it is another state than before. A note that is over stays as it is; false then.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn put_state(&self, note: &NoteRow) -> Result<bool, RecorderError> {
        let failed = failed("keeping a note's state");
        let mut work = self.begin().await.map_err(&failed)?;
        for same in [false, true] {
            let kept = sqlx::query(
                "UPDATE notes SET state = $2, take = $3, reason = $4, expires_at = $5
                 WHERE id = $1 AND state NOT IN ('sent', 'discarded', 'expired') AND (state = $2) = ($6 = 1)",
            )
            .bind(&note.id)
            .bind(note.state.as_str())
            .bind(i64::from(note.take))
            .bind(&note.reason)
            .bind(note.expires_at.map(integer))
            .bind(i64::from(same))
            .execute(&mut *work)
            .await
            .map_err(&failed)?;
            match kept.rows_affected() {
                0 => {}
                _ if same => return work.commit().await.map(|()| true).map_err(&failed),
                changed => return self.tell_state(work, &note.id, note.state, changed).await,
            }
        }
        Ok(false)
    }

    /// Keeps a take whose bytes are there. The keys that nothing refers to any more are returned, to be deleted.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn put_draft(&self, note: &str, draft: &Draft) -> Result<Vec<String>, RecorderError> {
        let failed = failed("keeping a draft");
        let mut work = self.begin().await.map_err(&failed)?;
        let before = keys(note, &mut work).await?;
        let peaks = serde_json::to_string(&draft.peaks).unwrap_or_default();
        let kept = sqlx::query(
            "UPDATE notes SET file_key = $2, poster_key = $3, content_type = $4, size = $5, duration_ms = $6, peaks = $7, width = $8, height = $9
             WHERE id = $1 AND state NOT IN ('sent', 'discarded', 'expired')",
        )
        .bind(note)
        .bind(&draft.file_key)
        .bind(&draft.poster_key)
        .bind(&draft.content_type)
        .bind(integer(draft.size))
        .bind(integer(draft.duration_ms))
        .bind(peaks)
        .bind(draft.picture.map(|(width, _)| i64::from(width)))
        .bind(draft.picture.map(|(_, height)| i64::from(height)))
        .execute(&mut *work)
        .await
        .map_err(&failed)?;
        work.commit().await.map_err(&failed)?;
        let new = [Some(draft.file_key.clone()), draft.poster_key.clone()].into_iter().flatten();
        if kept.rows_affected() == 0 {
            // Too late: nobody refers to the new bytes.
            return Ok(new.collect());
        }
        let new: Vec<String> = new.collect();
        Ok(before.into_iter().filter(|key| !new.contains(key)).collect())
    }

    /// Sends a draft; false where it is none (any more).
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn send(&self, note: &str, at: u64) -> Result<bool, RecorderError> {
        let failed = failed("sending a note");
        let mut work = self.begin().await.map_err(&failed)?;
        let sent = sqlx::query(
            "UPDATE notes SET state = 'sent', sent_at = $2, expires_at = NULL
             WHERE id = $1 AND state = 'draft' AND file_key IS NOT NULL",
        )
        .bind(note)
        .bind(integer(at))
        .execute(&mut *work)
        .await
        .map_err(&failed)?;
        self.tell_state(work, note, NoteState::Sent, sent.rows_affected()).await
    }

    /// Commits a change of state, with its event, if there was one.
    async fn tell_state(
        &self,
        mut work: Transaction<'static, Any>,
        note: &str,
        state: NoteState,
        changed: u64,
    ) -> Result<bool, RecorderError> {
        let news = match changed {
            0 => None,
            _ => {
                let note = note_now(note, &mut work).await?;
                Some(NoteNews { note, event: NoteEvent::State(state), user: None })
            }
        };
        self.tell_and_commit(work, news).await.map_err(failed("keeping a note's state"))?;
        Ok(changed > 0)
    }

    /// Takes a note that is not sent to its end, and forgets its take, whose keys are returned, to be deleted.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn give_up(&self, note: &str, state: NoteState) -> Result<Vec<String>, RecorderError> {
        let failed = failed("giving up a note");
        let mut work = self.begin().await.map_err(&failed)?;
        let before = keys(note, &mut work).await?;
        let ended = sqlx::query(
            "UPDATE notes SET state = $2, expires_at = NULL, file_key = NULL, poster_key = NULL, size = 0
             WHERE id = $1 AND state NOT IN ('sent', 'discarded', 'expired')",
        )
        .bind(note)
        .bind(state.as_str())
        .execute(&mut *work)
        .await
        .map_err(&failed)?;
        let ended = self.tell_state(work, note, state, ended.rows_affected()).await?;
        Ok(if ended { before } else { Vec::new() })
    }

    /// One note, whoever asks.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn note(&self, id: &str) -> Result<Option<NoteRow>, RecorderError> {
        let failed = failed("reading a note");
        let mut connection = self.pool.acquire().await.map_err(&failed)?;
        let row = sqlx::query("SELECT * FROM notes WHERE id = $1").bind(id).fetch_optional(&mut *connection);
        match row.await.map_err(&failed)? {
            None => Ok(None),
            Some(row) => Ok(Some(with_people(NoteRow::of(&row)?, &mut connection).await?)),
        }
    }

    /// Notes that are not over, of one caller or of all.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn open_notes(&self, from: Option<&str>) -> Result<Vec<NoteRow>, RecorderError> {
        let mut connection = self.pool.acquire().await.map_err(failed("looking for open notes"))?;
        open_notes(from, &mut connection).await
    }

    /// What there is for a user who comes: [`open_notes`](Self::open_notes) and [`unheard`](Self::unheard), over one connection, since getting one and giving it back costs more
    /// than either.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn at_start(&self, user: &str) -> Result<(Vec<NoteRow>, u64), RecorderError> {
        let mut connection = self.pool.acquire().await.map_err(failed("looking for open notes"))?;
        let open = open_notes(Some(user), &mut connection).await?;
        Ok((open, unheard(user, &mut connection).await?))
    }

    /// A user's inbox: notes that were sent to them, newest first.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn inbox(
        &self,
        user: &str,
        before: Option<&Cursor>,
        limit: u32,
        unheard_only: bool,
    ) -> Result<Page<NoteRow>, RecorderError> {
        let failed = failed("listing an inbox");
        let mut connection = self.pool.acquire().await.map_err(&failed)?;
        let (at, id) = before.map_or((i64::MAX, ""), |cursor| (integer(cursor.at), cursor.id.as_str()));
        let rows = sqlx::query(
            "SELECT notes.* FROM notes JOIN note_recipients ON note_recipients.note_id = notes.id
             WHERE note_recipients.user_id = $1 AND note_recipients.deleted = 0 AND notes.state = 'sent'
               AND ($2 = 0 OR note_recipients.heard_at IS NULL)
               AND (sent_at < $3 OR (sent_at = $3 AND id < $4))
             ORDER BY sent_at DESC, id DESC LIMIT $5",
        )
        .bind(user)
        .bind(i64::from(unheard_only))
        .bind(at)
        .bind(id)
        .bind(i64::from(limit) + 1)
        .fetch_all(&mut *connection)
        .await
        .map_err(&failed)?;
        let more = rows.len() > limit as usize;
        let notes = all(rows.get(..limit as usize).unwrap_or(&rows), &mut connection).await?;
        let last = notes.last().filter(|_| more);
        let next = last.map(|note| Cursor { at: note.sent_at.unwrap_or(0), id: note.id.clone() });
        Ok(Page { rows: notes, next })
    }

    /// How many notes wait for a user to hear them.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn unheard(&self, user: &str) -> Result<u64, RecorderError> {
        let mut connection = self.pool.acquire().await.map_err(failed("counting unheard notes"))?;
        unheard(user, &mut connection).await
    }

    /// A recipient has heard a note, or wants it to count as unheard. False where nothing changed: it is not theirs, or was so already.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn put_heard(&self, note: &str, user: &str, heard_at: Option<u64>) -> Result<bool, RecorderError> {
        let failed = failed("marking a note as heard");
        let mut work = self.begin().await.map_err(&failed)?;
        let changed = sqlx::query(
            "UPDATE note_recipients SET heard_at = $3
             WHERE note_id = $1 AND user_id = $2 AND deleted = 0 AND (heard_at IS NULL) = ($4 = 1)
               AND EXISTS (SELECT 1 FROM notes WHERE id = $1 AND state = 'sent')",
        )
        .bind(note)
        .bind(user)
        .bind(heard_at.map(integer))
        .bind(i64::from(heard_at.is_some()))
        .execute(&mut *work)
        .await
        .map_err(&failed)?;
        if changed.rows_affected() == 0 {
            return Ok(false);
        }
        let event = if heard_at.is_some() { NoteEvent::Heard } else { NoteEvent::Unheard };
        let news = NoteNews { note: note_now(note, &mut work).await?, event, user: Some(user) };
        self.tell_and_commit(work, Some(news)).await.map_err(&failed)?;
        Ok(true)
    }

    /// Takes a sent note away from one of those it concerns. Once nobody has it any more its row goes, and the keys of its bytes are returned, to be
    /// deleted. `None` where it was not theirs.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn delete_for(&self, note: &str, user: &str) -> Result<Option<Vec<String>>, RecorderError> {
        let failed = failed("deleting a note");
        let mut work = self.begin().await.map_err(&failed)?;
        let recipient = sqlx::query(
            "UPDATE note_recipients SET deleted = 1 WHERE note_id = $1 AND user_id = $2 AND deleted = 0
               AND EXISTS (SELECT 1 FROM notes WHERE id = $1 AND state = 'sent')",
        );
        let mut taken = recipient.bind(note).bind(user).execute(&mut *work).await.map_err(&failed)?.rows_affected();
        let sender = sqlx::query(
            "UPDATE notes SET deleted_by_sender = 1 WHERE id = $1 AND sender = $2 AND deleted_by_sender = 0 AND state = 'sent'",
        );
        taken += sender.bind(note).bind(user).execute(&mut *work).await.map_err(&failed)?.rows_affected();
        if taken == 0 {
            return Ok(None);
        }
        let news = NoteNews { note: note_now(note, &mut work).await?, event: NoteEvent::Deleted, user: Some(user) };
        let before = keys(note, &mut work).await?;
        let gone = sqlx::query(
            "DELETE FROM notes WHERE id = $1 AND deleted_by_sender = 1
               AND NOT EXISTS (SELECT 1 FROM note_recipients WHERE note_id = $1 AND deleted = 0)",
        );
        let gone = gone.bind(note).execute(&mut *work).await.map_err(&failed)?.rows_affected();
        self.tell_and_commit(work, Some(news)).await.map_err(&failed)?;
        Ok(Some(if gone > 0 { before } else { Vec::new() }))
    }

    /// How many bytes the notes take up that were sent to a user.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn used_by(&self, user: &str) -> Result<u64, RecorderError> {
        // SUM of BIGINT is NUMERIC in PostgreSQL.
        let sum: i64 = sqlx::query_scalar(
            "SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM notes JOIN note_recipients ON note_recipients.note_id = notes.id
             WHERE user_id = $1 AND deleted = 0 AND state = 'sent'",
        )
        .bind(user)
        .fetch_one(&self.pool)
        .await
        .map_err(failed("adding up a user's notes"))?;
        Ok(u64::try_from(sum).unwrap_or(0))
    }

    /// Deletes notes and calls that ended before a time, in Unix milliseconds. The keys of their bytes are returned, to be deleted.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn forget_before(&self, time: u64) -> Result<Vec<String>, RecorderError> {
        let failed = failed("forgetting what is old");
        let mut work = self.begin().await.map_err(&failed)?;
        let old = "SELECT id FROM calls WHERE ended_at < $1 AND hook_done = 1
                   AND NOT EXISTS (SELECT 1 FROM notes WHERE call_id = calls.id AND (state NOT IN ('sent', 'discarded', 'expired') OR sent_at >= $1))";
        let select = format!("SELECT file_key, poster_key FROM notes WHERE call_id IN ({old})");
        let rows = sqlx::query(&select).bind(integer(time)).fetch_all(&mut *work).await.map_err(&failed)?;
        let delete = format!("DELETE FROM calls WHERE id IN ({old})");
        sqlx::query(&delete).bind(integer(time)).execute(&mut *work).await.map_err(&failed)?;
        work.commit().await.map_err(&failed)?;
        let mut keys = Vec::new();
        for row in &rows {
            for column in ["file_key", "poster_key"] {
                keys.extend(row.try_get::<Option<String>, _>(column).map_err(&failed)?);
            }
        }
        Ok(keys)
    }

    /// All keys that some row refers to.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn keys_in_use(&self) -> Result<std::collections::HashSet<String>, RecorderError> {
        let failed = failed("listing the keys in use");
        let rows = sqlx::query("SELECT file_key, poster_key FROM notes WHERE file_key IS NOT NULL");
        let mut keys = std::collections::HashSet::new();
        for row in &rows.fetch_all(&self.pool).await.map_err(&failed)? {
            for column in ["file_key", "poster_key"] {
                keys.extend(row.try_get::<Option<String>, _>(column).map_err(&failed)?);
            }
        }
        Ok(keys)
    }
}

async fn keys(note: &str, connection: &mut AnyConnection) -> Result<Vec<String>, RecorderError> {
    let failed = failed("reading a note's keys");
    let row = sqlx::query("SELECT file_key, poster_key FROM notes WHERE id = $1").bind(note);
    let Some(row) = row.fetch_optional(connection).await.map_err(&failed)? else { return Ok(Vec::new()) };
    let key = |column| row.try_get::<Option<String>, _>(column).map_err(&failed);
    Ok([key("file_key")?, key("poster_key")?].into_iter().flatten().collect())
}

async fn open_notes(from: Option<&str>, connection: &mut AnyConnection) -> Result<Vec<NoteRow>, RecorderError> {
    let rows = sqlx::query(
        "SELECT * FROM notes WHERE state NOT IN ('sent', 'discarded', 'expired') AND ($1 = '' OR sender = $1)
         ORDER BY created_at",
    );
    let rows = rows.bind(from.unwrap_or_default()).fetch_all(&mut *connection).await;
    all(&rows.map_err(failed("looking for open notes"))?, connection).await
}

async fn unheard(user: &str, connection: &mut AnyConnection) -> Result<u64, RecorderError> {
    let count = sqlx::query_scalar(
        "SELECT COUNT(*) FROM note_recipients JOIN notes ON notes.id = note_recipients.note_id
         WHERE user_id = $1 AND deleted = 0 AND heard_at IS NULL AND state = 'sent'",
    );
    let count: i64 = count.bind(user).fetch_one(connection).await.map_err(failed("counting unheard notes"))?;
    Ok(u64::try_from(count).unwrap_or(0))
}

async fn all(rows: &[sqlx::any::AnyRow], connection: &mut AnyConnection) -> Result<Vec<NoteRow>, RecorderError> {
    let mut notes = Vec::with_capacity(rows.len());
    for row in rows {
        notes.push(with_people(NoteRow::of(row)?, connection).await?);
    }
    Ok(notes)
}

pub(super) async fn with_people(note: NoteRow, connection: &mut AnyConnection) -> Result<NoteRow, RecorderError> {
    let rows =
        sqlx::query("SELECT user_id, heard_at, deleted FROM note_recipients WHERE note_id = $1 ORDER BY user_id");
    let rows = rows.bind(&note.id).fetch_all(&mut *connection).await.map_err(failed("reading a note's recipients"))?;
    let to = rows.iter().map(|row| {
        let deleted = natural(row, "deleted")? != 0;
        Ok(Recipient { user: text(row, "user_id")?, heard_at: optional(row, "heard_at")?, deleted })
    });
    let reactions = reactions(&note.id, connection).await?;
    Ok(NoteRow { to: to.collect::<Result<_, RecorderError>>()?, reactions, ..note })
}
