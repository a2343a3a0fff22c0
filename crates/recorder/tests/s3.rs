//! Bytes of notes in an S3-compatible bucket: runs where `RINGBACK_TEST_S3` names one (`s3://bucket/prefix`), which is reached as in production, by the
//! `AWS_…` environment. `docs/recorder.md` says how to get one on this machine.
#![allow(clippy::unwrap_used)]

mod desk;
mod take;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use desk::Desk;
use ringback_recorder::{ByteStore, MediaPart, NoModeration, NoteKind, NoteLimits, NoteState, RecorderConfig};
use take::{camera, ogg_packets, test_card, voice};

/// A place of its own in the bucket.
fn bucket_or_skip(test: &str) -> Option<String> {
    let Ok(url) = std::env::var("RINGBACK_TEST_S3") else {
        let _ = writeln!(std::io::stderr(), "SKIPPED {test}: RINGBACK_TEST_S3 names no bucket");
        return None;
    };
    Some(format!("{}/{test}-{}", url.trim_end_matches('/'), rand::random::<u64>()))
}

#[tokio::test]
async fn bytes_are_kept_read_in_parts_listed_and_deleted() {
    let Some(url) = bucket_or_skip("bytes_are_kept_read_in_parts_listed_and_deleted") else { return };
    let store = ByteStore::open(&url).unwrap();
    let bytes: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
    store.put("notes/n_1/a.ogg", bytes.clone().into()).await.unwrap();
    store.put("notes/n_2/b.webp", vec![7].into()).await.unwrap();
    assert_eq!(store.size("notes/n_1/a.ogg").await.unwrap(), Some(200_000));
    assert_eq!(store.get("notes/n_1/a.ogg", 70_000..70_300).await.unwrap(), &bytes[70_000..70_300]);
    let mut keys: Vec<String> = store.keys("notes").await.unwrap().into_iter().map(|(key, _)| key).collect();
    keys.sort();
    assert_eq!(keys, ["notes/n_1/a.ogg", "notes/n_2/b.webp"]);
    store.delete("notes/n_1/a.ogg").await.unwrap();
    store.delete("notes/n_1/a.ogg").await.unwrap();
    assert_eq!(store.size("notes/n_1/a.ogg").await.unwrap(), None);
    assert_eq!(store.keys("notes").await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notes_are_recorded_replaced_sent_heard_and_deleted() {
    let Some(url) = bucket_or_skip("notes_are_recorded_replaced_sent_heard_and_deleted") else { return };
    let folder = tempfile::tempdir().unwrap();
    let config = RecorderConfig { bytes: Some(url.clone()), ..RecorderConfig::new(folder.path()) };
    let mut desk = Desk::configured(config, Arc::new(NoModeration)).await;
    let store = ByteStore::open(&url).unwrap();
    let note = desk.offer_within("c_1", NoteKind::Video, NoteLimits::of(NoteKind::Video)).await.id;
    desk.record(&note, &voice(100, |_| true)).await;
    let packets: Vec<_> = camera(&test_card(), 30, 0).into_iter().chain(voice(100, |_| true)).collect();
    let draft = desk.record(&note, &packets).await;
    assert_eq!(draft.width, Some(320));
    assert_eq!(store.keys("notes").await.unwrap().len(), 2, "the file and the poster; the take before is gone");
    desk.recorder.send(&note, "ann").await.unwrap();
    assert!(desk.file(&note, "bob").await.unwrap().starts_with(&[0x1A, 0x45, 0xDF, 0xA3]));
    let poster = desk.recorder.media(&note, MediaPart::Poster, "bob").await.unwrap();
    assert_eq!(desk.recorder.read(&poster, 8..12).await.unwrap(), &b"WEBP"[..]);
    for user in ["ann", "bob"] {
        desk.recorder.delete(&note, user).await.unwrap();
    }
    assert!(store.keys("notes").await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_is_gone_costs_no_take() {
    let Some(url) = bucket_or_skip("a_bucket_that_is_gone_costs_no_take") else { return };
    let folder = tempfile::tempdir().unwrap();
    let packets = voice(100, |_| true);
    let note = {
        let bytes = Some("s3://no-such-bucket-of-ringback/notes".to_owned());
        let config = RecorderConfig { bytes, ..RecorderConfig::new(folder.path()) };
        let mut desk = Desk::configured(config, Arc::new(NoModeration)).await;
        let note = desk.offer("c_1").await.id;
        desk.begin(&note, &packets).await;
        desk.recorder.stop(&note, "ann").await.unwrap();
        let mut state = NoteState::Saving;
        for _ in 0..600 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            state = desk.recorder.note(&note, "ann").await.unwrap().state;
            if state != NoteState::Saving {
                break;
            }
        }
        assert_eq!(state, NoteState::Offered);
        assert_eq!(desk.recorder.note(&note, "ann").await.unwrap().reason.as_deref(), Some("disk"));
        note
    };
    let config = RecorderConfig { bytes: Some(url), ..RecorderConfig::new(folder.path()) };
    let desk = Desk::configured(config, Arc::new(NoModeration)).await;
    assert_eq!(desk.recorder.note(&note, "ann").await.unwrap().state, NoteState::Draft);
    assert_eq!(ogg_packets(&desk.file(&note, "ann").await.unwrap()).0.len(), packets.len());
}
