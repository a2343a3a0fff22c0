//! Webhooks: an optional reader of the log of events that posts each event to a URL, in order, until the receiver has taken it. Signed as
//! [Standard Webhooks 1.0](https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md) has it. How far it has come is kept in the
//! database, so that it goes on there after a restart; a receiver that stalls keeps nobody waiting but itself.

mod delivery;
mod driver;
mod secret;

use std::fmt;
use std::time::Duration;

use reqwest::Url;

pub(crate) use driver::Webhook;

use crate::error::EngineError;
use secret::Secret;

/// How long a receiver may take to answer unless told, as the standard recommends (15 to 30 s).
const TIMEOUT: Duration = Duration::from_secs(20);

/// The pause before the first retry unless told: long enough for a process to restart.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// The longest pause between retries unless told: how late a receiver may learn of events after it is well again, against how often one that is gone is asked.
const LAST_RETRY: Duration = Duration::from_secs(300);

/// Where events are posted, and how.
#[derive(Clone)]
pub struct WebhookConfig {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) secrets: Vec<String>,
    pub(crate) timeout: Duration,
    pub(crate) first_retry: Duration,
    pub(crate) last_retry: Duration,
}

impl fmt::Debug for WebhookConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password.
        f.debug_struct("WebhookConfig").field("name", &self.name).finish_non_exhaustive()
    }
}

impl WebhookConfig {
    /// A webhook named `default`. The URL is `http` or `https`; the secret is 24 to 64 bytes in base64, with or without `whsec_` before it. It begins with the events
    /// that happen from its first start on.
    pub fn new(url: impl Into<String>, secret: impl Into<String>) -> Self {
        Self {
            name: "default".to_owned(),
            url: url.into(),
            secrets: vec![secret.into()],
            timeout: TIMEOUT,
            first_retry: FIRST_RETRY,
            last_retry: LAST_RETRY,
        }
    }

    /// Its name, under which its cursor is kept and which is a label of its metrics. Each webhook of an engine needs its own.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Signs with another secret as well, so that the secret can be changed: the receiver takes either signature.
    pub fn also_signed_with(mut self, secret: impl Into<String>) -> Self {
        self.secrets.push(secret.into());
        self
    }

    /// How long the receiver may take to answer; 20 s unless told.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The pause before the first retry, and the longest one; 1 s and 5 minutes unless told. In between it doubles, and the dice take up to half of it off.
    pub fn retries(mut self, first: Duration, longest: Duration) -> Self {
        (self.first_retry, self.last_retry) = (first, longest.max(first));
        self
    }

    /// The URL and the secrets, read.
    pub(crate) fn check(&self) -> Result<(Url, Vec<Secret>), EngineError> {
        let refused = |reason: String| EngineError::Webhook { name: self.name.clone(), reason };
        let url = Url::parse(&self.url).map_err(|error| refused(format!("its URL: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refused(format!("its URL begins with {}:, and must with http: or https:", url.scheme())));
        }
        if self.name.is_empty() || self.name.len() > 128 || self.name.chars().any(char::is_control) {
            return Err(refused("a name has 1 to 128 bytes without control characters".to_owned()));
        }
        let secrets =
            self.secrets.iter().map(|secret| Secret::parse(secret).map_err(|reason| refused(reason.to_owned())));
        Ok((url, secrets.collect::<Result<_, _>>()?))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_that_could_not_work_is_refused_with_its_name_and_the_reason() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let error = |config: WebhookConfig| config.name("billing").check().map(|_| ()).unwrap_err().to_string();
        assert!(error(WebhookConfig::new("example.org/hook", secret)).starts_with("webhook \"billing\": its URL"));
        assert!(error(WebhookConfig::new("ftp://example.org", secret)).contains("must with http: or https:"));
        assert!(error(WebhookConfig::new("http://example.org", "too short")).contains("secret"));
        assert!(error(WebhookConfig::new("http://example.org", "c2hvcnQ=")).contains("24 to 64 bytes"));
        assert!(WebhookConfig::new("https://example.org", secret).check().is_ok());
    }
}
