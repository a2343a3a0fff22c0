//! Who is in which room, as signaling sees it: members, their tracks, roster deltas, and what the media side says about speaking, stage and
//! slots. A state machine without clock or socket. It knows nothing of packets; the SFU has rooms of its own, of which these are the names.

mod coalescing;
mod losses;
mod room;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use crate::media::MediaEvent;
use crate::protocol::{
    ErrorCode, Event, Participant, Party, Presence, QualityTimes, RoomMembership, Source, TrackClaim, UserQuality,
    WireError, WrittenParticipant,
};
use crate::timers::Timers;
use room::{Member, Room};

/// Limits and times of rooms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomsConfig {
    /// How long roster changes are collected in a small room before they are told. Longer sends fewer frames when many come at once, and
    /// shows a newcomer later.
    pub coalesce: Duration,
    /// How long in a room of 500 and more; in between it grows with the room, since each change is told to everybody.
    pub coalesce_large: Duration,
    /// How long a participant whose socket broke off stays, so that media flows on while the device connects again.
    pub grace: Duration,
    /// The most participants of a room.
    pub max_participants: usize,
    /// The most rooms one device may be in at once.
    pub max_rooms_per_device: usize,
}

impl Default for RoomsConfig {
    fn default() -> Self {
        Self {
            coalesce: Duration::from_millis(50),
            coalesce_large: Duration::from_millis(250),
            grace: Duration::from_secs(10),
            max_participants: 1000,
            max_rooms_per_device: 8,
        }
    }
}

/// What is to be done about rooms, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum RoomOutput {
    /// Open the room on the media side.
    Open(String),
    /// Tell these devices.
    Tell(Vec<Party>, Event),
    /// Somebody has come in.
    Joined {
        /// The room.
        room: String,
        /// Who.
        participant: Participant,
        /// On which device.
        device: String,
    },
    /// Somebody is out; drop them on the media side too.
    Left {
        /// The room.
        room: String,
        /// Who.
        participant: String,
        /// On which device.
        party: Party,
        /// For how long their connection was how good.
        quality: QualityTimes,
    },
    /// Close the room on the media side. Comes last for a room.
    Close {
        /// The room.
        room: String,
        /// Why.
        reason: String,
    },
}

/// What a newcomer is told about a room.
#[derive(Debug, Clone)]
pub struct RoomView {
    /// Who is here, the newcomer included.
    pub roster: Vec<WrittenParticipant>,
    /// Whom to highlight.
    pub stage: Option<String>,
    /// All who speak now.
    pub speaking: Vec<String>,
}

/// Who wants to come in.
#[derive(Debug, Clone, PartialEq)]
pub struct Newcomer {
    /// Their id in the room, never used before.
    pub participant: String,
    /// On which device.
    pub party: Party,
    /// The name others see.
    pub name: String,
    /// What they publish.
    pub tracks: Vec<TrackClaim>,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Rooms {
    config: RoomsConfig,
    rooms: HashMap<String, Room>,
    /// The rooms of each device.
    of_device: HashMap<Party, BTreeSet<String>>,
    /// The devices that are told who is in a room without being in it.
    watchers: HashMap<String, BTreeSet<Party>>,
    timers: Timers,
    outputs: VecDeque<RoomOutput>,
}

/// How many people a presence names; what is shown is a handful of faces and a number.
const MAX_SHOWN: usize = 12;

/// How many rooms one device may watch: a list of voice chats, not all rooms of a server.
const MAX_WATCHED: usize = 64;

impl Rooms {
    /// No rooms yet.
    pub fn new(config: RoomsConfig) -> Self {
        Self {
            config,
            rooms: HashMap::new(),
            of_device: HashMap::new(),
            watchers: HashMap::new(),
            timers: Timers::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Opens the room of a call. It stays until it is [closed](Self::close).
    pub fn open_for_call(&mut self, room: &str, call: &str) {
        self.open(room, Some(call.to_owned()));
    }

    fn open(&mut self, name: &str, call: Option<String>) {
        self.rooms.insert(name.to_owned(), Room::new(name, call));
        self.outputs.push_back(RoomOutput::Open(name.to_owned()));
    }

    /// Whether there is such a room.
    pub fn contains(&self, room: &str) -> bool {
        self.rooms.contains_key(room)
    }

    /// The call whose room this is.
    pub fn call_of(&self, room: &str) -> Option<&str> {
        self.rooms.get(room)?.call.as_deref()
    }

    /// How many rooms have somebody in them.
    pub fn occupied(&self) -> usize {
        self.rooms.values().filter(|room| !room.members.is_empty()).count()
    }

    /// Keeps a place for a newcomer while the media side takes them in; a room that nobody opened is opened. The same device's
    /// former part in the room ends.
    ///
    /// # Errors
    /// `unavailable` where the room is full, or the device is in too many.
    pub fn reserve(&mut self, now: Instant, room: &str, newcomer: Newcomer) -> Result<(), WireError> {
        let elsewhere = self.rooms_of(&newcomer.party).iter().filter(|other| *other != room).count();
        if elsewhere >= self.config.max_rooms_per_device {
            let message = format!("a device may be in {} rooms at once", self.config.max_rooms_per_device);
            return Err(WireError::new(ErrorCode::Unavailable, message));
        }
        if !self.contains(room) {
            self.open(room, None);
        }
        let max = self.config.max_participants;
        let party = newcomer.party.clone();
        self.change(now, room, |room, outputs| {
            if room.members.len() >= max && room.member_of(&newcomer.party).is_none() {
                return Err(WireError::new(ErrorCode::Unavailable, format!("the room is full ({max} participants)")));
            }
            let former = room.member_of(&newcomer.party).map(|member| member.participant.clone());
            // The newcomer first, so that the room is not closed for being empty.
            room.members.push(Member::new(newcomer));
            if let Some(former) = former {
                room.remove(&former, outputs);
            }
            Ok(())
        })?;
        self.of_device.entry(party).or_default().insert(room.to_owned());
        Ok(())
    }

    /// The media side has taken the newcomer in: from now on everybody sees them.
    ///
    /// # Errors
    /// `not_found` where the room or the place is gone meanwhile.
    pub fn commit(&mut self, now: Instant, room: &str, participant: &str) -> Result<RoomView, WireError> {
        self.change(now, room, |room, outputs| room.commit(participant, outputs))
    }

    /// Gives a kept place up.
    pub fn abandon(&mut self, now: Instant, room: &str, participant: &str) {
        let given_up = self.change(now, room, |room, _| {
            let index = room.members.iter().position(|member| member.participant == participant && !member.joined);
            Ok(index.map(|index| room.members.remove(index).party))
        });
        if let Ok(Some(party)) = given_up {
            unlist(&mut self.of_device, &party, room);
        }
    }

    /// Takes a device out of a room.
    ///
    /// # Errors
    /// `not_found` where it is not in there.
    pub fn leave(&mut self, now: Instant, room: &str, party: &Party) -> Result<(), WireError> {
        self.change(now, room, |room, outputs| {
            let participant = room.joined(party)?.participant.clone();
            room.remove(&participant, outputs);
            Ok(())
        })
    }

    /// As whom a device is in a room.
    ///
    /// # Errors
    /// `not_found` where it is not in there.
    pub fn participant(&self, room: &str, party: &Party) -> Result<&str, WireError> {
        Ok(&self.rooms.get(room).ok_or_else(not_in_room)?.joined(party)?.participant)
    }

    /// The participant of some device of this user in a room.
    pub fn participant_of_user(&self, room: &str, user: &str) -> Option<&str> {
        let member = self.rooms.get(room)?.members.iter().find(|member| member.joined && member.party.user == user)?;
        Some(&member.participant)
    }

    /// The participant of this user who publishes something in a room.
    pub fn publisher_of_user(&self, room: &str, user: &str) -> Option<&str> {
        let mut members = self.rooms.get(room)?.members.iter();
        let publishes = |one: &&Member| one.joined && one.party.user == user && !one.tracks.is_empty();
        members.find(publishes).map(|member| member.participant.as_str())
    }

    /// The devices of these participants of a room.
    pub fn devices_of(&self, room: &str, participants: &[String]) -> Vec<&Party> {
        let wanted: HashSet<&str> = participants.iter().map(String::as_str).collect();
        let members = self.rooms.get(room).into_iter().flat_map(|room| &room.members);
        members.filter(|one| one.joined && wanted.contains(&*one.participant)).map(|one| &one.party).collect()
    }

    /// How good connections were in the room of a call, of all who are or were there.
    pub fn qualities(&self, room: &str) -> Vec<UserQuality> {
        self.rooms.get(room).map(Room::qualities).unwrap_or_default()
    }

    /// Whether a participant publishes such a track.
    pub fn publishes(&self, room: &str, participant: &str, source: Source) -> bool {
        let member = self.rooms.get(room).and_then(|room| room.member(participant));
        member.is_some_and(|member| member.tracks.iter().any(|track| track.source == source))
    }

    /// A further offer of a participant was taken: these are the tracks now.
    pub fn set_tracks(&mut self, now: Instant, room: &str, participant: &str, tracks: &[TrackClaim]) {
        self.change(now, room, |room, _| {
            room.set_tracks(participant, tracks);
            Ok(())
        })
        .ok();
    }

    /// A participant has muted or unmuted a track.
    pub fn set_muted(&mut self, now: Instant, room: &str, participant: &str, source: Source, muted: bool) {
        self.change(now, room, |room, _| {
            room.set_muted(participant, source, muted);
            Ok(())
        })
        .ok();
    }

    /// From now on a device is told who is in a room, open or not.
    ///
    /// # Errors
    /// `unavailable` where it watches too many.
    pub fn watch(&mut self, room: &str, party: &Party) -> Result<(), WireError> {
        let watched = self.watchers.values().filter(|watchers| watchers.contains(party)).count();
        if watched >= MAX_WATCHED {
            return Err(WireError::new(ErrorCode::Unavailable, format!("a device may watch {MAX_WATCHED} rooms")));
        }
        self.watchers.entry(room.to_owned()).or_default().insert(party.clone());
        Ok(())
    }

    /// A device need not be told any more who is in a room.
    pub fn unwatch(&mut self, room: &str, party: &Party) {
        if let Some(watchers) = self.watchers.get_mut(room) {
            watchers.remove(party);
            if watchers.is_empty() {
                self.watchers.remove(room);
            }
        }
    }

    /// Who is in a room; nobody in one that is not open.
    pub fn presence(&self, room: &str) -> Presence {
        self.rooms.get(room).map_or(Presence { count: 0, people: Vec::new() }, |room| room.presence(MAX_SHOWN))
    }

    fn tell_presence(&mut self, room: &str) {
        let Some(watchers) = self.watchers.get(room) else { return };
        let Presence { count, people } = self.presence(room);
        let event = Event::RoomPresence { room: room.to_owned(), count, people };
        self.outputs.push_back(RoomOutput::Tell(watchers.iter().cloned().collect(), event));
    }

    /// A device's session is gone: its participants stay for the grace period.
    pub fn device_gone(&mut self, now: Instant, party: &Party) {
        let until = now + self.config.grace;
        self.watchers.retain(|_, watchers| {
            watchers.remove(party);
            !watchers.is_empty()
        });
        for name in self.rooms_of(party) {
            self.change(now, &name, |room, _| {
                let members = room.members.iter_mut().filter(|member| member.party == *party);
                members.for_each(|member| member.away_until = Some(until));
                Ok(())
            })
            .ok();
        }
    }

    /// A device has a session again: with `all` it is told what is so in the rooms it is still in, as it may have missed anything.
    pub fn device_back(&mut self, now: Instant, party: &Party, all: bool) -> Vec<RoomMembership> {
        let mut memberships = Vec::new();
        for name in self.rooms_of(party) {
            let membership = self.change(now, &name, |room, outputs| room.welcome_back(party, all, outputs));
            memberships.extend(membership.ok());
        }
        memberships
    }

    /// Takes what the media side reports. Unknown rooms and participants are ignored.
    pub fn media_event(&mut self, now: Instant, event: MediaEvent) {
        if let MediaEvent::RoomClosed { room, reason } = event {
            return self.close(&room, &reason);
        }
        let name = match &event {
            MediaEvent::Connected { room, .. } | MediaEvent::Disconnected { room, .. } => room.clone(),
            MediaEvent::Slots { room, .. } | MediaEvent::Speaking { room, .. } => room.clone(),
            MediaEvent::Quality { room, .. } => room.clone(),
            MediaEvent::Stage { room, .. } | MediaEvent::Focus { room, .. } | MediaEvent::Layers { room, .. } => {
                room.clone()
            }
            MediaEvent::RoomClosed { room, .. } => room.clone(),
        };
        self.change(now, &name, |room, outputs| {
            room.media_event(now, event, outputs);
            Ok(())
        })
        .ok();
    }

    /// Closes a room and tells who is in it.
    pub fn close(&mut self, name: &str, reason: &str) {
        let Some(mut room) = self.rooms.remove(name) else { return };
        self.timers.set(name, None);
        room.flush(&mut self.outputs);
        let everyone = room.audience();
        if !everyone.is_empty() {
            let event = Event::RoomClosed { room: name.to_owned(), reason: reason.to_owned() };
            self.outputs.push_back(RoomOutput::Tell(everyone, event));
        }
        for member in &room.members {
            unlist(&mut self.of_device, &member.party, name);
        }
        for member in room.members.iter().filter(|member| member.joined) {
            self.outputs.push_back(member.left(name));
        }
        self.outputs.push_back(RoomOutput::Close { room: name.to_owned(), reason: reason.to_owned() });
        self.tell_presence(name);
    }

    /// All rooms.
    pub fn names(&self) -> Vec<String> {
        self.rooms.keys().cloned().collect()
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<RoomOutput> {
        self.outputs.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Tells roster changes that were collected, and takes out who stayed away too long.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(name) = self.timers.take_due(now) {
            self.change(now, &name, |room, outputs| {
                room.handle_timeout(now, outputs);
                Ok(())
            })
            .ok();
        }
    }

    fn rooms_of(&self, party: &Party) -> Vec<String> {
        self.of_device.get(party).into_iter().flatten().cloned().collect()
    }

    /// Every change of a room goes through here: it sets the room's timer, and closes a room that nobody rang when its last member is out.
    fn change<T>(
        &mut self,
        now: Instant,
        name: &str,
        change: impl FnOnce(&mut Room, &mut VecDeque<RoomOutput>) -> Result<T, WireError>,
    ) -> Result<T, WireError> {
        let room = self.rooms.get_mut(name).ok_or_else(not_in_room)?;
        let told = self.outputs.len();
        let result = change(room, &mut self.outputs);
        for output in self.outputs.range(told..) {
            if let RoomOutput::Left { party, .. } = output
                && room.member_of(party).is_none()
            {
                unlist(&mut self.of_device, party, name);
            }
        }
        let room_is_over = room.call.is_none() && room.members.is_empty();
        if room_is_over {
            self.close(name, "empty");
        } else if let Some(room) = self.rooms.get_mut(name) {
            let coalesce = coalescing::interval(&self.config, room.members.len());
            self.timers.set(name, room.deadline(now, coalesce));
            if std::mem::take(&mut room.presence_changed) {
                self.tell_presence(name);
            }
        }
        result
    }
}

fn unlist(of_device: &mut HashMap<Party, BTreeSet<String>>, party: &Party, room: &str) {
    if let Some(rooms) = of_device.get_mut(party) {
        rooms.remove(room);
        if rooms.is_empty() {
            of_device.remove(party);
        }
    }
}

fn not_in_room() -> WireError {
    WireError::new(ErrorCode::NotFound, "this device is not in that room")
}
