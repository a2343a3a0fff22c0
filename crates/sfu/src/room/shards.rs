//! A room's part in spanning several workers: members who are connected elsewhere, what is told of those who are here, and which shard decides the
//! stage. Whoever is elsewhere has no slots here; what they send is treated as if it had come here, reports and losses aside, which are between them and their worker.

use std::sync::Arc;
use std::time::Instant;

use ringback_transport::sdp::MediaKind;

use super::media::request_keyframe;
use super::voices::Voice;
use super::{Member, Room};
use crate::forward::{LayerKey, PacketSink};
use crate::ids::ParticipantId;
use crate::publisher::Publisher;
use crate::quality::QualityMeter;
use crate::shard::{MemberOutline, Notice, RelayedPacket, WantedLayers};
use crate::stage::{Detector, StageReason, ToldStage};
use crate::subscriber::Subscriber;

impl Room {
    /// The room spans another worker from now on: everything about those who are here is told there.
    pub(crate) fn open_relay(&mut self, relay: u8) {
        self.spans = true;
        let here = self.members.iter().filter(|(_, member)| member.elsewhere.is_none());
        for key in here.map(|(key, _)| key).collect::<Vec<_>>() {
            self.notices.extend(self.outline(key).map(|outline| (Some(relay), outline)));
        }
        let stage = self.stage_notice(StageReason::Speaking);
        self.notices.extend(stage.map(|stage| (Some(relay), stage)));
    }

    /// The shard at the other end is gone, and who was there has been taken out.
    pub(crate) fn close_relay(&mut self, relay: u8, is_last: bool) {
        self.spans = !is_last;
        for layer in self.publishers.iter_mut().flat_map(|(_, publisher)| publisher.layers_mut()) {
            layer.wanted_elsewhere &= !(1 << relay);
            layer.sizes.set_wanted_elsewhere(relay, 0);
        }
        self.changed = true;
    }

    /// Whether this shard decides the stage, or is told of it. Who was on it is forgotten when that changes: the next words decide.
    pub(crate) fn set_leads(&mut self, now: Instant, leads: bool) {
        if std::mem::replace(&mut self.leads, leads) == leads {
            return;
        }
        self.stage = if leads { Box::new(Detector::new(self.config.stage)) } else { Box::<ToldStage>::default() };
        let keys: Vec<usize> = self.members.iter().map(|(key, _)| key).collect();
        for key in keys {
            if let Some(member) = self.members.get_mut(key) {
                member.voice.speaking = false;
                self.stage.join(now, member.id, true);
            }
            self.sync_voice(now, key);
        }
        self.changed = true;
        self.tell_speaking();
    }

    /// The next notice for a relay, or for all of them.
    pub(crate) fn poll_notice(&mut self) -> Option<(Option<u8>, Notice)> {
        self.notices.pop_front()
    }

    /// Something about a member who is here has changed.
    pub(super) fn tell_shards(&mut self, key: usize) {
        if self.spans && self.members.get(key).is_some_and(|member| member.elsewhere.is_none()) {
            self.notices.extend(self.outline(key).map(|outline| (None, outline)));
        }
    }

    fn outline(&self, key: usize) -> Option<Notice> {
        let (member, publisher) = (self.members.get(key)?, self.publishers.get(key)?);
        Some(Notice::Member(Arc::new(MemberOutline {
            participant: member.id,
            admitted: member.admitted,
            connected: member.connected,
            watches: self.watchers.contains(&key),
            tracks: publisher.outline(),
        })))
    }

    /// What the stage has come to, if it is decided here.
    pub(super) fn stage_notice(&self, reason: StageReason) -> Option<Notice> {
        let speaking = self.members.iter().filter(|(_, m)| m.voice.speaking).map(|(_, m)| m.id).collect();
        (self.leads && self.spans).then(|| Notice::Stage { on_stage: self.stage.on_stage(), reason, speaking })
    }

    /// Somebody is at another shard, or something about them has changed. Returns their number if they are new.
    pub(crate) fn follow(
        &mut self,
        now: Instant,
        relay: u8,
        known: Option<usize>,
        of: &MemberOutline,
    ) -> Option<usize> {
        let key = known.unwrap_or_else(|| self.insert_elsewhere(now, relay, of.participant));
        let (Some(member), Some(publisher)) = (self.members.get_mut(key), self.publishers.get_mut(key)) else {
            return None;
        };
        (member.admitted, member.connected) = (of.admitted, of.connected);
        let mids = publisher.tracks.iter().map(|track| &track.mid);
        let moved = known.is_some() && mids.ne(of.tracks.iter().map(|track| &track.mid));
        publisher.follow(now, &of.tracks, &mut self.next_store);
        self.watch_stage(key, of.watches);
        self.sync_voice(now, key);
        self.changed = true;
        if moved {
            self.change_at_once();
        }
        known.is_none().then_some(key)
    }

    fn insert_elsewhere(&mut self, now: Instant, relay: u8, id: ParticipantId) -> usize {
        self.joins += 1;
        let key = self.members.insert(Member {
            id,
            joined: self.joins,
            admitted: false,
            connected: false,
            elsewhere: Some(relay),
            voice: Voice::new(),
            meter: QualityMeter::new(),
        });
        self.stage.join(now, id, true);
        let keys = (
            self.publishers.insert(Publisher::elsewhere(key as u32)),
            self.subscribers.insert(Subscriber::new(self.origin)),
        );
        debug_assert_eq!(keys, (key, key));
        key
    }

    /// Another shard says which layers of somebody here are wanted there.
    pub(crate) fn on_wanted(&mut self, relay: u8, key: usize, layers: &[WantedLayers]) {
        let Some(publisher) = self.publishers.get_mut(key) else { return };
        for (track, wanted) in publisher.tracks.iter_mut().zip(layers) {
            for (at, layer) in track.layers.iter_mut().enumerate() {
                let is_wanted = u64::from(wanted.layers >> at & 1);
                layer.wanted_elsewhere = layer.wanted_elsewhere & !(1 << relay) | is_wanted << relay;
            }
            if let Some(first) = track.layers.first_mut() {
                first.sizes.set_wanted_elsewhere(relay, wanted.sizes);
            }
        }
        self.changed = true;
    }

    /// The shard that decides the stage says what it has come to.
    pub(crate) fn on_stage_told(
        &mut self,
        now: Instant,
        on_stage: Option<ParticipantId>,
        reason: StageReason,
        speaking: &[ParticipantId],
    ) {
        let change = self.stage.told(on_stage, reason, speaking);
        self.staged(change);
        let active = now.saturating_duration_since(self.origin).as_millis() as u64 + 1;
        for (_, member) in self.members.iter_mut().filter(|(_, member)| member.voice.speaking) {
            member.voice.last_active = active;
        }
    }

    /// Packets of members at another shard were dropped on their way: only keyframes help, where somebody looks.
    pub(crate) fn on_relay_lost(&mut self, relay: u8) {
        for (key, publisher) in &mut self.publishers {
            if self.members.get(key).is_some_and(|member| member.elsewhere == Some(relay)) {
                let seen = publisher.tracks.iter_mut().filter(|track| track.source.kind() == MediaKind::Video);
                seen.flat_map(|track| &mut track.layers).for_each(|layer| layer.wants_keyframe = true);
            }
        }
    }

    /// Takes a packet of a member at another shard.
    pub(crate) fn handle_relayed<S: PacketSink>(
        &mut self,
        now: Instant,
        key: usize,
        packet: &RelayedPacket<'_>,
        sink: &mut S,
    ) {
        let Some(publisher) = self.publishers.get_mut(key) else { return };
        if let Ok(received) = publisher.receive_relayed(now, packet) {
            self.handle_received(now, key, &received, sink);
        }
    }

    /// Takes what a member at another shard has reported of a stream.
    pub(crate) fn handle_relayed_report(&mut self, now: Instant, key: usize, ssrc: u32, ntp: u64, rtp: u32) {
        let layer = self.publishers.get_mut(key).and_then(|publisher| publisher.layer_of(ssrc));
        if let Some((layer, false)) = layer {
            layer.clock.on_sender_report(now, ntp, rtp);
        }
    }

    /// Another shard waits for a keyframe of somebody here.
    pub(crate) fn on_keyframe_wanted<S: PacketSink>(
        &mut self,
        now: Instant,
        key: usize,
        (track, layer): (u8, u8),
        sink: &mut S,
    ) {
        request_keyframe(&mut self.publishers, LayerKey { member: key as u32, track, layer }, now, sink);
    }
}
