//! Why something about a note could not be done.

use std::path::PathBuf;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecorderError {
    /// A file or folder of the spool.
    #[error("{doing} {}: {source}", path.display())]
    Spool {
        /// What was being done.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another recorder works in this folder.
    #[error("{} is in use by another recorder: each needs a folder of its own", folder.display())]
    InUse {
        /// Which folder.
        folder: PathBuf,
    },
    /// A spool file is not one of ours, or of a version that this program does not know.
    #[error("{} is not a take: {reason}", path.display())]
    NotATake {
        /// Which file.
        path: PathBuf,
        /// What was expected.
        reason: &'static str,
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
    /// The store of bytes.
    #[error("the object store, {doing} {key:?}: {source}")]
    Bytes {
        /// What was being done.
        doing: &'static str,
        /// To which object.
        key: String,
        /// What it said.
        source: object_store::Error,
    },
    /// A URL of a store that is not understood.
    #[error("{url:?} is no store: expected {expected}")]
    Url {
        /// What was given.
        url: String,
        /// What was expected.
        expected: &'static str,
    },
    /// A take from which no file can be made.
    #[error("no file can be made of this take: {0}")]
    Take(&'static str),
    /// Opus could not be decoded or encoded.
    #[error("opus: {0}")]
    Opus(#[from] opus::Error),
    /// A container could not be written.
    #[error("writing the {container} file: {reason}")]
    Container {
        /// Which container.
        container: &'static str,
        /// What went wrong.
        reason: String,
    },
    /// There is no such note, or it does not concern this user.
    #[error("there is no note {0:?} for this user")]
    NotFound(String),
    /// Not in this state.
    #[error("a note that is {state} cannot be {wanted}")]
    Conflict {
        /// How it is.
        state: &'static str,
        /// What was asked.
        wanted: &'static str,
    },
    /// Only somebody else may do this.
    #[error("{0}")]
    Forbidden(&'static str),
    /// The user's notes take up too much.
    #[error("the recipient's notes take up {used} of {limit} bytes: {size} more do not fit")]
    Quota {
        /// Whose notes.
        user: String,
        /// How many bytes they take up.
        used: u64,
        /// How many are allowed.
        limit: u64,
        /// How many were to be added.
        size: u64,
    },
    /// The embedder's moderation refused a note.
    #[error("the note was refused: {0}")]
    Refused(String),
    /// A user has changed their reaction to a note too often.
    #[error("a reaction to a note can be changed {0} times")]
    TooManyChanges(i64),
    /// An upload does not go on where it stopped.
    #[error("the upload goes on at byte {0}")]
    Offset(u64),
    /// An upload is larger than a note of this length can be.
    #[error("an upload for this note has {0} bytes at most")]
    TooLarge(u64),
    /// An upload that is none of the files that are taken.
    #[error(
        "a WebM file is expected, with Opus and, for a video note, VP8; or a fragmented MP4 file, with AAC or Opus and, for a video note, H.264"
    )]
    NotARecording,
    /// Bytes at rest that cannot be encrypted or decrypted, or a key that is none.
    #[error("bytes at rest: {0}")]
    AtRest(&'static str),
    /// The recorder shuts down.
    #[error("the recorder is shutting down")]
    Stopped,
}
