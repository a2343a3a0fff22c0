//! A room on two workers, with real peers on each: everybody hears and sees everybody, and what concerns a publisher finds its way back to them.
#![allow(clippy::unwrap_used)]

mod peer;

use std::time::{Duration, Instant};

use peer::call::{Call, ROOM};
use peer::media::{CAMERA, MID, RID, VP8, read_stamp, rtp, stamp, vp8, vp8_len};
use peer::{Peer, Spec};
use ringback_sfu::{ParticipantId, SfuEvent, SlotReason, Source};
use ringback_transport::rtcp::{RtcpPacket, RtcpWriter, parse_compound};

/// So many on the first worker and on the second, connected, with a pair for everybody else.
async fn spanning(people: [usize; 2]) -> [Call; 2] {
    let first = Call::new().await;
    let mut second = Call::beside(&first).await;
    second.origin = first.origin;
    let mut calls = [first, second];
    let pairs = people[0] + people[1] - 1;
    for (call, people) in calls.iter_mut().zip(people) {
        for _ in 0..people {
            call.join(Spec { microphone: true, camera: true, pairs, ..Spec::default() }).await;
        }
    }
    until(&mut calls, "everybody is connected", |calls| {
        let connected = |call: &Call| {
            call.peers.iter().all(Peer::is_connected)
                && call.events.iter().filter(|e| matches!(e, SfuEvent::Connected { .. })).count() == call.peers.len()
        };
        calls.iter().all(connected)
    })
    .await;
    // What has just been told of who is connected reaches the other worker.
    run(&mut calls, Duration::from_millis(30)).await;
    calls
}

async fn run(calls: &mut [Call], time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        calls.iter_mut().for_each(Call::pump);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    calls.iter_mut().for_each(Call::pump);
}

async fn until(calls: &mut [Call; 2], what: &str, done: impl Fn(&[Call; 2]) -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !done(calls) {
        assert!(Instant::now() < end, "waited in vain until {what}: {:?} {:?}", calls[0].events, calls[1].events);
        run(calls, Duration::from_millis(1)).await;
    }
}

/// Senders and numbers.
type Stamps = Vec<(u64, u64)>;

/// Sender and number of each voice and face that a peer got, in the order in which they came.
fn got(call: &Call, at: usize) -> (Stamps, Stamps) {
    let stamps = |video: bool| {
        let of_kind = call.peers[at].rtp.iter().filter(|arrived| (arrived.header.payload_type == 96) == video);
        of_kind
            .map(|arrived| {
                let payload = arrived.payload();
                let stamp = if video { &payload[vp8_len(payload)..] } else { payload };
                let (sender, number, _) = read_stamp(stamp, call.origin, arrived.at);
                (sender, number)
            })
            .collect()
    };
    (stamps(false), stamps(true))
}

fn stages(call: &Call) -> Vec<Option<u64>> {
    let stage = |event: &SfuEvent| match event {
        SfuEvent::Stage { participant, .. } => Some(participant.map(|id| id.0)),
        _ => None,
    };
    call.events.iter().filter_map(stage).collect()
}

fn plis(peer: &Peer) -> usize {
    let packets = peer.rtcp.iter().flat_map(|packet| parse_compound(packet).flatten());
    packets.into_iter().filter(|packet| matches!(packet, RtcpPacket::Pli { media_ssrc: CAMERA, .. })).count()
}

/// Loudness in the course of some syllables, in -dBov.
const SYLLABLES: [u8; 9] = [34, 24, 20, 19, 21, 23, 22, 27, 33];

/// Speaks until the stage shows them, while everybody else is silent.
async fn take_the_stage(calls: &mut [Call; 2], on: usize, at: usize) {
    let id = calls[on].id(at).0;
    for round in 0.. {
        assert!(round < 500, "nobody heard {id}: {:?} {:?}", stages(&calls[0]), stages(&calls[1]));
        for (there, call) in calls.iter_mut().enumerate() {
            for one in 0..call.peers.len() {
                let speaks = (there, one) == (on, at);
                call.send_voice(one, if speaks { 0x80 | SYLLABLES[round % SYLLABLES.len()] } else { 127 });
            }
        }
        run(calls, Duration::from_millis(20)).await;
        if calls.iter().any(|call| stages(call).last() == Some(&Some(id))) {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn everybody_hears_and_sees_everybody_on_both_workers() {
    let mut calls = spanning([2, 2]).await;
    for round in 0..60 {
        for call in &mut calls {
            call.send_voice(0, 40);
            call.send_face(0, round % 20 == 0);
        }
        run(&mut calls, Duration::from_millis(5)).await;
    }
    run(&mut calls, Duration::from_millis(200)).await;
    for (on, call) in calls.iter().enumerate() {
        for at in 0..2 {
            let (voices, faces) = got(call, at);
            for sender in [1, 101] {
                let theirs =
                    |of: &[(u64, u64)]| of.iter().filter(|one| one.0 == sender).map(|one| one.1).collect::<Vec<_>>();
                let expected = if call.id(at).0 == sender { Vec::new() } else { (0..60).collect::<Vec<u64>>() };
                assert_eq!(theirs(&voices), expected, "the voice of {sender} at {at} on {on}");
                assert_eq!(theirs(&faces), expected, "the face of {sender} at {at} on {on}");
            }
            assert_eq!(call.events.iter().filter(|e| matches!(e, SfuEvent::TrackLive { .. })).count(), 2);
        }
        let statistics = call.handle.statistics().await.unwrap();
        assert_eq!((statistics.packets_received, statistics.participants, statistics.rooms_shared), (120, 2, 1));
        assert_eq!((statistics.packets_from_shards, statistics.relays_dropped), (120, 0));
        assert_eq!(statistics.packets_forwarded, 3 * 120);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_lost_picture_is_asked_for_across_workers_and_a_lost_packet_is_there_already() {
    let mut calls = spanning([1, 1]).await;
    for round in 0..10 {
        calls[0].send_face(0, round == 0);
    }
    until(&mut calls, "ten packets came", |calls| calls[1].peers[0].rtp.len() == 10).await;
    let (ssrc, rtx) = (calls[1].answers[0].ssrc("v0"), calls[1].answers[0].rtx("v0").unwrap());
    let lost = calls[1].peers[0].rtp[4].header.sequence;
    let mut buf = [0; 200];
    let mut writer = RtcpWriter::new(&mut buf);
    writer.receiver_report(1, &[]).unwrap().nack(1, ssrc, [lost]).unwrap().pli(1, ssrc).unwrap();
    let len = writer.finish();
    run(&mut calls, Duration::from_millis(250)).await;
    calls[0].peers[0].rtcp.clear();
    calls[1].peers[0].send_rtcp(&buf[..len]);
    until(&mut calls, "the packet came again", |calls| calls[1].peers[0].rtp.iter().any(|a| a.header.ssrc == rtx))
        .await;
    until(&mut calls, "the publisher was asked for a keyframe", |calls| plis(&calls[0].peers[0]) == 1).await;
    for _ in 0..20 {
        calls[1].peers[0].send_rtcp(&buf[..len]);
    }
    run(&mut calls, Duration::from_millis(100)).await;
    assert!(plis(&calls[0].peers[0]) <= 2, "however often it is asked for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn one_shard_decides_the_stage_for_both_and_whoever_mutes_leaves_it_on_both() {
    let mut calls = spanning([2, 2]).await;
    let focus = |call: &Call, of: u64| {
        let focus = |event: &SfuEvent| match event {
            SfuEvent::Focus { participant, focus, .. } if participant.0 == of => Some(focus.map(|f| f.participant.0)),
            _ => None,
        };
        call.events.iter().rev().find_map(focus).flatten()
    };
    take_the_stage(&mut calls, 1, 0).await;
    until(&mut calls, "both workers show them", |calls| {
        focus(&calls[0], 1) == Some(101) && focus(&calls[1], 102) == Some(101)
    })
    .await;
    let handle = calls[1].handle.clone();
    handle.set_muted(ParticipantId(101), Source::Microphone, true).await.unwrap();
    until(&mut calls, "the stage is free", |calls| stages(&calls[0]).last() == Some(&None)).await;
    take_the_stage(&mut calls, 0, 0).await;
    until(&mut calls, "both workers show the next", |calls| {
        focus(&calls[0], 2) == Some(1) && focus(&calls[1], 101) == Some(1) && focus(&calls[1], 102) == Some(1)
    })
    .await;
    assert!(stages(&calls[1]).is_empty(), "one tells for both");
    assert!(!calls[1].events.iter().any(|event| matches!(event, SfuEvent::Speaking { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn whoever_mutes_or_leaves_is_neither_heard_nor_kept_on_the_other_worker() {
    let mut calls = spanning([1, 1]).await;
    let silence = |call: &Call, mid: &str| {
        let of_slot = |event: &SfuEvent| match event {
            SfuEvent::Slots { slots, .. } => slots.iter().find(|slot| slot.mid == mid).map(|slot| slot.reason),
            _ => None,
        };
        call.events.iter().rev().find_map(of_slot).flatten()
    };
    calls[0].send_voice(0, 40);
    until(&mut calls, "a voice came", |calls| calls[1].peers[0].rtp.len() == 1).await;
    let handle = calls[0].handle.clone();
    handle.set_muted(ParticipantId(1), Source::Microphone, true).await.unwrap();
    until(&mut calls, "the slot is silent", |calls| silence(&calls[1], "a0") == Some(SlotReason::Muted)).await;
    for _ in 0..5 {
        calls[0].send_voice(0, 40);
    }
    run(&mut calls, Duration::from_millis(50)).await;
    assert_eq!(calls[1].peers[0].rtp.len(), 1);
    handle.set_muted(ParticipantId(1), Source::Microphone, false).await.unwrap();
    calls[0].send_voice(0, 40);
    until(&mut calls, "they are heard again", |calls| calls[1].peers[0].rtp.len() == 2).await;
    handle.leave(ParticipantId(1)).await.unwrap();
    until(&mut calls, "the slot is empty", |calls| silence(&calls[1], "a0") == Some(SlotReason::Left)).await;
    assert_eq!(calls[1].handle.statistics().await.unwrap().participants, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_worker_whose_part_ends_leaves_the_others_to_themselves() {
    let mut calls = spanning([2, 2]).await;
    take_the_stage(&mut calls, 0, 0).await;
    let handle = calls[0].handle.clone();
    handle.close_room(ROOM).await.unwrap();
    // The one that was told of the stage decides it from now on.
    take_the_stage(&mut calls, 1, 1).await;
    assert_eq!(stages(&calls[1]).last(), Some(&Some(102)));
    calls[1].peers.iter_mut().for_each(|peer| peer.rtp.clear());
    for _ in 0..20 {
        calls[1].send_voice(0, 40);
        run(&mut calls, Duration::from_millis(2)).await;
    }
    run(&mut calls, Duration::from_millis(50)).await;
    assert_eq!(got(&calls[1], 1).0.len(), 20);
    let statistics = calls[1].handle.statistics().await.unwrap();
    assert_eq!((statistics.rooms, statistics.rooms_shared, statistics.participants), (1, 0, 2));
}

/// The camera's layers, as the peer offers them: SSRC, RID, width, height.
const LAYERS: [(u32, &str, u16, u16); 2] = [(3001, "q", 320, 180), (3002, "h", 1280, 720)];

fn send_layers(call: &mut Call, round: u16) {
    for (ssrc, rid, width, height) in LAYERS {
        let key = round.is_multiple_of(30);
        let mut payload = vp8(round, key, true);
        if key {
            payload[10..12].copy_from_slice(&width.to_le_bytes());
            payload[12..14].copy_from_slice(&height.to_le_bytes());
        }
        payload.extend(stamp(1, round.into(), call.origin, 150));
        // As browsers do: named at first only.
        let named: &[(u8, &[u8])] = &[(MID, b"cam"), (RID, rid.as_bytes())];
        let extensions = if round < 10 { named } else { &[] };
        call.peers[0].send_rtp(&rtp(ssrc, VP8, round, u32::from(round) * 2700, extensions, &payload));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_publisher_sends_what_is_wanted_on_the_other_worker_and_no_more() {
    let mut calls = [Call::new().await, Call::new().await];
    calls[0].join(Spec { camera: true, simulcast: true, ..Spec::default() }).await;
    until(&mut calls, "they are connected", |calls| calls[0].peers[0].is_connected()).await;
    for round in 0..20 {
        send_layers(&mut calls[0], round);
        run(&mut calls, Duration::from_millis(10)).await;
    }
    // Whoever comes now learns of layers whose names are not told any more.
    calls[1] = Call::beside(&calls[0]).await;
    calls[1].join(Spec { pairs: 1, ..Spec::default() }).await;
    until(&mut calls, "they are connected", |calls| calls[1].peers[0].is_connected()).await;
    let (handle, viewer) = (calls[1].handle.clone(), calls[1].id(0));
    let show = async |width, height| {
        let view = ringback_sfu::SlotView { mid: "v0".into(), width, height };
        handle.set_view(viewer, vec![view]).await.unwrap();
    };
    let told = |call: &Call| {
        let wanted = |event: &SfuEvent| match event {
            SfuEvent::Layers { wanted, .. } => Some(wanted.clone()),
            _ => None,
        };
        call.events.iter().filter_map(wanted).collect::<Vec<_>>()
    };
    show(160, 90).await;
    let mut round = 30;
    while told(&calls[0]).is_empty() {
        assert!(round < 400, "nobody told that the large layer is not wanted");
        send_layers(&mut calls[0], round);
        round += 1;
        run(&mut calls, Duration::from_millis(30)).await;
    }
    assert_eq!(told(&calls[0]), [["q"]]);
    show(1280, 720).await;
    until(&mut calls, "the large layer is wanted again", |calls| told(&calls[0]).len() == 2).await;
    assert_eq!(told(&calls[0])[1], ["q", "h"]);
    assert!(told(&calls[1]).is_empty(), "their own worker tells them");
    for round in round..round + 60 {
        send_layers(&mut calls[0], round);
        run(&mut calls, Duration::from_millis(5)).await;
    }
    let mapped = calls[1].peers[0].rtp.iter().rev().find(|arrived| {
        let payload = arrived.payload();
        payload.len() > 14 && payload[4..7] == [0x10, 0, 0]
    });
    assert_eq!(mapped.unwrap().payload()[10..12], 1280_u16.to_le_bytes(), "and it is shown");
}
