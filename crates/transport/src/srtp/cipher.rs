//! The seam between SRTP and the cryptographic libraries: one [`Cipher`] seals and opens whole packets under one
//! session key, and knows in which order the profile puts ciphertext, SRTCP index and tag. Which index a packet has,
//! and whether it may be used, is decided by the sender and the receiver.

use super::cm_sha1::{self, CmSha1};
use super::gcm::{self, Gcm};
use super::key_derivation::SessionKeys;
use super::{GcmLibrary, SrtpError, SrtpProfile};

/// What precedes the encrypted part of an SRTCP packet: the first header with its SSRC (RFC 3711, section 3.4).
pub(super) const RTCP_CLEAR_LEN: usize = 8;
/// The SRTCP index with its E flag.
pub(super) const RTCP_INDEX_LEN: usize = 4;
/// Set in an index field when the packet is encrypted.
const E_FLAG: u32 = 1 << 31;

/// A session key, expanded once and kept.
#[expect(
    clippy::large_enum_variant,
    reason = "one per direction of a connection, and a box would cost a cache miss per packet"
)]
pub(super) enum Cipher {
    Gcm(Gcm),
    CmSha1(CmSha1),
}

impl Cipher {
    pub(super) fn new(profile: SrtpProfile, gcm: GcmLibrary, keys: &SessionKeys) -> Result<Self, SrtpError> {
        Ok(match profile {
            SrtpProfile::AeadAes128Gcm => Self::Gcm(Gcm::new(gcm, keys)?),
            SrtpProfile::Aes128CmSha1_80 => Self::CmSha1(CmSha1::new(keys)?),
        })
    }

    #[inline]
    pub(super) const fn tag_len(&self) -> usize {
        match self {
            Self::Gcm(_) => gcm::TAG_LEN,
            Self::CmSha1(_) => cm_sha1::TAG_LEN,
        }
    }

    /// Seals an RTP packet that leaves room for the tag at its end, and returns the first four bytes of the tag: equal
    /// for equal packets, different for different ones but once in 2³².
    #[inline]
    pub(super) fn seal_rtp(
        &self,
        packet: &mut [u8],
        header_len: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<u32, SrtpError> {
        let (data, room) = packet.split_at_mut(packet.len() - self.tag_len());
        match self {
            Self::Gcm(gcm) => {
                let (header, payload) = data.split_at_mut(header_len);
                room.copy_from_slice(&gcm.seal(ssrc, index, header, payload)?);
            }
            Self::CmSha1(cm) => {
                cm.apply(ssrc, index, &mut data[header_len..]);
                room.copy_from_slice(&cm.tag(data, &roc(index)));
            }
        }
        Ok(u32::from_be_bytes([room[0], room[1], room[2], room[3]]))
    }

    /// Opens an RTP packet that ends with its tag. Says whether it was authentic.
    #[inline]
    pub(super) fn open_rtp(&self, packet: &mut [u8], header_len: usize, ssrc: u32, index: u64) -> bool {
        match self {
            Self::Gcm(gcm) => {
                let (header, sealed) = packet.split_at_mut(header_len);
                gcm.open(ssrc, index, header, sealed)
            }
            Self::CmSha1(cm) => {
                let (data, tag) = packet.split_at_mut(packet.len() - cm_sha1::TAG_LEN);
                let authentic = cm.verify(data, &roc(index), tag);
                if authentic {
                    cm.apply(ssrc, index, &mut data[header_len..]);
                }
                authentic
            }
        }
    }

    /// Seals an RTCP packet that leaves room for index and tag at its end.
    #[inline]
    pub(super) fn seal_rtcp(&self, packet: &mut [u8], ssrc: u32, index: u32) -> Result<(), SrtpError> {
        let (data, room) = packet.split_at_mut(packet.len() - self.tag_len() - RTCP_INDEX_LEN);
        let word = (E_FLAG | index).to_be_bytes();
        match self {
            // RFC 7714, section 9.2: associated data is the clear header and the index word; the tag goes before the
            // word.
            Self::Gcm(gcm) => {
                let (clear, body) = data.split_at_mut(RTCP_CLEAR_LEN);
                let tag = gcm.seal(ssrc, index.into(), &rtcp_aad(clear, word), body)?;
                room[..gcm::TAG_LEN].copy_from_slice(&tag);
                room[gcm::TAG_LEN..].copy_from_slice(&word);
            }
            // RFC 3711, section 3.4: the word is authenticated with the packet and goes before the tag.
            Self::CmSha1(cm) => {
                cm.apply(ssrc, index.into(), &mut data[RTCP_CLEAR_LEN..]);
                let tag = cm.tag(data, &word);
                room[..RTCP_INDEX_LEN].copy_from_slice(&word);
                room[RTCP_INDEX_LEN..].copy_from_slice(&tag);
            }
        }
        Ok(())
    }

    /// The SRTCP index of a packet that is at least [`RTCP_CLEAR_LEN`], index and tag long; not yet authenticated.
    #[inline]
    pub(super) fn rtcp_index(&self, packet: &[u8]) -> u32 {
        u32::from_be_bytes(self.rtcp_word(packet)) & !E_FLAG
    }

    /// Opens such an RTCP packet, whether its peer encrypted it or, as RFC 3711 section 3.4 leaves to it, only
    /// authenticated it. Says whether it was authentic.
    #[inline]
    pub(super) fn open_rtcp(&self, packet: &mut [u8], ssrc: u32) -> bool {
        let word = self.rtcp_word(packet);
        let index = u64::from(self.rtcp_index(packet));
        let encrypted = u32::from_be_bytes(word) & E_FLAG != 0;
        let len = packet.len();
        match self {
            Self::Gcm(gcm) if encrypted => {
                let (clear, rest) = packet.split_at_mut(RTCP_CLEAR_LEN);
                let sealed_len = rest.len() - RTCP_INDEX_LEN;
                let aad = rtcp_aad(clear, word);
                gcm.open(ssrc, index, &aad, &mut rest[..sealed_len])
            }
            // RFC 7714, section 9.3: everything is associated data, the index word right behind the packet, where the
            // tag is.
            Self::Gcm(gcm) => {
                let tag_at = len - RTCP_INDEX_LEN - gcm::TAG_LEN;
                let mut tag = [0; gcm::TAG_LEN];
                tag.copy_from_slice(&packet[tag_at..tag_at + gcm::TAG_LEN]);
                packet[tag_at..tag_at + RTCP_INDEX_LEN].copy_from_slice(&word);
                gcm.open(ssrc, index, &packet[..tag_at + RTCP_INDEX_LEN], &mut tag)
            }
            Self::CmSha1(cm) => {
                let (data, tag) = packet.split_at_mut(len - cm_sha1::TAG_LEN);
                let authentic = cm.verify(data, &[], tag);
                if authentic && encrypted {
                    let end = data.len() - RTCP_INDEX_LEN;
                    cm.apply(ssrc, index, &mut data[RTCP_CLEAR_LEN..end]);
                }
                authentic
            }
        }
    }

    #[inline]
    fn rtcp_word(&self, packet: &[u8]) -> [u8; RTCP_INDEX_LEN] {
        let at = match self {
            Self::Gcm(_) => packet.len() - RTCP_INDEX_LEN,
            Self::CmSha1(_) => packet.len() - cm_sha1::TAG_LEN - RTCP_INDEX_LEN,
        };
        let mut word = [0; RTCP_INDEX_LEN];
        word.copy_from_slice(&packet[at..at + RTCP_INDEX_LEN]);
        word
    }
}

/// The rollover counter of a packet index, as it is authenticated (RFC 3711, section 4.2).
#[inline]
fn roc(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

#[inline]
fn rtcp_aad(clear: &[u8], word: [u8; RTCP_INDEX_LEN]) -> [u8; RTCP_CLEAR_LEN + RTCP_INDEX_LEN] {
    let mut aad = [0; RTCP_CLEAR_LEN + RTCP_INDEX_LEN];
    aad[..RTCP_CLEAR_LEN].copy_from_slice(clear);
    aad[RTCP_CLEAR_LEN..].copy_from_slice(&word);
    aad
}
