//! Starting and ending a headless Chromium with its own profile and its own fake devices.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::json;
use tempfile::TempDir;

use super::Page;
use super::devtools::DevTools;
use super::fake_media::{FakeMedia, write_camera, write_microphone};

/// How long a browser may take to start: a second on an idle machine, many on two cores that build and test.
pub(super) const START_TIMEOUT: Duration = Duration::from_secs(60);

/// The names Chromium goes by.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Switches that every browser gets.
const SWITCHES: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--mute-audio",
    "--remote-debugging-port=0",
    // Nothing leaves the machine. The last is `namespace::ADDRESS`: addresses of ICE-TCP are looked up too.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost , EXCLUDE 10.77.0.1",
    // A headless tab counts as hidden; its timers and its playback must not slow down.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
];

/// Where Chromium is: `CHROMIUM` (a path or a name), else the first of its names on the `PATH`. Without one, says so
/// past the test runner's capture and returns `None`: the test is then skipped.
///
/// # Panics
/// Without one, when `RINGBACK_REQUIRE_BROWSER` is `1`: in CI a test that did not run must not pass.
pub(crate) fn chromium_or_skip(test: &str) -> Option<PathBuf> {
    let wanted: Vec<String> = match std::env::var("CHROMIUM") {
        Ok(name) if !name.is_empty() => vec![name],
        _ => NAMES.map(str::to_owned).to_vec(),
    };
    let found = wanted.iter().find_map(|name| find(name));
    if found.is_none() {
        skip(test, &format!("no browser found (looked for {}; set CHROMIUM to one)", wanted.join(", ")));
    }
    found
}

/// Where another program is that a test wants. Without it, says so past the test runner's capture.
///
/// # Panics
/// Without it, when `RINGBACK_REQUIRE_BROWSER` is `1`.
pub(crate) fn program_or_skip(test: &str, name: &str) -> Option<PathBuf> {
    let found = find(name);
    if found.is_none() {
        skip(test, &format!("no {name} found"));
    }
    found
}

/// Says past the test runner's capture that a test does not run.
///
/// # Panics
/// When `RINGBACK_REQUIRE_BROWSER` is `1`.
pub(super) fn skip(test: &str, message: &str) {
    assert!(std::env::var_os("RINGBACK_REQUIRE_BROWSER").is_none_or(|value| value != "1"), "{test}: {message}");
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {message}");
}

pub(super) fn find(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.is_file());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// A running Chromium; killed with all its processes when dropped.
pub(crate) struct Browser {
    child: Child,
    devtools: DevTools,
    /// Profile, fake devices and log; removed after the processes are gone.
    _folder: TempDir,
}

impl Browser {
    /// Starts a browser with these devices.
    pub(crate) async fn launch(chromium: &Path, media: FakeMedia) -> anyhow::Result<Self> {
        Self::launch_with(chromium, media, &[]).await
    }

    /// As [`launch`](Self::launch), with further command-line switches.
    pub(crate) async fn launch_with(chromium: &Path, media: FakeMedia, switches: &[&str]) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("ringback-browser-").tempdir()?;
        let profile = folder.path().join("profile");
        std::fs::create_dir(&profile)?;
        let log = std::fs::File::create(folder.path().join("log"))?;
        let microphone = folder.path().join("microphone.wav");
        write_microphone(&microphone, media.tone)?;

        let mut command = Command::new(chromium);
        command
            .args(SWITCHES)
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(format!("--use-file-for-fake-audio-capture={}", microphone.display()));
        if let Some(colour) = media.colour {
            let camera = folder.path().join("camera.y4m");
            write_camera(&camera, colour)?;
            command.arg(format!("--use-file-for-fake-video-capture={}", camera.display()));
        }
        command.args(switches).arg("about:blank");
        // Its own process group, so that its helper processes can be ended with it.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().with_context(|| format!("starting {}", chromium.display()))?;

        // From here on, whatever fails, dropping this ends the process.
        let mut started = Started(Some(child));
        let url = devtools_url(&mut started, &profile).await.with_context(|| {
            format!("starting {}; its log:\n{}", chromium.display(), tail(&folder.path().join("log")))
        })?;
        let devtools = DevTools::connect(&url).await?;
        let child = started.0.take().context("the process was taken already")?;
        Ok(Self { child, devtools, _folder: folder })
    }

    /// Opens a tab and waits until its document has loaded.
    pub(crate) async fn open(&self, url: &str) -> anyhow::Result<Page> {
        self.open_prepared(url, "").await
    }

    /// As [`open`](Self::open), with a script that runs in every document of the tab before its own ones, such as
    /// [`MICROPHONE_SWITCH`](super::MICROPHONE_SWITCH).
    pub(crate) async fn open_prepared(&self, url: &str, script: &str) -> anyhow::Result<Page> {
        let target = self.devtools.call(None, "Target.createTarget", json!({ "url": "about:blank" })).await?;
        let target = target["targetId"].as_str().context("Target.createTarget gave no targetId")?;
        Page::attach(self.devtools.clone(), target, url, script).await
    }

    /// The browser's process id, which is also its process group.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// A process whose browser is not up yet.
pub(super) struct Started(pub(super) Option<Child>);

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            end(child);
        }
    }
}

/// Kills the process group that `launch` made; through the shell, because the system call needs unsafe code.
pub(super) fn end(child: &mut Child) {
    let _ = Command::new("sh").args(["-c", &format!("kill -KILL -{}", child.id())]).stderr(Stdio::null()).status();
    let _ = child.kill();
    let _ = child.wait();
}

/// Waits for `DevToolsActivePort`: the port in its first line, the path in its second.
async fn devtools_url(started: &mut Started, profile: &Path) -> anyhow::Result<String> {
    let file = profile.join("DevToolsActivePort");
    let begun = Instant::now();
    while begun.elapsed() < START_TIMEOUT {
        if let Ok(text) = std::fs::read_to_string(&file)
            && let Some((port, path)) = text.trim().split_once('\n')
        {
            return Ok(format!("ws://127.0.0.1:{port}{path}"));
        }
        if let Some(child) = &mut started.0
            && let Some(status) = child.try_wait()?
        {
            bail!("it ended at once ({status})");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bail!("no DevTools port within {START_TIMEOUT:?}")
}

/// The last lines of a log.
pub(super) fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
