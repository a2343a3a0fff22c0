//! What the embedder may decide and wants to be told: who may call whom and join what ([`Authorize`]), waking devices that are
//! asleep ([`Notify`]), and calls that nobody answered ([`MissedCall`]). Hooks run in tasks of their own under a time limit;
//! one that panics or hangs is logged and costs nobody else anything.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::media::BoxFuture;
use crate::protocol::{CallInfo, CallKind, Outcome, Party};

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
    /// The user has missed the call: show it. Comes after `cancelled`.
    fn missed<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, ()>;
}

/// Everything known about a call that nobody answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnansweredCall {
    /// The call in its final state, with all legs; `call.id` is the key to be idempotent by.
    pub call: CallInfo,
    /// How it ended; never [`Outcome::Answered`].
    pub outcome: Outcome,
    /// When it ended, in Unix milliseconds.
    pub ended_at: u64,
    /// The caller's device.
    pub caller: Party,
    /// The caller as a participant of `call.room`, if their media was there at the end.
    pub caller_participant: Option<String>,
    /// Who ended it, where somebody did.
    pub by: Option<String>,
}

/// Why a hook could not do its work, for the log.
pub type HookError = Box<dyn std::error::Error + Send + Sync>;

/// Told of each call that ended unanswered, whatever the outcome (choose by it). At least once: a call of this hook that fails, panics or
/// runs out of time is made again, so be idempotent by the call's id. (Over a restart of the process only once calls are stored.)
pub trait MissedCall: Send + Sync + 'static {
    /// A call has ended unanswered.
    ///
    /// # Errors
    /// To be called again a little later, a limited number of times.
    fn missed_call<'a>(&'a self, call: &'a UnansweredCall) -> BoxFuture<'a, Result<(), HookError>>;
}

/// The embedder's hooks. The [default](Self::default) permits what tokens grant, and tells nobody.
#[derive(Clone)]
pub struct Hooks {
    /// Who may do what.
    pub authorize: Arc<dyn Authorize>,
    /// Reaches devices that are asleep.
    pub notify: Arc<dyn Notify>,
    /// Told of unanswered calls.
    pub missed_call: Arc<dyn MissedCall>,
}

impl Default for Hooks {
    fn default() -> Self {
        Self { authorize: Arc::new(NoHooks), notify: Arc::new(NoHooks), missed_call: Arc::new(NoHooks) }
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

impl MissedCall for NoHooks {
    fn missed_call<'a>(&'a self, _call: &'a UnansweredCall) -> BoxFuture<'a, Result<(), HookError>> {
        Box::pin(async { Ok(()) })
    }
}
