//! What forwarding must know of payloads: what their descriptors say, where a decoder can begin, per codec, and the blocks of RED (RFC
//! 2198). It decodes nothing.

use ringback_transport::sdp::CodecName;

use super::Descriptor;
use crate::av1;

/// Whether a decoder can begin with this packet. Audio can begin anywhere.
pub(crate) fn starts(codec: CodecName, payload: &[u8], descriptor: &Descriptor) -> bool {
    if payload.is_empty() {
        return false;
    }
    match (codec, descriptor) {
        (CodecName::Opus | CodecName::Red, _) => true,
        (CodecName::Vp8, Descriptor::Vp8(vp8)) => vp8.starts_keyframe,
        (CodecName::Vp9, Descriptor::Vp9(vp9)) => vp9.starts_keyframe(),
        (CodecName::Vp8 | CodecName::Vp9, _) => false,
        (CodecName::H264, _) => h264_parameter_set(payload).is_some(),
        // Without the structure no later descriptor can be read, whatever the N bit says.
        (CodecName::Av1, Descriptor::Av1(frame)) => frame.starts_frame && frame.has_structure,
        (CodecName::Av1, _) => av1::starts_sequence(payload),
    }
}

/// The sequence parameter set that begins a payload, alone or in a STAP-A (RFC 6184), behind its header. With it a decoder begins, not with
/// the IDR picture that follows under the same timestamp: without the set that cannot be decoded, and WebRTC sends the sets along with
/// the stream (RFC 7742, section 6.2).
pub(crate) fn h264_parameter_set(payload: &[u8]) -> Option<&[u8]> {
    const PARAMETER_SET: u8 = 7;
    const STAP_A: u8 = 24;
    let kind = |byte: u8| byte & 0x1F;
    let (&first, mut rest) = payload.split_first()?;
    match kind(first) {
        PARAMETER_SET => Some(rest),
        STAP_A => {
            while let [high, low, units @ ..] = rest {
                let (unit, after) = units.split_at_checked(u16::from_be_bytes([*high, *low]).into())?;
                match unit.split_first() {
                    Some((&header, set)) if kind(header) == PARAMETER_SET => return Some(set),
                    _ => rest = after,
                }
            }
            None
        }
        _ => None,
    }
}

/// Where the primary block of a RED packet begins (RFC 2198, section 3); `None` if it is malformed. The primary block is the last
/// and has no length of its own.
pub(crate) fn red_primary(payload: &[u8]) -> Option<usize> {
    let mut at = 0;
    let mut redundant = 0;
    loop {
        let &first = payload.get(at)?;
        if first & 0x80 == 0 {
            let start = at + 1 + redundant;
            return (start < payload.len()).then_some(start);
        }
        let length = u16::from_be_bytes([*payload.get(at + 2)?, *payload.get(at + 3)?]) & 0x03FF;
        redundant += usize::from(length);
        at += 4;
    }
}

/// Gives the blocks of a RED payload the receiver's payload type for what they hold; blocks of another type than `theirs` stay.
pub(crate) fn retype_red(payload: &mut [u8], theirs: u8, ours: u8) {
    let mut at = 0;
    while let Some(header) = payload.get_mut(at) {
        let is_last = *header & 0x80 == 0;
        if *header & 0x7F == theirs {
            *header = *header & 0x80 | ours & 0x7F;
        }
        if is_last {
            return;
        }
        at += 4;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::av1::DependencyDescriptor;

    #[test]
    fn h264_begins_at_its_parameter_set_alone_or_aggregated() {
        let starts = |payload: &[u8]| starts(CodecName::H264, payload, &Descriptor::None);
        assert!(starts(&[0x67, 0x42, 0xC0, 0x1F]));
        assert!(starts(&[0x78, 0, 2, 0x67, 1, 0, 1, 0x68]), "sets together");
        assert!(starts(&[0x78, 0, 1, 0x09, 0, 2, 0x67, 1, 0, 1, 0x68, 0, 2, 0x65, 0x88]), "behind a delimiter");
        assert!(!starts(&[0x65, 0x88, 0x84]), "an IDR picture whose sets are in the packet before it, or lost");
        assert!(!starts(&[0x7C, 0x85, 0x88]), "its first fragment");
        assert!(!starts(&[0x41, 0x9A]) && !starts(&[0x68, 1]) && !starts(&[0x78, 0, 2, 0x41, 1]));
        for hostile in [&[0x78, 0xFF, 0xFF, 0x67][..], &[0x78, 0, 0, 0, 0], &[0x78, 0], &[0x78], &[]] {
            assert!(!starts(hostile), "{hostile:?}");
        }
    }

    #[test]
    fn av1_begins_where_its_structure_is_and_without_a_descriptor_at_the_n_bit() {
        let frame = |starts_frame, has_structure| {
            Descriptor::Av1(DependencyDescriptor {
                starts_frame,
                ends_frame: true,
                template: 0,
                frame_number: 0,
                has_structure,
            })
        };
        assert!(starts(CodecName::Av1, &[0x10], &frame(true, true)));
        assert!(!starts(CodecName::Av1, &[0x18], &frame(true, false)));
        assert!(!starts(CodecName::Av1, &[0x18], &frame(false, true)));
        assert!(starts(CodecName::Av1, &[0x18], &Descriptor::None));
        assert!(!starts(CodecName::Av1, &[0x10], &Descriptor::None));
        assert!(!starts(CodecName::Opus, &[], &Descriptor::None));
    }

    #[test]
    fn the_primary_block_of_red_is_found_or_refused() {
        // One redundant block of 2 bytes, then the primary.
        assert_eq!(red_primary(&[0x80 | 111, 0x00, 0x00, 0x02, 111, 9, 9, 7, 7]), Some(7));
        assert_eq!(red_primary(&[111, 7]), Some(1));
        assert_eq!(red_primary(&[111]), None);
        assert_eq!(red_primary(&[0x80 | 111, 0x00, 0x03, 0xFF, 111, 9]), None);
        assert_eq!(red_primary(&[0xFF; 8]), None);
        assert_eq!(red_primary(&[]), None);
    }

    #[test]
    fn the_blocks_of_red_get_the_receivers_payload_type() {
        let mut red = [0x80 | 111, 0x0F, 0x00, 0x02, 0x80 | 9, 0x0F, 0x00, 0x01, 111, 111, 9, 111, 7];
        retype_red(&mut red, 111, 96);
        assert_eq!(red, [0x80 | 96, 0x0F, 0x00, 0x02, 0x80 | 9, 0x0F, 0x00, 0x01, 96, 111, 9, 111, 7]);
        let mut endless = [0xFF; 9];
        retype_red(&mut endless, 127, 1);
        assert_eq!(endless, [0x81, 255, 255, 255, 0x81, 255, 255, 255, 0x81]);
    }
}
