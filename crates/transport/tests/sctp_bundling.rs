//! What two SCTP associations send one another for small messages both ways: packets are what a data channel costs.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::{Duration, Instant};

use ringback_transport::sctp::{Delivery, Reliability, SctpAssociation, SctpEvent};

const MILLISECOND: Duration = Duration::from_millis(1);

/// Two associations on a path that takes no time, and how many packets each has sent.
struct Pair {
    now: Instant,
    ends: [SctpAssociation; 2],
    sent: [usize; 2],
    heard: [Vec<Vec<u8>>; 2],
}

impl Pair {
    fn connected() -> Self {
        let now = Instant::now();
        let ends = [SctpAssociation::new(true, now).unwrap(), SctpAssociation::new(false, now).unwrap()];
        let mut pair = Self { now, ends, sent: [0; 2], heard: Default::default() };
        pair.run(50 * MILLISECOND);
        assert!(pair.ends.iter().all(SctpAssociation::is_established));
        pair
    }

    fn open(&mut self) -> u16 {
        let lossy = Delivery { ordered: false, reliability: Reliability::Retransmissions(0) };
        let channel = self.ends[0].open(self.now, "reactions", "", lossy).unwrap();
        self.run(1_000 * MILLISECOND);
        channel
    }

    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.exchange();
            self.now += MILLISECOND;
            for (end, heard) in self.ends.iter_mut().zip(&mut self.heard) {
                let mut events = Vec::new();
                end.handle_timeout(self.now, &mut events).unwrap();
                take(events, heard);
            }
        }
        self.exchange();
    }

    fn exchange(&mut self) {
        loop {
            let packets =
                self.ends.each_mut().map(|end| std::iter::from_fn(|| end.poll_transmit()).collect::<Vec<_>>());
            if packets.iter().all(Vec::is_empty) {
                return;
            }
            for (from, packets) in packets.into_iter().enumerate() {
                self.sent[from] += packets.len();
                for packet in packets {
                    let mut events = Vec::new();
                    self.ends[1 - from].handle(self.now, packet, &mut events).unwrap();
                    take(events, &mut self.heard[1 - from]);
                }
            }
        }
    }

    fn send(&mut self, from: usize, channel: u16, text: &[u8]) {
        self.ends[from].send(self.now, channel, false, text).unwrap();
    }
}

fn take(events: Vec<SctpEvent>, heard: &mut Vec<Vec<u8>>) {
    heard.extend(events.into_iter().filter_map(|event| match event {
        SctpEvent::Message { data, .. } => Some(data.to_vec()),
        _ => None,
    }));
}

#[test]
fn an_acknowledgement_that_waits_goes_with_what_is_sent() {
    let mut pair = Pair::connected();
    let channel = pair.open();
    pair.sent = [0; 2];
    for n in 0..10_u8 {
        pair.send(0, channel, &[b'a', n]);
        pair.run(100 * MILLISECOND);
        pair.send(1, channel, &[b'b', n]);
        pair.run(100 * MILLISECOND);
    }
    assert_eq!(pair.sent, [10, 10], "a packet for each message and nothing else");
    let all = |who: u8| (0..10).map(|n| vec![who, n]).collect::<Vec<_>>();
    assert_eq!(pair.heard, [all(b'b'), all(b'a')]);
    // The last one's acknowledgement has nothing to go with, and goes alone.
    pair.run(150 * MILLISECOND);
    assert_eq!(pair.sent, [11, 10]);
    pair.run(10_000 * MILLISECOND);
    assert_eq!(pair.sent, [11, 10], "nothing is repeated: everything was acknowledged");
}

#[test]
fn who_only_receives_acknowledges_as_before() {
    let mut pair = Pair::connected();
    let channel = pair.open();
    pair.sent = [0; 2];
    for n in 0..10_u8 {
        pair.send(0, channel, &[n]);
        pair.run(MILLISECOND);
    }
    assert_eq!(pair.sent, [10, 5], "every second one at once");
    pair.run(10_000 * MILLISECOND);
    assert_eq!(pair.sent, [10, 5]);
    assert_eq!(pair.heard[1].len(), 10);
}
