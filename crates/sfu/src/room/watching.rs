//! Looking on while the stage is decided: what the detector makes of everybody, for members who have asked for it by opening a data
//! channel. Costs nothing while nobody has.

use std::cmp::Reverse;
use std::time::Instant;

use super::Room;
use crate::events::SfuEvent;

/// How many are told of at most: a screenful, and a message that fits every data channel.
const TOLD: usize = 24;

impl Room {
    /// A member looks on, or no longer.
    pub(crate) fn watch_stage(&mut self, key: usize, watches: bool) {
        self.watchers.retain(|&watcher| watcher != key);
        if watches && self.members.contains(key) {
            self.watchers.push(key);
            // The room may be quiet: it is due now.
            self.next_tick = self.origin;
        }
        self.tell_shards(key);
    }

    pub(super) fn tell_readings(&mut self, now: Instant) {
        if self.watchers.is_empty() || !self.leads {
            return;
        }
        let on_stage = self.stage.on_stage();
        let reading =
            |member: &super::Member| Some((member.id, self.stage.reading(now, member.id)?, member.voice.word()));
        let mut readings: Vec<_> = self.members.iter().filter_map(|(_, member)| reading(member)).collect();
        readings.sort_by_key(|(id, reading, _)| Reverse((Some(*id) == on_stage, reading.speaking, reading.evidence)));
        readings.truncate(TOLD);
        let watchers = self.watchers.iter().filter_map(|&key| Some(self.members.get(key)?.id)).collect();
        self.events.push_back(SfuEvent::StageReadings { room: self.id, watchers, on_stage, readings });
    }
}
