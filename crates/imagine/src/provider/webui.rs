//! A Stable Diffusion WebUI of the operator's, started with `--api`: `POST /sdapi/v1/txt2img` answers with the picture in base64. It costs nothing, so that a request without an answer is
//! simply sent again.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, RequestBuilder};
use serde_json::{Map, Value, json};

use super::http::{Api, json};
use super::openai::not_resumable;
use super::{
    BoxFuture, Capabilities, Handle, ImageProvider, ImageRequest, Made, Progress, ProviderError, Submitted, Webhook,
    no_webhooks,
};
use crate::config::ProviderConfig;
use crate::error::ImagineError;
use crate::money::Money;

/// How long one request may take: the picture is made meanwhile, after those before it.
const TIMEOUT: Duration = Duration::from_secs(300);

/// The most bytes of an answer: a picture of 32 MiB in base64.
const MOST: usize = 48 * 1024 * 1024;

pub(super) struct WebUi {
    api: Api,
    /// `user:password`, where it was started with `--api-auth`.
    key: Option<String>,
    model: Option<String>,
    price: Money,
    options: Map<String, Value>,
}

impl WebUi {
    pub(super) fn new(config: &ProviderConfig) -> Result<Self, ImagineError> {
        if config.webhook.is_some() {
            return Err(config.refused("this wire has no webhooks"));
        }
        Ok(Self {
            api: Api::new(config, TIMEOUT)?,
            key: config.key()?,
            model: config.model.clone(),
            price: config.price,
            options: config.options.clone(),
        })
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        match self.key.as_deref().map(|key| key.split_once(':').unwrap_or((key, ""))) {
            Some((user, password)) => request.basic_auth(user, Some(password)),
            None => request,
        }
    }

    async fn submit(&self, request: &ImageRequest) -> Result<Submitted, ProviderError> {
        let mut body = self.options.clone();
        body.insert("prompt".into(), request.prompt.as_str().into());
        body.insert("width".into(), request.width.into());
        body.insert("height".into(), request.height.into());
        body.insert("seed".into(), request.seed.into());
        if let Some(model) = &self.model {
            body.insert("override_settings".into(), json!({ "sd_model_checkpoint": model }));
        }
        let asked = self.authorized(self.api.request(Method::POST, "sdapi/v1/txt2img")?);
        let answer = self.api.send(json(asked, &Value::Object(body)), MOST).await?;
        if !answer.is_ok() {
            return Err(answer.not_submitted());
        }
        let said = answer.json();
        let picture = said["images"][0].as_str().map(|text| text.rsplit(',').next().unwrap_or(text));
        let bytes = picture.and_then(|text| STANDARD.decode(text).ok());
        let none = || ProviderError::Unknown { after: None, detail: "an answer without a picture".to_owned() };
        bytes.map(|bytes| Submitted::Made(Made::Bytes(bytes.into()))).ok_or_else(none)
    }
}

impl ImageProvider for WebUi {
    fn capabilities(&self) -> Capabilities {
        // Repeated it costs electricity. Its way to interrupt hits whatever is made just then, somebody else's picture too, and is not used.
        Capabilities { repeatable: true, resumable: false, cancellable: false, webhooks: false }
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
