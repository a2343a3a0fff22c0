//! One slot: a receiving m-line that presents one continuous RTP stream, whatever flows behind it.

use std::time::{Duration, Instant};

use rand::Rng;
use ringback_transport::sdp::{Codec, CodecName, Line, MediaKind, SlotLine};

use crate::events::{SlotMapping, SlotReason};
use crate::forward::header::{Fields, HeaderTemplate};
use crate::forward::{LayerKey, Packet, PacketSink, codec};
use crate::ids::{ParticipantId, Source};
use crate::retransmission::{RtxSequencer, SentLog, SentPacket, StoredPacket};
use crate::rewrite::{MediaClock, Rewriter, Rewritten};
use crate::sender_report::{SlotReport, SlotReporter, SourceClock};
use crate::slots::Shown;
use crate::vp8::{Vp8Descriptor, Vp8Fields, Vp8Rewriter};

/// Codecs of one m-line that are told apart; the rest cannot be forwarded.
const MAX_CODECS: usize = 16;

/// The track a slot should carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Feed {
    pub(crate) member: u32,
    pub(crate) track: u8,
    pub(crate) participant: ParticipantId,
    pub(crate) source: Source,
}

/// How a publisher's codec is sent to this subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Carriage {
    /// Not at all.
    #[default]
    Not,
    /// Under this payload type.
    As(u8),
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
    rewriter: Rewriter,
    vp8: Vp8Rewriter,
    sent: SentLog,
    rtx: RtxSequencer,
    pub(crate) reporter: SlotReporter,
    /// When the last sender report went out.
    pub(crate) reported: Option<Instant>,
    /// Whether video was left out, for want of room on its way: it goes on at a keyframe.
    pub(crate) cut_off: bool,
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
            rewriter: Rewriter::new(clock, first_sequence, random.random()),
            vp8: Vp8Rewriter::new(),
            sent: SentLog::new(SentLog::VIDEO_CAPACITY),
            rtx: RtxSequencer::new(random.random::<u16>() >> 1),
            reporter: SlotReporter::new(),
            reported: None,
            cut_off: false,
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
        self.flowing == Some(from) && self.rewriter.source() == Some(ssrc)
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
        let own = |name| self.codecs.iter().find(|ours| ours.name == name);
        if let Some(ours) = self.codecs.iter().find(|ours| same_format(ours, theirs)) {
            return Carriage::As(ours.payload_type);
        }
        match own(CodecName::Opus) {
            Some(opus) if theirs.name == CodecName::Red => Carriage::PrimaryAs(opus.payload_type),
            _ => Carriage::Not,
        }
    }

    /// Sets what should flow: a track and the layer of it, or why none of it may. What flows now goes on until the switch, unless
    /// `stop` says that it must end at once.
    pub(crate) fn assign(
        &mut self,
        feed: Option<(Feed, &[Codec])>,
        wanted: Option<LayerKey>,
        held: Option<SlotReason>,
        stop: bool,
    ) {
        self.wanted_as = Carriages::default();
        if let Some((_, codecs)) = feed {
            for (at, codec) in codecs.iter().enumerate().take(MAX_CODECS) {
                self.wanted_as[at] = self.carriage(codec);
            }
        }
        self.feed = feed.map(|(feed, _)| feed);
        self.wanted = wanted;
        self.held = held;
        if self.flowing.is_some() && self.flowing == wanted {
            self.flowing_as = self.wanted_as;
        }
        if stop {
            self.flowing = None;
            self.rewriter.stop();
        }
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
        self.flowing_as = self.wanted_as;
        self.vp8.switch();
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
            Carriage::PrimaryAs(payload_type) => {
                codec::red_primary(packet.payload).map(|at| (payload_type, &packet.payload[at..]))
            }
        };
        let Some((payload_type, payload)) = carried.filter(|(_, payload)| !payload.is_empty()) else {
            self.rewriter.skip(packet.ssrc, packet.sequence);
            return false;
        };
        let fields = match &packet.vp8 {
            None => Some(Vp8Fields::default()),
            Some(descriptor) => self.vp8.rewrite(descriptor),
        };
        let Some(vp8_fields) = fields else {
            self.rewriter.skip(packet.ssrc, packet.sequence);
            return false;
        };
        let rewritten = self.rewriter.rewrite(now, packet.ssrc, packet.sequence, packet.timestamp);
        let Rewritten::Forward { sequence, timestamp } = rewritten else { return false };
        let header = &self.header;
        let header_len = header.len();
        let fields = Fields {
            marker: packet.marker,
            payload_type,
            sequence,
            timestamp,
            ssrc: self.ssrc,
            transport_sequence,
            send_time,
            level: packet.level,
        };
        let sent = sink.send_rtp(to, header_len + payload.len(), |buf| {
            header.write(buf, &fields);
            let Some(body) = buf.get_mut(header_len..header_len + payload.len()) else { return };
            body.copy_from_slice(payload);
            if let Some(descriptor) = &packet.vp8 {
                // The descriptor was read from this very payload.
                let _ = vp8_fields.write_into(descriptor, body);
            }
        });
        if !sent {
            return false;
        }
        self.reporter.on_packet(payload.len());
        if self.kind == MediaKind::Video && self.rtx_ssrc.is_some() {
            let record = SentPacket {
                sequence,
                timestamp,
                source: store_id,
                source_sequence: packet.sequence,
                vp8: packet.vp8.map(|_| vp8_fields),
                abs_send_time: send_time,
                transport_sequence,
                len: payload.len() as u16,
            };
            self.sent.record(now, record);
        }
        true
    }

    /// What was sent under this number, if it may be sent again.
    pub(crate) fn take_resend(&mut self, now: Instant, round_trip: Duration, sequence: u16) -> Option<SentPacket> {
        self.rtx_ssrc?;
        self.sent.resend(now, round_trip, sequence).ok()
    }

    /// Sends a packet again under the RTX SSRC (RFC 4588). A subscriber that has not negotiated RTX gets none: a packet under its
    /// old number must be the same to the last byte, and a keyframe does as well. Returns whether it went out.
    pub(crate) fn resend<S: PacketSink>(
        &mut self,
        sent: &SentPacket,
        stored: &StoredPacket<'_>,
        (transport_sequence, send_time): (u16, u32),
        to: usize,
        sink: &mut S,
    ) -> bool {
        let is_vp8 = sent.vp8.is_some();
        let codec = self.codecs.iter().find(|codec| !is_vp8 || codec.name == CodecName::Vp8);
        let payload_type = codec.and_then(|codec| codec.rtx_payload_type);
        let (Some(ssrc), Some(payload_type)) = (self.rtx_ssrc, payload_type) else { return false };
        let fields = Fields {
            marker: stored.marker,
            payload_type,
            sequence: self.rtx.next_sequence(),
            timestamp: sent.timestamp,
            ssrc,
            transport_sequence,
            send_time,
            level: None,
        };
        let (header, header_len) = (&self.header, self.header.len());
        sink.send_rtp(to, header_len + RtxSequencer::PREFIX + stored.payload.len(), |buf| {
            header.write(buf, &fields);
            let Some(body) = buf.get_mut(header_len..) else { return };
            if RtxSequencer::write(sent.sequence, stored.payload, body).is_none() {
                return;
            }
            let original = body.get_mut(RtxSequencer::PREFIX..).unwrap_or_default();
            if let (Some(fields), Ok(descriptor)) = (sent.vp8, Vp8Descriptor::parse(stored.payload)) {
                // The descriptor was read from this very payload.
                let _ = fields.write_into(&descriptor, original);
            }
        })
    }
}

/// How much of a screen a size covers.
pub(crate) fn area((width, height): (u32, u32)) -> u64 {
    u64::from(width) * u64::from(height)
}

/// Whether two m-lines mean the same bytes by a codec.
fn same_format(ours: &Codec, theirs: &Codec) -> bool {
    let same = |name: &str, default: &str| {
        let value = |codec: &Codec| codec.parameter(name).unwrap_or(default).to_ascii_lowercase();
        value(ours) == value(theirs)
    };
    ours.name == theirs.name
        && match ours.name {
            CodecName::Opus | CodecName::Vp8 | CodecName::Red => true,
            CodecName::Vp9 => same("profile-id", "0"),
            CodecName::Av1 => same("profile", "0"),
            CodecName::H264 => same("packetization-mode", "0") && same("profile-level-id", "42001f"),
        }
}
