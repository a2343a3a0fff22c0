//! What flows where: after any change, who sits in which slot is decided anew, each slot is told its layer (`room/plan.rs`), and the layers'
//! lists of targets are rebuilt. Nothing here runs per packet.

use std::time::Instant;

use ringback_transport::sdp::MediaKind;

use super::{LOOKS_APART_PER_MEMBER, Room, TICK};
use crate::events::{SfuEvent, SlotMapping};
use crate::forward::{LayerKey, PacketSink, Target};
use crate::ids::{ParticipantId, Source};
use crate::publisher::Publisher;
use crate::shortlist::Shortlist;
use crate::slots::{Candidate, Published};

impl Room {
    /// Brings slots and forwarding tables up to date, if something changed and it is not too soon after the last time: then
    /// [`handle_timeout`](Self::handle_timeout) does.
    #[inline]
    pub(crate) fn settle_in_time<S: PacketSink>(&mut self, now: Instant, sink: &mut S) {
        if self.changed && self.next_look().is_none_or(|at| at <= now) {
            self.settle(now, sink);
        }
    }

    /// When what has changed is looked at, if it has to wait.
    pub(super) fn next_look(&self) -> Option<Instant> {
        let apart = LOOKS_APART_PER_MEMBER.saturating_mul(self.members.len() as u32).min(TICK);
        self.looked.filter(|_| self.changed).map(|at| at + apart)
    }

    /// Something changed that cannot wait: a wish that protects somebody, or what tables go by.
    pub(super) fn change_at_once(&mut self) {
        (self.changed, self.looked) = (true, None);
    }

    /// Brings slots and forwarding tables up to date, if something changed.
    pub(crate) fn settle<S: PacketSink>(&mut self, now: Instant, sink: &mut S) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        self.looked = Some(now);
        self.tell_live();
        let slots = self.subscribers.iter().map(|(_, subscriber)| subscriber.assignment.width()).max();
        let list = Shortlist::new(self.candidates(), slots.unwrap_or(0));
        let before_them = self.on_stage_before();
        let (mut places, mut others) = (Vec::new(), Vec::new());
        for (key, member) in &self.members {
            if member.elsewhere.is_some() {
                continue;
            }
            let Some(subscriber) = self.subscribers.get_mut(key) else { continue };
            let (pin, only) = (subscriber.pin, subscriber.only);
            // Whoever is on the stage themselves looks at who was there before.
            let is_on_stage = |who| before_them.filter(|_| self.stage.on_stage() == Some(member.id)) == Some(who);
            let known = [pin, only, before_them].into_iter().flatten();
            let candidates = list
                .with(subscriber.assignment.holds().chain(known), &mut places)
                .filter(|candidate| member.admitted && candidate.participant != member.id)
                .filter(|candidate| only.is_none_or(|only| only == candidate.participant))
                .map(|candidate| Candidate {
                    pinned: pin == Some(candidate.participant),
                    on_stage: candidate.on_stage || is_on_stage(candidate.participant),
                    ..*candidate
                });
            others.clear();
            others.extend(candidates);
            subscriber.assign(now, &others);
        }
        self.forget_interest(now);
        self.plan_slots(now);
        self.tell_interest(now);
        self.rebuild_targets();
        self.tell_slots();
        self.tell_focus();
        self.request_keyframes(now, sink);
        self.show_stills(now, sink);
    }

    /// Everyone who may be heard and seen.
    fn candidates(&self) -> Vec<Candidate> {
        let published = |publisher: &Publisher, source| {
            match publisher.tracks.iter().find(|track| track.source == source) {
                None => Published::No,
                Some(track) if track.muted => Published::Muted,
                // A screen m-line is there before anything is shared, and a screen gets a slot only while it is.
                Some(track) if source == Source::Screen && !track.live => Published::Muted,
                Some(_) => Published::Yes,
            }
        };
        let on_stage = self.stage.on_stage();
        let admitted = self.members.iter().filter(|(_, member)| member.admitted);
        admitted
            .filter_map(|(key, member)| {
                let publisher = self.publishers.get(key)?;
                Some(Candidate {
                    participant: member.id,
                    microphone: published(publisher, Source::Microphone),
                    camera: published(publisher, Source::Camera),
                    screen: published(publisher, Source::Screen),
                    pinned: false,
                    on_stage: on_stage == Some(member.id),
                    speaking: member.voice.speaking,
                    loudness: member.voice.loudness / 16,
                    last_active: member.voice.last_active,
                    joined: member.joined,
                })
            })
            .collect()
    }

    /// Who was on the stage last before whoever is there now, of those who are still here.
    fn on_stage_before(&self) -> Option<ParticipantId> {
        let others = self.members.iter().filter(|(_, member)| self.stage.on_stage() != Some(member.id));
        let staged = others.filter(|(_, member)| member.admitted && member.voice.staged > 0);
        staged.max_by_key(|(_, member)| member.voice.staged).map(|(_, member)| member.id)
    }

    /// Nothing flows to a member any more, until the tables are rebuilt.
    pub(super) fn forget_targets(&mut self, key: usize) {
        for layer in self.publishers.iter_mut().flat_map(|(_, publisher)| publisher.layers_mut()) {
            layer.targets.retain(|target| target.member as usize != key);
        }
    }

    /// Every layer gets the list of slots that it flows or should flow in.
    fn rebuild_targets(&mut self) {
        for (_, publisher) in &mut self.publishers {
            for layer in publisher.tracks.iter_mut().flat_map(|track| &mut track.layers) {
                layer.targets.clear();
            }
        }
        for (member, subscriber) in &self.subscribers {
            if !self.members.get(member).is_some_and(|m| m.connected && m.admitted) {
                continue;
            }
            for (at, slot) in subscriber.slots.iter().enumerate() {
                let target = Target { member: member as u32, slot: at as u32 };
                let (flowing, wanted) = (slot.flowing(), slot.wanted());
                for key in [flowing, wanted.filter(|_| wanted != flowing)].into_iter().flatten() {
                    if let Some(layer) = layer_mut(&mut self.publishers, key) {
                        layer.targets.push(target);
                    }
                }
            }
        }
    }

    /// Tells each client what changed in its slots.
    fn tell_slots(&mut self) {
        for (key, subscriber) in &mut self.subscribers {
            // Before that they may not even have the answer that names their slots.
            if !self.members.get(key).is_some_and(|member| member.connected) {
                continue;
            }
            let slots: Vec<SlotMapping> = subscriber.slots.iter_mut().filter_map(|slot| slot.mapping(None)).collect();
            if let Some(member) = self.members.get(key).filter(|_| !slots.is_empty()) {
                self.events.push_back(SfuEvent::Slots { room: self.id, participant: member.id, slots });
            }
        }
    }

    /// Tells each client what it is meant to look at, if that has changed.
    fn tell_focus(&mut self) {
        for (key, subscriber) in &mut self.subscribers {
            let Some(member) = self.members.get(key).filter(|member| member.connected) else { continue };
            let focus = subscriber.assignment.focus();
            if std::mem::replace(&mut subscriber.told_focus, focus) != focus {
                self.events.push_back(SfuEvent::Focus { room: self.id, participant: member.id, focus });
            }
        }
    }

    /// Tells what the slots that just went over carry now.
    pub(super) fn tell_switched(&mut self) {
        if self.switched.is_empty() {
            return;
        }
        // The layers they left still list them.
        self.changed = true;
        for switched in self.switched.drain(..) {
            let (member, slot) = (switched.target.member as usize, switched.target.slot as usize);
            let Some(slot) = self.subscribers.get_mut(member).and_then(|s| s.slots.get_mut(slot)) else { continue };
            if let (Some(mapping), Some(member)) = (slot.mapping(Some(switched.timestamp)), self.members.get(member)) {
                let (room, participant) = (self.id, member.id);
                self.events.push_back(SfuEvent::Slots { room, participant, slots: vec![mapping] });
            }
        }
    }

    /// Asks for a keyframe of every layer that a video slot waits for, be it to begin or to go on.
    pub(super) fn request_keyframes<S: PacketSink>(&mut self, now: Instant, sink: &mut S) {
        for (member, subscriber) in &self.subscribers {
            if !self.members.get(member).is_some_and(|m| m.connected) {
                continue;
            }
            let has_room = !sink.is_congested(member) && !subscriber.is_full();
            for slot in subscriber.slots.iter().filter(|slot| slot.kind == MediaKind::Video) {
                let cut_off = slot.wanted().filter(|_| slot.cut_off && has_room);
                // A size that its publisher left out begins with a keyframe when it comes.
                let mut grows_by_itself = |key: &LayerKey| {
                    let stream = layer_mut(&mut self.publishers, *key);
                    slot.awaited_size().zip(stream).is_some_and(|(size, stream)| stream.sizes.is_under_way(now, size))
                };
                let awaited = slot.awaited().filter(|key| !grows_by_itself(key));
                if let Some(wanted) = awaited.or(cut_off) {
                    super::media::request_keyframe(&mut self.publishers, wanted, now, sink);
                }
            }
        }
    }

    /// Tells which tracks began or ceased.
    fn tell_live(&mut self) {
        for (key, publisher) in &mut self.publishers {
            publisher.changed = false;
            let Some(member) = self.members.get(key) else { continue };
            for track in &mut publisher.tracks {
                if track.live != track.told_live {
                    track.told_live = track.live;
                    if member.elsewhere.is_some() {
                        continue;
                    }
                    let (room, participant, source, live) = (self.id, member.id, track.source, track.live);
                    self.events.push_back(SfuEvent::TrackLive { room, participant, source, live });
                }
            }
        }
    }
}

pub(super) fn layer_mut(publishers: &mut slab::Slab<Publisher>, key: LayerKey) -> Option<&mut crate::publisher::Layer> {
    let publisher = publishers.get_mut(key.member as usize)?;
    publisher.tracks.get_mut(usize::from(key.track))?.layers.get_mut(usize::from(key.layer))
}
