//! Peace in the thread, as the engine keeps it: reads from the log of events what happened to whom, has it [decided](ringback_peace::decide) who is told when and why, keeps
//! the decisions, and hands notifications to the embedder and to live devices. The rules are `ringback-peace`'s; what a notification says in words is the embedder's.

mod driver;
mod happened;
mod http;
mod ring_only;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ringback_peace::{Decision, Entry, HORIZON, History, Notification as Decided, Occurrence};
use ringback_recorder::{
    EventLog, NewEvent, NotificationRow, NotificationRows, OccurrenceRow, Recorder, RecorderError,
};
use ringback_signaling::Signaling;
use ringback_signaling::hooks::HookError;
use ringback_signaling::media::BoxFuture;
use ringback_signaling::protocol::UserRef;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

pub use ringback_peace::{
    Day, Hold, OccurrenceKind, PeaceError, QuietHours, Reason, RepeatedCalls, Rules, Settings, TimeOfDay,
};

pub(crate) use driver::run;
pub(crate) use http::router;
pub(crate) use ring_only::RingOnly;

/// How long the embedder's hook may take. A push service answers within a second; longer rides out more, and keeps others waiting.
const HOOK: Duration = Duration::from_secs(10);

/// Occurrences that one notification names at most, the newest; it says how many there are.
const MOST_ITEMS: usize = 50;

/// The reader of the log of events whose cursor is kept.
const READER: &str = "peace";

/// Something that a notification tells of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Its id among those of its user.
    pub id: String,
    /// When it happened, in Unix milliseconds.
    pub at: u64,
    /// What it was.
    pub kind: OccurrenceKind,
    /// Whose doing it was.
    pub from: UserRef,
    /// Where it belongs.
    pub thread: String,
    /// The call that was missed, or in which the note was left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// The note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// What else it is about, in the embedder's terms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
}

/// A notification to be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// Whom to tell.
    pub user: String,
    /// Names it among those of its user: a later one of the same id takes its place (`apns-collapse-id`, FCM `collapse_key`, the `tag` of a web notification).
    pub id: String,
    /// Counts up for each that takes its place. What comes twice is the same both times.
    pub revision: u32,
    /// It takes the place of an earlier one without a sound.
    pub silent: bool,
    /// Why it comes.
    pub why: Reason,
    /// Whose doing all of it is; `None` where it is a digest.
    pub from: Option<UserRef>,
    /// What it tells of, oldest first, 50 at most, and of more the newest.
    pub items: Vec<Item>,
    /// How much it tells of.
    pub total: usize,
    /// The user's devices that have a live session and are told over it; push to the others.
    #[serde(default)]
    pub live_devices: Vec<String>,
}

/// Carries notifications to where users see them: to a push service, into a mail.
pub trait Tell: Send + Sync + 'static {
    /// Show this. At least once for each notification, and again where it took a former process down or more than 10 s: be idempotent by user, id and revision. Where several revisions
    /// wait, only the last comes. What it says in words is yours.
    ///
    /// # Errors
    /// To be told again a little later, until it works.
    fn tell<'a>(&'a self, notification: &'a Notification) -> BoxFuture<'a, Result<(), HookError>>;
}

/// Tells nobody: live devices learn of notifications all the same.
#[derive(Debug, Clone, Copy, Default)]
pub struct LiveDevicesOnly;

impl Tell for LiveDevicesOnly {
    fn tell<'a>(&'a self, _: &'a Notification) -> BoxFuture<'a, Result<(), HookError>> {
        Box::pin(async { Ok(()) })
    }
}

/// Something that happened beside calls and notes, see [`Engine::occurred`](crate::Engine::occurred).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occurred {
    /// Whom to tell.
    pub user: String,
    /// What happened. The same id again tells nobody anew; its particulars become those of the last one.
    pub item: Item,
}

impl Occurred {
    pub(crate) fn event(&self) -> NewEvent {
        let body = json!({ "user": self.user, "item": self.item });
        NewEvent { at: self.item.at, kind: happened::OCCURRED.to_owned(), body }
    }
}

/// See the [module](self).
pub(crate) struct PeaceDesk {
    rows: NotificationRows,
    log: EventLog,
    defaults: Settings,
    tell: Arc<dyn Tell>,
    /// Users about whom to decide anew.
    changed: mpsc::UnboundedSender<String>,
    waiting: Mutex<Option<mpsc::UnboundedReceiver<String>>>,
}

impl std::fmt::Debug for PeaceDesk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeaceDesk").field("defaults", &self.defaults).finish_non_exhaustive()
    }
}

impl PeaceDesk {
    /// Opens it: what happens from the first time on is told.
    pub(crate) async fn open(
        recorder: &Recorder,
        defaults: Settings,
        tell: Arc<dyn Tell>,
    ) -> Result<Arc<Self>, RecorderError> {
        let (rows, log) = (recorder.notification_rows(), recorder.event_log());
        if log.cursor(READER).await?.is_none() {
            log.put_cursor(READER, log.newest().await?).await?;
        }
        let (changed, waiting) = mpsc::unbounded_channel();
        Ok(Arc::new(Self { rows, log, defaults, tell, changed, waiting: Mutex::new(Some(waiting)) }))
    }

    fn take_changed(&self) -> Option<mpsc::UnboundedReceiver<String>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// A user has other settings, or has seen something.
    fn changed(&self, user: &str) {
        // Whoever decides ends with the engine.
        let _ = self.changed.send(user.to_owned());
    }

    /// What a user wants, where they have not said anything what the embedder does.
    async fn rules(&self, user: &str) -> Result<Rules, RecorderError> {
        let kept = self.rows.settings(user).await?;
        let own = kept.and_then(|kept| serde_json::from_value::<Settings>(kept).ok()).map(Settings::rules);
        match own.unwrap_or_else(|| self.defaults.clone().rules()) {
            Ok(rules) => Ok(rules),
            Err(error) => Err(RecorderError::Row { what: "setting of notifications", value: error.to_string() }),
        }
    }

    /// Decides what there is to decide about a user, and keeps it. Returns when to do so again.
    async fn decide(&self, user: &str, signaling: &Signaling) -> Result<Option<u64>, RecorderError> {
        let rules = self.rules(user).await?;
        let now = unix_ms();
        let (occurrences, rows) = self.rows.recent(user, now.saturating_sub(HORIZON)).await?;
        let decided = rows.iter().map(decided).collect::<Result<Vec<_>, _>>()?;
        let mut entries = occurrences.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
        if entries.iter().any(|entry| entry.due().is_some()) {
            let in_view = signaling.threads_in_view(user).await;
            for (entry, row) in entries.iter_mut().zip(&occurrences) {
                entry.occurrence.in_view = in_view.iter().any(|thread| thread_of(row) == Some(thread));
            }
        }
        let mut history = History::new(entries, decided);
        // By the hour it is now, and not by the one at which it should have been decided.
        history.resume(now);
        let plan = ringback_peace::decide(&mut history, &rules, now);
        let (mut held, mut shown, mut in_view) = (Vec::new(), BTreeMap::new(), Vec::new());
        for decision in plan.decisions {
            match decision {
                Decision::Hold { occurrence, why, .. } => {
                    in_view.extend(matches!(why, Hold::InView { .. }).then(|| occurrence.clone()));
                    held.push((occurrence, json!(why)));
                }
                // Of several revisions at once the last.
                Decision::Notify(notification) => _ = shown.insert(notification.id.clone(), notification),
            }
        }
        if held.is_empty() && shown.is_empty() {
            return Ok(plan.next);
        }
        let mut events = Vec::new();
        let shown: Vec<_> = shown.into_values().map(|one| (row(user, &one), one.items)).collect();
        for (row, ids) in &shown {
            let told_alerts = rows.iter().find(|known| known.id == row.id).map_or(0, |known| known.told_alerts);
            let items = occurrences.iter().filter(|occurrence| ids.contains(&occurrence.id)).cloned().collect();
            let row = NotificationRow { told_alerts, ..row.clone() };
            let body = json!({ "notification": notification(&row, items)? });
            events.push(NewEvent { at: now, kind: "notification.shown".to_owned(), body });
        }
        self.rows.decided(user, &held, &shown, &events).await?;
        self.ask_who_looks(user, &occurrences, &in_view, signaling).await;
        Ok(plan.next)
    }

    /// Asks the devices that have a thread in view whether its user saw what came into it: they say so by `v1/notifications/seen`. Whoever does not is told.
    async fn ask_who_looks(&self, user: &str, rows: &[OccurrenceRow], in_view: &[String], signaling: &Signaling) {
        let mut threads: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for row in rows.iter().filter(|row| in_view.contains(&row.id)) {
            threads.entry(thread_of(row).unwrap_or_default()).or_default().push(&row.id);
        }
        for (thread, ids) in threads {
            let mut fields = Map::new();
            fields.insert("thread".to_owned(), thread.into());
            fields.insert("ids".to_owned(), json!(ids));
            signaling.tell_viewers(user, thread, "notification.in_view", fields).await;
        }
    }

    /// Tells a user what was decided and not told. False where it is to be tried again.
    async fn deliver(&self, user: &str, signaling: &Signaling) -> Result<bool, RecorderError> {
        for row in self.rows.untold(user).await? {
            let alerts = decided(&row)?.alerts.len().try_into().unwrap_or(u32::MAX);
            let items = self.rows.unseen_items(user, &row.id).await?;
            // Whoever has seen all of it need not be told.
            if !items.is_empty() {
                let mut notification = notification(&row, items)?;
                let mut fields = Map::new();
                fields.insert("notification".to_owned(), json!(notification));
                fields.insert("counts".to_owned(), self.counts(user).await?);
                notification.live_devices = signaling.tell_user(user, "notification", fields).await;
                if !self.told(notification).await {
                    return Ok(false);
                }
            }
            self.rows.told(user, &row.id, row.revision, alerts).await?;
        }
        Ok(true)
    }

    /// Runs the embedder's hook, which may fail, hang or panic without harm to anybody else.
    async fn told(&self, notification: Notification) -> bool {
        use futures_util::FutureExt;
        let tell = self.tell.clone();
        let work = AssertUnwindSafe(async move { tell.tell(&notification).await }).catch_unwind();
        let fault = match tokio::time::timeout(HOOK, work).await {
            Ok(Ok(Ok(()))) => return true,
            Ok(Ok(Err(error))) => error.to_string(),
            Ok(Err(_)) => "it panicked".to_owned(),
            Err(_) => "it took too long".to_owned(),
        };
        tracing::error!(fault, "the hook that tells of notifications failed; again in a moment");
        false
    }

    /// How much there is of each kind, new and old.
    async fn counts(&self, user: &str) -> Result<Value, RecorderError> {
        let counts = self.rows.counts(user).await?.into_iter();
        Ok(counts
            .map(|count| (count.kind, json!({ "new": count.new, "old": count.old })))
            .collect::<Map<_, _>>()
            .into())
    }
}

/// A row as the rules see it.
fn entry(row: &OccurrenceRow) -> Result<Entry, RecorderError> {
    let held = row.held.clone().map(serde_json::from_value).transpose();
    Ok(Entry {
        occurrence: Occurrence {
            id: row.id.clone(),
            at: row.at,
            kind: kind(row)?,
            from: row.from.clone(),
            in_view: false,
        },
        held: held.map_err(|_| unknown("reason", &row.id))?,
        notification: row.notification.clone(),
        seen: row.seen_at.is_some(),
    })
}

fn thread_of(row: &OccurrenceRow) -> Option<&str> {
    row.body.get("thread").and_then(Value::as_str)
}

fn kind(row: &OccurrenceRow) -> Result<OccurrenceKind, RecorderError> {
    OccurrenceKind::parse(&row.kind).ok_or_else(|| unknown("kind of occurrence", &row.kind))
}

fn item(row: &OccurrenceRow) -> Result<Item, RecorderError> {
    let text = |name: &str| row.body.get(name).and_then(Value::as_str).map(str::to_owned);
    Ok(Item {
        id: row.id.clone(),
        at: row.at,
        kind: kind(row)?,
        from: UserRef { user: row.from.clone(), name: text("from_name") },
        thread: text("thread").unwrap_or_default(),
        call: text("call"),
        note: text("note"),
        image: text("image"),
        about: text("about"),
    })
}

fn decided(row: &NotificationRow) -> Result<Decided, RecorderError> {
    serde_json::from_value(row.body.clone()).map_err(|_| unknown("notification", &row.id))
}

fn row(user: &str, decided: &Decided) -> NotificationRow {
    NotificationRow {
        user: user.to_owned(),
        id: decided.id.clone(),
        opened_at: decided.opened_at,
        revision: decided.revision,
        body: json!(decided),
        told: 0,
        told_alerts: 0,
    }
}

/// A notification as it is told, with what is in it.
fn notification(row: &NotificationRow, items: Vec<OccurrenceRow>) -> Result<Notification, RecorderError> {
    let decided = decided(row)?;
    let total = items.len();
    // With the name they have now.
    let name = items.iter().rev().find_map(|row| row.body.get("from_name")?.as_str()).map(str::to_owned);
    let items = items.iter().skip(total.saturating_sub(MOST_ITEMS)).map(item).collect::<Result<Vec<_>, _>>()?;
    Ok(Notification {
        user: row.user.clone(),
        id: decided.id,
        revision: decided.revision,
        silent: decided.alerts.len() <= row.told_alerts as usize,
        why: decided.why,
        from: decided.from.map(|user| UserRef { user, name }),
        items,
        total,
        live_devices: Vec::new(),
    })
}

fn unknown(what: &'static str, value: &str) -> RecorderError {
    RecorderError::Row { what, value: value.to_owned() }
}

fn unix_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    elapsed.as_millis().try_into().unwrap_or(u64::MAX)
}
