//! One slot: a receiving m-line that presents one continuous RTP stream, whatever flows behind it.

mod receipt;
mod repair;

use std::time::Instant;

use rand::Rng;
use ringback_transport::rtp::RtpHeaderWriter;
use ringback_transport::sdp::{Codec, CodecName, Line, MediaKind, SlotLine};

use crate::counters::{CounterRewriter, Counters};
use crate::events::{SlotMapping, SlotReason};
use crate::forward::header::{Fields, HeaderTemplate};
use crate::forward::spatial::{SpatialGate, SpatialShare};
use crate::forward::temporal::{ALL, TemporalGate};
use crate::forward::{LayerKey, Packet, PacketSink, codec};
use crate::ids::{ParticipantId, Source};
use crate::levelling::Next;
use crate::retransmission::{RtxSequencer, SentLog, SentPacket};
use crate::rewrite::{MediaClock, Rewriter, Rewritten};
use crate::sender_report::{SlotReport, SlotReporter, SourceClock};
use crate::slots::Shown;
use receipt::{Receipt, Receipts};

/// Codecs of one m-line that are told apart; the rest cannot be forwarded.
const MAX_CODECS: usize = 16;

/// The longest value of a header extension (RFC 8285, section 4.3).
const MAX_EXTENSION: usize = 255;

/// The track a slot should carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Feed {
    pub(crate) member: u32,
    pub(crate) track: u8,
    pub(crate) participant: ParticipantId,
    pub(crate) source: Source,
}

/// What a slot should do.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Assignment<'a> {
    /// The track, and its codecs.
    pub(crate) feed: Option<(Feed, &'a [Codec])>,
    /// The layer to go over to.
    pub(crate) wanted: Option<LayerKey>,
    /// The highest temporal layer of it that is sent.
    pub(crate) temporal: u8,
    /// How many of its spatial layers are sent.
    pub(crate) spatial: SpatialShare,
    /// What flows is too much already: of it only the base until the switch.
    pub(crate) hurry: bool,
    /// Why nothing of the track may flow.
    pub(crate) held: Option<SlotReason>,
    /// What flows now must end at once.
    pub(crate) stop: bool,
}

/// How a publisher's codec is sent to this subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Carriage {
    /// Not at all.
    #[default]
    Not,
    /// Under this payload type.
    As(u8),
    /// RED where packets are lost, whose blocks of `theirs` become `ours`, and elsewhere its primary block only, as `ours`.
    RedAs { payload_type: u8, theirs: u8, ours: u8 },
    /// RED's primary block only, under this payload type.
    PrimaryAs(u8),
}

type Carriages = [Carriage; MAX_CODECS];

/// What the client was told last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Told {
    participant: Option<ParticipantId>,
    source: Option<Source>,
    flowing: bool,
    reason: Option<SlotReason>,
}

/// A receiving m-line.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) mid: String,
    pub(crate) kind: MediaKind,
    pub(crate) pair: Option<usize>,
    pub(crate) ssrc: u32,
    pub(crate) rtx_ssrc: Option<u32>,
    pub(crate) cname: String,
    /// The size it is shown at, in pixels, as the client says.
    pub(crate) view: (u32, u32),
    /// … and the size it is about to be shown at, before the client says so.
    pub(crate) expected: Option<(u32, u32)>,
    codecs: Vec<Codec>,
    header: HeaderTemplate,
    epoch: u32,
    told: Told,
    feed: Option<Feed>,
    /// Why nothing of `feed` may flow.
    held: Option<SlotReason>,
    wanted: Option<LayerKey>,
    wanted_as: Carriages,
    flowing: Option<LayerKey>,
    flowing_as: Carriages,
    /// Of what flows only a keyframe went out; the next one is waited for.
    still: bool,
    /// The highest temporal layer of what is wanted.
    temporal: u8,
    gate: TemporalGate,
    /// How many spatial layers of what is wanted.
    spatial: SpatialShare,
    spatial_gate: SpatialGate,
    rewriter: Rewriter,
    counters: CounterRewriter,
    sent: SentLog,
    rtx: RtxSequencer,
    pub(crate) reporter: SlotReporter,
    /// When the last sender report went out.
    pub(crate) reported: Option<Instant>,
    receipts: Receipts,
    /// Whether redundant audio goes out whole.
    pub(crate) is_redundant: bool,
    /// Whether video was left out, for want of room on its way: it goes on at a keyframe.
    pub(crate) cut_off: bool,
    /// The timestamp of the frame that came last, as it came, and whether it is a keyframe.
    frame: Option<(u32, bool)>,
    /// The outgoing timestamp of the last packet.
    last_timestamp: u32,
}

impl Slot {
    pub(crate) fn new(line: &Line, described: &SlotLine, view: (u32, u32)) -> Self {
        let clock = if line.kind == MediaKind::Audio { MediaClock::OPUS } else { MediaClock::VIDEO };
        let mut random = rand::rng();
        // Below 2^15, so that receivers that join late do not guess the rollover counter wrong (RFC 3711, section 3.3.1).
        let first_sequence = random.random::<u16>() >> 1;
        Self {
            mid: line.mid.clone(),
            kind: line.kind,
            pair: described.pair,
            ssrc: described.ssrc,
            rtx_ssrc: described.rtx_ssrc,
            cname: described.cname.clone(),
            view,
            expected: None,
            codecs: line.codecs.clone(),
            header: HeaderTemplate::new(&line.mid, &line.extensions),
            epoch: 0,
            told: Told::default(),
            feed: None,
            held: None,
            wanted: None,
            wanted_as: Carriages::default(),
            flowing: None,
            flowing_as: Carriages::default(),
            still: false,
            temporal: ALL,
            gate: TemporalGate::default(),
            spatial: SpatialShare::WHOLE,
            spatial_gate: SpatialGate::default(),
            rewriter: Rewriter::new(clock, first_sequence, random.random()),
            counters: CounterRewriter::default(),
            sent: SentLog::new(SentLog::VIDEO_CAPACITY),
            rtx: RtxSequencer::new(random.random::<u16>() >> 1),
            reporter: SlotReporter::new(),
            reported: None,
            receipts: Receipts::default(),
            is_redundant: false,
            cut_off: false,
            frame: None,
            last_timestamp: 0,
        }
    }

    /// Takes what a further offer says of this m-line.
    pub(crate) fn renegotiate(&mut self, line: &Line, described: &SlotLine) {
        self.pair = described.pair;
        self.rtx_ssrc = described.rtx_ssrc;
        self.cname.clone_from(&described.cname);
        self.codecs.clone_from(&line.codecs);
        self.header = HeaderTemplate::new(&line.mid, &line.extensions);
    }

    /// The size to choose a layer for.
    pub(crate) fn size(&self) -> (u32, u32) {
        self.expected.filter(|&expected| area(expected) > area(self.view)).unwrap_or(self.view)
    }

    /// Whether this is meant to flow.
    pub(crate) fn is_for(&self, (participant, source): Shown) -> bool {
        self.feed.is_some_and(|feed| feed.participant == participant && feed.source == source)
    }

    /// The layer that flows.
    #[inline]
    pub(crate) fn flowing(&self) -> Option<LayerKey> {
        self.flowing
    }

    /// Whether this stream of a layer flows: a layer may start over under another SSRC.
    #[inline]
    pub(crate) fn flows(&self, from: LayerKey, ssrc: u32) -> bool {
        self.flowing == Some(from) && !self.still && self.rewriter.source() == Some(ssrc)
    }

    /// Nothing but the keyframe that was just sent is to flow until the next.
    pub(crate) fn hold_still(&mut self) {
        self.still = true;
    }

    /// The layer that a keyframe is waited for of: to begin with it, or to go on with more of its spatial layers.
    pub(crate) fn awaited(&self) -> Option<LayerKey> {
        let waits = self.still || self.wanted != self.flowing || self.spatial_gate.awaits_keyframe();
        self.wanted.filter(|_| waits)
    }

    /// The spatial layer that a keyframe is waited for of, where that is all that is waited for.
    pub(crate) fn awaited_size(&self) -> Option<usize> {
        let grows = !self.still && self.wanted == self.flowing && self.spatial_gate.awaits_keyframe();
        grows.then_some(self.spatial_gate.wanted().highest.into())
    }

    /// The layer that should flow.
    pub(crate) fn wanted(&self) -> Option<LayerKey> {
        self.wanted
    }

    /// The sender report that is due, if there is anything to report. `source` is the clock of what flows.
    pub(crate) fn report(&mut self, now: Instant, source: &SourceClock) -> Option<SlotReport> {
        let report = self.reporter.report(now, source, &self.rewriter)?;
        self.reported = Some(now);
        Some(report)
    }

    /// The subscriber says what has arrived here up to an extended sequence number, and how many were lost in all; see [`Receipts::on_report`].
    pub(crate) fn on_receiver_report(&mut self, highest: u32, lost: i32) -> Option<Receipt> {
        self.receipts.on_report(highest, lost)
    }

    /// A member is gone.
    pub(crate) fn forget(&mut self, member: u32) {
        let theirs = |key: &LayerKey| key.member == member;
        if self.flowing.as_ref().is_some_and(theirs) {
            self.flowing = None;
            self.rewriter.stop();
        }
        self.wanted = self.wanted.filter(|key| !theirs(key));
        self.feed = self.feed.filter(|feed| feed.member != member);
    }

    /// Whether this subscriber can receive a codec.
    pub(crate) fn carries(&self, codec: &Codec) -> bool {
        self.carriage(codec) != Carriage::Not
    }

    fn carriage(&self, theirs: &Codec) -> Carriage {
        if let Some(ours) = self.codecs.iter().find(|ours| ours.takes(theirs)) {
            let payload_type = ours.payload_type;
            return match (theirs.block_payload_type(), ours.block_payload_type()) {
                (Some(theirs), Some(ours)) => Carriage::RedAs { payload_type, theirs, ours },
                _ => Carriage::As(payload_type),
            };
        }
        match self.codecs.iter().find(|ours| ours.name == CodecName::Opus) {
            Some(opus) if theirs.name == CodecName::Red => Carriage::PrimaryAs(opus.payload_type),
            _ => Carriage::Not,
        }
    }

    /// Sets what should flow. What flows now goes on until the switch, unless it must stop.
    pub(crate) fn assign(&mut self, assignment: Assignment<'_>) {
        let Assignment { feed, wanted, temporal, spatial, hurry, held, stop } = assignment;
        self.wanted_as = Carriages::default();
        if let Some((_, codecs)) = feed {
            for (at, codec) in codecs.iter().enumerate().take(MAX_CODECS) {
                self.wanted_as[at] = self.carriage(codec);
            }
        }
        self.feed = feed.map(|(feed, _)| feed);
        self.wanted = wanted;
        self.temporal = temporal;
        self.spatial = spatial;
        self.held = held;
        if self.flowing.is_some() && self.flowing == wanted {
            self.flowing_as = self.wanted_as;
            self.gate.set(temporal);
            self.spatial_gate.set(spatial);
        } else if hurry {
            self.gate.set(0);
            self.spatial_gate.set(SpatialShare::BASE);
        }
        if stop {
            self.flowing = None;
            self.rewriter.stop();
        }
    }

    /// The track that should flow.
    pub(crate) fn feed(&self) -> Option<Feed> {
        self.feed
    }

    /// Why nothing of it may.
    pub(crate) fn held(&self) -> Option<SlotReason> {
        self.held
    }

    /// The highest temporal layer of what is wanted.
    pub(crate) fn temporal(&self) -> u8 {
        self.temporal
    }

    /// How many spatial layers of what flows should pass.
    pub(crate) fn flowing_spatial(&self) -> SpatialShare {
        self.spatial_gate.wanted()
    }

    /// How many spatial layers of what is wanted.
    pub(crate) fn spatial(&self) -> SpatialShare {
        self.spatial
    }

    /// Whether what flows belongs to the track that should flow.
    fn on_feed(&self) -> bool {
        match (self.flowing, self.feed) {
            (Some(flowing), Some(feed)) => flowing.member == feed.member && flowing.track == feed.track,
            _ => false,
        }
    }

    /// What the client must be told, if that is not what it was told last. `timestamp` is the outgoing timestamp of the first packet
    /// after a switch. While an old track flows on until the new one has a keyframe, nothing is said: the old label is still right.
    pub(crate) fn mapping(&mut self, timestamp: Option<u32>) -> Option<SlotMapping> {
        let flowing = self.flowing.is_some();
        if flowing && !self.on_feed() {
            return None;
        }
        let told = Told {
            participant: self.feed.map(|feed| feed.participant),
            source: self.feed.map(|feed| feed.source),
            flowing,
            reason: match (flowing, self.feed, self.told.participant) {
                (true, ..) | (false, None, None) => None,
                (false, None, Some(_)) => Some(SlotReason::Left),
                (false, Some(_), _) => Some(self.held.unwrap_or(SlotReason::Waiting)),
            },
        };
        let emptied_already = self.told.participant.is_none() && told.participant.is_none();
        // A switch between layers of one track is nobody's business but the decoder's.
        if told == self.told || emptied_already || (flowing && timestamp.is_none()) {
            return None;
        }
        self.told = told;
        self.epoch = self.epoch.wrapping_add(1);
        Some(SlotMapping {
            mid: self.mid.clone(),
            participant: told.participant,
            source: told.source,
            epoch: self.epoch,
            rtp_timestamp: timestamp.filter(|_| flowing),
            reason: told.reason,
        })
    }

    /// Whether the slot goes over to another layer with this packet.
    #[inline]
    pub(crate) fn may_switch(&self, from: LayerKey, packet: &Packet<'_>) -> bool {
        let carried = self.wanted_as.get(usize::from(packet.codec)).is_some_and(|c| *c != Carriage::Not);
        self.wanted == Some(from) && packet.starts && carried
    }

    /// Takes note of the frame that a packet belongs to. Returns whether it begins with it, and whether it is a keyframe.
    #[inline]
    pub(crate) fn enter_frame(&mut self, packet: &Packet<'_>) -> (bool, bool) {
        match self.frame {
            Some((timestamp, is_key)) if timestamp == packet.timestamp && !packet.starts => (false, is_key),
            _ => {
                self.frame = Some((packet.timestamp, packet.starts));
                (true, packet.starts)
            }
        }
    }

    /// Whether its packets carry a transport-wide sequence number.
    #[inline]
    pub(crate) fn is_numbered(&self) -> bool {
        self.header.is_numbered()
    }

    /// Writes when a packet leaves into one that has waited.
    pub(crate) fn restamp(&self, packet: &mut [u8], (transport_sequence, send_time): (u16, u32)) {
        self.header.restamp(packet, transport_sequence, send_time);
    }

    /// Whether a track flows, whatever should.
    pub(crate) fn is_flowing(&self) -> bool {
        self.flowing.is_some()
    }

    /// Whether a packet is of a temporal layer that is left out.
    #[inline]
    pub(crate) fn leaves_out(&self, packet: &Packet<'_>) -> bool {
        self.gate.is_closed_to(packet.temporal)
    }

    /// Whether video is left out: there is no room on its way, or there was none and no decoder can go on here.
    #[inline]
    pub(crate) fn must_wait(&mut self, packet: &Packet<'_>, is_congested: bool) -> bool {
        let no_room = is_congested && self.kind == MediaKind::Video;
        self.cut_off |= no_room;
        no_room || (self.cut_off && !packet.starts)
    }

    /// Goes over to the layer of this packet; returns the packet's outgoing timestamp.
    pub(crate) fn switch(&mut self, now: Instant, from: LayerKey, packet: &Packet<'_>) -> u32 {
        self.flowing = Some(from);
        self.still = false;
        self.flowing_as = self.wanted_as;
        self.gate.set(self.temporal);
        self.spatial_gate = SpatialGate::new(self.spatial);
        self.counters.switch();
        self.reported = None;
        self.rewriter.switch(now, packet.ssrc, packet.sequence, packet.timestamp)
    }

    /// Sends one packet of the layer that flows. Returns whether it went out; if so, it used up the stamp.
    #[inline]
    pub(crate) fn forward<S: PacketSink>(
        &mut self,
        now: Instant,
        store_id: u32,
        packet: &Packet<'_>,
        (transport_sequence, send_time): (u16, u32),
        to: usize,
        sink: &mut S,
    ) -> bool {
        let carriage = self.flowing_as.get(usize::from(packet.codec)).copied().unwrap_or_default();
        let carried = match carriage {
            Carriage::Not => None,
            Carriage::As(payload_type) => Some((payload_type, packet.payload)),
            Carriage::RedAs { payload_type, .. } if self.is_redundant => Some((payload_type, packet.payload)),
            Carriage::PrimaryAs(payload_type) | Carriage::RedAs { ours: payload_type, .. } => {
                codec::red_primary(packet.payload).map(|at| (payload_type, &packet.payload[at..]))
            }
        };
        let Some((payload_type, payload)) = carried.filter(|(_, payload)| !payload.is_empty()) else {
            self.rewriter.skip(packet.ssrc, packet.sequence);
            return false;
        };
        let mut passes =
            self.gate.passes(packet.temporal, packet.starts) || self.counters.has_begun(&packet.descriptor);
        let mut marker = packet.marker;
        if let Some(spatial) = packet.spatial {
            let ends = self.spatial_gate.passes(spatial, packet.timestamp);
            passes &= ends.is_some();
            marker |= ends == Some(true);
        }
        if !passes {
            self.counters.leave_out(&packet.descriptor);
        }
        let counters = if passes { self.counters.rewrite(&packet.descriptor) } else { None };
        let Some(counters) = counters else {
            let hole = self.rewriter.skip(packet.ssrc, packet.sequence);
            let stamp = (transport_sequence, send_time);
            return hole.is_some_and(|hole| self.fill(hole, payload_type, packet.timestamp, stamp, to, sink));
        };
        let rewritten = self.rewriter.rewrite(now, packet.ssrc, packet.sequence, packet.timestamp);
        let Rewritten::Forward { sequence, timestamp } = rewritten else { return false };
        let mut room;
        let dependency = if packet.dependency.is_empty() {
            &[]
        } else {
            room = [0; MAX_EXTENSION];
            described(&mut room, packet.dependency, counters)
        };
        let header = &self.header;
        let header_len = header.len(dependency);
        let fields = Fields {
            marker,
            payload_type,
            sequence,
            timestamp,
            ssrc: self.ssrc,
            transport_sequence,
            send_time,
            level: packet.level,
            dependency,
        };
        let is_video = self.kind == MediaKind::Video;
        let len = header_len + payload.len();
        let next = match (is_video, marker) {
            (true, false) => Next::Piece,
            (true, true) => Next::Unknown,
            (false, _) => Next::Voice,
        };
        let padding = sink.padding(to, len, next);
        let write = |buf: &mut [u8]| {
            header.write(buf, &fields);
            if padding > 0 {
                let _ = RtpHeaderWriter::pad(buf, len, padding);
            }
            let Some(body) = buf.get_mut(header_len..len) else { return };
            body.copy_from_slice(payload);
            counters.write_into(&packet.descriptor, body);
            if let Carriage::RedAs { payload_type: red, theirs, ours } = carriage
                && payload_type == red
            {
                codec::retype_red(body, theirs, ours);
            }
        };
        let sent = match is_video {
            true => sink.send_rtp(to, len + padding, write),
            false => sink.send_voice(to, len + padding, write),
        };
        if !sent {
            return false;
        }
        self.reporter.on_packet(payload.len());
        self.receipts.on_sent(sequence);
        self.last_timestamp = timestamp;
        if is_video && self.rtx_ssrc.is_some() {
            let record = SentPacket {
                sequence,
                timestamp,
                source: store_id,
                source_sequence: packet.sequence,
                payload_type,
                marker,
                counters,
                abs_send_time: send_time,
                transport_sequence,
                len: payload.len() as u16,
            };
            self.sent.record(now, record);
        }
        true
    }

    /// Sends an empty packet under a number that nothing else will have, since what had it was left out after later ones had gone out:
    /// the receiver would ask for it again and again. Returns whether it went out.
    fn fill<S: PacketSink>(
        &mut self,
        sequence: u16,
        payload_type: u8,
        timestamp: u32,
        (transport_sequence, send_time): (u16, u32),
        to: usize,
        sink: &mut S,
    ) -> bool {
        let fields = Fields {
            marker: false,
            payload_type,
            sequence,
            timestamp: timestamp.wrapping_add(self.rewriter.timestamp_offset()),
            ssrc: self.ssrc,
            transport_sequence,
            send_time,
            level: None,
            dependency: &[],
        };
        let sent = sink.send_rtp(to, self.header.len(&[]), |buf| self.header.write(buf, &fields));
        if sent {
            self.receipts.on_sent(sequence);
        }
        sent
    }
}

/// How much of a screen a size covers.
pub(crate) fn area((width, height): (u32, u32)) -> u64 {
    u64::from(width) * u64::from(height)
}

/// A dependency descriptor with the slot's frame number, in `room`; empty where there is none.
fn described<'a>(room: &'a mut [u8; MAX_EXTENSION], dependency: &[u8], counters: Counters) -> &'a [u8] {
    let Some(value) = room.get_mut(..dependency.len()) else { return &[] };
    value.copy_from_slice(dependency);
    counters.write_into_dependency(value);
    value
}
