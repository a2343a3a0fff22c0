//! One tab: run JavaScript in it, wait for something to become true, look at its picture and listen to its sound.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use base64::Engine;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Colour;
use super::devtools::{DevTools, exception};

/// How long a document may take to load.
pub(super) const LOAD_TIMEOUT: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
pub(super) const POLL: Duration = Duration::from_millis(50);

/// Console lines that an error message repeats.
const CONSOLE_TAIL: usize = 30;

/// What is loudest in a stream.
#[derive(Debug, Clone, Copy, PartialEq, serde::Deserialize)]
pub(crate) struct Tone {
    /// Its frequency in Hz, to about 3 Hz.
    pub(crate) hz: f64,
    /// Its level in dB below full scale at its loudest; −200 for digital silence.
    pub(crate) db: f64,
}

impl Tone {
    /// Whether this is that tone, and loud enough to be more than a remnant.
    pub(crate) fn is(self, hz: u32) -> bool {
        (self.hz - f64::from(hz)).abs() < 12.0 && self.db > -60.0
    }
}

/// A tab of a [`Browser`](super::Browser).
pub(crate) struct Page {
    devtools: DevTools,
    target: String,
    session: String,
    url: String,
}

impl Page {
    pub(super) async fn attach(devtools: DevTools, target: &str, url: &str, script: &str) -> anyhow::Result<Self> {
        let attached =
            devtools.call(None, "Target.attachToTarget", json!({ "targetId": target, "flatten": true })).await?;
        let session = attached["sessionId"].as_str().context("Target.attachToTarget gave no sessionId")?.to_owned();
        let page = Self { devtools, target: target.to_owned(), session, url: url.to_owned() };
        for domain in ["Runtime.enable", "Log.enable", "Page.enable", "Inspector.enable"] {
            page.call(domain, json!({})).await?;
        }
        if !script.is_empty() {
            page.call("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script })).await?;
        }
        page.goto(url).await?;
        Ok(page)
    }

    /// Loads another address and waits until its document has loaded.
    pub(crate) async fn goto(&self, url: &str) -> anyhow::Result<()> {
        let went = self.call("Page.navigate", json!({ "url": url })).await?;
        if let Some(failed) = went["errorText"].as_str() {
            bail!("cannot open {url}: {failed}");
        }
        let arrived = format!(
            "location.href !== 'about:blank' && document.readyState === 'complete' || {:?} === 'about:blank'",
            url
        );
        self.wait_for(&arrived, LOAD_TIMEOUT).await.map(drop)
    }

    /// Runs a DevTools command in this tab.
    pub(crate) async fn call(&self, method: &str, params: Value) -> anyhow::Result<Value> {
        self.devtools.call(Some(&self.session), method, params).await
    }

    /// The value of a JavaScript expression, which may be a promise, run as if a person had just clicked.
    pub(crate) async fn eval(&self, expression: &str) -> anyhow::Result<Value> {
        self.try_eval(expression).await.map_err(|error| self.explain(&format!("`{expression}`: {error:#}")))
    }

    /// As [`eval`](Self::eval), read into a type.
    pub(crate) async fn eval_as<T: DeserializeOwned>(&self, expression: &str) -> anyhow::Result<T> {
        let value = self.eval(expression).await?;
        serde_json::from_value(value.clone())
            .map_err(|error| self.explain(&format!("`{expression}` gave {value}: {error}")))
    }

    /// Waits until an expression is truthy and returns its value. An exception counts as "not yet".
    ///
    /// # Errors
    /// After `timeout`, with the last value or exception and what the page wrote to its console.
    pub(crate) async fn wait_for(&self, expression: &str, timeout: Duration) -> anyhow::Result<Value> {
        let begun = Instant::now();
        let mut last;
        loop {
            match self.try_eval(expression).await {
                Ok(value) if truthy(&value) => return Ok(value),
                Ok(value) => last = format!("it is {value}"),
                Err(error) => last = format!("{error:#}"),
            }
            if begun.elapsed() > timeout {
                return Err(self.explain(&format!("`{expression}` did not hold within {timeout:?}: {last}")));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Clicks the element a selector finds, once it is there and enabled.
    pub(crate) async fn click(&self, selector: &str, timeout: Duration) -> anyhow::Result<()> {
        let click = format!(
            "(() => {{ const element = document.querySelector({selector:?}); \
             if (!element || element.disabled) return false; element.click(); return true; }})()"
        );
        self.wait_for(&click, timeout).await.map(drop)
    }

    /// The mean colour of the middle of what a `<video>` shows, red, green and blue; `video` is an expression for it.
    ///
    /// # Errors
    /// When it shows nothing.
    pub(crate) async fn mean_rgb(&self, video: &str) -> anyhow::Result<[u8; 3]> {
        self.eval_as(&format!("({MEAN_RGB})({video})")).await
    }

    /// Whose fake camera a `<video>` shows; `None` for a picture of none.
    pub(crate) async fn colour(&self, video: &str) -> anyhow::Result<Option<Colour>> {
        Ok(Colour::nearest(self.mean_rgb(video).await?))
    }

    /// Waits until a `<video>` shows a colour.
    ///
    /// # Errors
    /// After `timeout`, with what it shows instead.
    pub(crate) async fn wait_for_colour(&self, video: &str, colour: Colour, timeout: Duration) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            let seen = self.mean_rgb(video).await;
            if seen.as_ref().is_ok_and(|rgb| Colour::nearest(*rgb) == Some(colour)) {
                return Ok(());
            }
            if begun.elapsed() > timeout {
                let seen = seen.map_or_else(|error| error.to_string(), |rgb| format!("mean {rgb:?}"));
                return Err(self.explain(&format!("`{video}` did not turn {colour:?} within {timeout:?}: {seen}")));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// What is loudest in a `MediaStream` while it is listened to for `time`; `stream` is an expression for it, or for a
    /// promise of it.
    ///
    /// # Errors
    /// When the stream has no audio track.
    pub(crate) async fn tone(&self, stream: &str, time: Duration) -> anyhow::Result<Tone> {
        self.eval_as(&format!("({LOUDEST})({stream}, {})", time.as_millis())).await
    }

    /// Waits until a stream carries a tone.
    ///
    /// # Errors
    /// After `timeout`, with what it carries instead.
    pub(crate) async fn wait_for_tone(&self, stream: &str, hz: u32, timeout: Duration) -> anyhow::Result<Tone> {
        let begun = Instant::now();
        loop {
            let heard = self.tone(stream, Duration::from_millis(600)).await;
            match heard {
                Ok(tone) if tone.is(hz) => return Ok(tone),
                heard if begun.elapsed() > timeout => {
                    let heard = heard.map_or_else(|error| error.to_string(), |tone| format!("{tone:?}"));
                    return Err(self.explain(&format!("`{stream}` did not carry {hz} Hz within {timeout:?}: {heard}")));
                }
                _ => {}
            }
        }
    }

    /// Sets the size of the window's content in CSS pixels.
    pub(crate) async fn resize(&self, width: u32, height: u32) -> anyhow::Result<()> {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size).await.map(drop)
    }

    /// Writes what the tab shows as a PNG file.
    pub(crate) async fn screenshot(&self, path: &Path) -> anyhow::Result<()> {
        let shot = self.call("Page.captureScreenshot", json!({ "format": "png" })).await?;
        let data = shot["data"].as_str().context("Page.captureScreenshot gave no data")?;
        let png = base64::engine::general_purpose::STANDARD.decode(data).context("the screenshot is no base64")?;
        std::fs::write(path, png).with_context(|| format!("writing {}", path.display()))
    }

    /// What the page has written to its console so far, uncaught exceptions included.
    pub(crate) fn console(&self) -> Vec<String> {
        self.devtools.console(&self.session)
    }

    /// Closes the tab without asking the page.
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        self.devtools.call(None, "Target.closeTarget", json!({ "targetId": self.target })).await.map(drop)
    }

    async fn try_eval(&self, expression: &str) -> anyhow::Result<Value> {
        let params = json!({
            "expression": format!("(async () => ({expression}))()"),
            "awaitPromise": true,
            "returnByValue": true,
            "userGesture": true,
        });
        let mut answer = self.call("Runtime.evaluate", params).await?;
        if answer["exceptionDetails"].is_object() {
            bail!("{}", exception(&answer["exceptionDetails"]));
        }
        Ok(answer["result"]["value"].take())
    }

    fn explain(&self, what: &str) -> anyhow::Error {
        let console = self.console();
        let shown = &console[console.len().saturating_sub(CONSOLE_TAIL)..];
        let shown = if shown.is_empty() { "(empty)".to_owned() } else { shown.join("\n  ") };
        anyhow::anyhow!("on {}: {what}\nconsole:\n  {shown}", self.url)
    }
}

/// JavaScript's notion, of a value that came as JSON.
pub(super) fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(yes) => *yes,
        Value::Number(number) => number.as_f64().is_some_and(|number| number != 0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

pub(super) const MEAN_RGB: &str = "(video) => {
    if (!video) throw new Error('no such video');
    const { videoWidth: width, videoHeight: height } = video;
    if (!width || video.readyState < 2) throw new Error(`the video shows nothing (readyState ${video.readyState})`);
    const canvas = new OffscreenCanvas(32, 24);
    const context = canvas.getContext('2d', { willReadFrequently: true });
    context.drawImage(video, width / 4, height / 4, width / 2, height / 2, 0, 0, 32, 24);
    const { data } = context.getImageData(0, 0, 32, 24);
    const sum = [0, 0, 0];
    for (let i = 0; i < data.length; i += 4) for (let c = 0; c < 3; c++) sum[c] += data[i + c];
    return sum.map((total) => Math.round(total / (data.length / 4)));
}";

// A remote stream is silent in WebAudio until a media element plays it, hence the muted player.
const LOUDEST: &str = "async (promised, milliseconds) => {
    const stream = await promised;
    if (!stream) throw new Error('no such stream');
    if (!stream.getAudioTracks().length) throw new Error('the stream has no audio track');
    const player = new Audio();
    player.muted = true;
    player.srcObject = stream;
    player.play().catch(() => {});
    const context = new AudioContext({ sampleRate: 48000 });
    await context.resume();
    const analyser = new AnalyserNode(context, { fftSize: 8192, smoothingTimeConstant: 0 });
    const source = context.createMediaStreamSource(stream);
    source.connect(analyser);
    const levels = new Float32Array(analyser.frequencyBinCount);
    const power = new Float64Array(analyser.frequencyBinCount);
    const highest = new Float32Array(analyser.frequencyBinCount).fill(-200);
    const until = performance.now() + milliseconds;
    while (performance.now() < until) {
        await new Promise((resolve) => setTimeout(resolve, 50));
        analyser.getFloatFrequencyData(levels);
        for (let bin = 0; bin < levels.length; bin++) {
            power[bin] += 10 ** (levels[bin] / 10);
            highest[bin] = Math.max(highest[bin], levels[bin]);
        }
    }
    source.disconnect();
    player.srcObject = null;
    await context.close();
    const width = 48000 / 8192;
    let peak = Math.ceil(60 / width);
    for (let bin = peak; bin < power.length - 1; bin++) if (power[bin] > power[peak]) peak = bin;
    const [before, at, after] = [power[peak - 1], power[peak], power[peak + 1]].map((p) => Math.log(p + 1e-30));
    const bend = before - 2 * at + after;
    const offset = bend < 0 ? (before - after) / (2 * bend) : 0;
    return { hz: (peak + offset) * width, db: highest[peak] };
}";
