//! An engine behind a socket on loopback, and people who ring one another through it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test file uses another part of it")]

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use ringback::{Claims, Engine, EngineBuilder, Grants, LoggedEvent, TokenIssuer, TokenVerifier};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

const SECRET: &[u8] = b"a secret of at least 32 bytes, for tests";

/// Longer than anything here should take, on a machine busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn builder() -> EngineBuilder {
    Engine::builder().media(&["127.0.0.1:0".parse().unwrap()]).tokens(TokenVerifier::hs256(SECRET).unwrap())
}

pub struct House {
    pub engine: Engine,
    address: SocketAddr,
    serving: tokio::task::JoinHandle<()>,
}

impl House {
    pub async fn open(builder: EngineBuilder) -> Self {
        let engine = builder.start().await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = engine.router();
        let serving = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { engine, address, serving }
    }

    pub async fn close(self) {
        self.engine.shutdown(Duration::ZERO).await;
        self.serving.abort();
    }

    /// A session of this user on their only device.
    pub async fn person(&self, user: &str, name: &str) -> Person {
        let claims = Claims::new(user, Duration::from_secs(600)).name(name).grants(Grants::all());
        let token = TokenIssuer::hs256(SECRET).unwrap().issue(&claims).unwrap();
        let url = format!("ws://{}/v1/ws", self.address);
        let (socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        let mut person = Person { socket, next_id: 0 };
        person.ok("hello", json!({ "version": 1, "token": token, "device": "phone" })).await;
        person
    }

    /// One rings the other, who answers or declines. Returns the call's id.
    pub async fn call(&self, caller: &mut Person, callee: &mut Person, to: &str, answer: bool) -> String {
        let call = caller.ok("call.place", json!({ "to": [to], "kind": "voice" })).await["call"].clone();
        let about = json!({ "call": call["id"] });
        callee.ok(if answer { "call.accept" } else { "call.decline" }, about.clone()).await;
        if answer {
            caller.ok("call.hangup", about).await;
        }
        call["id"].as_str().unwrap().to_owned()
    }

    pub async fn logged(&self) -> Vec<LoggedEvent> {
        self.engine.event_log().unwrap().after(0, u32::MAX).await.unwrap().events
    }

    /// Waits until so many events of this kind are in the log.
    pub async fn until_logged(&self, kind: &str, count: usize) {
        let come = async {
            while self.logged().await.iter().filter(|event| event.kind == kind).count() < count {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, come).await.unwrap_or_else(|_| panic!("not {count} times {kind}"));
    }
}

pub struct Person {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next_id: u64,
}

impl Person {
    pub async fn request(&mut self, kind: &str, mut fields: Value) -> Value {
        self.next_id += 1;
        fields["id"] = self.next_id.into();
        fields["type"] = kind.into();
        self.socket.send(Message::text(fields.to_string())).await.unwrap();
        loop {
            let message = timeout(PATIENCE, self.socket.next()).await.unwrap().unwrap().unwrap();
            if let Message::Text(text) = message {
                let value: Value = serde_json::from_str(&text).unwrap();
                if value["re"] == self.next_id {
                    return value;
                }
            }
        }
    }

    /// The next event of this name.
    pub async fn event(&mut self, name: &str) -> Value {
        loop {
            let message = timeout(PATIENCE, self.socket.next()).await.unwrap().unwrap().unwrap();
            if let Message::Text(text) = message {
                let value: Value = serde_json::from_str(&text).unwrap();
                if value["event"] == name {
                    return value;
                }
            }
        }
    }

    pub async fn ok(&mut self, kind: &str, fields: Value) -> Value {
        let answer = self.request(kind, fields).await;
        answer.get("ok").unwrap_or_else(|| panic!("{kind}: {answer}")).clone()
    }
}
