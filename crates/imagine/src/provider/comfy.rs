//! A ComfyUI of the operator's: `POST /prompt` queues a workflow, `GET /history/<id>` tells what came of it, `GET /view` hands out the file. The id of a job is ours to choose, so
//! a submission without an answer is looked for before it is sent again.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::http::{Api, json};
use super::{
    BoxFuture, Capabilities, FailReason, Handle, ImageProvider, ImageRequest, Made, Progress, ProviderError, Submitted,
    Webhook, no_webhooks,
};
use crate::config::ProviderConfig;
use crate::error::ImagineError;
use crate::money::Money;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The most bytes of a file.
const MOST: usize = 48 * 1024 * 1024;

pub(super) struct ComfyUi {
    api: Api,
    workflow: Value,
    price: Money,
}

impl ComfyUi {
    pub(super) fn new(config: &ProviderConfig) -> Result<Self, ImagineError> {
        if config.webhook.is_some() {
            return Err(config.refused("this wire has no webhooks"));
        }
        let workflow = config.workflow.clone().ok_or_else(|| config.refused("it needs `workflow`"))?;
        if !workflow.is_object() || !workflow.to_string().contains("{prompt}") {
            return Err(config.refused(
                "its workflow is an object in ComfyUI's API format, and \"{prompt}\" stands somewhere in it",
            ));
        }
        Ok(Self { api: Api::new(config, TIMEOUT)?, workflow, price: config.price })
    }

    async fn submit(&self, request: &ImageRequest, key: &str) -> Result<Submitted, ProviderError> {
        let accepted = || Submitted::Accepted(Handle { id: key.to_owned(), ..Handle::default() });
        if self.is_known(key).await? {
            return Ok(accepted());
        }
        let body = json!({ "prompt": filled(&self.workflow, request), "client_id": "ringback", "prompt_id": key });
        let answer = self.api.ask(json(self.api.request(Method::POST, "prompt")?, &body)).await?;
        if !answer.is_ok() {
            return Err(answer.not_submitted());
        }
        // A version that does not know `prompt_id` gives it another name.
        let id = answer.json()["prompt_id"].as_str().map_or_else(|| key.to_owned(), str::to_owned);
        Ok(Submitted::Accepted(Handle { id, ..Handle::default() }))
    }

    /// Whether a job is queued, runs or has run.
    async fn is_known(&self, id: &str) -> Result<bool, ProviderError> {
        Ok(self.history(id).await?.is_some() || self.is_queued(id).await?)
    }

    async fn history(&self, id: &str) -> Result<Option<Value>, ProviderError> {
        let answer = self.api.send(self.api.request(Method::GET, &format!("history/{id}"))?, MOST).await?;
        if !answer.is_ok() {
            return Err(answer.not_told());
        }
        Ok(answer.json().get(id).cloned())
    }

    async fn is_queued(&self, id: &str) -> Result<bool, ProviderError> {
        let answer = self.api.send(self.api.request(Method::GET, "queue")?, MOST).await?;
        if !answer.is_ok() {
            return Err(answer.not_told());
        }
        let said = answer.json();
        let lists = ["queue_running", "queue_pending"].map(|name| said[name].as_array().cloned().unwrap_or_default());
        Ok(lists.iter().flatten().any(|entry| entry[1] == id))
    }

    async fn poll(&self, handle: &Handle) -> Result<Progress, ProviderError> {
        let failed = |reason, detail: &str| Err(ProviderError::Failed { reason, detail: detail.to_owned() });
        let mut done = self.history(&handle.id).await?;
        if done.is_none() && !self.is_queued(&handle.id).await? {
            // It may have ended between the two questions.
            done = self.history(&handle.id).await?;
            if done.is_none() {
                return failed(FailReason::Gone, "neither queued nor in the history");
            }
        }
        let Some(done) = done else { return Ok(Progress::Working { done: None }) };
        if done["status"]["status_str"] == "error" {
            return failed(FailReason::Provider, &done["status"]["messages"].to_string());
        }
        let outputs = done["outputs"].as_object().into_iter().flat_map(|outputs| outputs.values());
        let mut images = outputs.flat_map(|output| output["images"].as_array().into_iter().flatten());
        // Previews are of type `temp`.
        let file = images.rfind(|image| image["type"] == "output");
        let Some(file) = file else { return failed(FailReason::Provider, "the workflow saves no picture") };
        let part = |name: &str| file[name].as_str().unwrap_or_default().to_owned();
        let query = [("filename", part("filename")), ("subfolder", part("subfolder")), ("type", "output".to_owned())];
        let answer = self.api.send(self.api.request(Method::GET, "view")?.query(&query), MOST).await?;
        if !answer.is_ok() {
            return Err(answer.not_told());
        }
        Ok(Progress::Made(Made::Bytes(answer.body)))
    }

    async fn cancel(&self, handle: &Handle) -> Result<(), ProviderError> {
        let queued = json(self.api.request(Method::POST, "queue")?, &json!({ "delete": [handle.id] }));
        self.api.ask(queued).await?;
        // With its id, so that nobody else's picture is hit.
        let running = json(self.api.request(Method::POST, "interrupt")?, &json!({ "prompt_id": handle.id }));
        self.api.ask(running).await.map(drop)
    }
}

/// The workflow with the request in it. A text that is a placeholder as a whole becomes a number where it is one.
fn filled(workflow: &Value, request: &ImageRequest) -> Value {
    match workflow {
        Value::String(text) => match text.as_str() {
            "{seed}" => request.seed.into(),
            "{width}" => request.width.into(),
            "{height}" => request.height.into(),
            _ => text.replace("{prompt}", &request.prompt).into(),
        },
        Value::Array(values) => values.iter().map(|value| filled(value, request)).collect(),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(name, value)| (name.clone(), filled(value, request))).collect())
        }
        other => other.clone(),
    }
}

impl ImageProvider for ComfyUi {
    fn capabilities(&self) -> Capabilities {
        Capabilities { repeatable: true, resumable: true, cancellable: true, webhooks: false }
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

    fn verify_webhook<'a>(&'a self, _: Webhook<'a>) -> BoxFuture<'a, Result<String, ImagineError>> {
        no_webhooks()
    }
}
