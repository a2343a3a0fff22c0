//! The engine: signaling and the SFU's workers wired together on the caller's runtime. It forwards nothing and decides nothing
//! itself; it owns the parts, hands out the router and the events, and takes everything down again.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use ringback_imagine::Imagine;
use ringback_reactions::{HostControl, Refusal};
use ringback_recorder::{EventLog, Recorder, RecorderError};
use ringback_sfu::{SfuEvent, WorkerHandle, WorkerStatistics};
use ringback_signaling::hooks::Hooks;
use ringback_signaling::images::Images;
use ringback_signaling::notes::Notes;
use ringback_signaling::{Signaling, SignalingConfig, SignalingEvent};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::builder::EngineBuilder;
use crate::call_log::Log;
use crate::error::EngineError;
use crate::event_feed::Feed;
use crate::imagine::{self, ImageDesk};
use crate::library;
use crate::media::{Workers, carry_events};
use crate::metrics::Counts;
use crate::missed_call::MissedCall;
use crate::notes::{self, NoteDesk};
use crate::peace::{self, Occurred, PeaceDesk};
use crate::reacting::Reacting;
use crate::reactions::{ReactionDesk, ReactionSettings, RoomReaction};
use crate::restart;
use crate::webhook::Webhook;

/// What happens in an engine, ordered per call. A reader that falls behind costs nobody a call: see [`Engine::events`].
pub type Events = mpsc::Receiver<SignalingEvent>;

/// How long the last events may take to get into the log at shutdown.
const LAST_EVENTS: Duration = Duration::from_secs(5);

/// A running call engine. It stops when it is dropped, at once; [`shutdown`](Self::shutdown) stops it gently.
#[derive(Debug)]
pub struct Engine {
    signaling: Arc<Signaling>,
    workers: Arc<Workers>,
    notes: Option<Arc<NoteDesk>>,
    images: Option<Arc<ImageDesk>>,
    reactions: Arc<ReactionDesk>,
    counts: Counts,
    events: Mutex<Option<Events>>,
    /// Ends once everything is in the log of events, where there is one.
    feed: tokio::sync::Mutex<Option<JoinHandle<()>>>,
    peace: Option<Arc<PeaceDesk>>,
    /// Webhooks at work; they end with it.
    _webhooks: JoinSet<()>,
    /// Decides what users are told; ends with it.
    _peace: JoinSet<()>,
}

/// What an engine is put together from, beside media and signaling.
pub(crate) struct Parts {
    pub(crate) room_part: usize,
    pub(crate) hooks: Hooks,
    pub(crate) missed_call: Arc<dyn MissedCall>,
    pub(crate) recorder: Option<Recorder>,
    pub(crate) images: Option<Arc<ImageDesk>>,
    pub(crate) webhooks: Vec<Webhook>,
    pub(crate) peace: Option<Arc<PeaceDesk>>,
    pub(crate) counts: Counts,
}

impl Engine {
    /// An engine with default settings, to be changed and [started](EngineBuilder::start).
    pub fn builder() -> EngineBuilder {
        EngineBuilder::new()
    }

    pub(crate) fn assemble(
        handles: Vec<WorkerHandle>,
        events: Vec<mpsc::Receiver<SfuEvent>>,
        config: SignalingConfig,
        parts: Parts,
        reactions: ReactionSettings,
    ) -> Self {
        let Parts { room_part, mut hooks, missed_call, recorder, images, webhooks, peace, counts } = parts;
        let workers = Workers::new(handles, room_part);
        let (feed, ended_calls) = recorder.clone().map(|recorder| Feed::new(recorder, counts.clone())).unzip();
        let reacting = Reacting::new(reactions.config.own_palette().clone());
        let notes = recorder.map(|recorder| NoteDesk::new(recorder, workers.clone(), counts.clone(), reacting));
        let reactions = ReactionDesk::new(reactions, workers.clone());
        let log = Arc::new(Log::new(missed_call, notes.clone(), ended_calls, counts.clone()));
        hooks.call_log = log.clone();
        hooks.notes = notes.clone().map(|desk| desk as Arc<dyn Notes>);
        hooks.images = images.clone().map(|desk| desk as Arc<dyn Images>);
        hooks.reactions = Some(reactions.clone());
        let signaling = Arc::new(Signaling::start(config, workers.clone(), hooks));
        if let Some(desk) = &notes {
            desk.start(&signaling);
            tokio::spawn(log.tell_what_is_due());
        }
        if let Some(desk) = &images {
            desk.start(&signaling);
        }
        reactions.start(&signaling);
        for (worker, events) in events.into_iter().enumerate() {
            let (workers, reactions) = (Arc::downgrade(&workers), Arc::downgrade(&reactions));
            tokio::spawn(carry_events(workers, worker, events, Arc::downgrade(&signaling), reactions));
        }
        let (events, feed) = match (feed, signaling.events()) {
            (Some(feed), Some(events)) => {
                let (events, feed) = feed.start(events);
                (Some(events), Some(feed))
            }
            (_, events) => (events, None),
        };
        let _webhooks = webhooks.into_iter().map(Webhook::run).collect();
        let _peace = peace.iter().map(|desk| peace::run(desk.clone(), Arc::downgrade(&signaling))).collect();
        let (events, feed) = (Mutex::new(events), tokio::sync::Mutex::new(feed));
        Self { signaling, workers, notes, images, reactions, counts, events, feed, peace, _webhooks, _peace }
    }

    /// Goes on with what a former process had under way, before anybody can connect.
    pub(crate) async fn restore(&self) -> Result<(), RecorderError> {
        let Some(recorder) = self.recorder() else { return Ok(()) };
        let calls = recorder.live_calls();
        match restart::restore(&calls, &self.signaling).await? {
            0 => {}
            calls => tracing::info!(calls, "calls of a former process are taken up"),
        }
        restart::seen(&calls).await;
        tokio::spawn(restart::stay_seen(calls, Arc::downgrade(&self.signaling)));
        Ok(())
    }

    /// The engine's routes, to be nested anywhere in the program's own: `v1/ws`, `v1/calls/{id}`, those of WHIP and WHEP, `ringback/…` (the client library) and, where notes
    /// are kept, `v1/threads/{thread}`, `v1/inbox`, `v1/notes/…` and `v1/images/…`, and `v1/notifications…` where there is [peace](EngineBuilder::peace).
    pub fn router(&self) -> Router {
        let mut router = self.signaling.router().merge(library::router());
        if let Some(desk) = &self.notes {
            router = router
                .merge(notes::router(desk.clone(), self.images.clone(), self.signaling.clone()))
                .merge(imagine::router(self.images.clone(), self.signaling.clone()));
        }
        if let Some(desk) = &self.peace {
            router = router.merge(peace::router(desk.clone(), self.signaling.clone()));
        }
        router
    }

    /// Something happened that a user may be told of, beside missed calls and notes: a reaction, an image. It goes through the same rules, once for each id.
    ///
    /// # Errors
    /// [`EngineError::NoStore`] without [`notes`](EngineBuilder::notes), and where the database fails.
    pub async fn occurred(&self, occurred: &Occurred) -> Result<(), EngineError> {
        let log = self.event_log()?;
        log.append(&[occurred.event()]).await.map(|_| ()).map_err(EngineError::Recorder)
    }

    /// The recorder: notes and the log of calls, for programs that list, count or delete them themselves.
    pub fn recorder(&self) -> Option<&Recorder> {
        self.notes.as_ref().map(|desk| desk.recorder())
    }

    /// Images on request, for programs that ask for, list or count them themselves.
    pub fn imagine(&self) -> Option<&Imagine> {
        self.images.as_ref().map(|desk| desk.imagine())
    }

    /// What happens, from the start on; `None` if it was taken before. The channel is bounded: some 16,000 events wait, in a few megabytes, until it is
    /// taken, and what comes then is lost with a warning. Who needs none takes it and drops it.
    /// Who must not miss anything reads the [log](Self::event_log).
    pub fn events(&self) -> Option<Events> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The log of events: everything that happened to calls, rooms and notes, in order, kept in the store, to be read from any cursor as often as wanted.
    ///
    /// # Errors
    /// [`EngineError::NoStore`] where the engine was started without [`notes`](EngineBuilder::notes).
    pub fn event_log(&self) -> Result<EventLog, EngineError> {
        self.recorder().map(Recorder::event_log).ok_or(EngineError::NoStore)
    }

    /// Reactions, hands and statuses of all rooms, aggregated, to be stored or played back; `None` if it was taken before. The channel is
    /// bounded: who falls behind loses some, and is told how many.
    pub fn reaction_events(&self) -> Option<mpsc::Receiver<RoomReaction>> {
        self.reactions.events()
    }

    /// Does to a room's reactions and hands what a host of it could.
    ///
    /// # Errors
    /// When nobody is in the room, or there is no such participant.
    pub async fn control_reactions(&self, room: &str, control: HostControl) -> Result<(), Refusal> {
        self.reactions.control(room, control).await
    }

    /// The addresses that media listens on, worker by worker.
    pub fn media_addresses(&self) -> Vec<SocketAddr> {
        self.workers.handles().iter().flat_map(|worker| worker.bound_addresses().to_vec()).collect()
    }

    /// What the media workers have counted, worker by worker; a worker that has stopped is left out.
    pub async fn statistics(&self) -> Vec<WorkerStatistics> {
        let mut statistics = Vec::new();
        for worker in self.workers.handles() {
            statistics.extend(worker.statistics().await.ok());
        }
        statistics
    }

    /// Sessions, calls, notes and workers in numbers, as Prometheus scrapes them; serve it as [`METRICS_TYPE`](crate::METRICS_TYPE) where only your operators come.
    pub async fn metrics(&self) -> String {
        let signaling = self.signaling.statistics().await.unwrap_or_default();
        let newest = match self.event_log() {
            Ok(log) => {
                log.newest().await.inspect_err(|error| tracing::error!(%error, "the log of events cannot be read")).ok()
            }
            Err(_) => None,
        };
        let images = match &self.images {
            Some(desk) => {
                let now = desk.imagine().statistics().await;
                let now =
                    now.inspect_err(|error| tracing::error!(%error, "images cannot be counted")).unwrap_or_default();
                Some((desk.counts(), now))
            }
            None => None,
        };
        let images = images.as_ref().map(|(counts, now)| (*counts, now));
        self.counts.text(&signaling, &self.statistics().await, newest, images)
    }

    /// Takes no more calls, lets those that run go on for at most `drain`, then ends what is left, tells everyone, and stops.
    pub async fn shutdown(&self, drain: Duration) {
        self.signaling.shutdown(drain).await;
        self.stop().await;
    }

    /// Stops at once, for a process that is to be followed by another with the same folder of [notes](EngineBuilder::notes): calls that ring fail, and those that are active
    /// go on there, where their people come back within half a minute; so do voice chats, which are nothing but their people. Without notes it is a shutdown without drain. A
    /// process that is killed leaves the same behind.
    pub async fn suspend(&self) {
        let Some(recorder) = self.recorder() else { return self.shutdown(Duration::ZERO).await };
        self.signaling.suspend().await;
        restart::seen(&recorder.live_calls()).await;
        self.stop().await;
    }

    async fn stop(&self) {
        if let Some(images) = self.imagine() {
            images.stop();
        }
        if let Some(feed) = self.feed.lock().await.take()
            && timeout(LAST_EVENTS, feed).await.is_err()
        {
            tracing::error!("the last events are not in the log: the database does not take them");
        }
        for worker in self.workers.handles() {
            worker.shutdown().await;
        }
    }
}
