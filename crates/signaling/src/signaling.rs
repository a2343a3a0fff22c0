//! The handle the engine holds: start, router, media events in, signaling events out, shutdown.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::http::HeaderMap;
use serde_json::{Map, Value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::timeout;

use crate::config::SignalingConfig;
use crate::hook_runner::may_leave_note;
use crate::hooks::Hooks;
use crate::hub;
use crate::images::ImageNews;
use crate::kept_call::KeptCall;
use crate::media::{Media, MediaEvent};
use crate::media_rooms::GuardedMedia;
use crate::notes::NoteNews;
use crate::protocol::WireError;
use crate::router;
use crate::serve::Services;
use crate::signaling_event::SignalingEvent;
use crate::token::Claims;

/// How long the last close frames and hooks may take at shutdown, beyond the drain.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Signaling at work. Cheap to clone; it ends when the last clone and the last router are dropped, or at [`shutdown`](Self::shutdown).
#[derive(Clone)]
pub struct Signaling {
    services: Services,
    inner: Arc<Inner>,
}

/// How much is going on, see [`Signaling::statistics`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SignalingStatistics {
    /// Live sessions.
    pub sessions: usize,
    /// Calls that ring or are active.
    pub live_calls: usize,
    /// Rooms with somebody in them.
    pub occupied_rooms: usize,
}

struct Inner {
    events: Mutex<Option<mpsc::Receiver<SignalingEvent>>>,
    /// One permit for each socket.
    places: Arc<Semaphore>,
    stopping: watch::Sender<bool>,
}

impl fmt::Debug for Signaling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signaling").finish_non_exhaustive()
    }
}

impl Signaling {
    /// Starts signaling on the current tokio runtime.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(config: SignalingConfig, media: Arc<dyn Media>, hooks: Hooks) -> Self {
        let config = Arc::new(config);
        let media = GuardedMedia::new(media, config.media_limit);
        let (hub, events) = hub::start(config.clone(), media.clone(), hooks.clone());
        let inner = Inner {
            events: Mutex::new(Some(events)),
            places: Arc::new(Semaphore::new(config.max_sessions.min(Semaphore::MAX_PERMITS))),
            stopping: watch::Sender::new(false),
        };
        Self { services: Services { config, hub, media, hooks }, inner: Arc::new(inner) }
    }

    /// The routes `/v1/ws`, `/v1/calls/{id}`, and those of WHIP and WHEP (`docs/whip.md`), to be nested in the embedder's own router.
    pub fn router(&self) -> Router {
        router::router(self.clone())
    }

    /// Takes what the media side reports; waits where signaling cannot keep up, so keep the order by calling it from one task.
    pub async fn media_event(&self, event: MediaEvent) {
        // After shutdown nobody is left to be told.
        let _ = self.services.hub.ask(move |hub, now| hub.media_event(now, event)).await;
    }

    /// Nobody needs the room of an unanswered call any more, which was [kept](crate::hooks::AfterCall::KeepRoom).
    pub async fn release_room(&self, room: &str) {
        let room = room.to_owned();
        // After shutdown there is no room left.
        let _ = self.services.hub.ask(move |hub, _| hub.release_room(&room)).await;
    }

    /// Tells what happened to a note: to devices, to the notify hook and on the stream of events.
    pub async fn note_news(&self, news: NoteNews) {
        // After shutdown nobody is left to be told.
        let _ = self.services.hub.ask(move |hub, _| hub.note_news(news)).await;
    }

    /// Tells all devices of a user something that is part of no call. Returns those that have a live session and are told over it.
    pub async fn tell_user(&self, user: &str, event: &str, fields: Map<String, Value>) -> Vec<String> {
        let (user, event) = (user.to_owned(), event.to_owned());
        let told = self.services.hub.ask(move |hub, _| {
            hub.tell_user(&user, &event, &fields);
            hub.live_devices(&user)
        });
        // After shutdown nobody is left to be told.
        told.await.unwrap_or_default()
    }

    /// The threads that a user has before them now, as their devices with a live session [say](crate::protocol::Request::ThreadView).
    pub async fn threads_in_view(&self, user: &str) -> Vec<String> {
        let user = user.to_owned();
        // After shutdown nobody looks at anything.
        self.services.hub.ask(move |hub, _| hub.threads_in_view(&user)).await.unwrap_or_default()
    }

    /// Tells those of a user's devices that have a thread in view now.
    pub async fn tell_viewers(&self, user: &str, thread: &str, event: &str, fields: Map<String, Value>) {
        let (user, thread, event) = (user.to_owned(), thread.to_owned(), event.to_owned());
        // After shutdown nobody is left to be told.
        let _ = self.services.hub.ask(move |hub, _| hub.tell_viewers(&user, &thread, &event, &fields)).await;
    }

    /// Tells what happened to an image on request: to devices, and on the stream of events.
    pub async fn image_news(&self, news: ImageNews) {
        // After shutdown nobody is left to be told.
        let _ = self.services.hub.ask(move |hub, _| hub.image_news(news)).await;
    }

    /// Tells some participants of a room what the reactions have to say: those who have no data channel for it.
    pub async fn reaction(&self, room: &str, participants: Vec<String>, channel: &str, message: serde_json::Value) {
        let (room, channel) = (room.to_owned(), channel.to_owned());
        // After shutdown nobody is left to be told.
        let _ = self.services.hub.ask(move |hub, _| hub.reaction(room, &participants, channel, message)).await;
    }

    /// Asks the authorize hook whether a note may be left, under the time limit of hooks.
    ///
    /// # Errors
    /// Where it refuses or fails.
    pub async fn may_leave_note(&self, from: &str, to: &str) -> Result<(), WireError> {
        may_leave_note(&self.services.hooks, self.services.config.hook_limit, from, to).await
    }

    /// How much is going on.
    ///
    /// # Errors
    /// `unavailable` after shutdown.
    pub async fn statistics(&self) -> Result<SignalingStatistics, WireError> {
        self.services.hub.ask(|hub, _| hub.statistics()).await
    }

    /// Goes on with calls of a former process, to be told before anybody can connect. `seen_at` is when that process had them last, in Unix milliseconds.
    /// Those that were active have their room open again, and their members a while to come back; those that rang have failed, and those
    /// of a process that has been gone for more than two minutes are over, as hooks and events tell.
    ///
    /// # Errors
    /// `unavailable` after shutdown.
    pub async fn restore(&self, calls: Vec<KeptCall>, seen_at: u64) -> Result<(), WireError> {
        self.services.hub.ask(move |hub, now| hub.restore(now, calls, seen_at)).await
    }

    /// Who an HTTP request is from, by its `Authorization: Bearer`.
    ///
    /// # Errors
    /// `unauthorized` or `token_expired`.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<Claims, WireError> {
        router::authenticate(&self.services.config.verifier, headers)
    }

    /// What happens to calls and rooms, in order. The first call gets it, later ones get `None`. Up to 16,384 events wait for a slow
    /// receiver; after that they are lost, and [`SignalingEvent::Lost`] says how many.
    pub fn events(&self) -> Option<mpsc::Receiver<SignalingEvent>> {
        self.inner.events.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Shuts down: from now on nothing new begins; what is under way may go on for `drain`; then calls end, rooms are closed, and
    /// sockets are closed with code 1001. Returns when hooks and sockets are done, at most 10 s after the drain.
    pub async fn shutdown(&self, drain: Duration) {
        let idle = self.services.hub.ask(|hub, _| hub.begin_drain()).await;
        if let Ok(idle) = idle {
            let _ = timeout(drain, idle).await;
        }
        self.stop(false).await;
    }

    /// Stops at once, for a process that is to be followed by another: calls that ring fail, those that are active go on
    /// where their [kept](KeptCall) state is [restored](Self::restore), and nobody is told that their room is over. Sockets are closed with code 1001.
    pub async fn suspend(&self) {
        self.stop(true).await;
    }

    async fn stop(&self, active_go_on: bool) {
        self.inner.stopping.send_replace(true);
        if let Ok(hooks) = self.services.hub.ask(move |hub, now| hub.stop(now, active_go_on)).await {
            let _ = timeout(LAST_WORDS, hooks).await;
        }
        let places = self.services.config.max_sessions.min(Semaphore::MAX_PERMITS);
        let all = u32::try_from(places).unwrap_or(u32::MAX);
        let _ = timeout(LAST_WORDS, self.inner.places.acquire_many(all)).await;
        self.inner.places.close();
    }

    pub(crate) fn services(&self) -> &Services {
        &self.services
    }

    /// Takes one of the places for sockets.
    pub(crate) fn take_place(&self) -> Option<OwnedSemaphorePermit> {
        if *self.inner.stopping.borrow() {
            return None;
        }
        self.inner.places.clone().try_acquire_owned().ok()
    }

    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.inner.stopping.subscribe()
    }
}
