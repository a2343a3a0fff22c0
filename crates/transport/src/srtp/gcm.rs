//! The primitive of `AEAD_AES_128_GCM` (RFC 7714, sections 8.1 and 9.1), on ring. The order of fields in a packet is
//! [`super::cipher`]'s business.

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::SrtpError;
use super::key_derivation::SessionKeys;

/// The full tag (RFC 7714, section 13.2).
pub(super) const TAG_LEN: usize = 16;
const SALT_LEN: usize = 12;

pub(super) struct Gcm {
    key: LessSafeKey,
    salt: [u8; SALT_LEN],
}

impl Gcm {
    pub(super) fn new(keys: &SessionKeys) -> Result<Self, SrtpError> {
        let key = UnboundKey::new(&AES_128_GCM, &keys.key).map_err(|_| SrtpError::Crypto { what: "take a key" })?;
        let mut salt = [0; SALT_LEN];
        salt.copy_from_slice(&keys.salt[..SALT_LEN]);
        Ok(Self { key: LessSafeKey::new(key), salt })
    }

    /// Encrypts `data` in place and returns the tag over it and `aad`.
    #[inline]
    pub(super) fn seal(&self, ssrc: u32, index: u64, aad: &[u8], data: &mut [u8]) -> Result<[u8; TAG_LEN], SrtpError> {
        let tag = self
            .key
            .seal_in_place_separate_tag(self.nonce(ssrc, index), Aad::from(aad), data)
            .map_err(|_| SrtpError::Crypto { what: "seal a packet" })?;
        let mut bytes = [0; TAG_LEN];
        bytes.copy_from_slice(tag.as_ref());
        Ok(bytes)
    }

    /// Decrypts `data`, which ends with its tag, in place. Says whether it was authentic; if not, what it holds is of
    /// no use.
    #[inline]
    pub(super) fn open(&self, ssrc: u32, index: u64, aad: &[u8], data: &mut [u8]) -> bool {
        self.key.open_in_place(self.nonce(ssrc, index), Aad::from(aad), data).is_ok()
    }

    /// RFC 7714, sections 8.1 and 9.1: two zero bytes, the SSRC and the index in 48 bits (in SRTP: ROC and sequence
    /// number), XORed with the salt.
    #[inline]
    fn nonce(&self, ssrc: u32, index: u64) -> Nonce {
        let mut nonce = [0; SALT_LEN];
        nonce[2..6].copy_from_slice(&ssrc.to_be_bytes());
        nonce[6..].copy_from_slice(&index.to_be_bytes()[2..]);
        for (byte, salt) in nonce.iter_mut().zip(self.salt) {
            *byte ^= salt;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}
