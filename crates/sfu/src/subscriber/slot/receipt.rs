//! How a slot comes through, by the subscriber's receiver reports (RFC 3550, section 6.4.1). What its publisher's network lost is a gap in the slot's
//! numbers too, and the subscriber counts it as lost; here it is counted off again, so that nobody is blamed for another's network. Knows no time.

/// What came of the packets between two reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Receipt {
    /// Packets that went out.
    pub(crate) expected: u64,
    /// Those of them that did not arrive.
    pub(crate) lost: u64,
}

impl Receipt {
    /// The share that did not arrive, in 1/256, as in a report; `None` of nothing.
    pub(crate) fn fraction_lost(&self) -> Option<u8> {
        let of_256 = (self.lost.min(self.expected) * 256).checked_div(self.expected)?;
        Some(of_256.min(255) as u8)
    }
}

/// The totals at one report.
#[derive(Debug, Clone, Copy)]
struct Totals {
    /// The highest number that arrived, extended.
    highest: u32,
    /// What the subscriber counts as lost.
    lost: i32,
    /// What had not been sent by then.
    missing: u32,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Receipts {
    newest: Option<u16>,
    /// Numbers below the newest that nothing went out under, modulo 2^32.
    missing: u32,
    before: Option<Totals>,
    /// What was counted off too much, since a gap was filled, or a report was written, while others were on their way; never positive.
    owed: i64,
}

impl Receipts {
    /// A packet goes out under this number for the first time.
    #[inline]
    pub(super) fn on_sent(&mut self, sequence: u16) {
        let Some(newest) = self.newest else {
            self.newest = Some(sequence);
            // A receiver extends the first number that it sees by no cycles.
            self.before = Some(Totals { highest: u32::from(sequence).wrapping_sub(1), lost: 0, missing: 0 });
            return;
        };
        let ahead = sequence.wrapping_sub(newest) as i16;
        if ahead > 0 {
            self.missing = self.missing.wrapping_add(ahead as u32 - 1);
            self.newest = Some(sequence);
        } else {
            self.missing = self.missing.wrapping_sub(1);
        }
    }

    /// A report says what has arrived up to `highest`, and how many were lost in all. Returns what that is since the report before; `None` if the
    /// subscriber has begun to count anew.
    pub(super) fn on_report(&mut self, highest: u32, lost: i32) -> Option<Receipt> {
        let now = Totals { highest, lost, missing: self.missing };
        let before = self.before.replace(now)?;
        let span = now.highest.wrapping_sub(before.highest);
        if span > i32::MAX as u32 {
            self.owed = 0;
            return None;
        }
        let missing = i64::from(now.missing.wrapping_sub(before.missing) as i32);
        let lost = i64::from(now.lost) - i64::from(before.lost) - missing + self.owed;
        self.owed = lost.min(0);
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        Some(Receipt { expected: count(i64::from(span) - missing), lost: count(lost) })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A receiver as RFC 3550's appendix A.3 has it.
    #[derive(Default)]
    struct Receiver {
        first: Option<u32>,
        highest: u32,
        received: u32,
    }

    impl Receiver {
        fn on_packet(&mut self, sequence: u32) {
            self.first.get_or_insert(sequence);
            self.highest = self.highest.max(sequence);
            self.received += 1;
        }

        fn report(&self) -> (u32, i32) {
            let expected = self.highest - self.first.unwrap_or(0) + 1;
            (self.highest, expected as i32 - self.received as i32)
        }
    }

    #[test]
    fn what_never_went_out_is_nobodys_loss_and_what_went_out_and_did_not_arrive_is() {
        let (mut receipts, mut receiver) = (Receipts::default(), Receiver::default());
        for sequence in 100..200_u32 {
            // Every fifth is lost before the server, every tenth after it.
            if sequence % 5 == 4 {
                continue;
            }
            receipts.on_sent(sequence as u16);
            if sequence % 10 != 1 {
                receiver.on_packet(sequence);
            }
        }
        let (highest, lost) = receiver.report();
        assert_eq!(lost, 29, "as the subscriber sees it");
        let receipt = receipts.on_report(highest, lost).unwrap();
        assert_eq!(receipt, Receipt { expected: 80, lost: 10 });
        assert_eq!(receipt.fraction_lost(), Some(32));
        assert_eq!(receipts.on_report(highest, lost).unwrap().fraction_lost(), None, "nothing since");
    }

    #[test]
    fn a_gap_that_is_filled_late_is_not_counted_off_twice() {
        let (mut receipts, mut receiver) = (Receipts::default(), Receiver::default());
        for sequence in (0..50_u32).filter(|sequence| *sequence != 48) {
            receipts.on_sent(sequence as u16);
            receiver.on_packet(sequence);
        }
        let (highest, lost) = receiver.report();
        assert_eq!(receipts.on_report(highest, lost).unwrap().lost, 0);
        receipts.on_sent(48);
        receiver.on_packet(48);
        receipts.on_sent(50);
        receipts.on_sent(51);
        receiver.on_packet(51);
        let (highest, lost) = receiver.report();
        assert_eq!(receipts.on_report(highest, lost).unwrap(), Receipt { expected: 3, lost: 1 });
    }

    #[test]
    fn a_subscriber_that_counts_anew_is_believed_from_then_on() {
        let mut receipts = Receipts::default();
        (500..600).for_each(|sequence| receipts.on_sent(sequence));
        assert_eq!(receipts.on_report(599, 10).unwrap(), Receipt { expected: 100, lost: 10 });
        assert_eq!(receipts.on_report(20, 0), None);
        assert_eq!(receipts.on_report(40, 5).unwrap(), Receipt { expected: 20, lost: 5 });
    }

    proptest! {
        #[test]
        fn over_any_reports_the_sum_is_what_was_lost_after_the_server(
            start in 0..1_u32 << 15,
            packets in prop::collection::vec((0..5_u8, 0..7_u8, 0..20_u8), 2..2_000),
        ) {
            let (mut receipts, mut receiver) = (Receipts::default(), Receiver::default());
            let (mut expected, mut truly_lost) = (0, 0);
            let mut sum = Receipt { expected: 0, lost: 0 };
            let last = packets.len() - 1;
            for (at, (before, after, report)) in packets.into_iter().enumerate() {
                let sequence = start + at as u32;
                // The first and the last arrive, so that both sides know of the same numbers.
                let ends = at == 0 || at == last;
                if before == 0 && !ends {
                    continue;
                }
                receipts.on_sent(sequence as u16);
                expected += 1;
                if after > 0 || ends {
                    receiver.on_packet(sequence);
                } else {
                    truly_lost += 1;
                }
                if report == 0 || at == last {
                    let (highest, lost) = receiver.report();
                    let receipt = receipts.on_report(highest, lost).unwrap();
                    sum = Receipt { expected: sum.expected + receipt.expected, lost: sum.lost + receipt.lost };
                }
            }
            // What had gone out and not arrived when a report was written shows in the next one.
            prop_assert!(sum.lost.abs_diff(truly_lost) <= 1 + expected / 50, "{sum:?} of {expected}, {truly_lost} lost");
        }
    }
}
