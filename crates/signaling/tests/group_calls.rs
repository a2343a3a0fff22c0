//! Group calls over real WebSockets, with a media side that only takes notes: who is rung, who is told what, who comes late, again, or uninvited, and what the
//! host may do.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringback_signaling::hooks::{Hooks, Notice, Notify};
use ringback_signaling::media::BoxFuture;
use ringback_signaling::token::Grants;
use serde_json::{Value, json};
use support::{Client, Server, config, token};

fn about(call: &Value) -> Value {
    json!({"call": call["id"]})
}

async fn ring_group(caller: &mut Client, to: &[&str]) -> Value {
    caller.ok("call.place", json!({"to": to, "kind": "video", "thread": "team"})).await["call"].clone()
}

async fn join(client: &mut Client, call: &Value) -> Value {
    let tracks = json!([{"mid": "0", "source": "microphone"}, {"mid": "1", "source": "camera"}]);
    client.ok("room.join", json!({"room": call["room"], "offer": "offer", "tracks": tracks})).await
}

/// The members of the last `call.changed` that comes within a moment, by user.
async fn members(client: &mut Client) -> Vec<String> {
    let mut last = Value::Null;
    for event in client.events_within(Duration::from_millis(300)).await {
        if event["event"] == "call.changed" {
            last = event;
        }
    }
    last["call"]["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| member["user"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn one_who_refuses_drops_nobody_and_who_comes_late_or_leaves_may_still_come() {
    let server = Server::start().await;
    let mut ann = server.client("ann/pc").await;
    let mut ben = server.client("ben/phone").await;
    let mut cleo = server.client("cleo/pad").await;
    let mut dan = server.client("dan/pc").await;
    let call = ring_group(&mut ann, &["ben", "cleo", "dan"]).await;
    assert_eq!((&call["group"], &call["host"]), (&json!(true), &json!("ann")));
    join(&mut ann, &call).await;
    for client in [&mut ben, &mut cleo, &mut dan] {
        assert_eq!(client.event("call.incoming").await["call"]["to"].as_array().unwrap().len(), 3);
        client.ok("call.ring_ack", about(&call)).await;
    }
    cleo.ok("call.decline", about(&call)).await;
    assert_eq!(cleo.event("call.ended").await["reason"], "declined");
    assert_eq!(ben.ok("call.accept", about(&call)).await["call"]["state"], "active");
    assert_eq!(join(&mut ben, &call).await["roster"].as_array().unwrap().len(), 2);
    assert_eq!(ann.event("call.active").await["answered_by"]["user"], "ben");
    assert_eq!(members(&mut ann).await, ["ann", "ben"]);

    // Dan still rings, and comes in as the third; the others see it.
    assert_eq!(dan.ok("call.accept", about(&call)).await["call"]["members"].as_array().unwrap().len(), 3);
    assert_eq!(dan.event("call.active").await["answered_by"]["user"], "dan");
    assert_eq!(join(&mut dan, &call).await["roster"].as_array().unwrap().len(), 3);
    assert_eq!(members(&mut ann).await, ["ann", "ben", "dan"]);

    // Cleo, who declined, comes after all; Ben leaves and comes back.
    cleo.ok("call.accept", about(&call)).await;
    join(&mut cleo, &call).await;
    ben.ok("call.hangup", about(&call)).await;
    let ended = ben.event("call.ended").await;
    assert_eq!((&ended["reason"], &ended["outcome"]), (&json!("left"), &json!("answered")));
    assert_eq!(members(&mut ann).await, ["ann", "dan", "cleo"]);
    let left = ben.refused("room.leave", json!({"room": call["room"]})).await;
    assert_eq!(left, "not_found", "whoever leaves the call is out of its room");
    let refused = ben.refused("room.join", json!({"room": call["room"], "offer": "offer", "tracks": []})).await;
    assert_eq!(refused, "forbidden", "outside the call nobody is admitted to its room");
    ben.ok("call.accept", about(&call)).await;
    assert_eq!(join(&mut ben, &call).await["roster"].as_array().unwrap().len(), 4);

    // The caller leaves: who has been there the longest is the host, and the call goes on.
    ann.ok("call.hangup", about(&call)).await;
    assert_eq!(ann.event("call.ended").await["reason"], "left");
    let status = dan.ok("call.status", about(&call)).await["call"].clone();
    assert_eq!((&status["state"], &status["host"]), (&json!("active"), &json!("dan")));
    assert_eq!(cleo.refused("call.end", about(&call)).await, "forbidden");
    dan.ok("call.end", about(&call)).await;
    for client in [&mut ben, &mut cleo, &mut dan] {
        assert_eq!(client.event("call.ended").await["reason"], "answered");
    }
}

#[tokio::test]
async fn a_call_of_two_grows_by_an_invitation_and_by_who_knocks() {
    let server = Server::start().await;
    let mut ann = server.client("ann/pc").await;
    let mut ben = server.client("ben/phone").await;
    let mut cleo = server.client("cleo/pad").await;
    let mut dan = server.client("dan/pc").await;
    let call = ann.place("ben").await;
    ben.event("call.incoming").await;
    ben.ok("call.accept", about(&call)).await;
    assert_eq!(cleo.refused("call.invite", json!({"call": call["id"], "to": ["dan"]})).await, "not_found");

    let invite = json!({"call": call["id"], "to": ["cleo"]});
    assert_eq!(ben.ok("call.invite", invite.clone()).await["call"]["group"], true);
    assert_eq!(ann.refused("call.invite", invite).await, "conflict", "she rings already");
    assert_eq!(cleo.event("call.incoming").await["call"]["id"], call["id"]);
    cleo.ok("call.accept", about(&call)).await;
    assert_eq!(members(&mut ann).await, ["ann", "ben", "cleo"]);

    // Dan has a link. The host is asked, and lets him in at the second time.
    assert_eq!(dan.refused("call.accept", about(&call)).await, "not_found");
    dan.ok("call.knock", about(&call)).await;
    let knock = ann.event("call.knock").await;
    assert_eq!((&knock["user"], &knock["name"]), (&json!("dan"), &json!("DAN")));
    let answer = |admitted: bool| json!({"call": call["id"], "user": "dan", "admitted": admitted});
    assert_eq!(ben.refused("call.admit", answer(true)).await, "forbidden", "he is not the host");
    ann.ok("call.admit", answer(false)).await;
    assert_eq!(dan.event("call.admitted").await["admitted"], false);
    assert_eq!(dan.refused("call.accept", about(&call)).await, "not_found");
    assert_eq!(ann.refused("call.admit", answer(true)).await, "not_found", "he does not wait any more");
    dan.ok("call.knock", about(&call)).await;
    ann.ok("call.admit", answer(true)).await;
    assert_eq!(dan.event("call.admitted").await["admitted"], true);
    dan.ok("call.accept", about(&call)).await;
    assert_eq!(members(&mut ann).await, ["ann", "ben", "cleo", "dan"]);
}

#[tokio::test]
async fn the_host_mutes_and_removes_and_who_was_removed_stays_out() {
    let server = Server::start().await;
    let mut ann = server.client("ann/pc").await;
    let mut ben = server.client("ben/phone").await;
    let mut cleo = server.client("cleo/pad").await;
    let call = ring_group(&mut ann, &["ben", "cleo"]).await;
    join(&mut ann, &call).await;
    for client in [&mut ben, &mut cleo] {
        client.ok("call.accept", about(&call)).await;
        join(client, &call).await;
    }
    let mute = json!({"call": call["id"], "user": "ben", "source": "microphone"});
    assert_eq!(cleo.refused("call.mute", mute.clone()).await, "forbidden");
    ann.ok("call.mute", mute).await;
    assert_eq!(ben.event("room.muted").await["source"], "microphone");
    server.media.wait_for("mute").await;
    // He may speak again.
    ben.ok("room.mute", json!({"room": call["room"], "source": "microphone", "muted": false})).await;

    let remove = json!({"call": call["id"], "user": "ben"});
    assert_eq!(cleo.refused("call.remove", remove.clone()).await, "forbidden");
    ann.ok("call.remove", remove).await;
    assert_eq!(ben.event("call.ended").await["reason"], "removed");
    server.media.wait_for("leave").await;
    assert_eq!(ben.refused("call.accept", about(&call)).await, "forbidden");
    // Until he is asked again.
    ann.ok("call.invite", json!({"call": call["id"], "to": ["ben"]})).await;
    ben.ok("call.accept", about(&call)).await;
    assert_eq!(members(&mut cleo).await, ["ann", "cleo", "ben"]);
}

#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Told {
    fn note<'a>(&'a self, what: &str, notice: &'a Notice) -> BoxFuture<'a, ()> {
        self.0.lock().unwrap().push(format!("{what} {}", notice.user));
        Box::pin(async {})
    }
}

impl Notify for Told {
    fn incoming<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, ()> {
        self.note("incoming", notice)
    }

    fn cancelled<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, ()> {
        self.note("cancelled", notice)
    }

    fn missed<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, ()> {
        self.note("missed", notice)
    }
}

#[tokio::test]
async fn who_does_not_answer_in_time_is_told_once_and_the_call_goes_on() {
    let config = config().ring(Duration::from_millis(800));
    let told = Arc::new(Told::default());
    let hooks = Hooks { notify: told.clone(), ..Hooks::default() };
    let server = Server::with(config, hooks).await;
    let mut ann = server.client("ann/pc").await;
    let mut ben = server.client("ben/phone").await;
    let mut cleo = server.client("cleo/pad").await;
    let call = ring_group(&mut ann, &["ben", "cleo", "eve"]).await;
    ben.ok("call.accept", about(&call)).await;
    cleo.ok("call.ring_ack", about(&call)).await;
    let ended = cleo.event("call.ended").await;
    assert_eq!(ended["reason"], "no_answer");
    assert_eq!(ann.ok("call.status", about(&call)).await["call"]["state"], "active");
    ann.ok("call.end", about(&call)).await;
    ben.event("call.ended").await;
    let missed = || {
        let told = told.0.lock().unwrap();
        let mut missed: Vec<_> =
            told.iter().filter_map(|line| line.strip_prefix("missed ")).map(str::to_owned).collect();
        missed.sort();
        missed
    };
    for _ in 0..200 {
        if missed().len() >= 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(missed(), ["cleo", "eve"], "once each, and nobody else");
}

#[tokio::test]
async fn who_rings_a_group_that_is_talking_in_this_thread_joins_it() {
    let server = Server::start().await;
    let mut ann = server.client("ann/pc").await;
    let mut ben = server.client("ben/phone").await;
    let mut cleo = server.client("cleo/pad").await;
    let call = ring_group(&mut ann, &["ben", "cleo"]).await;
    ben.ok("call.accept", about(&call)).await;
    cleo.ok("call.decline", about(&call)).await;
    let joined = ring_group(&mut cleo, &["ann", "ben"]).await;
    assert_eq!(joined["id"], call["id"]);
    assert_eq!(members(&mut ann).await, ["ann", "ben", "cleo"]);
}

#[tokio::test]
async fn with_call_waiting_a_second_call_rings_and_accepting_it_leaves_the_first() {
    for waiting in [false, true] {
        let server = Server::with(config().call_waiting(waiting), Hooks::default()).await;
        let mut ann = server.client("ann/pc").await;
        let mut ben = server.client("ben/phone").await;
        let mut cleo = server.client("cleo/pad").await;
        let first = ann.place("ben").await;
        ben.ok("call.accept", about(&first)).await;
        let second = cleo.place("ben").await;
        if !waiting {
            assert_eq!(second["outcome"], "busy");
            continue;
        }
        assert_eq!(ben.event("call.incoming").await["call"]["id"], first["id"]);
        assert_eq!(ben.event("call.incoming").await["call"]["id"], second["id"]);
        ben.ok("call.accept", about(&second)).await;
        assert_eq!(ann.event("call.ended").await["by"], "ben");
    }
}

#[tokio::test]
async fn a_voice_chat_shows_outside_who_is_in_it() {
    let server = Server::start().await;
    let grants = || Grants { call: true, list: true, rooms: vec!["lounge".into()] };
    let enter = |user: &str| token(user, Duration::from_secs(600), grants());
    let mut outside = server.client_with("ann/pc", &enter("ann")).await;
    let empty = outside.ok("room.watch", json!({"room": "lounge"})).await;
    assert_eq!(empty, json!({"count": 0, "people": []}));
    assert_eq!(outside.refused("room.watch", json!({"room": "cellar"})).await, "forbidden");

    let mut ben = server.client_with("ben/phone", &enter("ben")).await;
    let lounge = json!({"room": "lounge", "offer": "offer", "tracks": []});
    ben.ok("room.join", lounge.clone()).await;
    let presence = outside.event("room.presence").await;
    assert_eq!(presence["count"], 1);
    assert_eq!(presence["people"], json!([{"user": "ben", "name": "BEN"}]));
    let mut cleo = server.client_with("cleo/pad", &enter("cleo")).await;
    cleo.ok("room.join", lounge).await;
    assert_eq!(outside.event("room.presence").await["count"], 2);
    ben.ok("room.leave", json!({"room": "lounge"})).await;
    assert_eq!(outside.event("room.presence").await["people"], json!([{"user": "cleo", "name": "CLEO"}]));
    outside.ok("room.watch", json!({"room": "lounge", "on": false})).await;
    cleo.ok("room.leave", json!({"room": "lounge"})).await;
    let later = outside.events_within(Duration::from_millis(300)).await;
    assert!(!later.iter().any(|event| event["event"] == "room.presence"), "{later:?}");
}
