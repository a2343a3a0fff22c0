//! A tap: the decrypted RTP of one participant's microphone, camera or screen, handed out in order of arrival, for whoever keeps or analyses it. The room
//! feeds the [`TapPort`], and never waits: a tap whose reader falls behind ends, and media goes on. Of a simulcast track it follows the largest
//! layer that arrives, going over at keyframes only, under one continuous numbering; of redundant audio (RED) it hands out the primary block, as Opus. It
//! neither reorders nor fills gaps: that is the reader's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use ringback_transport::sdp::CodecName;
use tokio::sync::mpsc;

use crate::forward::{Packet, codec as payloads};
use crate::ids::Source;
use crate::rewrite::{MediaClock, Rewriter, Rewritten};

/// How many events may wait for the reader: ten seconds of sound, two of a large picture. More rides out a longer pause of the reader, and costs memory.
const QUEUE: usize = 1_024;

/// Payloads are copied into pieces of memory of this size, so that a packet costs no allocation of its own.
const CHUNK: usize = 64 * 1024;

/// How often a keyframe is asked for, so that what is kept can be cut and sought, and a loss does not last. More often costs picture quality.
const KEYFRAME_INTERVAL: Duration = Duration::from_secs(3);

/// How often it is asked for while there is none to begin with.
const FIRST_KEYFRAME_INTERVAL: Duration = Duration::from_millis(300);

/// Something of a tapped participant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TapEvent {
    /// A packet.
    Packet(TapPacket),
    /// An RTCP sender report of what is tapped (RFC 3550, 6.4.1).
    SenderReport {
        /// Which track.
        source: Source,
        /// When it arrived.
        arrival: Instant,
        /// The sender's wall clock in NTP format.
        ntp: u64,
        /// The RTP timestamp of that moment, in the numbering of the tap's packets.
        rtp_timestamp: u32,
    },
    /// A track was muted or unmuted.
    Muted {
        /// Which track.
        source: Source,
        /// When.
        arrival: Instant,
        /// Muted, or no longer.
        muted: bool,
    },
    /// Nothing more comes. The last event.
    Ended(TapEnd),
}

/// One RTP packet, decrypted, without padding; one that is nothing but padding does not come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapPacket {
    /// Of which track.
    pub source: Source,
    /// How its payload is encoded.
    pub codec: CodecName,
    /// When it arrived.
    pub arrival: Instant,
    /// The sequence number: a camera's continuous over changes of the layer, a microphone's as sent.
    pub sequence: u16,
    /// The timestamp, likewise.
    pub timestamp: u32,
    /// The marker bit.
    pub marker: bool,
    /// The audio level in -dBov (RFC 6464), 0 to 127.
    pub level: Option<u8>,
    /// The payload.
    pub payload: Bytes,
}

/// Why a tap ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TapEnd {
    /// The room was closed, or the worker stopped.
    Closed,
    /// The participant is gone.
    Left,
    /// The reader was too slow.
    Overrun,
}

#[derive(Debug, Default)]
struct Shared {
    end: AtomicU8,
    wants_keyframe: AtomicBool,
}

/// The reader's end of a tap, from [`WorkerHandle::tap`](crate::WorkerHandle::tap). Dropping it ends the tap.
#[derive(Debug)]
pub struct Tap {
    events: mpsc::Receiver<TapEvent>,
    shared: Arc<Shared>,
    ended: bool,
}

impl Tap {
    /// The next event; `None` after [`TapEvent::Ended`].
    pub async fn recv(&mut self) -> Option<TapEvent> {
        if let Some(event) = self.events.recv().await {
            return Some(event);
        }
        if std::mem::replace(&mut self.ended, true) {
            return None;
        }
        Some(TapEvent::Ended(match self.shared.end.load(Ordering::Acquire) {
            1 => TapEnd::Left,
            2 => TapEnd::Overrun,
            _ => TapEnd::Closed,
        }))
    }

    /// Asks the participant for a keyframe as soon as that is allowed, beside those that are asked for every 3 s.
    pub fn request_keyframe(&self) {
        self.shared.wants_keyframe.store(true, Ordering::Release);
    }
}

/// The room's end of a tap.
#[derive(Debug)]
pub(crate) struct TapPort {
    /// The tapped member.
    pub(crate) member: usize,
    sources: Vec<Source>,
    events: mpsc::Sender<TapEvent>,
    shared: Arc<Shared>,
    chunk: BytesMut,
    /// Each picture track's numbering, and the layer that flows.
    pictures: Vec<Picture>,
    asked: Option<Instant>,
    over: bool,
}

#[derive(Debug)]
struct Picture {
    source: Source,
    rewriter: Rewriter,
    layer: Option<usize>,
}

/// A tap's two ends.
pub(crate) fn tap(member: usize, sources: Vec<Source>) -> (TapPort, Tap) {
    let (sender, events) = mpsc::channel(QUEUE);
    let shared = Arc::new(Shared::default());
    let picture =
        |source: &Source| Picture { source: *source, rewriter: Rewriter::new(MediaClock::VIDEO, 0, 0), layer: None };
    let pictures = sources.iter().filter(|source| **source != Source::Microphone).map(picture).collect();
    let port = TapPort {
        member,
        sources,
        events: sender,
        shared: shared.clone(),
        chunk: BytesMut::new(),
        pictures,
        asked: None,
        over: false,
    };
    (port, Tap { events, shared, ended: false })
}

impl TapPort {
    /// Takes a packet of the tapped member. `larger` says whether a layer (its place in the track) shows more than another, or the other has ceased.
    pub(crate) fn feed(
        &mut self,
        now: Instant,
        source: Source,
        codec: CodecName,
        layer: usize,
        packet: &Packet<'_>,
        larger: impl Fn(usize, usize) -> bool,
    ) {
        if !self.sources.contains(&source) {
            return;
        }
        let (mut sequence, mut timestamp) = (packet.sequence, packet.timestamp);
        let (codec, payload) = match codec {
            CodecName::Red => match payloads::red_primary(packet.payload) {
                Some(at) => (CodecName::Opus, &packet.payload[at..]),
                None => return,
            },
            codec => (codec, packet.payload),
        };
        if let Some(picture) = self.pictures.iter_mut().find(|picture| picture.source == source) {
            let better = picture.layer != Some(layer) && picture.layer.is_none_or(|now| larger(layer, now));
            if packet.starts
                && (better || picture.rewriter.source() != Some(packet.ssrc) && !better_elsewhere(picture, layer))
            {
                picture.layer = Some(layer);
                picture.rewriter.switch(now, packet.ssrc, packet.sequence, packet.timestamp);
            }
            if packet.payload.is_empty() {
                picture.rewriter.skip(packet.ssrc, packet.sequence);
                return;
            }
            match picture.rewriter.rewrite(now, packet.ssrc, packet.sequence, packet.timestamp) {
                Rewritten::Forward { sequence: s, timestamp: t } => (sequence, timestamp) = (s, t),
                Rewritten::Drop(_) => return,
            }
        } else if packet.payload.is_empty() {
            return;
        }
        if self.chunk.capacity() - self.chunk.len() < payload.len() {
            self.chunk = BytesMut::with_capacity(CHUNK.max(payload.len()));
        }
        self.chunk.extend_from_slice(payload);
        let payload = self.chunk.split().freeze();
        let level = packet.level.map(|level| level & 0x7F);
        let marker = packet.marker;
        self.tell(TapEvent::Packet(TapPacket {
            source,
            codec,
            arrival: now,
            sequence,
            timestamp,
            marker,
            level,
            payload,
        }));
    }

    /// A sender report of a layer of the tapped member.
    pub(crate) fn report(&mut self, arrival: Instant, source: Source, layer: usize, ntp: u64, rtp_timestamp: u32) {
        if !self.sources.contains(&source) {
            return;
        }
        let rtp_timestamp = match self.pictures.iter().find(|picture| picture.source == source) {
            None => rtp_timestamp,
            Some(picture) if picture.layer == Some(layer) => {
                rtp_timestamp.wrapping_add(picture.rewriter.timestamp_offset())
            }
            Some(_) => return,
        };
        self.tell(TapEvent::SenderReport { source, arrival, ntp, rtp_timestamp });
    }

    /// The tapped member muted or unmuted a track.
    pub(crate) fn muted(&mut self, arrival: Instant, source: Source, muted: bool) {
        if self.sources.contains(&source) {
            self.tell(TapEvent::Muted { source, arrival, muted });
        }
    }

    /// Whether it is time to ask for a keyframe, of which tracks.
    pub(crate) fn keyframes_due(&mut self, now: Instant) -> Option<impl Iterator<Item = Source>> {
        let interval = match self.pictures.iter().all(|picture| picture.layer.is_some()) {
            true => KEYFRAME_INTERVAL,
            false => FIRST_KEYFRAME_INTERVAL,
        };
        let due = self.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= interval);
        if self.pictures.is_empty() || !(due || self.shared.wants_keyframe.swap(false, Ordering::AcqRel)) {
            return None;
        }
        self.asked = Some(now);
        Some(self.pictures.iter().map(|picture| picture.source))
    }

    /// The layer of a track that flows, if one does.
    pub(crate) fn layer(&self, source: Source) -> Option<usize> {
        self.pictures.iter().find(|picture| picture.source == source)?.layer
    }

    /// Nothing more comes.
    pub(crate) fn end(&mut self, reason: TapEnd) {
        let code = match reason {
            TapEnd::Closed => 0,
            TapEnd::Left => 1,
            TapEnd::Overrun => 2,
        };
        self.shared.end.store(code, Ordering::Release);
        self.over = true;
    }

    /// Whether the room may forget it.
    pub(crate) fn is_over(&self) -> bool {
        self.over || self.events.is_closed()
    }

    fn tell(&mut self, event: TapEvent) {
        if self.over {
            return;
        }
        if let Err(mpsc::error::TrySendError::Full(_)) = self.events.try_send(event) {
            self.end(TapEnd::Overrun);
        }
    }
}

/// Whether another layer than this flows already.
fn better_elsewhere(picture: &Picture, layer: usize) -> bool {
    picture.layer.is_some_and(|flowing| flowing != layer)
}
