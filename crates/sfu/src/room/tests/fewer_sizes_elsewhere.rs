//! Which sizes of a stream are wanted where a room spans workers: the publisher's own tells them, of what those who look on at another want.

use std::collections::BTreeMap;

use ringback_transport::rtp::RtpHeader;
use ringback_transport::sdp::CodecName;

use super::scene::*;
use super::spatial::{Camera, lines_of};
use crate::SlotView;
use crate::events::SpatialLayers;
use crate::shard::{Notice, RelayedPacket};

/// Pictures in a second.
const SECOND: u16 = 50;

/// The publisher's worker, and others with one each who looks on.
struct Workers {
    camera: Camera,
    /// The publisher's first.
    scenes: Vec<Scene>,
    /// By worker and participant: their number there.
    known: BTreeMap<(usize, u64), usize>,
    /// Keyframes that were asked for.
    asked: usize,
}

impl Workers {
    fn new() -> Self {
        let camera = Camera::new(CodecName::Vp9, 3, true);
        let mut workers = Self { camera, scenes: Vec::new(), known: BTreeMap::new(), asked: 0 };
        workers.open();
        workers.open();
        workers
    }

    /// Another worker, with one more who looks on.
    fn open(&mut self) {
        let mut scene = Scene::new(0, 0);
        scene.join(self.scenes.len() as u64 + 1, &lines_of(CodecName::Vp9));
        let relay = self.scenes.len() as u8;
        if let Some(first) = self.scenes.first_mut() {
            first.room.open_relay(relay);
            scene.room.open_relay(0);
        }
        self.scenes.push(scene);
        self.exchange();
    }

    /// All that the first has to tell goes to the others, and the other way about.
    fn exchange(&mut self) {
        for from in 0..self.scenes.len() {
            while let Some((relay, notice)) = self.scenes[from].room.poll_notice() {
                let to = match (from, relay) {
                    (0, Some(relay)) => vec![relay.into()],
                    (0, None) => (1..self.scenes.len()).collect(),
                    _ => vec![0],
                };
                to.into_iter().for_each(|to| self.take(from, to, &notice));
            }
        }
        for scene in &mut self.scenes {
            scene.room.settle(scene.now, &mut scene.sink);
        }
    }

    fn take(&mut self, from: usize, to: usize, notice: &Notice) {
        let Scene { room, now, .. } = &mut self.scenes[to];
        let relay = from as u8;
        match notice {
            Notice::Member(outline) => {
                let place = (to, outline.participant.0);
                if let Some(key) = room.follow(*now, relay, self.known.get(&place).copied(), outline) {
                    self.known.insert(place, key);
                }
            }
            Notice::Wanted { participant: ParticipantId(1), layers } => room.on_wanted(relay, 0, layers),
            _ => {}
        }
    }

    fn look(&mut self, worker: usize, (width, height): (u32, u32)) {
        let scene = &mut self.scenes[worker];
        scene.room.set_view(0, &[SlotView { mid: "v0".into(), width, height }]);
        scene.room.settle(scene.now, &mut scene.sink);
        self.exchange();
    }

    /// So many pictures are sent, and reach all workers.
    fn go_on(&mut self, pictures: u16) {
        for _ in 0..pictures {
            let mut asked = 0;
            for (worker, scene) in self.scenes.iter_mut().enumerate() {
                let publisher = self.known.get(&(worker, 1)).copied().unwrap_or(0);
                asked += scene.sink.take_plis(publisher).len();
            }
            self.asked += asked;
            let key = std::mem::take(&mut self.camera.is_new) || asked > 0;
            for packet in self.camera.picture(key) {
                self.scenes[0].send(0, &packet);
                let header = RtpHeader::parse(&packet).unwrap();
                let packet = RelayedPacket {
                    participant: ParticipantId(1),
                    track: 1,
                    layer: 0,
                    codec: 0,
                    ssrc: header.ssrc,
                    sequence: header.sequence,
                    timestamp: header.timestamp,
                    marker: header.marker,
                    level: None,
                    dependency: &[],
                    payload: header.payload(&packet),
                };
                for (worker, scene) in self.scenes.iter_mut().enumerate().skip(1) {
                    scene.room.handle_relayed(scene.now, self.known[&(worker, 1)], &packet, &mut scene.sink);
                    scene.room.settle(scene.now, &mut scene.sink);
                }
            }
            self.scenes.iter_mut().for_each(|scene| scene.pass(20 * MS));
            self.exchange();
        }
    }

    /// What the camera was told since the last look, by its own worker.
    fn told(&mut self) -> Vec<SpatialLayers> {
        let mut told = self.scenes.iter_mut().map(|scene| {
            let events = scene.events().into_iter();
            events.filter_map(|event| match event {
                SfuEvent::Layers { participant: ParticipantId(1), spatial, .. } => spatial,
                _ => None,
            })
        });
        let own = told.next().unwrap().collect();
        assert_eq!(told.flatten().count(), 0, "nobody else tells them");
        own
    }

    /// The camera does as it is told.
    fn encode(&mut self, sizes: u8) {
        (self.camera.sizes, self.camera.is_new) = (sizes, true);
    }

    /// How many sizes come to who looks on at a worker, in a second.
    fn sizes(&mut self, worker: usize) -> Option<u8> {
        self.scenes[worker].sink.take(0);
        self.go_on(SECOND);
        let came = self.scenes[worker].sink.take(0).into_iter().filter(|(header, _)| header.ssrc == 1001);
        came.filter_map(|(_, payload)| payload.last().map(|size| size + 1)).max()
    }
}

#[test]
fn who_looks_on_at_another_worker_decides_how_many_sizes_are_encoded() {
    let mut workers = Workers::new();
    workers.look(1, (1280, 720));
    workers.go_on(2 * SECOND);
    assert_eq!((workers.sizes(1), workers.told()), (Some(3), vec![]));
    workers.look(1, (160, 90));
    workers.go_on(6 * SECOND);
    assert_eq!(workers.told(), [SpatialLayers { wanted: 1, of: 3 }]);
    workers.encode(1);
    assert_eq!(workers.sizes(1), Some(1));
    workers.asked = 0;
    workers.look(1, (1280, 720));
    assert_eq!(workers.told(), [SpatialLayers { wanted: 3, of: 3 }]);
    workers.go_on(SECOND / 2);
    assert_eq!(workers.asked, 0, "they begin with a keyframe");
    workers.encode(3);
    assert_eq!((workers.sizes(1), workers.asked, workers.told()), (Some(3), 0, vec![]));
}

#[test]
fn a_worker_that_joins_in_later_knows_what_is_left_out() {
    let mut workers = Workers::new();
    workers.look(1, (160, 90));
    workers.go_on(8 * SECOND);
    assert_eq!(workers.told(), [SpatialLayers { wanted: 1, of: 3 }]);
    workers.encode(1);
    workers.go_on(20 * SECOND);
    workers.open();
    workers.look(2, (1280, 720));
    workers.go_on(3);
    assert_eq!(workers.told(), [SpatialLayers { wanted: 3, of: 3 }]);
    workers.encode(3);
    assert_eq!((workers.sizes(2), workers.sizes(1)), (Some(3), Some(1)));
    // Its part ends.
    workers.scenes.truncate(2);
    let first = &mut workers.scenes[0];
    let key = workers.known[&(0, 3)];
    first.room.leave(first.now, key);
    first.room.close_relay(2, false);
    workers.go_on(6 * SECOND);
    assert_eq!(workers.told(), [SpatialLayers { wanted: 1, of: 3 }]);
}
