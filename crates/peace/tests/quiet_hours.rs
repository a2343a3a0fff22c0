//! Quiet hours where people live: over midnight, by days, and where the clocks are changed.
#![allow(clippy::unwrap_used)]

use ringback_peace::{Rules, Settings};
use serde_json::json;

fn rules(zone: &str, days: &[&str], from: &str, until: &str) -> Rules {
    let hours = json!([{ "days": days, "from": from, "until": until }]);
    serde_json::from_value::<Settings>(json!({ "time_zone": zone, "quiet_hours": hours })).unwrap().rules().unwrap()
}

fn ms(rfc3339: &str) -> u64 {
    rfc3339.parse::<jiff::Timestamp>().unwrap().as_millisecond().try_into().unwrap()
}

/// What ends at `until` is quiet from `from` on, to the millisecond.
#[track_caller]
fn is_quiet(rules: &Rules, from: &str, until: &str) {
    let (from, until) = (ms(from), ms(until));
    assert_eq!(rules.quiet_until(from - 1), None, "not yet");
    assert_eq!(rules.quiet_until(from), Some(until));
    assert_eq!(rules.quiet_until(until - 1), Some(until));
    assert_eq!(rules.quiet_until(until), None, "no longer");
}

const WEEK: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

#[test]
fn a_night_is_quiet_by_the_clock_on_the_users_wall() {
    is_quiet(
        &rules("Europe/Berlin", &WEEK, "22:00", "07:00"),
        "2026-01-10T22:00:00+01:00",
        "2026-01-11T07:00:00+01:00",
    );
    is_quiet(
        &rules("Asia/Kathmandu", &WEEK, "22:00", "07:00"),
        "2026-01-10T22:00:00+05:45",
        "2026-01-11T07:00:00+05:45",
    );
    is_quiet(
        &rules("America/Los_Angeles", &WEEK, "13:00", "14:30"),
        "2026-07-10T13:00:00-07:00",
        "2026-07-10T14:30:00-07:00",
    );
}

#[test]
fn a_night_belongs_to_the_day_on_which_it_begins() {
    let friday = rules("Europe/Berlin", &["fri"], "22:00", "10:00");
    // 9 January 2026 is a Friday.
    is_quiet(&friday, "2026-01-09T22:00:00+01:00", "2026-01-10T10:00:00+01:00");
    assert_eq!(friday.quiet_until(ms("2026-01-10T23:00:00+01:00")), None);
}

#[test]
fn the_night_in_which_the_clocks_go_forward_is_an_hour_shorter() {
    let rules = rules("Europe/Berlin", &WEEK, "22:00", "07:00");
    is_quiet(&rules, "2026-03-28T22:00:00+01:00", "2026-03-29T07:00:00+02:00");
    assert_eq!(ms("2026-03-29T07:00:00+02:00") - ms("2026-03-28T22:00:00+01:00"), 8 * 3_600_000);
}

#[test]
fn the_night_in_which_the_clocks_go_back_is_an_hour_longer() {
    is_quiet(
        &rules("Europe/Berlin", &WEEK, "22:00", "07:00"),
        "2026-10-24T22:00:00+02:00",
        "2026-10-25T07:00:00+01:00",
    );
}

#[test]
fn an_hour_that_exists_twice_is_quiet_both_times() {
    // 02:30 is there twice on 25 October.
    is_quiet(
        &rules("Europe/Berlin", &WEEK, "23:00", "02:30"),
        "2026-10-24T23:00:00+02:00",
        "2026-10-25T02:30:00+01:00",
    );
    is_quiet(
        &rules("Europe/Berlin", &["sun"], "02:30", "06:00"),
        "2026-10-25T02:30:00+02:00",
        "2026-10-25T06:00:00+01:00",
    );
}

#[test]
fn an_hour_that_does_not_exist_neither_shortens_nor_loses_the_quiet() {
    // There is no 02:30 on 29 March: quiet that ends then ends at 03:30, and quiet that begins then begins at 01:30.
    is_quiet(
        &rules("Europe/Berlin", &["sat"], "23:00", "02:30"),
        "2026-03-28T23:00:00+01:00",
        "2026-03-29T03:30:00+02:00",
    );
    is_quiet(
        &rules("Europe/Berlin", &["sun"], "02:30", "06:00"),
        "2026-03-29T01:30:00+01:00",
        "2026-03-29T06:00:00+02:00",
    );
}

#[test]
fn a_day_that_a_country_left_out_is_no_trouble() {
    // Samoa went from 29 to 31 December 2011.
    let rules = rules("Pacific/Apia", &WEEK, "22:00", "07:00");
    let until = rules.quiet_until(ms("2011-12-29T23:00:00-10:00")).unwrap();
    assert!((ms("2011-12-30T07:00:00-10:00")..=ms("2011-12-31T07:00:00+14:00")).contains(&until));
}

#[test]
fn stretches_that_touch_are_one() {
    let hours = json!([
        { "days": WEEK, "from": "22:00", "until": "00:00" },
        { "days": WEEK, "from": "00:00", "until": "06:00" },
        { "days": ["sat", "sun"], "from": "05:00", "until": "09:00" },
    ]);
    let rules: Settings = serde_json::from_value(json!({ "quiet_hours": hours })).unwrap();
    let rules = rules.rules().unwrap();
    is_quiet(&rules, "2026-01-09T22:00:00Z", "2026-01-10T09:00:00Z");
    is_quiet(&rules, "2026-01-11T22:00:00Z", "2026-01-12T06:00:00Z");
}
