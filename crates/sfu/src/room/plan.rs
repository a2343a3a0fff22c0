//! What each slot should do: the track that it shows, and of that the layer and the temporal layers that fill its view and that its subscriber's
//! network can take. Every change of a room comes through here, and twice a second everything anew, since bitrates move.

use std::time::{Duration, Instant};

use ringback_transport::sdp::MediaKind;
use slab::Slab;

use super::Room;
use crate::allocator::{Demand, Ladder, Rank, Taste};
use crate::events::SlotReason;
use crate::forward::LayerKey;
use crate::forward::spatial::SpatialShare;
use crate::forward::temporal::ALL;
use crate::ids::{ParticipantId, Source};
use crate::layers::{self, LayerState};
use crate::publisher::{Cut, MAX_CUTS, Publisher, Track};
use crate::subscriber::{Assignment, Feed, Slot, Subscriber, area};

/// A screen gets the layer for a view so many times its own: a text that is scaled down once by its sender and up again here cannot be read. Costs the full size wherever it is more than a
/// thumbnail.
const SCREEN_DETAIL: u32 = 2;

/// A budget that has fallen below what flows is acted upon no more often than this: estimates come ten times as often, and each time costs the
/// room a look.
const LEAST_BETWEEN: Duration = Duration::from_millis(100);

/// While nobody speaks so much is kept for whoever will, in bit/s: a voice as browsers send it, with headers. Without it the first word would
/// cost a picture.
const A_VOICE: u64 = 60_000;

/// What a voice takes where packets are lost, of what it takes elsewhere: with redundancy each packet carries the one before once more. What pictures
/// take at most where so many are lost that copies are sent.
const TIMES_WHERE_LOSSY: u64 = 2;

/// Who is who, for one round of planning.
struct Directory {
    members: Vec<(ParticipantId, usize)>,
    on_stage: Option<ParticipantId>,
    cap: u64,
}

/// A slot's part before the budget is divided.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    feed: Option<Feed>,
    held: Option<SlotReason>,
    stop: bool,
    /// Its place among the demands.
    demand: Option<usize>,
    /// The best size that it could get now, and those that would serve it better, did they come: one bit each.
    best: u8,
    worthwhile: u16,
    /// What flows without asking the budget.
    free: Option<LayerKey>,
}

impl Plan {
    const NOTHING: Self = Self { feed: None, held: None, stop: true, demand: None, best: 0, worthwhile: 0, free: None };
}

impl Room {
    /// A member's network can take so much, in bit/s, sound and headers included; `None`: nobody knows.
    pub(crate) fn set_budget(&mut self, now: Instant, key: usize, bits_per_second: Option<u64>) {
        let Some(subscriber) = self.subscribers.get_mut(key) else { return };
        let budget = &mut subscriber.allocator.budget;
        // Without a limit there may be no further look.
        self.changed |= budget.is_limited() && bits_per_second.is_none();
        budget.set(now, bits_per_second);
    }

    /// Whether somebody's budget has fallen below what flows to them. A rise has time until the next regular look.
    pub(super) fn is_overspent(&self, now: Instant) -> bool {
        let overspent = |subscriber: &Subscriber| {
            let (live, spent) = (subscriber.allocator.budget.live(), subscriber.allocator.spent());
            let is_news = subscriber
                .allocated
                .is_none_or(|(at, divided)| live < divided && now.saturating_duration_since(at) >= LEAST_BETWEEN);
            live < spent && is_news
        };
        self.subscribers.iter().any(|(_, subscriber)| overspent(subscriber))
    }

    pub(super) fn plan_slots(&mut self, now: Instant) {
        let directory = Directory {
            members: self.members.iter().map(|(key, member)| (member.id, key)).collect(),
            on_stage: self.stage.on_stage(),
            cap: self.config.video_cap,
        };
        let mut plans = std::mem::take(&mut self.plans);
        for (_, subscriber) in &mut self.subscribers {
            directory.plan(now, subscriber, &mut self.publishers, &mut plans);
        }
        self.plans = plans;
    }
}

impl Directory {
    /// Plans all slots of one subscriber.
    fn plan(&self, now: Instant, subscriber: &mut Subscriber, publishers: &mut Slab<Publisher>, plans: &mut Vec<Plan>) {
        let is_lossy = subscriber.is_lossy(now);
        let copies = if subscriber.is_losing_pictures(now) { TIMES_WHERE_LOSSY } else { 1 };
        let Subscriber { slots, assignment, allocator, allocated, pin, .. } = subscriber;
        plans.clear();
        allocator.clear();
        let focus = assignment.focus().map(|focus| (focus.participant, focus.source));
        let (mut audio, mut video) = (0, 0);
        let (mut sound, mut least_sound) = (0_u64, 0);
        for slot in slots.iter() {
            let shown = match slot.kind {
                MediaKind::Audio => {
                    audio += 1;
                    assignment.heard(audio - 1).map(|who| (who, Source::Microphone))
                }
                MediaKind::Video => {
                    video += 1;
                    assignment.shown(video - 1)
                }
            };
            let mut plan = self.look(slot, shown, publishers).unwrap_or(Plan::NOTHING);
            if let Some(feed) = plan.feed.filter(|_| plan.held.is_none()) {
                let rank = match feed.source {
                    _ if focus == Some((feed.participant, feed.source)) => Rank::Focus,
                    Source::Camera if self.on_stage == Some(feed.participant) => Rank::Stage,
                    _ if *pin == Some(feed.participant) => Rank::Pinned,
                    Source::Screen => Rank::Screen,
                    _ => Rank::Other,
                };
                match slot.kind {
                    MediaKind::Audio => {
                        plan.free = Some(LayerKey { member: feed.member, track: feed.track, layer: 0 });
                        if let Some(track) = track_mut(publishers, feed).filter(|track| track.live) {
                            sound += sound_of(now, track);
                            least_sound = A_VOICE;
                        }
                    }
                    MediaKind::Video => {
                        let demand = self.demand(now, slot, feed, rank, publishers);
                        if let Some((demand, best, worthwhile)) = demand {
                            plan = Plan { demand: Some(allocator.add(demand)), best, worthwhile, ..plan };
                        }
                    }
                }
            }
            plans.push(plan);
        }
        let sound = sound.max(least_sound) * if is_lossy { TIMES_WHERE_LOSSY } else { 1 };
        allocator.allocate(now, sound);
        *allocated = Some((now, allocator.budget.live()));
        // Nothing to look at: nothing is looked for.
        let desired = if plans.iter().any(|plan| plan.demand.is_some()) { allocator.desired() * copies } else { 0 };
        // One bit for each slot, of which there are no more than 64.
        let mut is_silent = 0_u64;
        for (at, (slot, plan)) in slots.iter_mut().zip(plans.iter_mut()).enumerate() {
            let granted = plan.demand.and_then(|place| allocator.granted(place));
            let is_paused = plan.demand.is_some() && granted.is_none();
            is_silent |= u64::from(plan.stop || is_paused) << at;
            let Some(feed) = plan.feed else {
                slot.assign(Assignment { stop: true, ..Assignment::default() });
                continue;
            };
            let key = |layer| LayerKey { member: feed.member, track: feed.track, layer };
            let Some(track) = track_mut(publishers, feed) else { continue };
            let flowing = slot.flowing().filter(|flowing| *flowing == key(flowing.layer));
            let size = granted.and_then(|step| track.cuts().nth(step.layer.into()));
            let mut spatial = SpatialShare::WHOLE;
            let wanted = match granted.zip(size) {
                Some((step, Cut { layer, spatial: highest, whole })) => {
                    // Better ones are wanted where it is not for lack of budget that they do not flow.
                    let better = if step.layer == plan.best { track.layers_of(plan.worthwhile) } else { 0 };
                    let flows = flowing.map_or(0, |flowing| 1 << flowing.layer);
                    want(track, 1 << layer | flows | better);
                    let better = track.highest_of(plan.worthwhile, layer).filter(|_| step.layer == plan.best);
                    if let Some(stream) = track.layers.get_mut(usize::from(layer)) {
                        stream.sizes.want_up_to(better.unwrap_or(highest).max(highest).into());
                    }
                    // What is silent yet is waited for only where something flows meanwhile.
                    let meanwhile = live_instead(track, layer).filter(|_| flowing.is_none());
                    if meanwhile.is_none() {
                        spatial = SpatialShare { highest, whole };
                    }
                    Some(key(meanwhile.unwrap_or(layer)))
                }
                None => plan.free,
            };
            let flowing = flowing.filter(|flowing| Some(*flowing) != wanted);
            let dearer = |flowing: LayerKey| {
                let bitrate = track.layers.get(usize::from(flowing.layer)).map(|layer| layer.state().bitrate);
                bitrate > granted.map(|step| step.bitrate)
            };
            slot.assign(Assignment {
                feed: Some((feed, &track.codecs)),
                wanted,
                temporal: granted.filter(|step| !step.whole).map_or(ALL, |step| step.temporal),
                spatial,
                hurry: allocator.budget.is_limited() && flowing.is_some_and(dearer),
                held: plan.held.or(is_paused.then_some(SlotReason::Bandwidth)),
                stop: plan.stop || is_paused,
            });
        }
        (0..plans.len()).filter(|at| is_silent >> at & 1 == 1).for_each(|slot| subscriber.silence(slot));
        subscriber.set_desired(desired);
    }

    /// What a slot is meant to show, and whether it may.
    fn look(&self, slot: &Slot, shown: Option<(ParticipantId, Source)>, publishers: &Slab<Publisher>) -> Option<Plan> {
        let (participant, source) = shown?;
        let member = self.members.iter().find(|(other, _)| *other == participant).map(|(_, key)| *key)?;
        let publisher = publishers.get(member)?;
        let at = publisher.tracks.iter().position(|track| track.source == source)?;
        let track = &publisher.tracks[at];
        let held = if track.muted {
            Some(SlotReason::Muted)
        } else if !track.codecs.get(track.codec).is_some_and(|codec| slot.carries(codec)) {
            Some(SlotReason::Codec)
        } else if slot.kind == MediaKind::Video && (slot.size().0 == 0 || slot.size().1 == 0) {
            Some(SlotReason::Hidden)
        } else {
            None
        };
        // The old track flows on until the new one begins, unless it may not flow at all any more.
        let old_is_muted = slot.flowing().is_some_and(|key| {
            let old = publishers.get(key.member as usize).and_then(|p| p.tracks.get(usize::from(key.track)));
            old.is_none_or(|old| old.muted)
        });
        let feed = Feed { member: member as u32, track: at as u8, participant, source };
        Some(Plan { feed: Some(feed), held, stop: held.is_some() || old_is_muted, ..Plan::NOTHING })
    }

    /// What a video slot could be sent of its track, with the best size of that and those that would be better; `None` while nothing
    /// of it comes.
    fn demand(
        &self,
        now: Instant,
        slot: &Slot,
        feed: Feed,
        rank: Rank,
        publishers: &mut Slab<Publisher>,
    ) -> Option<(Demand, u8, u16)> {
        let track = track_mut(publishers, feed)?;
        let of_track = |key: &LayerKey| key.member == feed.member && key.track == feed.track;
        let mut states = [LayerState::default(); MAX_CUTS];
        let mut sizes = 0;
        for (state, cut) in states.iter_mut().zip(track.cuts()) {
            *state = track.layers.get(usize::from(cut.layer))?.state_on_demand(now, cut.spatial.into());
            sizes += 1;
        }
        let states = states.get(..sizes)?;
        let pixels = |length: u32| u16::try_from(length).unwrap_or(u16::MAX);
        let detail = if feed.source == Source::Screen { SCREEN_DETAIL } else { 1 };
        let view = (pixels(slot.size().0 * detail), pixels(slot.size().1 * detail));
        let flowing = slot.flowing().filter(of_track);
        let flowing = flowing.and_then(|key| track.place_of_cut(key.layer, slot.flowing_spatial().highest));
        let best = if states.len() > 1 { layers::choose(states, view, self.cap, flowing)? } else { 0 };
        let worthwhile = layers::worthwhile(states, view, self.cap, flowing);
        let taste = if feed.source == Source::Screen { Taste::Detail } else { Taste::Motion };
        let mut ladder = Ladder::new();
        for size in layers::up_to(states, best) {
            let Some(Cut { layer, spatial, .. }) = track.cuts().nth(size) else { continue };
            let Some(arriving) = track.layers.get_mut(usize::from(layer)) else { continue };
            let (rates, temporal_layers) = arriving.rates(now, spatial.into());
            ladder.push_layer(size as u8, &rates[..temporal_layers], taste);
        }
        let wanted = slot.wanted().filter(of_track);
        let current = wanted.and_then(|key| track.place_of_cut(key.layer, slot.spatial().highest));
        let current = current.map(|size| (size as u8, slot.temporal()));
        let was_paused = slot.held() == Some(SlotReason::Bandwidth) && slot.feed() == Some(feed);
        let demand = Demand { rank, area: area(slot.size()), ladder, current, was_paused };
        Some((demand, best as u8, worthwhile))
    }
}

fn track_mut(publishers: &mut Slab<Publisher>, feed: Feed) -> Option<&mut Track> {
    publishers.get_mut(feed.member as usize)?.tracks.get_mut(usize::from(feed.track))
}

/// Somebody wants these layers, one bit each.
fn want(track: &mut Track, layers: u8) {
    let wanted = (0..).zip(&mut track.layers).filter(|(at, _)| layers >> at & 1 == 1);
    wanted.for_each(|(_, layer)| layer.interest.want());
}

/// What to begin with in place of a layer that is silent: the largest that is not. `None` where that layer is live, or none is.
fn live_instead(track: &Track, layer: u8) -> Option<u8> {
    if track.layers.get(usize::from(layer)).is_none_or(|layer| layer.live) {
        return None;
    }
    let pixels = |layer: &crate::publisher::Layer| {
        let state = layer.state();
        u64::from(state.width) * u64::from(state.height)
    };
    let live = (0..).zip(&track.layers).filter(|(_, layer)| layer.live);
    live.max_by_key(|(_, layer)| pixels(layer)).map(|(at, _)| at)
}

/// What a voice takes at its loudest, in bit/s.
fn sound_of(now: Instant, track: &mut Track) -> u64 {
    track
        .layers
        .first_mut()
        .map_or(0, |layer| layer.rates(now, 0).0.map(|rate| rate.peak).into_iter().max().unwrap_or(0))
}
