//! The stage of a shard that does not decide it: what the deciding shard of the room has told. Levels and mutes change nothing here.

use std::collections::VecDeque;
use std::time::Instant;

use super::{Reading, StageChange, StageDetector, StageReason};
use crate::ids::ParticipantId;

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct ToldStage {
    on_stage: Option<ParticipantId>,
    lit: Vec<ParticipantId>,
    untold: VecDeque<(ParticipantId, bool)>,
}

impl StageDetector for ToldStage {
    fn join(&mut self, _now: Instant, participant: ParticipantId, _muted: bool) {
        // It may have been told of them before they were known here.
        if self.lit.contains(&participant) {
            self.untold.push_back((participant, true));
        }
    }

    fn leave(&mut self, _now: Instant, _participant: ParticipantId) -> Option<StageChange> {
        None
    }

    fn set_muted(&mut self, _now: Instant, _participant: ParticipantId, _muted: bool) -> Option<StageChange> {
        None
    }

    fn on_level(
        &mut self,
        _now: Instant,
        _participant: ParticipantId,
        _rtp_time: u32,
        _level: u8,
        _voice: bool,
    ) -> Option<StageChange> {
        None
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn handle_timeout(&mut self, _now: Instant) -> Option<StageChange> {
        None
    }

    fn on_stage(&self) -> Option<ParticipantId> {
        self.on_stage
    }

    fn is_speaking(&self, participant: ParticipantId) -> bool {
        self.lit.contains(&participant)
    }

    fn poll_speaking(&mut self) -> Option<(ParticipantId, bool)> {
        self.untold.pop_front()
    }

    fn reading(&self, _now: Instant, _participant: ParticipantId) -> Option<Reading> {
        None
    }

    fn told(
        &mut self,
        on_stage: Option<ParticipantId>,
        reason: StageReason,
        speaking: &[ParticipantId],
    ) -> Option<StageChange> {
        let out = self.lit.iter().filter(|one| !speaking.contains(one)).map(|&one| (one, false));
        let on = speaking.iter().filter(|one| !self.lit.contains(one)).map(|&one| (one, true));
        self.untold.extend(out.chain(on));
        self.lit.clear();
        self.lit.extend_from_slice(speaking);
        let is_news = std::mem::replace(&mut self.on_stage, on_stage) != on_stage;
        is_news.then_some(StageChange { participant: on_stage, reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_passed_on_once() {
        let (ann, bob) = (ParticipantId(1), ParticipantId(2));
        let mut stage = ToldStage::default();
        let change = stage.told(Some(ann), StageReason::Speaking, &[ann]);
        assert_eq!(change, Some(StageChange { participant: Some(ann), reason: StageReason::Speaking }));
        assert_eq!(stage.poll_speaking(), Some((ann, true)));
        assert_eq!(stage.told(Some(ann), StageReason::Speaking, &[ann, bob]), None);
        assert_eq!((stage.poll_speaking(), stage.poll_speaking()), (Some((bob, true)), None));
        assert_eq!(stage.told(Some(ann), StageReason::Speaking, &[bob]), None);
        assert_eq!((stage.poll_speaking(), stage.poll_speaking()), (Some((ann, false)), None));
        assert_eq!((stage.on_stage(), stage.is_speaking(ann), stage.is_speaking(bob)), (Some(ann), false, true));
    }
}
