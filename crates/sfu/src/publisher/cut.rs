//! The sizes that a track can be sent in: its simulcast layers, and each of these cut above one of its spatial layers. The choice between sizes
//! and the division of budgets know them by their place in the list of all.

use super::Track;
use super::meter::SPATIAL_LAYERS;
use super::{Layer, MAX_LAYERS};

/// The most sizes of a track.
pub(crate) const MAX_CUTS: usize = MAX_LAYERS * SPATIAL_LAYERS;

/// A simulcast layer, up to and including one of its spatial layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    /// The simulcast layer, by its place in the track's list.
    pub(crate) layer: u8,
    pub(crate) spatial: u8,
    /// Whether there are no spatial layers above.
    pub(crate) whole: bool,
}

impl Track {
    /// All sizes of it, at most [`MAX_CUTS`].
    pub(crate) fn cuts(&self) -> impl Iterator<Item = Cut> {
        let of = |(layer, stream): (u8, &Layer)| {
            let top = stream.sizes.count() as u8 - 1;
            (0..=top).map(move |spatial| Cut { layer, spatial, whole: spatial == top })
        };
        (0..).zip(&self.layers).flat_map(of)
    }

    /// The place of a simulcast layer up to a spatial layer, or to its highest, if it has not so many now.
    pub(crate) fn place_of_cut(&self, layer: u8, spatial: u8) -> Option<usize> {
        self.cuts().position(|cut| cut.layer == layer && (cut.spatial == spatial || cut.whole))
    }

    /// The highest spatial layer of a simulcast layer, of these sizes, one bit each.
    pub(crate) fn highest_of(&self, cuts: u16, layer: u8) -> Option<u8> {
        let of = (0..).zip(self.cuts()).filter(|(at, cut)| cuts >> at & 1 == 1 && cut.layer == layer);
        of.map(|(_, cut)| cut.spatial).max()
    }

    /// The simulcast layers that sizes belong to; one bit each for both.
    pub(crate) fn layers_of(&self, cuts: u16) -> u8 {
        (0..).zip(self.cuts()).filter(|(at, _)| cuts >> at & 1 == 1).fold(0, |layers, (_, cut)| layers | 1 << cut.layer)
    }
}
