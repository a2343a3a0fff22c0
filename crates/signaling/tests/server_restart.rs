//! A server that ends and one that takes its place, handed the calls that were under way as its events told of them: what was active goes on, what rang has
//! failed, and nobody is told otherwise.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ringback_signaling::hooks::{AfterCall, CallLog, EndedCall, HookError, Hooks, Notice, Notify};
use ringback_signaling::media::BoxFuture;
use ringback_signaling::protocol::{CallInfo, Outcome};
use ringback_signaling::{KeptCall, KeptCalls, KeptChange, SignalingEvent};
use serde_json::{Value, json};
use support::{Client, PATIENCE, Server, config};

fn about(call: &Value) -> Value {
    json!({"call": call["id"]})
}

async fn join(client: &mut Client, call: &Value) -> Value {
    let tracks = json!([{"mid": "0", "source": "microphone"}]);
    client.ok("room.join", json!({"room": call["room"], "offer": "offer", "tracks": tracks})).await
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}

/// What is kept of a server's calls.
struct Keeper {
    events: tokio::sync::mpsc::Receiver<SignalingEvent>,
    calls: KeptCalls,
    kept: BTreeMap<String, KeptCall>,
}

impl Keeper {
    fn of(server: &Server) -> Self {
        Self { events: server.signaling.events().unwrap(), calls: KeptCalls::default(), kept: BTreeMap::new() }
    }

    /// Reads on until this is so. Kept calls go through JSON, as they do in a database.
    async fn until(&mut self, so: impl Fn(&BTreeMap<String, KeptCall>) -> bool) {
        while !so(&self.kept) {
            let event = tokio::time::timeout(PATIENCE, self.events.recv()).await.unwrap().unwrap();
            match self.calls.apply(&event) {
                Some(KeptChange::Keep(kept)) => {
                    let kept: KeptCall = serde_json::from_str(&serde_json::to_string(&kept).unwrap()).unwrap();
                    self.kept.insert(kept.call.id.clone(), kept);
                }
                Some(KeptChange::Forget(call)) => drop(self.kept.remove(&call)),
                None => {}
            }
        }
    }

    fn kept(&self) -> Vec<KeptCall> {
        self.kept.values().cloned().collect()
    }
}

#[derive(Default)]
struct Told {
    missed: Mutex<Vec<String>>,
    ended: Mutex<Vec<EndedCall>>,
}

impl Notify for Told {
    fn incoming<'a>(&'a self, _: &'a Notice) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }

    fn cancelled<'a>(&'a self, _: &'a Notice) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }

    fn missed<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, ()> {
        self.missed.lock().unwrap().push(notice.user.clone());
        Box::pin(async {})
    }
}

impl CallLog for Told {
    fn may_keep_room(&self, _: &CallInfo, _: Outcome) -> bool {
        true
    }

    fn ended<'a>(&'a self, call: &'a EndedCall) -> BoxFuture<'a, Result<AfterCall, HookError>> {
        self.ended.lock().unwrap().push(call.clone());
        Box::pin(async { Ok(AfterCall::KeepRoom) })
    }
}

/// The server that takes the place of another, `away` after that had its calls last.
async fn next(kept: Vec<KeptCall>, away: Duration) -> (Server, Arc<Told>) {
    let told = Arc::new(Told::default());
    let hooks = Hooks { notify: told.clone(), call_log: told.clone(), ..Hooks::default() };
    let server = Server::with(config(), hooks).await;
    let away: u64 = away.as_millis().try_into().unwrap();
    server.signaling.restore(kept, now() - away).await.unwrap();
    (server, told)
}

async fn until<T>(found: impl Fn() -> Option<T>) -> T {
    let search = async {
        loop {
            match found() {
                Some(found) => return found,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, search).await.unwrap()
}

#[tokio::test]
async fn a_call_that_was_active_goes_on_with_whoever_comes_back() {
    let server = Server::start().await;
    let mut keeper = Keeper::of(&server);
    let (mut ann, mut ben) = (server.client("ann/pc").await, server.client("ben/phone").await);
    let call = ann.place("ben").await;
    ben.ok("call.accept", about(&call)).await;
    keeper.until(|kept| kept.values().any(|kept| kept.active_since.is_some())).await;
    server.signaling.suspend().await;
    // The socket is closed, and nothing is said of the call or its room.
    let mut said = Vec::new();
    while ann.read().await.is_ok() {}
    said.extend(ann.events_within(Duration::ZERO).await.into_iter().map(|event| event["event"].clone()));
    assert!(!said.contains(&json!("call.ended")) && !said.contains(&json!("room.closed")), "{said:?}");

    let (server, told) = next(keeper.kept(), Duration::from_secs(3)).await;
    let mut keeper = Keeper::of(&server);
    let (mut ann, mut ben) = (server.client("ann/pc").await, server.client("ben/phone").await);
    for client in [&ann, &ben] {
        assert_eq!(
            (&client.hello["calls"][0]["id"], &client.hello["calls"][0]["state"]),
            (&call["id"], &json!("active"))
        );
    }
    let answer = join(&mut ann, &call).await;
    join(&mut ben, &call).await;
    assert_eq!(answer["roster"][0]["user"], "ann");
    assert_eq!(ann.refused("call.place", json!({"to": ["cleo"], "kind": "voice"})).await, "conflict", "still in it");
    keeper.until(|kept| kept.len() == 1).await;
    ben.ok("call.hangup", about(&call)).await;
    assert_eq!(ann.event("call.ended").await["by"], "ben");
    let ended = until(|| told.ended.lock().unwrap().first().cloned()).await;
    assert_eq!((ended.outcome, ended.by.as_deref()), (Outcome::Answered, Some("ben")));
    assert!(ended.talk_ms < 3_000, "the three seconds without a server are no talk: {}", ended.talk_ms);
    assert!(ended.rang_ms < 3_000, "nor a ring: {}", ended.rang_ms);
    keeper.until(BTreeMap::is_empty).await;
}

#[tokio::test]
async fn a_call_that_rang_has_failed_and_was_missed() {
    let server = Server::start().await;
    let mut keeper = Keeper::of(&server);
    let (mut ann, mut ben) = (server.client("ann/pc").await, server.client("ben/phone").await);
    let call = ann.place("ben").await;
    ben.ok("call.ring_ack", about(&call)).await;
    keeper.until(|kept| kept.values().any(|kept| kept.call.legs[0].device.is_some())).await;
    let (server, told) = next(keeper.kept(), Duration::from_secs(1)).await;
    let ended = until(|| told.ended.lock().unwrap().first().cloned()).await;
    assert_eq!((ended.outcome, ended.talk_ms, ended.caller_participant), (Outcome::Failed, 0, None));
    assert_eq!(until(|| told.missed.lock().unwrap().first().cloned()).await, "ben");
    // It rings nowhere, and whoever asks is told.
    let (mut ann, mut ben) = (server.client("ann/pc").await, server.client("ben/phone").await);
    assert_eq!(ben.hello["calls"], json!([]));
    for client in [&mut ann, &mut ben] {
        let status = client.ok("call.status", about(&call)).await;
        assert_eq!((&status["call"]["state"], &status["call"]["outcome"]), (&json!("ended"), &json!("failed")));
    }
    // The caller's media is gone, so there is no room to leave a note in.
    assert!(server.media.notes().is_empty(), "{:?}", server.media.notes());
    assert!(
        ben.ok("call.place", json!({"to": ["ann"], "kind": "voice"})).await["call"]["id"].is_string(),
        "free again"
    );
}

#[tokio::test]
async fn in_a_group_call_the_rings_fail_and_the_rest_goes_on() {
    let server = Server::start().await;
    let mut keeper = Keeper::of(&server);
    let (mut ann, mut ben) = (server.client("ann/pc").await, server.client("ben/phone").await);
    let (mut cleo, _dan) = (server.client("cleo/pad").await, server.client("dan/pc").await);
    let place = json!({"to": ["ben", "cleo"], "kind": "video", "thread": "team"});
    let call = ann.ok("call.place", place).await["call"].clone();
    for client in [&mut ben, &mut cleo] {
        client.ok("call.accept", about(&call)).await;
    }
    cleo.ok("call.hangup", about(&call)).await;
    ann.ok("call.invite", json!({"call": call["id"], "to": ["dan"]})).await;
    keeper.until(|kept| kept.values().any(|kept| kept.call.members.len() == 2 && kept.call.to.len() == 3)).await;

    let (server, told) = next(keeper.kept(), Duration::from_secs(1)).await;
    assert_eq!(until(|| told.missed.lock().unwrap().first().cloned()).await, "dan");
    let (mut ann, mut ben) = (server.client("ann/pc").await, server.client("ben/phone").await);
    let (mut cleo, dan) = (server.client("cleo/pad").await, server.client("dan/pc").await);
    assert_eq!(dan.hello["calls"], json!([]));
    assert_eq!(ann.hello["calls"][0]["host"], "ann");
    let members: Vec<_> =
        ben.hello["calls"][0]["members"].as_array().unwrap().iter().map(|member| member["user"].clone()).collect();
    assert_eq!(members, ["ann", "ben"]);
    // Who had left comes back as before, and the host has a host's rights.
    cleo.ok("call.accept", about(&call)).await;
    ann.ok("call.remove", json!({"call": call["id"], "user": "cleo"})).await;
    assert_eq!(cleo.event("call.ended").await["reason"], "removed");
    ben.ok("call.hangup", about(&call)).await;
    ann.ok("call.end", about(&call)).await;
    let ended = until(|| told.ended.lock().unwrap().first().cloned()).await;
    assert_eq!(ended.missed.iter().map(|user| user.user.as_str()).collect::<Vec<_>>(), ["dan"]);
}

#[tokio::test]
async fn a_server_that_was_gone_for_long_has_lost_its_calls() {
    let server = Server::start().await;
    let mut keeper = Keeper::of(&server);
    let (mut ann, mut ben) = (server.client("ann/pc").await, server.client("ben/phone").await);
    let call = ann.place("ben").await;
    ben.ok("call.accept", about(&call)).await;
    keeper.until(|kept| kept.values().any(|kept| kept.active_since.is_some())).await;
    let (server, told) = next(keeper.kept(), Duration::from_secs(600)).await;
    let ended = until(|| told.ended.lock().unwrap().first().cloned()).await;
    assert_eq!((ended.outcome, ended.by), (Outcome::Answered, None));
    assert!(ended.talk_ms < 1_000, "talked until it was seen last: {}", ended.talk_ms);
    assert_eq!(server.client("ann/pc").await.hello["calls"], json!([]));
}
