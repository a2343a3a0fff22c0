//! Out of the worker: seals a member's packet and queues it in the arena of the socket that reaches them, or in the queue of their
//! TCP connection. What does not fit into an arena any more is flushed first, so that a burst never waits for memory; what does not
//! fit into a queue is dropped, so that memory never waits for a slow network.

use std::time::Instant;

use ringback_transport::path::{Link, Path};
use ringback_transport::sdp::MediaKind;
use ringback_transport::socket::UdpSocket;

use super::endpoint::{Endpoint, MOST_VOICE_WAIT};
use super::peer::Peers;
use super::shards::Shards;
use super::streams::Streams;
use super::{Trains, WorkerStatistics};
use crate::forward::{LayerKey, PacketSink};
use crate::levelling::Next;
use crate::shard::Relayed;

/// Bytes that sealing adds at most: a GCM tag, and the index of SRTCP (RFC 7714, section 9).
const SEALING: usize = 16 + 4;

/// The largest RTCP packet: what any network carries (IPv6's least MTU, less headers).
const MAX_RTCP: usize = 1180;

/// All ways out of a worker.
pub(super) struct Ways {
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) streams: Streams,
    pub(super) trains: Trains,
}

impl Ways {
    pub(super) fn new(sockets: Vec<UdpSocket>, streams: Streams, trains: Trains) -> Self {
        let trains = Trains { voice_wait: trains.voice_wait.min(MOST_VOICE_WAIT), ..trains };
        let endpoints = sockets.into_iter().map(|socket| Endpoint::new(socket, trains)).collect();
        Self { endpoints, streams, trains }
    }

    /// The length that joins the train that waits for this path, if one does. `None` where nothing travels in trains.
    #[inline]
    fn waiting_train(&mut self, path: Path) -> Option<Option<usize>> {
        if !self.trains.levelling || path.link.is_stream() {
            return None;
        }
        self.endpoints.get_mut(path.link.index())?.waiting_train(path.remote)
    }

    /// Notes what was queued last.
    #[inline]
    fn queued(&mut self, path: Path, kind: MediaKind) {
        if let Some(endpoint) = self.endpoints.get_mut(path.link.index()).filter(|_| !path.link.is_stream()) {
            endpoint.queued(kind);
        }
    }

    /// When voices have waited for others long enough, if any wait.
    pub(super) fn held_until(&self) -> Option<Instant> {
        self.endpoints.iter().filter_map(Endpoint::held_since).min().map(|since| since + self.trains.voice_wait)
    }

    /// Space for one packet. `None` if it is larger than the arena, or there is no room in the connection's queue.
    #[inline]
    fn reserve(&mut self, path: Path, len: usize, statistics: &mut WorkerStatistics) -> Option<&mut [u8]> {
        if path.link.is_stream() {
            return self.streams.reserve(path.link, len);
        }
        self.endpoints.get_mut(path.link.index())?.reserve(len, statistics)
    }

    /// Queues the first `len` bytes of the space.
    #[inline]
    fn commit(&mut self, path: Path, len: usize, statistics: &mut WorkerStatistics) {
        if path.link.is_stream() {
            self.streams.commit(path.link, len, statistics);
        } else if let Some(endpoint) = self.endpoints.get_mut(path.link.index()) {
            endpoint.commit(len, path.remote);
        }
    }

    /// Queues a packet that is complete already.
    pub(super) fn queue(&mut self, packet: &[u8], path: Path, statistics: &mut WorkerStatistics) {
        if let Some(space) = self.reserve(path, packet.len(), statistics) {
            space.copy_from_slice(packet);
            self.commit(path, packet.len(), statistics);
        }
    }

    /// Closes connections whose participant is gone.
    pub(super) fn close(&mut self, streams: &[Link], statistics: &mut WorkerStatistics) {
        for &link in streams {
            self.streams.close(link, statistics);
        }
    }

    /// Sends what waits, unless it may wait longer.
    pub(super) fn flush(&mut self, now: Instant, statistics: &mut WorkerStatistics) {
        for endpoint in &mut self.endpoints {
            endpoint.flush_what_is_due(now, self.trains.voice_wait, statistics);
        }
        self.streams.flush();
    }

    /// Sends everything.
    pub(super) fn flush_all(&mut self, statistics: &mut WorkerStatistics) {
        for endpoint in &mut self.endpoints {
            endpoint.flush(statistics);
        }
        self.streams.flush();
    }
}

/// The way out for the members of one room.
pub(super) struct Outbox<'a> {
    pub(super) peers: &'a mut Peers,
    pub(super) shards: &'a mut Shards,
    pub(super) ways: &'a mut Ways,
    pub(super) statistics: &'a mut WorkerStatistics,
}

impl Outbox<'_> {
    #[inline]
    fn seal(&mut self, to: usize, kind: MediaKind, len: usize, write: impl FnOnce(&mut [u8])) -> bool {
        let Some(peer) = self.peers.get_mut(to) else { return false };
        let Some(path) = peer.connection.path() else { return false };
        let Some(sender) = peer.connection.srtp_sender() else { return false };
        let Some(space) = self.ways.reserve(path, len + SEALING, self.statistics) else {
            self.statistics.packets_unsent += 1;
            return false;
        };
        write(&mut space[..len]);
        match sender.protect_rtp(space, len) {
            Ok(sealed) => {
                self.ways.commit(path, sealed, self.statistics);
                self.ways.queued(path, kind);
                self.statistics.packets_forwarded += 1;
                true
            }
            Err(_) => {
                self.statistics.packets_unsent += 1;
                false
            }
        }
    }
}

impl PacketSink for Outbox<'_> {
    #[inline]
    fn send_rtp(&mut self, to: usize, len: usize, write: impl FnOnce(&mut [u8])) -> bool {
        self.seal(to, MediaKind::Video, len, write)
    }

    #[inline]
    fn send_voice(&mut self, to: usize, len: usize, write: impl FnOnce(&mut [u8])) -> bool {
        self.seal(to, MediaKind::Audio, len, write)
    }

    #[inline]
    fn padding(&mut self, to: usize, len: usize, next: Next) -> usize {
        let Some(peer) = self.peers.get_mut(to) else { return 0 };
        let Some(train) = peer.connection.path().and_then(|path| self.ways.waiting_train(path)) else { return 0 };
        let Some(sender) = peer.connection.srtp_sender() else { return 0 };
        let tag = sender.profile().tag_len();
        let waits = next != Next::Voice || !self.ways.trains.voice_wait.is_zero();
        let next = if waits { next } else { Next::Unknown };
        let padding = peer.leveller.padding(len, train.and_then(|train| train.checked_sub(tag)), next);
        self.statistics.padding_sent += padding as u64;
        padding
    }

    fn send_rtcp(&mut self, to: usize, write: impl FnOnce(&mut [u8]) -> usize) {
        let Some(peer) = self.peers.get_mut(to) else { return };
        let Some(path) = peer.connection.path() else { return };
        let Some(sender) = peer.connection.srtp_sender() else { return };
        let Some(space) = self.ways.reserve(path, MAX_RTCP + SEALING, self.statistics) else { return };
        let len = write(&mut space[..MAX_RTCP]);
        if len == 0 {
            return;
        }
        if let Ok(sealed) = sender.protect_rtcp(space, len) {
            self.ways.commit(path, sealed, self.statistics);
        }
    }

    #[inline]
    fn is_congested(&self, to: usize) -> bool {
        let path = || self.peers.get(to)?.connection.path();
        self.ways.streams.any_congested() && path().is_some_and(|path| self.ways.streams.is_congested(path.link))
    }

    fn relay(&mut self, relayed: &Relayed<'_>) {
        let (sent, dropped) = self.shards.relay(relayed);
        self.statistics.packets_relayed += sent;
        self.statistics.relays_dropped += dropped;
    }

    fn request_elsewhere(&mut self, of: LayerKey) -> bool {
        self.shards.request(of.member as usize, of.track, of.layer)
    }
}
