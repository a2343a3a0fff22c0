//! SRTP and SRTCP from the master key on: libsrtp's published reference packets, and `rtc-srtp` as the other end in
//! both directions. The vectors of RFC 3711 and RFC 7714, which give session keys, are beside the code.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use ringback_transport::srtp::{GcmLibrary, MAX_OVERHEAD};
use ringback_transport::{RtpHeaderWriter, SrtpError, SrtpKeys, SrtpProfile, SrtpReceiver, SrtpSender};
use rtc_crypto::RTCCryptoProvider;
use rtc_srtp::context::Context;
use rtc_srtp::option::{srtcp_replay_protection, srtp_replay_protection};
use rtc_srtp::protection_profile::ProtectionProfile;

const PROFILES: [SrtpProfile; 2] = [SrtpProfile::AeadAes128Gcm, SrtpProfile::Aes128CmSha1_80];

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn protected(sender: &mut SrtpSender, plain: &[u8]) -> Vec<u8> {
    let mut buf = plain.to_vec();
    buf.resize(plain.len() + MAX_OVERHEAD, 0xEE);
    let is_rtcp = (192..=223).contains(&plain[1]);
    let len =
        if is_rtcp { sender.protect_rtcp(&mut buf, plain.len()) } else { sender.protect_rtp(&mut buf, plain.len()) };
    buf.truncate(len.unwrap());
    buf
}

fn unprotected(receiver: &mut SrtpReceiver, sealed: &[u8]) -> Result<Vec<u8>, SrtpError> {
    let mut buf = sealed.to_vec();
    let is_rtcp = (192..=223).contains(&sealed[1]);
    let len = if is_rtcp { receiver.unprotect_rtcp(&mut buf) } else { receiver.unprotect_rtp(&mut buf) }?;
    buf.truncate(len);
    Ok(buf)
}

/// The `srtp_validate` and `srtp_validate_gcm` cases of libsrtp's test driver. Its first SRTCP packet has index 1.
#[test]
fn the_reference_packets_of_libsrtp_are_reproduced() {
    let rtp = hex("800f1234decafbadcafebabeabababababababababababababababab");
    let rtcp = hex("81c8000bcafebabeabababababababababababababababab");
    for (profile, key, salt, sealed_rtp, sealed_rtcp) in [
        (
            SrtpProfile::Aes128CmSha1_80,
            "e1f97a0d3e018be0d64fa32c06de4139",
            "0ec675ad498afeebb6960b3aabe6",
            "800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb",
            "81c8000bcafebabe7128035be487b9bdbef89041f977a5a880000001993e08cd54d6c1230798",
        ),
        (
            SrtpProfile::AeadAes128Gcm,
            "000102030405060708090a0b0c0d0e0f",
            "a0a1a2a3a4a5a6a7a8a9aaab",
            "800f1234decafbadcafebabec5002ede04cfdd2eb91159e0880aa06ed2976826f796b201df3131a127e8a392",
            "81c8000bcafebabec98b8b5df0392a55852b6c21ac8e7025c52c6fbea2b3b446ea31123ba88ce61e80000001",
        ),
    ] {
        let keys = || SrtpKeys::new(profile, &hex(key), &hex(salt)).unwrap();
        let mut sender = SrtpSender::new(keys()).unwrap();
        let mut receiver = SrtpReceiver::new(&keys()).unwrap();
        assert_eq!(protected(&mut sender, &rtp), hex(sealed_rtp), "{profile:?}");
        assert_eq!(unprotected(&mut receiver, &hex(sealed_rtp)), Ok(rtp.clone()), "{profile:?}");
        assert_ne!(protected(&mut sender, &rtcp), hex(sealed_rtcp), "index 0");
        assert_eq!(protected(&mut sender, &rtcp), hex(sealed_rtcp), "{profile:?}");
        assert_eq!(unprotected(&mut receiver, &hex(sealed_rtcp)), Ok(rtcp.clone()), "{profile:?}");
    }
}

#[test]
fn exported_keys_go_to_the_direction_of_the_dtls_role() {
    for profile in PROFILES {
        let material: Vec<u8> = (0..profile.key_material_len() as u8).collect();
        let (client_out, client_in) = SrtpKeys::from_exported(profile, true, &material).unwrap();
        let (server_out, server_in) = SrtpKeys::from_exported(profile, false, &material).unwrap();
        let plain = packet(7, 1, b"hello");
        for (out, into) in [(client_out, server_in), (server_out, client_in)] {
            let sealed = protected(&mut SrtpSender::new(out).unwrap(), &plain);
            assert_eq!(unprotected(&mut SrtpReceiver::new(&into).unwrap(), &sealed), Ok(plain.clone()));
        }
        assert!(matches!(
            SrtpKeys::from_exported(profile, true, &material[1..]),
            Err(SrtpError::KeyMaterial { found, .. }) if found == material.len() - 1
        ));
        assert_eq!(SrtpProfile::from_dtls_id(profile.dtls_id()), Some(profile));
    }
    assert_eq!(SrtpProfile::from_dtls_id(8), None);
    assert_eq!(SrtpProfile::AeadAes128Gcm.key_material_len(), 56);
    assert_eq!(SrtpProfile::Aes128CmSha1_80.key_material_len(), 60);
    let keys = SrtpKeys::new(SrtpProfile::AeadAes128Gcm, &[0x5A; 16], &[0xA5; 12]).unwrap();
    assert_eq!(format!("{keys:?}"), "SrtpKeys { profile: AeadAes128Gcm, .. }");
}

fn packet(ssrc: u32, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let writer =
        RtpHeaderWriter { marker: false, payload_type: 96, sequence, timestamp: u32::from(sequence) * 90, ssrc };
    let mut buf = vec![0; 100];
    let len = writer.write(&mut buf, &[(1, &[0x42]), (4, &[1, 2, 3])]).unwrap();
    buf.truncate(len);
    buf.extend_from_slice(payload);
    buf
}

fn report(ssrc: u32, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 1];
    packet.extend(ssrc.to_be_bytes());
    packet.extend(body);
    packet
}

struct Ends {
    sender: SrtpSender,
    receiver: SrtpReceiver,
    oracle_sender: Context,
    oracle_receiver: Context,
}

fn ends(profile: SrtpProfile) -> Ends {
    let oracle_profile = match profile {
        SrtpProfile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        SrtpProfile::Aes128CmSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
    };
    let key = [0x17; 16];
    let salt: Vec<u8> = (0..oracle_profile.salt_len() as u8).collect();
    let keys = || SrtpKeys::new(profile, &key, &salt).unwrap();
    let provider = rtc_crypto::providers::RingProvider::new();
    let oracle = || {
        let replay = (srtp_replay_protection(128), srtcp_replay_protection(128));
        Context::new(&key, &salt, oracle_profile, Some(replay.0), Some(replay.1), provider.crypto()).unwrap()
    };
    Ends {
        sender: SrtpSender::new(keys()).unwrap(),
        receiver: SrtpReceiver::new(&keys()).unwrap(),
        oracle_sender: oracle(),
        oracle_receiver: oracle(),
    }
}

#[test]
fn another_implementation_and_this_one_understand_each_other_over_two_rollovers() {
    for profile in PROFILES {
        let mut ends = ends(profile);
        let mut sequence = 30_000u16;
        for n in 0..900u32 {
            let plain = packet(0xABCD_0001 + n % 3, sequence, &n.to_be_bytes());
            let sealed = protected(&mut ends.sender, &plain);
            assert_eq!(ends.oracle_receiver.decrypt_rtp(&sealed).unwrap(), plain, "{profile:?} packet {n}");
            let oracle_sealed = ends.oracle_sender.encrypt_rtp(&plain).unwrap();
            assert_eq!(oracle_sealed, sealed, "{profile:?} packet {n}");
            assert_eq!(unprotected(&mut ends.receiver, &oracle_sealed), Ok(plain), "{profile:?} packet {n}");
            sequence = sequence.wrapping_add(193);
        }
    }
}

proptest! {
    #[test]
    fn any_packet_passes_between_another_implementation_and_this_one(
        gcm in any::<bool>(), ssrc in any::<u32>(), sequence in 0u16..32_768,
        payload in prop::collection::vec(any::<u8>(), 0..1400), body in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut ends = ends(PROFILES[usize::from(gcm)]);
        let plain = packet(ssrc, sequence, &payload);
        let sealed = protected(&mut ends.sender, &plain);
        prop_assert_eq!(ends.oracle_receiver.decrypt_rtp(&sealed).unwrap(), &plain[..]);
        let sealed = ends.oracle_sender.encrypt_rtp(&plain).unwrap();
        prop_assert_eq!(unprotected(&mut ends.receiver, &sealed), Ok(plain));

        let plain = report(ssrc, &body);
        for _ in 0..3 {
            let sealed = protected(&mut ends.sender, &plain);
            prop_assert_eq!(ends.oracle_receiver.decrypt_rtcp(&sealed).unwrap(), &plain[..]);
            let sealed = ends.oracle_sender.encrypt_rtcp(&plain).unwrap();
            prop_assert_eq!(unprotected(&mut ends.receiver, &sealed), Ok(plain.clone()));
        }
    }
}

proptest! {
    #[test]
    fn both_libraries_seal_and_open_the_same(
        key in any::<[u8; 16]>(),
        salt in any::<[u8; 12]>(),
        ssrc in any::<u32>(),
        first in 0..1_u16 << 15,
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..1_400), 1..8),
        damaged in any::<prop::sample::Index>(),
    ) {
        let keys = || SrtpKeys::new(SrtpProfile::AeadAes128Gcm, &key, &salt).unwrap();
        let mut senders = GcmLibrary::ALL.map(|library| SrtpSender::with_library(keys(), library).unwrap());
        let mut receivers = GcmLibrary::ALL.map(|library| SrtpReceiver::with_library(&keys(), library).unwrap());
        for (payload, number) in payloads.iter().zip(0..) {
            let header = RtpHeaderWriter { marker: false, payload_type: 96, sequence: first + number, timestamp: 7, ssrc };
            let mut plain = vec![0; 12];
            header.write(&mut plain, &[]).unwrap();
            plain.extend(payload);
            let [ring, aws_lc] = senders.each_mut().map(|sender| protected(sender, &plain));
            prop_assert_eq!(&ring, &aws_lc);
            let mut forged = ring.clone();
            forged[damaged.index(ring.len() - 12) + 12] ^= 1;
            for receiver in &mut receivers {
                prop_assert!(unprotected(receiver, &forged).is_err());
                prop_assert_eq!(&unprotected(receiver, &ring), &Ok(plain.clone()));
            }
            let report = [&[0x80, 201, 0, 1][..], &ssrc.to_be_bytes()].concat();
            let [ring, aws_lc] = senders.each_mut().map(|sender| protected(sender, &report));
            prop_assert_eq!(&ring, &aws_lc);
            for receiver in &mut receivers {
                prop_assert_eq!(&unprotected(receiver, &ring), &Ok(report.clone()));
            }
        }
    }
}
