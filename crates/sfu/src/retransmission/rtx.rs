//! The payload format of what is sent again in a stream of its own (RTX, RFC 4588): numbers it, wraps it and takes it apart. What is sent again, and how often, is decided in the
//! [log](super::SentLog).

/// Numbers the packets of one outgoing RTX stream (RFC 4588, section 4).
#[derive(Debug)]
pub struct RtxSequencer {
    next: u16,
}

impl RtxSequencer {
    /// Bytes that precede the original payload: the original sequence number (OSN).
    pub const PREFIX: usize = 2;

    /// A stream that begins with `first`, which should be random.
    #[must_use]
    pub fn new(first: u16) -> Self {
        Self { next: first }
    }

    /// The sequence number of the next packet; each is given once.
    pub fn next_sequence(&mut self) -> u16 {
        let sequence = self.next;
        self.next = self.next.wrapping_add(1);
        sequence
    }

    /// Writes an RTX payload: the original sequence number and the original payload. Returns its length, or `None` if
    /// it does not fit.
    #[must_use]
    pub fn write(original: u16, payload: &[u8], into: &mut [u8]) -> Option<usize> {
        let into = into.get_mut(..Self::PREFIX + payload.len())?;
        let (prefix, rest) = into.split_at_mut_checked(Self::PREFIX)?;
        prefix.copy_from_slice(&original.to_be_bytes());
        rest.copy_from_slice(payload);
        Some(Self::PREFIX + payload.len())
    }
}

/// Takes an RTX payload apart into the original sequence number and payload (RFC 4588, section 4). `None` if there is
/// no original payload: such packets are padding, sent to probe for bandwidth.
#[must_use]
pub fn restore_rtx(payload: &[u8]) -> Option<(u16, &[u8])> {
    let (prefix, original) = payload.split_first_chunk::<{ RtxSequencer::PREFIX }>()?;
    (!original.is_empty()).then_some((u16::from_be_bytes(*prefix), original))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn rtx_wraps_and_restores_a_payload() {
        let mut rtx = RtxSequencer::new(65_535);
        assert_eq!((rtx.next_sequence(), rtx.next_sequence()), (65_535, 0));
        let mut buffer = [0; 8];
        assert_eq!(RtxSequencer::write(0x1234, b"abcd", &mut buffer), Some(6));
        assert_eq!(restore_rtx(&buffer[..6]), Some((0x1234, b"abcd".as_slice())));
        assert_eq!(RtxSequencer::write(1, b"too long", &mut buffer), None);
    }

    #[test]
    fn rtx_without_an_original_payload_is_padding() {
        assert_eq!(restore_rtx(&[]), None);
        assert_eq!(restore_rtx(&[1]), None);
        assert_eq!(restore_rtx(&[1, 2]), None);
    }
}
