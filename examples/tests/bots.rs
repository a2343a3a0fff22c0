//! The `bot` example rings and answers, with itself and with a browser: both the README's way to try a call without a second
//! person and a check of the server by a media stack that is no browser's.
#![allow(clippy::unwrap_used)]

mod browser;
mod server;

use std::process::{Output, Stdio};
use std::time::Duration;

use browser::{Browser, Colour, FakeMedia, chromium_or_skip};
use server::{Server, example};
use tokio::process::Command;

const SOON: Duration = Duration::from_secs(40);

const TESTCARD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/client/media/testcard.ivf");

/// What a bot said at its end of one slot in which something came.
#[derive(Debug)]
struct Slot {
    audio: bool,
    packets: u64,
    lost: u64,
    loudest_hz: Option<f64>,
}

fn bot(server: &Server, arguments: &[&str]) -> Command {
    let mut bot = Command::new(example("bot").unwrap());
    bot.args(["--url", &server.signaling(), "--video", TESTCARD]).args(arguments);
    bot.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    bot
}

/// Reads `  slot 3 (Audio): 250 packets, 9000 bytes, 0 lost, loudest at 440 Hz`.
fn slots(bot: &Output) -> Vec<Slot> {
    let said = String::from_utf8_lossy(&bot.stdout);
    let errors = String::from_utf8_lossy(&bot.stderr);
    assert!(bot.status.success(), "{}\n{said}\n{errors}", bot.status);
    println!("{said}");
    let number = |part: &str| part.split(' ').find_map(|word| word.parse::<f64>().ok());
    said.lines()
        .filter_map(|line| line.strip_prefix("  slot ")?.split_once("): "))
        .map(|(slot, came)| {
            let parts: Vec<&str> = came.split(", ").collect();
            let count = |unit: &str| {
                let part = parts.iter().find(|part| part.ends_with(unit));
                number(part.unwrap_or_else(|| panic!("no {unit} in {came}"))).unwrap() as u64
            };
            Slot {
                audio: slot.ends_with("(Audio"),
                packets: count(" packets"),
                lost: count(" lost"),
                loudest_hz: parts.iter().find(|part| part.starts_with("loudest")).and_then(|part| number(part)),
            }
        })
        .collect()
}

/// One voice of this tone and one picture, nothing missing.
fn received(bot: &Output, hz: f64) {
    let slots = slots(bot);
    let [audio, video] = [true, false].map(|audio| {
        let of_kind: Vec<&Slot> = slots.iter().filter(|slot| slot.audio == audio).collect();
        assert!(of_kind.len() == 1, "one slot of each kind is in use: {slots:?}");
        of_kind[0]
    });
    let loudest = audio.loudest_hz.unwrap();
    assert!((loudest - hz).abs() < 12.0, "{loudest} Hz instead of {hz}");
    assert!(audio.packets >= 50 && audio.lost == 0, "a second of Opus, without a gap: {audio:?}");
    assert!(video.packets >= 15 && video.lost == 0, "a second of VP8, without a gap: {video:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_bots_ring_each_other_and_each_receives_the_others_tone_and_picture() {
    let server = Server::start().await.unwrap();
    let bea = bot(&server, &["--name", "Bea", "--answer", "--tone", "440"]).spawn().unwrap();
    let ada = bot(&server, &["--name", "Ada", "--call", "bea", "--tone", "550", "--for", "6"]).spawn().unwrap();
    let (bea, ada) = tokio::time::timeout(SOON, async { tokio::join!(bea.wait_with_output(), ada.wait_with_output()) })
        .await
        .expect("both bots end, one after its time, the other because the first has hung up");
    received(&ada.unwrap(), 440.0);
    received(&bea.unwrap(), 550.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_bots_receive_each_other_over_ipv6() {
    if let Err(error) = std::net::UdpSocket::bind("[::1]:0") {
        eprintln!("two_bots_receive_each_other_over_ipv6 is skipped: this machine has no IPv6 loopback: {error}");
        return;
    }
    let server = Server::start_with(&["--listen", "[::1]:0", "--media", "[::1]:0"]).await.unwrap();
    assert!(
        server.link.starts_with("http://[::1]:"),
        "the link names the address that is listened on: {}",
        server.link
    );
    let bea = bot(&server, &["--name", "Bea", "--answer", "--tone", "440"]).spawn().unwrap();
    let ada = bot(&server, &["--name", "Ada", "--call", "bea", "--tone", "550", "--for", "4"]).spawn().unwrap();
    let (bea, ada) = tokio::time::timeout(SOON, async { tokio::join!(bea.wait_with_output(), ada.wait_with_output()) })
        .await
        .expect("both bots end, one after its time, the other because the first has hung up");
    received(&ada.unwrap(), 440.0);
    received(&bea.unwrap(), 550.0);
}

/// How many clearly different colours a video shows; a test card has many, a blank picture one.
fn colours(video: &str) -> String {
    format!(
        "(() => {{
            const video = {video};
            const context = new OffscreenCanvas(32, 18).getContext('2d');
            context.drawImage(video, 0, 0, 32, 18);
            const {{ data }} = context.getImageData(0, 0, 32, 18);
            const seen = new Set();
            for (let i = 0; i < data.length; i += 4) seen.add([data[i], data[i + 1], data[i + 2]].map((c) => c >> 6).join());
            return seen.size;
        }})()"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_hears_and_sees_a_bot_and_the_bot_hears_the_browser() {
    let Some(chromium) = chromium_or_skip("a_browser_hears_and_sees_a_bot_and_the_bot_hears_the_browser") else {
        return;
    };
    let server = Server::start().await.unwrap();
    let media = FakeMedia { tone: Some(1_000), colour: Some(Colour::Blue) };
    let bobs = Browser::launch(&chromium, media).await.unwrap();
    let bob = bobs.open(&server.page("Bob", "&auto=accept")).await.unwrap();
    let ada = bot(&server, &["--name", "Ada", "--call", "bob", "--tone", "550"]).spawn().unwrap();

    bob.wait_for("ringback.call?.state === 'active' && ringback.room.state === 'connected'", SOON).await.unwrap();
    let participant = "[...ringback.room.participants.values()].find(({ name }) => name === 'Ada')";
    bob.wait_for(&format!("{participant}?.audio !== null"), SOON).await.unwrap();
    bob.wait_for_tone(&format!("{participant}.audio"), 550, SOON).await.unwrap();
    let video = "document.querySelector('.tile[aria-label=Ada] [data-video=live] video')";
    bob.wait_for(&format!("{video}.videoWidth === 320 && {video}.videoHeight === 180"), SOON).await.unwrap();
    bob.wait_for(&format!("{} >= 6", colours(video)), SOON).await.unwrap();
    bob.wait_for(&format!("{video}.getVideoPlaybackQuality().totalVideoFrames >= 60"), SOON).await.unwrap();

    bob.eval("ringback.call.hangup()").await.unwrap();
    let ada = tokio::time::timeout(SOON, ada.wait_with_output()).await.expect("the bot ends with the call").unwrap();
    received(&ada, 1_000.0);
}
