//! What is due after some time: reports to publishers and subscribers, voices that fell silent, tracks and layers that ceased,
//! keyframes that nobody answered.

use std::time::{Duration, Instant};

use ringback_transport::rtcp::{RtcpWriter, SenderInfo};

use super::flows::layer_mut;
use super::media::write_keyframe_request;
use super::{IDLE_AFTER, IDLE_TICK, QUIET_AFTER, QUIET_TICK, Room, TICK};
use crate::forward::{LayerKey, PacketSink};

/// Time between the sender reports of a slot.
const SENDER_REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Two looks are at least this far apart, whatever seems due.
const LEAST_TICK: Duration = Duration::from_millis(1);

/// Two looks for what is missing are at least this far apart: one message then asks for the losses of a burst.
const REQUESTS_APART: Duration = Duration::from_millis(5);

/// Layers are chosen anew each so many ticks, since their bitrates change.
const LAYER_TICKS: u64 = 25;

/// Whoever watches the stage is told so often: as fast as an eye follows a curve.
const READING_TICKS: u64 = 5;

impl Room {
    /// Does what is due.
    pub(crate) fn handle_timeout<S: PacketSink>(&mut self, now: Instant, sink: &mut S) {
        self.pace(now, sink);
        self.request_missing(now, sink);
        self.settle_in_time(now, sink);
        if now < self.next_tick {
            return;
        }
        self.ticks += 1;
        for (_, publisher) in &mut self.publishers {
            publisher.check_live(now);
            self.changed |= publisher.changed;
        }
        self.tick_voices(now);
        for (_, subscriber) in &mut self.subscribers {
            self.changed |= subscriber.handle_timeout(now);
        }
        if !self.is_quiet(now) {
            self.exchange(now, sink);
        }
        if self.ticks.is_multiple_of(READING_TICKS) {
            self.tell_readings(now);
        }
        self.tell_quality(now);
        self.settle_in_time(now, sink);
        let feedback = self.feedback_due();
        let tick = now + self.tick(now);
        // What was due just now may be due again for a later message.
        self.next_tick = feedback.map_or(tick, |due| due.clamp(now + LEAST_TICK, tick));
    }

    /// Asks publishers for what is missing, as soon as that is known: each millisecond of it is one in which a picture may stand still.
    fn request_missing<S: PacketSink>(&mut self, now: Instant, sink: &mut S) {
        if self.next_request.is_none_or(|at| at > now) {
            return;
        }
        let mut next: Option<Instant> = None;
        for (member, publisher) in &mut self.publishers {
            publisher.report_missing(now, member, sink);
            let due = publisher.missing_due();
            next = [next, due].into_iter().flatten().min();
        }
        // What is missed meanwhile goes with it.
        self.next_request = next.map(|at| at.max(now + REQUESTS_APART));
    }

    /// What is exchanged with members beside media, while there is some.
    fn exchange<S: PacketSink>(&mut self, now: Instant, sink: &mut S) {
        for (member, publisher) in &mut self.publishers {
            publisher.report(now, member, sink);
        }
        self.tick_networks(now, sink);
        self.report_slots(now, sink);
        self.repeat_keyframe_requests(now, sink);
        self.tick_taps(now, sink);
        self.changed |= self.is_overspent(now);
        self.changed |= self.ticks.is_multiple_of(LAYER_TICKS) && (self.has_sizes() || self.has_limits());
    }

    /// Whether no media has come for so long that there is nothing to report, and nobody records or looks on.
    fn is_quiet(&self, now: Instant) -> bool {
        let since = self.last_media.unwrap_or(self.origin);
        let is_silent = now.saturating_duration_since(since) > QUIET_AFTER;
        // Probes are no media, but are reported too.
        is_silent && self.taps.is_empty() && self.watchers.is_empty() && self.feedback_due().is_none()
    }

    /// When the next publisher is to be told what has arrived.
    fn feedback_due(&self) -> Option<Instant> {
        self.publishers.iter().filter_map(|(_, publisher)| publisher.transport.as_ref()?.poll_timeout()).min()
    }

    /// How long until the next regular look.
    fn tick(&self, now: Instant) -> Duration {
        match self.last_media {
            Some(at) if now.saturating_duration_since(at) <= IDLE_AFTER => TICK,
            _ if self.is_quiet(now) => QUIET_TICK,
            _ => IDLE_TICK,
        }
    }

    /// Whether there is a choice of sizes of anything.
    fn has_sizes(&self) -> bool {
        let tracks = || self.publishers.iter().flat_map(|(_, publisher)| &publisher.tracks);
        tracks().any(|track| track.cuts().nth(1).is_some())
    }

    fn has_limits(&self) -> bool {
        self.subscribers.iter().any(|(_, subscriber)| subscriber.allocator.budget.is_limited())
    }

    /// Sender reports for what flows, translated to the slot's stream: at once after a switch, then each second.
    fn report_slots<S: PacketSink>(&mut self, now: Instant, sink: &mut S) {
        for (member, subscriber) in &mut self.subscribers {
            for slot in &mut subscriber.slots {
                let due = slot.reported.is_none_or(|at| now.saturating_duration_since(at) >= SENDER_REPORT_INTERVAL);
                let Some(flowing) = slot.flowing().filter(|_| due) else { continue };
                let Some(layer) = layer_mut(&mut self.publishers, flowing) else { continue };
                let Some(report) = slot.report(now, &layer.clock) else { continue };
                let info = SenderInfo {
                    ntp_time: report.ntp,
                    rtp_time: report.timestamp,
                    packet_count: report.packets,
                    octet_count: report.octets,
                };
                let (ssrc, cname) = (slot.ssrc, slot.cname.as_str());
                sink.send_rtcp(member, |buf| {
                    let mut writer = RtcpWriter::new(buf);
                    let written = writer.sender_report(ssrc, &info, &[]).and_then(|writer| writer.cname(ssrc, cname));
                    if written.is_err() { 0 } else { writer.finish() }
                });
            }
        }
    }

    fn repeat_keyframe_requests<S: PacketSink>(&mut self, now: Instant, sink: &mut S) {
        for (member, publisher) in &mut self.publishers {
            for (track_at, track) in publisher.tracks.iter_mut().enumerate().filter(|(_, track)| !track.muted) {
                let feedback = track.codecs.get(track.codec).map(|codec| codec.feedback).unwrap_or_default();
                for (layer_at, layer) in track.layers.iter_mut().enumerate() {
                    let Some(ssrc) = layer.ssrc.filter(|_| layer.is_wanted()) else { continue };
                    if layer.keyframe_due(now) {
                        let key = LayerKey { member: member as u32, track: track_at as u8, layer: layer_at as u8 };
                        write_keyframe_request(layer, key, ssrc, feedback.pli || !feedback.fir, sink);
                    }
                }
            }
        }
        if self.ticks.is_multiple_of(WAITING_TICKS) {
            self.request_keyframes(now, sink);
            self.show_stills(now, sink);
        }
    }
}

/// Slots that wait for a layer ask again each so many ticks, beside the limit that each layer has.
const WAITING_TICKS: u64 = 10;
