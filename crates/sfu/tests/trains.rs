//! Packets that travel together: how many trains the system takes for them, and that nobody but it sees a difference.
#![allow(clippy::unwrap_used)]

mod peer;

use std::time::{Duration, Instant};

use peer::call::{Call, ROOM};
use peer::media::{CAMERA, LEVEL, MICROPHONE, MID, OPUS, VP8, read_stamp, rtp, stamp, vp8};
use peer::sdp::{Answer, offer};
use peer::{Peer, Spec};
use ringback_sfu::{ParticipantId, Trains, WorkerConfig, WorkerStatistics};
use ringback_transport::dtls::Certificate;

const FRAMES: u16 = 20;

/// The pieces of a frame, as libwebrtc cuts one: the larger ones last.
const PIECES: [usize; 4] = [900, 900, 901, 901];

fn config(change: impl FnOnce(&mut Trains)) -> WorkerConfig {
    let mut config = WorkerConfig::new(vec!["127.0.0.1:0".parse().unwrap()], Certificate::generate().unwrap());
    change(&mut config.trains);
    config
}

/// A piece of a frame; its last bytes say which.
fn piece(frame: u16, at: usize) -> Vec<u8> {
    let mut payload = vp8(frame, frame == 0, at == 0);
    payload.resize(PIECES[at], frame as u8);
    payload.push(at as u8);
    let sequence = frame * PIECES.len() as u16 + at as u16;
    let mut packet = rtp(CAMERA, VP8, sequence, u32::from(frame) * 3000, &[(MID, b"cam")], &payload);
    packet[1] |= u8::from(at + 1 == PIECES.len()) << 7;
    packet
}

/// Somebody who receives, and knows RTX or does not.
async fn join_listener(call: &mut Call, rtx: bool) {
    let mut peer = Peer::new(Spec { pairs: 1, ..Spec::default() });
    let mut offer = offer(&peer);
    if !rtx {
        let lines = offer.sdp.replace("SAVPF 96 97", "SAVPF 96");
        let known = lines.split("\r\n").filter(|line| !line.contains(":97 "));
        offer.sdp = known.collect::<Vec<_>>().join("\r\n");
    }
    let joined = call.handle.join(ROOM, ParticipantId(call.peers.len() as u64 + 1), offer).await.unwrap();
    peer.answer(&joined.answer);
    call.answers.push(Answer::parse(&joined.answer));
    call.peers.push(peer);
}

/// Sends frames to one listener. Returns what the worker did for them, and the bytes of padding that arrived; what else arrived is checked.
async fn watch(config: WorkerConfig, rtx: bool) -> (WorkerStatistics, WorkerStatistics, usize) {
    let mut call = Call::with(config).await;
    call.join(Spec { camera: true, ..Spec::default() }).await;
    join_listener(&mut call, rtx).await;
    call.connect().await;
    let send = |call: &mut Call, frame: u16| (0..PIECES.len()).for_each(|at| call.peers[0].send_rtp(&piece(frame, at)));
    send(&mut call, 0);
    // The slot has gone over to the camera, and nothing is asked of its network that it cannot give.
    call.until("the keyframe is there", |call| call.peers[1].rtp.len() >= PIECES.len()).await;
    call.run(Duration::from_millis(100)).await;
    call.peers[1].rtp.clear();
    let before = call.handle.statistics().await.unwrap();
    for frame in 1..=FRAMES {
        send(&mut call, frame);
        call.run(Duration::from_millis(30)).await;
    }
    let after = call.handle.statistics().await.unwrap();
    let arrived = &call.peers[1].rtp;
    let media: Vec<_> = arrived.iter().filter(|arrived| !arrived.payload().is_empty()).collect();
    assert_eq!(media.len(), PIECES.len() * usize::from(FRAMES));
    let mut padding = 0;
    for (number, arrived) in media.iter().enumerate() {
        let (frame, at) = (number / PIECES.len() + 1, number % PIECES.len());
        let payload = arrived.payload();
        assert_eq!((payload.len(), payload.last()), (PIECES[at] + 1, Some(&(at as u8))), "piece {at} of frame {frame}");
        assert!(payload[20..PIECES[at]].iter().all(|byte| *byte == frame as u8));
        padding += arrived.packet.len() - arrived.header.header_len - payload.len();
    }
    (before, after, padding)
}

#[tokio::test]
async fn the_pieces_of_a_frame_leave_as_one_train_and_arrive_as_they_were() {
    let (before, after, padding) = watch(config(|_| ()), true).await;
    let trains = after.trains_sent - before.trains_sent;
    if cfg!(target_os = "linux") {
        // Beside the frames there are answers to checks and a few reports.
        assert!(trains < u64::from(FRAMES) * 3 / 2, "{trains} trains for {FRAMES} frames");
        assert_eq!(padding as u64, after.padding_sent - before.padding_sent);
        assert!((1..=2 * usize::from(FRAMES)).contains(&padding), "{padding} bytes of padding");
    }
}

#[tokio::test]
async fn without_levelling_each_step_in_size_ends_a_train() {
    let (before, after, padding) = watch(config(|trains| trains.levelling = false), true).await;
    assert!(after.trains_sent - before.trains_sent >= u64::from(FRAMES) * 2);
    assert_eq!((padding, after.padding_sent), (0, 0));
}

#[tokio::test]
async fn whoever_has_not_negotiated_what_probes_take_gets_no_padding() {
    let (_, after, padding) = watch(config(|_| ()), false).await;
    assert_eq!((padding, after.padding_sent), (0, 0));
}

/// Lets three voices talk a millisecond or two after one another to somebody who hears all three. Returns the trains and the datagrams that left, and how long the voices were on
/// their way.
async fn listen(config: WorkerConfig) -> (u64, u64, Vec<Duration>) {
    const ROUNDS: u64 = 25;
    let mut call = Call::with(config).await;
    for _ in 0..3 {
        call.join(Spec { microphone: true, ..Spec::default() }).await;
    }
    call.join(Spec { pairs: 3, ..Spec::default() }).await;
    call.connect().await;
    let origin = Instant::now();
    let mut before = WorkerStatistics::default();
    for round in 0..ROUNDS + 10 {
        if round == 10 {
            // By now all three have their slots.
            before = call.handle.statistics().await.unwrap();
            call.peers[3].rtp.clear();
        }
        for talker in 0..3_u64 {
            let (level, payload) = ([0x80 | 30], stamp(talker, round, origin, 100));
            let extensions: &[(u8, &[u8])] = &[(LEVEL, &level), (MID, b"mic")];
            let packet = rtp(MICROPHONE, OPUS, round as u16, round as u32 * 960, extensions, &payload);
            call.peers[talker as usize].send_rtp(&packet);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        call.run(Duration::from_millis(16)).await;
    }
    let after = call.handle.statistics().await.unwrap();
    let arrived = &call.peers[3].rtp;
    let delays: Vec<_> = arrived.iter().map(|voice| read_stamp(voice.payload(), origin, voice.at).2).collect();
    assert_eq!(delays.len() as u64, 3 * ROUNDS);
    (after.trains_sent - before.trains_sent, after.datagrams_sent - before.datagrams_sent, delays)
}

#[tokio::test]
async fn voices_wait_for_one_another_only_where_asked_and_not_for_long() {
    let (trains, datagrams, _) = listen(config(|_| ())).await;
    assert!(trains * 10 >= datagrams * 9, "{trains} trains for {datagrams} datagrams");
    let (trains, datagrams, delays) = listen(config(|trains| trains.voice_wait = Duration::from_millis(5))).await;
    if cfg!(target_os = "linux") {
        // One of three, if this machine kept the time.
        assert!(trains * 3 <= datagrams * 2, "{trains} trains for {datagrams} datagrams");
    }
    let late = delays.iter().filter(|delay| **delay > Duration::from_millis(40)).count();
    assert!(late * 4 < delays.len(), "{late} voices of {} were late: {delays:?}", delays.len());
}
