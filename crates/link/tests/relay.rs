//! The relay between real sockets on loopback.
#![allow(clippy::unwrap_used, missing_docs)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ringback_link::{Conditions, GilbertElliott, Network, Profile, Relay, RelayConfig};
use tokio::net::UdpSocket;

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn network(conditions: Conditions) -> Network {
    Network::symmetric("test", "", "", Profile::constant(conditions))
}

/// A server that sends everything back, and how many addresses it has heard from.
async fn echo() -> SocketAddr {
    let socket = UdpSocket::bind(loopback()).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let port = from.port().to_be_bytes();
            socket.send_to(&[&port, &buffer[..length]].concat(), from).await.unwrap();
        }
    });
    address
}

async fn receive(socket: &UdpSocket) -> Option<Vec<u8>> {
    let mut buffer = [0; 2048];
    let received = tokio::time::timeout(Duration::from_secs(1), socket.recv(&mut buffer)).await.ok()?.ok()?;
    Some(buffer[..received].to_vec())
}

#[tokio::test]
async fn each_client_reaches_the_server_from_an_address_of_its_own_and_gets_its_own_answers() {
    let conditions = Conditions::delayed(Duration::from_millis(20), Duration::ZERO);
    let config =
        RelayConfig { listen: loopback(), to: echo().await, network: network(conditions), seed: 1, shared: false };
    let relay = Relay::start(config).await.unwrap();
    let mut ports = Vec::new();
    for client in 0..3_u8 {
        let socket = UdpSocket::bind(loopback()).await.unwrap();
        socket.connect(relay.address()).await.unwrap();
        let began = Instant::now();
        socket.send(&[client; 5]).await.unwrap();
        let answer = receive(&socket).await.unwrap();
        assert!(began.elapsed() >= Duration::from_millis(40), "twice the delay: {:?}", began.elapsed());
        assert_eq!(answer[2..], [client; 5]);
        ports.push(answer[..2].to_vec());
    }
    ports.dedup();
    assert_eq!(ports.len(), 3);
    let statistics = relay.stop().await;
    assert_eq!((statistics.clients, statistics.up.delivered, statistics.down.delivered), (3, 3, 3));
}

#[tokio::test]
async fn the_statistics_tell_what_was_lost() {
    let conditions = Conditions::PERFECT.with_loss(GilbertElliott::random(0.3));
    let config =
        RelayConfig { listen: loopback(), to: echo().await, network: network(conditions), seed: 7, shared: true };
    let relay = Relay::start(config).await.unwrap();
    let socket = UdpSocket::bind(loopback()).await.unwrap();
    socket.connect(relay.address()).await.unwrap();
    for _ in 0..200 {
        socket.send(&[9; 100]).await.unwrap();
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    let mut answers = 0;
    while receive(&socket).await.is_some() {
        answers += 1;
    }
    let statistics = relay.stop().await;
    assert_eq!(statistics.up.sent, statistics.up.delivered + statistics.up.lost);
    assert_eq!(statistics.down.delivered, answers);
    assert!((20..110).contains(&statistics.up.lost), "{statistics:?}");
}

#[tokio::test]
async fn a_changed_network_holds_at_once_for_clients_that_are_there_and_that_come() {
    let conditions = Conditions::PERFECT.with_loss(GilbertElliott::random(1.0));
    let config =
        RelayConfig { listen: loopback(), to: echo().await, network: network(conditions), seed: 1, shared: false };
    let relay = Relay::start(config).await.unwrap();
    let [before, after] = [UdpSocket::bind(loopback()).await.unwrap(), UdpSocket::bind(loopback()).await.unwrap()];
    before.connect(relay.address()).await.unwrap();
    after.connect(relay.address()).await.unwrap();
    before.send(&[1; 5]).await.unwrap();
    assert_eq!(receive(&before).await, None);
    relay.change(network(Conditions::PERFECT));
    for socket in [before, after] {
        socket.send(&[2; 5]).await.unwrap();
        assert_eq!(receive(&socket).await.unwrap()[2..], [2; 5]);
    }
}
