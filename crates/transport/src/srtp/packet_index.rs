//! Packet indices (RFC 3711, section 3.3.1): estimating the rollover counter of a sequence number, and the two windows
//! that remember which indices were used: the replay window of a receiver (section 3.3.2) and the window of a sender
//! that keeps it from using a nonce twice.

/// How many indices a receiver can tell new from replayed; older ones are refused. RFC 3711 asks for at least 64; more
/// tolerates more reordering, 128 is one machine operation.
pub(super) const REPLAY_WINDOW: u64 = 128;
/// How many indices a sender remembers. More allows older byte-for-byte retransmissions (this is 0.5 s of 1,000 packets
/// a second) at 4 bytes an index and SSRC.
pub(super) const SEALED_WINDOW: u64 = 512;
/// Indices end here (RFC 3711, section 9.2: at most 2⁴⁸ packets under one key).
pub(super) const INDEX_END: u64 = 1 << 48;

const SEALED_WORDS: usize = SEALED_WINDOW as usize / 64;
const HALF: u16 = 1 << 15;

/// The index that `sequence` most likely has, given the highest index so far (RFC 3711, appendix A). `None`: it would
/// lie before the first rollover, where there was nothing.
#[inline]
pub(super) fn estimate(highest: u64, sequence: u16) -> Option<u64> {
    let newest = (highest & 0xFFFF) as u16;
    let roc = highest >> 16;
    let roc = if newest < HALF {
        if sequence > newest && sequence - newest > HALF { roc.checked_sub(1)? } else { roc }
    } else if newest - HALF > sequence {
        roc + 1
    } else {
        roc
    };
    Some(roc << 16 | u64::from(sequence))
}

/// Whether an index may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    New,
    Used,
    TooOld,
}

/// Which of the last [`REPLAY_WINDOW`] indices were received.
#[derive(Debug)]
pub(super) struct ReplayWindow {
    highest: u64,
    /// Bit n: `highest - n` was received.
    seen: u128,
}

impl ReplayWindow {
    pub(super) const fn starting_at(index: u64) -> Self {
        Self { highest: index, seen: 1 }
    }

    #[inline]
    pub(super) const fn highest(&self) -> u64 {
        self.highest
    }

    #[inline]
    pub(super) const fn judge(&self, index: u64) -> Verdict {
        if index > self.highest {
            return Verdict::New;
        }
        let age = self.highest - index;
        if age >= REPLAY_WINDOW {
            Verdict::TooOld
        } else if self.seen >> age & 1 == 1 {
            Verdict::Used
        } else {
            Verdict::New
        }
    }

    /// Notes an index judged [`Verdict::New`], after the packet authenticated.
    #[inline]
    pub(super) const fn record(&mut self, index: u64) {
        if index > self.highest {
            let ahead = index - self.highest;
            self.seen = if ahead < REPLAY_WINDOW { self.seen << ahead | 1 } else { 1 };
            self.highest = index;
        } else {
            self.seen |= 1 << (self.highest - index);
        }
    }
}

/// Which of the last [`SEALED_WINDOW`] indices were sealed, with a fingerprint of what was sealed.
#[derive(Debug)]
pub(super) struct SealedWindow {
    highest: u64,
    /// A ring: bit `index % SEALED_WINDOW`.
    sealed: [u64; SEALED_WORDS],
    /// A ring as well; meaningful where the bit is set.
    fingerprints: Box<[u32; SEALED_WINDOW as usize]>,
}

impl SealedWindow {
    pub(super) fn starting_at(index: u64, fingerprint: u32) -> Self {
        let mut window =
            Self { highest: index, sealed: [0; SEALED_WORDS], fingerprints: Box::new([0; SEALED_WINDOW as usize]) };
        window.record(index, fingerprint);
        window
    }

    #[inline]
    pub(super) const fn highest(&self) -> u64 {
        self.highest
    }

    #[inline]
    pub(super) const fn judge(&self, index: u64) -> Verdict {
        if index > self.highest {
            return Verdict::New;
        }
        if self.highest - index >= SEALED_WINDOW {
            return Verdict::TooOld;
        }
        let (_, word, bit) = Self::place(index);
        if self.sealed[word] & bit != 0 { Verdict::Used } else { Verdict::New }
    }

    /// Notes an index judged [`Verdict::New`].
    #[inline]
    pub(super) fn record(&mut self, index: u64, fingerprint: u32) {
        if index > self.highest {
            if index - self.highest >= SEALED_WINDOW {
                self.sealed = [0; SEALED_WORDS];
            } else {
                for passed in self.highest + 1..index {
                    let (_, word, bit) = Self::place(passed);
                    self.sealed[word] &= !bit;
                }
            }
            self.highest = index;
        }
        let (at, word, bit) = Self::place(index);
        self.sealed[word] |= bit;
        self.fingerprints[at] = fingerprint;
    }

    /// The fingerprint of what was sealed under an index judged [`Verdict::Used`].
    #[inline]
    pub(super) fn fingerprint(&self, index: u64) -> u32 {
        self.fingerprints[Self::place(index).0]
    }

    /// The place in the ring, its word in the bitmap and its bit in that word.
    #[inline]
    const fn place(index: u64) -> (usize, usize, u64) {
        let at = (index % SEALED_WINDOW) as usize;
        (at, at / 64, 1 << (at % 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_rollover_counter_follows_appendix_a_of_rfc_3711() {
        // (highest, sequence, estimate)
        for (highest, sequence, expected) in [
            (0x0000_FFFF, 0x0000, Some(0x0001_0000)),
            (0x0001_0000, 0xFFFF, Some(0x0000_FFFF)),
            (0x0005_7FFF, 0xFFFF, Some(0x0005_FFFF)), // exactly half: ahead
            (0x0005_7FFE, 0xFFFF, Some(0x0004_FFFF)),
            (0x0005_8000, 0x0000, Some(0x0005_0000)), // exactly half: behind
            (0x0005_8001, 0x0000, Some(0x0006_0000)),
            (0x0005_1234, 0x1234, Some(0x0005_1234)),
            (0x0000_0003, 0xFFF0, None),
        ] {
            assert_eq!(estimate(highest, sequence), expected, "{highest:#x} {sequence:#x}");
        }
    }

    proptest! {
        #[test]
        fn an_estimate_is_the_nearest_index_with_that_sequence_number(
            highest in 1u64 << 16..INDEX_END - (1 << 17), sequence in any::<u16>(),
        ) {
            let found = estimate(highest, sequence).unwrap_or_default();
            prop_assert_eq!(found as u16, sequence);
            prop_assert!(found.abs_diff(highest) <= 1 << 15);
        }

        #[test]
        fn both_windows_agree_with_one_that_forgets_nothing(
            start in 0u64..3000, steps in prop::collection::vec(-700i64..900, 1..400),
        ) {
            let mut replay = ReplayWindow::starting_at(start);
            let mut sealed = SealedWindow::starting_at(start, start as u32);
            let mut reference = BTreeMap::from([(start, start as u32)]);
            let mut highest = start;
            for (n, step) in steps.into_iter().enumerate() {
                // Mostly small steps, now and then a large one.
                let step = if n % 7 == 0 { step } else { step % 9 };
                let Some(index) = highest.checked_add_signed(step) else { continue };
                for (verdict, window) in [(replay.judge(index), REPLAY_WINDOW), (sealed.judge(index), SEALED_WINDOW)] {
                    let expected = if index + window <= highest { Verdict::TooOld }
                        else if reference.contains_key(&index) { Verdict::Used }
                        else { Verdict::New };
                    prop_assert_eq!(verdict, expected, "index {} highest {}", index, highest);
                }
                if sealed.judge(index) == Verdict::Used {
                    prop_assert_eq!(sealed.fingerprint(index), reference[&index]);
                }
                if replay.judge(index) == Verdict::New && sealed.judge(index) == Verdict::New {
                    let fingerprint = n as u32 ^ 0xA5A5;
                    replay.record(index);
                    sealed.record(index, fingerprint);
                    reference.insert(index, fingerprint);
                    highest = highest.max(index);
                }
                prop_assert_eq!((replay.highest(), sealed.highest()), (highest, highest));
            }
        }
    }
}
