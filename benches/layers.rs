//! What it costs to divide a subscriber's budget among its slots: a call of two, a page of nine faces and one of forty-nine, whose estimate moves.
//!
//! ```sh
//! cargo bench -p ringback-benches --bench layers
//! ```

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringback_sfu::allocator::{Allocator, Demand, Ladder, Rank, Rate, Taste};

/// What Chromium sends of a camera, in kbit/s: three sizes with three temporal layers each.
const CAMERA: [[u64; 3]; 3] = [[60, 90, 150], [200, 300, 500], [700, 1_000, 1_700]];

fn divide(criterion: &mut Criterion) {
    let mut ladder = Ladder::new();
    for (layer, kilobits) in (0..).zip(CAMERA) {
        let rates = kilobits.map(|kilobits| Rate { bitrate: kilobits * 1_000, peak: kilobits * 1_100 });
        ladder.push_layer(layer, &rates, Taste::Motion);
    }
    let mut group = criterion.benchmark_group("layer allocation");
    group.throughput(Throughput::Elements(1));
    for faces in [1, 9, 49] {
        let start = Instant::now();
        let mut allocator = Allocator::new();
        let mut current = vec![None; faces];
        let mut number = 0_u64;
        group.bench_function(format!("a look at {faces} faces"), |bencher| {
            bencher.iter(|| {
                number += 1;
                let now = start + Duration::from_millis(number * 100);
                allocator.budget.set(now, Some(1_000_000 + number % 100 * 50_000));
                allocator.clear();
                for (at, current) in current.iter().enumerate() {
                    let rank = if at == 0 { Rank::Focus } else { Rank::Other };
                    allocator.add(Demand { rank, area: 1, ladder, current: *current, was_paused: current.is_none() });
                }
                allocator.allocate(now, 40_000);
                for (at, current) in current.iter_mut().enumerate() {
                    *current = allocator.granted(at).map(|step| (step.layer, step.temporal));
                }
                black_box(allocator.spent())
            });
        });
    }
    group.finish();
}

criterion_group!(benches, divide);
criterion_main!(benches);
