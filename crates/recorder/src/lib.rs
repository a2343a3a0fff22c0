//! Notes: what an unanswered caller leaves, from decrypted packets to a file in an inbox. The crate knows neither signaling nor the SFU.

mod error;
mod packet;

pub use error::RecorderError;
pub use packet::{Codec, NoteKind, TakeEvent, TakePacket, TrackKind};
