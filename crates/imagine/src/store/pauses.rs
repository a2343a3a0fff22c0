//! Until when providers want to be left alone (`Retry-After`, RFC 9110, 10.2.3), by the clock on the wall: so a pause holds for every process on the database, and for the next one. What a
//! provider says of new work does not hold for questions about work that it has, whose results live for minutes only and are paid.

use std::time::Duration;

use super::rows::integer;
use super::{Store, failed};
use crate::error::ImagineError;

/// The longest pause that is kept. Longer obeys a provider that is closed for days, and lets one that sends nonsense lock itself out for as long.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

/// What a provider is called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProviderCall {
    /// To hand a job over.
    Submit,
    /// To ask how far one is.
    Ask,
}

impl ProviderCall {
    /// As in rows and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Ask => "ask",
        }
    }
}

impl Store {
    /// A provider wants to be left alone for so long from now on, in Unix milliseconds. A pause is never made shorter.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn pause(
        &self,
        provider: &str,
        call: ProviderCall,
        now: u64,
        wanted: Duration,
    ) -> Result<(), ImagineError> {
        let wanted = u64::try_from(wanted.min(LONGEST).as_millis()).unwrap_or(u64::MAX);
        sqlx::query(
            "INSERT INTO image_pauses (provider, call, not_before) VALUES ($1, $2, $3)
             ON CONFLICT (provider, call) DO UPDATE SET not_before = $3 WHERE image_pauses.not_before < $3",
        )
        .bind(provider)
        .bind(call.as_str())
        .bind(integer(now.saturating_add(wanted)))
        .execute(&self.pool)
        .await
        .map_err(failed("keeping a provider's pause"))?;
        Ok(())
    }

    /// How long a provider wants to be left alone yet, at a time in Unix milliseconds.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn paused(&self, provider: &str, call: ProviderCall, now: u64) -> Result<Option<Duration>, ImagineError> {
        let query = sqlx::query_scalar("SELECT not_before FROM image_pauses WHERE provider = $1 AND call = $2");
        let kept: Option<i64> = query
            .bind(provider)
            .bind(call.as_str())
            .fetch_optional(&self.pool)
            .await
            .map_err(failed("reading a provider's pause"))?;
        let left = kept.and_then(|until| u64::try_from(until).ok()).map_or(0, |until| until.saturating_sub(now));
        // A clock that was set back makes no pause longer than any is.
        Ok((left > 0).then(|| Duration::from_millis(left).min(LONGEST)))
    }
}
