//! Recordings by FFmpeg in fragments as Safari writes them, whole, cut, damaged and of other kinds.

use std::process::Command;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::mp4;

const LONGEST: Duration = Duration::from_secs(60);

const PICTURE: &str = "-f lavfi -i testsrc=s=160x120:r=25:d=2";
const SOUND: &str = "-f lavfi -i sine=f=440:d=2";
const H264: &str = "-c:v libx264 -pix_fmt yuv420p -g 25";

/// A file in fragments as Safari writes it, by FFmpeg; `None` where there is none.
fn recording(arguments: &[&str]) -> Option<Vec<u8>> {
    let words = arguments.iter().flat_map(|argument| argument.split(' '));
    let fragments = ["-movflags", "frag_keyframe+empty_moov+default_base_moof", "-f", "mp4", "pipe:1"];
    let output = Command::new("ffmpeg").args(["-v", "error"]).args(words).args(fragments).output();
    let Ok(output) = output else {
        let required = std::env::var_os("RINGBACK_REQUIRE_BROWSER").is_some_and(|value| value == "1");
        assert!(!required, "ffmpeg is required");
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), "SKIPPED MP4 takes: no ffmpeg found");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(output.stdout)
}

fn both() -> Option<Vec<u8>> {
    recording(&[PICTURE, SOUND, H264, "-bf 2 -c:a aac"])
}

/// Whether a file holds whole boxes only.
fn boxes(mut file: &[u8]) -> Vec<String> {
    let mut kinds = Vec::new();
    while let Some((head, _)) = file.split_first_chunk::<8>() {
        kinds.push(String::from_utf8_lossy(&head[4..]).into_owned());
        file = &file[u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize..];
    }
    assert!(file.is_empty());
    kinds
}

#[test]
fn a_recording_in_fragments_is_read_and_becomes_a_plain_file_with_true_times() {
    let Some(file) = both() else { return };
    let take = read(&file, NoteKind::Video, LONGEST).unwrap();
    let counts: Vec<_> = take.tracks.iter().map(|track| (track.is_video(), track.samples.len())).collect();
    assert_eq!((counts[0], counts[1].0), ((true, 50), false));
    // In this file pictures that are shown in another order than they are decoded in begin two later than the sound.
    assert!((take.duration.as_secs_f64() - 2.08).abs() < 0.06, "{:?}", take.duration);
    assert_eq!(take.tracks[0].samples.iter().filter(|sample| sample.sync).count(), 2);
    let made = mp4::write(&take, &file).unwrap();
    assert_eq!(boxes(&made), ["ftyp", "moov", "mdat"]);
    assert!(made.len() < file.len() + 4_096);
    // Of a voice only the sound is taken.
    let voice = read(&file, NoteKind::Voice, LONGEST).unwrap();
    assert_eq!(voice.tracks.iter().map(Mp4Track::is_video).collect::<Vec<_>>(), [false]);
    let short = read(&file, NoteKind::Video, Duration::from_secs(1)).unwrap();
    assert!((short.duration.as_secs_f64() - 1.0).abs() < 0.12, "{:?}", short.duration);
}

#[test]
fn what_holds_what_notes_do_not_is_refused_with_what_was_expected_and_where() {
    let refused = |file: &[u8]| read(file, NoteKind::Video, LONGEST).unwrap_err();
    assert_eq!(refused(b"\0\0\0\x10ftypheic\0\0\0\0").to_string(), "at byte 0: expected an MP4 file");
    assert_eq!(refused(b"\0\0\0\x08moov").reason, TakeReason::Codec);
    assert_eq!(refused(b"\0\0\0\x10ftypisom\0\0\0\0").reason, TakeReason::NoMedia);
    assert_eq!(
        refused(b"\0\0\0\x20ftypisom\0\0\0\0").to_string(),
        "at byte 0: expected a box that ends within the file"
    );
    let Some(hevc) = recording(&[PICTURE, "-c:v mpeg4"]) else { return };
    assert_eq!(refused(&hevc).reason, TakeReason::Codec);
    assert_eq!(refused(&recording(&[SOUND, "-c:a mp3"]).unwrap()).reason, TakeReason::Codec);
    let two = recording(&[SOUND, SOUND, "-map 0 -map 1 -c:a aac"]).unwrap();
    assert!(refused(&two).to_string().ends_with("one track of sound and at most one of pictures"));
    // Fragments that change places.
    let file = both().unwrap();
    let mut parts = Vec::new();
    let mut at = 0;
    while at < file.len() {
        let size = u32::from_be_bytes(file[at..at + 4].try_into().unwrap()) as usize;
        parts.push(&file[at..at + size]);
        at += size;
    }
    assert_eq!(parts.concat(), file);
    let fragments: Vec<_> = (0..parts.len()).filter(|part| &parts[*part][4..8] == b"moof").collect();
    let (one, two) = (fragments[0], fragments[1]);
    let turned = [&parts[..one], &parts[two..two + 2], &parts[one..one + 2]].concat().concat();
    assert!(refused(&turned).to_string().ends_with("fragments in order"));
    let without = [&parts[..=one], &parts[two..]].concat().concat();
    assert!(refused(&without).to_string().ends_with("the bytes of the fragment before"));
}

#[test]
fn a_file_that_is_cut_or_damaged_anywhere_is_refused_or_a_whole_note() {
    let seed: u64 = std::env::var("RINGBACK_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("RINGBACK_SEED={seed}");
    let rounds = if std::env::var_os("RINGBACK_LONG").is_some_and(|value| value == "1") { 20_000 } else { 1_000 };
    let mut dice = StdRng::seed_from_u64(seed);
    let files = [both(), recording(&[SOUND, "-c:a aac"]), recording(&[SOUND, "-c:a libopus"])];
    for file in files.into_iter().flatten() {
        let check = |bytes: &[u8]| {
            let Ok(take) = read(bytes, NoteKind::Video, LONGEST) else { return false };
            let made = mp4::write(&take, bytes).unwrap();
            assert_eq!(boxes(&made), ["ftyp", "moov", "mdat"]);
            assert!(made.len() <= 4 * bytes.len() + 4_096 && take.duration <= 3 * LONGEST, "{:?}", take.duration);
            true
        };
        assert!(check(&file));
        let cuts = (0..file.len()).step_by(41).filter(|length| check(&file[..*length])).count();
        assert!(cuts < 20, "{cuts} cuts between fragments");
        // Where what is described, rather than the samples, is damaged.
        let heads: Vec<usize> = file
            .windows(4)
            .enumerate()
            .filter(|(_, kind)| [b"ftyp", b"moov", b"moof"].iter().any(|head| *kind == *head))
            .map(|(at, _)| at)
            .collect();
        let mut refused = 0;
        for round in 0..rounds {
            let mut bytes = file.clone();
            for _ in 0..dice.random_range(1..=3) {
                let from = heads[dice.random_range(0..heads.len())].saturating_sub(4);
                let to = if round % 4 == 0 { bytes.len() } else { (from + 900).min(bytes.len()) };
                let at = dice.random_range(from..to);
                match dice.random_range(0..4) {
                    0 => bytes[at] = [0, 0xFF, 0x7F, 0x80][dice.random_range(0..4)],
                    _ => bytes[at] ^= 1 << dice.random_range(0..8),
                }
            }
            refused += usize::from(!check(&bytes));
        }
        println!("{refused} of {rounds} are refused");
        assert!(refused > rounds / 10);
    }
}
