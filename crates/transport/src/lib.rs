//! The transport of Ringback: bytes in, packets out. It demultiplexes datagrams (RFC 7983), reads and writes RTP and
//! RTCP (RFC 3550, 8285, 4585), protects them in place (SRTP, RFC 3711 and 7714), and carries the ICE-lite, DTLS, SCTP
//! and SDP that a WebRTC peer needs before media flows. Everything except the sockets is a state machine without I/O or
//! a clock. It is *not* a media server: who gets which packet is the SFU's business, and nothing here knows rooms,
//! calls or users.

pub mod connection;
pub mod demux;
pub mod dtls;
pub mod error;
pub mod framing;
pub mod ice;
pub mod path;
pub mod rtcp;
pub mod rtp;
pub mod sctp;
pub mod sdp;
pub mod socket;
pub mod srtp;

pub use connection::{Connection, ConnectionConfig, ConnectionEvent, Incoming};
pub use demux::{DatagramKind, classify};
pub use dtls::{Certificate, DtlsError, DtlsRole};
pub use error::TransportError;
pub use ice::{IceCredentials, IceError};
pub use path::{Link, Path};
pub use rtcp::{RtcpError, RtcpPacket, RtcpWriter, parse_compound};
pub use rtp::{RtpError, RtpHeader, RtpHeaderWriter};
pub use sctp::{SctpError, SctpEvent};
pub use srtp::{SrtpError, SrtpKeys, SrtpProfile, SrtpReceiver, SrtpSender};
