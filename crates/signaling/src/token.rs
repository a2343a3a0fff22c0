//! Tokens: who somebody is and what they may do, as a JSON Web Token (RFC 7519) signed with HS256 (RFC 7518) or EdDSA (RFC 8037). A key
//! is bound to one algorithm, so that a public key can never be taken for a secret. The embedding app issues tokens;
//! [`TokenIssuer`] is there for apps in Rust, examples and tests.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::error::SignalingError;
use crate::protocol::{ErrorCode, WireError};

/// What a token allows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Grants {
    /// May place and answer calls.
    pub call: bool,
    /// May see who is there.
    pub list: bool,
    /// May join these rooms without having been called into them; `"*"` is all.
    pub rooms: Vec<String>,
}

impl Grants {
    /// Calls, the list of people, and all rooms.
    pub fn all() -> Self {
        Self { call: true, list: true, rooms: vec!["*".to_owned()] }
    }

    /// Whether this room may be joined by right of the token.
    pub fn room(&self, room: &str) -> bool {
        self.rooms.iter().any(|granted| granted == "*" || granted == room)
    }
}

/// The claims of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The user.
    pub sub: String,
    /// The name others see; the user's id where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When it expires, in Unix seconds.
    pub exp: u64,
    /// From when on it holds, in Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    /// Whom it is for; one or several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aud: Option<Audience>,
    /// What it allows.
    #[serde(default)]
    pub grants: Grants,
}

/// The `aud` claim: RFC 7519 section 4.1.3 allows one string or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl Claims {
    /// Claims of a user for a time from now, with no grants yet.
    pub fn new(user: impl Into<String>, lifetime: Duration) -> Self {
        let exp = unix_now().saturating_add(lifetime).as_secs();
        Self { sub: user.into(), name: None, exp, nbf: None, aud: None, grants: Grants::default() }
    }

    /// Sets the name others see.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets what it allows.
    pub fn grants(mut self, grants: Grants) -> Self {
        self.grants = grants;
        self
    }

    /// Sets whom it is for.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.aud = Some(Audience::One(audience.into()));
        self
    }

    /// The name others see.
    pub fn display_name(&self) -> &str {
        self.name.as_deref().filter(|name| !name.trim().is_empty()).unwrap_or(&self.sub)
    }

    /// How much longer it holds.
    pub fn remaining(&self) -> Duration {
        Duration::from_secs(self.exp).saturating_sub(unix_now())
    }
}

fn unix_now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The longest `sub`, in bytes, as for every id on the wire.
const MAX_USER: usize = 128;
/// The longest `name`, in bytes.
const MAX_NAME: usize = 256;

/// Checks tokens.
#[derive(Clone)]
pub struct TokenVerifier {
    keys: Vec<(Algorithm, DecodingKey)>,
    audience: Option<String>,
    leeway: Duration,
}

impl fmt::Debug for TokenVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithms: Vec<_> = self.keys.iter().map(|(algorithm, _)| algorithm).collect();
        f.debug_struct("TokenVerifier")
            .field("keys", &algorithms)
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}

impl TokenVerifier {
    /// Checks tokens signed with HS256 and this secret.
    ///
    /// # Errors
    /// [`SignalingError::ShortSecret`] below 32 bytes.
    pub fn hs256(secret: &[u8]) -> Result<Self, SignalingError> {
        Ok(Self::with(Algorithm::HS256, DecodingKey::from_secret(long_enough(secret)?)))
    }

    /// Checks tokens signed with EdDSA by the holder of this Ed25519 public key (`-----BEGIN PUBLIC KEY-----`).
    ///
    /// # Errors
    /// [`SignalingError::BadKey`].
    pub fn eddsa_pem(public_key: &[u8]) -> Result<Self, SignalingError> {
        let key =
            DecodingKey::from_ed_pem(public_key).map_err(|source| SignalingError::BadKey { part: "public", source })?;
        Ok(Self::with(Algorithm::EdDSA, key))
    }

    fn with(algorithm: Algorithm, key: DecodingKey) -> Self {
        use_rust_crypto();
        Self { keys: vec![(algorithm, key)], audience: None, leeway: Duration::from_secs(5) }
    }

    /// Takes what `other`'s keys have signed as well: for the time of a key change.
    pub fn or(mut self, other: Self) -> Self {
        self.keys.extend(other.keys);
        self
    }

    /// Requires tokens to be for this audience. Without it `aud` is not looked at.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// How long after `exp` (and before `nbf`) a token still counts, for clocks that differ; 5 s unless told, whole seconds. Longer lets
    /// a revoked user stay longer.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Checks a token.
    ///
    /// # Errors
    /// `token_expired` or `unauthorized`, with what is wrong; the token itself is never in the message.
    pub fn verify(&self, token: &str) -> Result<Claims, WireError> {
        let unauthorized = |message: String| WireError::new(ErrorCode::Unauthorized, message);
        let header =
            jsonwebtoken::decode_header(token).map_err(|_| unauthorized("the token is not a JSON Web Token".into()))?;
        let mut fitting = self.keys.iter().filter(|(algorithm, _)| *algorithm == header.alg).peekable();
        if fitting.peek().is_none() {
            return Err(unauthorized(format!("no key here checks tokens signed with {:?}", header.alg)));
        }
        let mut refusal = None;
        for (algorithm, key) in fitting {
            match jsonwebtoken::decode::<Claims>(token, key, &self.validation(*algorithm)) {
                Ok(data) => return check(data.claims),
                Err(error) => {
                    // A signature that does not fit this key says nothing about the next; anything else is about the token.
                    if !matches!(error.kind(), ErrorKind::InvalidSignature) || refusal.is_none() {
                        refusal = Some(error);
                    }
                }
            }
        }
        let Some(refusal) = refusal else { return Err(unauthorized("the token is not valid".into())) };
        Err(match refusal.kind() {
            ErrorKind::ExpiredSignature => WireError::new(ErrorCode::TokenExpired, "the token has expired"),
            ErrorKind::InvalidSignature => unauthorized("the token's signature does not fit".into()),
            ErrorKind::ImmatureSignature => unauthorized("the token does not hold yet (nbf)".into()),
            ErrorKind::InvalidAudience => unauthorized("the token is for somebody else (aud)".into()),
            ErrorKind::MissingRequiredClaim(claim) => unauthorized(format!("the token lacks the claim {claim}")),
            ErrorKind::InvalidClaimFormat(claim) => unauthorized(format!("the token's claim {claim} is malformed")),
            ErrorKind::Json(error) => unauthorized(format!("the token's claims are malformed: {error}")),
            _ => unauthorized("the token is not valid".into()),
        })
    }

    /// How much longer a session with this token may last.
    pub(crate) fn session_time(&self, claims: &Claims) -> Duration {
        claims.remaining().saturating_add(self.leeway)
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = self.leeway.as_secs();
        validation.validate_nbf = true;
        match &self.audience {
            Some(audience) => {
                validation.set_audience(&[audience]);
                validation.set_required_spec_claims(&["exp", "sub", "aud"]);
            }
            None => {
                validation.validate_aud = false;
                validation.set_required_spec_claims(&["exp", "sub"]);
            }
        }
        validation
    }
}

fn check(claims: Claims) -> Result<Claims, WireError> {
    let bad = |claim: &str, max: usize| {
        let message = format!("the token's claim {claim} must have 1 to {max} bytes without control characters");
        Err(WireError::new(ErrorCode::Unauthorized, message))
    };
    let fits = |text: &str, max: usize| !text.is_empty() && text.len() <= max && !text.chars().any(char::is_control);
    if !fits(&claims.sub, MAX_USER) {
        return bad("sub", MAX_USER);
    }
    if !fits(claims.display_name(), MAX_NAME) {
        return bad("name", MAX_NAME);
    }
    Ok(claims)
}

/// Mints tokens.
#[derive(Clone)]
pub struct TokenIssuer {
    algorithm: Algorithm,
    key: EncodingKey,
}

impl fmt::Debug for TokenIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenIssuer").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl TokenIssuer {
    /// Signs with HS256 and this secret.
    ///
    /// # Errors
    /// [`SignalingError::ShortSecret`] below 32 bytes.
    pub fn hs256(secret: &[u8]) -> Result<Self, SignalingError> {
        use_rust_crypto();
        Ok(Self { algorithm: Algorithm::HS256, key: EncodingKey::from_secret(long_enough(secret)?) })
    }

    /// Signs with EdDSA and this Ed25519 private key (PKCS #8, `-----BEGIN PRIVATE KEY-----`).
    ///
    /// # Errors
    /// [`SignalingError::BadKey`].
    pub fn eddsa_pem(private_key: &[u8]) -> Result<Self, SignalingError> {
        use_rust_crypto();
        let key = EncodingKey::from_ed_pem(private_key)
            .map_err(|source| SignalingError::BadKey { part: "private", source })?;
        Ok(Self { algorithm: Algorithm::EdDSA, key })
    }

    /// Signs claims.
    ///
    /// # Errors
    /// [`SignalingError::Sign`].
    pub fn issue(&self, claims: &Claims) -> Result<String, SignalingError> {
        jsonwebtoken::encode(&Header::new(self.algorithm), claims, &self.key).map_err(SignalingError::Sign)
    }
}

fn long_enough(secret: &[u8]) -> Result<&[u8], SignalingError> {
    if secret.len() < 32 { Err(SignalingError::ShortSecret(secret.len())) } else { Ok(secret) }
}

/// An embedder may have switched on another provider of `jsonwebtoken`, which then panics unless one is chosen; a
/// choice that the embedder has made stands.
fn use_rust_crypto() {
    let _ = jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER.install_default();
}
