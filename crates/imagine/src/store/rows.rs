//! What rows say, as values.

use serde::de::DeserializeOwned;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::failed;
use crate::error::ImagineError;
use crate::info::ImageReaction;
use crate::job::JobState;
use crate::money::Money;
use crate::provider::{FailReason, Handle, ImageRequest};

/// A picture whose bytes are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Where.
    pub key: String,
    /// Its media type.
    pub content_type: String,
    /// Bytes.
    pub size: u64,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

/// An image job.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRow {
    /// Its id.
    pub id: String,
    /// Which process carries it on.
    pub owner: String,
    /// How often it has changed.
    pub revision: u64,
    /// Where the picture is to appear.
    pub thread: String,
    /// Who asked.
    pub user: String,
    /// Their name at the time.
    pub user_name: String,
    /// Who sees it once it is posted, besides.
    pub viewers: Vec<String>,
    /// What the user's client calls the request: the same again is the same job.
    pub key: String,
    /// Which provider makes it.
    pub provider: String,
    /// What is to be made.
    pub request: ImageRequest,
    /// The image that was asked for again.
    pub again_of: Option<String>,
    /// The set of variations it belongs to.
    pub set: Option<String>,
    /// Where it stands.
    pub state: JobState,
    /// Why it failed.
    pub reason: Option<FailReason>,
    /// What whoever refused it says.
    pub detail: Option<String>,
    /// When the user asked, in Unix milliseconds.
    pub created_at: u64,
    /// When it was over.
    pub ended_at: Option<u64>,
    /// How it is found again at the provider.
    pub handle: Option<Handle>,
    /// Where the result is to be fetched.
    pub link: Option<String>,
    /// What it may cost: reserved until it is over.
    pub cost: Money,
    /// What it counts for, once it is over.
    pub charged: Money,
    /// The picture, once its bytes are kept.
    pub picture: Option<Picture>,
    /// Whoever asked has taken it back.
    pub deleted: bool,
    /// What those who see it say to it, one each, oldest first.
    pub reactions: Vec<ImageReaction>,
}

impl JobRow {
    /// Whether a user may see it: whoever asked always, the others once it is posted, and nobody once it is taken back.
    pub fn is_for(&self, user: &str) -> bool {
        let shown = self.state == JobState::Posted && self.viewers.iter().any(|viewer| viewer == user);
        !self.deleted && (self.user == user || shown)
    }

    pub(super) fn of(row: &AnyRow) -> Result<Self, ImagineError> {
        let state = text(row, "state")?;
        let picture = match optional_text(row, "file_key")? {
            None => None,
            Some(key) => Some(Picture {
                key,
                content_type: optional_text(row, "content_type")?.unwrap_or_default(),
                size: natural(row, "size")?,
                width: pixels(row, "width")?,
                height: pixels(row, "height")?,
            }),
        };
        let reason = optional_text(row, "reason")?;
        let known = |name: String| FailReason::parse(&name).ok_or(ImagineError::Row { what: "reason", value: name });
        Ok(Self {
            id: text(row, "id")?,
            owner: text(row, "owner")?,
            revision: natural(row, "revision")?,
            thread: text(row, "thread")?,
            user: text(row, "user_id")?,
            user_name: text(row, "user_name")?,
            viewers: Vec::new(),
            key: text(row, "idempotency_key")?,
            provider: text(row, "provider")?,
            request: json("request", &text(row, "request")?)?,
            again_of: optional_text(row, "again_of")?,
            set: optional_text(row, "variation_set")?,
            state: JobState::parse(&state).ok_or(ImagineError::Row { what: "state", value: state })?,
            reason: reason.map(known).transpose()?,
            detail: optional_text(row, "detail")?,
            created_at: natural(row, "created_at")?,
            ended_at: optional(row, "ended_at")?,
            handle: optional_text(row, "handle")?.map(|handle| json("handle", &handle)).transpose()?,
            link: optional_text(row, "link")?,
            cost: Money::from_micros(natural(row, "cost")?),
            charged: Money::from_micros(natural(row, "charged")?),
            picture,
            deleted: natural(row, "deleted")? != 0,
            reactions: Vec::new(),
        })
    }
}

pub(super) fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn text(row: &AnyRow, column: &'static str) -> Result<String, ImagineError> {
    row.try_get(column).map_err(failed("reading a row"))
}

pub(super) fn optional_text(row: &AnyRow, column: &'static str) -> Result<Option<String>, ImagineError> {
    row.try_get(column).map_err(failed("reading a row"))
}

pub(super) fn natural(row: &AnyRow, column: &'static str) -> Result<u64, ImagineError> {
    let value: i64 = row.try_get(column).map_err(failed("reading a row"))?;
    u64::try_from(value).map_err(|_| ImagineError::Row { what: column, value: value.to_string() })
}

fn optional(row: &AnyRow, column: &'static str) -> Result<Option<u64>, ImagineError> {
    let value: Option<i64> = row.try_get(column).map_err(failed("reading a row"))?;
    Ok(value.and_then(|value| u64::try_from(value).ok()))
}

fn pixels(row: &AnyRow, column: &'static str) -> Result<u32, ImagineError> {
    Ok(u32::try_from(natural(row, column)?).unwrap_or(u32::MAX))
}

fn json<T: DeserializeOwned>(what: &'static str, value: &str) -> Result<T, ImagineError> {
    serde_json::from_str(value).map_err(|_| ImagineError::Row { what, value: value.to_owned() })
}
