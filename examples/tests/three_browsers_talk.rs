//! Three browsers through the example server, each with its own colour and tone: what each sees under a name and hears from a
//! participant is that person's, decoded. A wrong slot, a wrong label or a mixed-up payload shows as a wrong colour or tone.
#![allow(clippy::unwrap_used)]

mod browser;
mod server;

use std::time::Duration;

use browser::{Browser, Colour, FakeMedia, Page, chromium_or_skip};
use server::Server;

/// Generous: three browsers share two cores with a compiler, at times.
const SOON: Duration = Duration::from_secs(40);

struct Person {
    name: &'static str,
    tone: u32,
    colour: Colour,
}

const ANN: Person = Person { name: "Ann", tone: 440, colour: Colour::Red };
const BOB: Person = Person { name: "Bob", tone: 1_000, colour: Colour::Blue };
const CLEO: Person = Person { name: "Cleo", tone: 1_600, colour: Colour::Green };

impl Person {
    async fn open(&self, chromium: &std::path::Path, server: &Server, parameters: &str) -> (Browser, Page) {
        let media = FakeMedia { tone: Some(self.tone), colour: Some(self.colour) };
        let browser = Browser::launch(chromium, media).await.unwrap();
        let page = browser.open(&server.page(self.name, parameters)).await.unwrap();
        (browser, page)
    }

    /// A JavaScript expression for this person as a participant of `room`.
    fn among(&self, room: &str) -> String {
        format!("[...{room}.participants.values()].find((participant) => participant.name === '{}')", self.name)
    }
}

async fn hears(page: &Page, room: &str, person: &Person) {
    page.wait_for(&format!("{}?.audio !== null", person.among(room)), SOON).await.unwrap();
    page.wait_for_tone(&format!("{}.audio", person.among(room)), person.tone, SOON).await.unwrap();
}

async fn sees(page: &Page, person: &Person) {
    let tile = format!("document.querySelector('.tile[aria-label={:?}] [data-video=live] video')", person.name);
    page.wait_for_colour(&tile, person.colour, SOON).await.unwrap();
}

/// Cleo is no party of the call: she comes into its room by its id, as her token grants.
async fn cleo_drops_in(ann: &Page, cleo: &Page, video: bool) {
    let room = ann.wait_for("ringback.room?.id", SOON).await.unwrap();
    let room = room.as_str().unwrap();
    cleo.wait_for("ringback.session?.user", SOON).await.unwrap();
    cleo.eval(&format!(
        "(async () => {{
            const stream = await navigator.mediaDevices.getUserMedia({{ audio: true, video: {video} }});
            window.third = ringback.session.join('{room}');
            await third.publish('microphone', stream.getAudioTracks()[0]);
            if ({video}) await third.publish('camera', stream.getVideoTracks()[0]);
            third.on('participants', () => {{
                for (const participant of third.participants.values()) {{
                    if (document.querySelector(`[aria-label=${{participant.name}}]`)) continue;
                    const tile = document.createElement('article');
                    tile.className = 'tile';
                    tile.setAttribute('aria-label', participant.name);
                    tile.style = 'position: fixed; z-index: 9; inset: 0 auto auto 0; width: 320px; height: 240px';
                    const picture = document.createElement('div');
                    tile.append(picture);
                    document.body.append(tile);
                    third.tile(participant.id, picture);
                }}
            }});
            return true;
        }})()"
    ))
    .await
    .unwrap();
    cleo.wait_for("third.state === 'connected'", SOON).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_voice_call_everyone_hears_everyone_at_the_announced_slot() {
    let Some(chromium) = chromium_or_skip("in_a_voice_call_everyone_hears_everyone_at_the_announced_slot") else {
        return;
    };
    let server = Server::start().await.unwrap();
    let (_bobs, bob) = BOB.open(&chromium, &server, "&auto=accept").await;
    let (_anns, ann) = ANN.open(&chromium, &server, "&call=bob&kind=voice").await;
    let (_cleos, cleo) = CLEO.open(&chromium, &server, "").await;
    ann.wait_for("ringback.call?.state === 'active' && ringback.room.state === 'connected'", SOON).await.unwrap();
    bob.wait_for("ringback.call?.state === 'active' && ringback.room.state === 'connected'", SOON).await.unwrap();
    cleo_drops_in(&ann, &cleo, false).await;

    for (page, room, others) in
        [(&ann, "ringback.room", [&BOB, &CLEO]), (&bob, "ringback.room", [&ANN, &CLEO]), (&cleo, "third", [&ANN, &BOB])]
    {
        for other in others {
            hears(page, room, other).await;
        }
    }

    // One hangs up, and the other's page says so at once.
    ann.eval("ringback.call.hangup()").await.unwrap();
    bob.wait_for("!ringback.call || ringback.call.isOver", SOON).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_video_call_the_right_face_stands_over_every_name() {
    let Some(chromium) = chromium_or_skip("in_a_video_call_the_right_face_stands_over_every_name") else { return };
    let server = Server::start().await.unwrap();
    let (_bobs, bob) = BOB.open(&chromium, &server, "&auto=accept").await;
    let (_anns, ann) = ANN.open(&chromium, &server, "&call=bob&kind=video").await;
    let (_cleos, cleo) = CLEO.open(&chromium, &server, "").await;
    ann.wait_for("ringback.call?.state === 'active' && ringback.room.state === 'connected'", SOON).await.unwrap();
    cleo_drops_in(&ann, &cleo, true).await;

    for (page, room, others) in
        [(&ann, "ringback.room", [&BOB, &CLEO]), (&bob, "ringback.room", [&ANN, &CLEO]), (&cleo, "third", [&ANN, &BOB])]
    {
        for other in others {
            sees(page, other).await;
            hears(page, room, other).await;
        }
    }

    // Whoever switches the camera off is gone from the others' tiles, and comes back under the same name.
    bob.eval("ringback.room.mute('camera', true)").await.unwrap();
    ann.wait_for("!document.querySelector('.tile[aria-label=Bob] [data-video=live]')", SOON).await.unwrap();
    sees(&ann, &CLEO).await;
    bob.eval("ringback.room.mute('camera', false)").await.unwrap();
    sees(&ann, &BOB).await;
}
