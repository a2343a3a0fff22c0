//! A browser whose address changes during a call, as a phone's does between Wi-Fi and mobile, goes on talking: its media passes a
//! relay that stands for its router and takes new source ports at the test's word. An ICE restart, which browsers make
//! when they notice such a change, keeps everyone in their slot.
#![allow(clippy::unwrap_used)]

mod browser;
mod network;
mod server;

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use browser::{Browser, Colour, FakeMedia, Page, chromium_or_skip};
use network::Relay;
use server::Server;

/// Generous: two browsers share two cores with a compiler, at times.
const SOON: Duration = Duration::from_secs(40);

/// How long nobody hears or sees anything at most. Browsers check a working path every 2.5 s, and only such a check tells the
/// server, safely, of the new address.
const BACK_WITHIN: Duration = Duration::from_secs(5);

const ANN: FakeMedia = FakeMedia { tone: Some(440), colour: Some(Colour::Red) };
const BOB: FakeMedia = FakeMedia { tone: Some(1_000), colour: Some(Colour::Blue) };

/// What a page has received so far: audio packets and decoded frames.
#[derive(Debug, Clone, Copy, serde::Deserialize)]
struct Received {
    audio: u64,
    video: u64,
}

const RECEIVED: &str = "(async () => {
    const lines = [...(await ringback.room.peer.getStats()).values()].filter(({ type }) => type === 'inbound-rtp');
    const sum = (kind, field) => lines.filter((line) => line.kind === kind).reduce((total, line) => total + (line[field] ?? 0), 0);
    return { audio: sum('audio', 'packetsReceived'), video: sum('video', 'framesDecoded') };
})()";

/// Half a second of sound and some pictures: more than was on its way when the address changed.
fn is_back(before: Received, now: Received) -> bool {
    now.audio >= before.audio + 25 && now.video >= before.video + 5
}

/// Waits until both pages receive again; returns how long each took.
async fn until_back(pages: [&Page; 2], since: Instant) -> [Duration; 2] {
    let back = async |page: &Page| {
        let before: Received = page.eval_as(RECEIVED).await.unwrap();
        loop {
            let now: Received = page.eval_as(RECEIVED).await.unwrap();
            if is_back(before, now) {
                return since.elapsed();
            }
            assert!(since.elapsed() < SOON, "media is not back: {before:?}, and still {now:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let [one, other] = pages;
    tokio::join!(back(one), back(other)).into()
}

async fn talks(page: &Page, name: &str, media: FakeMedia) {
    let participant = format!("[...ringback.room.participants.values()].find(({{ name }}) => name === '{name}')");
    page.wait_for(&format!("{participant}?.audio !== null"), SOON).await.unwrap();
    page.wait_for_tone(&format!("{participant}.audio"), media.tone.unwrap(), SOON).await.unwrap();
    let video = format!("document.querySelector('.tile[aria-label={name}] [data-video=live] video')");
    page.wait_for_colour(&video, media.colour.unwrap(), SOON).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_survives_a_new_address_and_an_ice_restart() {
    let Some(chromium) = chromium_or_skip("a_call_survives_a_new_address_and_an_ice_restart") else { return };
    // The relay must know the server's media port beforehand: one that was free a moment ago.
    let media = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server::start_with(&["--listen", "127.0.0.1:0", "--media", &media.to_string()]).await.unwrap();
    let relay = Relay::start(media).await.unwrap();

    let bobs = Browser::launch(&chromium, BOB).await.unwrap();
    let bob = bobs.open(&server.page("Bob", "&auto=accept")).await.unwrap();
    let anns = Browser::launch(&chromium, ANN).await.unwrap();
    let ann = anns.open_prepared(&server.page("Ann", "&call=bob&kind=video"), &relay.script(media)).await.unwrap();
    for page in [&ann, &bob] {
        page.wait_for("ringback.call?.state === 'active' && ringback.room.state === 'connected'", SOON).await.unwrap();
    }
    talks(&ann, "Bob", BOB).await;
    talks(&bob, "Ann", ANN).await;

    for _ in 0..2 {
        let since = Instant::now();
        assert!(relay.rebind() >= 1, "media goes through the relay");
        let [to_ann, to_bob] = until_back([&ann, &bob], since).await;
        println!(
            "after a new address, half a second of media had come to its owner after {to_ann:?}, from them after {to_bob:?}"
        );
        assert!(to_ann < BACK_WITHIN && to_bob < BACK_WITHIN, "{to_ann:?} to the moved one, {to_bob:?} from them");
    }

    // The same connection, the same participant, the same slots.
    let places = "(() => {
        window.connection ??= ringback.room.peer;
        return JSON.stringify([ringback.room.me, connection === ringback.room.peer, connection.getTransceivers().map(({ mid, currentDirection }) => [mid, currentDirection]),
            [...ringback.room.participants.values()].map(({ id, audio }) => [id, audio.getAudioTracks()[0].id])]);
    })()";
    let before = ann.eval(places).await.unwrap();
    let since = Instant::now();
    ann.eval("ringback.room.restart()").await.unwrap();
    let [to_ann, to_bob] = until_back([&ann, &bob], since).await;
    println!("after an ICE restart: {to_ann:?} to its owner, {to_bob:?} from them");
    assert!(to_ann < BACK_WITHIN && to_bob < BACK_WITHIN, "{to_ann:?} to the one that restarted, {to_bob:?} from them");
    assert_eq!(ann.eval(places).await.unwrap(), before);
    talks(&ann, "Bob", BOB).await;
    talks(&bob, "Ann", ANN).await;
}
