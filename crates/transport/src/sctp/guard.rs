//! Looks at SCTP packets (RFC 9260) before and after the SCTP library does, and keeps out what would cost it memory or
//! time without bounds: sequence numbers far ahead, streams nobody negotiated, empty fragments, endless messages. It
//! keeps no data and decides nothing about well-behaved peers.

/// Streams negotiated in each direction, and so channels that can exist at a time with their ids.
pub(super) const MAX_STREAMS: u16 = 64;

/// How far a DATA chunk may run ahead of our last acknowledgement, in chunks. The receive buffer holds as many messages
/// of 16 bytes; a sender that gets further repeats what was dropped.
const MAX_AHEAD: u32 = 2048;

/// How far a FORWARD-TSN may jump. The library walks the distance step by step, so this bounds its work to
/// microseconds.
const MAX_FORWARD: u32 = 8192;

/// Gap blocks in an acknowledgement. More are legal but useless: our sender never has so many holes outstanding.
const MAX_GAP_BLOCKS: u16 = 128;

/// Stream resets that wait for data still to come; the library repeats each with every chunk that arrives.
const MAX_WAITING_RESETS: u32 = 16;

pub(super) const COMMON_HEADER: usize = 12;
const CHUNK_HEADER: usize = 4;

pub(super) const DATA: u8 = 0;
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
pub(super) const SACK: u8 = 3;
const HEARTBEAT: u8 = 4;
const ABORT: u8 = 6;
const ERROR: u8 = 9;
const COOKIE_ECHO: u8 = 10;
const COOKIE_ACK: u8 = 11;
const RECONFIG: u8 = 130;
pub(super) const FORWARD_TSN: u8 = 192;

/// The parameter of RECONFIG that resets the sender's streams (RFC 6525, section 4.1).
const OUTGOING_RESET: u16 = 13;

/// One chunk: its type and its value.
type Chunk<'a> = (u8, &'a [u8]);

/// The chunks of a packet. `None` stands for a malformed one, and ends it.
pub(super) fn chunks(packet: &[u8]) -> impl Iterator<Item = Option<Chunk<'_>>> {
    let mut rest = packet.get(COMMON_HEADER..).unwrap_or_default();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let chunk = split_chunk(rest);
        rest = chunk.map_or(&[], |(_, after)| after);
        Some(chunk.map(|(chunk, _)| chunk))
    })
}

fn split_chunk(bytes: &[u8]) -> Option<(Chunk<'_>, &[u8])> {
    let header = bytes.first_chunk::<CHUNK_HEADER>()?;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let value = bytes.get(CHUNK_HEADER..length)?;
    // The last chunk may come without its padding.
    let after = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some(((header[0], value), after))
}

/// Whether a value consists of parameters or error causes (RFC 9260, section 3.2.1) that end where they say.
fn are_well_formed(mut parameters: &[u8]) -> bool {
    while let Some(header) = parameters.first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if length < 4 || length > parameters.len() {
            return false;
        }
        parameters = parameters.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    parameters.is_empty()
}

fn u32_at(value: &[u8], at: usize) -> Option<u32> {
    value.get(at..)?.first_chunk().copied().map(u32::from_be_bytes)
}

fn u16_at(value: &[u8], at: usize) -> Option<u16> {
    value.get(at..)?.first_chunk().copied().map(u16::from_be_bytes)
}

/// What the guard remembers of an association.
#[derive(Debug, Default)]
pub(super) struct ChunkGuard {
    established: bool,
    /// The peer's newest sequence number that we have acknowledged.
    acknowledged: Option<u32>,
    waiting_resets: u32,
    resets_wait_for: u32,
    overrun: bool,
}

impl ChunkGuard {
    /// The association is up.
    pub(super) fn established(&mut self) {
        self.established = true;
    }

    /// Whether the peer filled the receive buffer with what can never be delivered.
    pub(super) fn is_overrun(&self) -> bool {
        self.overrun
    }

    /// Whether an inbound packet may reach the library. One that may not is as good as lost: the peer repeats it.
    pub(super) fn admits(&mut self, packet: &[u8]) -> bool {
        if packet.len() < COMMON_HEADER + CHUNK_HEADER {
            return false;
        }
        let completes = matches!(packet.get(COMMON_HEADER), Some(&(COOKIE_ECHO | COOKIE_ACK)));
        let data_allowed = self.established || completes;
        chunks(packet).all(|chunk| chunk.is_some_and(|chunk| self.admits_chunk(chunk, data_allowed).unwrap_or(false)))
    }

    fn admits_chunk(&mut self, (kind, value): Chunk<'_>, data_allowed: bool) -> Option<bool> {
        Some(match kind {
            DATA => {
                let (tsn, stream) = (u32_at(value, 0)?, u16_at(value, 4)?);
                // A chunk without user data (RFC 9260, section 3.3.1) would cost memory that no window accounts for.
                let has_data = value.len() > 12;
                data_allowed && has_data && stream < MAX_STREAMS && self.is_within(tsn, MAX_AHEAD)
            }
            // Repeated after the association is up, these are stale; the library would give up over them.
            INIT | INIT_ACK if self.established => false,
            INIT | INIT_ACK => {
                if !are_well_formed(value.get(16..)?) {
                    return None;
                }
                self.acknowledged = Some(u32_at(value, 12)?.wrapping_sub(1));
                true
            }
            SACK => u16_at(value, 8)? <= MAX_GAP_BLOCKS,
            FORWARD_TSN => data_allowed && self.is_within(u32_at(value, 0)?, MAX_FORWARD),
            HEARTBEAT | ABORT | ERROR => are_well_formed(value),
            RECONFIG => data_allowed && are_well_formed(value) && self.admits_reset(value)?,
            _ => true,
        })
    }

    /// Whether a sequence number is old, or at most `reach` ahead of what was acknowledged.
    fn is_within(&self, tsn: u32, reach: u32) -> bool {
        self.acknowledged.is_some_and(|acknowledged| {
            let ahead = tsn.wrapping_sub(acknowledged);
            ahead <= reach || ahead > u32::MAX / 2
        })
    }

    fn admits_reset(&mut self, value: &[u8]) -> Option<bool> {
        if u16_at(value, 0)? != OUTGOING_RESET {
            return Some(true);
        }
        let (last, acknowledged) = (u32_at(value, 12)?, self.acknowledged?);
        if !self.is_within(last, MAX_AHEAD) {
            return Some(false);
        }
        if last.wrapping_sub(acknowledged) <= MAX_AHEAD && last != acknowledged {
            self.waiting_resets += 1;
            self.resets_wait_for = last;
        }
        Some(self.waiting_resets <= MAX_WAITING_RESETS)
    }

    /// Learns from an outbound packet what has been acknowledged, and whether the receive buffer is full for good: with
    /// nothing missing and everything deliverable delivered, only a message longer than the buffer fills it.
    pub(super) fn observe(&mut self, packet: &[u8]) {
        for (kind, value) in chunks(packet).flatten() {
            let (SACK, Some(tsn), Some(window), Some(gaps)) =
                (kind, u32_at(value, 0), u32_at(value, 4), u16_at(value, 8))
            else {
                continue;
            };
            self.acknowledged = Some(tsn);
            if tsn.wrapping_sub(self.resets_wait_for) <= u32::MAX / 2 {
                self.waiting_resets = 0;
            }
            self.overrun |= window == 0 && gaps == 0;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(chunks: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let mut packet = vec![0; COMMON_HEADER];
        for (kind, value) in chunks {
            packet.extend([*kind, 0]);
            packet.extend(((value.len() + CHUNK_HEADER) as u16).to_be_bytes());
            packet.extend(value);
            packet.resize(packet.len().next_multiple_of(4), 0);
        }
        packet
    }

    fn data(tsn: u32, stream: u16, len: usize) -> (u8, Vec<u8>) {
        let mut value = tsn.to_be_bytes().to_vec();
        value.extend(stream.to_be_bytes());
        value.extend([0; 6]);
        value.resize(12 + len, 7);
        (DATA, value)
    }

    fn sack(tsn: u32, window: u32, gaps: u16) -> Vec<u8> {
        let mut value = tsn.to_be_bytes().to_vec();
        value.extend(window.to_be_bytes());
        value.extend(gaps.to_be_bytes());
        value.extend([0; 2]);
        value.resize(12 + 4 * usize::from(gaps), 1);
        packet(&[(SACK, value)])
    }

    /// A guard of an association whose peer began at this number.
    fn established(initial_tsn: u32) -> ChunkGuard {
        let mut guard = ChunkGuard::default();
        let mut init = vec![0; 12];
        init.extend(initial_tsn.to_be_bytes());
        assert!(guard.admits(&packet(&[(INIT, init.clone())])));
        guard.established();
        assert!(!guard.admits(&packet(&[(INIT, init)])), "a stale INIT");
        guard
    }

    #[test]
    fn data_comes_only_after_the_handshake_and_on_negotiated_streams() {
        let mut guard = ChunkGuard::default();
        assert!(!guard.admits(&packet(&[data(1, 0, 4)])));
        let mut guard = established(1);
        assert!(guard.admits(&packet(&[data(1, 0, 4), data(2, MAX_STREAMS - 1, 4)])));
        assert!(!guard.admits(&packet(&[data(1, MAX_STREAMS, 4)])));
        assert!(!guard.admits(&packet(&[data(1, 0, 0)])), "a fragment without data");
    }

    #[test]
    fn sequence_numbers_far_ahead_are_kept_out_also_where_they_wrap() {
        for initial in [1, u32::MAX, u32::MAX - 5, 0, 1 << 31] {
            let mut guard = established(initial);
            let acknowledged = initial.wrapping_sub(1);
            assert!(guard.admits(&packet(&[data(acknowledged.wrapping_add(MAX_AHEAD), 0, 4)])));
            assert!(!guard.admits(&packet(&[data(acknowledged.wrapping_add(MAX_AHEAD + 1), 0, 4)])));
            assert!(guard.admits(&packet(&[data(acknowledged, 0, 4)])), "a duplicate is fine");
            let forward = |tsn: u32| packet(&[(FORWARD_TSN, tsn.to_be_bytes().to_vec())]);
            assert!(guard.admits(&forward(acknowledged.wrapping_add(MAX_FORWARD))));
            assert!(!guard.admits(&forward(acknowledged.wrapping_add(1 << 30))));
            guard.observe(&sack(acknowledged.wrapping_add(10), 1, 0));
            assert!(guard.admits(&packet(&[data(acknowledged.wrapping_add(MAX_AHEAD + 10), 0, 4)])));
        }
    }

    #[test]
    fn a_full_buffer_with_nothing_missing_is_an_overrun() {
        let mut guard = established(1);
        guard.observe(&sack(5, 0, 1));
        assert!(!guard.is_overrun(), "a gap explains it");
        guard.observe(&sack(6, 100, 0));
        assert!(!guard.is_overrun());
        guard.observe(&sack(7, 0, 0));
        assert!(guard.is_overrun());
    }

    #[test]
    fn resets_that_wait_for_data_are_few() {
        let mut guard = established(1);
        let reset = |last: u32| {
            let mut value = vec![0, 13, 0, 18, 0, 0, 0, 1, 0, 0, 0, 1];
            value.extend(last.to_be_bytes());
            value.extend([0, 3]);
            packet(&[(RECONFIG, value)])
        };
        assert!((0..100).all(|_| guard.admits(&reset(0))), "none of these has to wait");
        assert_eq!((0..100).filter(|_| guard.admits(&reset(9))).count(), MAX_WAITING_RESETS as usize);
        guard.observe(&sack(9, 1, 0));
        assert!(guard.admits(&reset(10)));
        assert!(!guard.admits(&reset(1 << 20)));
    }

    #[test]
    fn parameters_that_end_elsewhere_than_they_say_are_kept_out() {
        let mut guard = established(1);
        for kind in [HEARTBEAT, ABORT, ERROR, RECONFIG] {
            assert!(guard.admits(&packet(&[(kind, vec![0, 12, 0, 6, 1, 2])])), "without its padding");
            for bad in [vec![0, 12, 0, 7, 1, 2], vec![0, 12, 0, 3], vec![0, 12], vec![0, 12, 0, 0]] {
                assert!(!guard.admits(&packet(&[(kind, bad.clone())])), "{kind}: {bad:?}");
            }
        }
    }

    #[test]
    fn an_acknowledgement_of_absurdly_many_gaps_is_kept_out() {
        let mut guard = established(1);
        assert!(guard.admits(&sack(1, 1, MAX_GAP_BLOCKS)));
        assert!(!guard.admits(&sack(1, 1, MAX_GAP_BLOCKS + 1)));
    }

    proptest! {
        #[test]
        fn no_packet_makes_the_guard_panic(bytes in prop::collection::vec(any::<u8>(), 0..120), kind: u8) {
            let mut guard = established(1);
            let _ = guard.admits(&bytes);
            guard.observe(&bytes);
            let wrapped = packet(&[(kind, bytes)]);
            let _ = guard.admits(&wrapped);
            guard.observe(&wrapped);
        }
    }
}
