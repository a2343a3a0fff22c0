//! Why something about an image could not be done.

use crate::provider::FailReason;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImagineError {
    /// The settings name something that could not work.
    #[error("image provider {provider:?}: {reason}")]
    Config {
        /// Which provider, or what else.
        provider: String,
        /// What is wrong.
        reason: String,
    },
    /// No provider is configured.
    #[error("no image provider is configured on this server")]
    NoProvider,
    /// There is no provider of this name.
    #[error("there is no image provider {0:?}")]
    UnknownProvider(String),
    /// What was asked cannot be asked: an empty prompt, a size that the provider does not make.
    #[error("{0}")]
    Request(String),
    /// The embedder's moderation or the provider refused.
    #[error("the image was refused: {0}")]
    Refused(String),
    /// The user or the thread has had as many as it may have.
    #[error("{limit} images in {hours} h are the most for one {whose}: try again later")]
    Quota {
        /// `person` or `thread`.
        whose: &'static str,
        /// How many are allowed.
        limit: u32,
        /// In how many hours, rounded up.
        hours: u64,
    },
    /// The user has as many under way as they may have.
    #[error("{0} images are under way already: wait for one of them")]
    UnderWay(u32),
    /// The operator's spend cap is reached.
    #[error("this server's budget for images is used up for this {0}")]
    SpendCap(&'static str),
    /// There is no such image, or it does not concern this user.
    #[error("there is no image {0:?} for this user")]
    NotFound(String),
    /// Not in this state.
    #[error("an image that is {state} cannot be {wanted}")]
    Conflict {
        /// How it is.
        state: &'static str,
        /// What was asked.
        wanted: &'static str,
    },
    /// Somebody has changed their reaction to a picture this often.
    #[error("a reaction can be changed {0} times")]
    TooManyChanges(i64),
    /// A webhook that is not signed as it has to be.
    #[error("the webhook is not to be trusted: {0}")]
    Webhook(&'static str),
    /// A picture could not be fetched or is none.
    #[error("the picture cannot be used ({}): {detail}", reason.as_str())]
    Picture {
        /// In a word.
        reason: FailReason,
        /// For the log.
        detail: String,
    },
    /// The database.
    #[error("the database, {doing}: {source}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// What it said.
        source: sqlx::Error,
    },
    /// The database's tables could not be made or brought up to date.
    #[error("the database cannot be migrated: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// A row says something that this program does not understand.
    #[error("the database holds a {what} {value:?} that is not known")]
    Row {
        /// Which column.
        what: &'static str,
        /// What it holds.
        value: String,
    },
    /// A URL of a store that is not understood.
    #[error("{0:?} is no database: expected sqlite://path or postgres://user@host/database")]
    Url(String),
    /// The store of bytes, as whoever provides it says.
    #[error("the store of bytes: {0}")]
    Bytes(String),
    /// An HTTP client could not be made.
    #[error("no HTTP client can be made: {0}")]
    Client(#[source] reqwest::Error),
}
