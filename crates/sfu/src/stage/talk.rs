//! What is remembered of how one participant talks, by the network's own judgements: whether and for how long they are
//! uttering, how long their utterances are, how much they talk at all and over others. [`Leaders`] is the room's part of
//! it: who seems to have the floor.

use super::clock::Passed;
use super::network::{Judgement, exp, sigmoid};

/// Judgements are smoothed over so many ms.
const SMOOTHING: f32 = 30.0;
/// A pause this long, in ms, ends an utterance; shorter ones are between words.
const PAUSE: i64 = 200;
/// Who sends nothing for so long, in ms, …
const FRESH: i64 = 100;
/// … is believed less and less: by a factor e in this time, in ms.
const FADE: f32 = 100.0;

/// See the [module](self).
#[derive(Debug, Clone)]
pub(super) struct Talk {
    joined: i64,
    /// Arrival of the last packet.
    pub(super) heard: i64,
    /// Smoothed probability of an utterance, and of having the floor.
    pub(super) utterance: f32,
    pub(super) floor: f32,
    /// Envelope of the level, in dBov: falls 10 dB in 100 ms.
    pub(super) envelope: f32,
    /// When the present utterance began.
    uttering_since: Option<i64>,
    uttered: i64,
    /// Mean logarithm of the length of utterances, in ms.
    length: f32,
    /// Share of time they have been uttering, over 5 s.
    duty: f32,
    /// How likely somebody else has the floor while they utter.
    overlap: f32,
    /// Seconds of floor, fading over a minute.
    share: f32,
}

/// The other who most seems to have the floor, and the next.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Others {
    /// How likely it is.
    pub(super) floor: f32,
    /// For how long they have been uttering: 0 if not, else 1 and up to two more by the second.
    pub(super) age: f32,
    /// How likely it is of the next.
    pub(super) second_floor: f32,
}

/// What is known of the stage when a packet comes.
#[derive(Debug, Clone, Copy)]
pub(super) struct StageView {
    /// Whether the packet's sender is on it; `None`: nobody is.
    pub(super) holds: Option<bool>,
    /// For how long whoever is on it has been quiet, in ms.
    pub(super) quiet: i64,
    /// How many have joined.
    pub(super) present: usize,
}

impl Talk {
    pub(super) fn new(now: i64) -> Self {
        Self {
            joined: now,
            heard: now - 1_000_000,
            utterance: 0.0,
            floor: 0.0,
            envelope: -90.0,
            uttering_since: None,
            uttered: now - 20_000,
            length: 6.0,
            duty: 0.0,
            overlap: 0.3,
            share: 0.0,
        }
    }

    /// They have muted: whatever they were saying is over.
    pub(super) fn stop(&mut self) {
        self.utterance = 0.0;
        self.floor = 0.0;
        self.envelope = -90.0;
        self.uttering_since = None;
    }

    /// How much of a judgement is left if nothing has come since.
    fn freshness(&self, now: i64) -> f32 {
        let late = now - self.heard - FRESH;
        if late <= 0 { 1.0 } else { exp(-(late as f32) / FADE) }
    }

    pub(super) fn floor_now(&self, now: i64) -> f32 {
        self.floor * self.freshness(now)
    }

    pub(super) fn utterance_now(&self, now: i64) -> f32 {
        self.utterance * self.freshness(now)
    }

    pub(super) fn age(&self, now: i64) -> f32 {
        let since = self.uttering_since.filter(|_| now - self.heard < 300);
        since.map_or(0.0, |since| 1.0 + (now - since).min(2_000) as f32 / 1_000.0)
    }

    /// The level of a packet has arrived.
    pub(super) fn on_level(&mut self, now: i64, passed: Passed, level: f32) {
        self.heard = now;
        self.envelope = level.max(self.envelope - 0.1 * (passed.packet + passed.gap.min(1_000.0)));
    }

    /// Fills inputs; `leak` is what [`Leaks`](super::leak::Leaks) say, `usual` their usual level.
    pub(super) fn describe(
        &self,
        now: i64,
        stage: StageView,
        others: Others,
        leak: Option<(f32, f32)>,
        usual: f32,
        inputs: &mut [f32],
    ) {
        let (above_leak, leak_deviation) =
            leak.map_or((0.0, 0.0), |(above, deviation)| (above / 10.0, deviation / 5.0 - 1.0));
        let pause = if self.uttering_since.is_some() { 0 } else { (now - self.uttered).min(20_000) };
        let described = [
            stage.holds.map_or(0.0, |holds| if holds { 1.0 } else { -1.0 }),
            others.floor * 2.0,
            others.age,
            stage.holds.map_or(2.5, |_| stage.quiet.min(2_000) as f32 / 1_000.0),
            above_leak.clamp(-2.5, 3.0),
            leak_deviation,
            self.duty * 2.0,
            self.overlap * 2.0,
            self.share.ln_1p() / 2.0,
            self.length - 6.0,
            (pause as f32 / 200.0).ln_1p() / 2.0,
            (stage.present.max(1) as f32).ln() - 1.5,
            others.second_floor * 2.0,
            ((now - self.joined).min(60_000) as f32 / 1_000.0).ln_1p() / 2.0 - 1.0,
            (self.envelope - usual).max(-60.0) / 12.0,
        ];
        for (input, value) in inputs.iter_mut().zip(described) {
            *input = value;
        }
    }

    /// Learns what the network says of the packet.
    pub(super) fn on_judgement(&mut self, now: i64, passed: Passed, judgement: Judgement, other_floor: f32) {
        let smooth = 1.0 - exp(-passed.packet / SMOOTHING);
        self.utterance += (sigmoid(judgement.utterance) - self.utterance) * smooth;
        self.floor += (sigmoid(judgement.floor) - self.floor) * smooth;
        if self.utterance > 0.5 {
            self.uttering_since.get_or_insert(now);
            self.uttered = now;
        } else if let Some(since) = self.uttering_since.filter(|_| now - self.uttered > PAUSE) {
            let length = (self.uttered - since).clamp(60, 5_000) as f32;
            self.length += 0.3 * (length.ln() - self.length);
            self.uttering_since = None;
        }
        self.duty += (self.utterance - self.duty) * (1.0 - exp(-(passed.packet + passed.gap.min(5_000.0)) / 5_000.0));
        self.overlap += self.utterance * (other_floor - self.overlap) * (1.0 - exp(-passed.packet / 8_000.0));
        self.share = (self.share + self.floor * passed.packet / 1_000.0) * (1.0 - passed.packet / 60_000.0);
    }
}

/// The three who most seem to have the floor, by key: enough for everyone to have two others.
#[derive(Debug, Clone, Default)]
pub(super) struct Leaders([Option<usize>; 3]);

impl Leaders {
    /// The two foremost others than this one.
    pub(super) fn other_than(&self, key: usize) -> [Option<usize>; 2] {
        let mut others = self.0.iter().flatten().copied().filter(|&leader| leader != key);
        [others.next(), others.next()]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().flatten().copied()
    }

    /// Somebody's judgement has changed. `floor`: how likely somebody has the floor now.
    pub(super) fn on_judgement(&mut self, key: usize, floor: impl Fn(usize) -> f32) {
        let of = |leader: Option<usize>| leader.map_or(-1.0, &floor);
        if !self.0.contains(&Some(key)) {
            if let Some(free) = self.0.iter_mut().find(|place| place.is_none()) {
                *free = Some(key);
            } else if floor(key) > of(self.0[2]) {
                self.0[2] = Some(key);
            }
        }
        for place in [2, 1] {
            if of(self.0[place]) > of(self.0[place - 1]) {
                self.0.swap(place, place - 1);
            }
        }
    }

    pub(super) fn forget(&mut self, key: usize) {
        if let Some(place) = self.0.iter().position(|leader| *leader == Some(key)) {
            self.0[place] = None;
            self.0[place..].rotate_left(1);
        }
    }
}
