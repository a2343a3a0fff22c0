//! Whom a note is for where some of a group answered: by default nobody, and where the embedder's hook says so those who missed the call, and no others.
#![allow(clippy::unwrap_used)]

mod house;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use house::{House, PATIENCE, Person, builder};
use ringback::{
    BoxFuture, EndedCall, HookError, MissedCall, NoteDecision, NoteInfo, OfferNotes, Outcome, RecorderConfig,
};
use serde_json::json;

/// Offers a note for those who missed a call, and remembers what it was told.
#[derive(Clone, Default)]
struct ToMissed(Arc<Mutex<Vec<EndedCall>>>);

impl MissedCall for ToMissed {
    fn may_offer_to_missed(&self) -> bool {
        true
    }

    fn missed_call<'a>(&'a self, call: &'a EndedCall) -> BoxFuture<'a, Result<NoteDecision, HookError>> {
        self.0.lock().unwrap().push(call.clone());
        Box::pin(async { Ok(NoteDecision::offer(call)) })
    }
}

/// Remembers what it was told, and decides as it is decided without a hook.
#[derive(Clone, Default)]
struct Usual(Arc<Mutex<Vec<EndedCall>>>);

impl MissedCall for Usual {
    fn missed_call<'a>(&'a self, call: &'a EndedCall) -> BoxFuture<'a, Result<NoteDecision, HookError>> {
        self.0.lock().unwrap().push(call.clone());
        OfferNotes.missed_call(call)
    }
}

async fn house(hook: impl MissedCall, folder: &tempfile::TempDir) -> House {
    House::open(builder().notes(RecorderConfig::new(folder.path())).missed_call(hook)).await
}

/// Ann rings the three; Ben answers, Cleo declines and, where `dan_too`, so does Dan. Returns the call's id.
async fn ring(house: &House, dan_too: bool) -> (Person, Person, String) {
    let mut ann = house.person("ann", "Ann").await;
    let mut ben = house.person("ben", "Ben").await;
    let mut cleo = house.person("cleo", "Cleo").await;
    let mut dan = house.person("dan", "Dan").await;
    let call = ann.ok("call.place", json!({ "to": ["ben", "cleo", "dan"], "kind": "voice" })).await["call"].clone();
    let about = json!({ "call": call["id"] });
    ben.ok("call.accept", about.clone()).await;
    cleo.ok("call.decline", about.clone()).await;
    dan.ok(if dan_too { "call.accept" } else { "call.decline" }, about).await;
    (ann, ben, call["id"].as_str().unwrap().to_owned())
}

async fn offered(house: &House, user: &str) -> Option<NoteInfo> {
    house.engine.recorder().unwrap().open_notes(user).await.unwrap().pop()
}

async fn until_offered(house: &House, user: &str) -> NoteInfo {
    let come = async {
        loop {
            match offered(house, user).await {
                Some(note) => return note,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, come).await.expect("a note is offered")
}

fn names(note: &NoteInfo) -> Vec<&str> {
    note.to.iter().map(|to| to.user.as_str()).collect()
}

#[tokio::test]
async fn a_note_after_an_answered_group_call_is_for_those_who_missed_it() {
    let folder = tempfile::tempdir().unwrap();
    let hook = ToMissed::default();
    let house = house(hook.clone(), &folder).await;
    let (mut ann, _ben, call) = ring(&house, false).await;
    assert!(offered(&house, "ann").await.is_none(), "not while it goes on");
    ann.ok("call.end", json!({ "call": call })).await;
    let note = until_offered(&house, "ann").await;
    assert_eq!((note.call.as_str(), names(&note)), (call.as_str(), vec!["cleo", "dan"]));
    let told = hook.0.lock().unwrap().clone();
    let [told] = told.as_slice() else { panic!("{told:?}") };
    let missed: Vec<&str> = told.missed.iter().map(|user| user.user.as_str()).collect();
    assert_eq!((told.outcome, missed), (Outcome::Answered, vec!["cleo", "dan"]));
    house.close().await;
}

#[tokio::test]
async fn who_came_in_is_left_no_note() {
    let folder = tempfile::tempdir().unwrap();
    let house = house(ToMissed::default(), &folder).await;
    let (mut ann, _ben, call) = ring(&house, true).await;
    ann.ok("call.end", json!({ "call": call })).await;
    assert_eq!(names(&until_offered(&house, "ann").await), ["cleo"]);
    house.close().await;
}

#[tokio::test]
async fn whoever_leaves_before_the_end_is_offered_no_note() {
    let folder = tempfile::tempdir().unwrap();
    let hook = ToMissed::default();
    let house = house(hook.clone(), &folder).await;
    let (mut ann, mut ben, call) = ring(&house, false).await;
    ann.ok("call.hangup", json!({ "call": call })).await;
    ben.ok("call.hangup", json!({ "call": call })).await;
    house.until_logged("call.ended", 1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(offered(&house, "ann").await.is_none());
    house.close().await;
}

#[tokio::test]
async fn unless_told_an_answered_group_call_leaves_no_note_and_the_hook_is_not_asked() {
    let folder = tempfile::tempdir().unwrap();
    let hook = Usual::default();
    let house = house(hook.clone(), &folder).await;
    let (mut ann, _ben, call) = ring(&house, false).await;
    ann.ok("call.end", json!({ "call": call })).await;
    house.until_logged("call.ended", 1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(offered(&house, "ann").await.is_none());
    assert!(hook.0.lock().unwrap().is_empty());
    house.close().await;
}
