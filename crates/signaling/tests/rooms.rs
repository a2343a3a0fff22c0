//! Rooms over real WebSockets, with a media side that only takes notes.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use ringback_signaling::media::MediaEvent;
use ringback_signaling::protocol::{Focus, SlotMapping, Source, SpatialLayers};
use ringback_signaling::token::Grants;
use serde_json::{Value, json};
use support::{Client, Server, config, token};

async fn client(server: &Server, who: &str) -> Client {
    let user = who.split('/').next().unwrap();
    let grants = Grants { call: true, list: false, rooms: vec!["hall".into(), "broken".into()] };
    server.client_with(who, &token(user, Duration::from_secs(60), grants)).await
}

fn join(offer: &str) -> Value {
    let tracks = json!([{"mid": "0", "source": "microphone"}, {"mid": "1", "source": "camera", "muted": true}]);
    json!({"room": "hall", "offer": offer, "tracks": tracks})
}

fn id(joined: &Value) -> String {
    joined["participant"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn people_drop_in_see_each_other_and_leave() {
    let server = Server::start().await;
    let mut ann = client(&server, "ann/pc").await;
    let joined = ann.ok("room.join", join("o")).await;
    assert_eq!(joined["slots"], json!([{"mid": "3", "kind": "audio", "pair": 0}]));
    let me = &joined["roster"][0];
    assert_eq!((&me["participant"], &me["name"]), (&joined["participant"], &json!("ANN")));
    assert_eq!(me["tracks"][1], json!({"source": "camera", "kind": "video", "muted": true}));
    let mut ben = client(&server, "ben/pc").await;
    let ben_joined = ben.ok("room.join", join("o")).await;
    assert_eq!(ben_joined["roster"].as_array().unwrap().len(), 2);
    assert_eq!(ann.roster().await["joined"][0]["participant"], ben_joined["participant"]);
    ben.ok("room.mute", json!({"room": "hall", "source": "camera", "muted": false})).await;
    let changed = ann.roster().await;
    assert_eq!(changed["changed"][0]["tracks"][1]["muted"], false);
    ben.ok("room.leave", json!({"room": "hall"})).await;
    assert_eq!(ann.roster().await["left"], json!([ben_joined["participant"]]));
    ann.ok("room.leave", json!({"room": "hall"})).await;
    server.media.wait_for("close hall").await;
    // The same name again is a new room, opened after the old one is closed.
    ann.ok("room.join", join("o")).await;
    let opened: Vec<_> = server.media.notes().into_iter().filter(|note| note.ends_with(" hall")).collect();
    assert_eq!(opened, ["open hall", "close hall", "open hall"]);
}

#[tokio::test]
async fn a_token_for_another_room_is_refused() {
    let server = Server::start().await;
    let mut ann = client(&server, "ann/pc").await;
    let other = json!({"room": "vault", "offer": "o", "tracks": []});
    assert_eq!(ann.refused("room.join", other).await, "forbidden");
    // The room of other people's call, too.
    let mut ben = client(&server, "ben/pc").await;
    let call = ann.place("ben").await;
    ben.event("call.incoming").await;
    let mut eve = client(&server, "eve/pc").await;
    let theirs = json!({"room": call["room"], "offer": "o", "tracks": []});
    assert_eq!(eve.refused("room.join", theirs).await, "forbidden");
}

#[tokio::test]
async fn newcomers_who_come_together_are_told_together() {
    let server = Server::start().await;
    let mut ann = client(&server, "ann/pc").await;
    ann.ok("room.join", join("o")).await;
    let mut others = Vec::new();
    for i in 0..8 {
        others.push(client(&server, &format!("user{i}/pc")).await);
    }
    let joins = others.iter_mut().map(|other| other.ok("room.join", join("o")));
    futures_util::future::join_all(joins).await;
    let mut deltas = 0;
    let mut known = 0;
    while known < 8 {
        known += ann.roster().await["joined"].as_array().unwrap().len();
        deltas += 1;
    }
    assert!(deltas <= 4, "{deltas} deltas for 8 newcomers");
}

#[tokio::test]
async fn a_slow_join_holds_up_only_its_own_socket() {
    let server = Server::start().await;
    let mut slow = client(&server, "slow/pc").await;
    let mut ann = client(&server, "ann/pc").await;
    let joining = slow.send("room.join", join("slow")).await;
    let leaving = slow.send("room.leave", json!({"room": "hall"})).await;
    ann.ok("room.join", join("o")).await;
    ann.ok("room.leave", json!({"room": "hall"})).await;
    let joins = server.media.notes().into_iter().filter(|note| note.starts_with("join")).count();
    assert_eq!(joins, 1, "only the quick one is in");
    slow.ok("ping", json!({})).await;
    // In the order asked: the leave finds the join done.
    assert!(slow.answer(joining).await.get("ok").is_some());
    assert!(slow.answer(leaving).await.get("ok").is_some());
}

#[tokio::test]
async fn what_the_media_side_refuses_or_breaks_is_answered_and_undone() {
    let server = Server::with(config().media_limit(Duration::from_millis(300)), Default::default()).await;
    let mut ann = client(&server, "ann/pc").await;
    let refused = ann.request("room.join", join("bad")).await;
    assert_eq!(refused["error"]["code"], "bad_offer");
    assert!(refused["error"]["message"].as_str().unwrap().contains("m-line 3"));
    assert_eq!(ann.refused("room.join", join("panic")).await, "internal");
    assert_eq!(ann.refused("room.join", join("hang")).await, "unavailable");
    server.media.wait_for("leave hall").await;
    let broken = json!({"room": "broken", "offer": "o", "tracks": []});
    assert_eq!(ann.refused("room.join", broken).await, "unavailable");
    ann.ok("room.join", join("o")).await;
}

#[tokio::test]
async fn a_call_whose_socket_breaks_off_during_a_join_leaves_nobody_behind() {
    let server = Server::with(config().grace(Duration::from_millis(50)), Default::default()).await;
    let mut ann = client(&server, "ann/pc").await;
    ann.send("room.join", join("slow")).await;
    server.media.wait_for("open hall").await;
    drop(ann);
    server.media.wait_for("leave hall").await;
    server.media.wait_for("close hall").await;
}

fn slot(participant: &str, epoch: u32) -> SlotMapping {
    SlotMapping {
        mid: "3".into(),
        participant: Some(participant.into()),
        source: None,
        epoch,
        rtp_timestamp: Some(1234),
        reason: None,
    }
}

#[tokio::test]
async fn what_the_media_side_reports_reaches_whom_it_concerns() {
    let server = Server::start().await;
    let mut ann = client(&server, "ann/pc").await;
    let mut ben = client(&server, "ben/pc").await;
    let ann_id = id(&ann.ok("room.join", join("o")).await);
    let ben_id = id(&ben.ok("room.join", join("o")).await);
    assert_eq!(ann.roster().await["joined"][0]["participant"], ben_id.as_str());
    let room = || "hall".to_owned();
    let signaling = &server.signaling;
    signaling.media_event(MediaEvent::Connected { room: room(), participant: ben_id.clone() }).await;
    assert_eq!(ann.event("room.connected").await["participant"], ben_id.as_str());
    let slots = vec![slot(&ben_id, 1)];
    signaling.media_event(MediaEvent::Slots { room: room(), participant: ann_id.clone(), slots }).await;
    let told = ann.event("room.slots").await;
    let mapping =
        json!({"mid": "3", "participant": ben_id, "source": null, "epoch": 1, "rtp_timestamp": 1234, "reason": null});
    assert_eq!(told["slots"], json!([mapping]));
    signaling.media_event(MediaEvent::Speaking { room: room(), speaking: vec![ben_id.clone()] }).await;
    assert_eq!(ann.event("room.speaking").await["speaking"], json!([ben_id]));
    let stage = MediaEvent::Stage { room: room(), participant: Some(ben_id.clone()), reason: "loudest".into() };
    signaling.media_event(stage).await;
    assert_eq!(ann.event("room.stage").await["participant"], ben_id.as_str());
    let focus = Focus { participant: ben_id.clone(), source: Source::Camera, reason: "stage".into() };
    let focus = MediaEvent::Focus { room: room(), participant: ann_id.clone(), focus: Some(focus) };
    signaling.media_event(focus).await;
    let looks_at = json!({"participant": ben_id, "source": "camera", "reason": "stage"});
    assert_eq!(ann.event("room.focus").await["focus"], looks_at);
    let wanted = vec!["q".to_owned()];
    for spatial in [None, Some(SpatialLayers { wanted: 1, of: 3 })] {
        let (participant, wanted) = (ann_id.clone(), wanted.clone());
        let layers = MediaEvent::Layers { room: room(), participant, source: Source::Camera, wanted, spatial };
        signaling.media_event(layers).await;
        let told = ann.event("room.layers").await;
        assert_eq!((&told["source"], &told["wanted"]), (&json!("camera"), &json!(["q"])));
        assert_eq!(told.get("spatial"), spatial.map(|_| json!({"wanted": 1, "of": 3})).as_ref());
    }
    let disconnected =
        MediaEvent::Disconnected { room: room(), participant: ben_id.clone(), reason: "consent lost".into() };
    signaling.media_event(disconnected).await;
    assert_eq!(ann.roster().await["changed"][0]["connected"], false);

    // The lights of somebody who left go out with them.
    ben.ok("room.leave", json!({"room": "hall"})).await;
    assert_eq!(ann.event("room.speaking").await["speaking"], json!([]));
    assert_eq!(ann.event("room.stage").await["participant"], Value::Null);
    let gone = MediaEvent::Slots { room: room(), participant: ben_id, slots: vec![slot(&ann_id, 2)] };
    signaling.media_event(gone).await;
    signaling.media_event(MediaEvent::RoomClosed { room: room(), reason: "worker gone".into() }).await;
    assert_eq!(ann.event("room.closed").await["reason"], "worker gone");
}

#[tokio::test]
async fn who_reconnects_is_told_what_happened_meanwhile() {
    let server = Server::start().await;
    let mut ann = client(&server, "ann/pc").await;
    let mut ben = client(&server, "ben/pc").await;
    let ann_id = id(&ann.ok("room.join", join("o")).await);
    drop(ann);
    let ben_id = id(&ben.ok("room.join", join("o")).await);
    let slots = vec![slot(&ben_id, 7)];
    server.signaling.media_event(MediaEvent::Slots { room: "hall".into(), participant: ann_id.clone(), slots }).await;
    let mut ann = client(&server, "ann/pc").await;
    assert_eq!(ann.hello["rooms"], json!([{"room": "hall", "participant": ann_id}]));
    let roster = ann.roster().await;
    assert_eq!(roster["joined"][0]["participant"], ben_id.as_str());
    assert_eq!(ann.event("room.slots").await["slots"][0]["epoch"], 7);
    // Joining again takes the place of what was left of the old session.
    let again = id(&ann.ok("room.join", join("o")).await);
    assert_ne!(again, ann_id);
    server.media.wait_for(&format!("leave hall {ann_id}")).await;
}

#[tokio::test]
async fn who_does_not_reconnect_is_taken_out_after_the_grace_period() {
    let server = Server::with(config().grace(Duration::from_millis(150)), Default::default()).await;
    let mut ann = client(&server, "ann/pc").await;
    let mut ben = client(&server, "ben/pc").await;
    ann.ok("room.join", join("o")).await;
    let ben_id = id(&ben.ok("room.join", join("o")).await);
    drop(ben);
    loop {
        let roster = ann.roster().await;
        if roster["left"] == json!([ben_id]) {
            break;
        }
    }
}
