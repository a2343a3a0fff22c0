//! A socket with what waits to be sent through it. Everything goes when there is nothing more to take in; only voices may be told to wait a moment for other voices, so
//! that those of a room leave for each listener as one train. What does not fit any more is flushed first, so that a burst never waits for memory.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ringback_transport::sdp::MediaKind;
use ringback_transport::socket::{SendArena, UdpSocket};

use super::{Trains, WorkerStatistics};

/// Voices wait for others no longer than this, whatever is asked for: a quarter of the time between two packets of one voice, and less than any receiver's jitter buffer holds.
pub(super) const MOST_VOICE_WAIT: Duration = Duration::from_millis(5);

/// Datagrams of an arena in which voices wait: three voices to a thousand listeners.
const VOICES_WAITING: usize = 4_096;
/// … and their bytes.
const VOICE_BYTES: usize = 512 * 1_400;

/// A socket with what waits to be sent through it.
pub(super) struct Endpoint {
    pub(super) socket: UdpSocket,
    arena: SendArena,
    holds: Holds,
}

/// What lies in an arena, and may wait for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// Nothing that anything should wait with.
    Anything,
    /// A voice.
    Voice,
    /// A voice that has waited since then.
    VoiceSince(Instant),
    /// A picture: it goes as soon as there is nothing more to take in.
    Picture,
}

impl Endpoint {
    pub(super) fn new(socket: UdpSocket, trains: Trains) -> Self {
        let arena = match trains.voice_wait.is_zero() {
            true => SendArena::default(),
            false => SendArena::with_capacity(VOICE_BYTES, VOICES_WAITING),
        };
        Self { socket, arena, holds: Holds::Anything }
    }

    /// Sends what waits.
    pub(super) fn flush(&mut self, statistics: &mut WorkerStatistics) {
        let holds = std::mem::replace(&mut self.holds, Holds::Anything);
        if self.arena.is_empty() {
            return;
        }
        if matches!(holds, Holds::VoiceSince(_)) {
            self.arena.longest_first();
        }
        let report = self.socket.send(&mut self.arena);
        statistics.datagrams_sent += report.sent as u64;
        statistics.datagrams_dropped += report.dropped as u64;
        statistics.trains_sent += report.trains as u64;
    }

    /// Sends what waits, unless voices wait for others and may do so longer.
    pub(super) fn flush_what_is_due(&mut self, now: Instant, wait: Duration, statistics: &mut WorkerStatistics) {
        match self.holds {
            Holds::Voice if !wait.is_zero() => self.holds = Holds::VoiceSince(now),
            Holds::VoiceSince(since) if now < since + wait => {}
            _ => self.flush(statistics),
        }
    }

    /// Notes what was queued.
    #[inline]
    pub(super) fn queued(&mut self, kind: MediaKind) {
        self.holds = match (kind, self.holds) {
            (MediaKind::Video, _) => Holds::Picture,
            (MediaKind::Audio, Holds::Anything) => Holds::Voice,
            (_, holds) => holds,
        };
    }

    /// Space for one datagram. `None` only if it is larger than the arena.
    pub(super) fn reserve(&mut self, len: usize, statistics: &mut WorkerStatistics) -> Option<&mut [u8]> {
        if self.arena.reserve(len).is_none() {
            self.flush(statistics);
        }
        self.arena.reserve(len)
    }

    /// Queues the first `len` bytes of the space.
    pub(super) fn commit(&mut self, len: usize, to: SocketAddr) {
        self.arena.commit(len, to);
    }

    /// The length that joins the train that waits for this destination, if one does. `None` where nothing travels in trains.
    #[inline]
    pub(super) fn waiting_train(&mut self, to: SocketAddr) -> Option<Option<usize>> {
        self.socket.sends_trains().then(|| self.arena.waiting_train(to))
    }

    /// Since when a voice has waited for others, if one does.
    pub(super) fn held_since(&self) -> Option<Instant> {
        match self.holds {
            Holds::VoiceSince(since) => Some(since),
            _ => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const WAIT: Duration = Duration::from_millis(5);

    /// Queues a packet of each kind, then looks whether it goes `after` so long.
    fn goes(kinds: &[Option<MediaKind>], after: &[Duration], wait: Duration) -> Vec<bool> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let to = socket.local_addr();
        let mut endpoint = Endpoint::new(socket, Trains { voice_wait: wait, ..Trains::default() });
        let mut statistics = WorkerStatistics::default();
        for kind in kinds {
            endpoint.reserve(100, &mut statistics).unwrap();
            endpoint.commit(100, to);
            if let Some(kind) = kind {
                endpoint.queued(*kind);
            }
        }
        let start = Instant::now();
        let looks = after.iter().map(|after| {
            endpoint.flush_what_is_due(start + *after, wait, &mut statistics);
            statistics.datagrams_sent == kinds.len() as u64
        });
        looks.collect()
    }

    #[tokio::test]
    async fn a_voice_waits_for_others_and_a_picture_takes_it_along() {
        use MediaKind::{Audio, Video};
        let times = [Duration::ZERO, WAIT - Duration::from_millis(1), WAIT];
        assert_eq!(goes(&[Some(Audio)], &times, WAIT), [false, false, true]);
        assert_eq!(goes(&[Some(Audio), None], &times, WAIT), [false, false, true]);
        assert_eq!(goes(&[Some(Audio), Some(Video)], &times, WAIT), [true; 3]);
        assert_eq!(goes(&[Some(Video), Some(Audio)], &times, WAIT), [true; 3]);
        assert_eq!(goes(&[None], &times, WAIT), [true; 3]);
        assert_eq!(goes(&[Some(Audio)], &times, Duration::ZERO), [true; 3]);
    }
}
