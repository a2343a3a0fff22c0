//! What a subscriber's network can take, as it was estimated lately: what flows may use the estimate of this moment, a change to something
//! dearer only what the estimate has not fallen below for a while. Where such a change had to be taken back soon after, the level at
//! which it failed is remembered, each time for longer. It estimates nothing itself.

use std::time::{Duration, Instant};

use super::Generations;

/// What there has been "for a while" has not been less for one to two times this. Longer is slower to use a link that has become better, shorter
/// takes the space between two dips for a better link.
const WHILE: Duration = Duration::from_millis(750);
/// A rise that is undone within this time was a mistake.
const TOO_SOON: Duration = Duration::from_secs(10);
/// For so long the level at which a rise failed first limits the next: one change in ten seconds is not seen as unrest.
const FIRST_PATIENCE: Duration = Duration::from_secs(10);
/// … and so long at most: a link that has become better is used within a minute.
const MOST_PATIENCE: Duration = Duration::from_secs(60);
/// What failed says nothing of a network that has for a while had so many times that: it is another one, or has got its room back.
const ANOTHER_NETWORK: u64 = 2;

/// The estimate, now and over the last while, in bit/s.
#[derive(Debug)]
pub struct Budget {
    live: Option<u64>,
    lowest: Generations,
    raised: Option<Instant>,
    lowered: Option<Instant>,
    patience: Duration,
    /// The level at which a rise failed, and until when it counts.
    failed: Option<(u64, Instant)>,
}

impl Default for Budget {
    fn default() -> Self {
        let lowest = Generations::lowest(WHILE);
        Self { live: None, lowest, raised: None, lowered: None, patience: Duration::ZERO, failed: None }
    }
}

impl Budget {
    /// Takes an estimate in bit/s, sound and headers included; `None`: there is none, and no limit.
    pub fn set(&mut self, now: Instant, bits_per_second: Option<u64>) {
        self.live = bits_per_second;
        match bits_per_second {
            Some(bits) => self.lowest.set(now, bits),
            None => *self = Self::default(),
        }
    }

    /// Nothing is heard of the network, of which so much is held possible meanwhile, in bit/s. What has to give way for this was no mistake.
    pub fn interrupt(&mut self, now: Instant, bits_per_second: u64) {
        self.set(now, Some(bits_per_second));
        self.raised = None;
    }

    /// Whether there is an estimate, and so a limit.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.live.is_some()
    }

    /// What there is at this moment; `u64::MAX` without a limit.
    #[must_use]
    pub fn live(&self) -> u64 {
        self.live.unwrap_or(u64::MAX)
    }

    /// What there has been for a while, never more than [`live`](Self::live).
    #[must_use]
    pub fn steady(&mut self, now: Instant) -> u64 {
        let lowest = self.lowest.get(now).min(self.live());
        let failed = self.failed.filter(|(level, until)| now < *until && lowest / ANOTHER_NETWORK < *level);
        if failed.is_none() && self.failed.take_if(|(_, until)| now < *until).is_some() {
            self.patience = Duration::ZERO;
        }
        failed.map_or(lowest, |(level, _)| lowest.min(level))
    }

    /// Something dearer flows from now on.
    pub(super) fn on_raised(&mut self, now: Instant) {
        // Without a limit it was no venture.
        self.raised = self.live.map(|_| now);
    }

    /// Something had to give way, of what took so much at its peak.
    pub(super) fn on_lowered(&mut self, now: Instant, spent: u64) {
        let within = |since: Option<Instant>, time| since.is_some_and(|at| now.saturating_duration_since(at) < time);
        // One rise fails once, in however many steps it is taken back.
        if within(self.raised.take(), TOO_SOON) {
            self.patience = (self.patience * 2).clamp(FIRST_PATIENCE, MOST_PATIENCE);
            self.failed = Some((spent, now + self.patience));
        } else if !within(self.lowered, MOST_PATIENCE) {
            self.patience = Duration::ZERO;
        }
        self.lowered = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fall_counts_at_once_and_a_rise_after_a_while() {
        let now = Instant::now();
        let mut budget = Budget::default();
        assert_eq!((budget.live(), budget.steady(now)), (u64::MAX, u64::MAX));
        budget.set(now, Some(300));
        budget.set(now, Some(2_000));
        assert_eq!((budget.live(), budget.steady(now)), (2_000, 300));
        assert_eq!(budget.steady(now + Duration::from_secs(5)), 2_000, "back up within five seconds");
        budget.set(now + Duration::from_secs(5), Some(400));
        assert_eq!(budget.steady(now + Duration::from_secs(5)), 400);
    }

    #[test]
    fn a_rise_that_fails_again_and_again_is_tried_less_and_less_often() {
        let mut now = Instant::now();
        let mut budget = Budget::default();
        let mut waits = Vec::new();
        for _ in 0..5 {
            budget.set(now, Some(1_000));
            budget.on_raised(now);
            now += Duration::from_secs(3);
            budget.set(now, Some(600));
            budget.on_lowered(now, 900);
            budget.set(now, Some(1_000));
            let failed = now;
            while budget.steady(now) < 1_000 {
                now += Duration::from_millis(500);
            }
            waits.push((now - failed).as_secs());
        }
        assert_eq!(waits, [10, 20, 40, 60, 60]);
    }

    #[test]
    fn a_rise_that_is_taken_back_in_several_steps_has_failed_once_and_does_not_bar_what_is_far_below_it() {
        let mut now = Instant::now();
        let mut budget = Budget::default();
        budget.set(now, Some(2_000));
        budget.on_raised(now);
        for live in [1_000, 500, 200] {
            now += Duration::from_millis(100);
            budget.set(now, Some(live));
            budget.on_lowered(now, live * 2 - 200);
        }
        budget.set(now, Some(2_000));
        assert_eq!(budget.steady(now + Duration::from_secs(5)), 1_800);
        assert_eq!(budget.steady(now + FIRST_PATIENCE), 2_000);
    }

    #[test]
    fn what_failed_on_a_thin_link_says_nothing_of_one_that_has_twice_as_much_for_a_while() {
        let mut now = Instant::now();
        let mut budget = Budget::default();
        budget.set(now, Some(300));
        budget.on_raised(now);
        budget.on_lowered(now, 250);
        budget.set(now, Some(490));
        now += 2 * WHILE;
        assert_eq!(budget.steady(now), 250);
        budget.set(now, Some(2_000));
        assert_eq!(budget.steady(now), 250, "it may be a spike");
        assert_eq!(budget.steady(now + 2 * WHILE), 2_000);
    }

    #[test]
    fn a_rise_that_an_interruption_undoes_has_not_failed() {
        let mut now = Instant::now();
        let mut budget = Budget::default();
        budget.set(now, Some(1_000));
        budget.on_raised(now);
        now += Duration::from_secs(3);
        budget.interrupt(now, 500);
        budget.on_lowered(now, 900);
        budget.set(now, Some(1_000));
        assert_eq!(budget.steady(now + 2 * WHILE), 1_000);
    }

    #[test]
    fn a_fall_long_after_a_rise_is_the_networks_and_not_remembered() {
        let mut now = Instant::now();
        let mut budget = Budget::default();
        budget.set(now, Some(1_000));
        budget.on_raised(now);
        now += Duration::from_secs(30);
        budget.set(now, Some(300));
        budget.on_lowered(now, 900);
        budget.set(now, Some(1_000));
        assert_eq!(budget.steady(now + Duration::from_secs(5)), 1_000);
    }
}
