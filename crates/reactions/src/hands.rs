//! Raised hands and statuses: who has one, in the server's order, and what has changed since everybody was told last. A change is told as
//! the present state of a person, so that telling it twice does no harm. It writes the texts; who may do what is decided in `room.rs`.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;

use crate::aggregator::quoted;
use crate::participant::{Participant, Rights};
use crate::protocol::{Controls, MAX_TEXT, VERSION};

/// People in one text: a few kilobytes, with ids of usual length.
const PEOPLE: usize = 32;

/// Bytes of one person in JSON at most: id (128 bytes) and name (40 characters), all escaped, a place and a status.
const PERSON: usize = 128 * 6 + 40 * 6 + 128;

// Shorter ids are the rule, so that texts are cut by their length, too.
const TEXT: usize = MAX_TEXT - PERSON - 512;

pub(crate) type People = HashMap<Arc<str>, Participant>;

/// The hands and statuses of a room.
#[derive(Debug, Default)]
pub(crate) struct Hands {
    /// Raised hands by their place.
    raised: BTreeMap<u64, Arc<str>>,
    next: u64,
    /// Who has changed, in order.
    changed: VecDeque<Arc<str>>,
    is_changed: HashSet<Arc<str>>,
    controls_changed: bool,
    /// Counts the texts that told changes.
    revision: u64,
}

impl Hands {
    /// Whether there is something to tell.
    pub(crate) fn is_due(&self) -> bool {
        self.controls_changed || !self.changed.is_empty()
    }

    /// Raises a hand that is down. Returns its place.
    pub(crate) fn raise(&mut self, id: &Arc<str>, participant: &mut Participant) -> Option<u64> {
        if participant.hand.is_some() {
            return None;
        }
        self.next += 1;
        participant.hand = Some(self.next);
        self.raised.insert(self.next, id.clone());
        self.touch(id);
        Some(self.next)
    }

    /// Lowers a hand. Returns whether it was up.
    pub(crate) fn lower(&mut self, id: &Arc<str>, participant: &mut Participant) -> bool {
        let Some(place) = participant.hand.take() else { return false };
        self.raised.remove(&place);
        self.touch(id);
        true
    }

    /// Says that somebody's state has changed.
    pub(crate) fn touch(&mut self, id: &Arc<str>) {
        if self.is_changed.insert(id.clone()) {
            self.changed.push_back(id.clone());
        }
    }

    /// Says that the controls have changed.
    pub(crate) fn touch_controls(&mut self) {
        self.controls_changed = true;
    }

    /// Raised hands, first come first.
    pub(crate) fn raised(&self) -> impl Iterator<Item = &Arc<str>> {
        self.raised.values()
    }

    /// What has changed, as far as it fits one text; the rest is for the next tick.
    pub(crate) fn write_changes(&mut self, people: &People, controls: Controls) -> Arc<str> {
        self.revision += 1;
        self.controls_changed = false;
        let mut text = self.begin("hands", controls);
        let mut separator = "";
        for _ in 0..PEOPLE {
            if text.len() > TEXT {
                break;
            }
            let Some(id) = self.changed.pop_front() else { break };
            self.is_changed.remove(&id);
            text.push_str(separator);
            write_person(&mut text, &id, people.get(&id));
            separator = ",";
        }
        text.push_str("]}");
        text.into()
    }

    /// Everything, for one who has just come: the first text replaces what they know, the others add to it.
    pub(crate) fn write_snapshot(&self, people: &People, can: Rights, controls: Controls, tick: u64) -> Vec<Arc<str>> {
        let with_status = people.iter().filter(|(_, person)| person.hand.is_none() && person.status.is_some());
        let mut everyone = self.raised().chain(with_status.map(|(id, _)| id)).peekable();
        let mut texts = Vec::new();
        loop {
            let mut text = self.begin(if texts.is_empty() { "snapshot" } else { "hands" }, controls);
            let mut separator = "";
            for _ in 0..PEOPLE {
                if text.len() > TEXT {
                    break;
                }
                let Some(id) = everyone.next() else { break };
                text.push_str(separator);
                write_person(&mut text, id, people.get(id));
                separator = ",";
            }
            text.push(']');
            if texts.is_empty() {
                let Rights { react, hand, host } = can;
                let can = format!(r#"{{"react":{react},"hand":{hand},"host":{host}}}"#);
                let _ = write!(text, r#","n":{tick},"can":{can}"#);
            }
            text.push('}');
            texts.push(text.into());
            if everyone.peek().is_none() {
                return texts;
            }
        }
    }

    fn begin(&self, kind: &str, controls: Controls) -> String {
        let (mode, who) = (json(controls.mode), json(controls.who));
        let revision = self.revision;
        format!(r#"{{"v":{VERSION},"type":"{kind}","rev":{revision},"mode":{mode},"who":{who},"people":["#)
    }
}

/// A person as they are now; nothing but the id where they have left, or have neither hand nor status.
fn write_person(text: &mut String, id: &str, person: Option<&Participant>) {
    let _ = write!(text, r#"{{"p":{}"#, quoted(id));
    if let Some(person) = person.filter(|person| person.hand.is_some() || person.status.is_some()) {
        let _ = write!(text, r#","name":{}"#, quoted(&person.name));
        if let Some(place) = person.hand {
            let _ = write!(text, r#","hand":{place}"#);
        }
        if let Some(status) = &person.status {
            let _ = write!(text, r#","status":{}"#, quoted(status));
        }
    }
    text.push('}');
}

fn json(value: impl serde::Serialize) -> String {
    serde_json::to_string(&value).unwrap_or_default()
}
