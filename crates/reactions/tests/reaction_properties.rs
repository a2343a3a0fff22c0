//! What holds whatever people do and whatever is lost: every admitted reaction is counted once by everyone who did not lose three ticks in
//! a row, and all see the same hands in the same order. A failing case prints its seed and what happened.
#![allow(clippy::unwrap_used, missing_docs)]

mod receiver;

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use receiver::{Receiver, Stage};
use ringback_reactions::{Channel, Palette, REPEATS, Rights, RoomReactionsConfig};

/// What happens in a large room.
#[derive(Debug, Clone)]
enum Large {
    React(usize, usize),
    /// So many come, or go.
    Come(usize),
    Go(usize),
    Wait(u64),
}

fn large() -> impl Strategy<Value = Large> {
    prop_oneof![
        12 => (0..300_usize, 0..40_usize).prop_map(|(person, emoji)| Large::React(person, emoji)),
        1 => (1..150_usize).prop_map(Large::Come),
        1 => (1..150_usize).prop_map(Large::Go),
        6 => (0..120_u64).prop_map(Large::Wait),
    ]
}

#[derive(Debug, Clone)]
enum Act {
    React(usize, usize),
    Hand(usize, bool),
    Status(usize, bool),
    Lower(Option<usize>),
    Leave(usize),
    Join(usize),
    Garbage(usize, Vec<u8>),
}

fn act(people: usize) -> impl Strategy<Value = Act> {
    let person = 0..people;
    prop_oneof![
        12 => (person.clone(), 0..60_usize).prop_map(|(person, emoji)| Act::React(person, emoji * emoji / 4)),
        3 => (person.clone(), any::<bool>()).prop_map(|(person, up)| Act::Hand(person, up)),
        1 => (person.clone(), any::<bool>()).prop_map(|(person, set)| Act::Status(person, set)),
        1 => prop::option::of(person.clone()).prop_map(Act::Lower),
        1 => person.clone().prop_map(Act::Leave),
        1 => person.clone().prop_map(Act::Join),
        1 => (person, prop::collection::vec(any::<u8>(), 0..60)).prop_map(|(person, junk)| Act::Garbage(person, junk)),
    ]
}

/// People, and what they do how many milliseconds after one another.
fn scene() -> impl Strategy<Value = (usize, Vec<(u64, Act)>)> {
    prop_oneof![3 => 2_usize..12, 1 => 31_usize..200].prop_flat_map(|people| {
        let gap = prop_oneof![4 => 0_u64..12, 1 => 0_u64..400];
        (Just(people), prop::collection::vec((gap, act(people)), 1..400))
    })
}

/// Which of the ticks reach a receiver, and in which order: neighbours may change places, and at most [`REPEATS`] in a row are lost, where
/// one that was overtaken is as good as lost.
fn arriving(texts: &[&str], dice: &[u8]) -> Vec<String> {
    let mut lost = 0;
    let mut lost_before_last = REPEATS;
    let mut arrived: Vec<String> = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        let die = dice[at % dice.len()];
        if die < 90 && lost < REPEATS {
            lost += 1;
            continue;
        }
        let overtakes = die > 200 && lost == 0 && lost_before_last < REPEATS;
        arrived.insert(arrived.len() - usize::from(overtakes), (*text).to_owned());
        (lost_before_last, lost) = (if overtakes { REPEATS } else { lost }, 0);
    }
    arrived
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_share_of_a_large_room_counts_every_reaction_once_also_while_shares_come_and_go(
        people in prop_oneof![Just(390_usize), Just(610), Just(1_000)],
        acts in prop::collection::vec(large(), 1..200),
    ) {
        let mut stage = Stage::with_guests(RoomReactionsConfig::default(), people);
        let emoji: Vec<&str> = emojis::iter().map(emojis::Emoji::as_str).collect();
        let (mut accepted, mut here) = (BTreeMap::<String, u64>::new(), people);
        for act in acts {
            match act {
                Large::React(person, which) => {
                    if stage.react(&format!("p{person}"), emoji[which]).is_ok() {
                        *accepted.entry(emoji[which].to_owned()).or_default() += 1;
                    }
                }
                Large::Come(count) => {
                    (here..here + count).for_each(|n| drop(stage.room.join(stage.now, &format!("p{n}"), "New", Rights::GUEST)));
                    here += count;
                    stage.collect();
                }
                // The first three hundred, who react, stay.
                Large::Go(count) => {
                    let stay = here.saturating_sub(count).max(300);
                    (stay..here).for_each(|n| stage.room.leave(stage.now, &format!("p{n}")));
                    here = stay;
                    stage.collect();
                }
                Large::Wait(ms) => stage.run(Duration::from_millis(ms)),
            }
        }
        stage.settle();
        for receiver in 0..60 {
            prop_assert_eq!(&stage.everything_for(receiver).floated, &accepted, "receiver {}", receiver);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn everyone_counts_every_reaction_once_and_sees_the_same_hands(
        (people, acts) in scene(),
        dice in prop::collection::vec(any::<u8>(), 97),
    ) {
        let palette = Palette::new([], ["brb"]).unwrap();
        let mut stage = Stage::new(RoomReactionsConfig::default().palette(palette));
        let emoji: Vec<&str> = emojis::iter().map(emojis::Emoji::as_str).collect();
        let id = |person: usize| format!("p{person}");
        stage.room.join(stage.now, "host", "Host", Rights::HOST);
        for person in 0..people {
            stage.room.join(stage.now, &id(person), "Somebody", Rights::GUEST);
        }
        let mut accepted: BTreeMap<String, u64> = BTreeMap::new();
        let mut queue: Vec<String> = Vec::new();
        for (gap, act) in acts {
            stage.run(Duration::from_millis(gap));
            match act {
                Act::React(person, which) => {
                    if stage.react(&id(person), emoji[which]).is_ok() {
                        *accepted.entry(emoji[which].to_owned()).or_default() += 1;
                    }
                }
                Act::Hand(person, up) => {
                    if stage.send(&id(person), &format!(r#"{{"type":"hand","up":{up}}}"#)).is_ok() {
                        if !up {
                            queue.retain(|other| *other != id(person));
                        } else if !queue.contains(&id(person)) {
                            queue.push(id(person));
                        }
                    }
                }
                Act::Status(person, set) => {
                    let status = if set { r#""brb""# } else { "null" };
                    let _ = stage.send(&id(person), &format!(r#"{{"type":"status","status":{status}}}"#));
                }
                Act::Lower(whose) => {
                    let message = match whose {
                        Some(person) => format!(r#"{{"type":"lower","p":"{}"}}"#, id(person)),
                        None => r#"{"type":"lower"}"#.to_owned(),
                    };
                    if stage.send("host", &message).is_ok() {
                        queue.retain(|other| whose.is_some_and(|person| *other != id(person)));
                    }
                }
                Act::Leave(person) | Act::Join(person) => {
                    queue.retain(|other| *other != id(person));
                    match act {
                        Act::Join(_) => drop(stage.room.join(stage.now, &id(person), "Somebody new", Rights::GUEST)),
                        _ => stage.room.leave(stage.now, &id(person)),
                    }
                    stage.collect();
                }
                Act::Garbage(person, junk) => {
                    prop_assert!(stage.room.handle(stage.now, &id(person), &junk).is_err());
                    stage.collect();
                }
            }
        }
        stage.settle();

        let ticks: Vec<&str> = stage.to_all.iter().filter(|tick| tick.1 == Channel::Reactions).map(|tick| &*tick.2).collect();
        let mut lossy = Receiver::new();
        for text in arriving(&ticks, &dice) {
            let _ = lossy.take(&text);
        }
        let complete = stage.everything();
        // The last ticks of all may be lost; but then not everything was told three times.
        let last_lost = ticks.last().is_some_and(|last| !arriving(&ticks, &dice).iter().any(|text| text == last));
        prop_assert_eq!(&complete.floated, &accepted);
        if !last_lost {
            prop_assert_eq!(&lossy.floated, &accepted);
        }
        prop_assert_eq!(complete.hand_queue(), queue.clone());
        prop_assert_eq!(stage.room.hands().map(str::to_owned).collect::<Vec<_>>(), queue.clone());

        // A joiner sees the same as those who were there.
        let mut joiner = Receiver::new();
        for text in stage.room.join(stage.now, "late", "Late", Rights::GUEST) {
            prop_assert!(!joiner.take(&text));
        }
        prop_assert_eq!(joiner.hand_queue(), queue);
        prop_assert_eq!(joiner.statuses, complete.statuses);

        // Ticks keep their distance.
        let times: Vec<Duration> = stage.to_all.iter().filter(|tick| tick.1 == Channel::Reactions).map(|tick| tick.0).collect();
        prop_assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_millis(100)));
    }
}
