//! Takes that callers record by themselves: they arrive in pieces, over cuts and restarts, and become drafts like any other; what is none is refused with a reason, and the take before
//! it stays.
#![allow(clippy::unwrap_used)]

mod desk;
mod take;

use bytes::Bytes;
use desk::Desk;
use ringback_recorder::{
    Codec, FileOptions, MP4_VIDEO_TYPE, MP4_VOICE_TYPE, MediaPart, NoteInfo, NoteKind, NoteLimits, NoteState, Poster,
    RecorderError, TakeEvent, TakePacket, TrackKind, VIDEO_TYPE, VOICE_TYPE, make_file,
};
use std::time::Duration;
use take::{decodes_fully, ffmpeg_or_skip, ffprobe, fragmented_mp4, voice};

/// A WebM file as a browser might record it: two seconds of picture and sound.
fn webm() -> Bytes {
    let picture = |index: u16| {
        let head =
            if index == 0 { vec![0x10, 0x10, 0, 0, 0x9D, 0x01, 0x2A, 16, 0, 16, 0] } else { vec![0x10, 0x11, 0, 0] };
        let payload: Vec<u8> = head.into_iter().chain(vec![9; 800]).collect();
        TakeEvent::Packet(TakePacket {
            track: TrackKind::Video,
            codec: Codec::Vp8,
            arrival: Duration::from_millis(40 * u64::from(index)),
            sequence: index,
            timestamp: 3_600 * u32::from(index),
            marker: true,
            level: None,
            payload: payload.into(),
        })
    };
    let events: Vec<_> = (0..50).map(picture).chain(voice(100, |_| true).into_iter().map(TakeEvent::Packet)).collect();
    make_file(NoteKind::Video, &events, &FileOptions { trim_silence: false, ..FileOptions::default() }).unwrap().bytes
}

async fn video(desk: &Desk) -> NoteInfo {
    desk.offer_within("c1", NoteKind::Video, NoteLimits::of(NoteKind::Video)).await
}

#[tokio::test]
async fn a_take_that_arrives_in_pieces_becomes_a_draft_and_can_be_sent() {
    let folder = tempfile::tempdir().unwrap();
    let mut desk = Desk::in_folder(folder.path()).await;
    let note = video(&desk).await.id;
    let recorder = desk.recorder.clone();
    let begun = recorder.begin_upload(&note, "ann", None).await.unwrap();
    assert_eq!((begun.take, begun.offset, begun.length), (1, 0, None));
    let file = webm();
    let mut at = 0;
    for piece in file.chunks(file.len() / 7) {
        assert_eq!(recorder.upload(&note, "ann", 1).await.unwrap().offset, at);
        at = recorder.append_upload(&note, "ann", 1, at, Bytes::copy_from_slice(piece)).await.unwrap().offset;
    }
    // Its caller is not there as far as media goes, which does not matter.
    recorder.caller_gone("r").await;
    recorder.upload_length(&note, "ann", 1, at).await.unwrap();
    recorder.append_upload(&note, "ann", 1, at, Bytes::new()).await.unwrap();
    let draft = desk.until(NoteState::Draft).await;
    assert_eq!((draft.content_type.as_deref(), draft.duration_ms, draft.reason), (Some(VIDEO_TYPE), 2_000, None));
    assert!(draft.width.is_some() && draft.peaks.iter().any(|peak| *peak > 0));
    let left = std::fs::read_dir(folder.path().join("spool")).unwrap().count();
    assert_eq!(left, 0, "nothing stays on the spool");
    assert_eq!(recorder.send(&note, "ann").await.unwrap().state, NoteState::Sent);
}

#[tokio::test]
async fn of_a_voice_note_only_the_sound_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut desk = Desk::in_folder(folder.path()).await;
    let (note, file) = (desk.offer("c1").await.id, webm());
    desk.recorder.begin_upload(&note, "ann", Some(file.len() as u64)).await.unwrap();
    desk.recorder.append_upload(&note, "ann", 1, 0, file).await.unwrap();
    assert_eq!(desk.until(NoteState::Draft).await.content_type.as_deref(), Some(VOICE_TYPE));
}

#[tokio::test]
async fn an_upload_goes_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (file, note) = (webm(), {
        let desk = Desk::in_folder(folder.path()).await;
        let note = video(&desk).await.id;
        desk.recorder.begin_upload(&note, "ann", None).await.unwrap();
        desk.recorder.append_upload(&note, "ann", 1, 0, webm().slice(..9_000)).await.unwrap();
        note
    });
    let mut desk = Desk::in_folder(folder.path()).await;
    let recorder = desk.recorder.clone();
    let state = recorder.upload(&note, "ann", 1).await.unwrap();
    assert_eq!((state.offset, state.length), (9_000, None));
    recorder.upload_length(&note, "ann", 1, file.len() as u64).await.unwrap();
    recorder.append_upload(&note, "ann", 1, 9_000, file.slice(9_000..)).await.unwrap();
    assert_eq!(desk.until(NoteState::Draft).await.duration_ms, 2_000);
    // Nothing that is done with is taken up again.
    drop((recorder, desk));
    let desk = Desk::in_folder(folder.path()).await;
    let open = desk.recorder.open_notes("ann").await.unwrap();
    assert_eq!((open.len(), open[0].state), (1, NoteState::Draft));
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_costs_nothing_of_what_has_come() {
    let folder = tempfile::tempdir().unwrap();
    let mut desk = Desk::in_folder(folder.path()).await;
    let (note, recorder) = (desk.offer("c1").await.id, desk.recorder.clone());
    let large = recorder.begin_upload(&note, "ann", Some(1 << 40)).await;
    assert!(matches!(large, Err(RecorderError::TooLarge(_))), "{large:?}");
    let stranger = recorder.begin_upload(&note, "bob", None).await;
    assert!(matches!(stranger, Err(RecorderError::NotFound(_))), "only whoever leaves it");
    let most = recorder.begin_upload(&note, "ann", None).await.unwrap().most;
    let again = recorder.begin_upload(&note, "ann", None).await;
    assert!(matches!(again, Err(RecorderError::Conflict { .. })), "one at a time");
    let append = |offset, bytes| recorder.append_upload(&note, "ann", 1, offset, bytes);
    let wave = append(0, Bytes::from_static(b"RIFF\0\0\0\0WAVE")).await;
    assert!(matches!(wave, Err(RecorderError::NotARecording)), "{wave:?}");
    let file = webm();
    append(0, file.slice(..1_000)).await.unwrap();
    assert!(matches!(append(0, file.slice(..1_000)).await, Err(RecorderError::Offset(1_000))));
    let flood = append(1_000, vec![0; most as usize].into()).await;
    assert!(matches!(flood, Err(RecorderError::TooLarge(_))));
    let length = recorder.upload_length(&note, "ann", 1, 999).await;
    assert!(matches!(length, Err(RecorderError::Offset(1_000))), "shorter than what has come");
    recorder.upload_length(&note, "ann", 1, file.len() as u64).await.unwrap();
    append(1_000, file.slice(1_000..)).await.unwrap();
    desk.until(NoteState::Draft).await;
    assert!(matches!(recorder.upload(&note, "ann", 1).await, Err(RecorderError::NotFound(_))));
}

#[tokio::test]
async fn a_file_that_is_no_take_leaves_the_one_before_it_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let mut desk = Desk::in_folder(folder.path()).await;
    let (note, recorder, file) = (desk.offer("c1").await.id, desk.recorder.clone(), webm());
    recorder.begin_upload(&note, "ann", Some(file.len() as u64)).await.unwrap();
    recorder.append_upload(&note, "ann", 1, 0, file.clone()).await.unwrap();
    let good = desk.until(NoteState::Draft).await;
    // The right beginning, and nothing behind it.
    let bad = Bytes::from([&file[..4], &[0; 5_000]].concat());
    recorder.begin_upload(&note, "ann", Some(bad.len() as u64)).await.unwrap();
    recorder.append_upload(&note, "ann", 2, 0, bad).await.unwrap();
    let still = desk.until(NoteState::Draft).await;
    assert_eq!((still.duration_ms, still.take), (good.duration_ms, 2));
    assert!(["no_media", "failed"].contains(&still.reason.as_deref().unwrap()), "{:?}", still.reason);
    recorder.discard(&note, "ann").await.unwrap();
    assert_eq!(std::fs::read_dir(folder.path().join("spool")).unwrap().count(), 0);
}

#[tokio::test]
async fn uploads_that_are_given_up_again_and_again_fill_no_disk() {
    let folder = tempfile::tempdir().unwrap();
    let desk = Desk::in_folder(folder.path()).await;
    let (note, recorder, file) = (desk.offer("c1").await.id, desk.recorder.clone(), webm());
    let on_spool = || std::fs::read_dir(folder.path().join("spool")).unwrap().count();
    for take in 1..=3 {
        recorder.begin_upload(&note, "ann", None).await.unwrap();
        recorder.append_upload(&note, "ann", take, 0, file.slice(..5_000)).await.unwrap();
        recorder.stop(&note, "ann").await.unwrap();
        assert_eq!(on_spool(), 1);
    }
    // What arrives all the same is no take any more.
    recorder.upload_length(&note, "ann", 3, 5_000).await.unwrap();
    recorder.append_upload(&note, "ann", 3, 5_000, Bytes::new()).await.unwrap();
    assert_eq!((on_spool(), recorder.note(&note, "ann").await.unwrap().state), (0, NoteState::Offered));
}

/// Two and a half seconds of pictures and sound.
const PICTURES: &str =
    "-f lavfi -i testsrc=s=160x120:r=25:d=2.5 -f lavfi -i sine=f=440:d=2.5 -c:v libx264 -pix_fmt yuv420p -g 25";

#[tokio::test]
async fn a_recording_in_mp4_is_kept_as_mp4_with_its_true_duration() {
    if !ffmpeg_or_skip("a_recording_in_mp4") {
        return;
    }
    let sound = "-f lavfi -i sine=f=440:d=2.5";
    for (kind, words, content_type, codecs) in [
        (NoteKind::Video, format!("{PICTURES} -c:a aac"), MP4_VIDEO_TYPE, ["h264", "aac"]),
        (NoteKind::Video, format!("{PICTURES} -c:a libopus"), MP4_VIDEO_TYPE, ["h264", "opus"]),
        (NoteKind::Voice, format!("{sound} -c:a aac"), MP4_VOICE_TYPE, ["aac", "aac"]),
        (NoteKind::Voice, format!("{PICTURES} -c:a aac"), MP4_VOICE_TYPE, ["aac", "aac"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut desk = Desk::in_folder(folder.path()).await;
        let note = desk.offer_within("c1", kind, NoteLimits::of(kind)).await.id;
        let (recorder, file) = (desk.recorder.clone(), fragmented_mp4(&words));
        recorder.begin_upload(&note, "ann", Some(file.len() as u64)).await.unwrap();
        // Also its first bytes may come one by one.
        let (first, rest) = (file.slice(..3), file.slice(3..));
        recorder.append_upload(&note, "ann", 1, 0, first).await.unwrap();
        // What the caller's browser has drawn of it is its poster, where it has pictures.
        let drawn = |bytes| Poster::drawn(Bytes::from_static(bytes), 160, 120);
        for bytes in [&b"the first"[..], b"the last"] {
            let put = recorder.put_poster(&note, "ann", 1, drawn(bytes)).await;
            assert_eq!(put.is_ok(), kind == NoteKind::Video, "{put:?}");
        }
        assert!(recorder.put_poster(&note, "ann", 2, drawn(b"of another take")).await.is_err());
        assert!(recorder.put_poster(&note, "bob", 1, drawn(b"of somebody else")).await.is_err());
        recorder.append_upload(&note, "ann", 1, 3, rest).await.unwrap();
        let draft = desk.until(NoteState::Draft).await;
        assert_eq!((draft.content_type.as_deref(), draft.reason), (Some(content_type), None), "{words}");
        assert_eq!(draft.poster, kind == NoteKind::Video);
        assert!((2_480..2_640).contains(&draft.duration_ms), "{} ms, {words}", draft.duration_ms);
        let size = (kind == NoteKind::Video).then_some((160, 120));
        assert_eq!(draft.width.zip(draft.height), size);
        assert_eq!(draft.peaks.iter().any(|peak| *peak > 100), codecs[1] == "opus", "{words}");
        assert_eq!(std::fs::read_dir(folder.path().join("spool")).unwrap().count(), 0, "nothing stays on the spool");
        recorder.send(&note, "ann").await.unwrap();

        if kind == NoteKind::Video {
            let media = recorder.media(&note, MediaPart::Poster, "bob").await.unwrap();
            let poster = recorder.read(&media, 0..media.size).await.unwrap();
            assert_eq!((media.content_type.as_str(), &poster[..]), ("image/jpeg", &b"the last"[..]));
        }
        // As it is served, whole and in parts.
        let media = recorder.media(&note, MediaPart::File, "bob").await.unwrap();
        let whole = recorder.read(&media, 0..media.size).await.unwrap();
        assert_eq!(recorder.read(&media, 100..1_000).await.unwrap(), whole.slice(100..1_000));
        let path = folder.path().join("served.mp4");
        std::fs::write(&path, &whole).unwrap();
        let told = ffprobe(&path);
        assert!(codecs.iter().all(|codec| told.contains(&format!("codec_name={codec}\n"))), "{told}");
        let duration: f64 = told.lines().find_map(|line| line.strip_prefix("duration=")).unwrap().parse().unwrap();
        assert!(
            (duration - draft.duration_ms as f64 / 1_000.0).abs() < 0.06,
            "{duration} s and {} ms",
            draft.duration_ms
        );
        decodes_fully(&path);
    }
}

#[tokio::test]
async fn a_recording_in_mp4_that_is_none_is_refused_and_nothing_of_it_is_kept() {
    if !ffmpeg_or_skip("a_recording_in_mp4_that_is_none") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut desk = Desk::in_folder(folder.path()).await;
    let (note, recorder) = (video(&desk).await.id, desk.recorder.clone());
    let good = fragmented_mp4(&format!("{PICTURES} -c:a aac"));
    let cut = good.slice(..good.len() - 100);
    let codec = fragmented_mp4("-f lavfi -i testsrc=s=160x120:r=25:d=1 -c:v mpeg4");
    for (take, (file, reason)) in (1..).zip([(cut, "failed"), (codec, "codec")]) {
        recorder.begin_upload(&note, "ann", Some(file.len() as u64)).await.unwrap();
        desk.until(NoteState::Recording).await;
        recorder.append_upload(&note, "ann", take, 0, file).await.unwrap();
        let told = desk.until(NoteState::Offered).await;
        assert_eq!(told.reason.as_deref(), Some(reason));
        for kept in ["spool", "media"] {
            let left = std::fs::read_dir(folder.path().join(kept)).map_or(0, Iterator::count);
            assert_eq!(left, 0, "{kept} after {reason}");
        }
    }
}

#[tokio::test]
async fn a_recording_in_mp4_that_had_arrived_before_a_restart_becomes_a_draft_after_it() {
    if !ffmpeg_or_skip("a_recording_in_mp4_before_a_restart") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let note = {
        let desk = Desk::in_folder(folder.path()).await;
        let note = video(&desk).await.id;
        desk.recorder.begin_upload(&note, "ann", None).await.unwrap();
        note
    };
    // As it lies there between its last byte and its draft.
    let spool = folder.path().join("spool");
    std::fs::remove_file(spool.join(format!("{note}.1.upload"))).unwrap();
    std::fs::write(spool.join(format!("{note}.1.mp4")), fragmented_mp4(&format!("{PICTURES} -c:a aac"))).unwrap();
    let desk = Desk::in_folder(folder.path()).await;
    let draft = desk.recorder.note(&note, "ann").await.unwrap();
    assert_eq!((draft.state, draft.content_type.as_deref()), (NoteState::Draft, Some(MP4_VIDEO_TYPE)));
    assert_eq!(std::fs::read_dir(spool).unwrap().count(), 0);
}
