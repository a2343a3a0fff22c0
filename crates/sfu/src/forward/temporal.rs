//! Temporal layers: the pictures of a stream in groups, of which each refers to itself and the groups below only, so that a receiver can do
//! without the upper ones (RFC 7741, section 3; RFC 9628, section 3; the dependency descriptor of AV1's RTP format). Which packet belongs where
//! is read here, and a [`TemporalGate`] lets a slot's share through; how many layers that is, is decided elsewhere.

use super::Descriptor;
use crate::av1::TemplateLayers;

/// More temporal layers than there are.
pub(crate) const ALL: u8 = u8::MAX;

/// Where a packet's frame stands among the temporal layers of its stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Temporal {
    /// The layer, 0 being the base; 0 where there are none.
    pub(crate) layer: u8,
    /// This packet begins a picture.
    starts_frame: bool,
    /// From here a receiver of the first of these layers may go on with those up to the second.
    opens: Option<(u8, u8)>,
}

impl Temporal {
    /// Reads it from a packet's descriptor; AV1's names a template of a structure that came before.
    pub(crate) fn of(descriptor: &Descriptor, templates: &TemplateLayers) -> Self {
        match descriptor {
            Descriptor::None => Self::default(),
            Descriptor::Vp8(vp8) => {
                let layer = vp8.temporal_layer.unwrap_or(0);
                // It refers to the base layer only, which everybody has.
                let opens = vp8.layer_sync.then_some((0, layer));
                Self { layer, starts_frame: vp8.starts_frame(), opens }
            }
            Descriptor::Vp9(vp9) => {
                let Some(in_layer) = vp9.layer else {
                    return Self { starts_frame: vp9.starts_frame, ..Self::default() };
                };
                let layer = in_layer.temporal;
                // No picture behind it refers to one before it of a higher layer.
                let opens = in_layer.switching_up.then_some((layer, ALL));
                // The larger sizes of a picture pass where its smallest does.
                Self { layer, starts_frame: vp9.starts_frame && in_layer.spatial == 0, opens }
            }
            Descriptor::Av1(frame) => {
                let layer = templates.temporal(frame.template);
                // Encoders in real time (all structures of libwebrtc) refer back no further than to the last picture of the base.
                let opens = (layer == 0).then_some((0, ALL));
                let is_base = templates.spatial(frame.template).unwrap_or(0) == 0;
                Self { layer, starts_frame: frame.starts_frame && is_base, opens }
            }
        }
    }
}

/// Lets the lower temporal layers of a stream through. It closes at the next frame, and opens further where the stream allows.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TemporalGate {
    /// The highest layer that should pass.
    wanted: u8,
    /// The highest that passes.
    open: u8,
}

impl TemporalGate {
    /// Sets the highest layer that should pass.
    pub(crate) fn set(&mut self, highest: u8) {
        self.wanted = highest;
    }

    /// Whether a packet will not pass, nor any other of its layer for now.
    #[inline]
    pub(crate) fn is_closed_to(&self, temporal: Temporal) -> bool {
        temporal.layer > self.open.max(self.wanted)
    }

    /// Whether a packet passes. `starts`: a decoder can begin with it, so that nothing before it counts.
    #[inline]
    pub(crate) fn passes(&mut self, temporal: Temporal, starts: bool) -> bool {
        if starts {
            self.open = self.wanted;
        } else if temporal.starts_frame && self.open != self.wanted {
            if self.wanted < self.open {
                self.open = self.wanted;
            } else if let Some((_, to)) = temporal.opens.filter(|(from, _)| *from <= self.open) {
                self.open = self.open.max(to.min(self.wanted));
            }
        }
        temporal.layer <= self.open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(layer: u8, opens: Option<(u8, u8)>) -> Temporal {
        Temporal { layer, starts_frame: true, opens }
    }

    fn gate(wanted: u8, open: u8) -> TemporalGate {
        TemporalGate { wanted, open }
    }

    #[test]
    fn a_gate_closes_at_the_next_frame_and_not_in_the_middle_of_one() {
        let mut gate = gate(0, 2);
        assert!(gate.passes(Temporal { layer: 2, ..Temporal::default() }, false), "the frame goes on");
        assert!(!gate.passes(frame(2, None), false));
        assert!(!gate.passes(frame(1, None), false));
        assert!(gate.passes(frame(0, None), false));
    }

    #[test]
    fn a_gate_opens_layer_by_layer_where_vp8_refers_to_the_base_only() {
        let mut gate = gate(2, 0);
        assert!(!gate.passes(frame(2, None), false), "it may refer to what was left out");
        assert!(gate.passes(frame(1, Some((0, 1))), false));
        assert!(!gate.passes(frame(2, None), false));
        assert!(gate.passes(frame(2, Some((0, 2))), false));
        assert!(gate.passes(frame(1, None), false));
    }

    #[test]
    fn a_gate_opens_to_all_behind_a_switching_point_that_passes_itself() {
        let mut gate = gate(ALL, 0);
        assert!(!gate.passes(frame(1, Some((1, ALL))), false));
        assert!(gate.passes(frame(0, Some((0, ALL))), false));
        assert!(gate.passes(frame(2, None), false));
    }

    #[test]
    fn a_keyframe_opens_at_once() {
        let mut gate = gate(2, 0);
        assert!(gate.passes(frame(0, None), true));
        assert!(gate.passes(frame(2, None), false));
    }
}
