//! The room's part in taps: who is tapped, what of theirs goes there, and the keyframes that a tap needs.

use std::time::Instant;

use ringback_transport::rtcp::SenderInfo;

use super::media::request_keyframe;
use super::{IDLE_TICK, Room};
use crate::forward::{Packet, PacketSink};
use crate::ids::Source;
use crate::publisher::Track;
use crate::tap::{self, Tap, TapEnd, TapPort};

/// Gives one packet of a member to the taps on them.
pub(super) fn feed(
    taps: &mut [TapPort],
    now: Instant,
    member: usize,
    track: &Track,
    layer: usize,
    packet: &Packet<'_>,
) {
    let Some(codec) = track.codecs.get(usize::from(packet.codec)).map(|codec| codec.name) else { return };
    let larger = |one: usize, other: usize| {
        let state = |at: usize| track.layers.get(at).map(|layer| layer.state());
        let (Some(one), Some(other)) = (state(one), state(other)) else { return false };
        let pixels = |state: &crate::layers::LayerState| u32::from(state.width) * u32::from(state.height);
        !other.live || pixels(&one) > pixels(&other)
    };
    for tap in taps.iter_mut().filter(|tap| tap.member == member) {
        tap.feed(now, track.source, codec, layer, packet, larger);
    }
}

impl Room {
    /// Taps some tracks of a member.
    pub(crate) fn tap<S: PacketSink>(&mut self, now: Instant, key: usize, sources: Vec<Source>, sink: &mut S) -> Tap {
        let (port, tap) = tap::tap(key, sources);
        self.taps.push(port);
        self.next_tick = self.next_tick.min(now + IDLE_TICK);
        self.tick_taps(now, sink);
        tap
    }

    pub(super) fn end_taps(&mut self, member: usize, reason: TapEnd) {
        self.taps.iter_mut().filter(|tap| tap.member == member).for_each(|tap| tap.end(reason));
        self.taps.retain(|tap| !tap.is_over());
    }

    pub(super) fn tap_muted(&mut self, now: Instant, member: usize, source: Source, muted: bool) {
        self.taps.iter_mut().filter(|tap| tap.member == member).for_each(|tap| tap.muted(now, source, muted));
    }

    pub(super) fn tap_report(&mut self, now: Instant, member: usize, ssrc: u32, info: &SenderInfo) {
        if self.taps.is_empty() {
            return;
        }
        let Some(publisher) = self.publishers.get(member) else { return };
        let Some((track, layer)) = publisher.place_of(ssrc) else { return };
        let Some(source) = publisher.tracks.get(track).map(|track| track.source) else { return };
        for tap in self.taps.iter_mut().filter(|tap| tap.member == member) {
            tap.report(now, source, layer, info.ntp_time, info.rtp_time);
        }
    }

    /// Forgets taps that are over, and asks for the keyframes of the others.
    pub(super) fn tick_taps<S: PacketSink>(&mut self, now: Instant, sink: &mut S) {
        self.taps.retain(|tap| !tap.is_over());
        for tap in &mut self.taps {
            let (member, flowing) = (tap.member, [Source::Camera, Source::Screen].map(|source| tap.layer(source)));
            let Some(sources) = tap.keyframes_due(now) else { continue };
            for source in sources {
                let Some(publisher) = self.publishers.get(member) else { continue };
                let Some(at) = publisher.tracks.iter().position(|track| track.source == source) else { continue };
                // Of the layer that flows, and of the largest that arrives, to go over to it.
                let states = publisher.tracks[at].layers.iter().map(|layer| layer.state()).enumerate();
                let largest = states
                    .filter(|(_, state)| state.live)
                    .max_by_key(|(_, state)| u32::from(state.width) * u32::from(state.height))
                    .map(|(layer, _)| layer);
                let current = if source == Source::Camera { flowing[0] } else { flowing[1] };
                let keys = [current, largest.filter(|_| largest != current)]
                    .map(|layer| layer.map(|layer| publisher.key(at, layer)));
                for key in keys.into_iter().flatten() {
                    request_keyframe(&mut self.publishers, key, now, sink);
                }
            }
        }
    }
}
