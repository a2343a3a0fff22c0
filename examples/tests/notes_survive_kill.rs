//! The example server is killed (SIGKILL) at a random moment while it records a note, and started again on the same folder: the caller finds a playable draft, which misses
//! at most a second of what their client logged as sent. Two rounds; `RINGBACK_LONG=1` makes it twenty, and `RINGBACK_SEED` repeats a run.
#![allow(clippy::unwrap_used)]

mod packet_log;
mod server;

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use packet_log::{FRAME, ogg, position, sweep};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ringback_client::{AudioSource, CallKind, Client, Event, PacketLog, Publish};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

const SOON: Duration = Duration::from_secs(20);

/// What a draft may miss of what was sent.
const MISSES: Duration = Duration::from_secs(1);

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

    /// One plain HTTP/1.0 request needs no HTTP client; the body of the answer, which must be 200.
    async fn http(&self, request: &str, headers: &str, body: &str) -> Vec<u8> {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let length = body.len();
        let request = format!("{request} HTTP/1.0\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = Vec::new();
        stream.read_to_end(&mut response).await.unwrap();
        let end = response.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let body = response.split_off(end + 4);
        let head = String::from_utf8_lossy(&response);
        assert!(head.contains(" 200 "), "{request}: {head}");
        body
    }

    async fn login(&self, name: &str) -> String {
        let body = json!({ "name": name }).to_string();
        let answer = self.http("POST /login", "Content-Type: application/json\r\n", &body).await;
        serde_json::from_slice::<Value>(&answer).unwrap()["token"].as_str().unwrap().to_owned()
    }

    async fn client(&self, name: &str) -> Client {
        let url = format!("ws://{}/v1/ws", self.address);
        Client::connect(&url, &self.login(name).await).await.unwrap()
    }
}

/// Records a note, kills the server after a while and starts another one; how much the draft misses.
async fn killed(after: Duration) -> Duration {
    let folder = tempfile::tempdir().unwrap();
    let (data, sound) = (folder.path().join("data"), folder.path().join("sweep.wav"));
    sweep(&sound);
    let mut server = Process::start(&data).await;
    let (ben, ann) = (server.client("Ben").await, server.client("Ann").await);
    let (mut bens, mut anns) = (ben.events(), ann.events());
    let call = ann.place(&["ben"], CallKind::Voice).await.unwrap();
    let log = PacketLog::default();
    let publish =
        Publish { audio: Some(AudioSource::Wav(sound)), slots: 1, log: Some(log.clone()), ..Publish::default() };
    let participant = ann.join(&call.room, publish).await.unwrap();
    participant.connected(SOON).await.unwrap();
    bens.wait_for(SOON, |event| matches!(event, Event::CallIncoming { .. }).then_some(())).await.unwrap();
    ben.decline(&call.id).await.unwrap();
    let offered = anns.wait_for(SOON, |event| match event {
        Event::Note { note, .. } if note["state"] == "offered" => note["id"].as_str().map(str::to_owned),
        _ => None,
    });
    let note = offered.await.expect("ben does not want to talk, and a note is offered");
    ann.request("note.record", json!({ "note": note, "skip_countdown": true })).await.unwrap();
    let began = Instant::now();
    tokio::time::sleep(after).await;
    server.process.start_kill().unwrap();
    let died = Instant::now();
    server.process.wait().await.unwrap();
    let log: Vec<_> = log.packets().into_iter().filter(|packet| packet.at <= died).collect();
    drop(participant);

    let server = Process::start(&data).await;
    let token = server.login("Ann").await;
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let answer = server.http(&format!("GET /v1/notes/{note}"), &bearer, "").await;
    let draft = serde_json::from_slice::<Value>(&answer).unwrap()["note"].take();
    assert_eq!((draft["state"].as_str(), draft["room"].as_str()), (Some("draft"), None), "{draft}");
    let file = server.http(&format!("GET /{}", draft["url"].as_str().unwrap()), "", "").await;
    assert_eq!(draft["size"].as_u64(), Some(file.len() as u64));
    plays(&file, folder.path());

    let (packets, _, end) = ogg(&file);
    let at = position(&log, &packets).expect("what is kept is a stretch of what was sent, none missing");
    let last = at + packets.len() - 1;
    let media = u64::from(log[last].timestamp.wrapping_sub(log[at].timestamp)) + FRAME;
    assert!(media.abs_diff(end) <= 48, "the clock of the file drifts: {media} samples sent, {end} in the file");
    // From when the client was told that it is recorded to when nothing was recorded any more.
    let missed = log[at].at.saturating_duration_since(began) + log[log.len() - 1].at.duration_since(log[last].at);
    assert!(missed <= MISSES, "{} ms are missing", missed.as_millis());

    // It is a draft like any other.
    let ann = server.client("Ann").await;
    let sent = ann.request("note.send", json!({ "note": note })).await.unwrap();
    assert_eq!(sent["note"]["state"], "sent");
    missed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_while_it_records_has_the_draft_when_it_is_back() {
    let rounds = if std::env::var_os("RINGBACK_LONG").is_some_and(|value| value == "1") { 20 } else { 2 };
    let seed: u64 = std::env::var("RINGBACK_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("RINGBACK_SEED={seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let mut most = Duration::ZERO;
    for round in 1..=rounds {
        // Shorter takes are no notes: 1 s may be missing, and what is left must be long enough to be one.
        let after = Duration::from_millis(dice.random_range(1_500..8_000));
        let missed = killed(after).await;
        println!("round {round}: killed after {} ms, the draft misses {} ms", after.as_millis(), missed.as_millis());
        most = most.max(missed);
    }
    println!("{rounds} kills, at most {} ms missed", most.as_millis());
}

/// FFmpeg, where it is found, has nothing to say about the file.
fn plays(file: &[u8], folder: &Path) {
    let path = folder.join("draft.ogg");
    std::fs::write(&path, file).unwrap();
    let mut ffmpeg = std::process::Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-xerror", "-i"]).arg(&path).args(["-f", "null", "-"]);
    match ffmpeg.output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && said.is_empty(), "{said}");
        }
        Err(error) => {
            let required = std::env::var_os("RINGBACK_REQUIRE_BROWSER").is_some_and(|value| value == "1");
            assert!(!required, "ffmpeg is required: {error}");
        }
    }
}
