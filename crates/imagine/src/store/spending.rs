//! What pictures cost: reserved before a job exists, so that no number of requests at once goes beyond the cap, and settled when it ends. What is reserved counts against the period
//! that runs, whenever the job began.

use sqlx::AnyConnection;

use super::rows::{integer, natural, text};
use super::{Store, failed};
use crate::error::ImagineError;
use crate::money::Money;

/// What is spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spending {
    /// Of which period, such as `2026-11`.
    pub period: String,
    /// What jobs that are over have cost in it.
    pub spent: Money,
    /// What jobs under way may cost yet.
    pub reserved: Money,
}

impl Store {
    /// What is spent in the period that ran when somebody last asked for an image.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn spending(&self) -> Result<Spending, ImagineError> {
        let row = sqlx::query("SELECT * FROM image_spending WHERE id = 0").fetch_one(&self.pool);
        let row = row.await.map_err(failed("reading what is spent"))?;
        let money = |column| Ok::<_, ImagineError>(Money::from_micros(natural(&row, column)?));
        Ok(Spending { period: text(&row, "period")?, spent: money("spent")?, reserved: money("reserved")? })
    }
}

/// Reserves what a job may cost, and locks the row until the transaction ends. False where the cap would be passed.
pub(super) async fn reserve(
    cost: Money,
    period: &str,
    cap: Option<Money>,
    work: &mut AnyConnection,
) -> Result<bool, ImagineError> {
    // A clock that was set back begins no new period.
    let reserved = sqlx::query(
        "UPDATE image_spending
         SET spent = CASE WHEN period < $1 THEN 0 ELSE spent END,
             period = CASE WHEN period < $1 THEN $1 ELSE period END,
             reserved = reserved + $2
         WHERE id = 0 AND reserved + (CASE WHEN period < $1 THEN 0 ELSE spent END) + $2 <= $3",
    )
    .bind(period)
    .bind(integer(cost.micros()))
    .bind(cap.map_or(i64::MAX, |cap| integer(cap.micros())))
    .execute(work)
    .await
    .map_err(failed("reserving what an image may cost"))?;
    Ok(reserved.rows_affected() == 1)
}

/// Gives back what a job had reserved, and counts what it cost.
pub(super) async fn settle(reserved: Money, charged: Money, work: &mut AnyConnection) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE image_spending SET reserved = reserved - $1, spent = spent + $2 WHERE id = 0")
        .bind(integer(reserved.micros()))
        .bind(integer(charged.micros()))
        .execute(work)
        .await?;
    Ok(())
}
