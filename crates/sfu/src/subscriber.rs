//! What one participant receives: its slots, what flows in each, and the continuous RTP stream that each presents while tracks
//! and layers change behind it. Which track a slot should carry is decided in `slots.rs` and by the room; here a slot goes over
//! to it, video at a keyframe, audio at any packet. How large the pictures are is what the client says, and for a moment what it
//! is about to say: `subscriber/sizes.rs`. How much of it the network takes, and when it leaves, is in `subscriber/network.rs`.

mod loss;
mod network;
mod sizes;
mod slot;

use std::time::{Duration, Instant};

use ringback_transport::sdp::{Line, MediaKind};

use crate::allocator::Allocator;
use crate::focus::Focus;
use crate::forward::header::SendClock;
use crate::forward::{Packet, PacketSink, Target};
use crate::ids::ParticipantId;
use crate::publisher::Source;
use crate::retransmission::{SentPacket, StoredPacket};
use crate::slots::SlotAssignment;

use loss::Loss;
use network::{Hold, HoldAgain, Metered, Network};
use sizes::Expectation;
pub(crate) use slot::{Assignment, Feed, Slot, area};

/// Slots that one participant may have. A page shows fewer faces than this; each costs a few kilobytes once it carries video.
const MAX_SLOTS: usize = 64;

/// The size a slot is assumed to be shown at until the client says: a large tile, so that nobody starts blurred.
const DEFAULT_VIEW: (u32, u32) = (1280, 720);

/// What headers make of a packet, about, before it is known: RTP's with its extensions.
const HEADERS: usize = 36;

/// The round trip to a subscriber that has not reported yet.
const DEFAULT_ROUND_TRIP: Duration = Duration::from_millis(100);

/// A slot as the answer describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotInfo {
    /// The receiving m-line.
    pub mid: String,
    /// Audio or video.
    pub kind: MediaKind,
    /// Audio slot k and video slot k are synchronised by the browser; `None`: synchronised with nothing.
    pub pair: Option<usize>,
}

/// The size at which a client shows a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotView {
    /// The receiving m-line.
    pub mid: String,
    /// In physical pixels; 0: hidden.
    pub width: u32,
    /// In physical pixels; 0: hidden.
    pub height: u32,
}

/// Everything one participant receives.
#[derive(Debug)]
pub(crate) struct Subscriber {
    pub(crate) slots: Vec<Slot>,
    /// Slots whose m-line an offer left out. It may come back with its SSRC, whose numbers must go on where they were.
    retired: Vec<Slot>,
    pub(crate) assignment: SlotAssignment,
    /// Whom this participant wants to see, whoever speaks.
    pub(crate) pin: Option<ParticipantId>,
    /// The only one whom this participant receives, if not everybody.
    pub(crate) only: Option<ParticipantId>,
    /// What the client was told to look at.
    pub(crate) told_focus: Option<Focus>,
    expectation: Expectation,
    /// Divides what its network can take among its slots.
    pub(crate) allocator: Allocator,
    /// When it last did, and how much that was, in bit/s.
    pub(crate) allocated: Option<(Instant, u64)>,
    /// How long a packet takes there and back.
    pub(crate) round_trip: Duration,
    loss: Loss,
    network: Network,
    clock: SendClock,
}

impl Subscriber {
    pub(crate) fn new(origin: Instant) -> Self {
        Self {
            slots: Vec::new(),
            retired: Vec::new(),
            assignment: SlotAssignment::default(),
            pin: None,
            only: None,
            told_focus: None,
            expectation: Expectation::default(),
            allocator: Allocator::new(),
            allocated: None,
            round_trip: DEFAULT_ROUND_TRIP,
            loss: Loss::default(),
            network: Network::new(origin),
            clock: SendClock::new(origin),
        }
    }

    /// Takes the receiving m-lines of an answer. Slots that were there before go on as they are.
    pub(crate) fn negotiate(&mut self, lines: &[Line]) {
        let mut before = std::mem::take(&mut self.slots);
        before.append(&mut self.retired);
        for line in lines.iter().filter(|line| line.rejected.is_none()) {
            let Some(described) = &line.slot else { continue };
            if self.slots.len() == MAX_SLOTS {
                break;
            }
            let old = before.iter().position(|slot| slot.mid == line.mid && slot.ssrc == described.ssrc);
            let slot = match old {
                Some(at) => {
                    let mut slot = before.swap_remove(at);
                    slot.renegotiate(line, described);
                    slot
                }
                None => Slot::new(line, described, DEFAULT_VIEW),
            };
            self.slots.push(slot);
        }
        self.renegotiate_network();
        for mut slot in before.into_iter().take(MAX_SLOTS) {
            slot.assign(Assignment { stop: true, ..Assignment::default() });
            self.retired.push(slot);
        }
        let pairs = |kind| self.slots.iter().filter(|s| s.kind == kind).map(|s| s.pair).collect::<Vec<_>>();
        self.assignment.set_slots(&pairs(MediaKind::Audio), &pairs(MediaKind::Video));
    }

    /// The slots, as a client needs to know them.
    pub(crate) fn describe(&self) -> Vec<SlotInfo> {
        self.slots.iter().map(|s| SlotInfo { mid: s.mid.clone(), kind: s.kind, pair: s.pair }).collect()
    }

    /// Sends one packet through a slot, if that is what flows or should flow there. Returns the outgoing timestamp when the slot went
    /// over to the packet's layer.
    #[inline]
    pub(crate) fn forward<S: PacketSink>(
        &mut self,
        now: Instant,
        target: Target,
        from: Source<'_>,
        packet: &Packet<'_>,
        sink: &mut S,
    ) -> Option<u32> {
        let slot = self.slots.get_mut(target.slot as usize)?;
        let flows = slot.flows(from.key, packet.ssrc);
        if !flows && !slot.may_switch(from.key, packet) {
            return None;
        }
        let is_video = slot.kind == MediaKind::Video;
        let (begins, is_key) = if is_video { slot.enter_frame(packet) } else { (true, false) };
        let network = &mut self.network;
        // What is left out anyway needs no room.
        let is_full = begins && network.pacer.is_full() && !slot.leaves_out(packet);
        let no_room = sink.is_congested(target.member as usize) || is_full;
        if slot.must_wait(packet, no_room) {
            return None;
        }
        let goes_on = std::mem::take(&mut slot.cut_off);
        let mut switched = None;
        if !flows || goes_on {
            let timestamp = slot.switch(now, from.key, packet);
            switched = (!flows).then_some(timestamp);
        }
        slot.is_redundant = self.loss.is_lossy(now);
        let stamp = (network.transport_sequence, self.clock.at(now));
        let (store, member) = (from.store_id, target.member as usize);
        if is_video && !network.pacer.may_pass(now, packet.payload.len() + HEADERS, is_key) {
            let mut hold = Hold { pacer: &mut network.pacer, slot: target.slot, is_key };
            slot.cut_off = !slot.forward(now, store, packet, stamp, member, &mut hold) && network.pacer.is_full();
        } else {
            let mut metered = Metered { sink, len: 0, levels: network.levels() };
            if slot.forward(now, store, packet, stamp, member, &mut metered) {
                let len = metered.len;
                network.pacer.on_sent(now, len);
                network.on_sent(now, slot.is_numbered(), len);
                // Pictures of the base are referred to by all that follow.
                if is_video && packet.temporal.layer == 0 && network.has_room && self.loss.is_heavy(now) {
                    let stamp = (network.transport_sequence, self.clock.at(now));
                    let mut metered = Metered { sink, len: 0, levels: false };
                    if slot.repeat(packet, stamp, member, &mut metered) {
                        let len = metered.len;
                        network.pacer.on_sent(now, len);
                        network.on_sent(now, slot.is_numbered(), len);
                    }
                }
            }
        }
        switched
    }

    /// Whether so much is lost that pictures are better sent twice, where there is room.
    pub(crate) fn is_losing_pictures(&self, now: Instant) -> bool {
        self.loss.is_heavy(now)
    }

    /// Whether so much is lost that voices are better sent twice.
    pub(crate) fn is_lossy(&self, now: Instant) -> bool {
        self.loss.is_lossy(now)
    }

    /// A subscriber says which share of a slot's packets it has lost lately, in 1/256.
    pub(crate) fn heed_loss(&mut self, now: Instant, fraction_lost: u8) {
        self.loss.on_report(now, fraction_lost);
    }

    /// The slot that sends under this SSRC, its own or that of its retransmissions.
    pub(crate) fn slot_of(&self, ssrc: u32) -> Option<usize> {
        self.slots.iter().position(|slot| slot.ssrc == ssrc || slot.rtx_ssrc == Some(ssrc))
    }

    /// A member is gone: nothing of theirs may flow, since their number goes to somebody else.
    pub(crate) fn forget(&mut self, member: u32) {
        for slot in &mut self.slots {
            slot.forget(member);
        }
    }

    /// What was sent under this number, if this subscriber may have it again.
    pub(crate) fn take_resend(&mut self, now: Instant, ssrc: u32, sequence: u16) -> Option<SentPacket> {
        let round_trip = self.round_trip;
        self.slots.iter_mut().find(|slot| slot.ssrc == ssrc)?.take_resend(now, round_trip, sequence)
    }

    /// Sends a packet again, as RTX, ahead of the video that waits.
    pub(crate) fn resend<S: PacketSink>(
        &mut self,
        now: Instant,
        member: usize,
        ssrc: u32,
        sent: &SentPacket,
        stored: &StoredPacket<'_>,
        sink: &mut S,
    ) {
        let Some(at) = self.slots.iter().position(|slot| slot.ssrc == ssrc) else { return };
        let Some(slot) = self.slots.get_mut(at) else { return };
        let network = &mut self.network;
        // Twice, where what is asked for is lost again too often.
        let times = if network.has_room && self.loss.is_heavy(now) { 2 } else { 1 };
        for _ in 0..times {
            let stamp = (network.transport_sequence, self.clock.at(now));
            if !network.pacer.may_pass(now, stored.payload.len() + HEADERS, false) {
                let mut again = HoldAgain { pacer: &mut network.pacer, slot: at as u32 };
                slot.resend(sent, stored, stamp, member, &mut again);
                return;
            }
            let mut metered = Metered { sink: &mut *sink, len: 0, levels: false };
            if slot.resend(sent, stored, stamp, member, &mut metered) {
                let len = metered.len;
                network.pacer.on_sent(now, len);
                network.on_sent(now, slot.is_numbered(), len);
            }
        }
    }
}
