//! The log of events as readers see it: pages from a cursor on, and following what is appended. A reader keeps the number of the last event that it is done with, and
//! goes on there: each event is read at least once, and its number says whether it was read before. Nothing is pushed here; who is told how is
//! the reader's affair.

use std::collections::VecDeque;
use std::time::Duration;

use crate::error::RecorderError;
use crate::store::{EventPage, LoggedEvent, NewEvent, Store};

/// How often the database is asked for what other processes have appended; what this one appends is there at once.
const OTHERS: Duration = Duration::from_secs(1);

/// Events that one who follows reads at once, about 1 KB each.
const PAGE: u32 = 100;

/// The log of events. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EventLog {
    store: Store,
}

impl EventLog {
    /// The log of a database.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// The events behind a cursor, oldest first, `limit` at most; 0 is the cursor before all of them. The same cursor gets the same events, as
    /// long as they are kept.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn after(&self, cursor: u64, limit: u32) -> Result<EventPage, RecorderError> {
        self.store.events_after(cursor, limit).await
    }

    /// Waits until there is something behind a cursor.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn wait(&self, cursor: u64) -> Result<(), RecorderError> {
        let mut appended = self.store.appended();
        loop {
            if *appended.borrow_and_update() > cursor || self.store.newest_event().await? > cursor {
                return Ok(());
            }
            // The store is held here, so the sender is there.
            let _ = tokio::time::timeout(OTHERS, appended.changed()).await;
        }
    }

    /// Reads on and on from a cursor, waiting for what is yet to come.
    pub fn follow(&self, cursor: u64) -> Follow {
        Follow { log: self.clone(), cursor, read: VecDeque::new() }
    }

    /// The number of the last event, which is the cursor behind all there are; 0 where there was none yet.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn newest(&self) -> Result<u64, RecorderError> {
        self.store.newest_event().await
    }

    /// A name of this log, made with it: what tells its event 7 from event 7 of another one.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn id(&self) -> Result<String, RecorderError> {
        self.store.log_id().await
    }

    /// Appends events that tell of no row, together and in this order. Returns the number of the last one.
    ///
    /// # Errors
    /// Where the database fails. Where its connection breaks during the commit nobody knows whether they were appended.
    pub async fn append(&self, events: &[NewEvent]) -> Result<u64, RecorderError> {
        self.store.append(events).await
    }

    /// The cursor that a reader has [kept](Self::put_cursor).
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn cursor(&self, reader: &str) -> Result<Option<u64>, RecorderError> {
        self.store.cursor(reader).await
    }

    /// Keeps a reader's cursor in the database, so that it goes on there after a restart.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn put_cursor(&self, reader: &str, cursor: u64) -> Result<(), RecorderError> {
        self.store.put_cursor(reader, cursor).await
    }
}

/// Reads a log on and on, see [`EventLog::follow`].
#[derive(Debug)]
pub struct Follow {
    log: EventLog,
    cursor: u64,
    read: VecDeque<LoggedEvent>,
}

impl Follow {
    /// The next event, as soon as there is one. Dropped before it is ready, it loses nothing. Where events were forgotten before they were read, the
    /// number is higher than the one before by more than one.
    ///
    /// # Errors
    /// Where the database fails; the next call tries again.
    pub async fn next(&mut self) -> Result<LoggedEvent, RecorderError> {
        loop {
            if let Some(event) = self.read.pop_front() {
                self.cursor = event.sequence;
                return Ok(event);
            }
            let page = self.log.after(self.cursor, PAGE).await?;
            if page.events.is_empty() {
                self.cursor = page.next;
                self.log.wait(self.cursor).await?;
            }
            self.read = page.events.into();
        }
    }
}
