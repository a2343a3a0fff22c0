//! A checked, borrowed view of a STUN message (RFC 8489, section 5): its structure is verified once, before anything
//! else looks at it, so that a truncated or hostile message never reaches code that trusts a length. It knows no
//! passwords; authentication is the agent's business.

use super::IceError;

/// The magic cookie of every STUN message.
const MAGIC_COOKIE: [u8; 4] = 0x2112_A442_u32.to_be_bytes();
/// Bytes of a STUN header.
pub(super) const HEADER_LEN: usize = 20;
/// Bytes of type and length before each attribute's value.
const ATTRIBUTE_HEADER_LEN: usize = 4;
/// Bytes of the HMAC-SHA1 in MESSAGE-INTEGRITY.
const MESSAGE_INTEGRITY_LEN: usize = 20;
/// Bytes of the CRC-32 in FINGERPRINT.
const FINGERPRINT_LEN: usize = 4;

pub(super) const USERNAME: u16 = 0x0006;
pub(super) const MESSAGE_INTEGRITY: u16 = 0x0008;
pub(super) const PRIORITY: u16 = 0x0024;
pub(super) const USE_CANDIDATE: u16 = 0x0025;
pub(super) const FINGERPRINT: u16 = 0x8028;
pub(super) const ICE_CONTROLLED: u16 = 0x8029;

/// What a message is: class and method in one, as far as an ICE agent tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A connectivity or consent check.
    BindingRequest,
    /// Anything else: responses, indications, TURN methods.
    Other,
}

/// A STUN message whose attributes all lie within it.
#[derive(Debug, Clone, Copy)]
pub(super) struct StunMessage<'a> {
    datagram: &'a [u8],
}

impl<'a> StunMessage<'a> {
    /// Checks the structure of a whole datagram.
    ///
    /// # Errors
    /// [`IceError::Malformed`], saying what is wrong.
    pub(super) fn parse(datagram: &'a [u8]) -> Result<Self, IceError> {
        let header = datagram.first_chunk::<HEADER_LEN>().ok_or(IceError::Malformed("shorter than a header"))?;
        if header[0] & 0xC0 != 0 || header[4..8] != MAGIC_COOKIE {
            return Err(IceError::Malformed("no magic cookie"));
        }
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if length % 4 != 0 || length != datagram.len() - HEADER_LEN {
            return Err(IceError::Malformed("length is not that of the datagram"));
        }
        let mut rest = &datagram[HEADER_LEN..];
        while !rest.is_empty() {
            let (_, _, after) = split_attribute(rest).ok_or(IceError::Malformed("an attribute is cut off"))?;
            rest = after;
        }
        Ok(Self { datagram })
    }

    pub(super) fn kind(&self) -> Kind {
        match self.datagram[..2] {
            [0x00, 0x01] => Kind::BindingRequest,
            _ => Kind::Other,
        }
    }

    /// All attributes, in order, with where each begins.
    fn all_attributes(&self) -> impl Iterator<Item = (usize, u16, &'a [u8])> + use<'a> {
        let datagram = self.datagram;
        let mut offset = HEADER_LEN;
        std::iter::from_fn(move || {
            let (kind, value, after) = split_attribute(&datagram[offset..])?;
            let begin = offset;
            offset = datagram.len() - after.len();
            Some((begin, kind, value))
        })
    }

    /// The attributes before MESSAGE-INTEGRITY. What follows it is not authenticated and is ignored (RFC 8489, section
    /// 14.5).
    pub(super) fn attributes(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        self.all_attributes().map(|(_, kind, value)| (kind, value)).take_while(|(kind, _)| *kind != MESSAGE_INTEGRITY)
    }

    /// The value of an authenticated attribute.
    pub(super) fn attribute(&self, wanted: u16) -> Option<&'a [u8]> {
        self.attributes().find_map(|(kind, value)| (kind == wanted).then_some(value))
    }

    /// Both halves of USERNAME: the receiver's ufrag, then the sender's.
    pub(super) fn username(&self) -> Option<(&'a str, &'a str)> {
        std::str::from_utf8(self.attribute(USERNAME)?).ok()?.split_once(':')
    }

    /// Whether there is a MESSAGE-INTEGRITY of the only right size.
    ///
    /// # Errors
    /// When it is missing, or too short or long to be an HMAC-SHA1.
    pub(super) fn require_integrity(&self) -> Result<(), IceError> {
        let value = self
            .all_attributes()
            .find_map(|(_, kind, value)| (kind == MESSAGE_INTEGRITY).then_some(value))
            .ok_or(IceError::Unauthenticated("MESSAGE-INTEGRITY is missing"))?;
        if value.len() != MESSAGE_INTEGRITY_LEN {
            return Err(IceError::Unauthenticated("MESSAGE-INTEGRITY is not 20 bytes"));
        }
        Ok(())
    }

    /// Whether the last attribute is a FINGERPRINT that fits; ICE requires one (RFC 8445, section 7.1).
    ///
    /// # Errors
    /// [`IceError::Malformed`] when it is missing, misplaced or wrong.
    pub(super) fn require_fingerprint(&self) -> Result<(), IceError> {
        let (begin, kind, value) = self.all_attributes().last().ok_or(IceError::Malformed("no attributes"))?;
        let (FINGERPRINT, Ok(value)) = (kind, <[u8; FINGERPRINT_LEN]>::try_from(value)) else {
            return Err(IceError::Malformed("FINGERPRINT is not last"));
        };
        if u32::from_be_bytes(value) != rtc_stun::fingerprint::fingerprint_value(&self.datagram[..begin]) {
            return Err(IceError::Malformed("FINGERPRINT does not match"));
        }
        Ok(())
    }
}

/// The first attribute of `bytes`: its type, its value and what follows its padding.
fn split_attribute(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let header = bytes.first_chunk::<ATTRIBUTE_HEADER_LEN>()?;
    let kind = u16::from_be_bytes([header[0], header[1]]);
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let body = &bytes[ATTRIBUTE_HEADER_LEN..];
    let after = body.get(length.next_multiple_of(4)..)?;
    Some((kind, &body[..length], after))
}
