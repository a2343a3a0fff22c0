//! What the peer sends: RTP packets with payloads that say who sent them and which packet it is.

use std::time::{Duration, Instant};

use ringback_transport::rtp::RtpHeaderWriter;

pub const OPUS: u8 = 111;
pub const VP8: u8 = 96;
pub const RTX: u8 = 97;
pub const MICROPHONE: u32 = 1001;
pub const CAMERA: u32 = 2001;
pub const CAMERA_RTX: u32 = 2002;
/// Header extension ids.
pub const LEVEL: u8 = 1;
pub const TRANSPORT: u8 = 3;
pub const MID: u8 = 4;
pub const RID: u8 = 10;
pub const REPAIRED_RID: u8 = 11;

/// A payload that names its sender, its number and when it was sent.
pub fn stamp(sender: u64, number: u64, origin: Instant, len: usize) -> Vec<u8> {
    let mut payload = sender.to_be_bytes().to_vec();
    payload.extend(number.to_be_bytes());
    payload.extend((origin.elapsed().as_nanos() as u64).to_be_bytes());
    payload.resize(len.max(payload.len()), 0xA5);
    payload
}

/// Reads a stamp: sender, number, age.
pub fn read_stamp(payload: &[u8], origin: Instant, arrived: Instant) -> (u64, u64, Duration) {
    let word = |at: usize| u64::from_be_bytes(payload[at..at + 8].try_into().unwrap());
    let sent = Duration::from_nanos(word(16));
    (word(0), word(8), arrived.saturating_duration_since(origin).saturating_sub(sent))
}

/// VP8's descriptor with a 15-bit picture id, and the start of a frame.
pub fn vp8(picture: u16, key: bool, first: bool) -> Vec<u8> {
    let [high, low] = (picture | 0x8000).to_be_bytes();
    let mut payload = vec![if first { 0x90 } else { 0x80 }, 0x80, high, low];
    if first {
        payload.extend_from_slice(if key { &[0x10, 0, 0, 0x9D, 1, 0x2A, 0x80, 2, 0x68, 1] } else { &[0x11, 0, 0] });
    }
    payload
}

/// Where the stamp begins in a payload of [`vp8`].
pub fn vp8_len(payload: &[u8]) -> usize {
    match (payload[0] & 0x10 != 0, payload.get(4).is_some_and(|byte| byte & 1 == 0)) {
        (false, _) => 4,
        (true, true) => 14,
        (true, false) => 7,
    }
}

pub fn rtp(
    ssrc: u32,
    payload_type: u8,
    sequence: u16,
    timestamp: u32,
    extensions: &[(u8, &[u8])],
    payload: &[u8],
) -> Vec<u8> {
    let header = RtpHeaderWriter { marker: false, payload_type, sequence, timestamp, ssrc };
    let mut packet = vec![0; 200 + payload.len()];
    let len = header.write(&mut packet, extensions).unwrap();
    packet[len..len + payload.len()].copy_from_slice(payload);
    packet.truncate(len + payload.len());
    packet
}

/// A microphone's packet, every 20 ms.
pub fn voice(sender: u64, number: u64, origin: Instant, level: u8) -> Vec<u8> {
    let transport = (number as u16).to_be_bytes();
    let extensions: &[(u8, &[u8])] = &[(LEVEL, &[level]), (TRANSPORT, &transport), (MID, b"mic")];
    // The sizes of a voice move; packets all of one size would be those of a constant bitrate, or of silence.
    let payload = stamp(sender, number, origin, 100 + (number * 37 % 41) as usize);
    rtp(MICROPHONE, OPUS, number as u16, (number as u32).wrapping_mul(960), extensions, &payload)
}

/// A camera's packet: frames of one packet each, a keyframe where told.
pub fn face(sender: u64, number: u64, origin: Instant, key: bool) -> Vec<u8> {
    let mut payload = vp8(number as u16 & 0x7FFF, key, true);
    payload.extend(stamp(sender, number, origin, 1000));
    let extensions: &[(u8, &[u8])] = &[(MID, b"cam")];
    rtp(CAMERA, VP8, number as u16, (number as u32).wrapping_mul(3000), extensions, &payload)
}
