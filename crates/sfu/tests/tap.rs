//! Taps over real loopback UDP: the decrypted packets of one participant, alone in the room or not, and never at anybody's cost.
#![allow(clippy::unwrap_used)]

mod peer;

use std::time::Duration;

use peer::Spec;
use peer::call::Call;
use peer::media::{CAMERA, read_stamp, vp8_len};
use ringback_sfu::{ParticipantId, RoomId, Source, TapEnd, TapEvent, TapPacket};
use ringback_transport::rtcp::{RtcpPacket, parse_compound};

const BOTH: [Source; 2] = [Source::Microphone, Source::Camera];

/// A caller whom nobody has joined yet: not admitted, and alone.
async fn alone() -> Call {
    let mut call = Call::new().await;
    call.join(Spec { microphone: true, camera: true, ..Spec::default() }).await;
    call.connect().await;
    call.handle.admit(ParticipantId(1), false).await.unwrap();
    call
}

fn packets(events: &[TapEvent], source: Source) -> Vec<&TapPacket> {
    let of_source = events.iter().filter_map(|event| match event {
        TapEvent::Packet(packet) if packet.source == source => Some(packet),
        _ => None,
    });
    of_source.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lonely_callers_packets_come_out_of_the_tap_complete_and_in_order() {
    let mut call = alone().await;
    let mut tap = call.handle.tap(ParticipantId(1), &BOTH).await.unwrap();
    let told = tokio::spawn(async move {
        let mut events = Vec::new();
        while let Some(event) = tap.recv().await {
            events.push(event);
        }
        events
    });
    for round in 0..100 {
        call.send_voice(0, 40);
        call.send_face(0, round % 30 == 0);
        call.run(Duration::from_millis(5)).await;
    }
    call.handle.set_muted(ParticipantId(1), Source::Microphone, true).await.unwrap();
    call.send_voice(0, 40);
    call.run(Duration::from_millis(50)).await;
    call.handle.leave(ParticipantId(1)).await.unwrap();
    let events = told.await.unwrap();
    for source in BOTH {
        let packets = packets(&events, source);
        assert_eq!(packets.len(), 100, "{source:?}");
        for (at, packet) in packets.iter().enumerate() {
            let payload = &packet.payload;
            let stamp = if source == Source::Camera { &payload[vp8_len(payload)..] } else { payload };
            let (sender, number, _) = read_stamp(stamp, call.origin, packet.arrival);
            assert_eq!((sender, number), (1, at as u64), "{source:?}");
            assert_eq!(packet.level, (source == Source::Microphone).then_some(40));
        }
        let steps = packets.windows(2).map(|pair| pair[1].sequence.wrapping_sub(pair[0].sequence));
        assert!(steps.into_iter().all(|step| step == 1), "{source:?}");
    }
    assert!(
        events.iter().any(|event| matches!(event, TapEvent::Muted { source: Source::Microphone, muted: true, .. }))
    );
    assert_eq!(events.last(), Some(&TapEvent::Ended(TapEnd::Left)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tapped_camera_is_asked_for_a_keyframe_and_begins_with_it() {
    let mut call = alone().await;
    for _ in 0..5 {
        call.send_face(0, false);
        call.run(Duration::from_millis(10)).await;
    }
    call.peers[0].rtcp.clear();
    let mut tap = call.handle.tap(ParticipantId(1), &[Source::Camera]).await.unwrap();
    call.send_face(0, false);
    call.until("a keyframe is asked for", |call| {
        let packets = call.peers[0].rtcp.iter().flat_map(|packet| parse_compound(packet).flatten());
        packets.into_iter().any(|packet| matches!(packet, RtcpPacket::Pli { media_ssrc: CAMERA, .. }))
    })
    .await;
    call.send_face(0, true);
    call.send_face(0, false);
    let Some(TapEvent::Packet(first)) = tap.recv().await else { panic!("no packet") };
    let (_, number, _) = read_stamp(&first.payload[vp8_len(&first.payload)..], call.origin, first.arrival);
    assert_eq!(number, 6, "what came before the keyframe is no use to anybody");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_falls_behind_loses_the_tap_and_the_call_loses_nothing() {
    let mut call = Call::connected(2).await;
    let mut tap = call.handle.tap(ParticipantId(1), &[Source::Microphone]).await.unwrap();
    for _ in 0..1_500 {
        call.send_voice(0, 40);
        if call.voices[0].is_multiple_of(50) {
            call.run(Duration::from_millis(2)).await;
        }
    }
    call.until("everything has arrived", |call| call.peers[1].rtp.len() == 1_500).await;
    let mut events = Vec::new();
    while let Some(event) = tap.recv().await {
        events.push(event);
    }
    assert_eq!(events.last(), Some(&TapEvent::Ended(TapEnd::Overrun)));
    assert_eq!(packets(&events, Source::Microphone).len(), 1_024);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_the_room_ends_the_tap_and_nobody_can_be_tapped_who_is_not_there() {
    let call = alone().await;
    let mut tap = call.handle.tap(ParticipantId(1), &BOTH).await.unwrap();
    assert!(call.handle.tap(ParticipantId(9), &BOTH).await.is_err());
    call.handle.close_room(RoomId(1)).await.unwrap();
    assert_eq!(tap.recv().await, Some(TapEvent::Ended(TapEnd::Closed)));
    assert_eq!(tap.recv().await, None);
}
