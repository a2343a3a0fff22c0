//! A recorder at work in a test: Ann rings Bob, nobody answers, and Ann leaves a note.
#![allow(dead_code, reason = "each test file uses another part of it")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ringback_recorder::{
    CallRow, MediaPart, Moderate, NewNote, NoModeration, NoteEvent, NoteInfo, NoteKind, NoteLimits, NoteState,
    Recorder, RecorderConfig, RecorderError, RecorderEvent, TakeEvent, TakePacket, TakeWriter,
};
use serde_json::json;
use tokio::sync::mpsc::UnboundedReceiver;

pub(crate) struct Desk {
    pub(crate) recorder: Recorder,
    pub(crate) events: UnboundedReceiver<RecorderEvent>,
}

impl Desk {
    pub(crate) async fn open(folder: &Path, database: &str) -> Self {
        Self::moderated(folder, database, Arc::new(NoModeration)).await
    }

    pub(crate) async fn moderated(folder: &Path, database: &str, moderate: Arc<dyn Moderate>) -> Self {
        let config = RecorderConfig { database: Some(database.to_owned()), ..RecorderConfig::new(folder) };
        Self::configured(config, moderate).await
    }

    pub(crate) async fn configured(config: RecorderConfig, moderate: Arc<dyn Moderate>) -> Self {
        let recorder = Recorder::open(config, moderate).await.unwrap();
        let events = recorder.events().unwrap();
        Self { recorder, events }
    }

    /// A recorder with its rows in the folder, in SQLite.
    pub(crate) async fn in_folder(folder: &Path) -> Self {
        Self::configured(RecorderConfig::new(folder), Arc::new(NoModeration)).await
    }

    /// Ann's call to Bob, which nobody answered.
    pub(crate) async fn offer(&self, call: &str) -> NoteInfo {
        self.offer_within(call, NoteKind::Voice, NoteLimits::of(NoteKind::Voice)).await
    }

    pub(crate) async fn offer_within(&self, call: &str, kind: NoteKind, limits: NoteLimits) -> NoteInfo {
        let row = CallRow {
            id: call.to_owned(),
            kind,
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
        let new = NewNote {
            call: call.to_owned(),
            thread: "t".to_owned(),
            room: "r".to_owned(),
            kind,
            from: "ann".to_owned(),
            from_name: "Ann".to_owned(),
            to: vec!["bob".to_owned()],
            limits,
        };
        self.recorder.offer(new).await.unwrap()
    }

    pub(crate) async fn until(&mut self, state: NoteState) -> NoteInfo {
        loop {
            let event = tokio::time::timeout(Duration::from_secs(10), self.events.recv()).await.unwrap().unwrap();
            if let RecorderEvent::Note { event: NoteEvent::State(is), note, .. } = event
                && is == state
            {
                return *note;
            }
        }
    }

    pub(crate) async fn writer(&mut self) -> TakeWriter {
        loop {
            let event = tokio::time::timeout(Duration::from_secs(10), self.events.recv()).await.unwrap().unwrap();
            if let RecorderEvent::StartTake { writer, .. } = event {
                return writer;
            }
        }
    }

    /// A take that has begun, with these packets in it.
    pub(crate) async fn begin(&mut self, note: &str, packets: &[TakePacket]) -> TakeWriter {
        self.recorder.record(note, "ann", true).await.unwrap();
        let writer = self.writer().await;
        for packet in packets {
            assert!(writer.push(TakeEvent::Packet(packet.clone())));
        }
        writer
    }

    pub(crate) async fn record(&mut self, note: &str, packets: &[TakePacket]) -> NoteInfo {
        self.begin(note, packets).await;
        self.recorder.stop(note, "ann").await.unwrap();
        self.until(NoteState::Draft).await
    }

    pub(crate) async fn file(&self, note: &str, user: &str) -> Result<Vec<u8>, RecorderError> {
        let media = self.recorder.media(note, MediaPart::File, user).await?;
        Ok(self.recorder.read(&media, 0..media.size).await?.to_vec())
    }
}

/// All files under a folder.
pub(crate) fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}
