//! The steps of a job, each one attempt: what it did, and what that means. When, and whether again, is the machine's to say.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::{Inner, unix_ms};
use crate::error::ImagineError;
use crate::info::ImageInfo;
use crate::job::JobInput;
use crate::picture;
use crate::provider::{FailReason, Handle, Made, Progress, ProviderError, Submitted};
use crate::store::{JobRow, Picture, ProviderCall};

/// What a refusal says where moderation gave no word.
const NOT_CHECKED: &str = "it could not be checked";

/// The most characters of a refusal that are kept and shown.
const DETAIL: usize = 300;

/// How long to wait where a provider's pause cannot be read: a database that answers again is noticed soon, and one that does not is not worn out.
const UNREAD: Duration = Duration::from_secs(5);

/// What a step found out, to be noted in the row.
pub(super) enum News {
    Nothing,
    Place(OwnedSemaphorePermit),
    Handle(Handle),
    Link(String),
    /// A picture that came with an answer, and where it is kept if that worked at once.
    Inline {
        bytes: Bytes,
        picture: Option<Picture>,
    },
    Picture(Picture),
    Detail(String),
    Done(f32),
}

/// What came of a step.
pub(super) struct Outcome {
    pub(super) input: JobInput,
    pub(super) news: News,
}

impl Outcome {
    fn plain(input: JobInput) -> Self {
        Self { input, news: News::Nothing }
    }

    /// A step that panicked may have done anything.
    pub(super) fn broken() -> Self {
        Self::plain(JobInput::Unknown { after: None })
    }

    fn refused(detail: String, paid: bool) -> Self {
        let detail = detail.chars().take(DETAIL).collect();
        Self { input: JobInput::Refused { paid }, news: News::Detail(detail) }
    }

    fn of(error: ProviderError, row: &JobRow) -> Self {
        tracing::info!(%error, image = row.id, provider = row.provider, state = row.state.as_str(), "an image is held up");
        match error {
            ProviderError::Again { after, .. } => Self::plain(JobInput::Again { after }),
            ProviderError::Unknown { after, .. } => Self::plain(JobInput::Unknown { after }),
            ProviderError::Refused { message, paid } => Self::refused(message, paid),
            ProviderError::Failed { reason, .. } => Self::plain(JobInput::Failed(reason)),
        }
    }
}

impl Inner {
    /// Asks whether the prompt may leave, and waits for a place.
    pub(super) async fn prepare(&self, row: &JobRow) -> Outcome {
        if let Some(left) = self.paused(row, ProviderCall::Submit).await {
            return Outcome::plain(JobInput::Again { after: Some(left) });
        }
        let (moderate, image) = (self.moderate.clone(), ImageInfo::of(row));
        // In a task of its own, so that a hook that panics refuses.
        let allowed = tokio::spawn(async move { moderate.may_ask(&image).await }).await;
        if let Err(message) = allowed.unwrap_or_else(|_| Err(NOT_CHECKED.to_owned())) {
            return Outcome::refused(message, false);
        }
        let Some(provider) = self.provider(&row.provider) else {
            return Outcome::plain(JobInput::Failed(FailReason::Gone));
        };
        let place = provider.places.clone().acquire_owned().await;
        // Others may have been told not to come while this one waited.
        match (place, self.paused(row, ProviderCall::Submit).await) {
            (Ok(place), None) => Outcome { input: JobInput::Prepared, news: News::Place(place) },
            (_, after) => Outcome::plain(JobInput::Again { after }),
        }
    }

    /// How long the provider wants to be left alone. Where that cannot be read, nothing is sent either, for a moment.
    async fn paused(&self, row: &JobRow, call: ProviderCall) -> Option<Duration> {
        match self.store.paused(&row.provider, call, unix_ms()).await {
            Ok(left) => left,
            Err(error) => {
                tracing::error!(%error, image = row.id, "whether a provider wants to be left alone is not known");
                Some(UNREAD)
            }
        }
    }

    /// Remembers how long a provider wants to be left alone, over a restart too.
    async fn heed(&self, row: &JobRow, call: ProviderCall, error: &ProviderError) {
        let (ProviderError::Again { after: Some(after), .. } | ProviderError::Unknown { after: Some(after), .. }) =
            error
        else {
            return;
        };
        if let Err(error) = self.store.pause(&row.provider, call, unix_ms(), *after).await {
            tracing::error!(%error, provider = row.provider, "a provider's pause is not kept");
        }
    }

    pub(super) async fn submit(self: &Arc<Self>, row: &JobRow) -> Outcome {
        let Some(provider) = self.provider(&row.provider) else {
            return Outcome::plain(JobInput::Failed(FailReason::Gone));
        };
        if let Some(left) = self.paused(row, ProviderCall::Submit).await {
            return Outcome::plain(JobInput::Again { after: Some(left) });
        }
        match provider.client.submit(&row.request, &row.id).await {
            Ok(Submitted::Accepted(handle)) => Outcome { input: JobInput::Accepted, news: News::Handle(handle) },
            Ok(Submitted::Made(made)) => self.made(row, made).await,
            Err(error) => {
                self.heed(row, ProviderCall::Submit, &error).await;
                Outcome::of(error, row)
            }
        }
    }

    pub(super) async fn poll(self: &Arc<Self>, row: &JobRow) -> Outcome {
        match self.ask_how_far(row).await {
            Ok(Progress::Made(made)) => self.made(row, made).await,
            Ok(Progress::Working { done }) => {
                Outcome { input: JobInput::Working, news: done.map_or(News::Nothing, News::Done) }
            }
            Err(error) => Outcome::of(error, row),
        }
    }

    async fn ask_how_far(&self, row: &JobRow) -> Result<Progress, ProviderError> {
        let gone = |detail: &str| ProviderError::Failed { reason: FailReason::Gone, detail: detail.to_owned() };
        let provider = self.provider(&row.provider).ok_or_else(|| gone("the provider is not configured any more"))?;
        let handle = row.handle.as_ref().ok_or_else(|| gone("there is nothing to ask with"))?;
        if let Some(left) = self.paused(row, ProviderCall::Ask).await {
            return Err(ProviderError::Again { after: Some(left), detail: "it wants to be left alone".to_owned() });
        }
        let answer = provider.client.poll(handle).await;
        if let Err(error) = &answer {
            self.heed(row, ProviderCall::Ask, error).await;
        }
        answer
    }

    /// A picture that came with an answer is kept at once: there may be no second one.
    async fn made(self: &Arc<Self>, row: &JobRow, made: Made) -> Outcome {
        let news = match made {
            Made::Link(link) => News::Link(link),
            Made::Bytes(bytes) => News::Inline { picture: self.keep_picture(row, bytes.clone()).await.ok(), bytes },
        };
        Outcome { input: JobInput::Made, news }
    }

    /// Gets the picture, unless it is kept already.
    pub(super) async fn fetch(self: &Arc<Self>, row: &JobRow, inline: Option<Bytes>) -> Outcome {
        if row.picture.is_some() {
            return Outcome::plain(JobInput::Kept);
        }
        let fetched = match inline {
            Some(bytes) => Ok(bytes),
            None => self.fetch_link(row).await,
        };
        let kept = match fetched {
            Ok(bytes) => self.keep_picture(row, bytes).await,
            Err(error) => Err(error),
        };
        match kept {
            Ok(picture) => Outcome { input: JobInput::Kept, news: News::Picture(picture) },
            Err(error) => Outcome::of(error, row),
        }
    }

    /// Fetches the result; where its link has expired, from a new one if the provider still has it.
    async fn fetch_link(&self, row: &JobRow) -> Result<Bytes, ProviderError> {
        let gone = || ProviderError::Failed { reason: FailReason::Gone, detail: "no link".to_owned() };
        let first = match &row.link {
            Some(link) => self.fetcher.fetch(link).await,
            None => Err(gone()),
        };
        match first {
            Err(ProviderError::Failed { reason: FailReason::Gone, .. }) if row.handle.is_some() => {
                match self.ask_how_far(row).await? {
                    Progress::Made(Made::Bytes(bytes)) => Ok(bytes),
                    Progress::Made(Made::Link(link)) => self.fetcher.fetch(&link).await,
                    Progress::Working { .. } => Err(gone()),
                }
            }
            first => first,
        }
    }

    /// Decodes what came, encodes what is seen, and keeps that under a name that is the same each time.
    async fn keep_picture(self: &Arc<Self>, row: &JobRow, bytes: Bytes) -> Result<Picture, ProviderError> {
        let later = |detail: String| ProviderError::Again { after: None, detail };
        let side = self.config.max_side;
        let cleaned = {
            let _turn = self.cleaners.acquire().await.map_err(|error| later(error.to_string()))?;
            let cleaned = tokio::task::spawn_blocking(move || picture::clean(&bytes, side)).await;
            // A decoder that panics has met something that no decoder should be shown twice.
            let broken =
                |_| ProviderError::Failed { reason: FailReason::Picture, detail: "the decoder gave up".to_owned() };
            cleaned.map_err(broken)?.map_err(|error| match error {
                ImagineError::Picture { reason, detail } => ProviderError::Failed { reason, detail },
                error => later(error.to_string()),
            })?
        };
        let key = self.bytes.key(format!("images/{}/picture.{}", row.id, cleaned.extension));
        let size = cleaned.bytes.len() as u64;
        self.bytes.put(&key, cleaned.bytes).await.map_err(later)?;
        let (width, height) = (cleaned.width, cleaned.height);
        Ok(Picture { key, content_type: cleaned.content_type.to_owned(), size, width, height })
    }

    /// Asks whether the picture may be shown.
    pub(super) async fn review(&self, row: &JobRow) -> Outcome {
        let Some(picture) = row.picture.clone() else {
            return Outcome::plain(JobInput::Failed(FailReason::Gone));
        };
        let file = match self.bytes.get(&picture.key, picture.size).await {
            Ok(file) => file,
            Err(error) => {
                tracing::warn!(error, image = row.id, "a picture cannot be read back");
                return Outcome::plain(JobInput::Again { after: None });
            }
        };
        let (moderate, image) = (self.moderate.clone(), ImageInfo::of(row));
        let allowed = tokio::spawn(async move { moderate.may_post(&image, &file).await }).await;
        match allowed.unwrap_or_else(|_| Err(NOT_CHECKED.to_owned())) {
            Ok(()) => Outcome::plain(JobInput::Approved),
            Err(message) => Outcome::refused(message, true),
        }
    }
}
