//! How long the changes of a room's roster are collected: everybody is told of each, so that a room of a thousand in which everyone comes
//! at once would otherwise tell a million things.

use std::time::Duration;

use super::RoomsConfig;

/// Up to how many a room is small: whatever changes is told after the shorter interval, and that somebody's media transport is up at once.
/// One more multiplies messages, one less makes a meeting look slow.
pub(super) const SMALL_ROOM: usize = 30;

/// From how many on the longer interval holds.
const LARGE_ROOM: usize = 500;

/// The interval of a room with so many in it.
pub(super) fn interval(config: &RoomsConfig, members: usize) -> Duration {
    let (small, large) = (config.coalesce, config.coalesce_large.max(config.coalesce));
    let grown = members.clamp(SMALL_ROOM, LARGE_ROOM) - SMALL_ROOM;
    small + (large - small) * grown as u32 / (LARGE_ROOM - SMALL_ROOM) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_collected_for_50_to_250_ms_and_longer_in_larger_rooms() {
        let ms = |members| interval(&RoomsConfig::default(), members).as_millis();
        assert_eq!((ms(0), ms(30), ms(265), ms(500), ms(1_000)), (50, 50, 150, 250, 250));
        let patient = RoomsConfig { coalesce: Duration::from_secs(1), ..RoomsConfig::default() };
        assert_eq!(interval(&patient, 1_000), Duration::from_secs(1), "never shorter than in a small one");
    }
}
