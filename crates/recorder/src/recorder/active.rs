//! One open note at work: its machine, its row, its take. What the machine says is carried out here, in order, while nobody else touches the note.

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Instant;

use tokio::sync::{Mutex, Notify};

use super::keeping::LAST_WAIT;
use super::uploads::{ARRIVES, forget};
use super::{Inner, NoteEvent, RecorderEvent, millis, unix_ms};
use crate::error::RecorderError;
use crate::info::NoteInfo;
use crate::note::{NotNow, Note, NoteInput, NoteOutput, NoteState, TakeReason};
use crate::packet::NoteKind;
use crate::poster::Poster;
use crate::spool::SpoolHeader;
use crate::store::NoteRow;
use crate::take::TakeEnd;
use crate::upload::Upload;

/// See the [module](self).
pub(super) struct Active {
    from: String,
    room: Option<String>,
    part: Mutex<Part>,
    /// The take that is arriving, if the caller records by themselves. Locked after `part`, never before.
    upload: Mutex<Option<Upload>>,
    /// Wakes the timer's task when a deadline may have changed.
    changed: Notify,
}

struct Part {
    note: Note,
    row: NoteRow,
    take: Option<TakeEnd>,
}

impl Inner {
    /// Takes up a note that was offered just now.
    pub(super) async fn begin(self: &Arc<Self>, row: NoteRow, room: String) -> NoteInfo {
        let note = Note::offer(now(), row.limits.clone());
        self.take_up(row, note, Some(room)).await
    }

    /// Takes up a note that is open.
    pub(super) async fn take_up(self: &Arc<Self>, row: NoteRow, note: Note, room: Option<String>) -> NoteInfo {
        let id = row.id.clone();
        let active = Arc::new(Active {
            from: row.from.clone(),
            room,
            part: Mutex::new(Part { note, row, take: None }),
            upload: Mutex::new(None),
            changed: Notify::new(),
        });
        self.notes.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(id, active.clone());
        tokio::spawn(keep_time(Arc::downgrade(self), Arc::downgrade(&active)));
        let mut part = active.part.lock().await;
        active.carry_out(self, &mut part).await;
        active.info(&part)
    }

    fn forget(&self, note: &str) {
        self.notes.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(note);
    }
}

impl Active {
    pub(super) fn from(&self) -> &str {
        &self.from
    }

    pub(super) fn room(&self) -> Option<String> {
        self.room.clone()
    }

    pub(super) async fn kind(&self) -> NoteKind {
        self.part.lock().await.row.kind
    }

    pub(super) fn upload(&self) -> &Mutex<Option<Upload>> {
        &self.upload
    }

    /// The caller records by themselves: makes the file into which that arrives.
    pub(super) async fn record_elsewhere(
        self: &Arc<Self>,
        inner: &Arc<Inner>,
        length: Option<u64>,
    ) -> Result<Upload, RecorderError> {
        let mut part = self.part.lock().await;
        let within = part.row.limits.max + ARRIVES;
        let Part { note, row, .. } = &mut *part;
        let mut next = note.clone();
        next.handle(now(), NoteInput::RecordElsewhere { within })
            .map_err(|NotNow { state, wanted }| RecorderError::Conflict { state: state.as_str(), wanted })?;
        let upload = inner.make_upload(row, next.take(), length).await?;
        *note = next;
        self.carry_out(inner, &mut part).await;
        Ok(upload)
    }

    /// All of a take has arrived that was recorded elsewhere.
    pub(super) async fn arrived(
        self: &Arc<Self>,
        inner: &Arc<Inner>,
        take: u32,
        path: PathBuf,
        poster: Option<Poster>,
    ) {
        let mut part = self.part.lock().await;
        // Given up meanwhile.
        if part.note.take() != take || !part.note.awaits_arrival() {
            return forget(&path);
        }
        let _ = part.note.handle(now(), NoteInput::Arrived);
        self.carry_out(inner, &mut part).await;
        let (active, inner, row) = (self.clone(), inner.clone(), part.row.clone());
        tokio::spawn(async move {
            let made = inner.take_of_upload(&row, take, path).await;
            active.save(&inner, row, made, poster).await;
        });
    }

    /// Whether it goes from one of the two to the other.
    pub(super) async fn concerns(&self, caller: &str, callee: &str) -> bool {
        self.from == caller && self.part.lock().await.row.to.iter().any(|to| to.user == callee)
    }

    /// Passes an input to the machine and does what follows.
    pub(super) async fn input(
        self: &Arc<Self>,
        inner: &Arc<Inner>,
        input: NoteInput,
    ) -> Result<NoteInfo, RecorderError> {
        let mut part = self.part.lock().await;
        self.input_locked(inner, &mut part, input).await
    }

    /// Passes an input to the machine if it is about the take that is being recorded.
    pub(super) async fn input_of_take(self: &Arc<Self>, inner: &Arc<Inner>, take: u32, input: NoteInput) {
        let mut part = self.part.lock().await;
        if part.note.take() == take {
            self.input_locked(inner, &mut part, input).await.ok();
        }
    }

    async fn input_locked(
        self: &Arc<Self>,
        inner: &Arc<Inner>,
        part: &mut Part,
        input: NoteInput,
    ) -> Result<NoteInfo, RecorderError> {
        let handled = part.note.handle(now(), input);
        self.carry_out(inner, part).await;
        handled.map_err(|NotNow { state, wanted }| RecorderError::Conflict { state: state.as_str(), wanted })?;
        Ok(self.info(part))
    }

    /// Sends the draft, if the embedder and the recipients' quotas let it.
    pub(super) async fn send(self: &Arc<Self>, inner: &Arc<Inner>) -> Result<NoteInfo, RecorderError> {
        let mut part = self.part.lock().await;
        self.send_locked(inner, &mut part).await?;
        self.carry_out(inner, &mut part).await;
        Ok(self.info(&part))
    }

    async fn send_locked(self: &Arc<Self>, inner: &Arc<Inner>, part: &mut Part) -> Result<(), RecorderError> {
        let state = part.note.state();
        let conflict = RecorderError::Conflict { state: state.as_str(), wanted: "sent" };
        let Some(draft) = part.row.draft.clone().filter(|_| state == NoteState::Draft) else { return Err(conflict) };
        for to in &part.row.to {
            let used = inner.store.used_by(&to.user).await?;
            if used + draft.size > inner.config.quota {
                let (user, limit) = (to.user.clone(), inner.config.quota);
                return Err(RecorderError::Quota { user, used, limit, size: draft.size });
            }
        }
        let size = inner.bytes.size(&draft.file_key).await?.ok_or(RecorderError::NotFound(draft.file_key.clone()))?;
        let file = inner.bytes.get(&draft.file_key, 0..size).await?;
        inner.moderate.may_send(&self.info(part), &file).await.map_err(RecorderError::Refused)?;
        let at = unix_ms();
        if !inner.store.send(&part.row.id, at).await? {
            return Err(conflict);
        }
        part.row.sent_at = Some(at);
        // It was a draft a moment ago, and nobody else has touched it.
        let _ = part.note.handle(now(), NoteInput::Send);
        Ok(())
    }

    fn info(&self, part: &Part) -> NoteInfo {
        let room = self.room.clone().filter(|_| !part.note.state().is_final());
        NoteInfo::of(&part.row, room)
    }

    /// Does what the machine says, until it has nothing to say.
    async fn carry_out(self: &Arc<Self>, inner: &Arc<Inner>, part: &mut Part) {
        while let Some(output) = part.note.poll_output() {
            match output {
                NoteOutput::StartTake(take) => self.start_take(inner, part, take),
                NoteOutput::StopTake(_) => self.stop_take(inner, part),
                NoteOutput::Changed => self.changed(inner, part).await,
                NoteOutput::SendDue => {
                    if let Err(error) = Box::pin(self.send_locked(inner, part)).await {
                        match &error {
                            // In the words of whoever moderates, which may name people.
                            RecorderError::Refused(_) => {
                                tracing::warn!(note = part.row.id, "a draft that was to be sent by itself is refused");
                            }
                            _ => {
                                tracing::warn!(%error, note = part.row.id, "a draft that was to be sent by itself is not");
                            }
                        }
                        let again = matches!(error, RecorderError::Database { .. } | RecorderError::Bytes { .. });
                        let _ = part.note.handle(now(), NoteInput::NotSent { again });
                    }
                }
                NoteOutput::Release => {
                    inner.forget(&part.row.id);
                    if let Some(room) = self.room.clone() {
                        inner.emit(RecorderEvent::Released { note: part.row.id.clone(), room });
                    }
                }
            }
        }
        self.changed.notify_one();
    }

    fn start_take(&self, inner: &Inner, part: &mut Part, take: u32) {
        let header = SpoolHeader { note: part.row.id.clone(), take, kind: part.row.kind, began_at: unix_ms() };
        let (writer, end) = inner.takes.begin(header, part.row.limits.stop_on_silence.is_some());
        part.take = Some(end);
        inner.emit(RecorderEvent::StartTake {
            note: part.row.id.clone(),
            room: self.room.clone().unwrap_or_default(),
            user: self.from.clone(),
            kind: part.row.kind,
            writer,
        });
    }

    /// Has the file made of the take, while the note goes on.
    fn stop_take(self: &Arc<Self>, inner: &Arc<Inner>, part: &mut Part) {
        inner.emit(RecorderEvent::StopTake { note: part.row.id.clone() });
        let Some(take) = part.take.take() else { return };
        let (active, inner, row) = (self.clone(), inner.clone(), part.row.clone());
        tokio::spawn(async move {
            let made = take.finish().await;
            active.save(&inner, row, made, None).await;
        });
    }

    /// Makes the file of a take that is on disk, and the draft of it.
    async fn save(
        self: &Arc<Self>,
        inner: &Arc<Inner>,
        row: NoteRow,
        made: Result<PathBuf, TakeReason>,
        poster: Option<Poster>,
    ) {
        let path = match made {
            Ok(path) => path,
            Err(reason) => {
                self.input(inner, NoteInput::Saved(Err(reason))).await.ok();
                return;
            }
        };
        let kept = inner.keep_take(&row, &path, poster, LAST_WAIT).await;
        let mut part = self.part.lock().await;
        let saved = kept.map(|draft| part.row.draft = Some(draft));
        match saved {
            // The next start tries once more, if the caller does not before.
            Err(TakeReason::Disk) => {}
            Err(_) => _ = std::fs::remove_file(&path),
            Ok(()) => inner.forget_takes(&row.id, row.take),
        }
        let _ = part.note.handle(now(), NoteInput::Saved(saved));
        self.carry_out(inner, &mut part).await;
    }

    /// Keeps and tells where the note stands.
    async fn changed(&self, inner: &Inner, part: &mut Part) {
        let (state, at) = (part.note.state(), now());
        let unix = unix_ms();
        part.row.state = state;
        part.row.take = part.note.take();
        part.row.reason = part.note.reason().map(|reason| reason.as_str().to_owned());
        part.row.expires_at = part.note.expires().map(|until| unix + millis(until.saturating_duration_since(at)));
        let kept = match state {
            NoteState::Discarded | NoteState::Expired => {
                part.row.draft = None;
                inner.forget_takes(&part.row.id, part.row.take);
                match inner.store.give_up(&part.row.id, state).await {
                    Ok(keys) => {
                        inner.delete_all(keys).await;
                        Ok(())
                    }
                    Err(error) => Err(error),
                }
            }
            NoteState::Sent => Ok(()),
            _ => inner.store.put_state(&part.row).await.map(|_| ()),
        };
        if let Err(error) = kept {
            tracing::error!(%error, note = part.row.id, "where a note stands is not kept");
        }
        let recipients = part.row.to.iter().filter(|_| state == NoteState::Sent).map(|to| to.user.clone());
        inner.emit(RecorderEvent::Note {
            users: std::iter::once(self.from.clone()).chain(recipients).collect(),
            event: NoteEvent::State(state),
            note: Box::new(self.info(part)),
        });
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Does what is due of one note, until it is over.
async fn keep_time(inner: Weak<Inner>, active: Weak<Active>) {
    loop {
        let (due, changed) = {
            let Some(active) = active.upgrade() else { return };
            let part = active.part.lock().await;
            if part.note.state().is_final() {
                return;
            }
            (part.note.poll_timeout(), active.clone())
        };
        let sleep = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sleep => {}
            () = changed.changed.notified() => continue,
        }
        let (Some(inner), active) = (inner.upgrade(), changed) else { return };
        let mut part = active.part.lock().await;
        part.note.handle_timeout(now());
        active.carry_out(&inner, &mut part).await;
    }
}
