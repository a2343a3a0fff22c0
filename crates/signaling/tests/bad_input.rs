//! What clients do wrong is answered clearly, and costs nobody else anything.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use futures_util::SinkExt;
use ringback_signaling::media::MediaEvent;
use ringback_signaling::rate::Rate;
use serde_json::{Value, json};
use support::{Client, PATIENCE, Server, caller_token, config};
use tokio_tungstenite::tungstenite::Message;

async fn refusal(client: &mut Client, text: &str, re: u64) -> (String, String) {
    client.send_text(text).await;
    let answer = client.answer(re).await;
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    (text(&answer["error"]["code"]), text(&answer["error"]["message"]))
}

#[tokio::test]
async fn what_is_not_a_request_is_answered_with_what_is_wrong() {
    let server = Server::start().await;
    let mut ann = server.client("ann/pc").await;
    let cases = [
        ("nonsense", 0, "bad_json", "JSON"),
        ("[1]", 0, "bad_json", "object"),
        (r#"{"type": "ping"}"#, 0, "bad_request", "id"),
        (r#"{"id": -1, "type": "ping"}"#, 0, "bad_request", "id"),
        (r#"{"id": 1.5, "type": "ping"}"#, 0, "bad_request", "id"),
        (r#"{"id": 101}"#, 101, "bad_request", "type"),
        (r#"{"id": 102, "type": "call.dance"}"#, 102, "unknown_type", "call.dance"),
        (r#"{"id": 103, "type": "call.place", "kind": "voice"}"#, 103, "bad_request", "`to`"),
        (r#"{"id": 104, "type": "call.place", "to": "ben", "kind": "voice"}"#, 104, "bad_request", "to"),
        (r#"{"id": 105, "type": "call.place", "to": [7], "kind": "voice"}"#, 105, "bad_request", "to[0]"),
        (r#"{"id": 106, "type": "call.place", "to": [], "kind": "voice"}"#, 106, "bad_request", "to"),
        (r#"{"id": 107, "type": "call.place", "to": ["ann"], "kind": "voice"}"#, 107, "bad_request", "to[0]"),
        (r#"{"id": 108, "type": "call.place", "to": ["ben"], "kind": "smell"}"#, 108, "bad_request", "kind"),
        (r#"{"id": 109, "type": "room.pin", "room": "r"}"#, 109, "bad_request", "participant"),
        (
            r#"{"id": 110, "type": "room.join", "room": "r", "offer": "o", "tracks": [{"mid": "0", "source": "nose"}]}"#,
            110,
            "bad_request",
            "tracks[0].source",
        ),
        (r#"{"id": 111, "type": "call.accept", "call": "c_none"}"#, 111, "not_found", "call"),
        (r#"{"id": 112, "type": "room.leave", "room": "r"}"#, 112, "not_found", "room"),
        (r#"{"id": 113, "type": "hello", "version": 1, "token": "x"}"#, 113, "conflict", "hello"),
    ];
    for (text, re, code, named) in cases {
        let (got, message) = refusal(&mut ann, text, re).await;
        assert_eq!(got, code, "{text}: {message}");
        assert!(message.contains(named), "{text}: {message:?} does not name {named:?}");
    }
    ann.socket.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    assert_eq!(ann.answer(0).await["error"]["code"], "bad_json");
    ann.ok("ping", json!({"unknown": "fields are ignored"})).await;
}

#[tokio::test]
async fn a_frame_that_is_too_large_is_refused() {
    let server = Server::start().await;
    let mut ann = server.client("ann/pc").await;
    let large = |bytes| json!({"id": 7, "type": "ping", "padding": "x".repeat(bytes)}).to_string();
    ann.send_text(&large(200_000)).await;
    assert!(ann.answer(7).await.get("ok").is_some());
    let (code, _) = refusal(&mut ann, &large(300_000), 0).await;
    assert_eq!(code, "too_large");
    ann.ok("ping", json!({})).await;
    // Far too large is not read to its end.
    let _ = ann.socket.send(Message::text(large(2_000_000))).await;
    assert_eq!(ann.answer(0).await["error"]["code"], "too_large");
    assert_eq!(ann.closed().await, Some(1009));
}

#[tokio::test]
async fn hello_comes_first_and_in_time() {
    let server = Server::with(config().hello_within(Duration::from_millis(200)), Default::default()).await;
    let mut eager = server.connect().await;
    assert_eq!(eager.refused("call.place", json!({"to": ["ben"], "kind": "voice"})).await, "bad_request");
    assert_eq!(eager.closed().await, Some(4400));
    let mut old = server.connect().await;
    let hello = json!({"version": 9, "token": caller_token("ann")});
    assert_eq!(old.refused("hello", hello).await, "unsupported_version");
    assert_eq!(old.closed().await, Some(4400));
    let mut mute = server.connect().await;
    assert_eq!(mute.closed().await, Some(4400));
}

#[tokio::test]
async fn a_token_that_is_expired_or_forged_is_refused() {
    let server = Server::start().await;
    let expired = support::token("ann", Duration::ZERO, Default::default());
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let mut forged = caller_token("ann");
    forged.truncate(forged.len() - 3);
    for (token, code) in [(expired, "token_expired"), (forged, "unauthorized"), ("nonsense".into(), "unauthorized")] {
        let mut client = server.connect().await;
        assert_eq!(client.refused("hello", json!({"version": 1, "token": token})).await, code);
        assert_eq!(client.closed().await, Some(4401));
    }
}

#[tokio::test]
async fn a_session_ends_when_its_token_expires() {
    let server = Server::start().await;
    let token = support::token("ann", Duration::from_secs(2), Default::default());
    let mut ann = server.client_with("ann/pc", &token).await;
    ann.ok("ping", json!({})).await;
    assert_eq!(ann.closed().await, Some(4401));
}

#[tokio::test]
async fn a_silent_client_is_closed_and_one_that_answers_pings_is_not() {
    let server = Server::with(config().heartbeat(Duration::from_millis(400)), Default::default()).await;
    let mut silent = server.client("ann/pc").await;
    let mut quiet = server.client("ben/pc").await;
    let start = Instant::now();
    // Reading is what makes the library answer pings: one client reads and says nothing, the other does nothing at all.
    let _ = tokio::time::timeout(Duration::from_millis(2500), quiet.closed()).await;
    assert!(start.elapsed() >= Duration::from_millis(2500), "the quiet one was closed");
    assert_eq!(silent.closed().await, Some(4408));
    quiet.ok("ping", json!({})).await;
}

#[tokio::test]
async fn a_flood_is_limited_then_closed_and_others_do_not_feel_it() {
    // Slow enough that a loaded machine takes no time in which many more are earned.
    let rate = Rate { burst: 20, every: Duration::from_secs(1) };
    let flood = Rate { burst: 50, every: Duration::from_secs(60) };
    let server = Server::with(config().request_rate(rate).flood_rate(flood), Default::default()).await;
    let mut flooder = server.client("ann/pc").await;
    let mut ben = server.client("ben/pc").await;
    for _ in 0..40 {
        flooder.send("ping", json!({})).await;
    }
    let (mut served, mut limited) = (0, 0);
    for id in 2..=41 {
        let answer = flooder.answer(id).await;
        match answer["error"]["code"].as_str() {
            None => served += 1,
            Some("rate_limited") => {
                limited += 1;
                assert!(answer["error"]["retry_after_ms"].as_u64().unwrap() >= 1);
            }
            Some(other) => panic!("{other}"),
        }
    }
    assert!(served >= 19 && limited >= 10, "{served} served, {limited} limited");
    let start = Instant::now();
    ben.ok("ping", json!({})).await;
    assert!(start.elapsed() < Duration::from_secs(2));
    for _ in 0..200 {
        let ping = Message::text(r#"{"id": 1, "type": "ping"}"#);
        if flooder.socket.send(ping).await.is_err() {
            break;
        }
    }
    assert_eq!(flooder.closed().await, Some(4429));
    ben.ok("ping", json!({})).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_and_others_do_not_feel_it() {
    let server = Server::with(config().outbox(64), Default::default()).await;
    let all = ringback_signaling::token::Grants::all();
    let token = |user| support::token(user, Duration::from_secs(60), all.clone());
    // A small receive buffer, so that it is full soon.
    let tcp = tokio::net::TcpSocket::new_v4().unwrap();
    tcp.set_recv_buffer_size(4096).unwrap();
    let tcp = tcp.connect(server.address).await.unwrap();
    let (socket, _) =
        tokio_tungstenite::client_async(server.url(), tokio_tungstenite::MaybeTlsStream::Plain(tcp)).await.unwrap();
    let mut slow = Client::new(socket);
    slow.ok("hello", json!({"version": 1, "token": token("slow"), "device": "pc"})).await;
    let mut ann = server.client_with("ann/pc", &token("ann")).await;
    let join = json!({"room": "hall", "offer": "o", "tracks": []});
    slow.ok("room.join", join.clone()).await;
    ann.ok("room.join", join).await;

    // Ann reads all the time; the slow client does not.
    let reading = tokio::spawn(async move {
        let mut heard = 0;
        loop {
            let event = ann.event("room.speaking").await;
            heard += 1;
            if event["speaking"] == json!(["the last"]) {
                return (ann, heard);
            }
        }
    });
    let speaking = |who: String| MediaEvent::Speaking { room: "hall".into(), speaking: vec![who] };
    const EVENTS: usize = 3000;
    for _ in 0..EVENTS {
        server.signaling.media_event(speaking("x".repeat(4000))).await;
        tokio::task::yield_now().await;
    }
    server.signaling.media_event(speaking("the last".into())).await;
    let (mut ann, heard) = tokio::time::timeout(PATIENCE, reading).await.unwrap().unwrap();
    assert_eq!(heard, EVENTS + 1, "a client that reads misses nothing");
    // The slow one's device is gone from the list, as its session is.
    while ann.event("people.changed").await["gone"].as_array().unwrap().is_empty() {}
    let mut received = 0;
    while slow.read().await.is_ok() {
        received += 1;
    }
    assert!(received < EVENTS, "it cannot have been sent everything");
}
