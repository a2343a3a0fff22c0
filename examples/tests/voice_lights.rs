//! Each person's voice light follows their own microphone: it is on while that one is loud, off while it is not, and the stage goes
//! to whoever speaks.
#![allow(clippy::unwrap_used)]

mod browser;
mod server;

use std::time::Duration;

use browser::{Browser, Colour, FakeMedia, MICROPHONE_SWITCH, chromium_or_skip};
use server::Server;

const SOON: Duration = Duration::from_secs(40);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voice_light_follows_the_microphone_that_is_loud() {
    let Some(chromium) = chromium_or_skip("a_voice_light_follows_the_microphone_that_is_loud") else { return };
    let server = Server::start().await.unwrap();
    let bobs = Browser::launch(&chromium, FakeMedia { tone: Some(1_000), colour: Some(Colour::Blue) }).await.unwrap();
    let bob = bobs.open_prepared(&server.page("Bob", "&auto=accept"), MICROPHONE_SWITCH).await.unwrap();
    let anns = Browser::launch(&chromium, FakeMedia { tone: Some(440), colour: Some(Colour::Red) }).await.unwrap();
    let ann = anns.open_prepared(&server.page("Ann", "&call=bob&kind=video"), MICROPHONE_SWITCH).await.unwrap();
    for page in [&ann, &bob] {
        page.wait_for("ringback.call?.state === 'active' && ringback.room.state === 'connected'", SOON).await.unwrap();
        page.eval("microphoneLoud(false)").await.unwrap();
    }
    let names = "(() => {
        const room = ringback.room;
        const name = (id) => (id === room.me ? ringback.session.name : room.participants.get(id)?.name);
        return { speaking: [...room.speaking].map(name).sort().join(), stage: room.stage && name(room.stage) };
    })()";
    for page in [&ann, &bob] {
        page.wait_for(&format!("{names}.speaking === ''"), SOON).await.unwrap();
    }
    for (loud, who) in [(&bob, "Bob"), (&ann, "Ann"), (&bob, "Bob")] {
        loud.eval("microphoneLoud(true)").await.unwrap();
        for page in [&ann, &bob] {
            page.wait_for(&format!("{names}.speaking === '{who}'"), SOON).await.unwrap();
            page.wait_for(&format!("{names}.stage === '{who}'"), SOON).await.unwrap();
        }
        // The tile says so, too, on the other's page.
        let (other, tile) = if who == "Bob" { (&ann, "Bob") } else { (&bob, "Ann") };
        other
            .wait_for(&format!("document.querySelector('.tile[aria-label={tile}][data-speaking]')"), SOON)
            .await
            .unwrap();
        loud.eval("microphoneLoud(false)").await.unwrap();
        for page in [&ann, &bob] {
            page.wait_for(&format!("{names}.speaking === ''"), SOON).await.unwrap();
            page.wait_for(&format!("{names}.stage === '{who}'"), SOON).await.unwrap();
        }
    }

    // Muting puts the light out whatever the microphone does.
    bob.eval("microphoneLoud(true)").await.unwrap();
    ann.wait_for(&format!("{names}.speaking === 'Bob'"), SOON).await.unwrap();
    bob.eval("ringback.room.mute('microphone', true)").await.unwrap();
    ann.wait_for(&format!("{names}.speaking === ''"), SOON).await.unwrap();
}
