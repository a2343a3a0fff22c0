//! The example server as a process of its own, started the way a user starts it, on free loopback ports, with its notes in a
//! folder of its own. It is killed when its handle is dropped.

#![allow(dead_code, reason = "each test file uses another part of it")]

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// How long the server may take to print its link. It takes milliseconds on an idle machine.
const START: Duration = Duration::from_secs(20);

/// A running example server.
pub(crate) struct Server {
    /// The link it printed, with a slash at the end.
    pub(crate) link: String,
    process: Child,
    arguments: Vec<String>,
    /// Its notes; removed after the process is gone.
    data: TempDir,
}

impl Server {
    /// Starts one on free ports of 127.0.0.1.
    pub(crate) async fn start() -> Result<Self> {
        Self::start_with(&["--listen", "127.0.0.1:0", "--media", "127.0.0.1:0"]).await
    }

    /// Starts one with these arguments.
    pub(crate) async fn start_with(arguments: &[&str]) -> Result<Self> {
        let data = tempfile::Builder::new().prefix("ringback-data-").tempdir()?;
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let (process, link) = Self::run(&arguments, &data).await?;
        Ok(Self { link, process, arguments, data })
    }

    /// Kills it (SIGKILL), and starts another with the same arguments and folder. Give it ports that are not 0.
    pub(crate) async fn kill_and_start_again(&mut self) -> Result<()> {
        self.process.kill().await?;
        self.start_again().await
    }

    /// As [`kill_and_start_again`](Self::kill_and_start_again), as a service manager does it (SIGTERM).
    #[cfg(unix)]
    pub(crate) async fn stop_and_start_again(&mut self) -> Result<()> {
        let process = self.process.id().context("it has ended by itself")?.to_string();
        Command::new("kill").args(["-TERM", &process]).status().await?;
        tokio::time::timeout(START, self.process.wait()).await.context("it does not end")??;
        self.start_again().await
    }

    async fn start_again(&mut self) -> Result<()> {
        (self.process, self.link) = Self::run(&self.arguments, &self.data).await?;
        Ok(())
    }

    async fn run(arguments: &[String], data: &TempDir) -> Result<(Child, String)> {
        let program = example("sfu")?;
        let mut process = Command::new(&program)
            .args(arguments)
            .arg("--data")
            .arg(data.path())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} does not start", program.display()))?;
        let stdout = process.stdout.take().context("stdout is piped")?;
        let mut lines = BufReader::new(stdout).lines();
        let link = tokio::time::timeout(START, async {
            while let Some(line) = lines.next_line().await? {
                if let Some(link) = line.strip_prefix("Ringback: ") {
                    return Ok(link.to_owned());
                }
            }
            bail!("the server ended without printing its link")
        })
        .await
        .context("the server printed no link in time")??;
        // Whoever reads no more of a pipe stops whoever writes to it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok((process, link))
    }

    /// The page, entered under this name, with further URL parameters (`&auto=accept`).
    pub(crate) fn page(&self, name: &str, parameters: &str) -> String {
        format!("{}?name={name}{parameters}", self.link)
    }

    /// The signaling WebSocket.
    pub(crate) fn signaling(&self) -> String {
        format!("{}v1/ws", self.link.replacen("http", "ws", 1))
    }
}

/// An example that was built with this test: beside it, in `target/<profile>/examples`.
pub(crate) fn example(name: &str) -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let profile = test.parent().and_then(|deps| deps.parent()).context("a test lives in target/<profile>/deps")?;
    let program = profile.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    if !program.is_file() {
        bail!(
            "{} is missing; `cargo build -p ringback-examples --example sfu` builds it (with --release for a release test)",
            program.display()
        );
    }
    Ok(program)
}
