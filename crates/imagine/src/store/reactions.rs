//! Reactions to posted pictures: one emoji for each of those who see one, in a row that goes with the picture, and which of them have been told. Which texts are emoji is not known here.

use sqlx::AnyConnection;

use super::jobs::found;
use super::rows::{integer, natural, optional_text, text};
use super::{JobRow, Store, failed};
use crate::error::ImagineError;
use crate::imagine::Reacted;
use crate::info::ImageReaction;

/// How often one user may change their reaction to one picture. Each change is an event of the log and goes to everybody who sees it: enough for any change of mind, and no game.
const MOST_CHANGES: i64 = 50;

impl Store {
    /// Keeps a user's reaction to a posted picture in place of the one before, or takes it back. Returns the image and the number of the change where that changed anything.
    pub(crate) async fn put_reaction(
        &self,
        image: &str,
        (user, name): (&str, &str),
        emoji: Option<&str>,
        at: u64,
        owner: &str,
    ) -> Result<Option<(JobRow, u64)>, ImagineError> {
        let failed = failed("keeping a reaction to a picture");
        let missing = || ImagineError::NotFound(image.to_owned());
        let mut work = self.begin().await.map_err(&failed)?;
        // Locks the image, so that its reactions come one after the other. What was not told of the image itself stays so.
        let locked = sqlx::query(
            "UPDATE image_jobs SET told = CASE WHEN told = revision THEN told + 1 ELSE told END, revision = revision + 1
             WHERE id = $1 AND state = 'posted' AND deleted = 0",
        );
        let locked = locked.bind(image).execute(&mut *work).await.map_err(&failed)?;
        let row = if locked.rows_affected() == 1 { now(image, &mut work).await? } else { None };
        let row = row.filter(|row| row.is_for(user)).ok_or_else(missing)?;
        let before = row.reactions.iter().find(|one| one.user == user).map(|one| one.emoji.as_str());
        if before == emoji {
            return Ok(None);
        }
        let query = match emoji {
            Some(emoji) => sqlx::query(
                "INSERT INTO image_reactions (job_id, user_id, at, owner, user_name, emoji, changes, change, told) VALUES ($1, $2, $3, $4, $5, $6, 1, 1, 0)
                 ON CONFLICT (job_id, user_id) DO UPDATE SET at = EXCLUDED.at, owner = EXCLUDED.owner, user_name = EXCLUDED.user_name, emoji = EXCLUDED.emoji,
                     changes = image_reactions.changes + 1, change = image_reactions.change + 1
                 WHERE image_reactions.changes < $7",
            )
            .bind(image)
            .bind(user)
            .bind(integer(at))
            .bind(owner)
            .bind(name)
            .bind(emoji)
            .bind(MOST_CHANGES),
            None => sqlx::query(
                "UPDATE image_reactions SET at = $3, owner = $4, emoji = NULL, change = change + 1 WHERE job_id = $1 AND user_id = $2",
            )
            .bind(image)
            .bind(user)
            .bind(integer(at))
            .bind(owner),
        };
        if query.execute(&mut *work).await.map_err(&failed)?.rows_affected() == 0 {
            return Err(ImagineError::TooManyChanges(MOST_CHANGES));
        }
        let change: i64 = sqlx::query_scalar("SELECT change FROM image_reactions WHERE job_id = $1 AND user_id = $2")
            .bind(image)
            .bind(user)
            .fetch_one(&mut *work)
            .await
            .map_err(&failed)?;
        let row = now(image, &mut work).await?.ok_or_else(missing)?;
        work.commit().await.map_err(&failed)?;
        Ok(Some((row, u64::try_from(change).unwrap_or(0))))
    }

    /// A change of a reaction has been told.
    pub(crate) async fn told_reaction(&self, image: &str, user: &str, change: u64) -> Result<(), ImagineError> {
        sqlx::query("UPDATE image_reactions SET told = $1 WHERE job_id = $2 AND user_id = $3 AND told < $1")
            .bind(integer(change))
            .bind(image)
            .bind(user)
            .execute(&self.pool)
            .await
            .map_err(failed("noting that a reaction was told of"))?;
        Ok(())
    }

    /// Reactions whose last change this process kept and did not tell, each with its image.
    pub(crate) async fn untold_reactions(&self, owner: &str) -> Result<Vec<(String, Reacted)>, ImagineError> {
        let rows = sqlx::query("SELECT * FROM image_reactions WHERE owner = $1 AND told < change ORDER BY at, user_id");
        let rows = rows.bind(owner).fetch_all(&self.pool).await.map_err(failed("reading reactions to pictures"))?;
        let untold = |row| {
            let (user, taken_back) = (text(row, "user_id")?, optional_text(row, "emoji")?.is_none());
            Ok((text(row, "job_id")?, Reacted { user, taken_back, change: natural(row, "change")? }))
        };
        rows.iter().map(untold).collect()
    }
}

/// An image as it is within a transaction.
pub(super) async fn now(image: &str, work: &mut AnyConnection) -> Result<Option<JobRow>, ImagineError> {
    let row = sqlx::query("SELECT * FROM image_jobs WHERE id = $1").bind(image).fetch_optional(&mut *work).await;
    found(row, work).await
}

/// The reactions to a picture, in the order in which they came.
pub(super) async fn reactions(image: &str, connection: &mut AnyConnection) -> Result<Vec<ImageReaction>, ImagineError> {
    let rows =
        sqlx::query("SELECT * FROM image_reactions WHERE job_id = $1 AND emoji IS NOT NULL ORDER BY at, user_id");
    let rows = rows.bind(image).fetch_all(connection).await.map_err(failed("reading the reactions to a picture"))?;
    let reaction = |row| {
        let (user, name) = (text(row, "user_id")?, text(row, "user_name")?);
        Ok(ImageReaction { user, name, emoji: text(row, "emoji")?, at: natural(row, "at")? })
    };
    rows.iter().map(reaction).collect()
}
