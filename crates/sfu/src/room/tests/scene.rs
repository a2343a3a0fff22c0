//! What the room's tests share: people with m-lines, a room on virtual time, packets collected instead of sealed.

use std::time::{Duration, Instant};

use ringback_transport::rtcp::{RtcpPacket, RtcpWriter, parse_compound};
use ringback_transport::rtp::{RtpHeader, RtpHeaderWriter};
use ringback_transport::sdp::{
    Codec, CodecName, DeclaredSsrc, Extension, ExtensionMap, FeedbackSet, Line, MediaKind, PublishLine, SlotLine,
};

pub(super) use super::super::*;
use crate::events::SlotMapping;
use crate::forward::PacketSink;

pub(super) const MS: Duration = Duration::from_millis(1);
pub(super) const OPUS: u8 = 111;
pub(super) const VP8: u8 = 96;
pub(super) const RTX: u8 = 97;
pub(super) const MID: u8 = 4;
pub(super) const RID: u8 = 10;
pub(super) const LEVEL: u8 = 1;
pub(super) const TRANSPORT: u8 = 3;

#[derive(Default)]
pub(super) struct Collected {
    pub(super) rtp: Vec<(usize, Vec<u8>)>,
    pub(super) rtcp: Vec<(usize, Vec<u8>)>,
    /// To whom RTP left, and when.
    pub(super) left: Vec<(usize, Instant)>,
    now: Option<Instant>,
}

impl PacketSink for Collected {
    fn send_rtp(&mut self, to: usize, len: usize, write: impl FnOnce(&mut [u8])) -> bool {
        let mut packet = vec![0xEE; len];
        write(&mut packet);
        self.rtp.push((to, packet));
        self.left.extend(self.now.map(|now| (to, now)));
        true
    }

    fn send_rtcp(&mut self, to: usize, write: impl FnOnce(&mut [u8]) -> usize) {
        let mut packet = vec![0; 1180];
        let len = write(&mut packet);
        packet.truncate(len);
        self.rtcp.push((to, packet));
    }
}

impl Collected {
    /// The packets for one member since the last look, as header and payload.
    pub(super) fn take(&mut self, to: usize) -> Vec<(RtpHeader, Vec<u8>)> {
        let (theirs, rest) = std::mem::take(&mut self.rtp).into_iter().partition(|(member, _)| *member == to);
        self.rtp = rest;
        let theirs: Vec<(usize, Vec<u8>)> = theirs;
        theirs
            .into_iter()
            .map(|(_, packet)| {
                let header = RtpHeader::parse(&packet).unwrap();
                (header, header.payload(&packet).to_vec())
            })
            .collect()
    }

    /// SSRCs for which a member was asked for keyframes since the last look.
    pub(super) fn take_plis(&mut self, to: usize) -> Vec<u32> {
        let packets: Vec<_> = std::mem::take(&mut self.rtcp);
        let theirs = packets.iter().filter(|(member, _)| *member == to);
        theirs
            .flat_map(|(_, packet)| parse_compound(packet).flatten().collect::<Vec<_>>())
            .filter_map(|packet| match packet {
                RtcpPacket::Pli { media_ssrc, .. } => Some(media_ssrc),
                _ => None,
            })
            .collect()
    }
}

pub(super) fn codec(name: CodecName, payload_type: u8, rtx: Option<u8>) -> Codec {
    let video = name.kind() == MediaKind::Video;
    Codec {
        name,
        payload_type,
        rtx_payload_type: rtx,
        clock_rate: name.clock_rate(),
        fmtp: String::new(),
        feedback: FeedbackSet { nack: video, pli: video, fir: video, transport_cc: true, remb: video },
    }
}

pub(super) fn extensions() -> ExtensionMap {
    let mut map = ExtensionMap::default();
    map.insert(Extension::AudioLevel, LEVEL, true, true);
    map.insert(Extension::TransportCc, TRANSPORT, true, true);
    map.insert(Extension::Mid, MID, true, true);
    map.insert(Extension::Rid, RID, true, false);
    map
}

pub(super) fn line(mid: &str, kind: MediaKind) -> Line {
    let codecs = match kind {
        MediaKind::Audio => vec![codec(CodecName::Opus, OPUS, None)],
        MediaKind::Video => vec![codec(CodecName::Vp8, VP8, Some(RTX))],
    };
    Line { mid: mid.into(), kind, codecs, extensions: extensions(), publish: None, slot: None, rejected: None }
}

/// A participant's m-lines: microphone (SSRC 10) and camera (20, RTX 21), and so many slot pairs with SSRCs from 1000.
pub(super) fn lines(pairs: usize) -> Vec<Line> {
    let publish = |ssrc, rtx| PublishLine { ssrcs: vec![DeclaredSsrc { ssrc, rtx }], ..PublishLine::default() };
    let mut lines = vec![
        Line { publish: Some(publish(10, None)), ..line("mic", MediaKind::Audio) },
        Line { publish: Some(publish(20, Some(21))), ..line("cam", MediaKind::Video) },
    ];
    for k in 0..pairs {
        for (kind, name) in [(MediaKind::Audio, "a"), (MediaKind::Video, "v")] {
            let ssrc = 1000 + 10 * k as u32 + u32::from(kind == MediaKind::Video);
            let rtx_ssrc = (kind == MediaKind::Video).then_some(ssrc + 5);
            let slot = SlotLine { pair: Some(k), ssrc, rtx_ssrc, cname: format!("slot{k}") };
            lines.push(Line { slot: Some(slot), ..line(&format!("{name}{k}"), kind) });
        }
    }
    lines
}

pub(super) fn claims() -> Vec<TrackClaim> {
    [("mic", Source::Microphone), ("cam", Source::Camera)]
        .map(|(mid, source)| TrackClaim { mid: mid.into(), source, muted: false })
        .to_vec()
}

pub(super) struct Scene {
    pub(super) room: Room,
    pub(super) now: Instant,
    pub(super) sink: Collected,
    pub(super) keys: Vec<usize>,
}

impl Scene {
    /// A room of so many connected participants, numbered from 1, each with so many slot pairs.
    pub(super) fn new(people: u64, pairs: usize) -> Self {
        let now = Instant::now();
        let room = Room::new(RoomId(1), RoomConfig::default(), now);
        let mut scene = Self { room, now, sink: Collected::default(), keys: Vec::new() };
        for id in 1..=people {
            scene.join(id, &lines(pairs));
        }
        scene
    }

    pub(super) fn join(&mut self, id: u64, lines: &[Line]) -> usize {
        let (key, _) = self.room.join(self.now, ParticipantId(id), lines, &claims()).unwrap();
        self.room.set_connected(key, true);
        self.room.settle(self.now, &mut self.sink);
        self.keys.push(key);
        key
    }

    pub(super) fn send(&mut self, from: usize, packet: &[u8]) {
        self.sink.now = Some(self.now);
        self.room.handle_rtp(self.now, from, packet, &mut self.sink);
        self.room.settle(self.now, &mut self.sink);
    }

    pub(super) fn control(&mut self, from: usize, write: impl FnOnce(&mut RtcpWriter<'_>)) {
        let mut buf = [0; 1000];
        let mut writer = RtcpWriter::new(&mut buf);
        write(&mut writer);
        let len = writer.finish();
        self.room.handle_rtcp(self.now, from, &buf[..len], &mut self.sink);
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.room.poll_timeout() <= end {
            self.now = self.now.max(self.room.poll_timeout());
            self.sink.now = Some(self.now);
            self.room.handle_timeout(self.now, &mut self.sink);
        }
        self.now = end;
    }

    pub(super) fn events(&mut self) -> Vec<SfuEvent> {
        std::iter::from_fn(|| self.room.poll_event()).collect()
    }

    /// The last mapping of a slot that a member was told since the last look.
    pub(super) fn mapping(&mut self, of: u64, mid: &str) -> Option<SlotMapping> {
        let slots = self.events().into_iter().filter_map(|event| match event {
            SfuEvent::Slots { participant, slots, .. } if participant == ParticipantId(of) => Some(slots),
            _ => None,
        });
        slots.flatten().filter(|mapping| mapping.mid == mid).last()
    }
}

pub(super) fn rtp(
    ssrc: u32,
    payload_type: u8,
    sequence: u16,
    timestamp: u32,
    extensions: &[(u8, &[u8])],
    payload: &[u8],
) -> Vec<u8> {
    let header = RtpHeaderWriter { marker: true, payload_type, sequence, timestamp, ssrc };
    let mut packet = vec![0; 200 + payload.len()];
    let len = header.write(&mut packet, extensions).unwrap();
    packet[len..len + payload.len()].copy_from_slice(payload);
    packet.truncate(len + payload.len());
    packet
}

pub(super) fn voice(sequence: u16, level: u8) -> Vec<u8> {
    rtp(10, OPUS, sequence, u32::from(sequence) * 960, &[(LEVEL, &[level])], b"opus")
}

pub(super) fn vp8_payload(picture: u16, key: bool) -> Vec<u8> {
    let [high, low] = (picture | 0x8000).to_be_bytes();
    let mut payload = vec![0x90, 0x80, high, low];
    // A frame tag, and for a keyframe the start code and 640 × 360.
    payload.extend_from_slice(if key { &[0x10, 0, 0, 0x9D, 1, 0x2A, 0x80, 2, 0x68, 1] } else { &[0x11, 0, 0] });
    payload.push(picture as u8);
    payload
}

pub(super) fn face(sequence: u16, key: bool) -> Vec<u8> {
    rtp(20, VP8, sequence, u32::from(sequence) * 3000, &[], &vp8_payload(sequence, key))
}
