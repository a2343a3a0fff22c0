//! What clients ask about notes.

use serde::{Deserialize, Serialize};

use super::request::required_nullable;

/// A request about a note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum NoteRequest {
    /// Begin a take, the first or another one.
    #[serde(rename = "note.record")]
    Record {
        /// The note's id.
        note: String,
        /// Begin at once; also while the countdown runs.
        #[serde(default)]
        skip_countdown: bool,
    },
    /// End the take.
    #[serde(rename = "note.stop")]
    Stop {
        /// The note's id.
        note: String,
    },
    /// Send the draft.
    #[serde(rename = "note.send")]
    Send {
        /// The note's id.
        note: String,
    },
    /// Give it up.
    #[serde(rename = "note.discard")]
    Discard {
        /// The note's id.
        note: String,
    },
    /// A recipient has heard it.
    #[serde(rename = "note.heard")]
    Heard {
        /// The note's id.
        note: String,
    },
    /// A recipient wants it to count as unheard.
    #[serde(rename = "note.unheard")]
    Unheard {
        /// The note's id.
        note: String,
    },
    /// React to it with an emoji, in place of the one before.
    #[serde(rename = "note.react")]
    React {
        /// The note's id.
        note: String,
        /// With what; null to take it back.
        #[serde(deserialize_with = "required_nullable")]
        emoji: Option<String>,
    },
    /// Take it away from this user.
    #[serde(rename = "note.delete")]
    Delete {
        /// The note's id.
        note: String,
    },
}

impl NoteRequest {
    /// Which note.
    pub fn note(&self) -> &str {
        match self {
            Self::Record { note, .. }
            | Self::Stop { note }
            | Self::Send { note }
            | Self::Discard { note }
            | Self::Heard { note }
            | Self::Unheard { note }
            | Self::React { note, .. }
            | Self::Delete { note } => note,
        }
    }
}
