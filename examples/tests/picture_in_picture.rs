//! The small window of a call: it shows whom the stage looks at, with their name, follows it also while the page itself is in the background, and has buttons
//! of its own. Where the browser has no window for a document it is a bare video.
#![allow(clippy::unwrap_used)]

mod browser;
mod server;

use std::path::Path;
use std::time::Duration;

use browser::{Browser, Colour, FakeMedia, Page, chromium_or_skip};
use server::Server;

/// Generous: three browsers share two cores with a compiler, at times.
const SOON: Duration = Duration::from_secs(60);

const ACTIVE: &str = "ringback.call?.state === 'active' && ringback.room.state === 'connected'";

/// What is in the small window.
const WINDOW: &str = "documentPictureInPicture.window?.document";

async fn open(chromium: &Path, server: &Server, name: &str, colour: Colour, parameters: &str) -> (Browser, Page) {
    let browser = Browser::launch(chromium, FakeMedia { tone: None, colour: Some(colour) }).await.unwrap();
    let page = browser.open(&server.page(name, parameters)).await.unwrap();
    page.wait_for("ringback.session?.user", SOON).await.unwrap();
    (browser, page)
}

/// The window shows this person, by name and by colour.
async fn shows(page: &Page, name: &str, colour: Colour) {
    let tile = format!("{WINDOW}?.querySelector('.tile[aria-label={name}]')");
    page.wait_for(&format!("{tile}?.querySelector('.tile-name').textContent === {name:?}"), SOON).await.unwrap();
    page.wait_for_colour(&format!("{tile}?.querySelector('[data-video=live] video')"), colour, SOON).await.unwrap();
    assert_eq!(page.eval(&format!("{WINDOW}.querySelectorAll('.tile').length")).await.unwrap(), 1);
}

async fn pin(page: &Page, name: &str) {
    page.click(&format!("#stage .tile[aria-label={name}] .tile-pin"), SOON).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_small_window_follows_the_stage_and_ends_with_the_call() {
    let Some(chromium) = chromium_or_skip("the_small_window_follows_the_stage_and_ends_with_the_call") else { return };
    let server = Server::start().await.unwrap();
    let (_bens, _ben) = open(&chromium, &server, "Ben", Colour::Blue, "&auto=accept").await;
    let (_cleos, _cleo) = open(&chromium, &server, "Cleo", Colour::Green, "&auto=accept").await;
    let (_anns, ann) = open(&chromium, &server, "Ann", Colour::Red, "&call=ben,cleo&kind=video").await;
    ann.wait_for(&format!("{ACTIVE} && ringback.room.participants.size === 2"), SOON).await.unwrap();
    assert_eq!(ann.eval("'documentPictureInPicture' in window").await.unwrap(), true);

    ann.click("#call-pip:not([hidden])", SOON).await.unwrap();
    ann.wait_for("document.querySelector('#call-pip').ariaPressed === 'true'", SOON).await.unwrap();
    pin(&ann, "Cleo").await;
    shows(&ann, "Cleo", Colour::Green).await;
    pin(&ann, "Ben").await;
    shows(&ann, "Ben", Colour::Blue).await;

    // Its buttons are those of the call.
    ann.eval(&format!("{WINDOW}.querySelector('.pip-buttons button').click()")).await.unwrap();
    ann.wait_for("ringback.room.isMuted('microphone')", SOON).await.unwrap();
    ann.wait_for(&format!("{WINDOW}.querySelector('.pip-buttons button').ariaPressed === 'false'"), SOON)
        .await
        .unwrap();

    // It closes and opens with the button, or its key, and goes with the call.
    ann.click("#call-pip", SOON).await.unwrap();
    ann.wait_for("documentPictureInPicture.window === null", SOON).await.unwrap();
    ann.eval("document.body.dispatchEvent(new KeyboardEvent('keydown', { key: 'p', bubbles: true }))").await.unwrap();
    shows(&ann, "Ben", Colour::Blue).await;
    ann.eval(&format!("{WINDOW}.querySelector('.end').click()")).await.unwrap();
    ann.wait_for("ringback.call === null || ringback.call.isOver", SOON).await.unwrap();
    ann.wait_for("documentPictureInPicture.window === null", SOON).await.unwrap();
}

/// A page in the background: it says so, and is told of no frame.
const IN_THE_BACKGROUND: &str = "Object.defineProperty(document, 'hidden', { get: () => true }); \
    HTMLVideoElement.prototype.requestVideoFrameCallback = () => 0;";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_in_the_background_still_learns_whose_picture_comes() {
    let Some(chromium) = chromium_or_skip("a_page_in_the_background_still_learns_whose_picture_comes") else { return };
    let server = Server::start().await.unwrap();
    let (_bens, _ben) = open(&chromium, &server, "Ben", Colour::Blue, "&auto=accept").await;
    let browser = Browser::launch(&chromium, FakeMedia { tone: None, colour: Some(Colour::Red) }).await.unwrap();
    let ann = browser.open_prepared(&server.page("Ann", "&call=ben&kind=video"), IN_THE_BACKGROUND).await.unwrap();
    ann.wait_for(ACTIVE, SOON).await.unwrap();
    ann.click("#call-pip:not([hidden])", SOON).await.unwrap();
    shows(&ann, "Ben", Colour::Blue).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_windows_for_documents_it_is_a_video() {
    let Some(chromium) = chromium_or_skip("without_windows_for_documents_it_is_a_video") else { return };
    let server = Server::start().await.unwrap();
    let (_bens, ben) = open(&chromium, &server, "Ben", Colour::Blue, "&auto=accept").await;
    let browser = Browser::launch(&chromium, FakeMedia { tone: None, colour: Some(Colour::Red) }).await.unwrap();
    let without = "Object.defineProperty(window, 'documentPictureInPicture', { value: undefined });";
    let ann = browser.open_prepared(&server.page("Ann", "&call=ben&kind=video"), without).await.unwrap();
    ann.wait_for(ACTIVE, SOON).await.unwrap();
    ann.click("#call-pip:not([hidden])", SOON).await.unwrap();
    ann.wait_for_colour("document.pictureInPictureElement", Colour::Blue, SOON).await.unwrap();
    // Without a camera there is a drawn face, never the last picture.
    ben.eval("ringback.media.close('camera')").await.unwrap();
    let drawn =
        "document.pictureInPictureElement.srcObject.getVideoTracks()[0] instanceof CanvasCaptureMediaStreamTrack";
    ann.wait_for(drawn, SOON).await.unwrap();
    ann.click("#call-pip", SOON).await.unwrap();
    ann.wait_for("document.pictureInPictureElement === null && document.querySelector('.pip-video') === null", SOON)
        .await
        .unwrap();
}
