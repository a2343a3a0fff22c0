//! Puts the packets of one track in the order in which they were sent, and places each on the track's own clock. It trusts an RTP
//! timestamp as far as the packet's arrival makes it possible: a sender that restarts its clock, or lies, neither tears hours into a file
//! nor costs memory, and one whose clock stands still while it is muted leaves its gap all the same.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::packet::TakePacket;

/// How far the RTP clock may run away from the arrivals before it counts as restarted, in seconds: more than any network delays a
/// packet, less than anybody would wait for a voice.
const RUNAWAY: i64 = 10;

/// How far apart in sequence numbers two packets may be to belong to the same stretch; RFC 3550's `MAX_DROPOUT` is the same number.
const MAX_DROPOUT: i64 = 3_000;

/// How near to a packet a track must have been muted or unmuted for a clock to have stood still there: signaling and media go separate ways.
const NEAR: Duration = Duration::from_secs(1);

/// How much later than before all packets after a mute must be for the clock to have stood still, in a second's fractions: 200 ms. Less could be the network.
const STOOD_STILL: i64 = 5;

/// A packet in its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed<'a> {
    /// Counts up without wrapping; a hole is a loss.
    pub(super) sequence: i64,
    /// Units of the track's clock since its first packet; never negative.
    pub(super) at: i64,
    /// When it arrived, in units of the track's clock since the take began.
    pub(super) arrived: i64,
    pub(super) packet: &'a TakePacket,
}

/// Sorts the packets of a track whose clock counts `clock` a second, and that was muted or unmuted at the times `muted`.
pub(super) fn in_order<'a>(
    packets: impl Iterator<Item = &'a TakePacket>,
    clock: i64,
    muted: &[Duration],
) -> Vec<Placed<'a>> {
    let mut sorted: BTreeMap<i64, Placed<'a>> = BTreeMap::new();
    // The first packet, and the newest so far.
    let mut known: Option<(Placed<'a>, Placed<'a>)> = None;
    for packet in packets {
        let arrived = i64::try_from(packet.arrival.as_micros()).unwrap_or(i64::MAX / clock) * clock / 1_000_000;
        let Some((first, last)) = known else {
            let first = Placed { sequence: 1 << 20, at: 0, arrived, packet };
            sorted.insert(first.sequence, first);
            known = Some((first, first));
            continue;
        };
        let ahead = i64::from(packet.sequence.wrapping_sub(last.packet.sequence) as i16);
        let elapsed = i64::from(packet.timestamp.wrapping_sub(last.packet.timestamp) as i32);
        let at = last.at + elapsed;
        // Since the first packet, so that many small lies amount to no more than a large one.
        let by_arrival = first.at + (arrived - first.arrived);
        let restarted = ahead.abs() > MAX_DROPOUT || (at - by_arrival).abs() > RUNAWAY * clock;
        let placed = if restarted {
            Placed { sequence: last.sequence + MAX_DROPOUT, at: by_arrival.max(last.at), arrived, packet }
        } else {
            Placed { sequence: last.sequence + ahead, at, arrived, packet }
        };
        sorted.entry(placed.sequence).or_insert(placed);
        if placed.sequence > last.sequence {
            known = Some((first, placed));
        }
    }
    let mut placed: Vec<Placed<'a>> = sorted.into_values().collect();
    open_gaps(&mut placed, clock, muted);
    let first = placed.iter().map(|placed| placed.at).min().unwrap_or(0);
    placed.iter_mut().for_each(|placed| placed.at -= first);
    placed
}

/// Where a sender stopped its clock while it was muted, all later packets seem to be late by as much: puts them where they belong.
fn open_gaps(placed: &mut [Placed<'_>], clock: i64, muted: &[Duration]) {
    // The least delay of each packet and all after it.
    let mut least = vec![i64::MAX; placed.len() + 1];
    for (index, packet) in placed.iter().enumerate().rev() {
        least[index] = (packet.arrived - packet.at).min(least[index + 1]);
    }
    let (mut before, mut shift) = (i64::MAX, 0);
    let mut former: Option<Duration> = None;
    for (packet, least) in placed.iter_mut().zip(least) {
        let from = former.map_or(Duration::ZERO, |former| former.saturating_sub(NEAR));
        let until = packet.packet.arrival + NEAR;
        let late = least.saturating_sub(shift).saturating_sub(before);
        if late > clock / STOOD_STILL && muted.iter().any(|muted| (from..until).contains(muted)) {
            shift += late;
        }
        packet.at += shift;
        before = before.min(packet.arrived - packet.at);
        former = Some(packet.packet.arrival);
    }
}
