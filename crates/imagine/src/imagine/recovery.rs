//! After a restart: jobs that a former process left go on, and what was not told yet is told. Once an hour: what is old is forgotten, and bytes that no row refers to are deleted.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rand::Rng;

use super::{Inner, drive, unix_ms};
use crate::error::ImagineError;
use crate::job::{Job, JobState, Left};
use crate::money::Money;
use crate::provider::FailReason;
use crate::store::JobRow;

/// How often what is too old is deleted.
const SWEEP: Duration = Duration::from_secs(3_600);

/// Bytes without a row are left alone this long: those of a picture that is being kept are there first.
const YOUNG: Duration = Duration::from_secs(3_600);

/// How long after its patience has ended a job of another process is given up: that process is gone for good.
const ABANDONED: Duration = Duration::from_secs(24 * 3_600);

/// A day.
const DAY: Duration = Duration::from_secs(24 * 3_600);

impl Inner {
    /// Takes up what a former process left.
    pub(super) async fn recover(self: &Arc<Self>) -> Result<(), ImagineError> {
        for row in self.store.untold_jobs(&self.owner).await? {
            self.tell(&row);
        }
        self.recover_reactions().await?;
        for mut row in self.store.open_jobs(&self.owner).await? {
            let Some(provider) = self.provider(&row.provider) else {
                tracing::warn!(
                    image = row.id,
                    provider = row.provider,
                    "the provider of an image is not configured any more"
                );
                self.give_up(&mut row, JobState::Failed, Some(FailReason::Gone)).await;
                continue;
            };
            let age = Duration::from_millis(unix_ms().saturating_sub(row.created_at));
            let left = Left { state: row.state, kept: row.picture.is_some(), age };
            let rules = self.rules(provider.client.as_ref());
            self.begin(row, Some(Job::restore(Instant::now(), rules, rand::rng().random(), left)));
        }
        Ok(())
    }

    /// Ends a job that nobody carries on.
    async fn give_up(&self, row: &mut JobRow, state: JobState, reason: Option<FailReason>) {
        row.charged = if row.state == JobState::Queued { Money::ZERO } else { row.cost };
        (row.state, row.reason, row.ended_at, row.picture) = (state, reason, Some(unix_ms()), None);
        if drive::keep(self, row).await {
            self.tell(row);
        }
    }

    async fn sweep(&self) -> Result<(), ImagineError> {
        let now = unix_ms();
        let before = |time: Duration| now.saturating_sub(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        let patience = self.config.expires() + ABANDONED;
        for mut row in self.store.abandoned_jobs(before(patience)).await? {
            self.give_up(&mut row, JobState::Expired, None).await;
        }
        if let Some(days) = self.config.retention_days {
            for key in self.store.forget_before(before(DAY * days)).await? {
                self.bytes.delete(&key).await.map_err(ImagineError::Bytes)?;
            }
        }
        let kept = self.bytes.keys("images").await.map_err(ImagineError::Bytes)?;
        let in_use = self.store.keys_in_use().await?;
        let old = before(YOUNG);
        for (key, _) in kept.into_iter().filter(|(key, written)| *written < old && !in_use.contains(key)) {
            self.bytes.delete(&key).await.map_err(ImagineError::Bytes)?;
        }
        Ok(())
    }
}

/// Forgets what is too old, and deletes bytes that no row refers to.
pub(super) async fn sweep(inner: Weak<Inner>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(inner) = inner.upgrade() else { return };
        if let Err(error) = inner.sweep().await {
            tracing::warn!(%error, "sweeping images failed; again in an hour");
        }
    }
}
