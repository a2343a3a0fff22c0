//! What the peer sends: RTP packets with payloads that say who sent them and which packet it is.

use std::time::{Duration, Instant};

use ringback_transport::rtp::RtpHeaderWriter;

use super::Format;

pub const OPUS: u8 = 111;
pub const RED: u8 = 63;
/// Of whichever video codec is offered.
pub const VP8: u8 = 96;
pub const RTX: u8 = 97;
pub const MICROPHONE: u32 = 1001;
pub const CAMERA: u32 = 2001;
pub const CAMERA_RTX: u32 = 2002;
/// Header extension ids.
pub const LEVEL: u8 = 1;
pub const TRANSPORT: u8 = 3;
pub const MID: u8 = 4;
pub const SEND_TIME: u8 = 5;
pub const RID: u8 = 10;
pub const REPAIRED_RID: u8 = 11;
pub const DEPENDENCY: u8 = 12;

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

/// VP9's descriptor with a 15-bit picture id and TL0PICIDX of a layer, not flexible, and the start of a frame: of a keyframe's base
/// layer with its size.
pub fn vp9(picture: u16, tl0: u8, spatial: u8, key: Option<(u16, u16)>) -> Vec<u8> {
    let [high, low] = (picture | 0x8000).to_be_bytes();
    let flags = if key.is_some() { 0xAC } else { 0xEC };
    let mut payload = vec![flags, high, low, spatial << 1 | u8::from(spatial > 0), tl0];
    if let Some((width, height)) = key.filter(|_| spatial == 0) {
        payload[0] |= 0x02;
        payload.push(0x10);
        payload.extend([width.to_be_bytes(), height.to_be_bytes()].as_flattened());
    }
    payload.push(0x82);
    payload
}

/// Picture id and TL0PICIDX of a payload of [`vp9`].
pub fn vp9_counters(payload: &[u8]) -> (u16, u8) {
    (u16::from_be_bytes([payload[1] & 0x7F, payload[2]]), payload[4])
}

/// AV1's dependency descriptor of a frame in one packet, with the head of a structure for a keyframe.
pub fn dependency(frame: u16, key: bool) -> Vec<u8> {
    let [high, low] = frame.to_be_bytes();
    let mut value = vec![0xC0, high, low];
    if key {
        // Longer than an element of the one-byte form takes, as those of browsers are.
        value.extend([0x80, 0x03, 0x1E, 0xA8, 0x51, 0x41, 0x01, 0x08, 0x34, 0x53, 0x54, 0x9D, 0x8A, 0x6C, 0x34, 0xC0]);
    }
    value
}

/// RED of one redundant block and the primary one.
pub fn red(redundant: &[u8], primary: &[u8]) -> Vec<u8> {
    let length = redundant.len() as u16;
    // 20 ms earlier.
    let mut payload = vec![0x80 | OPUS, (960 >> 6) as u8, (960 << 2) as u8 | (length >> 8) as u8, length as u8, OPUS];
    payload.extend_from_slice(redundant);
    payload.extend_from_slice(primary);
    payload
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

/// A camera's packet in another format than VP8.
pub fn face_in(format: Format, sender: u64, number: u64, origin: Instant, key: bool) -> Vec<u8> {
    let (picture, key_size) = (number as u16, key.then_some((640, 360)));
    let described = dependency(picture, key);
    let mut extensions: Vec<(u8, &[u8])> = vec![(MID, b"cam")];
    let mut payload = match format {
        Format::Vp8 => return face(sender, number, origin, key),
        Format::Vp9 => vp9(picture & 0x7FFF, number as u8, 0, key_size),
        Format::H264 if key => vec![0x67, 0x42, 0xC0, 0x1F, 0xD9, 0x00, 0x50, 0x05, 0xBB, 0x01],
        Format::H264 => vec![0x41, 0x9A],
        Format::Av1 => {
            extensions.push((DEPENDENCY, &described));
            vec![if key { 0x18 } else { 0x10 }]
        }
    };
    payload.extend(stamp(sender, number, origin, 1000));
    rtp(CAMERA, VP8, picture, (number as u32).wrapping_mul(3000), &extensions, &payload)
}
