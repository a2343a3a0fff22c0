//! The hot loop by itself, for instruction counts: a datagram of a camera to its sealed copies for twenty subscribers, a thousand times.
//!
//! ```sh
//! cargo bench -p ringback-benches --bench hot_loop --no-run
//! valgrind --tool=callgrind --toggle-collect='*DryRoom*take*' --callgrind-out-file=hot_loop.out target/release/deps/hot_loop-* --bench
//! callgrind_annotate hot_loop.out | head -40
//! ```
//!
//! Only what happens in `DryRoom::take` is counted, so neither the way there nor the publisher's own sealing. Alone, it prints how many packets it
//! forwarded, by which the instructions are to be divided.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../crates/sfu/tests/peer/mod.rs"]
mod peer;
#[path = "stage.rs"]
mod stage;

use peer::Format;
use ringback_transport::srtp::SrtpProfile;
use stage::Stage;

const SUBSCRIBERS: u64 = 20;

fn main() {
    let argument = |wanted: &str| std::env::args().any(|argument| argument == wanted);
    // `cargo bench` says `--bench`, `cargo test --benches` says nothing.
    let packets = if argument("--bench") && !argument("--test") { 1_000 } else { 10 };
    let format = if argument("--av1") { Format::Av1 } else { Format::Vp8 };
    let mut stage = Stage::new(format, SUBSCRIBERS, Some(SrtpProfile::AeadAes128Gcm));
    let before = stage.room.packets();
    for _ in 0..packets {
        let mut face = stage.face();
        stage.take(&mut face);
    }
    let forwarded = stage.room.packets() - before;
    assert_eq!(forwarded, packets * SUBSCRIBERS);
    println!("{packets} datagrams in, {forwarded} sealed packets out");
}
