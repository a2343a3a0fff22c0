//! The VP9 payload descriptor (RFC 9628): reading it, recognising where a decoder can begin, and keeping picture id and TL0PICIDX continuous in
//! a slot whose source changes. Where temporal layers are left out, the ids of their pictures stay gaps: references point back by differences of
//! picture ids (P_DIFF), which closing a gap would bend.
//!
//! Values are rewritten in place and keep their width, so a payload never changes its length. The bitstream is not looked at.

use crate::renumber::RunningIndex;
use crate::vp8::PictureId;

/// The most spatial layers of a stream (RFC 9628, section 4.2).
const MAX_SPATIAL: usize = 8;

/// The most references of one picture (RFC 9628, section 4.2).
const MAX_REFERENCES: usize = 3;

/// A payload that is no VP9 payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Vp9Error {
    /// The payload ends inside its descriptor, or right behind it.
    #[error("the VP9 payload has {len} bytes and ends before its {needed}th byte, which its descriptor promises")]
    Truncated {
        /// Bytes there are.
        len: usize,
        /// Bytes there should have been at least.
        needed: usize,
    },
    /// A picture refers to more others than it can.
    #[error("the VP9 descriptor has more than three reference indices")]
    References,
    /// The fields to write are not those the descriptor has.
    #[error("the VP9 descriptor has no room for the fields to write")]
    OtherFields,
}

/// Which layer a frame belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vp9Layer {
    /// TID: the temporal layer, 0 being the base.
    pub temporal: u8,
    /// SID: the spatial layer, 0 being the base.
    pub spatial: u8,
    /// U: from here a receiver may step up to this temporal layer.
    pub switching_up: bool,
    /// D: it is predicted from the spatial layer below it.
    pub inter_layer: bool,
}

/// A parsed payload descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vp9Descriptor {
    /// Length of the descriptor in bytes; VP9 data follows.
    pub len: usize,
    /// B: this packet begins a frame.
    pub starts_frame: bool,
    /// E: this packet ends a frame.
    pub ends_frame: bool,
    /// P: the frame is predicted from an earlier picture.
    pub predicted: bool,
    /// F: references are given picture by picture.
    pub flexible: bool,
    /// The picture id, if there is one: that of all frames of one instant.
    pub picture_id: Option<PictureId>,
    /// The layer, if there are layers.
    pub layer: Option<Vp9Layer>,
    /// TL0PICIDX, if there is one: the running index of pictures of the temporal base layer.
    pub tl0_picture_index: Option<u8>,
    /// Width and height in pixels of the largest spatial layer, where the scalability structure says so.
    pub size: Option<(u16, u16)>,
}

impl Vp9Descriptor {
    /// Reads the descriptor at the start of an RTP payload.
    ///
    /// # Errors
    /// [`Vp9Error::Truncated`] if the payload ends before the first byte of VP9 data, [`Vp9Error::References`] if it lists too many.
    pub fn parse(payload: &[u8]) -> Result<Self, Vp9Error> {
        Self::read(payload, |_| {})
    }

    /// Width and height in pixels of each spatial layer, the smallest first, and how many there are: none, where the scalability structure at the start of an RTP
    /// payload does not say so.
    #[must_use]
    pub fn sizes(payload: &[u8]) -> ([(u16, u16); MAX_SPATIAL], usize) {
        let (mut sizes, mut layers) = ([(0, 0); MAX_SPATIAL], 0);
        let read = Self::read(payload, |size| {
            // There are no more: their number has three bits.
            sizes[layers] = size;
            layers += 1;
        });
        (sizes, if read.is_ok() { layers } else { 0 })
    }

    /// Reads the descriptor, and hands out the sizes on the way.
    fn read(payload: &[u8], mut on_size: impl FnMut((u16, u16))) -> Result<Self, Vp9Error> {
        let byte =
            |at: usize| payload.get(at).copied().ok_or(Vp9Error::Truncated { len: payload.len(), needed: at + 1 });
        let flags = byte(0)?;
        let is_set = |bit: u8| flags & bit != 0;
        let mut descriptor = Self {
            len: 1,
            starts_frame: is_set(0x08),
            ends_frame: is_set(0x04),
            predicted: is_set(0x40),
            flexible: is_set(0x10),
            picture_id: None,
            layer: None,
            tl0_picture_index: None,
            size: None,
        };
        let mut next = || {
            let value = byte(descriptor.len)?;
            descriptor.len += 1;
            Ok::<u8, Vp9Error>(value)
        };
        if is_set(0x80) {
            let first = next()?;
            let long = first & 0x80 != 0;
            let mut value = u16::from(first & 0x7F);
            if long {
                value = value << 8 | u16::from(next()?);
            }
            descriptor.picture_id = Some(PictureId { value, long });
        }
        if is_set(0x20) {
            let layer = next()?;
            descriptor.layer = Some(Vp9Layer {
                temporal: layer >> 5,
                switching_up: layer & 0x10 != 0,
                spatial: layer >> 1 & 0x07,
                inter_layer: layer & 0x01 != 0,
            });
            if !is_set(0x10) {
                descriptor.tl0_picture_index = Some(next()?);
            }
        }
        if is_set(0x10) && is_set(0x40) {
            let mut references = 1;
            while next()? & 0x01 != 0 {
                references += 1;
                if references > MAX_REFERENCES {
                    return Err(Vp9Error::References);
                }
            }
        }
        if is_set(0x02) {
            let structure = next()?;
            if structure & 0x10 != 0 {
                for _ in 0..=structure >> 5 {
                    let [width, height] = [[next()?, next()?], [next()?, next()?]].map(u16::from_be_bytes);
                    on_size((width, height));
                    descriptor.size = Some((width, height));
                }
            }
            if structure & 0x08 != 0 {
                for _ in 0..next()? {
                    for _ in 0..next()? >> 2 & 0x03 {
                        next()?;
                    }
                }
            }
        }
        byte(descriptor.len)?;
        Ok(descriptor)
    }

    /// Whether a decoder can begin with this packet: it begins a frame of the spatial base layer that no earlier picture predicts.
    #[must_use]
    pub fn starts_keyframe(&self) -> bool {
        self.starts_frame && !self.predicted && self.layer.is_none_or(|layer| layer.spatial == 0)
    }
}

/// The values that a slot writes into one descriptor. Kept with a sent packet, it makes a retransmission equal to the original.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Vp9Fields {
    /// The picture id, cut to its field's width when written.
    pub picture_id: Option<u16>,
    /// TL0PICIDX.
    pub tl0_picture_index: Option<u8>,
}

impl Vp9Fields {
    /// Writes the values over those of `payload`, whose descriptor is `descriptor`.
    ///
    /// # Errors
    /// [`Vp9Error::Truncated`] or [`Vp9Error::OtherFields`] if `payload` is not the one that `descriptor` was read from.
    pub fn write_into(&self, descriptor: &Vp9Descriptor, payload: &mut [u8]) -> Result<(), Vp9Error> {
        let len = payload.len();
        let head = payload.get_mut(..descriptor.len).ok_or(Vp9Error::Truncated { len, needed: descriptor.len })?;
        let mut at = 1;
        if let Some(picture_id) = descriptor.picture_id {
            let value = self.picture_id.unwrap_or(picture_id.value);
            if picture_id.long {
                let field = head.get_mut(at..at + 2).ok_or(Vp9Error::OtherFields)?;
                field.copy_from_slice(&(value | 0x8000).to_be_bytes());
                at += 2;
            } else {
                *head.get_mut(at).ok_or(Vp9Error::OtherFields)? = (value & 0x7F) as u8;
                at += 1;
            }
        }
        if let Some(index) = descriptor.tl0_picture_index {
            // Behind the byte of the layer, without which there is no index.
            *head.get_mut(at + 1).ok_or(Vp9Error::OtherFields)? = self.tl0_picture_index.unwrap_or(index);
        }
        Ok(())
    }
}

/// Keeps the VP9 fields of one slot continuous. Its state has a fixed size.
#[derive(Debug, Default)]
pub struct Vp9Rewriter {
    pictures: RunningIndex,
    tl0: RunningIndex,
}

impl Vp9Rewriter {
    /// The fields of a slot that forwards nothing yet; its first source keeps its numbers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The slot goes over to another source: the next packet given to [`rewrite`](Self::rewrite) begins its keyframe.
    pub fn switch(&mut self) {
        self.pictures.switch();
        self.tl0.switch();
    }

    /// The outgoing fields of a packet.
    pub fn rewrite(&mut self, descriptor: &Vp9Descriptor) -> Vp9Fields {
        let picture = descriptor.picture_id;
        Vp9Fields {
            picture_id: picture.map(|id| self.pictures.translate(id.value, id.bits()) & 0x7FFF),
            tl0_picture_index: descriptor.tl0_picture_index.map(|index| self.tl0.translate(index.into(), 8) as u8),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A packet of layer `spatial` of picture `id`, as Chromium sends k-SVC: not flexible, 15-bit picture ids.
    fn payload(id: u16, tl0: u8, spatial: u8, predicted: bool) -> Vec<u8> {
        let [high, low] = (id | 0x8000).to_be_bytes();
        vec![0xAC | u8::from(predicted) << 6, high, low, spatial << 1 | u8::from(spatial > 0), tl0, 0x82]
    }

    /// The first packet of a keyframe of three spatial layers, with its scalability structure, as Chromium writes it.
    const STRUCTURED: [u8; 26] = [
        0xAA, 0x92, 0x34, 0x00, 0x56, // I L B V; picture id, layer 0, TL0PICIDX
        0x58, 0x01, 0x40, 0x00, 0xB4, 0x02, 0x80, 0x01, 0x68, 0x05, 0x00, 0x02, 0xD0, // three sizes, and a group
        0x02, 0x04, 0x01, 0x48, 0x01, 0x02, // of two pictures
        0x82, 0x49,
    ];

    fn pass(rewriter: &mut Vp9Rewriter, mut payload: Vec<u8>) -> (u16, Option<u8>) {
        let descriptor = Vp9Descriptor::parse(&payload).unwrap();
        rewriter.rewrite(&descriptor).write_into(&descriptor, &mut payload).unwrap();
        let written = Vp9Descriptor::parse(&payload).unwrap();
        assert_eq!((written.layer, written.len, written.flexible), (descriptor.layer, descriptor.len, false));
        (written.picture_id.unwrap().value, written.tl0_picture_index)
    }

    #[test]
    fn a_keyframes_descriptor_with_its_structure_is_read() {
        let descriptor = Vp9Descriptor::parse(&STRUCTURED).unwrap();
        assert_eq!(descriptor.len, 24);
        assert_eq!(descriptor.picture_id, Some(PictureId { value: 0x1234, long: true }));
        assert_eq!(descriptor.tl0_picture_index, Some(0x56));
        assert_eq!(descriptor.size, Some((1280, 720)), "the largest layer's");
        let (sizes, layers) = Vp9Descriptor::sizes(&STRUCTURED);
        assert_eq!(sizes[..layers], [(320, 180), (640, 360), (1280, 720)]);
        assert_eq!(Vp9Descriptor::sizes(&STRUCTURED[..17]).1, 0);
        assert_eq!(Vp9Descriptor::sizes(&payload(1, 0, 0, false)).1, 0);
        assert!(descriptor.starts_keyframe() && !descriptor.ends_frame);
    }

    #[test]
    fn a_flexible_descriptor_is_read_with_its_references() {
        let descriptor = Vp9Descriptor::parse(&[0xFC, 0x07, 0x52, 0x03, 0x05, 0x06, 0x82]).unwrap();
        let layer = Vp9Layer { temporal: 2, spatial: 1, switching_up: true, inter_layer: false };
        assert_eq!((descriptor.layer, descriptor.tl0_picture_index, descriptor.len), (Some(layer), None, 6));
        assert_eq!(descriptor.picture_id, Some(PictureId { value: 7, long: false }));
        let too_many = [0xFC, 0x07, 0x52, 0x03, 0x05, 0x07, 0x09, 0x82];
        assert_eq!(Vp9Descriptor::parse(&too_many), Err(Vp9Error::References));
    }

    #[test]
    fn every_truncation_is_an_error() {
        for whole in [&STRUCTURED[..25], &payload(300, 4, 1, true), &[0xFC, 0x07, 0x52, 0x03, 0x05, 0x06, 0x82]] {
            for len in 0..whole.len() {
                assert!(matches!(Vp9Descriptor::parse(&whole[..len]), Err(Vp9Error::Truncated { .. })), "{len}");
            }
            assert!(Vp9Descriptor::parse(whole).is_ok());
        }
    }

    #[test]
    fn a_decoder_begins_at_the_base_layer_of_a_keyframe_only() {
        let starts = |payload: &[u8]| Vp9Descriptor::parse(payload).unwrap().starts_keyframe();
        assert!(starts(&payload(1, 0, 0, false)) && starts(&[0x88, 0x01, 0x82]));
        assert!(!starts(&payload(1, 0, 1, false)), "a k-SVC keyframe's upper layer is predicted from the lower");
        assert!(!starts(&payload(1, 0, 0, true)), "an inter frame");
        assert!(!starts(&[0xA0, 0x01, 0x00, 0x00, 0x82]), "the middle of a keyframe");
    }

    #[test]
    fn the_layers_of_a_picture_share_their_id_over_a_switch() {
        let mut rewriter = Vp9Rewriter::new();
        assert_eq!(pass(&mut rewriter, payload(32_767, 255, 0, false)), (32_767, Some(255)));
        assert_eq!(pass(&mut rewriter, payload(32_767, 255, 1, false)), (32_767, Some(255)));
        assert_eq!(pass(&mut rewriter, payload(0, 0, 0, true)), (0, Some(0)));
        rewriter.switch();
        assert_eq!(pass(&mut rewriter, payload(500, 77, 0, false)), (1, Some(1)));
        assert_eq!(pass(&mut rewriter, payload(500, 77, 1, false)), (1, Some(1)));
        assert_eq!(pass(&mut rewriter, payload(503, 79, 0, true)), (4, Some(3)), "a loss stays a gap");
        assert_eq!(pass(&mut rewriter, payload(502, 78, 0, true)), (3, Some(2)), "a late one gets its number");
    }

    #[test]
    fn fields_are_never_written_outside_their_descriptor() {
        let descriptor = Vp9Descriptor::parse(&payload(1, 2, 0, false)).unwrap();
        let fields = Vp9Fields { picture_id: Some(9), tl0_picture_index: Some(9) };
        assert_eq!(fields.write_into(&descriptor, &mut [0xAC]), Err(Vp9Error::Truncated { len: 1, needed: 5 }));
        let mut plain = [0x08, 0x82];
        let without = Vp9Descriptor::parse(&plain).unwrap();
        assert_eq!(fields.write_into(&without, &mut plain), Ok(()));
        assert_eq!(plain, [0x08, 0x82]);
    }
}
