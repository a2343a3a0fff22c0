//! Sender reports for the streams that slots send (RFC 3550, section 6.4.1), translated from those of the publisher.
//!
//! The publisher's own clock is kept, so that a receiver lines up voice and face of one participant as they were
//! captured; the RTP timestamp follows the slot's rewriting, and the counts are the slot's. The receiver reports that
//! answer them give the round trip to the subscriber.

use std::time::{Duration, Instant};

use crate::rewrite::{MediaClock, Rewriter};

/// A sender report that a publisher has sent.
#[derive(Debug, Clone, Copy)]
struct Received {
    ntp: u64,
    timestamp: u32,
    at: Instant,
}

/// How one incoming stream's timestamps map to its sender's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SourceClock {
    latest: Option<Received>,
}

impl SourceClock {
    /// A stream without a sender report so far.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes a sender report of the stream: its NTP time (32.32 seconds since 1900) and the RTP timestamp for it.
    pub fn on_sender_report(&mut self, now: Instant, ntp: u64, timestamp: u32) {
        self.latest = Some(Received { ntp, timestamp, at: now });
    }

    /// NTP time and RTP timestamp of this moment, as the sender would report them now. `None` before its first
    /// report.
    #[must_use]
    pub fn at(&self, now: Instant, clock: MediaClock) -> Option<(u64, u32)> {
        let latest = self.latest?;
        let elapsed = now.saturating_duration_since(latest.at);
        Some((latest.ntp.wrapping_add(ntp_duration(elapsed)), latest.timestamp.wrapping_add(clock.ticks(elapsed))))
    }
}

/// A duration in 2^-32 s.
fn ntp_duration(duration: Duration) -> u64 {
    (duration.as_secs() << 32) + (u64::from(duration.subsec_nanos()) << 32) / 1_000_000_000
}

/// The numbers of one sender report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotReport {
    /// NTP time on the publisher's clock.
    pub ntp: u64,
    /// The slot's RTP timestamp at that time.
    pub timestamp: u32,
    /// Packets sent in the slot.
    pub packets: u32,
    /// Payload bytes sent in the slot.
    pub octets: u32,
}

/// How many sent reports are remembered to measure round trips by. Reports are at least a second apart, answers come
/// within one or two.
const REMEMBERED_REPORTS: usize = 4;

/// Counts what one slot sends, and reports it.
#[derive(Debug, Clone, Default)]
pub struct SlotReporter {
    packets: u32,
    octets: u32,
    /// The middle 32 bits of the NTP times sent, and when they were sent.
    sent: [Option<(u32, Instant)>; REMEMBERED_REPORTS],
    next: usize,
}

impl SlotReporter {
    /// A slot that has sent nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a packet sent with this many bytes of payload. Counts wrap, as the RFC has it.
    pub fn on_packet(&mut self, payload_len: usize) {
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(payload_len as u32);
    }

    /// The report to send now; `source` is the clock of the stream that flows through `rewriter`. `None` while
    /// nothing has been sent, nothing flows, or the publisher has not reported. A report soon after each switch keeps
    /// lips in sync from the start.
    pub fn report(&mut self, now: Instant, source: &SourceClock, rewriter: &Rewriter) -> Option<SlotReport> {
        rewriter.source()?;
        if self.packets == 0 {
            return None;
        }
        let (ntp, timestamp) = source.at(now, rewriter.clock())?;
        if let Some(sent) = self.sent.get_mut(self.next) {
            *sent = Some(((ntp >> 16) as u32, now));
        }
        self.next = (self.next + 1) % REMEMBERED_REPORTS;
        Some(SlotReport {
            ntp,
            timestamp: timestamp.wrapping_add(rewriter.timestamp_offset()),
            packets: self.packets,
            octets: self.octets,
        })
    }

    /// The round trip to the subscriber, from a report block about this slot: LSR, and DLSR in 1/65536 s. `None` if
    /// the block answers no report of ours, or claims a delay longer than the time that has passed.
    #[must_use]
    pub fn round_trip(&self, now: Instant, last_sender_report: u32, delay: u32) -> Option<Duration> {
        let (_, at) = self.sent.iter().flatten().find(|(middle, _)| *middle == last_sender_report)?;
        let delay = Duration::from_nanos((u64::from(delay) * 1_000_000_000) >> 16);
        now.saturating_duration_since(*at).checked_sub(delay)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn flowing(now: Instant) -> Rewriter {
        let mut rewriter = Rewriter::new(MediaClock::OPUS, 0, 1_000_000);
        rewriter.switch(now, 1, 50, 48_000);
        rewriter
    }

    #[test]
    fn a_report_keeps_the_publishers_time_and_moves_its_timestamp_with_the_slot() {
        let now = Instant::now();
        let rewriter = flowing(now);
        let mut source = SourceClock::new();
        let mut reporter = SlotReporter::new();
        assert_eq!(reporter.report(now, &source, &rewriter), None);
        source.on_sender_report(now, 77 << 32, 96_000);
        assert_eq!(reporter.report(now, &source, &rewriter), None, "nothing has been sent");
        reporter.on_packet(160);
        reporter.on_packet(140);
        let expected = SlotReport { ntp: 77 << 32, timestamp: 1_048_000, packets: 2, octets: 300 };
        assert_eq!(reporter.report(now, &source, &rewriter), Some(expected));
    }

    #[test]
    fn a_report_sent_later_says_the_same_about_later() {
        let now = Instant::now();
        let rewriter = flowing(now);
        let mut source = SourceClock::new();
        source.on_sender_report(now, 77 << 32, 96_000);
        let mut reporter = SlotReporter::new();
        reporter.on_packet(1);
        let report = reporter.report(now + SECOND * 3 / 2, &source, &rewriter).unwrap();
        assert_eq!((report.ntp, report.timestamp), ((78 << 32) + (1 << 31), 1_048_000 + 72_000));
    }

    #[test]
    fn a_slot_that_nothing_flows_through_reports_nothing() {
        let now = Instant::now();
        let mut rewriter = flowing(now);
        let mut source = SourceClock::new();
        source.on_sender_report(now, 1 << 40, 0);
        let mut reporter = SlotReporter::new();
        reporter.on_packet(1);
        rewriter.stop();
        assert_eq!(reporter.report(now, &source, &rewriter), None);
    }

    #[test]
    fn the_answer_to_a_report_gives_the_round_trip() {
        let now = Instant::now();
        let rewriter = flowing(now);
        let mut source = SourceClock::new();
        source.on_sender_report(now, 0x0001_2345_6789_0000, 0);
        let mut reporter = SlotReporter::new();
        reporter.on_packet(1);
        reporter.report(now, &source, &rewriter).unwrap();
        let answered = now + SECOND;
        assert_eq!(reporter.round_trip(answered, 0x2345_6789, 0xC000), Some(SECOND / 4));
        assert_eq!(reporter.round_trip(answered, 0x2345_6788, 0xC000), None, "not ours");
        assert_eq!(reporter.round_trip(answered, 0x2345_6789, 0x2_0000), None, "an impossible delay");
    }
}
