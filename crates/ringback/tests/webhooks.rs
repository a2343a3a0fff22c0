//! Webhooks of real calls against a receiver that refuses, stalls, dies and comes back: nothing is lost, nothing is out of order, and nobody else waits.
#![allow(clippy::unwrap_used)]

mod house;
mod receiver;

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

use house::{House, PATIENCE, builder};
use receiver::{Mood, Post, Receiver, SECRET};
use ringback::{EngineBuilder, EngineError, LoggedEvent, RecorderConfig, WebhookConfig};
use serde_json::json;

fn webhook(receiver: &Receiver) -> WebhookConfig {
    let (first, longest) = (Duration::from_millis(50), Duration::from_millis(200));
    WebhookConfig::new(receiver.url(), SECRET).timeout(Duration::from_millis(500)).retries(first, longest)
}

fn kept_in(folder: &Path) -> EngineBuilder {
    builder().notes(RecorderConfig::new(folder))
}

/// Calls of four pairs at once, half of them answered; returns their ids. Each round has other people, since nobody may ring all the time.
async fn calls(house: &House, round: u32) -> Vec<String> {
    let pairs = (0..4).map(|pair| async move {
        let (a, b) = (format!("ann{round}{pair}"), format!("ben{round}{pair}"));
        let (mut ann, mut ben) = (house.person(&a, "Ann").await, house.person(&b, "Ben").await);
        let mut ids = Vec::new();
        for answer in [true, false] {
            ids.push(house.call(&mut ann, &mut ben, &b, answer).await);
        }
        ids
    });
    futures_util::future::join_all(pairs).await.concat()
}

/// What was taken is the log: each event, in order, and where one came again it was the one before.
fn assert_complete(taken: &[Post], log: &[LoggedEvent]) {
    let end = log.last().unwrap().sequence;
    let mut expected = log.iter();
    let mut last: Option<&Post> = None;
    let taken: Vec<&Post> = taken.iter().filter(|post| post.sequence() <= end).collect();
    for &post in &taken {
        if let Some(last) = last
            && last.sequence() == post.sequence()
        {
            assert_eq!((&last.id, &last.body), (&post.id, &post.body), "the same event is the same message");
            continue;
        }
        let event = expected.next().expect("more came than the log has");
        assert_eq!(post.sequence(), event.sequence, "out of order, or lost");
        assert_eq!((post.body["type"].as_str(), &post.body["data"]), (Some(event.kind.as_str()), &event.body));
        last = Some(post);
    }
    assert_eq!(expected.next(), None, "this one never came");
    let ids: HashSet<_> = taken.iter().map(|post| &post.id).collect();
    assert_eq!(ids.len(), log.len(), "each event has an id of its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_refuses_stalls_and_restarts_gets_every_event_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let (bad, good) = (Receiver::start(), Receiver::start());
    let open = async || {
        let hooks = kept_in(folder.path()).webhook(webhook(&bad)).webhook(webhook(&good).name("good"));
        House::open(hooks).await
    };
    let mut house = open().await;
    let mut ids = calls(&house, 0).await;

    bad.be(Mood::Refuses);
    ids.extend(calls(&house, 1).await);
    bad.until_met(Mood::Refuses, 3).await;
    bad.be(Mood::Takes);
    ids.extend(calls(&house, 2).await);
    house.until_logged("call.ended", 24).await;
    bad.until_taken(house.logged().await.last().unwrap().sequence).await;

    bad.be(Mood::Stalls);
    ids.extend(calls(&house, 3).await);
    bad.until_met(Mood::Stalls, 2).await;
    // Meanwhile calls and the other webhook go on.
    house.until_logged("call.ended", 32).await;
    good.until_taken(house.logged().await.last().unwrap().sequence).await;
    let backlog = async |name: &str| -> u64 {
        let metrics = house.engine.metrics().await;
        let of = format!("ringback_webhook_backlog{{webhook=\"{name}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&of)).unwrap().parse().unwrap()
    };
    let begin = Instant::now();
    while backlog("good").await > 0 {
        assert!(begin.elapsed() < PATIENCE);
    }
    assert!(backlog("default").await > 20, "{}", house.engine.metrics().await);

    bad.be(Mood::Takes);
    bad.kill();
    ids.extend(calls(&house, 4).await);
    tokio::time::sleep(Duration::from_millis(300)).await;
    bad.listen();
    bad.until_taken(house.logged().await.last().unwrap().sequence).await;

    // The engine restarts while there is still something to deliver.
    bad.be(Mood::Stalls);
    ids.extend(calls(&house, 5).await);
    house.until_logged("call.ended", 48).await;
    house.close().await;
    bad.be(Mood::Takes);
    house = open().await;
    ids.extend(calls(&house, 6).await);
    house.until_logged("call.ended", 56).await;
    // The notes of the calls that were declined are offered after their end.
    house.until_logged("note.offered", 28).await;

    let log = house.logged().await;
    let last = log.last().unwrap().sequence;
    bad.until_taken(last).await;
    good.until_taken(last).await;
    assert!(log.iter().zip(1..).all(|(event, sequence)| event.sequence == sequence));
    assert_complete(&bad.taken(), &log);
    assert_complete(&good.taken(), &log);
    for id in &ids {
        let told: Vec<_> = log.iter().filter(|event| event.body["call"]["id"] == **id).collect();
        assert_eq!((told[0].kind.as_str(), told.last().unwrap().kind.as_str()), ("call.placed", "call.ended"));
    }
    assert_eq!(ids.len(), 56);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_asks_for_a_pause_is_left_alone_for_as_long() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start();
    receiver.be(Mood::Asks(2));
    let house = House::open(kept_in(folder.path()).webhook(webhook(&receiver))).await;
    receiver.until_met(Mood::Asks(2), 1).await;
    let asked = Instant::now();
    receiver.be(Mood::Takes);
    receiver.until_taken(1).await;
    let posts = receiver.posts();
    assert_eq!(posts.len(), 2, "once to be refused, once to be taken: {posts:#?}");
    assert!(posts[1].at - posts[0].at >= Duration::from_secs(2), "{:?}", asked.elapsed());
    assert_eq!((&posts[0].id, &posts[0].body), (&posts[1].id, &posts[1].body));
    assert_eq!(posts[0].body["type"], "engine.started");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_gone_gets_nothing_more_until_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start();
    receiver.be(Mood::Gone);
    let house = House::open(kept_in(folder.path()).webhook(webhook(&receiver))).await;
    receiver.until_met(Mood::Gone, 1).await;
    let log = house.engine.event_log().unwrap();
    log.append(&[ringback::NewEvent { at: 1, kind: "test".into(), body: json!({}) }]).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(receiver.posts().len(), 1);
    house.close().await;

    receiver.be(Mood::Takes);
    let house = House::open(kept_in(folder.path()).webhook(webhook(&receiver))).await;
    receiver.until_taken(3).await;
    assert_complete(&receiver.taken(), &house.logged().await);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_begins_with_what_happens_after_it_is_set_up() {
    let folder = tempfile::tempdir().unwrap();
    House::open(kept_in(folder.path())).await.close().await;
    let receiver = Receiver::start();
    let house = House::open(kept_in(folder.path()).webhook(webhook(&receiver))).await;
    receiver.until_taken(2).await;
    assert_eq!(receiver.posts()[0].sequence(), 2, "event 1 is from before");
    house.close().await;
}

#[tokio::test]
async fn webhooks_without_a_store_or_of_one_name_are_refused_at_the_start() {
    let hook = || WebhookConfig::new("http://127.0.0.1:1/hook", SECRET);
    assert!(matches!(builder().webhook(hook()).start().await, Err(EngineError::NoStore)));
    let folder = tempfile::tempdir().unwrap();
    let twice = kept_in(folder.path()).webhook(hook()).webhook(hook()).start().await.unwrap_err();
    assert!(twice.to_string().contains("two of this name"), "{twice}");
    assert_eq!(folder.path().read_dir().unwrap().count(), 0, "nothing was opened");
    let engine = builder().start().await.unwrap();
    assert!(matches!(engine.event_log(), Err(EngineError::NoStore)));
}
