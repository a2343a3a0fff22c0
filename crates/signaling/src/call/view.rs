//! What can be asked of a call.

use std::time::{Duration, Instant};

use super::{Call, Phase};
use crate::protocol::{CallInfo, CallKind, CallState, Outcome, Party, UserRef};

impl Call {
    /// Whether the user is its caller or one of its callees.
    pub fn concerns(&self, user: &str) -> bool {
        self.caller.user == user || self.is_callee(user)
    }

    /// Whether the user was asked to this call.
    pub fn is_callee(&self, user: &str) -> bool {
        self.callees.iter().any(|callee| callee.user == user)
    }

    /// Whether the user is being rung.
    pub fn rings(&self, user: &str) -> bool {
        let open = self.callees.iter().any(|callee| callee.user == user && callee.settled.is_none());
        open && self.state() != CallState::Ended
    }

    /// Whether the user is in it: the caller from the start, a callee once they have accepted, until they leave. They may be in its room.
    pub fn has_member(&self, user: &str) -> bool {
        self.state() != CallState::Ended && self.member_of(user).is_some()
    }

    /// Whether the device that holds the call for this user is away.
    pub fn is_adrift(&self, user: &str) -> bool {
        self.member_of(user).is_some_and(|member| member.due.is_some())
    }

    /// Whether this device holds the call, or it rings there (and is not ignored).
    pub fn is_on(&self, party: &Party) -> bool {
        if self.state() == CallState::Ended {
            return false;
        }
        let leg = self.leg_of(party).and_then(|leg| self.legs.get(leg));
        self.members.iter().any(|member| member.party == *party)
            || leg.is_some_and(|record| record.told && record.leg.state.is_ringing())
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its room.
    pub fn room(&self) -> &str {
        &self.room
    }

    /// Its thread.
    pub fn thread(&self) -> &str {
        &self.thread
    }

    /// Voice or video.
    pub fn kind(&self) -> CallKind {
        self.kind
    }

    /// Whether it was placed to, or has come to include, more than two.
    pub fn is_group(&self) -> bool {
        self.group
    }

    /// The caller's device.
    pub fn caller(&self) -> &Party {
        &self.caller
    }

    /// The users it rings, or has rung, or has let in.
    pub fn callees(&self) -> impl Iterator<Item = &str> {
        self.callees.iter().map(|callee| callee.user.as_str())
    }

    /// The devices in it, the longest there first.
    pub fn members(&self) -> impl Iterator<Item = &Party> {
        self.members.iter().map(|member| &member.party)
    }

    /// Who has the host's rights: the caller while they are in it, otherwise who has been in it the longest.
    pub fn host(&self) -> &str {
        let caller_is_in = self.member_of(&self.caller.user).is_some();
        let longest = self.members.first().filter(|_| !caller_is_in);
        longest.map_or(&self.caller.user, |member| &member.party.user)
    }

    /// Those whose ring is over and who were never in it.
    pub fn missed(&self) -> impl Iterator<Item = UserRef> + '_ {
        let missed =
            self.callees.iter().filter(|callee| !callee.answered && !callee.removed && callee.settled.is_some());
        missed.map(|callee| UserRef { user: callee.user.clone(), name: callee.name.clone() })
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

    /// How long people have talked so far, while it is active.
    pub fn talked(&self, now: Instant) -> Option<Duration> {
        match &self.phase {
            Phase::Active { since, before } => Some(*before + now.saturating_duration_since(*since)),
            _ => None,
        }
    }

    /// Whether any device of a callee said that it shows the ring, or did something with it.
    pub fn acknowledged(&self) -> bool {
        self.callees.iter().any(|callee| callee.reached)
    }

    /// How much longer it rings for this user at the most.
    pub fn rings_for(&self, now: Instant, user: &str) -> Duration {
        let rung = self.callees.iter().find(|callee| callee.user == user).map_or(self.placed, |callee| callee.rung);
        (rung + self.timing.ring).saturating_duration_since(now)
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
            group: self.group,
            members: match self.phase {
                Phase::Ended { .. } => Vec::new(),
                _ => self.members.iter().map(|member| member.party.clone()).collect(),
            },
            host: self.host().to_owned(),
        }
    }
}
