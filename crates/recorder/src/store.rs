//! Rows of calls, notes and events, in SQLite (embedded, the default) or PostgreSQL (by URL), through one set of queries. What is said here about a note is what
//! is so: a row says `sent` only once its bytes are kept, and counts are derived from rows. No bytes, no timers: see `bytes.rs` and
//! `recorder.rs`.

mod calls;
mod events;
mod live_calls;
mod note_events;
mod notes;
mod notifications;
mod reactions;
mod rows;

use std::str::FromStr;
use std::time::Duration;

use rand::Rng;
use rand::distr::Alphanumeric;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyPool, Executor};
use tokio::sync::watch;

pub use events::{EventPage, LoggedEvent, NewEvent};
pub use live_calls::LiveCall;
pub use notifications::{KindCount, NotificationRow, NotificationRows, OccurrenceRow, Seen};
pub use rows::{CallRow, Cursor, Draft, NoteRow, Page, Recipient, ThreadEntry};

use crate::error::RecorderError;

/// How many connections are held. SQLite writes one at a time anyway.
const CONNECTIONS: u32 = 8;

/// How SQLite behaves: readers beside a writer (WAL), every commit on the medium before it returns (a note that was reported as sent
/// is not lost with the machine's power), what is deleted is overwritten.
const SQLITE: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 10000; PRAGMA secure_delete = ON;";

/// The database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pool: AnyPool,
    begin: &'static str,
    /// The number of the last event that was appended through this store or a clone of it.
    appended: watch::Sender<u64>,
}

impl Store {
    /// Opens a database by URL (`sqlite://path`, `postgres://…`) and brings its tables up to date.
    ///
    /// # Errors
    /// Where the URL is of neither kind, the database cannot be reached, or a migration fails.
    pub async fn open(url: &str) -> Result<Self, RecorderError> {
        let expected = "sqlite://path or postgres://user@host/database";
        let refused = || RecorderError::Url { url: url.to_owned(), expected };
        let sqlite = url.starts_with("sqlite:");
        if !sqlite && !url.starts_with("postgres:") && !url.starts_with("postgresql:") {
            return Err(refused());
        }
        sqlx::any::install_default_drivers();
        let url = if sqlite && !url.contains('?') { format!("{url}?mode=rwc") } else { url.to_owned() };
        let options = AnyConnectOptions::from_str(&url).map_err(|_| refused())?;
        let pool = AnyPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(Duration::from_secs(10))
            // Whether a file's connection is alive needs no asking, and the question costs as much as a small query.
            .test_before_acquire(!sqlite)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if sqlite {
                        connection.execute(SQLITE).await?;
                    }
                    Ok(())
                })
            })
            .connect_with(options)
            .await
            .map_err(failed("connecting"))?;
        let mut migrations = sqlx::migrate!();
        // Images on request have tables of their own in this database, under numbers of theirs.
        migrations.set_ignore_missing(true);
        migrations.run(&pool).await?;
        // A SQLite transaction that reads before it writes fails where somebody else writes in between, however long it would wait, unless it asks for the right to
        // write at its beginning.
        let begin = if sqlite { "BEGIN IMMEDIATE" } else { "BEGIN" };
        Ok(Self { pool, begin, appended: watch::Sender::new(0) })
    }

    /// A transaction that writes.
    async fn begin(&self) -> Result<sqlx::Transaction<'static, sqlx::Any>, sqlx::Error> {
        self.pool.begin_with(self.begin).await
    }

    /// A random secret of this database, made when it is first asked for: what signs links, so that they hold over restarts and in each process
    /// that shares the database.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn secret(&self) -> Result<Vec<u8>, RecorderError> {
        use base64::Engine;
        use base64::engine::general_purpose::STANDARD;
        let fresh: [u8; 32] = rand::rng().random();
        let kept = self.setting("secret", STANDARD.encode(fresh)).await?;
        STANDARD.decode(&kept).map_err(|_| RecorderError::Row { what: "secret", value: "(not base64)".to_owned() })
    }

    /// A random name of this database's log of events, made when it is first asked for.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn log_id(&self) -> Result<String, RecorderError> {
        let letters = rand::rng().sample_iter(Alphanumeric).take(12).map(char::from);
        self.setting("log", letters.collect()).await
    }

    /// A setting that is made once: the one that is kept, or else this one from now on.
    async fn setting(&self, name: &str, fresh: String) -> Result<String, RecorderError> {
        sqlx::query("INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
            .bind(name)
            .bind(fresh)
            .execute(&self.pool)
            .await
            .map_err(failed("making a setting"))?;
        sqlx::query_scalar("SELECT value FROM settings WHERE name = $1")
            .bind(name)
            .fetch_one(&self.pool)
            .await
            .map_err(failed("reading a setting"))
    }

    pub(crate) fn appended(&self) -> watch::Receiver<u64> {
        self.appended.subscribe()
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

fn failed(doing: &'static str) -> impl Fn(sqlx::Error) -> RecorderError {
    move |source| RecorderError::Database { doing, source }
}
