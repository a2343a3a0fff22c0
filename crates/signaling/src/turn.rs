//! Credentials for a TURN server of the operator's, made for each user and for a while: the scheme that coturn calls `use-auth-secret`
//! (draft-uberti-behave-turn-rest-00). The name says until when it holds, the password is a MAC of the name under a secret that the TURN server shares. No
//! TURN server is needed to reach the engine itself; it helps clients whose network lets no UDP out.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha1::Sha1;

use crate::protocol::IceServer;

/// How long credentials hold unless told. A call that relays longer goes on: TURN checks them when an allocation is made or refreshed with them, and a
/// session's next `hello` brings new ones. Shorter leaves less to whoever copies them.
const LIFETIME: Duration = Duration::from_secs(12 * 3600);

/// A TURN server that shares a secret with the engine.
#[derive(Clone, PartialEq, Eq)]
pub struct TurnServer {
    urls: Vec<String>,
    secret: String,
    lifetime: Duration,
}

// The secret stays out of logs.
impl std::fmt::Debug for TurnServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TurnServer").field("urls", &self.urls).field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

impl TurnServer {
    /// A server under its `turn:` and `turns:` URLs, with its `static-auth-secret`.
    pub fn new(urls: &[&str], secret: impl Into<String>) -> Self {
        Self { urls: urls.iter().map(|url| (*url).to_owned()).collect(), secret: secret.into(), lifetime: LIFETIME }
    }

    /// How long the credentials hold; 12 hours unless told.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// What one user is told, at this Unix time in seconds. The user's id is in the name, where the TURN server's log shows it.
    pub fn for_user(&self, user: &str, now: u64) -> IceServer {
        let username = format!("{}:{user}", now + self.lifetime.as_secs());
        // A MAC takes a key of any length.
        let credential = Hmac::<Sha1>::new_from_slice(self.secret.as_bytes()).ok().map(|mut mac| {
            mac.update(username.as_bytes());
            STANDARD.encode(mac.finalize().into_bytes())
        });
        IceServer { urls: self.urls.clone(), username: Some(username), credential }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_those_that_coturn_computes_from_the_shared_secret() {
        let server =
            TurnServer::new(&["turn:turn.example:3478?transport=tcp"], "north").lifetime(Duration::from_secs(3600));
        let told = server.for_user("ann", 1_000_000);
        assert_eq!(told.username.as_deref(), Some("1003600:ann"));
        // printf '1003600:ann' | openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(told.credential.as_deref(), Some("TP0RQ3hwPbSuT/8vcCVb2YxfIyI="));
        assert!(!format!("{server:?}").contains("north"), "the secret is not for logs");
    }
}
