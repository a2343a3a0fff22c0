//! What travelling together saves: frames cut as libwebrtc cuts them, with and without levelling, and a room to which many listen, with and without voices that wait for one
//! another. A whole worker with real ICE, DTLS and SRTP over loopback, and CPU time of its thread, as in `forwarding`.
//!
//! `cargo bench -p ringback-benches --bench trains`; with `-- --test`, and in `cargo test --benches`, it runs for a moment.
#![allow(clippy::unwrap_used, missing_docs)]

mod measured;
#[path = "../crates/sfu/tests/peer/mod.rs"]
mod peer;

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use measured::{Measured, drain, runtime};
use peer::call::Call;
use peer::media::{CAMERA, LEVEL, MICROPHONE, MID, OPUS, VP8, rtp, vp8};
use peer::{Peer, Spec};
use ringback_sfu::{RoomConfig, RoomId, WorkerConfig, WorkerHandle, WorkerStatistics};
use ringback_transport::dtls::Certificate;

const ROOM: RoomId = RoomId(2);

/// From then on a network that never answered counts as one that takes everything.
const UNANSWERED: Duration = Duration::from_millis(2_500);

/// A worker on its own thread, with so many in a room.
fn worker(people: usize, config: WorkerConfig, spec: impl Fn(usize) -> Spec) -> (Measured, WorkerHandle, Vec<Peer>) {
    let (measured, (handle, mut call)) = Measured::spawn(async |stopped, up| {
        let call = Call::with(config).await;
        up.send((call.handle.clone(), call)).unwrap();
        let _ = stopped.await;
    });
    runtime().block_on(async {
        handle.open_room(ROOM, RoomConfig::default().with_max_participants(people)).await.unwrap();
        for at in 0..people {
            call.join_room(ROOM, spec(at)).await;
            // Handshakes in between, so that none is late at the end.
            call.pump();
        }
        call.connect().await;
        call.run(Duration::from_millis(200)).await;
    });
    (measured, handle, call.peers)
}

fn config() -> WorkerConfig {
    WorkerConfig::new(vec!["127.0.0.1:0".parse().unwrap()], Certificate::generate().unwrap())
}

/// Sends rounds of packets for so long, and prints what the worker did meanwhile. `send` gets the number of the round and returns how many packets are due to whoever listens.
fn measure(
    name: &str,
    (measured, handle, mut peers): (Measured, WorkerHandle, Vec<Peer>),
    senders: usize,
    every: Duration,
    (warm_up, time): (Duration, Duration),
    mut send: impl FnMut(&mut [Peer], u64),
) {
    let listeners = peers.split_off(senders);
    let (running, count, drainer) = drain(listeners);
    let statistics = || runtime().block_on(handle.statistics()).unwrap();
    let began = Instant::now();
    let mut before: Option<(WorkerStatistics, Duration, u64, Instant)> = None;
    let mut round = 0;
    while began.elapsed() < warm_up + time {
        if before.is_none() && began.elapsed() >= warm_up {
            before = Some((statistics(), measured.cpu(), count.load(Ordering::Relaxed), Instant::now()));
        }
        send(&mut peers, round);
        round += 1;
        let due = began + every.mul_f64(round as f64);
        while let Some(left) = due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            if left > Duration::from_micros(150) {
                peers.iter_mut().for_each(Peer::pump);
                thread::sleep(due.saturating_duration_since(Instant::now()).saturating_sub(Duration::from_micros(100)));
            }
        }
    }
    thread::sleep(Duration::from_millis(200));
    let (before, cpu, arrived, since) = before.unwrap();
    let (after, cpu) = (statistics(), measured.cpu() - cpu);
    let sent =
        after.packets_forwarded - before.packets_forwarded - (after.datagrams_dropped - before.datagrams_dropped);
    let trains = after.trains_sent - before.trains_sent;
    println!(
        "  {name:<28} {:>8.0} packets/CPU-s   {:>5.2} us each   {:>5.2} a train   {:>4} B of padding for 100 packets   {:>6.0} packets/s   arrived {:>6.2} %",
        sent as f64 / cpu.as_secs_f64(),
        1e6 * cpu.as_secs_f64() / sent as f64,
        sent as f64 / trains as f64,
        100 * (after.padding_sent - before.padding_sent) / sent.max(1),
        sent as f64 / since.elapsed().as_secs_f64(),
        100.0 * (count.load(Ordering::Relaxed) - arrived) as f64 / sent as f64,
    );
    assert!(sent > 0, "nothing was forwarded");
    running.store(false, Ordering::Relaxed);
    drainer.join().unwrap();
    runtime().block_on(handle.shutdown());
    measured.stop();
}

/// The pieces of a frame, as libwebrtc cuts one: of nearly one size, the larger ones last.
fn pieces(frame: u64) -> impl Iterator<Item = (usize, bool)> {
    const LIMIT: usize = 1_150;
    let bytes = 8_300 + (frame * 353 % 800) as usize;
    let count = bytes.div_ceil(LIMIT);
    let (size, larger) = (bytes / count, bytes % count);
    (0..count).map(move |at| (size + usize::from(at >= count - larger), at + 1 == count))
}

fn frames(name: &str, levelling: bool, subscribers: usize, rate: f64, times: (Duration, Duration)) {
    let mut config = config();
    config.trains.levelling = levelling;
    let spec = |at| match at {
        0 => Spec { microphone: true, camera: true, ..Spec::default() },
        _ => Spec { pairs: 1, ..Spec::default() },
    };
    let call = worker(subscribers + 1, config, spec);
    let mut sequence = 0_u16;
    measure(name, call, 1, Duration::from_secs_f64(1.0 / rate), times, |peers, frame| {
        for (at, (size, is_last)) in pieces(frame).enumerate() {
            let mut payload = vp8(frame as u16 & 0x7FFF, frame == 0, at == 0);
            payload.resize(size, 0xA5);
            let mut packet = rtp(CAMERA, VP8, sequence, (frame as u32).wrapping_mul(3000), &[(MID, b"cam")], &payload);
            packet[1] |= u8::from(is_last) << 7;
            peers[0].send_rtp(&packet);
            sequence = sequence.wrapping_add(1);
        }
    });
}

/// Talkers whose packets come every 20 ms, each at a time of its own, or all together.
fn voices(name: &str, wait: Duration, together: bool, listeners: usize, times: (Duration, Duration)) {
    const TALKERS: usize = 10;
    let mut config = config();
    config.trains.voice_wait = wait;
    let spec = |at| match at < TALKERS {
        true => Spec { microphone: true, ..Spec::default() },
        false => Spec { pairs: 3, ..Spec::default() },
    };
    let call = worker(TALKERS + listeners, config, spec);
    let steps = if together { 1 } else { TALKERS };
    measure(name, call, TALKERS, Duration::from_millis(20) / steps as u32, times, |peers, step| {
        let (round, turn) = (step / steps as u64, step as usize % steps);
        // Those who are loud come at 0, 12 and 16 ms: as near to one another as chance has it on the average.
        let has_turn = |talker: &usize| together || talker * 7 % TALKERS == turn;
        for talker in (0..TALKERS).filter(has_turn) {
            // Three who are loud, and others who are not.
            let level = if talker % 4 == 0 { 0x80 | 25 } else { 0x80 | 60 };
            // Sizes as of a voice at 32 kbit/s, which move a little.
            let payload = vec![talker as u8; 76 + (round as usize * 7 + talker * 3) % 9];
            let extensions: &[(u8, &[u8])] = &[(LEVEL, &[level]), (MID, b"mic")];
            let packet = rtp(MICROPHONE, OPUS, round as u16, (round as u32).wrapping_mul(960), extensions, &payload);
            peers[talker].send_rtp(&packet);
        }
    });
}

fn main() {
    let is_test = !std::env::args().any(|argument| argument == "--bench");
    let ms = Duration::from_millis;
    let times = if is_test { (ms(100), ms(300)) } else { (UNANSWERED, ms(5_000)) };
    let (subscribers, rate) = if is_test { (3, 30.0) } else { (20, 1_200.0) };
    println!("frames cut by libwebrtc, 1 -> {subscribers}, {rate} frames of 8 a second");
    frames("as they come", false, subscribers, rate, times);
    frames("levelled", true, subscribers, rate, times);
    let listeners = if is_test { 5 } else { 500 };
    println!("voices, 10 talkers -> {listeners} listeners, the loudest 3");
    for (name, together) in [("all at once", true), ("each at its time", false)] {
        for wait in [ms(0), ms(5)] {
            voices(&format!("{name}, {wait:?} wait"), wait, together, listeners, times);
        }
    }
}
