//! Reactions of an engine as its embedder sees them: on the stream with the time of the call, counted together; and what the embedder, or a host
//! in the room, has switched off is refused with a reason. Whoever has no data channel reacts over signaling, as here.
#![allow(clippy::unwrap_used)]

mod house;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use house::{House, PATIENCE, Person, builder};
use ringback::{Controls, HostControl, Mode, ReactionEvent, RefusalCode, Rights, RoomReaction, Who};
use serde_json::{Value, json};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

/// An offer of data channels alone, whose transport never comes up here.
fn offer() -> String {
    let fingerprint = vec!["AB"; 32].join(":");
    format!(
        "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
         m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\n\
         a=ice-pwd:a-password-of-at-least-22\r\na=fingerprint:sha-256 {fingerprint}\r\na=setup:actpass\r\na=mid:0\r\n\
         a=sctp-port:5000\r\na=max-message-size:16384\r\n"
    )
}

/// Joins a room and returns as whom.
async fn join(person: &mut Person, room: &str) -> String {
    let joined = person.ok("room.join", json!({ "room": room, "offer": offer(), "tracks": [] })).await;
    joined["participant"].as_str().unwrap().to_owned()
}

fn saying(room: &str, message: Value) -> Value {
    json!({ "room": room, "message": message })
}

fn react(room: &str, emoji: &str) -> Value {
    saying(room, json!({ "type": "react", "r": emoji }))
}

fn hand(room: &str, up: bool) -> Value {
    saying(room, json!({ "type": "hand", "up": up }))
}

/// The code and the words of a refusal.
async fn refusal(person: &mut Person, message: Value) -> (String, String) {
    let answer = person.request("reaction.send", message).await;
    let text = |field: &str| answer["error"][field].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    (text("code"), text("message"))
}

async fn next(events: &mut Receiver<RoomReaction>) -> RoomReaction {
    timeout(PATIENCE, events.recv()).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reactions_come_on_the_stream_with_the_time_of_the_call_and_counted_together() {
    let house = House::open(builder()).await;
    let mut events = house.engine.reaction_events().unwrap();
    assert!(house.engine.reaction_events().is_none(), "taken before");
    let (mut ann, mut ben) = (house.person("ann", "Ann").await, house.person("ben", "Ben").await);
    let call = ann.ok("call.place", json!({ "to": ["ben"], "kind": "voice" })).await["call"].clone();
    let room = call["room"].as_str().unwrap().to_owned();
    let before = Instant::now();
    let ann_is = join(&mut ann, &room).await;
    let after = Instant::now();
    ben.ok("call.accept", json!({ "call": call["id"] })).await;
    let ben_is = join(&mut ben, &room).await;

    // A lone one comes at once, with its time in the call.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let least = after.elapsed();
    ann.ok("reaction.send", react(&room, "👍")).await;
    let first = next(&mut events).await;
    let most = before.elapsed();
    assert_eq!((&*first.room, first.lost), (&*room, 0));
    let ReactionEvent::Reactions { at_ms, counts, by, all: true } = first.event else { panic!("{first:?}") };
    let range = least.as_millis() as u64..=most.as_millis() as u64;
    assert!(range.contains(&at_ms), "{at_ms} is not in {range:?}");
    assert_eq!(counts.iter().map(|one| (&*one.reaction, one.count)).collect::<Vec<_>>(), [("👍", 1)]);
    assert_eq!(by.iter().map(|one| (&*one.participant, one.count)).collect::<Vec<_>>(), [(&*ann_is, 1)]);

    // Twelve at once come in fewer events, none of them lost.
    for emoji in ["👍", "🎉", "👍", "👍", "🎉", "👍"] {
        ann.send("reaction.send", react(&room, emoji)).await;
        ben.send("reaction.send", react(&room, emoji)).await;
    }
    let (mut counted, mut by_whom, mut ticks, mut last) = (BTreeMap::new(), BTreeMap::new(), 0, at_ms);
    while counted.values().sum::<u64>() < 12 {
        let told = next(&mut events).await;
        let ReactionEvent::Reactions { at_ms, counts, by, all: true } = told.event else { panic!("{told:?}") };
        assert!(at_ms > last, "{at_ms} after {last}");
        (ticks, last) = (ticks + 1, at_ms);
        counts.iter().for_each(|one| *counted.entry(one.reaction.to_string()).or_default() += one.count);
        by.iter().for_each(|one| *by_whom.entry(one.participant.to_string()).or_default() += one.count);
    }
    assert!(ticks < 12, "{ticks} events");
    assert_eq!(counted, BTreeMap::from([("🎉".to_owned(), 4), ("👍".to_owned(), 8)]));
    assert_eq!(by_whom, BTreeMap::from([(ann_is, 6_u64), (ben_is.clone(), 6)]));

    // Hands are told as they go up, and down with whoever leaves.
    ben.ok("reaction.send", hand(&room, true)).await;
    let ReactionEvent::Hand { at_ms, participant, order } = next(&mut events).await.event else { panic!("no hand") };
    assert_eq!((&*participant, order), (&*ben_is, Some(1)));
    assert!(at_ms >= last);
    ben.ok("room.leave", json!({ "room": room })).await;
    let down = next(&mut events).await.event;
    assert!(
        matches!(&down, ReactionEvent::Hand { participant, order: None, .. } if **participant == *ben_is),
        "{down:?}"
    );
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_embedder_switches_off_is_refused_with_a_reason_and_told_to_all() {
    let house = House::open(builder()).await;
    let mut events = house.engine.reaction_events().unwrap();
    let nowhere = house.engine.control_reactions("hall", HostControl::Lower(None)).await.unwrap_err();
    assert_eq!(nowhere.code, RefusalCode::NotFound, "nobody is there");
    let (mut ann, mut ben) = (house.person("ann", "Ann").await, house.person("ben", "Ben").await);
    let ann_is = join(&mut ann, "hall").await;
    join(&mut ben, "hall").await;

    let set = async |mode| {
        let controls = Controls { mode, who: Who::Everyone };
        house.engine.control_reactions("hall", HostControl::Set(controls)).await.unwrap();
    };
    let off = ("forbidden".to_owned(), "a host has switched this off".to_owned());
    set(Mode::Hands).await;
    let told = next(&mut events).await;
    assert!(
        matches!(told.event, ReactionEvent::Controls { controls: Controls { mode: Mode::Hands, .. }, .. }),
        "{told:?}"
    );
    assert_eq!(refusal(&mut ann, react("hall", "👍")).await, off, "hands only");
    ann.ok("reaction.send", hand("hall", true)).await;
    assert!(matches!(next(&mut events).await.event, ReactionEvent::Hand { order: Some(1), .. }));
    // Both hear of it, over signaling as they have no channel.
    let mut heard = ben.event("reaction").await;
    while heard["message"]["people"].as_array().is_none_or(Vec::is_empty) {
        heard = ben.event("reaction").await;
    }
    assert_eq!((&heard["channel"], &heard["message"]["mode"]), (&json!("hands"), &json!("hands")));
    assert_eq!(heard["message"]["people"][0]["p"], ann_is.as_str());

    set(Mode::Off).await;
    let (controls, lowered) = (next(&mut events).await.event, next(&mut events).await.event);
    assert!(matches!(controls, ReactionEvent::Controls { .. }), "{controls:?}");
    assert!(matches!(lowered, ReactionEvent::Hand { order: None, .. }), "{lowered:?}");
    assert_eq!(refusal(&mut ann, react("hall", "👍")).await, off);
    assert_eq!(refusal(&mut ben, hand("hall", true)).await, off);

    set(Mode::All).await;
    ben.ok("reaction.send", react("hall", "🎉")).await;
    assert!(matches!(next(&mut events).await.event, ReactionEvent::Controls { .. }));
    let ReactionEvent::Reactions { counts, .. } = next(&mut events).await.event else { panic!("no reaction") };
    assert_eq!((&*counts[0].reaction, counts[0].count), ("🎉", 1), "what was refused is not counted");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_whom_the_embedder_makes_a_host_may_say_what_is_on() {
    let rights = |_: &str, user: &str| if user == "ann" { Rights::HOST } else { Rights::GUEST };
    let house = House::open(builder().reaction_rights(rights)).await;
    let (mut ann, mut ben) = (house.person("ann", "Ann").await, house.person("ben", "Ben").await);
    join(&mut ann, "hall").await;
    let ben_is = join(&mut ben, "hall").await;
    let control = |who: &str| saying("hall", json!({ "type": "control", "who": who }));
    let forbidden = |why: &str| ("forbidden".to_owned(), why.to_owned());
    assert_eq!(refusal(&mut ben, control("hosts")).await, forbidden("only hosts may"));
    ben.ok("reaction.send", react("hall", "👍")).await;

    ann.ok("reaction.send", control("hosts")).await;
    assert_eq!(refusal(&mut ben, react("hall", "👍")).await, forbidden("you may not do this here"));
    ann.ok("reaction.send", react("hall", "👍")).await;

    // One of them may all the same, where the embedder says so.
    ann.ok("reaction.send", control("everyone")).await;
    let can = Rights { react: false, ..Rights::GUEST };
    let may = HostControl::May { participant: ben_is.clone(), can };
    house.engine.control_reactions("hall", may).await.unwrap();
    assert_eq!(refusal(&mut ben, react("hall", "👍")).await, forbidden("you may not do this here"));
    ben.ok("reaction.send", hand("hall", true)).await;
    let unknown = HostControl::Lower(Some("p_nobody".into()));
    let refused = house.engine.control_reactions("hall", unknown).await.unwrap_err();
    assert_eq!(refused.code, RefusalCode::NotFound);
    house.engine.control_reactions("hall", HostControl::Lower(Some(ben_is))).await.unwrap();
    house.close().await;
}
