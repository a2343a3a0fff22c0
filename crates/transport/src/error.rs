//! The crate's error: one enum, [`TransportError`], with the typed cause of each layer nested inside. It is not a log:
//! whoever receives it decides who reads it, and an error about one datagram never says anything about the connection
//! it arrived on.

use crate::dtls::DtlsError;
use crate::ice::IceError;
use crate::path::Path;
use crate::rtcp::RtcpError;
use crate::rtp::RtpError;
use crate::sctp::SctpError;
use crate::srtp::SrtpError;

/// What can go wrong between a datagram and the packet inside it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// A datagram is no STUN, DTLS, RTP or RTCP.
    #[error("a datagram of {len} bytes is no STUN, DTLS, RTP or RTCP")]
    UnknownDatagram {
        /// Its length in bytes.
        len: usize,
    },
    /// Something other than STUN came by a path that has not proved to be the peer's.
    #[error("{from} has not been validated by ICE")]
    UnvalidatedPath {
        /// How it came.
        from: Path,
    },
    /// The connection is not established yet, or has ended.
    #[error("not connected")]
    NotConnected,
    /// A packet is not well-formed RTP, or could not be written as such.
    #[error("RTP: {0}")]
    Rtp(#[from] RtpError),
    /// A packet is not well-formed RTCP, or could not be written as such.
    #[error("RTCP: {0}")]
    Rtcp(#[from] RtcpError),
    /// A STUN message was not accepted.
    #[error(transparent)]
    Ice(#[from] IceError),
    /// The DTLS association could not be had, or has ended.
    #[error(transparent)]
    Dtls(#[from] DtlsError),
    /// Something went wrong with data channels.
    #[error(transparent)]
    Sctp(#[from] SctpError),
    /// A packet could not be protected, or did not authenticate.
    #[error("SRTP: {0}")]
    Srtp(#[from] SrtpError),
}
