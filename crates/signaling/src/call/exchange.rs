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
    /// How long a group call that rings nobody any more waits with one member in it. Longer lets people come back to the same
    /// call, and leaves a forgotten microphone on.
    pub alone: Duration,
}

impl Default for CallTiming {
    fn default() -> Self {
        Self {
            ring: Duration::from_secs(45),
            ack: Duration::from_secs(20),
            grace: Duration::from_secs(10),
            alone: Duration::from_secs(60),
        }
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
    /// Whom to ring; with more than one it is a group call.
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
    /// The device picks up; in a group call also late, or to come back.
    Accept(Party),
    /// The user refuses, on this device for all.
    Decline(Party, Option<DeclineReason>),
    /// Silence this device.
    Ignore(Party),
    /// The caller gives up.
    Cancel(Party),
    /// A party hangs up: the end of a 1:1 call, and of their own part in a group call.
    Hangup(Party),
    /// A callee has taken another call.
    CalleeBusy(String),
    /// A member rings more people; makes a group call of it.
    Invite(Party, Vec<NewCallee>),
    /// Somebody who was not rung asks to be let in.
    Knock(Party, String),
    /// The host lets somebody who knocked in, or not.
    Admit(Party, String, bool),
    /// The host takes a user out, or off the list of those it rings.
    Remove(Party, String),
    /// The host ends a group call for all.
    EndForAll(Party),
    /// The room cannot be opened, or broke.
    Fail,
}

/// What is to be done about a call, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallOutput {
    /// The call exists.
    Placed,
    /// It goes on from a former process, or ends with what follows; comes first.
    Restored,
    /// Tell the user's devices that are asleep.
    Wake(String),
    /// This device is to ring.
    Ring(Party),
    /// A leg has changed.
    Leg(Leg),
    /// The user's devices that were woken are to be silent.
    Hush(String),
    /// Answered by this device, the first to do so.
    Active(Party),
    /// This device has come into a group call that is active, or come back to it.
    Joined(Party),
    /// This device is no longer in a group call, which goes on or ends next. Its [`Done`](Self::Done) follows.
    Left(Party, DoneReason),
    /// The ring of this user is over in a group call that goes on, and they did not answer: the outcome for them.
    Missed(String, Outcome),
    /// Ask these members whether this device may come in.
    Knock {
        /// The host's devices in the call.
        hosts: Vec<Party>,
        /// Who knocks.
        from: Party,
        /// Under which name.
        name: String,
    },
    /// What became of a knock.
    Admitted(Party, bool),
    /// Members or people to be rung are others than before; comes after what made it so, in group calls.
    Changed,
    /// The call is over; comes once, and nothing but [`Done`](Self::Done) follows.
    Ended {
        /// How.
        outcome: Outcome,
        /// Whose doing, where somebody did it.
        by: Option<String>,
        /// How long people talked.
        talk: Duration,
    },
    /// This device is done with the call; once each time that it rang or was in it.
    Done(Party, DoneReason),
}
