//! The way back up after an interruption: what the network took before it is likely to come back, so that the estimate doubles from one cluster to the
//! next up to half of that, until a cluster does not get through; then that step is taken back. It measures and sends nothing itself. After
//! draft-ietf-tsvwg-careful-resume, which goes to half of what it remembers in one step, to be confirmed or taken back.

use super::Micros;

/// What was held possible counts for one to two times this: longer, and it may be another network's; shorter, and it is that of the bad seconds before.
const HALF_WINDOW: Micros = 20_000_000;
/// So much of it is looked for in leaps, the rest as always. More brings little, and where half as much has come back a longer queue.
const SHARE: f64 = 0.5;
/// A leap's factor: with the cluster's fifth on top, a failure costs a queue of up to 210 ms. Less takes a second longer.
const LEAP: f64 = 2.0;
/// Leaps are begun for so long after an interruption: what was held up by it has to arrive first.
const TRIED: Micros = 10_000_000;

#[derive(Debug, Default)]
pub(super) struct Recovery {
    /// The most that was held possible in the present half window and in the one before it.
    most: (f64, f64),
    began: Micros,
    /// Up to what it leaps, and until when.
    aim: Option<(f64, Micros)>,
    /// What was held possible before the last leap, until that got through.
    before_leap: Option<f64>,
}

impl Recovery {
    /// So much is held possible.
    pub(super) fn note(&mut self, now: Micros, possible: f64) {
        if now - self.began >= HALF_WINDOW {
            self.most = (possible, self.most.0);
            self.began = now;
        }
        if self.before_leap.is_none() {
            self.most.0 = self.most.0.max(possible);
        }
    }

    /// Something is heard again.
    pub(super) fn resume(&mut self, now: Micros) {
        self.aim = Some((self.most.0.max(self.most.1) * SHARE, now + TRIED));
        self.before_leap = None;
    }

    /// Whether the way up is taken in leaps.
    pub(super) fn is_on(&self, now: Micros, possible: f64) -> bool {
        self.aim.is_some_and(|(aim, until)| now < until && possible < aim)
    }

    /// A cluster is about to begin: what is to be held possible for it.
    pub(super) fn leap(&mut self, now: Micros, possible: f64) -> Option<f64> {
        if self.before_leap.is_some() || !self.is_on(now, possible) {
            return None;
        }
        let (aim, _) = self.aim?;
        self.before_leap = Some(possible);
        Some(aim.min(possible * LEAP))
    }

    /// A cluster got through, and so the leap.
    pub(super) fn landed(&mut self) {
        self.before_leap = None;
    }

    /// It did not, or the delay grew: what was held possible before it. There are no more of them.
    pub(super) fn failed(&mut self) -> Option<f64> {
        let before = self.before_leap.take()?;
        self.aim = None;
        Some(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Micros = 1_000_000;

    #[test]
    fn it_leaps_to_half_of_what_was_and_no_further() {
        let mut recovery = Recovery::default();
        recovery.note(0, 2e6);
        recovery.note(SECOND, 300_000.0);
        assert_eq!(recovery.leap(SECOND, 300_000.0), None, "nothing was interrupted");
        recovery.resume(2 * SECOND);
        assert_eq!(recovery.leap(2 * SECOND, 300_000.0), Some(600_000.0));
        assert_eq!(recovery.leap(2 * SECOND, 600_000.0), None, "it is not known yet whether that got through");
        recovery.landed();
        assert_eq!(recovery.leap(2 * SECOND, 700_000.0), Some(1e6));
        recovery.landed();
        assert_eq!(recovery.leap(2 * SECOND, 1e6), None);
    }

    #[test]
    fn a_leap_that_fails_is_taken_back_and_the_last() {
        let mut recovery = Recovery::default();
        recovery.note(0, 2e6);
        recovery.resume(SECOND);
        assert_eq!(recovery.leap(SECOND, 150_000.0), Some(300_000.0));
        assert_eq!(recovery.failed(), Some(150_000.0));
        assert_eq!(recovery.leap(SECOND, 150_000.0), None);
        assert_eq!(recovery.failed(), None);
    }

    #[test]
    fn what_was_long_ago_counts_no_more_and_a_leap_itself_does_not() {
        let mut recovery = Recovery::default();
        recovery.note(0, 2e6);
        for now in [HALF_WINDOW, 2 * HALF_WINDOW] {
            recovery.note(now, 300_000.0);
        }
        recovery.resume(2 * HALF_WINDOW);
        assert_eq!(recovery.leap(2 * HALF_WINDOW, 80_000.0), Some(150_000.0));
        recovery.note(2 * HALF_WINDOW, 900_000.0);
        recovery.resume(2 * HALF_WINDOW + SECOND);
        assert_eq!(recovery.leap(2 * HALF_WINDOW + SECOND, 80_000.0), Some(150_000.0));
    }
}
