//! Token buckets on virtual time: how often somebody may do something, and when they may again.

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
pub(crate) struct TokenBucket {
    rate: Rate,
    /// When it will be, or was, full: one instant says it all, and there is nothing to round.
    full_at: Instant,
}

impl TokenBucket {
    /// A full bucket.
    pub(crate) fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, full_at: now }
    }

    /// How long until there is a token; zero: now.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        let owed = self.full_at.saturating_duration_since(now);
        owed.saturating_sub(self.rate.every * self.rate.burst.saturating_sub(1))
    }

    /// Takes a token.
    ///
    /// # Errors
    /// How long to wait for one; nothing has been taken then.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        match self.wait(now) {
            Duration::ZERO => {
                self.full_at = self.full_at.max(now) + self.rate.every;
                Ok(())
            }
            wait => Err(wait),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_one_each_interval_and_the_wait_is_exact() {
        let start = Instant::now();
        let every = Duration::from_millis(200);
        let mut bucket = TokenBucket::new(Rate { burst: 3, every }, start);
        assert!((0..3).all(|_| bucket.take(start).is_ok()));
        assert_eq!(bucket.take(start), Err(every));
        assert_eq!(bucket.take(start + every / 4), Err(every * 3 / 4));
        assert_eq!(bucket.take(start + every), Ok(()));
        let later = start + every * 1000;
        assert!((0..3).all(|_| bucket.take(later).is_ok()), "a long quiet time earns a burst");
        assert_eq!(bucket.take(later), Err(every), "and not more");
    }
}
