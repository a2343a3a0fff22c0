//! Injected panics: a bug ends what it is in, and nothing else.
#![allow(clippy::unwrap_used)]

#[path = "../../tests/peer/mod.rs"]
mod peer;

use std::time::Duration;

use peer::call::{Call, ROOM};
use peer::{Format, Spec};

use crate::{DisconnectReason, ParticipantId, RoomCloseReason, RoomConfig, RoomId, SfuEvent};

const BOTH: Spec = Spec {
    microphone: true,
    camera: true,
    simulcast: false,
    video: Format::Vp8,
    red: false,
    pairs: 2,
    data: false,
    send_times: false,
};

/// Sends fifty voice packets from one peer and returns how many each other got.
async fn talk(call: &mut Call, from: usize) -> Vec<usize> {
    call.peers.iter_mut().for_each(|peer| peer.rtp.clear());
    for _ in 0..50 {
        call.send_voice(from, 40);
        call.run(Duration::from_millis(2)).await;
    }
    call.run(Duration::from_millis(100)).await;
    call.peers.iter().map(|peer| peer.rtp.len()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bug_in_one_room_ends_that_room_and_no_other() {
    let mut call = Call::new().await;
    let other = RoomId(2);
    call.handle.open_room(other, RoomConfig::default()).await.unwrap();
    for room in [ROOM, ROOM, other, other] {
        call.join_room(room, BOTH).await;
    }
    call.connect().await;
    assert_eq!(talk(&mut call, 2).await, [0, 0, 0, 50]);
    call.handle.panic_in_room(other).await.unwrap();
    call.until("the engine is told", |call| {
        let closed = SfuEvent::RoomClosed { room: other, reason: RoomCloseReason::Internal };
        call.events.contains(&closed)
    })
    .await;
    assert_eq!(talk(&mut call, 0).await, [0, 50, 0, 0]);
    let statistics = call.handle.statistics().await.unwrap();
    assert_eq!((statistics.panics, statistics.rooms, statistics.participants), (1, 1, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bug_in_one_connection_ends_that_connection_and_no_other() {
    let mut call = Call::new().await;
    for _ in 0..3 {
        call.join(BOTH).await;
    }
    call.connect().await;
    call.handle.panic_in_connection(ParticipantId(3)).await.unwrap();
    call.until("the engine is told", |call| {
        let (room, participant) = (ROOM, ParticipantId(3));
        let reason = DisconnectReason::Internal;
        call.events.contains(&SfuEvent::Disconnected { room, participant, reason })
    })
    .await;
    assert_eq!(talk(&mut call, 0).await, [0, 50, 0]);
    assert_eq!(call.handle.statistics().await.unwrap().participants, 2);
}

/// Another worker whose thread sleeps when it is told to.
fn sleepy_worker() -> (crate::WorkerHandle, tokio::sync::mpsc::Receiver<SfuEvent>, tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let certificate = ringback_transport::dtls::Certificate::generate().unwrap();
    let config = crate::WorkerConfig::new(vec!["127.0.0.1:0".parse().unwrap()], certificate);
    let entered = runtime.enter();
    let (handle, events) = crate::Worker::spawn(config).unwrap();
    drop(entered);
    (handle, events, runtime)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_sleeping_worker_has_no_room_for_is_dropped_and_its_people_go_on_at_a_keyframe() {
    let mut call = Call::new().await;
    let (other, _events, runtime) = sleepy_worker();
    other.open_room(ROOM, RoomConfig::default()).await.unwrap();
    other.join_shards(ROOM, &call.handle, 16 * 1024).await.unwrap();
    call.join(BOTH).await;
    let here = std::mem::replace(&mut call.handle, other.clone());
    call.join(BOTH).await;
    call.connect_all().await;
    call.send_face(0, true);
    call.until("a face came", |call| call.peers[1].rtp.len() == 1).await;
    let (fell_asleep, asleep) = std::sync::mpsc::channel();
    let slept = runtime.spawn(async move {
        fell_asleep.send(()).unwrap();
        std::thread::sleep(Duration::from_millis(500));
    });
    asleep.recv().unwrap();
    for _ in 0..200 {
        call.send_face(0, false);
        call.run(Duration::from_millis(1)).await;
    }
    let statistics = here.statistics().await.unwrap();
    assert!(statistics.relays_dropped > 50, "{statistics:?}");
    assert_eq!(statistics.packets_received, 201, "nobody waited for it");
    slept.await.unwrap();
    call.run(Duration::from_millis(300)).await;
    call.peers[0].rtcp.clear();
    call.send_face(0, false);
    call.until("a keyframe is asked for", |call| {
        let packets =
            call.peers[0].rtcp.iter().flat_map(|packet| ringback_transport::rtcp::parse_compound(packet).flatten());
        packets.into_iter().any(|packet| matches!(packet, ringback_transport::rtcp::RtcpPacket::Pli { .. }))
    })
    .await;
    call.peers[1].rtp.clear();
    call.send_face(0, true);
    call.send_face(0, false);
    call.until("the picture goes on", |call| call.peers[1].rtp.len() == 2).await;
    runtime.shutdown_background();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bug_in_one_shard_ends_that_shard_and_leaves_the_others() {
    let mut call = Call::new().await;
    let mut other = Call::beside(&call).await;
    for _ in 0..2 {
        call.join(BOTH).await;
    }
    other.join(BOTH).await;
    call.connect().await;
    other.connect().await;
    call.run(Duration::from_millis(50)).await;
    other.handle.panic_in_room(ROOM).await.unwrap();
    call.until("its people are gone", |call| {
        call.events.iter().any(|event| {
            matches!(event, SfuEvent::Slots { participant: ParticipantId(1), slots, .. }
                if slots.iter().any(|slot| slot.reason == Some(crate::SlotReason::Left)))
        })
    })
    .await;
    assert_eq!(talk(&mut call, 0).await, [0, 50]);
    let statistics = call.handle.statistics().await.unwrap();
    assert_eq!((statistics.panics, statistics.rooms, statistics.rooms_shared, statistics.participants), (0, 1, 0, 2));
    assert_eq!(other.handle.statistics().await.unwrap().rooms, 0);
    other.pump();
    let (room, participant, reason) = (ROOM, other.id(0), DisconnectReason::Internal);
    let closed = SfuEvent::RoomClosed { room, reason: RoomCloseReason::Internal };
    assert_eq!(other.events[other.events.len() - 2..], [SfuEvent::Disconnected { room, participant, reason }, closed]);
}
