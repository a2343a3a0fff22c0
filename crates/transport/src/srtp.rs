//! SRTP and SRTCP in place and without allocation: RFC 3711 with `AES_CM_128_HMAC_SHA1_80`, RFC 7714 with
//! `AEAD_AES_128_GCM`, keyed by DTLS (RFC 5764). One [`SrtpSender`] and one [`SrtpReceiver`] belong to one connection;
//! state of an SSRC exists only after a packet of it authenticated. It is not a general SRTP library: there is no MKI,
//! no key derivation rate, no re-keying within an association, and what is sent is always encrypted.

mod cipher;
mod cm_sha1;
mod gcm;
mod key_derivation;
mod library;
mod packet_index;
mod receiver;
mod sender;
mod streams;
#[cfg(test)]
mod vectors;

pub use library::GcmLibrary;
pub use receiver::SrtpReceiver;
pub use sender::{RETRANSMISSION_WINDOW, SrtpSender};
pub use streams::MAX_STREAMS;

use std::fmt;

use crate::rtp::RtpError;

/// How many bytes protection adds to a packet at most: the SRTCP index and the longest tag. A buffer with this much
/// room always suffices.
pub const MAX_OVERHEAD: usize = 4 + 16;

/// The length of a master or session key, in bytes, in both profiles.
const KEY_LEN: usize = 16;
/// The length of the longest master or session salt, in bytes.
const MAX_SALT_LEN: usize = 14;

/// A protection profile negotiated in DTLS (RFC 5764, section 4.1.2; RFC 7714, section 14.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SrtpProfile {
    /// `SRTP_AEAD_AES_128_GCM`: a tag of 16 bytes; preferred, since it costs about a third.
    AeadAes128Gcm,
    /// `SRTP_AES128_CM_HMAC_SHA1_80`: a tag of 10 bytes; the fallback every WebRTC peer has (RFC 8827, section 6.5).
    Aes128CmSha1_80,
}

impl SrtpProfile {
    /// The profile of this identifier in the `use_srtp` extension, if it is one of ours.
    #[must_use]
    pub const fn from_dtls_id(id: u16) -> Option<Self> {
        match id {
            0x0007 => Some(Self::AeadAes128Gcm),
            0x0001 => Some(Self::Aes128CmSha1_80),
            _ => None,
        }
    }

    /// The identifier in the `use_srtp` extension.
    #[must_use]
    pub const fn dtls_id(self) -> u16 {
        match self {
            Self::AeadAes128Gcm => 0x0007,
            Self::Aes128CmSha1_80 => 0x0001,
        }
    }

    /// How many bytes to export from DTLS under the label `EXTRACTOR-dtls_srtp` (RFC 5764, section 4.2).
    #[must_use]
    pub const fn key_material_len(self) -> usize {
        2 * (KEY_LEN + self.salt_len())
    }

    /// The length of the authentication tag, in bytes.
    #[must_use]
    pub const fn tag_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm => 16,
            Self::Aes128CmSha1_80 => 10,
        }
    }

    const fn salt_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm => 12,
            Self::Aes128CmSha1_80 => 14,
        }
    }
}

/// The master key and salt of one direction. Not `Clone`: two senders with one key would use the same nonces.
pub struct SrtpKeys {
    profile: SrtpProfile,
    key: [u8; KEY_LEN],
    /// Filled up with zeros on the right where the profile's salt is shorter (RFC 7714, section 11).
    salt: [u8; MAX_SALT_LEN],
}

impl SrtpKeys {
    /// Takes a master key of 16 bytes and a master salt of the profile's length.
    ///
    /// # Errors
    /// [`SrtpError::KeyMaterial`] when a length is not the profile's.
    pub fn new(profile: SrtpProfile, key: &[u8], salt: &[u8]) -> Result<Self, SrtpError> {
        let wrong = |what, expected, found| SrtpError::KeyMaterial { what, expected, found };
        let key = <[u8; KEY_LEN]>::try_from(key).map_err(|_| wrong("master key", KEY_LEN, key.len()))?;
        if salt.len() != profile.salt_len() {
            return Err(wrong("master salt", profile.salt_len(), salt.len()));
        }
        let mut padded = [0; MAX_SALT_LEN];
        padded[..salt.len()].copy_from_slice(salt);
        Ok(Self { profile, key, salt: padded })
    }

    /// Splits what DTLS exported into the keys of what this side sends and of what it receives: (outbound, inbound).
    /// `is_dtls_client` says which role *this* side had.
    ///
    /// # Errors
    /// [`SrtpError::KeyMaterial`] when `material` is not [`SrtpProfile::key_material_len`] bytes.
    pub fn from_exported(
        profile: SrtpProfile,
        is_dtls_client: bool,
        material: &[u8],
    ) -> Result<(Self, Self), SrtpError> {
        if material.len() != profile.key_material_len() {
            return Err(SrtpError::KeyMaterial {
                what: "exported key material",
                expected: profile.key_material_len(),
                found: material.len(),
            });
        }
        // RFC 5764, section 4.2: client key, server key, client salt, server salt.
        let (keys, salts) = material.split_at(2 * KEY_LEN);
        let (client_key, server_key) = keys.split_at(KEY_LEN);
        let (client_salt, server_salt) = salts.split_at(profile.salt_len());
        let client = Self::new(profile, client_key, client_salt)?;
        let server = Self::new(profile, server_key, server_salt)?;
        Ok(if is_dtls_client { (client, server) } else { (server, client) })
    }

    /// The profile these keys are for.
    #[must_use]
    pub const fn profile(&self) -> SrtpProfile {
        self.profile
    }
}

impl fmt::Debug for SrtpKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SrtpKeys").field("profile", &self.profile).finish_non_exhaustive()
    }
}

/// Why a packet could not be protected, or is not to be believed. `index` is the packet index: ROC × 2¹⁶ + sequence
/// number in SRTP (RFC 3711, section 3.3.1), the SRTCP index in SRTCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SrtpError {
    /// The part in the clear is not an RTP header.
    #[error(transparent)]
    Rtp(#[from] RtpError),
    /// The packet cannot hold what every packet of its kind has.
    #[error("{what} of {len} bytes, expected at least {needed} (header, tag and index)")]
    TooShort {
        /// The kind of packet.
        what: &'static str,
        /// Its length, in bytes.
        len: usize,
        /// The least it must have, in bytes.
        needed: usize,
    },
    /// An RTCP packet announces another version in byte 0.
    #[error("RTCP version {found} in the top bits of byte 0, expected 2")]
    RtcpVersion {
        /// The version found, 0 to 3.
        found: u8,
    },
    /// The packet was forged, damaged, or sealed with another key or rollover counter.
    #[error("the packet of SSRC {ssrc:#010x} with index {index} does not authenticate")]
    Unauthentic {
        /// The SSRC the packet claims.
        ssrc: u32,
        /// The index it was taken to have.
        index: u64,
    },
    /// A packet with this index was received before.
    #[error("index {index} of SSRC {ssrc:#010x} was received before")]
    Replayed {
        /// The SSRC.
        ssrc: u32,
        /// The index.
        index: u64,
    },
    /// The index is behind the window in which it could be told whether it was used before.
    #[error(
        "sequence number or index {found} of SSRC {ssrc:#010x} lies behind the window of {window} up to index {highest}"
    )]
    TooOld {
        /// The SSRC.
        ssrc: u32,
        /// The RTP sequence number or the SRTCP index found.
        found: u32,
        /// The highest index so far.
        highest: u64,
        /// How many indices the window covers.
        window: u64,
    },
    /// There are as many SSRCs as a connection may have.
    #[error("SSRC {ssrc:#010x} would be one more than the {limit} a connection may have")]
    TooManyStreams {
        /// The SSRC that has no state.
        ssrc: u32,
        /// The limit, [`MAX_STREAMS`].
        limit: usize,
    },
    /// A packet was sealed under this index before; a different one would reveal the key stream and, with GCM, the
    /// authentication key.
    #[error("a packet with index {index} of SSRC {ssrc:#010x} was sealed before")]
    AlreadySealed {
        /// The SSRC.
        ssrc: u32,
        /// The index.
        index: u64,
    },
    /// A packet to retransmit was never sent, or is no longer remembered.
    #[error("sequence number {sequence} of SSRC {ssrc:#010x} was not sealed before, expected one of the last {window}")]
    NeverSealed {
        /// The SSRC.
        ssrc: u32,
        /// The sequence number.
        sequence: u16,
        /// How many packets are remembered.
        window: u64,
    },
    /// A packet to retransmit differs from the one sent under its index. Nothing of it is left in the buffer.
    #[error("the packet to retransmit as index {index} of SSRC {ssrc:#010x} differs from the one sent")]
    Altered {
        /// The SSRC.
        ssrc: u32,
        /// The index.
        index: u64,
    },
    /// The key has sealed as many packets as it may (2⁴⁸ for SRTP, 2³¹ for SRTCP: RFC 3711, section 9.2).
    #[error("the key is used up")]
    KeyUsedUp,
    /// A key, salt or export does not have the profile's length.
    #[error("{what} of {found} bytes, expected {expected}")]
    KeyMaterial {
        /// What was given.
        what: &'static str,
        /// The profile's length, in bytes.
        expected: usize,
        /// The length given, in bytes.
        found: usize,
    },
    /// The buffer has no room for the tag, or is shorter than the packet it is said to hold.
    #[error("{needed} bytes to write, but the buffer has {available}")]
    BufferTooSmall {
        /// How many bytes must be there.
        needed: usize,
        /// How many bytes are there.
        available: usize,
    },
    /// The cryptographic library refused, which it does only for lengths that cannot occur here.
    #[error("the cryptographic library refused to {what}")]
    Crypto {
        /// What it was asked to do.
        what: &'static str,
    },
}
