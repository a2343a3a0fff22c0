//! The example server is killed (SIGKILL) again and again while somebody rings and gives up: each missed call that is in the log is told of in the end, in one notification, and no revision of it was
//! decided on twice. Eight kills; `RINGBACK_LONG=1` makes it forty, and `RINGBACK_SEED` repeats a run.
#![allow(clippy::unwrap_used)]

mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ringback_client::{CallKind, Client};
use ringback_recorder::{EventLog, LoggedEvent, NotificationRows, Store};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

const SOON: Duration = Duration::from_secs(30);

/// The example server on a folder that outlives it.
struct Process {
    process: Child,
    address: String,
}

impl Process {
    async fn start(data: &Path) -> Self {
        let mut process = Command::new(server::example("sfu").unwrap())
            .args(["--listen", "127.0.0.1:0", "--media", "127.0.0.1:0", "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let link = tokio::time::timeout(SOON, async {
            loop {
                let line = lines.next_line().await.unwrap().expect("the server ended without printing its link");
                if let Some(link) = line.strip_prefix("Ringback: http://") {
                    return link.trim_end_matches('/').to_owned();
                }
            }
        });
        let address = link.await.unwrap();
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { process, address }
    }

    async fn client(&self, name: &str) -> Client {
        let body = json!({ "name": name }).to_string();
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let head =
            format!("POST /login HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let login: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        let url = format!("ws://{}/v1/ws", self.address);
        Client::connect(&url, login["token"].as_str().unwrap()).await.unwrap()
    }

    async fn kill(mut self) {
        self.process.start_kill().unwrap();
        self.process.wait().await.unwrap();
    }
}

/// Rings and gives up for as long as the server is there.
async fn ring(ann: Client) {
    while let Ok(call) = ann.place(&["ben"], CallKind::Voice).await {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if ann.cancel(&call.id).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn log(data: &Path) -> (Vec<LoggedEvent>, NotificationRows) {
    let store = Store::open(&format!("sqlite://{}", data.join("ringback.sqlite").display())).await.unwrap();
    let events = EventLog::new(store.clone()).after(0, u32::MAX).await.unwrap().events;
    (events, NotificationRows::new(store))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missed_call_is_told_of_once_whatever_moment_the_server_is_killed_at() {
    let kills = if std::env::var_os("RINGBACK_LONG").is_some_and(|value| value == "1") { 40 } else { 8 };
    let seed: u64 = std::env::var("RINGBACK_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("RINGBACK_SEED={seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..kills {
        let server = Process::start(folder.path()).await;
        let ringing = tokio::spawn(ring(server.client("Ann").await));
        tokio::time::sleep(Duration::from_millis(dice.random_range(30..900))).await;
        server.kill().await;
        ringing.await.unwrap();
    }
    let server = Process::start(folder.path()).await;
    let told = async {
        loop {
            let (events, rows) = log(folder.path()).await;
            let missed = events.iter().filter(|event| event.kind == "call.ended").count();
            let page = rows.list("ben", None, 10_000, false).await.unwrap();
            let all = page.rows.len() == missed && page.rows.iter().all(|row| row.notification.is_some());
            if all && missed > 0 && rows.untold("ben").await.unwrap().is_empty() {
                return (events, page.rows);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let (events, rows) = tokio::time::timeout(SOON, told).await.expect("every missed call is told of");
    server.kill().await;

    let ended: BTreeSet<_> = events
        .iter()
        .filter(|event| event.kind == "call.ended")
        .map(|event| event.body["call"]["id"].as_str().unwrap())
        .collect();
    let kept: BTreeSet<_> = rows.iter().map(|row| row.body["call"].as_str().unwrap()).collect();
    assert_eq!(kept, ended);
    // One person's calls, all within the window: one notification, each of whose revisions was decided on once.
    assert_eq!(rows.iter().map(|row| row.notification.as_ref().unwrap()).collect::<BTreeSet<_>>().len(), 1);
    let mut revisions: BTreeMap<u64, usize> = BTreeMap::new();
    for event in events.iter().filter(|event| event.kind == "notification.shown") {
        *revisions.entry(event.body["notification"]["revision"].as_u64().unwrap()).or_default() += 1;
    }
    assert!(revisions.values().all(|count| *count == 1), "{revisions:?}");
    println!("{kills} kills, {} missed calls, {} revisions", ended.len(), revisions.len());
}
