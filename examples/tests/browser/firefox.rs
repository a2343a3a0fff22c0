//! A headless Firefox with its own profile and fake devices, and one tab of it, driven over WebDriver BiDi
//! (<https://w3c.github.io/webdriver-bidi/>). It checks that the server speaks with a second, independent browser engine.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::chromium::{START_TIMEOUT, Started, end, find, skip, tail};
use super::page::{LOAD_TIMEOUT, MEAN_RGB, POLL, truthy};
use super::{Colour, Tone};

/// The names Firefox goes by.
const NAMES: [&str; 2] = ["firefox-esr", "firefox"];

/// How long a command may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Where Firefox is: `FIREFOX` (a path or a name), else the first of its names on the `PATH`; as
/// [`chromium_or_skip`](super::chromium_or_skip).
///
/// # Panics
/// Without one, when `RINGBACK_REQUIRE_BROWSER` is `1`.
pub(crate) fn firefox_or_skip(test: &str) -> Option<PathBuf> {
    let wanted: Vec<String> = match std::env::var("FIREFOX") {
        Ok(name) if !name.is_empty() => vec![name],
        _ => NAMES.map(str::to_owned).to_vec(),
    };
    let found = wanted.iter().find_map(|name| find(name));
    if found.is_none() {
        skip(test, &format!("no Firefox found (looked for {}; set FIREFOX to one)", wanted.join(", ")));
    }
    found
}

/// Its settings: a camera whose colour wanders, a microphone with a steady tone, no questions, no traffic of its own.
fn settings(tone: u32) -> String {
    let settings = [
        ("media.navigator.streams.fake", json!(true)),
        ("media.navigator.permission.disabled", json!(true)),
        ("media.navigator.audio.fake_frequency", json!(tone)),
        ("media.peerconnection.ice.obfuscate_host_addresses", json!(false)),
        ("media.autoplay.default", json!(0)),
        // What plays H.264 in calls would be fetched.
        ("media.gmp-manager.updateEnabled", json!(false)),
        ("remote.active-protocols", json!(1)),
        ("datareporting.policy.dataSubmissionEnabled", json!(false)),
        ("browser.shell.checkDefaultBrowser", json!(false)),
        ("app.update.disabledForTesting", json!(true)),
    ];
    settings.iter().map(|(name, value)| format!("user_pref({name:?}, {value});\n")).collect()
}

/// A running Firefox with one tab; killed with all its processes when dropped.
pub(crate) struct Firefox {
    child: Child,
    connection: Mutex<Connection>,
    tab: String,
    /// Profile and log; removed after the processes are gone.
    _folder: TempDir,
}

/// One command at a time.
struct Connection {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    last_id: u64,
    console: Vec<String>,
}

impl Connection {
    async fn call(&mut self, method: &str, params: Value) -> anyhow::Result<Value> {
        self.last_id += 1;
        let frame = json!({ "id": self.last_id, "method": method, "params": params });
        self.socket.send(Message::text(frame.to_string())).await.with_context(|| format!("{method}: not sent"))?;
        let answer = async {
            while let Some(frame) = self.socket.next().await {
                let Message::Text(text) = frame? else { continue };
                let mut frame: Value = serde_json::from_str(&text)?;
                if frame["method"] == "log.entryAdded" {
                    let entry = &frame["params"];
                    let [level, text] = ["level", "text"].map(|field| entry[field].as_str().unwrap_or_default());
                    self.console.push(format!("{level}: {text}"));
                } else if frame["id"] == self.last_id {
                    return match frame["type"].as_str() {
                        Some("success") => Ok(frame["result"].take()),
                        _ => bail!("{}", frame["message"]),
                    };
                }
            }
            bail!("Firefox is gone")
        };
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, answer).await;
        answer.with_context(|| format!("{method}: no answer within {ANSWER_TIMEOUT:?}"))?.context(method.to_owned())
    }
}

impl Firefox {
    /// Starts one whose microphone carries this tone, in Hz.
    pub(crate) async fn launch(firefox: &Path, tone: u32) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("ringback-firefox-").tempdir()?;
        let profile = folder.path().join("profile");
        std::fs::create_dir(&profile)?;
        std::fs::write(profile.join("user.js"), settings(tone))?;
        let log = folder.path().join("log");

        let mut command = Command::new(firefox);
        command.args(["--headless", "--no-remote", "--remote-debugging-port", "0", "--profile"]).arg(&profile);
        // It refuses a home folder that belongs to somebody else.
        command.env("HOME", folder.path());
        // Its own process group, so that its helper processes can be ended with it.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(std::fs::File::create(&log)?);
        let child = command.spawn().with_context(|| format!("starting {}", firefox.display()))?;

        // From here on, whatever fails, dropping this ends the process.
        let mut started = Started(Some(child));
        let url = bidi_url(&mut started, &profile)
            .await
            .with_context(|| format!("starting {}; its log:\n{}", firefox.display(), tail(&log)))?;
        let (socket, _) =
            connect_async(&url).await.with_context(|| format!("connecting to WebDriver BiDi at {url}"))?;
        let mut connection = Connection { socket, last_id: 0, console: Vec::new() };
        connection.call("session.new", json!({ "capabilities": {} })).await?;
        connection.call("session.subscribe", json!({ "events": ["log.entryAdded"] })).await?;
        let tree = connection.call("browsingContext.getTree", json!({})).await?;
        let tab = tree["contexts"][0]["context"].as_str().context("Firefox has no tab")?.to_owned();
        let child = started.0.take().context("the process was taken already")?;
        Ok(Self { child, connection: Mutex::new(connection), tab, _folder: folder })
    }

    /// Opens an address in its tab and waits until the document has loaded.
    pub(crate) async fn open(&self, url: &str) -> anyhow::Result<()> {
        let navigate = json!({ "context": self.tab, "url": url, "wait": "complete" });
        let opened = async { self.connection.lock().await.call("browsingContext.navigate", navigate).await };
        tokio::time::timeout(LOAD_TIMEOUT, opened).await.with_context(|| format!("{url} did not load"))?.map(drop)
    }

    /// The value of a JavaScript expression, which may be a promise, run as if a person had just clicked.
    pub(crate) async fn eval(&self, expression: &str) -> anyhow::Result<Value> {
        let params = json!({
            "target": { "context": self.tab },
            "expression": format!("(async () => JSON.stringify(await ({expression})) ?? 'null')()"),
            "awaitPromise": true,
            "userActivation": true,
        });
        let answer = self.connection.lock().await.call("script.evaluate", params).await?;
        match answer["result"]["value"].as_str() {
            Some(json) => Ok(serde_json::from_str(json)?),
            None => bail!("`{expression}`: {}", answer["exceptionDetails"]["text"]),
        }
    }

    /// Waits until an expression is truthy. An exception counts as "not yet".
    ///
    /// # Errors
    /// After `timeout`, with the last value or exception and the console.
    pub(crate) async fn wait_for(&self, expression: &str, timeout: Duration) -> anyhow::Result<Value> {
        self.measure(expression, timeout, truthy).await
    }

    /// Waits until a `<video>` shows a colour; `video` is an expression for it.
    pub(crate) async fn wait_for_colour(&self, video: &str, colour: Colour, timeout: Duration) -> anyhow::Result<()> {
        let is_it = |rgb: &[u8; 3]| Colour::nearest(*rgb) == Some(colour);
        self.measure(&format!("({MEAN_RGB})({video})"), timeout, is_it).await.map(drop)
    }

    /// Waits until a stream carries a tone; `stream` is an expression for it.
    pub(crate) async fn wait_for_tone(&self, stream: &str, hz: u32, timeout: Duration) -> anyhow::Result<Tone> {
        self.measure(&format!("({LOUDEST})({stream}, 1200)"), timeout, |tone: &Tone| tone.is(hz)).await
    }

    async fn measure<T: DeserializeOwned>(
        &self,
        expression: &str,
        timeout: Duration,
        is_it: impl Fn(&T) -> bool,
    ) -> anyhow::Result<T> {
        let begun = Instant::now();
        loop {
            let seen = self.eval(expression).await;
            if let Ok(value) = &seen
                && let Ok(value) = serde_json::from_value(value.clone())
                && is_it(&value)
            {
                return Ok(value);
            }
            if begun.elapsed() > timeout {
                let console = self.connection.lock().await.console.join("\n  ");
                let expression = expression.get(..200).unwrap_or(expression);
                bail!("in Firefox, `{expression}` did not hold within {timeout:?}: {seen:?}\nconsole:\n  {console}");
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

impl Drop for Firefox {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Waits for the file in which Firefox says where it listens.
async fn bidi_url(started: &mut Started, profile: &Path) -> anyhow::Result<String> {
    let file = profile.join("WebDriverBiDiServer.json");
    let begun = Instant::now();
    while begun.elapsed() < START_TIMEOUT {
        if let Ok(text) = std::fs::read(&file)
            && let Ok(server) = serde_json::from_slice::<Value>(&text)
            && let (Some(host), Some(port)) = (server["ws_host"].as_str(), server["ws_port"].as_u64())
        {
            return Ok(format!("ws://{host}:{port}/session"));
        }
        if let Some(child) = &mut started.0
            && let Some(status) = child.try_wait()?
        {
            bail!("it ended at once ({status})");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bail!("no WebDriver BiDi port within {START_TIMEOUT:?}")
}

/// The loudest tone of a stream. Firefox's `AudioContext` needs a sound device, which test machines lack; a recording and its decoding
/// do without.
const LOUDEST: &str = "async (promised, milliseconds) => {
    const stream = await promised;
    if (!stream) throw new Error('no such stream');
    const recorder = new MediaRecorder(new MediaStream(stream.getAudioTracks()));
    const parts = [];
    recorder.ondataavailable = ({ data }) => parts.push(data);
    recorder.start();
    await new Promise((resolve) => setTimeout(resolve, milliseconds));
    await new Promise((resolve) => { recorder.onstop = resolve; recorder.stop(); });
    const recording = await new Blob(parts).arrayBuffer();
    const decoded = await new OfflineAudioContext(1, 48000, 48000).decodeAudioData(recording);
    const samples = decoded.getChannelData(0).slice(-16384);
    let loudest = { hz: 0, amplitude: 1e-10 };
    for (let hz = 60; hz < 2000; hz += 4) {
        let re = 0, im = 0;
        for (let i = 0; i < samples.length; i++) {
            re += samples[i] * Math.cos(2 * Math.PI * hz * i / 48000);
            im += samples[i] * Math.sin(2 * Math.PI * hz * i / 48000);
        }
        const amplitude = 2 * Math.hypot(re, im) / samples.length;
        if (amplitude > loudest.amplitude) loudest = { hz, amplitude };
    }
    return { hz: loudest.hz, db: 20 * Math.log10(loudest.amplitude) };
}";
