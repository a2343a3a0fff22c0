//! Participants over TCP (RFC 6544, RFC 4571) on the media port: they get what those over UDP get, their media follows them from
//! one to the other, and whoever does not read what is sent delays nobody.
#![allow(clippy::unwrap_used)]

mod peer;

use std::time::Duration;

use peer::call::Call;
use peer::media::{CAMERA, read_stamp, vp8_len};
use peer::{Format, Spec};
use ringback_sfu::{SfuError, Worker, WorkerConfig};
use ringback_transport::dtls::Certificate;
use ringback_transport::rtcp::{RtcpPacket, parse_compound};

const BOTH: Spec = Spec {
    microphone: true,
    camera: true,
    simulcast: false,
    pairs: 2,
    data: false,
    red: false,
    video: Format::Vp8,
    send_times: false,
};

/// The numbers of the packets that `to` got of `from`'s camera or microphone.
fn numbers(call: &Call, to: usize, from: usize, video: bool) -> Vec<u64> {
    let mine = |arrived: &&peer::Arrived| {
        let slot = call.answers[to].slots.iter().find(|(_, ssrc, _)| *ssrc == arrived.header.ssrc);
        slot.is_some_and(|(mid, ..)| mid.starts_with(if video { 'v' } else { 'a' }))
    };
    let stamps = call.peers[to].rtp.iter().filter(mine).map(|arrived| {
        let payload = arrived.payload();
        read_stamp(if video { &payload[vp8_len(payload)..] } else { payload }, call.origin, arrived.at)
    });
    stamps.filter(|(sender, ..)| *sender == from as u64 + 1).map(|(_, number, _)| number).collect()
}

/// Sends so many voices and faces of `from`; the first face is a keyframe.
async fn talk(call: &mut Call, from: usize, packets: u64) {
    for round in 0..packets {
        call.send_voice(from, 40);
        call.send_face(from, round == 0);
        call.run(Duration::from_millis(3)).await;
    }
    call.run(Duration::from_millis(150)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_offers_tcp_on_the_port_of_udp_and_a_call_over_it_is_complete() {
    let mut call = Call::new().await;
    for _ in 0..2 {
        call.join_over_tcp(BOTH, "127.0.0.1").await;
    }
    call.join(BOTH).await;
    assert_eq!(call.answers[0].tcp_candidates, call.handle.announced_addresses());
    assert_eq!(call.answers[0].tcp_candidates, call.answers[0].candidates);
    call.connect().await;
    for from in 0..3 {
        talk(&mut call, from, 60).await;
    }
    let all: Vec<u64> = (0..60).collect();
    for to in 0..3 {
        for from in (0..3).filter(|from| *from != to) {
            assert_eq!(numbers(&call, to, from, false), all, "the voice of {from} at {to}");
            assert_eq!(numbers(&call, to, from, true), all, "the face of {from} at {to}");
        }
    }
    let statistics = call.handle.statistics().await.unwrap();
    assert_eq!((statistics.streams, statistics.streams_refused, statistics.streams_congested), (2, 0, 0));
    // Whoever leaves is told over TCP as well, and the connection goes with them.
    call.handle.leave(ringback_sfu::ParticipantId(1)).await.unwrap();
    call.until("the departed was told", |call| call.peers[0].closed).await;
    call.until("the connection was closed", |call| call.peers[0].tcp.as_ref().unwrap().closed).await;
    assert_eq!(call.handle.statistics().await.unwrap().streams, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn media_follows_a_participant_from_tcp_to_udp_and_back() {
    let mut call = Call::new().await;
    call.join(BOTH).await;
    call.join_over_tcp(BOTH, "127.0.0.1").await;
    call.connect().await;
    talk(&mut call, 0, 20).await;

    let mut left = call.peers[1].leave_tcp().unwrap();
    call.run(Duration::from_millis(200)).await;
    talk(&mut call, 0, 20).await;
    talk(&mut call, 1, 20).await;
    assert_eq!(numbers(&call, 1, 0, false), (0..40).collect::<Vec<_>>());
    let mut buffer = [0; 4096];
    let on_tcp = std::iter::from_fn(|| left.receive(&mut buffer).map(|len| len > 200)).filter(|media| *media).count();
    assert_eq!(on_tcp, 0, "nothing goes on over the path that was left");
    drop(left);

    // A new connection, which goes away without a word, and another.
    for round in 0..2 {
        call.peers[1].connect_tcp("127.0.0.1").await;
        call.run(Duration::from_millis(200)).await;
        talk(&mut call, 0, 20).await;
        let expected = 60 + 20 * round;
        assert_eq!(numbers(&call, 1, 0, false), (0..expected).collect::<Vec<_>>());
        assert_eq!(numbers(&call, 1, 0, true), (0..expected).collect::<Vec<_>>());
        assert_eq!(call.handle.statistics().await.unwrap().streams, 1);
        let check = std::mem::take(&mut call.peers[1].check);
        drop(call.peers[1].leave_tcp());
        call.run(Duration::from_millis(50)).await;
        assert_eq!(call.handle.statistics().await.unwrap().streams, 0);
        call.peers[1].check = check;
    }
    talk(&mut call, 1, 20).await;
    assert_eq!(numbers(&call, 0, 1, true).len(), 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_stops_reading_loses_video_until_a_keyframe_then_nothing_of_the_voice_and_delays_nobody() {
    let mut call = Call::new().await;
    call.join(BOTH).await;
    let stalled = call.join_over_tcp(BOTH, "127.0.0.1").await;
    let other = call.join_over_tcp(BOTH, "127.0.0.1").await;
    call.connect().await;
    talk(&mut call, 0, 20).await;

    call.peers[stalled].tcp.as_mut().unwrap().reads = false;
    let mut sent = 20;
    while call.handle.statistics().await.unwrap().streams_congested == 0 {
        for _ in 0..10 {
            call.send_face(0, false);
        }
        call.run(Duration::from_millis(4)).await;
        sent += 10;
        assert!(sent < 20_000, "the queue is bounded");
    }
    // Video goes on for the other; of the voice not one packet is left out for the stalled, nor for anybody.
    for _ in 0..100 {
        call.send_voice(0, 40);
        call.send_face(0, false);
        call.run(Duration::from_millis(2)).await;
    }
    sent += 100;
    call.run(Duration::from_millis(200)).await;
    assert_eq!(numbers(&call, other, 0, true), (0..sent).collect::<Vec<_>>());
    call.peers[0].rtcp.clear();

    call.peers[stalled].tcp.as_mut().unwrap().reads = true;
    call.until("a keyframe was asked for", |call| {
        let packets = call.peers[0].rtcp.iter().flat_map(|packet| parse_compound(packet).flatten());
        packets.into_iter().any(|p| matches!(p, RtcpPacket::Pli { media_ssrc: CAMERA, .. }))
    })
    .await;
    // Nothing before the keyframe, everything from it on.
    for round in 0..20 {
        call.send_voice(0, 40);
        call.send_face(0, round >= 10);
        call.run(Duration::from_millis(3)).await;
    }
    call.run(Duration::from_millis(200)).await;
    assert_eq!(numbers(&call, stalled, 0, false), (0..140).collect::<Vec<_>>());
    let seen = numbers(&call, stalled, 0, true);
    let gap = seen.windows(2).position(|pair| pair[1] != pair[0] + 1).unwrap();
    assert!(seen[gap] < sent - 100, "video was cut off before {}", seen[gap]);
    assert_eq!(seen[gap + 1..], (sent + 10..sent + 20).collect::<Vec<_>>());
    // What was left out closes up: there is nothing to ask for again.
    let video = |arrived: &&peer::Arrived| arrived.header.ssrc == call.answers[stalled].ssrc("v0");
    let sequences: Vec<u16> = call.peers[stalled].rtp.iter().filter(video).map(|a| a.header.sequence).collect();
    assert!(sequences.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "{sequences:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_without_tcp_offers_none_and_listens_to_none() {
    let mut config = WorkerConfig::new(vec!["127.0.0.1:0".parse().unwrap()], Certificate::generate().unwrap());
    config.ice_tcp = false;
    let mut call = Call::with(config).await;
    call.join(BOTH).await;
    assert!(call.answers[0].tcp_candidates.is_empty());
    assert!(std::net::TcpStream::connect(call.answers[0].candidates[0]).is_err());
    call.connect().await;
}

#[tokio::test]
async fn a_port_that_is_taken_over_tcp_is_a_clear_error_and_no_hindrance_without_tcp() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut config = WorkerConfig::new(vec![address], Certificate::generate().unwrap());
    let error = Worker::spawn(config.clone()).unwrap_err();
    assert!(matches!(&error, SfuError::BindTcp { address: of, .. } if *of == address), "{error}");
    assert!(error.to_string().contains("ICE-TCP"), "{error}");
    config.ice_tcp = false;
    let (handle, _events) = Worker::spawn(config).unwrap();
    assert_eq!(handle.bound_addresses(), [address]);
}
