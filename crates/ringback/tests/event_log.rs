//! The log of events of an engine: real calls in it in their order, each end with its row, beside the stream that may lose; and what remains of it after a restart.
#![allow(clippy::unwrap_used)]

mod house;

use std::time::Duration;

use house::{House, PATIENCE, builder};
use ringback::{RecorderConfig, SignalingEvent};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_logged_from_ring_to_end_and_reads_the_same_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let open = || House::open(builder().notes(RecorderConfig::new(folder.path())));
    let house = open().await;
    let mut stream = house.engine.events().unwrap();
    assert!(house.engine.events().is_none(), "taken before");
    let (mut ann, mut ben) = (house.person("ann", "Ann").await, house.person("ben", "Ben").await);
    let answered = house.call(&mut ann, &mut ben, "ben", true).await;
    let declined = house.call(&mut ann, &mut ben, "ben", false).await;
    house.until_logged("note.offered", 1).await;
    house.until_logged("room.closed", 1).await;

    let log = house.logged().await;
    assert_eq!(log[0].kind, "engine.started");
    assert!(log.iter().zip(1..).all(|(event, sequence)| event.sequence == sequence));
    let of = |call: &str| -> Vec<_> {
        let events = log.iter().filter(|event| {
            [&event.body["call"]["id"], &event.body["call"], &event.body["note"]["call"]].contains(&&json!(call))
        });
        events.map(|event| event.kind.as_str()).collect()
    };
    let without_legs = |kinds: Vec<_>| -> Vec<_> { kinds.into_iter().filter(|kind| *kind != "leg.changed").collect() };
    assert_eq!(without_legs(of(&answered)), ["call.placed", "call.active", "call.ended"]);
    assert_eq!(without_legs(of(&declined)), ["call.placed", "call.ended", "note.offered"]);
    assert!(of(&answered).contains(&"leg.changed"));
    let ended = log.iter().find(|event| event.kind == "call.ended").unwrap();
    assert_eq!((&ended.body["outcome"], &ended.body["by"]), (&json!("answered"), &json!("ann")));
    assert_eq!(ended.at, ended.body["ended_at"].as_u64().unwrap());
    // The row is there as soon as its event is.
    let thread = ended.body["call"]["thread"].as_str().unwrap();
    let rows = house.engine.recorder().unwrap().thread("ben", thread, None, 10).await.unwrap().rows;
    assert!(rows.iter().any(|(call, _)| call.id == answered));

    // The stream tells the same, notes included.
    let mut streamed = Vec::new();
    while streamed.iter().filter(|name| *name == "call_ended").count() < 2 || !streamed.contains(&"note".to_owned()) {
        let event = tokio::time::timeout(PATIENCE, stream.recv()).await.unwrap().unwrap();
        assert!(!matches!(event, SignalingEvent::Lost { .. }));
        streamed.push(serde_json::to_value(&event).unwrap()["event"].as_str().unwrap().to_owned());
    }
    assert_eq!(streamed[0], "call_placed");
    let metrics = house.engine.metrics().await;
    assert!(metrics.contains("\nringback_events_lost_total 0\n"), "{metrics}");
    let workers = std::thread::available_parallelism().unwrap();
    assert!(metrics.contains(&format!("\nringback_workers {workers}\n")), "{metrics}");
    house.close().await;

    let house = open().await;
    house.until_logged("engine.started", 2).await;
    let again = house.logged().await;
    assert_eq!(again[..log.len()], log, "read twice it is the same");
    // Nothing was left to record the note with.
    assert!(again.iter().any(|event| event.kind == "note.expired"));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_a_shutdown_ends_is_in_the_log_when_it_returns() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::open(builder().notes(RecorderConfig::new(folder.path()))).await;
    let (mut ann, mut ben) = (house.person("ann", "Ann").await, house.person("ben", "Ben").await);
    let call = ann.ok("call.place", json!({ "to": ["ben"], "kind": "voice" })).await["call"].clone();
    ben.ok("call.accept", json!({ "call": call["id"] })).await;
    let log = house.engine.event_log().unwrap();
    house.engine.shutdown(Duration::from_millis(50)).await;
    let events = log.after(0, u32::MAX).await.unwrap().events;
    let ended = events.iter().find(|event| event.kind == "call.ended").expect("its end is logged");
    assert_eq!(ended.body["call"]["id"], call["id"]);
}
