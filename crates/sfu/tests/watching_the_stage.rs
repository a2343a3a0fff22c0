//! Whoever opens a data channel labelled `stage` looks on while the stage is decided, until it is closed.
#![allow(clippy::unwrap_used)]

mod peer;

use std::time::Duration;

use peer::Spec;
use peer::call::Call;
use ringback_sfu::{ParticipantId, SfuEvent};

fn readings(call: &Call) -> usize {
    call.events.iter().filter(|event| matches!(event, SfuEvent::StageReadings { .. })).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readings_come_while_a_channel_named_stage_is_open_and_only_then() {
    let mut call = Call::new().await;
    for _ in 0..2 {
        call.join(Spec { microphone: true, data: true, ..Spec::default() }).await;
    }
    call.connect().await;
    call.until("data channels can be opened", |call| {
        call.peers[0].sctp.as_ref().is_some_and(|sctp| sctp.is_established())
    })
    .await;
    call.peers[0].open_channel("echo");
    for _ in 0..20 {
        call.send_voice(1, 0x80 | 30);
        call.run(Duration::from_millis(20)).await;
    }
    assert_eq!(readings(&call), 0, "nobody has asked");
    let channel = call.peers[0].open_channel("stage");
    for _ in 0..50 {
        call.send_voice(1, 0x80 | 30);
        call.run(Duration::from_millis(20)).await;
    }
    assert!((5..=15).contains(&readings(&call)), "{} in a second", readings(&call));
    let last = call.events.iter().rev().find_map(|event| match event {
        SfuEvent::StageReadings { watchers, readings, .. } => Some((watchers, readings)),
        _ => None,
    });
    let (watchers, told) = last.unwrap();
    assert_eq!(watchers, &[ParticipantId(1)]);
    let (_, reading, _) = told.iter().find(|(who, ..)| *who == ParticipantId(2)).unwrap();
    assert_eq!(reading.level, -30);
    call.peers[0].close_channel(channel);
    call.run(Duration::from_millis(300)).await;
    let before = readings(&call);
    for _ in 0..25 {
        call.send_voice(1, 0x80 | 30);
        call.run(Duration::from_millis(20)).await;
    }
    assert_eq!(readings(&call), before);
}
