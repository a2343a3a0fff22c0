//! What SRTP promises beyond the vectors: rollovers, reordering, replays, late packets, damage, floods of forged SSRCs,
//! no allocation, and a sender that never seals two different packets under one index.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use ringback_transport::srtp::{MAX_OVERHEAD, MAX_STREAMS, RETRANSMISSION_WINDOW};
use ringback_transport::{RtpHeaderWriter, SrtpError, SrtpKeys, SrtpProfile, SrtpReceiver, SrtpSender};

const PROFILES: [SrtpProfile; 2] = [SrtpProfile::AeadAes128Gcm, SrtpProfile::Aes128CmSha1_80];
const SSRC: u32 = 0xCAFE_0001;

fn pair(profile: SrtpProfile) -> (SrtpSender, SrtpReceiver) {
    let salt_len = profile.key_material_len() / 2 - 16;
    let keys = || SrtpKeys::new(profile, &[0x31; 16], &vec![0x77; salt_len]).unwrap();
    (SrtpSender::new(keys()).unwrap(), SrtpReceiver::new(&keys()).unwrap())
}

fn write(buf: &mut [u8], ssrc: u32, sequence: u16, payload: &[u8]) -> usize {
    let writer = RtpHeaderWriter { marker: true, payload_type: 96, sequence, timestamp: 77, ssrc };
    let header_len = writer.write(buf, &[(1, &[9])]).unwrap();
    buf[header_len..header_len + payload.len()].copy_from_slice(payload);
    header_len + payload.len()
}

fn seal(sender: &mut SrtpSender, ssrc: u32, sequence: u16, payload: &[u8]) -> Result<Vec<u8>, SrtpError> {
    let mut buf = vec![0; 64 + payload.len()];
    let len = write(&mut buf, ssrc, sequence, payload);
    let len = sender.protect_rtp(&mut buf, len)?;
    buf.truncate(len);
    Ok(buf)
}

fn seal_again(sender: &mut SrtpSender, ssrc: u32, sequence: u16, payload: &[u8]) -> Result<Vec<u8>, SrtpError> {
    let mut buf = vec![0; 64 + payload.len()];
    let len = write(&mut buf, ssrc, sequence, payload);
    let result = sender.protect_rtp_again(&mut buf, len);
    if matches!(result, Err(SrtpError::Altered { .. })) {
        assert!(buf.iter().all(|byte| *byte == 0), "an altered packet must not stay in the buffer");
    }
    buf.truncate(result?);
    Ok(buf)
}

fn open(receiver: &mut SrtpReceiver, sealed: &[u8]) -> Result<Vec<u8>, SrtpError> {
    let mut buf = sealed.to_vec();
    let len = receiver.unprotect_rtp(&mut buf)?;
    buf.truncate(len);
    Ok(buf)
}

fn report(ssrc: u32, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 1];
    packet.extend(ssrc.to_be_bytes());
    packet.extend(body);
    packet
}

fn seal_report(sender: &mut SrtpSender, plain: &[u8]) -> Vec<u8> {
    let mut buf = plain.to_vec();
    buf.resize(plain.len() + MAX_OVERHEAD, 0);
    let len = sender.protect_rtcp(&mut buf, plain.len()).unwrap();
    buf.truncate(len);
    buf
}

#[test]
fn sequence_numbers_wrap_and_packets_arrive_reordered_around_the_wrap() {
    for profile in PROFILES {
        let (mut sender, mut receiver) = pair(profile);
        let sealed: Vec<_> = (0..40u16)
            .map(|n| (n, seal(&mut sender, SSRC, 65_516u16.wrapping_add(n), &[n as u8; 50]).unwrap()))
            .collect();
        // Each four packets arrive backwards.
        for group in sealed.chunks(4) {
            for (n, packet) in group.iter().rev() {
                let plain = open(&mut receiver, packet).unwrap();
                assert_eq!(plain[plain.len() - 50..], [*n as u8; 50], "{profile:?} packet {n}");
            }
        }
        // Long after the wrap, one of before is still told from a new one.
        assert!(matches!(open(&mut receiver, &sealed[0].1), Err(SrtpError::Replayed { index: 65_516, .. })));
    }
}

#[test]
fn the_first_packet_may_arrive_after_its_successors() {
    for profile in PROFILES {
        let (mut sender, mut receiver) = pair(profile);
        let sealed: Vec<_> = (0..3).map(|n| seal(&mut sender, SSRC, n, b"x").unwrap()).collect();
        for packet in sealed.iter().rev() {
            open(&mut receiver, packet).unwrap();
        }
    }
}

#[test]
fn a_gap_of_thousands_keeps_the_rollover_counter() {
    for profile in PROFILES {
        let (mut sender, mut receiver) = pair(profile);
        let mut sequence = 100u16;
        for _ in 0..20 {
            let packet = seal(&mut sender, SSRC, sequence, b"x").unwrap();
            open(&mut receiver, &packet).unwrap();
            sequence = sequence.wrapping_add(32_767);
        }
    }
}

#[test]
fn a_replay_is_refused_and_changes_nothing() {
    for profile in PROFILES {
        let (mut sender, mut receiver) = pair(profile);
        let first = seal(&mut sender, SSRC, 5, b"one").unwrap();
        let second = seal(&mut sender, SSRC, 6, b"two").unwrap();
        open(&mut receiver, &first).unwrap();
        for _ in 0..3 {
            assert_eq!(open(&mut receiver, &first), Err(SrtpError::Replayed { ssrc: SSRC, index: 5 }));
        }
        open(&mut receiver, &second).unwrap();

        let plain = report(SSRC, b"report..");
        let sealed = seal_report(&mut sender, &plain);
        assert_eq!(receiver.unprotect_rtcp(&mut sealed.clone()), Ok(plain.len()));
        assert_eq!(receiver.unprotect_rtcp(&mut sealed.clone()), Err(SrtpError::Replayed { ssrc: SSRC, index: 0 }));
        // Another SSRC's reports have a window of their own, and so has RTP.
        let sealed = seal_report(&mut sender, &report(SSRC + 1, b"report.."));
        assert_eq!(receiver.unprotect_rtcp(&mut sealed.clone()), Ok(plain.len()));
    }
}

#[test]
fn a_packet_is_too_late_from_128_packets_on() {
    for profile in PROFILES {
        let (mut sender, mut receiver) = pair(profile);
        let sealed: Vec<_> = (1000..1130).map(|n| seal(&mut sender, SSRC, n, b"x").unwrap()).collect();
        open(&mut receiver, &sealed[129]).unwrap();
        for late in [0, 1] {
            assert_eq!(
                open(&mut receiver, &sealed[late]),
                Err(SrtpError::TooOld { ssrc: SSRC, found: 1000 + late as u32, highest: 1129, window: 128 })
            );
        }
        open(&mut receiver, &sealed[2]).unwrap();

        let reports: Vec<_> = (0..130).map(|_| seal_report(&mut sender, &report(SSRC, b"body"))).collect();
        receiver.unprotect_rtcp(&mut reports[129].clone()).unwrap();
        assert!(matches!(receiver.unprotect_rtcp(&mut reports[1].clone()), Err(SrtpError::TooOld { found: 1, .. })));
        receiver.unprotect_rtcp(&mut reports[2].clone()).unwrap();
    }
}

#[test]
fn a_forged_packet_far_ahead_does_not_move_the_window() {
    for profile in PROFILES {
        let (mut sender, mut receiver) = pair(profile);
        let sealed: Vec<_> = (0..10).map(|n| seal(&mut sender, SSRC, n, b"x").unwrap()).collect();
        open(&mut receiver, &sealed[0]).unwrap();
        let mut forged = sealed[1].clone();
        forged[2..4].copy_from_slice(&20_000u16.to_be_bytes());
        assert_eq!(open(&mut receiver, &forged), Err(SrtpError::Unauthentic { ssrc: SSRC, index: 20_000 }));
        for packet in &sealed[1..] {
            open(&mut receiver, packet).unwrap();
        }
    }
}

#[test]
fn a_packet_too_short_for_its_tag_is_an_error() {
    for profile in PROFILES {
        let (mut sender, mut receiver) = pair(profile);
        let sealed = seal(&mut sender, SSRC, 1, b"").unwrap();
        let sealed_report = seal_report(&mut sender, &report(SSRC, b""));
        for len in 0..sealed.len() {
            assert!(open(&mut receiver, &sealed[..len]).is_err());
        }
        for len in 0..sealed_report.len() {
            assert!(receiver.unprotect_rtcp(&mut sealed_report[..len].to_vec()).is_err());
        }
        assert!(matches!(
            receiver.unprotect_rtcp(&mut sealed_report[..sealed_report.len() - 1].to_vec()),
            Err(SrtpError::TooShort { what: "an SRTCP packet", .. })
        ));
        let mut wrong_version = sealed_report.clone();
        wrong_version[0] = 0x40;
        assert_eq!(receiver.unprotect_rtcp(&mut wrong_version), Err(SrtpError::RtcpVersion { found: 1 }));
        // Exactly header and tag is a packet without payload.
        assert!(open(&mut receiver, &sealed).is_ok());
        assert!(receiver.unprotect_rtcp(&mut sealed_report.clone()).is_ok());
    }
}

#[test]
fn a_buffer_without_room_for_the_tag_is_an_error_and_uses_no_sequence_number() {
    for profile in PROFILES {
        let (mut sender, _) = pair(profile);
        let mut buf = vec![0; 100];
        let len = write(&mut buf, SSRC, 1, b"payload");
        let needed = len + profile.tag_len();
        let plain = buf.clone();
        assert_eq!(
            sender.protect_rtp(&mut buf[..needed - 1], len),
            Err(SrtpError::BufferTooSmall { needed, available: needed - 1 })
        );
        assert!(matches!(sender.protect_rtp(&mut buf, 101), Err(SrtpError::BufferTooSmall { .. })));
        assert!(matches!(sender.protect_rtp(&mut buf, 3), Err(SrtpError::Rtp(_))));
        assert!(matches!(sender.protect_rtcp(&mut buf, 3), Err(SrtpError::TooShort { .. })));
        assert!(matches!(sender.protect_rtcp(&mut buf[..20], 20), Err(SrtpError::BufferTooSmall { .. })));
        assert_eq!(buf, plain);
        assert_eq!(sender.protect_rtp(&mut buf[..needed], len), Ok(needed));
    }
}

#[test]
fn two_different_packets_under_one_sequence_number_are_never_sealed() {
    for profile in PROFILES {
        let (mut sender, _) = pair(profile);
        seal(&mut sender, SSRC, 10, b"first").unwrap();
        for payload in [&b"other"[..], b"first"] {
            assert_eq!(seal(&mut sender, SSRC, 10, payload), Err(SrtpError::AlreadySealed { ssrc: SSRC, index: 10 }));
        }
        // Left out and then filled in is fine, once, as far as the sender remembers.
        let window = RETRANSMISSION_WINDOW as u16;
        seal(&mut sender, SSRC, 10 + window, b"ahead").unwrap();
        assert!(matches!(seal(&mut sender, SSRC, 10, b"x"), Err(SrtpError::TooOld { found: 10, .. })));
        seal(&mut sender, SSRC, 11, b"gap").unwrap();
        assert!(matches!(seal(&mut sender, SSRC, 11, b"x"), Err(SrtpError::AlreadySealed { .. })));
        // The same number under another SSRC is another nonce.
        seal(&mut sender, SSRC + 1, 10, b"other").unwrap();
    }
}

#[test]
fn a_sequence_number_before_the_first_rollover_is_refused() {
    let (mut sender, mut receiver) = pair(SrtpProfile::AeadAes128Gcm);
    let packet = seal(&mut sender, SSRC, 3, b"x").unwrap();
    assert!(matches!(seal(&mut sender, SSRC, 65_530, b"x"), Err(SrtpError::TooOld { found: 65_530, .. })));
    open(&mut receiver, &packet).unwrap();
    let mut earlier = packet;
    earlier[2..4].copy_from_slice(&65_530u16.to_be_bytes());
    assert!(matches!(open(&mut receiver, &earlier), Err(SrtpError::TooOld { found: 65_530, .. })));
}

#[test]
fn a_retransmission_is_byte_for_byte_the_packet_sent() {
    for profile in PROFILES {
        let (mut sender, mut receiver) = pair(profile);
        let sealed: Vec<_> = (0..600u16)
            .map(|n| seal(&mut sender, SSRC, 65_000u16.wrapping_add(n), &n.to_be_bytes()).unwrap())
            .collect();
        // Across the rollover, too.
        for n in [100u16, 535, 536, 599] {
            let again = seal_again(&mut sender, SSRC, 65_000u16.wrapping_add(n), &n.to_be_bytes()).unwrap();
            assert_eq!(again, sealed[usize::from(n)], "{profile:?} packet {n}");
            open(&mut receiver, &again).unwrap();
        }
        assert_eq!(
            seal_again(&mut sender, SSRC, 65_200, b"not the same"),
            Err(SrtpError::Altered { ssrc: SSRC, index: 65_200 })
        );
        let never = |sequence| SrtpError::NeverSealed { ssrc: SSRC, sequence, window: RETRANSMISSION_WINDOW };
        assert_eq!(seal_again(&mut sender, SSRC, 65_087, &87u16.to_be_bytes()), Err(never(65_087)));
        assert!(seal_again(&mut sender, SSRC, 65_088, &88u16.to_be_bytes()).is_ok());
        assert_eq!(seal_again(&mut sender, SSRC, 64, b"x"), Err(never(64)));
        assert!(matches!(seal_again(&mut sender, SSRC + 1, 64, b"x"), Err(SrtpError::NeverSealed { .. })));
    }
}

#[test]
fn one_connection_has_a_bounded_number_of_ssrcs() {
    let (mut sender, mut receiver) = pair(SrtpProfile::AeadAes128Gcm);
    let limit = MAX_STREAMS as u32;
    for ssrc in 0..limit {
        let packet = seal(&mut sender, ssrc, 1, b"x").unwrap();
        open(&mut receiver, &packet).unwrap();
        receiver.unprotect_rtcp(&mut seal_report(&mut sender, &report(ssrc, b""))).unwrap();
    }
    let refused = SrtpError::TooManyStreams { ssrc: limit, limit: MAX_STREAMS };
    assert_eq!(seal(&mut sender, limit, 1, b"x"), Err(refused));
    let (mut other, _) = pair(SrtpProfile::AeadAes128Gcm);
    assert_eq!(open(&mut receiver, &seal(&mut other, limit, 1, b"x").unwrap()), Err(refused));
    assert_eq!(receiver.unprotect_rtcp(&mut seal_report(&mut sender, &report(limit, b""))), Err(refused));
    // Those that are there go on.
    let packet = seal(&mut sender, 7, 2, b"x").unwrap();
    open(&mut receiver, &packet).unwrap();
}

#[test]
fn a_flood_of_forged_ssrcs_claims_no_memory_and_disturbs_nobody() {
    for profile in PROFILES {
        let (mut sender, mut receiver) = pair(profile);
        let genuine = seal(&mut sender, SSRC, 1, &[1; 20]).unwrap();
        let genuine_report = seal_report(&mut sender, &report(SSRC, &[1; 20]));
        open(&mut receiver, &genuine).unwrap();
        receiver.unprotect_rtcp(&mut genuine_report.clone()).unwrap();
        let mut buf = vec![0; genuine.len().max(genuine_report.len())];
        let mut refused = 0;
        let allocated = allocation_counter::measure(|| {
            for n in 0..100_000u32 {
                let rtp = &mut buf[..genuine.len()];
                rtp.copy_from_slice(&genuine);
                rtp[8..12].copy_from_slice(&(SSRC + 1 + n).to_be_bytes());
                refused += u32::from(matches!(receiver.unprotect_rtp(rtp), Err(SrtpError::Unauthentic { .. })));
                let rtcp = &mut buf[..genuine_report.len()];
                rtcp.copy_from_slice(&genuine_report);
                rtcp[4..8].copy_from_slice(&(SSRC + 1 + n).to_be_bytes());
                refused += u32::from(matches!(receiver.unprotect_rtcp(rtcp), Err(SrtpError::Unauthentic { .. })));
            }
        });
        assert_eq!(refused, 200_000);
        assert_eq!((allocated.count_total, allocated.bytes_total), (0, 0), "{profile:?}");
        let packet = seal(&mut sender, SSRC, 2, &[2; 20]).unwrap();
        open(&mut receiver, &packet).unwrap();
    }
}

#[test]
fn established_streams_cost_no_allocation() {
    for profile in PROFILES {
        let (mut sender, mut receiver) = pair(profile);
        let mut buf = vec![0; 1300];
        let payload = [7; 1100];
        let report = report(SSRC, &[]);
        let mut exchange = |sequence: u16| {
            for ssrc in SSRC..SSRC + 12 {
                let len = write(&mut buf, ssrc, sequence, &payload);
                let sealed = sender.protect_rtp(&mut buf, len).unwrap();
                assert_eq!(receiver.unprotect_rtp(&mut buf[..sealed]), Ok(len));
                assert_eq!(sender.protect_rtp_again(&mut buf, len), Ok(sealed));
            }
            buf[..8].copy_from_slice(&report);
            let sealed = sender.protect_rtcp(&mut buf, 100).unwrap();
            assert_eq!(receiver.unprotect_rtcp(&mut buf[..sealed]), Ok(100));
        };
        exchange(65_450);
        let allocated = allocation_counter::measure(|| {
            for n in 1..150u16 {
                exchange(65_450u16.wrapping_add(n));
            }
        });
        assert_eq!((allocated.count_total, allocated.bytes_total), (0, 0), "{profile:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_packet_with_any_bit_flipped_is_refused(
        gcm in any::<bool>(), payload in prop::collection::vec(any::<u8>(), 0..200), bit in any::<prop::sample::Index>(),
        rtcp in any::<bool>(),
    ) {
        let (mut sender, mut receiver) = pair(PROFILES[usize::from(gcm)]);
        let mut sealed = if rtcp { seal_report(&mut sender, &report(SSRC, &payload)) }
            else { seal(&mut sender, SSRC, 9, &payload).unwrap() };
        let good = sealed.clone();
        let bit = bit.index(sealed.len() * 8);
        sealed[bit / 8] ^= 1 << (bit % 8);
        let mut judge = |packet: &[u8]| {
            let mut packet = packet.to_vec();
            if rtcp { receiver.unprotect_rtcp(&mut packet) } else { receiver.unprotect_rtp(&mut packet) }
        };
        prop_assert!(judge(&sealed).is_err(), "bit {}", bit);
        prop_assert!(judge(&good).is_ok());
    }

    #[test]
    fn random_bytes_are_refused_without_a_panic(
        gcm in any::<bool>(), mut packet in prop::collection::vec(any::<u8>(), 0..150), version in any::<bool>(), first_len in 0usize..200,
    ) {
        let (mut sender, mut receiver) = pair(PROFILES[usize::from(gcm)]);
        if let (true, Some(first)) = (version, packet.first_mut()) {
            *first = *first & 0x3F | 0x80;
        }
        prop_assert!(receiver.unprotect_rtp(&mut packet.clone()).is_err());
        prop_assert!(receiver.unprotect_rtcp(&mut packet.clone()).is_err());
        // The sender may find them good; it must not panic either.
        let _ = sender.protect_rtp(&mut packet.clone(), first_len);
        let _ = sender.protect_rtp_again(&mut packet.clone(), first_len);
        let _ = sender.protect_rtcp(&mut packet, first_len);
    }

    #[test]
    fn packets_in_any_order_are_each_taken_once(
        gcm in any::<bool>(), start in any::<u16>(), order in Just((0..100u16).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let (mut sender, mut receiver) = pair(PROFILES[usize::from(gcm)]);
        let sealed: Vec<_> = (0..=100u16).map(|n| seal(&mut sender, SSRC, start.wrapping_add(n), &[n as u8]).unwrap()).collect();
        // The first one arrives first: a receiver has nothing else to take the rollover counter from.
        open(&mut receiver, &sealed[0]).unwrap();
        for n in &order {
            prop_assert!(open(&mut receiver, &sealed[usize::from(*n) + 1]).is_ok());
        }
        for packet in &sealed {
            prop_assert!(open(&mut receiver, packet).is_err(), "taken twice");
        }
    }
}
