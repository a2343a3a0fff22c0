//! The one task that owns the switchboard, the rooms and the list of sessions, so that nothing here needs a lock. Others hand it closures to
//! run; it never waits for a socket, a hook or the media side. What the state machines put out becomes events, notices and
//! media calls in `drain`, in order.

pub(crate) mod calls;
pub(crate) mod http;
mod kept;
pub(crate) mod rooms;
mod sessions;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use crate::config::SignalingConfig;
use crate::hook_runner::HookRunner;
use crate::hooks::Hooks;
use crate::http_sessions::HttpSessions;
use crate::media_rooms::{GuardedMedia, MediaRooms};
use crate::protocol::{ErrorCode, Party, WireError};
use crate::rooms::Rooms;
use crate::signaling_event::{EventSink, SignalingEvent};
use crate::switchboard::Switchboard;
use kept::Kept;
pub(crate) use sessions::Session;

type Job = Box<dyn FnOnce(&mut Hub, Instant) + Send>;

/// How many jobs may wait. Each session and each media event waits for its own, so this bounds nothing but bursts.
const QUEUE: usize = 1024;

/// Hands jobs to the hub. The hub lives as long as one of these does.
#[derive(Clone)]
pub(crate) struct HubHandle(mpsc::Sender<Job>);

/// A [`HubHandle`] that does not keep the hub alive.
#[derive(Clone)]
pub(crate) struct WeakHub(mpsc::WeakSender<Job>);

impl HubHandle {
    /// Runs a job in the hub and returns its result.
    ///
    /// # Errors
    /// `unavailable` after shutdown, `internal` where the job panicked.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Hub, Instant) -> T + Send + 'static,
    ) -> Result<T, WireError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |hub, now| {
            // Whoever asked may be gone.
            let _ = answer.send(job(hub, now));
        });
        let stopped = |_| WireError::new(ErrorCode::Unavailable, "the server is shutting down");
        self.0.send(job).await.map_err(stopped)?;
        answered.await.map_err(|_| WireError::new(ErrorCode::Internal, "the request failed"))
    }
}

impl WeakHub {
    /// Runs a job in the hub, if it is still there.
    pub(crate) async fn tell(&self, job: impl FnOnce(&mut Hub, Instant) + Send + 'static) {
        if let Some(hub) = self.0.upgrade() {
            let _ = hub.send(Box::new(job)).await;
        }
    }
}

/// See the [module](self).
pub(crate) struct Hub {
    config: Arc<SignalingConfig>,
    switchboard: Switchboard,
    rooms: Rooms,
    /// Who came by WHIP or WHEP.
    http: HttpSessions,
    pub(crate) media_rooms: MediaRooms,
    hooks: HookRunner,
    events: EventSink,
    /// The live session of each device.
    devices: HashMap<Party, Arc<Session>>,
    /// Devices whose socket is gone, and when the oldest of them is forgotten.
    away: HashMap<Party, sessions::Away>,
    forget_away_at: Option<Instant>,
    sessions: u64,
    /// Rooms of calls that are over, to be closed once everybody has been told.
    rooms_over: Vec<String>,
    /// Rooms of calls that nobody answered, in which a note may be left.
    kept: HashMap<String, Kept>,
    people_due: Option<Instant>,
    /// Shutting down: nothing new begins. Told once nothing is left.
    draining: bool,
    idle: Option<oneshot::Sender<()>>,
    stopped: bool,
}

/// Starts the hub on the current runtime.
pub(crate) fn start(
    config: Arc<SignalingConfig>,
    media: GuardedMedia,
    hooks: Hooks,
) -> (HubHandle, mpsc::Receiver<SignalingEvent>) {
    let (jobs, waiting) = mpsc::channel(QUEUE);
    let (events, received) = EventSink::new();
    let hub = Hub {
        switchboard: Switchboard::new(config.switchboard),
        rooms: Rooms::new(config.rooms),
        http: HttpSessions::default(),
        media_rooms: MediaRooms::new(media, WeakHub(jobs.downgrade())),
        hooks: HookRunner::new(hooks, config.hook_limit, WeakHub(jobs.downgrade())),
        events,
        devices: HashMap::new(),
        away: HashMap::new(),
        forget_away_at: None,
        sessions: 0,
        rooms_over: Vec::new(),
        kept: HashMap::new(),
        people_due: None,
        draining: false,
        idle: None,
        stopped: false,
        config,
    };
    tokio::spawn(hub.run(waiting));
    (HubHandle(jobs), received)
}

impl Hub {
    async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while !self.stopped {
            let due = self.poll_timeout();
            let sleep = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            let job = tokio::select! {
                job = jobs.recv() => match job {
                    Some(job) => Some(job),
                    None => break,
                },
                () = sleep => None,
            };
            // A fault in one request must not end everybody else's calls.
            let step = catch_unwind(AssertUnwindSafe(|| {
                let now = tokio::time::Instant::now().into_std();
                match job {
                    Some(job) => job(&mut self, now),
                    None => self.handle_timeout(now),
                }
                self.drain(now);
            }));
            if step.is_err() {
                tracing::error!("a request panicked; the hub goes on");
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let machines = [self.switchboard.poll_timeout(), self.rooms.poll_timeout(), self.http.poll_timeout()];
        machines.into_iter().chain([self.people_due, self.kept_until(), self.forget_away_at]).flatten().min()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.switchboard.handle_timeout(now);
        self.rooms.handle_timeout(now);
        self.http.handle_timeout(now);
        self.release_old_rooms(now);
        self.forget_away(now);
        if self.people_due.is_some_and(|due| due <= now) {
            self.people_due = None;
            self.tell_people_changed();
        }
    }

    /// Does what the state machines say, until they have nothing to say.
    fn drain(&mut self, now: Instant) {
        loop {
            if let Some((call, output)) = self.switchboard.poll_output() {
                self.call_output(now, &call, output);
            } else if let Some(room) = self.rooms_over.pop() {
                self.rooms.close(&room, "call_ended");
            } else if let Some(output) = self.rooms.poll_output() {
                self.room_output(output);
            } else if let Some(ended) = self.http.poll_ended() {
                // Out already where the room took them out.
                let _ = self.rooms.leave(now, &ended.room, &ended.party);
            } else {
                break;
            }
        }
        if self.switchboard.has_people_changed() {
            self.people_due.get_or_insert(now + self.config.people_coalesce);
        }
        if self.draining
            && self.switchboard.live_calls().next().is_none()
            && self.rooms.occupied() == 0
            && let Some(idle) = self.idle.take()
        {
            let _ = idle.send(());
        }
    }
}
