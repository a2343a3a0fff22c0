//! Packets on a byte stream: whatever the pieces in which they arrive and leave, the same packets come out.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use ringback_transport::framing::{FrameQueue, FrameReader, FrameTooLong, MAX_FRAME, QueueLimits};

const LIMITS: QueueLimits = QueueLimits { congested: 6_000, relieved: 1_000, full: 8_000 };

fn framed(packets: &[Vec<u8>]) -> Vec<u8> {
    let frame = |packet: &Vec<u8>| [&(packet.len() as u16).to_be_bytes()[..], packet].concat();
    packets.iter().flat_map(frame).collect()
}

/// Feeds bytes in pieces of these sizes, in turn, and collects what comes out.
fn read(bytes: &[u8], pieces: &[usize]) -> Result<Vec<Vec<u8>>, FrameTooLong> {
    let (mut reader, mut packets, mut rest) = (FrameReader::new(), Vec::new(), bytes);
    let mut sizes = pieces.iter().cycle();
    while !rest.is_empty() {
        let space = reader.space();
        assert!(space.len() >= MAX_FRAME + 2, "there is always room for a packet");
        let len = rest.len().min(*sizes.next().unwrap()).min(space.len());
        space[..len].copy_from_slice(&rest[..len]);
        reader.filled(len);
        rest = &rest[len..];
        while let Some(packet) = reader.next_frame()? {
            packets.push(packet.to_vec());
        }
    }
    Ok(packets)
}

fn packets() -> impl Strategy<Value = Vec<Vec<u8>>> {
    proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..=MAX_FRAME), 0..40)
}

proptest! {
    #[test]
    fn packets_come_out_whole_wherever_the_stream_is_cut(
        packets in packets(),
        pieces in proptest::collection::vec(1_usize..5_000, 1..20),
    ) {
        let expected: Vec<Vec<u8>> = packets.iter().filter(|packet| !packet.is_empty()).cloned().collect();
        prop_assert_eq!(read(&framed(&packets), &pieces).unwrap(), expected);
    }

    #[test]
    fn no_bytes_make_the_reader_panic_or_give_out_too_long_a_packet(
        bytes in proptest::collection::vec(any::<u8>(), 0..20_000),
        pieces in proptest::collection::vec(1_usize..3_000, 1..20),
    ) {
        match read(&bytes, &pieces) {
            Ok(packets) => prop_assert!(packets.iter().all(|packet| packet.len() <= MAX_FRAME)),
            Err(FrameTooLong { len }) => prop_assert!(len > MAX_FRAME),
        }
    }

    #[test]
    fn a_queue_gives_its_packets_to_the_stream_in_order_and_never_holds_more_than_its_limit(
        packets in packets(),
        takes in proptest::collection::vec(0_usize..4_000, 1..20),
    ) {
        let mut queue = FrameQueue::new(LIMITS);
        let (mut kept, mut written) = (Vec::new(), Vec::new());
        let mut takes = takes.iter().cycle();
        for packet in packets {
            if let Some(space) = queue.reserve(packet.len() + 20) {
                space[..packet.len()].copy_from_slice(&packet);
                queue.commit(packet.len());
                kept.push(packet);
            }
            prop_assert!(queue.len() <= LIMITS.full);
            let take = queue.len().min(*takes.next().unwrap());
            written.extend_from_slice(&queue.unsent()[..take]);
            queue.sent(take);
        }
        written.extend_from_slice(queue.unsent());
        kept.retain(|packet| !packet.is_empty());
        prop_assert_eq!(written, framed(&kept));
    }
}

#[test]
fn an_empty_packet_is_passed_over_and_a_byte_at_a_time_is_enough() {
    let stream = framed(&[vec![], vec![1], vec![], vec![], vec![2, 3]]);
    assert_eq!(read(&stream, &[1]).unwrap(), [vec![1], vec![2, 3]]);
    assert_eq!(read(&stream, &[stream.len()]).unwrap(), [vec![1], vec![2, 3]]);
}

#[test]
fn a_packet_that_is_too_long_is_refused_by_its_length_alone() {
    let longest = vec![7; MAX_FRAME];
    assert_eq!(read(&framed(std::slice::from_ref(&longest)), &[100]).unwrap(), [longest]);
    let len = MAX_FRAME + 1;
    let begun = (len as u16).to_be_bytes();
    assert_eq!(read(&begun, &[1]).unwrap_err(), FrameTooLong { len });
}

#[test]
fn a_queue_is_congested_from_its_mark_until_it_is_relieved() {
    let mut queue = FrameQueue::new(LIMITS);
    let put = |queue: &mut FrameQueue| {
        let space = queue.reserve(998);
        let fits = space.is_some();
        if fits {
            queue.commit(998);
        }
        fits
    };
    for _ in 0..5 {
        assert!(put(&mut queue) && !queue.is_congested());
    }
    assert!(put(&mut queue) && queue.is_congested());
    // What may not be left out still fits, until nothing does.
    assert!(put(&mut queue) && put(&mut queue) && !put(&mut queue));
    queue.sent(6_999);
    assert!(queue.is_congested());
    queue.sent(1);
    assert!(!queue.is_congested() && queue.len() == LIMITS.relieved);
    assert!(put(&mut queue));
    queue.sent(queue.len());
    assert!(queue.is_empty());
}
