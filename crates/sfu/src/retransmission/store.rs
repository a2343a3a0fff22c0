//! The recent payloads of one incoming stream, kept once however many slots it flows through, in memory that follows its bitrate. It knows nothing of what a slot made of them, nor of
//! who asks: that is the [log](super::SentLog)'s business.

use std::time::{Duration, Instant};

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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn payload(number: u64, len: usize) -> Vec<u8> {
        (0..len).map(|at| (number.wrapping_mul(31) + at as u64) as u8).collect()
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
}
