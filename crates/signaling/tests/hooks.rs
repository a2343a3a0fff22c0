//! The embedder's hooks: asked and told in order, and harmless when they fail.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringback_signaling::hooks::{
    AfterCall, Authorize, CallLog, EndedCall, HookError, Hooks, Notice, Notify, Permission,
};
use ringback_signaling::media::BoxFuture;
use ringback_signaling::protocol::{CallKind, Outcome};
use serde_json::json;
use support::{PATIENCE, Server, config};

#[derive(Default)]
struct Recorder {
    notes: Mutex<Vec<String>>,
    ended: Mutex<Vec<EndedCall>>,
    failures: AtomicUsize,
}

impl Recorder {
    fn hooks(self: &Arc<Self>) -> Hooks {
        Hooks { notify: self.clone(), call_log: self.clone(), ..Hooks::default() }
    }

    async fn wait_for(&self, wanted: &[&str]) {
        let seen = async {
            while *self.notes.lock().unwrap() != wanted {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, seen).await.unwrap_or_else(|_| panic!("{:?}", self.notes.lock().unwrap()));
    }

    fn note<'a>(&'a self, what: &str, notice: &Notice) -> BoxFuture<'a, ()> {
        assert_eq!(notice.collapse_key, notice.call.id);
        let devices = notice.live_devices.join(",");
        self.notes.lock().unwrap().push(format!("{what} {} [{devices}]", notice.user));
        Box::pin(async {})
    }
}

impl Notify for Recorder {
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

impl CallLog for Recorder {
    fn ended<'a>(&'a self, call: &'a EndedCall) -> BoxFuture<'a, Result<AfterCall, HookError>> {
        Box::pin(async {
            self.ended.lock().unwrap().push(call.clone());
            match self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
                Ok(2) => panic!("as the test wants it"),
                Ok(_) => Err("not now".into()),
                Err(_) => Ok(AfterCall::CloseRoom),
            }
        })
    }
}

#[tokio::test]
async fn a_sleeping_callee_is_woken_and_told_that_the_call_was_missed() {
    let recorder = Arc::new(Recorder { failures: AtomicUsize::new(2), ..Recorder::default() });
    let config = config().ring_ack(Duration::from_millis(200));
    let server = Server::with(config, recorder.hooks()).await;
    let mut ann = server.client("ann/pc").await;
    let call = ann.place("ben").await;
    let joined = ann.ok("room.join", json!({"room": call["room"], "offer": "o", "tracks": []})).await;
    recorder.wait_for(&["incoming ben []", "cancelled ben []", "missed ben []"]).await;
    // The hook panics the first time and fails the second; at least once means that it is called again.
    let called = async {
        while recorder.ended.lock().unwrap().len() < 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, called).await.unwrap();
    let ended = recorder.ended.lock().unwrap();
    assert_eq!(ended[0], ended[2]);
    assert_eq!(ended[0].outcome, Outcome::Unreachable);
    assert_eq!(ended[0].call.id, call["id"].as_str().unwrap());
    assert_eq!(ended[0].caller_participant.as_deref(), joined["participant"].as_str());
}

#[tokio::test]
async fn an_answered_call_is_hushed_and_not_missed() {
    let recorder = Arc::new(Recorder::default());
    let server = Server::with(config(), recorder.hooks()).await;
    let mut ann = server.client("ann/pc").await;
    let mut ben = server.client("ben/phone").await;
    let call = ann.place("ben").await;
    ben.event("call.incoming").await;
    ben.ok("call.accept", json!({"call": call["id"]})).await;
    ben.ok("call.hangup", json!({"call": call["id"]})).await;
    ben.event("call.ended").await;
    recorder.wait_for(&["incoming ben [phone]", "cancelled ben [phone]"]).await;
    let ended = recorder.ended.lock().unwrap();
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0].outcome, Outcome::Answered);
    assert!(ended[0].acknowledged);
}

#[tokio::test]
async fn who_declines_has_not_missed_the_call() {
    let recorder = Arc::new(Recorder::default());
    let server = Server::with(config(), recorder.hooks()).await;
    let mut ann = server.client("ann/pc").await;
    let mut ben = server.client("ben/phone").await;
    let call = ann.place("ben").await;
    ben.event("call.incoming").await;
    ben.ok("call.decline", json!({"call": call["id"]})).await;
    recorder.wait_for(&["incoming ben [phone]", "cancelled ben [phone]"]).await;
    assert_eq!(recorder.ended.lock().unwrap()[0].outcome, Outcome::Declined);
}

struct Strict;

impl Authorize for Strict {
    fn may_call<'a>(&'a self, _caller: &'a str, callee: &'a str, _kind: CallKind) -> BoxFuture<'a, Permission> {
        Box::pin(async move {
            match callee {
                "boss" => Permission::Forbidden("the boss is not to be called".into()),
                "ghost" => Permission::NotFound("there is no such user".into()),
                "panic" => panic!("as the test wants it"),
                "hang" => std::future::pending().await,
                _ => Permission::Granted,
            }
        })
    }
}

struct Hanging;

impl Notify for Hanging {
    fn incoming<'a>(&'a self, _notice: &'a Notice) -> BoxFuture<'a, ()> {
        Box::pin(std::future::pending())
    }

    fn cancelled<'a>(&'a self, _notice: &'a Notice) -> BoxFuture<'a, ()> {
        panic!("as the test wants it")
    }

    fn missed<'a>(&'a self, _notice: &'a Notice) -> BoxFuture<'a, ()> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn the_authorize_hook_decides_and_refuses_when_it_fails() {
    let hooks = Hooks { authorize: Arc::new(Strict), ..Hooks::default() };
    let server = Server::with(config().hook_limit(Duration::from_secs(3)), hooks).await;
    let mut ann = server.client("ann/pc").await;
    let mut cat = server.client("cat/pc").await;
    let place = |to: &str| json!({"to": [to], "kind": "voice"});
    assert_eq!(ann.refused("call.place", place("boss")).await, "forbidden");
    assert_eq!(ann.refused("call.place", place("ghost")).await, "not_found");
    assert_eq!(ann.refused("call.place", place("panic")).await, "unavailable");
    let hanging = ann.send("call.place", place("hang")).await;
    let start = Instant::now();
    cat.place("ben").await;
    assert!(start.elapsed() < Duration::from_millis(2_500), "others wait: {:?}", start.elapsed());
    assert_eq!(ann.answer(hanging).await["error"]["code"], "unavailable");
}

#[tokio::test]
async fn hooks_that_hang_or_panic_hold_up_no_call_and_no_shutdown() {
    let hooks = Hooks { notify: Arc::new(Hanging), ..Hooks::default() };
    let server = Server::with(config().hook_limit(Duration::from_millis(200)), hooks).await;
    let mut ann = server.client("ann/pc").await;
    let mut ben = server.client("ben/phone").await;
    let call = ann.place("ben").await;
    ben.event("call.incoming").await;
    ann.ok("call.cancel", json!({"call": call["id"]})).await;
    ben.event("call.ended").await;
    tokio::time::timeout(PATIENCE, server.signaling.shutdown(Duration::ZERO)).await.unwrap();
}
