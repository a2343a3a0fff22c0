//! Requests for a picture: whether one makes sense, what it is to cost, and its row, with which the job begins. Quotas and the spend cap are kept by the store, in the transaction that keeps
//! the row.

use rand::Rng;
use rand::distr::Alphanumeric;

use super::{Imagine, NewImage, unix_ms};
use crate::config::Size;
use crate::error::ImagineError;
use crate::info::ImageInfo;
use crate::job::JobState;
use crate::money::Money;
use crate::provider::ImageRequest;
use crate::store::JobRow;

/// The longest idempotency key.
const KEY: usize = 128;

impl Imagine {
    /// Asks for an image. It is made from now on, whether or not whoever asked stays; the same user's key again returns the image that there is.
    ///
    /// # Errors
    /// Where there is no such provider or size, the prompt is empty or too long, or a quota or the spend cap is reached.
    pub async fn ask(&self, new: NewImage) -> Result<ImageInfo, ImagineError> {
        self.make(new, None, None).await
    }

    /// Asks for another picture of the same prompt, with other dice; where it is one of several variations, under the name of their set, which whoever asks makes up.
    ///
    /// # Errors
    /// As [`ask`](Self::ask), where the image is not there for this user, and where the name of the set is empty or too long.
    pub async fn again(
        &self,
        image: &str,
        user: &str,
        user_name: &str,
        key: &str,
        set: Option<&str>,
    ) -> Result<ImageInfo, ImagineError> {
        if set.is_some_and(|set| set.is_empty() || set.len() > KEY) {
            return Err(ImagineError::Request(format!("the name of a set of variations has 1 to {KEY} bytes")));
        }
        let former = self.inner.seen(image, user).await?;
        let size = Size { width: former.request.width, height: former.request.height };
        let provider = self.inner.provider(&former.provider).map(|provider| provider.config.name.clone());
        // A size or a provider that is not configured any more is no reason to refuse.
        let size = provider.as_ref().map(|_| size).filter(|size| {
            self.inner.provider(&former.provider).is_some_and(|provider| provider.config.size(Some(*size)).is_ok())
        });
        let viewers = former.viewers.iter().chain([&former.user]).filter(|viewer| *viewer != user).cloned().collect();
        let new = NewImage {
            thread: former.thread.clone(),
            user: user.to_owned(),
            user_name: user_name.to_owned(),
            viewers,
            key: key.to_owned(),
            prompt: former.request.prompt.clone(),
            provider,
            size,
        };
        self.make(new, Some(former.id), set.map(str::to_owned)).await
    }

    async fn make(
        &self,
        new: NewImage,
        again_of: Option<String>,
        set: Option<String>,
    ) -> Result<ImageInfo, ImagineError> {
        let inner = &self.inner;
        let provider = match &new.provider {
            None => inner.providers.first().ok_or(ImagineError::NoProvider)?,
            Some(_) if inner.providers.is_empty() => return Err(ImagineError::NoProvider),
            Some(name) => inner.provider(name).ok_or_else(|| ImagineError::UnknownProvider(name.clone()))?,
        };
        let prompt = new.prompt.trim();
        if prompt.is_empty() {
            return Err(ImagineError::Request("say what the picture shall show".to_owned()));
        }
        if prompt.chars().count() > inner.config.prompt_chars {
            return Err(ImagineError::Request(format!("at most {} characters", inner.config.prompt_chars)));
        }
        if new.key.is_empty() || new.key.len() > KEY {
            return Err(ImagineError::Request(format!("the key of a request has 1 to {KEY} bytes")));
        }
        let Size { width, height } = provider.config.size(new.size)?;
        // Some providers take no more than 32 bits with a sign.
        let seed = rand::rng().random_range(1..=i32::MAX as u32);
        let request = ImageRequest { prompt: prompt.to_owned(), width, height, seed };
        let letters = rand::rng().sample_iter(Alphanumeric).take(22).map(char::from);
        let (now, thread) = (unix_ms(), new.thread.clone());
        let row = JobRow {
            id: "i_".chars().chain(letters).collect(),
            owner: inner.owner.clone(),
            revision: 1,
            thread: new.thread,
            user: new.user,
            user_name: new.user_name,
            viewers: new.viewers,
            key: new.key,
            provider: provider.config.name.clone(),
            cost: provider.client.cost(&request),
            request,
            again_of,
            set,
            state: JobState::Queued,
            reason: None,
            detail: None,
            created_at: now,
            ended_at: None,
            handle: None,
            link: None,
            charged: Money::ZERO,
            picture: None,
            deleted: false,
            reactions: Vec::new(),
        };
        let kept = {
            let (inner, row) = (inner.clone(), row.clone());
            // To its end, even if whoever asked is gone meanwhile: a job that is kept is carried on.
            let work = async move {
                let kept = inner.store.put_job(&row, &inner.bounds(now)).await?;
                if kept.id == row.id {
                    inner.tell(&kept);
                    inner.begin(kept.clone(), None);
                }
                Ok::<_, ImagineError>(kept)
            };
            tokio::spawn(work).await.map_err(|_| ImagineError::Request("the server is stopping".to_owned()))??
        };
        if kept.request.prompt != prompt || kept.thread != thread {
            return Err(ImagineError::Request("this key belongs to another request already".to_owned()));
        }
        Ok(ImageInfo::of(&kept))
    }
}
