//! The stage, whom a room highlights, and the voice lights, who speaks: the light is fast and each person's own, the stage
//! is one person's and slower, because it moves pictures around.
//!
//! [`StageDetector`] is the seam: it sees who joins, leaves and mutes, and the audio level of every packet with its
//! time of arrival and its RTP time, and says when the stage or a light changes, and why. It knows neither rooms nor
//! slots nor pins. [`Detector`] is the one that follows a conversation; [`PlainStage`] is a plain one: the loudest who speaks.
//! docs/speaker.md tells how the detector works, how it was trained and what it scores.

mod clock;
mod decision;
mod detector;
mod grid;
mod leak;
mod level;
mod network;
mod plain;
mod preset;
mod talk;
mod told;

use std::fmt::Debug;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::ids::ParticipantId;

pub use detector::Detector;
pub use plain::PlainStage;
pub use preset::Preset;
pub(crate) use told::ToldStage;

/// Why the stage changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StageReason {
    /// They speak, and whoever was there does not.
    Speaking,
    /// They have been louder than whoever was there for some time.
    Louder,
    /// They have taken the floor from whoever was there and still makes sound.
    Interrupting,
    /// Whoever was there has muted.
    Muted,
    /// Whoever was there has left.
    Left,
}

/// A change of the stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageChange {
    /// Who is on the stage now; `None`: nobody.
    pub participant: Option<ParticipantId>,
    /// Why it changed.
    pub reason: StageReason,
}

/// What a detector makes of one participant at one moment: for whoever looks on, never for deciding anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Reading {
    /// The level of the last packet, in dBov: 0 is the loudest, -127 silence or nothing sent for a while.
    pub level: i8,
    /// The noise around the microphone, in dBov.
    pub noise: i8,
    /// How likely they are saying something, in percent.
    pub utterance: u8,
    /// How likely they have the floor, in percent.
    pub floor: u8,
    /// The evidence for putting them on the stage, in ms of certainty.
    pub evidence: u16,
    /// The evidence that would take the stage now, in ms of certainty; 0 for whoever is on it.
    pub needed: u16,
    /// Whether their voice light is on.
    pub speaking: bool,
}

/// Decides whom to highlight and whose light is on. Time is what the caller says; every answer is a change, `None` meaning that all stays
/// as it is.
///
/// Whoever is on the stage, or has their light on, has joined, not left and is not muted. In silence the stage does not change.
pub trait StageDetector: Debug + Send {
    /// Somebody has joined; `muted` if they have no live microphone.
    fn join(&mut self, now: Instant, participant: ParticipantId, muted: bool);

    /// Somebody has left. Their stage is free at once.
    fn leave(&mut self, now: Instant, participant: ParticipantId) -> Option<StageChange>;

    /// Somebody mutes or unmutes. Muting frees their stage at once.
    fn set_muted(&mut self, now: Instant, participant: ParticipantId, muted: bool) -> Option<StageChange>;

    /// A voice packet has arrived: its RTP timestamp (of a clock of 48 kHz, as Opus has), its level (0, loudest, to
    /// 127, silent, in −dBov) and V bit (RFC 6464). Called per packet: no allocation. Levels of whoever has not joined,
    /// or is muted, do not count.
    fn on_level(
        &mut self,
        now: Instant,
        participant: ParticipantId,
        rtp_time: u32,
        level: u8,
        voice: bool,
    ) -> Option<StageChange>;

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called, packets or not.
    fn poll_timeout(&self) -> Option<Instant>;

    /// Time has passed.
    fn handle_timeout(&mut self, now: Instant) -> Option<StageChange>;

    /// Who is on the stage: what someone who joins is told.
    fn on_stage(&self) -> Option<ParticipantId>;

    /// Whether the light of somebody's voice is on: what someone who joins is told of each.
    fn is_speaking(&self, participant: ParticipantId) -> bool;

    /// The next light that has changed since it was last told; of whoever has left nothing more is told. To be asked until
    /// it answers `None`, after whatever else is called. No allocation.
    fn poll_speaking(&mut self) -> Option<(ParticipantId, bool)>;

    /// What is made of somebody at this moment.
    fn reading(&self, now: Instant, participant: ParticipantId) -> Option<Reading>;

    /// Somebody else decides the stage and the lights, and says what they are. Whoever decides by itself does not heed it.
    fn told(
        &mut self,
        _on_stage: Option<ParticipantId>,
        _reason: StageReason,
        _speaking: &[ParticipantId],
    ) -> Option<StageChange> {
        None
    }
}
