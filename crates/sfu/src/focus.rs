//! What one participant is meant to look at: whom they pinned, else a shared screen, else whoever is on the stage, never themselves. A
//! pure choice over the candidates of one subscriber; that it comes in the right size is the room's part.

use serde::Serialize;

use crate::ids::{ParticipantId, Source};
use crate::slots::{Candidate, Published};

/// Why somebody is in focus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FocusReason {
    /// This participant pinned them.
    Pinned,
    /// They share their screen.
    Screen,
    /// They are on the stage; or were before this participant was, whom nobody else has followed.
    Stage,
}

/// What one participant is meant to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Focus {
    /// Whose picture.
    pub participant: ParticipantId,
    /// Which of their pictures; their camera's also while they have none, since somebody is to be shown.
    pub source: Source,
    /// Why.
    pub reason: FocusReason,
}

/// The focus among these candidates, as one subscriber sees them. A screen stays while it is shared, also when others share theirs.
pub(crate) fn focus(candidates: &[Candidate], current: Option<Focus>) -> Option<Focus> {
    let shares = |c: &&Candidate| c.screen == Published::Yes;
    if let Some(pinned) = candidates.iter().find(|c| c.pinned) {
        let source = if shares(&pinned) { Source::Screen } else { Source::Camera };
        return Some(Focus { participant: pinned.participant, source, reason: FocusReason::Pinned });
    }
    let current = current.filter(|current| current.source == Source::Screen).map(|current| current.participant);
    let rank =
        |c: &&Candidate| (Some(c.participant) == current, c.on_stage, c.last_active, std::cmp::Reverse(c.joined));
    if let Some(sharing) = candidates.iter().filter(shares).max_by_key(rank) {
        return Some(Focus { participant: sharing.participant, source: Source::Screen, reason: FocusReason::Screen });
    }
    let on_stage = candidates.iter().find(|c| c.on_stage)?;
    Some(Focus { participant: on_stage.participant, source: Source::Camera, reason: FocusReason::Stage })
}
