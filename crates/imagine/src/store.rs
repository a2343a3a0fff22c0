//! Rows of image jobs and of what they cost, in the database that holds calls and notes, in tables of their own. A row says `posted` only once the picture's bytes are kept; money is
//! reserved in the transaction that makes the job, and settled in the one that ends it. No bytes, no timers.

mod jobs;
mod open;
mod pauses;
mod reactions;
mod rows;
mod spending;

use std::str::FromStr;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyPool, Executor};

pub(crate) use jobs::{Bounds, Window};
pub use open::OpenJobs;
pub use pauses::ProviderCall;
pub use rows::{JobRow, Picture};
pub use spending::Spending;

use crate::error::ImagineError;

/// How many connections are held: pictures are few and slow.
const CONNECTIONS: u32 = 4;

/// How SQLite behaves: readers beside a writer (WAL), and every commit on the medium before it returns, since what was paid must be known after a power cut.
const SQLITE: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 10000; PRAGMA secure_delete = ON;";

/// The database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pool: AnyPool,
    begin: &'static str,
}

impl Store {
    /// Opens a database by URL (`sqlite://path`, `postgres://…`) and brings this crate's tables up to date.
    ///
    /// # Errors
    /// Where the URL is of neither kind, the database cannot be reached, or a migration fails.
    pub async fn open(url: &str) -> Result<Self, ImagineError> {
        let refused = || ImagineError::Url(url.to_owned());
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
            // Whether a file's connection is alive needs no asking.
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
        // The tables of calls and notes are migrated by others, under numbers of theirs, in the same list.
        let mut migrations = sqlx::migrate!();
        migrations.set_ignore_missing(true);
        migrations.run(&pool).await?;
        // A SQLite transaction that reads before it writes fails where somebody else writes in between, unless it asks for the right to write at its beginning.
        Ok(Self { pool, begin: if sqlite { "BEGIN IMMEDIATE" } else { "BEGIN" } })
    }

    async fn begin(&self) -> Result<sqlx::Transaction<'static, sqlx::Any>, sqlx::Error> {
        self.pool.begin_with(self.begin).await
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

fn failed(doing: &'static str) -> impl Fn(sqlx::Error) -> ImagineError {
    move |source| ImagineError::Database { doing, source }
}
