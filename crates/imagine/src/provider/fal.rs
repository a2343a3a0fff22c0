//! fal's queue: `POST https://queue.fal.run/<model>` answers with the URLs of status, result and cancellation; webhooks are signed with ED25519 under keys that fal publishes.
//! There is no idempotency key: a submission without an answer is not repeated.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use ring::digest::{SHA256, digest};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;

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

/// Where fal publishes its keys, unless told.
const JWKS: &str = "https://rest.fal.ai/.well-known/jwks.json";

/// How long the keys are kept; fal asks for a day at most.
const KEYS_HOLD: Duration = Duration::from_secs(12 * 3_600);

/// How soon they are asked for again where none fits: a forged webhook must not become a request each.
const KEYS_AGAIN: Duration = Duration::from_secs(60);

type Keys = (Instant, Vec<Vec<u8>>);

pub(super) struct Fal {
    api: Api,
    key: String,
    model: String,
    price: Money,
    options: Map<String, Value>,
    webhook: Option<String>,
    /// Where the keys are, and a client of its own for it: the operator's key goes nowhere else.
    jwks: (String, Api),
    keys: Mutex<Option<Keys>>,
}

impl Fal {
    pub(super) fn new(config: &ProviderConfig) -> Result<Self, ImagineError> {
        let jwks = config.jwks_url.clone().unwrap_or_else(|| JWKS.to_owned());
        let at_keys = ProviderConfig { url: jwks.clone(), ..config.clone() };
        Ok(Self {
            api: Api::new(config, TIMEOUT)?,
            key: config.required_key()?,
            model: config.required_model()?,
            price: config.price,
            options: config.options.clone(),
            webhook: config.webhook.as_ref().map(|webhook| webhook.url.clone()),
            jwks: (jwks, Api::new(&at_keys, TIMEOUT)?),
            keys: Mutex::new(None),
        })
    }

    fn authorization(&self) -> String {
        format!("Key {}", self.key)
    }

    async fn submit(&self, request: &ImageRequest) -> Result<Submitted, ProviderError> {
        let mut body = self.options.clone();
        body.insert("prompt".into(), request.prompt.as_str().into());
        body.insert("image_size".into(), json!({ "width": request.width, "height": request.height }));
        body.insert("seed".into(), request.seed.into());
        let mut asked = self.api.request(Method::POST, &self.model)?.header("authorization", self.authorization());
        if let Some(url) = &self.webhook {
            asked = asked.query(&[("fal_webhook", url)]);
        }
        let answer = self.api.ask(json(asked, &Value::Object(body))).await?;
        if !answer.is_ok() {
            return Err(refusal(&answer, false).unwrap_or_else(|| answer.not_submitted()));
        }
        let said = answer.json();
        let text = |name: &str| said[name].as_str().map(str::to_owned);
        let (Some(id), status @ Some(_), result @ Some(_)) =
            (text("request_id"), text("status_url"), text("response_url"))
        else {
            return Err(ProviderError::Unknown { after: None, detail: format!("no URLs: {}", answer.detail()) });
        };
        Ok(Submitted::Accepted(Handle { id, status, result, cancel: text("cancel_url") }))
    }

    async fn poll(&self, handle: &Handle) -> Result<Progress, ProviderError> {
        let status = handle.status.as_deref().unwrap_or_default();
        let asked = self.api.follow(Method::GET, status)?.header("authorization", self.authorization());
        let answer = self.api.ask(asked).await?;
        if !answer.is_ok() {
            return Err(answer.not_told());
        }
        match answer.json()["status"].as_str() {
            Some("COMPLETED") => self.result(handle).await,
            Some("IN_QUEUE" | "IN_PROGRESS") => Ok(Progress::Working { done: None }),
            _ => Err(ProviderError::Again { after: None, detail: answer.detail() }),
        }
    }

    /// What a finished request came to: a failure is told with the status that the model answered with.
    async fn result(&self, handle: &Handle) -> Result<Progress, ProviderError> {
        let result = handle.result.as_deref().unwrap_or_default();
        let asked = self.api.follow(Method::GET, result)?.header("authorization", self.authorization());
        let answer = self.api.ask(asked).await?;
        if !answer.is_ok() {
            return Err(refusal(&answer, true).unwrap_or_else(|| answer.not_told()));
        }
        let said = answer.json();
        if said["has_nsfw_concepts"][0].as_bool() == Some(true) {
            let message = "the provider's moderation does not allow the picture that was made".to_owned();
            return Err(ProviderError::Refused { message, paid: true });
        }
        let link = said["images"][0]["url"].as_str().or_else(|| said["image"]["url"].as_str());
        match link {
            Some(link) => Ok(Progress::Made(Made::Link(link.to_owned()))),
            None => Err(ProviderError::Failed { reason: FailReason::Provider, detail: answer.detail() }),
        }
    }

    async fn cancel(&self, handle: &Handle) -> Result<(), ProviderError> {
        let Some(cancel) = handle.cancel.as_deref() else { return Ok(()) };
        let asked = self.api.follow(Method::PUT, cancel)?.header("authorization", self.authorization());
        let answer = self.api.ask(asked).await?;
        // 400: it is finished already.
        if answer.is_ok() || answer.status == 400 { Ok(()) } else { Err(answer.not_told()) }
    }

    async fn verify(&self, webhook: &Webhook<'_>) -> Result<String, ImagineError> {
        let header = |name| signature::header(webhook.headers, name);
        let id = header("x-fal-webhook-request-id")?;
        let (user, time) = (header("x-fal-webhook-user-id")?, header("x-fal-webhook-timestamp")?);
        signature::check_time(time, webhook.now)?;
        let signed = signature::from_hex(header("x-fal-webhook-signature")?)?;
        let hash = signature::to_hex(digest(&SHA256, webhook.body).as_ref());
        let message = [id, user, time, &hash].join("\n");
        let fits = |keys: &[Vec<u8>]| {
            keys.iter().any(|key| UnparsedPublicKey::new(&ED25519, key).verify(message.as_bytes(), &signed).is_ok())
        };
        let mut keys = self.keys.lock().await;
        let known = keys.as_ref().filter(|(at, _)| at.elapsed() < KEYS_HOLD);
        if known.is_some_and(|(_, keys)| fits(keys)) {
            return Ok(id.to_owned());
        }
        if known.is_none_or(|(at, _)| at.elapsed() >= KEYS_AGAIN) {
            let fresh = self.fetch_keys().await?;
            let fits = fits(&fresh);
            *keys = Some((Instant::now(), fresh));
            if fits {
                return Ok(id.to_owned());
            }
        }
        Err(ImagineError::Webhook("its signature does not fit"))
    }

    async fn fetch_keys(&self) -> Result<Vec<Vec<u8>>, ImagineError> {
        let (url, api) = &self.jwks;
        let unknown = |_| ImagineError::Webhook("the keys to check it with cannot be had");
        let answer = api.ask(api.follow(Method::GET, url).map_err(unknown)?).await.map_err(unknown)?;
        let said = answer.json();
        let keys = said["keys"].as_array().into_iter().flatten();
        Ok(keys.filter_map(|key| URL_SAFE_NO_PAD.decode(key["x"].as_str()?).ok()).collect())
    }
}

/// A refusal of the model's content checker, which fal tells in the list of what is wrong with a request.
fn refusal(answer: &Answer, paid: bool) -> Option<ProviderError> {
    let said = answer.json();
    let mut details = said["detail"].as_array().into_iter().flatten();
    details.any(|detail| detail["type"] == "content_policy_violation").then(|| ProviderError::Refused {
        message: "the provider's moderation does not allow this prompt".to_owned(),
        paid,
    })
}

impl ImageProvider for Fal {
    fn capabilities(&self) -> Capabilities {
        Capabilities { repeatable: false, resumable: true, cancellable: true, webhooks: self.webhook.is_some() }
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

    fn cancel<'a>(&'a self, handle: &'a Handle) -> BoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(self.cancel(handle))
    }

    fn verify_webhook<'a>(&'a self, webhook: Webhook<'a>) -> BoxFuture<'a, Result<String, ImagineError>> {
        if self.webhook.is_none() {
            return no_webhooks();
        }
        Box::pin(async move { self.verify(&webhook).await })
    }
}
