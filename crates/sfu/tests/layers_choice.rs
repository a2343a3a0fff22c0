//! The choice of a simulcast layer under any bitrates, views and caps.

use proptest::prelude::*;
use ringback_sfu::layers::{LayerState, choose};

fn layers() -> impl Strategy<Value = Vec<LayerState>> {
    let layer = (0_u16..2_000, 0_u16..2_000, 0_u64..5_000_000, prop::bool::weighted(0.8))
        .prop_map(|(width, height, bitrate, live)| LayerState { width, height, bitrate, live });
    prop::collection::vec(layer, 0..5)
}

fn area(layer: &LayerState) -> u64 {
    u64::from(layer.width) * u64::from(layer.height)
}

proptest! {
    #[test]
    fn a_layer_over_the_cap_is_chosen_only_if_it_is_the_smallest(
        layers in layers(), view in (0_u16..3_000, 0_u16..3_000), cap in 0_u64..6_000_000, current in prop::option::of(0_usize..5),
    ) {
        match choose(&layers, view, cap, current) {
            None => prop_assert!(view.0 == 0 || view.1 == 0 || layers.iter().all(|layer| !layer.live)),
            Some(index) => {
                let chosen = layers[index];
                prop_assert!(chosen.live);
                if chosen.bitrate > cap {
                    let smallest = layers.iter().filter(|layer| layer.live && area(layer) > 0).map(area).min();
                    prop_assert!(smallest.is_none_or(|smallest| area(&chosen) <= smallest));
                }
            }
        }
    }

    #[test]
    fn a_larger_view_never_gets_a_smaller_layer(
        layers in layers(), view in (1_u16..1_500, 1_u16..1_500), more in (0_u16..1_500, 0_u16..1_500),
        cap in 0_u64..6_000_000, current in prop::option::of(0_usize..5),
    ) {
        let small = choose(&layers, view, cap, current);
        let large = choose(&layers, (view.0 + more.0, view.1 + more.1), cap, current);
        prop_assert_eq!(small.is_some(), large.is_some());
        if let (Some(small), Some(large)) = (small, large) {
            prop_assert!(area(&layers[small]) <= area(&layers[large]));
        }
    }

    #[test]
    fn a_choice_stands_while_nothing_changes(
        layers in layers(), view in (1_u16..3_000, 1_u16..3_000), cap in 0_u64..6_000_000, current in prop::option::of(0_usize..5),
    ) {
        // From anywhere it settles: each step goes the same way as the one before it, and there are five layers.
        let mut choice = choose(&layers, view, cap, current);
        for _ in 0..5 {
            choice = choose(&layers, view, cap, choice);
        }
        prop_assert_eq!(choose(&layers, view, cap, choice), choice);
    }
}
