//! Reactions over signaling: who comes and goes is told before anything they say, a message reaches the reactions or is refused as they say,
//! and what they have to tell reaches those it is for and nobody else.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringback_signaling::hooks::Hooks;
use ringback_signaling::media::BoxFuture;
use ringback_signaling::protocol::{ErrorCode, Participant, WireError};
use ringback_signaling::reactions::Reactions;
use ringback_signaling::token::Grants;
use serde_json::{Value, json};
use support::{Client, Server, config, token};

/// Takes notes; a message with `"bad"` is refused, one with `"slow"` never answered.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Notes {
    fn note(&self, note: String) {
        self.0.lock().unwrap().push(note);
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Reactions for Notes {
    fn joined(&self, room: &str, participant: &Participant) {
        self.note(format!("joined {room} {}", participant.user));
    }

    fn left(&self, room: &str, _participant: &str) {
        self.note(format!("left {room}"));
    }

    fn closed(&self, room: &str) {
        self.note(format!("closed {room}"));
    }

    fn handle<'a>(&'a self, room: &'a str, _: &'a str, message: Value) -> BoxFuture<'a, Result<(), WireError>> {
        Box::pin(async move {
            match message["type"].as_str() {
                Some("bad") => Err(WireError {
                    retry_after_ms: Some(250),
                    ..WireError::new(ErrorCode::RateLimited, "too many reactions")
                }),
                Some("slow") => std::future::pending().await,
                _ => {
                    self.note(format!("{room} {message}"));
                    Ok(())
                }
            }
        })
    }
}

async fn join(server: &Server, who: &str) -> (Client, String) {
    let grants = Grants { call: true, list: false, rooms: vec!["hall".into()] };
    let mut client = server.client_with(&format!("{who}/pc"), &token(who, Duration::from_secs(60), grants)).await;
    let joined = client.ok("room.join", json!({"room": "hall", "offer": "o", "tracks": []})).await;
    (client, joined["participant"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn reactions_know_who_is_there_and_answer_what_is_sent() {
    let notes = Arc::new(Notes::default());
    let hooks = Hooks { reactions: Some(notes.clone()), ..Hooks::default() };
    let server = Server::with(config().hook_limit(Duration::from_millis(300)), hooks).await;
    let (mut ann, _) = join(&server, "ann").await;
    let react = |message: Value| json!({"room": "hall", "message": message});
    ann.ok("reaction.send", react(json!({"type": "react", "r": "👍"}))).await;
    let refused = ann.request("reaction.send", react(json!({"type": "bad"}))).await;
    assert_eq!((&refused["error"]["code"], &refused["error"]["retry_after_ms"]), (&json!("rate_limited"), &json!(250)));
    assert_eq!(ann.refused("reaction.send", react(json!({"type": "slow"}))).await, "unavailable");
    assert_eq!(ann.refused("reaction.send", json!({"room": "hall"})).await, "bad_request");
    assert_eq!(ann.refused("reaction.send", json!({"room": "vault", "message": {}})).await, "not_found");
    ann.ok("room.leave", json!({"room": "hall"})).await;
    assert_eq!(ann.refused("reaction.send", react(json!({"type": "react"}))).await, "not_found");
    server.media.wait_for("close hall").await;
    assert_eq!(notes.all(), ["joined hall ann", r#"hall {"r":"👍","type":"react"}"#, "left hall", "closed hall"]);
}

#[tokio::test]
async fn what_reactions_have_to_say_reaches_those_it_is_for() {
    let server = Server::start().await;
    let (mut ann, _) = join(&server, "ann").await;
    let (mut ben, ben_id) = join(&server, "ben").await;
    assert_eq!(ann.refused("reaction.send", json!({"room": "hall", "message": {}})).await, "not_found");
    let tick = json!({"v": 1, "type": "tick", "n": 1});
    server.signaling.reaction("hall", vec![ben_id.clone(), "p_gone".into()], "reactions", tick.clone()).await;
    server.signaling.reaction("nowhere", vec![ben_id], "reactions", tick.clone()).await;
    let event = ben.event("reaction").await;
    assert_eq!((&event["room"], &event["channel"], &event["message"]), (&json!("hall"), &json!("reactions"), &tick));
    // Ann has been told of Ben, and of nothing else, when the answer to this comes.
    ann.ok("ping", json!({})).await;
    let told = ann.events_within(Duration::from_millis(100)).await;
    assert!(told.iter().all(|event| event["event"] != "reaction"), "{told:?}");
}
