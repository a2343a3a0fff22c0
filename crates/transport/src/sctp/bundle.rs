//! Puts into one packet what the SCTP library sends apart (RFC 9260, section 6.10): acknowledgements, and news of abandoned messages, go with the
//! data that is sent at the same time. Each datagram less spares both sides its encryption and its way through the kernel, which is most of
//! what a small message costs. It looks at chunk types and lengths only.

use bytes::{Bytes, BytesMut};

use super::guard::{COMMON_HEADER, DATA, FORWARD_TSN, SACK, chunks};

/// The largest packet that is made of several: with DTLS around it (37 bytes with AES-GCM) it fits a datagram of 1,200, which passes everywhere.
const MAX_BUNDLE: usize = 1_163;

/// Where the checksum is in the common header.
const CHECKSUM: std::ops::Range<usize> = 8..12;

/// Puts packets that the library sends at a time together: control chunks into the first packet of data, before it.
pub(super) fn bundle(packets: &mut Vec<Bytes>) {
    let (controls, data): (Vec<Bytes>, Vec<Bytes>) = match packets.len() {
        0 | 1 => return,
        _ => packets.drain(..).partition(is_control),
    };
    let bodies = controls.iter().filter_map(|packet| packet.get(COMMON_HEADER..));
    let size: usize = bodies.clone().map(<[u8]>::len).sum();
    let split =
        data.first().filter(|first| carries_data(first)).and_then(|first| first.split_at_checked(COMMON_HEADER));
    match split.filter(|(header, chunks)| header.len() + size + chunks.len() <= MAX_BUNDLE && size > 0) {
        Some((header, chunks)) => {
            let mut whole = BytesMut::with_capacity(header.len() + size + chunks.len());
            whole.extend_from_slice(header);
            bodies.for_each(|body| whole.extend_from_slice(body));
            whole.extend_from_slice(chunks);
            whole[CHECKSUM].fill(0);
            let checksum = crc32c::crc32c(&whole);
            whole[CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
            packets.push(whole.freeze());
            packets.extend(data.into_iter().skip(1));
        }
        None => {
            packets.extend(data);
            packets.extend(controls);
        }
    }
}

/// Whether a packet only acknowledges or skips.
fn is_control(packet: &Bytes) -> bool {
    chunks(packet).all(|chunk| matches!(chunk, Some((SACK | FORWARD_TSN, _))))
}

fn carries_data(packet: &Bytes) -> bool {
    chunks(packet).all(|chunk| matches!(chunk, Some((DATA, _))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(list: &[(u8, usize)]) -> Bytes {
        let mut packet = vec![0, 7, 0, 8, 1, 2, 3, 4, 9, 9, 9, 9];
        for &(kind, len) in list {
            packet.extend([kind, 0]);
            packet.extend((len as u16 + 4).to_be_bytes());
            packet.resize(packet.len() + len, kind);
        }
        packet.into()
    }

    fn kinds(packet: &Bytes) -> Vec<u8> {
        chunks(packet).flatten().map(|(kind, _)| kind).collect()
    }

    fn bundled(mut packets: Vec<Bytes>) -> Vec<Bytes> {
        bundle(&mut packets);
        packets
    }

    #[test]
    fn acknowledgements_go_before_the_data_in_one_packet_with_a_checksum_of_its_own() {
        let data = packet(&[(DATA, 100), (DATA, 20)]);
        let out =
            bundled(vec![data.clone(), packet(&[(DATA, 40)]), packet(&[(SACK, 12)]), packet(&[(FORWARD_TSN, 8)])]);
        assert_eq!(out.iter().map(kinds).collect::<Vec<_>>(), [vec![SACK, FORWARD_TSN, DATA, DATA], vec![DATA]]);
        assert_eq!(out[0][..8], data[..8], "ports and tag");
        let mut zeroed = out[0].to_vec();
        zeroed[CHECKSUM].fill(0);
        assert_eq!(out[0][CHECKSUM], crc32c::crc32c(&zeroed).to_le_bytes());
    }

    #[test]
    fn what_does_not_fit_or_belong_together_stays_apart() {
        let sack = || packet(&[(SACK, 12)]);
        let large = packet(&[(DATA, MAX_BUNDLE - COMMON_HEADER - 4 - 16)]);
        assert_eq!(bundled(vec![large.clone(), sack()]).len(), 1, "just fits");
        let larger = packet(&[(DATA, MAX_BUNDLE - COMMON_HEADER - 4 - 12)]);
        assert_eq!(bundled(vec![larger.clone(), sack()]), [larger, sack()]);
        let handshake = packet(&[(10, 8)]);
        assert_eq!(bundled(vec![handshake.clone(), sack()]), [handshake, sack()]);
        assert_eq!(bundled(vec![sack()]), [sack()]);
        assert_eq!(bundled(vec![]), Vec::<Bytes>::new());
    }
}
