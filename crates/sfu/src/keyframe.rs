//! How often a publisher is asked for a keyframe (PLI, RFC 4585, or FIR, RFC 5104), however many subscribers want
//! one.
//!
//! One [`KeyframeLimiter`] per incoming video SSRC. A keyframe costs its sender several times an ordinary frame, and
//! everybody in the room receives it: requests are collected, spaced out, repeated while nothing answers them, and
//! satisfied by the next keyframe.

use std::time::{Duration, Instant};

/// The least time between two requests to a source. Shorter lets a switch or a join see a picture sooner, longer
/// spares bitrate.
pub const MIN_INTERVAL: Duration = Duration::from_millis(200);
/// The same for pictures larger than 720p, whose keyframes weigh most.
pub const MIN_INTERVAL_LARGE: Duration = Duration::from_millis(500);
/// An unanswered request is repeated after this, then after twice that, and so on: a round trip and an encoder's
/// delay on a bad network.
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// The longest time between two repetitions.
const MAX_RETRY: Duration = Duration::from_secs(4);
/// Repetitions without an answer before the source is left alone until somebody asks again: it is probably paused.
const MAX_RETRIES: u32 = 6;

/// Decides when one source is asked for a keyframe.
#[derive(Debug, Default)]
pub struct KeyframeLimiter {
    large: bool,
    last_sent: Option<Instant>,
    /// When the first request was sent that no keyframe has followed.
    unanswered_since: Option<Instant>,
    /// When to send (again), while somebody waits for a keyframe.
    due: Option<Instant>,
    retries: u32,
}

impl KeyframeLimiter {
    /// A source that has never been asked.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Somebody needs a keyframe. `true`: send a request now; `false`: one has been sent lately, and unless a
    /// keyframe comes first, [`handle_timeout`](Self::handle_timeout) will say when to send the next.
    #[must_use]
    pub fn request(&mut self, now: Instant) -> bool {
        let earliest = self.last_sent.map(|sent| sent + self.interval());
        match earliest {
            Some(earliest) if earliest > now => {
                self.due = Some(self.due.map_or(earliest, |due| due.min(earliest)));
                self.retries = 0;
                false
            }
            _ => {
                self.retries = 0;
                self.send(now);
                true
            }
        }
    }

    /// A keyframe of `width` × `height` pixels has begun: whoever asked is served.
    pub fn on_keyframe(&mut self, width: u16, height: u16) {
        self.large = u32::from(width) * u32::from(height) > 1280 * 720;
        self.unanswered_since = None;
        self.due = None;
        self.retries = 0;
    }

    /// Nobody waits any more, because the source or its subscribers are gone.
    pub fn cancel(&mut self) {
        self.unanswered_since = None;
        self.due = None;
        self.retries = 0;
    }

    /// Whether somebody waits for a keyframe.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.due.is_some()
    }

    /// Whether a request was sent that no keyframe has followed.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.unanswered_since.is_some()
    }

    /// Whether the source has had the time to answer a request and has not.
    #[must_use]
    pub fn is_unanswered(&self, now: Instant) -> bool {
        self.unanswered_since.is_some_and(|since| now.saturating_duration_since(since) >= FIRST_RETRY)
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to say.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// `true`: send a request now, deferred or repeated.
    #[must_use]
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        if self.due.is_none_or(|due| due > now) {
            return false;
        }
        self.send(now);
        true
    }

    fn interval(&self) -> Duration {
        if self.large { MIN_INTERVAL_LARGE } else { MIN_INTERVAL }
    }

    fn send(&mut self, now: Instant) {
        self.last_sent = Some(now);
        self.unanswered_since.get_or_insert(now);
        let wait = (FIRST_RETRY * (1 << self.retries)).min(MAX_RETRY);
        self.due = (self.retries < MAX_RETRIES).then_some(now + wait);
        self.retries += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_first_request_goes_out_and_the_next_waits() {
        let now = Instant::now();
        let mut limiter = KeyframeLimiter::new();
        assert!(limiter.request(now));
        assert!(!limiter.request(now + 50 * MS));
        assert_eq!(limiter.poll_timeout(), Some(now + MIN_INTERVAL));
        assert!(!limiter.handle_timeout(now + 199 * MS));
        assert!(limiter.handle_timeout(now + 200 * MS), "the deferred request is not forgotten");
    }

    #[test]
    fn a_keyframe_satisfies_everyone_who_waits() {
        let now = Instant::now();
        let mut limiter = KeyframeLimiter::new();
        assert!(limiter.request(now));
        assert!(!limiter.request(now + 50 * MS));
        limiter.on_keyframe(640, 360);
        assert!(!limiter.is_waiting());
        assert!(!limiter.handle_timeout(now + 10_000 * MS));
    }

    #[test]
    fn pictures_above_720p_are_asked_for_more_seldom() {
        let now = Instant::now();
        let mut limiter = KeyframeLimiter::new();
        limiter.on_keyframe(1280, 720);
        assert!(limiter.request(now));
        assert!(limiter.request(now + 200 * MS), "720p itself is not above");
        limiter.on_keyframe(1920, 1080);
        assert!(!limiter.request(now + 600 * MS));
        assert!(limiter.handle_timeout(now + 700 * MS));
    }

    #[test]
    fn an_unanswered_request_is_repeated_ever_more_seldom_and_then_given_up() {
        let start = Instant::now();
        let mut limiter = KeyframeLimiter::new();
        assert!(limiter.request(start));
        let mut sent = Vec::new();
        for ms in 0..60_000 {
            if limiter.handle_timeout(start + ms * MS) {
                sent.push(ms);
            }
        }
        assert_eq!(sent, [500, 1_500, 3_500, 7_500, 11_500, 15_500]);
        assert!(!limiter.is_waiting());
        assert!(limiter.request(start + 60_000 * MS), "a new request begins anew");
        assert!(limiter.is_waiting());
    }

    #[test]
    fn a_source_is_unanswering_once_the_first_request_is_old_however_often_it_was_repeated() {
        let start = Instant::now();
        let mut limiter = KeyframeLimiter::new();
        for ms in [0, 250, 499] {
            let _ = limiter.request(start + ms * MS);
            assert!(!limiter.is_unanswered(start + ms * MS));
        }
        assert!(limiter.is_unanswered(start + 500 * MS));
        limiter.on_keyframe(640, 360);
        assert!(!limiter.is_unanswered(start + 60_000 * MS));
    }

    #[test]
    fn a_flood_of_requests_is_limited() {
        let start = Instant::now();
        let mut limiter = KeyframeLimiter::new();
        let mut sent = 0;
        for ms in 0..10_000 {
            sent += u32::from(limiter.request(start + ms * MS));
            sent += u32::from(limiter.handle_timeout(start + ms * MS));
        }
        assert_eq!(sent, 50);
    }
}
