//! Strangers at the TCP side of the media port, beside a live call: garbage, half packets, silence, and more connections than
//! anybody needs. The call goes on without a gap, and whoever belongs there still gets in.
#![allow(clippy::unwrap_used)]

mod peer;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use peer::call::Call;
use peer::media::read_stamp;
use peer::{Format, Spec};

const VOICE: Spec = Spec {
    microphone: true,
    camera: false,
    simulcast: false,
    pairs: 2,
    data: false,
    red: false,
    video: Format::Vp8,
    send_times: false,
};

/// Connections that say nothing for as long as they are let.
async fn connect(server: SocketAddr, from: &str) -> Option<tokio::net::TcpStream> {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((from.parse::<std::net::IpAddr>().unwrap(), 0).into()).unwrap();
    socket.connect(server).await.ok()
}

/// Whether the server has closed this.
fn is_closed(stream: &tokio::net::TcpStream) -> bool {
    match stream.try_read(&mut [0; 64]) {
        Ok(0) => true,
        Ok(_) => panic!("strangers are told nothing"),
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

fn heard(call: &Call, to: usize, from: usize) -> Vec<u64> {
    let stamps = call.peers[to].rtp.iter().map(|a| read_stamp(a.payload(), call.origin, a.at));
    stamps.filter(|(sender, ..)| *sender == from as u64 + 1).map(|(_, number, _)| number).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_half_packets_and_forged_checks_end_their_connection_and_nothing_else() {
    let mut call = Call::new().await;
    call.join_over_tcp(VOICE, "127.0.0.1").await;
    call.join(VOICE).await;
    call.connect().await;
    let server = call.answers[0].tcp_candidates[0];
    let framed = |packet: &[u8]| [&(packet.len() as u16).to_be_bytes()[..], packet].concat();
    let honest = call.peers[0].honest_check();
    let mut forged = honest.clone();
    *forged.last_mut().unwrap() ^= 1;
    let mut nobodys = honest.clone();
    nobodys[26] ^= 1;
    let media = call.peers[0].seal_rtp(&peer::media::voice(1, 0, call.origin, 40));
    let attacks: Vec<(&str, Vec<u8>)> = vec![
        ("a web request", b"GET / HTTP/1.1\r\nHost: ringback\r\n\r\n".to_vec()),
        ("garbage", framed(&[0xC3; 700])),
        ("a packet of all there is", framed(&vec![0; 60_000])),
        ("a forged check", framed(&forged)),
        ("a check for nobody", framed(&nobodys)),
        ("a participant's media", framed(&media)),
        ("a DTLS hello", framed(&[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0])),
    ];
    for (what, bytes) in &attacks {
        let mut stranger = TcpStream::connect(server).unwrap();
        stranger.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let _ = stranger.write_all(bytes);
        let begun = Instant::now();
        loop {
            call.run(Duration::from_millis(5)).await;
            match stranger.read(&mut [0; 64]) {
                Ok(0) => break,
                Ok(len) => panic!("{what} was answered with {len} bytes"),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
            assert!(begun.elapsed() < Duration::from_secs(3), "{what} was not ended at once");
        }
    }
    // Half a packet, however slowly the rest comes, has its time.
    let silent = connect(server, "127.0.0.1").await.unwrap();
    let slow = connect(server, "127.0.0.1").await.unwrap();
    let begun = Instant::now();
    let mut packet = framed(&honest).into_iter();
    let mut sent = 0;
    while !(is_closed(&silent) && is_closed(&slow)) {
        if sent < honest.len() && slow.try_write(&[packet.next().unwrap()]).is_ok() {
            sent += 1;
        }
        call.send_voice(1, 40);
        call.run(Duration::from_millis(100)).await;
        assert!(begun.elapsed() < Duration::from_secs(20), "slow ones were not ended");
    }
    assert!(begun.elapsed() > Duration::from_secs(3), "a slow network has some time too");
    let voices = call.voices[1];
    assert!(voices > 30);
    call.until("every packet came", |call| heard(call, 0, 1) == (0..voices).collect::<Vec<_>>()).await;
    let statistics = call.handle.statistics().await.unwrap();
    assert_eq!((statistics.streams, statistics.panics), (1, 0));
    assert_eq!(statistics.streams_refused, attacks.len() as u64 + 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_connections_costs_nobody_the_call_and_whoever_belongs_there_gets_in() {
    let mut call = Call::new().await;
    call.join_over_tcp(VOICE, "127.0.0.1").await;
    call.join(VOICE).await;
    call.connect().await;
    let server = call.answers[0].tcp_candidates[0];
    let flood = tokio::spawn(async move {
        let mut open = std::collections::VecDeque::new();
        for number in 0..3_000 {
            // Of many addresses, so that not only the limit of each holds.
            let from = format!("127.0.{}.{}", 1 + number % 40 / 20, 1 + number % 20);
            open.extend(connect(server, &from).await);
            if open.len() > 600 {
                open.pop_front();
            }
        }
    });
    let mut most = 0;
    let mut joined = false;
    while !flood.is_finished() {
        call.send_voice(0, 40);
        call.send_voice(1, 40);
        call.run(Duration::from_millis(10)).await;
        most = most.max(call.handle.statistics().await.unwrap().streams);
        if !joined && call.voices[0] >= 3 {
            joined = true;
            call.join_over_tcp(VOICE, "127.0.9.9").await;
        }
    }
    assert!(joined, "the flood was over too soon");
    call.until("the newcomer is connected", |call| call.peers[2].is_connected()).await;
    assert!(most <= 256 + 2, "{most} connections at once");
    let voices = call.voices[0];
    call.until("the call was complete", |call| {
        heard(call, 1, 0) == (0..voices).collect::<Vec<_>>() && heard(call, 0, 1) == (0..voices).collect::<Vec<_>>()
    })
    .await;
    let statistics = call.handle.statistics().await.unwrap();
    assert!(statistics.streams_refused > 2_000, "{statistics:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_has_a_bounded_number_of_connections_that_say_nothing() {
    let mut call = Call::new().await;
    call.join(VOICE).await;
    call.connect().await;
    let server = call.answers[0].tcp_candidates[0];
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.extend(connect(server, "127.0.0.1").await);
        call.run(Duration::from_millis(2)).await;
    }
    assert_eq!(silent.iter().filter(|stream| !is_closed(stream)).count(), 32);
    // Another is not kept out by that.
    call.peers[0].connect_tcp("127.0.0.2").await;
    call.run(Duration::from_millis(200)).await;
    assert!(!call.peers[0].tcp.as_ref().unwrap().closed);
    assert_eq!(call.handle.statistics().await.unwrap().streams, 33);
}
