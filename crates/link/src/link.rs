//! One direction of a network on virtual time. A packet passes, in this order: the queue, where it is dropped or waits for
//! tokens; the air, where it is lost, doubled or held back; and the way, which takes the delay and the jitter. All dice are thrown once
//! for each packet that leaves the queue, in that order, so that how often the link is polled changes nothing.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use rand::Rng;

use crate::OVERHEAD;
use crate::bucket::Bucket;
use crate::dice::{Dice, happens};
use crate::profile::{Conditions, Profile};

/// Jitter beyond so many times its mean is cut: one packet in three thousand, so that a bound on the delay can be named.
const JITTER_CUT: f64 = 8.0;

/// What a link has done. Bytes are payload bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkStatistics {
    /// Packets given to the link.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Packets handed out, duplicates included.
    pub delivered: u64,
    /// Their bytes.
    pub delivered_bytes: u64,
    /// Packets that did not fit into the queue.
    pub dropped: u64,
    /// Packets lost behind it.
    pub lost: u64,
    /// Packets that arrive twice.
    pub duplicated: u64,
    /// Packets held back for others to overtake.
    pub held_back: u64,
    /// The most bytes that waited at once, headers included.
    pub queue_peak: usize,
    /// The longest wait in the queue.
    pub longest_wait: Duration,
}

impl LinkStatistics {
    /// Adds those of another link.
    pub fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.sent_bytes += other.sent_bytes;
        self.delivered += other.delivered;
        self.delivered_bytes += other.delivered_bytes;
        self.dropped += other.dropped;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.held_back += other.held_back;
        self.queue_peak = self.queue_peak.max(other.queue_peak);
        self.longest_wait = self.longest_wait.max(other.longest_wait);
    }
}

/// One direction of a network, for packets of any type that has bytes. The [crate](crate) says what it models.
#[derive(Debug)]
pub struct Link<P> {
    profile: Profile,
    dice: Dice,
    origin: Option<Instant>,
    /// Up to when everything has happened.
    clock: Option<Instant>,
    bucket: Bucket,
    queue: VecDeque<(Instant, P)>,
    queued: usize,
    in_bad_spell: bool,
    /// No packet that keeps its place arrives before this.
    last_arrival: Option<Instant>,
    /// Arrival times with the order of departure; the packets are in `packets`.
    flying: BinaryHeap<Reverse<(Instant, u64)>>,
    packets: BTreeMap<u64, P>,
    departures: u64,
    statistics: LinkStatistics,
}

impl<P: AsRef<[u8]> + Clone> Link<P> {
    /// A link whose profile begins with the first packet or the first poll.
    pub fn new(profile: Profile, seed: u64) -> Self {
        Self {
            profile,
            dice: Dice::new(seed),
            origin: None,
            clock: None,
            bucket: Bucket::default(),
            queue: VecDeque::new(),
            queued: 0,
            in_bad_spell: false,
            last_arrival: None,
            flying: BinaryHeap::new(),
            packets: BTreeMap::new(),
            departures: 0,
            statistics: LinkStatistics::default(),
        }
    }

    /// A link whose profile began at `origin`: several links then change together.
    #[must_use]
    pub fn with_origin(mut self, origin: Instant) -> Self {
        self.origin = Some(origin);
        self
    }

    /// From `now` on another profile holds, from its beginning. What waits in the queue and what flies goes on.
    pub fn change(&mut self, now: Instant, profile: Profile) {
        self.origin = Some(self.advance(now));
        self.profile = profile;
    }

    /// Takes a packet in. Time never runs backwards: an earlier `now` than before counts as the latest one.
    pub fn send(&mut self, now: Instant, packet: P) {
        let now = self.advance(now);
        let len = packet.as_ref().len();
        self.statistics.sent += 1;
        self.statistics.sent_bytes += len as u64;
        let conditions = self.conditions(now).0;
        let size = len + OVERHEAD;
        let leaves_at_once = self.queue.is_empty()
            && match conditions.rate {
                None => true,
                Some(rate) => self.bucket.wait(size, rate, conditions.burst()) == Some(Duration::ZERO),
            };
        if leaves_at_once {
            self.depart(now, packet, conditions);
        } else if self.queued + size > conditions.queue {
            self.statistics.dropped += 1;
        } else {
            self.queued += size;
            self.statistics.queue_peak = self.statistics.queue_peak.max(self.queued);
            self.queue.push_back((now, packet));
        }
    }

    /// The next packet that has arrived by `now`, with its time of arrival. Call until there is none.
    pub fn poll(&mut self, now: Instant) -> Option<(Instant, P)> {
        let now = self.advance(now);
        let &Reverse((at, departure)) = self.flying.peek()?;
        if at > now {
            return None;
        }
        self.flying.pop();
        let packet = self.packets.remove(&departure)?;
        self.statistics.delivered += 1;
        self.statistics.delivered_bytes += packet.as_ref().len() as u64;
        Some((at, packet))
    }

    /// When [`poll`](Self::poll) is due. `None` when nothing is on its way, or what waits will never leave.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let arrival = self.flying.peek().map(|Reverse((at, _))| *at);
        let leaves = self.clock.filter(|_| !self.queue.is_empty()).and_then(|clock| {
            let (conditions, end) = self.conditions(clock);
            [self.departure(clock, &conditions), end].into_iter().flatten().min()
        });
        [arrival, leaves].into_iter().flatten().min()
    }

    /// Bytes that wait in the queue, headers included.
    pub fn queued_bytes(&self) -> usize {
        self.queued
    }

    /// What it has done so far.
    pub fn statistics(&self) -> LinkStatistics {
        self.statistics
    }

    /// The conditions at a time, and when they end.
    fn conditions(&self, at: Instant) -> (Conditions, Option<Instant>) {
        let origin = self.origin.unwrap_or(at);
        let (conditions, end) = self.profile.at(at.saturating_duration_since(origin));
        (*conditions, end.and_then(|end| origin.checked_add(end)))
    }

    /// When the first in the queue leaves, under these conditions.
    fn departure(&self, clock: Instant, conditions: &Conditions) -> Option<Instant> {
        let (_, packet) = self.queue.front()?;
        let Some(rate) = conditions.rate else { return Some(clock) };
        clock.checked_add(self.bucket.wait(packet.as_ref().len() + OVERHEAD, rate, conditions.burst())?)
    }

    /// Lets everything happen up to `now`, stage by stage and departure by departure.
    fn advance(&mut self, now: Instant) -> Instant {
        self.origin.get_or_insert(now);
        let mut clock = self.clock.unwrap_or(now);
        let now = now.max(clock);
        loop {
            let (conditions, end) = self.conditions(clock);
            // Without a limit the bucket is as good as always full.
            let rate = conditions.rate.unwrap_or(u64::MAX);
            self.bucket.fill(clock, rate, conditions.burst());
            let horizon = end.map_or(now, |end| end.min(now));
            match self.departure(clock, &conditions) {
                Some(at) if at <= horizon && end.is_none_or(|end| at < end) => {
                    clock = at;
                    self.bucket.fill(clock, rate, conditions.burst());
                    if let Some((entered, packet)) = self.queue.pop_front() {
                        self.queued -= packet.as_ref().len() + OVERHEAD;
                        let waited = at.saturating_duration_since(entered);
                        self.statistics.longest_wait = self.statistics.longest_wait.max(waited);
                        self.depart(at, packet, conditions);
                    }
                }
                _ => {
                    self.bucket.fill(horizon, rate, conditions.burst());
                    clock = horizon;
                    if end.is_none_or(|end| end > now) {
                        break;
                    }
                }
            }
        }
        self.clock = Some(now);
        now
    }

    /// A packet leaves the queue.
    fn depart(&mut self, at: Instant, packet: P, conditions: Conditions) {
        if conditions.rate.is_some() {
            self.bucket.take(packet.as_ref().len() + OVERHEAD);
        }
        let lost = conditions.loss.loses(&mut self.in_bad_spell, &mut self.dice.loss);
        let doubled = happens(&mut self.dice.duplication, conditions.duplicate);
        let held_back = happens(&mut self.dice.reordering, conditions.reorder);
        let jitter = -(1.0 - self.dice.jitter.random::<f64>()).ln();
        if lost {
            self.statistics.lost += 1;
            return;
        }
        let mut arrival = at + conditions.delay + conditions.jitter.mul_f64(jitter.clamp(0.0, JITTER_CUT));
        arrival = self.last_arrival.map_or(arrival, |last| arrival.max(last));
        if held_back {
            self.statistics.held_back += 1;
            arrival += conditions.reorder_by;
        } else {
            self.last_arrival = Some(arrival);
        }
        if doubled {
            self.statistics.duplicated += 1;
            self.fly(arrival, packet.clone());
        }
        self.fly(arrival, packet);
    }

    fn fly(&mut self, arrival: Instant, packet: P) {
        self.flying.push(Reverse((arrival, self.departures)));
        self.packets.insert(self.departures, packet);
        self.departures += 1;
    }
}
