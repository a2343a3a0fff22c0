//! Tokens: what is taken, and what is not.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use ringback_signaling::SignalingError;
use ringback_signaling::protocol::ErrorCode;
use ringback_signaling::token::{Claims, Grants, TokenIssuer, TokenVerifier};
use serde_json::json;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
// Made for this test: `openssl genpkey -algorithm ed25519`.
const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIIPa7f2yfhamuFz9a7ufs0ieULMcSs2NeYyO5qUwnCBH\n-----END PRIVATE KEY-----\n";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA/vVK9q2XSx973PdOSXC2/mtg83gkHh34CHZq08w1RVE=\n-----END PUBLIC KEY-----\n";

fn claims() -> Claims {
    Claims::new("ann", Duration::from_secs(60)).name("Ann").grants(Grants::all())
}

fn code(verifier: &TokenVerifier, token: &str) -> ErrorCode {
    verifier.verify(token).unwrap_err().code
}

fn signed(claims: &serde_json::Value) -> String {
    let header = Header::new(Algorithm::HS256);
    // The provider is chosen by the crate's own types.
    let _ = TokenIssuer::hs256(SECRET).unwrap();
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(SECRET)).unwrap()
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn a_token_says_who_somebody_is_and_what_they_may_do() {
    let secret = (TokenIssuer::hs256(SECRET).unwrap(), TokenVerifier::hs256(SECRET).unwrap());
    let pair =
        (TokenIssuer::eddsa_pem(PRIVATE.as_bytes()).unwrap(), TokenVerifier::eddsa_pem(PUBLIC.as_bytes()).unwrap());
    for (issuer, verifier) in [secret, pair] {
        let token = issuer.issue(&claims()).unwrap();
        assert_eq!(verifier.verify(&token).unwrap(), claims());
    }
}

#[test]
fn a_public_key_is_never_taken_for_a_secret() {
    let verifier = TokenVerifier::eddsa_pem(PUBLIC.as_bytes()).unwrap();
    let forged = TokenIssuer::hs256(PUBLIC.as_bytes()).unwrap().issue(&claims()).unwrap();
    assert_eq!(code(&verifier, &forged), ErrorCode::Unauthorized);
    // Nor does it help where a secret is taken as well.
    let both = verifier.or(TokenVerifier::hs256(SECRET).unwrap());
    assert_eq!(code(&both, &forged), ErrorCode::Unauthorized);
}

#[test]
fn a_token_without_signature_or_with_another_algorithm_is_refused() {
    let verifier = TokenVerifier::hs256(SECRET).unwrap();
    // {"alg":"none"} . {"sub":"ann","exp":9999999999} .
    let none = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4iLCJleHAiOjk5OTk5OTk5OTl9.";
    assert_eq!(code(&verifier, none), ErrorCode::Unauthorized);
    let key = EncodingKey::from_secret(SECRET);
    let other = jsonwebtoken::encode(&Header::new(Algorithm::HS512), &claims(), &key).unwrap();
    assert_eq!(code(&verifier, &other), ErrorCode::Unauthorized);
    let stranger = TokenIssuer::hs256(b"another secret, just as long as the first").unwrap().issue(&claims()).unwrap();
    assert_eq!(code(&verifier, &stranger), ErrorCode::Unauthorized);
    assert_eq!(code(&verifier, ""), ErrorCode::Unauthorized);
}

#[test]
fn expiry_is_required_and_checked_with_a_leeway() {
    let strict = TokenVerifier::hs256(SECRET).unwrap().leeway(Duration::ZERO);
    let lenient = TokenVerifier::hs256(SECRET).unwrap().leeway(Duration::from_secs(30));
    let expired = signed(&json!({"sub": "ann", "exp": now() - 10}));
    assert_eq!(code(&strict, &expired), ErrorCode::TokenExpired);
    assert!(lenient.verify(&expired).is_ok());
    let early = signed(&json!({"sub": "ann", "exp": now() + 100, "nbf": now() + 50}));
    assert_eq!(code(&strict, &early), ErrorCode::Unauthorized);
    for incomplete in [json!({"sub": "ann"}), json!({"exp": now() + 100}), json!({"sub": "", "exp": now() + 100})] {
        assert_eq!(code(&strict, &signed(&incomplete)), ErrorCode::Unauthorized, "{incomplete}");
    }
}

#[test]
fn the_audience_is_checked_where_one_is_given() {
    let verifier = TokenVerifier::hs256(SECRET).unwrap().audience("calls");
    let with = |audience| signed(&json!({"sub": "ann", "exp": now() + 100, "aud": audience}));
    assert!(verifier.verify(&with(json!("calls"))).is_ok());
    assert!(verifier.verify(&with(json!(["chat", "calls"]))).is_ok());
    assert_eq!(code(&verifier, &with(json!("chat"))), ErrorCode::Unauthorized);
    assert_eq!(code(&verifier, &signed(&json!({"sub": "ann", "exp": now() + 100}))), ErrorCode::Unauthorized);
    assert!(TokenVerifier::hs256(SECRET).unwrap().verify(&with(json!("chat"))).is_ok());
}

#[test]
fn a_token_without_grants_allows_nothing() {
    let token = signed(&json!({"sub": "ann", "exp": now() + 100}));
    let claims = TokenVerifier::hs256(SECRET).unwrap().verify(&token).unwrap();
    assert_eq!(claims.grants, Grants::default());
    assert!(!claims.grants.room("hall"));
    assert!(Grants { rooms: vec!["hall".into()], ..Grants::default() }.room("hall"));
    assert_eq!(claims.display_name(), "ann");
}

#[test]
fn keys_can_be_changed_without_breaking_tokens_that_are_out() {
    let old = TokenIssuer::hs256(b"the old secret, thirty-two bytes long").unwrap().issue(&claims()).unwrap();
    let new = TokenIssuer::hs256(SECRET).unwrap().issue(&claims()).unwrap();
    let verifier = TokenVerifier::hs256(SECRET).unwrap();
    let both = verifier.clone().or(TokenVerifier::hs256(b"the old secret, thirty-two bytes long").unwrap());
    assert!(both.verify(&old).is_ok() && both.verify(&new).is_ok());
    assert_eq!(code(&verifier, &old), ErrorCode::Unauthorized);
}

#[test]
fn a_secret_that_can_be_guessed_is_refused() {
    assert!(matches!(TokenVerifier::hs256(b"short"), Err(SignalingError::ShortSecret(5))));
    assert!(TokenVerifier::eddsa_pem(SECRET).is_err());
    assert!(TokenIssuer::eddsa_pem(PUBLIC.as_bytes()).is_err());
}
