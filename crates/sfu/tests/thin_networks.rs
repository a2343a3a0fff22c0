//! Subscribers behind thin networks, over real UDP through a link: the layer goes down and up with what the network takes, and the voice
//! goes on.
#![allow(clippy::unwrap_used)]

mod peer;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use peer::call::{Call, ROOM};
use peer::media::{MID, RID, TRANSPORT, VP8, rtp, vp8};
use peer::sdp::{Answer, offer};
use peer::{Peer, Spec};
use ringback_link::{Conditions, Network, Profile, Relay, RelayConfig};
use ringback_sfu::feedback::TransportFeedbackRecorder;
use ringback_sfu::{ParticipantId, SfuEvent};
use ringback_transport::rtcp::{RtcpPacket, RtcpWriter, TICKS_PER_REFERENCE, TransportFeedbackFields, parse_compound};

/// A layer of the camera.
struct Layer {
    rid: &'static str,
    ssrc: u32,
    size: (u16, u16),
    /// Packets of a frame, and bytes of each.
    packets: usize,
    len: usize,
}

/// 150 and 900 kbit/s.
const LAYERS: [Layer; 2] = [
    Layer { rid: "q", ssrc: 3001, size: (320, 180), packets: 1, len: 600 },
    Layer { rid: "h", ssrc: 3002, size: (1280, 720), packets: 3, len: 1200 },
];

fn constant(rate: u64) -> Conditions {
    Conditions::delayed(Duration::from_millis(25), Duration::from_millis(1)).with_rate(rate, Duration::from_millis(300))
}

/// A publisher with two layers, and a subscriber behind a network who sends transport-wide feedback.
struct Scene {
    call: Call,
    relay: Relay,
    recorder: TransportFeedbackRecorder,
    read: usize,
    read_rtcp: usize,
    numbers: [u16; 2],
    frames: u32,
    wants_key: [bool; 2],
    next_voice: Instant,
    next_frame: Instant,
}

impl Scene {
    async fn new(down: Profile) -> Self {
        let mut call = Call::new().await;
        call.join(Spec { microphone: true, camera: true, simulcast: true, ..Spec::default() }).await;
        let mut subscriber = Peer::new(Spec { pairs: 1, ..Spec::default() });
        let joined = call.handle.join(ROOM, ParticipantId(2), offer(&subscriber)).await.unwrap();
        subscriber.answer(&joined.answer);
        let up = Profile::constant(Conditions::delayed(Duration::from_millis(25), Duration::ZERO));
        let listen: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let network =
            Network { up, down, ..Network::symmetric("thin", "", "", Profile::constant(Conditions::PERFECT)) };
        let to = subscriber.server.unwrap();
        let relay = Relay::start(RelayConfig { listen, to, network, seed: 1, shared: false }).await.unwrap();
        subscriber.server = Some(relay.address());
        call.answers.push(Answer::parse(&joined.answer));
        call.peers.push(subscriber);
        call.voices.push(0);
        call.faces.push(0);
        call.connect().await;
        let now = Instant::now();
        Self {
            call,
            relay,
            recorder: TransportFeedbackRecorder::new(),
            read: 0,
            read_rtcp: 0,
            numbers: [100, 200],
            frames: 0,
            wants_key: [true; 2],
            next_voice: now,
            next_frame: now,
        }
    }

    async fn run(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.step();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn step(&mut self) {
        self.call.pump();
        let now = Instant::now();
        if now >= self.next_voice {
            self.next_voice += Duration::from_millis(20);
            self.call.send_voice(0, 0x80 | 30);
        }
        self.heed_requests();
        if now >= self.next_frame {
            self.next_frame += Duration::from_millis(33);
            self.send_frame();
        }
        self.send_feedback(now);
    }

    /// The publisher makes a keyframe of a layer that was asked for one.
    fn heed_requests(&mut self) {
        for compound in &self.call.peers[0].rtcp[self.read_rtcp..] {
            for packet in parse_compound(compound).flatten() {
                let RtcpPacket::Pli { media_ssrc, .. } = packet else { continue };
                let at = LAYERS.iter().position(|layer| layer.ssrc == media_ssrc).unwrap();
                self.wants_key[at] = true;
            }
        }
        self.read_rtcp = self.call.peers[0].rtcp.len();
    }

    fn send_frame(&mut self) {
        self.frames += 1;
        for (at, Layer { rid, ssrc, size: (width, height), packets, len }) in LAYERS.into_iter().enumerate() {
            let key = std::mem::take(&mut self.wants_key[at]);
            // A keyframe is four times as large.
            for n in 0..packets * if key { 4 } else { 1 } {
                let mut payload = vp8(self.frames as u16 & 0x7FFF, key, n == 0);
                if key && n == 0 {
                    let size = [width.to_le_bytes(), height.to_le_bytes()].concat();
                    payload[10..14].copy_from_slice(&size);
                }
                payload.resize(len, 0x5A);
                let extensions: &[(u8, &[u8])] = &[(MID, b"cam"), (RID, rid.as_bytes())];
                let packet = rtp(ssrc, VP8, self.numbers[at], self.frames * 3_000, extensions, &payload);
                self.numbers[at] = self.numbers[at].wrapping_add(1);
                self.call.peers[0].send_rtp(&packet);
            }
        }
    }

    /// The subscriber says what arrived when.
    fn send_feedback(&mut self, now: Instant) {
        let peer = &mut self.call.peers[1];
        for arrived in &peer.rtp[self.read..] {
            let number = arrived.header.extension(&arrived.packet, TRANSPORT).unwrap();
            self.recorder.on_packet(arrived.at, u16::from_be_bytes(number.try_into().unwrap()));
        }
        self.read = peer.rtp.len();
        while let Some(feedback) = self.recorder.poll(now) {
            let fields = TransportFeedbackFields {
                sender_ssrc: 1,
                media_ssrc: 2,
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
            let mut buffer = [0; 1200];
            let mut writer = RtcpWriter::new(&mut buffer);
            writer.transport_feedback(&fields, arrivals).unwrap();
            let len = writer.finish();
            peer.send_rtcp(&buffer[..len]);
        }
    }

    /// When each video packet of a layer arrived since then.
    fn pictures(&self, since: Instant, large: bool) -> Vec<Instant> {
        let ssrc = self.call.answers[1].ssrc("v0");
        let packets = self.call.peers[1].rtp.iter().filter(|packet| packet.header.ssrc == ssrc && packet.at >= since);
        packets.filter(|packet| (packet.payload().len() > 1000) == large).map(|packet| packet.at).collect()
    }

    /// The longest time without a voice packet, and how many did not arrive.
    fn silence(&self) -> (Duration, usize) {
        let ssrc = self.call.answers[1].ssrc("a0");
        let voices: Vec<_> = self.call.peers[1].rtp.iter().filter(|packet| packet.header.ssrc == ssrc).collect();
        let longest = voices.windows(2).map(|pair| pair[1].at - pair[0].at).max().unwrap();
        let sent = voices.last().unwrap().header.sequence.wrapping_sub(voices[0].header.sequence);
        (longest, usize::from(sent) + 1 - voices.len())
    }

    /// The estimates that were told, in bits per second.
    fn estimates(&self) -> Vec<u64> {
        let told = self.call.events.iter().filter_map(|event| match event {
            SfuEvent::Bandwidth { participant: ParticipantId(2), bandwidth, .. } => Some(bandwidth.estimate),
            _ => None,
        });
        told.collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_layer_goes_down_with_the_network_and_up_again_and_the_voice_goes_on() {
    let seconds = Duration::from_secs;
    let (high, low) = (constant(3_000_000), constant(300_000));
    // Connecting takes a moment of the first stage.
    let mut scene = Scene::new(Profile::stages([(seconds(8), high), (seconds(8), low), (seconds(30), high)])).await;
    scene.run(seconds(7)).await;
    let before_step = Instant::now() - seconds(1);
    assert!(scene.pictures(before_step, true).len() > 60, "the large layer flows: {:?}", scene.estimates());

    scene.run(seconds(8)).await;
    let thin = Instant::now() - seconds(4);
    assert!(scene.pictures(thin, false).len() > 50, "the small layer flows: {:?}", scene.estimates());
    assert!(scene.pictures(thin, true).is_empty(), "the large one does not: {:?}", scene.estimates());
    assert!(scene.estimates().last().is_some_and(|estimate| *estimate < 400_000), "{:?}", scene.estimates());

    // Five seconds on an idle machine; virtual networks hold it to that.
    let is_back = |scene: &Scene| scene.pictures(Instant::now() - seconds(1), true).len() > 60;
    for _ in 0..20 {
        if is_back(&scene) {
            break;
        }
        scene.run(seconds(1)).await;
    }
    assert!(is_back(&scene), "the large layer is back: {:?}", scene.estimates());

    let (longest, lost) = scene.silence();
    assert!(longest < Duration::from_millis(400), "silent for {longest:?}");
    assert!(lost < 40, "{lost} of over a thousand voice packets are lost");
    let statistics = scene.call.handle.statistics().await.unwrap();
    assert_eq!(statistics.networks_measured, 1);
    assert!(statistics.bandwidth > 700_000, "{}", statistics.bandwidth);
    scene.relay.stop().await;
}
