//! Processes that are killed (SIGKILL) at random moments while they write takes, and what the next one finds: playable drafts that miss at most the last second of what was
//! pushed, rows and bytes that agree, and no leftovers. Two rounds; `RINGBACK_LONG=1` makes it thirty. No test harness, since the program is its own victim.
#![allow(clippy::unwrap_used)]

mod desk;
mod take;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use desk::{Desk, walk};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ringback_recorder::{NoteKind, NoteLimits, NoteState, TakeEvent, TakePacket};
use take::{camera, decodes_fully, events, ffmpeg_or_skip, ogg_packets, test_card, voice, webm_blocks};

/// Names the folder to a victim.
const VICTIM: &str = "RINGBACK_VICTIM";

/// What a take may miss.
const SECOND: Duration = Duration::from_secs(1);

/// A take shorter than this may be refused as too short, on top of what it may miss.
const SHORTEST: Duration = Duration::from_millis(400);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if let Some(folder) = std::env::var_os(VICTIM) {
        return runtime.block_on(victim(Path::new(&folder)));
    }
    let rounds = if std::env::var_os("RINGBACK_LONG").is_some_and(|value| value == "1") { 30 } else { 2 };
    let seed: u64 = std::env::var("RINGBACK_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("\n{rounds} processes killed while they record, RINGBACK_SEED={seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let mut most = Duration::ZERO;
    for round in 1..=rounds {
        let after = Duration::from_millis(dice.random_range(100..6_000));
        let missed = runtime.block_on(killed(after));
        println!("round {round}: killed after {} ms, the takes miss {} ms", after.as_millis(), missed.as_millis());
        most = most.max(missed);
    }
    println!("test result: ok. {rounds} kills, at most {} ms missed\n", most.as_millis());
}

/// A minute of voice, and of a camera with its microphone, the same in each process.
fn sounds() -> Vec<TakePacket> {
    voice(3_000, |_| true)
}

fn pictures() -> Vec<TakeEvent> {
    let card = test_card();
    let frames: Vec<_> = card[..30].iter().cycle().take(1_800).cloned().collect();
    events(camera(&frames, 30, 0).into_iter().chain(sounds()))
}

/// Leaves three notes in real time, and says what it pushes: one voice, one video, and one whose takes are short and follow one another, so that the end also comes while
/// files are made and drafts replaced.
async fn victim(folder: &Path) {
    let mut desk = Desk::in_folder(folder).await;
    let voice = desk.offer("voice").await.id;
    let video = desk.offer_within("video", NoteKind::Video, NoteLimits::of(NoteKind::Video)).await.id;
    let retakes = desk.offer("retakes").await.id;
    let (sounds, pictures) = (sounds(), pictures());
    let to_voice = desk.begin(&voice, &[]).await;
    let to_video = desk.begin(&video, &[]).await;
    let mut to_retakes = desk.begin(&retakes, &[]).await;
    // Past the test runner, which captures what `println` says.
    let mut out = std::io::stdout();
    let mut say = |what: &str, index: usize| writeln!(out, "{what} {index}").unwrap();
    say("begun", 0);
    let began = Instant::now();
    let (mut heard, mut seen, mut retaken) = (0, 0, 0);
    loop {
        let now = began.elapsed();
        while sounds.get(heard).is_some_and(|packet| packet.arrival <= now) {
            assert!(to_voice.push(TakeEvent::Packet(sounds[heard].clone())));
            say("voice", heard);
            to_retakes.push(TakeEvent::Packet(sounds[heard].clone()));
            (heard, retaken) = (heard + 1, retaken + 1);
        }
        while pictures.get(seen).is_some_and(|event| event.arrival() <= now) {
            assert!(to_video.push(pictures[seen].clone()));
            say("video", seen);
            seen += 1;
        }
        if retaken == 40 {
            retaken = 0;
            desk.recorder.stop(&retakes, "ann").await.unwrap();
            desk.until(NoteState::Draft).await;
            say("draft", 0);
            to_retakes = desk.begin(&retakes, &[]).await;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Lets a victim record for a while, kills it, and looks at what is left; how much the worst take misses.
async fn killed(after: Duration) -> Duration {
    let folder = tempfile::tempdir().unwrap();
    let mut victim = Command::new(std::env::current_exe().unwrap());
    let mut victim = victim.env(VICTIM, folder.path()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(victim.stdout.take().unwrap()).lines();
    assert_eq!(said.next().unwrap().unwrap(), "begun 0");
    let reader = std::thread::spawn(move || {
        let (mut heard, mut seen, mut drafted) = (0, 0, false);
        for line in said {
            // The last line may be torn.
            let Ok(line) = line else { break };
            let Some((what, index)) = line.split_once(' ').map(|(what, index)| (what, index.parse::<usize>())) else {
                break;
            };
            match (what, index) {
                ("voice", Ok(index)) => heard = index + 1,
                ("video", Ok(index)) => seen = index + 1,
                ("draft", Ok(_)) => drafted = true,
                _ => break,
            }
        }
        (heard, seen, drafted)
    });
    tokio::time::sleep(after).await;
    // `kill` is SIGKILL.
    victim.kill().unwrap();
    victim.wait().unwrap();
    let (heard, seen, drafted) = reader.join().unwrap();

    let desk = Desk::in_folder(folder.path()).await;
    let open = desk.recorder.open_notes("ann").await.unwrap();
    assert!(open.iter().all(|note| note.state == NoteState::Draft && note.room.is_none()), "{open:?}");
    assert!(walk(&folder.path().join("spool")).is_empty(), "takes that are done with stay");
    let of = |call: &str| open.iter().find(|note| note.call == call);
    let played = folder.path().join("played");

    let sounds = sounds();
    let pushed = &sounds[..heard];
    let missed_sound = match of("voice") {
        None => too_little(pushed.last().map(|packet| packet.arrival)),
        Some(note) => {
            let file = desk.file(&note.id, "ann").await.unwrap();
            let (kept, _) = ogg_packets(&file);
            let pushed: Vec<_> = sounds.iter().take(kept.len()).map(|packet| packet.payload.to_vec()).collect();
            assert_eq!(kept, pushed, "what is kept is what was pushed");
            plays(&file, &played.with_extension("ogg"));
            Duration::from_millis(20) * u32::try_from(heard.saturating_sub(kept.len())).unwrap()
        }
    };
    let pictures = pictures();
    let last = |count: usize| count.checked_sub(1).map(|last| pictures[last].arrival());
    let missed_picture = match of("video") {
        None => too_little(last(seen)),
        Some(note) => {
            let file = desk.file(&note.id, "ann").await.unwrap();
            plays(&file, &played.with_extension("webm"));
            let end = webm_blocks(&file).iter().map(|block| block.ms).max().unwrap();
            assert!(webm_blocks(&file).iter().any(|block| block.track == 1), "no picture");
            last(seen).unwrap_or_default().saturating_sub(Duration::from_millis(u64::try_from(end).unwrap()))
        }
    };
    // Whatever became of the last take, what was a draft once is one.
    assert!(!drafted || of("retakes").is_some());
    if let Some(note) = of("retakes") {
        let file = desk.file(&note.id, "ann").await.unwrap();
        plays(&file, &played.with_extension("retake.ogg"));
        assert_eq!(file.len() as u64, note.size, "rows and bytes agree");
    }
    let missed = missed_sound.max(missed_picture);
    assert!(missed <= SECOND, "{} ms are missing", missed.as_millis());
    // All that is kept is referred to: a young orphan is left for the sweep, and there may be one of the take that was being kept.
    let bytes = walk(&folder.path().join("media")).len();
    assert!(bytes <= open.len() + 3, "{bytes} objects of {} notes", open.len());
    for note in &open {
        desk.recorder.send(&note.id, "ann").await.unwrap();
    }
    assert_eq!(desk.recorder.unheard("bob").await.unwrap(), open.len() as u64);
    missed
}

/// A take of which nothing is left must have been so short.
fn too_little(pushed: Option<Duration>) -> Duration {
    let pushed = pushed.unwrap_or_default();
    assert!(pushed <= SECOND + SHORTEST, "{} ms were pushed and there is no draft", pushed.as_millis());
    pushed.min(SECOND)
}

fn plays(file: &[u8], path: &Path) {
    std::fs::write(path, file).unwrap();
    if ffmpeg_or_skip("killed") {
        decodes_fully(path);
    }
}
