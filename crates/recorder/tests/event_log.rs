//! The log of events: in the order of its commits whoever writes, the same each time it is read, in step with the rows it tells of, and for as long as it is to be
//! kept; with SQLite, and with PostgreSQL where there is one.
#![allow(clippy::unwrap_used)]

mod database;
mod desk;
mod take;

use std::time::{Duration, Instant};

use database::databases;
use desk::Desk;
use ringback_recorder::{
    CallRow, EventLog, LoggedEvent, NewEvent, NoModeration, NoteKind, NoteState, Recorder, RecorderConfig, Store,
};
use serde_json::{Value, json};
use sqlx::{Connection, Executor};
use take::voice;

const PATIENCE: Duration = Duration::from_secs(60);

fn event(kind: &str, at: u64, body: Value) -> NewEvent {
    NewEvent { at, kind: kind.to_owned(), body }
}

fn call(id: &str) -> CallRow {
    CallRow {
        id: id.to_owned(),
        kind: NoteKind::Voice,
        thread: "t".to_owned(),
        caller: "ann".to_owned(),
        callees: vec!["bob".to_owned()],
        outcome: "no_answer".to_owned(),
        placed_at: 1_000,
        ended_at: 2_000,
        ring_ms: 1_000,
        talk_ms: 0,
        acknowledged: true,
        details: json!({ "call": { "id": id } }),
        hook_done: true,
    }
}

async fn all(log: &EventLog) -> Vec<LoggedEvent> {
    log.after(0, u32::MAX).await.unwrap().events
}

/// Follows a log until `count` events have come, and sees that none is missing at any moment.
async fn tail(log: EventLog, count: u64) -> Vec<LoggedEvent> {
    let (mut read, mut cursor) = (Vec::new(), 0);
    while cursor < count {
        let page = log.after(cursor, 7).await.unwrap();
        for event in page.events {
            assert_eq!(event.sequence, cursor + 1, "an event was stepped over");
            cursor = event.sequence;
            read.push(event);
        }
        log.wait(cursor.min(count - 1)).await.unwrap();
    }
    read
}

/// Makes commits take a while, each another one, on PostgreSQL, where several can be under way: numbers that were not taken in the order of commits would show.
async fn slow_commits(database: &str) {
    if !database.starts_with("postgres") {
        return;
    }
    Store::open(database).await.unwrap().close().await;
    let mut admin = sqlx::PgConnection::connect(database).await.unwrap();
    let trigger = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
                       'BEGIN PERFORM pg_sleep(random() * 0.01); RETURN NULL; END';
                   CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED
                       FOR EACH ROW EXECUTE FUNCTION slow()";
    admin.execute(trigger).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_reads_while_many_write_steps_over_nothing_and_sees_each_writers_events_in_order() {
    const WRITERS: u64 = 6;
    const EACH: u64 = 25;
    for (database, _keep) in databases("log_writers").await {
        slow_commits(&database).await;
        // Each writer as a process of its own.
        let mut writers = Vec::new();
        for writer in 0..WRITERS {
            let store = Store::open(&database).await.unwrap();
            writers.push(tokio::spawn(async move {
                for n in 0..EACH {
                    if n % 3 == 0 {
                        assert!(store.put_call(&call(&format!("c_{writer}_{n}"))).await.unwrap());
                    } else {
                        let body = json!({ "writer": writer, "n": n });
                        store.append(&[event("test.one", 1, body.clone()), event("test.two", 1, body)]).await.unwrap();
                    }
                }
            }));
        }
        let calls = EACH.div_ceil(3);
        let count = WRITERS * (calls + 2 * (EACH - calls));
        let readers = (0..3).map(|_| {
            let database = database.clone();
            tokio::spawn(async move { tail(EventLog::new(Store::open(&database).await.unwrap()), count).await })
        });
        let readers: Vec<_> = readers.collect();
        for writer in writers {
            tokio::time::timeout(PATIENCE, writer).await.unwrap().unwrap();
        }
        let log = EventLog::new(Store::open(&database).await.unwrap());
        assert_eq!(log.newest().await.unwrap(), count);
        let kept = all(&log).await;
        for reader in readers {
            let read = tokio::time::timeout(PATIENCE, reader).await.unwrap().unwrap();
            assert!(read == kept, "who read meanwhile has read the same as who reads now");
        }
        for writer in 0..WRITERS {
            let of_writer = |event: &&LoggedEvent| event.body["writer"] == writer && event.kind == "test.one";
            let order: Vec<_> = kept.iter().filter(of_writer).map(|event| event.body["n"].as_u64().unwrap()).collect();
            assert!(order.is_sorted() && order.len() as u64 == EACH - calls, "{order:?}");
        }
        // What was appended together stands together.
        let pairs = kept.windows(2).filter(|pair| pair[0].kind == "test.one");
        pairs.for_each(|pair| assert_eq!((&pair[1].kind[..], &pair[1].body), ("test.two", &pair[0].body)));
    }
}

#[tokio::test]
async fn read_twice_and_in_pages_of_any_size_it_is_the_same() {
    for (database, _keep) in databases("log_pages").await {
        let store = Store::open(&database).await.unwrap();
        for n in 0..40 {
            store.append(&[event("test", n, json!({ "n": n, "text": "ünï \u{0} \"quoted\"" }))]).await.unwrap();
        }
        let log = EventLog::new(store.clone());
        let once = all(&log).await;
        assert_eq!(once.iter().map(|event| event.sequence).collect::<Vec<_>>(), (1..=40).collect::<Vec<_>>());
        assert_eq!(once[7].body, json!({ "n": 7, "text": "ünï \u{0} \"quoted\"" }));
        for limit in [1, 3, 39, 40, 1000] {
            let (mut read, mut cursor) = (Vec::new(), 0);
            loop {
                let page = log.after(cursor, limit).await.unwrap();
                assert_eq!((page.forgotten, page.events.len() <= limit as usize), (0, true));
                if page.events.is_empty() {
                    assert_eq!(page.next, cursor);
                    break;
                }
                cursor = page.next;
                read.extend(page.events);
            }
            assert_eq!(read, once);
        }
        store.close().await;
        let again = EventLog::new(Store::open(&database).await.unwrap());
        assert_eq!(all(&again).await, once, "after a restart as before");
        assert_eq!(again.id().await.unwrap().len(), 12);
        assert_eq!(again.id().await.unwrap(), EventLog::new(Store::open(&database).await.unwrap()).id().await.unwrap());
    }
}

#[tokio::test]
async fn the_end_of_a_call_is_told_once_however_often_it_is_kept() {
    for (database, _keep) in databases("log_calls").await {
        let store = Store::open(&database).await.unwrap();
        assert!(store.put_call(&call("c_1")).await.unwrap());
        assert!(!store.put_call(&call("c_1")).await.unwrap());
        assert!(store.put_call(&call("c_2")).await.unwrap());
        let events = all(&EventLog::new(store)).await;
        let told: Vec<_> = events.iter().map(|event| (&event.kind[..], &event.body["call"]["id"], event.at)).collect();
        assert_eq!(told, [("call.ended", &json!("c_1"), 2_000), ("call.ended", &json!("c_2"), 2_000)]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_step_of_a_note_is_in_the_log_with_the_note_as_it_was() {
    for (database, _keep) in databases("log_notes").await {
        let folder = tempfile::tempdir().unwrap();
        let mut desk = Desk::open(folder.path(), &database).await;
        let note = desk.offer("c_1").await.id;
        desk.record(&note, &voice(100, |_| true)).await;
        desk.recorder.send(&note, "ann").await.unwrap();
        for heard in [true, true, false] {
            desk.recorder.heard(&note, "bob", heard).await.unwrap();
        }
        desk.recorder.delete(&note, "ann").await.unwrap();
        desk.recorder.delete(&note, "bob").await.unwrap();
        let other = desk.offer("c_2").await.id;
        desk.recorder.discard(&other, "ann").await.unwrap();
        assert!(desk.recorder.discard(&other, "ann").await.is_err());

        let events = all(&desk.recorder.event_log()).await;
        let of = |id: &str| -> Vec<_> {
            events.iter().filter(|event| event.body["note"]["id"] == id).map(|event| event.kind.as_str()).collect()
        };
        let told = of(&note);
        let steps = ["offered", "countdown", "recording", "saving", "draft", "sent", "heard", "unheard"];
        let steps: Vec<_> = steps.iter().map(|step| format!("note.{step}")).collect();
        let steps = steps.iter().map(String::as_str).filter(|step| *step != "note.countdown" || told.contains(step));
        assert_eq!(told, steps.chain(["note.deleted", "note.deleted"]).collect::<Vec<_>>());
        assert_eq!(of(&other), ["note.offered", "note.discarded"]);
        let find = |kind: &str| events.iter().find(|event| event.kind == kind).unwrap();
        assert_eq!(find("note.sent").body["note"]["state"], "sent");
        assert!(find("note.sent").body["note"]["duration_ms"].as_u64().unwrap() > 1_000);
        assert_eq!(find("note.heard").body["user"], "bob");
        assert!(find("note.heard").body["note"]["to"][0]["heard_at"].is_u64());
        assert!(find("note.unheard").body["note"]["to"][0]["heard_at"].is_null());
        let deleted: Vec<_> = events.iter().filter(|event| event.kind == "note.deleted").collect();
        assert_eq!((&deleted[0].body["user"], &deleted[1].body["user"]), (&json!("ann"), &json!("bob")));
        // Nothing is numbered that did not happen: whatever was refused has left no gap.
        assert!(events.iter().zip(1..).all(|(event, sequence)| event.sequence == sequence));
    }
}

#[tokio::test]
async fn a_change_that_is_not_made_is_not_told() {
    for (database, _keep) in databases("log_refused").await {
        let store = Store::open(&database).await.unwrap();
        assert!(!store.send("n_none", 1).await.unwrap());
        assert!(!store.put_heard("n_none", "bob", Some(1)).await.unwrap());
        assert!(store.give_up("n_none", NoteState::Expired).await.unwrap().is_empty());
        assert_eq!(store.delete_for("n_none", "bob").await.unwrap(), None);
        assert_eq!(store.newest_event().await.unwrap(), 0);
    }
}

#[tokio::test]
async fn old_events_are_forgotten_their_numbers_are_not_used_again_and_a_late_reader_learns_of_it() {
    for (database, _keep) in databases("log_retention").await {
        let store = Store::open(&database).await.unwrap();
        let log = EventLog::new(store.clone());
        for at in [10, 20, 30, 25, 40] {
            store.append(&[event("test", at, json!({}))]).await.unwrap();
        }
        // The fourth is older than 30 and stands behind it.
        assert_eq!(store.forget_events_before(30).await.unwrap(), 2);
        let page = log.after(0, 10).await.unwrap();
        assert_eq!((page.forgotten, page.events[0].sequence, page.next), (2, 3, 5));
        assert_eq!(log.after(2, 10).await.unwrap().forgotten, 0);

        assert_eq!(store.forget_events_before(1_000).await.unwrap(), 3);
        let page = log.after(1, 10).await.unwrap();
        assert_eq!((page.forgotten, page.events.len(), page.next), (4, 0, 5));
        assert_eq!(store.append(&[event("test", 2_000, json!({}))]).await.unwrap(), 6);
        let mut follow = log.follow(1);
        assert_eq!(follow.next().await.unwrap().sequence, 6);
    }
}

#[tokio::test]
async fn a_recorder_forgets_events_after_the_time_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let open = async |retention| {
        let config = RecorderConfig { event_retention: retention, ..RecorderConfig::new(folder.path()) };
        Recorder::open(config, std::sync::Arc::new(NoModeration)).await.unwrap()
    };
    let recorder = open(None).await;
    recorder.event_log().append(&[event("test", 1_000, json!({}))]).await.unwrap();
    drop(recorder);
    assert_eq!(all(&open(None).await.event_log()).await.len(), 1);
    assert!(all(&open(Some(Duration::from_secs(3_600))).await.event_log()).await.is_empty());
}

#[tokio::test]
async fn who_follows_is_told_at_once_of_what_this_process_appends_and_soon_of_what_another_does() {
    for (database, _keep) in databases("log_follow").await {
        let store = Store::open(&database).await.unwrap();
        let mut follow = EventLog::new(store.clone()).follow(0);
        let next = tokio::spawn(async move {
            let event = follow.next().await.unwrap();
            (event, follow)
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!next.is_finished());
        let other = Store::open(&database).await.unwrap();
        other.append(&[event("of.another", 1, json!({}))]).await.unwrap();
        let (first, mut follow) = tokio::time::timeout(PATIENCE, next).await.unwrap().unwrap();
        assert_eq!(first.kind, "of.another");

        // A busy machine may hold up one of them; asking the database takes nearly a second each time.
        let mut fastest = Duration::MAX;
        for round in 0..5 {
            let next = tokio::spawn(async move { (follow.next().await.unwrap(), Instant::now(), follow) });
            tokio::time::sleep(Duration::from_millis(100)).await;
            let appended = Instant::now();
            store.append(&[event("of.this", 2 + round, json!({}))]).await.unwrap();
            let (second, at, following) = tokio::time::timeout(PATIENCE, next).await.unwrap().unwrap();
            follow = following;
            assert_eq!((second.kind.as_str(), second.at), ("of.this", 2 + round));
            fastest = fastest.min(at - appended);
        }
        assert!(fastest < Duration::from_millis(800), "{fastest:?}");
    }
}

#[tokio::test]
async fn a_readers_cursor_is_kept_for_it_under_its_name() {
    for (database, _keep) in databases("log_cursor").await {
        let log = EventLog::new(Store::open(&database).await.unwrap());
        assert_eq!(log.cursor("one").await.unwrap(), None);
        log.put_cursor("one", 3).await.unwrap();
        log.put_cursor("two", 9).await.unwrap();
        log.put_cursor("one", 4).await.unwrap();
        let again = EventLog::new(Store::open(&database).await.unwrap());
        assert_eq!(again.cursor("one").await.unwrap(), Some(4));
        assert_eq!(again.cursor("two").await.unwrap(), Some(9));
    }
}
