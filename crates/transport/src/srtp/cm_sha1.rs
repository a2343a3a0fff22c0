//! The primitives of `AES_CM_128_HMAC_SHA1_80` (RFC 3711, sections 4.1.1 and 4.2.1), on RustCrypto: it uses the
//! processor's AES and SHA instructions where there are any, and keeps the key schedule and the keyed hash state
//! between packets. The order of fields in a packet is [`super::cipher`]'s business.

use aes::Aes128Enc;
use aes::cipher::{InnerIvInit, KeyInit, StreamCipherCore};
use ctr::CtrCore;
use ctr::flavors::Ctr32BE;
use hmac::{Hmac, Mac};
use sha1::Sha1;

use super::key_derivation::SessionKeys;
use super::{KEY_LEN, MAX_SALT_LEN, SrtpError};

/// The tag: HMAC-SHA1 cut to 80 bits.
pub(super) const TAG_LEN: usize = 10;

pub(super) struct CmSha1 {
    aes: Aes128Enc,
    hmac: Hmac<Sha1>,
    salt: [u8; MAX_SALT_LEN],
}

impl CmSha1 {
    pub(super) fn new(keys: &SessionKeys) -> Result<Self, SrtpError> {
        Ok(Self {
            aes: Aes128Enc::new(&keys.key.into()),
            hmac: <Hmac<Sha1> as Mac>::new_from_slice(&keys.auth)
                .map_err(|_| SrtpError::Crypto { what: "take a key" })?,
            salt: keys.salt,
        })
    }

    /// Encrypts or decrypts in place.
    #[inline]
    pub(super) fn apply(&self, ssrc: u32, index: u64, data: &mut [u8]) {
        apply_keystream(&self.aes, &self.iv(ssrc, index), data);
    }

    /// The tag over `data` and then `trailer` (the ROC in SRTP).
    #[inline]
    pub(super) fn tag(&self, data: &[u8], trailer: &[u8]) -> [u8; TAG_LEN] {
        let digest = self.authenticate(data, trailer).finalize().into_bytes();
        let mut tag = [0; TAG_LEN];
        tag.copy_from_slice(&digest[..TAG_LEN]);
        tag
    }

    /// Whether `tag` is the tag over `data` and then `trailer`, found out in constant time.
    #[inline]
    pub(super) fn verify(&self, data: &[u8], trailer: &[u8], tag: &[u8]) -> bool {
        tag.len() == TAG_LEN && self.authenticate(data, trailer).verify_truncated_left(tag).is_ok()
    }

    #[inline]
    fn authenticate(&self, data: &[u8], trailer: &[u8]) -> Hmac<Sha1> {
        let mut hmac = self.hmac.clone();
        hmac.update(data);
        hmac.update(trailer);
        hmac
    }

    /// RFC 3711, section 4.1.1: (k_s × 2¹⁶) ⊕ (SSRC × 2⁶⁴) ⊕ (i × 2¹⁶).
    #[inline]
    fn iv(&self, ssrc: u32, index: u64) -> [u8; 16] {
        let mut salt = [0; 16];
        salt[..MAX_SALT_LEN].copy_from_slice(&self.salt);
        let counter = u128::from(ssrc) << 64 ^ u128::from(index) << 16;
        (u128::from_be_bytes(salt) ^ counter).to_be_bytes()
    }
}

/// XORs the AES-CM key stream of `key` and `iv` onto `data`.
pub(super) fn keystream(key: &[u8; KEY_LEN], iv: &[u8; 16], data: &mut [u8]) {
    apply_keystream(&Aes128Enc::new(key.into()), iv, data);
}

#[inline]
fn apply_keystream(aes: &Aes128Enc, iv: &[u8; 16], data: &mut [u8]) {
    // The block counter has 16 bits (RFC 3711, section 4.1.1) and a packet fewer blocks than that, so 32 bits never
    // carry further.
    CtrCore::<_, Ctr32BE>::inner_iv_init(aes, iv.into()).apply_keystream_partial(data.into());
}
