//! What holds of the detector whatever is sent to it: forged levels, wild timestamps, people who come, go and mute at any moment.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use ringback_sfu::ParticipantId;
use ringback_sfu::stage::{Detector, PlainStage, Preset, StageChange, StageDetector};

/// So many people at most; the last of them never makes a sound.
const PEOPLE: u64 = 6;

#[derive(Debug, Clone)]
enum Event {
    Join(u64, bool),
    Leave(u64),
    Mute(u64, bool),
    /// Packets of one sender: how many, how far apart on arrival (ms) and by their timestamps, from which level, how much it moves.
    Packets {
        who: u64,
        count: u8,
        apart: u16,
        step: u32,
        level: u8,
        moves: u8,
        voice: bool,
    },
    Timestamp(u64, u32),
    Pass(u32),
}

fn event() -> impl Strategy<Value = Event> {
    let who = || 0..PEOPLE;
    let step = prop_oneof![4 => Just(960_u32), 1 => Just(2_880), 1 => Just(0), 1 => any::<u32>()];
    let packets = (who(), 1..80_u8, 0..70_u16, step, any::<u8>(), 0..40_u8, any::<bool>());
    prop_oneof![
        2 => (who(), any::<bool>()).prop_map(|(who, muted)| Event::Join(who, muted)),
        1 => who().prop_map(Event::Leave),
        2 => (who(), any::<bool>()).prop_map(|(who, muted)| Event::Mute(who, muted)),
        12 => packets.prop_map(|(who, count, apart, step, level, moves, voice)| {
            Event::Packets { who, count, apart, step, level, moves, voice }
        }),
        1 => (who(), any::<u32>()).prop_map(|(who, timestamp)| Event::Timestamp(who, timestamp)),
        1 => (0..5_000_u32).prop_map(Event::Pass),
    ]
}

/// Lets it all happen, and returns the changes of the stage.
fn follow(stage: &mut dyn StageDetector, events: &[Event]) -> Result<Vec<StageChange>, TestCaseError> {
    let mut now = Instant::now();
    let mut there: BTreeMap<ParticipantId, bool> = BTreeMap::new();
    let (mut timestamps, mut lights) = (BTreeMap::new(), BTreeMap::new());
    let (mut told, mut changes) = (None, Vec::new());
    let mut note =
        |stage: &mut dyn StageDetector, there: &BTreeMap<ParticipantId, bool>, now, change: Option<StageChange>| {
            if let Some(change) = change {
                prop_assert_ne!(change.participant, told, "a change changes something");
                told = change.participant;
                changes.push(change);
            }
            prop_assert_eq!(stage.on_stage(), told);
            while let Some((who, lit)) = stage.poll_speaking() {
                prop_assert_eq!(stage.is_speaking(who), lit);
                lights.insert(who, lit);
            }
            lights.retain(|who, _| there.contains_key(who));
            for (&who, &muted) in there {
                prop_assert_eq!(lights.get(&who).copied().unwrap_or(false), stage.is_speaking(who));
                prop_assert!(!(muted && stage.is_speaking(who)), "{} is muted and lit", who);
                let reading = stage.reading(now, who).unwrap();
                prop_assert!(reading.utterance <= 100 && reading.floor <= 100, "{reading:?}");
            }
            if let Some(holder) = told {
                prop_assert_eq!(there.get(&holder), Some(&false), "{} is on the stage", holder);
                prop_assert_ne!(holder.0, PEOPLE - 1, "whoever never makes a sound is on the stage");
            }
            prop_assert!(!stage.is_speaking(ParticipantId(PEOPLE - 1)));
            Ok(())
        };
    for event in events {
        match *event {
            Event::Join(who, muted) => {
                there.entry(ParticipantId(who)).or_insert(muted);
                stage.join(now, ParticipantId(who), muted);
                note(stage, &there, now, None)?;
            }
            Event::Leave(who) => {
                there.remove(&ParticipantId(who));
                let change = stage.leave(now, ParticipantId(who));
                note(stage, &there, now, change)?;
            }
            Event::Mute(who, muted) => {
                there.entry(ParticipantId(who)).and_modify(|is| *is = muted);
                let change = stage.set_muted(now, ParticipantId(who), muted);
                note(stage, &there, now, change)?;
            }
            Event::Packets { who, count, apart, step, level, moves, voice } => {
                for number in 0..count {
                    now += Duration::from_millis(apart.into());
                    let timestamp = timestamps.entry(who).or_insert(0_u32);
                    *timestamp = timestamp.wrapping_add(step);
                    let moved = level.wrapping_add(number.wrapping_mul(7) % moves.max(1));
                    let level = if who == PEOPLE - 1 { 127 } else { moved };
                    let change = stage.on_level(now, ParticipantId(who), *timestamp, level, voice);
                    note(stage, &there, now, change)?;
                }
            }
            Event::Timestamp(who, timestamp) => drop(timestamps.insert(who, timestamp)),
            Event::Pass(ms) => {
                let end = now + Duration::from_millis(ms.into());
                let mut timeouts = 0;
                while let Some(at) = stage.poll_timeout().filter(|&at| at <= end) {
                    timeouts += 1;
                    prop_assert!(timeouts < 50, "a timeout that comes again and again");
                    now = now.max(at);
                    let change = stage.handle_timeout(now);
                    note(stage, &there, now, change)?;
                }
                now = end;
            }
        }
    }
    Ok(changes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_stage_and_the_lights_are_with_people_who_are_there_and_not_muted_and_make_a_sound(
        events in prop::collection::vec(event(), 1..60), preset in 0..3_usize, tiles in 0..8_usize,
    ) {
        let mut detector = Detector::new(Preset::ALL[preset]).with_tiles(tiles);
        let changes = follow(&mut detector, &events)?;
        let shown: Vec<_> = detector.tiles().flatten().collect();
        for (at, who) in shown.iter().enumerate() {
            prop_assert!(!shown[..at].contains(who), "{} has two tiles", who);
        }
        let mut again = Detector::new(Preset::ALL[preset]).with_tiles(tiles);
        prop_assert_eq!(follow(&mut again, &events)?, changes, "the same packets, another stage");
    }

    #[test]
    fn the_same_holds_of_the_plain_stage(events in prop::collection::vec(event(), 1..60)) {
        follow(&mut PlainStage::new(), &events)?;
    }
}
