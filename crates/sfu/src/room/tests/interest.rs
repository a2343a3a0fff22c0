//! Which layers publishers are told to send, and what a slot gets until they come.

use super::meeting::Meeting;
use super::scene::*;

const SECOND: u64 = 1_000;

impl Meeting {
    /// What the first camera was told since the last look: the wanted layers, each time.
    fn told_layers(&mut self) -> Vec<Vec<String>> {
        let events = self.scene.events().into_iter();
        events
            .filter_map(|event| match event {
                SfuEvent::Layers { participant: ParticipantId(1), source: Source::Camera, wanted, .. } => Some(wanted),
                _ => None,
            })
            .collect()
    }

    fn show(&mut self, width: u32, height: u32) {
        let (now, looker) = (self.scene.now, self.looker());
        self.scene.room.set_view(looker, &[SlotView { mid: "v0".into(), width, height }]);
        self.scene.room.settle(now, &mut self.scene.sink);
    }
}

#[test]
fn the_large_layer_of_a_hidden_picture_is_off_after_a_while_and_on_again_at_once() {
    let mut meeting = Meeting::of(1);
    meeting.show(0, 0);
    meeting.go_on(4 * SECOND);
    assert!(meeting.told_layers().is_empty());
    meeting.go_on(2 * SECOND);
    assert_eq!(meeting.told_layers(), [["q"]], "the small one stays, for whoever comes");
    meeting.silent = vec![1];
    meeting.go_on(10 * SECOND);
    assert!(meeting.told_layers().is_empty());

    meeting.show(1280, 720);
    assert_eq!(meeting.told_layers(), [["q", "f"]]);
    meeting.go_on(SECOND);
    assert_eq!(meeting.second(), [(1001, 150)], "the small one is seen meanwhile");
    meeting.silent.clear();
    meeting.go_on(SECOND);
    assert_eq!(meeting.second(), [(1001, 900)]);
    assert!(meeting.told_layers().is_empty());
}

#[test]
fn a_picture_that_is_hidden_for_a_moment_costs_no_restart() {
    let mut meeting = Meeting::of(1);
    for _ in 0..5 {
        meeting.show(0, 0);
        meeting.go_on(3 * SECOND);
        meeting.show(1280, 720);
        meeting.go_on(SECOND);
    }
    assert!(meeting.told_layers().is_empty());
}

#[test]
fn a_layer_that_does_not_come_when_it_is_wanted_is_done_without() {
    let mut meeting = Meeting::of(1);
    meeting.show(300, 170);
    meeting.go_on(7 * SECOND);
    assert_eq!(meeting.told_layers(), [["q"]]);
    meeting.silent = vec![1];
    meeting.go_on(3 * SECOND);
    meeting.scene.sink.take_plis(0);
    meeting.show(1280, 720);
    assert_eq!(meeting.told_layers(), [["q", "f"]]);
    meeting.go_on(2 * SECOND);
    assert!(!meeting.scene.sink.take_plis(0).contains(&33), "it begins with a keyframe by itself");
    meeting.go_on(3 * SECOND);
    assert_eq!(meeting.second(), [(1001, 150)]);
    let looker = meeting.looker();
    let slot = meeting.scene.room.subscribers[looker].slots.iter().find(|slot| slot.mid == "v0").unwrap();
    assert_eq!(slot.wanted().map(|key| key.layer), Some(0));
}

#[test]
fn a_layer_that_its_publisher_cannot_send_yet_stays_wanted() {
    let mut meeting = Meeting::silent_of(1, &[1]);
    meeting.go_on(20 * SECOND);
    assert!(meeting.told_layers().is_empty());
    meeting.silent.clear();
    meeting.go_on(SECOND);
    assert_eq!(meeting.second(), [(1001, 900)]);
    meeting.silent = vec![1];
    meeting.go_on(20 * SECOND);
    assert_eq!(meeting.second(), [(1001, 150)]);
    assert!(meeting.told_layers().is_empty(), "its uplink may be thin for a while");
}

#[test]
fn what_nobody_could_look_at_yet_is_ready_for_whoever_comes() {
    let mut meeting = Meeting::of(1);
    let looker = meeting.looker();
    meeting.scene.room.leave(meeting.scene.now, looker);
    meeting.go_on(30 * SECOND);
    assert!(meeting.told_layers().is_empty());
}

#[test]
fn what_is_recorded_is_wanted() {
    let mut meeting = Meeting::of(1);
    meeting.show(0, 0);
    let (now, sink) = (meeting.scene.now, &mut meeting.scene.sink);
    let tap = meeting.scene.room.tap(now, 0, vec![Source::Camera], sink);
    meeting.go_on(15 * SECOND);
    assert!(meeting.told_layers().is_empty());
    drop(tap);
    meeting.go_on(8 * SECOND);
    assert_eq!(meeting.told_layers(), [["q"]]);
}

#[test]
fn a_layer_that_no_network_can_take_is_off() {
    let mut meeting = Meeting::of(1);
    meeting.limit(200_000);
    meeting.go_on(8 * SECOND);
    assert_eq!(meeting.told_layers(), [["q"]]);
    meeting.silent = vec![1];
    meeting.go_on(10 * SECOND);
    meeting.limit(2_000_000);
    meeting.go_on(5 * SECOND + 500);
    assert_eq!(meeting.told_layers(), [["q", "f"]], "what it took is remembered");
    meeting.silent.clear();
    meeting.go_on(SECOND);
    assert_eq!(meeting.second(), [(1001, 900)]);
}
