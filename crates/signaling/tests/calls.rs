//! Calls over real WebSockets, with a media side that only takes notes.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use ringback_signaling::SignalingEvent;
use ringback_signaling::rate::Rate;
use serde_json::{Value, json};
use support::{Server, caller_token, config};

fn about(call: &Value) -> Value {
    json!({"call": call["id"]})
}

async fn join(client: &mut support::Client, call: &Value) -> Value {
    let tracks = json!([{"mid": "0", "source": "microphone"}]);
    client.ok("room.join", json!({"room": call["room"], "offer": "offer", "tracks": tracks})).await
}

#[tokio::test]
async fn a_call_is_placed_answered_talked_and_hung_up() {
    let server = Server::start().await;
    let mut events = server.signaling.events().unwrap();
    let mut ann = server.client("ann/pc").await;
    let mut ben = server.client("ben/phone").await;
    let call = ann.place("ben").await;
    assert_eq!(call["state"], "ringing");
    assert_eq!(call["from"], json!({"user": "ann", "name": "ANN"}));
    assert_eq!(call["to"], json!([{"user": "ben", "name": "BEN"}]));
    assert_eq!(call["legs"], json!([{"user": "ben", "device": "phone", "state": "queued"}]));
    assert_eq!(join(&mut ann, &call).await["roster"].as_array().unwrap().len(), 1);

    let incoming = ben.event("call.incoming").await;
    assert_eq!(incoming["call"]["id"], call["id"]);
    assert!(incoming["expires_ms"].as_u64().unwrap() <= 45_000);
    ben.ok("call.ring_ack", about(&call)).await;
    let room = json!({"room": call["room"], "offer": "offer", "tracks": []});
    assert_eq!(ben.refused("room.join", room).await, "conflict", "not before accepting");
    let accepted = ben.ok("call.accept", about(&call)).await;
    assert_eq!(accepted["call"]["state"], "active");
    let joined = join(&mut ben, &call).await;
    assert_eq!(joined["answer"], "answer to offer");
    assert_eq!(joined["roster"].as_array().unwrap().len(), 2);

    assert_eq!(ann.event("call.leg").await["leg"]["state"], "queued");
    assert_eq!(ann.event("call.leg").await["leg"]["state"], "ring_acked");
    assert_eq!(ann.event("call.leg").await["leg"]["state"], "accepted");
    let active = ann.event("call.active").await;
    assert_eq!(active["answered_by"], json!({"user": "ben", "device": "phone"}));
    assert_eq!(ben.event("call.active").await["call"]["state"], "active");
    let roster = ann.roster().await;
    assert_eq!(roster["joined"][0]["user"], "ben");
    assert_eq!(roster["joined"].as_array().unwrap().len(), 1);

    ann.ok("call.hangup", about(&call)).await;
    for client in [&mut ann, &mut ben] {
        let ended = client.event("call.ended").await;
        assert_eq!(
            (&ended["outcome"], &ended["reason"], &ended["by"]),
            (&json!("answered"), &json!("answered"), &json!("ann"))
        );
        assert_eq!(client.event("room.closed").await["room"], call["room"]);
    }
    server.media.wait_for("close").await;
    let notes = server.media.notes();
    assert!(notes[0].starts_with("open"), "{notes:?}");
    assert!(notes[1].starts_with("join") && notes[2].starts_with("join"), "{notes:?}");

    let mut names = Vec::new();
    while let Ok(event) = events.try_recv() {
        names.push(match event {
            SignalingEvent::CallPlaced { .. } => "placed",
            SignalingEvent::LegChanged { .. } => "leg",
            SignalingEvent::CallActive { .. } => "active",
            SignalingEvent::CallEnded { .. } => "ended",
            SignalingEvent::RoomJoined { .. } => "joined",
            SignalingEvent::RoomLeft { .. } => "left",
            SignalingEvent::RoomClosed { .. } => "closed",
            _ => "other",
        });
    }
    let expected = ["placed", "leg", "joined", "leg", "leg", "active", "joined", "ended", "left", "left", "closed"];
    assert_eq!(names, expected);
}

#[tokio::test]
async fn a_declined_call_ends_on_all_devices() {
    let server = Server::start().await;
    let mut ann = server.client("ann/pc").await;
    let mut phone = server.client("ben/phone").await;
    let mut tablet = server.client("ben/tablet").await;
    let call = ann.place("ben").await;
    phone.event("call.incoming").await;
    phone.ok("call.decline", about(&call)).await;
    assert_eq!(phone.event("call.ended").await["reason"], "declined");
    assert_eq!(tablet.event("call.ended").await["reason"], "declined_elsewhere");
    let ended = ann.event("call.ended").await;
    assert_eq!((&ended["outcome"], &ended["by"]), (&json!("declined"), &json!("ben")));
}

#[tokio::test]
async fn a_call_answered_on_one_device_stops_ringing_on_the_other() {
    let server = Server::start().await;
    let mut ann = server.client("ann/pc").await;
    let mut phone = server.client("ben/phone").await;
    let mut tablet = server.client("ben/tablet").await;
    let call = ann.place("ben").await;
    tablet.event("call.incoming").await;
    phone.event("call.incoming").await;
    phone.ok("call.accept", about(&call)).await;
    let elsewhere = tablet.event("call.ended").await;
    assert_eq!(elsewhere["reason"], "answered_elsewhere");
    assert_eq!(tablet.refused("call.accept", about(&call)).await, "conflict");
    phone.ok("call.hangup", about(&call)).await;
    phone.event("call.ended").await;
    let late = tablet.events_within(Duration::from_millis(100)).await;
    assert!(late.iter().all(|event| event["event"] == "people.changed"), "the tablet was done: {late:?}");
}

#[tokio::test]
async fn a_cancelled_call_stops_ringing() {
    let server = Server::start().await;
    let mut ann = server.client("ann/pc").await;
    let mut ben = server.client("ben/phone").await;
    let call = ann.place("ben").await;
    ben.event("call.incoming").await;
    ann.ok("call.cancel", about(&call)).await;
    let ended = ben.event("call.ended").await;
    assert_eq!((&ended["outcome"], &ended["reason"]), (&json!("cancelled"), &json!("cancelled")));
    assert_eq!(ben.refused("call.accept", about(&call)).await, "conflict");
    assert_eq!(ben.ok("call.status", about(&call)).await["call"]["state"], "ended");
}

#[tokio::test]
async fn a_user_in_a_call_is_busy() {
    let server = Server::start().await;
    let mut ann = server.client("ann/pc").await;
    let mut ben = server.client("ben/phone").await;
    let mut cat = server.client("cat/pc").await;
    let call = ann.place("ben").await;
    ben.event("call.incoming").await;
    ben.ok("call.accept", about(&call)).await;
    let second = cat.place("ben").await;
    assert_eq!((&second["state"], &second["outcome"]), (&json!("ended"), &json!("busy")));
    assert_eq!(cat.event("call.ended").await["reason"], "busy");
    // Cat may be told of her own coming, too.
    let in_call = |event: &Value, user: &str| {
        event["people"].as_array().unwrap().iter().any(|person| person["user"] == user && person["state"] == "in_call")
    };
    let mut busy = [false; 2];
    while busy != [true; 2] {
        let told = cat.event("people.changed").await;
        busy = [busy[0] || in_call(&told, "ann"), busy[1] || in_call(&told, "ben")];
    }
}

#[tokio::test]
async fn a_call_that_nobody_picks_up_ends_without_answer() {
    let server = Server::with(config().ring(Duration::from_millis(300)), Default::default()).await;
    let mut ann = server.client("ann/pc").await;
    let mut ben = server.client("ben/phone").await;
    let call = ann.place("ben").await;
    ben.event("call.incoming").await;
    ben.ok("call.ring_ack", about(&call)).await;
    assert_eq!(ann.event("call.ended").await["outcome"], "no_answer");
    assert_eq!(ben.event("call.ended").await["outcome"], "no_answer");
}

#[tokio::test]
async fn a_call_that_no_device_acknowledges_is_unreachable() {
    let server = Server::with(config().ring_ack(Duration::from_millis(300)), Default::default()).await;
    let mut ann = server.client("ann/pc").await;
    let call = ann.place("ben").await;
    assert_eq!(call["legs"], json!([{"user": "ben", "state": "queued"}]));
    assert_eq!(ann.event("call.ended").await["outcome"], "unreachable");
}

#[tokio::test]
async fn two_who_ring_each_other_are_connected() {
    let server = Server::start().await;
    let mut ann = server.client("ann/pc").await;
    let mut ben = server.client("ben/phone").await;
    let call = ann.place("ben").await;
    let same = ben.place("ann").await;
    assert_eq!((&same["id"], &same["state"]), (&call["id"], &json!("active")));
    ann.event("call.active").await;
    join(&mut ann, &call).await;
    join(&mut ben, &call).await;
}

#[tokio::test]
async fn a_device_that_connects_while_it_rings_rings_too() {
    let server = Server::start().await;
    let mut ann = server.client("ann/pc").await;
    let call = ann.place("ben").await;
    let mut ben = server.client("ben/phone").await;
    assert_eq!(ben.hello["calls"][0]["id"], call["id"]);
    assert_eq!(ben.event("call.incoming").await["call"]["id"], call["id"]);
    ben.ok("call.accept", about(&call)).await;
}

#[tokio::test]
async fn a_caller_who_vanishes_cancels_the_call() {
    let server = Server::with(config().grace(Duration::from_millis(200)), Default::default()).await;
    let mut ann = server.client("ann/pc").await;
    let mut ben = server.client("ben/phone").await;
    ann.place("ben").await;
    ben.event("call.incoming").await;
    drop(ann);
    let ended = ben.event("call.ended").await;
    assert_eq!((&ended["outcome"], &ended["by"]), (&json!("cancelled"), &json!("ann")));
}

#[tokio::test]
async fn a_caller_who_reconnects_keeps_the_call_and_the_room() {
    let server = Server::start().await;
    let mut ann = server.client("ann/pc").await;
    let mut ben = server.client("ben/phone").await;
    let call = ann.place("ben").await;
    let me = join(&mut ann, &call).await["participant"].clone();
    drop(ann);
    let mut ann = server.client("ann/pc").await;
    assert_eq!(ann.hello["calls"][0]["id"], call["id"]);
    assert_eq!(ann.hello["rooms"], json!([{"room": call["room"], "participant": me}]));
    ben.event("call.incoming").await;
    ben.ok("call.accept", about(&call)).await;
    ann.event("call.active").await;
    ann.ok("room.mute", json!({"room": call["room"], "source": "microphone", "muted": true})).await;
}

#[tokio::test]
async fn a_newer_session_of_a_device_takes_over() {
    let server = Server::start().await;
    let mut old = server.client("ann/pc").await;
    let mut ann = server.client("ann/pc").await;
    assert_eq!(old.closed().await, Some(4409));
    ann.ok("ping", json!({})).await;
    let mut ben = server.client("ben/pc").await;
    ben.place("ann").await;
    ann.event("call.incoming").await;
}

#[tokio::test]
async fn a_token_without_the_call_grant_places_no_calls() {
    let server = Server::start().await;
    let token = support::token("ann", Duration::from_secs(60), Default::default());
    let mut ann = server.client_with("ann/pc", &token).await;
    assert_eq!(ann.hello["people"], json!([]));
    assert_eq!(ann.refused("call.place", json!({"to": ["ben"], "kind": "voice"})).await, "forbidden");
}

#[tokio::test]
async fn who_rings_too_often_is_told_when_to_try_again() {
    let rate = Rate { burst: 2, every: Duration::from_secs(30) };
    let server = Server::with(config().ring_rates(rate, rate), Default::default()).await;
    let mut ann = server.client("ann/pc").await;
    for _ in 0..2 {
        let call = ann.place("ben").await;
        ann.ok("call.cancel", about(&call)).await;
    }
    let refused = ann.request("call.place", json!({"to": ["ben"], "kind": "voice"})).await;
    assert_eq!(refused["error"]["code"], "rate_limited");
    let wait = refused["error"]["retry_after_ms"].as_u64().unwrap();
    assert!((1..=30_000).contains(&wait), "{wait}");
}

#[tokio::test]
async fn everybody_sees_who_comes_and_goes() {
    let server = Server::start().await;
    let mut ann = server.client("ann/pc").await;
    assert_eq!(ann.hello["people"], json!([]));
    let ben = server.client("ben/pc").await;
    let there = json!({"user": "ben", "name": "BEN", "state": "available"});
    while !ann.event("people.changed").await["people"].as_array().unwrap().contains(&there) {}
    drop(ben);
    while ann.event("people.changed").await["gone"] != json!(["ben"]) {}
}

/// What a woken device asks before it rings.
#[tokio::test]
async fn the_status_of_a_call_is_told_over_http_to_its_parties_only() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = Server::start().await;
    let mut ann = server.client("ann/pc").await;
    let call = ann.place("ben").await;
    let get = |token: Option<String>| {
        let path = format!("/ring/v1/calls/{}", call["id"].as_str().unwrap());
        let bearer = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{bearer}\r\n");
        let address = server.address;
        async move {
            let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
            socket.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            socket.read_to_string(&mut answer).await.unwrap();
            answer
        }
    };
    let ringing = get(Some(caller_token("ben"))).await;
    assert!(ringing.starts_with("HTTP/1.1 200") && ringing.contains(r#""state":"ringing""#), "{ringing}");
    let stranger = get(Some(caller_token("cat"))).await;
    assert!(stranger.starts_with("HTTP/1.1 404") && stranger.contains("not_found"), "{stranger}");
    let nobody = get(None).await;
    assert!(nobody.starts_with("HTTP/1.1 401") && nobody.contains("unauthorized"), "{nobody}");
}

#[tokio::test]
async fn shutting_down_ends_calls_and_closes_sockets() {
    let server = Server::start().await;
    let mut ann = server.client("ann/pc").await;
    let mut ben = server.client("ben/phone").await;
    let unheard = server.connect().await;
    ann.place("ben").await;
    ben.event("call.incoming").await;
    let signaling = server.signaling.clone();
    let shutdown = tokio::spawn(async move { signaling.shutdown(Duration::from_millis(300)).await });
    let refused = async {
        // Draining: what is under way goes on, and nothing new begins.
        while ann.refused("call.place", json!({"to": ["cat"], "kind": "voice"})).await != "unavailable" {}
    };
    refused.await;
    assert_eq!(ben.event("call.ended").await["outcome"], "failed");
    for mut client in [ann, ben, unheard] {
        assert_eq!(client.closed().await, Some(1001));
    }
    tokio::time::timeout(support::PATIENCE, shutdown).await.unwrap().unwrap();
    assert!(tokio_tungstenite::connect_async(server.url()).await.is_err());
}
