//! Speaking to a provider over HTTP: one request, one answer of bounded size, and what a failure says about whether the request was taken. The addresses are the operator's
//! own configuration; those that a provider names itself are followed only where they are its own.

use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, Method, RequestBuilder, Url};
use serde_json::Value;

use super::{FailReason, ProviderError};
use crate::config::ProviderConfig;
use crate::error::ImagineError;

/// Answers that hold no picture are far smaller.
const TEXT: usize = 1024 * 1024;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(15);

/// A provider that asks for a longer pause gets this one: it may be mistaken, and the job is over by then anyway.
const LONGEST_ASKED: Duration = Duration::from_secs(24 * 3_600);

/// What may be said of a provider's own words in the log.
const DETAIL: usize = 300;

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) after: Option<Duration>,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as JSON; null where it is none.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// What the provider said, for the log.
    pub(super) fn detail(&self) -> String {
        let text: String =
            String::from_utf8_lossy(&self.body).chars().filter(|c| !c.is_control()).take(DETAIL).collect();
        format!("status {}: {text}", self.status)
    }

    /// What a status says of a submission that was not answered with success.
    pub(super) fn not_submitted(&self) -> ProviderError {
        let (after, detail) = (self.after, self.detail());
        let failed = |reason| ProviderError::Failed { reason, detail: detail.clone() };
        match self.status {
            401 | 403 => failed(FailReason::Account),
            402 => failed(FailReason::NoCredit),
            425 | 429 | 503 => ProviderError::Again { after, detail },
            // Whoever answered so may have had the request already.
            408 | 500.. => ProviderError::Unknown { after, detail },
            _ => failed(FailReason::Rejected),
        }
    }

    /// What a status says of a question that was not answered with success.
    pub(super) fn not_told(&self) -> ProviderError {
        let (after, detail) = (self.after, self.detail());
        match self.status {
            401 | 403 => ProviderError::Failed { reason: FailReason::Account, detail },
            404 | 410 => ProviderError::Failed { reason: FailReason::Gone, detail },
            408 | 425 | 429 | 500.. => ProviderError::Again { after, detail },
            _ => ProviderError::Failed { reason: FailReason::Provider, detail },
        }
    }
}

/// A provider's address and client.
#[derive(Debug, Clone)]
pub(super) struct Api {
    client: Client,
    base: Url,
}

impl Api {
    /// `timeout`: how long a request may take unless the configuration says otherwise.
    pub(super) fn new(config: &ProviderConfig, timeout: Duration) -> Result<Self, ImagineError> {
        let mut base = Url::parse(&config.url).map_err(|error| config.refused(format!("its URL: {error}")))?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(config.refused("its URL must begin with http: or https:"));
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let client = Client::builder()
            .connect_timeout(CONNECT)
            .timeout(config.timeout(timeout))
            .redirect(reqwest::redirect::Policy::none())
            // A kept connection that the other side is just closing looks like a request that may have been taken: a handshake for each is cheaper than a picture.
            .pool_max_idle_per_host(0)
            .build()
            .map_err(ImagineError::Client)?;
        Ok(Self { client, base })
    }

    /// A request to a path below the base.
    pub(super) fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, ProviderError> {
        let url = self.base.join(path).map_err(|error| address(&error.to_string()))?;
        Ok(self.client.request(method, url))
    }

    /// A request to an address that the provider named, where it is one of its own: the key goes with it.
    pub(super) fn follow(&self, method: Method, link: &str) -> Result<RequestBuilder, ProviderError> {
        let url = Url::parse(link).map_err(|error| address(&error.to_string()))?;
        if !is_own(&self.base, &url) {
            return Err(address(&format!(
                "{} is not of {}",
                url.host_str().unwrap_or_default(),
                self.base.host_str().unwrap_or_default()
            )));
        }
        Ok(self.client.request(method, url))
    }

    /// Sends a request with at most this many bytes of answer.
    pub(super) async fn send(&self, request: RequestBuilder, most: usize) -> Result<Answer, ProviderError> {
        let mut response = request.send().await.map_err(broken)?;
        let (status, after) = (response.status().as_u16(), retry_after(response.headers()));
        let mut body = BytesMut::new();
        while let Some(piece) = response.chunk().await.map_err(broken)? {
            if body.len() + piece.len() > most {
                return Err(ProviderError::Unknown {
                    after: None,
                    detail: format!("an answer of more than {most} bytes"),
                });
            }
            body.extend_from_slice(&piece);
        }
        Ok(Answer { status, after, body: body.freeze() })
    }

    /// Sends a request that is answered with a few words.
    pub(super) async fn ask(&self, request: RequestBuilder) -> Result<Answer, ProviderError> {
        self.send(request, TEXT).await
    }
}

/// A JSON body.
pub(super) fn json(request: RequestBuilder, body: &Value) -> RequestBuilder {
    request.header(reqwest::header::CONTENT_TYPE, "application/json").body(body.to_string())
}

/// Whether a link is on the same host, or, under TLS, on another host of the same domain: providers hand out the addresses of regions.
fn is_own(base: &Url, link: &Url) -> bool {
    let (Some(own), Some(other)) = (base.host_str(), link.host_str()) else { return false };
    if own == other {
        return base.scheme() == link.scheme() && base.port_or_known_default() == link.port_or_known_default();
    }
    let is_name = base.domain().is_some();
    let Some((_, domain)) = own.split_once('.').filter(|(_, domain)| is_name && domain.contains('.')) else {
        return false;
    };
    link.scheme() == "https" && link.port().is_none() && (other == domain || other.ends_with(&format!(".{domain}")))
}

fn address(detail: &str) -> ProviderError {
    ProviderError::Failed { reason: FailReason::Address, detail: detail.to_owned() }
}

fn broken(error: reqwest::Error) -> ProviderError {
    let never_left = error.is_connect() || error.is_builder();
    let detail = error.without_url().to_string();
    match never_left {
        true => ProviderError::Again { after: None, detail },
        false => ProviderError::Unknown { after: None, detail },
    }
}

/// How long a server wants to be left alone: `Retry-After` in seconds or as a date (RFC 9110, 10.2.3).
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let asked = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::now()).unwrap_or_default(),
    };
    Some(asked.min(LONGEST_ASKED))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_key_follows_a_provider_to_its_regions_and_nowhere_else() {
        let own = |base: &str, link: &str| is_own(&Url::parse(base).unwrap(), &Url::parse(link).unwrap());
        assert!(own("https://api.bfl.ai/", "https://api.bfl.ai/v1/get_result?id=1"));
        assert!(own("https://api.bfl.ai/", "https://api.us1.bfl.ai/v1/get_result?id=1"));
        assert!(own("http://127.0.0.1:8188/", "http://127.0.0.1:8188/history/1"));
        assert!(!own("https://api.bfl.ai/", "http://api.bfl.ai/v1/get_result?id=1"));
        assert!(!own("https://api.bfl.ai/", "https://api.bfl.ai.example/v1/get_result?id=1"));
        assert!(!own("https://api.bfl.ai/", "https://evilbfl.ai/v1/get_result?id=1"));
        assert!(!own("http://127.0.0.1:8188/", "https://126.0.0.1/history/1"));
        assert!(!own("https://example.org/", "https://other.org/"));
    }
}
