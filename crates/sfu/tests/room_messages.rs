//! Data-channel messages for a whole room, and floods of them: who gets one, who is told to be without a channel, and that nobody's flood
//! takes the others' place.
#![allow(clippy::unwrap_used)]

mod peer;

use std::time::Duration;

use peer::Spec;
use peer::call::{Call, ROOM};
use ringback_sfu::{ParticipantId, RoomId, SfuEvent, Share};
use ringback_transport::sctp::SctpEvent;

/// More than are served in one round.
const PEOPLE: usize = 40;

fn heard(call: &Call, who: usize) -> Vec<&[u8]> {
    let messages = call.peers[who].data.iter().filter_map(|event| match event {
        SctpEvent::Message { data, .. } => Some(&data[..]),
        _ => None,
    });
    messages.collect()
}

async fn with_channels(people: usize, without: usize) -> (Call, Vec<u16>) {
    let mut call = Call::new().await;
    for _ in 0..people {
        call.join(Spec { microphone: true, data: true, ..Spec::default() }).await;
    }
    for _ in 0..without {
        call.join(Spec { microphone: true, ..Spec::default() }).await;
    }
    call.connect().await;
    let established = |call: &Call| {
        call.peers[..people].iter().all(|peer| peer.sctp.as_ref().is_some_and(|sctp| sctp.is_established()))
    };
    call.until("data channels can be opened", established).await;
    let channels: Vec<u16> = call.peers[..people].iter_mut().map(|peer| peer.open_channel("reactions")).collect();
    let open = |call: &Call| {
        let is_open = |peer: &peer::Peer| peer.data.iter().any(|event| matches!(event, SctpEvent::Open { .. }));
        call.peers[..people].iter().all(is_open)
    };
    call.until("all are open", open).await;
    (call, channels)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_for_a_room_reaches_everybody_once_and_says_who_has_no_channel() {
    let (mut call, _) = with_channels(PEOPLE, 2).await;
    let lacking = [ParticipantId(PEOPLE as u64 + 1), ParticipantId(PEOPLE as u64 + 2)];
    for text in ["one", "two"] {
        let mut without = call.handle.broadcast_data(ROOM, Share::ALL, "reactions", false, text.into()).await.unwrap();
        without.sort_unstable_by_key(|participant| participant.0);
        assert_eq!(without, lacking);
    }
    call.until("all have both", |call| (0..PEOPLE).all(|who| heard(call, who).len() == 2)).await;
    call.run(Duration::from_millis(100)).await;
    assert!((0..PEOPLE).all(|who| heard(&call, who) == [b"one", b"two"]));
    // Shares are told apart by the participants' numbers, and together they are everybody.
    for at in 0..3 {
        let share = Share { at, of: 3 };
        let without =
            call.handle.broadcast_data(ROOM, share, "reactions", false, format!("{at}").into()).await.unwrap();
        assert!(without.iter().all(|lacking| lacking.0 % 3 == u64::from(at)), "{without:?}");
    }
    call.until("all have a third", |call| (0..PEOPLE).all(|who| heard(call, who).len() == 3)).await;
    call.run(Duration::from_millis(100)).await;
    assert!((0..PEOPLE).all(|who| heard(&call, who)[2..] == [((who + 1) % 3).to_string().as_bytes()]));
    assert!(call.handle.broadcast_data(RoomId(9), Share::ALL, "reactions", false, "x".into()).await.is_err());
    // A room that ends meanwhile leaves nobody waiting.
    let (sent, closed) = tokio::join!(
        call.handle.broadcast_data(ROOM, Share::ALL, "reactions", false, "late".into()),
        call.handle.close_room(ROOM)
    );
    assert!(sent.is_ok() && closed.is_ok(), "{sent:?} {closed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_messages_is_cut_and_the_others_messages_all_come() {
    let (mut call, channels) = with_channels(2, 0).await;
    for number in 0..60 {
        for _ in 0..20 {
            // Its own queue may be full.
            let now = std::time::Instant::now();
            let _ = call.peers[0].sctp.as_mut().unwrap().send(now, channels[0], false, b"flood");
        }
        call.peers[1].send_data(channels[1], &number.to_string());
        call.run(Duration::from_millis(5)).await;
    }
    let from = |call: &Call, id: u64| {
        let theirs = |event: &&SfuEvent| matches!(event, SfuEvent::Data { participant, .. } if participant.0 == id);
        call.events.iter().filter(theirs).count()
    };
    call.until("the other's messages came", |call| from(call, 2) == 60).await;
    let dropped = call.handle.statistics().await.unwrap().data_dropped;
    assert!((120..600).contains(&from(&call, 1)), "{} of the flood came through", from(&call, 1));
    assert!(dropped > 100, "{dropped} were dropped");
}
