//! Notes on their way to a client: as JSON, with links, and the recorder's errors in the protocol's words.

use ringback_recorder::{MediaPart, NoteInfo, NoteState, Recorder, RecorderError};
use ringback_signaling::protocol::{ErrorCode, WireError};
use serde_json::Value;

/// A note as JSON.
pub(super) fn value(note: &NoteInfo) -> Value {
    serde_json::to_value(note).unwrap_or_else(|error| {
        tracing::error!(%error, note = note.id, "a note cannot be written as JSON");
        Value::Null
    })
}

/// Puts links in for what this user may get, relative to where the engine's router is nested.
pub(super) fn link(recorder: &Recorder, note: &mut NoteInfo, user: &str) {
    let is_kept = note.content_type.is_some() && !matches!(note.state, NoteState::Discarded | NoteState::Expired);
    if !is_kept || !note.is_for(user) {
        return;
    }
    let link =
        |part: MediaPart| format!("v1/notes/{}/{}?{}", note.id, part.as_str(), recorder.sign(&note.id, part, user));
    let poster = note.poster.then(|| link(MediaPart::Poster));
    note.url = Some(link(MediaPart::File));
    note.poster_url = poster;
}

/// What a client is told of an error. What is inside (paths, queries) stays in the log.
pub(super) fn refused(error: RecorderError) -> WireError {
    let code = match &error {
        RecorderError::NotFound(_) => ErrorCode::NotFound,
        RecorderError::Conflict { .. } => ErrorCode::Conflict,
        RecorderError::Forbidden(_) | RecorderError::Refused(_) => ErrorCode::Forbidden,
        RecorderError::TooManyChanges(_) => ErrorCode::RateLimited,
        RecorderError::Quota { .. } => {
            return WireError::new(ErrorCode::Unavailable, "the recipient's inbox is full");
        }
        _ => {
            tracing::error!(%error, "a request about notes failed");
            return WireError::new(ErrorCode::Internal, "the request failed");
        }
    };
    WireError::new(code, error.to_string())
}
