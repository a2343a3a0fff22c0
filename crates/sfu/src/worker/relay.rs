//! One end of what joins two shards of a room: a ring of bytes each way for packets, and a channel each way for notices. Whoever sends never waits: what does not fit
//! into a ring is dropped and counted, and once there is room again the other side is told that something is missing. A packet is copied in and copied out,
//! nothing is allocated for it, and the other worker is woken once for all that was sent in one go.

use std::sync::Arc;

use rtrb::chunks::ChunkError;
use rtrb::{Consumer, Producer, RingBuffer};
use tokio::sync::Notify;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::ids::ParticipantId;
use crate::shard::{Notice, Relayed, RelayedPacket};

/// Bytes of a ring: 150 ms of a room in which 50 Mb/s come in on one worker. More bridges longer stalls of the other worker and delivers later what came before.
pub(super) const RING: usize = 1 << 20;

/// What every message begins with: its kind, the length of its two parts, and whose it is.
const FRONT: usize = 1 + 1 + 2 + 8;

/// … and a packet goes on with.
const PACKET: usize = 5 + 4 + 2 + 4;

const KIND_PACKET: u8 = 0;
const KIND_REPORT: u8 = 1;
const KIND_KEYFRAME: u8 = 2;

const MARKER: u8 = 1;
const HAS_LEVEL: u8 = 2;

/// An end of a relay.
#[derive(Debug)]
pub(super) struct RelayEnd {
    out: Producer<u8>,
    inward: Consumer<u8>,
    tell: UnboundedSender<Notice>,
    told: UnboundedReceiver<Notice>,
    /// Wakes the other worker.
    wake: Arc<Notify>,
    /// Whether it has something new to look at.
    dirty: bool,
    /// Whether something was dropped that it has not been told of.
    lost: bool,
}

/// Two ends that belong together; `wake` are the workers that they are for.
pub(super) fn relay(bytes: usize, wake: [&Arc<Notify>; 2]) -> (RelayEnd, RelayEnd) {
    let (there, from_here) = RingBuffer::new(bytes);
    let (here, from_there) = RingBuffer::new(bytes);
    // Bounded by what it tells of: members come, change and leave by commands that somebody waits for.
    let (tell_there, told_there) = unbounded_channel();
    let (tell_here, told_here) = unbounded_channel();
    let end = |out, inward, tell, told, wake: &Arc<Notify>| RelayEnd {
        out,
        inward,
        tell,
        told,
        wake: wake.clone(),
        dirty: false,
        lost: false,
    };
    (end(there, from_there, tell_there, told_here, wake[1]), end(here, from_here, tell_here, told_there, wake[0]))
}

impl RelayEnd {
    /// Sends something that may be dropped. Returns whether it was not.
    pub(super) fn send(&mut self, relayed: &Relayed<'_>) -> bool {
        let mut front = [0; FRONT + PACKET];
        let sent = match *relayed {
            Relayed::Packet(packet) => {
                let (Ok(dependency), Ok(payload)) =
                    (u8::try_from(packet.dependency.len()), u16::try_from(packet.payload.len()))
                else {
                    return false;
                };
                let flags = (u8::from(packet.marker) * MARKER) | (u8::from(packet.level.is_some()) * HAS_LEVEL);
                begin(&mut front, KIND_PACKET, dependency, payload, packet.participant);
                let fields = [packet.track, packet.layer, packet.codec, flags, packet.level.unwrap_or(0)];
                front[FRONT..FRONT + 5].copy_from_slice(&fields);
                front[FRONT + 5..FRONT + 9].copy_from_slice(&packet.ssrc.to_le_bytes());
                front[FRONT + 9..FRONT + 11].copy_from_slice(&packet.sequence.to_le_bytes());
                front[FRONT + 11..].copy_from_slice(&packet.timestamp.to_le_bytes());
                self.push([&front, packet.dependency, packet.payload])
            }
            Relayed::Report { participant, ssrc, ntp, rtp } => {
                begin(&mut front, KIND_REPORT, 0, 16, participant);
                front[FRONT..FRONT + 4].copy_from_slice(&ssrc.to_le_bytes());
                front[FRONT + 4..FRONT + 12].copy_from_slice(&ntp.to_le_bytes());
                let rtp = rtp.to_le_bytes();
                self.push([&front[..FRONT + 12], &rtp, &[]])
            }
            Relayed::Keyframe { participant, track, layer } => {
                begin(&mut front, KIND_KEYFRAME, 0, 2, participant);
                self.push([&front[..FRONT], &[track, layer], &[]])
            }
        };
        self.dirty |= sent;
        if !sent {
            self.lost = true;
        } else if std::mem::take(&mut self.lost) {
            self.tell(Notice::Lost);
        }
        sent
    }

    /// Puts a message into the ring whole, or not at all.
    fn push(&mut self, parts: [&[u8]; 3]) -> bool {
        let len = parts.iter().map(|part| part.len()).sum();
        let mut chunk = match self.out.write_chunk(len) {
            Ok(chunk) => chunk,
            Err(ChunkError::TooFewSlots(_)) => return false,
        };
        let (mut first, mut second) = chunk.as_mut_slices();
        for mut part in parts {
            while !part.is_empty() {
                if first.is_empty() {
                    (first, second) = (second, &mut []);
                }
                let fits = part.len().min(first.len());
                let (filled, rest) = std::mem::take(&mut first).split_at_mut(fits);
                filled.copy_from_slice(&part[..fits]);
                (first, part) = (rest, &part[fits..]);
            }
        }
        chunk.commit_all();
        true
    }

    /// Tells the other shard something that is not lost.
    pub(super) fn tell(&mut self, notice: Notice) {
        // Where it is gone, the next look finds that out.
        let _ = self.tell.send(notice);
        self.dirty = true;
    }

    /// Wakes the other worker, if there is something new for it.
    pub(super) fn wake(&mut self) {
        if std::mem::take(&mut self.dirty) {
            self.wake.notify_one();
        }
    }

    /// What has come so far, in bytes. What is read after the notices, and of this only, has no packet whose notice is still to come.
    pub(super) fn waiting(&self) -> usize {
        self.inward.slots()
    }

    /// The next notice.
    ///
    /// # Errors
    /// [`Gone`] when the other shard is.
    pub(super) fn next_notice(&mut self) -> Result<Option<Notice>, Gone> {
        match self.told.try_recv() {
            Ok(notice) => Ok(Some(notice)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(Gone),
        }
    }

    /// Takes the next message out of the ring into `buffer`, whose memory is used again. Returns its length, 0 when there is none.
    pub(super) fn take(&mut self, buffer: &mut Vec<u8>) -> usize {
        let len = {
            let Ok(chunk) = self.inward.read_chunk(FRONT) else { return 0 };
            let (first, second) = chunk.as_slices();
            let byte = |at: usize| first.get(at).or_else(|| second.get(at - first.len())).copied().unwrap_or(0);
            let head = if byte(0) == KIND_PACKET { FRONT + PACKET } else { FRONT };
            head + usize::from(byte(1)) + usize::from(u16::from_le_bytes([byte(2), byte(3)]))
        };
        let Ok(chunk) = self.inward.read_chunk(len) else { return 0 };
        let (first, second) = chunk.as_slices();
        buffer.clear();
        buffer.extend_from_slice(first);
        buffer.extend_from_slice(second);
        chunk.commit_all();
        len
    }
}

impl Drop for RelayEnd {
    fn drop(&mut self) {
        self.wake.notify_one();
    }
}

/// The other shard is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

fn begin(front: &mut [u8; FRONT + PACKET], kind: u8, dependency: u8, payload: u16, participant: ParticipantId) {
    (front[0], front[1]) = (kind, dependency);
    front[2..4].copy_from_slice(&payload.to_le_bytes());
    front[4..FRONT].copy_from_slice(&participant.0.to_le_bytes());
}

/// Reads a message that [`RelayEnd::take`] has taken out.
pub(super) fn read(message: &[u8]) -> Option<Relayed<'_>> {
    let (front, rest) = message.split_first_chunk::<FRONT>()?;
    let participant = ParticipantId(u64::from_le_bytes(front[4..].try_into().ok()?));
    match front[0] {
        KIND_PACKET => {
            let (fields, rest) = rest.split_first_chunk::<PACKET>()?;
            let (dependency, payload) = rest.split_at_checked(usize::from(front[1]))?;
            let [track, layer, codec, flags, level] = *fields.first_chunk()?;
            Some(Relayed::Packet(RelayedPacket {
                participant,
                track,
                layer,
                codec,
                ssrc: u32::from_le_bytes(fields[5..9].try_into().ok()?),
                sequence: u16::from_le_bytes(fields[9..11].try_into().ok()?),
                timestamp: u32::from_le_bytes(fields[11..].try_into().ok()?),
                marker: flags & MARKER != 0,
                level: (flags & HAS_LEVEL != 0).then_some(level),
                dependency,
                payload,
            }))
        }
        KIND_REPORT => {
            let fields = rest.first_chunk::<16>()?;
            Some(Relayed::Report {
                participant,
                ssrc: u32::from_le_bytes(fields[..4].try_into().ok()?),
                ntp: u64::from_le_bytes(fields[4..12].try_into().ok()?),
                rtp: u32::from_le_bytes(fields[12..].try_into().ok()?),
            })
        }
        KIND_KEYFRAME => {
            let [track, layer] = *rest.first_chunk()?;
            Some(Relayed::Keyframe { participant, track, layer })
        }
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(participant: u64, sequence: u16, payload: &[u8]) -> RelayedPacket<'_> {
        RelayedPacket {
            participant: ParticipantId(participant),
            track: 1,
            layer: 2,
            codec: 3,
            ssrc: 0x0102_0304 ^ participant as u32,
            sequence,
            timestamp: u32::from(sequence) * 960,
            marker: sequence.is_multiple_of(3),
            level: (!sequence.is_multiple_of(2)).then_some(0x9E),
            dependency: &[7, 7, 7][..usize::from(sequence % 4)],
            payload,
        }
    }

    fn ends(bytes: usize) -> (RelayEnd, RelayEnd) {
        let notify = Arc::new(Notify::new());
        relay(bytes, [&notify, &notify])
    }

    #[test]
    fn what_is_sent_arrives_as_it_was() {
        let (mut here, mut there) = ends(4096);
        let payload = [9; 1200];
        let sent = [
            Relayed::Packet(packet(5, 7, &payload)),
            Relayed::Report { participant: ParticipantId(6), ssrc: 8, ntp: u64::MAX - 3, rtp: 77 },
            Relayed::Keyframe { participant: ParticipantId(7), track: 4, layer: 1 },
            Relayed::Packet(packet(u64::MAX, u16::MAX, &[])),
        ];
        let mut buffer = Vec::new();
        for round in 0..50 {
            for relayed in &sent {
                assert!(here.send(relayed), "round {round}");
            }
            for relayed in &sent {
                let len = there.take(&mut buffer);
                assert_eq!(read(&buffer[..len]), Some(*relayed));
            }
            assert_eq!(there.take(&mut buffer), 0);
        }
    }

    #[test]
    fn a_full_ring_drops_and_says_so_once_there_is_room() {
        let (mut here, mut there) = ends(2000);
        let payload = [1; 900];
        assert!(here.send(&Relayed::Packet(packet(1, 1, &payload))));
        assert!(here.send(&Relayed::Packet(packet(1, 2, &payload))));
        assert!(!here.send(&Relayed::Packet(packet(1, 3, &payload))));
        assert!(there.next_notice().unwrap().is_none());
        let mut buffer = Vec::new();
        there.take(&mut buffer);
        assert!(here.send(&Relayed::Packet(packet(1, 4, &payload))));
        assert!(matches!(there.next_notice(), Ok(Some(Notice::Lost))));
        drop(here);
        assert_eq!(there.next_notice().err(), Some(Gone));
    }

    proptest! {
        /// Whatever the two sides' pace: no packet comes twice, none out of its source's order, none changed, and only dropped ones are missing.
        #[test]
        fn no_packet_comes_twice_or_out_of_order(
            bytes in 64..6000_usize,
            steps in prop::collection::vec((0..3_u64, 0..1400_usize, 0..4_usize), 1..400),
        ) {
            let (mut here, mut there) = ends(bytes);
            let (mut sequences, mut sent, mut arrived) = ([0_u16; 3], Vec::new(), Vec::new());
            let mut buffer = Vec::new();
            let mut take = |there: &mut RelayEnd, arrived: &mut Vec<(u64, u16, usize)>| {
                let len = there.take(&mut buffer);
                if len == 0 {
                    return false;
                }
                let Some(Relayed::Packet(found)) = read(&buffer[..len]) else { panic!("not what was sent") };
                let expected = vec![found.sequence as u8; found.payload.len()];
                assert_eq!(found, packet(found.participant.0, found.sequence, &expected));
                arrived.push((found.participant.0, found.sequence, found.payload.len()));
                true
            };
            for (source, len, taken) in steps {
                let sequence = &mut sequences[source as usize];
                *sequence = sequence.wrapping_add(1);
                let payload = vec![*sequence as u8; len];
                if here.send(&Relayed::Packet(packet(source, *sequence, &payload))) {
                    sent.push((source, *sequence, len));
                }
                for _ in 0..taken {
                    take(&mut there, &mut arrived);
                }
            }
            while take(&mut there, &mut arrived) {}
            prop_assert_eq!(arrived, sent);
        }
    }
}
