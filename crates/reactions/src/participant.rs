//! Somebody in the room: what they may do, and how often they still may.

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use crate::bucket::TokenBucket;
use crate::config::RoomReactionsConfig;

/// Characters of a name that are sent on. Longer ones are cut: a tick is to fit a datagram.
const MAX_NAME: usize = 40;

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rights {
    /// React.
    pub react: bool,
    /// Raise a hand and set a status.
    pub hand: bool,
    /// Lower others' hands, and say what is on and who may.
    pub host: bool,
}

impl Rights {
    /// React and raise hands.
    pub const GUEST: Self = Self { react: true, hand: true, host: false };
    /// Everything.
    pub const HOST: Self = Self { react: true, hand: true, host: true };
    /// Only look on.
    pub const NONE: Self = Self { react: false, hand: false, host: false };
}

#[derive(Debug)]
pub(crate) struct Participant {
    pub(crate) name: Arc<str>,
    pub(crate) can: Rights,
    /// The place of their raised hand.
    pub(crate) hand: Option<u64>,
    pub(crate) status: Option<Arc<str>>,
    pub(crate) reactions: TokenBucket,
    pub(crate) sticky: TokenBucket,
    pub(crate) messages: TokenBucket,
    pub(crate) refusals: TokenBucket,
}

impl Participant {
    pub(crate) fn new(now: Instant, name: &str, can: Rights, config: &RoomReactionsConfig) -> Self {
        Self {
            name: presentable(name).into(),
            can,
            hand: None,
            status: None,
            reactions: TokenBucket::new(config.reactions, now),
            sticky: TokenBucket::new(config.sticky, now),
            messages: TokenBucket::new(config.messages, now),
            refusals: TokenBucket::new(config.refusals, now),
        }
    }
}

/// A name without what would disturb the text around it: controls, and marks that turn the direction of writing (UAX #9).
fn presentable(name: &str) -> String {
    let disturbs = |c: &char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    name.chars().filter(|c| !disturbs(c)).take(MAX_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_what_would_turn_the_text_around_them() {
        assert_eq!(presentable("A\u{202e}na\u{2066}\n \u{5d0}"), "Ana \u{5d0}");
        assert_eq!(presentable(&"x".repeat(500)).len(), MAX_NAME);
    }
}
