//! Hours in which a user wants to be left alone, in the time zone where they live. Where the clocks are changed, hours that exist twice or not at all are taken on the
//! side of quiet: it begins at the earlier and ends at the later of the possible moments.

use std::fmt;

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde::{Deserialize, Serialize};

use crate::error::PeaceError;

/// How many stretches of quiet that follow one another without a gap are looked at. Whoever wants quiet day and night is asked about again after the last of them.
const STRETCHES: usize = 16;

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Day {
    /// The whole week.
    pub const ALL: [Self; 7] = [Self::Mon, Self::Tue, Self::Wed, Self::Thu, Self::Fri, Self::Sat, Self::Sun];

    fn of(date: Date) -> Self {
        match date.weekday() {
            Weekday::Monday => Self::Mon,
            Weekday::Tuesday => Self::Tue,
            Weekday::Wednesday => Self::Wed,
            Weekday::Thursday => Self::Thu,
            Weekday::Friday => Self::Fri,
            Weekday::Saturday => Self::Sat,
            Weekday::Sunday => Self::Sun,
        }
    }
}

/// A time of day, to the minute; `"22:30"` as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeOfDay {
    hour: i8,
    minute: i8,
}

impl TimeOfDay {
    /// A time of day; `None` where there is no such time.
    pub fn new(hour: u8, minute: u8) -> Option<Self> {
        let time = Self { hour: i8::try_from(hour).ok()?, minute: i8::try_from(minute).ok()? };
        (hour < 24 && minute < 60).then_some(time)
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.hour, self.minute)
    }
}

impl From<TimeOfDay> for String {
    fn from(time: TimeOfDay) -> Self {
        time.to_string()
    }
}

impl TryFrom<String> for TimeOfDay {
    type Error = PeaceError;

    fn try_from(text: String) -> Result<Self, PeaceError> {
        let two =
            |part: &str| part.parse().ok().filter(|_| part.len() == 2 && part.bytes().all(|c| c.is_ascii_digit()));
        let time = text.split_once(':').and_then(|(hour, minute)| Self::new(two(hour)?, two(minute)?));
        time.ok_or(PeaceError::TimeOfDay(text))
    }
}

/// Hours of quiet that recur. Where they end no later than they begin, they end on the day after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuietHours {
    /// On which days they begin.
    pub days: Vec<Day>,
    /// When they begin.
    pub from: TimeOfDay,
    /// When they end.
    pub until: TimeOfDay,
}

impl QuietHours {
    /// When those that begin on a day begin and end, in Unix milliseconds.
    fn on(&self, date: Date, zone: &TimeZone) -> Option<(u64, u64)> {
        if !self.days.contains(&Day::of(date)) {
            return None;
        }
        let last = if self.until <= self.from { date.tomorrow().ok()? } else { date };
        let at = |date: Date, time: TimeOfDay| zone.to_ambiguous_timestamp(date.at(time.hour, time.minute, 0, 0));
        let (begin, end) = (at(date, self.from).earlier().ok()?, at(last, self.until).later().ok()?);
        Some((u64::try_from(begin.as_millisecond()).ok()?, u64::try_from(end.as_millisecond()).ok()?))
    }
}

/// When the quiet ends in which this moment lies, both in Unix milliseconds; `None` where it is not quiet.
pub(crate) fn quiet_until(hours: &[QuietHours], zone: &TimeZone, at: u64) -> Option<u64> {
    let mut until = at;
    for _ in 0..STRETCHES {
        match end_of_stretch(hours, zone, until) {
            Some(end) => until = end,
            None => break,
        }
    }
    (until > at).then_some(until)
}

fn end_of_stretch(hours: &[QuietHours], zone: &TimeZone, at: u64) -> Option<u64> {
    let now = Timestamp::from_millisecond(i64::try_from(at).ok()?).ok()?;
    let today = zone.to_datetime(now).date();
    // The day before yesterday as well: a day may be longer than 24 hours.
    let days = (0..=2).filter_map(|back| today.checked_sub(Span::new().days(back)).ok());
    let stretches = days.flat_map(|day| hours.iter().filter_map(move |hours| hours.on(day, zone)));
    stretches.filter(|(begin, end)| (*begin..*end).contains(&at)).map(|(_, end)| end).max()
}
