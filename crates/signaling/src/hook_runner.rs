//! Runs the embedder's hooks: each in a task of its own under a time limit, the notices of one call in order, the call log
//! again after it failed. A hook that panics or hangs is logged, and nobody else waits for it.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::hooks::{AfterCall, EndedCall, Hooks, Notice, Permission};
use crate::hub::WeakHub;
use crate::notes::NoteNotice;
use crate::protocol::{CallInfo, CallKind, ErrorCode, WireError};

/// When the call log is called again after it has failed. Long enough for a database to restart; a failure that lasts longer costs the
/// record of a call.
const RETRIES: [Duration; 4] =
    [Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(10), Duration::from_secs(30)];

/// What a notice says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoticeKind {
    Incoming,
    Cancelled,
    Missed,
}

pub(crate) struct HookRunner {
    hooks: Hooks,
    limit: Duration,
    /// The queue of each call that has not ended. Short: a call has a handful of notices.
    queues: HashMap<String, mpsc::UnboundedSender<(NoticeKind, Notice)>>,
    /// A clone of it lives in each task, so that it tells when none runs any more.
    running: mpsc::Sender<()>,
    finished: Option<mpsc::Receiver<()>>,
    hub: WeakHub,
}

impl HookRunner {
    pub(crate) fn new(hooks: Hooks, limit: Duration, hub: WeakHub) -> Self {
        let (running, finished) = mpsc::channel(1);
        Self { hooks, limit, queues: HashMap::new(), running, finished: Some(finished), hub }
    }

    pub(crate) fn hooks(&self) -> &Hooks {
        &self.hooks
    }

    /// Tells of a note, at once.
    pub(crate) fn notify_note(&self, notice: NoteNotice) {
        let (notify, limit, running) = (self.hooks.notify.clone(), self.limit, self.running.clone());
        tokio::spawn(async move {
            if let Err(fault) = run(limit, async move { notify.note(&notice).await }).await {
                tracing::error!(fault, "the notify hook failed");
            }
            drop(running);
        });
    }

    /// Queues a notice behind the earlier ones of its call.
    pub(crate) fn notify(&mut self, kind: NoticeKind, notice: Notice) {
        let queue = self.queues.entry(notice.call.id.clone()).or_insert_with(|| {
            let (sender, mut queue) = mpsc::unbounded_channel::<(NoticeKind, Notice)>();
            let (notify, limit, running) = (self.hooks.notify.clone(), self.limit, self.running.clone());
            tokio::spawn(async move {
                while let Some((kind, notice)) = queue.recv().await {
                    let notify = notify.clone();
                    let work = async move {
                        match kind {
                            NoticeKind::Incoming => notify.incoming(&notice).await,
                            NoticeKind::Cancelled => notify.cancelled(&notice).await,
                            NoticeKind::Missed => notify.missed(&notice).await,
                        }
                    };
                    if let Err(fault) = run(limit, work).await {
                        tracing::error!(?kind, fault, "the notify hook failed");
                    }
                }
                drop(running);
            });
            sender
        });
        // The task ends only after its sender is dropped.
        let _ = queue.send((kind, notice));
    }

    /// No more notices of this call will come.
    pub(crate) fn call_over(&mut self, call: &str) {
        self.queues.remove(call);
    }

    /// Tells the call log of a call that was placed.
    pub(crate) fn placed(&self, call: &CallInfo) {
        self.hooks.call_log.placed(call);
    }

    /// Tells the call log until it succeeds, a limited number of times, and then the hub what becomes of the room.
    pub(crate) fn call_ended(&self, call: EndedCall) {
        let (hook, limit, running) = (self.hooks.call_log.clone(), self.limit, self.running.clone());
        let hub = self.hub.clone();
        tokio::spawn(async move {
            let mut waits = RETRIES.iter();
            let after = loop {
                let (hook, ended) = (hook.clone(), call.clone());
                let fault = match run(limit, async move { hook.ended(&ended).await }).await {
                    Ok(Ok(after)) => break after,
                    Ok(Err(error)) => error.to_string(),
                    Err(fault) => fault.to_owned(),
                };
                let Some(wait) = waits.next() else {
                    tracing::error!(call = call.call.id, fault, "the call log failed for good");
                    break AfterCall::CloseRoom;
                };
                tracing::warn!(call = call.call.id, fault, again_in = ?wait, "the call log failed");
                tokio::time::sleep(*wait).await;
            };
            if after == AfterCall::CloseRoom {
                hub.tell(move |hub, _| hub.release_room(&call.call.room)).await;
            }
            drop(running);
        });
    }

    /// For the end: resolves once no hook runs any more. Only the first call gets it, and none may be started after.
    pub(crate) fn finish(&mut self) -> impl Future<Output = ()> + Send + use<> {
        self.queues.clear();
        let (running, _) = mpsc::channel(1);
        self.running = running;
        let finished = self.finished.take();
        async move {
            if let Some(mut finished) = finished {
                let _ = finished.recv().await;
            }
        }
    }
}

/// Asks the authorize hook whether a call may be placed.
pub(crate) async fn may_call(
    hooks: &Hooks,
    limit: Duration,
    caller: &str,
    callee: &str,
    kind: CallKind,
) -> Result<(), WireError> {
    let (hook, caller, callee) = (hooks.authorize.clone(), caller.to_owned(), callee.to_owned());
    permitted(run(limit, async move { hook.may_call(&caller, &callee, kind).await }).await)
}

/// Asks the authorize hook whether a room may be joined.
pub(crate) async fn may_join(hooks: &Hooks, limit: Duration, user: &str, room: &str) -> Result<(), WireError> {
    let (hook, user, room) = (hooks.authorize.clone(), user.to_owned(), room.to_owned());
    permitted(run(limit, async move { hook.may_join(&user, &room).await }).await)
}

/// Asks the authorize hook whether a note may be left.
pub(crate) async fn may_leave_note(hooks: &Hooks, limit: Duration, from: &str, to: &str) -> Result<(), WireError> {
    let (hook, from, to) = (hooks.authorize.clone(), from.to_owned(), to.to_owned());
    permitted(run(limit, async move { hook.may_leave_note(&from, &to).await }).await)
}

fn permitted(answer: Result<Permission, &'static str>) -> Result<(), WireError> {
    match answer {
        Ok(Permission::Granted) => Ok(()),
        Ok(Permission::Forbidden(message)) => Err(WireError::new(ErrorCode::Forbidden, message)),
        Ok(Permission::NotFound(message)) => Err(WireError::new(ErrorCode::NotFound, message)),
        Err(fault) => {
            tracing::error!(fault, "the authorize hook failed; refusing");
            Err(WireError::new(ErrorCode::Unavailable, "cannot find out whether this is allowed; try again"))
        }
    }
}

pub(crate) async fn run<T: Send + 'static>(
    limit: Duration,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, &'static str> {
    let mut task = tokio::spawn(work);
    match tokio::time::timeout(limit, &mut task).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(_)) => Err("it panicked"),
        Err(_) => {
            task.abort();
            Err("it took too long")
        }
    }
}
