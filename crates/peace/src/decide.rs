//! The rules, as one pure function. Time is walked through from one occurrence or end of waiting to the next, so it does not matter whether somebody asks after each
//! of them or once for all: the decisions are the same.

use crate::history::{Entry, History, Hold, Notification, Reason};
use crate::occurrence::{Occurrence, OccurrenceKind};
use crate::settings::Rules;

/// An hour in milliseconds: what the budget is for.
const HOUR: u64 = 3_600_000;

/// How long somebody who has the thread in view may take to say that they saw what came into it, in milliseconds. Less than a slow network needs would tell people of what they
/// are looking at; more keeps those waiting whose page sleeps.
const IN_VIEW: u64 = 5_000;

/// How many ends of waiting are looked through for one at which nothing speaks against a digest: quiet hours and full hours can take turns. After the last it is looked again.
const LOOKS: usize = 64;

/// Something that was decided, to be carried out in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Not now: it is in the list, and in a digest as soon as nothing speaks against it.
    Hold {
        /// The occurrence.
        occurrence: String,
        /// When that was decided, in Unix milliseconds.
        at: u64,
        /// Why.
        why: Hold,
    },
    /// Show this, in place of its earlier revision where there was one.
    Notify(Notification),
}

/// What follows from a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What to do now, in order.
    pub decisions: Vec<Decision>,
    /// When to decide again if nothing happens before, in Unix milliseconds; `None` where nothing waits or is yet to come.
    pub next: Option<u64>,
}

/// Decides on everything that happened up to `now`, in Unix milliseconds, and takes the decisions over into the history.
pub fn decide(history: &mut History, rules: &Rules, now: u64) -> Plan {
    let mut walk = Walk { clock: history.decided_until(), history, rules, decisions: Vec::new() };
    while walk.step(now) {}
    let digest = walk.digest_at(walk.clock.max(now));
    // In view, or of a clock that was put back since.
    let yet_to_come = walk.history.entries().filter_map(Entry::due).min();
    let next = digest.into_iter().chain(yet_to_come).min();
    let decisions = walk.decisions;
    history.resume(now);
    Plan { decisions, next }
}

struct Walk<'a> {
    history: &'a mut History,
    rules: &'a Rules,
    /// How far time has come.
    clock: u64,
    decisions: Vec<Decision>,
}

impl Walk<'_> {
    /// Does what is due next, if anything is.
    fn step(&mut self, now: u64) -> bool {
        let due = self.history.entries().filter_map(|entry| Some((entry.due()?, entry)));
        // Of several at once the one that happened first.
        let due = due.min_by_key(|(at, _)| *at).map(|(at, entry)| (at.max(self.clock), entry.clone()));
        let due = due.filter(|(at, _)| *at <= now);
        let digest = self.digest_at(self.clock).filter(|at| *at <= now);
        match (digest, due) {
            (Some(digest), due) if due.as_ref().is_none_or(|(at, _)| digest <= *at) => {
                self.clock = digest;
                self.digest();
            }
            (_, Some((at, entry))) => {
                self.clock = at;
                match entry.held {
                    None if entry.occurrence.in_view => {
                        self.hold(&entry.occurrence, Hold::InView { until: at + IN_VIEW });
                    }
                    _ => self.occurrence(&entry.occurrence),
                }
            }
            _ => return false,
        }
        true
    }

    fn occurrence(&mut self, occurrence: &Occurrence) {
        let open_since = self.clock.saturating_sub(u64::from(self.rules.settings().coalesce_s) * 1_000);
        let open = self.history.latest_of(&occurrence.from).filter(|one| one.opened_at > open_since).cloned();
        let quiet = self.rules.quiet_until(self.clock).map(|until| Hold::QuietHours { until });
        // What is open already is replaced without a sound, in quiet hours only where a rule let it through.
        if let Some(open) = open.clone().filter(|open| quiet.is_none() || open.why.gets_through()) {
            let why = open.why;
            return self.notify(Some(open), occurrence, why, false);
        }
        let full = || self.budget_until(self.clock).map(|until| Hold::Budget { until });
        match (quiet.or_else(full), self.gets_through(occurrence)) {
            (None, _) => self.notify(None, occurrence, Reason::Welcome, true),
            (Some(_), Some(why)) => self.notify(open, occurrence, why, true),
            (Some(why), None) => self.hold(occurrence, why),
        }
    }

    fn hold(&mut self, occurrence: &Occurrence, why: Hold) {
        self.put(Decision::Hold { occurrence: occurrence.id.clone(), at: self.clock, why });
    }

    /// What waits for quiet hours to end, or for the budget.
    fn waiting(&self) -> impl Iterator<Item = &Entry> {
        self.history.entries().filter(|entry| entry.waits() && entry.due().is_none())
    }

    /// Shows an occurrence, and with it what else waits of the same sender.
    fn notify(&mut self, open: Option<Notification>, occurrence: &Occurrence, why: Reason, alert: bool) {
        let (mut items, revision, opened_at, mut alerts) = match &open {
            Some(open) => (open.items.clone(), open.revision + 1, open.opened_at, open.alerts.clone()),
            None => (Vec::new(), 1, self.clock, Vec::new()),
        };
        items.retain(|item| self.history.entry(item).is_some_and(|entry| !entry.seen));
        let waiting = self.waiting().filter(|entry| entry.occurrence.from == occurrence.from);
        items.extend(waiting.map(|entry| entry.occurrence.id.clone()));
        items.push(occurrence.id.clone());
        alerts.extend(alert.then_some(self.clock));
        let id = open.map_or_else(|| items[0].clone(), |open| open.id);
        let (at, from, silent) = (self.clock, Some(occurrence.from.clone()), !alert);
        self.put(Decision::Notify(Notification { id, revision, opened_at, at, from, why, items, silent, alerts }));
    }

    /// Shows all that waits.
    fn digest(&mut self) {
        let items: Vec<String> = self.waiting().map(|entry| entry.occurrence.id.clone()).collect();
        let Some(id) = items.first().cloned() else { return };
        let (at, why, alerts) = (self.clock, Reason::Digest, vec![self.clock]);
        let digest = Notification { id, revision: 1, opened_at: at, at, from: None, why, items, silent: false, alerts };
        self.put(Decision::Notify(digest));
    }

    fn put(&mut self, decision: Decision) {
        self.history.apply(&decision);
        self.decisions.push(decision);
    }

    /// The first moment from this one on at which what waits may be told.
    fn digest_at(&self, from: u64) -> Option<u64> {
        self.waiting().next()?;
        let mut at = from;
        for _ in 0..LOOKS {
            match self.rules.quiet_until(at).or_else(|| self.budget_until(at)) {
                Some(until) => at = until,
                None => break,
            }
        }
        Some(at)
    }

    /// When another notification may make a sound, where as many have as the user wants within an hour.
    fn budget_until(&self, at: u64) -> Option<u64> {
        let most = self.rules.settings().alerts_per_hour? as usize;
        let mut alerts: Vec<u64> = self.history.notifications().flat_map(|one| one.alerts.iter().copied()).collect();
        alerts.retain(|alert| alert + HOUR > at);
        alerts.sort_unstable();
        // Once the oldest of these is an hour old, one is free.
        let oldest = alerts.len().checked_sub(most)?;
        Some(alerts[oldest] + HOUR)
    }

    /// The rule by which something gets through in spite of quiet hours and the budget.
    fn gets_through(&self, occurrence: &Occurrence) -> Option<Reason> {
        let settings = self.rules.settings();
        if settings.favourites.contains(&occurrence.from) && occurrence.kind.is_personal() {
            return Some(Reason::Favourite);
        }
        let repeated = settings.repeated_calls.filter(|_| occurrence.kind == OccurrenceKind::MissedCall)?;
        let since = occurrence.at.saturating_sub(u64::from(repeated.within_s) * 1_000);
        // What comes after it in the order of decisions has not happened yet, even at the same millisecond.
        let until = (occurrence.at, occurrence.id.as_str());
        let calls = self.history.entries().map(|entry| &entry.occurrence).filter(|other| {
            let before = other.at >= since && (other.at, other.id.as_str()) <= until;
            before && other.kind == OccurrenceKind::MissedCall && other.from == occurrence.from
        });
        let enough = calls.count() >= repeated.times as usize;
        enough.then_some(Reason::RepeatedCalls { times: repeated.times, within_s: repeated.within_s })
    }
}
