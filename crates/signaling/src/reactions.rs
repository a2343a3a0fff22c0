//! Reactions as signaling sees them: it says who is in a room, and carries messages for participants without a data channel. What a message
//! means is decided by whoever implements [`Reactions`]; signaling knows its JSON only as a value.

use serde_json::Value;

use crate::media::BoxFuture;
use crate::protocol::{Participant, WireError};

/// Counts reactions and keeps hands.
pub trait Reactions: Send + Sync + 'static {
    /// Somebody has come into a room. Must return at once.
    fn joined(&self, room: &str, participant: &Participant);

    /// Somebody is out of a room. Must return at once.
    fn left(&self, room: &str, participant: &str);

    /// A room is gone. Must return at once.
    fn closed(&self, room: &str);

    /// A message of a participant who sent it over signaling.
    ///
    /// # Errors
    /// To be answered as it is.
    fn handle<'a>(
        &'a self,
        room: &'a str,
        participant: &'a str,
        message: Value,
    ) -> BoxFuture<'a, Result<(), WireError>>;
}
