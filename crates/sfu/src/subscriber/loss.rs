//! Whether so much is lost on the way to a subscriber that it is better sent twice: redundant audio (RFC 2198) doubles what a voice takes, and
//! so do copies of the pictures that others refer to, so that they go only where they repair something. Judged by the subscriber's own receiver reports (RFC 3550, section 6.4.1).

use std::time::{Duration, Instant};

/// From this share on a loss is heard: 2 %, in 1/256. Opus conceals what is below.
const LOSSY: u8 = 5;

/// From this share on (5 %, in 1/256) pictures stand still: a packet, the request for it and its answer are each lost as often, and who waits for
/// a second round trip sees it.
const HEAVY: u8 = 13;

/// Below this share (1 %, in 1/256) nothing needs repair.
const CLEAN: u8 = 2;

/// So long no report may tell of more before the redundancy ends: browsers report on a voice each five seconds, and losses come in bursts.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a subscriber's reports say.
#[derive(Debug, Default)]
pub(super) struct Loss {
    lossy_until: Option<Instant>,
    heavy_until: Option<Instant>,
}

impl Loss {
    /// Takes the share of packets lost since the report before, in 1/256.
    pub(super) fn on_report(&mut self, now: Instant, fraction_lost: u8) {
        if fraction_lost >= LOSSY || (fraction_lost >= CLEAN && self.is_lossy(now)) {
            self.lossy_until = Some(now + PATIENCE);
        }
        if fraction_lost >= HEAVY || (fraction_lost >= LOSSY && self.is_heavy(now)) {
            self.heavy_until = Some(now + PATIENCE);
        }
    }

    /// Whether voices are better sent twice.
    #[inline]
    pub(super) fn is_lossy(&self, now: Instant) -> bool {
        self.lossy_until.is_some_and(|until| now < until)
    }

    /// Whether pictures are better sent twice, where there is room for it.
    #[inline]
    pub(super) fn is_heavy(&self, now: Instant) -> bool {
        self.heavy_until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_that_is_heard_makes_a_subscriber_lossy_until_reports_are_clean_for_a_while() {
        let now = Instant::now();
        let mut loss = Loss::default();
        loss.on_report(now, 0);
        loss.on_report(now, CLEAN);
        assert!(!loss.is_lossy(now));
        loss.on_report(now, LOSSY);
        assert!(loss.is_lossy(now));
        let later = now + PATIENCE / 2;
        loss.on_report(later, CLEAN);
        assert!(loss.is_lossy(now + PATIENCE), "still too much to stop");
        loss.on_report(now + PATIENCE, 0);
        assert!(!loss.is_lossy(later + PATIENCE));
        assert!(!loss.is_heavy(now), "pictures need more");
        loss.on_report(now, HEAVY);
        loss.on_report(later, LOSSY);
        assert!(loss.is_heavy(now + PATIENCE) && !loss.is_heavy(later + PATIENCE));
    }
}
