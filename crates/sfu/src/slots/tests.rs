//! Who sits where, in small rooms and large ones.

use proptest::prelude::*;

use super::*;
use crate::focus::FocusReason;

fn person(id: u64) -> Candidate {
    Candidate {
        participant: ParticipantId(id),
        microphone: Published::Yes,
        camera: Published::Yes,
        screen: Published::No,
        pinned: false,
        on_stage: false,
        speaking: false,
        loudness: -60,
        last_active: 0,
        joined: id,
    }
}

fn pairs(audio: usize, video: usize) -> SlotAssignment {
    let mut slots = SlotAssignment::default();
    let audio: Vec<_> = (0..audio).map(Some).collect();
    let video: Vec<_> = (0..video).map(Some).collect();
    slots.set_slots(&audio, &video);
    slots
}

fn cameras(slots: &SlotAssignment) -> Vec<Option<u64>> {
    slots.video.iter().map(|v| v.shown.map(|(who, _)| who.0)).collect()
}

fn voices(slots: &SlotAssignment) -> Vec<Option<u64>> {
    slots.audio.iter().map(|a| a.heard.map(|who| who.0)).collect()
}

#[test]
fn a_small_room_gives_everyone_a_pair_that_stays() {
    let mut slots = pairs(4, 4);
    slots.assign(&[person(1), person(2), person(3)]);
    assert_eq!(voices(&slots), [Some(1), Some(2), Some(3), None]);
    assert_eq!(cameras(&slots), [Some(1), Some(2), Some(3), None]);
    slots.assign(&[person(1), person(3)]);
    assert_eq!(cameras(&slots), [Some(1), None, Some(3), None]);
    slots.assign(&[person(1), person(3), person(4)]);
    assert_eq!(cameras(&slots), [Some(1), Some(4), Some(3), None]);
    assert_eq!(voices(&slots), [Some(1), Some(4), Some(3), None]);
}

#[test]
fn a_muted_camera_keeps_its_slot_in_a_small_room() {
    let mut slots = pairs(3, 3);
    let mut muted = person(2);
    muted.camera = Published::Muted;
    slots.assign(&[person(1), muted]);
    assert_eq!(cameras(&slots), [Some(1), Some(2), None]);
}

#[test]
fn a_screen_takes_a_slot_beside_the_people() {
    let mut slots = pairs(4, 4);
    let mut sharing = person(1);
    sharing.screen = Published::Yes;
    slots.assign(&[sharing, person(2)]);
    assert_eq!(slots.shown(3), Some((ParticipantId(1), Source::Screen)));
    slots.assign(&[sharing, person(2), person(3)]);
    assert_eq!(slots.shown(3), Some((ParticipantId(1), Source::Screen)));
    assert_eq!(cameras(&slots)[..3], [Some(1), Some(2), Some(3)]);
}

#[test]
fn a_listener_without_video_slots_hears_everyone_who_fits() {
    let mut slots = pairs(3, 0);
    slots.assign(&[person(1), person(2), person(3)]);
    assert_eq!(voices(&slots), [Some(1), Some(2), Some(3)]);
}

#[test]
fn in_a_large_room_a_new_speaker_evicts_the_least_recently_active() {
    let mut slots = pairs(3, 3);
    let mut people: Vec<Candidate> = (1..=6).map(person).collect();
    slots.assign(&people);
    let first = cameras(&slots);
    people[0].last_active = 30;
    people[1].last_active = 10;
    people[2].last_active = 20;
    slots.assign(&people);
    assert_eq!(cameras(&slots), first);
    people[4].speaking = true;
    people[4].last_active = 40;
    slots.assign(&people);
    assert_eq!(cameras(&slots), [Some(1), Some(5), Some(3)]);
    assert_eq!(voices(&slots), [Some(1), Some(5), Some(3)]);
}

#[test]
fn a_speaker_hardly_louder_takes_nobodys_slot() {
    let mut slots = pairs(2, 0);
    let mut people: Vec<Candidate> = (1..=3).map(person).collect();
    for p in &mut people[..2] {
        (p.speaking, p.loudness, p.last_active) = (true, -30, 5);
    }
    slots.assign(&people);
    (people[2].speaking, people[2].loudness, people[2].last_active) = (true, -27, 6);
    slots.assign(&people);
    assert_eq!(voices(&slots), [Some(1), Some(2)]);
    people[2].loudness = -20;
    slots.assign(&people);
    assert!(voices(&slots).contains(&Some(3)));
}

#[test]
fn a_pin_and_a_screen_are_shown_even_if_silent() {
    let mut slots = pairs(2, 2);
    let mut people: Vec<Candidate> = (1..=6).map(person).collect();
    for (i, p) in people.iter_mut().enumerate() {
        p.last_active = 100 - i as u64;
    }
    people[4].pinned = true;
    people[5].screen = Published::Yes;
    slots.assign(&people);
    let shown: Vec<_> = slots.video.iter().filter_map(|v| v.shown).collect();
    assert!(shown.contains(&(ParticipantId(5), Source::Camera)));
    assert!(shown.contains(&(ParticipantId(6), Source::Screen)));
}

fn focus_of(slots: &SlotAssignment) -> Option<(u64, Source, FocusReason)> {
    slots.focus().map(|focus| (focus.participant.0, focus.source, focus.reason))
}

#[test]
fn a_pin_wins_over_a_screen_and_a_screen_over_a_face() {
    let mut slots = pairs(4, 4);
    let mut people = [person(1), person(2), person(3)];
    slots.assign(&people);
    assert_eq!(focus_of(&slots), None, "nobody has spoken");
    people[1].on_stage = true;
    slots.assign(&people);
    assert_eq!(focus_of(&slots), Some((2, Source::Camera, FocusReason::Stage)));
    people[2].screen = Published::Yes;
    slots.assign(&people);
    assert_eq!(focus_of(&slots), Some((3, Source::Screen, FocusReason::Screen)));
    people[0].pinned = true;
    slots.assign(&people);
    assert_eq!(focus_of(&slots), Some((1, Source::Camera, FocusReason::Pinned)));
    people[0].screen = Published::Yes;
    slots.assign(&people);
    assert_eq!(focus_of(&slots), Some((1, Source::Screen, FocusReason::Pinned)));
}

#[test]
fn a_screen_stays_in_focus_while_others_share_theirs() {
    let mut slots = pairs(4, 4);
    let mut people = [person(1), person(2), person(3)];
    people[1].screen = Published::Yes;
    slots.assign(&people);
    people[0].screen = Published::Yes;
    (people[0].on_stage, people[0].last_active) = (true, 9);
    slots.assign(&people);
    assert_eq!(focus_of(&slots), Some((2, Source::Screen, FocusReason::Screen)));
    people[1].screen = Published::Muted;
    slots.assign(&people);
    assert_eq!(focus_of(&slots), Some((1, Source::Screen, FocusReason::Screen)));
}

#[test]
fn the_only_slot_shows_the_focus() {
    let mut slots = pairs(1, 1);
    let mut people: Vec<Candidate> = (1..=4).map(person).collect();
    people[0].last_active = 50;
    people[2].on_stage = true;
    slots.assign(&people);
    assert_eq!(slots.shown(0), Some((ParticipantId(3), Source::Camera)));
    people[3].screen = Published::Yes;
    slots.assign(&people);
    assert_eq!(slots.shown(0), Some((ParticipantId(4), Source::Screen)));
    people[1].pinned = true;
    slots.assign(&people);
    assert_eq!(slots.shown(0), Some((ParticipantId(2), Source::Camera)));
    people[1].screen = Published::Yes;
    slots.assign(&people);
    assert_eq!(slots.shown(0), Some((ParticipantId(2), Source::Screen)));
}

fn published() -> impl Strategy<Value = Published> {
    prop_oneof![Just(Published::No), Just(Published::Muted), Just(Published::Yes)]
}

fn candidate() -> impl Strategy<Value = Candidate> {
    (published(), published(), published(), any::<(bool, bool, bool)>(), -127..0i32, 0..50u64).prop_map(
        |(microphone, camera, screen, (pinned, on_stage, speaking), loudness, last_active)| Candidate {
            participant: ParticipantId(0),
            microphone,
            camera,
            screen,
            pinned,
            on_stage,
            speaking,
            loudness,
            last_active,
            joined: 0,
        },
    )
}

proptest! {
    #[test]
    fn nobody_appears_twice_voices_sit_beside_their_faces_and_a_second_look_changes_nothing(
        audio in 0..5usize, video in 0..5usize, extra in 0..2usize,
        rounds in prop::collection::vec(prop::collection::vec((0..8u64, candidate()), 0..8), 1..8),
    ) {
        let mut slots = SlotAssignment::default();
        let audio_pairs: Vec<_> = (0..audio).map(Some).collect();
        let video_pairs: Vec<_> = (0..video).map(Some).chain((0..extra).map(|_| None)).collect();
        slots.set_slots(&audio_pairs, &video_pairs);
        for round in rounds {
            let mut people: Vec<Candidate> = Vec::new();
            for (id, mut c) in round {
                (c.participant, c.joined) = (ParticipantId(id), id);
                if !people.iter().any(|p| p.participant == c.participant) {
                    people.push(c);
                }
            }
            slots.assign(&people);
            let shown: Vec<Shown> = slots.video.iter().filter_map(|v| v.shown).collect();
            let heard: Vec<ParticipantId> = slots.audio.iter().filter_map(|a| a.heard).collect();
            for (i, s) in shown.iter().enumerate() {
                prop_assert!(!shown[..i].contains(s));
                prop_assert!(people.iter().any(|p| p.participant == s.0));
            }
            for (i, h) in heard.iter().enumerate() {
                prop_assert!(!heard[..i].contains(h));
                prop_assert!(people.iter().any(|p| p.participant == *h));
            }
            for v in &slots.video {
                let (Some(k), Some((who, Source::Camera))) = (v.pair, v.shown) else { continue };
                if !heard.contains(&who) || k >= audio {
                    continue;
                }
                prop_assert_eq!(slots.heard(k), Some(who), "voice apart from its face");
            }
            let voices_wanted = people.iter().filter(|p| p.microphone == Published::Yes).count();
            prop_assert!(heard.len() >= voices_wanted.min(audio), "a free audio slot while somebody waits");
            if let Some(focus) = slots.focus() {
                let theirs = people.iter().find(|p| p.participant == focus.participant);
                let seen = theirs.is_some_and(|p| focus.source == Source::Screen || p.camera == Published::Yes);
                let has_slot = slots.slot_showing((focus.participant, focus.source)).is_some();
                prop_assert!(has_slot || !seen || slots.video.is_empty(), "the focus has no slot");
                prop_assert!(theirs.is_some_and(|p| p.pinned) || !people.iter().any(|p| p.pinned), "a pin was passed over");
            }
            let (before_voices, before_faces) = (voices(&slots), slots.video.iter().map(|v| v.shown).collect::<Vec<_>>());
            slots.assign(&people);
            prop_assert_eq!(before_voices, voices(&slots));
            prop_assert_eq!(before_faces, slots.video.iter().map(|v| v.shown).collect::<Vec<_>>());
        }
    }
}
