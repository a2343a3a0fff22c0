//! Hears whether somebody speaks in a take while it is recorded, for notes that end by themselves once nobody does. A client's own word (RFC 6464) is
//! taken where there is one; otherwise the sound is decoded, about 30 µs a packet, which is why only such notes are listened to.

use std::time::Duration;

use crate::loudness::{self, Ear, VOICE_DB};
use crate::packet::{Codec, TakePacket};

/// A voice is told of this often at most: far more often than any silence is long that ends a take.
const INTERVAL: Duration = Duration::from_millis(200);

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Listener {
    ear: Ear,
    told: Option<Duration>,
}

impl Listener {
    pub(crate) fn new() -> Result<Self, opus::Error> {
        Ok(Self { ear: Ear::new()?, told: None })
    }

    /// Whether it is time to tell of a voice.
    pub(crate) fn hears(&mut self, packet: &TakePacket) -> bool {
        if packet.codec != Codec::Opus {
            return false;
        }
        let db = match packet.level {
            Some(level) => -f32::from(level),
            None => loudness::rms_db(self.ear.hear(&packet.payload)),
        };
        let due = self.told.is_none_or(|told| packet.arrival.saturating_sub(told) >= INTERVAL);
        if db <= VOICE_DB || !due {
            return false;
        }
        self.told = Some(packet.arrival);
        true
    }
}
