//! What the levels of one microphone say: how far they stand above its own noise, how they compare with its owner's usual
//! voice and with the loudest others, how they move, whether the V bit means anything. Fills the first inputs of the
//! network; [`Loudest`] is the room's part of it.

use super::clock::Passed;
use super::network::exp;

/// How many inputs of the network come from here.
pub(super) const INPUTS: usize = 12;
/// Silence and what is fainter, in dBov: microphones do not reach lower.
const FAINTEST: f32 = -90.0;
/// The noise is the least smoothed level of the last four of these, in ms: speech pauses that often.
const NOISE_WINDOW: i64 = 700;
/// The least of several levels lies below their mean by about this, in dB.
const NOISE_BIAS: f32 = 2.0;
/// No room is quieter than this, in dBov; below it levels say nothing about a distance to the noise.
const QUIETEST_NOISE: f32 = -65.0;
/// A loud participant stays the yardstick for so long without being loud again, in ms, …
const LOUD_HOLD: i64 = 250;
/// … and fades at this many dB per ms after it.
const LOUD_FADE: f32 = 0.04;

/// See the [module](self).
#[derive(Debug, Clone)]
pub(super) struct Level {
    /// Smoothed level, in dBov; none after silence.
    smoothed: Option<f32>,
    /// Least smoothed level of the last windows, the present one first.
    minima: [f32; 4],
    window_began: i64,
    pub(super) noise: f32,
    /// Their usual level while speaking: rises fast and falls slowly.
    pub(super) usual: f32,
    /// The last packet's level and arrival.
    last: Option<(f32, i64)>,
    /// How much the level moves from packet to packet while above the noise, in dB: speech moves, fans do not.
    movement: f32,
    /// Which values of the V bit have come.
    voice_seen: [bool; 2],
}

/// What a packet's level is compared with: the loudest other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rival {
    /// How loud they have been lately, in dBov.
    pub(super) level: f32,
    /// Their usual level.
    pub(super) usual: f32,
    /// Their last packet's level, if it is recent.
    pub(super) last: f32,
}

impl Level {
    pub(super) fn new() -> Self {
        Self {
            smoothed: None,
            minima: [200.0; 4],
            window_began: 0,
            noise: -55.0,
            usual: -28.0,
            last: None,
            movement: 4.0,
            voice_seen: [false; 2],
        }
    }

    /// The last packet's level, unless it is older than 100 ms.
    pub(super) fn last(&self, now: i64) -> f32 {
        self.last.filter(|&(_, at)| now - at < 100).map_or(FAINTEST, |(level, _)| level)
    }

    /// Takes a packet's level (RFC 6464) and V bit; fills inputs and returns the level in dBov.
    pub(super) fn on_packet(
        &mut self,
        now: i64,
        passed: Passed,
        level: u8,
        voice: bool,
        rival: Option<Rival>,
        inputs: &mut [f32],
    ) -> f32 {
        let silent = level >= 127;
        let level = (-f32::from(level)).max(FAINTEST);
        self.follow_noise(now, level, silent);
        let above_noise = level - self.noise;
        let step = self.last.filter(|_| passed.gap <= 40.0).map_or(0.0, |(last, _)| level - last);
        if step != 0.0 && above_noise > 4.0 {
            self.movement += (step.abs().min(20.0) - self.movement) * (1.0 - exp(-passed.packet / 200.0));
        }
        self.last = Some((level, now));
        self.voice_seen[usize::from(voice)] = true;
        let voice = if self.voice_seen == [true; 2] { f32::from(i8::from(voice) * 2 - 1) } else { 0.0 };
        let rival_level = rival.map_or(FAINTEST, |rival| rival.level.max(FAINTEST));
        let rival_usual = rival.map_or(-28.0, |rival| rival.usual);
        let described = [
            (level + 50.0) / 20.0,
            ((above_noise - 15.0) / 12.0).clamp(-2.0, 3.0),
            (level - self.usual).max(-3.0) / 12.0,
            (step / 10.0).clamp(-2.5, 2.5),
            ((rival_level - level) / 20.0).clamp(-3.0, 3.0),
            (((rival_level - rival_usual) - (level - self.usual)) / 20.0).clamp(-3.0, 3.0),
            passed.gap.min(400.0) / 200.0,
            passed.packet / 20.0 - 1.0,
            voice,
            self.movement / 5.0 - 1.0,
            (self.noise + 60.0) / 15.0,
            rival.map_or(-2.0, |rival| (rival.last + 50.0) / 20.0),
        ];
        for (input, value) in inputs.iter_mut().zip(described) {
            *input = value;
        }
        level
    }

    /// Learns the usual level, after the packet has been judged by the one before.
    pub(super) fn learn_usual(&mut self, level: f32, packet: f32) {
        if level - self.noise > 12.0 && level > -55.0 {
            self.usual += packet / 1_000.0 * if level > self.usual { 12.0 } else { -3.0 };
        }
    }

    /// Minimum statistics (after Martin 2001): the noise is the least level of the last few seconds.
    fn follow_noise(&mut self, now: i64, level: f32, silent: bool) {
        if silent {
            // Digital silence (mute, DTX, a gate) says nothing about the room.
            self.smoothed = None;
            return;
        }
        let smoothed = self.smoothed.map_or(level, |smoothed| smoothed + (level - smoothed) * 0.4);
        self.smoothed = Some(smoothed);
        self.minima[0] = self.minima[0].min(smoothed);
        if now - self.window_began > NOISE_WINDOW {
            self.window_began = now;
            self.minima.rotate_right(1);
            self.minima[0] = smoothed;
        }
        let least = self.minima.iter().copied().fold(f32::INFINITY, f32::min);
        self.noise = (least + NOISE_BIAS).max(QUIETEST_NOISE);
    }
}

/// One who has been loud lately: their key, level and when.
#[derive(Debug, Clone, Copy)]
struct Loud {
    key: usize,
    level: f32,
    at: i64,
}

impl Loud {
    fn level(self, now: i64) -> f32 {
        self.level - (now - self.at - LOUD_HOLD).max(0) as f32 * LOUD_FADE
    }
}

/// The two who have been loudest lately, so that everyone has somebody else to be compared with.
#[derive(Debug, Clone, Default)]
pub(super) struct Loudest {
    first: Option<Loud>,
    second: Option<Loud>,
}

impl Loudest {
    /// The loudest who is not this one, and how loud.
    pub(super) fn other_than(&self, key: usize, now: i64) -> Option<(usize, f32)> {
        let loud = self.first.filter(|loud| loud.key != key).or(self.second.filter(|loud| loud.key != key))?;
        Some((loud.key, loud.level(now)))
    }

    pub(super) fn on_level(&mut self, now: i64, key: usize, level: f32) {
        let new = Some(Loud { key, level, at: now });
        match (self.first, self.second) {
            (Some(first), _) if first.key == key => {
                if level >= first.level(now) {
                    self.first = new;
                }
            }
            (Some(first), _) if level >= first.level(now) => {
                self.second = Some(Loud { level: first.level(now), at: first.at.max(now - LOUD_HOLD), ..first });
                self.first = new;
            }
            (Some(_), Some(second)) => {
                if level >= second.level(now) {
                    self.second = new;
                }
            }
            (Some(_), None) => self.second = new,
            (None, _) => self.first = new,
        }
    }

    pub(super) fn forget(&mut self, key: usize) {
        if self.second.is_some_and(|loud| loud.key == key) {
            self.second = None;
        }
        if self.first.is_some_and(|loud| loud.key == key) {
            self.first = self.second.take();
        }
    }
}
