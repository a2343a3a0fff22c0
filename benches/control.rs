//! What it costs to answer: a connectivity check, an offer, reports and feedback.
//!
//! ```sh
//! cargo bench -p ringback-benches --bench control
//! ```
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../crates/sfu/tests/peer/mod.rs"]
mod peer;

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use peer::{Peer, Spec};
use ringback_transport::ice::{IceAgent, IceCredentials};
use ringback_transport::rtcp::{ReceptionReport, RtcpWriter, TransportFeedbackFields, parse_compound};
use ringback_transport::sdp::{Negotiation, NegotiationConfig};

/// Packets of a feedback.
const PACKETS: i64 = 50;

fn check(criterion: &mut Criterion) {
    let now = Instant::now();
    let local = IceCredentials::random();
    let mut peer = Peer::new(Spec::default());
    peer.remote = Some(local.clone());
    let request = peer.honest_check();
    let mut agent = IceAgent::new(local, peer.local.clone(), now);
    let from: SocketAddr = "192.0.2.1:5000".parse().unwrap();
    criterion.bench_function("STUN, a check answered", |bencher| {
        bencher.iter(|| agent.handle(now, from.into(), black_box(&request)).unwrap().reply.unwrap().len());
    });
}

fn rtcp(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("RTCP");
    let block = ReceptionReport { ssrc: 7, ..ReceptionReport::default() };
    let mut buffer = [0; 1200];
    let report = |buffer: &mut [u8]| {
        let mut writer = RtcpWriter::new(buffer);
        writer.receiver_report(1, &[block; 4]).unwrap().nack(1, 2, [3, 5, 40]).unwrap();
        writer.finish()
    };
    group.bench_function("write reports of four sources and a NACK", |bencher| bencher.iter(|| report(&mut buffer)));
    let len = report(&mut buffer);
    group.bench_function("read reports of four sources and a NACK", |bencher| {
        bencher.iter(|| parse_compound(black_box(&buffer[..len])).flatten().count());
    });
    let feedback = |buffer: &mut [u8]| {
        let mut writer = RtcpWriter::new(buffer);
        let fields = TransportFeedbackFields { sender_ssrc: 1, media_ssrc: 2, base_sequence: 9, feedback_count: 1 };
        let arrivals = (0..PACKETS).map(|n| (n % 10 != 0).then_some(1_000 + n * 8));
        writer.transport_feedback(&fields, arrivals).unwrap();
        writer.finish()
    };
    group.bench_function("write a feedback of fifty packets", |bencher| bencher.iter(|| feedback(&mut buffer)));
    let len = feedback(&mut buffer);
    group.bench_function("read a feedback of fifty packets", |bencher| {
        bencher.iter(|| {
            let packets = parse_compound(black_box(&buffer[..len])).flatten();
            let statuses = packets.filter_map(|packet| match packet {
                ringback_transport::rtcp::RtcpPacket::TransportFeedback(feedback) => Some(feedback.packets().count()),
                _ => None,
            });
            statuses.sum::<usize>()
        });
    });
    group.finish();
}

fn answer(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("SDP");
    let local = IceCredentials::random();
    for pairs in [1, 9] {
        let peer = Peer::new(Spec { microphone: true, camera: true, data: true, pairs, ..Spec::default() });
        let offer = peer::sdp::offer(&peer).sdp;
        let fingerprint = peer.certificate.fingerprint().clone();
        let candidates: Vec<SocketAddr> = vec!["192.0.2.1:7000".parse().unwrap()];
        group.bench_function(format!("an offer with {pairs} slot pairs answered"), |bencher| {
            bencher.iter(|| {
                let config = NegotiationConfig::new(local.clone(), fingerprint.clone(), candidates.clone());
                Negotiation::new(config).accept(black_box(&offer)).unwrap().answer.len()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, check, rtcp, answer);
criterion_main!(benches);
