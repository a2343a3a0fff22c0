//! What forwarding must know of payloads: where a decoder can begin, per codec, and the primary block of RED (RFC 2198). It
//! decodes nothing.

use ringback_transport::sdp::CodecName;

use crate::vp8::Vp8Descriptor;

/// Whether a decoder can begin with this packet. Audio can begin anywhere.
pub(crate) fn starts(codec: CodecName, payload: &[u8], vp8: Option<&Vp8Descriptor>) -> bool {
    match codec {
        CodecName::Opus | CodecName::Red => !payload.is_empty(),
        CodecName::Vp8 => vp8.is_some_and(|descriptor| descriptor.starts_keyframe),
        CodecName::Vp9 => vp9_starts(payload),
        CodecName::H264 => h264_starts(payload),
        CodecName::Av1 => av1_starts(payload),
    }
}

/// RFC 9628, section 4.2: begins a frame (B), which no other predicts (P clear), of the base spatial layer.
fn vp9_starts(payload: &[u8]) -> bool {
    const PICTURE_ID: u8 = 0x80;
    const INTER: u8 = 0x40;
    const LAYERS: u8 = 0x20;
    const BEGINS: u8 = 0x08;
    let Some(&first) = payload.first() else { return false };
    if first & INTER != 0 || first & BEGINS == 0 {
        return false;
    }
    if first & LAYERS == 0 {
        return true;
    }
    let mut at = 1;
    if first & PICTURE_ID != 0 {
        let long = payload.get(at).is_some_and(|id| id & 0x80 != 0);
        at += if long { 2 } else { 1 };
    }
    payload.get(at).is_some_and(|layers| layers >> 1 & 0x07 == 0)
}

/// RFC 6184: a sequence parameter set or the first fragment of an IDR slice, alone, in a STAP-A or in an FU-A.
fn h264_starts(payload: &[u8]) -> bool {
    const IDR: u8 = 5;
    const SPS: u8 = 7;
    const STAP_A: u8 = 24;
    const FU_A: u8 = 28;
    let kind = |byte: &u8| byte & 0x1F;
    match payload.first().map(kind) {
        Some(IDR | SPS) => true,
        Some(STAP_A) => {
            let mut rest = &payload[1..];
            while let [high, low, unit @ ..] = rest {
                if matches!(unit.first().map(kind), Some(IDR | SPS)) {
                    return true;
                }
                rest = unit.get(usize::from(u16::from_be_bytes([*high, *low]))..).unwrap_or_default();
            }
            false
        }
        Some(FU_A) => payload.get(1).is_some_and(|fragment| fragment & 0x80 != 0 && fragment & 0x1F == IDR),
        _ => false,
    }
}

/// RTP payload format for AV1, section 4.4: the N bit marks the first packet of a coded video sequence.
fn av1_starts(payload: &[u8]) -> bool {
    payload.first().is_some_and(|aggregation| aggregation & 0x08 != 0)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_begins_at_keyframes_only() {
        assert!(h264_starts(&[0x65, 1, 2]));
        assert!(h264_starts(&[0x67, 1, 2]));
        assert!(!h264_starts(&[0x41, 1, 2]));
        assert!(h264_starts(&[0x78, 0, 2, 0x67, 1, 0, 1, 0x68]));
        assert!(h264_starts(&[0x7C, 0x85, 1]));
        assert!(!h264_starts(&[0x7C, 0x05, 1]));
        assert!(!h264_starts(&[0x78, 0xFF, 0xFF, 0x41]));
        assert!(vp9_starts(&[0x88, 0x80, 0x01]));
        assert!(!vp9_starts(&[0xC8, 0x80, 0x01]));
        assert!(!vp9_starts(&[0xA8, 0x80, 0x01, 0x02]));
        assert!(av1_starts(&[0x18]) && !av1_starts(&[0x10]));
        assert!(!starts(CodecName::Opus, &[], None));
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
}
