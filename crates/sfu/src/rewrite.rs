//! The outgoing RTP stream of one slot: one SSRC whose sequence numbers and timestamps stay continuous (RFC 3550,
//! section 5.1) while the track, or the simulcast layer, that flows through it changes.
//!
//! A [`Rewriter`] forwards one source at a time. Packets lost before the server stay gaps, so that the receiver asks
//! for them; packets that the server leaves out close up, so that it does not. It does not decide when to switch
//! (that takes a keyframe, and is the room's affair), and it does not touch payloads (see [`vp8`](crate::vp8)). Two
//! different packets never share an outgoing number: with AES-GCM that would give the authentication key away (RFC
//! 7714, section 8.4).

use std::time::{Duration, Instant};

use crate::renumber::{Numbered, Renumbering};

/// How many recent incoming numbers a slot remembers: a packet that comes later than this is dropped. 512 packets are
/// about two seconds of 2.5 Mb/s video, which is longer than any receiver waits, for 2 KiB a slot.
pub const REORDER_WINDOW: usize = 512;

/// The media clock of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaClock {
    /// Timestamp ticks per second.
    pub rate: u32,
    /// Ticks of one frame: the least by which a switch advances the timestamp.
    pub frame: u32,
}

impl MediaClock {
    /// Opus (RFC 7587): 48 kHz, 20 ms frames.
    pub const OPUS: Self = Self { rate: 48_000, frame: 960 };
    /// Every video format: 90 kHz, frames of 1/30 s.
    pub const VIDEO: Self = Self { rate: 90_000, frame: 3_000 };

    /// How long so many ticks are.
    #[must_use]
    pub fn duration(&self, ticks: u32) -> Duration {
        Duration::from_nanos(u64::from(ticks) * 1_000_000_000 / u64::from(self.rate))
    }

    /// A duration in ticks, modulo 2^32.
    #[must_use]
    pub fn ticks(&self, duration: Duration) -> u32 {
        let rate = u64::from(self.rate);
        let whole = duration.as_secs().wrapping_mul(rate);
        let rest = u64::from(duration.subsec_nanos()) * rate / 1_000_000_000;
        whole.wrapping_add(rest) as u32
    }
}

/// What becomes of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rewritten {
    /// Send it under these numbers.
    Forward {
        /// The outgoing sequence number.
        sequence: u16,
        /// The outgoing timestamp, in ticks of the slot's clock.
        timestamp: u32,
    },
    /// Do not send it.
    Drop(DropReason),
}

/// Why a packet is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// It belongs to a source that does not flow through this slot (any more).
    OtherSource,
    /// It is older than the packet at which the slot went over to its source.
    BeforeSwitch,
    /// It has been forwarded already; the same number twice could carry different bytes.
    Duplicate,
    /// It has been left out already, and its number may belong to another packet.
    LeftOut,
    /// It is more than [`REORDER_WINDOW`] packets late.
    TooLate,
}

/// The newest timestamp sent, and when.
#[derive(Debug, Clone, Copy)]
struct Newest {
    timestamp: u32,
    at: Instant,
}

/// Keeps the outgoing sequence numbers and timestamps of one slot continuous.
#[derive(Debug)]
pub struct Rewriter {
    clock: MediaClock,
    source: Option<u32>,
    sequences: Renumbering<REORDER_WINDOW>,
    /// Outgoing minus incoming timestamp of the present source.
    timestamp_offset: u32,
    newest: Option<Newest>,
    first_timestamp: u32,
}

impl Rewriter {
    /// A slot that forwards nothing yet. The first packet goes out as `first_sequence` and `first_timestamp`, which
    /// should be random (RFC 3550, section 5.1); a sequence number below 2^15 spares receivers a guess about the
    /// rollover counter.
    #[must_use]
    pub fn new(clock: MediaClock, first_sequence: u16, first_timestamp: u32) -> Self {
        Self {
            clock,
            source: None,
            sequences: Renumbering::new(first_sequence),
            timestamp_offset: 0,
            newest: None,
            first_timestamp,
        }
    }

    /// The source (an incoming SSRC) that flows through the slot.
    #[must_use]
    pub fn source(&self) -> Option<u32> {
        self.source
    }

    /// Outgoing minus incoming timestamp of the present source, modulo 2^32: what its sender reports are translated
    /// by.
    #[must_use]
    pub fn timestamp_offset(&self) -> u32 {
        self.timestamp_offset
    }

    /// The clock of the slot.
    #[must_use]
    pub fn clock(&self) -> MediaClock {
        self.clock
    }

    /// Goes over to `source`, starting with the packet `(sequence, timestamp)`, which for video must begin a
    /// keyframe. Returns the outgoing timestamp of that packet, which advances by the time that has passed since the
    /// last one, and at least by a frame. The packet itself is then given to [`rewrite`](Self::rewrite) like any
    /// other. Allocates the first time only.
    pub fn switch(&mut self, now: Instant, source: u32, sequence: u16, timestamp: u32) -> u32 {
        let outgoing = match self.newest {
            Some(newest) => {
                let elapsed = self.clock.ticks(now.saturating_duration_since(newest.at));
                newest.timestamp.wrapping_add(elapsed.max(self.clock.frame))
            }
            None => self.first_timestamp,
        };
        self.source = Some(source);
        self.sequences.start(sequence);
        self.timestamp_offset = outgoing.wrapping_sub(timestamp);
        outgoing
    }

    /// Nothing flows through the slot until the next [`switch`](Self::switch).
    pub fn stop(&mut self) {
        self.source = None;
    }

    /// Numbers one packet of `source` that is to be forwarded.
    pub fn rewrite(&mut self, now: Instant, source: u32, sequence: u16, timestamp: u32) -> Rewritten {
        if self.source != Some(source) {
            return Rewritten::Drop(DropReason::OtherSource);
        }
        let sequence = match self.sequences.forward(sequence, u16::BITS) {
            Numbered::First(sequence) => sequence,
            Numbered::Again(_) => return Rewritten::Drop(DropReason::Duplicate),
            Numbered::LeftOut => return Rewritten::Drop(DropReason::LeftOut),
            Numbered::BeforeStart => return Rewritten::Drop(DropReason::BeforeSwitch),
            Numbered::TooOld => return Rewritten::Drop(DropReason::TooLate),
        };
        let timestamp = timestamp.wrapping_add(self.timestamp_offset);
        if self.newest.is_none_or(|newest| timestamp.wrapping_sub(newest.timestamp) as i32 > 0) {
            self.newest = Some(Newest { timestamp, at: now });
        }
        Rewritten::Forward { sequence, timestamp }
    }

    /// Leaves out one packet of `source` (a dropped temporal layer, padding without a payload): later packets close
    /// up.
    ///
    /// If later packets have gone out already, a hole remains, and its outgoing sequence number is returned: nothing
    /// will fill it unless the caller sends padding under that number.
    pub fn skip(&mut self, source: u32, sequence: u16) -> Option<u16> {
        if self.source != Some(source) {
            return None;
        }
        self.sequences.leave_out(sequence, u16::BITS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: u32 = 0xAAAA;
    const B: u32 = 0xBBBB;

    fn started(now: Instant, sequence: u16) -> Rewriter {
        let mut rewriter = Rewriter::new(MediaClock::VIDEO, 100, 5_000);
        rewriter.switch(now, A, sequence, 70_000);
        rewriter
    }

    fn sequence(rewritten: Rewritten) -> Result<u16, DropReason> {
        match rewritten {
            Rewritten::Forward { sequence, .. } => Ok(sequence),
            Rewritten::Drop(reason) => Err(reason),
        }
    }

    #[test]
    fn a_packet_lost_upstream_stays_a_gap() {
        let now = Instant::now();
        let mut rewriter = started(now, 65_534);
        assert_eq!(rewriter.rewrite(now, A, 65_534, 70_000), Rewritten::Forward { sequence: 100, timestamp: 5_000 });
        assert_eq!(sequence(rewriter.rewrite(now, A, 0, 70_000)), Ok(102));
        assert_eq!(sequence(rewriter.rewrite(now, A, 65_535, 70_000)), Ok(101));
    }

    #[test]
    fn a_skipped_packet_closes_up_and_an_older_late_one_keeps_its_number() {
        let now = Instant::now();
        let mut rewriter = started(now, 10);
        assert_eq!(sequence(rewriter.rewrite(now, A, 10, 0)), Ok(100));
        assert_eq!(rewriter.skip(A, 12), None);
        assert_eq!(sequence(rewriter.rewrite(now, A, 13, 0)), Ok(102));
        assert_eq!(sequence(rewriter.rewrite(now, A, 11, 0)), Ok(101));
        assert_eq!(sequence(rewriter.rewrite(now, A, 12, 0)), Err(DropReason::LeftOut));
        assert_eq!(sequence(rewriter.rewrite(now, A, 14, 0)), Ok(103));
    }

    #[test]
    fn a_packet_skipped_after_later_ones_went_out_leaves_a_hole_that_is_told() {
        let now = Instant::now();
        let mut rewriter = started(now, 10);
        assert_eq!(sequence(rewriter.rewrite(now, A, 10, 0)), Ok(100));
        assert_eq!(sequence(rewriter.rewrite(now, A, 12, 0)), Ok(102));
        assert_eq!(rewriter.skip(A, 11), Some(101));
        assert_eq!(rewriter.skip(A, 11), None);
        assert_eq!(sequence(rewriter.rewrite(now, A, 13, 0)), Ok(103));
    }

    #[test]
    fn a_switch_continues_the_numbers_and_advances_the_timestamp_by_the_time_passed() {
        let now = Instant::now();
        let mut rewriter = started(now, 10);
        rewriter.rewrite(now, A, 10, 70_000);
        rewriter.rewrite(now, A, 11, 73_000);
        let later = now + Duration::from_millis(500);
        assert_eq!(rewriter.switch(later, B, 9_000, 1), 8_000 + 45_000);
        assert_eq!(rewriter.rewrite(later, B, 9_000, 1), Rewritten::Forward { sequence: 102, timestamp: 53_000 });
        assert_eq!(rewriter.rewrite(later, B, 9_001, 3_001), Rewritten::Forward { sequence: 103, timestamp: 56_000 });
    }

    #[test]
    fn a_switch_without_time_passing_advances_by_a_frame() {
        let now = Instant::now();
        let mut rewriter = started(now, 10);
        rewriter.rewrite(now, A, 10, 70_000);
        assert_eq!(rewriter.switch(now, B, 1, 0), 5_000 + 3_000);
    }

    #[test]
    fn late_packets_of_the_old_source_are_dropped_even_when_it_returns() {
        let now = Instant::now();
        let mut rewriter = started(now, 10);
        rewriter.rewrite(now, A, 10, 0);
        rewriter.switch(now, B, 500, 0);
        assert_eq!(sequence(rewriter.rewrite(now, A, 11, 0)), Err(DropReason::OtherSource));
        assert_eq!(sequence(rewriter.rewrite(now, B, 499, 0)), Err(DropReason::BeforeSwitch));
        assert_eq!(sequence(rewriter.rewrite(now, B, 500, 0)), Ok(101));
        rewriter.switch(now, A, 20, 0);
        assert_eq!(sequence(rewriter.rewrite(now, A, 20, 0)), Ok(102));
        assert_eq!(sequence(rewriter.rewrite(now, A, 12, 0)), Err(DropReason::BeforeSwitch));
    }

    #[test]
    fn a_duplicate_is_never_sent_twice() {
        let now = Instant::now();
        let mut rewriter = started(now, 10);
        assert_eq!(sequence(rewriter.rewrite(now, A, 10, 0)), Ok(100));
        assert_eq!(sequence(rewriter.rewrite(now, A, 10, 0)), Err(DropReason::Duplicate));
        assert_eq!(rewriter.skip(A, 10), None);
        assert_eq!(sequence(rewriter.rewrite(now, A, 11, 0)), Ok(101));
    }

    #[test]
    fn a_packet_later_than_the_window_is_dropped() {
        let now = Instant::now();
        let mut rewriter = started(now, 10);
        assert_eq!(sequence(rewriter.rewrite(now, A, 10, 0)), Ok(100));
        assert_eq!(sequence(rewriter.rewrite(now, A, 20_000, 0)), Ok(20_090));
        assert_eq!(sequence(rewriter.rewrite(now, A, 11, 0)), Err(DropReason::TooLate));
        assert_eq!(sequence(rewriter.rewrite(now, A, 20_000 - 511, 0)), Ok(20_090 - 511));
    }

    #[test]
    fn nothing_flows_before_the_first_switch_and_after_a_stop() {
        let now = Instant::now();
        let mut rewriter = Rewriter::new(MediaClock::OPUS, 7, 0);
        assert_eq!(sequence(rewriter.rewrite(now, A, 1, 0)), Err(DropReason::OtherSource));
        rewriter.switch(now, A, 1, 0);
        assert_eq!(sequence(rewriter.rewrite(now, A, 1, 0)), Ok(7));
        rewriter.stop();
        assert_eq!(sequence(rewriter.rewrite(now, A, 2, 0)), Err(DropReason::OtherSource));
    }

    #[test]
    fn two_switches_in_a_row_waste_no_number() {
        let now = Instant::now();
        let mut rewriter = started(now, 10);
        rewriter.rewrite(now, A, 10, 0);
        rewriter.switch(now, B, 77, 0);
        rewriter.switch(now, A, 30, 0);
        assert_eq!(sequence(rewriter.rewrite(now, A, 30, 0)), Ok(101));
    }
}
