//! What a media packet costs, step by step: opening and sealing it, rewriting it for a slot, the way from a datagram to ten, a hundred and a thousand
//! sealed ones, a slot that goes over to another track, and what the pacer and the estimator add. Without sockets: `forwarding` has those.
//!
//! ```sh
//! cargo bench -p ringback-benches --bench media
//! ```
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../crates/sfu/tests/peer/mod.rs"]
mod peer;
#[path = "stage.rs"]
mod stage;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use peer::media::{CAMERA, MID, VP8, face_in, rtp};
use peer::{Format, Peer, Spec};
use ringback_sfu::ParticipantId;
use ringback_sfu::congestion::Estimator;
use ringback_sfu::dry::DryRoom;
use ringback_sfu::pacer::Pacer;
use ringback_transport::srtp::{MAX_OVERHEAD, SrtpKeys, SrtpProfile, SrtpReceiver, SrtpSender};
use stage::Stage;

const PROFILES: [(&str, SrtpProfile, usize); 2] =
    [("AES-128-GCM", SrtpProfile::AeadAes128Gcm, 12), ("AES-128-CM + HMAC-SHA1", SrtpProfile::Aes128CmSha1_80, 14)];

/// A packet of this many bytes, with room for what sealing adds.
fn packet(number: u64, len: usize) -> Vec<u8> {
    let mut packet = rtp(CAMERA, VP8, number as u16, number as u32 * 3000, &[(MID, b"cam")], &vec![0x5A; len - 20]);
    packet.resize(len + MAX_OVERHEAD, 0);
    packet
}

fn srtp(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("SRTP");
    for (name, profile, salt) in PROFILES {
        let keys = || SrtpKeys::new(profile, &[7; 16], &[9; 14][..salt]).unwrap();
        for len in [100, 1200] {
            group.throughput(Throughput::Bytes(len as u64));
            let (mut sender, mut number) = (SrtpSender::new(keys()).unwrap(), 0_u16);
            let mut buffer = packet(0, len);
            group.bench_function(BenchmarkId::new(format!("seal, {name}"), len), |bencher| {
                bencher.iter(|| {
                    number = number.wrapping_add(1);
                    buffer[2..4].copy_from_slice(&number.to_be_bytes());
                    sender.protect_rtp(black_box(&mut buffer), len).unwrap()
                });
            });
            let (mut sender, mut receiver) = (SrtpSender::new(keys()).unwrap(), SrtpReceiver::new(&keys()).unwrap());
            let mut number = 0;
            group.bench_function(BenchmarkId::new(format!("open, {name}"), len), |bencher| {
                bencher.iter_batched_ref(
                    || {
                        number += 1;
                        let mut buffer = packet(number, len);
                        let sealed = sender.protect_rtp(&mut buffer, len).unwrap();
                        buffer.truncate(sealed);
                        buffer
                    },
                    |buffer| receiver.unprotect_rtp(black_box(buffer)).unwrap(),
                    BatchSize::SmallInput,
                );
            });
        }
    }
    group.finish();
}

fn fan_out(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a datagram to its sealed copies");
    group.sample_size(20);
    for subscribers in [10, 100, 1000] {
        for (name, profile, _) in PROFILES {
            group.throughput(Throughput::Elements(subscribers));
            let stage = std::cell::RefCell::new(Stage::new(Format::Vp8, subscribers, Some(profile)));
            group.bench_function(BenchmarkId::new(name, subscribers), |bencher| {
                bencher.iter_batched_ref(
                    || stage.borrow_mut().face(),
                    |packet| stage.borrow_mut().take(packet),
                    BatchSize::SmallInput,
                );
            });
        }
    }
    group.finish();
}

fn rewriting(criterion: &mut Criterion) {
    const SUBSCRIBERS: u64 = 100;
    let mut group = criterion.benchmark_group("a packet rewritten for a hundred slots, without sealing");
    group.sample_size(20).throughput(Throughput::Elements(SUBSCRIBERS));
    for format in [Format::Vp8, Format::Vp9, Format::H264, Format::Av1] {
        let stage = std::cell::RefCell::new(Stage::new(format, SUBSCRIBERS, None));
        group.bench_function(format!("{format:?}"), |bencher| {
            bencher.iter_batched_ref(
                || stage.borrow_mut().face(),
                |packet| stage.borrow_mut().take(packet),
                BatchSize::SmallInput,
            );
        });
    }
    let stage = std::cell::RefCell::new(Stage::new(Format::Vp8, SUBSCRIBERS, None));
    group.bench_function("Opus", |bencher| {
        bencher.iter_batched_ref(
            || stage.borrow_mut().voice(),
            |packet| stage.borrow_mut().take(packet),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// Somebody with one slot pins one of ten others after the other: the slots of everybody are decided anew, and the slot goes over at the keyframe.
fn switching(criterion: &mut Criterion) {
    const OTHERS: u64 = 10;
    let origin = Instant::now();
    let mut room = DryRoom::new(origin, None);
    let publisher = peer::sdp::offer(&Peer::new(Spec { microphone: true, camera: true, ..Spec::default() }));
    for id in 1..=OTHERS {
        room.join(origin, ParticipantId(id), &publisher).unwrap();
    }
    let viewer = peer::sdp::offer(&Peer::new(Spec { pairs: 1, ..Spec::default() }));
    let viewer = room.join(origin, ParticipantId(OTHERS + 1), &viewer).unwrap();
    room.settle(origin);
    let mut number = 0;
    let mut switch = || {
        number += 1;
        let now = origin + Duration::from_nanos(number);
        let from = number % OTHERS;
        room.pin(now, viewer, ParticipantId(from + 1));
        let before = room.packets();
        room.take(now, from as usize, &mut face_in(Format::Vp8, from + 1, number, origin, true));
        room.packets() - before
    };
    // All have sent once.
    (0..OTHERS).for_each(|_| _ = switch());
    assert_eq!(switch(), 1);
    criterion
        .bench_function("a slot goes over to another track, in a room of eleven", |bencher| bencher.iter(&mut switch));
}

fn congestion(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("congestion control");
    let origin = Instant::now();
    let (mut pacer, mut now) = (Pacer::new(), origin);
    pacer.set_budget(Some(4_000_000));
    group.bench_function("pacer, a packet that may pass", |bencher| {
        bencher.iter(|| {
            now += Duration::from_millis(10);
            let passes = pacer.may_pass(now, 1200, false);
            pacer.on_sent(now, 1200);
            passes
        });
    });
    group.bench_function("pacer, a packet that waits and leaves", |bencher| {
        bencher.iter(|| {
            now += Duration::from_millis(10);
            pacer.hold(0, 1200, false, |packet| packet[0] = 1);
            pacer.release(now, |_, packet| black_box(packet.len()))
        });
    });
    let (mut estimator, mut now, mut sequence) = (Estimator::new(origin), origin, 0_u16);
    group.bench_function("estimator, fifty packets and a feedback of them", |bencher| {
        bencher.iter(|| {
            let first = sequence;
            for _ in 0..50 {
                now += Duration::from_millis(1);
                estimator.on_sent(now, sequence, 1200);
                sequence = sequence.wrapping_add(1);
            }
            let ticks = (now - origin).as_millis() as i64 * 4;
            let arrivals = (0..50).map(|n| (first.wrapping_add(n), Some(ticks - 200 + i64::from(n) * 4)));
            estimator.on_feedback(now, arrivals);
            estimator.budget()
        });
    });
    group.finish();
}

criterion_group!(benches, srtp, fan_out, rewriting, switching, congestion);
criterion_main!(benches);
