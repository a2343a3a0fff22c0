//! Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01, section 3.1): which packets of a whole
//! transport arrived, and when, in ticks of 250 µs. Reading checks the whole packet first; writing turns a series of
//! arrivals into status chunks and deltas.

use super::RtcpError;
use super::cursor::Cursor;

/// Ticks of 250 µs in one unit of the reference time, 64 ms.
pub const TICKS_PER_REFERENCE: i64 = 256;

/// The longest run of one run-length chunk.
const MAX_RUN: usize = 0x1FFF;
/// Symbols in a status vector chunk of one bit each, and of two bits each.
const ONE_BIT_SYMBOLS: usize = 14;
const TWO_BIT_SYMBOLS: usize = 7;
/// A packet needs at most a chunk for this many symbols, whatever they are.
pub(super) const MIN_SYMBOLS_PER_CHUNK: usize = TWO_BIT_SYMBOLS;

/// What is known of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketStatus {
    /// Its transport-wide sequence number.
    pub sequence: u16,
    /// When it arrived, in ticks of 250 µs on the receiver's clock, which wraps after 2²⁴ × 64 ms. `None`: it did not
    /// arrive, or not yet.
    pub arrival: Option<i64>,
}

/// A feedback packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransportFeedback<'a> {
    /// Who received.
    pub sender_ssrc: u32,
    /// A stream of the transport; which one does not matter.
    pub media_ssrc: u32,
    /// The transport-wide sequence number of the first packet reported on.
    pub base_sequence: u16,
    /// How many packets, from that one on, are reported on.
    pub status_count: u16,
    /// The receiver's clock when it began, in units of 64 ms.
    pub reference_time: i32,
    /// Counts the feedback packets, so that a lost one is noticed.
    pub feedback_count: u8,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

impl<'a> TransportFeedback<'a> {
    pub(super) fn parse(mut body: Cursor<'a>) -> Result<Self, RtcpError> {
        let sender_ssrc = body.u32("the sender's SSRC")?;
        let media_ssrc = body.u32("the media SSRC")?;
        let base_sequence = body.u16("the base sequence number")?;
        let status_count = body.u16("the packet status count")?;
        let [a, b, c, feedback_count] = body.take("the reference time")?;
        let chunks = body.rest();
        let (mut reported, mut delta_len) = (0, 0);
        while reported < usize::from(status_count) {
            let offset = body.offset();
            let chunk = Chunk(body.u16("a packet status chunk")?);
            let len = chunk.len().min(usize::from(status_count) - reported);
            delta_len += match chunk.run() {
                Some(symbol) => symbol.ok_or(RtcpError::ReservedSymbol { offset })?.delta_len() * len,
                None => (0..len).try_fold(0, |sum, n| {
                    Ok(sum + chunk.symbol(n).ok_or(RtcpError::ReservedSymbol { offset })?.delta_len())
                })?,
            };
            reported += len;
        }
        let chunks = &chunks[..chunks.len() - body.rest().len()];
        let deltas = body.bytes("the receive deltas", delta_len)?;
        Ok(Self {
            sender_ssrc,
            media_ssrc,
            base_sequence,
            status_count,
            reference_time: i32::from_be_bytes([a, b, c, 0]) >> 8,
            feedback_count,
            chunks,
            deltas,
        })
    }

    /// What is known of each packet, in order of their sequence numbers; `status_count` items.
    pub fn packets(&self) -> impl Iterator<Item = PacketStatus> + use<'a> {
        let chunks = self.chunks.as_chunks().0.iter().map(|chunk| Chunk(u16::from_be_bytes(*chunk)));
        let symbols = chunks.flat_map(|chunk| (0..chunk.len()).filter_map(move |n| chunk.symbol(n)));
        let mut deltas = Cursor::new(self.deltas);
        let mut clock = i64::from(self.reference_time) * TICKS_PER_REFERENCE;
        let base_sequence = self.base_sequence;
        (0..self.status_count).zip(symbols).map(move |(n, symbol)| {
            // Parsing has made sure that every delta is there.
            let delta = match symbol {
                Symbol::Missing => None,
                Symbol::SmallDelta => deltas.u8("a small delta").ok().map(i64::from),
                Symbol::LargeDelta => deltas.take("a large delta").ok().map(|delta| i16::from_be_bytes(delta).into()),
            };
            let arrival = delta.map(|delta| {
                clock += delta;
                clock
            });
            PacketStatus { sequence: base_sequence.wrapping_add(n), arrival }
        })
    }
}

/// The status of a packet as its two bits say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Symbol {
    Missing = 0,
    /// Arrived, 0 to 255 ticks after the one before it.
    SmallDelta = 1,
    /// Arrived, −32,768 to 32,767 ticks after the one before it.
    LargeDelta = 2,
}

impl Symbol {
    const fn from_bits(bits: u16) -> Option<Self> {
        match bits & 3 {
            0 => Some(Self::Missing),
            1 => Some(Self::SmallDelta),
            2 => Some(Self::LargeDelta),
            _ => None,
        }
    }

    pub(super) const fn delta_len(self) -> usize {
        self as usize
    }
}

/// A packet status chunk (sections 3.1.3 and 3.1.4).
#[derive(Debug, Clone, Copy)]
struct Chunk(u16);

impl Chunk {
    const VECTOR: u16 = 1 << 15;
    const TWO_BIT: u16 = 1 << 14;

    /// How many symbols it has; the last chunk may have more than there are packets.
    const fn len(self) -> usize {
        if self.0 & Self::VECTOR == 0 {
            self.0 as usize & MAX_RUN
        } else if self.0 & Self::TWO_BIT == 0 {
            ONE_BIT_SYMBOLS
        } else {
            TWO_BIT_SYMBOLS
        }
    }

    /// The one symbol of a run-length chunk, itself `None` if it is the reserved one.
    fn run(self) -> Option<Option<Symbol>> {
        (self.0 & Self::VECTOR == 0).then(|| Symbol::from_bits(self.0 >> 13))
    }

    /// The symbol at `n`, which is less than `len`. `None`: the reserved one.
    const fn symbol(self, n: usize) -> Option<Symbol> {
        if self.0 & Self::VECTOR == 0 {
            Symbol::from_bits(self.0 >> 13)
        } else if self.0 & Self::TWO_BIT == 0 {
            Symbol::from_bits(self.0 >> (ONE_BIT_SYMBOLS - 1 - n) & 1)
        } else {
            Symbol::from_bits(self.0 >> (2 * (TWO_BIT_SYMBOLS - 1 - n)))
        }
    }
}

/// A series of arrivals as symbols with their deltas. It ends before the first arrival that is too far from the one
/// before it for a delta.
#[derive(Clone)]
pub(super) struct Statuses<I> {
    arrivals: I,
    clock: i64,
}

impl<I: Iterator<Item = Option<i64>> + Clone> Statuses<I> {
    /// With the reference time, in units of 64 ms, that makes the first delta a small one.
    pub(super) fn new(arrivals: I) -> (Self, i64) {
        let first = arrivals.clone().flatten().next().unwrap_or_default();
        let reference_time = first.div_euclid(TICKS_PER_REFERENCE);
        (Self { arrivals, clock: reference_time * TICKS_PER_REFERENCE }, reference_time)
    }
}

impl<I: Iterator<Item = Option<i64>>> Iterator for Statuses<I> {
    type Item = (Symbol, i16);

    fn next(&mut self) -> Option<Self::Item> {
        let Some(arrival) = self.arrivals.next()? else {
            return Some((Symbol::Missing, 0));
        };
        let delta = i16::try_from(arrival.checked_sub(self.clock)?).ok()?;
        self.clock = arrival;
        let symbol = if (0..=255).contains(&delta) { Symbol::SmallDelta } else { Symbol::LargeDelta };
        Some((symbol, delta))
    }
}

/// The chunk that covers most of the symbols to come, and how many it covers: at least [`MIN_SYMBOLS_PER_CHUNK`],
/// unless fewer are left. `None`: there are none.
pub(super) fn next_chunk(symbols: impl Iterator<Item = Symbol> + Clone) -> Option<(u16, usize)> {
    let first = symbols.clone().next()?;
    let run = symbols.clone().take(MAX_RUN).take_while(|symbol| *symbol == first).count();
    let vector = |count: usize, bits: usize| {
        let symbols = symbols.clone().take(count);
        let len = symbols.clone().count();
        let list = symbols.fold(0, |list, symbol| list << bits | symbol as u16);
        (list << (bits * (count - len)), len)
    };
    let small_ahead = symbols.clone().take(ONE_BIT_SYMBOLS).take_while(|symbol| *symbol != Symbol::LargeDelta).count();
    let left = symbols.clone().take(ONE_BIT_SYMBOLS).count();
    let one_bit_covers = if small_ahead == left { left } else { 0 };
    let two_bit_covers = left.min(TWO_BIT_SYMBOLS);
    Some(if run >= one_bit_covers.max(two_bit_covers) {
        ((first as u16) << 13 | run as u16, run)
    } else if one_bit_covers > 0 {
        let (list, len) = vector(ONE_BIT_SYMBOLS, 1);
        (Chunk::VECTOR | list, len)
    } else {
        let (list, len) = vector(TWO_BIT_SYMBOLS, 2);
        (Chunk::VECTOR | Chunk::TWO_BIT | list, len)
    })
}
