//! The last keyframe of a publisher that does not answer requests for one, or was never asked (some send one now and then, whatever they are asked), so that
//! whoever begins to look sees a still at once instead of nothing until the next. Only its packets are kept, not what
//! followed: a decoder that is given later frames without all in between shows rubbish, so nothing flows until the next keyframe.

use std::time::{Duration, Instant};

use crate::forward::Packet;

/// The most bytes of a keyframe that are kept: one of 1080p at 6 Mb/s. A larger one is not kept, and a newcomer waits.
const MAX_BYTES: usize = 256 * 1024;

/// The most packets of one.
const MAX_PACKETS: usize = 256;

/// A keyframe is shown for so long after it came. Longer would help with encoders whose keyframes are even rarer, and show newcomers
/// what is no longer so.
pub(crate) const MAX_AGE: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Kept {
    /// Without its payload.
    packet: Packet<'static>,
    /// Where the payload is.
    from: usize,
    len: usize,
}

/// See the [module](self). Takes no memory before the first packet.
#[derive(Debug, Default)]
pub(crate) struct LastKeyframe {
    began: Option<Instant>,
    packets: Vec<Kept>,
    bytes: Vec<u8>,
    too_large: bool,
}

impl LastKeyframe {
    /// Takes note of a packet: the first of a keyframe takes the place of the one before, and what belongs to it follows.
    pub(crate) fn take(&mut self, now: Instant, packet: &Packet<'_>) {
        // AV1's dependency descriptors belong to their frames, and would have to be kept with them; its encoders answer requests.
        if !packet.dependency.is_empty() {
            return;
        }
        let first = self.packets.first().map(|first| (first.packet.ssrc, first.packet.timestamp));
        let belongs = first == Some((packet.ssrc, packet.timestamp));
        if packet.starts && !belongs {
            self.clear();
            self.began = Some(now);
        } else if !belongs || self.packets.iter().any(|kept| kept.packet.sequence == packet.sequence) {
            return;
        }
        if self.packets.len() >= MAX_PACKETS || self.bytes.len() + packet.payload.len() > MAX_BYTES {
            self.too_large = true;
            return;
        }
        let (from, len) = (self.bytes.len(), packet.payload.len());
        self.bytes.extend_from_slice(packet.payload);
        self.packets.push(Kept { packet: Packet { payload: &[], dependency: &[], ..*packet }, from, len });
    }

    /// Forgets it: it may not be shown any more.
    pub(crate) fn clear(&mut self) {
        self.began = None;
        self.packets.clear();
        self.bytes.clear();
        self.too_large = false;
    }

    /// The packets in order; none unless the keyframe is whole and recent.
    pub(crate) fn packets(&mut self, now: Instant) -> impl Iterator<Item = Packet<'_>> {
        let first = self.packets.first().map_or(0, |first| first.packet.sequence);
        let place = |kept: &Kept| kept.packet.sequence.wrapping_sub(first);
        self.packets.sort_unstable_by_key(place);
        let recent = self.began.is_some_and(|began| now.saturating_duration_since(began) <= MAX_AGE);
        let whole = self.packets.iter().enumerate().all(|(at, kept)| usize::from(place(kept)) == at)
            && self.packets.last().is_some_and(|last| last.packet.marker);
        let shown = if recent && whole && !self.too_large { self.packets.as_slice() } else { &[] };
        let bytes = &self.bytes;
        shown.iter().map(|kept| Packet {
            payload: bytes.get(kept.from..kept.from + kept.len).unwrap_or_default(),
            ..kept.packet
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::{Descriptor, Temporal};

    fn packet(sequence: u16, timestamp: u32, starts: bool, marker: bool, payload: &[u8]) -> Packet<'_> {
        Packet {
            ssrc: 1,
            sequence,
            timestamp,
            marker,
            codec: 0,
            level: None,
            starts,
            descriptor: Descriptor::None,
            temporal: Temporal::default(),
            spatial: None,
            dependency: &[],
            payload,
        }
    }

    fn kept(keyframe: &mut LastKeyframe, now: Instant) -> Vec<(u16, Vec<u8>)> {
        keyframe.packets(now).map(|packet| (packet.sequence, packet.payload.to_vec())).collect()
    }

    #[test]
    fn a_keyframe_is_kept_whole_in_order_without_what_follows_and_until_the_next() {
        let (mut keyframe, now) = (LastKeyframe::default(), Instant::now());
        keyframe.take(now, &packet(9, 90, false, true, b"before"));
        keyframe.take(now, &packet(65_535, 100, true, false, b"a"));
        keyframe.take(now, &packet(1, 100, false, true, b"c"));
        assert_eq!(kept(&mut keyframe, now), [], "one is missing");
        keyframe.take(now, &packet(0, 100, false, false, b"b"));
        keyframe.take(now, &packet(0, 100, false, false, b"b"));
        keyframe.take(now, &packet(2, 190, false, true, b"after"));
        let whole = [(65_535, b"a".to_vec()), (0, b"b".to_vec()), (1, b"c".to_vec())];
        assert_eq!(kept(&mut keyframe, now), whole);
        assert_eq!(kept(&mut keyframe, now + MAX_AGE), whole);
        assert_eq!(kept(&mut keyframe, now + MAX_AGE + Duration::from_millis(1)), []);
        keyframe.take(now, &packet(40, 900, true, true, b"next"));
        assert_eq!(kept(&mut keyframe, now), [(40, b"next".to_vec())]);
        keyframe.clear();
        assert_eq!(kept(&mut keyframe, now), []);
    }

    #[test]
    fn what_is_too_large_is_not_kept_and_costs_no_more_than_the_bound() {
        let (mut keyframe, now) = (LastKeyframe::default(), Instant::now());
        let payload = [7; 1_100];
        for sequence in 0..1_000 {
            keyframe.take(now, &packet(sequence, 5, sequence == 0, sequence == 999, &payload));
        }
        assert_eq!(kept(&mut keyframe, now), []);
        assert!(keyframe.bytes.capacity() <= 2 * MAX_BYTES && keyframe.packets.len() <= MAX_PACKETS);
        keyframe.take(now, &packet(1_000, 6, true, true, &payload));
        assert_eq!(kept(&mut keyframe, now).len(), 1);
    }
}
