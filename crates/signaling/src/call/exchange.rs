//! What goes into a [call](super::Call) and what comes out of it.

use std::time::Duration;

use crate::protocol::{CallKind, DeclineReason, DoneReason, Leg, Outcome, Party};

/// How long a call waits for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallTiming {
    /// How long it rings in all. Longer reaches people far from their phone, and keeps callers waiting; others take 30 to 90 s.
    pub ring: Duration,
    /// How long a device may take to acknowledge the ring before its user is unreachable. Must suffice to wake a phone by push.
    pub ack: Duration,
    /// How long a device that holds the call (the caller's, the answering one) may be away before the call ends. Longer
    /// survives a change of network, and keeps the other side in silence.
    pub grace: Duration,
}

impl Default for CallTiming {
    fn default() -> Self {
        Self { ring: Duration::from_secs(45), ack: Duration::from_secs(20), grace: Duration::from_secs(10) }
    }
}

/// What a call is placed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCall {
    /// Unguessable, never used before.
    pub id: String,
    /// Voice or video.
    pub kind: CallKind,
    /// The embedding app's conversation.
    pub thread: String,
    /// Where its media will meet.
    pub room: String,
    /// The caller's device.
    pub caller: Party,
    /// The caller's name.
    pub caller_name: String,
    /// Whom to ring.
    pub callees: Vec<NewCallee>,
    /// When it is placed, in Unix milliseconds; for show, all reckoning is done with the `now` of the calls.
    pub placed_at: u64,
}

/// Whom a call rings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCallee {
    /// The user.
    pub user: String,
    /// The user's name, where it is known.
    pub name: Option<String>,
    /// The user's live devices.
    pub devices: Vec<String>,
    /// Whether the user is in another call; then nothing rings.
    pub busy: bool,
}

/// Something that happens to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallInput {
    /// A device has a live session, for the first time or again.
    DeviceUp(Party),
    /// A device's session is gone.
    DeviceGone(Party),
    /// The device shows the ring.
    RingAck(Party),
    /// The device picks up.
    Accept(Party),
    /// The user refuses, on this device for all.
    Decline(Party, Option<DeclineReason>),
    /// Silence this device.
    Ignore(Party),
    /// The caller gives up.
    Cancel(Party),
    /// A party hangs up.
    Hangup(Party),
    /// A callee has taken another call.
    CalleeBusy(String),
    /// The room cannot be opened, or broke.
    Fail,
}

/// What is to be done about a call, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallOutput {
    /// The call exists.
    Placed,
    /// Tell the user's devices that are asleep.
    Wake(String),
    /// This device is to ring.
    Ring(Party),
    /// A leg has changed.
    Leg(Leg),
    /// The user's devices that were woken are to be silent.
    Hush(String),
    /// Answered by this device.
    Active(Party),
    /// The call is over; comes once, and nothing but [`Done`](Self::Done) follows.
    Ended {
        /// How.
        outcome: Outcome,
        /// Whose doing, where somebody did it.
        by: Option<String>,
        /// How long people talked.
        talk: Duration,
    },
    /// This device is done with the call; once for each device that rang or held it.
    Done(Party, DoneReason),
}
