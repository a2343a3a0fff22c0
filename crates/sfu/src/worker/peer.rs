//! A member's connection on a worker, with what the worker notes about it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringback_transport::connection::Connection;
use ringback_transport::path::Link;
use ringback_transport::sdp::Negotiation;
use slab::Slab;
use tokio::sync::Mutex;

use crate::ids::ParticipantId;
use crate::levelling::Leveller;

/// A negotiation, which callers take turns with; the worker only keeps it.
pub(crate) type SharedNegotiation = Arc<Mutex<Negotiation>>;

/// A data channel by its number, with its label.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) number: u16,
    pub(super) label: String,
}

/// Data-channel messages of one participant that reach the engine: at once, and after that each so long after the one before. More than any
/// use of ours needs, and little enough that nobody's flood fills the queue in which everybody's messages wait.
const MESSAGES_AT_ONCE: u32 = 120;
const MESSAGE_EVERY: Duration = Duration::from_millis(10);

/// How many more messages of a participant are taken; a token bucket.
#[derive(Debug)]
pub(super) struct MessageBudget {
    /// When it is, or was, full.
    full_at: Instant,
}

impl MessageBudget {
    pub(super) fn new(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Whether one more is taken.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.max(now) + MESSAGE_EVERY;
        let fits = full_at.saturating_duration_since(now) <= MESSAGE_EVERY * MESSAGES_AT_ONCE;
        if fits {
            self.full_at = full_at;
        }
        fits
    }
}

/// A member's connection.
pub(super) struct Peer {
    pub(super) participant: ParticipantId,
    pub(super) connection: Connection,
    pub(super) negotiation: SharedNegotiation,
    /// Addresses that are routed to it.
    pub(super) addresses: Vec<SocketAddr>,
    /// TCP connections that are its.
    pub(super) streams: Vec<Link>,
    /// Names by which STUN requests are routed to it.
    pub(super) ufrags: Vec<String>,
    pub(super) channels: Vec<Channel>,
    pub(super) messages: MessageBudget,
    /// What may be spent to let its packets travel together.
    pub(super) leveller: Leveller,
    /// Whether it has ever been up.
    pub(super) was_connected: bool,
    /// The deadline that stands for it.
    pub(super) armed: Option<Instant>,
    /// When it is due in fact, which may have become later.
    pub(super) due: Instant,
}

/// The connections of a room's members, under the members' numbers; whoever is connected to another worker has a number, but no connection.
#[derive(Default)]
pub(super) struct Peers {
    seats: Slab<Option<Peer>>,
}

impl Peers {
    pub(super) fn insert(&mut self, peer: Peer) -> usize {
        self.seats.insert(Some(peer))
    }

    /// Takes a number for somebody who is elsewhere.
    pub(super) fn insert_elsewhere(&mut self) -> usize {
        self.seats.insert(None)
    }

    /// Gives the number of somebody who was elsewhere back.
    pub(super) fn remove_elsewhere(&mut self, key: usize) {
        if matches!(self.seats.get(key), Some(None)) {
            self.seats.remove(key);
        }
    }

    #[inline]
    pub(super) fn get(&self, key: usize) -> Option<&Peer> {
        self.seats.get(key)?.as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: usize) -> Option<&mut Peer> {
        self.seats.get_mut(key)?.as_mut()
    }

    /// Takes a connection out.
    pub(super) fn try_remove(&mut self, key: usize) -> Option<Peer> {
        self.get(key)?;
        self.seats.try_remove(key)?
    }

    /// Everybody's who is here.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Peer)> {
        self.seats.iter().filter_map(|(key, seat)| Some((key, seat.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_messages_is_cut_to_its_burst_and_rate() {
        let start = Instant::now();
        let mut budget = MessageBudget::new(start);
        let at_once = (0..1000).filter(|_| budget.take(start)).count();
        assert_eq!(at_once, MESSAGES_AT_ONCE as usize);
        let later = (1..=1000).filter(|ms| budget.take(start + Duration::from_millis(*ms))).count();
        assert_eq!(later, 100);
    }
}
