//! Loss in bursts: the two-state Markov chain of Gilbert and Elliott. It knows
//! nothing of packets but that there is a next one.

use rand_chacha::ChaCha8Rng;

use crate::dice::happens;

/// A good and a bad state, each with its own loss; before each packet the state may change. All are probabilities.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GilbertElliott {
    /// From good to bad, per packet.
    pub to_bad: f64,
    /// From bad to good, per packet: a bad spell lasts 1 / `to_good` packets on average.
    pub to_good: f64,
    /// Loss while good.
    pub loss_good: f64,
    /// Loss while bad.
    pub loss_bad: f64,
}

impl GilbertElliott {
    /// Nothing is lost.
    pub const NONE: Self = Self { to_bad: 0.0, to_good: 1.0, loss_good: 0.0, loss_bad: 0.0 };

    /// Every packet is lost with this probability, independently.
    pub const fn random(loss: f64) -> Self {
        Self { to_bad: 0.0, to_good: 1.0, loss_good: loss, loss_bad: loss }
    }

    /// The share that is lost in the long run: each state's loss, weighed by the share of time the chain spends in it.
    pub fn mean(&self) -> f64 {
        let changes = self.to_bad + self.to_good;
        let bad = if changes > 0.0 { self.to_bad / changes } else { 0.0 };
        self.loss_good * (1.0 - bad) + self.loss_bad * bad
    }

    /// Whether the next packet is lost; `bad` is the state.
    pub(crate) fn loses(&self, bad: &mut bool, dice: &mut ChaCha8Rng) -> bool {
        let change = if *bad { self.to_good } else { self.to_bad };
        *bad ^= happens(dice, change);
        happens(dice, if *bad { self.loss_bad } else { self.loss_good })
    }
}
