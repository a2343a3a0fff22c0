//! What a worker tells the engine, and the bounded queue in which events wait when nobody takes them. Media never waits for an
//! event: while the channel is full, events that replace one another are merged (the last word on a slot, a voice light or the
//! stage is the one that counts), so that no slot mapping is ever lost; only data-channel messages beyond a bound are dropped,
//! and counted.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::focus::Focus;
use crate::ids::{ParticipantId, RoomId, Source};
use crate::level_source::Word;
use crate::quality::Quality;
use crate::stage::{Reading, StageReason};

/// Data-channel messages that wait at most while nobody takes events: most of a second of what a room of a thousand reacts with. More memory
/// against more patience with an engine that was held up.
const WAITING_DATA: usize = 4096;

/// Something happened in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SfuEvent {
    /// A participant's media transport is up.
    Connected {
        /// In which room.
        room: RoomId,
        /// Whose transport.
        participant: ParticipantId,
    },
    /// A participant is gone: nothing more comes from or goes to them.
    Disconnected {
        /// In which room.
        room: RoomId,
        /// Who is gone.
        participant: ParticipantId,
        /// Why.
        reason: DisconnectReason,
    },
    /// Media of a track began or ceased to arrive.
    TrackLive {
        /// In which room.
        room: RoomId,
        /// Whose track.
        participant: ParticipantId,
        /// Which track.
        source: Source,
        /// Whether media arrives now.
        live: bool,
    },
    /// What flows in some slots of a participant has changed.
    Slots {
        /// In which room.
        room: RoomId,
        /// Whose slots.
        participant: ParticipantId,
        /// Only the slots that changed.
        slots: Vec<SlotMapping>,
    },
    /// Who speaks now, all of them.
    Speaking {
        /// In which room.
        room: RoomId,
        /// Everyone whose voice light is on.
        speaking: Vec<ParticipantId>,
    },
    /// The stage has changed.
    Stage {
        /// In which room.
        room: RoomId,
        /// Whom to highlight.
        participant: Option<ParticipantId>,
        /// Why.
        reason: StageReason,
    },
    /// What one participant is meant to look at has changed.
    Focus {
        /// In which room.
        room: RoomId,
        /// Whose view it is.
        participant: ParticipantId,
        /// What to look at; `None`: nothing more than anything else.
        focus: Option<Focus>,
    },
    /// How good a participant's connection is: when that changes, and else every ten seconds while media flows.
    Quality {
        /// In which room.
        room: RoomId,
        /// Whose connection.
        participant: ParticipantId,
        /// As it was measured.
        quality: Quality,
    },
    /// Other simulcast layers of a participant's track are wanted than before: all that are not named may be left out, until they are named
    /// again.
    Layers {
        /// In which room.
        room: RoomId,
        /// Whose track.
        participant: ParticipantId,
        /// Which track.
        source: Source,
        /// The RIDs of the layers that somebody wants.
        wanted: Vec<String>,
        /// Of a track without simulcast: how many of its spatial layers somebody wants, if that has changed.
        spatial: Option<SpatialLayers>,
    },
    /// What the stage detector makes of everybody, for participants who have a data channel open that is labelled `stage`: each 100 ms,
    /// and only while there are such.
    StageReadings {
        /// In which room.
        room: RoomId,
        /// Who looks on.
        watchers: Vec<ParticipantId>,
        /// Who is on the stage.
        on_stage: Option<ParticipantId>,
        /// Those who are the nearest to the stage, first the one on it.
        readings: Vec<(ParticipantId, Reading, Word)>,
    },
    /// What a participant's network takes, as measured: each second, from those whose feedback tells.
    Bandwidth {
        /// In which room.
        room: RoomId,
        /// Whose network.
        participant: ParticipantId,
        /// The measurements.
        bandwidth: Bandwidth,
    },
    /// A data-channel message for the engine.
    Data {
        /// In which room.
        room: RoomId,
        /// From whom.
        participant: ParticipantId,
        /// The label of the channel.
        label: String,
        /// Whether the message is binary, not text.
        binary: bool,
        /// The message.
        data: Bytes,
    },
    /// A room is gone, with everyone in it; of a room that spans several workers, this one's part. Where the others go on because it was a bug that ended it, everyone in it is told
    /// to be disconnected before.
    RoomClosed {
        /// Which room.
        room: RoomId,
        /// Why.
        reason: RoomCloseReason,
    },
}

/// What the network toward a participant takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bandwidth {
    /// In bits per second.
    pub estimate: u64,
    /// Of a thousand packets, how many were lost lately.
    pub lost: u16,
    /// There and back, with what feedback waits for.
    pub round_trip: Duration,
    /// How long packets stand in line on their way.
    pub queue: Duration,
}

/// How many spatial layers of a stream (SVC) somebody wants, the smallest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpatialLayers {
    /// So many, at least one.
    pub wanted: u8,
    /// Of so many that the stream has, with those that are left out as they were not wanted.
    pub of: u8,
}

/// What flows in a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotMapping {
    /// The receiving m-line.
    pub mid: String,
    /// Whose media flows; `None`: the slot is empty.
    pub participant: Option<ParticipantId>,
    /// Which of their tracks.
    pub source: Option<Source>,
    /// Counts up with every change of this slot.
    pub epoch: u32,
    /// The RTP timestamp, as the subscriber receives it, from which on this holds. `None`: nothing flows for now.
    pub rtp_timestamp: Option<u32>,
    /// Why nothing flows.
    pub reason: Option<SlotReason>,
}

/// Why nothing flows in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SlotReason {
    /// The owner muted the track.
    Muted,
    /// This subscriber has not negotiated the track's codec.
    Codec,
    /// Whoever was here has left, or has given the slot up for somebody else.
    Left,
    /// The track has not sent anything yet.
    Waiting,
    /// This subscriber said that the slot is hidden.
    Hidden,
    /// This subscriber's network cannot take it beside what matters more.
    Bandwidth,
}

/// Why a participant is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The engine said so.
    Left,
    /// The other side closed the connection.
    Closed,
    /// The other side has not been heard from for the consent time (RFC 7675: 30 s).
    ConsentLost,
    /// No connection came about in time.
    NeverConnected,
    /// The transport failed.
    Failed(String),
    /// A bug ended this connection.
    Internal,
}

/// Why a room is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RoomCloseReason {
    /// The engine said so.
    Closed,
    /// The worker shuts down.
    Shutdown,
    /// A bug ended this room.
    Internal,
}

/// Events on their way out: a bounded channel, and what waits for it.
#[derive(Debug)]
pub(crate) struct EventQueue {
    channel: mpsc::Sender<SfuEvent>,
    waiting: VecDeque<SfuEvent>,
    waiting_data: usize,
    /// Data-channel messages dropped because nobody took them.
    pub(crate) dropped_data: u64,
}

impl EventQueue {
    pub(crate) fn new(capacity: usize) -> (Self, mpsc::Receiver<SfuEvent>) {
        let (channel, receiver) = mpsc::channel(capacity);
        (Self { channel, waiting: VecDeque::new(), waiting_data: 0, dropped_data: 0 }, receiver)
    }

    /// Sends an event, or lets it wait. Never blocks.
    pub(crate) fn push(&mut self, event: SfuEvent) {
        let event = if self.waiting.is_empty() {
            match self.channel.try_send(event) {
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => return,
                Err(mpsc::error::TrySendError::Full(event)) => event,
            }
        } else {
            event
        };
        if let SfuEvent::Data { .. } = event {
            if self.waiting_data >= WAITING_DATA {
                self.dropped_data += 1;
                return;
            }
            self.waiting_data += 1;
            self.waiting.push_back(event);
            return;
        }
        let unmerged = self.merge(event);
        self.waiting.extend(unmerged);
    }

    /// Lets a later event replace an earlier one that says the same kind of thing of the same subject. The earlier one is taken
    /// out and the merged one goes to the end, so that an event never overtakes what it builds on (a mapping names participants
    /// that an earlier event introduced).
    fn merge(&mut self, event: SfuEvent) -> Option<SfuEvent> {
        let same = |old: &SfuEvent| match (old, &event) {
            (SfuEvent::Speaking { room: a, .. }, SfuEvent::Speaking { room: b, .. })
            | (SfuEvent::Stage { room: a, .. }, SfuEvent::Stage { room: b, .. })
            | (SfuEvent::StageReadings { room: a, .. }, SfuEvent::StageReadings { room: b, .. }) => a == b,
            (
                SfuEvent::TrackLive { participant: a, source: s, .. },
                SfuEvent::TrackLive { participant: b, source: t, .. },
            )
            | (
                SfuEvent::Layers { participant: a, source: s, .. },
                SfuEvent::Layers { participant: b, source: t, .. },
            ) => a == b && s == t,
            (SfuEvent::Slots { participant: a, .. }, SfuEvent::Slots { participant: b, .. })
            | (SfuEvent::Quality { participant: a, .. }, SfuEvent::Quality { participant: b, .. })
            | (SfuEvent::Focus { participant: a, .. }, SfuEvent::Focus { participant: b, .. })
            | (SfuEvent::Bandwidth { participant: a, .. }, SfuEvent::Bandwidth { participant: b, .. }) => a == b,
            _ => false,
        };
        let Some(at) = self.waiting.iter().position(same) else { return Some(event) };
        let old = self.waiting.remove(at);
        match (old, event) {
            (Some(SfuEvent::Slots { room, participant, slots: mut merged }), SfuEvent::Slots { slots, .. }) => {
                for mapping in slots {
                    match merged.iter_mut().find(|m| m.mid == mapping.mid) {
                        Some(earlier) => *earlier = mapping,
                        None => merged.push(mapping),
                    }
                }
                Some(SfuEvent::Slots { room, participant, slots: merged })
            }
            (_, event) => Some(event),
        }
    }

    /// Whether something waits for room in the channel.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// A handle to wait for room with, while other things go on.
    pub(crate) fn channel(&self) -> mpsc::Sender<SfuEvent> {
        self.channel.clone()
    }

    /// Sends what waits, as far as there is room.
    pub(crate) fn flush(&mut self) {
        while let Some(event) = self.waiting.pop_front() {
            let is_data = matches!(event, SfuEvent::Data { .. });
            match self.channel.try_send(event) {
                Ok(()) => self.waiting_data -= usize::from(is_data),
                Err(mpsc::error::TrySendError::Full(event)) => {
                    self.waiting.push_front(event);
                    return;
                }
                Err(mpsc::error::TrySendError::Closed(_)) => {
                    self.waiting.clear();
                    self.waiting_data = 0;
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn mapping(mid: &str, epoch: u32) -> SlotMapping {
        SlotMapping {
            mid: mid.into(),
            participant: Some(ParticipantId(9)),
            source: Some(Source::Camera),
            epoch,
            rtp_timestamp: Some(epoch * 10),
            reason: None,
        }
    }

    fn slots(slots: Vec<SlotMapping>) -> SfuEvent {
        SfuEvent::Slots { room: RoomId(1), participant: ParticipantId(1), slots }
    }

    #[test]
    fn a_slow_engine_still_learns_the_last_mapping_of_every_slot() {
        let (mut queue, mut receiver) = EventQueue::new(1);
        queue.push(SfuEvent::Connected { room: RoomId(1), participant: ParticipantId(1) });
        for epoch in 1..1000 {
            queue.push(slots(vec![mapping(if epoch % 2 == 0 { "4" } else { "5" }, epoch)]));
        }
        assert_eq!(queue.waiting.len(), 1);
        assert!(matches!(receiver.try_recv(), Ok(SfuEvent::Connected { .. })));
        queue.flush();
        let Ok(SfuEvent::Slots { slots, .. }) = receiver.try_recv() else { panic!("a mapping was lost") };
        let mut epochs: Vec<u32> = slots.iter().map(|s| s.epoch).collect();
        epochs.sort_unstable();
        assert_eq!(epochs, [998, 999]);
        assert!(!queue.is_waiting());
    }

    #[test]
    fn a_flood_of_data_messages_is_bounded_and_counted() {
        let (mut queue, _receiver) = EventQueue::new(1);
        for _ in 0..10_000 {
            queue.push(SfuEvent::Data {
                room: RoomId(1),
                participant: ParticipantId(1),
                label: "chat".into(),
                binary: false,
                data: Bytes::from_static(b"hi"),
            });
        }
        assert_eq!(queue.waiting.len(), WAITING_DATA);
        assert_eq!(queue.dropped_data, 10_000 - 1 - WAITING_DATA as u64);
    }
}
