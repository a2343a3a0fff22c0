//! Publishers that answer no request for a keyframe.

use super::scene::*;
use crate::last_keyframe::MAX_AGE;

/// A camera that sends a keyframe each so many packets, whatever it is asked; ten packets a second.
struct Deaf {
    scene: Scene,
    sequence: u16,
    every: u16,
}

impl Deaf {
    /// One viewer is there from the start.
    fn new(every: u16) -> Self {
        Self { scene: Scene::new(2, 1), sequence: 1, every }
    }

    /// Sends so many packets.
    fn go_on(&mut self, packets: u16) {
        for _ in 0..packets {
            self.scene.send(0, &face(self.sequence, self.sequence.is_multiple_of(self.every)));
            self.sequence += 1;
            self.scene.pass(100 * MS);
        }
    }

    /// The pictures that somebody got of the publisher since the last look, as (outgoing number, picture).
    fn got(&mut self, key: usize) -> Vec<(u16, u8)> {
        let video = self.scene.sink.take(key).into_iter().filter(|(header, _)| header.ssrc == 1001);
        video.map(|(header, payload)| (header.sequence, payload[payload.len() - 1])).collect()
    }
}

#[test]
fn whoever_begins_to_look_sees_the_last_keyframe_at_once_and_motion_from_the_next() {
    let mut room = Deaf::new(40);
    room.go_on(39 + 25);
    let early = room.got(1);
    assert_eq!(
        early.first().map(|(_, picture)| *picture),
        Some(40),
        "who was there from the start waits for the first"
    );
    assert_eq!(early.len(), 25);

    room.scene.events();
    let key = room.scene.join(3, &lines(2));
    let still = room.got(key);
    assert_eq!(still.iter().map(|(_, picture)| *picture).collect::<Vec<_>>(), [40]);
    let mapping = room.scene.mapping(3, "v0").unwrap();
    assert_eq!((mapping.participant, mapping.reason), (Some(ParticipantId(1)), None));
    assert!(mapping.rtp_timestamp.is_some());

    room.scene.sink.take_plis(0);
    room.go_on(15);
    assert_eq!(room.got(key), [], "what follows a missing picture is not sent");
    assert!(!room.scene.sink.take_plis(0).is_empty(), "it is asked all the same");
    assert!(room.scene.mapping(3, "v0").is_none());
    room.go_on(3);
    let motion = room.got(key);
    assert_eq!(motion.iter().map(|(_, picture)| *picture).collect::<Vec<_>>(), [80, 81, 82]);
    let numbers: Vec<u16> = motion.iter().map(|(number, _)| number.wrapping_sub(still[0].0)).collect();
    assert_eq!(numbers, [1, 2, 3], "one stream without a gap");
    assert_eq!(room.got(1).len(), 18, "nobody else noticed");
}

#[test]
fn a_still_is_not_older_than_its_bound_and_gone_with_muting() {
    let mut room = Deaf::new(200);
    room.go_on(199 + 50);
    let key = room.scene.join(3, &lines(2));
    assert_eq!(room.got(key).len(), 1);
    room.scene.room.leave(room.scene.now, key);
    let packets = (MAX_AGE.as_millis() / 100) as u16;
    room.go_on(packets);
    let late = room.scene.join(4, &lines(2));
    assert_eq!(room.got(late), []);

    let mut room = Deaf::new(40);
    room.go_on(45);
    for muted in [true, false] {
        room.scene.room.set_muted(room.scene.now, 0, Source::Camera, muted);
        room.scene.room.settle(room.scene.now, &mut room.scene.sink);
        room.scene.send(0, &face(room.sequence, muted));
        room.sequence += 1;
    }
    let key = room.scene.join(3, &lines(2));
    assert_eq!(room.got(key), [], "neither what was sent before muting nor what was sent while muted");
}

#[test]
fn a_publisher_that_answers_is_shown_from_its_answer_on() {
    let mut scene = Scene::new(2, 1);
    assert_eq!(scene.sink.take_plis(0), [20]);
    scene.send(0, &face(1, true));
    for (sequence, viewer) in [(2, 3), (12, 4)] {
        for sequence in sequence..sequence + 9 {
            scene.send(0, &face(sequence, false));
            scene.pass(100 * MS);
        }
        let key = scene.join(viewer, &lines(2));
        scene.pass(300 * MS);
        assert_eq!(scene.sink.take(key).len(), 0);
        scene.send(0, &face(sequence + 9, true));
        assert_eq!(scene.sink.take(key).len(), 1);
    }
    let kept = &mut scene.room.publishers[0].tracks[1].layers[0].last_keyframe;
    assert_eq!(kept.packets(scene.now).count(), 0, "nothing is kept of it");
}

#[test]
fn a_publisher_that_is_asked_for_the_first_time_has_half_a_second_before_a_still_is_shown() {
    let mut scene = Scene::new(2, 1);
    for sequence in 1..30 {
        scene.send(0, &face(sequence, sequence == 1));
        scene.pass(100 * MS);
    }
    let key = scene.join(3, &lines(2));
    scene.pass(400 * MS);
    assert_eq!(scene.sink.take(key).len(), 0);
    scene.pass(400 * MS);
    assert_eq!(scene.sink.take(key).len(), 1);
}
