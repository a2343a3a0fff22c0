//! A connection and a far end over a lossy link: how it comes up, moves, restarts and ends, and what it withstands.
#![allow(clippy::unwrap_used, missing_docs)]

mod connection_peer;

use std::time::Duration;

use connection_peer::call::{Call, Setup, far_address, rtp};
use connection_peer::stun::{check, nominating_check};
use proptest::prelude::*;
use ringback_transport::connection::{ConnectionEvent, Incoming};
use ringback_transport::dtls::{Certificate, DtlsAssociation, DtlsRole};
use ringback_transport::error::TransportError;
use ringback_transport::ice::IceCredentials;
use ringback_transport::srtp::SrtpProfile;

const SECOND: Duration = Duration::from_secs(1);

/// Sends one packet each way and says whether both arrived.
fn media_flows(call: &mut Call, sequence: u16) -> bool {
    let (up, down) = (call.media.len(), call.far.media.len());
    call.far.send_rtp(&rtp(1, sequence, b"up"));
    call.send_rtp(&rtp(2, sequence, b"down"));
    call.run_for(Duration::from_millis(100));
    call.media[up..] == [rtp(1, sequence, b"up")] && call.far.media[down..] == [rtp(2, sequence, b"down")]
}

#[test]
fn a_call_connects_in_both_dtls_roles_and_carries_media_both_ways() {
    for server_role in [DtlsRole::Server, DtlsRole::Client] {
        let mut call = Call::connected(Setup { server_role, ..Setup::seeded(1) });
        assert!(matches!(call.events[..], [ConnectionEvent::Connected { profile: SrtpProfile::AeadAes128Gcm }]));
        for sequence in 0..50 {
            assert!(media_flows(&mut call, sequence), "{server_role:?}: packet {sequence}");
        }
        assert!(call.errors.is_empty(), "{:?}", call.errors);
    }
}

#[test]
fn a_peer_without_gcm_is_served_with_the_older_profile() {
    for server_role in [DtlsRole::Server, DtlsRole::Client] {
        let far_profiles = vec![SrtpProfile::Aes128CmSha1_80];
        let mut call = Call::connected(Setup { server_role, far_profiles, ..Setup::seeded(1) });
        assert!(matches!(call.events[..], [ConnectionEvent::Connected { profile: SrtpProfile::Aes128CmSha1_80 }]));
        for sequence in 0..20 {
            assert!(media_flows(&mut call, sequence), "{server_role:?}: packet {sequence}");
        }
    }
}

#[test]
fn a_peer_without_any_known_profile_is_told_so() {
    let mut call = Call::new(Setup { far_profiles: vec![], ..Setup::seeded(1) });
    call.run(|call| call.failure().is_some(), Duration::from_secs(20));
    let failure = call.failure().expect("it has to fail");
    assert!(failure.contains("SRTP"), "{failure}");
}

#[test]
fn a_call_connects_although_a_fifth_of_all_datagrams_is_lost() {
    for seed in 0..40 {
        let server_role = if seed % 2 == 0 { DtlsRole::Server } else { DtlsRole::Client };
        let mut setup = Setup { server_role, ..Setup::seeded(seed) };
        setup.link.loss = 0.2;
        let mut call = Call::new(setup);
        call.run(Call::is_connected, Duration::from_secs(20));
        assert!(call.is_connected(), "seed {seed}: {:?} {:?}", call.events, call.far.dtls_error);
        call.link.loss = 0.0;
        assert!(media_flows(&mut call, 7), "seed {seed}");
    }
}

#[test]
fn media_follows_the_peer_to_a_new_address() {
    let mut call = Call::connected(Setup::seeded(2));
    assert!(media_flows(&mut call, 0));
    // A NAT gives the same socket another port: the next check tells.
    call.far.address = far_address(6000);
    call.run_for(SECOND);
    assert_eq!(call.connection.path(), Some(far_address(6000).into()));
    let moved = call.events.iter().any(|event| {
        matches!(event, ConnectionEvent::PathChanged { from, to }
            if from.remote == far_address(5000) && to.remote == far_address(6000))
    });
    assert!(moved, "{:?}", call.events);
    assert!(media_flows(&mut call, 1));
}

#[test]
fn an_ice_restart_moves_media_without_a_gap_or_a_new_handshake() {
    let mut call = Call::connected(Setup::seeded(3));
    assert!(media_flows(&mut call, 0));
    let (local, remote) = (IceCredentials::random(), IceCredentials::random());
    call.connection.restart_ice(call.now, local.clone(), remote.clone());
    // The answer is still under way: the far end goes on with the old credentials.
    call.run_for(2 * SECOND);
    assert!(media_flows(&mut call, 1));
    call.far.local = remote;
    call.far.remote = local;
    call.far.address = far_address(7000);
    call.run_for(SECOND);
    assert_eq!(call.connection.path(), Some(far_address(7000).into()));
    assert!(media_flows(&mut call, 2));
    assert!(call.errors.is_empty(), "{:?}", call.errors);
    let connected = |event: &&ConnectionEvent| matches!(event, ConnectionEvent::Connected { .. });
    assert_eq!(call.events.iter().filter(connected).count(), 1);
}

#[test]
fn consent_ends_half_a_minute_after_the_last_check_whatever_media_arrives() {
    let mut call = Call::connected(Setup::seeded(4));
    call.run_for(40 * SECOND);
    assert!(!call.lost_consent());
    call.far.checks = false;
    for second in 0..29 {
        assert!(media_flows(&mut call, second), "second {second}");
        call.run_for(SECOND - Duration::from_millis(100));
    }
    assert!(!call.lost_consent());
    call.run_for(2 * SECOND);
    assert!(call.lost_consent());
    assert!(!call.connection.is_connected());
    assert_eq!(call.connection.path(), None);
    assert!(call.connection.poll_transmit().is_none());
    let late = call.far.seal_rtp(&rtp(1, 100, b"late"));
    let refused = call.inject(far_address(5000), &late).unwrap_err();
    assert!(matches!(refused, TransportError::UnvalidatedPath { .. }), "{refused}");
    // A restart brings it back, with the same keys.
    let (local, remote) = (IceCredentials::random(), IceCredentials::random());
    call.connection.restart_ice(call.now, local.clone(), remote.clone());
    (call.far.local, call.far.remote, call.far.checks) = (remote, local, true);
    call.run_for(SECOND);
    assert!(call.connection.is_connected());
    assert!(media_flows(&mut call, 200));
}

#[test]
fn a_peer_that_never_comes_is_given_up() {
    let mut call = Call::new(Setup::seeded(5));
    call.far.checks = false;
    call.run_for(29 * SECOND);
    assert!(!call.lost_consent());
    call.run_for(2 * SECOND);
    assert!(call.lost_consent());
}

#[test]
fn a_wrong_certificate_fails_the_connection_with_a_clear_error() {
    for server_role in [DtlsRole::Server, DtlsRole::Client] {
        let mut call = Call::new(Setup { server_role, wrong_fingerprint: true, ..Setup::seeded(6) });
        call.run(|call| call.failure().is_some(), Duration::from_secs(20));
        let failure = call.failure().expect("it has to fail");
        assert!(failure.contains("fingerprint") && failure.contains("expected sha-256"), "{failure}");
        assert!(!call.connection.is_connected());
        assert!(call.connection.srtp_sender().is_none());
        // The alert went out, and nothing else does.
        call.run_for(5 * SECOND);
        assert!(call.far.dtls_error.is_some());
        assert_eq!(call.connection.poll_timeout(), None);
    }
}

#[test]
fn a_client_hello_from_an_address_that_ice_never_validated_is_ignored() {
    let mut call = Call::new(Setup::seeded(7));
    let certificate = Certificate::generate().unwrap();
    let expected = vec![certificate.fingerprint()];
    let mut stranger = DtlsAssociation::new(certificate, DtlsRole::Client, expected).unwrap();
    stranger.start(call.now).unwrap();
    let hello = stranger.poll_transmit().unwrap();
    let refused = call.inject(far_address(9), &hello).unwrap_err();
    assert!(matches!(refused, TransportError::UnvalidatedPath { .. }), "{refused}");
    assert!(call.connection.poll_transmit().is_none());
    // Not during the call either, nor does it disturb it.
    call.run(Call::is_connected, 5 * SECOND);
    assert!(call.inject(far_address(9), &hello).is_err());
    assert!(call.connection.poll_transmit().is_none());
    assert!(media_flows(&mut call, 0));
}

#[test]
fn nothing_is_sent_to_an_address_that_did_not_ask() {
    let mut call = Call::new(Setup { server_role: DtlsRole::Client, ..Setup::seeded(8) });
    assert!(call.connection.poll_transmit().is_none(), "a client hello has to wait for a validated address");
    let forged = nominating_check(&IceCredentials::random(), &IceCredentials::random());
    assert!(call.inject(far_address(9), &forged).is_err());
    assert!(call.connection.poll_transmit().is_none());
    let request = check(&call.far.remote, &call.far.local);
    call.inject(far_address(10), &request).unwrap();
    let (to, reply) = call.connection.poll_transmit().unwrap();
    assert_eq!(to, far_address(10).into());
    assert!(reply.len() <= request.len());
}

#[test]
fn media_before_keys_and_from_strangers_is_refused() {
    let mut call = Call::new(Setup::seeded(9));
    let packet = rtp(1, 1, &[0; 100]);
    assert!(matches!(call.inject(far_address(5000), &packet), Err(TransportError::UnvalidatedPath { .. })));
    call.run(|call| call.far.answered_checks > 0, SECOND);
    assert!(matches!(call.inject(far_address(5000), &packet), Err(TransportError::NotConnected)));
    call.run(Call::is_connected, 5 * SECOND);
    let genuine = call.far.seal_rtp(&rtp(1, 1, b"genuine"));
    assert!(matches!(call.inject(far_address(9), &genuine), Err(TransportError::UnvalidatedPath { .. })));
    assert!(matches!(call.inject(far_address(5000), &genuine), Ok(Incoming::Rtp(19))));
}

#[test]
fn a_goodbye_reaches_either_side() {
    let mut call = Call::connected(Setup::seeded(10));
    call.connection.close(call.now);
    call.run_for(SECOND);
    assert!(call.far.closed);
    assert!(!call.connection.is_connected());

    let mut call = Call::connected(Setup::seeded(11));
    let now = call.now;
    call.far.dtls.close(now);
    call.run_for(SECOND);
    assert!(matches!(call.events.last(), Some(ConnectionEvent::Closed)));
    assert!(!call.connection.is_connected());
    assert!(matches!(call.inject(far_address(5000), &rtp(1, 1, &[])), Err(TransportError::NotConnected)));
}

#[test]
fn forged_packets_of_every_kind_do_not_disturb_a_running_call() {
    let mut call = Call::connected(Setup::seeded(12));
    let genuine = call.far.seal_rtp(&rtp(1, 500, &[7; 60]));
    for round in 0..2000_u32 {
        let mut bytes = genuine.clone();
        match round % 5 {
            0 => bytes[(round as usize * 7) % genuine.len()] ^= 1 << (round % 8),
            1 => bytes.truncate(round as usize % genuine.len()),
            2 => bytes[8..12].copy_from_slice(&round.to_be_bytes()), // another SSRC each time
            3 => bytes[0] = 20 + (round % 44) as u8,                 // DTLS
            _ => bytes[0] = (round % 4) as u8,                       // STUN
        }
        if bytes != genuine {
            let _ = call.inject(far_address(5000), &bytes);
            assert!(call.connection.poll_transmit().is_none(), "round {round} was answered");
        }
    }
    assert!(call.media.is_empty());
    assert!(matches!(call.inject(far_address(5000), &genuine), Ok(Incoming::Rtp(72))));
    assert!(call.inject(far_address(5000), &genuine).is_err(), "a replay");
    for sequence in 501..520 {
        assert!(media_flows(&mut call, sequence), "packet {sequence}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn no_bytes_make_a_connection_panic_or_end(
        datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..60),
    ) {
        let mut call = Call::connected(Setup::seeded(13));
        for datagram in &datagrams {
            for from in [far_address(5000), far_address(9)] {
                let incoming = call.inject(from, datagram);
                prop_assert!(!matches!(incoming, Ok(Incoming::Rtp(_) | Incoming::Rtcp(_))));
            }
        }
        prop_assert!(media_flows(&mut call, 1));
    }
}
