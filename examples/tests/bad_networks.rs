//! Browsers over seeded bad networks: with a tenth lost both ways the voice, sent with redundancy, has no gaps and the picture goes on; when a link becomes thin the call goes on
//! with what fits. What was measured is printed (`--nocapture`); the long forms are
//! ignored: `cargo test --workspace --test bad_networks -- --ignored --nocapture`.
#![allow(clippy::unwrap_used)]

mod browser;
mod reception;
mod server;

use std::net::UdpSocket;
use std::path::Path;
use std::time::Duration;

use browser::{Browser, FakeMedia, NOISE_CAMERA, Page, chromium_or_skip};
use reception::{Reception, Summary, WATCH, through};
use ringback_link::{Conditions, GilbertElliott, Network, Profile, Relay, RelayConfig};
use server::Server;
use tokio::sync::Mutex;

/// Generous: two browsers share two cores with a compiler, at times.
const SOON: Duration = Duration::from_secs(60);

/// What a network takes to show what it is like, after a call has begun: estimates have risen, and what helps against
/// loss has been switched on. Browsers report on a voice each five seconds.
const WARM_UP: Duration = Duration::from_secs(8);

/// How long is looked at what browsers make up and where they stand still without any loss.
const CONTROL: Duration = Duration::from_secs(4);

/// Two calls at a time are more than two cores encode.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Lines of the smaller of the two layers that Chromium makes of 480.
const SMALLER: u32 = 120;

/// Ann calls Bob, whose network is bad in both directions; hers is good.
struct Call {
    _server: Server,
    _browsers: [Browser; 2],
    relay: Relay,
    ann: Page,
    bob: Page,
}

impl Call {
    async fn place(chromium: &Path, anns_camera: &str, network: Network, seed: u64) -> Self {
        let media = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let server = Server::start_with(&["--listen", "127.0.0.1:0", "--media", &media.to_string()]).await.unwrap();
        let listen = "127.0.0.1:0".parse().unwrap();
        let relay = Relay::start(RelayConfig { listen, to: media, network, seed, shared: true }).await.unwrap();
        let browser = |tone| Browser::launch(chromium, FakeMedia { tone: Some(tone), colour: None });
        let (anns, bobs) = tokio::try_join!(browser(440), browser(1_000)).unwrap();
        let script = format!("{WATCH}{}", through(media, relay.address()));
        let bob = bobs.open_prepared(&server.page("Bob", "&auto=accept"), &script).await.unwrap();
        let script = format!("{WATCH}{anns_camera}");
        let ann = anns.open_prepared(&server.page("Ann", "&call=bob&kind=video"), &script).await.unwrap();
        for page in [&ann, &bob] {
            let connected = "ringback.call?.state === 'active' && ringback.room.state === 'connected'";
            page.wait_for(connected, SOON).await.unwrap();
            page.wait_for("reception.at(-1)?.pictures > 0 && reception.at(-1).samples > 0", SOON).await.unwrap();
        }
        Self { _server: server, _browsers: [anns, bobs], relay, ann, bob }
    }

    /// Bob shows Ann's picture large, whatever his page would say.
    async fn show_large(&self) {
        let slot = "ringback.room.slots.find([...ringback.room.participants.keys()][0], 'camera')";
        self.bob.wait_for(&format!("window.shown ??= {slot}?.mid"), SOON).await.unwrap();
        self.bob.eval("ringback.room.setView([{ mid: shown, width: 1280, height: 960 }])").await.unwrap();
    }

    /// What both got in so much time from now on, Bob first.
    async fn watch(&self, time: Duration) -> [Summary; 2] {
        let pages = [&self.bob, &self.ann];
        let mut began = [0; 2];
        for (began, page) in began.iter_mut().zip(pages) {
            *began = Reception::now(page).await.unwrap();
        }
        tokio::time::sleep(time).await;
        let mut got = [Summary::default(); 2];
        for ((got, page), began) in got.iter_mut().zip(pages).zip(began) {
            let end = Reception::now(page).await.unwrap();
            *got = Reception::of(page).await.unwrap().span(began..end);
        }
        got
    }
}

fn link(delay: u64, loss: GilbertElliott) -> Network {
    let conditions = Conditions::delayed(Duration::from_millis(delay), Duration::from_millis(1)).with_loss(loss);
    Network::symmetric("", "", "", Profile::constant(conditions))
}

/// A link of so many bits per second, with half a second of queue.
fn rate(bits_per_second: u64) -> Network {
    let conditions = Conditions::delayed(Duration::from_millis(25), Duration::from_millis(2));
    let conditions = conditions.with_rate(bits_per_second, Duration::from_millis(500));
    Network::symmetric("", "", "", Profile::constant(conditions))
}

/// A tenth lost each way from the first packet on, 50 ms there and back: what Bob and Ann got after the warm-up, and afterwards with nothing lost.
async fn lose_a_tenth(chromium: &Path, seed: u64, time: Duration) -> [[Summary; 2]; 2] {
    let call = Call::place(chromium, "", link(25, GilbertElliott::random(0.1)), seed).await;
    tokio::time::sleep(WARM_UP).await;
    let got = call.watch(time).await;
    call.relay.change(link(25, GilbertElliott::NONE));
    tokio::time::sleep(CONTROL).await;
    let after = call.watch(CONTROL).await;
    for (way, (got, after)) in ["from", "to"].into_iter().zip(got.iter().zip(&after)) {
        println!(
            "seed {seed}, {way} the server, 10 % lost: {got}\nseed {seed}, {way} the server, nothing lost: {after}"
        );
    }
    [got, after]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_tenth_lost_the_voice_has_no_gaps_and_the_picture_goes_on() {
    let test = "with_a_tenth_lost_the_voice_has_no_gaps_and_the_picture_goes_on";
    let Some(chromium) = chromium_or_skip(test) else { return };
    let _alone = ALONE.lock().await;
    let [got, after] = lose_a_tenth(&chromium, 1, Duration::from_secs(10)).await;
    for (got, after) in got.into_iter().zip(after) {
        assert!(got.heard && got.nacks > 0.0, "{got}");
        // Without redundancy it is 9 %. Browsers that wait for a processor make up sound and stand still as well.
        assert!(got.concealed < after.concealed + 0.07, "{got}\n{after}");
        assert!(got.pictures > 2.0 && got.longest_freeze < after.longest_freeze + 3.0, "{got}\n{after}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes, and browsers that have the machine to themselves"]
async fn long_form() {
    let Some(chromium) = chromium_or_skip("long_form") else { return };
    let mut concealed = Vec::new();
    for seed in 1..=3 {
        let [got, _] = lose_a_tenth(&chromium, seed, Duration::from_secs(60)).await;
        concealed.extend(got.map(|got| got.concealed));
        step(&chromium, seed, Duration::from_secs(20), Duration::from_secs(40)).await;
    }
    let mean = concealed.iter().sum::<f64>() / concealed.len() as f64;
    assert!(mean < 0.02, "{concealed:?} of the voices made up");
}

/// What Bob got on a link that went from 2 Mbit/s to 300 kbit/s and back.
struct Step {
    thin: Summary,
    after: Summary,
    /// When the large picture was back, in seconds after the link was, if it was.
    back: Option<f64>,
    longest_wait: Duration,
}

/// From 2 Mbit/s to 300 kbit/s for a while, and back for another.
async fn step(chromium: &Path, seed: u64, thin: Duration, after: Duration) -> Step {
    let call = Call::place(chromium, NOISE_CAMERA, rate(2_000_000), seed).await;
    call.show_large().await;
    call.bob.wait_for(&format!("reception.at(-1).height > {SMALLER}"), SOON).await.unwrap();
    call.relay.change(rate(300_000));
    let down = Reception::now(&call.bob).await.unwrap();
    tokio::time::sleep(thin).await;
    call.relay.change(rate(2_000_000));
    let up = Reception::now(&call.bob).await.unwrap();
    tokio::time::sleep(after).await;
    let end = Reception::now(&call.bob).await.unwrap();
    let got = Reception::of(&call.bob).await.unwrap();
    let step = Step {
        thin: got.span(down..up),
        after: got.span(up..end),
        back: got.until_higher(up, SMALLER),
        longest_wait: call.relay.stop().await.down.longest_wait,
    };
    println!("seed {seed}, 2 Mbit/s → 300 kbit/s: {}; no packet waited longer than {:?}", step.thin, step.longest_wait);
    println!("seed {seed}, 300 kbit/s → 2 Mbit/s: {}; the large picture after {:?} s", step.after, step.back);
    step
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_link_that_becomes_thin_and_wide_again_the_call_goes_on() {
    let test = "on_a_link_that_becomes_thin_and_wide_again_the_call_goes_on";
    let Some(chromium) = chromium_or_skip(test) else { return };
    let _alone = ALONE.lock().await;
    let Step { thin, after, longest_wait, .. } =
        step(&chromium, 1, Duration::from_secs(6), Duration::from_secs(6)).await;
    assert!(thin.heard && thin.concealed < 0.3, "{thin}");
    assert!(after.heard && after.concealed < 0.15, "{after}");
    assert!(thin.longest_freeze < 5.8 && after.pictures > 0.5, "{thin}\n{after}");
    // Half a second fits into the queue of 300 kbit/s; that of 2 Mbit/s, were it full at that moment, would take 3.3 s to leave.
    assert!(longest_wait < Duration::from_secs(2), "{longest_wait:?}");
}
