//! The division of a budget among slots, whatever they show, whatever there is, however it fluctuates.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use proptest::prelude::*;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use ringback_sfu::allocator::{Allocator, Demand, Ladder, Rank, Rate, Step, Taste};

const TICK: Duration = Duration::from_millis(100);

/// What one slot shows, before its bitrates fluctuate: per layer, those of its temporal layers in kbit/s.
#[derive(Debug, Clone)]
struct Shown {
    rank: Rank,
    area: u64,
    layers: Vec<Vec<u64>>,
}

impl Shown {
    fn demand(&self, current: Option<Step>, was_paused: bool, bitrate: impl Fn(u64) -> Rate) -> Demand {
        let taste = if self.rank == Rank::Screen { Taste::Detail } else { Taste::Motion };
        let mut ladder = Ladder::new();
        for (layer, kilobits) in self.layers.iter().enumerate() {
            let rates: Vec<Rate> = kilobits.iter().map(|kilobits| bitrate(kilobits * 1_000)).collect();
            ladder.push_layer(layer as u8, &rates, taste);
        }
        let current = current.map(|step| (step.layer, step.temporal));
        Demand { rank: self.rank, area: self.area, ladder, current, was_paused }
    }
}

fn exact(bitrate: u64) -> Rate {
    Rate { bitrate, peak: bitrate }
}

/// A camera with three layers of three temporal layers, as Chromium sends it.
fn face(rank: Rank) -> Shown {
    let layers = vec![vec![60, 90, 150], vec![200, 300, 500], vec![700, 1_000, 1_700]];
    Shown { rank, area: 1280 * 720, layers }
}

fn shown() -> impl Strategy<Value = Shown> {
    let rank =
        prop::sample::select(vec![Rank::Focus, Rank::Stage, Rank::Pinned, Rank::Screen, Rank::Other, Rank::Other]);
    let layer = prop::collection::vec(1_u64..400, 1..4);
    (rank, 0_u64..3, prop::collection::vec(layer, 1..4)).prop_map(|(rank, area, layers)| {
        let mut layers = layers;
        let mut total = 0;
        for rate in layers.iter_mut().flatten() {
            total += *rate;
            *rate = total;
        }
        Shown { rank, area, layers }
    })
}

/// One subscriber over time.
struct Scene {
    now: Instant,
    allocator: Allocator,
    shown: Vec<Shown>,
    granted: Vec<Option<Step>>,
    /// Granted steps that changed.
    changes: u32,
}

impl Scene {
    fn new(shown: &[Shown]) -> Self {
        let granted = vec![None; shown.len()];
        Self { now: Instant::now(), allocator: Allocator::new(), shown: shown.to_vec(), granted, changes: 0 }
    }

    fn allocate(&mut self, audio: u64, bitrate: impl Fn(u64) -> Rate) {
        self.allocator.clear();
        for (shown, granted) in self.shown.iter().zip(&self.granted) {
            self.allocator.add(shown.demand(*granted, granted.is_none(), &bitrate));
        }
        self.allocator.allocate(self.now, audio);
        for (at, granted) in self.granted.iter_mut().enumerate() {
            let after = self.allocator.granted(at);
            let place = |step: Option<Step>| step.map(|step| (step.layer, step.temporal));
            self.changes += u32::from(place(after) != place(*granted));
            *granted = after;
        }
    }

    fn steps(&self) -> Vec<Option<(u8, u8)>> {
        self.granted.iter().map(|step| step.map(|step| (step.layer, step.temporal))).collect()
    }

    /// The places in order of importance.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.shown.len()).collect();
        order.sort_by_key(|&at| (self.shown[at].rank, std::cmp::Reverse(self.shown[at].area), at));
        order
    }

    /// How high each slot stands on its ladder, 0: not seen, in order of importance.
    fn heights(&self) -> Vec<(Rank, usize)> {
        let height = |at: usize| {
            let ladder = self.shown[at].demand(None, false, exact).ladder;
            let step = self.granted[at];
            ladder.steps().iter().position(|other| Some(*other) == step).map_or(0, |position| position + 1)
        };
        self.order().into_iter().map(|at| (self.shown[at].rank, height(at))).collect()
    }
}

/// All decisions of an allocation, the first ones first.
fn decisions(heights: &[(Rank, usize)]) -> Vec<usize> {
    let seen = heights.iter().map(|(_, height)| usize::from(*height > 0));
    let first = heights.iter().filter(|(rank, _)| *rank != Rank::Other).map(|(_, height)| *height);
    let rest = || heights.iter().filter(|(rank, _)| *rank == Rank::Other);
    let rounds = (1..=16).flat_map(|round| rest().map(move |(_, height)| usize::from(*height > round)));
    seen.chain(first).chain(rounds).collect()
}

fn fresh(shown: &[Shown], budget: u64, audio: u64) -> Scene {
    let mut scene = Scene::new(shown);
    scene.allocator.budget.set(scene.now, Some(budget));
    scene.allocate(audio, exact);
    scene
}

proptest! {
    #[test]
    fn the_budget_is_never_exceeded_but_for_sound_and_one_picture(
        shown in prop::collection::vec(shown(), 0..12), budget in 0_u64..6_000_000, audio in 0_u64..300_000,
        before in 0_u64..6_000_000, noise in prop::collection::vec(90_u64..=110, 1..20),
    ) {
        let mut scene = fresh(&shown, before, audio);
        for noise in noise {
            scene.now += TICK;
            scene.allocator.budget.set(scene.now, Some(budget / 100 * noise));
            scene.allocate(audio, exact);
            let seen: Vec<Step> = scene.granted.iter().flatten().copied().collect();
            let spent = audio + seen.iter().map(|step| step.bitrate).sum::<u64>();
            if spent > budget / 100 * noise {
                prop_assert!(seen.len() <= 1, "{} over {budget}", spent);
            }
            prop_assert!(shown.is_empty() || !seen.is_empty(), "somebody is always seen");
        }
    }

    #[test]
    fn more_budget_decides_for_more_where_it_first_makes_a_difference(
        shown in prop::collection::vec(shown(), 0..12), budget in 0_u64..6_000_000, more in 0_u64..3_000_000,
    ) {
        let (small, large) = (fresh(&shown, budget, 40_000), fresh(&shown, budget + more, 40_000));
        // One that is seen at any price is nobody's decision.
        prop_assume!(small.allocator.spent() <= budget);
        let (small, large) = (decisions(&small.heights()), decisions(&large.heights()));
        prop_assert!(small <= large, "{small:?} {large:?}");
    }

    #[test]
    fn everybody_is_seen_before_anybody_is_seen_better(
        shown in prop::collection::vec(shown(), 0..12), budget in 0_u64..6_000_000,
    ) {
        let scene = fresh(&shown, budget, 0);
        if scene.granted.iter().any(|step| step.is_none()) {
            // Whoever is left out would not have fitted beside the lowest steps of those before them.
            let mut spent = 0;
            let mut alone = true;
            for at in scene.order() {
                let base = scene.shown[at].demand(None, false, exact).ladder.steps()[0];
                match scene.granted[at] {
                    Some(_) => (spent, alone) = (spent + base.bitrate, false),
                    None => prop_assert!(spent + base.bitrate > budget / 100 * 85 || alone),
                }
            }
        }
    }

    #[test]
    fn a_choice_stands_while_nothing_changes(shown in prop::collection::vec(shown(), 0..12), budget in 0_u64..6_000_000) {
        let mut scene = fresh(&shown, budget, 40_000);
        let before = scene.steps();
        for _ in 0..200 {
            scene.now += TICK;
            scene.allocator.budget.set(scene.now, Some(budget));
            scene.allocate(40_000, exact);
        }
        prop_assert_eq!(scene.steps(), before);
    }

    #[test]
    fn a_link_and_bitrates_that_fluctuate_by_a_tenth_settle(
        shown in prop::collection::vec(shown(), 1..6), budget in 100_000_u64..5_000_000,
        seed in any::<u64>(),
    ) {
        let mut scene = Scene::new(&shown);
        // The bitrates are measured each second, and their peak over the last few of these.
        let mut rates = [100; 4];
        let mut settled = 0;
        let mut random = SmallRng::seed_from_u64(seed);
        let mut noise = || random.random_range(90..=110_u64);
        for at in 0..1_200 {
            let (estimate, bitrate) = (noise(), noise());
            scene.now += TICK;
            scene.allocator.budget.set(scene.now, Some(budget / 100 * estimate));
            if at % 10 == 0 {
                rates.rotate_right(1);
                rates[0] = bitrate;
            }
            let (rate, peak) = (rates[0], rates.into_iter().max().unwrap());
            scene.allocate(40_000, |bits| Rate { bitrate: bits / 100 * rate, peak: bits / 100 * peak });
            if at == 300 {
                settled = scene.changes;
            }
        }
        // 90 seconds of up to five slots together: far from nine of each, which would be one in ten seconds; one case in three thousand needs more than nine.
        let changes = scene.changes - settled;
        prop_assert!(changes <= 15, "{changes} changes in a minute and a half");
    }
}

#[test]
fn sound_goes_first_then_the_focus_and_the_last_ones_go_without() {
    let people = [face(Rank::Focus), face(Rank::Other), face(Rank::Other), face(Rank::Other)];
    let steps = |budget: u64| fresh(&people, budget * 1_000, 100_000).steps();
    assert_eq!(steps(50), [Some((0, 0)), None, None, None], "somebody is always seen");
    assert_eq!(steps(300), [Some((0, 1)), Some((0, 0)), None, None]);
    assert_eq!(steps(440), [Some((0, 1)), Some((0, 0)), Some((0, 0)), Some((0, 0))]);
    assert_eq!(steps(1_000), [Some((1, 2)), Some((0, 1)), Some((0, 1)), Some((0, 0))]);
    assert_eq!(steps(9_000), [Some((2, 2)); 4]);
    let desired = [50, 9_000].map(|budget| fresh(&people, budget * 1_000, 100_000).allocator.desired());
    assert_eq!(desired, [6_900_000; 2], "whatever there is");
}

#[test]
fn after_a_step_down_it_fits_at_once_and_after_a_step_up_within_five_seconds() {
    let people = [face(Rank::Focus), face(Rank::Other)];
    let mut scene = fresh(&people, 2_500_000, 40_000);
    assert_eq!(scene.steps(), [Some((2, 2)), Some((1, 1))]);
    scene.now += Duration::from_secs(20);
    scene.allocator.budget.set(scene.now, Some(300_000));
    scene.allocate(40_000, exact);
    assert_eq!(scene.steps(), [Some((0, 2)), Some((0, 1))]);
    scene.now += Duration::from_secs(20);
    scene.allocator.budget.set(scene.now, Some(2_500_000));
    scene.allocate(40_000, exact);
    assert_eq!(scene.steps(), [Some((0, 2)), Some((0, 1))], "it may be a spike");
    scene.now += Duration::from_secs(5);
    scene.allocate(40_000, exact);
    assert_eq!(scene.steps(), [Some((2, 2)), Some((1, 1))]);
}

#[test]
fn a_link_that_saws_makes_less_than_one_change_in_ten_seconds() {
    let mut scene = Scene::new(&[face(Rank::Focus)]);
    // Up by 8 % a second and down by a half, as a loss-based estimator behaves; the sawtooth is longer than the memory of the minimum.
    let mut budget = 1_000_000_f64;
    for _ in 0..6_000 {
        scene.now += TICK;
        budget = if budget > 2_200_000.0 { budget / 2.0 } else { budget * 1.008 };
        scene.allocator.budget.set(scene.now, Some(budget as u64));
        scene.allocate(40_000, exact);
    }
    assert!(scene.changes <= 60, "{} changes in ten minutes", scene.changes);
}

#[test]
fn a_screen_keeps_its_resolution_and_goes_before_faces() {
    let screen = Shown { rank: Rank::Screen, ..face(Rank::Screen) };
    let scene = fresh(&[face(Rank::Other), screen], 1_000_000, 40_000);
    assert_eq!(scene.steps(), [Some((0, 1)), Some((2, 0))]);
}

#[test]
fn a_picture_that_cannot_fit_does_not_keep_others_from_being_seen() {
    let stream = Shown { rank: Rank::Focus, area: 0, layers: vec![vec![2_000]] };
    let scene = fresh(&[stream, face(Rank::Other)], 400_000, 40_000);
    assert_eq!(scene.steps(), [None, Some((1, 1))]);
}

#[test]
fn a_settled_subscriber_allocates_no_memory() {
    let mut people = vec![face(Rank::Focus)];
    people.extend(std::iter::repeat_n(face(Rank::Other), 15));
    let mut scene = fresh(&people, 2_000_000, 40_000);
    let measured = allocation_counter::measure(|| {
        for round in 0..100 {
            scene.now += TICK;
            scene.allocator.budget.set(scene.now, Some(2_000_000 + round % 7 * 100_000));
            scene.allocator.clear();
            for (shown, granted) in people.iter().zip(&scene.granted) {
                scene.allocator.add(flat(shown, *granted));
            }
            scene.allocator.allocate(scene.now, 40_000);
        }
    });
    assert_eq!(measured.count_total, 0);
    assert!(scene.allocator.granted(0).is_some());
}

/// As [`Shown::demand`], without memory of its own.
fn flat(shown: &Shown, current: Option<Step>) -> Demand {
    let mut ladder = Ladder::new();
    for (layer, kilobits) in shown.layers.iter().enumerate() {
        let mut rates = [Rate::default(); 3];
        for (rate, kilobits) in rates.iter_mut().zip(kilobits) {
            *rate = exact(kilobits * 1_000);
        }
        ladder.push_layer(layer as u8, &rates, Taste::Motion);
    }
    let current = current.map(|step| (step.layer, step.temporal));
    Demand { rank: shown.rank, area: shown.area, ladder, current, was_paused: false }
}
