//! The desk at which notes are left and fetched: carries what clients ask to the recorder, and what the recorder says to clients and to the taps of
//! the SFU. It keeps nothing itself; where a note stands is the recorder's to know.

mod http;
mod takes;
mod uploads;
mod wire;

use std::sync::{Arc, OnceLock, Weak};

use ringback_recorder::{NoteEvent, NoteInfo, NoteKind, NoteState, Recorder, RecorderEvent};
use ringback_signaling::Signaling;
use ringback_signaling::media::BoxFuture;
use ringback_signaling::notes::{NoteNews, NoteNotice, Notes, OpenNotes};
use ringback_signaling::protocol::{CallKind, NoteRequest, UserRef, WireError};
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use crate::media::Workers;
use crate::metrics::Counts;
use crate::reacting::Reacting;
use takes::Takes;

pub(crate) use http::{Refusal, router};

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct NoteDesk {
    recorder: Recorder,
    workers: Arc<Workers>,
    /// Signaling holds this desk as its hook, so the desk must not hold signaling.
    signaling: OnceLock<Weak<Signaling>>,
    counts: Counts,
    /// Who may react to notes, and with what.
    reacting: Reacting,
}

impl NoteDesk {
    pub(crate) fn new(recorder: Recorder, workers: Arc<Workers>, counts: Counts, reacting: Reacting) -> Arc<Self> {
        Arc::new(Self { recorder, workers, signaling: OnceLock::new(), counts, reacting })
    }

    /// Begins: from now on the recorder's events are carried on.
    pub(crate) fn start(self: &Arc<Self>, signaling: &Arc<Signaling>) {
        if self.signaling.set(Arc::downgrade(signaling)).is_ok()
            && let Some(events) = self.recorder.events()
        {
            tokio::spawn(carry(Arc::downgrade(self), events));
        }
    }

    pub(crate) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    fn signaling(&self) -> Option<Arc<Signaling>> {
        self.signaling.get()?.upgrade()
    }

    /// Somebody rings: whoever is leaving one of them a note just now keeps what they have said, and may talk instead.
    pub(crate) async fn called(&self, caller: String, callees: Vec<String>) {
        for callee in callees {
            self.recorder.callee_came(&callee, &caller).await;
        }
    }

    pub(crate) async fn may_leave_note(&self, from: &str, to: &str) -> bool {
        let Some(signaling) = self.signaling() else { return false };
        match signaling.may_leave_note(from, to).await {
            Ok(()) => true,
            Err(error) => {
                // In the embedder's words, which may name people.
                tracing::debug!(%error, "no note is offered");
                false
            }
        }
    }

    /// Somebody reacts to a note, or takes that back.
    async fn react(&self, note: &str, by: &UserRef, emoji: Option<&str>) -> Result<Value, WireError> {
        let user = by.user.as_str();
        let emoji = match emoji {
            None => None,
            Some(text) => {
                let author = self.recorder.note(note, user).await.map_err(wire::refused)?.from.user;
                Some(self.reacting.allowed(self.signaling().as_deref(), user, &author, text).await?)
            }
        };
        let note = self.recorder.react(note, user, by.name.as_deref(), emoji).await;
        note.map(|note| wire::value(&self.shown(note, user))).map_err(wire::refused)
    }

    /// A note as this user sees it: with links to what they may get, and without a room that is gone.
    fn shown(&self, mut note: NoteInfo, user: &str) -> NoteInfo {
        note.room = note.room.filter(|room| note.from.user == user && self.workers.has_room(room));
        wire::link(&self.recorder, &mut note, user);
        note
    }

    /// A note in an event to this user.
    async fn fields(&self, note: &NoteInfo, user: &str) -> Map<String, Value> {
        let mut fields = Map::new();
        fields.insert("note".to_owned(), wire::value(&self.shown(note.clone(), user)));
        match self.recorder.unheard(user).await {
            Ok(unheard) => _ = fields.insert("unheard".to_owned(), unheard.into()),
            Err(error) => tracing::error!(%error, "unheard notes cannot be counted"),
        }
        fields
    }

    async fn tell(&self, users: Vec<String>, event: NoteEvent, note: NoteInfo) {
        let kind = match note.kind {
            NoteKind::Voice => "voice",
            NoteKind::Video => "video",
        };
        self.counts.note(kind, &event.name());
        let mut tell = Vec::new();
        for user in users {
            let fields = self.fields(&note, &user).await;
            tell.push((user, fields));
        }
        let notices = match event {
            NoteEvent::State(NoteState::Sent) => note.to.iter().map(|to| notice(&note, &to.user)).collect(),
            _ => Vec::new(),
        };
        if let Some(signaling) = self.signaling() {
            signaling.note_news(NoteNews { event: event.name(), note: wire::value(&note), tell, notices }).await;
        }
    }
}

impl Notes for NoteDesk {
    fn open<'a>(&'a self, user: &'a str) -> BoxFuture<'a, OpenNotes> {
        Box::pin(async move {
            let (notes, unheard) = self.recorder.at_start(user).await.unwrap_or_else(|error| {
                tracing::error!(%error, "open notes cannot be listed, nor unheard ones counted");
                (Vec::new(), 0)
            });
            OpenNotes { notes: notes.into_iter().map(|note| wire::value(&self.shown(note, user))).collect(), unheard }
        })
    }

    fn handle<'a>(&'a self, by: &'a UserRef, request: NoteRequest) -> BoxFuture<'a, Result<Value, WireError>> {
        Box::pin(async move {
            let (recorder, user) = (&self.recorder, by.user.as_str());
            let note = match &request {
                NoteRequest::Record { note, skip_countdown } => recorder.record(note, user, *skip_countdown).await,
                NoteRequest::Stop { note } => recorder.stop(note, user).await,
                NoteRequest::Send { note } => recorder.send(note, user).await,
                NoteRequest::Discard { note } => recorder.discard(note, user).await,
                NoteRequest::Heard { note } => recorder.heard(note, user, true).await,
                NoteRequest::Unheard { note } => recorder.heard(note, user, false).await,
                NoteRequest::React { note, emoji } => return self.react(note, by, emoji.as_deref()).await,
                NoteRequest::Delete { note } => recorder.delete(note, user).await,
            };
            note.map(|note| wire::value(&self.shown(note, user))).map_err(wire::refused)
        })
    }
}

fn notice(note: &NoteInfo, user: &str) -> NoteNotice {
    NoteNotice {
        user: user.to_owned(),
        note: note.id.clone(),
        call: note.call.clone(),
        thread: note.thread.clone(),
        kind: match note.kind {
            NoteKind::Voice => CallKind::Voice,
            NoteKind::Video => CallKind::Video,
        },
        from: UserRef { user: note.from.user.clone(), name: Some(note.from.name.clone()) },
        duration_ms: note.duration_ms,
        live_devices: Vec::new(),
        collapse_key: note.call.clone(),
    }
}

/// Carries the recorder's events on until the engine is gone.
async fn carry(desk: Weak<NoteDesk>, mut events: mpsc::UnboundedReceiver<RecorderEvent>) {
    let mut takes = Takes::default();
    while let Some(event) = events.recv().await {
        let Some(desk) = desk.upgrade() else { return };
        match event {
            RecorderEvent::Note { users, event, note } => desk.tell(users, event, *note).await,
            RecorderEvent::StartTake { note, room, user: _, kind, writer } => {
                takes.start(&desk.workers, note, &room, kind, writer).await;
            }
            RecorderEvent::StopTake { note } => takes.stop(&note),
            RecorderEvent::Released { room, .. } => {
                if let Some(signaling) = desk.signaling() {
                    signaling.release_room(&room).await;
                }
            }
        }
    }
}
