//! Sender and receiver reports (RFC 3550, sections 6.4.1 and 6.4.2).

use super::RtcpError;
use super::cursor::Cursor;

/// The length of a report block, in bytes.
pub(super) const BLOCK_LEN: usize = 24;

/// What a sender report says about the sender's own stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SenderInfo {
    /// When the report was sent: NTP seconds in the upper, fractions of 2⁻³² s in the lower 32 bits.
    pub ntp_time: u64,
    /// The same moment on the stream's RTP clock.
    pub rtp_time: u32,
    /// Packets sent so far, modulo 2³².
    pub packet_count: u32,
    /// Payload bytes sent so far, modulo 2³².
    pub octet_count: u32,
}

impl SenderInfo {
    /// The middle 32 bits of the NTP time: what a receiver returns as `last_sender_report`.
    #[must_use]
    pub const fn compact_ntp_time(&self) -> u32 {
        (self.ntp_time >> 16) as u32
    }
}

/// A report block: how one source is received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReceptionReport {
    /// The source reported on.
    pub ssrc: u32,
    /// The share of packets lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the beginning, negative where duplicates outweigh losses. 24 bits on the wire: a value
    /// outside is written as the nearest that fits.
    pub cumulative_lost: i32,
    /// The highest sequence number received, with the count of its cycles in the upper 16 bits.
    pub highest_sequence: u32,
    /// The interarrival jitter, in timestamp units.
    pub jitter: u32,
    /// The middle 32 bits of the NTP time of the last sender report received; 0 if there was none.
    pub last_sender_report: u32,
    /// The delay since that report arrived, in 1/65,536 s.
    pub delay_since_last_sender_report: u32,
}

impl ReceptionReport {
    fn read(block: &[u8; BLOCK_LEN]) -> Self {
        let word = |n: usize| u32::from_be_bytes([block[n], block[n + 1], block[n + 2], block[n + 3]]);
        Self {
            ssrc: word(0),
            fraction_lost: block[4],
            // Shifted up and down again to extend the sign of 24 bits.
            cumulative_lost: (word(4) << 8).cast_signed() >> 8,
            highest_sequence: word(8),
            jitter: word(12),
            last_sender_report: word(16),
            delay_since_last_sender_report: word(20),
        }
    }

    pub(super) fn write(&self, block: &mut [u8; BLOCK_LEN]) {
        const LARGEST: i32 = (1 << 23) - 1;
        let lost = self.cumulative_lost.clamp(-LARGEST - 1, LARGEST).cast_unsigned() & 0x00FF_FFFF;
        let words = [
            self.ssrc,
            u32::from(self.fraction_lost) << 24 | lost,
            self.highest_sequence,
            self.jitter,
            self.last_sender_report,
            self.delay_since_last_sender_report,
        ];
        for (bytes, word) in block.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *bytes = word.to_be_bytes();
        }
    }
}

/// A sender report: what one source sent, and how it receives others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderReport<'a> {
    /// The source that reports.
    pub ssrc: u32,
    /// What it sent.
    pub info: SenderInfo,
    blocks: &'a [u8],
}

impl<'a> SenderReport<'a> {
    pub(super) fn parse(count: u8, mut body: Cursor<'a>) -> Result<Self, RtcpError> {
        Ok(Self {
            ssrc: body.u32("the sender's SSRC")?,
            info: SenderInfo {
                ntp_time: u64::from_be_bytes(body.take("the NTP timestamp")?),
                rtp_time: body.u32("the RTP timestamp")?,
                packet_count: body.u32("the packet count")?,
                octet_count: body.u32("the octet count")?,
            },
            blocks: body.bytes("the report blocks", usize::from(count) * BLOCK_LEN)?,
        })
    }

    /// The report blocks, in order.
    pub fn reports(&self) -> impl ExactSizeIterator<Item = ReceptionReport> + use<'a> {
        blocks(self.blocks)
    }
}

/// A receiver report: how one source, which may send nothing itself, receives others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiverReport<'a> {
    /// The source that reports.
    pub ssrc: u32,
    blocks: &'a [u8],
}

impl<'a> ReceiverReport<'a> {
    pub(super) fn parse(count: u8, mut body: Cursor<'a>) -> Result<Self, RtcpError> {
        Ok(Self {
            ssrc: body.u32("the sender's SSRC")?,
            blocks: body.bytes("the report blocks", usize::from(count) * BLOCK_LEN)?,
        })
    }

    /// The report blocks, in order.
    pub fn reports(&self) -> impl ExactSizeIterator<Item = ReceptionReport> + use<'a> {
        blocks(self.blocks)
    }
}

fn blocks(bytes: &[u8]) -> impl ExactSizeIterator<Item = ReceptionReport> + use<'_> {
    bytes.as_chunks().0.iter().map(ReceptionReport::read)
}
