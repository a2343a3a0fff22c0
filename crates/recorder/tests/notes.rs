//! Notes from the offer to the inbox, with a real database, real bytes and real Opus; with SQLite, and with PostgreSQL where there is one.
#![allow(clippy::unwrap_used)]

mod database;
mod desk;
mod take;

use std::sync::Arc;
use std::time::Duration;

use database::databases;
use desk::{Desk, walk};
use ringback_recorder::{BoxFuture, Moderate, NoteInfo, NoteState, RecorderError, TakeEvent, TakeReason};
use take::{decodes_fully, ffmpeg_or_skip, ogg_packets, voice};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_note_reaches_the_inbox_and_the_thread_and_is_heard_once_it_is_heard() {
    for (database, _keep) in databases("notes_inbox").await {
        let folder = tempfile::tempdir().unwrap();
        let mut desk = Desk::open(folder.path(), &database).await;
        let offered = desk.offer("c_1").await;
        assert_eq!((offered.state, offered.room.as_deref()), (NoteState::Offered, Some("r")));
        assert_eq!(desk.offer("c_1").await.id, offered.id, "one note a call");
        let sent_packets = voice(100, |_| true);
        let draft = desk.record(&offered.id, &sent_packets).await;
        assert_eq!((draft.state, draft.duration_ms, draft.peaks.len()), (NoteState::Draft, 2_000, 128));
        let recorder = &desk.recorder;
        assert_eq!(recorder.unheard("bob").await.unwrap(), 0);
        assert!(desk.file(&draft.id, "bob").await.is_err(), "nobody hears a draft but who left it");
        let (packets, _) = ogg_packets(&desk.file(&draft.id, "ann").await.unwrap());
        assert_eq!(packets, sent_packets.iter().map(|packet| packet.payload.to_vec()).collect::<Vec<_>>());

        assert!(recorder.send(&draft.id, "bob").await.is_err(), "nobody sends another's draft");
        recorder.send(&draft.id, "ann").await.unwrap();
        assert!(matches!(recorder.send(&draft.id, "ann").await, Err(RecorderError::Conflict { .. })));
        let inbox = recorder.inbox("bob", None, 10, true).await.unwrap();
        assert_eq!(inbox.rows.len(), 1);
        assert_eq!(inbox.rows[0].state, NoteState::Sent);
        let thread = recorder.thread("bob", "t", None, 10).await.unwrap();
        assert_eq!(thread.rows.len(), 1);
        assert_eq!(thread.rows[0].1.as_ref().map(|note| note.id.as_str()), Some(draft.id.as_str()));
        assert!(recorder.thread("eve", "t", None, 10).await.unwrap().rows.is_empty());
        assert!(recorder.note(&draft.id, "eve").await.is_err());
        if ffmpeg_or_skip("a_note_reaches_the_inbox") {
            let path = folder.path().join("heard.ogg");
            std::fs::write(&path, desk.file(&draft.id, "bob").await.unwrap()).unwrap();
            decodes_fully(&path);
        }

        assert_eq!(recorder.unheard("bob").await.unwrap(), 1);
        recorder.heard(&draft.id, "bob", true).await.unwrap();
        assert_eq!(recorder.unheard("bob").await.unwrap(), 0);
        assert!(recorder.heard(&draft.id, "ann", true).await.is_err());
        recorder.heard(&draft.id, "bob", false).await.unwrap();
        assert_eq!(recorder.unheard("bob").await.unwrap(), 1);

        // Deleting deletes, once nobody has it any more.
        recorder.delete(&draft.id, "bob").await.unwrap();
        assert_eq!(recorder.unheard("bob").await.unwrap(), 0);
        assert!(desk.file(&draft.id, "bob").await.is_err());
        assert!(desk.file(&draft.id, "ann").await.is_ok());
        recorder.delete(&draft.id, "ann").await.unwrap();
        assert!(desk.file(&draft.id, "ann").await.is_err());
        let left = walk(&folder.path().join("media"));
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(recorder.thread("bob", "t", None, 10).await.unwrap().rows.len(), 1, "the call stays");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_take_is_refused_and_a_retake_replaces_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}", folder.path().join("db").display());
    let mut desk = Desk::open(folder.path(), &database).await;
    let note = desk.offer("c_1").await.id;
    desk.recorder.record(&note, "ann", true).await.unwrap();
    let writer = desk.writer().await;
    voice(60, |_| false).into_iter().for_each(|packet| assert!(writer.push(TakeEvent::Packet(packet))));
    desk.recorder.stop(&note, "ann").await.unwrap();
    let refused = desk.until(NoteState::Offered).await;
    assert_eq!(refused.reason.as_deref(), Some("silent"));
    let first = desk.record(&note, &voice(50, |_| true)).await;
    let second = desk.record(&note, &voice(100, |_| true)).await;
    assert_eq!((first.duration_ms, second.duration_ms, second.take), (1_000, 2_000, 3));
    assert_eq!(walk(&folder.path().join("media")).len(), 1, "only one take is kept");
    desk.recorder.discard(&note, "ann").await.unwrap();
    assert!(walk(&folder.path().join("media")).is_empty());
    assert!(desk.recorder.open_notes("ann").await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_overflows_ends_the_take_and_keeps_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}", folder.path().join("db").display());
    let mut desk = Desk::open(folder.path(), &database).await;
    let note = desk.offer("c_1").await.id;
    let packets = voice(200, |_| true);
    let writer = desk.begin(&note, &packets).await;
    writer.end(TakeReason::Overrun);
    assert!(!writer.push(TakeEvent::Packet(packets[0].clone())), "it takes no more");
    let kept = desk.until(NoteState::Draft).await;
    assert_eq!((kept.reason.as_deref(), kept.duration_ms), (Some("overrun"), 4_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_take_without_media_or_with_a_codec_that_is_not_kept_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut desk = Desk::in_folder(folder.path()).await;
    let note = desk.offer("c_1").await.id;
    for (reason, told) in [(TakeReason::NoMedia, "no_media"), (TakeReason::Codec, "codec")] {
        desk.begin(&note, &[]).await.end(reason);
        assert_eq!(desk.until(NoteState::Offered).await.reason.as_deref(), Some(told));
    }
    desk.begin(&note, &[]).await;
    desk.recorder.stop(&note, "ann").await.unwrap();
    assert_eq!(desk.until(NoteState::Offered).await.reason.as_deref(), Some("no_media"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_earlier_take_still_says_does_not_end_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut desk = Desk::in_folder(folder.path()).await;
    let note = desk.offer("c_1").await.id;
    let packets = voice(100, |_| true);
    let first = desk.begin(&note, &packets).await;
    desk.recorder.stop(&note, "ann").await.unwrap();
    desk.until(NoteState::Draft).await;
    let second = desk.begin(&note, &packets).await;
    first.end(TakeReason::CallerGone);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(second.push(TakeEvent::Packet(packets[0].clone())));
    assert_eq!(desk.recorder.note(&note, "ann").await.unwrap().state, NoteState::Recording);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callee_who_comes_and_a_caller_who_goes_leave_a_draft() {
    let folder = tempfile::tempdir().unwrap();
    let mut desk = Desk::in_folder(folder.path()).await;
    for (call, reason) in [("c_1", "callee_came"), ("c_2", "caller_gone")] {
        let note = desk.offer(call).await.id;
        desk.begin(&note, &voice(100, |_| true)).await;
        match reason {
            "callee_came" => desk.recorder.callee_came("ann", "bob").await,
            _ => desk.recorder.caller_gone("r").await,
        }
        let draft = desk.until(NoteState::Draft).await;
        assert_eq!((draft.id.as_str(), draft.reason.as_deref(), draft.duration_ms), (&*note, Some(reason), 2_000));
        // It stays, whoever comes and goes.
        desk.recorder.caller_gone("r").await;
        desk.recorder.callee_came("ann", "bob").await;
        assert_eq!(desk.recorder.note(&note, "ann").await.unwrap().state, NoteState::Draft);
        desk.recorder.send(&note, "ann").await.unwrap();
    }
    assert_eq!(desk.recorder.unheard("bob").await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_session_is_gone_is_carried_out_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let mut desk = Desk::in_folder(folder.path()).await;
    let note = desk.offer("c_1").await.id;
    desk.record(&note, &voice(100, |_| true)).await;
    // Begun, and nobody waits for the answer.
    let mut sending = Box::pin(desk.recorder.send(&note, "ann"));
    let begun = |context: &mut std::task::Context<'_>| {
        let _ = sending.as_mut().poll(context);
        std::task::Poll::Ready(())
    };
    std::future::poll_fn(begun).await;
    drop(sending);
    assert_eq!(desk.until(NoteState::Sent).await.id, note);
    assert_eq!(desk.recorder.unheard("bob").await.unwrap(), 1);
}

struct Strict;

impl Moderate for Strict {
    fn may_send<'a>(&'a self, _: &'a NoteInfo, file: &'a [u8]) -> BoxFuture<'a, Result<(), String>> {
        assert!(file.starts_with(b"OggS"));
        Box::pin(async { Err("not in this house".to_owned()) })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_note_that_moderation_refuses_stays_a_draft() {
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}", folder.path().join("db").display());
    let mut desk = Desk::moderated(folder.path(), &database, Arc::new(Strict)).await;
    let note = desk.offer("c_1").await.id;
    desk.record(&note, &voice(50, |_| true)).await;
    let refused = desk.recorder.send(&note, "ann").await.unwrap_err();
    assert_eq!(refused.to_string(), "the note was refused: not in this house");
    assert_eq!(desk.recorder.open_notes("ann").await.unwrap()[0].state, NoteState::Draft);
    assert_eq!(desk.recorder.unheard("bob").await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_kept_once_and_its_hook_is_due_until_it_is_done() {
    for (database, _keep) in databases("notes_hooks").await {
        let folder = tempfile::tempdir().unwrap();
        let desk = Desk::open(folder.path(), &database).await;
        desk.offer("c_1").await;
        desk.offer("c_2").await;
        let due = |desk: &Desk| {
            let recorder = desk.recorder.clone();
            async move { recorder.hooks_due().await.unwrap().into_iter().map(|call| call.id).collect::<Vec<_>>() }
        };
        assert_eq!(due(&desk).await, ["c_1", "c_2"]);
        desk.recorder.hook_done("c_1").await.unwrap();
        drop(desk);
        let desk = Desk::open(folder.path(), &database).await;
        assert_eq!(due(&desk).await, ["c_2"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_whom_a_sent_note_concerns_react_with_one_emoji_each_which_goes_with_the_note() {
    for (database, _keep) in databases("notes_reactions").await {
        let folder = tempfile::tempdir().unwrap();
        let mut desk = Desk::open(folder.path(), &database).await;
        let note = desk.offer("c_1").await.id;
        desk.record(&note, &voice(50, |_| true)).await;
        let recorder = desk.recorder.clone();
        assert!(
            matches!(recorder.react(&note, "ann", None, Some("👍")).await, Err(RecorderError::NotFound(_))),
            "not sent"
        );
        recorder.send(&note, "ann").await.unwrap();
        assert!(matches!(recorder.react(&note, "eve", None, Some("👍")).await, Err(RecorderError::NotFound(_))));
        for nothing in ["", &"x".repeat(65)] {
            assert!(matches!(
                recorder.react(&note, "bob", None, Some(nothing)).await,
                Err(RecorderError::Forbidden(_))
            ));
        }
        let said = |note: &NoteInfo| {
            let said = note.reactions.iter().map(|one| (one.user.clone(), one.emoji.clone()));
            said.collect::<Vec<_>>()
        };
        let (ann, bob) =
            (|emoji: &str| ("ann".to_owned(), emoji.to_owned()), |emoji: &str| ("bob".to_owned(), emoji.to_owned()));
        let log = recorder.event_log();
        let before = log.newest().await.unwrap();
        recorder.react(&note, "bob", Some("Bob"), Some("👍")).await.unwrap();
        recorder.react(&note, "bob", None, Some("👍")).await.unwrap();
        assert_eq!(log.newest().await.unwrap(), before + 1, "the same again changes nothing");
        recorder.react(&note, "ann", None, Some("🎉")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(said(&recorder.react(&note, "bob", None, Some("❤️")).await.unwrap()), [ann("🎉"), bob("❤️")]);
        assert_eq!(said(&recorder.react(&note, "ann", None, None).await.unwrap()), [bob("❤️")]);
        recorder.react(&note, "ann", None, None).await.unwrap();
        let told = log.after(before, 10).await.unwrap().events;
        let kinds: Vec<_> = told.iter().map(|event| event.kind.as_str()).collect();
        assert_eq!(kinds, ["note.reacted", "note.reacted", "note.reacted", "note.unreacted"]);
        assert_eq!(told[0].body["user"], "bob");
        assert_eq!(told[0].body["note"]["reactions"][0]["name"], "Bob");
        let inbox = recorder.inbox("bob", None, 10, false).await.unwrap();
        assert_eq!(said(&inbox.rows[0]), [bob("❤️")]);

        // A mind is not changed for ever, but what was said can be taken back.
        let mut changes = 2;
        let refused = loop {
            match recorder.react(&note, "bob", None, Some(["👍", "❤️"][changes % 2])).await {
                Ok(_) => changes += 1,
                Err(refused) => break refused,
            }
            assert!(changes < 1_000, "it never ends");
        };
        assert!(matches!(refused, RecorderError::TooManyChanges(50)) && changes == 50, "{refused} after {changes}");
        assert_eq!(said(&recorder.react(&note, "bob", None, None).await.unwrap()), []);
        assert!(recorder.react(&note, "bob", None, Some("👍")).await.is_err());
        assert!(recorder.react(&note, "ann", None, Some("👍")).await.is_ok(), "that is no matter of others");

        recorder.delete(&note, "ann").await.unwrap();
        assert!(matches!(recorder.react(&note, "bob", None, Some("👍")).await, Err(RecorderError::Conflict { .. })));
        recorder.delete(&note, "bob").await.unwrap();
        assert!(matches!(recorder.react(&note, "bob", None, None).await, Err(RecorderError::NotFound(_))));
    }
}
