//! Chromium with the codecs that a server prefers: which one is in use is read from its statistics, and that what was sent is what is seen and
//! heard, from the decoded picture and sound.
#![allow(clippy::unwrap_used)]

mod browser;
mod server;

use std::path::Path;
use std::time::{Duration, Instant};

use browser::{Browser, Colour, FakeMedia, Page, chromium_or_skip};
use server::Server;

/// Generous: two browsers encode and decode on two cores that compile, at times.
const SOON: Duration = Duration::from_secs(60);

/// Offers no video but VP8, as a client that has nothing else.
const ONLY_VP8: &str = "{
    const add = RTCPeerConnection.prototype.addTransceiver;
    RTCPeerConnection.prototype.addTransceiver = function (kind, init) {
        const line = add.call(this, kind, init);
        const { codecs } = RTCRtpReceiver.getCapabilities('video');
        if (kind === 'video') line.setCodecPreferences(codecs.filter(({ mimeType }) => /VP8|rtx/.test(mimeType)));
        return line;
    };
}";

/// Enlarges the fake camera's picture to so many pixels: Chromium makes one simulcast layer of 320 × 240, and of 640 × 480 those of 120 and 240 lines.
fn large_camera(width: u32, height: u32) -> String {
    format!(
        "{{
            const real = navigator.mediaDevices?.getUserMedia.bind(navigator.mediaDevices);
            if (real) navigator.mediaDevices.getUserMedia = async (constraints) => {{
                const stream = await real(constraints);
                if (!constraints.video) return stream;
                const player = Object.assign(document.createElement('video'), {{ srcObject: stream, muted: true }});
                await player.play();
                const canvas = Object.assign(document.createElement('canvas'), {{ width: {width}, height: {height} }});
                const context = canvas.getContext('2d');
                setInterval(() => context.drawImage(player, 0, 0, {width}, {height}), 66);
                return new MediaStream([...canvas.captureStream(15).getVideoTracks(), ...stream.getAudioTracks()]);
            }};
        }}"
    )
}

/// Sends the camera in this codec, as one stream that holds all sizes (SVC) in this mode, instead of a stream for each.
fn svc(codec: &str, mode: &str) -> String {
    format!(
        "{{
            const add = RTCPeerConnection.prototype.addTransceiver;
            RTCPeerConnection.prototype.addTransceiver = function (kind, init) {{
                if (init?.sendEncodings?.length !== 3) return add.call(this, kind, init);
                const line = add.call(this, kind, {{ ...init, sendEncodings: [{{ scalabilityMode: '{mode}' }}] }});
                const {{ codecs }} = RTCRtpReceiver.getCapabilities('video');
                line.setCodecPreferences(codecs.filter(({{ mimeType }}) => /{codec}|rtx/.test(mimeType)));
                // A busy machine is to cost pictures, not their size.
                const parameters = line.sender.getParameters();
                line.sender.setParameters({{ ...parameters, degradationPreference: 'maintain-resolution' }});
                return line;
            }};
        }}"
    )
}

/// Offers no redundant audio.
const NO_RED: &str = "{
    const add = RTCPeerConnection.prototype.addTransceiver;
    RTCPeerConnection.prototype.addTransceiver = function (kind, init) {
        const line = add.call(this, kind, init);
        const { codecs } = RTCRtpReceiver.getCapabilities('audio');
        if (kind === 'audio') line.setCodecPreferences(codecs.filter(({ mimeType }) => !/red/.test(mimeType)));
        return line;
    };
}";

/// Ann, red and at 440 Hz, who calls Bob, blue and at 1,000 Hz.
struct Call {
    _server: Server,
    _browsers: [Browser; 2],
    ann: Page,
    bob: Page,
}

impl Call {
    /// Has Ann call Bob, whose pages run these scripts first, on a server that prefers these codecs.
    async fn place(chromium: &Path, kind: &str, codecs: &[&str], scripts: [&str; 2]) -> Self {
        let mut arguments = vec!["--listen", "127.0.0.1:0", "--media", "127.0.0.1:0"];
        arguments.extend(codecs.iter().flat_map(|codec| ["--codec", codec]));
        let server = Server::start_with(&arguments).await.unwrap();
        let browser = |tone, colour| Browser::launch(chromium, FakeMedia { tone: Some(tone), colour: Some(colour) });
        let (anns, bobs) = (browser(440, Colour::Red).await.unwrap(), browser(1_000, Colour::Blue).await.unwrap());
        let bob = bobs.open_prepared(&server.page("Bob", "&auto=accept"), scripts[1]).await.unwrap();
        let parameters = format!("&call=bob&kind={kind}");
        let ann = anns.open_prepared(&server.page("Ann", &parameters), scripts[0]).await.unwrap();
        for page in [&ann, &bob] {
            let connected = "ringback.call?.state === 'active' && ringback.room.state === 'connected'";
            page.wait_for(connected, SOON).await.unwrap();
        }
        Self { _server: server, _browsers: [anns, bobs], ann, bob }
    }

    async fn see_each_other(&self) {
        for (page, name, colour) in [(&self.ann, "Bob", Colour::Blue), (&self.bob, "Ann", Colour::Red)] {
            sees(page, name, colour).await;
        }
    }
}

async fn sees(page: &Page, name: &str, colour: Colour) {
    let tile = format!("document.querySelector('.tile[aria-label={name:?}] [data-video=live] video')");
    page.wait_for_colour(&tile, colour, SOON).await.unwrap();
}

async fn hears(page: &Page, tone: u32) {
    let other = "[...ringback.room.participants.values()][0]";
    page.wait_for(&format!("{other}?.audio !== null"), SOON).await.unwrap();
    page.wait_for_tone(&format!("{other}.audio"), tone, SOON).await.unwrap();
}

/// A JavaScript expression for what the statistics say of the streams of a type (`inbound-rtp`, `outbound-rtp`) and kind that carry packets, other
/// than the padding that Chromium probes with under the SSRC of a screen that nobody shares.
fn streams(of: &str, kind: &str) -> String {
    format!(
        "await (async () => {{
            const all = [...(await ringback.room.peer.getStats()).values()];
            const streams = all.filter(({{ type, kind }}) => type === '{of}' && kind === '{kind}');
            return streams
                .filter((stream) => (stream.packetsSent ?? stream.packetsReceived) > 20 && stream.framesSent !== 0)
                .map((stream) => ({{ ...stream, codec: all.find(({{ id }}) => id === stream.codecId)?.mimeType }}));
        }})()"
    )
}

/// Waits until all video that is sent and received on a page is of this codec, and some is decoded.
async fn uses(page: &Page, codec: &str) {
    let [sent, received] = ["outbound-rtp", "inbound-rtp"].map(|of| streams(of, "video"));
    let holds = format!(
        "((sent, received) => sent.length > 0 && received.some(({{ framesDecoded }}) => framesDecoded > 20)
            && [...sent, ...received].every(({{ codec }}) => codec === '{codec}'))({sent}, {received})"
    );
    page.wait_for(&holds, SOON).await.unwrap();
}

async fn each_sees_the_other_in(test: &str, preferred: &[&str], mime: &str) {
    let Some(chromium) = chromium_or_skip(test) else { return };
    let call = Call::place(&chromium, "video", preferred, ["", ""]).await;
    call.see_each_other().await;
    for page in [&call.ann, &call.bob] {
        uses(page, mime).await;
    }
    // Whoever switches the camera off and on begins anew, with a keyframe and further numbers.
    call.bob.eval("ringback.room.mute('camera', true)").await.unwrap();
    call.ann.wait_for("!document.querySelector('.tile[aria-label=Bob] [data-video=live]')", SOON).await.unwrap();
    call.bob.eval("ringback.room.mute('camera', false)").await.unwrap();
    call.see_each_other().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unless_told_otherwise_each_sees_the_other_in_vp8() {
    each_sees_the_other_in("unless_told_otherwise_each_sees_the_other_in_vp8", &[], "video/VP8").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_vp9_is_preferred_each_sees_the_other_in_vp9() {
    each_sees_the_other_in("where_vp9_is_preferred_each_sees_the_other_in_vp9", &["vp9"], "video/VP9").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_h264_is_preferred_each_sees_the_other_in_h264() {
    each_sees_the_other_in("where_h264_is_preferred_each_sees_the_other_in_h264", &["h264"], "video/H264").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_av1_is_preferred_each_sees_the_other_in_av1() {
    each_sees_the_other_in("where_av1_is_preferred_each_sees_the_other_in_av1", &["av1"], "video/AV1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_each_codec_a_small_view_gets_a_small_layer_and_a_large_one_the_large_layer() {
    let test = "of_each_codec_a_small_view_gets_a_small_layer_and_a_large_one_the_large_layer";
    let Some(chromium) = chromium_or_skip(test) else { return };
    for (codec, mime) in [("vp9", "video/VP9"), ("h264", "video/H264"), ("av1", "video/AV1")] {
        let call = Call::place(&chromium, "video", &[codec], [&large_camera(640, 480), ""]).await;
        let received = streams("inbound-rtp", "video");
        sees(&call.bob, "Ann", Colour::Red).await;
        let slot = "ringback.room.slots.find([...ringback.room.participants.keys()][0], 'camera')";
        for (width, height, is_shown) in [(1_280, 960, ">= 240"), (120, 90, "< 240"), (1_280, 960, ">= 240")] {
            let view = format!("ringback.room.setView([{{ mid: {slot}.mid, width: {width}, height: {height} }}])");
            call.bob.eval(&view).await.unwrap();
            let layer = format!("({received}).some(({{ frameHeight }}) => frameHeight {is_shown})");
            if let Err(error) = call.bob.wait_for(&layer, SOON).await {
                let sent = call.ann.eval(&streams("outbound-rtp", "video")).await;
                panic!("{codec} at {width} × {height}: {error:#}; sent is {sent:?}");
            }
            sees(&call.bob, "Ann", Colour::Red).await;
        }
        uses(&call.bob, mime).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_cannot_decode_the_others_camera_is_told_and_is_seen_and_heard_all_the_same() {
    let test = "whoever_cannot_decode_the_others_camera_is_told_and_is_seen_and_heard_all_the_same";
    let Some(chromium) = chromium_or_skip(test) else { return };
    let call = Call::place(&chromium, "video", &["vp9"], ["", ONLY_VP8]).await;
    sees(&call.ann, "Bob", Colour::Blue).await;
    hears(&call.bob, 440).await;
    hears(&call.ann, 1_000).await;
    let told =
        "[...ringback.room.slots.slots.values()].some(({ kind, reason }) => kind === 'video' && reason === 'codec')";
    call.bob.wait_for(told, SOON).await.unwrap();
    call.bob.wait_for("!document.querySelector('.tile[aria-label=Ann] [data-video=live]')", SOON).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redundant_audio_is_sent_where_it_is_preferred_and_goes_once_to_whoever_loses_nothing() {
    let test = "redundant_audio_is_sent_where_it_is_preferred_and_goes_once_to_whoever_loses_nothing";
    let Some(chromium) = chromium_or_skip(test) else { return };
    // Of a voice each packet carries the one before, too: twice the bytes.
    let mut per_packet = Vec::new();
    for (codecs, script) in [(&["red"][..], ""), (&["red"], NO_RED), (&[], "")] {
        let call = Call::place(&chromium, "voice", codecs, ["", script]).await;
        hears(&call.ann, 1_000).await;
        hears(&call.bob, 440).await;
        let sent = format!(
            "({}).map(({{ bytesSent, packetsSent }}) => bytesSent / packetsSent)[0]",
            streams("outbound-rtp", "audio")
        );
        let received = format!(
            "({}).map(({{ bytesReceived, packetsReceived }}) => bytesReceived / packetsReceived)[0]",
            streams("inbound-rtp", "audio")
        );
        let sent = call.ann.wait_for(&sent, SOON).await.unwrap().as_f64().unwrap();
        let received = call.bob.wait_for(&received, SOON).await.unwrap().as_f64().unwrap();
        per_packet.push((sent, received));
    }
    let [(red, not_needed), (_, not_taken), (plain, _)] = per_packet[..] else { panic!("three calls") };
    assert!(red > 1.5 * plain, "{per_packet:?}");
    assert!(not_needed < 1.3 * plain, "{per_packet:?}");
    assert!(not_taken < 1.3 * plain, "{per_packet:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_microphone_sends_next_to_nothing_and_is_heard_when_it_sounds() {
    let test = "a_silent_microphone_sends_next_to_nothing_and_is_heard_when_it_sounds";
    let Some(chromium) = chromium_or_skip(test) else { return };
    let call = Call::place(&chromium, "voice", &[], ["", ""]).await;
    hears(&call.bob, 440).await;
    // A context that plays nothing is a microphone that hears nothing.
    call.ann
        .eval(
            "(async () => {
                window.context = new AudioContext();
                window.microphone = context.createMediaStreamDestination();
                window.noise = new GainNode(context, { gain: 0 });
                const oscillator = new OscillatorNode(context, { frequency: 700 });
                oscillator.connect(noise).connect(microphone);
                oscillator.start();
                await ringback.room.publish('microphone', microphone.stream.getAudioTracks()[0]);
                return true;
            })()",
        )
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let packets = format!("({})[0].packetsSent", streams("outbound-rtp", "audio"));
    let before = call.ann.eval(&packets).await.unwrap().as_f64().unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let sent = call.ann.eval(&packets).await.unwrap().as_f64().unwrap() - before;
    println!("{sent} packets in six seconds of silence");
    // Three hundred without DTX.
    assert!(sent < 100.0, "{sent} packets in six seconds");
    call.ann.eval("noise.gain.value = 0.5").await.unwrap();
    hears(&call.bob, 700).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_stream_of_all_sizes_a_small_view_gets_the_small_one_which_alone_is_encoded_then_and_a_large_one_all() {
    let test =
        "of_a_stream_of_all_sizes_a_small_view_gets_the_small_one_which_alone_is_encoded_then_and_a_large_one_all";
    let Some(chromium) = chromium_or_skip(test) else { return };
    // Ann's larger sizes are predicted from the smaller ones at keyframes only, Bob's always.
    let cameras = [Camera::new("VP9", "L2T3_KEY", 640, 480), Camera::new("AV1", "L2T3", 640, 480)];
    // The largest size is there when the uplink has shown that it carries it.
    look_small_and_large(&chromium, cameras, &[(1, "L2"), (2, "L1"), (1, "L2")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "encodes three sizes, which takes most of a minute: see docs/layers.md"]
async fn of_three_sizes_of_a_stream_no_more_are_encoded_than_somebody_looks_at() {
    let test = "of_three_sizes_of_a_stream_no_more_are_encoded_than_somebody_looks_at";
    let Some(chromium) = chromium_or_skip(test) else { return };
    let cameras = [Camera::new("VP9", "L3T3_KEY", 1_024, 576), Camera::new("VP9", "L3T3", 1_024, 576)];
    let steps = [(1, "L3"), (4, "L1"), (2, "L2"), (1, "L3"), (2, "L2"), (4, "L1"), (1, "L3")];
    look_small_and_large(&chromium, cameras, &steps).await;
}

/// A camera whose stream holds all sizes.
#[derive(Clone, Copy)]
struct Camera {
    codec: &'static str,
    mode: &'static str,
    width: u32,
    height: u32,
}

impl Camera {
    fn new(codec: &'static str, mode: &'static str, width: u32, height: u32) -> Self {
        Self { codec, mode, width, height }
    }

    fn script(self) -> String {
        format!("{}{}", large_camera(self.width, self.height), svc(self.codec, self.mode))
    }
}

/// Ann and Bob, who have these cameras, look at each other in this part of the picture's full width and height, one after the other. Each time they see
/// a picture of that size, and sooner or later so many sizes are encoded and no more.
async fn look_small_and_large(chromium: &Path, cameras: [Camera; 2], steps: &[(u32, &str)]) {
    let scripts = cameras.map(Camera::script);
    let call = Call::place(chromium, "video", &["vp9"], [&scripts[0], &scripts[1]]).await;
    call.see_each_other().await;
    let [anns, bobs] = cameras;
    let pages = [(&call.bob, &call.ann, "Ann", Colour::Red, anns), (&call.ann, &call.bob, "Bob", Colour::Blue, bobs)];
    let (sent, received) = (streams("outbound-rtp", "video"), streams("inbound-rtp", "video"));
    let ssrcs = format!("({sent}).map(({{ ssrc }}) => ssrc).join()");
    let before = call.ann.eval(&ssrcs).await.unwrap();
    for (part, sizes) in steps {
        for (page, _, _, _, camera) in pages {
            // Whatever the page would say of its tiles.
            let view = format!(
                "(window.setView ??= ringback.room.setView.bind(ringback.room), ringback.room.setView = () => {{}},
                    setView([{{
                        mid: ringback.room.slots.find([...ringback.room.participants.keys()][0], 'camera').mid,
                        width: {}, height: {}
                    }}]))",
                camera.width / part,
                camera.height / part
            );
            page.eval(&view).await.unwrap();
        }
        let since = Instant::now();
        for (page, _, name, colour, camera) in pages {
            let lines = camera.height / part;
            let decoded = format!("({received}).find(({{ frameHeight }}) => frameHeight === {lines})?.framesDecoded");
            let before = match page.wait_for(&decoded, SOON).await {
                Ok(before) => before.as_f64().unwrap(),
                Err(error) => panic!("{name} in {lines} lines: {error:#}"),
            };
            println!("{name} in {lines} lines after {:?}", since.elapsed());
            // … and goes on being decoded.
            page.wait_for(&format!("({decoded}) > {before} + 5"), SOON).await.unwrap();
            sees(page, name, colour).await;
        }
        for (page, sender, name, colour, camera) in pages {
            let Camera { codec, mode, height, .. } = camera;
            // One size has nothing to be predicted from.
            let mode = if *sizes == "L1" { "L1T3".to_owned() } else { format!("{sizes}{}", &mode[2..]) };
            let is_sent = format!(
                "({sent}).map(({{ codec, scalabilityMode, frameHeight }}) => codec + scalabilityMode + frameHeight).join()"
            );
            let lines = height / part;
            if let Err(error) = sender.wait_for(&format!("{is_sent} === 'video/{codec}{mode}{lines}'"), SOON).await {
                panic!("{name} should encode {mode} of {lines} lines: {error:#}");
            }
            println!("{name} encodes {mode} of {lines} lines after {:?}", since.elapsed());
            // Who looks on sees the same as before, and has missed nothing.
            let decoded = format!("({received}).find(({{ frameHeight }}) => frameHeight === {lines})?.framesDecoded");
            let before = page.wait_for(&decoded, SOON).await.unwrap().as_f64().unwrap();
            page.wait_for(&format!("({decoded}) > {before} + 5"), SOON).await.unwrap();
            sees(page, name, colour).await;
        }
    }
    for (page, _, name, ..) in pages {
        let asked = page.eval(&format!("({received}).map(({{ pliCount }}) => pliCount)[0]")).await.unwrap();
        println!("{name}: {asked} keyframes asked for by who looks on");
    }
    assert_eq!(call.ann.eval(&ssrcs).await.unwrap(), before, "it is the same stream still");
}
