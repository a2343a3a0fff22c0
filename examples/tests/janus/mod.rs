//! Janus (Debian's package `janus` 1.1) beside us: a process with a configuration of its own that has nothing but the VideoRoom and the WebSocket
//! transport, and the page of a client. It takes no address of the loopback interface, so that it runs in a test's namespace only.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use super::browser::ADDRESS;

/// Where Debian has its plugins, by architecture.
const LIBRARIES: [&str; 2] = ["/usr/lib/x86_64-linux-gnu/janus", "/usr/lib/aarch64-linux-gnu/janus"];

/// How long it may take to start.
const START: Duration = Duration::from_secs(20);

/// For every page that calls by Janus.
pub(crate) const CLIENT: &str = include_str!("client.js");

/// A running Janus, and a page to call from.
pub(crate) struct Janus {
    /// Of its WebSocket.
    pub(crate) port: u16,
    /// An empty page, from which browsers may use cameras.
    pub(crate) page: String,
    _process: Child,
    _folder: TempDir,
}

impl Janus {
    pub(crate) async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        configure(folder.path(), port)?;
        let mut process = Command::new("janus")
            .args(["-F", &folder.path().display().to_string()])
            .stdout(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("Janus (Debian: apt install janus)")?;
        let mut lines = BufReader::new(process.stdout.take().context("stdout is piped")?).lines();
        let started = async {
            while let Some(line) = lines.next_line().await? {
                if line.contains("Websockets server started") {
                    return Ok(());
                }
            }
            bail!("Janus ended")
        };
        tokio::time::timeout(START, started).await.context("Janus does not start in time")??;
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { port, page: empty_page().await?, _process: process, _folder: folder })
    }
}

/// Serves a page without anything on it, for as long as the test runs.
async fn empty_page() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let link = format!("http://{}/", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            // Browsers open connections that they may never use.
            tokio::spawn(async move {
                let _ = client.read(&mut [0; 4096]).await;
                let body = "<!doctype html><title>Janus</title>";
                let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\n", body.len());
                let _ = client.write_all(format!("{head}connection: close\r\n\r\n{body}").as_bytes()).await;
            });
        }
    });
    Ok(link)
}

fn configure(folder: &Path, port: u16) -> Result<()> {
    let libraries = LIBRARIES.iter().map(Path::new).find(|path| path.is_dir()).context("Janus is not installed")?;
    for (kind, library) in [("plugins", "libjanus_videoroom.so"), ("transports", "libjanus_websockets.so")] {
        let here = folder.join(kind);
        std::fs::create_dir_all(&here)?;
        std::os::unix::fs::symlink(libraries.join(kind).join(library), here.join(library))?;
    }
    let here = folder.display();
    std::fs::create_dir_all(folder.join("none"))?;
    let general = format!(
        "general: {{\nconfigs_folder = \"{here}\"\nplugins_folder = \"{here}/plugins\"\ntransports_folder = \"{here}/transports\"\n\
         events_folder = \"{here}/none\"\nloggers_folder = \"{here}/none\"\ndebug_level = 4\ndebug_colors = false\nsession_timeout = 0\n}}\n\
         nat: {{\nice_lite = true\nice_enforce_list = \"{ADDRESS}\"\n}}\n"
    );
    std::fs::write(folder.join("janus.jcfg"), general)?;
    let transport = format!("general: {{\nws = true\nws_port = {port}\nws_ip = \"127.0.0.1\"\n}}\n");
    std::fs::write(folder.join("janus.transport.websockets.jcfg"), transport)?;
    std::fs::write(folder.join("janus.plugin.videoroom.jcfg"), "general: {}\n")?;
    Ok(())
}
