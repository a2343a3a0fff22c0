//! Jobs: made once for each key of a user, changed by whoever knows their last revision, listed by thread.

use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::reactions::{now, reactions};
use super::rows::integer;
use super::spending::{reserve, settle};
use super::{JobRow, Store, failed};
use crate::error::ImagineError;
use crate::job::JobState;
use crate::money::Money;

/// Within what a new job must be.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    /// The period that runs, and the most that may be spent in it.
    pub(crate) period: String,
    pub(crate) period_word: &'static str,
    pub(crate) cap: Option<Money>,
    /// How many a user may have under way.
    pub(crate) under_way: u32,
    pub(crate) user: Option<Window>,
    pub(crate) thread: Option<Window>,
}

/// How many images are allowed since when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) images: u32,
    pub(crate) since: u64,
    pub(crate) hours: u64,
}

const OPEN: &str = "state IN ('queued', 'submitted', 'running', 'fetching')";

/// What counts for a quota: what was neither given up before it cost anything nor refused.
const COUNTED: &str = "(charged > 0 OR state IN ('queued', 'submitted', 'running', 'fetching', 'posted'))";

impl Store {
    /// Makes a job, with what it may cost reserved, unless there is one of this key already, which is returned then.
    pub(crate) async fn put_job(&self, row: &JobRow, bounds: &Bounds) -> Result<JobRow, ImagineError> {
        let failed = failed("keeping an image job");
        let mut work = self.begin().await.map_err(&failed)?;
        // Locks the spending row first of all, so that of two requests one comes after the other.
        let reserved = reserve(row.cost, &bounds.period, bounds.cap, &mut work).await?;
        if let Some(former) = by_key(&row.user, &row.key, &mut work).await? {
            return Ok(former);
        }
        if !reserved {
            return Err(ImagineError::SpendCap(bounds.period_word));
        }
        let open = count(&format!("user_id = $1 AND created_at > $2 AND {OPEN}"), &row.user, 0, &mut work).await?;
        if open >= u64::from(bounds.under_way) {
            return Err(ImagineError::UnderWay(bounds.under_way));
        }
        let quotas = [(bounds.user, "user_id", &row.user, "person"), (bounds.thread, "thread", &row.thread, "thread")];
        for (window, column, of, whose) in quotas {
            let Some(window) = window else { continue };
            let condition = format!("{column} = $1 AND created_at > $2 AND {COUNTED}");
            if count(&condition, of, window.since, &mut work).await? >= u64::from(window.images) {
                return Err(ImagineError::Quota { whose, limit: window.images, hours: window.hours });
            }
        }
        insert(row, &mut work).await.map_err(&failed)?;
        work.commit().await.map_err(&failed)?;
        Ok(row.clone())
    }

    /// Changes a job to what the row says, if nobody else has changed it since its revision, and raises that. Where it ends, what it reserved is settled. False: somebody
    /// else has.
    pub(crate) async fn change_job(&self, row: &mut JobRow) -> Result<bool, ImagineError> {
        let failed = failed("changing an image job");
        let mut work = self.begin().await.map_err(&failed)?;
        if row.state.is_final() {
            // In the order in which jobs are made: first this row, then the job's.
            settle(row.cost, row.charged, &mut work).await.map_err(&failed)?;
        }
        let picture = row.picture.as_ref();
        let changed = sqlx::query(&format!(
            "UPDATE image_jobs SET revision = revision + 1, state = $1, reason = $2, detail = $3, ended_at = $4, handle = $5, remote_id = $6, link = $7, charged = $8,
                    file_key = $9, content_type = $10, size = $11, width = $12, height = $13
             WHERE id = $14 AND revision = $15 AND {OPEN}",
        ))
        .bind(row.state.as_str())
        .bind(row.reason.map(|reason| reason.as_str()))
        .bind(row.detail.as_deref())
        .bind(row.ended_at.map(integer))
        .bind(row.handle.as_ref().and_then(|handle| serde_json::to_string(handle).ok()))
        .bind(row.handle.as_ref().map(|handle| handle.id.as_str()))
        .bind(row.link.as_deref())
        .bind(integer(row.charged.micros()))
        .bind(picture.map(|picture| picture.key.as_str()))
        .bind(picture.map(|picture| picture.content_type.as_str()))
        .bind(picture.map_or(0, |picture| integer(picture.size)))
        .bind(picture.map_or(0, |picture| i64::from(picture.width)))
        .bind(picture.map_or(0, |picture| i64::from(picture.height)))
        .bind(&row.id)
        .bind(integer(row.revision))
        .execute(&mut *work)
        .await
        .map_err(&failed)?;
        if changed.rows_affected() == 0 {
            return Ok(false);
        }
        work.commit().await.map_err(&failed)?;
        row.revision += 1;
        Ok(true)
    }

    /// Takes a job that is over back, with what others say to it: as it was then, with that, to be told. `None`: it is not over, or taken back already.
    pub(crate) async fn delete_job(&self, id: &str) -> Result<Option<JobRow>, ImagineError> {
        let failed = failed("deleting an image");
        let mut work = self.begin().await.map_err(&failed)?;
        let query = format!(
            "UPDATE image_jobs SET revision = revision + 1, deleted = 1 WHERE id = $1 AND deleted = 0 AND NOT ({OPEN})"
        );
        let deleted = sqlx::query(&query).bind(id).execute(&mut *work).await.map_err(&failed)?;
        if deleted.rows_affected() == 0 {
            return Ok(None);
        }
        let row = now(id, &mut work).await?;
        let said = sqlx::query("DELETE FROM image_reactions WHERE job_id = $1").bind(id);
        said.execute(&mut *work).await.map_err(&failed)?;
        work.commit().await.map_err(&failed)?;
        Ok(row)
    }

    /// A job.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn job(&self, id: &str) -> Result<Option<JobRow>, ImagineError> {
        let mut connection = self.pool.acquire().await.map_err(failed("reading an image job"))?;
        let query = sqlx::query("SELECT * FROM image_jobs WHERE id = $1").bind(id);
        found(query.fetch_optional(&mut *connection).await, &mut connection).await
    }

    /// The job that a provider calls by this name.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn job_of(&self, provider: &str, remote_id: &str) -> Result<Option<JobRow>, ImagineError> {
        let mut connection = self.pool.acquire().await.map_err(failed("reading an image job"))?;
        let query = sqlx::query("SELECT * FROM image_jobs WHERE provider = $1 AND remote_id = $2");
        let row = query.bind(provider).bind(remote_id).fetch_optional(&mut *connection).await;
        found(row, &mut connection).await
    }

    /// Jobs that are not over and that this process carries on, oldest first.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn open_jobs(&self, owner: &str) -> Result<Vec<JobRow>, ImagineError> {
        let condition = format!("owner = $1 AND created_at > $2 AND {OPEN} ORDER BY created_at, id");
        self.many(&condition, owner, 0).await
    }

    /// Jobs that are not over though they were asked for before this time, in Unix milliseconds: whoever carried them on is gone.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn abandoned_jobs(&self, before: u64) -> Result<Vec<JobRow>, ImagineError> {
        let condition = format!("owner <> $1 AND created_at < $2 AND {OPEN}");
        self.many(&condition, "", integer(before)).await
    }

    /// Jobs of this process whose last change has not been told.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn untold_jobs(&self, owner: &str) -> Result<Vec<JobRow>, ImagineError> {
        let condition = "owner = $1 AND created_at > $2 AND told < revision ORDER BY created_at, id";
        self.many(condition, owner, 0).await
    }

    /// A change has been told.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn told(&self, id: &str, revision: u64) -> Result<(), ImagineError> {
        sqlx::query("UPDATE image_jobs SET told = $1 WHERE id = $2 AND told < $1")
            .bind(integer(revision))
            .bind(id)
            .execute(&self.pool)
            .await
            .map_err(failed("noting that an image was told of"))?;
        Ok(())
    }

    /// Images of a thread as one user sees it, newest first: those before the time and id of the last entry of a former page.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn thread(
        &self,
        user: &str,
        thread: &str,
        before: Option<(u64, &str)>,
        limit: u32,
    ) -> Result<Vec<JobRow>, ImagineError> {
        let (at, id) = before.map_or((i64::MAX, ""), |(at, id)| (integer(at), id));
        let failed = failed("listing images");
        let mut connection = self.pool.acquire().await.map_err(&failed)?;
        let rows = sqlx::query(
            "SELECT * FROM image_jobs
             WHERE thread = $1 AND deleted = 0 AND (created_at < $2 OR (created_at = $2 AND id < $3))
               AND (user_id = $4 OR (state = 'posted' AND EXISTS
                    (SELECT 1 FROM image_viewers WHERE job_id = image_jobs.id AND image_viewers.user_id = $4)))
             ORDER BY created_at DESC, id DESC LIMIT $5",
        )
        .bind(thread)
        .bind(at)
        .bind(id)
        .bind(user)
        .bind(i64::from(limit))
        .fetch_all(&mut *connection)
        .await
        .map_err(&failed)?;
        let mut jobs = Vec::with_capacity(rows.len());
        for row in &rows {
            jobs.push(with_people(JobRow::of(row)?, &mut connection).await?);
        }
        Ok(jobs)
    }

    /// Forgets jobs that were over before this time, in Unix milliseconds, and returns the keys of their bytes.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn forget_before(&self, time: u64) -> Result<Vec<String>, ImagineError> {
        let failed = failed("forgetting old images");
        let mut work = self.begin().await.map_err(&failed)?;
        let keys = sqlx::query_scalar("SELECT file_key FROM image_jobs WHERE ended_at < $1 AND file_key IS NOT NULL")
            .bind(integer(time))
            .fetch_all(&mut *work)
            .await
            .map_err(&failed)?;
        let gone = sqlx::query("DELETE FROM image_jobs WHERE ended_at < $1").bind(integer(time));
        gone.execute(&mut *work).await.map_err(&failed)?;
        work.commit().await.map_err(&failed)?;
        Ok(keys)
    }

    /// The keys of all bytes that a row refers to.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn keys_in_use(&self) -> Result<Vec<String>, ImagineError> {
        sqlx::query_scalar(
            "SELECT file_key FROM image_jobs WHERE file_key IS NOT NULL AND deleted = 0 AND state IN ('fetching', 'posted')",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(failed("listing the keys of pictures"))
    }

    async fn many(&self, condition: &str, first: &str, second: i64) -> Result<Vec<JobRow>, ImagineError> {
        let failed = failed("listing image jobs");
        let mut connection = self.pool.acquire().await.map_err(&failed)?;
        let query = format!("SELECT * FROM image_jobs WHERE {condition}");
        let rows = sqlx::query(&query).bind(first).bind(second).fetch_all(&mut *connection);
        let mut jobs = Vec::new();
        for row in &rows.await.map_err(&failed)? {
            jobs.push(with_people(JobRow::of(row)?, &mut connection).await?);
        }
        Ok(jobs)
    }
}

async fn insert(row: &JobRow, work: &mut AnyConnection) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO image_jobs (id, owner, revision, told, thread, user_id, user_name, idempotency_key, provider, request, again_of, state, created_at, cost, charged,
                                 size, width, height, variation_set)
         VALUES ($1, $2, $3, 0, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 0, 0, 0, 0, $14)",
    )
    .bind(&row.id)
    .bind(&row.owner)
    .bind(integer(row.revision))
    .bind(&row.thread)
    .bind(&row.user)
    .bind(&row.user_name)
    .bind(&row.key)
    .bind(&row.provider)
    .bind(serde_json::to_string(&row.request).unwrap_or_default())
    .bind(row.again_of.as_deref())
    .bind(JobState::Queued.as_str())
    .bind(integer(row.created_at))
    .bind(integer(row.cost.micros()))
    .bind(row.set.as_deref())
    .execute(&mut *work)
    .await?;
    for viewer in &row.viewers {
        sqlx::query(
            "INSERT INTO image_viewers (job_id, user_id) VALUES ($1, $2) ON CONFLICT (job_id, user_id) DO NOTHING",
        )
        .bind(&row.id)
        .bind(viewer)
        .execute(&mut *work)
        .await?;
    }
    Ok(())
}

async fn by_key(user: &str, key: &str, work: &mut AnyConnection) -> Result<Option<JobRow>, ImagineError> {
    let query = sqlx::query("SELECT * FROM image_jobs WHERE user_id = $1 AND idempotency_key = $2");
    found(query.bind(user).bind(key).fetch_optional(&mut *work).await, work).await
}

pub(super) async fn found(
    row: Result<Option<AnyRow>, sqlx::Error>,
    connection: &mut AnyConnection,
) -> Result<Option<JobRow>, ImagineError> {
    match row.map_err(failed("reading an image job"))? {
        Some(row) => Ok(Some(with_people(JobRow::of(&row)?, connection).await?)),
        None => Ok(None),
    }
}

async fn count(condition: &str, of: &str, since: u64, work: &mut AnyConnection) -> Result<u64, ImagineError> {
    let count: i64 = sqlx::query_scalar(&format!("SELECT COUNT(*) FROM image_jobs WHERE {condition}"))
        .bind(of)
        .bind(integer(since))
        .fetch_one(work)
        .await
        .map_err(failed("counting images"))?;
    Ok(u64::try_from(count).unwrap_or(0))
}

async fn with_people(row: JobRow, connection: &mut AnyConnection) -> Result<JobRow, ImagineError> {
    let viewers = sqlx::query_scalar("SELECT user_id FROM image_viewers WHERE job_id = $1 ORDER BY user_id")
        .bind(&row.id)
        .fetch_all(&mut *connection)
        .await
        .map_err(failed("reading who sees an image"))?;
    let reactions = if row.state == JobState::Posted { reactions(&row.id, connection).await? } else { Vec::new() };
    Ok(JobRow { viewers, reactions, ..row })
}
