//! The RTP header, read and written without copying or allocating: RFC 3550 section 5.1 with the header extensions of
//! RFC 8285 in both forms. It knows neither payload formats nor encryption; [`RtpHeader::parse_unpadded`] is what SRTP
//! uses on a packet whose padding is still ciphertext.

/// The length of the fixed header, in bytes (RFC 3550, section 5.1).
pub const FIXED_HEADER_LEN: usize = 12;
/// The version this module reads and writes, in the two top bits of byte 0.
const VERSION: u8 = 2;
const PADDING_BIT: u8 = 0x20;
const EXTENSION_BIT: u8 = 0x10;
/// "defined by profile" of the one-byte form (RFC 8285, section 4.2).
const ONE_BYTE_PROFILE: u16 = 0xBEDE;
/// "defined by profile" of the two-byte form without its four appbits (RFC 8285, section 4.3).
const TWO_BYTE_PROFILE: u16 = 0x1000;
/// The identifier that ends the one-byte form (RFC 8285, section 4.2).
const ONE_BYTE_STOP_ID: u8 = 15;
/// The longest value of the one-byte form, in bytes.
const ONE_BYTE_MAX_VALUE: usize = 16;

/// Why bytes are not RTP, or why a header cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RtpError {
    /// The packet ends inside a part whose length it announced.
    #[error("{part} at byte {offset} needs {needed} bytes, but the packet has {available} from there")]
    Truncated {
        /// Which part of the header.
        part: &'static str,
        /// Where it begins, in bytes from the start of the packet.
        offset: usize,
        /// How many bytes it must have.
        needed: usize,
        /// How many bytes there are.
        available: usize,
    },
    /// Byte 0 announces another version.
    #[error("version {found} in the top bits of byte 0, expected 2")]
    Version {
        /// The version found, 0 to 3.
        found: u8,
    },
    /// The padding bit is set, but the last byte cannot be a padding length.
    #[error("padding length {found} in the last byte, expected 1 to {available} (the bytes after the header)")]
    Padding {
        /// The value of the last byte; 0 when the packet has nothing after the header.
        found: u8,
        /// How many bytes follow the header.
        available: usize,
    },
    /// An extension element is longer than what is left of the extension.
    #[error(
        "extension element {id} at byte {offset} needs {needed} bytes, but the extension has {available} from there"
    )]
    ExtensionElement {
        /// The element's identifier.
        id: u8,
        /// Where the element begins, in bytes from the start of the packet.
        offset: usize,
        /// How many bytes it must have, with its own header.
        needed: usize,
        /// How many bytes are left.
        available: usize,
    },
    /// A payload type to write does not fit its seven bits.
    #[error("payload type {found}, expected 0 to 127")]
    PayloadType {
        /// The value given.
        found: u8,
    },
    /// An extension identifier to write is the one reserved for padding.
    #[error("extension identifier 0, expected 1 to 255")]
    ExtensionId,
    /// An extension value to write does not fit its length field.
    #[error("the value of extension {id} has {len} bytes, expected at most 255")]
    ExtensionValue {
        /// The extension's identifier.
        id: u8,
        /// The length of the value, in bytes.
        len: usize,
    },
    /// Padding to write is not between 1 and 255 bytes.
    #[error("padding of {requested} bytes, expected 1 to 255")]
    PaddingRequest {
        /// How many bytes were asked for.
        requested: usize,
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

/// How the elements of a header extension are laid out (RFC 8285).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum ExtensionForm {
    /// No extension, or one of another profile, whose elements are unknown.
    None,
    OneByte,
    TwoByte,
}

/// A parsed RTP header: plain values, with where the payload and the extension lie in the packet it was parsed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RtpHeader {
    /// The marker bit.
    pub marker: bool,
    /// The payload type, 0 to 127.
    pub payload_type: u8,
    /// The sequence number.
    pub sequence: u16,
    /// The timestamp, in units of the payload's clock rate.
    pub timestamp: u32,
    /// The synchronisation source.
    pub ssrc: u32,
    /// Where the payload begins: the length of the header with CSRCs and extension, in bytes.
    pub header_len: usize,
    /// The length of the payload without padding, in bytes. After [`parse_unpadded`](Self::parse_unpadded): everything
    /// after the header.
    pub payload_len: usize,
    /// The length of the padding, in bytes; 0 without padding. After [`parse_unpadded`](Self::parse_unpadded): always
    /// 0.
    pub padding_len: u8,
    extension_offset: usize,
    extension_len: usize,
    extension_form: ExtensionForm,
}

impl RtpHeader {
    /// Reads the header of a plain packet, padding included, and checks every extension element. The packet is exactly
    /// `packet`, to its last byte.
    ///
    /// # Errors
    /// Says which part is malformed, where it is and what was expected. Never panics, whatever the bytes.
    #[inline]
    pub fn parse(packet: &[u8]) -> Result<Self, RtpError> {
        let mut header = Self::parse_unpadded(packet)?;
        if let Some(malformed) = header.elements(packet).find_map(Result::err) {
            return Err(malformed);
        }
        if packet[0] & PADDING_BIT != 0 {
            let available = packet.len() - header.header_len;
            let found = match packet.last() {
                Some(&last) if available > 0 => last,
                _ => 0,
            };
            if found == 0 || usize::from(found) > available {
                return Err(RtpError::Padding { found, available });
            }
            header.padding_len = found;
            header.payload_len = available - usize::from(found);
        }
        Ok(header)
    }

    /// Reads the header only: for a packet whose payload, and with it the padding length, is still ciphertext.
    /// Extension elements are not checked, only the extension's length.
    ///
    /// # Errors
    /// Says which part is malformed, where it is and what was expected. Never panics, whatever the bytes.
    #[inline]
    pub fn parse_unpadded(packet: &[u8]) -> Result<Self, RtpError> {
        let Some(fixed) = packet.first_chunk::<FIXED_HEADER_LEN>() else {
            return Err(RtpError::Truncated {
                part: "the fixed header",
                offset: 0,
                needed: FIXED_HEADER_LEN,
                available: packet.len(),
            });
        };
        let version = fixed[0] >> 6;
        if version != VERSION {
            return Err(RtpError::Version { found: version });
        }
        let csrc_len = usize::from(fixed[0] & 0x0F) * 4;
        let mut header_len = FIXED_HEADER_LEN + csrc_len;
        need(packet, "the CSRC list", FIXED_HEADER_LEN, csrc_len)?;
        let (mut extension_offset, mut extension_len) = (header_len, 0);
        let mut extension_form = ExtensionForm::None;
        if fixed[0] & EXTENSION_BIT != 0 {
            need(packet, "the extension header", header_len, 4)?;
            let profile = u16::from_be_bytes([packet[header_len], packet[header_len + 1]]);
            let words = u16::from_be_bytes([packet[header_len + 2], packet[header_len + 3]]);
            extension_offset = header_len + 4;
            extension_len = usize::from(words) * 4;
            need(packet, "the extension", extension_offset, extension_len)?;
            header_len = extension_offset + extension_len;
            extension_form = match profile {
                ONE_BYTE_PROFILE => ExtensionForm::OneByte,
                _ if profile & 0xFFF0 == TWO_BYTE_PROFILE => ExtensionForm::TwoByte,
                _ => ExtensionForm::None,
            };
        }
        Ok(Self {
            marker: fixed[1] & 0x80 != 0,
            payload_type: fixed[1] & 0x7F,
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
            header_len,
            payload_len: packet.len() - header_len,
            padding_len: 0,
            extension_offset,
            extension_len,
            extension_form,
        })
    }

    /// The payload without padding of the packet this header was parsed from; empty if `packet` is shorter than that
    /// one.
    #[must_use]
    pub fn payload<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        packet.get(self.header_len..self.header_len + self.payload_len).unwrap_or_default()
    }

    /// The extension elements, as (identifier, value), of the packet this header was parsed from. Padding is skipped;
    /// the first malformed element ends it.
    pub fn extensions<'a>(&self, packet: &'a [u8]) -> impl Iterator<Item = (u8, &'a [u8])> + use<'a> {
        self.elements(packet).map_while(Result::ok)
    }

    /// The value of the first extension element with this identifier, if there is one.
    #[must_use]
    pub fn extension<'a>(&self, packet: &'a [u8], id: u8) -> Option<&'a [u8]> {
        self.extensions(packet).find(|(found, _)| *found == id).map(|(_, value)| value)
    }

    fn elements<'a>(&self, packet: &'a [u8]) -> Elements<'a> {
        Elements {
            rest: packet.get(self.extension_offset..self.extension_offset + self.extension_len).unwrap_or_default(),
            offset: self.extension_offset,
            form: self.extension_form,
        }
    }
}

#[inline]
fn need(packet: &[u8], part: &'static str, offset: usize, needed: usize) -> Result<(), RtpError> {
    let available = packet.len().saturating_sub(offset);
    if available < needed {
        return Err(RtpError::Truncated { part, offset, needed, available });
    }
    Ok(())
}

/// Walks the elements of one extension; after an error it is at its end.
struct Elements<'a> {
    rest: &'a [u8],
    offset: usize,
    form: ExtensionForm,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<(u8, &'a [u8]), RtpError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let &first = self.rest.first()?;
            let (id, prefix, value_len) = match self.form {
                ExtensionForm::None => return None,
                _ if first == 0 => {
                    self.advance(1);
                    continue;
                }
                // RFC 8285, section 4.2: identifier 15, or identifier 0 with a length, ends the processing of the whole
                // extension.
                ExtensionForm::OneByte if first >> 4 == ONE_BYTE_STOP_ID || first >> 4 == 0 => {
                    self.rest = &[];
                    return None;
                }
                ExtensionForm::OneByte => (first >> 4, 1, usize::from(first & 0x0F) + 1),
                ExtensionForm::TwoByte => match self.rest.get(1) {
                    Some(&len) => (first, 2, usize::from(len)),
                    None => (first, 2, 0),
                },
            };
            let needed = prefix + value_len;
            let Some(value) = self.rest.get(prefix..needed) else {
                let malformed =
                    RtpError::ExtensionElement { id, offset: self.offset, needed, available: self.rest.len() };
                self.rest = &[];
                return Some(Err(malformed));
            };
            self.advance(needed);
            return Some(Ok((id, value)));
        }
    }
}

impl Elements<'_> {
    fn advance(&mut self, by: usize) {
        self.rest = self.rest.get(by..).unwrap_or_default();
        self.offset += by;
    }
}

/// The fields of a header to write; CSRCs are never written, since this engine does not mix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RtpHeaderWriter {
    /// The marker bit.
    pub marker: bool,
    /// The payload type, 0 to 127.
    pub payload_type: u8,
    /// The sequence number.
    pub sequence: u16,
    /// The timestamp, in units of the payload's clock rate.
    pub timestamp: u32,
    /// The synchronisation source.
    pub ssrc: u32,
}

impl RtpHeaderWriter {
    /// Writes the header with these extension elements, as (identifier, value), and returns its length in bytes; the
    /// payload goes there. The one-byte form is used where it can be, the two-byte form when an identifier is above 14
    /// or a value is empty or longer than 16 bytes: a peer that did not agree to `extmap-allow-mixed` (RFC 8285,
    /// section 6) must not be sent such values together with shorter packets.
    ///
    /// # Errors
    /// When a field does not fit its bits or the header does not fit `buf`, which is then unspecified.
    #[inline]
    pub fn write(&self, buf: &mut [u8], extensions: &[(u8, &[u8])]) -> Result<usize, RtpError> {
        if self.payload_type > 0x7F {
            return Err(RtpError::PayloadType { found: self.payload_type });
        }
        let available = buf.len();
        let Some((fixed, rest)) = buf.split_first_chunk_mut::<FIXED_HEADER_LEN>() else {
            return Err(RtpError::BufferTooSmall { needed: FIXED_HEADER_LEN, available });
        };
        fixed[0] = VERSION << 6;
        fixed[1] = u8::from(self.marker) << 7 | self.payload_type;
        fixed[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        fixed[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        fixed[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        if extensions.is_empty() {
            return Ok(FIXED_HEADER_LEN);
        }
        fixed[0] |= EXTENSION_BIT;
        let len = write_extension(rest, extensions).map_err(|error| match error {
            RtpError::BufferTooSmall { needed, .. } => {
                RtpError::BufferTooSmall { needed: FIXED_HEADER_LEN + needed, available }
            }
            other => other,
        })?;
        Ok(FIXED_HEADER_LEN + len)
    }

    /// The length in bytes of what [`write`](Self::write) writes with these extension elements.
    #[must_use]
    #[inline]
    pub fn header_len(extensions: &[(u8, &[u8])]) -> usize {
        match extensions {
            [] => FIXED_HEADER_LEN,
            _ => FIXED_HEADER_LEN + 4 + layout(extensions).1 * 4,
        }
    }

    /// Appends `padding` bytes of RTP padding (RFC 3550, section 5.1) to the plain packet in `buf[..len]`, which has
    /// none yet, and returns the new length.
    ///
    /// # Errors
    /// When `padding` is not 1 to 255, or the packet with its padding does not fit `buf`, which is then unchanged.
    pub fn pad(buf: &mut [u8], len: usize, padding: usize) -> Result<usize, RtpError> {
        let count = match u8::try_from(padding) {
            Ok(count) if count > 0 => count,
            _ => return Err(RtpError::PaddingRequest { requested: padding }),
        };
        let available = buf.len();
        let needed = len.saturating_add(padding);
        let Some(area) = buf.get_mut(len..needed) else {
            return Err(RtpError::BufferTooSmall { needed, available });
        };
        area.fill(0);
        area[padding - 1] = count;
        buf[0] |= PADDING_BIT;
        Ok(needed)
    }
}

/// Whether the elements take the one-byte form, and how many words they fill.
#[inline]
fn layout(extensions: &[(u8, &[u8])]) -> (bool, usize) {
    let (mut one_byte, mut values) = (true, 0);
    for &(id, value) in extensions {
        one_byte &= id < ONE_BYTE_STOP_ID && (1..=ONE_BYTE_MAX_VALUE).contains(&value.len());
        values += value.len();
    }
    let prefix = if one_byte { 1 } else { 2 };
    (one_byte, (values + prefix * extensions.len()).div_ceil(4))
}

/// Writes the four-byte extension header and the elements, filled up to a whole word, and returns their length in
/// bytes.
fn write_extension(buf: &mut [u8], extensions: &[(u8, &[u8])]) -> Result<usize, RtpError> {
    for &(id, value) in extensions {
        if id == 0 {
            return Err(RtpError::ExtensionId);
        }
        if value.len() > usize::from(u8::MAX) {
            return Err(RtpError::ExtensionValue { id, len: value.len() });
        }
    }
    let (one_byte, words) = layout(extensions);
    let prefix = if one_byte { 1 } else { 2 };
    let needed = 4 + words * 4;
    let available = buf.len();
    let (Some(area), Ok(word_count)) = (buf.get_mut(..needed), u16::try_from(words)) else {
        return Err(RtpError::BufferTooSmall { needed, available });
    };
    let profile = if one_byte { ONE_BYTE_PROFILE } else { TWO_BYTE_PROFILE };
    area[..2].copy_from_slice(&profile.to_be_bytes());
    area[2..4].copy_from_slice(&word_count.to_be_bytes());
    let mut at = 4;
    for &(id, value) in extensions {
        // The lengths fit: they were checked above.
        if one_byte {
            area[at] = id << 4 | (value.len() - 1) as u8;
        } else {
            area[at] = id;
            area[at + 1] = value.len() as u8;
        }
        at += prefix;
        area[at..at + value.len()].copy_from_slice(value);
        at += value.len();
    }
    area[at..].fill(0);
    Ok(needed)
}
