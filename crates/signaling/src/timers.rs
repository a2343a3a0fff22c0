//! One deadline per key, soonest first.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Timers {
    by_time: BTreeSet<(Instant, String)>,
    by_key: HashMap<String, Instant>,
}

impl Timers {
    /// Sets, moves or removes the deadline of a key.
    pub(crate) fn set(&mut self, key: &str, at: Option<Instant>) {
        if self.by_key.get(key).copied() == at {
            return;
        }
        if let Some(before) = self.by_key.remove(key) {
            self.by_time.remove(&(before, key.to_owned()));
        }
        if let Some(at) = at {
            self.by_key.insert(key.to_owned(), at);
            self.by_time.insert((at, key.to_owned()));
        }
    }

    /// The soonest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes the key of the soonest deadline that has passed.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<String> {
        if self.next()? > now {
            return None;
        }
        let (_, key) = self.by_time.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }
}
