//! The detector against the program that trained its network: the first packets of a scene, with the inputs and log-odds
//! that `crates/sfu/speaker/train/golden.py` has written for them, and all switches of the scene.

use super::*;

/// Both sides compute with floats, in different orders; far less than this changes a decision.
const TOLERANCE: f32 = 1e-3;

#[derive(serde::Deserialize)]
struct Golden {
    rows: Vec<Row>,
    /// Time in ms, and who takes the stage.
    switches: Vec<(i64, u64)>,
}

#[derive(serde::Deserialize)]
struct Row {
    arrival: i64,
    participant: u64,
    level: u8,
    voice: bool,
    media_ms: u32,
    inputs: [f32; INPUTS],
    log_odds: [f32; 2],
}

#[test]
fn inputs_log_odds_and_switches_are_those_of_the_training_program() {
    let golden = include_str!("../../../speaker/golden.json");
    let golden: Golden = serde_json::from_str(golden).unwrap();
    let start = Instant::now();
    let mut detector = Detector::new(Preset::Balanced);
    for id in 0..3 {
        detector.join(start, ParticipantId(id), false);
    }
    let mut switches = Vec::new();
    let mut farthest = 0.0_f32;
    for (number, row) in golden.rows.iter().enumerate() {
        let key = detector.key(ParticipantId(row.participant)).unwrap();
        let mut inputs = [0.0; INPUTS];
        let rtp_time = row.media_ms * 48;
        let judgement = detector.judge(row.arrival, key, rtp_time, row.level, row.voice, &mut inputs).unwrap();
        let change = detector.decide(row.arrival, key);
        switches.extend(change.map(|change| (row.arrival, change.participant.unwrap().0)));
        let found = inputs.iter().chain([&judgement.utterance, &judgement.floor]);
        for (at, (found, expected)) in found.zip(row.inputs.iter().chain(&row.log_odds)).enumerate() {
            farthest = farthest.max((found - expected).abs());
            assert!(farthest < TOLERANCE, "packet {number}, value {at}: {found} instead of {expected}");
        }
    }
    assert!(golden.rows.len() >= 1_000 && switches.len() >= 2);
    assert_eq!(switches, golden.switches);
}
