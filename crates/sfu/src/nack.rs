//! Finds gaps in what a publisher sends and decides when to ask for the missing packets (generic NACK, RFC 4585,
//! section 6.2.1).
//!
//! One [`NackGenerator`] per incoming media SSRC. Packets that come back through RTX are told to it under their
//! original sequence number. It neither writes RTCP nor asks for keyframes; where it gives up on a large gap it says
//! so.

use std::time::{Duration, Instant};

/// A gap is asked for once this many newer packets have come: two swapped packets are no loss.
const REORDER_PACKETS: u64 = 3;
/// … or after this time, where few packets flow.
const REORDER_WAIT: Duration = Duration::from_millis(10);
/// The least time between two requests for a packet, whatever the round trip seems to be.
const MIN_RETRY: Duration = Duration::from_millis(20);
/// Requests for one packet at most, echoes not counted.
pub const MAX_REQUESTS: u8 = 8;
/// From this share of lost packets on each request is made twice, since it or its answer is lost as often: a picture that has to wait for a second
/// round trip is seen to stand still. Senders answer one packet once in a round trip; one that does not sends twice what is lost.
const LOSSY: f32 = 0.04;
/// So long after it the same is asked for a second time.
const ECHO: Duration = Duration::from_millis(10);
/// So much longer than a round trip an answer is waited for: libwebrtc answers no second request within a round trip and 5 ms.
const GRACE: Duration = Duration::from_millis(10);
/// So many packets the share of lost ones looks back, about: one or two seconds of a small picture.
const LOOK_BACK: f32 = 64.0;
/// A packet missing for longer than this is given up: a receiver's buffer has moved on.
pub const DEADLINE: Duration = Duration::from_secs(1);
/// Packets missing at the same time at most. Past it a keyframe is cheaper than the packets.
pub const MAX_MISSING: usize = 128;
/// The RTCP of one round: more would make a packet of over 1,000 bytes in the worst case.
pub const MAX_PER_ROUND: usize = 64;

/// What an arriving packet was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrived {
    /// In order, possibly after a gap.
    New,
    /// It had been missing.
    Recovered,
    /// Neither new nor missing: a duplicate, or given up already.
    Old,
    /// Too much is missing to be asked for: everything missing is forgotten, a keyframe helps.
    GaveUp,
}

#[derive(Debug, Clone, Copy)]
struct Missing {
    number: u64,
    since: Instant,
    due: Instant,
    requests: u8,
    /// The next request is the last one's echo.
    is_echo: bool,
}

/// The missing packets of one incoming SSRC.
#[derive(Debug, Default)]
pub struct NackGenerator {
    /// In order of their numbers. Allocated at the first loss.
    missing: Vec<Missing>,
    highest: Option<u64>,
    /// The earliest `due`, so that asking for the next timeout costs nothing.
    next_due: Option<Instant>,
    /// How many at the end of `missing` still wait whether they are only out of order.
    waiting: usize,
    /// The share of packets that were lost lately, reordered ones among them.
    loss: f32,
}

impl NackGenerator {
    /// A generator that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many packets are missing and not given up.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.missing.len()
    }

    /// Notes a packet. O(1) without loss, O([`MAX_MISSING`]) at worst.
    pub fn on_packet(&mut self, now: Instant, sequence: u16) -> Arrived {
        let Some(highest) = self.highest else {
            self.highest = Some((1 << 32) + u64::from(sequence));
            return Arrived::New;
        };
        let distance = sequence.wrapping_sub(highest as u16) as i16;
        let number = highest.wrapping_add_signed(i64::from(distance));
        if number <= highest {
            return self.forget(number);
        }
        self.highest = Some(number);
        let lost = (number - highest - 1) as usize;
        let [lost_now, came] = [lost, lost + 1].map(|packets| (packets as f32 / LOOK_BACK).min(1.0));
        self.loss += lost_now - came * self.loss;
        if lost > 0 {
            if self.missing.len() + lost > MAX_MISSING {
                self.clear();
                return Arrived::GaveUp;
            }
            self.missing.reserve_exact(MAX_MISSING - self.missing.len());
            let due = now + REORDER_WAIT;
            for number in highest + 1..number {
                self.missing.push(Missing { number, since: now, due, requests: 0, is_echo: false });
            }
            self.waiting += lost;
            self.next_due = Some(self.next_due.map_or(due, |next| next.min(due)));
        }
        self.hasten(now, number);
        Arrived::New
    }

    /// When [`due`](Self::due) has something to say.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_due
    }

    /// Writes the sequence numbers to ask for now, in order, into `requests` (up to [`MAX_PER_ROUND`] are useful) and
    /// returns how many. What does not fit stays due. `round_trip` is that of the publisher.
    pub fn due(&mut self, now: Instant, round_trip: Duration, requests: &mut [u16]) -> usize {
        if self.next_due.is_none_or(|next| next > now) {
            return 0;
        }
        self.missing.retain(|missing| {
            let in_time = now.saturating_duration_since(missing.since) < DEADLINE;
            in_time && (missing.requests < MAX_REQUESTS || missing.is_echo || missing.due > now)
        });
        let is_lossy = self.loss >= LOSSY;
        let mut count = 0;
        for missing in self.missing.iter_mut().filter(|missing| missing.due <= now) {
            let Some(place) = requests.get_mut(count) else { break };
            *place = missing.number as u16;
            count += 1;
            missing.requests += u8::from(!missing.is_echo);
            missing.is_echo = is_lossy && !missing.is_echo;
            // A round trip, and a half more for each further request: the path may be congested.
            let retry = round_trip.max(MIN_RETRY) * (u32::from(missing.requests) + 1) / 2 + GRACE;
            missing.due = now
                + match (missing.is_echo, is_lossy) {
                    (true, _) => ECHO,
                    (false, true) => retry - ECHO,
                    (false, false) => retry,
                };
        }
        self.next_due = self.missing.iter().map(|missing| missing.due).min();
        self.waiting = self.missing.iter().rev().take_while(|missing| missing.requests == 0).count();
        count
    }

    /// Nothing is missing any more, because the stream starts over or a keyframe has made it useless.
    pub fn clear(&mut self) {
        self.missing.clear();
        self.waiting = 0;
        self.next_due = None;
    }

    fn forget(&mut self, number: u64) -> Arrived {
        let Ok(at) = self.missing.binary_search_by_key(&number, |missing| missing.number) else { return Arrived::Old };
        if at + self.waiting >= self.missing.len() {
            self.waiting -= 1;
        }
        self.missing.remove(at);
        if self.missing.is_empty() {
            self.next_due = None;
        }
        Arrived::Recovered
    }

    /// Makes due what enough newer packets have overtaken.
    fn hasten(&mut self, now: Instant, highest: u64) {
        while self.waiting > 0 {
            let first = self.missing.len() - self.waiting;
            let Some(missing) = self.missing.get_mut(first) else { return };
            if highest - missing.number < REORDER_PACKETS {
                return;
            }
            missing.due = missing.due.min(now);
            self.next_due = Some(self.next_due.map_or(missing.due, |next| next.min(missing.due)));
            self.waiting -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(100);

    fn due(generator: &mut NackGenerator, now: Instant) -> Vec<u16> {
        let mut requests = [0; MAX_PER_ROUND];
        let count = generator.due(now, RTT, &mut requests);
        requests[..count].to_vec()
    }

    fn receive(generator: &mut NackGenerator, now: Instant, sequences: impl IntoIterator<Item = u16>) {
        for sequence in sequences {
            generator.on_packet(now, sequence);
        }
    }

    #[test]
    fn a_gap_is_asked_for_after_three_newer_packets() {
        let now = Instant::now();
        let mut generator = NackGenerator::new();
        receive(&mut generator, now, [65_534, 65_535, 2]);
        assert_eq!(due(&mut generator, now), [] as [u16; 0]);
        receive(&mut generator, now, [3]);
        assert_eq!(due(&mut generator, now), [0], "0 has been overtaken by three numbers, 1 by two");
        receive(&mut generator, now, [4]);
        assert_eq!(due(&mut generator, now), [1]);
    }

    #[test]
    fn a_gap_in_a_sparse_stream_is_asked_for_after_a_moment() {
        let now = Instant::now();
        let mut generator = NackGenerator::new();
        receive(&mut generator, now, [1, 3]);
        assert_eq!(generator.poll_timeout(), Some(now + REORDER_WAIT));
        assert_eq!(due(&mut generator, now + REORDER_WAIT), [2]);
    }

    #[test]
    fn swapped_packets_are_not_asked_for() {
        let now = Instant::now();
        let mut generator = NackGenerator::new();
        receive(&mut generator, now, [1, 3]);
        assert_eq!(generator.on_packet(now, 2), Arrived::Recovered);
        assert_eq!(generator.poll_timeout(), None);
        assert_eq!(due(&mut generator, now + DEADLINE), [] as [u16; 0]);
        assert_eq!(generator.on_packet(now, 2), Arrived::Old);
    }

    #[test]
    fn a_packet_is_asked_for_again_after_a_round_trip_until_it_comes() {
        let start = Instant::now();
        let mut generator = NackGenerator::new();
        receive(&mut generator, start, [1, 3, 4, 5]);
        assert_eq!(due(&mut generator, start), [2]);
        assert_eq!(due(&mut generator, start + RTT / 2), [] as [u16; 0]);
        assert_eq!(due(&mut generator, start + RTT + GRACE), [2]);
        generator.on_packet(start + RTT * 2, 2);
        assert_eq!(due(&mut generator, start + RTT * 5), [] as [u16; 0]);
    }

    #[test]
    fn where_much_is_lost_each_request_is_made_twice_and_where_little_is_once() {
        let start = Instant::now();
        for (distance, twice) in [(200, false), (10, true)] {
            let mut generator = NackGenerator::new();
            receive(&mut generator, start, (1..1_000).filter(|number| number % distance > 0));
            let now = start + DEADLINE;
            assert_eq!(due(&mut generator, now), [] as [u16; 0]);
            receive(&mut generator, now, [1_000, 1_002, 1_003, 1_004]);
            assert_eq!(due(&mut generator, now), [1_001]);
            assert_eq!(due(&mut generator, now + ECHO) == [1_001], twice, "each {distance}th lost");
            assert_eq!(due(&mut generator, now + ECHO * 2), [] as [u16; 0]);
            assert_eq!(due(&mut generator, now + GRACE + RTT), [1_001]);
        }
    }

    #[test]
    fn a_packet_is_given_up_after_some_requests_and_after_the_deadline() {
        let start = Instant::now();
        let mut generator = NackGenerator::new();
        receive(&mut generator, start, [1, 3, 4, 5]);
        let mut asked = 0;
        let mut requests = [0; 4];
        for step in 0..2_000 {
            asked += generator.due(start + Duration::from_millis(step), Duration::ZERO, &mut requests);
        }
        assert_eq!(asked, usize::from(MAX_REQUESTS));
        assert_eq!(generator.missing(), 0);

        let (mut lossy, mut asked) = (NackGenerator::new(), 0);
        receive(&mut lossy, start, (1..1_000).filter(|number| number % 10 > 0));
        lossy.clear();
        receive(&mut lossy, start, [1_000, 1_002, 1_003, 1_004]);
        for step in 0..2_000 {
            asked += lossy.due(start + Duration::from_millis(step), Duration::ZERO, &mut requests);
        }
        assert_eq!(asked, 2 * usize::from(MAX_REQUESTS), "the last one, too, is made twice");

        receive(&mut generator, start, [7, 8, 9, 10]);
        assert_eq!(due(&mut generator, start + DEADLINE), [] as [u16; 0]);
        assert_eq!(generator.missing(), 0);
    }

    #[test]
    fn a_large_jump_is_given_up_at_once() {
        let now = Instant::now();
        let mut generator = NackGenerator::new();
        receive(&mut generator, now, [1, 3]);
        assert_eq!(generator.on_packet(now, 1_000), Arrived::GaveUp);
        assert_eq!((generator.missing(), generator.poll_timeout()), (0, None));
        assert_eq!(generator.on_packet(now, 1_001), Arrived::New);
    }

    #[test]
    fn what_does_not_fit_into_a_round_stays_due() {
        let now = Instant::now();
        let mut generator = NackGenerator::new();
        receive(&mut generator, now, [0, 101, 102, 103]);
        assert_eq!(due(&mut generator, now), (1..=64).collect::<Vec<u16>>());
        assert!(generator.poll_timeout().is_some_and(|at| at <= now));
        assert_eq!(due(&mut generator, now), (65..=100).collect::<Vec<u16>>());
    }

    #[test]
    fn random_loss_and_reordering_ask_only_for_what_is_missing() {
        let mut state = 7_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut now = Instant::now();
        let mut generator = NackGenerator::new();
        let mut received = std::collections::BTreeSet::new();
        let mut late = Vec::new();
        let mut recovered = 0;
        for number in 65_000_u64..75_000 {
            now += Duration::from_millis(3);
            let fate = random(20);
            if fate == 0 {
                continue;
            }
            if fate == 1 {
                late.push((now + Duration::from_millis(random(40)), number));
                continue;
            }
            generator.on_packet(now, number as u16);
            received.insert(number);
            late.retain(|&(at, number)| {
                if at <= now {
                    recovered += usize::from(generator.on_packet(now, number as u16) == Arrived::Recovered);
                    received.insert(number);
                }
                at > now
            });
            for asked in due(&mut generator, now) {
                let distance = asked.wrapping_sub(number as u16) as i16;
                let asked = number.wrapping_add_signed(i64::from(distance));
                assert!(asked < number && !received.contains(&asked), "{asked} at {number}");
            }
            assert!(generator.missing() <= MAX_MISSING);
        }
        assert!(recovered > 300, "{recovered}");
    }
}
