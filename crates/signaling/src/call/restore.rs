//! A call that another process had under way, as this one goes on with it: whoever was in it has a while to come back, and the rings that were under way fail,
//! since nobody knows any more who was told of them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::legs::LegRecord;
use super::{Call, CallOutput, CallTiming, Callee, Member, Phase};
use crate::kept_call::KeptCall;
use crate::protocol::{CallState, LegState, Outcome};

/// How long members may take to come back after a restart. Longer than what a client waits between two tries (10 s), so that each gets one; who does
/// not come keeps the others waiting for as long.
const RETURN: Duration = Duration::from_secs(30);

/// A process that was away for longer than this has lost its calls: nobody still listens to silence.
const LOST_AFTER: Duration = Duration::from_secs(120);

impl Call {
    /// Goes on with a call in which people had `talked` for so long until it was `away`, held by no process. One that rang fails, and one of a process that has been gone for too long is over, as its outputs say; otherwise it is active, and all of its
    /// members are away for now.
    pub fn restore(now: Instant, timing: CallTiming, kept: KeptCall, talked: Duration, away: Duration) -> Self {
        let KeptCall { call, caller, active_since } = kept;
        let legs = |user: &str, states: &[LegState]| {
            call.legs.iter().any(|leg| leg.user == user && states.contains(&leg.state))
        };
        let callee = |user: &str, name: Option<String>| {
            let rings = legs(user, &[LegState::Queued, LegState::RingAcked, LegState::Ignored]);
            let answered = legs(user, &[LegState::Accepted, LegState::Left]);
            let removed = legs(user, &[LegState::Removed]);
            let settled = match () {
                () if answered => Some(Outcome::Answered),
                () if legs(user, &[LegState::Declined]) => Some(Outcome::Declined),
                () if legs(user, &[LegState::Busy]) => Some(Outcome::Busy),
                () if legs(user, &[LegState::TimedOut]) => Some(Outcome::NoAnswer),
                () if rings => None,
                () if legs(user, &[LegState::Unreachable]) => Some(Outcome::Unreachable),
                () => Some(Outcome::Cancelled),
            };
            let reached = answered || legs(user, &[LegState::RingAcked, LegState::Declined, LegState::TimedOut]);
            let user = user.to_owned();
            // Devices that were asleep may be ringing still.
            Callee { user, name, reached, woken: settled.is_none(), rung: now, settled, answered, removed }
        };
        let phase = if active_since.is_some() { Phase::Active { since: now, before: talked } } else { Phase::Ringing };
        let members = call.members.iter().cloned().map(|party| Member { party, due: Some(now + RETURN) });
        let mut restored = Self {
            members: members.collect(),
            callees: call.to.iter().map(|to| callee(&to.user, to.name.clone())).collect(),
            legs: call.legs.iter().cloned().map(|leg| LegRecord { leg, told: false }).collect(),
            caller_name: call.from.name.unwrap_or_else(|| caller.user.clone()),
            caller,
            id: call.id,
            kind: call.kind,
            thread: call.thread,
            room: call.room,
            group: call.group,
            knocking: Vec::new(),
            placed_at: call.placed_at,
            placed: now,
            // Never none, which stands for a call of this process.
            away: away.max(Duration::from_millis(1)),
            timing,
            phase,
            alone_since: None,
            outputs: VecDeque::from([CallOutput::Restored]),
        };
        if restored.state() == CallState::Ringing {
            restored.end(now, Outcome::Failed, None);
        } else if away > LOST_AFTER || restored.members.is_empty() {
            restored.end(now, Outcome::Answered, None);
        } else {
            let rung = restored.callees.iter().filter(|callee| callee.settled.is_none());
            for user in rung.map(|callee| callee.user.clone()).collect::<Vec<_>>() {
                restored.settle_legs(&user, LegState::Cancelled);
                restored.settle(now, &user, Outcome::Failed, None);
            }
            restored.watch_for_loneliness(now);
        }
        restored
    }

    /// How long no process had it, which counts neither as ringing nor as talking.
    pub fn away(&self) -> Duration {
        self.away
    }
}
