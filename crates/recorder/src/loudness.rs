//! How loud a voice is over time, from decoded Opus: what the waveform is drawn from, where silence is trimmed, and whether anybody said
//! anything at all.

use crate::error::RecorderError;
use crate::timeline::AudioFrame;

/// The resolution in samples at 48 kHz: 10 ms.
pub(crate) const STEP: i64 = 480;

/// What is listened at, in Hz. Voices are no louder above 8 kHz, and to decode no more is a third cheaper.
const RATE: u32 = 16_000;

/// How many samples at 48 kHz a decoded one stands for.
const SCALE: i64 = 3;

/// The longest Opus packet in decoded samples.
const LONGEST: usize = 1_920;

/// A step louder than this may be a voice, in dB below full scale (RMS). A quiet speaker at arm's length reaches −40; the noise of a muted or
/// unplugged microphone stays below −60.
pub(crate) const VOICE_DB: f32 = -50.0;

/// How many loud steps in all make a take more than a click: 100 ms.
const VOICE_STEPS: usize = 10;

/// The floor of the scale of peaks, in dB below full scale.
const FLOOR_DB: f32 = -54.0;

/// One value each 10 ms since the first frame.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Loudness {
    /// Root mean square in dB below full scale, never above 0.
    pub(crate) rms_db: Vec<f32>,
    /// The largest sample, of 1.0.
    pub(crate) peak: Vec<f32>,
}

impl Loudness {
    /// Decodes a voice. A packet that cannot be decoded counts as silence: the file keeps it all the same.
    pub(crate) fn of(frames: &[AudioFrame]) -> Result<Self, RecorderError> {
        let Some(first) = frames.first() else { return Ok(Self::default()) };
        let mut ear = Ear::new()?;
        let mut meter = Meter::default();
        let mut end = first.at;
        for frame in frames {
            meter.silence(frame.at - end);
            let pcm = ear.hear(&frame.data);
            pcm.iter().for_each(|sample| meter.sample(*sample));
            meter.silence(frame.samples - pcm.len() as i64 * SCALE);
            end = frame.end();
        }
        Ok(meter.loudness)
    }

    /// Whether nobody says anything in it.
    pub(crate) fn is_silent(&self) -> bool {
        self.rms_db.iter().filter(|db| **db > VOICE_DB).count() < VOICE_STEPS
    }

    /// From where to where somebody says something, in samples since the first frame; `None` where nobody does.
    pub(crate) fn voice(&self) -> Option<(i64, i64)> {
        let loud = |db: &f32| *db > VOICE_DB;
        let first = self.rms_db.iter().position(loud)?;
        let last = self.rms_db.iter().rposition(loud)?;
        Some((first as i64 * STEP, (last as i64 + 1) * STEP))
    }

    /// `count` values from 0 (silence) to 255 (full scale) over `from..to` (samples since the first frame), on a scale of decibels, since
    /// that is how loudness is heard.
    pub(crate) fn peaks(&self, from: i64, to: i64, count: usize) -> Vec<u8> {
        let step = |at: i64| usize::try_from(at / STEP).unwrap_or(0).min(self.peak.len());
        let (from, to) = (step(from), step(to));
        let length = to.saturating_sub(from);
        let bucket = |index: usize| {
            let begin = from + index * length / count;
            let end = (from + (index + 1) * length / count).max(begin + 1).min(self.peak.len());
            let peak = self.peak.get(begin..end).unwrap_or_default().iter().copied().fold(0.0, f32::max);
            let db = 20.0 * peak.max(1e-6).log10();
            ((db - FLOOR_DB) / -FLOOR_DB * 255.0).clamp(0.0, 255.0) as u8
        };
        (0..count).map(bucket).collect()
    }
}

/// Root mean square in dB below full scale.
pub(crate) fn rms_db(samples: &[f32]) -> f32 {
    let energy: f32 = samples.iter().map(|sample| sample * sample).sum();
    10.0 * (energy / samples.len().max(1) as f32).log10()
}

/// Decodes a voice, coarsely.
#[derive(Debug)]
pub(crate) struct Ear {
    decoder: opus::Decoder,
    pcm: Vec<f32>,
}

impl Ear {
    pub(crate) fn new() -> Result<Self, opus::Error> {
        let decoder = opus::Decoder::new(RATE, opus::Channels::Mono)?;
        Ok(Self { decoder, pcm: vec![0.0; LONGEST] })
    }

    /// What is heard of a packet; nothing where it cannot be decoded.
    pub(crate) fn hear(&mut self, packet: &[u8]) -> &[f32] {
        let decoded = self.decoder.decode_float(packet, &mut self.pcm, false).unwrap_or(0);
        self.pcm.get(..decoded).unwrap_or_default()
    }
}

/// Adds samples up to steps.
#[derive(Default)]
struct Meter {
    loudness: Loudness,
    /// Of the step that has begun.
    energy: f32,
    peak: f32,
    heard: i64,
}

impl Meter {
    fn sample(&mut self, sample: f32) {
        self.energy += sample * sample;
        self.peak = self.peak.max(sample.abs());
        self.pass(SCALE);
    }

    fn silence(&mut self, samples: i64) {
        let samples = samples.max(0);
        let rest = (STEP - self.heard).min(samples);
        self.pass(rest);
        let steps = usize::try_from((samples - rest) / STEP).unwrap_or(0);
        self.loudness.rms_db.extend(std::iter::repeat_n(f32::NEG_INFINITY, steps));
        self.loudness.peak.extend(std::iter::repeat_n(0.0, steps));
        self.pass((samples - rest) % STEP);
    }

    /// So much of the step has passed.
    fn pass(&mut self, samples: i64) {
        self.heard += samples;
        if self.heard >= STEP {
            self.heard -= STEP;
            self.loudness.rms_db.push(10.0 * (self.energy * SCALE as f32 / STEP as f32).log10());
            self.loudness.peak.push(self.peak.min(1.0));
            (self.energy, self.peak) = (0.0, 0.0);
        }
    }
}
