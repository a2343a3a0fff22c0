//! What the embedder may decide and wants to be told: who may call whom and join what ([`Authorize`]), waking devices that are
//! asleep ([`Notify`]), calls that are over ([`CallLog`]), and what clients ask about notes ([`Notes`]). Hooks run in tasks of
//! their own under a time limit; one that panics or hangs is logged and costs nobody else anything.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::images::Images;
use crate::media::BoxFuture;
use crate::notes::{NoteNotice, Notes};
use crate::protocol::{CallInfo, CallKind, Outcome, Party, UserQuality, UserRef};
use crate::reactions::Reactions;

/// An answer of [`Authorize`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permission {
    /// Go ahead.
    Granted,
    /// Refused with `forbidden` and this message.
    Forbidden(String),
    /// Refused with `not_found` and this message: there is no such user or room.
    NotFound(String),
}

/// Decides who may do what, beyond what their token grants: both must agree. A hook that fails refuses.
pub trait Authorize: Send + Sync + 'static {
    /// May `caller` ring `callee`? Asked only where the token has the `call` grant.
    fn may_call<'a>(&'a self, caller: &'a str, callee: &'a str, kind: CallKind) -> BoxFuture<'a, Permission> {
        let _ = (caller, callee, kind);
        Box::pin(async { Permission::Granted })
    }

    /// May `user` join `room`? Asked only where the token grants the room; a party of a call joins its room unasked.
    fn may_join<'a>(&'a self, user: &'a str, room: &'a str) -> BoxFuture<'a, Permission> {
        let _ = (user, room);
        Box::pin(async { Permission::Granted })
    }

    /// May `from`, whose call `to` has not answered, leave them a note? Asked as well before `from` reacts to a note of theirs. Whoever may call may, unless told.
    fn may_leave_note<'a>(&'a self, from: &'a str, to: &'a str) -> BoxFuture<'a, Permission> {
        let _ = (from, to);
        Box::pin(async { Permission::Granted })
    }
}

/// What a push message about a call needs to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The callee to tell.
    pub user: String,
    /// The call as it is now.
    pub call: CallInfo,
    /// The callee's devices that have a live session and are told over it; push to the others.
    pub live_devices: Vec<String>,
    /// The same for all notices of one call to one user: a later message replaces an earlier one (`apns-collapse-id`, FCM `collapse_key`).
    pub collapse_key: String,
    /// When the call stops ringing at the latest, in Unix milliseconds: a push that cannot arrive by then is not worth sending.
    pub expires_at: u64,
}

/// Reaches devices that are asleep. The notices of one call come in order, each after the last has returned or run out of time.
/// A woken device asks `call.status` before it rings, since a push may be late.
pub trait Notify: Send + Sync + 'static {
    /// Somebody calls: wake the user's devices.
    fn incoming<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, ()>;
    /// The ring is over (answered, declined, given up, timed out): silence the user's devices. Always comes after `incoming`.
    fn cancelled<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, ()>;
    /// The user has missed the call: show it. Comes after `cancelled`. Not called where the engine keeps the peace, which tells of it by a hook of its own.
    fn missed<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, ()>;
    /// Somebody has left the user a note: its collapse key is that of the call, so that it takes the place of what `missed` showed. Not called where the engine keeps the peace.
    fn note<'a>(&'a self, notice: &'a NoteNotice) -> BoxFuture<'a, ()> {
        let _ = notice;
        Box::pin(async {})
    }
}

/// Everything known about a call that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedCall {
    /// The call in its final state, with all legs; `call.id` is the key to be idempotent by.
    pub call: CallInfo,
    /// How it ended.
    pub outcome: Outcome,
    /// When it ended, in Unix milliseconds.
    pub ended_at: u64,
    /// How long it rang, in milliseconds: until it was answered or over.
    pub rang_ms: u64,
    /// How long people talked, in milliseconds.
    pub talk_ms: u64,
    /// Whether any device of a callee said that it shows the ring.
    pub acknowledged: bool,
    /// Who was rung and never in the call; in a group call others may have answered.
    #[serde(default)]
    pub missed: Vec<UserRef>,
    /// The caller's device.
    pub caller: Party,
    /// The caller as a participant of `call.room`, if their media was there at the end.
    pub caller_participant: Option<String>,
    /// Who ended it, where somebody did.
    pub by: Option<String>,
    /// How good the connections of those in it were; nobody's before it was measured.
    #[serde(default)]
    pub quality: Vec<UserQuality>,
    /// Whether its room waits, for the caller alone, for what [`CallLog::ended`] says; otherwise it is closed, as where the caller had left a group
    /// call before its end.
    #[serde(default)]
    pub room_kept: bool,
}

impl EndedCall {
    /// Whether nobody answered it.
    pub fn is_unanswered(&self) -> bool {
        self.outcome != Outcome::Answered
    }
}

/// What becomes of an unanswered call's room, in which the caller's media still is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterCall {
    /// Nobody needs it.
    CloseRoom,
    /// It stays open to the caller alone, until [`Signaling::release_room`](crate::Signaling::release_room), at most 15 minutes.
    KeepRoom,
}

/// Why a hook could not do its work, for the log.
pub type HookError = Box<dyn std::error::Error + Send + Sync>;

/// Told of calls. Of each that is over at least once: a hook that fails, panics or runs out of time is called again, so be idempotent by
/// the call's id.
pub trait CallLog: Send + Sync + 'static {
    /// A call was placed. Must return at once.
    fn placed(&self, call: &CallInfo) {
        let _ = call;
    }

    /// Whether the room of a call that ended like this may be needed, also of a group call that was answered and that some missed: then it stays open until [`ended`](Self::ended) has said so, and the
    /// caller is told. Must return at once.
    fn may_keep_room(&self, call: &CallInfo, outcome: Outcome) -> bool {
        let _ = (call, outcome);
        false
    }

    /// A call is over.
    ///
    /// # Errors
    /// To be called again a little later, a limited number of times.
    fn ended<'a>(&'a self, call: &'a EndedCall) -> BoxFuture<'a, Result<AfterCall, HookError>>;
}

/// The embedder's hooks. The [default](Self::default) permits what tokens grant, and tells nobody.
#[derive(Clone)]
pub struct Hooks {
    /// Who may do what.
    pub authorize: Arc<dyn Authorize>,
    /// Reaches devices that are asleep.
    pub notify: Arc<dyn Notify>,
    /// Told of calls that are over.
    pub call_log: Arc<dyn CallLog>,
    /// Answers what clients ask about notes; `None`: there are no notes.
    pub notes: Option<Arc<dyn Notes>>,
    /// Answers what clients ask about images over the socket; `None`: there are no images.
    pub images: Option<Arc<dyn Images>>,
    /// Counts reactions and keeps hands; `None`: there are none.
    pub reactions: Option<Arc<dyn Reactions>>,
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            authorize: Arc::new(NoHooks),
            notify: Arc::new(NoHooks),
            call_log: Arc::new(NoHooks),
            notes: None,
            images: None,
            reactions: None,
        }
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooks")
    }
}

/// Hooks that permit what tokens grant and do nothing else.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHooks;

impl Authorize for NoHooks {}

impl Notify for NoHooks {
    fn incoming<'a>(&'a self, _notice: &'a Notice) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }

    fn cancelled<'a>(&'a self, _notice: &'a Notice) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }

    fn missed<'a>(&'a self, _notice: &'a Notice) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }
}

impl CallLog for NoHooks {
    fn ended<'a>(&'a self, _call: &'a EndedCall) -> BoxFuture<'a, Result<AfterCall, HookError>> {
        Box::pin(async { Ok(AfterCall::CloseRoom) })
    }
}
