//! Images as a service: takes what users ask, within quotas and the spend cap, and carries each job on, over restarts too, until it is in its thread or over. It holds no routes
//! and no users; what it has to tell comes as events.

mod asking;
mod drive;
mod reactions;
mod recovery;
mod steps;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rand::Rng;
use reqwest::header::HeaderMap;
use serde::Serialize;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::config::{ImagineConfig, Period, ProviderConfig, Quota, Size};
use crate::error::ImagineError;
use crate::guard::{Fetcher, Lookup, SystemLookup};
use crate::info::ImageInfo;
use crate::job::{Job, JobInput, JobRules, JobState};
use crate::moderate::ModerateImages;
use crate::money::Money;
use crate::provider::{self, BoxFuture, ImageProvider, Webhook};
use crate::store::{Bounds, Window};
use crate::store::{JobRow, OpenJobs, ProviderCall, Spending, Store};

pub use reactions::Reacted;

/// How many pictures are decoded at once; each keeps a core busy and up to 384 MiB.
const CLEANERS: usize = 2;

/// Where the bytes of pictures lie: where those of notes do. Whoever holds both provides it.
pub trait PictureBytes: Send + Sync + 'static {
    /// The key under which a new object of this name is to be kept, where more is to be said by it: that it is encrypted.
    fn key(&self, name: String) -> String {
        name
    }

    /// Keeps an object; it is there as a whole or not at all, and on the medium when this returns.
    ///
    /// # Errors
    /// What went wrong, for the log.
    fn put<'a>(&'a self, key: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<(), String>>;

    /// Reads an object of this size.
    ///
    /// # Errors
    /// What went wrong, for the log.
    fn get<'a>(&'a self, key: &'a str, size: u64) -> BoxFuture<'a, Result<Bytes, String>>;

    /// Deletes an object. One that is not there is no error.
    ///
    /// # Errors
    /// What went wrong, for the log.
    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), String>>;

    /// All keys under a folder, with when each was written, in Unix milliseconds.
    ///
    /// # Errors
    /// What went wrong, for the log.
    fn keys<'a>(&'a self, folder: &'a str) -> BoxFuture<'a, Result<Vec<(String, u64)>, String>>;
}

/// What the service is put together from, beside its configuration.
pub struct ImagineParts {
    /// The database, `sqlite://path` or `postgres://…`.
    pub database: String,
    /// Where pictures lie.
    pub bytes: Arc<dyn PictureBytes>,
    /// Who sees prompts and pictures first.
    pub moderate: Arc<dyn ModerateImages>,
    /// A name that this process keeps over restarts, and no other that shares the database has: whose jobs it carries on.
    pub owner: String,
}

/// An image to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewImage {
    /// Where it is to appear.
    pub thread: String,
    /// Who asks.
    pub user: String,
    /// Their name.
    pub user_name: String,
    /// Who else sees it there.
    pub viewers: Vec<String>,
    /// What the client calls this request, 1 to 128 bytes: the same again is the same image, however often it is sent.
    pub key: String,
    /// In the user's words.
    pub prompt: String,
    /// Which provider, if not the first.
    pub provider: Option<String>,
    /// Which of its sizes, if not the first.
    pub size: Option<Size>,
}

/// What a user may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Offer {
    /// The provider's name.
    pub provider: String,
    /// Its sizes, the usual one first; none: 1024x1024.
    pub sizes: Vec<Size>,
    /// What a picture costs at most; nothing where the operator says none.
    pub price: Money,
    /// In which currency, where the operator says so.
    pub currency: Option<String>,
}

/// The service in numbers, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImagineStatistics {
    /// The configured providers.
    pub providers: Vec<String>,
    /// Jobs that this process has under way.
    pub open: Vec<OpenJobs>,
    /// Which provider wants to be left alone, with what, and for how long yet.
    pub paused: Vec<(String, ProviderCall, Duration)>,
}

/// What whoever holds the service is to tell.
#[derive(Debug)]
pub struct ImagineEvent {
    /// Whom.
    pub users: Vec<String>,
    /// The image, without a link.
    pub image: Box<ImageInfo>,
    /// Whoever asked has taken it back.
    pub deleted: bool,
    /// What it has cost, once it is over.
    pub charged: Money,
    /// The change that it is, to be [confirmed](Imagine::told) once it is told; `None`: only more of it is done, or somebody has reacted.
    pub revision: Option<u64>,
    /// Somebody has reacted to it, or has taken that back.
    pub reacted: Option<Reacted>,
}

/// Images on request. Cheap to clone; work stops when the last one is dropped, to be gone on with by the next process.
#[derive(Clone)]
pub struct Imagine {
    inner: Arc<Inner>,
    running: Arc<watch::Sender<()>>,
}

/// A provider at work.
pub(crate) struct Provider {
    config: ProviderConfig,
    client: Arc<dyn ImageProvider>,
    places: Arc<Semaphore>,
}

pub(crate) struct Inner {
    config: ImagineConfig,
    owner: String,
    store: Store,
    bytes: Arc<dyn PictureBytes>,
    moderate: Arc<dyn ModerateImages>,
    fetcher: Fetcher,
    providers: Vec<Provider>,
    cleaners: Semaphore,
    /// Jobs under way by id: what they are told.
    active: Mutex<HashMap<String, mpsc::UnboundedSender<JobInput>>>,
    events: mpsc::UnboundedSender<ImagineEvent>,
    received: Mutex<Option<mpsc::UnboundedReceiver<ImagineEvent>>>,
    running: watch::Receiver<()>,
}

impl fmt::Debug for Imagine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imagine").field("providers", &self.offers()).finish_non_exhaustive()
    }
}

impl Imagine {
    /// Opens the database, and goes on with the jobs that a former process left.
    ///
    /// # Errors
    /// Where the configuration could not work, or the database cannot be opened.
    pub async fn open(config: ImagineConfig, parts: ImagineParts) -> Result<Self, ImagineError> {
        let mut providers = Vec::new();
        for config in &config.providers {
            let client = provider::client(config)?;
            providers.push((config.clone(), client));
        }
        Self::open_with(config, providers, Arc::new(SystemLookup), parts).await
    }

    /// Opens it with clients and a resolver of the embedder's own.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_with(
        config: ImagineConfig,
        clients: Vec<(ProviderConfig, Arc<dyn ImageProvider>)>,
        lookup: Arc<dyn Lookup>,
        parts: ImagineParts,
    ) -> Result<Self, ImagineError> {
        let mut providers: Vec<Provider> = Vec::new();
        for (config, client) in clients {
            if providers.iter().any(|known| known.config.name == config.name) {
                return Err(config.refused("there are two of this name"));
            }
            if config.name.is_empty() || !config.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
                return Err(config
                    .refused("a name is made of letters, digits and hyphens: it is part of its webhook's address"));
            }
            let places = Arc::new(Semaphore::new(config.in_flight.clamp(1, Semaphore::MAX_PERMITS)));
            providers.push(Provider { config, client, places });
        }
        let fetcher = Fetcher::new(config.max_bytes, config.fetch_timeout(), &config.allow_hosts, lookup)?;
        let store = Store::open(&parts.database).await?;
        let (events, received) = mpsc::unbounded_channel();
        let (stop, running) = watch::channel(());
        let inner = Arc::new(Inner {
            config,
            owner: parts.owner,
            store,
            bytes: parts.bytes,
            moderate: parts.moderate,
            fetcher,
            providers,
            cleaners: Semaphore::new(CLEANERS),
            active: Mutex::new(HashMap::new()),
            events,
            received: Mutex::new(Some(received)),
            running,
        });
        inner.recover().await?;
        tokio::spawn(recovery::sweep(Arc::downgrade(&inner)));
        Ok(Self { inner, running: Arc::new(stop) })
    }

    /// What there is to tell, in order for each image. The first call gets it, later ones `None`. Not bounded: it is a handful for each image.
    pub fn events(&self) -> Option<mpsc::UnboundedReceiver<ImagineEvent>> {
        self.inner.received.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What was told will not be told again after a restart.
    ///
    /// # Errors
    /// Where the database fails; then it is.
    pub async fn told(&self, image: &str, revision: u64) -> Result<(), ImagineError> {
        self.inner.store.told(image, revision).await
    }

    /// What users may ask for; empty where no provider is configured.
    pub fn offers(&self) -> Vec<Offer> {
        let offer = |provider: &Provider| Offer {
            provider: provider.config.name.clone(),
            sizes: provider.config.sizes.clone(),
            price: provider.config.price,
            currency: self.inner.config.currency.clone(),
        };
        self.inner.providers.iter().map(offer).collect()
    }

    /// Gives an image up. What has left the server already may have to be paid nevertheless.
    ///
    /// # Errors
    /// Where it is not this user's, or over.
    pub async fn cancel(&self, image: &str, user: &str) -> Result<ImageInfo, ImagineError> {
        let row = self.inner.seen(image, user).await?;
        if row.user != user {
            return Err(ImagineError::NotFound(image.to_owned()));
        }
        let told = self.inner.active().get(image).is_some_and(|job| job.send(JobInput::Cancel).is_ok());
        if row.state.is_final() || !told {
            return Err(ImagineError::Conflict { state: row.state.as_str(), wanted: "cancelled" });
        }
        Ok(ImageInfo::of(&row))
    }

    /// Takes an image that is over back, for everybody, with its picture. What it cost stays spent.
    ///
    /// # Errors
    /// Where it is not this user's, or not over.
    pub async fn delete(&self, image: &str, user: &str) -> Result<ImageInfo, ImagineError> {
        let row = self.inner.seen(image, user).await?;
        if row.user != user {
            return Err(ImagineError::NotFound(image.to_owned()));
        }
        let conflict = ImagineError::Conflict { state: row.state.as_str(), wanted: "deleted" };
        let row = self.inner.store.delete_job(image).await?.ok_or(conflict)?;
        if let Some(picture) = &row.picture
            && let Err(error) = self.inner.bytes.delete(&picture.key).await
        {
            // The sweep tries again.
            tracing::warn!(error, image, "the bytes of a picture stay for now");
        }
        self.inner.tell(&row);
        Ok(ImageInfo::of(&row))
    }

    /// An image as this user sees it.
    ///
    /// # Errors
    /// Where there is none for them.
    pub async fn image(&self, image: &str, user: &str) -> Result<ImageInfo, ImagineError> {
        Ok(ImageInfo::of(&self.inner.seen(image, user).await?))
    }

    /// Images of a thread as one user sees it, newest first: those before the time and id of the last entry of a former page.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn thread(
        &self,
        user: &str,
        thread: &str,
        before: Option<(u64, &str)>,
        limit: u32,
    ) -> Result<Vec<ImageInfo>, ImagineError> {
        let rows = self.inner.store.thread(user, thread, before, limit).await?;
        Ok(rows.iter().map(ImageInfo::of).collect())
    }

    /// A posted picture, with its media type.
    ///
    /// # Errors
    /// Where there is none for this user, or its bytes cannot be read.
    pub async fn picture(&self, image: &str, user: &str) -> Result<(Bytes, String), ImagineError> {
        let row = self.inner.seen(image, user).await?;
        let picture = row.picture.filter(|_| row.state == JobState::Posted);
        let picture = picture.ok_or_else(|| ImagineError::NotFound(image.to_owned()))?;
        let bytes = self.inner.bytes.get(&picture.key, picture.size).await.map_err(ImagineError::Bytes)?;
        Ok((bytes, picture.content_type))
    }

    /// Takes what came to a provider's webhook route. A job that it tells of asks at once; one that is not known, or over, is no error.
    ///
    /// # Errors
    /// Where there is no such provider, or the webhook is not signed by it.
    pub async fn webhook(&self, provider: &str, headers: &HeaderMap, body: &[u8]) -> Result<(), ImagineError> {
        let unknown = || ImagineError::UnknownProvider(provider.to_owned());
        let client = &self.inner.provider(provider).ok_or_else(unknown)?.client;
        let remote = client.verify_webhook(Webhook { headers, body, now: unix_ms() / 1_000 }).await?;
        if let Some(row) = self.inner.store.job_of(provider, &remote).await?
            && let Some(job) = self.inner.active().get(&row.id)
        {
            // It may just have ended.
            let _ = job.send(JobInput::Look);
        }
        Ok(())
    }

    /// Stops all work, to be gone on with by the next process; also what is asked for from now on is only kept.
    pub fn stop(&self) {
        self.running.send_replace(());
    }

    /// The service in numbers.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn statistics(&self) -> Result<ImagineStatistics, ImagineError> {
        let (inner, now) = (&self.inner, unix_ms());
        let providers: Vec<_> = inner.providers.iter().map(|provider| provider.config.name.clone()).collect();
        let mut paused = Vec::new();
        for provider in &providers {
            for call in [ProviderCall::Submit, ProviderCall::Ask] {
                let left = inner.store.paused(provider, call, now).await?;
                paused.extend(left.map(|left| (provider.clone(), call, left)));
            }
        }
        Ok(ImagineStatistics { open: inner.store.count_open(&inner.owner).await?, providers, paused })
    }

    /// What is spent.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn spending(&self) -> Result<Spending, ImagineError> {
        self.inner.store.spending().await
    }
}

impl Inner {
    fn active(&self) -> std::sync::MutexGuard<'_, HashMap<String, mpsc::UnboundedSender<JobInput>>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn provider(&self, name: &str) -> Option<&Provider> {
        self.providers.iter().find(|provider| provider.config.name == name)
    }

    async fn seen(&self, image: &str, user: &str) -> Result<JobRow, ImagineError> {
        let row = self.store.job(image).await?.filter(|row| row.is_for(user));
        row.ok_or_else(|| ImagineError::NotFound(image.to_owned()))
    }

    fn rules(&self, client: &dyn ImageProvider) -> JobRules {
        let capabilities = client.capabilities();
        JobRules {
            repeatable: capabilities.repeatable,
            resumable: capabilities.resumable,
            expires: self.config.expires(),
        }
    }

    fn bounds(&self, now: u64) -> Bounds {
        let date = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(now)).to_string();
        let (digits, period_word) = match self.config.spend_cap.map(|cap| cap.per) {
            Some(Period::Day) => (10, "day"),
            Some(Period::Month) | None => (7, "month"),
        };
        let window = |quota: Quota| Window {
            images: quota.images,
            since: now.saturating_sub(quota.seconds.saturating_mul(1_000)),
            hours: quota.seconds.div_ceil(3_600),
        };
        Bounds {
            period: date.chars().take(digits).collect(),
            period_word,
            cap: self.config.spend_cap.map(|cap| cap.amount),
            under_way: self.config.under_way,
            user: self.config.per_user.map(window),
            thread: self.config.per_thread.map(window),
        }
    }

    /// Carries a job on from now on; `job`: where it stands if a former process left it.
    fn begin(self: &Arc<Self>, row: JobRow, job: Option<Job>) {
        let Some(provider) = self.provider(&row.provider) else { return };
        let job =
            job.unwrap_or_else(|| Job::new(Instant::now(), self.rules(provider.client.as_ref()), rand::rng().random()));
        let (mailbox, told) = mpsc::unbounded_channel();
        self.active().insert(row.id.clone(), mailbox);
        tokio::spawn(drive::drive(self.clone(), row, job, told));
    }

    fn tell(&self, row: &JobRow) {
        self.emit(row, ImageInfo::of(row), Some(row.revision));
    }

    fn emit(&self, row: &JobRow, image: ImageInfo, revision: Option<u64>) {
        let others = row.viewers.iter().filter(|_| row.state == JobState::Posted);
        let mut users: Vec<_> = others.chain([&row.user]).cloned().collect();
        users.dedup();
        // Whoever took the events may be gone; then nobody is left to be told.
        let (image, deleted, charged) = (Box::new(image), row.deleted, row.charged);
        let _ = self.events.send(ImagineEvent { users, image, deleted, charged, revision, reacted: None });
    }
}

/// Now, in Unix milliseconds.
pub(crate) fn unix_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}
