//! The steps in which one track can be sent: its sizes (simulcast layers, or the spatial layers of one stream up to some), and in each the temporal layers up to some. Each step costs more than the one
//! below, and is to be preferred to it.

/// Temporal layers that are told apart; browsers make up to three.
pub const TEMPORAL_LAYERS: usize = 4;

/// The most steps of a ladder: all temporal layers of four sizes.
pub const MAX_STEPS: usize = 16;

/// A rate above this is counted as this: sums of all rates there may be then have room.
const MAX_RATE: u64 = 1 << 40;

/// What a stream takes, up to and including one of its temporal layers, in bit/s with the headers of each packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rate {
    /// Over the last second.
    pub bitrate: u64,
    /// In the worst of the last few seconds.
    pub peak: u64,
}

/// What is given up last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taste {
    /// Motion: faces look wrong below about 15 pictures a second, and less so when they are blurred.
    Motion,
    /// Detail: a text that is blurred cannot be read, and one that comes late can.
    Detail,
}

/// One way to send a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Step {
    /// The size, by its place in the track's list.
    pub layer: u8,
    /// The highest temporal layer that is sent.
    pub temporal: u8,
    /// Whether that is all there are.
    pub whole: bool,
    /// What it takes lately, in bit/s.
    pub bitrate: u64,
    /// What it has taken in the worst of the last few seconds, in bit/s.
    pub peak: u64,
}

/// All ways to send a track, the cheapest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ladder {
    steps: [Step; MAX_STEPS],
    len: usize,
}

impl Ladder {
    /// A ladder of no steps.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The steps.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps[..self.len]
    }

    /// Puts a larger size on top, whose temporal layers take `rates`. What finds no room any more is left out.
    ///
    /// Of motion, a layer above the first offers only its upper half of pictures: rather the smaller picture moves well than the larger one
    /// badly. Of detail, the layers below lose the temporal layers above their base: rather the larger picture moves badly.
    pub fn push_layer(&mut self, layer: u8, rates: &[Rate], taste: Taste) {
        let least = match taste {
            Taste::Motion if self.len > 0 => rates.len().saturating_sub(2),
            Taste::Motion => 0,
            Taste::Detail => {
                self.len = (0..self.len).filter(|&at| self.steps[at].temporal == 0).count();
                0
            }
        };
        for (temporal, rate) in rates.iter().enumerate().skip(least) {
            let Some(step) = self.steps.get_mut(self.len) else { return };
            let bitrate = rate.bitrate.min(MAX_RATE);
            let peak = rate.peak.clamp(bitrate, MAX_RATE);
            let whole = temporal + 1 == rates.len();
            *step = Step { layer, temporal: temporal as u8, whole, bitrate, peak };
            self.len += 1;
        }
    }

    /// Where a step stands. One that is not offered any more stands where its layer's highest does, or else at the top.
    pub(super) fn position(&self, (layer, temporal): (u8, u8)) -> Option<usize> {
        let steps = self.steps();
        let same = steps.iter().position(|step| (step.layer, step.temporal) == (layer, temporal));
        same.or_else(|| steps.iter().rposition(|step| step.layer == layer)).or(steps.len().checked_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(kilobits: [u64; 3]) -> [Rate; 3] {
        kilobits.map(|kilobits| Rate { bitrate: kilobits * 1_000, peak: kilobits * 1_100 })
    }

    fn ladder(taste: Taste) -> Vec<(u8, u8)> {
        let mut ladder = Ladder::new();
        ladder.push_layer(0, &rates([60, 90, 150]), taste);
        ladder.push_layer(1, &rates([200, 300, 500]), taste);
        ladder.push_layer(2, &rates([700, 1_000, 1_700]), taste);
        assert!(ladder.steps().is_sorted_by_key(|step| step.bitrate));
        ladder.steps().iter().map(|step| (step.layer, step.temporal)).collect()
    }

    #[test]
    fn a_face_never_gets_larger_at_the_price_of_moving_badly() {
        assert_eq!(ladder(Taste::Motion), [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (2, 2)]);
    }

    #[test]
    fn a_screen_gives_up_its_frame_rate_before_its_resolution() {
        assert_eq!(ladder(Taste::Detail), [(0, 0), (1, 0), (2, 0), (2, 1), (2, 2)]);
    }

    #[test]
    fn a_ladder_takes_no_more_than_it_has_room_for() {
        let mut ladder = Ladder::new();
        for layer in 0..9 {
            ladder.push_layer(layer, &[Rate::default(); TEMPORAL_LAYERS], Taste::Motion);
        }
        assert_eq!(ladder.steps().len(), MAX_STEPS);
    }

    #[test]
    fn a_step_that_is_gone_stands_where_its_layer_ends() {
        let mut ladder = Ladder::new();
        assert_eq!(ladder.position((0, 0)), None);
        ladder.push_layer(0, &rates([60, 90, 150])[..2], Taste::Motion);
        ladder.push_layer(1, &rates([200, 300, 500]), Taste::Motion);
        assert_eq!(ladder.position((0, 1)), Some(1));
        assert_eq!(ladder.position((0, 2)), Some(1));
        assert_eq!(ladder.position((1, 0)), Some(3));
        assert_eq!(ladder.position((2, 0)), Some(3));
    }
}
