//! What receivers count: packets and gaps of each stream, and of the sampled packets their age and whether they held what was sent.

use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use crate::arrival::Reading;
use crate::stamp::Stamp;

/// One SSRC's sequence numbers since the measuring began.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) ssrc: u32,
    /// The highest extended sequence number. `None` before the first packet.
    highest: Option<u64>,
    /// The first number that is measured.
    base: u64,
    received: u64,
}

impl Stream {
    pub(crate) fn new(ssrc: u32) -> Self {
        Self { ssrc, highest: None, base: 0, received: 0 }
    }

    /// Takes the sequence number of a packet.
    pub(crate) fn take(&mut self, sequence: u16) {
        let Some(highest) = self.highest else {
            // One round up, so that what was overtaken before the first does not fall below zero.
            let first = u64::from(sequence) + (1 << 16);
            (self.highest, self.base, self.received) = (Some(first), first, 1);
            return;
        };
        let ahead = sequence.wrapping_sub(highest as u16) as i16;
        let number = highest.saturating_add_signed(i64::from(ahead));
        if number >= self.base {
            self.received += 1;
        }
        self.highest = Some(highest.max(number));
    }

    /// Begins anew with the next packet.
    pub(crate) fn mark(&mut self) {
        self.base = self.highest.map_or(0, |highest| highest + 1);
        self.received = 0;
    }

    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Numbers that never came, as far as later ones show it.
    pub(crate) fn missing(&self) -> u64 {
        self.highest.map_or(0, |highest| (highest + 1 - self.base).saturating_sub(self.received))
    }
}

/// How old packets were: when they reached the receiver's socket, and when it read them there, its own queue among it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Ages {
    pub(crate) arrived: Vec<Duration>,
    pub(crate) read: Vec<Duration>,
}

impl Ages {
    /// Takes what was read then and of which the kernel told this arrival.
    pub(crate) fn take(&mut self, stamp: Stamp, origin: Instant, reading: &Reading, told: Option<SystemTime>) {
        let sent = origin + stamp.sent;
        self.arrived.push(reading.arrival(told, sent).saturating_duration_since(sent));
        self.read.push(reading.at.saturating_duration_since(sent));
    }

    fn add(&mut self, other: Self) {
        self.arrived.extend(other.arrived);
        self.read.extend(other.read);
    }
}

/// What many receivers have counted together.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally {
    pub(crate) receivers: usize,
    pub(crate) connected: usize,
    /// Clients that have become connected meanwhile.
    pub(crate) came_up: u64,
    pub(crate) received: u64,
    pub(crate) missing: u64,
    /// Sampled packets that were decrypted.
    pub(crate) opened: u64,
    /// Sampled packets that could not be, or that did not hold what was sent.
    pub(crate) wrong: u64,
    pub(crate) failed: Vec<String>,
    pub(crate) ages: Ages,
    /// Of datagrams that went straight from socket to socket.
    pub(crate) straight: Ages,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.receivers += other.receivers;
        self.connected += other.connected;
        self.came_up += other.came_up;
        self.received += other.received;
        self.missing += other.missing;
        self.opened += other.opened;
        self.wrong += other.wrong;
        self.failed.extend(other.failed);
        self.ages.add(other.ages);
        self.straight.add(other.straight);
    }
}

/// Some percentiles in microseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    p99: f64,
    p999: f64,
}

impl Percentiles {
    pub(crate) fn of(times: &[Duration]) -> Self {
        let mut times = times.to_vec();
        times.sort_unstable();
        let at = |share: f64| {
            let index = (times.len().saturating_sub(1) as f64 * share) as usize;
            times.get(index).map_or(0.0, |time| (time.as_secs_f64() * 1e7).round() / 10.0)
        };
        Self { p50: at(0.5), p99: at(0.99), p999: at(0.999) }
    }

    /// These above the median of others, never below zero. Only the median is taken off, so that a rare hiccup of the others hides none
    /// of these.
    pub(crate) fn above_median(self, other: Self) -> Self {
        let above = |one: f64| ((one - other.p50).max(0.0) * 10.0).round() / 10.0;
        Self { p50: above(self.p50), p99: above(self.p99), p999: above(self.p999) }
    }

    pub(crate) fn json(self) -> Value {
        json!({ "p50": self.p50, "p99": self.p99, "p999": self.p999 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_count_and_what_was_overtaken_does_not() {
        let mut stream = Stream::new(1);
        for sequence in [65_533_u16, 65_534, 0, 65_535, 1, 4] {
            stream.take(sequence);
        }
        assert_eq!((stream.received(), stream.missing()), (6, 2));
        stream.mark();
        assert_eq!((stream.received(), stream.missing()), (0, 0));
        // Of before the mark: counted then as missing, and not now.
        stream.take(3);
        stream.take(5);
        assert_eq!((stream.received(), stream.missing()), (1, 0));
    }
}
