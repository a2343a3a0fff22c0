//! Notes to a group. Three browsers: one rings two, nobody answers, and one note is left for both, in one row of the thread, which each hears for themselves;
//! from that thread the whole group is rung again. Where some answered, those who missed the call get the note if the embedder says so, and nobody else.
#![allow(clippy::unwrap_used)]

mod browser;
mod server;

use std::path::Path;
use std::time::Duration;

use browser::{Browser, FakeMedia, Page, chromium_or_skip};
use server::Server;

/// Generous: three browsers share two cores with a compiler, at times.
const SOON: Duration = Duration::from_secs(60);

const TAKE: Duration = Duration::from_secs(3);

/// The player of the first note in somebody's list of notes.
const PLAYER: &str = "document.querySelector('.letter').querySelector('audio, video')";

async fn server(more: &[&str]) -> Server {
    let arguments = [&["--listen", "127.0.0.1:0", "--media", "127.0.0.1:0"], more].concat();
    Server::start_with(&arguments).await.unwrap()
}

async fn open(chromium: &Path, server: &Server, name: &str, tone: u32, parameters: &str) -> (Browser, Page) {
    let browser = Browser::launch(chromium, FakeMedia { tone: Some(tone), colour: None }).await.unwrap();
    let page = browser.open(&server.page(name, parameters)).await.unwrap();
    page.wait_for("ringback.session?.state === 'open'", SOON).await.unwrap();
    (browser, page)
}

async fn says(page: &Page, selector: &str, text: &str) {
    page.wait_for(&format!("document.querySelector({selector:?})?.textContent === {text:?}"), SOON).await.unwrap();
}

async fn leaves_a_note(page: &Page) {
    page.click("#note-record", SOON).await.unwrap();
    page.click("#note-skip", SOON).await.unwrap();
    page.wait_for("ringback.note.state === 'recording'", SOON).await.unwrap();
    tokio::time::sleep(TAKE).await;
    page.click("#note-stop", SOON).await.unwrap();
    page.click("#note-send", SOON).await.unwrap();
}

async fn unheard(page: &Page, count: u32) {
    page.wait_for(&format!("ringback.session.notes.unheard === {count}"), SOON).await.unwrap();
}

async fn hears_the_note(page: &Page, tone: u32) {
    page.click("#nav-notes", SOON).await.unwrap();
    page.wait_for(&format!("({PLAYER}.loop = true)"), SOON).await.unwrap();
    page.click(".letter .player-play", SOON).await.unwrap();
    page.wait_for_tone(&format!("{PLAYER}.captureStream()"), tone, SOON).await.unwrap();
    unheard(page, 0).await;
    page.eval(&format!("{PLAYER}.pause()")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_note_to_a_group_is_one_row_that_each_hears_for_themselves() {
    let Some(chromium) = chromium_or_skip("a_note_to_a_group_is_one_row_that_each_hears_for_themselves") else {
        return;
    };
    let server = server(&["--ring", "5"]).await;
    let (_bens, ben) = open(&chromium, &server, "Ben", 1_000, "").await;
    let (_cleos, cleo) = open(&chromium, &server, "Cleo", 1_600, "").await;
    let (_anns, ann) = open(&chromium, &server, "Ann", 440, "&call=ben,cleo&kind=voice").await;
    says(&ann, "#note-title", "Ben and Cleo didn’t answer").await;
    leaves_a_note(&ann).await;

    // One note, in the thread of the group, unheard by both.
    says(&ann, "#thread-name", "Ben and Cleo").await;
    let foot = ".entry .card-foot p";
    says(&ann, foot, "Sent, not heard yet").await;
    assert_eq!(ann.eval("document.querySelectorAll('.entry').length").await.unwrap(), 1);
    unheard(&ben, 1).await;
    unheard(&cleo, 1).await;

    hears_the_note(&ben, 440).await;
    says(&ann, foot, "Heard by Ben, not yet by Cleo").await;
    unheard(&cleo, 1).await;
    hears_the_note(&cleo, 440).await;
    says(&ann, foot, "Heard by Ben and Cleo").await;

    // For both it is the same thread, in which they find the one call, and whose it was.
    for (page, others) in [(&ben, "Ann and Cleo"), (&cleo, "Ann and Ben")] {
        page.click(".letter a.row-text", SOON).await.unwrap();
        says(page, "#thread-name", others).await;
        says(page, ".entry[data-missed] .entry-by", "Ann").await;
        assert_eq!(page.eval("document.querySelectorAll('.entry .note-card').length").await.unwrap(), 1);
        says(page, "#thread-presence", "All here").await;
    }

    // From it Ben rings everybody again; it is a second call in the same thread.
    ben.click("#thread-voice", SOON).await.unwrap();
    ann.click("#incoming-accept", SOON).await.unwrap();
    ann.wait_for("ringback.call?.state === 'active' && ringback.room.state === 'connected'", SOON).await.unwrap();
    cleo.click("#incoming-decline", SOON).await.unwrap();

    // Cleo, who declined, sees that they talk, and comes in from the thread after all.
    says(&cleo, "#thread-presence", "2 people are talking").await;
    cleo.click("#groups .button", SOON).await.unwrap();
    cleo.wait_for("ringback.room?.state === 'connected' && ringback.room.participants.size === 2", SOON).await.unwrap();
    cleo.eval("ringback.call.hangup()").await.unwrap();
    // The thread's own button, too, comes into the call that goes on, and places no other.
    cleo.click("#ringing-actions .button.quiet", SOON).await.unwrap();
    says(&cleo, "#thread-presence", "2 people are talking").await;
    cleo.click("#thread-voice", SOON).await.unwrap();
    cleo.wait_for("ringback.room?.state === 'connected' && ringback.room.participants.size === 2", SOON).await.unwrap();
    ben.eval("ringback.call.endForAll()").await.unwrap();
    cleo.wait_for("document.body.dataset.view === 'lobby'", SOON).await.unwrap();
    cleo.wait_for("document.querySelectorAll('.entry').length === 2", SOON).await.unwrap();
}

/// Ben is in Ann's call, Cleo declines it, and Ann ends it.
async fn cleo_misses_what_ben_was_in(ann: &Page, ben: &Page, cleo: &Page) {
    ben.wait_for("ringback.call?.state === 'active' && ringback.room.state === 'connected'", SOON).await.unwrap();
    cleo.click("#incoming-decline", SOON).await.unwrap();
    ann.wait_for("document.querySelector('#call-group').textContent === 'Cleo declined'", SOON).await.unwrap();
    ann.eval("ringback.call.endForAll()").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_some_answered_a_note_goes_to_those_who_missed_the_call_if_the_embedder_says_so() {
    let test = "where_some_answered_a_note_goes_to_those_who_missed_the_call_if_the_embedder_says_so";
    let Some(chromium) = chromium_or_skip(test) else { return };
    let server = server(&["--notes-to-missed"]).await;
    let (_bens, ben) = open(&chromium, &server, "Ben", 1_000, "&auto=accept").await;
    let (_cleos, cleo) = open(&chromium, &server, "Cleo", 1_600, "").await;
    let (_anns, ann) = open(&chromium, &server, "Ann", 440, "&call=ben,cleo&kind=voice").await;
    cleo_misses_what_ben_was_in(&ann, &ben, &cleo).await;
    says(&ann, "#note-title", "Cleo missed it").await;
    leaves_a_note(&ann).await;
    unheard(&cleo, 1).await;
    hears_the_note(&cleo, 440).await;
    unheard(&ben, 0).await;
    let bens = "ringback.session.notes.inbox().then(({ notes }) => notes.length)";
    assert_eq!(ben.eval(bens).await.unwrap(), 0);
    // In the thread both see the call; what was said for Cleo is not Ben's.
    let thread = "ringback.session.notes.thread('group:ann,ben,cleo').then(({ entries }) => entries.map(({ note }) => note !== null))";
    assert_eq!(ben.eval(thread).await.unwrap(), serde_json::json!([false]));
    assert_eq!(cleo.eval(thread).await.unwrap(), serde_json::json!([true]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_some_answered_no_note_is_offered_unless_the_embedder_says_so() {
    let test = "where_some_answered_no_note_is_offered_unless_the_embedder_says_so";
    let Some(chromium) = chromium_or_skip(test) else { return };
    let server = server(&[]).await;
    let (_bens, ben) = open(&chromium, &server, "Ben", 1_000, "&auto=accept").await;
    let (_cleos, cleo) = open(&chromium, &server, "Cleo", 1_600, "").await;
    let (_anns, ann) = open(&chromium, &server, "Ann", 440, "&call=ben,cleo&kind=voice").await;
    cleo_misses_what_ben_was_in(&ann, &ben, &cleo).await;
    ann.wait_for("document.body.dataset.view === 'lobby'", SOON).await.unwrap();
    assert_eq!(ann.eval("ringback.session.notes.open.length").await.unwrap(), 0);
}
