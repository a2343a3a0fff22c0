//! A browser that sends no audio levels is heard by ear: its voice light follows its microphone, and it takes the stage.
#![allow(clippy::unwrap_used)]

mod browser;
mod server;

use std::time::Duration;

use browser::{Browser, Colour, FakeMedia, MICROPHONE_SWITCH, chromium_or_skip};
use server::Server;

const SOON: Duration = Duration::from_secs(40);

/// Leaves the extension of RFC 6464 out of every offer.
const NO_LEVELS: &str = "{
    const createOffer = RTCPeerConnection.prototype.createOffer;
    RTCPeerConnection.prototype.createOffer = async function (...options) {
        const { type, sdp } = await createOffer.apply(this, options);
        return { type, sdp: sdp.replace(/a=extmap:\\d+ urn:ietf:params:rtp-hdrext:ssrc-audio-level\\r\\n/g, '') };
    };
}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_without_levels_is_lit_while_it_speaks_and_takes_the_stage() {
    let name = "a_browser_without_levels_is_lit_while_it_speaks_and_takes_the_stage";
    let Some(chromium) = chromium_or_skip(name) else { return };
    let server = Server::start().await.unwrap();
    let prepared = format!("{MICROPHONE_SWITCH}\n{NO_LEVELS}");
    let bobs = Browser::launch(&chromium, FakeMedia { tone: Some(1_000), colour: Some(Colour::Blue) }).await.unwrap();
    let bob = bobs.open_prepared(&server.page("Bob", "&auto=accept"), &prepared).await.unwrap();
    let anns = Browser::launch(&chromium, FakeMedia { tone: Some(440), colour: Some(Colour::Red) }).await.unwrap();
    let ann = anns.open_prepared(&server.page("Ann", "&call=bob"), MICROPHONE_SWITCH).await.unwrap();
    for page in [&ann, &bob] {
        page.wait_for("ringback.call?.state === 'active' && ringback.room.state === 'connected'", SOON).await.unwrap();
        page.eval("microphoneLoud(false)").await.unwrap();
    }
    let answer = bob.eval("ringback.room.peer.remoteDescription.sdp.includes('ssrc-audio-level')").await.unwrap();
    assert_eq!(answer, serde_json::Value::Bool(false), "levels were negotiated after all");
    let bobs_light =
        "[...ringback.room.participants.values()].some(({ name, speaking }) => name === 'Bob' && speaking)";
    let bobs_stage = "ringback.room.participants.get(ringback.room.stage)?.name === 'Bob'";
    for _ in 0..2 {
        bob.eval("microphoneLoud(true)").await.unwrap();
        ann.wait_for(&format!("{bobs_light} && {bobs_stage}"), SOON).await.unwrap();
        bob.eval("microphoneLoud(false)").await.unwrap();
        ann.wait_for(&format!("!({bobs_light})"), SOON).await.unwrap();
        ann.eval("microphoneLoud(true)").await.unwrap();
        bob.wait_for("ringback.room.participants.get(ringback.room.stage)?.name === 'Ann'", SOON).await.unwrap();
        ann.eval("microphoneLoud(false)").await.unwrap();
    }
}
