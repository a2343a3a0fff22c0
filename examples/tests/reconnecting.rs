//! Media stops in mid-call, since nothing of it comes through, and comes back: what both pages say meanwhile, and that they are silent again afterwards.
#![allow(clippy::unwrap_used)]

mod browser;
mod network;
mod server;

use std::net::UdpSocket;
use std::time::Duration;

use browser::{Browser, Colour, FakeMedia, chromium_or_skip};
use network::Relay;
use server::Server;

/// Generous: two browsers share two cores with a compiler, at times; and a browser takes a while to notice that nothing comes.
const SOON: Duration = Duration::from_secs(90);

const ACTIVE: &str = "ringback.call?.state === 'active' && ringback.room.state === 'connected'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_loses_its_media_says_so_calmly_and_is_silent_once_it_is_back() {
    let test = "a_call_that_loses_its_media_says_so_calmly_and_is_silent_once_it_is_back";
    let Some(chromium) = chromium_or_skip(test) else { return };
    // The relay must know the server's media port beforehand: one that was free a moment ago.
    let media = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let arguments = ["--listen", "127.0.0.1:0", "--media", &media.to_string(), "--no-ice-tcp"];
    let server = Server::start_with(&arguments).await.unwrap();
    let relay = Relay::start(media).await.unwrap();
    let bobs = Browser::launch(&chromium, FakeMedia { tone: None, colour: Some(Colour::Blue) }).await.unwrap();
    let bob = bobs.open(&server.page("Bob", "&auto=accept")).await.unwrap();
    let anns = Browser::launch(&chromium, FakeMedia { tone: None, colour: Some(Colour::Red) }).await.unwrap();
    let ann = anns.open_prepared(&server.page("Ann", "&call=bob&kind=video"), &relay.script(media)).await.unwrap();
    let picture = "document.querySelector('.tile[aria-label=Bob] [data-video=live] video')";
    for page in [&ann, &bob] {
        page.wait_for(ACTIVE, SOON).await.unwrap();
    }
    ann.wait_for_colour(picture, Colour::Blue, SOON).await.unwrap();
    assert_eq!(ann.eval("document.querySelector('#call-link').hidden").await.unwrap(), true);

    relay.cut(true);
    let pill = "document.querySelector('#call-link')";
    ann.wait_for(&format!("!{pill}.hidden && {pill}.textContent === 'Reconnecting…'"), SOON).await.unwrap();
    assert_eq!(ann.eval("document.querySelector('#call').hasAttribute('data-lost-media')").await.unwrap(), true);
    // It may take long; then it says what can be done.
    ann.wait_for(&format!("{pill}.textContent === 'Still reconnecting. Is your network up?'"), SOON).await.unwrap();
    // Bob is told at her tile, and his own call is well.
    bob.wait_for("document.querySelector('.tile[aria-label=Ann][data-lost]') !== null", SOON).await.unwrap();
    assert_eq!(bob.eval(&format!("{pill}.hidden")).await.unwrap(), true);

    relay.cut(false);
    ann.wait_for(&format!("{pill}.textContent === 'Connected again'"), SOON).await.unwrap();
    ann.wait_for(&format!("{pill}.hidden"), SOON).await.unwrap();
    bob.wait_for("document.querySelector('.tile[aria-label=Ann]:not([data-lost])') !== null", SOON).await.unwrap();
    ann.wait_for_colour(picture, Colour::Blue, SOON).await.unwrap();
}
