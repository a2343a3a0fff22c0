//! The system takes a microphone away in mid-call, for a telephone call or another app, as phones do: the others are told, a tap gets it back, and the screen stays
//! on while a picture is looked at. The browser's word that a track is silent is given by the test; everything after it is real.
#![allow(clippy::unwrap_used)]

mod browser;
mod server;

use std::path::Path;
use std::time::Duration;

use browser::{Browser, FakeMedia, Page, chromium_or_skip};
use server::Server;

/// Generous: two browsers share two cores with a compiler, at times.
const SOON: Duration = Duration::from_secs(60);

const ACTIVE: &str = "ringback.call?.state === 'active' && ringback.room.state === 'connected'";

/// Remembers which locks of the screen there are.
const LOCKS: &str = "window.locks = []; const request = WakeLock.prototype.request; \
    WakeLock.prototype.request = async function (...what) { const lock = await request.apply(this, what); locks.push(lock); return lock; };";

async fn open(chromium: &Path, server: &Server, name: &str, tone: u32, parameters: &str) -> (Browser, Page) {
    let browser = Browser::launch(chromium, FakeMedia { tone: Some(tone), colour: None }).await.unwrap();
    let page = browser.open_prepared(&server.page(name, parameters), LOCKS).await.unwrap();
    page.wait_for("ringback.session?.user", SOON).await.unwrap();
    (browser, page)
}

/// The system takes Ann's microphone, or gives it back.
async fn take(ann: &Page, taken: bool) {
    let event = if taken { "mute" } else { "unmute" };
    let track = "const track = ringback.media.tracks.microphone;";
    let muted = format!("Object.defineProperty(track, 'muted', {{ configurable: true, get: () => {taken} }});");
    ann.eval(&format!("(() => {{ {track} {muted} track.dispatchEvent(new Event('{event}')); }})()")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_microphone_that_the_system_takes_is_told_and_comes_back_with_a_tap() {
    let test = "a_microphone_that_the_system_takes_is_told_and_comes_back_with_a_tap";
    let Some(chromium) = chromium_or_skip(test) else { return };
    let server = Server::start().await.unwrap();
    let (_bobs, bob) = open(&chromium, &server, "Bob", 1_000, "&auto=accept").await;
    let (_anns, ann) = open(&chromium, &server, "Ann", 440, "&call=bob&kind=voice").await;
    for page in [&ann, &bob] {
        page.wait_for(ACTIVE, SOON).await.unwrap();
    }
    let anns = "[...ringback.room.participants.values()][0]";
    let heard = format!("!{anns}.isMuted('microphone')");
    bob.wait_for(&heard, SOON).await.unwrap();

    take(&ann, true).await;
    bob.wait_for(&format!("{anns}.isMuted('microphone')"), SOON).await.unwrap();
    ann.wait_for("document.querySelector('.notice')?.textContent.includes('took your microphone')", SOON)
        .await
        .unwrap();
    take(&ann, false).await;
    bob.wait_for(&heard, SOON).await.unwrap();

    // It is not given back: a tap opens it anew.
    take(&ann, true).await;
    bob.wait_for(&format!("{anns}.isMuted('microphone')"), SOON).await.unwrap();
    let old = "ringback.media.tracks.microphone.id";
    ann.eval(&format!("(window.old = {old}, true)")).await.unwrap();
    ann.click("#control-mic", SOON).await.unwrap();
    ann.wait_for(&format!("{old} !== window.old"), SOON).await.unwrap();
    bob.wait_for(&heard, SOON).await.unwrap();
    bob.wait_for_tone(&format!("{anns}.audio"), 440, SOON).await.unwrap();
    assert_eq!(ann.eval("locks.length").await.unwrap(), 0, "in a voice call the screen may sleep");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_screen_stays_on_during_a_video_call_and_no_longer() {
    let Some(chromium) = chromium_or_skip("the_screen_stays_on_during_a_video_call_and_no_longer") else { return };
    let server = Server::start().await.unwrap();
    let (_bobs, bob) = open(&chromium, &server, "Bob", 1_000, "&auto=accept").await;
    let (_anns, ann) = open(&chromium, &server, "Ann", 440, "&call=bob&kind=video").await;
    for page in [&ann, &bob] {
        page.wait_for(ACTIVE, SOON).await.unwrap();
    }
    ann.wait_for("locks.length === 1 && !locks[0].released", SOON).await.unwrap();
    bob.eval("ringback.call.hangup()").await.unwrap();
    ann.wait_for("locks[0].released", SOON).await.unwrap();
}
