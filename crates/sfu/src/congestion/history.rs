//! What went out lately, by transport-wide sequence number, so that feedback about a packet finds when it left and how large it was. A ring that
//! grows until a lap takes long enough, and allocates nothing from then on. It draws no conclusions.

use super::Micros;

/// Where a history begins: a second of 500 kbit/s in small packets.
const FIRST_RECORDS: usize = 256;
/// What it grows to at most: two seconds of 40 Mbit/s. Beyond that rate late feedback finds nothing.
const MAX_RECORDS: usize = 8192;
/// A packet should be found for so long: feedback of bad mobile networks takes a second, and some of it is lost.
const WINDOW: Micros = 2_000_000;

/// What is known of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Fate {
    #[default]
    Unknown,
    Arrived,
    Lost,
}

#[derive(Debug, Clone, Copy, Default)]
struct Record {
    /// The unwrapped sequence number; 0 for none.
    number: u64,
    at: Micros,
    bytes: u32,
    fate: Fate,
}

/// A packet as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    /// The unwrapped sequence number.
    pub(super) number: u64,
    pub(super) at: Micros,
    pub(super) bytes: u32,
}

/// What feedback changes about a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// It arrived.
    Arrived(Sent),
    /// It arrived after all: it had been reported as lost.
    Late(Sent),
    /// It is missing at the receiver.
    Lost(Sent),
    /// Nothing new, or nothing is known of it.
    Nothing,
}

#[derive(Debug, Default)]
pub(super) struct SentHistory {
    records: Box<[Record]>,
    highest: u64,
    /// The first packet of the present lap, and when it was sent.
    lap: (u64, Micros),
}

impl SentHistory {
    /// Notes a packet. Returns its unwrapped number. O(1), but for the few times that the ring grows.
    pub(super) fn sent(&mut self, at: Micros, sequence: u16, bytes: usize) -> u64 {
        if self.records.is_empty() {
            self.records = vec![Record::default(); FIRST_RECORDS].into_boxed_slice();
            // So that numbers before the first one are positive.
            self.highest = (1 << 32) + u64::from(sequence) - 1;
            self.lap = (self.highest, at);
        }
        let number = self.unwrap(sequence);
        if number > self.highest {
            self.highest = number;
            self.grow(at);
        }
        let mask = self.records.len() - 1;
        if let Some(record) = self.records.get_mut(number as usize & mask) {
            *record = Record { number, at, bytes: bytes as u32, fate: Fate::Unknown };
        }
        number
    }

    /// Takes in what a receiver says of a packet.
    pub(super) fn report(&mut self, sequence: u16, arrived: bool) -> News {
        if self.records.is_empty() {
            return News::Nothing;
        }
        let number = self.unwrap(sequence);
        let mask = self.records.len() - 1;
        let Some(record) = self.records.get_mut(number as usize & mask).filter(|record| record.number == number) else {
            return News::Nothing;
        };
        let sent = Sent { number, at: record.at, bytes: record.bytes };
        let (fate, news) = match (record.fate, arrived) {
            (Fate::Unknown, true) => (Fate::Arrived, News::Arrived(sent)),
            (Fate::Unknown, false) => (Fate::Lost, News::Lost(sent)),
            (Fate::Lost, true) => (Fate::Arrived, News::Late(sent)),
            (fate, _) => (fate, News::Nothing),
        };
        record.fate = fate;
        news
    }

    fn unwrap(&self, sequence: u16) -> u64 {
        let distance = sequence.wrapping_sub(self.highest as u16) as i16;
        self.highest.wrapping_add_signed(i64::from(distance))
    }

    /// Doubles the ring where a lap through it was too fast.
    fn grow(&mut self, at: Micros) {
        let old = self.records.len();
        if self.highest - self.lap.0 < old as u64 {
            return;
        }
        if at - self.lap.1 >= WINDOW || old >= MAX_RECORDS {
            self.lap = (self.highest, at);
            return;
        }
        let mut grown = vec![Record::default(); old * 2].into_boxed_slice();
        for record in self.records.iter().filter(|record| record.number + old as u64 > self.highest) {
            if let Some(place) = grown.get_mut(record.number as usize & (old * 2 - 1)) {
                *place = *record;
            }
        }
        self.records = grown;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feedback_finds_the_packet_across_a_wrap_and_counts_it_once() {
        let mut history = SentHistory::default();
        for n in 0..10_u16 {
            history.sent(i64::from(n) * 1_000, 65_530_u16.wrapping_add(n), 100 + usize::from(n));
        }
        let News::Arrived(sent) = history.report(1, true) else { panic!() };
        assert_eq!((sent.at, sent.bytes), (7_000, 107));
        assert_eq!(history.report(1, true), News::Nothing);
        assert_eq!(history.report(1, false), News::Nothing, "it has arrived");
        assert_eq!(history.report(40, true), News::Nothing, "it was never sent");
    }

    #[test]
    fn what_arrives_late_is_no_loss_after_all() {
        let mut history = SentHistory::default();
        history.sent(0, 7, 1200);
        assert!(matches!(history.report(7, false), News::Lost(_)));
        assert!(matches!(history.report(7, true), News::Late(_)));
        assert_eq!(history.report(7, true), News::Nothing);
    }

    #[test]
    fn a_fast_sender_gets_a_longer_memory_up_to_its_bound() {
        let mut history = SentHistory::default();
        for n in 0..60_000_u32 {
            history.sent(i64::from(n) * 100, n as u16, 1200);
        }
        assert_eq!(history.records.len(), MAX_RECORDS);
        assert!(matches!(history.report((60_000_u32 - 8_000) as u16, true), News::Arrived(_)));
        assert_eq!(history.report((60_000_u32 - 9_000) as u16, true), News::Nothing);
    }
}
