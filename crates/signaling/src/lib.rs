//! Signaling of Ringback: who may talk to whom, who rings, and who is in which room. It offers the protocol of
//! `docs/protocol.md` as an axum router to nest, decides with state machines that know no clock and no socket, and leaves
//! media to whoever implements [`media::Media`]. It carries no packet and understands no SDP.

pub mod call;
pub mod hooks;
pub mod media;
pub mod protocol;
pub mod rate;
pub mod switchboard;
