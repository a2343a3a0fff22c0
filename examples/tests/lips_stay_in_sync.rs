//! Sound and picture that were made at the same moment are played at the same moment: one browser flashes a canvas and beeps, the
//! other measures when the flash is on the screen and when the beep is heard.
#![allow(clippy::unwrap_used)]

mod browser;
mod server;

use std::time::Duration;

use browser::{Browser, Colour, FakeMedia, chromium_or_skip};
use server::Server;

const SOON: Duration = Duration::from_secs(40);

/// What people do not notice (ITU-R BT.1359 finds the threshold at 45 ms sound first, 125 ms picture first), in milliseconds.
const LIP_SYNC_MS: f64 = 80.0;

/// Flashes and beeps once a second, in the tracks that the page publishes.
const CLAP: &str = "(async () => {
    const canvas = Object.assign(document.createElement('canvas'), { width: 320, height: 240 });
    const paint = canvas.getContext('2d');
    const audio = new AudioContext();
    await audio.resume();
    const beep = new OscillatorNode(audio, { frequency: 1000 });
    const loud = new GainNode(audio, { gain: 0 });
    const out = audio.createMediaStreamDestination();
    beep.connect(loud).connect(out);
    beep.start();
    let clap = false;
    setInterval(() => {
        clap = true;
        loud.gain.setValueAtTime(0.8, audio.currentTime);
        setTimeout(() => { clap = false; loud.gain.setValueAtTime(0, audio.currentTime); }, 200);
    }, 1000);
    let frame = 0;
    setInterval(() => {
        paint.fillStyle = clap ? 'white' : 'black';
        paint.fillRect(0, 0, 320, 240);
        // A little movement, so that no frame is left out for being the same as the last.
        paint.fillStyle = '#777';
        paint.fillRect(frame++ % 320, 230, 8, 8);
    }, 1000 / 30);
    await ringback.room.publish('camera', canvas.captureStream(30).getVideoTracks()[0]);
    await ringback.room.publish('microphone', out.stream.getAudioTracks()[0]);
    return true;
})()";

/// Notes when each flash is shown and when each beep is heard, in milliseconds of `performance.now()`.
const MEASURE: &str = "(async () => {
    const participant = [...ringback.room.participants.values()][0];
    const video = document.querySelector('.tile[data-kind=person] [data-video=live] video');
    window.seen = []; window.heard = [];
    const canvas = new OffscreenCanvas(8, 8);
    const context = canvas.getContext('2d', { willReadFrequently: true });
    let bright = true;
    const look = (now, { expectedDisplayTime }) => {
        context.drawImage(video, 0, 0, 8, 8);
        const now_bright = context.getImageData(4, 3, 1, 1).data[1] > 128;
        if (now_bright && !bright) seen.push(expectedDisplayTime);
        bright = now_bright;
        video.requestVideoFrameCallback(look);
    };
    video.requestVideoFrameCallback(look);
    const audio = new AudioContext();
    await audio.resume();
    const code = `registerProcessor('onset', class extends AudioWorkletProcessor {
        quiet = 0;
        process([input]) {
            const samples = input[0] ?? [];
            let peak = 0;
            for (const sample of samples) peak = Math.max(peak, Math.abs(sample));
            if (peak > 0.1 && this.quiet > 40) this.port.postMessage(currentTime);
            this.quiet = peak > 0.05 ? 0 : this.quiet + 1;
            return true;
        }
    })`;
    await audio.audioWorklet.addModule(URL.createObjectURL(new Blob([code], { type: 'text/javascript' })));
    const onset = new AudioWorkletNode(audio, 'onset');
    onset.port.onmessage = ({ data }) => heard.push(performance.now() - (audio.currentTime - data) * 1000);
    audio.createMediaStreamSource(participant.audio).connect(onset).connect(new GainNode(audio, { gain: 0 })).connect(audio.destination);
    return true;
})()";

/// For each flash the nearest beep: how much later the beep came, in milliseconds.
const LATER: &str = "seen.map((at) => heard.map((other) => other - at).sort((a, b) => Math.abs(a) - Math.abs(b))[0]).filter((d) => Math.abs(d) < 450)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flash_and_a_beep_made_together_are_seen_and_heard_together() {
    let Some(chromium) = chromium_or_skip("a_flash_and_a_beep_made_together_are_seen_and_heard_together") else {
        return;
    };
    let server = Server::start().await.unwrap();
    let media = || FakeMedia { tone: None, colour: Some(Colour::Red) };
    let bobs = Browser::launch(&chromium, media()).await.unwrap();
    let bob = bobs.open(&server.page("Bob", "&auto=accept")).await.unwrap();
    let anns = Browser::launch(&chromium, media()).await.unwrap();
    let ann = anns.open(&server.page("Ann", "&call=bob&kind=video")).await.unwrap();
    for page in [&ann, &bob] {
        page.wait_for("ringback.call?.state === 'active' && ringback.room.state === 'connected'", SOON).await.unwrap();
    }
    // After the page's own devices: whoever publishes last is heard and seen.
    ann.wait_for("!ringback.room.isMuted('camera') && !ringback.room.isMuted('microphone')", SOON).await.unwrap();
    ann.eval(CLAP).await.unwrap();
    bob.wait_for("document.querySelector('.tile[data-kind=person] [data-video=live] video')?.videoWidth", SOON)
        .await
        .unwrap();
    bob.wait_for("[...ringback.room.participants.values()][0].audio !== null", SOON).await.unwrap();
    // The browser moves the two toward each other slowly, from the sender reports on.
    tokio::time::sleep(Duration::from_secs(8)).await;
    bob.eval(MEASURE).await.unwrap();
    let enough = bob.wait_for(&format!("{LATER}.length >= 10"), SOON).await;
    let noted = bob.eval("({ seen: seen.length, heard: heard.length })").await.unwrap();
    enough.unwrap_or_else(|error| panic!("only {noted} were noted: {error}"));
    let mut later: Vec<f64> = bob.eval_as(LATER).await.unwrap();
    later.sort_by(f64::total_cmp);
    let median = later[later.len() / 2];
    println!("sound after picture, in ms: median {median:.0} of {later:.0?}");
    assert!(median.abs() <= LIP_SYNC_MS, "the sound comes {median:.0} ms after the picture: {later:?}");
}
