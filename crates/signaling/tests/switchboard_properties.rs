//! The switchboard and its calls against a reference model that is as plain as can be, under random inputs on virtual time. A failing
//! case is printed in full, shrunk; it is all that is needed to run it again.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use ringback_signaling::call::{CallInput, CallOutput, CallTiming};
use ringback_signaling::protocol::{CallKind, CallState, DeclineReason, ErrorCode, LegState, Outcome, Party};
use ringback_signaling::rate::Rate;
use ringback_signaling::switchboard::{PlaceCall, Switchboard, SwitchboardConfig};

const RING: u64 = 45_000;
const ACK: u64 = 20_000;
const GRACE: u64 = 10_000;
const USERS: u8 = 4;
const DEVICES: u8 = 3;

/// A user and a device of theirs.
type Who = (u8, u8);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Act {
    Ack,
    Accept,
    Decline,
    DeclineBusy,
    Ignore,
    Cancel,
    Hangup,
}

#[derive(Debug, Clone, Copy)]
enum Op {
    /// Time passes; with a late driver the timeouts are not handled before the next input.
    Wait {
        ms: u64,
        late: bool,
    },
    Up(Who),
    Gone(Who),
    Place(Who, u8),
    /// About the n-th last call.
    Act(Who, usize, Act),
    /// Two devices do the same at the same instant.
    Both(u8, usize, Act),
    Fail(usize),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Ringing,
    Active(Who),
    Ended(Outcome),
}

/// What the model knows of a call.
#[derive(Debug, Clone)]
struct ModelCall {
    caller: Who,
    callee: u8,
    placed: u64,
    state: State,
    acked: bool,
    caller_due: Option<u64>,
    answerer_due: Option<u64>,
    ignored: BTreeSet<u8>,
}

impl ModelCall {
    fn deadline(&self) -> Option<(u64, Outcome)> {
        let own = match self.state {
            State::Ringing if self.acked => Some((self.placed + RING, Outcome::NoAnswer)),
            State::Ringing => Some((self.placed + ACK.min(RING), Outcome::Unreachable)),
            State::Active(_) => self.answerer_due.map(|due| (due, Outcome::Answered)),
            State::Ended(_) => return None,
        };
        let vanished = if self.state == State::Ringing { Outcome::Cancelled } else { Outcome::Answered };
        match (self.caller_due, own) {
            (Some(due), Some((at, _))) if due <= at => Some((due, vanished)),
            (Some(due), None) => Some((due, vanished)),
            (_, own) => own,
        }
    }

    fn has(&self, user: u8) -> bool {
        self.caller.0 == user || self.callee == user
    }

    fn over(&self) -> bool {
        matches!(self.state, State::Ended(_))
    }

    fn adrift(&self, user: u8) -> bool {
        let answered_by_user = matches!(self.state, State::Active((who, _)) if who == user);
        self.caller.0 == user && self.caller_due.is_some() || answered_by_user && self.answerer_due.is_some()
    }

    fn end(&mut self, outcome: Outcome) {
        if !self.over() {
            self.state = State::Ended(outcome);
        }
    }
}

#[derive(Debug, Default)]
struct Model {
    now: u64,
    live: BTreeSet<Who>,
    calls: Vec<ModelCall>,
}

impl Model {
    fn expire(&mut self) {
        for call in &mut self.calls {
            if let Some((at, outcome)) = call.deadline()
                && at <= self.now
            {
                call.end(outcome);
            }
        }
    }

    fn in_call(&self, user: u8) -> bool {
        self.calls.iter().any(|call| call.has(user) && matches!(call.state, State::Active(_)))
    }

    fn up(&mut self, who: Who) {
        self.live.insert(who);
        for call in self.calls.iter_mut().filter(|call| !call.over()) {
            if call.caller == who {
                call.caller_due = None;
            }
            if call.state == State::Active(who) {
                call.answerer_due = None;
            }
        }
    }

    fn gone(&mut self, who: Who) {
        if !self.live.remove(&who) {
            return;
        }
        for call in self.calls.iter_mut().filter(|call| !call.over()) {
            if call.caller == who {
                call.caller_due.get_or_insert(self.now + GRACE);
            }
            if call.state == State::Active(who) {
                call.answerer_due.get_or_insert(self.now + GRACE);
            }
        }
    }

    /// The index of the call that comes of it.
    fn place(&mut self, who: Who, callee: u8) -> Result<usize, ErrorCode> {
        if who.0 == callee {
            return Err(ErrorCode::BadRequest);
        }
        for call in self.calls.iter_mut().filter(|call| !call.over() && call.adrift(who.0)) {
            call.end(if call.state == State::Ringing { Outcome::Cancelled } else { Outcome::Answered });
        }
        if self.in_call(who.0) {
            return Err(ErrorCode::Conflict);
        }
        let ringing = |call: &ModelCall| call.state == State::Ringing;
        let rings_me = |call: &ModelCall| {
            ringing(call) && call.caller.0 == callee && call.callee == who.0 && call.caller_due.is_none()
        };
        if let Some(glare) = self.calls.iter().position(rings_me) {
            self.accept(glare, who);
            return Ok(glare);
        }
        if self.calls.iter().any(|call| ringing(call) && call.caller.0 == who.0) {
            return Err(ErrorCode::Conflict);
        }
        let state = if self.in_call(callee) { State::Ended(Outcome::Busy) } else { State::Ringing };
        self.calls.push(ModelCall {
            caller: who,
            callee,
            placed: self.now,
            state,
            acked: false,
            caller_due: None,
            answerer_due: None,
            ignored: BTreeSet::new(),
        });
        Ok(self.calls.len() - 1)
    }

    fn accept(&mut self, index: usize, who: Who) {
        let (caller, callee) = (self.calls[index].caller.0, self.calls[index].callee);
        self.calls[index].state = State::Active(who);
        for user in [callee, caller] {
            for (other, call) in self.calls.iter_mut().enumerate() {
                if other != index && call.has(user) && !call.over() {
                    call.end(if call.caller.0 == user { Outcome::Cancelled } else { Outcome::Busy });
                }
            }
        }
    }

    fn act(&mut self, index: usize, who: Who, act: Act) -> Result<(), ErrorCode> {
        let call = &mut self.calls[index];
        if !call.has(who.0) {
            return Err(ErrorCode::NotFound);
        }
        let is_caller = call.caller.0 == who.0;
        let wanted_side = match act {
            Act::Hangup => true,
            Act::Cancel => is_caller,
            _ => !is_caller,
        };
        if !wanted_side {
            return Err(ErrorCode::Forbidden);
        }
        let fits =
            if act == Act::Hangup { matches!(call.state, State::Active(_)) } else { call.state == State::Ringing };
        if !fits {
            return Err(ErrorCode::Conflict);
        }
        match act {
            Act::Ack => call.acked = true,
            Act::Ignore => {
                call.acked = true;
                call.ignored.insert(who.1);
            }
            Act::Accept => self.accept(index, who),
            Act::Decline => call.end(Outcome::Declined),
            Act::DeclineBusy => call.end(Outcome::Busy),
            Act::Cancel => call.end(Outcome::Cancelled),
            Act::Hangup => call.end(Outcome::Answered),
        }
        Ok(())
    }

    /// Which devices ring for a call: the callee's live ones that have not ignored it, while it rings.
    fn ringing(&self, call: &ModelCall) -> BTreeSet<Who> {
        let rings = |who: &&Who| call.state == State::Ringing && who.0 == call.callee && !call.ignored.contains(&who.1);
        self.live.iter().filter(rings).copied().collect()
    }
}

/// What the outputs of one call have told so far.
#[derive(Debug, Default)]
struct Told {
    placed: bool,
    active: bool,
    ended: Option<(Outcome, u64)>,
    accepted: usize,
    woken: bool,
    ringing: BTreeSet<Who>,
    /// Devices told to ring, or holding the call, and not yet told that they are done.
    concerned: BTreeSet<Who>,
}

impl Told {
    fn take(&mut self, now: u64, output: CallOutput) -> Result<(), TestCaseError> {
        if !matches!(output, CallOutput::Placed) {
            prop_assert!(self.placed, "{:?} before placed", output);
        }
        if !matches!(output, CallOutput::Done(..)) {
            prop_assert!(self.ended.is_none(), "{:?} after the end", output);
        }
        match output {
            CallOutput::Placed => self.placed = true,
            CallOutput::Wake(_) => self.woken = true,
            CallOutput::Hush(_) => {
                prop_assert!(self.woken, "hushed without being woken");
                self.woken = false;
            }
            CallOutput::Ring(party) => {
                prop_assert!(!self.active, "a leg rings after the answer");
                self.ringing.insert(who(&party));
                self.concerned.insert(who(&party));
            }
            CallOutput::Leg(leg) => {
                self.accepted += usize::from(leg.state == LegState::Accepted);
                prop_assert!(self.accepted <= 1, "two devices accepted");
            }
            CallOutput::Active(party) => {
                prop_assert!(!self.active, "active twice");
                self.active = true;
                self.ringing.remove(&who(&party));
            }
            CallOutput::Ended { outcome, .. } => {
                prop_assert_eq!(self.active, outcome == Outcome::Answered);
                prop_assert!(!self.woken, "sleeping devices were not told that it is over");
                self.ended = Some((outcome, now));
            }
            CallOutput::Done(party, _) => {
                prop_assert!(self.concerned.remove(&who(&party)), "{} is done twice, or never rang", party);
                self.ringing.remove(&who(&party));
            }
            of_a_group => prop_assert!(false, "{:?} in a call of two", of_a_group),
        }
        Ok(())
    }
}

fn party(who: Who) -> Party {
    Party { user: who.0.to_string(), device: who.1.to_string() }
}

fn who(party: &Party) -> Who {
    (party.user.parse().unwrap(), party.device.parse().unwrap())
}

struct World {
    start: Instant,
    board: Switchboard,
    model: Model,
    told: BTreeMap<usize, Told>,
    /// Whether ends may be later than the deadline, since the driver was.
    late: bool,
}

impl World {
    fn new() -> Self {
        let ms = Duration::from_millis;
        let unlimited = Rate { burst: 1, every: Duration::ZERO };
        let config = SwitchboardConfig {
            timing: CallTiming { ring: ms(RING), ack: ms(ACK), grace: ms(GRACE), ..CallTiming::default() },
            caller_rate: unlimited,
            pair_rate: unlimited,
            ..SwitchboardConfig::default()
        };
        let board = Switchboard::new(config);
        Self { start: Instant::now(), board, model: Model::default(), told: BTreeMap::new(), late: false }
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_millis(self.model.now)
    }

    fn wait(&mut self, ms: u64, late: bool) -> Result<(), TestCaseError> {
        let until = self.model.now + ms;
        self.late = late;
        // A punctual driver comes at each timeout, and each must lead on.
        while !late
            && let Some(at) = self.board.poll_timeout()
            && at <= self.start + Duration::from_millis(until)
        {
            self.model.now = u64::try_from((at - self.start).as_millis()).unwrap();
            self.board.handle_timeout(at);
            self.compare()?;
            prop_assert!(self.board.poll_timeout().is_none_or(|next| next > at), "a timeout that leads nowhere");
        }
        self.model.now = until;
        if late { Ok(()) } else { self.compare() }
    }

    fn run(&mut self, op: Op) -> Result<(), TestCaseError> {
        let now = self.now();
        let latest = |n: usize, calls: usize| calls.checked_sub(1 + n % calls.max(1));
        match op {
            Op::Wait { ms, late } => return self.wait(ms, late),
            Op::Up(device) => {
                self.model.expire();
                self.model.up(device);
                self.board.device_up(now, &party(device), "name").unwrap();
            }
            Op::Gone(device) => {
                self.model.expire();
                self.model.gone(device);
                self.told.values_mut().for_each(|told| {
                    told.ringing.remove(&device);
                });
                self.board.device_gone(now, &party(device));
            }
            Op::Place(device, callee) => {
                if !self.model.live.contains(&device) {
                    return Ok(());
                }
                self.model.expire();
                let expected = self.model.place(device, callee);
                let place = PlaceCall {
                    id: self.model.calls.len().saturating_sub(1).to_string(),
                    room: "room".into(),
                    caller: party(device),
                    callees: vec![callee.to_string()],
                    kind: CallKind::Voice,
                    thread: None,
                    placed_at: 0,
                };
                let place = match expected {
                    // No new call comes of it, and the id must not be one that is taken.
                    Err(_) => PlaceCall { id: "refused".into(), ..place },
                    Ok(_) => place,
                };
                let placed = self.board.place(now, place);
                prop_assert_eq!(placed.map_err(|error| error.code), expected.map(|index| index.to_string()));
            }
            Op::Act(device, n, act) => {
                if let Some(index) = latest(n, self.model.calls.len()) {
                    self.act(index, device, act)?;
                }
            }
            Op::Both(first, n, act) => {
                if let Some(index) = latest(n, self.model.calls.len()) {
                    let callee = self.model.calls[index].callee;
                    self.act(index, (callee, first % DEVICES), act)?;
                    self.act(index, (callee, (first + 1) % DEVICES), act)?;
                }
            }
            Op::Fail(n) => {
                if let Some(index) = latest(n, self.model.calls.len()) {
                    self.model.expire();
                    let call = &mut self.model.calls[index];
                    call.end(if call.state == State::Ringing { Outcome::Failed } else { Outcome::Answered });
                    // The board may have forgotten a call that is over.
                    let _ = self.board.handle(now, &index.to_string(), CallInput::Fail);
                }
            }
        }
        self.compare()
    }

    fn act(&mut self, index: usize, device: Who, act: Act) -> Result<(), TestCaseError> {
        if !self.model.live.contains(&device) {
            return Ok(());
        }
        self.model.expire();
        let forgotten = {
            self.board.handle_timeout(self.now());
            self.board.call(&index.to_string()).is_none()
        };
        if forgotten {
            return self.compare();
        }
        let expected = self.model.act(index, device, act);
        let party = party(device);
        let input = match act {
            Act::Ack => CallInput::RingAck(party),
            Act::Accept => CallInput::Accept(party),
            Act::Decline => CallInput::Decline(party, None),
            Act::DeclineBusy => CallInput::Decline(party, Some(DeclineReason::Busy)),
            Act::Ignore => CallInput::Ignore(party),
            Act::Cancel => CallInput::Cancel(party),
            Act::Hangup => CallInput::Hangup(party),
        };
        let result = self.board.handle(self.now(), &index.to_string(), input);
        prop_assert_eq!(result.map_err(|error| error.code), expected);
        if act == Act::Ignore && expected.is_ok() {
            self.told.entry(index).or_default().ringing.remove(&device);
        }
        self.compare()
    }

    /// The board says what the model says, and its outputs tell the same story.
    fn compare(&mut self) -> Result<(), TestCaseError> {
        self.model.expire();
        self.board.handle_timeout(self.now());
        let now = self.model.now;
        while let Some((id, output)) = self.board.poll_output() {
            let index: usize = id.parse().unwrap();
            let told = self.told.entry(index).or_default();
            let call = &self.model.calls[index];
            if matches!(output, CallOutput::Placed) {
                told.concerned.insert(call.caller);
            }
            if let CallOutput::Active(party) = &output {
                told.concerned.insert(who(party));
            }
            if let (CallOutput::Ended { .. }, false) = (&output, self.late) {
                let latest = call.placed + RING;
                let in_time = told.active || now <= latest;
                prop_assert!(in_time, "call {} ended at {}, its deadline was {}", index, now, latest);
            }
            told.take(now, output)?;
        }
        for (index, call) in self.model.calls.iter().enumerate() {
            let told = &self.told[&index];
            let ended = match call.state {
                State::Ended(outcome) => Some(outcome),
                _ => None,
            };
            prop_assert_eq!(told.ended.map(|(outcome, _)| outcome), ended, "call {} at {}: {:?}", index, now, call);
            prop_assert_eq!(&told.ringing, &self.model.ringing(call), "who rings for call {} at {}", index, now);
            if let Some(board) = self.board.call(&index.to_string()) {
                let state = match call.state {
                    State::Ringing => CallState::Ringing,
                    State::Active(_) => CallState::Active,
                    State::Ended(_) => CallState::Ended,
                };
                prop_assert_eq!(board.state(), state);
                prop_assert_eq!(board.outcome(), ended);
            }
        }
        prop_assert!(self.board.poll_timeout().is_none_or(|at| at > self.now()));
        self.late = false;
        for user in 0..USERS {
            let active =
                self.model.calls.iter().filter(|call| call.has(user) && matches!(call.state, State::Active(_)));
            prop_assert!(active.count() <= 1, "user {} is in two calls", user);
            prop_assert_eq!(self.board.in_call(&user.to_string()), self.model.in_call(user));
        }
        Ok(())
    }

    /// Everybody leaves: all calls end in time, and in the end nothing is kept.
    fn finish(&mut self) -> Result<(), TestCaseError> {
        for device in self.model.live.clone() {
            self.run(Op::Gone(device))?;
        }
        self.wait(RING.max(GRACE), false)?;
        prop_assert_eq!(self.board.live_calls().count(), 0);
        for (index, told) in &self.told {
            prop_assert!(told.ended.is_some() && told.ringing.is_empty(), "call {}: {:?}", index, told);
        }
        self.wait(200_000, false)?;
        prop_assert!((0..self.model.calls.len()).all(|index| self.board.call(&index.to_string()).is_none()));
        prop_assert_eq!(self.board.people().count(), 0);
        prop_assert!(self.board.poll_timeout().is_none());
        Ok(())
    }
}

fn device() -> impl Strategy<Value = Who> {
    (0..USERS, 0..DEVICES)
}

fn act() -> impl Strategy<Value = Act> {
    use Act::*;
    prop_oneof![
        3 => Just(Ack), 4 => Just(Accept), 1 => Just(Decline), 1 => Just(DeclineBusy),
        2 => Just(Ignore), 1 => Just(Cancel), 2 => Just(Hangup),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let wait = prop_oneof![Just(0_u64), 1..100_u64, 1_000..12_000_u64, Just(GRACE), Just(ACK), Just(RING)];
    // Mostly the last call or the one before.
    let call = || prop_oneof![6 => Just(0_usize), 2 => Just(1), 1 => 0..20_usize];
    prop_oneof![
        4 => (wait, prop::bool::weighted(0.2)).prop_map(|(ms, late)| Op::Wait { ms, late }),
        3 => device().prop_map(Op::Up),
        2 => device().prop_map(Op::Gone),
        5 => (device(), 0..USERS).prop_map(|(device, callee)| Op::Place(device, callee)),
        7 => (device(), call(), act()).prop_map(|(device, n, act)| Op::Act(device, n, act)),
        3 => (0..DEVICES, call(), act()).prop_map(|(first, n, act)| Op::Both(first, n, act)),
        1 => call().prop_map(Op::Fail),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_call_ends_once_in_time_as_the_model_says_and_nothing_rings_after(
        live in prop::collection::vec(device(), 2..8),
        ops in prop::collection::vec(op(), 1..80),
    ) {
        let mut world = World::new();
        for device in live {
            world.run(Op::Up(device))?;
        }
        for op in ops {
            world.run(op)?;
        }
        world.finish()?;
    }
}
