//! `--tls` serves the page as a secure context, so that a browser gives it a microphone, also where the address is no loopback.
#![allow(clippy::unwrap_used)]

mod browser;
mod server;

use std::time::Duration;

use browser::{Browser, Colour, FakeMedia, chromium_or_skip};
use server::Server;

const SOON: Duration = Duration::from_secs(40);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_https_with_a_self_signed_certificate_a_page_gets_its_microphone_and_talks() {
    let Some(chromium) =
        chromium_or_skip("over_https_with_a_self_signed_certificate_a_page_gets_its_microphone_and_talks")
    else {
        return;
    };
    let server = Server::start_with(&["--tls", "--listen", "127.0.0.1:0", "--media", "127.0.0.1:0"]).await.unwrap();
    assert!(server.link.starts_with("https://"), "{}", server.link);
    let accept = ["--ignore-certificate-errors"];
    let media = |tone| FakeMedia { tone: Some(tone), colour: Some(Colour::Red) };
    let bobs = Browser::launch_with(&chromium, media(1_000), &accept).await.unwrap();
    let bob = bobs.open(&server.page("Bob", "&auto=accept")).await.unwrap();
    let anns = Browser::launch_with(&chromium, media(440), &accept).await.unwrap();
    let ann = anns.open(&server.page("Ann", "&call=bob&kind=voice")).await.unwrap();
    for (page, tone) in [(&ann, 1_000), (&bob, 440)] {
        page.wait_for("isSecureContext && ringback.call?.state === 'active'", SOON).await.unwrap();
        page.wait_for("[...ringback.room.participants.values()][0]?.audio !== null", SOON).await.unwrap();
        page.wait_for_tone("[...ringback.room.participants.values()][0].audio", tone, SOON).await.unwrap();
    }
}
