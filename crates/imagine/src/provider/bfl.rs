//! Black Forest Labs' API: `POST /v1/<model>` answers with an id and the URL to poll, results are links that live 10 minutes, webhooks are signed with HMAC-SHA-256. There is no
//! idempotency key: a submission without an answer is not repeated.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::http::{Answer, Api, json};
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

pub(super) struct Bfl {
    api: Api,
    key: String,
    model: String,
    price: Money,
    options: Map<String, Value>,
    webhook: Option<(String, String)>,
}

impl Bfl {
    pub(super) fn new(config: &ProviderConfig) -> Result<Self, ImagineError> {
        let webhook = match &config.webhook {
            None => None,
            Some(webhook) => {
                let secret = config.webhook_secret()?;
                let secret = secret.ok_or_else(|| config.refused("its webhook needs `secret` or `secret_env`"))?;
                Some((webhook.url.clone(), secret))
            }
        };
        Ok(Self {
            api: Api::new(config, TIMEOUT)?,
            key: config.required_key()?,
            model: config.required_model()?,
            price: config.price,
            options: config.options.clone(),
            webhook,
        })
    }

    async fn submit(&self, request: &ImageRequest) -> Result<Submitted, ProviderError> {
        let mut body = self.options.clone();
        body.insert("prompt".into(), request.prompt.as_str().into());
        body.insert("width".into(), request.width.into());
        body.insert("height".into(), request.height.into());
        body.insert("seed".into(), request.seed.into());
        if let Some((url, secret)) = &self.webhook {
            body.insert("webhook_url".into(), url.as_str().into());
            body.insert("webhook_secret".into(), secret.as_str().into());
        }
        let asked = self.api.request(Method::POST, &format!("v1/{}", self.model))?.header("x-key", &self.key);
        let answer = self.api.ask(json(asked, &Value::Object(body))).await?;
        if !answer.is_ok() {
            return Err(answer.not_submitted());
        }
        let said = answer.json();
        let text = |name: &str| said[name].as_str().map(str::to_owned);
        match (text("id"), text("polling_url")) {
            (Some(id), status @ Some(_)) => Ok(Submitted::Accepted(Handle { id, status, ..Handle::default() })),
            _ => Err(ProviderError::Unknown {
                after: None,
                detail: format!("no id or polling_url: {}", answer.detail()),
            }),
        }
    }

    async fn poll(&self, handle: &Handle) -> Result<Progress, ProviderError> {
        let url = handle.status.as_deref().unwrap_or_default();
        let answer = self.api.ask(self.api.follow(Method::GET, url)?.header("x-key", &self.key)).await?;
        let said = answer.json();
        // A task that is not known is told with a status as well as without one.
        match said["status"].as_str() {
            Some(status) if answer.is_ok() || answer.status == 404 => progress(status, &said, &answer),
            _ if answer.is_ok() => Err(ProviderError::Again { after: None, detail: answer.detail() }),
            _ => Err(answer.not_told()),
        }
    }
}

fn progress(status: &str, said: &Value, answer: &Answer) -> Result<Progress, ProviderError> {
    let failed = |reason| Err(ProviderError::Failed { reason, detail: answer.detail() });
    // Whether what is refused is billed is nowhere promised.
    let refused = |message: &str| Err(ProviderError::Refused { message: message.to_owned(), paid: true });
    match status {
        "Ready" => match said["result"]["sample"].as_str() {
            Some(link) => Ok(Progress::Made(Made::Link(link.to_owned()))),
            None => failed(FailReason::Provider),
        },
        "Pending" => Ok(Progress::Working { done: said["progress"].as_f64().map(|done| done as f32) }),
        "Request Moderated" => refused("the provider's moderation does not allow this prompt"),
        "Content Moderated" => refused("the provider's moderation does not allow the picture that was made"),
        "Task not found" => failed(FailReason::Gone),
        "Error" | "Failed" => failed(FailReason::Provider),
        // A state that is newer than this program.
        _ => Ok(Progress::Working { done: None }),
    }
}

impl ImageProvider for Bfl {
    fn capabilities(&self) -> Capabilities {
        Capabilities { repeatable: false, resumable: true, cancellable: false, webhooks: self.webhook.is_some() }
    }

    fn cost(&self, _: &ImageRequest) -> Money {
        self.price
    }

    fn submit<'a>(&'a self, request: &'a ImageRequest, _: &'a str) -> BoxFuture<'a, Result<Submitted, ProviderError>> {
        Box::pin(self.submit(request))
    }

    fn poll<'a>(&'a self, handle: &'a Handle) -> BoxFuture<'a, Result<Progress, ProviderError>> {
        Box::pin(self.poll(handle))
    }

    fn cancel<'a>(&'a self, _: &'a Handle) -> BoxFuture<'a, Result<(), ProviderError>> {
        // The API has no way to.
        Box::pin(async { Ok(()) })
    }

    fn verify_webhook<'a>(&'a self, webhook: Webhook<'a>) -> BoxFuture<'a, Result<String, ImagineError>> {
        let Some((_, secret)) = &self.webhook else { return no_webhooks() };
        Box::pin(async move {
            let signature = signature::header(webhook.headers, "x-bfl-signature")?;
            let hex = signature.strip_prefix("sha256=").unwrap_or(signature);
            signature::check_hmac(secret.as_bytes(), &[webhook.body], &signature::from_hex(hex)?)?;
            let said: Value = serde_json::from_slice(webhook.body).unwrap_or_else(|_| json!({}));
            // The documentation has both names.
            let id = said["id"].as_str().or_else(|| said["task_id"].as_str());
            id.map(str::to_owned).ok_or(ImagineError::Webhook("it names no job"))
        })
    }
}
