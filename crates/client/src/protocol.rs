//! The types of the signaling protocol, version 1, as `docs/protocol.md` describes them, read leniently: a field or a
//! variant this client does not know is passed over. They are not shared with the server, so that a slip on either
//! side shows in a test.

use serde::{Deserialize, Serialize};

/// The protocol version this client speaks.
pub const VERSION: u32 = 1;

/// What the server says about this session once the token was accepted.
#[derive(Debug, Clone, Deserialize)]
pub struct Hello {
    /// The protocol version the server will speak.
    pub version: u32,
    /// The user the token stands for.
    pub user: String,
    /// The user's display name.
    #[serde(default)]
    pub name: String,
    /// This session's device id.
    pub device: String,
    /// How often to send `ping`, in milliseconds.
    pub heartbeat_ms: u64,
    /// Who has a live session, except this user; empty without the `list` grant.
    #[serde(default)]
    pub people: Vec<Person>,
    /// Calls that ring for this user or are held by them.
    #[serde(default)]
    pub calls: Vec<Call>,
}

/// Somebody with a live session.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Person {
    /// The user id.
    pub user: String,
    /// The display name.
    #[serde(default)]
    pub name: String,
    /// `available` or `in_call`.
    #[serde(default)]
    pub state: String,
}

/// Voice or video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallKind {
    /// Microphones only.
    Voice,
    /// Microphones and cameras.
    Video,
}

/// Where a call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallState {
    /// Devices of the callee ring.
    Ringing,
    /// Answered.
    Active,
    /// Over; `outcome` says how.
    Ended,
    /// Not known to this client.
    #[serde(other)]
    Other,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Somebody picked up.
    Answered,
    /// The callee said no.
    Declined,
    /// Nobody picked up in time.
    NoAnswer,
    /// The callee was in another call.
    Busy,
    /// No device of the callee acknowledged the ring.
    Unreachable,
    /// The caller gave up.
    Cancelled,
    /// The server could not carry it.
    Failed,
    /// Not known to this client.
    #[serde(other)]
    Other,
}

/// One callee device's part in a call.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Leg {
    /// The callee.
    pub user: String,
    /// The device; absent for a user without a live device, who is being woken.
    #[serde(default)]
    pub device: Option<String>,
    /// The leg's state.
    pub state: LegState,
}

/// Where a leg stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LegState {
    /// Not yet shown on the device.
    Queued,
    /// The device shows the ring.
    RingAcked,
    /// Picked up here.
    Accepted,
    /// Refused here.
    Declined,
    /// Silenced here.
    Ignored,
    /// In another call.
    Busy,
    /// Did not acknowledge the ring in time.
    Unreachable,
    /// Rang until the end.
    TimedOut,
    /// Another device of the user picked up.
    AnsweredElsewhere,
    /// The caller gave up.
    Cancelled,
    /// Not known to this client.
    #[serde(other)]
    Other,
}

/// A user as a call names them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Party {
    /// The user id.
    pub user: String,
    /// The display name, where the server knows it.
    #[serde(default)]
    pub name: String,
}

/// A ringing attempt and what comes of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Call {
    /// The call's id.
    pub id: String,
    /// Voice or video.
    pub kind: CallKind,
    /// The embedding app's conversation.
    #[serde(default)]
    pub thread: String,
    /// The room to join.
    pub room: String,
    /// Who placed it.
    pub from: Party,
    /// Who is being rung.
    #[serde(default)]
    pub to: Vec<Party>,
    /// Where it stands.
    pub state: CallState,
    /// When it was placed, in Unix milliseconds.
    #[serde(default)]
    pub placed_at: u64,
    /// How long it rings in all, in milliseconds.
    #[serde(default)]
    pub ring_ms: u64,
    /// How it ended, once it has.
    #[serde(default)]
    pub outcome: Option<Outcome>,
    /// The callee devices.
    #[serde(default)]
    pub legs: Vec<Leg>,
}

/// What a published track shows or carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The microphone.
    Microphone,
    /// The camera.
    Camera,
    /// A shared screen.
    Screen,
}

/// Audio or video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Audio.
    Audio,
    /// Video.
    Video,
}

/// One published track of somebody in the room.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Track {
    /// What it carries.
    pub source: Source,
    /// Audio or video.
    pub kind: Kind,
    /// Whether its owner muted it.
    #[serde(default)]
    pub muted: bool,
}

/// Somebody in the room.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RosterEntry {
    /// The participant id, unique in the room.
    pub participant: String,
    /// The user id.
    pub user: String,
    /// The display name.
    #[serde(default)]
    pub name: String,
    /// What they publish.
    #[serde(default)]
    pub tracks: Vec<Track>,
    /// Whether their media transport is up.
    #[serde(default)]
    pub connected: bool,
}

/// What the answer to a join says about one receiving m-line.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SlotInfo {
    /// The m-line.
    pub mid: String,
    /// Audio or video.
    pub kind: Kind,
    /// The k that the paired audio and video slots share; absent for an unpaired one.
    #[serde(default)]
    pub pair: Option<usize>,
}

/// What flows in a receiving m-line from an RTP timestamp on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SlotMapping {
    /// The m-line.
    pub mid: String,
    /// Whose track; `None`: the slot is empty.
    #[serde(default)]
    pub participant: Option<String>,
    /// Which of their tracks.
    #[serde(default)]
    pub source: Option<Source>,
    /// Counts up per slot.
    #[serde(default)]
    pub epoch: u32,
    /// The first rewritten RTP timestamp it holds for.
    #[serde(default)]
    pub rtp_timestamp: Option<u32>,
    /// Why the slot is empty, where it is.
    #[serde(default)]
    pub reason: Option<String>,
}

/// The answer to `room.join`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Joined {
    pub(crate) participant: String,
    pub(crate) answer: String,
    #[serde(default)]
    pub(crate) slots: Vec<SlotInfo>,
    #[serde(default)]
    pub(crate) roster: Vec<RosterEntry>,
}

/// A published line as `room.join` announces it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct TrackClaim {
    pub(crate) mid: String,
    pub(crate) source: Source,
    pub(crate) muted: bool,
}

/// How large a receiving m-line is shown, in physical pixels; 0 × 0 is hidden.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SlotView {
    /// The m-line.
    pub mid: String,
    /// Physical pixels.
    pub width: u32,
    /// Physical pixels.
    pub height: u32,
}

/// Whose device picked up.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AnsweredBy {
    /// The user.
    pub user: String,
    /// Their device.
    pub device: String,
}

/// What the server tells without being asked, and the end of the socket.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "event")]
#[non_exhaustive]
pub enum Event {
    /// Who has a live session, except oneself: the whole list, after a reconnection.
    #[serde(rename = "people")]
    People {
        /// All of them.
        people: Vec<Person>,
    },
    /// Who came, went or changed.
    #[serde(rename = "people.changed")]
    PeopleChanged {
        /// Who came or changed, maybe oneself.
        #[serde(default)]
        people: Vec<Person>,
        /// Ids of those who are gone.
        #[serde(default)]
        gone: Vec<String>,
    },
    /// Somebody rings.
    #[serde(rename = "call.incoming")]
    CallIncoming {
        /// The call.
        call: Call,
        /// How long it still rings, in milliseconds.
        #[serde(default)]
        expires_ms: u64,
    },
    /// A callee device's part has changed; told to the caller.
    #[serde(rename = "call.leg")]
    CallLeg {
        /// The call's id.
        call: String,
        /// The leg as it is now.
        leg: Leg,
    },
    /// Somebody picked up.
    #[serde(rename = "call.active")]
    CallActive {
        /// The call.
        call: Call,
        /// The device that did.
        answered_by: AnsweredBy,
    },
    /// The call is over, at least for this device.
    #[serde(rename = "call.ended")]
    CallEnded {
        /// The call.
        call: Call,
        /// How it ended; absent where it goes on elsewhere.
        #[serde(default)]
        outcome: Option<Outcome>,
        /// For this device: an outcome, `answered_elsewhere` or `declined_elsewhere`.
        #[serde(default)]
        reason: String,
        /// How long was talked, in milliseconds.
        #[serde(default)]
        talk_ms: u64,
        /// Who ended it.
        #[serde(default)]
        by: Option<String>,
    },
    /// Who came, went or changed.
    #[serde(rename = "room.roster")]
    Roster {
        /// The room.
        room: String,
        /// New participants.
        #[serde(default)]
        joined: Vec<RosterEntry>,
        /// Ids of those who left.
        #[serde(default)]
        left: Vec<String>,
        /// Participants whose entry changed.
        #[serde(default)]
        changed: Vec<RosterEntry>,
    },
    /// What flows in which slot; only changed slots.
    #[serde(rename = "room.slots")]
    Slots {
        /// The room.
        room: String,
        /// The changed slots.
        slots: Vec<SlotMapping>,
    },
    /// Everybody who speaks now.
    #[serde(rename = "room.speaking")]
    Speaking {
        /// The room.
        room: String,
        /// Participant ids.
        speaking: Vec<String>,
    },
    /// Whom to highlight.
    #[serde(rename = "room.stage")]
    Stage {
        /// The room.
        room: String,
        /// The participant, or nobody.
        #[serde(default)]
        participant: Option<String>,
        /// Why.
        #[serde(default)]
        reason: Option<String>,
    },
    /// A participant's media transport is up.
    #[serde(rename = "room.connected")]
    Connected {
        /// The room.
        room: String,
        /// Whose.
        participant: String,
    },
    /// The room is gone.
    #[serde(rename = "room.closed")]
    RoomClosed {
        /// The room.
        room: String,
        /// Why.
        #[serde(default)]
        reason: String,
    },
    /// Something happened to a note: its `state`, `reason` and `heard_at` say what.
    #[serde(
        rename = "note.offered",
        alias = "note.countdown",
        alias = "note.recording",
        alias = "note.saving",
        alias = "note.draft",
        alias = "note.sent",
        alias = "note.discarded",
        alias = "note.expired",
        alias = "note.heard",
        alias = "note.unheard",
        alias = "note.deleted",
        alias = "note.reacted",
        alias = "note.unreacted"
    )]
    Note {
        /// The note as the protocol has it.
        note: serde_json::Value,
        /// How many notes wait for this user.
        #[serde(default)]
        unheard: u64,
    },
    /// The signaling socket has closed; nothing follows. Made by this client.
    #[serde(rename = "client.closed")]
    Closed {
        /// The close code.
        code: u16,
        /// The reason.
        reason: String,
    },
    /// An event this client does not know.
    #[serde(other)]
    Unknown,
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// A field is missing or out of range.
    BadRequest,
    /// Not JSON of this protocol.
    BadJson,
    /// No such request.
    UnknownType,
    /// The server does not speak this version.
    UnsupportedVersion,
    /// The token was not accepted.
    Unauthorized,
    /// The token has expired.
    TokenExpired,
    /// The token does not allow this.
    Forbidden,
    /// No such call, room or user.
    NotFound,
    /// Not in this state.
    Conflict,
    /// Too often.
    RateLimited,
    /// Too large.
    TooLarge,
    /// The SDP offer cannot be answered.
    BadOffer,
    /// Shutting down or full.
    Unavailable,
    /// The server's fault.
    Internal,
    /// Not known to this client.
    #[serde(other)]
    Other,
}

/// The `error` of a refused request.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    #[serde(default)]
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) retry_after_ms: Option<u64>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn events_of_the_protocol_are_read() {
        let incoming = r#"{"seq":1,"event":"call.incoming","expires_ms":30000,"call":{"id":"c1","kind":"video","thread":"t",
            "room":"r1","from":{"user":"alice","name":"Alice"},"to":[{"user":"bob"}],"state":"ringing","placed_at":1,
            "ring_ms":30000,"legs":[{"user":"bob","device":"d","state":"queued"}]}}"#;
        let Event::CallIncoming { call, expires_ms } = serde_json::from_str(incoming).unwrap() else {
            panic!("not read as call.incoming");
        };
        assert_eq!((call.room.as_str(), call.kind, expires_ms), ("r1", CallKind::Video, 30_000));
        assert_eq!(call.legs[0].state, LegState::Queued);

        let slots = r#"{"seq":2,"event":"room.slots","room":"r1","slots":[{"mid":"3","participant":"p","source":"camera",
            "epoch":4,"rtp_timestamp":4000000000,"reason":null}]}"#;
        let Event::Slots { slots, .. } = serde_json::from_str(slots).unwrap() else {
            panic!("not read as room.slots");
        };
        assert_eq!(slots[0].rtp_timestamp, Some(4_000_000_000));
    }

    #[test]
    fn what_a_newer_server_adds_is_passed_over() {
        let event: Event = serde_json::from_str(r#"{"seq":3,"event":"room.weather","sunny":true}"#).unwrap();
        assert_eq!(event, Event::Unknown);
        let refusal: Refusal = serde_json::from_str(r#"{"code":"too_sunny","message":"shade"}"#).unwrap();
        assert_eq!(refusal.code, ErrorCode::Other);
    }
}
