//! Notes whose bytes are encrypted at rest: nothing of them is on the disk in the clear, players seek in them as ever, and notes from before, or of an older key, stay readable.
#![allow(clippy::unwrap_used)]

mod desk;
mod take;

use std::path::Path;
use std::sync::Arc;

use desk::{Desk, walk};
use ringback_recorder::{AtRestKey, MediaPart, NoModeration, NoteKind, NoteLimits, RecorderConfig, RecorderError};
use take::voice;

async fn desk(folder: &Path, keys: &[AtRestKey]) -> Desk {
    let config = RecorderConfig { at_rest: keys.to_vec(), ..RecorderConfig::new(folder) };
    Desk::configured(config, Arc::new(NoModeration)).await
}

/// A sent note of 30 seconds.
async fn sent(desk: &mut Desk, call: &str) -> String {
    let note = desk.offer_within(call, NoteKind::Voice, NoteLimits::of(NoteKind::Voice)).await.id;
    desk.record(&note, &voice(1_500, |_| true)).await;
    desk.recorder.send(&note, "ann").await.unwrap();
    note
}

/// The whole file and two stretches of it, as a player asks for them.
async fn plays(desk: &Desk, note: &str) -> Result<Vec<u8>, RecorderError> {
    let media = desk.recorder.media(note, MediaPart::File, "bob").await?;
    assert_eq!(media.content_type, "audio/ogg; codecs=opus");
    let whole = desk.recorder.read(&media, 0..media.size).await?;
    assert_eq!((whole.len() as u64, &whole[..4]), (media.size, b"OggS".as_slice()));
    for range in [media.size / 3..media.size / 2, media.size - 10..media.size] {
        let part = desk.recorder.read(&media, range.clone()).await?;
        assert_eq!(part, whole.slice(range.start as usize..range.end as usize));
    }
    Ok(whole.to_vec())
}

#[tokio::test]
async fn an_encrypted_note_plays_and_its_file_on_the_disk_tells_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let key = AtRestKey::generate();
    let mut desk = desk(folder.path(), std::slice::from_ref(&key)).await;
    let note = sent(&mut desk, "c1").await;
    let plain = plays(&desk, &note).await.unwrap();
    assert!(plain.len() > 70_000, "several chunks: {}", plain.len());
    let files: Vec<_> = walk(&folder.path().join("media")).iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert_eq!(files.len(), 1);
    assert!(files[0].starts_with(b"age-encryption.org/v1\n"));
    assert!(!files[0].windows(8).any(|window| window == b"OpusHead"));
}

#[tokio::test]
async fn notes_from_before_the_key_and_of_an_older_one_stay_readable_and_without_the_key_they_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (AtRestKey::generate(), AtRestKey::generate());
    let mut notes = Vec::new();
    for (call, keys) in [("c1", vec![]), ("c2", vec![old.clone()]), ("c3", vec![new.clone(), old])] {
        let mut desk = desk(folder.path(), &keys).await;
        notes.push(sent(&mut desk, call).await);
        for note in &notes {
            plays(&desk, note).await.unwrap();
        }
    }
    let desk = desk(folder.path(), &[new]).await;
    plays(&desk, &notes[0]).await.unwrap();
    plays(&desk, &notes[2]).await.unwrap();
    assert!(matches!(plays(&desk, &notes[1]).await, Err(RecorderError::AtRest(_))));
}
