//! An image as it is shown to one of those whom it concerns: what is on the wire, in events, answers and listings.

use serde::{Deserialize, Serialize};

use crate::job::JobState;
use crate::provider::FailReason;
use crate::store::JobRow;

/// Who asked for an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asker {
    /// The user.
    pub user: String,
    /// Their name at the time.
    pub name: String,
}

/// What somebody says to a picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageReaction {
    /// The user.
    pub user: String,
    /// Their name at the time.
    pub name: String,
    /// The emoji, fully qualified, or one of the embedder's own as `:id:`.
    pub emoji: String,
    /// Since when, in Unix milliseconds.
    pub at: u64,
}

/// An image, on the wire. Times are Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageInfo {
    /// The image.
    pub id: String,
    /// How often it has changed: of two that tell of it, the one with less is older.
    pub revision: u64,
    /// Its thread.
    pub thread: String,
    /// Who asked.
    pub from: Asker,
    /// What for: also the text for those who do not see it.
    pub prompt: String,
    /// Where it stands.
    pub state: JobState,
    /// Why it failed.
    pub reason: Option<FailReason>,
    /// What whoever refused it says.
    pub detail: Option<String>,
    /// Which provider makes it.
    pub provider: String,
    /// The image that was asked for again.
    pub again_of: Option<String>,
    /// The set of variations it belongs to, by a name that is the same for all that were asked for together by this user.
    #[serde(default)]
    pub set: Option<String>,
    /// What those who see it say to it, one each, oldest first.
    #[serde(default)]
    pub reactions: Vec<ImageReaction>,
    /// When it was asked for.
    pub created_at: u64,
    /// When it was over.
    pub ended_at: Option<u64>,
    /// How much of it is done, 0 to 1, where the provider says so.
    pub progress: Option<f32>,
    /// Width in pixels: as asked for, and once it is there, as it is.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Bytes.
    pub size: u64,
    /// The media type of its file.
    pub content_type: Option<String>,
    /// Where to get the file, for a while.
    pub url: Option<String>,
}

impl ImageInfo {
    /// What a row says, without links.
    pub(crate) fn of(row: &JobRow) -> Self {
        let picture = row.picture.as_ref();
        Self {
            id: row.id.clone(),
            revision: row.revision,
            thread: row.thread.clone(),
            from: Asker { user: row.user.clone(), name: row.user_name.clone() },
            prompt: row.request.prompt.clone(),
            state: row.state,
            reason: row.reason,
            detail: row.detail.clone(),
            provider: row.provider.clone(),
            again_of: row.again_of.clone(),
            set: row.set.clone(),
            reactions: row.reactions.clone(),
            created_at: row.created_at,
            ended_at: row.ended_at,
            progress: None,
            width: picture.map_or(row.request.width, |picture| picture.width),
            height: picture.map_or(row.request.height, |picture| picture.height),
            size: picture.map_or(0, |picture| picture.size),
            content_type: picture.map(|picture| picture.content_type.clone()),
            url: None,
        }
    }
}
