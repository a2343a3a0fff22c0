//! The RTP header: what is read and written, checked against `rtc-rtp`, and what hostile bytes do.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use ringback_transport::{RtpError, RtpHeader, RtpHeaderWriter};
use rtc_rtp::header::{Extension, Header};
use rtc_shared::marshal::{Marshal, Unmarshal};

const FIELDS: RtpHeaderWriter =
    RtpHeaderWriter { marker: true, payload_type: 111, sequence: 65_000, timestamp: 0xDEAD_BEEF, ssrc: 0x0102_0304 };

fn written(extensions: &[(u8, &[u8])], payload: &[u8]) -> Vec<u8> {
    let mut buf = vec![0xEE; 4000];
    let len = FIELDS.write(&mut buf, extensions).unwrap();
    buf.truncate(len);
    buf.extend_from_slice(payload);
    buf
}

fn elements(packet: &[u8]) -> Vec<(u8, Vec<u8>)> {
    RtpHeader::parse(packet).unwrap().extensions(packet).map(|(id, value)| (id, value.to_vec())).collect()
}

#[test]
fn a_written_header_reads_back() {
    let packet = written(&[(1, &[0x85]), (3, &[0, 7])], b"payload");
    let header = RtpHeader::parse(&packet).unwrap();
    assert!(header.marker);
    assert_eq!(header.payload_type, 111);
    assert_eq!(header.sequence, 65_000);
    assert_eq!(header.timestamp, 0xDEAD_BEEF);
    assert_eq!(header.ssrc, 0x0102_0304);
    assert_eq!(header.payload(&packet), b"payload");
    assert_eq!(header.extension(&packet, 3), Some(&[0, 7][..]));
    assert_eq!(header.extension(&packet, 4), None);
    // 0xBEDE, two words: 1 + 1 and 1 + 2 bytes, filled up to 8.
    assert_eq!(&packet[12..24], [0xBE, 0xDE, 0, 2, 0x10, 0x85, 0x31, 0, 7, 0, 0, 0]);
    assert_eq!(header.header_len, 24);
}

#[test]
fn the_two_byte_form_carries_what_the_one_byte_form_cannot() {
    for extensions in
        [vec![(15, vec![1])], vec![(1, vec![])], vec![(1, vec![2; 17])], vec![(1, vec![9]), (200, vec![3; 255])]]
    {
        let borrowed: Vec<(u8, &[u8])> = extensions.iter().map(|(id, v)| (*id, &v[..])).collect();
        let packet = written(&borrowed, &[]);
        assert_eq!(&packet[12..14], [0x10, 0]);
        assert_eq!(elements(&packet), extensions);
    }
    assert_eq!(&written(&[(14, &[5; 16])], &[])[12..14], [0xBE, 0xDE]);
}

#[test]
fn padding_bytes_and_stop_identifiers_of_the_one_byte_form_follow_rfc_8285() {
    let with = |words: &[u8]| {
        let mut packet = written(&[], &[]);
        packet[0] |= 0x10;
        packet.extend([0xBE, 0xDE, 0, (words.len() / 4) as u8]);
        packet.extend(words);
        packet
    };
    assert_eq!(elements(&with(&[0, 0x10, 7, 0])), [(1, vec![7])]);
    // Identifier 15 ends it, and so does identifier 0 with a length.
    assert_eq!(elements(&with(&[0x10, 7, 0xF3, 0x20])), [(1, vec![7])]);
    assert_eq!(elements(&with(&[0x10, 7, 0x03, 0x20])), [(1, vec![7])]);
    // An element of four bytes where two are left.
    assert_eq!(
        RtpHeader::parse(&with(&[0x10, 7, 0x23, 1])),
        Err(RtpError::ExtensionElement { id: 2, offset: 18, needed: 5, available: 2 })
    );
}

#[test]
fn a_profile_that_is_not_rfc_8285_is_skipped_as_a_whole() {
    let mut packet = written(&[], &[]);
    packet[0] |= 0x10;
    packet.extend([0xAB, 0xCD, 0, 1, 1, 2, 3, 4, 9]);
    let header = RtpHeader::parse(&packet).unwrap();
    assert_eq!(header.extensions(&packet).count(), 0);
    assert_eq!(header.payload(&packet), [9]);
}

#[test]
fn padding_is_taken_off_and_put_on() {
    let mut buf = vec![0xEE; 64];
    let len = FIELDS.write(&mut buf, &[]).unwrap();
    buf[len] = 42;
    let padded = RtpHeaderWriter::pad(&mut buf, len + 1, 5).unwrap();
    let header = RtpHeader::parse(&buf[..padded]).unwrap();
    assert_eq!((header.payload_len, header.padding_len), (1, 5));
    assert_eq!(header.payload(&buf), [42]);
    assert_eq!(&buf[13..18], [0, 0, 0, 0, 5]);

    assert_eq!(RtpHeaderWriter::pad(&mut buf, 13, 0), Err(RtpError::PaddingRequest { requested: 0 }));
    assert_eq!(RtpHeaderWriter::pad(&mut buf, 13, 256), Err(RtpError::PaddingRequest { requested: 256 }));
    assert_eq!(RtpHeaderWriter::pad(&mut buf, 60, 5), Err(RtpError::BufferTooSmall { needed: 65, available: 64 }));
    assert!(RtpHeaderWriter::pad(&mut buf, usize::MAX, 5).is_err());
}

#[test]
fn padding_longer_than_the_payload_is_an_error() {
    for (last, payload_len) in [(0, 4), (5, 4), (255, 4), (1, 0)] {
        let mut packet = written(&[(1, &[1])], &vec![last; payload_len]);
        packet[0] |= 0x20;
        let found = if payload_len == 0 { 0 } else { last };
        assert_eq!(RtpHeader::parse(&packet), Err(RtpError::Padding { found, available: payload_len }));
        // Before decryption nobody can know.
        assert!(RtpHeader::parse_unpadded(&packet).is_ok());
    }
    let mut all = written(&[], &[4; 4]);
    all[0] |= 0x20;
    assert_eq!(RtpHeader::parse(&all).unwrap().payload_len, 0);
}

#[test]
fn a_header_cut_short_says_where() {
    let mut packet = written(&[(1, &[1, 2, 3])], &[]);
    packet[0] |= 2; // two CSRCs that are not there
    let truncated = |packet: &[u8]| match RtpHeader::parse(packet) {
        Err(RtpError::Truncated { part, offset, needed, available }) => (part, offset, needed, available),
        other => panic!("{other:?}"),
    };
    assert_eq!(truncated(&[]), ("the fixed header", 0, 12, 0));
    assert_eq!(truncated(&packet[..11]), ("the fixed header", 0, 12, 11));
    assert_eq!(truncated(&packet[..15]), ("the CSRC list", 12, 8, 3));
    assert_eq!(truncated(&packet[..20]), ("the extension header", 20, 4, 0));
    let long = written(&[(1, &[1, 2, 3])], &[]);
    assert_eq!(truncated(&long[..19]), ("the extension", 16, 4, 3));
    let mut wild = long.clone();
    wild[14..16].copy_from_slice(&[0xFF, 0xFF]);
    assert_eq!(truncated(&wild), ("the extension", 16, 262_140, 4));
    let mut other = long;
    other[0] = 0x50;
    assert_eq!(RtpHeader::parse(&other), Err(RtpError::Version { found: 1 }));
    assert_eq!(RtpError::Version { found: 1 }.to_string(), "version 1 in the top bits of byte 0, expected 2");
}

#[test]
fn a_header_that_cannot_be_written_is_an_error() {
    let mut buf = [0; 40];
    let wild = RtpHeaderWriter { payload_type: 128, ..FIELDS };
    assert_eq!(wild.write(&mut buf, &[]), Err(RtpError::PayloadType { found: 128 }));
    assert_eq!(FIELDS.write(&mut buf, &[(0, &[1])]), Err(RtpError::ExtensionId));
    assert_eq!(FIELDS.write(&mut buf, &[(1, &[0; 256])]), Err(RtpError::ExtensionValue { id: 1, len: 256 }));
    assert_eq!(FIELDS.write(&mut buf[..11], &[]), Err(RtpError::BufferTooSmall { needed: 12, available: 11 }));
    assert_eq!(
        FIELDS.write(&mut buf[..19], &[(1, &[0; 3])]),
        Err(RtpError::BufferTooSmall { needed: 20, available: 19 })
    );
}

proptest! {
    #[test]
    fn random_bytes_never_panic(mut packet in prop::collection::vec(any::<u8>(), 0..120), version in any::<bool>()) {
        if let (true, Some(first)) = (version, packet.first_mut()) {
            *first = *first & 0x3F | 0x80;
        }
        if let Ok(header) = RtpHeader::parse(&packet) {
            prop_assert_eq!(header.header_len + header.payload_len + usize::from(header.padding_len), packet.len());
            for (_, value) in header.extensions(&packet) {
                prop_assert!(value.len() <= 255);
            }
            // A header kept while its packet is cut must not reach outside.
            for cut in 0..packet.len() {
                header.extensions(&packet[..cut]).count();
                prop_assert!(header.payload(&packet[..cut]).len() <= cut);
            }
        }
        prop_assert!(RtpHeader::parse_unpadded(&packet).is_ok() || RtpHeader::parse(&packet).is_err());
    }

    #[test]
    fn what_another_implementation_writes_is_read_alike(
        marker in any::<bool>(), payload_type in 0u8..128, sequence in any::<u16>(), timestamp in any::<u32>(),
        ssrc in any::<u32>(), csrc in prop::collection::vec(any::<u32>(), 0..=15), two_byte in any::<bool>(),
        values in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..=16), 0..6),
        payload in prop::collection::vec(any::<u8>(), 0..50),
    ) {
        let extensions: Vec<Extension> = values.iter().enumerate()
            .map(|(i, value)| Extension { id: i as u8 + 1, payload: value.clone().into() }).collect();
        let oracle = Header {
            version: 2, padding: false, extension: !extensions.is_empty(), marker, payload_type, sequence_number: sequence,
            timestamp, ssrc, csrc, extension_profile: if two_byte { 0x1000 } else { 0xBEDE }, extensions, extensions_padding: 0,
        };
        let mut packet = oracle.marshal().unwrap().to_vec();
        packet.extend(&payload);
        let header = RtpHeader::parse(&packet).unwrap();
        prop_assert_eq!((header.marker, header.payload_type, header.sequence), (marker, payload_type, sequence));
        prop_assert_eq!((header.timestamp, header.ssrc), (timestamp, ssrc));
        prop_assert_eq!(header.payload(&packet), &payload[..]);
        let expected: Vec<_> = values.into_iter().enumerate().map(|(i, value)| (i as u8 + 1, value)).collect();
        prop_assert_eq!(elements(&packet), expected);
    }

    #[test]
    fn what_is_written_another_implementation_reads_alike(
        ids in prop::collection::btree_set(1u8..=14, 0..6), len in 1usize..=20, payload in prop::collection::vec(any::<u8>(), 0..50),
    ) {
        let values: Vec<(u8, Vec<u8>)> = ids.into_iter().map(|id| (id, vec![id; len])).collect();
        let borrowed: Vec<(u8, &[u8])> = values.iter().map(|(id, value)| (*id, &value[..])).collect();
        let packet = written(&borrowed, &payload);
        let mut bytes = &packet[..];
        let oracle = Header::unmarshal(&mut bytes).unwrap();
        prop_assert_eq!(bytes, &payload[..]);
        prop_assert_eq!(oracle.sequence_number, FIELDS.sequence);
        let read: Vec<_> = oracle.extensions.iter().map(|e| (e.id, e.payload.to_vec())).collect();
        prop_assert_eq!(read, values);
    }
}
