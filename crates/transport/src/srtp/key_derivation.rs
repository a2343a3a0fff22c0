//! From a master key to session keys: RFC 3711 section 4.3 with a key derivation rate of zero, which DTLS-SRTP has (RFC
//! 5764, section 4.1.2). RFC 7714 section 11 keeps it for GCM.

use super::cm_sha1::keystream;
use super::{KEY_LEN, MAX_SALT_LEN, SrtpKeys};

/// The length of the HMAC-SHA1 key, in bytes (RFC 3711, section 5.2).
pub(super) const AUTH_KEY_LEN: usize = 20;

/// What one direction of SRTP or of SRTCP is protected with.
pub(super) struct SessionKeys {
    pub(super) key: [u8; KEY_LEN],
    /// GCM takes the first twelve bytes.
    pub(super) salt: [u8; MAX_SALT_LEN],
    /// For HMAC-SHA1; GCM has no use for it.
    pub(super) auth: [u8; AUTH_KEY_LEN],
}

impl SessionKeys {
    /// The session keys of SRTP (labels 0 to 2).
    pub(super) fn rtp(master: &SrtpKeys) -> Self {
        Self::derive(master, 0)
    }

    /// The session keys of SRTCP (labels 3 to 5).
    pub(super) fn rtcp(master: &SrtpKeys) -> Self {
        Self::derive(master, 3)
    }

    fn derive(master: &SrtpKeys, first_label: u8) -> Self {
        let mut keys = Self { key: [0; KEY_LEN], salt: [0; MAX_SALT_LEN], auth: [0; AUTH_KEY_LEN] };
        derive_into(master, first_label, &mut keys.key);
        derive_into(master, first_label + 1, &mut keys.auth);
        derive_into(master, first_label + 2, &mut keys.salt[..master.profile.salt_len()]);
        keys
    }
}

/// RFC 3711, section 4.3.1: the label stands seven bytes from the right of the 14-byte salt; section 4.3.3: the
/// pseudorandom function is AES-CM with that, shifted left by 16 bits, as its IV.
pub(super) fn derive_into(master: &SrtpKeys, label: u8, out: &mut [u8]) {
    let mut iv = [0; 16];
    iv[..MAX_SALT_LEN].copy_from_slice(&master.salt);
    iv[7] ^= label;
    out.fill(0);
    keystream(&master.key, &iv, out);
}
