//! The delay-based rate: down to what arrives when the delay grows, up again otherwise, fast before it first grew and slowly after that
//! (additive increase, multiplicative decrease; draft-ietf-rmcat-gcc-02, section 5.5). It decides on a number from what the others have found out.

use super::Micros;
use super::trend::Usage;

/// The rate goes down to this share of what arrives (the draft's beta): the rest lets the queue empty.
const DECREASE: f64 = 0.85;
/// … but at once to no less than this share of itself: where feedback gets lost, more arrives than is known. Whatever stands in line then is the budget's
/// business.
const LOWEST_STEP: f64 = 0.5;
/// What it rises by in a second until the delay first grows (the draft's eta).
const INCREASE: f64 = 1.08;
/// After that it rises by this much in a second, in bits per second, whatever it is: flows that share a link go down by the same share and up by
/// the same amount, and so become equal. The draft has a packet in each response time, two to four times as much, with which a slow link swings.
const RISE: f64 = 20_000.0;
/// … and faster while nothing stands in line. More is found by trying.
const FREE_RISE: f64 = 50_000.0;
const EMPTY_LINE: Micros = 5_000;
/// A flow of [`LINE_RATE`] rises while less than this stands in line; one of more stops earlier, one of less later, within these bounds, and beyond twice as much
/// it gives way by this share in a second; a decrease is a whole one from so many times that line on. So those that have much leave it to those that have little.
const LINE: f64 = 25_000.0;
const LINE_RATE: f64 = 1_000_000.0;
const LINES: (Micros, Micros) = (12_000, 60_000);
const FULL_DECREASE: f64 = 4.0;
const GIVE_WAY: f64 = 0.95;
/// A rate does not rise beyond this much of what arrives, and a bit more: it would be a guess.
const MOST_OVER_DELIVERED: f64 = 1.25;
const MARGIN: f64 = 10_000.0;
/// After it went down, it goes down again after a round trip and what feedback takes at the earliest, within these bounds, or at once when less than half arrives.
const RESPONSE: Micros = 100_000;
const REACTION: (Micros, Micros) = (100_000, 400_000);
/// Up to this much waiting in line, somebody who sends little is held not to be who fills it.
const SHORT_LINE: Micros = 60_000;
/// How much a new capacity counts in the mean, and how far from it is near.
const CAPACITY_SMOOTHING: f64 = 0.2;
const NEAR: f64 = 0.15;
/// What got through in a cluster is beyond a capacity from this much of it on: it is measured to a few percent, and varies.
const BEYOND: f64 = 1.08;
/// Nothing but the slow rise goes further than this share of a known capacity.
const BELOW_CAPACITY: f64 = 0.98;

/// What is known when the rate is set anew.
#[derive(Debug, Clone, Copy)]
pub(super) struct Findings {
    pub(super) now: Micros,
    pub(super) usage: Usage,
    /// How long packets stand in line, a part of the path's jitter left out.
    pub(super) queue: Micros,
    pub(super) round_trip: Micros,
    /// What arrives, in bits per second, over half a second and over the last moment.
    pub(super) delivered: Option<f64>,
    pub(super) delivered_now: Option<f64>,
    /// Whether much less is sent than could be.
    pub(super) is_idle: bool,
}

#[derive(Debug)]
pub(super) struct RateControl {
    rate: f64,
    /// What arrived when the delay last grew: the capacity, as far as is known.
    capacity: Option<f64>,
    updated: Option<Micros>,
    decreased: Option<Micros>,
}

impl RateControl {
    pub(super) fn new(rate: f64) -> Self {
        Self { rate, capacity: None, updated: None, decreased: None }
    }

    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    /// So much got through when it was tried. Near the known capacity a try tells no more than that this is still right; beyond it, that it is not.
    pub(super) fn probed(&mut self, rate: f64) {
        self.capacity = self.capacity.filter(|capacity| rate < capacity * BEYOND);
        self.rate = self.rate.max(self.capacity.map_or(rate, |capacity| rate.min(capacity * BELOW_CAPACITY)));
    }

    /// Keeps the rate within bounds from elsewhere.
    pub(super) fn clamp(&mut self, least: f64, most: f64) {
        self.rate = self.rate.clamp(least, most);
    }

    /// Sets the rate anew. Returns whether it went down.
    pub(super) fn update(&mut self, findings: &Findings) -> bool {
        let elapsed = self.updated.map_or(0, |updated| findings.now - updated).min(1_000_000);
        self.updated = Some(findings.now);
        match findings.usage {
            Usage::Over => self.decrease(findings),
            Usage::Under => false,
            Usage::Normal => {
                let (line, seconds) = (line(self.rate), elapsed as f64 / 1e6);
                if findings.queue < line {
                    self.increase(findings, seconds);
                } else if findings.queue > 2 * line && !findings.is_idle {
                    self.rate *= GIVE_WAY.powf(seconds);
                }
                false
            }
        }
    }

    fn decrease(&mut self, findings: &Findings) -> bool {
        let Some(delivered) = findings.delivered_now else { return false };
        let since = self.decreased.map(|decreased| findings.now - decreased);
        let (least, most) = REACTION;
        let too_soon = since.is_some_and(|since| since < (findings.round_trip + RESPONSE).clamp(least, most));
        if too_soon && delivered > self.rate / 2.0 {
            return false;
        }
        let share = findings.queue as f64 / (FULL_DECREASE * line(self.rate) as f64);
        let decrease = 1.0 - (1.0 - DECREASE) * share.clamp(0.0, 1.0);
        let mut rate = (delivered * decrease).max(self.rate * LOWEST_STEP);
        if findings.is_idle && findings.queue < SHORT_LINE {
            rate = rate.max(self.rate * decrease);
        } else {
            let near = self.capacity.filter(|capacity| (delivered / capacity - 1.0).abs() < NEAR);
            self.capacity = Some(near.map_or(delivered, |near| near + CAPACITY_SMOOTHING * (delivered - near)));
        }
        self.decreased = Some(findings.now);
        let went_down = rate < self.rate;
        self.rate = self.rate.min(rate);
        went_down
    }

    fn increase(&mut self, findings: &Findings, seconds: f64) {
        let Some(delivered) = findings.delivered else { return };
        let raised = match self.decreased {
            None => self.rate * INCREASE.powf(seconds),
            Some(_) if findings.queue > EMPTY_LINE => self.rate + RISE * seconds,
            Some(_) => self.rate + FREE_RISE * seconds,
        };
        self.rate = self.rate.max(raised.min(delivered * MOST_OVER_DELIVERED + MARGIN));
    }
}

/// How long a line a flow of this rate rises beside.
pub(super) fn line(rate: f64) -> Micros {
    let (least, most) = LINES;
    ((LINE * LINE_RATE / rate) as Micros).clamp(least, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(at: Micros, usage: Usage, delivered: f64) -> Findings {
        Findings {
            now: at,
            usage,
            queue: 0,
            round_trip: 50_000,
            delivered: Some(delivered),
            delivered_now: Some(delivered),
            is_idle: false,
        }
    }

    fn over(at: Micros, delivered: f64) -> Findings {
        Findings { queue: 100_000, ..findings(at, Usage::Over, delivered) }
    }

    #[test]
    fn it_goes_down_to_what_arrives_and_rises_slowly_from_there() {
        let mut control = RateControl::new(1.5e6);
        assert!(control.update(&over(0, 1e6)));
        assert_eq!(control.rate(), 850_000.0);
        for n in 1..=10 {
            control.update(&findings(n * 100_000, Usage::Normal, 850_000.0));
        }
        assert!((850_000.0..=910_000.0).contains(&control.rate()), "{}", control.rate());
    }

    #[test]
    fn it_does_not_go_down_twice_for_one_queue_unless_that_is_far_from_enough() {
        let mut control = RateControl::new(2e6);
        control.update(&over(0, 1e6));
        assert!(!control.update(&over(50_000, 0.9e6)));
        assert!(control.update(&over(60_000, 0.3e6)));
        assert_eq!(control.rate(), 500_000.0, "half at once");
    }

    #[test]
    fn it_does_not_rise_far_beyond_what_arrives() {
        let mut control = RateControl::new(200_000.0);
        for n in 0..1_000 {
            control.update(&findings(n * 100_000, Usage::Normal, 200_000.0));
        }
        assert_eq!(control.rate(), 260_000.0);
    }

    #[test]
    fn beside_a_line_those_that_have_much_give_way_to_those_that_have_little() {
        let (mut much, mut little) = (RateControl::new(2e6), RateControl::new(400_000.0));
        for n in 0..50 {
            much.update(&Findings { queue: 40_000, ..findings(n * 100_000, Usage::Normal, 2e6) });
            little.update(&Findings { queue: 40_000, ..findings(n * 100_000, Usage::Normal, 400_000.0) });
        }
        assert!(much.rate() < 1.6e6 && little.rate() > 400_000.0, "{} {}", much.rate(), little.rate());
    }

    #[test]
    fn whoever_sends_little_does_not_fall_to_it_for_another_ones_queue() {
        let mut control = RateControl::new(2e6);
        let quiet = Findings { is_idle: true, queue: 50_000, ..findings(0, Usage::Over, 40_000.0) };
        control.update(&quiet);
        assert_eq!(control.rate(), 1.7e6);
    }
}
