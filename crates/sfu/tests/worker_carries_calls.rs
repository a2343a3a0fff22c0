//! A worker over real loopback UDP with real ICE, DTLS and SRTP: who gets which packet, in which slot.
#![allow(clippy::unwrap_used)]

mod peer;

use std::time::Duration;

use peer::Spec;
use peer::call::Call;
use peer::media::{read_stamp, vp8_len};
use ringback_sfu::{ParticipantId, SfuEvent, Source};
use ringback_transport::rtcp::{RtcpPacket, RtcpWriter, parse_compound};
use ringback_transport::sctp::SctpEvent;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_publisher_reaches_three_subscribers_completely_and_in_the_announced_slots() {
    let mut call = Call::connected(4).await;
    for round in 0..100 {
        call.send_voice(0, 40);
        call.send_face(0, round % 30 == 0);
        call.run(Duration::from_millis(5)).await;
    }
    call.run(Duration::from_millis(100)).await;
    for subscriber in 1..4 {
        for (source, kind, total) in [(Source::Microphone, "a", 100), (Source::Camera, "v", 100)] {
            // The slot that was announced, not one that happens to carry something.
            let mapping = call
                .events
                .iter()
                .filter_map(|event| match event {
                    SfuEvent::Slots { participant, slots, .. } if participant.0 == subscriber as u64 + 1 => Some(slots),
                    _ => None,
                })
                .flatten()
                .filter(|slot| slot.participant == Some(ParticipantId(1)) && slot.source == Some(source))
                .find(|slot| slot.rtp_timestamp.is_some())
                .unwrap_or_else(|| panic!("{source:?} was never announced to {subscriber}"));
            assert!(mapping.mid.starts_with(kind));
            let ssrc = call.answers[subscriber].ssrc(&mapping.mid);
            let arrived: Vec<_> = call.peers[subscriber].rtp.iter().filter(|a| a.header.ssrc == ssrc).collect();
            assert_eq!(arrived.len(), total, "{source:?} at {subscriber}");
            assert_eq!(Some(arrived[0].header.timestamp), mapping.rtp_timestamp);
            for (at, packet) in arrived.iter().enumerate() {
                let payload = packet.payload();
                let stamp = if source == Source::Camera { &payload[vp8_len(payload)..] } else { payload };
                let (sender, number, age) = read_stamp(stamp, call.origin, packet.at);
                assert_eq!((sender, number), (1, at as u64));
                assert!(age < Duration::from_millis(500), "packet {at} took {age:?}");
            }
        }
        assert_eq!(call.peers[subscriber].rtp.len(), 200, "nothing else arrives");
    }
    assert!(call.peers[0].rtp.is_empty(), "nobody hears themselves");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_packet_comes_again_and_a_lost_picture_is_asked_for() {
    let mut call = Call::connected(2).await;
    for round in 0..10 {
        call.send_face(0, round == 0);
    }
    call.until("ten packets came", |call| call.peers[1].rtp.len() == 10).await;
    let mid = "v0";
    let (ssrc, rtx) = (call.answers[1].ssrc(mid), call.answers[1].rtx(mid).unwrap());
    let lost = call.peers[1].rtp[4].header.sequence;
    let mut buf = [0; 200];
    let mut writer = RtcpWriter::new(&mut buf);
    writer.receiver_report(1, &[]).unwrap().nack(1, ssrc, [lost]).unwrap().pli(1, ssrc).unwrap();
    let len = writer.finish();
    call.peers[0].rtcp.clear();
    call.run(Duration::from_millis(250)).await;
    call.peers[1].send_rtcp(&buf[..len]);
    call.until("the packet came again", |call| call.peers[1].rtp.iter().any(|a| a.header.ssrc == rtx)).await;
    let again = call.peers[1].rtp.last().unwrap();
    assert_eq!(again.payload()[..2], lost.to_be_bytes());
    assert_eq!(again.payload()[2..], *call.peers[1].rtp[4].payload());
    call.until("the publisher was asked for a keyframe", |call| {
        let packets = call.peers[0].rtcp.iter().flat_map(|packet| parse_compound(packet).flatten());
        packets.into_iter().any(|p| matches!(p, RtcpPacket::Pli { media_ssrc: peer::media::CAMERA, .. }))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voice_light_goes_on_while_somebody_speaks_and_out_afterwards() {
    let mut call = Call::connected(2).await;
    // A quiet room, and then syllables.
    for number in 0..50 {
        let level =
            if number < 25 { 68 + number % 3 } else { [34, 24, 20, 19, 21, 23, 22, 27, 33][number as usize % 9] };
        call.send_voice(0, 0x80 | level);
        call.run(Duration::from_millis(20)).await;
    }
    let speaking = |call: &Call| {
        call.events.iter().rev().find_map(|event| match event {
            SfuEvent::Speaking { speaking, .. } => Some(speaking.clone()),
            _ => None,
        })
    };
    assert_eq!(speaking(&call), Some(vec![ParticipantId(1)]));
    call.until("the light went out", |call| speaking(call) == Some(vec![])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_leaves_is_gone_for_everybody_and_may_come_back() {
    let mut call = Call::connected(3).await;
    call.send_voice(0, 40);
    call.handle.leave(ParticipantId(1)).await.unwrap();
    call.until("the departed was told", |call| call.peers[0].closed).await;
    call.until("the others were told", |call| {
        let emptied = call.events.iter().filter_map(|event| match event {
            SfuEvent::Slots { slots, .. } => Some(slots),
            _ => None,
        });
        emptied.flatten().filter(|slot| slot.mid == "a0" && slot.participant.is_none()).count() == 2
    })
    .await;
    assert!(call.handle.leave(ParticipantId(1)).await.is_err());
    let again = call.join(call.peers[0].spec).await;
    call.until("the returned is connected", |call| call.peers[again].is_connected()).await;
    call.run(Duration::from_millis(50)).await;
    call.send_voice(again, 40);
    call.until("the returned is heard", |call| {
        call.peers[1].rtp.iter().any(|a| read_stamp(a.payload(), call.origin, a.at).0 == again as u64 + 1)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_shuts_down_says_goodbye() {
    let mut call = Call::connected(2).await;
    call.handle.shutdown().await;
    call.until("everybody was told", |call| call.peers.iter().all(|peer| peer.closed)).await;
    assert!(call.events.iter().any(|event| matches!(event, SfuEvent::RoomClosed { .. })));
    assert!(call.handle.statistics().await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_echo_channel_echoes_and_every_other_message_goes_to_the_engine_and_back() {
    let mut call = Call::new().await;
    call.join(Spec { microphone: true, data: true, ..Spec::default() }).await;
    call.connect().await;
    call.until("data channels can be opened", |call| call.peers[0].sctp.as_ref().is_some_and(|s| s.is_established()))
        .await;
    let (echo, chat) = (call.peers[0].open_channel("echo"), call.peers[0].open_channel("chat"));
    let opened = |call: &Call, channel| {
        call.peers[0].data.iter().any(|event| matches!(event, SctpEvent::Open { channel: c, .. } if *c == channel))
    };
    call.until("both are open", |call| opened(call, echo) && opened(call, chat)).await;
    call.peers[0].send_data(echo, "once");
    call.peers[0].send_data(chat, "hello");
    let heard = |call: &Call, channel, text: &str| {
        let message = SctpEvent::Message { channel, binary: false, data: text.to_owned().into() };
        call.peers[0].data.contains(&message)
    };
    call.until("the echo came back", |call| heard(call, echo, "once")).await;
    call.until("the engine heard", |call| {
        call.events
            .iter()
            .any(|event| matches!(event, SfuEvent::Data { label, data, .. } if label == "chat" && data == "hello"))
    })
    .await;
    call.handle.send_data(ParticipantId(1), "chat", false, "welcome".into()).await.unwrap();
    call.until("the engine is heard", |call| heard(call, chat, "welcome")).await;
    assert!(call.handle.send_data(ParticipantId(1), "nowhere", false, "x".into()).await.is_err());
}
