//! Opus packets as frames with times. A packet is a frame here, whatever it holds inside: the file keeps it bit for bit.

use bytes::Bytes;

use super::order::Placed;

/// The longest Opus packet in samples at 48 kHz: 120 ms (RFC 6716, 3.2.5).
const LONGEST: i64 = 5_760;

/// One Opus packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AudioFrame {
    /// When it sounds, in samples at 48 kHz since the take's first frame.
    pub(crate) at: i64,
    /// How long it sounds, in samples at 48 kHz.
    pub(crate) samples: i64,
    /// The packet.
    pub(crate) data: Bytes,
}

impl AudioFrame {
    /// Where it ends.
    pub(crate) fn end(&self) -> i64 {
        self.at + self.samples
    }

    /// Whether its table of contents says stereo (RFC 6716, 3.1).
    pub(crate) fn is_stereo(&self) -> bool {
        self.data.first().is_some_and(|toc| toc & 0b100 != 0)
    }
}

/// How many samples at 48 kHz an Opus packet holds, by its table of contents (RFC 6716, 3.1 and 3.2); `None` where it is malformed.
pub(crate) fn frame_samples(packet: &[u8]) -> Option<i64> {
    let toc = *packet.first()?;
    let config = toc >> 3;
    let one = match config {
        0..=11 => [480, 960, 1_920, 2_880][usize::from(config % 4)],
        12..=15 => [480, 960][usize::from(config % 2)],
        _ => [120, 240, 480, 960][usize::from(config % 4)],
    };
    let frames = match toc & 0b11 {
        0 => 1,
        1 | 2 => 2,
        _ => i64::from(packet.get(1)? & 0x3F),
    };
    Some(one * frames).filter(|samples| (1..=LONGEST).contains(samples))
}

/// Frames in order. One that begins before its predecessor ends, as clocks of senders do that count by rounded durations, is moved behind it by less than half its
/// length; what overlaps more, or is no Opus, is left out.
pub(super) fn frames(packets: Vec<Placed<'_>>) -> Vec<AudioFrame> {
    let mut frames: Vec<AudioFrame> = Vec::with_capacity(packets.len());
    for Placed { at, packet, .. } in packets {
        let Some(samples) = frame_samples(&packet.payload) else { continue };
        let free = frames.last().map_or(at, AudioFrame::end);
        if free - at > samples / 2 {
            continue;
        }
        frames.push(AudioFrame { at: at.max(free), samples, data: packet.payload.clone() });
    }
    frames
}
