//! One record of a spool file: length and CRC-32 of the body, then the body; all numbers little-endian. The bodies' layout is this file's alone, so that
//! another version changes the magic in front of the file.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};

use crate::packet::{Codec, TakeEvent, TakePacket, TrackKind};

/// The longest body: an RTP packet is shorter than an IP packet.
const LONGEST: usize = 70_000;

const PACKET: u8 = 0;
const SENDER_REPORT: u8 = 1;
const MUTED: u8 = 2;

const VIDEO: u8 = 1;
const MARKER: u8 = 2;
const LEVEL: u8 = 4;
const MUTE: u8 = 8;

/// Appends a body in a frame.
pub(super) fn frame(body: &[u8], out: &mut Vec<u8>) {
    out.put_u32_le(body.len() as u32);
    out.put_u32_le(crc32fast::hash(body));
    out.put_slice(body);
}

/// The next body; `None` where the rest is torn or damaged.
pub(super) fn next<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let mut head = rest.get(..8)?;
    let (length, checksum) = (head.get_u32_le() as usize, head.get_u32_le());
    let body = rest.get(8..8 + length).filter(|_| length <= LONGEST)?;
    *rest = rest.get(8 + length..)?;
    (crc32fast::hash(body) == checksum).then_some(body)
}

/// Appends an event as a framed record.
pub(super) fn encode(event: &TakeEvent, out: &mut Vec<u8>) {
    let begin = out.len();
    // The frame's place; filled in at the end.
    out.put_u64_le(0);
    let track = |track: TrackKind| if track == TrackKind::Video { VIDEO } else { 0 };
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    match event {
        TakeEvent::Packet(packet) => {
            let codec = match packet.codec {
                Codec::Opus => 0,
                Codec::Vp8 => 1,
            };
            let marker = if packet.marker { MARKER } else { 0 };
            let level = if packet.level.is_some() { LEVEL } else { 0 };
            out.put_slice(&[PACKET, track(packet.track) | marker | level, codec, packet.level.unwrap_or(0)]);
            out.put_u64_le(micros(packet.arrival));
            out.put_u16_le(packet.sequence);
            out.put_u32_le(packet.timestamp);
            out.put_slice(&packet.payload);
        }
        TakeEvent::SenderReport { track: of, arrival, ntp, rtp_timestamp } => {
            out.put_slice(&[SENDER_REPORT, track(*of)]);
            out.put_u64_le(micros(*arrival));
            out.put_u64_le(*ntp);
            out.put_u32_le(*rtp_timestamp);
        }
        TakeEvent::Muted { track: of, arrival, muted } => {
            out.put_slice(&[MUTED, track(*of) | if *muted { MUTE } else { 0 }]);
            out.put_u64_le(micros(*arrival));
        }
    }
    let (_, record) = out.split_at_mut(begin);
    let (mut head, body) = record.split_at_mut(8);
    head.put_u32_le(body.len() as u32);
    head.put_u32_le(crc32fast::hash(body));
}

/// Reads a body; `None` where it is none of ours. `keep` makes a payload of a part of it.
pub(super) fn decode(mut body: &[u8], keep: impl Fn(&[u8]) -> Bytes) -> Option<TakeEvent> {
    let (what, flags) = (body.try_get_u8().ok()?, body.try_get_u8().ok()?);
    let track = if flags & VIDEO != 0 { TrackKind::Video } else { TrackKind::Audio };
    Some(match what {
        PACKET => {
            let codec = match body.try_get_u8().ok()? {
                0 => Codec::Opus,
                1 => Codec::Vp8,
                _ => return None,
            };
            let level = body.try_get_u8().ok().filter(|_| flags & LEVEL != 0);
            TakeEvent::Packet(TakePacket {
                track,
                codec,
                level,
                marker: flags & MARKER != 0,
                arrival: Duration::from_micros(body.try_get_u64_le().ok()?),
                sequence: body.try_get_u16_le().ok()?,
                timestamp: body.try_get_u32_le().ok()?,
                payload: keep(body),
            })
        }
        SENDER_REPORT => TakeEvent::SenderReport {
            track,
            arrival: Duration::from_micros(body.try_get_u64_le().ok()?),
            ntp: body.try_get_u64_le().ok()?,
            rtp_timestamp: body.try_get_u32_le().ok()?,
        },
        MUTED => TakeEvent::Muted {
            track,
            arrival: Duration::from_micros(body.try_get_u64_le().ok()?),
            muted: flags & MUTE != 0,
        },
        _ => return None,
    })
}
