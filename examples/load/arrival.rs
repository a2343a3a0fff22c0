//! When a datagram reached its socket, from when the kernel says that it did. The kernel tells it by the system's clock, which may be set at any moment, and payloads
//! by the steady one; so both are looked at together when a datagram is read, and only the time that it lay in the socket is taken from the system's.

use std::time::{Duration, Instant, SystemTime};

/// Nothing lies in a socket for longer: the clock was set.
const LONGEST: Duration = Duration::from_secs(5);

/// Both clocks count as read together when that took no longer, and this often they are tried.
const TOGETHER: Duration = Duration::from_micros(20);
const TRIES: usize = 4;

/// When a batch of datagrams was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) at: Instant,
    system: SystemTime,
}

impl Reading {
    /// Now. A thread that is put aside between its two looks at the clock makes arrivals later than they were, never earlier.
    pub(crate) fn now() -> Self {
        let mut before = Instant::now();
        for _ in 1..TRIES {
            let reading = Self { system: SystemTime::now(), at: Instant::now() };
            if reading.at - before < TOGETHER {
                return reading;
            }
            before = reading.at;
        }
        Self { system: SystemTime::now(), at: Instant::now() }
    }

    /// When a datagram arrived that was sent then; when it was read, if the kernel does not say, or says what cannot be.
    pub(crate) fn arrival(&self, told: Option<SystemTime>, sent: Instant) -> Instant {
        let waited = told.and_then(|told| self.system.duration_since(told).ok()).filter(|waited| *waited < LONGEST);
        waited.and_then(|waited| self.at.checked_sub(waited)).filter(|arrived| *arrived >= sent).unwrap_or(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arrival_is_as_long_before_the_reading_as_the_datagram_lay_there_and_never_before_it_was_sent() {
        let reading = Reading::now();
        let before = |millis| Duration::from_millis(millis);
        let sent = reading.at - before(8);
        assert_eq!(reading.arrival(Some(reading.system - before(3)), sent), reading.at - before(3));
        // The clock was set forward, back, far forward; or there is none.
        for told in [reading.system - before(9), reading.system + before(1), reading.system - before(60_000)] {
            assert_eq!(reading.arrival(Some(told), sent), reading.at);
        }
        assert_eq!(reading.arrival(None, sent), reading.at);
    }
}
