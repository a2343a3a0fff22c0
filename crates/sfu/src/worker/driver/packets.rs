//! A datagram's way to its connection and room, and what a connection has to say afterwards.

use std::time::Instant;

use ringback_transport::connection::{ConnectionEvent, Incoming};
use ringback_transport::demux::{DatagramKind, classify};
use ringback_transport::ice::request_username;
use ringback_transport::path::Path;

use super::super::deadlines::Owner;
use super::super::peer::Channel;
use super::super::routes::Place;
use super::{Deferred, Driver, HANDSHAKES_WAITING, HANDSHAKES_WAITING_EACH};
use crate::events::{DisconnectReason, SfuEvent};

/// Data channels of one participant that are known by their label.
const MAX_CHANNELS: usize = 16;

/// The label of the channel whose messages come straight back.
const ECHO: &str = "echo";

/// The label of the channel on which the stage's readings come.
const STAGE: &str = "stage";

impl Driver {
    /// Takes one datagram in, or what came in the place of one.
    #[inline]
    pub(super) fn handle_datagram(&mut self, now: Instant, from: Path, datagram: &mut [u8]) {
        let kind = classify(datagram);
        let place = match kind {
            DatagramKind::Rtp | DatagramKind::Rtcp => self.owner(from),
            DatagramKind::Stun => self.route_check(from, datagram),
            DatagramKind::Dtls => self.owner(from),
            _ => None,
        };
        let Some(place) = place else {
            self.statistics.datagrams_unrouted += 1;
            return;
        };
        if kind == DatagramKind::Dtls && !self.may_shake_hands(place, from, datagram) {
            return;
        }
        let handled = self.in_connection(place, now, |peer| peer.connection.handle_datagram(now, from, datagram));
        match handled {
            None => {}
            Some(Ok(Incoming::Rtp(len))) => {
                self.statistics.packets_received += 1;
                let packet = datagram.get(..len).unwrap_or_default();
                self.in_room(place.0, |room, outbox| room.handle_rtp(now, place.1, packet, outbox), now);
            }
            Some(Ok(Incoming::Rtcp(len))) => {
                let packet = datagram.get(..len).unwrap_or_default();
                self.in_room(place.0, |room, outbox| room.handle_rtcp(now, place.1, packet, outbox), now);
            }
            Some(Ok(Incoming::Nothing)) => {
                if kind == DatagramKind::Stun {
                    self.learn(place, now, from);
                }
                self.pump(place, now);
            }
            Some(Err(_)) => {
                self.statistics.datagrams_refused += 1;
                // There may be something to answer all the same, or the connection may have ended.
                if matches!(kind, DatagramKind::Stun | DatagramKind::Dtls) {
                    self.pump(place, now);
                }
            }
        }
    }

    /// Whose path this is.
    #[inline]
    fn owner(&self, from: Path) -> Option<Place> {
        if from.link.is_stream() { self.ways.streams.owner(from.link) } else { self.routes.by_address(from.remote) }
    }

    /// Whose STUN message this is: the name in the request counts, since an address may have been somebody else's before. A TCP
    /// connection never was.
    fn route_check(&mut self, from: Path, datagram: &[u8]) -> Option<Place> {
        let known = self.owner(from);
        if known.is_some() && from.link.is_stream() {
            return known;
        }
        if known.is_none() {
            if self.budget.checks == 0 {
                self.statistics.handshakes_dropped += 1;
                return None;
            }
            self.budget.checks -= 1;
        }
        let named = request_username(datagram).and_then(|(local, _)| self.routes.by_ufrag(local));
        named.or(known)
    }

    /// Whether a handshake datagram is taken now. Otherwise it waits for the next round: media goes first.
    fn may_shake_hands(&mut self, place: Place, from: Path, datagram: &[u8]) -> bool {
        let peer = self.rooms.get(place.0).and_then(|home| home.peers.get(place.1));
        if peer.is_none_or(|peer| peer.was_connected) {
            return true;
        }
        if self.budget.handshakes > 0 {
            self.budget.handshakes -= 1;
            return true;
        }
        let theirs = self.deferred.iter().filter(|deferred| deferred.from == from).count();
        if self.deferred.len() < HANDSHAKES_WAITING && theirs < HANDSHAKES_WAITING_EACH {
            self.deferred.push_back(Deferred { from, bytes: datagram.to_vec() });
        } else {
            self.statistics.handshakes_dropped += 1;
        }
        false
    }

    /// A connection accepted a check that came by this path: what else comes by it is its.
    fn learn(&mut self, place: Place, now: Instant, from: Path) {
        let validated = self.in_connection(place, now, |peer| peer.connection.is_validated(from));
        if validated != Some(true) {
            return;
        }
        if from.link.is_stream() {
            return self.adopt(place, from, now);
        }
        let Some(peer) = self.rooms.get_mut(place.0).and_then(|home| home.peers.get_mut(place.1)) else { return };
        self.routes.learn(from.remote, place, &mut peer.addresses);
    }

    /// Carries on what a connection has to send and to say.
    pub(super) fn pump(&mut self, place: Place, now: Instant) {
        self.transmit(place, now);
        while let Some(event) = self.next_event(place, now) {
            match event {
                ConnectionEvent::Connected { profile } => {
                    let peer = self.rooms.get_mut(place.0).and_then(|home| home.peers.get_mut(place.1));
                    if let Some(peer) = peer {
                        peer.was_connected = true;
                        tracing::debug!(participant = %peer.participant, ?profile, "connected");
                    }
                    self.in_room(place.0, |room, _| room.set_connected(place.1, true), now);
                }
                ConnectionEvent::PathChanged { from, to } => tracing::debug!(%from, %to, "a participant moved"),
                ConnectionEvent::DataChannelOpen { channel, label, .. } => {
                    self.channel_opened(place, channel, label);
                    self.watch_stage(place, now);
                }
                ConnectionEvent::DataChannelClosed { channel } => {
                    let peer = self.rooms.get_mut(place.0).and_then(|home| home.peers.get_mut(place.1));
                    if let Some(peer) = peer {
                        peer.channels.retain(|known| known.number != channel);
                    }
                    self.watch_stage(place, now);
                }
                ConnectionEvent::DataMessage { channel, binary, data } => {
                    self.message(place, now, channel, binary, data);
                }
                ConnectionEvent::ConsentLost => {
                    let peer = self.rooms.get(place.0).and_then(|home| home.peers.get(place.1));
                    let reason = match peer.is_some_and(|peer| peer.was_connected) {
                        true => DisconnectReason::ConsentLost,
                        false => DisconnectReason::NeverConnected,
                    };
                    return self.remove(place, reason, now, false);
                }
                ConnectionEvent::Closed => return self.remove(place, DisconnectReason::Closed, now, false),
                ConnectionEvent::Failed(error) => {
                    return self.remove(place, DisconnectReason::Failed(error.to_string()), now, true);
                }
                _ => {}
            }
            self.transmit(place, now);
        }
        self.arm(place, now);
    }

    fn next_event(&mut self, place: Place, now: Instant) -> Option<ConnectionEvent> {
        self.in_connection(place, now, |peer| peer.connection.poll_event()).flatten()
    }

    /// Queues what a connection has to send.
    pub(super) fn transmit(&mut self, place: Place, now: Instant) {
        let next =
            |driver: &mut Self| driver.in_connection(place, now, |peer| peer.connection.poll_transmit()).flatten();
        while let Some((path, datagram)) = next(self) {
            self.ways.queue(&datagram, path, &mut self.statistics);
        }
    }

    /// Notes when a connection is due next.
    pub(super) fn arm(&mut self, place: Place, now: Instant) {
        let next = self.in_connection(place, now, |peer| peer.connection.poll_timeout()).flatten();
        let Some(due) = next.map(|at| self.deadlines.rounded(now, at)) else { return };
        let Some(peer) = self.rooms.get_mut(place.0).and_then(|home| home.peers.get_mut(place.1)) else { return };
        peer.due = due;
        if peer.armed.is_none_or(|armed| due < armed) {
            peer.armed = Some(due);
            self.deadlines.push(due, Owner::Peer(place.0, place.1));
        }
    }

    fn channel_opened(&mut self, place: Place, number: u16, label: String) {
        let Some(peer) = self.rooms.get_mut(place.0).and_then(|home| home.peers.get_mut(place.1)) else { return };
        peer.channels.retain(|known| known.number != number);
        if peer.channels.len() < MAX_CHANNELS {
            peer.channels.push(Channel { number, label });
        }
    }

    /// Whoever has a channel of that label open looks on while the stage is decided.
    fn watch_stage(&mut self, place: Place, now: Instant) {
        let peer = self.rooms.get(place.0).and_then(|home| home.peers.get(place.1));
        let watches = peer.is_some_and(|peer| peer.channels.iter().any(|channel| channel.label == STAGE));
        self.in_room(place.0, |room, _| room.watch_stage(place.1, watches), now);
    }

    fn message(&mut self, place: Place, now: Instant, number: u16, binary: bool, data: bytes::Bytes) {
        let Some(home) = self.rooms.get_mut(place.0) else { return };
        let room = home.room.id;
        let Some(peer) = home.peers.get_mut(place.1) else { return };
        let participant = peer.participant;
        let Some(label) = peer.channels.iter().find(|known| known.number == number).map(|known| known.label.clone())
        else {
            return;
        };
        let fits = label == ECHO || peer.messages.take(now);
        if label == ECHO {
            self.in_connection(place, now, |peer| {
                // An echo that does not fit any more is lost, as on any full channel.
                let _ = peer.connection.send_data(now, number, binary, &data);
            });
        } else if !fits {
            self.statistics.data_dropped += 1;
        } else {
            self.events.push(SfuEvent::Data { room, participant, label, binary, data });
        }
    }
}
