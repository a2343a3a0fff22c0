//! Notes: what an unanswered caller leaves, from decrypted packets to a file in an inbox. [`Recorder`] is the service; inside it are a
//! [state machine](Note) for each note, an append-only [spool](SpoolWriter) for each take, [files](make_file) of voice (Ogg/Opus) and video (WebM), and a
//! [store](Store) of calls and notes, with a [log](EventLog) of what happened to them. The crate knows neither signaling nor the SFU: whoever holds the recorder feeds takes, and carries its events on.

mod at_rest;
mod bytes;
mod error;
mod event_log;
mod file;
mod folder_lock;
mod info;
mod link;
mod listener;
mod live_calls;
mod loudness;
mod mp4;
mod mp4_take;
mod note;
mod ogg;
mod packet;
mod poster;
mod recorder;
mod spool;
mod store;
mod take;
mod timeline;
mod trim;
mod upload;
mod vp8;
mod webm;
mod webm_take;

pub use at_rest::AtRestKey;
pub use bytes::ByteStore;
pub use error::RecorderError;
pub use event_log::{EventLog, Follow};
pub use file::{FileOptions, MP4_VIDEO_TYPE, MP4_VOICE_TYPE, NoteFile, VIDEO_TYPE, VOICE_TYPE, make_file};
pub use info::{Addressee, NoteInfo, NoteReaction, Sender};
pub use link::{LINK_HOLDS, Links, MediaPart};
pub use live_calls::LiveCalls;
pub use note::{NotNow, Note, NoteInput, NoteLimits, NoteOutput, NoteState, TakeReason};
pub use packet::{Codec, NoteKind, TakeEvent, TakePacket, TrackKind};
pub use poster::Poster;
pub use recorder::{
    BoxFuture, Media, Moderate, NewNote, NoModeration, NoteEvent, Recorder, RecorderConfig, RecorderEvent,
};
pub use spool::{SpoolHeader, SpoolWriter, read_spool};
pub use store::{
    CallRow, Cursor, Draft, EventPage, KindCount, LiveCall, LoggedEvent, NewEvent, NoteRow, NotificationRow,
    NotificationRows, OccurrenceRow, Page, Recipient, Seen, Store, ThreadEntry,
};
pub use take::TakeWriter;
pub use upload::UploadState;
