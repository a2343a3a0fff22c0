//! The ICE-lite agent (RFC 8445, consent RFC 7675) of one peer, on `rtc-stun`: it answers connectivity checks,
//! validates paths, follows the controlling side's nomination to a new path, and knows when consent to send has
//! run out. It is *not* a full agent: it gathers nothing, sends no checks of its own and is never in control. It owns
//! no socket and no clock.

mod message;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc_crypto::providers::RingCrypto;
use rtc_stun::attributes::AttrType;
use rtc_stun::error_code::{CODE_ROLE_CONFLICT, CODE_UNKNOWN_ATTRIBUTE, ErrorCode, ErrorCodeAttribute};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_ERROR, BINDING_SUCCESS, Message, Setter, TransactionId};
use rtc_stun::uattrs::UnknownAttributes;
use rtc_stun::xoraddr::XorMappedAddress;

use message::{Kind, StunMessage};

use crate::path::Path;
pub use crate::sdp::IceCredentials;

/// How long media may flow after the last authenticated request from the selected address (RFC 7675, section 5.1).
/// Shorter would end calls on a short outage, longer keeps sending to somebody who is gone.
pub const CONSENT_LIFETIME: Duration = Duration::from_secs(30);

/// Paths remembered as validated. A browser checks from a handful of candidates; more only cost memory and a longer
/// look-up per datagram.
const MAX_VALIDATED: usize = 8;

/// Unknown attributes listed in an error answer, at most. One would do; the bound keeps the answer small.
const MAX_UNKNOWN_LISTED: usize = 8;

/// Why a STUN message was not accepted. About that message only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IceError {
    /// It is not a well-formed STUN message.
    #[error("malformed STUN message: {0}")]
    Malformed(&'static str),
    /// It does not prove knowledge of the password. Not answered: an answer to strangers could be reflected at others.
    #[error("STUN request is not authenticated: {0}")]
    Unauthenticated(&'static str),
    /// The sender claims to be controlled, and so is this agent, always; answered with 487.
    #[error("ICE role conflict: the peer claims the controlled role")]
    RoleConflict,
    /// It demands that an unknown attribute be understood; answered with 420.
    #[error("STUN request demands unknown attribute {0:#06x}")]
    UnknownAttribute(u16),
    /// The credentials are right, but consent ran out: only an ICE restart revives the connection.
    #[error("ICE consent has expired; only a restart revives the connection")]
    ConsentExpired,
}

/// The ufrags in the USERNAME of a STUN request, `(local, remote)` as this side sees them: finds the connection that a
/// request from an unknown address belongs to. Nothing is authenticated by it. `None` for anything that is not a
/// well-formed binding request with a user name.
#[must_use]
pub fn request_username(datagram: &[u8]) -> Option<(&str, &str)> {
    let message = StunMessage::parse(datagram).ok()?;
    (message.kind() == Kind::BindingRequest).then(|| message.username()).flatten()
}

/// What became of a STUN message.
#[derive(Debug, Default)]
pub struct IceOutcome {
    /// The answer, for the path the message came by. Never larger than the message.
    pub reply: Option<Bytes>,
    /// The new selected path, when this message changed it.
    pub selected: Option<Path>,
    /// Why the request was refused, although it was answered.
    pub refused: Option<IceError>,
}

/// Local and remote credentials that belong together.
#[derive(Debug, Clone)]
struct Generation {
    local: IceCredentials,
    remote: IceCredentials,
}

/// A path that an authenticated request has come by.
#[derive(Debug, Clone, Copy)]
struct Validated {
    path: Path,
    until: Instant,
}

/// The agent. See the module's documentation.
#[derive(Debug)]
pub struct IceAgent {
    current: Generation,
    /// The credentials before a restart, still good until the new ones carry a nomination.
    previous: Option<Generation>,
    validated: Vec<Validated>,
    selected: Option<Path>,
    /// Whether the selected path was nominated, or is only the first that proved itself.
    nominated: bool,
    consent_until: Instant,
    expired: bool,
}

impl IceAgent {
    /// An agent that waits for its first check until [`CONSENT_LIFETIME`] has passed.
    #[must_use]
    pub fn new(local: IceCredentials, remote: IceCredentials, now: Instant) -> Self {
        Self {
            current: Generation { local, remote },
            previous: None,
            validated: Vec::new(),
            selected: None,
            nominated: false,
            consent_until: now + CONSENT_LIFETIME,
            expired: false,
        }
    }

    /// Where to send: the nominated path, or before any nomination the first validated one (RFC 8445, section 12.1.1
    /// allows any valid pair). `None` before a valid check and after consent ran out.
    #[must_use]
    pub fn selected(&self) -> Option<Path> {
        self.selected.filter(|_| !self.expired)
    }

    /// Whether whoever is at the end of `path` has proved within the last 30 seconds to know the password. Everything but
    /// STUN is taken only by such paths.
    #[must_use]
    pub fn is_validated(&self, path: Path) -> bool {
        !self.expired && self.validated.iter().any(|entry| entry.path == path)
    }

    /// A path is no more: its connection was closed. If it was the selected one, nothing is sent until a request comes by
    /// another; consent goes on as long as it would have.
    pub fn forget(&mut self, path: Path) {
        self.validated.retain(|entry| entry.path != path);
        if self.selected == Some(path) {
            self.selected = None;
            self.nominated = false;
        }
    }

    /// The local ufrags that requests may name: the current one, and the one before a restart while it is still good.
    pub fn local_ufrags(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.current).chain(&self.previous).map(|generation| generation.local.ufrag.as_str())
    }

    /// Begins an ICE restart (RFC 8445, section 9): the selected path keeps carrying media, and the old credentials
    /// stay good, until a nomination under the new ones.
    pub fn restart(&mut self, local: IceCredentials, remote: IceCredentials, now: Instant) {
        let old = std::mem::replace(&mut self.current, Generation { local, remote });
        if self.expired {
            // Nothing of the old generation may be used again.
            self.previous = None;
            self.selected = None;
            self.nominated = false;
            self.validated.clear();
            self.consent_until = now + CONSENT_LIFETIME;
            self.expired = false;
        } else if self.selected.is_some() {
            self.previous = Some(old);
        }
    }

    /// When [`Self::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.expired {
            return None;
        }
        // The selected path is covered by consent itself.
        let validity = self.validated.iter().map(|entry| entry.until).min();
        Some(validity.map_or(self.consent_until, |until| until.min(self.consent_until)))
    }

    /// Forgets paths that fell silent. Returns `true` once, when consent runs out.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        self.validated.retain(|entry| entry.until > now);
        if self.expired || now < self.consent_until {
            return false;
        }
        self.expired = true;
        self.validated.clear();
        true
    }

    /// Handles a datagram that [`classify`](crate::demux::classify) calls STUN. Responses and indications are ignored:
    /// this agent asks for nothing, and consent needs authentication.
    ///
    /// # Errors
    /// When the message is malformed, not authenticated, or too late; nothing is to be sent then. An authenticated
    /// request that is refused comes back as an answer instead.
    pub fn handle(&mut self, now: Instant, from: Path, datagram: &[u8]) -> Result<IceOutcome, IceError> {
        let message = StunMessage::parse(datagram)?;
        if message.kind() != Kind::BindingRequest {
            return Ok(IceOutcome::default());
        }
        message.require_fingerprint()?;
        message.require_integrity()?;
        let (generation, is_current) = self.generation_of(&message)?;
        let request = authenticate(datagram, &generation.local.pwd)?;
        let password = generation.local.pwd.clone();
        if self.expired || now >= self.consent_until {
            return Err(IceError::ConsentExpired);
        }
        let refuse = |code, unknown: &[u16], why| IceOutcome {
            reply: error_response(&request, code, unknown, &password, datagram.len()),
            selected: None,
            refused: Some(why),
        };
        let unknown: Vec<u16> = message
            .attributes()
            .map(|(kind, _)| kind)
            .filter(|kind| {
                *kind < 0x8000 && ![message::USERNAME, message::PRIORITY, message::USE_CANDIDATE].contains(kind)
            })
            .take(MAX_UNKNOWN_LISTED)
            .collect();
        if let Some(first) = unknown.first() {
            let why = IceError::UnknownAttribute(*first);
            return Ok(refuse(CODE_UNKNOWN_ATTRIBUTE, &unknown, why));
        }
        if message.attribute(message::ICE_CONTROLLED).is_some() {
            // A lite agent cannot take control, whatever the tie-breakers say (RFC 8445, section 6.1.1).
            return Ok(refuse(CODE_ROLE_CONFLICT, &[], IceError::RoleConflict));
        }
        let reply = success_response(&request, from.remote, &password, datagram.len());
        let nominates = message.attribute(message::USE_CANDIDATE).is_some();
        let selected = self.accept(now, from, nominates, is_current);
        Ok(IceOutcome { reply, selected, refused: None })
    }

    /// The generation that a request's user name belongs to, and whether it is the current one.
    fn generation_of(&self, message: &StunMessage<'_>) -> Result<(&Generation, bool), IceError> {
        let (local, remote) = message.username().ok_or(IceError::Unauthenticated("USERNAME is missing"))?;
        let matches = |generation: &&Generation| generation.local.ufrag == local && generation.remote.ufrag == remote;
        let current = Some(&self.current).filter(matches).map(|found| (found, true));
        let previous = || self.previous.as_ref().filter(matches).map(|found| (found, false));
        current.or_else(previous).ok_or(IceError::Unauthenticated("USERNAME is another one's"))
    }

    /// Records an authenticated request. Returns the selected path if it changed.
    fn accept(&mut self, now: Instant, from: Path, nominates: bool, is_current: bool) -> Option<Path> {
        let until = now + CONSENT_LIFETIME;
        match self.validated.iter_mut().find(|entry| entry.path == from) {
            Some(entry) => entry.until = until,
            None => {
                if self.validated.len() >= MAX_VALIDATED {
                    let oldest = self
                        .validated
                        .iter()
                        .enumerate()
                        .filter(|(_, entry)| Some(entry.path) != self.selected)
                        .min_by_key(|(_, entry)| entry.until)
                        .map(|(index, _)| index);
                    oldest.map(|index| self.validated.swap_remove(index));
                }
                self.validated.push(Validated { path: from, until });
            }
        }
        let before = self.selected;
        if nominates {
            self.selected = Some(from);
            self.nominated = true;
            if is_current {
                self.previous = None;
            }
        } else if !self.nominated && self.selected.is_none() {
            self.selected = Some(from);
        }
        if self.selected == Some(from) {
            self.consent_until = until;
        }
        self.selected.filter(|_| before != self.selected)
    }
}

/// Checks MESSAGE-INTEGRITY against the password and returns the decoded message. Its size has been checked before.
fn authenticate(datagram: &[u8], password: &str) -> Result<Message, IceError> {
    let mut request = Message::new();
    request.unmarshal_binary(datagram).map_err(|_| IceError::Malformed("undecodable"))?;
    MessageIntegrity::check(&mut request, password.as_bytes(), &RingCrypto)
        .map_err(|_| IceError::Unauthenticated("MESSAGE-INTEGRITY does not match"))?;
    Ok(request)
}

/// Builds, signs and fingerprints an answer. `None` if it would be larger than `limit`, or cannot be encoded.
fn response(setters: Vec<Box<dyn Setter + '_>>, password: &str, limit: usize) -> Option<Bytes> {
    let mut setters = setters;
    setters.push(Box::new(MessageIntegrity::new_raw_integrity_with_provider(password.as_bytes(), &RingCrypto)));
    setters.push(Box::new(FINGERPRINT));
    let mut message = Message::new();
    message.build(&setters).ok()?;
    (message.raw.len() <= limit).then(|| Bytes::from(message.raw))
}

/// A binding success response: the sender's address as seen here.
fn success_response(request: &Message, from: SocketAddr, password: &str, limit: usize) -> Option<Bytes> {
    let transaction: TransactionId = request.transaction_id;
    let mapped = XorMappedAddress { ip: from.ip().to_canonical(), port: from.port() };
    response(vec![Box::new(BINDING_SUCCESS), Box::new(transaction), Box::new(mapped)], password, limit)
}

/// A binding error response. It has no reason phrase, so that it is smaller than any request that can earn it.
fn error_response(request: &Message, code: ErrorCode, unknown: &[u16], password: &str, limit: usize) -> Option<Bytes> {
    let mut setters: Vec<Box<dyn Setter>> = vec![
        Box::new(BINDING_ERROR),
        Box::new(request.transaction_id),
        Box::new(ErrorCodeAttribute { code, reason: Vec::new() }),
    ];
    if !unknown.is_empty() {
        let listed = unknown.iter().map(|kind| AttrType(*kind)).collect();
        setters.push(Box::new(UnknownAttributes(listed)));
    }
    response(setters, password, limit)
}
