//! Data channels over a connection: opened from either side, echoed, lossy, too large, closed, attacked.
#![allow(clippy::unwrap_used, missing_docs)]

mod connection_peer;

use std::time::Duration;

use bytes::Bytes;
use connection_peer::call::{Call, Setup, rtp};
use proptest::prelude::*;
use ringback_transport::connection::ConnectionEvent;
use ringback_transport::dtls::DtlsRole;
use ringback_transport::error::TransportError;
use ringback_transport::sctp::{Delivery, MAX_MESSAGE, Reliability, SctpAssociation, SctpError, SctpEvent};

const SECOND: Duration = Duration::from_secs(1);

fn data_call(setup: Setup) -> Call {
    let mut call = Call::connected(Setup { sctp: true, ..setup });
    call.run(|call| call.far.sctp.as_ref().is_some_and(SctpAssociation::is_established), 30 * SECOND);
    assert!(call.far.sctp.as_ref().unwrap().is_established(), "{:?}", call.events);
    call
}

/// Opens a channel from the far end and waits for it to be open at both.
fn open(call: &mut Call, label: &str, delivery: Delivery) -> u16 {
    let now = call.now;
    let channel = call.far.sctp.as_mut().unwrap().open(now, label, "chat", delivery).unwrap();
    call.run(|call| is_open_at_far(call, channel), 30 * SECOND);
    assert!(is_open_at_far(call, channel));
    channel
}

fn is_open_at_far(call: &Call, wanted: u16) -> bool {
    call.far.data_events.iter().any(|event| matches!(event, SctpEvent::Open { channel, .. } if *channel == wanted))
}

fn send_from_far(call: &mut Call, channel: u16, data: &[u8]) -> Result<(), SctpError> {
    let now = call.now;
    call.far.sctp.as_mut().unwrap().send(now, channel, true, data)
}

fn received(call: &Call, wanted: u16) -> Vec<Bytes> {
    let message = |event: &ConnectionEvent| match event {
        ConnectionEvent::DataMessage { channel, data, .. } if *channel == wanted => Some(data.clone()),
        _ => None,
    };
    call.events.iter().filter_map(message).collect()
}

fn received_at_far(call: &Call, wanted: u16) -> Vec<Bytes> {
    let message = |event: &SctpEvent| match event {
        SctpEvent::Message { channel, data, .. } if *channel == wanted => Some(data.clone()),
        _ => None,
    };
    call.far.data_events.iter().filter_map(message).collect()
}

fn data_failure(call: &Call) -> Option<&SctpError> {
    call.events.iter().find_map(|event| match event {
        ConnectionEvent::DataFailed(error) => Some(error),
        _ => None,
    })
}

fn media_flows(call: &mut Call) -> bool {
    let (up, down) = (call.media.len(), call.far.media.len());
    let sequence = up as u16;
    call.far.send_rtp(&rtp(1, sequence, b"up"));
    call.send_rtp(&rtp(2, sequence, b"down"));
    call.run_for(Duration::from_millis(100));
    call.media.len() == up + 1 && call.far.media.len() == down + 1
}

#[test]
fn channels_opened_from_either_side_echo_in_both_dtls_roles() {
    for server_role in [DtlsRole::Server, DtlsRole::Client] {
        let mut call = data_call(Setup { server_role, ..Setup::seeded(1) });
        let theirs = open(&mut call, "reactions", Delivery::RELIABLE);
        let opened = call.events.iter().any(|event| {
            matches!(event, ConnectionEvent::DataChannelOpen { channel, label, protocol }
                if *channel == theirs && label == "reactions" && protocol == "chat")
        });
        assert!(opened, "{:?}", call.events);
        let now = call.now;
        let ours = call.connection.open_data_channel(now, "server", "", Delivery::RELIABLE).unwrap();
        assert_ne!(ours % 2, theirs % 2, "the two sides use different numbers");
        call.run(|call| is_open_at_far(call, ours), SECOND);
        assert!(is_open_at_far(&call, ours));
        call.run_for(SECOND);
        for (channel, len) in [(theirs, 5), (ours, 0), (theirs, MAX_MESSAGE), (ours, 3000), (theirs, 0)] {
            let data: Vec<u8> = (0..len).map(|index| index as u8).collect();
            send_from_far(&mut call, channel, &data).unwrap();
            call.run_for(SECOND);
            assert_eq!(received(&call, channel).last().unwrap(), &data);
            call.connection.send_data(call.now, channel, true, &data).unwrap();
            call.run_for(SECOND);
            assert_eq!(received_at_far(&call, channel).last().unwrap(), &data);
        }
        assert!(data_failure(&call).is_none());
    }
}

#[test]
fn text_and_binary_are_told_apart_also_when_empty() {
    let mut call = data_call(Setup::seeded(2));
    let channel = open(&mut call, "a", Delivery::RELIABLE);
    for (binary, data) in [(false, &b"text"[..]), (true, b"bytes"), (false, b""), (true, b"")] {
        let now = call.now;
        call.far.sctp.as_mut().unwrap().send(now, channel, binary, data).unwrap();
        call.run_for(SECOND);
        let last = call.events.iter().rev().find_map(|event| match event {
            ConnectionEvent::DataMessage { binary, data, .. } => Some((*binary, data.clone())),
            _ => None,
        });
        assert_eq!(last, Some((binary, Bytes::copy_from_slice(data))));
    }
}

#[test]
fn reliable_channels_deliver_everything_in_order_although_a_fifth_is_lost() {
    for seed in 0..6 {
        let mut setup = Setup::seeded(seed);
        setup.link.loss = 0.2;
        let mut call = data_call(setup);
        let channel = open(&mut call, "ordered", Delivery::RELIABLE);
        for number in 0..100_u32 {
            send_from_far(&mut call, channel, &number.to_be_bytes()).unwrap();
            call.run_for(Duration::from_millis(20));
        }
        call.run(|call| received(call, channel).len() == 100, 120 * SECOND);
        let numbers: Vec<u32> =
            received(&call, channel).iter().map(|data| u32::from_be_bytes(data[..].try_into().unwrap())).collect();
        assert_eq!(numbers, (0..100).collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn unordered_and_partially_reliable_channels_carry_on_past_what_is_lost() {
    for reliability in [Reliability::Retransmissions(0), Reliability::Milliseconds(50), Reliability::Full] {
        let mut call = data_call(Setup::seeded(3));
        let channel = open(&mut call, "loose", Delivery { ordered: false, reliability });
        call.link.loss = 0.2;
        for number in 0..200_u32 {
            let _ = send_from_far(&mut call, channel, &number.to_be_bytes());
            call.run_for(Duration::from_millis(20));
        }
        call.link.loss = 0.0;
        call.run_for(20 * SECOND);
        send_from_far(&mut call, channel, b"last").unwrap();
        call.run_for(5 * SECOND);
        let messages = received(&call, channel);
        assert_eq!(messages.last().unwrap(), &b"last"[..], "{reliability:?}");
        if reliability == Reliability::Full {
            assert_eq!(messages.len(), 201);
        } else {
            assert!((100..201).contains(&messages.len()), "{reliability:?}: {}", messages.len());
        }
    }
}

#[test]
fn a_message_over_the_limit_is_refused_before_it_is_sent() {
    let mut call = data_call(Setup::seeded(4));
    let channel = open(&mut call, "a", Delivery::RELIABLE);
    let refused = call.connection.send_data(call.now, channel, true, &[0; MAX_MESSAGE + 1]).unwrap_err();
    assert!(refused.to_string().contains("16385") && refused.to_string().contains("16384"), "{refused}");
    assert!(matches!(refused, TransportError::Sctp(SctpError::MessageTooLarge { .. })));
    let refused = call.connection.send_data(call.now, 40, true, b"x").unwrap_err();
    assert!(matches!(refused, TransportError::Sctp(SctpError::NotOpen(40))));
}

#[test]
fn a_peer_that_does_not_read_fills_a_bounded_queue() {
    let mut call = data_call(Setup::seeded(5));
    let channel = open(&mut call, "a", Delivery::RELIABLE);
    call.link.loss = 1.0;
    let mut sent = 0;
    let refused = loop {
        match call.connection.send_data(call.now, channel, true, &[0; 10_000]) {
            Ok(()) => sent += 10_000,
            Err(error) => break error,
        }
        assert!(sent < 1_000_000, "the queue has no bound");
    };
    assert!(matches!(refused, TransportError::Sctp(SctpError::SendBufferFull { .. })), "{refused}");
    call.link.loss = 0.0;
    call.run(|call| received_at_far(call, channel).len() * 10_000 == sent, 60 * SECOND);
    assert_eq!(received_at_far(&call, channel).len() * 10_000, sent);
    call.connection.send_data(call.now, channel, true, b"again").unwrap();
}

#[test]
fn a_closed_channel_is_closed_at_both_ends_and_its_number_free_again() {
    let mut call = data_call(Setup::seeded(6));
    let channel = open(&mut call, "a", Delivery::RELIABLE);
    let other = open(&mut call, "b", Delivery::RELIABLE);
    let now = call.now;
    call.far.sctp.as_mut().unwrap().close_channel(now, channel);
    call.run_for(5 * SECOND);
    let closed = |event: &ConnectionEvent| match event {
        ConnectionEvent::DataChannelClosed { channel: closed } => *closed == channel,
        _ => false,
    };
    assert_eq!(call.events.iter().filter(|event| closed(event)).count(), 1, "{:?}", call.events);
    assert!(call.connection.send_data(call.now, channel, true, b"x").is_err());
    call.connection.send_data(call.now, other, true, b"still open").unwrap();
    call.run_for(SECOND);
    assert_eq!(received_at_far(&call, other), [&b"still open"[..]]);
    // Close from the server's side.
    call.connection.close_data_channel(call.now, other);
    call.run_for(5 * SECOND);
    assert!(call.far.data_events.contains(&SctpEvent::Closed { channel: other }));
    call.far.data_events.clear();
    let again = open(&mut call, "c", Delivery::RELIABLE);
    send_from_far(&mut call, again, b"anew").unwrap();
    call.run_for(SECOND);
    assert_eq!(received(&call, again), [&b"anew"[..]]);
}

#[test]
fn channels_are_limited_in_number() {
    let mut call = data_call(Setup::seeded(7));
    let now = call.now;
    for number in 0..16 {
        call.far.sctp.as_mut().unwrap().open(now, &format!("channel {number}"), "", Delivery::RELIABLE).unwrap();
    }
    call.run_for(5 * SECOND);
    let refused = call.far.sctp.as_mut().unwrap().open(now, "one more", "", Delivery::RELIABLE).unwrap_err();
    assert_eq!(refused, SctpError::TooManyChannels { max: 16 });
    let refused = call.connection.open_data_channel(call.now, "one more", "", Delivery::RELIABLE).unwrap_err();
    assert!(matches!(refused, TransportError::Sctp(SctpError::TooManyChannels { max: 16 })));
    let opened = |event: &&ConnectionEvent| matches!(event, ConnectionEvent::DataChannelOpen { .. });
    assert_eq!(call.events.iter().filter(opened).count(), 16);
}

#[test]
fn without_data_channels_negotiated_nothing_can_be_sent() {
    let mut call = Call::connected(Setup::seeded(8));
    let refused = call.connection.send_data(call.now, 0, true, b"x").unwrap_err();
    assert!(matches!(refused, TransportError::Sctp(SctpError::NotEstablished)));
}

/// An SCTP packet for the server's association, with a right checksum. The verification tag is the one that the
/// far end's own packets have.
fn packet(tag: [u8; 4], chunks: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x13, 0x88, 0x13, 0x88];
    packet.extend(tag);
    packet.extend([0; 4]);
    packet.extend(chunks);
    let checksum = crc32c(&packet);
    packet[8..12].copy_from_slice(&checksum.to_le_bytes());
    packet
}

fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0x82F6_3B78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

fn chunk(kind: u8, flags: u8, value: &[u8]) -> Vec<u8> {
    let mut chunk = vec![kind, flags];
    chunk.extend(((value.len() + 4) as u16).to_be_bytes());
    chunk.extend(value);
    chunk.resize(chunk.len().next_multiple_of(4), 0);
    chunk
}

fn data_chunk(flags: u8, tsn: u32, stream: u16, ssn: u16, data: &[u8]) -> Vec<u8> {
    let mut value = tsn.to_be_bytes().to_vec();
    value.extend(stream.to_be_bytes());
    value.extend(ssn.to_be_bytes());
    value.extend(53_u32.to_be_bytes());
    value.extend(data);
    chunk(0, flags, &value)
}

/// A call whose far end writes its own SCTP packets from now on. Returns the verification tag and the next sequence
/// number to use.
fn hostile_call(seed: u64) -> (Call, [u8; 4], u32) {
    let mut call = data_call(Setup::seeded(seed));
    let channel = open(&mut call, "a", Delivery::RELIABLE);
    call.run_for(SECOND);
    // The next packet of its own tells both.
    send_from_far(&mut call, channel, b"peek").unwrap();
    let peek = call.far.sctp.as_mut().unwrap().poll_transmit().unwrap();
    let (tag, tsn) = (peek[4..8].try_into().unwrap(), u32::from_be_bytes(peek[16..20].try_into().unwrap()));
    call.far.sctp = None;
    (call, tag, tsn)
}

fn attack(call: &mut Call, packet: &[u8]) {
    let now = call.now;
    call.far.send_packet(now, packet);
    call.run_for(Duration::from_millis(30));
}

#[test]
fn a_message_without_end_ends_the_data_channels_but_not_the_call() {
    let (mut call, tag, first) = hostile_call(9);
    for fragment in 0..200_u32 {
        // Beginning, middle, middle …, never an end.
        let flags = if fragment == 0 { 0b010 } else { 0 };
        attack(&mut call, &packet(tag, &data_chunk(flags, first.wrapping_add(fragment), 0, 1, &[7; 1000])));
        if let Some(error) = data_failure(&call) {
            assert!(matches!(error, SctpError::EndlessMessage { .. }), "{error}");
            assert!(fragment < 60, "{fragment} KB were held");
            assert!(media_flows(&mut call));
            let closed = |event: &ConnectionEvent| matches!(event, ConnectionEvent::DataChannelClosed { .. });
            assert!(call.events.iter().any(closed));
            return;
        }
    }
    panic!("200 KB of a message without end were taken");
}

#[test]
fn a_message_over_the_limit_is_refused_and_the_channel_goes_on() {
    let (mut call, tag, first) = hostile_call(10);
    for fragment in 0..20_u32 {
        let flags = if fragment == 0 {
            0b010
        } else if fragment == 19 {
            0b001
        } else {
            0
        };
        attack(&mut call, &packet(tag, &data_chunk(flags, first.wrapping_add(fragment), 0, 1, &[7; 1000])));
    }
    attack(&mut call, &packet(tag, &data_chunk(0b011, first.wrapping_add(20), 0, 2, b"after")));
    let refused = call.events.iter().any(|event| {
        matches!(event, ConnectionEvent::DataRefused { error: SctpError::MessageTooLarge { len: 20_000, .. }, .. })
    });
    assert!(refused, "{:?}", call.events);
    assert_eq!(received(&call, 0).last().unwrap(), &b"after"[..]);
}

#[test]
fn hostile_chunks_cost_the_data_channels_at_most() {
    let long_ago = std::time::Instant::now();
    let tsn_far = |tsn: u32| tsn.wrapping_add(1 << 30).to_be_bytes();
    type Attack = Box<dyn Fn(u32) -> Vec<u8>>;
    let attacks: Vec<(&str, Attack)> = vec![
        ("a jump of a thousand million", Box::new(move |tsn| chunk(192, 0, &tsn_far(tsn)))),
        ("data far ahead", Box::new(move |tsn| data_chunk(3, tsn.wrapping_add(1 << 30), 0, 1, b"x"))),
        ("a stream nobody negotiated", Box::new(|tsn| data_chunk(3, tsn, 60_000, 0, b"x"))),
        ("data without data", Box::new(|tsn| data_chunk(3, tsn, 0, 1, b""))),
        ("an abort whose cause is cut off", Box::new(|_| chunk(6, 0, &[0, 12, 0, 200]))),
        ("an error whose cause is cut off", Box::new(|_| chunk(9, 0, &[0, 1, 255, 255, 0, 0]))),
        ("an acknowledgement of what was never sent", Box::new(|_| chunk(3, 0, &[9, 9, 9, 9, 0, 0, 9, 9, 0, 0, 0, 0]))),
        ("a heartbeat without information", Box::new(|_| chunk(4, 0, &[]))),
        ("a heartbeat cut off", Box::new(|_| chunk(4, 0, &[0, 1, 0, 90]))),
        ("a second beginning", Box::new(|_| chunk(1, 0, &[1, 1, 1, 1, 0, 0, 9, 9, 0, 1, 0, 1, 0, 0, 0, 0]))),
        ("a reset of all streams", Box::new(|_| chunk(130, 0, &[0, 13, 0, 16, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0]))),
        ("a reset cut off", Box::new(|_| chunk(130, 0, &[0, 13, 0, 250, 0, 0]))),
        ("an unknown chunk", Box::new(|_| chunk(0x77, 0, &[1, 2, 3]))),
        ("a length below a header", Box::new(|_| vec![0, 3, 0, 1])),
        ("a shutdown", Box::new(|_| chunk(7, 0, &[0, 0, 0, 0]))),
    ];
    for (name, attack_with) in attacks {
        let (mut call, tag, tsn) = hostile_call(11);
        attack(&mut call, &packet(tag, &attack_with(tsn)));
        assert!(call.failure().is_none(), "{name}");
        assert!(media_flows(&mut call), "{name}");
        // Whatever became of the association, further packets do no harm.
        attack(&mut call, &packet(tag, &data_chunk(3, tsn, 0, 1, b"peek")));
        assert!(media_flows(&mut call), "{name}");
    }
    assert!(long_ago.elapsed() < 15 * SECOND, "an attack cost seconds of computing");
}

#[test]
fn messages_whose_acknowledgements_are_lost_arrive_once() {
    let mut call = data_call(Setup::seeded(15));
    let channel = open(&mut call, "a", Delivery::RELIABLE);
    call.run_for(SECOND);
    call.link.silenced = Some(call.server);
    for number in 0..5_u32 {
        send_from_far(&mut call, channel, &number.to_be_bytes()).unwrap();
        call.run_for(SECOND);
    }
    call.link.silenced = None;
    call.run_for(20 * SECOND);
    send_from_far(&mut call, channel, &5_u32.to_be_bytes()).unwrap();
    call.run_for(SECOND);
    let expected: Vec<Vec<u8>> = (0..6_u32).map(|number| number.to_be_bytes().to_vec()).collect();
    assert_eq!(received(&call, channel), expected);
}

#[test]
fn what_may_be_lost_does_not_stand_in_the_way_of_what_has_to_arrive() {
    let mut call = data_call(Setup::seeded(16));
    let lossy = Delivery { ordered: false, reliability: Reliability::Retransmissions(0) };
    let (ticks, hands) = (open(&mut call, "reactions", lossy), open(&mut call, "hands", Delivery::RELIABLE));
    call.link.loss = 1.0;
    let sent =
        (0..1000).take_while(|_| call.connection.send_data(call.now, ticks, false, &[b'x'; 1000]).is_ok()).count();
    assert!((10..=40).contains(&sent), "{sent} kB of ticks wait");
    call.connection.send_data(call.now, hands, false, b"up").unwrap();
    call.link.loss = 0.0;
    call.run_for(20 * SECOND);
    assert_eq!(received_at_far(&call, hands), [&b"up"[..]]);
    call.connection.send_data(call.now, ticks, false, b"now").unwrap();
    call.run_for(SECOND);
    assert_eq!(received_at_far(&call, ticks).last().unwrap(), &b"now"[..]);
}

/// The sequence numbers of the DATA chunks that came, whoever handles packets by themselves.
fn sequence_numbers(call: &Call) -> Vec<u32> {
    let first_chunk = |packet: &Vec<u8>| match packet.get(12) {
        Some(0) => Some(u32::from_be_bytes(packet[16..20].try_into().unwrap())),
        _ => None,
    };
    call.far.packets.iter().filter_map(first_chunk).collect()
}

fn acknowledge(call: &mut Call, tag: [u8; 4], tsn: u32, window: u32) {
    let mut value = tsn.to_be_bytes().to_vec();
    value.extend(window.to_be_bytes());
    value.extend([0; 4]);
    attack(call, &packet(tag, &chunk(3, 0, &value)));
}

#[test]
fn a_peer_that_closes_its_window_is_probed_seldom_and_gets_everything_once_it_opens() {
    let (mut call, tag, _) = hostile_call(17);
    call.connection.send_data(call.now, 0, true, b"the number of this").unwrap();
    call.run_for(Duration::from_millis(100));
    let last = *sequence_numbers(&call).last().unwrap();
    acknowledge(&mut call, tag, last, 0);
    call.far.packets.clear();
    for _ in 0..20 {
        call.connection.send_data(call.now, 0, true, &[7; 1000]).unwrap();
    }
    for _ in 0..30 {
        call.run_for(SECOND);
        acknowledge(&mut call, tag, last, 0);
    }
    let probes = sequence_numbers(&call);
    assert!((2..=40).contains(&probes.len()), "{} probes in half a minute", probes.len());
    assert!(probes.iter().all(|tsn| *tsn == last.wrapping_add(1)), "only the first of what waits");
    assert!(data_failure(&call).is_none() && media_flows(&mut call));
    for _ in 0..100 {
        let come = sequence_numbers(&call);
        let next = (1..).map(|ahead| last.wrapping_add(ahead)).find(|tsn| !come.contains(tsn)).unwrap();
        acknowledge(&mut call, tag, next.wrapping_sub(1), 100_000);
    }
    let come = sequence_numbers(&call);
    assert!((1..=20).all(|ahead| come.contains(&last.wrapping_add(ahead))), "{come:?}");
}

#[test]
fn memory_held_for_a_hostile_peer_is_bounded() {
    let (mut call, tag, first) = hostile_call(12);
    let info = allocation_counter::measure(|| {
        // A hole at the first number, then a flood of tiny messages behind it. Measured: 1.2 MB.
        for round in 0..40_000_u32 {
            let chunks = data_chunk(3, first.wrapping_add(1 + round), (round % 64) as u16, 5, &[1; 4]);
            let now = call.now;
            call.far.send_packet(now, &packet(tag, &chunks));
            let mut datagram = call.far.dtls.poll_transmit().unwrap().to_vec();
            let from = call.far.address.into();
            let _ = call.connection.handle_datagram(now, from, &mut datagram);
            while call.connection.poll_transmit().is_some() {}
            while call.connection.poll_event().is_some() {}
        }
    });
    assert!(info.bytes_max < 2 * 1024 * 1024, "{} bytes were held", info.bytes_max);
    assert!(media_flows(&mut call));
}

fn any_chunk_type() -> impl Strategy<Value = u8> {
    prop_oneof![0u8..16, Just(130u8), Just(192u8), any::<u8>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn no_chunks_make_a_connection_panic_or_end(
        chunks in prop::collection::vec(
            (any_chunk_type(), 0u8..8, prop::collection::vec(any::<u8>(), 0..48)),
            1..12,
        ),
        near: bool,
    ) {
        let (mut call, tag, tsn) = hostile_call(13);
        for (kind, flags, mut value) in chunks {
            // Random sequence numbers hardly ever hit: near ones get further.
            if near && value.len() >= 4 {
                value[..4].copy_from_slice(&tsn.wrapping_add(u32::from(flags)).to_be_bytes());
            }
            attack(&mut call, &packet(tag, &chunk(kind, flags, &value)));
        }
        prop_assert!(call.failure().is_none());
        prop_assert!(media_flows(&mut call));
    }
}
