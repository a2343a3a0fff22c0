//! What a publisher is told about its streams: receiver reports on every SSRC, retransmissions included, arrival times of all its
//! packets or a fixed REMB where it cannot use those, what is missing, and again which keyframe is waited for.

use std::time::{Duration, Instant};

use ringback_transport::rtcp::{ReceptionReport, RtcpWriter, TransportFeedbackFields};

use super::{Publisher, SERVER_SSRC};
use crate::feedback::{self, RembEstimator};
use crate::forward::PacketSink;
use crate::ids::Source;
use crate::nack::MAX_PER_ROUND;
use crate::rewrite::MediaClock;

/// Time between receiver reports. Browsers estimate loss and round trip from them; RFC 3550 would allow 5 s, which is too slow to
/// follow a mobile network.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// The round trip to a publisher that has not reported yet.
const DEFAULT_ROUND_TRIP: Duration = Duration::from_millis(100);

/// Report blocks of one packet (RFC 3550, section 6.4.2: five bits).
const MAX_BLOCKS: usize = 31;

/// Feedback messages sent at one time; more would only come from a publisher that numbers its packets wildly.
const MAX_FEEDBACKS: usize = 4;

/// How the streams of a publisher came through.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Received {
    /// Packets, lost ones included.
    pub(crate) expected: u64,
    pub(crate) lost: u64,
    /// Of the voice. That of pictures says how their sender spreads their packets.
    pub(crate) jitter: Duration,
}

/// When which report is due.
#[derive(Debug)]
pub(crate) struct Reports {
    /// How long a packet takes there and back.
    pub(crate) round_trip: Duration,
    reported: Option<Instant>,
    /// What was received since this was taken last.
    pub(crate) received: Received,
    remb: RembEstimator,
}

impl Default for Reports {
    fn default() -> Self {
        Self {
            round_trip: DEFAULT_ROUND_TRIP,
            reported: None,
            received: Received::default(),
            remb: RembEstimator::new(RembEstimator::GENEROUS),
        }
    }
}

impl Publisher {
    /// Sends what is due to `member`, whose streams these are.
    pub(crate) fn report<S: PacketSink>(&mut self, now: Instant, member: usize, sink: &mut S) {
        if self.is_elsewhere {
            return;
        }
        self.report_arrivals(now, member, sink);
        let due = self.reports.reported.is_none_or(|at| now.saturating_duration_since(at) >= REPORT_INTERVAL);
        if due && !self.latched.is_empty() {
            self.reports.reported = Some(now);
            self.report_reception(now, member, sink);
        }
    }

    fn report_arrivals<S: PacketSink>(&mut self, now: Instant, member: usize, sink: &mut S) {
        let Some(media_ssrc) = self.latched.first().map(|latched| latched.ssrc) else { return };
        let Some(recorder) = &mut self.transport else { return };
        for _ in 0..MAX_FEEDBACKS {
            let Some(feedback) = recorder.poll(now) else { return };
            let fields = TransportFeedbackFields {
                sender_ssrc: SERVER_SSRC,
                media_ssrc,
                base_sequence: feedback.base_sequence,
                feedback_count: feedback.feedback_count,
            };
            let reference = i64::from(feedback.reference_time) * ringback_transport::rtcp::TICKS_PER_REFERENCE;
            let arrivals = feedback.deltas.iter().scan(reference, |previous, delta| {
                Some(delta.map(|delta| {
                    *previous += i64::from(delta);
                    *previous
                }))
            });
            sink.send_rtcp(member, |buf| {
                let mut writer = RtcpWriter::new(buf);
                if writer.transport_feedback(&fields, arrivals).is_err() { 0 } else { writer.finish() }
            });
        }
    }

    /// When [`report_missing`](Self::report_missing) has something to ask for.
    pub(crate) fn missing_due(&self) -> Option<Instant> {
        let layers = self.tracks.iter().flat_map(|track| &track.layers);
        layers.filter_map(|layer| layer.missing.as_ref()?.poll_timeout()).min()
    }

    /// Asks `member`, whose streams these are, for what is missing; who is elsewhere is asked there.
    pub(crate) fn report_missing<S: PacketSink>(&mut self, now: Instant, member: usize, sink: &mut S) {
        if self.is_elsewhere {
            return self.forget_missing(now);
        }
        let round_trip = self.reports.round_trip;
        for track in &mut self.tracks {
            let nack = track.codecs.get(track.codec).is_some_and(|codec| codec.feedback.nack);
            for layer in &mut track.layers {
                let Some(missing) = &mut layer.missing else { continue };
                let mut requests = [0; MAX_PER_ROUND];
                let count = missing.due(now, round_trip, &mut requests);
                // What nobody receives is not worth asking for again.
                let Some(ssrc) = layer.ssrc.filter(|_| count > 0 && nack && layer.is_wanted()) else { continue };
                sink.send_rtcp(member, |buf| {
                    let mut writer = RtcpWriter::new(buf);
                    let written = (writer.receiver_report(SERVER_SSRC, &[]))
                        .and_then(|writer| writer.nack(SERVER_SSRC, ssrc, requests[..count].iter().copied()));
                    if written.is_err() { 0 } else { writer.finish() }
                });
            }
        }
    }

    fn report_reception<S: PacketSink>(&mut self, now: Instant, member: usize, sink: &mut S) {
        let mut blocks = [ReceptionReport::default(); MAX_BLOCKS];
        let mut ssrcs = [0; MAX_BLOCKS];
        let (mut count, mut media) = (0, 0);
        let received = &mut self.reports.received;
        let layers =
            self.tracks.iter_mut().flat_map(|track| track.layers.iter_mut().map(|layer| (track.source, layer)));
        for (source, layer) in layers {
            let streams = [(layer.ssrc, &mut layer.reception), (layer.repair_ssrc, &mut layer.repair_reception)];
            for (at, (ssrc, statistics)) in streams.into_iter().enumerate() {
                let (Some(ssrc), Some(report)) = (ssrc, statistics.report(now)) else { continue };
                received.expected += report.expected;
                received.lost += report.lost;
                if source == Source::Microphone {
                    received.jitter = MediaClock::OPUS.duration(report.jitter);
                }
                let Some(block) = blocks.get_mut(count) else { break };
                *block = block_of(ssrc, &report);
                count += 1;
                if at == 0 {
                    ssrcs[media] = ssrc;
                    media += 1;
                }
            }
        }
        let remb_only = self.transport.is_none()
            && self.tracks.iter().any(|track| track.codecs.iter().any(|codec| codec.feedback.remb));
        let remb = self.reports.remb.poll(now).filter(|_| remb_only && media > 0);
        sink.send_rtcp(member, |buf| {
            let mut writer = RtcpWriter::new(buf);
            let written = writer
                .receiver_report(SERVER_SSRC, &blocks[..count])
                .and_then(|writer| writer.cname(SERVER_SSRC, "ringback"))
                .and_then(|writer| match remb {
                    Some(bitrate) => writer.remb(SERVER_SSRC, bitrate, &ssrcs[..media]),
                    None => Ok(writer),
                });
            if written.is_err() { 0 } else { writer.finish() }
        });
    }
}

fn block_of(ssrc: u32, report: &feedback::ReceptionReport) -> ReceptionReport {
    ReceptionReport {
        ssrc,
        fraction_lost: report.fraction_lost,
        cumulative_lost: report.cumulative_lost,
        highest_sequence: report.extended_highest_sequence,
        jitter: report.jitter,
        last_sender_report: report.last_sender_report,
        delay_since_last_sender_report: report.delay_since_sender_report,
    }
}
