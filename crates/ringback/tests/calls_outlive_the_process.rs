//! An engine that ends in mid-call and the one that takes its folder over: the call goes on, what rang has a row and an event, and a database that two engines share
//! keeps each one's calls apart.
#![allow(clippy::unwrap_used)]

mod house;

use house::{House, PATIENCE, builder};
use ringback::RecorderConfig;
use serde_json::{Value, json};

async fn open(config: &RecorderConfig) -> House {
    House::open(builder().notes(config.clone())).await
}

/// What the log says of a call, without its legs.
async fn kinds(house: &House, call: &Value) -> Vec<String> {
    let log = house.logged().await;
    let of = log.iter().filter(|event| event.kind.starts_with("call.") && event.body["call"]["id"] == call["id"]);
    of.map(|event| event.kind.clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_active_call_goes_on_in_the_next_process_and_a_ringing_one_has_failed() {
    let folder = tempfile::tempdir().unwrap();
    let config = RecorderConfig::new(folder.path());
    let house = open(&config).await;
    let (mut ann, mut ben) = (house.person("ann", "Ann").await, house.person("ben", "Ben").await);
    let (mut cleo, _dan) = (house.person("cleo", "Cleo").await, house.person("dan", "Dan").await);
    let talk = ann.ok("call.place", json!({ "to": ["ben"], "kind": "voice" })).await["call"].clone();
    ben.ok("call.accept", json!({ "call": talk["id"] })).await;
    let ring = cleo.ok("call.place", json!({ "to": ["dan"], "kind": "voice" })).await["call"].clone();
    house.until_logged("call.placed", 2).await;
    house.until_logged("call.active", 1).await;
    house.engine.suspend().await;
    assert_eq!(kinds(&house, &ring).await, ["call.placed", "call.ended"], "its end is known at once");
    house.abandon();

    let house = open(&config).await;
    let (mut ann, mut ben) = (house.person("ann", "Ann").await, house.person("ben", "Ben").await);
    assert_eq!(ann.ok("call.status", json!({ "call": talk["id"] })).await["call"]["state"], "active");
    house.until_logged("call.restored", 1).await;
    ben.ok("call.hangup", json!({ "call": talk["id"] })).await;
    house.until_logged("call.ended", 2).await;
    assert_eq!(kinds(&house, &talk).await, ["call.placed", "call.active", "call.restored", "call.ended"]);
    house.close().await;

    let house = open(&config).await;
    let mut ann = house.person("ann", "Ann").await;
    assert_eq!(ann.request("call.status", json!({ "call": talk["id"] })).await["error"]["code"], "not_found");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_rang_when_the_process_was_killed_ends_with_its_row_and_its_hook_in_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let config = RecorderConfig::new(folder.path());
    let house = open(&config).await;
    let (mut ann, _ben) = (house.person("ann", "Ann").await, house.person("ben", "Ben").await);
    let call = ann.ok("call.place", json!({ "to": ["ben"], "kind": "voice" })).await["call"].clone();
    house.until_logged("leg.changed", 1).await;
    // What a killed process leaves: the folder as it is now, without a last word.
    let left = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()) {
        if file.is_file() {
            std::fs::copy(&file, left.path().join(file.file_name().unwrap())).unwrap();
        }
    }
    let next = open(&RecorderConfig::new(left.path())).await;
    next.until_logged("call.ended", 1).await;
    let log = next.logged().await;
    let ended = log.iter().find(|event| event.kind == "call.ended").unwrap();
    assert_eq!((&ended.body["call"]["id"], &ended.body["outcome"]), (&call["id"], &json!("failed")));
    let thread = call["thread"].as_str().unwrap();
    let rows = next.engine.recorder().unwrap().thread("ben", thread, None, 10).await.unwrap().rows;
    assert_eq!(rows.len(), 1, "one row in the thread");
    let told = async {
        while !next.engine.recorder().unwrap().hooks_due().await.unwrap().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("the missed-call hook was told");
    next.close().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn engines_that_share_a_database_take_up_their_own_calls_only() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let shared = Some(format!("sqlite://{}", one.path().join("shared.sqlite").display()));
    let config =
        |folder: &tempfile::TempDir| RecorderConfig { database: shared.clone(), ..RecorderConfig::new(folder.path()) };
    let (first, second) = (config(&one), config(&two));
    let house = open(&first).await;
    let (mut ann, mut ben) = (house.person("ann", "Ann").await, house.person("ben", "Ben").await);
    let call = ann.ok("call.place", json!({ "to": ["ben"], "kind": "voice" })).await["call"].clone();
    ben.ok("call.accept", json!({ "call": call["id"] })).await;
    house.until_logged("call.active", 1).await;
    for config in [&second, &second] {
        let other = open(config).await;
        let status = other.person("ann", "Ann").await.request("call.status", json!({ "call": call["id"] })).await;
        assert_eq!(status["error"]["code"], "not_found", "it is the other one's call");
        other.close().await;
    }
    house.engine.suspend().await;
    house.abandon();
    let house = open(&first).await;
    let status = house.person("ann", "Ann").await.ok("call.status", json!({ "call": call["id"] })).await;
    assert_eq!(status["call"]["state"], "active");
    house.close().await;
}
