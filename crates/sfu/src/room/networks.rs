//! What members' networks take: their feedback on its way to the estimates, the budgets that layers are chosen for, and what leaves
//! later than it came.

use std::time::Instant;

use super::Room;
use crate::events::SfuEvent;
use crate::forward::PacketSink;
use crate::subscriber::Subscriber;

impl Room {
    /// A member's feedback says something of their network.
    pub(super) fn on_network(&mut self, now: Instant, key: usize, tell: impl FnOnce(&mut Subscriber)) {
        let Some(subscriber) = self.subscribers.get_mut(key) else { return };
        tell(subscriber);
        let possible = subscriber.possible();
        self.set_budget(now, key, possible);
    }

    /// Sends what is due of what waits, and padding.
    pub(super) fn pace<S: PacketSink>(&mut self, now: Instant, sink: &mut S) {
        if self.next_pace.is_none_or(|at| at > now) {
            return;
        }
        self.next_pace = None;
        for (member, subscriber) in &mut self.subscribers {
            let due = subscriber.pace(now, member, sink);
            self.next_pace = [self.next_pace, due].into_iter().flatten().min();
        }
    }

    /// Looks at everybody's network anew, and tells what is known of them.
    pub(super) fn tick_networks<S: PacketSink>(&mut self, now: Instant, sink: &mut S) {
        for (member, subscriber) in &mut self.subscribers {
            let Some(participant) = self
                .members
                .get(member)
                .filter(|member| member.connected && member.elsewhere.is_none())
                .map(|member| member.id)
            else {
                continue;
            };
            if let Some(possible) = subscriber.tick_network(now) {
                subscriber.allocator.budget.interrupt(now, possible);
            }
            if let Some(bandwidth) = subscriber.tell_bandwidth(now) {
                self.events.push_back(SfuEvent::Bandwidth { room: self.id, participant, bandwidth });
            }
        }
        self.next_pace = Some(now);
        self.pace(now, sink);
    }

    /// How many networks are measured, and what all of them take together, in bits per second.
    pub(crate) fn bandwidths(&self) -> (usize, u64) {
        let known = self.subscribers.iter().filter_map(|(_, subscriber)| subscriber.bandwidth());
        known.fold((0, 0), |(count, sum), bandwidth| (count + 1, sum + bandwidth.estimate))
    }
}
