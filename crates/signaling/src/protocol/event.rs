//! What the server tells a client unasked.

use serde::{Deserialize, Serialize};

use super::{
    CallInfo, DoneReason, Focus, Leg, Outcome, Participant, Party, Person, Quality, SlotMapping, Source, SpatialLayers,
    UserRef,
};

/// An event, without the `seq` under which a device is told it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event")]
pub enum Event {
    /// Who else is there: the whole list, after events that were missed.
    #[serde(rename = "people")]
    People {
        /// Everyone with a live session but oneself.
        people: Vec<Person>,
    },
    /// Who has come, gone or changed.
    #[serde(rename = "people.changed")]
    PeopleChanged {
        /// Who came or changed, maybe oneself.
        people: Vec<Person>,
        /// The ids of those who are gone; an unknown one is to be ignored.
        gone: Vec<String>,
    },
    /// Ring.
    #[serde(rename = "call.incoming")]
    CallIncoming {
        /// The call.
        call: CallInfo,
        /// How much longer it rings, in milliseconds.
        expires_ms: u64,
    },
    /// To the members of a group call: who is in it, or is being rung, has changed.
    #[serde(rename = "call.changed")]
    CallChanged {
        /// The call.
        call: CallInfo,
    },
    /// To the host of a call: somebody who was not rung asks to be let in.
    #[serde(rename = "call.knock")]
    CallKnock {
        /// The call's id.
        call: String,
        /// Who.
        user: String,
        /// Their name.
        name: String,
    },
    /// To whoever knocked: they may accept the call now, or not.
    #[serde(rename = "call.admitted")]
    CallAdmitted {
        /// The call's id.
        call: String,
        /// Let in.
        admitted: bool,
    },
    /// To the caller, in a group call to all members: a leg changed.
    #[serde(rename = "call.leg")]
    CallLeg {
        /// The call's id.
        call: String,
        /// The leg as it is now.
        leg: Leg,
    },
    /// To the caller and the answering device, and to whoever comes into a group call later: talk.
    #[serde(rename = "call.active")]
    CallActive {
        /// The call.
        call: CallInfo,
        /// Which device accepted.
        answered_by: Party,
    },
    /// This device is done with the call.
    #[serde(rename = "call.ended")]
    CallEnded {
        /// The call.
        call: CallInfo,
        /// Of the call (`answered` for a call that goes on elsewhere).
        outcome: Outcome,
        /// For this device.
        reason: DoneReason,
        /// How long people talked, in milliseconds.
        talk_ms: u64,
        /// Whose doing it was, where somebody did it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
        /// To the caller: the room stays open for now, since a note may be offered. Either that follows, or `room.closed`.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        room_kept: bool,
    },
    /// Who came, left, or changed.
    #[serde(rename = "room.roster")]
    RoomRoster {
        /// The room.
        room: String,
        /// Who came; a participant already known is replaced.
        joined: Vec<Participant>,
        /// Who left; an unknown one is to be ignored.
        left: Vec<String>,
        /// Who is there still, but changed.
        changed: Vec<Participant>,
    },
    /// What flows in the receiver's slots.
    #[serde(rename = "room.slots")]
    RoomSlots {
        /// The room.
        room: String,
        /// Changed slots only.
        slots: Vec<SlotMapping>,
    },
    /// To a participant: the host has muted this track. They may unmute it.
    #[serde(rename = "room.muted")]
    RoomMuted {
        /// The room.
        room: String,
        /// Which track.
        source: Source,
    },
    /// To who watches a room from outside: who is in it has changed.
    #[serde(rename = "room.presence")]
    RoomPresence {
        /// The room.
        room: String,
        /// How many are in it.
        count: usize,
        /// Some of them.
        people: Vec<UserRef>,
    },
    /// The voice lights.
    #[serde(rename = "room.speaking")]
    RoomSpeaking {
        /// The room.
        room: String,
        /// All who speak now.
        speaking: Vec<String>,
    },
    /// Whom to highlight.
    #[serde(rename = "room.stage")]
    RoomStage {
        /// The room.
        room: String,
        /// Nobody: null.
        participant: Option<String>,
        /// Why.
        reason: String,
    },
    /// What the receiver is meant to look at: a pin before a shared screen before whoever is on the stage, and never themselves.
    #[serde(rename = "room.focus")]
    RoomFocus {
        /// The room.
        room: String,
        /// Nothing more than anything else: null.
        focus: Option<Focus>,
    },
    /// To a participant: the simulcast layers of one of their own tracks that somebody wants. They may leave the others out until they
    /// are told again; until they are told anything, all are wanted.
    #[serde(rename = "room.layers")]
    RoomLayers {
        /// The room.
        room: String,
        /// Which of their tracks.
        source: Source,
        /// The RIDs of the wanted layers; empty where the track has no simulcast.
        wanted: Vec<String>,
        /// Of a track without simulcast: how many of its stream's spatial layers somebody wants.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        spatial: Option<SpatialLayers>,
    },
    /// A participant's media transport is up.
    #[serde(rename = "room.connected")]
    RoomConnected {
        /// The room.
        room: String,
        /// Whose.
        participant: String,
    },
    /// How good a connection is: to whoever it is, with all numbers; in small rooms to the others where the level has changed.
    #[serde(rename = "room.quality")]
    RoomQuality {
        /// The room.
        room: String,
        /// Whose connection.
        participant: String,
        /// As it was measured.
        #[serde(flatten)]
        quality: Quality,
    },
    /// To everybody in a room too large for its members to be told of each other's connections: whether anybody loses so much of what is
    /// sent to them that voices should be sent with redundancy.
    #[serde(rename = "room.losses")]
    RoomLosses {
        /// The room.
        room: String,
        /// Somebody loses 2 % or more, or has within the last 15 s lost 1 %.
        lossy: bool,
    },
    /// A text of docs/reactions.md, for who has no data channel for it.
    #[serde(rename = "reaction")]
    Reaction {
        /// The room.
        room: String,
        /// The label of the channel that it would have come on.
        channel: String,
        /// The text.
        message: serde_json::Value,
    },
    /// The room is gone, and everyone in it is out.
    #[serde(rename = "room.closed")]
    RoomClosed {
        /// The room.
        room: String,
        /// Why.
        reason: String,
    },
}

impl Event {
    /// The event as JSON without its `seq`, to be written once and [numbered](numbered) for each device.
    pub(crate) fn body(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| {
            tracing::error!(%error, "an event cannot be written as JSON");
            r#"{"event":"internal"}"#.to_owned()
        })
    }
}

/// Puts a device's `seq` into the [body](Event::body) of an event.
pub(crate) fn numbered(seq: u64, body: &str) -> String {
    format!(r#"{{"seq":{seq},{}"#, body.strip_prefix('{').unwrap_or(body))
}

/// An event as it arrives at a client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventFrame {
    /// Counts up by one in each stream of a device, from 1; over a reconnection it goes on where the stream is resumed.
    pub seq: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_a_large_room_is_told_of_losses_is_as_documented() {
        let event = Event::RoomLosses { room: "r".into(), lossy: true };
        assert_eq!(event.body(), r#"{"event":"room.losses","room":"r","lossy":true}"#);
    }

    #[test]
    fn a_body_numbered_for_a_socket_is_an_event_frame() {
        let event = Event::RoomStage { room: "r".into(), participant: None, reason: "silence".into() };
        let text = numbered(12, &event.body());
        assert_eq!(text, r#"{"seq":12,"event":"room.stage","room":"r","participant":null,"reason":"silence"}"#);
        assert_eq!(serde_json::from_str::<EventFrame>(&text).unwrap(), EventFrame { seq: 12, event });
    }
}
