//! How much a subscriber's network can take: an estimate in bits per second from transport-wide feedback
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01), or where a subscriber sends none, from its receiver reports and REMB. A state machine on
//! passed-in time, after draft-ietf-rmcat-gcc-02: the trend of the delay and the losses, whichever asks for less, with clusters of
//! padding to look for more, and a budget that lets a queue empty. It sends nothing and chooses no layers; `docs/congestion.md` says why
//! it is as it is.

mod history;
mod loss;
mod probe;
mod queue;
mod rate;
mod recovery;
mod throughput;
mod trend;

use std::time::{Duration, Instant};

use history::{News, SentHistory};
use loss::LossControl;
use probe::{Outcome, Prober};
use queue::QueueDelay;
use rate::{Findings, RateControl};
use recovery::Recovery;
use throughput::Throughput;
use trend::{Trend, Usage};

/// Microseconds since the estimator was made, or of the receiver's clock.
type Micros = i64;

/// What is assumed until feedback comes, in bits per second: a voice and the smallest layers of a few faces. A network that has less is too full for a
/// quarter of a second; from a lower start a megabit takes longer than two seconds to find.
pub const START: u64 = 500_000;
/// The estimate does not go below this: a voice and a bit of the smallest picture. From less it would take long to find the way up.
pub const LEAST: u64 = 80_000;
/// … or above: 20 Mbit/s, more than any page shows.
pub const MOST: u64 = 20_000_000;
/// Whoever has sent no feedback at all this long after the first packet sends none: nothing is held back from them then.
pub const NO_FEEDBACK: Duration = Duration::from_secs(2);
/// Feedback comes each 50 to 250 ms. After a gap of this, with packets on their way, the network is held to be interrupted …
const SILENCE: Micros = 500_000;
/// … and the estimate halves each so often, but for a bit only down to a quarter: what was before is likely to come back.
const HALVINGS: u32 = 2;
/// … or down to this, from where anything is found again.
const INTERRUPTED: f64 = 150_000.0;
/// A queue shorter than this is none; half of a path's jitter comes on top.
const SHORT_LINE: Micros = 20_000;
/// A queue this long is too long however steady it is; a path's jitter comes on top.
const LONG_LINE: Micros = 100_000;
/// From this on the budget is lowered for the queue to empty: by all of it where packets wait for [`FULL_LINE`].
const LINE_TO_EMPTY: Micros = 50_000;
const FULL_LINE: Micros = 300_000;
/// What the budget keeps all the same.
const LEAST_BUDGET: f64 = 0.1;
/// Windows of the rates of what arrives: for raising the estimate, and for lowering it to what a full link delivers.
const STEADY_WINDOW: Micros = 500_000;
const MOMENT: Micros = 250_000;
/// … but where less was sent before, only what arrives beside a queue tells what the link delivers: after a keyframe, say.
const BURST: Micros = 100_000;
/// Whoever sends less than this share of the estimate does not use it (the application-limited region).
const IDLE_SHARE: f64 = 0.65;
/// More is looked for while less is held possible than this times what is wanted: a step up may fill 85 % of the budget (the allocator's rule), so less
/// than 1 / 0.85 would end the search just below what the step needs, and more costs padding.
const HEADROOM: f64 = 1.25;
/// How much of a new round trip counts.
const ROUND_TRIP_SMOOTHING: i64 = 8;
/// What came later than this had been held up by an interruption.
const LONGEST_ROUND_TRIP: Micros = 1_000_000;
/// How often [`handle_timeout`](Estimator::handle_timeout) should be called while packets flow.
pub const INTERVAL: Duration = Duration::from_millis(20);
/// … and while a cluster is on its way, so that its padding is spread.
pub const PROBE_INTERVAL: Duration = Duration::from_millis(5);

/// What a packet takes on the wire besides what is counted: headers of UDP and IPv4, and the tag of SRTP.
pub const OVERHEAD: usize = 28 + 16;

/// What an estimate rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Feedback {
    /// Nothing yet.
    Awaited,
    /// Nothing, and nothing is expected any more.
    Absent,
    /// Transport-wide feedback.
    Transport,
    /// Receiver reports, REMB or both.
    Reports,
}

/// Estimates for one subscriber. See the module's documentation.
#[derive(Debug)]
pub struct Estimator {
    origin: Instant,
    feedback: Feedback,
    sent: SentHistory,
    sending: Throughput,
    arriving: Throughput,
    arrival: Option<(i64, Micros)>,
    trend: Trend,
    usage: Usage,
    queue: QueueDelay,
    losses: LossControl,
    rate: RateControl,
    prober: Prober,
    recovery: Recovery,
    round_trip: Micros,
    desired: f64,
    remb: Option<f64>,
    first_sent: Option<Micros>,
    last_sent: Micros,
    last_feedback: Micros,
    /// When the estimate is halved next, should nothing be heard, and how often it was.
    halve_at: Option<Micros>,
    halvings: u32,
    highest: u64,
}

impl Estimator {
    /// An estimator for a subscriber to whom nothing has been sent, and who has negotiated transport-wide feedback.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            origin: now,
            feedback: Feedback::Awaited,
            sent: SentHistory::default(),
            sending: Throughput::default(),
            arriving: Throughput::default(),
            arrival: None,
            trend: Trend::default(),
            usage: Usage::Normal,
            queue: QueueDelay::default(),
            losses: LossControl::default(),
            rate: RateControl::new(START as f64),
            prober: Prober::default(),
            recovery: Recovery::default(),
            round_trip: 100_000,
            desired: 0.0,
            remb: None,
            first_sent: None,
            last_sent: 0,
            last_feedback: 0,
            halve_at: None,
            halvings: 0,
            highest: 0,
        }
    }

    /// Sets whether transport-wide feedback has been negotiated. Whoever has not is sent what they are meant to get until a report speaks against it.
    pub fn set_transport_feedback(&mut self, negotiated: bool) {
        match (negotiated, self.feedback) {
            (true, Feedback::Absent | Feedback::Reports) => {
                (self.feedback, self.first_sent) = (Feedback::Awaited, None);
                self.rate = RateControl::new(START as f64);
            }
            (false, Feedback::Awaited | Feedback::Transport) => self.feedback = Feedback::Absent,
            _ => {}
        }
    }

    /// Notes a packet that leaves without a transport-wide sequence number.
    pub fn on_sent_unnumbered(&mut self, now: Instant, bytes: usize) {
        let now = self.micros(now);
        self.sending.add(now, bytes as u32);
    }

    /// Notes a packet that leaves with a transport-wide sequence number; `bytes` is its size on the wire.
    #[inline]
    pub fn on_sent(&mut self, now: Instant, sequence: u16, bytes: usize) {
        let now = self.micros(now);
        self.first_sent.get_or_insert(now);
        self.last_sent = now;
        let number = self.sent.sent(now, sequence, bytes);
        self.sending.add(now, bytes as u32);
        self.prober.on_sent(now, number, bytes);
    }

    /// Takes in one transport-wide feedback: of each packet its sequence number and, if it arrived, when, in ticks of 250 µs on the receiver's
    /// clock (whose 32 bits may wrap).
    pub fn on_feedback(&mut self, now: Instant, packets: impl Iterator<Item = (u16, Option<i64>)>) {
        let now = self.micros(now);
        let was_silent = self.feedback == Feedback::Transport && now - self.last_feedback > 2 * SILENCE;
        if was_silent {
            self.trend.restart();
            self.queue.resume(now);
            self.losses.resume();
            self.recovery.resume(now);
        }
        let (mut arrived, mut lost, mut newest_sent) = (0, 0, None);
        for (sequence, arrival) in packets {
            let news = self.sent.report(sequence, arrival.is_some());
            let (sent, is_late) = match news {
                News::Nothing => continue,
                News::Lost(sent) => {
                    lost += 1;
                    self.prober.on_report(&sent, None);
                    self.highest = self.highest.max(sent.number);
                    continue;
                }
                News::Arrived(sent) => (sent, false),
                News::Late(sent) => (sent, true),
            };
            let Some(arrival) = arrival.map(|ticks| self.arrival(ticks)) else { continue };
            if is_late {
                self.losses.recovered(1);
            }
            arrived += u32::from(!is_late);
            self.highest = self.highest.max(sent.number);
            newest_sent = newest_sent.max(Some(sent.at));
            let delay = arrival - sent.at;
            self.arriving.add(arrival, sent.bytes);
            self.queue.add(delay);
            self.prober.on_report(&sent, Some(delay));
            if !self.prober.covers(&sent) {
                self.trend.add(sent.at, arrival);
            }
        }
        if arrived + lost == 0 {
            return;
        }
        self.feedback = Feedback::Transport;
        self.last_feedback = now;
        (self.halve_at, self.halvings) = (None, 0);
        if let Some(newest_sent) = newest_sent {
            self.round_trip += ((now - newest_sent).min(LONGEST_ROUND_TRIP) - self.round_trip) / ROUND_TRIP_SMOOTHING;
        }
        if !was_silent {
            self.losses.add(now, arrived, lost);
        }
        self.queue.finish(now);
        self.conclude(now);
    }

    /// Draws conclusions from a feedback.
    fn conclude(&mut self, now: Micros) {
        let delivered_now = self.arriving.rate(MOMENT).map(|rate| self.arriving.rate(BURST).unwrap_or(rate).max(rate));
        let stands = self.queue.standing();
        let (jitter, steadily) = (self.queue.jitter(), self.queue.steadily());
        self.usage = match self.trend.usage() {
            _ if steadily > LONG_LINE + jitter => Usage::Over,
            // Delays that grow and shrink while nothing stands in line are the network's own.
            _ if stands < rate::line(self.rate.rate()).max(SHORT_LINE) + jitter / 2 => Usage::Normal,
            usage => usage,
        };
        let rate = self.rate.rate();
        let findings = Findings {
            now,
            usage: self.usage,
            queue: stands - jitter / 2,
            round_trip: self.round_trip,
            delivered: self.arriving.rate(STEADY_WINDOW),
            delivered_now,
            is_idle: self.sending.rate_at(now, STEADY_WINDOW).is_some_and(|sends| sends < rate * IDLE_SHARE),
        };
        if self.rate.update(&findings) {
            self.prober.give_up(now);
            self.recovery.failed().inspect(|before| self.rate.clamp(LEAST as f64, *before));
        }
        // Whoever does not use the estimate delivers less than the network takes.
        let most_delivered = delivered_now.filter(|_| !findings.is_idle);
        self.losses.update(now, self.rate.rate(), most_delivered);
        let usual_loss = self.losses.mean();
        match self.prober.conclude(now, self.highest, self.possible(), usual_loss) {
            Some(Outcome::Through(rate)) => {
                self.rate.probed(rate);
                self.losses.raise_to(rate);
                self.recovery.landed();
            }
            Some(outcome) => {
                if outcome == Outcome::Refused {
                    self.recovery.failed().inspect(|before| self.rate.clamp(LEAST as f64, *before));
                }
                // What the cluster has left in line is not to be taken for a trend.
                self.trend.restart();
                if outcome == Outcome::Refused && findings.is_idle {
                    self.prober.put_off(now);
                }
            }
            None => {}
        }
        self.bound();
        self.recovery.note(now, self.possible());
    }

    /// Takes in a receiver report (RFC 3550, section 6.4) of one stream, as a subscriber without transport-wide feedback sends: the share of packets lost since the
    /// one before, in 1/256.
    pub fn on_receiver_report(&mut self, now: Instant, fraction_lost: u8, round_trip: Option<Duration>) {
        if matches!(self.feedback, Feedback::Transport | Feedback::Awaited) {
            return;
        }
        let now = self.micros(now);
        if let Some(round_trip) = round_trip {
            self.round_trip = round_trip.as_micros() as Micros;
        }
        let before = std::mem::replace(&mut self.last_feedback, now);
        let sends = self.sending.rate_at(now, STEADY_WINDOW);
        if self.feedback != Feedback::Reports {
            self.feedback = Feedback::Reports;
            // Nothing speaks against the most; what is lost will.
            self.rate = RateControl::new(MOST as f64);
        }
        let loss = f64::from(fraction_lost) / 256.0;
        let possible = match (self.losses.limit(), sends) {
            (None, Some(sends)) => self.possible().min(sends),
            _ => self.possible(),
        };
        self.losses.judge((now - before) as f64 / 1e6, loss, possible, None);
    }

    /// Takes in a REMB (draft-alvestrand-rmcat-remb-03) of a subscriber without transport-wide feedback, in bits per second.
    pub fn on_remb(&mut self, now: Instant, bitrate: u64) {
        if matches!(self.feedback, Feedback::Transport | Feedback::Awaited) {
            return;
        }
        self.last_feedback = self.micros(now);
        if self.feedback != Feedback::Reports {
            self.feedback = Feedback::Reports;
            self.rate = RateControl::new(MOST as f64);
        }
        self.remb = Some((bitrate as f64).clamp(LEAST as f64, MOST as f64));
    }

    /// What this subscriber would be sent if its network took anything, in bits per second: as long as less is held possible, more is looked for.
    /// 0: nothing is looked for.
    pub fn set_desired(&mut self, bitrate: u64) {
        self.desired = bitrate as f64;
    }

    /// Does what is due: each [`INTERVAL`] while packets flow, and each [`PROBE_INTERVAL`] while [`is_probing`](Self::is_probing).
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.micros(now);
        match self.feedback {
            Feedback::Transport => self.watch_silence(now),
            Feedback::Awaited => {
                let waited = self.first_sent.map_or(0, |first| now - first);
                if waited > NO_FEEDBACK.as_micros() as Micros {
                    self.feedback = Feedback::Absent;
                }
                return;
            }
            Feedback::Absent | Feedback::Reports => return,
        }
        let possible = self.possible();
        let calm = self.usage != Usage::Over
            && self.queue.standing() < SHORT_LINE + self.queue.jitter() / 2
            && (!self.losses.is_unusual() || self.recovery.is_on(now, possible))
            && self.halve_at.is_none()
            && now - self.last_sent < SILENCE;
        let wanted = (self.desired * HEADROOM).min(MOST as f64);
        if calm && possible < wanted && self.prober.may_begin(now) {
            if let Some(leap) = self.recovery.leap(now, possible) {
                self.rate.clamp(leap, MOST as f64);
                self.losses.raise_to(leap);
            }
            self.prober.begin(now, self.possible());
        }
    }

    /// Halves the estimate while nothing is heard about what is on its way.
    fn watch_silence(&mut self, now: Micros) {
        let unheard = self.last_sent > self.last_feedback && now - self.last_feedback > SILENCE + self.round_trip;
        if !unheard {
            return;
        }
        let due = *self.halve_at.get_or_insert(now);
        if now >= due && self.halvings < HALVINGS {
            self.halve_at = Some(now + SILENCE);
            self.halvings += 1;
            self.rate.clamp(LEAST as f64, (self.rate.rate() / 2.0).max(INTERRUPTED.min(self.rate.rate())));
            self.prober.interrupt();
            self.bound();
        }
    }

    /// Whether a cluster is on its way, for which [`padding`](Self::padding) should be asked.
    #[must_use]
    pub fn is_probing(&self, now: Instant) -> bool {
        self.prober.is_sending(self.micros(now))
    }

    /// Bytes of padding that should be sent now, on the wire. What is sent is told to [`on_sent`](Self::on_sent) as everything is.
    #[must_use]
    pub fn padding(&self, now: Instant) -> usize {
        self.prober.padding(self.micros(now))
    }

    /// What the network is held to take, in bits per second. `None`: nobody says, and nobody will.
    #[must_use]
    pub fn estimate(&self) -> Option<u64> {
        match self.feedback {
            Feedback::Absent => None,
            Feedback::Awaited | Feedback::Transport | Feedback::Reports => Some(self.possible() as u64),
        }
    }

    /// Whether all that is wanted is held possible, or nobody says.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.estimate().is_none_or(|estimate| estimate as f64 >= self.desired)
    }

    /// Whether the estimate rests on transport-wide feedback.
    #[must_use]
    pub fn is_measured(&self) -> bool {
        self.feedback == Feedback::Transport
    }

    /// What should be sent now, in bits per second: the estimate, less what lets a queue empty.
    #[must_use]
    pub fn budget(&self) -> Option<u64> {
        let estimate = self.estimate()?;
        let over = self.queue.standing() - LINE_TO_EMPTY - self.queue.jitter();
        if over <= 0 || self.feedback != Feedback::Transport {
            return Some(estimate);
        }
        let share = (1.0 - over as f64 / (FULL_LINE - LINE_TO_EMPTY) as f64).max(LEAST_BUDGET);
        Some((estimate as f64 * share) as u64)
    }

    /// How long packets stand in line on their way, as far as is known.
    #[must_use]
    pub fn queue_delay(&self) -> Duration {
        Duration::from_micros(self.queue.standing() as u64)
    }

    /// The share of packets lost lately.
    #[must_use]
    pub fn loss(&self) -> f64 {
        self.losses.mean()
    }

    /// There and back, feedback's own delay included.
    #[must_use]
    pub fn round_trip(&self) -> Duration {
        Duration::from_micros(self.round_trip.max(0) as u64)
    }

    fn possible(&self) -> f64 {
        let bounds = [self.losses.limit(), self.remb.filter(|_| self.feedback == Feedback::Reports)];
        let rate = bounds.into_iter().flatten().fold(self.rate.rate(), f64::min);
        rate.clamp(LEAST as f64, MOST as f64)
    }

    /// Keeps the delay-based rate within bounds.
    fn bound(&mut self) {
        self.rate.clamp(LEAST as f64, MOST as f64);
    }

    fn micros(&self, now: Instant) -> Micros {
        now.saturating_duration_since(self.origin).as_micros() as Micros
    }

    /// The receiver's clock without its wraps, in microseconds.
    fn arrival(&mut self, ticks: i64) -> Micros {
        const TICK: i64 = 250;
        let (last, unwrapped) = self.arrival.unwrap_or((ticks, 0));
        let distance = i64::from((ticks as u32).wrapping_sub(last as u32) as i32);
        let arrival = unwrapped + distance * TICK;
        self.arrival = Some((ticks, arrival));
        arrival
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_sends_no_feedback_at_all_is_held_back_for_a_moment_only() {
        let start = Instant::now();
        let mut estimator = Estimator::new(start);
        estimator.on_sent(start, 1, 1200);
        assert_eq!(estimator.budget(), Some(START));
        estimator.handle_timeout(start + NO_FEEDBACK);
        assert_eq!(estimator.budget(), Some(START));
        estimator.handle_timeout(start + NO_FEEDBACK + INTERVAL);
        assert_eq!(estimator.budget(), None);
    }

    #[test]
    fn reports_of_loss_lower_the_estimate_of_whoever_sends_only_those() {
        let start = Instant::now();
        let mut estimator = Estimator::new(start);
        estimator.set_transport_feedback(false);
        let at = |n: u32| start + Duration::from_millis(20) * n;
        for n in 0..1_500_u32 {
            // Two megabits per second.
            for k in 0..4 {
                estimator.on_sent(at(n), (n * 4 + k) as u16, 1250);
            }
            if n % 50 == 49 {
                let lost = if n < 750 { 0 } else { 80 };
                estimator.on_receiver_report(at(n), lost, Some(Duration::from_millis(60)));
            }
            if n == 749 {
                assert_eq!(estimator.estimate(), Some(MOST), "nothing speaks against it");
            }
        }
        let estimate = estimator.estimate().unwrap_or(MOST);
        assert!(estimate < 1_000_000, "{estimate}");
    }

    #[test]
    fn a_remb_is_a_bound_unless_there_is_transport_wide_feedback() {
        let start = Instant::now();
        let mut estimator = Estimator::new(start);
        estimator.set_transport_feedback(false);
        assert_eq!(estimator.budget(), None);
        estimator.on_remb(start, 700_000);
        assert_eq!(estimator.budget(), Some(700_000));
        estimator.set_transport_feedback(true);
        for n in 0..100 {
            estimator.on_sent(start + Duration::from_millis(n * 10), n as u16, 1200);
        }
        estimator.on_feedback(start + Duration::from_secs(1), (0..100).map(|n| (n, Some(i64::from(n) * 40))));
        estimator.on_remb(start, 100_000);
        assert!(estimator.estimate().is_some_and(|estimate| estimate >= START));
    }

    #[test]
    fn feedback_about_packets_that_were_never_sent_changes_nothing() {
        let start = Instant::now();
        let mut estimator = Estimator::new(start);
        estimator.on_feedback(start, (0..400).map(|n| (n, Some(i64::MAX - i64::from(n)))));
        for n in 0..50 {
            estimator.on_sent(start, n, 1200);
        }
        estimator.on_feedback(start, (30_000..31_000).map(|n| (n, None)));
        assert_eq!(estimator.estimate(), Some(START));
    }

    #[test]
    fn a_receiver_that_lies_about_time_stays_within_bounds() {
        let start = Instant::now();
        let mut estimator = Estimator::new(start);
        estimator.set_desired(100_000_000);
        let mut state = 1_u64;
        for n in 0..20_000_u32 {
            let now = start + Duration::from_millis(5) * n;
            estimator.on_sent(now, n as u16, 1200);
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let arrival = (state >> 40) as i64 - (1 << 23);
            estimator.on_feedback(now, [(n as u16, Some(arrival << (n % 30)))].into_iter());
            estimator.handle_timeout(now);
            assert!(estimator.padding(now) < 30_000);
            assert!(estimator.budget().is_some_and(|budget| budget <= MOST));
        }
    }
}
