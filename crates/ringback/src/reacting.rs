//! What reactions to notes and to pictures have in common: who may react to something of somebody else's and with what, and how they say so over HTTP. Which there are is kept by whoever
//! keeps the notes and the pictures.

use ringback_reactions::Palette;
use ringback_signaling::Signaling;
use ringback_signaling::protocol::{ErrorCode, UserRef, WireError};
use ringback_signaling::token::Claims;
use serde::Deserialize;

/// See the [module](self).
#[derive(Debug, Clone)]
pub(crate) struct Reacting {
    palette: Palette,
}

impl Reacting {
    pub(crate) fn new(palette: Palette) -> Self {
        Self { palette }
    }

    /// The reaction that a text means, as it is kept, if this user may say it to something of this author's: whoever may leave the author no note may not.
    pub(crate) async fn allowed(
        &self,
        signaling: Option<&Signaling>,
        user: &str,
        author: &str,
        text: &str,
    ) -> Result<&str, WireError> {
        if author != user
            && let Some(signaling) = signaling
        {
            signaling.may_leave_note(user, author).await?;
        }
        let emoji = self.palette.reaction(text);
        emoji.ok_or_else(|| WireError::new(ErrorCode::BadRequest, "emoji: exactly one emoji is required"))
    }
}

/// Whose token it is, with their name.
pub(crate) fn user(claims: Claims) -> UserRef {
    let name = claims.display_name().to_owned();
    UserRef { user: claims.sub, name: Some(name) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reaction {
    emoji: String,
}

/// The text in the body of a request that reacts.
pub(crate) fn emoji(body: &[u8]) -> Result<String, WireError> {
    let bad = |error: serde_json::Error| WireError::new(ErrorCode::BadRequest, format!("a reaction: {error}"));
    serde_json::from_slice(body).map(|Reaction { emoji }| emoji).map_err(bad)
}
