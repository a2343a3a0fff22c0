//! How long a worker has packets in its hands, as a histogram: from taking a batch of datagrams off a socket until what came of them was given back to the system. Counted once a batch, with one look at the
//! clock. What waits in the system's buffers before, or is held back by a pacer, is not part of it.

use std::time::Duration;

/// Upper ends of the buckets: from what a packet takes on an idle machine to what is heard.
pub const DELAY_BOUNDS: [Duration; 10] = [
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(200),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_millis(2),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(20),
    Duration::from_millis(50),
];

/// A histogram of delays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delays {
    /// How many were within each of [`DELAY_BOUNDS`] and above the one before; the last one counts what was longer.
    pub counts: [u64; DELAY_BOUNDS.len() + 1],
    /// All of them together.
    pub sum: Duration,
}

impl Delays {
    /// Counts one.
    #[inline]
    pub(super) fn observe(&mut self, delay: Duration) {
        let bucket = DELAY_BOUNDS.iter().position(|bound| delay <= *bound).unwrap_or(DELAY_BOUNDS.len());
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.sum += delay;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_delay_is_counted_once_in_the_first_bucket_that_holds_it() {
        let mut delays = Delays::default();
        for micros in [0, 50, 51, 1_000, 49_999, 50_000, 70_000] {
            delays.observe(Duration::from_micros(micros));
        }
        assert_eq!(delays.counts, [2, 1, 0, 0, 1, 0, 0, 0, 0, 2, 1]);
        assert_eq!(delays.sum, Duration::from_micros(171_100));
    }
}
