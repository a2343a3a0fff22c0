//! Ringback's SFU: who gets which packet. A [`Worker`] owns UDP sockets, the connections on them and their rooms; participants publish
//! a microphone, a camera and a screen, with simulcast layers, and receive through slots: m-lines whose track the server decides, told
//! to the client as [`SfuEvent::Slots`], without renegotiation. It forwards: it neither mixes nor transcodes, it rings nobody, and it knows
//! users and calls as numbers only.
//!
//! Everything that decides is a state machine on passed-in time; the worker's task is the only driver. The packet path allocates nothing,
//! locks nothing and looks nothing up by name: forwarding tables are rebuilt when something changes.
//!
//! Media is decrypted here and encrypted anew for each subscriber. It is not end-to-end encrypted between participants unless they encrypt
//! frames themselves.

// The tests of the worker share the peer of the integration tests, which names this crate.
#[cfg(test)]
extern crate self as ringback_sfu;

pub mod allocator;
pub mod av1;
pub mod congestion;
pub mod counters;
mod decoding;
#[doc(hidden)]
pub mod dry;
mod error;
mod events;
pub mod feedback;
mod focus;
mod forward;
mod ids;
pub mod keyframe;
mod last_keyframe;
pub mod layers;
mod level_source;
mod levelling;
pub mod nack;
pub mod pacer;
mod picture_size;
mod publisher;
pub mod quality;
mod renumber;
pub mod retransmission;
pub mod rewrite;
mod room;
pub mod sender_report;
mod shard;
mod shortlist;
mod slots;
pub mod speaking;
pub mod stage;
mod subscriber;
mod tap;
pub mod vp8;
pub mod vp9;
mod worker;

pub use error::SfuError;
pub use events::{Bandwidth, DisconnectReason, RoomCloseReason, SfuEvent, SlotMapping, SlotReason, SpatialLayers};
pub use focus::{Focus, FocusReason};
pub use ids::{ParticipantId, RoomId, Share, Source};
pub use level_source::Word;
pub use publisher::TrackClaim;
pub use quality::{Quality, QualityLevel};
pub use ringback_transport::sdp::MediaKind;
pub use room::RoomConfig;
pub use stage::StageReason;
pub use subscriber::{SlotInfo, SlotView};
pub use tap::{Tap, TapEnd, TapEvent, TapPacket};
pub use worker::{
    DELAY_BOUNDS, Delays, JoinOffer, Joined, Limits, Trains, Worker, WorkerConfig, WorkerHandle, WorkerStatistics,
};
