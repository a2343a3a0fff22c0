//! What becomes of a call, sentence by sentence, on virtual time.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use ringback_signaling::call::{CallInput, CallOutput};
use ringback_signaling::protocol::{
    CallKind, CallState, DeclineReason, DoneReason, ErrorCode, LegState, Outcome, Party, WireError,
};
use ringback_signaling::rate::Rate;
use ringback_signaling::switchboard::{PlaceCall, Switchboard, SwitchboardConfig};

const SECOND: Duration = Duration::from_secs(1);

struct World {
    board: Switchboard,
    now: Instant,
    placed: u32,
}

fn party(name: &str) -> Party {
    let (user, device) = name.split_once('/').unwrap();
    Party { user: user.into(), device: device.into() }
}

impl World {
    fn with(devices: &[&str]) -> Self {
        let mut world = Self { board: Switchboard::new(SwitchboardConfig::default()), now: Instant::now(), placed: 0 };
        devices.iter().for_each(|device| world.up(device));
        world
    }

    fn up(&mut self, device: &str) {
        let party = party(device);
        self.board.device_up(self.now, &party, &party.user.to_uppercase()).unwrap();
    }

    fn gone(&mut self, device: &str) {
        self.board.device_gone(self.now, &party(device));
    }

    fn try_place(&mut self, from: &str, to: &str) -> Result<String, WireError> {
        self.placed += 1;
        let place = PlaceCall {
            id: format!("call-{}", self.placed),
            room: format!("room-{}", self.placed),
            caller: party(from),
            callees: vec![to.into()],
            kind: CallKind::Voice,
            thread: None,
            placed_at: 0,
        };
        self.board.place(self.now, place)
    }

    fn place(&mut self, from: &str, to: &str) -> String {
        self.try_place(from, to).unwrap()
    }

    fn input(&mut self, call: &str, input: CallInput) -> Result<(), WireError> {
        self.board.handle(self.now, call, input)
    }

    fn ack(&mut self, call: &str, device: &str) {
        self.input(call, CallInput::RingAck(party(device))).unwrap();
    }

    fn accept(&mut self, call: &str, device: &str) {
        self.input(call, CallInput::Accept(party(device))).unwrap();
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.board.handle_timeout(self.now);
    }

    fn outputs(&mut self) -> Vec<CallOutput> {
        std::iter::from_fn(|| self.board.poll_output()).map(|(_, output)| output).collect()
    }

    fn outcome(&self, call: &str) -> Option<Outcome> {
        self.board.call(call).unwrap().outcome()
    }

    fn leg(&self, call: &str, device: &str) -> LegState {
        let party = party(device);
        let info = self.board.call(call).unwrap().info();
        info.legs.iter().find(|leg| leg.user == party.user && leg.device.as_ref() == Some(&party.device)).unwrap().state
    }
}

fn done(device: &str, reason: DoneReason) -> CallOutput {
    CallOutput::Done(party(device), reason)
}

#[test]
fn an_answered_call_ends_when_somebody_hangs_up() {
    let mut world = World::with(&["ann/pc", "ben/phone"]);
    let call = world.place("ann/pc", "ben");
    world.ack(&call, "ben/phone");
    world.accept(&call, "ben/phone");
    assert!(world.outputs().contains(&CallOutput::Active(party("ben/phone"))));
    world.wait(1000 * SECOND);
    assert_eq!(world.board.call(&call).unwrap().state(), CallState::Active);
    world.input(&call, CallInput::Hangup(party("ben/phone"))).unwrap();
    let ended = CallOutput::Ended { outcome: Outcome::Answered, by: Some("ben".into()), talk: 1000 * SECOND };
    let expected = [ended, done("ann/pc", DoneReason::Answered), done("ben/phone", DoneReason::Answered)];
    assert_eq!(world.outputs(), expected);
}

#[test]
fn a_ring_that_was_acknowledged_ends_without_answer() {
    let mut world = World::with(&["ann/pc", "ben/phone", "ben/pc"]);
    let call = world.place("ann/pc", "ben");
    world.ack(&call, "ben/phone");
    world.wait(44 * SECOND);
    assert_eq!(world.outcome(&call), None);
    world.wait(SECOND);
    assert_eq!(world.outcome(&call), Some(Outcome::NoAnswer));
    assert_eq!(world.leg(&call, "ben/phone"), LegState::TimedOut);
    assert_eq!(world.leg(&call, "ben/pc"), LegState::Unreachable);
}

#[test]
fn a_user_whose_devices_never_acknowledge_is_unreachable() {
    let mut world = World::with(&["ann/pc", "ben/phone"]);
    let call = world.place("ann/pc", "ben");
    world.wait(20 * SECOND);
    assert_eq!(world.outcome(&call), Some(Outcome::Unreachable));
}

#[test]
fn a_user_without_a_device_is_woken_and_stays_queued() {
    let mut world = World::with(&["ann/pc"]);
    let call = world.place("ann/pc", "ben");
    assert!(world.outputs().contains(&CallOutput::Wake("ben".into())));
    let legs = world.board.call(&call).unwrap().info().legs;
    assert_eq!((legs.len(), &legs[0].device, legs[0].state), (1, &None, LegState::Queued));
    world.wait(19 * SECOND);
    world.up("ben/phone");
    assert!(world.outputs().contains(&CallOutput::Ring(party("ben/phone"))));
    world.ack(&call, "ben/phone");
    world.wait(20 * SECOND);
    world.accept(&call, "ben/phone");
    assert_eq!(world.board.call(&call).unwrap().info().legs.len(), 1);
}

#[test]
fn a_woken_user_who_does_not_come_is_unreachable_and_hushed() {
    let mut world = World::with(&["ann/pc"]);
    let call = world.place("ann/pc", "ben");
    world.wait(20 * SECOND);
    assert_eq!(world.outcome(&call), Some(Outcome::Unreachable));
    assert!(world.outputs().contains(&CallOutput::Hush("ben".into())));
}

#[test]
fn the_first_device_to_accept_wins_and_the_others_stop_ringing() {
    let mut world = World::with(&["ann/pc", "ben/phone", "ben/pc", "ben/tablet"]);
    let call = world.place("ann/pc", "ben");
    world.input(&call, CallInput::Ignore(party("ben/tablet"))).unwrap();
    world.accept(&call, "ben/pc");
    let late = world.input(&call, CallInput::Accept(party("ben/phone"))).unwrap_err();
    assert_eq!(late.code, ErrorCode::Conflict);
    assert_eq!(world.leg(&call, "ben/pc"), LegState::Accepted);
    assert_eq!(world.leg(&call, "ben/phone"), LegState::AnsweredElsewhere);
    assert_eq!(world.leg(&call, "ben/tablet"), LegState::Ignored);
    let outputs = world.outputs();
    for device in ["ben/phone", "ben/tablet"] {
        assert!(outputs.contains(&done(device, DoneReason::AnsweredElsewhere)), "{device}: {outputs:?}");
    }
}

#[test]
fn declining_on_one_device_silences_all() {
    let mut world = World::with(&["ann/pc", "ben/phone", "ben/pc"]);
    let call = world.place("ann/pc", "ben");
    world.input(&call, CallInput::Decline(party("ben/phone"), None)).unwrap();
    assert_eq!(world.outcome(&call), Some(Outcome::Declined));
    let outputs = world.outputs();
    assert!(outputs.contains(&done("ben/phone", DoneReason::Declined)));
    assert!(outputs.contains(&done("ben/pc", DoneReason::DeclinedElsewhere)));
    assert!(outputs.contains(&done("ann/pc", DoneReason::Declined)));
}

#[test]
fn declining_as_busy_tells_the_caller_busy() {
    let mut world = World::with(&["ann/pc", "ben/phone"]);
    let call = world.place("ann/pc", "ben");
    world.input(&call, CallInput::Decline(party("ben/phone"), Some(DeclineReason::Busy))).unwrap();
    assert_eq!(world.outcome(&call), Some(Outcome::Busy));
}

#[test]
fn ignoring_silences_one_device_and_the_call_rings_on() {
    let mut world = World::with(&["ann/pc", "ben/phone", "ben/pc"]);
    let call = world.place("ann/pc", "ben");
    world.input(&call, CallInput::Ignore(party("ben/phone"))).unwrap();
    world.outputs();
    // The page on the ignoring device is loaded again: it stays silent.
    world.gone("ben/phone");
    world.up("ben/phone");
    assert_eq!(world.outputs(), []);
    let rings_on = |device| world.board.call(&call).unwrap().is_on(&party(device));
    assert!(!rings_on("ben/phone") && rings_on("ben/pc"));
    world.wait(45 * SECOND);
    assert_eq!(world.outcome(&call), Some(Outcome::NoAnswer));
}

#[test]
fn a_user_in_a_call_is_busy() {
    let mut world = World::with(&["ann/pc", "ben/phone", "cat/pc"]);
    let call = world.place("ann/pc", "ben");
    world.accept(&call, "ben/phone");
    let second = world.place("cat/pc", "ben");
    assert_eq!(world.outcome(&second), Some(Outcome::Busy));
    let rings = world.outputs().into_iter().filter(|output| matches!(output, CallOutput::Ring(_))).count();
    assert_eq!(rings, 1, "only the first call rings");
}

#[test]
fn accepting_one_call_ends_the_others() {
    let mut world = World::with(&["ann/pc", "ben/phone", "cat/pc", "dan/pc"]);
    let from_ann = world.place("ann/pc", "ben");
    let from_cat = world.place("cat/pc", "ben");
    let to_dan = world.place("ben/phone", "dan");
    world.accept(&from_ann, "ben/phone");
    assert_eq!(world.outcome(&from_cat), Some(Outcome::Busy));
    assert_eq!(world.outcome(&to_dan), Some(Outcome::Cancelled));
    assert_eq!(world.board.call(&from_ann).unwrap().state(), CallState::Active);
}

#[test]
fn two_who_ring_each_other_are_connected() {
    let mut world = World::with(&["ann/pc", "ben/phone", "ben/pc"]);
    let call = world.place("ann/pc", "ben");
    let same = world.place("ben/phone", "ann");
    assert_eq!(call, same);
    assert_eq!(world.board.call(&call).unwrap().state(), CallState::Active);
    assert_eq!(world.board.live_calls().count(), 1);
    assert!(world.outputs().contains(&done("ben/pc", DoneReason::AnsweredElsewhere)));
}

#[test]
fn a_caller_who_vanishes_cancels_after_the_grace_period() {
    let mut world = World::with(&["ann/pc", "ben/phone"]);
    let call = world.place("ann/pc", "ben");
    world.gone("ann/pc");
    world.wait(9 * SECOND);
    world.up("ann/pc");
    world.wait(9 * SECOND);
    assert_eq!(world.outcome(&call), None, "it came back in time");
    world.gone("ann/pc");
    world.ack(&call, "ben/phone");
    world.wait(10 * SECOND);
    assert_eq!(world.outcome(&call), Some(Outcome::Cancelled));
    assert!(world.outputs().contains(&done("ben/phone", DoneReason::Cancelled)));
}

#[test]
fn a_caller_who_vanished_may_call_again_at_once() {
    let mut world = World::with(&["ann/pc", "ann/phone", "ben/phone"]);
    let first = world.place("ann/pc", "ben");
    assert_eq!(world.try_place("ann/phone", "ben").unwrap_err().code, ErrorCode::Conflict);
    world.gone("ann/pc");
    let second = world.place("ann/phone", "ben");
    assert_eq!(world.outcome(&first), Some(Outcome::Cancelled));
    assert_eq!(world.outcome(&second), None);
}

#[test]
fn a_device_that_vanishes_while_it_rings_is_woken_and_rings_again() {
    let mut world = World::with(&["ann/pc", "ben/phone"]);
    let call = world.place("ann/pc", "ben");
    world.ack(&call, "ben/phone");
    world.outputs();
    world.gone("ben/phone");
    assert_eq!(world.leg(&call, "ben/phone"), LegState::Unreachable);
    assert!(world.outputs().contains(&CallOutput::Wake("ben".into())));
    world.up("ben/phone");
    assert_eq!(world.leg(&call, "ben/phone"), LegState::Queued);
    assert!(world.outputs().contains(&CallOutput::Ring(party("ben/phone"))));
    world.wait(30 * SECOND);
    assert_eq!(world.outcome(&call), None, "it was reached once, so it rings to the end");
}

#[test]
fn a_device_that_vanishes_during_the_talk_ends_it_after_the_grace_period() {
    let mut world = World::with(&["ann/pc", "ben/phone"]);
    let call = world.place("ann/pc", "ben");
    world.accept(&call, "ben/phone");
    world.wait(60 * SECOND);
    world.gone("ben/phone");
    world.wait(10 * SECOND);
    assert_eq!(world.outcome(&call), Some(Outcome::Answered));
    let ended = CallOutput::Ended { outcome: Outcome::Answered, by: Some("ben".into()), talk: 70 * SECOND };
    assert!(world.outputs().contains(&ended));
}

#[test]
fn calling_again_is_a_new_call() {
    let mut world = World::with(&["ann/pc", "ben/phone"]);
    let first = world.place("ann/pc", "ben");
    world.input(&first, CallInput::Decline(party("ben/phone"), None)).unwrap();
    let second = world.place("ann/pc", "ben");
    assert_ne!(first, second);
    world.accept(&second, "ben/phone");
    assert_eq!(world.outcome(&first), Some(Outcome::Declined));
}

#[test]
fn strangers_and_wrong_sides_are_refused() {
    let mut world = World::with(&["ann/pc", "ben/phone", "cat/pc"]);
    let call = world.place("ann/pc", "ben");
    let code = |result: Result<(), WireError>| result.unwrap_err().code;
    assert_eq!(code(world.input(&call, CallInput::Accept(party("cat/pc")))), ErrorCode::NotFound);
    assert_eq!(code(world.input(&call, CallInput::Accept(party("ann/pc")))), ErrorCode::Forbidden);
    assert_eq!(code(world.input(&call, CallInput::Cancel(party("ben/phone")))), ErrorCode::Forbidden);
    assert_eq!(code(world.input(&call, CallInput::Hangup(party("ann/pc")))), ErrorCode::Conflict);
    assert_eq!(code(world.input("no-such-call", CallInput::Accept(party("ben/phone")))), ErrorCode::NotFound);
    assert_eq!(world.try_place("ann/pc", "ann").unwrap_err().code, ErrorCode::BadRequest);
}

#[test]
fn a_call_whose_room_breaks_has_failed() {
    let mut world = World::with(&["ann/pc", "ben/phone"]);
    let call = world.place("ann/pc", "ben");
    world.input(&call, CallInput::Fail).unwrap();
    assert_eq!(world.outcome(&call), Some(Outcome::Failed));
}

#[test]
fn who_rings_too_often_is_told_when_to_try_again() {
    let mut world = World::with(&["ann/pc", "ben/phone"]);
    let config = SwitchboardConfig { pair_rate: Rate { burst: 2, every: 10 * SECOND }, ..SwitchboardConfig::default() };
    world.board = Switchboard::new(config);
    world.up("ann/pc");
    for _ in 0..2 {
        let call = world.place("ann/pc", "ben");
        world.input(&call, CallInput::Cancel(party("ann/pc"))).unwrap();
    }
    let refused = world.try_place("ann/pc", "ben").unwrap_err();
    assert_eq!((refused.code, refused.retry_after_ms), (ErrorCode::RateLimited, Some(10_000)));
    world.place("ann/pc", "cat");
    world.now += 10 * SECOND;
    let call = world.board.calls_of("ann").next().unwrap().id().to_owned();
    world.input(&call, CallInput::Cancel(party("ann/pc"))).unwrap();
    world.place("ann/pc", "ben");
}

#[test]
fn the_status_of_a_call_can_be_asked_for_a_while_after_its_end() {
    let mut world = World::with(&["ann/pc"]);
    let call = world.place("ann/pc", "ben");
    world.input(&call, CallInput::Cancel(party("ann/pc"))).unwrap();
    world.wait(119 * SECOND);
    assert_eq!(world.outcome(&call), Some(Outcome::Cancelled));
    world.wait(SECOND);
    assert!(world.board.call(&call).is_none());
}

#[test]
fn threads_of_different_pairs_differ() {
    let mut world = World::with(&["a:b/pc", "a/pc", "b/pc"]);
    let mut thread = |from: &str, to: &str| {
        let call = world.place(from, to);
        let thread = world.board.call(&call).unwrap().info().thread;
        world.board.handle(world.now, &call, CallInput::Cancel(party(from))).unwrap();
        thread
    };
    assert_eq!(thread("a/pc", "b"), thread("b/pc", "a"));
    assert_ne!(thread("a:b/pc", "c"), thread("a/pc", "b:c"));
}
