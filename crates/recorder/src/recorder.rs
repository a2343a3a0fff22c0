//! The recorder: notes from the offer to the inbox, as a service. It drives the [machine](crate::note) of each open note, has takes written and made into files, and
//! keeps bytes and rows in step: bytes first, then the row that refers to them; what no row refers to is swept. It does not know where packets come from,
//! nor whom to tell: it says so in [`RecorderEvent`]s.

mod active;
mod keeping;
mod listing;
mod reactions;
mod recovery;
mod uploads;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::Rng;
use rand::distr::Alphanumeric;
use tokio::sync::mpsc;

use crate::at_rest::AtRestKey;
use crate::bytes::ByteStore;
use crate::error::RecorderError;
use crate::event_log::EventLog;
use crate::folder_lock::FolderLock;
use crate::info::NoteInfo;
use crate::link::Links;
use crate::live_calls::LiveCalls;
use crate::note::{NoteInput, NoteLimits, NoteState};
use crate::packet::NoteKind;
use crate::store::{CallRow, NoteRow, NotificationRows, Recipient, Store};
use crate::take::{TakeNews, TakeWriter, Takes};
use active::Active;

pub use listing::Media;

/// Notes that are kept for one recipient, in bytes, unless told: 1 GiB, some thirty hours of voice or two of video.
const QUOTA: u64 = 1 << 30;

/// Events are kept this long unless told: time enough to repair a reader, and not much longer than what they tell of people is needed.
const EVENTS: Duration = Duration::from_secs(30 * 24 * 3_600);

/// How often what is too old is deleted, and bytes without a row are swept.
const SWEEP: Duration = Duration::from_secs(3_600);

/// How many files are made of takes at once; each keeps a core busy.
const MAKERS: usize = 2;

/// How the recorder is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecorderConfig {
    /// Where takes are written, and rows and bytes where the next two do not say otherwise.
    pub folder: PathBuf,
    /// The database, `sqlite://path` or `postgres://…`.
    pub database: Option<String>,
    /// The store of bytes, a folder or `s3://bucket/prefix`.
    pub bytes: Option<String>,
    /// Forget calls and notes this long after they ended; `None`: never.
    pub retention: Option<Duration>,
    /// The most bytes of notes that one recipient has; 1 GiB unless told.
    pub quota: u64,
    /// How long the log keeps events, whether or not everybody has read them; 30 days unless told. `None`: for ever.
    pub event_retention: Option<Duration>,
    /// Keys that encrypt the bytes of notes at rest: new ones with the first, and what an older one encrypted stays readable as long as it is among them. None unless told; notes from before
    /// stay as they are.
    pub at_rest: Vec<AtRestKey>,
}

impl RecorderConfig {
    /// Everything in one folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        let (folder, quota, event_retention) = (folder.into(), QUOTA, Some(EVENTS));
        Self { folder, database: None, bytes: None, retention: None, quota, event_retention, at_rest: Vec::new() }
    }

    /// Where the database is.
    pub fn database_url(&self) -> String {
        self.database.clone().unwrap_or_else(|| sqlite_url(&self.folder.join("ringback.sqlite")))
    }

    /// Where the store of bytes is.
    pub fn bytes_url(&self) -> String {
        self.bytes.clone().unwrap_or_else(|| self.folder.join("media").display().to_string())
    }
}

/// A note to be offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNote {
    /// The call that nobody answered; it has been [kept](Recorder::call_ended).
    pub call: String,
    /// Its thread.
    pub thread: String,
    /// Its room, where the caller's media is.
    pub room: String,
    /// Voice or video.
    pub kind: NoteKind,
    /// The caller.
    pub from: String,
    /// The caller's name.
    pub from_name: String,
    /// Who did not answer.
    pub to: Vec<String>,
    /// How it may be left.
    pub limits: NoteLimits,
}

/// What became of a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoteEvent {
    /// It stands so now; `note.` and the state's name on the wire.
    State(NoteState),
    /// A recipient has heard it.
    Heard,
    /// A recipient wants it to count as unheard.
    Unheard,
    /// Somebody deleted it for themselves.
    Deleted,
    /// Somebody reacted to it, or has another reaction now.
    Reacted,
    /// Somebody took their reaction back.
    Unreacted,
}

impl NoteEvent {
    /// Its name on the wire.
    pub fn name(self) -> String {
        match self {
            Self::State(state) => format!("note.{}", state.as_str()),
            Self::Heard => "note.heard".to_owned(),
            Self::Unheard => "note.unheard".to_owned(),
            Self::Deleted => "note.deleted".to_owned(),
            Self::Reacted => "note.reacted".to_owned(),
            Self::Unreacted => "note.unreacted".to_owned(),
        }
    }
}

/// What whoever holds the recorder is to do.
#[derive(Debug)]
pub enum RecorderEvent {
    /// Tell these users.
    Note {
        /// Whom it concerns.
        users: Vec<String>,
        /// What happened.
        event: NoteEvent,
        /// The note, without links.
        note: Box<NoteInfo>,
    },
    /// Feed the writer with what the caller sends from now on, until [`StopTake`](Self::StopTake).
    StartTake {
        /// The note.
        note: String,
        /// Where the caller is.
        room: String,
        /// The caller.
        user: String,
        /// Voice, or camera as well.
        kind: NoteKind,
        /// Where packets go.
        writer: TakeWriter,
    },
    /// That was the take.
    StopTake {
        /// The note.
        note: String,
    },
    /// The caller's room is not needed any more.
    Released {
        /// The note.
        note: String,
        /// The room.
        room: String,
    },
}

/// A boxed future, as the traits of this crate return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Sees a note before it is delivered.
pub trait Moderate: Send + Sync + 'static {
    /// May this be sent? The file is as the recipient would hear it.
    ///
    /// # Errors
    /// Why not, for the caller; the draft stays.
    fn may_send<'a>(&'a self, note: &'a NoteInfo, file: &'a [u8]) -> BoxFuture<'a, Result<(), String>>;
}

/// Lets everything through.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoModeration;

impl Moderate for NoModeration {
    fn may_send<'a>(&'a self, _: &'a NoteInfo, _: &'a [u8]) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
}

/// Notes from the offer to the inbox, as a service. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    config: RecorderConfig,
    _lock: FolderLock,
    /// Where takes lie while they are recorded.
    spool: PathBuf,
    store: Store,
    live_calls: LiveCalls,
    bytes: ByteStore,
    links: Links,
    takes: Takes,
    moderate: Arc<dyn Moderate>,
    /// Open notes by id.
    notes: Mutex<HashMap<String, Arc<Active>>>,
    events: mpsc::UnboundedSender<RecorderEvent>,
    received: Mutex<Option<mpsc::UnboundedReceiver<RecorderEvent>>>,
    makers: tokio::sync::Semaphore,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("config", &self.inner.config).finish_non_exhaustive()
    }
}

impl Recorder {
    /// Opens the database and the store of bytes, and makes playable drafts of the takes that a former process left unfinished.
    ///
    /// # Errors
    /// Where one of them cannot be opened, or another recorder has the folder.
    pub async fn open(config: RecorderConfig, moderate: Arc<dyn Moderate>) -> Result<Self, RecorderError> {
        let spool = config.folder.join("spool");
        let failed = |source| RecorderError::Spool { doing: "making the folder", path: spool.clone(), source };
        std::fs::create_dir_all(&spool).map_err(failed)?;
        let lock = FolderLock::take(&config.folder).await?;
        let store = Store::open(&config.database_url()).await?;
        let bytes = ByteStore::open(&config.bytes_url())?.encrypted(&config.at_rest);
        let links = Links::new(&store.secret().await?);
        let live_calls = LiveCalls::open(store.clone(), &config.folder)?;
        let (takes, news) = Takes::start(spool.clone()).map_err(failed)?;
        let (events, received) = mpsc::unbounded_channel();
        let inner = Arc::new(Inner {
            config,
            _lock: lock,
            spool: spool.clone(),
            store,
            live_calls,
            bytes,
            links,
            takes,
            moderate,
            notes: Mutex::new(HashMap::new()),
            events,
            received: Mutex::new(Some(received)),
            makers: tokio::sync::Semaphore::new(MAKERS),
        });
        inner.recover(&spool).await?;
        tokio::spawn(hear(Arc::downgrade(&inner), news));
        tokio::spawn(sweep(Arc::downgrade(&inner)));
        Ok(Self { inner })
    }

    /// What is to be done, in order. The first call gets it, later ones `None`. Not bounded: nothing of it may be lost, and it is a handful for each note.
    pub fn events(&self) -> Option<mpsc::UnboundedReceiver<RecorderEvent>> {
        self.inner.received.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What happened to calls and notes, in the order in which it was kept. Who holds the recorder may [append](EventLog::append) what else is to be told.
    pub fn event_log(&self) -> EventLog {
        EventLog::new(self.inner.store.clone())
    }

    /// The calls that are under way in this process, or were in the one before.
    pub fn live_calls(&self) -> LiveCalls {
        self.inner.live_calls.clone()
    }

    /// What users may be told of, what was decided about it and what was told. It is kept here, and decided elsewhere.
    pub fn notification_rows(&self) -> NotificationRows {
        NotificationRows::new(self.inner.store.clone())
    }

    /// Keeps a call that is over, before anybody is asked what to do about it. True if it was not kept before.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn call_ended(&self, call: &CallRow) -> Result<bool, RecorderError> {
        self.inner.store.put_call(call).await
    }

    /// Calls of which the missed-call hook has not been told.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn hooks_due(&self) -> Result<Vec<CallRow>, RecorderError> {
        self.inner.store.hooks_due().await
    }

    /// The missed-call hook has been told.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn hook_done(&self, call: &str) -> Result<(), RecorderError> {
        self.inner.store.hook_done(call).await
    }

    /// Offers a note to a caller. The same call again returns the note that there is.
    ///
    /// # Errors
    /// Where the database fails, or does not know the call.
    pub async fn offer(&self, new: NewNote) -> Result<NoteInfo, RecorderError> {
        let now = unix_ms();
        let letters = rand::rng().sample_iter(Alphanumeric).take(22).map(char::from);
        let row = NoteRow {
            id: "n_".chars().chain(letters).collect(),
            call: new.call,
            thread: new.thread,
            kind: new.kind,
            state: NoteState::Offered,
            from: new.from,
            from_name: new.from_name,
            created_at: now,
            sent_at: None,
            expires_at: Some(now + millis(new.limits.offer_expires)),
            limits: new.limits,
            take: 0,
            reason: None,
            draft: None,
            to: new.to.into_iter().map(|user| Recipient { user, heard_at: None, deleted: false }).collect(),
            reactions: Vec::new(),
            deleted: false,
        };
        let inner = self.inner.clone();
        whole(async move {
            let kept = inner.store.put_note(&row).await?;
            if kept.id != row.id {
                let open = inner.active(&kept.id).map(|active| active.room());
                return Ok(NoteInfo::of(&kept, open.flatten()));
            }
            Ok(inner.begin(kept, new.room).await)
        })
        .await
    }

    /// Records: the first take, or another one. The one before is kept until the new one is good.
    ///
    /// # Errors
    /// Where it is not this user's, or cannot be recorded as it is.
    pub async fn record(&self, note: &str, user: &str, skip_countdown: bool) -> Result<NoteInfo, RecorderError> {
        self.inner.ask(note, user, NoteInput::Record { skip_countdown }).await
    }

    /// Ends the take; its draft follows as an event.
    ///
    /// # Errors
    /// Where it is not this user's, or nothing is recorded.
    pub async fn stop(&self, note: &str, user: &str) -> Result<NoteInfo, RecorderError> {
        self.inner.ask(note, user, NoteInput::Stop).await
    }

    /// Sends the draft.
    ///
    /// # Errors
    /// Where it is not this user's or no draft, the embedder refuses it, or a recipient's notes take up too much.
    pub async fn send(&self, note: &str, user: &str) -> Result<NoteInfo, RecorderError> {
        let active = self.inner.owned(note, user).await?;
        let inner = self.inner.clone();
        whole(async move { active.send(&inner).await }).await
    }

    /// Gives the note up, with all takes.
    ///
    /// # Errors
    /// Where it is not this user's, or over.
    pub async fn discard(&self, note: &str, user: &str) -> Result<NoteInfo, RecorderError> {
        self.inner.ask(note, user, NoteInput::Discard).await
    }

    /// The caller's media is gone from a room: what was received becomes a draft.
    pub async fn caller_gone(&self, room: &str) {
        self.inner.tell_room(room, NoteInput::CallerGone).await;
    }

    /// Somebody to whom a note is being left is on the line with the caller after all: what was received becomes a draft.
    pub async fn callee_came(&self, caller: &str, callee: &str) {
        for active in self.inner.all() {
            if active.concerns(caller, callee).await {
                active.input(&self.inner, NoteInput::CalleeCame).await.ok();
            }
        }
    }
}

impl Inner {
    fn active(&self, note: &str) -> Option<Arc<Active>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).get(note).cloned()
    }

    fn all(&self) -> Vec<Arc<Active>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// An open note of this caller.
    async fn owned(&self, note: &str, user: &str) -> Result<Arc<Active>, RecorderError> {
        if let Some(active) = self.active(note).filter(|active| active.from() == user) {
            return Ok(active);
        }
        match self.store.note(note).await?.filter(|row| row.from == user) {
            Some(row) => Err(RecorderError::Conflict { state: row.state.as_str(), wanted: "changed" }),
            None => Err(RecorderError::NotFound(note.to_owned())),
        }
    }

    async fn ask(self: &Arc<Self>, note: &str, user: &str, input: NoteInput) -> Result<NoteInfo, RecorderError> {
        let active = self.owned(note, user).await?;
        let inner = self.clone();
        whole(async move { active.input(&inner, input).await }).await
    }

    async fn tell_room(self: &Arc<Self>, room: &str, input: NoteInput) {
        for active in self.all() {
            if active.room().as_deref() == Some(room) {
                active.input(self, input).await.ok();
            }
        }
    }

    fn emit(&self, event: RecorderEvent) {
        // Whoever took the events may be gone; then nobody is left to be told.
        let _ = self.events.send(event);
    }
}

/// A file as a URL of a database: what would end its path or be decoded is encoded.
fn sqlite_url(file: &Path) -> String {
    let path = file.display().to_string().replace('%', "%25").replace('?', "%3F").replace('#', "%23");
    format!("sqlite://{path}")
}

/// Does something to its end, even if whoever waits for it is gone meanwhile, as a session whose socket closes: rows, bytes and machine stay in step.
async fn whole<T: Send + 'static>(
    work: impl Future<Output = Result<T, RecorderError>> + Send + 'static,
) -> Result<T, RecorderError> {
    tokio::spawn(work).await.map_err(|_| RecorderError::Stopped)?
}

/// Passes on what the takes tell.
async fn hear(inner: std::sync::Weak<Inner>, mut news: mpsc::UnboundedReceiver<TakeNews>) {
    while let Some(news) = news.recv().await {
        let Some(inner) = inner.upgrade() else { return };
        let TakeNews { note, take, ended } = news;
        if let Some(active) = inner.active(&note) {
            // Each by itself: one note that is busy keeps no other waiting.
            let input = ended.map_or(NoteInput::Voice, NoteInput::TakeEnded);
            tokio::spawn(async move { active.input_of_take(&inner, take, input).await });
        }
    }
}

/// Forgets what is too old, and deletes bytes that no row refers to.
async fn sweep(inner: std::sync::Weak<Inner>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(inner) = inner.upgrade() else { return };
        if let Err(error) = inner.sweep().await {
            tracing::warn!(%error, "sweeping failed; again in an hour");
        }
    }
}

/// Now, in Unix milliseconds.
pub(crate) fn unix_ms() -> u64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
