//! The counters by which codecs number their frames, kept continuous in a slot whose source changes: VP8's and VP9's in the payload, AV1's in the
//! dependency descriptor. Which packets are forwarded is decided elsewhere; RTP's own numbers are [`rewrite`](crate::rewrite)'s.

use crate::av1::DependencyDescriptor;
use crate::forward::Descriptor;
use crate::renumber::RunningIndex;
use crate::vp8::{Vp8Fields, Vp8Rewriter};
use crate::vp9::{Vp9Fields, Vp9Rewriter};

/// The counters of one packet as they are sent. Kept with a sent packet, they make a retransmission equal to the original.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Counters {
    /// Its codec has none, or the packet shows none.
    #[default]
    None,
    /// VP8's, in the payload.
    Vp8(Vp8Fields),
    /// VP9's, in the payload.
    Vp9(Vp9Fields),
    /// AV1's frame number, in the dependency descriptor.
    Av1(u16),
}

impl Counters {
    /// Writes what belongs into the payload, whose descriptor is `descriptor`.
    pub(crate) fn write_into(&self, descriptor: &Descriptor, payload: &mut [u8]) {
        // The descriptor was read from this very payload.
        match (self, descriptor) {
            (Self::Vp8(fields), Descriptor::Vp8(descriptor)) => _ = fields.write_into(descriptor, payload),
            (Self::Vp9(fields), Descriptor::Vp9(descriptor)) => _ = fields.write_into(descriptor, payload),
            _ => {}
        }
    }

    /// Writes what belongs into the dependency descriptor.
    pub(crate) fn write_into_dependency(&self, value: &mut [u8]) {
        if let Self::Av1(frame_number) = self {
            DependencyDescriptor::write_frame_number(value, *frame_number);
        }
    }
}

/// Counts for one slot, whatever codec flows in it.
#[derive(Debug, Default)]
pub(crate) struct CounterRewriter {
    vp8: Vp8Rewriter,
    vp9: Vp9Rewriter,
    frames: RunningIndex,
}

impl CounterRewriter {
    /// The slot goes over to another source, which begins with the next packet.
    pub(crate) fn switch(&mut self) {
        self.vp8.switch();
        self.vp9.switch();
        self.frames.switch();
    }

    /// Whether a packet of the same frame was forwarded before, where that shows.
    #[inline]
    pub(crate) fn has_begun(&self, descriptor: &Descriptor) -> bool {
        matches!(descriptor, Descriptor::Vp8(descriptor) if self.vp8.has_begun(descriptor))
    }

    /// Leaves out the frame of a packet. VP8's picture ids close up; VP9's and AV1's numbers must not, since references count by them.
    #[inline]
    pub(crate) fn leave_out(&mut self, descriptor: &Descriptor) {
        if let Descriptor::Vp8(descriptor) = descriptor {
            self.vp8.skip(descriptor);
        }
    }

    /// The counters of a packet that is forwarded; `None` if it belongs to a frame that is not.
    #[inline]
    pub(crate) fn rewrite(&mut self, descriptor: &Descriptor) -> Option<Counters> {
        Some(match descriptor {
            Descriptor::None => Counters::None,
            Descriptor::Vp8(descriptor) => Counters::Vp8(self.vp8.rewrite(descriptor)?),
            Descriptor::Vp9(descriptor) => Counters::Vp9(self.vp9.rewrite(descriptor)),
            Descriptor::Av1(frame) => Counters::Av1(self.frames.translate(frame.frame_number, u16::BITS)),
        })
    }
}
