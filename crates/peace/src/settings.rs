//! What a user wants to be told, and when.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::error::PeaceError;
use crate::quiet::{QuietHours, quiet_until};

/// The most stretches of quiet hours that one user has: several for each day.
const MOST_QUIET: usize = 32;

/// The most favourites of one user.
const MOST_FAVOURITES: usize = 256;

/// The longest id of a favourite, in bytes.
const LONGEST_ID: usize = 256;

/// What a user wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where they live, a name of the IANA database; `UTC` unless told.
    pub time_zone: String,
    /// When they want to be left alone; never unless told.
    pub quiet_hours: Vec<QuietHours>,
    /// What one sender does within this time of the first of it is one notification, in seconds, up to an hour; 10 minutes unless told: long enough for three calls and the note
    /// after them. Longer is calmer, and hides that somebody began anew.
    pub coalesce_s: u32,
    /// How many notifications may make a sound within any hour, 1 to 1000; 6 unless told. `None`: as many as come.
    pub alerts_per_hour: Option<u32>,
    /// Somebody who calls so often gets through; three times in five minutes unless told. `None`: nobody.
    pub repeated_calls: Option<RepeatedCalls>,
    /// Users whose calls and notes always get through.
    pub favourites: BTreeSet<String>,
}

/// How often somebody must call to get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepeatedCalls {
    /// So many times, 2 to 20.
    pub times: u32,
    /// Within so many seconds, 30 to 3600.
    pub within_s: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            time_zone: "UTC".to_owned(),
            quiet_hours: Vec::new(),
            coalesce_s: 600,
            alerts_per_hour: Some(6),
            repeated_calls: Some(RepeatedCalls { times: 3, within_s: 300 }),
            favourites: BTreeSet::new(),
        }
    }
}

impl Settings {
    /// Checks them, and looks the time zone up.
    ///
    /// # Errors
    /// What is wrong with them, in words for whoever made them.
    pub fn rules(self) -> Result<Rules, PeaceError> {
        let bounds =
            |fits: bool, setting, expected| if fits { Ok(()) } else { Err(PeaceError::Bounds { setting, expected }) };
        bounds(self.quiet_hours.len() <= MOST_QUIET, "quiet_hours", "a list of 32 at most")?;
        bounds(self.coalesce_s <= 3_600, "coalesce_s", "0 to 3600")?;
        bounds(
            self.alerts_per_hour.is_none_or(|most| (1..=1_000).contains(&most)),
            "alerts_per_hour",
            "1 to 1000, or null",
        )?;
        let repeated = self.repeated_calls.unwrap_or(RepeatedCalls { times: 2, within_s: 30 });
        bounds((2..=20).contains(&repeated.times), "repeated_calls.times", "2 to 20")?;
        bounds((30..=3_600).contains(&repeated.within_s), "repeated_calls.within_s", "30 to 3600")?;
        let short = self.favourites.iter().all(|user| user.len() <= LONGEST_ID);
        bounds(short && self.favourites.len() <= MOST_FAVOURITES, "favourites", "256 user ids of 256 bytes at most")?;
        let zone = TimeZone::get(&self.time_zone).map_err(|_| PeaceError::TimeZone(self.time_zone.clone()))?;
        Ok(Rules { settings: self, zone })
    }
}

/// Settings that hold together, with their time zone.
#[derive(Debug, Clone)]
pub struct Rules {
    settings: Settings,
    zone: TimeZone,
}

impl Rules {
    /// The settings they were made of.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// When the quiet ends in which a moment lies, both in Unix milliseconds; `None` where it is not quiet.
    pub fn quiet_until(&self, at: u64) -> Option<u64> {
        quiet_until(&self.settings.quiet_hours, &self.zone, at)
    }
}
