//! What those who are in a call do: leave, vanish, come late or again, invite, and, as the host, let in, take out and end it for all.

use std::time::Instant;

use super::{Call, CallOutput, Callee, MAX_PEOPLE, NewCallee, Phase};
use crate::protocol::{CallState, DoneReason, ErrorCode, LegState, Outcome, Party, WireError};

/// Somebody who is in the call, on one device.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) party: Party,
    /// The device is away; by when it must be back.
    pub(super) due: Option<Instant>,
}

impl Member {
    pub(super) fn new(party: Party) -> Self {
        Self { party, due: None }
    }
}

/// The most who may wait for the host's answer.
const MAX_KNOCKING: usize = 32;

impl Call {
    /// Comes into an active group call: late, or again.
    pub(super) fn join(&mut self, party: Party) -> Result<(), WireError> {
        self.require_party(&party)?;
        let conflict = |message| Err(WireError::new(ErrorCode::Conflict, message));
        if let Some(index) = self.members.iter().position(|member| member.party.user == party.user) {
            match self.members.get(index) {
                Some(member) if member.party == party => return conflict("already in this call"),
                Some(member) if member.due.is_none() => {
                    return conflict("in this call on another device; hang up there first");
                }
                // That device has vanished, and this one takes over.
                _ => {
                    let vanished = self.members.remove(index).party;
                    let reason = DoneReason::AnsweredElsewhere;
                    self.outputs.push_back(CallOutput::Left(vanished.clone(), reason));
                    self.outputs.push_back(CallOutput::Done(vanished, reason));
                }
            }
        }
        if self.callees.iter().any(|callee| callee.user == party.user && callee.removed) {
            return Err(WireError::new(ErrorCode::Forbidden, "the host has removed you from this call"));
        }
        self.reach(&party.user);
        if party.user == self.caller.user {
            // The caller has no leg; they may come back on another device.
            self.caller = party.clone();
            self.members.push(Member::new(party.clone()));
            self.alone_since = None;
        } else {
            let leg = self.leg_of(&party).unwrap_or_else(|| {
                self.push_leg(&party.user, Some(party.device.clone()), LegState::Accepted);
                self.legs.len().saturating_sub(1)
            });
            self.answer(leg, &party);
        }
        self.outputs.push_back(CallOutput::Joined(party.clone()));
        self.dismiss(Some(&party.user), DoneReason::AnsweredElsewhere);
        self.changed();
        Ok(())
    }

    pub(super) fn hangup(&mut self, now: Instant, party: Party) -> Result<(), WireError> {
        self.require_party(&party)?;
        self.require(CallState::Active)?;
        if !self.group {
            self.end(now, Outcome::Answered, Some(party.user));
            return Ok(());
        }
        let Some(index) = self.members.iter().position(|member| member.party.user == party.user) else {
            return Err(WireError::new(ErrorCode::Conflict, "not in this call"));
        };
        self.leave(now, index, DoneReason::Left, Some(party.user));
        Ok(())
    }

    /// A member's device has been away for too long.
    pub(super) fn member_vanished(&mut self, now: Instant, index: usize) {
        let Some(user) = self.members.get(index).map(|member| member.party.user.clone()) else { return };
        match self.phase {
            // Whoever rings others and vanishes has given up.
            Phase::Ringing => self.end(now, Outcome::Cancelled, Some(user)),
            _ if self.group => self.leave(now, index, DoneReason::Left, None),
            _ => self.end(now, Outcome::Answered, Some(user)),
        }
    }

    /// Takes a member out of a group call; the last one out ends it.
    fn leave(&mut self, now: Instant, index: usize, reason: DoneReason, by: Option<String>) {
        if index >= self.members.len() {
            return;
        }
        let party = self.members.remove(index).party;
        if let Some(leg) = self.leg_of(&party) {
            let state = if reason == DoneReason::Removed { LegState::Removed } else { LegState::Left };
            self.set_leg(leg, state);
        }
        self.outputs.push_back(CallOutput::Left(party.clone(), reason));
        self.outputs.push_back(CallOutput::Done(party, reason));
        if self.members.is_empty() {
            return self.end(now, Outcome::Answered, by);
        }
        self.watch_for_loneliness(now);
        self.changed();
    }

    /// One member in a group call that rings nobody waits for a while, and not for ever.
    pub(super) fn watch_for_loneliness(&mut self, now: Instant) {
        let rings = self.callees.iter().any(|callee| callee.settled.is_none());
        let alone = matches!(self.phase, Phase::Active { .. }) && self.group && self.members.len() < 2 && !rings;
        self.alone_since = if alone { self.alone_since.or(Some(now)) } else { None };
    }

    /// Rings more people; those who refused, missed it, left or were removed again.
    pub(super) fn invite(&mut self, now: Instant, by: &Party, callees: Vec<NewCallee>) -> Result<(), WireError> {
        self.require_member(by)?;
        let here = |user: &str| self.member_of(user).is_some() || self.rings(user);
        if let Some(callee) = callees.iter().find(|callee| here(&callee.user)) {
            let message = format!("{} is in this call already, or being rung", callee.user);
            return Err(WireError::new(ErrorCode::Conflict, message));
        }
        let new = callees.iter().filter(|callee| !self.concerns(&callee.user)).count();
        if 1 + self.callees.len() + new > MAX_PEOPLE {
            let message = format!("a call may concern {MAX_PEOPLE} people");
            return Err(WireError::new(ErrorCode::Unavailable, message));
        }
        if callees.iter().any(|callee| callee.user == self.caller.user) {
            return Err(WireError::new(ErrorCode::Conflict, "the caller has left, and comes back by accepting"));
        }
        self.group = true;
        self.alone_since = None;
        for callee in callees {
            self.knocking.retain(|(party, _)| party.user != callee.user);
            self.ring(now, callee);
        }
        self.watch_for_loneliness(now);
        self.changed();
        Ok(())
    }

    /// Somebody who has the call's id and was not rung asks to be let in.
    pub(super) fn knock(&mut self, from: Party, name: String) -> Result<(), WireError> {
        self.require(CallState::Active)?;
        let removed = self.callees.iter().any(|callee| callee.user == from.user && callee.removed);
        if self.concerns(&from.user) && !removed {
            return Err(WireError::new(ErrorCode::Conflict, "no need to knock: accept the call"));
        }
        if 1 + self.callees.len() >= MAX_PEOPLE || self.knocking.len() >= MAX_KNOCKING {
            return Err(WireError::new(ErrorCode::Unavailable, "the call is full, or too many are waiting"));
        }
        if !self.knocking.iter().any(|(party, _)| *party == from) {
            self.knocking.push((from.clone(), name.clone()));
        }
        let host = self.host().to_owned();
        let hosts = self.members.iter().map(|member| &member.party).filter(|party| party.user == host);
        let hosts = hosts.cloned().collect();
        self.outputs.push_back(CallOutput::Knock { hosts, from, name });
        Ok(())
    }

    /// The host's answer to a knock. Whoever is let in may accept the call like one who was rung.
    pub(super) fn admit(&mut self, now: Instant, by: &Party, user: &str, admitted: bool) -> Result<(), WireError> {
        self.require_host(by)?;
        let (asked, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.knocking).into_iter().partition(|(party, _)| party.user == user);
        self.knocking = waiting;
        let Some((_, name)) = asked.first().cloned() else {
            return Err(WireError::new(ErrorCode::NotFound, "nobody of that name is waiting to be let in"));
        };
        if admitted {
            self.group = true;
            match self.callees.iter_mut().find(|callee| callee.user == user) {
                Some(callee) => callee.removed = false,
                None => self.callees.push(Callee {
                    user: user.to_owned(),
                    name: Some(name),
                    reached: true,
                    woken: false,
                    rung: now,
                    // Does not ring: they are waiting.
                    settled: Some(Outcome::Cancelled),
                    answered: true,
                    removed: false,
                }),
            }
        }
        let answers = asked.into_iter().map(|(party, _)| CallOutput::Admitted(party, admitted));
        self.outputs.extend(answers);
        if admitted {
            self.changed();
        }
        Ok(())
    }

    /// Takes a user out: of the call, or off the list of those it rings.
    pub(super) fn remove(&mut self, now: Instant, by: &Party, user: &str) -> Result<(), WireError> {
        self.require_host(by)?;
        if !self.group {
            return Err(WireError::new(ErrorCode::Conflict, "a call of two has nobody to remove; hang up instead"));
        }
        if by.user == user {
            return Err(WireError::new(ErrorCode::BadRequest, "user: hang up to leave oneself"));
        }
        let index = self.members.iter().position(|member| member.party.user == user);
        let Some(callee) = self.callees.iter_mut().find(|callee| callee.user == user) else {
            // The caller who is not the host has left; there is nobody to take out.
            return Err(WireError::new(ErrorCode::NotFound, "nobody of that name is in this call"));
        };
        callee.removed = true;
        let rang = callee.settled.is_none();
        if let Some(index) = index {
            self.leave(now, index, DoneReason::Removed, None);
        } else if rang {
            self.settle_legs(user, LegState::Removed);
            self.settle(now, user, Outcome::Cancelled, None);
        }
        Ok(())
    }

    pub(super) fn member_of(&self, user: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.party.user == user)
    }

    fn require_member(&self, party: &Party) -> Result<(), WireError> {
        self.require_party(party)?;
        if self.state() == CallState::Ended {
            return Err(WireError::new(ErrorCode::Conflict, "the call is over"));
        }
        if self.member_of(&party.user).is_none() {
            return Err(WireError::new(ErrorCode::Forbidden, "only somebody in the call may do this"));
        }
        Ok(())
    }

    /// That this is the host, who may do more than others.
    pub(crate) fn require_host(&self, party: &Party) -> Result<(), WireError> {
        self.require_member(party)?;
        if self.host() != party.user {
            return Err(WireError::new(ErrorCode::Forbidden, "only the host of the call may do this"));
        }
        Ok(())
    }
}
