//! Group calls under random inputs on virtual time: what must hold whatever happens. A failing case is printed in full, shrunk; it is all that is needed to run it again.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use ringback_signaling::call::{CallInput, CallOutput};
use ringback_signaling::protocol::{CallKind, CallState, LegState, Outcome, Party};
use ringback_signaling::rate::Rate;
use ringback_signaling::switchboard::{PlaceCall, Switchboard, SwitchboardConfig};

const USERS: u8 = 6;
const DEVICES: u8 = 2;

#[derive(Debug, Clone)]
enum Op {
    Wait(u64),
    Up(u8, u8),
    Gone(u8, u8),
    Place(u8, u8, Vec<u8>),
    Ack(u8, u8),
    Accept(u8, u8),
    Decline(u8, u8),
    Cancel(u8, u8),
    Hangup(u8, u8),
    Invite(u8, u8, Vec<u8>),
    Knock(u8, u8),
    Admit(u8, u8, u8, bool),
    Remove(u8, u8, u8),
    EndForAll(u8, u8),
}

fn party(user: u8, device: u8) -> Party {
    Party { user: format!("u{user}"), device: format!("d{device}") }
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let (user, device) = (|| 0..USERS, || 0..DEVICES);
    let several = || proptest::collection::vec(0..USERS, 1..4);
    let op = prop_oneof![
        4 => (0_u64..30_000).prop_map(Op::Wait),
        6 => (user(), device()).prop_map(|(user, device)| Op::Up(user, device)),
        2 => (user(), device()).prop_map(|(user, device)| Op::Gone(user, device)),
        4 => (user(), device(), several()).prop_map(|(user, device, to)| Op::Place(user, device, to)),
        4 => (user(), device()).prop_map(|(user, device)| Op::Ack(user, device)),
        8 => (user(), device()).prop_map(|(user, device)| Op::Accept(user, device)),
        3 => (user(), device()).prop_map(|(user, device)| Op::Decline(user, device)),
        1 => (user(), device()).prop_map(|(user, device)| Op::Cancel(user, device)),
        3 => (user(), device()).prop_map(|(user, device)| Op::Hangup(user, device)),
        2 => (user(), device(), several()).prop_map(|(user, device, to)| Op::Invite(user, device, to)),
        2 => (user(), device()).prop_map(|(user, device)| Op::Knock(user, device)),
        2 => (user(), device(), user(), any::<bool>()).prop_map(|(user, device, who, let_in)| Op::Admit(user, device, who, let_in)),
        1 => (user(), device(), user()).prop_map(|(user, device, who)| Op::Remove(user, device, who)),
        1 => (user(), device()).prop_map(|(user, device)| Op::EndForAll(user, device)),
    ];
    proptest::collection::vec(op, 1..80)
}

/// What the outputs of one call have said so far.
#[derive(Debug, Default)]
struct Told {
    members: BTreeSet<Party>,
    ringing: BTreeMap<Party, u32>,
    woken: BTreeSet<String>,
    ended: bool,
    active: bool,
}

struct World {
    board: Switchboard,
    now: Instant,
    told: BTreeMap<String, Told>,
    last: Option<String>,
    count: usize,
}

impl World {
    fn new() -> Self {
        let free = Rate { burst: 1000, every: Duration::from_millis(1) };
        let config = SwitchboardConfig { caller_rate: free, pair_rate: free, ..SwitchboardConfig::default() };
        Self { board: Switchboard::new(config), now: Instant::now(), told: BTreeMap::new(), last: None, count: 0 }
    }

    fn input(&mut self, input: CallInput) {
        if let Some(call) = self.last.clone() {
            // Refusals change nothing; that is checked with everything else.
            let _ = self.board.handle(self.now, &call, input);
        }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Wait(ms) => {
                self.now += Duration::from_millis(ms);
                self.board.handle_timeout(self.now);
            }
            Op::Up(user, device) => {
                self.board.device_up(self.now, &party(user, device), "name").unwrap();
            }
            Op::Gone(user, device) => {
                self.board.device_gone(self.now, &party(user, device));
                // It is told nothing more; its socket is gone.
                for told in self.told.values_mut() {
                    told.ringing.remove(&party(user, device));
                }
            }
            Op::Place(user, device, to) => {
                let caller = party(user, device);
                if !self.board.devices(&caller.user).any(|live| live == caller.device) {
                    return;
                }
                self.count += 1;
                let place = PlaceCall {
                    id: format!("c{}", self.count),
                    room: format!("r{}", self.count),
                    callees: to.into_iter().map(|user| format!("u{user}")).collect(),
                    kind: CallKind::Video,
                    thread: Some("team".into()),
                    placed_at: 0,
                    caller,
                };
                if let Ok(id) = self.board.place(self.now, place) {
                    self.last = Some(id);
                }
            }
            Op::Ack(user, device) => self.input(CallInput::RingAck(party(user, device))),
            Op::Accept(user, device) => {
                // Only a device with a session can ask.
                let who = party(user, device);
                if self.board.devices(&who.user).any(|live| live == who.device) {
                    self.input(CallInput::Accept(who));
                }
            }
            Op::Decline(user, device) => self.input(CallInput::Decline(party(user, device), None)),
            Op::Cancel(user, device) => self.input(CallInput::Cancel(party(user, device))),
            Op::Hangup(user, device) => self.input(CallInput::Hangup(party(user, device))),
            Op::Invite(user, device, to) => {
                let to = to.into_iter().map(|user| format!("u{user}")).collect();
                if let Some(call) = self.last.clone() {
                    let _ = self.board.invite(self.now, &call, party(user, device), to);
                }
            }
            Op::Knock(user, device) => self.input(CallInput::Knock(party(user, device), "name".into())),
            Op::Admit(user, device, who, let_in) => {
                self.input(CallInput::Admit(party(user, device), format!("u{who}"), let_in));
            }
            Op::Remove(user, device, who) => self.input(CallInput::Remove(party(user, device), format!("u{who}"))),
            Op::EndForAll(user, device) => self.input(CallInput::EndForAll(party(user, device))),
        }
    }

    /// Takes the outputs in, and says what is wrong with them.
    fn hear(&mut self) -> Result<(), TestCaseError> {
        while let Some((id, output)) = self.board.poll_output() {
            let told = self.told.entry(id.clone()).or_default();
            let only_done = matches!(output, CallOutput::Done(..));
            prop_assert!(!told.ended || only_done, "{id}: {output:?} after the end");
            match output {
                CallOutput::Restored => prop_assert!(false, "{id}: nothing was restored"),
                CallOutput::Placed => {
                    let caller = self.board.call(&id).unwrap().caller().clone();
                    told.members.insert(caller);
                }
                CallOutput::Ring(party) => *told.ringing.entry(party).or_default() += 1,
                CallOutput::Wake(user) => {
                    told.woken.insert(user);
                }
                CallOutput::Hush(user) => {
                    prop_assert!(told.woken.remove(&user), "{id}: {user} was not woken");
                }
                CallOutput::Active(party) => {
                    prop_assert!(!told.active, "{id} became active twice");
                    told.active = true;
                    told.ringing.remove(&party);
                    prop_assert!(told.members.insert(party));
                }
                CallOutput::Joined(party) => {
                    prop_assert!(told.active, "{id}: {party} joined before anybody had answered");
                    told.ringing.remove(&party);
                    prop_assert!(told.members.insert(party.clone()), "{id}: {party} was in already");
                }
                CallOutput::Left(party, _) => {
                    prop_assert!(told.members.contains(&party), "{id}: {party} left and was not in");
                }
                CallOutput::Done(party, _) => {
                    let was = told.members.remove(&party) | told.ringing.remove(&party).is_some();
                    prop_assert!(was, "{id}: {party} is done and neither rang nor was in");
                }
                CallOutput::Ended { outcome, .. } => {
                    prop_assert_eq!(outcome == Outcome::Answered, told.active, "{} ended {}", id, outcome);
                    told.ended = true;
                }
                CallOutput::Leg(_)
                | CallOutput::Missed(..)
                | CallOutput::Knock { .. }
                | CallOutput::Admitted(..)
                | CallOutput::Changed => {}
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let mut in_calls = BTreeMap::new();
        for (id, told) in &self.told {
            let Some(call) = self.board.call(id) else { continue };
            if call.state() == CallState::Ended {
                prop_assert!(
                    told.ended && told.members.is_empty(),
                    "{id} is over, and {:?} were not told",
                    told.members
                );
                prop_assert!(told.ringing.is_empty() && told.woken.is_empty(), "{id} is over, and rings: {told:?}");
                continue;
            }
            prop_assert!(!told.ended);
            let members: BTreeSet<Party> = call.members().cloned().collect();
            prop_assert_eq!(&members, &told.members, "{}: what was told is what is", id);
            let users: BTreeSet<&String> = members.iter().map(|party| &party.user).collect();
            prop_assert_eq!(users.len(), members.len(), "{}: each user is in once", id);
            prop_assert!(!members.is_empty(), "{id} goes on without anybody");
            prop_assert!(call.has_member(call.host()), "{id}: the host is in the call");
            for party in &members {
                prop_assert!(!call.rings(&party.user), "{id}: {party} rings and is in");
                let before = in_calls.insert(party.user.clone(), id.clone());
                prop_assert!(before.is_none(), "{} is in {:?} and {}", party.user, before, id);
            }
            let ringing = |party: &Party| {
                call.info().legs.iter().any(|leg| {
                    leg.user == party.user && leg.device.as_ref() == Some(&party.device) && leg.state.is_ringing()
                })
            };
            for leg in call.info().legs.iter().filter(|leg| leg.state == LegState::RingAcked) {
                prop_assert!(call.rings(&leg.user), "{id}: a leg of {} rings and they do not", leg.user);
            }
            for party in told.ringing.keys() {
                prop_assert!(ringing(party), "{id}: {party} rings and has no ringing leg");
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn a_group_call_tells_everybody_what_is_so_and_ends_once_for_all(ops in ops()) {
        let mut world = World::new();
        for user in 0..USERS {
            world.apply(Op::Up(user, 0));
        }
        for op in ops {
            world.apply(op);
            world.hear()?;
            world.check()?;
        }
        // Left to itself every call ends once its people are gone.
        for user in 0..USERS {
            for device in 0..DEVICES {
                world.apply(Op::Gone(user, device));
            }
        }
        for _ in 0..20 {
            world.apply(Op::Wait(30_000));
            world.hear()?;
            world.check()?;
        }
        prop_assert_eq!(world.board.live_calls().count(), 0, "calls go on with nobody there");
    }
}
