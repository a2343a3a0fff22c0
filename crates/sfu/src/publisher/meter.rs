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

/// Spatial layers of a stream that are told apart; browsers make up to three. What is above counts with the last.
pub(crate) const SPATIAL_LAYERS: usize = 4;

/// The meter of one stream. Its lists are by spatial layer, then by temporal layer.
#[derive(Debug)]
pub(super) struct Meter {
    /// Bytes of each layer in the present span.
    counted: [[u64; TEMPORAL_LAYERS]; SPATIAL_LAYERS],
    since: Option<Instant>,
    /// Up to and including each layer, both ways.
    bitrates: [[u64; TEMPORAL_LAYERS]; SPATIAL_LAYERS],
    peaks: [[Generations; TEMPORAL_LAYERS]; SPATIAL_LAYERS],
    /// What each spatial layer took without those below it, in the last two spans in which it came, of which one may have been but a part.
    alone: [[u64; 2]; SPATIAL_LAYERS],
    /// How many temporal layers there are.
    layers: usize,
}

impl Meter {
    pub(super) fn new() -> Self {
        Self {
            counted: Default::default(),
            since: None,
            bitrates: Default::default(),
            peaks: [[Generations::highest(PEAK); TEMPORAL_LAYERS]; SPATIAL_LAYERS],
            alone: Default::default(),
            layers: 1,
        }
    }

    /// Counts a packet of so many bytes of payload, of these layers, spatial and temporal.
    pub(super) fn count(&mut self, now: Instant, (spatial, temporal): (usize, u8), payload: usize) {
        let spatial = spatial.min(SPATIAL_LAYERS - 1);
        let layer = usize::from(temporal).min(TEMPORAL_LAYERS - 1);
        self.layers = self.layers.max(layer + 1);
        self.counted[spatial][layer] += payload as u64 + OVERHEAD;
        let since = *self.since.get_or_insert(now);
        let span = now.saturating_duration_since(since);
        if span < SPAN {
            return;
        }
        let is_sent = |layer: &usize| self.counted.iter().any(|counted| counted[*layer] > 0);
        self.layers = (0..TEMPORAL_LAYERS).rfind(is_sent).map_or(1, |highest| highest + 1);
        let bitrate_of = |bytes: u64| bytes * 8 * 1_000_000 / (span.as_micros() as u64).max(1);
        let mut below = [0; TEMPORAL_LAYERS];
        for (spatial, counted) in self.counted.iter_mut().enumerate() {
            let mut bytes = 0;
            for (layer, counted) in counted.iter_mut().enumerate() {
                bytes += std::mem::take(counted);
                below[layer] += bytes;
                let bitrate = bitrate_of(below[layer]);
                self.bitrates[spatial][layer] = bitrate;
                self.peaks[spatial][layer].set(now, bitrate);
            }
            if bytes > 0 {
                self.alone[spatial] = [bitrate_of(bytes), self.alone[spatial][0]];
            }
        }
        self.since = Some(now);
    }

    /// The stream has fallen silent. What it took is remembered, for when it comes back.
    pub(super) fn pause(&mut self) {
        self.counted = Default::default();
        self.since = None;
    }

    /// What the stream takes lately, up to and including a spatial layer; the last of those told apart: all of it.
    pub(super) fn bitrate(&self, spatial: usize) -> u64 {
        self.bitrates.get(spatial).unwrap_or(&self.bitrates[SPATIAL_LAYERS - 1])[TEMPORAL_LAYERS - 1]
    }

    /// What each temporal layer takes, with those below, up to and including a spatial layer, and how many there are. `pixels` of a picture in that layer's size are what
    /// is gone by while nothing is known; a spatial layer that does not come now takes what it did when it came. A temporal layer that is not known of is not told.
    pub(super) fn rates(&mut self, now: Instant, spatial: usize, pixels: u64) -> ([Rate; TEMPORAL_LAYERS], usize) {
        let spatial = spatial.min(SPATIAL_LAYERS - 1);
        let comes = |layer: usize| self.bitrate(layer) > if layer == 0 { 0 } else { self.bitrate(layer - 1) };
        let alone = |layer: usize| self.alone[layer].into_iter().max().unwrap_or(0);
        let guess = match alone(spatial) {
            _ if comes(spatial) => 0,
            // Of what has never come, there is the promise of its size.
            0 => pixels * BITS_PER_PIXEL,
            _ => (0..=spatial).filter(|layer| !comes(*layer)).map(alone).sum(),
        };
        if self.bitrate(spatial) == 0 {
            return ([Rate { bitrate: guess, peak: guess }; TEMPORAL_LAYERS], 1);
        }
        let mut rates = [Rate::default(); TEMPORAL_LAYERS];
        for ((rate, bitrate), peak) in rates.iter_mut().zip(self.bitrates[spatial]).zip(&mut self.peaks[spatial]) {
            let bitrate = bitrate + guess;
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
        assert_eq!(meter.rates(now, 0, 1_000).0[0].bitrate, 2_000, "a guess");
        for frame in 0..=100_u32 {
            let layer = if frame % 2 == 1 { 2 } else { (frame % 4 / 2) as u8 };
            meter.count(now, (0, layer), 1_184);
            now += Duration::from_millis(20);
        }
        let (rates, layers) = meter.rates(now, 0, 0);
        assert_eq!(layers, 3);
        let kilobits = rates.map(|rate| rate.bitrate / 1_000);
        for (measured, expected) in kilobits.into_iter().zip([125, 250, 500, 500]) {
            assert!(measured.abs_diff(expected) <= 20, "{kilobits:?}");
        }
    }

    #[test]
    fn each_spatial_layer_is_measured_with_those_below_it_and_guessed_before_it_comes() {
        let mut now = Instant::now();
        let mut meter = Meter::new();
        for frame in 0..=100_u32 {
            for spatial in [0, 0, 1, 5] {
                meter.count(now, (spatial, (frame % 2) as u8), 434);
            }
            now += Duration::from_millis(20);
        }
        let mut rate = |spatial| meter.rates(now, spatial, 50_000).0.map(|rate| rate.bitrate / 1_000)[..2].to_vec();
        for (spatial, expected) in [(0, [200, 400]), (1, [300, 600]), (2, [400, 700]), (3, [400, 800])] {
            let measured = rate(spatial);
            let close = measured.iter().zip(expected).all(|(measured, expected)| measured.abs_diff(expected) <= 20);
            assert!(close, "{spatial}: {measured:?}");
        }
    }

    #[test]
    fn spatial_layers_that_are_left_out_take_what_they_did() {
        let mut now = Instant::now();
        let mut meter = Meter::new();
        let mut go_on = |meter: &mut Meter, layers: &[usize], pictures| {
            for _ in 0..pictures {
                layers.iter().for_each(|spatial| meter.count(now, (*spatial, 0), 434 * (spatial + 1)));
                now += Duration::from_millis(20);
            }
            [0, 1, 2].map(|spatial| meter.rates(now, spatial, 500_000).0[0].bitrate / 1_000)
        };
        let close = |measured: [u64; 3], expected: [u64; 3]| {
            assert!(measured.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= b / 20), "{measured:?}");
        };
        close(go_on(&mut meter, &[0], 130), [200, 1_200, 1_200]);
        close(go_on(&mut meter, &[0, 1, 2], 130), [200, 573, 1_120]);
        close(go_on(&mut meter, &[0], 330), [200, 573, 1_120]);
        close(go_on(&mut meter, &[0, 1], 330), [200, 573, 1_120]);
    }

    #[test]
    fn a_stream_that_was_silent_costs_what_it_did() {
        let mut now = Instant::now();
        let mut meter = Meter::new();
        for _ in 0..=50 {
            meter.count(now, (0, 0), 1_000);
            now += Duration::from_millis(20);
        }
        let before = meter.bitrate(0);
        meter.pause();
        now += Duration::from_secs(60);
        meter.count(now, (0, 0), 1_000);
        assert_eq!(meter.bitrate(0), before);
    }
}
