//! Token buckets: how often somebody may do something, and when they may again. The keyed form forgets who has been quiet, so
//! that names made up by an attacker do not pile up.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// A sustained rate with a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many at once after a quiet time; at least one.
    pub burst: u32,
    /// How long it takes to earn one more; zero: no limit.
    pub every: Duration,
}

/// One bucket of a [`Rate`].
#[derive(Debug, Clone, Copy)]
pub struct TokenBucket {
    rate: Rate,
    /// When it will be, or was, full: one instant says it all, and there is nothing to round.
    full_at: Instant,
}

impl TokenBucket {
    /// A full bucket.
    pub fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, full_at: now }
    }

    /// How long until there is a token; zero: now.
    pub fn wait(&self, now: Instant) -> Duration {
        let owed = self.full_at.saturating_duration_since(now);
        let allowed = self.rate.every * self.rate.burst.saturating_sub(1);
        owed.saturating_sub(allowed)
    }

    /// Takes a token.
    ///
    /// # Errors
    /// How long to wait for one; nothing has been taken then.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        match self.wait(now) {
            Duration::ZERO => {
                self.full_at = self.full_at.max(now) + self.rate.every;
                Ok(())
            }
            wait => Err(wait),
        }
    }
}

/// A bucket for each key.
#[derive(Debug)]
pub struct KeyedBuckets<K> {
    rate: Rate,
    buckets: HashMap<K, TokenBucket>,
    sweep_at: usize,
}

/// Sweeping below this number of keys is not worth the while.
const MIN_SWEEP: usize = 1024;

impl<K: Eq + Hash> KeyedBuckets<K> {
    /// No buckets yet; each starts full.
    pub fn new(rate: Rate) -> Self {
        Self { rate, buckets: HashMap::new(), sweep_at: MIN_SWEEP }
    }

    /// How long until there is a token for this key; zero: now.
    pub fn wait(&self, now: Instant, key: &K) -> Duration {
        self.buckets.get(key).map_or(Duration::ZERO, |bucket| bucket.wait(now))
    }

    /// Takes a token for this key.
    ///
    /// # Errors
    /// How long to wait for one; nothing has been taken then.
    pub fn take(&mut self, now: Instant, key: K) -> Result<(), Duration> {
        if self.buckets.len() >= self.sweep_at {
            self.buckets.retain(|_, bucket| bucket.full_at > now);
            self.sweep_at = MIN_SWEEP.max(self.buckets.len() * 2);
        }
        let rate = self.rate;
        self.buckets.entry(key).or_insert_with(|| TokenBucket::new(rate, now)).take(now)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_passes_and_then_one_each_interval() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(Rate { burst: 3, every: SECOND }, start);
        for _ in 0..3 {
            bucket.take(start).unwrap();
        }
        assert_eq!(bucket.take(start), Err(SECOND));
        assert_eq!(bucket.take(start + SECOND / 2), Err(SECOND / 2));
        bucket.take(start + SECOND).unwrap();
        assert_eq!(bucket.take(start + SECOND), Err(SECOND));
        // A long quiet time earns a burst, not more.
        let later = start + 60 * SECOND;
        for _ in 0..3 {
            bucket.take(later).unwrap();
        }
        assert_eq!(bucket.take(later), Err(SECOND));
    }

    #[test]
    fn quiet_keys_are_forgotten() {
        let start = Instant::now();
        let mut buckets = KeyedBuckets::new(Rate { burst: 1, every: SECOND });
        for key in 0..100_000_u32 {
            buckets.take(start + Duration::from_millis(key.into()), key).unwrap();
        }
        assert!(buckets.buckets.len() < 3_000, "{} buckets", buckets.buckets.len());
    }
}
