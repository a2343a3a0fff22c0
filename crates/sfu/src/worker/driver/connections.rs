//! TCP connections in the worker's loop: accepting them, taking their packets the way that datagrams go, and ending those
//! that prove nothing, break, or are a participant's no longer.

use std::time::Instant;

use ringback_transport::framing::FrameReader;
use ringback_transport::path::{Link, Path};

use super::super::deadlines::Owner;
use super::super::routes::Place;
use super::super::streams::SWEEP;
use super::Driver;

/// Listeners and connections that get their turn in one round.
const CONNECTIONS_PER_ROUND: usize = 64;

/// Reads of one connection before others get their turn, of up to 8 KiB each: what UDP may bring at once is of that order.
const READS_PER_TURN: usize = 4;

impl Driver {
    /// Gives connections that have something to do their turn.
    pub(super) fn serve_connections(&mut self) {
        for _ in 0..CONNECTIONS_PER_ROUND {
            let Some(link) = self.ways.streams.next_ready() else { return };
            let now = Instant::now();
            if link.is_stream() {
                self.serve_connection(link);
            } else {
                let accepted = self.ways.streams.accept(link, now, &mut self.statistics);
                self.accept_later |= !accepted;
            }
            if (self.accept_later || self.ways.streams.len() > 0) && self.sweep_at.is_none() {
                self.deadlines.push(*self.sweep_at.insert(now + SWEEP), Owner::Connections);
            }
        }
        self.ways.streams.stay_ready();
    }

    fn serve_connection(&mut self, link: Link) {
        let Some(path) = self.ways.streams.path(link) else { return };
        if self.ways.streams.owner(link).is_none() && self.budget.checks == 0 {
            return self.ways.streams.look_again(link);
        }
        let mut reader = self.ways.streams.take_reader(link);
        let goes_on = self.read_connection(path, &mut reader);
        self.ways.streams.give_back(link, reader);
        if goes_on {
            self.ways.streams.write(link);
        } else {
            self.close_connection(path, Instant::now());
        }
    }

    /// Takes in what a connection has brought. `false`: it is over.
    fn read_connection(&mut self, path: Path, reader: &mut FrameReader) -> bool {
        for _ in 0..READS_PER_TURN {
            match self.ways.streams.read(path.link, reader) {
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
            let now = Instant::now();
            loop {
                let packet = match reader.next_frame() {
                    Ok(Some(packet)) => packet,
                    Ok(None) => break,
                    Err(_) => return false,
                };
                self.statistics.datagrams_received += 1;
                self.handle_datagram(now, path, packet);
                // Its first packet had to be a check that ICE accepts; or it was closed on account of what it brought.
                if self.ways.streams.owner(path.link).is_none() {
                    return false;
                }
            }
        }
        self.ways.streams.look_again(path.link);
        true
    }

    /// A connection accepted a check that came by this path: from now on it is its.
    pub(super) fn adopt(&mut self, place: Place, path: Path, now: Instant) {
        let Some(peer) = self.rooms.get_mut(place.0).and_then(|home| home.peers.get_mut(place.1)) else { return };
        let current = peer.connection.path().map(|path| path.link);
        let surplus = self.ways.streams.adopt(path.link, place, &mut peer.streams, current);
        if let Some(surplus) = surplus.and_then(|link| self.ways.streams.path(link)) {
            self.close_connection(surplus, now);
        }
    }

    /// Closes a connection: the path is gone.
    fn close_connection(&mut self, path: Path, now: Instant) {
        if let Some(place) = self.ways.streams.owner(path.link) {
            self.in_connection(place, now, |peer| {
                peer.streams.retain(|link| *link != path.link);
                if peer.connection.path() == Some(path) {
                    tracing::debug!(participant = %peer.participant, %path, "a participant's connection was closed");
                }
                peer.connection.forget_path(path);
            });
        }
        self.ways.streams.close(path.link, &mut self.statistics);
    }

    /// Ends connections whose time is up: strangers, and those over which no check has come for long.
    pub(super) fn sweep_connections(&mut self, now: Instant) {
        self.sweep_at = None;
        while let Some(link) = self.ways.streams.overdue(now) {
            self.ways.streams.close(link, &mut self.statistics);
        }
        let rooms = &self.rooms;
        let is_validated = |path: Path, place: Place| {
            let peer = rooms.get(place.0).and_then(|home| home.peers.get(place.1));
            peer.is_some_and(|peer| peer.connection.is_validated(path))
        };
        let silent = self.ways.streams.members().filter(|&(path, place)| !is_validated(path, place));
        for path in silent.map(|(path, _)| path).collect::<Vec<_>>() {
            self.close_connection(path, now);
        }
        if std::mem::take(&mut self.accept_later) {
            self.ways.streams.look_at_listeners();
        }
        if self.ways.streams.len() > 0 {
            self.deadlines.push(*self.sweep_at.insert(now + SWEEP), Owner::Connections);
        }
    }
}
