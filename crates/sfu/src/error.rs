//! What can go wrong with a worker, a room or a participant, with enough context to tell whose fault it is.

use std::io;
use std::net::SocketAddr;

use ringback_transport::TransportError;
use ringback_transport::sdp::NegotiationError;
use thiserror::Error;

use crate::ids::{ParticipantId, RoomId};

/// An error of the media side.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SfuError {
    /// A socket could not be bound.
    #[error("cannot bind the media socket to {address}: {source}")]
    Bind {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The TCP side of a media port could not be bound.
    #[error(
        "cannot bind ICE-TCP to {address}, beside UDP: {source}; free that TCP port, take another, or switch ICE-TCP off"
    )]
    BindTcp {
        /// The address of both.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The configuration cannot work.
    #[error("the worker's configuration is wrong: {0}")]
    Configuration(&'static str),
    /// The system gives no thread to the worker, or no event loop.
    #[error("a media worker cannot have a thread of its own: {0}")]
    Thread(io::Error),
    /// A thread cannot be kept on a core.
    #[error("a media worker's thread cannot be kept on core {core}")]
    Pin {
        /// Which of those that the process may use, from 0.
        core: usize,
    },
    /// The worker has stopped.
    #[error("the media worker has stopped")]
    Stopped,
    /// No such room on this worker.
    #[error("{0} is not open")]
    NoSuchRoom(RoomId),
    /// A room of that id is open already.
    #[error("{0} is open already")]
    RoomExists(RoomId),
    /// No such participant on this worker.
    #[error("{0} is in no room")]
    NoSuchParticipant(ParticipantId),
    /// A participant of that id is here already.
    #[error("{0} is in a room already")]
    ParticipantExists(ParticipantId),
    /// A limit of the worker is reached.
    #[error("{what} is full: at most {limit}")]
    Full {
        /// What is full.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// The offer cannot be answered.
    #[error("the offer cannot be answered: {0}")]
    Offer(#[from] NegotiationError),
    /// A track claim names an m-line that is not there or is of another kind.
    #[error("a track claims the m-line {mid:?}, but {problem}")]
    Claim {
        /// The mid that was claimed.
        mid: String,
        /// Why it cannot be.
        problem: &'static str,
    },
    /// The connection could not be made.
    #[error("the connection could not be made: {0}")]
    Transport(#[from] TransportError),
    /// There is no open data channel of that label.
    #[error("{participant} has no open data channel {label:?}")]
    NoSuchChannel {
        /// Whose channel.
        participant: ParticipantId,
        /// Its label.
        label: String,
    },
}
