//! What a browser sees and hears in place of a camera and a microphone: a loop of one colour as a Y4M file, a loop of
//! one tone as a WAV file. By them a test tells whose picture and whose voice has arrived.

use std::f64::consts::TAU;
use std::io::Write;
use std::path::Path;

use anyhow::Context;

/// Size of the fake camera's picture in pixels: small, since two cores serve several browsers.
const WIDTH: usize = 320;
const HEIGHT: usize = 240;

/// Frames per second, and frames in the loop: one second.
const FRAME_RATE: usize = 15;

/// Height of the band in which a block runs along the lower edge, in pixels: no two frames are alike, so that a frozen
/// picture can be told from a still one. It lies outside of what [`Page::colour`](super::Page::colour) looks at.
const BAND: usize = 32;

/// Sampling rate of the fake microphone in Hz.
const SAMPLE_RATE: u32 = 48_000;

/// How often the tone swells and fades in a second: about the rate of syllables. Browsers take a steady tone for noise
/// and suppress it.
const SYLLABLES: f64 = 4.0;

/// Peak of the tone, of 1.0.
const AMPLITUDE: f64 = 0.5;

/// Colours far enough from one another to survive a lossy codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Colour {
    Red,
    Green,
    Blue,
    Yellow,
    Magenta,
    Cyan,
}

impl Colour {
    pub(crate) const ALL: [Self; 6] = [Self::Red, Self::Green, Self::Blue, Self::Yellow, Self::Magenta, Self::Cyan];

    /// Red, green and blue, each of 255.
    pub(crate) fn rgb(self) -> [u8; 3] {
        match self {
            Self::Red => [200, 40, 40],
            Self::Green => [40, 170, 50],
            Self::Blue => [50, 60, 210],
            Self::Yellow => [210, 200, 40],
            Self::Magenta => [200, 50, 200],
            Self::Cyan => [40, 190, 200],
        }
    }

    /// The colour that a measured mean stands for; `None` where it is far from all of them (black, a mixture).
    pub(crate) fn nearest(rgb: [u8; 3]) -> Option<Self> {
        let distance = |colour: &Self| -> u32 {
            let each = colour.rgb().into_iter().zip(rgb);
            each.map(|(known, seen)| u32::from(known.abs_diff(seen)).pow(2)).sum()
        };
        // 60 of 255 away: half the distance between the two nearest of them, Yellow and Green, is larger.
        Self::ALL.into_iter().min_by_key(distance).filter(|colour| distance(colour) < 60_u32.pow(2))
    }

    /// Luma and chroma, BT.601 in the limited range, as Chromium reads Y4M.
    fn yuv(self) -> [u8; 3] {
        let [r, g, b] = self.rgb().map(f64::from);
        let y = 16.0 + (65.738 * r + 129.057 * g + 25.064 * b) / 256.0;
        let u = 128.0 + (-37.945 * r - 74.494 * g + 112.439 * b) / 256.0;
        let v = 128.0 + (112.439 * r - 94.154 * g - 18.285 * b) / 256.0;
        [y, u, v].map(|component| component.round() as u8)
    }
}

/// A script for [`Browser::open_prepared`](super::Browser::open_prepared): the page's microphone gets a switch, so that
/// a test decides who is loud when. `microphoneLoud(false)` silences it as a person who stops talking does: nothing is
/// muted, the packets go on.
pub(crate) const MICROPHONE_SWITCH: &str = "{
    const real = navigator.mediaDevices?.getUserMedia.bind(navigator.mediaDevices);
    const gains = [];
    let loud = 1;
    globalThis.microphoneLoud = (wanted) => {
        loud = wanted ? 1 : 0;
        for (const gain of gains) gain.gain.value = loud;
    };
    if (real) navigator.mediaDevices.getUserMedia = async (constraints) => {
        const stream = await real(constraints);
        const [microphone] = stream.getAudioTracks();
        if (!microphone) return stream;
        const context = new AudioContext();
        const gain = new GainNode(context, { gain: loud });
        const switched = context.createMediaStreamDestination();
        context.createMediaStreamSource(new MediaStream([microphone])).connect(gain).connect(switched);
        gains.push(gain);
        return new MediaStream([...switched.stream.getAudioTracks(), ...stream.getVideoTracks()]);
    };
}";

/// A script for [`Browser::open_prepared`](super::Browser::open_prepared): the camera shows moving noise, which
/// costs its bitrate. Of 640 × 480 Chromium makes simulcast layers of 120 and 240 lines.
pub(crate) const NOISE_CAMERA: &str = "{
    const real = navigator.mediaDevices?.getUserMedia.bind(navigator.mediaDevices);
    if (real) navigator.mediaDevices.getUserMedia = async (constraints) => {
        const stream = await real(constraints);
        if (!constraints.video) return stream;
        const canvas = Object.assign(document.createElement('canvas'), { width: 640, height: 480 });
        const context = canvas.getContext('2d');
        setInterval(() => {
            for (let i = 0; i < 120; i++) {
                context.fillStyle = `hsl(${Math.random() * 360} 90% 50%)`;
                context.fillRect(Math.random() * 640, Math.random() * 480, 60, 45);
            }
        }, 50);
        return new MediaStream([...canvas.captureStream(20).getVideoTracks(), ...stream.getAudioTracks()]);
    };
}";

/// One browser's devices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FakeMedia {
    /// The microphone's tone in Hz, a whole number so that the loop has no click; `None`: silence.
    pub(crate) tone: Option<u32>,
    /// The camera's colour; `None`: Chromium's own test picture.
    pub(crate) colour: Option<Colour>,
}

/// Writes a loop of one second of a tone in syllables, or of silence, as 16-bit mono WAV.
pub(crate) fn write_microphone(path: &Path, tone: Option<u32>) -> anyhow::Result<()> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: SAMPLE_RATE,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).with_context(|| format!("creating {}", path.display()))?;
    for n in 0..SAMPLE_RATE {
        let seconds = f64::from(n) / f64::from(SAMPLE_RATE);
        let swell = 0.5 - 0.5 * (TAU * SYLLABLES * seconds).cos();
        let sample = tone.map_or(0.0, |hz| (TAU * f64::from(hz) * seconds).sin() * swell * AMPLITUDE);
        writer.write_sample((sample * f64::from(i16::MAX)) as i16)?;
    }
    Ok(writer.finalize()?)
}

/// Writes a loop of one second of a colour as Y4M (YUV 4:2:0).
pub(crate) fn write_camera(path: &Path, colour: Colour) -> anyhow::Result<()> {
    let file = std::fs::File::create(path).with_context(|| format!("creating {}", path.display()))?;
    let mut file = std::io::BufWriter::new(file);
    writeln!(file, "YUV4MPEG2 W{WIDTH} H{HEIGHT} F{FRAME_RATE}:1 Ip A1:1 C420jpeg")?;
    let [y, u, v] = colour.yuv();
    for frame in 0..FRAME_RATE {
        let mut luma = vec![y; WIDTH * HEIGHT];
        let block = frame * (WIDTH - BAND) / (FRAME_RATE - 1);
        for row in luma.chunks_exact_mut(WIDTH).skip(HEIGHT - BAND) {
            row[block..block + BAND].fill(235);
        }
        file.write_all(b"FRAME\n")?;
        file.write_all(&luma)?;
        file.write_all(&[u; WIDTH * HEIGHT / 4])?;
        file.write_all(&[v; WIDTH * HEIGHT / 4])?;
    }
    Ok(file.flush()?)
}
