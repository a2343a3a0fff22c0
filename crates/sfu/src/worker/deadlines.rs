//! What is due when: a heap of deadlines, so that nothing is scanned to find the next one. A deadline that was moved earlier leaves
//! a stale entry behind, which costs one look when it comes up.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// Deadlines that are further away than this are rounded up …
const FAR: Duration = Duration::from_secs(1);

/// … to multiples of this, so that many idle connections wake the worker together. More would save little, and end connections later.
const GRID: Duration = Duration::from_millis(100);

/// Whose deadline it is, by place: rooms and peers are found again by these, or are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    /// A room's tick.
    Room(usize),
    /// A connection's timers.
    Peer(usize, usize),
    /// TCP connections whose time is up.
    Connections,
}

/// Deadlines, earliest first.
#[derive(Debug)]
pub(super) struct Deadlines {
    origin: Instant,
    heap: BinaryHeap<Reverse<(Instant, Owner)>>,
}

impl Deadlines {
    /// None so far.
    pub(super) fn new(origin: Instant) -> Self {
        Self { origin, heap: BinaryHeap::new() }
    }

    /// When a deadline stands that is meant for `at`.
    #[inline]
    pub(super) fn rounded(&self, now: Instant, at: Instant) -> Instant {
        if at <= now + FAR {
            return at;
        }
        let steps = at.saturating_duration_since(self.origin).as_millis().div_ceil(GRID.as_millis());
        u32::try_from(steps).map_or(at, |steps| self.origin + GRID * steps)
    }

    /// Adds a deadline.
    pub(super) fn push(&mut self, at: Instant, owner: Owner) {
        self.heap.push(Reverse((at, owner)));
    }

    /// The earliest.
    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes out one that is due.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Owner> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, owner))| owner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_due_comes_out_in_order_and_nothing_else_does() {
        let now = Instant::now();
        let mut deadlines = Deadlines::new(now);
        for ms in [30, 10, 20] {
            deadlines.push(now + Duration::from_millis(ms), Owner::Room(ms as usize));
        }
        let later = now + Duration::from_millis(20);
        assert_eq!(deadlines.pop_due(later), Some(Owner::Room(10)));
        assert_eq!(deadlines.pop_due(later), Some(Owner::Room(20)));
        assert_eq!(deadlines.pop_due(later), None);
        assert_eq!(deadlines.next(), Some(now + Duration::from_millis(30)));
    }

    #[test]
    fn what_is_far_away_is_due_together_a_little_later_and_what_is_near_on_time() {
        let now = Instant::now();
        let deadlines = Deadlines::new(now);
        let ms = Duration::from_millis(1);
        for (at, stands) in [(20, 20), (1_000, 1_000), (1_001, 1_100), (29_999, 30_000), (30_000, 30_000)] {
            assert_eq!(deadlines.rounded(now, now + at * ms), now + stands * ms, "{at}");
        }
        // Ten thousand connections whose consent runs out in the course of 30 s: the worker wakes ten times a second for them.
        let due = (0..10_000_u32).map(|one| deadlines.rounded(now, now + 5_000 * ms + one * 2_999_u32 * ms / 1_000));
        let wakes: std::collections::BTreeSet<Instant> = due.collect();
        assert!(wakes.len() <= 301, "{}", wakes.len());
    }
}
