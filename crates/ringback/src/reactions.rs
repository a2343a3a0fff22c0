//! The desk at which reactions are taken: a task for each room with its state machine, between the data channels of the workers, signaling
//! for who has none, and the embedder's stream of events. What counts and who may is decided in `ringback-reactions`; here is only the way
//! there and back. The queues into a room are bounded: what a flood leaves no place for is lost, in that room alone.

mod room;

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use bytes::Bytes;
use dashmap::DashMap;
use ringback_reactions::{
    Channel, HostControl, ReactionEvent, Refusal, RefusalCode, Rights, RoomReactions, RoomReactionsConfig,
};
use ringback_signaling::Signaling;
use ringback_signaling::media::BoxFuture;
use ringback_signaling::protocol::{ErrorCode, Participant, WireError};
use ringback_signaling::reactions::Reactions;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::media::Workers;
use room::{Message, RoomTask, Roster};

/// Messages that wait for a room's task. It takes a few microseconds for each, and up to some 50 ms now and then to tell a large room; on a machine
/// that is busy with other things more than a second of a thousand people's taps. Nobody fills it alone: a worker hands on 120 of theirs.
const WAITING_MESSAGES: usize = 8192;

/// Events that wait for the embedder.
const WAITING_EVENTS: usize = 4096;

/// What somebody may do with reactions in a room, where the embedder decides it.
pub trait ReactionRights: Send + Sync + 'static {
    /// The rights of a user who comes into a room. Must return at once.
    fn rights(&self, room: &str, user: &str) -> Rights;
}

impl<F: Fn(&str, &str) -> Rights + Send + Sync + 'static> ReactionRights for F {
    fn rights(&self, room: &str, user: &str) -> Rights {
        self(room, user)
    }
}

/// What an embedder sets.
pub(crate) struct ReactionSettings {
    pub(crate) config: RoomReactionsConfig,
    pub(crate) rights: Arc<dyn ReactionRights>,
}

impl Default for ReactionSettings {
    fn default() -> Self {
        Self { config: RoomReactionsConfig::default(), rights: Arc::new(|_: &str, _: &str| Rights::GUEST) }
    }
}

/// Reactions, hands and statuses of a room, to be stored or played back.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RoomReaction {
    /// The room.
    pub room: Arc<str>,
    /// What happened, with the time since the first participant came.
    pub event: ReactionEvent,
    /// How many events before this one were lost, because nobody took them.
    pub lost: u64,
}

/// How to reach a room's task.
#[derive(Clone)]
struct RoomLink {
    /// Who comes and goes: never lost, and no more than a room has people.
    roster: mpsc::UnboundedSender<Roster>,
    messages: mpsc::Sender<Message>,
}

/// See the [module](self).
pub(crate) struct ReactionDesk {
    settings: ReactionSettings,
    workers: Arc<Workers>,
    /// Signaling holds this desk as its hook, so the desk must not hold signaling.
    signaling: OnceLock<Weak<Signaling>>,
    rooms: DashMap<Arc<str>, RoomLink>,
    events: mpsc::Sender<RoomReaction>,
    waiting_events: Mutex<Option<mpsc::Receiver<RoomReaction>>>,
}

impl fmt::Debug for ReactionDesk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReactionDesk").field("rooms", &self.rooms.len()).finish_non_exhaustive()
    }
}

impl ReactionDesk {
    pub(crate) fn new(settings: ReactionSettings, workers: Arc<Workers>) -> Arc<Self> {
        let (events, waiting) = mpsc::channel(WAITING_EVENTS);
        let waiting_events = Mutex::new(Some(waiting));
        let (signaling, rooms) = (OnceLock::new(), DashMap::new());
        Arc::new(Self { settings, workers, signaling, rooms, events, waiting_events })
    }

    /// Begins: from now on there is somebody to tell.
    pub(crate) fn start(&self, signaling: &Arc<Signaling>) {
        let _ = self.signaling.set(Arc::downgrade(signaling));
    }

    /// The events; the first call gets them.
    pub(crate) fn events(&self) -> Option<mpsc::Receiver<RoomReaction>> {
        self.waiting_events.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// A data-channel message, if it came on one of our channels. Never waits.
    pub(crate) fn data(&self, room: &str, participant: Arc<str>, label: &str, data: &Bytes) {
        if label != Channel::Reactions.label() && label != Channel::Hands.label() {
            return;
        }
        if let Some(link) = self.rooms.get(room) {
            // Where a room cannot keep up, its participants' newest messages are lost.
            let _ = link.messages.try_send(Message::Text { participant, text: data.clone() });
        }
    }

    /// Does to a room what its host could.
    pub(crate) async fn control(&self, room: &str, control: HostControl) -> Result<(), Refusal> {
        self.ask(room, |reply| Message::Control { control, reply }).await
    }

    async fn ask(
        &self,
        room: &str,
        message: impl FnOnce(oneshot::Sender<Result<(), Refusal>>) -> Message,
    ) -> Result<(), Refusal> {
        let (reply, answer) = oneshot::channel();
        let link = self.rooms.get(room).map(|link| link.messages.clone()).ok_or_else(no_room)?;
        link.send(message(reply)).await.map_err(|_| no_room())?;
        answer.await.map_err(|_| no_room())?
    }

    fn open(&self, room: &Arc<str>) -> RoomLink {
        let (roster, coming) = mpsc::unbounded_channel();
        let (messages, waiting) = mpsc::channel(WAITING_MESSAGES);
        let now = tokio::time::Instant::now().into_std();
        let task = RoomTask {
            room: room.clone(),
            reactions: RoomReactions::new(now, self.settings.config.clone()),
            workers: self.workers.clone(),
            signaling: self.signaling.get().cloned().unwrap_or_default(),
            events: self.events.clone(),
            lost: 0,
        };
        tokio::spawn(task.run(coming, waiting));
        RoomLink { roster, messages }
    }
}

impl Reactions for ReactionDesk {
    fn joined(&self, room: &str, participant: &Participant) {
        let rights = self.settings.rights.rights(room, &participant.user);
        let name: Arc<str> = room.into();
        let link = self.rooms.entry(name.clone()).or_insert_with(|| self.open(&name));
        let (participant, name) = (participant.participant.as_str().into(), participant.name.clone());
        let _ = link.roster.send(Roster::Joined { participant, name, rights });
    }

    fn left(&self, room: &str, participant: &str) {
        if let Some(link) = self.rooms.get(room) {
            let _ = link.roster.send(Roster::Left(participant.into()));
        }
    }

    fn closed(&self, room: &str) {
        self.rooms.remove(room);
    }

    fn handle<'a>(
        &'a self,
        room: &'a str,
        participant: &'a str,
        message: Value,
    ) -> BoxFuture<'a, Result<(), WireError>> {
        Box::pin(async move {
            let (participant, text) = (participant.into(), message.to_string().into_bytes());
            let asked = self.ask(room, |reply| Message::Asked { participant, text, reply }).await;
            asked.map_err(wire_error)
        })
    }
}

fn no_room() -> Refusal {
    Refusal::new(RefusalCode::NotFound, "nobody is in that room")
}

fn wire_error(refusal: Refusal) -> WireError {
    let code = match refusal.code {
        RefusalCode::RateLimited => ErrorCode::RateLimited,
        RefusalCode::Forbidden | RefusalCode::Off => ErrorCode::Forbidden,
        RefusalCode::NotFound => ErrorCode::NotFound,
        RefusalCode::TooLarge => ErrorCode::TooLarge,
        _ => ErrorCode::BadRequest,
    };
    WireError { retry_after_ms: refusal.retry_after_ms(), ..WireError::new(code, refusal.message) }
}
