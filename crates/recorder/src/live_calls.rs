//! The calls that a process has under way, for the process that comes after it. Whose they are is said by a name in the recorder's folder, since a database may be shared:
//! whoever opens the folder next gets them, and no one else. What is kept of a call, and what becomes of it, is not decided here.

use std::path::Path;

use rand::Rng;
use rand::distr::Alphanumeric;

use crate::error::RecorderError;
use crate::store::{LiveCall, NewEvent, Store};

/// Calls under way of one process after another. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LiveCalls {
    store: Store,
    process: String,
}

impl LiveCalls {
    /// Those of whoever has this folder.
    ///
    /// # Errors
    /// Where the file with the name can be neither read nor made.
    pub(crate) fn open(store: Store, folder: &Path) -> Result<Self, RecorderError> {
        let path = folder.join("ringback.process");
        let failed = |source| RecorderError::Spool { doing: "naming the process in", path: path.clone(), source };
        let process = match std::fs::read_to_string(&path) {
            Ok(name) if !name.trim().is_empty() => name.trim().to_owned(),
            Ok(_) => named(&path).map_err(failed)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => named(&path).map_err(failed)?,
            Err(error) => return Err(failed(error)),
        };
        Ok(Self { store, process })
    }

    /// The name of whoever has the folder: the same over restarts, and nobody else's where a database is shared.
    pub fn process(&self) -> &str {
        &self.process
    }

    /// The calls that the former process had when it ended, and when it was there last, in Unix milliseconds. `None`: there was none.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn of_former_process(&self) -> Result<Option<(Vec<LiveCall>, u64)>, RecorderError> {
        let Some(seen_at) = self.store.last_seen(&self.process).await? else { return Ok(None) };
        Ok(Some((self.store.live_calls(&self.process).await?, seen_at)))
    }

    /// This process is there; to be told every few seconds.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn seen(&self, at: u64) -> Result<(), RecorderError> {
        self.store.seen(&self.process, at).await
    }

    /// Appends events, together and in this order, and keeps what they changed about calls. Returns the number of the last event.
    ///
    /// # Errors
    /// Where the database fails. Where its connection breaks during the commit nobody knows whether they were appended.
    pub async fn append(&self, events: &[NewEvent], changes: &[LiveCall]) -> Result<u64, RecorderError> {
        self.store.append_with_calls(events, &self.process, changes).await
    }
}

fn named(path: &Path) -> std::io::Result<String> {
    let name: String = rand::rng().sample_iter(Alphanumeric).take(16).map(char::from).collect();
    // Whole or not at all: half a name would be another process's.
    let draft = path.with_extension("part");
    std::fs::write(&draft, &name)?;
    std::fs::File::open(&draft)?.sync_all()?;
    std::fs::rename(draft, path)?;
    Ok(name)
}
