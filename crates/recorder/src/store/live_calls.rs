//! Calls that are not over, kept for when the process that has them ends: each change in the transaction of the event that made it. What they hold is the business of whoever
//! keeps them.

use serde_json::Value;
use sqlx::{AnyConnection, Row};

use super::events::append;
use super::rows::{integer, json, text};
use super::{NewEvent, Store, failed};
use crate::error::RecorderError;

/// Something to be remembered or forgotten about a call that is not over.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveCall {
    /// Its id.
    pub id: String,
    /// All that is needed to go on with it; `None`: it is over.
    pub details: Option<Value>,
}

impl Store {
    /// Appends events, and keeps what they changed about the calls of this process, together. Returns the number of the last event.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn append_with_calls(
        &self,
        events: &[NewEvent],
        process: &str,
        calls: &[LiveCall],
    ) -> Result<u64, RecorderError> {
        let failed = failed("appending to the event log");
        let mut work = self.begin().await.map_err(&failed)?;
        for call in calls {
            put(call, process, &mut work).await.map_err(&failed)?;
        }
        let newest = append(events, &mut work).await.map_err(&failed)?;
        self.commit(work, newest).await.map_err(&failed)?;
        Ok(newest)
    }

    /// The calls that a process had when it ended.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn live_calls(&self, process: &str) -> Result<Vec<LiveCall>, RecorderError> {
        let rows = sqlx::query("SELECT id, details FROM live_calls WHERE process = $1 ORDER BY id")
            .bind(process)
            .fetch_all(&self.pool)
            .await
            .map_err(failed("reading the calls that were under way"))?;
        rows.iter().map(|row| Ok(LiveCall { id: text(row, "id")?, details: Some(json(row, "details")?) })).collect()
    }

    /// A process is there at this time, in Unix milliseconds.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn seen(&self, process: &str, at: u64) -> Result<(), RecorderError> {
        sqlx::query(
            "INSERT INTO processes (name, seen_at) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET seen_at = EXCLUDED.seen_at",
        )
        .bind(process)
        .bind(integer(at))
        .execute(&self.pool)
        .await
        .map_err(failed("telling that the process is there"))?;
        Ok(())
    }

    /// When a process was there last, in Unix milliseconds.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn last_seen(&self, process: &str) -> Result<Option<u64>, RecorderError> {
        let row = sqlx::query("SELECT seen_at FROM processes WHERE name = $1")
            .bind(process)
            .fetch_optional(&self.pool)
            .await
            .map_err(failed("reading when a process was there last"))?;
        Ok(row.and_then(|row| u64::try_from(row.get::<i64, _>("seen_at")).ok()))
    }

    /// Forgets processes that were there last before this time, in Unix milliseconds, with their calls: their folder is gone, or they would have been followed.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn forget_processes_before(&self, time: u64) -> Result<(), RecorderError> {
        let failed = failed("forgetting processes that are gone");
        let mut work = self.begin().await.map_err(&failed)?;
        let gone = "SELECT name FROM processes WHERE seen_at < $1";
        for forget in [
            format!("DELETE FROM live_calls WHERE process IN ({gone})"),
            "DELETE FROM processes WHERE seen_at < $1".to_owned(),
        ] {
            sqlx::query(&forget).bind(integer(time)).execute(&mut *work).await.map_err(&failed)?;
        }
        work.commit().await.map_err(&failed)
    }
}

async fn put(call: &LiveCall, process: &str, work: &mut AnyConnection) -> Result<(), sqlx::Error> {
    let Some(details) = &call.details else { return forget(&call.id, work).await };
    sqlx::query(
        "INSERT INTO live_calls (id, process, details) VALUES ($1, $2, $3)
         ON CONFLICT (id) DO UPDATE SET process = EXCLUDED.process, details = EXCLUDED.details",
    )
    .bind(&call.id)
    .bind(process)
    .bind(details.to_string())
    .execute(work)
    .await?;
    Ok(())
}

/// A call is over.
pub(super) async fn forget(call: &str, work: &mut AnyConnection) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM live_calls WHERE id = $1").bind(call).execute(work).await?;
    Ok(())
}
