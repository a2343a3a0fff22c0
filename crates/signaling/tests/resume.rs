//! A device whose socket breaks off and comes back: its call goes on meanwhile, and it is told what it missed, each event once and in order, or learns that
//! it must look at the whole.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Client, Server, caller_token, config};

fn about(call: &Value) -> Value {
    json!({"call": call["id"]})
}

async fn join(client: &mut Client, call: &Value) -> Value {
    let tracks = json!([{"mid": "0", "source": "microphone"}]);
    client.ok("room.join", json!({"room": call["room"], "offer": "offer", "tracks": tracks})).await
}

/// A talk of Ann and Ben that Cleo is invited to, so that things go on happening.
async fn talk(server: &Server) -> (Client, Client, Value) {
    let mut ann = server.client("ann/pc").await;
    let mut ben = server.client("ben/phone").await;
    let call = ann.place("ben").await;
    join(&mut ann, &call).await;
    ben.ok("call.accept", about(&call)).await;
    join(&mut ben, &call).await;
    (ann, ben, call)
}

/// Says hello again on a new socket; the answer.
async fn back(server: &Server, who: &str, resume: Value) -> (Client, Value) {
    let (user, device) = who.split_once('/').unwrap();
    let mut client = server.connect().await;
    let hello = json!({"version": 1, "token": caller_token(user), "device": device, "resume": resume});
    let answer = client.request("hello", hello).await;
    let ok = answer.get("ok").unwrap_or_else(|| panic!("{answer}")).clone();
    (client, ok)
}

/// The events that are on their way: all that have come within a moment.
async fn drain(client: &mut Client) -> Vec<Value> {
    client.events_within(Duration::from_millis(400)).await
}

#[tokio::test]
async fn a_socket_that_is_cut_costs_neither_the_call_nor_an_event() {
    let server = Server::start().await;
    let (mut ann, mut ben, call) = talk(&server).await;
    let seen = drain(&mut ben).await;
    let last = seen.last().unwrap()["seq"].as_u64().unwrap();
    let stream = ben.hello["stream"].clone();
    // Cut, not closed.
    drop(ben);

    ann.ok("room.mute", json!({"room": call["room"], "source": "microphone", "muted": true})).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    ann.ok("room.mute", json!({"room": call["room"], "source": "microphone", "muted": false})).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(ann.ok("call.status", about(&call)).await["call"]["state"], "active");

    let (mut ben, hello) = back(&server, "ben/phone", json!({"stream": stream, "seq": last})).await;
    assert_eq!(hello["resumed"], true);
    assert_eq!((&hello["stream"], &hello["calls"][0]["id"]), (&stream, &call["id"]));
    assert_eq!(hello["rooms"][0]["room"], call["room"]);
    ben.goes_on_from(last);
    ann.ok("call.hangup", about(&call)).await;
    let missed = drain(&mut ben).await;
    let muted: Vec<&Value> = missed
        .iter()
        .filter(|event| event["event"] == "room.roster")
        .map(|event| &event["changed"][0]["tracks"][0]["muted"])
        .collect();
    assert_eq!(muted, [&json!(true), &json!(false)], "both, once each, in order: {missed:?}");
    let ended = missed.iter().filter(|event| event["event"] == "call.ended").count();
    assert_eq!(ended, 1, "and what happens from now on follows");
}

#[tokio::test]
async fn a_call_that_ended_meanwhile_is_told_with_its_true_outcome() {
    let server = Server::with(config().grace(Duration::from_millis(100)), Default::default()).await;
    let (mut ann, mut ben, call) = talk(&server).await;
    let last = drain(&mut ben).await.last().unwrap()["seq"].as_u64().unwrap();
    let stream = ben.hello["stream"].clone();
    drop(ben);
    // Too long away for the call, not for the stream.
    assert_eq!(ann.event("call.ended").await["by"], "ben");
    let (mut ben, hello) = back(&server, "ben/phone", json!({"stream": stream, "seq": last})).await;
    assert_eq!((&hello["resumed"], &hello["calls"]), (&json!(true), &json!([])));
    ben.goes_on_from(last);
    let ended = ben.event("call.ended").await;
    assert_eq!((&ended["call"]["id"], &ended["outcome"]), (&call["id"], &json!("answered")));
}

#[tokio::test]
async fn who_cannot_go_on_gets_the_whole_picture_under_new_numbers() {
    let server = Server::start().await;
    let (_ann, mut ben, call) = talk(&server).await;
    drain(&mut ben).await;
    let stream = ben.hello["stream"].clone();
    drop(ben);
    // Of another server, from the future, and without a word: events count from one, and the roster comes whole.
    for resume in [json!({"stream": "s_elsewhere", "seq": 3}), json!({"stream": stream, "seq": 9_999}), Value::Null] {
        let (mut ben, hello) = back(&server, "ben/phone", resume).await;
        assert_eq!(hello["resumed"], false);
        assert_ne!(hello["stream"], stream);
        assert_eq!(hello["calls"][0]["id"], call["id"]);
        assert_eq!(ben.event("room.roster").await["joined"][0]["user"], "ann");
    }
    let mut client = server.connect().await;
    let bad =
        json!({"version": 1, "token": caller_token("ben"), "device": "phone", "resume": {"stream": "", "seq": 1}});
    assert_eq!(client.refused("hello", bad).await, "bad_request");
}

#[tokio::test]
async fn who_goes_on_ends_with_the_list_of_people_as_it_is() {
    let server = Server::start().await;
    let mut ann = server.client("ann/pc").await;
    let ben = server.client("ben/pc").await;
    while !ann.event("people.changed").await["people"].to_string().contains("ben") {}
    let cleo = server.client("cleo/pc").await;
    let came = ann.event("people.changed").await;
    assert_eq!(came["people"][0]["user"], "cleo");
    // That Cleo came is on its way when Ann's socket is cut; meanwhile Cleo goes, and Dan comes.
    let resume = json!({"stream": ann.hello["stream"], "seq": came["seq"].as_u64().unwrap() - 1});
    drop((ann, cleo));
    let _dan = server.client("dan/pc").await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    let (mut ann, hello) = back(&server, "ann/pc", resume).await;
    assert_eq!(hello["resumed"], true);
    ann.goes_on_from(came["seq"].as_u64().unwrap() - 1);
    let told = drain(&mut ann).await;
    let about: Vec<_> = told.iter().map(|event| event["event"].as_str().unwrap()).take(2).collect();
    assert_eq!(about, ["people.changed", "people"], "what was missed, then the whole: {told:?}");
    let users: Vec<_> = told[1]["people"].as_array().unwrap().iter().map(|person| &person["user"]).collect();
    assert_eq!(users, ["ben", "dan"]);
    drop(ben);
}

#[tokio::test]
async fn a_socket_that_only_looks_alive_is_taken_over_with_its_stream() {
    let server = Server::start().await;
    let (_ann, mut ben, _call) = talk(&server).await;
    let last = drain(&mut ben).await.last().unwrap()["seq"].as_u64().unwrap();
    let resume = json!({"stream": ben.hello["stream"], "seq": last - 1});
    let (mut again, hello) = back(&server, "ben/phone", resume).await;
    assert_eq!(hello["resumed"], true);
    again.goes_on_from(last - 1);
    assert_eq!(drain(&mut again).await.first().unwrap()["seq"], last);
    assert_eq!(ben.closed().await, Some(4409));
}
