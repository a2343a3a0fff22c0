//! The example server is killed and started again while two browsers talk through it: the page comes back to the call by itself within seconds, with sound, and the
//! call has one end. What rang ends as failed, on both sides.
#![allow(clippy::unwrap_used)]

mod browser;
mod server;

use std::net::{TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use browser::{Browser, FakeMedia, chromium_or_skip};
use server::Server;

/// Generous: two browsers share two cores with a compiler, at times.
const SOON: Duration = Duration::from_secs(60);

const ANN: FakeMedia = FakeMedia { tone: Some(440), colour: None };
const BOB: FakeMedia = FakeMedia { tone: Some(1_000), colour: None };

const CONNECTED: &str = "ringback.session.state === 'open' && ringback.call?.state === 'active' \
                         && ringback.room.state === 'connected'";
const VOICE: &str = "[...ringback.room.participants.values()][0].audio";

/// Ports that are free now, so that they can be had a second time.
async fn server() -> Server {
    let addresses = {
        let (listen, media) = (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        [listen.local_addr().unwrap(), media.local_addr().unwrap()]
    };
    let [listen, media] = addresses.map(|address| address.to_string());
    // One worker: the port after the next one may be somebody else's.
    Server::start_with(&["--listen", &listen, "--media", &media, "--workers", "1"]).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_goes_on_by_itself_after_the_server_was_killed_and_after_it_was_stopped() {
    let test = "a_call_goes_on_by_itself_after_the_server_was_killed_and_after_it_was_stopped";
    let Some(chromium) = chromium_or_skip(test) else { return };
    let mut server = server().await;
    let (bobs, anns) = (Browser::launch(&chromium, BOB).await.unwrap(), Browser::launch(&chromium, ANN).await.unwrap());
    let bob = bobs.open(&server.page("Bob", "&auto=accept")).await.unwrap();
    let ann = anns.open(&server.page("Ann", "&call=bob&kind=voice")).await.unwrap();
    for page in [&ann, &bob] {
        page.wait_for(CONNECTED, SOON).await.unwrap();
    }
    let id = ann.eval("ringback.call.id").await.unwrap();
    for killed in [true, false] {
        ann.wait_for_tone(VOICE, 1_000, SOON).await.unwrap();
        for page in [&ann, &bob] {
            page.eval("(window.before = ringback.room.me, true)").await.unwrap();
        }
        if killed {
            server.kill_and_start_again().await.unwrap();
        } else {
            server.stop_and_start_again().await.unwrap();
        }
        let back = Instant::now();
        for page in [&ann, &bob] {
            page.wait_for(&format!("{CONNECTED} && ringback.room.me !== window.before"), SOON).await.unwrap();
            assert_eq!(page.eval("ringback.call.id").await.unwrap(), id, "the same call");
        }
        for (page, tone) in [(&ann, 1_000), (&bob, 440)] {
            page.wait_for_tone(VOICE, tone, SOON).await.unwrap();
        }
        println!(
            "killed: {killed}; both heard each other {:.1} s after the server was there",
            back.elapsed().as_secs_f32()
        );
    }
    bob.eval("ringback.call.hangup()").await.unwrap();
    ann.wait_for("!ringback.call || ringback.call.isOver", SOON).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_that_the_server_did_not_outlive_ends_as_failed_on_both_sides() {
    let test = "a_ring_that_the_server_did_not_outlive_ends_as_failed_on_both_sides";
    let Some(chromium) = chromium_or_skip(test) else { return };
    let mut server = server().await;
    let browser = Browser::launch(&chromium, ANN).await.unwrap();
    let bob = browser.open(&server.page("Bob", "")).await.unwrap();
    bob.wait_for("ringback.session?.state === 'open'", SOON).await.unwrap();
    bob.eval("(ringback.session.on('incoming', (call) => (window.rung = call)), true)").await.unwrap();
    let ann = browser.open(&server.page("Ann", "&call=bob&kind=voice")).await.unwrap();
    ann.wait_for("(window.placed = ringback.call)?.state === 'ringing'", SOON).await.unwrap();
    bob.wait_for("window.rung?.state === 'ringing'", SOON).await.unwrap();
    server.kill_and_start_again().await.unwrap();
    ann.wait_for("window.placed.isOver && window.placed.outcome === 'failed'", SOON).await.unwrap();
    bob.wait_for("window.rung.isOver && window.rung.outcome === 'failed'", SOON).await.unwrap();
}
