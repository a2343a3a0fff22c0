//! The speaker overlay: behind its key the page plots what the detector sees and decides, live, and nothing is sent for it before or
//! after. And the highlight: one person at a time.
#![allow(clippy::unwrap_used)]

mod browser;
mod server;

use std::time::Duration;

use browser::{Browser, Colour, FakeMedia, MICROPHONE_SWITCH, Page, chromium_or_skip};
use server::Server;

const SOON: Duration = Duration::from_secs(40);

/// What the overlay took in of Bob lately: how often, and of the last times his level, his evidence and whether he had the stage.
const OF_BOB: &str = "(async () => {
    const { speakerOverlay } = await import('./speaker-overlay.js');
    const bob = [...ringback.room.participants.values()].find(({ name }) => name === 'Bob').id;
    const samples = speakerOverlay()?.samples.get(bob) ?? [];
    return {
        times: samples.length,
        level: Math.max(...samples.slice(-10).map(({ level }) => level)),
        evidence: Math.max(...samples.slice(-10).map(({ evidence }) => evidence)),
        stage: samples.at(-1)?.stage ?? false,
        word: samples.at(-1)?.word ?? null,
    };
})()";

#[derive(Debug, serde::Deserialize)]
struct OfBob {
    times: u32,
    level: Option<i32>,
    evidence: Option<u32>,
    stage: bool,
    word: Option<String>,
}

async fn of_bob(page: &Page) -> OfBob {
    serde_json::from_value(page.eval(OF_BOB).await.unwrap()).unwrap()
}

async fn press(page: &Page, key: &str) {
    let event = format!("(document.dispatchEvent(new KeyboardEvent('keydown', {{ key: '{key}' }})), true)");
    page.eval(&event).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_overlay_plots_what_the_detector_sees_while_it_is_open_and_one_is_highlighted_at_a_time() {
    let name = "the_overlay_plots_what_the_detector_sees_while_it_is_open_and_one_is_highlighted_at_a_time";
    let Some(chromium) = chromium_or_skip(name) else { return };
    let server = Server::start().await.unwrap();
    let bobs = Browser::launch(&chromium, FakeMedia { tone: Some(1_000), colour: Some(Colour::Blue) }).await.unwrap();
    let bob = bobs.open_prepared(&server.page("Bob", "&auto=accept"), MICROPHONE_SWITCH).await.unwrap();
    let anns = Browser::launch(&chromium, FakeMedia { tone: Some(440), colour: Some(Colour::Red) }).await.unwrap();
    let ann = anns.open_prepared(&server.page("Ann", "&call=bob&kind=video"), MICROPHONE_SWITCH).await.unwrap();
    for page in [&ann, &bob] {
        page.wait_for("ringback.call?.state === 'active' && ringback.room.state === 'connected'", SOON).await.unwrap();
        page.eval("microphoneLoud(false)").await.unwrap();
    }
    ann.eval(
        "(window.highlighted = [], new MutationObserver(() => {
            highlighted.push(document.querySelectorAll('.tile[data-stage]').length);
        }).observe(document.body, { subtree: true, attributeFilter: ['data-stage'] }), true)",
    )
    .await
    .unwrap();

    // Off unless asked for.
    assert_eq!(of_bob(&ann).await.times, 0);
    press(&ann, "g").await;
    ann.wait_for("document.querySelector('#speaker-overlay canvas')?.height > 0", SOON).await.unwrap();
    bob.eval("microphoneLoud(true)").await.unwrap();
    let plotted = tokio::time::timeout(SOON, async {
        loop {
            let bob = of_bob(&ann).await;
            if bob.times >= 3 && bob.stage && bob.level > Some(-60) && bob.evidence > Some(0) {
                return bob;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let plotted = plotted.await.unwrap();
    assert_eq!(plotted.word.as_deref(), Some("client"));
    let drawn = "(() => {
        const canvas = document.querySelector('#speaker-overlay canvas');
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        return data.some((value) => value !== 0);
    })()";
    ann.wait_for(drawn, SOON).await.unwrap();

    // The stage passes to and fro; never were two highlighted.
    let turns = [(&ann, &bob, ".tile[data-stage][data-kind=self]"), (&bob, &ann, ".tile[data-stage][aria-label=Bob]")];
    for (loud, quiet, tile) in turns {
        quiet.eval("microphoneLoud(false)").await.unwrap();
        loud.eval("microphoneLoud(true)").await.unwrap();
        ann.wait_for(&format!("document.querySelector('{tile}') !== null"), SOON).await.unwrap();
    }
    let highlighted: Vec<u32> = serde_json::from_value(ann.eval("highlighted").await.unwrap()).unwrap();
    assert!(highlighted.len() >= 2 && highlighted.iter().all(|&count| count <= 1), "{highlighted:?}");

    // Closed, and nothing more comes: what is there when it opens again is new.
    press(&ann, "g").await;
    ann.wait_for("document.querySelector('#speaker-overlay') === null", SOON).await.unwrap();
    assert_eq!(of_bob(&ann).await.times, 0);
    press(&ann, "g").await;
    ann.wait_for("document.querySelector('#speaker-overlay') !== null", SOON).await.unwrap();
    tokio::time::timeout(SOON, async {
        while of_bob(&ann).await.times == 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await
    .unwrap();
}
