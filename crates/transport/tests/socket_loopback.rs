//! The UDP socket on real loopback, for both families.
#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ringback_transport::socket::{ReceiveBatch, SendArena, SendReport, SocketOptions, UdpSocket};

fn loopbacks() -> Vec<SocketAddr> {
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
    let has_v6 = std::net::UdpSocket::bind(v6).is_ok();
    [SocketAddr::from((Ipv4Addr::LOCALHOST, 0))].into_iter().chain(has_v6.then_some(v6)).collect()
}

fn queue(arena: &mut SendArena, number: u16, len: usize, to: SocketAddr) {
    let space = arena.reserve(len).unwrap();
    space.fill(number as u8);
    space[..2].copy_from_slice(&number.to_be_bytes());
    arena.commit(len, to);
}

/// The next `count` datagrams: number, length, source; each checked to be whole.
async fn receive(socket: &UdpSocket, count: usize) -> Vec<(u16, usize, SocketAddr)> {
    let mut batch = ReceiveBatch::new();
    let mut seen = Vec::new();
    while seen.len() < count {
        tokio::time::timeout(Duration::from_secs(5), socket.readable()).await.expect("datagrams arrive").unwrap();
        let datagrams = socket.try_receive(&mut batch).unwrap();
        let before = seen.len();
        for (from, datagram) in batch.datagrams() {
            let number = u16::from_be_bytes([datagram[0], datagram[1]]);
            assert!(datagram[2..].iter().all(|byte| *byte == number as u8), "datagram {number} is mixed up");
            seen.push((number, datagram.len(), from));
        }
        assert_eq!(seen.len() - before, datagrams);
    }
    seen
}

/// Datagrams sent and dropped.
fn outcome(report: SendReport) -> (usize, usize) {
    (report.sent, report.dropped)
}

#[tokio::test]
async fn trains_arrive_as_the_datagrams_they_were_made_of() {
    for address in loopbacks() {
        for trains in [true, false] {
            let options = SocketOptions::default().with_trains(trains);
            let sender = UdpSocket::bind_with(address, &options).unwrap();
            let receiver = UdpSocket::bind(address).unwrap();
            let mut arena = SendArena::default();
            let sizes = [1200, 1200, 1200, 1200, 700, 1200, 1201, 1200, 40, 40, 40];
            let sizes: Vec<usize> = sizes.into_iter().cycle().take(100).collect();
            for (number, len) in sizes.iter().enumerate() {
                queue(&mut arena, number as u16, *len, receiver.local_addr());
            }
            assert_eq!(outcome(sender.send(&mut arena)), (100, 0));
            assert!(arena.is_empty());
            let expected: Vec<_> =
                sizes.iter().enumerate().map(|(number, len)| (number as u16, *len, sender.local_addr())).collect();
            assert_eq!(receive(&receiver, 100).await, expected, "{address}, trains: {trains}");
        }
    }
}

#[tokio::test]
async fn interleaved_destinations_each_get_their_own_in_order() {
    for address in loopbacks() {
        let sender = UdpSocket::bind(address).unwrap();
        let receivers: Vec<UdpSocket> = (0..20).map(|_| UdpSocket::bind(address).unwrap()).collect();
        let mut arena = SendArena::default();
        for number in 0..10 {
            for (position, receiver) in receivers.iter().enumerate() {
                queue(&mut arena, number, 200 + position, receiver.local_addr());
            }
        }
        let report = sender.send(&mut arena);
        assert_eq!(outcome(report), (200, 0));
        assert_eq!(report.trains, if sender.sends_trains() { 20 } else { 200 }, "a train for each destination");
        for (position, receiver) in receivers.iter().enumerate() {
            let seen = receive(receiver, 10).await;
            assert!(seen.iter().enumerate().all(|(number, seen)| (seen.0, seen.1) == (number as u16, 200 + position)));
        }
    }
}

#[tokio::test]
async fn a_receiver_that_is_gone_costs_nobody_else() {
    for address in loopbacks() {
        let sender = UdpSocket::bind(address).unwrap();
        let receiver = UdpSocket::bind(address).unwrap();
        let gone = UdpSocket::bind(address).unwrap().local_addr();
        let mut arena = SendArena::default();
        for round in 0..20 {
            queue(&mut arena, round, 500, gone);
            queue(&mut arena, round, 500, receiver.local_addr());
            assert_eq!(outcome(sender.send(&mut arena)), (2, 0));
            assert_eq!(receive(&receiver, 1).await[0].0, round);
        }
        assert_eq!(sender.try_receive(&mut ReceiveBatch::new()).unwrap(), 0);
    }
}

#[tokio::test]
async fn what_cannot_be_sent_is_counted_and_the_rest_goes() {
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    // Another family than the socket's: no system takes that.
    let unreachable = SocketAddr::from((Ipv6Addr::LOCALHOST, 9));
    let mut arena = SendArena::default();
    for number in 0..8 {
        queue(&mut arena, number, 1000, unreachable);
        queue(&mut arena, number, 1000, receiver.local_addr());
    }
    assert_eq!(outcome(sender.send(&mut arena)), (8, 8));
    assert_eq!(receive(&receiver, 8).await.len(), 8);
    assert_eq!(sender.sends_trains(), cfg!(target_os = "linux"));
}

#[tokio::test]
async fn overload_neither_blocks_nor_breaks_the_socket() {
    let small = SocketOptions::default().with_receive_buffer(1).with_send_buffer(1);
    let sender = UdpSocket::bind_with((Ipv4Addr::LOCALHOST, 0).into(), &small).unwrap();
    let receiver = UdpSocket::bind_with((Ipv4Addr::LOCALHOST, 0).into(), &small).unwrap();
    let mut arena = SendArena::default();
    let mut report = SendReport::default();
    for _ in 0..50 {
        for number in 0..100 {
            queue(&mut arena, number, 1200, receiver.local_addr());
        }
        report += sender.send(&mut arena);
    }
    assert_eq!(report.sent + report.dropped, 5000);
    let mut batch = ReceiveBatch::new();
    let mut arrived = 0;
    receiver.readable().await.unwrap();
    loop {
        match receiver.try_receive(&mut batch).unwrap() {
            0 => break,
            datagrams => arrived += datagrams,
        }
    }
    assert!(arrived < 5000, "a receive buffer of next to nothing lost nothing");
    queue(&mut arena, 7, 100, receiver.local_addr());
    assert_eq!(outcome(sender.send(&mut arena)), (1, 0));
    assert_eq!(receive(&receiver, 1).await[0].0, 7);
}

#[tokio::test]
async fn both_families_may_have_the_same_port() {
    if loopbacks().len() < 2 {
        return;
    }
    let v6 = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0).into()).unwrap();
    let v4 = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, v6.local_addr().port()).into());
    // Somebody else may hold that port for IPv4; that is the only excuse.
    if let Err(error) = v4 {
        assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    }
}
