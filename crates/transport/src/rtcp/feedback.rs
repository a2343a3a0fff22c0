//! Feedback about single streams: generic NACK (RFC 4585, section 6.2.1), FIR (RFC 5104, section 4.3.1) and REMB
//! (draft-alvestrand-rmcat-remb-03, section 2.2).

use super::RtcpError;
use super::cursor::Cursor;

/// What tells REMB from other application-layer feedback.
pub(super) const REMB_IDENTIFIER: [u8; 4] = *b"REMB";
/// The length of a FIR entry, in bytes.
pub(super) const FIR_ENTRY_LEN: usize = 8;

/// A generic NACK: packets of one source that did not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nack<'a> {
    /// Who misses them.
    pub sender_ssrc: u32,
    /// Whose they are.
    pub media_ssrc: u32,
    pairs: &'a [u8],
}

impl<'a> Nack<'a> {
    pub(super) fn parse(mut body: Cursor<'a>) -> Result<Self, RtcpError> {
        Ok(Self {
            sender_ssrc: body.u32("the sender's SSRC")?,
            media_ssrc: body.u32("the media SSRC")?,
            pairs: body.rest(),
        })
    }

    /// The sequence numbers that are missing, in the order of the packet: up to 17 for every four bytes of it, repeated
    /// where the packet repeats them.
    pub fn sequences(&self) -> impl Iterator<Item = u16> + use<'a> {
        self.pairs.as_chunks().0.iter().flat_map(|&[a, b, c, d]| {
            let first = u16::from_be_bytes([a, b]);
            let following = u16::from_be_bytes([c, d]);
            let bits = (0..16u16).filter(move |bit| following >> bit & 1 == 1);
            std::iter::once(first).chain(bits.map(move |bit| first.wrapping_add(bit + 1)))
        })
    }
}

/// One stream asked for a keyframe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FirEntry {
    /// The stream.
    pub ssrc: u32,
    /// Counts the requests to this stream; a repetition has the same number.
    pub sequence: u8,
}

/// A full intra request: streams that are to send a keyframe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fir<'a> {
    /// Who asks.
    pub sender_ssrc: u32,
    entries: &'a [u8],
}

impl<'a> Fir<'a> {
    pub(super) fn parse(mut body: Cursor<'a>) -> Result<Self, RtcpError> {
        let sender_ssrc = body.u32("the sender's SSRC")?;
        body.u32("the unused media SSRC")?;
        Ok(Self { sender_ssrc, entries: body.rest() })
    }

    /// The streams asked.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = FirEntry> + use<'a> {
        let (entries, _) = self.entries.as_chunks::<FIR_ENTRY_LEN>();
        entries.iter().map(|&[a, b, c, d, sequence, ..]| FirEntry { ssrc: u32::from_be_bytes([a, b, c, d]), sequence })
    }
}

/// A receiver's estimate of the bitrate at which it can receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remb<'a> {
    /// Who estimates.
    pub sender_ssrc: u32,
    /// The estimate, in bit/s; the largest number where it is larger.
    pub bitrate: u64,
    ssrcs: &'a [u8],
}

impl<'a> Remb<'a> {
    /// `None`: application-layer feedback of another kind.
    pub(super) fn parse(mut body: Cursor<'a>) -> Result<Option<Self>, RtcpError> {
        let sender_ssrc = body.u32("the sender's SSRC")?;
        body.u32("the unused media SSRC")?;
        if body.rest().first_chunk() != Some(&REMB_IDENTIFIER) {
            return Ok(None);
        }
        body.u32("the identifier")?;
        let [count, a, b, c] = body.take("the bitrate")?;
        let mantissa = u128::from(u32::from_be_bytes([0, a & 3, b, c]));
        let ssrcs = body.bytes("the SSRCs of a REMB", usize::from(count) * 4)?;
        let bitrate = u64::try_from(mantissa << (a >> 2)).unwrap_or(u64::MAX);
        Ok(Some(Self { sender_ssrc, bitrate, ssrcs }))
    }

    /// The streams that share the bitrate.
    pub fn ssrcs(&self) -> impl ExactSizeIterator<Item = u32> + use<'a> {
        self.ssrcs.as_chunks().0.iter().map(|ssrc| u32::from_be_bytes(*ssrc))
    }
}

/// A bitrate as REMB writes it: six bits of exponent and 18 of mantissa, rounded down.
pub(super) const fn remb_bitrate(bitrate: u64) -> [u8; 3] {
    let bits = u64::BITS - bitrate.leading_zeros();
    let exponent = bits.saturating_sub(18);
    let [.., a, b, c] = ((exponent as u64) << 18 | bitrate >> exponent).to_be_bytes();
    [a, b, c]
}
