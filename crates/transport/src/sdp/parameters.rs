//! Transport parameters that travel in SDP: ICE credentials (RFC 8839), certificate fingerprints and the DTLS role
//! (RFC 8122, RFC 8842). Plain values; the ICE agent and the DTLS association use them, this file knows neither.

use std::fmt;
use std::str::FromStr;

use rand::Rng;

/// Length of a generated `ice-ufrag`. RFC 8839 asks for at least 4 characters; 8 (48 bits) keep the ufrags of a whole
/// worker apart, which finds a connection by them.
const UFRAG_LEN: usize = 8;

/// Length of a generated `ice-pwd`. RFC 8839 asks for at least 22 characters (128 bits); 24 are 144 bits.
const PWD_LEN: usize = 24;

/// The alphabet of `ice-char` (RFC 8839, section 5.4).
const ICE_CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// One side's ICE user name fragment and password. `Debug` hides the password.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IceCredentials {
    /// The user name fragment, 4 to 256 `ice-char`s.
    pub ufrag: String,
    /// The password, 22 to 256 `ice-char`s.
    pub pwd: String,
}

impl IceCredentials {
    /// Fresh credentials from the process's cryptographic random generator.
    pub fn random() -> Self {
        let mut rng = rand::rng();
        let mut chars =
            |len: usize| (0..len).map(|_| char::from(ICE_CHARS[usize::from(rng.random::<u8>() & 63)])).collect();
        Self { ufrag: chars(UFRAG_LEN), pwd: chars(PWD_LEN) }
    }

    /// Whether both fields have the lengths and characters that RFC 8839 allows.
    pub fn is_valid(&self) -> bool {
        let ice_chars = |text: &str| {
            text.bytes().all(|byte| ICE_CHARS.contains(&byte) || matches!(byte, b'-' | b'_' | b'=' | b'#'))
        };
        (4..=256).contains(&self.ufrag.len())
            && (22..=256).contains(&self.pwd.len())
            && ice_chars(&self.ufrag)
            && ice_chars(&self.pwd)
    }
}

impl fmt::Debug for IceCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceCredentials").field("ufrag", &self.ufrag).finish_non_exhaustive()
    }
}

/// A hash function that may name a certificate. SHA-1 and MD5 are left out on purpose: a certificate known by them only
/// is not known well enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FingerprintAlgorithm {
    /// `sha-256`, what every WebRTC endpoint sends.
    Sha256,
    /// `sha-384`.
    Sha384,
    /// `sha-512`.
    Sha512,
}

impl FingerprintAlgorithm {
    /// The name in SDP (RFC 8122, section 5), in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
        }
    }

    /// Length of a digest in bytes.
    pub fn digest_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

/// The digest of a certificate, as in `a=fingerprint:sha-256 12:DF:…`. `Display` writes and `FromStr` reads the value of
/// that attribute.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    /// The hash function.
    pub algorithm: FingerprintAlgorithm,
    /// The digest of the certificate's DER form, [`FingerprintAlgorithm::digest_len`] bytes.
    pub value: Vec<u8>,
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.algorithm.name())?;
        for (position, byte) in self.value.iter().enumerate() {
            write!(f, "{}{byte:02X}", if position == 0 { ' ' } else { ':' })?;
        }
        Ok(())
    }
}

/// Why an `a=fingerprint` value was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FingerprintError {
    /// The hash function is none of `sha-256`, `sha-384` and `sha-512`.
    #[error("hash function {0:?}, expected sha-256, sha-384 or sha-512")]
    Algorithm(String),
    /// The digest is not colon-separated hexadecimal of the right length.
    #[error("digest is not {expected} colon-separated hexadecimal bytes")]
    Digest {
        /// Bytes a digest of this hash function has.
        expected: usize,
    },
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, digest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        let algorithm = match name.to_ascii_lowercase().as_str() {
            "sha-256" => FingerprintAlgorithm::Sha256,
            "sha-384" => FingerprintAlgorithm::Sha384,
            "sha-512" => FingerprintAlgorithm::Sha512,
            _ => return Err(FingerprintError::Algorithm(name.chars().take(32).collect())),
        };
        let expected = algorithm.digest_len();
        let byte = |pair: &str| {
            let hexadecimal = pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
            hexadecimal.then(|| u8::from_str_radix(pair, 16).ok()).flatten()
        };
        let value: Option<Vec<u8>> = digest.trim().split(':').map(byte).collect();
        match value {
            Some(value) if value.len() == expected => Ok(Self { algorithm, value }),
            _ => Err(FingerprintError::Digest { expected }),
        }
    }
}

/// Which side of the DTLS handshake this server plays towards a peer (RFC 8842).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DtlsRole {
    /// `setup:active`: sends the ClientHello.
    Client,
    /// `setup:passive`: waits for it.
    Server,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn random_credentials_are_valid_and_differ() {
        let (one, two) = (IceCredentials::random(), IceCredentials::random());
        assert!(one.is_valid() && two.is_valid());
        assert_ne!(one, two);
    }

    #[test]
    fn the_password_is_not_printed() {
        let credentials = IceCredentials::random();
        assert!(!format!("{credentials:?}").contains(&credentials.pwd));
    }

    #[test]
    fn a_fingerprint_survives_writing_and_reading() {
        let fingerprint = Fingerprint { algorithm: FingerprintAlgorithm::Sha256, value: (0..32).collect() };
        let text = fingerprint.to_string();
        assert!(text.starts_with("sha-256 00:01:02:"));
        assert_eq!(text.parse::<Fingerprint>().unwrap(), fingerprint);
        assert_eq!(text.to_lowercase().parse::<Fingerprint>().unwrap(), fingerprint);
    }

    #[test]
    fn a_short_a_weak_or_a_garbled_fingerprint_is_refused() {
        assert_eq!("sha-256 00:01".parse::<Fingerprint>(), Err(FingerprintError::Digest { expected: 32 }));
        assert!(matches!("sha-1 00:01".parse::<Fingerprint>(), Err(FingerprintError::Algorithm(_))));
        assert_eq!("sha-256 é:+1".parse::<Fingerprint>(), Err(FingerprintError::Digest { expected: 32 }));
        assert!("".parse::<Fingerprint>().is_err());
    }
}
