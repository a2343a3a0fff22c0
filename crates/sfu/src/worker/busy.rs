//! How busy a worker is: the share of the last second that its loop spent at work and not waiting. Counted once a round, with one look at the clock, and read by whoever
//! places rooms without asking the worker. It is the loop's time, not the processor's: a worker that has to share its core is as busy as one that
//! has more to do.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Shares are told for whole windows. Shorter ones follow a burst, longer ones send newcomers to where it was quiet a while ago.
const WINDOW: Duration = Duration::from_secs(1);

/// What a worker tells of itself.
#[derive(Debug)]
pub(super) struct Busy {
    origin: Instant,
    /// The last window that was told of, and its share in permille in the lower half.
    told: AtomicU64,
}

impl Busy {
    pub(super) fn new(origin: Instant) -> Self {
        Self { origin, told: AtomicU64::new(0) }
    }

    fn window(&self, at: Instant) -> u64 {
        (at.saturating_duration_since(self.origin).as_millis() / WINDOW.as_millis()) as u64 + 1
    }

    /// The share in permille. A worker that has told of none of the last two windows has slept through one: 0.
    pub(super) fn permille(&self, now: Instant) -> u16 {
        let told = self.told.load(Ordering::Relaxed);
        let is_recent = (told >> 32) + 2 >= self.window(now);
        if is_recent { (told & 0xFFFF) as u16 } else { 0 }
    }
}

/// The worker's own end.
#[derive(Debug)]
pub(super) struct BusyMeter {
    told: std::sync::Arc<Busy>,
    window: u64,
    busy: Duration,
}

impl BusyMeter {
    pub(super) fn new(told: std::sync::Arc<Busy>) -> Self {
        Self { told, window: 0, busy: Duration::ZERO }
    }

    /// A round began and ended.
    pub(super) fn worked(&mut self, began: Instant, ended: Instant) {
        let window = self.told.window(ended);
        if window != self.window {
            let whole = if window == self.window + 1 { self.busy.min(WINDOW) } else { Duration::ZERO };
            let permille = (whole.as_micros() * 1000 / WINDOW.as_micros()) as u64;
            self.told.told.store((window - 1) << 32 | permille, Ordering::Relaxed);
            (self.window, self.busy) = (window, Duration::ZERO);
        }
        self.busy += ended.saturating_duration_since(began);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_worker_that_works_a_quarter_of_the_time_says_so_and_one_that_sleeps_is_not_busy() {
        let origin = Instant::now();
        let busy = Arc::new(Busy::new(origin));
        let mut meter = BusyMeter::new(busy.clone());
        assert_eq!(busy.permille(origin), 0);
        for at in (0..2_500).step_by(20) {
            meter.worked(origin + at * MS, origin + (at + 5) * MS);
        }
        let told = busy.permille(origin + 2_500 * MS);
        assert!((240..=260).contains(&told), "{told}");
        assert_eq!(busy.permille(origin + 6_000 * MS), 0);
        meter.worked(origin + 6_000 * MS, origin + 6_500 * MS);
        assert_eq!(busy.permille(origin + 6_500 * MS), 0, "nothing is known of a window that was slept through");
    }
}
