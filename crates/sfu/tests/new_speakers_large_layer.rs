//! Over real UDP: when the stage passes on, the SFU asks the new speaker's simulcast camera for the larger layer before the client says how large it
//! shows them, lets the small one flow meanwhile, and switches on the large one's keyframe.
#![allow(clippy::unwrap_used)]

mod peer;

use std::time::Duration;

use peer::Spec;
use peer::call::Call;
use peer::media::{MID, RID, VP8, read_stamp, rtp, stamp, vp8, vp8_len};
use ringback_sfu::{ParticipantId, SfuEvent, SlotView, Source};
use ringback_transport::rtcp::{RtcpPacket, parse_compound};

/// The layers of everybody's camera, as the peer offers them: SSRC, RID, width, height.
const LAYERS: [(u32, &str, u16, u16); 2] = [(3001, "q", 320, 180), (3002, "h", 1280, 720)];
const SMALL: usize = 0;
const LARGE: usize = 1;

/// Loudness in the course of some syllables, in -dBov.
const SYLLABLES: [u8; 9] = [34, 24, 20, 19, 21, 23, 22, 27, 33];

/// Ann and Ben, who speak in turns, and Cleo, who looks on.
const ANN: usize = 0;
const BEN: usize = 1;
const CLEO: usize = 2;

struct Conversation {
    call: Call,
    round: u64,
    /// Which layers make a keyframe where they are asked for one; others owe it until they do again.
    answers: [[bool; 2]; 3],
    owes: [[bool; 2]; 3],
}

impl Conversation {
    async fn begin() -> Self {
        let mut call = Call::new().await;
        for _ in 0..3 {
            let spec = Spec { microphone: true, camera: true, simulcast: true, pairs: 2, ..Spec::default() };
            call.join(spec).await;
        }
        call.connect().await;
        Self { call, round: 0, answers: [[true; 2]; 3], owes: [[true; 2]; 3] }
    }

    /// Everybody sends a picture in both layers and 20 ms of their microphone, in which one of them speaks.
    async fn go_on(&mut self, speaker: Option<usize>) {
        for member in 0..3 {
            let wanted = self.requests(member);
            let speaks = speaker == Some(member);
            let level = if speaks { 0x80 | SYLLABLES[self.round as usize % SYLLABLES.len()] } else { 127 };
            self.call.send_voice(member, level);
            for layer in [SMALL, LARGE] {
                let owes = self.owes[member][layer] || wanted[layer];
                let key = owes && self.answers[member][layer];
                self.owes[member][layer] = owes && !key;
                self.send_picture(member, layer, key);
            }
        }
        self.round += 1;
        self.call.run(Duration::from_millis(20)).await;
    }

    /// Which layers a member was asked for a keyframe of, since this was asked last.
    fn requests(&mut self, member: usize) -> [bool; 2] {
        let compounds = std::mem::take(&mut self.call.peers[member].rtcp);
        let asked = |wanted: u32| {
            let mut packets = compounds.iter().flat_map(|compound| parse_compound(compound).flatten());
            packets.any(|packet| matches!(packet, RtcpPacket::Pli { media_ssrc, .. } if media_ssrc == wanted))
        };
        LAYERS.map(|(ssrc, ..)| asked(ssrc))
    }

    /// Its number says which layer it is of.
    fn send_picture(&mut self, member: usize, layer: usize, key: bool) {
        let (ssrc, rid, width, height) = LAYERS[layer];
        let mut payload = vp8(self.round as u16 & 0x7FFF, key, true);
        if key {
            payload[10..12].copy_from_slice(&width.to_le_bytes());
            payload[12..14].copy_from_slice(&height.to_le_bytes());
        }
        payload.extend(stamp(member as u64, layer as u64, self.call.origin, 150));
        let extensions: &[(u8, &[u8])] = &[(MID, b"cam"), (RID, rid.as_bytes())];
        let timestamp = (self.round as u32).wrapping_mul(1800);
        self.call.peers[member].send_rtp(&rtp(ssrc, VP8, self.round as u16, timestamp, extensions, &payload));
    }

    /// Goes on until something is so.
    async fn until(&mut self, what: &str, speaker: Option<usize>, done: impl Fn(&Self) -> bool) {
        for _ in 0..1_000 {
            self.go_on(speaker).await;
            if done(self) {
                return;
            }
        }
        panic!("waited in vain until {what}; events: {:?}", self.call.events);
    }

    fn on_stage(&self) -> Option<ParticipantId> {
        self.call.events.iter().rev().find_map(|event| match event {
            SfuEvent::Stage { participant, .. } => Some(*participant),
            _ => None,
        })?
    }

    /// In which of Cleo's slots somebody's camera flows.
    fn slot(&self, of: usize) -> Option<String> {
        let told = self.call.events.iter().filter_map(|event| match event {
            SfuEvent::Slots { participant: ParticipantId(3), slots, .. } => Some(slots),
            _ => None,
        });
        let slot = told.flatten().rfind(|slot| slot.participant == Some(id(of)) && slot.source == Some(Source::Camera));
        slot.map(|slot| slot.mid.clone())
    }

    /// What Cleo got of somebody's camera since it was forgotten last: the layer of each picture, and whether it is a keyframe.
    fn seen(&self, of: usize) -> Vec<(usize, bool)> {
        let Some(mid) = self.slot(of) else { return Vec::new() };
        let ssrc = self.call.answers[CLEO].ssrc(&mid);
        let pictures = self.call.peers[CLEO].rtp.iter().filter(|arrived| arrived.header.ssrc == ssrc);
        let read = |arrived: &peer::Arrived| {
            let payload = arrived.payload();
            let start = vp8_len(payload);
            let (sender, layer, _) = read_stamp(&payload[start..], self.call.origin, arrived.at);
            assert_eq!(sender, of as u64, "the slot is theirs");
            (layer as usize, start == 14)
        };
        pictures.map(read).collect()
    }

    /// The layer of the last picture that Cleo got of somebody.
    fn shown(&self, of: usize) -> Option<usize> {
        self.seen(of).last().map(|(layer, _)| *layer)
    }

    async fn show(&self, sizes: [(usize, u32, u32); 2]) {
        let views = sizes.map(|(of, width, height)| SlotView { mid: self.slot(of).unwrap(), width, height });
        self.call.handle.set_view(id(CLEO), views.to_vec()).await.unwrap();
    }
}

fn id(member: usize) -> ParticipantId {
    ParticipantId(member as u64 + 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_new_speakers_larger_layer_is_asked_for_before_the_client_does_and_comes_with_its_keyframe() {
    let mut talk = Conversation::begin().await;
    talk.until("Cleo sees both", None, |talk| talk.shown(ANN).is_some() && talk.shown(BEN).is_some()).await;
    talk.show([(ANN, 1280, 720), (BEN, 200, 112)]).await;
    let ann_is_large = |talk: &Conversation| {
        talk.on_stage() == Some(id(ANN)) && talk.shown(ANN) == Some(LARGE) && talk.shown(BEN) == Some(SMALL)
    };
    talk.until("Ann is on the stage, and large", Some(ANN), ann_is_large).await;

    // Ben speaks. His camera takes its time for the keyframe.
    talk.answers[BEN][LARGE] = false;
    talk.until("the stage passes on", Some(BEN), |talk| talk.on_stage() == Some(id(BEN))).await;
    talk.until("Ben is asked for his larger layer", Some(BEN), |talk| talk.owes[BEN][LARGE]).await;
    talk.call.peers[CLEO].rtp.clear();
    for _ in 0..10 {
        talk.go_on(Some(BEN)).await;
    }
    let meanwhile = talk.seen(BEN);
    assert!(meanwhile.len() >= 5, "he goes on moving: {meanwhile:?}");
    assert!(meanwhile.iter().all(|&(layer, _)| layer == SMALL), "{meanwhile:?}");

    // Now the keyframe: Cleo, who has not said a word, gets it, and then the large layer.
    talk.answers[BEN][LARGE] = true;
    talk.until("Ben is large", Some(BEN), |talk| talk.shown(BEN) == Some(LARGE)).await;
    let seen = talk.seen(BEN);
    let switched = seen.iter().position(|&(layer, _)| layer == LARGE).unwrap();
    assert_eq!(seen[switched], (LARGE, true), "the first large one is its keyframe: {seen:?}");
    assert!(seen[switched..].iter().all(|&(layer, _)| layer == LARGE), "{seen:?}");

    // Cleo's page follows, and nothing changes any more but that Ann becomes small.
    talk.show([(ANN, 200, 112), (BEN, 1280, 720)]).await;
    talk.until("Ann is small", Some(BEN), |talk| talk.shown(ANN) == Some(SMALL)).await;
    assert_eq!(talk.shown(BEN), Some(LARGE));
}
