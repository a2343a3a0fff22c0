//! What makes pictures, as the jobs see it: something on the other side of HTTP that takes a prompt, is asked how far it is, and hands out a picture or a link to one.
//! Each wire has a client of its own in this folder. None of them retries, waits or counts; when is the job's affair.

mod bfl;
mod comfy;
mod contract;
mod fal;
mod http;
mod openai;
mod webui;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use serde::{Deserialize, Serialize};

use crate::config::{ProviderConfig, ProviderKind};
use crate::error::ImagineError;
use crate::money::Money;

pub(crate) use http::retry_after;

/// A boxed future, as the traits of this crate return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What is to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRequest {
    /// In the user's words.
    pub prompt: String,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// What makes another picture of the same prompt; the same on each try of one job.
    pub seed: u32,
}

/// What a provider can do, and what its API promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Whether the same request may be sent again without being paid or made twice: the API has an idempotency key, or costs nothing.
    pub repeatable: bool,
    /// Whether it answers with a handle to ask with, so that a job goes on after a restart. Otherwise the picture comes with the answer.
    pub resumable: bool,
    /// Whether it can be told to stop.
    pub cancellable: bool,
    /// Whether it calls back when it is done.
    pub webhooks: bool,
}

/// How a job is found again at its provider. Kept with the job.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Handle {
    /// The provider's name of the job, as its webhooks have it.
    pub id: String,
    /// Where to ask how far it is, if the provider said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Where the result will be, if the provider said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// Where it is cancelled, if the provider said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<String>,
}

/// A picture that is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Made {
    /// As a link, to be fetched at once: links live for minutes.
    Link(String),
    /// As bytes.
    Bytes(Bytes),
}

/// The answer to a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submitted {
    /// It will be made; ask with this.
    Accepted(Handle),
    /// Here it is.
    Made(Made),
}

/// The answer to a poll.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// Not yet.
    Working {
        /// How much of it is done, 0 to 1, if the provider says so.
        done: Option<f32>,
    },
    /// Here it is.
    Made(Made),
}

/// Why a job failed for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailReason {
    /// It may have been submitted and it may not; sending it again could pay twice.
    Unknown,
    /// The provider does not accept the operator's key.
    Account,
    /// The operator's account has no credit left.
    NoCredit,
    /// The provider does not understand the request.
    Rejected,
    /// The provider tried and failed.
    Provider,
    /// The provider does not know the job any more, or its link has expired.
    Gone,
    /// What came is no picture, of a wrong type, or too large.
    Picture,
    /// The link points where nothing is fetched from.
    Address,
}

impl FailReason {
    const ALL: [Self; 8] = [
        Self::Unknown,
        Self::Account,
        Self::NoCredit,
        Self::Rejected,
        Self::Provider,
        Self::Gone,
        Self::Picture,
        Self::Address,
    ];

    /// As on the wire and in rows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Account => "account",
            Self::NoCredit => "no_credit",
            Self::Rejected => "rejected",
            Self::Provider => "provider",
            Self::Gone => "gone",
            Self::Picture => "picture",
            Self::Address => "address",
        }
    }

    /// Reads [`as_str`](Self::as_str).
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

/// What went wrong at a provider.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// It did not take the request: nothing happened, and later it may.
    #[error("not taken now: {detail}")]
    Again {
        /// How long it wants to be left alone.
        after: Option<Duration>,
        /// For the log.
        detail: String,
    },
    /// The answer is missing: it may have taken the request.
    #[error("no answer: {detail}")]
    Unknown {
        /// How long it wants to be left alone.
        after: Option<Duration>,
        /// For the log.
        detail: String,
    },
    /// Its moderation, or its policy, refuses.
    #[error("refused: {message}")]
    Refused {
        /// For the user.
        message: String,
        /// Whether it counts as paid: what is not known to be free does.
        paid: bool,
    },
    /// It will never work.
    #[error("{}: {detail}", reason.as_str())]
    Failed {
        /// In a word.
        reason: FailReason,
        /// For the log; it may hold what the provider said.
        detail: String,
    },
}

/// What came to a provider's webhook route.
#[derive(Debug)]
pub struct Webhook<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its body, byte for byte.
    pub body: &'a [u8],
    /// Now, in Unix seconds.
    pub now: u64,
}

/// Makes pictures.
pub trait ImageProvider: Send + Sync + 'static {
    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// What a picture costs at most, from the operator's price list.
    fn cost(&self, request: &ImageRequest) -> Money;

    /// Hands a request over. `key` is the job's, the same on each try.
    ///
    /// # Errors
    /// [`ProviderError`], which says whether it may have been taken.
    fn submit<'a>(&'a self, request: &'a ImageRequest, key: &'a str)
    -> BoxFuture<'a, Result<Submitted, ProviderError>>;

    /// Asks how far a job is.
    ///
    /// # Errors
    /// [`ProviderError`]; asking again costs nothing.
    fn poll<'a>(&'a self, handle: &'a Handle) -> BoxFuture<'a, Result<Progress, ProviderError>>;

    /// Says that a job is not wanted any more. Whether it is made nevertheless is not known then.
    ///
    /// # Errors
    /// [`ProviderError`]; nothing depends on it.
    fn cancel<'a>(&'a self, handle: &'a Handle) -> BoxFuture<'a, Result<(), ProviderError>>;

    /// The [`Handle::id`] of the job that a webhook tells of, if it is signed as the provider signs. What it says of the job is not
    /// used: the job asks by itself.
    ///
    /// # Errors
    /// [`ImagineError::Webhook`] where it is not to be trusted.
    fn verify_webhook<'a>(&'a self, webhook: Webhook<'a>) -> BoxFuture<'a, Result<String, ImagineError>>;
}

/// The client of a wire.
///
/// # Errors
/// Where the configuration could not work.
pub fn client(config: &ProviderConfig) -> Result<Arc<dyn ImageProvider>, ImagineError> {
    Ok(match config.kind {
        ProviderKind::Bfl => Arc::new(bfl::Bfl::new(config)?),
        ProviderKind::Fal => Arc::new(fal::Fal::new(config)?),
        ProviderKind::Openai => Arc::new(openai::OpenAi::new(config)?),
        ProviderKind::Webui => Arc::new(webui::WebUi::new(config)?),
        ProviderKind::Comfyui => Arc::new(comfy::ComfyUi::new(config)?),
        ProviderKind::Contract => Arc::new(contract::Contract::new(config)?),
    })
}

/// What a provider without webhooks says to one.
fn no_webhooks<'a>() -> BoxFuture<'a, Result<String, ImagineError>> {
    Box::pin(async { Err(ImagineError::Webhook("this provider sends none")) })
}
