//! Answering NACKs (RFC 4585) without keeping a packet twice: payloads are stored once per publisher stream, and each
//! slot keeps a small record of how it numbered what it sent.
//!
//! [`PacketStore`] holds the plain payloads of one incoming SSRC; [`SentLog`] maps a slot's outgoing sequence numbers
//! back to them and limits what a subscriber can ask for; [`RtxSequencer`] and [`restore_rtx`] wrap and unwrap the
//! RTX payload format (RFC 4588). Nothing is sealed or sent here, and nothing is asked for: that is
//! [`nack`](crate::nack).

mod log;
mod rtx;
mod store;

pub use log::{MAX_RESENDS, Refusal, SentLog, SentPacket};
pub use rtx::{RtxSequencer, restore_rtx};
pub use store::{MAX_STORE_BYTES, PacketStore, STORE_WINDOW, StoredPacket};
