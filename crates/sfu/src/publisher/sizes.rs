//! The sizes of one stream's picture, its spatial layers (RFC 9628, section 3): how large each is, how many come, and which anybody wants. A publisher that was told
//! that nobody wants the larger ones sends a stream without them; what they were is remembered here, since whoever looks more closely is to get
//! them back. Which of them pass to whom is decided elsewhere.

use std::time::Instant;

use super::interest::Interest;
use super::meter::SPATIAL_LAYERS;
use crate::events::SpatialLayers;

/// Width and height; 0 while unknown.
type Size = (u16, u16);

/// The sizes of a stream, the smallest first.
#[derive(Debug)]
pub(crate) struct Sizes {
    sizes: [Size; SPATIAL_LAYERS],
    /// How many there are, with those that are left out as the publisher was told.
    known: usize,
    /// How many of them come.
    sent: usize,
    interest: [Interest; SPATIAL_LAYERS],
    /// The relays by which other shards of the room have said that they want each, one bit each.
    elsewhere: [u64; SPATIAL_LAYERS],
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            sizes: Default::default(),
            known: 1,
            sent: 1,
            interest: Default::default(),
            elsewhere: Default::default(),
        }
    }
}

impl Sizes {
    /// A keyframe says which sizes there are. Those beyond what is told apart count as one, of the largest's size; what is left out as the publisher was told stays
    /// known, as much larger than the others as it was. Returns whether anything changed.
    pub(super) fn set(&mut self, now: Instant, sizes: &[Size]) -> bool {
        let before = (self.sizes, self.known, self.sent);
        let (old, is_left_out) = (self.sizes, self.is_left_out(now));
        self.sent = sizes.len().clamp(1, SPATIAL_LAYERS);
        self.known = if is_left_out { self.known.max(self.sent) } else { self.sent };
        self.sizes = Default::default();
        for (layer, size) in sizes.iter().enumerate() {
            self.sizes[layer.min(SPATIAL_LAYERS - 1)] = *size;
        }
        for layer in self.sent..self.known {
            let scaled = |old: u16, by: u16, of: u16| match of {
                0 => old,
                of => (u32::from(old) * u32::from(by) / u32::from(of)).try_into().unwrap_or(u16::MAX),
            };
            let ((width, height), from, to) = (old[layer], old[self.sent - 1], self.sizes[self.sent - 1]);
            self.sizes[layer] = (scaled(width, to.0, from.0), scaled(height, to.1, from.1));
        }
        before != (self.sizes, self.known, self.sent)
    }

    /// What did not come in time, after it was told to be wanted again, is not there. Returns whether anything changed.
    pub(super) fn give_up(&mut self, now: Instant) -> bool {
        let known = if self.is_left_out(now) { self.known } else { self.sent };
        std::mem::replace(&mut self.known, known) != known
    }

    /// Whether larger ones than those that come may be there, left out because nobody wanted them.
    fn is_left_out(&self, now: Instant) -> bool {
        self.interest[..self.known].iter().any(|interest| interest.may_come(now))
    }

    /// How many there are, with those that are left out because nobody wants them.
    pub(crate) fn count(&self) -> usize {
        self.known
    }

    /// The size of the picture up to this layer.
    pub(crate) fn of(&self, layer: usize) -> Size {
        self.sizes.get(layer).copied().unwrap_or_default()
    }

    /// The size of the largest picture that comes.
    pub(super) fn largest_sent(&self) -> Size {
        self.of(self.sent - 1)
    }

    /// Whether a layer comes, or would if it were wanted.
    pub(super) fn can_come(&self, now: Instant, layer: usize) -> bool {
        layer < self.sent || self.is_under_way(now, layer)
    }

    /// Whether a layer does not come yet, and begins with a keyframe when it does.
    pub(crate) fn is_under_way(&self, now: Instant, layer: usize) -> bool {
        layer >= self.sent && self.interest.get(layer).is_some_and(|interest| interest.may_come(now))
    }

    /// Nobody wants any of them, as far as is known now.
    pub(super) fn forget_interest(&mut self) {
        self.interest.iter_mut().for_each(Interest::forget);
    }

    /// Somebody wants this one, and so those that it is predicted from.
    pub(crate) fn want_up_to(&mut self, layer: usize) {
        self.interest.iter_mut().take(layer + 1).for_each(Interest::want);
    }

    /// How many are wanted, as far as is known here.
    pub(super) fn wanted(&self) -> u8 {
        self.interest.iter().take_while(|interest| interest.is_wanted()).count() as u8
    }

    /// Another shard wants so many.
    pub(crate) fn set_wanted_elsewhere(&mut self, relay: u8, wanted: u8) {
        for (at, relays) in (0..).zip(&mut self.elsewhere) {
            *relays = *relays & !(1 << relay) | u64::from(at < wanted) << relay;
        }
    }

    /// All who may want any have been asked, but for the other shards; `all`: they are wanted in any case. Returns what the publisher has to be told, if that is news.
    pub(crate) fn settle(&mut self, now: Instant, all: bool) -> Option<SpatialLayers> {
        // One is always wanted, so that whoever comes sees something at once.
        let elsewhere = self.elsewhere.iter().rposition(|relays| *relays != 0).unwrap_or(0);
        self.want_up_to(if all { self.known - 1 } else { elsewhere });
        let mut is_news = false;
        for interest in &mut self.interest[..self.known] {
            is_news |= interest.settle(now);
        }
        is_news.then(|| SpatialLayers { wanted: self.told(), of: self.known as u8 })
    }

    /// How many are wanted, as the publisher was told.
    pub(super) fn told(&self) -> u8 {
        self.interest[..self.known].iter().take_while(|interest| !interest.is_told_off()).count() as u8
    }

    /// All that there are, for another shard.
    pub(super) fn outline(&self) -> Vec<Size> {
        self.sizes[..self.known].to_vec()
    }

    /// Another worker tells the publisher what is wanted, and has told that so many are, of these.
    pub(super) fn follow(&mut self, now: Instant, sizes: &[Size], told: u8) {
        if usize::from(told) < sizes.len() && sizes.len() <= SPATIAL_LAYERS && self.known < sizes.len() {
            self.known = sizes.len();
            for (layer, size) in sizes.iter().enumerate() {
                self.sizes[layer] = *size;
            }
        }
        for (at, interest) in (0..).zip(&mut self.interest[..sizes.len().min(SPATIAL_LAYERS)]) {
            interest.follow(now, at >= told);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SIZES: [Size; 3] = [(320, 180), (640, 360), (1280, 720)];

    /// Sizes of which only the smallest has been wanted for so long that the publisher was told.
    fn told_one(now: &mut Instant) -> Sizes {
        let mut sizes = Sizes::default();
        assert!(sizes.set(*now, &SIZES));
        assert_eq!(sizes.settle(*now, false), None);
        *now += Duration::from_secs(5);
        assert_eq!(sizes.settle(*now, false), Some(SpatialLayers { wanted: 1, of: 3 }));
        sizes
    }

    #[test]
    fn what_is_left_out_is_remembered_and_is_larger_by_as_much_as_it_was() {
        let mut now = Instant::now();
        let mut sizes = told_one(&mut now);
        assert!(!sizes.is_under_way(now, 2), "it still comes");
        assert!(sizes.set(now, &SIZES[..1]));
        assert_eq!((sizes.count(), sizes.of(2)), (3, (1280, 720)));
        assert!(sizes.can_come(now, 2) && sizes.is_under_way(now, 2));
        assert_eq!(sizes.largest_sent(), (320, 180));
        // The telephone is turned.
        assert!(sizes.set(now, &[(180, 320)]));
        assert_eq!([sizes.of(1), sizes.of(2)], [(360, 640), (720, 1280)]);
        assert!(!sizes.give_up(now + Duration::from_secs(60)), "nobody has asked for it");
    }

    #[test]
    fn what_is_wanted_again_and_does_not_come_is_not_there() {
        let mut now = Instant::now();
        let mut sizes = told_one(&mut now);
        sizes.set(now, &SIZES[..1]);
        sizes.forget_interest();
        sizes.want_up_to(1);
        assert_eq!(sizes.settle(now, false), Some(SpatialLayers { wanted: 2, of: 3 }));
        assert!(sizes.is_under_way(now, 1));
        sizes.set(now, &SIZES[..1]);
        assert_eq!(sizes.count(), 3, "a keyframe of before");
        sizes.want_up_to(2);
        assert_eq!(sizes.settle(now, false), Some(SpatialLayers { wanted: 3, of: 3 }));
        sizes.set(now, &SIZES[..2]);
        assert!(!sizes.is_under_way(now, 1) && sizes.is_under_way(now, 2));
        now += Duration::from_secs(3);
        assert!(!sizes.can_come(now, 2) && sizes.give_up(now));
        assert_eq!(sizes.count(), 2);
    }

    #[test]
    fn who_sends_all_whatever_they_are_told_is_taken_at_their_word() {
        let mut now = Instant::now();
        let mut sizes = told_one(&mut now);
        sizes.set(now, &SIZES);
        assert!((0..3).all(|layer| sizes.can_come(now, layer) && !sizes.is_under_way(now, layer)));
    }

    #[test]
    fn another_shard_wants_as_many_as_it_says_and_knows_what_is_left_out() {
        let mut now = Instant::now();
        let mut sizes = told_one(&mut now);
        sizes.set(now, &SIZES[..1]);
        let mut there = Sizes::default();
        there.set(now, &SIZES[..1]);
        there.follow(now, &sizes.outline(), sizes.told());
        assert_eq!((there.count(), there.of(2)), (3, SIZES[2]));
        assert!(there.can_come(now, 2));
        there.want_up_to(1);
        sizes.forget_interest();
        sizes.set_wanted_elsewhere(7, there.wanted());
        assert_eq!(sizes.settle(now, false), Some(SpatialLayers { wanted: 2, of: 3 }));
        there.follow(now, &sizes.outline(), sizes.told());
        assert!(there.is_under_way(now, 1));
        sizes.set_wanted_elsewhere(7, 0);
        sizes.forget_interest();
        assert_eq!(sizes.settle(now, false), None);
        assert_eq!(sizes.settle(now + Duration::from_secs(5), false), Some(SpatialLayers { wanted: 1, of: 3 }));
    }
}
