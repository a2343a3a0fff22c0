//! How good a participant's connection is, from what was measured on it: loss, jitter and round trip of their own packets and of what they say of ours. A state
//! machine of some hundred bytes, fed by RTCP once a second or so, never per packet. The level is what a voice would suffer, by the E-model (ITU-T G.107, in the
//! simplification of Cole and Rosenbluth, "Voice over IP performance monitoring", 2001). It knows nothing of pictures, whose layers are another matter, and repairs nothing.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// The rating of a connection without any loss or delay (G.107, default values).
const PERFECT: f64 = 93.2;

/// How well losses are hidden: that of G.711 with concealment (G.113, table I.3). Opus hides them somewhat better, so that this errs on the side of a warning.
const ROBUSTNESS: f64 = 25.1;

/// What codec and playout take at least, beside the network: a frame of 20 ms, looking ahead, and a jitter buffer of two frames.
const PROCESSING: Duration = Duration::from_millis(65);

/// From here on users are satisfied (G.109: 80 and more).
const GOOD: f64 = 80.0;

/// Below this many are dissatisfied (G.109: 60 to 70).
const FAIR: f64 = 65.0;

/// A worse level must hold for so long before it is told, and …
const WORSE_AFTER: Duration = Duration::from_secs(2);

/// … a better one for so long: whoever sees a warning vanish believes it.
const BETTER_AFTER: Duration = Duration::from_secs(5);

/// Whoever should be heard and has not been for so long is cut off. Browsers report at least every 5 s in sound alone, but send all the time.
const SILENT: Duration = Duration::from_secs(6);

/// How much the latest measurement counts: half, so that three of them make seven eighths.
const NEW: f64 = 0.5;

/// So few packets say nothing about loss; they are counted with the next ones.
const ENOUGH: u64 = 20;

/// The numbers are told anew so often, though the level is the same.
const AGAIN: Duration = Duration::from_secs(10);

/// Losses that differ by so much, of 1000, and by half of the greater, are told at once: others decide by them what to send twice, and how long to wait.
const NEWS: u16 = 20;

/// What a voice suffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QualityLevel {
    /// Nothing to speak of.
    Good,
    /// Some notice.
    Fair,
    /// Words are lost, or people talk at the same time.
    Poor,
    /// Nothing arrives any more.
    Lost,
}

/// A connection as it was measured lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quality {
    /// What a voice suffers, in the worse direction.
    pub level: QualityLevel,
    /// There and back, in milliseconds.
    pub round_trip_ms: u32,
    /// Lost on the way to the server, in 1/1000, before anything is repaired.
    pub loss_up: u16,
    /// Lost on the way from the server, likewise.
    pub loss_down: u16,
    /// The larger of the two jitters (RFC 3550), in milliseconds.
    pub jitter_ms: u32,
}

impl Quality {
    fn loses_otherwise(&self, told: &Self) -> bool {
        let ways = [(self.loss_up, told.loss_up), (self.loss_down, told.loss_down)];
        ways.into_iter().any(|(now, then)| now.abs_diff(then) >= NEWS.max(now.max(then) / 2))
    }
}

/// One direction.
#[derive(Debug, Clone, Copy, Default)]
struct Way {
    expected: u64,
    lost: u64,
    /// Smoothed, of 1; `None` until there was something to lose.
    loss: Option<f64>,
    jitter: Duration,
}

impl Way {
    fn measured(&mut self, expected: u64, lost: u64, jitter: Duration) {
        self.expected += expected;
        self.lost += lost;
        self.jitter = self.jitter.mul_f64(1.0 - NEW) + jitter.mul_f64(NEW);
        if self.expected >= ENOUGH {
            let loss = self.lost.min(self.expected) as f64 / self.expected as f64;
            self.loss = Some(self.loss.map_or(loss, |before| before * (1.0 - NEW) + loss * NEW));
            (self.expected, self.lost) = (0, 0);
        }
    }

    /// How a voice is rated that comes this way, of 100.
    fn rating(&self, round_trip: Duration) -> f64 {
        // A jitter buffer waits for about twice the mean deviation.
        let delay = (round_trip / 2 + self.jitter * 2 + PROCESSING).as_secs_f64() * 1_000.0;
        let delayed = 0.024 * delay + 0.11 * (delay - 177.3).max(0.0);
        let percent = self.loss.unwrap_or(0.0) * 100.0;
        PERFECT - delayed - 95.0 * percent / (percent + ROBUSTNESS)
    }

    fn per_mille(&self) -> u16 {
        (self.loss.unwrap_or(0.0) * 1_000.0).round() as u16
    }
}

/// See the [module](self).
#[derive(Debug, Default)]
pub struct QualityMeter {
    up: Way,
    down: Way,
    round_trip: Option<Duration>,
    heard: Option<Instant>,
    told: Option<(Quality, Instant)>,
    /// Another level than the one told, and since when.
    other: Option<(QualityLevel, Instant)>,
}

impl QualityMeter {
    /// A meter that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Of so many packets of theirs so many were lost.
    pub fn on_received(&mut self, now: Instant, expected: u64, lost: u64, jitter: Duration) {
        if expected > lost {
            self.heard = Some(now);
        }
        self.up.measured(expected, lost, jitter);
    }

    /// They say that of so many packets to them so many were lost.
    pub fn on_reported(&mut self, now: Instant, expected: u64, lost: u64, jitter: Duration) {
        self.heard = Some(now);
        self.down.measured(expected, lost, jitter);
    }

    /// How long a packet took there and back.
    pub fn on_round_trip(&mut self, round_trip: Duration) {
        let before = self.round_trip.unwrap_or(round_trip);
        self.round_trip = Some(before.mul_f64(1.0 - NEW) + round_trip.mul_f64(NEW));
    }

    /// What is to be told, if anything; to be asked about once a second. `talks`: whether media is due from them or flows to them, so that they ought to be heard.
    pub fn poll(&mut self, now: Instant, talks: bool) -> Option<Quality> {
        let heard = self.heard?;
        let cut_off = talks && now.saturating_duration_since(heard) >= SILENT;
        // Nothing lets itself be measured while nothing flows.
        let measured = self.up.loss.is_some() || self.down.loss.is_some();
        if !measured && !cut_off {
            return None;
        }
        let reading = self.reading(cut_off);
        let Some((told, at)) = self.told else { return Some(self.tell(now, reading)) };
        let level = told.level;
        if reading.level == level {
            self.other = None;
            let since = now.saturating_duration_since(at);
            let due = since >= AGAIN || (since >= WORSE_AFTER && reading.loses_otherwise(&told));
            return due.then(|| self.tell(now, reading));
        }
        // Of several other levels in a row the last one counts, and the time since the first on this side.
        let same_side = |other: QualityLevel| (other > level) == (reading.level > level);
        let since = self.other.filter(|(other, _)| same_side(*other)).map_or(now, |(_, since)| since);
        self.other = Some((reading.level, since));
        let patience = match reading.level {
            QualityLevel::Lost => Duration::ZERO,
            worse if worse > level => WORSE_AFTER,
            _ => BETTER_AFTER,
        };
        (now.saturating_duration_since(since) >= patience).then(|| self.tell(now, reading))
    }

    fn tell(&mut self, now: Instant, reading: Quality) -> Quality {
        self.told = Some((reading, now));
        self.other = None;
        reading
    }

    fn reading(&self, cut_off: bool) -> Quality {
        let round_trip = self.round_trip.unwrap_or_default();
        let rating = self.up.rating(round_trip).min(self.down.rating(round_trip));
        let level = match rating {
            _ if cut_off => QualityLevel::Lost,
            rating if rating >= GOOD => QualityLevel::Good,
            rating if rating >= FAIR => QualityLevel::Fair,
            _ => QualityLevel::Poor,
        };
        let milliseconds = |time: Duration| time.as_millis().try_into().unwrap_or(u32::MAX);
        Quality {
            level,
            round_trip_ms: milliseconds(round_trip),
            loss_up: self.up.per_mille(),
            loss_down: self.down.per_mille(),
            jitter_ms: milliseconds(self.up.jitter.max(self.down.jitter)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use QualityLevel::{Fair, Good, Lost, Poor};

    const SECOND: Duration = Duration::from_secs(1);
    const JITTER: Duration = Duration::from_millis(5);

    /// A meter on virtual time: fifty packets a second each way.
    struct Bench {
        meter: QualityMeter,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            let mut meter = QualityMeter::new();
            meter.on_round_trip(Duration::from_millis(50));
            Self { meter, now: Instant::now() }
        }

        /// What is told during so many seconds with these losses of fifty.
        fn run(&mut self, seconds: usize, up: u64, down: u64) -> Vec<QualityLevel> {
            let mut told = Vec::new();
            for _ in 0..seconds {
                self.now += SECOND;
                self.meter.on_received(self.now, 50, up, JITTER);
                if down < 50 {
                    self.meter.on_reported(self.now, 50, down, JITTER);
                }
                told.extend(self.meter.poll(self.now, true).map(|quality| quality.level));
            }
            told.dedup();
            told
        }
    }

    #[test]
    fn levels_follow_loss_in_either_direction() {
        assert_eq!(Bench::new().run(10, 0, 0), [Good]);
        assert_eq!(Bench::new().run(10, 1, 0), [Good], "2 % are hidden");
        assert_eq!(Bench::new().run(10, 4, 0), [Fair]);
        assert_eq!(Bench::new().run(10, 0, 4), [Fair]);
        assert_eq!(Bench::new().run(10, 10, 0), [Poor]);
        assert_eq!(Bench::new().run(10, 0, 10), [Poor]);
    }

    #[test]
    fn losses_that_others_act_upon_are_told_at_once_and_noise_is_not() {
        let mut bench = Bench::new();
        let told = |bench: &mut Bench, seconds, down: fn(u64) -> u64| {
            let mut told = Vec::new();
            for second in 0..seconds {
                bench.now += SECOND;
                bench.meter.on_reported(bench.now, 1_000, down(second), JITTER);
                told.extend(bench.meter.poll(bench.now, true).map(|quality| quality.loss_down));
            }
            told
        };
        assert_eq!(told(&mut bench, 5, |_| 1).len(), 1);
        let news = told(&mut bench, 5, |_| 30);
        assert!(matches!(news[..], [loss] if loss > 20), "the level is the same, the loss is not: {news:?}");
        assert_eq!(told(&mut bench, 20, |second| 25 + second % 3 * 5).len(), 2, "each ten seconds");
    }

    #[test]
    fn a_satellite_is_fair_though_it_loses_nothing() {
        let mut bench = Bench::new();
        for _ in 0..20 {
            bench.meter.on_round_trip(Duration::from_millis(600));
        }
        assert_eq!(bench.run(5, 0, 0), [Poor], "people talk at the same time");
        let mut bench = Bench::new();
        for _ in 0..20 {
            bench.meter.on_round_trip(Duration::from_millis(350));
        }
        assert_eq!(bench.run(5, 0, 0), [Fair]);
    }

    #[test]
    fn a_blip_is_not_told_and_getting_better_takes_longer_than_getting_worse() {
        let mut bench = Bench::new();
        assert_eq!(bench.run(10, 0, 0), [Good]);
        assert!(!bench.run(1, 15, 0).contains(&Poor));
        assert!(!bench.run(10, 0, 0).contains(&Poor));
        let worse = bench.now;
        assert_eq!(bench.run(8, 15, 0).last(), Some(&Poor));
        assert!(bench.now - worse < 10 * SECOND);
        assert!(!bench.run(4, 0, 0).contains(&Good), "not so fast");
        assert_eq!(bench.run(12, 0, 0).last(), Some(&Good));
    }

    #[test]
    fn whoever_falls_silent_in_the_middle_is_lost_and_who_has_nothing_to_say_is_not() {
        let mut bench = Bench::new();
        bench.run(5, 0, 0);
        let silent = bench.now;
        let mut lost = None;
        while lost.is_none() && bench.now - silent < 20 * SECOND {
            bench.now += SECOND;
            lost = bench.meter.poll(bench.now, true).filter(|quality| quality.level == Lost);
        }
        assert_eq!(bench.now - silent, SILENT);
        assert_eq!(bench.run(8, 0, 0).last(), Some(&Good), "and back");

        let mut quiet = Bench::new();
        quiet.run(5, 0, 0);
        quiet.now += 60 * SECOND;
        assert!(quiet.meter.poll(quiet.now, false).is_none_or(|quality| quality.level == Good));
    }

    #[test]
    fn levels_do_not_flap_around_a_limit() {
        let mut bench = Bench::new();
        bench.run(10, 3, 0);
        let mut changes = 0;
        let mut last = None;
        for second in 0..120 {
            for level in bench.run(1, 2 + second % 3, 0) {
                changes += usize::from(last.is_some_and(|last| last != level));
                last = Some(level);
            }
        }
        assert!(changes <= 4, "{changes} changes in two minutes");
    }

    #[test]
    fn nothing_is_told_before_anything_was_measured() {
        let mut meter = QualityMeter::new();
        let now = Instant::now();
        assert_eq!(meter.poll(now, true), None);
        meter.on_received(now, 5, 0, JITTER);
        assert_eq!(meter.poll(now, true), None, "five packets say nothing");
        meter.on_received(now, 20, 0, JITTER);
        assert!(meter.poll(now, true).is_some());
    }
}
