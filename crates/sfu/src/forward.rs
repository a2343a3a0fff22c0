//! The per-packet path: one plain RTP packet of a publisher in, one rewritten packet per subscriber out, written straight into
//! the memory it is sent from. Which slots a packet goes to stands in the layer's list of targets, which the room rebuilds when
//! something changes; nothing is looked up by name here, and nothing is allocated. It neither encrypts nor sends: that is the
//! [`PacketSink`].

pub(crate) mod codec;
pub(crate) mod header;
pub(crate) mod spatial;
pub(crate) mod temporal;

use std::time::Instant;

use ringback_transport::sdp::CodecName;

use crate::av1::DependencyDescriptor;
use crate::levelling::Next;
use crate::publisher::Source as PacketSource;
use crate::shard::Relayed;
use crate::subscriber::Subscriber;
use crate::vp8::Vp8Descriptor;
use crate::vp9::Vp9Descriptor;
pub(crate) use spatial::Spatial;
pub(crate) use temporal::Temporal;

/// Where packets go: seals them for a member's connection and queues them. Tests collect them instead.
pub(crate) trait PacketSink {
    /// Queues one RTP packet of exactly `len` bytes for a member; `write` fills it. False if it could not be queued.
    fn send_rtp(&mut self, to: usize, len: usize, write: impl FnOnce(&mut [u8])) -> bool;

    /// Queues a packet of voice likewise, which may wait a moment for others to the same member.
    fn send_voice(&mut self, to: usize, len: usize, write: impl FnOnce(&mut [u8])) -> bool {
        self.send_rtp(to, len, write)
    }

    /// How many bytes of padding a packet of `len` bytes should get, to travel together with others to the same member; `next`: what may
    /// follow. None where it would make no difference.
    fn padding(&mut self, _to: usize, _len: usize, _next: Next) -> usize {
        0
    }

    /// Queues one compound RTCP packet; `write` fills it and returns its length, 0 for nothing after all.
    fn send_rtcp(&mut self, to: usize, write: impl FnOnce(&mut [u8]) -> usize);

    /// Whether so much waits for a member already that their video should not wait too. Never over UDP, where nothing waits.
    fn is_congested(&self, _to: usize) -> bool {
        false
    }

    /// Hands something of a member who is here to the other shards of the room.
    fn relay(&mut self, _relayed: &Relayed<'_>) {}

    /// Asks the worker of a member who is elsewhere for a keyframe. False for those who are here.
    fn request_elsewhere(&mut self, _of: LayerKey) -> bool {
        false
    }
}

/// What a packet says of its frame, for the codecs that number their frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Descriptor {
    /// Nothing.
    #[default]
    None,
    Vp8(Vp8Descriptor),
    Vp9(Vp9Descriptor),
    Av1(DependencyDescriptor),
}

impl Descriptor {
    /// Reads it from a payload that is not empty, and from the dependency descriptor extension; `None` if the payload is not of that codec.
    pub(crate) fn read(codec: CodecName, payload: &[u8], dependency: &[u8]) -> Option<Self> {
        match codec {
            CodecName::Vp8 => Vp8Descriptor::parse(payload).ok().map(Self::Vp8),
            CodecName::Vp9 => Vp9Descriptor::parse(payload).ok().map(Self::Vp9),
            CodecName::Av1 => Some(DependencyDescriptor::parse(dependency).map_or(Self::None, Self::Av1)),
            CodecName::Opus | CodecName::Red | CodecName::H264 => Some(Self::None),
        }
    }
}

/// One packet as it goes to the subscribers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packet<'a> {
    pub(crate) ssrc: u32,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    /// The position of its codec in the track's list.
    pub(crate) codec: u8,
    /// The value of the audio level extension (RFC 6464).
    pub(crate) level: Option<u8>,
    /// Whether a decoder can begin here.
    pub(crate) starts: bool,
    pub(crate) descriptor: Descriptor,
    /// Where its frame stands among the temporal layers.
    pub(crate) temporal: Temporal,
    /// … and among the spatial ones, if there are any in its stream.
    pub(crate) spatial: Option<Spatial>,
    /// AV1's dependency descriptor extension as it came; empty without one.
    pub(crate) dependency: &'a [u8],
    /// Without padding; empty for a packet of padding only.
    pub(crate) payload: &'a [u8],
}

/// A slot that a layer's packets go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) member: u32,
    pub(crate) slot: u32,
}

/// A layer of a track of a member: what flows through a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct LayerKey {
    pub(crate) member: u32,
    pub(crate) track: u8,
    pub(crate) layer: u8,
}

/// A slot has begun to carry another layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Switched {
    pub(crate) target: Target,
    /// The outgoing timestamp of the first packet.
    pub(crate) timestamp: u32,
}

/// Sends one packet to every target. Switches that happen on the way are noted in `switched`. Returns when to look after it, if it waits somewhere.
pub(crate) fn fan_out<S: PacketSink>(
    now: Instant,
    from: PacketSource<'_>,
    packet: &Packet<'_>,
    subscribers: &mut slab::Slab<Subscriber>,
    sink: &mut S,
    switched: &mut Vec<Switched>,
) -> Option<Instant> {
    let mut held: Option<Instant> = None;
    for &target in from.targets {
        let Some(subscriber) = subscribers.get_mut(target.member as usize) else { continue };
        if let Some(timestamp) = subscriber.forward(now, target, from, packet, sink) {
            switched.push(Switched { target, timestamp });
        }
        if let Some(due) = subscriber.held_until() {
            held = Some(held.map_or(due, |held| held.min(due)));
        }
    }
    held
}
