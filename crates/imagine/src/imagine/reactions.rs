//! Reactions to posted pictures: keeps them, and says who is to be told, once more after a restart where nobody was.

use super::{Imagine, ImagineEvent, Inner, unix_ms};
use crate::error::ImagineError;
use crate::info::ImageInfo;
use crate::store::JobRow;

/// The longest reaction in bytes: the longest emoji there is has 35.
const LONGEST: usize = 64;

/// Whose reaction to an image is another than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reacted {
    /// Whose.
    pub user: String,
    /// They have taken it back.
    pub taken_back: bool,
    /// The change that it is, to be [confirmed](Imagine::told_reaction) once it is told.
    pub change: u64,
}

impl Imagine {
    /// Somebody who sees a posted picture, whoever asked for it too, reacts to it with an emoji, in place of the one before, or takes theirs back. The same again changes nothing. `name` is
    /// what they are called in what is told of it. What is an emoji is for whoever calls this to say.
    ///
    /// # Errors
    /// `NotFound` for everybody else and for an image that is not posted; `Request` where the emoji is empty or longer than 64 bytes; `TooManyChanges`.
    pub async fn react(
        &self,
        image: &str,
        user: &str,
        name: &str,
        emoji: Option<&str>,
    ) -> Result<ImageInfo, ImagineError> {
        if emoji.is_some_and(|emoji| emoji.is_empty() || emoji.len() > LONGEST) {
            return Err(ImagineError::Request("a reaction has 1 to 64 bytes".to_owned()));
        }
        let inner = &self.inner;
        match inner.store.put_reaction(image, (user, name), emoji, unix_ms(), &inner.owner).await? {
            None => self.image(image, user).await,
            Some((row, change)) => {
                inner.tell_reaction(&row, Reacted { user: user.to_owned(), taken_back: emoji.is_none(), change });
                Ok(ImageInfo::of(&row))
            }
        }
    }

    /// A reaction that was told will not be told again after a restart.
    ///
    /// # Errors
    /// Where the database fails; then it is.
    pub async fn told_reaction(&self, image: &str, reacted: &Reacted) -> Result<(), ImagineError> {
        self.inner.store.told_reaction(image, &reacted.user, reacted.change).await
    }
}

impl Inner {
    /// Tells the reactions that a former process kept and did not tell.
    pub(super) async fn recover_reactions(&self) -> Result<(), ImagineError> {
        for (image, reacted) in self.store.untold_reactions(&self.owner).await? {
            if let Some(row) = self.store.job(&image).await? {
                self.tell_reaction(&row, reacted);
            }
        }
        Ok(())
    }

    fn tell_reaction(&self, row: &JobRow, reacted: Reacted) {
        let users = row.viewers.iter().filter(|viewer| **viewer != row.user).chain([&row.user]).cloned().collect();
        let image = Box::new(ImageInfo::of(row));
        // Whoever took the events may be gone; then nobody is left to be told.
        let _ = self.events.send(ImagineEvent {
            users,
            image,
            deleted: false,
            charged: row.charged,
            revision: None,
            reacted: Some(reacted),
        });
    }
}
