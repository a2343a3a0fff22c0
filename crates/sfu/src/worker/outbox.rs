//! Out of the worker: seals a member's packet and queues it in the arena of the socket that reaches them. What does not fit any
//! more is flushed first, so that a burst never waits for memory.

use std::net::SocketAddr;

use ringback_transport::socket::{SendArena, UdpSocket};
use slab::Slab;

use super::WorkerStatistics;
use super::peer::Peer;
use crate::forward::PacketSink;

/// Bytes that sealing adds at most: a GCM tag, and the index of SRTCP (RFC 7714, section 9).
const SEALING: usize = 16 + 4;

/// The largest RTCP packet: what any network carries (IPv6's least MTU, less headers).
const MAX_RTCP: usize = 1180;

/// A socket with what waits to be sent through it.
pub(super) struct Endpoint {
    pub(super) socket: UdpSocket,
    pub(super) arena: SendArena,
}

impl Endpoint {
    pub(super) fn new(socket: UdpSocket) -> Self {
        Self { socket, arena: SendArena::default() }
    }

    /// Sends what waits.
    pub(super) fn flush(&mut self, statistics: &mut WorkerStatistics) {
        if self.arena.is_empty() {
            return;
        }
        let report = self.socket.send(&mut self.arena);
        statistics.datagrams_sent += report.sent as u64;
        statistics.datagrams_dropped += report.dropped as u64;
    }

    /// Space for one datagram. `None` only if it is larger than the arena.
    fn reserve(&mut self, len: usize, statistics: &mut WorkerStatistics) -> Option<&mut [u8]> {
        if self.arena.reserve(len).is_none() {
            self.flush(statistics);
        }
        self.arena.reserve(len)
    }

    /// Queues a datagram that is complete already.
    pub(super) fn queue(&mut self, datagram: &[u8], to: SocketAddr, statistics: &mut WorkerStatistics) {
        if let Some(space) = self.reserve(datagram.len(), statistics) {
            space.copy_from_slice(datagram);
            self.arena.commit(datagram.len(), to);
        }
    }
}

/// The way out for the members of one room.
pub(super) struct Outbox<'a> {
    pub(super) peers: &'a mut Slab<Peer>,
    pub(super) endpoints: &'a mut [Endpoint],
    pub(super) statistics: &'a mut WorkerStatistics,
}

impl PacketSink for Outbox<'_> {
    #[inline]
    fn send_rtp(&mut self, to: usize, len: usize, write: impl FnOnce(&mut [u8])) -> bool {
        let Some(peer) = self.peers.get_mut(to) else { return false };
        let Some(address) = peer.connection.remote_address() else { return false };
        let Some(endpoint) = self.endpoints.get_mut(peer.socket) else { return false };
        let Some(sender) = peer.connection.srtp_sender() else { return false };
        let Some(space) = endpoint.reserve(len + SEALING, self.statistics) else { return false };
        write(&mut space[..len]);
        match sender.protect_rtp(space, len) {
            Ok(sealed) => {
                endpoint.arena.commit(sealed, address);
                self.statistics.packets_forwarded += 1;
                true
            }
            Err(_) => {
                self.statistics.packets_unsent += 1;
                false
            }
        }
    }

    fn send_rtcp(&mut self, to: usize, write: impl FnOnce(&mut [u8]) -> usize) {
        let Some(peer) = self.peers.get_mut(to) else { return };
        let Some(address) = peer.connection.remote_address() else { return };
        let Some(endpoint) = self.endpoints.get_mut(peer.socket) else { return };
        let Some(sender) = peer.connection.srtp_sender() else { return };
        let Some(space) = endpoint.reserve(MAX_RTCP + SEALING, self.statistics) else { return };
        let len = write(&mut space[..MAX_RTCP]);
        if len == 0 {
            return;
        }
        if let Ok(sealed) = sender.protect_rtcp(space, len) {
            endpoint.arena.commit(sealed, address);
        }
    }
}
