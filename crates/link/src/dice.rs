//! The dice of a link: one stream of random numbers for each thing that chance decides, all from one seed, so that changing the
//! jitter of a profile leaves its losses where they were.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

#[derive(Debug)]
pub(crate) struct Dice {
    pub(crate) loss: ChaCha8Rng,
    pub(crate) jitter: ChaCha8Rng,
    pub(crate) reordering: ChaCha8Rng,
    pub(crate) duplication: ChaCha8Rng,
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        let stream = |number| {
            let mut dice = ChaCha8Rng::seed_from_u64(seed);
            dice.set_stream(number);
            dice
        };
        Self { loss: stream(0), jitter: stream(1), reordering: stream(2), duplication: stream(3) }
    }
}

/// Whether something happens that has this probability. Throws once in any case.
pub(crate) fn happens(dice: &mut ChaCha8Rng, probability: f64) -> bool {
    dice.random::<f64>() < probability
}
