//! Statuses on the page: what one chooses beside the raised hand, or with its key, stands at their tile everywhere, also for who comes later, until it is cleared.
#![allow(clippy::unwrap_used)]

mod browser;
mod server;

use std::path::Path;
use std::time::Duration;

use browser::{Browser, FakeMedia, Page, chromium_or_skip};
use server::Server;

/// Generous: three browsers share two cores with a compiler, at times.
const SOON: Duration = Duration::from_secs(60);

async fn open(chromium: &Path, server: &Server, name: &str, parameters: &str) -> (Browser, Page) {
    let browser = Browser::launch(chromium, FakeMedia { tone: Some(440), colour: None }).await.unwrap();
    let page = browser.open(&server.page(name, parameters)).await.unwrap();
    page.wait_for("ringback.session?.user", SOON).await.unwrap();
    (browser, page)
}

/// What stands at a tile: `""` for nothing.
async fn stands(page: &Page, tile: &str, words: &str) {
    let status = format!("document.querySelector('.tile[aria-label={tile}] .tile-status')");
    let shown = match words {
        "" => format!("{status}.hidden"),
        _ => format!("!{status}.hidden && {status}.querySelector('span').textContent === {words:?}"),
    };
    page.wait_for(&shown, SOON).await.unwrap();
}

async fn press(page: &Page, key: &str) {
    let event = format!("new KeyboardEvent('keydown', {{ key: {key:?}, bubbles: true }})");
    page.eval(&format!("document.body.dispatchEvent({event})")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_stands_at_its_tile_everywhere_until_it_is_cleared() {
    let Some(chromium) = chromium_or_skip("a_status_stands_at_its_tile_everywhere_until_it_is_cleared") else { return };
    let server = Server::start().await.unwrap();
    let (_bobs, bob) = open(&chromium, &server, "Bob", "&auto=accept").await;
    let (_anns, ann) = open(&chromium, &server, "Ann", "&call=bob&kind=voice").await;
    for page in [&ann, &bob] {
        page.wait_for("ringback.call?.state === 'active' && ringback.room.reactions.direct", SOON).await.unwrap();
        stands(page, "You", "").await;
    }

    press(&ann, "b").await;
    stands(&bob, "Ann", "Be right back").await;
    stands(&ann, "You", "Be right back").await;
    stands(&ann, "Bob", "").await;

    // From the menu: another takes its place.
    ann.click("#control-react", SOON).await.unwrap();
    ann.click(".status-toggle", SOON).await.unwrap();
    ann.click("#status-row:not([hidden]) [data-status=away]", SOON).await.unwrap();
    stands(&bob, "Ann", "Away").await;
    assert_eq!(ann.eval("document.querySelector('#status-row').hidden").await.unwrap(), true);
    ann.wait_for("document.querySelector('.status-toggle').textContent.includes('Away')", SOON).await.unwrap();

    // Who comes later sees it, too.
    let (_cleos, cleo) = open(&chromium, &server, "Cleo", "&auto=accept").await;
    ann.eval("ringback.call.invite(['cleo'])").await.unwrap();
    cleo.wait_for("ringback.room?.participants.size === 2", SOON).await.unwrap();
    stands(&cleo, "Ann", "Away").await;
    stands(&cleo, "Bob", "").await;

    // Chosen again it is cleared.
    ann.click(".status-toggle", SOON).await.unwrap();
    ann.click("#status-row:not([hidden]) [data-status=away]", SOON).await.unwrap();
    for page in [&bob, &cleo] {
        stands(page, "Ann", "").await;
    }
    stands(&ann, "You", "").await;
}
