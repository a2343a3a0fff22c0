//! Two DTLS associations against each other, on virtual time over a link that loses datagrams.
#![allow(clippy::unwrap_used, missing_docs)]

mod connection_peer;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use connection_peer::link::Link;
use proptest::prelude::*;
use ringback_transport::dtls::{Certificate, DtlsAssociation, DtlsError, DtlsEvent, DtlsRole};
use ringback_transport::sdp::Fingerprint;
use ringback_transport::srtp::SrtpProfile;

struct Side {
    dtls: DtlsAssociation,
    address: SocketAddr,
    events: Vec<DtlsEvent>,
    error: Option<DtlsError>,
}

impl Side {
    fn data(&self) -> Vec<Vec<u8>> {
        let data = |event: &DtlsEvent| match event {
            DtlsEvent::Data(data) => Some(data.to_vec()),
            _ => None,
        };
        self.events.iter().filter_map(data).collect()
    }
}

/// A client and a server.
struct Pair {
    sides: [Side; 2],
    link: Link,
    now: Instant,
    sent: [usize; 2],
}

fn pair_with(link: Link, [expected_by_client, expected_by_server]: [Option<Fingerprint>; 2]) -> Pair {
    let certificates = [Certificate::generate().unwrap(), Certificate::generate().unwrap()];
    let expected = [
        expected_by_client.unwrap_or_else(|| certificates[1].fingerprint()),
        expected_by_server.unwrap_or_else(|| certificates[0].fingerprint()),
    ];
    let side = |index: usize, role, port| Side {
        dtls: DtlsAssociation::new(certificates[index].clone(), role, vec![expected[index].clone()]).unwrap(),
        address: SocketAddr::from(([10, 0, 0, 1], port)),
        events: Vec::new(),
        error: None,
    };
    let sides = [side(0, DtlsRole::Client, 1), side(1, DtlsRole::Server, 2)];
    let now = Instant::now();
    let mut pair = Pair { sides, link, now, sent: [0; 2] };
    for side in &mut pair.sides {
        side.dtls.start(now).unwrap();
    }
    pair
}

fn pair(link: Link) -> Pair {
    pair_with(link, [None, None])
}

impl Pair {
    fn flush(&mut self) {
        for index in [0, 1] {
            let to = self.sides[1 - index].address;
            while let Some(bytes) = self.sides[index].dtls.poll_transmit() {
                self.sent[index] += 1;
                self.link.send(self.now, self.sides[index].address, to, &bytes);
            }
        }
    }

    fn run(&mut self, until: impl Fn(&Self) -> bool, limit: Duration) {
        let end = self.now + limit;
        loop {
            self.flush();
            if until(self) {
                return;
            }
            let timeouts = self.sides.iter().filter_map(|side| side.dtls.poll_timeout());
            let Some(next) = timeouts.chain(self.link.next_arrival()).min() else { return };
            if next > end {
                return;
            }
            self.now = self.now.max(next);
            for datagram in self.link.arrivals(self.now) {
                let side = self.sides.iter_mut().find(|side| side.address == datagram.to).unwrap();
                if let Err(error) = side.dtls.handle(self.now, &datagram.bytes, &mut side.events) {
                    side.error.get_or_insert(error);
                }
            }
            for side in &mut self.sides {
                if let Err(error) = side.dtls.handle_timeout(self.now) {
                    side.error.get_or_insert(error);
                }
            }
        }
    }

    fn established(&self) -> bool {
        self.sides.iter().all(|side| side.dtls.is_established())
    }

    fn connect(&mut self) {
        self.run(Self::established, Duration::from_secs(30));
        assert!(self.established(), "{:?} {:?}", self.sides[0].error, self.sides[1].error);
    }
}

#[test]
fn both_sides_export_the_same_keys_and_choose_gcm() {
    let mut pair = pair(Link::new(1));
    let begin = pair.now;
    pair.connect();
    let [client, server] = &pair.sides;
    let (client_profile, client_keys) = client.dtls.keying_material().unwrap();
    let (server_profile, server_keys) = server.dtls.keying_material().unwrap();
    assert_eq!(client_profile, SrtpProfile::AeadAes128Gcm);
    assert_eq!(server_profile, SrtpProfile::AeadAes128Gcm);
    assert_eq!(client_keys.as_ref(), server_keys.as_ref());
    assert_eq!(client_keys.len(), 56);
    assert!(pair.now - begin < Duration::from_millis(200), "no timer was needed: {:?}", pair.now - begin);
}

#[test]
fn data_flows_both_ways_and_goodbye_ends_it() {
    let mut pair = pair(Link::new(2));
    pair.connect();
    for (index, text) in [(0, "from the client"), (1, "from the server")] {
        pair.sides[index].dtls.send(pair.now, text.as_bytes()).unwrap();
    }
    pair.run(|_| false, Duration::from_secs(1));
    assert_eq!(pair.sides[0].data(), [b"from the server"]);
    assert_eq!(pair.sides[1].data(), [b"from the client"]);
    let now = pair.now;
    pair.sides[0].dtls.close(now);
    pair.run(|_| false, Duration::from_secs(1));
    assert!(pair.sides[1].events.iter().any(|event| matches!(event, DtlsEvent::Closed)));
    assert_eq!(pair.sides[1].dtls.send(now, b"late"), Err(DtlsError::NotEstablished));
    assert_eq!(pair.sides[0].dtls.send(now, b"late"), Err(DtlsError::NotEstablished));
}

#[test]
fn a_fifth_of_all_datagrams_may_be_lost() {
    for seed in 0..60 {
        let mut pair = pair(Link::new(seed).with_loss(0.2));
        pair.run(Pair::established, Duration::from_secs(30));
        assert!(pair.established(), "seed {seed}: {:?} {:?}", pair.sides[0].error, pair.sides[1].error);
        // Both can talk: neither is established with the other stuck in the handshake.
        pair.link.loss = 0.0;
        let now = pair.now;
        pair.sides[0].dtls.send(now, b"a").unwrap();
        pair.sides[1].dtls.send(now, b"b").unwrap();
        pair.run(|_| false, Duration::from_secs(1));
        assert_eq!((pair.sides[0].data().len(), pair.sides[1].data().len()), (1, 1), "seed {seed}");
    }
}

#[test]
fn each_single_lost_datagram_is_made_up_for() {
    for lost in 0..14 {
        let mut pair = pair(Link::new(3));
        let mut count = 0;
        let end = pair.now + Duration::from_secs(20);
        while !pair.established() && pair.now < end {
            for index in [0, 1] {
                let to = pair.sides[1 - index].address;
                while let Some(bytes) = pair.sides[index].dtls.poll_transmit() {
                    if count != lost {
                        pair.link.send(pair.now, pair.sides[index].address, to, &bytes);
                    }
                    count += 1;
                }
            }
            pair.run(|_| true, Duration::ZERO);
            let timeouts = pair.sides.iter().filter_map(|side| side.dtls.poll_timeout());
            let Some(next) = timeouts.chain(pair.link.next_arrival()).min() else { break };
            pair.now = pair.now.max(next);
            for datagram in pair.link.arrivals(pair.now) {
                let side = pair.sides.iter_mut().find(|side| side.address == datagram.to).unwrap();
                side.dtls.handle(pair.now, &datagram.bytes, &mut side.events).unwrap();
            }
            for side in &mut pair.sides {
                side.dtls.handle_timeout(pair.now).unwrap();
            }
        }
        assert!(pair.established(), "datagram {lost} lost");
    }
}

#[test]
fn a_certificate_that_signaling_did_not_announce_fails_with_both_fingerprints_named() {
    for (index, wrong_at) in [(0, [true, false]), (1, [false, true])] {
        let other = Certificate::generate().unwrap().fingerprint();
        let expected = wrong_at.map(|wrong| wrong.then(|| other.clone()));
        let mut pair = pair_with(Link::new(4), expected);
        pair.run(|pair| pair.sides.iter().all(|side| side.error.is_some()), Duration::from_secs(40));
        let error = pair.sides[index].error.clone().unwrap();
        assert!(matches!(error, DtlsError::FingerprintMismatch { .. }), "{error}");
        assert!(error.to_string().contains(&other.to_string()), "{error}");
        // The other side learns of it too, by an alert.
        assert!(matches!(pair.sides[1 - index].error, Some(DtlsError::Handshake { .. })));
        for side in &pair.sides {
            assert!(!side.dtls.is_established());
            assert!(side.events.iter().all(|event| !matches!(event, DtlsEvent::Established)));
        }
    }
}

#[test]
fn nobody_to_expect_is_an_error_at_once() {
    let certificate = Certificate::generate().unwrap();
    let refused = DtlsAssociation::new(certificate, DtlsRole::Server, Vec::new());
    assert_eq!(refused.unwrap_err(), DtlsError::NoFingerprint);
}

#[test]
fn a_handshake_nobody_answers_ends_in_time() {
    for index in [0, 1] {
        let mut pair = pair(Link::new(5).with_loss(1.0));
        pair.run(|pair| pair.sides[index].error.is_some(), Duration::from_secs(60));
        assert!(matches!(pair.sides[index].error, Some(DtlsError::Timeout { .. })));
    }
}

#[test]
fn a_first_hello_is_answered_by_less_than_it_has() {
    let mut pair = pair(Link::new(6));
    let hello = pair.sides[0].dtls.poll_transmit().unwrap();
    let now = pair.now;
    let server = &mut pair.sides[1];
    server.dtls.handle(now, &hello, &mut server.events).unwrap();
    let answer = server.dtls.poll_transmit().unwrap();
    assert!(answer.len() <= hello.len(), "{} bytes answered by {}", hello.len(), answer.len());
    assert!(server.dtls.poll_transmit().is_none());
}

/// A record that anybody can write.
fn forged(content_type: u8, epoch: u16, sequence: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![content_type, 0xFE, 0xFD];
    bytes.extend(epoch.to_be_bytes());
    bytes.extend(&sequence.to_be_bytes()[2..]);
    bytes.extend((body.len() as u16).to_be_bytes());
    bytes.extend(body);
    bytes
}

#[test]
fn forged_records_do_not_disturb_an_established_association() {
    let mut pair = pair(Link::new(7));
    pair.connect();
    let now = pair.now;
    for content_type in 18..26 {
        for epoch in [0, 1, 2, 9] {
            for sequence in [0, 5, 1000, (1 << 48) - 1] {
                for body in [&[2, 40][..], &[1, 0], &[1], &[2; 200]] {
                    let record = forged(content_type, epoch, sequence, body);
                    for side in &mut pair.sides {
                        side.dtls.handle(now, &record, &mut side.events).unwrap();
                    }
                }
            }
        }
    }
    assert!(pair.sides[0].dtls.poll_transmit().is_none(), "nothing forged is answered");
    pair.sides[0].dtls.send(now, b"still here").unwrap();
    pair.run(|_| false, Duration::from_secs(1));
    assert_eq!(pair.sides[1].data(), [b"still here"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn no_datagram_makes_a_handshake_panic(
        garbage in prop::collection::vec((20u8..26, 0u16..3, prop::collection::vec(any::<u8>(), 0..120)), 1..12),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 0..4),
        seed: u64,
    ) {
        let mut pair = pair(Link::new(seed));
        let mut round = 0;
        let end = pair.now + Duration::from_secs(5);
        while !pair.established() && pair.now < end && pair.sides.iter().all(|side| side.error.is_none()) {
            for index in [0, 1] {
                let to = pair.sides[1 - index].address;
                while let Some(mut bytes) = pair.sides[index].dtls.poll_transmit() {
                    // Now and then a real datagram arrives damaged.
                    if round < flips.len() {
                        let (place, bit) = &flips[round];
                        let place = place.index(bytes.len());
                        bytes[place] ^= 1 << bit;
                    }
                    round += 1;
                    pair.link.send(pair.now, pair.sides[index].address, to, &bytes);
                }
                for (content_type, epoch, body) in &garbage {
                    let record = forged(*content_type, *epoch, 1, body);
                    let (now, side) = (pair.now, &mut pair.sides[index]);
                    if let Err(error) = side.dtls.handle(now, &record, &mut side.events) {
                        prop_assert!(!matches!(error, DtlsError::Panicked(_)), "{}", error);
                    }
                }
            }
            let timeouts = pair.sides.iter().filter_map(|side| side.dtls.poll_timeout());
            let Some(next) = timeouts.chain(pair.link.next_arrival()).min() else { break };
            pair.now = pair.now.max(next);
            for datagram in pair.link.arrivals(pair.now) {
                let side = pair.sides.iter_mut().find(|side| side.address == datagram.to).unwrap();
                if let Err(error) = side.dtls.handle(pair.now, &datagram.bytes, &mut side.events) {
                    prop_assert!(!matches!(error, DtlsError::Panicked(_)), "{}", error);
                    side.error.get_or_insert(error);
                }
            }
            for side in &mut pair.sides {
                if let Err(error) = side.dtls.handle_timeout(pair.now) {
                    side.error.get_or_insert(error);
                }
            }
        }
    }
}
