//! A room: who is there, which track flows in which slot, who speaks. A state machine: packets, commands and time go in; packets
//! leave through a [`PacketSink`], events are polled. It knows neither sockets nor encryption, and members are numbered by their
//! place in it; the driver keeps their connections under the same numbers.
//!
//! `room/flows.rs` decides what flows where and rebuilds the forwarding tables, `room/media.rs` takes packets in and through,
//! `room/networks.rs` heeds what their networks take, `room/voices.rs` follows who speaks, `room/quality.rs` how good connections are, `room/shards.rs` spans workers, `room/stills.rs` shows something of publishers that answer no request, and `room/ticks.rs` does
//! what is due after some time.

mod flows;
mod interest;
mod listening;
mod media;
mod networks;
mod plan;
mod quality;
mod shards;
mod stills;
mod taps;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod ticks;
mod voices;
mod watching;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ringback_transport::sdp::Line;
use slab::Slab;

use crate::decoding::{Deaf, Ears};
use crate::error::SfuError;
use crate::events::SfuEvent;
use crate::forward::Switched;
use crate::ids::{ParticipantId, RoomId, Source};
use crate::publisher::{Publisher, TrackClaim};
use crate::quality::QualityMeter;
use crate::shard::Notice;
use crate::stage::{Detector, Preset, StageDetector};
use crate::subscriber::{SlotInfo, SlotView, Subscriber};
use crate::tap::{TapEnd, TapPort};
use listening::Wish;
use voices::Voice;

/// How often a room with media looks at what is due. Reports to publishers go out on a multiple of this; a lower value reports
/// earlier and wakes a worker with many quiet rooms more often.
const TICK: Duration = Duration::from_millis(20);

/// How often a room without media looks.
const IDLE_TICK: Duration = Duration::from_millis(500);

/// A room counts as idle when no media has come for this long.
const IDLE_AFTER: Duration = Duration::from_secs(2);

/// A room counts as quiet when no media has come for this long: longer than anything goes on that began with media, such as asking again for a keyframe.
const QUIET_AFTER: Duration = Duration::from_secs(30);

/// How often a quiet room looks, unless somebody records or looks on. There is nothing to be found; what comes wakes it.
const QUIET_TICK: Duration = Duration::from_secs(120);

/// What deciding anew who gets what may take of a core: for each member it costs about a microsecond, and so much time passes before the next look, at most a
/// tick. Whoever changes something alone is heeded at once; more would let those who come in a rush wait for their pictures, less lets media wait for the rush.
const LOOKS_APART_PER_MEMBER: Duration = Duration::from_micros(200);

/// How a room works.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RoomConfig {
    video_cap: u64,
    admit_on_join: bool,
    max_participants: usize,
    stage: Preset,
}

impl Default for RoomConfig {
    fn default() -> Self {
        Self { video_cap: 2_500_000, admit_on_join: true, max_participants: 200, stage: Preset::Balanced }
    }
}

impl RoomConfig {
    /// The highest bitrate of a simulcast layer that a slot may carry, in bit/s; 2,500,000 unless told, what a browser
    /// sends of 720p. What a subscriber's network can take limits all its slots together beside that.
    #[must_use]
    pub fn with_video_cap(mut self, bits_per_second: u64) -> Self {
        self.video_cap = bits_per_second;
        self
    }

    /// Whether participants are heard and hear from the moment they join; true unless told. Otherwise each waits for
    /// [`WorkerHandle::admit`](crate::WorkerHandle::admit).
    #[must_use]
    pub fn with_admit_on_join(mut self, admit: bool) -> Self {
        self.admit_on_join = admit;
        self
    }

    /// How eagerly the stage follows the conversation; balanced unless told.
    #[must_use]
    pub fn with_stage(mut self, preset: Preset) -> Self {
        self.stage = preset;
        self
    }

    /// How many may be in the room; 200 unless told. Each member costs every other a look at each change of the slots.
    #[must_use]
    pub fn with_max_participants(mut self, count: usize) -> Self {
        self.max_participants = count;
        self
    }
}

/// What a room knows of a member beside what they send and receive.
#[derive(Debug)]
struct Member {
    id: ParticipantId,
    joined: u64,
    admitted: bool,
    connected: bool,
    /// The relay by which they come, where they are connected to another worker.
    elsewhere: Option<u8>,
    voice: Voice,
    meter: QualityMeter,
}

/// A room. See the module's documentation.
pub(crate) struct Room {
    pub(crate) id: RoomId,
    config: RoomConfig,
    origin: Instant,
    members: Slab<Member>,
    publishers: Slab<Publisher>,
    subscribers: Slab<Subscriber>,
    joins: u64,
    next_store: u32,
    /// Something changed that the slots and forwarding tables do not reflect yet.
    changed: bool,
    /// When these were brought up to date last. `None`: never, or what changed since cannot wait.
    looked: Option<Instant>,
    stage: Box<dyn StageDetector>,
    /// How many have taken the stage so far.
    stages: u64,
    ears: Box<dyn Ears>,
    switched: Vec<Switched>,
    taps: Vec<TapPort>,
    /// Members who look on while the stage is decided.
    watchers: Vec<usize>,
    events: VecDeque<SfuEvent>,
    /// For the relay of that number, or all.
    notices: VecDeque<(Option<u8>, Notice)>,
    /// Whether the room has shards on other workers.
    spans: bool,
    /// Whether the stage is decided here.
    leads: bool,
    last_media: Option<Instant>,
    next_tick: Instant,
    /// When a packet that waits, or padding, is due.
    next_pace: Option<Instant>,
    /// When a publisher is to be asked for a packet again.
    next_request: Option<Instant>,
    /// Kept between ticks to spare an allocation for each.
    wishes: Vec<Wish>,
    /// Likewise.
    plans: Vec<plan::Plan>,
    ticks: u64,
    /// When the meters of connections were read last.
    quality_read: Instant,
}

impl Room {
    /// An empty room.
    pub(crate) fn new(id: RoomId, config: RoomConfig, now: Instant) -> Self {
        let stage = Box::new(Detector::new(config.stage));
        Self {
            id,
            config,
            origin: now,
            members: Slab::new(),
            publishers: Slab::new(),
            subscribers: Slab::new(),
            joins: 0,
            next_store: 0,
            changed: false,
            looked: None,
            stage,
            stages: 0,
            ears: Box::new(Deaf),
            switched: Vec::new(),
            taps: Vec::new(),
            watchers: Vec::new(),
            events: VecDeque::new(),
            notices: VecDeque::new(),
            spans: false,
            leads: true,
            last_media: None,
            next_tick: now + IDLE_TICK,
            next_pace: None,
            next_request: None,
            wishes: Vec::new(),
            plans: Vec::new(),
            ticks: 0,
            quality_read: now,
        }
    }

    /// Gives the room ears for microphones whose level nobody tells.
    pub(crate) fn set_ears(&mut self, ears: impl Ears + 'static) {
        self.ears = Box::new(ears);
    }

    /// Whether nobody else fits.
    pub(crate) fn is_full(&self) -> bool {
        self.members.len() >= self.config.max_participants
    }

    /// The most participants there may be.
    pub(crate) fn capacity(&self) -> usize {
        self.config.max_participants
    }

    /// Lets somebody in with what was negotiated. Returns their number and their slots.
    ///
    /// # Errors
    /// When the room is full or a claim does not fit the offer; nobody has joined then.
    pub(crate) fn join(
        &mut self,
        now: Instant,
        id: ParticipantId,
        lines: &[Line],
        claims: &[TrackClaim],
    ) -> Result<(usize, Vec<SlotInfo>), SfuError> {
        if self.is_full() {
            return Err(SfuError::Full { what: "the room", limit: self.capacity() });
        }
        let key = self.members.vacant_key();
        let mut publisher = Publisher::new(key as u32);
        publisher.negotiate(lines, claims, &mut self.next_store)?;
        let mut subscriber = Subscriber::new(self.origin);
        subscriber.negotiate(lines);
        let slots = subscriber.describe();
        self.joins += 1;
        self.members.insert(Member {
            id,
            joined: self.joins,
            admitted: self.config.admit_on_join,
            connected: false,
            elsewhere: None,
            voice: Voice::new(),
            meter: QualityMeter::new(),
        });
        self.stage.join(now, id, true);
        // The three slabs are filled and emptied together, so that their keys are the same.
        let keys = (self.publishers.insert(publisher), self.subscribers.insert(subscriber));
        debug_assert_eq!(keys, (key, key));
        self.sync_voice(now, key);
        self.tell_shards(key);
        self.changed = true;
        Ok((key, slots))
    }

    /// Takes a further offer of a member.
    ///
    /// # Errors
    /// When a claim does not fit the offer; all is as before then.
    pub(crate) fn renegotiate(
        &mut self,
        now: Instant,
        key: usize,
        lines: &[Line],
        claims: &[TrackClaim],
    ) -> Result<Vec<SlotInfo>, SfuError> {
        let (Some(publisher), Some(subscriber)) = (self.publishers.get_mut(key), self.subscribers.get_mut(key)) else {
            return Ok(Vec::new());
        };
        publisher.negotiate(lines, claims, &mut self.next_store)?;
        subscriber.negotiate(lines);
        let slots = subscriber.describe();
        self.sync_voice(now, key);
        self.tell_shards(key);
        // Tracks and slots go by their place, which may be another's now.
        self.change_at_once();
        Ok(slots)
    }

    /// Somebody is gone, with everything they sent.
    pub(crate) fn leave(&mut self, now: Instant, key: usize) {
        let Some(member) = self.members.try_remove(key) else { return };
        self.end_taps(key, TapEnd::Left);
        if self.spans && member.elsewhere.is_none() {
            self.notices.push_back((None, Notice::Left(member.id)));
        }
        self.watch_stage(key, false);
        self.publishers.try_remove(key);
        self.subscribers.try_remove(key);
        // Their number may be somebody else's before the next look.
        self.forget_targets(key);
        for (_, subscriber) in &mut self.subscribers {
            if subscriber.pin == Some(member.id) {
                subscriber.pin = None;
            }
            subscriber.forget(key as u32);
        }
        if member.voice.speaking {
            self.tell_speaking();
        }
        let change = self.stage.leave(now, member.id);
        self.staged(change);
        self.changed = true;
    }

    /// A member's transport is up (or no longer).
    pub(crate) fn set_connected(&mut self, key: usize, connected: bool) {
        let Some(member) = self.members.get_mut(key) else { return };
        if connected && !member.connected {
            self.events.push_back(SfuEvent::Connected { room: self.id, participant: member.id });
        }
        member.connected = connected;
        self.tell_shards(key);
        self.changed = true;
    }

    /// Admits a member to being heard and hearing, or puts them aside.
    pub(crate) fn set_admitted(&mut self, now: Instant, key: usize, admitted: bool) {
        let Some(member) = self.members.get_mut(key) else { return };
        member.admitted = admitted;
        self.tell_shards(key);
        self.change_at_once();
        self.sync_voice(now, key);
    }

    /// A member muted or unmuted a track.
    pub(crate) fn set_muted(&mut self, now: Instant, key: usize, source: Source, muted: bool) {
        let Some(publisher) = self.publishers.get_mut(key) else { return };
        for track in publisher.tracks.iter_mut().filter(|track| track.source == source) {
            track.muted = muted;
            // What was last seen is not to be seen again.
            track.layers.iter_mut().for_each(|layer| layer.last_keyframe.clear());
        }
        self.tap_muted(now, key, source, muted);
        self.tell_shards(key);
        self.sync_voice(now, key);
        self.change_at_once();
    }

    /// A member says how large it shows its slots. Slots it does not name stay as they are.
    pub(crate) fn set_view(&mut self, key: usize, views: &[SlotView]) {
        let Some(subscriber) = self.subscribers.get_mut(key) else { return };
        self.changed |= subscriber.set_view(views);
    }

    /// A member wants to see somebody whoever speaks, or nobody in particular.
    pub(crate) fn set_pin(&mut self, key: usize, pin: Option<ParticipantId>) {
        let Some(subscriber) = self.subscribers.get_mut(key) else { return };
        self.changed |= subscriber.pin != pin;
        subscriber.pin = pin;
    }

    /// A member receives nobody but this one, also once they are gone.
    pub(crate) fn play_only(&mut self, key: usize, only: ParticipantId) {
        let Some(subscriber) = self.subscribers.get_mut(key) else { return };
        self.changed |= subscriber.only != Some(only);
        subscriber.only = Some(only);
    }

    /// The next event.
    pub(crate) fn poll_event(&mut self) -> Option<SfuEvent> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub(crate) fn poll_timeout(&self) -> Instant {
        [self.next_pace, self.next_request, self.next_look()].into_iter().flatten().fold(self.next_tick, Instant::min)
    }
}
