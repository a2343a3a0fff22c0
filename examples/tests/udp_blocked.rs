//! A network that lets no UDP through: two browsers call each other over TCP to the media port, seen and heard to the end. And one
//! that does: TCP is offered there too, and nobody uses it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod browser;
mod server;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use browser::{ADDRESS, Browser, Colour, FakeMedia, Namespace, Page, chromium_or_skip, enter_namespace_without_udp};
use server::Server;

/// Generous: two browsers share two cores with a compiler, at times.
const SOON: Duration = Duration::from_secs(60);

const CONNECTED: &str = "ringback.call?.state === 'active' && ringback.room.state === 'connected'";

/// The selected pair as the browser tells it: the protocol of its own candidate, and of the server's.
const SELECTED: &str = "(async () => {
    const stats = await ringback.room.peer.getStats();
    const transport = [...stats.values()].find(({ type }) => type === 'transport');
    const pair = stats.get(transport.selectedCandidatePairId);
    const [local, remote] = [stats.get(pair.localCandidateId), stats.get(pair.remoteCandidateId)];
    return `${local.protocol} to ${remote.protocol}`;
})()";

#[test]
fn where_udp_is_blocked_a_call_connects_over_tcp_and_is_seen_and_heard() {
    let test = "where_udp_is_blocked_a_call_connects_over_tcp_and_is_seen_and_heard";
    let Some(chromium) = chromium_or_skip(test) else { return };
    if enter_namespace_without_udp(test) == Namespace::Inside {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let datagrams = std::net::UdpSocket::bind((ADDRESS, 0)).unwrap();
            datagrams.send_to(b"blocked", datagrams.local_addr().unwrap()).unwrap();
            datagrams.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            assert!(datagrams.recv_from(&mut [0; 16]).is_err(), "UDP comes through");
            let media = SocketAddr::new(ADDRESS, 0).to_string();
            let server = Server::start_with(&["--listen", "127.0.0.1:0", "--media", &media]).await.unwrap();
            call(&chromium, &server, "tcp").await;
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_udp_comes_through_nobody_uses_tcp() {
    let Some(chromium) = chromium_or_skip("where_udp_comes_through_nobody_uses_tcp") else { return };
    call(&chromium, &Server::start().await.unwrap(), "udp").await;
}

/// Ann calls Bob, and both see and hear each other over this protocol.
async fn call(chromium: &Path, server: &Server, protocol: &str) {
    let anns_media = FakeMedia { tone: Some(440), colour: Some(Colour::Red) };
    let bobs_media = FakeMedia { tone: Some(1_000), colour: Some(Colour::Blue) };
    let bobs = Browser::launch(chromium, bobs_media).await.unwrap();
    let bob = bobs.open(&server.page("Bob", "&auto=accept")).await.unwrap();
    let anns = Browser::launch(chromium, anns_media).await.unwrap();
    let ann = anns.open(&server.page("Ann", "&call=bob&kind=video")).await.unwrap();
    for page in [&ann, &bob] {
        page.wait_for(CONNECTED, SOON).await.unwrap();
    }
    see_and_hear(&ann, "Bob", 1_000, Colour::Blue).await;
    see_and_hear(&bob, "Ann", 440, Colour::Red).await;
    for page in [&ann, &bob] {
        assert_eq!(page.eval_as::<String>(SELECTED).await.unwrap(), format!("{protocol} to {protocol}"));
    }
    ann.eval("ringback.call.hangup()").await.unwrap();
    bob.wait_for("!ringback.call || ringback.call.isOver", SOON).await.unwrap();
}

async fn see_and_hear(page: &Page, name: &str, tone: u32, colour: Colour) {
    let participant = format!("[...ringback.room.participants.values()].find(({{ name }}) => name === '{name}')");
    page.wait_for_tone(&format!("{participant}.audio"), tone, SOON).await.unwrap();
    let picture = format!("document.querySelector('.tile[aria-label={name}] [data-video=live] video')");
    page.wait_for_colour(&picture, colour, SOON).await.unwrap();
}
