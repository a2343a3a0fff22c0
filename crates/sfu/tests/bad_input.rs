//! Bad input while others talk: whatever a stranger or a participant sends, a call that goes on beside it loses nothing and is not
//! delayed.
#![allow(clippy::unwrap_used)]

mod peer;

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use peer::call::Call;
use peer::media::{CAMERA, LEVEL, MICROPHONE, MID, OPUS, VP8, read_stamp, rtp, vp8_len};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ringback_sfu::{ParticipantId, SfuEvent};
use ringback_transport::dtls::{Certificate, DtlsAssociation, DtlsRole};

/// No packet of the call may take longer. Loopback takes well under a millisecond; the rest is for a loaded machine, which may put the call itself aside.
const LATEST: Duration = Duration::from_secs(1);

/// The length of the FINGERPRINT attribute at the end of a check, behind what the MAC covers.
const FINGERPRINT: usize = 8;

/// Participant 1 talks to 2 for a while, with `attack` called before each packet; everything must arrive, in time.
async fn talk_during(call: &mut Call, packets: u64, mut attack: impl FnMut(&mut Call, u64)) {
    for peer in &mut call.peers {
        peer.rtp.clear();
    }
    let (first_voice, first_face) = (call.voices[0], call.faces[0]);
    for number in 0..packets {
        attack(call, number);
        call.send_voice(0, 40);
        call.send_face(0, number == 0);
        call.run(Duration::from_millis(4)).await;
    }
    let is_all = |call: &Call| heard_and_seen(call).0.iter().all(|numbers| numbers.len() as u64 >= packets);
    call.until("everything came", is_all).await;
    // What comes twice comes now.
    call.run(Duration::from_millis(100)).await;
    let (numbers, slowest) = heard_and_seen(call);
    assert_eq!(numbers[0], (first_voice..first_voice + packets).collect::<Vec<_>>(), "voice lost");
    assert_eq!(numbers[1], (first_face..first_face + packets).collect::<Vec<_>>(), "video lost");
    assert!(slowest < LATEST, "the slowest packet took {slowest:?}");
}

/// The numbers of the voices and of the faces that have come from participant 1 to 2, and how long the slowest took.
fn heard_and_seen(call: &Call) -> ([Vec<u64>; 2], Duration) {
    let mut numbers = [Vec::new(), Vec::new()];
    let mut slowest = Duration::ZERO;
    for arrived in &call.peers[1].rtp {
        let is_video = arrived.header.payload_type == VP8;
        let payload = arrived.payload();
        let stamp = if is_video { &payload[vp8_len(payload)..] } else { payload };
        if stamp.len() < 24 {
            continue;
        }
        let (sender, number, age) = read_stamp(stamp, call.origin, arrived.at);
        if sender == 1 {
            numbers[usize::from(is_video)].push(number);
            slowest = slowest.max(age);
        }
    }
    (numbers, slowest)
}

/// A live call of two, in which media flows already.
async fn live(people: usize) -> Call {
    let mut call = Call::connected(people).await;
    talk_during(&mut call, 5, |_, _| {}).await;
    call
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_from_strangers_costs_a_live_call_nothing() {
    let seed = rand::rng().random::<u64>();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut call = live(2).await;
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = call.peers[0].server.unwrap();
    talk_during(&mut call, 100, |_, _| {
        for _ in 0..50 {
            let mut bytes = vec![0; random.random_range(0..1500)];
            random.fill(&mut bytes[..]);
            stranger.send_to(&bytes, server).unwrap();
        }
    })
    .await;
    let statistics = call.handle.statistics().await.unwrap();
    assert!(statistics.datagrams_unrouted >= 1000, "{statistics:?}");
    assert_eq!(statistics.panics, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn truncated_and_hostile_stun_costs_a_live_call_nothing() {
    let mut call = live(2).await;
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let server = call.peers[0].server.unwrap();
    let honest = call.peers[0].honest_check();
    talk_during(&mut call, 100, |call, number| {
        // Cut anywhere, from a stranger and from a participant's own address.
        let cut = number as usize % honest.len();
        stranger.send_to(&honest[..cut], server).unwrap();
        call.peers[1].socket.send_to(&honest[..cut], server).unwrap();
        // Attribute lengths that point beyond the end, another name, a wrong MAC.
        for at in 20..honest.len() - FINGERPRINT {
            if at as u64 % 10 == number % 10 {
                let mut hostile = honest.clone();
                hostile[at] ^= 0xFF;
                stranger.send_to(&hostile, server).unwrap();
            }
        }
        // Attributes behind the MAC, which it does not cover.
        let mut longer = honest.clone();
        longer.extend([0, 0x25, 0, 0]);
        let len = (longer.len() - 20) as u16;
        longer[2..4].copy_from_slice(&len.to_be_bytes());
        call.peers[0].socket.send_to(&longer, server).unwrap();
    })
    .await;
    let mut buffer = [0; 1500];
    assert!(stranger.recv_from(&mut buffer).is_err(), "an unauthenticated request was answered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wild_rtp_of_one_participant_costs_the_others_nothing() {
    let mut call = live(3).await;
    talk_during(&mut call, 100, |call, number| {
        let attacker = &mut call.peers[2];
        let number16 = 20_000 + 2 * number as u16;
        // Padding longer than the packet, no padding where announced, 255 of 1.
        let mut padded = rtp(MICROPHONE, OPUS, number16, 0, &[], &[0xFF; 3]);
        padded[0] |= 0x20;
        attacker.send_rtp(&padded);
        let mut zero = rtp(CAMERA, VP8, number16, 0, &[], &[0; 3]);
        zero[0] |= 0x20;
        attacker.send_rtp(&zero);
        // An extension whose elements run over its end.
        let mut extended = rtp(MICROPHONE, OPUS, number16 + 1, 0, &[(LEVEL, &[1, 2, 3])], b"x");
        extended[16] = 0x1F;
        attacker.send_rtp(&extended);
        // Payload types that nobody negotiated; RTX that holds nothing; VP8 that is none.
        for payload_type in [0, 35, 72, 97, 127] {
            let sequence = (number as u16).wrapping_mul(5).wrapping_add(u16::from(payload_type));
            attacker.send_rtp(&rtp(
                0xABC0 + u32::from(payload_type),
                payload_type,
                sequence,
                0,
                &[(MID, b"cam")],
                &[9],
            ));
        }
        attacker.send_rtp(&rtp(CAMERA, VP8, number16 + 1, 0, &[], &[0x90, 0xFF]));
    })
    .await;
    assert_eq!(call.handle.statistics().await.unwrap().panics, 0);
    assert!(!call.events.iter().any(|event| matches!(event, SfuEvent::Disconnected { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_that_lies_about_its_length_is_refused_before_it_is_decrypted() {
    let mut call = live(2).await;
    let before = call.handle.statistics().await.unwrap().datagrams_refused;
    let server = call.peers[0].server.unwrap();
    talk_during(&mut call, 50, |call, _| {
        for csrcs in [0x8F, 0x9F, 0x90] {
            // From a participant's own address: CSRCs and extensions longer than the packet.
            let lying = [csrcs, 111, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0xBE, 0xDE, 0xFF, 0xFF, 0, 0, 0, 0];
            call.peers[1].socket.send_to(&lying, server).unwrap();
        }
    })
    .await;
    let after = call.handle.statistics().await.unwrap().datagrams_refused;
    assert!(after - before >= 150, "{before} to {after}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_ssrcs_light_nobodys_light_and_leave_nothing_behind() {
    let mut call = live(3).await;
    let server = call.peers[0].server.unwrap();
    call.events.clear();
    talk_during(&mut call, 100, |call, number| {
        // Forged without keys: from a stranger's view they look like the first participant's voice.
        for forged in 0..20u32 {
            let bytes = rtp(MICROPHONE, OPUS, number as u16, forged, &[(LEVEL, &[0x80])], &[7; 100]);
            call.peers[2].socket.send_to(&bytes, server).unwrap();
        }
        // Sealed with the participant's own keys, under SSRCs that no m-line of theirs has.
        for forged in 0..5u32 {
            let ssrc = 0xF000_0000 + (number as u32 % 20) * 5 + forged;
            call.peers[2].send_rtp(&rtp(ssrc, OPUS, number as u16, 0, &[(LEVEL, &[0x80])], b"forged"));
        }
    })
    .await;
    let spoke = call
        .events
        .iter()
        .any(|event| matches!(event, SfuEvent::Speaking { speaking, .. } if speaking.contains(&ParticipantId(3))));
    assert!(!spoke, "a forged voice lit a light");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_hello_from_an_unvalidated_address_is_not_answered() {
    let mut call = live(2).await;
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let server = call.peers[0].server.unwrap();
    let certificate = Certificate::generate().unwrap();
    let expected = vec![call.peers[0].certificate.fingerprint()];
    let mut client = DtlsAssociation::new(certificate, DtlsRole::Client, expected).unwrap();
    client.start(Instant::now()).unwrap();
    let hello: Vec<_> = std::iter::from_fn(|| client.poll_transmit()).collect();
    assert!(!hello.is_empty());
    talk_during(&mut call, 100, |_, _| {
        for datagram in &hello {
            for _ in 0..20 {
                stranger.send_to(datagram, server).unwrap();
            }
        }
    })
    .await;
    let mut buffer = [0; 1500];
    assert!(stranger.recv_from(&mut buffer).is_err(), "a stranger's ClientHello was answered");
    let statistics = call.handle.statistics().await.unwrap();
    assert!(statistics.datagrams_unrouted >= 100 * hello.len() as u64, "{statistics:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_rtcp_of_one_participant_costs_the_others_nothing() {
    let mut call = live(3).await;
    let slot = call.answers[2].ssrc("v0");
    talk_during(&mut call, 100, |call, number| {
        // Lengths that lie, and requests for everything there ever was.
        let mut lying = vec![0x81, 205, 0xFF, 0xFF];
        lying.extend(1u32.to_be_bytes());
        lying.extend(slot.to_be_bytes());
        call.peers[2].send_rtcp(&lying);
        let mut greedy = vec![0x81, 205, 0, 102];
        greedy.extend(1u32.to_be_bytes());
        greedy.extend(slot.to_be_bytes());
        for pair in 0..100u16 {
            greedy.extend((number as u16 * 17 + pair * 17).to_be_bytes());
            greedy.extend([0xFF, 0xFF]);
        }
        call.peers[2].send_rtcp(&greedy);
    })
    .await;
    assert_eq!(call.handle.statistics().await.unwrap().panics, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offers_that_cannot_be_used_are_refused_with_a_reason_while_others_talk() {
    let mut call = live(2).await;
    let handle = call.handle.clone();
    let bad = tokio::spawn(async move {
        let mut errors = Vec::new();
        let lines = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n".repeat(300);
        for sdp in
            ["", "v=0\r\n", "not sdp at all", &format!("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n{lines}")]
        {
            let offer = ringback_sfu::JoinOffer { sdp: sdp.to_owned(), tracks: Vec::new() };
            errors.push(handle.join(peer::call::ROOM, ParticipantId(99), offer).await.unwrap_err().to_string());
        }
        errors
    });
    talk_during(&mut call, 50, |_, _| {}).await;
    for error in bad.await.unwrap() {
        assert!(error.starts_with("the offer cannot be answered: "), "{error}");
    }
    assert_eq!(call.handle.statistics().await.unwrap().participants, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_that_has_to_be_decoded_costs_the_others_nothing() {
    let seed = rand::rng().random::<u64>();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut call = live(3).await;
    let mut sequence = 0_u16;
    talk_during(&mut call, 150, |call, _| {
        // Opus that is none, without a level: far more than anybody could decode.
        for _ in 0..40 {
            let mut payload = vec![0; random.random_range(1..1_250)];
            random.fill(&mut payload[..]);
            sequence = sequence.wrapping_add(1);
            let timestamp = u32::from(sequence) * 960;
            call.peers[2].send_rtp(&rtp(MICROPHONE, OPUS, sequence, timestamp, &[(MID, b"mic")], &payload));
        }
    })
    .await;
    let statistics = call.handle.statistics().await.unwrap();
    assert!(statistics.voices_decoded > 0 && statistics.panics == 0, "{statistics:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn levels_forged_over_silence_cost_the_others_nothing_and_win_nothing() {
    let mut call = live(3).await;
    let mut sequence = 0_u16;
    talk_during(&mut call, 150, |call, number| {
        for loud in [0x80, 0x80 | 5] {
            sequence = sequence.wrapping_add(1);
            let level = [loud + (number % 9) as u8];
            let extensions: &[(u8, &[u8])] = &[(MID, b"mic"), (LEVEL, &level)];
            let timestamp = u32::from(sequence) * 960;
            call.peers[2].send_rtp(&rtp(MICROPHONE, OPUS, sequence, timestamp, extensions, &[0xF8, 0xFF, 0xFE]));
        }
    })
    .await;
    let lights = call.events.iter().rev().find_map(|event| match event {
        SfuEvent::Speaking { speaking, .. } => Some(speaking.clone()),
        _ => None,
    });
    assert!(!lights.unwrap_or_default().contains(&ParticipantId(3)), "silence is lit");
}
