//! The published test vectors that give session keys directly: RFC 3711 appendix B and RFC 7714 sections 16 and 17.
#![allow(clippy::unwrap_used)]

use super::key_derivation::{AUTH_KEY_LEN, SessionKeys, derive_into};
use super::{GcmLibrary, SrtpKeys, SrtpProfile, SrtpReceiver, SrtpSender, cm_sha1};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn the_aes_cm_key_stream_is_that_of_rfc_3711_b_2() {
    let key: [u8; 16] = hex("2B7E151628AED2A6ABF7158809CF4F3C").try_into().unwrap();
    let iv: [u8; 16] = hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD0000").try_into().unwrap();
    let mut stream = vec![0; 1_044_512];
    cm_sha1::keystream(&key, &iv, &mut stream);
    assert_eq!(
        stream[..48],
        hex("E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB 41E95B3BB0A2E8DD477901E4FCA894C0")
    );
    assert_eq!(
        stream[stream.len() - 48..],
        hex("EC8CDF7398607CB0F2D21675EA9EA1E4 362B7C3C6773516318A077D7FC5073AE 6A2CC3787889374FBEB4C81B17BA6C44")
    );
}

#[test]
fn session_keys_are_those_of_rfc_3711_b_3() {
    let master = SrtpKeys::new(
        SrtpProfile::Aes128CmSha1_80,
        &hex("E1F97A0D3E018BE0D64FA32C06DE4139"),
        &hex("0EC675AD498AFEEBB6960B3AABE6"),
    )
    .unwrap();
    let auth = hex("CEBE321F6FF7716B6FD4AB49AF256A15 6D38BAA48F0A0ACF3C34E2359E6CDBCE E049646C43D9327AD175578EF7227098
         6371C10C9A369AC2F94A8C5FBCDDDC25 6D6E919A48B610EF17C2041E47403576 6B68642C59BBFC2F34DB60DBDFB2");
    let keys = SessionKeys::rtp(&master);
    assert_eq!(keys.key[..], hex("C61E7A93744F39EE10734AFE3FF7A087"));
    assert_eq!(keys.salt[..], hex("30CBBC08863D8C85D49DB34A9AE1"));
    assert_eq!(keys.auth, auth[..AUTH_KEY_LEN]);
    // The RFC goes on to 94 bytes, for an authentication function that needs so many.
    let mut long = [0xFF; 94];
    derive_into(&master, 1, &mut long);
    assert_eq!(long[..], auth);
}

/// "Quid pro quo", and the key 00 01 02 … 0f.
fn rfc_7714_keys() -> SessionKeys {
    let mut salt = [0; 14];
    salt[..12].copy_from_slice(&hex("51756964 2070726f 2071756f"));
    SessionKeys { key: std::array::from_fn(|i| i as u8), salt, auth: [0; AUTH_KEY_LEN] }
}

fn rfc_7714_pairs() -> [(SrtpSender, SrtpReceiver); 2] {
    let (keys, profile) = (rfc_7714_keys(), SrtpProfile::AeadAes128Gcm);
    GcmLibrary::ALL.map(|gcm| {
        (
            SrtpSender::with_session_keys(profile, gcm, &keys, &keys).unwrap(),
            SrtpReceiver::with_session_keys(profile, gcm, &keys, &keys).unwrap(),
        )
    })
}

#[test]
fn srtp_is_that_of_rfc_7714_16_1() {
    let plain =
        hex("8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 696e2070 61727465
         73207472 6573");
    let sealed =
        hex("8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b
         36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce");
    for (mut sender, mut receiver) in rfc_7714_pairs() {
        let mut buf = plain.clone();
        buf.resize(plain.len() + 16, 0);
        assert_eq!(sender.protect_rtp(&mut buf, plain.len()), Ok(sealed.len()));
        assert_eq!(buf, sealed);
        assert_eq!(receiver.unprotect_rtp(&mut buf), Ok(plain.len()));
        assert_eq!(buf[..plain.len()], plain);
    }
}

const RTCP_PLAIN: &str = "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef deadbeef
                          deadbeef deadbeef deadbeef";

#[test]
fn srtcp_is_that_of_rfc_7714_17_1() {
    let plain = hex(RTCP_PLAIN);
    let sealed =
        hex("81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda 4ce09b46
         86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4");
    for (mut sender, mut receiver) in rfc_7714_pairs() {
        sender.set_next_rtcp_index(0x5d4);
        let mut buf = plain.clone();
        buf.resize(plain.len() + 20, 0);
        assert_eq!(sender.protect_rtcp(&mut buf, plain.len()), Ok(sealed.len()));
        assert_eq!(buf, sealed);
        assert_eq!(receiver.unprotect_rtcp(&mut buf), Ok(plain.len()));
        assert_eq!(buf[..plain.len()], plain);
    }
}

#[test]
fn srtcp_that_is_only_tagged_is_that_of_rfc_7714_17_3() {
    let plain = hex(RTCP_PLAIN);
    let mut tagged = plain.clone();
    tagged.extend(hex("841dd968 3dd78ec9 2ae58790 125f62b3 000005d4"));
    for (_, mut receiver) in rfc_7714_pairs() {
        let mut tagged = tagged.clone();
        let mut forged = tagged.clone();
        forged[20] ^= 1;
        assert!(receiver.unprotect_rtcp(&mut forged).is_err());
        assert_eq!(receiver.stream_counts(), (0, 0));
        assert_eq!(receiver.unprotect_rtcp(&mut tagged), Ok(plain.len()));
        assert_eq!(tagged[..plain.len()], plain);
        assert_eq!(receiver.stream_counts(), (0, 1));
    }
}

#[test]
fn a_key_that_sealed_all_srtcp_indices_is_used_up() {
    for (mut sender, _) in rfc_7714_pairs() {
        sender.set_next_rtcp_index((1 << 31) - 1);
        let mut buf = hex(RTCP_PLAIN);
        let len = buf.len();
        buf.resize(len + 20, 0);
        assert!(sender.protect_rtcp(&mut buf, len).is_ok());
        assert_eq!(sender.protect_rtcp(&mut buf, len), Err(super::SrtpError::KeyUsedUp));
    }
}
