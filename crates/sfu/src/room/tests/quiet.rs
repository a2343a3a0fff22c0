//! Rooms in which nothing happens, and what they cost while nothing does.

use std::time::Duration;

use ringback_transport::rtcp::{RtcpPacket, parse_compound};

use super::scene::*;

/// How often a room is due while so much time passes, and what it sends meanwhile.
fn cost(scene: &mut Scene, time: Duration) -> (u32, usize) {
    let end = scene.now + time;
    let mut ticks = 0;
    scene.sink.rtcp.clear();
    while scene.room.poll_timeout() <= end {
        scene.now = scene.now.max(scene.room.poll_timeout());
        scene.room.handle_timeout(scene.now, &mut scene.sink);
        ticks += 1;
    }
    scene.now = end;
    (ticks, scene.sink.rtcp.len())
}

#[test]
fn a_quiet_room_looks_every_two_minutes_and_sends_nothing() {
    let mut scene = Scene::new(2, 1);
    scene.send(0, &voice(1, 30));
    scene.send(1, &face(1, true));
    scene.pass(Duration::from_secs(40));
    let (ticks, sent) = cost(&mut scene, Duration::from_secs(600));
    assert!(ticks <= 6, "{ticks}");
    assert_eq!(sent, 0);
}

#[test]
fn a_quiet_room_is_awake_with_the_first_packet_and_with_whoever_looks_on() {
    let mut scene = Scene::new(2, 1);
    scene.pass(Duration::from_secs(300));
    assert!(scene.room.poll_timeout() > scene.now);
    scene.send(0, &voice(1, 30));
    assert!(scene.room.poll_timeout() <= scene.now + Duration::from_millis(20));
    assert_eq!(scene.sink.take(1).len(), 1);

    scene.pass(Duration::from_secs(300));
    scene.room.watch_stage(1, true);
    assert!(scene.room.poll_timeout() <= scene.now);
    scene.events();
    scene.pass(Duration::from_secs(6));
    let told = scene.events().into_iter().filter(|event| matches!(event, SfuEvent::StageReadings { .. })).count();
    assert!(told >= 2, "{told}");
}

#[test]
fn probes_in_a_quiet_room_are_answered_and_let_it_sleep_again() {
    let mut scene = Scene::new(2, 1);
    scene.pass(Duration::from_secs(300));
    scene.sink.rtcp.clear();
    for sequence in 0..20_u8 {
        // Of a stream that nothing is known of: no media, but a packet that arrived.
        scene.send(0, &rtp(77, 5, sequence.into(), 0, &[(TRANSPORT, &[0, sequence])], &[]));
    }
    let (ticks, _) = cost(&mut scene, Duration::from_secs(600));
    assert!(ticks <= 40, "{ticks}");
    assert!(scene.sink.rtcp.iter().any(|(to, packet)| {
        *to == 0 && parse_compound(packet).flatten().any(|packet| matches!(packet, RtcpPacket::TransportFeedback(_)))
    }));
}
