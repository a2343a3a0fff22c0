//! Who takes the stage: a race of evidence. Everyone gathers evidence while they seem to speak and loses it while they do
//! not; whoever has gathered enough takes the stage, and enough is more while its holder speaks, has just spoken, or was
//! spoken over. Without speech nothing moves, so silence holds the stage.

use super::clock::Passed;
use super::network::{Judgement, exp, sigmoid};
use super::preset::Parameters;

/// A participant's case for being on the stage.
#[derive(Debug, Clone)]
pub(super) struct Evidence {
    /// Smoothed probability that they say something for the stage.
    probability: f32,
    /// Seconds of certainty gathered.
    gathered: f32,
    /// When they last seemed to speak.
    pub(super) spoke: i64,
    /// Whether an utterance is going on, and whether it began over the voice of the stage's holder.
    uttering: bool,
    over_holder: bool,
}

/// What a challenger sees of whoever is on the stage.
#[derive(Debug, Clone, Copy)]
pub(super) struct Holder {
    pub(super) probability: f32,
    /// When they last seemed to speak, and when a packet of theirs last came.
    pub(super) spoke: i64,
    pub(super) heard: i64,
    /// When they took the stage.
    pub(super) took: i64,
}

impl Evidence {
    pub(super) fn new(now: i64) -> Self {
        Self { probability: 0.0, gathered: 0.0, spoke: now - 1_000_000, uttering: false, over_holder: false }
    }

    /// They have muted.
    pub(super) fn clear(&mut self) {
        self.probability = 0.0;
        self.gathered = 0.0;
        self.uttering = false;
    }

    pub(super) fn as_holder(&self, heard: i64, took: i64) -> Holder {
        Holder { probability: self.probability, spoke: self.spoke, heard, took }
    }

    /// Takes what the network says of a packet. `challenged`: whoever else is on the stage.
    pub(super) fn on_judgement(
        &mut self,
        now: i64,
        passed: Passed,
        judgement: Judgement,
        on_stage: bool,
        challenged: Option<Holder>,
        parameters: &Parameters,
    ) {
        let p = parameters;
        if passed.gap > p.bridge {
            let pause = passed.gap - p.bridge;
            self.probability *= exp(-pause / p.release);
            self.gathered = (self.gathered - p.starve * p.threshold * pause / 1_000.0).max(0.0);
        }
        let weight = if on_stage { p.floor_weight_on_stage } else { p.floor_weight };
        let log_odds = (1.0 - weight) * judgement.utterance + weight * judgement.floor;
        let probability = sigmoid(p.gain * log_odds + p.bias);
        let time = if probability > self.probability { p.attack } else { p.release };
        self.probability += (probability - self.probability) * (1.0 - exp(-passed.packet / time));
        let excess = self.probability - p.threshold;
        let rate = if excess > 0.0 { p.gather } else { p.lose };
        self.gathered = (self.gathered + passed.packet / 1_000.0 * rate * excess).clamp(0.0, p.most);
        if self.probability > 0.5 {
            self.spoke = now;
        }
        if excess > 0.0 {
            if !self.uttering {
                self.uttering = true;
                self.over_holder = challenged.is_some_and(|holder| ((now - holder.spoke) as f32) < p.overlap_window);
            }
        } else if self.gathered <= 0.0 {
            self.uttering = false;
        }
    }

    /// Whether the evidence is enough to take the stage from whoever holds it, or to take it empty.
    pub(super) fn suffices(&self, now: i64, holder: Option<Holder>, parameters: &Parameters) -> bool {
        self.probability > parameters.least && self.gathered > self.needed(now, holder, parameters)
    }

    /// The evidence that is enough.
    pub(super) fn needed(&self, now: i64, holder: Option<Holder>, parameters: &Parameters) -> f32 {
        let p = parameters;
        let mut enough = p.empty;
        if let Some(holder) = holder {
            let idle = ((now - holder.heard) as f32 - p.bridge).max(0.0);
            enough += p.contested * holder.probability * exp(-idle / p.release);
            enough += p.recent * exp(-((now - holder.spoke) as f32) / p.recent_fade);
            enough += if self.over_holder { p.overlap } else { 0.0 };
            enough += p.settle * exp(-((now - holder.took) as f32) / p.settle_fade);
        }
        enough
    }

    /// The evidence gathered.
    pub(super) fn gathered(&self) -> f32 {
        self.gathered
    }

    /// Whether they may follow whoever has muted or left: their last packet may have been a dip between two syllables.
    pub(super) fn may_follow(&self, parameters: &Parameters) -> bool {
        self.gathered > parameters.empty
    }

    pub(super) fn take_stage(&mut self, parameters: &Parameters) {
        self.gathered = self.gathered.max(parameters.start.min(parameters.most));
    }

    pub(super) fn lose_stage(&mut self, parameters: &Parameters) {
        self.gathered *= parameters.keep;
    }
}
