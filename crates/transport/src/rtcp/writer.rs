//! Writes RTCP packets one behind the other into a buffer. A compound for a peer without reduced-size RTCP (RFC 5506)
//! begins with a report and contains an SDES with a CNAME (RFC 3550, section 6.1); the writer puts down what it is told
//! in the order it is told.

use super::feedback::{FIR_ENTRY_LEN, FirEntry, REMB_IDENTIFIER, remb_bitrate};
use super::report::{BLOCK_LEN, ReceptionReport, SenderInfo};
use super::source::CNAME;
use super::transport_feedback::{MIN_SYMBOLS_PER_CHUNK, Statuses, Symbol, next_chunk};
use super::{
    BYE, FORMAT_APPLICATION, FORMAT_FIR, FORMAT_NACK, FORMAT_PLI, FORMAT_TRANSPORT, HEADER_LEN, MAX_COUNT, PSFB, RR,
    RTPFB, RtcpError, SDES, SR, VERSION,
};

/// What of a transport-wide feedback does not follow from the arrivals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransportFeedbackFields {
    /// Who received.
    pub sender_ssrc: u32,
    /// A stream of the transport.
    pub media_ssrc: u32,
    /// The transport-wide sequence number of the first packet reported on.
    pub base_sequence: u16,
    /// Counts the feedback packets.
    pub feedback_count: u8,
}

/// Writes packets into a buffer it is given. A packet that does not fit leaves the ones before it as they are.
///
/// ```
/// use ringback_transport::rtcp::{RtcpWriter, SenderInfo};
/// let mut buf = [0; 200];
/// let mut writer = RtcpWriter::new(&mut buf);
/// writer.sender_report(1, &SenderInfo::default(), &[])?.cname(1, "cname")?.pli(1, 2)?;
/// let len = writer.finish();
/// assert_eq!(len, 28 + 16 + 12);
/// # Ok::<(), ringback_transport::RtcpError>(())
/// ```
#[derive(Debug)]
pub struct RtcpWriter<'a> {
    buf: &'a mut [u8],
    len: usize,
}

impl<'a> RtcpWriter<'a> {
    /// Writes to the beginning of `buf`.
    pub const fn new(buf: &'a mut [u8]) -> Self {
        Self { buf, len: 0 }
    }

    /// The length of what was written, in bytes.
    #[must_use]
    pub const fn finish(self) -> usize {
        self.len
    }

    /// The length of what has been written so far, in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing has been written yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A sender report of `ssrc` with up to 31 report blocks.
    ///
    /// # Errors
    /// When there are more report blocks, or the packet does not fit the buffer.
    pub fn sender_report(
        &mut self,
        ssrc: u32,
        info: &SenderInfo,
        reports: &[ReceptionReport],
    ) -> Result<&mut Self, RtcpError> {
        let mut body = self.packet(SR, count("report blocks", reports.len())?, 24 + reports.len() * BLOCK_LEN)?;
        body.put(ssrc.to_be_bytes());
        body.put(info.ntp_time.to_be_bytes());
        body.put(info.rtp_time.to_be_bytes());
        body.put(info.packet_count.to_be_bytes());
        body.put(info.octet_count.to_be_bytes());
        body.put_reports(reports);
        Ok(self)
    }

    /// A receiver report of `ssrc` with up to 31 report blocks.
    ///
    /// # Errors
    /// When there are more report blocks, or the packet does not fit the buffer.
    pub fn receiver_report(&mut self, ssrc: u32, reports: &[ReceptionReport]) -> Result<&mut Self, RtcpError> {
        let mut body = self.packet(RR, count("report blocks", reports.len())?, 4 + reports.len() * BLOCK_LEN)?;
        body.put(ssrc.to_be_bytes());
        body.put_reports(reports);
        Ok(self)
    }

    /// A source description that gives `ssrc` a canonical name of up to 255 bytes.
    ///
    /// # Errors
    /// When the name is longer, or the packet does not fit the buffer.
    pub fn cname(&mut self, ssrc: u32, cname: &str) -> Result<&mut Self, RtcpError> {
        let len = byte("bytes of CNAME", cname.len())?;
        // The item list ends with at least one zero byte, at the next word.
        let mut body = self.packet(SDES, 1, (4 + 2 + cname.len() + 1).next_multiple_of(4))?;
        body.put(ssrc.to_be_bytes());
        body.put([CNAME, len]);
        body.put_slice(cname.as_bytes());
        body.fill_zeros();
        Ok(self)
    }

    /// A farewell of up to 31 sources, without a reason.
    ///
    /// # Errors
    /// When there are more sources, or the packet does not fit the buffer.
    pub fn bye(&mut self, ssrcs: &[u32]) -> Result<&mut Self, RtcpError> {
        let mut body = self.packet(BYE, count("sources that leave", ssrcs.len())?, ssrcs.len() * 4)?;
        body.put_words(ssrcs);
        Ok(self)
    }

    /// A generic NACK for these sequence numbers of `media_ssrc`. Numbers that follow one another within 16, as an
    /// ascending list has them, share an entry. Without any, nothing is written.
    ///
    /// # Errors
    /// When the packet does not fit the buffer.
    pub fn nack(
        &mut self,
        sender_ssrc: u32,
        media_ssrc: u32,
        sequences: impl IntoIterator<Item = u16, IntoIter: Clone>,
    ) -> Result<&mut Self, RtcpError> {
        let pairs = NackPairs { sequences: sequences.into_iter().peekable() };
        let pair_count = pairs.clone().count();
        if pair_count == 0 {
            return Ok(self);
        }
        let mut body = self.packet(RTPFB, FORMAT_NACK, 8 + pair_count * 4)?;
        body.put(sender_ssrc.to_be_bytes());
        body.put(media_ssrc.to_be_bytes());
        for (first, following) in pairs {
            body.put(first.to_be_bytes());
            body.put(following.to_be_bytes());
        }
        Ok(self)
    }

    /// A picture loss indication.
    ///
    /// # Errors
    /// When the packet does not fit the buffer.
    pub fn pli(&mut self, sender_ssrc: u32, media_ssrc: u32) -> Result<&mut Self, RtcpError> {
        let mut body = self.packet(PSFB, FORMAT_PLI, 8)?;
        body.put(sender_ssrc.to_be_bytes());
        body.put(media_ssrc.to_be_bytes());
        Ok(self)
    }

    /// A full intra request to these streams.
    ///
    /// # Errors
    /// When the packet does not fit the buffer.
    pub fn fir(&mut self, sender_ssrc: u32, entries: &[FirEntry]) -> Result<&mut Self, RtcpError> {
        let mut body = self.packet(PSFB, FORMAT_FIR, 8 + entries.len() * FIR_ENTRY_LEN)?;
        body.put(sender_ssrc.to_be_bytes());
        body.put([0; 4]);
        for entry in entries {
            body.put(entry.ssrc.to_be_bytes());
            body.put([entry.sequence, 0, 0, 0]);
        }
        Ok(self)
    }

    /// A receiver's estimated maximum bitrate, in bit/s, for up to 255 streams. It keeps 18 significant bits, rounded
    /// down.
    ///
    /// # Errors
    /// When there are more streams, or the packet does not fit the buffer.
    pub fn remb(&mut self, sender_ssrc: u32, bitrate: u64, ssrcs: &[u32]) -> Result<&mut Self, RtcpError> {
        let ssrc_count = byte("SSRCs of a REMB", ssrcs.len())?;
        let mut body = self.packet(PSFB, FORMAT_APPLICATION, 16 + ssrcs.len() * 4)?;
        body.put(sender_ssrc.to_be_bytes());
        body.put([0; 4]);
        body.put(REMB_IDENTIFIER);
        body.put([ssrc_count]);
        body.put(remb_bitrate(bitrate));
        body.put_words(ssrcs);
        Ok(self)
    }

    /// A transport-wide feedback about the packets from `base_sequence` on: for each the arrival in ticks of 250 µs on
    /// one monotonic clock, or `None` if it has not arrived. Returns how many packets it covers, which is fewer than
    /// there are when the buffer is full, when two arrivals are more than 8.19 s apart, and after 65,535. The rest
    /// belongs in another feedback; without any packet to cover, nothing is written.
    ///
    /// # Errors
    /// When the buffer has no room for feedback about a single packet.
    pub fn transport_feedback<I>(&mut self, fields: &TransportFeedbackFields, arrivals: I) -> Result<usize, RtcpError>
    where
        I: IntoIterator<Item = Option<i64>, IntoIter: Clone>,
    {
        const FIXED: usize = 16;
        let (statuses, reference_time) = Statuses::new(arrivals.into_iter());
        let room = (self.buf.len() - self.len).saturating_sub(HEADER_LEN + FIXED);
        let (mut covered, mut delta_len) = (0usize, 0);
        for (symbol, _) in statuses.clone().take(usize::from(u16::MAX)) {
            let most = (covered + 1).div_ceil(MIN_SYMBOLS_PER_CHUNK) * 2 + delta_len + symbol.delta_len();
            if most.next_multiple_of(4) > room {
                if covered == 0 {
                    return Err(self.too_small(HEADER_LEN + FIXED + most.next_multiple_of(4)));
                }
                break;
            }
            covered += 1;
            delta_len += symbol.delta_len();
        }
        let (Ok(status_count), true) = (u16::try_from(covered), covered > 0) else {
            return Ok(0);
        };
        let symbols = statuses.clone().map(|(symbol, _)| symbol).take(covered);
        let chunks = || {
            let mut left = symbols.clone();
            std::iter::from_fn(move || {
                let (chunk, len) = next_chunk(left.clone())?;
                left.nth(len - 1);
                Some(chunk)
            })
        };
        let body_len = (FIXED + chunks().count() * 2 + delta_len).next_multiple_of(4);
        let mut body = self.packet(RTPFB, FORMAT_TRANSPORT, body_len)?;
        body.put(fields.sender_ssrc.to_be_bytes());
        body.put(fields.media_ssrc.to_be_bytes());
        body.put(fields.base_sequence.to_be_bytes());
        body.put(status_count.to_be_bytes());
        // The clock wraps with the 24 bits of the field.
        let [.., a, b, c] = reference_time.to_be_bytes();
        body.put([a, b, c, fields.feedback_count]);
        for chunk in chunks() {
            body.put(chunk.to_be_bytes());
        }
        for (symbol, delta) in statuses.take(covered) {
            match symbol {
                Symbol::Missing => {}
                Symbol::SmallDelta => body.put([delta as u8]),
                Symbol::LargeDelta => body.put(delta.to_be_bytes()),
            }
        }
        body.fill_zeros();
        Ok(covered)
    }

    /// Writes a header and claims the bytes of its body, a multiple of four, all of which the caller fills.
    fn packet(&mut self, packet_type: u8, count: u8, body_len: usize) -> Result<Body<'_>, RtcpError> {
        let needed = HEADER_LEN + body_len;
        let Ok(words) = u16::try_from(body_len / 4) else {
            return Err(RtcpError::TooMany { what: "bytes in one packet", found: body_len, limit: 4 * 0xFFFF });
        };
        let too_small = self.too_small(needed);
        let Some(packet) = self.buf.get_mut(self.len..self.len + needed) else {
            return Err(too_small);
        };
        self.len += needed;
        let (header, rest) = packet.split_at_mut(HEADER_LEN);
        header[..2].copy_from_slice(&[VERSION << 6 | count, packet_type]);
        header[2..].copy_from_slice(&words.to_be_bytes());
        Ok(Body { rest })
    }

    const fn too_small(&self, needed: usize) -> RtcpError {
        RtcpError::BufferTooSmall { needed, available: self.buf.len() - self.len }
    }
}

fn count(what: &'static str, found: usize) -> Result<u8, RtcpError> {
    match u8::try_from(found) {
        Ok(count) if found <= MAX_COUNT => Ok(count),
        _ => Err(RtcpError::TooMany { what, found, limit: MAX_COUNT }),
    }
}

fn byte(what: &'static str, found: usize) -> Result<u8, RtcpError> {
    u8::try_from(found).map_err(|_| RtcpError::TooMany { what, found, limit: 0xFF })
}

/// The bytes of a packet's body that are still to be written.
struct Body<'a> {
    rest: &'a mut [u8],
}

impl Body<'_> {
    fn put_slice(&mut self, bytes: &[u8]) {
        let (front, rest) = std::mem::take(&mut self.rest).split_at_mut(bytes.len());
        front.copy_from_slice(bytes);
        self.rest = rest;
    }

    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        self.put_slice(&bytes);
    }

    fn put_words(&mut self, words: &[u32]) {
        for word in words {
            self.put(word.to_be_bytes());
        }
    }

    fn put_reports(&mut self, reports: &[ReceptionReport]) {
        let mut block = [0; BLOCK_LEN];
        for report in reports {
            report.write(&mut block);
            self.put(block);
        }
    }

    fn fill_zeros(&mut self) {
        self.rest.fill(0);
    }
}

/// Sequence numbers as pairs of a first one and a bitmap of the 16 that follow it.
#[derive(Clone)]
struct NackPairs<I: Iterator<Item = u16>> {
    sequences: std::iter::Peekable<I>,
}

impl<I: Iterator<Item = u16>> Iterator for NackPairs<I> {
    type Item = (u16, u16);

    fn next(&mut self) -> Option<Self::Item> {
        let first = self.sequences.next()?;
        let mut following = 0;
        while let Some(sequence) = self.sequences.next_if(|next| next.wrapping_sub(first) <= 16) {
            // A repetition of the first one needs no bit.
            if let Some(bit) = sequence.wrapping_sub(first).checked_sub(1) {
                following |= 1 << bit;
            }
        }
        Some((first, following))
    }
}
