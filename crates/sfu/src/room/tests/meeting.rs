//! People with simulcast cameras of three temporal layers, and somebody who looks at them.

use ringback_transport::sdp::PublishLine;

use super::scene::*;
use crate::events::SlotReason;

/// The simulcast layers of a camera: SSRC, RID, width, height, bytes of a picture, of which there are 50 a second: 150 and 900 kbit/s
/// with their headers.
pub(super) const LAYERS: [(u32, &str, u16, u16, usize); 2] = [(31, "q", 320, 180, 309), (33, "f", 1280, 720, 2_184)];

/// The temporal layers of four pictures in a row, as browsers send them, and whether each refers to the base only.
pub(super) const PATTERN: [(u8, bool); 4] = [(0, false), (2, true), (1, true), (2, false)];

pub(super) struct Meeting {
    pub(super) scene: Scene,
    pub(super) picture: u16,
    /// Layers that do not come.
    pub(super) silent: Vec<usize>,
}

impl Meeting {
    /// People with cameras, and a last one who sends nothing and looks at them.
    pub(super) fn of(cameras: u64) -> Self {
        Self::silent_of(cameras, &[])
    }

    /// The same, of whose layers some do not come yet.
    pub(super) fn silent_of(cameras: u64, silent: &[usize]) -> Self {
        let mut scene = Scene::new(0, 0);
        let mut sender = lines(0);
        let rids = LAYERS.map(|(_, rid, ..)| rid.to_owned()).to_vec();
        sender[1].publish = Some(PublishLine { rids, ..PublishLine::default() });
        for id in 1..=cameras {
            scene.join(id, &sender);
        }
        scene.join(cameras + 1, &lines(cameras as usize));
        let mut meeting = Self { scene, picture: 0, silent: silent.to_vec() };
        meeting.go_on(2_000);
        meeting
    }

    pub(super) fn looker(&self) -> usize {
        self.scene.keys.len() - 1
    }

    pub(super) fn payload(&self, layer: usize, key: bool) -> Vec<u8> {
        let (_, _, width, height, bytes) = LAYERS[layer];
        let (temporal, sync) = PATTERN[usize::from(self.picture) % 4];
        let [high, low] = (self.picture | 0x8000).to_be_bytes();
        let base = (self.picture / 4) as u8;
        let mut payload = vec![0x90, 0xF0, high, low, base, temporal << 6 | u8::from(sync) << 5];
        let frame: &[u8] = if key { &[0x10, 0, 0, 0x9D, 1, 0x2A] } else { &[0x11, 0, 0] };
        payload.extend_from_slice(frame);
        payload.extend_from_slice(&width.to_le_bytes());
        payload.extend_from_slice(&height.to_le_bytes());
        payload.resize(bytes, 0);
        payload
    }

    /// Everybody sends for so many ms, with a keyframe whenever one is asked for.
    pub(super) fn go_on(&mut self, ms: u64) {
        for _ in 0..ms / 20 {
            for member in self.scene.keys.clone().into_iter().take(self.looker()) {
                for (layer, (ssrc, rid, ..)) in LAYERS.into_iter().enumerate() {
                    if self.silent.contains(&layer) {
                        continue;
                    }
                    let key = self.picture.is_multiple_of(20);
                    let extensions: &[(u8, &[u8])] = &[(MID, b"cam"), (RID, rid.as_bytes())];
                    let timestamp = u32::from(self.picture) * 1_800;
                    let packet = rtp(ssrc, VP8, self.picture, timestamp, extensions, &self.payload(layer, key));
                    self.scene.send(member, &packet);
                }
            }
            self.picture += 1;
            self.scene.pass(20 * MS);
        }
    }

    pub(super) fn limit(&mut self, bits_per_second: u64) {
        let (now, looker) = (self.scene.now, self.looker());
        self.scene.room.set_budget(now, looker, Some(bits_per_second));
        self.scene.room.settle(now, &mut self.scene.sink);
    }

    /// What the looker was told of a slot last, since the last look at any.
    pub(super) fn told(&mut self) -> Vec<(String, Option<SlotReason>)> {
        let looker = ParticipantId(self.scene.keys.len() as u64);
        let mut told: Vec<(String, Option<SlotReason>)> = Vec::new();
        for event in self.scene.events() {
            let SfuEvent::Slots { participant, slots, .. } = event else { continue };
            for mapping in slots.into_iter().filter(|mapping| participant == looker && mapping.mid.starts_with('v')) {
                told.retain(|(mid, _)| *mid != mapping.mid);
                told.push((mapping.mid, mapping.reason));
            }
        }
        told
    }

    /// What came to the looker in a second, by slot, in kbit/s with headers.
    pub(super) fn second(&mut self) -> Vec<(u32, u64)> {
        let looker = self.looker();
        self.scene.sink.take(looker);
        self.go_on(1_000);
        let mut came: Vec<(u32, u64)> = Vec::new();
        for (header, payload) in self.scene.sink.take(looker) {
            let bits = (payload.len() as u64 + 66) * 8;
            match came.iter_mut().find(|(ssrc, _)| *ssrc == header.ssrc) {
                Some((_, sum)) => *sum += bits,
                None => came.push((header.ssrc, bits)),
            }
        }
        came.into_iter().map(|(ssrc, bits)| (ssrc, bits / 1_000)).collect()
    }
}
