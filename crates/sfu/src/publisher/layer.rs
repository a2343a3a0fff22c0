//! One stream of a track: a simulcast layer, or all there is without simulcast, with the retransmissions that belong to it.

use std::time::{Duration, Instant};

use ringback_transport::rtp::RtpHeader;
use ringback_transport::sdp::MediaKind;

use super::interest::Interest;
use super::meter::Meter;
use super::sizes::Sizes;
use crate::allocator::{Rate, TEMPORAL_LAYERS};
use crate::av1::TemplateLayers;
use crate::feedback::ReceptionStatistics;
use crate::forward::Target;
use crate::keyframe::KeyframeLimiter;
use crate::last_keyframe::LastKeyframe;
use crate::layers::LayerState;
use crate::nack::{Arrived, NackGenerator};
use crate::retransmission::PacketStore;
use crate::rewrite::MediaClock;
use crate::sender_report::SourceClock;

/// A layer that sends nothing for this long is not chosen any more. Browsers stop upper layers when their estimate falls.
const LAYER_DEAD: Duration = Duration::from_millis(1500);

/// A stream may change its SSRC this often: browsers do after `replaceTrack` at most, attackers with each packet.
const RESTART_INTERVAL: Duration = Duration::from_millis(500);

/// Whether a publisher sends a keyframe when it is asked for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answers {
    /// Nobody has asked yet.
    Unknown,
    /// It has, in time; or one was due just then.
    Yes,
    /// It has not. Stays so: its next keyframe may be due anyway.
    No,
}

/// A layer of a track.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) rid: Option<String>,
    pub(crate) ssrc: Option<u32>,
    pub(crate) repair_ssrc: Option<u32>,
    /// The slots it flows or should flow in: the forwarding table.
    pub(crate) targets: Vec<Target>,
    /// The relays by which other shards of the room have said that they want it, one bit each.
    pub(crate) wanted_elsewhere: u64,
    /// The recent payloads, for whoever misses one.
    pub(crate) store: PacketStore,
    /// Names `store` as long as it holds the same stream; no other store of the room has or had the same.
    pub(crate) store_id: u32,
    pub(crate) reception: ReceptionStatistics,
    pub(crate) repair_reception: ReceptionStatistics,
    /// What to ask the publisher for again; none for audio, where concealment is faster.
    pub(crate) missing: Option<NackGenerator>,
    pub(crate) keyframes: KeyframeLimiter,
    pub(crate) answers: Answers,
    /// Kept unless its publisher answers, for whoever begins to look.
    pub(crate) last_keyframe: LastKeyframe,
    /// Maps the stream's timestamps to the publisher's clock.
    pub(crate) clock: SourceClock,
    pub(crate) last_packet: Option<Instant>,
    /// Whether packets arrived when somebody last looked.
    pub(crate) live: bool,
    media: MediaClock,
    /// Its spatial layers; one where there are none.
    pub(crate) sizes: Sizes,
    restarted: Option<Instant>,
    /// So much was lost that only a keyframe helps.
    pub(crate) wants_keyframe: bool,
    meter: Meter,
    /// Whether anybody wants it.
    pub(crate) interest: Interest,
    /// What the templates of AV1's dependency descriptors stand for.
    pub(crate) templates: TemplateLayers,
    fir_sequence: u8,
}

impl Layer {
    pub(crate) fn new(rid: Option<String>, kind: MediaKind, store_id: u32) -> Self {
        let media = if kind == MediaKind::Audio { MediaClock::OPUS } else { MediaClock::VIDEO };
        Self {
            rid,
            ssrc: None,
            repair_ssrc: None,
            targets: Vec::new(),
            wanted_elsewhere: 0,
            store: PacketStore::new(),
            store_id,
            reception: ReceptionStatistics::new(media),
            repair_reception: ReceptionStatistics::new(media),
            media,
            missing: (kind == MediaKind::Video).then(NackGenerator::new),
            keyframes: KeyframeLimiter::new(),
            answers: Answers::Unknown,
            last_keyframe: LastKeyframe::default(),
            clock: SourceClock::new(),
            last_packet: None,
            live: false,
            sizes: Sizes::default(),
            restarted: None,
            wants_keyframe: false,
            meter: Meter::new(),
            interest: Interest::default(),
            templates: TemplateLayers::default(),
            fir_sequence: 0,
        }
    }

    /// Whether it goes, or should go, to anybody, here or at another shard.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.targets.is_empty() || self.wanted_elsewhere != 0
    }

    /// Whether the stream may go over to another SSRC now, if it has one: not all the time, since each time costs the room a look.
    pub(crate) fn may_restart(&mut self, now: Instant, repair: bool) -> bool {
        let has_one = if repair { self.repair_ssrc } else { self.ssrc }.is_some();
        let lately = self.restarted.is_some_and(|at| now.saturating_duration_since(at) < RESTART_INTERVAL);
        if has_one && !lately {
            self.restarted = Some(now);
        }
        !(has_one && lately)
    }

    /// The publisher sends under another SSRC from now on: nothing of the old stream counts.
    pub(crate) fn restart(&mut self, repair: bool) {
        if repair {
            self.repair_reception = ReceptionStatistics::new(self.media);
            return;
        }
        self.store.clear();
        self.wants_keyframe = true;
        self.answers = Answers::Unknown;
        self.last_keyframe.clear();
        self.store_id = self.store_id.wrapping_add(1);
        self.reception = ReceptionStatistics::new(self.media);
        self.clock = SourceClock::new();
        if let Some(missing) = &mut self.missing {
            *missing = NackGenerator::new();
        }
    }

    /// Counts a packet as it came, for receiver reports.
    pub(crate) fn count(&mut self, now: Instant, header: &RtpHeader, repair: bool) {
        let statistics = if repair { &mut self.repair_reception } else { &mut self.reception };
        statistics.on_packet(now, header.sequence, header.timestamp);
    }

    /// Measures a packet of these layers, spatial and temporal, that is on its way to whoever receives it.
    pub(crate) fn measure(&mut self, now: Instant, (spatial, temporal): (u8, u8), payload: usize) {
        // What is not told apart goes together.
        let spatial = usize::from(spatial).min(self.sizes.count() - 1);
        self.meter.count(now, (spatial, temporal), payload);
    }

    /// Takes note of a packet of the stream itself, as it came or out of a retransmission, and keeps its payload if somebody could ask
    /// for it. Returns whether the layer came to life.
    pub(crate) fn arrived(
        &mut self,
        now: Instant,
        (sequence, timestamp, marker): (u16, u32, bool),
        (dependency, payload): (&[u8], &[u8]),
        starts: bool,
    ) -> bool {
        if let Some(missing) = &mut self.missing {
            let arrived = missing.on_packet(now, sequence);
            if starts {
                let in_time = self.keyframes.is_asked() && !self.keyframes.is_unanswered(now);
                // A stream begins with a keyframe, asked for or not.
                let began_before = self.last_packet.is_some();
                if self.answers == Answers::Unknown && in_time && began_before {
                    self.answers = Answers::Yes;
                    self.last_keyframe = LastKeyframe::default();
                }
                let (width, height) = self.sizes.largest_sent();
                self.keyframes.on_keyframe(width, height);
            } else if arrived == Arrived::GaveUp {
                self.wants_keyframe = true;
            }
            if !self.targets.is_empty() {
                self.store.insert_described(now, sequence, timestamp, marker, dependency, payload);
            }
        }
        self.last_packet = Some(now);
        !std::mem::replace(&mut self.live, true)
    }

    /// Notices that the layer has fallen silent. Returns whether that is new.
    pub(crate) fn check_live(&mut self, now: Instant) -> bool {
        let silent = self.last_packet.is_none_or(|at| now.saturating_duration_since(at) > LAYER_DEAD);
        if silent {
            self.meter.pause();
        }
        silent && std::mem::replace(&mut self.live, false)
    }

    /// The layer as the choice between layers sees it.
    pub(crate) fn state(&self) -> LayerState {
        self.state_up_to(self.sizes.count() - 1)
    }

    /// The same, of its spatial layers up to this one.
    fn state_up_to(&self, spatial: usize) -> LayerState {
        let ((width, height), bitrate) = (self.sizes.of(spatial), self.meter.bitrate(spatial));
        LayerState { width, height, bitrate, live: self.live }
    }

    /// The same; live also while it is silent because nobody wanted it.
    pub(crate) fn state_on_demand(&self, now: Instant, spatial: usize) -> LayerState {
        let is_live = self.live && self.sizes.can_come(now, spatial);
        LayerState { live: is_live || self.interest.may_come(now), ..self.state_up_to(spatial) }
    }

    /// What its spatial layers up to this one take, by temporal layer, and how many of these there are.
    pub(crate) fn rates(&mut self, now: Instant, spatial: usize) -> ([Rate; TEMPORAL_LAYERS], usize) {
        let (width, height) = self.sizes.of(spatial);
        self.meter.rates(now, spatial, u64::from(width) * u64::from(height))
    }

    /// Nobody wants it or any of its sizes, as far as is known now. Returns whether a size turned out not to be there.
    pub(crate) fn forget_interest(&mut self, now: Instant) -> bool {
        self.interest.forget();
        self.sizes.forget_interest();
        self.sizes.give_up(now)
    }

    /// Whether the publisher is to be asked for a keyframe now: after a loss, or because the last request was not answered.
    pub(crate) fn keyframe_due(&mut self, now: Instant) -> bool {
        if self.keyframes.is_unanswered(now) {
            self.answers = Answers::No;
        }
        let asked = std::mem::take(&mut self.wants_keyframe) && self.keyframes.request(now);
        asked || self.keyframes.handle_timeout(now)
    }

    /// The number of the next full intra request (RFC 5104, section 4.3.1.1).
    pub(crate) fn next_fir(&mut self) -> u8 {
        self.fir_sequence = self.fir_sequence.wrapping_add(1);
        self.fir_sequence
    }
}
