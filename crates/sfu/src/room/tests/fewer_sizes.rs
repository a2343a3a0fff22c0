//! Publishers of streams that hold all sizes of a picture (SVC), who are told which of these nobody wants, and do as they are told.

use ringback_transport::sdp::CodecName;

use super::scene::*;
use super::spatial::{Camera, Pair, lines_of};
use crate::SlotView;
use crate::events::SpatialLayers;

/// Pictures in a second.
const SECOND: u16 = 50;

const LARGE: (u32, u32) = (1280, 720);
const SMALL: (u32, u32) = (160, 90);

impl Pair {
    fn of(name: CodecName, sizes: u8) -> Self {
        let mut pair = Self::new(Camera::new(name, sizes, true));
        pair.look(LARGE);
        pair.go_on(2 * SECOND);
        assert_eq!((pair.sizes(), pair.told()), (vec![(sizes, 100)], vec![]));
        pair
    }

    /// What the camera was told since the last look.
    fn told(&mut self) -> Vec<(u8, u8)> {
        let events = self.scene.events().into_iter();
        events
            .filter_map(|event| match event {
                SfuEvent::Layers { source: Source::Camera, spatial: Some(SpatialLayers { wanted, of }), .. } => {
                    Some((wanted, of))
                }
                _ => None,
            })
            .collect()
    }

    /// The camera does as it is told, once: so many sizes from a keyframe on.
    fn encode(&mut self, sizes: u8) {
        (self.camera.sizes, self.camera.is_new) = (sizes, true);
    }

    /// Looks so, and then nothing larger is wanted for so long that the camera knows, and does as it is told.
    fn settle_on(&mut self, view: (u32, u32), sizes: u8) {
        self.look(view);
        self.go_on(6 * SECOND);
        let all = self.camera.sizes;
        assert_eq!(self.told(), [(sizes, all)]);
        self.encode(sizes);
        self.go_on(SECOND);
        self.sizes();
        self.keyframes = 0;
    }
}

#[test]
fn sizes_that_nobody_looks_at_are_not_encoded_and_come_back_with_one_keyframe() {
    for name in [CodecName::Vp9, CodecName::Av1] {
        let mut pair = Pair::of(name, 3);
        pair.look(SMALL);
        pair.go_on(4 * SECOND);
        assert!(pair.told().is_empty(), "a while passes first");
        pair.go_on(2 * SECOND);
        assert_eq!(pair.told(), [(1, 3)]);
        pair.encode(1);
        pair.sizes();
        pair.go_on(20 * SECOND);
        assert_eq!((pair.sizes(), pair.told()), (vec![(1, 1_000)], vec![]));

        pair.keyframes = 0;
        pair.look(LARGE);
        assert_eq!(pair.told(), [(3, 3)], "at once");
        pair.go_on(SECOND / 2);
        assert_eq!((pair.sizes(), pair.keyframes), (vec![(1, 25)], 0), "{name:?}: the small one is seen meanwhile");
        pair.encode(3);
        pair.go_on(20 * SECOND);
        assert_eq!((pair.sizes(), pair.keyframes, pair.told()), (vec![(3, 1_000)], 1, vec![]));
    }
}

#[test]
fn of_three_sizes_the_medium_one_is_reached_from_both_sides() {
    let mut pair = Pair::of(CodecName::Vp9, 3);
    pair.settle_on((640, 360), 2);
    pair.look(SMALL);
    pair.go_on(6 * SECOND);
    assert_eq!(pair.told(), [(1, 3)]);
    pair.encode(1);
    pair.go_on(SECOND);
    pair.look((640, 360));
    assert_eq!(pair.told(), [(2, 3)]);
    pair.encode(2);
    pair.sizes();
    pair.go_on(10 * SECOND);
    assert_eq!((pair.sizes(), pair.told()), (vec![(2, 500)], vec![]));
    pair.look(LARGE);
    assert_eq!(pair.told(), [(3, 3)]);
}

#[test]
fn looking_away_for_a_moment_costs_no_restart() {
    let mut pair = Pair::of(CodecName::Vp9, 2);
    for _ in 0..5 {
        pair.look(SMALL);
        pair.go_on(3 * SECOND);
        pair.look((640, 360));
        pair.go_on(SECOND);
    }
    assert!(pair.told().is_empty());
}

#[test]
fn whoever_comes_later_with_a_large_view_gets_all_sizes_and_who_was_there_the_small_one_only() {
    let mut pair = Pair::of(CodecName::Vp9, 3);
    pair.settle_on(SMALL, 1);
    let other = pair.scene.join(3, &lines_of(CodecName::Vp9));
    pair.scene.room.set_view(other, &[SlotView { mid: "v0".into(), width: LARGE.0, height: LARGE.1 }]);
    pair.go_on(2);
    assert_eq!(pair.told(), [(3, 3)]);
    pair.encode(3);
    pair.go_on(SECOND);
    pair.sizes();
    pair.scene.sink.take(other);
    pair.go_on(2 * SECOND);
    assert_eq!(pair.sizes(), [(1, 100)], "not even the keyframe's");
    let came = pair.scene.sink.take(other).into_iter().filter(|(header, _)| header.ssrc == 1001);
    assert_eq!(came.map(|(_, payload)| payload.last().copied()).max(), Some(Some(2)));
    // Who leaves takes the wish along.
    pair.scene.room.leave(pair.scene.now, other);
    pair.go_on(6 * SECOND);
    assert_eq!(pair.told(), [(1, 3)]);
}

#[test]
fn who_looks_on_small_is_not_sent_the_larger_sizes_of_the_keyframe_that_another_asked_for() {
    let mut pair = Pair::of(CodecName::Vp9, 3);
    pair.settle_on(SMALL, 1);
    let other = pair.scene.join(3, &lines_of(CodecName::Vp9));
    pair.scene.room.set_view(other, &[SlotView { mid: "v0".into(), width: LARGE.0, height: LARGE.1 }]);
    pair.go_on(1);
    pair.encode(3);
    pair.go_on(SECOND);
    assert_eq!(pair.sizes(), [(1, 51)]);
}

#[test]
fn a_size_that_does_not_come_when_it_is_wanted_is_done_without() {
    let mut pair = Pair::of(CodecName::Vp9, 3);
    pair.settle_on(SMALL, 1);
    pair.look(LARGE);
    assert_eq!(pair.told(), [(3, 3)]);
    // Its network carries one more only.
    pair.encode(2);
    pair.go_on(20 * SECOND);
    assert_eq!((pair.sizes(), pair.told()), (vec![(2, 1_000)], vec![]));
    assert_eq!(pair.keyframes, 1);
    pair.encode(3);
    pair.go_on(SECOND);
    assert_eq!(pair.sizes(), [(3, 50)], "and it is had when it comes by itself");
}

#[test]
fn who_goes_on_sending_all_sizes_is_asked_for_a_keyframe_as_ever() {
    let mut pair = Pair::of(CodecName::Vp9, 3);
    pair.look(SMALL);
    pair.go_on(20 * SECOND);
    assert_eq!(pair.told(), [(1, 3)]);
    pair.sizes();
    pair.look(LARGE);
    assert_eq!(pair.told(), [(3, 3)]);
    pair.go_on(SECOND);
    let sizes = pair.sizes();
    assert!(matches!(sizes[..], [(3, 49..=50)] | [(1, 1), (3, 49)]), "{sizes:?}");
}

#[test]
fn a_size_that_no_network_can_take_is_not_encoded_and_is_tried_again_ever_more_seldom() {
    let mut pair = Pair::of(CodecName::Vp9, 3);
    pair.limit(Some(120_000));
    let mut changes = 0;
    for _ in 0..120 {
        pair.go_on(SECOND);
        for (wanted, _) in pair.told() {
            changes += 1;
            pair.encode(wanted);
        }
    }
    assert!((1..=2).contains(&changes), "{changes} changes in two minutes");
    assert_eq!(pair.camera.sizes, 1);
    pair.limit(Some(3_000_000));
    pair.go_on(5 * SECOND);
    assert_eq!(pair.told().last(), Some(&(3, 3)));
}

#[test]
fn a_network_that_carried_a_size_before_it_was_left_out_gets_it_back_when_it_carries_it_again() {
    let mut pair = Pair::of(CodecName::Vp9, 3);
    let encoded = |pair: &mut Pair, limit, seconds| {
        pair.limit(Some(limit));
        for _ in 0..seconds {
            pair.go_on(SECOND);
            if let Some((wanted, _)) = pair.told().pop() {
                pair.encode(wanted);
            }
        }
        pair.camera.sizes
    };
    // The medium one takes 180 kbit/s, of which a guess from its pixels would make 500.
    assert_eq!(encoded(&mut pair, 400_000, 12), 2);
    assert_eq!(encoded(&mut pair, 100_000, 12), 1);
    assert_eq!(encoded(&mut pair, 400_000, 70), 2);
    pair.sizes();
    pair.go_on(SECOND);
    assert_eq!(pair.sizes(), [(2, 50)]);
}
