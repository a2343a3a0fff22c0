//! What can go wrong with data channels, from a message too large to the end of the association. Nothing of it concerns
//! media.

/// What can go wrong with data channels. None of it concerns media.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SctpError {
    /// Data channels were not negotiated, or the association is not up, or has ended.
    #[error("there is no SCTP association")]
    NotEstablished,
    /// There is no such channel, or it is not open yet.
    #[error("data channel {0} is not open")]
    NotOpen(u16),
    /// A message is larger than the limit.
    #[error("a message of {len} bytes on data channel {channel}, at most {max} are allowed")]
    MessageTooLarge {
        /// The channel.
        channel: u16,
        /// Its length in bytes.
        len: usize,
        /// The limit, [`MAX_MESSAGE`](super::MAX_MESSAGE).
        max: usize,
    },
    /// The peer takes data more slowly than it is given.
    #[error("{queued} bytes wait to be sent on data channels, at most {max} may")]
    SendBufferFull {
        /// Bytes waiting.
        queued: usize,
        /// How many may.
        max: usize,
    },
    /// There are too many channels already.
    #[error("at most {max} data channels at a time")]
    TooManyChannels {
        /// How many there may be.
        max: usize,
    },
    /// A request to open a channel was not understood or not acceptable.
    #[error("data channel {channel} cannot be opened: {reason}")]
    BadOpen {
        /// The channel.
        channel: u16,
        /// What is wrong.
        reason: &'static str,
    },
    /// The peer sends a message that the receive buffer cannot hold. The association was aborted.
    #[error("the peer sends a message without end; at most {max} bytes are allowed")]
    EndlessMessage {
        /// The limit, [`MAX_MESSAGE`](super::MAX_MESSAGE).
        max: usize,
    },
    /// The association failed or was ended by the peer.
    #[error("SCTP association ended: {0}")]
    Ended(String),
    /// The library panicked over what the peer sent; the association is over, nothing else is.
    #[error("SCTP library panicked: {0}")]
    Panicked(String),
}
