//! Notifications of an engine: real calls and a note become one, wait out quiet hours in a list that says why, and survive restarts and a push service that fails.
#![allow(clippy::unwrap_used)]

mod house;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode};
use house::{House, PATIENCE, builder, token};
use ringback::peace::{Item, Notification, Occurred, OccurrenceKind, Reason, Settings, Tell};
use ringback::{
    BoxFuture, Engine, EngineError, HookError, NoteKind, NoteLimits, NoteState, Recorder, RecorderConfig, UserRef,
};
use ringback_recorder::{
    CallRow, Codec, NewNote, NoModeration, NoteEvent, RecorderEvent, TakeEvent, TakePacket, TrackKind,
};
use serde_json::{Value, json};
use tower::ServiceExt;

/// A push service: keeps what it takes, and fails while it is told to.
#[derive(Clone, Default)]
struct Push {
    taken: Arc<Mutex<Vec<Notification>>>,
    fails: Arc<AtomicBool>,
}

impl Tell for Push {
    fn tell<'a>(&'a self, notification: &'a Notification) -> BoxFuture<'a, Result<(), HookError>> {
        Box::pin(async move {
            if self.fails.load(Ordering::Relaxed) {
                return Err("the push service is away".into());
            }
            self.taken.lock().unwrap().push(notification.clone());
            Ok(())
        })
    }
}

impl Push {
    fn taken(&self) -> Vec<Notification> {
        self.taken.lock().unwrap().clone()
    }

    /// Waits until it has told so many times, and returns the last of them.
    async fn until_it_told(&self, times: usize) -> Notification {
        let come = async {
            loop {
                match self.taken().get(times - 1) {
                    Some(one) => return one.clone(),
                    None => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, come).await.unwrap_or_else(|_| panic!("not {times}: {:#?}", self.taken()))
    }

    /// Waits until the last notification tells of so many.
    async fn until_it_tells_of(&self, total: usize) -> Notification {
        let come = async {
            loop {
                match self.taken().pop().filter(|last| last.total == total) {
                    Some(last) => return last,
                    None => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        let taken = tokio::time::timeout(PATIENCE, come).await;
        taken.unwrap_or_else(|_| panic!("nothing tells of {total}: {:#?}", self.taken()))
    }
}

async fn ask(engine: &Engine, user: &str, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
    let request =
        Request::builder().method(method).uri(path).header("authorization", format!("Bearer {}", token(user, user)));
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let response = engine.router().oneshot(request.body(body).unwrap()).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

async fn get(engine: &Engine, path: &str) -> Value {
    let (status, body) = ask(engine, "ben", Method::GET, path, Value::Null).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}

async fn put_settings(engine: &Engine, settings: Value) -> Value {
    let (status, body) = ask(engine, "ben", Method::PUT, "/v1/notifications/settings", settings).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}

/// Quiet day and night, so that it is quiet now.
fn always_quiet() -> Value {
    json!([{ "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "from": "00:00", "until": "00:00" }])
}

/// A draft of Ann's for Ben, left in a process before the engine's. Returns the note's id.
async fn a_draft(config: &RecorderConfig) -> String {
    let recorder = Recorder::open(config.clone(), Arc::new(NoModeration)).await.unwrap();
    let mut events = recorder.events().unwrap();
    let call = CallRow {
        id: "c_before".into(),
        kind: NoteKind::Voice,
        thread: "t".into(),
        caller: "ann".into(),
        callees: vec!["ben".into()],
        outcome: "no_answer".into(),
        placed_at: 1_000,
        ended_at: 46_000,
        ring_ms: 45_000,
        talk_ms: 0,
        acknowledged: true,
        details: json!({}),
        hook_done: true,
    };
    recorder.call_ended(&call).await.unwrap();
    let limits = NoteLimits::of(NoteKind::Voice);
    let (call, thread, room) = (call.id, call.thread, "r".into());
    let (from, from_name, to) = ("ann".into(), "Ann".into(), vec!["ben".into()]);
    let new = NewNote { call, thread, room, kind: NoteKind::Voice, from, from_name, to, limits };
    let note = recorder.offer(new).await.unwrap();
    recorder.record(&note.id, "ann", true).await.unwrap();
    loop {
        match tokio::time::timeout(PATIENCE, events.recv()).await.unwrap().unwrap() {
            RecorderEvent::StartTake { writer, .. } => {
                (0..50).for_each(|index| assert!(writer.push(sound(index))));
                recorder.stop(&note.id, "ann").await.unwrap();
            }
            RecorderEvent::Note { event: NoteEvent::State(NoteState::Draft), .. } => return note.id,
            _ => {}
        }
    }
}

/// A packet of a tone.
fn sound(index: u16) -> TakeEvent {
    let mut encoder = opus::Encoder::new(48_000, opus::Channels::Mono, opus::Application::Voip).unwrap();
    let pcm: Vec<f32> = (0..960).map(|n| 0.4 * (n as f32 * 0.04).sin()).collect();
    TakeEvent::Packet(TakePacket {
        track: TrackKind::Audio,
        codec: Codec::Opus,
        arrival: Duration::from_millis(20 * u64::from(index)),
        sequence: index,
        timestamp: 960 * u32::from(index),
        marker: false,
        level: None,
        payload: encoder.encode_vec_float(&pcm, 1_275).unwrap().into(),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_missed_calls_and_a_note_arrive_as_one_notification() {
    let folder = tempfile::tempdir().unwrap();
    let config = RecorderConfig::new(folder.path());
    let note = a_draft(&config).await;
    let push = Push::default();
    let house = House::open(builder().notes(config).peace(Settings::default(), push.clone())).await;
    let (mut ann, mut ben) = (house.person("ann", "Ann").await, house.person("ben", "Ben").await);
    for calls in 1..=3 {
        house.give_up(&mut ann, "ben").await;
        push.until_it_tells_of(calls).await;
    }
    ann.ok("note.send", json!({ "note": note })).await;
    let last = push.until_it_tells_of(4).await;

    let taken = push.taken();
    assert!(taken.iter().all(|one| one.id == last.id && one.user == "ben"), "one notification, replaced: {taken:#?}");
    assert_eq!(taken.iter().map(|one| one.silent).collect::<Vec<_>>(), [false, true, true, true]);
    assert_eq!(taken.iter().map(|one| one.revision).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let kinds: Vec<_> = last.items.iter().map(|item| item.kind).collect();
    let missed = OccurrenceKind::MissedCall;
    assert_eq!(kinds, [missed, missed, missed, OccurrenceKind::Note]);
    assert_eq!((last.why, last.from.unwrap().name.as_deref()), (Reason::Welcome, Some("Ann")));
    assert_eq!(last.live_devices, ["phone"]);
    // The device that is there is told the same.
    let told = loop {
        let told = ben.event("notification").await;
        if told["notification"]["revision"] == 4 {
            break told;
        }
    };
    assert_eq!(told["notification"]["items"].as_array().unwrap().len(), 4);
    let counts = json!({ "missed_call": { "new": 3, "old": 0 }, "note": { "new": 1, "old": 0 } });
    assert_eq!(told["counts"], counts);
    // The log of events, and webhooks with it, have it too.
    let log = house.logged().await;
    let shown: Vec<_> = log.iter().filter(|event| event.kind == "notification.shown").collect();
    assert_eq!(shown.last().unwrap().body["notification"]["total"], 4);

    // Heard is seen, and counted so; and whoever calls back has seen the rest.
    ben.ok("note.heard", json!({ "note": note })).await;
    house.call(&mut ben, &mut ann, "ann", true).await;
    let counts = json!({ "missed_call": { "new": 0, "old": 3 }, "note": { "new": 0, "old": 1 } });
    let come = async {
        while get(&house.engine, "/v1/notifications").await["counts"] != counts {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, come).await.expect("what was seen counts as old");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_in_quiet_hours_is_listed_with_its_reason_and_told_when_they_end() {
    let folder = tempfile::tempdir().unwrap();
    let push = Push::default();
    let house =
        House::open(builder().notes(RecorderConfig::new(folder.path())).peace(Settings::default(), push.clone())).await;
    let (mut ann, _ben) = (house.person("ann", "Ann").await, house.person("ben", "Ben").await);
    let mut cem = house.person("cem", "Cem").await;
    let put = put_settings(&house.engine, json!({ "quiet_hours": always_quiet(), "favourites": ["cem"] })).await;
    assert!(put["quiet_until"].is_u64());
    assert_eq!(put["settings"]["alerts_per_hour"], 6, "what is left out is as the embedder has it");
    house.give_up(&mut ann, "ben").await;
    house.give_up(&mut cem, "ben").await;
    // The favourite gets through, and names the rule.
    let loud = push.until_it_tells_of(1).await;
    assert_eq!((loud.why, loud.from.unwrap().user.as_str()), (Reason::Favourite, "cem"));
    let waiting = get(&house.engine, "/v1/notifications?waiting=true").await;
    let entries = waiting["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 1, "{waiting}");
    assert_eq!((&entries[0]["from"]["user"], &entries[0]["held"]["rule"]), (&json!("ann"), &json!("quiet_hours")));
    assert!(entries[0]["held"]["until"].is_u64() && entries[0]["notification"].is_null());
    let all = get(&house.engine, "/v1/notifications").await;
    let of_cem = all["entries"].as_array().unwrap().iter().find(|entry| entry["from"]["user"] == "cem").unwrap();
    assert_eq!(of_cem["notification"]["why"]["rule"], "favourite");

    put_settings(&house.engine, json!({ "quiet_hours": [] })).await;
    let come = async {
        while push.taken().len() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, come).await.expect("a digest");
    let digest = push.taken().pop().unwrap();
    assert_eq!((digest.why, digest.from, digest.total), (Reason::Digest, None, 1));
    assert_eq!(digest.items[0].from.user, "ann");
    assert_eq!(get(&house.engine, "/v1/notifications?waiting=true").await["entries"], json!([]));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_told_before_a_restart_is_told_after_it_and_never_again() {
    let folder = tempfile::tempdir().unwrap();
    let push = Push::default();
    let open =
        || House::open(builder().notes(RecorderConfig::new(folder.path())).peace(Settings::default(), push.clone()));
    push.fails.store(true, Ordering::Relaxed);
    let house = open().await;
    let (mut ann, ben) = (house.person("ann", "Ann").await, house.person("ben", "Ben").await);
    house.give_up(&mut ann, "ben").await;
    house.give_up(&mut ann, "ben").await;
    house.until_logged("notification.shown", 1).await;
    drop((ann, ben));
    house.close().await;
    assert_eq!(push.taken(), []);

    push.fails.store(false, Ordering::Relaxed);
    let house = open().await;
    let told = push.until_it_tells_of(2).await;
    assert!(!told.silent, "the sound of the first revision was not heard yet");
    house.close().await;

    let house = open().await;
    let item = Item {
        id: "reaction:1".into(),
        at: told.items[1].at + 1,
        kind: OccurrenceKind::Reaction,
        from: UserRef { user: "ann".into(), name: Some("Ann".into()) },
        thread: "t".into(),
        call: None,
        note: None,
        image: None,
        about: Some("n_7".into()),
    };
    let occurred = Occurred { user: "ben".into(), item: item.clone() };
    // Twice, as whoever tells us may after a fault of their own.
    house.engine.occurred(&occurred).await.unwrap();
    house.engine.occurred(&occurred).await.unwrap();
    let last = push.until_it_tells_of(3).await;
    assert_eq!((push.taken().len(), &last.id, last.silent, &last.items[2]), (2, &told.id, true, &item));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_service_that_was_away_gets_what_it_missed_and_live_devices_need_not_wait_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let push = Push::default();
    push.fails.store(true, Ordering::Relaxed);
    let house =
        House::open(builder().notes(RecorderConfig::new(folder.path())).peace(Settings::default(), push.clone())).await;
    let (mut ann, mut ben) = (house.person("ann", "Ann").await, house.person("ben", "Ben").await);
    house.give_up(&mut ann, "ben").await;
    assert_eq!(ben.event("notification").await["notification"]["total"], 1);
    push.fails.store(false, Ordering::Relaxed);
    push.until_it_tells_of(1).await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_cannot_work_are_refused_with_the_reason_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let house =
        House::open(builder().notes(RecorderConfig::new(folder.path())).peace(Settings::default(), Push::default()))
            .await;
    let path = "/v1/notifications/settings";
    put_settings(&house.engine, json!({ "time_zone": "Europe/Berlin" })).await;
    for (wrong, why) in [
        (json!({ "time_zone": "Nowhere" }), "no time zone"),
        (json!({ "alerts_per_hour": 0 }), "1 to 1000"),
        (json!({ "quiet_hours": [{ "days": ["mon"], "from": "25:00", "until": "07:00" }] }), "no time of day"),
        (json!({ "quite_hours": [] }), "unknown field"),
        (json!([]), "invalid type"),
    ] {
        let (status, body) = ask(&house.engine, "ben", Method::PUT, path, wrong).await;
        let message = body["error"]["message"].as_str().unwrap();
        assert!(status == StatusCode::BAD_REQUEST && message.contains(why), "{body}");
    }
    assert_eq!(get(&house.engine, path).await["settings"]["time_zone"], "Europe/Berlin");
    let (_, of_another) = ask(&house.engine, "ann", Method::GET, path, Value::Null).await;
    assert_eq!(of_another["settings"]["time_zone"], "UTC", "each has their own");
    let (status, _) = ask(&house.engine, "ben", Method::POST, "/v1/notifications/seen", json!({ "all": true })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    house.close().await;
}

#[tokio::test]
async fn an_engine_whose_peace_could_not_be_kept_does_not_start() {
    let nowhere = Settings { time_zone: "Nowhere".to_owned(), ..Settings::default() };
    let folder = tempfile::tempdir().unwrap();
    let config = RecorderConfig::new(folder.path());
    let started = builder().notes(config).peace(nowhere, Push::default()).start().await;
    assert!(matches!(started, Err(EngineError::Peace(_))));
    let started = builder().peace(Settings::default(), Push::default()).start().await;
    assert!(matches!(started, Err(EngineError::NoStore)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_left_a_note_learns_of_a_reaction_once_together_with_what_else_that_person_did() {
    let folder = tempfile::tempdir().unwrap();
    let config = RecorderConfig::new(folder.path());
    let note = a_draft(&config).await;
    let push = Push::default();
    let house = House::open(builder().notes(config).peace(Settings::default(), push.clone())).await;
    let (mut ann, mut ben) = (house.person("ann", "Ann").await, house.person("ben", "Ben").await);
    ann.ok("note.send", json!({ "note": note })).await;
    push.until_it_tells_of(1).await;

    house.give_up(&mut ben, "ann").await;
    push.until_it_tells_of(1).await;
    let reacted = ben.ok("note.react", json!({ "note": note, "emoji": "❤" })).await;
    let heart = json!([{ "user": "ben", "name": "Ben", "emoji": "❤️", "at": reacted["note"]["reactions"][0]["at"] }]);
    assert_eq!(reacted["note"]["reactions"], heart, "spelled in full");
    let told = ann.event("note.reacted").await;
    assert_eq!((&told["note"]["id"], &told["note"]["reactions"]), (&json!(note), &heart));
    let one = push.until_it_tells_of(2).await;
    assert_eq!((one.user.as_str(), one.silent, one.why), ("ann", true, Reason::Welcome));
    assert_eq!(one.from.as_ref().map(|from| from.name.as_deref()), Some(Some("Ben")));
    let item = &one.items[1];
    assert_eq!(
        (item.kind, item.note.as_ref(), item.about.as_deref()),
        (OccurrenceKind::Reaction, Some(&note), Some("❤️"))
    );

    // Another mind makes no other notification, over HTTP as well as over the socket.
    let path = format!("/v1/notes/{note}/reaction");
    let (status, body) = ask(&house.engine, "ben", Method::PUT, &path, json!({ "emoji": "👍" })).await;
    assert_eq!((status, &body["note"]["reactions"][0]["emoji"]), (StatusCode::OK, &json!("👍")), "{body}");
    house.until_logged("note.reacted", 2).await;
    let entry = async {
        loop {
            let (_, list) = ask(&house.engine, "ann", Method::GET, "/v1/notifications", Value::Null).await;
            let entries = list["entries"].as_array().unwrap();
            let entry = entries.iter().find(|entry| entry["kind"] == "reaction").unwrap().clone();
            match entry["about"] == "👍" {
                true => break entry,
                false => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let entry = tokio::time::timeout(PATIENCE, entry).await.expect("the list has the last one");
    assert_eq!(entry["notification"]["id"], one.id.as_str());
    let refused = [
        ("ben", json!({ "emoji": "👍👍" }), StatusCode::BAD_REQUEST),
        ("ben", json!({ "emoji": "lol" }), StatusCode::BAD_REQUEST),
        ("ben", json!({ "emoji": "👍", "more": 1 }), StatusCode::BAD_REQUEST),
        ("eve", json!({ "emoji": "👍" }), StatusCode::NOT_FOUND),
    ];
    for (user, said, status) in refused {
        assert_eq!(ask(&house.engine, user, Method::PUT, &path, said.clone()).await.0, status, "{user}: {said}");
    }
    for _ in 0..2 {
        let (status, body) = ask(&house.engine, "ben", Method::DELETE, &path, Value::Null).await;
        assert_eq!((status, &body["note"]["reactions"]), (StatusCode::OK, &json!([])));
    }
    ann.event("note.unreacted").await;
    let counts = async {
        loop {
            let (_, list) = ask(&house.engine, "ann", Method::GET, "/v1/notifications", Value::Null).await;
            if list["counts"]["reaction"] == json!({ "new": 0, "old": 1 }) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, counts).await.expect("what was taken back is nothing new");
    let of_ann: Vec<_> = push.taken().into_iter().filter(|taken| taken.user == "ann").collect();
    assert_eq!(of_ann.iter().filter(|taken| !taken.silent).count(), 1, "{of_ann:#?}");
    assert_eq!(of_ann.len(), 2, "{of_ann:#?}");
    house.close().await;
}

/// Lets Ben call whom he likes, and leave Ann nothing.
struct Blocked;

impl ringback::Authorize for Blocked {
    fn may_leave_note<'a>(&'a self, from: &'a str, to: &'a str) -> BoxFuture<'a, ringback::Permission> {
        let blocked = (from, to) == ("ben", "ann");
        Box::pin(async move {
            if blocked { ringback::Permission::Forbidden("blocked".into()) } else { ringback::Permission::Granted }
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_may_leave_somebody_no_note_may_not_react_to_theirs_either() {
    let folder = tempfile::tempdir().unwrap();
    let config = RecorderConfig::new(folder.path());
    let note = a_draft(&config).await;
    let house = House::open(builder().notes(config).authorize(Blocked)).await;
    let mut ann = house.person("ann", "Ann").await;
    ann.ok("note.send", json!({ "note": note })).await;
    let path = format!("/v1/notes/{note}/reaction");
    let react = |user| ask(&house.engine, user, Method::PUT, &path, json!({ "emoji": "👍" }));
    assert_eq!(react("ben").await.0, StatusCode::FORBIDDEN);
    assert_eq!(react("ann").await.0, StatusCode::OK, "one's own");
    house.close().await;
}

/// Counts what the notify hook is called for: rings, their ends, missed calls and notes.
#[derive(Clone, Default)]
struct Bell(Arc<Mutex<Vec<&'static str>>>);

impl Bell {
    fn heard(&self, what: &'static str) -> BoxFuture<'_, ()> {
        self.0.lock().unwrap().push(what);
        Box::pin(async {})
    }
}

impl ringback::Notify for Bell {
    fn incoming<'a>(&'a self, _: &'a ringback::Notice) -> BoxFuture<'a, ()> {
        self.heard("incoming")
    }

    fn cancelled<'a>(&'a self, _: &'a ringback::Notice) -> BoxFuture<'a, ()> {
        self.heard("cancelled")
    }

    fn missed<'a>(&'a self, _: &'a ringback::Notice) -> BoxFuture<'a, ()> {
        self.heard("missed")
    }

    fn note<'a>(&'a self, _: &'a ringback::NoteNotice) -> BoxFuture<'a, ()> {
        self.heard("note")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_notify_hook_only_rings_where_the_peace_is_kept_and_tells_all_where_it_is_not() {
    for keeps_peace in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let config = RecorderConfig::new(folder.path());
        let note = a_draft(&config).await;
        let (bell, push) = (Bell::default(), Push::default());
        let builder = builder().notes(config).notify(bell.clone());
        let builder = if keeps_peace { builder.peace(Settings::default(), push.clone()) } else { builder };
        let house = House::open(builder).await;
        let (mut ann, _ben) = (house.person("ann", "Ann").await, house.person("ben", "Ben").await);
        ann.ok("note.send", json!({ "note": note })).await;
        house.give_up(&mut ann, "ben").await;
        // The last that each of them hears of.
        let last = async {
            while bell.0.lock().unwrap().last() != Some(&if keeps_peace { "cancelled" } else { "missed" }) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, last).await.expect("the ring is over");
        if keeps_peace {
            push.until_it_tells_of(2).await;
        }
        house.close().await;
        let mut heard = bell.0.lock().unwrap().clone();
        heard.sort_unstable();
        let rings = ["cancelled", "incoming"];
        let all = ["cancelled", "incoming", "missed", "note"];
        assert_eq!(heard, if keeps_peace { &rings[..] } else { &all[..] });
    }
}

/// Ben's missed calls and notes as the list has them, newest first: the rule that held each back, and whether it was seen and told.
async fn listed(engine: &Engine) -> Vec<(Value, bool, bool)> {
    let list = get(engine, "/v1/notifications").await;
    let entries = list["entries"].as_array().unwrap().iter();
    let entry =
        |entry: &Value| (entry["held"]["rule"].clone(), !entry["seen_at"].is_null(), !entry["notification"].is_null());
    entries.map(entry).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_into_the_thread_that_somebody_looks_at_is_told_to_nobody_unless_nobody_saw_it() {
    let folder = tempfile::tempdir().unwrap();
    let push = Push::default();
    let house =
        House::open(builder().notes(RecorderConfig::new(folder.path())).peace(Settings::default(), push.clone())).await;
    let (mut ann, mut ben) = (house.person("ann", "Ann").await, house.person("ben", "Ben").await);
    let mut cem = house.person("cem", "Cem").await;
    // A first call, to learn the thread.
    house.give_up(&mut ann, "ben").await;
    let told = push.until_it_tells_of(1).await;
    let thread = told.items[0].thread.clone();
    ask(&house.engine, "ben", Method::POST, "/v1/notifications/seen", json!({ "ids": [told.items[0].id] })).await;
    let bad = ben.request("thread.view", json!({ "thread": "x".repeat(300) })).await;
    assert_eq!(bad["error"]["code"], "bad_request", "{bad}");
    ben.ok("thread.view", json!({ "thread": thread })).await;

    house.give_up(&mut ann, "ben").await;
    let asked = ben.event("notification.in_view").await;
    assert_eq!((&asked["thread"], asked["ids"].as_array().unwrap().len()), (&json!(thread), 1));
    let (_, answer) =
        ask(&house.engine, "ben", Method::POST, "/v1/notifications/seen", json!({ "ids": asked["ids"] })).await;
    assert_eq!(answer["counts"]["missed_call"], json!({ "new": 0, "old": 2 }));
    assert_eq!(listed(&house.engine).await[0], (json!("in_view"), true, false));
    // Another thread is not in view.
    house.give_up(&mut cem, "ben").await;
    assert_eq!(push.until_it_told(2).await.from.unwrap().user, "cem");

    // A page that does not answer, and then one that is gone.
    house.give_up(&mut ann, "ben").await;
    assert_eq!(push.until_it_told(3).await.from.unwrap().user, "ann");
    assert_eq!(listed(&house.engine).await[0], (json!("in_view"), false, true));
    drop(ben);
    let gone = async {
        while !house.engine.metrics().await.contains("ringback_sessions 2\n") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("Ben is gone");
    house.give_up(&mut ann, "ben").await;
    assert_eq!(push.until_it_told(4).await.total, 2);
    assert_eq!(listed(&house.engine).await[0], (Value::Null, false, true), "a view ends with its socket");
    house.close().await;
}
