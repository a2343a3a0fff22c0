//! The lowest or the highest of a fluctuating value over the last while, in constant space: two generations, of which the older is
//! forgotten when the younger is full.

use std::time::{Duration, Instant};

/// How long a generation of a rate's peak lasts: a value counts for one to two of them. Long enough that a keyframe each few seconds stays in it.
pub(crate) const PEAK: Duration = Duration::from_millis(2_500);

/// The extreme of a value over one to two generations.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Generations {
    pick: fn(u64, u64) -> u64,
    length: Duration,
    younger: u64,
    older: u64,
    latest: u64,
    since: Option<Instant>,
}

impl Generations {
    /// The lowest over one to two times `length`.
    pub(crate) fn lowest(length: Duration) -> Self {
        Self { pick: u64::min, length, younger: u64::MAX, older: u64::MAX, latest: u64::MAX, since: None }
    }

    /// The highest likewise.
    pub(crate) fn highest(length: Duration) -> Self {
        Self { pick: u64::max, length, younger: 0, older: 0, latest: 0, since: None }
    }

    /// The value is this from now on.
    pub(crate) fn set(&mut self, now: Instant, value: u64) {
        if self.since.is_none() {
            (self.younger, self.older, self.since) = (value, value, Some(now));
        }
        self.age(now);
        self.latest = value;
        self.younger = (self.pick)(self.younger, value);
    }

    /// The extreme as of now.
    pub(crate) fn get(&mut self, now: Instant) -> u64 {
        self.age(now);
        (self.pick)(self.younger, self.older)
    }

    fn age(&mut self, now: Instant) {
        let Some(since) = self.since else { return };
        let age = now.saturating_duration_since(since);
        if age >= self.length {
            self.older = if age >= 2 * self.length { self.latest } else { self.younger };
            self.younger = self.latest;
            self.since = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dip_counts_for_one_to_two_generations_and_a_value_without_news_stays() {
        let mut now = Instant::now();
        let mut lowest = Generations::lowest(PEAK);
        lowest.set(now, 10);
        lowest.set(now, 3);
        lowest.set(now, 9);
        assert_eq!(lowest.get(now), 3);
        now += PEAK;
        assert_eq!(lowest.get(now), 3, "it is in the older generation");
        now += PEAK;
        assert_eq!(lowest.get(now), 9);
        now += 100 * PEAK;
        assert_eq!(lowest.get(now), 9);
    }

    #[test]
    fn a_peak_is_remembered_likewise() {
        let now = Instant::now();
        let mut highest = Generations::highest(PEAK);
        assert_eq!(highest.get(now), 0);
        highest.set(now, 5);
        highest.set(now + PEAK, 2);
        assert_eq!(highest.get(now + PEAK), 5);
        assert_eq!(highest.get(now + 3 * PEAK), 2);
    }
}
