//! The certificate this process shows in DTLS, and the digest by which SDP names it (RFC 8122). Self-signed and made at
//! start: WebRTC trusts a certificate because its fingerprint came through signaling, not because an authority signed
//! it.

use std::fmt;
use std::sync::Arc;

use ring::digest;
use rtc_crypto::providers::RingCrypto;

use super::DtlsError;
use crate::sdp::{Fingerprint, FingerprintAlgorithm};

/// A self-signed certificate with its private key (ECDSA on P-256). Cloning is cheap; all connections of a process
/// share one.
#[derive(Clone)]
pub struct Certificate {
    shared: Arc<Shared>,
}

struct Shared {
    certificate: rtc_dtls::crypto::Certificate,
    fingerprint: Fingerprint,
}

impl Certificate {
    /// Generates a key and signs its certificate.
    ///
    /// # Errors
    /// [`DtlsError::Certificate`] when the random generator or the signature fails.
    pub fn generate() -> Result<Self, DtlsError> {
        let failed = |error: rtc_shared::error::Error| DtlsError::Certificate(error.to_string());
        let names = vec!["ringback".to_owned()];
        let certificate = rtc_dtls::crypto::Certificate::generate_self_signed(names, &RingCrypto).map_err(failed)?;
        let der = certificate.certificate.first().ok_or(DtlsError::Certificate("it is empty".to_owned()))?;
        let fingerprint = fingerprint_of(FingerprintAlgorithm::Sha256, der);
        Ok(Self { shared: Arc::new(Shared { certificate, fingerprint }) })
    }

    /// The SHA-256 fingerprint for `a=fingerprint`.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.shared.fingerprint.clone()
    }

    pub(super) fn for_handshake(&self) -> rtc_dtls::crypto::Certificate {
        self.shared.certificate.clone()
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("fingerprint", &self.shared.fingerprint.to_string()).finish_non_exhaustive()
    }
}

/// The digest of a certificate in its DER form.
pub(super) fn fingerprint_of(algorithm: FingerprintAlgorithm, der: &[u8]) -> Fingerprint {
    let function = match algorithm {
        FingerprintAlgorithm::Sha256 => &digest::SHA256,
        FingerprintAlgorithm::Sha384 => &digest::SHA384,
        FingerprintAlgorithm::Sha512 => &digest::SHA512,
    };
    Fingerprint { algorithm, value: digest::digest(function, der).as_ref().to_vec() }
}

/// Whether `der` is a certificate that one of `expected` names.
pub(super) fn matches_any(expected: &[Fingerprint], der: &[u8]) -> bool {
    expected.iter().any(|fingerprint| fingerprint_of(fingerprint.algorithm, der).value == fingerprint.value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_known_by_any_of_the_three_digests() {
        let certificate = Certificate::generate().unwrap();
        let der = certificate.shared.certificate.certificate[0].clone();
        for algorithm in [FingerprintAlgorithm::Sha256, FingerprintAlgorithm::Sha384, FingerprintAlgorithm::Sha512] {
            let right = fingerprint_of(algorithm, &der);
            assert_eq!(right.value.len(), algorithm.digest_len());
            let mut wrong = right.clone();
            wrong.value[0] ^= 1;
            assert!(!matches_any(&[wrong.clone()], &der));
            assert!(matches_any(&[wrong, right], &der));
        }
        assert!(!matches_any(&[], &der));
        assert!(!format!("{certificate:?}").contains("key"));
    }
}
