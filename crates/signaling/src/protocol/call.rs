//! Calls and legs as clients see them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Voice or video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallKind {
    /// Microphones only (a camera may be added later).
    Voice,
    /// Microphones and cameras.
    Video,
}

/// Where a call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallState {
    /// Devices ring, or are being woken.
    Ringing,
    /// Somebody has accepted.
    Active,
    /// Over; the outcome is final.
    Ended,
}

/// How a call ended. Each call gets exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Somebody accepted; people talked.
    Answered,
    /// The callee declined.
    Declined,
    /// It rang to the end and nobody picked up.
    NoAnswer,
    /// The callee is in another call, or declined saying so.
    Busy,
    /// No device of the callee acknowledged the ring in time.
    Unreachable,
    /// The caller gave up, or vanished.
    Cancelled,
    /// The server could not carry it (the room could not be opened, or broke).
    Failed,
}

impl Outcome {
    /// The outcome as it stands on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Declined => "declined",
            Self::NoAnswer => "no_answer",
            Self::Busy => "busy",
            Self::Unreachable => "unreachable",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why one device is done with a call: an outcome of the call, or that another device of the same user dealt with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DoneReason {
    /// The call was answered here and is over.
    Answered,
    /// The callee declined.
    Declined,
    /// It rang to the end.
    NoAnswer,
    /// The callee is in another call.
    Busy,
    /// No device of the callee acknowledged the ring.
    Unreachable,
    /// The caller gave up, or vanished.
    Cancelled,
    /// The server could not carry it.
    Failed,
    /// Another device of this user accepted; the call itself goes on.
    AnsweredElsewhere,
    /// Another device of this user declined.
    DeclinedElsewhere,
    /// This user left a group call, which may go on; accept it again to come back.
    Left,
    /// The host took this user out of a group call.
    Removed,
}

impl From<Outcome> for DoneReason {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Answered => Self::Answered,
            Outcome::Declined => Self::Declined,
            Outcome::NoAnswer => Self::NoAnswer,
            Outcome::Busy => Self::Busy,
            Outcome::Unreachable => Self::Unreachable,
            Outcome::Cancelled => Self::Cancelled,
            Outcome::Failed => Self::Failed,
        }
    }
}

/// A user by id and, where it is known, name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRef {
    /// The user's id.
    pub user: String,
    /// The user's name; unknown while the user has no live session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// One device of one user.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Party {
    /// The user's id.
    pub user: String,
    /// The device's id.
    pub device: String,
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.user, self.device)
    }
}

/// What has become of one callee device's part in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LegState {
    /// Sent to the device (or being woken), not acknowledged yet.
    Queued,
    /// The device says that it shows the ring.
    RingAcked,
    /// This device accepted.
    Accepted,
    /// This device declined for all of the user's devices.
    Declined,
    /// Silenced on this device only.
    Ignored,
    /// The user is in another call, or declined saying so.
    Busy,
    /// The device vanished, or did not acknowledge in time.
    Unreachable,
    /// It rang to the end.
    TimedOut,
    /// Another device of the same user accepted.
    AnsweredElsewhere,
    /// The call ended before this device did anything.
    Cancelled,
    /// Was in a group call and has left it.
    Left,
    /// The host took the user out of a group call, or off the list of those it rings.
    Removed,
}

impl LegState {
    /// Whether the device rings, or is about to.
    pub fn is_ringing(self) -> bool {
        matches!(self, Self::Queued | Self::RingAcked)
    }
}

/// One callee device's part in a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leg {
    /// The callee.
    pub user: String,
    /// The device; absent for a user without a live device, who is being woken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Where it stands.
    pub state: LegState,
}

/// A call as clients see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallInfo {
    /// Unguessable.
    pub id: String,
    /// Voice or video.
    pub kind: CallKind,
    /// The embedding app's conversation; derived from the pair where the caller gave none.
    pub thread: String,
    /// Where its media meets.
    pub room: String,
    /// The caller.
    pub from: UserRef,
    /// The callees.
    pub to: Vec<UserRef>,
    /// Where it stands.
    pub state: CallState,
    /// When it was placed, in Unix milliseconds.
    pub placed_at: u64,
    /// How long it rings in all, in milliseconds.
    pub ring_ms: u64,
    /// How it ended; absent until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The callees' devices.
    pub legs: Vec<Leg>,
    /// Whether it was placed to, or has come to include, more than two.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub group: bool,
    /// Who is in it now, the caller's device while it rings included; the longest there first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<Party>,
    /// Who may remove, mute, admit, and end it for all: the caller while they are in it, otherwise who has been in it the longest.
    #[serde(default)]
    pub host: String,
}
