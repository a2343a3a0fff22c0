//! The ICE-lite agent by itself: what it accepts, what it answers, where it sends.
#![allow(clippy::unwrap_used, missing_docs)]

mod connection_peer;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use connection_peer::stun::{Request, check, decode, nominating_check};
use proptest::prelude::*;
use ringback_transport::ice::{CONSENT_LIFETIME, IceAgent, IceCredentials, IceError, request_username};
use ringback_transport::path::{Link, Path};
use rtc_stun::attributes::{ATTR_FINGERPRINT, ATTR_MESSAGE_INTEGRITY, ATTR_USE_CANDIDATE, ATTR_USERNAME, AttrType};
use rtc_stun::error_code::ErrorCodeAttribute;
use rtc_stun::message::{BINDING_ERROR, BINDING_SUCCESS, CLASS_INDICATION, Getter, METHOD_BINDING, MessageType};
use rtc_stun::uattrs::UnknownAttributes;
use rtc_stun::xoraddr::XorMappedAddress;

struct Scene {
    agent: IceAgent,
    local: IceCredentials,
    remote: IceCredentials,
    now: Instant,
}

fn scene() -> Scene {
    let (local, remote, now) = (IceCredentials::random(), IceCredentials::random(), Instant::now());
    Scene { agent: IceAgent::new(local.clone(), remote.clone(), now), local, remote, now }
}

fn address(port: u16) -> Path {
    SocketAddr::from(([203, 0, 113, 7], port)).into()
}

fn error_code(datagram: &[u8], password: &str) -> u16 {
    let message = decode(datagram, password);
    assert_eq!(message.typ, BINDING_ERROR);
    let mut code = ErrorCodeAttribute::default();
    code.get_from(&message).unwrap();
    code.code.0
}

#[test]
fn a_check_is_answered_with_the_senders_address() {
    for from in ["203.0.113.7:4000", "[2001:db8::7]:4000", "[::ffff:203.0.113.7]:4000"] {
        let (from, mut scene): (SocketAddr, _) = (from.parse().unwrap(), scene());
        let request = check(&scene.local, &scene.remote);
        let outcome = scene.agent.handle(scene.now, from.into(), &request).unwrap();
        let reply = outcome.reply.unwrap();
        assert!(reply.len() <= request.len(), "an answer of {} bytes to {}", reply.len(), request.len());
        let message = decode(&reply, &scene.local.pwd);
        assert_eq!(message.typ, BINDING_SUCCESS);
        assert_eq!(message.transaction_id.0, request[8..20]);
        let mut mapped = XorMappedAddress::default();
        mapped.get_from(&message).unwrap();
        assert_eq!(SocketAddr::new(mapped.ip, mapped.port), SocketAddr::new(from.ip().to_canonical(), from.port()));
        assert!(scene.agent.is_validated(from.into()));
        assert!(!scene.agent.is_validated(address(4001)));
    }
}

#[test]
fn the_first_validated_address_serves_until_one_is_nominated() {
    let mut scene = scene();
    assert_eq!(scene.agent.selected(), None);
    let plain = check(&scene.local, &scene.remote);
    let first = scene.agent.handle(scene.now, address(1), &plain).unwrap();
    assert_eq!(first.selected, Some(address(1)));
    let second = scene.agent.handle(scene.now, address(2), &plain).unwrap();
    assert_eq!(second.selected, None);
    assert_eq!(scene.agent.selected(), Some(address(1)));
    let nominating = nominating_check(&scene.local, &scene.remote);
    let third = scene.agent.handle(scene.now, address(2), &nominating).unwrap();
    assert_eq!(third.selected, Some(address(2)));
    assert_eq!(scene.agent.selected(), Some(address(2)));
}

#[test]
fn a_nomination_from_a_new_address_moves_the_connection() {
    let mut scene = scene();
    let nominating = nominating_check(&scene.local, &scene.remote);
    scene.agent.handle(scene.now, address(1), &nominating).unwrap();
    let moved = scene.agent.handle(scene.now, address(2), &nominating).unwrap();
    assert_eq!(moved.selected, Some(address(2)));
    // A plain check from the old address does not move it back.
    let plain = check(&scene.local, &scene.remote);
    assert_eq!(scene.agent.handle(scene.now, address(1), &plain).unwrap().selected, None);
    assert_eq!(scene.agent.selected(), Some(address(2)));
}

#[test]
fn a_forged_a_missing_or_a_short_mac_is_not_even_answered() {
    let mut scene = scene();
    let wrong_password = IceCredentials { ufrag: scene.local.ufrag.clone(), ..IceCredentials::random() };
    let unsigned = Request::new(&scene.local, &scene.remote).nominating();
    let mut requests = vec![
        nominating_check(&wrong_password, &scene.remote),
        unsigned.fingerprinted(),
        nominating_check(&IceCredentials::random(), &scene.remote),
        nominating_check(&scene.local, &IceCredentials::random()),
    ];
    for len in [0, 1, 4, 10, 19, 21, 64] {
        let short = Request::new(&scene.local, &scene.remote).nominating().with(ATTR_MESSAGE_INTEGRITY, &vec![0; len]);
        requests.push(short.fingerprinted());
    }
    for request in requests {
        let refused = scene.agent.handle(scene.now, address(1), &request).unwrap_err();
        assert!(matches!(refused, IceError::Unauthenticated(_)), "{refused}");
        assert_eq!(scene.agent.selected(), None);
        assert!(!scene.agent.is_validated(address(1)));
    }
}

#[test]
fn a_missing_misplaced_or_wrong_fingerprint_is_refused() {
    let mut scene = scene();
    let without = Request::new(&scene.local, &scene.remote).controlling().signed().message.raw;
    let mut wrong = check(&scene.local, &scene.remote);
    *wrong.last_mut().unwrap() ^= 1;
    let misplaced = Request::new(&scene.local, &scene.remote).with(ATTR_FINGERPRINT, &[0; 4]).message.raw;
    for request in [without, wrong, misplaced] {
        let refused = scene.agent.handle(scene.now, address(1), &request).unwrap_err();
        assert!(matches!(refused, IceError::Malformed(_)), "{refused}");
    }
}

#[test]
fn attributes_after_message_integrity_are_ignored() {
    let mut scene = scene();
    scene.agent.handle(scene.now, address(1), &nominating_check(&scene.local, &scene.remote)).unwrap();
    // Somebody on the path appends a nomination, another name and an unknown demand to an authenticated check.
    let tampered = Request::new(&scene.local, &scene.remote)
        .controlling()
        .signed()
        .with(ATTR_USE_CANDIDATE, &[])
        .with(ATTR_USERNAME, b"mallory:mallory")
        .with(AttrType(0x7ABC), &[1, 2, 3])
        .fingerprinted();
    let outcome = scene.agent.handle(scene.now, address(2), &tampered).unwrap();
    assert_eq!(outcome.refused, None);
    assert_eq!(outcome.selected, None);
    assert_eq!(scene.agent.selected(), Some(address(1)));
    assert_eq!(decode(&outcome.reply.unwrap(), &scene.local.pwd).typ, BINDING_SUCCESS);
}

#[test]
fn a_peer_that_claims_to_be_controlled_is_told_of_the_conflict() {
    let mut scene = scene();
    let request = Request::new(&scene.local, &scene.remote).controlled().nominating().signed().fingerprinted();
    let outcome = scene.agent.handle(scene.now, address(1), &request).unwrap();
    assert_eq!(outcome.refused, Some(IceError::RoleConflict));
    let reply = outcome.reply.unwrap();
    assert!(reply.len() <= request.len());
    assert_eq!(error_code(&reply, &scene.local.pwd), 487);
    assert_eq!(scene.agent.selected(), None);
}

#[test]
fn an_unknown_attribute_that_demands_understanding_is_answered_with_420() {
    let mut scene = scene();
    let mut request = Request::new(&scene.local, &scene.remote).controlling();
    for kind in 0x7000..0x7020 {
        request = request.with(AttrType(kind), &[]);
    }
    let request = request.signed().fingerprinted();
    let outcome = scene.agent.handle(scene.now, address(1), &request).unwrap();
    assert_eq!(outcome.refused, Some(IceError::UnknownAttribute(0x7000)));
    let reply = outcome.reply.unwrap();
    assert!(reply.len() <= request.len());
    assert_eq!(error_code(&reply, &scene.local.pwd), 420);
    let mut unknown = UnknownAttributes(Vec::new());
    unknown.get_from(&decode(&reply, &scene.local.pwd)).unwrap();
    assert_eq!(unknown.0[0], AttrType(0x7000));
    // An optional one is fine.
    let optional = Request::new(&scene.local, &scene.remote).with(AttrType(0xC057), &[0, 1, 0, 2]).build();
    assert_eq!(scene.agent.handle(scene.now, address(1), &optional).unwrap().refused, None);
}

#[test]
fn consent_lives_on_authenticated_requests_only() {
    let mut scene = scene();
    let nominating = nominating_check(&scene.local, &scene.remote);
    scene.agent.handle(scene.now, address(1), &nominating).unwrap();
    let almost = scene.now + CONSENT_LIFETIME - Duration::from_millis(1);
    assert!(!scene.agent.handle_timeout(almost));
    scene.agent.handle(almost, address(1), &check(&scene.local, &scene.remote)).unwrap();
    assert_eq!(scene.agent.poll_timeout(), Some(almost + CONSENT_LIFETIME));

    let indication = MessageType::new(METHOD_BINDING, CLASS_INDICATION);
    let indication = Request::of_kind(indication, &scene.local, &scene.remote).build();
    let later = almost + Duration::from_secs(20);
    assert!(scene.agent.handle(later, address(1), &indication).unwrap().reply.is_none());
    // Another address proves itself, but not that the selected one is still there.
    scene.agent.handle(later, address(2), &check(&scene.local, &scene.remote)).unwrap();
    let end = almost + CONSENT_LIFETIME;
    assert!(scene.agent.handle_timeout(end), "consent has to run out");
    assert!(!scene.agent.handle_timeout(end), "and only once");
    assert_eq!(scene.agent.selected(), None);
    assert!(!scene.agent.is_validated(address(1)) && !scene.agent.is_validated(address(2)));
    assert_eq!(scene.agent.poll_timeout(), None);
    assert_eq!(scene.agent.handle(end, address(1), &nominating).unwrap_err(), IceError::ConsentExpired);
}

#[test]
fn a_restart_keeps_the_old_pair_until_the_new_credentials_nominate() {
    let mut scene = scene();
    let old = nominating_check(&scene.local, &scene.remote);
    scene.agent.handle(scene.now, address(1), &old).unwrap();
    let (local, remote) = (IceCredentials::random(), IceCredentials::random());
    scene.agent.restart(local.clone(), remote.clone(), scene.now);
    assert_eq!(scene.agent.selected(), Some(address(1)));
    assert_eq!(scene.agent.local_ufrags().count(), 2);
    scene.agent.handle(scene.now, address(1), &old).expect("old credentials are still good");
    scene.agent.handle(scene.now, address(2), &check(&local, &remote)).unwrap();
    assert_eq!(scene.agent.selected(), Some(address(1)));
    let moved = scene.agent.handle(scene.now, address(2), &nominating_check(&local, &remote)).unwrap();
    assert_eq!(moved.selected, Some(address(2)));
    assert_eq!(scene.agent.local_ufrags().collect::<Vec<_>>(), [local.ufrag.as_str()]);
    let refused = scene.agent.handle(scene.now, address(1), &old).unwrap_err();
    assert!(matches!(refused, IceError::Unauthenticated(_)));
}

#[test]
fn a_restart_revives_expired_consent_but_not_the_old_credentials() {
    let mut scene = scene();
    let old = nominating_check(&scene.local, &scene.remote);
    scene.agent.handle(scene.now, address(1), &old).unwrap();
    let end = scene.now + CONSENT_LIFETIME;
    assert!(scene.agent.handle_timeout(end));
    let (local, remote) = (IceCredentials::random(), IceCredentials::random());
    scene.agent.restart(local.clone(), remote.clone(), end);
    assert!(scene.agent.handle(end, address(1), &old).is_err());
    assert_eq!(scene.agent.selected(), None);
    scene.agent.handle(end, address(1), &nominating_check(&local, &remote)).unwrap();
    assert_eq!(scene.agent.selected(), Some(address(1)));
}

#[test]
fn many_addresses_of_one_peer_cannot_push_the_selected_one_out() {
    let mut scene = scene();
    scene.agent.handle(scene.now, address(1), &nominating_check(&scene.local, &scene.remote)).unwrap();
    let plain = check(&scene.local, &scene.remote);
    for port in 2..1000 {
        scene.agent.handle(scene.now + Duration::from_millis(port.into()), address(port), &plain).unwrap();
    }
    assert!(scene.agent.is_validated(address(1)));
    assert!(scene.agent.is_validated(address(999)));
    assert!(!scene.agent.is_validated(address(2)), "the number of remembered addresses is bounded");
}

#[test]
fn the_same_address_over_tcp_is_another_path() {
    let mut scene = scene();
    let over_udp = address(1);
    let over_tcp = |generation| Path::new(over_udp.remote, Link::stream(0, NonZeroU32::new(generation).unwrap()));
    let nominating = nominating_check(&scene.local, &scene.remote);
    scene.agent.handle(scene.now, over_tcp(1), &nominating).unwrap();
    assert_eq!(scene.agent.selected(), Some(over_tcp(1)));
    assert!(!scene.agent.is_validated(over_udp) && !scene.agent.is_validated(over_tcp(2)));
    let moved = scene.agent.handle(scene.now, over_udp, &nominating).unwrap();
    assert_eq!(moved.selected, Some(over_udp));
    assert!(scene.agent.is_validated(over_udp) && scene.agent.is_validated(over_tcp(1)));
}

#[test]
fn a_path_that_is_no_more_is_not_sent_to_and_the_next_check_brings_another() {
    let mut scene = scene();
    let plain = check(&scene.local, &scene.remote);
    scene.agent.handle(scene.now, address(1), &nominating_check(&scene.local, &scene.remote)).unwrap();
    scene.agent.handle(scene.now, address(2), &plain).unwrap();
    scene.agent.forget(address(2));
    assert_eq!(scene.agent.selected(), Some(address(1)), "another path is of no consequence");
    scene.agent.forget(address(1));
    assert_eq!(scene.agent.selected(), None);
    assert!(!scene.agent.is_validated(address(1)) && !scene.agent.is_validated(address(2)));
    // Consent goes on as if nothing had happened.
    assert!(!scene.agent.handle_timeout(scene.now + CONSENT_LIFETIME - Duration::from_millis(1)));
    scene.agent.handle(scene.now, address(3), &plain).unwrap();
    assert_eq!(scene.agent.selected(), Some(address(3)));
    scene.agent.forget(address(3));
    assert!(scene.agent.handle_timeout(scene.now + CONSENT_LIFETIME), "and ends as it would have");
}

#[test]
fn a_request_is_routed_by_its_user_name() {
    let scene = scene();
    let request = check(&scene.local, &scene.remote);
    assert_eq!(request_username(&request), Some((scene.local.ufrag.as_str(), scene.remote.ufrag.as_str())));
    let no_colon = Request::new(&scene.local, &scene.remote).message.raw[..20].to_vec();
    assert_eq!(request_username(&no_colon), None);
    assert_eq!(request_username(&[]), None);
}

#[test]
fn every_prefix_and_every_flipped_bit_of_a_good_request_is_refused() {
    let mut scene = scene();
    let request = nominating_check(&scene.local, &scene.remote);
    for len in 0..request.len() {
        let _ = request_username(&request[..len]);
        scene.agent.handle(scene.now, address(1), &request[..len]).unwrap_err();
    }
    for bit in 0..request.len() * 8 {
        let mut flipped = request.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let _ = request_username(&flipped);
        // What a flipped bit makes another kind of message is ignored.
        if let Ok(outcome) = scene.agent.handle(scene.now, address(1), &flipped) {
            assert!(outcome.reply.is_none(), "bit {bit} was answered");
        }
        assert_eq!(scene.agent.selected(), None, "bit {bit} was believed");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_agent_panic_or_believe_anything(mut bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let mut scene = scene();
        let _ = request_username(&bytes);
        let _ = scene.agent.handle(scene.now, address(1), &bytes);
        // The same bytes behind a plausible header.
        bytes.truncate(bytes.len() / 4 * 4);
        let mut message = vec![0, 1];
        message.extend((bytes.len() as u16).to_be_bytes());
        message.extend([0x21, 0x12, 0xA4, 0x42]);
        message.extend([7; 12]);
        message.extend(&bytes);
        let _ = request_username(&message);
        let outcome = scene.agent.handle(scene.now, address(1), &message);
        prop_assert!(outcome.is_err());
        prop_assert_eq!(scene.agent.selected(), None);
    }

    #[test]
    fn no_attributes_between_good_ones_make_the_agent_panic(
        attributes in prop::collection::vec((any::<u16>(), prop::collection::vec(any::<u8>(), 0..40)), 0..12),
    ) {
        let mut scene = scene();
        let mut request = Request::new(&scene.local, &scene.remote);
        for (kind, value) in &attributes {
            request = request.with(AttrType(*kind), value);
        }
        // FINGERPRINT and MESSAGE-INTEGRITY among them make it unsignable; then the bytes go in as they are.
        let signable = attributes.iter().all(|(kind, _)| ![0x8028, 0x0008].contains(kind));
        let request = if signable { request.build() } else { request.message.raw };
        if let Ok(outcome) = scene.agent.handle(scene.now, address(1), &request) {
            prop_assert!(outcome.reply.is_none_or(|reply| reply.len() <= request.len()));
        }
    }
}
