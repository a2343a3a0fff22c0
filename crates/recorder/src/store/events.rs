//! The log of events: appended in the transaction of what they tell of, read from a cursor on. Numbers come from a row that each append locks until its commit, and
//! not from a sequence of the database, whose numbers may be committed out of order, so that a reader would step over what comes in late. It costs that on
//! PostgreSQL one append waits for the commit of the one before, as in SQLite all that writes does anyway.

use serde_json::Value;
use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, Transaction};

use super::rows::{integer, json, natural, text};
use super::{Store, failed};
use crate::error::RecorderError;

/// Something to be put into the log.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// When it happened, in Unix milliseconds.
    pub at: u64,
    /// What happened: `call.ended`, `note.sent` …
    pub kind: String,
    /// The particulars, a JSON object.
    pub body: Value,
}

/// Something that is in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct LoggedEvent {
    /// Its number: one more than that of the event before, and never used again.
    pub sequence: u64,
    /// When it happened, in Unix milliseconds. Not always later than what stands before it.
    pub at: u64,
    /// What happened: `call.ended`, `note.sent` …
    pub kind: String,
    /// The particulars, a JSON object.
    pub body: Value,
}

/// Some events in order, and where the next ones begin.
#[derive(Debug, Clone, PartialEq)]
pub struct EventPage {
    /// The events; none where there are no more yet.
    pub events: Vec<LoggedEvent>,
    /// The cursor for the next page.
    pub next: u64,
    /// How many events after the cursor are not kept any more: the reader was away for longer than they are kept.
    pub forgotten: u64,
}

impl Store {
    /// Appends events that tell of no row, together and in this order. Returns the number of the last one.
    ///
    /// # Errors
    /// Where the database fails. Where its connection breaks during the commit nobody knows whether they were appended.
    pub async fn append(&self, events: &[NewEvent]) -> Result<u64, RecorderError> {
        let failed = failed("appending to the event log");
        let mut work = self.begin().await.map_err(&failed)?;
        let newest = append(events, &mut work).await.map_err(&failed)?;
        self.commit(work, newest).await.map_err(&failed)?;
        Ok(newest)
    }

    /// Commits a transaction, and tells those who wait what its last event is.
    pub(super) async fn commit(&self, work: Transaction<'static, Any>, newest: u64) -> Result<(), sqlx::Error> {
        work.commit().await?;
        // Two that were committed one after the other may come here the other way round.
        self.appended.send_if_modified(|told| {
            let later = newest > *told;
            *told = newest.max(*told);
            later
        });
        Ok(())
    }

    /// Events behind a number, oldest first. The same question gets the same answer, as long as the events are kept.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn events_after(&self, after: u64, limit: u32) -> Result<EventPage, RecorderError> {
        let mut events = self.read_events(after, limit).await?;
        let mut next = after;
        if events.is_empty() {
            // What was numbered before it is read a second time and is not there then is there no more.
            next = self.newest_event().await?.max(after);
            if next > after {
                events = self.read_events(after, limit).await?;
            }
        }
        let forgotten = events.first().map_or(next, |first| first.sequence - 1).saturating_sub(after);
        let next = events.last().map_or(next, |last| last.sequence);
        Ok(EventPage { events, next, forgotten })
    }

    async fn read_events(&self, after: u64, limit: u32) -> Result<Vec<LoggedEvent>, RecorderError> {
        let rows = sqlx::query("SELECT * FROM events WHERE sequence > $1 ORDER BY sequence LIMIT $2")
            .bind(integer(after))
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await
            .map_err(failed("reading the event log"))?;
        rows.iter().map(LoggedEvent::of).collect()
    }

    /// The number of the last event; 0 where there was none yet.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn newest_event(&self) -> Result<u64, RecorderError> {
        let newest: i64 = sqlx::query_scalar("SELECT newest FROM event_sequence WHERE id = 0")
            .fetch_one(&self.pool)
            .await
            .map_err(failed("reading the number of the last event"))?;
        Ok(u64::try_from(newest).unwrap_or(0))
    }

    /// Deletes the events before the first one that happened at this time or later, in Unix milliseconds. Returns how many.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn forget_events_before(&self, time: u64) -> Result<u64, RecorderError> {
        let failed = failed("forgetting old events");
        let mut work = self.begin().await.map_err(&failed)?;
        let gone = sqlx::query(
            "DELETE FROM events WHERE sequence < COALESCE((SELECT MIN(sequence) FROM events WHERE at >= $1),
                                                          (SELECT newest + 1 FROM event_sequence WHERE id = 0))",
        );
        let gone = gone.bind(integer(time)).execute(&mut *work).await.map_err(&failed)?;
        work.commit().await.map_err(&failed)?;
        Ok(gone.rows_affected())
    }

    /// Up to which event a reader has come that keeps its cursor here.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn cursor(&self, reader: &str) -> Result<Option<u64>, RecorderError> {
        let done: Option<i64> = sqlx::query_scalar("SELECT done FROM event_readers WHERE name = $1")
            .bind(reader)
            .fetch_optional(&self.pool)
            .await
            .map_err(failed("reading a cursor"))?;
        Ok(done.and_then(|done| u64::try_from(done).ok()))
    }

    /// Keeps up to which event a reader has come.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn put_cursor(&self, reader: &str, done: u64) -> Result<(), RecorderError> {
        sqlx::query(
            "INSERT INTO event_readers (name, done) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET done = EXCLUDED.done",
        )
        .bind(reader)
        .bind(integer(done))
        .execute(&self.pool)
        .await
        .map_err(failed("keeping a cursor"))?;
        Ok(())
    }
}

/// Appends within a transaction. To be its last statement: nothing may be locked after the numbers, or two transactions could wait for each other.
pub(super) async fn append(events: &[NewEvent], work: &mut AnyConnection) -> Result<u64, sqlx::Error> {
    let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
    let newest: i64 =
        sqlx::query_scalar("UPDATE event_sequence SET newest = newest + $1 WHERE id = 0 RETURNING newest")
            .bind(count)
            .fetch_one(&mut *work)
            .await?;
    if events.is_empty() {
        return Ok(u64::try_from(newest).unwrap_or(0));
    }
    let places = (0..events.len()).map(|n| format!("(${}, ${}, ${}, ${})", 4 * n + 1, 4 * n + 2, 4 * n + 3, 4 * n + 4));
    let insert =
        format!("INSERT INTO events (sequence, at, kind, body) VALUES {}", places.collect::<Vec<_>>().join(", "));
    let mut insert = sqlx::query(&insert);
    for (sequence, event) in (newest - count + 1..).zip(events) {
        insert = insert.bind(sequence).bind(integer(event.at)).bind(&event.kind).bind(event.body.to_string());
    }
    insert.execute(work).await?;
    Ok(u64::try_from(newest).unwrap_or(0))
}

impl LoggedEvent {
    fn of(row: &AnyRow) -> Result<Self, RecorderError> {
        Ok(Self {
            sequence: natural(row, "sequence")?,
            at: natural(row, "at")?,
            kind: text(row, "kind")?,
            body: json(row, "body")?,
        })
    }
}
