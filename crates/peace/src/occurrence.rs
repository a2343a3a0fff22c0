//! What may be told to a user.

use serde::{Deserialize, Serialize};

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OccurrenceKind {
    /// Somebody called, and the user did not answer.
    MissedCall,
    /// Somebody left the user a note.
    Note,
    /// Somebody reacted to something of the user's.
    Reaction,
    /// An image was posted.
    Image,
}

impl OccurrenceKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::MissedCall, Self::Note, Self::Reaction, Self::Image];

    /// As on the wire and in rows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MissedCall => "missed_call",
            Self::Note => "note",
            Self::Reaction => "reaction",
            Self::Image => "image",
        }
    }

    /// Reads [`as_str`](Self::as_str).
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Whether somebody wants the user, and not only says something: what a favourite gets through with.
    pub(crate) fn is_personal(self) -> bool {
        matches!(self, Self::MissedCall | Self::Note)
    }
}

/// Something that happened, as far as it matters to whether and when a user is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occurrence {
    /// Names it among those of its user.
    pub id: String,
    /// When it happened, in Unix milliseconds.
    pub at: u64,
    /// What it was.
    pub kind: OccurrenceKind,
    /// Whose doing it was.
    pub from: String,
    /// The user has its thread before them, as one of their devices says: they may see it by themselves. Asked for once, when it is first decided on.
    #[serde(default)]
    pub in_view: bool,
}
