//! The rules one by one: what comes at once, what is replaced, what waits and until when, and what gets through.
#![allow(clippy::unwrap_used)]

use ringback_peace::OccurrenceKind::{Image, MissedCall, Note, Reaction};
use ringback_peace::{
    Decision, Entry, History, Hold, Notification, Occurrence, OccurrenceKind, Reason, Rules, Settings, decide,
};
use serde_json::json;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// Sunday 4 October 2026, noon UTC.
const NOON: u64 = 1_791_115_200_000;

/// Ten in the evening of the same day.
const TEN: u64 = NOON + 10 * HOUR;

fn rules(settings: serde_json::Value) -> Rules {
    serde_json::from_value::<Settings>(settings).unwrap().rules().unwrap()
}

/// Quiet from ten to seven.
fn quiet() -> serde_json::Value {
    let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    json!({ "quiet_hours": [{ "days": days, "from": "22:00", "until": "07:00" }] })
}

fn happened(kind: OccurrenceKind, from: &str, at: u64) -> Entry {
    Entry::new(Occurrence {
        id: format!("{}:{from}:{at}", kind.as_str()),
        at,
        kind,
        from: from.to_owned(),
        in_view: false,
    })
}

/// Tells each occurrence as it comes, and then once more at the end.
fn told(rules: &Rules, occurrences: &[(OccurrenceKind, &str, u64)], until: u64) -> (Vec<Decision>, History) {
    let mut history = History::default();
    let mut decisions = Vec::new();
    for (kind, from, at) in occurrences {
        history.push(happened(*kind, from, *at));
        decisions.extend(decide(&mut history, rules, *at).decisions);
    }
    decisions.extend(decide(&mut history, rules, until).decisions);
    (decisions, history)
}

fn shown(decision: &Decision) -> &Notification {
    match decision {
        Decision::Notify(notification) => notification,
        Decision::Hold { .. } => panic!("{decision:?} is no notification"),
    }
}

fn held(decision: &Decision) -> (&str, u64, Hold) {
    match decision {
        Decision::Hold { occurrence, at, why } => (occurrence, *at, *why),
        Decision::Notify(_) => panic!("{decision:?} waits for nothing"),
    }
}

#[test]
fn three_missed_calls_and_a_note_are_one_notification_that_sounds_once() {
    let came = [MissedCall, MissedCall, MissedCall, Note]
        .into_iter()
        .zip(0..)
        .map(|(kind, n)| (kind, "ann", NOON + n * MINUTE));
    let (decisions, history) = told(&rules(json!({})), &came.collect::<Vec<_>>(), NOON + HOUR);
    let shown: Vec<_> = decisions.iter().map(shown).collect();
    assert_eq!(shown.iter().map(|one| one.items.len()).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(shown.iter().map(|one| one.silent).collect::<Vec<_>>(), [false, true, true, true]);
    assert!(shown.iter().zip(1..).all(|(one, revision)| one.id == shown[0].id && one.revision == revision));
    assert!(shown.iter().all(|one| one.why == Reason::Welcome && one.from.as_deref() == Some("ann")));
    assert_eq!(history.notifications().count(), 1);
}

#[test]
fn what_comes_after_the_window_or_from_somebody_else_is_another_notification() {
    let came = [(MissedCall, "ann", NOON), (Reaction, "ben", NOON + MINUTE), (Image, "ann", NOON + 10 * MINUTE)];
    let (decisions, _) = told(&rules(json!({})), &came, NOON + HOUR);
    assert!(decisions.iter().map(shown).all(|one| one.revision == 1 && !one.silent && one.items.len() == 1));
    assert_eq!(decisions.len(), 3);
}

#[test]
fn whoever_has_seen_a_notification_is_told_anew_and_of_the_new_only() {
    let rules = rules(json!({}));
    let first = Entry { seen: true, ..happened(MissedCall, "ann", NOON) };
    let (_, history) = told(&rules, &[(MissedCall, "ann", NOON)], NOON);
    let seen = Entry { notification: Some(first.occurrence.id.clone()), ..first };
    let mut history = History::new(vec![seen], history.notifications().cloned().collect());
    history.push(happened(MissedCall, "ann", NOON + MINUTE));
    let plan = decide(&mut history, &rules, NOON + MINUTE);
    let shown = shown(&plan.decisions[0]);
    assert!(!shown.silent && shown.revision == 1, "{shown:?}");
    assert_eq!(shown.items, [format!("missed_call:ann:{}", NOON + MINUTE)]);
}

#[test]
fn what_comes_in_quiet_hours_waits_and_is_one_digest_when_they_end() {
    let rules = rules(quiet());
    let came = [(MissedCall, "ann", TEN), (Note, "ann", TEN + MINUTE), (Reaction, "ben", TEN + 4 * HOUR)];
    let (decisions, _) = told(&rules, &came, TEN + 9 * HOUR);
    let until = TEN + 9 * HOUR;
    for decision in &decisions[..3] {
        assert_eq!(held(decision).2, Hold::QuietHours { until });
    }
    let digest = shown(&decisions[3]);
    assert_eq!((digest.at, digest.why, digest.from.as_deref(), digest.silent), (until, Reason::Digest, None, false));
    assert_eq!(digest.items.len(), 3);
    assert_eq!(decisions.len(), 4);
}

#[test]
fn the_plan_says_when_what_waits_may_be_told() {
    let rules = rules(quiet());
    let mut history = History::default();
    assert_eq!(decide(&mut history, &rules, TEN).next, None);
    history.push(happened(Note, "ann", TEN + MINUTE));
    assert_eq!(decide(&mut history, &rules, TEN + HOUR).next, Some(TEN + 9 * HOUR));
    assert_eq!(decide(&mut history, &rules, TEN + 9 * HOUR - 1).decisions, []);
    let plan = decide(&mut history, &rules, TEN + 9 * HOUR);
    assert_eq!((plan.decisions.len(), plan.next), (1, None));
}

#[test]
fn what_the_user_saw_meanwhile_is_not_in_the_digest_and_no_digest_comes_of_it_alone() {
    let rules = rules(quiet());
    let (_, history) = told(&rules, &[(Note, "ann", TEN)], TEN);
    let seen = history.entries().cloned().map(|entry| Entry { seen: true, ..entry }).collect();
    let mut history = History::new(seen, Vec::new());
    assert_eq!(decide(&mut history, &rules, TEN + 12 * HOUR), ringback_peace::Plan { decisions: vec![], next: None });
}

#[test]
fn an_open_notification_is_not_even_silently_replaced_in_quiet_hours() {
    let came = [(MissedCall, "ann", TEN - MINUTE), (Note, "ann", TEN + MINUTE)];
    let (decisions, _) = told(&rules(quiet()), &came, TEN + 9 * HOUR);
    assert_eq!(shown(&decisions[0]).why, Reason::Welcome);
    assert_eq!(held(&decisions[1]).1, TEN + MINUTE);
    assert_eq!(shown(&decisions[2]).why, Reason::Digest);
}

#[test]
fn the_third_call_within_five_minutes_gets_through_and_takes_the_others_along() {
    let came = [0, 2, 5, 6].map(|n| (MissedCall, "ann", TEN + n * MINUTE));
    let (decisions, _) = told(&rules(quiet()), &came, TEN + HOUR);
    assert!(matches!(decisions[..2], [Decision::Hold { .. }, Decision::Hold { .. }]));
    let loud = shown(&decisions[2]);
    assert_eq!((loud.why, loud.items.len()), (Reason::RepeatedCalls { times: 3, within_s: 300 }, 3));
    assert!(!loud.silent && loud.from.as_deref() == Some("ann"));
    let again = shown(&decisions[3]);
    assert!(
        again.silent && again.items.len() == 4 && again.why == loud.why,
        "it is replaced under the rule that let it through"
    );
}

#[test]
fn three_calls_in_more_than_five_minutes_or_of_several_people_do_not_get_through() {
    let slow = [0, 3, 6].map(|n| (MissedCall, "ann", TEN + n * MINUTE));
    let (decisions, _) = told(&rules(quiet()), &slow, TEN + HOUR);
    decisions.iter().for_each(|decision| _ = held(decision));
    let several = ["ann", "ben", "cem"].map(|from| (MissedCall, from, TEN + MINUTE));
    told(&rules(quiet()), &several, TEN + HOUR).0.iter().for_each(|decision| _ = held(decision));
    let reactions = [0, 1, 2].map(|n| (Reaction, "ann", TEN + n * MINUTE));
    told(&rules(quiet()), &reactions, TEN + HOUR).0.iter().for_each(|decision| _ = held(decision));
}

#[test]
fn a_notification_from_before_the_quiet_sounds_again_where_a_rule_lets_it_through() {
    let came = [1, 0].map(|before| (MissedCall, "ann", TEN - before * MINUTE)).into_iter().chain([(
        MissedCall,
        "ann",
        TEN + MINUTE,
    )]);
    let (decisions, history) = told(&rules(quiet()), &came.collect::<Vec<_>>(), TEN + HOUR);
    let loud = shown(&decisions[2]);
    assert_eq!((loud.revision, loud.silent, loud.items.len()), (2, false, 3));
    assert_eq!(loud.alerts, [TEN - MINUTE, TEN + MINUTE]);
    assert_eq!(history.notifications().count(), 1, "it is replaced, not added");
}

#[test]
fn favourites_get_through_with_calls_and_notes_and_not_with_reactions() {
    let mut settings = quiet();
    settings["favourites"] = json!(["ann"]);
    let came = [
        (Reaction, "ann", TEN),
        (Note, "ann", TEN + HOUR),
        (Note, "ben", TEN + HOUR),
        (MissedCall, "ann", TEN + 2 * HOUR),
    ];
    let (decisions, _) = told(&rules(settings), &came, TEN + 3 * HOUR);
    held(&decisions[0]);
    assert_eq!((shown(&decisions[1]).why, shown(&decisions[1]).items.len()), (Reason::Favourite, 2));
    held(&decisions[2]);
    assert_eq!(shown(&decisions[3]).why, Reason::Favourite);
}

#[test]
fn beyond_the_budget_it_waits_until_the_oldest_sound_is_an_hour_old() {
    let rules = rules(json!({ "alerts_per_hour": 2 }));
    let came = [
        (Note, "ann", NOON),
        (Note, "ben", NOON + MINUTE),
        (Note, "cem", NOON + 2 * MINUTE),
        (Note, "ann", NOON + 3 * MINUTE),
        (Note, "dan", NOON + 4 * MINUTE),
    ];
    let (decisions, _) = told(&rules, &came, NOON + 2 * HOUR);
    assert_eq!(held(&decisions[2]).2, Hold::Budget { until: NOON + HOUR });
    assert!(shown(&decisions[3]).silent, "what makes no sound costs nothing");
    held(&decisions[4]);
    let digest = shown(&decisions[5]);
    assert_eq!((digest.at, digest.why, digest.items.len()), (NOON + HOUR, Reason::Digest, 2));
}

#[test]
fn what_gets_through_counts_against_the_budget_of_the_others() {
    let rules = rules(json!({ "alerts_per_hour": 1, "favourites": ["ann"] }));
    let came = [(Note, "ben", NOON), (Note, "ann", NOON + 30 * MINUTE), (Note, "cem", NOON + 70 * MINUTE)];
    let (decisions, _) = told(&rules, &came, NOON + 90 * MINUTE);
    assert_eq!(shown(&decisions[1]).why, Reason::Favourite);
    assert_eq!(held(&decisions[2]).2, Hold::Budget { until: NOON + 90 * MINUTE });
    assert_eq!(shown(&decisions[3]).at, NOON + 90 * MINUTE);
}

#[test]
fn what_happened_while_nobody_decided_is_decided_by_the_hour_of_coming_back() {
    let rules = rules(quiet());
    let mut history = History::default();
    history.push(happened(Note, "ann", TEN - MINUTE));
    history.resume(TEN + HOUR);
    let plan = decide(&mut history, &rules, TEN + HOUR);
    assert_eq!(held(&plan.decisions[0]).1, TEN + HOUR);
}

#[test]
fn whoever_wants_quiet_day_and_night_keeps_everything_in_the_list_but_for_the_rules() {
    let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let all = json!({ "quiet_hours": [{ "days": days, "from": "00:00", "until": "00:00" }], "favourites": ["ann"] });
    let mut history = History::default();
    history.push(happened(Note, "ben", NOON));
    history.push(happened(Note, "ann", NOON));
    let plan = decide(&mut history, &rules(all), NOON + 400 * 24 * HOUR);
    assert_eq!(plan.decisions.iter().filter(|decision| matches!(decision, Decision::Notify(_))).count(), 1);
    assert!(plan.next.unwrap() > NOON + 400 * 24 * HOUR);
}

#[test]
fn settings_that_cannot_work_are_refused_with_the_reason() {
    let refused = |settings: serde_json::Value| {
        serde_json::from_value::<Settings>(settings).unwrap().rules().unwrap_err().to_string()
    };
    assert!(refused(json!({ "time_zone": "Mars/Olympus" })).contains("no time zone"));
    assert!(refused(json!({ "alerts_per_hour": 0 })).contains("alerts_per_hour must be 1 to 1000"));
    assert!(refused(json!({ "coalesce_s": 3601 })).contains("coalesce_s"));
    assert!(refused(json!({ "repeated_calls": { "times": 1, "within_s": 300 } })).contains("times"));
    assert!(refused(json!({ "favourites": ["x".repeat(300)] })).contains("favourites"));
    for time in ["24:00", "7:00", "12:60", "noon", "+1:00"] {
        let hours = json!({ "quiet_hours": [{ "days": ["mon"], "from": time, "until": "07:00" }] });
        let error = serde_json::from_value::<Settings>(hours).unwrap_err().to_string();
        assert!(error.contains("no time of day"), "{error}");
    }
    assert!(
        serde_json::from_value::<Settings>(json!({ "quite_hours": [] })).is_err(),
        "a slip of the pen is not ignored"
    );
}

/// What happens in a thread that the user has before them.
fn in_view(kind: OccurrenceKind, from: &str, at: u64) -> Entry {
    let Entry { occurrence, .. } = happened(kind, from, at);
    Entry::new(Occurrence { in_view: true, ..occurrence })
}

/// The same once somebody has said that it was seen.
fn seen(history: &History, id: &str) -> History {
    let entries =
        history.entries().map(|entry| Entry { seen: entry.seen || entry.occurrence.id == id, ..entry.clone() });
    let mut after = History::new(entries.collect(), history.notifications().cloned().collect());
    after.resume(history.decided_until());
    after
}

#[test]
fn what_comes_into_the_thread_that_is_looked_at_is_told_to_nobody_once_it_was_seen() {
    let rules = rules(json!({ "alerts_per_hour": 1 }));
    let mut history = History::default();
    let note = in_view(Note, "ann", NOON);
    let id = note.occurrence.id.clone();
    history.push(note);
    let plan = decide(&mut history, &rules, NOON);
    let until = NOON + 5 * SECOND;
    assert_eq!(held(&plan.decisions[0]), (id.as_str(), NOON, Hold::InView { until }));
    assert_eq!(plan.next, Some(until));
    let mut history = seen(&history, &id);
    let plan = decide(&mut history, &rules, NOON + HOUR);
    assert_eq!((plan.decisions, plan.next), (Vec::new(), None));
    assert_eq!(history.entry(&id).unwrap().held, Some(Hold::InView { until }), "the list says why");
    // It made no sound, and opened no notification that the next would only replace.
    history.push(happened(Note, "ann", NOON + HOUR + 1));
    let plan = decide(&mut history, &rules, NOON + HOUR + 1);
    assert!(!shown(&plan.decisions[0]).silent && shown(&plan.decisions[0]).items.len() == 1);
}

#[test]
fn what_nobody_says_was_seen_in_view_is_decided_on_like_anything_else() {
    let after = 5 * SECOND;
    for (settings, at, expected) in [
        (json!({}), NOON, None),
        (quiet(), TEN, Some(Hold::QuietHours { until: TEN + 9 * HOUR })),
        // By the hour at which it is decided.
        (quiet(), TEN - SECOND, Some(Hold::QuietHours { until: TEN + 9 * HOUR })),
        (quiet(), TEN + 9 * HOUR - SECOND, None),
    ] {
        let mut history = History::default();
        history.push(in_view(Note, "ann", at));
        let plan = decide(&mut history, &rules(settings), at + after);
        assert_eq!(held(&plan.decisions[0]).2, Hold::InView { until: at + after });
        match expected {
            None => {
                assert_eq!((shown(&plan.decisions[1]).at, shown(&plan.decisions[1]).why), (at + after, Reason::Welcome))
            }
            Some(hold) => assert_eq!(held(&plan.decisions[1]).2, hold),
        }
        assert_eq!(plan.decisions.len(), 2);
    }
}

#[test]
fn what_is_in_view_comes_along_with_nothing_and_keeps_nothing_waiting() {
    let mut history = History::default();
    history.push(in_view(Note, "ann", NOON));
    history.push(happened(Reaction, "ann", NOON + SECOND));
    history.push(happened(Note, "ben", NOON + SECOND));
    let plan = decide(&mut history, &rules(json!({})), NOON + SECOND);
    let told: Vec<_> = plan.decisions[1..].iter().map(|decision| shown(decision).items.len()).collect();
    assert_eq!(told, [1, 1]);
    // Nobody saw it after all: it joins what else there is of Ann.
    let plan = decide(&mut history, &rules(json!({})), NOON + MINUTE);
    let late = shown(&plan.decisions[0]);
    assert!(late.silent && late.revision == 2 && late.items.len() == 2, "{late:?}");
}
