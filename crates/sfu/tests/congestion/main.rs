//! Congestion control on virtual networks, as RFC 8867 asks to try it: what it finds, how fast, what it leaves in line, and what it
//! shares. A failure names its seed. The long suite, and the tables of `docs/congestion.md`:
//! `cargo test --release -p ringback-sfu --test congestion -- --ignored --nocapture`.
#![allow(clippy::unwrap_used, unreachable_pub, missing_docs)]

mod control;
mod flow;

use std::time::Duration;

use control::{Control, Interceptor, Ours};
use flow::{Picture, Record, World};
use ringback_link::{Conditions, Network, Profile};

const FLUID: Picture = Picture::UpTo(2_500_000.0);

fn world(network: &Network, seed: u64) -> World {
    World::new(network.down.clone(), network.up.clone(), seed)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// What became of one flow.
#[derive(Debug, Clone, Copy)]
struct Summary {
    /// Of what the link took.
    used: f64,
    /// Mean and 95th percentile of the queue in ms.
    queue: (f64, f64),
    /// The longest time that it was above 300 ms, in seconds.
    over_300: f64,
    voice_late: f64,
    voice_lost: f64,
    padding: f64,
}

impl Summary {
    fn of(world: &World, flow: usize) -> Self {
        let record = world.record(flow);
        let capacity: f64 = world.capacity.iter().map(|rate| rate.min(2_552_000.0)).sum();
        let mut queues: Vec<f64> = world.queue.iter().flatten().copied().collect();
        let (mut longest, mut run) = (0_u32, 0);
        for queue in &world.queue {
            run = if queue.is_some_and(|queue| queue > 300.0) { run + 1 } else { 0 };
            longest = longest.max(run);
        }
        queues.sort_by(f64::total_cmp);
        let mut late = record.voice_delay.clone();
        late.sort_by(f64::total_cmp);
        Self {
            used: record.delivered.iter().sum::<f64>() / capacity,
            queue: (mean(&queues), queues[queues.len() * 95 / 100]),
            over_300: f64::from(longest) / 100.0,
            voice_late: late[late.len() * 95 / 100],
            voice_lost: 1.0 - record.voice.1 as f64 / record.voice.0 as f64,
            padding: record.padding_bytes as f64 / record.bytes as f64,
        }
    }
}

#[test]
fn look() {
    let name = std::env::var("NETWORK").unwrap_or("step-down-up".into());
    let seed = std::env::var("SEED").map_or(1, |seed| seed.parse().unwrap());
    let mut world = world(&Network::named(&name).unwrap(), seed);
    let picture = if std::env::var("LAYERS").is_ok() { Picture::Layers(&[150e3, 500e3, 1700e3]) } else { FLUID };
    if std::env::var("GCC").is_ok() {
        world.add(Interceptor::new(), picture, Duration::ZERO);
    } else {
        world.add(Ours::new(world.start(), 2_500_000), picture, Duration::ZERO);
    }
    world.run(std::env::var("SECONDS").map_or(60, |s| s.parse().unwrap()));
    let record = world.record(0);
    let summary = Summary::of(&world, 0);
    if std::env::var("QUIET").is_err() {
        for at in (0..record.estimates.len()).step_by(5) {
            let queue = world.queue[at * 10..(at * 10 + 50).min(world.queue.len())]
                .iter()
                .flatten()
                .fold(0.0, |a: f64, b| a.max(*b));
            let span = at..(at + 5).min(record.delivered.len());
            println!(
                "{:5.1} s  link {:7.0}  estimate {:7.0}  delivered {:7.0}  queue {queue:5.0} ms  voice late {:5.0} ms layer {}",
                at as f64 / 10.0,
                world.capacity[at] / 1e3,
                record.estimates[at] / 1e3,
                mean(&record.delivered[span.clone()]) / 1e3,
                record.voice_delay[span].iter().fold(0.0, |a: f64, b| a.max(*b)),
                record.layers[at],
            );
        }
    }
    println!(
        "{name} {seed}: used {:.2} queue {:.0}/{:.0} over300 {:.2} late {:.0} lost {:.3} padding {:.3}",
        summary.used,
        summary.queue.0,
        summary.queue.1,
        summary.over_300,
        summary.voice_late,
        summary.voice_lost,
        summary.padding
    );
    println!("changes {:?}", record.changes);
}
