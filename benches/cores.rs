//! What spanning workers costs and saves, and what those cost with whom nothing happens, through whole workers with real ICE, DTLS and SRTP over loopback.
//!
//! `cargo bench -p ringback-benches --bench cores` prints, in CPU time of the workers' threads: a room on one worker beside the same room on two; what a
//! packet costs beside more and more members who are muted or have hidden everybody; and what idle connections cost, their timers and their STUN apart. With
//! `-- idle` it measures the last alone, with `-- --test`, and in `cargo test --benches`, it runs for a moment, to see that it works.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../crates/sfu/tests/peer/mod.rs"]
mod peer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use peer::call::Call;
use peer::media::{CAMERA, MID, VP8, rtp, vp8};
use peer::{Peer, Spec};
use ringback_sfu::{RoomConfig, RoomId, SlotView, Source, WorkerStatistics};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

/// Packets of one picture.
const BURST: u64 = 8;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A worker on a thread of its own, whose CPU time can be read, with a call on it.
struct Measured {
    call: Call,
    schedstat: PathBuf,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Measured {
    /// A worker, or with `first` another one of its room.
    fn new(first: Option<&Self>) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (up, is_up) = std::sync::mpsc::channel();
        let beside = first.map(|first| (first.call.handle.clone(), first.call.offset));
        let thread = thread::spawn(move || {
            let thread = std::fs::read_link("/proc/thread-self").unwrap();
            runtime().block_on(async {
                let call = match beside {
                    Some((handle, offset)) => Call::beside_worker(&handle, offset).await,
                    None => Call::new().await,
                };
                up.send((call, PathBuf::from("/proc").join(thread).join("schedstat"))).unwrap();
                let _ = stopped.await;
            });
        });
        let (call, schedstat) = is_up.recv().unwrap();
        Self { call, schedstat, stop, thread }
    }

    fn cpu(&self) -> Duration {
        let text = std::fs::read_to_string(&self.schedstat).unwrap();
        Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
    }

    fn statistics(&self) -> WorkerStatistics {
        runtime().block_on(self.call.handle.statistics()).unwrap()
    }

    fn join(&mut self, people: usize, spec: Spec) {
        runtime().block_on(async {
            for _ in 0..people {
                self.call.join(spec).await;
            }
            self.call.connect().await;
            self.call.run(Duration::from_millis(200)).await;
        });
    }

    fn end(self) {
        runtime().block_on(self.call.handle.shutdown());
        let _ = self.stop.send(());
        self.thread.join().unwrap();
    }
}

/// Keeps peers alive and empties their sockets, on a thread of its own.
fn drain(mut peers: Vec<Peer>) -> (Arc<AtomicBool>, JoinHandle<u64>) {
    let running = Arc::new(AtomicBool::new(true));
    let is_running = running.clone();
    let thread = thread::spawn(move || {
        while is_running.load(Ordering::Relaxed) {
            for peer in &mut peers {
                peer.keep = false;
                peer.pump();
            }
            thread::sleep(Duration::from_micros(100));
        }
        peers.iter().map(|peer| peer.rtp_count).sum()
    });
    (running, thread)
}

/// Sends pictures at this many packets a second.
fn offer(publisher: &mut Peer, rate: u64, time: Duration) -> u64 {
    let began = Instant::now();
    let mut number = 0;
    while began.elapsed() < time {
        let due = began + Duration::from_secs_f64(number as f64 / rate as f64);
        publisher.pump();
        thread::sleep(due.saturating_duration_since(Instant::now()));
        for _ in 0..BURST {
            publisher.send_rtp(&camera(number + 1));
            number += 1;
        }
    }
    number
}

fn camera(number: u64) -> Vec<u8> {
    let mut payload = vp8(number as u16 & 0x7FFF, number == 0, true);
    payload.resize(1150, 0xA5);
    rtp(CAMERA, VP8, number as u16, (number / BURST) as u32 * 3000, &[(MID, b"cam")], &payload)
}

/// Lets the first peer of the first worker send a camera, and returns what each worker forwarded and how long it worked for that.
fn send(workers: &mut [Measured], rate: u64, time: Duration) -> Vec<(WorkerStatistics, WorkerStatistics, Duration)> {
    let mut publisher = workers[0].call.peers.remove(0);
    let others = workers.iter_mut().flat_map(|worker| std::mem::take(&mut worker.call.peers)).collect();
    let (running, drainer) = drain(others);
    publisher.send_rtp(&camera(0));
    thread::sleep(Duration::from_millis(300));
    let before: Vec<_> = workers.iter().map(|worker| (worker.statistics(), worker.cpu())).collect();
    offer(&mut publisher, rate, time);
    thread::sleep(Duration::from_millis(200));
    let work = |(worker, (before, cpu)): (&Measured, (WorkerStatistics, Duration))| {
        (before, worker.statistics(), worker.cpu().saturating_sub(cpu))
    };
    let done = workers.iter().zip(before).map(work).collect();
    running.store(false, Ordering::Relaxed);
    drainer.join().unwrap();
    done
}

/// One publisher to so many subscribers, on one worker and on two; and to half of them on one, which tells what of the difference is due to smaller batches.
fn measure_spanning(subscribers: usize, rate: u64, time: Duration) {
    println!(
        "1 -> {subscribers} in bursts of {BURST}, {rate} packets/s offered, {} to forward",
        rate * subscribers as u64
    );
    let publisher = Spec { camera: true, ..Spec::default() };
    let subscriber = Spec { pairs: 1, ..Spec::default() };
    for (parts, subscribers) in [(1, subscribers), (1, subscribers / 2), (2, subscribers)] {
        println!(" to {subscribers}");
        let mut workers = vec![Measured::new(None)];
        if parts == 2 {
            workers.push(Measured::new(Some(&workers[0])));
        }
        workers[0].join(1, publisher);
        for worker in &mut workers {
            worker.join(subscribers / parts, subscriber);
        }
        for (at, (before, after, cpu)) in send(&mut workers, rate, time).into_iter().enumerate() {
            let forwarded = after.packets_forwarded - before.packets_forwarded;
            println!(
                "  worker {} of {parts}: {forwarded:>8} forwarded, {:>8.0} packets/CPU-s; {} handed over, {} dropped, {} taken",
                at + 1,
                forwarded as f64 / cpu.as_secs_f64(),
                after.packets_relayed - before.packets_relayed,
                after.relays_dropped - before.relays_dropped,
                after.packets_from_shards - before.packets_from_shards,
            );
        }
        workers.into_iter().for_each(Measured::end);
    }
}

/// What a forwarded packet costs beside so many members who take no part.
fn measure_bystanders(counts: &[usize], rate: u64, time: Duration) {
    println!("1 -> 20 in bursts of {BURST} beside others, {rate} packets/s offered");
    for (what, is_hidden) in [("muted", false), ("hiding", true)] {
        for &others in counts {
            let mut worker = Measured::new(None);
            worker.join(1, Spec { camera: true, ..Spec::default() });
            worker.join(20, Spec { pairs: 1, ..Spec::default() });
            worker.join(
                others,
                match is_hidden {
                    true => Spec { pairs: 1, ..Spec::default() },
                    false => Spec { microphone: true, camera: true, ..Spec::default() },
                },
            );
            runtime().block_on(async {
                for at in 21..21 + others {
                    let id = worker.call.id(at);
                    if is_hidden {
                        let view = SlotView { mid: "v0".into(), width: 0, height: 0 };
                        worker.call.handle.set_view(id, vec![view]).await.unwrap();
                        continue;
                    }
                    for source in [Source::Microphone, Source::Camera] {
                        worker.call.handle.set_muted(id, source, true).await.unwrap();
                    }
                }
            });
            let mut workers = [worker];
            let (before, after, cpu) = send(&mut workers, rate, time).remove(0);
            let forwarded = after.packets_forwarded - before.packets_forwarded;
            println!("  {others:>4} {what:<6} {:>6.2} us a packet", cpu.as_secs_f64() * 1e6 / forwarded as f64);
            let [worker] = workers;
            worker.end();
        }
    }
}

/// What connections cost over which nothing flows, two in each room. Returns the share of a core that their timers take.
fn measure_idle(people: usize, settle: Duration, time: Duration) -> f64 {
    let mut worker = Measured::new(None);
    let spec = Spec { microphone: true, camera: true, pairs: 8, ..Spec::default() };
    runtime().block_on(async {
        for at in 0..people {
            let room = RoomId(at as u64 / 2 + 10);
            if at % 2 == 0 {
                worker.call.handle.open_room(room, RoomConfig::default()).await.unwrap();
            }
            worker.call.join_room(room, spec).await;
            worker.call.pump();
        }
        worker.call.connect().await;
        for at in 0..people {
            worker.call.send_voice(at, 127);
        }
    });
    let checks = Arc::new(AtomicBool::new(true));
    let running = Arc::new(AtomicBool::new(true));
    let (sends_checks, is_running) = (checks.clone(), running.clone());
    let mut peers = std::mem::take(&mut worker.call.peers);
    let participants = thread::spawn(move || {
        while is_running.load(Ordering::Relaxed) {
            for peer in &mut peers {
                peer.check = sends_checks.load(Ordering::Relaxed);
                peer.pump();
            }
            thread::sleep(Duration::from_millis(20));
        }
    });
    thread::sleep(settle);
    println!("{people} idle connections (microphone, camera, 8 slot pairs; two in each room)");
    let mut timers = 0.0;
    for (what, with_checks) in [("timers alone", false), ("with their STUN", true)] {
        checks.store(with_checks, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(100));
        let (cpu, before) = (worker.cpu(), worker.statistics());
        thread::sleep(time);
        let (cpu, after) = (worker.cpu() - cpu, worker.statistics());
        let (came, sent) =
            (after.datagrams_received - before.datagrams_received, after.datagrams_sent - before.datagrams_sent);
        println!(
            "  {what:<16} {:>7.4} % of a core, {came} datagrams received, {sent} sent",
            100.0 * cpu.as_secs_f64() / time.as_secs_f64(),
        );
        if !with_checks {
            timers = cpu.as_secs_f64() / time.as_secs_f64();
        } else if came > 0 {
            println!("  {:.1} us a check", cpu.as_secs_f64() * 1e6 / came as f64);
        }
    }
    running.store(false, Ordering::Relaxed);
    participants.join().unwrap();
    worker.end();
    timers
}

fn main() {
    // `cargo bench` says `--bench`, `cargo test --benches` says nothing.
    let says = |wanted: &str| std::env::args().any(|argument| argument == wanted);
    let is_test = says("--test") || !says("--bench");
    let seconds = |seconds| Duration::from_secs_f64(if is_test { 0.2 } else { seconds });
    if !says("idle") {
        measure_spanning(if is_test { 4 } else { 40 }, if is_test { 500 } else { 4_000 }, seconds(5.0));
        measure_bystanders(
            if is_test { &[0, 4] } else { &[0, 50, 100, 175] },
            if is_test { 500 } else { 2_000 },
            seconds(4.0),
        );
    }
    // Long enough for rooms to be quiet; consent is asked for meanwhile, and holds for longer than the time without.
    let sizes: [usize; 2] = if is_test { [2, 4] } else { [400, 1_600] };
    let [few, many] = sizes.map(|people| measure_idle(people, seconds(45.0), seconds(20.0)));
    // The worker is woken at most ten times a second for timers, however many there are: that part is the same for few and for many.
    let each = (many - few) / (sizes[1] - sizes[0]) as f64;
    let for_10_000 = many + each * (10_000.0 - sizes[1] as f64);
    println!("timers of 10,000, by the difference between the two: {:.3} % of a core", 100.0 * for_10_000);
}
