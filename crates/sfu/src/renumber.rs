//! Gives a stream of wrapping numbers (RTP sequence numbers, picture ids, frame numbers) a continuous second numbering.
//!
//! With [`Renumbering`], numbers that never arrive stay gaps; numbers that are left out on purpose close up, also when
//! packets come out of order, because the shift that applied to each recent number is remembered in a small ring. With
//! [`RunningIndex`], all numbers of a source shift alike. This is the arithmetic only: which packet belongs to which
//! source, and what is left out, is decided by [`rewrite`](crate::rewrite) and the codecs' modules.

/// What has become of one incoming number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Unseen,
    Forwarded,
    LeftOut,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Outgoing minus incoming number, modulo 2^16.
    shift: u16,
    fate: Fate,
}

/// The answer to [`Renumbering::forward`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Numbered {
    /// Forwarded for the first time, under this outgoing number.
    First(u16),
    /// Has been forwarded before, under this outgoing number.
    Again(u16),
    /// Has been left out before.
    LeftOut,
    /// Is older than the first number of this source.
    BeforeStart,
    /// Is so old that its shift is forgotten.
    TooOld,
}

/// A continuous renumbering that remembers the last `WINDOW` (a power of two) incoming numbers.
#[derive(Debug)]
pub(crate) struct Renumbering<const WINDOW: usize> {
    /// Empty until the first start, so that a slot that never carries media costs nothing.
    ring: Box<[Entry]>,
    /// The lowest number of the present source, unwrapped.
    first: u64,
    /// The highest number known of the present source, unwrapped.
    highest: u64,
    /// The shift of numbers above `highest`.
    shift: u16,
}

impl<const WINDOW: usize> Renumbering<WINDOW> {
    /// A renumbering whose first outgoing number will be `next`.
    pub(crate) fn new(next: u16) -> Self {
        const { assert!(WINDOW.is_power_of_two() && WINDOW <= 1 << 15) };
        Self { ring: Box::default(), first: 1, highest: 0, shift: next.wrapping_sub(1) }
    }

    /// The outgoing number that follows everything numbered so far.
    pub(crate) fn next(&self) -> u16 {
        (self.highest as u16).wrapping_add(self.shift).wrapping_add(1)
    }

    /// Goes over to a source whose first number is `number`; it takes the next outgoing number.
    pub(crate) fn start(&mut self, number: u16) {
        if self.ring.is_empty() {
            self.ring = vec![Entry { shift: 0, fate: Fate::Unseen }; WINDOW].into_boxed_slice();
        }
        let next = self.next();
        self.first = (1 << 32) + u64::from(number);
        self.highest = self.first - 1;
        self.shift = next.wrapping_sub(number);
    }

    /// Numbers a packet that is forwarded; `bits` is the width of `number`'s field. O(1) but for jumps, where it is
    /// O(`WINDOW`).
    pub(crate) fn forward(&mut self, number: u16, bits: u32) -> Numbered {
        let number = match self.locate(number, bits) {
            Ok(number) => number,
            Err(stale) => return stale,
        };
        let Some(entry) = self.entry(number) else {
            return Numbered::BeforeStart;
        };
        let outgoing = (number as u16).wrapping_add(entry.shift);
        match entry.fate {
            Fate::Unseen => {
                entry.fate = Fate::Forwarded;
                Numbered::First(outgoing)
            }
            Fate::Forwarded => Numbered::Again(outgoing),
            Fate::LeftOut => Numbered::LeftOut,
        }
    }

    /// Leaves a number out. Later ones close up; where later ones have already gone out a hole remains, and its
    /// outgoing number is returned.
    pub(crate) fn leave_out(&mut self, number: u16, bits: u32) -> Option<u16> {
        let before = self.highest;
        let number = self.locate(number, bits).ok()?;
        let entry = self.entry(number)?;
        if entry.fate != Fate::Unseen {
            return None;
        }
        entry.fate = Fate::LeftOut;
        let outgoing = (number as u16).wrapping_add(entry.shift);
        if number > before {
            self.shift = self.shift.wrapping_sub(1);
            None
        } else {
            Some(outgoing)
        }
    }

    /// Whether a number has been forwarded before. Changes nothing.
    pub(crate) fn is_forwarded(&self, number: u16, bits: u32) -> bool {
        let number = self.unwrap(number, bits);
        let is_known = number >= self.first && number <= self.highest && number + (WINDOW as u64) > self.highest;
        is_known && self.ring.get(number as usize & (WINDOW - 1)).is_some_and(|entry| entry.fate == Fate::Forwarded)
    }

    fn unwrap(&self, number: u16, bits: u32) -> u64 {
        let unused = u16::BITS - bits;
        let distance = (number.wrapping_sub(self.highest as u16) << unused) as i16 >> unused;
        self.highest.wrapping_add_signed(i64::from(distance))
    }

    fn entry(&mut self, number: u64) -> Option<&mut Entry> {
        self.ring.get_mut(number as usize & (WINDOW - 1))
    }

    /// Unwraps a number next to the highest one and makes sure that the ring covers it.
    fn locate(&mut self, number: u16, bits: u32) -> Result<u64, Numbered> {
        let number = self.unwrap(number, bits);
        if number < self.first {
            return Err(Numbered::BeforeStart);
        }
        if number + (WINDOW as u64) <= self.highest {
            return Err(Numbered::TooOld);
        }
        if number > self.highest {
            let shift = self.shift;
            // Of a jump wider than the ring only the end is remembered.
            let from = (self.highest + 1).max((number + 1).saturating_sub(WINDOW as u64));
            for skipped in from..=number {
                if let Some(entry) = self.entry(skipped) {
                    *entry = Entry { shift, fate: Fate::Unseen };
                }
            }
            self.highest = number;
        }
        Ok(number)
    }
}

/// A running index that goes on where the previous source stopped, and shifts all of one source's values alike: what
/// points back by a difference still points at the same.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RunningIndex {
    /// Outgoing minus incoming value; none until the source has shown a value.
    shift: Option<u16>,
    newest: Option<u16>,
}

impl RunningIndex {
    /// Another source begins with the next value.
    pub(crate) fn switch(&mut self) {
        self.shift = None;
    }

    /// Translates a value of `bits` bits, 1 to 16. The result runs on beyond them; whoever writes it cuts it.
    pub(crate) fn translate(&mut self, value: u16, bits: u32) -> u16 {
        let newest = self.newest;
        let next = || newest.map_or(0, |newest| newest.wrapping_add(1).wrapping_sub(value));
        let shifted = value.wrapping_add(*self.shift.get_or_insert_with(next));
        let Some(newest) = newest else {
            self.newest = Some(shifted);
            return shifted;
        };
        let unused = u16::BITS - bits;
        let ahead = (shifted.wrapping_sub(newest) << unused) as i16 >> unused;
        let outgoing = newest.wrapping_add_signed(ahead);
        if ahead > 0 {
            self.newest = Some(outgoing);
        }
        outgoing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_index_wraps_as_its_field_does_and_runs_on_over_a_switch() {
        let mut index = RunningIndex::default();
        let out: Vec<u16> = [126, 127, 0, 125, 1].iter().map(|value| index.translate(*value, 7)).collect();
        assert_eq!(out, [126, 127, 128, 125, 129], "a late one keeps its place");
        index.switch();
        let out: Vec<u16> = [32_767, 0, 32_766, 2].iter().map(|value| index.translate(*value, 15)).collect();
        assert_eq!(out, [130, 131, 129, 133], "a gap stays a gap");
        index.switch();
        assert_eq!(index.translate(7, 16), 134);
    }
}
