//! What an embedder sets for a room, with the defaults and what each trades off.

use std::time::Duration;

use crate::bucket::Rate;
use crate::emoji::Palette;
use crate::protocol::Controls;

/// Up to how many people a tick names everyone who reacted; in larger rooms it names a few. More would make ticks of several datagrams
/// the rule, which lossy channels lose more easily.
pub const SMALL_ROOM: usize = 30;

/// The tick of a room of up to [`TICK_GROWS_FROM`] people: two frames of a film are not told apart from "at once".
const TICK: Duration = Duration::from_millis(100);

/// The tick of a room of [`TICK_GROWS_TO`] people and more: fewer messages against a quarter of a second.
const LARGE_TICK: Duration = Duration::from_millis(250);
const TICK_GROWS_FROM: usize = 100;
const TICK_GROWS_TO: usize = 1000;

/// Settings of one room.
#[derive(Debug, Clone)]
#[must_use]
pub struct RoomReactionsConfig {
    pub(crate) palette: Palette,
    pub(crate) controls: Controls,
    /// Reactions of one participant.
    pub(crate) reactions: Rate,
    /// Reactions of the room.
    pub(crate) room: Rate,
    /// Hands, statuses, host controls and snapshots of one participant.
    pub(crate) sticky: Rate,
    /// Messages of one participant, also those that are refused.
    pub(crate) messages: Rate,
    /// Refusals told to one participant.
    pub(crate) refusals: Rate,
}

impl Default for RoomReactionsConfig {
    /// A thumb taps about five times a second; a room of a thousand may do so together, and ten thousand reactions a second cost a core
    /// about a hundredth of its time.
    fn default() -> Self {
        let rate = |burst, per_second| Rate { burst, every: Duration::from_secs(1) / per_second };
        Self {
            palette: Palette::default(),
            controls: Controls::default(),
            reactions: rate(10, 5),
            room: rate(2_000, 10_000),
            sticky: rate(10, 2),
            messages: rate(60, 20),
            refusals: rate(5, 1),
        }
    }
}

impl RoomReactionsConfig {
    /// What may be reacted with beyond Unicode's emoji, and which statuses there are. By default no custom ones, and no statuses.
    pub fn palette(mut self, palette: Palette) -> Self {
        self.palette = palette;
        self
    }

    /// What may be reacted with.
    pub fn own_palette(&self) -> &Palette {
        &self.palette
    }

    /// What is on, and for whom, until a host says otherwise. By default everything for everyone.
    pub fn controls(mut self, controls: Controls) -> Self {
        self.controls = controls;
        self
    }

    /// How often one participant may react; by default ten at once, then five a second.
    pub fn participant_rate(mut self, rate: Rate) -> Self {
        self.reactions = rate;
        self
    }

    /// How often all participants together may react; by default 2,000 at once, then 10,000 a second. It bounds the work and the speed
    /// of the counters; who floods runs into their own limit first.
    pub fn room_rate(mut self, rate: Rate) -> Self {
        self.room = rate;
        self
    }
}

/// How long a tick is in a room of this size: it grows with the number of receivers, so that their messages do not.
pub(crate) fn tick(participants: usize) -> Duration {
    let grown = participants.clamp(TICK_GROWS_FROM, TICK_GROWS_TO) - TICK_GROWS_FROM;
    TICK + (LARGE_TICK - TICK) * grown as u32 / (TICK_GROWS_TO - TICK_GROWS_FROM) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_grows_from_100_to_250_ms() {
        let ms = |participants| tick(participants).as_millis();
        assert_eq!((ms(0), ms(100), ms(550), ms(1000), ms(100_000)), (100, 100, 175, 250, 250));
    }
}
