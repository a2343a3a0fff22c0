//! Firefox and Chromium in one video call through the example server: two independent engines, each of which sees and hears the
//! other's fake devices.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod browser;
mod server;

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use browser::{
    ADDRESS, Browser, Colour, FakeMedia, Firefox, Namespace, chromium_or_skip, enter_namespace, firefox_or_skip,
};
use server::Server;

/// Generous: two browsers share two cores with a compiler, at times.
const SOON: Duration = Duration::from_secs(60);

const BOB: FakeMedia = FakeMedia { tone: Some(1_000), colour: Some(Colour::Blue) };

/// Firefox's fake microphone, in Hz.
const FAYES_TONE: u32 = 600;

const CONNECTED: &str = "ringback.call?.state === 'active' && ringback.room.state === 'connected'";

/// The sound of the participant of this name, and the picture in their tile.
fn heard_and_seen(name: &str) -> (String, String) {
    let participant = format!("[...ringback.room.participants.values()].find(({{ name }}) => name === '{name}')");
    (
        format!("{participant}.audio"),
        format!("document.querySelector('.tile[aria-label={name}] [data-video=live] video')"),
    )
}

#[test]
fn firefox_and_chromium_see_and_hear_each_other() {
    let test = "firefox_and_chromium_see_and_hear_each_other";
    let (Some(firefox), Some(chromium)) = (firefox_or_skip(test), chromium_or_skip(test)) else { return };
    if enter_namespace(test) == Namespace::Inside {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(call(&firefox, &chromium));
    }
}

async fn call(firefox: &Path, chromium: &Path) {
    // The page comes from loopback, since browsers give microphones to no other plain http.
    let media = SocketAddr::new(ADDRESS, 0).to_string();
    let server = Server::start_with(&["--listen", "127.0.0.1:0", "--media", &media]).await.unwrap();
    let bobs = Browser::launch(chromium, BOB).await.unwrap();
    let bob = bobs.open(&server.page("Bob", "&auto=accept")).await.unwrap();
    let faye = Firefox::launch(firefox, FAYES_TONE).await.unwrap();
    faye.open(&server.page("Faye", "&call=bob&kind=video")).await.unwrap();
    faye.wait_for(CONNECTED, SOON).await.unwrap();
    bob.wait_for(CONNECTED, SOON).await.unwrap();

    let (sound, picture) = heard_and_seen("Bob");
    faye.wait_for_colour(&picture, Colour::Blue, SOON).await.unwrap();
    faye.wait_for_tone(&sound, 1_000, SOON).await.unwrap();

    let (sound, picture) = heard_and_seen("Faye");
    bob.wait_for_tone(&sound, FAYES_TONE, SOON).await.unwrap();
    // Firefox's fake camera wanders through the colours: another one after a while is no frozen picture.
    bob.wait_for(&format!("{picture}.videoWidth > 0"), SOON).await.unwrap();
    let first = bob.mean_rgb(&picture).await.unwrap();
    let begun = Instant::now();
    loop {
        let now = bob.mean_rgb(&picture).await.unwrap();
        if first.iter().zip(now).any(|(first, now)| first.abs_diff(now) > 30) {
            break;
        }
        assert!(begun.elapsed() < SOON, "the picture stays at {first:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    // Either engine may restart ICE, and the call goes on.
    faye.eval("ringback.room.restart()").await.unwrap();
    faye.wait_for(CONNECTED, SOON).await.unwrap();
    bob.wait_for_tone(&sound, FAYES_TONE, SOON).await.unwrap();
    bob.eval("ringback.call.hangup()").await.unwrap();
    faye.wait_for("!ringback.call || ringback.call.isOver", SOON).await.unwrap();
}
