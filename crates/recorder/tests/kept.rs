//! What is kept and for how long: quota, retention, deletion, pages, many writers at once, and notes that end by themselves; with SQLite, and with PostgreSQL where
//! there is one.
#![allow(clippy::unwrap_used)]

mod database;
mod desk;
mod take;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use database::databases;
use desk::{Desk, walk};
use ringback_recorder::{
    CallRow, Draft, MediaPart, NewNote, NoModeration, NoteKind, NoteLimits, NoteState, Recorder, RecorderConfig,
    RecorderError, Store, TakeEvent,
};
use serde_json::json;
use take::voice;

async fn desk(folder: &Path, database: &str, change: impl FnOnce(&mut RecorderConfig)) -> Desk {
    let mut config = RecorderConfig { database: Some(database.to_owned()), ..RecorderConfig::new(folder) };
    change(&mut config);
    Desk::configured(config, Arc::new(NoModeration)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inbox_that_is_full_takes_no_note_until_one_is_deleted() {
    for (database, _keep) in databases("kept_quota").await {
        let folder = tempfile::tempdir().unwrap();
        let packets = voice(100, |_| true);
        let mut desk = desk(folder.path(), &database, |config| config.quota = 20_000).await;
        let mut drafts = Vec::new();
        for call in ["c_1", "c_2"] {
            let note = desk.offer(call).await.id;
            drafts.push(desk.record(&note, &packets).await);
        }
        assert!((10_001..20_000).contains(&drafts[0].size), "one fits, two do not: {} bytes", drafts[0].size);
        desk.recorder.send(&drafts[0].id, "ann").await.unwrap();
        let refused = desk.recorder.send(&drafts[1].id, "ann").await.unwrap_err();
        assert!(matches!(&refused, RecorderError::Quota { user, .. } if user == "bob"), "{refused}");
        assert_eq!(desk.recorder.note(&drafts[1].id, "ann").await.unwrap().state, NoteState::Draft);
        desk.recorder.delete(&drafts[0].id, "bob").await.unwrap();
        desk.recorder.send(&drafts[1].id, "ann").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_older_than_the_retention_is_gone_with_its_bytes_and_open_notes_stay() {
    for (database, _keep) in databases("kept_retention").await {
        let folder = tempfile::tempdir().unwrap();
        let packets = voice(100, |_| true);
        let mut first = desk(folder.path(), &database, |_| {}).await;
        let old = first.offer("c_old").await.id;
        first.record(&old, &packets).await;
        let recent = first.offer("c_recent").await.id;
        first.record(&recent, &packets).await;
        let draft = first.offer("c_draft").await.id;
        first.record(&draft, &packets).await;
        first.recorder.send(&recent, "ann").await.unwrap();
        let store = Store::open(&database).await.unwrap();
        assert!(store.send(&old, 3_000).await.unwrap());
        for note in [&old, &recent] {
            first.recorder.react(note, "bob", Some("Bob"), Some("👍")).await.unwrap();
        }
        for call in ["c_old", "c_recent", "c_draft"] {
            store.hook_done(call).await.unwrap();
        }
        drop(first);
        assert_eq!(walk(&folder.path().join("media")).len(), 3);

        let day = Some(Duration::from_secs(24 * 3_600));
        let desk = desk(folder.path(), &database, |config| config.retention = day).await;
        assert!(desk.recorder.note(&old, "bob").await.is_err());
        let calls: Vec<_> = desk.recorder.thread("ann", "t", None, 10).await.unwrap().rows;
        let mut calls: Vec<_> = calls.iter().map(|(call, _)| call.id.as_str()).collect();
        calls.sort_unstable();
        assert_eq!(calls, ["c_draft", "c_recent"], "as long as the note is kept, so is its call");
        let pool = sqlx::AnyPool::connect(&database).await.unwrap();
        let reactions: Vec<String> =
            sqlx::query_scalar("SELECT note_id FROM note_reactions").fetch_all(&pool).await.unwrap();
        assert_eq!(reactions, std::slice::from_ref(&recent), "what is said to a note goes with it");
        pool.close().await;
        assert_eq!(desk.file(&recent, "bob").await.unwrap().get(..4), Some(&b"OggS"[..]));
        assert_eq!(desk.recorder.note(&draft, "ann").await.unwrap().state, NoteState::Draft);
        assert_eq!(walk(&folder.path().join("media")).len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_deletes_for_themselves_and_the_last_one_for_all() {
    for (database, _keep) in databases("kept_delete").await {
        let folder = tempfile::tempdir().unwrap();
        let mut desk = desk(folder.path(), &database, |_| {}).await;
        let note = desk.offer("c_1").await.id;
        desk.record(&note, &voice(100, |_| true)).await;
        assert!(desk.recorder.delete(&note, "ann").await.is_err(), "a draft is discarded, not deleted");
        desk.recorder.send(&note, "ann").await.unwrap();
        assert!(desk.recorder.delete(&note, "eve").await.is_err());

        desk.recorder.delete(&note, "ann").await.unwrap();
        assert!(desk.recorder.note(&note, "ann").await.is_err());
        assert!(desk.recorder.media(&note, MediaPart::File, "ann").await.is_err());
        assert!(desk.recorder.thread("ann", "t", None, 10).await.unwrap().rows[0].1.is_none());
        assert!(desk.recorder.delete(&note, "ann").await.is_err());
        assert_eq!(desk.file(&note, "bob").await.unwrap().get(..4), Some(&b"OggS"[..]));
        assert_eq!(desk.recorder.unheard("bob").await.unwrap(), 1);

        desk.recorder.delete(&note, "bob").await.unwrap();
        assert!(desk.recorder.note(&note, "bob").await.is_err());
        assert!(desk.recorder.inbox("bob", None, 10, false).await.unwrap().rows.is_empty());
        let left = std::fs::read_dir(folder.path().join("media")).unwrap().count();
        assert_eq!(left, 0, "not even a folder tells of it");
        let store = Store::open(&database).await.unwrap();
        assert_eq!(store.note(&note).await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_left_a_note_sees_for_whom_it_was_after_they_deleted_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut desk = Desk::in_folder(folder.path()).await;
    let note = desk.offer("c_1").await.id;
    desk.record(&note, &voice(100, |_| true)).await;
    desk.recorder.send(&note, "ann").await.unwrap();
    desk.recorder.heard(&note, "bob", true).await.unwrap();
    desk.recorder.delete(&note, "bob").await.unwrap();
    let seen = desk.recorder.note(&note, "ann").await.unwrap();
    assert_eq!(seen.to.len(), 1);
    assert!(seen.to[0].heard_at.is_some());
}

fn call(id: &str, placed_at: u64) -> CallRow {
    CallRow {
        id: id.to_owned(),
        kind: NoteKind::Voice,
        thread: "t".to_owned(),
        caller: "ann".to_owned(),
        callees: vec!["bob".to_owned(), "cid".to_owned()],
        outcome: "no_answer".to_owned(),
        placed_at,
        ended_at: placed_at + 1,
        ring_ms: 0,
        talk_ms: 0,
        acknowledged: false,
        details: json!({}),
        hook_done: true,
    }
}

fn draft(key: String) -> Draft {
    Draft {
        file_key: key,
        poster_key: None,
        content_type: "audio/ogg".to_owned(),
        size: 1,
        duration_ms: 1,
        peaks: vec![1],
        picture: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_neither_skip_nor_repeat_a_row_whatever_comes_meanwhile() {
    for (database, _keep) in databases("kept_pages").await {
        let folder = tempfile::tempdir().unwrap();
        let desk = desk(folder.path(), &database, |_| {}).await;
        let store = Store::open(&database).await.unwrap();
        for index in 0..25 {
            // Several at the same millisecond.
            let row = call(&format!("c_{index:02}"), 1_000 + index / 4);
            store.put_call(&row).await.unwrap();
            let new = NewNote {
                call: row.id,
                thread: "t".to_owned(),
                room: "r".to_owned(),
                kind: NoteKind::Voice,
                from: "ann".to_owned(),
                from_name: "Ann".to_owned(),
                to: row.callees,
                limits: NoteLimits::of(NoteKind::Voice),
            };
            let note = desk.recorder.offer(new).await.unwrap();
            store.put_draft(&note.id, &draft(format!("notes/{}/x.ogg", note.id))).await.unwrap();
            let mut row = store.note(&note.id).await.unwrap().unwrap();
            row.state = NoteState::Draft;
            assert!(store.put_state(&row).await.unwrap());
            assert!(store.send(&note.id, 2_000 + index / 4).await.unwrap());
        }
        let (mut calls, mut notes, mut before) = (Vec::new(), Vec::new(), (None, None));
        for page in 0.. {
            let thread = desk.recorder.thread("bob", "t", before.0.as_ref(), 7).await.unwrap();
            calls.extend(thread.rows.into_iter().map(|(call, note)| (call.id, note.unwrap().id)));
            let inbox = desk.recorder.inbox("bob", before.1.as_ref(), 7, true).await.unwrap();
            notes.extend(inbox.rows.into_iter().map(|note| note.id));
            store.put_call(&call(&format!("later_{page}"), 9_000)).await.unwrap();
            before = (thread.next, inbox.next);
            if before.0.is_none() {
                break;
            }
            let again = ringback_recorder::Cursor::parse(&before.0.as_ref().unwrap().encode());
            assert_eq!(again, before.0);
        }
        assert!(before.1.is_none());
        let (mut ids, of_calls): (Vec<_>, Vec<_>) = calls.into_iter().unzip();
        assert_eq!(ids.len(), 25);
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 25);
        notes.sort_unstable();
        notes.dedup();
        assert_eq!(notes.len(), 25);
        assert!(of_calls.iter().all(|note| notes.contains(note)));
        // Each hears for themselves.
        desk.recorder.heard(&notes[0], "bob", true).await.unwrap();
        let unheard = (desk.recorder.unheard("bob").await.unwrap(), desk.recorder.unheard("cid").await.unwrap());
        assert_eq!(unheard, (24, 25));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_write_at_once_and_nobody_is_turned_away() {
    for (database, _keep) in databases("kept_writers").await {
        let folder = tempfile::tempdir().unwrap();
        let desk = desk(folder.path(), &database, |_| {}).await;
        let store = Store::open(&database).await.unwrap();
        let mut notes = Vec::new();
        for index in 0..8 {
            notes.push(desk.offer(&format!("c_{index}")).await.id);
        }
        let writers = notes.into_iter().map(|note| {
            let store = store.clone();
            tokio::spawn(async move {
                for take in 0..15 {
                    let old = store.put_draft(&note, &draft(format!("notes/{note}/{take}.ogg"))).await.unwrap();
                    assert_eq!(old.len(), usize::from(take > 0), "each take replaces the one before");
                }
                store.give_up(&note, NoteState::Discarded).await.unwrap()
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            assert_eq!(writer.await.unwrap().len(), 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_no_row_refers_to_are_swept_once_they_are_old() {
    let folder = tempfile::tempdir().unwrap();
    let kept = {
        let mut desk = Desk::in_folder(folder.path()).await;
        let note = desk.offer("c_1").await.id;
        desk.record(&note, &voice(100, |_| true)).await;
        note
    };
    let media = folder.path().join("media/notes");
    let hours_ago = SystemTime::now() - Duration::from_secs(7_200);
    for (name, old) in [("n_lost/old.ogg", true), ("n_lost/young.ogg", false)] {
        let path = media.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, b"OggS").unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        if old {
            file.set_modified(hours_ago).unwrap();
        }
    }
    let of_kept = walk(&media.join(&kept)).remove(0);
    std::fs::File::options().write(true).open(&of_kept).unwrap().set_modified(hours_ago).unwrap();
    let desk = Desk::in_folder(folder.path()).await;
    assert!(!media.join("n_lost/old.ogg").exists());
    assert!(media.join("n_lost/young.ogg").exists());
    assert_eq!(desk.file(&kept, "ann").await.unwrap().get(..4), Some(&b"OggS"[..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_that_expires_is_sent_where_the_limits_say_so_and_deleted_elsewhere() {
    for send_unsent in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let mut desk = Desk::in_folder(folder.path()).await;
        let draft_expires = Duration::from_millis(500);
        let limits = NoteLimits { draft_expires, send_unsent, ..NoteLimits::of(NoteKind::Voice) };
        let note = desk.offer_within("c_1", NoteKind::Voice, limits).await.id;
        desk.record(&note, &voice(100, |_| true)).await;
        desk.until(if send_unsent { NoteState::Sent } else { NoteState::Expired }).await;
        assert_eq!(desk.recorder.unheard("bob").await.unwrap(), u64::from(send_unsent));
        assert_eq!(walk(&folder.path().join("media")).len(), usize::from(send_unsent));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_ends_a_take_also_where_the_client_sends_no_levels() {
    let folder = tempfile::tempdir().unwrap();
    let mut desk = Desk::in_folder(folder.path()).await;
    let limits = NoteLimits { stop_on_silence: Some(Duration::from_secs(2)), ..NoteLimits::of(NoteKind::Voice) };
    let note = desk.offer_within("c_1", NoteKind::Voice, limits).await.id;
    let packets = voice(400, |frame| frame < 200);
    assert!(packets.iter().all(|packet| packet.level.is_none()));
    let writer = desk.begin(&note, &[]).await;
    for (index, packet) in packets.iter().enumerate() {
        if !writer.push(TakeEvent::Packet(packet.clone())) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        if index == 195 {
            let state = desk.recorder.note(&note, "ann").await.unwrap().state;
            assert_eq!(state, NoteState::Recording, "somebody speaks");
        }
        if desk.recorder.note(&note, "ann").await.unwrap().state != NoteState::Recording {
            assert!(index > 250, "it ended at packet {index}");
            break;
        }
    }
    assert_eq!(desk.until(NoteState::Draft).await.reason.as_deref(), Some("silence"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_in_use_is_refused_by_name_and_free_once_its_recorder_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let first = Desk::in_folder(folder.path()).await;
    let second = Recorder::open(RecorderConfig::new(folder.path()), Arc::new(NoModeration)).await;
    let refused = second.unwrap_err();
    assert!(matches!(refused, RecorderError::InUse { .. }), "{refused}");
    assert!(refused.to_string().contains(&folder.path().display().to_string()), "{refused}");
    drop(first);
    Recorder::open(RecorderConfig::new(folder.path()), Arc::new(NoModeration)).await.unwrap();
}
