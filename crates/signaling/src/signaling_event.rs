//! What the engine is told about calls and rooms as it happens, for call logs and webhooks.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::protocol::{CallInfo, DoneReason, Leg, Outcome, Participant, Party, QualityTimes};

/// Something that happened. The events of one call come in the order in which it happened, and so do those of one room.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum SignalingEvent {
    /// Somebody rings somebody.
    CallPlaced {
        /// In Unix milliseconds.
        at: u64,
        /// The call.
        call: CallInfo,
        /// The caller's device.
        caller: Party,
    },
    /// A call that was active when a former process ended goes on.
    CallRestored {
        /// In Unix milliseconds.
        at: u64,
        /// The call.
        call: CallInfo,
        /// The caller's device.
        caller: Party,
        /// When it was answered, in Unix milliseconds, later by as long as no process had it.
        active_since: u64,
    },
    /// A leg changed.
    LegChanged {
        /// In Unix milliseconds.
        at: u64,
        /// The call's id.
        call: String,
        /// The leg as it is now.
        leg: Leg,
    },
    /// Answered.
    CallActive {
        /// In Unix milliseconds.
        at: u64,
        /// The call.
        call: CallInfo,
        /// Which device accepted.
        answered_by: Party,
    },
    /// Somebody has come into a group call that is active, or come back to it.
    CallJoined {
        /// In Unix milliseconds.
        at: u64,
        /// The call's id.
        call: String,
        /// Who, on which device.
        party: Party,
    },
    /// Somebody is no longer in a group call.
    CallLeft {
        /// In Unix milliseconds.
        at: u64,
        /// The call's id.
        call: String,
        /// Who, on which device.
        party: Party,
        /// By themselves, taken out, or gone on with on another device.
        reason: DoneReason,
    },
    /// Over; the last event of a call.
    CallEnded {
        /// In Unix milliseconds.
        at: u64,
        /// The call in its final state.
        call: CallInfo,
        /// How it ended.
        outcome: Outcome,
        /// How long people talked, in milliseconds.
        talk_ms: u64,
        /// Whose doing it was, where somebody did it.
        by: Option<String>,
    },
    /// Somebody has come into a room.
    RoomJoined {
        /// In Unix milliseconds.
        at: u64,
        /// The room.
        room: String,
        /// Who.
        participant: Participant,
        /// On which device.
        device: String,
    },
    /// Somebody is out of a room.
    RoomLeft {
        /// In Unix milliseconds.
        at: u64,
        /// The room.
        room: String,
        /// Who.
        participant: String,
        /// Which user that was.
        user: String,
        /// For how long their connection was how good, to ten seconds.
        #[serde(default)]
        quality: QualityTimes,
    },
    /// A room is gone.
    RoomClosed {
        /// In Unix milliseconds.
        at: u64,
        /// The room.
        room: String,
        /// Why.
        reason: String,
    },
    /// Something happened to a note.
    Note {
        /// In Unix milliseconds.
        at: u64,
        /// `note.offered`, `note.sent`, `note.heard` …
        what: String,
        /// The note, as on the wire, without links.
        note: serde_json::Value,
    },
    /// Something happened to an image on request.
    Image {
        /// In Unix milliseconds.
        at: u64,
        /// `image.queued`, `image.posted` …
        what: String,
        /// The image, as on the wire, without a link.
        image: serde_json::Value,
    },
    /// The receiver was too slow, and this many events before this one are lost.
    Lost {
        /// How many.
        events: u64,
    },
}

/// How many events may wait for the receiver. Signaling never waits for it: a receiver that falls further behind loses events, and is told how many.
const CAPACITY: usize = 16 * 1024;

/// The sending end of a bounded channel of events. It never waits: what there is no room for is counted, and told as [`SignalingEvent::Lost`]
/// once there is room again.
#[derive(Debug)]
pub struct EventSink {
    sender: mpsc::Sender<SignalingEvent>,
    lost: u64,
}

impl EventSink {
    pub(crate) fn new() -> (Self, mpsc::Receiver<SignalingEvent>) {
        Self::with_room_for(CAPACITY)
    }

    /// A channel in which so many events may wait; room is taken up as they come.
    ///
    /// # Panics
    /// Where that is none, or more than the channel can count.
    pub fn with_room_for(events: usize) -> (Self, mpsc::Receiver<SignalingEvent>) {
        let (sender, receiver) = mpsc::channel(events);
        (Self { sender, lost: 0 }, receiver)
    }

    /// Sends an event, if there is room and somebody to receive it.
    pub fn send(&mut self, event: SignalingEvent) {
        if self.lost > 0 {
            match self.sender.try_send(SignalingEvent::Lost { events: self.lost }) {
                Ok(()) => self.lost = 0,
                Err(_) => return self.lost += 1,
            }
        }
        if let Err(mpsc::error::TrySendError::Full(_)) = self.sender.try_send(event) {
            tracing::warn!("the receiver of signaling events is too slow; events are lost");
            self.lost = 1;
        }
    }
}

/// Now, in Unix milliseconds.
pub(crate) fn unix_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    elapsed.as_millis().try_into().unwrap_or(u64::MAX)
}
