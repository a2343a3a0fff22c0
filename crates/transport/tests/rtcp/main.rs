//! RTCP compounds: what is written and read, checked against `rtc-rtcp` in both directions, and what hostile bytes do.
#![allow(clippy::unwrap_used)]

mod transport_feedback;

use proptest::prelude::*;
use ringback_transport::rtcp::{
    FirEntry, ReceptionReport, RtcpError, RtcpPacket, RtcpWriter, SenderInfo, parse_compound,
};
use rtc_rtcp::goodbye::Goodbye;
use rtc_rtcp::packet::Packet;
use rtc_rtcp::payload_feedbacks::full_intra_request::{self, FullIntraRequest};
use rtc_rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc_rtcp::payload_feedbacks::receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate;
use rtc_rtcp::receiver_report::ReceiverReport;
use rtc_rtcp::reception_report;
use rtc_rtcp::sender_report::SenderReport;
use rtc_rtcp::source_description::{SdesType, SourceDescription, SourceDescriptionChunk, SourceDescriptionItem};
use rtc_rtcp::transport_feedbacks::transport_layer_nack::{
    NackPair, TransportLayerNack, nack_pairs_from_sequence_numbers,
};
use rtc_shared::marshal::Marshal;
use transport_feedback::FIELDS;

fn written(write: impl FnOnce(&mut RtcpWriter<'_>)) -> Vec<u8> {
    let mut buf = vec![0xEE; 3000];
    let mut writer = RtcpWriter::new(&mut buf);
    write(&mut writer);
    let len = writer.finish();
    buf.truncate(len);
    buf
}

fn only(packet: &[u8]) -> RtcpPacket<'_> {
    let mut packets = parse_compound(packet);
    let first = packets.next().unwrap().unwrap();
    assert!(packets.next().is_none());
    first
}

/// What the other implementation reads; it must be one packet of type `P`.
fn oracle<P: Packet + Clone + 'static>(packet: &[u8]) -> P {
    let packets = rtc_rtcp::packet::unmarshal(&mut &packet[..]).unwrap();
    assert_eq!(packets.len(), 1);
    packets[0].as_any().downcast_ref::<P>().unwrap().clone()
}

#[test]
fn a_compound_reads_back_in_order() {
    let report = ReceptionReport { ssrc: 9, fraction_lost: 4, cumulative_lost: -3, ..ReceptionReport::default() };
    let info = SenderInfo { ntp_time: 0x0102_0304_0506_0708, rtp_time: 5, packet_count: 6, octet_count: 7 };
    let packet = written(|w| {
        w.sender_report(1, &info, &[report]).unwrap();
        w.cname(1, "who").unwrap();
        w.nack(1, 2, [65_535, 0, 1]).unwrap().pli(1, 2).unwrap();
        w.fir(1, &[FirEntry { ssrc: 2, sequence: 8 }]).unwrap();
        w.remb(1, 1_000_000, &[2, 3]).unwrap();
        w.bye(&[1]).unwrap();
    });
    let packets: Vec<_> = parse_compound(&packet).map(Result::unwrap).collect();
    let [
        RtcpPacket::SenderReport(sender_report),
        RtcpPacket::Sdes(sdes),
        RtcpPacket::Nack(nack),
        RtcpPacket::Pli { sender_ssrc: 1, media_ssrc: 2 },
        RtcpPacket::Fir(fir),
        RtcpPacket::Remb(remb),
        RtcpPacket::Bye(bye),
    ] = packets[..]
    else {
        panic!("{packets:?}")
    };
    assert_eq!((sender_report.ssrc, sender_report.info), (1, info));
    assert_eq!(sender_report.info.compact_ntp_time(), 0x0304_0506);
    assert_eq!(sender_report.reports().collect::<Vec<_>>(), [report]);
    assert_eq!(sdes.cnames().collect::<Vec<_>>(), [(1, &b"who"[..])]);
    assert_eq!(nack.sequences().collect::<Vec<_>>(), [65_535, 0, 1]);
    assert_eq!(fir.entries().collect::<Vec<_>>(), [FirEntry { ssrc: 2, sequence: 8 }]);
    assert_eq!((remb.bitrate, remb.ssrcs().collect::<Vec<_>>()), (1_000_000, vec![2, 3]));
    assert_eq!((bye.ssrcs().collect::<Vec<_>>(), bye.reason), (vec![1], &b""[..]));
}

#[test]
fn sequence_numbers_to_nack_share_entries() {
    let nack = |sequences: &[u16]| written(|w| _ = w.nack(1, 2, sequences.iter().copied()).unwrap());
    assert_eq!(nack(&[]), []);
    assert_eq!(nack(&[7]).len(), 16);
    assert_eq!(nack(&[7, 8, 23]).len(), 16);
    assert_eq!(nack(&[7, 8, 24]).len(), 20);
    assert_eq!(nack(&[65_530, 10]).len(), 16);
    let packet = nack(&[65_530, 65_530, 10, 11]);
    let RtcpPacket::Nack(read) = only(&packet) else { panic!() };
    assert_eq!(read.sequences().collect::<Vec<_>>(), [65_530, 10, 11]);
    // Not ascending: more entries, the same numbers.
    let packet = nack(&[9, 8, 7]);
    let RtcpPacket::Nack(read) = only(&packet) else { panic!() };
    assert_eq!(read.sequences().collect::<Vec<_>>(), [9, 8, 7]);
}

#[test]
fn a_bitrate_keeps_18_significant_bits() {
    for (bitrate, expected) in [
        (0, 0),
        (1, 1),
        (262_143, 262_143),
        (262_144, 262_144),
        (262_145, 262_144),
        (2_500_000, 2_500_000),
        (u64::MAX, 0x3FFFF << 46),
    ] {
        let packet = written(|w| _ = w.remb(1, bitrate, &[]).unwrap());
        let RtcpPacket::Remb(remb) = only(&packet) else { panic!() };
        assert_eq!(remb.bitrate, expected);
    }
    // An exponent of 63 is more than 64 bits hold.
    let mut packet = written(|w| _ = w.remb(1, 0, &[]).unwrap());
    packet[17..20].copy_from_slice(&[0xFF, 0xFF, 0xFF]);
    assert!(matches!(only(&packet), RtcpPacket::Remb(remb) if remb.bitrate == u64::MAX));
    packet[12..16].copy_from_slice(b"AAAA");
    assert_eq!(only(&packet), RtcpPacket::Other { packet_type: 206, count: 15 });
}

#[test]
fn a_loss_count_is_written_within_24_bits() {
    for (lost, expected) in
        [(-1, -1), (8_388_607, 8_388_607), (i32::MAX, 8_388_607), (i32::MIN, -8_388_608), (-8_388_608, -8_388_608)]
    {
        let report = ReceptionReport { cumulative_lost: lost, fraction_lost: 0xA5, ..ReceptionReport::default() };
        let packet = written(|w| _ = w.receiver_report(1, &[report]).unwrap());
        let RtcpPacket::ReceiverReport(read) = only(&packet) else { panic!() };
        let read = read.reports().next().unwrap();
        assert_eq!((read.cumulative_lost, read.fraction_lost), (expected, 0xA5));
    }
}

#[test]
fn padding_is_taken_off_and_hostile_padding_is_an_error() {
    let mut packet = written(|w| _ = w.nack(1, 2, [7]).unwrap());
    packet[0] |= 0x20;
    packet[3] += 1;
    packet.extend([0, 0, 0, 4]);
    let RtcpPacket::Nack(nack) = only(&packet) else { panic!() };
    assert_eq!(nack.sequences().collect::<Vec<_>>(), [7]);
    for found in [0, 17, 255] {
        packet[19] = found;
        assert_eq!(
            parse_compound(&packet).next(),
            Some(Err(RtcpError::Padding { found, offset: 0, available: 16 })),
            "padding {found}"
        );
    }
    // Padding that eats the packet itself leaves too little of it.
    packet[19] = 16;
    assert!(matches!(parse_compound(&packet).next(), Some(Err(RtcpError::Truncated { .. }))));
}

#[test]
fn a_malformed_body_is_an_error_and_the_next_packet_is_read() {
    let mut packet = written(|w| {
        w.receiver_report(1, &[]).unwrap().pli(3, 4).unwrap();
    });
    packet[0] = 0x81; // one report block that is not there
    let packets: Vec<_> = parse_compound(&packet).collect();
    assert_eq!(
        packets,
        [
            Err(RtcpError::Truncated { part: "the report blocks", offset: 8, needed: 24, available: 0 }),
            Ok(RtcpPacket::Pli { sender_ssrc: 3, media_ssrc: 4 }),
        ]
    );
}

#[test]
fn a_malformed_header_is_an_error_and_the_end() {
    let packet = written(|w| {
        w.pli(1, 2).unwrap().pli(3, 4).unwrap();
    });
    for (at, value, expected) in [
        (12, 0x41, RtcpError::Version { found: 1, offset: 12 }),
        (15, 9, RtcpError::Truncated { part: "the body of an RTCP packet", offset: 16, needed: 36, available: 8 }),
    ] {
        let mut wrong = packet.clone();
        wrong[at] = value;
        let packets: Vec<_> = parse_compound(&wrong).collect();
        assert_eq!(packets.len(), 2);
        assert_eq!(packets[1], Err(expected));
    }
    assert_eq!(
        parse_compound(&packet[..14]).last(),
        Some(Err(RtcpError::Truncated { part: "an RTCP header", offset: 12, needed: 4, available: 2 }))
    );
    assert_eq!(parse_compound(&[]).count(), 0);
}

#[test]
fn source_descriptions_cut_short_are_errors() {
    let good = written(|w| _ = w.cname(7, "abcde").unwrap());
    assert_eq!(good.len(), 16);
    let part_of = |body: &[u8], count: u8| {
        let mut packet = vec![0x80 | count, 202, 0, (body.len() / 4) as u8];
        packet.extend(body);
        match parse_compound(&packet).next() {
            Some(Err(RtcpError::Truncated { part, .. })) => part,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(part_of(&[], 1), "the SSRC of an SDES chunk");
    assert_eq!(part_of(&[0, 0, 0, 7], 1), "the type of an SDES item");
    assert_eq!(part_of(&[0, 0, 0, 7, 1, 9, 0, 0], 1), "the text of an SDES item");
    assert_eq!(part_of(&[0, 0, 0, 7, 1, 2, b'a', b'b'], 1), "the type of an SDES item");
    assert_eq!(part_of(&[0, 0, 0, 7, 1, 1, b'a', 1], 1), "the length of an SDES item");
    assert_eq!(part_of(&[0, 0, 0, 7, 0, 0, 0, 0], 2), "the SSRC of an SDES chunk");
}

#[test]
fn what_does_not_fit_is_an_error_and_leaves_the_rest() {
    let mut buf = [0; 30];
    let mut writer = RtcpWriter::new(&mut buf);
    assert!(writer.is_empty());
    writer.pli(1, 2).unwrap();
    let refused = |result: Result<&mut RtcpWriter<'_>, RtcpError>| result.err();
    assert_eq!(
        refused(writer.sender_report(1, &SenderInfo::default(), &[])),
        Some(RtcpError::BufferTooSmall { needed: 28, available: 18 })
    );
    assert_eq!(
        refused(writer.receiver_report(1, &[ReceptionReport::default(); 32])),
        Some(RtcpError::TooMany { what: "report blocks", found: 32, limit: 31 })
    );
    assert_eq!(
        refused(writer.bye(&[0; 40])),
        Some(RtcpError::TooMany { what: "sources that leave", found: 40, limit: 31 })
    );
    assert!(matches!(refused(writer.cname(1, &"x".repeat(256))), Some(RtcpError::TooMany { found: 256, .. })));
    assert!(matches!(refused(writer.remb(1, 1, &[0; 256])), Some(RtcpError::TooMany { found: 256, .. })));
    let mut large = vec![0; 600_000];
    let entries = vec![FirEntry { ssrc: 1, sequence: 1 }; 40_000];
    assert!(matches!(refused(RtcpWriter::new(&mut large).fir(1, &entries)), Some(RtcpError::TooMany { .. })));
    writer.pli(3, 4).unwrap();
    assert_eq!(writer.len(), 24);
    assert_eq!(parse_compound(&buf[..24]).filter(Result::is_ok).count(), 2);
}

#[test]
fn reading_and_writing_cost_no_allocation() {
    let mut buf = vec![0; 2000];
    let mut sum = 0u64;
    let allocated = allocation_counter::measure(|| {
        for round in 0..100u32 {
            let mut writer = RtcpWriter::new(&mut buf);
            let report = ReceptionReport { ssrc: round, ..ReceptionReport::default() };
            writer.sender_report(1, &SenderInfo::default(), &[report; 5]).unwrap();
            writer.cname(1, "who").unwrap().nack(1, 2, (0..90).filter(|n| n % 3 == 0)).unwrap();
            writer.fir(1, &[FirEntry { ssrc: 2, sequence: 8 }]).unwrap().remb(1, 9, &[2]).unwrap();
            writer.transport_feedback(&FIELDS, (0..100).map(|n| (n % 5 != 0).then_some(n * 90))).unwrap();
            writer.bye(&[1, 2]).unwrap();
            let len = writer.finish();
            for packet in parse_compound(&buf[..len]) {
                sum += match packet.unwrap() {
                    RtcpPacket::SenderReport(report) => report.reports().map(|block| u64::from(block.ssrc)).sum(),
                    RtcpPacket::Nack(nack) => nack.sequences().map(u64::from).sum(),
                    RtcpPacket::TransportFeedback(feedback) => {
                        feedback.packets().filter(|packet| packet.arrival.is_some()).count() as u64
                    }
                    RtcpPacket::Sdes(sdes) => sdes.cnames().count() as u64,
                    _ => 1,
                };
            }
        }
    });
    assert_eq!((allocated.count_total, allocated.bytes_total), (0, 0));
    assert_eq!(sum, 5 * 4950 + 100 * (30 * 29 * 3 / 2 + 80 + 1 + 3));
}

fn any_report() -> impl Strategy<Value = ReceptionReport> {
    (any::<[u32; 5]>(), any::<u8>(), -8_388_608i32..8_388_608).prop_map(|(words, fraction_lost, cumulative_lost)| {
        ReceptionReport {
            ssrc: words[0],
            fraction_lost,
            cumulative_lost,
            highest_sequence: words[1],
            jitter: words[2],
            last_sender_report: words[3],
            delay_since_last_sender_report: words[4],
        }
    })
}

fn oracle_report(report: &ReceptionReport) -> reception_report::ReceptionReport {
    reception_report::ReceptionReport {
        ssrc: report.ssrc,
        fraction_lost: report.fraction_lost,
        total_lost: report.cumulative_lost as u32 & 0x00FF_FFFF,
        last_sequence_number: report.highest_sequence,
        jitter: report.jitter,
        last_sender_report: report.last_sender_report,
        delay: report.delay_since_last_sender_report,
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200), packet_type in 198u8..208, count in 0u8..32, shaped in any::<bool>(),
    ) {
        if shaped && bytes.len() >= 4 {
            bytes[0] = 0x80 | bytes[0] & 0x20 | count;
            bytes[1] = packet_type;
            let words = (bytes.len() / 4 - 1) as u16;
            bytes[2..4].copy_from_slice(&words.to_be_bytes());
        }
        let mut items = 0;
        for packet in parse_compound(&bytes) {
            items += 1;
            match packet {
                Ok(RtcpPacket::SenderReport(report)) => _ = report.reports().count(),
                Ok(RtcpPacket::ReceiverReport(report)) => _ = report.reports().count(),
                Ok(RtcpPacket::Sdes(sdes)) => _ = sdes.items().count(),
                Ok(RtcpPacket::Bye(bye)) => prop_assert!(bye.ssrcs().count() < 32),
                Ok(RtcpPacket::Nack(nack)) => prop_assert!(nack.sequences().count() <= bytes.len() * 17 / 4),
                Ok(RtcpPacket::Fir(fir)) => _ = fir.entries().count(),
                Ok(RtcpPacket::Remb(remb)) => _ = remb.ssrcs().count(),
                Ok(RtcpPacket::TransportFeedback(feedback)) => {
                    prop_assert_eq!(feedback.packets().count(), usize::from(feedback.status_count));
                }
                Ok(_) | Err(_) => {}
            }
        }
        prop_assert!(items <= bytes.len() / 4 + 1);
    }

    #[test]
    fn reports_pass_both_ways(ssrc in any::<u32>(), info in any::<(u64, u32, u32, u32)>(), reports in prop::collection::vec(any_report(), 0..=31)) {
        let info = SenderInfo { ntp_time: info.0, rtp_time: info.1, packet_count: info.2, octet_count: info.3 };
        let oracle_reports: Vec<_> = reports.iter().map(oracle_report).collect();
        let theirs = SenderReport {
            ssrc, ntp_time: info.ntp_time, rtp_time: info.rtp_time, packet_count: info.packet_count,
            octet_count: info.octet_count, reports: oracle_reports.clone(), ..SenderReport::default()
        };
        let ours = written(|w| _ = w.sender_report(ssrc, &info, &reports).unwrap());
        prop_assert_eq!(&oracle::<SenderReport>(&ours), &theirs);
        let bytes = theirs.marshal().unwrap();
        let RtcpPacket::SenderReport(read) = only(&bytes) else { panic!() };
        prop_assert_eq!((read.ssrc, read.info), (ssrc, info));
        prop_assert_eq!(&read.reports().collect::<Vec<_>>(), &reports);

        let theirs = ReceiverReport { ssrc, reports: oracle_reports, ..ReceiverReport::default() };
        let ours = written(|w| _ = w.receiver_report(ssrc, &reports).unwrap());
        prop_assert_eq!(&oracle::<ReceiverReport>(&ours), &theirs);
        let bytes = theirs.marshal().unwrap();
        let RtcpPacket::ReceiverReport(read) = only(&bytes) else { panic!() };
        prop_assert_eq!(read.ssrc, ssrc);
        prop_assert_eq!(&read.reports().collect::<Vec<_>>(), &reports);
    }

    #[test]
    fn sources_pass_both_ways(
        names in prop::collection::vec((any::<u32>(), "[a-zA-Z0-9@.]{0,40}"), 0..=31), reason in "[a-z ]{1,30}",
    ) {
        let chunk = |(source, name): &(u32, String)| SourceDescriptionChunk {
            source: *source,
            items: vec![
                SourceDescriptionItem { sdes_type: SdesType::SdesCname, text: name.clone().into() },
                SourceDescriptionItem { sdes_type: SdesType::SdesTool, text: "tool".into() },
            ],
        };
        let bytes = SourceDescription { chunks: names.iter().map(chunk).collect() }.marshal().unwrap();
        let RtcpPacket::Sdes(read) = only(&bytes) else { panic!() };
        let cnames: Vec<_> = names.iter().map(|(ssrc, name)| (*ssrc, name.as_bytes())).collect();
        prop_assert_eq!(&read.cnames().collect::<Vec<_>>(), &cnames);
        prop_assert_eq!(read.items().count(), names.len() * 2);
        for (ssrc, name) in &names {
            let ours = written(|w| _ = w.cname(*ssrc, name).unwrap());
            let read = oracle::<SourceDescription>(&ours);
            prop_assert_eq!((read.chunks.len(), read.chunks[0].source), (1, *ssrc));
            prop_assert_eq!(&read.chunks[0].items, &chunk(&(*ssrc, name.clone())).items[..1]);
        }

        let sources: Vec<_> = names.iter().map(|(ssrc, _)| *ssrc).collect();
        let ours = written(|w| _ = w.bye(&sources).unwrap());
        prop_assert_eq!(oracle::<Goodbye>(&ours), Goodbye { sources: sources.clone(), reason: "".into() });
        let bytes = Goodbye { sources: sources.clone(), reason: reason.clone().into() }.marshal().unwrap();
        let RtcpPacket::Bye(read) = only(&bytes) else { panic!() };
        prop_assert_eq!((read.ssrcs().collect::<Vec<_>>(), read.reason), (sources, reason.as_bytes()));
    }

    #[test]
    fn nacks_pass_both_ways(
        sender_ssrc in any::<u32>(), media_ssrc in any::<u32>(), sequences in prop::collection::btree_set(any::<u16>(), 1..60),
        pairs in prop::collection::vec(any::<(u16, u16)>(), 1..40),
    ) {
        let sequences: Vec<_> = sequences.into_iter().collect();
        let ours = written(|w| _ = w.nack(sender_ssrc, media_ssrc, sequences.iter().copied()).unwrap());
        let read = oracle::<TransportLayerNack>(&ours);
        prop_assert_eq!((read.sender_ssrc, read.media_ssrc), (sender_ssrc, media_ssrc));
        prop_assert_eq!(&read.nacks, &nack_pairs_from_sequence_numbers(&sequences));

        let nacks: Vec<_> = pairs.iter().map(|&(packet_id, lost_packets)| NackPair { packet_id, lost_packets }).collect();
        let expected: Vec<u16> = nacks.iter().flat_map(NackPair::packet_list).collect();
        let bytes = TransportLayerNack { sender_ssrc, media_ssrc, nacks }.marshal().unwrap();
        let RtcpPacket::Nack(read) = only(&bytes) else { panic!() };
        prop_assert_eq!((read.sender_ssrc, read.media_ssrc), (sender_ssrc, media_ssrc));
        prop_assert_eq!(read.sequences().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn picture_feedback_passes_both_ways(
        sender_ssrc in any::<u32>(), media_ssrc in any::<u32>(), entries in prop::collection::vec(any::<(u32, u8)>(), 1..20),
        mantissa in 1u32..1 << 18, exponent in 0u32..40, ssrcs in prop::collection::vec(any::<u32>(), 0..20),
    ) {
        let ours = written(|w| _ = w.pli(sender_ssrc, media_ssrc).unwrap());
        let theirs = PictureLossIndication { sender_ssrc, media_ssrc };
        prop_assert_eq!(&oracle::<PictureLossIndication>(&ours), &theirs);
        let bytes = theirs.marshal().unwrap();
        prop_assert_eq!(only(&bytes), RtcpPacket::Pli { sender_ssrc, media_ssrc });

        let firs: Vec<_> = entries.iter().map(|&(ssrc, sequence)| FirEntry { ssrc, sequence }).collect();
        let theirs = FullIntraRequest {
            sender_ssrc, media_ssrc: 0,
            fir: entries.iter().map(|&(ssrc, sequence_number)| full_intra_request::FirEntry { ssrc, sequence_number }).collect(),
        };
        let ours = written(|w| _ = w.fir(sender_ssrc, &firs).unwrap());
        prop_assert_eq!(&oracle::<FullIntraRequest>(&ours), &theirs);
        let bytes = theirs.marshal().unwrap();
        let RtcpPacket::Fir(read) = only(&bytes) else { panic!() };
        prop_assert_eq!((read.sender_ssrc, read.entries().collect::<Vec<_>>()), (sender_ssrc, firs));

        let bitrate = u64::from(mantissa) << exponent;
        let theirs = ReceiverEstimatedMaximumBitrate { sender_ssrc, bitrate: bitrate as f32, ssrcs: ssrcs.clone() };
        let ours = written(|w| _ = w.remb(sender_ssrc, bitrate, &ssrcs).unwrap());
        prop_assert_eq!(&oracle::<ReceiverEstimatedMaximumBitrate>(&ours), &theirs);
        let bytes = theirs.marshal().unwrap();
        let RtcpPacket::Remb(read) = only(&bytes) else { panic!() };
        prop_assert_eq!((read.sender_ssrc, read.bitrate, read.ssrcs().collect::<Vec<_>>()), (sender_ssrc, bitrate, ssrcs));
    }
}
