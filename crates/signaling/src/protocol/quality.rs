//! How good connections are, as clients, the log of calls and events see it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a voice suffers on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QualityLevel {
    /// Nothing to speak of.
    Good,
    /// Some notice.
    Fair,
    /// Words are lost, or people talk at the same time.
    Poor,
    /// Nothing arrives any more.
    Lost,
}

/// A connection as the server has measured it lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quality {
    /// In the worse direction.
    pub level: QualityLevel,
    /// There and back, in milliseconds.
    pub round_trip_ms: u32,
    /// Lost on the way to the server, in 1/1000, before repair.
    pub loss_up: u16,
    /// Lost on the way from the server, in 1/1000, before repair.
    pub loss_down: u16,
    /// The larger of the two jitters, in milliseconds.
    pub jitter_ms: u32,
}

/// For how long a connection was how good, in milliseconds. What was not measured is not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QualityTimes {
    /// Good.
    pub good_ms: u64,
    /// Fair.
    pub fair_ms: u64,
    /// Poor.
    pub poor_ms: u64,
    /// Lost.
    pub lost_ms: u64,
}

impl QualityTimes {
    /// Counts some more time.
    pub fn add(&mut self, level: QualityLevel, time: Duration) {
        let counted = match level {
            QualityLevel::Good => &mut self.good_ms,
            QualityLevel::Fair => &mut self.fair_ms,
            QualityLevel::Poor => &mut self.poor_ms,
            QualityLevel::Lost => &mut self.lost_ms,
        };
        *counted += u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            good_ms: self.good_ms + other.good_ms,
            fair_ms: self.fair_ms + other.fair_ms,
            poor_ms: self.poor_ms + other.poor_ms,
            lost_ms: self.lost_ms + other.lost_ms,
        }
    }
}

/// How good a user's connection was in a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserQuality {
    /// Whose.
    pub user: String,
    /// For how long it was how good.
    #[serde(flatten)]
    pub times: QualityTimes,
}
