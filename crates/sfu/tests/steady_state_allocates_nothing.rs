//! After a while of media with loss, reordering and NACKs, no further packet allocates.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use ringback_sfu::ParticipantId;
use ringback_sfu::congestion::Estimator;
use ringback_sfu::counters::Counters;
use ringback_sfu::feedback::{ReceptionStatistics, TransportFeedbackRecorder};
use ringback_sfu::keyframe::KeyframeLimiter;
use ringback_sfu::layers::{LayerState, choose};
use ringback_sfu::nack::{MAX_PER_ROUND, NackGenerator};
use ringback_sfu::pacer::Pacer;
use ringback_sfu::retransmission::{PacketStore, RtxSequencer, SentLog, SentPacket, restore_rtx};
use ringback_sfu::rewrite::{MediaClock, Rewriter, Rewritten};
use ringback_sfu::sender_report::{SlotReporter, SourceClock};
use ringback_sfu::speaking::VoiceLight;
use ringback_sfu::stage::{Detector, Preset, StageDetector};
use ringback_sfu::vp8::{Vp8Descriptor, Vp8Rewriter};

const SOURCES: [u32; 2] = [0xA, 0xB];
const ROUND_TRIP: Duration = Duration::from_millis(40);

/// One publisher with two layers, and one subscriber with one slot.
struct MediaPath {
    now: Instant,
    number: u64,
    stores: [PacketStore; 2],
    statistics: [ReceptionStatistics; 2],
    nacks: [NackGenerator; 2],
    arrivals: TransportFeedbackRecorder,
    keyframes: KeyframeLimiter,
    rewriter: Rewriter,
    vp8: Vp8Rewriter,
    log: SentLog,
    rtx: RtxSequencer,
    clock: SourceClock,
    reporter: SlotReporter,
    light: VoiceLight,
    stage: Detector,
    /// What has been done, so that the test cannot pass by doing nothing.
    forwarded: u32,
    left_out: u32,
    resent: u32,
    asked: u32,
    feedbacks: u32,
}

impl MediaPath {
    fn new() -> Self {
        let now = Instant::now();
        let mut stage = Detector::new(Preset::Balanced);
        for id in 0..4 {
            stage.join(now, ParticipantId(id), false);
        }
        Self {
            now,
            number: 65_000,
            stores: Default::default(),
            statistics: [ReceptionStatistics::new(MediaClock::VIDEO), ReceptionStatistics::new(MediaClock::VIDEO)],
            nacks: Default::default(),
            arrivals: TransportFeedbackRecorder::new(),
            keyframes: KeyframeLimiter::new(),
            rewriter: Rewriter::new(MediaClock::VIDEO, 1, 1),
            vp8: Vp8Rewriter::new(),
            log: SentLog::new(SentLog::VIDEO_CAPACITY),
            rtx: RtxSequencer::new(7),
            clock: SourceClock::new(),
            reporter: SlotReporter::new(),
            light: VoiceLight::new(),
            stage,
            forwarded: 0,
            left_out: 0,
            resent: 0,
            asked: 0,
            feedbacks: 0,
        }
    }

    fn run(&mut self, packets: u64) {
        for _ in 0..packets {
            self.number += 1;
            self.now += Duration::from_millis(4);
            if self.number.is_multiple_of(13) {
                continue;
            }
            // Every so often two packets are swapped.
            let number = if self.number % 50 == 1 { self.number - 2 } else { self.number };
            for layer in 0..2 {
                self.packet(layer, number);
            }
            self.other_work();
        }
    }

    fn packet(&mut self, layer: usize, number: u64) {
        let (now, sequence) = (self.now, number as u16);
        let timestamp = (number / 4 * 3_000) as u32;
        let frame = (number / 4) as u16 | 0x8000;
        let mut payload = [0_u8; 1_100];
        payload[..7].copy_from_slice(&[0x90, 0xE0, (frame >> 8) as u8, frame as u8, 1, 0, 1]);
        payload[6] = u8::from(!(number / 4).is_multiple_of(100));

        self.statistics[layer].on_packet(now, sequence, timestamp);
        self.nacks[layer].on_packet(now, sequence);
        self.arrivals.on_packet(now, (number * 2) as u16 + layer as u16);
        self.stores[layer].insert(now, sequence, timestamp, false, &payload);

        let source = SOURCES[layer];
        let descriptor = Vp8Descriptor::parse(&payload).unwrap();
        if descriptor.starts_keyframe {
            self.keyframes.on_keyframe(640, 360);
            if self.rewriter.source() != Some(source) && layer as u64 == number / 400 % 2 {
                self.rewriter.switch(now, source, sequence, timestamp);
                self.vp8.switch();
            }
        }
        if number / 4 % 2 == 1 && layer == 0 {
            self.rewriter.skip(source, sequence);
            if self.rewriter.source() == Some(source) {
                self.vp8.skip(&descriptor);
                self.left_out += 1;
            }
            return;
        }
        let Rewritten::Forward { sequence: outgoing, timestamp } =
            self.rewriter.rewrite(now, source, sequence, timestamp)
        else {
            return;
        };
        let Some(fields) = self.vp8.rewrite(&descriptor) else { return };
        fields.write_into(&descriptor, &mut payload).unwrap();
        self.log.record(
            now,
            SentPacket {
                sequence: outgoing,
                timestamp,
                source,
                source_sequence: sequence,
                counters: Counters::Vp8(fields),
                len: payload.len() as u16,
                ..SentPacket::default()
            },
        );
        self.reporter.on_packet(payload.len());
        self.forwarded += 1;

        if number.is_multiple_of(11)
            && let Ok(sent) = self.log.resend(now, ROUND_TRIP, outgoing.wrapping_sub(3))
            && let Some(stored) = self.stores[usize::from(sent.source != SOURCES[0])].get(sent.source_sequence)
        {
            let mut again = [0; 1_200];
            let len = RtxSequencer::write(sent.sequence, stored.payload, &mut again).unwrap();
            self.rtx.next_sequence();
            assert_eq!(restore_rtx(&again[..len]).unwrap().0, sent.sequence);
            self.resent += 1;
        }
    }

    fn other_work(&mut self) {
        let now = self.now;
        let mut requests = [0; MAX_PER_ROUND];
        for nacks in &mut self.nacks {
            self.asked += nacks.due(now, ROUND_TRIP, &mut requests) as u32;
        }
        while self.arrivals.poll(now).is_some() {
            self.feedbacks += 1;
        }
        if self.number.is_multiple_of(250) {
            self.clock.on_sender_report(now, self.number << 32, self.number as u32);
            self.reporter.report(now, &self.clock, &self.rewriter);
            for statistics in &mut self.statistics {
                statistics.report(now);
            }
        }
        let _ = self.keyframes.request(now);
        let _ = self.keyframes.handle_timeout(now);
        let layer = |side: u16| LayerState { width: side, height: side, bitrate: u64::from(side) * 1_000, live: true };
        let _ = choose(&[layer(180), layer(360), layer(720)], (self.number as u16 % 1_000, 400), 500_000, Some(1));
        let level = if (self.number / 500).is_multiple_of(2) { 20 } else { 80 };
        self.light.on_level(now, level, true);
        self.stage.on_level(now, ParticipantId(self.number / 700 % 4), self.number as u32 * 960, level, true);
        self.stage.handle_timeout(now);
    }
}

#[test]
fn no_packet_allocates_once_media_flows() {
    let mut path = MediaPath::new();
    path.run(5_000);
    path.forwarded = 0;
    path.left_out = 0;
    let allocations = allocation_counter::measure(|| path.run(50_000));
    assert_eq!(allocations.count_total, 0, "{allocations:?}");
    assert!(path.forwarded > 20_000, "{}", path.forwarded);
    assert!(path.left_out > 500, "{}", path.left_out);
    assert!(path.resent > 500, "{}", path.resent);
    assert!(path.asked > 1_000, "{}", path.asked);
    assert!(path.feedbacks > 1_000, "{}", path.feedbacks);
}

#[test]
fn what_never_carries_media_costs_nothing_but_itself() {
    let allocations = allocation_counter::measure(|| {
        drop((
            PacketStore::new(),
            SentLog::new(SentLog::VIDEO_CAPACITY),
            Rewriter::new(MediaClock::VIDEO, 1, 1),
            Vp8Rewriter::new(),
            NackGenerator::new(),
            TransportFeedbackRecorder::new(),
            ReceptionStatistics::new(MediaClock::VIDEO),
            VoiceLight::new(),
            SlotReporter::new(),
        ));
    });
    assert_eq!(allocations.count_total, 0, "{allocations:?}");
}

/// A subscriber who is sent more than their network takes at first, then a third of it, with feedback, probes and a pacer that holds packets.
struct Network {
    now: Instant,
    sequence: u16,
    free_at: Instant,
    arrivals: Vec<(u16, Option<i64>)>,
    estimator: Estimator,
    pacer: Pacer,
    origin: Instant,
    held: u32,
    padding: u32,
}

impl Network {
    fn new() -> Self {
        let origin = Instant::now();
        let mut estimator = Estimator::new(origin);
        estimator.set_desired(5_000_000);
        let (arrivals, pacer) = (Vec::with_capacity(512), Pacer::new());
        Self { now: origin, sequence: 0, free_at: origin, arrivals, estimator, pacer, origin, held: 0, padding: 0 }
    }

    fn run(&mut self, milliseconds: u64) {
        for n in 0..milliseconds {
            self.now += Duration::from_millis(1);
            let now = self.now;
            if n.is_multiple_of(33) {
                let packets = if n / 4_000 % 2 == 0 { 8 } else { 2 };
                for _ in 0..packets {
                    if self.pacer.may_pass(now, 1_200, false) {
                        self.pacer.on_sent(now, 1_200);
                        self.leave(1_200);
                    } else if !self.pacer.is_full() && self.pacer.hold(0, 1_200, false, |packet| packet.fill(1)) {
                        self.held += 1;
                    }
                }
            }
            while let Some(len) = self.pacer.release(now, |_, packet| packet.len()) {
                self.leave(len);
            }
            while self.estimator.padding(now) >= 240 {
                self.padding += 1;
                self.leave(240);
            }
            if n.is_multiple_of(60) {
                self.estimator.on_feedback(now, self.arrivals.drain(..));
                self.pacer.set_budget(self.estimator.budget());
            }
            self.estimator.handle_timeout(now);
        }
    }

    /// A packet enters a link of 1.5 Mbit/s that loses one in fifty.
    fn leave(&mut self, bytes: usize) {
        self.estimator.on_sent(self.now, self.sequence, bytes);
        self.free_at = self.free_at.max(self.now) + Duration::from_micros(bytes as u64 * 8 * 2 / 3);
        let arrival = ((self.free_at - self.origin).as_micros() / 250) as i64;
        let is_lost = self.sequence.is_multiple_of(50);
        if self.arrivals.len() < self.arrivals.capacity() {
            self.arrivals.push((self.sequence, (!is_lost).then_some(arrival)));
        }
        self.sequence = self.sequence.wrapping_add(1);
    }
}

#[test]
fn congestion_control_allocates_nothing_once_media_flows() {
    let mut network = Network::new();
    network.run(30_000);
    (network.held, network.padding) = (0, 0);
    let allocations = allocation_counter::measure(|| network.run(60_000));
    assert_eq!(allocations.count_total, 0, "{allocations:?}");
    assert!(network.held > 100, "{}", network.held);
    assert!(network.padding > 100, "{}", network.padding);
    assert!(network.estimator.estimate().is_some_and(|estimate| (700_000..2_000_000).contains(&estimate)));
}
