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
