//! The policy of sending an arena: what a refusal by the system means. A full buffer drops the rest; an unreachable
//! destination loses its own datagrams only; a train that is refused goes again datagram by datagram, and a run of such
//! refusals ends trains on this socket. The system call is a parameter, so that all of it is tested without a kernel.

use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use super::arena::{SendArena, Train};

/// Trains refused in a row, though their datagrams then went one by one, after which a socket stops sending trains. One
/// refusal can be a single peer's narrow route; a network card that cannot take trains apart refuses all. A lower
/// value would let one odd peer slow down everybody, a higher one only wastes as many calls.
const REFUSALS_BEFORE_FALLBACK: u16 = 16;

/// What became of the datagrams of one flush.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SendReport {
    /// Datagrams the system took.
    pub sent: usize,
    /// Datagrams it did not take: the send buffer was full, or the destination cannot be reached.
    pub dropped: usize,
    /// Trains in which it took them; a datagram for itself counts as one.
    pub trains: usize,
}

impl std::ops::AddAssign for SendReport {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.dropped += other.dropped;
        self.trains += other.trains;
    }
}

/// Whether a socket can send trains, as experience tells.
#[derive(Debug)]
pub(super) struct TrainHealth {
    max_train: AtomicU16,
    refusals: AtomicU16,
}

impl TrainHealth {
    pub(super) fn new(max_train: u16) -> Self {
        Self { max_train: AtomicU16::new(max_train.max(1)), refusals: AtomicU16::new(0) }
    }

    /// Most datagrams of one train; 1 where there are no trains.
    pub(super) fn max_train(&self) -> u16 {
        self.max_train.load(Ordering::Relaxed)
    }

    fn went_well(&self) {
        self.refusals.store(0, Ordering::Relaxed);
    }

    fn refused(&self) {
        if self.refusals.fetch_add(1, Ordering::Relaxed) + 1 >= REFUSALS_BEFORE_FALLBACK {
            self.max_train.store(1, Ordering::Relaxed);
            tracing::info!("the network refuses trains of datagrams: this socket sends them one by one from now on");
        }
    }
}

/// Hands some of the trains to the system, in order: how many it took, at least one; or why it refused the first.
pub(super) type Transmit<'a> = &'a mut dyn FnMut(&SendArena, &[Train]) -> io::Result<usize>;

/// Sends and clears `arena`.
pub(super) fn flush(arena: &mut SendArena, health: &TrainHealth, transmit: Transmit<'_>) -> SendReport {
    arena.plan(health.max_train());
    let mut report = SendReport::default();
    let total = arena.len();
    let mut rest = arena.trains();
    while let Some(first) = rest.first() {
        match transmit(arena, rest) {
            Ok(0) => break,
            Ok(taken) => {
                let (done, left) = rest.split_at(taken.min(rest.len()));
                report.sent += done.iter().map(|train| usize::from(train.segments)).sum::<usize>();
                report.trains += done.len();
                if done.iter().any(|train| train.segments > 1) {
                    health.went_well();
                }
                rest = left;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if is_full(&error) => break,
            Err(_) => {
                if first.segments > 1 {
                    let sent = one_by_one(arena, first, transmit);
                    report.sent += sent;
                    report.trains += sent;
                    if sent > 0 {
                        health.refused();
                    }
                }
                rest = &rest[1..];
            }
        }
    }
    report.dropped = total - report.sent;
    arena.clear();
    report
}

/// Sends the datagrams of a refused train each for itself; how many went.
fn one_by_one(arena: &SendArena, train: &Train, transmit: Transmit<'_>) -> usize {
    arena
        .split(train)
        .filter(|single| transmit(arena, std::slice::from_ref(single)).is_ok_and(|taken| taken > 0))
        .count()
}

/// Whether there is no room for anything now, to whomever.
fn is_full(error: &io::Error) -> bool {
    #[cfg(unix)]
    let no_buffers = matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::ENOMEM));
    #[cfg(not(unix))]
    let no_buffers = error.kind() == io::ErrorKind::OutOfMemory;
    no_buffers || error.kind() == io::ErrorKind::WouldBlock
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn arena(destinations: u16, each: usize) -> SendArena {
        let mut arena = SendArena::default();
        for _ in 0..each {
            for port in 1..=destinations {
                arena.reserve(100).unwrap();
                arena.commit(100, SocketAddr::from(([192, 0, 2, 1], port)));
            }
        }
        arena
    }

    #[test]
    fn a_full_buffer_drops_the_rest_and_counts_it() {
        let mut room = 2;
        let mut arena = arena(5, 4);
        let report = flush(&mut arena, &TrainHealth::new(64), &mut |_, trains| {
            let taken = trains.len().min(room);
            room -= taken;
            if taken == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(taken) }
        });
        assert_eq!(report, SendReport { sent: 8, dropped: 12, trains: 2 });
        assert!(arena.is_empty());
    }

    #[test]
    fn one_unreachable_destination_costs_only_its_own_datagrams_and_no_trains() {
        let health = TrainHealth::new(64);
        for _ in 0..100 {
            let report = flush(&mut arena(3, 4), &health, &mut |_, trains| match trains[0].destination.port() {
                2 => Err(io::ErrorKind::NetworkUnreachable.into()),
                _ => Ok(1),
            });
            assert_eq!(report, SendReport { sent: 8, dropped: 4, trains: 2 });
        }
        assert_eq!(health.max_train(), 64);
    }

    #[test]
    fn refused_trains_go_one_by_one_and_in_the_end_are_not_tried_any_more() {
        let health = TrainHealth::new(64);
        let mut calls = 0;
        for _ in 0..REFUSALS_BEFORE_FALLBACK + 4 {
            let report = flush(&mut arena(1, 4), &health, &mut |_, trains| {
                calls += 1;
                if trains[0].segments > 1 { Err(io::Error::other("no segmentation here")) } else { Ok(trains.len()) }
            });
            assert_eq!(report, SendReport { sent: 4, dropped: 0, trains: 4 });
        }
        assert_eq!(health.max_train(), 1);
        assert_eq!(calls, 16 * 5 + 4);
    }

    #[test]
    fn one_peer_that_cannot_take_trains_does_not_take_them_from_the_others() {
        let health = TrainHealth::new(64);
        for _ in 0..100 {
            let report = flush(&mut arena(2, 4), &health, &mut |_, trains| {
                let odd = trains[0].destination.port() == 2 && trains[0].segments > 1;
                if odd { Err(io::Error::other("narrow route")) } else { Ok(1) }
            });
            assert_eq!(report, SendReport { sent: 8, dropped: 0, trains: 5 });
        }
        assert_eq!(health.max_train(), 64);
    }

    #[test]
    fn an_interrupted_call_is_made_again() {
        let mut interrupted = false;
        let report = flush(&mut arena(2, 1), &TrainHealth::new(64), &mut |_, trains| {
            if std::mem::replace(&mut interrupted, true) {
                Ok(trains.len())
            } else {
                Err(io::ErrorKind::Interrupted.into())
            }
        });
        assert_eq!(report, SendReport { sent: 2, dropped: 0, trains: 2 });
    }
}
