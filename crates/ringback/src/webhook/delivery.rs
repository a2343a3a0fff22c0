//! When an event is posted again. One event at a time, since they are to come in order; no clock and no socket, so that days of retries are tested in a moment.
//! It never gives an event up: what is not taken for as long as the log keeps events is forgotten there.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A receiver that asks for a longer pause gets this one: it may be mistaken, and whoever repairs it should not have to restart us.
const LONGEST_ASKED: Duration = Duration::from_secs(24 * 3_600);

/// What came of posting an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// A status from 200 to 299.
    Taken,
    /// 410: the receiver wants no more.
    Gone,
    /// Another status, or none in time, and how long the receiver wants to be left alone if it said so.
    Failed {
        /// `Retry-After`.
        retry_after: Option<Duration>,
    },
}

/// What to do then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Go on with the event after it.
    Next,
    /// Post it again then.
    Again(Instant),
    /// Post nothing any more.
    Stop,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Delivery {
    first: Duration,
    longest: Duration,
    /// The next pause, before dice.
    pause: Duration,
    dice: StdRng,
}

impl Delivery {
    pub(super) fn new(first: Duration, longest: Duration, seed: u64) -> Self {
        Self { first, longest, pause: first, dice: StdRng::seed_from_u64(seed) }
    }

    pub(super) fn handle(&mut self, now: Instant, answer: Answer) -> Step {
        match answer {
            Answer::Taken => {
                self.pause = self.first;
                Step::Next
            }
            Answer::Gone => Step::Stop,
            Answer::Failed { retry_after } => {
                // Many senders that failed together must not come back together.
                let pause = self.pause.mul_f64(self.dice.random_range(0.5..=1.0));
                self.pause = (self.pause * 2).min(self.longest);
                Step::Again(now + pause.max(retry_after.unwrap_or_default().min(LONGEST_ASKED)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(300);
    const FAILED: Answer = Answer::Failed { retry_after: None };

    fn pause(delivery: &mut Delivery, answer: Answer) -> Duration {
        let now = Instant::now();
        match delivery.handle(now, answer) {
            Step::Again(then) => then - now,
            step => panic!("{answer:?}: {step:?}"),
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_the_dice_take_at_most_half_off() {
        for seed in 0..200 {
            let mut delivery = Delivery::new(FIRST, LONGEST, seed);
            let mut whole = FIRST;
            for _ in 0..20 {
                let pause = pause(&mut delivery, FAILED);
                assert!((whole / 2..=whole).contains(&pause), "{pause:?} of {whole:?}");
                whole = (whole * 2).min(LONGEST);
            }
            assert_eq!(whole, LONGEST);
        }
    }

    #[test]
    fn senders_that_failed_together_do_not_come_back_together() {
        let pauses = (0..100).map(|seed| pause(&mut Delivery::new(FIRST, LONGEST, seed), FAILED));
        let mut pauses: Vec<_> = pauses.collect();
        pauses.sort_unstable();
        pauses.dedup();
        assert!(pauses.len() > 90, "{} different ones of 100", pauses.len());
        assert!(pauses[pauses.len() - 1] - pauses[0] > Duration::from_millis(400));
    }

    #[test]
    fn an_event_that_was_taken_makes_the_pauses_short_again() {
        let mut delivery = Delivery::new(FIRST, LONGEST, 1);
        (0..10).for_each(|_| _ = delivery.handle(Instant::now(), FAILED));
        assert_eq!(delivery.handle(Instant::now(), Answer::Taken), Step::Next);
        assert!(pause(&mut delivery, FAILED) <= FIRST);
    }

    #[test]
    fn a_receiver_that_asks_for_a_pause_gets_it_and_a_day_at_most() {
        let asks = |seconds| Answer::Failed { retry_after: Some(Duration::from_secs(seconds)) };
        let mut delivery = Delivery::new(FIRST, LONGEST, 1);
        assert_eq!(pause(&mut delivery, asks(120)), Duration::from_secs(120));
        assert_eq!(pause(&mut delivery, asks(u64::MAX)), LONGEST_ASKED);
        // Less than the pause would be anyway.
        assert!(pause(&mut delivery, asks(0)) >= FIRST);
    }

    #[test]
    fn a_receiver_that_is_gone_gets_nothing_any_more() {
        assert_eq!(Delivery::new(FIRST, LONGEST, 1).handle(Instant::now(), Answer::Gone), Step::Stop);
    }
}
