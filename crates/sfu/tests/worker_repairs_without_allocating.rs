//! A worker in steady state while things go wrong, from the receiving system call to the sending one: packets are lost on the way in and on the
//! way out and sent again, reports and transport-wide feedback come and go, a thin network is paced and gets fewer temporal layers, voices pause, and
//! slots go over to other tracks. None of it allocates per packet.
#![allow(clippy::unwrap_used)]

mod peer;

use std::collections::VecDeque;
use std::sync::mpsc::{self, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use allocation_counter::measure;
use peer::call::Call;
use peer::media::{CAMERA, CAMERA_RTX, MID, RTX, SEND_TIME, TRANSPORT, VP8, rtp};
use peer::{Arrived, Peer, Spec};
use ringback_sfu::feedback::TransportFeedbackRecorder;
use ringback_sfu::{SfuEvent, SlotMapping, Source};
use ringback_transport::rtcp::{
    ReceptionReport, RtcpPacket, RtcpWriter, SenderInfo, TICKS_PER_REFERENCE, TransportFeedbackFields, parse_compound,
};

const ROUND: Duration = Duration::from_millis(2);

/// What a room allocates in a second without regard to packets, at most: twice a second, and after each change, it decides anew who sits in which
/// slot, and tells of estimates and of voices that begin and end.
const LOOKS_OF_A_SECOND: u64 = 400;

/// What the participants do besides sending voices and faces.
#[derive(Debug, Clone, Copy)]
struct Habits {
    /// One in so many packets is lost on the way to the worker, and one in so many on the way to a subscriber.
    lost_in: u16,
    lost_out: u16,
    /// The rate of everybody's network, which their feedback shows; `None`: nothing waits there.
    rate: Option<u64>,
    /// Packets of a frame, and bytes of each of the lower and of the upper temporal layer.
    packets: u64,
    len: [usize; 2],
    /// Rounds from frame to frame.
    frame_rounds: u64,
    /// Rounds after which another participant speaks, and is silent in between for a fifth of it.
    turn: u64,
}

/// One participant's own work: the camera that answers requests, and the receiver that reports.
struct Part {
    frame: u16,
    base: u8,
    sequence: u16,
    rtx_sequence: u16,
    /// Whether the next frame is a keyframe.
    is_key: bool,
    /// What was sent lately, by sequence number.
    sent: VecDeque<(u16, Vec<u8>)>,
    recorder: TransportFeedbackRecorder,
    /// When the network has let everything through, and what it has not yet.
    free_at: Instant,
    on_the_way: VecDeque<(Instant, u16)>,
    /// The send time of the first packet, and when that came.
    first_left: Option<(u32, Instant)>,
    /// What the receiver asks for, since when, and when it asks again.
    missing: Vec<(u16, Instant)>,
    ask_at: Instant,
    /// The frame that arrives, and when its first packet did.
    arriving: Option<(u32, Instant)>,
    last_report: Option<(u32, Instant)>,
    seen: Seen,
}

/// What came to pass, so that the test cannot pass by nothing happening.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    nacked: u64,
    asked_again: u64,
    repaired: u64,
    reports: u64,
    feedbacks: u64,
    upper: u64,
    lower: u64,
    /// Packets that arrived more than 3 ms after the first one of their frame.
    spread: u64,
}

impl Part {
    fn new() -> Self {
        Self {
            frame: 0,
            base: 0,
            sequence: 0,
            rtx_sequence: 0,
            is_key: true,
            sent: VecDeque::new(),
            recorder: TransportFeedbackRecorder::new(),
            free_at: Instant::now(),
            on_the_way: VecDeque::new(),
            first_left: None,
            missing: Vec::new(),
            ask_at: Instant::now(),
            arriving: None,
            last_report: None,
            seen: Seen::default(),
        }
    }

    /// A frame of a camera with two temporal layers.
    fn send_frame(&mut self, peer: &mut Peer, habits: Habits) {
        let is_key = std::mem::take(&mut self.is_key);
        self.frame = self.frame.wrapping_add(1) & 0x7FFF;
        let temporal = if is_key { 0 } else { self.frame as u8 & 1 };
        self.base = self.base.wrapping_add(u8::from(temporal == 0));
        for n in 0..habits.packets {
            let [high, low] = (self.frame | 0x8000).to_be_bytes();
            // X, S; I, L, T; the picture id, TL0PICIDX, and TID with Y.
            let mut payload = vec![if n == 0 { 0x90 } else { 0x80 }, 0xE0, high, low, self.base, temporal << 6 | 0x20];
            if n == 0 {
                payload.extend_from_slice(if is_key {
                    &[0x10, 0, 0, 0x9D, 1, 0x2A, 0x80, 2, 0x68, 1]
                } else {
                    &[0x11, 0, 0]
                });
            }
            payload.resize(habits.len[usize::from(temporal)], 0xA5);
            self.sequence = self.sequence.wrapping_add(1);
            let timestamp = u32::from(self.frame) * 1800;
            let transport = self.sequence.to_be_bytes();
            let extensions: &[(u8, &[u8])] = &[(MID, b"cam"), (TRANSPORT, &transport)];
            let is_lost = !is_key && self.sequence % habits.lost_in == 1;
            if !is_lost {
                peer.send_rtp(&rtp(CAMERA, VP8, self.sequence, timestamp, extensions, &payload));
            }
            self.sent.push_back((self.sequence, payload));
            if self.sent.len() > 200 {
                self.sent.pop_front();
            }
        }
    }

    /// Does what the worker asks for.
    fn heed(&mut self, peer: &mut Peer) {
        for compound in std::mem::take(&mut peer.rtcp) {
            for packet in parse_compound(&compound).flatten() {
                match packet {
                    RtcpPacket::Nack(nack) => {
                        for sequence in nack.sequences() {
                            self.seen.nacked += 1;
                            let Some((_, payload)) = self.sent.iter().find(|(sent, _)| *sent == sequence) else {
                                continue;
                            };
                            let again = [&sequence.to_be_bytes(), payload.as_slice()].concat();
                            self.rtx_sequence = self.rtx_sequence.wrapping_add(1);
                            let timestamp = u32::from(self.frame) * 1800;
                            peer.send_rtp(&rtp(
                                CAMERA_RTX,
                                RTX,
                                self.rtx_sequence,
                                timestamp,
                                &[(MID, b"cam")],
                                &again,
                            ));
                        }
                    }
                    RtcpPacket::Pli { .. } => self.is_key = true,
                    RtcpPacket::SenderReport(report) => {
                        self.last_report = Some((report.info.compact_ntp_time(), Instant::now()));
                    }
                    RtcpPacket::ReceiverReport(report) => self.seen.reports += report.reports().count() as u64,
                    RtcpPacket::TransportFeedback(_) => self.seen.feedbacks += 1,
                    _ => {}
                }
            }
        }
    }

    /// Takes what arrived, asks again for some of it, and says when it came.
    fn receive(&mut self, peer: &mut Peer, (video, rtx): (u32, Option<u32>), habits: Habits, now: Instant) {
        let arrived = std::mem::take(&mut peer.rtp);
        for packet in &arrived {
            let header = &packet.header;
            if let Some(number) = header.extension(&packet.packet, TRANSPORT) {
                let rate = habits.rate.unwrap_or(u64::MAX);
                let time = Duration::from_micros(packet.packet.len() as u64 * 8 * 1_000_000 / rate);
                self.free_at = self.free_at.max(self.left_at(packet)) + time;
                self.on_the_way.push_back((self.free_at, u16::from_be_bytes(number.try_into().unwrap())));
            }
            if Some(header.ssrc) == rtx
                && let Some(original) = packet.payload().first_chunk()
            {
                let original = u16::from_be_bytes(*original);
                self.seen.repaired += u64::from(self.missing.iter().any(|(missing, _)| *missing == original));
                self.missing.retain(|(missing, _)| *missing != original);
            }
            if header.ssrc != video {
                continue;
            }
            // Empty ones fill holes.
            match packet.payload().get(5).map(|layer| layer >> 6) {
                None => continue,
                Some(0) => self.seen.lower += 1,
                Some(_) => self.seen.upper += 1,
            }
            match self.arriving {
                Some((timestamp, began)) if timestamp == header.timestamp => {
                    self.seen.spread += u64::from(packet.at - began > Duration::from_millis(3));
                }
                _ => self.arriving = Some((header.timestamp, packet.at)),
            }
            if header.sequence % habits.lost_out == 1 {
                self.missing.push((header.sequence, now));
            }
        }
        self.missing.retain(|(_, since)| now.saturating_duration_since(*since) < Duration::from_millis(200));
        if now >= self.ask_at && !self.missing.is_empty() {
            // Out of step with frames: what the worker has no room for at once it leaves out.
            self.ask_at = now + Duration::from_millis(13);
            self.seen.asked_again += self.missing.len() as u64;
            let missing = self.missing.iter().map(|(sequence, _)| *sequence);
            send(peer, |writer| _ = writer.receiver_report(1, &[]).unwrap().nack(1, video, missing).unwrap());
        }
        while let Some(&(at, number)) = self.on_the_way.front().filter(|(at, _)| *at <= now) {
            self.on_the_way.pop_front();
            self.recorder.on_packet(at, number);
        }
        while let Some(feedback) = self.recorder.poll(now) {
            let fields = TransportFeedbackFields {
                sender_ssrc: 1,
                media_ssrc: video,
                base_sequence: feedback.base_sequence,
                feedback_count: feedback.feedback_count,
            };
            let reference = i64::from(feedback.reference_time) * TICKS_PER_REFERENCE;
            let arrivals = feedback.deltas.iter().scan(reference, |clock, delta| {
                Some(delta.map(|delta| {
                    *clock += i64::from(delta);
                    *clock
                }))
            });
            send(peer, |writer| _ = writer.transport_feedback(&fields, arrivals).unwrap());
        }
    }

    /// When a packet left the worker: what a network is held to take does not depend on when this thread had its turn.
    fn left_at(&mut self, packet: &Arrived) -> Instant {
        let Some(&[a, b, c]) = packet.header.extension(&packet.packet, SEND_TIME) else { return packet.at };
        let ticks = u32::from_be_bytes([0, a, b, c]);
        let (first, at) = *self.first_left.get_or_insert((ticks, packet.at));
        // Of 2⁻¹⁸ s; a run is shorter than the minute after which they begin anew.
        at + Duration::from_nanos((u64::from(ticks.wrapping_sub(first) & 0xFF_FFFF) * 1_000_000_000) >> 18)
    }

    /// What a browser says about once a second: how its camera's clock runs, and how it receives.
    fn report(&self, peer: &mut Peer, video: u32) {
        let (last_sender_report, at) = self.last_report.unwrap_or((0, Instant::now()));
        let block = ReceptionReport {
            ssrc: video,
            fraction_lost: 8,
            delay_since_last_sender_report: (at.elapsed().as_millis() * 65_536 / 1_000) as u32,
            last_sender_report,
            ..ReceptionReport::default()
        };
        let info = SenderInfo {
            ntp_time: u64::from(self.sequence) << 32 | 1 << 63,
            rtp_time: u32::from(self.frame) * 1800,
            packet_count: self.sequence.into(),
            octet_count: 1,
        };
        send(peer, |writer| _ = writer.sender_report(CAMERA, &info, &[block]).unwrap().cname(CAMERA, "peer").unwrap());
    }
}

fn send(peer: &mut Peer, write: impl FnOnce(&mut RtcpWriter<'_>)) {
    let mut buffer = [0; 1200];
    let mut writer = RtcpWriter::new(&mut buffer);
    write(&mut writer);
    let len = writer.finish();
    peer.send_rtcp(&buffer[..len]);
}

/// A call whose participants do all that, on a thread of their own.
struct Scene {
    call: Call,
    parts: Vec<Part>,
    habits: Habits,
    /// Those whose cameras send.
    cameras: usize,
    round: u64,
}

impl Scene {
    async fn new(people: usize, pairs: usize, cameras: usize, habits: Habits) -> Self {
        let mut call = Call::new().await;
        for _ in 0..people {
            call.join(Spec { microphone: true, camera: true, pairs, send_times: true, ..Spec::default() }).await;
        }
        call.connect().await;
        let parts = (0..people).map(|_| Part::new()).collect();
        Self { call, parts, habits, cameras, round: 0 }
    }

    fn round(&mut self) {
        let Habits { turn, frame_rounds, .. } = self.habits;
        self.call.pump();
        let speaker = (self.round / turn) as usize % self.cameras;
        // Voices pause as those with DTX do.
        if self.round.is_multiple_of(10) && self.round % turn >= turn / 5 {
            self.call.send_voice(speaker, 0x80 | 20);
        }
        let now = Instant::now();
        for (at, (part, peer)) in self.parts.iter_mut().zip(&mut self.call.peers).enumerate() {
            let slot = self.call.answers[at].ssrc("v0");
            let rtx = self.call.answers[at].rtx("v0");
            part.heed(peer);
            part.receive(peer, (slot, rtx), self.habits, now);
            if at < self.cameras && self.round.is_multiple_of(frame_rounds) {
                part.send_frame(peer, self.habits);
            }
            if self.round % 100 == at as u64 {
                part.report(peer, slot);
            }
        }
        self.round += 1;
    }

    fn seen(&self) -> Seen {
        self.parts.iter().fold(Seen::default(), |sum, Part { seen, .. }| Seen {
            nacked: sum.nacked + seen.nacked,
            asked_again: sum.asked_again + seen.asked_again,
            repaired: sum.repaired + seen.repaired,
            reports: sum.reports + seen.reports,
            feedbacks: sum.feedbacks + seen.feedbacks,
            upper: sum.upper + seen.upper,
            lower: sum.lower + seen.lower,
            spread: sum.spread + seen.spread,
        })
    }
}

/// What a run of a call came to.
#[derive(Debug)]
struct Outcome {
    allocated: u64,
    forwarded: u64,
    seen: Seen,
    /// Times that a camera's slot began to carry another track.
    switched: usize,
    time: Duration,
}

impl Outcome {
    /// Fails if more was allocated than rooms do without regard to packets.
    fn assert_nothing_per_packet(&self) {
        let looks = LOOKS_OF_A_SECOND * (1 + self.time.as_millis() as u64 / 1000);
        assert!(self.allocated <= looks, "{self:?}");
    }
}

/// Lets a call run for some rounds, and counts what the worker allocates in the rounds that follow.
fn steady(people: usize, pairs: usize, cameras: usize, habits: Habits, rounds: [u64; 2]) -> Outcome {
    // The worker runs on this thread, whose allocations are counted; the participants on another.
    let worker = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut scene = worker.block_on(Scene::new(people, pairs, cameras, habits));
    let handle = scene.call.handle.clone();
    let (done, is_done) = mpsc::channel();
    let participants = thread::spawn(move || {
        for rounds in rounds {
            scene.parts.iter_mut().for_each(|part| part.seen = Seen::default());
            scene.call.events.clear();
            for _ in 0..rounds {
                scene.round();
                thread::sleep(ROUND);
            }
            done.send(()).unwrap();
            // Consent lasts for half a minute, and what checks cost is not what is counted here.
            scene.call.peers.iter_mut().for_each(|peer| peer.check = false);
        }
        scene
    });
    let run = || {
        worker.block_on(async {
            while is_done.try_recv() == Err(TryRecvError::Empty) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    };
    run();
    let (before, began) = (worker.block_on(handle.statistics()).unwrap(), Instant::now());
    let allocated = measure(run).count_total;
    let (after, time) = (worker.block_on(handle.statistics()).unwrap(), began.elapsed());
    let scene = participants.join().unwrap();
    let slots = scene.call.events.iter().filter_map(|event| match event {
        SfuEvent::Slots { slots, .. } => Some(slots),
        _ => None,
    });
    let began = |slot: &&SlotMapping| slot.source == Some(Source::Camera) && slot.rtp_timestamp.is_some();
    let switched = slots.flatten().filter(began).count();
    let forwarded = after.packets_forwarded - before.packets_forwarded;
    Outcome { allocated, forwarded, seen: scene.seen(), switched, time }
}

#[test]
fn losses_repaired_on_both_sides_and_reports_allocate_nothing_per_packet() {
    let habits = Habits { lost_in: 8, lost_out: 2, rate: None, packets: 2, len: [120; 2], frame_rounds: 5, turn: 250 };
    let outcome = steady(4, 3, 1, habits, [800, 700]);
    outcome.assert_nothing_per_packet();
    let Seen { nacked, asked_again, repaired, reports, feedbacks, .. } = outcome.seen;
    assert!(nacked > 30 && asked_again > 200 && repaired > 20, "{outcome:?}");
    assert!(reports > 5 && feedbacks > 10 && outcome.forwarded > 1000, "{outcome:?}");
}

#[test]
fn a_thin_network_that_is_paced_and_gets_fewer_pictures_allocates_nothing_per_packet() {
    let (rate, len) = (Some(400_000), [150, 600]);
    let habits = Habits { lost_in: u16::MAX, lost_out: u16::MAX, rate, packets: 4, len, frame_rounds: 10, turn: 250 };
    let outcome = steady(3, 2, 1, habits, [1400, 800]);
    outcome.assert_nothing_per_packet();
    let Seen { lower, upper, spread, .. } = outcome.seen;
    assert!(lower > 200 && upper < lower / 2, "the upper temporal layer is left out: {outcome:?}");
    assert!(spread > 50, "packets wait for their turn: {outcome:?}");
}

#[test]
fn slots_that_switch_allocate_for_the_switch_and_not_for_the_packets() {
    let len = [250; 2];
    let habits =
        Habits { lost_in: u16::MAX, lost_out: u16::MAX, rate: None, packets: 2, len, frame_rounds: 5, turn: 800 };
    let outcome = steady(6, 1, 2, habits, [500, 1700]);
    outcome.assert_nothing_per_packet();
    assert!(outcome.switched >= 4 && outcome.forwarded > 2000, "{outcome:?}");
}
