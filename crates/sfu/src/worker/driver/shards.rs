//! Rooms that span workers: joining their shards, and taking what comes from the others, notices before packets and a bounded number of these at a time. A shard that
//! is gone takes with it only those who were connected there.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::super::relay::{Gone, RelayEnd, read};
use super::super::shards::{MAX_RELAYS, Shards};
use super::Driver;
use crate::error::SfuError;
use crate::ids::RoomId;
use crate::shard::{Notice, Relayed};

/// Messages taken from one other shard before sockets and timers get their turn: about what one batch of a socket brings at most.
const MESSAGES_PER_ROUND: usize = 512;

/// A shard's place in the order in which all of this process were opened.
pub(super) fn next_order() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Driver {
    /// Joins a room to its shard on another worker.
    pub(super) fn open_relay(&mut self, room: RoomId, end: RelayEnd, now: Instant) -> Result<(), SfuError> {
        let at = self.room_place(room)?;
        let Some(home) = self.rooms.get_mut(at) else { return Err(SfuError::NoSuchRoom(room)) };
        let relay =
            home.shards.open(end).ok_or(SfuError::Full { what: "a room's list of shards", limit: MAX_RELAYS })?;
        if !self.spanning.contains(&at) {
            self.spanning.push(at);
        }
        self.in_room(at, |room, _| room.open_relay(relay), now);
        Ok(())
    }

    /// Takes what has come from other shards.
    pub(super) fn serve_shards(&mut self) {
        self.more_relayed = false;
        for place in (0..self.spanning.len()).rev() {
            let Some(&at) = self.spanning.get(place) else { continue };
            for relay in 0..self.rooms.get(at).map_or(0, |home| home.shards.len()) {
                self.serve_shard(at, relay as u8);
            }
        }
    }

    fn serve_shard(&mut self, at: usize, relay: u8) {
        let now = Instant::now();
        let waiting = |shards: &mut Shards| shards.get(relay).map(|other| other.end.waiting());
        let Some(mut left) = self.rooms.get_mut(at).and_then(|home| waiting(&mut home.shards)) else { return };
        loop {
            let Some(other) = self.rooms.get_mut(at).and_then(|home| home.shards.get(relay)) else { return };
            match other.end.next_notice() {
                Ok(Some(notice)) => self.heed(at, relay, notice, now),
                Ok(None) => break,
                Err(Gone) => return self.close_relay(at, relay, now),
            }
        }
        let mut buffer = std::mem::take(&mut self.relayed);
        let mut count = 0;
        while left > 0 && count < MESSAGES_PER_ROUND {
            let Some(other) = self.rooms.get_mut(at).and_then(|home| home.shards.get(relay)) else { break };
            let len = other.end.take(&mut buffer);
            if len == 0 {
                break;
            }
            left = left.saturating_sub(len);
            count += 1;
            if let Some(relayed) = read(&buffer) {
                self.take_relayed(at, &relayed, now);
            }
        }
        self.relayed = buffer;
        self.more_relayed |= left > 0 && count == MESSAGES_PER_ROUND;
        if count > 0 {
            self.flush(now);
            self.statistics.delays.observe(now.elapsed());
        }
    }

    fn take_relayed(&mut self, at: usize, relayed: &Relayed<'_>, now: Instant) {
        let Some(home) = self.rooms.get(at) else { return };
        match *relayed {
            Relayed::Packet(packet) => {
                self.statistics.packets_from_shards += 1;
                if let Some(key) = home.shards.key(packet.participant) {
                    self.in_room(at, |room, outbox| room.handle_relayed(now, key, &packet, outbox), now);
                }
            }
            Relayed::Report { participant, ssrc, ntp, rtp } => {
                if let Some(key) = home.shards.key(participant) {
                    self.in_room(at, |room, _| room.handle_relayed_report(now, key, ssrc, ntp, rtp), now);
                }
            }
            Relayed::Keyframe { participant, track, layer } => {
                if let Some(&(_, key)) = self.participants.get(&participant).filter(|place| place.0 == at) {
                    self.in_room(at, |room, outbox| room.on_keyframe_wanted(now, key, (track, layer), outbox), now);
                }
            }
        }
    }

    /// Heeds what another shard tells.
    fn heed(&mut self, at: usize, relay: u8, notice: Notice, now: Instant) {
        let Some(home) = self.rooms.get_mut(at) else { return };
        match notice {
            Notice::Order(order) => {
                if let Some(other) = home.shards.get(relay) {
                    other.order = Some(order);
                }
                let leads = home.shards.leads();
                self.in_room(at, |room, _| room.set_leads(now, leads), now);
            }
            Notice::Member(outline) => {
                let known = home.shards.key(outline.participant);
                let key = self.in_room(at, |room, _| room.follow(now, relay, known, &outline), now).flatten();
                if let (Some(key), Some(home)) = (key, self.rooms.get_mut(at)) {
                    let seat = home.peers.insert_elsewhere();
                    debug_assert_eq!(seat, key);
                    home.shards.add(outline.participant, key, relay);
                }
            }
            Notice::Left(participant) => {
                if let Some(key) = home.shards.remove(participant) {
                    home.peers.remove_elsewhere(key);
                    self.in_room(at, |room, _| room.leave(now, key), now);
                }
            }
            Notice::Wanted { participant, layers } => {
                if let Some(&(_, key)) = self.participants.get(&participant).filter(|place| place.0 == at) {
                    self.in_room(at, |room, _| room.on_wanted(relay, key, &layers), now);
                }
            }
            Notice::Stage { on_stage, reason, speaking } => {
                self.in_room(at, |room, _| room.on_stage_told(now, on_stage, reason, &speaking), now);
            }
            Notice::Lost => {
                self.in_room(at, |room, _| room.on_relay_lost(relay), now);
            }
        }
    }

    /// The shard at the other end is gone, with everybody who was connected there.
    fn close_relay(&mut self, at: usize, relay: u8, now: Instant) {
        let Some(home) = self.rooms.get_mut(at) else { return };
        for (participant, key) in home.shards.close(relay) {
            let Some(home) = self.rooms.get_mut(at) else { return };
            home.shards.remove(participant);
            home.peers.remove_elsewhere(key);
            self.in_room(at, |room, _| room.leave(now, key), now);
        }
        let Some(home) = self.rooms.get(at) else { return };
        let (is_last, leads) = (home.shards.is_empty(), home.shards.leads());
        if is_last {
            self.spanning.retain(|place| *place != at);
        }
        let act = |room: &mut crate::room::Room| {
            room.close_relay(relay, is_last);
            room.set_leads(now, leads);
        };
        self.in_room(at, |room, _| act(room), now);
    }
}
