//! Ben reacts to Anna's note on his page, and Anna sees it on hers at once; a call of his that she missed, a note of his and his reaction are one notification.
#![allow(clippy::unwrap_used)]

mod browser;
mod server;

use std::path::Path;
use std::time::Duration;

use browser::{Browser, FakeMedia, Page, chromium_or_skip};
use server::Server;

/// Generous: two browsers share two cores with a compiler, at times.
const SOON: Duration = Duration::from_secs(60);

const VOICE: FakeMedia = FakeMedia { tone: Some(440), colour: None };

async fn open(chromium: &Path, server: &Server, name: &str) -> (Browser, Page) {
    let browser = Browser::launch(chromium, VOICE).await.unwrap();
    let page = browser.open(&server.page(name, "")).await.unwrap();
    page.wait_for("ringback.session?.state === 'open'", SOON).await.unwrap();
    (browser, page)
}

/// One calls the other, who declines, and leaves a note.
async fn leave_note(from: &Page, to: &Page) {
    from.click("#people [aria-label^='Voice call with']", SOON).await.unwrap();
    to.wait_for("document.querySelector('#incoming').open", SOON).await.unwrap();
    let ringing = "[...ringback.session.calls].find((call) => call.state !== 'ended')";
    to.eval(&format!("{ringing}.decline().then(() => null)")).await.unwrap();
    from.wait_for("ringback.note?.state === 'offered'", SOON).await.unwrap();
    from.click("#note-record", SOON).await.unwrap();
    from.wait_for("ringback.note.state === 'countdown'", SOON).await.unwrap();
    from.click("#note-skip", SOON).await.unwrap();
    from.wait_for("ringback.note.state === 'recording'", SOON).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    from.click("#note-stop", SOON).await.unwrap();
    from.wait_for("ringback.note.state === 'draft'", SOON).await.unwrap();
    from.click("#note-send", SOON).await.unwrap();
    to.wait_for("ringback.session.notes.unheard === 1", SOON).await.unwrap();
}

const NOTICE: &str = "document.querySelector('.notice[data-notification] p')?.textContent";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reaction_to_a_note_is_seen_at_once_and_told_together_with_what_else_that_person_did() {
    let test = "a_reaction_to_a_note_is_seen_at_once_and_told_together_with_what_else_that_person_did";
    let Some(chromium) = chromium_or_skip(test) else { return };
    let server =
        Server::start_with(&["--listen", "127.0.0.1:0", "--media", "127.0.0.1:0", "--ring", "20"]).await.unwrap();
    let (_bens, ben) = open(&chromium, &server, "Ben").await;
    let (_annas, anna) = open(&chromium, &server, "Anna").await;
    leave_note(&anna, &ben).await;
    anna.wait_for("document.body.dataset.view === 'lobby'", SOON).await.unwrap();
    // She is told of nothing that comes into the thread before her.
    anna.eval("void (location.hash = '#people')").await.unwrap();
    anna.wait_for("ringback.session.notifications.inView === null", SOON).await.unwrap();

    // Ben: a call that Anna misses, and a note.
    ben.eval("void (window.placed = ringback.session.call('anna'))").await.unwrap();
    anna.wait_for("document.querySelector('#incoming').open", SOON).await.unwrap();
    ben.eval("placed.cancel().then(() => null)").await.unwrap();
    anna.wait_for(&format!("{NOTICE} === 'Ben: a missed call.'"), SOON).await.unwrap();
    leave_note(&ben, &anna).await;
    anna.wait_for(&format!("{NOTICE} === 'Ben: a missed call and a note.'"), SOON).await.unwrap();
    ben.wait_for("document.body.dataset.view === 'lobby'", SOON).await.unwrap();

    // And a reaction to hers, chosen from the row under it.
    ben.click("#nav-notes", SOON).await.unwrap();
    ben.click(".letter .said-add", SOON).await.unwrap();
    ben.wait_for("document.activeElement.matches('.letter .said-choice')", SOON).await.unwrap();
    ben.click(".letter .said-choice[aria-label='heart love']", SOON).await.unwrap();
    ben.wait_for("document.querySelector('.letter .said-chip[aria-pressed=true]')?.textContent === '❤️'", SOON)
        .await
        .unwrap();
    anna.wait_for(&format!("{NOTICE} === 'Ben: a missed call, a note and a reaction.'"), SOON).await.unwrap();
    assert_eq!(anna.eval("document.querySelectorAll('.notice[data-notification]').length").await.unwrap(), 1);

    // Anna looks, says the same, and both see two.
    anna.click(".notice[data-notification] a", SOON).await.unwrap();
    let said = "document.querySelector('.entry .said-chip')";
    anna.wait_for(&format!("{said}?.getAttribute('aria-label') === 'heart love: Ben'"), SOON).await.unwrap();
    if let Some(folder) = std::env::var_os("RINGBACK_SCREENSHOTS") {
        pictures(&anna, "anna", Path::new(&folder)).await;
    }
    anna.click(".entry .said-chip", SOON).await.unwrap();
    ben.wait_for("document.querySelector('.letter .said-chip span')?.textContent === '2'", SOON).await.unwrap();
    if let Some(folder) = std::env::var_os("RINGBACK_SCREENSHOTS") {
        ben.click(".letter .said-add", SOON).await.unwrap();
        pictures(&ben, "ben", Path::new(&folder)).await;
        ben.click(".letter .said-add", SOON).await.unwrap();
    }
    // Pressed again it is taken back, and Anna sees that too.
    ben.click(".letter .said-chip", SOON).await.unwrap();
    anna.wait_for(&format!("{said}?.getAttribute('aria-label') === 'heart love: you'"), SOON).await.unwrap();
    assert_eq!(anna.console(), Vec::<String>::new());
}

/// On a desktop and a phone, light and dark.
async fn pictures(page: &Page, name: &str, folder: &Path) {
    for (scheme, width, height) in [("light", 1280, 800), ("dark", 1280, 800), ("light", 390, 844), ("dark", 390, 844)]
    {
        let feature = serde_json::json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        page.call("Emulation.setEmulatedMedia", feature).await.unwrap();
        page.resize(width, height).await.unwrap();
        tokio::time::sleep(Duration::from_millis(800)).await;
        page.screenshot(&folder.join(format!("{name}-{scheme}-{width}.png"))).await.unwrap();
    }
    page.resize(1280, 800).await.unwrap();
}
