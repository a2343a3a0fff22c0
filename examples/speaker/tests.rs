//! The scorer against the Python scorer, the readers against broken files, and the detector's score on some of the dev scenes.
#![allow(clippy::unwrap_used)]

use super::*;

fn dev() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/sfu/speaker/dev")
}

/// A nonsense stage that jumps about, with simultaneous and repeated switches left out by the scorer.
fn jumpy() -> Switches {
    (0..160).map(|i| (700 * i + i % 3 * 5, (i * i * 7 % 3) as usize)).collect()
}

#[test]
fn the_scorer_gives_the_python_scorers_figures_to_the_last_digit() {
    let mut tally = Tally::default();
    for name in ["ami_0_a", "p8_clean_a"] {
        tally.add(Labels::read(&dev().join(format!("{name}.json"))).unwrap().score(&jumpy()));
    }
    let figures = tally.figures();
    // score.py, summarize(), of the same switches in the same scenes.
    assert_eq!(figures.right, 21.643933955491743);
    assert_eq!((figures.median, figures.p95), (0.0, 557.6999999999998));
    assert_eq!((figures.missed, figures.backchannels), (64.28571428571429, 8.333333333333334));
    assert_eq!((figures.false_switches, figures.flaps), (46.354418155480445, 28.695592191487894));
    assert_eq!(figures.score, -163.7976772146354);
}

#[test]
fn the_stage_follows_conversations_better_than_any_published_detector() {
    let names = ["ami_3_a", "p3_xtalk_a", "p3_lossdtx_a", "p3_vad_b"];
    let mut tally = Tally::default();
    for name in names {
        let scene = Scene::read(&dev().join(format!("{name}.asl"))).unwrap();
        tally.add(Labels::read(&dev().join(format!("{name}.json"))).unwrap().score(&scene.replay(Preset::Balanced)));
    }
    let score = tally.figures().score;
    assert!(score > 80.0, "{score}");
}

#[test]
fn the_detectors_lights_come_as_soon_and_stray_far_less_than_lights_that_look_at_each_microphone_alone() {
    let names = ["ami_3_a", "p3_typing_a", "p8_noisy_a", "p8_tv_b"];
    let [mut plain, mut detector] = [LightTally::default(), LightTally::default()];
    for name in names {
        let scene = Scene::read(&dev().join(format!("{name}.asl"))).unwrap();
        let labels = Labels::read(&dev().join(format!("{name}.json"))).unwrap();
        plain.add(LightTally::of(&labels, &scene.plain_lights()));
        detector.add(LightTally::of(&labels, &scene.lights(Preset::Balanced)));
    }
    let (plain, detector) = (plain.figures(), detector.figures());
    assert!(detector.soon > 80.0 && detector.median < 60.0, "{} % within 100 ms", detector.soon);
    assert!(detector.astray < plain.astray / 2.0, "{} % astray against {} %", detector.astray, plain.astray);
}

#[test]
fn lights_are_counted_by_what_was_said() {
    let labels = r#"{"turns": [], "intervals": [[0, 10000, -1, 0, []]], "channels": [{}, {}],
        "utterances": [[0, 1000.0, 2000.0, "turn"], [1, 5000.0, 6000.0, "turn"], [1, 8000.0, 9000.0, "turn"]]}"#;
    let labels: Labels = serde_json::from_str(labels).unwrap();
    let light = |at, participant, lit| Light { at, participant, lit };
    // The first light 50 ms late and 100 ms too long after the bridge; the second 400 ms late; none for the third, but a stray one.
    let lights = [
        light(1_050, 0, true),
        light(2_500, 0, false),
        light(5_400, 1, true),
        light(6_000, 1, false),
        light(7_000, 1, true),
        light(7_200, 1, false),
    ];
    let figures = LightTally::of(&labels, &lights).figures();
    assert_eq!(((figures.soon * 10.0).round(), (figures.missed * 10.0).round()), (333.0, 333.0));
    assert_eq!((figures.median, (figures.lit * 10.0).round()), (225.0, 517.0));
    assert_eq!((figures.astray * 10.0).round(), 162.0);
    assert_eq!((figures.strayed, figures.changes), (3.0, 18.0));
}

#[test]
fn a_file_that_is_no_scene_is_refused_with_a_reason() {
    for (bytes, reason) in [
        (&b"RIFF"[..], "does not begin with ASL1"),
        (b"ASL1\x01", "ends before its header"),
        (b"ASL1\xff\xff\xff\xff{}", "ends in its header"),
        (b"ASL1\x02\0\0\0{}", "its header"),
    ] {
        let path = std::env::temp_dir().join(format!("ringback-no-scene-{}-{}.asl", std::process::id(), bytes.len()));
        std::fs::write(&path, bytes).unwrap();
        let error = format!("{:#}", Scene::read(&path).err().unwrap());
        std::fs::remove_file(&path).unwrap();
        assert!(error.contains(reason), "{error}");
    }
}
