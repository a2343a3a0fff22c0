//! Rooms, participants, tracks and slots as clients see them.

use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use super::{QualityLevel, UserRef};

/// What a track shows or lets hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A voice.
    Microphone,
    /// A face.
    Camera,
    /// A shared screen.
    Screen,
}

impl Source {
    /// Sound or picture.
    pub fn kind(self) -> MediaKind {
        match self {
            Self::Microphone => MediaKind::Audio,
            Self::Camera | Self::Screen => MediaKind::Video,
        }
    }
}

/// Sound or picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaKind {
    /// Sound.
    Audio,
    /// Picture.
    Video,
}

/// What the client publishes in one of its sendonly m-lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackClaim {
    /// The m-line's `a=mid`.
    pub mid: String,
    /// What it carries.
    pub source: Source,
    /// Whether it starts muted.
    #[serde(default)]
    pub muted: bool,
}

/// A receiving m-line of a participant: the server decides which track flows through it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotInfo {
    /// The m-line's `a=mid`.
    pub mid: String,
    /// Sound or picture.
    pub kind: MediaKind,
    /// The k of the k-th audio and k-th video slot, which a browser keeps in sync; null for an unpaired slot.
    pub pair: Option<u32>,
}

/// What flows through a slot from some RTP timestamp on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotMapping {
    /// The slot's `a=mid`.
    pub mid: String,
    /// Whose track; null: nothing flows.
    pub participant: Option<String>,
    /// Which of their tracks.
    pub source: Option<Source>,
    /// Counts up with each change of this slot.
    pub epoch: u32,
    /// The first RTP timestamp that the mapping holds for; null: from now on.
    pub rtp_timestamp: Option<u32>,
    /// Why nothing flows (`"muted"`, `"codec"`, `"left"`, …).
    pub reason: Option<String>,
}

/// How many spatial layers of a stream (SVC) somebody wants, the smallest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpatialLayers {
    /// So many, at least one.
    pub wanted: u8,
    /// Of so many that the stream has, with those that were left out as nobody wanted them.
    pub of: u8,
}

/// What one participant is meant to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Focus {
    /// Whose picture.
    pub participant: String,
    /// Which of their tracks; the camera also while they send none.
    pub source: Source,
    /// Why: `"pinned"`, `"screen"` or `"stage"`.
    pub reason: String,
}

/// How large a client shows a slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SlotView {
    /// The slot's `a=mid`.
    pub mid: String,
    /// In CSS pixels times the device pixel ratio; 0: hidden.
    pub width: u32,
    /// In CSS pixels times the device pixel ratio; 0: hidden.
    pub height: u32,
}

/// One published track.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Track {
    /// What it carries.
    pub source: Source,
    /// Sound or picture.
    pub kind: MediaKind,
    /// Whether its owner has muted it.
    pub muted: bool,
}

/// Someone in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Participant {
    /// Unique among all participants of all rooms.
    pub participant: String,
    /// The user's id.
    pub user: String,
    /// The user's name.
    pub name: String,
    /// What they publish.
    pub tracks: Vec<Track>,
    /// Whether their media transport is up.
    pub connected: bool,
    /// How good their connection is; absent until it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<QualityLevel>,
}

/// A [`Participant`] as JSON: written once, however many are told.
#[derive(Debug, Clone)]
pub struct WrittenParticipant(Arc<RawValue>);

impl WrittenParticipant {
    /// Writes a participant.
    pub fn new(participant: &Participant) -> Self {
        let text = to_raw_value(participant).unwrap_or_else(|error| {
            tracing::error!(%error, "a participant cannot be written as JSON");
            RawValue::NULL.to_owned()
        });
        Self(text.into())
    }
}

impl Serialize for WrittenParticipant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// Who is in a room, as it shows outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// How many are in it.
    pub count: usize,
    /// Some of them.
    pub people: Vec<UserRef>,
}

/// A room that a device is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomMembership {
    /// The room.
    pub room: String,
    /// As whom.
    pub participant: String,
}

/// The answer to `room.join`; as the server writes it, with [written](WrittenParticipant) participants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined<P = Participant> {
    /// Who the client is in this room.
    pub participant: String,
    /// The SDP answer.
    pub answer: String,
    /// The receiving m-lines.
    pub slots: Vec<SlotInfo>,
    /// Who is here, the client included.
    pub roster: Vec<P>,
    /// Whom to highlight.
    pub stage: Option<String>,
    /// All who speak now.
    pub speaking: Vec<String>,
}

/// The answer to `room.offer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offered {
    /// The SDP answer.
    pub answer: String,
    /// The receiving m-lines.
    pub slots: Vec<SlotInfo>,
}
