//! A note as it is shown to one of those whom it concerns: what is on the wire, in events, answers and listings.

use serde::{Deserialize, Serialize};

use crate::note::NoteState;
use crate::packet::NoteKind;
use crate::store::NoteRow;

/// Who leaves a note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sender {
    /// The user.
    pub user: String,
    /// Their name at the time.
    pub name: String,
}

/// Somebody a note is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addressee {
    /// The user.
    pub user: String,
    /// When they heard it, in Unix milliseconds.
    pub heard_at: Option<u64>,
}

/// What somebody says to a note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoteReaction {
    /// The user.
    pub user: String,
    /// Their name at the time; `None` where it was not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The emoji, fully qualified, or one of the embedder's own as `:id:`.
    pub emoji: String,
    /// Since when, in Unix milliseconds.
    pub at: u64,
}

/// A note, on the wire. Times are Unix milliseconds, or durations in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoteInfo {
    /// The note.
    pub id: String,
    /// The call that nobody answered.
    pub call: String,
    /// The thread of both.
    pub thread: String,
    /// Voice or video.
    pub kind: NoteKind,
    /// Where it stands.
    pub state: NoteState,
    /// Who leaves it.
    pub from: Sender,
    /// For whom.
    pub to: Vec<Addressee>,
    /// What they and whoever left it say to it, one each, oldest first.
    #[serde(default)]
    pub reactions: Vec<NoteReaction>,
    /// When it was offered.
    pub created_at: u64,
    /// When it was sent.
    pub sent_at: Option<u64>,
    /// When the offer or the draft expires.
    pub expires_at: Option<u64>,
    /// The longest take.
    pub max_ms: u64,
    /// The countdown before a take.
    pub countdown_ms: u64,
    /// How many takes have begun.
    pub take: u32,
    /// Why the last take ended by itself, or was no good.
    pub reason: Option<String>,
    /// How long it plays; 0 where there is no take yet.
    pub duration_ms: u64,
    /// Bytes.
    pub size: u64,
    /// The media type of its file.
    pub content_type: Option<String>,
    /// The waveform, 0 to 255.
    pub peaks: Vec<u8>,
    /// Width of the picture in pixels.
    pub width: Option<u16>,
    /// Height of the picture in pixels.
    pub height: Option<u16>,
    /// Where the caller's media is, while a take is possible.
    pub room: Option<String>,
    /// Where to get the file, for a while.
    pub url: Option<String>,
    /// It has a poster.
    #[serde(default)]
    pub poster: bool,
    /// Where to get the poster, for a while.
    pub poster_url: Option<String>,
}

impl NoteInfo {
    /// What a row says, without links.
    pub(crate) fn of(row: &NoteRow, room: Option<String>) -> Self {
        let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let draft = row.draft.as_ref();
        let picture = draft.and_then(|draft| draft.picture);
        Self {
            id: row.id.clone(),
            call: row.call.clone(),
            thread: row.thread.clone(),
            kind: row.kind,
            state: row.state,
            from: Sender { user: row.from.clone(), name: row.from_name.clone() },
            to: (row.to.iter()).map(|to| Addressee { user: to.user.clone(), heard_at: to.heard_at }).collect(),
            reactions: row.reactions.clone(),
            created_at: row.created_at,
            sent_at: row.sent_at,
            expires_at: row.expires_at,
            max_ms: millis(row.limits.max),
            countdown_ms: millis(row.limits.countdown),
            take: row.take,
            reason: row.reason.clone(),
            duration_ms: draft.map_or(0, |draft| draft.duration_ms),
            size: draft.map_or(0, |draft| draft.size),
            content_type: draft.map(|draft| draft.content_type.clone()),
            peaks: draft.map(|draft| draft.peaks.clone()).unwrap_or_default(),
            width: picture.map(|(width, _)| width),
            height: picture.map(|(_, height)| height),
            room,
            url: None,
            poster: draft.is_some_and(|draft| draft.poster_key.is_some()),
            poster_url: None,
        }
    }

    /// Whether a user may see it: whoever leaves it always, the others once it is sent.
    pub fn is_for(&self, user: &str) -> bool {
        self.from.user == user || (self.state == NoteState::Sent && self.to.iter().any(|to| to.user == user))
    }
}
