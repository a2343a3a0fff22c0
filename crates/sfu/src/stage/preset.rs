//! How eager the stage is: the presets and the numbers behind them. They were fitted together, on the training scenes
//! (docs/speaker.md); none means much alone.

use serde::{Deserialize, Serialize};

/// How eagerly the stage follows the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// Follows at once, and now and then follows a cough: for pairs and for debates.
    Fast,
    /// Waits a syllable longer: for most rooms.
    #[default]
    Balanced,
    /// Moves only when it is certain: for recordings and for large rooms.
    Calm,
}

/// The numbers of a preset. Probabilities are 0 to 1; evidence is in seconds of certainty; times are in ms.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parameters {
    /// The network's log-odds are stretched by this, …
    pub(super) gain: f32,
    /// … and moved by this: the network is honest, but a wrong picture costs more than a late one.
    pub(super) bias: f32,
    /// How much the log-odds of having the floor count against those of an utterance, for challengers …
    pub(super) floor_weight: f32,
    /// … and for whoever is on the stage, who may keep it with any utterance.
    pub(super) floor_weight_on_stage: f32,
    /// Time to believe in speech, …
    pub(super) attack: f32,
    /// … and to believe in its end.
    pub(super) release: f32,
    /// A probability above this gathers evidence, below it loses some.
    pub(super) threshold: f32,
    /// How fast evidence is gathered, …
    pub(super) gather: f32,
    /// … and lost.
    pub(super) lose: f32,
    /// … and lost while nothing is sent at all.
    pub(super) starve: f32,
    /// No more evidence than this is kept: a long speech does not hold the stage longer than a short one.
    pub(super) most: f32,
    /// Nobody less probable than this takes the stage, whatever their evidence.
    pub(super) least: f32,
    /// Evidence that takes an empty stage. More spares coughs and costs the same time at each turn.
    pub(super) empty: f32,
    /// … more if whoever is on the stage spoke a moment ago, …
    pub(super) recent: f32,
    /// … fading in this time.
    pub(super) recent_fade: f32,
    /// … more while they speak.
    pub(super) contested: f32,
    /// … more for an utterance that began while they spoke or within `overlap_window` of it: that is what a "yeah" does.
    pub(super) overlap: f32,
    /// See `overlap`.
    pub(super) overlap_window: f32,
    /// … more if the stage has just changed, so that it does not flap, …
    pub(super) settle: f32,
    /// … fading in this time.
    pub(super) settle_fade: f32,
    /// Gaps of up to this are bridged: loss, not silence.
    pub(super) bridge: f32,
    /// Whoever takes the stage starts with this much evidence at least, …
    pub(super) start: f32,
    /// … and whoever loses it keeps this share of theirs.
    pub(super) keep: f32,
}

const BALANCED: Parameters = Parameters {
    gain: 0.9246,
    bias: -0.8351,
    floor_weight: 0.3419,
    floor_weight_on_stage: -0.08608,
    attack: 2.0,
    release: 7.506,
    threshold: 0.2996,
    gather: 1.197,
    lose: 0.603,
    starve: 0.9208,
    most: 0.5434,
    least: 0.5985,
    empty: 0.00978,
    recent: 0.2022,
    recent_fade: 175.8,
    contested: 1.059,
    overlap: 0.1609,
    overlap_window: 167.5,
    settle: 0.03365,
    settle_fade: 604.8,
    bridge: 121.8,
    start: 0.05884,
    keep: 0.0,
};

impl Preset {
    /// All of them, the most eager first.
    pub const ALL: [Self; 3] = [Self::Fast, Self::Balanced, Self::Calm];

    /// Its name, as on the wire and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Balanced => "balanced",
            Self::Calm => "calm",
        }
    }

    pub(super) const fn parameters(self) -> Parameters {
        match self {
            // About a packet less of evidence for an empty stage, and less proof against the holder.
            Self::Fast => Parameters { empty: 0.002, recent: 0.1415, overlap: 0.09653, settle: 0.0, ..BALANCED },
            Self::Balanced => BALANCED,
            // A few packets more of evidence: most of what is shorter than a sentence passes.
            Self::Calm => Parameters { least: 0.75, empty: 0.09978, settle: 0.0673, ..BALANCED },
        }
    }
}
