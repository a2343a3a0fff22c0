//! Which layers anybody wants: those that slots were granted or still carry, all that are tapped, and always the smallest of a track, so that
//! whoever comes sees something at once. A publisher is told in [`SfuEvent::Layers`] when that changes; in a room where nobody else is, nothing is
//! decided, so that the first who comes finds all layers.

use std::time::Instant;

use ringback_transport::sdp::MediaKind;

use super::Room;
use crate::events::SfuEvent;
use crate::publisher::Track;
use crate::shard::Notice;

impl Room {
    /// Forgets who wanted what, before everything is planned anew.
    pub(super) fn forget_interest(&mut self, now: Instant) {
        for layer in self.publishers.iter_mut().flat_map(|(_, publisher)| publisher.layers_mut()) {
            layer.forget_interest(now);
        }
    }

    /// Tells publishers whose layers are wanted no more, or again.
    pub(super) fn tell_interest(&mut self, now: Instant) {
        let mut told_anew = Vec::new();
        let looks = self.members.iter().filter(|(_, member)| member.connected && member.admitted).count();
        for (key, publisher) in &mut self.publishers {
            let Some(member) = self.members.get(key).filter(|member| member.connected) else { continue };
            if let Some(relay) = member.elsewhere {
                // Their worker weighs it with what others want, and tells them.
                let wanted = publisher.wanted_anew();
                let notice = wanted.map(|layers| Notice::Wanted { participant: member.id, layers });
                self.notices.extend(notice.map(|notice| (Some(relay), notice)));
                continue;
            }
            let is_tapped = self.taps.iter().any(|tap| tap.member == key);
            let is_alone = looks <= usize::from(member.admitted);
            // What is muted costs little, and is wanted again when it is not.
            let sent = |track: &&mut Track| {
                track.source.kind() == MediaKind::Video && track.live && !track.muted && !track.layers.is_empty()
            };
            for track in publisher.tracks.iter_mut().filter(sent) {
                let smallest = smallest(track);
                let mut is_news = false;
                // Of simulcast the layers are left out as a whole.
                let mut spatial = None;
                if let [only] = &mut track.layers[..]
                    && (is_tapped || !is_alone)
                {
                    spatial = only.sizes.settle(now, is_tapped);
                    is_news = spatial.is_some();
                }
                for (at, layer) in track.layers.iter_mut().enumerate() {
                    if is_tapped || at == smallest || layer.wanted_elsewhere != 0 {
                        layer.interest.want();
                    }
                    if is_tapped || !is_alone {
                        is_news |= layer.interest.settle(now);
                    }
                    if layer.interest.is_told_off() {
                        layer.keyframes.cancel();
                    }
                }
                if is_news {
                    told_anew.push(key);
                    let wanted = track.layers.iter().filter(|layer| !layer.interest.is_told_off());
                    self.events.push_back(SfuEvent::Layers {
                        room: self.id,
                        participant: member.id,
                        source: track.source,
                        wanted: wanted.filter_map(|layer| layer.rid.clone()).collect(),
                        spatial,
                    });
                }
            }
        }
        told_anew.into_iter().for_each(|key| self.tell_shards(key));
    }
}

/// The place of a track's smallest layer; the first, while no sizes are known.
fn smallest(track: &Track) -> usize {
    let pixels = |at: &usize| {
        let state = track.layers[*at].state();
        u64::from(state.width) * u64::from(state.height)
    };
    (0..track.layers.len()).filter(|at| pixels(at) > 0).min_by_key(pixels).unwrap_or(0)
}
