//! A camera in simulcast, made up from a seed, and what of it a subscriber is sent: the choice is the SFU's [`Allocator`], asked as often as a room
//! asks it, for one slot that is looked at. What stands in for the room here is plain: rates are measured over a second, a keyframe comes a
//! while after it was asked for, temporal layers are left out from the next picture on.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ringback_sfu::allocator::{Allocator, Demand, Ladder, Rank, Rate, Taste};

/// What the layers take, in bits per second, headers included.
pub const LAYERS: [f64; 3] = [150e3, 500e3, 1_700e3];
/// The place among the steps from which on it is the large layer that flows.
pub const LARGE: usize = 6;
/// What is set aside for the voice.
const VOICE: u64 = 60_000;
/// Pictures a second, and the temporal layers of four of them.
const PICTURES: u64 = 30;
const PATTERN: [usize; 4] = [0, 2, 1, 2];
/// What of a layer goes into one of its temporal layers.
const SHARES: [f64; 3] = [0.4, 0.2, 0.4];
/// A keyframe, in mean pictures.
const KEYFRAME: f64 = 4.0;
/// From asking for a keyframe until it is there: the publisher's round trip, and its encoder.
const KEYFRAME_WAIT: Duration = Duration::from_millis(150);
/// How often a room looks at everything, and how often at most because a budget fell: `room/ticks.rs`, `room/plan.rs`.
const LOOK: Duration = Duration::from_millis(500);
const LEAST_BETWEEN: Duration = Duration::from_millis(100);
/// Rates are measured over this long; so many of them make a peak.
const SECOND: u64 = PICTURES;
const PEAK: usize = 4;

/// What is to be sent of one picture.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    pub bytes: f64,
    pub is_key: bool,
}

/// The camera, and the slot that shows it.
#[derive(Debug)]
pub struct Camera {
    dice: StdRng,
    pictures: u64,
    counted: [[f64; 3]; 3],
    /// Of each layer what each temporal layer takes with those below: the last seconds, the latest first.
    measured: [[[f64; 3]; PEAK]; 3],
    allocator: Allocator,
    looked: Option<(Duration, u64)>,
    granted: (u8, u8),
    /// What flows: the layer, and the highest temporal layer of it.
    flowing: Option<(u8, u8)>,
    keyframe: Option<(u8, Duration)>,
    /// A picture was left out that others refer to.
    is_cut_off: bool,
}

impl Camera {
    pub fn new(seed: u64) -> Self {
        Self {
            dice: StdRng::seed_from_u64(seed),
            pictures: 0,
            counted: [[0.0; 3]; 3],
            measured: [[[0.0; 3]; PEAK]; 3],
            allocator: Allocator::new(),
            looked: None,
            granted: (0, 0),
            flowing: None,
            keyframe: Some((2, KEYFRAME_WAIT)),
            is_cut_off: false,
        }
    }

    /// The place of what flows among the steps from the smallest on, from 1; 0 while nothing does.
    pub fn step(&self) -> usize {
        let steps = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (2, 2)];
        let flowing = |step: &(u8, u8)| self.flowing.is_some_and(|flowing| flowing >= *step);
        steps.iter().rposition(flowing).map_or(0, |at| at + 1)
    }

    /// What would be sent if the network took anything, in bits per second.
    pub fn desired(&self) -> u64 {
        self.allocator.desired()
    }

    /// The network takes so much, in bits per second.
    pub fn set_budget(&mut self, now: Instant, bits_per_second: f64) {
        self.allocator.budget.set(now, Some(bits_per_second as u64));
    }

    /// Nothing is heard of the network, which is held to take so much meanwhile.
    pub fn interrupt(&mut self, now: Instant, bits_per_second: f64) {
        self.allocator.budget.interrupt(now, bits_per_second as u64);
    }

    /// Looks, if it is time to, at what can be sent. Returns whether something else was granted than before.
    pub fn look(&mut self, elapsed: Duration, now: Instant) -> bool {
        let live = self.allocator.budget.live();
        let is_due = self.looked.is_none_or(|(at, divided)| {
            let is_overspent = live < self.allocator.spent() && live < divided && elapsed - at >= LEAST_BETWEEN;
            is_overspent || elapsed - at >= LOOK
        });
        if !is_due {
            return false;
        }
        self.looked = Some((elapsed, live));
        let mut ladder = Ladder::new();
        for layer in 0..3 {
            let rates: [Rate; 3] = std::array::from_fn(|temporal| self.rate(layer, temporal));
            ladder.push_layer(layer as u8, &rates, Taste::Motion);
        }
        let current = self.looked.and(self.flowing).map(|_| self.granted);
        self.allocator.clear();
        self.allocator.add(Demand { rank: Rank::Focus, area: 1280 * 720, ladder, current, was_paused: false });
        self.allocator.allocate(now, VOICE);
        let granted = self.allocator.granted(0).map_or((0, 0), |step| (step.layer, step.temporal));
        let before = std::mem::replace(&mut self.granted, granted);
        self.go_over(elapsed);
        before != granted && current.is_some()
    }

    fn rate(&self, layer: usize, temporal: usize) -> Rate {
        let seconds = self.measured[layer].map(|second| second[temporal]);
        if seconds[0] == 0.0 {
            let bitrate = (LAYERS[layer] * SHARES[..=temporal].iter().sum::<f64>()) as u64;
            return Rate { bitrate, peak: bitrate };
        }
        Rate { bitrate: seconds[0] as u64, peak: seconds.into_iter().fold(0.0, f64::max) as u64 }
    }

    /// Begins to send what was granted: less of a layer at once, another one from its keyframe on.
    fn go_over(&mut self, elapsed: Duration) {
        let (layer, temporal) = self.granted;
        match &mut self.flowing {
            Some((flowing, gate)) if *flowing == layer => {
                *gate = temporal;
                if !self.is_cut_off {
                    self.keyframe = None;
                }
            }
            flowing => {
                // Until the smaller one is there, the base of the larger.
                if let Some((_, gate)) = flowing.as_mut().filter(|(flowing, _)| *flowing > layer) {
                    *gate = 0;
                }
                if self.keyframe.is_none_or(|(asked, _)| asked != layer) {
                    self.keyframe = Some((layer, elapsed + KEYFRAME_WAIT));
                }
            }
        }
    }

    /// The next picture: what of it is to be sent, if anything. `is_full`: so much waits already that it is left out.
    pub fn picture(&mut self, elapsed: Duration, is_full: bool) -> Option<Frame> {
        let temporal = PATTERN[self.pictures as usize % 4];
        self.pictures += 1;
        // One in ten is about twice as large as the others.
        let size = if self.dice.random_bool(0.1) { 1.9 } else { self.dice.random_range(0.6..1.2) };
        let per_second = [0.25, 0.25, 0.5][temporal] * PICTURES as f64;
        let bytes = LAYERS.map(|rate| rate * SHARES[temporal] / 8.0 / per_second * size);
        for (counted, bytes) in self.counted.iter_mut().zip(bytes) {
            counted[temporal..].iter_mut().for_each(|sum| *sum += bytes * 8.0);
        }
        if self.pictures.is_multiple_of(SECOND) {
            for (measured, counted) in self.measured.iter_mut().zip(&mut self.counted) {
                measured.rotate_right(1);
                measured[0] = std::mem::take(counted);
            }
        }
        if let Some((layer, _)) = self.keyframe.filter(|(_, at)| *at <= elapsed) {
            if is_full {
                self.keyframe = Some((layer, elapsed + KEYFRAME_WAIT));
                return None;
            }
            self.keyframe = None;
            self.is_cut_off = false;
            self.flowing = Some((layer, if layer == self.granted.0 { self.granted.1 } else { 2 }));
            let mean = LAYERS[usize::from(layer)] / 8.0 / PICTURES as f64;
            return Some(Frame { bytes: mean * KEYFRAME, is_key: true });
        }
        let (layer, _) = self.flowing.filter(|(_, gate)| temporal <= usize::from(*gate))?;
        if is_full || self.is_cut_off {
            self.cut_off(elapsed);
            return None;
        }
        Some(Frame { bytes: bytes[usize::from(layer)], is_key: false })
    }

    /// A picture was left out: no decoder goes on before the next keyframe.
    pub fn cut_off(&mut self, elapsed: Duration) {
        self.is_cut_off = true;
        self.keyframe.get_or_insert((self.granted.0, elapsed + KEYFRAME_WAIT));
    }
}
