//! Puts the packets of one track in the order in which they were sent, and places each on the track's own clock. It trusts an RTP
//! timestamp as far as the packet's arrival makes it possible: a sender that restarts its clock, or lies, neither tears hours into a file
//! nor costs memory.

use std::collections::BTreeMap;

use crate::packet::TakePacket;

/// How far the RTP clock may run away from the arrivals before it counts as restarted, in seconds: more than any network delays a
/// packet, less than anybody would wait for a voice.
const RUNAWAY: i64 = 10;

/// How far apart in sequence numbers two packets may be to belong to the same stretch; RFC 3550's `MAX_DROPOUT` is the same number.
const MAX_DROPOUT: i64 = 3_000;

/// A packet in its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed<'a> {
    /// Counts up without wrapping; a hole is a loss.
    pub(super) sequence: i64,
    /// Units of the track's clock since its first packet; never negative.
    pub(super) at: i64,
    pub(super) packet: &'a TakePacket,
}

/// Sorts the packets of a track whose clock counts `clock` a second.
pub(super) fn in_order<'a>(packets: impl Iterator<Item = &'a TakePacket>, clock: i64) -> Vec<Placed<'a>> {
    let mut sorted: BTreeMap<i64, Placed<'a>> = BTreeMap::new();
    // The newest packet so far, in sequence and in time.
    let mut newest: Option<(i64, Placed<'a>)> = None;
    for packet in packets {
        let arrived = i64::try_from(packet.arrival.as_millis()).unwrap_or(i64::MAX / clock) * clock / 1_000;
        let Some((newest_arrival, last)) = newest else {
            let first = Placed { sequence: 1 << 20, at: 0, packet };
            sorted.insert(first.sequence, first);
            newest = Some((arrived, first));
            continue;
        };
        let ahead = i64::from(packet.sequence.wrapping_sub(last.packet.sequence) as i16);
        let elapsed = i64::from(packet.timestamp.wrapping_sub(last.packet.timestamp) as i32);
        let restarted = ahead.abs() > MAX_DROPOUT || (elapsed - (arrived - newest_arrival)).abs() > RUNAWAY * clock;
        let placed = if restarted {
            let waited = (arrived - newest_arrival).max(0);
            Placed { sequence: last.sequence + MAX_DROPOUT, at: last.at + waited, packet }
        } else {
            Placed { sequence: last.sequence + ahead, at: last.at + elapsed, packet }
        };
        sorted.entry(placed.sequence).or_insert(placed);
        if placed.sequence > last.sequence {
            newest = Some((arrived, placed));
        }
    }
    let first = sorted.values().map(|placed| placed.at).min().unwrap_or(0);
    sorted.into_values().map(|placed| Placed { at: placed.at - first, ..placed }).collect()
}
