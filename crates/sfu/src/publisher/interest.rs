//! Whether anybody wants a layer, and what its publisher is told of that: an encoder that nobody looks at costs its owner power and uplink. Off
//! takes a while, so that a tile that is hidden for a moment costs no restart; on is told at once. No clock, no media.

use std::time::{Duration, Instant};

/// So long nobody wants a layer before its publisher is told. Longer sends in vain, shorter makes looking away and back cost a keyframe.
const GRACE: Duration = Duration::from_secs(5);

/// A layer that was told to be wanted again is waited for this long: a signaling message, and an encoder that starts. After that it is as if it
/// did not exist, until it comes.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is known of the interest in one layer.
#[derive(Debug, Default)]
pub(crate) struct Interest {
    wanted: bool,
    unwanted_since: Option<Instant>,
    told_off: bool,
    woken: Option<Instant>,
}

impl Interest {
    /// Nobody wants it, as far as is known now.
    pub(crate) fn forget(&mut self) {
        self.wanted = false;
    }

    /// Somebody wants it.
    pub(crate) fn want(&mut self) {
        self.wanted = true;
    }

    /// Whether somebody wants it, as far as is known.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Another worker tells its publisher what is wanted, and has told so.
    pub(crate) fn follow(&mut self, now: Instant, told_off: bool) {
        if std::mem::replace(&mut self.told_off, told_off) && !told_off {
            self.woken = Some(now);
        }
    }

    /// All who may want it have been asked. Returns whether the publisher has to be told something new.
    pub(crate) fn settle(&mut self, now: Instant) -> bool {
        if self.wanted {
            self.unwanted_since = None;
            let wakes = std::mem::take(&mut self.told_off);
            if wakes {
                self.woken = Some(now);
            }
            return wakes;
        }
        let since = *self.unwanted_since.get_or_insert(now);
        let over = now.saturating_duration_since(since) >= GRACE;
        over && !std::mem::replace(&mut self.told_off, true)
    }

    /// Whether the publisher was told that nobody wants it.
    pub(crate) fn is_told_off(&self) -> bool {
        self.told_off
    }

    /// Whether it is silent because nobody wanted it, and comes when it is asked for.
    pub(crate) fn may_come(&self, now: Instant) -> bool {
        self.told_off || self.woken.is_some_and(|woken| now.saturating_duration_since(woken) < PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn off_is_told_after_a_while_and_on_at_once() {
        let mut now = Instant::now();
        let mut interest = Interest::default();
        assert!(!interest.settle(now) && !interest.may_come(now));
        now += GRACE / 2;
        interest.want();
        assert!(!interest.settle(now));
        interest.forget();
        assert!(!interest.settle(now), "the while begins anew");
        now += GRACE - Duration::from_millis(1);
        assert!(!interest.settle(now));
        now += Duration::from_millis(1);
        assert!(interest.settle(now) && interest.is_told_off() && interest.may_come(now));
        assert!(!interest.settle(now + GRACE), "it is told once");
        now += GRACE;
        interest.want();
        assert!(interest.settle(now) && !interest.is_told_off());
        assert!(interest.may_come(now) && !interest.may_come(now + PATIENCE));
    }
}
