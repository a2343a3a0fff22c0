//! Looking for more: for a moment a fifth more is sent than is held possible, filled up with padding, and the delays of just these packets tell
//! whether it got through. A fifth too much for that moment makes a queue of 30 ms, which is what a failure costs. It says how much
//! padding is due; others make it.

use super::Micros;
use super::history::Sent;

/// What is tried, over what is held possible: no cluster takes more than 120 % of the estimate. Where that was refused, half as much may get through.
const GAIN: f64 = 0.2;
const SMALL_GAIN: f64 = 0.1;
/// A cluster lasts this long, so that a slope shows in the jitter of a good network …
const SHORTEST: Micros = 150_000;
/// … and on one where it did not show, up to this long.
const LONGEST: Micros = 800_000;
/// What a cluster adds at least, in bits.
const LEAST_ADDED: f64 = 1_000.0 * 8.0;
/// One of this length is believed also where it is not sure.
const LONG: Micros = 300_000;
/// Fewer packets show no slope.
const LEAST_PACKETS: f64 = 8.0;
/// The delay may grow by this share of what was added, and the rate got through: at a full link it grows by all of it, where three flows share one by
/// a third.
const MOST_GROWTH: f64 = 0.25;
/// A slope that is known no better than this share of what was added says nothing.
const MOST_DOUBT: f64 = 0.175;
/// A cluster of which more is missing than usual has not got through.
const MOST_LOST: f64 = 0.1;
/// A cluster of which less than this share of what was to be added could be says nothing.
const LEAST_FILLED: f64 = 0.4;
/// Feedback about a cluster is waited for so long.
const ANSWER: Micros = 1_000_000;
/// After a failure nothing is tried for this long, and after each further one for twice as long, up to the longest.
const FIRST_WAIT: Micros = 1_000_000;
const LONGEST_WAIT: Micros = 2_000_000;
/// … or this long, where much less is sent than is held possible.
const IDLE_WAIT: Micros = 2_500_000;

/// How a cluster ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Outcome {
    /// So many bits per second got through.
    Through(f64),
    /// They did not.
    Refused,
    /// It cannot be said.
    Unclear,
}

/// Sums for a line through delays over times of leaving, and what was sent.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    count: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
    yy: f64,
    lost: f64,
}

#[derive(Debug, Clone, Copy)]
struct Cluster {
    rate: f64,
    /// The share of it that is added.
    gain: f64,
    began: Micros,
    ends: Micros,
    /// The first and the last packet, once there are any.
    packets: Option<(u64, u64)>,
    bytes: u64,
    last_sent: Micros,
    /// The delay of its first packet that arrived.
    zero: Option<Micros>,
    sums: Sums,
}

#[derive(Debug)]
pub(super) struct Prober {
    cluster: Option<Cluster>,
    length: Micros,
    gain: f64,
    not_before: Micros,
    wait: Micros,
}

impl Default for Prober {
    fn default() -> Self {
        Self { cluster: None, length: SHORTEST, gain: GAIN, not_before: 0, wait: FIRST_WAIT }
    }
}

impl Prober {
    /// Whether a cluster may begin.
    pub(super) fn may_begin(&self, now: Micros) -> bool {
        self.cluster.is_none() && now >= self.not_before
    }

    /// Begins a cluster over an estimate in bits per second.
    pub(super) fn begin(&mut self, now: Micros, estimate: f64) {
        // Padding comes in packets: what is added must be some of them.
        let filled = (LEAST_ADDED / (estimate * self.gain) * 1e6) as Micros;
        let length = self.length.max(filled).min(LONGEST);
        self.cluster = Some(Cluster {
            rate: estimate * (1.0 + self.gain),
            gain: self.gain,
            began: now,
            ends: now + length,
            packets: None,
            bytes: 0,
            last_sent: now,
            zero: None,
            sums: Sums::default(),
        });
    }

    /// Gives up what is under way, and tries nothing for a while.
    pub(super) fn give_up(&mut self, now: Micros) {
        self.cluster = None;
        self.not_before = self.not_before.max(now + FIRST_WAIT);
    }

    /// Tries nothing for longer: most of a cluster would be padding.
    pub(super) fn put_off(&mut self, now: Micros) {
        self.not_before = self.not_before.max(now + IDLE_WAIT);
    }

    /// Gives up what is under way; the next may begin as soon as anything may.
    pub(super) fn interrupt(&mut self) {
        self.cluster = None;
    }

    /// Whether packets leave as part of a cluster.
    pub(super) fn is_sending(&self, now: Micros) -> bool {
        self.cluster.is_some_and(|cluster| now < cluster.ends)
    }

    /// Bytes of padding that should leave now.
    pub(super) fn padding(&self, now: Micros) -> usize {
        let Some(cluster) = self.cluster.filter(|cluster| now < cluster.ends) else { return 0 };
        let due = cluster.rate * (now - cluster.began) as f64 / 8e6;
        (due - cluster.bytes as f64).max(0.0) as usize
    }

    /// A packet leaves.
    pub(super) fn on_sent(&mut self, now: Micros, number: u64, bytes: usize) {
        let Some(cluster) = self.cluster.as_mut().filter(|cluster| now < cluster.ends) else { return };
        let (first, last) = cluster.packets.unwrap_or((number, number));
        cluster.packets = Some((first.min(number), last.max(number)));
        cluster.bytes += bytes as u64;
        cluster.last_sent = now;
    }

    /// Whether a packet belongs to the cluster, or left right after it, while what it left behind may still stand in line.
    pub(super) fn covers(&self, sent: &Sent) -> bool {
        self.cluster.and_then(|cluster| cluster.packets).is_some_and(|(first, _)| sent.number >= first)
    }

    /// A packet arrived, or is missing.
    pub(super) fn on_report(&mut self, sent: &Sent, delay: Option<Micros>) {
        let Some(cluster) = &mut self.cluster else { return };
        if !cluster.packets.is_some_and(|(first, last)| (first..=last).contains(&sent.number)) {
            return;
        }
        let Some(delay) = delay else {
            cluster.sums.lost += 1.0;
            return;
        };
        let zero = *cluster.zero.get_or_insert(delay);
        let (x, y) = ((sent.at - cluster.began) as f64 / 1e3, (delay - zero) as f64 / 1e3);
        let sums = &mut cluster.sums;
        sums.count += 1.0;
        sums.x += x;
        sums.y += y;
        sums.xx += x * x;
        sums.xy += x * y;
        sums.yy += y * y;
    }

    /// What the cluster came to, once its last packet was reported on. `highest` is the newest packet that was, `usual_loss` what is lost anyway.
    pub(super) fn conclude(&mut self, now: Micros, highest: u64, estimate: f64, usual_loss: f64) -> Option<Outcome> {
        let cluster = self.cluster.filter(|cluster| now >= cluster.ends)?;
        let answered = cluster.packets.is_some_and(|(_, last)| highest >= last);
        if !answered && now < cluster.ends + ANSWER {
            return None;
        }
        self.cluster = None;
        let outcome = if answered { cluster.outcome(estimate, usual_loss) } else { Outcome::Unclear };
        match outcome {
            Outcome::Through(_) => {
                self.wait = FIRST_WAIT;
                self.gain = GAIN;
                self.length = (self.length / 2).max(SHORTEST);
                self.not_before = now;
            }
            Outcome::Refused => {
                self.not_before = now + self.wait;
                self.wait = (self.wait * 2).min(LONGEST_WAIT);
                self.gain = if cluster.gain == GAIN { SMALL_GAIN } else { GAIN };
            }
            Outcome::Unclear => {
                self.not_before = now + FIRST_WAIT / 4;
                self.length = (self.length * 2).min(LONGEST);
                self.gain = GAIN;
            }
        }
        Some(outcome)
    }
}

impl Cluster {
    fn outcome(&self, estimate: f64, usual_loss: f64) -> Outcome {
        let Sums { count, x, y, xx, xy, yy, lost } = self.sums;
        let spread = xx - x * x / count.max(1.0);
        let rate = self.bytes as f64 * 8e6 / (self.ends - self.began) as f64;
        if count < LEAST_PACKETS || spread <= 0.0 || rate < estimate * (1.0 + self.gain * LEAST_FILLED) {
            return Outcome::Unclear;
        }
        let together = xy - x * y / count;
        let slope = together / spread;
        let rest = (yy - y * y / count - slope * together).max(0.0);
        let doubt = (rest / (count - 2.0) / spread).sqrt();
        let (growth, doubt) = (slope / self.gain, doubt / self.gain);
        if lost / (lost + count) > usual_loss + MOST_LOST || growth - 2.0 * doubt > MOST_GROWTH {
            Outcome::Refused
        } else if doubt > MOST_DOUBT || (growth > MOST_GROWTH && self.ends - self.began < LONG) {
            Outcome::Unclear
        } else if growth > MOST_GROWTH {
            Outcome::Refused
        } else {
            Outcome::Through(rate.min(self.rate))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cluster over 1 Mbit/s through a link of so many bits per second.
    fn outcome(link: f64) -> Outcome {
        let mut prober = Prober::default();
        prober.begin(0, 1e6);
        let (mut free_at, mut number) = (0_f64, 0);
        let mut arrivals = Vec::new();
        for now in (0..SHORTEST).step_by(5_000) {
            while prober.padding(now) >= 250 {
                number += 1;
                prober.on_sent(now, number, 250);
                free_at = free_at.max(now as f64) + 250.0 * 8e6 / link;
                arrivals.push((Sent { number, at: now, bytes: 250 }, free_at as Micros - now));
            }
        }
        assert_eq!(prober.conclude(SHORTEST, number - 1, 1e6, 0.0), None, "the last packet is not reported on");
        arrivals.iter().for_each(|(sent, delay)| prober.on_report(sent, Some(*delay)));
        prober.conclude(SHORTEST + 50_000, number, 1e6, 0.0).unwrap_or(Outcome::Unclear)
    }

    #[test]
    fn what_gets_through_is_found_and_what_does_not_is_refused() {
        assert!(matches!(outcome(2e6), Outcome::Through(rate) if (1.1e6..=1.2e6).contains(&rate)));
        assert_eq!(outcome(1.0e6), Outcome::Refused);
        assert_eq!(outcome(1.1e6), Outcome::Refused);
    }

    #[test]
    fn no_cluster_takes_more_than_a_fifth_beyond_the_estimate() {
        let mut prober = Prober::default();
        prober.begin(0, 1e6);
        let mut bytes = 0;
        for now in 0..SHORTEST {
            let due = prober.padding(now);
            bytes += due;
            prober.on_sent(now, now as u64, due);
        }
        assert!(bytes as f64 * 8e6 / SHORTEST as f64 <= 1.2e6, "{bytes}");
    }

    #[test]
    fn a_cluster_that_nobody_reports_on_ends() {
        let mut prober = Prober::default();
        prober.begin(0, 1e6);
        prober.on_sent(1, 1, 1000);
        assert_eq!(prober.conclude(SHORTEST + ANSWER, 0, 1e6, 0.0), Some(Outcome::Unclear));
        assert!(!prober.may_begin(SHORTEST + ANSWER));
    }
}
