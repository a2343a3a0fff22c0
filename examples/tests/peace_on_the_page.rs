//! The page keeps the peace: what comes in quiet hours waits in a list that says why, and is told when they end; several calls are one notice. And where no media
//! connects, the page records a note by itself and sends it up over a connection that breaks.
#![allow(clippy::unwrap_used)]

mod browser;
mod server;

use std::path::Path;
use std::time::Duration;

use browser::{Browser, Colour, FakeMedia, Page, chromium_or_skip};
use server::Server;

/// Generous: two browsers share two cores with a compiler, at times.
const SOON: Duration = Duration::from_secs(60);

const ANN: FakeMedia = FakeMedia { tone: Some(440), colour: Some(Colour::Red) };
const BOB: FakeMedia = FakeMedia { tone: Some(1_000), colour: None };

async fn server(ring: &str) -> Server {
    Server::start_with(&["--listen", "127.0.0.1:0", "--media", "127.0.0.1:0", "--ring", ring]).await.unwrap()
}

async fn open(chromium: &Path, server: &Server, media: FakeMedia, name: &str, parameters: &str) -> (Browser, Page) {
    let browser = Browser::launch(chromium, media).await.unwrap();
    let page = browser.open(&server.page(name, parameters)).await.unwrap();
    page.wait_for("ringback.session?.state === 'open'", SOON).await.unwrap();
    (browser, page)
}

/// Ann rings Bob and gives up.
async fn give_up(ann: &Page, bob: &Page) {
    ann.eval("void (window.placed = ringback.session.call('bob'))").await.unwrap();
    bob.wait_for("document.querySelector('#incoming').open", SOON).await.unwrap();
    ann.eval("placed.cancel().then(() => null)").await.unwrap();
    bob.wait_for("!document.querySelector('#incoming').open", SOON).await.unwrap();
}

/// Types into a field as a user does, and leaves it.
async fn fill(page: &Page, field: &str, value: &str) {
    let typed = format!(
        "(() => {{ const field = document.querySelector({field:?}); field.value = {value:?}; \
         field.dispatchEvent(new Event('change', {{ bubbles: true }})); }})()"
    );
    page.eval(&typed).await.unwrap();
}

const NOTICE: &str = "document.querySelector('.notice[data-notification] p')?.textContent";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_in_quiet_hours_waits_on_the_page_with_its_reason_and_is_told_when_they_end() {
    let test = "what_comes_in_quiet_hours_waits_on_the_page_with_its_reason_and_is_told_when_they_end";
    let Some(chromium) = chromium_or_skip(test) else { return };
    let server = server("20").await;
    let (_bobs, bob) = open(&chromium, &server, BOB, "Bob", "").await;
    let (_anns, ann) = open(&chromium, &server, ANN, "Ann", "").await;

    // Two calls are one notice, in its last revision.
    bob.wait_for("document.querySelector('#lobby-peace')", SOON).await.unwrap();
    for said in ["Ann: a missed call.", "Ann: 2 missed calls."] {
        give_up(&ann, &bob).await;
        bob.wait_for(&format!("{NOTICE} === {said:?}"), SOON).await.unwrap();
    }
    assert_eq!(bob.eval("document.querySelectorAll('.notice[data-notification]').length").await.unwrap(), 1);
    bob.click(".notice[data-notification] button", SOON).await.unwrap();

    // What comes into the thread that is looked at is told nowhere, and the list says why.
    bob.eval("void (location.hash = `#thread/${ringback.session.notes.threadWith('ann')}`)").await.unwrap();
    bob.wait_for("ringback.session.notifications.inView === ringback.session.notes.threadWith('ann')", SOON)
        .await
        .unwrap();
    give_up(&ann, &bob).await;
    let newest = "ringback.session.notifications.list({ limit: 1 }).then(({ entries: [newest] }) => newest)";
    let seen = "({ held, seen_at, notification }) => held?.rule === 'in_view' && seen_at !== null && !notification";
    bob.wait_for(&format!("{newest}.then({seen})"), SOON).await.unwrap();
    assert_eq!(bob.eval(&format!("{NOTICE} ?? null")).await.unwrap(), serde_json::Value::Null, "it was seen");
    bob.eval("void (location.hash = '#people')").await.unwrap();
    bob.wait_for("ringback.session.notifications.inView === null", SOON).await.unwrap();

    bob.click("#lobby-peace", SOON).await.unwrap();
    let looked = "document.querySelector('#peace-looked').textContent";
    bob.wait_for(
        &format!("{looked}.includes('Ann: missed call') && {looked}.includes('You were looking at it.')"),
        SOON,
    )
    .await
    .unwrap();
    bob.click("#peace-quiet", SOON).await.unwrap();
    bob.wait_for("!document.querySelector('#peace-hours').hidden", SOON).await.unwrap();
    // All day long, so that it is quiet now.
    fill(&bob, "#peace-from", "00:00").await;
    fill(&bob, "#peace-until", "00:00").await;
    bob.wait_for("document.querySelector('#peace-now').textContent.startsWith('It is quiet day and night')", SOON)
        .await
        .unwrap();
    // The third call would get through.
    bob.click("#peace-repeated", SOON).await.unwrap();
    let kept = "ringback.session.notifications.settings().then(({ settings }) => settings)";
    bob.wait_for(
        &format!("{kept}.then(({{ quiet_hours: [quiet] }}) => quiet?.until === '00:00' && quiet.days.length === 7)"),
        SOON,
    )
    .await
    .unwrap();
    bob.wait_for(&format!("{kept}.then(({{ repeated_calls: rule }}) => rule === null)"), SOON).await.unwrap();
    bob.wait_for(
        &format!("{kept}.then(({{ time_zone: zone }}) => zone === Intl.DateTimeFormat().resolvedOptions().timeZone)"),
        SOON,
    )
    .await
    .unwrap();
    bob.eval("document.querySelector('#peace').close()").await.unwrap();

    give_up(&ann, &bob).await;
    let waits =
        "ringback.session.notifications.list({ waitingOnly: true }).then(({ entries }) => entries.length === 1)";
    bob.wait_for(waits, SOON).await.unwrap();
    assert_eq!(bob.eval(&format!("{NOTICE} ?? null")).await.unwrap(), serde_json::Value::Null, "it is quiet");
    bob.click("#lobby-peace", SOON).await.unwrap();
    let listed = "document.querySelector('#peace-waiting').textContent";
    bob.wait_for(&format!("{listed}.includes('Ann: missed call') && {listed}.includes('quiet hours')"), SOON)
        .await
        .unwrap();

    bob.click("#peace-quiet", SOON).await.unwrap();
    bob.wait_for(&format!("{NOTICE} === 'Ann: a missed call. It had to wait until now.'"), SOON).await.unwrap();
    bob.wait_for(&format!("{listed} === 'Nothing waits.'"), SOON).await.unwrap();
    assert_eq!(bob.console(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_media_connects_a_note_is_recorded_on_the_page_and_sent_over_a_connection_that_breaks() {
    let test = "where_no_media_connects_a_note_is_recorded_on_the_page_and_sent_over_a_connection_that_breaks";
    let Some(chromium) = chromium_or_skip(test) else { return };
    let server = server("4").await;
    let (_bobs, bob) = open(&chromium, &server, BOB, "Bob", "").await;
    // Media over a TURN server only, and there is none.
    let (_anns, ann) = open(&chromium, &server, ANN, "Ann", "&call=bob&kind=voice&ice=relay").await;
    ann.wait_for("ringback.note?.state === 'offered'", SOON).await.unwrap();
    // Every other request that carries the take breaks, three times.
    let breaks = "(() => { const through = window.fetch; let requests = 0; window.broken = 0;
        window.fetch = (url, init) => {
            if (init?.method !== 'PATCH' || requests++ % 2 !== 0 || window.broken >= 3) return through(url, init);
            window.broken++;
            return Promise.reject(new TypeError('Failed to fetch'));
        }; })()";
    ann.eval(breaks).await.unwrap();
    ann.click("#note-record", SOON).await.unwrap();
    ann.wait_for("ringback.note.isHere && ringback.note.state === 'recording'", SOON).await.unwrap();
    ann.wait_for("document.querySelector('#note-status').textContent === 'Recording on this device'", SOON)
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    ann.click("#note-stop", SOON).await.unwrap();
    ann.wait_for("ringback.note.state === 'draft' && !ringback.note.isHere", SOON).await.unwrap();
    assert_eq!(ann.eval("window.broken").await.unwrap(), 3);
    assert_eq!(ann.eval("ringback.note.contentType").await.unwrap(), "audio/ogg; codecs=opus");
    let lasts: f64 = ann.eval_as("ringback.note.durationMs").await.unwrap();
    assert!((2_500.0..12_000.0).contains(&lasts), "{lasts} ms of a take of some 5 s");
    assert_eq!(
        ann.eval("ringback.media.tracks.microphone").await.unwrap(),
        serde_json::Value::Null,
        "the microphone is closed"
    );
    ann.click("#note-send", SOON).await.unwrap();

    bob.wait_for("ringback.session.notes.unheard === 1", SOON).await.unwrap();
    bob.click("#nav-notes", SOON).await.unwrap();
    let player = "document.querySelector('.letter').querySelector('audio, video')";
    bob.wait_for(&format!("document.querySelector('.letter') && ({player}.loop = true)"), SOON).await.unwrap();
    bob.click(".letter .player-play", SOON).await.unwrap();
    bob.wait_for(&format!("{player}.currentTime > 0.3"), SOON).await.unwrap();
    bob.wait_for_tone(&format!("{player}.captureStream()"), 440, SOON).await.unwrap();
    bob.wait_for("ringback.session.notes.unheard === 0", SOON).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_video_note_that_was_recorded_on_the_page_has_its_picture_and_its_sound() {
    let test = "a_video_note_that_was_recorded_on_the_page_has_its_picture_and_its_sound";
    let Some(chromium) = chromium_or_skip(test) else { return };
    let (_server, _browser, bob) = video_note(&chromium, "null", "video/webm; codecs=\"vp8, opus\"").await;
    bob.wait_for("document.querySelector('.letter video')?.poster", SOON).await.unwrap();
    plays_red_and_440(&bob).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_that_records_mp4_only_leaves_a_video_note_in_mp4() {
    let test = "a_browser_that_records_mp4_only_leaves_a_video_note_in_mp4";
    let Some(chromium) = chromium_or_skip(test) else { return };
    let mp4_only = "(() => { const known = MediaRecorder.isTypeSupported.bind(MediaRecorder);
        MediaRecorder.isTypeSupported = (type) => !type.includes('webm') && known(type); })()";
    let (_server, _browser, bob) = video_note(&chromium, mp4_only, "video/mp4").await;
    // The browser that recorded it has drawn its poster, which the server has written anew.
    bob.wait_for("document.querySelector('.letter video')?.poster", SOON).await.unwrap();
    let poster =
        "fetch(document.querySelector('.letter video').poster).then((answer) => answer.blob()).then(createImageBitmap)";
    bob.wait_for(&format!("{poster}.then(({{ width, height }}) => width > 100 && height > 100)"), SOON).await.unwrap();
    plays_red_and_440(&bob).await;
    let lasts: f64 = bob.eval_as("document.querySelector('.letter video').duration").await.unwrap();
    assert!((2.0..12.0).contains(&lasts), "{lasts} s of a take of some 5 s");
}

/// Ann, whose media does not connect, leaves Bob a video note that her browser records, after `prepare` was done there; it is of this type, and Bob has it before him.
async fn video_note(chromium: &Path, prepare: &str, content_type: &str) -> (Server, Browser, Page) {
    let server = server("4").await;
    let (bobs, bob) = open(chromium, &server, BOB, "Bob", "").await;
    let (_anns, ann) = open(chromium, &server, ANN, "Ann", "&call=bob&kind=video&ice=relay").await;
    ann.eval(prepare).await.unwrap();
    ann.wait_for("ringback.note?.state === 'offered'", SOON).await.unwrap();
    ann.click("#note-record", SOON).await.unwrap();
    ann.wait_for("ringback.note.isHere && ringback.note.state === 'recording'", SOON).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    ann.click("#note-stop", SOON).await.unwrap();
    ann.wait_for("ringback.note.state === 'draft' && !ringback.note.isHere", SOON).await.unwrap();
    assert_eq!(ann.eval("ringback.note.contentType").await.unwrap(), content_type);
    ann.click("#note-send", SOON).await.unwrap();
    bob.wait_for("ringback.session.notes.unheard === 1", SOON).await.unwrap();
    bob.click("#nav-notes", SOON).await.unwrap();
    (server, bobs, bob)
}

async fn plays_red_and_440(page: &Page) {
    let player = "document.querySelector('.letter').querySelector('audio, video')";
    page.wait_for(&format!("document.querySelector('.letter video') && ({player}.loop = true)"), SOON).await.unwrap();
    page.click(".letter .player-play", SOON).await.unwrap();
    page.wait_for(&format!("{player}.currentTime > 0.3"), SOON).await.unwrap();
    page.wait_for_tone(&format!("{player}.captureStream()"), 440, SOON).await.unwrap();
    page.wait_for_colour(player, Colour::Red, SOON).await.unwrap();
}
