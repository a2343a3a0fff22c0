//! Names of things: rooms, participants and what a participant publishes. The numbers are chosen by whoever drives a worker
//! (the engine maps its own strings onto them), so they print safely in logs and cost nothing to copy or compare.

use std::fmt;

use ringback_transport::sdp::MediaKind;
use serde::{Deserialize, Serialize};

/// A room: where media meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomId(pub u64);

/// Someone in a room, unique on its worker. A device that leaves and comes back is a new participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParticipantId(pub u64);

/// A share of the participants of a room: those whose number leaves `at` when divided by `of`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Which share, from 0.
    pub at: u32,
    /// Of how many.
    pub of: u32,
}

impl Share {
    /// Everybody.
    pub const ALL: Self = Self { at: 0, of: 1 };

    pub(crate) fn has(self, participant: ParticipantId) -> bool {
        participant.0 % u64::from(self.of.max(1)) == u64::from(self.at)
    }
}

impl fmt::Display for RoomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "room {}", self.0)
    }
}

impl fmt::Display for ParticipantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "participant {}", self.0)
    }
}

/// What a participant publishes: one track each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The voice: audio, paired with the camera.
    Microphone,
    /// The face: video, paired with the microphone.
    Camera,
    /// A shared screen: video, not synchronised with anything.
    Screen,
}

impl Source {
    /// Whether this source is heard or seen.
    pub fn kind(self) -> MediaKind {
        match self {
            Source::Microphone => MediaKind::Audio,
            Source::Camera | Source::Screen => MediaKind::Video,
        }
    }
}
