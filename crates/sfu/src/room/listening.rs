//! Who is listened to: microphones whose level nobody can be believed about take turns at the few ears a room has. Whoever is found
//! speaking keeps them; the others are judged by how much the sizes of their packets move, and by how long they have waited. No clock,
//! no media: a choice over passed-in values.

use std::time::{Duration, Instant};

/// Microphones of a room that are listened to at once: the one who speaks, the one who answers, and one to find out. Each costs 0.1 % of a
/// core.
pub(super) const EARS: usize = 3;
/// A turn lasts so long at least: enough to tell speech from noise.
const TURN: Duration = Duration::from_millis(500);
/// Waiting for a second weighs as much as this difference in restlessness, which is that of noise.
const IMPATIENCE: f32 = 0.04;
/// So many packets that cannot be decoded in a row are encrypted end to end, or no Opus …
const FAILURES: u8 = 10;
/// … and are left alone for so long.
const LEFT_ALONE: Duration = Duration::from_secs(30);

/// One microphone's part.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Turn {
    /// Since when it is listened to.
    listened: Option<Instant>,
    /// Since when it waits for that.
    waits: Option<Instant>,
    failures: u8,
    left_alone_until: Option<Instant>,
}

impl Turn {
    /// Whether it is listened to.
    pub(super) fn is_listened(&self) -> bool {
        self.listened.is_some()
    }

    /// Whether listening may be of any use.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.left_alone_until.is_none_or(|until| now >= until)
    }

    /// There is nothing to listen to.
    pub(super) fn rest(&mut self) {
        self.listened = None;
        self.waits = None;
    }

    /// A packet was listened to. Returns whether it is the last one for a while, because none can be decoded.
    pub(super) fn on_heard(&mut self, now: Instant, decoded: bool) -> bool {
        self.failures = if decoded { 0 } else { self.failures + 1 };
        let gives_up = self.failures >= FAILURES;
        if gives_up {
            *self = Self { left_alone_until: Some(now + LEFT_ALONE), ..Self::default() };
        }
        gives_up
    }
}

/// A microphone that there is reason to listen to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    pub(super) member: usize,
    /// How much the sizes of its packets move.
    pub(super) restlessness: f32,
    /// Whether it is known to speak, or holds the stage.
    pub(super) speaks: bool,
    pub(super) turn: Turn,
}

impl Wish {
    /// What is ranked by: whether the turn goes on in any case, and how likely there is speech.
    fn rank(&self, now: Instant) -> (bool, f32) {
        let for_so_long = |since: Option<Instant>| since.map(|since| now.saturating_duration_since(since));
        match for_so_long(self.turn.listened) {
            Some(turn) => (self.speaks || turn < TURN, self.restlessness),
            None => {
                let waited = for_so_long(self.turn.waits).unwrap_or_default();
                (false, self.restlessness + IMPATIENCE * waited.as_secs_f32())
            }
        }
    }
}

/// Gives the ears to those who rank first.
pub(super) fn take_turns(now: Instant, wishes: &mut [Wish]) {
    wishes.sort_unstable_by(|a, b| {
        let ((a_stays, a_likely), (b_stays, b_likely)) = (a.rank(now), b.rank(now));
        b_stays.cmp(&a_stays).then(b_likely.total_cmp(&a_likely)).then(a.member.cmp(&b.member))
    });
    for (place, wish) in wishes.iter_mut().enumerate() {
        if place < EARS {
            wish.turn.waits = None;
            wish.turn.listened.get_or_insert(now);
        } else {
            wish.turn.listened = None;
            wish.turn.waits.get_or_insert(now);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(20);

    fn wish(member: usize, restlessness: f32) -> Wish {
        Wish { member, restlessness, speaks: false, turn: Turn::default() }
    }

    fn listened(wishes: &[Wish]) -> Vec<usize> {
        let mut members: Vec<usize> = wishes.iter().filter(|w| w.turn.is_listened()).map(|w| w.member).collect();
        members.sort_unstable();
        members
    }

    #[test]
    fn a_few_are_all_listened_to() {
        let mut wishes = [wish(1, 0.0), wish(2, 0.0), wish(3, 0.1)];
        take_turns(Instant::now(), &mut wishes);
        assert_eq!(listened(&wishes), [1, 2, 3]);
    }

    #[test]
    fn whoever_is_found_speaking_stays_and_everyone_else_gets_a_turn() {
        let mut now = Instant::now();
        let mut wishes: Vec<Wish> = (0..20).map(|member| wish(member, 0.04)).collect();
        let mut had_a_turn = [false; 20];
        for _ in 0..500 {
            now += TICK;
            take_turns(now, &mut wishes);
            assert_eq!(listened(&wishes).len(), EARS);
            for wish in &mut wishes {
                had_a_turn[wish.member] |= wish.turn.is_listened();
                wish.speaks = wish.member == 7 && wish.turn.is_listened();
                assert!(wish.member != 7 || !had_a_turn[7] || wish.turn.is_listened(), "the speaker was dropped");
            }
        }
        assert_eq!(had_a_turn, [true; 20]);
    }

    #[test]
    fn a_restless_newcomer_is_heard_within_a_turn() {
        let mut now = Instant::now();
        let mut wishes: Vec<Wish> = (0..20).map(|member| wish(member, 0.04)).collect();
        for _ in 0..500 {
            now += TICK;
            take_turns(now, &mut wishes);
        }
        let newcomer = wishes.iter_mut().find(|wish| !wish.turn.is_listened()).unwrap();
        newcomer.restlessness = 0.3;
        let member = newcomer.member;
        now += TURN;
        take_turns(now, &mut wishes);
        assert!(listened(&wishes).contains(&member));
    }

    #[test]
    fn what_cannot_be_decoded_is_left_alone_for_a_while() {
        let now = Instant::now();
        let mut turn = Turn::default();
        for _ in 0..FAILURES {
            assert!(turn.is_open(now));
            let _ = turn.on_heard(now, false);
        }
        assert!(!turn.is_open(now));
        assert!(turn.is_open(now + LEFT_ALONE));
    }
}
