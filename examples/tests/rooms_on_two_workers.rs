//! A room that spans two media workers, through the example server: two browsers, each connected to another worker, hear and see each other, react, mute and hang up as if there were one.
#![allow(clippy::unwrap_used)]

mod browser;
mod server;

use std::time::Duration;

use browser::{Browser, Colour, FakeMedia, Page, chromium_or_skip};
use server::Server;

/// Generous: browsers share two cores with a compiler, at times.
const SOON: Duration = Duration::from_secs(40);

const TWO_WORKERS: [&str; 8] =
    ["--listen", "127.0.0.1:0", "--media", "127.0.0.1:0", "--workers", "2", "--room-part", "1"];

const ANN: FakeMedia = FakeMedia { tone: Some(440), colour: Some(Colour::Red) };
const BOB: FakeMedia = FakeMedia { tone: Some(1_000), colour: Some(Colour::Blue) };
const OTHER: &str = "[...ringback.room.participants.values()][0]";

async fn receives(page: &Page, name: &str, of: FakeMedia) {
    page.wait_for(&format!("{OTHER}?.audio !== null"), SOON).await.unwrap();
    page.wait_for_tone(&format!("{OTHER}.audio"), of.tone.unwrap(), SOON).await.unwrap();
    let tile = format!("document.querySelector('.tile[aria-label={name:?}] [data-video=live] video')");
    page.wait_for_colour(&tile, of.colour.unwrap(), SOON).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_browsers_on_two_workers_are_in_one_call() {
    let Some(chromium) = chromium_or_skip("two_browsers_on_two_workers_are_in_one_call") else { return };
    let server = Server::start_with(&TWO_WORKERS).await.unwrap();
    let (bobs, anns) = (Browser::launch(&chromium, BOB).await.unwrap(), Browser::launch(&chromium, ANN).await.unwrap());
    let bob = bobs.open(&server.page("Bob", "&auto=accept")).await.unwrap();
    let ann = anns.open(&server.page("Ann", "&call=bob&kind=video")).await.unwrap();
    receives(&ann, "Bob", BOB).await;
    receives(&bob, "Ann", ANN).await;
    let shared = "fetch('/metrics').then((answer) => answer.text())\
                  .then((text) => [...text.matchAll(/^ringback_worker_rooms_shared\\{worker=\"[01]\"\\} 1$/gm)].length)";
    assert_eq!(ann.eval(shared).await.unwrap(), 2, "they are on one worker");

    // Whoever switches the camera off is gone from the other's tile, and comes back.
    bob.eval("ringback.room.mute('camera', true)").await.unwrap();
    ann.wait_for("!document.querySelector('.tile[aria-label=Bob] [data-video=live]')", SOON).await.unwrap();
    bob.eval("ringback.room.mute('camera', false)").await.unwrap();
    receives(&ann, "Bob", BOB).await;

    ann.eval("ringback.call.hangup()").await.unwrap();
    bob.wait_for("!ringback.call || ringback.call.isOver", SOON).await.unwrap();
}
