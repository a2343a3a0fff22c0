//! Large rooms on virtual time: however many come, go and change at once, everybody is told of it together; and whoever puts together what
//! they were told knows who is there.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use ringback_signaling::media::MediaEvent;
use ringback_signaling::protocol::{Event, Participant, Party, Quality, QualityLevel, Source, TrackClaim};
use ringback_signaling::rooms::{Newcomer, RoomOutput, RoomView, Rooms, RoomsConfig};

const ROOM: &str = "hall";

fn party(n: usize) -> Party {
    Party { user: format!("u{n}"), device: "pc".into() }
}

fn newcomer(n: usize, id: &str) -> Newcomer {
    let tracks = vec![TrackClaim { mid: "0".into(), source: Source::Microphone, muted: false }];
    Newcomer { participant: id.into(), party: party(n), name: format!("User {n}"), tracks }
}

fn read(view: &RoomView) -> Vec<Participant> {
    serde_json::from_str(&serde_json::to_string(&view.roster).unwrap()).unwrap()
}

fn outputs(rooms: &mut Rooms) -> Vec<RoomOutput> {
    std::iter::from_fn(|| rooms.poll_output()).collect()
}

/// What is told, and to how many.
fn told(rooms: &mut Rooms) -> Vec<(usize, Event)> {
    let outputs = outputs(rooms).into_iter();
    outputs
        .filter_map(|output| match output {
            RoomOutput::Tell(parties, event) => Some((parties.len(), event)),
            _ => None,
        })
        .collect()
}

fn join(rooms: &mut Rooms, now: Instant, people: std::ops::Range<usize>) {
    for n in people {
        let id = format!("p{n}");
        rooms.reserve(now, ROOM, newcomer(n, &id)).unwrap();
        rooms.commit(now, ROOM, &id).unwrap();
    }
}

fn connected(n: usize) -> MediaEvent {
    MediaEvent::Connected { room: ROOM.into(), participant: format!("p{n}") }
}

#[test]
fn hundreds_who_come_at_once_are_told_in_one_event() {
    let mut rooms = Rooms::new(RoomsConfig::default());
    let mut now = Instant::now();
    join(&mut rooms, now, 0..400);
    now += Duration::from_secs(1);
    rooms.handle_timeout(now);
    outputs(&mut rooms);

    join(&mut rooms, now, 400..700);
    (390..700).for_each(|n| rooms.media_event(now, connected(n)));
    assert_eq!(told(&mut rooms), [], "nothing at once");
    let due = rooms.poll_timeout().unwrap() - now;
    assert!(due <= Duration::from_millis(250), "{due:?}");
    rooms.handle_timeout(now + due);
    let told = told(&mut rooms);
    let [(700, Event::RoomRoster { joined, left, changed, .. })] = &told[..] else { panic!("{told:?}") };
    assert_eq!((joined.len(), left.len(), changed.len()), (300, 0, 10));
    assert!(joined.iter().all(|one| one.connected), "what came after their coming is told with it");
    assert_eq!(rooms.poll_timeout(), None, "that was all");
}

#[test]
fn in_a_small_room_it_is_told_at_once_that_somebody_is_connected() {
    let mut rooms = Rooms::new(RoomsConfig::default());
    let now = Instant::now();
    join(&mut rooms, now, 0..3);
    rooms.handle_timeout(now + Duration::from_secs(1));
    outputs(&mut rooms);
    rooms.media_event(now, connected(1));
    let event = Event::RoomConnected { room: ROOM.into(), participant: "p1".into() };
    assert_eq!(told(&mut rooms), [(3, event)]);
}

#[test]
fn a_newcomer_alone_is_told_what_changed_about_them_after_they_came() {
    let mut rooms = Rooms::new(RoomsConfig::default());
    let now = Instant::now();
    join(&mut rooms, now, 0..1);
    rooms.set_muted(now, ROOM, "p0", Source::Microphone, true);
    rooms.handle_timeout(now + Duration::from_secs(1));
    let told = told(&mut rooms);
    let [(1, Event::RoomRoster { joined, .. })] = &told[..] else { panic!("{told:?}") };
    assert!(joined[0].tracks[0].muted);
}

/// A room of so many, all connected, of whom everybody knows, on virtual time.
struct Hall {
    rooms: Rooms,
    now: Instant,
}

impl Hall {
    fn of(people: usize) -> Self {
        let mut hall = Self { rooms: Rooms::new(RoomsConfig::default()), now: Instant::now() };
        join(&mut hall.rooms, hall.now, 0..people);
        (0..people).for_each(|n| hall.rooms.media_event(hall.now, connected(n)));
        hall.go_on(1);
        hall
    }

    /// So many seconds pass. Returns what was told of losses, and to how many.
    fn go_on(&mut self, seconds: u64) -> Vec<(usize, bool)> {
        let end = self.now + Duration::from_secs(seconds);
        while let Some(due) = self.rooms.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.rooms.handle_timeout(self.now);
        }
        self.now = end;
        let losses = |(to, event)| match event {
            Event::RoomLosses { lossy, .. } => Some((to, lossy)),
            _ => None,
        };
        told(&mut self.rooms).into_iter().filter_map(losses).collect()
    }

    /// Of a thousand packets to somebody so many are lost.
    fn loses(&mut self, n: usize, loss_down: u16) {
        let quality = Quality { level: QualityLevel::Good, round_trip_ms: 50, loss_up: 0, loss_down, jitter_ms: 5 };
        let event = MediaEvent::Quality { room: ROOM.into(), participant: format!("p{n}"), quality };
        self.rooms.media_event(self.now, event);
    }
}

#[test]
fn in_a_large_room_everybody_is_told_once_that_somebody_loses_packets_and_once_that_nobody_does() {
    let mut hall = Hall::of(100);
    for n in 0..100 {
        hall.loses(n, 19);
    }
    assert_eq!(hall.go_on(1), [], "nobody hears that");
    (0..10).for_each(|n| hall.loses(n, 50));
    assert_eq!(hall.go_on(0), [(100, true)], "at once, and for all together");
    // Some lose more, some less, and one no more than is heard.
    (0..100).for_each(|n| hall.loses(n, 30 + n as u16));
    (1..100).for_each(|n| hall.loses(n, 0));
    hall.loses(0, 12);
    assert_eq!(hall.go_on(60), []);
    hall.loses(0, 5);
    assert_eq!(hall.go_on(14), [], "it may be for a moment");
    assert_eq!(hall.go_on(2), [(100, false)]);
    assert_eq!(hall.go_on(600), []);
}

#[test]
fn a_network_that_comes_and_goes_costs_the_room_no_message_each_time() {
    let mut hall = Hall::of(40);
    let mut told = Vec::new();
    for second in 0..120 {
        hall.loses(7, if second / 5 % 2 == 0 { 80 } else { 0 });
        told.extend(hall.go_on(1));
    }
    assert_eq!(told, [(40, true)]);
}

#[test]
fn whoever_comes_learns_that_somebody_loses_packets_and_who_leaves_takes_that_along() {
    let mut hall = Hall::of(40);
    hall.loses(7, 80);
    assert_eq!(hall.go_on(1), [(40, true)]);
    join(&mut hall.rooms, hall.now, 40..41);
    assert_eq!(hall.go_on(0), [(1, true)]);
    hall.rooms.leave(hall.now, ROOM, &party(7)).unwrap();
    assert_eq!(hall.go_on(20), [(40, false)]);
    join(&mut hall.rooms, hall.now, 41..42);
    assert_eq!(hall.go_on(1), [], "which is what they think anyway");
}

#[test]
fn a_room_is_told_of_all_its_members_together_only_while_it_is_too_large_to_be_told_of_each() {
    let mut hall = Hall::of(32);
    hall.loses(7, 80);
    assert_eq!(hall.go_on(30), []);
    join(&mut hall.rooms, hall.now, 32..33);
    assert_eq!(hall.go_on(1), [(33, true)]);
    hall.rooms.leave(hall.now, ROOM, &party(32)).unwrap();
    assert_eq!(hall.go_on(20), [(32, false)]);
}

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    Join(usize),
    Leave(usize),
    Mute(usize, bool),
    Connected(usize),
    Disconnected(usize),
    Wait(u64),
}

fn step(people: usize) -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..people).prop_map(Step::Join),
        1 => (0..people).prop_map(Step::Leave),
        1 => (0..people, any::<bool>()).prop_map(|(n, muted)| Step::Mute(n, muted)),
        2 => (0..people).prop_map(Step::Connected),
        1 => (0..people).prop_map(Step::Disconnected),
        2 => (0..120_u64).prop_map(Step::Wait),
    ]
}

type Roster = BTreeMap<String, Participant>;

/// What each device makes of what it is told.
#[derive(Default)]
struct Views(BTreeMap<Party, Roster>);

impl Views {
    fn hear(&mut self, rooms: &mut Rooms) {
        for output in outputs(rooms) {
            let RoomOutput::Tell(parties, event) = output else { continue };
            for party in parties {
                let Some(roster) = self.0.get_mut(&party) else { continue };
                match &event {
                    Event::RoomRoster { joined, left, changed, .. } => {
                        left.iter().for_each(|id| drop(roster.remove(id)));
                        let news = joined.iter().chain(changed).cloned();
                        roster.extend(news.map(|one| (one.participant.clone(), one)));
                    }
                    Event::RoomConnected { participant, .. } => {
                        roster.entry(participant.clone()).and_modify(|one| one.connected = true);
                    }
                    _ => {}
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whoever_follows_the_events_knows_who_is_there(steps in prop::collection::vec(step(45), 1..300)) {
        let mut rooms = Rooms::new(RoomsConfig::default());
        let (mut now, mut ids, mut views) = (Instant::now(), BTreeMap::new(), Views::default());
        let mut count = 0;
        for step in steps {
            let id = |n: &usize| ids.get(n).cloned().unwrap_or_default();
            match step {
                Step::Join(n) => {
                    count += 1;
                    let id = format!("p{count}");
                    rooms.reserve(now, ROOM, newcomer(n, &id)).unwrap();
                    let view = rooms.commit(now, ROOM, &id).unwrap();
                    views.hear(&mut rooms);
                    let roster = read(&view).into_iter().map(|one| (one.participant.clone(), one));
                    views.0.insert(party(n), roster.collect());
                    ids.insert(n, id);
                }
                Step::Leave(n) => {
                    if rooms.leave(now, ROOM, &party(n)).is_ok() {
                        views.0.remove(&party(n));
                        ids.remove(&n);
                    }
                }
                Step::Mute(n, muted) => rooms.set_muted(now, ROOM, &id(&n), Source::Microphone, muted),
                Step::Connected(n) => {
                    rooms.media_event(now, MediaEvent::Connected { room: ROOM.into(), participant: id(&n) });
                }
                Step::Disconnected(n) => {
                    let reason = "lost".to_owned();
                    let event = MediaEvent::Disconnected { room: ROOM.into(), participant: id(&n), reason };
                    rooms.media_event(now, event);
                }
                Step::Wait(ms) => {
                    now += Duration::from_millis(ms);
                    rooms.handle_timeout(now);
                }
            }
            views.hear(&mut rooms);
        }
        rooms.handle_timeout(now + Duration::from_secs(1));
        views.hear(&mut rooms);
        // What somebody who comes now is shown.
        rooms.reserve(now, ROOM, newcomer(999, "last")).unwrap();
        let view = read(&rooms.commit(now, ROOM, "last").unwrap());
        let others = view.into_iter().filter(|one| one.participant != "last");
        let truth: Roster = others.map(|one| (one.participant.clone(), one)).collect();
        prop_assert_eq!(truth.len(), views.0.len());
        for (party, view) in views.0 {
            prop_assert_eq!(&view, &truth, "{}", party.user);
        }
    }
}
