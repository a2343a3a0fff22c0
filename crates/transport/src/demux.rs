//! Tells what a datagram is from its first bytes: STUN, DTLS, RTP or RTCP on one port (RFC 7983, updated by RFC 9443),
//! RTP against RTCP by the second byte (RFC 5761). It does not parse: a datagram too short for the smallest header of
//! its kind is [`DatagramKind::Unknown`], everything further is for the parser of that kind to judge.

/// The protocol a datagram belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DatagramKind {
    /// A STUN message (RFC 8489): first byte 0 to 3.
    Stun,
    /// A DTLS record (RFC 6347, RFC 9147): first byte 20 to 63.
    Dtls,
    /// An RTP or SRTP packet: first byte 128 to 191.
    Rtp,
    /// An RTCP or SRTCP packet: as RTP, with a second byte of 192 to 223.
    Rtcp,
    /// None of these, or too short to be what its first byte says.
    Unknown,
}

/// The STUN header (RFC 8489, section 5), in bytes.
const STUN_HEADER: usize = 20;
/// The header of a DTLS 1.2 record (RFC 6347, section 4.1), in bytes. A DTLS 1.3 record may be shorter, but this engine
/// negotiates 1.2.
const DTLS_RECORD_HEADER: usize = 13;
/// The fixed RTP header (RFC 3550, section 5.1), in bytes.
const RTP_HEADER: usize = 12;
/// The RTCP header with its sender's SSRC (RFC 3550, section 6.4), in bytes; SRTCP leaves these eight in the clear.
const RTCP_HEADER: usize = 8;

/// Classifies a datagram as it came from the socket, still encrypted. Never panics, whatever the bytes.
#[must_use]
pub fn classify(datagram: &[u8]) -> DatagramKind {
    let [first, second, ..] = *datagram else {
        return DatagramKind::Unknown;
    };
    let (kind, smallest) = match (first, second) {
        (0..=3, _) => (DatagramKind::Stun, STUN_HEADER),
        (20..=63, _) => (DatagramKind::Dtls, DTLS_RECORD_HEADER),
        (128..=191, 192..=223) => (DatagramKind::Rtcp, RTCP_HEADER),
        (128..=191, _) => (DatagramKind::Rtp, RTP_HEADER),
        _ => return DatagramKind::Unknown,
    };
    if datagram.len() < smallest {
        return DatagramKind::Unknown;
    }
    kind
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(first: u8, second: u8, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        bytes[0] = first;
        bytes[1] = second;
        bytes
    }

    #[test]
    fn the_first_byte_decides_over_its_whole_range() {
        for first in 0..=u8::MAX {
            let expected = match first {
                0..=3 => DatagramKind::Stun,
                20..=63 => DatagramKind::Dtls,
                128..=191 => DatagramKind::Rtp,
                _ => DatagramKind::Unknown, // ZRTP, TURN channels, QUIC
            };
            assert_eq!(classify(&datagram(first, 0, 64)), expected, "first byte {first}");
        }
    }

    #[test]
    fn the_second_byte_tells_rtcp_from_rtp() {
        for second in 0..=u8::MAX {
            let expected = if (192..=223).contains(&second) { DatagramKind::Rtcp } else { DatagramKind::Rtp };
            assert_eq!(classify(&datagram(0x80, second, 64)), expected, "second byte {second}");
        }
    }

    #[test]
    fn a_datagram_too_short_for_its_kind_is_unknown() {
        assert_eq!(classify(&[]), DatagramKind::Unknown);
        assert_eq!(classify(&[0x80]), DatagramKind::Unknown);
        for (first, second, smallest) in
            [(0, 1, STUN_HEADER), (22, 254, DTLS_RECORD_HEADER), (128, 96, RTP_HEADER), (128, 200, RTCP_HEADER)]
        {
            assert_eq!(classify(&datagram(first, second, smallest - 1)), DatagramKind::Unknown);
            assert_ne!(classify(&datagram(first, second, smallest)), DatagramKind::Unknown);
        }
    }
}
