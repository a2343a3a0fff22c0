//! Answering NACKs (RFC 4585) without keeping a packet twice: payloads are stored once per publisher stream, and each
//! slot keeps a small record of how it numbered what it sent.
//!
//! [`PacketStore`] holds the plain payloads of one incoming SSRC; [`SentLog`] maps a slot's outgoing sequence numbers
//! back to them and limits what a subscriber can ask for; [`RtxSequencer`] and [`restore_rtx`] wrap and unwrap the
//! RTX payload format (RFC 4588). Nothing is sealed or sent here, and nothing is asked for: that is
//! [`nack`](crate::nack).

use ringback_transport::prefetch::prefetch_at;
use std::time::{Duration, Instant};

use crate::counters::Counters;

/// How long a payload should stay available. A second covers two or three round trips on bad mobile networks; a
/// receiver that has waited longer asks for a keyframe anyway.
pub const STORE_WINDOW: Duration = Duration::from_secs(1);
/// Where a store begins: two seconds of 64 kb/s voice, so that a microphone never costs more.
const FIRST_BYTES: usize = 16 * 1024;
/// What a store grows to at most: a second of 8 Mb/s. Beyond that rate its history shortens instead.
pub const MAX_STORE_BYTES: usize = 1024 * 1024;
const FIRST_RECORDS: usize = 64;
/// Packets in a store at most: a second of 8 Mb/s video in the smaller packets of several simulcast layers or slices.
const MAX_RECORDS: usize = 2048;

/// A payload that is still there, as it came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredPacket<'a> {
    /// The incoming timestamp.
    pub timestamp: u32,
    /// The marker bit.
    pub marker: bool,
    /// AV1's dependency descriptor extension; empty without one.
    pub dependency: &'a [u8],
    /// The plain payload, without padding.
    pub payload: &'a [u8],
}

#[derive(Debug, Clone, Copy, Default)]
struct StoredRecord {
    /// The unwrapped incoming sequence number; 0 for none.
    number: u64,
    /// Where the payload begins, counted over all bytes ever written.
    position: u64,
    timestamp: u32,
    /// Of the payload, in front of which the dependency descriptor lies.
    len: u16,
    dependency_len: u8,
    marker: bool,
}

/// The recent payloads of one incoming SSRC, shared by every slot that it flows through.
///
/// A ring of bytes and a ring of records, both powers of two. Nothing is allocated before the first packet; each ring
/// doubles when it is run through faster than [`STORE_WINDOW`], up to its bound, so that memory follows the bitrate:
/// 16 KiB for a voice, 512 KiB for 2.5 Mb/s of video.
#[derive(Debug, Default)]
pub struct PacketStore {
    bytes: Box<[u8]>,
    records: Box<[StoredRecord]>,
    highest: u64,
    /// Bytes ever written, including those left free before a wrap.
    written: u64,
    /// When the present lap through the bytes began, and at which packet and when that through the records began.
    byte_lap: Option<Instant>,
    record_lap: Option<(u64, Instant)>,
}

impl PacketStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes of memory that the store holds.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.bytes.len() + self.records.len() * size_of::<StoredRecord>()
    }

    /// Gives the memory back, for a stream that has stopped.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Keeps a payload. One that is empty, larger than 64 KiB or older than the ring is not kept. O(length), but for
    /// the few times a ring grows.
    pub fn insert(&mut self, now: Instant, sequence: u16, timestamp: u32, marker: bool, payload: &[u8]) {
        self.insert_described(now, sequence, timestamp, marker, &[], payload);
    }

    /// As [`insert`](Self::insert), with AV1's dependency descriptor extension, of at most 255 bytes.
    pub fn insert_described(
        &mut self,
        now: Instant,
        sequence: u16,
        timestamp: u32,
        marker: bool,
        dependency: &[u8],
        payload: &[u8],
    ) {
        let (Ok(len), Ok(dependency_len)) = (u16::try_from(payload.len()), u8::try_from(dependency.len())) else {
            return;
        };
        if len == 0 {
            return;
        }
        let whole = dependency.len() + payload.len();
        if self.records.is_empty() {
            self.records = vec![StoredRecord::default(); FIRST_RECORDS].into_boxed_slice();
            self.bytes = vec![0; FIRST_BYTES.max(whole.next_power_of_two())].into_boxed_slice();
            self.highest = (1 << 32) + u64::from(sequence);
            self.record_lap = Some((self.highest, now));
            self.byte_lap = Some(now);
        }
        let number = self.unwrap(sequence);
        if number > self.highest {
            self.highest = number;
            self.grow_records(now);
        } else if number + self.records.len() as u64 <= self.highest {
            return;
        }
        let Some(position) = self.reserve(now, whole) else { return };
        let start = self.byte_index(position);
        if let Some(room) = self.bytes.get_mut(start..start + whole) {
            let (front, rest) = room.split_at_mut(dependency.len());
            front.copy_from_slice(dependency);
            rest.copy_from_slice(payload);
        }
        let mask = self.records.len() - 1;
        if let Some(record) = self.records.get_mut(number as usize & mask) {
            *record = StoredRecord { number, position, timestamp, len, dependency_len, marker };
        }
    }

    /// Finds a payload by its incoming sequence number. O(1).
    #[must_use]
    pub fn get(&self, sequence: u16) -> Option<StoredPacket<'_>> {
        let number = self.unwrap(sequence);
        let record = self.records.get(number as usize & self.records.len().checked_sub(1)?)?;
        if record.number != number || !self.holds(record) {
            return None;
        }
        let start = self.byte_index(record.position);
        let (dependency, payload) = self.bytes.get(start..)?.split_at_checked(record.dependency_len.into())?;
        let payload = payload.get(..usize::from(record.len))?;
        Some(StoredPacket { timestamp: record.timestamp, marker: record.marker, dependency, payload })
    }

    fn unwrap(&self, sequence: u16) -> u64 {
        let distance = sequence.wrapping_sub(self.highest as u16) as i16;
        self.highest.wrapping_add_signed(i64::from(distance))
    }

    fn byte_index(&self, position: u64) -> usize {
        position as usize & (self.bytes.len() - 1)
    }

    /// Whether a record's bytes have not been written over.
    fn holds(&self, record: &StoredRecord) -> bool {
        record.number != 0 && record.position + self.bytes.len() as u64 >= self.written
    }

    /// Takes `len` bytes in one piece and returns where they begin.
    fn reserve(&mut self, now: Instant, len: usize) -> Option<u64> {
        if len > MAX_STORE_BYTES {
            return None;
        }
        loop {
            let start = self.byte_index(self.written);
            let full_lap = start == 0 && self.written > 0;
            if start + len <= self.bytes.len() && !full_lap {
                break;
            }
            // The piece does not fit before the end, or the end has just been reached: a lap is over.
            let lap_end = self.written.next_multiple_of(self.bytes.len() as u64);
            self.written = lap_end;
            let fast = self.byte_lap.is_none_or(|began| now.saturating_duration_since(began) < STORE_WINDOW);
            if (fast || len > self.bytes.len()) && self.bytes.len() < MAX_STORE_BYTES {
                // The lap goes on: it is now the first half of a longer one.
                self.grow_bytes();
                continue;
            }
            self.byte_lap = Some(now);
            break;
        }
        let position = self.written;
        self.written += len as u64;
        Some(position)
    }

    /// Doubles the bytes at the end of a lap. The lap that has ended becomes the first half of the new ring.
    fn grow_bytes(&mut self) {
        let old = self.bytes.len();
        let mut grown = vec![0; old * 2].into_boxed_slice();
        if let Some(half) = grown.get_mut(..old) {
            half.copy_from_slice(&self.bytes);
        }
        let base = self.written - old as u64;
        for record in &mut self.records {
            match record.position.checked_sub(base) {
                Some(position) => record.position = position,
                None => *record = StoredRecord::default(),
            }
        }
        self.bytes = grown;
        self.written = old as u64;
    }

    /// Doubles the records where a lap through them was too fast.
    fn grow_records(&mut self, now: Instant) {
        let old = self.records.len();
        let Some((began_at, began)) = self.record_lap else { return };
        if self.highest - began_at < old as u64 {
            return;
        }
        if now.saturating_duration_since(began) >= STORE_WINDOW || old >= MAX_RECORDS {
            self.record_lap = Some((self.highest, now));
            return;
        }
        let mut grown = vec![StoredRecord::default(); old * 2].into_boxed_slice();
        for record in self.records.iter().filter(|record| record.number + old as u64 > self.highest) {
            if let Some(place) = grown.get_mut(record.number as usize & (old * 2 - 1)) {
                *place = *record;
            }
        }
        self.records = grown;
    }
}

/// How a slot sent one packet: everything that makes the same packet again from the stored payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SentPacket {
    /// The outgoing sequence number.
    pub sequence: u16,
    /// The outgoing timestamp.
    pub timestamp: u32,
    /// The incoming SSRC, that is, which [`PacketStore`] has the payload.
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

    /// Asks the processor for where the next packet is noted.
    #[inline]
    pub(crate) fn prefetch(&self) {
        prefetch_at(&self.records, usize::from(self.newest.wrapping_add(1)) & self.records.len().wrapping_sub(1));
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

/// Numbers the packets of one outgoing RTX stream (RFC 4588, section 4).
#[derive(Debug)]
pub struct RtxSequencer {
    next: u16,
}

impl RtxSequencer {
    /// Bytes that precede the original payload: the original sequence number (OSN).
    pub const PREFIX: usize = 2;

    /// A stream that begins with `first`, which should be random.
    #[must_use]
    pub fn new(first: u16) -> Self {
        Self { next: first }
    }

    /// The sequence number of the next packet; each is given once.
    pub fn next_sequence(&mut self) -> u16 {
        let sequence = self.next;
        self.next = self.next.wrapping_add(1);
        sequence
    }

    /// Writes an RTX payload: the original sequence number and the original payload. Returns its length, or `None` if
    /// it does not fit.
    #[must_use]
    pub fn write(original: u16, payload: &[u8], into: &mut [u8]) -> Option<usize> {
        let into = into.get_mut(..Self::PREFIX + payload.len())?;
        let (prefix, rest) = into.split_at_mut_checked(Self::PREFIX)?;
        prefix.copy_from_slice(&original.to_be_bytes());
        rest.copy_from_slice(payload);
        Some(Self::PREFIX + payload.len())
    }
}

/// Takes an RTX payload apart into the original sequence number and payload (RFC 4588, section 4). `None` if there is
/// no original payload: such packets are padding, sent to probe for bandwidth.
#[must_use]
pub fn restore_rtx(payload: &[u8]) -> Option<(u16, &[u8])> {
    let (prefix, original) = payload.split_first_chunk::<{ RtxSequencer::PREFIX }>()?;
    (!original.is_empty()).then_some((u16::from_be_bytes(*prefix), original))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(50);

    fn payload(number: u64, len: usize) -> Vec<u8> {
        (0..len).map(|at| (number.wrapping_mul(31) + at as u64) as u8).collect()
    }

    fn sent(sequence: u16, len: u16) -> SentPacket {
        SentPacket { sequence, source: 9, source_sequence: sequence.wrapping_add(7), len, ..SentPacket::default() }
    }

    #[test]
    fn a_stored_payload_is_found_by_its_sequence_number() {
        let now = Instant::now();
        let mut store = PacketStore::new();
        assert_eq!(store.get(0), None);
        store.insert(now, 65_535, 10, true, b"one");
        store.insert(now, 1, 30, false, b"three");
        store.insert(now, 0, 20, false, b"two");
        assert_eq!(
            store.get(65_535),
            Some(StoredPacket { timestamp: 10, marker: true, dependency: &[], payload: b"one" })
        );
        assert_eq!(store.get(0).unwrap().payload, b"two");
        assert_eq!(store.get(1).unwrap().payload, b"three");
        assert_eq!(store.get(2), None);
    }

    #[test]
    fn a_dependency_descriptor_is_kept_apart_from_its_payload() {
        let now = Instant::now();
        let mut store = PacketStore::new();
        store.insert_described(now, 5, 10, true, &[0x80, 0, 1], b"frame");
        store.insert_described(now, 6, 10, true, &[0; 256], b"frame");
        let kept = store.get(5).unwrap();
        assert_eq!((kept.dependency, kept.payload), (&[0x80, 0, 1][..], &b"frame"[..]));
        assert_eq!(store.get(6), None, "no extension is that long");
    }

    #[test]
    fn a_voice_costs_what_it_began_with() {
        let mut now = Instant::now();
        let mut store = PacketStore::new();
        assert_eq!(store.memory(), 0);
        for number in 0..2_000_u64 {
            store.insert(now, number as u16, 0, false, &payload(number, 160));
            now += Duration::from_millis(20);
        }
        assert!(store.memory() <= 20 * 1024, "{}", store.memory());
        for number in 1_950..2_000_u64 {
            assert_eq!(store.get(number as u16).unwrap().payload, payload(number, 160));
        }
    }

    #[test]
    fn video_is_kept_for_the_window_once_the_store_has_grown() {
        let mut now = Instant::now();
        let mut store = PacketStore::new();
        for number in 0..5_000_u64 {
            store.insert(now, number as u16, 0, false, &payload(number, 1_100));
            now += Duration::from_millis(4);
        }
        for number in 4_750..5_000_u64 {
            assert_eq!(store.get(number as u16).unwrap().payload, payload(number, 1_100), "{number}");
        }
        assert!(store.memory() <= 600 * 1024, "{}", store.memory());
    }

    #[test]
    fn memory_is_bounded_at_any_rate() {
        let now = Instant::now();
        let mut store = PacketStore::new();
        for number in 0..200_000_u64 {
            store.insert(now, number as u16, 0, false, &payload(number, 40));
        }
        for number in 200_000..210_000_u64 {
            store.insert(now, number as u16, 0, false, &payload(number, 1_400));
        }
        assert!(store.memory() <= MAX_STORE_BYTES + MAX_RECORDS * size_of::<StoredRecord>());
        assert_eq!(store.get(209_999_u64 as u16).unwrap().payload, payload(209_999, 1_400));
        store.clear();
        assert_eq!(store.memory(), 0);
    }

    #[test]
    fn whatever_a_store_returns_is_what_was_put_in() {
        // Sizes and steps from a fixed generator: growth, wraps and losses in every mixture.
        let mut state = 0x1234_5678_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut now = Instant::now();
        let mut store = PacketStore::new();
        let mut kept = std::collections::BTreeMap::new();
        let mut number = 60_000_u64;
        let mut found = 0;
        for _ in 0..20_000 {
            number += 1 + u64::from(random(20) == 0) * random(30);
            let late = number - random(3);
            let len = 1 + random(1_400) as usize;
            store.insert(now, late as u16, late as u32, false, &payload(late, len));
            kept.insert(late, payload(late, len));
            now += Duration::from_millis(random(6));
            let asked = number - random(600);
            if let Some(packet) = store.get(asked as u16) {
                assert_eq!(Some(packet.payload), kept.get(&asked).map(Vec::as_slice), "{asked}");
                assert_eq!(packet.timestamp, asked as u32);
                found += 1;
            }
        }
        assert!(found > 1_000, "{found}");
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

    #[test]
    fn rtx_wraps_and_restores_a_payload() {
        let mut rtx = RtxSequencer::new(65_535);
        assert_eq!((rtx.next_sequence(), rtx.next_sequence()), (65_535, 0));
        let mut buffer = [0; 8];
        assert_eq!(RtxSequencer::write(0x1234, b"abcd", &mut buffer), Some(6));
        assert_eq!(restore_rtx(&buffer[..6]), Some((0x1234, b"abcd".as_slice())));
        assert_eq!(RtxSequencer::write(1, b"too long", &mut buffer), None);
    }

    #[test]
    fn rtx_without_an_original_payload_is_padding() {
        assert_eq!(restore_rtx(&[]), None);
        assert_eq!(restore_rtx(&[1]), None);
        assert_eq!(restore_rtx(&[1, 2]), None);
    }
}
