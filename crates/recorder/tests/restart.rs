//! What becomes of notes that a former process left: takes become drafts, drafts wait on, and what was over stays over. Here a process "dies" by being forgotten, as it
//! is to the next one; the long suite kills real ones.
#![allow(clippy::unwrap_used)]

mod database;
mod desk;
mod take;

use std::path::Path;
use std::time::Duration;

use database::databases;
use desk::{Desk, walk};
use ringback_recorder::{NoteInfo, NoteState, TakeEvent};
use take::{ogg_packets, voice};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_said_before_the_process_died_is_a_draft_after_it() {
    for (database, _keep) in databases("notes_restart").await {
        let folder = tempfile::tempdir().unwrap();
        let packets = voice(200, |_| true);
        let offered = {
            let mut desk = Desk::open(folder.path(), &database).await;
            let offered = desk.offer("c_1").await;
            desk.recorder.record(&offered.id, "ann", true).await.unwrap();
            let writer = desk.writer().await;
            for packet in &packets {
                writer.push(TakeEvent::Packet(packet.clone()));
            }
            // What is older than a flush is on disk; this process ends without a word.
            tokio::time::sleep(Duration::from_millis(600)).await;
            offered
        };
        let desk = Desk::open(folder.path(), &database).await;
        let open = desk.recorder.open_notes("ann").await.unwrap();
        assert_eq!(open.len(), 1);
        assert_eq!((open[0].state, open[0].room.as_deref()), (NoteState::Draft, None));
        let (kept, _) = ogg_packets(&desk.file(&offered.id, "ann").await.unwrap());
        assert_eq!(kept, packets.iter().map(|packet| packet.payload.to_vec()).collect::<Vec<_>>());
        assert!(walk(&folder.path().join("spool")).is_empty());
        desk.recorder.send(&offered.id, "ann").await.unwrap();
        assert_eq!(desk.recorder.unheard("bob").await.unwrap(), 1);
    }
}

/// A desk whose process dies a while after a take of four seconds has come in.
async fn died_while_recording(folder: &Path, take_before: bool) -> NoteInfo {
    let mut desk = Desk::in_folder(folder).await;
    let note = desk.offer("c_1").await;
    if take_before {
        desk.record(&note.id, &voice(50, |_| true)).await;
    }
    desk.begin(&note.id, &voice(200, |_| true)).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    note
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_that_was_open_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let note = Desk::in_folder(folder.path()).await.offer("c_1").await;
    let desk = Desk::in_folder(folder.path()).await;
    assert!(desk.recorder.open_notes("ann").await.unwrap().is_empty());
    assert_eq!(desk.recorder.note(&note.id, "ann").await.unwrap().state, NoteState::Expired);
    // The hook is told again after a restart: its offer finds the note that there was.
    assert_eq!(desk.offer("c_1").await.state, NoteState::Expired);
    assert!(desk.recorder.record(&note.id, "ann", true).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_take_whose_file_was_being_made_is_a_draft() {
    let folder = tempfile::tempdir().unwrap();
    let packets = voice(200, |_| true);
    let note = {
        let mut desk = Desk::in_folder(folder.path()).await;
        let note = desk.offer("c_1").await;
        desk.begin(&note.id, &packets).await;
        tokio::time::sleep(Duration::from_millis(600)).await;
        note
    };
    // The row as it is between the end of a take and its draft, and a tail that was being written.
    let store = ringback_recorder::Store::open(&database_url(folder.path())).await.unwrap();
    let mut row = store.note(&note.id).await.unwrap().unwrap();
    row.state = NoteState::Saving;
    row.reason = Some("maximum".to_owned());
    store.put_state(&row).await.unwrap();
    let spool = walk(&folder.path().join("spool")).remove(0);
    let mut torn = std::fs::read(&spool).unwrap();
    torn.truncate(torn.len() - 7);
    std::fs::write(&spool, torn).unwrap();

    let desk = Desk::in_folder(folder.path()).await;
    let draft = desk.recorder.note(&note.id, "ann").await.unwrap();
    assert_eq!((draft.state, draft.reason.as_deref()), (NoteState::Draft, Some("maximum")));
    let (kept, _) = ogg_packets(&desk.file(&note.id, "ann").await.unwrap());
    let sent: Vec<_> = packets.iter().map(|packet| packet.payload.to_vec()).collect();
    assert_eq!(kept, sent[..199]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_from_before_is_not_recorded_again_but_sent_or_discarded() {
    let folder = tempfile::tempdir().unwrap();
    let note = died_while_recording(folder.path(), true).await;
    let mut desk = Desk::in_folder(folder.path()).await;
    let draft = desk.recorder.note(&note.id, "ann").await.unwrap();
    assert_eq!((draft.state, draft.reason.as_deref()), (NoteState::Draft, Some("caller_gone")));
    assert_eq!((draft.take, draft.duration_ms), (2, 4_000));
    assert!(desk.recorder.record(&note.id, "ann", true).await.is_err(), "there is no media to record");
    desk.recorder.discard(&note.id, "ann").await.unwrap();
    desk.until(NoteState::Discarded).await;
    assert!(walk(&folder.path().join("media")).is_empty());
    assert!(walk(&folder.path().join("spool")).is_empty());
    drop(desk);
    let desk = Desk::in_folder(folder.path()).await;
    assert!(desk.recorder.open_notes("ann").await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_after_a_restart_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let note = died_while_recording(folder.path(), false).await;
    let first = Desk::in_folder(folder.path()).await;
    let draft = first.recorder.note(&note.id, "ann").await.unwrap();
    let file = first.file(&note.id, "ann").await.unwrap();
    drop(first);
    let second = Desk::in_folder(folder.path()).await;
    let again = second.recorder.note(&note.id, "ann").await.unwrap();
    assert_eq!(draft, again);
    assert_eq!(file, second.file(&note.id, "ann").await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn takes_of_notes_that_are_over_and_of_none_are_deleted_and_other_files_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let note = died_while_recording(folder.path(), false).await;
    let spool = folder.path().join("spool");
    let take = walk(&spool).remove(0);
    let copy = std::fs::read(&take).unwrap();
    {
        let desk = Desk::in_folder(folder.path()).await;
        desk.recorder.send(&note.id, "ann").await.unwrap();
    }
    std::fs::write(&take, copy).unwrap();
    std::fs::write(spool.join("empty.take"), []).unwrap();
    std::fs::write(spool.join("future.take"), b"rbtake\x00\x02 of a later version").unwrap();
    std::fs::write(spool.join("notes.txt"), b"mine").unwrap();
    let desk = Desk::in_folder(folder.path()).await;
    let mut left: Vec<_> = walk(&spool).iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    left.sort();
    assert_eq!(left, ["future.take", "notes.txt"]);
    assert_eq!(desk.recorder.note(&note.id, "bob").await.unwrap().state, NoteState::Sent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_keeps_its_time_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let before = {
        let mut desk = Desk::in_folder(folder.path()).await;
        let note = desk.offer("c_1").await.id;
        desk.record(&note, &voice(100, |_| true)).await
    };
    let desk = Desk::in_folder(folder.path()).await;
    let after = desk.recorder.note(&before.id, "ann").await.unwrap();
    assert_eq!((before.expires_at, before.take, before.peaks), (after.expires_at, after.take, after.peaks));
    assert_eq!(after.room, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_of_any_name_holds_the_database() {
    let folder = tempfile::tempdir().unwrap();
    let odd = folder.path().join("50% of #1? ü");
    let note = died_while_recording(&odd, false).await;
    assert!(odd.join("ringback.sqlite").exists());
    let desk = Desk::in_folder(&odd).await;
    assert_eq!(desk.recorder.note(&note.id, "ann").await.unwrap().state, NoteState::Draft);
}

fn database_url(folder: &Path) -> String {
    format!("sqlite://{}", folder.join("ringback.sqlite").display())
}
