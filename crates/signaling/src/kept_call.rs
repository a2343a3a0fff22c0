//! Calls under way as they are kept for the next process, should this one end: folded from the events of signaling, so that whoever keeps the events
//! in order keeps these with them. Pure; where they are kept is the engine's business, what becomes of them [`Call::restore`](crate::call::Call::restore)'s.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::protocol::{CallInfo, Leg, Party, UserRef};
use crate::signaling_event::SignalingEvent;

/// A call that is not over, with all that is needed to go on with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptCall {
    /// The call with its legs, and who is in it.
    pub call: CallInfo,
    /// The caller's device.
    pub caller: Party,
    /// When it was answered, in Unix milliseconds; later by as long as no process had it. Absent while it rings.
    pub active_since: Option<u64>,
}

/// What an event has changed about the calls that are kept.
#[derive(Debug, Clone, PartialEq)]
pub enum KeptChange {
    /// This call is to be kept as it is now.
    Keep(Box<KeptCall>),
    /// The call of this id is over.
    Forget(String),
}

/// All calls that are not over.
#[derive(Debug, Default)]
pub struct KeptCalls(HashMap<String, KeptCall>);

impl KeptCalls {
    /// Takes an event in. The events of a call must come in the order in which signaling tells them.
    pub fn apply(&mut self, event: &SignalingEvent) -> Option<KeptChange> {
        match event {
            SignalingEvent::CallPlaced { call, caller, .. } => self.begin(call, caller, None),
            SignalingEvent::CallRestored { call, caller, active_since, .. } => {
                self.begin(call, caller, Some(*active_since))
            }
            SignalingEvent::LegChanged { call, leg, .. } => self.change(call, |kept| change_leg(&mut kept.call, leg)),
            SignalingEvent::CallActive { at, call, .. } => self.change(&call.id, |kept| {
                (kept.call, kept.active_since) = (call.clone(), Some(*at));
            }),
            SignalingEvent::CallJoined { call, party, .. } => self.change(call, |kept| {
                kept.call.members.retain(|member| member.user != party.user);
                kept.call.members.push(party.clone());
                if party.user == kept.caller.user {
                    kept.caller = party.clone();
                }
            }),
            SignalingEvent::CallLeft { call, party, .. } => {
                self.change(call, |kept| kept.call.members.retain(|member| member != party))
            }
            SignalingEvent::CallEnded { call, .. } => {
                self.0.remove(&call.id);
                Some(KeptChange::Forget(call.id.clone()))
            }
            _ => None,
        }
    }

    fn begin(&mut self, call: &CallInfo, caller: &Party, active_since: Option<u64>) -> Option<KeptChange> {
        let kept = KeptCall { call: call.clone(), caller: caller.clone(), active_since };
        self.0.insert(call.id.clone(), kept.clone());
        Some(KeptChange::Keep(Box::new(kept)))
    }

    fn change(&mut self, call: &str, change: impl FnOnce(&mut KeptCall)) -> Option<KeptChange> {
        let kept = self.0.get_mut(call)?;
        change(kept);
        Some(KeptChange::Keep(Box::new(kept.clone())))
    }
}

fn change_leg(call: &mut CallInfo, leg: &Leg) {
    if !call.to.iter().any(|to| to.user == leg.user) {
        // Invited, or let in.
        call.to.push(UserRef { user: leg.user.clone(), name: None });
        call.group = true;
    }
    if leg.device.is_some() {
        // A leg without a device stood for the user as a whole while none was there.
        call.legs.retain(|known| known.user != leg.user || known.device.is_some());
    }
    match call.legs.iter_mut().find(|known| known.user == leg.user && known.device == leg.device) {
        Some(known) => known.state = leg.state,
        None => call.legs.push(leg.clone()),
    }
}
