//! What subscribers get whose network cannot take everything.

use std::time::{Duration, Instant};

use ringback_transport::rtcp::{RtcpWriter, TransportFeedbackFields};
use ringback_transport::rtp::RtpHeader;
use ringback_transport::sdp::{CodecName, Extension, ExtensionMap, MediaKind};

use super::meeting::{LAYERS, Meeting, PATTERN};
use super::scene::*;
use crate::av1::DependencyDescriptor;
use crate::events::SlotReason;
use crate::vp8::Vp8Descriptor;
use crate::vp9::Vp9Descriptor;

#[test]
fn a_thin_link_gets_fewer_pictures_of_the_small_layer_without_a_gap_in_their_numbers() {
    let mut meeting = Meeting::of(1);
    assert_eq!(meeting.second(), [(1001, 900)]);
    meeting.limit(120_000);
    meeting.go_on(1_000);
    let looker = meeting.looker();
    meeting.scene.sink.take(looker);
    meeting.go_on(1_000);
    let came = meeting.scene.sink.take(looker);
    assert_eq!(came.len(), 25, "of fifty pictures the upper temporal layer is left out");
    assert!(came.iter().all(|(_, payload)| payload.len() == LAYERS[0].4));
    let sequences: Vec<u16> = came.iter().map(|(header, _)| header.sequence).collect();
    assert!(sequences.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "{sequences:?}");
    let pictures = came.iter().map(|(_, payload)| Vp8Descriptor::parse(payload).unwrap().picture_id.unwrap().value);
    assert!(pictures.collect::<Vec<_>>().windows(2).all(|pair| pair[1] == pair[0] + 1));
    let temporal = came.iter().map(|(_, payload)| Vp8Descriptor::parse(payload).unwrap().temporal_layer);
    assert!(temporal.eq([Some(0), Some(1)].into_iter().cycle().take(25)));
}

#[test]
fn what_fits_comes_back_within_seconds_when_the_link_is_wide_again() {
    let mut meeting = Meeting::of(1);
    meeting.limit(120_000);
    meeting.go_on(20_000);
    meeting.limit(2_000_000);
    meeting.go_on(1_000);
    assert_eq!(meeting.second(), [(1001, 75)], "it may be a spike");
    meeting.go_on(4_000);
    assert_eq!(meeting.second(), [(1001, 900)]);
}

#[test]
fn a_layer_that_is_too_much_sends_its_base_only_until_the_smaller_one_has_a_keyframe() {
    let mut meeting = Meeting::of(1);
    meeting.picture = 200; // A keyframe has just gone by, the next is 400 ms away.
    meeting.go_on(20);
    let looker = meeting.looker();
    meeting.limit(300_000);
    meeting.scene.sink.take(looker);
    meeting.go_on(360);
    let came = meeting.scene.sink.take(looker);
    assert!(came.iter().all(|(_, payload)| payload.len() == LAYERS[1].4), "the larger one goes on");
    assert!(came.len() <= 9, "within a tenth of a second it sends its base only, of {} pictures", came.len());
    meeting.go_on(100);
    assert_eq!(meeting.second(), [(1001, 150)]);
}

#[test]
fn who_does_not_fit_is_left_out_last_ones_first_and_told_why() {
    let mut meeting = Meeting::of(3);
    meeting.scene.events();
    meeting.limit(100_000);
    meeting.go_on(200);
    assert_eq!(meeting.told(), [("v2".to_owned(), Some(SlotReason::Bandwidth))]);
    assert_eq!(meeting.second().len(), 2);
    meeting.limit(1_000_000);
    meeting.go_on(6_000);
    assert_eq!(meeting.second().len(), 3);
    assert_eq!(meeting.told(), [("v2".to_owned(), None)]);
}

#[test]
fn whoever_is_silent_has_their_place_kept() {
    let mut meeting = Meeting::of(1);
    meeting.limit(130_000);
    meeting.go_on(1_000);
    assert_eq!(meeting.second(), [(1001, 75)]);
    // Silence, as DTX sends it.
    for sequence in 0..10 {
        meeting.scene.send(0, &voice(sequence, 127));
        meeting.go_on(200);
    }
    let faces: Vec<_> = meeting.second().into_iter().filter(|(ssrc, _)| *ssrc == 1001).collect();
    assert!(matches!(faces[..], [(1001, 36..=39)]), "{faces:?}");
}

#[test]
fn somebody_is_always_seen() {
    let mut meeting = Meeting::of(2);
    meeting.limit(0);
    meeting.go_on(1_000);
    assert!(matches!(meeting.second()[..], [(1001, 36..=39)]), "the base of the first one");
}

#[test]
fn more_is_looked_for_while_the_picture_waits_for_its_keyframe() {
    let mut scene = Scene::new(1, 0);
    let looker = scene.join(2, &lines(1));
    let (mut padding, mut sent) = (0, 0_u16);
    // Nobody makes a keyframe.
    for n in 0..150_u16 {
        let mut payload = vp8_payload(n, false);
        payload.resize(2_000, 0);
        scene.send(0, &rtp(20, VP8, n, u32::from(n) * 1_800, &[], &payload));
        scene.send(0, &voice(n, 30));
        scene.pass(20 * MS);
        let came = scene.sink.take(looker);
        assert!(came.iter().all(|(header, _)| header.ssrc != 1001), "a picture came");
        padding += came.iter().filter(|(header, _)| header.ssrc == 1006).count();
        let arrived = i64::from(n) * 80;
        let fields = TransportFeedbackFields {
            sender_ssrc: 5,
            media_ssrc: 1000,
            base_sequence: sent + 1,
            feedback_count: n as u8,
        };
        sent += came.len() as u16;
        scene.control(looker, |writer: &mut RtcpWriter<'_>| {
            writer.transport_feedback(&fields, came.iter().map(|_| Some(arrived))).unwrap();
        });
    }
    assert!(padding > 20, "{padding} packets of padding");
}

/// The looker's network: it takes everything in 30 ms, and tells of it.
struct Reported {
    since: Instant,
    told: u16,
    count: u8,
}

impl Reported {
    /// So much time goes by. What comes is told of each 40 ms, or later.
    fn go_on(&mut self, meeting: &mut Meeting, ms: u64, is_heard: bool) {
        for _ in 0..ms / 40 {
            meeting.go_on(40);
            if is_heard {
                self.tell(meeting);
            }
        }
    }

    fn tell(&mut self, meeting: &mut Meeting) {
        let looker = meeting.looker();
        let ticks = |at: Instant| (at - self.since).as_micros() as i64 / 250 + 120;
        let left = std::mem::take(&mut meeting.scene.sink.left).into_iter().filter(|(to, _)| *to == looker);
        let arrivals: Vec<_> = left.map(|(_, at)| Some(ticks(at))).collect();
        let fields = TransportFeedbackFields {
            sender_ssrc: 5,
            media_ssrc: 1001,
            base_sequence: self.told + 1,
            feedback_count: self.count,
        };
        self.told += arrivals.len() as u16;
        self.count = self.count.wrapping_add(1);
        meeting.scene.control(looker, |writer: &mut RtcpWriter<'_>| {
            writer.transport_feedback(&fields, arrivals).unwrap();
        });
    }
}

#[test]
fn a_network_that_falls_silent_gets_what_half_of_it_takes_within_a_second_and_the_large_picture_when_it_is_heard_again()
{
    let mut meeting = Meeting::of(1);
    let mut network = Reported { since: meeting.scene.now - Duration::from_secs(2), told: 0, count: 0 };
    network.go_on(&mut meeting, 8_000, true);
    let granted = |meeting: &Meeting| meeting.scene.room.subscribers[meeting.looker()].allocator.spent();
    assert!(granted(&meeting) > 800_000, "{}", granted(&meeting));
    network.go_on(&mut meeting, 1_000, false);
    assert!(granted(&meeting) < 600_000, "{} of half", granted(&meeting));
    network.go_on(&mut meeting, 600, false);
    assert!(granted(&meeting) < 300_000, "{} of a quarter", granted(&meeting));
    network.go_on(&mut meeting, 8_000, true);
    assert!(granted(&meeting) > 800_000, "{}", granted(&meeting));
}

#[test]
fn a_receiver_that_can_estimate_itself_is_taken_at_its_word() {
    let mut meeting = Meeting::of(1);
    let (now, looker) = (meeting.scene.now, meeting.looker());
    // It does not tell when each packet came.
    let mut plain = lines(1);
    for line in &mut plain {
        line.extensions = ExtensionMap::default();
        line.codecs.iter_mut().for_each(|codec| codec.feedback.transport_cc = false);
    }
    meeting.scene.room.renegotiate(now, looker, &plain, &claims()).unwrap();
    meeting.scene.control(looker, |writer: &mut RtcpWriter<'_>| {
        writer.remb(5, 200_000, &[1001]).unwrap();
    });
    meeting.go_on(1_000);
    assert_eq!(meeting.second(), [(1001, 150)]);
}

#[test]
fn a_picture_left_out_after_later_ones_went_out_leaves_no_number_to_ask_for() {
    let mut meeting = Meeting::of(1);
    meeting.limit(60_000);
    meeting.go_on(1_000);
    while !meeting.picture.is_multiple_of(4) {
        meeting.go_on(20);
    }
    let looker = meeting.looker();
    meeting.scene.sink.take(looker);
    let mut packets = Vec::new();
    for _ in 0..5 {
        let timestamp = u32::from(meeting.picture) * 1_800;
        packets.push(rtp(31, VP8, meeting.picture, timestamp, &[], &meeting.payload(0, false)));
        meeting.picture += 1;
    }
    for at in [0, 1, 3, 4, 2] {
        meeting.scene.send(0, &packets[at]);
    }
    let came = meeting.scene.sink.take(looker);
    let lens: Vec<usize> = came.iter().map(|(_, payload)| payload.len()).collect();
    assert_eq!(lens, [309, 309, 0], "the base twice, and nothing in place of what came late");
    let sequences: Vec<u16> = came.iter().map(|(header, _)| header.sequence.wrapping_sub(came[0].0.sequence)).collect();
    assert_eq!(sequences, [0, 2, 1]);
}

/// The id of AV1's dependency descriptor.
const DEPENDENCY: u8 = 12;

/// A room of one who sends without simulcast, in this codec, and one who looks on.
fn pair_of(name: CodecName) -> Scene {
    let mut scene = Scene::new(0, 0);
    for id in 1..=2 {
        let mut lines = lines(1);
        for line in lines.iter_mut().filter(|line| line.kind == MediaKind::Video) {
            line.codecs = vec![codec(name, VP8, Some(RTX))];
            line.extensions.insert(Extension::DependencyDescriptor, DEPENDENCY, true, true);
        }
        scene.join(id, &lines);
    }
    scene
}

/// The payload of a picture, and its dependency descriptor.
fn frame(name: CodecName, picture: u16) -> (Vec<u8>, Vec<u8>) {
    let (temporal, _) = PATTERN[usize::from(picture) % 4];
    let [high, low] = picture.to_be_bytes();
    let predicted = picture > 0;
    let (mut payload, dependency) = match name {
        CodecName::Vp9 => {
            let flags = 0xAC | u8::from(predicted) << 6;
            let layer = temporal << 5 | u8::from(temporal == 0) << 4;
            (vec![flags, high | 0x80, low, layer, (picture / 4) as u8, 0x82], Vec::new())
        }
        // Templates of temporal layers 0, 1 and 2, told with the first picture.
        _ => {
            let mut value = vec![0xC0 | temporal, high, low];
            value.extend(if predicted { &[][..] } else { &[0x80, 0x03, 0b0101_1100] });
            (vec![if predicted { 0x10 } else { 0x18 }], value)
        }
    };
    payload.resize(309, 0);
    (payload, dependency)
}

#[test]
fn vp9_and_av1_lose_temporal_layers_without_a_gap_in_their_packets_and_keep_the_numbers_of_their_pictures() {
    for name in [CodecName::Vp9, CodecName::Av1] {
        let mut scene = pair_of(name);
        let mut came = Vec::new();
        for picture in 0..300_u16 {
            let (payload, dependency) = frame(name, picture);
            let extensions: &[(u8, &[u8])] = &[(DEPENDENCY, &dependency)];
            let extensions = if dependency.is_empty() { &[] } else { extensions };
            scene.send(0, &rtp(20, VP8, picture, u32::from(picture) * 1_800, extensions, &payload));
            scene.pass(20 * MS);
            if picture == 100 {
                scene.room.set_budget(scene.now, 1, Some(90_000));
            }
            if picture == 150 {
                scene.room.set_budget(scene.now, 1, None);
            }
            came.extend(scene.sink.rtp.drain(..).filter(|(to, _)| *to == 1).map(|(_, packet)| packet));
        }
        let headers: Vec<_> = came.iter().map(|packet| RtpHeader::parse(packet).unwrap()).collect();
        let apart = |one: u32, other: u32| other.wrapping_sub(one);
        assert!(headers.windows(2).all(|pair| pair[1].sequence == pair[0].sequence.wrapping_add(1)), "{name:?}");
        // A picture lasts 1,800 ticks: where some are left out, those that come are further apart.
        let gaps: Vec<u32> =
            headers.windows(2).map(|pair| apart(pair[0].timestamp, pair[1].timestamp) / 1_800).collect();
        assert!(gaps[..100].iter().all(|gap| *gap == 1), "{name:?}: {gaps:?}");
        assert!(gaps.iter().filter(|gap| **gap == 2).count() >= 10, "{name:?}: {gaps:?}");
        assert!(gaps[gaps.len() - 100..].iter().all(|gap| *gap == 1), "{name:?}: {gaps:?}");
        let numbers: Vec<u16> =
            came.iter().zip(&headers).map(|(packet, header)| number(name, packet, header)).collect();
        let steps: Vec<u32> = numbers.windows(2).map(|pair| u32::from(pair[1].wrapping_sub(pair[0]))).collect();
        assert_eq!(steps, gaps, "{name:?}");
    }
}

/// The picture id, or the frame number, of a packet.
fn number(name: CodecName, packet: &[u8], header: &RtpHeader) -> u16 {
    match name {
        CodecName::Vp9 => Vp9Descriptor::parse(header.payload(packet)).unwrap().picture_id.unwrap().value,
        _ => DependencyDescriptor::parse(header.extension(packet, DEPENDENCY).unwrap()).unwrap().frame_number,
    }
}
