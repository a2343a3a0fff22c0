//! What is due when: a heap of deadlines, so that nothing is scanned to find the next one. A deadline that was moved earlier leaves
//! a stale entry behind, which costs one look when it comes up.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

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
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    heap: BinaryHeap<Reverse<(Instant, Owner)>>,
}

impl Deadlines {
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
        let mut deadlines = Deadlines::default();
        for ms in [30, 10, 20] {
            deadlines.push(now + Duration::from_millis(ms), Owner::Room(ms as usize));
        }
        let later = now + Duration::from_millis(20);
        assert_eq!(deadlines.pop_due(later), Some(Owner::Room(10)));
        assert_eq!(deadlines.pop_due(later), Some(Owner::Room(20)));
        assert_eq!(deadlines.pop_due(later), None);
        assert_eq!(deadlines.next(), Some(now + Duration::from_millis(30)));
    }
}
