//! How images are set up: which providers there are, what a picture costs, and how many there may be. Read from the operator's configuration; no model, price or size
//! is built in.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::ImagineError;
use crate::money::Money;

/// Pictures are as large as this unless the provider's sizes say otherwise.
const SIZE: Size = Size { width: 1024, height: 1024 };

/// No time of a configuration is longer, in seconds: a week. What adds one to now must not overflow.
const LONGEST: u64 = 7 * 86_400;

/// A wire that there is a client for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderKind {
    /// Black Forest Labs' API: submit, poll, signed webhooks.
    Bfl,
    /// fal's queue: submit, status, result, cancel, webhooks signed with ED25519.
    Fal,
    /// Any endpoint that speaks OpenAI's `images/generations`.
    Openai,
    /// A Stable Diffusion WebUI of the operator's, started with `--api`.
    Webui,
    /// A ComfyUI of the operator's.
    Comfyui,
    /// The contract of `docs/imagine.md`, which an operator fulfils for a service without a public API.
    Contract,
}

/// A picture's size in pixels, as `1024x768`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Size {
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parsed = text.split_once('x').and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
        match parsed {
            Some((width @ 1..=16_384, height @ 1..=16_384)) => Ok(Self { width, height }),
            _ => Err(format!("{text:?} is no size: expected 1024x768")),
        }
    }
}

impl From<Size> for String {
    fn from(size: Size) -> String {
        size.to_string()
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// Where a provider calls back.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookSettings {
    /// The public address of the engine's webhook route, such as `https://chat.example/v1/images/webhooks/flux`.
    pub url: String,
    /// What the provider signs with, where it shares a secret.
    #[serde(default)]
    pub secret: Option<String>,
    /// The environment variable that holds the secret.
    #[serde(default)]
    pub secret_env: Option<String>,
}

/// A provider.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderConfig {
    /// Its name here, in rows, routes and for users.
    pub name: String,
    /// The wire it speaks.
    pub kind: ProviderKind,
    /// Where it is, with what precedes the wire's own paths: `https://api.bfl.ai`, `http://127.0.0.1:7860`.
    pub url: String,
    /// The operator's key.
    #[serde(default)]
    pub key: Option<String>,
    /// The environment variable that holds the key.
    #[serde(default)]
    pub key_env: Option<String>,
    /// The model, as the provider writes it.
    #[serde(default)]
    pub model: Option<String>,
    /// What a picture costs at most; nothing unless told.
    #[serde(default)]
    pub price: Money,
    /// How many are under way at once at most; 4 unless told. Black Forest Labs allows 24.
    #[serde(default = "four")]
    pub in_flight: usize,
    /// The sizes that may be asked for; the first is taken where none is. 1024x1024 unless told.
    #[serde(default)]
    pub sizes: Vec<Size>,
    /// Further fields of the request, as the provider documents them.
    #[serde(default)]
    pub options: Map<String, Value>,
    /// For ComfyUI: the workflow in its API format, with `"{prompt}"`, `"{seed}"`, `"{width}"` and `"{height}"` where these belong.
    #[serde(default)]
    pub workflow: Option<Value>,
    /// Where it calls back, if it shall.
    #[serde(default)]
    pub webhook: Option<WebhookSettings>,
    /// For fal: where the keys of its webhooks are, if not at its usual place.
    #[serde(default)]
    pub jwks_url: Option<String>,
    /// The longest that one request to it may take, in seconds; 60 unless told, 300 where the picture comes with the answer.
    #[serde(default)]
    pub timeout_s: Option<u64>,
}

impl fmt::Debug for ProviderConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without keys.
        f.debug_struct("ProviderConfig").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl ProviderConfig {
    /// A provider with defaults.
    pub fn new(name: impl Into<String>, kind: ProviderKind, url: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind,
            url: url.into(),
            key: None,
            key_env: None,
            model: None,
            price: Money::ZERO,
            in_flight: four(),
            sizes: Vec::new(),
            options: Map::new(),
            workflow: None,
            webhook: None,
            jwks_url: None,
            timeout_s: None,
        }
    }

    pub(crate) fn refused(&self, reason: impl Into<String>) -> ImagineError {
        ImagineError::Config { provider: self.name.clone(), reason: reason.into() }
    }

    pub(crate) fn key(&self) -> Result<Option<String>, ImagineError> {
        self.secret(self.key.as_ref(), self.key_env.as_ref())
    }

    pub(crate) fn required_key(&self) -> Result<String, ImagineError> {
        self.key()?.ok_or_else(|| self.refused("it needs `key` or `key_env`"))
    }

    pub(crate) fn webhook_secret(&self) -> Result<Option<String>, ImagineError> {
        let Some(webhook) = &self.webhook else { return Ok(None) };
        self.secret(webhook.secret.as_ref(), webhook.secret_env.as_ref())
    }

    pub(crate) fn required_model(&self) -> Result<String, ImagineError> {
        self.model.clone().ok_or_else(|| self.refused("it needs `model`"))
    }

    fn secret(&self, given: Option<&String>, variable: Option<&String>) -> Result<Option<String>, ImagineError> {
        match (given, variable) {
            (Some(_), Some(_)) => Err(self.refused("a secret is given itself or as an environment variable, not both")),
            (Some(secret), None) => Ok(Some(secret.clone())),
            (None, Some(name)) => match std::env::var(name) {
                Ok(secret) if !secret.is_empty() => Ok(Some(secret)),
                _ => Err(self.refused(format!("the environment variable {name} is not set"))),
            },
            (None, None) => Ok(None),
        }
    }

    /// How long one request may take.
    pub(crate) fn timeout(&self, usual: Duration) -> Duration {
        self.timeout_s.map_or(usual, |seconds| Duration::from_secs(seconds.clamp(1, LONGEST)))
    }

    pub(crate) fn size(&self, asked: Option<Size>) -> Result<Size, ImagineError> {
        let first = self.sizes.first().copied().unwrap_or(SIZE);
        match asked {
            None => Ok(first),
            Some(size) if size == first || self.sizes.contains(&size) => Ok(size),
            Some(size) => {
                let known: Vec<_> = self.sizes.iter().map(Size::to_string).collect();
                let known = if known.is_empty() { SIZE.to_string() } else { known.join(", ") };
                Err(ImagineError::Request(format!("{size} is not offered, only {known}")))
            }
        }
    }
}

fn four() -> usize {
    4
}

/// How many images are allowed in a time that moves along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// How many.
    pub images: u32,
    /// In how many seconds.
    pub seconds: u64,
}

/// What may be spent in a period, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpendCap {
    /// How much, in the operator's currency.
    pub amount: Money,
    /// In a day or a month of the calendar.
    pub per: Period,
}

/// After what the spend cap begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    /// At midnight UTC.
    Day,
    /// On the first of the month, at midnight UTC.
    Month,
}

/// How images are set up.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImagineConfig {
    /// What makes pictures; the first is taken where none is named. Without one the command says that there is none.
    pub providers: Vec<ProviderConfig>,
    /// What prices are in, such as `EUR`, where users and metrics shall say it.
    pub currency: Option<String>,
    /// What may be spent; without it as much as users ask for.
    pub spend_cap: Option<SpendCap>,
    /// How many one user may have; 50 in a day unless told.
    pub per_user: Option<Quota>,
    /// How many one thread may have; 200 in a day unless told.
    pub per_thread: Option<Quota>,
    /// How many one user may have under way; 4 unless told: a picture and its variations come one after the other, the variations at once.
    pub under_way: u32,
    /// The longest prompt in characters; 2000 unless told.
    pub prompt_chars: usize,
    /// How long it may take until a picture is made, in seconds; 600 unless told.
    pub expires_s: u64,
    /// How long fetching a picture may take, in seconds; 60 unless told. One of 32 MiB needs 4.5 Mbit/s then.
    pub fetch_s: u64,
    /// The most bytes of a picture as it comes; 32 MiB unless told. A job holds as many in memory while it is checked.
    pub max_bytes: u64,
    /// The most pixels of a picture on each side; 8192 unless told.
    pub max_side: u32,
    /// Hosts of the operator's own, as `host:port`, that results are fetched from although their address is private, also without TLS.
    pub allow_hosts: Vec<String>,
    /// Forget pictures this many days after they were made; never unless told.
    pub retention_days: Option<u32>,
}

impl Default for ImagineConfig {
    fn default() -> Self {
        Self {
            providers: Vec::new(),
            currency: None,
            spend_cap: None,
            per_user: Some(Quota { images: 50, seconds: 86_400 }),
            per_thread: Some(Quota { images: 200, seconds: 86_400 }),
            under_way: 4,
            prompt_chars: 2_000,
            expires_s: 600,
            fetch_s: 60,
            max_bytes: 32 * 1024 * 1024,
            max_side: 8_192,
            allow_hosts: Vec::new(),
            retention_days: None,
        }
    }
}

impl ImagineConfig {
    pub(crate) fn expires(&self) -> Duration {
        Duration::from_secs(self.expires_s.clamp(1, LONGEST))
    }

    pub(crate) fn fetch_timeout(&self) -> Duration {
        Duration::from_secs(self.fetch_s.clamp(1, LONGEST))
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// Where it is none, or says something that is not known.
    pub fn from_json(text: &str) -> Result<Self, ImagineError> {
        let refused = |error: serde_json::Error| ImagineError::Config {
            provider: "(file)".to_owned(),
            reason: error.to_string(),
        };
        serde_json::from_str(text).map_err(refused)
    }
}
