//! **Ringback** is a call engine to embed: it rings people, relays their audio and video through its own SFU, and highlights
//! whoever is speaking, and takes a note where nobody picks up, on the tokio runtime of the program that it is part of. [`Engine::builder`] starts it, [`Engine::router`]
//! is an axum router to nest beside the program's own routes, [`Engine::events`] tells what happens, [`Engine::event_log`] keeps it, and hooks ([`Authorize`],
//! [`Notify`], [`MissedCall`]) let the program decide. It is not a server by itself (`examples/sfu.rs` is the smallest one), and
//! it keeps no user accounts: tokens say who somebody is.
//!
//! Media is relayed, not end-to-end encrypted: whoever runs the engine could listen. Participants who encrypt their frames
//! themselves are passed through as they are.

mod builder;
mod call_log;
mod engine;
mod error;
mod event_feed;
mod imagine;
mod library;
mod media;
mod metrics;
mod missed_call;
mod notes;
mod open_room;
pub mod peace;
mod placement;
mod reacting;
mod reactions;
mod restart;
mod stage_readings;
mod webhook;

pub use builder::{EngineBuilder, WorkerThreads};
pub use engine::{Engine, Events};
pub use error::EngineError;
pub use metrics::METRICS_TYPE;
pub use missed_call::{MissedCall, NoteDecision, OfferNotes};
pub use reactions::{ReactionRights, RoomReaction};
pub use ringback_imagine::{
    ImageInfo, Imagine, ImagineConfig, ImagineError, JobState, ModerateImages, Money, ProviderConfig, ProviderKind,
    Quota, Size, SpendCap, WebhookSettings,
};
pub use ringback_reactions::{
    Controls, CountedReaction, HostControl, Mode, NamedReaction, Palette, ReactionEvent, Refusal, RefusalCode, Rights,
    RoomReactionsConfig, Who,
};
pub use ringback_recorder::{
    AtRestKey, EventLog, EventPage, Follow, LoggedEvent, Moderate, NewEvent, NoteInfo, NoteKind, NoteLimits, NoteState,
    Recorder, RecorderConfig, RecorderError,
};
pub use ringback_signaling::hooks::{Authorize, EndedCall, HookError, Notice, Notify, Permission};
pub use ringback_signaling::media::BoxFuture;
pub use ringback_signaling::notes::NoteNotice;
pub use ringback_signaling::protocol::{
    CallInfo, CallKind, CallState, IceServer, Leg, LegState, Outcome, Party, Quality, QualityLevel, QualityTimes,
    UserQuality, UserRef,
};
pub use ringback_signaling::token::{Claims, Grants, TokenIssuer, TokenVerifier};
pub use ringback_signaling::turn::TurnServer;
pub use ringback_signaling::{SignalingError, SignalingEvent};
pub use ringback_transport::sdp::{CodecName, CodecPreferences};
pub use ringback_transport::srtp::GcmLibrary;
pub use webhook::WebhookConfig;
