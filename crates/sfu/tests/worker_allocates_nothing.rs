//! A worker in steady state, from the receiving system call to the sending one: forwarding allocates nothing per packet, and neither
//! does giving voices to whoever decodes them.
#![allow(clippy::unwrap_used)]

mod peer;

use std::sync::mpsc::{self, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use allocation_counter::measure;
use peer::call::Call;
use peer::{Format, Spec};
use ringback_sfu::WorkerStatistics;
use tokio::runtime::Runtime;

const PACKETS: usize = 400;
const SOON: Duration = Duration::from_secs(20);

#[test]
fn forwarding_allocates_nothing_per_packet() {
    for video in [Format::Vp8, Format::Vp9, Format::H264, Format::Av1] {
        let (counted, decoded) = steady(video, |call| call.send_voice(0, 0x80 | 30), false);
        // Not per packet, yet now and then: a map or a ring that grows for good.
        assert!(counted <= 16, "{counted} allocations with {video:?}");
        assert_eq!(decoded, 0);
    }
}

#[test]
fn forwarding_over_tcp_allocates_nothing_per_packet() {
    let (counted, _) = steady(Format::Vp8, |call| call.send_voice(0, 0x80 | 30), true);
    assert!(counted <= 32, "{counted} allocations");
}

#[test]
fn voices_that_are_decoded_allocate_nothing_per_packet() {
    let (counted, decoded) = steady(Format::Vp8, |call| call.send_voice_without_level(0), false);
    // What they say makes lights go on and out, how often depends on when they come, and each change is told to everybody.
    assert!(counted <= PACKETS as u64 / 2, "{counted} allocations");
    assert!(decoded >= PACKETS as u64 * 9 / 10, "{decoded}");
}

#[test]
fn forwarding_to_another_worker_allocates_nothing_per_packet_on_either() {
    // Both run on this thread, whose allocations are counted.
    let workers = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let both = Spec { microphone: true, camera: true, pairs: 3, ..Spec::default() };
    let send = |first: &mut Call, key: bool| {
        first.send_voice(0, 0x80 | 30);
        first.send_face(0, key);
    };
    let (mut first, mut second) = workers.block_on(async {
        let mut first = Call::new().await;
        let mut second = Call::beside(&first).await;
        for call in [&mut first, &mut second] {
            call.join(both).await;
            call.join(both).await;
            call.connect().await;
        }
        first.run(Duration::from_millis(50)).await;
        for round in 0..200 {
            send(&mut first, round == 0);
            first.run(Duration::from_millis(2)).await;
            second.run(Duration::from_millis(1)).await;
        }
        (first, second)
    });
    for peer in first.peers.iter_mut().chain(&mut second.peers) {
        peer.check = false;
        peer.rtp.clear();
    }
    let handles = [first.handle.clone(), second.handle.clone()];
    let statistics = || handles.each_ref().map(|handle| workers.block_on(handle.statistics()).unwrap());
    let before = statistics();
    let (done, is_done) = mpsc::channel();
    let participants = thread::spawn(move || {
        for _ in 0..PACKETS {
            send(&mut first, false);
            first.pump();
            second.pump();
            thread::sleep(Duration::from_millis(2));
        }
        done.send(()).unwrap();
        (first, second)
    });
    let allocated = measure(|| {
        workers.block_on(async {
            while is_done.try_recv().is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    });
    drop(participants.join().unwrap());
    let packets = 2 * PACKETS as u64;
    let is_all =
        |after: &[WorkerStatistics; 2]| after[1].packets_forwarded - before[1].packets_forwarded >= 2 * packets;
    let after = settled(&workers, statistics, is_all);
    assert_eq!(after[0].packets_forwarded - before[0].packets_forwarded, packets);
    assert_eq!(after[1].packets_from_shards - before[1].packets_from_shards, packets);
    assert_eq!(after[1].packets_forwarded - before[1].packets_forwarded, 2 * packets);
    assert!(allocated.count_total <= 32, "{} allocations", allocated.count_total);
}

/// What has been counted once all has gone out, or far too late: on a loaded machine the last packets lie in their sockets still when whoever sent them is done.
fn settled<S>(workers: &Runtime, statistics: impl Fn() -> S, is_all: impl Fn(&S) -> bool) -> S {
    let begun = Instant::now();
    loop {
        let now = statistics();
        if is_all(&now) || begun.elapsed() > SOON {
            return now;
        }
        workers.block_on(async { tokio::time::sleep(Duration::from_millis(20)).await });
    }
}

/// Lets one of four send a voice and a face until all has settled, and counts what the worker allocates from then on, and what is decoded.
fn steady(video: Format, send_voice: fn(&mut Call), over_tcp: bool) -> (u64, u64) {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // The worker runs on this thread, whose allocations are counted; the participants on another.
    let worker = runtime();
    let both = Spec { microphone: true, camera: true, video, pairs: 3, ..Spec::default() };
    let mut call = worker.block_on(async {
        let mut call = Call::new().await;
        for _ in 0..4 {
            let at = call.join(both).await;
            if over_tcp {
                call.peers[at].connect_tcp("127.0.0.1").await;
            }
        }
        call.connect().await;
        // Buffers grow to what the media needs.
        for round in 0..200 {
            send_voice(&mut call);
            call.send_face(0, round == 0);
            call.run(Duration::from_millis(3)).await;
        }
        call
    });
    for peer in &mut call.peers {
        peer.check = false;
        peer.rtp.clear();
    }
    let handle = call.handle.clone();
    let before = worker.block_on(handle.statistics()).unwrap();
    let (done, is_done) = mpsc::channel();
    let participants = thread::spawn(move || {
        for _ in 0..PACKETS {
            send_voice(&mut call);
            call.send_face(0, false);
            call.pump();
            thread::sleep(Duration::from_millis(2));
        }
        done.send(()).unwrap();
        call
    });
    let allocated = measure(|| {
        worker.block_on(async {
            while is_done.try_recv() == Err(TryRecvError::Empty) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    });
    let call = participants.join().unwrap();
    let packets = 2 * 3 * PACKETS as u64;
    let statistics = || worker.block_on(handle.statistics()).unwrap();
    let is_all = |after: &WorkerStatistics| after.packets_forwarded - before.packets_forwarded >= packets;
    let after = settled(&worker, statistics, is_all);
    assert_eq!(after.packets_forwarded - before.packets_forwarded, packets);
    drop(call);
    (allocated.count_total, after.voices_decoded - before.voices_decoded)
}
