//! Three browsers in a voice chat that nobody rings: each sees who is in it before going in, one tap joins with the voice, another leaves, and the
//! list tells the others. What is heard is told by the tone of each fake microphone.
#![allow(clippy::unwrap_used)]

mod browser;
mod server;

use std::path::Path;
use std::time::Duration;

use browser::{Browser, FakeMedia, Page, chromium_or_skip};
use server::Server;

/// Generous: three browsers share two cores with a compiler, at times.
const SOON: Duration = Duration::from_secs(60);

const KITCHEN: &str = "#chats [data-chat=Kitchen]";

async fn open(chromium: &Path, server: &Server, name: &str, tone: u32, link: &str) -> (Browser, Page) {
    let browser = Browser::launch(chromium, FakeMedia { tone: Some(tone), colour: None }).await.unwrap();
    let page = browser.open(&server.page(name, link)).await.unwrap();
    page.wait_for("ringback.session?.user", SOON).await.unwrap();
    (browser, page)
}

async fn list_says(page: &Page, text: &str) {
    let said = format!("document.querySelector('{KITCHEN} .row-text span')?.textContent === {text:?}");
    page.wait_for(&said, SOON).await.unwrap();
}

async fn tap(page: &Page) {
    page.click(&format!("{KITCHEN} button"), SOON).await.unwrap();
}

async fn hears(page: &Page, name: &str, tone: u32) {
    let voice = format!("[...ringback.room.participants.values()].find((one) => one.name === '{name}')?.audio");
    page.wait_for(&format!("{voice} != null"), SOON).await.unwrap();
    page.wait_for_tone(&voice, tone, SOON).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_tap_joins_a_voice_chat_and_another_leaves_it() {
    let Some(chromium) = chromium_or_skip("one_tap_joins_a_voice_chat_and_another_leaves_it") else { return };
    let server = Server::start().await.unwrap();
    let (_anns, ann) = open(&chromium, &server, "Ann", 440, "").await;
    // Made by its name, and at once entered.
    ann.eval("document.querySelector('#chat-name').value = '  Kitchen '").await.unwrap();
    ann.eval("document.querySelector('#chat-form').requestSubmit()").await.unwrap();
    ann.wait_for("ringback.room?.state === 'connected' && !document.querySelector('#dock').hidden", SOON)
        .await
        .unwrap();
    list_says(&ann, "Ann is talking").await;

    // A link shows who is in it; going in is a tap of one's own.
    let (_bens, ben) = open(&chromium, &server, "Ben", 1_000, "#chat/Kitchen").await;
    list_says(&ben, "Ann is talking").await;
    assert_eq!(ben.eval("ringback.room").await.unwrap(), serde_json::Value::Null);
    tap(&ben).await;
    hears(&ben, "Ann", 440).await;
    hears(&ann, "Ben", 1_000).await;

    // The same name, however it is written, is the same chat.
    let (_cleos, cleo) = open(&chromium, &server, "Cleo", 1_600, "").await;
    cleo.eval("document.querySelector('#chat-name').value = 'kitchen'").await.unwrap();
    cleo.eval("document.querySelector('#chat-form').requestSubmit()").await.unwrap();
    hears(&cleo, "Ann", 440).await;
    hears(&cleo, "Ben", 1_000).await;
    hears(&ann, "Cleo", 1_600).await;
    list_says(&ann, "3 people are talking: Ann, Ben and Cleo").await;
    ben.wait_for("document.querySelector('#dock-faces .avatar[data-speaking]') !== null", SOON).await.unwrap();

    // A ring that is silenced takes nobody's microphone.
    cleo.eval("ringback.session.call('ann')").await.unwrap();
    ann.click("#incoming-ignore", SOON).await.unwrap();
    ann.wait_for("!document.querySelector('#incoming').open", SOON).await.unwrap();
    ben.wait_for_tone("[...ringback.room.participants.values()].find((one) => one.name === 'Ann').audio", 440, SOON)
        .await
        .unwrap();

    // Muted, and gone.
    ann.click("#dock-mic", SOON).await.unwrap();
    ben.wait_for(
        "[...ringback.room.participants.values()].find((one) => one.name === 'Ann').isMuted('microphone')",
        SOON,
    )
    .await
    .unwrap();
    tap(&ann).await;
    ann.wait_for("document.querySelector('#dock').hidden && ringback.room === null", SOON).await.unwrap();
    ann.wait_for("ringback.media.tracks.microphone === null", SOON).await.unwrap();
    list_says(&ann, "2 people are talking: Ben and Cleo").await;
    ben.wait_for("ringback.room.participants.size === 1", SOON).await.unwrap();
    ben.click("#dock-leave", SOON).await.unwrap();
    list_says(&ann, "Cleo is talking").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_answers_a_call_leaves_the_voice_chat_for_it() {
    let Some(chromium) = chromium_or_skip("whoever_answers_a_call_leaves_the_voice_chat_for_it") else { return };
    let server = Server::start().await.unwrap();
    let (_anns, ann) = open(&chromium, &server, "Ann", 440, "#chat/Kitchen").await;
    tap(&ann).await;
    ann.wait_for("ringback.room?.state === 'connected'", SOON).await.unwrap();
    let (_bens, ben) = open(&chromium, &server, "Ben", 1_000, "#chat/Kitchen").await;
    list_says(&ben, "Ann is talking").await;
    ben.eval("ringback.session.call('ann')").await.unwrap();
    ann.wait_for("document.querySelector('#incoming-kind').textContent.includes('takes you out of Kitchen')", SOON)
        .await
        .unwrap();
    ann.click("#incoming-accept", SOON).await.unwrap();
    ann.wait_for("ringback.call?.state === 'active' && ringback.room.state === 'connected'", SOON).await.unwrap();
    list_says(&ben, "Nobody is in it").await;
    assert_eq!(ann.eval("ringback.room.isMuted('microphone')").await.unwrap(), false);
}
