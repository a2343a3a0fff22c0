//! Four browsers in one group video call through the example server: one rings in late, one leaves and comes back by the page's own button, and a fifth has a link. What
//! each sees of the others is told by their own colours, decoded.
#![allow(clippy::unwrap_used)]

mod browser;
mod server;

use std::path::Path;
use std::time::Duration;

use browser::{Browser, Colour, FakeMedia, Page, chromium_or_skip};
use server::Server;

/// Generous: four browsers share two cores with a compiler, at times.
const SOON: Duration = Duration::from_secs(90);

struct Person {
    name: &'static str,
    tone: u32,
    colour: Colour,
}

const ANN: Person = Person { name: "Ann", tone: 440, colour: Colour::Red };
const BEN: Person = Person { name: "Ben", tone: 1_000, colour: Colour::Blue };
const CLEO: Person = Person { name: "Cleo", tone: 1_600, colour: Colour::Green };
const DAN: Person = Person { name: "Dan", tone: 700, colour: Colour::Blue };

const ACTIVE: &str = "ringback.call?.state === 'active' && ringback.room.state === 'connected'";

impl Person {
    async fn open(&self, chromium: &Path, server: &Server, parameters: &str) -> (Browser, Page) {
        let media = FakeMedia { tone: Some(self.tone), colour: Some(self.colour) };
        let browser = Browser::launch(chromium, media).await.unwrap();
        let page = browser.open(&server.page(self.name, parameters)).await.unwrap();
        page.wait_for("ringback.session?.user", SOON).await.unwrap();
        (browser, page)
    }
}

async fn sees(page: &Page, person: &Person) {
    let tile = format!("document.querySelector('.tile[aria-label={:?}] [data-video=live] video')", person.name);
    page.wait_for_colour(&tile, person.colour, SOON).await.unwrap();
}

async fn hears(page: &Page, person: &Person) {
    let voice = format!(
        "[...ringback.room.participants.values()].find((participant) => participant.name === '{}')?.audio",
        person.name
    );
    page.wait_for(&format!("{voice} != null"), SOON).await.unwrap();
    page.wait_for_tone(&voice, person.tone, SOON).await.unwrap();
}

async fn with(page: &Page, others: usize) {
    page.wait_for(&format!("ringback.room?.participants.size === {others}"), SOON).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_are_in_one_call_one_late_and_one_who_leaves_and_comes_back() {
    let test = "four_are_in_one_call_one_late_and_one_who_leaves_and_comes_back";
    let Some(chromium) = chromium_or_skip(test) else { return };
    let server = Server::start().await.unwrap();
    let (_bens, ben) = BEN.open(&chromium, &server, "&auto=accept").await;
    let (_cleos, cleo) = CLEO.open(&chromium, &server, "&auto=accept").await;
    let (_dans, dan) = DAN.open(&chromium, &server, "").await;
    let (_anns, ann) = ANN.open(&chromium, &server, "&call=ben,cleo,dan&kind=video").await;
    for page in [&ann, &ben, &cleo] {
        page.wait_for(ACTIVE, SOON).await.unwrap();
        with(page, 2).await;
    }
    sees(&ann, &BEN).await;
    sees(&ann, &CLEO).await;
    hears(&ben, &CLEO).await;

    // Dan still rings, and the others are told so; he comes in late.
    ann.wait_for("document.querySelector('#call-group').textContent.includes('Ringing Dan')", SOON).await.unwrap();
    dan.wait_for("document.querySelector('#incoming').open", SOON).await.unwrap();
    dan.eval("document.querySelector('#incoming-accept').click()").await.unwrap();
    dan.wait_for(ACTIVE, SOON).await.unwrap();
    for page in [&ann, &ben, &cleo, &dan] {
        with(page, 3).await;
    }
    sees(&dan, &ANN).await;
    sees(&dan, &CLEO).await;
    hears(&dan, &BEN).await;
    sees(&ann, &DAN).await;

    // Cleo leaves, nobody else is dropped, and she comes back.
    cleo.eval("document.querySelector('#control-end').click()").await.unwrap();
    cleo.wait_for("document.querySelector('#come-back') !== null", SOON).await.unwrap();
    for page in [&ann, &ben, &dan] {
        with(page, 2).await;
        assert_eq!(page.eval("ringback.call.state").await.unwrap(), "active");
    }
    cleo.eval("document.querySelector('#come-back').click()").await.unwrap();
    cleo.wait_for(ACTIVE, SOON).await.unwrap();
    with(&cleo, 3).await;
    sees(&cleo, &ANN).await;
    hears(&cleo, &BEN).await;
    sees(&ann, &CLEO).await;

    // The host ends it for all.
    ann.eval("document.querySelector('#call-people').click()").await.unwrap();
    ann.wait_for("!document.querySelector('#group-end').hidden", SOON).await.unwrap();
    ann.eval("document.querySelector('#group-end').click()").await.unwrap();
    for page in [&ann, &ben, &cleo, &dan] {
        page.wait_for("!ringback.call || ringback.call.isOver", SOON).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_a_link_to_a_call_is_let_in_by_its_host() {
    let Some(chromium) = chromium_or_skip("who_has_a_link_to_a_call_is_let_in_by_its_host") else { return };
    let server = Server::start().await.unwrap();
    let (_bens, ben) = BEN.open(&chromium, &server, "&auto=accept").await;
    let (_anns, ann) = ANN.open(&chromium, &server, "&call=ben&kind=video").await;
    for page in [&ann, &ben] {
        page.wait_for(ACTIVE, SOON).await.unwrap();
    }
    let call = ann.eval("ringback.call.id").await.unwrap();
    let link = format!("#call/{}", call.as_str().unwrap());
    let (_cleos, cleo) = CLEO.open(&chromium, &server, &link).await;
    let answer = |nth: usize| format!("document.querySelectorAll('.notice[data-knock] .text-button')[{nth}]");
    ann.wait_for(&format!("{} !== undefined", answer(1)), SOON).await.unwrap();
    assert_eq!(cleo.eval("ringback.call === null || ringback.call.isOver").await.unwrap(), true);
    ann.eval(&format!("{}.click()", answer(1))).await.unwrap();
    cleo.wait_for(ACTIVE, SOON).await.unwrap();
    with(&cleo, 2).await;
    sees(&cleo, &ANN).await;
    hears(&ben, &CLEO).await;
    // Dan is rung into a call that is going on.
    let (_dans, dan) = DAN.open(&chromium, &server, "&auto=accept").await;
    ann.eval("ringback.call.invite(['dan'])").await.unwrap();
    dan.wait_for(ACTIVE, SOON).await.unwrap();
    sees(&dan, &ANN).await;
    hears(&ann, &DAN).await;
    dan.eval("ringback.call.hangup()").await.unwrap();
    with(&ann, 2).await;
    // Ben, who was called by Ann alone, is in a call of several now, and may leave it.
    assert_eq!(ben.eval("ringback.call.group").await.unwrap(), true);
    ben.eval("ringback.call.hangup()").await.unwrap();
    with(&ann, 1).await;
    assert_eq!(ann.eval("ringback.call.state").await.unwrap(), "active");
}
