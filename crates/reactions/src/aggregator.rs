//! Counts the reactions of a room and writes a tick: one text for all who are told together, whatever the number of reactions in it. Counters only grow,
//! and a changed one is told [`REPEATS`] ticks more, so that a receiver who lost ticks has missed nothing after the next one. Where more
//! has changed than a tick holds, the longest waiting goes first and the rest in the next ticks.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;

use crate::event::{CountedReaction, NamedReaction};
use crate::protocol::{REPEATS, VERSION};

/// Bytes of a tick in a small room, well below [`MAX_TEXT`](crate::MAX_TEXT).
const SMALL_ROOM_TICK: usize = 6 * 1024;

/// Bytes of a tick in a large room: it fits one datagram of 1,200 bytes with SCTP and DTLS around it, so that one loss is one loss, and
/// the cheapest message there is.
const LARGE_ROOM_TICK: usize = 1050;

/// How many a tick of a large room names.
const SAMPLE: usize = 6;

/// How many a tick of a small room names at most. Everyone with two different reactions fits.
const NAMED: usize = 2 * crate::config::SMALL_ROOM;

const MENTIONS: usize = REPEATS + 1;

const _: () = assert!(LARGE_ROOM_TICK < SMALL_ROOM_TICK && SMALL_ROOM_TICK + 512 < crate::protocol::MAX_TEXT);

#[derive(Debug, Clone)]
struct Counter {
    reaction: Arc<str>,
    total: u64,
    /// The totals that the last mentions told, oldest first.
    told: [u64; MENTIONS],
    /// How often it is still to be told.
    mentions_left: usize,
    /// The tick that told it last.
    told_in: u64,
    /// Whether it waits in `fresh`, and in `again`.
    is_fresh: bool,
    is_again: bool,
    /// Counted since the last event.
    unreported: u64,
}

/// Who reacted in one tick.
#[derive(Debug, Clone, Default)]
struct Named {
    tick: u64,
    by: Vec<(NamedReaction, Arc<str>)>,
    /// Whether that is everyone.
    all: bool,
}

/// What happened in a tick, for the event.
pub(crate) struct Reported {
    pub(crate) counts: Vec<CountedReaction>,
    pub(crate) by: Vec<NamedReaction>,
    pub(crate) all: bool,
}

/// The counters of a room, as one share of its receivers is told them.
#[derive(Debug, Clone)]
pub(crate) struct Aggregator {
    places: HashMap<Arc<str>, usize>,
    counters: Vec<Counter>,
    /// Changed and not told.
    fresh: VecDeque<usize>,
    /// Told, and to be told again.
    again: VecDeque<usize>,
    /// Changed since the last event.
    unreported: Vec<usize>,
    /// Of the tick that comes, then of those before, newest first.
    current: Named,
    recent: VecDeque<Named>,
    /// The number of the last tick.
    tick: u64,
}

impl Aggregator {
    pub(crate) fn new() -> Self {
        Self {
            places: HashMap::new(),
            counters: Vec::new(),
            fresh: VecDeque::new(),
            again: VecDeque::new(),
            unreported: Vec::new(),
            current: Named { all: true, ..Named::default() },
            recent: VecDeque::new(),
            tick: 0,
        }
    }

    /// Whether a tick would say something.
    pub(crate) fn is_due(&self) -> bool {
        !(self.fresh.is_empty() && self.again.is_empty())
    }

    /// The counters that wait to be told, by their place.
    pub(crate) fn pending(&self) -> impl Iterator<Item = usize> + '_ {
        self.fresh.iter().chain(&self.again).copied()
    }

    /// What was known of a counter three mentions ago.
    pub(crate) fn told_before(&self, at: usize) -> u64 {
        self.counters.get(at).map_or(0, |counter| counter.told[0])
    }

    /// Tells a counter as often as one that has just changed, to receivers who were last told `before`.
    pub(crate) fn tell_again(&mut self, at: usize, before: u64) {
        let Some(counter) = self.counters.get_mut(at) else { return };
        counter.mentions_left = MENTIONS;
        counter.told = [before; MENTIONS];
        if !counter.is_fresh && !counter.is_again {
            counter.is_again = true;
            self.again.push_back(at);
        }
    }

    /// Counts a reaction, which was validated.
    pub(crate) fn count(&mut self, reaction: &str, participant: &Arc<str>, name: &Arc<str>, large: bool) {
        let at = match self.places.get(reaction) {
            Some(&at) => at,
            None => self.add(reaction.into()),
        };
        let Some(counter) = self.counters.get_mut(at) else { return };
        counter.total += 1;
        if counter.unreported == 0 {
            self.unreported.push(at);
        }
        counter.unreported += 1;
        counter.mentions_left = MENTIONS;
        if !counter.is_fresh {
            counter.is_fresh = true;
            self.fresh.push_back(at);
        }
        let reaction = counter.reaction.clone();
        self.name(reaction, participant, name, large);
    }

    fn add(&mut self, reaction: Arc<str>) -> usize {
        let at = self.counters.len();
        self.places.insert(reaction.clone(), at);
        self.counters.push(Counter {
            reaction,
            total: 0,
            told: [0; MENTIONS],
            mentions_left: 0,
            told_in: 0,
            is_fresh: false,
            is_again: false,
            unreported: 0,
        });
        at
    }

    fn name(&mut self, reaction: Arc<str>, participant: &Arc<str>, name: &Arc<str>, large: bool) {
        let by = &mut self.current.by;
        let theirs = |(named, _): &(NamedReaction, Arc<str>)| named.participant == *participant;
        if let Some((named, _)) = by.iter_mut().find(|entry| theirs(entry) && entry.0.reaction == reaction) {
            named.count += 1;
        } else if by.len() < if large { SAMPLE } else { NAMED } && !(large && by.iter().any(theirs)) {
            // Of a large room's few places nobody takes two.
            by.push((NamedReaction { participant: participant.clone(), reaction, count: 1 }, name.clone()));
        } else {
            self.current.all = false;
        }
    }

    /// What has been counted since this was asked last. To be asked before the tick is written.
    pub(crate) fn report(&mut self) -> Option<Reported> {
        if self.unreported.is_empty() {
            return None;
        }
        let counters = &mut self.counters;
        let counts = self.unreported.drain(..).filter_map(|at| {
            let counter = counters.get_mut(at)?;
            let count = std::mem::take(&mut counter.unreported);
            Some(CountedReaction { reaction: counter.reaction.clone(), count })
        });
        let counts = counts.collect();
        let by = self.current.by.iter().map(|(named, _)| named.clone()).collect();
        Some(Reported { counts, by, all: self.current.all })
    }

    /// Writes the next tick, under a number above those before.
    pub(crate) fn write_tick(&mut self, number: u64, large: bool) -> String {
        self.tick = number;
        let limit = if large { LARGE_ROOM_TICK } else { SMALL_ROOM_TICK };
        let mut text = String::with_capacity(limit);
        let _ = write!(text, r#"{{"v":{VERSION},"type":"tick","n":{},"counts":["#, self.tick);
        // A quarter is kept for names.
        self.write_counts(&mut text, limit / 4 * 3);
        text.push_str(r#"],"by":["#);
        self.current.tick = self.tick;
        let current = std::mem::replace(&mut self.current, Named { all: true, ..Named::default() });
        self.recent.push_front(current);
        self.recent.truncate(MENTIONS);
        let all = self.write_names(&mut text, limit);
        let _ = write!(text, r#"],"all":{all}}}"#);
        text
    }

    fn write_counts(&mut self, text: &mut String, limit: usize) {
        let mut later = VecDeque::new();
        let mut separator = "";
        while text.len() < limit {
            let (at, was_fresh) = match self.fresh.pop_front() {
                Some(at) => (at, true),
                None => match self.again.pop_front() {
                    Some(at) => (at, false),
                    None => break,
                },
            };
            let Some(counter) = self.counters.get_mut(at) else { continue };
            match was_fresh {
                true => counter.is_fresh = false,
                false => counter.is_again = false,
            }
            if counter.told_in < self.tick {
                let (reaction, total, before) = (quoted(&counter.reaction), counter.total, counter.told[0]);
                let _ = write!(text, "{separator}[{reaction},{total},{before}]");
                separator = ",";
                counter.told.rotate_left(1);
                counter.told[MENTIONS - 1] = total;
                counter.told_in = self.tick;
                counter.mentions_left -= 1;
            }
            if counter.mentions_left > 0 && !counter.is_again {
                counter.is_again = true;
                later.push_back(at);
            }
        }
        self.again.append(&mut later);
    }

    /// Names the newest first. Returns whether that is everyone who reacted in these ticks.
    fn write_names(&self, text: &mut String, limit: usize) -> bool {
        let mut all = true;
        let mut separator = "";
        for named in &self.recent {
            all &= named.all;
            for (by, name) in &named.by {
                let entry = format!(
                    "{separator}[{},{},{},{},{}]",
                    named.tick,
                    quoted(&by.participant),
                    quoted(name),
                    quoted(&by.reaction),
                    by.count
                );
                if text.len() + entry.len() > limit {
                    return false;
                }
                text.push_str(&entry);
                separator = ",";
            }
        }
        all
    }
}

/// A string as JSON.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
