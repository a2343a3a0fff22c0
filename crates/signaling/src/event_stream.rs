//! What one device has been told, numbered, and the last of it kept, so that a device whose socket broke off can go on where it stopped: each event once, in
//! order. Answers to requests are not part of it; who asked and lost the answer asks again. No clock and no socket: how long a stream outlives its socket is the hub's business.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::protocol::Resume;

/// The most bytes of events kept for one device. A minute of a lively room of twenty takes a tenth; who misses more gets the picture as it is instead.
const MAX_BYTES: usize = 256 * 1024;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct EventStream {
    id: String,
    /// The number of the last event.
    last: u64,
    /// The last events, without their numbers: the last of them has the number `last`.
    recent: VecDeque<Arc<str>>,
    bytes: usize,
    max_events: usize,
}

impl EventStream {
    /// A stream that nothing has been told in, under an unguessable name.
    pub(crate) fn new(id: String, max_events: usize) -> Self {
        Self { id, last: 0, recent: VecDeque::new(), bytes: 0, max_events }
    }

    /// Its name.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Takes an event in, and returns its number, which counts up by one from 1.
    pub(crate) fn push(&mut self, body: Arc<str>) -> u64 {
        self.last += 1;
        self.bytes += body.len();
        self.recent.push_back(body);
        while self.recent.len() > self.max_events || self.bytes > MAX_BYTES {
            let Some(oldest) = self.recent.pop_front() else { break };
            self.bytes -= oldest.len();
        }
        self.last
    }

    /// The events after the last one that the device has seen; `None` where it speaks of another stream, or of events that are no longer, or not yet, there.
    pub(crate) fn after(&self, resume: &Resume) -> Option<impl Iterator<Item = (u64, Arc<str>)> + '_> {
        if resume.stream != self.id {
            return None;
        }
        let missed = usize::try_from(self.last.checked_sub(resume.seq)?).ok().filter(|n| *n <= self.recent.len())?;
        let first = self.recent.len() - missed;
        Some((resume.seq + 1..).zip(self.recent.iter().skip(first).cloned()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn stream(events: u64) -> EventStream {
        let mut stream = EventStream::new("s".into(), 4);
        (1..=events).for_each(|n| assert_eq!(stream.push(n.to_string().into()), n));
        stream
    }

    fn after(stream: &EventStream, id: &str, seq: u64) -> Option<Vec<(u64, String)>> {
        let resume = Resume { stream: id.into(), seq };
        Some(stream.after(&resume)?.map(|(seq, body)| (seq, body.to_string())).collect())
    }

    #[test]
    fn a_device_goes_on_where_it_stopped_or_learns_that_it_cannot() {
        let stream = stream(6);
        let numbered = |numbers: std::ops::RangeInclusive<u64>| Some(numbers.map(|n| (n, n.to_string())).collect());
        assert_eq!(after(&stream, "s", 4), numbered(5..=6));
        assert_eq!(after(&stream, "s", 6), Some(Vec::new()));
        assert_eq!(after(&stream, "s", 2), numbered(3..=6), "four are kept");
        assert_eq!(after(&stream, "s", 1), None, "the second is gone");
        assert_eq!(after(&stream, "s", 7), None, "from the future");
        assert_eq!(after(&stream, "t", 4), None, "another stream");
    }

    #[test]
    fn large_events_are_kept_by_their_bytes() {
        let mut stream = EventStream::new("s".into(), 1_000);
        let large: Arc<str> = "x".repeat(MAX_BYTES / 2).into();
        for _ in 0..5 {
            stream.push(large.clone());
        }
        assert_eq!(stream.recent.len(), 2);
        assert_eq!(stream.bytes, MAX_BYTES);
    }
}
