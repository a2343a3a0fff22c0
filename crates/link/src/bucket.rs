//! A token bucket in exact integer arithmetic: tokens are billionths of a bit, so that a bit rate times nanoseconds needs no rounding. It
//! knows the time only as what it is told.

use std::time::{Duration, Instant};

const PER_BIT: i128 = 1_000_000_000;

#[derive(Debug, Default)]
pub(crate) struct Bucket {
    tokens: i128,
    /// Up to when tokens have been counted. `None` before the first use: the bucket is full then.
    at: Option<Instant>,
}

impl Bucket {
    /// Fills up to `now` at `rate` bits per second, to `burst` bytes at most.
    pub(crate) fn fill(&mut self, now: Instant, rate: u64, burst: usize) {
        let full = bits(burst);
        let Some(at) = self.at else {
            (self.tokens, self.at) = (full, Some(now));
            return;
        };
        let passed = now.saturating_duration_since(at);
        self.tokens = (self.tokens + i128::from(rate) * passed.as_nanos() as i128).min(full);
        self.at = Some(at.max(now));
    }

    /// How long until `bytes` may pass, zero for at once. A packet larger than the burst passes when the bucket is full. `None`: never at this rate, which is zero.
    pub(crate) fn wait(&self, bytes: usize, rate: u64, burst: usize) -> Option<Duration> {
        if rate == 0 {
            return None;
        }
        let missing = bits(bytes.min(burst)) - self.tokens;
        if missing <= 0 {
            return Some(Duration::ZERO);
        }
        let nanos = (missing as u128).div_ceil(u128::from(rate));
        Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    /// Takes the tokens for `bytes`, into debt where they are more than the burst.
    pub(crate) fn take(&mut self, bytes: usize) {
        self.tokens -= bits(bytes);
    }
}

fn bits(bytes: usize) -> i128 {
    bytes as i128 * 8 * PER_BIT
}
