//! The sound a participant publishes: a WAV file in a loop, a tone or silence, as 20 ms frames of 48 kHz mono, with the
//! audio level of each frame (RFC 6464). It keeps no clock and encodes nothing; `publish` does both.

use std::f64::consts::TAU;
use std::path::{Path, PathBuf};

use crate::ClientError;

/// The sampling rate of everything this crate hears and says, in Hz; what Opus runs at.
pub const SAMPLE_RATE: u32 = 48_000;

/// Samples in one frame of 20 ms, the packet duration that browsers use.
pub(crate) const FRAME_SAMPLES: usize = 960;

/// Peak of a generated tone, of 1.0: loud enough to count as speech (−15 dBov), with headroom for the codec.
const TONE_AMPLITUDE: f64 = 0.25;

/// Sound quieter than this, in −dBov, is not marked as voice in the audio-level extension. Speech lies 15 to 40 below
/// overload, room noise 60 and more.
const VOICE_THRESHOLD: u8 = 50;

/// Where the published sound comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum AudioSource {
    /// A steady sine.
    Tone {
        /// Its frequency in Hz, below 24,000.
        hz: f64,
    },
    /// A WAV file, played in a loop: 16-bit PCM, mono or stereo (mixed down), at any rate (resampled to 48 kHz).
    Wav(PathBuf),
    /// Frames of digital silence.
    Silence,
}

/// Produces the frames of one source, for ever.
#[derive(Debug)]
pub(crate) enum Microphone {
    Tone { phase: f64, step: f64 },
    Recording { samples: Vec<i16>, next: usize },
}

impl Microphone {
    /// Opens the source.
    ///
    /// # Errors
    /// A WAV file that is missing, empty or of another format than [`AudioSource::Wav`] names; a tone out of range.
    pub(crate) fn open(source: &AudioSource) -> Result<Self, ClientError> {
        Ok(match source {
            AudioSource::Tone { hz } => {
                if !(*hz > 0.0 && *hz < f64::from(SAMPLE_RATE) / 2.0) {
                    return Err(ClientError::Tone { hz: *hz });
                }
                Self::Tone { phase: 0.0, step: hz / f64::from(SAMPLE_RATE) }
            }
            AudioSource::Wav(path) => Self::Recording { samples: read_wav(path)?, next: 0 },
            AudioSource::Silence => Self::Recording { samples: vec![0], next: 0 },
        })
    }

    /// Fills the next 20 ms.
    pub(crate) fn next_frame(&mut self, frame: &mut [i16; FRAME_SAMPLES]) {
        match self {
            Self::Tone { phase, step } => {
                for sample in frame {
                    *sample = ((*phase * TAU).sin() * TONE_AMPLITUDE * f64::from(i16::MAX)) as i16;
                    *phase = (*phase + *step).fract();
                }
            }
            Self::Recording { samples, next } => {
                for sample in frame {
                    *sample = samples.get(*next).copied().unwrap_or_default();
                    *next = if *next + 1 < samples.len() { *next + 1 } else { 0 };
                }
            }
        }
    }
}

/// Reads a WAV file into 48 kHz mono.
fn read_wav(path: &Path) -> Result<Vec<i16>, ClientError> {
    let refuse = |reason: String| ClientError::Wav { path: path.to_owned(), reason };
    let failed = |error: hound::Error| match error {
        hound::Error::IoError(source) if source.kind() != std::io::ErrorKind::UnexpectedEof => {
            ClientError::Read { path: path.to_owned(), source }
        }
        other => refuse(other.to_string()),
    };
    let reader = hound::WavReader::open(path).map_err(failed)?;
    let spec = reader.spec();
    if spec.bits_per_sample != 16 || spec.sample_format != hound::SampleFormat::Int {
        let format = match spec.sample_format {
            hound::SampleFormat::Int => "integer",
            hound::SampleFormat::Float => "float",
        };
        return Err(refuse(format!("its samples are {}-bit {format}; expected 16-bit integer", spec.bits_per_sample)));
    }
    if !matches!(spec.channels, 1 | 2) {
        return Err(refuse(format!("it has {} channels; expected one or two", spec.channels)));
    }
    if spec.sample_rate == 0 {
        return Err(refuse("its sampling rate is 0".to_owned()));
    }
    let samples = reader.into_samples::<i16>().collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let mono = if spec.channels == 2 { mix_down(&samples) } else { samples };
    if mono.is_empty() {
        return Err(refuse("it holds no samples".to_owned()));
    }
    Ok(resample(&mono, spec.sample_rate))
}

fn mix_down(interleaved: &[i16]) -> Vec<i16> {
    interleaved
        .chunks_exact(2)
        .map(|pair| {
            let sum: i32 = pair.iter().map(|&sample| i32::from(sample)).sum();
            (sum / 2) as i16
        })
        .collect()
}

/// Linear interpolation to 48 kHz: good enough for speech and tones that tests measure, and it needs no filter.
fn resample(samples: &[i16], rate: u32) -> Vec<i16> {
    if rate == SAMPLE_RATE {
        return samples.to_vec();
    }
    let step = f64::from(rate) / f64::from(SAMPLE_RATE);
    let length = ((samples.len() as f64 / step) as usize).max(1);
    let at = |index: usize| f64::from(samples.get(index).or(samples.last()).copied().unwrap_or_default());
    (0..length)
        .map(|index| {
            let position = index as f64 * step;
            let before = position as usize;
            let share = position.fract();
            (at(before) * (1.0 - share) + at(before + 1) * share) as i16
        })
        .collect()
}

/// The one-byte audio-level extension of a frame: the level in −dBov (0 is the loudest, 127 digital silence) and, in
/// the top bit, whether it counts as voice. RFC 6464 section 3; the level is the RMS against overload.
pub(crate) fn audio_level(frame: &[i16]) -> u8 {
    let energy: f64 = frame.iter().map(|&sample| f64::from(sample).powi(2)).sum();
    let rms = (energy / frame.len().max(1) as f64).sqrt() / f64::from(i16::MAX);
    let level = if rms > 0.0 { (-20.0 * rms.log10()).round().clamp(0.0, 127.0) as u8 } else { 127 };
    if level < VOICE_THRESHOLD { level | 0x80 } else { level }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::listen::dominant_frequency;

    fn wav(rate: u32, channels: u16, bits: u16, samples: impl IntoIterator<Item = i32>) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let spec = hound::WavSpec {
            channels,
            sample_rate: rate,
            bits_per_sample: bits,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::create(file.path(), spec).unwrap();
        for sample in samples {
            writer.write_sample(sample).unwrap();
        }
        writer.finalize().unwrap();
        file
    }

    fn sine(hz: f64, rate: u32) -> impl Iterator<Item = i32> {
        (0..rate).map(move |n| ((f64::from(n) * hz / f64::from(rate) * TAU).sin() * 10_000.0) as i32)
    }

    fn one_second(microphone: &mut Microphone) -> Vec<i16> {
        let mut heard = Vec::new();
        let mut frame = [0; FRAME_SAMPLES];
        for _ in 0..50 {
            microphone.next_frame(&mut frame);
            heard.extend_from_slice(&frame);
        }
        heard
    }

    #[test]
    fn a_wav_of_any_rate_keeps_its_pitch() {
        for rate in [8_000, 16_000, 44_100, 48_000, 96_000] {
            let file = wav(rate, 1, 16, sine(440.0, rate));
            let mut microphone = Microphone::open(&AudioSource::Wav(file.path().to_owned())).unwrap();
            let heard = dominant_frequency(&one_second(&mut microphone)).unwrap();
            assert!((heard - 440.0).abs() < 5.0, "{rate} Hz: heard {heard} Hz");
        }
    }

    #[test]
    fn a_stereo_wav_is_mixed_down() {
        let both = sine(600.0, 48_000).flat_map(|sample| [sample, sample / 2]);
        let file = wav(48_000, 2, 16, both);
        let mut microphone = Microphone::open(&AudioSource::Wav(file.path().to_owned())).unwrap();
        let heard = dominant_frequency(&one_second(&mut microphone)).unwrap();
        assert!((heard - 600.0).abs() < 5.0, "heard {heard} Hz");
    }

    #[test]
    fn a_short_wav_is_played_in_a_loop() {
        let file = wav(48_000, 1, 16, [1, 2, 3]);
        let mut microphone = Microphone::open(&AudioSource::Wav(file.path().to_owned())).unwrap();
        let mut frame = [0; FRAME_SAMPLES];
        microphone.next_frame(&mut frame);
        assert_eq!(frame[..7], [1, 2, 3, 1, 2, 3, 1]);
    }

    #[test]
    fn a_file_that_is_no_usable_wav_is_refused_with_the_reason() {
        let text = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(text.path(), "not a wave").unwrap();
        let cases = [
            (wav(48_000, 1, 24, [1, 2]), "24-bit integer; expected 16-bit"),
            (wav(48_000, 3, 16, [1, 2, 3]), "3 channels; expected one or two"),
            (wav(48_000, 1, 16, []), "no samples"),
            (text, "RIFF"),
        ];
        for (file, expected) in cases {
            let error = Microphone::open(&AudioSource::Wav(file.path().to_owned())).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let missing = Microphone::open(&AudioSource::Wav("no/such.wav".into())).unwrap_err().to_string();
        assert!(missing.contains("no/such.wav"), "{missing}");
    }

    #[test]
    fn a_tone_that_48_khz_cannot_carry_is_refused() {
        for hz in [0.0, -1.0, 24_000.0, f64::NAN] {
            assert!(Microphone::open(&AudioSource::Tone { hz }).is_err(), "{hz}");
        }
    }

    #[test]
    fn levels_follow_rfc_6464() {
        assert_eq!(audio_level(&[0; 960]), 127);
        assert_eq!(audio_level(&[i16::MAX; 960]), 0x80);
        // A tenth of full scale is 20 dB down.
        assert_eq!(audio_level(&[3277; 960]), 0x80 | 20);
        // Quiet enough not to be voice.
        assert_eq!(audio_level(&[3; 960]), 81);
        let mut frame = [0; FRAME_SAMPLES];
        Microphone::open(&AudioSource::Tone { hz: 500.0 }).unwrap().next_frame(&mut frame);
        assert_eq!(audio_level(&frame), 0x80 | 15);
    }
}
