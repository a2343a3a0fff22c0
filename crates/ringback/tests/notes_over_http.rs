//! What the engine serves of notes over HTTP, and what it makes good after a restart. The notes are left through the recorder itself, in a former
//! "process": the way of a caller's media is tested with real clients among the examples.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use ringback::{
    BoxFuture, CallInfo, CallKind, CallState, Claims, EndedCall, Engine, EngineBuilder, Grants, HookError, MissedCall,
    NoteDecision, NoteKind, NoteLimits, NoteState, Outcome, Party, Recorder, RecorderConfig, TokenIssuer,
    TokenVerifier, UserRef,
};
use ringback_recorder::{
    CallRow, Codec, NewNote, NoModeration, NoteEvent, NoteInfo, RecorderEvent, TakeEvent, TakePacket, TrackKind,
};
use serde_json::{Value, json};
use tower::ServiceExt;

const SECRET: &[u8] = b"a secret of at least 32 bytes, for tests";
const PATIENCE: Duration = Duration::from_secs(10);

fn ended(id: &str, thread: &str) -> EndedCall {
    let user = |user: &str| UserRef { user: user.into(), name: Some(user.to_uppercase()) };
    EndedCall {
        call: CallInfo {
            id: id.into(),
            kind: CallKind::Voice,
            thread: thread.into(),
            room: "r_1".into(),
            from: user("ann"),
            to: vec![user("bob")],
            state: CallState::Ended,
            placed_at: 1_000,
            ring_ms: 45_000,
            outcome: Some(Outcome::NoAnswer),
            legs: Vec::new(),
            group: false,
            members: Vec::new(),
            host: "ann".into(),
        },
        outcome: Outcome::NoAnswer,
        ended_at: 46_000,
        rang_ms: 45_000,
        talk_ms: 0,
        acknowledged: true,
        missed: vec![user("bob")],
        caller: Party { user: "ann".into(), device: "pc".into() },
        caller_participant: None,
        quality: Vec::new(),
        by: None,
        room_kept: false,
    }
}

fn row(call: &EndedCall) -> CallRow {
    CallRow {
        id: call.call.id.clone(),
        kind: NoteKind::Voice,
        thread: call.call.thread.clone(),
        caller: "ann".into(),
        callees: vec!["bob".into()],
        outcome: "no_answer".into(),
        placed_at: call.call.placed_at,
        ended_at: call.ended_at,
        ring_ms: call.rang_ms,
        talk_ms: 0,
        acknowledged: true,
        details: serde_json::to_value(call).unwrap(),
        hook_done: false,
    }
}

/// A second of a tone, as a microphone sends it.
fn tone() -> Vec<TakeEvent> {
    let mut encoder = opus::Encoder::new(48_000, opus::Channels::Mono, opus::Application::Voip).unwrap();
    let sample = |n: usize| 0.4 * (n as f32 * 300.0 * std::f32::consts::TAU / 48_000.0).sin();
    let packet = |index: usize, payload: Vec<u8>| TakePacket {
        track: TrackKind::Audio,
        codec: Codec::Opus,
        arrival: Duration::from_millis(index as u64 * 20),
        sequence: index as u16,
        timestamp: (index * 960) as u32,
        marker: false,
        level: None,
        payload: payload.into(),
    };
    let frames = (0..50).map(|index| {
        let pcm: Vec<f32> = (index * 960..(index + 1) * 960).map(sample).collect();
        TakeEvent::Packet(packet(index, encoder.encode_vec_float(&pcm, 1_275).unwrap()))
    });
    frames.collect()
}

/// Leaves a note of a second for bob, in a process before the engine's.
async fn a_sent_note(config: &RecorderConfig, call: &EndedCall) -> NoteInfo {
    let recorder = Recorder::open(config.clone(), Arc::new(NoModeration)).await.unwrap();
    let mut events = recorder.events().unwrap();
    recorder.call_ended(&row(call)).await.unwrap();
    let new = NewNote {
        call: call.call.id.clone(),
        thread: call.call.thread.clone(),
        room: "r_1".into(),
        kind: NoteKind::Voice,
        from: "ann".into(),
        from_name: "Ann".into(),
        to: vec!["bob".into()],
        limits: NoteLimits::of(NoteKind::Voice),
    };
    let note = recorder.offer(new).await.unwrap();
    recorder.record(&note.id, "ann", true).await.unwrap();
    loop {
        match tokio::time::timeout(PATIENCE, events.recv()).await.unwrap().unwrap() {
            RecorderEvent::StartTake { writer, .. } => {
                assert!(tone().into_iter().all(|event| writer.push(event)));
                recorder.stop(&note.id, "ann").await.unwrap();
            }
            RecorderEvent::Note { event: NoteEvent::State(NoteState::Draft), .. } => break,
            _ => {}
        }
    }
    recorder.send(&note.id, "ann").await.unwrap()
}

fn builder(config: &RecorderConfig) -> EngineBuilder {
    let verifier = TokenVerifier::hs256(SECRET).unwrap();
    Engine::builder().media(&["127.0.0.1:0".parse().unwrap()]).tokens(verifier).notes(config.clone())
}

fn token(user: &str) -> String {
    let claims = Claims::new(user, Duration::from_secs(600)).grants(Grants::all());
    TokenIssuer::hs256(SECRET).unwrap().issue(&claims).unwrap()
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", String::from_utf8_lossy(&self.body));
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).unwrap().to_str().unwrap()
    }
}

async fn get(engine: &Engine, path: &str, headers: &[(header::HeaderName, &str)]) -> Answer {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    let response = engine.router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
    Answer { status: parts.status, headers: parts.headers, body }
}

async fn get_as(engine: &Engine, user: &str, path: &str) -> Answer {
    get(engine, path, &[(header::AUTHORIZATION, &format!("Bearer {}", token(user)))]).await
}

#[tokio::test]
async fn thread_and_inbox_show_a_note_to_whom_it_concerns_and_to_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let config = RecorderConfig::new(folder.path());
    let note = a_sent_note(&config, &ended("c_1", "ann|bob/ü")).await;
    let engine = builder(&config).start().await.unwrap();

    let path = "/v1/threads/ann%7Cbob%2F%C3%BC";
    let thread = get_as(&engine, "bob", path).await.json();
    assert_eq!(thread["entries"].as_array().unwrap().len(), 1, "one row a call: {thread}");
    let entry = &thread["entries"][0];
    assert_eq!((&entry["outcome"], &entry["call"]["id"]), (&json!("no_answer"), &json!("c_1")));
    assert_eq!((&entry["note"]["id"], &entry["note"]["room"]), (&json!(note.id), &Value::Null));
    let inbox = get_as(&engine, "bob", "/v1/inbox").await.json();
    assert_eq!((&inbox["unheard"], &inbox["notes"][0]["id"]), (&json!(1), &json!(note.id)));

    assert_eq!(get_as(&engine, "eve", path).await.json()["entries"], json!([]));
    assert_eq!(get_as(&engine, "eve", "/v1/inbox").await.json()["notes"], json!([]));
    assert_eq!(get_as(&engine, "eve", &format!("/v1/notes/{}", note.id)).await.status, StatusCode::NOT_FOUND);
    assert_eq!(get_as(&engine, "eve", &format!("/v1/notes/{}/media", note.id)).await.status, StatusCode::NOT_FOUND);
    assert_eq!(get(&engine, "/v1/inbox", &[]).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(get_as(&engine, "bob", "/v1/inbox?before=nonsense").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_signed_link_gets_the_file_whole_and_in_parts_and_a_forged_one_gets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let config = RecorderConfig::new(folder.path());
    a_sent_note(&config, &ended("c_1", "t")).await;
    let engine = builder(&config).start().await.unwrap();
    let inbox = get_as(&engine, "bob", "/v1/inbox").await.json();
    let link = format!("/{}", inbox["notes"][0]["url"].as_str().unwrap());

    let whole = get(&engine, &link, &[]).await;
    assert_eq!((whole.status, &whole.body[..4]), (StatusCode::OK, &b"OggS"[..]));
    assert_eq!(whole.header(header::CONTENT_TYPE), "audio/ogg; codecs=opus");
    assert_eq!(whole.header(header::ACCEPT_RANGES), "bytes");
    assert!(whole.header(header::CACHE_CONTROL).starts_with("private"));
    assert_eq!(whole.body.len() as u64, inbox["notes"][0]["size"].as_u64().unwrap());

    let part = get(&engine, &link, &[(header::RANGE, "bytes=10-19")]).await;
    assert_eq!((part.status, part.body.as_slice()), (StatusCode::PARTIAL_CONTENT, &whole.body[10..20]));
    assert_eq!(part.header(header::CONTENT_RANGE), format!("bytes 10-19/{}", whole.body.len()));
    let rest = get(&engine, &link, &[(header::RANGE, "bytes=100-")]).await;
    assert_eq!(rest.body, whole.body[100..]);
    let beyond = get(&engine, &link, &[(header::RANGE, "bytes=99999999-")]).await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
    let tag = whole.header(header::ETAG);
    assert_eq!(get(&engine, &link, &[(header::IF_NONE_MATCH, tag)]).await.status, StatusCode::NOT_MODIFIED);
    let stale = get(&engine, &link, &[(header::RANGE, "bytes=0-3"), (header::IF_RANGE, "\"another\"")]).await;
    assert_eq!((stale.status, stale.body.len()), (StatusCode::OK, whole.body.len()));

    let forged = link.replace("signature=", "signature=A");
    assert_eq!(get(&engine, &forged, &[]).await.status, StatusCode::UNAUTHORIZED);
    let poster = link.replace("/media?", "/poster?");
    assert_eq!(get(&engine, &poster, &[]).await.status, StatusCode::UNAUTHORIZED, "a link is for one thing");
}

/// Remembers what it was told, and fails the first time.
#[derive(Default)]
struct Told(Mutex<Vec<EndedCall>>);

impl MissedCall for &'static Told {
    fn missed_call<'a>(&'a self, call: &'a EndedCall) -> BoxFuture<'a, Result<NoteDecision, HookError>> {
        self.0.lock().unwrap().push(call.clone());
        let first = self.0.lock().unwrap().len() == 1;
        Box::pin(async move { if first { Err("not now".into()) } else { Ok(NoteDecision::None) } })
    }
}

impl Told {
    async fn times(&self, wanted: usize) {
        let told = async {
            while self.0.lock().unwrap().len() < wanted {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, told).await.unwrap();
    }
}

#[tokio::test]
async fn the_missed_call_hook_is_told_after_a_restart_of_what_it_has_not_been_told_before() {
    let folder = tempfile::tempdir().unwrap();
    let config = RecorderConfig::new(folder.path());
    let call = ended("c_1", "t");
    let recorder = Recorder::open(config.clone(), Arc::new(NoModeration)).await.unwrap();
    recorder.call_ended(&row(&call)).await.unwrap();
    drop(recorder);

    let told: &'static Told = Box::leak(Box::default());
    for process in 1..=2 {
        let engine = builder(&config).missed_call(told).start().await.unwrap();
        told.times(process).await;
        assert_eq!(told.0.lock().unwrap().last(), Some(&call), "with everything that was known");
        engine.shutdown(Duration::ZERO).await;
        let done = async {
            while process == 2 && !engine.recorder().unwrap().hooks_due().await.unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, done).await.unwrap();
    }
    let engine = builder(&config).missed_call(told).start().await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(told.0.lock().unwrap().len(), 2, "once it has succeeded, never again");
    drop(engine);
}
