//! What can go wrong while signaling is set up. What a client does wrong is a
//! [`WireError`](crate::protocol::WireError) instead.

/// An error of this crate's own API.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignalingError {
    /// An HS256 secret that can be guessed (RFC 7518 section 3.2 demands 256 bits).
    #[error("an HS256 secret of {0} bytes is too short; at least 32 are required")]
    ShortSecret(usize),
    /// A key that is not an Ed25519 key in PEM.
    #[error("not an Ed25519 {part} key in PEM: {source}")]
    BadKey {
        /// `public` or `private`.
        part: &'static str,
        /// What the parser says.
        source: jsonwebtoken::errors::Error,
    },
    /// A token could not be signed.
    #[error("the token cannot be signed: {0}")]
    Sign(jsonwebtoken::errors::Error),
}
