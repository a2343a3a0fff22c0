//! Video takes as WebM: they play through, whatever was lost on the way or changed its size.
#![allow(clippy::unwrap_used)]

mod take;

use std::process::Command;
use std::time::Duration;

use proptest::prelude::*;
use ringback_recorder::{Codec, FileOptions, NoteKind, TakeEvent, TakePacket, TrackKind, VIDEO_TYPE, make_file};
use take::{camera, decodes_fully, events, ffmpeg_or_skip, ffprobe, ivf, test_card, voice, webm_blocks};

const KEEP_ALL: FileOptions = FileOptions { trim_silence: false, peaks: 64 };

fn written(name: &str, bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

#[test]
fn a_video_note_plays_through_with_picture_sound_and_poster() {
    if !ffmpeg_or_skip("a_video_note_plays_through_with_picture_sound_and_poster") {
        return;
    }
    let card = test_card();
    let frames: Vec<_> = card.iter().cycle().take(90).cloned().collect();
    let take = camera(&frames, 30, 40).into_iter().chain(voice(150, |_| true));
    let file = make_file(NoteKind::Video, &events(take), &KEEP_ALL).unwrap();
    assert_eq!(file.content_type, VIDEO_TYPE);
    let (_folder, path) = written("note.webm", &file.bytes);
    let said = ffprobe(&path);
    assert!(said.contains("codec_name=vp8") && said.contains("codec_name=opus"), "{said}");
    let duration: f64 = said.lines().find_map(|line| line.strip_prefix("duration=")).unwrap().parse().unwrap();
    assert!((duration - 3.04).abs() < 0.1, "{said}");
    decodes_fully(&path);

    let poster = file.poster.unwrap();
    let (_folder, path) = written("poster.webp", &poster.bytes);
    let said = ffprobe(&path);
    assert!(said.contains("codec_name=webp") && said.contains(&format!("width={}", poster.width)), "{said}");
    decodes_fully(&path);
}

#[test]
fn a_loss_of_five_percent_leaves_a_file_that_plays_through() {
    if !ffmpeg_or_skip("a_loss_of_five_percent_leaves_a_file_that_plays_through") {
        return;
    }
    let card = test_card();
    let frames: Vec<_> = card.iter().cycle().take(150).cloned().collect();
    let mut seed = 7_u64;
    let mut lost = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33).is_multiple_of(20)
    };
    let take: Vec<TakePacket> =
        camera(&frames, 30, 0).into_iter().chain(voice(250, |_| true)).filter(|_| !lost()).collect();
    let file = make_file(NoteKind::Video, &events(take), &KEEP_ALL).unwrap();
    let (_folder, path) = written("note.webm", &file.bytes);
    decodes_fully(&path);
    assert!(file.duration > Duration::from_millis(4_800), "{:?}", file.duration);
}

#[test]
fn a_picture_that_changes_its_size_on_the_way_plays_through() {
    if !ffmpeg_or_skip("a_picture_that_changes_its_size_on_the_way_plays_through") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let clip = |size: &str| {
        let path = folder.path().join(format!("{size}.ivf"));
        let source = format!("testsrc=size={size}:rate=30");
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-f", "lavfi", "-i", &source, "-t", "1", "-c:v", "libvpx", "-g", "30"]).arg(&path);
        assert!(command.status().unwrap().success());
        ivf(&path)
    };
    let frames: Vec<_> = ["320x180", "640x360", "160x90"].iter().flat_map(|size| clip(size)).collect();
    let file = make_file(NoteKind::Video, &events(camera(&frames, 30, 0)), &KEEP_ALL).unwrap();
    let (_folder, path) = written("note.webm", &file.bytes);
    decodes_fully(&path);
    let said = ffprobe(&path);
    assert!(said.contains("width=640") && said.contains("height=360"), "{said}");
}

#[test]
fn sender_reports_lay_picture_over_sound() {
    let card = test_card();
    let frames: Vec<_> = card.iter().cycle().take(60).cloned().collect();
    // The camera's packets take 700 ms longer than the microphone's; what both clocks say of the wall is the same.
    let camera = camera(&frames, 30, 700);
    let voice = voice(100, |_| true);
    let ntp = |ms: u64| (1_000 << 32) + ((ms << 32) / 1_000);
    let mut take = events(camera.iter().chain(&voice).cloned());
    let without = make_file(NoteKind::Video, &take, &KEEP_ALL).unwrap();
    for (track, first) in [(TrackKind::Audio, &voice[0]), (TrackKind::Video, &camera[0])] {
        let (arrival, rtp_timestamp) = (Duration::from_millis(900), first.timestamp);
        take.push(TakeEvent::SenderReport { track, arrival, ntp: ntp(0), rtp_timestamp });
    }
    let with = make_file(NoteKind::Video, &take, &KEEP_ALL).unwrap();
    assert_eq!(without.duration.as_millis() / 10, 266, "{:?}", without.duration);
    assert_eq!(with.duration.as_millis(), 2_000);
}

#[test]
fn a_microphone_whose_clock_restarts_tears_picture_and_sound_no_hours_apart() {
    let card = test_card();
    let frames: Vec<_> = card.iter().cycle().take(90).cloned().collect();
    let mut voice = voice(150, |_| true);
    for packet in &mut voice[70..] {
        packet.timestamp = packet.timestamp.wrapping_add(48_000 * 3_600 * 5);
        packet.sequence = packet.sequence.wrapping_add(30_000);
    }
    let take = camera(&frames, 30, 0).into_iter().chain(voice);
    let file = make_file(NoteKind::Video, &events(take), &KEEP_ALL).unwrap();
    assert!(file.duration.as_millis().abs_diff(3_000) < 100, "{:?}", file.duration);
    let first = |track| webm_blocks(&file.bytes).into_iter().find(|block| block.track == track).unwrap().ms;
    assert!(first(1) < 50 && first(2) < 50);
}

#[test]
fn sound_begins_at_once_and_the_picture_with_its_first_keyframe() {
    let card = test_card();
    // The camera's first keyframe got lost: half a second passes until the next one.
    let frames: Vec<_> = card[1..16].iter().chain(&card).cloned().collect();
    let voice = voice(200, |_| true);
    let take = camera(&frames, 30, 0).into_iter().chain(voice.clone());
    let file = make_file(NoteKind::Video, &events(take), &KEEP_ALL).unwrap();
    let blocks = webm_blocks(&file.bytes);
    let picture: Vec<_> = blocks.iter().filter(|block| block.track == 1).collect();
    assert!(picture[0].keyframe);
    assert!((picture[0].ms - 500).abs() <= 1, "{} ms", picture[0].ms);
    assert_eq!(picture.len(), card.len());
    let sound: Vec<_> = blocks.iter().filter(|block| block.track == 2).collect();
    assert_eq!((sound[0].ms, sound.len()), (0, voice.len()));
    if ffmpeg_or_skip("sound_begins_at_once_and_the_picture_with_its_first_keyframe") {
        let (_folder, path) = written("note.webm", &file.bytes);
        decodes_fully(&path);
    }
}

#[test]
fn a_microphone_that_is_muted_leaves_the_picture_in_step() {
    let card = test_card();
    let frames: Vec<_> = card.iter().cycle().take(120).cloned().collect();
    let mut voice = voice(200, |_| true);
    voice.drain(50..125);
    let file = make_file(NoteKind::Video, &events(camera(&frames, 30, 0).into_iter().chain(voice)), &KEEP_ALL).unwrap();
    let blocks = webm_blocks(&file.bytes);
    let after = blocks.iter().filter(|block| block.track == 2 && block.data.len() > 1).nth(50).unwrap();
    assert_eq!(after.ms, 2_500);
    let mut last = 0;
    for block in &blocks {
        assert!(block.ms >= last, "times never step back");
        last = block.ms;
    }
    if ffmpeg_or_skip("a_microphone_that_is_muted_leaves_the_picture_in_step") {
        let (_folder, path) = written("note.webm", &file.bytes);
        decodes_fully(&path);
    }
}

#[test]
fn trimming_a_video_begins_it_at_a_keyframe() {
    let card = test_card();
    let frames: Vec<_> = card.iter().cycle().take(card.len() * 4).cloned().collect();
    let length = frames.len() * 1_000 / 30 / 20;
    let spoken = length * 6 / 10..length * 7 / 10;
    let take = camera(&frames, 30, 0).into_iter().chain(voice(length, |frame| spoken.contains(&frame)));
    let take = events(take);
    let whole = make_file(NoteKind::Video, &take, &KEEP_ALL).unwrap();
    let cut = make_file(NoteKind::Video, &take, &FileOptions::default()).unwrap();
    assert!(cut.duration < whole.duration, "{:?} of {:?}", cut.duration, whole.duration);
    if ffmpeg_or_skip("trimming_a_video_begins_it_at_a_keyframe") {
        let (_folder, path) = written("note.webm", &cut.bytes);
        decodes_fully(&path);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn whatever_arrives_makes_a_file_of_a_bounded_size_or_an_error(
        junk in prop::collection::vec(
            (any::<bool>(), 0_u64..30_000, any::<u16>(), any::<u32>(), any::<bool>(), prop::collection::vec(any::<u8>(), 0..40)),
            0..60,
        )
    ) {
        let packets = junk.into_iter().map(|(audio, arrival, sequence, timestamp, marker, payload)| TakePacket {
            track: if audio { TrackKind::Audio } else { TrackKind::Video },
            codec: if audio { Codec::Opus } else { Codec::Vp8 },
            arrival: Duration::from_millis(arrival),
            sequence,
            timestamp,
            marker,
            level: None,
            payload: payload.into(),
        });
        for kind in [NoteKind::Voice, NoteKind::Video] {
            if let Ok(file) = make_file(kind, &events(packets.clone()), &FileOptions::default()) {
                prop_assert!(file.bytes.len() < 1_000_000, "{} bytes", file.bytes.len());
                prop_assert!(file.duration < Duration::from_secs(1_200), "{:?}", file.duration);
            }
        }
    }
}
