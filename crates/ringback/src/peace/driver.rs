//! The task that keeps the peace: follows the log of events, and attends to each user when something happened to them or a time has come. It attends to one user once at a
//! time and to several at once, so that a hook that hangs keeps few waiting; what fails is done again.

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use ringback_recorder::{LoggedEvent, RecorderError};
use ringback_signaling::Signaling;
use tokio::task::JoinSet;

use super::happened::Happened;
use super::{PeaceDesk, READER, unix_ms};

/// Users that are attended to at once. More needs more of the database's connections.
const AT_ONCE: usize = 4;

/// How long to wait until what failed is tried again, at first, in milliseconds; twice as long each time.
const FIRST_WAIT: u64 = 1_000;

/// The longest of these pauses, in milliseconds: how late a user may learn of something after a push service is well again.
const LAST_WAIT: u64 = 300_000;

/// How long is slept at most before the clock is looked at again, which may have been put forward.
const LOOK: Duration = Duration::from_secs(30);

/// Events that mean nothing here, after which the cursor is kept all the same.
const IDLE: u64 = 256;

struct Driver {
    desk: Arc<PeaceDesk>,
    signaling: Weak<Signaling>,
    /// When to attend to whom, in Unix milliseconds.
    due: HashMap<String, u64>,
    busy: HashSet<String>,
    /// How often in a row it failed with whom.
    failed: HashMap<String, u32>,
    attending: JoinSet<(String, Result<Attended, RecorderError>)>,
    cursor_kept: u64,
}

/// What came of attending to a user.
struct Attended {
    /// When to decide again.
    next: Option<u64>,
    /// All is told that there was.
    told: bool,
}

/// Keeps the peace until it is dropped.
pub(crate) async fn run(desk: Arc<PeaceDesk>, signaling: Weak<Signaling>) {
    let Some(mut changed) = desk.take_changed() else { return };
    let (due, busy, failed, attending) = Default::default();
    let mut driver = Driver { desk, signaling, due, busy, failed, attending, cursor_kept: 0 };
    let cursor = driver.begin().await;
    let mut follow = driver.desk.log.follow(cursor);
    loop {
        let sleep = driver.until_due();
        tokio::select! {
            event = follow.next() => match event {
                Ok(event) => driver.event(&event).await,
                Err(error) => database_failed(&error).await,
            },
            Some(user) = changed.recv() => driver.soon(user),
            Some(attended) = driver.attending.join_next(), if !driver.attending.is_empty() => match attended {
                Ok((user, attended)) => driver.attended(user, attended),
                // Only where the runtime ends.
                Err(error) => tracing::error!(%error, "a user's notifications are not attended to"),
            },
            () = tokio::time::sleep(sleep) => {}
        }
        driver.attend();
    }
}

impl Driver {
    /// Finds what a former process left, and where it stopped reading.
    async fn begin(&mut self) -> u64 {
        loop {
            let read = async {
                Ok::<_, RecorderError>((self.desk.rows.users_due().await?, self.desk.log.cursor(READER).await?))
            };
            match read.await {
                Ok((users, cursor)) => {
                    users.into_iter().for_each(|user| self.soon(user));
                    self.cursor_kept = cursor.unwrap_or(0);
                    return self.cursor_kept;
                }
                Err(error) => database_failed(&error).await,
            }
        }
    }

    fn soon(&mut self, user: String) {
        self.due.insert(user, 0);
    }

    fn until_due(&self) -> Duration {
        let free = self.due.iter().filter(|(user, _)| !self.busy.contains(*user));
        match free.map(|(_, due)| *due).min() {
            Some(due) if self.attending.len() < AT_ONCE => {
                Duration::from_millis(due.saturating_sub(unix_ms())).min(LOOK)
            }
            _ => LOOK,
        }
    }

    /// Keeps what an event means.
    async fn event(&mut self, event: &LoggedEvent) {
        let happened = Happened::of(event);
        let idle = happened == Happened::default();
        if idle && event.sequence < self.cursor_kept + IDLE {
            return;
        }
        let Happened { new, seen } = &happened;
        while let Err(error) = self.desk.rows.put((READER, event.sequence), new, seen).await {
            database_failed(&error).await;
        }
        self.cursor_kept = event.sequence;
        happened.users().for_each(|user| self.soon(user.clone()));
    }

    /// Begins to attend to those whose time has come.
    fn attend(&mut self) {
        let now = unix_ms();
        let due = self.due.iter().filter(|(user, due)| **due <= now && !self.busy.contains(*user));
        let due: Vec<_> =
            due.map(|(user, _)| user.clone()).take(AT_ONCE.saturating_sub(self.attending.len())).collect();
        for user in due {
            let Some(signaling) = self.signaling.upgrade() else { return };
            self.due.remove(&user);
            self.busy.insert(user.clone());
            let desk = self.desk.clone();
            self.attending.spawn(async move {
                let attended = AssertUnwindSafe(attend(&desk, &signaling, &user)).catch_unwind().await;
                let fault = |_| Ok(Attended { next: None, told: false });
                (user, attended.unwrap_or_else(fault))
            });
        }
    }

    fn attended(&mut self, user: String, attended: Result<Attended, RecorderError>) {
        self.busy.remove(&user);
        let next = match attended {
            Ok(Attended { next, told: true }) => {
                self.failed.remove(&user);
                next
            }
            Ok(Attended { told: false, .. }) => Some(self.later(&user)),
            Err(error) => {
                tracing::error!(%error, "a user's notifications cannot be decided on; again in a moment");
                Some(self.later(&user))
            }
        };
        // What happened meanwhile is due at once.
        if let Some(next) = next {
            self.due.entry(user).and_modify(|due| *due = next.min(*due)).or_insert(next);
        }
    }

    fn later(&mut self, user: &str) -> u64 {
        let failed = self.failed.entry(user.to_owned()).or_default();
        let wait = FIRST_WAIT.saturating_mul(1 << (*failed).min(16)).min(LAST_WAIT);
        *failed += 1;
        unix_ms() + wait
    }
}

async fn attend(desk: &PeaceDesk, signaling: &Signaling, user: &str) -> Result<Attended, RecorderError> {
    let next = desk.decide(user, signaling).await?;
    let told = desk.deliver(user, signaling).await?;
    Ok(Attended { next, told })
}

async fn database_failed(error: &RecorderError) {
    tracing::error!(%error, "what happened to users cannot be kept; again in a moment");
    tokio::time::sleep(Duration::from_millis(FIRST_WAIT)).await;
}
