//! The shapes of traffic: which packets of which size a stream sends when, over and over. Synthetic ones are one frame that repeats; those of a
//! meeting were recorded from Chromium (`chromium.trace`; docs/load.md says how). No packet's content: that is `stamp.rs`.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::offer::{CAMERA, MICROPHONE};

/// What a Chromium sent: three simulcast layers of a camera, and a microphone.
const RECORDED: &str = include_str!("chromium.trace");

/// What leaves together, and how long after it the next does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Bytes of payload of each packet.
    pub(crate) payloads: Box<[u16]>,
    pub(crate) until_next: Duration,
}

/// One stream of packets.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) ssrc: u32,
    pub(crate) rid: Option<&'static str>,
    /// Sent one after the other, and then from the beginning; never empty.
    pub(crate) frames: Arc<[Frame]>,
}

impl Shape {
    /// Opus as speech has it: 20 ms, 120 bytes.
    pub(crate) fn voice() -> Self {
        Self::steady(MICROPHONE, None, 50.0, 1, 120)
    }

    /// A camera with one layer: packets a second, how many of them leave together, bytes of payload in each.
    pub(crate) fn camera(rate: f64, burst: u16, payload: u16) -> Self {
        Self::steady(CAMERA, None, rate, burst, payload)
    }

    /// A microphone, and a camera with three layers: 30 frames a second of one packet (120 kbit/s), of two (500 kbit/s) and of six (1.7 Mbit/s),
    /// which is what the page asks browsers for.
    pub(crate) fn meeting() -> Vec<Self> {
        let layer = |at: u32, rid, burst, payload| {
            Self::steady(CAMERA + 10 + at, Some(rid), 30.0 * f64::from(burst), burst, payload)
        };
        vec![Self::voice(), layer(0, "q", 1, 500), layer(1, "h", 2, 1040), layer(2, "f", 6, 1180)]
    }

    /// The same as Chromium sends it.
    pub(crate) fn recorded_meeting() -> anyhow::Result<Vec<Self>> {
        let stream = |name, ssrc, rid| {
            let frames = parse(RECORDED, name).with_context(|| format!("the stream {name} of chromium.trace"))?;
            anyhow::Ok(Self { ssrc, rid, frames: frames.into() })
        };
        let layer = |at, rid| stream(rid, CAMERA + 10 + at, Some(rid));
        Ok(vec![stream("audio", MICROPHONE, None)?, layer(0, "q")?, layer(1, "h")?, layer(2, "f")?])
    }

    fn steady(ssrc: u32, rid: Option<&'static str>, rate: f64, burst: u16, payload: u16) -> Self {
        let until_next = Duration::from_secs_f64(f64::from(burst) / rate.max(0.1));
        let frame = Frame { payloads: vec![payload; burst.into()].into(), until_next };
        Self { ssrc, rid, frames: Arc::new([frame]) }
    }

    /// How long all frames take.
    pub(crate) fn period(&self) -> Duration {
        self.frames.iter().map(|frame| frame.until_next).sum()
    }

    /// Packets a second, on the average.
    pub(crate) fn rate(&self) -> f64 {
        let packets: usize = self.frames.iter().map(|frame| frame.payloads.len()).sum();
        packets as f64 / self.period().as_secs_f64()
    }

    pub(crate) fn is_audio(&self) -> bool {
        self.ssrc == MICROPHONE
    }
}

/// One stream's frames. A line is a time in milliseconds, a stream and the sizes of its packets; `end` says when it begins anew.
fn parse(trace: &str, stream: &str) -> anyhow::Result<Vec<Frame>> {
    let milliseconds = |field: Option<&str>| {
        let time: f64 = field.context("a line without a time")?.parse()?;
        ensure!((0.0..=1e9).contains(&time), "{time} ms is no time of a trace");
        anyhow::Ok(Duration::from_secs_f64(time / 1e3))
    };
    let (mut frames, mut times, mut end) = (Vec::new(), Vec::new(), None);
    for line in trace.lines().filter(|line| !line.starts_with('#')) {
        let mut fields = line.split_whitespace();
        let (time, name) = (fields.next(), fields.next());
        if name == Some("end") {
            end = Some(milliseconds(time)?);
        } else if name == Some(stream) {
            let payloads = fields.map(str::parse).collect::<Result<Box<[u16]>, _>>()?;
            ensure!(!payloads.is_empty(), "a frame without packets");
            frames.push(Frame { payloads, until_next: Duration::ZERO });
            times.push(milliseconds(time)?);
        }
    }
    let (first, end) = (times.first().copied().context("nothing of it is there")?, end.context("there is no end")?);
    let next = times[1..].iter().copied().chain([end + first]);
    for ((frame, time), next) in frames.iter_mut().zip(&times).zip(next) {
        frame.until_next = next.checked_sub(*time).context("times go backwards")?;
    }
    ensure!(end > Duration::ZERO, "a trace that takes no time");
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_read_stream_by_stream_and_begins_anew_at_its_end() {
        let frames = parse("# what\n10 a 100 200\n15 b 7\n30.5 a 300\n100 end\n", "a").unwrap();
        assert_eq!((&*frames[0].payloads, frames[0].until_next), (&[100, 200][..], Duration::from_micros(20_500)));
        assert_eq!((&*frames[1].payloads, frames[1].until_next), (&[300][..], Duration::from_micros(79_500)));
        assert!(parse("10 a 100\n100 end\n", "b").is_err(), "nothing of it");
        assert!(parse("10 a 100\n", "a").is_err(), "no end");
        assert!(parse("10 a 100\n5 a 100\n100 end\n", "a").is_err(), "backwards");
    }

    #[test]
    fn what_was_recorded_is_a_microphone_and_three_layers_each_larger_than_the_one_before() {
        let shapes = Shape::recorded_meeting().unwrap();
        let bits = |shape: &Shape| {
            let bytes: f64 = shape.frames.iter().flat_map(|frame| &frame.payloads).map(|len| f64::from(*len)).sum();
            bytes * 8.0 / shape.period().as_secs_f64()
        };
        let [voice, small, middle, large] = &shapes[..] else { panic!("{} streams", shapes.len()) };
        assert!((45.0..55.0).contains(&voice.rate()), "{}", voice.rate());
        assert!(bits(small) < bits(middle) && bits(middle) < bits(large));
        assert!(bits(large) > 800_000.0, "{}", bits(large));
    }
}
