//! The reactions of one room: who may do what, within which limits, and when everybody is told. The first change after silence is told at
//! once, what follows at the next tick.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::bucket::TokenBucket;
use crate::config::{RoomReactionsConfig, SMALL_ROOM, tick};
use crate::event::ReactionEvent;
use crate::hands::{Hands, People};
use crate::participant::{Participant, Rights};
use crate::protocol::{Channel, Controls, Mode, ReactionRequest, Refusal, RefusalCode, VERSION, Who, read};
use crate::shares::{Share, Shares};

/// What is to be delivered, or stored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReactionOutput {
    /// A text for one participant.
    ToOne {
        /// For whom.
        participant: Arc<str>,
        /// On which channel.
        channel: Channel,
        /// The text.
        text: Arc<str>,
    },
    /// A text for everybody in the room, or for a share of them, one and the same.
    ToAll {
        /// For whom.
        share: Share,
        /// On which channel.
        channel: Channel,
        /// The text.
        text: Arc<str>,
    },
    /// For the embedder.
    Event(ReactionEvent),
}

/// What the embedder, or a host, may do to a room.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostControl {
    /// Say what is on, and for whom. `Off` lowers all hands and clears all statuses.
    Set(Controls),
    /// Lower one's hand, or everyone's.
    Lower(Option<String>),
    /// Clear one's status, or everyone's.
    Clear(Option<String>),
    /// Say what somebody may do. Without the right to it a hand goes down and a status is cleared.
    May {
        /// Who.
        participant: String,
        /// What they may do from now on.
        can: Rights,
    },
}

/// The state machine. See the crate's documentation.
#[derive(Debug)]
pub struct RoomReactions {
    config: RoomReactionsConfig,
    controls: Controls,
    began: Instant,
    people: People,
    shares: Shares,
    hands: Hands,
    budget: TokenBucket,
    /// When hands were told last.
    hands_told: Option<Instant>,
    outputs: VecDeque<ReactionOutput>,
}

impl RoomReactions {
    /// An empty room whose time begins now.
    pub fn new(now: Instant, config: RoomReactionsConfig) -> Self {
        Self {
            controls: config.controls,
            budget: TokenBucket::new(config.room, now),
            config,
            began: now,
            people: People::new(),
            shares: Shares::new(),
            hands: Hands::default(),
            hands_told: None,
            outputs: VecDeque::new(),
        }
    }

    /// Somebody has come. Returns a snapshot of hands, statuses and controls, for a driver that can deliver it at once on
    /// [`Channel::Hands`]; who gets a channel later asks for one with `sync`. Somebody known already is as new.
    pub fn join(&mut self, now: Instant, participant: &str, name: &str, can: Rights) -> Vec<Arc<str>> {
        self.leave(now, participant);
        self.people.insert(participant.into(), Participant::new(now, name, can, &self.config));
        self.shares.set_receivers(self.people.len());
        self.snapshot(can)
    }

    /// Somebody is gone, and with them their hand and status.
    pub fn leave(&mut self, now: Instant, participant: &str) {
        if let Some((id, mut gone)) = self.people.remove_entry(participant) {
            self.put_down(now, &id, &mut gone);
            self.shares.set_receivers(self.people.len());
            self.tick_if_due(now);
        }
    }

    /// How many are in the room.
    #[must_use]
    pub fn len(&self) -> usize {
        self.people.len()
    }

    /// Whether nobody is in the room.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.people.is_empty()
    }

    /// What is on, and for whom.
    #[must_use]
    pub fn controls(&self) -> Controls {
        self.controls
    }

    /// Raised hands, first come first.
    pub fn hands(&self) -> impl Iterator<Item = &str> {
        self.hands.raised().map(|id| &**id)
    }

    /// Takes a message in, from whichever channel: a text of the protocol, as bytes, since nobody has checked them.
    ///
    /// # Errors
    /// Why it was refused; where [`Refusal::tell`] says so, the sender is to be told.
    pub fn handle(&mut self, now: Instant, participant: &str, message: &[u8]) -> Result<(), Refusal> {
        let person = self.people.get_mut(participant);
        let person = person.ok_or_else(|| Refusal::new(RefusalCode::NotFound, "you are not in this room"))?;
        let (re, handled) = match person.messages.take(now) {
            // Not even read.
            Err(wait) => (None, Err(Refusal::rate("messages", wait))),
            Ok(()) => {
                let (re, request) = read(message);
                (re, request.and_then(|request| self.request(now, participant, request)))
            }
        };
        handled.map_err(|refusal| {
            let refusals = self.people.get_mut(participant).map(|person| &mut person.refusals);
            let tell = refusals.is_some_and(|bucket| bucket.take(now).is_ok());
            Refusal { re, tell, ..refusal }
        })
    }

    fn request(&mut self, now: Instant, participant: &str, request: ReactionRequest) -> Result<(), Refusal> {
        if let ReactionRequest::React { r } = &request {
            return self.react(now, participant, r);
        }
        let person = self.people.get_mut(participant).ok_or_else(not_here)?;
        person.sticky.take(now).map_err(|wait| Refusal::rate("changes", wait))?;
        let is_host = person.can.host;
        if request == ReactionRequest::Sync {
            self.send_snapshot(participant);
            return Ok(());
        }
        let (id, mut person) = self.take(participant)?;
        let own = self.own(now, &id, &mut person, request);
        self.people.insert(id, person);
        match own? {
            Some(control) if is_host => self.control(now, control)?,
            Some(_) => return Err(Refusal::new(RefusalCode::Forbidden, "only hosts may")),
            None => {}
        }
        self.tick_if_due(now);
        Ok(())
    }

    /// Somebody, taken out so that the rest of the room can be worked on; to be put back.
    fn take(&mut self, participant: &str) -> Result<(Arc<str>, Participant), Refusal> {
        self.people.remove_entry(participant).ok_or_else(not_here)
    }

    /// What a participant does to themselves. What is for hosts comes back.
    fn own(
        &mut self,
        now: Instant,
        id: &Arc<str>,
        person: &mut Participant,
        request: ReactionRequest,
    ) -> Result<Option<HostControl>, Refusal> {
        match request {
            // Handled before.
            ReactionRequest::React { .. } | ReactionRequest::Sync => {}
            ReactionRequest::Hand { up: false } => self.lower(now, id, person),
            ReactionRequest::Hand { up: true } => {
                self.require(person.can.host, person.can.hand, self.controls.mode != Mode::Off)?;
                if let Some(place) = self.hands.raise(id, person) {
                    self.hand_event(now, id, Some(place));
                }
            }
            ReactionRequest::Status { status: None } => self.set_status(now, id, person, None),
            ReactionRequest::Status { status: Some(status) } => {
                self.require(person.can.host, person.can.hand, self.controls.mode != Mode::Off)?;
                if !self.config.palette.has_status(&status) {
                    return Err(Refusal::new(RefusalCode::UnknownStatus, "status: there is no such status here"));
                }
                self.set_status(now, id, person, Some(status.into()));
            }
            ReactionRequest::Lower { p } => return Ok(Some(HostControl::Lower(p))),
            ReactionRequest::Clear { p } => return Ok(Some(HostControl::Clear(p))),
            ReactionRequest::Control { mode, who } => {
                let Controls { mode: was_mode, who: was_who } = self.controls;
                let controls = Controls { mode: mode.unwrap_or(was_mode), who: who.unwrap_or(was_who) };
                return Ok(Some(HostControl::Set(controls)));
            }
            ReactionRequest::May { p, react, hand } => {
                let known = if *p == **id { Some(person.can) } else { self.people.get(&*p).map(|other| other.can) };
                let can = known.ok_or_else(not_here)?;
                let can = Rights { react: react.unwrap_or(can.react), hand: hand.unwrap_or(can.hand), ..can };
                return Ok(Some(HostControl::May { participant: p, can }));
            }
        }
        Ok(None)
    }

    fn react(&mut self, now: Instant, participant: &str, text: &str) -> Result<(), Refusal> {
        let reaction = self.config.palette.reaction(text);
        let reaction =
            reaction.ok_or_else(|| Refusal::new(RefusalCode::NotAnEmoji, "r: one emoji, or one of the room's own"))?;
        let large = self.people.len() > SMALL_ROOM;
        let (id, person) = self
            .people
            .get_key_value(participant)
            .map(|(id, person)| (id.clone(), person))
            .ok_or_else(|| Refusal::new(RefusalCode::NotFound, "you are not in this room"))?;
        self.require(person.can.host, person.can.react, self.controls.mode == Mode::All)?;
        let name = person.name.clone();
        let limited = |wait| Refusal::rate("reactions", wait);
        // The room's token is taken only by who has one of their own, so that a flood does not use up the others'.
        let wait = self.budget.wait(now);
        if let Some(person) = self.people.get_mut(participant) {
            let own = person.reactions.wait(now);
            if own.max(wait) > Duration::ZERO {
                return Err(limited(own.max(wait)));
            }
            person.reactions.take(now).map_err(limited)?;
        }
        self.budget.take(now).map_err(limited)?;
        self.shares.count(reaction, &id, &name, large);
        self.tick_if_due(now);
        Ok(())
    }

    fn require(&self, is_host: bool, right: bool, is_on: bool) -> Result<(), Refusal> {
        if !is_on {
            return Err(Refusal::new(RefusalCode::Off, "a host has switched this off"));
        }
        if !right || (self.controls.who == Who::Hosts && !is_host) {
            return Err(Refusal::new(RefusalCode::Forbidden, "you may not do this here"));
        }
        Ok(())
    }

    /// Does what a host, or the embedder, says.
    ///
    /// # Errors
    /// When there is no such participant.
    pub fn host(&mut self, now: Instant, control: HostControl) -> Result<(), Refusal> {
        self.control(now, control)?;
        self.tick_if_due(now);
        Ok(())
    }

    fn control(&mut self, now: Instant, control: HostControl) -> Result<(), Refusal> {
        match control {
            HostControl::Set(controls) => {
                if controls != self.controls {
                    self.controls = controls;
                    self.hands.touch_controls();
                    let at_ms = self.at_ms(now);
                    self.outputs.push_back(ReactionOutput::Event(ReactionEvent::Controls { at_ms, controls }));
                }
                if controls.mode == Mode::Off {
                    self.for_each(now, None, Self::put_down)?;
                }
            }
            HostControl::Lower(whose) => self.for_each(now, whose.as_deref(), Self::lower)?,
            HostControl::Clear(whose) => {
                let clear = |this: &mut Self, now, id: &Arc<str>, person: &mut Participant| {
                    this.set_status(now, id, person, None);
                };
                self.for_each(now, whose.as_deref(), clear)?;
            }
            HostControl::May { participant, can } => {
                let set = |this: &mut Self, now, id: &Arc<str>, person: &mut Participant| {
                    person.can = can;
                    if !can.hand {
                        this.put_down(now, id, person);
                    }
                    let Rights { react, hand, host } = can;
                    let can =
                        serde_json::json!({ "v": VERSION, "type": "can", "react": react, "hand": hand, "host": host });
                    let (participant, channel) = (id.clone(), Channel::Hands);
                    let text = can.to_string().into();
                    this.outputs.push_back(ReactionOutput::ToOne { participant, channel, text });
                };
                self.for_each(now, Some(&participant), set)?;
            }
        }
        Ok(())
    }

    /// Does something to one, or to everyone.
    fn for_each(
        &mut self,
        now: Instant,
        whose: Option<&str>,
        act: impl Fn(&mut Self, Instant, &Arc<str>, &mut Participant),
    ) -> Result<(), Refusal> {
        if let Some(whose) = whose {
            let (id, mut person) = self.take(whose)?;
            act(self, now, &id, &mut person);
            self.people.insert(id, person);
            return Ok(());
        }
        let mut people = std::mem::take(&mut self.people);
        for (id, person) in &mut people {
            act(self, now, id, person);
        }
        self.people = people;
        Ok(())
    }

    fn put_down(&mut self, now: Instant, id: &Arc<str>, person: &mut Participant) {
        self.lower(now, id, person);
        self.set_status(now, id, person, None);
    }

    fn lower(&mut self, now: Instant, id: &Arc<str>, person: &mut Participant) {
        if self.hands.lower(id, person) {
            self.hand_event(now, id, None);
        }
    }

    fn set_status(&mut self, now: Instant, id: &Arc<str>, person: &mut Participant, status: Option<Arc<str>>) {
        if person.status != status {
            person.status = status.clone();
            self.hands.touch(id);
            let (at_ms, participant) = (self.at_ms(now), id.clone());
            self.outputs.push_back(ReactionOutput::Event(ReactionEvent::Status { at_ms, participant, status }));
        }
    }

    fn hand_event(&mut self, now: Instant, id: &Arc<str>, order: Option<u64>) {
        let (at_ms, participant) = (self.at_ms(now), id.clone());
        self.outputs.push_back(ReactionOutput::Event(ReactionEvent::Hand { at_ms, participant, order }));
    }

    fn send_snapshot(&mut self, participant: &str) {
        let Some((id, can)) = self.people.get_key_value(participant).map(|(id, person)| (id.clone(), person.can))
        else {
            return;
        };
        for text in self.snapshot(can) {
            let (participant, channel) = (id.clone(), Channel::Hands);
            self.outputs.push_back(ReactionOutput::ToOne { participant, channel, text });
        }
    }

    fn snapshot(&self, can: Rights) -> Vec<Arc<str>> {
        self.hands.write_snapshot(&self.people, can, self.controls, self.shares.tick())
    }

    fn at_ms(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_millis().try_into().unwrap_or(u64::MAX)
    }

    /// The next thing to deliver or store.
    pub fn poll_output(&mut self) -> Option<ReactionOutput> {
        self.outputs.pop_front()
    }

    /// When [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let hands = self.hands_told.filter(|_| self.hands.is_due()).map(|last| last + tick(self.people.len()));
        [hands, self.shares.poll_timeout()].into_iter().flatten().min()
    }

    /// Tells everybody what has happened since the last tick.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.tick_if_due(now);
    }

    fn tick_if_due(&mut self, now: Instant) {
        let (tick, large) = (tick(self.people.len()), self.people.len() > SMALL_ROOM);
        while let Some(told) = self.shares.take_due(now, tick, large) {
            if let Some(reported) = told.reported {
                let (at_ms, counts, by, all) = (self.at_ms(now), reported.counts, reported.by, reported.all);
                self.outputs.push_back(ReactionOutput::Event(ReactionEvent::Reactions { at_ms, counts, by, all }));
            }
            let (share, channel, text) = (told.share, Channel::Reactions, told.text.into());
            self.outputs.push_back(ReactionOutput::ToAll { share, channel, text });
        }
        if self.hands.is_due() && self.hands_told.is_none_or(|last| now >= last + tick) {
            self.hands_told = Some(now);
            let text = self.hands.write_changes(&self.people, self.controls);
            self.outputs.push_back(ReactionOutput::ToAll { share: Share::ALL, channel: Channel::Hands, text });
        }
    }
}

fn not_here() -> Refusal {
    Refusal::new(RefusalCode::NotFound, "p: there is no such participant")
}
