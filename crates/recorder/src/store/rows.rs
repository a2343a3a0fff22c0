//! What rows say, as values.

use serde_json::Value;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::failed;
use crate::error::RecorderError;
use crate::info::NoteReaction;
use crate::note::{NoteLimits, NoteState};
use crate::packet::NoteKind;

/// A call that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRow {
    /// Its id; there is one row per call, whatever happened in it.
    pub id: String,
    /// Voice or video.
    pub kind: NoteKind,
    /// The thread it belongs to.
    pub thread: String,
    /// Who placed it.
    pub caller: String,
    /// Who was called.
    pub callees: Vec<String>,
    /// How it ended, in signaling's word.
    pub outcome: String,
    /// When it was placed, in Unix milliseconds.
    pub placed_at: u64,
    /// When it was over.
    pub ended_at: u64,
    /// How long it rang.
    pub ring_ms: u64,
    /// How long people talked.
    pub talk_ms: u64,
    /// Whether any device showed the ring.
    pub acknowledged: bool,
    /// The call with its legs, as the engine knows it.
    pub details: Value,
    /// The missed-call hook has been told, or need not be.
    pub hook_done: bool,
}

/// A note.
#[derive(Debug, Clone, PartialEq)]
pub struct NoteRow {
    /// Its id.
    pub id: String,
    /// The call that nobody answered.
    pub call: String,
    /// The call's thread.
    pub thread: String,
    /// Voice or video.
    pub kind: NoteKind,
    /// Where it stands.
    pub state: NoteState,
    /// Who leaves it.
    pub from: String,
    /// Their name at the time.
    pub from_name: String,
    /// When it was offered, in Unix milliseconds.
    pub created_at: u64,
    /// When it was sent.
    pub sent_at: Option<u64>,
    /// When the offer or the draft expires.
    pub expires_at: Option<u64>,
    /// What it was offered with.
    pub limits: NoteLimits,
    /// How many takes there were.
    pub take: u32,
    /// Why the last take ended by itself or was refused.
    pub reason: Option<String>,
    /// The take that there is, if there is one.
    pub draft: Option<Draft>,
    /// For whom it is.
    pub to: Vec<Recipient>,
    /// What they and whoever left it say to it, oldest first.
    pub reactions: Vec<NoteReaction>,
    /// Whoever left it has deleted it for themselves.
    pub deleted: bool,
}

/// A take that is kept: what is shown of it, and where its bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The key of its file in the object store.
    pub file_key: String,
    /// The key of its poster.
    pub poster_key: Option<String>,
    /// The file's media type.
    pub content_type: String,
    /// Bytes of file and poster.
    pub size: u64,
    /// How long it plays.
    pub duration_ms: u64,
    /// Its waveform, 0 to 255.
    pub peaks: Vec<u8>,
    /// Width and height of the picture in pixels.
    pub picture: Option<(u16, u16)>,
}

/// Somebody a note is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// Who.
    pub user: String,
    /// When they heard it, in Unix milliseconds.
    pub heard_at: Option<u64>,
    /// They have deleted it for themselves.
    pub deleted: bool,
}

/// A row of a thread: one call, and the note that was left in it.
#[derive(Debug, Clone, PartialEq)]
pub struct ThreadEntry {
    /// The call.
    pub call: CallRow,
    /// The note, if whoever asks may see one.
    pub note: Option<NoteRow>,
}

/// Where a listing goes on: behind this row. Stable, whatever is added meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// When what the row tells of happened, in Unix milliseconds.
    pub at: u64,
    /// Its id.
    pub id: String,
}

impl Cursor {
    /// As it is handed out; opaque to whoever gets it.
    pub fn encode(&self) -> String {
        format!("{}.{}", self.at, self.id)
    }

    /// Reads [`encode`](Self::encode); `None` where it is none of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let (at, id) = text.split_once('.')?;
        Some(Self { at: at.parse().ok()?, id: id.to_owned() })
    }
}

/// Some rows, newest first, and where the next ones begin.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// For the next page; `None` where this was the last.
    pub next: Option<Cursor>,
}

pub(super) fn kind_name(kind: NoteKind) -> &'static str {
    match kind {
        NoteKind::Voice => "voice",
        NoteKind::Video => "video",
    }
}

fn kind(name: &str) -> Result<NoteKind, RecorderError> {
    match name {
        "voice" => Ok(NoteKind::Voice),
        "video" => Ok(NoteKind::Video),
        _ => Err(RecorderError::Row { what: "kind", value: name.to_owned() }),
    }
}

pub(super) fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn natural(row: &AnyRow, column: &str) -> Result<u64, RecorderError> {
    let value: i64 = row.try_get(column).map_err(failed("reading a number"))?;
    Ok(u64::try_from(value).unwrap_or(0))
}

pub(super) fn optional(row: &AnyRow, column: &str) -> Result<Option<u64>, RecorderError> {
    let value: Option<i64> = row.try_get(column).map_err(failed("reading a number"))?;
    Ok(value.and_then(|value| u64::try_from(value).ok()))
}

pub(super) fn text(row: &AnyRow, column: &str) -> Result<String, RecorderError> {
    row.try_get(column).map_err(failed("reading a text"))
}

pub(super) fn optional_text(row: &AnyRow, column: &str) -> Result<Option<String>, RecorderError> {
    row.try_get(column).map_err(failed("reading a text"))
}

pub(super) fn json<T: serde::de::DeserializeOwned>(row: &AnyRow, column: &'static str) -> Result<T, RecorderError> {
    let text = text(row, column)?;
    // Errors are logged, and what stands there may name people.
    let unknown = |_| RecorderError::Row { what: column, value: format!("({} bytes)", text.len()) };
    serde_json::from_str(&text).map_err(unknown)
}

impl CallRow {
    pub(super) fn of(row: &AnyRow) -> Result<Self, RecorderError> {
        Ok(Self {
            id: text(row, "id")?,
            kind: kind(&text(row, "kind")?)?,
            thread: text(row, "thread")?,
            caller: text(row, "caller")?,
            callees: Vec::new(),
            outcome: text(row, "outcome")?,
            placed_at: natural(row, "placed_at")?,
            ended_at: natural(row, "ended_at")?,
            ring_ms: natural(row, "ring_ms")?,
            talk_ms: natural(row, "talk_ms")?,
            acknowledged: natural(row, "acknowledged")? != 0,
            details: json(row, "details")?,
            hook_done: natural(row, "hook_done")? != 0,
        })
    }
}

impl NoteRow {
    /// Whether a user may see it: whoever leaves it in every state, the others once it is sent, and nobody who has deleted it.
    pub fn is_for(&self, user: &str) -> bool {
        let sent_to = self.to.iter().any(|to| to.user == user && !to.deleted);
        (self.from == user && !self.deleted) || (self.state == NoteState::Sent && sent_to)
    }

    pub(super) fn of(row: &AnyRow) -> Result<Self, RecorderError> {
        let state = text(row, "state")?;
        let state = NoteState::parse(&state).ok_or(RecorderError::Row { what: "state", value: state })?;
        let pixels = |value: Option<u64>| value.and_then(|value| u16::try_from(value).ok());
        let draft = match optional_text(row, "file_key")? {
            None => None,
            Some(file_key) => Some(Draft {
                file_key,
                poster_key: optional_text(row, "poster_key")?,
                content_type: optional_text(row, "content_type")?.unwrap_or_default(),
                size: natural(row, "size")?,
                duration_ms: natural(row, "duration_ms")?,
                peaks: json(row, "peaks")?,
                picture: pixels(optional(row, "width")?).zip(pixels(optional(row, "height")?)),
            }),
        };
        Ok(Self {
            id: text(row, "id")?,
            call: text(row, "call_id")?,
            thread: text(row, "thread")?,
            kind: kind(&text(row, "kind")?)?,
            state,
            from: text(row, "sender")?,
            from_name: text(row, "sender_name")?,
            created_at: natural(row, "created_at")?,
            sent_at: optional(row, "sent_at")?,
            expires_at: optional(row, "expires_at")?,
            limits: json(row, "limits")?,
            take: u32::try_from(natural(row, "take")?).unwrap_or(u32::MAX),
            reason: optional_text(row, "reason")?,
            draft,
            to: Vec::new(),
            reactions: Vec::new(),
            deleted: natural(row, "deleted_by_sender")? != 0,
        })
    }
}
