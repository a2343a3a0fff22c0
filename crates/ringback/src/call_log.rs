//! What happens once a call is over: it is kept, then the missed-call hook is told, then a note is offered, in this order, so that a
//! process that ends in between begins again where it was. This is the one bridge from signaling to the recorder.

use std::sync::Arc;

use ringback_recorder::{CallRow, NewNote, RecorderError};
use ringback_signaling::hooks::{AfterCall, CallLog, EndedCall, HookError};
use ringback_signaling::media::BoxFuture;
use ringback_signaling::protocol::{CallInfo, CallKind, Outcome};
use tracing::Instrument;

use crate::event_feed::EndedCalls;
use crate::metrics::Counts;
use crate::missed_call::{MissedCall, NoteDecision, note_kind};
use crate::notes::NoteDesk;

/// See the [module](self).
pub(crate) struct Log {
    hook: Arc<dyn MissedCall>,
    notes: Option<Arc<NoteDesk>>,
    /// Where calls are kept, in their place among the events; where there are notes.
    ended_calls: Option<EndedCalls>,
    counts: Counts,
}

impl Log {
    pub(crate) fn new(
        hook: Arc<dyn MissedCall>,
        notes: Option<Arc<NoteDesk>>,
        ended_calls: Option<EndedCalls>,
        counts: Counts,
    ) -> Self {
        Self { hook, notes, ended_calls, counts }
    }

    /// Tells the hook of the calls that a former process had kept and not told it of. The caller's media is gone, so no note comes of them.
    pub(crate) async fn tell_what_is_due(self: Arc<Self>) {
        let Some(notes) = &self.notes else { return };
        let due = match notes.recorder().hooks_due().await {
            Ok(due) => due,
            Err(error) => return tracing::error!(%error, "the calls that the missed-call hook has not been told of"),
        };
        for row in due {
            let Ok(call) = serde_json::from_value::<EndedCall>(row.details) else {
                tracing::error!(call = row.id, "a kept call cannot be read");
                continue;
            };
            match self.hook.missed_call(&call).await {
                // In the next process again, where it fails.
                Err(error) => tracing::error!(call = row.id, %error, "the missed-call hook failed"),
                Ok(_) => {
                    if let Err(error) = notes.recorder().hook_done(&row.id).await {
                        tracing::error!(call = row.id, %error, "the missed-call hook will be told again");
                    }
                }
            }
        }
    }

    /// Whether the missed-call hook is told of such a call.
    fn concerns_hook(&self, call: &EndedCall) -> bool {
        call.is_unanswered() || !call.missed.is_empty() && self.hook.may_offer_to_missed()
    }

    async fn keep_and_tell(&self, call: &EndedCall) -> Result<AfterCall, HookError> {
        if let Some(ended_calls) = &self.ended_calls
            && !ended_calls.keep(row(call, self.concerns_hook(call))?).await
        {
            return Err("the engine has stopped".into());
        }
        let after = match &self.notes {
            _ if !self.concerns_hook(call) => AfterCall::CloseRoom,
            Some(notes) => self.offer(notes, call).await?,
            None => self.hook.missed_call(call).await.map(|_| AfterCall::CloseRoom)?,
        };
        // Last, since what failed is done again.
        let kind = match call.call.kind {
            CallKind::Voice => "voice",
            CallKind::Video => "video",
        };
        self.counts.call(kind, call.outcome.as_str());
        self.counts.call_quality(kind, &call.quality);
        let EndedCall { outcome, rang_ms, talk_ms, .. } = call;
        tracing::info!(kind, %outcome, rang_ms, talk_ms, "a call is over");
        Ok(after)
    }

    async fn offer(&self, notes: &NoteDesk, call: &EndedCall) -> Result<AfterCall, HookError> {
        let id = &call.call.id;
        let decision = self.hook.missed_call(call).await?;
        let NoteDecision::Offer(limits) = decision else {
            notes.recorder().hook_done(id).await?;
            return Ok(AfterCall::CloseRoom);
        };
        if !self.may_keep_room(&call.call, call.outcome) {
            // `may_offer` has said no, so the caller's media is gone by now.
            tracing::error!(call = id, outcome = %call.outcome, "the missed-call hook offers a note where it said that it would not");
            notes.recorder().hook_done(id).await?;
            return Ok(AfterCall::CloseRoom);
        }
        if !call.room_kept {
            // The caller was not there any more.
            notes.recorder().hook_done(id).await?;
            return Ok(AfterCall::CloseRoom);
        }
        let from = &call.call.from;
        let mut to = Vec::new();
        // Of a group call that was answered those who missed it, otherwise all.
        let recipients = if call.is_unanswered() { &call.call.to } else { &call.missed };
        for callee in recipients {
            if notes.may_leave_note(&from.user, &callee.user).await {
                to.push(callee.user.clone());
            }
        }
        let after = if to.is_empty() {
            AfterCall::CloseRoom
        } else {
            // Once the row is there, the same call again gets the same note.
            let new = NewNote {
                call: id.clone(),
                thread: call.call.thread.clone(),
                room: call.call.room.clone(),
                kind: note_kind(call.call.kind),
                from: from.user.clone(),
                from_name: from.name.clone().unwrap_or_else(|| from.user.clone()),
                to,
                limits,
            };
            notes.recorder().offer(new).await?;
            AfterCall::KeepRoom
        };
        notes.recorder().hook_done(id).await?;
        Ok(after)
    }
}

impl CallLog for Log {
    fn placed(&self, call: &CallInfo) {
        if let Some(notes) = self.notes.clone() {
            let (caller, callees) = (call.from.user.clone(), call.to.iter().map(|to| to.user.clone()).collect());
            tokio::spawn(async move { notes.called(caller, callees).await });
        }
    }

    fn may_keep_room(&self, _call: &CallInfo, outcome: Outcome) -> bool {
        self.notes.is_some()
            && match outcome {
                // A room that failed is no place to record in.
                Outcome::Failed => false,
                Outcome::Answered => self.hook.may_offer_to_missed(),
                outcome => self.hook.may_offer(outcome),
            }
    }

    fn ended<'a>(&'a self, call: &'a EndedCall) -> BoxFuture<'a, Result<AfterCall, HookError>> {
        let span = tracing::info_span!("call", call = call.call.id, room = call.call.room);
        Box::pin(self.keep_and_tell(call).instrument(span))
    }
}

fn row(call: &EndedCall, hook_due: bool) -> Result<CallRow, RecorderError> {
    let details = serde_json::to_value(call)
        .map_err(|error| RecorderError::Row { what: "call", value: format!("{}: {error}", call.call.id) })?;
    Ok(CallRow {
        id: call.call.id.clone(),
        kind: note_kind(call.call.kind),
        thread: call.call.thread.clone(),
        caller: call.call.from.user.clone(),
        callees: call.call.to.iter().map(|to| to.user.clone()).collect(),
        outcome: call.outcome.as_str().to_owned(),
        placed_at: call.call.placed_at,
        ended_at: call.ended_at,
        ring_ms: call.rang_ms,
        talk_ms: call.talk_ms,
        acknowledged: call.acknowledged,
        details,
        hook_done: !hook_due,
    })
}
