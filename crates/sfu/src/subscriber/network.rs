//! A subscriber's network: what it is held to take, when packets leave, and what is sent to find out. The estimate and the pace are state
//! machines of their own ([`congestion`](crate::congestion), [`pacer`](crate::pacer)); here they meet the slots.

use std::time::{Duration, Instant};

use ringback_transport::rtcp::TransportFeedback;
use ringback_transport::rtp::RtpHeaderWriter;
use ringback_transport::sdp::MediaKind;

use super::{Slot, Subscriber};
use crate::congestion::{Estimator, OVERHEAD, PROBE_INTERVAL};
use crate::events::Bandwidth;
use crate::forward::PacketSink;
use crate::levelling::Next;
use crate::pacer::Pacer;

/// Padding of one packet: as much as RTP's padding can be, but for a few bytes.
const PADDING: u8 = 240;
/// Packets of padding at once: a probe asks for fewer unless timers were late.
const MOST_PADDING: usize = 32;
/// How often an estimate is told.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// What a subscriber keeps of its network.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) estimator: Estimator,
    pub(super) pacer: Pacer,
    /// The transport-wide sequence number of the next packet.
    pub(super) transport_sequence: u16,
    /// Whether the subscriber's stack is one that is sent padding in probes.
    takes_padding: bool,
    /// Whether its network takes more than is wanted of it.
    pub(super) has_room: bool,
    told_at: Option<Instant>,
}

impl Network {
    pub(super) fn new(origin: Instant) -> Self {
        Self {
            estimator: Estimator::new(origin),
            pacer: Pacer::new(),
            transport_sequence: 1,
            takes_padding: false,
            has_room: false,
            told_at: None,
        }
    }

    /// Whether packets may be padded so that they travel together: it costs traffic, and not every stack knows padding.
    #[inline]
    pub(super) fn levels(&self) -> bool {
        self.takes_padding && self.has_room
    }

    /// A packet of `len` bytes left, with the present transport-wide sequence number if its slot carries one.
    #[inline]
    pub(super) fn on_sent(&mut self, now: Instant, is_numbered: bool, len: usize) {
        if is_numbered {
            self.estimator.on_sent(now, self.transport_sequence, len + OVERHEAD);
            self.transport_sequence = self.transport_sequence.wrapping_add(1);
        } else {
            self.estimator.on_sent_unnumbered(now, len + OVERHEAD);
        }
    }

    /// Lets packets leave as the estimate says.
    fn refresh(&mut self) {
        // Before anything is measured a guess is no reason to let anybody wait.
        self.pacer.set_budget(self.estimator.budget().filter(|_| self.estimator.is_measured()));
        self.has_room = self.estimator.has_room();
    }
}

impl Subscriber {
    /// The slots are others now.
    pub(super) fn renegotiate_network(&mut self) {
        let video = self.slots.iter().filter(|slot| slot.kind == MediaKind::Video);
        let numbered = video.clone().any(|slot| slot.is_numbered())
            || (video.count() == 0 && self.slots.iter().any(|slot| slot.is_numbered()));
        self.network.estimator.set_transport_feedback(numbered);
        self.network.takes_padding = self.slots.iter().any(|slot| slot.takes_padding());
        self.network.pacer.clear();
        self.network.refresh();
    }

    /// Takes in transport-wide feedback.
    pub(crate) fn on_transport_feedback(&mut self, now: Instant, feedback: &TransportFeedback<'_>) {
        let packets = feedback.packets().map(|packet| (packet.sequence, packet.arrival));
        self.network.estimator.on_feedback(now, packets);
        self.network.refresh();
    }

    /// Takes in a REMB, in bits per second.
    pub(crate) fn on_remb(&mut self, now: Instant, bitrate: u64) {
        self.network.estimator.on_remb(now, bitrate);
    }

    /// Takes in the share that was lost of what was sent, in 1/256.
    pub(crate) fn on_loss(&mut self, now: Instant, fraction_lost: u8) {
        self.network.estimator.on_receiver_report(now, fraction_lost, Some(self.round_trip));
    }

    /// What the network can take now, in bits per second, sound and headers included; `None`: nobody knows.
    pub(crate) fn possible(&self) -> Option<u64> {
        self.network.estimator.budget()
    }

    /// What would be sent if the network took anything, in bits per second; as long as less is possible, more is looked for.
    pub(crate) fn set_desired(&mut self, bits_per_second: u64) {
        self.network.estimator.set_desired(bits_per_second);
    }

    /// Whether nothing more should be asked for, since what is there already waits.
    pub(crate) fn is_full(&self) -> bool {
        self.network.pacer.is_full()
    }

    /// Forgets what waits of a slot that must be still at once.
    pub(crate) fn silence(&mut self, slot: usize) {
        self.network.pacer.forget(slot as u32);
    }

    /// Looks at the network anew, each tick. Returns what it can take, in bits per second, if that became another without anything having been heard: it fell
    /// silent.
    pub(crate) fn tick_network(&mut self, now: Instant) -> Option<u64> {
        let before = self.possible();
        self.network.estimator.handle_timeout(now);
        self.network.refresh();
        self.possible().filter(|possible| Some(*possible) != before)
    }

    /// The estimate, if it is time to tell it.
    pub(crate) fn tell_bandwidth(&mut self, now: Instant) -> Option<Bandwidth> {
        let due = self.network.told_at.is_none_or(|at| now.saturating_duration_since(at) >= TELL_INTERVAL);
        let bandwidth = self.bandwidth().filter(|_| due)?;
        self.network.told_at = Some(now);
        Some(bandwidth)
    }

    /// What is known of the network, if anything is.
    pub(crate) fn bandwidth(&self) -> Option<Bandwidth> {
        let estimator = &self.network.estimator;
        let estimate = estimator.estimate().filter(|_| estimator.is_measured())?;
        Some(Bandwidth {
            estimate,
            lost: (estimator.loss() * 1000.0) as u16,
            round_trip: estimator.round_trip(),
            queue: estimator.queue_delay(),
        })
    }

    /// When a packet that waits may leave, if one does.
    #[inline]
    pub(crate) fn held_until(&self) -> Option<Instant> {
        self.network.pacer.poll_timeout()
    }

    /// Sends what may leave now: packets that waited, then padding. Returns when to come again.
    pub(crate) fn pace<S: PacketSink>(&mut self, now: Instant, member: usize, sink: &mut S) -> Option<Instant> {
        let Self { network, slots, clock, .. } = self;
        let levels = network.levels();
        let Network { estimator, pacer, transport_sequence, .. } = network;
        let send = |slot: u32, packet: &mut [u8]| {
            let Some(slot) = slots.get(slot as usize) else { return };
            slot.restamp(packet, (*transport_sequence, clock.at(now)));
            let ends_frame = packet.get(1).is_some_and(|second| second & 0x80 != 0);
            let next = if ends_frame { Next::Unknown } else { Next::Piece };
            let padding = if levels { sink.padding(member, packet.len(), next) } else { 0 };
            let len = packet.len() + padding;
            let write = |buf: &mut [u8]| {
                buf[..packet.len()].copy_from_slice(packet);
                if padding > 0 {
                    let _ = RtpHeaderWriter::pad(buf, packet.len(), padding);
                }
            };
            if !sink.send_rtp(member, len, write) {
                return;
            }
            if slot.is_numbered() {
                estimator.on_sent(now, *transport_sequence, len + OVERHEAD);
                *transport_sequence = transport_sequence.wrapping_add(1);
            } else {
                estimator.on_sent_unnumbered(now, len + OVERHEAD);
            }
        };
        let mut send = send;
        while pacer.release(now, &mut send).is_some() {}
        self.probe(now, member, sink);
        let probes = self.network.estimator.is_probing(now).then(|| now + PROBE_INTERVAL);
        [self.network.pacer.poll_timeout(), probes].into_iter().flatten().min()
    }

    /// Sends the padding that is due, if nothing waits.
    fn probe<S: PacketSink>(&mut self, now: Instant, member: usize, sink: &mut S) {
        if !self.network.estimator.is_probing(now) || self.network.pacer.waiting_bytes() > 0 {
            return;
        }
        // Whose picture does not flow yet, or for want of bandwidth, has the more reason to look for it.
        let padded = |slot: &&mut Slot| slot.takes_padding();
        let Some(slot) = self.slots.iter_mut().filter(padded).max_by_key(|slot| slot.is_flowing()) else { return };
        for _ in 0..MOST_PADDING {
            if self.network.estimator.padding(now) < usize::from(PADDING) {
                return;
            }
            let mut metered = Metered { sink, len: 0, levels: false };
            let stamp = (self.network.transport_sequence, self.clock.at(now));
            if !slot.pad(PADDING, stamp, member, &mut metered) {
                return;
            }
            let len = metered.len;
            self.network.on_sent(now, true, len);
        }
    }
}

/// A way out that takes note of a packet's length.
pub(super) struct Metered<'a, S> {
    pub(super) sink: &'a mut S,
    pub(super) len: usize,
    /// Whether it may be padded to travel with others.
    pub(super) levels: bool,
}

impl<S: PacketSink> PacketSink for Metered<'_, S> {
    #[inline]
    fn send_rtp(&mut self, to: usize, len: usize, write: impl FnOnce(&mut [u8])) -> bool {
        self.len = len;
        self.sink.send_rtp(to, len, write)
    }

    #[inline]
    fn send_voice(&mut self, to: usize, len: usize, write: impl FnOnce(&mut [u8])) -> bool {
        self.len = len;
        self.sink.send_voice(to, len, write)
    }

    #[inline]
    fn padding(&mut self, to: usize, len: usize, next: Next) -> usize {
        if self.levels { self.sink.padding(to, len, next) } else { 0 }
    }

    fn send_rtcp(&mut self, to: usize, write: impl FnOnce(&mut [u8]) -> usize) {
        self.sink.send_rtcp(to, write);
    }
}

/// The way into the pacer.
pub(super) struct Hold<'a> {
    pub(super) pacer: &'a mut Pacer,
    pub(super) slot: u32,
    pub(super) is_key: bool,
}

impl PacketSink for Hold<'_> {
    fn send_rtp(&mut self, _to: usize, len: usize, write: impl FnOnce(&mut [u8])) -> bool {
        self.pacer.hold(self.slot, len, self.is_key, write)
    }

    /// Control packets never wait.
    fn send_rtcp(&mut self, _to: usize, _write: impl FnOnce(&mut [u8]) -> usize) {}
}

/// The way into the pacer for what is sent again.
pub(super) struct HoldAgain<'a> {
    pub(super) pacer: &'a mut Pacer,
    pub(super) slot: u32,
}

impl PacketSink for HoldAgain<'_> {
    fn send_rtp(&mut self, _to: usize, len: usize, write: impl FnOnce(&mut [u8])) -> bool {
        self.pacer.hold_again(self.slot, len, write)
    }

    /// Control packets never wait.
    fn send_rtcp(&mut self, _to: usize, _write: impl FnOnce(&mut [u8]) -> usize) {}
}
