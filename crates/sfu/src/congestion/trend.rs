//! Whether the delay grows: packets are grouped by when they left, the delay's change from group to group is summed and smoothed, and a line through the
//! last of it is held against a threshold that adapts to the path (draft-ietf-rmcat-gcc-02, section 5, with the line in the place of its Kalman
//! filter, as browsers have it). How much to send is decided elsewhere.

use super::Micros;

/// Packets that leave within this time are one group: what waits for one another says nothing (the draft's burst_time).
const GROUP: Micros = 5_000;
/// A group that arrived as a burst, after having been held up somewhere, goes on for so long at most.
const LONGEST_BURST: Micros = 100_000;
/// Points of the line. More are steadier, fewer are faster: with voice and video 20 take a quarter of a second.
const POINTS: usize = 20;
/// Of the smoothed delay, this much is kept at each group.
const SMOOTHING: f64 = 0.9;
/// The line's slope is multiplied by the number of groups seen, up to this, and by the gain, to be held against the threshold in milliseconds.
const MAX_GROUPS: f64 = 60.0;
const GAIN: f64 = 4.0;
/// Where the threshold begins and where it stays, in milliseconds (the draft's del_var_th).
const FIRST_THRESHOLD: f64 = 12.5;
const THRESHOLDS: (f64, f64) = (6.0, 600.0);
/// How fast the threshold follows a trend above and below it, per millisecond: slowly up, so that a growing queue is noticed,
/// and faster down.
const FOLLOW_UP: f64 = 0.0087;
const FOLLOW_DOWN: f64 = 0.039;
/// A trend this far above the threshold is no property of the path: the threshold does not follow it.
const TOO_FAR: f64 = 15.0;
/// The delay must grow for so long (the draft's overuse_time_th).
const OVERUSE_TIME: Micros = 10_000;

/// What the delay does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Usage {
    /// Nothing to speak of.
    #[default]
    Normal,
    /// It grows: more is sent than gets through.
    Over,
    /// It shrinks: a queue empties.
    Under,
}

#[derive(Debug, Clone, Copy)]
struct Group {
    first_sent: Micros,
    last_sent: Micros,
    first_arrival: Micros,
    last_arrival: Micros,
}

#[derive(Debug)]
pub(super) struct Trend {
    current: Option<Group>,
    previous: Option<Group>,
    /// Arrival and smoothed delay in milliseconds, the oldest overwritten.
    points: [(f64, f64); POINTS],
    groups: u64,
    zero: Micros,
    summed: f64,
    smoothed: f64,
    threshold: f64,
    last_slope: f64,
    /// For how long and in how many groups it has been growing.
    growing: Option<(Micros, u32)>,
    usage: Usage,
}

impl Default for Trend {
    fn default() -> Self {
        Self {
            current: None,
            previous: None,
            points: [(0.0, 0.0); POINTS],
            groups: 0,
            zero: 0,
            summed: 0.0,
            smoothed: 0.0,
            threshold: FIRST_THRESHOLD,
            last_slope: 0.0,
            growing: None,
            usage: Usage::Normal,
        }
    }
}

impl Trend {
    /// Begins anew, with the threshold that the path has taught it.
    pub(super) fn restart(&mut self) {
        *self = Self { threshold: self.threshold, ..Self::default() };
    }

    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    /// Counts a packet by when it left and arrived, each by its own clock.
    pub(super) fn add(&mut self, sent: Micros, arrival: Micros) {
        let Some(group) = &mut self.current else {
            self.current = Some(Group::new(sent, arrival));
            return;
        };
        if sent < group.first_sent {
            return;
        }
        let overtakes = arrival - group.last_arrival < sent - group.last_sent;
        let in_burst =
            overtakes && arrival - group.last_arrival <= GROUP && arrival - group.first_arrival < LONGEST_BURST;
        if sent - group.first_sent <= GROUP || in_burst {
            group.last_sent = group.last_sent.max(sent);
            group.last_arrival = group.last_arrival.max(arrival);
            return;
        }
        let complete = *group;
        self.current = Some(Group::new(sent, arrival));
        if let Some(previous) = self.previous.replace(complete) {
            self.compare(previous, complete);
        }
    }

    fn compare(&mut self, previous: Group, group: Group) {
        let (sent, arrived) = (group.last_sent - previous.last_sent, group.last_arrival - previous.last_arrival);
        if arrived < 0 {
            return;
        }
        if self.groups == 0 {
            self.zero = group.last_arrival;
        }
        self.groups += 1;
        self.summed += (arrived - sent) as f64 / 1e3;
        self.smoothed = SMOOTHING * self.smoothed + (1.0 - SMOOTHING) * self.summed;
        let at = self.groups as usize % POINTS;
        self.points[at] = ((group.last_arrival - self.zero) as f64 / 1e3, self.smoothed);
        if self.groups >= POINTS as u64 {
            let slope = slope(&self.points).unwrap_or(self.last_slope);
            self.judge(slope, sent, arrived);
        }
    }

    fn judge(&mut self, slope: f64, sent: Micros, arrived: Micros) {
        let trend = slope * GAIN * (self.groups as f64).min(MAX_GROUPS);
        self.usage = if trend > self.threshold {
            let (time, count) = self.growing.map_or((sent / 2, 1), |(time, count)| (time + sent, count + 1));
            self.growing = Some((time, count));
            if time > OVERUSE_TIME && count > 1 && slope >= self.last_slope {
                self.growing = None;
                Usage::Over
            } else {
                self.usage
            }
        } else {
            self.growing = None;
            if trend < -self.threshold { Usage::Under } else { Usage::Normal }
        };
        self.last_slope = slope;
        if trend.abs() <= self.threshold + TOO_FAR {
            let follow = if trend.abs() < self.threshold { FOLLOW_DOWN } else { FOLLOW_UP };
            let elapsed = (arrived as f64 / 1e3).min(100.0);
            self.threshold += follow * (trend.abs() - self.threshold) * elapsed;
            self.threshold = self.threshold.clamp(THRESHOLDS.0, THRESHOLDS.1);
        }
    }
}

impl Group {
    fn new(sent: Micros, arrival: Micros) -> Self {
        Self { first_sent: sent, last_sent: sent, first_arrival: arrival, last_arrival: arrival }
    }
}

/// The slope of the line through the points, by least squares.
fn slope(points: &[(f64, f64); POINTS]) -> Option<f64> {
    let count = POINTS as f64;
    let (sum_x, sum_y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
    let (mean_x, mean_y) = (sum_x / count, sum_y / count);
    let (xy, xx) = points
        .iter()
        .fold((0.0, 0.0), |(xy, xx), (x, y)| (xy + (x - mean_x) * (y - mean_y), xx + (x - mean_x) * (x - mean_x)));
    (xx > 0.0).then(|| xy / xx)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets each 20 ms whose delay grows by so many microseconds each.
    fn run(trend: &mut Trend, from: Micros, packets: i64, growth: Micros) -> Vec<Usage> {
        (0..packets)
            .map(|n| {
                let sent = from + n * 20_000;
                trend.add(sent, sent + 40_000 + n * growth);
                trend.usage()
            })
            .collect()
    }

    #[test]
    fn a_steady_delay_is_normal() {
        let mut trend = Trend::default();
        assert!(run(&mut trend, 0, 500, 0).iter().all(|usage| *usage == Usage::Normal));
    }

    #[test]
    fn a_delay_that_grows_is_overuse_and_one_that_shrinks_is_underuse() {
        let mut trend = Trend::default();
        run(&mut trend, 0, 100, 0);
        let usages = run(&mut trend, 2_000_000, 30, 4_000);
        assert!(usages.contains(&Usage::Over));
        trend.restart();
        let usages = run(&mut trend, 4_000_000, 40, -1_500);
        assert!(usages.contains(&Usage::Under));
    }

    #[test]
    fn packets_of_one_burst_are_one_group() {
        let mut trend = Trend::default();
        for n in 0..200_i64 {
            let sent = n / 5 * 33_000 + n % 5 * 500;
            // Each waits for the one before it.
            trend.add(sent, n / 5 * 33_000 + 20_000 + n % 5 * 4_000);
            assert_eq!(trend.usage(), Usage::Normal, "{n}");
        }
        assert_eq!(trend.groups, 38);
    }
}
