//! Jobs under way in numbers, for whoever watches.

use super::rows::{natural, text};
use super::{Store, failed};
use crate::error::ImagineError;
use crate::job::JobState;

/// How many jobs of a provider stand somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenJobs {
    /// The provider's name.
    pub provider: String,
    /// Where they stand.
    pub state: JobState,
    /// How many.
    pub jobs: u64,
}

impl Store {
    /// Jobs that are not over and that this process carries on, by provider and state; where there are none, nothing.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn count_open(&self, owner: &str) -> Result<Vec<OpenJobs>, ImagineError> {
        let rows = sqlx::query(
            "SELECT provider, state, COUNT(*) AS jobs FROM image_jobs
             WHERE owner = $1 AND state IN ('queued', 'submitted', 'running', 'fetching')
             GROUP BY provider, state ORDER BY provider, state",
        )
        .bind(owner)
        .fetch_all(&self.pool)
        .await
        .map_err(failed("counting images under way"))?;
        let mut open = Vec::with_capacity(rows.len());
        for row in &rows {
            let Some(state) = JobState::parse(&text(row, "state")?) else { continue };
            open.push(OpenJobs { provider: text(row, "provider")?, state, jobs: natural(row, "jobs")? });
        }
        Ok(open)
    }
}
