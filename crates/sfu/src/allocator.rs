//! What of everything a subscriber is shown it gets, and how well, within what its network can take: a choice over its video slots whose
//! only memory is the [`Budget`]. It knows neither tracks nor packets: each slot comes as a [`Demand`] with a [`Ladder`] of steps, dear ones
//! above cheap ones, and leaves with one of them or none. Estimating the budget is the business of congestion control.
//!
//! Sound is paid for first. Then everybody is shown at their lowest step, in order of [`Rank`], so that the last ones go without where it
//! does not reach; then what matters most takes what it can; then the others rise step by step in turn. What flows already may use
//! the budget of this moment, anything else must have fitted for a while.

mod budget;
mod generations;
mod ladder;

use std::cmp::Reverse;
use std::time::Instant;

pub use budget::Budget;
pub(crate) use generations::{Generations, PEAK};
pub use ladder::{Ladder, MAX_STEPS, Rate, Step, TEMPORAL_LAYERS, Taste};

/// What a slot shows, by how much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// What the subscriber is meant to look at.
    Focus,
    /// Whoever is on the stage, where that is not the focus.
    Stage,
    /// Whom the subscriber has pinned.
    Pinned,
    /// A shared screen.
    Screen,
    /// Everybody else, the largest pictures first.
    Other,
}

/// A step above the one that flows may fill so much of the budget (in 1/100). A higher value uses a link better, a lower one lets
/// bitrates and estimates fluctuate by a tenth without a step back.
const STEP_UP_SHARE: u64 = 85;

/// Where nothing fits, the first in order is shown that takes at most so many times what the cheapest takes: somebody is always seen, but
/// not at any price.
const FORCED_AT_MOST: u64 = 2;

/// What one video slot could carry.
#[derive(Debug, Clone, Copy)]
pub struct Demand {
    /// How much it matters.
    pub rank: Rank,
    /// How large it is shown, in pixels; among equal ranks the larger goes first.
    pub area: u64,
    /// What there is, up to what the view can show.
    pub ladder: Ladder,
    /// The layer and the temporal layer granted last, if the same track has the slot still.
    pub current: Option<(u8, u8)>,
    /// It was left out last, for want of budget.
    pub was_paused: bool,
}

/// A demand's place in the present allocation.
#[derive(Debug, Clone, Copy)]
struct Bid {
    demand: Demand,
    /// The step that flows now.
    current: Option<usize>,
    granted: Option<usize>,
}

impl Bid {
    fn step(&self, step: Option<usize>) -> Step {
        step.and_then(|step| self.demand.ladder.steps().get(step)).copied().unwrap_or_default()
    }
}

/// Divides a subscriber's budget among its video slots. Allocates only when it has more slots than ever before.
#[derive(Debug, Default)]
pub struct Allocator {
    /// What there is to divide.
    pub budget: Budget,
    bids: Vec<Bid>,
    order: Vec<usize>,
    /// What was granted last, in bit/s …
    spent: u64,
    /// … and at its peak.
    spent_at_peak: u64,
    /// What the best steps of all would take.
    desired: u64,
}

impl Allocator {
    /// An allocator without demands, whose budget has no limit yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets all demands, to be told them anew.
    pub fn clear(&mut self) {
        self.bids.clear();
    }

    /// Adds a demand; one without any step is never granted. Returns its place.
    pub fn add(&mut self, demand: Demand) -> usize {
        let current = demand.current.and_then(|current| demand.ladder.position(current));
        self.bids.push(Bid { demand, current, granted: None });
        self.bids.len() - 1
    }

    /// The step that the demand at this place was granted.
    #[must_use]
    pub fn granted(&self, place: usize) -> Option<Step> {
        let bid = self.bids.get(place)?;
        bid.demand.ladder.steps().get(bid.granted?).copied()
    }

    /// What was granted takes so much, sound included, in bit/s.
    #[must_use]
    pub fn spent(&self) -> u64 {
        self.spent
    }

    /// What would be granted without a limit takes so much, sound included, in bit/s: how much it is worth looking for.
    #[must_use]
    pub fn desired(&self) -> u64 {
        self.desired
    }

    /// Decides for the demands added since the last [`clear`](Self::clear), after the sound has taken `audio` bit/s.
    pub fn allocate(&mut self, now: Instant, audio: u64) {
        let Self { bids, order, .. } = self;
        order.clear();
        order.extend((0..bids.len()).filter(|&at| !bids[at].demand.ladder.steps().is_empty()));
        order.sort_unstable_by_key(|&at| (bids[at].demand.rank, Reverse(bids[at].demand.area), at));
        let (live, steady) = (self.budget.live(), self.budget.steady(now));
        let mut purse = Purse { live, steady, spent: audio, spent_at_peak: audio };

        // Everybody is seen before anybody is seen better.
        for &at in order.iter() {
            purse.grant(&mut bids[at], 0);
        }
        if bids.iter().all(|bid| bid.granted.is_none()) {
            purse.force(bids, order);
        }
        // What matters takes what it can; of the rest, what flows goes on.
        for &at in order.iter() {
            let top = match bids[at].demand.rank {
                Rank::Other => bids[at].current,
                _ => Some(MAX_STEPS),
            };
            if let Some(top) = top {
                purse.raise(&mut bids[at], top);
            }
        }
        // The rest rises in turn.
        let mut rises = true;
        while std::mem::take(&mut rises) {
            for &at in order.iter() {
                let bid = &mut bids[at];
                if let Some(granted) = bid.granted.filter(|_| bid.demand.rank == Rank::Other) {
                    rises |= purse.grant(bid, granted + 1);
                }
            }
        }
        self.spent = purse.spent;
        self.desired =
            audio + bids.iter().filter_map(|bid| bid.demand.ladder.steps().last()).map(|top| top.peak).sum::<u64>();
        let before = std::mem::replace(&mut self.spent_at_peak, purse.spent_at_peak);
        self.take_note(now, before);
    }

    /// What rose, and what had to give way though nothing rose, teaches the budget how far it is to be trusted.
    fn take_note(&mut self, now: Instant, spent_before: u64) {
        let rose = |bid: &Bid| match bid.demand.current {
            Some(_) => bid.granted > bid.current,
            None => bid.granted.is_some(),
        };
        let tried = |bid: &Bid| rose(bid) && (bid.current.is_some() || bid.demand.was_paused);
        if self.bids.iter().any(tried) {
            self.budget.on_raised(now);
        } else if !self.bids.iter().any(rose) && self.bids.iter().any(|bid| bid.granted < bid.current) {
            self.budget.on_lowered(now, spent_before);
        }
    }
}

/// The budget while it is divided, in bit/s.
#[derive(Debug)]
struct Purse {
    live: u64,
    steady: u64,
    /// What was granted, as it flows …
    spent: u64,
    /// … and as it flows at worst.
    spent_at_peak: u64,
}

impl Purse {
    /// Whether a step of a bid fits. What flows is taken at its word and may use the budget of this moment; so may the lowest step of
    /// what is seen already. A step down must fit what there has been for a while, and so that it goes well a step up must do so when
    /// everything is at its peak.
    fn fits(&self, bid: &Bid, step: usize) -> bool {
        let (granted, wanted) = (bid.step(bid.granted), bid.step(Some(step)));
        let others = self.spent - granted.bitrate;
        match bid.current {
            Some(current) if step == current || (step == 0 && step < current) => others + wanted.bitrate <= self.live,
            Some(current) if step < current => others + wanted.peak <= self.steady,
            _ => self.spent_at_peak - granted.peak + wanted.peak <= self.steady / 100 * STEP_UP_SHARE,
        }
    }

    /// Grants a step, if it fits.
    fn grant(&mut self, bid: &mut Bid, step: usize) -> bool {
        let fits = step < bid.demand.ladder.steps().len() && self.fits(bid, step);
        if fits {
            self.spend(bid, step);
        }
        fits
    }

    fn spend(&mut self, bid: &mut Bid, step: usize) {
        let (before, after) = (bid.step(bid.granted), bid.step(Some(step)));
        self.spent = self.spent - before.bitrate + after.bitrate;
        self.spent_at_peak = self.spent_at_peak - before.peak + after.peak;
        bid.granted = Some(step);
    }

    /// Raises a bid that has its lowest step to the highest that fits, up to `top`.
    fn raise(&mut self, bid: &mut Bid, top: usize) {
        let Some(granted) = bid.granted else { return };
        let last = top.min(bid.demand.ladder.steps().len() - 1);
        let _ = (granted + 1..=last).rev().any(|step| self.grant(bid, step));
    }

    /// Nothing fits: one is shown all the same.
    fn force(&mut self, bids: &mut [Bid], order: &[usize]) {
        let base = |at: usize| bids[at].step(Some(0)).bitrate;
        let Some(cheapest) = order.iter().map(|&at| base(at)).min() else { return };
        if let Some(&at) = order.iter().find(|&&at| base(at) <= cheapest.saturating_mul(FORCED_AT_MOST)) {
            self.spend(&mut bids[at], 0);
        }
    }
}
