//! What a connection costs: heap bytes while it idles, and allocations per packet, which there must be none of.
#![allow(clippy::unwrap_used, missing_docs)]

mod connection_peer;

use std::time::Duration;

use connection_peer::call::{Call, Setup, rtp};
use ringback_transport::connection::{Connection, Incoming};
use ringback_transport::sctp::{Delivery, SctpAssociation};
use ringback_transport::srtp::MAX_OVERHEAD;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn an_idle_participant_costs_less_than_its_share_of_60_kib() {
    let mut call = Call::connected(Setup { sctp: true, ..Setup::seeded(1) });
    let after_handshake = call.held;
    call.run(|call| call.far.sctp.as_ref().is_some_and(SctpAssociation::is_established), 5 * SECOND);
    let now = call.now;
    call.far.sctp.as_mut().unwrap().open(now, "reactions", "", Delivery::RELIABLE).unwrap();
    // A microphone and a camera of three layers, with retransmission: seven streams in.
    for ssrc in 1..=7 {
        call.far.send_rtp(&rtp(ssrc, 1, &[0; 100]));
    }
    call.run_for(60 * SECOND);
    assert_eq!(call.media.len(), 7);
    let own = size_of::<Connection>() as i64;
    println!("held after the handshake {after_handshake}, idle with a data channel {}, itself {own} bytes", call.held);
    let total = call.held + own;
    assert!(total < 40 * 1024, "an idle connection holds {total} bytes");
}

#[test]
fn a_connection_does_not_grow_while_media_flows() {
    let mut call = Call::connected(Setup { sctp: true, ..Setup::seeded(2) });
    call.run_for(10 * SECOND);
    let before = call.held;
    for sequence in 0..3000 {
        call.far.send_rtp(&rtp(1, sequence, &[0; 100]));
        call.run_for(Duration::from_millis(20));
    }
    assert_eq!(call.media.len(), 3000);
    let grown = call.held - before;
    assert!(grown < 2048, "a minute of media left {grown} bytes behind");
}

#[test]
fn media_packets_are_opened_and_sealed_without_allocation() {
    let mut call = Call::connected(Setup::seeded(3));
    let now = call.now;
    let from = call.far.address.into();
    let mut sealed: Vec<Vec<u8>> = (0..500).map(|sequence| call.far.seal_rtp(&rtp(1, sequence, &[7; 1000]))).collect();
    // The first packet of a stream may allocate its window.
    let (first, rest) = sealed.split_first_mut().unwrap();
    call.connection.handle_datagram(now, from, first).unwrap();
    let mut opened = 0;
    let info = allocation_counter::measure(|| {
        for packet in rest.iter_mut() {
            let incoming = call.connection.handle_datagram(now, from, packet);
            opened += usize::from(matches!(incoming, Ok(Incoming::Rtp(1012))));
        }
        for packet in rest.iter_mut() {
            // Now they are garbage, and refused.
            let _ = call.connection.handle_datagram(now, from, packet);
        }
    });
    assert_eq!(opened, 499);
    assert_eq!(info.count_total, 0, "receiving allocated");

    let mut buffer = rtp(2, 0, &[7; 1000]);
    let len = buffer.len();
    buffer.resize(len + MAX_OVERHEAD, 0);
    call.connection.srtp_sender().unwrap().protect_rtp(&mut buffer, len).unwrap();
    let info = allocation_counter::measure(|| {
        for sequence in 1..500_u16 {
            buffer[2..4].copy_from_slice(&sequence.to_be_bytes());
            let to = call.connection.path().unwrap();
            let sender = call.connection.srtp_sender().unwrap();
            assert!(to == from && sender.protect_rtp(&mut buffer, len).is_ok());
        }
        assert!(call.connection.poll_timeout().is_some());
        assert!(call.connection.poll_transmit().is_none() && call.connection.poll_event().is_none());
    });
    assert_eq!(info.count_total, 0, "sending allocated");
}
