//! What a voice packet costs the speaker detector: a room of four and one of twenty-five, one speaking.
//!
//! ```sh
//! cargo bench -p ringback-benches --bench speaker
//! ```

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringback_sfu::ParticipantId;
use ringback_sfu::stage::{Detector, Preset, StageDetector};

fn packet(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("speaker detector");
    group.throughput(Throughput::Elements(1));
    for people in [4, 25] {
        let start = Instant::now();
        let mut detector = Detector::new(Preset::Balanced);
        for id in 0..people {
            detector.join(start, ParticipantId(id), false);
        }
        let mut number = 0_u64;
        group.bench_function(format!("a packet in a room of {people}"), |bencher| {
            bencher.iter(|| {
                number += 1;
                let (round, id) = (number / people, number % people);
                let speaks = round / 150 % people == id;
                let level = if speaks { 22 + (round * 7 % 13) } else { 66 + (round * 5 % 4) } as u8;
                let now = start + Duration::from_millis(round * 20);
                black_box(detector.on_level(now, ParticipantId(id), (round * 960) as u32, level, true))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, packet);
criterion_main!(benches);
