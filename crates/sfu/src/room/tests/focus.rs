//! What each participant is meant to look at, and in which size it comes.

use proptest::prelude::*;
use ringback_transport::sdp::PublishLine;

use super::scene::*;
use crate::focus::{Focus, FocusReason};
use crate::level_source::Word;
use crate::stage::PlainStage;

/// The simulcast layers of a camera: SSRC, RID, width, height.
const LAYERS: [(u32, &str, u16, u16); 2] = [(31, "q", 320, 180), (33, "f", 1280, 720)];

/// A room with a plain stage, of people with simulcast cameras who are numbered from 1.
struct Conversation {
    scene: Scene,
    sequence: u16,
}

impl Conversation {
    fn of(people: u64, pairs: usize) -> Self {
        let mut scene = Scene::new(0, 0);
        scene.room.stage = Box::new(PlainStage::new());
        let mut lines = lines(pairs);
        let rids = LAYERS.map(|(_, rid, ..)| rid.to_owned()).to_vec();
        lines[1].publish = Some(PublishLine { rids, ..PublishLine::default() });
        for id in 1..=people {
            scene.join(id, &lines);
        }
        let mut conversation = Self { scene, sequence: 0 };
        conversation.go_on(100, None, true);
        conversation
    }

    /// Everybody sends pictures, and one of them speaks, for so many ms.
    fn go_on(&mut self, ms: u64, speaker: Option<usize>, keyframes: bool) {
        for _ in 0..ms / 20 {
            self.sequence += 1;
            for member in self.scene.keys.clone() {
                let level = if speaker == Some(member) { 20 } else { 127 };
                let payload = vec![0x48; 60 + usize::from(self.sequence) * 7 % 23];
                let timestamp = u32::from(self.sequence) * 960;
                self.scene.send(member, &rtp(10, OPUS, self.sequence, timestamp, &[(LEVEL, &[level])], &payload));
                for layer in 0..LAYERS.len() {
                    self.picture(member, layer, keyframes);
                }
            }
            self.scene.pass(20 * MS);
        }
    }

    fn picture(&mut self, member: usize, layer: usize, key: bool) {
        let (ssrc, rid, width, height) = LAYERS[layer];
        let mut payload = vp8_payload(self.sequence, key);
        if key {
            payload[10..12].copy_from_slice(&width.to_le_bytes());
            payload[12..14].copy_from_slice(&height.to_le_bytes());
        }
        let extensions: &[(u8, &[u8])] = &[(MID, b"cam"), (RID, rid.as_bytes())];
        let timestamp = u32::from(self.sequence) * 1_800;
        self.scene.send(member, &rtp(ssrc, VP8, self.sequence, timestamp, extensions, &payload));
    }

    /// One shows these slots in these sizes.
    fn show(&mut self, member: usize, sizes: &[(&str, u32, u32)]) {
        let view = |&(mid, width, height): &(&str, u32, u32)| SlotView { mid: mid.into(), width, height };
        self.scene.room.set_view(member, &sizes.iter().map(view).collect::<Vec<_>>());
        self.scene.room.settle(self.scene.now, &mut self.scene.sink);
    }

    fn focus_of(&mut self, member: usize) -> Option<Focus> {
        self.scene.room.subscribers[member].assignment.focus()
    }

    /// The layer that flows in a slot of a member, by its place.
    fn layer(&self, member: usize, mid: &str) -> Option<u8> {
        let slot = self.scene.room.subscribers[member].slots.iter().find(|slot| slot.mid == mid)?;
        slot.flowing().map(|layer| layer.layer)
    }
}

fn stage(participant: u64) -> Option<Focus> {
    Some(Focus { participant: ParticipantId(participant), source: Source::Camera, reason: FocusReason::Stage })
}

#[test]
fn nobody_looks_at_themselves_but_at_who_spoke_before() {
    let mut room = Conversation::of(3, 2);
    room.go_on(200, Some(0), false);
    assert_eq!([0, 1, 2].map(|member| room.focus_of(member)), [None, stage(1), stage(1)]);
    room.go_on(1_500, Some(1), false);
    assert_eq!([0, 1, 2].map(|member| room.focus_of(member)), [stage(2), stage(1), stage(2)]);
    room.go_on(1_500, Some(2), false);
    assert_eq!([0, 1, 2].map(|member| room.focus_of(member)), [stage(3), stage(3), stage(2)]);
    // Whoever spoke before has left: the one before them.
    let now = room.scene.now;
    room.scene.room.leave(now, 1);
    room.scene.room.settle(now, &mut room.scene.sink);
    assert_eq!(room.focus_of(2), stage(1));
}

#[test]
fn each_is_told_their_own_focus_when_it_changes_and_only_then() {
    let mut room = Conversation::of(3, 2);
    room.scene.events();
    let told = |room: &mut Conversation| -> Vec<(u64, Option<Focus>)> {
        let events = room.scene.events().into_iter();
        events
            .filter_map(|event| match event {
                SfuEvent::Focus { participant, focus, .. } => Some((participant.0, focus)),
                _ => None,
            })
            .collect()
    };
    room.go_on(400, Some(0), false);
    assert_eq!(told(&mut room), [(2, stage(1)), (3, stage(1))]);
    room.scene.room.set_pin(2, Some(ParticipantId(2)));
    room.go_on(1_500, Some(1), false);
    let pinned = Focus { participant: ParticipantId(2), source: Source::Camera, reason: FocusReason::Pinned };
    assert_eq!(told(&mut room), [(3, Some(pinned)), (1, stage(2))]);
    // A pin on oneself is no pin.
    room.scene.room.set_pin(2, Some(ParticipantId(3)));
    room.go_on(100, Some(1), false);
    assert_eq!(told(&mut room), [(3, stage(2))]);
}

#[test]
fn who_plays_one_participant_gets_nobody_else_while_they_are_silent_muted_or_gone() {
    let mut room = Conversation::of(4, 1);
    room.scene.room.play_only(3, ParticipantId(1));
    room.go_on(1_500, Some(1), false);
    let got = |room: &Conversation| {
        let slots = &room.scene.room.subscribers[3].assignment;
        (slots.heard(0), slots.shown(0))
    };
    let one = (Some(ParticipantId(1)), Some((ParticipantId(1), Source::Camera)));
    assert_eq!(room.focus_of(2), stage(2), "the others follow the stage");
    assert_eq!((got(&room), room.focus_of(3)), (one, None));
    let now = room.scene.now;
    room.scene.room.set_muted(now, 0, Source::Camera, true);
    room.scene.room.set_muted(now, 0, Source::Microphone, true);
    room.go_on(1_500, Some(2), false);
    assert_eq!(got(&room), one, "their slots wait for them");
    room.scene.room.leave(now, 0);
    room.go_on(100, Some(2), false);
    assert_eq!(got(&room), (None, None));
}

#[test]
fn the_new_speakers_larger_layer_is_asked_for_before_the_client_does_and_comes_with_its_keyframe() {
    let mut room = Conversation::of(3, 2);
    room.show(2, &[("v0", 1280, 720), ("v1", 200, 112)]);
    room.go_on(200, Some(0), true);
    assert_eq!((room.layer(2, "v0"), room.layer(2, "v1")), (Some(1), Some(0)));
    room.scene.sink.take_plis(1);
    while room.focus_of(2) != stage(2) {
        room.go_on(20, Some(1), false);
    }
    room.go_on(20, Some(1), false);
    assert!(room.scene.sink.take_plis(1).contains(&33), "nobody asked for the larger layer");
    assert_eq!(room.layer(2, "v1"), Some(0), "the small one flows until the large one has a keyframe");
    room.go_on(20, Some(1), true);
    assert_eq!(room.layer(2, "v1"), Some(1));
    // The client follows: the one before goes down to its strip.
    room.show(2, &[("v0", 200, 112), ("v1", 1280, 720)]);
    room.go_on(200, Some(1), true);
    assert_eq!((room.layer(2, "v0"), room.layer(2, "v1")), (Some(0), Some(1)));
    // And back again.
    room.go_on(1_500, Some(0), true);
    assert_eq!(room.layer(2, "v0"), Some(1));
}

#[test]
fn a_client_that_does_not_follow_is_soon_taken_at_its_word() {
    let mut room = Conversation::of(3, 2);
    room.show(2, &[("v0", 1280, 720), ("v1", 200, 112)]);
    room.go_on(300, Some(0), true);
    let mut large = 0;
    // Speakers take turns, and the first stays the large one.
    for turn in 1..12 {
        for _ in 0..150 {
            room.go_on(20, Some(turn % 2), true);
            large += u32::from(room.layer(2, "v1") == Some(1));
        }
        assert_eq!(room.layer(2, "v1"), Some(0), "turn {turn}: it goes down again");
    }
    assert!((50..=200).contains(&large), "large for {} ms", large * 20);
}

#[test]
fn tiles_of_one_size_stay_as_they_are_whoever_speaks() {
    let mut room = Conversation::of(3, 2);
    room.show(2, &[("v0", 320, 180), ("v1", 320, 180)]);
    for turn in 0..6 {
        room.go_on(1_500, Some(turn % 2), true);
        assert_eq!((room.layer(2, "v0"), room.layer(2, "v1")), (Some(0), Some(0)), "turn {turn}");
    }
}

#[test]
fn a_hidden_tile_is_sent_once_its_owner_speaks() {
    let mut room = Conversation::of(3, 2);
    room.show(2, &[("v0", 1280, 720), ("v1", 0, 0)]);
    room.go_on(300, Some(0), true);
    assert_eq!(room.layer(2, "v1"), None);
    while room.focus_of(2) != stage(2) {
        room.go_on(20, Some(1), true);
    }
    room.go_on(40, Some(1), true);
    assert_eq!(room.layer(2, "v1"), Some(1));
}

#[derive(Debug, Clone)]
enum Act {
    Talk(usize),
    Pin(usize, u64),
    Unpin(usize),
    Mute(usize, Source, bool),
    Admit(usize, bool),
    Leave(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let who = || 0..4_usize;
    let source = prop_oneof![Just(Source::Microphone), Just(Source::Camera)];
    prop_oneof![
        4 => who().prop_map(Act::Talk),
        2 => (who(), 1..=4_u64).prop_map(|(who, pinned)| Act::Pin(who, pinned)),
        1 => who().prop_map(Act::Unpin),
        1 => (who(), source, any::<bool>()).prop_map(|(who, source, muted)| Act::Mute(who, source, muted)),
        1 => (who(), any::<bool>()).prop_map(|(who, admitted)| Act::Admit(who, admitted)),
        1 => who().prop_map(Act::Leave),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_happens_nobody_looks_at_themselves_or_at_nobody_and_pins_hold(
        acts in prop::collection::vec(act(), 1..20), pairs in 1..4_usize,
    ) {
        let mut room = Conversation::of(4, pairs);
        for act in acts {
            let now = room.scene.now;
            match act {
                Act::Talk(who) => room.go_on(700, Some(who), true),
                Act::Pin(who, pinned) => room.scene.room.set_pin(who, Some(ParticipantId(pinned))),
                Act::Unpin(who) => room.scene.room.set_pin(who, None),
                Act::Mute(who, source, muted) => room.scene.room.set_muted(now, who, source, muted),
                Act::Admit(who, admitted) => room.scene.room.set_admitted(now, who, admitted),
                Act::Leave(who) => {
                    room.scene.room.leave(now, who);
                    room.scene.keys.retain(|&key| key != who);
                }
            }
            room.scene.room.settle(room.scene.now, &mut room.scene.sink);
            let on_stage = room.scene.room.stage.on_stage();
            let here = |room: &Conversation, id| {
                room.scene.room.members.iter().any(|(_, m)| m.id == id && m.admitted)
            };
            for key in room.scene.keys.clone() {
                let (me, admitted) = (room.scene.room.members[key].id, room.scene.room.members[key].admitted);
                let pin = room.scene.room.subscribers[key].pin.filter(|&pin| pin != me && here(&room, pin));
                let focus = room.focus_of(key);
                let looked_at = focus.map(|focus| focus.participant);
                prop_assert_ne!(looked_at, Some(me));
                prop_assert!(looked_at.is_none_or(|who| here(&room, who)));
                if admitted {
                    prop_assert!(pin.is_none() || looked_at == pin, "{me} pinned {pin:?} and looks at {focus:?}");
                    let others = on_stage.filter(|&who| who != me && pin.is_none());
                    prop_assert!(others.is_none() || looked_at == others, "{me} looks at {focus:?}, {others:?} is on the stage");
                }
            }
        }
    }
}

#[test]
fn whoever_watches_the_stage_is_told_what_is_made_of_everybody_and_nobody_else_is() {
    let mut room = Conversation::of(3, 2);
    let told = |room: &mut Conversation| -> Vec<SfuEvent> {
        let events = room.scene.events().into_iter();
        events.filter(|event| matches!(event, SfuEvent::StageReadings { .. })).collect()
    };
    room.go_on(1_000, Some(1), false);
    assert_eq!(told(&mut room), []);
    room.scene.room.watch_stage(2, true);
    room.go_on(1_000, Some(1), false);
    let events = told(&mut room);
    assert!((8..=11).contains(&events.len()), "{} times in a second", events.len());
    let Some(SfuEvent::StageReadings { watchers, on_stage, readings, .. }) = events.last() else { panic!() };
    assert_eq!((&watchers[..], *on_stage), (&[ParticipantId(3)][..], Some(ParticipantId(2))));
    let (first, reading, word) = readings[0];
    assert_eq!((first, word, readings.len()), (ParticipantId(2), Word::Client, 3));
    assert!(reading.speaking && (-24..=-16).contains(&reading.level), "{reading:?}");
    room.scene.room.leave(room.scene.now, 2);
    room.scene.keys.pop();
    room.go_on(500, Some(1), false);
    assert_eq!(told(&mut room), []);
}
