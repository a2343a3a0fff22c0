//! The rules of the stage detector, one test each, on scripted conversations through the public API: virtual time, one
//! seed.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ringback_sfu::ParticipantId;
use ringback_sfu::stage::{Detector, Preset, StageChange, StageDetector, StageReason};

const A: ParticipantId = ParticipantId(1);
const B: ParticipantId = ParticipantId(2);
const C: ParticipantId = ParticipantId(3);
const SEED: u64 = 7;

/// One who sends packets: a quiet room, and speech in syllables when they talk.
struct Microphone {
    id: ParticipantId,
    packet_ms: u64,
    rtp_time: u32,
    next: u64,
    speech: f32,
}

struct Room {
    detector: Detector,
    start: Instant,
    now: u64,
    random: StdRng,
    microphones: Vec<Microphone>,
    /// Each change of the stage, with its time in ms.
    changes: Vec<(u64, StageChange)>,
    lights: BTreeMap<ParticipantId, bool>,
}

impl Room {
    fn of(participants: &[ParticipantId]) -> Self {
        Self::with_packets(participants, 20)
    }

    fn with_packets(participants: &[ParticipantId], packet_ms: u64) -> Self {
        let mut room = Self {
            detector: Detector::new(Preset::Balanced),
            start: Instant::now(),
            now: 0,
            random: StdRng::seed_from_u64(SEED),
            microphones: Vec::new(),
            changes: Vec::new(),
            lights: BTreeMap::new(),
        };
        for &id in participants {
            room.join(id, packet_ms);
        }
        room.quiet(3_000);
        room
    }

    fn join(&mut self, id: ParticipantId, packet_ms: u64) {
        self.detector.join(self.at(), id, false);
        let rtp_time = self.random.random();
        self.microphones.push(Microphone { id, packet_ms, rtp_time, next: self.now + id.0, speech: 0.0 });
    }

    fn leave(&mut self, id: ParticipantId) {
        self.microphones.retain(|microphone| microphone.id != id);
        let change = self.detector.leave(self.at(), id);
        self.note(change);
    }

    fn set_muted(&mut self, id: ParticipantId, muted: bool) {
        let change = self.detector.set_muted(self.at(), id, muted);
        self.note(change);
    }

    fn at(&self) -> Instant {
        self.start + Duration::from_millis(self.now)
    }

    fn note(&mut self, change: Option<StageChange>) {
        if let Some(change) = change {
            assert_eq!(change.participant, self.detector.on_stage());
            self.changes.push((self.now, change));
        }
        while let Some((id, lit)) = self.detector.poll_speaking() {
            assert_eq!(lit, self.detector.is_speaking(id));
            self.lights.insert(id, lit);
        }
    }

    /// Everyone sends for so long; these talk, around these levels in −dBov. Returns the changes, by ms from here.
    fn talk(&mut self, ms: u64, talking: &[(ParticipantId, u8)]) -> Vec<(u64, StageChange)> {
        self.talk_over(ms, talking, |_, _| true)
    }

    fn quiet(&mut self, ms: u64) -> Vec<(u64, StageChange)> {
        self.talk(ms, &[])
    }

    /// … where the network lets through what `passes`, by participant and ms from here.
    fn talk_over(
        &mut self,
        ms: u64,
        talking: &[(ParticipantId, u8)],
        mut passes: impl FnMut(ParticipantId, u64) -> bool,
    ) -> Vec<(u64, StageChange)> {
        let begin = self.now;
        let before = self.changes.len();
        while self.now < begin + ms {
            self.now += 1;
            let now = self.at();
            if self.detector.poll_timeout().is_some_and(|at| at <= now) {
                let change = self.detector.handle_timeout(now);
                self.note(change);
            }
            for place in 0..self.microphones.len() {
                let random = &mut self.random;
                let microphone = &mut self.microphones[place];
                if microphone.next > self.now {
                    continue;
                }
                microphone.next += microphone.packet_ms;
                microphone.rtp_time = microphone.rtp_time.wrapping_add(microphone.packet_ms as u32 * 48);
                let noise = 68.0 + random.random_range(-2.0..2.0);
                let talks = talking.iter().find(|(id, _)| *id == microphone.id);
                // Syllables of about 180 ms with a dip between them, and a breath each two seconds.
                let target = talks.map_or(0.0, |_| {
                    let phase = (self.now - begin) % 2_000;
                    if phase > 1_850 {
                        0.2
                    } else if phase % 180 < 130 {
                        1.0
                    } else {
                        0.65
                    }
                });
                microphone.speech += (target - microphone.speech) * 0.6;
                let loud = talks.map_or(noise, |&(_, level)| f32::from(level) + random.random_range(-3.0..3.0));
                let level = (noise + (loud - noise) * microphone.speech).clamp(0.0, 126.0) as u8;
                let (id, rtp_time) = (microphone.id, microphone.rtp_time);
                if passes(id, self.now - begin) {
                    let change = self.detector.on_level(now, id, rtp_time, level, true);
                    self.note(change);
                }
            }
        }
        self.changes[before..].iter().map(|&(at, change)| (at - begin, change)).collect()
    }
}

fn to(participant: ParticipantId, reason: StageReason) -> StageChange {
    StageChange { participant: Some(participant), reason }
}

fn only_to(changes: &[(u64, StageChange)], participant: ParticipantId, within: u64) {
    assert!(
        matches!(changes, [(at, change)] if *at <= within && change.participant == Some(participant)),
        "to {participant} within {within} ms: {changes:?}"
    );
}

#[test]
fn the_first_to_speak_takes_an_empty_stage() {
    let mut room = Room::of(&[A, B]);
    assert_eq!(room.quiet(5_000), []);
    only_to(&room.talk(2_000, &[(B, 25)]), B, 500);
}

#[test]
fn the_turn_passes_at_once() {
    let mut room = Room::of(&[A, B, C]);
    for _ in 0..3 {
        for speaker in [A, B, C] {
            only_to(&room.talk(4_000, &[(speaker, 27)]), speaker, 600);
            room.quiet(200);
        }
    }
}

#[test]
fn every_packet_time_is_followed() {
    for packet_ms in [10, 20, 40, 60] {
        let mut room = Room::with_packets(&[A, B], packet_ms);
        only_to(&room.talk(4_000, &[(A, 27)]), A, 700);
        room.quiet(300);
        only_to(&room.talk(4_000, &[(B, 27)]), B, 800);
    }
}

#[test]
fn silence_holds_the_stage() {
    let mut room = Room::of(&[A, B]);
    room.talk(3_000, &[(A, 25)]);
    assert_eq!(room.quiet(60_000), []);
    assert_eq!(room.detector.on_stage(), Some(A));
    assert_eq!(room.detector.poll_timeout(), None, "nothing to wait for");
}

#[test]
fn an_empty_network_holds_the_stage_and_puts_the_lights_out() {
    let mut room = Room::of(&[A, B]);
    room.talk(3_000, &[(A, 25)]);
    assert_eq!(room.lights.get(&A), Some(&true));
    assert_eq!(room.talk_over(1_000, &[(A, 25)], |_, _| false), []);
    assert_eq!(room.lights.get(&A), Some(&false));
    assert_eq!(room.detector.on_stage(), Some(A));
}

#[test]
fn a_yeah_does_not_take_the_stage() {
    let mut room = Room::of(&[A, B]);
    room.talk(6_000, &[(A, 27)]);
    for _ in 0..5 {
        assert_eq!(room.talk(300, &[(A, 27), (B, 30)]), []);
        assert_eq!(room.talk(3_000, &[(A, 27)]), []);
    }
}

#[test]
fn a_key_click_does_not_take_the_stage() {
    let mut room = Room::of(&[A, B]);
    room.talk(4_000, &[(A, 27)]);
    for _ in 0..30 {
        assert_eq!(room.talk(20, &[(B, 30)]), []);
        assert_eq!(room.quiet(380), []);
    }
}

#[test]
fn two_equal_voices_never_flap() {
    let mut room = Room::of(&[A, B]);
    room.talk(4_000, &[(A, 27)]);
    let changes = room.talk(60_000, &[(A, 27), (B, 27)]);
    let quick = changes.windows(2).filter(|pair| pair[1].0 - pair[0].0 < 2_000).count();
    assert!(quick == 0 && changes.len() <= 6, "{changes:?}");
}

#[test]
fn muting_clears_within_a_packet_and_stray_packets_do_not_count() {
    let mut room = Room::of(&[A, B]);
    room.talk(3_000, &[(A, 25)]);
    room.set_muted(A, true);
    assert_eq!(room.changes.last(), Some(&(room.now, StageChange { participant: None, reason: StageReason::Muted })));
    assert!(!room.detector.is_speaking(A));
    assert_eq!(room.lights.get(&A), Some(&false));
    assert_eq!(room.talk(2_000, &[(A, 15)]), []);
    room.set_muted(A, false);
    only_to(&room.talk(2_000, &[(A, 25)]), A, 800);
}

#[test]
fn whoever_speaks_gets_the_stage_of_who_mutes_or_leaves_at_once() {
    for mutes in [true, false] {
        let mut room = Room::of(&[A, B]);
        room.talk(3_000, &[(A, 25)]);
        room.talk(900, &[(A, 25), (B, 25)]);
        assert_eq!(room.detector.on_stage(), Some(A));
        if mutes {
            room.set_muted(A, true)
        } else {
            room.leave(A)
        }
        let reason = if mutes { StageReason::Muted } else { StageReason::Left };
        assert_eq!(room.changes.last(), Some(&(room.now, to(B, reason))));
    }
}

#[test]
fn leaving_frees_the_stage_at_once_and_others_leaving_does_not() {
    let mut room = Room::of(&[A, B, C]);
    room.talk(3_000, &[(A, 25)]);
    let changes = room.changes.len();
    room.leave(C);
    assert_eq!(room.changes.len(), changes);
    room.leave(A);
    assert_eq!(room.changes.last(), Some(&(room.now, StageChange { participant: None, reason: StageReason::Left })));
    assert!(room.detector.tiles().all(|tile| tile != Some(A)));
    only_to(&room.talk(3_000, &[(B, 25)]), B, 600);
}

#[test]
fn a_joiner_finds_the_stage_the_lights_and_the_tiles_as_they_are() {
    let mut room = Room::of(&[A, B]);
    room.talk(3_000, &[(B, 25)]);
    room.join(C, 20);
    assert_eq!(room.detector.on_stage(), Some(B));
    let speaking = [A, B, C].map(|id| room.detector.is_speaking(id));
    assert_eq!(speaking, [false, true, false]);
    assert_eq!(room.detector.tiles().take(4).collect::<Vec<_>>(), [Some(A), Some(B), Some(C), None]);
    assert_eq!(room.talk(2_000, &[(B, 25)]), [], "and takes nothing from anybody by joining");
}

#[test]
fn whoever_joins_muted_is_not_heard_until_they_unmute() {
    let mut room = Room::of(&[A]);
    room.join(B, 20);
    room.set_muted(B, true);
    assert_eq!(room.talk(2_000, &[(B, 15)]), []);
    room.set_muted(B, false);
    only_to(&room.talk(2_000, &[(B, 25)]), B, 800);
}

#[test]
fn the_light_comes_within_100_ms_and_follows_each_person_alone() {
    for packet_ms in [10, 20, 40, 60] {
        let mut room = Room::with_packets(&[A, B], packet_ms);
        room.talk(100 + packet_ms, &[(A, 25), (B, 28)]);
        assert_eq!([A, B].map(|id| room.detector.is_speaking(id)), [true; 2], "packets of {packet_ms} ms");
        room.talk(800, &[(B, 28)]);
        assert_eq!([A, B].map(|id| room.detector.is_speaking(id)), [false, true]);
    }
}

#[test]
fn dtx_is_silence_and_the_first_words_after_it_count() {
    let mut room = Room::of(&[A, B]);
    room.talk(3_000, &[(A, 25)]);
    // Both send a packet each 400 ms only.
    let changes = room.talk_over(10_000, &[], |_, at| at % 400 < 20);
    assert_eq!(changes, []);
    only_to(&room.talk_over(3_000, &[(B, 25)], |id, at| id == B || at % 400 < 20), B, 600);
}

#[test]
fn lost_packets_change_nothing_but_a_little_time() {
    let mut room = Room::of(&[A, B]);
    let mut random = StdRng::seed_from_u64(SEED);
    let mut lossy = |_, _| random.random_bool(0.9);
    for speaker in [A, B, A, B] {
        let changes = room.talk_over(4_000, &[(speaker, 27)], &mut lossy);
        only_to(&changes, speaker, 700);
        room.talk_over(300, &[], &mut lossy);
    }
}

#[test]
fn late_and_duplicate_packets_change_nothing() {
    let mut room = Room::of(&[A, B]);
    let mut twin = Room::of(&[A, B]);
    for speaker in [A, B, A] {
        let microphone = room.microphones.iter().find(|microphone| microphone.id != speaker).unwrap();
        let (id, rtp_time, now) = (microphone.id, microphone.rtp_time, room.at());
        // Loud packets of the one who is silent, which others have overtaken.
        for late in 0..20 {
            assert_eq!(room.detector.on_level(now, id, rtp_time.wrapping_sub(960 * late), 5, true), None);
        }
        assert_eq!(room.talk(3_000, &[(speaker, 27)]), twin.talk(3_000, &[(speaker, 27)]));
    }
}

#[test]
fn the_rtp_time_wraps_unnoticed() {
    let mut room = Room::of(&[A, B]);
    let mut twin = Room::of(&[A, B]);
    for (microphone, other) in room.microphones.iter_mut().zip(&mut twin.microphones) {
        microphone.rtp_time = u32::MAX - 100_000;
        other.rtp_time = 1_000;
    }
    // Both clocks have jumped, and one of them wraps after two seconds.
    for speaker in [A, B, A] {
        let changes = room.talk(3_000, &[(speaker, 27)]);
        assert_eq!(changes, twin.talk(3_000, &[(speaker, 27)]));
        only_to(&changes, speaker, 600);
    }
}

#[test]
fn a_clock_that_jumps_costs_nobody_the_stage() {
    for jump in [1 << 31, 1 << 24, 0_u32.wrapping_sub(1 << 24)] {
        let mut room = Room::of(&[A, B]);
        room.talk(3_000, &[(A, 27)]);
        for microphone in &mut room.microphones {
            microphone.rtp_time = microphone.rtp_time.wrapping_add(jump);
        }
        assert_eq!(room.talk(3_000, &[(A, 27)]), [], "jump of {jump}");
        room.quiet(300);
        only_to(&room.talk(3_000, &[(B, 27)]), B, 600);
    }
}

#[test]
fn whoever_stops_sending_is_followed_by_who_speaks() {
    let mut room = Room::of(&[A, B]);
    room.talk(3_000, &[(A, 27)]);
    only_to(&room.talk_over(3_000, &[(B, 27)], |id, _| id == B), B, 600);
}

#[test]
fn a_large_room_shows_the_last_speakers_and_moves_nobody_else() {
    let people: Vec<_> = (1..=12).map(ParticipantId).collect();
    let mut room = Room::of(&people);
    let before: Vec<_> = room.detector.tiles().collect();
    assert_eq!(before.len(), 9);
    assert!(before.iter().all(Option::is_some));
    let speaker = ParticipantId(12);
    only_to(&room.talk(3_000, &[(speaker, 25)]), speaker, 600);
    let after: Vec<_> = room.detector.tiles().collect();
    let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
    assert_eq!(moved, 1);
    assert!(after.contains(&Some(speaker)));
}

#[test]
fn presets_differ_in_patience() {
    let first = Preset::ALL.map(|preset| {
        let mut room = Room::of(&[A, B]);
        room.detector.set_preset(preset);
        room.talk(4_000, &[(A, 27)]);
        room.quiet(300);
        room.talk(4_000, &[(B, 27)]).first().map(|&(at, _)| at)
    });
    assert!(first.is_sorted() && first[0] < first[2], "{first:?}");
}

#[test]
fn the_stage_is_never_with_the_muted_or_the_departed() {
    let mut random = StdRng::seed_from_u64(SEED);
    let mut detector = Detector::new(Preset::Fast);
    let start = Instant::now();
    let mut there = BTreeMap::<ParticipantId, bool>::new();
    let mut lights = BTreeMap::<ParticipantId, bool>::new();
    let (mut told, mut changes) = (None, 0);
    for step in 0..40_000_u64 {
        let now = start + Duration::from_millis(step * 4);
        let id = ParticipantId(random.random_range(0..6));
        let change = match random.random_range(0..600) {
            0..2 => {
                detector.join(now, id, false);
                there.entry(id).or_insert(false);
                None
            }
            2 => {
                there.remove(&id);
                lights.remove(&id);
                detector.leave(now, id)
            }
            number @ 3..7 => {
                let muted = number < 5;
                there.entry(id).and_modify(|known| *known = muted);
                detector.set_muted(now, id, muted)
            }
            7 => detector.handle_timeout(now),
            _ => {
                let talks = (step / 700 + id.0).is_multiple_of(3);
                let level = if talks { random.random_range(18..40) } else { 70 };
                detector.on_level(now, id, (step * 4 / 20 * 960) as u32, level, true)
            }
        };
        if let Some(change) = change {
            assert_ne!(change.participant, told, "a change changes something (seed {SEED}, step {step})");
            told = change.participant;
            changes += 1;
        }
        assert_eq!(detector.on_stage(), told, "seed {SEED}, step {step}");
        if let Some(holder) = told {
            assert_eq!(there.get(&holder), Some(&false), "seed {SEED}, step {step}");
        }
        while let Some((id, lit)) = detector.poll_speaking() {
            assert_ne!(lights.insert(id, lit).unwrap_or(false), lit, "seed {SEED}, step {step}");
        }
        for (&id, &muted) in &there {
            assert!(!(muted && detector.is_speaking(id)), "seed {SEED}, step {step}");
            assert_eq!(lights.get(&id).copied().unwrap_or(false), detector.is_speaking(id), "seed {SEED}, step {step}");
        }
    }
    assert!(changes > 20, "{changes}");
}
