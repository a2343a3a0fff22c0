//! Which layer of a track a slot should get, simulcast or spatial: the smallest that fills the view, under a cap on the bitrate.
//!
//! [`choose`] is a pure function; its only memory is the layer that flows now, which is kept while it is good enough,
//! so that a view or a bitrate near a limit does not flap. The cap is a fixed number for all; what of this and the layers
//! below it a subscriber's network can take is the [`allocator`](crate::allocator)'s choice, and so are temporal layers.

use crate::publisher::MAX_CUTS;

/// A layer flows on while it has to be enlarged no more than this (in 1/100) to fill the view; a larger one then is
/// not worth its bitrate.
const KEEP_ENLARGED: u64 = 125;
/// A smaller layer than the present one must fill the view without enlargement (in 1/100).
const STEP_DOWN_ENLARGED: u64 = 100;
/// A larger layer than the present one must leave a tenth of the cap free (in 1/100): bitrates fluctuate.
const STEP_UP_SHARE: u64 = 90;

/// One simulcast layer as it arrives, or the spatial layers of a stream up to one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LayerState {
    /// Pixels across, from its latest keyframe; 0 while unknown.
    pub width: u16,
    /// Pixels down, from its latest keyframe; 0 while unknown.
    pub height: u16,
    /// What it takes lately, in bits per second.
    pub bitrate: u64,
    /// Whether packets of it arrive.
    pub live: bool,
}

impl LayerState {
    fn area(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// By how much (in 1/100) the picture is enlarged to touch two sides of the view. `None` while its size is
    /// unknown.
    fn enlarged(&self, (width, height): (u16, u16)) -> Option<u64> {
        let across = (u64::from(width) * 100).checked_div(u64::from(self.width))?;
        let down = (u64::from(height) * 100).checked_div(u64::from(self.height))?;
        Some(across.min(down))
    }
}

/// The index of the layer to send, or `None` if the view is hidden (either side 0) or nothing is live.
///
/// `view` is the size in device pixels at which the subscriber shows the slot, `cap` the bitrate it may take in bits
/// per second, `current` the layer that flows now. Layers may stand in any order. The result
/// - never takes more than `cap`, unless it is the smallest live layer: somebody is always seen;
/// - for the same `current`, never gets smaller as the view grows;
/// - stays at `current` while that neither exceeds the cap nor is enlarged by more than a quarter, and no smaller
///   layer fills the view.
#[must_use]
pub fn choose(layers: &[LayerState], view: (u16, u16), cap: u64, current: Option<usize>) -> Option<usize> {
    if view.0 == 0 || view.1 == 0 {
        return None;
    }
    // A layer of unknown size has had no keyframe: it counts only where none is known.
    let known = layers.iter().any(|layer| layer.live && layer.area() > 0);
    let rank = |index: usize| layers.get(index).map(|layer| (layer.area(), layer.bitrate, index));
    let present = current.and_then(rank);
    let candidates = || (0..).zip(layers).filter(|(_, layer)| layer.live && (layer.area() > 0) == known);

    let fills = |index: usize, layer: &LayerState| {
        let limit = if rank(index) < present { STEP_DOWN_ENLARGED } else { KEEP_ENLARGED };
        layer.enlarged(view).is_some_and(|enlarged| enlarged <= limit)
    };
    let enough = candidates().filter(|&(index, layer)| fills(index, layer)).map(|(index, _)| rank(index)).min();
    let fits = |index: usize, layer: &LayerState| {
        let steps_up = present.is_some() && rank(index) > present;
        if steps_up { layer.bitrate <= cap / 100 * STEP_UP_SHARE } else { layer.bitrate <= cap }
    };
    candidates()
        .filter(|&(index, layer)| enough.is_none_or(|enough| rank(index) <= enough) && fits(index, layer))
        .max_by_key(|&(index, _)| rank(index))
        .or_else(|| candidates().min_by_key(|&(index, _)| rank(index)))
        .map(|(index, _)| index)
}

/// The layers that would be of use in a view, did they come: the one that would be chosen if all were live, and where even the largest known
/// one is too small, those of unknown size. One bit each.
pub(crate) fn worthwhile(layers: &[LayerState], view: (u16, u16), cap: u64, current: Option<usize>) -> u16 {
    let mut live = [LayerState::default(); MAX_CUTS];
    for (live, layer) in live.iter_mut().zip(layers) {
        *live = LayerState { live: layer.area() > 0, ..*layer };
    }
    let known = live.get(..layers.len()).unwrap_or(&live);
    let Some(best) = choose(known, view, cap, current) else { return u16::MAX };
    let is_enough = known[best].enlarged(view).is_some_and(|enlarged| enlarged <= KEEP_ENLARGED);
    let largest = known.iter().all(|layer| layer.area() <= known[best].area());
    let wants_unknown = largest && !is_enough;
    let is_wanted = |at: usize| at == best || (wants_unknown && known[at].area() == 0);
    (0..known.len()).filter(|at| is_wanted(*at)).fold(0, |bits, at| bits | 1 << at)
}

/// The layers that a slot can have of those up to `target`, the smallest first: all that are live, or the target alone while its
/// size is unknown. Of more than [`MAX_CUTS`] layers the others are left out.
pub(crate) fn up_to(layers: &[LayerState], target: usize) -> impl Iterator<Item = usize> + use<> {
    let rank = |index: usize| layers.get(index).map(|layer| (layer.area(), layer.bitrate, index));
    let mut order = [usize::MAX; MAX_CUTS];
    let mut count = 0;
    for (index, layer) in (0..).zip(layers) {
        let is_below = layer.live && layer.area() > 0 && rank(index) < rank(target);
        if (is_below || index == target) && count < order.len() {
            order[count] = index;
            count += 1;
        }
    }
    order[..count].sort_unstable_by_key(|index| rank(*index));
    order.into_iter().take(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(width: u16, height: u16, kilobits: u64) -> LayerState {
        LayerState { width, height, bitrate: kilobits * 1_000, live: true }
    }

    fn simulcast() -> [LayerState; 3] {
        [layer(320, 180, 150), layer(640, 360, 500), layer(1280, 720, 1_700)]
    }

    const PLENTY: u64 = 10_000_000;

    #[test]
    fn a_small_tile_gets_the_small_layer_and_a_stage_the_large_one() {
        let layers = simulcast();
        assert_eq!(choose(&layers, (200, 112), PLENTY, None), Some(0));
        assert_eq!(choose(&layers, (640, 360), PLENTY, None), Some(1));
        assert_eq!(choose(&layers, (1920, 1080), PLENTY, None), Some(2));
    }

    #[test]
    fn a_hidden_view_gets_nothing() {
        assert_eq!(choose(&simulcast(), (0, 0), PLENTY, Some(2)), None);
    }

    #[test]
    fn the_order_of_layers_does_not_matter() {
        let mut layers = simulcast();
        layers.reverse();
        assert_eq!(choose(&layers, (200, 112), PLENTY, None), Some(2));
        assert_eq!(choose(&layers, (1920, 1080), PLENTY, None), Some(0));
    }

    #[test]
    fn a_portrait_view_of_a_landscape_picture_counts_what_is_shown() {
        assert_eq!(choose(&simulcast(), (360, 800), PLENTY, None), Some(0), "shown 360 across, 202 down");
    }

    #[test]
    fn the_cap_lowers_the_layer_but_the_smallest_always_flows() {
        let layers = simulcast();
        assert_eq!(choose(&layers, (1280, 720), 1_000_000, None), Some(1));
        assert_eq!(choose(&layers, (1280, 720), 200_000, None), Some(0));
        assert_eq!(choose(&layers, (1280, 720), 0, Some(0)), Some(0));
    }

    #[test]
    fn a_layer_that_has_stopped_is_not_chosen() {
        let mut layers = simulcast();
        layers[2].live = false;
        assert_eq!(choose(&layers, (1280, 720), PLENTY, Some(2)), Some(1));
        layers[0].live = false;
        layers[1].live = false;
        assert_eq!(choose(&layers, (1280, 720), PLENTY, None), None);
    }

    #[test]
    fn what_has_not_come_is_worthwhile_where_what_comes_is_too_small() {
        let mut layers = simulcast();
        layers[2] = LayerState::default();
        assert_eq!(worthwhile(&layers, (1280, 720), PLENTY, Some(1)), 0b110);
        assert_eq!(worthwhile(&layers, (640, 360), PLENTY, Some(1)), 0b010);
        assert_eq!(worthwhile(&layers, (200, 112), PLENTY, Some(0)), 0b001);
        layers = simulcast();
        layers[2].live = false;
        assert_eq!(worthwhile(&layers, (1280, 720), PLENTY, Some(1)), 0b100, "its publisher may send it again");
        assert_eq!(worthwhile(&layers, (1280, 720), 600_000, Some(1)), 0b010);
        assert_eq!(worthwhile(&[LayerState::default(); 3], (640, 360), PLENTY, None), u16::MAX, "nothing is known yet");
    }

    #[test]
    fn below_the_chosen_layer_are_those_that_are_smaller_and_live() {
        let mut layers = simulcast();
        layers.reverse();
        assert_eq!(up_to(&layers, 0).collect::<Vec<_>>(), [2, 1, 0]);
        assert_eq!(up_to(&layers, 1).collect::<Vec<_>>(), [2, 1]);
        layers[1].live = false;
        assert_eq!(up_to(&layers, 0).collect::<Vec<_>>(), [2, 0]);
        layers[0].width = 0;
        assert_eq!(up_to(&layers, 0).collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn a_view_near_a_limit_does_not_flap() {
        let layers = simulcast();
        let mut current = choose(&layers, (640, 360), PLENTY, None);
        for height in [360_u16, 380, 350, 400, 340, 430, 300, 440] {
            current = choose(&layers, (height * 16 / 9, height), PLENTY, current);
            assert_eq!(current, Some(1), "{height}");
        }
        current = choose(&layers, (1280, 720), PLENTY, current);
        assert_eq!(current, Some(2));
        assert_eq!(
            choose(&layers, (720, 405), PLENTY, current),
            Some(2),
            "from above, the smaller layer must fill the view"
        );
        assert_eq!(choose(&layers, (640, 360), PLENTY, current), Some(1));
    }

    #[test]
    fn a_bitrate_that_fluctuates_by_a_tenth_around_the_cap_does_not_flap() {
        let mut layers = simulcast();
        let mut current = Some(2);
        let mut changes = 0;
        for kilobits in [1_700, 1_790, 1_750, 1_850, 1_700, 1_900, 1_720, 1_850, 1_700] {
            layers[2].bitrate = kilobits * 1_000;
            let next = choose(&layers, (1280, 720), 1_800_000, current);
            changes += u32::from(next != current);
            current = next;
        }
        assert_eq!((changes, current), (1, Some(1)));
    }

    #[test]
    fn layers_of_unknown_size_wait_until_nothing_else_is_known() {
        let unknown = LayerState { width: 0, height: 0, bitrate: 100, live: true };
        assert_eq!(choose(&[unknown, layer(320, 180, 150)], (1280, 720), PLENTY, None), Some(1));
        assert_eq!(choose(&[unknown], (1280, 720), PLENTY, None), Some(0));
        assert_eq!(choose(&[unknown], (1280, 720), 0, None), Some(0));
    }
}
