//! Voices whose client tells no levels, or tells lies: real Opus over loopback UDP, and who the room says is speaking.
#![allow(clippy::unwrap_used)]

mod peer;

use std::f32::consts::TAU;
use std::time::Duration;

use opus::{Application, Channels, Encoder};
use peer::call::Call;
use peer::media::{LEVEL, MICROPHONE, MID, OPUS, rtp};
use ringback_sfu::{ParticipantId, SfuEvent};

const ANN: ParticipantId = ParticipantId(1);
const BOB: ParticipantId = ParticipantId(2);

/// A microphone that encodes a voice of sorts: harmonics under a formant, in syllables.
struct Microphone {
    from: usize,
    number: u64,
    encoder: Encoder,
    phase: f32,
}

impl Microphone {
    fn new(from: usize) -> Self {
        let encoder = Encoder::new(48_000, Channels::Mono, Application::Voip).unwrap();
        Self { from, number: 0, encoder, phase: 0.0 }
    }

    /// Sends 20 ms of voice, or of digital silence, with what it claims of its level.
    fn send(&mut self, call: &mut Call, speaks: bool, claim: Option<u8>) {
        let begin = self.number * 960;
        let sample = |n: u64| {
            let t = (begin + n) as f32 / 48_000.0;
            self.phase = (self.phase + (130.0 + 12.0 * (TAU * 1.3 * t).sin()) / 48_000.0).fract();
            let syllable = (TAU * 3.7 * t).sin().max(-0.6) + 0.6;
            let formant = |harmonic: f32| (-((harmonic * 130.0 - 700.0) / 300.0).powi(2)).exp() + 0.03;
            let voice: f32 = (1..=16).map(|h| formant(h as f32) * (TAU * self.phase * h as f32).sin()).sum();
            if speaks { 0.12 * voice * syllable } else { 0.0 }
        };
        let samples: Vec<f32> = (0..960).map(sample).collect();
        let payload = self.encoder.encode_vec_float(&samples, 1_000).unwrap();
        let level = claim.map(|claim| [claim]);
        let mut extensions: Vec<(u8, &[u8])> = vec![(MID, b"mic")];
        extensions.extend(level.as_ref().map(|level| (LEVEL, &level[..])));
        let (sequence, timestamp) = (self.number as u16, begin as u32);
        call.peers[self.from].send_rtp(&rtp(MICROPHONE, OPUS, sequence, timestamp, &extensions, &payload));
        self.number += 1;
    }
}

fn speaking(call: &Call) -> Vec<ParticipantId> {
    let last = call.events.iter().rev().find_map(|event| match event {
        SfuEvent::Speaking { speaking, .. } => Some(speaking.clone()),
        _ => None,
    });
    last.unwrap_or_default()
}

fn on_stage(call: &Call) -> Option<ParticipantId> {
    call.events.iter().rev().find_map(|event| match event {
        SfuEvent::Stage { participant, .. } => Some(*participant),
        _ => None,
    })?
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voice_without_levels_is_decoded_and_takes_the_stage() {
    for claim in [None, Some(127)] {
        let mut call = Call::connected(2).await;
        let mut ann = Microphone::new(0);
        for _ in 0..25 {
            ann.send(&mut call, false, claim);
            call.run(Duration::from_millis(20)).await;
        }
        assert_eq!((on_stage(&call), speaking(&call)), (None, vec![]), "{claim:?}");
        while (on_stage(&call), speaking(&call)) != (Some(ANN), vec![ANN]) {
            assert!(ann.number < 200, "{claim:?}: {:?} is on the stage", on_stage(&call));
            ann.send(&mut call, true, claim);
            call.run(Duration::from_millis(20)).await;
        }
        assert_eq!(call.peers[1].rtp.len() as u64, ann.number, "and is forwarded from the first packet on");
        let decoded = call.handle.statistics().await.unwrap().voices_decoded;
        assert!((5..=ann.number).contains(&decoded), "{decoded}");
        call.until("the light goes out", |call| speaking(call).is_empty()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_claims_to_be_loud_in_silence_loses_the_stage_and_not_the_voice() {
    let mut call = Call::connected(3).await;
    let (mut ann, mut bob) = (Microphone::new(0), Microphone::new(1));
    let lie = |number: u64| Some(0x80 | [34, 24, 20, 19, 21, 23, 22, 27, 33][number as usize % 9]);
    // Bob's microphone is silent, and his client says that he speaks; Ann speaks, and says so.
    for number in 0..200 {
        bob.send(&mut call, false, lie(number));
        ann.send(&mut call, number > 75, if number > 75 { lie(number + 3) } else { Some(127) });
        call.run(Duration::from_millis(20)).await;
    }
    assert_eq!(on_stage(&call), Some(ANN));
    assert!(!speaking(&call).contains(&BOB));
    // He speaks after all: what he claims is not needed to hear him.
    while (on_stage(&call), speaking(&call)) != (Some(BOB), vec![BOB]) {
        assert!(bob.number < 500, "{:?} is on the stage, {:?} speak", on_stage(&call), speaking(&call));
        bob.send(&mut call, true, lie(bob.number));
        ann.send(&mut call, false, Some(127));
        call.run(Duration::from_millis(20)).await;
    }
    assert_eq!(call.peers[2].rtp.len() as u64, ann.number + bob.number, "everything was forwarded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_decoded_whose_levels_are_there() {
    let mut call = Call::connected(2).await;
    let mut ann = Microphone::new(0);
    for number in 0..100 {
        let level = if number < 25 { 68 + number as u8 % 3 } else { [34, 24, 20, 19, 21, 23, 22, 27, 33][number % 9] };
        ann.send(&mut call, number >= 25, Some(0x80 | level));
        call.run(Duration::from_millis(20)).await;
    }
    assert_eq!(on_stage(&call), Some(ANN));
    assert_eq!(call.handle.statistics().await.unwrap().voices_decoded, 0);
}
