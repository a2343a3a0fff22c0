//! What an embedder is told, so that it can store reactions or play them back: aggregated by tick, with the time since the room began.

use std::sync::Arc;

/// How often something was reacted with in one tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountedReaction {
    /// An emoji, or `:id:` of the embedder's own.
    pub reaction: Arc<str>,
    /// How often, by everybody together.
    pub count: u64,
}

/// Who reacted with what in one tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedReaction {
    /// Who.
    pub participant: Arc<str>,
    /// An emoji, or `:id:` of the embedder's own.
    pub reaction: Arc<str>,
    /// How often.
    pub count: u64,
}

/// Something to store. `at_ms` is the time since the room began, in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReactionEvent {
    /// The reactions of a tick; each is counted in exactly one of these.
    Reactions {
        /// When the tick was.
        at_ms: u64,
        /// How often what.
        counts: Vec<CountedReaction>,
        /// By whom; in large rooms only some.
        by: Vec<NamedReaction>,
        /// Whether `by` names everyone.
        all: bool,
    },
    /// A hand went up or down.
    Hand {
        /// When.
        at_ms: u64,
        /// Whose.
        participant: Arc<str>,
        /// Its place in the order of all hands ever raised here; `None`: down.
        order: Option<u64>,
    },
    /// A status was set or cleared.
    Status {
        /// When.
        at_ms: u64,
        /// Whose.
        participant: Arc<str>,
        /// Its id; `None`: cleared.
        status: Option<Arc<str>>,
    },
    /// A host changed what is on.
    Controls {
        /// When.
        at_ms: u64,
        /// As it is now.
        controls: crate::protocol::Controls,
    },
}
