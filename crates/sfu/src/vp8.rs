//! The VP8 payload descriptor (RFC 7741): reading it, recognising keyframes, and keeping picture id, TL0PICIDX and
//! KEYIDX continuous in a slot whose source changes or loses temporal layers on purpose.
//!
//! Values are rewritten in place and keep their width, so a payload never changes its length. Frames are not decoded;
//! of the bitstream (RFC 6386, section 9.1) only the keyframe bit and the size in a keyframe's header are read.

use crate::renumber::{Numbered, Renumbering, RunningIndex};

/// A payload that is no VP8 payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Vp8Error {
    /// The payload ends inside its descriptor, or right behind it.
    #[error("the VP8 payload has {len} bytes and ends before its {needed}th byte, which its descriptor promises")]
    Truncated {
        /// Bytes there are.
        len: usize,
        /// Bytes there should have been at least.
        needed: usize,
    },
    /// The fields to write are not those the descriptor has.
    #[error("the VP8 descriptor has no room for the fields to write")]
    OtherFields,
}

/// A picture id, and whether it takes 15 bits (two bytes) or 7.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureId {
    /// The value: below 2^15, or below 2^7 when short.
    pub value: u16,
    /// Whether the field has 15 bits.
    pub long: bool,
}

impl PictureId {
    pub(crate) fn bits(self) -> u32 {
        if self.long { 15 } else { 7 }
    }
}

/// A parsed payload descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vp8Descriptor {
    /// Length of the descriptor in bytes; VP8 data follows.
    pub len: usize,
    /// S: this packet begins a partition.
    pub starts_partition: bool,
    /// PID: the index of the partition.
    pub partition: u8,
    /// N: no later frame refers to this one.
    pub non_reference: bool,
    /// The picture id, if there is one.
    pub picture_id: Option<PictureId>,
    /// TL0PICIDX, if there is one: the running index of base-layer frames.
    pub tl0_picture_index: Option<u8>,
    /// TID, if there is one: the temporal layer, 0 being the base.
    pub temporal_layer: Option<u8>,
    /// Y: this frame refers to base-layer frames only, so that a receiver may step up to its layer here.
    pub layer_sync: bool,
    /// KEYIDX, if there is one: the running index of keyframes (5 bits).
    pub key_index: Option<u8>,
    /// This packet begins a frame that is a keyframe.
    pub starts_keyframe: bool,
}

impl Vp8Descriptor {
    /// Reads the descriptor at the start of an RTP payload.
    ///
    /// # Errors
    /// [`Vp8Error::Truncated`] if the payload ends before the first byte of VP8 data.
    pub fn parse(payload: &[u8]) -> Result<Self, Vp8Error> {
        let byte =
            |at: usize| payload.get(at).copied().ok_or(Vp8Error::Truncated { len: payload.len(), needed: at + 1 });
        let required = byte(0)?;
        let mut descriptor = Self {
            len: 1,
            starts_partition: required & 0x10 != 0,
            partition: required & 0x07,
            non_reference: required & 0x20 != 0,
            picture_id: None,
            tl0_picture_index: None,
            temporal_layer: None,
            layer_sync: false,
            key_index: None,
            starts_keyframe: false,
        };
        if required & 0x80 != 0 {
            let extension = byte(1)?;
            descriptor.len = 2;
            if extension & 0x80 != 0 {
                let first = byte(2)?;
                let long = first & 0x80 != 0;
                let mut value = u16::from(first & 0x7F);
                descriptor.len += 1;
                if long {
                    value = value << 8 | u16::from(byte(3)?);
                    descriptor.len += 1;
                }
                descriptor.picture_id = Some(PictureId { value, long });
            }
            if extension & 0x40 != 0 {
                descriptor.tl0_picture_index = Some(byte(descriptor.len)?);
                descriptor.len += 1;
            }
            if extension & 0x30 != 0 {
                let layers = byte(descriptor.len)?;
                descriptor.len += 1;
                if extension & 0x20 != 0 {
                    descriptor.temporal_layer = Some(layers >> 6);
                    descriptor.layer_sync = layers & 0x20 != 0;
                }
                if extension & 0x10 != 0 {
                    descriptor.key_index = Some(layers & 0x1F);
                }
            }
        }
        let data = byte(descriptor.len)?;
        descriptor.starts_keyframe = descriptor.starts_frame() && data & 0x01 == 0;
        Ok(descriptor)
    }

    /// Whether this packet begins a frame.
    #[must_use]
    pub fn starts_frame(&self) -> bool {
        self.starts_partition && self.partition == 0
    }
}

/// Whether an RTP payload begins a VP8 keyframe; a payload that cannot be read does not.
#[must_use]
pub fn is_keyframe(payload: &[u8]) -> bool {
    Vp8Descriptor::parse(payload).is_ok_and(|descriptor| descriptor.starts_keyframe)
}

/// Width and height in pixels, without scaling, of the keyframe that an RTP payload begins (RFC 6386, section 9.1).
#[must_use]
pub fn dimensions(payload: &[u8]) -> Option<(u16, u16)> {
    let descriptor = Vp8Descriptor::parse(payload).ok()?;
    if !descriptor.starts_keyframe {
        return None;
    }
    let header: [u8; 10] = payload.get(descriptor.len..)?.get(..10)?.try_into().ok()?;
    let [_, _, _, 0x9D, 0x01, 0x2A, width_low, width_high, height_low, height_high] = header else {
        return None;
    };
    Some((u16::from_le_bytes([width_low, width_high & 0x3F]), u16::from_le_bytes([height_low, height_high & 0x3F])))
}

/// The values that a slot writes into one descriptor. Kept with a sent packet, it makes a retransmission equal to the
/// original.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Vp8Fields {
    /// The picture id, cut to its field's width when written.
    pub picture_id: Option<u16>,
    /// TL0PICIDX.
    pub tl0_picture_index: Option<u8>,
    /// KEYIDX (5 bits).
    pub key_index: Option<u8>,
}

impl Vp8Fields {
    /// Writes the values over those of `payload`, whose descriptor is `descriptor`.
    ///
    /// # Errors
    /// [`Vp8Error::Truncated`] or [`Vp8Error::OtherFields`] if `payload` is not the one that `descriptor` was read
    /// from.
    pub fn write_into(&self, descriptor: &Vp8Descriptor, payload: &mut [u8]) -> Result<(), Vp8Error> {
        let len = payload.len();
        let head = payload.get_mut(..descriptor.len).ok_or(Vp8Error::Truncated { len, needed: descriptor.len })?;
        let mut at = 2;
        if let Some(picture_id) = descriptor.picture_id {
            let value = self.picture_id.unwrap_or(picture_id.value);
            if picture_id.long {
                let field = head.get_mut(at..at + 2).ok_or(Vp8Error::OtherFields)?;
                field.copy_from_slice(&(value | 0x8000).to_be_bytes());
                at += 2;
            } else {
                *head.get_mut(at).ok_or(Vp8Error::OtherFields)? = (value & 0x7F) as u8;
                at += 1;
            }
        }
        if let Some(index) = descriptor.tl0_picture_index {
            *head.get_mut(at).ok_or(Vp8Error::OtherFields)? = self.tl0_picture_index.unwrap_or(index);
            at += 1;
        }
        if let Some(index) = descriptor.key_index {
            let field = head.get_mut(at).ok_or(Vp8Error::OtherFields)?;
            *field = *field & 0xE0 | self.key_index.unwrap_or(index) & 0x1F;
        }
        Ok(())
    }
}

/// How many recent frames are remembered, so that late packets get their own frame's picture id: about two seconds at
/// 30 frames/s.
const FRAME_WINDOW: usize = 64;

/// Keeps the VP8 fields of one slot continuous. Its state has a fixed size.
#[derive(Debug)]
pub struct Vp8Rewriter {
    pictures: Renumbering<FRAME_WINDOW>,
    pictures_started: bool,
    tl0: RunningIndex,
    key: RunningIndex,
}

impl Default for Vp8Rewriter {
    fn default() -> Self {
        Self::new()
    }
}

impl Vp8Rewriter {
    /// The fields of a slot that forwards nothing yet; picture ids will start at 0.
    #[must_use]
    pub fn new() -> Self {
        Self {
            pictures: Renumbering::new(0),
            pictures_started: false,
            tl0: RunningIndex::default(),
            key: RunningIndex::default(),
        }
    }

    /// The slot goes over to another source: the next packet given to [`rewrite`](Self::rewrite) begins its keyframe.
    pub fn switch(&mut self) {
        self.pictures_started = false;
        self.tl0.switch();
        self.key.switch();
    }

    /// The outgoing fields of a packet that is forwarded; `None` if it belongs to a frame that was left out, that is
    /// older than the source's keyframe, or that is too old to tell: such a packet is to be left out too.
    pub fn rewrite(&mut self, descriptor: &Vp8Descriptor) -> Option<Vp8Fields> {
        let picture_id = match descriptor.picture_id {
            None => None,
            Some(id) => {
                if !self.pictures_started {
                    self.pictures.start(id.value);
                    self.pictures_started = true;
                }
                match self.pictures.forward(id.value, id.bits()) {
                    Numbered::First(value) | Numbered::Again(value) => Some(value & 0x7FFF),
                    Numbered::LeftOut | Numbered::BeforeStart | Numbered::TooOld => return None,
                }
            }
        };
        Some(Vp8Fields {
            picture_id,
            tl0_picture_index: descriptor.tl0_picture_index.map(|index| self.tl0.translate(index.into(), 8) as u8),
            key_index: descriptor.key_index.map(|index| self.key.translate(index.into(), 5) as u8 & 0x1F),
        })
    }

    /// Whether a packet of the same frame was forwarded before.
    #[must_use]
    pub fn has_begun(&self, descriptor: &Vp8Descriptor) -> bool {
        let id = descriptor.picture_id.filter(|_| self.pictures_started);
        id.is_some_and(|id| self.pictures.is_forwarded(id.value, id.bits()))
    }

    /// Leaves out the frame of a packet (a temporal layer the receiver does not get): later picture ids close up.
    /// Every packet of that frame may be told; the first one counts.
    pub fn skip(&mut self, descriptor: &Vp8Descriptor) {
        if let (Some(id), true) = (descriptor.picture_id, self.pictures_started) {
            self.pictures.leave_out(id.value, id.bits());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A payload with a 15-bit picture id, TL0PICIDX, TID and KEYIDX, and one byte of VP8 data.
    fn payload(picture_id: u16, tl0: u8, layer: u8, key: u8) -> Vec<u8> {
        let [high, low] = (picture_id | 0x8000).to_be_bytes();
        vec![0x90, 0xF0, high, low, tl0, layer << 6 | key, 0x01]
    }

    fn short(picture_id: u8) -> Vec<u8> {
        vec![0x90, 0x80, picture_id & 0x7F, 0x01]
    }

    fn pass(rewriter: &mut Vp8Rewriter, mut payload: Vec<u8>) -> Vp8Descriptor {
        let descriptor = Vp8Descriptor::parse(&payload).unwrap();
        let fields = rewriter.rewrite(&descriptor).unwrap();
        fields.write_into(&descriptor, &mut payload).unwrap();
        let written = Vp8Descriptor::parse(&payload).unwrap();
        assert_eq!(written.temporal_layer, descriptor.temporal_layer);
        assert_eq!(written.len, descriptor.len);
        written
    }

    fn picture(descriptor: Vp8Descriptor) -> u16 {
        descriptor.picture_id.unwrap().value
    }

    #[test]
    fn a_full_descriptor_is_read() {
        let descriptor = Vp8Descriptor::parse(&[0xB3, 0xF0, 0x92, 0x34, 0x56, 0xA7, 0x00]).unwrap();
        assert_eq!(
            descriptor,
            Vp8Descriptor {
                len: 6,
                starts_partition: true,
                partition: 3,
                non_reference: true,
                picture_id: Some(PictureId { value: 0x1234, long: true }),
                tl0_picture_index: Some(0x56),
                temporal_layer: Some(2),
                layer_sync: true,
                key_index: Some(7),
                starts_keyframe: false,
            }
        );
    }

    #[test]
    fn a_descriptor_of_one_byte_is_read() {
        let descriptor = Vp8Descriptor::parse(&[0x10, 0x00]).unwrap();
        assert_eq!((descriptor.len, descriptor.picture_id, descriptor.starts_keyframe), (1, None, true));
    }

    #[test]
    fn every_truncation_is_an_error() {
        let mut whole = payload(300, 4, 1, 9);
        whole.truncate(7);
        for len in 0..whole.len() {
            assert!(matches!(Vp8Descriptor::parse(&whole[..len]), Err(Vp8Error::Truncated { .. })), "{len}");
        }
    }

    #[test]
    fn only_the_first_packet_of_a_keyframe_is_one() {
        assert!(is_keyframe(&[0x10, 0x00]));
        assert!(!is_keyframe(&[0x10, 0x01]), "an inter frame");
        assert!(!is_keyframe(&[0x00, 0x00]), "the middle of a partition");
        assert!(!is_keyframe(&[0x11, 0x00]), "the second partition");
        assert!(!is_keyframe(&[]));
    }

    #[test]
    fn the_size_of_a_keyframe_is_read_without_its_scaling_bits() {
        let mut frame = vec![0x10, 0x50, 0x01, 0x00, 0x9D, 0x01, 0x2A, 0x80, 0x42, 0xE0, 0x81];
        assert_eq!(dimensions(&frame), Some((640, 480)));
        frame.truncate(10);
        assert_eq!(dimensions(&frame), None);
    }

    #[test]
    fn a_switch_continues_all_three_counters() {
        let mut rewriter = Vp8Rewriter::new();
        let first = pass(&mut rewriter, payload(32_767, 255, 0, 31));
        assert_eq!((picture(first), first.tl0_picture_index, first.key_index), (0, Some(255), Some(31)));
        let second = pass(&mut rewriter, payload(0, 0, 0, 31));
        assert_eq!((picture(second), second.tl0_picture_index, second.key_index), (1, Some(0), Some(31)));
        rewriter.switch();
        let other = pass(&mut rewriter, payload(5_000, 77, 0, 3));
        assert_eq!((picture(other), other.tl0_picture_index, other.key_index), (2, Some(1), Some(0)));
        let next = pass(&mut rewriter, payload(5_001, 78, 0, 3));
        assert_eq!((picture(next), next.tl0_picture_index, next.key_index), (3, Some(2), Some(0)));
    }

    #[test]
    fn a_left_out_temporal_layer_leaves_no_gap_in_picture_ids() {
        let mut rewriter = Vp8Rewriter::new();
        let enhancement = Vp8Descriptor::parse(&payload(11, 1, 1, 0)).unwrap();
        assert_eq!(picture(pass(&mut rewriter, payload(10, 1, 0, 0))), 0);
        rewriter.skip(&enhancement);
        rewriter.skip(&enhancement);
        assert!(!rewriter.has_begun(&enhancement));
        assert_eq!(picture(pass(&mut rewriter, payload(12, 2, 0, 0))), 1);
        assert!(rewriter.has_begun(&Vp8Descriptor::parse(&payload(12, 2, 0, 0)).unwrap()));
        assert_eq!(rewriter.rewrite(&enhancement), None);
    }

    #[test]
    fn a_lost_frame_stays_a_gap_and_a_late_one_gets_its_id() {
        let mut rewriter = Vp8Rewriter::new();
        assert_eq!(picture(pass(&mut rewriter, payload(10, 1, 0, 0))), 0);
        let skipped = Vp8Descriptor::parse(&payload(12, 1, 1, 0)).unwrap();
        rewriter.skip(&skipped);
        assert_eq!(picture(pass(&mut rewriter, payload(13, 2, 0, 0))), 2);
        assert_eq!(picture(pass(&mut rewriter, payload(11, 1, 0, 0))), 1);
        assert_eq!(picture(pass(&mut rewriter, payload(11, 1, 0, 0))), 1, "the second packet of the same frame");
    }

    #[test]
    fn short_picture_ids_stay_short_and_wrap() {
        let mut rewriter = Vp8Rewriter::new();
        for expected in 0..300_u16 {
            let written = pass(&mut rewriter, short((expected + 100) as u8));
            assert_eq!(written.picture_id, Some(PictureId { value: expected & 0x7F, long: false }));
        }
        rewriter.switch();
        let written = pass(&mut rewriter, payload(9, 0, 0, 0));
        assert_eq!(written.picture_id, Some(PictureId { value: 300, long: true }), "the count went on beyond 7 bits");
    }

    #[test]
    fn a_source_may_widen_its_picture_id_when_it_outgrows_seven_bits() {
        let mut rewriter = Vp8Rewriter::new();
        assert_eq!(picture(pass(&mut rewriter, short(127))), 0);
        assert_eq!(picture(pass(&mut rewriter, payload(128, 0, 0, 0))), 1);
    }

    #[test]
    fn fields_are_never_written_outside_their_descriptor() {
        let descriptor = Vp8Descriptor::parse(&payload(1, 2, 0, 3)).unwrap();
        let fields = Vp8Fields { picture_id: Some(9), tl0_picture_index: Some(9), key_index: Some(9) };
        assert_eq!(fields.write_into(&descriptor, &mut [0x90, 0xF0]), Err(Vp8Error::Truncated { len: 2, needed: 6 }));
        let mut plain = [0x10, 0x01];
        let without = Vp8Descriptor::parse(&plain).unwrap();
        assert_eq!(fields.write_into(&without, &mut plain), Ok(()));
        assert_eq!(plain, [0x10, 0x01]);
    }
}
