//! One call: a ringing attempt and what comes of it, as a state machine without clock, socket or random number. It knows its
//! caller, its callees, a leg for each of their devices, and who is in it; it ends in exactly one outcome. A 1:1 call is over when either side is gone; a
//! group call (placed to several, or grown by an invitation) goes on while anybody is in it, and who refused, missed it or left may still come in. Who may call
//! whom, who is busy and which users have which devices is the [`switchboard`](crate::switchboard)'s business. `call/ringing.rs` is what callees do, `call/membership.rs` what those
//! inside do, `call/legs.rs` the record of devices, `call/restore.rs` how it outlives a process.

mod exchange;
mod legs;
mod membership;
mod restore;
mod ringing;
mod view;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

pub use exchange::{CallInput, CallOutput, CallTiming, NewCall, NewCallee};

use crate::protocol::{CallKind, CallState, DoneReason, ErrorCode, LegState, Outcome, Party, WireError};
use legs::LegRecord;
use membership::Member;

/// The most people a call may concern; each costs its members an event for every device that rings.
pub const MAX_PEOPLE: usize = 64;

#[derive(Debug, Clone)]
enum Phase {
    Ringing,
    /// `before`: how long it had been active in a former process.
    Active {
        since: Instant,
        before: Duration,
    },
    Ended {
        outcome: Outcome,
        by: Option<String>,
        talk: Duration,
    },
}

#[derive(Debug, Clone)]
struct Callee {
    user: String,
    name: Option<String>,
    /// Some device has acknowledged.
    reached: bool,
    /// The user's sleeping devices were told of the ring, and not yet that it is over.
    woken: bool,
    /// When the ring began.
    rung: Instant,
    /// What came of the ring; `None` while it rings.
    settled: Option<Outcome>,
    /// Was in the call at some time.
    answered: bool,
    /// Taken out by the host: comes back only by another invitation.
    removed: bool,
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
    group: bool,
    callees: Vec<Callee>,
    legs: Vec<LegRecord>,
    /// Who is in it, the longest there first; while it rings the caller alone.
    members: Vec<Member>,
    /// Who asked to be let in and under which name, and has not been answered.
    knocking: Vec<(Party, String)>,
    placed_at: u64,
    placed: Instant,
    /// How long no process had it.
    away: Duration,
    timing: CallTiming,
    phase: Phase,
    /// Since when one member waits alone in a group call that rings nobody.
    alone_since: Option<Instant>,
    outputs: VecDeque<CallOutput>,
}

/// What the next deadline is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// This member's device has been away for too long.
    Member(usize),
    /// This callee has rung for long enough.
    Callee(usize),
    /// Nobody has come back to whoever is left.
    Alone,
}

impl Call {
    /// Places a call: all live devices of the callees ring. If no callee can be rung since all are busy, it is over at once.
    pub fn place(now: Instant, timing: CallTiming, new: NewCall) -> Self {
        let mut call = Self {
            id: new.id,
            kind: new.kind,
            thread: new.thread,
            room: new.room,
            members: vec![Member::new(new.caller.clone())],
            caller: new.caller,
            caller_name: new.caller_name,
            group: new.callees.len() > 1,
            callees: Vec::new(),
            legs: Vec::new(),
            knocking: Vec::new(),
            placed_at: new.placed_at,
            placed: now,
            away: Duration::ZERO,
            timing,
            phase: Phase::Ringing,
            alone_since: None,
            outputs: VecDeque::from([CallOutput::Placed]),
        };
        for callee in new.callees {
            call.ring(now, callee);
        }
        call.end_if_all_settled(now, None);
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
            CallInput::Accept(party) => self.accept(now, party)?,
            CallInput::Decline(party, reason) => self.decline(now, &party, reason)?,
            CallInput::Cancel(party) => {
                self.require_party(&party)?;
                if party.user != self.caller.user {
                    return Err(WireError::new(ErrorCode::Forbidden, "only the caller may cancel; decline instead"));
                }
                self.require(CallState::Ringing)?;
                self.end(now, Outcome::Cancelled, Some(party.user));
            }
            CallInput::Hangup(party) => self.hangup(now, party)?,
            CallInput::CalleeBusy(user) => self.callee_busy(now, &user)?,
            CallInput::Invite(by, callees) => self.invite(now, &by, callees)?,
            CallInput::Knock(from, name) => self.knock(from, name)?,
            CallInput::Admit(by, user, admitted) => self.admit(now, &by, &user, admitted)?,
            CallInput::Remove(by, user) => self.remove(now, &by, &user)?,
            CallInput::EndForAll(by) => {
                self.require_host(&by)?;
                self.require(CallState::Active)?;
                self.end(now, Outcome::Answered, Some(by.user));
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

    /// When [`handle_timeout`](Self::handle_timeout) is due; `None` once the call is over, or while nothing is waited for.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_deadline().map(|(at, _)| at)
    }

    /// Does what follows from the deadlines that have passed, in their order.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, due)) = self.next_deadline()
            && at <= now
        {
            match due {
                Due::Member(index) => self.member_vanished(now, index),
                Due::Callee(index) => self.ring_over(now, index),
                Due::Alone => self.end(now, Outcome::Answered, None),
            }
        }
    }

    /// The next deadline. Of several at once members come before callees.
    fn next_deadline(&self) -> Option<(Instant, Due)> {
        if matches!(self.phase, Phase::Ended { .. }) {
            return None;
        }
        let members =
            self.members.iter().enumerate().filter_map(|(index, member)| Some((member.due?, Due::Member(index))));
        let callees = self.callees.iter().enumerate().filter(|(_, callee)| callee.settled.is_none());
        let callees = callees.map(|(index, callee)| (self.rings_until(callee), Due::Callee(index)));
        let alone = self.alone_since.map(|since| (since + self.timing.alone, Due::Alone));
        members.chain(callees).chain(alone).min_by_key(|(at, _)| *at)
    }

    /// When the ring of a callee is over if nothing happens until then.
    fn rings_until(&self, callee: &Callee) -> Instant {
        // A ring shorter than the time to acknowledge ends it as well.
        let wait = if callee.reached { self.timing.ring } else { self.timing.ack.min(self.timing.ring) };
        callee.rung + wait
    }

    /// Ends the call, once: settles the legs that are open, and tells everyone concerned.
    fn end(&mut self, now: Instant, outcome: Outcome, by: Option<String>) {
        let talk = match &self.phase {
            Phase::Ringing => Duration::ZERO,
            Phase::Active { since, before } => *before + now.saturating_duration_since(*since),
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
        self.hush(None);
        for index in 0..self.callees.len() {
            let Some(callee) = self.callees.get_mut(index).filter(|callee| callee.settled.is_none()) else { continue };
            let for_them = if outcome == Outcome::Answered { Outcome::Cancelled } else { outcome };
            callee.settled = Some(for_them);
            let user = callee.user.clone();
            self.missed_by(&user, for_them);
        }
        self.phase = Phase::Ended { outcome, by: by.clone(), talk };
        self.outputs.push_back(CallOutput::Ended { outcome, by, talk });
        for member in &self.members {
            self.outputs.push_back(CallOutput::Done(member.party.clone(), outcome.into()));
        }
        self.dismiss(None, outcome.into());
        self.members.iter_mut().for_each(|member| member.due = None);
        self.alone_since = None;
        self.knocking.clear();
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

    fn changed(&mut self) {
        if self.group && !matches!(self.phase, Phase::Ended { .. }) {
            self.outputs.push_back(CallOutput::Changed);
        }
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
}
