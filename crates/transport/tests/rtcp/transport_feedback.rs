//! Transport-wide feedback: what is written is read by `rtc-rtcp` as it was meant, and the other way round; how small it is, what fits, and what of it is an error.

use proptest::prelude::*;
use ringback_transport::rtcp::{RtcpError, RtcpPacket, RtcpWriter, TransportFeedbackFields, parse_compound};
use rtc_rtcp::transport_feedbacks::transport_layer_cc::{
    PacketStatusChunk, RecvDelta, RunLengthChunk, StatusChunkTypeTcc, StatusVectorChunk, SymbolSizeTypeTcc,
    SymbolTypeTcc, TransportLayerCc,
};
use rtc_shared::marshal::Marshal;

use crate::{only, oracle, written};

pub(crate) const FIELDS: TransportFeedbackFields =
    TransportFeedbackFields { sender_ssrc: 1, media_ssrc: 2, base_sequence: 65_500, feedback_count: 9 };

fn feedback(arrivals: &[Option<i64>]) -> Vec<u8> {
    written(|w| assert_eq!(w.transport_feedback(&FIELDS, arrivals.iter().copied()), Ok(arrivals.len())))
}

fn arrivals(packet: &[u8]) -> Vec<Option<i64>> {
    let RtcpPacket::TransportFeedback(read) = only(packet) else { panic!("{packet:?}") };
    let packets: Vec<_> = read.packets().collect();
    for (n, packet) in packets.iter().enumerate() {
        assert_eq!(packet.sequence, read.base_sequence.wrapping_add(n as u16));
    }
    assert_eq!(packets.len(), usize::from(read.status_count));
    packets.into_iter().map(|packet| packet.arrival).collect()
}

#[test]
fn transport_feedback_spends_the_fewest_chunks() {
    // 20 bytes before the chunks; one byte a small delta, two a large one.
    let received = |n: i64| Some(1_000_000 + n * 4);
    for (statuses, len) in [
        (vec![received(0)], 20 + 2 + 1),
        ((0..200).map(received).collect::<Vec<_>>(), 20 + 2 + 200),
        ((0..14).map(|n| (n % 2 == 0).then(|| 1_000_000 + n)).collect(), 20 + 2 + 7),
        ((0..7).map(|n| Some(1_000_000 - n)).collect(), 20 + 2 + 1 + 6 * 2),
        (vec![None; 8191], 20 + 2),
        (vec![None; 8192], 20 + 4),
    ] {
        let packet = feedback(&statuses);
        assert_eq!(packet.len(), usize::next_multiple_of(len, 4), "{} statuses", statuses.len());
        assert_eq!(arrivals(&packet), statuses);
    }
}

#[test]
fn transport_feedback_covers_what_fits_and_says_how_much() {
    let long: Vec<_> = (0..2000).map(|n| Some(n * 300)).collect();
    let mut buf = [0; 1200];
    let mut writer = RtcpWriter::new(&mut buf);
    writer.pli(1, 2).unwrap();
    let covered = writer.transport_feedback(&FIELDS, long.iter().copied()).unwrap();
    let len = writer.finish();
    assert!((450..600).contains(&covered), "{covered}");
    assert_eq!(arrivals(&buf[12..len]), long[..covered]);

    // A pause that no delta can express, in either direction.
    for pause in [32_768, -32_769, i64::MAX, i64::MIN] {
        let arrivals = [Some(0), None, Some(pause), Some(1)];
        assert_eq!(RtcpWriter::new(&mut buf).transport_feedback(&FIELDS, arrivals), Ok(2), "{pause}");
    }
    for pause in [32_767, -32_768] {
        assert_eq!(RtcpWriter::new(&mut buf).transport_feedback(&FIELDS, [Some(0), Some(pause)]), Ok(2), "{pause}");
    }
    let mut writer = RtcpWriter::new(&mut buf);
    assert_eq!(writer.transport_feedback(&FIELDS, []), Ok(0));
    assert!(writer.is_empty());
    assert_eq!(
        RtcpWriter::new(&mut buf[..23]).transport_feedback(&FIELDS, [Some(0)]),
        Err(RtcpError::BufferTooSmall { needed: 24, available: 23 })
    );
    let mut large = vec![0; 200_000];
    let mut writer = RtcpWriter::new(&mut large);
    assert_eq!(writer.transport_feedback(&FIELDS, (0..70_000).map(Some)), Ok(65_535));
}

#[test]
fn the_reference_time_wraps_and_goes_below_zero() {
    for start in [-5i64, -256 * 3, 256 * ((1 << 23) - 1), 0] {
        let statuses = [Some(start), Some(start + 1)];
        assert_eq!(arrivals(&feedback(&statuses)), statuses, "{start}");
    }
    // One unit above the largest is the smallest.
    assert_eq!(arrivals(&feedback(&[Some(256 << 23)])), [Some(-(256 << 23))]);
}

#[test]
fn transport_feedback_of_firefox_is_read() {
    let packet = [
        143, 205, 0, 8, 65, 227, 184, 49, 118, 243, 78, 96, 42, 91, 0, 12, 12, 162, 168, 3, 32, 12, 220, 4, 0, 4, 0, 8,
        128, 4, 0, 4, 0, 8, 0, 0,
    ];
    let RtcpPacket::TransportFeedback(read) = only(&packet) else { panic!() };
    assert_eq!((read.sender_ssrc, read.media_ssrc), (0x41E3_B831, 0x76F3_4E60));
    assert_eq!((read.base_sequence, read.status_count, read.feedback_count), (10_843, 12, 3));
    assert_eq!(read.reference_time, 0x0C_A2A8);
    let deltas = [220, 4, 0, 4, 0, 8, 128, 4, 0, 4, 0, 8];
    let mut clock = 0x0C_A2A8 * 256;
    let expected = deltas.map(|delta| {
        clock += delta;
        Some(clock)
    });
    assert_eq!(arrivals(&packet), expected);
}

#[test]
fn transport_feedback_that_promises_more_than_it_has_is_an_error() {
    let packet = feedback(&[Some(0), None, Some(1_000), Some(1_001), None, None, Some(5)]);
    for len in (4..packet.len() / 4).map(|words| words * 4) {
        let mut cut = packet[..len].to_vec();
        cut[3] = (len / 4 - 1) as u8;
        assert!(matches!(parse_compound(&cut).next(), Some(Err(RtcpError::Truncated { .. }))), "{len} bytes");
    }
    let mut more = packet.clone();
    more[14..16].copy_from_slice(&[0xFF, 0xFF]);
    assert!(parse_compound(&more).next().unwrap().is_err());
    // A run, and a vector, with the reserved symbol.
    for chunk in [[0x60, 7], [0xC0, 0x30]] {
        let mut reserved = packet.clone();
        reserved[20..22].copy_from_slice(&chunk);
        assert_eq!(parse_compound(&reserved).next(), Some(Err(RtcpError::ReservedSymbol { offset: 20 })));
    }
    // 65,535 arrivals in empty runs: as many chunks as there is room for, not more.
    let mut empty_runs = packet;
    empty_runs[14..16].copy_from_slice(&[0xFF, 0xFF]);
    empty_runs[20..].fill(0);
    assert!(matches!(
        parse_compound(&empty_runs).next(),
        Some(Err(RtcpError::Truncated { part: "a packet status chunk", .. }))
    ));
}

/// Arrivals with runs, gaps, jumps and packets that overtake one another; at least one packet arrived.
fn any_arrivals() -> impl Strategy<Value = Vec<Option<i64>>> {
    let step = prop_oneof![4 => 0i64..40, 2 => 0i64..300, 1 => -400i64..32_767];
    let stretch = (prop::bool::weighted(0.7), prop_oneof![1usize..5, 1usize..40], step);
    (0i64..1 << 30, prop::collection::vec(stretch, 1..30)).prop_map(|(start, stretches)| {
        let mut clock = start;
        let mut arrivals = vec![Some(start)];
        for (received, len, step) in stretches {
            for n in 0..len {
                // One odd step, then a steady stretch.
                clock += if received { if n == 0 { step } else { step.rem_euclid(17) } } else { 0 };
                arrivals.push(received.then_some(clock));
            }
        }
        arrivals
    })
}

proptest! {
    #[test]
    fn transport_feedback_is_read_by_another_implementation_as_it_was_meant(statuses in any_arrivals()) {
        let packet = feedback(&statuses);
        prop_assert_eq!(&arrivals(&packet), &statuses);
        let read = oracle::<TransportLayerCc>(&packet);
        prop_assert_eq!((read.sender_ssrc, read.media_ssrc, read.base_sequence_number, read.fb_pkt_count), (1, 2, 65_500, 9));
        let symbols = read.packet_chunks.iter().flat_map(|chunk| match chunk {
            PacketStatusChunk::RunLengthChunk(run) => vec![run.packet_status_symbol; usize::from(run.run_length)],
            PacketStatusChunk::StatusVectorChunk(vector) => vector.symbol_list.clone(),
        });
        let mut deltas = read.recv_deltas.iter();
        let mut clock = i64::from(read.reference_time) * 256;
        let understood: Vec<_> = symbols.take(usize::from(read.packet_status_count)).map(|symbol| {
            (symbol != SymbolTypeTcc::PacketNotReceived).then(|| {
                clock += deltas.next().unwrap().delta / 250;
                clock
            })
        }).collect();
        prop_assert_eq!(&understood, &statuses);
    }

    #[test]
    fn transport_feedback_of_another_implementation_is_read(
        chunks in prop::collection::vec((any::<bool>(), any::<bool>(), 0u8..3, 1u16..60, any::<[u8; 14]>()), 1..20),
        deltas in prop::collection::vec(any::<i16>(), 1200), reference_time in 0u32..1 << 23, base_sequence_number in any::<u16>(),
        missing_at_the_end in 1u16..=7,
    ) {
        let symbol = |value: u8| match value % 3 {
            0 => SymbolTypeTcc::PacketNotReceived,
            1 => SymbolTypeTcc::PacketReceivedSmallDelta,
            _ => SymbolTypeTcc::PacketReceivedLargeDelta,
        };
        let (mut packet_chunks, mut symbols) = (vec![], vec![]);
        for (run, one_bit, value, len, list) in chunks {
            if run {
                symbols.extend(vec![symbol(value); usize::from(len)]);
                packet_chunks.push(PacketStatusChunk::RunLengthChunk(RunLengthChunk {
                    type_tcc: StatusChunkTypeTcc::RunLengthChunk, packet_status_symbol: symbol(value), run_length: len,
                }));
            } else {
                let (symbol_size, symbol_list): (_, Vec<_>) = if one_bit {
                    (SymbolSizeTypeTcc::OneBit, list.iter().map(|value| symbol(value % 2)).collect())
                } else {
                    (SymbolSizeTypeTcc::TwoBit, list[..7].iter().map(|value| symbol(*value)).collect())
                };
                symbols.extend(symbol_list.clone());
                packet_chunks.push(PacketStatusChunk::StatusVectorChunk(StatusVectorChunk {
                    type_tcc: StatusChunkTypeTcc::StatusVectorChunk, symbol_size, symbol_list,
                }));
            }
        }
        // The last chunk may have more symbols than there are packets.
        symbols.extend(vec![SymbolTypeTcc::PacketNotReceived; usize::from(missing_at_the_end)]);
        packet_chunks.push(PacketStatusChunk::StatusVectorChunk(StatusVectorChunk {
            type_tcc: StatusChunkTypeTcc::StatusVectorChunk, symbol_size: SymbolSizeTypeTcc::TwoBit,
            symbol_list: vec![SymbolTypeTcc::PacketNotReceived; 7],
        }));
        let mut clock = i64::from(reference_time) * 256;
        let (mut recv_deltas, mut expected) = (vec![], vec![]);
        for (n, symbol) in symbols.iter().enumerate() {
            if *symbol == SymbolTypeTcc::PacketNotReceived {
                expected.push(None);
                continue;
            }
            let delta = if *symbol == SymbolTypeTcc::PacketReceivedSmallDelta { i64::from(deltas[n] as u8) } else { deltas[n].into() };
            recv_deltas.push(RecvDelta { type_tcc_packet: *symbol, delta: delta * 250 });
            clock += delta;
            expected.push(Some(clock));
        }
        let bytes = TransportLayerCc {
            sender_ssrc: 5, media_ssrc: 6, base_sequence_number, packet_status_count: symbols.len() as u16, reference_time,
            fb_pkt_count: 7, packet_chunks, recv_deltas,
        }.marshal().unwrap();
        let RtcpPacket::TransportFeedback(read) = only(&bytes) else { panic!() };
        prop_assert_eq!((read.sender_ssrc, read.media_ssrc, read.feedback_count, read.base_sequence), (5, 6, 7, base_sequence_number));
        prop_assert_eq!(arrivals(&bytes), expected);
    }
}
