//! The databases that a test runs on: SQLite always, and PostgreSQL where `RINGBACK_POSTGRES_URL` names a server or one is installed, which is then started for the
//! test in a folder of its own.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use sqlx::{Connection, Executor};

/// What must live as long as the database is used.
pub(crate) struct Keep {
    _folder: Option<tempfile::TempDir>,
    _server: Option<Server>,
}

/// The URLs of empty databases, to run the same test on each.
pub(crate) async fn databases(test: &str) -> Vec<(String, Keep)> {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = format!("sqlite://{}", folder.path().join("test.sqlite").display());
    let mut databases = vec![(sqlite, Keep { _folder: Some(folder), _server: None })];
    let server = match std::env::var("RINGBACK_POSTGRES_URL") {
        Ok(url) => Some((url, None)),
        Err(_) => Server::start().map(|server| (server.url.clone(), Some(server))),
    };
    match server {
        Some((url, server)) => {
            let mut admin = sqlx::PgConnection::connect(&url).await.unwrap();
            admin.execute(format!("DROP DATABASE IF EXISTS ringback_{test}").as_str()).await.unwrap();
            admin.execute(format!("CREATE DATABASE ringback_{test}").as_str()).await.unwrap();
            let (base, _) = url.rsplit_once('/').unwrap();
            databases.push((format!("{base}/ringback_{test}"), Keep { _folder: None, _server: server }));
        }
        None => {
            let required = std::env::var_os("RINGBACK_REQUIRE_POSTGRES").is_some_and(|value| value == "1");
            assert!(!required, "{test}: PostgreSQL is required");
            use std::io::Write;
            let _ = writeln!(std::io::stderr(), "SKIPPED {test} on PostgreSQL: none found");
        }
    }
    databases
}

/// A PostgreSQL server of our own, on a free loopback port.
struct Server {
    url: String,
    bin: PathBuf,
    folder: tempfile::TempDir,
}

/// PostgreSQL refuses to run as root: then as whom the package made for it.
fn command(program: PathBuf) -> Command {
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    if !root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command
}

impl Server {
    fn start() -> Option<Self> {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
        let bin = versions
            .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
            .find(|bin| bin.join("initdb").exists())?;
        let folder = tempfile::tempdir().unwrap();
        // Only root may, and only root must.
        let _ = Command::new("chown").arg("postgres").arg(folder.path()).stderr(Stdio::null()).status();
        let mut init = command(bin.join("initdb"));
        init.arg("-D").arg(folder.path().join("data")).args(["-U", "ringback", "-A", "trust", "--no-sync"]);
        assert!(init.stdout(Stdio::null()).status().unwrap().success(), "initdb failed");
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Self { url: format!("postgres://ringback@127.0.0.1:{port}/postgres"), bin, folder };
        let options = format!("-h 127.0.0.1 -p {port} -k {} -F", server.folder.path().display());
        let log = server.folder.path().join("log").display().to_string();
        let started = server.control(&["-w", "-l", &log, "-o", &options, "start"]);
        assert!(started, "PostgreSQL did not start");
        Some(server)
    }

    fn control(&self, arguments: &[&str]) -> bool {
        let mut control = command(self.bin.join("pg_ctl"));
        control.arg("-D").arg(self.folder.path().join("data")).args(arguments);
        control.stdout(Stdio::null()).status().is_ok_and(|status| status.success())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.control(&["-m", "immediate", "stop"]);
    }
}
