//! The process under load: the example server, Janus, or the limit loop, pinned to one core where `taskset` is there, its processor time and
//! memory read from `/proc`.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

/// How long a process may take to say where it listens.
const START: Duration = Duration::from_secs(20);

/// Ticks a second of `/proc/<pid>/stat`: Linux's USER_HZ, which is 100 on every architecture that this runs on.
const TICKS: f64 = 100.0;

/// The core that a process is to run on; `None`: any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pin(pub(crate) Option<usize>);

/// A running process; killed when dropped.
pub(crate) struct Process {
    /// `None`: somebody else's, which runs already.
    child: Option<Child>,
    pid: u32,
    /// What it printed after its prefix.
    pub(crate) said: String,
    /// The core that it was pinned to.
    pub(crate) pin: Option<usize>,
}

impl Process {
    /// Starts a program, through another one such as `nsenter` if `through` says so, hands it `input`, and waits for a line that begins
    /// with `prefix`.
    pub(crate) async fn start(
        through: &[String],
        program: PathBuf,
        arguments: &[&str],
        input: &str,
        prefix: &str,
        pin: Pin,
    ) -> anyhow::Result<Self> {
        if !program.is_file() {
            bail!(
                "{} is missing; `cargo build --release -p ringback-examples --examples` builds it",
                program.display()
            );
        }
        let pin = pin.0.filter(|_| std::process::Command::new("taskset").arg("--version").output().is_ok());
        let mut words = through.to_vec();
        if let Some(core) = pin {
            words.extend(["taskset".to_owned(), "-c".to_owned(), core.to_string()]);
        }
        // Each of them becomes the next, so that the process's id is the program's.
        let mut command = match words.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(&program);
                command
            }
            None => Command::new(&program),
        };
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("{} does not start", program.display()))?;
        let pid = child.id().context("the process has ended at once")?;
        let mut stdin = child.stdin.take().context("stdin is piped")?;
        stdin.write_all(input.as_bytes()).await?;
        drop(stdin);
        let mut lines = BufReader::new(child.stdout.take().context("stdout is piped")?).lines();
        let said = tokio::time::timeout(START, async {
            while let Some(line) = lines.next_line().await? {
                if let Some(rest) = line.strip_prefix(prefix) {
                    return Ok(rest.trim().to_owned());
                }
            }
            bail!("{} has ended without saying where it listens", program.display())
        })
        .await
        .context("the process did not say where it listens")??;
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { child: Some(child), pid, said, pin })
    }

    /// One that runs already, to be measured only.
    pub(crate) fn running(pid: u32) -> anyhow::Result<Self> {
        let process = Self { child: None, pid, said: String::new(), pin: None };
        process.cpu().with_context(|| format!("there is no process {pid}"))?;
        Ok(process)
    }

    /// Processor time of all of its threads so far.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).context("the process is gone")?;
        // The name in parentheses may hold anything; user and system time are the 14th and 15th field.
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks: u64 = rest.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Ok(Duration::from_secs_f64(ticks as f64 / TICKS))
    }

    /// Resident memory in bytes.
    pub(crate) fn rss(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).context("the process is gone")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1024)
    }

    pub(crate) async fn stop(mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill().await;
        }
    }
}

/// A program that was built with this one, beside it.
pub(crate) fn beside(name: &str) -> anyhow::Result<PathBuf> {
    let here = std::env::current_exe()?;
    Ok(here.with_file_name(format!("{name}{}", std::env::consts::EXE_SUFFIX)))
}
