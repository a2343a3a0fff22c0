//! What the load's payloads say: who sent them, which packet it is and when, so that the receiving end knows whether the right bytes
//! came, whole, and how long they took. Video payloads begin with a VP8 descriptor (RFC 7741).

use std::time::{Duration, Instant};

/// Tells a stamp from anything else.
const MAGIC: u64 = 0x5249_4E47_4241_434B;

/// Bytes of a stamp: magic, sender, number, nanoseconds.
const STAMP: usize = 32;

/// What follows a stamp.
const FILLER: u8 = 0xA5;

/// A stamp that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) sender: u64,
    /// When it was sent, since the load's beginning.
    pub(crate) sent: Duration,
}

/// Appends a stamp, and filler up to `len` bytes altogether.
pub(crate) fn write(payload: &mut Vec<u8>, sender: u64, number: u64, origin: Instant, len: usize) {
    let nanos = origin.elapsed().as_nanos() as u64;
    for word in [MAGIC, sender, number, nanos] {
        payload.extend_from_slice(&word.to_be_bytes());
    }
    payload.resize(len.max(payload.len()), FILLER);
}

/// Appends VP8's descriptor with a 15-bit picture id, and the beginning of a frame where it is one.
pub(crate) fn write_vp8(payload: &mut Vec<u8>, picture: u16, key: bool, first: bool) {
    let [high, low] = (picture | 0x8000).to_be_bytes();
    payload.extend_from_slice(&[if first { 0x90 } else { 0x80 }, 0x80, high, low]);
    if first {
        let keyframe: &[u8] = &[0x10, 0, 0, 0x9D, 1, 0x2A, 0x80, 2, 0x68, 1];
        payload.extend_from_slice(if key { keyframe } else { &[0x11, 0, 0] });
    }
}

/// Reads the stamp of a payload, wherever it begins in the first bytes: a server may rewrite the descriptor. `None`: not what was sent.
pub(crate) fn read(payload: &[u8]) -> Option<Stamp> {
    let magic = MAGIC.to_be_bytes();
    let at = payload.windows(8).take(32).position(|window| window == magic)?;
    let stamp = payload.get(at..at + STAMP)?;
    let word = |index: usize| Some(u64::from_be_bytes(stamp.get(index * 8..index * 8 + 8)?.try_into().ok()?));
    if payload.get(at + STAMP..)?.iter().any(|byte| *byte != FILLER) {
        return None;
    }
    Some(Stamp { sender: word(1)?, sent: Duration::from_nanos(word(3)?) })
}
