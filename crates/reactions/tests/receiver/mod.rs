//! A receiver as docs/reactions.md tells one to be written, and a room with its clock.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub, missing_docs)]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringback_reactions::{
    Channel, MAX_TEXT, ReactionEvent, ReactionOutput, Refusal, Rights, RoomReactions, RoomReactionsConfig, Share,
};
use serde_json::Value;

/// What one participant has made of the texts that reached them.
#[derive(Debug, Default, Clone)]
pub struct Receiver {
    known: HashMap<String, u64>,
    last_tick: u64,
    /// How often what floated up.
    pub floated: BTreeMap<String, u64>,
    /// How often whose name stood at what.
    pub named: BTreeMap<(String, String), u64>,
    /// Whether everyone has been named so far.
    pub all_named: bool,
    pub revision: Option<u64>,
    pub hands: BTreeMap<u64, String>,
    pub statuses: BTreeMap<String, String>,
    pub mode: String,
    pub can: Value,
    pub refused: Vec<Value>,
}

impl Receiver {
    pub fn new() -> Self {
        Self { all_named: true, ..Self::default() }
    }

    /// Takes a text in. Returns whether a snapshot is to be asked for.
    pub fn take(&mut self, text: &str) -> bool {
        assert!(text.len() <= MAX_TEXT, "{} bytes", text.len());
        let message: Value = serde_json::from_str(text).unwrap();
        assert_eq!(message["v"], 1);
        match message["type"].as_str().unwrap() {
            "tick" => self.tick(&message),
            kind @ ("snapshot" | "hands") => return self.sticky(kind == "snapshot", &message),
            "can" => self.can = message.clone(),
            "refused" => self.refused.push(message),
            kind => panic!("an unknown type {kind}"),
        }
        false
    }

    fn tick(&mut self, message: &Value) {
        for entry in message["counts"].as_array().unwrap() {
            let (reaction, total) = (entry[0].as_str().unwrap(), entry[1].as_u64().unwrap());
            let before = *self.known.get(reaction).unwrap_or(&entry[2].as_u64().unwrap());
            if total > before {
                *self.floated.entry(reaction.to_owned()).or_default() += total - before;
            }
            let known = self.known.entry(reaction.to_owned()).or_default();
            *known = total.max(*known);
        }
        for entry in message["by"].as_array().unwrap() {
            if entry[0].as_u64().unwrap() > self.last_tick {
                let text = |at: usize| entry[at].as_str().unwrap().to_owned();
                *self.named.entry((text(1), text(3))).or_default() += entry[4].as_u64().unwrap();
            }
        }
        self.all_named &= message["all"].as_bool().unwrap();
        self.last_tick = self.last_tick.max(message["n"].as_u64().unwrap());
    }

    fn sticky(&mut self, is_snapshot: bool, message: &Value) -> bool {
        let revision = message["rev"].as_u64().unwrap();
        if is_snapshot {
            self.hands.clear();
            self.statuses.clear();
            self.can = message["can"].clone();
            self.last_tick = self.last_tick.max(message["n"].as_u64().unwrap());
        } else if self.revision.is_none_or(|known| revision < known) {
            return false;
        } else if self.revision.is_some_and(|known| revision > known + 1) {
            return true;
        }
        self.revision = Some(revision);
        self.mode = message["mode"].as_str().unwrap().to_owned();
        for person in message["people"].as_array().unwrap() {
            let id = person["p"].as_str().unwrap().to_owned();
            self.hands.retain(|_, other| *other != id);
            self.statuses.remove(&id);
            if let Some(place) = person.get("hand") {
                self.hands.insert(place.as_u64().unwrap(), id.clone());
            }
            if let Some(status) = person.get("status") {
                self.statuses.insert(id, status.as_str().unwrap().to_owned());
            }
        }
        false
    }

    pub fn hand_queue(&self) -> Vec<String> {
        self.hands.values().cloned().collect()
    }
}

/// A room on virtual time, and what it has put out.
pub struct Stage {
    pub room: RoomReactions,
    pub now: Instant,
    pub began: Instant,
    /// With the time since the beginning.
    pub to_all: Vec<(Duration, Channel, Arc<str>)>,
    /// Whom each of them is for.
    pub shares: Vec<Share>,
    pub to_one: Vec<(Arc<str>, Channel, Arc<str>)>,
    pub events: Vec<ReactionEvent>,
}

impl Stage {
    pub fn new(config: RoomReactionsConfig) -> Self {
        let now = Instant::now();
        let room = RoomReactions::new(now, config);
        Self { room, now, began: now, to_all: Vec::new(), shares: Vec::new(), to_one: Vec::new(), events: Vec::new() }
    }

    pub fn with_guests(config: RoomReactionsConfig, guests: usize) -> Self {
        let mut stage = Self::new(config);
        for guest in 0..guests {
            stage.room.join(stage.now, &format!("p{guest}"), &format!("Guest {guest}"), Rights::GUEST);
        }
        stage
    }

    pub fn send(&mut self, participant: &str, message: &str) -> Result<(), Refusal> {
        let handled = self.room.handle(self.now, participant, message.as_bytes());
        self.collect();
        handled
    }

    pub fn react(&mut self, participant: &str, reaction: &str) -> Result<(), Refusal> {
        self.send(participant, &format!(r#"{{"type":"react","r":"{reaction}"}}"#))
    }

    pub fn collect(&mut self) {
        while let Some(output) = self.room.poll_output() {
            match output {
                ReactionOutput::ToAll { share, channel, text } => {
                    self.to_all.push((self.now - self.began, channel, text));
                    self.shares.push(share);
                }
                ReactionOutput::ToOne { participant, channel, text } => self.to_one.push((participant, channel, text)),
                ReactionOutput::Event(event) => self.events.push(event),
                output => panic!("{output:?}"),
            }
        }
    }

    /// Lets time pass, with every timeout on time.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.room.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.room.handle_timeout(self.now);
            self.collect();
        }
        self.now = end;
    }

    /// Sends time on until nothing is left to tell.
    pub fn settle(&mut self) {
        while let Some(due) = self.room.poll_timeout() {
            self.run(due.saturating_duration_since(self.now));
        }
    }

    /// The texts for everybody that reach the receiver of this number.
    pub fn told_to(&self, number: u64) -> impl Iterator<Item = &(Duration, Channel, Arc<str>)> {
        let told = self.to_all.iter().zip(&self.shares);
        told.filter(move |(_, share)| share.has(number)).map(|(text, _)| text)
    }

    /// What somebody who missed nothing has made of it all.
    pub fn everything(&self) -> Receiver {
        self.everything_for(0)
    }

    /// … in a large room, whoever has this number.
    pub fn everything_for(&self, number: u64) -> Receiver {
        let mut receiver = Receiver::new();
        receiver
            .take(r#"{"v":1,"type":"snapshot","rev":0,"n":0,"mode":"all","who":"everyone","can":null,"people":[]}"#);
        for (_, _, text) in self.told_to(number) {
            assert!(!receiver.take(text), "a revision is missing before {text}");
        }
        receiver
    }
}
