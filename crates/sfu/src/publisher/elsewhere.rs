//! A publisher who is connected to another worker: their tracks as that worker tells of them, and their packets, which come identified and plain. Nothing is reported
//! to them from here.

use std::time::Instant;

use ringback_transport::sdp::{CodecName, MediaKind};

use super::{Arrival, Ignored, Latched, Layer, NO_CODEC, Publisher, RESTARTS_TOLD_APART, Received, Track};
use crate::shard::{LayerOutline, RelayedPacket, TrackOutline, WantedLayers};

impl Publisher {
    /// A publisher whose tracks are still to be told.
    pub(crate) fn elsewhere(member: u32) -> Self {
        Self { is_elsewhere: true, ..Self::new(member) }
    }

    /// The tracks, for another shard.
    pub(crate) fn outline(&self) -> Vec<TrackOutline> {
        let layer = |layer: &Layer| LayerOutline {
            rid: layer.rid.clone(),
            ssrc: layer.ssrc,
            told_off: layer.interest.is_told_off(),
            sizes: layer.sizes.outline(),
            told_sizes: layer.sizes.told(),
        };
        let track = |track: &Track| TrackOutline {
            source: track.source,
            mid: track.mid.clone(),
            muted: track.muted,
            codecs: track.codecs.clone(),
            layers: track.layers.iter().map(layer).collect(),
        };
        self.tracks.iter().map(track).collect()
    }

    /// Takes the tracks as their worker tells of them. Tracks that were there before keep their state.
    pub(crate) fn follow(&mut self, now: Instant, outlines: &[TrackOutline], next_store: &mut u32) {
        let mut before = std::mem::take(&mut self.tracks);
        for outline in outlines {
            let old = before.iter().position(|track| track.mid == outline.mid && track.source == outline.source);
            let mut track = old.map(|at| before.swap_remove(at)).unwrap_or_else(|| Track {
                source: outline.source,
                mid: outline.mid.clone(),
                muted: outline.muted,
                live: false,
                codecs: Vec::new(),
                codec: 0,
                told_live: false,
                told_wanted: WantedLayers::default(),
                payload_types: [NO_CODEC; 128],
                layers: Vec::new(),
            });
            if track.codecs != outline.codecs {
                track.codecs.clone_from(&outline.codecs);
                track.codec = track.codecs.iter().position(|codec| codec.name != CodecName::Red).unwrap_or(0);
            }
            if track.muted != outline.muted {
                track.muted = outline.muted;
                // What was last seen is not to be seen again.
                track.layers.iter_mut().for_each(|layer| layer.last_keyframe.clear());
            }
            for (at, outline) in outline.layers.iter().enumerate() {
                if at == track.layers.len() {
                    *next_store = next_store.wrapping_add(RESTARTS_TOLD_APART);
                    track.layers.push(Layer::new(outline.rid.clone(), track.source.kind(), *next_store));
                }
                if let Some(layer) = track.layers.get_mut(at) {
                    layer.ssrc = layer.ssrc.or(outline.ssrc);
                    layer.interest.follow(now, outline.told_off);
                    layer.sizes.follow(now, &outline.sizes, outline.told_sizes);
                }
            }
            self.tracks.push(track);
        }
        self.latched.clear();
        for (track, layers) in (0..).zip(self.tracks.iter().map(|track| &track.layers)) {
            let known = (0..).zip(layers).filter_map(|(layer, known)| Some((layer, known.ssrc?)));
            self.latched.extend(known.map(|(layer, ssrc)| Latched { ssrc, track, layer, repair: false }));
        }
        self.changed = true;
    }

    /// Takes one packet in.
    ///
    /// # Errors
    /// Why it goes nowhere.
    pub(crate) fn receive_relayed<'p>(
        &mut self,
        now: Instant,
        packet: &RelayedPacket<'p>,
    ) -> Result<Received<'p>, Ignored> {
        let (track, layer) = (usize::from(packet.track), usize::from(packet.layer));
        let known = self.tracks.get(track).and_then(|track| track.layers.get(layer)).ok_or(Ignored::UnknownSsrc)?;
        if known.ssrc != Some(packet.ssrc) {
            self.latch(packet.ssrc, track, layer, false).ok_or(Ignored::UnknownSsrc)?;
        }
        self.take_in(
            now,
            Arrival {
                track,
                layer,
                codec: packet.codec,
                ssrc: packet.ssrc,
                sequence: packet.sequence,
                timestamp: packet.timestamp,
                marker: packet.marker,
                level: packet.level,
                dependency: packet.dependency,
                payload: packet.payload,
            },
        )
    }

    /// Which layers of each track are wanted here, if that is news to their worker.
    pub(crate) fn wanted_anew(&mut self) -> Option<Vec<WantedLayers>> {
        let mut is_news = false;
        for track in self.tracks.iter_mut().filter(|track| track.source.kind() == MediaKind::Video) {
            let wanted = (0..).zip(&track.layers).map(|(at, layer)| u8::from(layer.interest.is_wanted()) << at);
            let sizes = track.layers.first().map_or(0, |layer| layer.sizes.wanted());
            let wanted = WantedLayers { layers: wanted.fold(0, |all, one| all | one), sizes };
            is_news |= std::mem::replace(&mut track.told_wanted, wanted) != wanted;
        }
        is_news.then(|| self.tracks.iter().map(|track| track.told_wanted).collect())
    }

    /// All layers of all tracks.
    pub(crate) fn layers_mut(&mut self) -> impl Iterator<Item = &mut Layer> {
        self.tracks.iter_mut().flat_map(|track| &mut track.layers)
    }

    /// Forgets what has been missing for long. Their worker asks for it, and what comes of that comes here too.
    pub(super) fn forget_missing(&mut self, now: Instant) {
        let round_trip = self.reports.round_trip;
        for missing in self.layers_mut().filter_map(|layer| layer.missing.as_mut()) {
            let _ = missing.due(now, round_trip, &mut [0; crate::nack::MAX_PER_ROUND]);
        }
    }
}
