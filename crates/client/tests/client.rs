//! The client against a stand-in for the server: signaling over a real WebSocket, media over real sockets on loopback
//! with another `webrtc` peer that sends everything back.
#![allow(clippy::unwrap_used)]

mod echo_server;

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use echo_server::{EchoServer, SOON};
use ringback_client::{
    AudioDecoder, AudioSource, CallKind, Client, ClientError, ErrorCode, Event, Kind, Publish, Source,
    dominant_frequency,
};
use rtc::rtp::codec::vp8::Vp8Packet;
use rtc::rtp::packetizer::Depacketizer;

fn testcard() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/media/testcard.ivf").into()
}

#[tokio::test]
async fn a_tone_and_a_clip_come_back_through_the_slots() {
    let server = EchoServer::start().await;
    let client = Client::connect(&server.url, "good").await.unwrap();
    let publish = Publish {
        audio: Some(AudioSource::Tone { hz: 620.0 }),
        video: Some(testcard()),
        slots: 1,
        ..Publish::default()
    };
    let participant = client.join("r1", publish).await.unwrap();
    assert_eq!((participant.id(), participant.room()), ("p1", "r1"));
    let (mut audio, mut video) = (participant.on_audio(), participant.on_video());
    participant.connected(SOON).await.unwrap();

    let mut decoder = AudioDecoder::new().unwrap();
    let mut heard = Vec::new();
    while heard.len() < 48_000 {
        let packet = tokio::time::timeout(SOON, audio.recv()).await.unwrap().unwrap();
        assert_eq!((&*packet.mid, packet.participant.as_deref()), ("2", Some("p2")));
        let level = packet.header.extensions.first().expect("no audio level");
        assert_eq!(level.payload[..], [0x80 | 15], "voice at -15 dBov");
        heard.extend(decoder.decode(&packet.payload).unwrap());
    }
    let hz = dominant_frequency(&heard).unwrap();
    assert!((hz - 620.0).abs() < 5.0, "heard {hz} Hz");

    // The clip has one keyframe in four seconds; a second one within two seconds answers the peer's request.
    let (mut keyframes, mut pictures) = (Vec::new(), 0);
    while keyframes.len() < 2 {
        let packet = tokio::time::timeout(SOON, video.recv()).await.unwrap().unwrap();
        assert_eq!((&*packet.mid, packet.participant.as_deref()), ("3", Some("p2")));
        let mut descriptor = Vp8Packet::default();
        let frame = descriptor.depacketize(&packet.payload).unwrap();
        if descriptor.s == 1 && descriptor.pid == 0 {
            pictures += 1;
            if frame[0] & 1 == 0 {
                keyframes.push(packet.header.timestamp);
            }
        }
    }
    let apart = keyframes[1].wrapping_sub(keyframes[0]);
    assert!(apart < 3 * 90_000, "the second keyframe came {apart} ticks after the first: nobody asked for it");
    assert!(pictures > 5, "only {pictures} pictures");

    let slots = participant.slots();
    assert_eq!(slots.iter().map(|slot| slot.kind).collect::<Vec<_>>(), [Kind::Audio, Kind::Video]);
    assert!(slots.iter().all(|slot| slot.reception.lost == 0 && slot.reception.unread == 0), "{slots:?}");
    assert_eq!(participant.roster()[0].user, "echo");
    participant.leave().await.unwrap();
}

#[tokio::test]
async fn a_muted_microphone_sends_nothing() {
    let server = EchoServer::start().await;
    let client = Client::connect(&server.url, "good").await.unwrap();
    let publish =
        Publish { audio: Some(AudioSource::Silence), video: Some(testcard()), slots: 1, muted: true, log: None };
    let participant = client.join("r1", publish).await.unwrap();
    let (mut audio, mut video) = (participant.on_audio(), participant.on_video());
    tokio::time::timeout(SOON, video.recv()).await.unwrap().unwrap();
    assert!(audio.try_recv().is_err(), "joined muted");

    participant.mute(Source::Microphone, false).await.unwrap();
    let first = tokio::time::timeout(SOON, audio.recv()).await.unwrap().unwrap();
    assert!(first.header.marker, "a talkspurt starts with the marker bit");

    participant.mute(Source::Microphone, true).await.unwrap();
    // What is on its way may still arrive; a voice has a packet each 20 ms.
    let silence =
        async { while let Ok(Some(_)) = tokio::time::timeout(Duration::from_millis(300), audio.recv()).await {} };
    tokio::time::timeout(SOON, silence).await.expect("it falls silent");
    let screen = participant.mute(Source::Screen, true).await.unwrap_err();
    assert!(matches!(screen, ClientError::NothingPublished("screen")));
}

#[tokio::test]
async fn messages_go_both_ways_on_the_data_channel() {
    let server = EchoServer::start().await;
    let client = Client::connect(&server.url, "good").await.unwrap();
    let publish =
        Publish { audio: Some(AudioSource::Silence), video: Some(testcard()), slots: 1, muted: false, log: None };
    let participant = client.join("r1", publish).await.unwrap();
    let mut messages = participant.on_data();
    participant.send_data("hello", SOON).await.unwrap();
    let message = tokio::time::timeout(SOON, messages.recv()).await.unwrap().unwrap();
    assert_eq!((message.label.as_str(), &message.data[..]), ("ringback", &b"echo: hello"[..]));
}

#[tokio::test]
async fn events_arrive_in_order_after_the_answer() {
    let server = EchoServer::start().await;
    let client = Client::connect(&server.url, "good").await.unwrap();
    assert_eq!((client.user(), client.hello().people[0].user.as_str()), ("alice", "bob"));
    let call = client.place(&["bob"], CallKind::Voice).await.unwrap();
    assert_eq!(call.room, "r1");
    // Asked for only now: the first stream starts with the session.
    let mut events = client.events();
    assert!(matches!(events.next().await, Some(Event::CallLeg { .. })));
    let by = events.wait_for(SOON, |event| match event {
        Event::CallActive { answered_by, .. } => Some(answered_by.user),
        _ => None,
    });
    assert_eq!(by.await.as_deref(), Some("bob"));
    client.hangup(&call.id).await.unwrap();
}

#[tokio::test]
async fn a_refused_request_says_why() {
    let server = EchoServer::start().await;
    let client = Client::connect(&server.url, "good").await.unwrap();
    let Err(ClientError::Refused { request, code, retry_after, .. }) = client.accept("c1").await else {
        panic!("not refused");
    };
    assert_eq!(
        (request.as_str(), code, retry_after),
        ("call.accept", ErrorCode::RateLimited, Some(Duration::from_millis(900)))
    );
    let unknown = client.ignore("c1").await.unwrap_err().to_string();
    assert!(unknown.contains("no request call.ignore"), "{unknown}");
}

#[tokio::test]
async fn a_server_that_refuses_the_token_or_is_not_there_is_told_apart() {
    let server = EchoServer::start().await;
    let refused = Client::connect(&server.url, "bad").await.unwrap_err();
    assert!(matches!(refused, ClientError::Closed { code: 4401, .. }), "{refused}");
    let nobody = Client::connect("ws://127.0.0.1:1/v1/ws", "good").await.unwrap_err().to_string();
    assert!(nobody.contains("ws://127.0.0.1:1/v1/ws"), "{nobody}");
}

#[tokio::test]
async fn the_session_is_kept_alive_and_a_silent_server_is_given_up() {
    let server = EchoServer::start().await;
    let client = Client::connect(&server.url, "good").await.unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(server.seen.pings.load(Ordering::Relaxed) >= 2);
    assert!(client.hangup("c1").await.is_ok());

    let ignored = Client::connect(&server.url, "silent").await.unwrap();
    let mut events = ignored.events();
    let code = events.wait_for(SOON, |event| match event {
        Event::Closed { code, .. } => Some(code),
        _ => None,
    });
    assert_eq!(code.await, Some(4408));
    let late = ignored.hangup("c1").await.unwrap_err();
    assert!(matches!(late, ClientError::Closed { code: 4408, .. }), "{late}");
}

#[tokio::test]
async fn a_file_that_cannot_be_published_is_refused_before_the_server_hears_of_it() {
    let server = EchoServer::start().await;
    let client = Client::connect(&server.url, "good").await.unwrap();
    let publish = Publish { video: Some("no/such.ivf".into()), ..Publish::default() };
    let error = client.join("r1", publish).await.unwrap_err();
    assert!(matches!(error, ClientError::Read { .. }), "{error}");
}
