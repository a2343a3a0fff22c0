//! The primitive of `AEAD_AES_128_GCM` (RFC 7714, sections 8.1 and 9.1), on ring or aws-lc-rs. The order of fields in a packet is
//! [`super::cipher`]'s business, which library it is [`super::library`]'s.

use aws_lc_rs::aead as aws_lc;
use ring::aead as ring;

use super::key_derivation::SessionKeys;
use super::{GcmLibrary, SrtpError};

/// The full tag (RFC 7714, section 13.2).
pub(super) const TAG_LEN: usize = 16;
const SALT_LEN: usize = 12;

pub(super) struct Gcm {
    key: Key,
    salt: [u8; SALT_LEN],
}

#[expect(clippy::large_enum_variant, reason = "a box would cost a cache miss per packet")]
enum Key {
    Ring(ring::LessSafeKey),
    AwsLc(aws_lc::LessSafeKey),
}

impl Gcm {
    pub(super) fn new(library: GcmLibrary, keys: &SessionKeys) -> Result<Self, SrtpError> {
        let refused = SrtpError::Crypto { what: "take a key" };
        let key = match library {
            GcmLibrary::Ring => {
                let key = ring::UnboundKey::new(&ring::AES_128_GCM, &keys.key).map_err(|_| refused)?;
                Key::Ring(ring::LessSafeKey::new(key))
            }
            GcmLibrary::AwsLc => {
                let key = aws_lc::UnboundKey::new(&aws_lc::AES_128_GCM, &keys.key).map_err(|_| refused)?;
                Key::AwsLc(aws_lc::LessSafeKey::new(key))
            }
        };
        let mut salt = [0; SALT_LEN];
        salt.copy_from_slice(&keys.salt[..SALT_LEN]);
        Ok(Self { key, salt })
    }

    /// Encrypts `data` in place and returns the tag over it and `aad`.
    #[inline]
    pub(super) fn seal(&self, ssrc: u32, index: u64, aad: &[u8], data: &mut [u8]) -> Result<[u8; TAG_LEN], SrtpError> {
        let nonce = self.nonce(ssrc, index);
        let refused = SrtpError::Crypto { what: "seal a packet" };
        let mut bytes = [0; TAG_LEN];
        match &self.key {
            Key::Ring(key) => {
                let nonce = ring::Nonce::assume_unique_for_key(nonce);
                let tag = key.seal_in_place_separate_tag(nonce, ring::Aad::from(aad), data).map_err(|_| refused)?;
                bytes.copy_from_slice(tag.as_ref());
            }
            Key::AwsLc(key) => {
                let nonce = aws_lc::Nonce::assume_unique_for_key(nonce);
                let tag = key.seal_in_place_separate_tag(nonce, aws_lc::Aad::from(aad), data).map_err(|_| refused)?;
                bytes.copy_from_slice(tag.as_ref());
            }
        }
        Ok(bytes)
    }

    /// Decrypts `data`, which ends with its tag, in place. Says whether it was authentic; if not, what it holds is of
    /// no use.
    #[inline]
    pub(super) fn open(&self, ssrc: u32, index: u64, aad: &[u8], data: &mut [u8]) -> bool {
        let nonce = self.nonce(ssrc, index);
        match &self.key {
            Key::Ring(key) => {
                let nonce = ring::Nonce::assume_unique_for_key(nonce);
                key.open_in_place(nonce, ring::Aad::from(aad), data).is_ok()
            }
            Key::AwsLc(key) => {
                let nonce = aws_lc::Nonce::assume_unique_for_key(nonce);
                key.open_in_place(nonce, aws_lc::Aad::from(aad), data).is_ok()
            }
        }
    }

    /// RFC 7714, sections 8.1 and 9.1: two zero bytes, the SSRC and the index in 48 bits (in SRTP: ROC and sequence
    /// number), XORed with the salt.
    #[inline]
    fn nonce(&self, ssrc: u32, index: u64) -> [u8; SALT_LEN] {
        let mut nonce = [0; SALT_LEN];
        nonce[2..6].copy_from_slice(&ssrc.to_be_bytes());
        nonce[6..].copy_from_slice(&index.to_be_bytes()[2..]);
        for (byte, salt) in nonce.iter_mut().zip(self.salt) {
            *byte ^= salt;
        }
        nonce
    }
}
