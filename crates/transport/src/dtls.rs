//! One DTLS 1.2 association (RFC 6347) on `rtc-dtls`, in either role: the handshake with its timers, the check of the
//! peer's certificate against the fingerprints from SDP (RFC 8122), the keys for SRTP (RFC 5764), and the data of SCTP.
//! It has one peer whatever its address, knows nothing of ICE, and takes every datagram it is given: give it only those
//! that came from a validated address. No socket, no clock.

mod certificate;
mod record;

use std::collections::VecDeque;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc_crypto::providers::RingProvider;
use rtc_crypto::{RTCCryptoProvider, SecretVec};
use rtc_dtls::cipher_suite::CipherSuiteId;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, HandshakeConfig};
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::TransportProtocol;
use rtc_shared::error::Error as RtcError;

use crate::sdp::Fingerprint;
use crate::srtp::{SrtpKeys, SrtpProfile};
use record::{HelloAssembly, RecordGate};

pub use crate::sdp::DtlsRole;
pub use certificate::Certificate;

/// `rtc-dtls` knows peers by address; the one peer of an association has this one, so that it survives ICE migration.
/// From the documentation range (RFC 5737).
const PEER: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 1));

/// How long a handshake may take. Longer than the library's seven repetitions need, so that a peer slow to begin gets
/// its chance; shorter than anybody waits for a call.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a flight waits for its answer before it is repeated (RFC 6347, section 4.2.4.1). Shorter would repeat
/// flights on slow paths; the library repeats at a fixed interval.
const FLIGHT_INTERVAL: Duration = Duration::from_secs(1);

/// Repetitions of our flight in reaction to a repetition of the peer's. More would serve somebody who forges them.
const MAX_PROMPTED_REPETITIONS: u8 = 8;

/// The least time between such repetitions, so that the fragments of one repeated flight cause one.
const PROMPTED_INTERVAL: Duration = Duration::from_millis(40);

/// Without SNI the library would invent one; a name that cannot exist does no harm (RFC 6761).
const SERVER_NAME: &str = "ringback.invalid";

/// The exporter's label (RFC 5764, section 4.2).
const EXPORTER_LABEL: &str = "EXTRACTOR-dtls_srtp";

/// Authenticated encryption with forward secrecy only. ECDSA is what WebRTC endpoints have; RSA is for a peer in the
/// server role with such a certificate.
const CIPHER_SUITES: [CipherSuiteId; 4] = [
    CipherSuiteId::Tls_Ecdhe_Ecdsa_With_Aes_128_Gcm_Sha256,
    CipherSuiteId::Tls_Ecdhe_Ecdsa_With_ChaCha20_Poly1305_Sha256,
    CipherSuiteId::Tls_Ecdhe_Rsa_With_Aes_128_Gcm_Sha256,
    CipherSuiteId::Tls_Ecdhe_Rsa_With_ChaCha20_Poly1305_Sha256,
];

/// What ends a DTLS association. Garbage from the network does not: it is dropped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DtlsError {
    /// The certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(String),
    /// The session names no fingerprint, so no certificate could be right.
    #[error("the session has no certificate fingerprint to check the peer against")]
    NoFingerprint,
    /// The peer's certificate is not the one that signaling announced.
    #[error("the peer's certificate has fingerprint {found}, expected {expected}")]
    FingerprintMismatch {
        /// The fingerprint of the certificate shown, sha-256.
        found: String,
        /// The first one announced in SDP.
        expected: String,
    },
    /// The handshake failed.
    #[error("DTLS handshake as {role} failed: {reason}")]
    Handshake {
        /// Our role, `client` or `server`.
        role: &'static str,
        /// What the library says.
        reason: String,
    },
    /// The handshake took too long.
    #[error("DTLS handshake as {role} not finished in time")]
    Timeout {
        /// Our role, `client` or `server`.
        role: &'static str,
    },
    /// The peer offers neither `SRTP_AEAD_AES_128_GCM` nor `SRTP_AES128_CM_HMAC_SHA1_80`.
    #[error("no SRTP protection profile in common")]
    NoSrtpProfile,
    /// The peer sent a fatal alert after the handshake.
    #[error("DTLS association ended: {0}")]
    Ended(String),
    /// It was asked to send before the handshake was complete, or after the end.
    #[error("DTLS association is not established")]
    NotEstablished,
    /// The library panicked over what the peer sent; the association is over, nothing else is.
    #[error("DTLS library panicked: {0}")]
    Panicked(String),
}

/// What a datagram or a timer brought about.
#[derive(Debug)]
pub enum DtlsEvent {
    /// The handshake is complete and the peer's certificate is the announced one; see [`DtlsAssociation::srtp_keys`].
    Established,
    /// Decrypted data: an SCTP packet.
    Data(BytesMut),
    /// The peer closed the association.
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Handshaking,
    Established,
    Closed,
}

/// One association. See the module's documentation.
pub struct DtlsAssociation {
    certificate: Certificate,
    role: DtlsRole,
    expected: Arc<[Fingerprint]>,
    profiles: Vec<SrtpProfile>,
    /// The certificate that did not match, if there was one.
    mismatch: Arc<OnceLock<Fingerprint>>,
    endpoint: Endpoint,
    gate: RecordGate,
    /// In the server role, until the first ClientHello is complete.
    hello: Option<HelloAssembly>,
    /// Whether the library knows what to offer: from the first ClientHello on, which tells what the client can do.
    configured: bool,
    state: State,
    deadline: Option<Instant>,
    /// The flight that waits for an answer, to be repeated when the peer repeats its own.
    flight: Vec<BytesMut>,
    prompted: u8,
    prompted_at: Option<Instant>,
    transmits: VecDeque<BytesMut>,
}

impl fmt::Debug for DtlsAssociation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DtlsAssociation").field("role", &self.role).field("state", &self.state).finish_non_exhaustive()
    }
}

impl DtlsAssociation {
    /// An association that expects a certificate with one of the fingerprints `expected`.
    ///
    /// # Errors
    /// [`DtlsError::NoFingerprint`] when there is none to expect.
    pub fn new(certificate: Certificate, role: DtlsRole, expected: Vec<Fingerprint>) -> Result<Self, DtlsError> {
        if expected.is_empty() {
            return Err(DtlsError::NoFingerprint);
        }
        Ok(Self {
            certificate,
            role,
            expected: expected.into(),
            profiles: vec![SrtpProfile::AeadAes128Gcm, SrtpProfile::Aes128CmSha1_80],
            mismatch: Arc::default(),
            endpoint: Endpoint::new(PEER, TransportProtocol::UDP, None),
            gate: RecordGate::default(),
            hello: (role == DtlsRole::Server).then(HelloAssembly::default),
            configured: false,
            state: State::Idle,
            deadline: None,
            flight: Vec::new(),
            prompted: 0,
            prompted_at: None,
            transmits: VecDeque::new(),
        })
    }

    /// Restricts the SRTP protection profiles to these, the preferred one first. By default GCM, then CM.
    #[must_use]
    pub fn with_srtp_profiles(mut self, profiles: Vec<SrtpProfile>) -> Self {
        self.profiles = profiles;
        self
    }

    /// Whether data can be sent.
    #[must_use]
    pub fn is_established(&self) -> bool {
        self.state == State::Established
    }

    /// Begins: there is a validated address now. The client sends its ClientHello, the server starts to wait for one.
    /// Repeated calls do nothing.
    ///
    /// # Errors
    /// When the handshake cannot begin at all.
    pub fn start(&mut self, now: Instant) -> Result<(), DtlsError> {
        if self.state != State::Idle {
            return Ok(());
        }
        self.state = State::Handshaking;
        self.deadline = Some(now + HANDSHAKE_TIMEOUT);
        if self.role == DtlsRole::Server {
            return Ok(());
        }
        let config = self.handshake_config(&self.profiles)?;
        self.guarded(|this| this.endpoint.connect(now, PEER, config, None))?;
        self.collect(true);
        Ok(())
    }

    /// Takes in a datagram, and adds what it brought about to `events`.
    ///
    /// # Errors
    /// When the association has ended by it. What is left to send, an alert, still is to be polled.
    pub fn handle(&mut self, now: Instant, datagram: &[u8], events: &mut Vec<DtlsEvent>) -> Result<(), DtlsError> {
        if self.state == State::Closed {
            return Ok(());
        }
        self.start(now)?;
        if let Some(assembly) = &mut self.hello {
            if HelloAssembly::concerns(datagram) {
                let Some(hello) = assembly.push(datagram) else { return Ok(()) };
                if !self.configured {
                    let config = self.handshake_config(&self.server_profiles(&hello.srtp_profiles))?;
                    self.endpoint.set_server_config(Some(config));
                    self.configured = true;
                }
                return self.read(now, &hello.records, events);
            }
            if !self.configured {
                return Ok(());
            }
        }
        self.read(now, datagram, events)
    }

    fn read(&mut self, now: Instant, datagram: &[u8], events: &mut Vec<DtlsEvent>) -> Result<(), DtlsError> {
        let admitted = self.gate.admit(datagram);
        if admitted.repeats_flight {
            self.repeat_flight(now);
        }
        if admitted.records.is_empty() {
            return Ok(());
        }
        let outcome = self.guarded(|this| this.endpoint.read(now, PEER, None, admitted.records));
        self.collect(self.state == State::Handshaking);
        for event in outcome? {
            match event {
                EndpointEvent::HandshakeComplete => {
                    self.establish()?;
                    events.push(DtlsEvent::Established);
                }
                EndpointEvent::ApplicationData(data) => events.push(DtlsEvent::Data(data)),
                EndpointEvent::PeerClosed => {
                    self.state = State::Closed;
                    events.push(DtlsEvent::Closed);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Encrypts and queues data.
    ///
    /// # Errors
    /// [`DtlsError::NotEstablished`] before the handshake is complete and after the end.
    pub fn send(&mut self, now: Instant, data: &[u8]) -> Result<(), DtlsError> {
        if self.state != State::Established {
            return Err(DtlsError::NotEstablished);
        }
        let outcome = self.guarded(|this| this.endpoint.write(now, PEER, data));
        self.collect(false);
        outcome
    }

    /// The keys for SRTP: (outbound, inbound).
    ///
    /// # Errors
    /// [`DtlsError::NotEstablished`] before the handshake is complete.
    pub fn srtp_keys(&self) -> Result<(SrtpKeys, SrtpKeys), DtlsError> {
        let (profile, material) = self.keying_material()?;
        let ended = |error: crate::srtp::SrtpError| DtlsError::Ended(error.to_string());
        SrtpKeys::from_exported(profile, self.role == DtlsRole::Client, material.as_ref()).map_err(ended)
    }

    /// The negotiated protection profile and what the exporter gives for it (RFC 5764, section 4.2).
    ///
    /// # Errors
    /// [`DtlsError::NotEstablished`] before the handshake is complete, [`DtlsError::NoSrtpProfile`] when none was
    /// agreed on.
    pub fn keying_material(&self) -> Result<(SrtpProfile, SecretVec), DtlsError> {
        let state = self.endpoint.get_connection_state(PEER).ok_or(DtlsError::NotEstablished)?;
        let profile = match state.srtp_protection_profile() {
            SrtpProtectionProfile::Unsupported => None,
            profile => SrtpProfile::from_dtls_id(profile as u16),
        };
        let profile = profile.ok_or(DtlsError::NoSrtpProfile)?;
        state
            .export_keying_material(EXPORTER_LABEL, &[], profile.key_material_len())
            .map(|material| (profile, material))
            .map_err(|_| DtlsError::NotEstablished)
    }

    /// The next datagram to send to the peer.
    pub fn poll_transmit(&mut self) -> Option<BytesMut> {
        self.transmits.pop_front()
    }

    /// When [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.state != State::Handshaking {
            return None;
        }
        let repetition = self.endpoint.poll_timeout(&PEER);
        repetition.into_iter().chain(self.deadline).min()
    }

    /// Repeats a flight that was not answered.
    ///
    /// # Errors
    /// [`DtlsError::Timeout`] when it has taken too long.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsError> {
        if self.state != State::Handshaking {
            return Ok(());
        }
        let late = self.deadline.is_some_and(|deadline| now >= deadline);
        let due = self.endpoint.poll_timeout(&PEER).is_some_and(|at| now >= at);
        if late || (due && self.guarded(|this| this.endpoint.handle_timeout(PEER, now)).is_err()) {
            self.state = State::Closed;
            return Err(DtlsError::Timeout { role: role_name(self.role) });
        }
        if due {
            self.collect(false);
        }
        Ok(())
    }

    /// Says goodbye to the peer.
    pub fn close(&mut self, now: Instant) {
        if self.state == State::Established {
            let _ = self.guarded(|this| this.endpoint.close(now));
            self.collect(false);
        }
        self.state = State::Closed;
    }

    /// The handshake is complete; checks once more, independently of the library's callback, whose certificate it was.
    fn establish(&mut self) -> Result<(), DtlsError> {
        let state = self.endpoint.get_connection_state(PEER).ok_or(DtlsError::NotEstablished)?;
        let shown = state.peer_certificates.first().map_or(&[][..], Vec::as_slice);
        if !certificate::matches_any(&self.expected, shown) {
            let found = certificate::fingerprint_of(crate::sdp::FingerprintAlgorithm::Sha256, shown);
            self.state = State::Closed;
            return Err(self.mismatch_error(&found));
        }
        self.keying_material().inspect_err(|_| self.state = State::Closed)?;
        self.state = State::Established;
        self.hello = None;
        self.gate.established();
        self.flight = Vec::new();
        self.deadline = None;
        Ok(())
    }

    fn mismatch_error(&self, found: &Fingerprint) -> DtlsError {
        let expected = self.expected.first().map(ToString::to_string).unwrap_or_default();
        DtlsError::FingerprintMismatch { found: found.to_string(), expected }
    }

    /// Moves what the library wants sent to our queue. A flight that answers the peer's is remembered.
    fn collect(&mut self, answers: bool) {
        let before = self.transmits.len();
        while let Some(transmit) = self.endpoint.poll_transmit() {
            self.transmits.push_back(transmit.message);
        }
        if answers && self.transmits.len() > before && self.state == State::Handshaking {
            self.gate.flight_sent();
            self.flight = self.transmits.range(before..).cloned().collect();
        }
    }

    fn repeat_flight(&mut self, now: Instant) {
        let lately = self.prompted_at.is_some_and(|at| now < at + PROMPTED_INTERVAL);
        if lately || self.prompted >= MAX_PROMPTED_REPETITIONS {
            return;
        }
        self.prompted += 1;
        self.prompted_at = Some(now);
        self.transmits.extend(self.flight.iter().cloned());
    }

    /// Calls the library, and turns an error or a panic into the end of this association.
    fn guarded<T>(&mut self, call: impl FnOnce(&mut Self) -> Result<T, RtcError>) -> Result<T, DtlsError> {
        let error = match catch_unwind(AssertUnwindSafe(|| call(self))) {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => match (self.mismatch.get(), self.state) {
                (Some(found), _) => self.mismatch_error(found),
                (None, State::Handshaking) if error == RtcError::ErrServerNoMatchingSrtpProfile => {
                    DtlsError::NoSrtpProfile
                }
                (None, State::Handshaking) => {
                    DtlsError::Handshake { role: role_name(self.role), reason: error.to_string() }
                }
                (None, _) => DtlsError::Ended(error.to_string()),
            },
            Err(panic) => {
                // The library's state is not to be trusted any more.
                self.endpoint = Endpoint::new(PEER, TransportProtocol::UDP, None);
                let text = panic.downcast_ref::<&str>().map(ToString::to_string);
                DtlsError::Panicked(text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default())
            }
        };
        self.state = State::Closed;
        Err(error)
    }

    /// Which profiles to allow as server. The library takes the client's first that is allowed, and browsers put GCM
    /// last: so only the one we prefer among those offered is allowed.
    fn server_profiles(&self, offered: &[u16]) -> Vec<SrtpProfile> {
        let common = self.profiles.iter().find(|profile| offered.contains(&profile.dtls_id()));
        common.map_or_else(|| self.profiles.clone(), |profile| vec![*profile])
    }

    /// The configuration of this association; it cannot be shared, since the expected fingerprint is part of it.
    fn handshake_config(&self, profiles: &[SrtpProfile]) -> Result<Arc<HandshakeConfig>, DtlsError> {
        let (expected, mismatch) = (Arc::clone(&self.expected), Arc::clone(&self.mismatch));
        let verify = move |chain: &[Vec<u8>], _: &[_]| {
            let shown = chain.first().map_or(&[][..], Vec::as_slice);
            if certificate::matches_any(&expected, shown) {
                return Ok(());
            }
            let _ = mismatch.set(certificate::fingerprint_of(crate::sdp::FingerprintAlgorithm::Sha256, shown));
            Err(RtcError::Other("certificate fingerprint mismatch".to_owned()))
        };
        let provider: Arc<dyn RTCCryptoProvider> = Arc::new(RingProvider::new());
        let is_client = self.role == DtlsRole::Client;
        ConfigBuilder::default()
            .with_crypto_provider(provider)
            .with_certificates(vec![self.certificate.for_handshake()])
            .with_cipher_suites(CIPHER_SUITES.to_vec())
            .with_srtp_protection_profiles(profiles.iter().map(|profile| profile.dtls_id().into()).collect())
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            // There is no authority to ask; the callback is the verification.
            .with_insecure_skip_verify(true)
            .with_verify_peer_certificate(Some(Arc::new(verify)))
            .with_flight_interval(FLIGHT_INTERVAL)
            .with_server_name(SERVER_NAME.to_owned())
            .build(is_client, None)
            .map(Arc::new)
            .map_err(|error| DtlsError::Handshake { role: role_name(self.role), reason: error.to_string() })
    }
}

fn role_name(role: DtlsRole) -> &'static str {
    match role {
        DtlsRole::Client => "client",
        DtlsRole::Server => "server",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_the_library_ends_the_association() {
        let now = Instant::now();
        let certificate = Certificate::generate().unwrap();
        let expected = vec![certificate.fingerprint()];
        let mut association = DtlsAssociation::new(certificate, DtlsRole::Client, expected).unwrap();
        association.start(now).unwrap();
        let error = association.guarded(|_| -> Result<(), RtcError> { panic!("row {}", 7) }).unwrap_err();
        assert_eq!(error, DtlsError::Panicked("row 7".to_owned()));
        assert_eq!(association.poll_timeout(), None);
        association.handle(now, &[22; 40], &mut Vec::new()).unwrap();
        assert_eq!(association.send(now, b"late"), Err(DtlsError::NotEstablished));
        association.close(now);
    }
}
