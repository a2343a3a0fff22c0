//! Hearing what a slot carries: Opus payloads back to 48 kHz samples, and the loudest frequency in them, by which a
//! test tells one participant's tone from another's. Packets are taken in the order given: no jitter buffer.

use std::f64::consts::TAU;

use crate::ClientError;
use crate::microphone::SAMPLE_RATE;

/// The longest Opus packet holds 120 ms (RFC 6716 section 2.1.4).
const LONGEST_PACKET: usize = SAMPLE_RATE as usize * 120 / 1000;

/// Frequencies outside this band are not looked for, in Hz: telephone speech and every test tone lie within.
const HEARING: std::ops::Range<usize> = 100..4_000;

/// The coarse step of the search, in Hz; the fine one is 1 Hz around the loudest of these.
const COARSE_STEP: usize = 10;

/// The samples that one look considers: 200 ms resolve 5 Hz, finer than test tones lie apart.
const WINDOW: usize = SAMPLE_RATE as usize / 5;

/// Quieter than this (RMS of 16-bit samples, about −60 dBov) is silence, which has no pitch.
const SILENCE: f64 = 30.0;

/// Decodes the Opus packets of one slot.
#[derive(Debug)]
pub struct AudioDecoder(opus::Decoder);

impl AudioDecoder {
    /// A decoder to 48 kHz mono.
    ///
    /// # Errors
    /// When libopus cannot allocate one.
    pub fn new() -> Result<Self, ClientError> {
        let decoder = opus::Decoder::new(SAMPLE_RATE, opus::Channels::Mono);
        Ok(Self(decoder.map_err(ClientError::opus("creating an Opus decoder"))?))
    }

    /// Decodes one RTP payload.
    ///
    /// # Errors
    /// When it is no Opus packet.
    pub fn decode(&mut self, payload: &[u8]) -> Result<Vec<i16>, ClientError> {
        let mut samples = vec![0; LONGEST_PACKET];
        let decoded = self.0.decode(payload, &mut samples, false);
        samples.truncate(decoded.map_err(ClientError::opus("decoding an Opus packet"))?);
        Ok(samples)
    }
}

/// The loudest frequency of the last 200 ms of `samples` (48 kHz mono), in Hz, between 100 and 4,000; `None` for
/// silence or less than 200 ms. Goertzel's algorithm over a Hann window, accurate to about 2 Hz for a steady tone.
pub fn dominant_frequency(samples: &[i16]) -> Option<f64> {
    let window = samples.get(samples.len().checked_sub(WINDOW)?..)?;
    let energy: f64 = window.iter().map(|&sample| f64::from(sample).powi(2)).sum();
    if (energy / WINDOW as f64).sqrt() < SILENCE {
        return None;
    }
    let hann = |n: usize| 0.5 - 0.5 * (TAU * n as f64 / WINDOW as f64).cos();
    let shaped: Vec<f64> = window.iter().enumerate().map(|(n, &sample)| f64::from(sample) * hann(n)).collect();
    let loudest = |candidates: &mut dyn Iterator<Item = usize>| {
        candidates.map(|hz| (hz, power_at(&shaped, hz))).max_by(|a, b| a.1.total_cmp(&b.1)).map(|(hz, _)| hz)
    };
    let coarse = loudest(&mut HEARING.step_by(COARSE_STEP))?;
    let fine = loudest(&mut (coarse.saturating_sub(COARSE_STEP)..=coarse + COARSE_STEP))?;
    Some(fine as f64)
}

/// Goertzel: the power of `samples` at one frequency.
fn power_at(samples: &[f64], hz: usize) -> f64 {
    let coefficient = 2.0 * (TAU * hz as f64 / f64::from(SAMPLE_RATE)).cos();
    let (mut last, mut before) = (0.0, 0.0);
    for sample in samples {
        let next = sample + coefficient * last - before;
        before = last;
        last = next;
    }
    last * last + before * before - coefficient * last * before
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::microphone::{AudioSource, FRAME_SAMPLES, Microphone};

    #[test]
    fn a_tone_survives_opus() {
        let mut encoder = opus::Encoder::new(SAMPLE_RATE, opus::Channels::Mono, opus::Application::Audio).unwrap();
        let mut decoder = AudioDecoder::new().unwrap();
        let mut microphone = Microphone::open(&AudioSource::Tone { hz: 987.0 }).unwrap();
        let (mut frame, mut heard) = ([0; FRAME_SAMPLES], Vec::new());
        for _ in 0..25 {
            microphone.next_frame(&mut frame);
            heard.extend(decoder.decode(&encoder.encode_vec(&frame, 1_000).unwrap()).unwrap());
        }
        let hz = dominant_frequency(&heard).unwrap();
        assert!((hz - 987.0).abs() <= 3.0, "heard {hz} Hz");
    }

    #[test]
    fn silence_has_no_pitch() {
        assert_eq!(dominant_frequency(&[0; WINDOW]), None);
        assert_eq!(dominant_frequency(&[1_000; WINDOW - 1]), None);
    }

    #[test]
    fn what_is_no_opus_is_an_error() {
        // Code 3 with a frame count of zero: RFC 6716 section 3.2.5 forbids it.
        assert!(AudioDecoder::new().unwrap().decode(&[0x03, 0x00]).is_err());
    }
}
