//! The legs of a call: what has become of each callee device's part in it.

use super::{Call, CallOutput};
use crate::protocol::{Leg, LegState, Party};

#[derive(Debug, Clone)]
pub(super) struct LegRecord {
    pub(super) leg: Leg,
    /// The device has a session that was told of the ring, and not yet that it is done.
    pub(super) told: bool,
}

/// The most legs kept for the record of one user; beyond it those of vanished devices are forgotten, so that a device that comes and goes
/// under new names cannot grow a call.
const MAX_LEGS: usize = 32;

impl Call {
    /// A further leg; its device, where there is one, is to ring.
    pub(super) fn push_leg(&mut self, user: &str, device: Option<String>, state: LegState) {
        let of_user = self.legs.iter().filter(|record| record.leg.user == user).count();
        let vanished = |record: &LegRecord| record.leg.user == user && record.leg.state == LegState::Unreachable;
        if of_user >= MAX_LEGS
            && let Some(vanished) = self.legs.iter().position(vanished)
        {
            self.legs.remove(vanished);
        }
        let leg = Leg { user: user.to_owned(), device: device.clone(), state };
        let rings = state.is_ringing();
        self.legs.push(LegRecord { leg: leg.clone(), told: device.is_some() && rings });
        self.outputs.push_back(CallOutput::Leg(leg));
        if let Some(device) = device.filter(|_| rings) {
            self.outputs.push_back(CallOutput::Ring(Party { user: user.to_owned(), device }));
        }
    }

    pub(super) fn set_leg(&mut self, index: usize, state: LegState) {
        if let Some(record) = self.legs.get_mut(index)
            && record.leg.state != state
        {
            record.leg.state = state;
            self.outputs.push_back(CallOutput::Leg(record.leg.clone()));
        }
    }

    /// Sets the open legs of a user.
    pub(super) fn settle_legs(&mut self, user: &str, state: LegState) {
        for index in 0..self.legs.len() {
            if self.legs.get(index).is_some_and(|record| record.leg.user == user && record.leg.state.is_ringing()) {
                self.set_leg(index, state);
            }
        }
    }

    pub(super) fn leg_of(&self, party: &Party) -> Option<usize> {
        self.legs
            .iter()
            .position(|record| record.leg.user == party.user && record.leg.device.as_ref() == Some(&party.device))
    }
}
