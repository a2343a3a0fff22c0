//! Codecs other than Opus and VP8 over real loopback UDP: forwarded as they come, switched at their keyframes with their own counters
//! continuous, and held back from whoever cannot decode them.
#![allow(clippy::unwrap_used)]

mod peer;

use std::time::Duration;

use peer::call::Call;
use peer::media::{
    CAMERA, DEPENDENCY, LEVEL, MICROPHONE, MID, OPUS, RED, RID, VP8, dependency, red, rtp, stamp, vp9, vp9_counters,
};
use peer::{Arrived, Format, Spec};
use ringback_sfu::{ParticipantId, SfuEvent, SlotMapping, SlotReason, SlotView, Source, TapEvent};
use ringback_transport::rtcp::{ReceptionReport, RtcpWriter};
use ringback_transport::sdp::CodecName;

/// SSRCs of the two simulcast layers.
const SMALL: u32 = 3001;
const LARGE: u32 = 3002;

/// A publisher of two layers and a subscriber, both of one codec.
async fn simulcast(video: Format) -> Call {
    let mut call = Call::new().await;
    call.join(Spec { camera: true, simulcast: true, video, ..Spec::default() }).await;
    call.join(Spec { pairs: 1, video, ..Spec::default() }).await;
    call.connect().await;
    call
}

fn arrived<'a>(call: &'a Call, at: usize, mid: &str) -> Vec<&'a Arrived> {
    let ssrc = call.answers[at].ssrc(mid);
    call.peers[at].rtp.iter().filter(|packet| packet.header.ssrc == ssrc).collect()
}

async fn show(call: &Call, width: u32, height: u32) {
    let view = vec![SlotView { mid: "v0".into(), width, height }];
    call.handle.set_view(ParticipantId(2), view).await.unwrap();
}

/// The last mapping of a slot of participant 2.
fn mapping<'a>(call: &'a Call, mid: &str) -> Option<&'a SlotMapping> {
    let slots = call.events.iter().filter_map(|event| match event {
        SfuEvent::Slots { participant: ParticipantId(2), slots, .. } => Some(slots),
        _ => None,
    });
    slots.flatten().filter(|mapping| mapping.mid == mid).last()
}

fn assert_continuous(packets: &[&Arrived]) {
    let sequences: Vec<u16> = packets.iter().map(|packet| packet.header.sequence).collect();
    assert!(sequences.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "{sequences:?}");
}

/// A layer of a camera, whose counters begin anywhere.
struct Layer {
    rid: &'static str,
    ssrc: u32,
    number: u16,
    size: (u16, u16),
}

impl Layer {
    fn pair() -> [Self; 2] {
        [
            Self { rid: "q", ssrc: SMALL, number: 32_760, size: (320, 180) },
            Self { rid: "h", ssrc: LARGE, number: 700, size: (1280, 720) },
        ]
    }

    fn send(&mut self, call: &mut Call, payload: &[u8], dependency: Option<&[u8]>) {
        let mut extensions: Vec<(u8, &[u8])> = vec![(MID, b"cam"), (RID, self.rid.as_bytes())];
        extensions.extend(dependency.map(|value| (DEPENDENCY, value)));
        let timestamp = u32::from(self.number) * 3_000;
        let packet = rtp(self.ssrc, VP8, self.number, timestamp, &extensions, payload);
        call.peers[0].send_rtp(&packet);
        self.number = self.number.wrapping_add(1);
    }

    fn send_vp9(&mut self, call: &mut Call, key: bool) {
        let payload = vp9(self.number & 0x7FFF, self.number as u8, 0, key.then_some(self.size));
        self.send(call, &payload, None);
    }

    fn send_av1(&mut self, call: &mut Call, key: bool) {
        let described = dependency(self.number, key);
        // A sequence header of this size, or what could be a frame.
        let payload = match self.size {
            _ if !key => vec![0x10, 0x32, 0xA5, 0xA5],
            (320, _) => vec![0x18, 0x08, 0, 0, 0, 0x24, 0x3C, 0xFE, 0xCC, 0xCD],
            _ => vec![0x18, 0x08, 0, 0, 0, 0x24, 0xC6, 0xAB, 0xDF, 0x36, 0xBE, 0x40, 0x10],
        };
        self.send(call, &payload, Some(&described));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vp9_slot_goes_over_to_the_layer_its_view_needs_and_its_picture_ids_go_on() {
    let mut call = simulcast(Format::Vp9).await;
    let [mut small, mut large] = Layer::pair();
    show(&call, 300, 170).await;
    // What a layer is becomes known with its first keyframe; the next one begins the picture.
    for key in [true, true, false, false] {
        small.send_vp9(&mut call, key);
        large.send_vp9(&mut call, key);
        call.run(Duration::from_millis(40)).await;
    }
    call.until("the small layer flows", |call| arrived(call, 1, "v0").len() >= 3).await;
    let before = arrived(&call, 1, "v0").len();
    show(&call, 1280, 720).await;
    call.run(Duration::from_millis(40)).await;
    large.send_vp9(&mut call, false);
    small.send_vp9(&mut call, false);
    large.send_vp9(&mut call, true);
    small.send_vp9(&mut call, false);
    large.send_vp9(&mut call, false);
    call.until("the large layer flows", |call| arrived(call, 1, "v0").len() >= before + 3).await;
    call.run(Duration::from_millis(40)).await;

    let packets = arrived(&call, 1, "v0");
    assert_eq!(packets.len(), before + 3, "one of the small layer, two of the large one");
    assert_continuous(&packets);
    let sizes: Vec<u8> =
        packets.iter().filter(|packet| packet.payload()[0] & 0x02 != 0).map(|p| p.payload()[7]).collect();
    assert_eq!(sizes.last(), Some(&(1280_u16 as u8)), "it begins with the large layer's keyframe");
    let (pictures, indices): (Vec<u16>, Vec<u8>) = packets.iter().map(|packet| vp9_counters(packet.payload())).unzip();
    assert!(pictures.windows(2).all(|pair| pair[1] == (pair[0] + 1) & 0x7FFF), "{pictures:?}");
    assert!(indices.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "{indices:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_spatial_layers_of_vp9_pass_through_from_the_keyframe_of_the_base_layer_on() {
    let mut call = Call::new().await;
    call.join(Spec { camera: true, video: Format::Vp9, ..Spec::default() }).await;
    call.join(Spec { pairs: 1, video: Format::Vp9, ..Spec::default() }).await;
    call.connect().await;
    let mut sequence = 0_u16;
    // k-SVC: only the base layer of the first picture is a keyframe, the layers above it are predicted from it.
    for picture in 0..6_u16 {
        let key = (picture == 2).then_some((1280, 720));
        for spatial in 0..3_u8 {
            let payload = vp9(picture, picture as u8, spatial, key);
            let packet = rtp(CAMERA, VP8, sequence, u32::from(picture) * 3_000, &[(MID, b"cam")], &payload);
            call.peers[0].send_rtp(&packet);
            sequence += 1;
        }
        call.run(Duration::from_millis(15)).await;
    }
    call.until("four pictures came", |call| arrived(call, 1, "v0").len() == 4 * 3).await;
    let packets = arrived(&call, 1, "v0");
    assert_continuous(&packets);
    for (at, packet) in packets.iter().enumerate() {
        let layer = packet.payload()[3] >> 1 & 0x07;
        assert_eq!((usize::from(layer), vp9_counters(packet.payload()).0), (at % 3, 2 + at as u16 / 3));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn av1_frame_numbers_go_on_over_a_switch_and_in_what_is_sent_again() {
    let mut call = simulcast(Format::Av1).await;
    let [mut small, mut large] = Layer::pair();
    show(&call, 300, 170).await;
    for key in [true, true, false, false] {
        small.send_av1(&mut call, key);
        large.send_av1(&mut call, key);
        call.run(Duration::from_millis(40)).await;
    }
    call.until("the small layer flows", |call| arrived(call, 1, "v0").len() >= 3).await;
    show(&call, 1280, 720).await;
    call.run(Duration::from_millis(40)).await;
    let before = arrived(&call, 1, "v0").len();
    large.send_av1(&mut call, true);
    large.send_av1(&mut call, false);
    call.until("the large layer flows", |call| arrived(call, 1, "v0").len() == before + 2).await;

    let described = |packet: &Arrived| packet.header.extension(&packet.packet, DEPENDENCY).unwrap().to_vec();
    let packets = arrived(&call, 1, "v0");
    assert_continuous(&packets);
    let values: Vec<Vec<u8>> = packets.iter().map(|packet| described(packet)).collect();
    let numbers: Vec<u16> = values.iter().map(|value| u16::from_be_bytes([value[1], value[2]])).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "{numbers:?}");
    assert_eq!(values[before][3..], dependency(0, true)[3..], "the structure is the large layer's");

    // Lost on the way, it comes again with the same number.
    let (lost, ssrc) = (packets[before].header.sequence, call.answers[1].ssrc("v0"));
    let (again, payload) = (values[before].clone(), packets[before].payload().to_vec());
    let mut buf = [0; 200];
    let mut writer = RtcpWriter::new(&mut buf);
    writer.receiver_report(1, &[]).unwrap().nack(1, ssrc, [lost]).unwrap();
    let len = writer.finish();
    call.peers[1].send_rtcp(&buf[..len]);
    let rtx = call.answers[1].rtx("v0").unwrap();
    call.until("it came again", |call| call.peers[1].rtp.iter().any(|a| a.header.ssrc == rtx)).await;
    let repaired = call.peers[1].rtp.iter().find(|a| a.header.ssrc == rtx).unwrap();
    assert_eq!(described(repaired), again);
    assert_eq!(repaired.payload()[2..], payload);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h264_begins_with_its_parameter_sets_and_a_lone_idr_picture_begins_nothing() {
    let mut call = Call::new().await;
    call.join(Spec { camera: true, video: Format::H264, ..Spec::default() }).await;
    call.join(Spec { pairs: 1, video: Format::H264, ..Spec::default() }).await;
    call.connect().await;
    let units: [&[u8]; 7] = [
        &[0x65, 0x88, 0x84],
        &[0x41, 0x9A],
        &[0x67, 0x42, 0xC0, 0x1F, 0xD9, 0x00, 0x50, 0x05, 0xBB, 0x01],
        &[0x68, 0xCB],
        &[0x7C, 0x85, 0x88],
        &[0x7C, 0x45, 0x84],
        &[0x41, 0x9A],
    ];
    for (sequence, unit) in (0_u16..).zip(units) {
        call.peers[0].send_rtp(&rtp(CAMERA, VP8, sequence, 3_000, &[(MID, b"cam")], unit));
        call.run(Duration::from_millis(15)).await;
    }
    call.until("what can be decoded came", |call| arrived(call, 1, "v0").len() == 5).await;
    let packets = arrived(&call, 1, "v0");
    assert_continuous(&packets);
    assert_eq!(packets.iter().map(|packet| packet.payload()).collect::<Vec<_>>(), units[2..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_cannot_decode_a_camera_learns_so_and_still_hears_the_voice() {
    let mut call = Call::new().await;
    call.join(Spec { microphone: true, camera: true, video: Format::Vp9, ..Spec::default() }).await;
    call.join(Spec { microphone: true, camera: true, pairs: 1, ..Spec::default() }).await;
    call.join(Spec { pairs: 2, video: Format::Vp9, ..Spec::default() }).await;
    call.connect().await;
    for number in 0..20_u16 {
        let payload = vp9(number, number as u8, 0, (number == 0).then_some((640, 360)));
        let packet = rtp(CAMERA, VP8, number, u32::from(number) * 3_000, &[(MID, b"cam")], &payload);
        call.peers[0].send_rtp(&packet);
        call.send_voice(0, 40);
        // The other's VP8, which they send and the third cannot decode.
        call.send_face(1, number == 0);
        call.run(Duration::from_millis(5)).await;
    }
    call.until("the voice came", |call| arrived(call, 1, "a0").len() == 20).await;
    call.until("the third got VP9", |call| !arrived(call, 2, "v0").is_empty()).await;
    let empty = mapping(&call, "v0").unwrap();
    let expected = (Some(ParticipantId(1)), Some(Source::Camera), Some(SlotReason::Codec), None);
    assert_eq!((empty.participant, empty.source, empty.reason, empty.rtp_timestamp), expected);
    assert!(arrived(&call, 1, "v0").is_empty());
    assert!(arrived(&call, 2, "v1").is_empty(), "no VP8 for the third");
}

/// How long the voice's packet of a number is.
fn voice_len(number: u16) -> usize {
    60 + usize::from(number) * 37 % 41
}

/// A publisher of redundant audio.
fn send_red(call: &mut Call, number: u16, level: u8) {
    let opus = |number: u16| stamp(1, number.into(), call.origin, voice_len(number));
    let payload = red(&opus(number.wrapping_sub(1)), &opus(number));
    let packet = rtp(MICROPHONE, RED, number, u32::from(number) * 960, &[(LEVEL, &[level]), (MID, b"mic")], &payload);
    call.peers[0].send_rtp(&packet);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redundant_audio_goes_whole_to_whoever_takes_and_needs_it_and_as_its_primary_block_to_everybody_else() {
    let mut call = Call::new().await;
    call.join(Spec { microphone: true, red: true, ..Spec::default() }).await;
    call.join(Spec { pairs: 1, ..Spec::default() }).await;
    call.join(Spec { pairs: 1, red: true, ..Spec::default() }).await;
    call.join(Spec { pairs: 1, red: true, ..Spec::default() }).await;
    call.connect().await;
    // The third loses a tenth of what it receives, the fourth nothing.
    for (at, fraction_lost) in [(2, 26), (3, 0)] {
        let lost = ReceptionReport { ssrc: call.answers[at].ssrc("a0"), fraction_lost, ..ReceptionReport::default() };
        let mut buf = [0; 100];
        let mut writer = RtcpWriter::new(&mut buf);
        writer.receiver_report(1, &[lost]).unwrap();
        let len = writer.finish();
        call.peers[at].send_rtcp(&buf[..len]);
    }
    call.run(Duration::from_millis(100)).await;
    let mut tap = call.handle.tap(ParticipantId(1), &[Source::Microphone]).await.unwrap();
    // A quiet room, and then syllables.
    for number in 0..50_u16 {
        let level =
            if number < 25 { 68 + number % 3 } else { [34, 24, 20, 19, 21, 23, 22, 27, 33][usize::from(number) % 9] };
        send_red(&mut call, number, 0x80 | level as u8);
        call.run(Duration::from_millis(20)).await;
    }
    call.until("all came", |call| (1..4).all(|at| arrived(call, at, "a0").len() == 50)).await;
    for (at, payload_type) in [(1, OPUS), (2, RED), (3, OPUS)] {
        let packets = arrived(&call, at, "a0");
        assert_continuous(&packets);
        assert!(packets.iter().all(|packet| packet.header.payload_type == payload_type));
        for (number, packet) in (0_u16..).zip(&packets) {
            let primary = stamp(1, number.into(), call.origin, voice_len(number));
            let body = packet.payload();
            let own = &body[body.len() - primary.len()..];
            assert_eq!(own[..16], primary[..16]);
            assert_eq!(own.len() == body.len(), payload_type == OPUS, "nothing but the primary block");
        }
    }
    let lit = |call: &Call| {
        let mut lights = call.events.iter().filter_map(|event| match event {
            SfuEvent::Speaking { speaking, .. } => Some(speaking.clone()),
            _ => None,
        });
        lights.any(|speaking| speaking == [ParticipantId(1)])
    };
    assert!(lit(&call), "who sends redundant audio is seen to speak");
    for number in 0..50_u16 {
        let Some(TapEvent::Packet(packet)) = tap.recv().await else { panic!("no packet {number}") };
        assert_eq!((packet.codec, packet.sequence), (CodecName::Opus, number));
        assert_eq!(packet.payload.len(), voice_len(number), "the primary block only");
    }
}
