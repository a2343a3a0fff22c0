//! What the shards of a room tell one another: plain values, whatever carries them. A room that has outgrown its worker spans several; its shard on each
//! is a room of its own, in which those who are connected to another worker appear as members who have no slots there. Packets come
//! decrypted, as [`RelayedPacket`]; what changes about members comes as [`Notice`], each saying all there is to say, so that any number of them may be told twice.
//! It carries nothing itself and decides nothing: `worker/relay.rs` carries, `room/shards.rs` decides.

use std::sync::Arc;

use ringback_transport::sdp::Codec;

use crate::ids::{ParticipantId, Source};
use crate::stage::StageReason;

/// One packet of a member for another shard: as it goes to subscribers, of a layer that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RelayedPacket<'a> {
    pub(crate) participant: ParticipantId,
    pub(crate) track: u8,
    pub(crate) layer: u8,
    /// The position of its codec in the track's list.
    pub(crate) codec: u8,
    pub(crate) ssrc: u32,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    /// The value of the audio level extension (RFC 6464).
    pub(crate) level: Option<u8>,
    /// AV1's dependency descriptor extension, of at most 255 bytes.
    pub(crate) dependency: &'a [u8],
    pub(crate) payload: &'a [u8],
}

/// What passes between shards as often as packets do, or with them: it may be lost where these are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relayed<'a> {
    /// A member's packet.
    Packet(RelayedPacket<'a>),
    /// What a member's sender report says of one of their streams.
    Report { participant: ParticipantId, ssrc: u32, ntp: u64, rtp: u32 },
    /// Somebody waits for a keyframe of a layer of a member there.
    Keyframe { participant: ParticipantId, track: u8, layer: u8 },
}

/// A layer, as another shard needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LayerOutline {
    pub(crate) rid: Option<String>,
    pub(crate) ssrc: Option<u32>,
    /// Whether the publisher was told that nobody wants it.
    pub(crate) told_off: bool,
    /// Its spatial layers, and how many of these are wanted, as the publisher was told.
    pub(crate) sizes: Vec<(u16, u16)>,
    pub(crate) told_sizes: u8,
}

/// What a shard wants of a track at another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct WantedLayers {
    /// Its simulcast layers, one bit each.
    pub(crate) layers: u8,
    /// How many spatial layers of its first stream.
    pub(crate) sizes: u8,
}

/// A track, as another shard needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TrackOutline {
    pub(crate) source: Source,
    pub(crate) mid: String,
    pub(crate) muted: bool,
    pub(crate) codecs: Vec<Codec>,
    pub(crate) layers: Vec<LayerOutline>,
}

/// A member, as another shard needs to know them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemberOutline {
    pub(crate) participant: ParticipantId,
    pub(crate) admitted: bool,
    pub(crate) connected: bool,
    /// Whether they look on while the stage is decided.
    pub(crate) watches: bool,
    pub(crate) tracks: Vec<TrackOutline>,
}

/// What one shard tells another beside packets: never lost, and in order.
#[derive(Debug, Clone)]
pub(crate) enum Notice {
    /// The shard's place in the order in which the room's shards were opened.
    Order(u64),
    /// Somebody has come, or something about them has changed.
    Member(Arc<MemberOutline>),
    /// Somebody is gone.
    Left(ParticipantId),
    /// What of each track of a member there is wanted here.
    Wanted { participant: ParticipantId, layers: Vec<WantedLayers> },
    /// Who is on the stage and whose lights are on: from the shard that decides it.
    Stage { on_stage: Option<ParticipantId>, reason: StageReason, speaking: Arc<[ParticipantId]> },
    /// Packets were dropped on the way.
    Lost,
}
