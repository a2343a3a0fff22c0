//! How often a room decides anew who gets what while people come and go in a rush, and what does not wait for it.

use std::time::Duration;

use super::scene::*;

/// People in the room before the rush.
const THERE: u64 = 50;

/// Lets somebody in as a worker does. Whether the room has looked at it, or leaves it for later.
fn come(scene: &mut Scene, id: u64) -> (usize, bool) {
    let (key, _) = scene.room.join(scene.now, ParticipantId(id), &lines(2), &claims()).unwrap();
    scene.room.settle_in_time(scene.now, &mut scene.sink);
    scene.room.set_connected(key, true);
    scene.room.settle_in_time(scene.now, &mut scene.sink);
    (key, !scene.room.changed)
}

/// A room in which nothing has changed for a while.
fn room() -> Scene {
    let mut scene = Scene::new(THERE, 2);
    scene.send(0, &voice(1, 30));
    scene.pass(Duration::from_secs(1));
    scene.events();
    scene.sink = Collected::default();
    scene
}

#[test]
fn a_rush_of_newcomers_is_looked_at_once_when_it_begins_and_once_for_all_others_together() {
    let mut scene = room();
    let (began, mut came, mut looks) = (scene.now, Vec::new(), 0);
    for id in 0..30 {
        let (key, _) = come(&mut scene, THERE + 1 + id);
        came.push(key);
        looks += u32::from(scene.room.looked == Some(scene.now));
        scene.now += MS / 5;
    }
    assert_eq!(looks, 1, "the first alone");
    let due = scene.room.poll_timeout();
    assert!(due <= began + TICK, "{:?}", due - began);
    scene.now = due;
    scene.room.handle_timeout(due, &mut scene.sink);
    assert!(!scene.room.changed && scene.room.looked == Some(due));
    scene.send(0, &voice(2, 30));
    let heard = came.iter().filter(|key| scene.sink.rtp.iter().any(|(to, _)| to == *key)).count();
    assert_eq!(heard, came.len(), "everybody who came hears from then on");
}

#[test]
fn who_comes_or_goes_alone_is_heeded_at_once() {
    let mut scene = room();
    let (key, _) = scene.room.join(scene.now, ParticipantId(99), &lines(2), &claims()).unwrap();
    scene.room.settle_in_time(scene.now, &mut scene.sink);
    assert!(!scene.room.changed);
    // A handshake later.
    scene.pass(MS * 25);
    scene.room.set_connected(key, true);
    scene.room.settle_in_time(scene.now, &mut scene.sink);
    assert!(!scene.room.changed);
    scene.send(0, &voice(2, 30));
    assert_eq!(scene.sink.take(key).len(), 1);
    scene.pass(MS * 25);
    scene.room.leave(scene.now, key);
    scene.room.settle_in_time(scene.now, &mut scene.sink);
    assert!(!scene.room.changed);
}

#[test]
fn in_a_call_of_two_a_look_waits_for_less_than_a_millisecond() {
    let mut scene = Scene::new(1, 1);
    scene.pass(MS * 100);
    let (_, looked) = come(&mut scene, 2);
    assert!(!looked);
    assert!(scene.room.poll_timeout() < scene.now + MS);
}

#[test]
fn whoever_takes_the_number_of_one_who_left_before_the_next_look_gets_nothing_that_was_theirs() {
    let mut scene = room();
    let mut joined = Vec::new();
    for id in 0..2 {
        joined.push(come(&mut scene, THERE + 1 + id).0);
    }
    scene.pass(MS * 25);
    scene.send(0, &voice(2, 30));
    assert!(scene.sink.rtp.iter().any(|(to, _)| *to == joined[1]));
    scene.sink.rtp.clear();

    scene.room.set_pin(1, Some(ParticipantId(3)));
    scene.room.settle_in_time(scene.now, &mut scene.sink);
    scene.room.leave(scene.now, joined[1]);
    scene.room.settle_in_time(scene.now, &mut scene.sink);
    let (key, looked) = come(&mut scene, 200);
    assert!(key == joined[1] && !looked);
    scene.room.handle_rtp(scene.now, 0, &voice(3, 30), &mut scene.sink);
    assert!(scene.sink.rtp.iter().all(|(to, _)| *to != key) && !scene.sink.rtp.is_empty());
    scene.pass(MS * 25);
    scene.send(0, &voice(4, 30));
    assert!(scene.sink.rtp.iter().any(|(to, _)| *to == key));
}

#[test]
fn who_mutes_or_is_put_aside_in_a_rush_does_not_wait_for_it_to_end() {
    let mut scene = room();
    come(&mut scene, 99);
    assert!(!come(&mut scene, 100).1);
    scene.room.set_admitted(scene.now, 1, false);
    scene.room.settle_in_time(scene.now, &mut scene.sink);
    scene.sink.rtp.clear();
    scene.room.handle_rtp(scene.now, 0, &voice(2, 30), &mut scene.sink);
    assert!(scene.sink.rtp.iter().all(|(to, _)| *to != 1) && !scene.sink.rtp.is_empty());

    assert!(!come(&mut scene, 101).1);
    scene.room.set_muted(scene.now, 0, Source::Microphone, true);
    scene.room.settle_in_time(scene.now, &mut scene.sink);
    assert!(!scene.room.changed);
}
