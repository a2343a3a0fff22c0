//! RTCP read and written without copying or allocating: compound packets (RFC 3550 section 6) and reduced-size ones
//! (RFC 5506) with reports, SDES and BYE, and the feedback that WebRTC uses: generic NACK and PLI (RFC 4585), FIR (RFC
//! 5104), REMB (draft-alvestrand-rmcat-remb-03) and transport-wide feedback
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01). It says what a packet contains; what follows from it
//! (statistics, retransmission, congestion control) is the SFU's business.

mod cursor;
mod feedback;
mod report;
mod source;
mod transport_feedback;
mod writer;

pub use feedback::{Fir, FirEntry, Nack, Remb};
pub use report::{ReceiverReport, ReceptionReport, SenderInfo, SenderReport};
pub use source::{Bye, CNAME, Sdes, SdesItem};
pub use transport_feedback::{PacketStatus, TICKS_PER_REFERENCE, TransportFeedback};
pub use writer::{RtcpWriter, TransportFeedbackFields};

use cursor::Cursor;

/// The header that every packet of a compound has, in bytes.
const HEADER_LEN: usize = 4;
const VERSION: u8 = 2;
const PADDING_BIT: u8 = 0x20;
/// The most report blocks, chunks or sources a packet counts in its five bits.
const MAX_COUNT: usize = 31;

// Packet types (RFC 3550, section 12.1; RFC 4585, section 6.1).
const SR: u8 = 200;
const RR: u8 = 201;
const SDES: u8 = 202;
const BYE: u8 = 203;
const RTPFB: u8 = 205;
const PSFB: u8 = 206;

// Formats of RTPFB and PSFB.
const FORMAT_NACK: u8 = 1;
const FORMAT_TRANSPORT: u8 = 15;
const FORMAT_PLI: u8 = 1;
const FORMAT_FIR: u8 = 4;
const FORMAT_APPLICATION: u8 = 15;

/// Why bytes are not RTCP, or why a packet cannot be written. Offsets are from the start of the compound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RtcpError {
    /// The compound ends inside a packet, or a packet ends inside a part that it announced.
    #[error("{part} at byte {offset} needs {needed} bytes, but there are {available}")]
    Truncated {
        /// Which part.
        part: &'static str,
        /// Where it begins, in bytes.
        offset: usize,
        /// How many bytes it must have.
        needed: usize,
        /// How many there are.
        available: usize,
    },
    /// A header announces another version.
    #[error("version {found} in the top bits of byte {offset}, expected 2")]
    Version {
        /// The version found, 0 to 3.
        found: u8,
        /// Where the header is, in bytes.
        offset: usize,
    },
    /// The padding bit is set, but the last byte of the packet cannot be a padding length.
    #[error("padding length {found} at the end of the packet at byte {offset}, expected 1 to {available}")]
    Padding {
        /// The value of the last byte.
        found: u8,
        /// Where the packet begins, in bytes.
        offset: usize,
        /// How many bytes follow its header.
        available: usize,
    },
    /// A transport-wide feedback uses the status symbol that its draft reserves.
    #[error("reserved status symbol 3 in the chunk at byte {offset}, expected 0 to 2")]
    ReservedSymbol {
        /// Where the chunk is, in bytes.
        offset: usize,
    },
    /// More entries to write than the packet can count.
    #[error("{found} {what}, expected at most {limit}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many were given.
        found: usize,
        /// How many the packet can hold.
        limit: usize,
    },
    /// The buffer to write to ends too early.
    #[error("{needed} bytes to write, but the buffer has {available}")]
    BufferTooSmall {
        /// How many bytes must be there.
        needed: usize,
        /// How many bytes are there.
        available: usize,
    },
}

/// One packet of a compound. What it borrows was checked when it was parsed, so that reading on cannot fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RtcpPacket<'a> {
    /// A sender report (RFC 3550, section 6.4.1).
    SenderReport(SenderReport<'a>),
    /// A receiver report (RFC 3550, section 6.4.2).
    ReceiverReport(ReceiverReport<'a>),
    /// Source descriptions (RFC 3550, section 6.5).
    Sdes(Sdes<'a>),
    /// Sources that leave (RFC 3550, section 6.6).
    Bye(Bye<'a>),
    /// A generic NACK (RFC 4585, section 6.2.1).
    Nack(Nack<'a>),
    /// A picture loss indication (RFC 4585, section 6.3.1).
    Pli {
        /// Who asks.
        sender_ssrc: u32,
        /// Whose picture was lost.
        media_ssrc: u32,
    },
    /// A full intra request (RFC 5104, section 4.3.1).
    Fir(Fir<'a>),
    /// A receiver's estimated maximum bitrate (draft-alvestrand-rmcat-remb-03).
    Remb(Remb<'a>),
    /// Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01).
    TransportFeedback(TransportFeedback<'a>),
    /// A packet that is well-formed as far as its header says, of a type or format that this engine does not use.
    Other {
        /// The packet type, byte 1 of the header.
        packet_type: u8,
        /// The five bits that count, or name a format.
        count: u8,
    },
}

/// Walks the packets of a plain compound, which is exactly `packet` to its last byte. A packet whose body is malformed
/// is an error and the next one follows; a header that is malformed is an error and the end. Never panics, whatever the
/// bytes, and ends after at most one item per four bytes.
pub fn parse_compound(packet: &[u8]) -> impl Iterator<Item = Result<RtcpPacket<'_>, RtcpError>> {
    Compound { cursor: Cursor::new(packet) }
}

struct Compound<'a> {
    cursor: Cursor<'a>,
}

impl<'a> Iterator for Compound<'a> {
    type Item = Result<RtcpPacket<'a>, RtcpError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.cursor.is_empty() {
            return None;
        }
        match self.frame() {
            Ok((header, body)) => Some(parse_body(header, body)),
            Err(error) => {
                self.cursor = Cursor::new(&[]);
                Some(Err(error))
            }
        }
    }
}

impl<'a> Compound<'a> {
    /// Takes the next packet off: its header and its body without padding.
    fn frame(&mut self) -> Result<([u8; HEADER_LEN], Cursor<'a>), RtcpError> {
        let offset = self.cursor.offset();
        let header: [u8; HEADER_LEN] = self.cursor.take("an RTCP header")?;
        let version = header[0] >> 6;
        if version != VERSION {
            return Err(RtcpError::Version { found: version, offset });
        }
        let body_len = usize::from(u16::from_be_bytes([header[2], header[3]])) * 4;
        let mut body = self.cursor.split_off("the body of an RTCP packet", body_len)?;
        if header[0] & PADDING_BIT != 0 {
            body.strip_padding().map_err(|found| RtcpError::Padding { found, offset, available: body_len })?;
        }
        Ok((header, body))
    }
}

fn parse_body(header: [u8; HEADER_LEN], mut body: Cursor<'_>) -> Result<RtcpPacket<'_>, RtcpError> {
    let (count, packet_type) = (header[0] & 0x1F, header[1]);
    Ok(match (packet_type, count) {
        (SR, _) => RtcpPacket::SenderReport(SenderReport::parse(count, body)?),
        (RR, _) => RtcpPacket::ReceiverReport(ReceiverReport::parse(count, body)?),
        (SDES, _) => RtcpPacket::Sdes(Sdes::parse(count, body)?),
        (BYE, _) => RtcpPacket::Bye(Bye::parse(count, body)?),
        (RTPFB, FORMAT_NACK) => RtcpPacket::Nack(Nack::parse(body)?),
        (RTPFB, FORMAT_TRANSPORT) => RtcpPacket::TransportFeedback(TransportFeedback::parse(body)?),
        (PSFB, FORMAT_PLI) => {
            RtcpPacket::Pli { sender_ssrc: body.u32("the sender's SSRC")?, media_ssrc: body.u32("the media SSRC")? }
        }
        (PSFB, FORMAT_FIR) => RtcpPacket::Fir(Fir::parse(body)?),
        (PSFB, FORMAT_APPLICATION) => {
            Remb::parse(body)?.map_or(RtcpPacket::Other { packet_type, count }, RtcpPacket::Remb)
        }
        _ => RtcpPacket::Other { packet_type, count },
    })
}
