//! A stand-in for the server, for the tests of the client alone: a signaling WebSocket with a few canned answers, and in
//! its one room a `webrtc` peer that sends the microphone and camera it hears back in the client's first pair of slots.
//! It is no SFU: no rooms, no rewriting.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rtc::media_stream::MediaStreamTrack;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtp_transceiver::rtp_sender::{RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind};
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use webrtc::data_channel::{DataChannel, DataChannelEvent};
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState,
    RTCSessionDescription, Registry, SettingEngineBuilder, register_default_interceptors,
};

/// What the server saw.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) pings: AtomicUsize,
}

pub(crate) struct EchoServer {
    pub(crate) url: String,
    pub(crate) seen: Arc<Seen>,
}

impl EchoServer {
    /// Listens on loopback; token `good` is let in, `silent` is let in and never answered again.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/v1/ws", listener.local_addr().unwrap());
        let seen = Arc::new(Seen::default());
        let seen_by_sessions = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(session(stream, seen_by_sessions.clone()));
            }
        });
        Self { url, seen }
    }
}

async fn session(stream: TcpStream, seen: Arc<Seen>) {
    let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
    let mut peer = None;
    while let Some(Ok(Message::Text(text))) = socket.next().await {
        let request: Value = serde_json::from_str(&text).unwrap();
        let mut events = Vec::new();
        let answer = match request["type"].as_str().unwrap() {
            "hello" if request["token"] == "bad" => {
                let frame = CloseFrame { code: 4401.into(), reason: "token expired".into() };
                let _ = socket.close(Some(frame)).await;
                return;
            }
            "hello" => Ok(json!({ "version": 1, "user": "alice", "name": "Alice", "device": "d1", "heartbeat_ms": 100,
                "people": [{ "user": "bob", "name": "Bob", "state": "available" }] })),
            "ping" => {
                seen.pings.fetch_add(1, Ordering::Relaxed);
                Ok(json!({}))
            }
            "call.place" => {
                let call = call(&request["to"][0]);
                events.push(json!({ "event": "call.leg", "call": "c1",
                    "leg": { "user": "bob", "device": "d2", "state": "ring_acked" } }));
                events.push(json!({ "event": "call.active", "call": call,
                    "answered_by": { "user": "bob", "device": "d2" } }));
                Ok(json!({ "call": call }))
            }
            "room.join" => {
                let (echo, answer) = Echo::answer(request["offer"].as_str().unwrap()).await;
                peer = Some(echo);
                events.push(json!({ "event": "room.roster", "room": "r1", "joined": [{ "participant": "p2",
                    "user": "echo", "name": "Echo", "connected": true,
                    "tracks": [{ "source": "microphone", "kind": "audio", "muted": false }] }] }));
                events.push(json!({ "event": "room.slots", "room": "r1", "slots": [
                    { "mid": "2", "participant": "p2", "source": "microphone", "epoch": 1, "rtp_timestamp": null },
                    { "mid": "3", "participant": "p2", "source": "camera", "epoch": 1, "rtp_timestamp": null }] }));
                Ok(json!({ "participant": "p1", "answer": answer, "roster": [],
                    "slots": [{ "mid": "2", "kind": "audio", "pair": 0 }, { "mid": "3", "kind": "video", "pair": 0 }] }))
            }
            "room.mute" | "room.leave" | "call.hangup" => Ok(json!({})),
            "call.accept" => Err(json!({ "code": "rate_limited", "message": "wait", "retry_after_ms": 900 })),
            other => Err(json!({ "code": "unknown_type", "message": format!("no request {other}") })),
        };
        let frame = match answer {
            Ok(ok) => json!({ "re": request["id"], "ok": ok }),
            Err(error) => json!({ "re": request["id"], "error": error }),
        };
        socket.send(Message::text(frame.to_string())).await.unwrap();
        for (seq, mut event) in events.into_iter().enumerate() {
            event["seq"] = (seq + 1).into();
            socket.send(Message::text(event.to_string())).await.unwrap();
        }
        if request["token"] == "silent" {
            std::future::pending::<()>().await;
        }
    }
    if let Some(Echo { connection }) = peer {
        connection.close().await.unwrap();
    }
}

fn call(to: &Value) -> Value {
    json!({ "id": "c1", "kind": "voice", "thread": "t", "room": "r1", "from": { "user": "alice", "name": "Alice" },
        "to": [{ "user": to }], "state": "active", "placed_at": 1, "ring_ms": 30_000, "legs": [] })
}

/// The peer that sends back what it hears.
struct Echo {
    connection: Arc<dyn PeerConnection>,
}

struct EchoHandler {
    audio: Arc<TrackLocalStaticRTP>,
    video: Arc<TrackLocalStaticRTP>,
    gathered: mpsc::UnboundedSender<()>,
}

impl Echo {
    async fn answer(offer: &str) -> (Self, String) {
        let mut engine = MediaEngine::default();
        engine.register_default_codecs().unwrap();
        let level = rtc::rtp_transceiver::rtp_sender::RTCRtpHeaderExtensionCapability {
            uri: rtc::sdp::extmap::AUDIO_LEVEL_URI.to_owned(),
        };
        engine.register_header_extension(level, RtpCodecKind::Audio, None).unwrap();
        let registry = register_default_interceptors(Registry::new(), &mut engine).unwrap();
        let (gathered, mut all_gathered) = mpsc::unbounded_channel();
        let audio = track("echo-audio", RtpCodecKind::Audio, "audio/opus", 48_000, 2);
        let video = track("echo-video", RtpCodecKind::Video, "video/VP8", 90_000, 0);
        let handler = EchoHandler { audio: audio.clone(), video: video.clone(), gathered };
        let builder = PeerConnectionBuilder::new()
            .with_media_engine(engine)
            .with_interceptor_registry(registry)
            .with_setting_engine(SettingEngineBuilder::new().with_include_loopback_candidate(true).build())
            .with_handler(Arc::new(handler))
            .with_udp_addrs(vec!["127.0.0.1:0"]);
        let connection = Box::pin(builder.build()).await.unwrap();
        for track in [audio, video] {
            let init = RTCRtpTransceiverInit { direction: RTCRtpTransceiverDirection::Sendonly, ..Default::default() };
            connection.add_transceiver_from_track(track, Some(init)).await.unwrap();
        }
        connection.set_remote_description(RTCSessionDescription::offer(offer.to_owned()).unwrap()).await.unwrap();
        let answer = connection.create_answer(None).await.unwrap();
        connection.set_local_description(answer).await.unwrap();
        all_gathered.recv().await.unwrap();
        let sdp = connection.local_description().await.unwrap().sdp;
        (Self { connection: Arc::new(connection) }, sdp)
    }
}

fn track(id: &str, kind: RtpCodecKind, mime: &str, clock_rate: u32, channels: u16) -> Arc<TrackLocalStaticRTP> {
    let mut encoding = RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(rand::random()), ..Default::default() },
        ..Default::default()
    };
    encoding.codec.mime_type = mime.to_owned();
    encoding.codec.clock_rate = clock_rate;
    encoding.codec.channels = channels;
    let stream = "echo".to_owned();
    Arc::new(TrackLocalStaticRTP::new(MediaStreamTrack::new(stream, id.into(), id.into(), kind, vec![encoding])))
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for EchoHandler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            let _ = self.gathered.send(());
        }
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        tokio::spawn(async move {
            while let Some(event) = channel.poll().await {
                if let DataChannelEvent::OnMessage(message) = event {
                    let text = String::from_utf8_lossy(&message.data).into_owned();
                    channel.send_text(&format!("echo: {text}")).await.unwrap();
                }
            }
        });
    }

    async fn on_track(&self, remote: Arc<dyn TrackRemote>) {
        use webrtc::media_stream::Track;
        let is_video = remote.kind().await == RtpCodecKind::Video;
        let output = if is_video { self.video.clone() } else { self.audio.clone() };
        tokio::spawn(async move {
            let ssrc = output.ssrcs().await[0];
            let mut heard = 0;
            while let Some(event) = remote.poll().await {
                let TrackRemoteEvent::OnRtpPacket(mut packet) = event else { continue };
                heard += 1;
                if is_video && heard == 40 {
                    let request = PictureLossIndication { sender_ssrc: 1, media_ssrc: packet.header.ssrc };
                    remote.write_rtcp(vec![Box::new(request)]).await.unwrap();
                }
                packet.header.ssrc = ssrc;
                if output.write_rtp(packet).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// A generous bound for anything that should take milliseconds.
pub(crate) const SOON: Duration = Duration::from_secs(10);
