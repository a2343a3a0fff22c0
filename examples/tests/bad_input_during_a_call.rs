//! Bad input while two people talk: whatever comes over signaling or the media port is answered with a clear error or not at all,
//! and their call loses nothing, is not delayed, and goes on. The engine runs in this process, so that tokens can be forged
//! and its counters read; the participants are `ringback-client`'s.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ringback::{Claims, Engine, Grants, TokenIssuer, TokenVerifier};
use ringback_client::{
    AudioSource, CallKind, CallState, Client, ClientError, ErrorCode, Event, Participant, Publish, ReceivedPacket,
    SlotReport,
};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

const SOON: Duration = Duration::from_secs(20);

/// How long the bad input goes on: long enough for a hundred voice packets each way.
const ATTACK: Duration = Duration::from_secs(2);

/// Nothing of the call may come later than this, or leave a longer gap. Loopback takes about a millisecond; the rest is for a loaded
/// machine.
const LATEST: Duration = Duration::from_millis(500);

const SECRET: &[u8] = b"a secret of at least 32 bytes, kept outside the source";

const TESTCARD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/client/media/testcard.ivf");

/// An engine behind its router, as an embedder has it.
struct Host {
    engine: Engine,
    url: String,
    issuer: TokenIssuer,
}

impl Host {
    async fn start() -> Self {
        let engine = Engine::builder()
            .media(&["127.0.0.1:0".parse().unwrap()])
            .tokens(TokenVerifier::hs256(SECRET).unwrap())
            .start()
            .await
            .unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/v1/ws", listener.local_addr().unwrap());
        let router = engine.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { engine, url, issuer: TokenIssuer::hs256(SECRET).unwrap() }
    }

    fn token(&self, user: &str, grants: Grants) -> String {
        self.issuer.issue(&Claims::new(user, Duration::from_secs(600)).grants(grants)).unwrap()
    }

    async fn client(&self, user: &str) -> Client {
        Client::connect(&self.url, &self.token(user, Grants::all())).await.unwrap()
    }

    fn media(&self) -> SocketAddr {
        self.engine.media_addresses()[0]
    }
}

/// One end of the call.
struct Talker {
    client: Client,
    participant: Participant,
    /// The voice and the picture that came.
    packets: [mpsc::UnboundedReceiver<ReceivedPacket>; 2],
}

impl Talker {
    async fn join(client: Client, room: &str, hz: f64) -> Self {
        let publish = Publish {
            audio: Some(AudioSource::Tone { hz }),
            video: Some(TESTCARD.into()),
            slots: 2,
            ..Publish::default()
        };
        let participant = client.join(room, publish).await.unwrap();
        participant.connected(SOON).await.unwrap();
        let packets = [participant.on_audio(), participant.on_video()].map(kept);
        Self { client, participant, packets }
    }

    /// The voice's and the picture's slots.
    fn busy(&self) -> Vec<SlotReport> {
        self.participant.slots().into_iter().filter(|slot| slot.reception.packets > 0).collect()
    }
}

/// Keeps packets until the test gets to reading them.
fn kept(mut packets: mpsc::Receiver<ReceivedPacket>) -> mpsc::UnboundedReceiver<ReceivedPacket> {
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(packet) = packets.recv().await {
            if sender.send(packet).is_err() {
                break;
            }
        }
    });
    receiver
}

/// A voice and video call of two, in which media flows both ways.
struct LiveCall {
    id: String,
    room: String,
    talkers: [Talker; 2],
    /// The SSRCs of what flows.
    ssrcs: BTreeSet<u32>,
}

impl LiveCall {
    async fn start(host: &Host) -> Self {
        let (ann, ben) = (host.client("ann").await, host.client("ben").await);
        let mut bens_events = ben.events();
        let call = ann.place(&["ben"], CallKind::Video).await.unwrap();
        let rung = bens_events.wait_for(SOON, |event| match event {
            Event::CallIncoming { call, .. } => Some(call.id),
            _ => None,
        });
        ben.accept(&rung.await.unwrap()).await.unwrap();
        let talkers = tokio::join!(Talker::join(ann, &call.room, 440.0), Talker::join(ben, &call.room, 550.0));
        let live = Self { id: call.id, room: call.room, talkers: talkers.into(), ssrcs: BTreeSet::new() };
        let since = Instant::now();
        while live.talkers.iter().any(|talker| {
            let busy = talker.busy();
            busy.len() < 2 || busy.iter().any(|slot| slot.reception.packets < 20)
        }) {
            assert!(since.elapsed() < SOON, "media does not flow");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        live
    }

    /// Forgets what came so far, but for its SSRCs.
    fn start_measuring(&mut self) {
        for talker in &mut self.talkers {
            for packets in &mut talker.packets {
                while let Ok(packet) = packets.try_recv() {
                    self.ssrcs.insert(packet.header.ssrc);
                }
            }
        }
    }

    /// Everything came, nothing of it late, and the call is still there.
    async fn assert_unharmed(&mut self, host: &Host, lasted: Duration) {
        for talker in &mut self.talkers {
            let user = talker.client.user().to_owned();
            for (packets, (clock, what, expected)) in talker
                .packets
                .iter_mut()
                .zip([(48_000.0, "voice", lasted.as_millis() / 40), (90_000.0, "video", lasted.as_millis() / 200)])
            {
                let came: Vec<ReceivedPacket> = std::iter::from_fn(|| packets.try_recv().ok()).collect();
                assert!(came.len() as u128 >= expected, "{user} received {} packets of {what}", came.len());
                let gap = came.windows(2).map(|pair| pair[1].at - pair[0].at).max().unwrap();
                let delay = delay(&came, clock);
                println!("{user}, {what}: {} packets, longest gap {gap:?}, latest by {delay:?}", came.len());
                assert!(gap < LATEST, "{user} received no {what} for {gap:?}");
                assert!(delay < LATEST, "{what} came to {user} late by {delay:?}");
            }
            for slot in talker.busy() {
                assert_eq!((slot.reception.lost, slot.reception.unread), (0, 0), "{user}: {slot:?}");
            }
            let status = talker.client.call_status(&self.id).await.unwrap();
            assert_eq!(status.state, CallState::Active, "{user}'s call");
            talker.participant.connected(Duration::ZERO).await.unwrap();
        }
        let statistics = host.engine.statistics().await;
        assert!(statistics.iter().all(|worker| worker.panics == 0), "{statistics:?}");
    }
}

/// How much later than the promptest packet the latest came, by the RTP timestamps that their sender gave them.
fn delay(came: &[ReceivedPacket], clock: f64) -> Duration {
    let first = &came[0];
    let lateness = came.iter().map(|packet| {
        let due = f64::from(packet.header.timestamp.wrapping_sub(first.header.timestamp) as i32) / clock;
        packet.at.duration_since(first.at).as_secs_f64() - due
    });
    let (promptest, latest) =
        lateness.fold((f64::MAX, f64::MIN), |(least, most), late| (least.min(late), most.max(late)));
    Duration::from_secs_f64(latest - promptest)
}

/// Goes on with `attack` for a while beside a live call, and checks that nobody in it felt anything.
async fn during_a_call(mut attack: impl AsyncFnMut(&Host, &LiveCall)) {
    let host = Host::start().await;
    let mut call = LiveCall::start(&host).await;
    call.start_measuring();
    let start = Instant::now();
    while start.elapsed() < ATTACK {
        attack(&host, &call).await;
    }
    call.assert_unharmed(&host, start.elapsed()).await;
}

/// A stranger's WebSocket, spoken to without a client library.
struct Wire(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Wire {
    async fn open(host: &Host) -> Self {
        Self(connect_async(&host.url).await.unwrap().0)
    }

    /// As a user whose token admits to the room `theirs` only.
    async fn signed_in(host: &Host) -> Self {
        let mut wire = Self::open(host).await;
        let grants = Grants { call: true, list: true, rooms: vec!["theirs".into()] };
        let hello = json!({"id": 1, "type": "hello", "version": 1, "token": host.token("mallory", grants)});
        assert!(wire.ask(Message::text(hello.to_string()), 1).await["ok"].is_object());
        wire
    }

    /// Sends a frame and reads on to the answer.
    async fn ask(&mut self, frame: Message, re: u64) -> Value {
        // Writing may fail where the server has stopped reading; its answer is there all the same.
        let _ = self.0.send(frame).await;
        let answered = async {
            loop {
                let frame = self.0.next().await.expect("an answer before the end").unwrap();
                if let Message::Text(text) = frame {
                    let frame: Value = serde_json::from_str(&text).unwrap();
                    if frame["re"] == re {
                        return frame;
                    }
                }
            }
        };
        tokio::time::timeout(SOON, answered).await.expect("an answer in time")
    }

    /// The frame is refused with this code, and a message that names what is wrong or was expected.
    async fn refused(&mut self, frame: Message, re: u64, code: &str, named: &str) {
        let answer = self.ask(frame, re).await;
        let message = answer["error"]["message"].as_str().unwrap_or_else(|| panic!("no error but {answer}"));
        assert!(answer["error"]["code"] == code && message.contains(named), "expected {code}, {named:?}: {answer}");
    }

    async fn request_refused(&mut self, mut request: Value, code: &str, named: &str) {
        request["id"] = json!(9);
        self.refused(Message::text(request.to_string()), 9, code, named).await;
    }

    /// The code with which the server closes.
    async fn closed(&mut self) -> u16 {
        let closed = async {
            while let Some(Ok(frame)) = self.0.next().await {
                if let Message::Close(Some(close)) = frame {
                    return u16::from(close.code);
                }
            }
            panic!("the server went without a close code");
        };
        tokio::time::timeout(SOON, closed).await.expect("the server closes")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_are_not_ours_are_answered_and_a_live_call_feels_nothing() {
    during_a_call(async |host, call| {
        let mut wire = Wire::signed_in(host).await;
        wire.refused(Message::text("nonsense"), 0, "bad_json", "JSON").await;
        wire.refused(Message::text("[1, 2]"), 0, "bad_json", "object").await;
        wire.refused(Message::text("[".repeat(100_000)), 0, "bad_json", "JSON").await;
        wire.refused(Message::binary(vec![0x80; 2_000]), 0, "bad_json", "").await;
        wire.refused(Message::text(r#"{"type": "ping"}"#), 0, "bad_request", "id").await;
        wire.request_refused(json!({"jsonrpc": "2.0", "method": "subscribe"}), "bad_request", "type").await;
        wire.request_refused(json!({"type": "call.dance"}), "unknown_type", "call.dance").await;
        wire.request_refused(json!({"type": "call.place", "to": [7], "kind": "video"}), "bad_request", "to[0]").await;
        wire.request_refused(json!({"type": "call.hangup", "call": call.id}), "not_found", "call").await;
        let too_large = json!({"id": 9, "type": "ping", "padding": "x".repeat(300_000)}).to_string();
        wire.refused(Message::text(too_large), 0, "too_large", "262144").await;
        let far_too_large = json!({"id": 9, "type": "ping", "padding": "x".repeat(2_000_000)}).to_string();
        wire.refused(Message::text(far_too_large), 0, "too_large", "262144").await;
        assert_eq!(wire.closed().await, 1009);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_are_expired_forged_or_for_another_room_are_refused_and_a_live_call_feels_nothing() {
    let forger = TokenIssuer::hs256(b"another secret of more than 32 bytes, which opens nothing").unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    during_a_call(async |host, call| {
        let valid = Claims::new("ann", Duration::from_secs(600)).grants(Grants::all());
        let expired = Claims { exp: now - 3_600, ..valid.clone() };
        for (token, code, named) in [
            (host.issuer.issue(&expired).unwrap(), "token_expired", "expired"),
            (forger.issue(&valid).unwrap(), "unauthorized", "signature"),
            ("no token".to_owned(), "unauthorized", "JSON Web Token"),
        ] {
            let mut wire = Wire::open(host).await;
            wire.request_refused(json!({"type": "hello", "version": 1, "token": token}), code, named).await;
            assert_eq!(wire.closed().await, 4401);
        }
        let mut wire = Wire::signed_in(host).await;
        for room in ["hall", &call.room] {
            let join = json!({"type": "room.join", "room": room, "offer": offer(&[VOICE]), "tracks": []});
            wire.request_refused(join, "forbidden", "admits to this room").await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    })
    .await;
}

/// An m-line that can be served.
const VOICE: &str = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=sendonly\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n";

/// One with no codec that anybody serves.
const UNUSABLE: &str = "m=audio 9 UDP/TLS/RTP/SAVPF 96\r\na=sendonly\r\na=rtcp-mux\r\na=rtpmap:96 speex/16000\r\n";

/// One whose FID group names an RTX SSRC that no `a=ssrc` declares, as FFmpeg writes it.
const UNDECLARED_RTX: &str = "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=sendonly\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack\r\n\
     a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=ssrc-group:FID 1276384562 4017321180\r\na=ssrc:1276384562 cname:x\r\n";

/// A complete offer with these m-lines, whose mids are their positions.
fn offer(lines: &[&str]) -> String {
    let mids: Vec<String> = (0..lines.len()).map(|mid| mid.to_string()).collect();
    let head = format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\na=ice-ufrag:clientufrag\r\n\
         a=ice-pwd:clientpasswordclientpassword\r\na=fingerprint:sha-256 {}\r\na=setup:actpass\r\n",
        mids.join(" "),
        ["CD"; 32].join(":"),
    );
    lines.iter().zip(mids).fold(head, |text, (line, mid)| text + line + &format!("a=mid:{mid}\r\n"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offers_that_cannot_be_served_are_refused_with_the_reason_and_a_live_call_feels_nothing() {
    let usable = offer(&[VOICE]);
    let without =
        |part: &str| -> String { usable.split_inclusive("\r\n").filter(|line| !line.starts_with(part)).collect() };
    let bad = [
        (offer(&[UNUSABLE]), "m-line \"0\" offers no codec that is served here, expected opus/48000/2"),
        (offer(&[VOICE; 300]), "300 m-lines, at most 64"),
        ("no SDP at all".to_owned(), "not SDP"),
        ("\u{0}\u{ff}v=0".to_owned(), "not SDP"),
        (without("a=ice-ufrag"), "a=ice-ufrag"),
        (without("a=fingerprint"), "a=fingerprint"),
        (usable.replace("actpass", "holdconn"), "expected actpass, active or passive"),
    ];
    during_a_call(async |host, call| {
        let mut wire = Wire::signed_in(host).await;
        for (sdp, named) in &bad {
            let join = json!({"type": "room.join", "room": "theirs", "offer": sdp, "tracks": []});
            wire.request_refused(join, "bad_offer", named).await;
            // One of the two in the call offers the same again: it is refused, and their media goes on.
            let again = json!({"room": call.room, "offer": sdp, "tracks": []});
            match call.talkers[0].client.request("room.offer", again).await.unwrap_err() {
                ClientError::Refused { code: ErrorCode::BadOffer, message, .. } => assert!(!message.is_empty()),
                other => panic!("{named:?}: {other}"),
            }
        }
        let tolerated = json!({
            "id": 10, "type": "room.join", "room": "theirs", "offer": offer(&[VOICE, UNDECLARED_RTX]),
            "tracks": [{"mid": "0", "source": "microphone"}, {"mid": "1", "source": "camera"}],
        });
        let answer = wire.ask(Message::text(tolerated.to_string()), 10).await;
        let sdp = answer["ok"]["answer"].as_str().unwrap_or_else(|| panic!("no answer but {answer}"));
        assert!(sdp.contains("\r\nm=video ") && !sdp.contains("\r\nm=video 0 "), "the camera is served: {sdp}");
        let leave = json!({"id": 11, "type": "room.leave", "room": "theirs"});
        assert!(wire.ask(Message::text(leave.to_string()), 11).await["ok"].is_object());
        tokio::time::sleep(Duration::from_millis(100)).await;
    })
    .await;
}

/// A binding request (RFC 8489) with a user name and a MAC that nobody has the key of.
fn binding_request(random: &mut StdRng) -> Vec<u8> {
    let mut request = vec![0, 1, 0, 44, 0x21, 0x12, 0xA4, 0x42];
    request.extend(random.random::<[u8; 12]>());
    request.extend([0, 6, 0, 16]);
    request.extend(b"somebody:nobody!");
    request.extend([0, 8, 0, 20]);
    request.extend(random.random::<[u8; 20]>());
    request
}

/// The first flight of a DTLS 1.2 client (RFC 6347).
fn client_hello(random: &mut StdRng) -> Vec<u8> {
    let mut body = vec![0xFE, 0xFD];
    body.extend(random.random::<[u8; 32]>());
    // No session, no cookie; one cipher suite, no compression; supported groups and the SRTP profiles.
    body.extend([0, 0, 0, 2, 0xC0, 0x2B, 1, 0, 0, 17]);
    body.extend([0, 10, 0, 4, 0, 2, 0, 23, 0, 14, 0, 5, 0, 2, 0, 7, 0]);
    let length = (body.len() as u16).to_be_bytes();
    let mut handshake = vec![1, 0, length[0], length[1], 0, 0, 0, 0, 0, 0, length[0], length[1]];
    handshake.extend(body);
    let mut record = vec![22, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 0];
    record.extend((handshake.len() as u16).to_be_bytes());
    record.extend(handshake);
    record
}

/// What looks like voice of this SSRC, and is sealed with no key of the call.
fn forged_voice(random: &mut StdRng, ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 111];
    packet.extend(random.random::<[u8; 6]>());
    packet.extend(ssrc.to_be_bytes());
    packet.extend(random.random::<[u8; 32]>());
    packet
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_datagrams_get_no_answer_and_a_live_call_feels_nothing() {
    let seed = rand::rng().random::<u64>();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.set_nonblocking(true).unwrap();
    let mut sent: BTreeMap<&str, u64> = BTreeMap::new();
    during_a_call(async |host, call| {
        assert_eq!(call.ssrcs.len(), 4, "a voice and a picture each way");
        let request = binding_request(&mut random);
        let before = host.engine.statistics().await[0].datagrams_unrouted;
        for &ssrc in call.ssrcs.iter().cycle().take(20) {
            let mut noise = vec![0; random.random_range(1..1_400)];
            random.fill(&mut noise[..]);
            let mut lying = request.clone();
            lying[22] = 0xFF;
            let cut = random.random_range(0..request.len());
            for (kind, datagram) in [
                ("noise", noise),
                ("truncated STUN", request[..cut].to_vec()),
                ("STUN whose attribute is longer than itself", lying),
                ("STUN for nobody", request.clone()),
                ("ClientHello", client_hello(&mut random)),
                ("forged SSRC", forged_voice(&mut random, ssrc)),
            ] {
                stranger.send_to(&datagram, host.media()).unwrap();
                *sent.entry(kind).or_default() += 1;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let after = host.engine.statistics().await[0].datagrams_unrouted;
        assert!(after - before >= 60, "they came, and belong to no connection: {before} to {after}");
        let mut answer = [0; 1_500];
        let answered = stranger.recv_from(&mut answer);
        assert!(answered.is_err(), "a stranger was answered: {answered:?}");
    })
    .await;
    println!("{sent:?}");
}
