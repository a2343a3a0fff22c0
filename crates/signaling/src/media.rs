//! What signaling needs from the media side, as a trait that the engine implements with the SFU, and what the media side reports
//! back. Signaling knows rooms and participants by their ids on the wire; no packet, no SDP line is understood here.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use serde::{Deserialize, Serialize};

use crate::protocol::{
    ErrorCode, Focus, Quality, SlotInfo, SlotMapping, SlotView, Source, SpatialLayers, TrackClaim, WireError,
};

/// A boxed future, as the traits of this crate return it so that they can be made into objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An SDP offer and what its sendonly m-lines carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaOffer {
    /// The SDP text.
    pub sdp: String,
    /// One claim for each m-line that publishes.
    pub tracks: Vec<TrackClaim>,
}

/// The answer to a [`MediaOffer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaAnswer {
    /// The SDP text.
    pub answer: String,
    /// The receiving m-lines.
    pub slots: Vec<SlotInfo>,
}

/// Why the media side refused; passed on to the client as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct MediaError {
    /// For programs; [`ErrorCode::BadOffer`] where the offer is at fault.
    pub code: ErrorCode,
    /// For people; names the m-line and what was expected.
    pub message: String,
}

impl MediaError {
    /// An error with a message for people.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<MediaError> for WireError {
    fn from(error: MediaError) -> Self {
        Self::new(error.code, error.message)
    }
}

/// The media side. Calls come from many tasks at once; those about one participant come in order, each after the last has
/// returned. A call that panics or takes longer than the configured time is answered `internal` or `unavailable`
/// and followed by [`leave`](Self::leave) where it was a join.
pub trait Media: Send + Sync + 'static {
    /// Opens a room. Comes before everything else about it, and after [`close_room`](Self::close_room) of a former room of that name has returned.
    fn open_room<'a>(&'a self, room: &'a str) -> BoxFuture<'a, Result<(), MediaError>>;
    /// Closes a room, and drops who is still in it. No [`MediaEvent::RoomClosed`] is needed after it.
    fn close_room<'a>(&'a self, room: &'a str) -> BoxFuture<'a, Result<(), MediaError>>;
    /// Takes a participant in.
    fn join<'a>(
        &'a self,
        room: &'a str,
        participant: &'a str,
        offer: MediaOffer,
    ) -> BoxFuture<'a, Result<MediaAnswer, MediaError>>;
    /// Takes a further offer of a participant: ICE restart, more slots, other tracks.
    fn offer<'a>(
        &'a self,
        room: &'a str,
        participant: &'a str,
        offer: MediaOffer,
    ) -> BoxFuture<'a, Result<MediaAnswer, MediaError>>;
    /// Drops a participant. May also come for one that never got in; that is not an error.
    fn leave<'a>(&'a self, room: &'a str, participant: &'a str) -> BoxFuture<'a, Result<(), MediaError>>;
    /// Mutes or unmutes a track of a participant.
    fn set_muted<'a>(
        &'a self,
        room: &'a str,
        participant: &'a str,
        source: Source,
        muted: bool,
    ) -> BoxFuture<'a, Result<(), MediaError>>;
    /// Tells how large a participant shows its slots.
    fn set_view<'a>(
        &'a self,
        room: &'a str,
        participant: &'a str,
        view: Vec<SlotView>,
    ) -> BoxFuture<'a, Result<(), MediaError>>;
    /// Pins somebody for a participant, or nobody.
    fn set_pin<'a>(
        &'a self,
        room: &'a str,
        participant: &'a str,
        pinned: Option<&'a str>,
    ) -> BoxFuture<'a, Result<(), MediaError>>;
    /// Lets a participant receive nobody but `only`, also while those send nothing. Comes at most once, right after [`join`](Self::join).
    fn play_only<'a>(
        &'a self,
        room: &'a str,
        participant: &'a str,
        only: &'a str,
    ) -> BoxFuture<'a, Result<(), MediaError>>;
}

impl fmt::Debug for dyn Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Media")
    }
}

/// What the media side reports. Events about rooms and participants that are gone are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "media", rename_all = "snake_case")]
pub enum MediaEvent {
    /// A participant's transport is up.
    Connected {
        /// The room.
        room: String,
        /// Who.
        participant: String,
    },
    /// A participant's transport is down. They stay in the roster, not connected, until they leave, offer again or join again.
    Disconnected {
        /// The room.
        room: String,
        /// Who.
        participant: String,
        /// Why, for the log.
        reason: String,
    },
    /// What flows in a participant's slots has changed.
    Slots {
        /// The room.
        room: String,
        /// Whose slots.
        participant: String,
        /// Changed slots only.
        slots: Vec<SlotMapping>,
    },
    /// The voice lights have changed.
    Speaking {
        /// The room.
        room: String,
        /// All who speak now.
        speaking: Vec<String>,
    },
    /// Somebody else is to be highlighted, or nobody.
    Stage {
        /// The room.
        room: String,
        /// Who.
        participant: Option<String>,
        /// Why.
        reason: String,
    },
    /// What one participant is meant to look at has changed.
    Focus {
        /// The room.
        room: String,
        /// Whose view it is.
        participant: String,
        /// What to look at; nothing more than anything else: `None`.
        focus: Option<Focus>,
    },
    /// How good a participant's connection is: when that changes, and now and then.
    Quality {
        /// The room.
        room: String,
        /// Whose connection.
        participant: String,
        /// As it was measured.
        quality: Quality,
    },
    /// Other simulcast layers of a participant's track are wanted than before.
    Layers {
        /// The room.
        room: String,
        /// Whose track.
        participant: String,
        /// Which track.
        source: Source,
        /// The RIDs of the layers that somebody wants.
        wanted: Vec<String>,
        /// Of a track without simulcast: how many of its spatial layers somebody wants.
        spatial: Option<SpatialLayers>,
    },
    /// The room broke on the media side; who was in it is told.
    RoomClosed {
        /// The room.
        room: String,
        /// Why.
        reason: String,
    },
}
