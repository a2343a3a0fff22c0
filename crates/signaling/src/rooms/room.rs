//! One room: its members, the roster changes not told yet, and the last word of the media side.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::coalescing::SMALL_ROOM;
use super::losses::Losses;
use super::{Newcomer, RoomOutput, RoomView, not_in_room};
use crate::media::MediaEvent;
use crate::protocol::{
    Event, Focus, Participant, Party, Presence, Quality, QualityLevel, QualityTimes, RoomMembership, SlotMapping,
    Source, SpatialLayers, Track, TrackClaim, UserQuality, UserRef, WireError, WrittenParticipant,
};

#[derive(Debug)]
pub(super) struct Member {
    pub(super) participant: String,
    pub(super) party: Party,
    pub(super) tracks: Vec<Track>,
    /// The media side has taken them in; until then nobody sees them.
    pub(super) joined: bool,
    /// Their socket broke off; when they are taken out.
    pub(super) away_until: Option<Instant>,
    name: String,
    connected: bool,
    /// What is told of them, until it changes.
    written: OnceLock<WrittenParticipant>,
    /// The last mapping of each of their slots.
    slots: BTreeMap<String, SlotMapping>,
    /// What they are meant to look at.
    focus: Option<Focus>,
    /// How good their connection is, and since when that was told.
    quality: Option<(QualityLevel, Instant)>,
    /// How much is lost on its way to them, of 1000 packets.
    loss_down: u16,
    pub(super) quality_times: QualityTimes,
    /// The layers of their tracks that somebody wants, as far as they were told.
    layers: Vec<(Source, WantedLayers)>,
}

/// The layers of a track that somebody wants.
#[derive(Debug)]
struct WantedLayers {
    wanted: Vec<String>,
    spatial: Option<SpatialLayers>,
}

impl WantedLayers {
    fn told(&self, room: String, source: Source) -> Event {
        Event::RoomLayers { room, source, wanted: self.wanted.clone(), spatial: self.spatial }
    }
}

impl Member {
    pub(super) fn new(newcomer: Newcomer) -> Self {
        Self {
            participant: newcomer.participant,
            party: newcomer.party,
            tracks: newcomer.tracks.iter().map(track).collect(),
            joined: false,
            away_until: None,
            name: newcomer.name,
            connected: false,
            written: OnceLock::new(),
            slots: BTreeMap::new(),
            focus: None,
            quality: None,
            loss_down: 0,
            quality_times: QualityTimes::default(),
            layers: Vec::new(),
        }
    }

    fn wanted_layers(&self, room: &str) -> Vec<Event> {
        self.layers.iter().map(|(source, layers)| layers.told(room.to_owned(), *source)).collect()
    }

    fn info(&self) -> Participant {
        Participant {
            participant: self.participant.clone(),
            user: self.party.user.clone(),
            name: self.name.clone(),
            tracks: self.tracks.clone(),
            connected: self.connected,
            quality: self.quality.map(|(level, _)| level),
        }
    }

    fn written(&self) -> WrittenParticipant {
        self.written.get_or_init(|| WrittenParticipant::new(&self.info())).clone()
    }

    fn set_connected(&mut self, connected: bool) {
        self.connected = connected;
        self.written.take();
    }

    fn set_tracks(&mut self, tracks: Vec<Track>) {
        self.tracks = tracks;
        self.written.take();
    }

    pub(super) fn left(&self, room: &str) -> RoomOutput {
        let (participant, party, quality) = (self.participant.clone(), self.party.clone(), self.quality_times);
        RoomOutput::Left { room: room.to_owned(), participant, party, quality }
    }
}

fn track(claim: &TrackClaim) -> Track {
    Track { source: claim.source, kind: claim.source.kind(), muted: claim.muted }
}

/// In rooms of more than so many nobody is told of others' connections: each change would cost a message to everybody, and nobody looks at so many. What matters of them
/// is told of all together.
const SHOWN_QUALITY: usize = 32;

/// The most slot mappings kept of a member, for the event that they are away for a moment.
const MAX_SLOTS: usize = 256;

#[derive(Debug)]
pub(super) struct Room {
    pub(super) call: Option<String>,
    pub(super) members: Vec<Member>,
    /// When the roster changes are to be told.
    flush_at: Option<Instant>,
    name: String,
    /// Roster changes not told yet, by participant.
    joined: BTreeSet<String>,
    left: BTreeSet<String>,
    changed: BTreeSet<String>,
    speaking: Vec<String>,
    stage: Option<String>,
    /// Who is here has changed, and those outside who watch are to be told.
    pub(super) presence_changed: bool,
    /// Of a call: how good the connections of those were who have left.
    gone: Vec<(String, QualityTimes)>,
    losses: Losses,
}

impl Room {
    pub(super) fn new(name: &str, call: Option<String>) -> Self {
        Self {
            call,
            members: Vec::new(),
            flush_at: None,
            name: name.to_owned(),
            joined: BTreeSet::new(),
            left: BTreeSet::new(),
            changed: BTreeSet::new(),
            speaking: Vec::new(),
            stage: None,
            presence_changed: false,
            gone: Vec::new(),
            losses: Losses::default(),
        }
    }

    /// Who is here, as it shows outside: each user once.
    pub(super) fn presence(&self, most: usize) -> Presence {
        let mut users = BTreeSet::new();
        let here = self.members.iter().filter(|member| member.joined && users.insert(&member.party.user));
        let all: Vec<_> = here.collect();
        let shown = all.iter().take(most);
        let people = shown.map(|one| UserRef { user: one.party.user.clone(), name: Some(one.name.clone()) }).collect();
        Presence { count: all.len(), people }
    }

    /// How good connections were, of all who are or were here.
    pub(super) fn qualities(&self) -> Vec<UserQuality> {
        let here = self.members.iter().map(|member| (member.party.user.clone(), member.quality_times));
        let mut users: BTreeMap<String, QualityTimes> = BTreeMap::new();
        for (user, times) in here.chain(self.gone.iter().cloned()) {
            let sum = users.entry(user).or_default();
            *sum = sum.and(times);
        }
        let measured = users.into_iter().filter(|(_, times)| *times != QualityTimes::default());
        measured.map(|(user, times)| UserQuality { user, times }).collect()
    }

    pub(super) fn member(&self, participant: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.participant == participant)
    }

    fn member_mut(&mut self, participant: &str) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.participant == participant)
    }

    pub(super) fn member_of(&self, party: &Party) -> Option<&Member> {
        self.members.iter().find(|member| member.party == *party)
    }

    pub(super) fn joined(&self, party: &Party) -> Result<&Member, WireError> {
        self.members.iter().find(|member| member.joined && member.party == *party).ok_or_else(not_in_room)
    }

    /// The devices to tell what happens here.
    pub(super) fn audience(&self) -> Vec<Party> {
        self.members.iter().filter(|member| member.joined).map(|member| member.party.clone()).collect()
    }

    pub(super) fn commit(
        &mut self,
        participant: &str,
        outputs: &mut VecDeque<RoomOutput>,
    ) -> Result<RoomView, WireError> {
        let room = self.name.clone();
        let member = self.member_mut(participant).ok_or_else(not_in_room)?;
        member.joined = true;
        let slots: Vec<_> = member.slots.values().cloned().collect();
        let (party, info, focus) = (member.party.clone(), member.info(), member.focus.clone());
        let layers = member.wanted_layers(&room);
        let device = party.device.clone();
        if !slots.is_empty() {
            let event = Event::RoomSlots { room: room.clone(), slots };
            outputs.push_back(RoomOutput::Tell(vec![party.clone()], event));
        }
        if focus.is_some() {
            outputs.push_back(RoomOutput::Tell(vec![party.clone()], Event::RoomFocus { room: room.clone(), focus }));
        }
        outputs.extend(layers.into_iter().map(|event| RoomOutput::Tell(vec![party.clone()], event)));
        if self.losses.told() == Some(true) {
            outputs.push_back(RoomOutput::Tell(vec![party], Event::RoomLosses { room: room.clone(), lossy: true }));
        }
        outputs.push_back(RoomOutput::Joined { room, participant: info, device });
        self.joined.insert(participant.to_owned());
        Ok(self.view())
    }

    fn view(&self) -> RoomView {
        RoomView {
            roster: self.members.iter().filter(|member| member.joined).map(Member::written).collect(),
            stage: self.stage.clone(),
            speaking: self.speaking.clone(),
        }
    }

    pub(super) fn remove(&mut self, participant: &str, outputs: &mut VecDeque<RoomOutput>) {
        let Some(index) = self.members.iter().position(|member| member.participant == participant) else { return };
        let member = self.members.remove(index);
        if !member.joined {
            return;
        }
        if self.call.is_some() {
            self.gone.push((member.party.user.clone(), member.quality_times));
        }
        outputs.push_back(member.left(&self.name));
        self.changed.remove(participant);
        // Told also of somebody whose coming was not told yet: who came after them was shown them.
        self.joined.remove(participant);
        self.left.insert(participant.to_owned());
        // The lights of somebody who left go out at once, whatever the media side finds out when.
        if self.speaking.iter().any(|speaker| speaker == participant) {
            self.speaking.retain(|speaker| speaker != participant);
            let event = Event::RoomSpeaking { room: self.name.clone(), speaking: self.speaking.clone() };
            outputs.push_back(RoomOutput::Tell(self.audience(), event));
        }
        if self.stage.as_deref() == Some(participant) {
            self.stage = None;
            let event = Event::RoomStage { room: self.name.clone(), participant: None, reason: "left".to_owned() };
            outputs.push_back(RoomOutput::Tell(self.audience(), event));
        }
    }

    pub(super) fn set_tracks(&mut self, participant: &str, tracks: &[TrackClaim]) {
        if let Some(member) = self.member_mut(participant) {
            let tracks: Vec<_> = tracks.iter().map(track).collect();
            if member.tracks != tracks {
                member.set_tracks(tracks);
                self.changed.insert(participant.to_owned());
            }
        }
    }

    pub(super) fn set_muted(&mut self, participant: &str, source: Source, muted: bool) {
        let Some(member) = self.member_mut(participant) else { return };
        let mut tracks = member.tracks.clone();
        if let Some(track) = tracks.iter_mut().find(|track| track.source == source)
            && track.muted != muted
        {
            track.muted = muted;
            member.set_tracks(tracks);
            self.changed.insert(participant.to_owned());
        }
    }

    pub(super) fn welcome_back(
        &mut self,
        party: &Party,
        all: bool,
        outputs: &mut VecDeque<RoomOutput>,
    ) -> Result<RoomMembership, WireError> {
        for member in self.members.iter_mut().filter(|member| member.party == *party) {
            member.away_until = None;
        }
        let member = self.joined(party)?;
        let room = self.name.clone();
        let membership = RoomMembership { room: room.clone(), participant: member.participant.clone() };
        if !all {
            return Ok(membership);
        }
        let others =
            self.members.iter().filter(|other| other.joined && other.party != *party).map(Member::info).collect();
        let slots: Vec<_> = member.slots.values().cloned().collect();
        let (stage, speaking, focus) = (self.stage.clone(), self.speaking.clone(), member.focus.clone());
        let events = [
            Event::RoomRoster { room: room.clone(), joined: others, left: Vec::new(), changed: vec![member.info()] },
            Event::RoomSlots { room: room.clone(), slots },
            Event::RoomSpeaking { room: room.clone(), speaking },
            Event::RoomStage { room: room.clone(), participant: stage, reason: "reconnected".to_owned() },
            Event::RoomFocus { room: room.clone(), focus },
        ];
        let losses = self.losses.told().map(|lossy| Event::RoomLosses { room: room.clone(), lossy });
        let events = events.into_iter().chain(member.wanted_layers(&room)).chain(losses);
        outputs.extend(events.map(|event| RoomOutput::Tell(vec![party.clone()], event)));
        Ok(membership)
    }

    pub(super) fn media_event(&mut self, now: Instant, event: MediaEvent, outputs: &mut VecDeque<RoomOutput>) {
        match event {
            MediaEvent::Connected { room, participant } => {
                let is_small = self.members.len() <= SMALL_ROOM;
                let Some(member) = self.member_mut(&participant) else { return };
                member.set_connected(true);
                if member.joined && is_small {
                    let event = Event::RoomConnected { room, participant };
                    outputs.push_back(RoomOutput::Tell(self.audience(), event));
                } else if member.joined {
                    self.changed.insert(participant);
                }
            }
            MediaEvent::Disconnected { room, participant, reason } => {
                tracing::debug!(room, participant, reason, "media transport is down");
                let Some(member) = self.member_mut(&participant) else { return };
                member.set_connected(false);
                if member.joined {
                    self.changed.insert(participant);
                }
            }
            MediaEvent::Slots { room, participant, slots } => {
                let Some(member) = self.member_mut(&participant) else { return };
                for slot in &slots {
                    if member.slots.len() < MAX_SLOTS || member.slots.contains_key(&slot.mid) {
                        member.slots.insert(slot.mid.clone(), slot.clone());
                    }
                }
                // Before the answer to their join the slots would mean nothing; they are told right after it.
                if member.joined {
                    let party = member.party.clone();
                    outputs.push_back(RoomOutput::Tell(vec![party], Event::RoomSlots { room, slots }));
                }
            }
            MediaEvent::Speaking { room, speaking } => {
                self.speaking.clone_from(&speaking);
                outputs.push_back(RoomOutput::Tell(self.audience(), Event::RoomSpeaking { room, speaking }));
            }
            MediaEvent::Stage { room, participant, reason } => {
                self.stage.clone_from(&participant);
                outputs.push_back(RoomOutput::Tell(self.audience(), Event::RoomStage { room, participant, reason }));
            }
            MediaEvent::Focus { room, participant, focus } => {
                let Some(member) = self.member_mut(&participant) else { return };
                member.focus.clone_from(&focus);
                if member.joined {
                    let party = member.party.clone();
                    outputs.push_back(RoomOutput::Tell(vec![party], Event::RoomFocus { room, focus }));
                }
            }
            MediaEvent::Quality { room, participant, quality } => {
                self.quality(now, room, participant, quality, outputs);
            }
            MediaEvent::Layers { room, participant, source, wanted, spatial } => {
                let Some(member) = self.member_mut(&participant) else { return };
                let layers = WantedLayers { wanted, spatial };
                if member.joined {
                    outputs.push_back(RoomOutput::Tell(vec![member.party.clone()], layers.told(room, source)));
                }
                member.layers.retain(|(other, _)| *other != source);
                member.layers.push((source, layers));
            }
            MediaEvent::RoomClosed { .. } => {}
        }
    }

    fn quality(
        &mut self,
        now: Instant,
        room: String,
        participant: String,
        quality: Quality,
        outputs: &mut VecDeque<RoomOutput>,
    ) {
        let Some(member) = self.member_mut(&participant).filter(|member| member.joined) else { return };
        let before = member.quality.replace((quality.level, now));
        member.loss_down = quality.loss_down;
        if let Some((level, since)) = before {
            member.quality_times.add(level, now.saturating_duration_since(since));
        }
        let own = member.party.clone();
        let changed = before.is_none_or(|(level, _)| level != quality.level);
        if changed {
            member.written.take();
        }
        // What others can do about a bad one depends on how bad it is.
        let concerns_all = changed || quality.level != QualityLevel::Good;
        let audience = if concerns_all && self.members.len() <= SHOWN_QUALITY { self.audience() } else { vec![own] };
        outputs.push_back(RoomOutput::Tell(audience, Event::RoomQuality { room, participant, quality }));
    }

    /// The next deadline, after a change.
    pub(super) fn deadline(&mut self, now: Instant, coalesce: Duration) -> Option<Instant> {
        let quiet = self.joined.is_empty() && self.left.is_empty() && self.changed.is_empty();
        self.flush_at = if quiet { None } else { self.flush_at.or(Some(now + coalesce)) };
        let away = self.members.iter().filter(|member| member.joined).filter_map(|member| member.away_until).min();
        let losses = self.losses.weigh(now, self.worst_loss());
        [self.flush_at, away, losses].into_iter().flatten().min()
    }

    /// The most that anybody loses of what is sent to them, of 1000 packets; 0 in a small room, where everybody is told of everybody.
    fn worst_loss(&self) -> u16 {
        if self.members.len() <= SHOWN_QUALITY {
            return 0;
        }
        let here = self.members.iter().filter(|member| member.joined && member.connected);
        here.map(|member| member.loss_down).max().unwrap_or(0)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, outputs: &mut VecDeque<RoomOutput>) {
        let away =
            self.members.iter().filter(|member| member.joined && member.away_until.is_some_and(|until| until <= now));
        for participant in away.map(|member| member.participant.clone()).collect::<Vec<_>>() {
            self.remove(&participant, outputs);
        }
        if self.flush_at.is_some_and(|at| at <= now) {
            self.flush(outputs);
        }
        if let Some(lossy) = self.losses.news(now) {
            let event = Event::RoomLosses { room: self.name.clone(), lossy };
            outputs.push_back(RoomOutput::Tell(self.audience(), event));
        }
    }

    /// Tells everybody the roster changes that were collected, in one and the same event; a newcomer is not told of their own coming alone.
    pub(super) fn flush(&mut self, outputs: &mut VecDeque<RoomOutput>) {
        self.flush_at = None;
        let joined = std::mem::take(&mut self.joined);
        let left: Vec<_> = std::mem::take(&mut self.left).into_iter().collect();
        self.presence_changed |= !joined.is_empty() || !left.is_empty();
        let touched = std::mem::take(&mut self.changed);
        let changed: BTreeSet<_> = touched.difference(&joined).cloned().collect();
        let infos = |wanted: &BTreeSet<String>| -> Vec<Participant> {
            let members = self.members.iter().filter(|member| member.joined && wanted.contains(&member.participant));
            members.map(Member::info).collect()
        };
        let (newcomers, changed) = (infos(&joined), infos(&changed));
        let knows_all = match &newcomers[..] {
            // What changed about them since they were shown themselves is news to them, too.
            [alone] if left.is_empty() && touched.is_empty() => Some(&alone.participant),
            [] if left.is_empty() && changed.is_empty() => return,
            _ => None,
        };
        let told = self.members.iter().filter(|one| one.joined && Some(&one.participant) != knows_all);
        let told: Vec<_> = told.map(|member| member.party.clone()).collect();
        if !told.is_empty() {
            let event = Event::RoomRoster { room: self.name.clone(), joined: newcomers, left, changed };
            outputs.push_back(RoomOutput::Tell(told, event));
        }
    }
}
