//! Notes from the offer to the inbox, with a real database, real bytes and real Opus; with SQLite, and with PostgreSQL where one is given.
#![allow(clippy::unwrap_used)]

mod database;
mod take;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use database::databases;
use ringback_recorder::{
    BoxFuture, CallRow, MediaPart, Moderate, NewNote, NoModeration, NoteEvent, NoteInfo, NoteKind, NoteLimits,
    NoteState, Recorder, RecorderConfig, RecorderError, RecorderEvent, TakeEvent, TakePacket, TakeWriter,
};
use serde_json::json;
use take::{decodes_fully, ffmpeg_or_skip, ogg_packets, voice};
use tokio::sync::mpsc::UnboundedReceiver;

struct Desk {
    recorder: Recorder,
    events: UnboundedReceiver<RecorderEvent>,
}

impl Desk {
    async fn open(folder: &Path, database: &str) -> Self {
        Self::moderated(folder, database, Arc::new(NoModeration)).await
    }

    async fn moderated(folder: &Path, database: &str, moderate: Arc<dyn Moderate>) -> Self {
        let config = RecorderConfig { database: Some(database.to_owned()), ..RecorderConfig::new(folder) };
        let recorder = Recorder::open(config, moderate).await.unwrap();
        let events = recorder.events().unwrap();
        Self { recorder, events }
    }

    async fn offer(&self, call: &str) -> NoteInfo {
        let row = CallRow {
            id: call.to_owned(),
            kind: NoteKind::Voice,
            thread: "t".to_owned(),
            caller: "ann".to_owned(),
            callees: vec!["bob".to_owned()],
            outcome: "no_answer".to_owned(),
            placed_at: 1_000,
            ended_at: 2_000,
            ring_ms: 1_000,
            talk_ms: 0,
            acknowledged: true,
            details: json!({ "id": call }),
            hook_done: false,
        };
        self.recorder.call_ended(&row).await.unwrap();
        let limits = NoteLimits::of(NoteKind::Voice);
        let new = NewNote {
            call: call.to_owned(),
            thread: "t".to_owned(),
            room: "r".to_owned(),
            kind: NoteKind::Voice,
            from: "ann".to_owned(),
            from_name: "Ann".to_owned(),
            to: vec!["bob".to_owned()],
            limits,
        };
        self.recorder.offer(new).await.unwrap()
    }

    async fn until(&mut self, state: NoteState) -> NoteInfo {
        loop {
            let event = tokio::time::timeout(Duration::from_secs(10), self.events.recv()).await.unwrap().unwrap();
            if let RecorderEvent::Note { event: NoteEvent::State(is), note, .. } = event
                && is == state
            {
                return *note;
            }
        }
    }

    async fn writer(&mut self) -> TakeWriter {
        loop {
            let event = tokio::time::timeout(Duration::from_secs(10), self.events.recv()).await.unwrap().unwrap();
            if let RecorderEvent::StartTake { writer, .. } = event {
                return writer;
            }
        }
    }

    async fn record(&mut self, note: &str, packets: &[TakePacket]) -> NoteInfo {
        self.recorder.record(note, "ann", true).await.unwrap();
        let writer = self.writer().await;
        for packet in packets {
            assert!(writer.push(TakeEvent::Packet(packet.clone())));
        }
        self.recorder.stop(note, "ann").await.unwrap();
        self.until(NoteState::Draft).await
    }

    async fn file(&self, note: &str, user: &str) -> Result<Vec<u8>, RecorderError> {
        let media = self.recorder.media(note, MediaPart::File, user).await?;
        Ok(self.recorder.read(&media, 0..media.size).await?.to_vec())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_note_reaches_the_inbox_and_the_thread_and_is_heard_once_it_is_heard() {
    for (database, _keep) in databases("notes_inbox").await {
        let folder = tempfile::tempdir().unwrap();
        let mut desk = Desk::open(folder.path(), &database).await;
        let offered = desk.offer("c_1").await;
        assert_eq!((offered.state, offered.room.as_deref()), (NoteState::Offered, Some("r")));
        assert_eq!(desk.offer("c_1").await.id, offered.id, "one note a call");
        let sent_packets = voice(100, |_| true);
        let draft = desk.record(&offered.id, &sent_packets).await;
        assert_eq!((draft.state, draft.duration_ms, draft.peaks.len()), (NoteState::Draft, 2_000, 128));
        let recorder = &desk.recorder;
        assert_eq!(recorder.unheard("bob").await.unwrap(), 0);
        assert!(desk.file(&draft.id, "bob").await.is_err(), "nobody hears a draft but who left it");
        let (packets, _) = ogg_packets(&desk.file(&draft.id, "ann").await.unwrap());
        assert_eq!(packets, sent_packets.iter().map(|packet| packet.payload.to_vec()).collect::<Vec<_>>());

        assert!(recorder.send(&draft.id, "bob").await.is_err(), "nobody sends another's draft");
        recorder.send(&draft.id, "ann").await.unwrap();
        assert!(matches!(recorder.send(&draft.id, "ann").await, Err(RecorderError::Conflict { .. })));
        let inbox = recorder.inbox("bob", None, 10, true).await.unwrap();
        assert_eq!(inbox.rows.len(), 1);
        assert_eq!(inbox.rows[0].state, NoteState::Sent);
        let thread = recorder.thread("bob", "t", None, 10).await.unwrap();
        assert_eq!(thread.rows.len(), 1);
        assert_eq!(thread.rows[0].1.as_ref().map(|note| note.id.as_str()), Some(draft.id.as_str()));
        assert!(recorder.thread("eve", "t", None, 10).await.unwrap().rows.is_empty());
        assert!(recorder.note(&draft.id, "eve").await.is_err());
        if ffmpeg_or_skip("a_note_reaches_the_inbox") {
            let path = folder.path().join("heard.ogg");
            std::fs::write(&path, desk.file(&draft.id, "bob").await.unwrap()).unwrap();
            decodes_fully(&path);
        }

        assert_eq!(recorder.unheard("bob").await.unwrap(), 1);
        recorder.heard(&draft.id, "bob", true).await.unwrap();
        assert_eq!(recorder.unheard("bob").await.unwrap(), 0);
        assert!(recorder.heard(&draft.id, "ann", true).await.is_err());
        recorder.heard(&draft.id, "bob", false).await.unwrap();
        assert_eq!(recorder.unheard("bob").await.unwrap(), 1);

        // Deleting deletes, once nobody has it any more.
        recorder.delete(&draft.id, "bob").await.unwrap();
        assert_eq!(recorder.unheard("bob").await.unwrap(), 0);
        assert!(desk.file(&draft.id, "bob").await.is_err());
        assert!(desk.file(&draft.id, "ann").await.is_ok());
        recorder.delete(&draft.id, "ann").await.unwrap();
        assert!(desk.file(&draft.id, "ann").await.is_err());
        let left = walk(&folder.path().join("media"));
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(recorder.thread("bob", "t", None, 10).await.unwrap().rows.len(), 1, "the call stays");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_said_before_the_process_died_is_a_draft_after_it() {
    for (database, _keep) in databases("notes_restart").await {
        let folder = tempfile::tempdir().unwrap();
        let packets = voice(200, |_| true);
        let offered = {
            let mut desk = Desk::open(folder.path(), &database).await;
            let offered = desk.offer("c_1").await;
            desk.recorder.record(&offered.id, "ann", true).await.unwrap();
            let writer = desk.writer().await;
            for packet in &packets {
                writer.push(TakeEvent::Packet(packet.clone()));
            }
            // What is older than a flush is on disk; this process ends without a word.
            tokio::time::sleep(Duration::from_millis(600)).await;
            offered
        };
        let desk = Desk::open(folder.path(), &database).await;
        let open = desk.recorder.open_notes("ann").await.unwrap();
        assert_eq!(open.len(), 1);
        assert_eq!((open[0].state, open[0].room.as_deref()), (NoteState::Draft, None));
        let (kept, _) = ogg_packets(&desk.file(&offered.id, "ann").await.unwrap());
        assert_eq!(kept, packets.iter().map(|packet| packet.payload.to_vec()).collect::<Vec<_>>());
        assert!(walk(&folder.path().join("spool")).is_empty());
        desk.recorder.send(&offered.id, "ann").await.unwrap();
        assert_eq!(desk.recorder.unheard("bob").await.unwrap(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_take_is_refused_and_a_retake_replaces_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}", folder.path().join("db").display());
    let mut desk = Desk::open(folder.path(), &database).await;
    let note = desk.offer("c_1").await.id;
    desk.recorder.record(&note, "ann", true).await.unwrap();
    let writer = desk.writer().await;
    voice(60, |_| false).into_iter().for_each(|packet| assert!(writer.push(TakeEvent::Packet(packet))));
    desk.recorder.stop(&note, "ann").await.unwrap();
    let refused = desk.until(NoteState::Offered).await;
    assert_eq!(refused.reason.as_deref(), Some("silent"));
    let first = desk.record(&note, &voice(50, |_| true)).await;
    let second = desk.record(&note, &voice(100, |_| true)).await;
    assert_eq!((first.duration_ms, second.duration_ms, second.take), (1_000, 2_000, 3));
    assert_eq!(walk(&folder.path().join("media")).len(), 1, "only one take is kept");
    desk.recorder.discard(&note, "ann").await.unwrap();
    assert!(walk(&folder.path().join("media")).is_empty());
    assert!(desk.recorder.open_notes("ann").await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_overflows_ends_the_take_and_keeps_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}", folder.path().join("db").display());
    let mut desk = Desk::open(folder.path(), &database).await;
    let note = desk.offer("c_1").await.id;
    desk.recorder.record(&note, "ann", true).await.unwrap();
    let writer = desk.writer().await;
    let packets = voice(200, |_| true);
    writer.end(ringback_recorder::TakeReason::Overrun);
    assert!(!writer.push(TakeEvent::Packet(packets[0].clone())), "it takes no more");
    let back = desk.until(NoteState::Offered).await;
    assert_eq!(back.reason.as_deref(), Some("too_short"));
}

struct Strict;

impl Moderate for Strict {
    fn may_send<'a>(&'a self, _: &'a NoteInfo, file: &'a [u8]) -> BoxFuture<'a, Result<(), String>> {
        assert!(file.starts_with(b"OggS"));
        Box::pin(async { Err("not in this house".to_owned()) })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_note_that_moderation_refuses_stays_a_draft() {
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}", folder.path().join("db").display());
    let mut desk = Desk::moderated(folder.path(), &database, Arc::new(Strict)).await;
    let note = desk.offer("c_1").await.id;
    desk.record(&note, &voice(50, |_| true)).await;
    let refused = desk.recorder.send(&note, "ann").await.unwrap_err();
    assert_eq!(refused.to_string(), "the note was refused: not in this house");
    assert_eq!(desk.recorder.open_notes("ann").await.unwrap()[0].state, NoteState::Draft);
    assert_eq!(desk.recorder.unheard("bob").await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_kept_once_and_its_hook_is_due_until_it_is_done() {
    for (database, _keep) in databases("notes_hooks").await {
        let folder = tempfile::tempdir().unwrap();
        let desk = Desk::open(folder.path(), &database).await;
        desk.offer("c_1").await;
        desk.offer("c_2").await;
        let due = |desk: &Desk| {
            let recorder = desk.recorder.clone();
            async move { recorder.hooks_due().await.unwrap().into_iter().map(|call| call.id).collect::<Vec<_>>() }
        };
        assert_eq!(due(&desk).await, ["c_1", "c_2"]);
        desk.recorder.hook_done("c_1").await.unwrap();
        drop(desk);
        let desk = Desk::open(folder.path(), &database).await;
        assert_eq!(due(&desk).await, ["c_2"]);
    }
}

/// All files under a folder.
fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}
