//! The plain stage detector: the loudest who speaks, with hold and hysteresis. It shows the seam at its smallest and is
//! a yardstick for the [`Detector`](super::Detector), which rooms are meant to use.

use std::time::{Duration, Instant};

use super::{Reading, StageChange, StageDetector, StageReason};
use crate::ids::ParticipantId;
use crate::speaking::VoiceLight;

/// Whoever is on the stage keeps it for so long after their voice light went out, when somebody else speaks. Shorter
/// follows quick exchanges, longer spares pauses for thought.
const HOLD: Duration = Duration::from_millis(600);
/// A speaker takes the stage from another who speaks, too, if louder by this, in dB …
const LOUDER_BY: i32 = 6;
/// … for this time: longer than an interjection.
const LOUDER_FOR: Duration = Duration::from_secs(1);
/// Loudness is smoothed over about so many packets.
const SMOOTHING: i32 = 16;
/// Loudness is counted in this fraction of a dB.
const STEPS_PER_DB: i32 = 16;

#[derive(Debug)]
struct Member {
    id: ParticipantId,
    muted: bool,
    light: VoiceLight,
    /// Whether it was told that the light is on.
    told: bool,
    /// Smoothed level while the light is on, in 1/16 dBov.
    loudness: i32,
    /// Since when they speak louder than the holder.
    louder_since: Option<Instant>,
}

/// How the holder of the stage is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holding {
    Speaking,
    /// Their light went out at this time.
    Quiet(Instant),
    /// … more than [`HOLD`] ago: whoever speaks next takes over.
    Open,
}

/// The loudest who speaks is on the stage, and holds it through silence and short interjections.
#[derive(Debug, Default)]
pub struct PlainStage {
    /// In order of their ids.
    members: Vec<Member>,
    holder: Option<(ParticipantId, Holding)>,
}

impl PlainStage {
    /// An empty room.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn position(&self, participant: ParticipantId) -> Result<usize, usize> {
        self.members.binary_search_by_key(&participant, |member| member.id)
    }

    fn member(&mut self, participant: ParticipantId) -> Option<&mut Member> {
        let at = self.position(participant).ok()?;
        self.members.get_mut(at)
    }

    /// The loudest of those whose light is on.
    fn loudest(&mut self, now: Instant) -> Option<ParticipantId> {
        for member in &mut self.members {
            member.light.on_silence(now);
        }
        self.members.iter().filter(|member| member.light.is_lit()).max_by_key(|member| member.loudness).map(|m| m.id)
    }

    fn take(&mut self, participant: ParticipantId, reason: StageReason) -> StageChange {
        self.holder = Some((participant, Holding::Speaking));
        for member in &mut self.members {
            member.louder_since = None;
        }
        StageChange { participant: Some(participant), reason }
    }

    /// The holder is out: the loudest who speaks follows, or nobody.
    fn free(&mut self, now: Instant, reason: StageReason) -> StageChange {
        self.holder = None;
        match self.loudest(now) {
            Some(next) => self.take(next, reason),
            None => StageChange { participant: None, reason },
        }
    }

    /// Brings the holder's state up to date; an open stage goes to the loudest who speaks.
    fn settle(&mut self, now: Instant) -> Option<StageChange> {
        if let Some((holder, holding)) = self.holder {
            let member = self.member(holder)?;
            member.light.on_silence(now);
            let holding = match holding {
                _ if member.light.is_lit() => Holding::Speaking,
                Holding::Speaking => Holding::Quiet(now),
                Holding::Quiet(since) if now.saturating_duration_since(since) >= HOLD => Holding::Open,
                holding => holding,
            };
            self.holder = Some((holder, holding));
            if holding != Holding::Open {
                return None;
            }
        }
        let next = self.loudest(now)?;
        Some(self.take(next, StageReason::Speaking))
    }
}

impl StageDetector for PlainStage {
    fn join(&mut self, _now: Instant, participant: ParticipantId, muted: bool) {
        let Err(at) = self.position(participant) else { return };
        let mut light = VoiceLight::new();
        light.set_muted(muted);
        let loudness = -127 * STEPS_PER_DB;
        self.members.insert(at, Member { id: participant, muted, light, told: false, loudness, louder_since: None });
    }

    fn leave(&mut self, now: Instant, participant: ParticipantId) -> Option<StageChange> {
        let at = self.position(participant).ok()?;
        self.members.remove(at);
        self.holder.is_some_and(|(holder, _)| holder == participant).then(|| self.free(now, StageReason::Left))
    }

    fn set_muted(&mut self, now: Instant, participant: ParticipantId, muted: bool) -> Option<StageChange> {
        let member = self.member(participant)?;
        member.muted = muted;
        member.light.set_muted(muted);
        member.louder_since = None;
        let frees = muted && self.holder.is_some_and(|(holder, _)| holder == participant);
        frees.then(|| self.free(now, StageReason::Muted))
    }

    fn on_level(
        &mut self,
        now: Instant,
        participant: ParticipantId,
        _rtp_time: u32,
        level: u8,
        voice: bool,
    ) -> Option<StageChange> {
        let holder = self.holder;
        let at = self.position(participant).ok()?;
        let rival = holder.filter(|&(id, holding)| id != participant && holding == Holding::Speaking);
        let rival = rival.and_then(|(id, _)| self.member(id)).map(|member| member.loudness);
        let member = self.members.get_mut(at).filter(|member| !member.muted)?;
        let measured = -i32::from(level & 0x7F) * STEPS_PER_DB;
        if member.light.on_level(now, level, voice) == Some(true) {
            member.loudness = measured;
        } else if member.light.is_lit() {
            member.loudness += (measured - member.loudness) / SMOOTHING;
        }
        if !member.light.is_lit() {
            member.louder_since = None;
        } else if let Some(rival) = rival {
            if member.loudness < rival + LOUDER_BY * STEPS_PER_DB {
                member.louder_since = None;
            } else if now.saturating_duration_since(*member.louder_since.get_or_insert(now)) >= LOUDER_FOR {
                return Some(self.take(participant, StageReason::Louder));
            }
        }
        let lit = self.members.get(at).is_some_and(|member| member.light.is_lit());
        // Whoever is silent and not on the stage changes nothing.
        if lit || holder.is_some_and(|(id, _)| id == participant) { self.settle(now) } else { None }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let lights = self.members.iter().filter_map(|member| member.light.poll_timeout()).min();
        let hold = match self.holder {
            Some((_, Holding::Quiet(since))) => Some(since + HOLD),
            _ => None,
        };
        lights.into_iter().chain(hold).min()
    }

    fn handle_timeout(&mut self, now: Instant) -> Option<StageChange> {
        for member in &mut self.members {
            member.light.on_silence(now);
        }
        self.settle(now)
    }

    fn on_stage(&self) -> Option<ParticipantId> {
        self.holder.map(|(participant, _)| participant)
    }

    fn is_speaking(&self, participant: ParticipantId) -> bool {
        self.position(participant).is_ok_and(|at| self.members.get(at).is_some_and(|member| member.light.is_lit()))
    }

    fn poll_speaking(&mut self) -> Option<(ParticipantId, bool)> {
        let member = self.members.iter_mut().find(|member| member.told != member.light.is_lit())?;
        member.told = member.light.is_lit();
        Some((member.id, member.told))
    }

    fn reading(&self, _now: Instant, participant: ParticipantId) -> Option<Reading> {
        let member = self.members.get(self.position(participant).ok()?)?;
        let (lit, on_stage) = (member.light.is_lit(), self.on_stage() == Some(participant));
        let percent = |yes: bool| if yes { 100 } else { 0 };
        Some(Reading {
            level: if lit { (member.loudness / STEPS_PER_DB) as i8 } else { -127 },
            noise: member.light.noise(),
            utterance: percent(lit),
            floor: percent(on_stage),
            evidence: 0,
            needed: 0,
            speaking: lit,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ParticipantId = ParticipantId(1);
    const B: ParticipantId = ParticipantId(2);
    const C: ParticipantId = ParticipantId(3);
    const SILENT: u8 = 75;

    struct Room {
        stage: PlainStage,
        start: Instant,
        now: Instant,
    }

    impl Room {
        fn of(participants: &[ParticipantId]) -> Self {
            let now = Instant::now();
            let mut stage = PlainStage::new();
            for &participant in participants {
                stage.join(now, participant, false);
            }
            Self { stage, start: now, now }
        }

        /// Everyone sends packets of 20 ms at these levels. Returns the changes and when they came, in ms from here.
        fn hear(&mut self, ms: u64, levels: &[(ParticipantId, u8)]) -> Vec<(u64, StageChange)> {
            let begin = self.now;
            let mut changes = Vec::new();
            for elapsed in (20..=ms).step_by(20) {
                self.now = begin + Duration::from_millis(elapsed);
                if self.stage.poll_timeout().is_some_and(|at| at <= self.now) {
                    changes.extend(self.stage.handle_timeout(self.now).map(|change| (elapsed, change)));
                }
                for &(participant, level) in levels {
                    let change = self.stage.on_level(self.now, participant, 0, level, true);
                    changes.extend(change.map(|change| (elapsed, change)));
                }
            }
            changes
        }
    }

    fn to(participant: ParticipantId, reason: StageReason) -> StageChange {
        StageChange { participant: Some(participant), reason }
    }

    #[test]
    fn the_first_to_speak_takes_an_empty_stage() {
        let mut room = Room::of(&[A, B]);
        assert_eq!(room.hear(1_000, &[(A, SILENT), (B, SILENT)]), []);
        let changes = room.hear(500, &[(A, SILENT), (B, 25)]);
        assert!(
            matches!(changes[..], [(at, change)] if at <= 100 && change == to(B, StageReason::Speaking)),
            "{changes:?}"
        );
    }

    #[test]
    fn silence_holds_the_stage() {
        let mut room = Room::of(&[A, B]);
        room.hear(1_000, &[(A, 25), (B, SILENT)]);
        assert_eq!(room.hear(60_000, &[(A, SILENT), (B, SILENT)]), []);
        assert_eq!(room.stage.on_stage(), Some(A));
        assert_eq!(room.stage.poll_timeout(), None, "nothing to wait for");
    }

    #[test]
    fn the_next_speaker_takes_over_soon_after_the_last_has_stopped() {
        let mut room = Room::of(&[A, B]);
        room.hear(2_000, &[(A, 25), (B, SILENT)]);
        let changes = room.hear(3_000, &[(A, SILENT), (B, 25)]);
        assert!(
            matches!(changes[..], [(at, change)] if at <= 1_100 && change == to(B, StageReason::Speaking)),
            "{changes:?}"
        );
    }

    #[test]
    fn an_interjection_does_not_take_the_stage() {
        let mut room = Room::of(&[A, B]);
        room.hear(2_000, &[(A, 30), (B, SILENT)]);
        for _ in 0..5 {
            assert_eq!(room.hear(600, &[(A, 30), (B, 15)]), []);
            assert_eq!(room.hear(1_000, &[(A, 30), (B, SILENT)]), []);
        }
    }

    #[test]
    fn who_is_louder_for_some_time_takes_the_stage_and_equals_do_not() {
        let mut room = Room::of(&[A, B]);
        room.hear(2_000, &[(A, 30), (B, SILENT)]);
        assert_eq!(room.hear(5_000, &[(A, 30), (B, 27)]), []);
        let changes = room.hear(5_000, &[(A, 30), (B, 15)]);
        assert!(
            matches!(changes[..], [(at, change)] if at <= 2_000 && change == to(B, StageReason::Louder)),
            "{changes:?}"
        );
    }

    #[test]
    fn of_two_who_speak_the_louder_gets_a_free_stage() {
        let mut room = Room::of(&[A, B, C]);
        room.hear(2_000, &[(A, 20), (B, SILENT), (C, SILENT)]);
        room.hear(500, &[(A, 20), (B, 30), (C, 27)]);
        assert_eq!(room.stage.leave(room.now, A), Some(to(C, StageReason::Left)));
    }

    #[test]
    fn muting_frees_the_stage_at_once() {
        let mut room = Room::of(&[A, B]);
        room.hear(1_000, &[(A, 25), (B, SILENT)]);
        let change = room.stage.set_muted(room.now, A, true);
        assert_eq!(change, Some(StageChange { participant: None, reason: StageReason::Muted }));
        assert_eq!(room.hear(1_000, &[(A, 10), (B, SILENT)]), [], "stray packets of the muted do not count");
        assert_eq!(room.stage.set_muted(room.now, A, false), None);
        assert_eq!(room.hear(1_000, &[(A, 25)]).len(), 1);
    }

    #[test]
    fn leaving_frees_the_stage_at_once_and_others_leaving_does_not() {
        let mut room = Room::of(&[A, B]);
        room.hear(1_000, &[(A, 25), (B, SILENT)]);
        assert_eq!(room.stage.leave(room.now, B), None);
        assert_eq!(room.stage.leave(room.now, A), Some(StageChange { participant: None, reason: StageReason::Left }));
        assert_eq!(room.stage.leave(room.now, A), None);
        assert_eq!(room.hear(1_000, &[(A, 10)]), [], "nor do packets of who has left");
    }

    #[test]
    fn whoever_joins_muted_is_not_heard_until_they_unmute() {
        let mut room = Room::of(&[]);
        room.stage.join(room.now, A, true);
        assert_eq!(room.hear(1_000, &[(A, 10)]), []);
        room.stage.set_muted(room.now, A, false);
        assert_eq!(room.hear(1_000, &[(A, 10)]).len(), 1);
    }

    #[test]
    fn a_holder_who_stops_sending_is_followed_by_who_speaks() {
        let mut room = Room::of(&[A, B]);
        room.hear(1_000, &[(A, 25), (B, SILENT)]);
        let changes = room.hear(2_000, &[(B, 25)]);
        assert!(
            matches!(changes[..], [(at, change)] if at <= 1_100 && change == to(B, StageReason::Speaking)),
            "{changes:?}"
        );
    }

    #[test]
    fn the_stage_is_never_with_the_muted_or_the_departed() {
        let mut state = 0xC0FFEE_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut room = Room::of(&[]);
        let mut there = std::collections::BTreeMap::new();
        let (mut told, mut changes) = (None, 0);
        for step in 0..200_000 {
            room.now = room.start + Duration::from_millis(step * 4);
            let participant = ParticipantId(random(6));
            let change = match random(400) {
                0 => {
                    room.stage.join(room.now, participant, false);
                    there.entry(participant).or_insert(false);
                    None
                }
                1 => {
                    there.remove(&participant);
                    room.stage.leave(room.now, participant)
                }
                number @ 2..6 => {
                    there.entry(participant).and_modify(|muted| *muted = number < 4);
                    room.stage.set_muted(room.now, participant, number < 4)
                }
                6 => room.stage.handle_timeout(room.now),
                _ => {
                    let talks = (step / 1_000 + participant.0).is_multiple_of(3);
                    room.stage.on_level(room.now, participant, 0, if talks { 15 + random(20) as u8 } else { 75 }, true)
                }
            };
            if let Some(change) = change {
                assert_ne!(change.participant, told, "a change changes something (step {step})");
                told = change.participant;
                changes += 1;
            }
            assert_eq!(room.stage.on_stage(), told, "step {step}");
            if let Some(holder) = told {
                assert_eq!(there.get(&holder), Some(&false), "step {step}");
            }
        }
        assert!(changes > 50, "{changes}");
    }
}
