//! What leaving notes costs one core: a packet from the tap to the spool, with hundreds of takes at once, and the file that is made of a take. At its end it says how many
//! voice notes one core records at the same time, all in.
//!
//! ```sh
//! cargo bench -p ringback-benches --bench notes
//! ```

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use criterion::{Criterion, Throughput};
use ringback_recorder::{
    CallRow, Codec, FileOptions, NewNote, NoModeration, NoteKind, NoteLimits, Recorder, RecorderConfig, RecorderEvent,
    TakeEvent, TakePacket, TakeWriter, TrackKind, make_file,
};

/// Packets of a microphone a second.
const RATE: u32 = 50;

/// How long a note is.
const LENGTH: Duration = Duration::from_secs(60);

fn main() -> anyhow::Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    // In test mode it is enough that it runs.
    let takes = if std::env::args().any(|argument| argument == "--bench") { 500 } else { 20 };
    let packet = write_packets(&mut criterion, takes)?;
    let file = make_files(&mut criterion)?;
    criterion.final_summary();
    if let (Some(packet), Some(file)) = (packet, file) {
        let written = packet.as_secs_f64() * f64::from(RATE);
        let made = file.as_secs_f64() / LENGTH.as_secs_f64();
        println!(
            "{takes} voice notes at once: {:.0} ns of processor a packet, {:.1} ms for the file of {} s; one core records {:.0} at the same time ({:.0} before any file is made)",
            packet.as_secs_f64() * 1e9,
            file.as_secs_f64() * 1e3,
            LENGTH.as_secs(),
            1.0 / (written + made),
            1.0 / written,
        );
    }
    Ok(())
}

/// Many takes at once, faster than in real time; the processor time of one packet, from the push to the operating system, on whatever thread.
fn write_packets(criterion: &mut Criterion, takes: usize) -> anyhow::Result<Option<Duration>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let folder = tempfile::tempdir()?;
    // The recorder is held: without it the takes end.
    let (_recorder, writers) = runtime.block_on(begin(folder.path(), takes))?;
    // Payloads are parts of larger pieces of memory, as the tap hands them out.
    let memory = Bytes::from(vec![0x78; 64 * 1024]);
    let (mut sequence, mut last) = (0_u32, None);
    let mut group = criterion.benchmark_group("notes");
    group.throughput(Throughput::Elements(takes as u64)).sample_size(10);
    group.bench_function(format!("a packet for each of {takes} takes, written"), |bencher| {
        bencher.iter_custom(|rounds| {
            let before = processor_time();
            for round in 1..=rounds {
                sequence += 1;
                for (index, writer) in writers.iter().enumerate() {
                    let at = (sequence as usize * 97 + index * 80) % (64 * 1024 - 80);
                    let event = TakeEvent::Packet(packet(sequence, memory.slice(at..at + 80)));
                    assert!(writer.push(black_box(event)), "take {index} is over");
                }
                // As much as arrives between two writes in real time; what comes faster waits in memory as it never does.
                if round.is_multiple_of(u64::from(RATE / 5)) || round == rounds {
                    std::thread::sleep(Duration::from_millis(210));
                }
            }
            let spent = processor_time() - before;
            last = Some(spent / u32::try_from(rounds).unwrap_or(u32::MAX) / u32::try_from(takes).unwrap_or(u32::MAX));
            spent
        });
    });
    group.finish();
    Ok(last)
}

/// What is done once a take is over; its processor time.
fn make_files(criterion: &mut Criterion) -> anyhow::Result<Option<Duration>> {
    let mut encoder = opus::Encoder::new(48_000, opus::Channels::Mono, opus::Application::Voip)?;
    let mut phase = 0.0_f32;
    let mut events = Vec::new();
    for sequence in 0..u32::try_from(LENGTH.as_secs())? * RATE {
        // A voice that rises and falls, with its overtones.
        let pitch = 140.0 + 60.0 * (sequence as f32 / 17.0).sin();
        let pcm: Vec<f32> = (0..960)
            .map(|_| {
                phase = (phase + pitch / 48_000.0).fract();
                let overtones = (1..=12).map(|n| (phase * n as f32 * std::f32::consts::TAU).sin() / n as f32);
                0.2 * overtones.sum::<f32>()
            })
            .collect();
        events.push(TakeEvent::Packet(packet(sequence, encoder.encode_vec_float(&pcm, 1_275)?.into())));
    }
    let mut last = None;
    let mut group = criterion.benchmark_group("notes");
    group.sample_size(10);
    group.bench_function("the file of a minute of voice", |bencher| {
        bencher.iter_custom(|rounds| {
            let before = processor_time();
            for _ in 0..rounds {
                let file = make_file(NoteKind::Voice, black_box(&events), &FileOptions::default());
                assert!(file.is_ok_and(|file| file.duration > LENGTH / 2));
            }
            let spent = processor_time() - before;
            last = Some(spent / u32::try_from(rounds).unwrap_or(u32::MAX));
            spent
        });
    });
    group.finish();
    Ok(last)
}

fn packet(sequence: u32, payload: Bytes) -> TakePacket {
    TakePacket {
        track: TrackKind::Audio,
        codec: Codec::Opus,
        arrival: Duration::from_millis(u64::from(sequence) * 20),
        sequence: sequence as u16,
        timestamp: sequence.wrapping_mul(960),
        marker: false,
        level: Some(30),
        payload,
    }
}

/// A recorder with so many takes under way.
async fn begin(folder: &std::path::Path, takes: usize) -> anyhow::Result<(Recorder, Vec<TakeWriter>)> {
    let recorder = Recorder::open(RecorderConfig::new(folder), Arc::new(NoModeration)).await?;
    let mut events = recorder.events().context("the events were taken before")?;
    let mut writers = Vec::new();
    for index in 0..takes {
        let call = CallRow {
            id: format!("c_{index}"),
            kind: NoteKind::Voice,
            thread: "t".to_owned(),
            caller: "ann".to_owned(),
            callees: vec!["bob".to_owned()],
            outcome: "no_answer".to_owned(),
            placed_at: 1,
            ended_at: 2,
            ring_ms: 1,
            talk_ms: 0,
            acknowledged: true,
            details: serde_json::Value::Null,
            hook_done: true,
        };
        recorder.call_ended(&call).await?;
        let limits = NoteLimits { max: Duration::from_secs(24 * 3_600), ..NoteLimits::of(NoteKind::Voice) };
        let new = NewNote {
            call: call.id,
            thread: call.thread,
            room: "r".to_owned(),
            kind: NoteKind::Voice,
            from: "ann".to_owned(),
            from_name: "Ann".to_owned(),
            to: call.callees,
            limits,
        };
        let note = recorder.offer(new).await?;
        recorder.record(&note.id, "ann", true).await?;
        while let Some(event) = events.recv().await {
            if let RecorderEvent::StartTake { writer, .. } = event {
                writers.push(writer);
                break;
            }
        }
    }
    Ok((recorder, writers))
}

/// What all threads of this process have spent so far.
fn processor_time() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux tells what threads spend");
    let spent = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(spent.sum())
}
