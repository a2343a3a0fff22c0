//! Stills: what a video slot shows of a publisher that answers no request for a keyframe, from when somebody begins to look until its next keyframe.

use std::time::Instant;

use ringback_transport::sdp::MediaKind;

use super::Room;
use super::flows::layer_mut;
use crate::forward::{PacketSink, Switched, Target};
use crate::publisher::Answers;
use crate::publisher::Source as PacketSource;

impl Room {
    /// Sends the last keyframe to every slot that waits for a layer whose publisher does not answer.
    pub(super) fn show_stills<S: PacketSink>(&mut self, now: Instant, sink: &mut S) {
        for (member, subscriber) in &mut self.subscribers {
            if !self.members.get(member).is_some_and(|m| m.connected && m.admitted) {
                continue;
            }
            for at in 0..subscriber.slots.len() {
                let slot = &subscriber.slots[at];
                let waits = slot.kind == MediaKind::Video && slot.wanted() != slot.flowing();
                let Some(wanted) = slot.wanted().filter(|_| waits) else { continue };
                let Some(layer) = layer_mut(&mut self.publishers, wanted).filter(|layer| layer.answers == Answers::No)
                else {
                    continue;
                };
                let target = Target { member: member as u32, slot: at as u32 };
                let from = PacketSource { key: wanted, store_id: layer.store_id, targets: &[] };
                for packet in layer.last_keyframe.packets(now) {
                    if let Some(timestamp) = subscriber.forward(now, target, from, &packet, sink) {
                        self.switched.push(Switched { target, timestamp });
                    }
                }
                if subscriber.slots[at].flowing() == Some(wanted) {
                    subscriber.slots[at].hold_still();
                }
            }
        }
        self.tell_switched();
    }
}
