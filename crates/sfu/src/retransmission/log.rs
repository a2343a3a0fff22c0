//! How a slot numbered what it sent lately, and how much of that a subscriber may have again by NACK (RFC 4585, section 6.2.1). The payloads are in the [store](super::PacketStore);
//! nothing is sent here.

use std::time::{Duration, Instant};

use crate::counters::Counters;

/// How a slot sent one packet: everything that makes the same packet again from the stored payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SentPacket {
    /// The outgoing sequence number.
    pub sequence: u16,
    /// The outgoing timestamp.
    pub timestamp: u32,
    /// The incoming SSRC, that is, which [`super::PacketStore`] has the payload.
    pub source: u32,
    /// The incoming sequence number.
    pub source_sequence: u16,
    /// The payload type it was sent under.
    pub payload_type: u8,
    /// The marker bit it was sent with: of a picture whose larger sizes are left out, another packet is the last.
    pub marker: bool,
    /// The codec's own counters as they were sent.
    pub counters: Counters,
    /// The abs-send-time (24 bits) and transport-wide sequence number it was sent with, where negotiated: a packet
    /// that is sent again without RTX must be the same byte for byte.
    pub abs_send_time: u32,
    /// See `abs_send_time`.
    pub transport_sequence: u16,
    /// The payload's length in bytes.
    pub len: u16,
}

#[derive(Debug, Clone, Copy)]
struct SentRecord {
    packet: SentPacket,
    /// When it was last sent again, in milliseconds since the log began, and how often.
    last_resent: u32,
    resent: u8,
    used: bool,
}

/// A packet is sent again at most this often; by then the receiver has asked for a keyframe.
pub const MAX_RESENDS: u8 = 5;
/// A packet is sent again at most once per round trip, and never faster than this: two NACKs for it may cross the
/// first answer.
const MIN_RESEND_INTERVAL: Duration = Duration::from_millis(10);
/// Of what a slot sends, this fraction (one half) accrues for retransmissions: enough for 30 % loss with lost
/// retransmissions, and a bound for hostile NACKs.
const RESEND_SHARE: u32 = 2;
/// What may accrue at most, in bytes: a lost keyframe of 720p.
const MAX_RESEND_CREDIT: u32 = 96 * 1024;
/// Overhead counted with each packet, in bytes: IP, UDP, RTP, SRTP tag.
const PACKET_OVERHEAD: u32 = 66;

/// Why a NACK is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No such packet was sent, or it is forgotten: it was a gap upstream, or the request comes too late.
    Unknown,
    /// It was sent again less than a round trip ago.
    TooSoon,
    /// It was sent again [`MAX_RESENDS`] times.
    TooOften,
    /// The slot has sent too many retransmissions for what it sends.
    OverBudget,
}

/// What one slot has sent lately. Nothing is allocated before the first packet.
#[derive(Debug)]
pub struct SentLog {
    capacity: usize,
    records: Box<[SentRecord]>,
    newest: u16,
    began: Option<Instant>,
    credit: u32,
}

impl SentLog {
    /// Enough for two seconds of 2.5 Mb/s video, in 20 KiB.
    pub const VIDEO_CAPACITY: usize = 512;
    /// Enough for a second of voice in 20 ms packets.
    pub const AUDIO_CAPACITY: usize = 64;

    /// A log of the last `capacity` packets, rounded up to a power of two.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.clamp(1, 1 << 14).next_power_of_two(),
            records: Box::default(),
            newest: 0,
            began: None,
            credit: MAX_RESEND_CREDIT,
        }
    }

    /// Notes a packet that is being sent for the first time. O(1).
    pub fn record(&mut self, now: Instant, packet: SentPacket) {
        if self.records.is_empty() {
            let unused = SentRecord { packet: SentPacket::default(), last_resent: 0, resent: 0, used: false };
            self.records = vec![unused; self.capacity].into_boxed_slice();
            self.began = Some(now);
            self.newest = packet.sequence;
        }
        if packet.sequence.wrapping_sub(self.newest) as i16 > 0 {
            self.newest = packet.sequence;
        }
        self.credit = (self.credit + (u32::from(packet.len) + PACKET_OVERHEAD) / RESEND_SHARE).min(MAX_RESEND_CREDIT);
        let mask = self.records.len() - 1;
        if let Some(record) = self.records.get_mut(usize::from(packet.sequence) & mask) {
            *record = SentRecord { packet, last_resent: 0, resent: 0, used: true };
        }
    }

    /// The packet that was sent last for the first time, in order of numbers. O(1).
    #[must_use]
    pub fn last(&self) -> Option<SentPacket> {
        let mask = self.records.len().checked_sub(1)?;
        let record = self.records.get(usize::from(self.newest) & mask)?;
        record.used.then_some(record.packet)
    }

    /// Looks up a packet that a NACK asks for, and counts it as sent again. `round_trip` is the subscriber's. O(1).
    ///
    /// # Errors
    /// A [`Refusal`] if it is not to be sent again.
    pub fn resend(&mut self, now: Instant, round_trip: Duration, sequence: u16) -> Result<SentPacket, Refusal> {
        let mask = self.records.len().checked_sub(1).ok_or(Refusal::Unknown)?;
        let age = self.newest.wrapping_sub(sequence);
        let record = self.records.get_mut(usize::from(sequence) & mask).ok_or(Refusal::Unknown)?;
        if !record.used || record.packet.sequence != sequence || usize::from(age) > mask {
            return Err(Refusal::Unknown);
        }
        let elapsed = self.began.map_or(Duration::ZERO, |began| now.saturating_duration_since(began));
        let clock = elapsed.as_millis() as u32;
        let interval = round_trip.max(MIN_RESEND_INTERVAL).as_millis() as u32;
        if record.resent > 0 && clock.wrapping_sub(record.last_resent) < interval {
            return Err(Refusal::TooSoon);
        }
        if record.resent >= MAX_RESENDS {
            return Err(Refusal::TooOften);
        }
        let cost = u32::from(record.packet.len) + PACKET_OVERHEAD;
        self.credit = self.credit.checked_sub(cost).ok_or(Refusal::OverBudget)?;
        record.resent += 1;
        record.last_resent = clock;
        Ok(record.packet)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(50);

    fn sent(sequence: u16, len: u16) -> SentPacket {
        SentPacket { sequence, source: 9, source_sequence: sequence.wrapping_add(7), len, ..SentPacket::default() }
    }

    #[test]
    fn a_nack_finds_how_the_packet_was_sent() {
        let now = Instant::now();
        let mut log = SentLog::new(SentLog::VIDEO_CAPACITY);
        assert_eq!(log.resend(now, RTT, 5), Err(Refusal::Unknown));
        log.record(now, sent(5, 1_000));
        assert_eq!(log.resend(now, RTT, 5), Ok(sent(5, 1_000)));
        assert_eq!(log.resend(now, RTT, 6), Err(Refusal::Unknown));
    }

    #[test]
    fn a_packet_is_sent_again_at_most_once_per_round_trip_and_a_few_times_in_all() {
        let mut now = Instant::now();
        let mut log = SentLog::new(SentLog::VIDEO_CAPACITY);
        log.record(now, sent(5, 100));
        for _ in 0..MAX_RESENDS {
            assert!(log.resend(now, RTT, 5).is_ok());
            assert_eq!(log.resend(now + RTT / 2, RTT, 5), Err(Refusal::TooSoon));
            now += RTT;
        }
        assert_eq!(log.resend(now, RTT, 5), Err(Refusal::TooOften));
    }

    #[test]
    fn a_flood_of_nacks_gets_no_more_than_half_of_what_is_sent() {
        let now = Instant::now();
        let mut log = SentLog::new(SentLog::VIDEO_CAPACITY);
        let (mut sent_bytes, mut resent_bytes) = (0_u32, 0_u32);
        for sequence in 0..20_000_u16 {
            log.record(now, sent(sequence, 1_000));
            sent_bytes += 1_066;
            for back in 0..3 {
                if log.resend(now, RTT, sequence.wrapping_sub(back)).is_ok() {
                    resent_bytes += 1_066;
                }
            }
        }
        assert!(resent_bytes <= sent_bytes / 2 + MAX_RESEND_CREDIT, "{resent_bytes} of {sent_bytes}");
        assert!(resent_bytes >= sent_bytes / 3, "honest loss is served");
    }

    #[test]
    fn a_record_of_an_earlier_round_of_sequence_numbers_is_not_taken_for_this_one() {
        let now = Instant::now();
        let mut log = SentLog::new(SentLog::AUDIO_CAPACITY);
        log.record(now, sent(40_000, 10));
        for sequence in (40_001..65_535_u16).chain(0..39_990) {
            if sequence & 63 != 40_000 & 63 {
                log.record(now, sent(sequence, 10));
            }
        }
        assert_eq!(log.resend(now, RTT, 40_000), Err(Refusal::Unknown));
    }
}
