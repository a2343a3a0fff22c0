//! What a publisher is told about its own streams: reception statistics for receiver reports (RFC 3550, section 6.4
//! and appendix A), transport-wide arrival times (draft-holmer-rmcat-transport-wide-cc-extensions-01), and a fixed
//! REMB for publishers without those.
//!
//! Everything here only collects and computes plain numbers; the transport's RTCP writer puts them on the wire. Gaps
//! are asked for in [`nack`](crate::nack).

use std::time::{Duration, Instant};

use crate::rewrite::MediaClock;

/// A jump ahead by this much is a new beginning, not loss (RFC 3550, appendix A.1: MAX_DROPOUT).
const MAX_DROPOUT: i16 = 3_000;

/// The numbers of one report block (RFC 3550, section 6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceptionReport {
    /// How many packets there were since the previous report, lost ones included.
    pub expected: u64,
    /// How many of these were lost.
    pub lost: u64,
    /// Lost since the previous report, in 1/256.
    pub fraction_lost: u8,
    /// Lost since the beginning, within 24 bits; negative where duplicates outnumber losses.
    pub cumulative_lost: i32,
    /// The highest sequence number received, with the count of its wraps in the upper half.
    pub extended_highest_sequence: u32,
    /// Interarrival jitter in ticks.
    pub jitter: u32,
    /// LSR: the middle 32 bits of the last sender report's NTP time, or 0.
    pub last_sender_report: u32,
    /// DLSR: the time since that report arrived, in 1/65536 s, or 0.
    pub delay_since_sender_report: u32,
}

/// Counts what arrives on one SSRC, media or RTX.
#[derive(Debug)]
pub struct ReceptionStatistics {
    clock: MediaClock,
    /// When the first packet came: the zero of arrival times.
    began: Option<Instant>,
    base: u64,
    highest: u64,
    received: u64,
    expected_before: u64,
    received_before: u64,
    transit: u32,
    /// Sixteen times the jitter, as in RFC 3550, appendix A.8.
    jitter: u32,
    sender_report: Option<(u32, Instant)>,
}

impl ReceptionStatistics {
    /// Statistics of a stream with this clock, before its first packet.
    #[must_use]
    pub fn new(clock: MediaClock) -> Self {
        Self {
            clock,
            began: None,
            base: 0,
            highest: 0,
            received: 0,
            expected_before: 0,
            received_before: 0,
            transit: 0,
            jitter: 0,
            sender_report: None,
        }
    }

    /// Counts a packet.
    pub fn on_packet(&mut self, now: Instant, sequence: u16, timestamp: u32) {
        let Some(began) = self.began else {
            self.began = Some(now);
            self.restart(u64::from(sequence));
            self.transit = 0_u32.wrapping_sub(timestamp);
            return;
        };
        let distance = sequence.wrapping_sub(self.highest as u16) as i16;
        if distance >= MAX_DROPOUT {
            self.restart(self.highest + distance as u64);
        } else {
            if distance > 0 {
                self.highest += distance as u64;
            }
            self.received += 1;
        }
        let arrival = self.clock.ticks(now.saturating_duration_since(began));
        let transit = arrival.wrapping_sub(timestamp);
        let difference = (transit.wrapping_sub(self.transit) as i32).unsigned_abs();
        self.transit = transit;
        self.jitter = self.jitter.wrapping_add(difference).wrapping_sub((self.jitter + 8) >> 4);
    }

    /// Notes the arrival of a sender report with this NTP time (32.32 seconds since 1900).
    pub fn on_sender_report(&mut self, now: Instant, ntp: u64) {
        self.sender_report = Some(((ntp >> 16) as u32, now));
    }

    /// Packets received.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The report block for now; the next one counts `fraction_lost` from here. `None` before the first packet.
    pub fn report(&mut self, now: Instant) -> Option<ReceptionReport> {
        self.began?;
        let expected = self.highest - self.base + 1;
        let lost = expected as i64 - self.received as i64;
        let expected_interval = expected - self.expected_before;
        let lost_interval = expected_interval as i64 - (self.received - self.received_before) as i64;
        self.expected_before = expected;
        self.received_before = self.received;
        let fraction_lost = if expected_interval == 0 || lost_interval <= 0 {
            0
        } else {
            (lost_interval * 256 / expected_interval as i64).min(255) as u8
        };
        let (last_sender_report, delay_since_sender_report) = self
            .sender_report
            .map_or((0, 0), |(middle, at)| (middle, sixteenth_bits(now.saturating_duration_since(at))));
        Some(ReceptionReport {
            expected: expected_interval,
            lost: u64::try_from(lost_interval).unwrap_or(0),
            fraction_lost,
            cumulative_lost: lost.clamp(-0x80_0000, 0x7F_FFFF) as i32,
            extended_highest_sequence: self.highest as u32,
            jitter: self.jitter >> 4,
            last_sender_report,
            delay_since_sender_report,
        })
    }

    fn restart(&mut self, number: u64) {
        self.base = number;
        self.highest = number;
        self.received = 1;
        self.expected_before = 0;
        self.received_before = 0;
    }
}

/// A duration in 1/65536 s, as RTCP has it.
fn sixteenth_bits(duration: Duration) -> u32 {
    let fraction = (u64::from(duration.subsec_nanos()) << 16) / 1_000_000_000;
    u32::try_from((duration.as_secs() << 16) + fraction).unwrap_or(u32::MAX)
}

/// Arrival times are told in steps of this many microseconds.
const TICK_MICROSECONDS: u128 = 250;
/// The reference time counts units of 64 ms.
const TICKS_PER_REFERENCE: u64 = 256;
/// Recent packets whose arrival is remembered, so that a late one is still told: a second of 5 Mb/s, in 4 KiB.
const ARRIVAL_WINDOW: usize = 512;
/// Packets told of in one feedback message: with two bytes each it stays below 1,000 bytes.
pub const MAX_STATUSES: usize = 400;
/// Feedback is sent this long after the first packet that it tells of: with the 20 ms between a voice's packets, each 100 ms …
pub const FEEDBACK_INTERVAL: Duration = Duration::from_millis(80);
/// … and this often while many do: the sender reacts sooner, for 1 % more upstream traffic.
pub const BUSY_FEEDBACK_INTERVAL: Duration = Duration::from_millis(50);
/// So many packets are many.
const BUSY_PACKETS: usize = 16;

/// One transport-wide feedback message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransportFeedback<'a> {
    /// The transport-wide sequence number of the first status.
    pub base_sequence: u16,
    /// The time that the first arrival is counted from, in 64 ms (24 bits).
    pub reference_time: u32,
    /// Counts messages, so that lost ones are noticed.
    pub feedback_count: u8,
    /// For each packet from `base_sequence` on: the time since the previous arrival in 250 µs, or `None` if it has
    /// not arrived.
    pub deltas: &'a [Option<i16>],
}

/// Collects arrivals of the packets of one connection by their transport-wide sequence numbers.
#[derive(Debug, Default)]
pub struct TransportFeedbackRecorder {
    began: Option<Instant>,
    /// Arrival in ticks, 0 for none. Allocated at the first packet, like `deltas`.
    arrivals: Box<[u64]>,
    deltas: Vec<Option<i16>>,
    /// The first packet of the next message, and the newest packet.
    next: u64,
    highest: u64,
    /// When the first packet that is not yet told of arrived, and how many there are.
    waiting_since: Option<Instant>,
    waiting: usize,
    feedback_count: u8,
}

impl TransportFeedbackRecorder {
    /// A recorder that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes an arrival. Duplicates and packets that are too late are ignored. O(1), but for jumps.
    pub fn on_packet(&mut self, now: Instant, sequence: u16) {
        let began = *self.began.get_or_insert(now);
        if self.arrivals.is_empty() {
            self.arrivals = vec![0; ARRIVAL_WINDOW].into_boxed_slice();
            self.deltas.reserve_exact(MAX_STATUSES);
            self.next = (1 << 32) + u64::from(sequence);
            self.highest = self.next - 1;
        }
        let distance = sequence.wrapping_sub(self.highest as u16) as i16;
        let number = self.highest.wrapping_add_signed(i64::from(distance));
        if number > self.highest {
            if number - self.highest >= ARRIVAL_WINDOW as u64 {
                self.arrivals.fill(0);
                self.next = number;
            } else {
                for skipped in self.highest + 1..number {
                    self.set_arrival(skipped, 0);
                }
            }
            self.highest = number;
            self.next = self.next.max((number + 1).saturating_sub(ARRIVAL_WINDOW as u64));
        } else if number + ARRIVAL_WINDOW as u64 <= self.highest || self.arrival(number) != 0 {
            return;
        }
        // A late packet is told of with the ones after it, again: the sender then knows that it was not lost.
        self.next = self.next.min(number);
        let ticks = now.saturating_duration_since(began).as_micros() / TICK_MICROSECONDS;
        self.set_arrival(number, ticks as u64 + TICKS_PER_REFERENCE);
        self.waiting_since.get_or_insert(now);
        self.waiting += 1;
    }

    /// When [`poll`](Self::poll) has a message.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let interval = if self.waiting >= BUSY_PACKETS { BUSY_FEEDBACK_INTERVAL } else { FEEDBACK_INTERVAL };
        Some(self.waiting_since? + interval)
    }

    /// The next message, if one is due; call it until there is none. Allocates nothing.
    pub fn poll(&mut self, now: Instant) -> Option<TransportFeedback<'_>> {
        if self.poll_timeout()? > now {
            return None;
        }
        let first_arrived = (self.next..=self.highest).find(|&number| self.arrival(number) != 0)?;
        if first_arrived - self.next >= MAX_STATUSES as u64 {
            self.next = first_arrived;
        }
        let base = self.next;
        let reference = self.arrival(first_arrived) / TICKS_PER_REFERENCE;
        let mut previous = reference * TICKS_PER_REFERENCE;
        self.deltas.clear();
        while self.next <= self.highest && self.deltas.len() < MAX_STATUSES {
            let arrival = self.arrival(self.next);
            let delta = if arrival == 0 {
                None
            } else {
                // A pause too long for a delta starts a message of its own, with a reference time of its own.
                let Ok(delta) = i16::try_from(arrival.wrapping_sub(previous) as i64) else { break };
                previous = arrival;
                Some(delta)
            };
            self.deltas.push(delta);
            self.next += 1;
        }
        if self.next > self.highest {
            self.waiting_since = None;
            self.waiting = 0;
        }
        let feedback_count = self.feedback_count;
        self.feedback_count = feedback_count.wrapping_add(1);
        Some(TransportFeedback {
            base_sequence: base as u16,
            reference_time: reference as u32 & 0x00FF_FFFF,
            feedback_count,
            deltas: &self.deltas,
        })
    }

    fn arrival(&self, number: u64) -> u64 {
        self.arrivals.get(number as usize & (ARRIVAL_WINDOW - 1)).copied().unwrap_or(0)
    }

    fn set_arrival(&mut self, number: u64, ticks: u64) {
        if let Some(arrival) = self.arrivals.get_mut(number as usize & (ARRIVAL_WINDOW - 1)) {
            *arrival = ticks;
        }
    }
}

/// How often REMB is repeated: it has no acknowledgement, and senders forget it after a few seconds.
const REMB_INTERVAL: Duration = Duration::from_secs(1);

/// What publishers that negotiated `goog-remb` but not `transport-cc` are told they may send.
///
/// This is a seam: a fixed, generous bitrate, so that such senders ramp up at all. An estimator that looks at
/// arrivals takes its place.
#[derive(Debug)]
pub struct RembEstimator {
    bitrate: u64,
    next: Option<Instant>,
}

impl RembEstimator {
    /// Enough for three simulcast layers up to 720p and a voice, in bits per second.
    pub const GENEROUS: u64 = 5_000_000;

    /// Always says `bitrate`, in bits per second.
    #[must_use]
    pub fn new(bitrate: u64) -> Self {
        Self { bitrate, next: None }
    }

    /// When the next message is due; `None`: at once.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// The bitrate to send now, in bits per second, if a message is due.
    pub fn poll(&mut self, now: Instant) -> Option<u64> {
        if self.next.is_some_and(|next| next > now) {
            return None;
        }
        self.next = Some(now + REMB_INTERVAL);
        Some(self.bitrate)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn loss_is_counted_per_report_and_in_all() {
        let now = Instant::now();
        let mut statistics = ReceptionStatistics::new(MediaClock::VIDEO);
        assert_eq!(statistics.report(now), None);
        for sequence in [65_533_u16, 65_534, 0, 1] {
            statistics.on_packet(now, sequence, 0);
        }
        let report = statistics.report(now).unwrap();
        assert_eq!((report.fraction_lost, report.cumulative_lost), (51, 1), "one of five");
        assert_eq!(report.extended_highest_sequence, 0x1_0001);
        for sequence in 2..10 {
            statistics.on_packet(now, sequence, 0);
        }
        let report = statistics.report(now).unwrap();
        assert_eq!((report.fraction_lost, report.cumulative_lost), (0, 1));
        statistics.on_packet(now, 65_535, 0);
        assert_eq!(statistics.report(now).unwrap().cumulative_lost, 0, "it came late");
    }

    #[test]
    fn duplicates_make_the_loss_negative_but_not_the_fraction() {
        let now = Instant::now();
        let mut statistics = ReceptionStatistics::new(MediaClock::OPUS);
        for sequence in [1, 2, 2, 2] {
            statistics.on_packet(now, sequence, 0);
        }
        let report = statistics.report(now).unwrap();
        assert_eq!((report.fraction_lost, report.cumulative_lost), (0, -2));
    }

    #[test]
    fn jitter_follows_appendix_a8() {
        let mut now = Instant::now();
        let mut statistics = ReceptionStatistics::new(MediaClock::OPUS);
        for packet in 0..200_u16 {
            statistics.on_packet(now, packet, u32::from(packet) * 960);
            // 20 ms apart, every other one 5 ms late.
            now += if packet % 2 == 0 { 25 * MS } else { 15 * MS };
        }
        let jitter = statistics.report(now).unwrap().jitter;
        assert!((230..=245).contains(&jitter), "{jitter} should near 240 ticks, 5 ms");
    }

    #[test]
    fn an_even_stream_has_no_jitter_though_its_timestamp_wraps() {
        let mut now = Instant::now();
        let mut statistics = ReceptionStatistics::new(MediaClock::OPUS);
        for packet in 0..50_u32 {
            statistics.on_packet(now, packet as u16, (packet * 960).wrapping_sub(10_000));
            now += 20 * MS;
        }
        assert_eq!(statistics.report(now).unwrap().jitter, 0);
    }

    #[test]
    fn the_last_sender_report_is_echoed_with_its_age() {
        let now = Instant::now();
        let mut statistics = ReceptionStatistics::new(MediaClock::VIDEO);
        statistics.on_packet(now, 1, 1);
        statistics.on_sender_report(now, 0x1122_3344_5566_7788);
        let report = statistics.report(now + 1_500 * MS).unwrap();
        assert_eq!((report.last_sender_report, report.delay_since_sender_report), (0x3344_5566, 0x0001_8000));
    }

    #[test]
    fn a_large_jump_is_a_new_beginning() {
        let now = Instant::now();
        let mut statistics = ReceptionStatistics::new(MediaClock::VIDEO);
        statistics.on_packet(now, 1, 1);
        statistics.report(now);
        statistics.on_packet(now, 20_000, 1);
        let report = statistics.report(now).unwrap();
        assert_eq!((report.fraction_lost, report.cumulative_lost, report.extended_highest_sequence), (0, 0, 20_000));
    }

    #[test]
    fn feedback_tells_arrivals_and_losses_after_the_interval() {
        let now = Instant::now();
        let mut recorder = TransportFeedbackRecorder::new();
        assert_eq!((recorder.poll_timeout(), recorder.poll(now)), (None, None));
        recorder.on_packet(now, 65_535);
        recorder.on_packet(now + 10 * MS, 1);
        assert_eq!(recorder.poll(now + 79 * MS), None);
        assert_eq!(recorder.poll_timeout(), Some(now + FEEDBACK_INTERVAL));
        let feedback = recorder.poll(now + FEEDBACK_INTERVAL).unwrap();
        assert_eq!(
            feedback,
            TransportFeedback {
                base_sequence: 65_535,
                reference_time: 1,
                feedback_count: 0,
                deltas: &[Some(0), None, Some(40)]
            }
        );
        assert_eq!(recorder.poll(now + 200 * MS), None);
        recorder.on_packet(now + 300 * MS, 3);
        let feedback = recorder.poll(now + 400 * MS).unwrap();
        assert_eq!((feedback.base_sequence, feedback.feedback_count), (2, 1));
        assert_eq!(feedback.deltas, [None, Some(1_200 - 4 * 256)]);
    }

    #[test]
    fn a_busy_publisher_gets_feedback_sooner() {
        let now = Instant::now();
        let mut recorder = TransportFeedbackRecorder::new();
        for sequence in 0..16 {
            recorder.on_packet(now, sequence);
        }
        assert_eq!(recorder.poll(now + BUSY_FEEDBACK_INTERVAL).unwrap().deltas.len(), 16);
    }

    #[test]
    fn a_packet_that_comes_late_is_still_told_and_a_duplicate_is_not() {
        let now = Instant::now();
        let mut recorder = TransportFeedbackRecorder::new();
        recorder.on_packet(now, 1);
        recorder.on_packet(now, 3);
        assert_eq!(recorder.poll(now + 100 * MS).unwrap().deltas, [Some(0), None, Some(0)]);
        recorder.on_packet(now + 101 * MS, 3);
        assert_eq!(recorder.poll_timeout(), None, "a duplicate is no news");
        recorder.on_packet(now + 102 * MS, 2);
        recorder.on_packet(now + 103 * MS, 4);
        let feedback = recorder.poll(now + 300 * MS).unwrap();
        assert_eq!(feedback.base_sequence, 2);
        assert_eq!(feedback.deltas, [Some(408 - 256), Some(-408), Some(412)]);
    }

    #[test]
    fn a_pause_longer_than_a_delta_splits_the_message() {
        let now = Instant::now();
        let mut recorder = TransportFeedbackRecorder::new();
        recorder.on_packet(now, 1);
        recorder.on_packet(now + 20_000 * MS, 2);
        let later = now + 20_100 * MS;
        assert_eq!(recorder.poll(later).unwrap().deltas, [Some(0)]);
        let second = recorder.poll(later).unwrap();
        assert_eq!((second.base_sequence, second.deltas.len()), (2, 1));
        assert_eq!(second.reference_time, 1 + 20_000 / 64);
        assert_eq!(recorder.poll(later), None);
    }

    #[test]
    fn many_packets_are_split_over_messages() {
        let now = Instant::now();
        let mut recorder = TransportFeedbackRecorder::new();
        for sequence in 65_300..65_800_u32 {
            recorder.on_packet(now, sequence as u16);
        }
        assert_eq!(recorder.poll(now + 100 * MS).unwrap().deltas.len(), MAX_STATUSES);
        assert_eq!(recorder.poll(now + 100 * MS).unwrap().deltas.len(), 100);
        assert_eq!(recorder.poll(now + 100 * MS), None);
    }

    #[test]
    fn a_jump_beyond_the_window_starts_anew() {
        let now = Instant::now();
        let mut recorder = TransportFeedbackRecorder::new();
        recorder.on_packet(now, 1);
        recorder.on_packet(now, 10_000);
        recorder.on_packet(now, 2);
        let feedback = recorder.poll(now + 100 * MS).unwrap();
        assert_eq!((feedback.base_sequence, feedback.deltas), (10_000, [Some(0)].as_slice()));
        assert_eq!(recorder.poll(now + 100 * MS), None);
    }

    #[test]
    fn every_arrival_is_told_once_or_more_with_its_time() {
        let mut state = 99_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let start = Instant::now();
        let mut now = start;
        let mut recorder = TransportFeedbackRecorder::new();
        let mut arrived = std::collections::BTreeMap::new();
        let mut told = std::collections::BTreeMap::new();
        for number in 65_000_u64..70_000 {
            now += MS * random(12) as u32;
            if random(10) > 0 {
                let number = number - random(4);
                if !arrived.contains_key(&number) && number >= 65_000 {
                    arrived.insert(number, now);
                }
                recorder.on_packet(now, number as u16);
            }
            while let Some(feedback) = recorder.poll(now) {
                let mut ticks = u64::from(feedback.reference_time) * TICKS_PER_REFERENCE;
                for (place, delta) in feedback.deltas.iter().enumerate() {
                    let sequence = feedback.base_sequence.wrapping_add(place as u16);
                    let number = number.wrapping_add_signed(i64::from(sequence.wrapping_sub(number as u16) as i16));
                    if let Some(delta) = delta {
                        ticks = ticks.wrapping_add_signed(i64::from(*delta));
                        told.insert(number, ticks);
                    }
                }
            }
        }
        let first = *arrived.values().next().unwrap();
        for (number, at) in &arrived {
            if let Some(ticks) = told.get(number) {
                let expected = (*at - first.min(*at)).as_millis() as u64 * 4 + TICKS_PER_REFERENCE;
                assert!(ticks.abs_diff(expected) <= 60, "{number}: {ticks} instead of {expected}");
            }
        }
        assert!(told.len() + 30 > arrived.len(), "{} of {}", told.len(), arrived.len());
    }

    #[test]
    fn a_publisher_without_transport_feedback_hears_a_bitrate_every_second() {
        let now = Instant::now();
        let mut remb = RembEstimator::new(RembEstimator::GENEROUS);
        assert_eq!(remb.poll(now), Some(5_000_000));
        assert_eq!(remb.poll(now + 999 * MS), None);
        assert_eq!(remb.poll(now + 1_000 * MS), Some(5_000_000));
    }
}
