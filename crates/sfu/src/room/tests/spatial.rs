//! Streams of VP9 and AV1 that hold all sizes of a picture (SVC): who gets which, and that what they get can be decoded, by a model that knows of each
//! frame which others it was predicted from.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use ringback_transport::rtp::RtpHeader;
use ringback_transport::sdp::{CodecName, Extension, Line, MediaKind};

use super::meeting::PATTERN;
use super::scene::*;
use crate::SlotView;
use crate::vp9::Vp9Descriptor;

/// The sizes of a picture, the bytes that each takes beyond the smaller ones, and in how many packets: with headers 75, 180 and 730 kbit/s of 50 pictures
/// a second.
const SIZES: [(u16, u16, usize, usize); 3] = [(320, 180, 120, 1), (640, 360, 192, 2), (1280, 720, 1_180, 3)];

/// The id of AV1's dependency descriptor.
const DEPENDENCY: u8 = 12;

/// The most pictures that packets come late.
const LATEST: u16 = 5;

/// Which of a picture's frames, by picture and size.
type Frame = (u16, u8);

/// A camera that sends several sizes of each picture in one stream.
pub(super) struct Camera {
    codec: CodecName,
    pub(super) sizes: u8,
    /// Its encoder has begun anew.
    pub(super) is_new: bool,
    /// Whether the larger sizes are predicted from the smaller at keyframes only (k-SVC).
    only_at_keyframes: bool,
    picture: u16,
    sequence: u16,
    /// Where in the pattern of temporal layers it is.
    phase: usize,
    /// The last picture of each temporal layer.
    last: [u16; 3],
    /// What each frame was predicted from.
    references: BTreeMap<Frame, Vec<Frame>>,
}

impl Camera {
    pub(super) fn new(codec: CodecName, sizes: u8, only_at_keyframes: bool) -> Self {
        Self {
            codec,
            sizes,
            is_new: true,
            only_at_keyframes,
            picture: 0,
            sequence: 65_500,
            phase: 0,
            last: [0; 3],
            references: BTreeMap::new(),
        }
    }

    /// The packets of the next picture.
    pub(super) fn picture(&mut self, key: bool) -> Vec<Vec<u8>> {
        self.phase = if key { 0 } else { self.phase + 1 };
        let (temporal, _) = PATTERN[self.phase % 4];
        let before = match (self.phase % 4, temporal) {
            (3, _) => self.last[1],
            _ => self.last[0],
        };
        self.last[usize::from(temporal)] = self.picture;
        let mut packets = Vec::new();
        for spatial in 0..self.sizes {
            let between = spatial > 0 && (key || !self.only_at_keyframes);
            let mut from = Vec::new();
            from.extend(between.then(|| (self.picture, spatial.wrapping_sub(1))));
            from.extend((!key).then_some((before, spatial)));
            self.references.insert((self.picture, spatial), from);
            let (_, _, bytes, count) = SIZES[usize::from(spatial)];
            for at in 0..count {
                let part = Part { spatial, temporal, key, between, begins: at == 0, ends: at + 1 == count };
                let (mut payload, dependency) = match self.codec {
                    CodecName::Vp9 => (self.vp9(&part), Vec::new()),
                    _ => (vec![if key { 0x18 } else { 0x10 }], self.dependency(&part)),
                };
                // Which frame it is of stands at its end.
                payload.resize(bytes - 3, at as u8);
                let [high, low] = self.picture.to_be_bytes();
                payload.extend([high, low, spatial]);
                let extensions: &[(u8, &[u8])] = &[(DEPENDENCY, &dependency)];
                let extensions = if dependency.is_empty() { &[] } else { extensions };
                let mut packet = rtp(20, VP8, self.sequence, u32::from(self.picture) * 1_800, extensions, &payload);
                packet[1] &= 0x7F;
                self.sequence = self.sequence.wrapping_add(1);
                packets.push(packet);
            }
        }
        packets.last_mut().unwrap()[1] |= 0x80;
        self.picture += 1;
        packets
    }

    /// VP9's payload descriptor.
    fn vp9(&self, part: &Part) -> Vec<u8> {
        let structured = part.key && part.spatial == 0 && part.begins;
        let flags = [(true, 0xA0), (!part.key, 0x40), (part.begins, 0x08), (part.ends, 0x04), (structured, 0x02)];
        let flags = flags.iter().filter(|(is_set, _)| *is_set).fold(0, |flags, (_, flag)| flags | flag);
        let [high, low] = (self.picture | 0x8000).to_be_bytes();
        let switches_up = u8::from(part.temporal == 0) << 4;
        let layer = part.temporal << 5 | switches_up | part.spatial << 1 | u8::from(part.between);
        let mut descriptor = vec![flags, high, low, layer, self.phase as u8 / 4];
        if structured {
            descriptor.push((self.sizes - 1) << 5 | 0x10);
            for (width, height, ..) in &SIZES[..self.sizes.into()] {
                descriptor.extend(width.to_be_bytes().into_iter().chain(height.to_be_bytes()));
            }
        }
        descriptor
    }

    /// AV1's dependency descriptor, of a structure of three templates for each size, one for each temporal layer.
    fn dependency(&self, part: &Part) -> Vec<u8> {
        let template = part.spatial * 3 + part.temporal;
        let [high, low] = (self.picture * u16::from(self.sizes) + u16::from(part.spatial)).to_be_bytes();
        let mut value = vec![u8::from(part.begins) << 7 | u8::from(part.ends) << 6 | template, high, low];
        if part.key && part.spatial == 0 && part.begins {
            let sizes = usize::from(self.sizes);
            // From template 0 on, for one target; the layers, what they are to it, no differences, no chains.
            let mut bits = "10000".to_owned() + "000000" + "00000" + &["0101"].repeat(sizes).join("10") + "11";
            bits += &"10".repeat(3 * sizes);
            bits += &("0".repeat(3 * sizes) + "0" + "1");
            for (width, height, ..) in &SIZES[..sizes] {
                bits += &format!("{:016b}{:016b}", width - 1, height - 1);
            }
            let byte = |bits: &[u8]| bits.iter().fold(0, |byte, bit| byte << 1 | (bit - b'0')) << (8 - bits.len());
            value.extend(bits.as_bytes().chunks(8).map(byte));
        }
        value
    }
}

/// What a packet is of its picture.
struct Part {
    spatial: u8,
    temporal: u8,
    key: bool,
    /// Its frame is predicted from the smaller size.
    between: bool,
    begins: bool,
    ends: bool,
}

/// One who sends such a stream, and one who looks on.
pub(super) struct Pair {
    pub(super) scene: Scene,
    pub(super) camera: Camera,
    /// What came to who looks on.
    came: Vec<(RtpHeader, Vec<u8>)>,
    pub(super) keyframes: u32,
    /// Packets that are late, and the picture in which they come.
    late: Vec<(u16, Vec<u8>)>,
    /// How many pictures late the packets are that come next; none: all in time.
    delays: Vec<u16>,
    /// The most sizes that could go out of each picture.
    allowed: BTreeMap<u16, u8>,
    /// Whether the camera makes no more sizes than it is told that somebody wants.
    obeys: bool,
}

impl Pair {
    pub(super) fn new(camera: Camera) -> Self {
        let mut scene = Scene::new(0, 0);
        for id in 1..=2 {
            scene.join(id, &lines_of(camera.codec));
        }
        let (came, late, delays) = (Vec::new(), Vec::new(), Vec::new());
        Self { scene, camera, came, keyframes: 0, late, delays, allowed: BTreeMap::new(), obeys: false }
    }

    pub(super) fn look(&mut self, (width, height): (u32, u32)) {
        self.scene.room.set_view(1, &[SlotView { mid: "v0".into(), width, height }]);
        self.scene.room.settle(self.scene.now, &mut self.scene.sink);
    }

    pub(super) fn limit(&mut self, bits_per_second: Option<u64>) {
        self.scene.room.set_budget(self.scene.now, 1, bits_per_second);
    }

    /// So many pictures are sent, with a keyframe where one is asked for.
    pub(super) fn go_on(&mut self, pictures: u16) {
        for _ in 0..pictures {
            if self.obeys {
                self.obey();
            }
            let is_asked = !self.scene.sink.take_plis(0).is_empty();
            let key = std::mem::take(&mut self.camera.is_new) || is_asked;
            self.keyframes += u32::from(key);
            let picture = self.camera.picture;
            let slot = self.scene.room.subscribers[1].slots.iter().find(|slot| slot.mid == "v0").unwrap();
            let share = slot.spatial();
            self.allowed.insert(picture, if share.whole { self.camera.sizes } else { share.highest + 1 });
            for (at, packet) in self.camera.picture(key).into_iter().enumerate() {
                let delay = if key && at == 0 { 0 } else { self.delays.pop().unwrap_or(0) };
                self.late.push((picture + delay, packet));
            }
            self.deliver(picture);
            self.scene.pass(20 * MS);
        }
    }

    /// The camera does what it was told last.
    fn obey(&mut self) {
        for event in self.scene.events() {
            if let SfuEvent::Layers { participant: ParticipantId(1), spatial: Some(spatial), .. } = event {
                (self.camera.sizes, self.camera.is_new) = (spatial.wanted, true);
            }
        }
    }

    fn deliver(&mut self, picture: u16) {
        let (due, late): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.late).into_iter().partition(|(at, _)| *at <= picture);
        self.late = late;
        for (_, packet) in due {
            self.scene.send(0, &packet);
        }
        self.came.extend(self.scene.sink.take(1).into_iter().filter(|(header, _)| header.ssrc == 1001));
    }

    /// How many sizes of each picture came since the last look, and how many pictures of each.
    pub(super) fn sizes(&mut self) -> Vec<(u8, usize)> {
        let mut highest: BTreeMap<u16, u8> = BTreeMap::new();
        for (_, payload) in self.came.drain(..) {
            let (picture, spatial) = frame(&payload);
            let sizes = highest.entry(picture).or_default();
            *sizes = (spatial + 1).max(*sizes);
        }
        let mut counts: BTreeMap<u8, usize> = BTreeMap::new();
        highest.into_values().for_each(|sizes| *counts.entry(sizes).or_default() += 1);
        counts.into_iter().collect()
    }
}

pub(super) fn lines_of(name: CodecName) -> Vec<Line> {
    let mut lines = lines(1);
    for line in lines.iter_mut().filter(|line| line.kind == MediaKind::Video) {
        line.codecs = vec![codec(name, VP8, Some(RTX))];
        line.extensions.insert(Extension::DependencyDescriptor, DEPENDENCY, true, true);
    }
    lines
}

fn frame(payload: &[u8]) -> Frame {
    let [.., high, low, spatial] = payload else { panic!("{} bytes", payload.len()) };
    (u16::from_be_bytes([*high, *low]), *spatial)
}

#[test]
fn a_small_view_gets_the_small_size_at_the_next_picture_and_a_large_one_the_large_from_a_keyframe_on() {
    for (name, only_at_keyframes) in [(CodecName::Vp9, false), (CodecName::Vp9, true), (CodecName::Av1, true)] {
        let mut pair = Pair::new(Camera::new(name, 3, only_at_keyframes));
        pair.look((1280, 720));
        pair.go_on(100);
        assert_eq!((pair.sizes(), pair.keyframes), (vec![(3, 100)], 1));
        pair.look((160, 90));
        pair.go_on(100);
        assert_eq!((pair.sizes(), pair.keyframes), (vec![(1, 100)], 1));
        pair.look((640, 360));
        pair.go_on(100);
        assert_eq!((pair.sizes(), pair.keyframes), (vec![(2, 100)], 2));
        pair.look((1280, 720));
        pair.go_on(100);
        assert_eq!((pair.sizes(), pair.keyframes), (vec![(3, 100)], 3));
        // Nothing more is asked for afterwards.
        pair.go_on(500);
        assert_eq!((pair.sizes(), pair.keyframes), (vec![(3, 500)], 3));
    }
}

#[test]
fn beside_a_large_view_a_small_one_gets_the_small_size_of_the_same_stream() {
    let mut pair = Pair::new(Camera::new(CodecName::Vp9, 3, true));
    let other = pair.scene.join(3, &lines_of(CodecName::Vp9));
    let view = |(width, height)| SlotView { mid: "v0".into(), width, height };
    pair.scene.room.set_view(other, &[view((160, 90))]);
    pair.look((1280, 720));
    pair.go_on(50);
    let highest = |pair: &mut Pair| {
        let came = pair.scene.sink.take(other);
        let sizes = came.iter().filter(|(header, _)| header.ssrc == 1001).map(|(_, payload)| frame(payload).1 + 1);
        (sizes.clone().min(), sizes.max())
    };
    highest(&mut pair);
    pair.came.clear();
    pair.go_on(100);
    assert_eq!((pair.sizes(), highest(&mut pair)), (vec![(3, 100)], (Some(1), Some(1))));
    let before = pair.keyframes;
    pair.scene.room.set_view(other, &[view((1280, 720))]);
    pair.go_on(100);
    assert_eq!((pair.sizes(), highest(&mut pair)), (vec![(3, 100)], (Some(1), Some(3))));
    assert_eq!(pair.keyframes, before + 1);
}

#[test]
fn a_thin_network_gets_the_sizes_that_it_carries_and_the_others_when_it_carries_more() {
    let mut pair = Pair::new(Camera::new(CodecName::Vp9, 3, true));
    pair.look((1280, 720));
    pair.go_on(150);
    pair.limit(Some(400_000));
    pair.go_on(5);
    pair.came.clear();
    pair.go_on(300);
    assert_eq!((pair.sizes(), pair.keyframes), (vec![(2, 300)], 1));
    // Of the smallest size fewer pictures.
    pair.limit(Some(60_000));
    pair.go_on(100);
    pair.came.clear();
    pair.go_on(100);
    let sizes = pair.sizes();
    assert!(matches!(sizes[..], [(1, 25..=50)]), "{sizes:?}");
    pair.limit(Some(3_000_000));
    pair.go_on(400);
    pair.came.clear();
    pair.go_on(50);
    assert_eq!(pair.sizes(), [(3, 50)]);
    assert!(pair.keyframes <= 3, "{}", pair.keyframes);
}

#[test]
fn what_is_sent_again_ends_the_picture_as_it_did() {
    let mut pair = Pair::new(Camera::new(CodecName::Vp9, 2, false));
    pair.look((160, 90));
    pair.go_on(20);
    let ended = pair.came.last().unwrap().0;
    assert!(ended.marker);
    pair.scene.control(1, |writer| {
        writer.nack(5, 1001, [ended.sequence]).unwrap();
    });
    let again = pair.scene.sink.take(1);
    assert!(again[0].0.ssrc == 1006 && again[0].0.marker);
}

#[derive(Debug, Clone)]
enum Turn {
    GoOn(u16),
    Look((u32, u32)),
    Limit(Option<u64>),
    /// How late the next packets are.
    Delay(Vec<u16>),
}

fn turn(is_late: bool) -> impl Strategy<Value = Turn> {
    let view = prop_oneof![Just((160, 90)), Just((640, 360)), Just((1280, 720))];
    let delays = prop::collection::vec(0..=LATEST, 1..60);
    // Late pictures of upper temporal layers that are left out are not whole: nobody needs them.
    let limit = [None, Some(60_000), Some(110_000), Some(300_000), Some(700_000), Some(2_000_000)];
    let other = if is_late {
        delays.prop_map(Turn::Delay).boxed()
    } else {
        prop::sample::select(limit.to_vec()).prop_map(Turn::Limit).boxed()
    };
    // The longer is what it takes for a publisher to be told of sizes that nobody wants.
    let pictures = prop_oneof![8 => 1..40_u16, 1 => Just(280)];
    prop_oneof![3 => pictures.prop_map(Turn::GoOn), 2 => view.prop_map(Turn::Look), 2 => other]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_is_left_out_what_comes_can_be_decoded_and_each_picture_ends_once(
        name in prop_oneof![Just(CodecName::Vp9), Just(CodecName::Av1)],
        sizes in 2..=3_u8,
        only_at_keyframes in any::<bool>(),
        obeys in any::<bool>(),
        turns in any::<bool>().prop_flat_map(|is_late| prop::collection::vec(turn(is_late), 1..24)),
    ) {
        let mut pair = Pair::new(Camera::new(name, sizes, only_at_keyframes));
        pair.obeys = obeys;
        pair.go_on(1);
        let is_late = turns.iter().any(|turn| matches!(turn, Turn::Delay(_)));
        let lateness = if is_late { LATEST } else { 0 };
        for turn in turns {
            match turn {
                Turn::GoOn(pictures) => pair.go_on(pictures),
                Turn::Look(view) => pair.look(view),
                Turn::Limit(limit) => pair.limit(limit),
                Turn::Delay(delays) => pair.delays = delays,
            }
        }
        pair.delays.clear();
        pair.go_on(1);
        pair.deliver(u16::MAX);

        let first = pair.came[0].0.sequence;
        let numbers: BTreeSet<u16> = pair.came.iter().map(|(header, _)| header.sequence.wrapping_sub(first)).collect();
        prop_assert_eq!(numbers.len(), pair.came.len(), "no number comes twice");
        prop_assert_eq!(numbers.last().copied(), Some((pair.came.len() - 1) as u16), "no number is missing");

        let mut pictures: BTreeMap<u16, Vec<(u16, bool, u8)>> = BTreeMap::new();
        for (header, payload) in pair.came.iter().filter(|(_, payload)| !payload.is_empty()) {
            let (picture, spatial) = frame(payload);
            let number = header.sequence.wrapping_sub(first);
            if name == CodecName::Vp9 {
                let id = Vp9Descriptor::parse(payload).unwrap().picture_id;
                prop_assert_eq!(id.map(|id| id.value), Some(picture), "what is left out stays a gap");
            }
            pictures.entry(picture).or_default().push((number, header.marker, spatial));
        }
        let mut came: BTreeSet<Frame> = BTreeSet::new();
        for (picture, packets) in &mut pictures {
            packets.sort_unstable();
            let highest = packets.last().unwrap().2;
            // Packets that come late may have seen the share change.
            let allowed = pair.allowed.range(picture.saturating_sub(lateness)..=*picture).map(|(_, sizes)| *sizes);
            let allowed = allowed.max().unwrap();
            prop_assert!(highest < allowed, "picture {} of {} sizes, not {}", picture, highest + 1, allowed);
            let whole: usize = SIZES[..=usize::from(highest)].iter().map(|(.., count)| count).sum();
            prop_assert_eq!(packets.len(), whole, "picture {} up to size {} is whole", picture, highest);
            let markers = packets.iter().map(|(_, marker, _)| usize::from(*marker)).sum::<usize>();
            prop_assert!(markers == 1 && packets.last().unwrap().1, "picture {} ends once: {:?}", picture, packets);
            for spatial in 0..=highest {
                let from = &pair.camera.references[&(*picture, spatial)];
                prop_assert!(from.iter().all(|frame| came.contains(frame)), "{:?} needs {:?}", (picture, spatial), from);
                came.insert((*picture, spatial));
            }
        }
    }
}
