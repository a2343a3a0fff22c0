//! What happens to those whom a call rings: they are rung, acknowledge, accept, decline, vanish, or let it ring.

use std::time::{Duration, Instant};

use super::{Call, CallOutput, Callee, NewCallee, Phase};
use crate::protocol::{CallState, DeclineReason, DoneReason, ErrorCode, LegState, Outcome, Party, WireError};

impl Call {
    /// Rings a user, or finds them busy.
    pub(super) fn ring(&mut self, now: Instant, callee: NewCallee) {
        let NewCallee { user, name, devices, busy } = callee;
        let settled = busy.then_some(Outcome::Busy);
        match self.callees.iter_mut().find(|known| known.user == user) {
            Some(known) => {
                (known.reached, known.rung, known.settled, known.removed) = (false, now, settled, false);
                known.name = name.or(known.name.take());
            }
            None => self.callees.push(Callee {
                user: user.clone(),
                name,
                reached: false,
                woken: false,
                rung: now,
                settled,
                answered: false,
                removed: false,
            }),
        }
        // Of a former ring.
        self.legs.retain(|record| record.leg.user != user || record.told);
        if busy {
            self.push_leg(&user, None, LegState::Busy);
            return self.missed_by(&user, Outcome::Busy);
        }
        self.wake(&user);
        if devices.is_empty() {
            self.push_leg(&user, None, LegState::Queued);
        }
        for device in devices {
            self.push_leg(&user, Some(device), LegState::Queued);
        }
    }

    pub(super) fn device_up(&mut self, party: Party) {
        if let Some(member) = self.members.iter_mut().find(|member| member.party == party) {
            member.due = None;
            return;
        }
        if self.rings(&party.user) {
            self.ring_again(party);
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

    pub(super) fn device_gone(&mut self, now: Instant, party: &Party) {
        if matches!(self.phase, Phase::Ended { .. }) {
            return;
        }
        let due = now + self.timing.grace;
        if let Some(member) = self.members.iter_mut().find(|member| member.party == *party) {
            member.due.get_or_insert(due);
        }
        if !self.rings(&party.user) {
            return;
        }
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

    /// Picks up where it rings; a group call that is active is also joined late, or again.
    pub(super) fn accept(&mut self, now: Instant, party: Party) -> Result<(), WireError> {
        if self.group && self.state() == CallState::Active {
            return self.join(party);
        }
        let leg = self.ringing_leg(&party)?;
        self.reach(&party.user);
        self.answer(leg, &party);
        self.phase = Phase::Active { since: now, before: Duration::ZERO };
        self.outputs.push_back(CallOutput::Active(party.clone()));
        self.dismiss(Some(&party.user), DoneReason::AnsweredElsewhere);
        self.changed();
        Ok(())
    }

    /// The leg has answered: the user's other devices are silent, and the device is in.
    pub(super) fn answer(&mut self, leg: usize, party: &Party) {
        self.set_leg(leg, LegState::Accepted);
        if let Some(record) = self.legs.get_mut(leg) {
            record.told = false;
        }
        self.settle_legs(&party.user, LegState::AnsweredElsewhere);
        self.hush(Some(&party.user));
        if let Some(callee) = self.callees.iter_mut().find(|callee| callee.user == party.user) {
            (callee.settled, callee.answered) = (Some(Outcome::Answered), true);
        }
        self.members.push(super::Member::new(party.clone()));
        self.alone_since = None;
    }

    pub(super) fn decline(
        &mut self,
        now: Instant,
        party: &Party,
        reason: Option<DeclineReason>,
    ) -> Result<(), WireError> {
        let leg = self.ringing_leg(party)?;
        let (state, outcome) = match reason {
            None => (LegState::Declined, Outcome::Declined),
            Some(DeclineReason::Busy) => (LegState::Busy, Outcome::Busy),
        };
        self.reach(&party.user);
        self.set_leg(leg, state);
        self.settle_legs(&party.user, LegState::Cancelled);
        self.settle(now, &party.user, outcome, Some(&party.user));
        Ok(())
    }

    pub(super) fn callee_busy(&mut self, now: Instant, user: &str) -> Result<(), WireError> {
        if self.state() == CallState::Ended || !self.group {
            self.require(CallState::Ringing)?;
        }
        if self.rings(user) {
            self.settle_legs(user, LegState::Busy);
            self.settle(now, user, Outcome::Busy, None);
        }
        Ok(())
    }

    /// The ring of a callee has lasted long enough.
    pub(super) fn ring_over(&mut self, now: Instant, index: usize) {
        let Some(callee) = self.callees.get(index) else { return };
        let (user, outcome) =
            (callee.user.clone(), if callee.reached { Outcome::NoAnswer } else { Outcome::Unreachable });
        self.settle(now, &user, outcome, None);
    }

    /// The ring of a user is over. The call goes on in a group, and ends where nobody is left to ring and nobody has answered.
    pub(super) fn settle(&mut self, now: Instant, user: &str, outcome: Outcome, by: Option<&str>) {
        if let Some(callee) = self.callees.iter_mut().find(|callee| callee.user == user) {
            callee.settled = Some(outcome);
        }
        self.missed_by(user, outcome);
        if self.end_if_all_settled(now, by) {
            return;
        }
        for index in 0..self.legs.len() {
            let record = self.legs.get(index).filter(|record| record.leg.user == user);
            let state = match (record.map(|record| record.leg.state), outcome) {
                (Some(LegState::RingAcked), Outcome::NoAnswer) => LegState::TimedOut,
                (Some(LegState::Queued), Outcome::NoAnswer | Outcome::Unreachable) => LegState::Unreachable,
                (Some(LegState::Queued | LegState::RingAcked), _) => LegState::Cancelled,
                _ => continue,
            };
            self.set_leg(index, state);
        }
        self.hush(Some(user));
        self.dismiss(Some(user), outcome.into());
        self.watch_for_loneliness(now);
        self.changed();
    }

    /// Ends a call that rings nobody any more and that nobody has answered.
    pub(super) fn end_if_all_settled(&mut self, now: Instant, by: Option<&str>) -> bool {
        if !matches!(self.phase, Phase::Ringing) || self.callees.iter().any(|callee| callee.settled.is_none()) {
            return false;
        }
        // What most of all says that somebody could have answered.
        let weight = |outcome: &Outcome| match outcome {
            Outcome::NoAnswer => 4,
            Outcome::Declined => 3,
            Outcome::Busy => 2,
            Outcome::Unreachable => 1,
            _ => 0,
        };
        let outcome = self.callees.iter().filter_map(|callee| callee.settled).max_by_key(weight);
        let by = by.filter(|_| !self.group).map(str::to_owned);
        self.end(now, outcome.unwrap_or(Outcome::Cancelled), by);
        true
    }

    /// In a group each callee's ring has an end of its own; where there is only one, it is the call's.
    pub(super) fn missed_by(&mut self, user: &str, outcome: Outcome) {
        if self.group {
            self.outputs.push_back(CallOutput::Missed(user.to_owned(), outcome));
        }
    }

    fn wake(&mut self, user: &str) {
        self.outputs.push_back(CallOutput::Wake(user.to_owned()));
        self.callees.iter_mut().filter(|callee| callee.user == user).for_each(|callee| callee.woken = true);
    }

    /// Silences the sleeping devices of one user, or of all.
    pub(super) fn hush(&mut self, user: Option<&str>) {
        let woken = |callee: &&mut Callee| callee.woken && user.is_none_or(|user| callee.user == user);
        for callee in self.callees.iter_mut().filter(woken) {
            callee.woken = false;
            self.outputs.push_back(CallOutput::Hush(callee.user.clone()));
        }
    }

    pub(super) fn reach(&mut self, user: &str) {
        self.callees.iter_mut().filter(|callee| callee.user == user).for_each(|callee| callee.reached = true);
    }

    /// The leg of a callee's device that may still decide about the ring.
    pub(super) fn ringing_leg(&self, party: &Party) -> Result<usize, WireError> {
        self.require_party(party)?;
        if party.user == self.caller.user {
            return Err(WireError::new(ErrorCode::Forbidden, "only a callee may do this"));
        }
        if !self.group {
            self.require(CallState::Ringing)?;
        } else if self.state() == CallState::Ended {
            return Err(WireError::new(ErrorCode::Conflict, "the call is over"));
        }
        let told = |leg: &usize| self.legs.get(*leg).is_some_and(|record| record.told);
        let leg = self.leg_of(party).filter(told).filter(|_| self.rings(&party.user));
        leg.ok_or_else(|| WireError::new(ErrorCode::Conflict, "the call does not ring on this device"))
    }
}
