//! The frames of the signaling protocol, version 1, as serde types: what `docs/protocol.md` says, in Rust. Parsing is strict
//! where a mistake would hide (a missing or misspelt field is an error that names it) and lenient where the protocol must
//! be able to grow (an unknown field is ignored). Nothing here decides anything: who may do what is told elsewhere.

mod call;
mod error;
mod event;
mod note;
mod quality;
mod request;
mod room;
mod session;

pub use call::{CallInfo, CallKind, CallState, DoneReason, Leg, LegState, Outcome, Party, UserRef};
pub use error::{Answer, AnswerResult, ErrorCode, WireError};
pub(crate) use event::numbered;
pub use event::{Event, EventFrame};
pub use note::NoteRequest;
pub use quality::{Quality, QualityLevel, QualityTimes, UserQuality};
pub use request::{
    CallAdmit, CallDecline, CallInvite, CallMute, CallPlace, CallRef, CallUser, DeclineReason, ImageReact,
    ReactionSend, Request, RequestFrame, RoomJoin, RoomLeave, RoomMute, RoomOffer, RoomPin, RoomView, RoomWatch,
    ThreadView,
};
pub(crate) use request::{MAX_ID, check_id};
pub use room::{
    Focus, Joined, MediaKind, Offered, Participant, Presence, RoomMembership, SlotInfo, SlotMapping, SlotView, Source,
    SpatialLayers, Track, TrackClaim, WrittenParticipant,
};
pub use session::{Availability, Hello, HelloOk, IceServer, Person, Resume};

/// The protocol version this crate speaks.
pub const VERSION: u32 = 1;

/// The largest text frame a client may send, in bytes. An SDP offer of 300 m-lines stays below 150 KiB; more than this only
/// costs memory.
pub const MAX_FRAME: usize = 256 * 1024;

/// WebSocket close codes (4000–4999 are for applications, RFC 6455 section 7.4.2).
pub mod close {
    /// The peer has closed (RFC 6455).
    pub const NORMAL: u16 = 1000;
    /// The server shuts down (RFC 6455 "going away"); connect again, to another server if there is one.
    pub const GOING_AWAY: u16 = 1001;
    /// A frame far above [`MAX_FRAME`](super::MAX_FRAME) (RFC 6455 "message too big").
    pub const TOO_LARGE: u16 = 1009;
    /// Not `hello` first, `hello` too late, or an unsupported version.
    pub const BAD_PROTOCOL: u16 = 4400;
    /// The token is invalid, or has expired, also during the session.
    pub const UNAUTHORIZED: u16 = 4401;
    /// Nothing was heard for two and a half heartbeats.
    pub const SILENT: u16 = 4408;
    /// A newer session of the same device has taken over.
    pub const REPLACED: u16 = 4409;
    /// The client does not read what it is sent.
    pub const TOO_SLOW: u16 = 4410;
    /// The client went on sending after many `rate_limited` answers.
    pub const FLOODING: u16 = 4429;
}
