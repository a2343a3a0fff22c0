//! Three Chromium react and raise hands: what one taps floats up at the others, hands queue in the same order everywhere and for who comes
//! later, a flood from one page delays neither the others' reactions nor their sound, and who has no data channel is not left out.
#![allow(clippy::unwrap_used)]

mod browser;
mod server;

use std::path::Path;
use std::time::Duration;

use browser::{Browser, FakeMedia, Page, chromium_or_skip};
use serde_json::Value;
use server::Server;

/// Generous: three browsers share two cores with a compiler, at times.
const SOON: Duration = Duration::from_secs(40);

const LISTEN: &str = "127.0.0.1:0";

/// One test at a time: nine browsers at once would measure one another.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn host_is_ann() -> Server {
    Server::start_with(&["--listen", LISTEN, "--media", LISTEN, "--host", "ann"]).await.unwrap()
}

async fn open(
    chromium: &Path,
    server: &Server,
    name: &str,
    tone: u32,
    parameters: &str,
    script: &str,
) -> (Browser, Page) {
    let browser = Browser::launch(chromium, FakeMedia { tone: Some(tone), colour: None }).await.unwrap();
    let page = browser.open_prepared(&server.page(name, parameters), script).await.unwrap();
    (browser, page)
}

/// Ann and Bob in a voice call, with their reactions up.
async fn call(chromium: &Path, server: &Server) -> [(Browser, Page); 2] {
    let bob = open(chromium, server, "Bob", 1_000, "&auto=accept", "").await;
    let ann = open(chromium, server, "Ann", 440, "&call=bob&kind=voice", "").await;
    for page in [&ann.1, &bob.1] {
        page.wait_for("ringback.call?.state === 'active' && ringback.room.state === 'connected'", SOON).await.unwrap();
        page.wait_for("ringback.room.reactions.direct", SOON).await.unwrap();
    }
    [ann, bob]
}

/// Cleo comes into the call's room by its id, with sound.
async fn cleo_drops_in(ann: &Page, cleo: &Page) {
    let room = ann.wait_for("ringback.room?.id", SOON).await.unwrap();
    cleo.wait_for("ringback.session?.user", SOON).await.unwrap();
    cleo.eval(&format!(
        "(async () => {{
            const stream = await navigator.mediaDevices.getUserMedia({{ audio: true }});
            window.third = ringback.session.join('{}');
            window.refused = [];
            window.heard = {{}};
            third.reactions.on('refused', (refusal) => refused.push(refusal));
            third.reactions.on('reactions', ({{ counts }}) => {{
                for (const {{ reaction, count }} of counts) heard[reaction] = (heard[reaction] ?? 0) + count;
            }});
            await third.publish('microphone', stream.getAudioTracks()[0]);
            return true;
        }})()",
        room.as_str().unwrap()
    ))
    .await
    .unwrap();
    cleo.wait_for("third.state === 'connected'", SOON).await.unwrap();
}

const QUEUE: &str = "[...document.querySelectorAll('.hand-queue li > span')].map((one) => one.textContent).join()";

async fn queue_is(page: &Page, names: &str) {
    page.wait_for(&format!("{QUEUE} === '{names}'"), SOON).await.unwrap();
}

async fn press(page: &Page, key: &str) {
    let press =
        format!("document.body.dispatchEvent(new KeyboardEvent('keydown', {{ key: '{key}', bubbles: true }})), true");
    page.eval(&press).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reactions_float_and_hands_queue_in_the_same_order_everywhere() {
    let Some(chromium) = chromium_or_skip("reactions_float_and_hands_queue_in_the_same_order_everywhere") else {
        return;
    };
    let _turn = TURN.lock().await;
    let server = host_is_ann().await;
    let [(_anns, ann), (_bobs, bob)] = call(&chromium, &server).await;

    // By the bar: the first of the usual ones, and one that is searched for.
    press(&ann, "r").await;
    ann.click(".reaction-quick .reaction", SOON).await.unwrap();
    bob.wait_for("document.querySelector('.float[data-reaction=\"👍\"]')?.title === 'Ann'", SOON).await.unwrap();
    bob.click(".float[data-reaction=\"👍\"]", SOON).await.unwrap();
    bob.wait_for("document.querySelector('.reaction-names:not([hidden])')?.textContent === '👍 Ann'", SOON)
        .await
        .unwrap();
    // Readers are told in a sentence.
    bob.wait_for("document.querySelector('.reaction-spoken').textContent === 'Reactions: 👍 by Ann.'", SOON)
        .await
        .unwrap();
    ann.eval("(() => { const search = document.querySelector('.reaction-search'); search.value = 'rocket'; search.dispatchEvent(new Event('input')); return true; })()")
        .await
        .unwrap();
    ann.click(".reaction-found .reaction", SOON).await.unwrap();
    bob.wait_for("document.querySelector('.float[data-reaction=\"🚀\"]')", SOON).await.unwrap();
    // By a key; what was used last comes first.
    press(&bob, "1").await;
    ann.wait_for("document.querySelector('.float[data-reaction=\"👍\"]')?.title === 'Bob'", SOON).await.unwrap();

    press(&bob, "u").await;
    queue_is(&ann, "Bob").await;
    press(&ann, "u").await;
    queue_is(&ann, "Bob,You").await;
    queue_is(&bob, "You,Ann").await;

    // Who comes later finds the hands as they are.
    let (_cleos, cleo) = open(&chromium, &server, "Cleo", 1_600, "", "").await;
    cleo_drops_in(&ann, &cleo).await;
    cleo.wait_for("third.reactions.hands.map(({ name }) => name).join() === 'Bob,Ann'", SOON).await.unwrap();
    cleo.wait_for("third.reactions.direct", SOON).await.unwrap();
    cleo.eval("third.reactions.raiseHand(), third.reactions.react('👩🏾‍🚀'), true").await.unwrap();
    for page in [&ann, &bob] {
        page.wait_for("document.querySelector('.float[data-reaction=\"👩🏾‍🚀\"]')?.title === 'Cleo'", SOON).await.unwrap();
    }
    queue_is(&bob, "You,Ann,Cleo").await;

    // What is no emoji is refused, and goes nowhere.
    cleo.eval("third.reactions.react('🚀🚀'), third.reactions.react('<b>'), true").await.unwrap();
    cleo.wait_for("refused.filter(({ code }) => code === 'not_an_emoji').length === 2", SOON).await.unwrap();
    // Only the host lowers others' hands.
    cleo.eval("third.reactions.lower(), true").await.unwrap();
    cleo.wait_for("refused.at(-1).code === 'forbidden'", SOON).await.unwrap();
    ann.click(".hand-queue li:first-child button", SOON).await.unwrap();
    queue_is(&bob, "Ann,Cleo").await;
    ann.eval("ringback.room.reactions.control({ mode: 'hands' }), true").await.unwrap();
    bob.wait_for("document.querySelector('.reaction-quick').hidden", SOON).await.unwrap();

    // A hand goes with its owner.
    cleo.eval("third.leave(), true").await.unwrap();
    queue_is(&bob, "Ann").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_from_one_page_delays_neither_reactions_nor_sound_of_the_others() {
    let Some(chromium) = chromium_or_skip("a_flood_from_one_page_delays_neither_reactions_nor_sound_of_the_others")
    else {
        return;
    };
    let _turn = TURN.lock().await;
    let server = host_is_ann().await;
    let [(_anns, ann), (_bobs, bob)] = call(&chromium, &server).await;
    let (_cleos, cleo) = open(&chromium, &server, "Cleo", 1_600, "", "").await;
    cleo_drops_in(&ann, &cleo).await;
    cleo.wait_for("third.reactions.direct", SOON).await.unwrap();
    bob.eval(
        "window.arrived = [], window.flooded = 0, ringback.room.reactions.on('reactions', ({ counts }) => {
            for (const { reaction, count } of counts) {
                if (reaction === '👏') for (let one = 0; one < count; one++) arrived.push(Date.now());
                if (reaction === '💥') flooded += count;
            }
        }), true",
    )
    .await
    .unwrap();
    let quiet = delays(&ann, &bob).await;
    let audio_before = audio(&bob).await;
    // Two thousand messages a second, some of them no messages at all.
    cleo.eval(
        "window.flood = setInterval(() => {
            for (let tap = 0; tap < 20; tap++) third.reactions.react(tap % 5 ? '💥' : 'x'.repeat(900));
        }, 10), true",
    )
    .await
    .unwrap();
    let flooded = delays(&ann, &bob).await;
    cleo.eval("clearInterval(flood), true").await.unwrap();
    let audio_after = audio(&bob).await;
    println!(
        "delivery in ms: quiet {quiet:?}, during the flood {flooded:?}; audio {audio_before:?} then {audio_after:?}"
    );
    let worst = flooded.iter().copied().fold(0.0, f64::max);
    assert!(worst < 1_500.0, "the flood delayed a reaction by {worst} ms (quiet: {quiet:?})");
    let (packets, seconds) = (audio_after.0 - audio_before.0, audio_after.1 - audio_before.1);
    assert!(packets / seconds > 60.0, "{packets} audio packets of two people in {seconds} s");
    let passed = bob.eval("flooded").await.unwrap().as_u64().unwrap();
    let told = cleo.eval("refused.filter(({ code }) => code === 'rate_limited').length").await.unwrap();
    // Ten at once and five a second, for as long as it took.
    assert!(passed as f64 <= 15.0 + 5.0 * (seconds + 2.0), "{passed} of the flood were counted in {seconds} s");
    assert!((1..100).contains(&told.as_u64().unwrap()), "{told} refusals");
}

/// Ten reactions of Ann's, and after how many milliseconds Bob's page had each.
async fn delays(ann: &Page, bob: &Page) -> Vec<f64> {
    bob.eval("arrived.length = 0, true").await.unwrap();
    let sent = ann
        .eval_as::<Vec<f64>>(
            "(async () => {
                const sent = [];
                for (let tap = 0; tap < 10; tap++) {
                    sent.push(Date.now());
                    ringback.room.reactions.react('👏');
                    await new Promise((resolve) => setTimeout(resolve, 450));
                }
                return sent;
            })()",
        )
        .await
        .unwrap();
    bob.wait_for("arrived.length === 10", SOON).await.unwrap();
    let arrived: Vec<f64> = bob.eval_as("arrived").await.unwrap();
    sent.iter().zip(arrived).map(|(sent, arrived)| arrived - sent).collect()
}

/// Audio packets that a page has received so far, and the time in seconds.
async fn audio(page: &Page) -> (f64, f64) {
    let stats: Value = page
        .eval(
            "(async () => {
                const stats = [...(await ringback.room.peer.getStats()).values()];
                const audio = stats.filter(({ type, kind }) => type === 'inbound-rtp' && kind === 'audio');
                return [audio.reduce((sum, { packetsReceived }) => sum + packetsReceived, 0), Date.now() / 1000];
            })()",
        )
        .await
        .unwrap();
    (stats[0].as_f64().unwrap(), stats[1].as_f64().unwrap())
}

/// Data channels that never open, as on a path that blocks SCTP.
const NO_DATA_CHANNELS: &str = "
    const create = RTCPeerConnection.prototype.createDataChannel;
    RTCPeerConnection.prototype.createDataChannel = function (label, ...rest) {
        if (label === 'echo') return create.call(this, label, ...rest);
        return Object.assign(new EventTarget(), { label, readyState: 'connecting' });
    };";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_no_data_channel_reacts_and_sees_by_signaling() {
    let Some(chromium) = chromium_or_skip("who_has_no_data_channel_reacts_and_sees_by_signaling") else { return };
    let _turn = TURN.lock().await;
    let server = host_is_ann().await;
    let (_bobs, bob) = open(&chromium, &server, "Bob", 1_000, "&auto=accept", NO_DATA_CHANNELS).await;
    let (_anns, ann) = open(&chromium, &server, "Ann", 440, "&call=bob&kind=voice", "").await;
    for page in [&ann, &bob] {
        page.wait_for("ringback.call?.state === 'active' && ringback.room.state === 'connected'", SOON).await.unwrap();
    }
    ann.wait_for("ringback.room.reactions.direct", SOON).await.unwrap();
    press(&ann, "u").await;
    // The snapshot comes after a while without a channel.
    queue_is(&bob, "Ann").await;
    press(&bob, "1").await;
    ann.wait_for("document.querySelector('.float[data-reaction=\"👍\"]')?.title === 'Bob'", SOON).await.unwrap();
    bob.wait_for("document.querySelector('.float[data-reaction=\"👍\"]')", SOON).await.unwrap();
    press(&bob, "u").await;
    queue_is(&ann, "You,Bob").await;
    queue_is(&bob, "Ann,You").await;
    assert_eq!(bob.eval("ringback.room.reactions.direct").await.unwrap(), Value::Bool(false));
}
