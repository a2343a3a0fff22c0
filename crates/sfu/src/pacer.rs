//! When a subscriber's packets leave: voice at once, video at a multiple of the budget, so that a burst waits here, where it can be
//! cut, rather than in a queue of the network's, where voice waits behind it. A state machine on passed-in time: it holds plain packets and says
//! when they may go; numbering them for the transport, sealing and sending is the subscriber's business, and so
//! is what is left out once [`is_full`](Pacer::is_full).
//!
//! Whoever is sent much less than the budget is never held: a few additions per packet, and no memory before the first packet is.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Keyframes leave at so many times the budget: nobody sees anything before they are there, and they come rarely.
const KEYFRAME_PACE: f64 = 2.5;
/// Other video leaves at so many times the budget: enough that a frame is gone before the next one comes.
const PACE: f64 = 1.5;
/// What may leave at once: so long at that pace. A longer train is a longer wait for the voice behind it, a shorter one costs more system calls.
const TRAIN: f64 = 0.005;
/// So many seconds of the budget may wait; then frames are left out. A keyframe of this size takes four tenths of a second.
const MOST_WAITING: f64 = 1.0;
/// … until no more than this part of it waits.
const GOES_ON: f64 = 0.25;
/// The least that may wait, in bytes: a small keyframe on a slow network.
const LEAST_WAITING: f64 = 16_000.0;
/// Room for one packet. Larger ones are not held: no network takes them in one piece anyway.
pub const MAX_PACKET: usize = 1500;
/// Packets held at most: a second of 2.5 Mbit/s, in 384 KiB.
const MAX_HELD: usize = 256;
/// Of those, packets that are sent again at most: they go ahead of video, which a crowd of them would starve. As many are missing of a keyframe
/// of 200 packets at a sixth of loss.
const MOST_AGAIN: usize = 32;
const FIRST_HELD: usize = 16;
/// A subscriber is looked at again after this at the earliest: timers are no finer.
const LEAST_WAIT: Duration = Duration::from_millis(1);

/// A packet that waits.
#[derive(Debug, Clone, Copy)]
struct Held {
    /// Where it lies.
    place: u16,
    len: u16,
    slot: u32,
    is_key: bool,
}

/// Paces one subscriber. See the module's documentation.
#[derive(Debug, Default)]
pub struct Pacer {
    /// Bytes per second; `None`: nothing is held.
    budget: Option<f64>,
    /// Bytes that left ahead of their time, as of `at`.
    debt: f64,
    at: Option<Instant>,
    waiting: VecDeque<Held>,
    /// How many at the front of them are sent again.
    again: usize,
    waiting_bytes: usize,
    packets: Vec<[u8; MAX_PACKET]>,
    free: Vec<u16>,
    full: bool,
}

impl Pacer {
    /// A pacer that holds nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the budget in bits per second; `None`: nothing is held any more, and what waits goes at once.
    pub fn set_budget(&mut self, bits_per_second: Option<u64>) {
        self.budget = bits_per_second.map(|bits| bits.max(1) as f64 / 8.0);
        self.judge_fullness();
    }

    /// A packet leaves that waits for nobody: voice, or one that [`may_pass`](Self::may_pass).
    #[inline]
    pub fn on_sent(&mut self, now: Instant, bytes: usize) {
        let Some(budget) = self.budget else { return };
        self.pay(now, budget * PACE);
        self.debt += bytes as f64;
    }

    /// Whether a video packet may leave now. It may not overtake those that wait.
    #[inline]
    pub fn may_pass(&mut self, now: Instant, bytes: usize, is_key: bool) -> bool {
        let Some(budget) = self.budget else { return self.waiting.is_empty() };
        if !self.waiting.is_empty() {
            return false;
        }
        let pace = pace(budget, is_key);
        self.pay(now, pace);
        fits(self.debt, bytes, pace)
    }

    /// Keeps a packet of `len` bytes of a slot; `write` fills it. False if it is too large, or too many wait.
    pub fn hold(&mut self, slot: u32, len: usize, is_key: bool, write: impl FnOnce(&mut [u8])) -> bool {
        let Some(place) = self.keep(len, write) else {
            self.full |= len <= MAX_PACKET;
            return false;
        };
        self.waiting.push_back(Held { place, len: len as u16, slot, is_key });
        self.judge_fullness();
        true
    }

    /// Keeps a packet that is sent again, ahead of all that is sent for the first time: a picture that cannot be shown for want of it holds up all
    /// that follow. False if it is too large, or too many wait; whoever misses it asks again.
    pub fn hold_again(&mut self, slot: u32, len: usize, write: impl FnOnce(&mut [u8])) -> bool {
        if self.again == MOST_AGAIN {
            return false;
        }
        let Some(place) = self.keep(len, write) else { return false };
        self.waiting.insert(self.again, Held { place, len: len as u16, slot, is_key: false });
        self.again += 1;
        self.judge_fullness();
        true
    }

    /// Takes a place for a packet and fills it. `None` if it is too large, or there is none.
    fn keep(&mut self, len: usize, write: impl FnOnce(&mut [u8])) -> Option<u16> {
        if len > MAX_PACKET {
            return None;
        }
        if self.free.is_empty() {
            let count = self.packets.len();
            if count == MAX_HELD {
                return None;
            }
            let grown = (count * 2).clamp(FIRST_HELD, MAX_HELD);
            self.packets.resize(grown, [0; MAX_PACKET]);
            self.free.extend((count..grown).map(|place| place as u16));
            self.waiting.reserve(grown - self.waiting.len());
        }
        let place = self.free.pop()?;
        let packet = self.packets.get_mut(usize::from(place))?;
        write(&mut packet[..len]);
        self.waiting_bytes += len;
        Some(place)
    }

    /// Takes out the next packet that may leave now, and shows it with its slot. `None`: none may.
    pub fn release<R>(&mut self, now: Instant, send: impl FnOnce(u32, &mut [u8]) -> R) -> Option<R> {
        let held = *self.waiting.front()?;
        if let Some(budget) = self.budget {
            let pace = pace(budget, held.is_key);
            self.pay(now, pace);
            if !fits(self.debt, held.len.into(), pace) {
                return None;
            }
            self.debt += f64::from(held.len);
        }
        self.waiting.pop_front();
        self.again = self.again.saturating_sub(1);
        self.waiting_bytes -= usize::from(held.len);
        self.free.push(held.place);
        self.judge_fullness();
        let packet = self.packets.get_mut(usize::from(held.place))?.get_mut(..held.len.into())?;
        Some(send(held.slot, packet))
    }

    /// When [`release`](Self::release) has something, if anything waits.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let held = self.waiting.front()?;
        let (Some(budget), Some(at)) = (self.budget, self.at) else { return self.at };
        let pace = pace(budget, held.is_key);
        let over = self.debt + f64::from(held.len) - most_debt(held.len.into(), pace);
        Some(at + Duration::from_secs_f64(over.max(0.0) / pace).max(LEAST_WAIT))
    }

    /// Whether so much waits that frames should be left out.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Forgets what waits of a slot, since nobody is to see it any more.
    pub fn forget(&mut self, slot: u32) {
        let (free, bytes) = (&mut self.free, &mut self.waiting_bytes);
        let (mut at, mut again) = (0, self.again);
        self.waiting.retain(|held| {
            if held.slot == slot {
                free.push(held.place);
                *bytes -= usize::from(held.len);
                again -= usize::from(at < self.again);
            }
            at += 1;
            held.slot != slot
        });
        self.again = again;
        self.judge_fullness();
    }

    /// Forgets everything that waits.
    pub fn clear(&mut self) {
        self.free.extend(self.waiting.drain(..).map(|held| held.place));
        (self.again, self.waiting_bytes) = (0, 0);
        self.judge_fullness();
    }

    /// Bytes that wait.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Lets the debt shrink at `pace` bytes per second.
    #[inline]
    fn pay(&mut self, now: Instant, pace: f64) {
        let at = self.at.replace(now).unwrap_or(now);
        self.debt = (self.debt - pace * now.saturating_duration_since(at).as_secs_f64()).max(0.0);
    }

    fn judge_fullness(&mut self) {
        let most = self.budget.map_or(f64::INFINITY, |budget| (budget * MOST_WAITING).max(LEAST_WAITING));
        let limit = if self.full { most * GOES_ON } else { most };
        let crowded = self.waiting.len() >= if self.full { MAX_HELD / 4 } else { MAX_HELD * 3 / 4 };
        self.full = crowded || self.waiting_bytes as f64 > limit;
    }
}

fn pace(budget: f64, is_key: bool) -> f64 {
    budget * if is_key { KEYFRAME_PACE } else { PACE }
}

/// What may have left ahead of its time with a packet of this size: a train, but always one packet.
#[inline]
fn most_debt(bytes: usize, pace: f64) -> f64 {
    (pace * TRAIN).max(bytes as f64)
}

#[inline]
fn fits(debt: f64, bytes: usize, pace: f64) -> bool {
    debt + bytes as f64 <= most_debt(bytes, pace)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: u64 = 800_000;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn pacer(budget: u64) -> Pacer {
        let mut pacer = Pacer::new();
        pacer.set_budget(Some(budget));
        pacer
    }

    /// Holds packets of 1,000 bytes that are numbered from 0.
    fn fill(pacer: &mut Pacer, count: u8, is_key: bool) {
        for n in 0..count {
            assert!(pacer.hold(7, 1000, is_key, |packet| packet.fill(n)));
        }
    }

    /// Releases for so long; returns when each packet left.
    fn drain(pacer: &mut Pacer, start: Instant, time: Duration) -> Vec<(Duration, u8)> {
        let mut left = Vec::new();
        let mut now = start;
        while now <= start + time {
            while let Some(number) = pacer.release(now, |_, packet| packet[0]) {
                left.push((now - start, number));
            }
            let Some(at) = pacer.poll_timeout() else { break };
            assert!(at > now, "a timer that is due at once would spin");
            now = at;
        }
        left
    }

    #[test]
    fn what_is_far_below_the_budget_passes_and_costs_no_memory() {
        let start = Instant::now();
        let mut pacer = pacer(20_000_000);
        for n in 0..1000 {
            let now = start + ms(10) * n;
            for _ in 0..3 {
                assert!(pacer.may_pass(now, 1200, false));
                pacer.on_sent(now, 1200);
            }
        }
        assert!(pacer.packets.is_empty());
    }

    #[test]
    fn without_a_budget_nothing_is_held() {
        let mut pacer = Pacer::new();
        let now = Instant::now();
        for _ in 0..10_000 {
            assert!(pacer.may_pass(now, 1500, false));
            pacer.on_sent(now, 1500);
        }
    }

    #[test]
    fn packets_leave_in_order_at_the_pace_and_keyframes_faster() {
        let start = Instant::now();
        for (is_key, pace) in [(false, PACE), (true, KEYFRAME_PACE)] {
            let mut pacer = pacer(BUDGET);
            fill(&mut pacer, 50, is_key);
            let left = drain(&mut pacer, start, Duration::from_secs(2));
            let numbers: Vec<u8> = left.iter().map(|(_, number)| *number).collect();
            assert_eq!(numbers, (0..50).collect::<Vec<u8>>());
            let expected = 49_000.0 * 8.0 / (BUDGET as f64 * pace);
            let took = left[49].0.as_secs_f64();
            assert!((took - expected).abs() < 0.05 * expected + 0.01, "{took} {expected}");
        }
    }

    #[test]
    fn no_train_is_longer_than_its_five_milliseconds() {
        let start = Instant::now();
        let mut pacer = pacer(10_000_000);
        fill(&mut pacer, 200, false);
        let left = drain(&mut pacer, start, Duration::from_secs(2));
        let mut at = Duration::ZERO;
        let mut train = 0.0;
        for (when, _) in left {
            (at, train) = if when == at { (at, train + 1000.0) } else { (when, 1000.0) };
            assert!(train <= 10e6 / 8.0 * PACE * TRAIN, "{train} bytes at {at:?}");
        }
    }

    #[test]
    fn voice_passes_and_video_pays_for_it() {
        let start = Instant::now();
        let mut pacer = pacer(BUDGET);
        pacer.on_sent(start, 1000);
        pacer.on_sent(start, 1000);
        assert!(!pacer.may_pass(start, 1000, false));
        assert!(pacer.may_pass(start + ms(14), 1000, false));
    }

    #[test]
    fn nothing_overtakes_what_waits() {
        let start = Instant::now();
        let mut pacer = pacer(BUDGET);
        fill(&mut pacer, 1, false);
        assert!(!pacer.may_pass(start, 100, true));
        pacer.release(start, |_, _| ());
        assert!(pacer.may_pass(start + ms(20), 100, true));
    }

    #[test]
    fn what_is_sent_again_goes_first_in_its_own_order_and_no_crowd_of_it_starves_the_rest() {
        let start = Instant::now();
        let mut pacer = pacer(BUDGET);
        fill(&mut pacer, 3, false);
        for n in 100..103 {
            assert!(pacer.hold_again(8, 500, |packet| packet.fill(n)));
        }
        let numbers = |left: Vec<(Duration, u8)>| left.into_iter().map(|(_, number)| number).collect::<Vec<_>>();
        assert_eq!(numbers(drain(&mut pacer, start, ms(500))), [100, 101, 102, 0, 1, 2]);

        fill(&mut pacer, 1, false);
        let taken = (0..100).filter(|n| pacer.hold_again(8 + n % 2, 100, |_| ())).count();
        assert_eq!(taken, MOST_AGAIN);
        pacer.forget(8);
        fill(&mut pacer, 1, true);
        assert!(pacer.hold_again(9, 100, |packet| packet.fill(200)), "there is room again");
        let left = numbers(drain(&mut pacer, start + ms(500), ms(500)));
        assert_eq!(left[MOST_AGAIN / 2..], [200, 0, 0]);
        assert_eq!((pacer.again, pacer.waiting_bytes()), (0, 0));
    }

    #[test]
    fn it_is_full_for_a_second_of_the_budget_and_until_most_has_left() {
        let start = Instant::now();
        let mut pacer = pacer(BUDGET);
        fill(&mut pacer, 100, false);
        assert!(!pacer.is_full());
        fill(&mut pacer, 1, false);
        assert!(pacer.is_full());
        drain(&mut pacer, start, ms(400));
        assert!(pacer.is_full() && pacer.waiting_bytes() > 25_000);
        drain(&mut pacer, start + ms(400), ms(200));
        assert!(!pacer.is_full());
    }

    #[test]
    fn memory_is_bounded_whatever_comes() {
        let mut pacer = pacer(u64::MAX);
        let held = (0..10_000).filter(|_| pacer.hold(1, 1500, false, |_| ())).count();
        assert_eq!((held, pacer.packets.len(), pacer.is_full()), (MAX_HELD, MAX_HELD, true));
        assert!(!pacer.hold(1, 1501, false, |_| ()));
        pacer.forget(1);
        assert_eq!((pacer.waiting_bytes(), pacer.is_full(), pacer.free.len()), (0, false, MAX_HELD));
    }
}
