//! The bridge between signaling and the SFU: signaling's rooms and participants (strings on the wire) onto the SFU's (numbers on
//! a worker), and the SFU's events back. It decides one thing only: on which workers a room is. It knows nothing of calls.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use crate::open_room::OpenRoom;
use crate::placement::{self, Choice, Load};
use crate::reactions::ReactionDesk;
use crate::stage_readings;
use dashmap::DashMap;
use ringback_reactions::Share;
use ringback_sfu as sfu;
use ringback_signaling::Signaling;
use ringback_signaling::media::{BoxFuture, Media, MediaAnswer, MediaError, MediaEvent, MediaOffer};
use ringback_signaling::protocol::{
    ErrorCode, Focus, MediaKind, Quality, QualityLevel, SlotInfo, SlotMapping, SlotView, Source, SpatialLayers,
    TrackClaim,
};
use ringback_signaling::rooms::RoomsConfig;
use sfu::{ParticipantId, RoomId, SfuError, SfuEvent, WorkerHandle};
use tokio::sync::mpsc;
use tracing::{Instrument, info_span};

/// The SFU's workers, and who is where on them.
#[derive(Debug)]
pub(crate) struct Workers {
    workers: Vec<WorkerHandle>,
    /// What is placed on each.
    held: Vec<Held>,
    next_id: AtomicU64,
    /// How many participants of one room a worker takes before others get a part of it.
    room_part: usize,
    rooms: DashMap<Arc<str>, Arc<OpenRoom>>,
    participants: DashMap<Arc<str>, Place>,
    room_names: DashMap<RoomId, Arc<str>>,
    participant_names: DashMap<ParticipantId, Arc<str>>,
}

/// What is placed on a worker.
#[derive(Debug, Default)]
struct Held {
    rooms: AtomicUsize,
    participants: AtomicUsize,
}

/// Where a participant is.
#[derive(Debug, Clone)]
struct Place {
    id: ParticipantId,
    room: Arc<OpenRoom>,
    worker: usize,
}

impl Workers {
    pub(crate) fn new(workers: Vec<WorkerHandle>, room_part: usize) -> Arc<Self> {
        Arc::new(Self {
            held: workers.iter().map(|_| Held::default()).collect(),
            workers,
            room_part,
            next_id: AtomicU64::new(1),
            rooms: DashMap::new(),
            participants: DashMap::new(),
            room_names: DashMap::new(),
            participant_names: DashMap::new(),
        })
    }

    pub(crate) fn handles(&self) -> &[WorkerHandle] {
        &self.workers
    }

    fn id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// What is known of a worker's load.
    fn load(&self, worker: usize) -> Load {
        let held = &self.held[worker];
        let count = |of: &AtomicUsize| of.load(Ordering::Relaxed);
        Load { busy: self.workers[worker].busy(), participants: count(&held.participants), rooms: count(&held.rooms) }
    }

    /// The worker for a new room.
    fn least_loaded(&self) -> usize {
        placement::least((0..self.workers.len()).map(|worker| (worker, self.load(worker))))
    }

    /// Chooses for a newcomer of a room.
    fn choose(&self, room: &OpenRoom) -> Choice {
        let candidate = |worker| (worker, self.load(worker));
        let parts: Vec<_> = room.parts().into_iter().map(|(worker, held)| (candidate(worker), held)).collect();
        let is_other = |worker: &usize| parts.iter().all(|((part, _), _)| part != worker);
        let others: Vec<_> = (0..self.workers.len()).filter(is_other).map(candidate).collect();
        placement::for_newcomer(&parts, &others, self.room_part)
    }

    /// The worker for a newcomer, which has a part of the room from then on.
    async fn worker_for(&self, room: &OpenRoom) -> usize {
        if let Choice::Stay(worker) = self.choose(room) {
            return worker;
        }
        let _changes = room.changes.lock().await;
        // Whoever was first may have done it.
        let worker = match self.choose(room) {
            Choice::Stay(worker) => return worker,
            Choice::Spread(worker) => worker,
        };
        let parts = room.workers();
        let others: Vec<_> = parts.iter().map(|&part| self.workers[part].clone()).collect();
        match self.workers[worker].share_room(room.id, room_config(), &others).await {
            Ok(()) => {
                tracing::info!(room = %room.id, worker, "a room has outgrown its workers");
                room.add_part(worker);
                self.held[worker].rooms.fetch_add(1, Ordering::Relaxed);
                worker
            }
            Err(error) => {
                tracing::warn!(room = %room.id, worker, %error, "a room stays with the workers that it has");
                placement::least(parts.into_iter().map(|part| (part, self.load(part))))
            }
        }
    }

    fn participant(&self, participant: &str) -> Result<(ParticipantId, &WorkerHandle), MediaError> {
        let place = self.participants.get(participant).ok_or_else(|| not_open("participant", participant))?;
        Ok((place.id, &self.workers[place.worker]))
    }

    /// Whether there is such a room.
    pub(crate) fn has_room(&self, room: &str) -> bool {
        self.rooms.contains_key(room)
    }

    /// Taps the one participant of a room; `None` where there is none. Of several it is the one who came last.
    pub(crate) async fn tap_room(&self, room: &str, sources: &[sfu::Source]) -> Option<sfu::Tap> {
        let room = self.rooms.get(room)?.id;
        let here = self.participants.iter().filter(|place| place.room.id == room);
        let (last, worker) = here.map(|place| (place.id, place.worker)).max_by_key(|(id, _)| id.0)?;
        self.workers[worker].tap(last, sources).await.ok()
    }

    /// Sends a text on a participant's data channel. `false`: there is none.
    pub(crate) async fn send_text(&self, participant: &str, label: &str, text: &str) -> bool {
        let Ok((id, worker)) = self.participant(participant) else { return false };
        let sent = worker.send_data(id, label, false, text.as_bytes().to_vec().into()).await;
        !matches!(sent, Err(SfuError::NoSuchChannel { .. }))
    }

    /// Sends a text to everybody of this share of a room who has a data channel of this label. Returns who of them has none.
    pub(crate) async fn send_text_to_all(&self, room: &str, share: Share, label: &str, text: &str) -> Vec<String> {
        let Some(room) = self.rooms.get(room).map(|room| room.clone()) else { return Vec::new() };
        let share = sfu::Share { at: share.at, of: share.of };
        let text = bytes::Bytes::copy_from_slice(text.as_bytes());
        let workers = room.workers();
        let tell = |&worker: &usize| self.workers[worker].broadcast_data(room.id, share, label, false, text.clone());
        let told = futures_util::future::join_all(workers.iter().map(tell)).await;
        told.into_iter().flat_map(Result::unwrap_or_default).filter_map(|id| self.participant_name(id)).collect()
    }

    fn forget_participant(&self, participant: &str) -> Option<Place> {
        let (_, place) = self.participants.remove(participant)?;
        self.participant_names.remove(&place.id);
        self.held[place.worker].participants.fetch_sub(1, Ordering::Relaxed);
        place.room.went(place.worker);
        Some(place)
    }

    fn forget_room(&self, room: &str) -> Option<Arc<OpenRoom>> {
        let (_, open) = self.rooms.remove(room)?;
        self.room_names.remove(&open.id);
        for worker in open.workers() {
            self.held[worker].rooms.fetch_sub(1, Ordering::Relaxed);
        }
        Some(open)
    }

    /// A worker has ended its part of a room. Whether that was the last one.
    fn part_ended(&self, worker: usize, room: RoomId) -> bool {
        let open = self.room_name(room).and_then(|name| self.rooms.get(name.as_str()).map(|open| open.clone()));
        let Some(goes_on) = open.filter(|open| open.workers().len() > 1).and_then(|open| open.remove_part(worker))
        else {
            return true;
        };
        self.held[worker].rooms.fetch_sub(1, Ordering::Relaxed);
        !goes_on
    }

    fn room_name(&self, room: RoomId) -> Option<String> {
        self.room_names.get(&room).map(|name| name.to_string())
    }

    pub(crate) fn participant_name(&self, participant: ParticipantId) -> Option<String> {
        self.participant_names.get(&participant).map(|name| name.to_string())
    }

    /// The names of a room and of a participant, shared; there may be thousands of messages a second.
    fn names(&self, room: RoomId, participant: ParticipantId) -> Option<(Arc<str>, Arc<str>)> {
        let room = self.room_names.get(&room)?.clone();
        Some((room, self.participant_names.get(&participant)?.clone()))
    }

    /// The worker that a participant is on.
    pub(crate) fn worker_of(&self, participant: ParticipantId) -> Option<&WorkerHandle> {
        let name = self.participant_names.get(&participant)?.clone();
        self.workers.get(self.participants.get(&name)?.worker)
    }

    /// What a worker reports, in signaling's words. `None` where a room or participant is gone by now, and where a room goes on on other workers.
    pub(crate) fn translate(&self, worker: usize, event: SfuEvent) -> Option<MediaEvent> {
        Some(match event {
            SfuEvent::Connected { room, participant } => {
                MediaEvent::Connected { room: self.room_name(room)?, participant: self.participant_name(participant)? }
            }
            SfuEvent::Disconnected { room, participant, reason } => {
                let name = self.participant_name(participant)?;
                self.forget_participant(&name);
                MediaEvent::Disconnected {
                    room: self.room_name(room)?,
                    participant: name,
                    reason: format!("{reason:?}"),
                }
            }
            SfuEvent::Slots { room, participant, slots } => MediaEvent::Slots {
                room: self.room_name(room)?,
                participant: self.participant_name(participant)?,
                slots: slots.into_iter().map(|slot| self.mapping(slot)).collect(),
            },
            SfuEvent::Speaking { room, speaking } => MediaEvent::Speaking {
                room: self.room_name(room)?,
                speaking: speaking.into_iter().filter_map(|id| self.participant_name(id)).collect(),
            },
            SfuEvent::Stage { room, participant, reason } => MediaEvent::Stage {
                room: self.room_name(room)?,
                participant: participant.and_then(|id| self.participant_name(id)),
                reason: wire_name(&reason),
            },
            SfuEvent::Focus { room, participant, focus } => MediaEvent::Focus {
                room: self.room_name(room)?,
                participant: self.participant_name(participant)?,
                focus: focus.and_then(|focus| {
                    let participant = self.participant_name(focus.participant)?;
                    Some(Focus { participant, source: source(focus.source), reason: wire_name(&focus.reason) })
                }),
            },
            SfuEvent::Quality { room, participant, quality } => MediaEvent::Quality {
                room: self.room_name(room)?,
                participant: self.participant_name(participant)?,
                quality: wire_quality(quality),
            },
            SfuEvent::Layers { room, participant, source: of, wanted, spatial } => MediaEvent::Layers {
                room: self.room_name(room)?,
                participant: self.participant_name(participant)?,
                source: source(of),
                wanted,
                spatial: spatial.map(|sfu::SpatialLayers { wanted, of }| SpatialLayers { wanted, of }),
            },
            SfuEvent::RoomClosed { room, reason } => {
                if !self.part_ended(worker, room) {
                    return None;
                }
                let name = self.room_name(room)?;
                self.forget_room(&name);
                MediaEvent::RoomClosed { room: name, reason: wire_name(&reason) }
            }
            _ => return None,
        })
    }

    fn mapping(&self, slot: sfu::SlotMapping) -> SlotMapping {
        SlotMapping {
            mid: slot.mid,
            participant: slot.participant.and_then(|id| self.participant_name(id)),
            source: slot.source.map(source),
            epoch: slot.epoch,
            rtp_timestamp: slot.rtp_timestamp,
            reason: slot.reason.map(|reason| wire_name(&reason)),
        }
    }
}

impl Media for Workers {
    fn open_room<'a>(&'a self, room: &'a str) -> BoxFuture<'a, Result<(), MediaError>> {
        let work = async move {
            let (id, worker, name) = (RoomId(self.id()), self.least_loaded(), Arc::<str>::from(room));
            self.held[worker].rooms.fetch_add(1, Ordering::Relaxed);
            self.rooms.insert(name.clone(), Arc::new(OpenRoom::new(id, worker)));
            self.room_names.insert(id, name);
            let opened = self.workers[worker].open_room(id, room_config()).await;
            opened.map_err(|error| {
                self.forget_room(room);
                refused(error)
            })
        };
        Box::pin(work.instrument(info_span!("room", room)))
    }

    fn close_room<'a>(&'a self, room: &'a str) -> BoxFuture<'a, Result<(), MediaError>> {
        let work = async move {
            let Some(open) = self.rooms.get(room).map(|open| open.clone()) else { return Ok(()) };
            let _changes = open.changes.lock().await;
            let Some(open) = self.forget_room(room) else { return Ok(()) };
            let mut closed = Ok(());
            for worker in open.workers() {
                closed = closed.and(self.workers[worker].close_room(open.id).await.map_err(refused));
            }
            closed
        };
        Box::pin(work.instrument(info_span!("room", room)))
    }

    fn join<'a>(
        &'a self,
        room: &'a str,
        participant: &'a str,
        offer: MediaOffer,
    ) -> BoxFuture<'a, Result<MediaAnswer, MediaError>> {
        let work = async move {
            let open = self.rooms.get(room).map(|open| open.clone()).ok_or_else(|| not_open("room", room))?;
            let worker = self.worker_for(&open).await;
            let (id, name) = (ParticipantId(self.id()), Arc::<str>::from(participant));
            // Known before the worker is asked: its first events may overtake its answer.
            self.held[worker].participants.fetch_add(1, Ordering::Relaxed);
            open.came(worker);
            let room = open.id;
            self.participants.insert(name.clone(), Place { id, room: open, worker });
            self.participant_names.insert(id, name);
            match self.workers[worker].join(room, id, join_offer(offer)).await {
                Ok(joined) => Ok(answer(joined)),
                Err(error) => {
                    self.forget_participant(participant);
                    Err(refused(error))
                }
            }
        };
        Box::pin(work.instrument(info_span!("participant", room, participant)))
    }

    fn offer<'a>(
        &'a self,
        room: &'a str,
        participant: &'a str,
        offer: MediaOffer,
    ) -> BoxFuture<'a, Result<MediaAnswer, MediaError>> {
        let work = async move {
            let (id, worker) = self.participant(participant)?;
            worker.offer(id, join_offer(offer)).await.map(answer).map_err(refused)
        };
        Box::pin(work.instrument(info_span!("participant", room, participant)))
    }

    fn leave<'a>(&'a self, room: &'a str, participant: &'a str) -> BoxFuture<'a, Result<(), MediaError>> {
        let work = async move {
            let Some(place) = self.forget_participant(participant) else { return Ok(()) };
            match self.workers[place.worker].leave(place.id).await {
                Ok(()) | Err(SfuError::NoSuchParticipant(_)) => Ok(()),
                Err(error) => Err(refused(error)),
            }
        };
        Box::pin(work.instrument(info_span!("participant", room, participant)))
    }

    fn set_muted<'a>(
        &'a self,
        _room: &'a str,
        participant: &'a str,
        source: Source,
        muted: bool,
    ) -> BoxFuture<'a, Result<(), MediaError>> {
        Box::pin(async move {
            let (id, worker) = self.participant(participant)?;
            worker.set_muted(id, sfu_source(source), muted).await.map_err(refused)
        })
    }

    fn set_view<'a>(
        &'a self,
        _room: &'a str,
        participant: &'a str,
        view: Vec<SlotView>,
    ) -> BoxFuture<'a, Result<(), MediaError>> {
        Box::pin(async move {
            let (id, worker) = self.participant(participant)?;
            let view =
                view.into_iter().map(|v| sfu::SlotView { mid: v.mid, width: v.width, height: v.height }).collect();
            worker.set_view(id, view).await.map_err(refused)
        })
    }

    fn set_pin<'a>(
        &'a self,
        _room: &'a str,
        participant: &'a str,
        pinned: Option<&'a str>,
    ) -> BoxFuture<'a, Result<(), MediaError>> {
        Box::pin(async move {
            let (id, worker) = self.participant(participant)?;
            let pinned = pinned.map(|pinned| self.participant(pinned)).transpose()?.map(|(id, _)| id);
            worker.set_pin(id, pinned).await.map_err(refused)
        })
    }

    fn play_only<'a>(
        &'a self,
        _room: &'a str,
        participant: &'a str,
        only: &'a str,
    ) -> BoxFuture<'a, Result<(), MediaError>> {
        Box::pin(async move {
            let (id, worker) = self.participant(participant)?;
            let (only, _) = self.participant(only)?;
            worker.play_only(id, only).await.map_err(refused)
        })
    }
}

/// How rooms are set up, on each of their workers.
fn room_config() -> sfu::RoomConfig {
    // Signaling counts who comes in; the worker must not know another number.
    sfu::RoomConfig::default().with_max_participants(RoomsConfig::default().max_participants)
}

/// Carries a worker's events to signaling until the worker stops or the engine is gone.
pub(crate) async fn carry_events(
    workers: Weak<Workers>,
    worker: usize,
    mut events: mpsc::Receiver<SfuEvent>,
    signaling: Weak<Signaling>,
    reactions: Weak<ReactionDesk>,
) {
    while let Some(event) = events.recv().await {
        let (Some(workers), Some(signaling)) = (workers.upgrade(), signaling.upgrade()) else { return };
        if let SfuEvent::Data { room, participant, label, data, .. } = &event {
            if let (Some(desk), Some((room, participant))) = (reactions.upgrade(), workers.names(*room, *participant)) {
                desk.data(&room, participant, label, data);
            }
            continue;
        }
        if let SfuEvent::StageReadings { watchers, on_stage, readings, .. } = event {
            stage_readings::tell(&workers, watchers, on_stage, readings).await;
            continue;
        }
        if let Some(event) = workers.translate(worker, event) {
            signaling.media_event(event).await;
        }
    }
}

fn join_offer(offer: MediaOffer) -> sfu::JoinOffer {
    let claim =
        |track: TrackClaim| sfu::TrackClaim { mid: track.mid, source: sfu_source(track.source), muted: track.muted };
    sfu::JoinOffer { sdp: offer.sdp, tracks: offer.tracks.into_iter().map(claim).collect() }
}

fn answer(joined: sfu::Joined) -> MediaAnswer {
    let slot = |slot: sfu::SlotInfo| SlotInfo {
        mid: slot.mid,
        kind: match slot.kind {
            sfu::MediaKind::Audio => MediaKind::Audio,
            sfu::MediaKind::Video => MediaKind::Video,
        },
        pair: slot.pair.map(|pair| pair as u32),
    };
    MediaAnswer { answer: joined.answer, slots: joined.slots.into_iter().map(slot).collect() }
}

fn source(source: sfu::Source) -> Source {
    match source {
        sfu::Source::Microphone => Source::Microphone,
        sfu::Source::Camera => Source::Camera,
        sfu::Source::Screen => Source::Screen,
    }
}

fn sfu_source(source: Source) -> sfu::Source {
    match source {
        Source::Microphone => sfu::Source::Microphone,
        Source::Camera => sfu::Source::Camera,
        Source::Screen => sfu::Source::Screen,
    }
}

fn wire_quality(of: sfu::Quality) -> Quality {
    Quality {
        level: match of.level {
            sfu::QualityLevel::Good => QualityLevel::Good,
            sfu::QualityLevel::Fair => QualityLevel::Fair,
            sfu::QualityLevel::Poor => QualityLevel::Poor,
            sfu::QualityLevel::Lost => QualityLevel::Lost,
        },
        round_trip_ms: of.round_trip_ms,
        loss_up: of.loss_up,
        loss_down: of.loss_down,
        jitter_ms: of.jitter_ms,
    }
}

/// The name a value has in JSON, for enums whose variants hold nothing.
fn wire_name(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}

fn not_open(what: &str, name: &str) -> MediaError {
    MediaError::new(ErrorCode::NotFound, format!("there is no {what} {name:?}"))
}

fn refused(error: SfuError) -> MediaError {
    let code = match &error {
        SfuError::Offer(_) | SfuError::Claim { .. } => ErrorCode::BadOffer,
        SfuError::NoSuchRoom(_) | SfuError::NoSuchParticipant(_) => ErrorCode::NotFound,
        SfuError::ParticipantExists(_) | SfuError::RoomExists(_) => ErrorCode::Conflict,
        SfuError::Full { .. } | SfuError::Stopped => ErrorCode::Unavailable,
        _ => ErrorCode::Internal,
    };
    MediaError::new(code, error.to_string())
}
