//! The desk at which images are asked for: says who may ask in a thread and who sees what comes of it, keeps pictures where notes' bytes go, and carries what the service tells into the log and
//! to clients. It keeps nothing itself; where an image stands is the service's to know.

mod bytes;
mod http;
mod wire;

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use ringback_imagine::{
    ImageInfo, Imagine, ImagineConfig, ImagineError, ImagineEvent, ImagineParts, ModerateImages, NewImage, Reacted,
};
use ringback_recorder::{ByteStore, EventLog, NewEvent, Recorder, RecorderConfig};
use ringback_signaling::Signaling;
use ringback_signaling::images::{ImageNews, Images};
use ringback_signaling::media::BoxFuture;
use ringback_signaling::protocol::{ErrorCode, ImageReact, UserRef, WireError};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use crate::error::EngineError;
use crate::metrics::ImageCounts;
use crate::reacting::Reacting;

pub(crate) use http::router;

/// How long to wait until the log is tried again, at first; twice as long each time.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// The longest of these pauses.
const LAST_WAIT: Duration = Duration::from_secs(10);

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct ImageDesk {
    imagine: Imagine,
    recorder: Recorder,
    log: EventLog,
    counts: ImageCounts,
    /// Who may react to pictures, and with what.
    reacting: Reacting,
    /// The routes hold this desk and signaling, so the desk must not hold signaling.
    signaling: OnceLock<Weak<Signaling>>,
}

impl ImageDesk {
    /// Opens the service beside the recorder: the same database, the same store of bytes.
    pub(crate) async fn open(
        config: ImagineConfig,
        notes: &RecorderConfig,
        recorder: Recorder,
        moderate: Arc<dyn ModerateImages>,
        reacting: Reacting,
    ) -> Result<Arc<Self>, EngineError> {
        let bytes = ByteStore::open(&notes.bytes_url()).map_err(EngineError::Recorder)?.encrypted(&notes.at_rest);
        let counts = ImageCounts::new(config.currency.as_deref().unwrap_or_default());
        let owner = recorder.live_calls().process().to_owned();
        let parts =
            ImagineParts { database: notes.database_url(), bytes: Arc::new(bytes::Pictures(bytes)), moderate, owner };
        let imagine = Imagine::open(config, parts).await.map_err(EngineError::Imagine)?;
        let log = recorder.event_log();
        Ok(Arc::new(Self { imagine, recorder, log, counts, reacting, signaling: OnceLock::new() }))
    }

    /// Begins: from now on what the service tells is carried on.
    pub(crate) fn start(self: &Arc<Self>, signaling: &Arc<Signaling>) {
        if self.signaling.set(Arc::downgrade(signaling)).is_ok()
            && let Some(events) = self.imagine.events()
        {
            tokio::spawn(carry(Arc::downgrade(self), events));
        }
    }

    pub(crate) fn counts(&self) -> &ImageCounts {
        &self.counts
    }

    pub(crate) fn imagine(&self) -> &Imagine {
        &self.imagine
    }

    /// Images of a thread, newest first, each with when it was asked for and its id.
    pub(crate) async fn thread(
        &self,
        user: &str,
        thread: &str,
        before: Option<(u64, &str)>,
        limit: u32,
    ) -> Result<Vec<(u64, String, Value)>, WireError> {
        let images = self.imagine.thread(user, thread, before, limit).await.map_err(wire::refused)?;
        let entry = |image: ImageInfo| {
            let (at, id) = (image.created_at, image.id.clone());
            (at, id, json!({ "placed_at": at, "image": self.shown(image, user) }))
        };
        Ok(images.into_iter().map(entry).collect())
    }

    /// Asks for an image, for a user who belongs to the thread.
    async fn ask(&self, signaling: &Signaling, new: NewImage) -> Result<ImageInfo, WireError> {
        let viewers = self.others(&new.thread, &new.user).await?;
        for viewer in &viewers {
            signaling.may_leave_note(&new.user, viewer).await?;
        }
        self.imagine.ask(NewImage { viewers, ..new }).await.map_err(wire::refused)
    }

    /// Somebody reacts to a picture, or takes that back.
    async fn react(&self, image: &str, by: &UserRef, emoji: Option<&str>) -> Result<Value, WireError> {
        let user = by.user.as_str();
        let emoji = match emoji {
            None => None,
            Some(text) => {
                let author = self.imagine.image(image, user).await.map_err(wire::refused)?.from.user;
                let signaling = self.signaling.get().and_then(Weak::upgrade);
                Some(self.reacting.allowed(signaling.as_deref(), user, &author, text).await?)
            }
        };
        let image = self.imagine.react(image, user, by.name.as_deref().unwrap_or(user), emoji).await;
        image.map(|image| self.shown(image, user)).map_err(wire::refused)
    }

    /// Who else belongs to a thread: the other one of a pair, or whoever was in its calls with this user.
    async fn others(&self, thread: &str, user: &str) -> Result<Vec<String>, WireError> {
        if let Some(pair) = wire::pair(thread) {
            let other = match pair {
                [first, second] if first == user => second,
                [first, second] if second == user => first,
                _ => return Err(unknown()),
            };
            return Ok(vec![other]);
        }
        let latest = self.recorder.thread(user, thread, None, 1).await.map_err(|error| {
            tracing::error!(%error, "a thread cannot be listed");
            WireError::new(ErrorCode::Internal, "the request failed")
        })?;
        let (call, _) = latest.rows.into_iter().next().ok_or_else(unknown)?;
        let parties = call.callees.into_iter().chain([call.caller]);
        Ok(parties.filter(|party| party != user).collect())
    }

    /// An image as this user sees it: with a link to its file.
    fn shown(&self, image: ImageInfo, user: &str) -> Value {
        wire::value(&wire::linked(&self.recorder, image, user))
    }

    /// Tells what happened: the log, which is asked until it takes it, then devices.
    async fn tell(&self, event: ImagineEvent) {
        let ImagineEvent { users, image, deleted, charged, revision, reacted } = event;
        if revision.is_some() && !deleted && image.state.is_final() {
            self.counts.over(&image, charged);
        }
        let what = match (&reacted, revision) {
            (Some(Reacted { taken_back: true, .. }), _) => "image.unreacted".to_owned(),
            (Some(_), _) => "image.reacted".to_owned(),
            (None, Some(_)) if deleted => "image.deleted".to_owned(),
            (None, Some(_)) => format!("image.{}", image.state.as_str()),
            (None, None) => "image.progress".to_owned(),
        };
        let is_logged = reacted.is_some() || revision.is_some();
        let logged = is_logged.then(|| wire::value(&image));
        if let Some(image) = &logged {
            let mut body = json!({ "image": image, "to": users });
            if let Some(Reacted { user, .. }) = &reacted {
                body["user"] = json!(user);
            }
            self.put_into_log(&NewEvent { at: wire::unix_ms(), kind: what.clone(), body }).await;
        }
        let told = match (&reacted, revision) {
            (Some(reacted), _) => self.imagine.told_reaction(&image.id, reacted).await,
            (None, Some(revision)) => self.imagine.told(&image.id, revision).await,
            (None, None) => Ok(()),
        };
        if let Err(error) = told {
            tracing::warn!(%error, image = image.id, "an image is told of once more after the next start");
        }
        let shown = |user: &str| match deleted {
            true => wire::value(&image),
            false => self.shown((*image).clone(), user),
        };
        let fields = |user: &String| Map::from_iter([("image".to_owned(), shown(user))]);
        let tell = users.iter().map(|user| (user.clone(), fields(user))).collect();
        if let Some(signaling) = self.signaling.get().and_then(Weak::upgrade) {
            signaling.image_news(ImageNews { event: what, image: logged, tell }).await;
        }
    }

    async fn put_into_log(&self, event: &NewEvent) {
        let mut wait = FIRST_WAIT;
        while let Err(error) = self.log.append(std::slice::from_ref(event)).await {
            tracing::error!(%error, again_in = ?wait, "the log of events cannot be written");
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LAST_WAIT);
        }
    }
}

impl Images for ImageDesk {
    fn react<'a>(&'a self, user: &'a UserRef, react: &'a ImageReact) -> BoxFuture<'a, Result<Value, WireError>> {
        Box::pin(self.react(&react.image, user, react.emoji.as_deref()))
    }
}

fn unknown() -> WireError {
    WireError::new(ErrorCode::NotFound, "there is no such thread for you")
}

/// What is said where no service is configured, in the service's words.
fn none() -> WireError {
    wire::refused(ImagineError::NoProvider)
}

/// Carries the service's events on until the engine is gone.
async fn carry(desk: Weak<ImageDesk>, mut events: mpsc::UnboundedReceiver<ImagineEvent>) {
    while let Some(event) = events.recv().await {
        let Some(desk) = desk.upgrade() else { return };
        desk.tell(event).await;
    }
}
