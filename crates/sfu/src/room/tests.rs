//! Rooms on virtual time, with packets collected instead of sealed.

mod fewer_sizes;
mod fewer_sizes_elsewhere;
mod focus;
mod interest;
mod looks;
mod losses;
mod meeting;
mod quiet;
mod scene;
mod spatial;
mod stills;
mod thin_links;

use std::time::Duration;

use ringback_transport::rtcp::{RtcpPacket, SenderInfo, parse_compound};
use ringback_transport::rtp::{RtpHeader, RtpHeaderWriter};
use ringback_transport::sdp::{CodecName, MediaKind, PublishLine};

use crate::events::SlotReason;
use scene::*;

#[test]
fn a_voice_reaches_everybody_else_in_the_speakers_slot_and_nobody_twice() {
    let mut scene = Scene::new(4, 3);
    scene.send(0, &voice(1, 30));
    assert_eq!(scene.sink.take(0).len(), 0);
    for member in 1..4 {
        let packets = scene.sink.take(member);
        assert_eq!(packets.len(), 1);
        assert_eq!((packets[0].0.ssrc, packets[0].0.payload_type), (1000, OPUS));
        assert_eq!(packets[0].1, b"opus");
    }
    let mapping = scene.mapping(2, "a0").unwrap();
    assert_eq!((mapping.participant, mapping.source), (Some(ParticipantId(1)), Some(Source::Microphone)));
    assert!(mapping.rtp_timestamp.is_some());
}

#[test]
fn a_slot_writes_its_own_mid_level_and_transport_number_and_leaves_the_rid_out() {
    let mut scene = Scene::new(2, 1);
    for sequence in 1..=3 {
        let extensions: &[(u8, &[u8])] = &[(LEVEL, &[0x85]), (MID, b"mic"), (RID, b"h"), (TRANSPORT, &[7, 7])];
        scene.send(0, &rtp(10, OPUS, sequence, 960, extensions, b"x"));
    }
    let packets = std::mem::take(&mut scene.sink.rtp);
    for (at, (_, packet)) in packets.iter().enumerate() {
        let header = RtpHeader::parse(packet).unwrap();
        assert_eq!(header.extension(packet, MID), Some(&b"a0"[..]));
        assert_eq!(header.extension(packet, LEVEL), Some(&[0x85][..]));
        assert_eq!(header.extension(packet, TRANSPORT), Some(&(at as u16 + 1).to_be_bytes()[..]));
        assert_eq!(header.extension(packet, RID), None);
    }
    assert_eq!(packets.len(), 3);
}

#[test]
fn a_face_appears_at_a_keyframe_which_is_asked_for() {
    let mut scene = Scene::new(2, 1);
    assert_eq!(scene.sink.take_plis(0), [20]);
    scene.send(0, &face(7, false));
    assert_eq!(scene.sink.take(1).len(), 0);
    scene.send(0, &face(8, true));
    scene.send(0, &face(9, false));
    let packets = scene.sink.take(1);
    assert_eq!(packets.len(), 2);
    assert_eq!(packets[1].0.sequence, packets[0].0.sequence.wrapping_add(1));
    assert_eq!(packets[0].0.ssrc, 1001);
    let mapping = scene.mapping(2, "v0").unwrap();
    assert_eq!(mapping.rtp_timestamp, Some(packets[0].0.timestamp));
}

#[test]
fn a_lost_picture_is_asked_for_once_however_many_ask() {
    let mut scene = Scene::new(5, 4);
    scene.send(0, &face(1, true));
    scene.now += Duration::from_secs(1);
    scene.sink.take_plis(0);
    for member in 1..5 {
        scene.control(member, |writer| {
            writer.pli(5, 1001).unwrap();
        });
    }
    assert_eq!(scene.sink.take_plis(0), [20]);
}

#[test]
fn a_muted_track_is_not_forwarded_and_comes_back_at_the_first_packet() {
    let mut scene = Scene::new(2, 1);
    scene.send(0, &voice(1, 30));
    let before = scene.sink.take(1)[0].0.sequence;
    scene.room.set_muted(scene.now, 0, Source::Microphone, true);
    scene.room.settle(scene.now, &mut scene.sink);
    let muted = scene.mapping(2, "a0").unwrap();
    assert_eq!((muted.reason, muted.rtp_timestamp), (Some(SlotReason::Muted), None));
    for sequence in 2..10 {
        scene.send(0, &voice(sequence, 30));
    }
    assert_eq!(scene.sink.take(1).len(), 0);
    scene.room.set_muted(scene.now, 0, Source::Microphone, false);
    scene.room.settle(scene.now, &mut scene.sink);
    scene.send(0, &voice(10, 30));
    scene.send(0, &voice(11, 30));
    let packets = scene.sink.take(1);
    let sequences: Vec<u16> = packets.iter().map(|(header, _)| header.sequence.wrapping_sub(before)).collect();
    assert_eq!(sequences, [1, 2]);
    let back = scene.mapping(2, "a0").unwrap();
    assert!(back.epoch > muted.epoch);
    assert_eq!(back.rtp_timestamp, Some(packets[0].0.timestamp));
}

#[test]
fn a_nack_is_answered_by_a_retransmission_of_the_same_packet() {
    let mut scene = Scene::new(2, 1);
    for sequence in 1..6 {
        scene.send(0, &face(sequence, sequence == 1));
    }
    let sent = scene.sink.take(1);
    let lost = sent[2].0.sequence;
    scene.control(1, |writer| {
        writer.nack(5, 1001, [lost]).unwrap();
    });
    let again = scene.sink.take(1);
    assert_eq!(again.len(), 1);
    let (header, payload) = &again[0];
    assert_eq!((header.ssrc, header.payload_type, header.timestamp), (1006, RTX, sent[2].0.timestamp));
    assert_eq!(payload[..2], lost.to_be_bytes());
    assert_eq!(payload[2..], sent[2].1);
}

#[test]
fn a_nack_after_the_publisher_left_is_not_answered_with_somebody_elses_packet() {
    let mut scene = Scene::new(2, 1);
    for sequence in 1..4 {
        scene.send(0, &face(sequence, sequence == 1));
    }
    let lost = scene.sink.take(1)[1].0.sequence;
    scene.room.leave(scene.now, 0);
    scene.room.settle(scene.now, &mut scene.sink);
    let key = scene.join(3, &lines(1));
    assert_eq!(key, 0, "the number of whoever left is given again");
    for sequence in 1..4 {
        scene.send(0, &face(sequence, sequence == 1));
    }
    scene.sink.take(1);
    scene.control(1, |writer| {
        writer.nack(5, 1001, [lost]).unwrap();
    });
    assert_eq!(scene.sink.take(1).len(), 0);
}

#[test]
fn what_comes_back_from_upstream_is_forwarded_under_its_own_number() {
    let mut scene = Scene::new(2, 1);
    scene.send(0, &face(1, true));
    scene.send(0, &face(3, false));
    let mut repaired = 2u16.to_be_bytes().to_vec();
    repaired.extend(vp8_payload(2, false));
    scene.send(0, &rtp(21, RTX, 500, 6000, &[], &repaired));
    let packets = scene.sink.take(1);
    let first = packets[0].0.sequence;
    let order: Vec<u16> = packets.iter().map(|(header, _)| header.sequence.wrapping_sub(first)).collect();
    assert_eq!(order, [0, 2, 1]);
    assert_eq!((packets[2].0.timestamp, packets[2].0.payload_type), (packets[0].0.timestamp + 3000, VP8));
}

#[test]
fn a_loss_upstream_is_asked_for() {
    let mut scene = Scene::new(2, 1);
    scene.send(0, &face(1, true));
    for sequence in 4..8 {
        scene.send(0, &face(sequence, false));
    }
    scene.sink.rtcp.clear();
    scene.pass(60 * MS);
    let asked: Vec<u16> = (scene.sink.rtcp.iter())
        .filter(|(to, _)| *to == 0)
        .flat_map(|(_, packet)| parse_compound(packet).flatten().collect::<Vec<_>>())
        .filter_map(|packet| match packet {
            RtcpPacket::Nack(nack) if nack.media_ssrc == 20 => Some(nack.sequences().collect::<Vec<_>>()),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(asked, [2, 3]);
}

#[test]
fn padding_without_payload_closes_up() {
    let mut scene = Scene::new(2, 1);
    scene.send(0, &face(1, true));
    let mut probe = rtp(20, VP8, 2, 3000, &[], &[]);
    let len = probe.len();
    probe.resize(len + 20, 0);
    RtpHeaderWriter::pad(&mut probe, len, 20).unwrap();
    scene.send(0, &probe);
    scene.send(0, &face(3, false));
    let packets = scene.sink.take(1);
    assert_eq!(packets[1].0.sequence, packets[0].0.sequence.wrapping_add(1));
}

#[test]
fn a_publisher_hears_of_every_ssrc_and_of_every_arrival() {
    let mut scene = Scene::new(2, 1);
    scene.send(0, &face(1, true));
    scene.send(0, &rtp(21, RTX, 500, 6000, &[], &[0, 9, 1, 2]));
    for sequence in 1..60u16 {
        scene.now += 20 * MS;
        let number = sequence.to_be_bytes();
        scene.send(0, &rtp(10, OPUS, sequence, u32::from(sequence) * 960, &[(TRANSPORT, &number)], b"o"));
        scene.pass(Duration::ZERO);
    }
    let (mut reported, mut arrivals, mut feedbacks) = (Vec::new(), 0, 0);
    for (_, packet) in scene.sink.rtcp.iter().filter(|(to, _)| *to == 0) {
        for packet in parse_compound(packet) {
            match packet.unwrap() {
                RtcpPacket::ReceiverReport(report) => reported.extend(report.reports().map(|block| block.ssrc)),
                RtcpPacket::TransportFeedback(feedback) => {
                    feedbacks += 1;
                    arrivals += feedback.packets().filter(|status| status.arrival.is_some()).count();
                }
                _ => {}
            }
        }
    }
    for ssrc in [10, 20, 21] {
        assert!(reported.contains(&ssrc), "no report on {ssrc} among {reported:?}");
    }
    assert!(arrivals >= 50, "{arrivals} arrivals");
    assert!((10..=25).contains(&feedbacks), "{feedbacks} feedbacks in 1.2 s");
}

#[test]
fn sender_reports_of_a_voice_and_its_face_agree_on_the_time() {
    let mut scene = Scene::new(2, 1);
    scene.send(0, &voice(100, 30));
    scene.send(0, &face(50, true));
    let sent = scene.sink.take(1);
    // Both were captured at the NTP second 1000.
    for (ssrc, rtp_time) in [(10, 100 * 960), (20, 50 * 3000)] {
        let info = SenderInfo { ntp_time: 1000 << 32, rtp_time, ..SenderInfo::default() };
        scene.control(0, |writer| {
            writer.sender_report(ssrc, &info, &[]).unwrap();
        });
    }
    scene.sink.rtcp.clear();
    scene.pass(40 * MS);
    let mut captured = Vec::new();
    for (_, packet) in scene.sink.rtcp.iter().filter(|(to, _)| *to == 1) {
        for packet in parse_compound(packet).flatten() {
            if let RtcpPacket::SenderReport(report) = packet {
                let (at, rate) = if report.ssrc == 1000 { (0, 48_000.0) } else { (1, 90_000.0) };
                let ahead = report.info.rtp_time.wrapping_sub(sent[at].0.timestamp);
                let ntp = report.info.ntp_time as f64 / 4_294_967_296.0;
                captured.push((report.ssrc, ntp - f64::from(ahead) / rate));
            }
        }
    }
    captured.sort_by_key(|(ssrc, _)| *ssrc);
    assert_eq!(captured.iter().map(|(ssrc, _)| *ssrc).collect::<Vec<_>>(), [1000, 1001]);
    for (ssrc, seconds) in captured {
        assert!((seconds - 1000.0).abs() < 0.001, "{ssrc} was captured at {seconds}");
    }
}

#[test]
fn a_subscriber_without_the_codec_gets_an_empty_slot_and_learns_why() {
    let mut scene = Scene::new(1, 1);
    let mut other = lines(1);
    for line in other.iter_mut().filter(|line| line.kind == MediaKind::Video) {
        line.codecs = vec![codec(CodecName::H264, 102, None)];
    }
    scene.join(2, &other);
    assert_eq!(scene.mapping(2, "v0").unwrap().reason, Some(SlotReason::Codec));
    scene.send(0, &face(1, true));
    assert_eq!(scene.sink.take(1).len(), 0);
}

#[test]
fn payload_types_belong_to_each_subscriber() {
    let mut scene = Scene::new(1, 1);
    let mut other = lines(1);
    for line in other.iter_mut().filter(|line| line.kind == MediaKind::Video) {
        line.codecs = vec![codec(CodecName::H264, 96, None), codec(CodecName::Vp8, 120, Some(121))];
    }
    scene.join(2, &other);
    scene.send(0, &face(1, true));
    assert_eq!(scene.sink.take(1)[0].0.payload_type, 120);
}

#[test]
fn an_ssrc_that_nobody_negotiated_goes_nowhere_and_lights_no_light() {
    let mut scene = Scene::new(3, 2);
    scene.events();
    for n in 0..1000u16 {
        scene.send(0, &rtp(0xF0_0000 + u32::from(n), OPUS, n, 0, &[(LEVEL, &[0x80])], b"forged"));
        scene.send(0, &rtp(0xF1_0000 + u32::from(n), 35, n, 0, &[(MID, b"mic")], b"forged"));
    }
    assert!(scene.sink.rtp.is_empty());
    assert!(!scene.events().iter().any(|event| matches!(event, SfuEvent::Speaking { .. })));
    // The true voice goes on.
    scene.send(0, &voice(1, 30));
    assert_eq!(scene.sink.take(1).len(), 1);
}

#[test]
fn a_slot_goes_over_to_the_layer_that_its_view_needs_at_a_keyframe() {
    let mut scene = Scene::new(0, 1);
    let mut sender = lines(0);
    sender[1].publish = Some(PublishLine { rids: vec!["q".into(), "h".into()], ..PublishLine::default() });
    scene.join(1, &sender);
    scene.join(2, &lines(1));
    let layer = |rid: &'static str, ssrc, sequence: u16, key, width: u16, height: u16| {
        let mut payload = vp8_payload(sequence, key);
        if key {
            payload[10..12].copy_from_slice(&width.to_le_bytes());
            payload[12..14].copy_from_slice(&height.to_le_bytes());
        }
        let extensions: &[(u8, &[u8])] = &[(MID, b"cam"), (RID, rid.as_bytes())];
        rtp(ssrc, VP8, sequence, u32::from(sequence) * 3000, extensions, &payload)
    };
    let small = |sequence, key| layer("q", 31, sequence, key, 320, 180);
    let large = |sequence, key| layer("h", 32, sequence, key, 1280, 720);
    let view = |width, height| [SlotView { mid: "v0".into(), width, height }];
    scene.room.set_view(1, &view(300, 170));
    // What a layer is becomes known with its first keyframe; the next one begins the picture.
    scene.send(0, &small(0, true));
    scene.send(0, &small(1, true));
    scene.send(0, &large(1001, true));
    scene.send(0, &small(2, false));
    let packets = scene.sink.take(1);
    assert_eq!(packets.iter().map(|(_, payload)| *payload.last().unwrap()).collect::<Vec<_>>(), [1, 2]);
    let epoch = scene.mapping(2, "v0").unwrap().epoch;

    scene.sink.take_plis(0);
    scene.now += Duration::from_secs(1);
    scene.send(0, &small(3, false));
    scene.room.set_view(1, &view(1280, 720));
    scene.room.settle(scene.now, &mut scene.sink);
    assert_eq!(scene.sink.take_plis(0), [32]);
    scene.send(0, &large(1002, false));
    scene.send(0, &small(4, false));
    scene.send(0, &large(1003, true));
    scene.send(0, &small(5, false));
    scene.send(0, &large(1004, false));
    let after = scene.sink.take(1);
    let seen: Vec<u8> = after.iter().map(|(_, payload)| *payload.last().unwrap()).collect();
    assert_eq!(seen, [3, 4, (1003 % 256) as u8, (1004 % 256) as u8]);
    let sequences: Vec<u16> = packets.iter().chain(&after).map(|(header, _)| header.sequence).collect();
    assert!(sequences.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "{sequences:?}");
    assert!(scene.mapping(2, "v0").is_none_or(|mapping| mapping.epoch == epoch), "the face is the same");
}

#[test]
fn nobody_hears_or_is_heard_until_admitted() {
    let mut scene = Scene::new(2, 1);
    scene.room.set_admitted(scene.now, 0, false);
    scene.send(0, &voice(1, 30));
    scene.send(1, &voice(1, 30));
    assert!(scene.sink.rtp.is_empty());
    scene.room.set_admitted(scene.now, 0, true);
    scene.room.settle(scene.now, &mut scene.sink);
    scene.send(0, &voice(2, 30));
    scene.send(1, &voice(2, 30));
    assert_eq!((scene.sink.take(0).len(), scene.sink.take(1).len()), (1, 1));
}

#[test]
fn whoever_leaves_is_told_of_and_nobody_inherits_their_slot_unannounced() {
    let mut scene = Scene::new(3, 2);
    scene.send(0, &voice(1, 30));
    scene.events();
    scene.room.leave(scene.now, 0);
    scene.room.settle(scene.now, &mut scene.sink);
    let empty = scene.mapping(2, "a0").unwrap();
    assert_eq!((empty.participant, empty.reason), (None, Some(SlotReason::Left)));
    scene.join(4, &lines(2));
    let waiting = scene.mapping(2, "a0").unwrap();
    assert_eq!((waiting.participant, waiting.rtp_timestamp), (Some(ParticipantId(4)), None));
    scene.sink.rtp.clear();
    scene.send(0, &voice(1, 30));
    let first = scene.sink.take(1)[0].0.timestamp;
    assert_eq!(scene.mapping(2, "a0").unwrap().rtp_timestamp, Some(first));
}

#[test]
fn in_a_large_room_a_new_speaker_takes_over_a_slot_at_any_packet_and_numbers_never_step_back() {
    let mut scene = Scene::new(6, 2);
    let mut sequences = Vec::new();
    let mut heard = std::collections::HashSet::new();
    for round in 0..400u16 {
        scene.now += 20 * MS;
        // Everybody speaks for a second, one after the other; the others are silent.
        let speaker = usize::from(round / 50) % 6;
        for member in 0..6 {
            let level = if member == speaker { 0x80 | 20 } else { 127 };
            scene.send(member, &voice(round, level));
        }
        scene.pass(Duration::ZERO);
        for (header, _) in scene.sink.take(5).into_iter().filter(|(header, _)| header.ssrc == 1000) {
            sequences.push(header.sequence);
        }
        for event in scene.events() {
            if let SfuEvent::Slots { participant: ParticipantId(6), slots, .. } = event {
                heard.extend(
                    slots.iter().filter(|slot| slot.rtp_timestamp.is_some()).filter_map(|slot| slot.participant),
                );
            }
        }
    }
    assert!(sequences.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)));
    for speaker in 1..=5 {
        assert!(heard.contains(&ParticipantId(speaker)), "{speaker} was never heard: {heard:?}");
    }
}

#[test]
fn a_camera_that_starts_over_under_another_ssrc_goes_on_in_its_slot() {
    let mut scene = Scene::new(2, 1);
    for sequence in 1..4 {
        scene.send(0, &face(sequence, sequence == 1));
    }
    scene.now += Duration::from_secs(1);
    let anew = |sequence: u16, key| rtp(77, VP8, sequence, 500_000, &[(MID, b"cam")], &vp8_payload(sequence, key));
    scene.send(0, &anew(9000, false));
    scene.sink.rtcp.clear();
    scene.pass(40 * MS);
    assert_eq!(scene.sink.take_plis(0), [77], "its keyframe is asked for");
    scene.send(0, &anew(9001, true));
    scene.send(0, &anew(9002, false));
    let sequences: Vec<u16> = scene.sink.take(1).iter().map(|(header, _)| header.sequence).collect();
    assert_eq!(sequences.len(), 5);
    assert!(sequences.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "{sequences:?}");
}

#[test]
fn a_further_offer_leaves_what_flows_alone() {
    let mut scene = Scene::new(0, 1);
    let mut sender = lines(0);
    sender[1].publish = Some(PublishLine { rids: vec!["q".into()], ..PublishLine::default() });
    scene.join(1, &sender);
    scene.join(2, &lines(1));
    let layer = |sequence: u16, key, extensions: &[(u8, &[u8])]| {
        rtp(31, VP8, sequence, u32::from(sequence) * 3000, extensions, &vp8_payload(sequence, key))
    };
    scene.send(0, &layer(1, true, &[(MID, b"cam"), (RID, b"q")]));
    scene.send(0, &layer(2, true, &[]));
    let before = scene.sink.take(1);
    let (now, mut more) = (scene.now, sender.clone());
    more.insert(0, line("later", MediaKind::Video));
    scene.room.renegotiate(now, 0, &more, &claims()).unwrap();
    scene.room.renegotiate(now, 1, &lines(2), &claims()).unwrap();
    scene.room.settle(now, &mut scene.sink);
    scene.send(0, &layer(3, false, &[]));
    let after = scene.sink.take(1);
    assert_eq!(after.len(), 1, "the SSRC is known without its MID");
    assert_eq!(after[0].0.sequence, before.last().unwrap().0.sequence.wrapping_add(1));
}

#[test]
fn a_slot_that_was_away_for_an_offer_goes_on_with_its_numbers() {
    let mut scene = Scene::new(2, 1);
    scene.send(0, &voice(1, 30));
    let before = scene.sink.take(1)[0].0.sequence;
    let now = scene.now;
    scene.room.renegotiate(now, 1, &lines(0), &claims()).unwrap();
    scene.room.settle(now, &mut scene.sink);
    scene.send(0, &voice(2, 30));
    assert!(scene.sink.take(1).is_empty());
    scene.room.renegotiate(now, 1, &lines(1), &claims()).unwrap();
    scene.room.settle(now, &mut scene.sink);
    scene.send(0, &voice(3, 30));
    assert_eq!(scene.sink.take(1)[0].0.sequence, before.wrapping_add(1));
}

#[test]
fn a_publisher_that_changes_its_ssrc_with_each_packet_does_not_keep_the_room_busy() {
    let mut scene = Scene::new(2, 1);
    let mut kept = 0;
    for n in 0..1000u32 {
        scene.send(0, &rtp(5000 + n, OPUS, 1, 0, &[(MID, b"mic")], b"x"));
        kept += scene.sink.take(1).len();
    }
    assert!(kept <= 2, "{kept} streams were taken up within an instant");
}
