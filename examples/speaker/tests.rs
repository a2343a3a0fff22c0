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
