//! How long packets wait on their way: the least delay of a feedback's packets, over the least of the last ten to twenty
//! seconds. Jitter only adds, so that
//! the least is what all of them waited: a standing queue. Clocks need not agree, and may drift by what they drift in that time.
//!
//! draft-ietf-rmcat-gcc looks at changes of the delay only; a queue that stands does not change. RFC 8698 (NADA) and RFC 6817 (LEDBAT) measure
//! against a base delay as here.

use super::Micros;

/// The base delay is the least of one to two of these: a path whose delay rose counts as empty again after that, and so does a queue
/// that somebody else keeps full.
const HALF_WINDOW: Micros = 10_000_000;
/// No path is taken to have more jitter: a queue that grows within a feedback looks like it.
const MOST_JITTER: f64 = 40_000.0;

#[derive(Debug, Default)]
pub(super) struct QueueDelay {
    /// The least delay of the present half window and of the one before it.
    base: Option<(Micros, Micros)>,
    began: Micros,
    /// The least of the feedback that is being read.
    least: Option<Micros>,
    standing: Micros,
    standing_before: Micros,
    /// The mean distance of delays from the least of their feedback.
    jitter: f64,
}

impl QueueDelay {
    /// Counts a packet by its delay, from any zero.
    pub(super) fn add(&mut self, delay: Micros) {
        let least = self.least.map_or(delay, |least| least.min(delay));
        self.jitter += ((delay - least) as f64 - self.jitter) / 64.0;
        self.least = Some(least);
    }

    /// A feedback has been read. Returns how long its packets stood in line at least.
    pub(super) fn finish(&mut self, now: Micros) -> Micros {
        let Some(least) = self.least.take() else { return self.standing };
        let (present, before) = self.base.unwrap_or((least, least));
        self.base = Some((present.min(least), before));
        if now - self.began >= HALF_WINDOW {
            self.base = Some((least, present.min(least)));
            self.began = now;
        }
        self.standing_before = self.standing;
        self.standing = self.base.map_or(0, |(present, before)| least - present.min(before)).max(0);
        self.standing
    }

    /// Nothing was heard for a while: the base of before still holds.
    pub(super) fn resume(&mut self, now: Micros) {
        self.began = now;
        self.least = None;
    }

    /// What packets wait in line.
    pub(super) fn standing(&self) -> Micros {
        self.standing
    }

    /// … and what they waited also at the feedback before: a moment in which a radio link held everything is over by then.
    pub(super) fn steadily(&self) -> Micros {
        self.standing.min(self.standing_before)
    }

    /// How much delays differ.
    pub(super) fn jitter(&self) -> Micros {
        self.jitter.min(MOST_JITTER) as Micros
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feedback(queue: &mut QueueDelay, now: Micros, delays: [Micros; 3]) -> Micros {
        delays.into_iter().for_each(|delay| queue.add(delay));
        queue.finish(now)
    }

    #[test]
    fn what_stands_is_told_from_jitter_and_from_the_clocks_distance() {
        let mut queue = QueueDelay::default();
        assert_eq!(feedback(&mut queue, 0, [-700_000, -690_000, -640_000]), 0);
        assert_eq!(feedback(&mut queue, 100_000, [-660_000, -698_000, -650_000]), 2_000);
        assert_eq!(feedback(&mut queue, 200_000, [-500_000, -480_000, -490_000]), 200_000);
    }

    #[test]
    fn a_path_that_became_longer_counts_as_empty_after_a_while() {
        let mut queue = QueueDelay::default();
        feedback(&mut queue, 0, [10_000; 3]);
        let mut standing = Vec::new();
        for n in 1..220 {
            standing.push(feedback(&mut queue, n * 100_000, [60_000; 3]));
        }
        assert_eq!((standing[0], standing[90], standing[218]), (50_000, 50_000, 0));
    }
}
