//! Unprotects what one peer sends: estimates the index, refuses replays before spending a decryption on them, and lets
//! state of an SSRC come into being only when a packet of it has authenticated.

use super::cipher::{Cipher, RTCP_CLEAR_LEN, RTCP_INDEX_LEN};
use super::key_derivation::SessionKeys;
use super::packet_index::{INDEX_END, REPLAY_WINDOW, ReplayWindow, Verdict, estimate};
use super::streams::Streams;
use super::{GcmLibrary, SrtpError, SrtpKeys, SrtpProfile};
use crate::rtp::RtpHeader;

/// The inbound SRTP and SRTCP of one connection.
pub struct SrtpReceiver {
    profile: SrtpProfile,
    rtp: Cipher,
    rtcp: Cipher,
    rtp_streams: Streams<ReplayWindow>,
    rtcp_streams: Streams<ReplayWindow>,
}

impl SrtpReceiver {
    /// Derives the session keys from the peer's master key. AES-GCM is that of the [fastest](GcmLibrary::fastest) library.
    ///
    /// # Errors
    /// [`SrtpError::Crypto`] when the cryptographic library refuses the keys.
    pub fn new(keys: &SrtpKeys) -> Result<Self, SrtpError> {
        Self::with_library(keys, GcmLibrary::fastest())
    }

    /// The same with AES-GCM of this library; another profile has no use for it.
    ///
    /// # Errors
    /// [`SrtpError::Crypto`] when the cryptographic library refuses the keys.
    pub fn with_library(keys: &SrtpKeys, gcm: GcmLibrary) -> Result<Self, SrtpError> {
        Self::with_session_keys(keys.profile, gcm, &SessionKeys::rtp(keys), &SessionKeys::rtcp(keys))
    }

    pub(super) fn with_session_keys(
        profile: SrtpProfile,
        gcm: GcmLibrary,
        rtp: &SessionKeys,
        rtcp: &SessionKeys,
    ) -> Result<Self, SrtpError> {
        Ok(Self {
            profile,
            rtp: Cipher::new(profile, gcm, rtp)?,
            rtcp: Cipher::new(profile, gcm, rtcp)?,
            rtp_streams: Streams::new(),
            rtcp_streams: Streams::new(),
        })
    }

    /// The profile in use.
    #[must_use]
    pub const fn profile(&self) -> SrtpProfile {
        self.profile
    }

    /// Authenticates and decrypts an SRTP packet in place, and returns the length of the plain packet at the start of
    /// `packet`. The rollover counter of a new SSRC is taken to be 0.
    ///
    /// # Errors
    /// When the packet is malformed, forged, replayed, older than 128 packets, or of one SSRC too many. Then the
    /// contents of `packet` are unspecified and no state has changed.
    #[inline]
    pub fn unprotect_rtp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let header = RtpHeader::parse_unpadded(packet)?;
        let (ssrc, sequence) = (header.ssrc, header.sequence);
        let needed = header.header_len + self.rtp.tag_len();
        let plain_len = plain_len("an SRTP packet", packet, header.header_len, needed)?;
        let window = self.rtp_streams.get_mut(ssrc);
        let index = match &window {
            Some(window) => {
                let estimated = estimate(window.highest(), sequence);
                acceptable(window, ssrc, estimated, sequence.into())?
            }
            None => {
                self.rtp_streams.has_room_for(ssrc)?;
                u64::from(sequence)
            }
        };
        if !self.rtp.open_rtp(packet, header.header_len, ssrc, index) {
            return Err(SrtpError::Unauthentic { ssrc, index });
        }
        match self.rtp_streams.get_mut(ssrc) {
            Some(window) => window.record(index),
            None => self.rtp_streams.insert(ssrc, ReplayWindow::starting_at(index)),
        }
        Ok(plain_len)
    }

    /// Authenticates and decrypts an SRTCP packet in place, and returns the length of the plain compound packet at the
    /// start of `packet`.
    ///
    /// # Errors
    /// As [`unprotect_rtp`](Self::unprotect_rtp).
    #[inline]
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let needed = RTCP_CLEAR_LEN + RTCP_INDEX_LEN + self.rtcp.tag_len();
        let plain_len = plain_len("an SRTCP packet", packet, RTCP_CLEAR_LEN, needed)?;
        let ssrc = rtcp_ssrc(packet)?;
        let index = self.rtcp.rtcp_index(packet);
        match self.rtcp_streams.get_mut(ssrc) {
            Some(window) => {
                acceptable(window, ssrc, Some(index.into()), index)?;
            }
            None => self.rtcp_streams.has_room_for(ssrc)?,
        }
        let index = u64::from(index);
        if !self.rtcp.open_rtcp(packet, ssrc) {
            return Err(SrtpError::Unauthentic { ssrc, index });
        }
        match self.rtcp_streams.get_mut(ssrc) {
            Some(window) => window.record(index),
            None => self.rtcp_streams.insert(ssrc, ReplayWindow::starting_at(index)),
        }
        Ok(plain_len)
    }

    #[cfg(test)]
    pub(super) fn stream_counts(&self) -> (usize, usize) {
        (self.rtp_streams.len(), self.rtcp_streams.len())
    }
}

/// The length without tag and index of a packet that has at least `needed` bytes, of which `clear_len` precede the
/// ciphertext.
#[inline]
fn plain_len(what: &'static str, packet: &[u8], clear_len: usize, needed: usize) -> Result<usize, SrtpError> {
    let len = packet.len();
    if len < needed {
        return Err(SrtpError::TooShort { what, len, needed });
    }
    Ok(len - (needed - clear_len))
}

/// The SSRC of the first packet of a compound that is at least eight bytes long.
#[inline]
pub(super) fn rtcp_ssrc(packet: &[u8]) -> Result<u32, SrtpError> {
    let Some(&[first, _, _, _, a, b, c, d]) = packet.first_chunk::<RTCP_CLEAR_LEN>() else {
        return Err(SrtpError::TooShort { what: "an RTCP packet", len: packet.len(), needed: RTCP_CLEAR_LEN });
    };
    let found = first >> 6;
    if found != 2 {
        return Err(SrtpError::RtcpVersion { found });
    }
    Ok(u32::from_be_bytes([a, b, c, d]))
}

#[inline]
fn acceptable(window: &ReplayWindow, ssrc: u32, index: Option<u64>, found: u32) -> Result<u64, SrtpError> {
    let verdict = index.map_or(Verdict::TooOld, |index| window.judge(index));
    match (verdict, index) {
        (Verdict::New, Some(index)) if index < INDEX_END => Ok(index),
        (Verdict::New, _) => Err(SrtpError::KeyUsedUp),
        (Verdict::Used, _) => Err(SrtpError::Replayed { ssrc, index: index.unwrap_or_default() }),
        (Verdict::TooOld, _) => {
            Err(SrtpError::TooOld { ssrc, found, highest: window.highest(), window: REPLAY_WINDOW })
        }
    }
}
