//! What lost packets say of the rate. draft-ietf-rmcat-gcc-02 (section 6) lowers the rate above 10 % of loss and raises it below 2 %; a
//! radio link that loses 10 % of whatever it is given would never be used by that. So the loss that stays whatever is sent, the
//! least of the last ten seconds, is held to be the link's own, and only what goes beyond it counts.

use super::{LEAST, Micros};

/// Losses are looked at in spans of this, and of at least so many packets.
const SPAN: Micros = 400_000;
const LEAST_PACKETS: u32 = 20;
/// Spans that are remembered: ten seconds and more.
const SPANS: usize = 25;
/// How much a new span counts in the mean.
const SMOOTHING: f64 = 0.4;
/// Loss beyond the link's own that lowers the rate (the draft's 10 %), and up to which it may rise (the draft's 2 %).
const TOO_MUCH: f64 = 0.10;
const LITTLE: f64 = 0.02;
/// No link's own loss is taken to be more than this; whoever loses more of what they send, sends too much.
const MOST_OWN: f64 = 0.20;
/// Beyond this, a rate is no longer lowered by half of the loss, but to what arrives.
const OVERRUN: f64 = 0.25;
/// What the limit rises by in a second while little is lost.
const INCREASE: f64 = 1.15;
/// A limit this far above the rest limits nothing.
const FORGET: f64 = 1.3;

#[derive(Debug)]
pub(super) struct LossControl {
    began: Option<Micros>,
    lost: u32,
    total: u32,
    mean: Option<f64>,
    spans: [f64; SPANS],
    count: usize,
    limit: Option<f64>,
}

impl Default for LossControl {
    fn default() -> Self {
        Self { began: None, lost: 0, total: 0, mean: None, spans: [0.0; SPANS], count: 0, limit: None }
    }
}

impl LossControl {
    /// Counts packets that arrived and that are missing.
    pub(super) fn add(&mut self, now: Micros, arrived: u32, lost: u32) {
        self.began.get_or_insert(now);
        self.total += arrived + lost;
        self.lost += lost;
    }

    /// What is missing since the last look was lost in an interruption, which says nothing of the rate.
    pub(super) fn resume(&mut self) {
        (self.began, self.lost, self.total) = (None, 0, 0);
    }

    /// Packets that had been counted as missing came after all.
    pub(super) fn recovered(&mut self, count: u32) {
        self.lost = self.lost.saturating_sub(count);
    }

    /// Looks at what was counted. `estimate` is what is held possible otherwise, `delivered` what arrives, both in bits per second.
    pub(super) fn update(&mut self, now: Micros, estimate: f64, delivered: Option<f64>) {
        let Some(began) = self.began.filter(|began| now - began >= SPAN && self.total >= LEAST_PACKETS) else { return };
        let loss = f64::from(self.lost) / f64::from(self.total);
        (self.began, self.lost, self.total) = (Some(now), 0, 0);
        self.judge((now - began) as f64 / 1e6, loss, estimate, delivered);
    }

    /// Takes in the share that was lost of what was sent in the last `seconds`.
    pub(super) fn judge(&mut self, seconds: f64, loss: f64, estimate: f64, delivered: Option<f64>) {
        let mean = self.mean.map_or(loss, |mean| mean + SMOOTHING * (loss - mean));
        self.mean = Some(mean);
        self.spans[self.count % SPANS] = mean;
        self.count += 1;
        let beyond = mean - self.own();
        let limit = self.limit.map_or(estimate, |limit| limit.min(estimate * FORGET));
        self.limit = if loss - self.own() > OVERRUN {
            let lowered = limit * (1.0 - 0.5 * (loss - self.own()));
            Some(delivered.map_or(lowered, |delivered| lowered.min(delivered.max(limit / 2.0))))
        } else if beyond > TOO_MUCH {
            Some(limit * (1.0 - 0.5 * beyond))
        } else if beyond <= LITTLE {
            let raised = limit * INCREASE.powf(seconds.min(1.0));
            self.limit.is_some().then_some(raised).filter(|raised| *raised < estimate * FORGET)
        } else {
            self.limit
        };
        self.limit = self.limit.map(|limit| limit.max(LEAST as f64));
    }

    /// The share of packets that the link loses whatever is sent.
    fn own(&self) -> f64 {
        let known = self.spans.get(..self.count.min(SPANS)).unwrap_or_default();
        known.iter().copied().fold(f64::INFINITY, f64::min).min(MOST_OWN)
    }

    /// The share of packets that was lost lately.
    pub(super) fn mean(&self) -> f64 {
        self.mean.unwrap_or(0.0)
    }

    /// Whether more is lost than usual.
    pub(super) fn is_unusual(&self) -> bool {
        self.mean.is_some_and(|mean| mean - self.own() > 2.5 * LITTLE)
    }

    /// At most so many bits per second should be sent; `None`: losses are no reason for a limit.
    pub(super) fn limit(&self) -> Option<f64> {
        self.limit
    }

    /// So much got through without unusual loss.
    pub(super) fn raise_to(&mut self, rate: f64) {
        self.limit = self.limit.map(|limit| limit.max(rate));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many spans with this loss. Returns what is left of a megabit per second.
    fn run(control: &mut LossControl, spans: u32, loss: f64) -> f64 {
        let mut estimate = 1e6;
        for _ in 0..spans {
            control.judge(0.4, loss, estimate, None);
            estimate = control.limit().unwrap_or(1e6).min(1e6);
        }
        estimate
    }

    #[test]
    fn a_link_that_loses_a_tenth_of_anything_is_used_all_the_same() {
        assert_eq!(run(&mut LossControl::default(), 100, 0.1), 1e6);
    }

    #[test]
    fn loss_that_begins_lowers_the_rate_and_what_ends_raises_it() {
        let mut control = LossControl::default();
        run(&mut control, 20, 0.0);
        let lowered = run(&mut control, 8, 0.2);
        assert!(lowered < 850_000.0, "{lowered}");
        assert_eq!(run(&mut control, 60, 0.0), 1e6);
    }

    #[test]
    fn a_link_that_loses_most_gets_no_more_than_arrives() {
        let mut control = LossControl::default();
        run(&mut control, 20, 0.01);
        control.judge(0.4, 0.7, 1e6, Some(250_000.0));
        assert_eq!(control.limit(), Some(500_000.0), "half at once");
        control.judge(0.4, 0.7, 500_000.0, Some(260_000.0));
        assert_eq!(control.limit(), Some(260_000.0));
    }

    #[test]
    fn what_is_lost_for_ever_beyond_a_fifth_counts_as_overload() {
        let mut control = LossControl::default();
        assert!(run(&mut control, 30, 0.4) < 300_000.0);
    }
}
