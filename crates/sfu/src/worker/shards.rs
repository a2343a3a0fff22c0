//! The relays of one room: to which other shards it has one, who is at the other ends, and the way of packets and notices there. It opens and closes none:
//! `driver/shards.rs` does.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use super::relay::RelayEnd;
use super::routes::AddressHasher;
use crate::ids::ParticipantId;
use crate::shard::{Notice, Relayed};

/// Shards that one may be joined to: a bit each in a layer's note of who wants it.
pub(super) const MAX_RELAYS: usize = 64;

/// One of the other shards.
#[derive(Debug)]
pub(super) struct Other {
    pub(super) end: RelayEnd,
    /// Its place in the order in which shards were opened, once it has told.
    pub(super) order: Option<u64>,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Shards {
    /// This shard's place in the order.
    order: u64,
    others: Vec<Option<Other>>,
    /// Who is elsewhere, with their number here.
    members: HashMap<ParticipantId, usize, BuildHasherDefault<AddressHasher>>,
    /// … and by their number, with the relay.
    places: HashMap<usize, (ParticipantId, u8), BuildHasherDefault<AddressHasher>>,
}

impl Shards {
    pub(super) fn new(order: u64) -> Self {
        Self { order, others: Vec::new(), members: HashMap::default(), places: HashMap::default() }
    }

    /// Takes an end of a new relay. Returns its number, unless there are too many.
    pub(super) fn open(&mut self, mut end: RelayEnd) -> Option<u8> {
        end.tell(Notice::Order(self.order));
        let at = self.others.iter().position(Option::is_none).unwrap_or(self.others.len());
        if at == MAX_RELAYS {
            return None;
        }
        if at == self.others.len() {
            self.others.push(None);
        }
        self.others[at] = Some(Other { end, order: None });
        Some(at as u8)
    }

    /// Forgets a relay. Returns whoever was at its other end, with their numbers.
    pub(super) fn close(&mut self, relay: u8) -> Vec<(ParticipantId, usize)> {
        if let Some(other) = self.others.get_mut(usize::from(relay)) {
            *other = None;
        }
        let there = self.places.iter().filter(|(_, (_, by))| *by == relay);
        there.map(|(key, (participant, _))| (*participant, *key)).collect()
    }

    pub(super) fn get(&mut self, relay: u8) -> Option<&mut Other> {
        self.others.get_mut(usize::from(relay))?.as_mut()
    }

    /// Relays, open ones or not.
    pub(super) fn len(&self) -> usize {
        self.others.len()
    }

    /// Whether there is no relay.
    pub(super) fn is_empty(&self) -> bool {
        self.others.iter().all(Option::is_none)
    }

    /// Whether no other shard was opened before this one.
    pub(super) fn leads(&self) -> bool {
        self.others.iter().flatten().all(|other| other.order.is_none_or(|order| order > self.order))
    }

    /// Somebody is at the other end of this relay, and has this number here.
    pub(super) fn add(&mut self, participant: ParticipantId, key: usize, relay: u8) {
        self.members.insert(participant, key);
        self.places.insert(key, (participant, relay));
    }

    /// Somebody is not elsewhere any more. Returns the number they had.
    pub(super) fn remove(&mut self, participant: ParticipantId) -> Option<usize> {
        let key = self.members.remove(&participant)?;
        self.places.remove(&key);
        Some(key)
    }

    /// The number of somebody who is elsewhere.
    #[inline]
    pub(super) fn key(&self, participant: ParticipantId) -> Option<usize> {
        self.members.get(&participant).copied()
    }

    /// Hands something to all other shards. Returns how many took it, and in how many rings there was no room.
    #[inline]
    pub(super) fn relay(&mut self, relayed: &Relayed<'_>) -> (u64, u64) {
        let (mut sent, mut dropped) = (0, 0);
        for other in self.others.iter_mut().flatten() {
            let taken = other.end.send(relayed);
            (sent, dropped) = (sent + u64::from(taken), dropped + u64::from(!taken));
        }
        (sent, dropped)
    }

    /// Asks for a keyframe of somebody who is elsewhere. `false`: they are not.
    pub(super) fn request(&mut self, key: usize, track: u8, layer: u8) -> bool {
        let Some(&(participant, relay)) = self.places.get(&key) else { return false };
        if let Some(other) = self.get(relay) {
            // What is lost is asked for again.
            other.end.send(&Relayed::Keyframe { participant, track, layer });
        }
        true
    }

    /// Tells one other shard, or all.
    pub(super) fn tell(&mut self, relay: Option<u8>, notice: &Notice) {
        let meant =
            self.others.iter_mut().enumerate().filter(|(at, _)| relay.is_none_or(|relay| usize::from(relay) == *at));
        meant.filter_map(|(_, other)| other.as_mut()).for_each(|other| other.end.tell(notice.clone()));
    }

    /// Wakes the workers for which there is something new.
    pub(super) fn wake(&mut self) {
        self.others.iter_mut().flatten().for_each(|other| other.end.wake());
    }
}
