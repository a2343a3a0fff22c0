//! What people in a room see of reactions, hands and statuses, on virtual time.
#![allow(clippy::unwrap_used, missing_docs)]

mod receiver;

use std::time::Duration;

use receiver::{Receiver, Stage};
use ringback_reactions::{
    Channel, Controls, HostControl, MAX_REQUEST, Mode, Palette, Rate, ReactionEvent, RefusalCode, Rights,
    RoomReactionsConfig, Who,
};

const MS: Duration = Duration::from_millis(1);

fn config() -> RoomReactionsConfig {
    RoomReactionsConfig::default().palette(Palette::new(["ship-it"], ["brb", "slower"]).unwrap())
}

fn code(result: Result<(), ringback_reactions::Refusal>) -> RefusalCode {
    result.unwrap_err().code
}

#[test]
fn the_first_reaction_after_silence_goes_out_at_once_and_the_next_at_the_tick() {
    let mut stage = Stage::with_guests(config(), 3);
    stage.run(1234 * MS);
    stage.react("p0", "👍").unwrap();
    assert_eq!(stage.to_all.len(), 1);
    assert_eq!(stage.to_all[0].0, 1234 * MS);
    stage.run(10 * MS);
    stage.react("p1", "👍").unwrap();
    stage.react("p1", ":ship-it:").unwrap();
    assert_eq!(stage.to_all.len(), 1, "not before the tick");
    stage.settle();
    let times: Vec<u128> = stage.to_all.iter().map(|(at, ..)| at.as_millis()).collect();
    assert_eq!(times, [1234, 1334, 1434, 1534], "two more ticks repeat it, then silence");
    assert!(stage.to_all.iter().all(|(_, channel, _)| *channel == Channel::Reactions));
    let receiver = stage.everything();
    assert_eq!(receiver.floated.into_iter().collect::<Vec<_>>(), [(":ship-it:".into(), 1), ("👍".into(), 2)]);
    assert!(receiver.all_named);
    assert_eq!(receiver.named[&("p1".into(), "👍".into())], 1);
}

#[test]
fn an_event_has_the_reactions_of_a_tick_with_the_time_since_the_beginning() {
    let mut stage = Stage::with_guests(config(), 2);
    stage.run(5000 * MS);
    for participant in ["p0", "p1", "p0"] {
        stage.react(participant, "🎉").unwrap();
    }
    stage.settle();
    let [
        ReactionEvent::Reactions { at_ms: 5000, counts: first, .. },
        ReactionEvent::Reactions { at_ms, counts, by, all },
    ] = &stage.events[..]
    else {
        panic!("{:?}", stage.events)
    };
    assert_eq!((first[0].count, *at_ms, counts[0].count, &*counts[0].reaction, *all), (1, 5100, 2, "🎉", true));
    let by: Vec<(&str, u64)> = by.iter().map(|named| (&*named.participant, named.count)).collect();
    assert_eq!(by, [("p1", 1), ("p0", 1)]);
}

#[test]
fn a_large_room_gets_ticks_of_one_datagram_every_quarter_second_with_some_names() {
    let mut stage = Stage::with_guests(config(), 1000);
    let emoji: Vec<&str> = emojis::iter().map(emojis::Emoji::as_str).take(300).collect();
    for round in 0..8 {
        for person in 0..1000 {
            stage.react(&format!("p{person}"), emoji[(person * 7 + round * 13) % emoji.len()]).unwrap();
        }
        stage.run(125 * MS);
    }
    for receiver in 0..5 {
        let ticks = stage.told_to(receiver).count();
        assert!((4..=5).contains(&ticks), "{ticks} ticks in a second for {receiver}");
    }
    stage.settle();
    assert!(stage.to_all.iter().all(|(_, _, text)| text.len() <= 1120), "one datagram each");
    for receiver in 0..5 {
        let floated = stage.everything_for(receiver).floated;
        assert_eq!(floated.values().sum::<u64>(), 8000, "all are counted in the end by {receiver}");
    }
    let receiver = stage.everything();
    assert!(!receiver.all_named && receiver.named.len() >= 6);
    let reported = |event: &ReactionEvent| match event {
        ReactionEvent::Reactions { counts, .. } => counts.iter().map(|counted| counted.count).sum(),
        _ => 0,
    };
    assert_eq!(stage.events.iter().map(reported).sum::<u64>(), 8000);
}

#[test]
fn a_thousand_are_told_a_fifth_after_the_other_but_at_once_after_silence() {
    let mut stage = Stage::with_guests(config(), 1000);
    stage.run(10_000 * MS);
    for round in 0..400 {
        stage.react(&format!("p{}", round * 7 % 1000), "👍").unwrap();
        stage.run(5 * MS);
    }
    let told: Vec<_> = stage.to_all.iter().map(|(at, ..)| at.as_millis() - 10_000).zip(&stage.shares).collect();
    assert_eq!(
        told[..5].iter().map(|(at, share)| (*at, share.at)).collect::<Vec<_>>(),
        [0, 1, 2, 3, 4].map(|at| (0, at))
    );
    assert!(told[5..].windows(2).all(|pair| pair[1].0 - pair[0].0 == 50), "a share each 50 ms: {told:?}");
    assert!(told[10..].windows(6).all(|turn| turn[0].1 == turn[5].1 && turn[5].0 - turn[0].0 == 250), "{told:?}");
}

#[test]
fn one_who_floods_is_told_when_to_go_on_and_takes_nothing_from_the_others() {
    let rate = Rate { burst: 20, every: 50 * MS };
    let mut stage = Stage::with_guests(config().room_rate(rate), 3);
    let mut accepted = 0;
    let mut told = 0;
    for tap in 0..2000 {
        match stage.react("p0", "💥") {
            Ok(()) => accepted += 1,
            Err(refusal) => {
                assert_eq!(refusal.code, RefusalCode::RateLimited);
                assert!(refusal.retry_after_ms().is_some_and(|wait| (1..=250).contains(&wait)), "{refusal:?}");
                told += usize::from(refusal.tell);
            }
        }
        if tap % 100 == 0 {
            stage.react("p1", "👍").unwrap();
        }
        stage.run(5 * MS);
    }
    assert!((55..=60).contains(&accepted), "ten and five a second for ten seconds: {accepted}");
    assert!((10..=16).contains(&told), "a flood is not answered message by message: {told}");
    stage.settle();
    assert_eq!(stage.everything().floated["👍"], 20);
}

#[test]
fn after_the_wait_that_was_told_a_reaction_passes() {
    let mut stage = Stage::with_guests(config(), 1);
    let wait = loop {
        if let Err(refusal) = stage.react("p0", "👍") {
            break refusal.retry_after.unwrap();
        }
    };
    stage.run(wait - MS);
    assert_eq!(code(stage.react("p0", "👍")), RefusalCode::RateLimited);
    stage.run(MS);
    stage.react("p0", "👍").unwrap();
}

#[test]
fn hands_queue_in_the_order_in_which_they_came_and_keep_their_place() {
    let mut stage = Stage::with_guests(config(), 4);
    for participant in ["p2", "p0", "p3"] {
        stage.send(participant, r#"{"type":"hand","up":true}"#).unwrap();
    }
    stage.send("p0", r#"{"type":"hand","up":true}"#).unwrap();
    stage.settle();
    assert_eq!(stage.everything().hand_queue(), ["p2", "p0", "p3"]);
    stage.send("p2", r#"{"type":"hand","up":false}"#).unwrap();
    stage.send("p2", r#"{"type":"hand","up":true}"#).unwrap();
    stage.room.leave(stage.now, "p0");
    stage.settle();
    assert_eq!(stage.everything().hand_queue(), ["p3", "p2"]);
    assert_eq!(stage.room.hands().collect::<Vec<_>>(), ["p3", "p2"]);
    let hands = |event: &&ReactionEvent| matches!(event, ReactionEvent::Hand { .. });
    assert_eq!(stage.events.iter().filter(hands).count(), 6);
}

#[test]
fn a_joiner_gets_every_hand_and_status_however_many_there_are() {
    let mut stage = Stage::with_guests(config(), 500);
    for person in 0..500 {
        stage.send(&format!("p{person}"), r#"{"type":"hand","up":true}"#).unwrap();
        if person % 2 == 0 {
            stage.send(&format!("p{person}"), r#"{"type":"status","status":"brb"}"#).unwrap();
        }
        stage.run(7 * MS);
    }
    stage.room.join(stage.now, "late", "Late", Rights::HOST);
    stage.send("late", r#"{"type":"sync"}"#).unwrap();
    let mut receiver = Receiver::new();
    let mine = stage.to_one.iter().filter(|(participant, ..)| &**participant == "late");
    for (_, channel, text) in mine {
        assert_eq!(*channel, Channel::Hands);
        assert!(!receiver.take(text));
    }
    assert_eq!(receiver.hand_queue(), (0..500).map(|person| format!("p{person}")).collect::<Vec<_>>());
    assert_eq!(receiver.statuses.len(), 250);
    assert_eq!(receiver.can["host"], true);
    // What changed before the snapshot and is told after it does no harm; what comes then is added.
    let told = stage.to_all.len();
    stage.send("p7", r#"{"type":"hand","up":false}"#).unwrap();
    stage.settle();
    for (.., text) in &stage.to_all[told..] {
        assert!(!receiver.take(text));
    }
    assert_eq!(receiver.hand_queue().len(), 499);
}

#[test]
fn one_who_asks_for_a_snapshot_finds_their_own_hand_in_it() {
    let mut stage = Stage::with_guests(config(), 1);
    stage.send("p0", r#"{"type":"hand","up":true}"#).unwrap();
    stage.send("p0", r#"{"type":"sync"}"#).unwrap();
    let mut receiver = Receiver::new();
    receiver.take(&stage.to_one[0].2);
    assert_eq!(receiver.hand_queue(), ["p0"]);
}

#[test]
fn hosts_lower_hands_clear_statuses_and_say_who_may() {
    let mut stage = Stage::with_guests(config(), 3);
    stage.room.join(stage.now, "host", "Host", Rights::HOST);
    for participant in ["p0", "p1", "p2"] {
        stage.send(participant, r#"{"type":"hand","up":true}"#).unwrap();
        stage.send(participant, r#"{"type":"status","status":"slower"}"#).unwrap();
    }
    for message in [
        r#"{"type":"lower"}"#,
        r#"{"type":"clear","p":"p1"}"#,
        r#"{"type":"control","mode":"off"}"#,
        r#"{"type":"may","p":"p1","hand":false}"#,
    ] {
        assert_eq!(code(stage.send("p0", message)), RefusalCode::Forbidden, "{message}");
    }
    stage.send("host", r#"{"type":"lower","p":"p1"}"#).unwrap();
    stage.send("host", r#"{"type":"clear","p":"p0"}"#).unwrap();
    stage.settle();
    let seen = stage.everything();
    assert_eq!((seen.hand_queue().join(" "), seen.statuses.len()), ("p0 p2".into(), 2));
    stage.send("host", r#"{"type":"may","p":"p2","hand":false,"react":false}"#).unwrap();
    stage.settle();
    assert_eq!(stage.everything().hand_queue(), ["p0"], "without the right the hand goes down");
    assert_eq!(code(stage.send("p2", r#"{"type":"hand","up":true}"#)), RefusalCode::Forbidden);
    assert_eq!(code(stage.react("p2", "👍")), RefusalCode::Forbidden);
    let (told, _, can) = stage.to_one.last().unwrap();
    assert!(&**told == "p2" && can.contains(r#""hand":false"#), "{told} {can}");
    assert_eq!(code(stage.send("host", r#"{"type":"lower","p":"nobody"}"#)), RefusalCode::NotFound);
    stage.run(5000 * MS);
    stage.send("host", r#"{"type":"lower"}"#).unwrap();
    stage.send("host", r#"{"type":"clear"}"#).unwrap();
    stage.settle();
    let seen = stage.everything();
    assert!(seen.hands.is_empty() && seen.statuses.is_empty());
}

#[test]
fn what_is_off_is_refused_and_everybody_is_told() {
    let mut stage = Stage::with_guests(config(), 2);
    stage.room.join(stage.now, "host", "Host", Rights::HOST);
    stage.send("p0", r#"{"type":"hand","up":true}"#).unwrap();
    stage.send("host", r#"{"type":"control","mode":"hands"}"#).unwrap();
    assert_eq!(code(stage.react("p0", "👍")), RefusalCode::Off);
    stage.send("p1", r#"{"type":"hand","up":true}"#).unwrap();
    stage.settle();
    assert_eq!((stage.everything().mode.as_str(), stage.everything().hands.len()), ("hands", 2));
    stage.send("host", r#"{"type":"control","mode":"off"}"#).unwrap();
    assert_eq!(code(stage.send("p0", r#"{"type":"hand","up":true}"#)), RefusalCode::Off);
    stage.send("p0", r#"{"type":"hand","up":false}"#).unwrap();
    stage.settle();
    assert_eq!((stage.everything().mode.as_str(), stage.everything().hands.len()), ("off", 0));
    let controls = Controls { mode: Mode::All, who: Who::Hosts };
    stage.room.host(stage.now, HostControl::Set(controls)).unwrap();
    assert_eq!(code(stage.react("p0", "👍")), RefusalCode::Forbidden);
    stage.react("host", "👍").unwrap();
    assert_eq!(stage.room.controls(), controls);
}

#[test]
fn hostile_messages_are_refused_and_change_nothing() {
    let mut stage = Stage::with_guests(config(), 2);
    let deep = format!(r#"{{"type":"react","r":{}{}}}"#, "[".repeat(450), "]".repeat(450));
    let large = format!(r#"{{"type":"react","r":"👍","x":"{}"}}"#, "x".repeat(MAX_REQUEST));
    let zalgo = format!(r#"{{"type":"react","r":"👍{}"}}"#, "\u{0301}".repeat(50));
    let cases: Vec<(Vec<u8>, RefusalCode)> = vec![
        (deep.into(), RefusalCode::BadMessage),
        (large.into(), RefusalCode::TooLarge),
        (zalgo.into(), RefusalCode::NotAnEmoji),
        ("{\"type\":\"react\",\"r\":\"\u{202e}👍\"}".into(), RefusalCode::NotAnEmoji),
        ("{\"type\":\"react\",\"r\":\"👍\u{202e}\"}".into(), RefusalCode::NotAnEmoji),
        (br#"{"type":"react","r":"\u202e\ud83d\udc4d"}"#.to_vec(), RefusalCode::NotAnEmoji),
        (br#"{"type":"react","r":"\ud83d"}"#.to_vec(), RefusalCode::BadMessage),
        (br#"{"type":"react","r":"<b>"}"#.to_vec(), RefusalCode::NotAnEmoji),
        (br#"{"type":"react","r":":nothing:"}"#.to_vec(), RefusalCode::NotAnEmoji),
        (br#"{"type":"status","status":"\u202ebrb"}"#.to_vec(), RefusalCode::UnknownStatus),
        (b"{\"type\":\"react\",\"r\":\"\xc3\x28\"}".to_vec(), RefusalCode::NotUtf8),
        (vec![0; 100], RefusalCode::BadMessage),
    ];
    for (message, expected) in cases {
        let refusal = stage.room.handle(stage.now, "p0", &message).unwrap_err();
        assert_eq!(refusal.code, expected, "{}", String::from_utf8_lossy(&message));
        assert!(refusal.text().len() < 1024);
    }
    let stranger = stage.room.handle(stage.now, "nobody", br#"{"type":"sync"}"#).unwrap_err();
    assert_eq!(stranger.code, RefusalCode::NotFound);
    stage.collect();
    assert!(stage.to_all.is_empty() && stage.to_one.is_empty() && stage.events.is_empty());
    assert_eq!(stage.room.poll_timeout(), None);
}

#[test]
fn names_and_ids_that_fill_the_page_do_not_make_a_text_too_large() {
    let mut stage = Stage::new(config());
    let id = |person: usize| format!("{person}{}", "\u{1}\"\\".repeat(40));
    for person in 0..30 {
        stage.room.join(stage.now, &id(person), &"\"\\<👩🏿‍❤️‍💋‍👩🏽>".repeat(20), Rights::GUEST);
    }
    for _ in 0..5 {
        for person in 0..30 {
            stage.react(&id(person), "👩🏿‍❤️‍💋‍👩🏽").unwrap();
            stage.react(&id(person), ":ship-it:").unwrap();
            let _ = stage.send(&id(person), r#"{"type":"hand","up":true}"#);
            let _ = stage.send(&id(person), r#"{"type":"status","status":"slower"}"#);
        }
        stage.run(100 * MS);
    }
    stage.settle();
    let seen = stage.everything();
    assert_eq!((seen.floated[":ship-it:"], seen.hands.len(), seen.statuses.len()), (150, 30, 30));
}
