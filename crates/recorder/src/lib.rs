//! Notes: what an unanswered caller leaves, from decrypted packets to a file in an inbox. The crate knows neither signaling nor the SFU.

mod error;
mod file;
mod loudness;
mod note;
mod ogg;
mod packet;
mod poster;
mod spool;
mod store;
mod timeline;
mod trim;
mod vp8;
mod webm;

pub use error::RecorderError;
pub use file::{FileOptions, NoteFile, VIDEO_TYPE, VOICE_TYPE, make_file};
pub use note::{NotNow, Note, NoteInput, NoteLimits, NoteOutput, NoteState, TakeReason};
pub use packet::{Codec, NoteKind, TakeEvent, TakePacket, TrackKind};
pub use poster::Poster;
pub use spool::{SpoolHeader, SpoolWriter, read_spool};
pub use store::{CallRow, Cursor, Draft, NoteRow, Page, Recipient, Store, ThreadEntry};
