//! Signatures of webhooks: HMAC-SHA256 over `id.timestamp.body`, as Standard Webhooks 1.0 has it.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

/// Marks a secret of this kind.
const PREFIX: &str = "whsec_";

/// What both sides know.
pub(crate) struct Secret(hmac::Key);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// Reads one, with or without its prefix.
    ///
    /// # Errors
    /// Why it is none.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let bytes = STANDARD.decode(text.strip_prefix(PREFIX).unwrap_or(text));
        let bytes = bytes.map_err(|_| "its secret is not base64")?;
        match bytes.len() {
            24..=64 => Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes))),
            _ => Err("its secret must be 24 to 64 bytes in base64"),
        }
    }

    /// The signature of a message that is sent at a time in Unix seconds.
    fn sign(&self, id: &str, timestamp: u64, body: &str) -> String {
        let signed = hmac::sign(&self.0, format!("{id}.{timestamp}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(signed.as_ref()))
    }
}

/// The value of `webhook-signature`: one for each secret.
pub(super) fn signatures(secrets: &[Secret], id: &str, timestamp: u64, body: &str) -> String {
    let each: Vec<String> = secrets.iter().map(|secret| secret.sign(id, timestamp, body)).collect();
    each.join(" ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The example that the standard's own libraries are tested with.
    #[test]
    fn a_message_is_signed_as_the_standard_libraries_verify_it() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, "{\"test\": 2432232314}");
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
