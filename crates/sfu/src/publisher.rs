//! What one participant sends: tracks with their simulcast layers, and which SSRC carries which. An SSRC belongs to the
//! connection that sent it under that connection's keys, and only what an m-line of this offer claims is latched: nobody can speak
//! for somebody else. Reports back to the sender are in `publisher/reports.rs`.

mod cut;
mod elsewhere;
mod interest;
mod layer;
mod meter;
mod reports;
mod sizes;

use std::time::{Duration, Instant};

use ringback_transport::rtcp::SenderInfo;
use ringback_transport::rtp::RtpHeader;
use ringback_transport::sdp::{Codec, CodecName, Extension, Line, MediaKind};

use crate::av1::TemplateLayers;
use crate::error::SfuError;
use crate::feedback::TransportFeedbackRecorder;
use crate::forward::{Descriptor, LayerKey, Packet, Spatial, Target, Temporal, codec};
use crate::ids::Source as TrackSource;
use crate::picture_size;
use crate::retransmission::restore_rtx;
use crate::shard::WantedLayers;
use crate::vp9::Vp9Descriptor;

pub(crate) use cut::{Cut, MAX_CUTS};
pub(crate) use layer::{Answers, Layer};
pub(crate) use reports::Reports;

/// SSRCs that one connection may use. Three tracks of three layers with RTX are 14; more is a flood.
const MAX_SSRCS: usize = 32;

/// Tracks of one participant.
const MAX_TRACKS: usize = 8;

/// Simulcast layers of one track.
pub(crate) const MAX_LAYERS: usize = 4;

/// How often a layer may start over under a new SSRC before its packet store's number could be another's.
const RESTARTS_TOLD_APART: u32 = 256;

/// The SSRC under which the server reports: it sends no media under it.
pub(crate) const SERVER_SSRC: u32 = 1;

/// A voice that sends nothing for this long is no longer live. Opus with DTX sends a packet each 400 ms.
const AUDIO_DEAD: Duration = Duration::from_secs(2);

/// A camera or screen that sends nothing for this long is no longer live. A still screen may send little.
const VIDEO_DEAD: Duration = Duration::from_secs(5);

/// Marks a payload type in a track's table that is not its.
const NO_CODEC: u8 = u8::MAX;

/// Set in a track's table where the payload type is a codec's RTX.
const REPAIR: u8 = 0x80;

/// What an offer says of a sending m-line: which source it carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackClaim {
    /// The m-line.
    pub mid: String,
    /// What it carries.
    pub source: TrackSource,
    /// Whether it is muted at the start.
    pub muted: bool,
}

/// A received packet's way on: where it came from and to whom it goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) key: LayerKey,
    /// Names the store that keeps the payload.
    pub(crate) store_id: u32,
    pub(crate) targets: &'a [Target],
}

/// Why a packet goes nowhere. Counted, not logged: anybody with keys can send anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ignored {
    /// It is no RTP packet.
    Malformed,
    /// Its SSRC belongs to no m-line of this participant.
    UnknownSsrc,
    /// Its payload type belongs to no codec of its m-line.
    UnknownPayloadType,
    /// Retransmission without content: a probe.
    Probe,
}

#[derive(Debug, Clone, Copy)]
struct Latched {
    ssrc: u32,
    track: u8,
    layer: u8,
    repair: bool,
}

/// The header extension ids this participant uses; 0: not negotiated. Bundled m-lines share them (RFC 8843, section 9.2).
#[derive(Debug, Clone, Copy, Default)]
struct ExtensionIds {
    mid: u8,
    rid: u8,
    repaired_rid: u8,
    transport_cc: u8,
    audio_level: u8,
    dependency: u8,
}

/// A published microphone, camera or screen.
#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) source: TrackSource,
    pub(crate) mid: String,
    pub(crate) muted: bool,
    /// Whether packets arrive.
    pub(crate) live: bool,
    /// The m-line's codecs, in order of preference.
    pub(crate) codecs: Vec<Codec>,
    /// The codec that is sent, a position in `codecs`.
    pub(crate) codec: usize,
    /// Whether the engine was told that they do.
    pub(crate) told_live: bool,
    /// Of a publisher elsewhere: what their worker was told is wanted here.
    told_wanted: WantedLayers,
    /// Codec by payload type.
    payload_types: [u8; 128],
    pub(crate) layers: Vec<Layer>,
}

impl Track {
    /// The time when a packet last came, on any layer.
    fn last_packet(&self) -> Option<Instant> {
        self.layers.iter().filter_map(|layer| layer.last_packet).max()
    }
}

/// Everything one participant sends.
#[derive(Debug)]
pub(crate) struct Publisher {
    member: u32,
    pub(crate) tracks: Vec<Track>,
    latched: Vec<Latched>,
    ids: ExtensionIds,
    /// Feedback on every packet's arrival, where the offer has transport-cc.
    pub(crate) transport: Option<TransportFeedbackRecorder>,
    pub(crate) reports: Reports,
    /// Packets that went nowhere.
    pub(crate) ignored: u64,
    /// Set when a track went live, changed its codec or the like: the room looks again at who gets what.
    pub(crate) changed: bool,
    /// When the room last did.
    pub(crate) heeded: Option<Instant>,
    /// Whether they are connected to another worker, which reports to them.
    is_elsewhere: bool,
}

/// What is known of a packet once its layer is found.
struct Arrival<'p> {
    track: usize,
    layer: usize,
    codec: u8,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    marker: bool,
    level: Option<u8>,
    dependency: &'p [u8],
    payload: &'p [u8],
}

/// A packet taken in: the voice level it carries, and the packet.
pub(crate) struct Received<'p> {
    pub(crate) track: usize,
    pub(crate) layer: usize,
    pub(crate) packet: Packet<'p>,
}

impl Publisher {
    pub(crate) fn new(member: u32) -> Self {
        Self {
            member,
            tracks: Vec::new(),
            latched: Vec::new(),
            ids: ExtensionIds::default(),
            transport: None,
            reports: Reports::default(),
            ignored: 0,
            changed: false,
            heeded: None,
            is_elsewhere: false,
        }
    }

    /// Takes the sending m-lines of an offer. Tracks that were there before keep their state.
    ///
    /// # Errors
    /// When a claim names an m-line that does not send or is of another kind; nothing has changed then.
    pub(crate) fn negotiate(
        &mut self,
        lines: &[Line],
        claims: &[TrackClaim],
        next_store: &mut u32,
    ) -> Result<(), SfuError> {
        for claim in claims {
            let problem = match lines.iter().find(|line| line.mid == claim.mid) {
                None => "the offer has no such m-line",
                Some(line) if line.kind != claim.source.kind() => "its kind is another",
                // A refused m-line carries nothing, but the others go on.
                Some(line) if line.rejected.is_some() => continue,
                Some(line) if line.publish.is_none() => "it does not send",
                Some(_) => continue,
            };
            return Err(SfuError::Claim { mid: claim.mid.clone(), problem });
        }
        let mut before = std::mem::take(&mut self.tracks);
        let sending = lines.iter().filter(|line| line.rejected.is_none() && !line.codecs.is_empty());
        for line in sending.filter(|line| line.publish.is_some()).take(MAX_TRACKS) {
            let claim = claims.iter().find(|claim| claim.mid == line.mid);
            let Some(source) = claim.map(|c| c.source).or_else(|| self.guess(line)) else { continue };
            if self.tracks.iter().any(|track| track.source == source) {
                continue;
            }
            let old = before.iter().position(|track| track.mid == line.mid && track.source == source);
            let layers = old
                .map(|at| before.swap_remove(at))
                .map(|track| (track.muted, track.live, track.told_live, track.layers));
            let (was_muted, live, told_live, layers) = layers.unwrap_or((false, false, false, Vec::new()));
            self.tracks.push(Track {
                source,
                mid: line.mid.clone(),
                muted: claim.map_or(was_muted, |claim| claim.muted),
                live,
                told_live,
                told_wanted: WantedLayers::default(),
                codecs: line.codecs.clone(),
                codec: line.codecs.iter().position(|codec| codec.name != CodecName::Red).unwrap_or(0),
                payload_types: payload_types(&line.codecs),
                layers,
            });
        }
        self.ids = extension_ids(lines);
        let has_transport_cc = self.ids.transport_cc != 0
            && self.tracks.iter().any(|t| t.codecs.iter().any(|codec| codec.feedback.transport_cc));
        if has_transport_cc && self.transport.is_none() {
            self.transport = Some(TransportFeedbackRecorder::new());
        }
        self.latch_declared(lines, next_store);
        self.changed = true;
        Ok(())
    }

    /// An m-line that nobody claimed: WHIP clients claim nothing. The first of its kind is the microphone or the camera.
    fn guess(&self, line: &Line) -> Option<TrackSource> {
        let guess = match line.kind {
            MediaKind::Audio => TrackSource::Microphone,
            MediaKind::Video => TrackSource::Camera,
        };
        (!self.tracks.iter().any(|track| track.source == guess)).then_some(guess)
    }

    /// Builds the layers that the offer names, and latches the SSRCs that it declares.
    fn latch_declared(&mut self, lines: &[Line], next_store: &mut u32) {
        let mut store_id = || {
            // Apart: a layer takes the next one each time its stream starts over.
            *next_store = next_store.wrapping_add(RESTARTS_TOLD_APART);
            *next_store
        };
        self.latched.clear();
        for (at, track) in self.tracks.iter().enumerate() {
            for (layer_at, layer) in track.layers.iter().enumerate() {
                for (ssrc, repair) in [(layer.ssrc, false), (layer.repair_ssrc, true)] {
                    let (track, layer) = (at as u8, layer_at as u8);
                    // What was latched before stays: senders name MID and RID only at first.
                    self.latched.extend(ssrc.map(|ssrc| Latched { ssrc, track, layer, repair }));
                }
            }
        }
        for track in 0..self.tracks.len() {
            let Some(line) = lines.iter().find(|line| line.mid == self.tracks[track].mid) else { continue };
            let Some(publish) = &line.publish else { continue };
            let layers = &mut self.tracks[track].layers;
            if publish.rids.is_empty() {
                if layers.is_empty() {
                    layers.push(Layer::new(None, line.kind, store_id()));
                }
                for declared in publish.ssrcs.iter().take(1) {
                    self.latch(declared.ssrc, track, 0, false);
                    if let Some(repair) = declared.rtx {
                        self.latch(repair, track, 0, true);
                    }
                }
            } else {
                for rid in publish.rids.iter().take(MAX_LAYERS) {
                    if !layers.iter().any(|layer| layer.rid.as_deref() == Some(rid.as_str())) {
                        layers.push(Layer::new(Some(rid.clone()), line.kind, store_id()));
                    }
                }
            }
        }
    }

    fn find(&self, ssrc: u32) -> Option<Latched> {
        self.latched.iter().copied().find(|latched| latched.ssrc == ssrc)
    }

    fn latch(&mut self, ssrc: u32, track: usize, layer: usize, repair: bool) -> Option<Latched> {
        if let Some(known) = self.find(ssrc) {
            return Some(known);
        }
        let carrier = self.tracks.get_mut(track)?.layers.get_mut(layer)?;
        let place = if repair { &mut carrier.repair_ssrc } else { &mut carrier.ssrc };
        // A layer that changes its SSRC (a new encoder after replaceTrack) gives the old one up.
        let old = place.replace(ssrc);
        if old.is_some() {
            carrier.restart(repair);
            self.latched.retain(|latched| Some(latched.ssrc) != old);
        }
        if self.latched.len() >= MAX_SSRCS {
            return None;
        }
        let latched = Latched { ssrc, track: track as u8, layer: layer as u8, repair };
        self.latched.push(latched);
        self.changed = true;
        Some(latched)
    }

    /// The layer that an SSRC of this participant carries.
    pub(crate) fn layer_of(&mut self, ssrc: u32) -> Option<(&mut Layer, bool)> {
        let latched = self.find(ssrc)?;
        let layer = self.tracks.get_mut(usize::from(latched.track))?.layers.get_mut(usize::from(latched.layer))?;
        Some((layer, latched.repair))
    }

    /// The track and the layer, as places in the lists, that an SSRC carries first-hand.
    pub(crate) fn place_of(&self, ssrc: u32) -> Option<(usize, usize)> {
        let latched = self.find(ssrc).filter(|latched| !latched.repair)?;
        Some((usize::from(latched.track), usize::from(latched.layer)))
    }

    /// The key of a layer, for whoever forwards it.
    pub(crate) fn key(&self, track: usize, layer: usize) -> LayerKey {
        LayerKey { member: self.member, track: track as u8, layer: layer as u8 }
    }

    /// Takes one authenticated packet in: latches its SSRC, counts it, unwraps a retransmission, and says which packet of which layer
    /// it is.
    ///
    /// # Errors
    /// Why it goes nowhere.
    pub(crate) fn receive<'p>(&mut self, now: Instant, bytes: &'p [u8]) -> Result<Received<'p>, Ignored> {
        let header = RtpHeader::parse(bytes).map_err(|_| Ignored::Malformed)?;
        let (mut mid, mut rid, mut repaired_rid, mut level) = (None, None, None, None);
        let (mut transport_sequence, mut dependency) = (None, &[][..]);
        for (id, value) in header.extensions(bytes) {
            match id {
                0 => {}
                _ if id == self.ids.audio_level => level = value.first().copied(),
                _ if id == self.ids.transport_cc => transport_sequence = <[u8; 2]>::try_from(value).ok(),
                _ if id == self.ids.mid => mid = Some(value),
                _ if id == self.ids.rid => rid = Some(value),
                _ if id == self.ids.repaired_rid => repaired_rid = Some(value),
                _ if id == self.ids.dependency => dependency = value,
                _ => {}
            }
        }
        if let (Some(recorder), Some(sequence)) = (&mut self.transport, transport_sequence) {
            recorder.on_packet(now, u16::from_be_bytes(sequence));
        }
        let latched = match self.find(header.ssrc) {
            Some(latched) => latched,
            None => self.identify(now, &header, [mid, rid, repaired_rid]).ok_or(Ignored::UnknownSsrc)?,
        };
        let (track_at, layer_at) = (usize::from(latched.track), usize::from(latched.layer));
        let track = self.tracks.get_mut(track_at).ok_or(Ignored::UnknownSsrc)?;
        let entry = track.payload_types[usize::from(header.payload_type & 0x7F)];
        if entry == NO_CODEC || (entry & REPAIR != 0) != latched.repair {
            return Err(Ignored::UnknownPayloadType);
        }
        let codec_at = entry & !REPAIR;
        let layer = track.layers.get_mut(layer_at).ok_or(Ignored::UnknownSsrc)?;
        layer.count(now, &header, latched.repair);

        let mut payload = header.payload(bytes);
        let (mut ssrc, mut sequence) = (header.ssrc, header.sequence);
        if latched.repair {
            (sequence, payload) = restore_rtx(payload).ok_or(Ignored::Probe)?;
            ssrc = layer.ssrc.ok_or(Ignored::UnknownSsrc)?;
        }
        let (timestamp, marker) = (header.timestamp, header.marker);
        let (track, layer, codec) = (track_at, layer_at, codec_at);
        self.take_in(
            now,
            Arrival { track, layer, codec, ssrc, sequence, timestamp, marker, level, dependency, payload },
        )
    }

    /// Takes in a packet whose layer is known, out of its retransmission where it was one.
    ///
    /// # Errors
    /// Why it goes nowhere.
    fn take_in<'p>(&mut self, now: Instant, arrival: Arrival<'p>) -> Result<Received<'p>, Ignored> {
        let Arrival { ssrc, sequence, timestamp, marker, level, mut dependency, mut payload, .. } = arrival;
        let track = self.tracks.get_mut(arrival.track).ok_or(Ignored::UnknownSsrc)?;
        let name = track.codecs.get(usize::from(arrival.codec)).ok_or(Ignored::UnknownPayloadType)?.name;
        let layer = track.layers.get_mut(arrival.layer).ok_or(Ignored::UnknownSsrc)?;
        if name != CodecName::Av1 {
            dependency = &[];
        }
        let read = if payload.is_empty() { None } else { Descriptor::read(name, payload, dependency) };
        let descriptor = read.unwrap_or_else(|| {
            // Padding, or not what it is said to be: its number closes up.
            payload = &[];
            Descriptor::None
        });
        let starts = codec::starts(name, payload, &descriptor);
        if matches!(descriptor, Descriptor::Av1(frame) if frame.has_structure) {
            layer.templates = TemplateLayers::parse(dependency).unwrap_or(layer.templates);
        }
        let sizes = match descriptor {
            Descriptor::Vp9(Vp9Descriptor { size: Some(_), .. }) => Some(Vp9Descriptor::sizes(payload)),
            Descriptor::Av1(frame) if frame.has_structure => layer.templates.sizes(),
            _ => None,
        };
        if let Some((sizes, layers)) = sizes {
            self.changed |= layer.sizes.set(now, sizes.get(..layers).unwrap_or(&sizes));
        } else if starts && let Some(size) = picture_size::of(name, payload, &descriptor) {
            self.changed |= layer.sizes.set(now, &[size]);
        }
        let temporal = Temporal::of(&descriptor, &layer.templates);
        let spatial = Spatial::of(&descriptor, &layer.templates);
        // Redundant blocks go only to those who lose packets.
        let redundant = if name == CodecName::Red { codec::red_primary(payload).unwrap_or(0) } else { 0 };
        let of = (spatial.map_or(0, |spatial| spatial.layer), temporal.layer);
        layer.measure(now, of, payload.len() - redundant);
        self.changed |= layer.arrived(now, (sequence, timestamp, marker), (dependency, payload), starts);
        if !payload.is_empty() {
            let main = usize::from(arrival.codec);
            if track.codec != main && name != CodecName::Red {
                track.codec = main;
                self.changed = true;
            }
            if !track.live && !track.muted {
                track.live = true;
                self.changed = true;
            }
        }
        Ok(Received {
            track: arrival.track,
            layer: arrival.layer,
            packet: Packet {
                ssrc,
                sequence,
                timestamp,
                marker,
                codec: arrival.codec,
                level,
                starts,
                descriptor,
                temporal,
                spatial,
                dependency,
                payload,
            },
        })
    }

    /// Finds out which layer a new SSRC carries, by MID and RID (RFC 8843, section 9.2; RFC 8852), or by its payload type where only
    /// one m-line has it.
    fn identify(
        &mut self,
        now: Instant,
        header: &RtpHeader,
        [mid, rid, repaired_rid]: [Option<&[u8]>; 3],
    ) -> Option<Latched> {
        let payload_type = usize::from(header.payload_type & 0x7F);
        let carries = |track: &Track| track.payload_types[payload_type] != NO_CODEC;
        let track = match mid {
            Some(mid) => self.tracks.iter().position(|track| track.mid.as_bytes() == mid)?,
            None => {
                let mut with = self.tracks.iter().enumerate().filter(|(_, track)| carries(track));
                let (only, track) = with.next()?;
                // With an SSRC of its own already the m-line is taken.
                let taken = rid.is_none() && repaired_rid.is_none() && track.layers.iter().any(|l| l.ssrc.is_some());
                let repair = track.payload_types[payload_type] & REPAIR != 0;
                if with.next().is_some() || (taken && !repair) {
                    return None;
                }
                only
            }
        };
        let entry = self.tracks[track].payload_types[payload_type];
        if entry == NO_CODEC {
            return None;
        }
        let repair = entry & REPAIR != 0;
        let named = if repair { repaired_rid.or(rid) } else { rid };
        let layers = &self.tracks[track].layers;
        let layer = match named {
            Some(rid) => layers.iter().position(|layer| layer.rid.as_deref().is_some_and(|r| r.as_bytes() == rid))?,
            None if layers.len() == 1 && layers[0].rid.is_none() => 0,
            None => return None,
        };
        let carrier = self.tracks.get_mut(track)?.layers.get_mut(layer)?;
        if !carrier.may_restart(now, repair) {
            return None;
        }
        self.latch(header.ssrc, track, layer, repair)
    }

    /// Takes a sender report of one of this participant's streams.
    pub(crate) fn on_sender_report(&mut self, now: Instant, ssrc: u32, info: &SenderInfo) {
        let Some((layer, repair)) = self.layer_of(ssrc) else { return };
        if repair {
            layer.repair_reception.on_sender_report(now, info.ntp_time);
            return;
        }
        layer.reception.on_sender_report(now, info.ntp_time);
        layer.clock.on_sender_report(now, info.ntp_time, info.rtp_time);
    }

    /// Notices tracks and layers that have fallen silent.
    pub(crate) fn check_live(&mut self, now: Instant) {
        let mut any = false;
        for track in &mut self.tracks {
            for layer in &mut track.layers {
                any |= layer.check_live(now);
            }
            let patience = if track.source.kind() == MediaKind::Audio { AUDIO_DEAD } else { VIDEO_DEAD };
            let silent = track.last_packet().is_none_or(|at| now.saturating_duration_since(at) > patience);
            if track.live && (silent || track.muted) {
                track.live = false;
                any = true;
            }
        }
        self.changed |= any;
    }
}

fn payload_types(codecs: &[Codec]) -> [u8; 128] {
    let mut table = [NO_CODEC; 128];
    for (at, codec) in codecs.iter().enumerate().take(usize::from(REPAIR) - 1) {
        if let Some(entry) = table.get_mut(usize::from(codec.payload_type)) {
            *entry = at as u8;
        }
        if let Some(entry) = codec.rtx_payload_type.and_then(|repair| table.get_mut(usize::from(repair))) {
            *entry = at as u8 | REPAIR;
        }
    }
    table
}

fn extension_ids(lines: &[Line]) -> ExtensionIds {
    let mut ids = ExtensionIds::default();
    for line in lines.iter().filter(|line| line.publish.is_some() && line.rejected.is_none()) {
        for id in 1..=u8::MAX {
            let place = match line.extensions.extension(id) {
                Some(Extension::Mid) => &mut ids.mid,
                Some(Extension::Rid) => &mut ids.rid,
                Some(Extension::RepairedRid) => &mut ids.repaired_rid,
                Some(Extension::TransportCc) => &mut ids.transport_cc,
                Some(Extension::AudioLevel) => &mut ids.audio_level,
                Some(Extension::DependencyDescriptor) => &mut ids.dependency,
                _ => continue,
            };
            if *place == 0 {
                *place = id;
            }
        }
    }
    ids
}
