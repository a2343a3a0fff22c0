//! Notes as signaling sees them: requests that it hands on, and news that it carries to devices. What a note is, and who may do what with it,
//! is decided by whoever implements [`Notes`]; signaling knows its JSON only as a value.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::media::BoxFuture;
use crate::protocol::{CallKind, NoteRequest, UserRef, WireError};

/// What a user is told about notes when a session begins.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OpenNotes {
    /// The notes that the user has not finished leaving.
    pub notes: Vec<Value>,
    /// How many notes wait for the user.
    pub unheard: u64,
}

/// Answers what clients ask about notes.
pub trait Notes: Send + Sync + 'static {
    /// What there is for a user whose session begins.
    fn open<'a>(&'a self, user: &'a str) -> BoxFuture<'a, OpenNotes>;

    /// Does what a user asks, and returns the note as it is then.
    ///
    /// # Errors
    /// To be answered as it is.
    fn handle<'a>(&'a self, user: &'a UserRef, request: NoteRequest) -> BoxFuture<'a, Result<Value, WireError>>;
}

/// What a push message about a note needs to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoteNotice {
    /// Whom it is for.
    pub user: String,
    /// The note's id.
    pub note: String,
    /// The call that nobody answered.
    pub call: String,
    /// Their thread.
    pub thread: String,
    /// Voice or video.
    pub kind: CallKind,
    /// Who left it.
    pub from: UserRef,
    /// How long it plays, in milliseconds.
    pub duration_ms: u64,
    /// The user's devices that have a live session and are told over it; push to the others.
    pub live_devices: Vec<String>,
    /// That of the call's other notices, so that this one replaces them (`apns-collapse-id`, FCM `collapse_key`).
    pub collapse_key: String,
}

/// Something happened to a note: told to devices, pushed to those who sleep, and put into the stream of events.
#[derive(Debug, Clone, PartialEq)]
pub struct NoteNews {
    /// `note.offered`, `note.sent` …
    pub event: String,
    /// The note as the log has it.
    pub note: Value,
    /// Whom to tell, and the fields of their event.
    pub tell: Vec<(String, Map<String, Value>)>,
    /// Whom to push to; `live_devices` is filled in.
    pub notices: Vec<NoteNotice>,
}
