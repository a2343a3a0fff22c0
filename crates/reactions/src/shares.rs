//! The ticks of a room by shares of its receivers: in a large room a tick tells a fifth of them, and the others in turn, so that neither the server
//! nor the network has a thousand texts to carry at one moment and then nothing. Every share has counters of its own, which count everything, since what
//! was told, and how often, differs. A small room has one share.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::aggregator::{Aggregator, Reported};

/// Receivers of a share, at least. Fewer make each burst shorter, and the counting dearer, which is done for each share.
const SHARE: usize = 200;

/// Shares at most.
const MOST: usize = 5;

/// Whom a text is for: of the receivers, numbered in any way that lasts, those whose number leaves `at` when divided by `of`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Which share, from 0.
    pub at: u32,
    /// Of how many.
    pub of: u32,
}

impl Share {
    /// Everybody.
    pub const ALL: Self = Self { at: 0, of: 1 };

    /// Whether it is for the receiver of this number.
    #[must_use]
    pub fn has(self, number: u64) -> bool {
        number % u64::from(self.of.max(1)) == u64::from(self.at)
    }
}

/// A text for a share.
pub(crate) struct Told {
    pub(crate) share: Share,
    pub(crate) text: String,
    /// What was counted, in every reaction's first text alone.
    pub(crate) reported: Option<Reported>,
}

#[derive(Debug, Clone)]
struct Turn {
    aggregator: Aggregator,
    /// When it may be told next.
    next: Option<Instant>,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Shares {
    turns: Vec<Turn>,
    /// The number of the last text, of whichever share.
    tick: u64,
    /// When the first was told; turns come at fixed distances from then on.
    began: Option<Instant>,
}

impl Shares {
    pub(crate) fn new() -> Self {
        Self { turns: vec![Turn { aggregator: Aggregator::new(), next: None }], tick: 0, began: None }
    }

    /// The number of the last text.
    pub(crate) fn tick(&self) -> u64 {
        self.tick
    }

    /// Says how many receivers there are. Where that changes the shares, whoever comes into another may have been told less than it was; so what any
    /// share still has to tell, all tell as often as if it had just changed.
    pub(crate) fn set_receivers(&mut self, receivers: usize) {
        let shares = (receivers / SHARE).clamp(1, MOST);
        if shares == self.turns.len() {
            return;
        }
        // All shares count the same, so a counter has the same place in each.
        let pending: BTreeSet<usize> = self.turns.iter().flat_map(|turn| turn.aggregator.pending()).collect();
        for at in pending {
            let before = self.turns.iter().map(|turn| turn.aggregator.told_before(at)).min().unwrap_or_default();
            self.turns.iter_mut().for_each(|turn| turn.aggregator.tell_again(at, before));
        }
        if let Some(first) = self.turns.first().cloned() {
            self.turns.resize(shares, first);
        }
    }

    /// Counts a reaction, which was validated.
    pub(crate) fn count(&mut self, reaction: &str, participant: &Arc<str>, name: &Arc<str>, large: bool) {
        for turn in &mut self.turns {
            turn.aggregator.count(reaction, participant, name, large);
        }
    }

    /// When [`Self::take_due`] has something.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.turns.iter().filter(|turn| turn.aggregator.is_due()).filter_map(|turn| turn.next).min()
    }

    /// The next text that is due.
    pub(crate) fn take_due(&mut self, now: Instant, tick: Duration, large: bool) -> Option<Told> {
        let is_due = |turn: &Turn| turn.aggregator.is_due() && turn.next.is_none_or(|next| now >= next);
        let at = self.turns.iter().position(is_due)?;
        let of = self.turns.len() as u32;
        let began = *self.began.get_or_insert(now);
        let turn = self.turns.get_mut(at)?;
        self.tick += 1;
        turn.next = Some(match of {
            1 => now + tick,
            _ => next_turn(began, now, tick, tick * (at as u32 + 1) / of),
        });
        let reported = turn.aggregator.report().filter(|_| at == 0);
        let text = turn.aggregator.write_tick(self.tick, large);
        Some(Told { share: Share { at: at as u32, of }, text, reported })
    }
}

/// The first moment that is a whole number of ticks after `began` and `phase`, and at least half a tick from now: turns that were late, or at once after
/// silence, find back to their distance.
fn next_turn(began: Instant, now: Instant, tick: Duration, phase: Duration) -> Instant {
    let elapsed = (now.saturating_duration_since(began) + tick / 2).saturating_sub(phase);
    let ticks = elapsed.as_nanos().div_ceil(tick.as_nanos().max(1));
    began + phase + tick * u32::try_from(ticks).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receivers_are_told_in_shares_of_two_hundred_and_five_at_most() {
        let shares = |receivers| {
            let mut shares = Shares::new();
            shares.set_receivers(receivers);
            shares.turns.len()
        };
        assert_eq!([0, 1, 399, 400, 999, 1_000, 100_000].map(shares), [1, 1, 1, 2, 4, 5, 5]);
        assert!((0..10).all(|number| Share::ALL.has(number)));
        assert_eq!((0..7).filter(|&number| Share { at: 1, of: 3 }.has(number)).collect::<Vec<_>>(), [1, 4]);
    }

    #[test]
    fn turns_find_back_to_their_distance() {
        let (began, ms) = (Instant::now(), Duration::from_millis);
        let next = |now: u64, phase: u64| (next_turn(began, began + ms(now), ms(250), ms(phase)) - began).as_millis();
        assert_eq!(
            [50, 100, 150, 200, 250].map(|phase| next(0, phase)),
            [300, 350, 150, 200, 250],
            "at once, the first time"
        );
        assert_eq!(next(300, 50), 550);
        assert_eq!(next(310, 50), 550, "late");
        assert_eq!(next(900, 100), 1_100, "later than the next: the one after that");
    }
}
