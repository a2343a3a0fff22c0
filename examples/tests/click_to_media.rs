//! How long it takes from the click on Accept until the two hear and see one another, on loopback. One round as a test, with a
//! generous limit; `RINGBACK_ROUNDS=20 cargo test --release -p ringback-examples --test click_to_media -- --nocapture` for the
//! figures in docs/performance.md.
#![allow(clippy::unwrap_used)]

mod browser;
mod server;

use std::time::Duration;

use browser::{Browser, Colour, FakeMedia, chromium_or_skip};
use server::Server;

const SOON: Duration = Duration::from_secs(40);

/// What a call may take at most on a machine that compiles meanwhile, in milliseconds; the figures are far below.
const LIMIT_MS: f64 = 10_000.0;

/// Notes when the first remote sound is played and the first remote picture stands under its name, by the wall clock, which both
/// browsers share.
const WATCH: &str = "(() => {
    window.first = {};
    const watch = setInterval(() => {
        const receivers = ringback.room?.peer?.getReceivers() ?? [];
        const sounds = receivers.some(({ track, getSynchronizationSources }, i) =>
            track.kind === 'audio' && receivers[i].getSynchronizationSources().length > 0);
        if (sounds) first.audio ??= Date.now();
        if (document.querySelector('.tile[data-kind=person] [data-video=live] video')?.videoWidth) first.video ??= Date.now();
        if (first.audio && first.video) clearInterval(watch);
    }, 2);
    return true;
})()";

/// What each side knows, for when nothing arrives.
const STATE: &str = "(async () => {
    const { room, call } = ringback;
    const stats = [...(await room.peer.getStats()).values()].filter(({ type }) => /bound-rtp/.test(type));
    return {
        call: call.state, room: room.state, me: room.me, first: window.first,
        participants: [...room.participants.values()].map(({ name, tracks, audio, video }) => ({ name, tracks, audio: !!audio, video: !!video })),
        media: stats.map(({ type, mid, rid, packetsSent, packetsReceived }) => `${type} ${mid} ${rid ?? ''} ${packetsSent ?? packetsReceived}`),
    };
})()";

fn percentile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_click_on_accept_the_two_soon_hear_and_see_one_another() {
    let Some(chromium) = chromium_or_skip("after_the_click_on_accept_the_two_soon_hear_and_see_one_another") else {
        return;
    };
    let rounds = std::env::var("RINGBACK_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(1);
    let server = Server::start().await.unwrap();
    let bobs = Browser::launch(&chromium, FakeMedia { tone: Some(1_000), colour: Some(Colour::Blue) }).await.unwrap();
    let bob = bobs.open(&server.page("Bob", "")).await.unwrap();
    let anns = Browser::launch(&chromium, FakeMedia { tone: Some(440), colour: Some(Colour::Red) }).await.unwrap();
    let ann = anns.open(&server.page("Ann", "")).await.unwrap();
    let (mut audio, mut video) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        // Somebody else each time: nobody may ring the same person this often.
        let caller = format!("Ann{round}");
        ann.goto(&server.page(&caller, "&call=bob&kind=video")).await.unwrap();
        bob.wait_for("document.querySelector('#incoming-accept')?.checkVisibility()", SOON).await.unwrap();
        // Nobody picks up in no time; meanwhile the caller's media connects.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        ann.eval(WATCH).await.unwrap();
        bob.eval(WATCH).await.unwrap();
        let clicked: f64 = bob
            .eval_as(
                "(() => { const at = Date.now(); document.querySelector('#incoming-accept').click(); return at; })()",
            )
            .await
            .unwrap();
        for page in [&ann, &bob] {
            let arrived = page.wait_for("window.first.audio && window.first.video", SOON).await;
            if let Err(error) = arrived {
                let (ann, bob) = (ann.eval(STATE).await.unwrap(), bob.eval(STATE).await.unwrap());
                panic!("round {round}: {error}\nAnn: {ann:#}\nBob: {bob:#}");
            }
            audio.push(page.eval_as::<f64>("first.audio").await.unwrap() - clicked);
            video.push(page.eval_as::<f64>("first.video").await.unwrap() - clicked);
        }
        bob.eval("ringback.call.hangup()").await.unwrap();
        bob.wait_for("!ringback.call || ringback.call.isOver", SOON).await.unwrap();
        bob.goto(&server.page("Bob", "")).await.unwrap();
    }
    for (what, times) in [("audio", &mut audio), ("video", &mut video)] {
        times.sort_by(f64::total_cmp);
        let (median, late) = (percentile(times, 0.5), percentile(times, 0.95));
        println!("click to first remote {what}: p50 {median:.0} ms, p95 {late:.0} ms ({} measurements)", times.len());
        assert!(median < LIMIT_MS, "{what} takes {median:.0} ms");
    }
}
