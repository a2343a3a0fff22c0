//! What subscribers get whose network cannot take everything.

use ringback_transport::rtcp::RtcpWriter;
use ringback_transport::sdp::PublishLine;

use super::scene::*;
use crate::events::SlotReason;
use crate::vp8::Vp8Descriptor;

/// The simulcast layers of a camera: SSRC, RID, width, height, bytes of a picture, of which there are 50 a second: 150 and 900 kbit/s
/// with their headers.
const LAYERS: [(u32, &str, u16, u16, usize); 2] = [(31, "q", 320, 180, 309), (33, "f", 1280, 720, 2_184)];

/// The temporal layers of four pictures in a row, as browsers send them, and whether each refers to the base only.
const PATTERN: [(u8, bool); 4] = [(0, false), (2, true), (1, true), (2, false)];

struct Meeting {
    scene: Scene,
    picture: u16,
}

impl Meeting {
    /// People with cameras, and a last one who sends nothing and looks at them.
    fn of(cameras: u64) -> Self {
        let mut scene = Scene::new(0, 0);
        let mut sender = lines(0);
        let rids = LAYERS.map(|(_, rid, ..)| rid.to_owned()).to_vec();
        sender[1].publish = Some(PublishLine { rids, ..PublishLine::default() });
        for id in 1..=cameras {
            scene.join(id, &sender);
        }
        scene.join(cameras + 1, &lines(cameras as usize));
        let mut meeting = Self { scene, picture: 0 };
        meeting.go_on(2_000);
        meeting
    }

    fn looker(&self) -> usize {
        self.scene.keys.len() - 1
    }

    fn payload(&self, layer: usize, key: bool) -> Vec<u8> {
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
    fn go_on(&mut self, ms: u64) {
        for _ in 0..ms / 20 {
            for member in self.scene.keys.clone().into_iter().take(self.looker()) {
                for (layer, (ssrc, rid, ..)) in LAYERS.into_iter().enumerate() {
                    let key = self.picture % 4 == 0 && self.picture % 20 == 0;
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

    fn limit(&mut self, bits_per_second: u64) {
        let (now, looker) = (self.scene.now, self.looker());
        self.scene.room.set_budget(now, looker, Some(bits_per_second));
        self.scene.room.settle(now, &mut self.scene.sink);
    }

    /// What the looker was told of a slot last, since the last look at any.
    fn told(&mut self) -> Vec<(String, Option<SlotReason>)> {
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
    fn second(&mut self) -> Vec<(u32, u64)> {
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

#[test]
fn a_thin_link_gets_fewer_pictures_of_the_small_layer_without_a_gap_in_their_numbers() {
    let mut meeting = Meeting::of(1);
    assert_eq!(meeting.second(), [(1001, 900)]);
    meeting.limit(120_000);
    meeting.go_on(1_000);
    let looker = meeting.looker();
    meeting.scene.sink.take(looker);
    meeting.go_on(1_000);
    let came = meeting.scene.sink.take(looker);
    assert_eq!(came.len(), 25, "of fifty pictures the upper temporal layer is left out");
    assert!(came.iter().all(|(_, payload)| payload.len() == LAYERS[0].4));
    let sequences: Vec<u16> = came.iter().map(|(header, _)| header.sequence).collect();
    assert!(sequences.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "{sequences:?}");
    let pictures = came.iter().map(|(_, payload)| Vp8Descriptor::parse(payload).unwrap().picture_id.unwrap().value);
    assert!(pictures.collect::<Vec<_>>().windows(2).all(|pair| pair[1] == pair[0] + 1));
    let temporal = came.iter().map(|(_, payload)| Vp8Descriptor::parse(payload).unwrap().temporal_layer);
    assert!(temporal.eq([Some(0), Some(1)].into_iter().cycle().take(25)));
}

#[test]
fn what_fits_comes_back_within_seconds_when_the_link_is_wide_again() {
    let mut meeting = Meeting::of(1);
    meeting.limit(120_000);
    meeting.go_on(20_000);
    meeting.limit(2_000_000);
    meeting.go_on(1_000);
    assert_eq!(meeting.second(), [(1001, 75)], "it may be a spike");
    meeting.go_on(4_000);
    assert_eq!(meeting.second(), [(1001, 900)]);
}

#[test]
fn a_layer_that_is_too_much_sends_its_base_only_until_the_smaller_one_has_a_keyframe() {
    let mut meeting = Meeting::of(1);
    meeting.picture = 200; // A keyframe has just gone by, the next is 400 ms away.
    meeting.go_on(20);
    let looker = meeting.looker();
    meeting.limit(300_000);
    meeting.scene.sink.take(looker);
    meeting.go_on(360);
    let came = meeting.scene.sink.take(looker);
    assert!(came.iter().all(|(_, payload)| payload.len() == LAYERS[1].4), "the larger one goes on");
    assert!(came.len() <= 9, "within a tenth of a second it sends its base only, of {} pictures", came.len());
    meeting.go_on(100);
    assert_eq!(meeting.second(), [(1001, 150)]);
}

#[test]
fn who_does_not_fit_is_left_out_last_ones_first_and_told_why() {
    let mut meeting = Meeting::of(3);
    meeting.scene.events();
    meeting.limit(100_000);
    meeting.go_on(200);
    assert_eq!(meeting.told(), [("v2".to_owned(), Some(SlotReason::Bandwidth))]);
    assert_eq!(meeting.second().len(), 2);
    meeting.limit(1_000_000);
    meeting.go_on(6_000);
    assert_eq!(meeting.second().len(), 3);
    assert_eq!(meeting.told(), [("v2".to_owned(), None)]);
}

#[test]
fn somebody_is_always_seen() {
    let mut meeting = Meeting::of(2);
    meeting.limit(0);
    meeting.go_on(1_000);
    assert!(matches!(meeting.second()[..], [(1001, 36..=38)]), "the base of the first one");
}

#[test]
fn a_receiver_that_can_estimate_itself_is_taken_at_its_word() {
    let mut meeting = Meeting::of(1);
    let looker = meeting.looker();
    meeting.scene.control(looker, |writer: &mut RtcpWriter<'_>| {
        writer.remb(5, 200_000, &[1001]).unwrap();
    });
    meeting.go_on(1_000);
    assert_eq!(meeting.second(), [(1001, 150)]);
}

#[test]
fn a_picture_left_out_after_later_ones_went_out_leaves_no_number_to_ask_for() {
    let mut meeting = Meeting::of(1);
    meeting.limit(60_000);
    meeting.go_on(1_000);
    while meeting.picture % 4 != 0 {
        meeting.go_on(20);
    }
    let looker = meeting.looker();
    meeting.scene.sink.take(looker);
    let mut packets = Vec::new();
    for _ in 0..5 {
        let timestamp = u32::from(meeting.picture) * 1_800;
        packets.push(rtp(31, VP8, meeting.picture, timestamp, &[], &meeting.payload(0, false)));
        meeting.picture += 1;
    }
    for at in [0, 1, 3, 4, 2] {
        meeting.scene.send(0, &packets[at]);
    }
    let came = meeting.scene.sink.take(looker);
    let lens: Vec<usize> = came.iter().map(|(_, payload)| payload.len()).collect();
    assert_eq!(lens, [309, 309, 0], "the base twice, and nothing in place of what came late");
    let sequences: Vec<u16> = came.iter().map(|(header, _)| header.sequence.wrapping_sub(came[0].0.sequence)).collect();
    assert_eq!(sequences, [0, 2, 1]);
}
