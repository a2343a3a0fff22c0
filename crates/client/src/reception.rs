//! What has arrived in one slot, and from whom: packets, bytes, losses (RFC 3550 appendix A.3), and the mapping of the
//! slot to a participant, which changes at an RTP timestamp that the server announces. A state machine; time is passed
//! in.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::protocol::{Kind, SlotMapping, Source};

/// Mappings that may be announced before their first packet. The server keeps one pending at most; more means that it
/// misbehaves, and the oldest is taken as past.
const MAX_PENDING: usize = 16;

/// Counters of one slot since the join.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reception {
    /// RTP packets received, recovered ones included.
    pub packets: u64,
    /// Payload bytes received.
    pub bytes: u64,
    /// Packets that never came: gaps in the sequence numbers.
    pub lost: u64,
    /// Packets that found the channel of [`on_audio`](crate::Participant::on_audio) or
    /// [`on_video`](crate::Participant::on_video) full and were counted but not handed out.
    pub unread: u64,
    /// When the first packet came.
    pub first_at: Option<Instant>,
    /// When the last packet came.
    pub last_at: Option<Instant>,
}

/// What one participant's track has brought in one slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// Whose; `None` for packets before the first mapping.
    pub participant: Option<Arc<str>>,
    /// Which of their tracks.
    pub source: Option<Source>,
    /// RTP packets.
    pub packets: u64,
    /// Payload bytes.
    pub bytes: u64,
    /// When the first of them came.
    pub first_at: Instant,
}

/// A slot and what came in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotReport {
    /// The m-line.
    pub mid: Arc<str>,
    /// Audio or video.
    pub kind: Kind,
    /// The k that the paired audio and video slots share.
    pub pair: usize,
    /// The last mapping that has been announced; `None` before the first one.
    pub announced: Option<SlotMapping>,
    /// All that came.
    pub reception: Reception,
    /// The same by participant and source, in order of appearance.
    pub flows: Vec<Flow>,
}

/// The state of one slot.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) mid: Arc<str>,
    pub(crate) kind: Kind,
    pub(crate) pair: usize,
    sequence: Option<Sequence>,
    announced: Option<SlotMapping>,
    /// Announced, but its first packet has not come.
    pending: VecDeque<SlotMapping>,
    current: (Option<Arc<str>>, Option<Source>),
    reception: Reception,
    flows: Vec<Flow>,
    /// Where `current` is in `flows`, once it has brought a packet.
    flow: Option<usize>,
}

impl Slot {
    pub(crate) fn new(mid: &str, kind: Kind, pair: usize) -> Self {
        Self {
            mid: mid.into(),
            kind,
            pair,
            sequence: None,
            announced: None,
            pending: VecDeque::new(),
            current: (None, None),
            reception: Reception::default(),
            flows: Vec::new(),
            flow: None,
        }
    }

    /// The server says what flows here from some timestamp on.
    pub(crate) fn on_mapping(&mut self, mapping: SlotMapping) {
        self.announced = Some(mapping.clone());
        self.pending.push_back(mapping);
        while self.pending.len() > MAX_PENDING {
            self.advance();
        }
    }

    /// A packet came; returns whose it is.
    pub(crate) fn on_packet(&mut self, now: Instant, sequence: u16, timestamp: u32, bytes: usize) -> Option<Arc<str>> {
        while self.pending.front().is_some_and(|mapping| reaches(mapping, timestamp)) {
            self.advance();
        }
        let tracked = self.sequence.get_or_insert(Sequence::starting_at(sequence));
        tracked.on_packet(sequence);
        let counters = &mut self.reception;
        counters.packets += 1;
        counters.bytes += bytes as u64;
        counters.lost = tracked.lost();
        counters.first_at.get_or_insert(now);
        counters.last_at = Some(now);

        let index = *self.flow.get_or_insert_with(|| {
            let (participant, source) = self.current.clone();
            let known = self.flows.iter().position(|flow| flow.participant == participant && flow.source == source);
            known.unwrap_or_else(|| {
                self.flows.push(Flow { participant, source, packets: 0, bytes: 0, first_at: now });
                self.flows.len() - 1
            })
        });
        if let Some(flow) = self.flows.get_mut(index) {
            flow.packets += 1;
            flow.bytes += bytes as u64;
        }
        self.current.0.clone()
    }

    /// A packet could not be handed out.
    pub(crate) fn on_unread(&mut self) {
        self.reception.unread += 1;
    }

    pub(crate) fn report(&self) -> SlotReport {
        SlotReport {
            mid: self.mid.clone(),
            kind: self.kind,
            pair: self.pair,
            announced: self.announced.clone(),
            reception: self.reception,
            flows: self.flows.clone(),
        }
    }

    fn advance(&mut self) {
        if let Some(mapping) = self.pending.pop_front() {
            self.current = (mapping.participant.map(Into::into), mapping.source);
            self.flow = None;
        }
    }
}

/// Whether a packet of this timestamp is at or behind the start of a mapping. One without a timestamp empties the slot
/// at once.
fn reaches(mapping: &SlotMapping, timestamp: u32) -> bool {
    mapping.rtp_timestamp.is_none_or(|start| timestamp.wrapping_sub(start) < 1 << 31)
}

/// Extended sequence numbers and what is missing between them.
#[derive(Debug)]
struct Sequence {
    first: i64,
    highest: i64,
    received: u64,
}

impl Sequence {
    fn starting_at(sequence: u16) -> Self {
        Self { first: sequence.into(), highest: sequence.into(), received: 0 }
    }

    fn on_packet(&mut self, sequence: u16) {
        let step = sequence.wrapping_sub(self.highest as u16) as i16;
        let extended = self.highest + i64::from(step);
        self.highest = self.highest.max(extended);
        self.first = self.first.min(extended);
        self.received += 1;
    }

    /// A duplicate hides a loss, as in RFC 3550.
    fn lost(&self) -> u64 {
        let expected = u64::try_from(self.highest - self.first + 1).unwrap_or_default();
        expected.saturating_sub(self.received)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn mapping(participant: Option<&str>, epoch: u32, rtp_timestamp: Option<u32>) -> SlotMapping {
        SlotMapping {
            mid: "2".to_owned(),
            participant: participant.map(str::to_owned),
            source: participant.map(|_| Source::Camera),
            epoch,
            rtp_timestamp,
            reason: None,
        }
    }

    #[test]
    fn losses_are_gaps_and_a_late_packet_closes_one() {
        let mut slot = Slot::new("2", Kind::Video, 0);
        let now = Instant::now();
        for sequence in [65_533, 65_534, 1, 2] {
            slot.on_packet(now, sequence, 0, 10);
        }
        assert_eq!(slot.report().reception.lost, 2, "65535 and 0 are missing");
        slot.on_packet(now, 65_535, 0, 10);
        assert_eq!(slot.report().reception.lost, 1);
        assert_eq!((slot.report().reception.packets, slot.report().reception.bytes), (5, 50));
    }

    #[test]
    fn a_packet_belongs_to_whom_its_timestamp_says() {
        let mut slot = Slot::new("2", Kind::Video, 0);
        let now = Instant::now();
        assert_eq!(slot.on_packet(now, 1, 90, 10), None, "nothing was announced yet");
        slot.on_mapping(mapping(Some("alice"), 1, Some(100)));
        slot.on_mapping(mapping(Some("bob"), 2, Some(200)));
        assert_eq!(slot.on_packet(now, 2, 99, 10), None);
        assert_eq!(slot.on_packet(now, 3, 100, 10).as_deref(), Some("alice"));
        assert_eq!(slot.on_packet(now, 4, 250, 10).as_deref(), Some("bob"));
        slot.on_mapping(mapping(None, 3, None));
        assert_eq!(slot.on_packet(now, 5, 251, 10), None, "an emptied slot has no owner");
        slot.on_mapping(mapping(Some("alice"), 4, Some(300)));
        assert_eq!(slot.on_packet(now, 6, 300, 10).as_deref(), Some("alice"));
        let by: Vec<_> = slot
            .report()
            .flows
            .iter()
            .map(|flow| (flow.participant.as_deref().map(str::to_owned), flow.packets))
            .collect();
        assert_eq!(by, [(None, 3), (Some("alice".to_owned()), 2), (Some("bob".to_owned()), 1)]);
    }

    #[test]
    fn a_mapping_holds_across_the_wrap_of_the_timestamp() {
        let mut slot = Slot::new("2", Kind::Audio, 0);
        slot.on_mapping(mapping(Some("alice"), 1, Some(u32::MAX - 10)));
        assert_eq!(slot.on_packet(Instant::now(), 1, 5, 10).as_deref(), Some("alice"));
    }
}
