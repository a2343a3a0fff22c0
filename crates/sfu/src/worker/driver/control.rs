//! Commands of the handle, carried out one by one. An answer that nobody waits for any more is dropped.

use std::time::Instant;

use super::super::handle::{Command, Join, Offer, Reply};
use super::super::outbox::Outbox;
use super::super::peer::{MessageBudget, Peer, Peers};
use super::super::routes::Place;
use super::super::shards::Shards;
use super::shards::next_order;
use super::{Driver, Home};
use crate::error::SfuError;
use crate::events::{DisconnectReason, RoomCloseReason};
use crate::ids::{ParticipantId, RoomId};
use crate::levelling::Leveller;
use crate::room::{Room, RoomConfig};
use crate::subscriber::SlotInfo;

impl Driver {
    /// Carries out a command. Returns what to answer when it is time to stop.
    pub(super) fn carry_out(&mut self, command: Command, now: Instant) -> Option<Option<Reply<()>>> {
        match command {
            Command::OpenRoom { room, config, reply } => answer(reply, self.open_room(room, config, now)),
            Command::CloseRoom { room, reply } => {
                let closed = self.room_place(room).map(|at| self.end_room(at, RoomCloseReason::Closed, now));
                answer(reply, closed);
            }
            Command::OpenRelay { room, end, reply } => answer(reply, self.open_relay(room, *end, now)),
            Command::Join { room, participant, join, reply } => {
                answer(reply, self.join(room, participant, *join, now));
            }
            Command::Negotiation { participant, reply } => {
                let found = self.place(participant).and_then(|place| {
                    let peer = self.rooms.get(place.0).and_then(|home| home.peers.get(place.1));
                    peer.map(|peer| peer.negotiation.clone()).ok_or(SfuError::NoSuchParticipant(participant))
                });
                answer(reply, found);
            }
            Command::Offer { participant, offer, reply } => answer(reply, self.offer(participant, *offer, now)),
            Command::Leave { participant, reply } => {
                let left = self.place(participant);
                answer(reply, left.map(|place| self.remove(place, DisconnectReason::Left, now, true)));
            }
            Command::SetMuted { participant, source, muted, reply } => {
                let set = self.with_room(participant, now, |room, key| room.set_muted(now, key, source, muted));
                answer(reply, set);
            }
            Command::SetView { participant, views, reply } => {
                answer(reply, self.with_room(participant, now, |room, key| room.set_view(key, &views)));
            }
            Command::SetPin { participant, pinned, reply } => {
                answer(reply, self.with_room(participant, now, |room, key| room.set_pin(key, pinned)));
            }
            Command::PlayOnly { participant, only, reply } => {
                answer(reply, self.with_room(participant, now, |room, key| room.play_only(key, only)));
            }
            Command::Admit { participant, admitted, reply } => {
                answer(reply, self.with_room(participant, now, |room, key| room.set_admitted(now, key, admitted)));
            }
            Command::SendData { participant, label, binary, data, reply } => {
                answer(reply, self.send_data(participant, &label, binary, &data, now));
            }
            Command::Broadcast { room, share, label, binary, data, reply } => match self.room_place(room) {
                Ok(at) => self.begin_broadcast(at, share, label, binary, data, reply),
                Err(error) => answer(reply, Err(error)),
            },
            Command::Tap { participant, sources, reply } => {
                let place = self.place(participant);
                let tapped = place.and_then(|place| {
                    let tapped = self.in_room(place.0, |room, sink| room.tap(now, place.1, sources, sink), now);
                    tapped.ok_or(SfuError::NoSuchParticipant(participant))
                });
                answer(reply, tapped);
            }
            Command::Statistics { reply } => {
                let mut statistics = self.statistics;
                statistics.rooms = self.rooms.len();
                statistics.participants = self.participants.len();
                statistics.rooms_shared = self.spanning.len();
                statistics.streams = self.ways.streams.len();
                statistics.data_dropped += self.events.dropped_data;
                let bandwidths = self.rooms.iter().map(|(_, home)| home.room.bandwidths());
                (statistics.networks_measured, statistics.bandwidth) =
                    bandwidths.fold((0, 0), |(count, sum), (more, rate)| (count + more, sum + rate));
                answer(reply, Ok(statistics));
            }
            Command::Shutdown { reply } => return Some(Some(reply)),
            #[cfg(test)]
            Command::PanicInRoom { room, reply } => {
                let panicked = self.room_place(room).map(|at| {
                    self.in_room(at, |_, _| panic!("injected"), now).unwrap_or(());
                });
                answer(reply, panicked);
            }
            #[cfg(test)]
            Command::PanicInConnection { participant, reply } => {
                let panicked = self.place(participant).map(|place| {
                    self.in_connection(place, now, |_| panic!("injected")).unwrap_or(());
                });
                answer(reply, panicked);
            }
        }
        None
    }

    pub(super) fn room_place(&self, room: RoomId) -> Result<usize, SfuError> {
        self.room_places.get(&room).copied().ok_or(SfuError::NoSuchRoom(room))
    }

    fn place(&self, participant: ParticipantId) -> Result<Place, SfuError> {
        self.participants.get(&participant).copied().ok_or(SfuError::NoSuchParticipant(participant))
    }

    fn with_room<R>(
        &mut self,
        participant: ParticipantId,
        now: Instant,
        act: impl FnOnce(&mut Room, usize) -> R,
    ) -> Result<R, SfuError> {
        let place = self.place(participant)?;
        let acted = self.in_room(place.0, |room, _: &mut Outbox<'_>| act(room, place.1), now);
        acted.ok_or(SfuError::NoSuchParticipant(participant))
    }

    fn open_room(&mut self, room: RoomId, config: RoomConfig, now: Instant) -> Result<(), SfuError> {
        if self.room_places.contains_key(&room) {
            return Err(SfuError::RoomExists(room));
        }
        if self.rooms.len() >= self.limits.rooms {
            return Err(SfuError::Full { what: "the worker's list of rooms", limit: self.limits.rooms });
        }
        let mut opened = Room::new(room, config, now);
        opened.set_ears(self.decoders.clone());
        let shards = Shards::new(next_order());
        let home = Home { room: opened, peers: Peers::default(), shards, armed: None };
        self.room_places.insert(room, self.rooms.insert(home));
        Ok(())
    }

    fn join(
        &mut self,
        room: RoomId,
        participant: ParticipantId,
        join: Join,
        now: Instant,
    ) -> Result<Vec<SlotInfo>, SfuError> {
        if self.participants.contains_key(&participant) {
            return Err(SfuError::ParticipantExists(participant));
        }
        if self.participants.len() >= self.limits.participants {
            return Err(SfuError::Full { what: "the worker", limit: self.limits.participants });
        }
        let at = self.room_place(room)?;
        let Join { connection, negotiation, session, tracks } = join;
        let joined = self.in_room(at, |room, _| room.join(now, participant, &session.lines, &tracks), now);
        let (key, slots) = joined.ok_or(SfuError::NoSuchRoom(room))??;
        let place = (at, key);
        let peer = Peer {
            participant,
            connection,
            negotiation,
            addresses: Vec::new(),
            streams: Vec::new(),
            ufrags: vec![session.local_ice.ufrag.clone()],
            channels: Vec::new(),
            messages: MessageBudget::new(now),
            leveller: Leveller::default(),
            was_connected: false,
            armed: None,
            due: now,
        };
        let Some(home) = self.rooms.get_mut(at) else { return Err(SfuError::NoSuchRoom(room)) };
        // Members and their connections come and go together, so that their numbers are the same.
        let peer_key = home.peers.insert(peer);
        debug_assert_eq!(peer_key, key);
        self.participants.insert(participant, place);
        self.routes.add_ufrag(&session.local_ice.ufrag, place);
        self.arm(place, now);
        Ok(slots)
    }

    fn offer(&mut self, participant: ParticipantId, offer: Offer, now: Instant) -> Result<Vec<SlotInfo>, SfuError> {
        let place = self.place(participant)?;
        let Offer { session, ice_restarted, tracks } = offer;
        let act = |room: &mut Room, key| room.renegotiate(now, key, &session.lines, &tracks);
        let slots = self.with_room(participant, now, act)??;
        if ice_restarted {
            let (local, remote) = (session.local_ice, session.remote_ice);
            self.routes.add_ufrag(&local.ufrag, place);
            self.in_connection(place, now, |peer| {
                peer.ufrags.push(local.ufrag.clone());
                peer.connection.restart_ice(now, local, remote);
            });
            self.forget_old_names(place);
            self.arm(place, now);
        }
        Ok(slots)
    }

    /// After a restart requests name the new credentials, and for a while the ones before.
    fn forget_old_names(&mut self, place: Place) {
        let Some(peer) = self.rooms.get_mut(place.0).and_then(|home| home.peers.get_mut(place.1)) else { return };
        while peer.ufrags.len() > 2 {
            let old = peer.ufrags.remove(0);
            self.routes.forget(place, &[], &[old]);
        }
    }

    pub(super) fn send_data(
        &mut self,
        participant: ParticipantId,
        label: &str,
        binary: bool,
        data: &[u8],
        now: Instant,
    ) -> Result<(), SfuError> {
        let place = self.place(participant)?;
        let peer = self.rooms.get(place.0).and_then(|home| home.peers.get(place.1));
        let channel = peer.and_then(|peer| peer.channels.iter().find(|channel| channel.label == label));
        let Some(number) = channel.map(|channel| channel.number) else {
            return Err(SfuError::NoSuchChannel { participant, label: label.to_owned() });
        };
        let sent = self.in_connection(place, now, |peer| peer.connection.send_data(now, number, binary, data));
        sent.ok_or(SfuError::NoSuchParticipant(participant))??;
        self.pump(place, now);
        Ok(())
    }
}

pub(super) fn answer<T>(reply: Reply<T>, result: Result<T, SfuError>) {
    let _ = reply.send(result);
}
