//! The missed-call hook: what the embedder decides once a call has ended unanswered, and what is decided without one. It decides only; the note
//! itself is the recorder's.

use ringback_recorder::{NoteKind, NoteLimits};
use ringback_signaling::hooks::{EndedCall, HookError};
use ringback_signaling::media::BoxFuture;
use ringback_signaling::protocol::{CallKind, Outcome};

/// What comes of an unanswered call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoteDecision {
    /// No note.
    None,
    /// The caller is asked to leave one.
    Offer(NoteLimits),
}

impl NoteDecision {
    /// An offer with the default limits for the kind of the call.
    pub fn offer(call: &EndedCall) -> Self {
        Self::Offer(NoteLimits::of(note_kind(call.call.kind)))
    }
}

/// Told of each call that ended unanswered, whatever the outcome, and, where [`may_offer_to_missed`](Self::may_offer_to_missed) says so, of group calls that some
/// answered and others missed. The call is in the log before. At least once, also over a restart where notes are
/// kept: a hook that fails, panics or runs out of time is told again, so be idempotent by `call.call.id`.
pub trait MissedCall: Send + Sync + 'static {
    /// Whether a note may be offered after such an outcome at all: then the caller's microphone stays connected until
    /// [`missed_call`](Self::missed_call) has decided. Must return at once. Unless told: wherever the callee did not answer, and not where the caller gave up.
    fn may_offer(&self, outcome: Outcome) -> bool {
        matches!(outcome, Outcome::NoAnswer | Outcome::Declined | Outcome::Busy | Outcome::Unreachable)
    }

    /// Whether whoever rang a group may leave a note for those who missed the call while others were in it, if they are in it at the end. Must return at once. Unless told: not,
    /// since those who were there can tell the others.
    fn may_offer_to_missed(&self) -> bool {
        false
    }

    /// A call has ended unanswered, or some have missed it: is a note to be left, and within which limits? Without [`EngineBuilder::notes`](crate::EngineBuilder::notes)
    /// the answer does not matter; nor does it after a restart, since the caller's media is gone then.
    ///
    /// # Errors
    /// To be told again a little later, a limited number of times.
    fn missed_call<'a>(&'a self, call: &'a EndedCall) -> BoxFuture<'a, Result<NoteDecision, HookError>>;
}

/// What is decided where the embedder says nothing: a note is offered to whoever rang somebody, or a group, where nobody answered; not to whoever gave up. A group
/// shares one note, which each hears for themselves.
#[derive(Debug, Clone, Copy, Default)]
pub struct OfferNotes;

impl MissedCall for OfferNotes {
    fn missed_call<'a>(&'a self, call: &'a EndedCall) -> BoxFuture<'a, Result<NoteDecision, HookError>> {
        let decision = if self.may_offer(call.outcome) { NoteDecision::offer(call) } else { NoteDecision::None };
        Box::pin(async { Ok(decision) })
    }
}

/// A voice call gets a voice note, a video call a video note.
pub(crate) fn note_kind(kind: CallKind) -> NoteKind {
    match kind {
        CallKind::Voice => NoteKind::Voice,
        CallKind::Video => NoteKind::Video,
    }
}
