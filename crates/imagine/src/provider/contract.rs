//! The small HTTP contract of `docs/imagine.md`, for services without a public API (Midjourney): the operator runs, or has, something that fulfils it under an agreement of their own. `POST
//! jobs` with an idempotency key, `GET` and `DELETE jobs/<id>`, webhooks signed as Standard Webhooks 1.0 has it.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, RequestBuilder};
use serde_json::{Map, Value, json};

use super::http::{Api, json};
use super::{
    BoxFuture, Capabilities, FailReason, Handle, ImageProvider, ImageRequest, Made, Progress, ProviderError, Submitted,
    Webhook, no_webhooks,
};
use crate::config::ProviderConfig;
use crate::error::ImagineError;
use crate::money::Money;
use crate::signature;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(60);

pub(super) struct Contract {
    api: Api,
    key: Option<String>,
    model: Option<String>,
    price: Money,
    options: Map<String, Value>,
    webhook: Option<(String, Vec<u8>)>,
}

impl Contract {
    pub(super) fn new(config: &ProviderConfig) -> Result<Self, ImagineError> {
        let webhook = match &config.webhook {
            None => None,
            Some(webhook) => {
                let secret = config.webhook_secret()?.unwrap_or_default();
                let secret = STANDARD.decode(secret.strip_prefix("whsec_").unwrap_or(&secret)).unwrap_or_default();
                if !(24..=64).contains(&secret.len()) {
                    return Err(config.refused("the secret of its webhook is 24 to 64 bytes in base64"));
                }
                Some((webhook.url.clone(), secret))
            }
        };
        Ok(Self {
            api: Api::new(config, TIMEOUT)?,
            key: config.key()?,
            model: config.model.clone(),
            price: config.price,
            options: config.options.clone(),
            webhook,
        })
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, ProviderError> {
        let request = self.api.request(method, path)?;
        Ok(match &self.key {
            Some(key) => request.header("authorization", format!("Bearer {key}")),
            None => request,
        })
    }

    async fn submit(&self, request: &ImageRequest, key: &str) -> Result<Submitted, ProviderError> {
        let body = json!({
            "prompt": request.prompt, "width": request.width, "height": request.height, "seed": request.seed,
            "model": self.model, "options": self.options, "webhook_url": self.webhook.as_ref().map(|(url, _)| url),
        });
        let asked = self.request(Method::POST, "jobs")?.header("idempotency-key", key);
        let answer = self.api.ask(json(asked, &body)).await?;
        if !answer.is_ok() {
            return Err(answer.not_submitted());
        }
        match answer.json()["id"].as_str() {
            Some(id) if is_plain(id) => Ok(Submitted::Accepted(Handle { id: id.to_owned(), ..Handle::default() })),
            _ => Err(ProviderError::Unknown { after: None, detail: format!("no usable id: {}", answer.detail()) }),
        }
    }

    async fn poll(&self, handle: &Handle) -> Result<Progress, ProviderError> {
        let answer = self.api.ask(self.request(Method::GET, &format!("jobs/{}", handle.id))?).await?;
        if !answer.is_ok() {
            return Err(answer.not_told());
        }
        let said = answer.json();
        let reason = said["reason"].as_str().unwrap_or("the provider does not allow this").to_owned();
        match said["status"].as_str() {
            Some("queued" | "running") => {
                Ok(Progress::Working { done: said["progress"].as_f64().map(|done| done as f32) })
            }
            Some("done") => match said["images"][0]["url"].as_str() {
                Some(link) => Ok(Progress::Made(Made::Link(link.to_owned()))),
                None => Err(ProviderError::Failed { reason: FailReason::Provider, detail: answer.detail() }),
            },
            Some("refused") => {
                Err(ProviderError::Refused { message: reason, paid: said["charged"].as_bool().unwrap_or(true) })
            }
            Some("failed" | "cancelled") => {
                Err(ProviderError::Failed { reason: FailReason::Provider, detail: answer.detail() })
            }
            _ => Err(ProviderError::Again { after: None, detail: answer.detail() }),
        }
    }

    async fn cancel(&self, handle: &Handle) -> Result<(), ProviderError> {
        let answer = self.api.ask(self.request(Method::DELETE, &format!("jobs/{}", handle.id))?).await?;
        // 404 and 409: there is nothing left to cancel.
        if answer.is_ok() || matches!(answer.status, 404 | 409) { Ok(()) } else { Err(answer.not_told()) }
    }
}

/// An id that is one piece of a path as it is.
fn is_plain(id: &str) -> bool {
    (1..=200).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        && !id.starts_with('.')
}

impl ImageProvider for Contract {
    fn capabilities(&self) -> Capabilities {
        Capabilities { repeatable: true, resumable: true, cancellable: true, webhooks: self.webhook.is_some() }
    }

    fn cost(&self, _: &ImageRequest) -> Money {
        self.price
    }

    fn submit<'a>(
        &'a self,
        request: &'a ImageRequest,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Submitted, ProviderError>> {
        Box::pin(self.submit(request, key))
    }

    fn poll<'a>(&'a self, handle: &'a Handle) -> BoxFuture<'a, Result<Progress, ProviderError>> {
        Box::pin(self.poll(handle))
    }

    fn cancel<'a>(&'a self, handle: &'a Handle) -> BoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(self.cancel(handle))
    }

    fn verify_webhook<'a>(&'a self, webhook: Webhook<'a>) -> BoxFuture<'a, Result<String, ImagineError>> {
        let Some((_, secret)) = &self.webhook else { return no_webhooks() };
        Box::pin(async move {
            let header = |name| signature::header(webhook.headers, name);
            let (id, time) = (header("webhook-id")?, header("webhook-timestamp")?);
            signature::check_time(time, webhook.now)?;
            let signed = [id.as_bytes(), b".", time.as_bytes(), b".", webhook.body];
            // A secret that is being changed signs beside the new one.
            let mut signatures = header("webhook-signature")?.split(' ').filter_map(|one| one.strip_prefix("v1,"));
            let fits = signatures
                .any(|one| STANDARD.decode(one).is_ok_and(|one| signature::check_hmac(secret, &signed, &one).is_ok()));
            if !fits {
                return Err(ImagineError::Webhook("its signature does not fit"));
            }
            let said: Value = serde_json::from_slice(webhook.body).unwrap_or(Value::Null);
            said["id"].as_str().map(str::to_owned).ok_or(ImagineError::Webhook("it names no job"))
        })
    }
}
