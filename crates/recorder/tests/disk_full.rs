//! A disk that fills up while a take is recorded, on a small file system made for it: the take ends with a clear reason, what is on disk becomes a draft, and where even
//! that has no room it waits. Needs the right to mount; says so where there is none.
#![allow(clippy::unwrap_used)]

mod desk;
mod take;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use desk::{Desk, walk};
use ringback_recorder::{NoModeration, NoteKind, NoteLimits, NoteState, RecorderConfig, TakeEvent, TakePacket};
use take::{camera, decodes_fully, ffmpeg_or_skip, ogg_packets, test_card, voice};

/// A file system in memory; gone when this is dropped.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    fn mount(test: &str, megabytes: u32) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"]).arg(folder.path());
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        if !mounted {
            let _ = writeln!(std::io::stderr(), "SKIPPED {test}: no tmpfs can be mounted (it takes root)");
            return None;
        }
        Some(Self { folder })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Leaves no room at all.
    fn fill(&self) -> PathBuf {
        let path = self.path().join("ballast");
        let mut file = std::fs::File::create(&path).unwrap();
        for size in [1 << 20, 4_096, 1] {
            while file.write_all(&vec![7; size]).is_ok() {}
        }
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the recorder's thread may still have a file open.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

/// Rows elsewhere: a database needs room of its own.
async fn desk(disk: &Disk, rows: &Path) -> Desk {
    let database = Some(format!("sqlite://{}", rows.join("rows.sqlite").display()));
    Desk::configured(RecorderConfig { database, ..RecorderConfig::new(disk.path()) }, Arc::new(NoModeration)).await
}

fn payloads(packets: &[TakePacket]) -> Vec<Vec<u8>> {
    packets.iter().map(|packet| packet.payload.to_vec()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_take_ends_while_its_file_still_fits_on_the_disk() {
    let Some(disk) = Disk::mount("a_take_ends_while_its_file_still_fits_on_the_disk", 24) else { return };
    // Rows and all on the same disk.
    let mut desk = Desk::in_folder(disk.path()).await;
    let note = desk.offer_within("c_1", NoteKind::Video, NoteLimits::of(NoteKind::Video)).await.id;
    let writer = desk.begin(&note, &[]).await;
    let card = test_card();
    let frames: Vec<_> = card.iter().cycle().take(30 * 600).cloned().collect();
    let began = Instant::now();
    let mut pushed = 0;
    // Some 3 MB a second, of which 8 fit.
    for packets in camera(&frames, 30, 0).chunks(300) {
        for packet in packets {
            pushed += usize::from(writer.push(TakeEvent::Packet(packet.clone())));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        if desk.recorder.note(&note, "ann").await.unwrap().state != NoteState::Recording {
            break;
        }
    }
    assert!(began.elapsed() < Duration::from_secs(30), "{pushed} packets");
    let draft = desk.until(NoteState::Draft).await;
    assert_eq!(draft.reason.as_deref(), Some("disk"));
    assert!(draft.duration_ms > 30_000, "{} ms", draft.duration_ms);
    if ffmpeg_or_skip("a_take_ends_while_its_file_still_fits_on_the_disk") {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("note.webm");
        std::fs::write(&path, desk.file(&note, "ann").await.unwrap()).unwrap();
        decodes_fully(&path);
    }
    desk.recorder.send(&note, "ann").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_at_once_ends_the_take_and_its_draft_comes_when_there_is_room() {
    let Some(disk) = Disk::mount("a_disk_that_is_full_at_once_ends_the_take", 24) else { return };
    let rows = tempfile::tempdir().unwrap();
    let mut desk = desk(&disk, rows.path()).await;
    let note = desk.offer("c_1").await.id;
    let packets = voice(400, |_| true);
    let writer = desk.begin(&note, &packets[..200]).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let ballast = disk.fill();
    for packet in &packets[200..] {
        writer.push(TakeEvent::Packet(packet.clone()));
    }
    let ended = desk.until(NoteState::Saving).await;
    assert_eq!(ended.reason.as_deref(), Some("disk"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    std::fs::remove_file(ballast).unwrap();
    let draft = desk.until(NoteState::Draft).await;
    assert_eq!(draft.reason.as_deref(), Some("disk"));
    let (kept, _) = ogg_packets(&desk.file(&note, "ann").await.unwrap());
    assert!(kept.len() >= 200, "{} packets", kept.len());
    assert_eq!(kept, payloads(&packets[..kept.len()]));
    assert!(walk(&disk.path().join("spool")).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_take_that_never_found_room_is_a_draft_after_a_restart_with_room() {
    let Some(disk) = Disk::mount("a_take_that_never_found_room_is_a_draft_after_a_restart", 24) else { return };
    let rows = tempfile::tempdir().unwrap();
    let packets = voice(200, |_| true);
    let (note, ballast) = {
        let mut desk = desk(&disk, rows.path()).await;
        let note = desk.offer("c_1").await.id;
        let _writer = desk.begin(&note, &packets).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let ballast = disk.fill();
        let back = loop {
            let event = tokio::time::timeout(Duration::from_secs(30), desk.events.recv()).await.unwrap().unwrap();
            if let ringback_recorder::RecorderEvent::Note { note, .. } = event
                && note.state == NoteState::Offered
            {
                break note;
            }
        };
        assert_eq!(back.reason.as_deref(), Some("disk"));
        (note, ballast)
    };
    std::fs::remove_file(ballast).unwrap();
    let desk = desk(&disk, rows.path()).await;
    let draft = desk.recorder.note(&note, "ann").await.unwrap();
    assert_eq!((draft.state, draft.reason.as_deref()), (NoteState::Draft, Some("disk")));
    assert_eq!(ogg_packets(&desk.file(&note, "ann").await.unwrap()).0, payloads(&packets));
}
