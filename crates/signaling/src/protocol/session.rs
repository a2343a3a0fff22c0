//! `hello` and the list of people.

use serde::{Deserialize, Serialize};

use super::{CallInfo, RoomMembership};
use crate::notes::OpenNotes;

/// The first request on a socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The protocol version the client speaks.
    pub version: u32,
    /// The JSON Web Token that says who this is and what they may do.
    pub token: String,
    /// A stable id of this device (at most 64 characters of `[A-Za-z0-9_-]`); the server makes one up where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Where the session before this one stopped: asks for the events missed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Resume>,
}

/// Up to where a device has been told what happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// The `stream` of the session before.
    pub stream: String,
    /// The `seq` of the last event that came; 0: none did.
    pub seq: u64,
}

/// The answer to [`Hello`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HelloOk {
    /// The protocol version of this session.
    pub version: u32,
    /// Who the token says this is.
    pub user: String,
    /// The name others see.
    pub name: String,
    /// This device's id; send it in the next `hello` to be the same device again.
    pub device: String,
    /// Names what this device is told from now on; for `resume` in a later `hello`.
    pub stream: String,
    /// Whether that goes on where `resume` stopped: the events missed follow, under their numbers. Otherwise numbers begin again, and this answer and the
    /// events after it are the whole picture.
    pub resumed: bool,
    /// How often to send something, in milliseconds.
    pub heartbeat_ms: u64,
    /// STUN and TURN servers for the browser's peer connection.
    pub ice_servers: Vec<IceServer>,
    /// Who else is there (empty without the `list` grant).
    pub people: Vec<Person>,
    /// Calls that ring for this user or that this device holds.
    pub calls: Vec<CallInfo>,
    /// Rooms this device is still in from a session that broke off a moment ago.
    pub rooms: Vec<RoomMembership>,
    /// Notes: those this user has not finished leaving, and how many wait to be heard. Absent where there are no notes.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<OpenNotes>,
}

/// An `RTCIceServer` dictionary of the WebRTC specification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceServer {
    /// `stun:` and `turn:` URLs.
    pub urls: Vec<String>,
    /// For TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// For TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// Somebody with a live session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The user's id.
    pub user: String,
    /// The user's name.
    pub name: String,
    /// Whether a call would get through.
    pub state: Availability,
}

/// Whether a call to a [`Person`] would ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Availability {
    /// A call would ring.
    Available,
    /// In an active call: a call would end at once, busy.
    InCall,
}
