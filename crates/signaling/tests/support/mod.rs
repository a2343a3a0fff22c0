//! A server on loopback with a media side that only takes notes, and a client that speaks the protocol by hand.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use ringback_signaling::hooks::Hooks;
use ringback_signaling::media::{BoxFuture, Media, MediaAnswer, MediaError, MediaOffer};
use ringback_signaling::protocol::{ErrorCode, MediaKind, SlotInfo, SlotView, Source};
use ringback_signaling::token::{Claims, Grants, TokenIssuer, TokenVerifier};
use ringback_signaling::{Signaling, SignalingConfig};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

pub const SECRET: &[u8] = b"a secret of at least 32 bytes, for tests";
/// Longer than anything here should take, on a machine busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Takes notes of what it is asked. An offer `"slow"` takes a second, `"bad"` is refused, `"panic"` panics, `"hang"` never returns;
/// the session name of an offer that is SDP does the same, and `s=partial` refuses the camera.
#[derive(Default)]
pub struct FakeMedia {
    notes: Mutex<Vec<String>>,
}

impl FakeMedia {
    fn note<'a>(&'a self, note: String) -> BoxFuture<'a, Result<(), MediaError>> {
        self.notes.lock().unwrap().push(note);
        Box::pin(async { Ok(()) })
    }

    pub fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap().clone()
    }

    /// Waits until a note that starts like this was taken.
    pub async fn wait_for(&self, start: &str) {
        let seen = async {
            while !self.notes().iter().any(|note| note.starts_with(start)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, seen).await.unwrap_or_else(|_| panic!("no {start:?} in {:?}", self.notes()));
    }

    fn answer<'a>(&'a self, note: String, offer: MediaOffer) -> BoxFuture<'a, Result<MediaAnswer, MediaError>> {
        Box::pin(async move {
            let name = offer.sdp.lines().find_map(|line| line.strip_prefix("s="));
            match name.unwrap_or(&offer.sdp) {
                "slow" => tokio::time::sleep(Duration::from_secs(1)).await,
                "bad" => {
                    return Err(MediaError::new(ErrorCode::BadOffer, "m-line 3: no usable codec; VP8 was expected"));
                }
                "panic" => panic!("as the test wants it"),
                "hang" => std::future::pending().await,
                _ => {}
            }
            self.notes.lock().unwrap().push(note);
            let slots = vec![SlotInfo { mid: "3".into(), kind: MediaKind::Audio, pair: Some(0) }];
            let answer = format!("answer to {}", offer.sdp);
            let answer = if name == Some("partial") { answer.replace("m=video 9", "m=video 0") } else { answer };
            Ok(MediaAnswer { answer, slots })
        })
    }
}

impl Media for FakeMedia {
    fn open_room<'a>(&'a self, room: &'a str) -> BoxFuture<'a, Result<(), MediaError>> {
        if room == "broken" {
            return Box::pin(async { Err(MediaError::new(ErrorCode::Unavailable, "no worker left")) });
        }
        self.note(format!("open {room}"))
    }

    fn close_room<'a>(&'a self, room: &'a str) -> BoxFuture<'a, Result<(), MediaError>> {
        self.note(format!("close {room}"))
    }

    fn join<'a>(
        &'a self,
        room: &'a str,
        who: &'a str,
        offer: MediaOffer,
    ) -> BoxFuture<'a, Result<MediaAnswer, MediaError>> {
        self.answer(format!("join {room} {who}"), offer)
    }

    fn offer<'a>(
        &'a self,
        room: &'a str,
        who: &'a str,
        offer: MediaOffer,
    ) -> BoxFuture<'a, Result<MediaAnswer, MediaError>> {
        self.answer(format!("offer {room} {who}"), offer)
    }

    fn leave<'a>(&'a self, room: &'a str, who: &'a str) -> BoxFuture<'a, Result<(), MediaError>> {
        self.note(format!("leave {room} {who}"))
    }

    fn set_muted<'a>(
        &'a self,
        room: &'a str,
        who: &'a str,
        source: Source,
        muted: bool,
    ) -> BoxFuture<'a, Result<(), MediaError>> {
        self.note(format!("mute {room} {who} {source:?} {muted}"))
    }

    fn set_view<'a>(
        &'a self,
        room: &'a str,
        who: &'a str,
        view: Vec<SlotView>,
    ) -> BoxFuture<'a, Result<(), MediaError>> {
        self.note(format!("view {room} {who} {}", view.len()))
    }

    fn set_pin<'a>(
        &'a self,
        room: &'a str,
        who: &'a str,
        pin: Option<&'a str>,
    ) -> BoxFuture<'a, Result<(), MediaError>> {
        self.note(format!("pin {room} {who} {pin:?}"))
    }

    fn play_only<'a>(&'a self, room: &'a str, who: &'a str, only: &'a str) -> BoxFuture<'a, Result<(), MediaError>> {
        self.note(format!("play {room} {who} only {only}"))
    }
}

pub struct Server {
    pub signaling: Signaling,
    pub media: Arc<FakeMedia>,
    pub address: std::net::SocketAddr,
}

pub fn config() -> SignalingConfig {
    SignalingConfig::new(TokenVerifier::hs256(SECRET).unwrap().leeway(Duration::ZERO))
}

pub fn token(user: &str, lifetime: Duration, grants: Grants) -> String {
    let claims = Claims::new(user, lifetime).name(user.to_uppercase()).grants(grants);
    TokenIssuer::hs256(SECRET).unwrap().issue(&claims).unwrap()
}

/// A token to call and to see who is there.
pub fn caller_token(user: &str) -> String {
    token(user, Duration::from_secs(600), Grants { call: true, list: true, rooms: Vec::new() })
}

impl Server {
    pub async fn start() -> Self {
        Self::with(config(), Hooks::default()).await
    }

    pub async fn with(config: SignalingConfig, hooks: Hooks) -> Self {
        let media = Arc::new(FakeMedia::default());
        let signaling = Signaling::start(config, media.clone(), hooks);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = axum::Router::new().nest("/ring", signaling.router());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { signaling, media, address }
    }

    pub fn url(&self) -> String {
        format!("ws://{}/ring/v1/ws", self.address)
    }

    /// A socket that has said nothing yet.
    pub async fn connect(&self) -> Client {
        let (socket, _) = tokio_tungstenite::connect_async(self.url()).await.unwrap();
        Client::new(socket)
    }

    /// A session of `user/device` with the grants to call and list.
    pub async fn client(&self, who: &str) -> Client {
        let user = who.split('/').next().unwrap();
        self.client_with(who, &caller_token(user)).await
    }

    pub async fn client_with(&self, who: &str, token: &str) -> Client {
        let (_, device) = who.split_once('/').unwrap();
        let mut client = self.connect().await;
        let hello = client.request("hello", json!({"version": 1, "token": token, "device": device})).await;
        assert!(hello.get("ok").is_some(), "{hello}");
        client.hello = hello["ok"].clone();
        client
    }
}

pub struct Client {
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub hello: Value,
    next_id: u64,
    events: VecDeque<Value>,
    answers: VecDeque<Value>,
    seq: u64,
}

impl Client {
    pub fn new(socket: WebSocketStream<MaybeTlsStream<TcpStream>>) -> Self {
        Self { socket, hello: Value::Null, next_id: 0, events: VecDeque::new(), answers: VecDeque::new(), seq: 0 }
    }

    /// The next event has the number after this one.
    pub fn goes_on_from(&mut self, seq: u64) {
        assert!(self.events.is_empty(), "{:?}", self.events);
        self.seq = seq;
    }

    /// Sends a request without waiting for its answer; returns its id.
    pub async fn send(&mut self, kind: &str, mut fields: Value) -> u64 {
        self.next_id += 1;
        fields["id"] = self.next_id.into();
        fields["type"] = kind.into();
        self.socket.send(Message::text(fields.to_string())).await.unwrap();
        self.next_id
    }

    pub async fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// Sends a request and returns the whole answer.
    pub async fn request(&mut self, kind: &str, fields: Value) -> Value {
        let id = self.send(kind, fields).await;
        self.answer(id).await
    }

    /// Sends a request that must succeed, and returns its `ok`.
    pub async fn ok(&mut self, kind: &str, fields: Value) -> Value {
        let answer = self.request(kind, fields).await;
        answer.get("ok").unwrap_or_else(|| panic!("{kind}: {answer}")).clone()
    }

    /// Sends a request that must be refused, and returns the error's code.
    pub async fn refused(&mut self, kind: &str, fields: Value) -> String {
        let answer = self.request(kind, fields).await;
        answer["error"]["code"].as_str().unwrap_or_else(|| panic!("{kind}: {answer}")).to_owned()
    }

    /// Places a call and returns it.
    pub async fn place(&mut self, to: &str) -> Value {
        self.ok("call.place", json!({"to": [to], "kind": "voice"})).await["call"].clone()
    }

    pub async fn answer(&mut self, id: u64) -> Value {
        loop {
            if let Some(index) = self.answers.iter().position(|answer| answer["re"] == id) {
                return self.answers.remove(index).unwrap();
            }
            self.read().await.unwrap_or_else(|close| panic!("closed with {close:?} before answer {id}"));
        }
    }

    /// The next event of that name; others before it are skipped.
    pub async fn event(&mut self, name: &str) -> Value {
        loop {
            while let Some(event) = self.events.pop_front() {
                if event["event"] == name {
                    return event;
                }
            }
            self.read().await.unwrap_or_else(|close| panic!("closed with {close:?} before event {name}"));
        }
    }

    /// The next changes of a roster, but for one's own coming, of which one may be told together with others'.
    pub async fn roster(&mut self) -> Value {
        loop {
            let mut roster = self.event("room.roster").await;
            let me = self.hello["user"].clone();
            roster["joined"].as_array_mut().unwrap().retain(|one| one["user"] != me);
            if ["joined", "left", "changed"].iter().any(|list| roster[list] != json!([])) {
                return roster;
            }
        }
    }

    /// All events that arrive within this time.
    pub async fn events_within(&mut self, time: Duration) -> Vec<Value> {
        let _ = timeout(time, async { while self.read().await.is_ok() {} }).await;
        self.events.drain(..).collect()
    }

    /// Reads one frame into the queues; an error is the close code.
    pub async fn read(&mut self) -> Result<(), Option<u16>> {
        loop {
            let message = timeout(PATIENCE, self.socket.next()).await.expect("nothing came in time");
            match message {
                Some(Ok(Message::Text(text))) => {
                    let value: Value = serde_json::from_str(&text).unwrap();
                    if value.get("re").is_some() {
                        self.answers.push_back(value);
                    } else {
                        self.seq += 1;
                        assert_eq!(value["seq"], self.seq, "events are numbered without gaps");
                        self.events.push_back(value);
                    }
                    return Ok(());
                }
                Some(Ok(Message::Close(frame))) => return Err(frame.map(|frame| frame.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(None),
            }
        }
    }

    /// Reads on until the socket is closed, and returns the code.
    pub async fn closed(&mut self) -> Option<u16> {
        loop {
            if let Err(code) = self.read().await {
                return code;
            }
        }
    }
}
