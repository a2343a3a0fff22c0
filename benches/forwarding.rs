//! What forwarding costs: one publisher, twenty subscribers, through a whole worker with real ICE, DTLS and SRTP over loopback.
//!
//! `cargo bench -p ringback-benches --bench forwarding` prints, for bursts of eight packets and for packets one by one, how many
//! forwarded packets a CPU-second of the worker's thread carries, beside a limit loop of the same shape in the same run: decrypt once,
//! then twenty times copy, rewrite, seal and send, with nothing around it. Then the delay that a worker adds at light load, and the memory
//! of an idle participant. With `-- --test`, and in `cargo test --benches`, it runs for a moment, to see that it works.
#![allow(clippy::unwrap_used, missing_docs)]

mod measured;
#[path = "../crates/sfu/tests/peer/mod.rs"]
mod peer;

use std::net::{SocketAddr, UdpSocket as StdSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use measured::{Measured, drain, runtime};
use peer::call::Call;
use peer::media::{CAMERA, MID, VP8, rtp, stamp, vp8};
use peer::{Peer, Spec};
use ringback_sfu::WorkerHandle;
use ringback_transport::socket::{ReceiveBatch, SendArena, UdpSocket};
use ringback_transport::srtp::{MAX_OVERHEAD, SrtpKeys, SrtpProfile, SrtpReceiver, SrtpSender};

const SUBSCRIBERS: usize = 20;

/// How much is offered, and for how long.
#[derive(Clone, Copy)]
struct Load {
    name: &'static str,
    burst: u64,
    /// Packets per second from the publisher.
    rate: u64,
    payload: usize,
    time: Duration,
}

/// What became of a load.
struct Outcome {
    offered: u64,
    /// Packets that the system took to send.
    sent: u64,
    /// Packets that the subscribers' sockets got; what they are too slow to take is lost behind the worker.
    arrived: u64,
    cpu: Duration,
    wall: Duration,
}

impl Outcome {
    fn per_cpu_second(&self) -> f64 {
        self.sent as f64 / self.cpu.as_secs_f64()
    }

    fn print(&self, what: &str) {
        println!(
            "  {what:<10} {:>9.0} packets/CPU-s   {:>5.2} us each   forwarded {:>6.2} %, arrived {:>6.2} %   {:>3.0} % of a core",
            self.per_cpu_second(),
            1e6 / self.per_cpu_second(),
            100.0 * self.sent as f64 / (self.offered * SUBSCRIBERS as u64) as f64,
            100.0 * self.arrived as f64 / (self.offered * SUBSCRIBERS as u64) as f64,
            100.0 * self.cpu.as_secs_f64() / self.wall.as_secs_f64(),
        );
    }
}

/// Sends packets at a load's rate: `send` gets their numbers.
fn offer(load: Load, mut send: impl FnMut(u64), mut idle: impl FnMut()) -> u64 {
    let began = Instant::now();
    let mut number = 0;
    while began.elapsed() < load.time {
        let due = began + Duration::from_secs_f64(number as f64 / load.rate as f64);
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            // A sleeping thread wakes 60 us late.
            if left > Duration::from_micros(150) {
                idle();
                thread::sleep(left - Duration::from_micros(100));
            }
        }
        for _ in 0..load.burst {
            send(number);
            number += 1;
        }
    }
    number
}

fn camera_packet(number: u64, load: Load) -> Vec<u8> {
    let mut payload = vp8(number as u16 & 0x7FFF, number == 0, true);
    payload.resize(load.payload, 0xA5);
    rtp(CAMERA, VP8, number as u16, (number / load.burst) as u32 * 3000, &[(MID, b"cam")], &payload)
}

/// A worker on its own thread, and a call on it.
fn worker(people: usize, spec: impl Fn(usize) -> Spec) -> (Measured, WorkerHandle, Call) {
    let (measured, handle) = Measured::spawn(async |stopped, up| {
        let call = Call::new().await;
        up.send((call.handle.clone(), call)).unwrap();
        let _ = stopped.await;
    });
    let (handle, mut call) = handle;
    runtime().block_on(async {
        for at in 0..people {
            call.join(spec(at)).await;
        }
        call.connect().await;
        call.run(Duration::from_millis(200)).await;
    });
    (measured, handle, call)
}

fn one_way(at: usize) -> Spec {
    match at {
        0 => Spec { microphone: true, camera: true, ..Spec::default() },
        _ => Spec { pairs: 1, ..Spec::default() },
    }
}

/// The worker under a load.
fn measure_worker(load: Load) -> Outcome {
    let (measured, handle, mut call) = worker(SUBSCRIBERS + 1, one_way);
    let subscribers = call.peers.split_off(1);
    let mut publisher = call.peers.pop().unwrap();
    let (running, count, drainer) = drain(subscribers);
    // The first packet is the keyframe that the slots wait for; what follows is measured.
    publisher.send_rtp(&camera_packet(0, load));
    thread::sleep(Duration::from_millis(300));
    let statistics = || runtime().block_on(handle.statistics()).unwrap();
    let forwarded = statistics().packets_forwarded;
    let (cpu, began, before) = (measured.cpu(), Instant::now(), count.load(Ordering::Relaxed));
    let publisher = std::cell::RefCell::new(publisher);
    let offered = offer(
        load,
        |number| publisher.borrow_mut().send_rtp(&camera_packet(number + 1, load)),
        || publisher.borrow_mut().pump(),
    );
    let wall = began.elapsed();
    thread::sleep(Duration::from_millis(200));
    let cpu = measured.cpu() - cpu;
    let arrived = count.load(Ordering::Relaxed) - before;
    let after = statistics();
    let sent = after.packets_forwarded - forwarded - after.datagrams_dropped;
    running.store(false, Ordering::Relaxed);
    drainer.join().unwrap();
    runtime().block_on(handle.shutdown());
    measured.stop();
    Outcome { offered, sent, arrived, cpu, wall }
}

/// The same work with nothing around it.
fn measure_limit(load: Load) -> Outcome {
    let keys = |salt: u8| SrtpKeys::new(SrtpProfile::AeadAes128Gcm, &[7; 16], &[salt; 12]).unwrap();
    let subscribers: Vec<StdSocket> = (0..SUBSCRIBERS).map(|_| StdSocket::bind("127.0.0.1:0").unwrap()).collect();
    let destinations: Vec<SocketAddr> = subscribers.iter().map(|socket| socket.local_addr().unwrap()).collect();
    let receiver_keys = keys(0);
    let (measured, (server, sent)) = Measured::spawn(async move |mut stopped, up| {
        let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let sent = Arc::new(AtomicU64::new(0));
        up.send((socket.local_addr(), sent.clone())).unwrap();
        let mut receiver = SrtpReceiver::new(&receiver_keys).unwrap();
        let mut senders: Vec<SrtpSender> = (0..SUBSCRIBERS).map(|_| SrtpSender::new(keys(1)).unwrap()).collect();
        let (mut batch, mut arena) = (ReceiveBatch::new(), SendArena::default());
        loop {
            tokio::select! {
                _ = &mut stopped => return,
                _ = socket.readable() => {}
            }
            while socket.try_receive(&mut batch).unwrap() > 0 {
                for (_, datagram) in batch.datagrams() {
                    let len = receiver.unprotect_rtp(datagram).unwrap();
                    for (at, (sender, to)) in senders.iter_mut().zip(&destinations).enumerate() {
                        if arena.reserve(len + MAX_OVERHEAD).is_none() {
                            sent.fetch_add(socket.send(&mut arena).sent as u64, Ordering::Relaxed);
                        }
                        let space = arena.reserve(len + MAX_OVERHEAD).unwrap();
                        space[..len].copy_from_slice(&datagram[..len]);
                        space[8..12].copy_from_slice(&(at as u32 + 1).to_be_bytes());
                        let sealed = sender.protect_rtp(space, len).unwrap();
                        arena.commit(sealed, *to);
                    }
                }
                sent.fetch_add(socket.send(&mut arena).sent as u64, Ordering::Relaxed);
            }
        }
    });
    let (running, count) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
    let (is_running, counter) = (running.clone(), count.clone());
    let drainer = thread::spawn(move || {
        let mut buffer = [0; 2048];
        for socket in &subscribers {
            socket.set_nonblocking(true).unwrap();
        }
        while is_running.load(Ordering::Relaxed) {
            for socket in &subscribers {
                while socket.recv_from(&mut buffer).is_ok() {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            }
            thread::sleep(Duration::from_micros(100));
        }
    });
    let publisher = StdSocket::bind("127.0.0.1:0").unwrap();
    let mut sender = SrtpSender::new(keys(0)).unwrap();
    let (cpu, began) = (measured.cpu(), Instant::now());
    let offered = offer(
        load,
        |number| {
            let mut packet = camera_packet(number, load);
            let len = packet.len();
            packet.resize(len + MAX_OVERHEAD, 0);
            let sealed = sender.protect_rtp(&mut packet, len).unwrap();
            publisher.send_to(&packet[..sealed], server).unwrap();
        },
        || {},
    );
    let wall = began.elapsed();
    thread::sleep(Duration::from_millis(200));
    let (sent, arrived) = (sent.load(Ordering::Relaxed), count.load(Ordering::Relaxed));
    let outcome = Outcome { offered, sent, arrived, cpu: measured.cpu() - cpu, wall };
    running.store(false, Ordering::Relaxed);
    drainer.join().unwrap();
    measured.stop();
    outcome
}

/// The p50 and p99 of some durations.
fn percentiles(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    (at(0.5), at(0.99))
}

/// How much later a packet arrives through a worker than straight from socket to socket, at a hundred packets a second.
fn measure_delay(packets: usize) {
    let (measured, handle, mut call) = worker(2, one_way);
    let origin = Instant::now();
    let load = Load { name: "delay", burst: 1, rate: 100, payload: 1000, time: Duration::ZERO };
    call.peers[0].send_rtp(&camera_packet(0, load));
    thread::sleep(Duration::from_millis(100));
    call.pump();
    let mut subscriber = call.peers.pop().unwrap();
    let mut publisher = call.peers.pop().unwrap();
    subscriber.rtp.clear();
    let receiver = thread::spawn(move || {
        // Blocking, so that the receiving thread is woken as soon as something arrives.
        subscriber.socket.set_nonblocking(false).unwrap();
        subscriber.socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let mut buffer = [0; 2048];
        let mut times = Vec::new();
        while let Ok((len, _)) = subscriber.socket.recv_from(&mut buffer) {
            let at = Instant::now();
            let is_media = (128..192).contains(&buffer[0]) && !(192..224).contains(&buffer[1]);
            let (_, srtp) = subscriber.srtp.as_mut().unwrap();
            if is_media && srtp.unprotect_rtp(&mut buffer[..len]).is_ok() {
                times.push((len, at, buffer));
            }
        }
        times
    });
    let direct = StdSocket::bind("127.0.0.1:0").unwrap();
    let direct_to = direct.local_addr().unwrap();
    let direct_receiver = thread::spawn(move || {
        direct.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let mut buffer = [0; 2048];
        let mut times = Vec::new();
        while direct.recv_from(&mut buffer).is_ok() {
            let at = Instant::now();
            times.push(peer::media::read_stamp(&buffer, origin, at).2);
        }
        times
    });
    let straight = StdSocket::bind("127.0.0.1:0").unwrap();
    for number in 1..=packets as u64 {
        let mut payload = vp8(number as u16 & 0x7FFF, false, true);
        payload.extend(stamp(1, number, origin, load.payload));
        let packet = rtp(CAMERA, VP8, number as u16, number as u32 * 900, &[(MID, b"cam")], &payload);
        publisher.send_rtp(&packet);
        thread::sleep(Duration::from_millis(5));
        straight.send_to(&stamp(1, number, origin, load.payload), direct_to).unwrap();
        publisher.pump();
        thread::sleep(Duration::from_millis(5));
    }
    let direct: Vec<Duration> = direct_receiver.join().unwrap();
    let through: Vec<Duration> = (receiver.join().unwrap().iter())
        .map(|(len, at, bytes)| {
            let header = ringback_transport::rtp::RtpHeader::parse_unpadded(&bytes[..*len]).unwrap();
            peer::media::read_stamp(&bytes[header.header_len + 7..*len], origin, *at).2
        })
        .collect();
    assert!(through.len() * 100 >= packets * 99, "{} of {packets} arrived", through.len());
    let ((d50, d99), (t50, t99)) = (percentiles(direct), percentiles(through));
    println!("added forwarding delay at 100 packets/s, 1 -> 1 ({packets} packets; sealing at the publisher included)");
    println!(
        "  p50 {:?} (straight {d50:?}, through the worker {t50:?})\n  p99 {:?} (straight {d99:?}, through the worker {t99:?})",
        t50.saturating_sub(d50),
        t99.saturating_sub(d99)
    );
    runtime().block_on(handle.shutdown());
    measured.stop();
}

/// The heap of an idle participant: connected, with a microphone, a camera and eight slot pairs, nothing flowing.
fn measure_memory(people: usize) {
    let spec = Spec { microphone: true, camera: true, pairs: 8, ..Spec::default() };
    // The worker and its handle run on this thread, whose allocations are counted; the participants live on another.
    let server = runtime();
    let mut call = server.block_on(Call::new());
    let (handle, mut receiver) = (call.handle.clone(), {
        let (_, nothing) = tokio::sync::mpsc::channel(1);
        std::mem::replace(&mut call.receiver, nothing)
    });
    let mut peers: Vec<Peer> = (0..people).map(|_| Peer::new(spec)).collect();
    let offers: Vec<_> = peers.iter().map(peer::sdp::offer).collect();
    let (answers, their_answers) = std::sync::mpsc::channel::<String>();
    let running = Arc::new(AtomicBool::new(true));
    let is_running = running.clone();
    let participants = thread::spawn(move || {
        let mut answered = 0;
        while is_running.load(Ordering::Relaxed) {
            while let Ok(answer) = their_answers.try_recv() {
                peers[answered].answer(&answer);
                answered += 1;
            }
            peers.iter_mut().for_each(Peer::pump);
            thread::sleep(Duration::from_millis(1));
        }
    });
    let mut connected = 0;
    let used = allocation_counter::measure(|| {
        server.block_on(async {
            for (at, offer) in offers.into_iter().enumerate() {
                let id = ringback_sfu::ParticipantId(at as u64 + 1);
                answers.send(handle.join(peer::call::ROOM, id, offer).await.unwrap().answer).unwrap();
            }
            let deadline = Instant::now() + Duration::from_secs(20);
            while connected < people && Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(10)).await;
                while let Ok(event) = receiver.try_recv() {
                    connected += usize::from(matches!(event, ringback_sfu::SfuEvent::Connected { .. }));
                }
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
            while receiver.try_recv().is_ok() {}
        });
    });
    assert_eq!(connected, people);
    println!("memory of an idle participant (microphone, camera, 8 slot pairs; {people} in one room)");
    println!("  {:.1} KiB of heap each", used.bytes_current as f64 / people as f64 / 1024.0);
    server.block_on(handle.shutdown());
    running.store(false, Ordering::Relaxed);
    participants.join().unwrap();
}

fn main() {
    // `cargo bench` says `--bench`, `cargo test --benches` says nothing.
    let says = |wanted: &str| std::env::args().any(|argument| argument == wanted);
    let is_test = says("--test") || !says("--bench");
    let time = if is_test { Duration::from_millis(200) } else { Duration::from_secs(5) };
    let payload = 1150;
    let load = |name, burst, rate| Load { name, burst, rate: if is_test { rate / 10 } else { rate }, payload, time };
    let loads = [
        load("bursts of 8", 8, 10_000),
        load("bursts of 8, light", 8, 1_000),
        load("one by one", 1, 8_000),
        load("one by one, light", 1, 1_000),
    ];
    for load in loads {
        println!(
            "{}: 1 -> {SUBSCRIBERS}, {} B payload, {} packets/s offered, {} to forward",
            load.name,
            load.payload,
            load.rate,
            load.rate * SUBSCRIBERS as u64
        );
        let limit = measure_limit(load);
        let worker = measure_worker(load);
        worker.print("worker");
        limit.print("limit loop");
        println!(
            "  the worker reaches {:.0} % of the limit loop",
            100.0 * worker.per_cpu_second() / limit.per_cpu_second()
        );
        if is_test {
            assert!(worker.sent * 2 > worker.offered * SUBSCRIBERS as u64, "most packets were not forwarded");
        }
    }
    measure_delay(if is_test { 20 } else { 1000 });
    measure_memory(if is_test { 4 } else { 100 });
}
