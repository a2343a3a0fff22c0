//! The detector: follows a conversation by the levels of its microphones and by what is known for certain: who joins,
//! leaves, mutes, unmutes and pauses. Each packet updates its sender only: what the levels say ([`level`](super::level),
//! [`leak`](super::leak)), what the network makes of it ([`network`](super::network)), how they talk
//! ([`talk`](super::talk)), and whether that is enough to take the stage ([`decision`](super::decision)). Holding and
//! hysteresis are inside, so what it says is what should be shown. No clock, no audio, no allocation per packet.

use std::time::{Duration, Instant};

use slab::Slab;

use super::clock::MediaClock;
use super::decision::{Evidence, Holder};
use super::grid::Grid;
use super::leak::Leaks;
use super::level::{self, Level, Loudest, Rival};
use super::network::{Hidden, INPUTS, Judgement, Network, TRAINED, UNITS, sigmoid};
use super::preset::{Parameters, Preset};
use super::talk::{Leaders, Others, StageView, Talk};
use super::{Reading, StageChange, StageDetector, StageReason};
use crate::ids::ParticipantId;

/// The light of a voice comes on with a packet that is speech with this probability, or more: on the training scenes nine utterances of ten
/// then light within 100 ms. More is later and spares more coughs; half of this would light twice as often for noise. …
const LIGHT_ON: f32 = 0.25;
/// … stays with packets that are with this, …
const LIGHT_STAYS: f32 = 0.2;
/// … and goes out so long after the last, in ms: longer than the pauses between words, shorter than those between thoughts.
const LIGHT_HANGOVER: i64 = 250;
/// How many tiles the grid has unless told otherwise: what a screen shows of a large meeting.
const TILES: usize = 9;

#[derive(Debug)]
struct Member {
    id: ParticipantId,
    muted: bool,
    /// Whether the light is on, and whether that has been told.
    lit: bool,
    told: bool,
    /// When the light goes out, in ms, if nothing comes.
    lit_until: i64,
    clock: MediaClock,
    level: Level,
    leaks: Leaks,
    talk: Talk,
    evidence: Evidence,
    hidden: Hidden,
}

/// A participant costs no more than this, in bytes.
const _: () = assert!(size_of::<Member>() <= 512, "the state of a participant has outgrown its budget");

/// The learned detector: who is on the stage of one room, and who speaks. One per room.
#[derive(Debug)]
pub struct Detector {
    parameters: Parameters,
    network: &'static Network,
    epoch: Option<Instant>,
    members: Slab<Member>,
    /// Keys into `members`, in order of ids.
    keys: Vec<(ParticipantId, usize)>,
    loudest: Loudest,
    leaders: Leaders,
    on_stage: Option<usize>,
    /// When they took it.
    took: i64,
    grid: Grid,
    /// How many lights have changed and not been told.
    untold: usize,
}

impl Default for Detector {
    fn default() -> Self {
        Self::new(Preset::default())
    }
}

impl Detector {
    /// A detector for an empty room.
    #[must_use]
    pub fn new(preset: Preset) -> Self {
        Self {
            parameters: preset.parameters(),
            network: &TRAINED,
            epoch: None,
            members: Slab::new(),
            keys: Vec::new(),
            loudest: Loudest::default(),
            leaders: Leaders::default(),
            on_stage: None,
            took: 0,
            grid: Grid::new(TILES),
            untold: 0,
        }
    }

    /// Gives the grid another number of tiles than 9. Tiles given so far are given anew.
    #[must_use]
    pub fn with_tiles(mut self, tiles: usize) -> Self {
        self.grid = Grid::new(tiles);
        for &(_, key) in &self.keys {
            self.grid.seat(key);
        }
        self
    }

    /// Takes another preset from the next packet on.
    pub fn set_preset(&mut self, preset: Preset) {
        self.parameters = preset.parameters();
    }

    /// The grid: who is in each tile. Nobody moves who need not.
    pub fn tiles(&self) -> impl Iterator<Item = Option<ParticipantId>> + '_ {
        self.grid.tiles().iter().map(|tile| Some(self.members.get((*tile)?)?.id))
    }

    fn key(&self, participant: ParticipantId) -> Option<usize> {
        let at = self.keys.binary_search_by_key(&participant, |&(id, _)| id).ok()?;
        self.keys.get(at).map(|&(_, key)| key)
    }

    /// Milliseconds since this detector first heard of anything.
    fn millis(&mut self, now: Instant) -> i64 {
        let epoch = *self.epoch.get_or_insert(now);
        Self::millis_since(epoch, now)
    }

    fn millis_since(epoch: Instant, now: Instant) -> i64 {
        now.saturating_duration_since(epoch).as_millis() as i64
    }

    fn holder(&self) -> Option<Holder> {
        let member = self.members.get(self.on_stage?)?;
        Some(member.evidence.as_holder(member.talk.heard, self.took))
    }

    /// Takes one packet: what the network says of it, or `None` if the packet is no news.
    fn judge(
        &mut self,
        now: i64,
        key: usize,
        rtp_time: u32,
        level: u8,
        voice: bool,
        inputs: &mut [f32; INPUTS],
    ) -> Option<Judgement> {
        let member = self.members.get_mut(key).filter(|member| !member.muted)?;
        let passed = member.clock.on_packet(now, rtp_time)?;

        let (level_inputs, talk_inputs) = inputs.split_at_mut(level::INPUTS);
        let rival = self.loudest.other_than(key, now).and_then(|(rival, level)| {
            let rival = &self.members.get(rival)?.level;
            Some(Rival { level, usual: rival.usual, last: rival.last(now) })
        });
        let [first, second] = self.leaders.other_than(key).map(|other| self.members.get(other?));
        let others = Others {
            floor: first.map_or(0.0, |member| member.talk.floor_now(now)),
            age: first.map_or(0.0, |member| member.talk.age(now)),
            second_floor: second.map_or(0.0, |member| member.talk.floor_now(now)),
        };
        let other = first.map(|member| (member.id, member.talk.envelope, member.talk.utterance_now(now)));
        let holder = self.holder();
        let stage = StageView {
            holds: self.on_stage.map(|on_stage| on_stage == key),
            quiet: holder.map_or(0, |holder| now - holder.spoke),
            present: self.keys.len(),
        };

        let member = self.members.get_mut(key)?;
        let level = member.level.on_packet(now, passed, level, voice, rival, level_inputs);
        member.level.learn_usual(level, passed.packet);
        member.talk.on_level(now, passed, level);
        let leak = other.map(|(from, envelope, utterance)| {
            let learn = utterance > 0.5 && others.floor > member.talk.floor;
            member.leaks.on_packet(passed, level, from, envelope, learn)
        });
        member.talk.describe(now, stage, others, leak, member.level.usual, talk_inputs);
        let judgement = self.network.judge(inputs, &mut member.hidden);
        member.talk.on_judgement(now, passed, judgement, others.floor);
        let on_stage = stage.holds == Some(true);
        let challenged = holder.filter(|_| !on_stage);
        member.evidence.on_judgement(now, passed, judgement, on_stage, challenged, &self.parameters);
        let speech = sigmoid(judgement.utterance);
        if speech > LIGHT_ON || (member.lit && speech > LIGHT_STAYS) {
            member.lit_until = now + LIGHT_HANGOVER;
        }
        let lit = now < member.lit_until;
        self.loudest.on_level(now, key, level);
        self.leaders.on_judgement(key, |key| self.members.get(key).map_or(0.0, |member| member.talk.floor_now(now)));
        self.light(key, lit);
        Some(judgement)
    }

    /// Gives the stage to a packet's sender if their evidence suffices.
    fn decide(&mut self, now: i64, key: usize) -> Option<StageChange> {
        let holder = self.holder();
        let member = self.members.get(key)?;
        if self.on_stage == Some(key) || !member.evidence.suffices(now, holder, &self.parameters) {
            return None;
        }
        self.grid
            .show(key, self.on_stage, |key| self.members.get(key).map_or(i64::MIN, |member| member.evidence.spoke));
        let interrupts = holder.is_some_and(|holder| holder.probability > 0.5);
        self.take(now, key, if interrupts { StageReason::Interrupting } else { StageReason::Speaking })
    }

    fn light(&mut self, key: usize, lit: bool) {
        let Some(member) = self.members.get_mut(key).filter(|member| member.lit != lit) else { return };
        member.lit = lit;
        if member.lit == member.told {
            self.untold -= 1;
        } else {
            self.untold += 1;
        }
    }

    fn take(&mut self, now: i64, key: usize, reason: StageReason) -> Option<StageChange> {
        if let Some(former) = self.on_stage.and_then(|former| self.members.get_mut(former)) {
            former.evidence.lose_stage(&self.parameters);
        }
        let member = self.members.get_mut(key)?;
        member.evidence.take_stage(&self.parameters);
        let participant = Some(member.id);
        self.on_stage = Some(key);
        self.took = now;
        Some(StageChange { participant, reason })
    }

    /// Whoever was on the stage is out of it: the foremost who speaks follows, or nobody.
    fn free(&mut self, now: i64, reason: StageReason) -> Option<StageChange> {
        self.on_stage = None;
        let next = self.leaders.iter().find(|&key| {
            let member = self.members.get(key).filter(|member| now < member.lit_until);
            member.is_some_and(|member| member.evidence.may_follow(&self.parameters))
        });
        let Some(next) = next else { return Some(StageChange { participant: None, reason }) };
        self.take(now, next, reason)
    }

    /// Nobody is compared with this member any more.
    fn forget(&mut self, key: usize) {
        self.loudest.forget(key);
        self.leaders.forget(key);
        self.light(key, false);
    }
}

impl StageDetector for Detector {
    fn join(&mut self, now: Instant, participant: ParticipantId, muted: bool) {
        let now = self.millis(now);
        let Err(at) = self.keys.binary_search_by_key(&participant, |&(id, _)| id) else { return };
        let key = self.members.insert(Member {
            id: participant,
            muted,
            lit: false,
            told: false,
            lit_until: now,
            clock: MediaClock::new(),
            level: Level::new(),
            leaks: Leaks::default(),
            talk: Talk::new(now),
            evidence: Evidence::new(now),
            hidden: [0.0; UNITS],
        });
        self.keys.insert(at, (participant, key));
        self.grid.seat(key);
    }

    fn leave(&mut self, now: Instant, participant: ParticipantId) -> Option<StageChange> {
        let now = self.millis(now);
        let at = self.keys.binary_search_by_key(&participant, |&(id, _)| id).ok()?;
        let (_, key) = self.keys.remove(at);
        self.forget(key);
        self.grid.forget(key);
        let member = self.members.try_remove(key)?;
        self.untold -= usize::from(member.lit != member.told);
        if self.on_stage == Some(key) { self.free(now, StageReason::Left) } else { None }
    }

    fn set_muted(&mut self, now: Instant, participant: ParticipantId, muted: bool) -> Option<StageChange> {
        let now = self.millis(now);
        let key = self.key(participant)?;
        let member = self.members.get_mut(key)?;
        member.muted = muted;
        if !muted {
            return None;
        }
        member.talk.stop();
        member.evidence.clear();
        member.hidden = [0.0; UNITS];
        member.lit_until = now;
        self.forget(key);
        if self.on_stage == Some(key) { self.free(now, StageReason::Muted) } else { None }
    }

    fn on_level(
        &mut self,
        now: Instant,
        participant: ParticipantId,
        rtp_time: u32,
        level: u8,
        voice: bool,
    ) -> Option<StageChange> {
        let now = self.millis(now);
        let key = self.key(participant)?;
        self.judge(now, key, rtp_time, level & 0x7F, voice, &mut [0.0; INPUTS])?;
        self.decide(now, key)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let lit = self.members.iter().filter(|(_, member)| member.lit);
        let first = lit.map(|(_, member)| member.lit_until).min()?;
        Some(self.epoch? + Duration::from_millis(first as u64))
    }

    fn handle_timeout(&mut self, now: Instant) -> Option<StageChange> {
        let now = self.millis(now);
        for at in 0..self.keys.len() {
            let Some(&(_, key)) = self.keys.get(at) else { break };
            if self.members.get(key).is_some_and(|member| member.lit && now >= member.lit_until) {
                self.light(key, false);
            }
        }
        None
    }

    fn on_stage(&self) -> Option<ParticipantId> {
        Some(self.members.get(self.on_stage?)?.id)
    }

    fn is_speaking(&self, participant: ParticipantId) -> bool {
        self.key(participant).and_then(|key| self.members.get(key)).is_some_and(|member| member.lit)
    }

    fn poll_speaking(&mut self) -> Option<(ParticipantId, bool)> {
        if self.untold == 0 {
            return None;
        }
        let (_, member) = self.members.iter_mut().find(|(_, member)| member.lit != member.told)?;
        member.told = member.lit;
        self.untold -= 1;
        Some((member.id, member.lit))
    }

    fn reading(&self, now: Instant, participant: ParticipantId) -> Option<Reading> {
        let now = Self::millis_since(self.epoch?, now);
        let key = self.key(participant)?;
        let member = self.members.get(key)?;
        let percent = |probability: f32| (probability * 100.0).round() as u8;
        let certainty = |seconds: f32| (seconds * 1_000.0).round() as u16;
        let on_stage = self.on_stage == Some(key);
        let needed = if on_stage { 0.0 } else { member.evidence.needed(now, self.holder(), &self.parameters) };
        let sends = !member.muted && now - member.talk.heard < 500;
        Some(Reading {
            level: if sends { member.level.last(now).max(-127.0) as i8 } else { -127 },
            noise: member.level.noise as i8,
            utterance: percent(member.talk.utterance_now(now)),
            floor: percent(member.talk.floor_now(now)),
            evidence: certainty(member.evidence.gathered()),
            needed: certainty(needed),
            speaking: member.lit,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod golden;
