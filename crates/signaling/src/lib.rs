//! Signaling of Ringback: who may talk to whom, who rings, and who is in which room. It offers the protocol of
//! `docs/protocol.md` as an axum router to nest, decides with state machines that know no clock and no socket, and leaves
//! media to whoever implements [`media::Media`]. It carries no packet and negotiates no SDP. WHIP and WHEP bring clients without a socket
//! into the same rooms.
//!
//! State machines: [`call`] (one call), [`switchboard`] (users, devices and all calls), [`rooms`], [`rate`], the sessions by HTTP. Around them: the hub, the
//! one task that owns them, and a task for each socket. [`Signaling`] is the handle to it all.

pub mod call;
mod config;
mod error;
mod event_stream;
mod hook_runner;
pub mod hooks;
mod http_participant;
mod http_problem;
mod http_sdp;
mod http_sessions;
mod hub;
pub mod images;
mod kept_call;
pub mod media;
mod media_rooms;
pub mod notes;
mod outbox;
pub mod protocol;
pub mod rate;
pub mod reactions;
pub mod rooms;
mod router;
mod serve;
mod session;
mod signaling;
mod signaling_event;
pub mod switchboard;
mod timers;
pub mod token;
pub mod turn;
mod whep;
mod whip;

pub use config::SignalingConfig;
pub use error::SignalingError;
pub use kept_call::{KeptCall, KeptCalls, KeptChange};
pub use signaling::{Signaling, SignalingStatistics};
pub use signaling_event::{EventSink, SignalingEvent};
