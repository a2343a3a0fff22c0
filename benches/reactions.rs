//! What the reactions of a room cost its aggregator: a thousand people, five reactions a second each, read from JSON, checked, counted,
//! and told in one text a tick for each fifth of them. Virtual time: an iteration is a tick of 250 ms, in which 1,250 reactions come in.
//!
//! ```sh
//! cargo bench -p ringback-benches --bench reactions
//! ```

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringback_reactions::{ReactionOutput, Rights, RoomReactions, RoomReactionsConfig};

const PEOPLE: usize = 1000;
const TICK: Duration = Duration::from_millis(250);
/// Of 1,000 people who tap five times a second in a quarter second.
const REACTIONS: usize = 1250;
const EMOJI: [&str; 8] = ["👍", "❤️", "😂", "🎉", "👏🏽", "👩🏾‍🚀", "🇺🇦", "7️⃣"];

struct Scene {
    room: RoomReactions,
    now: Instant,
    ids: Vec<String>,
    messages: Vec<Vec<u8>>,
    next: usize,
}

impl Scene {
    fn new() -> Self {
        let now = Instant::now();
        let mut room = RoomReactions::new(now, RoomReactionsConfig::default());
        let ids: Vec<String> = (0..PEOPLE).map(|person| format!("participant-{person}")).collect();
        for id in &ids {
            room.join(now, id, "Somebody", Rights::GUEST);
        }
        let message = |emoji: &&str| format!(r#"{{"v":1,"type":"react","r":"{emoji}"}}"#).into_bytes();
        Self { room, now, ids, messages: EMOJI.iter().map(message).collect(), next: 0 }
    }

    /// A tick's worth of reactions. Returns how many texts there were for everybody, and how long.
    fn tick(&mut self, reactions: usize) -> (usize, usize) {
        for _ in 0..reactions {
            self.next += 1;
            let message = &self.messages[self.next / 3 % self.messages.len()];
            let handled = self.room.handle(self.now, &self.ids[self.next % PEOPLE], message);
            assert!(handled.is_ok(), "{handled:?}");
        }
        self.now += TICK;
        self.room.handle_timeout(self.now);
        let (mut texts, mut bytes) = (0, 0);
        while let Some(output) = self.room.poll_output() {
            if let ReactionOutput::ToAll { text, .. } = black_box(output) {
                texts += 1;
                bytes += text.len();
            }
        }
        (texts, bytes)
    }
}

fn aggregator(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("reactions of a thousand");
    for reactions in [REACTIONS, REACTIONS / 10, 1] {
        let mut scene = Scene::new();
        let ticks: Vec<_> = (0..4).map(|_| scene.tick(reactions)).collect();
        println!("{reactions} reactions a tick: texts and bytes: {ticks:?}");
        group.throughput(Throughput::Elements(reactions as u64));
        group.bench_function(format!("a tick with {reactions} of them"), |bencher| {
            bencher.iter(|| scene.tick(reactions));
        });
    }
    group.finish();
}

criterion_group!(benches, aggregator);
criterion_main!(benches);
