//! Which layers browsers send and receive: what nobody looks at is not sent, and comes back when somebody does; over a thin link comes what it
//! carries, and that is decoded.
#![allow(clippy::unwrap_used)]

mod browser;
mod server;

use std::net::UdpSocket;
use std::path::Path;
use std::time::{Duration, Instant};

use browser::{Browser, FakeMedia, NOISE_CAMERA, Page, chromium_or_skip};
use ringback_link::{Conditions, Network, Profile, Relay, RelayConfig};
use server::Server;

/// Generous: two browsers encode and decode on two cores that compile, at times.
const SOON: Duration = Duration::from_secs(60);

/// Has the page reach the server's media port through another, and estimate by itself what its network carries (REMB) in place of telling
/// the server when each packet came.
fn over_link(server: u16, link: u16) -> String {
    format!(
        "{{
            const {{ setLocalDescription, setRemoteDescription }} = RTCPeerConnection.prototype;
            RTCPeerConnection.prototype.setLocalDescription = function (description) {{
                const lines = description?.sdp?.split('\\r\\n').filter((line) => !/transport-(cc|wide-cc)/.test(line));
                const {{ type }} = description ?? {{}};
                return setLocalDescription.call(this, lines ? {{ type, sdp: lines.join('\\r\\n') }} : description);
            }};
            RTCPeerConnection.prototype.setRemoteDescription = function ({{ type, sdp }}) {{
                return setRemoteDescription.call(this, {{ type, sdp: sdp.replaceAll(' {server} typ', ' {link} typ') }});
            }};
        }}"
    )
}

struct Call {
    _server: Server,
    _browsers: [Browser; 2],
    ann: Page,
    bob: Page,
}

impl Call {
    /// Ann, whose camera shows noise, calls Bob, who has his page prepared so.
    async fn place(chromium: &Path, media: &str, codec: &str, bobs_script: &str) -> Self {
        let arguments = ["--listen", "127.0.0.1:0", "--media", media, "--codec", codec];
        let server = Server::start_with(&arguments).await.unwrap();
        let browser = |tone| Browser::launch(chromium, FakeMedia { tone: Some(tone), colour: None });
        let (anns, bobs) = (browser(440).await.unwrap(), browser(1_000).await.unwrap());
        let bob = bobs.open_prepared(&server.page("Bob", "&auto=accept"), bobs_script).await.unwrap();
        let ann = anns.open_prepared(&server.page("Ann", "&call=bob&kind=video"), NOISE_CAMERA).await.unwrap();
        for page in [&ann, &bob] {
            let connected = "ringback.call?.state === 'active' && ringback.room.state === 'connected'";
            page.wait_for(connected, SOON).await.unwrap();
        }
        Self { _server: server, _browsers: [anns, bobs], ann, bob }
    }

    /// Bob shows Ann's picture in this size, whatever his page would say.
    async fn show(&self, width: u32, height: u32) {
        let slot = "ringback.room.slots.find([...ringback.room.participants.keys()][0], 'camera')";
        self.bob.wait_for(&format!("window.shown ??= {slot}?.mid"), SOON).await.unwrap();
        let view = format!(
            "(window.setView ??= ringback.room.setView.bind(ringback.room), ringback.room.setView = () => {{}},
                setView([{{ mid: shown, width: {width}, height: {height} }}]))"
        );
        self.bob.eval(&view).await.unwrap();
    }
}

/// A JavaScript expression for what the statistics say of streams of a type and kind.
fn streams(of: &str, kind: &str) -> String {
    format!(
        "[...(await ringback.room.peer.getStats()).values()]
            .filter(({{ type, kind }}) => type === '{of}' && kind === '{kind}')"
    )
}

/// Down it carries a voice and the smaller layer in part, up it does no harm.
fn thin() -> Network {
    let down = Conditions::delayed(Duration::from_millis(20), Duration::from_millis(1));
    Network {
        name: "thin",
        about: "200 kbit/s down",
        source: "less than the smaller layer and a voice take",
        up: Profile::constant(Conditions::PERFECT),
        down: Profile::constant(down.with_rate(200_000, Duration::from_millis(400))),
    }
}

fn pictures() -> String {
    streams("inbound-rtp", "video")
}

/// Pictures of the smaller layer that a page has sent.
async fn pictures_sent(page: &Page) -> f64 {
    let sent = format!("{}.find(({{ rid }}) => rid === 'q').framesSent", streams("outbound-rtp", "video"));
    page.eval(&sent).await.unwrap().as_f64().unwrap()
}

/// What a page has received of the other.
#[derive(Debug)]
struct Received {
    /// Pictures decoded.
    decoded: f64,
    /// Requests for keyframes.
    asked: f64,
    /// Samples of the voice that were made up, and all of them.
    concealed: f64,
    samples: f64,
}

impl Received {
    async fn at(page: &Page) -> Self {
        let sum = |kind: &str, field: &str| {
            let streams = streams("inbound-rtp", kind);
            format!("{streams}.reduce((all, stream) => all + (stream.{field} ?? 0), 0)")
        };
        let count = async |kind, field| page.eval(&sum(kind, field)).await.unwrap().as_f64().unwrap();
        Self {
            decoded: count("video", "framesDecoded").await,
            asked: count("video", "pliCount").await,
            concealed: count("audio", "concealedSamples").await,
            samples: count("audio", "totalSamplesReceived").await,
        }
    }
}

/// How many bytes of the larger layer Ann has sent.
async fn sent_of_larger(ann: &Page) -> f64 {
    let sent = format!(
        "{}.filter(({{ rid }}) => rid && rid !== 'q').reduce((all, {{ bytesSent }}) => all + bytesSent, 0)",
        streams("outbound-rtp", "video")
    );
    ann.eval(&sent).await.unwrap().as_f64().unwrap()
}

/// Waits until pictures of such a height come, beyond those decoded before.
async fn receives(bob: &Page, condition: &str, before: f64) {
    let streams = pictures();
    let holds = format!(
        "{streams}.some(({{ frameHeight, framesDecoded }}) => framesDecoded > {before} && frameHeight {condition})"
    );
    bob.wait_for(&holds, SOON).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_larger_layers_of_a_hidden_picture_are_not_sent_and_come_back_when_it_is_shown() {
    let test = "the_larger_layers_of_a_hidden_picture_are_not_sent_and_come_back_when_it_is_shown";
    let Some(chromium) = chromium_or_skip(test) else { return };
    for codec in ["vp8", "vp9"] {
        let call = Call::place(&chromium, "127.0.0.1:0", codec, "").await;
        call.show(1_280, 960).await;
        receives(&call.bob, "> 120", 0.0).await;
        assert!(sent_of_larger(&call.ann).await > 0.0);

        call.show(0, 0).await;
        let off = format!(
            "{}.every(({{ mid, rid, active }}) => mid !== ringback.room.connection.mid('camera') || active === (rid === 'q'))",
            streams("outbound-rtp", "video")
        );
        call.ann.wait_for(&off, SOON).await.unwrap();
        // What its encoder and its pacer hold goes out still; then nothing does.
        let (since, mut before) = (Instant::now(), -1.0);
        loop {
            let sent = sent_of_larger(&call.ann).await;
            if sent == before {
                break;
            }
            assert!(since.elapsed() < SOON, "the larger layer is sent on and on");
            before = sent;
            tokio::time::sleep(Duration::from_secs(2)).await;
        }

        let decoded = Received::at(&call.bob).await.decoded;
        let since = Instant::now();
        call.show(1_280, 960).await;
        receives(&call.bob, "> 120", decoded).await;
        println!("{codec}: the larger layer was back after {:?}", since.elapsed());
        assert!(since.elapsed() < Duration::from_secs(15));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_a_thin_link_comes_what_it_carries_and_that_is_decoded() {
    let test = "over_a_thin_link_comes_what_it_carries_and_that_is_decoded";
    let Some(chromium) = chromium_or_skip(test) else { return };
    for codec in ["vp8", "vp9", "av1"] {
        let media = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let relay = Relay::start(RelayConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            to: media,
            network: thin(),
            seed: 1,
            shared: true,
        });
        let relay = relay.await.unwrap();
        let call =
            Call::place(&chromium, &media.to_string(), codec, &over_link(media.port(), relay.address().port())).await;
        call.show(1_280, 960).await;
        receives(&call.bob, "<= 120", 0.0).await;
        // The first seconds flood it, until the page has found out.
        receives(&call.bob, "<= 120", 10.0).await;
        let (sent_before, before) = (pictures_sent(&call.ann).await, Received::at(&call.bob).await);
        tokio::time::sleep(Duration::from_secs(10)).await;
        let (sent_after, after) = (pictures_sent(&call.ann).await, Received::at(&call.bob).await);
        let (sent, decoded) = (sent_after - sent_before, after.decoded - before.decoded);
        println!("{codec}: of {sent} pictures {decoded}; {after:?}");
        assert!(decoded >= 5.0, "pictures go on");
        assert!(decoded < sent * 0.8, "{codec}: temporal layers are left out: {decoded} of {sent}");
        assert!(after.asked <= before.asked + 1.0, "none is missed that another needs");
        let (concealed, samples) = (after.concealed - before.concealed, after.samples - before.samples);
        assert!(concealed <= samples / 20.0, "the voice goes on: {concealed} of {samples} samples were made up");
        receives(&call.bob, "<= 120", after.decoded).await;
    }
}
