//! Janus (Debian's package `janus` 1.1) as a target: a process with a configuration of its own that has nothing but the VideoRoom plugin and
//! the WebSocket transport, and its API: a publisher offers and Janus answers, a subscriber answers Janus's offer, and each is a connection of
//! its own. ICE-lite, as our server is, so that both get the same clients.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use ringback_transport::dtls::Certificate;
use ringback_transport::ice::IceCredentials;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest, http::HeaderValue};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::namespace::NEIGHBOUR;
use crate::offer::{Answer, Lines, answer_to};
use crate::peer::Setup;
use crate::process::{Pin, Process};

/// Where Debian has its plugins, by architecture.
const LIBRARIES: [&str; 2] = ["/usr/lib/x86_64-linux-gnu/janus", "/usr/lib/aarch64-linux-gnu/janus"];

/// How long a publisher may take to be one.
const PUBLISHING: Duration = Duration::from_secs(15);

/// Starts Janus with its files in `folder`, and opens a session. `event_loops`: 0, a thread for each connection, is as it is installed.
pub(crate) async fn start(event_loops: usize, pin: Pin, folder: &Path) -> anyhow::Result<(Process, Janus)> {
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    write_configuration(event_loops, port, folder)?;
    let program = PathBuf::from("/usr/bin/janus");
    let words = ["-F", &folder.display().to_string()];
    let process = Process::start(&[], program, &words, "", "Websockets server started", pin)
        .await
        .context("Janus (Debian: apt install janus)")?;
    let janus = Janus::connect(port).await?;
    Ok((process, janus))
}

fn write_configuration(event_loops: usize, port: u16, folder: &Path) -> anyhow::Result<()> {
    let libraries =
        LIBRARIES.iter().map(Path::new).find(|path| path.is_dir()).context("Janus's plugins are not there")?;
    for (kind, library) in [("plugins", "libjanus_videoroom.so"), ("transports", "libjanus_websockets.so")] {
        let here = folder.join(kind);
        std::fs::create_dir_all(&here)?;
        std::os::unix::fs::symlink(libraries.join(kind).join(library), here.join(library))?;
    }
    let (here, none) = (folder.display(), folder.join("none"));
    std::fs::create_dir_all(&none)?;
    let loops = if event_loops == 0 { String::new() } else { format!("event_loops = {event_loops}") };
    let general = format!(
        "general: {{\nconfigs_folder = \"{here}\"\nplugins_folder = \"{here}/plugins\"\ntransports_folder = \"{here}/transports\"\n\
         events_folder = \"{here}/none\"\nloggers_folder = \"{here}/none\"\ndebug_level = 4\ndebug_colors = false\nsession_timeout = 0\n{loops}\n}}\n\
         nat: {{\nice_lite = true\nice_enforce_list = \"{NEIGHBOUR}\"\n}}\n"
    );
    std::fs::write(folder.join("janus.jcfg"), general)?;
    let transport = format!("general: {{\nws = true\nws_port = {port}\nws_ip = \"127.0.0.1\"\n}}\n");
    std::fs::write(folder.join("janus.transport.websockets.jcfg"), transport)?;
    std::fs::write(folder.join("janus.plugin.videoroom.jcfg"), "general: {}\n")?;
    Ok(())
}

/// One session of Janus's API, which all clients share.
pub(crate) struct Janus {
    socket: Mutex<WebSocketStream<MaybeTlsStream<TcpStream>>>,
    session: u64,
    transactions: AtomicU64,
    /// The publishers of each room.
    feeds: Mutex<HashMap<usize, Vec<u64>>>,
    /// How many have subscribed.
    subscribed: AtomicU64,
    certificate: Certificate,
}

impl Janus {
    async fn connect(port: u16) -> anyhow::Result<Self> {
        let mut request = format!("ws://127.0.0.1:{port}/").into_client_request()?;
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("janus-protocol"));
        let (socket, _) = tokio_tungstenite::connect_async(request).await?;
        let mut janus = Self {
            socket: Mutex::new(socket),
            session: 0,
            transactions: AtomicU64::default(),
            feeds: Mutex::default(),
            subscribed: AtomicU64::default(),
            certificate: Certificate::generate()?,
        };
        let created = janus.request(json!({ "janus": "create" })).await?;
        janus.session = created["data"]["id"].as_u64().context("a session without an id")?;
        Ok(janus)
    }

    /// Sends a request and waits for what comes of it.
    async fn request(&self, mut message: Value) -> anyhow::Result<Value> {
        let transaction = self.transactions.fetch_add(1, Ordering::Relaxed).to_string();
        message["transaction"] = json!(transaction);
        if self.session != 0 {
            message["session_id"] = json!(self.session);
        }
        let mut socket = self.socket.lock().await;
        socket.send(Message::text(message.to_string())).await?;
        loop {
            let Message::Text(text) = socket.next().await.context("Janus has hung up")?? else { continue };
            let answer: Value = serde_json::from_str(&text)?;
            // What it tells of by itself is not asked for.
            if answer["transaction"] != transaction.as_str() || answer["janus"] == "ack" {
                continue;
            }
            let (refused, failed) = (&answer["error"]["reason"], &answer["plugindata"]["data"]["error"]);
            if let Some(reason) = refused.as_str().or(failed.as_str()) {
                bail!("Janus refuses: {reason}");
            }
            return Ok(answer);
        }
    }

    async fn message(&self, handle: u64, body: Value, jsep: Option<Value>) -> anyhow::Result<Value> {
        let mut message = json!({ "janus": "message", "handle_id": handle, "body": body });
        if let Some(jsep) = jsep {
            message["jsep"] = jsep;
        }
        self.request(message).await
    }

    /// Publishes what these lines offer, or subscribes to as many publishers as they have pairs; the handle.
    pub(crate) async fn join(&self, room: usize, lines: Lines) -> anyhow::Result<(u64, Setup)> {
        let attached = self.request(json!({ "janus": "attach", "plugin": "janus.plugin.videoroom" })).await?;
        let handle = attached["data"]["id"].as_u64().context("a handle without an id")?;
        let local = IceCredentials::random();
        let answer = match lines.microphone || lines.camera {
            true => self.publish(handle, room, lines, &local).await?,
            false => self.subscribe(handle, room, lines.pairs, &local).await?,
        };
        Ok((handle, Setup { local, certificate: self.certificate.clone(), answer }))
    }

    async fn publish(&self, handle: u64, room: usize, lines: Lines, local: &IceCredentials) -> anyhow::Result<Answer> {
        let number = room + 1;
        let mut feeds = self.feeds.lock().await;
        if !feeds.contains_key(&room) {
            let create = json!({ "request": "create", "room": number, "publishers": 1000, "bitrate": 0, "fir_freq": 0,
                "audiocodec": "opus", "videocodec": "vp8" });
            self.message(handle, create, None).await?;
        }
        let join = json!({ "request": "joinandconfigure", "ptype": "publisher", "room": number });
        let sdp = with_candidate(&lines.offer(local, &self.certificate));
        let jsep = json!({ "type": "offer", "sdp": sdp, "trickle": false });
        let joined = self.message(handle, join, Some(jsep)).await?;
        let feed = joined["plugindata"]["data"]["id"].as_u64().context("a publisher without an id")?;
        feeds.entry(room).or_default().push(feed);
        Answer::parse(joined["jsep"]["sdp"].as_str().context("it was answered without an answer")?)
    }

    async fn subscribe(
        &self,
        handle: u64,
        room: usize,
        pairs: usize,
        local: &IceCredentials,
    ) -> anyhow::Result<Answer> {
        let feeds = self.feeds.lock().await.get(&room).cloned().unwrap_or_default();
        // In a meeting everybody leaves out another one.
        let skip = self.subscribed.fetch_add(1, Ordering::Relaxed) as usize % feeds.len().max(1);
        let streams: Vec<Value> =
            feeds.iter().cycle().skip(skip).take(pairs.min(feeds.len())).map(|feed| json!({ "feed": feed })).collect();
        let join = json!({ "request": "join", "ptype": "subscriber", "room": room + 1, "streams": streams });
        let began = Instant::now();
        // A publisher can be subscribed to once its media is there, of which Janus tells nobody in time.
        let offered = loop {
            match self.message(handle, join.clone(), None).await {
                Err(error) if began.elapsed() < PUBLISHING && error.to_string().contains("No such feed") => {}
                offered => break offered?,
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let offer = offered["jsep"]["sdp"].as_str().context("it was joined without an offer")?;
        let jsep = json!({ "type": "answer", "sdp": with_candidate(&answer_to(offer, local, &self.certificate)), "trickle": false });
        self.message(handle, json!({ "request": "start" }), Some(jsep)).await?;
        Answer::parse(offer)
    }

    pub(crate) async fn leave(&self, handle: u64) -> anyhow::Result<()> {
        self.request(json!({ "janus": "detach", "handle_id": handle })).await?;
        Ok(())
    }
}

/// Janus begins with ICE once it knows a candidate, whichever; ours is found by its checks.
fn with_candidate(sdp: &str) -> String {
    let line = "c=IN IP4 0.0.0.0\r\n";
    sdp.replacen(line, &format!("{line}a=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host\r\n"), 1)
}
