//! One call: a ringing attempt and what comes of it, as a state machine without clock, socket or random number. It knows its
//! caller, its callees and a leg for each of their devices; it ends in exactly one outcome, by a deadline. Who may call whom, who is
//! busy and which users have which devices is the [`switchboard`](crate::switchboard)'s business. Calls are 1:1 for now: legs and the outcome
//! are kept per callee, so that a group call changes only when a call becomes active and when it is over.

mod exchange;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

pub use exchange::{CallInput, CallOutput, CallTiming, NewCall, NewCallee};

use crate::protocol::{
    CallInfo, CallKind, CallState, DeclineReason, DoneReason, ErrorCode, Leg, LegState, Outcome, Party, UserRef,
    WireError,
};

#[derive(Debug, Clone)]
enum Phase {
    Ringing,
    Active { since: Instant, answered_by: Party },
    Ended { outcome: Outcome, by: Option<String>, talk: Duration },
}

#[derive(Debug, Clone)]
struct Callee {
    user: String,
    name: Option<String>,
    /// Some device has acknowledged.
    reached: bool,
    /// The user's sleeping devices were told of the ring, and not yet that it is over.
    woken: bool,
}

#[derive(Debug, Clone)]
struct LegRecord {
    leg: Leg,
    /// The device has a session that was told of the ring, and not yet that it is done.
    told: bool,
}

/// See the [module](self).
#[derive(Debug, Clone)]
pub struct Call {
    id: String,
    kind: CallKind,
    thread: String,
    room: String,
    caller: Party,
    caller_name: String,
    callees: Vec<Callee>,
    legs: Vec<LegRecord>,
    placed_at: u64,
    placed: Instant,
    timing: CallTiming,
    phase: Phase,
    /// By when the caller's device must be back.
    caller_due: Option<Instant>,
    /// By when the answering device must be back.
    answerer_due: Option<Instant>,
    outputs: VecDeque<CallOutput>,
}

/// The most legs kept for the record; beyond it those of vanished devices are forgotten, so that a device that comes and goes
/// under new names cannot grow a call.
const MAX_LEGS: usize = 32;

impl Call {
    /// Places a call: all live devices of the callees ring. If no callee can be rung since all are busy, it is over at once.
    pub fn place(now: Instant, timing: CallTiming, new: NewCall) -> Self {
        let mut call = Self {
            id: new.id,
            kind: new.kind,
            thread: new.thread,
            room: new.room,
            caller: new.caller,
            caller_name: new.caller_name,
            callees: Vec::new(),
            legs: Vec::new(),
            placed_at: new.placed_at,
            placed: now,
            timing,
            phase: Phase::Ringing,
            caller_due: None,
            answerer_due: None,
            outputs: VecDeque::from([CallOutput::Placed]),
        };
        for callee in new.callees {
            let user = callee.user;
            call.callees.push(Callee { user: user.clone(), name: callee.name, reached: false, woken: false });
            if callee.busy {
                call.push_leg(&user, None, LegState::Busy);
                continue;
            }
            call.wake(&user);
            if callee.devices.is_empty() {
                call.push_leg(&user, None, LegState::Queued);
            }
            for device in callee.devices {
                call.push_leg(&user, Some(device), LegState::Queued);
            }
        }
        if call.legs.iter().all(|record| record.leg.state == LegState::Busy) {
            call.end(now, Outcome::Busy, None);
        }
        call
    }

    /// Takes an input. What follows from it is in [`poll_output`](Self::poll_output).
    ///
    /// # Errors
    /// `not_found` from somebody who has no part in the call, `forbidden` from the wrong side, `conflict` in the wrong state. Nothing has changed then.
    pub fn handle(&mut self, now: Instant, input: CallInput) -> Result<(), WireError> {
        self.handle_timeout(now);
        match input {
            CallInput::DeviceUp(party) => self.device_up(party),
            CallInput::DeviceGone(party) => self.device_gone(now, &party),
            CallInput::RingAck(party) => {
                let leg = self.ringing_leg(&party)?;
                if self.legs.get(leg).is_some_and(|record| record.leg.state == LegState::Queued) {
                    self.set_leg(leg, LegState::RingAcked);
                }
                self.reach(&party.user);
            }
            CallInput::Ignore(party) => {
                let leg = self.ringing_leg(&party)?;
                self.set_leg(leg, LegState::Ignored);
                self.reach(&party.user);
            }
            CallInput::Accept(party) => {
                let leg = self.ringing_leg(&party)?;
                self.accept(now, party, leg);
            }
            CallInput::Decline(party, reason) => {
                let leg = self.ringing_leg(&party)?;
                self.decline(now, &party, leg, reason);
            }
            CallInput::Cancel(party) => {
                self.require_party(&party)?;
                if party.user != self.caller.user {
                    return Err(WireError::new(ErrorCode::Forbidden, "only the caller may cancel; decline instead"));
                }
                self.require(CallState::Ringing)?;
                self.end(now, Outcome::Cancelled, Some(party.user));
            }
            CallInput::Hangup(party) => {
                self.require_party(&party)?;
                self.require(CallState::Active)?;
                self.end(now, Outcome::Answered, Some(party.user));
            }
            CallInput::CalleeBusy(user) => {
                self.require(CallState::Ringing)?;
                self.settle_legs(&user, LegState::Busy);
                self.end(now, Outcome::Busy, None);
            }
            CallInput::Fail => match self.phase {
                Phase::Ringing => self.end(now, Outcome::Failed, None),
                Phase::Active { .. } => self.end(now, Outcome::Answered, None),
                Phase::Ended { .. } => {}
            },
        }
        Ok(())
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<CallOutput> {
        self.outputs.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due; `None` once the call is over, or while it is active and both sides are there.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_deadline().map(|(at, ..)| at)
    }

    /// Ends the call if one of its deadlines has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some((at, outcome, by)) = self.next_deadline()
            && at <= now
        {
            self.end(now, outcome, by);
        }
    }

    /// The next deadline and how the call ends if nothing happens until then. Of several at once the first listed counts.
    fn next_deadline(&self) -> Option<(Instant, Outcome, Option<String>)> {
        let caller_vanished = |outcome| self.caller_due.map(|at| (at, outcome, Some(self.caller.user.clone())));
        match &self.phase {
            Phase::Ringing => {
                let reached = self.callees.iter().any(|callee| callee.reached);
                // A ring shorter than the time to acknowledge ends it as well.
                let unreachable = self.placed + self.timing.ack.min(self.timing.ring);
                let ends_by_itself = if reached {
                    (self.placed + self.timing.ring, Outcome::NoAnswer, None)
                } else {
                    (unreachable, Outcome::Unreachable, None)
                };
                [caller_vanished(Outcome::Cancelled), Some(ends_by_itself)]
                    .into_iter()
                    .flatten()
                    .min_by_key(|(at, ..)| *at)
            }
            Phase::Active { answered_by, .. } => {
                let answerer_vanished =
                    self.answerer_due.map(|at| (at, Outcome::Answered, Some(answered_by.user.clone())));
                [caller_vanished(Outcome::Answered), answerer_vanished].into_iter().flatten().min_by_key(|(at, ..)| *at)
            }
            Phase::Ended { .. } => None,
        }
    }

    fn device_up(&mut self, party: Party) {
        if party == self.caller {
            self.caller_due = None;
        }
        match &self.phase {
            Phase::Active { answered_by, .. } if *answered_by == party => self.answerer_due = None,
            Phase::Ringing if self.callees.iter().any(|callee| callee.user == party.user) => self.ring_again(party),
            _ => {}
        }
    }

    /// A callee's device has come up (again) while the call rings.
    fn ring_again(&mut self, party: Party) {
        // A leg without a device stood for the user as a whole while none was there.
        self.legs.retain(|record| record.leg.user != party.user || record.leg.device.is_some());
        let Some(index) = self.leg_of(&party) else {
            return self.push_leg(&party.user, Some(party.device), LegState::Queued);
        };
        let Some(record) = self.legs.get_mut(index) else { return };
        record.told = true;
        if record.leg.state != LegState::Ignored {
            self.set_leg(index, LegState::Queued);
            self.outputs.push_back(CallOutput::Ring(party));
        }
    }

    fn device_gone(&mut self, now: Instant, party: &Party) {
        let due = now + self.timing.grace;
        if *party == self.caller {
            self.caller_due.get_or_insert(due);
        }
        match &self.phase {
            Phase::Active { answered_by, .. } if answered_by == party => {
                self.answerer_due.get_or_insert(due);
            }
            Phase::Ringing => {
                let Some(index) = self.leg_of(party) else { return };
                let Some(record) = self.legs.get_mut(index) else { return };
                record.told = false;
                if record.leg.state.is_ringing() {
                    self.set_leg(index, LegState::Unreachable);
                }
                if !self.legs.iter().any(|record| record.leg.user == party.user && record.told) {
                    self.wake(&party.user);
                    self.push_leg(&party.user, None, LegState::Queued);
                }
            }
            _ => {}
        }
    }

    fn accept(&mut self, now: Instant, party: Party, leg: usize) {
        self.reach(&party.user);
        self.set_leg(leg, LegState::Accepted);
        if let Some(record) = self.legs.get_mut(leg) {
            record.told = false;
        }
        self.settle_legs(&party.user, LegState::AnsweredElsewhere);
        self.hush();
        self.phase = Phase::Active { since: now, answered_by: party.clone() };
        self.outputs.push_back(CallOutput::Active(party.clone()));
        self.dismiss(Some(&party.user), DoneReason::AnsweredElsewhere);
    }

    fn decline(&mut self, now: Instant, party: &Party, leg: usize, reason: Option<DeclineReason>) {
        let (state, outcome) = match reason {
            None => (LegState::Declined, Outcome::Declined),
            Some(DeclineReason::Busy) => (LegState::Busy, Outcome::Busy),
        };
        self.reach(&party.user);
        self.set_leg(leg, state);
        self.settle_legs(&party.user, LegState::Cancelled);
        self.end(now, outcome, Some(party.user.clone()));
    }

    /// Ends the call, once: settles the legs that are open, and tells everyone concerned.
    fn end(&mut self, now: Instant, outcome: Outcome, by: Option<String>) {
        let talk = match &self.phase {
            Phase::Ringing => Duration::ZERO,
            Phase::Active { since, .. } => now.saturating_duration_since(*since),
            Phase::Ended { .. } => return,
        };
        for index in 0..self.legs.len() {
            let state = match (self.legs.get(index).map(|record| record.leg.state), outcome) {
                (Some(LegState::RingAcked), Outcome::NoAnswer) => LegState::TimedOut,
                (Some(LegState::Queued), Outcome::NoAnswer | Outcome::Unreachable) => LegState::Unreachable,
                (Some(LegState::Queued | LegState::RingAcked), _) => LegState::Cancelled,
                _ => continue,
            };
            self.set_leg(index, state);
        }
        self.hush();
        let phase = Phase::Ended { outcome, by: by.clone(), talk };
        let before = std::mem::replace(&mut self.phase, phase);
        self.outputs.push_back(CallOutput::Ended { outcome, by: by.clone(), talk });
        self.outputs.push_back(CallOutput::Done(self.caller.clone(), outcome.into()));
        if let Phase::Active { answered_by, .. } = before {
            self.outputs.push_back(CallOutput::Done(answered_by, outcome.into()));
        }
        self.dismiss(None, outcome.into());
        (self.caller_due, self.answerer_due) = (None, None);
    }

    fn wake(&mut self, user: &str) {
        self.outputs.push_back(CallOutput::Wake(user.to_owned()));
        self.callees.iter_mut().filter(|callee| callee.user == user).for_each(|callee| callee.woken = true);
    }

    fn hush(&mut self) {
        for callee in self.callees.iter_mut().filter(|callee| callee.woken) {
            callee.woken = false;
            self.outputs.push_back(CallOutput::Hush(callee.user.clone()));
        }
    }

    /// Tells the devices that were told to ring (of one user, or all) that they are done.
    fn dismiss(&mut self, user: Option<&str>, reason: DoneReason) {
        let legs = self.legs.iter_mut().filter(|record| record.told && user.is_none_or(|user| record.leg.user == user));
        for record in legs {
            record.told = false;
            let Some(device) = record.leg.device.clone() else { continue };
            let declined_here = matches!(record.leg.state, LegState::Declined);
            let reason =
                if reason == DoneReason::Declined && !declined_here { DoneReason::DeclinedElsewhere } else { reason };
            self.outputs.push_back(CallOutput::Done(Party { user: record.leg.user.clone(), device }, reason));
        }
    }

    /// Sets the open legs of a user.
    fn settle_legs(&mut self, user: &str, state: LegState) {
        for index in 0..self.legs.len() {
            if self.legs.get(index).is_some_and(|record| record.leg.user == user && record.leg.state.is_ringing()) {
                self.set_leg(index, state);
            }
        }
    }

    fn push_leg(&mut self, user: &str, device: Option<String>, state: LegState) {
        if self.legs.len() >= MAX_LEGS
            && let Some(vanished) = self.legs.iter().position(|record| record.leg.state == LegState::Unreachable)
        {
            self.legs.remove(vanished);
        }
        let leg = Leg { user: user.to_owned(), device: device.clone(), state };
        self.legs.push(LegRecord { leg: leg.clone(), told: device.is_some() });
        self.outputs.push_back(CallOutput::Leg(leg));
        if let Some(device) = device {
            self.outputs.push_back(CallOutput::Ring(Party { user: user.to_owned(), device }));
        }
    }

    fn set_leg(&mut self, index: usize, state: LegState) {
        if let Some(record) = self.legs.get_mut(index)
            && record.leg.state != state
        {
            record.leg.state = state;
            self.outputs.push_back(CallOutput::Leg(record.leg.clone()));
        }
    }

    fn reach(&mut self, user: &str) {
        self.callees.iter_mut().filter(|callee| callee.user == user).for_each(|callee| callee.reached = true);
    }

    fn leg_of(&self, party: &Party) -> Option<usize> {
        self.legs
            .iter()
            .position(|record| record.leg.user == party.user && record.leg.device.as_ref() == Some(&party.device))
    }

    /// The leg of a callee's device that may still decide about the ring.
    fn ringing_leg(&self, party: &Party) -> Result<usize, WireError> {
        self.require_party(party)?;
        if party.user == self.caller.user {
            return Err(WireError::new(ErrorCode::Forbidden, "only a callee may do this"));
        }
        self.require(CallState::Ringing)?;
        let leg = self.leg_of(party).filter(|leg| self.legs.get(*leg).is_some_and(|record| record.told));
        leg.ok_or_else(|| WireError::new(ErrorCode::Conflict, "the call does not ring on this device"))
    }

    fn require_party(&self, party: &Party) -> Result<(), WireError> {
        if self.concerns(&party.user) { Ok(()) } else { Err(Self::not_found()) }
    }

    /// The error for a call that does not exist, as far as the asker may know.
    pub(crate) fn not_found() -> WireError {
        WireError::new(ErrorCode::NotFound, "there is no such call")
    }

    fn require(&self, wanted: CallState) -> Result<(), WireError> {
        let message = match (self.state(), wanted) {
            (state, wanted) if state == wanted => return Ok(()),
            (CallState::Ended, _) => "the call is over",
            (CallState::Active, _) => "the call is active, no longer ringing; hang up instead",
            (CallState::Ringing, _) => "the call is still ringing; cancel or decline it instead",
        };
        Err(WireError::new(ErrorCode::Conflict, message))
    }

    /// Whether the user is its caller or one of its callees.
    pub fn concerns(&self, user: &str) -> bool {
        self.caller.user == user || self.is_callee(user)
    }

    /// Whether the user is rung by this call.
    pub fn is_callee(&self, user: &str) -> bool {
        self.callees.iter().any(|callee| callee.user == user)
    }

    /// Whether the user may be in its room: the caller from the start, a callee once they have accepted.
    pub fn admits(&self, user: &str) -> bool {
        match &self.phase {
            Phase::Ringing => self.caller.user == user,
            Phase::Active { answered_by, .. } => self.caller.user == user || answered_by.user == user,
            Phase::Ended { .. } => false,
        }
    }

    /// Whether the device that holds the call for this user (the caller's, the answering one) is away.
    pub fn is_adrift(&self, user: &str) -> bool {
        match &self.phase {
            _ if self.caller.user == user => self.caller_due.is_some(),
            Phase::Active { answered_by, .. } => answered_by.user == user && self.answerer_due.is_some(),
            _ => false,
        }
    }

    /// Whether this device holds the call, or it rings there (and is not ignored).
    pub fn is_on(&self, party: &Party) -> bool {
        let holds = match &self.phase {
            Phase::Active { answered_by, .. } => *party == self.caller || party == answered_by,
            Phase::Ringing => *party == self.caller,
            Phase::Ended { .. } => return false,
        };
        let leg = self.leg_of(party).and_then(|leg| self.legs.get(leg));
        holds || leg.is_some_and(|record| record.told && record.leg.state.is_ringing())
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its room.
    pub fn room(&self) -> &str {
        &self.room
    }

    /// The caller's device.
    pub fn caller(&self) -> &Party {
        &self.caller
    }

    /// The users it rings.
    pub fn callees(&self) -> impl Iterator<Item = &str> {
        self.callees.iter().map(|callee| callee.user.as_str())
    }

    /// Where it stands.
    pub fn state(&self) -> CallState {
        match self.phase {
            Phase::Ringing => CallState::Ringing,
            Phase::Active { .. } => CallState::Active,
            Phase::Ended { .. } => CallState::Ended,
        }
    }

    /// How it ended.
    pub fn outcome(&self) -> Option<Outcome> {
        match self.phase {
            Phase::Ended { outcome, .. } => Some(outcome),
            _ => None,
        }
    }

    /// Who ended it and how long people talked, once it is over.
    pub fn ending(&self) -> Option<(Option<&str>, Duration)> {
        match &self.phase {
            Phase::Ended { by, talk, .. } => Some((by.as_deref(), *talk)),
            _ => None,
        }
    }

    /// Whether any device of a callee said that it shows the ring, or did something with it.
    pub fn acknowledged(&self) -> bool {
        self.callees.iter().any(|callee| callee.reached)
    }

    /// How much longer it rings at the most.
    pub fn rings_for(&self, now: Instant) -> Duration {
        (self.placed + self.timing.ring).saturating_duration_since(now)
    }

    /// The call as clients see it.
    pub fn info(&self) -> CallInfo {
        CallInfo {
            id: self.id.clone(),
            kind: self.kind,
            thread: self.thread.clone(),
            room: self.room.clone(),
            from: UserRef { user: self.caller.user.clone(), name: Some(self.caller_name.clone()) },
            to: self.callees.iter().map(|c| UserRef { user: c.user.clone(), name: c.name.clone() }).collect(),
            state: self.state(),
            placed_at: self.placed_at,
            ring_ms: self.timing.ring.as_millis().try_into().unwrap_or(u64::MAX),
            outcome: self.outcome(),
            legs: self.legs.iter().map(|record| record.leg.clone()).collect(),
        }
    }
}
