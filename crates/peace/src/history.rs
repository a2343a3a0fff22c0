//! What happened to one user, and what was decided about it: the memory that a decision rests on. It holds what the user has not been told of, and what is recent enough
//! to matter; what is older may be left out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::decide::Decision;
use crate::occurrence::Occurrence;

/// Nothing longer before [the time up to which everything was decided](History::decided_until) than this matters any more, in milliseconds, but what is new or waits, and what is in a notification that was opened since: two hours, for no rule looks back further than
/// one, and a notification may make a sound an hour after it was opened.
pub const HORIZON: u64 = 2 * 3_600_000;

/// Why something waits. Times are Unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "snake_case")]
pub enum Hold {
    /// The user was looking at its thread. Who shows it may say until then that it was seen; otherwise it is decided on like anything else.
    InView {
        /// When it is decided on.
        until: u64,
    },
    /// The user's quiet hours, until then.
    QuietHours {
        /// When they end.
        until: u64,
    },
    /// As many notifications as the user wants within an hour have come.
    Budget {
        /// When there may be another one.
        until: u64,
    },
}

/// Why a notification comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "snake_case")]
pub enum Reason {
    /// Nothing spoke against it.
    Welcome,
    /// A favourite, who gets through at any time.
    Favourite,
    /// Somebody called so often that it may matter.
    RepeatedCalls {
        /// So many times.
        times: u32,
        /// Within so many seconds.
        within_s: u32,
    },
    /// What had to wait, now that nothing speaks against it any more.
    Digest,
}

impl Reason {
    /// Whether it is one of the rules that let something through in spite of quiet hours and the budget.
    pub fn gets_through(self) -> bool {
        matches!(self, Self::Favourite | Self::RepeatedCalls { .. })
    }
}

/// A notification as it is shown. A later revision of the same id replaces it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// Its id: that of the first occurrence in it.
    pub id: String,
    /// Counts its revisions from 1.
    pub revision: u32,
    /// When it was first shown, in Unix milliseconds.
    pub opened_at: u64,
    /// When this revision was decided on.
    pub at: u64,
    /// Whose doing all of it is; `None` for a digest.
    pub from: Option<String>,
    /// Why it comes.
    pub why: Reason,
    /// The occurrences in it, oldest first.
    pub items: Vec<String>,
    /// This revision makes no sound: it takes the place of the one before.
    pub silent: bool,
    /// When its revisions made a sound.
    pub alerts: Vec<u64>,
}

/// Something that happened, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What happened.
    pub occurrence: Occurrence,
    /// Why it waits, or had to.
    pub held: Option<Hold>,
    /// The notification that tells of it.
    pub notification: Option<String>,
    /// The user has seen it by themselves: nobody need tell them.
    pub seen: bool,
}

impl Entry {
    /// Something that just happened.
    pub fn new(occurrence: Occurrence) -> Self {
        Self { occurrence, held: None, notification: None, seen: false }
    }

    /// When it is to be decided on, in Unix milliseconds: as it happens, and again where nobody says that it was seen in view. `None` where nothing is to be decided about
    /// it alone.
    pub fn due(&self) -> Option<u64> {
        match self.held {
            _ if self.notification.is_some() || self.seen => None,
            None => Some(self.occurrence.at),
            Some(Hold::InView { until }) => Some(until),
            Some(Hold::QuietHours { .. } | Hold::Budget { .. }) => None,
        }
    }

    /// It waits to be told.
    pub fn waits(&self) -> bool {
        self.held.is_some() && self.notification.is_none() && !self.seen
    }
}

/// What has happened, see the module's documentation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// By when they happened and their ids: the order in which they are decided on.
    entries: BTreeMap<(u64, String), Entry>,
    /// When each of them happened.
    times: BTreeMap<String, u64>,
    notifications: BTreeMap<String, Notification>,
    decided_until: u64,
}

impl History {
    /// What was kept, in any order.
    pub fn new(entries: Vec<Entry>, notifications: Vec<Notification>) -> Self {
        let notifications = notifications.into_iter().map(|one| (one.id.clone(), one)).collect();
        let mut history = Self { notifications, ..Self::default() };
        for entry in entries {
            history.push(entry);
        }
        history
    }

    /// Whatever happened before this time, in Unix milliseconds, and was not decided on, is decided on as of now: whoever was away must not
    /// tell at night what would have been welcome in the evening.
    pub fn resume(&mut self, now: u64) {
        self.decided_until = self.decided_until.max(now);
    }

    /// Something happened. What is known already changes nothing; false then.
    pub fn push(&mut self, entry: Entry) -> bool {
        let Occurrence { id, at, .. } = &entry.occurrence;
        if self.times.contains_key(id) {
            return false;
        }
        self.times.insert(id.clone(), *at);
        self.entries.insert((*at, id.clone()), entry);
        true
    }

    /// Takes over what was decided.
    pub fn apply(&mut self, decision: &Decision) {
        match decision {
            Decision::Hold { occurrence, why, .. } => {
                if let Some(entry) = self.entry_mut(occurrence) {
                    entry.held = Some(*why);
                }
            }
            Decision::Notify(notification) => {
                for item in &notification.items {
                    if let Some(entry) = self.entry_mut(item) {
                        entry.notification = Some(notification.id.clone());
                    }
                }
                self.notifications.insert(notification.id.clone(), notification.clone());
            }
        }
    }

    /// What happened, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// The notifications that were shown, each in its last revision.
    pub fn notifications(&self) -> impl Iterator<Item = &Notification> {
        self.notifications.values()
    }

    /// Up to when everything was decided.
    pub fn decided_until(&self) -> u64 {
        self.decided_until
    }

    /// One of the entries.
    pub fn entry(&self, occurrence: &str) -> Option<&Entry> {
        let at = *self.times.get(occurrence)?;
        self.entries.get(&(at, occurrence.to_owned()))
    }

    fn entry_mut(&mut self, occurrence: &str) -> Option<&mut Entry> {
        let at = *self.times.get(occurrence)?;
        self.entries.get_mut(&(at, occurrence.to_owned()))
    }

    /// A sender's latest notification, if there is something in it that the user has not seen.
    pub(crate) fn latest_of(&self, from: &str) -> Option<&Notification> {
        let theirs = self.notifications.values().filter(|one| one.from.as_deref() == Some(from));
        let latest = theirs.max_by_key(|one| (one.opened_at, one.id.as_str()))?;
        latest.items.iter().any(|item| self.entry(item).is_some_and(|entry| !entry.seen)).then_some(latest)
    }
}
