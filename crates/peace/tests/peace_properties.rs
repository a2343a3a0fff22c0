//! What holds for every history and all settings: nothing is lost, quiet hours and the budget are broken only by a rule that names itself, and it does not
//! matter how often somebody asks.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use ringback_peace::{
    Day, Decision, Entry, HORIZON, History, Hold, Notification, Occurrence, OccurrenceKind, Plan, QuietHours,
    RepeatedCalls, Rules, Settings, TimeOfDay, decide,
};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Monday 5 October 2026, midnight UTC.
const MONDAY: u64 = 1_791_158_400_000;

/// Long after the last occurrence: more than a whole day.
const END: u64 = MONDAY + 6 * DAY;

/// Quiet from one minute of the day to another, every day, by arithmetic alone: what the crate says is held against it.
fn is_quiet(quiet: Option<(u64, u64)>, at: u64) -> bool {
    let minute = at % DAY / MINUTE;
    quiet.is_some_and(
        |(from, until)| if from < until { (from..until).contains(&minute) } else { minute >= from || minute < until },
    )
}

fn occurrences() -> impl Strategy<Value = Vec<Occurrence>> {
    let after = prop_oneof![0..10_000_u64, 0..20 * MINUTE, 0..10 * HOUR];
    let one = (0..3_u8, prop::sample::select(OccurrenceKind::ALL.to_vec()), after, prop::bool::weighted(0.2));
    prop::collection::vec(one, 0..40).prop_map(|steps| {
        let mut at = MONDAY;
        let one = |(n, (from, kind, after, in_view)): (usize, (u8, OccurrenceKind, u64, bool))| {
            at = (at + after).min(MONDAY + 4 * DAY);
            Occurrence { id: format!("o{n:02}"), at, kind, from: format!("user{from}"), in_view }
        };
        steps.into_iter().enumerate().map(one).collect()
    })
}

#[derive(Debug, Clone)]
struct Wishes {
    quiet: Option<(u64, u64)>,
    budget: Option<u32>,
    rules: Rules,
}

fn wishes() -> impl Strategy<Value = Wishes> {
    // Not the whole day: some moment is free.
    let quiet =
        prop::option::of((0..1_440_u64, 1..1_380_u64).prop_map(|(from, length)| (from, (from + length) % 1_440)));
    let repeated = prop::option::of((2..4_u32, prop::sample::select(vec![60_u32, 300, 3_600])));
    let budget = prop::option::of(1..4_u32);
    (quiet, budget, repeated, prop::sample::select(vec![0_u32, 60, 600, 3_600]), any::<bool>()).prop_map(
        |(quiet, budget, repeated, coalesce_s, favourite)| {
            let time = |minute: u64| TimeOfDay::new((minute / 60) as u8, (minute % 60) as u8).unwrap();
            let hours =
                quiet.map(|(from, until)| QuietHours { days: Day::ALL.to_vec(), from: time(from), until: time(until) });
            let settings = Settings {
                quiet_hours: hours.into_iter().collect(),
                alerts_per_hour: budget,
                repeated_calls: repeated.map(|(times, within_s)| RepeatedCalls { times, within_s }),
                coalesce_s,
                favourites: favourite.then(|| "user1".to_owned()).into_iter().collect(),
                ..Settings::default()
            };
            Wishes { quiet, budget, rules: settings.rules().unwrap() }
        },
    )
}

fn history(occurrences: &[Occurrence]) -> History {
    History::new(occurrences.iter().cloned().map(Entry::new).collect(), Vec::new())
}

fn shown(decisions: &[Decision]) -> impl Iterator<Item = &Notification> {
    decisions.iter().filter_map(|decision| match decision {
        Decision::Notify(notification) => Some(notification),
        Decision::Hold { .. } => None,
    })
}

/// What a store would hand over: what is new or waits, what is recent, and what is in a recent notification.
fn relevant(history: &History, now: u64) -> History {
    let recent = |at: u64| at + HORIZON > now;
    let notifications: Vec<_> = history.notifications().filter(|one| recent(one.opened_at)).cloned().collect();
    let entries = history.entries().filter(|entry| {
        let told = notifications.iter().any(|one| one.items.contains(&entry.occurrence.id));
        entry.due().is_some() || entry.waits() || recent(entry.occurrence.at) || told
    });
    let mut kept = History::new(entries.cloned().collect(), notifications.clone());
    kept.resume(history.decided_until());
    kept
}

proptest! {
    #[test]
    fn nothing_is_ever_lost(occurrences in occurrences(), wishes in wishes(), asked in 0..6 * DAY) {
        let mut history = history(&occurrences);
        let now = MONDAY + asked;
        let mut decisions = decide(&mut history, &wishes.rules, now).decisions;
        for entry in history.entries() {
            let past = entry.occurrence.at <= now;
            prop_assert_eq!(past, entry.notification.is_some() || entry.waits(), "{:?}", entry);
        }
        decisions.extend(decide(&mut history, &wishes.rules, END).decisions);
        // Each is shown in the end, in one notification and no other.
        let last: BTreeMap<_, _> = shown(&decisions).map(|one| (&one.id, one)).collect();
        let mut told: Vec<_> = last.values().flat_map(|one| one.items.iter()).collect();
        told.sort_unstable();
        prop_assert_eq!(told, occurrences.iter().map(|one| &one.id).collect::<Vec<_>>());
    }

    #[test]
    fn quiet_hours_are_broken_only_by_a_rule_that_names_itself(occurrences in occurrences(), wishes in wishes()) {
        let decisions = decide(&mut history(&occurrences), &wishes.rules, END).decisions;
        for one in shown(&decisions) {
            prop_assert!(!is_quiet(wishes.quiet, one.at) || one.why.gets_through(), "{:?}", one);
        }
    }

    #[test]
    fn the_budget_is_exceeded_only_by_a_rule_that_names_itself(occurrences in occurrences(), wishes in wishes()) {
        let decisions = decide(&mut history(&occurrences), &wishes.rules, END).decisions;
        let sounds: Vec<_> = shown(&decisions).filter(|one| !one.silent).collect();
        for (n, one) in sounds.iter().enumerate() {
            let before = sounds[..n].iter().filter(|other| other.at + HOUR > one.at).count();
            let within = wishes.budget.is_none_or(|most| before < most as usize);
            prop_assert!(within || one.why.gets_through(), "{:?} after {} others", one, before);
        }
    }

    #[test]
    fn nothing_waits_without_a_reason_and_what_waits_is_told_once_there_is_none(occurrences in occurrences(), wishes in wishes()) {
        let decisions = decide(&mut history(&occurrences), &wishes.rules, END).decisions;
        let sounds = |until: u64| shown(&decisions).filter(move |one| !one.silent && one.at <= until && one.at + HOUR > until).count();
        let speaks_against = |at: u64| {
            is_quiet(wishes.quiet, at) || wishes.budget.is_some_and(|most| sounds(at) >= most as usize)
        };
        for decision in &decisions {
            let Decision::Hold { occurrence, at, why } = decision else { continue };
            match why {
                Hold::InView { until } => {
                    // Whatever speaks against telling it is decided then.
                    prop_assert!(*until > *at && *until <= at + 5_000);
                    continue;
                }
                Hold::QuietHours { until } => prop_assert!(is_quiet(wishes.quiet, *at) && *until > *at && !is_quiet(wishes.quiet, *until)),
                Hold::Budget { until } => prop_assert!(!is_quiet(wishes.quiet, *at) && *until > *at && *until <= at + HOUR),
            }
            let told = shown(&decisions).find(|one| one.items.contains(occurrence)).unwrap();
            // Minute by minute: none of them was free.
            let mut minute = *at + 1;
            while minute < told.at {
                prop_assert!(speaks_against(minute), "{occurrence} could have been told at {minute}, and was at {}", told.at);
                minute += MINUTE;
            }
        }
    }

    #[test]
    fn decisions_are_the_same_however_often_and_whenever_somebody_asks(
        occurrences in occurrences(), wishes in wishes(), mut asked in prop::collection::vec(0..6 * DAY, 0..12)
    ) {
        let mut whole = history(&occurrences);
        let Plan { decisions, next } = decide(&mut whole, &wishes.rules, END);
        prop_assert_eq!(next, None);
        asked.sort_unstable();
        let (mut parts, mut rest, mut split) = (History::default(), occurrences.as_slice(), Vec::new());
        for now in asked.into_iter().map(|asked| MONDAY + asked).chain([END]) {
            let (come, later) = rest.split_at(rest.partition_point(|one| one.at <= now));
            come.iter().for_each(|one| assert!(parts.push(Entry::new(one.clone()))));
            rest = later;
            let plan = decide(&mut parts, &wishes.rules, now);
            prop_assert!(plan.next.is_none_or(|next| next > now));
            prop_assert_eq!(plan.next.is_some(), parts.entries().any(Entry::waits));
            split.extend(plan.decisions);
        }
        prop_assert_eq!(&split, &decisions);
        prop_assert_eq!(parts, whole);
    }

    #[test]
    fn what_is_old_can_be_forgotten(occurrences in occurrences(), wishes in wishes()) {
        let decisions = decide(&mut history(&occurrences), &wishes.rules, END).decisions;
        let (mut kept, mut again) = (History::default(), Vec::new());
        for one in &occurrences {
            kept.push(Entry::new(one.clone()));
            kept = relevant(&kept, kept.decided_until());
            let before = decide(&mut kept, &wishes.rules, one.at);
            again.extend(before.decisions);
        }
        again.extend(decide(&mut kept, &wishes.rules, END).decisions);
        prop_assert_eq!(again, decisions);
    }
}
