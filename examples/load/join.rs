//! How clients come in: the example server's login, its signaling WebSocket, and `room.join` with an own offer; each under a user of its own,
//! for limits are per user and socket. Or through `ringback-client`, whose media stack is the `webrtc` crate.

use std::time::Duration;

use anyhow::{Context, bail};
use ringback_client::{Client, Participant, Publish, ReceivedPacket};
use ringback_transport::dtls::Certificate;
use ringback_transport::ice::IceCredentials;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::offer::{Answer, Lines};
use crate::peer::Setup;
use crate::stamp;

/// The server as its clients know it.
pub(crate) struct Door {
    /// `127.0.0.1:8080`.
    host: String,
    certificate: Certificate,
}

impl Door {
    pub(crate) fn new(host: String) -> anyhow::Result<Self> {
        Ok(Self { host, certificate: Certificate::generate()? })
    }

    /// Logs a name in and opens its session.
    async fn session(&self, name: &str) -> anyhow::Result<Client> {
        let token = login(&self.host, name).await?;
        Client::connect(&format!("ws://{}/v1/ws", self.host), &token).await.with_context(|| format!("{name}'s session"))
    }

    /// Joins a room with what these lines offer. The session must be kept.
    pub(crate) async fn join(&self, name: &str, room: &str, lines: Lines) -> anyhow::Result<(Client, Setup)> {
        let client = self.session(name).await?;
        let setup = self.enter(&client, room, lines).await.with_context(|| format!("{name} joins {room}"))?;
        Ok((client, setup))
    }

    /// Joins by a session that is there already.
    pub(crate) async fn enter(&self, client: &Client, room: &str, lines: Lines) -> anyhow::Result<Setup> {
        let local = IceCredentials::random();
        let fields = json!({ "room": room, "offer": lines.offer(&local, &self.certificate), "tracks": lines.tracks() });
        let joined = client.request("room.join", fields).await?;
        let answer = Answer::parse(joined["answer"].as_str().context("room.join was answered without an answer")?)?;
        Ok(Setup { local, certificate: self.certificate.clone(), answer })
    }

    /// Joins with the other stack.
    pub(crate) async fn join_other(&self, name: &str, room: &str, slots: usize) -> anyhow::Result<Other> {
        let client = self.session(name).await?;
        let participant = client.join(room, Publish { slots, ..Publish::default() }).await?;
        participant.connected(Duration::from_secs(20)).await.with_context(|| format!("{name}'s media"))?;
        let (audio, video) = (participant.on_audio(), participant.on_video());
        Ok(Other { participant, before: (0, 0), checkers: vec![check(audio), check(video)] })
    }
}

/// A receiver on the `webrtc` crate: a bug that this project has at both ends would show here.
pub(crate) struct Other {
    participant: Participant,
    before: (u64, u64),
    checkers: Vec<JoinHandle<(u64, u64)>>,
}

impl Other {
    fn so_far(&self) -> (u64, u64) {
        let slots = self.participant.slots();
        slots
            .iter()
            .fold((0, 0), |(packets, lost), slot| (packets + slot.reception.packets, lost + slot.reception.lost))
    }

    pub(crate) fn mark(&mut self) {
        self.before = self.so_far();
    }

    /// Packets received and lost since the mark.
    pub(crate) fn counted(&self) -> (u64, u64) {
        let (packets, lost) = self.so_far();
        (packets - self.before.0, lost.saturating_sub(self.before.1))
    }

    /// Leaves; packets that were looked into, and those that did not hold what was sent.
    pub(crate) async fn leave(self) -> (u64, u64) {
        let _ = self.participant.leave().await;
        let mut all = (0, 0);
        for checker in self.checkers {
            if let Ok(Ok((seen, wrong))) = tokio::time::timeout(Duration::from_secs(2), checker).await {
                all = (all.0 + seen, all.1 + wrong);
            }
        }
        all
    }
}

fn check(mut packets: mpsc::Receiver<ReceivedPacket>) -> JoinHandle<(u64, u64)> {
    tokio::spawn(async move {
        let (mut seen, mut wrong) = (0, 0);
        // Empty ones are padding that probes.
        while let Some(packet) = packets.recv().await {
            if !packet.payload.is_empty() {
                seen += 1;
                wrong += u64::from(stamp::read(&packet.payload).is_none());
            }
        }
        (seen, wrong)
    })
}

/// The example server's development login.
pub(crate) async fn login(host: &str, name: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(host).await.with_context(|| format!("nobody listens at {host}"))?;
    let body = json!({ "name": name }).to_string();
    let request = format!(
        "POST /login HTTP/1.0\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    let (head, body) = response.split_once("\r\n\r\n").context("the login answered with something that is no HTTP")?;
    if !head.lines().next().unwrap_or_default().contains(" 200") {
        bail!("the login answered {head}");
    }
    let body: Value = serde_json::from_str(body)?;
    body["token"].as_str().map(str::to_owned).context("the login's answer has no token")
}
