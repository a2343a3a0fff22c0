//! The way of signaling's events into the log of events. Signaling never waits: a tee takes its events at once and hands one copy to the embedder and one to a
//! writer, which puts them into the log in their order, and again and again where the database fails. The end of a call goes into the log with the call's
//! row, in one transaction; what happens to notes is put there by the recorder itself, what happens to images by their desk. With the events of a call that goes on, what the next process needs to go on with
//! it is kept, in one transaction too.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ringback_recorder::{CallRow, LiveCall, LiveCalls, NewEvent, Recorder, RecorderError};
use ringback_signaling::{EventSink, KeptCalls, KeptChange, SignalingEvent};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use crate::engine::Events;
use crate::metrics::Counts;

/// Events that wait for the embedder at most, as many as signaling itself lets wait.
const FOR_EMBEDDER: usize = 16 * 1024;

/// Events that wait for the database at most: three quarters of an hour without one at 100 events a second, in at most some 250 MB. What comes then is lost, and
/// the log says how many: a database that is gone must not end the calls that run.
const FOR_LOG: usize = 256 * 1024;

/// Events that are put into the log in one transaction at most. More wait for fewer commits, and make other writers wait longer for theirs.
const BATCH: usize = 64;

/// How far transactions are apart at least: a crowd that comes and goes costs twenty commits a second and not one for each, and an event may be in the log, and with those
/// who read it, so much later. One that comes alone is written at once, and a call that ends waits for nothing.
const APART: Duration = Duration::from_millis(50);

/// How long the writer waits, when it comes to the end of a call, for what is to be kept of it. It is handed over a moment after the event, or never where a bug
/// ended the request.
const HANDOVER: Duration = Duration::from_secs(10);

/// Calls whose end is remembered: more than end while a hook is tried again for a minute.
const PASSED: usize = 4096;

/// How long to wait until what failed is tried again, at first; twice as long each time.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// The longest of these pauses.
const LAST_WAIT: Duration = Duration::from_secs(10);

/// A call that is over, and who waits until it is kept.
struct Ended {
    row: CallRow,
    kept: oneshot::Sender<()>,
}

/// Hands over calls that are over. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct EndedCalls(mpsc::UnboundedSender<Ended>);

impl EndedCalls {
    /// Keeps a call with its event, and returns once both are in the database. `false`: the engine has stopped.
    pub(crate) async fn keep(&self, row: CallRow) -> bool {
        let (kept, waiting) = oneshot::channel();
        self.0.send(Ended { row, kept }).is_ok() && waiting.await.is_ok()
    }
}

/// What is to be started once signaling is there.
pub(crate) struct Feed {
    recorder: Recorder,
    ended: mpsc::UnboundedReceiver<Ended>,
    counts: Counts,
}

impl Feed {
    pub(crate) fn new(recorder: Recorder, counts: Counts) -> (Self, EndedCalls) {
        let (sender, ended) = mpsc::unbounded_channel();
        (Self { recorder, ended, counts }, EndedCalls(sender))
    }

    /// Begins. Returns the embedder's copy of the events, and what ends once signaling is gone and everything is in the log.
    pub(crate) fn start(self, events: Events) -> (Events, tokio::task::JoinHandle<()>) {
        let (embedder, copy) = EventSink::with_room_for(FOR_EMBEDDER);
        let (log, waiting) = EventSink::with_room_for(FOR_LOG);
        tokio::spawn(tee(events, embedder, log));
        let log = self.recorder.live_calls();
        let Self { recorder, ended, counts } = self;
        let calls = KeptCalls::default();
        let writer = Writer {
            recorder,
            log,
            calls,
            events: waiting,
            ended,
            early: HashMap::new(),
            passed: VecDeque::new(),
            counts,
        };
        (copy, tokio::spawn(writer.run()))
    }
}

async fn tee(mut events: Events, mut embedder: EventSink, mut log: EventSink) {
    while let Some(event) = events.recv().await {
        if !matches!(event, SignalingEvent::Note { .. } | SignalingEvent::Image { .. }) {
            log.send(event.clone());
        }
        embedder.send(event);
    }
}

struct Writer {
    recorder: Recorder,
    log: LiveCalls,
    calls: KeptCalls,
    events: Events,
    ended: mpsc::UnboundedReceiver<Ended>,
    /// Calls that were handed over before the writer came to their end.
    early: HashMap<String, Vec<Ended>>,
    /// Calls to whose end the writer came lately: what is handed over of them now is not waited with.
    passed: VecDeque<String>,
    counts: Counts,
}

impl Writer {
    async fn run(mut self) {
        let started = NewEvent { at: unix_ms(), kind: "engine.started".to_owned(), body: json!({}) };
        let mut batch = Vec::new();
        self.append(&mut Written { events: vec![started], ..Written::default() }).await;
        loop {
            let next = Instant::now() + APART;
            tokio::select! {
                biased;
                count = self.events.recv_many(&mut batch, BATCH) => if count == 0 { break },
                Some(ended) = self.ended.recv() => {
                    if self.passed.contains(&ended.row.id) {
                        // Handed over again, or too late.
                        self.keep(vec![ended]).await;
                    } else {
                        // Its event is on its way here.
                        self.early.entry(ended.row.id.clone()).or_default().push(ended);
                    }
                }
            }
            self.gather(&mut batch, next).await;
            self.write(&mut batch).await;
        }
        self.ended.close();
        let unheard: Vec<_> = self.early.drain().flat_map(|(_, ended)| ended).collect();
        self.keep(unheard).await;
        while let Some(ended) = self.ended.recv().await {
            self.keep(vec![ended]).await;
        }
    }

    /// Takes more events until the next transaction may be.
    async fn gather(&mut self, batch: &mut Vec<SignalingEvent>, next: Instant) {
        let ends = |event: &SignalingEvent| matches!(event, SignalingEvent::CallEnded { .. });
        while !batch.is_empty() && batch.len() < BATCH && !batch.iter().any(ends) {
            let room = BATCH - batch.len();
            tokio::select! {
                biased;
                () = sleep_until(next) => return,
                count = self.events.recv_many(batch, room) => if count == 0 { return },
            }
        }
    }

    async fn write(&mut self, batch: &mut Vec<SignalingEvent>) {
        let mut plain = Written::default();
        for event in batch.drain(..) {
            if let SignalingEvent::Lost { events } = event {
                self.counts.events_lost(events);
            }
            let ended = match &event {
                SignalingEvent::CallEnded { call, .. } => self.handed_over(&call.id).await,
                _ => None,
            };
            plain.change(self.calls.apply(&event));
            match ended {
                Some(ended) => {
                    self.append(&mut plain).await;
                    self.keep(ended).await;
                }
                None => plain.events.extend(logged(&event)),
            }
            if plain.events.len() >= BATCH {
                self.append(&mut plain).await;
            }
        }
        self.append(&mut plain).await;
    }

    /// What is to be kept of a call that the writer has come to the end of.
    async fn handed_over(&mut self, call: &str) -> Option<Vec<Ended>> {
        let handed_over = async {
            loop {
                if let Some(ended) = self.early.remove(call) {
                    return Some(ended);
                }
                let ended = self.ended.recv().await?;
                self.early.entry(ended.row.id.clone()).or_default().push(ended);
            }
        };
        let ended = timeout(HANDOVER, handed_over).await.ok().flatten();
        self.passed.push_back(call.to_owned());
        if self.passed.len() > PASSED {
            self.passed.pop_front();
        }
        if ended.is_none() {
            tracing::error!(call, "a call that is over was not handed over to be kept");
        }
        ended
    }

    /// Keeps a call, with its event, and tells everybody who waits for it.
    async fn keep(&self, ended: Vec<Ended>) {
        for Ended { row, kept } in ended {
            let mut pause = Pause(FIRST_WAIT);
            while let Err(error) = self.recorder.call_ended(&row).await {
                pause.after(&error).await;
            }
            self.counts.logged(row.ended_at, unix_ms());
            // The hook that waits may have run out of time.
            let _ = kept.send(());
        }
    }

    async fn append(&self, written: &mut Written) {
        if written.events.is_empty() && written.calls.is_empty() {
            return;
        }
        let calls: Vec<_> = written.calls.drain().map(|(id, details)| LiveCall { id, details }).collect();
        let mut pause = Pause(FIRST_WAIT);
        while let Err(error) = self.log.append(&written.events, &calls).await {
            pause.after(&error).await;
        }
        let now = unix_ms();
        for event in written.events.drain(..) {
            self.counts.logged(event.at, now);
        }
    }
}

/// What goes into the database in one transaction.
#[derive(Default)]
struct Written {
    events: Vec<NewEvent>,
    /// Calls as they are after these events; `None`: over.
    calls: HashMap<String, Option<Value>>,
}

impl Written {
    fn change(&mut self, change: Option<KeptChange>) {
        match change {
            Some(KeptChange::Keep(kept)) => {
                let details = serde_json::to_value(&kept)
                    .inspect_err(|error| tracing::error!(%error, "a call cannot be written as JSON"));
                self.calls.insert(kept.call.id.clone(), details.ok());
            }
            Some(KeptChange::Forget(call)) => {
                self.calls.insert(call, None);
            }
            None => {}
        }
    }
}

/// How long the writer waits before what failed is tried again; it grows.
struct Pause(Duration);

impl Pause {
    async fn after(&mut self, error: &RecorderError) {
        tracing::error!(%error, again_in = ?self.0, "the log of events cannot be written");
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(LAST_WAIT);
    }
}

/// A signaling event as it stands in the log: `call_placed` is `call.placed`, its fields are the body.
fn logged(event: &SignalingEvent) -> Option<NewEvent> {
    let Ok(Value::Object(mut body)) = serde_json::to_value(event) else {
        tracing::error!("an event cannot be written as JSON");
        return None;
    };
    let kind = match body.remove("event")?.as_str()? {
        "lost" => "events.lost".to_owned(),
        name => name.replacen('_', ".", 1),
    };
    let at = body.remove("at").and_then(|at| at.as_u64()).unwrap_or_else(unix_ms);
    Some(NewEvent { at, kind, body: Value::Object(body) })
}

fn unix_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    elapsed.as_millis().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_logged_under_its_name_with_its_fields_as_the_body() {
        let closed = SignalingEvent::RoomClosed { at: 7, room: "r_1".into(), reason: "call_ended".into() };
        let body = json!({ "room": "r_1", "reason": "call_ended" });
        assert_eq!(logged(&closed), Some(NewEvent { at: 7, kind: "room.closed".into(), body }));
        let lost = logged(&SignalingEvent::Lost { events: 3 }).unwrap();
        assert_eq!((lost.kind.as_str(), lost.body), ("events.lost", json!({ "events": 3 })));
    }
}
