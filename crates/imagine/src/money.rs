//! What a picture costs, in millionths of the operator's currency: whole numbers, so that sums in the database are exact.

use serde::{Deserialize, Serialize};

/// An amount, in millionths. Which currency is the operator's to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Money(u64);

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// From millionths.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// In millionths.
    pub const fn micros(self) -> u64 {
        self.0
    }
}

impl TryFrom<f64> for Money {
    type Error = String;

    /// From whole units, such as 0.04; rounded to a millionth.
    fn try_from(units: f64) -> Result<Self, String> {
        // Far above what is spent on pictures, far below where a sum would overflow.
        if !(0.0..=1e9).contains(&units) {
            return Err(format!("an amount is between 0 and 1,000,000,000, not {units}"));
        }
        Ok(Self((units * 1e6).round() as u64))
    }
}

impl From<Money> for f64 {
    fn from(money: Money) -> f64 {
        money.0 as f64 / 1e6
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_to_a_millionth_and_nonsense_is_refused() {
        assert_eq!(serde_json::from_str::<Money>("0.04").unwrap().micros(), 40_000);
        assert_eq!(serde_json::from_str::<Money>("30").unwrap().micros(), 30_000_000);
        assert_eq!(serde_json::to_string(&Money::from_micros(14_500)).unwrap(), "0.0145");
        for wrong in ["-1", "1e30", "\"4\""] {
            assert!(serde_json::from_str::<Money>(wrong).is_err(), "{wrong}");
        }
    }
}
