//! Any endpoint that speaks OpenAI's `POST images/generations`: the picture comes with the answer, in base64 or as a link. There is no job to ask for and no documented
//! idempotency key: a request without an answer is not repeated.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Map, Value};

use super::http::{Answer, Api, json};
use super::{
    BoxFuture, Capabilities, FailReason, Handle, ImageProvider, ImageRequest, Made, Progress, ProviderError, Submitted,
    Webhook, no_webhooks,
};
use crate::config::ProviderConfig;
use crate::error::ImagineError;
use crate::money::Money;

/// How long one request may take: the picture is made meanwhile.
const TIMEOUT: Duration = Duration::from_secs(300);

/// The most bytes of an answer: a picture of 32 MiB in base64.
const MOST: usize = 48 * 1024 * 1024;

pub(super) struct OpenAi {
    api: Api,
    key: Option<String>,
    model: String,
    price: Money,
    options: Map<String, Value>,
}

impl OpenAi {
    pub(super) fn new(config: &ProviderConfig) -> Result<Self, ImagineError> {
        if config.webhook.is_some() {
            return Err(config.refused("this wire has no webhooks"));
        }
        Ok(Self {
            api: Api::new(config, TIMEOUT)?,
            key: config.key()?,
            model: config.required_model()?,
            price: config.price,
            options: config.options.clone(),
        })
    }

    async fn submit(&self, request: &ImageRequest) -> Result<Submitted, ProviderError> {
        let mut body = self.options.clone();
        body.insert("model".into(), self.model.as_str().into());
        body.insert("prompt".into(), request.prompt.as_str().into());
        body.insert("n".into(), 1.into());
        body.insert("size".into(), format!("{}x{}", request.width, request.height).into());
        let mut asked = self.api.request(Method::POST, "images/generations")?;
        if let Some(key) = &self.key {
            asked = asked.header("authorization", format!("Bearer {key}"));
        }
        let answer = self.api.send(json(asked, &Value::Object(body)), MOST).await?;
        if !answer.is_ok() {
            return Err(not_made(&answer));
        }
        let said = answer.json();
        let first = &said["data"][0];
        let made = match (first["b64_json"].as_str(), first["url"].as_str()) {
            (Some(text), _) => STANDARD.decode(text).ok().map(|bytes| Made::Bytes(bytes.into())),
            (None, Some(link)) => Some(Made::Link(link.to_owned())),
            (None, None) => None,
        };
        let none = || ProviderError::Unknown { after: None, detail: "an answer without a picture".to_owned() };
        made.map(Submitted::Made).ok_or_else(none)
    }
}

fn not_made(answer: &Answer) -> ProviderError {
    let said = answer.json();
    let code = said["error"]["code"].as_str().unwrap_or_default();
    match code {
        "moderation_blocked" | "content_policy_violation" => ProviderError::Refused {
            message: "the provider's moderation does not allow this prompt".to_owned(),
            paid: false,
        },
        // With status 429, and no pause helps.
        "insufficient_quota" | "billing_hard_limit_reached" => {
            ProviderError::Failed { reason: FailReason::NoCredit, detail: answer.detail() }
        }
        _ => answer.not_submitted(),
    }
}

impl ImageProvider for OpenAi {
    fn capabilities(&self) -> Capabilities {
        Capabilities { repeatable: false, resumable: false, cancellable: false, webhooks: false }
    }

    fn cost(&self, _: &ImageRequest) -> Money {
        self.price
    }

    fn submit<'a>(&'a self, request: &'a ImageRequest, _: &'a str) -> BoxFuture<'a, Result<Submitted, ProviderError>> {
        Box::pin(self.submit(request))
    }

    fn poll<'a>(&'a self, _: &'a Handle) -> BoxFuture<'a, Result<Progress, ProviderError>> {
        Box::pin(async { Err(not_resumable()) })
    }

    fn cancel<'a>(&'a self, _: &'a Handle) -> BoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(async { Ok(()) })
    }

    fn verify_webhook<'a>(&'a self, _: Webhook<'a>) -> BoxFuture<'a, Result<String, ImagineError>> {
        no_webhooks()
    }
}

/// What a provider says that is asked for a job, where the picture comes with the answer.
pub(super) fn not_resumable() -> ProviderError {
    ProviderError::Failed { reason: FailReason::Gone, detail: "this wire has no jobs to ask for".to_owned() }
}
