//! Whether anybody in a large room loses much of what is sent to them: the one thing that talkers there are told of others' connections, so that they send their
//! voices twice while that helps (RED, RFC 2198). One bit for a whole room, with a memory, so that it costs each member a message when it
//! changes and that is seldom. Whose voice goes out twice to whom is decided elsewhere.

use std::time::{Duration, Instant};

/// From this loss on, of 1000 packets, a voice suffers; below the other nothing needs repair. Between them what was told stays. The same limits as the SFU's for
/// whom copies are passed on to, and as ringback.js's in small rooms.
const LOSSY: u16 = 20;
const CLEAN: u16 = 10;

/// For so long nobody loses anything before that is told. Longer sends copies in vain, shorter tells a whole room of each bad moment of one.
const CLEAN_AFTER: Duration = Duration::from_secs(15);

/// What a room was told, and whether that still holds.
#[derive(Debug, Default)]
pub(super) struct Losses {
    told: Option<bool>,
    /// Since when it has been otherwise.
    otherwise_since: Option<Instant>,
}

impl Losses {
    /// Takes the worst loss of all members, of 1000 packets. Returns when [`news`](Self::news) is due, if nothing changes until then.
    pub(super) fn weigh(&mut self, now: Instant, worst: u16) -> Option<Instant> {
        let is_otherwise = if self.are_told() { worst < CLEAN } else { worst >= LOSSY };
        self.otherwise_since = is_otherwise.then(|| self.otherwise_since.unwrap_or(now));
        self.due()
    }

    /// What is to be told now: whether anybody loses much.
    pub(super) fn news(&mut self, now: Instant) -> Option<bool> {
        self.due().filter(|due| *due <= now)?;
        self.otherwise_since = None;
        self.told = Some(!self.are_told());
        self.told
    }

    /// What was told last; `None` before anything was.
    pub(super) fn told(&self) -> Option<bool> {
        self.told
    }

    fn are_told(&self) -> bool {
        self.told == Some(true)
    }

    fn due(&self) -> Option<Instant> {
        Some(self.otherwise_since? + if self.are_told() { CLEAN_AFTER } else { Duration::ZERO })
    }
}
