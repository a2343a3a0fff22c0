//! The media clock of one microphone: from RTP timestamps and arrivals, how much sound a packet holds and how much was
//! left out before it. It follows 10 to 60 ms packets, DTX, loss, reordering, the wrap of the timestamp and a clock that
//! jumps. It is not a jitter buffer: nothing is put back in order.

/// Ticks of the RTP clock of Opus in a millisecond (RFC 7587, section 4.1: always 48 kHz).
const TICKS_PER_MS: f32 = 48.0;
/// Before two packets are known, they count as this long, in ms: what browsers send.
const USUAL_PACKET: f32 = 20.0;
/// The longest packet of Opus, in ms (RFC 7587, section 4.2). Timestamps further apart than this are a pause.
const LONGEST_PACKET: f32 = 120.0;
/// So many packets in a row must be further apart than the packet time before it is taken to have grown: loss leaves
/// gaps, too, but not that many.
const PATIENCE: u8 = 16;
/// A timestamp so far from where the arrival puts it, in ms, is of another clock: the sender has started anew.
const JUMP: f32 = 2_000.0;
/// Arrivals are late by less than this, in ms; silence on the network beyond it is a pause, even if the sender's clock
/// stood still meanwhile.
const LATEST: f32 = 1_000.0;

/// What one packet says about time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Passed {
    /// The packet's own sound, in ms.
    pub(super) packet: f32,
    /// What was not sent, or lost, between the packet before and this one, in ms.
    pub(super) gap: f32,
}

/// See the [module](self).
#[derive(Debug, Clone)]
pub(super) struct MediaClock {
    /// The newest packet's timestamp and its arrival in ms.
    newest: Option<(u32, i64)>,
    /// The packet time, in ms.
    packet: f32,
    measured: bool,
    /// The shortest distance, and the number, of packets in a row that were further apart than the packet time.
    longer: f32,
    longer_count: u8,
}

impl MediaClock {
    pub(super) fn new() -> Self {
        Self { newest: None, packet: USUAL_PACKET, measured: false, longer: 0.0, longer_count: 0 }
    }

    /// Takes a packet that arrived at `now`, in ms. `None`: it is a duplicate or overtaken, and no news.
    pub(super) fn on_packet(&mut self, now: i64, rtp_time: u32) -> Option<Passed> {
        let Some((newest, arrival)) = self.newest else {
            self.newest = Some((rtp_time, now));
            return Some(Passed { packet: self.packet, gap: 0.0 });
        };
        // The difference modulo 2³²: a wrap is no event.
        let apart = rtp_time.wrapping_sub(newest).cast_signed() as f32 / TICKS_PER_MS;
        let apart_on_arrival = (now - arrival).max(0) as f32;
        if apart <= 0.0 && apart > -JUMP {
            return None;
        }
        self.newest = Some((rtp_time, now));
        if apart < 0.0 || apart > apart_on_arrival + JUMP {
            return Some(Passed { packet: self.packet, gap: (apart_on_arrival - self.packet).max(0.0) });
        }
        self.measure(apart);
        let gap = (apart - self.packet).max(apart_on_arrival - apart - LATEST).max(0.0);
        Some(Passed { packet: self.packet, gap })
    }

    /// The packet time is the shortest distance between packets: whatever is longer has a gap in it.
    fn measure(&mut self, apart: f32) {
        if apart <= self.packet || (!self.measured && apart <= LONGEST_PACKET) {
            self.packet = apart;
            self.measured = true;
            self.longer_count = 0;
        } else if apart <= LONGEST_PACKET {
            self.longer = if self.longer_count == 0 { apart } else { self.longer.min(apart) };
            self.longer_count += 1;
            if self.longer_count >= PATIENCE {
                self.packet = self.longer;
                self.longer_count = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(clock: &mut MediaClock, from: u32, step: u32, now: i64, count: u32) -> Vec<Passed> {
        let at = |i: u32| (now + i64::from(i * step / 48), from.wrapping_add(i * step));
        (0..count).map(at).filter_map(|(now, rtp_time)| clock.on_packet(now, rtp_time)).collect()
    }

    #[test]
    fn every_packet_time_is_known_after_two_packets() {
        for ms in [10, 20, 40, 60, 120] {
            let passed = packets(&mut MediaClock::new(), 7, ms * 48, 0, 10);
            assert!(passed[1..].iter().all(|p| *p == Passed { packet: ms as f32, gap: 0.0 }), "{ms} ms: {passed:?}");
        }
    }

    #[test]
    fn loss_and_dtx_are_gaps_and_not_longer_packets() {
        let mut clock = MediaClock::new();
        packets(&mut clock, 0, 960, 0, 10);
        assert_eq!(clock.on_packet(240, 11 * 960), Some(Passed { packet: 20.0, gap: 20.0 }));
        // DTX: a packet each 400 ms.
        let passed = packets(&mut clock, 31 * 960, 20 * 960, 640, 30);
        assert!(passed.iter().all(|p| *p == Passed { packet: 20.0, gap: 380.0 }), "{passed:?}");
    }

    #[test]
    fn a_packet_time_that_grows_is_learnt() {
        let mut clock = MediaClock::new();
        packets(&mut clock, 0, 960, 0, 10);
        let passed = packets(&mut clock, 12 * 960, 2_880, 240, 40);
        assert_eq!(passed.last(), Some(&Passed { packet: 60.0, gap: 0.0 }));
    }

    #[test]
    fn reordered_and_duplicate_packets_are_no_news() {
        let mut clock = MediaClock::new();
        packets(&mut clock, 0, 960, 0, 10);
        assert!(clock.on_packet(205, 11 * 960).is_some());
        assert_eq!(clock.on_packet(206, 10 * 960), None);
        assert_eq!(clock.on_packet(206, 11 * 960), None);
    }

    #[test]
    fn the_timestamp_wraps_without_notice() {
        let passed = packets(&mut MediaClock::new(), u32::MAX - 5_000, 960, 0, 20);
        assert_eq!(passed.len(), 20);
        assert!(passed.iter().all(|p| p.gap == 0.0), "{passed:?}");
    }

    #[test]
    fn a_clock_that_jumps_is_followed_from_the_next_packet_on() {
        for jump in [1 << 31, 1 << 20, 3_000_000_000_u32] {
            let mut clock = MediaClock::new();
            packets(&mut clock, 50, 960, 0, 10);
            let passed = packets(&mut clock, jump, 960, 200, 10);
            assert_eq!(passed.len(), 10, "jump to {jump}");
            assert!(passed.iter().all(|p| p.gap == 0.0), "{passed:?}");
        }
    }

    #[test]
    fn a_sender_whose_clock_stood_still_has_paused_all_the_same() {
        let mut clock = MediaClock::new();
        packets(&mut clock, 0, 960, 0, 10);
        let passed = clock.on_packet(10_180, 10 * 960);
        assert!(passed.is_some_and(|p| p.gap > 8_000.0), "{passed:?}");
    }
}
