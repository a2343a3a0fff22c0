//! Bits per second over the last moments, in buckets of 25 ms: of what was sent, or of what arrived by the receiver's clock. It adds up and divides;
//! what a rate means is decided elsewhere.

use super::Micros;

/// The length of a bucket: fine enough for a window of 150 ms, and a second of them fits into a few cache lines.
const BUCKET: Micros = 25_000;
/// Buckets that are kept: a second.
const BUCKETS: usize = 40;

#[derive(Debug)]
pub(super) struct Throughput {
    bytes: [u32; BUCKETS],
    /// The number of the newest bucket, counted in [`BUCKET`]s, and that of the first ever.
    newest: i64,
    first: Option<i64>,
}

impl Default for Throughput {
    fn default() -> Self {
        Self { bytes: [0; BUCKETS], newest: 0, first: None }
    }
}

impl Throughput {
    /// Counts a packet. Those older than a second are left out.
    pub(super) fn add(&mut self, at: Micros, bytes: u32) {
        let bucket = at.div_euclid(BUCKET);
        if self.first.is_none() {
            (self.first, self.newest) = (Some(bucket), bucket);
        }
        self.advance(bucket);
        if self.newest - bucket < BUCKETS as i64 {
            self.bytes[place(bucket)] += bytes;
        }
    }

    /// Empties the buckets up to this one.
    fn advance(&mut self, bucket: i64) {
        let ahead = bucket - self.newest;
        for skipped in 0..ahead.clamp(0, BUCKETS as i64) {
            self.bytes[place(bucket - skipped)] = 0;
        }
        self.newest = self.newest.max(bucket);
    }

    /// Bits per second over the last `window`, the present bucket left out, since it is not complete. `None` until
    /// half of the window has been seen.
    pub(super) fn rate(&self, window: Micros) -> Option<f64> {
        let buckets = (window / BUCKET).clamp(1, BUCKETS as i64 - 1);
        let seen = (self.newest - self.first?).min(buckets);
        if seen * 2 < buckets || seen == 0 {
            return None;
        }
        let bytes: u64 = (1..=seen).map(|back| u64::from(self.bytes[place(self.newest - back)])).sum();
        Some(bytes as f64 * 8e6 / (seen * BUCKET) as f64)
    }

    /// As [`rate`](Self::rate), up to a moment in which nothing may have been counted.
    pub(super) fn rate_at(&mut self, now: Micros, window: Micros) -> Option<f64> {
        self.first?;
        self.advance(now.div_euclid(BUCKET));
        self.rate(window)
    }
}

fn place(bucket: i64) -> usize {
    bucket.rem_euclid(BUCKETS as i64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_stream_has_its_rate_over_any_window() {
        let mut throughput = Throughput::default();
        for n in 0..1_000 {
            throughput.add(n * 5_000, 625);
        }
        for window in [100_000, 250_000, 500_000, 900_000] {
            let rate = throughput.rate(window).unwrap_or_default();
            assert!((rate - 1_000_000.0).abs() < 1.0, "{rate}");
        }
    }

    #[test]
    fn silence_counts_as_nothing_and_little_is_no_rate() {
        let mut throughput = Throughput::default();
        assert_eq!(throughput.rate(500_000), None);
        throughput.add(0, 1000);
        throughput.add(100_000, 1000);
        assert_eq!(throughput.rate(500_000), None, "a tenth of a second says nothing of half of one");
        assert_eq!(throughput.rate_at(10_000_000, 500_000), Some(0.0));
    }
}
