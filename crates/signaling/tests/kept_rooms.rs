//! The room of a call that nobody answered: open to the caller alone, for as long as a note may be left there.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringback_signaling::SignalingEvent;
use ringback_signaling::hooks::{AfterCall, CallLog, EndedCall, HookError, Hooks, NoHooks, Notify};
use ringback_signaling::media::BoxFuture;
use ringback_signaling::notes::{NoteNews, NoteNotice, Notes, OpenNotes};
use ringback_signaling::protocol::{CallInfo, CallKind, ErrorCode, NoteRequest, Outcome, UserRef, WireError};
use serde_json::{Map, Value, json};
use support::{Client, PATIENCE, Server, config};

/// Keeps the room of whoever calls anybody but `stranger`.
struct KeepRooms;

impl CallLog for KeepRooms {
    fn may_keep_room(&self, _call: &CallInfo, outcome: Outcome) -> bool {
        outcome != Outcome::Failed
    }

    fn ended<'a>(&'a self, call: &'a EndedCall) -> BoxFuture<'a, Result<AfterCall, HookError>> {
        let stranger = call.call.to[0].user == "stranger";
        Box::pin(async move { Ok(if stranger { AfterCall::CloseRoom } else { AfterCall::KeepRoom }) })
    }
}

async fn server() -> Server {
    let config = config().ring(Duration::from_millis(300)).ring_ack(Duration::from_millis(300));
    Server::with(config, Hooks { call_log: Arc::new(KeepRooms), ..Hooks::default() }).await
}

async fn ring_in_vain(caller: &mut Client, callee: &str) -> Value {
    let call = caller.place(callee).await;
    caller.ok("room.join", json!({"room": call["room"], "offer": "o", "tracks": []})).await;
    caller.event("call.ended").await
}

#[tokio::test]
async fn after_an_unanswered_call_the_caller_stays_in_the_room_until_it_is_released() {
    let server = server().await;
    let mut ann = server.client("ann/pc").await;
    let ended = ring_in_vain(&mut ann, "ben").await;
    assert_eq!(ended["room_kept"], true, "{ended}");
    let room = ended["call"]["room"].as_str().unwrap().to_owned();
    let quiet = ann.events_within(Duration::from_millis(300)).await;
    assert!(quiet.iter().all(|event| event["event"] != "room.closed"), "{quiet:?}");
    ann.ok("room.offer", json!({"room": room, "offer": "again", "tracks": []})).await;

    server.signaling.release_room(&room).await;
    let closed = ann.event("room.closed").await;
    assert_eq!((closed["room"].as_str(), closed["reason"].as_str()), (Some(room.as_str()), Some("call_ended")));
    server.media.wait_for(&format!("close {room}")).await;
}

#[tokio::test]
async fn a_room_that_no_note_is_left_in_closes_at_once() {
    let server = server().await;
    let mut ann = server.client("ann/pc").await;
    let ended = ring_in_vain(&mut ann, "stranger").await;
    assert_eq!(ended["room_kept"], true, "it was not decided yet: {ended}");
    ann.event("room.closed").await;
}

#[tokio::test]
async fn nobody_but_the_caller_comes_into_a_kept_room() {
    let server = server().await;
    let mut ann = server.client("ann/pc").await;
    let mut ben = server.client("ben/phone").await;
    let ended = ring_in_vain(&mut ann, "ben").await;
    let join = json!({"room": ended["call"]["room"], "offer": "o", "tracks": []});
    assert_eq!(ben.refused("room.join", join.clone()).await, "forbidden");
    let mut anns_phone = server.client("ann/phone").await;
    anns_phone.ok("room.join", join).await;
    let ended = ben.event("call.ended").await;
    assert_eq!(ended.get("room_kept"), None, "the callee has no room to keep: {ended}");
}

#[tokio::test]
async fn a_caller_who_rang_somebody_busy_may_join_the_room_to_leave_a_note() {
    let server = server().await;
    let mut ann = server.client("ann/pc").await;
    let mut ben = server.client("ben/phone").await;
    let mut cat = server.client("cat/pc").await;
    let call = cat.place("ben").await;
    ben.event("call.incoming").await;
    ben.ok("call.accept", json!({"call": call["id"]})).await;

    let call = ann.place("ben").await;
    assert_eq!((call["state"].as_str(), call["outcome"].as_str()), (Some("ended"), Some("busy")));
    assert_eq!(ann.event("call.ended").await["room_kept"], true);
    ann.ok("room.join", json!({"room": call["room"], "offer": "o", "tracks": []})).await;
}

#[tokio::test]
async fn who_accepts_too_late_calls_back_while_the_caller_is_leaving_a_note() {
    let server = server().await;
    let mut ann = server.client("ann/pc").await;
    let mut ben = server.client("ben/phone").await;
    let ended = ring_in_vain(&mut ann, "ben").await;
    let call = ended["call"].clone();
    let back = ben.ok("call.accept", json!({"call": call["id"]})).await["call"].clone();
    assert_ne!(back["id"], call["id"]);
    assert_eq!((&back["from"]["user"], &back["thread"]), (&json!("ben"), &call["thread"]));
    assert_eq!(ann.event("call.incoming").await["call"]["id"], back["id"]);
    ben.ok("call.cancel", json!({"call": back["id"]})).await;

    server.signaling.release_room(call["room"].as_str().unwrap()).await;
    ann.event("room.closed").await;
    assert_eq!(ben.refused("call.accept", json!({"call": call["id"]})).await, "conflict");
}

/// One note of ann's, and a record of what was pushed.
#[derive(Default)]
struct OneNote {
    pushed: Mutex<Vec<NoteNotice>>,
}

impl Notes for OneNote {
    fn open<'a>(&'a self, user: &'a str) -> BoxFuture<'a, OpenNotes> {
        let notes = if user == "ann" { vec![json!({"id": "n_1"})] } else { Vec::new() };
        Box::pin(async { OpenNotes { notes, unheard: 2 } })
    }

    fn handle<'a>(&'a self, user: &'a UserRef, request: NoteRequest) -> BoxFuture<'a, Result<Value, WireError>> {
        Box::pin(async move {
            match request {
                NoteRequest::Record { note, skip_countdown } => {
                    Ok(json!({"id": note, "user": user.user, "skipped": skip_countdown}))
                }
                NoteRequest::Stop { .. } => panic!("as the test wants it"),
                _ => Err(WireError::new(ErrorCode::Conflict, "not now")),
            }
        })
    }
}

impl Notify for OneNote {
    fn incoming<'a>(&'a self, notice: &'a ringback_signaling::hooks::Notice) -> BoxFuture<'a, ()> {
        NoHooks.incoming(notice)
    }

    fn cancelled<'a>(&'a self, notice: &'a ringback_signaling::hooks::Notice) -> BoxFuture<'a, ()> {
        NoHooks.cancelled(notice)
    }

    fn missed<'a>(&'a self, notice: &'a ringback_signaling::hooks::Notice) -> BoxFuture<'a, ()> {
        NoHooks.missed(notice)
    }

    fn note<'a>(&'a self, notice: &'a NoteNotice) -> BoxFuture<'a, ()> {
        self.pushed.lock().unwrap().push(notice.clone());
        Box::pin(async {})
    }
}

#[tokio::test]
async fn requests_about_notes_are_handed_on_and_answered() {
    let notes = Arc::new(OneNote::default());
    let server = Server::with(config(), Hooks { notes: Some(notes), ..Hooks::default() }).await;
    let mut ann = server.client("ann/pc").await;
    assert_eq!((&ann.hello["notes"], &ann.hello["unheard"]), (&json!([{"id": "n_1"}]), &json!(2)));
    let recorded = ann.ok("note.record", json!({"note": "n_1", "skip_countdown": true})).await;
    assert_eq!(recorded["note"], json!({"id": "n_1", "user": "ann", "skipped": true}));
    assert_eq!(ann.refused("note.send", json!({"note": "n_1"})).await, "conflict");
    assert_eq!(ann.refused("note.stop", json!({"note": "n_1"})).await, "internal", "a panic is answered");
    let nothing = ann.request("note.send", json!({})).await;
    assert_eq!(nothing["error"]["code"], "bad_request", "{nothing}");
    assert!(nothing["error"]["message"].as_str().unwrap().contains("note"), "{nothing}");
}

#[tokio::test]
async fn a_server_without_notes_says_so() {
    let server = Server::start().await;
    let mut ann = server.client("ann/pc").await;
    assert_eq!(ann.hello.get("notes"), None);
    assert_eq!(ann.refused("note.send", json!({"note": "n_1"})).await, "not_found");
}

#[tokio::test]
async fn news_of_a_note_reach_all_devices_of_a_user_the_notify_hook_and_the_log() {
    let notes = Arc::new(OneNote::default());
    let server = Server::with(config(), Hooks { notify: notes.clone(), ..Hooks::default() }).await;
    let mut events = server.signaling.events().unwrap();
    let (mut pc, mut phone) = (server.client("ben/pc").await, server.client("ben/phone").await);
    let mut ann = server.client("ann/pc").await;
    let fields: Map<String, Value> =
        [("note".to_owned(), json!({"id": "n_1"})), ("unheard".to_owned(), 1.into())].into_iter().collect();
    let notice = NoteNotice {
        user: "ben".into(),
        note: "n_1".into(),
        call: "c_1".into(),
        thread: "t".into(),
        kind: CallKind::Voice,
        from: UserRef { user: "ann".into(), name: None },
        duration_ms: 1_000,
        live_devices: Vec::new(),
        collapse_key: "c_1".into(),
    };
    let news = NoteNews {
        event: "note.sent".into(),
        note: json!({"id": "n_1"}),
        tell: vec![("ben".into(), fields)],
        notices: vec![notice],
    };
    server.signaling.note_news(news).await;
    for device in [&mut pc, &mut phone] {
        let event = device.event("note.sent").await;
        assert_eq!((&event["note"]["id"], &event["unheard"]), (&json!("n_1"), &json!(1)));
    }
    let pushed = async {
        while notes.pushed.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, pushed).await.unwrap();
    assert_eq!(notes.pushed.lock().unwrap()[0].live_devices, ["pc", "phone"]);
    let logged = async {
        loop {
            if let SignalingEvent::Note { what, note, .. } = events.recv().await.unwrap() {
                return (what, note);
            }
        }
    };
    let logged = tokio::time::timeout(PATIENCE, logged).await.unwrap();
    assert_eq!(logged, ("note.sent".to_owned(), json!({"id": "n_1"})));
    let others = ann.events_within(Duration::from_millis(100)).await;
    assert!(others.iter().all(|event| event["event"] != "note.sent"), "{others:?}");
}
