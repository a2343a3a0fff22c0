//! Protects what goes to one peer. It keeps the rollover counter of every SSRC and refuses to seal two different
//! packets under one index, because a GCM nonce used twice gives the key away: whatever is wrong further up, such a
//! packet does not leave.

use super::cipher::{Cipher, RTCP_INDEX_LEN};
use super::key_derivation::SessionKeys;
use super::packet_index::{INDEX_END, SEALED_WINDOW, SealedWindow, Verdict, estimate};
use super::receiver::rtcp_ssrc;
use super::streams::Streams;
use super::{GcmLibrary, SrtpError, SrtpKeys, SrtpProfile};
use crate::rtp::RtpHeader;

/// How many of the newest packets of an SSRC [`SrtpSender::protect_rtp_again`] can seal once more, and how far behind
/// the newest one [`SrtpSender::protect_rtp`] fills a gap.
pub const RETRANSMISSION_WINDOW: u64 = SEALED_WINDOW;

/// SRTCP indices end here (RFC 3711, section 3.4: 31 bits).
const RTCP_INDEX_END: u32 = 1 << 31;

/// The outbound SRTP and SRTCP of one connection.
pub struct SrtpSender {
    profile: SrtpProfile,
    rtp: Cipher,
    rtcp: Cipher,
    streams: Streams<SealedWindow>,
    /// One counter for all SSRCs: each of them sees it grow, which is what a receiver checks.
    next_rtcp_index: u32,
}

impl SrtpSender {
    /// Derives the session keys from this side's master key, which no other sender may use. AES-GCM is that of the [fastest](GcmLibrary::fastest) library.
    ///
    /// # Errors
    /// [`SrtpError::Crypto`] when the cryptographic library refuses the keys.
    pub fn new(keys: SrtpKeys) -> Result<Self, SrtpError> {
        Self::with_library(keys, GcmLibrary::fastest())
    }

    /// The same with AES-GCM of this library; another profile has no use for it.
    ///
    /// # Errors
    /// [`SrtpError::Crypto`] when the cryptographic library refuses the keys.
    pub fn with_library(keys: SrtpKeys, gcm: GcmLibrary) -> Result<Self, SrtpError> {
        Self::with_session_keys(keys.profile, gcm, &SessionKeys::rtp(&keys), &SessionKeys::rtcp(&keys))
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
            streams: Streams::new(),
            next_rtcp_index: 0,
        })
    }

    /// The profile in use.
    #[must_use]
    pub const fn profile(&self) -> SrtpProfile {
        self.profile
    }

    /// Seals the plain RTP packet in `buf[..len]` in place and returns its protected length; `buf` needs room for
    /// [`MAX_OVERHEAD`](super::MAX_OVERHEAD) more bytes at most.
    ///
    /// The rollover counter is kept from the sequence numbers: those of one SSRC must go on by less than 2¹⁵ from
    /// packet to packet. A sequence number up to [`RETRANSMISSION_WINDOW`] behind the newest is sealed if it was left
    /// out before. An SSRC should start below 2¹⁵, so that a receiver that misses its first packets cannot mistake the
    /// rollover counter.
    ///
    /// # Errors
    /// [`SrtpError::AlreadySealed`] when its sequence number was used, [`SrtpError::TooOld`] when nobody can tell any
    /// more; also when the header is malformed, `buf` has no room, or there are too many SSRCs. `buf` is then
    /// unchanged.
    #[inline]
    pub fn protect_rtp(&mut self, buf: &mut [u8], len: usize) -> Result<usize, SrtpError> {
        let header = RtpHeader::parse_unpadded(plain(buf, len)?)?;
        let (ssrc, sequence) = (header.ssrc, header.sequence);
        let packet = room(buf, len + self.rtp.tag_len())?;
        let index = match self.streams.get_mut(ssrc) {
            None => {
                self.streams.has_room_for(ssrc)?;
                u64::from(sequence)
            }
            Some(window) => {
                let index = estimate(window.highest(), sequence);
                match index.map(|index| (index, window.judge(index))) {
                    Some((index, Verdict::New)) if index < INDEX_END => index,
                    Some((_, Verdict::New)) => return Err(SrtpError::KeyUsedUp),
                    Some((index, Verdict::Used)) => {
                        return Err(SrtpError::AlreadySealed { ssrc, index });
                    }
                    Some((_, Verdict::TooOld)) | None => {
                        return Err(SrtpError::TooOld {
                            ssrc,
                            found: sequence.into(),
                            highest: window.highest(),
                            window: SEALED_WINDOW,
                        });
                    }
                }
            }
        };
        let fingerprint = self.rtp.seal_rtp(packet, header.header_len, ssrc, index)?;
        let protected_len = packet.len();
        match self.streams.get_mut(ssrc) {
            Some(window) => window.record(index, fingerprint),
            None => self.streams.insert(ssrc, SealedWindow::starting_at(index, fingerprint)),
        }
        Ok(protected_len)
    }

    /// Seals a plain RTP packet once more that was sealed before, for a retransmission byte for byte where there is no
    /// RTX. It must be the same packet to the last byte of its header.
    ///
    /// # Errors
    /// [`SrtpError::NeverSealed`] when it is not among the last [`RETRANSMISSION_WINDOW`] packets of its SSRC,
    /// [`SrtpError::Altered`] when it differs from what was sealed then (`buf` is then zeroed, so that it cannot leave
    /// by mistake); also when the header is malformed or `buf` has no room.
    pub fn protect_rtp_again(&mut self, buf: &mut [u8], len: usize) -> Result<usize, SrtpError> {
        let header = RtpHeader::parse_unpadded(plain(buf, len)?)?;
        let (ssrc, sequence) = (header.ssrc, header.sequence);
        let packet = room(buf, len + self.rtp.tag_len())?;
        let never = SrtpError::NeverSealed { ssrc, sequence, window: SEALED_WINDOW };
        let window = self.streams.get_mut(ssrc).ok_or(never)?;
        let index = estimate(window.highest(), sequence).ok_or(never)?;
        if window.judge(index) != Verdict::Used {
            return Err(never);
        }
        let fingerprint = self.rtp.seal_rtp(packet, header.header_len, ssrc, index)?;
        if fingerprint != window.fingerprint(index) {
            packet.fill(0);
            return Err(SrtpError::Altered { ssrc, index });
        }
        Ok(packet.len())
    }

    /// Seals the plain compound RTCP packet in `buf[..len]` in place and returns its protected length; `buf` needs room
    /// for [`MAX_OVERHEAD`](super::MAX_OVERHEAD) more bytes at most.
    ///
    /// # Errors
    /// When the packet is shorter than a header with its SSRC, `buf` has no room, or 2³¹ packets were sealed. `buf` is
    /// then unchanged.
    #[inline]
    pub fn protect_rtcp(&mut self, buf: &mut [u8], len: usize) -> Result<usize, SrtpError> {
        let ssrc = rtcp_ssrc(plain(buf, len)?)?;
        let packet = room(buf, len + self.rtcp.tag_len() + RTCP_INDEX_LEN)?;
        let index = self.next_rtcp_index;
        if index >= RTCP_INDEX_END {
            return Err(SrtpError::KeyUsedUp);
        }
        self.next_rtcp_index += 1;
        self.rtcp.seal_rtcp(packet, ssrc, index)?;
        Ok(packet.len())
    }

    #[cfg(test)]
    pub(super) fn set_next_rtcp_index(&mut self, index: u32) {
        self.next_rtcp_index = index;
    }
}

#[inline]
fn plain(buf: &[u8], len: usize) -> Result<&[u8], SrtpError> {
    buf.get(..len).ok_or(SrtpError::BufferTooSmall { needed: len, available: buf.len() })
}

#[inline]
fn room(buf: &mut [u8], needed: usize) -> Result<&mut [u8], SrtpError> {
    let available = buf.len();
    buf.get_mut(..needed).ok_or(SrtpError::BufferTooSmall { needed, available })
}
