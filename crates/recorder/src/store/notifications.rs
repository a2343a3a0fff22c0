//! Rows of what users may be told of: what happened, what was decided about it, and what was told. What is new and what is old is counted from these rows, never kept as a
//! number. Why something is decided is not known here: reasons, notifications and settings are JSON that is kept as it comes.

use serde_json::Value;
use sqlx::any::AnyRow;
use sqlx::{Any, Row, Transaction};

use super::events::append;
use super::rows::{integer, json, natural, optional, optional_text, text};
use super::{Cursor, NewEvent, Page, Store, failed};
use crate::error::RecorderError;

/// Something that happened to a user.
#[derive(Debug, Clone, PartialEq)]
pub struct OccurrenceRow {
    /// Whom it may be told.
    pub user: String,
    /// Its id among those of the user.
    pub id: String,
    /// When it happened, in Unix milliseconds.
    pub at: u64,
    /// What it was: `missed_call`, `note` …
    pub kind: String,
    /// Whose doing it was.
    pub from: String,
    /// The particulars, a JSON object.
    pub body: Value,
    /// Why it waits, or had to.
    pub held: Option<Value>,
    /// The notification that tells of it.
    pub notification: Option<String>,
    /// When the user saw it, in Unix milliseconds.
    pub seen_at: Option<u64>,
}

/// A notification in its last revision.
#[derive(Debug, Clone, PartialEq)]
pub struct NotificationRow {
    /// Whom it tells.
    pub user: String,
    /// Its id among those of the user.
    pub id: String,
    /// When it was first shown, in Unix milliseconds.
    pub opened_at: u64,
    /// Counts its revisions from 1.
    pub revision: u32,
    /// All of it, as JSON.
    pub body: Value,
    /// The last revision that was told; 0 where none was.
    pub told: u32,
    /// How many sounds that one and those before it made.
    pub told_alerts: u32,
}

/// What a user has seen by themselves, or wants to count as unseen again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// This one, and when; `None`: not any more.
    One {
        /// Whose.
        user: String,
        /// Which.
        id: String,
        /// When, in Unix milliseconds.
        at: Option<u64>,
    },
    /// All of a kind that one sender has done.
    Of {
        /// Whose.
        user: String,
        /// The kind.
        kind: String,
        /// Who did it.
        from: String,
        /// When, in Unix milliseconds.
        at: u64,
    },
    /// Everything up to a time.
    Until {
        /// Whose.
        user: String,
        /// Up to when it happened, in Unix milliseconds.
        until: u64,
        /// When it was seen.
        at: u64,
    },
}

/// How much of a kind there is, counted from the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindCount {
    /// The kind.
    pub kind: String,
    /// What the user has not seen.
    pub new: u64,
    /// What they have.
    pub old: u64,
}

/// The rows of notifications of a database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct NotificationRows {
    store: Store,
}

impl NotificationRows {
    /// Those of a database.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Keeps what happened and what was seen, in this order, and how far a reader of the [event log](crate::EventLog) has come with that: together, so that each event counts once. What is
    /// kept already stays as it is, but for its particulars, which are the last ones.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn put(&self, reader: (&str, u64), new: &[OccurrenceRow], seen: &[Seen]) -> Result<(), RecorderError> {
        let failed = failed("keeping what happened");
        let mut work = self.store.begin().await.map_err(&failed)?;
        for row in new {
            sqlx::query(
                "INSERT INTO occurrences (user_id, id, at, kind, sender, body) VALUES ($1, $2, $3, $4, $5, $6)
                 ON CONFLICT (user_id, id) DO UPDATE SET body = EXCLUDED.body",
            )
            .bind(&row.user)
            .bind(&row.id)
            .bind(integer(row.at))
            .bind(&row.kind)
            .bind(&row.from)
            .bind(row.body.to_string())
            .execute(&mut *work)
            .await
            .map_err(&failed)?;
        }
        for seen in seen {
            put_seen(seen, &mut work).await.map_err(&failed)?;
        }
        let (name, done) = reader;
        sqlx::query(
            "INSERT INTO event_readers (name, done) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET done = EXCLUDED.done",
        )
        .bind(name)
        .bind(integer(done))
        .execute(&mut *work)
        .await
        .map_err(&failed)?;
        work.commit().await.map_err(&failed)
    }

    /// A user has seen something. Returns how many rows that changed.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn seen(&self, seen: &Seen) -> Result<u64, RecorderError> {
        let failed = failed("keeping what was seen");
        let mut work = self.store.begin().await.map_err(&failed)?;
        let changed = put_seen(seen, &mut work).await.map_err(&failed)?;
        work.commit().await.map_err(&failed)?;
        Ok(changed)
    }

    /// What a decision rests on: the notifications that were opened since a time, in Unix milliseconds, and what is in them, what happened since, and what the user
    /// neither was told of nor has seen.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn recent(
        &self,
        user: &str,
        since: u64,
    ) -> Result<(Vec<OccurrenceRow>, Vec<NotificationRow>), RecorderError> {
        let failed = failed("reading what happened lately");
        let occurrences = sqlx::query(
            "SELECT * FROM occurrences WHERE user_id = $1 AND (at > $2 OR (notification IS NULL AND seen_at IS NULL)
               OR notification IN (SELECT id FROM notifications WHERE user_id = $1 AND opened_at > $2)) ORDER BY at, id",
        );
        let notifications = sqlx::query("SELECT * FROM notifications WHERE user_id = $1 AND opened_at > $2");
        let bound = occurrences.bind(user).bind(integer(since));
        let rows = bound.fetch_all(&self.store.pool).await.map_err(&failed)?;
        let occurrences = rows.iter().map(OccurrenceRow::of).collect::<Result<_, _>>()?;
        let bound = notifications.bind(user).bind(integer(since));
        let rows = bound.fetch_all(&self.store.pool).await.map_err(&failed)?;
        Ok((occurrences, rows.iter().map(NotificationRow::of).collect::<Result<_, _>>()?))
    }

    /// Keeps what was decided about a user's occurrences, and tells of it in the log: which of them wait and why, and the notifications that tell of the others.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn decided(
        &self,
        user: &str,
        held: &[(String, Value)],
        shown: &[(NotificationRow, Vec<String>)],
        events: &[NewEvent],
    ) -> Result<(), RecorderError> {
        let failed = failed("keeping what was decided");
        let mut work = self.store.begin().await.map_err(&failed)?;
        for (id, why) in held {
            sqlx::query("UPDATE occurrences SET held = $3 WHERE user_id = $1 AND id = $2")
                .bind(user)
                .bind(id)
                .bind(why.to_string())
                .execute(&mut *work)
                .await
                .map_err(&failed)?;
        }
        for (row, items) in shown {
            sqlx::query(
                "INSERT INTO notifications (user_id, id, opened_at, revision, body) VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (user_id, id) DO UPDATE SET revision = EXCLUDED.revision, body = EXCLUDED.body",
            )
            .bind(user)
            .bind(&row.id)
            .bind(integer(row.opened_at))
            .bind(i64::from(row.revision))
            .bind(row.body.to_string())
            .execute(&mut *work)
            .await
            .map_err(&failed)?;
            for id in items {
                sqlx::query("UPDATE occurrences SET notification = $3 WHERE user_id = $1 AND id = $2")
                    .bind(user)
                    .bind(id)
                    .bind(&row.id)
                    .execute(&mut *work)
                    .await
                    .map_err(&failed)?;
            }
        }
        if events.is_empty() {
            return work.commit().await.map_err(&failed);
        }
        let newest = append(events, &mut work).await.map_err(&failed)?;
        self.store.commit(work, newest).await.map_err(&failed)
    }

    /// A user's notifications whose last revision was not told, oldest first.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn untold(&self, user: &str) -> Result<Vec<NotificationRow>, RecorderError> {
        let rows =
            sqlx::query("SELECT * FROM notifications WHERE user_id = $1 AND told < revision ORDER BY opened_at, id")
                .bind(user)
                .fetch_all(&self.store.pool)
                .await
                .map_err(failed("looking for what is to be told"))?;
        rows.iter().map(NotificationRow::of).collect()
    }

    /// What is in a notification, oldest first, but what the user has seen.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn unseen_items(&self, user: &str, notification: &str) -> Result<Vec<OccurrenceRow>, RecorderError> {
        let rows = sqlx::query(
            "SELECT * FROM occurrences WHERE user_id = $1 AND notification = $2 AND seen_at IS NULL ORDER BY at, id",
        )
        .bind(user)
        .bind(notification)
        .fetch_all(&self.store.pool)
        .await
        .map_err(failed("reading what is in a notification"))?;
        rows.iter().map(OccurrenceRow::of).collect()
    }

    /// A revision was told, with so many sounds up to it.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn told(&self, user: &str, notification: &str, revision: u32, alerts: u32) -> Result<(), RecorderError> {
        sqlx::query(
            "UPDATE notifications SET told = $3, told_alerts = $4 WHERE user_id = $1 AND id = $2 AND told < $3",
        )
        .bind(user)
        .bind(notification)
        .bind(i64::from(revision))
        .bind(i64::from(alerts))
        .execute(&self.store.pool)
        .await
        .map_err(failed("keeping what was told"))?;
        Ok(())
    }

    /// Who has something that waits, is not decided on or was not told.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn users_due(&self) -> Result<Vec<String>, RecorderError> {
        sqlx::query_scalar(
            "SELECT user_id FROM occurrences WHERE notification IS NULL AND seen_at IS NULL
             UNION SELECT user_id FROM notifications WHERE told < revision",
        )
        .fetch_all(&self.store.pool)
        .await
        .map_err(failed("looking for users who are to be told something"))
    }

    /// What happened to a user, newest first; only what waits, where told so.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn list(
        &self,
        user: &str,
        before: Option<&Cursor>,
        limit: u32,
        waiting_only: bool,
    ) -> Result<Page<OccurrenceRow>, RecorderError> {
        let (at, id) = before.map_or((i64::MAX, ""), |cursor| (integer(cursor.at), cursor.id.as_str()));
        let rows = sqlx::query(
            "SELECT * FROM occurrences WHERE user_id = $1 AND (at < $2 OR (at = $2 AND id < $3))
               AND ($4 = 0 OR (held IS NOT NULL AND notification IS NULL AND seen_at IS NULL))
             ORDER BY at DESC, id DESC LIMIT $5",
        )
        .bind(user)
        .bind(at)
        .bind(id)
        .bind(i64::from(waiting_only))
        .bind(i64::from(limit) + 1)
        .fetch_all(&self.store.pool)
        .await
        .map_err(failed("listing what happened"))?;
        let more = rows.len() > limit as usize;
        let rows: Vec<_> = rows.iter().take(limit as usize).map(OccurrenceRow::of).collect::<Result<_, _>>()?;
        let last = rows.last().filter(|_| more);
        let next = last.map(|row| Cursor { at: row.at, id: row.id.clone() });
        Ok(Page { rows, next })
    }

    /// Some notifications of a user, as JSON.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn notification(&self, user: &str, id: &str) -> Result<Option<NotificationRow>, RecorderError> {
        let row = sqlx::query("SELECT * FROM notifications WHERE user_id = $1 AND id = $2")
            .bind(user)
            .bind(id)
            .fetch_optional(&self.store.pool)
            .await
            .map_err(failed("reading a notification"))?;
        row.as_ref().map(NotificationRow::of).transpose()
    }

    /// How much there is of each kind, new and old.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn counts(&self, user: &str) -> Result<Vec<KindCount>, RecorderError> {
        let rows = sqlx::query(
            "SELECT kind, SUM(CASE WHEN seen_at IS NULL THEN 1 ELSE 0 END) AS fresh, COUNT(*) AS whole
             FROM occurrences WHERE user_id = $1 GROUP BY kind ORDER BY kind",
        )
        .bind(user)
        .fetch_all(&self.store.pool)
        .await
        .map_err(failed("counting what happened"))?;
        let count = |row: &AnyRow| {
            let (new, whole) = (natural(row, "fresh")?, natural(row, "whole")?);
            Ok(KindCount { kind: text(row, "kind")?, new, old: whole.saturating_sub(new) })
        };
        rows.iter().map(count).collect()
    }

    /// A user's settings, as they were kept.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn settings(&self, user: &str) -> Result<Option<Value>, RecorderError> {
        let row = sqlx::query("SELECT settings FROM notification_settings WHERE user_id = $1")
            .bind(user)
            .fetch_optional(&self.store.pool)
            .await
            .map_err(failed("reading a user's settings"))?;
        row.as_ref().map(|row| json(row, "settings")).transpose()
    }

    /// Keeps a user's settings.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn put_settings(&self, user: &str, settings: &Value) -> Result<(), RecorderError> {
        sqlx::query(
            "INSERT INTO notification_settings (user_id, settings) VALUES ($1, $2)
             ON CONFLICT (user_id) DO UPDATE SET settings = EXCLUDED.settings",
        )
        .bind(user)
        .bind(settings.to_string())
        .execute(&self.store.pool)
        .await
        .map_err(failed("keeping a user's settings"))?;
        Ok(())
    }
}

impl Store {
    /// Forgets what happened before a time, in Unix milliseconds, and the notifications of it.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn forget_occurrences_before(&self, time: u64) -> Result<(), RecorderError> {
        for delete in ["DELETE FROM occurrences WHERE at < $1", "DELETE FROM notifications WHERE opened_at < $1"] {
            let deleted = sqlx::query(delete).bind(integer(time)).execute(&self.pool).await;
            deleted.map_err(failed("forgetting what happened"))?;
        }
        Ok(())
    }
}

async fn put_seen(seen: &Seen, work: &mut Transaction<'static, Any>) -> Result<u64, sqlx::Error> {
    let query = match seen {
        Seen::One { user, id, at } => {
            // What counts as new again is decided on anew.
            let same = "UPDATE occurrences SET seen_at = $3, held = CASE WHEN $4 = 1 THEN held ELSE NULL END
                 WHERE user_id = $1 AND id = $2 AND (seen_at IS NULL) = ($4 = 1)";
            sqlx::query(same).bind(user).bind(id).bind(at.map(integer)).bind(i64::from(at.is_some()))
        }
        Seen::Of { user, kind, from, at } => sqlx::query(
            "UPDATE occurrences SET seen_at = $3 WHERE user_id = $1 AND sender = $2 AND seen_at IS NULL AND kind = $4",
        )
        .bind(user)
        .bind(from)
        .bind(integer(*at))
        .bind(kind),
        Seen::Until { user, until, at } => {
            let all = "UPDATE occurrences SET seen_at = $3 WHERE user_id = $1 AND at <= $2 AND seen_at IS NULL";
            sqlx::query(all).bind(user).bind(integer(*until)).bind(integer(*at))
        }
    };
    Ok(query.execute(&mut **work).await?.rows_affected())
}

impl OccurrenceRow {
    fn of(row: &AnyRow) -> Result<Self, RecorderError> {
        let held: Option<String> = row.try_get("held").map_err(failed("reading a reason"))?;
        Ok(Self {
            user: text(row, "user_id")?,
            id: text(row, "id")?,
            at: natural(row, "at")?,
            kind: text(row, "kind")?,
            from: text(row, "sender")?,
            body: json(row, "body")?,
            held: held.map(|_| json(row, "held")).transpose()?,
            notification: optional_text(row, "notification")?,
            seen_at: optional(row, "seen_at")?,
        })
    }
}

impl NotificationRow {
    fn of(row: &AnyRow) -> Result<Self, RecorderError> {
        let count = |column| Ok::<_, RecorderError>(u32::try_from(natural(row, column)?).unwrap_or(u32::MAX));
        Ok(Self {
            user: text(row, "user_id")?,
            id: text(row, "id")?,
            opened_at: natural(row, "opened_at")?,
            revision: count("revision")?,
            body: json(row, "body")?,
            told: count("told")?,
            told_alerts: count("told_alerts")?,
        })
    }
}
