//! Links to a note's media that hold for a while and for one user, so that a browser's `<audio>` and `<video>`, which send no token, can play them. Pure: a keyed hash
//! (HMAC-SHA-256) over everything that a link says.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

/// How long a link holds: long enough to listen to an inbox, too short to be passed around.
pub const LINK_HOLDS: Duration = Duration::from_secs(3_600);

/// Which part of a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaPart {
    /// The note itself.
    File,
    /// The poster of a video note.
    Poster,
}

impl MediaPart {
    /// As in paths.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "media",
            Self::Poster => "poster",
        }
    }
}

/// Signs and checks links.
#[derive(Debug, Clone)]
pub struct Links {
    key: hmac::Key,
}

impl Links {
    /// Links under a secret.
    pub fn new(secret: &[u8]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }

    /// The query of a link that lets a user get a part of a note until then (Unix milliseconds).
    pub fn sign(&self, note: &str, part: MediaPart, user: &str, until: u64) -> String {
        let signature = hmac::sign(&self.key, &said(note, part, user, until));
        let user = URL_SAFE_NO_PAD.encode(user);
        format!("user={user}&until={until}&signature={}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    /// The user whom a link lets in, if it is one of ours and holds still. `user` and `signature` are as in the query.
    pub fn check(
        &self,
        note: &str,
        part: MediaPart,
        user: &str,
        until: u64,
        signature: &str,
        now: u64,
    ) -> Option<String> {
        let user = String::from_utf8(URL_SAFE_NO_PAD.decode(user).ok()?).ok()?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        hmac::verify(&self.key, &said(note, part, &user, until), &signature).ok()?;
        (now < until).then_some(user)
    }
}

/// Each piece with its length in front, so that none can pass for a part of the next.
fn said(note: &str, part: MediaPart, user: &str, until: u64) -> Vec<u8> {
    let mut said = Vec::new();
    for piece in [note, part.as_str(), user] {
        said.extend_from_slice(&(piece.len() as u64).to_be_bytes());
        said.extend_from_slice(piece.as_bytes());
    }
    said.extend_from_slice(&until.to_be_bytes());
    said
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parts(query: &str) -> (String, u64, String) {
        let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)).unwrap().to_owned();
        (value("user="), value("until=").parse().unwrap(), value("signature="))
    }

    #[test]
    fn a_link_lets_its_user_in_until_it_expires_and_nothing_of_it_may_be_changed() {
        let links = Links::new(b"secret");
        let (user, until, signature) = parts(&links.sign("n_1", MediaPart::File, "bob", 1_000));
        let check =
            |note, part, user: &str, until, signature: &str, now| links.check(note, part, user, until, signature, now);
        assert_eq!(check("n_1", MediaPart::File, &user, until, &signature, 999).as_deref(), Some("bob"));
        assert_eq!(check("n_1", MediaPart::File, &user, until, &signature, 1_000), None);
        assert_eq!(check("n_1", MediaPart::File, &user, 2_000, &signature, 999), None);
        assert_eq!(check("n_2", MediaPart::File, &user, until, &signature, 999), None);
        assert_eq!(check("n_1", MediaPart::Poster, &user, until, &signature, 999), None);
        assert_eq!(check("n_1", MediaPart::File, "YW5u", until, &signature, 999), None);
        assert_eq!(check("n_1", MediaPart::File, &user, until, "AAAA", 999), None);
        let others = Links::new(b"another");
        assert_eq!(others.check("n_1", MediaPart::File, &user, until, &signature, 999), None);
    }
}
