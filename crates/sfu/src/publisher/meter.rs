//! How much a stream takes, by temporal layer: over the last second, and in the worst of the last few. Headers count as they will weigh on a
//! subscriber's way.

use std::time::{Duration, Instant};

use crate::allocator::{Generations, PEAK, Rate, TEMPORAL_LAYERS};

/// The span over which a bitrate is measured. A keyframe weighs in one; shorter spans would make it look like a change.
const SPAN: Duration = Duration::from_secs(1);

/// Before the first span is over, a picture is taken to cost this much per pixel, in bit/s: about what browsers send of 720p.
const BITS_PER_PIXEL: u64 = 2;

/// IP, UDP, RTP with its extensions, and the SRTP tag, in bytes a packet.
const OVERHEAD: u64 = 66;

/// The meter of one stream.
#[derive(Debug)]
pub(super) struct Meter {
    /// Bytes of each temporal layer in the present span.
    counted: [u64; TEMPORAL_LAYERS],
    since: Option<Instant>,
    /// Up to and including each temporal layer.
    bitrates: [u64; TEMPORAL_LAYERS],
    peaks: [Generations; TEMPORAL_LAYERS],
    /// How many temporal layers there are.
    layers: usize,
}

impl Meter {
    pub(super) fn new() -> Self {
        Self {
            counted: [0; TEMPORAL_LAYERS],
            since: None,
            bitrates: [0; TEMPORAL_LAYERS],
            peaks: [Generations::highest(PEAK); TEMPORAL_LAYERS],
            layers: 1,
        }
    }

    /// Counts a packet of so many bytes of payload.
    pub(super) fn count(&mut self, now: Instant, temporal: u8, payload: usize) {
        let layer = usize::from(temporal).min(TEMPORAL_LAYERS - 1);
        self.layers = self.layers.max(layer + 1);
        self.counted[layer] += payload as u64 + OVERHEAD;
        let since = *self.since.get_or_insert(now);
        let span = now.saturating_duration_since(since);
        if span < SPAN {
            return;
        }
        self.layers = self.counted.iter().rposition(|bytes| *bytes > 0).map_or(1, |highest| highest + 1);
        let mut bytes = 0;
        for (layer, counted) in self.counted.iter_mut().enumerate() {
            bytes += std::mem::take(counted);
            self.bitrates[layer] = bytes * 8 * 1_000_000 / (span.as_micros() as u64).max(1);
            self.peaks[layer].set(now, self.bitrates[layer]);
        }
        self.since = Some(now);
    }

    /// The stream has fallen silent. What it took is remembered, for when it comes back.
    pub(super) fn pause(&mut self) {
        self.counted = [0; TEMPORAL_LAYERS];
        self.since = None;
    }

    /// What the whole stream takes lately.
    pub(super) fn bitrate(&self) -> u64 {
        self.bitrates[TEMPORAL_LAYERS - 1]
    }

    /// What each temporal layer takes, with those below, and how many there are. `pixels` of a picture are what is gone by
    /// while nothing is known; a layer that is not known of is not told.
    pub(super) fn rates(&mut self, now: Instant, pixels: u64) -> ([Rate; TEMPORAL_LAYERS], usize) {
        if self.bitrate() == 0 {
            let bitrate = pixels * BITS_PER_PIXEL;
            return ([Rate { bitrate, peak: bitrate }; TEMPORAL_LAYERS], 1);
        }
        let mut rates = [Rate::default(); TEMPORAL_LAYERS];
        for ((rate, bitrate), peak) in rates.iter_mut().zip(self.bitrates).zip(&mut self.peaks) {
            *rate = Rate { bitrate, peak: peak.get(now).max(bitrate) };
        }
        (rates, self.layers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_temporal_layer_is_measured_with_those_below_it() {
        let mut now = Instant::now();
        let mut meter = Meter::new();
        assert_eq!(meter.rates(now, 1_000).0[0].bitrate, 2_000, "a guess");
        for frame in 0..=100_u32 {
            let layer = if frame % 2 == 1 { 2 } else { (frame % 4 / 2) as u8 };
            meter.count(now, layer, 1_184);
            now += Duration::from_millis(20);
        }
        let (rates, layers) = meter.rates(now, 0);
        assert_eq!(layers, 3);
        let kilobits = rates.map(|rate| rate.bitrate / 1_000);
        for (measured, expected) in kilobits.into_iter().zip([125, 250, 500, 500]) {
            assert!(measured.abs_diff(expected) <= 20, "{kilobits:?}");
        }
    }

    #[test]
    fn a_stream_that_was_silent_costs_what_it_did() {
        let mut now = Instant::now();
        let mut meter = Meter::new();
        for _ in 0..=50 {
            meter.count(now, 0, 1_000);
            now += Duration::from_millis(20);
        }
        let before = meter.bitrate();
        meter.pause();
        now += Duration::from_secs(60);
        meter.count(now, 0, 1_000);
        assert_eq!(meter.bitrate(), before);
    }
}
