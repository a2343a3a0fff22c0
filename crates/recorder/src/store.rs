//! Rows of calls and notes, in SQLite (embedded, the default) or PostgreSQL (by URL), through one set of queries. What is said here about a note is what
//! is so: a row says `sent` only once its bytes are kept, and counts are derived from rows. No bytes, no timers: see `bytes.rs` and
//! `recorder.rs`.

mod calls;
mod notes;
mod rows;

use std::str::FromStr;
use std::time::Duration;

use rand::Rng;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyPool, Executor};

pub use rows::{CallRow, Cursor, Draft, NoteRow, Page, Recipient, ThreadEntry};

use crate::error::RecorderError;

/// The tables, for both databases.
static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

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
        MIGRATIONS.run(&pool).await?;
        // A SQLite transaction that reads before it writes fails where somebody else writes in between, however long it would wait, unless it asks for the right to
        // write at its beginning.
        let begin = if sqlite { "BEGIN IMMEDIATE" } else { "BEGIN" };
        Ok(Self { pool, begin })
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
        sqlx::query("INSERT INTO settings (name, value) VALUES ('secret', $1) ON CONFLICT (name) DO NOTHING")
            .bind(STANDARD.encode(fresh))
            .execute(&self.pool)
            .await
            .map_err(failed("making its secret"))?;
        let kept: String = sqlx::query_scalar("SELECT value FROM settings WHERE name = 'secret'")
            .fetch_one(&self.pool)
            .await
            .map_err(failed("reading its secret"))?;
        STANDARD.decode(&kept).map_err(|_| RecorderError::Row { what: "secret", value: "(not base64)".to_owned() })
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

fn failed(doing: &'static str) -> impl Fn(sqlx::Error) -> RecorderError {
    move |source| RecorderError::Database { doing, source }
}
