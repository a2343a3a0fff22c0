//! What a take is made of: decrypted RTP packets of the caller's microphone and camera, and what else tells of their clocks, in order
//! of arrival. Plain values; where they come from (a tap of the SFU, a spool on disk) is nobody's business here.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What kind of note: decided by the kind of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoteKind {
    /// Sound only, kept as Ogg/Opus.
    Voice,
    /// Picture and sound, kept as WebM.
    Video,
}

/// Which of the caller's tracks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrackKind {
    /// The microphone.
    Audio,
    /// The camera.
    Video,
}

/// How a payload is encoded. Notes are kept as they were sent, never encoded anew, so only what every browser plays is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Codec {
    /// RFC 6716 in RFC 7587, RTP clock 48 kHz.
    Opus,
    /// RFC 6386 in RFC 7741, RTP clock 90 kHz.
    Vp8,
}

/// One RTP packet, without its header extensions and padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakePacket {
    /// Of which track.
    pub track: TrackKind,
    /// How it is encoded.
    pub codec: Codec,
    /// When it arrived, since the take began, on a clock that never steps.
    pub arrival: Duration,
    /// The RTP sequence number.
    pub sequence: u16,
    /// The RTP timestamp, in units of the codec's clock.
    pub timestamp: u32,
    /// The RTP marker bit.
    pub marker: bool,
    /// The audio level (RFC 6464) in -dBov: 0 is loudest, 127 silence; `None` where the client sends none.
    pub level: Option<u8>,
    /// The payload as the codec's RTP format has it.
    pub payload: Bytes,
}

/// Something that belongs to a take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TakeEvent {
    /// A packet.
    Packet(TakePacket),
    /// An RTCP sender report (RFC 3550, 6.4.1): this RTP timestamp was at that wall-clock time.
    SenderReport {
        /// Of which track.
        track: TrackKind,
        /// When it arrived, since the take began.
        arrival: Duration,
        /// The sender's wall clock, NTP format: seconds since 1900 and their fraction, 32 bits each.
        ntp: u64,
        /// The RTP timestamp of that moment.
        rtp_timestamp: u32,
    },
    /// The caller muted or unmuted a track.
    Muted {
        /// Which track.
        track: TrackKind,
        /// When, since the take began.
        arrival: Duration,
        /// Muted, or no longer.
        muted: bool,
    },
}

impl TakeEvent {
    /// When it arrived, since the take began.
    pub fn arrival(&self) -> Duration {
        match self {
            Self::Packet(packet) => packet.arrival,
            Self::SenderReport { arrival, .. } | Self::Muted { arrival, .. } => *arrival,
        }
    }
}
