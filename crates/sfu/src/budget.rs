//! What a subscriber's slots may take together, divided equally: so much for each voice, the same for each picture. Which picture matters more than
//! another it does not know.

/// A voice takes about this much, in bits per second, headers included.
const VOICE: u64 = 60_000;
/// A budget that fell by more than a tenth since it was divided (in 1/100) is divided anew at once; otherwise that happens twice a second anyway.
const FELL: u64 = 90;

/// The budget of one subscriber.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    /// In bits per second; `None`: nobody knows.
    live: Option<u64>,
    divided: Option<u64>,
}

impl Budget {
    /// Sets it. Returns whether it should be divided anew at once.
    pub(crate) fn set(&mut self, bits_per_second: Option<u64>) -> bool {
        self.live = bits_per_second;
        match (self.live, self.divided) {
            (Some(live), Some(divided)) => live < divided / 100 * FELL,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }

    /// What each picture may take, in bits per second, and no more than `most`.
    pub(crate) fn divide(&mut self, voices: usize, pictures: usize, most: u64) -> u64 {
        self.divided = self.live;
        let Some(live) = self.live else { return most };
        let rest = live.saturating_sub(sound(voices));
        (rest / pictures.max(1) as u64).min(most)
    }
}

/// What so many voices take, in bits per second.
pub(crate) fn sound(voices: usize) -> u64 {
    voices as u64 * VOICE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voices_come_first_and_pictures_get_equal_parts_of_the_rest() {
        let mut budget = Budget::default();
        assert_eq!(budget.divide(2, 3, 2_500_000), 2_500_000, "nobody knows");
        assert!(budget.set(Some(1_020_000)));
        assert_eq!(budget.divide(2, 3, 2_500_000), 300_000);
        assert_eq!(budget.divide(20, 3, 2_500_000), 0);
        assert!(!budget.set(Some(950_000)));
        assert!(budget.set(Some(900_000)));
    }
}
