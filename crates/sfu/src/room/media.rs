//! Packets in and through: RTP of a member to whoever receives it, RTCP of a member to whom it concerns.

use std::time::Instant;

use ringback_transport::rtcp::{RtcpPacket, RtcpWriter, parse_compound};
use slab::Slab;

use super::flows::layer_mut;
use super::{IDLE_AFTER, Room, TICK};
use crate::forward::{LayerKey, PacketSink, fan_out};
use crate::ids::{ParticipantId, Source};
use crate::nack::NackGenerator;
use crate::publisher::{Answers, Ignored, Publisher, Received, Source as PacketSource};
use crate::shard::{Relayed, RelayedPacket};

impl Room {
    /// Takes one authenticated, plain RTP packet of a member and forwards it.
    pub(crate) fn handle_rtp<S: PacketSink>(&mut self, now: Instant, key: usize, bytes: &[u8], sink: &mut S) {
        let Some(publisher) = self.publishers.get_mut(key) else { return };
        match publisher.receive(now, bytes) {
            Ok(received) => self.handle_received(now, key, &received, sink),
            Err(reason) => publisher.ignored += u64::from(reason != Ignored::Probe),
        }
    }

    /// Forwards a packet that its publisher has taken in.
    #[inline]
    pub(super) fn handle_received<S: PacketSink>(
        &mut self,
        now: Instant,
        key: usize,
        received: &Received<'_>,
        sink: &mut S,
    ) {
        let Some(publisher) = self.publishers.get_mut(key) else { return };
        // Whatever a publisher does, the room looks at it no more often than at everything else.
        let heeded = publisher.heeded.is_some_and(|at| now.saturating_duration_since(at) < TICK);
        if publisher.changed && !heeded {
            publisher.heeded = Some(now);
            self.changed = true;
        }
        if self.last_media.is_none_or(|at| now.saturating_duration_since(at) > IDLE_AFTER) {
            self.next_tick = self.next_tick.min(now + TICK);
        }
        self.last_media = Some(now);
        let Some(track) = publisher.tracks.get(received.track) else { return };
        let Some(member) = self.members.get_mut(key) else { return };
        if track.muted {
            return;
        }
        if !self.taps.is_empty() {
            super::taps::feed(&mut self.taps, now, key, track, received.layer, &received.packet);
        }
        if !member.admitted {
            return;
        }
        if self.spans && member.elsewhere.is_none() {
            relay(member.id, received, sink);
        }
        let is_voice = track.source == Source::Microphone;
        let opus = if is_voice { super::voices::opus_of(track, &received.packet) } else { None };
        let from_key = publisher.key(received.track, received.layer);
        let Some(layer) = layer_mut(&mut self.publishers, from_key) else { return };
        if !is_voice && layer.answers != Answers::Yes {
            layer.last_keyframe.take(now, &received.packet);
        }
        let missing = layer.missing.as_ref().and_then(NackGenerator::poll_timeout);
        self.next_request = [self.next_request, missing].into_iter().flatten().min();
        let from = PacketSource { key: from_key, store_id: layer.store_id, targets: &layer.targets };
        let held = fan_out(now, from, &received.packet, &mut self.subscribers, sink, &mut self.switched);
        self.next_pace = [self.next_pace, held].into_iter().flatten().min();
        self.tell_switched();
        if let Some(opus) = opus {
            self.on_voice(now, key, received.packet.timestamp, received.packet.level, opus);
        }
    }

    /// Takes one authenticated, plain compound RTCP packet of a member. What is malformed is left out; the rest counts.
    pub(crate) fn handle_rtcp<S: PacketSink>(&mut self, now: Instant, key: usize, bytes: &[u8], sink: &mut S) {
        for packet in parse_compound(bytes).flatten() {
            match packet {
                RtcpPacket::SenderReport(report) => {
                    if let Some(publisher) = self.publishers.get_mut(key) {
                        publisher.on_sender_report(now, report.ssrc, &report.info);
                    }
                    self.tap_report(now, key, report.ssrc, &report.info);
                    if let Some(member) = self.members.get(key).filter(|_| self.spans) {
                        let (participant, ssrc, info) = (member.id, report.ssrc, &report.info);
                        sink.relay(&Relayed::Report { participant, ssrc, ntp: info.ntp_time, rtp: info.rtp_time });
                    }
                    self.on_reports(now, key, report.reports());
                }
                RtcpPacket::ReceiverReport(report) => self.on_reports(now, key, report.reports()),
                RtcpPacket::Nack(nack) => {
                    for sequence in nack.sequences() {
                        self.resend(now, key, nack.media_ssrc, sequence, sink);
                    }
                }
                RtcpPacket::Pli { media_ssrc, .. } => self.on_keyframe_request(now, key, media_ssrc, sink),
                RtcpPacket::Fir(fir) => {
                    for entry in fir.entries() {
                        self.on_keyframe_request(now, key, entry.ssrc, sink);
                    }
                }
                RtcpPacket::Remb(remb) => self.on_network(now, key, |member| member.on_remb(now, remb.bitrate)),
                RtcpPacket::TransportFeedback(feedback) => {
                    self.on_network(now, key, |member| member.on_transport_feedback(now, &feedback));
                }
                _ => {}
            }
        }
    }

    /// A subscriber says how it receives; from that follows how far away it is.
    fn on_reports(
        &mut self,
        now: Instant,
        key: usize,
        reports: impl Iterator<Item = ringback_transport::rtcp::ReceptionReport>,
    ) {
        let mut most_lost = None;
        for report in reports {
            let Some(fraction_lost) = self.on_receipt(now, key, &report) else { continue };
            let Some(subscriber) = self.subscribers.get_mut(key) else { return };
            let Some(slot) = subscriber.slots.iter().position(|slot| slot.ssrc == report.ssrc) else { continue };
            subscriber.heed_loss(now, fraction_lost);
            most_lost = most_lost.max(Some(fraction_lost));
            let slot = subscriber.slots.get(slot);
            let (sent, delay) = (report.last_sender_report, report.delay_since_last_sender_report);
            let Some(round_trip) = slot.and_then(|slot| slot.reporter.round_trip(now, sent, delay)) else { continue };
            subscriber.round_trip = round_trip;
            if let Some(member) = self.members.get_mut(key) {
                member.meter.on_round_trip(round_trip);
            }
            if let Some(publisher) = self.publishers.get_mut(key) {
                publisher.reports.round_trip = round_trip;
            }
        }
        if let Some(fraction_lost) = most_lost {
            self.on_network(now, key, |member| member.on_loss(now, fraction_lost));
        }
    }

    /// A subscriber lost a picture.
    fn on_keyframe_request<S: PacketSink>(&mut self, now: Instant, key: usize, ssrc: u32, sink: &mut S) {
        let Some(subscriber) = self.subscribers.get(key) else { return };
        let slot = subscriber.slot_of(ssrc).and_then(|at| subscriber.slots.get(at));
        if let Some(layer) = slot.and_then(|slot| slot.flowing().or(slot.wanted())) {
            request_keyframe(&mut self.publishers, layer, now, sink);
        }
    }

    /// A subscriber asks for a packet again.
    fn resend<S: PacketSink>(&mut self, now: Instant, key: usize, ssrc: u32, sequence: u16, sink: &mut S) {
        if sink.is_congested(key) {
            return;
        }
        let Some(subscriber) = self.subscribers.get_mut(key) else { return };
        let Some(sent) = subscriber.take_resend(now, ssrc, sequence) else { return };
        let layers = || self.publishers.iter().flat_map(|(_, p)| &p.tracks).flat_map(|track| &track.layers);
        let Some(layer) = layers().find(|layer| layer.store_id == sent.source) else { return };
        let Some(stored) = layer.store.get(sent.source_sequence) else { return };
        subscriber.resend(now, key, ssrc, &sent, &stored, sink);
        self.next_pace = [self.next_pace, subscriber.held_until()].into_iter().flatten().min();
    }
}

/// Hands a packet to the other shards.
fn relay<S: PacketSink>(participant: ParticipantId, received: &Received<'_>, sink: &mut S) {
    let packet = &received.packet;
    sink.relay(&Relayed::Packet(RelayedPacket {
        participant,
        track: received.track as u8,
        layer: received.layer as u8,
        codec: packet.codec,
        ssrc: packet.ssrc,
        sequence: packet.sequence,
        timestamp: packet.timestamp,
        marker: packet.marker,
        level: packet.level,
        dependency: packet.dependency,
        payload: packet.payload,
    }));
}

/// Asks the publisher of a layer for a keyframe, unless it was asked just now.
pub(super) fn request_keyframe<S: PacketSink>(
    publishers: &mut Slab<Publisher>,
    key: LayerKey,
    now: Instant,
    sink: &mut S,
) {
    let Some(publisher) = publishers.get(key.member as usize) else { return };
    let Some(track) = publisher.tracks.get(usize::from(key.track)).filter(|track| !track.muted) else { return };
    let feedback = track.codecs.get(track.codec).map(|codec| codec.feedback).unwrap_or_default();
    let Some(layer) = layer_mut(publishers, key) else { return };
    // One that nobody wanted begins with a keyframe when it comes.
    let Some(ssrc) = layer.ssrc.filter(|_| layer.live || !layer.interest.may_come(now)) else { return };
    if !layer.keyframes.request(now) {
        return;
    }
    write_keyframe_request(layer, key, ssrc, feedback.pli || !feedback.fir, sink);
}

/// Writes a PLI, or where a publisher has not negotiated it, a FIR; of a publisher elsewhere their worker is asked.
pub(super) fn write_keyframe_request<S: PacketSink>(
    layer: &mut crate::publisher::Layer,
    key: LayerKey,
    ssrc: u32,
    pli: bool,
    sink: &mut S,
) {
    use crate::publisher::SERVER_SSRC;
    if sink.request_elsewhere(key) {
        return;
    }
    let sequence = layer.next_fir();
    sink.send_rtcp(key.member as usize, |buf| {
        let mut writer = RtcpWriter::new(buf);
        let written = (writer.receiver_report(SERVER_SSRC, &[])).and_then(|writer| {
            if pli {
                writer.pli(SERVER_SSRC, ssrc)
            } else {
                writer.fir(SERVER_SSRC, &[ringback_transport::rtcp::FirEntry { ssrc, sequence }])
            }
        });
        if written.is_err() { 0 } else { writer.finish() }
    });
}
