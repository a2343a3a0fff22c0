//! Nobody picks up, and a note is left: Chromium rings Chromium, records from its fake microphone and camera, and the other one
//! finds the note in the thread and among its notes, plays it, and only then has heard it. What is fetched is decoded, by the
//! browser and by FFmpeg.
#![allow(clippy::unwrap_used)]

mod browser;
mod media_file;
mod server;

use std::path::Path;
use std::time::Duration;

use browser::{Browser, Colour, FakeMedia, Page, chromium_or_skip};
use media_file::{fetch, ffmpeg_or_skip};
use server::Server;

/// Generous: two browsers share two cores with a compiler, at times.
const SOON: Duration = Duration::from_secs(40);

/// How long it rings: enough for a slow browser to show it, and no more.
const RING: &str = "4";

/// What a take lasts here.
const TAKE: Duration = Duration::from_secs(4);

const ANN: FakeMedia = FakeMedia { tone: Some(440), colour: Some(Colour::Red) };
const BOB: FakeMedia = FakeMedia { tone: Some(1_000), colour: Some(Colour::Blue) };

/// The player of the first note in Bob's list of notes.
const PLAYER: &str = "document.querySelector('.letter').querySelector('audio, video')";

async fn server() -> Server {
    Server::start_with(&["--listen", "127.0.0.1:0", "--media", "127.0.0.1:0", "--ring", RING]).await.unwrap()
}

async fn open(chromium: &Path, server: &Server, media: FakeMedia, name: &str, parameters: &str) -> (Browser, Page) {
    let browser = Browser::launch(chromium, media).await.unwrap();
    let page = browser.open(&server.page(name, parameters)).await.unwrap();
    page.wait_for("ringback.session?.state === 'open'", SOON).await.unwrap();
    (browser, page)
}

/// Ann has rung, and the page asks her for a note.
async fn asked(ann: &Page, title: &str) {
    ann.wait_for("ringback.note?.state === 'offered'", SOON).await.unwrap();
    let shown = format!("document.querySelector('#note-title').textContent === {title:?}");
    ann.wait_for(&shown, SOON).await.unwrap();
}

async fn begin_take(ann: &Page, button: &str) {
    ann.click(button, SOON).await.unwrap();
    ann.wait_for("ringback.note.state === 'countdown'", SOON).await.unwrap();
    ann.click("#note-skip", SOON).await.unwrap();
    ann.wait_for("ringback.note.state === 'recording'", SOON).await.unwrap();
}

async fn record(ann: &Page, button: &str) {
    begin_take(ann, button).await;
    tokio::time::sleep(TAKE).await;
    ann.click("#note-stop", SOON).await.unwrap();
    ann.wait_for("ringback.note.state === 'draft'", SOON).await.unwrap();
}

async fn unheard(page: &Page) -> u64 {
    page.eval_as("ringback.session.notes.unheard").await.unwrap()
}

/// Bob has one note, unheard, in both places; looking at it changes nothing.
async fn finds_the_note(bob: &Page) {
    bob.wait_for("ringback.session.notes.unheard === 1", SOON).await.unwrap();
    bob.wait_for("document.title.startsWith('(1) ') && document.querySelector('#badge').textContent === '1'", SOON)
        .await
        .unwrap();
    bob.click("#nav-notes", SOON).await.unwrap();
    bob.wait_for("document.querySelectorAll('#inbox-new .letter[data-unheard] .note-card').length === 1", SOON)
        .await
        .unwrap();
    bob.click(".letter a.row-text", SOON).await.unwrap();
    bob.wait_for(
        "document.querySelectorAll('.entry').length === 1 && document.querySelector('.entry[data-missed] .note-card[data-unheard]')",
        SOON,
    )
    .await
    .unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(unheard(bob).await, 1, "opening is not hearing");
}

/// Plays it over and over until told otherwise, so that there is time to listen.
async fn plays(bob: &Page) {
    bob.wait_for(&format!("({PLAYER}.loop = true)"), SOON).await.unwrap();
    bob.click(".letter .player-play", SOON).await.unwrap();
    bob.wait_for(&format!("{PLAYER}.currentTime > 0.3"), SOON).await.unwrap();
    bob.wait_for_tone(&format!("{PLAYER}.captureStream()"), 440, SOON).await.unwrap();
    bob.wait_for("ringback.session.notes.unheard === 0", SOON).await.unwrap();
    bob.wait_for("!document.title.startsWith('(') && document.querySelector('#badge').hidden", SOON).await.unwrap();
}

/// The address of Bob's first note, as his page has it.
async fn link(bob: &Page, which: &str) -> String {
    bob.eval_as(&format!("ringback.session.notes.inbox().then(({{ notes: [note] }}) => note.{which})")).await.unwrap()
}

/// The share of a decoded file's power that lies at this frequency.
async fn share_of_tone(page: &Page, url: &str, hz: u32) -> f64 {
    page.eval_as(&format!("({DECODED_SHARE})({url:?}, {hz})")).await.unwrap()
}

const DECODED_SHARE: &str = "async (url, hz) => {
    const bytes = await (await fetch(url)).arrayBuffer();
    const sound = await new OfflineAudioContext(1, 48000, 48000).decodeAudioData(bytes);
    const samples = sound.getChannelData(0);
    const size = 4096;
    const turn = 2 * Math.cos((2 * Math.PI * hz) / sound.sampleRate);
    let there = 0, all = 0;
    for (let start = 0; start + size <= samples.length; start += size) {
        let [one, two] = [0, 0];
        for (let at = start; at < start + size; at++) {
            [one, two] = [samples[at] + turn * one - two, one];
            all += samples[at] * samples[at];
        }
        there += (one * one + two * two - turn * one * two) / (size / 2);
    }
    return all > 0 ? there / all : 0;
}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voice_note_is_recorded_twice_sent_found_heard_and_deleted() {
    let test = "a_voice_note_is_recorded_twice_sent_found_heard_and_deleted";
    let Some(chromium) = chromium_or_skip(test) else { return };
    let server = server().await;
    let (_bobs, bob) = open(&chromium, &server, BOB, "Bob", "").await;
    let (_anns, ann) = open(&chromium, &server, ANN, "Ann", "&call=bob&kind=voice").await;

    asked(&ann, "Bob didn’t answer").await;
    record(&ann, "#note-record").await;
    assert_eq!(ann.eval("ringback.note.take").await.unwrap(), 1);
    ann.click("#note .player-play", SOON).await.unwrap();
    ann.wait_for("document.querySelector('#note audio').currentTime > 0.2", SOON).await.unwrap();
    assert_eq!(unheard(&bob).await, 0, "a draft is the caller's own");

    record(&ann, "#note-retake").await;
    assert_eq!(ann.eval("ringback.note.take").await.unwrap(), 2);
    let lasts: f64 = ann.eval_as("ringback.note.durationMs").await.unwrap();
    assert!(lasts > 1_500.0, "{lasts} ms of a take of {TAKE:?}");
    ann.click("#note-send", SOON).await.unwrap();
    let foot = "document.querySelector('.entry .card-foot')?.textContent";
    ann.wait_for(&format!("{foot}.startsWith('Sent, not heard yet')"), SOON).await.unwrap();

    finds_the_note(&bob).await;
    plays(&bob).await;
    ann.wait_for(&format!("/^Heard \\d/.test({foot})"), SOON).await.unwrap();
    assert_eq!(ann.eval("document.querySelectorAll('.entry').length").await.unwrap(), 1, "one row for one call");

    let url = link(&bob, "url").await;
    let share = share_of_tone(&bob, &url, 440).await;
    assert!(share > 0.5, "{share} of the sound is at 440 Hz");
    if let Some(ffmpeg) = ffmpeg_or_skip(test) {
        let file = fetch(&bob, &url).await.unwrap();
        let probed = ffmpeg.probe(file.path()).unwrap();
        assert_eq!(probed.codecs(), ["opus"]);
        assert!((probed.seconds() * 1_000.0 - lasts).abs() < 150.0, "{} s instead of {lasts} ms", probed.seconds());
        ffmpeg.decode(file.path()).unwrap();
    }

    bob.eval(&format!("{PLAYER}.pause()")).await.unwrap();
    bob.click(".letter [data-key=unheard]", SOON).await.unwrap();
    bob.wait_for("ringback.session.notes.unheard === 1", SOON).await.unwrap();
    bob.click(".letter [data-key=delete]", SOON).await.unwrap();
    assert_eq!(unheard(&bob).await, 1, "the first press asks");
    bob.click(".letter [data-key=delete]", SOON).await.unwrap();
    bob.wait_for("ringback.session.notes.unheard === 0 && !document.querySelector('.letter')", SOON).await.unwrap();
    bob.wait_for("document.querySelector('.entry') && !document.querySelector('.entry .note-card')", SOON)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_video_note_has_its_poster_its_picture_and_its_sound() {
    let test = "a_video_note_has_its_poster_its_picture_and_its_sound";
    let Some(chromium) = chromium_or_skip(test) else { return };
    let server = server().await;
    let (_bobs, bob) = open(&chromium, &server, BOB, "Bob", "").await;
    let (_anns, ann) = open(&chromium, &server, ANN, "Ann", "&call=bob&kind=video").await;

    bob.click("#incoming-decline", SOON).await.unwrap();
    asked(&ann, "Bob can’t talk right now").await;
    begin_take(&ann, "#note-record").await;
    ann.wait_for_colour("document.querySelector('#note-preview video')", Colour::Red, SOON).await.unwrap();
    tokio::time::sleep(TAKE).await;
    ann.click("#note-stop", SOON).await.unwrap();
    ann.click("#note-send", SOON).await.unwrap();

    bob.wait_for("ringback.session.notes.unheard === 1", SOON).await.unwrap();
    bob.click("#nav-notes", SOON).await.unwrap();
    let poster = "(async () => {
        const poster = new Image();
        poster.src = document.querySelector('.letter video').poster;
        await poster.decode();
        const context = new OffscreenCanvas(1, 1).getContext('2d');
        context.drawImage(poster, poster.width / 4, poster.height / 4, poster.width / 2, poster.height / 2, 0, 0, 1, 1);
        return [poster.width, poster.height, ...context.getImageData(0, 0, 1, 1).data.slice(0, 3)];
    })()";
    bob.wait_for("document.querySelector('.letter video')?.poster", SOON).await.unwrap();
    let [width, height, rgb @ ..]: [u16; 5] = bob.eval_as(poster).await.unwrap();
    assert_eq!(Colour::nearest(rgb.map(|part| u8::try_from(part).unwrap())), Some(Colour::Red), "{rgb:?}");
    assert_eq!(width * 3, height * 4, "the fake camera's picture is 4:3, not {width} × {height}");

    plays(&bob).await;
    bob.wait_for_colour(PLAYER, Colour::Red, SOON).await.unwrap();
    let size: [u16; 2] = bob.eval_as(&format!("[{PLAYER}.videoWidth, {PLAYER}.videoHeight]")).await.unwrap();
    assert_eq!(size[0] * 3, size[1] * 4, "{size:?}");
    let moves = format!(
        "(async () => {{ const first = {PLAYER}.getVideoPlaybackQuality().totalVideoFrames; \
         await new Promise((resolve) => setTimeout(resolve, 1500)); \
         return {PLAYER}.getVideoPlaybackQuality().totalVideoFrames > first; }})()"
    );
    bob.wait_for(&moves, SOON).await.unwrap();

    if let Some(ffmpeg) = ffmpeg_or_skip(test) {
        let lasts: f64 =
            bob.eval_as("ringback.session.notes.inbox().then(({ notes: [note] }) => note.durationMs)").await.unwrap();
        let file = fetch(&bob, &link(&bob, "url").await).await.unwrap();
        let probed = ffmpeg.probe(file.path()).unwrap();
        let mut codecs = probed.codecs();
        codecs.sort_unstable();
        assert_eq!(codecs, ["opus", "vp8"]);
        assert!((probed.seconds() * 1_000.0 - lasts).abs() < 300.0, "{} s instead of {lasts} ms", probed.seconds());
        ffmpeg.decode(file.path()).unwrap();
        let poster = fetch(&bob, &link(&bob, "posterUrl").await).await.unwrap();
        ffmpeg.decode(poster.path()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_calls_back_during_a_take_is_on_the_line_and_the_take_is_kept() {
    let Some(chromium) = chromium_or_skip("whoever_calls_back_during_a_take_is_on_the_line_and_the_take_is_kept")
    else {
        return;
    };
    let server = server().await;
    let (_bobs, bob) = open(&chromium, &server, BOB, "Bob", "").await;
    let (_anns, ann) = open(&chromium, &server, ANN, "Ann", "&call=bob&kind=voice").await;
    asked(&ann, "Bob didn’t answer").await;
    begin_take(&ann, "#note-record").await;
    tokio::time::sleep(TAKE).await;

    bob.click("[data-key='voice ann']", SOON).await.unwrap();
    ann.wait_for("ringback.note.state === 'draft' && ringback.note.reason === 'callee_came'", SOON).await.unwrap();
    ann.wait_for("document.querySelector('#incoming').open", SOON).await.unwrap();
    ann.click("#incoming-accept", SOON).await.unwrap();
    for page in [&ann, &bob] {
        page.wait_for("ringback.call?.state === 'active' && ringback.room.state === 'connected'", SOON).await.unwrap();
    }
    let anns = "[...ringback.room.participants.values()].find(({ name }) => name === 'Ann')";
    bob.wait_for(&format!("{anns}?.audio"), SOON).await.unwrap();
    bob.wait_for_tone(&format!("{anns}.audio"), 440, SOON).await.unwrap();
    assert_eq!(unheard(&bob).await, 0, "a draft is not sent by itself");

    // After the talk the draft is still there, to be sent or not.
    ann.eval("ringback.call.hangup()").await.unwrap();
    ann.wait_for("document.body.dataset.view === 'lobby'", SOON).await.unwrap();
    ann.click("#drafts .card-foot [data-key=send]", SOON).await.unwrap();
    bob.wait_for("ringback.session.notes.unheard === 1", SOON).await.unwrap();
    ann.wait_for("document.querySelector('#drafts').hidden", SOON).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_take_survives_the_page_in_which_it_was_spoken() {
    let Some(chromium) = chromium_or_skip("a_take_survives_the_page_in_which_it_was_spoken") else { return };
    let server = server().await;
    let (_bobs, bob) = open(&chromium, &server, BOB, "Bob", "").await;
    let (_anns, ann) = open(&chromium, &server, ANN, "Ann", "&call=bob&kind=voice").await;
    asked(&ann, "Bob didn’t answer").await;
    begin_take(&ann, "#note-record").await;
    tokio::time::sleep(TAKE).await;

    ann.goto(&server.page("Ann", "")).await.unwrap();
    ann.wait_for("document.querySelectorAll('#drafts .draft').length === 1", SOON).await.unwrap();
    ann.click("#drafts .player-play", SOON).await.unwrap();
    ann.wait_for("document.querySelector('#drafts audio').currentTime > 0.2", SOON).await.unwrap();
    ann.click("#drafts .card-foot [data-key=Discard]", SOON).await.unwrap();
    ann.click("#drafts .card-foot [data-key=Discard]", SOON).await.unwrap();
    ann.wait_for("document.querySelector('#drafts').hidden && ringback.session.notes.open.length === 0", SOON)
        .await
        .unwrap();
    assert_eq!(unheard(&bob).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_busy_finds_the_note_after_the_talk() {
    let Some(chromium) = chromium_or_skip("whoever_is_busy_finds_the_note_after_the_talk") else { return };
    let server = server().await;
    let (bobs, bob) = open(&chromium, &server, BOB, "Bob", "&auto=accept").await;
    let cleo = bobs.open(&server.page("Cleo", "&call=bob&kind=voice")).await.unwrap();
    cleo.wait_for("ringback.call?.state === 'active'", SOON).await.unwrap();
    let (_anns, ann) = open(&chromium, &server, ANN, "Ann", "&call=bob&kind=voice").await;

    // The call was over at once: the room is joined for the note.
    asked(&ann, "Bob is on another call").await;
    record(&ann, "#note-record").await;
    ann.click("#note-send", SOON).await.unwrap();
    bob.wait_for("ringback.session.notes.unheard === 1 && ringback.call.state === 'active'", SOON).await.unwrap();
    cleo.eval("ringback.call.hangup()").await.unwrap();
    bob.wait_for("document.body.dataset.view === 'lobby'", SOON).await.unwrap();
    bob.click("#nav-notes", SOON).await.unwrap();
    plays(&bob).await;
}
