//! How much of each other's voice a microphone picks up: the usual distance between its level and the voice of whoever has
//! the floor. Sound that keeps this distance is their voice through the air, or echo; sound above it is its owner's. This
//! is what tells apart two people in one room.

use super::clock::Passed;
use super::network::exp;
use crate::ids::ParticipantId;

/// So many others are remembered. More cost memory in every room for the sake of many people in one.
const OTHERS: usize = 4;

#[derive(Debug, Clone, Copy)]
struct Leak {
    from: ParticipantId,
    /// Median distance between this microphone and their voice, in dB.
    distance: f32,
    /// How far levels usually are from it, in dB: little if the microphone hears them.
    deviation: f32,
}

/// See the [module](self).
#[derive(Debug, Clone, Default)]
pub(super) struct Leaks([Option<Leak>; OTHERS]);

impl Leaks {
    /// Compares a level with the voice of another who may have the floor, both in dBov: how far above the usual distance it
    /// is, and how far levels usually are from it. `learn` if the other speaks, more likely than this microphone's owner.
    pub(super) fn on_packet(
        &mut self,
        passed: Passed,
        level: f32,
        from: ParticipantId,
        voice: f32,
        learn: bool,
    ) -> (f32, f32) {
        let Some(place) = self.0.get_mut(from.0 as usize % OTHERS) else { return (0.0, 0.0) };
        let leak = match place {
            Some(leak) if leak.from == from => leak,
            place => place.insert(Leak { from, distance: -30.0, deviation: 8.0 }),
        };
        let distance = (level - voice).max(-60.0);
        let compared = (distance - leak.distance, leak.deviation);
        if learn {
            // Steps of even size lead to the median, which speech at the same time hardly moves.
            leak.distance += passed.packet * 0.01 * ((distance - leak.distance) / 3.0).clamp(-1.0, 1.0);
            let deviation = (distance - leak.distance).abs().min(15.0);
            leak.deviation += (deviation - leak.deviation) * (1.0 - exp(-passed.packet / 2_000.0));
        }
        compared
    }
}
