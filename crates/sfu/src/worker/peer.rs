//! A member's connection on a worker, with what the worker notes about it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use ringback_transport::connection::Connection;
use ringback_transport::sdp::Negotiation;
use tokio::sync::Mutex;

use crate::ids::ParticipantId;

/// A negotiation, which callers take turns with; the worker only keeps it.
pub(crate) type SharedNegotiation = Arc<Mutex<Negotiation>>;

/// A data channel by its number, with its label.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) number: u16,
    pub(super) label: String,
}

/// A member's connection.
pub(super) struct Peer {
    pub(super) participant: ParticipantId,
    pub(super) connection: Connection,
    pub(super) negotiation: SharedNegotiation,
    /// The socket through which it is reached.
    pub(super) socket: usize,
    /// Addresses that are routed to it.
    pub(super) addresses: Vec<SocketAddr>,
    /// Names by which STUN requests are routed to it.
    pub(super) ufrags: Vec<String>,
    pub(super) channels: Vec<Channel>,
    /// Whether it has ever been up.
    pub(super) was_connected: bool,
    /// The deadline that stands for it.
    pub(super) armed: Option<Instant>,
}
