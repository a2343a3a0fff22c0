//! How large the picture is that a keyframe begins, by which the choice between simulcast layers goes: read from VP8's and VP9's frame
//! headers (RFC 6386, section 9.1; VP9 bitstream specification, section 6.2) or VP9's scalability structure, H.264's sequence parameter set (ITU-T
//! H.264, 7.3.2.1.1) and AV1's sequence header OBU (AV1 bitstream specification, section 5.5). Nothing else of the bitstream is read, and what does not
//! parse has no size.

use ringback_transport::sdp::CodecName;

use crate::forward::Descriptor;
use crate::forward::codec::h264_parameter_set;
use crate::vp8;

/// Width and height in pixels of what begins with this payload, if it says so.
pub(crate) fn of(codec: CodecName, payload: &[u8], descriptor: &Descriptor) -> Option<(u16, u16)> {
    let (width, height) = match (codec, descriptor) {
        (CodecName::Vp8, _) => return vp8::dimensions(payload),
        (CodecName::Vp9, Descriptor::Vp9(vp9)) => match vp9.size {
            Some(size) => return Some(size),
            None => vp9_header(payload.get(vp9.len..)?)?,
        },
        (CodecName::H264, _) => h264_sequence(h264_parameter_set(payload)?)?,
        (CodecName::Av1, _) => av1_sequence(av1_sequence_header(payload)?)?,
        _ => return None,
    };
    Some((u16::try_from(width).ok()?, u16::try_from(height).ok()?))
}

/// Bits, most significant first; `None` beyond the end.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Whether a byte of 3 behind two zeros is no data (H.264's emulation prevention).
    escaped: bool,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, escaped: false }
    }

    fn bit(&mut self) -> Option<bool> {
        if self.escaped && self.at.is_multiple_of(8) {
            let byte = self.at / 8;
            let escape = byte >= 2 && self.bytes.get(byte - 2..=byte) == Some(&[0, 0, 3]);
            self.at += if escape { 8 } else { 0 };
        }
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1 != 0;
        self.at += 1;
        Some(bit)
    }

    /// A number of up to 32 bits.
    fn number(&mut self, bits: u32) -> Option<u32> {
        (0..bits).try_fold(0_u32, |number, _| Some(number << 1 | u32::from(self.bit()?)))
    }

    /// An Exp-Golomb number: H.264's `ue(v)`, AV1's `uvlc()`.
    fn golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.bit()? {
            zeros += 1;
        }
        if zeros > 31 {
            return None;
        }
        Some((1_u32 << zeros) - 1 + self.number(zeros)?)
    }
}

/// VP9's uncompressed header of a keyframe.
fn vp9_header(frame: &[u8]) -> Option<(u32, u32)> {
    const SYNC_CODE: u32 = 0x49_8342;
    const RGB: u32 = 7;
    let mut bits = Bits::new(frame);
    let marker = bits.number(2)?;
    let profile = bits.number(1)? | bits.number(1)? << 1;
    if marker != 2 || (profile == 3 && bits.bit()?) {
        return None;
    }
    let (shows_existing, is_inter) = (bits.bit()?, bits.bit()?);
    if shows_existing || is_inter {
        return None;
    }
    // Shown, resilient to errors.
    bits.number(2)?;
    if bits.number(24)? != SYNC_CODE {
        return None;
    }
    if profile >= 2 {
        bits.bit()?;
    }
    let full_chroma = profile & 1 != 0;
    let described = match (bits.number(3)?, full_chroma) {
        (RGB, true) => 1,
        (RGB, false) => 0,
        (_, true) => 4,
        (_, false) => 1,
    };
    bits.number(described)?;
    Some((bits.number(16)? + 1, bits.number(16)? + 1))
}

/// H.264's sequence parameter set, behind its NAL unit header.
fn h264_sequence(unit: &[u8]) -> Option<(u32, u32)> {
    /// Profiles whose set describes the chroma format.
    const HIGH: [u32; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];
    let mut bits = Bits { escaped: true, ..Bits::new(unit) };
    let profile = bits.number(8)?;
    bits.number(16)?;
    bits.golomb()?;
    let mut chroma = 1;
    if HIGH.contains(&profile) {
        chroma = bits.golomb()?;
        if chroma == 3 {
            bits.bit()?;
        }
        bits.golomb()?;
        bits.golomb()?;
        bits.bit()?;
        if bits.bit()? {
            for list in 0..if chroma == 3 { 12 } else { 8 } {
                if bits.bit()? {
                    skip_scaling_list(&mut bits, if list < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    bits.golomb()?;
    match bits.golomb()? {
        0 => _ = bits.golomb()?,
        1 => {
            bits.bit()?;
            bits.golomb()?;
            bits.golomb()?;
            for _ in 0..bits.golomb()?.min(255) {
                bits.golomb()?;
            }
        }
        _ => {}
    }
    bits.golomb()?;
    bits.bit()?;
    let across = bits.golomb()?.checked_add(1)?.checked_mul(16)?;
    let down = bits.golomb()?.checked_add(1)?.checked_mul(16)?;
    let frames_only = bits.bit()?;
    if !frames_only {
        bits.bit()?;
    }
    let down = down.checked_mul(if frames_only { 1 } else { 2 })?;
    bits.bit()?;
    let mut cropped = [0; 4];
    if bits.bit()? {
        for side in &mut cropped {
            *side = bits.golomb()?;
        }
    }
    // Cropped are samples of chroma, of which there are half as many across (4:2:0, 4:2:2) and down (4:2:0).
    let (unit_across, unit_down) = (if matches!(chroma, 1 | 2) { 2 } else { 1 }, if chroma == 1 { 2 } else { 1 });
    let [left, right, top, bottom] = cropped;
    let unit_down = unit_down * if frames_only { 1 } else { 2 };
    let width = across.checked_sub(left.checked_add(right)?.checked_mul(unit_across)?)?;
    let height = down.checked_sub(top.checked_add(bottom)?.checked_mul(unit_down)?)?;
    Some((width, height))
}

fn skip_scaling_list(bits: &mut Bits<'_>, size: usize) -> Option<()> {
    let (mut last, mut next) = (8_i64, 8_i64);
    for _ in 0..size {
        if next != 0 {
            let code = i64::from(bits.golomb()?);
            let delta = if code % 2 == 0 { -(code / 2) } else { (code + 1) / 2 };
            next = (last + delta).rem_euclid(256);
        }
        last = if next == 0 { last } else { next };
    }
    Some(())
}

/// The sequence header OBU's own bytes in a payload that begins with one.
fn av1_sequence_header(payload: &[u8]) -> Option<&[u8]> {
    const SEQUENCE_HEADER: u8 = 1;
    const TEMPORAL_DELIMITER: u8 = 2;
    let (&aggregation, mut rest) = payload.split_first()?;
    let count = aggregation >> 4 & 0x03;
    for element in 1_u8.. {
        let obu = match count {
            // The last of a known number has no length.
            1.. if element == count => std::mem::take(&mut rest),
            1.. if element > count => return None,
            _ => {
                let len = leb128(&mut rest)?;
                let (obu, after) = rest.split_at_checked(len)?;
                rest = after;
                obu
            }
        };
        let (&header, mut body) = obu.split_first()?;
        if header & 0x04 != 0 {
            body = body.get(1..)?;
        }
        if header & 0x02 != 0 {
            leb128(&mut body)?;
        }
        match header >> 3 & 0x0F {
            SEQUENCE_HEADER => return Some(body),
            TEMPORAL_DELIMITER => {}
            _ => return None,
        }
    }
    None
}

/// A length in AV1's variable-length form, taken off the front; of lengths that no packet has, `None`.
fn leb128(bytes: &mut &[u8]) -> Option<usize> {
    let mut value = 0;
    for place in 0..3 {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= usize::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// AV1's sequence header.
fn av1_sequence(header: &[u8]) -> Option<(u32, u32)> {
    let mut bits = Bits::new(header);
    // Profile, still picture.
    bits.number(4)?;
    if bits.bit()? {
        bits.number(5)?;
    } else {
        let mut delay_bits = None;
        if bits.bit()? {
            bits.number(32)?;
            bits.number(32)?;
            if bits.bit()? {
                bits.golomb()?;
            }
            if bits.bit()? {
                delay_bits = Some(bits.number(5)? + 1);
                bits.number(32)?;
                bits.number(10)?;
            }
        }
        let displays_late = bits.bit()?;
        for _ in 0..=bits.number(5)? {
            bits.number(12)?;
            if bits.number(5)? > 7 {
                bits.bit()?;
            }
            if let Some(delay) = delay_bits
                && bits.bit()?
            {
                bits.number(delay)?;
                bits.number(delay)?;
                bits.bit()?;
            }
            if displays_late && bits.bit()? {
                bits.number(4)?;
            }
        }
    }
    let (across, down) = (bits.number(4)? + 1, bits.number(4)? + 1);
    Some((bits.number(across)? + 1, bits.number(down)? + 1))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(|digit| *digit != b' ').collect();
        let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
    }

    fn size(codec: CodecName, payload: &[u8]) -> Option<(u16, u16)> {
        of(codec, payload, &Descriptor::read(codec, payload, &[])?)
    }

    /// What x264, libvpx and libaom wrote at the head of a keyframe, in the packets it would travel in.
    const HEADS: [(CodecName, &str, (u16, u16)); 9] = [
        (CodecName::H264, "6742c01f d90050 05bb0110 00000300 10000003 03c0f183 2480", (1280, 720)),
        (
            CodecName::H264,
            "78 0002 09f0 001b 67640028 acd94078 0227e5c0 44000003 00040000 0300f03c 60c658 0002 68eb",
            (1920, 1080),
        ),
        (CodecName::H264, "67640028 acd94078 044fde02 20000003 00200000 0783e2c5 b2c0", (1920, 1080)),
        (CodecName::H264, "67f4001e 919b2814 0f6c0440 00000300 4000000f 07c50a65 80", (640, 480)),
        (CodecName::Vp9, "8c 01 82498342 0027f016 760a3824", (640, 360)),
        (CodecName::Vp9, "8c 01 a2498342 e027f016 76063824", (640, 360)),
        (CodecName::Vp9, "8c 01 b124c1a1 00013f80 b3b061c1", (640, 360)),
        (CodecName::Av1, "18 08 00000024 c6abdf36 be4010", (854, 480)),
        (CodecName::Av1, "08 02 1200 0d 0a0b 00000024 c6abdf36 be4010", (854, 480)),
    ];

    #[test]
    fn the_size_of_a_keyframe_is_read_from_its_head() {
        for (codec, head, expected) in HEADS {
            assert_eq!(size(codec, &bytes(head)), Some(expected), "{codec:?} {head}");
        }
    }

    #[test]
    fn no_truncation_and_no_garbage_is_more_than_without_a_size() {
        for (codec, head, expected) in HEADS {
            let head = bytes(head);
            for len in 0..head.len() {
                let truncated = size(codec, &head[..len]);
                assert!(truncated.is_none_or(|size| size == expected), "{codec:?}, {len} bytes");
            }
            for at in 0..head.len() * 8 {
                let mut flipped = head.clone();
                flipped[at / 8] ^= 0x80 >> (at % 8);
                let _ = size(codec, &flipped);
            }
            for byte in 0..=u8::MAX {
                let mut filled = vec![byte; 40];
                filled[..2].copy_from_slice(&head[..2]);
                let _ = size(codec, &filled);
            }
        }
    }
}
