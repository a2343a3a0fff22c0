//! The peer connection of one participant on the `webrtc` crate: one offer with a sendonly microphone and camera, pairs
//! of receive slots and a data channel (RFC 8829), and the answer applied. What is sent and what becomes of received
//! packets is decided in `publish` and `participant`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_OPUS, MIME_TYPE_VP8};
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RTCRtpHeaderExtensionCapability, RtpCodecKind,
};
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverId, RTCRtpTransceiverInit};
use rtc::sdp::extmap::AUDIO_LEVEL_URI;
use tokio::sync::{mpsc, watch};
use webrtc::data_channel::DataChannel;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::TrackRemote;
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
    RTCPeerConnectionState, RTCSessionDescription, Registry, SettingEngineBuilder, SrtpProtectionProfile,
    register_default_interceptors,
};
use webrtc::rtp_transceiver::RtpTransceiver;

use crate::ClientError;
use crate::keyframe_request::DeliverKeyframeRequests;
use crate::protocol::{Kind, Source};

/// The payload types browsers use for Opus, VP8 and its retransmissions; any dynamic ones would do.
const OPUS_PAYLOAD_TYPE: u8 = 111;
const VP8_PAYLOAD_TYPE: u8 = 96;
const RTX_PAYLOAD_TYPE: u8 = 97;

/// How often ICE tries a pair of candidates. The library's 200 ms are kind to real networks and make every join wait; a
/// server that is ICE-lite on a handful of addresses needs no such care.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// How often a pair is tried before it counts as failed: five seconds in all, long enough for a slow link.
const CHECKS: u16 = 250;

/// The label of the data channel every participant opens.
pub(crate) const DATA_CHANNEL: &str = "ringback";

/// A published m-line.
pub(crate) struct SendLine {
    pub(crate) source: Source,
    pub(crate) mid: String,
    pub(crate) ssrc: u32,
    pub(crate) track: Arc<TrackLocalStaticRTP>,
    transceiver: Arc<dyn RtpTransceiver>,
}

/// What the answer settled for a published line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SendFormat {
    pub(crate) payload_type: u8,
    /// The id of the RFC 6464 extension, where the server wants it.
    pub(crate) audio_level: Option<u8>,
}

/// A receiving m-line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SlotLine {
    pub(crate) mid: String,
    pub(crate) kind: Kind,
    pub(crate) pair: usize,
    pub(crate) id: RTCRtpTransceiverId,
}

/// What is to be in the offer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lines {
    pub(crate) microphone: bool,
    pub(crate) camera: bool,
    /// Pairs of one audio and one video slot.
    pub(crate) slots: usize,
}

/// An offered, later connected peer connection.
pub(crate) struct Peer {
    pub(crate) connection: Arc<dyn PeerConnection>,
    pub(crate) send: Vec<SendLine>,
    pub(crate) slots: Vec<SlotLine>,
    pub(crate) data: Arc<dyn DataChannel>,
    pub(crate) state: watch::Receiver<RTCPeerConnectionState>,
}

/// What the other side adds to the connection.
pub(crate) struct Remote {
    pub(crate) tracks: mpsc::UnboundedReceiver<Arc<dyn TrackRemote>>,
    pub(crate) channels: mpsc::UnboundedReceiver<Arc<dyn DataChannel>>,
}

/// Hands the connection's callbacks on; they run on its driver and must not wait.
struct Handler {
    tracks: mpsc::UnboundedSender<Arc<dyn TrackRemote>>,
    channels: mpsc::UnboundedSender<Arc<dyn DataChannel>>,
    state: watch::Sender<RTCPeerConnectionState>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.state.send_replace(state);
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        let _ = self.channels.send(channel);
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let _ = self.tracks.send(track);
    }
}

impl Peer {
    /// Opens a connection whose candidates are on the interface of `local`, and makes its offer.
    ///
    /// # Errors
    /// When no socket can be bound or `webrtc` refuses a step.
    pub(crate) async fn offer(local: IpAddr, lines: Lines) -> Result<(Self, Remote, String), ClientError> {
        let (tracks_sender, tracks) = mpsc::unbounded_channel();
        let (channels_sender, channels) = mpsc::unbounded_channel();
        let (state_sender, state) = watch::channel(RTCPeerConnectionState::New);
        let handler = Handler { tracks: tracks_sender, channels: channels_sender, state: state_sender };

        let (media_engine, registry) = media_engine().map_err(ClientError::media("registering the codecs"))?;
        let builder = PeerConnectionBuilder::new()
            .with_configuration(RTCConfigurationBuilder::new().build())
            .with_media_engine(media_engine)
            .with_interceptor_registry(registry)
            .with_setting_engine(
                SettingEngineBuilder::new()
                    .with_include_loopback_candidate(true)
                    .with_ice_connection_attempts(Some(CHECK_INTERVAL), Some(CHECKS))
                    .with_srtp_protection_profiles(vec![
                        SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
                        SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
                    ])
                    .build(),
            )
            .with_handler(Arc::new(handler))
            .with_udp_addrs(bind_addresses(local));
        // The future of `build` is 20 KiB; boxed, it does not travel up every stack that joins.
        let connection = Box::pin(builder.build()).await.map_err(ClientError::media("opening the peer connection"))?;
        let connection: Arc<dyn PeerConnection> = Arc::new(connection);

        let mut send = Vec::new();
        if lines.microphone {
            send.push(send_line(&connection, Source::Microphone).await?);
        }
        if lines.camera {
            send.push(send_line(&connection, Source::Camera).await?);
        }
        let mut receive = Vec::new();
        for pair in 0..lines.slots {
            for (kind, codec_kind) in [(Kind::Audio, RtpCodecKind::Audio), (Kind::Video, RtpCodecKind::Video)] {
                let init =
                    RTCRtpTransceiverInit { direction: RTCRtpTransceiverDirection::Recvonly, ..Default::default() };
                let transceiver = connection
                    .add_transceiver_from_kind(codec_kind, Some(init))
                    .await
                    .map_err(ClientError::media("adding a receive slot"))?;
                receive.push((kind, pair, transceiver));
            }
        }
        let data = connection
            .create_data_channel(DATA_CHANNEL, None)
            .await
            .map_err(ClientError::media("creating the data channel"))?;

        let offer = connection.create_offer(None).await.map_err(ClientError::media("creating the offer"))?;
        let sdp = offer.sdp.clone();
        connection.set_local_description(offer).await.map_err(ClientError::media("applying the offer"))?;

        for line in &mut send {
            line.mid = mid(&line.transceiver).await?;
        }
        let mut slots = Vec::new();
        for (kind, pair, transceiver) in receive {
            slots.push(SlotLine { mid: mid(&transceiver).await?, kind, pair, id: transceiver.id() });
        }
        Ok((Self { connection, send, slots, data, state }, Remote { tracks, channels }, sdp))
    }

    /// Applies the server's answer; ICE starts with it.
    ///
    /// # Errors
    /// When it does not fit the offer.
    pub(crate) async fn accept_answer(&self, answer: &str) -> Result<(), ClientError> {
        let doing = "applying the server's answer";
        let answer = RTCSessionDescription::answer(answer.to_owned()).map_err(ClientError::media(doing))?;
        self.connection.set_remote_description(answer).await.map_err(ClientError::media(doing))
    }
}

impl SendLine {
    /// The payload type and extension id that the answer settled.
    ///
    /// # Errors
    /// When the answer rejected the line or left out its codec.
    pub(crate) async fn format(&self) -> Result<SendFormat, ClientError> {
        let (line, expected) = match self.source {
            Source::Microphone => ("microphone", MIME_TYPE_OPUS),
            Source::Camera | Source::Screen => ("camera", MIME_TYPE_VP8),
        };
        let doing = "reading what was negotiated";
        let missing = || ClientError::NotNegotiated { line, mid: self.mid.clone(), expected };
        let direction = self.transceiver.current_direction().await.map_err(ClientError::media(doing))?;
        if !direction.has_send() {
            return Err(missing());
        }
        let sender = self.transceiver.sender().await.map_err(ClientError::media(doing))?.ok_or_else(missing)?;
        let parameters = sender.get_parameters().await.map_err(ClientError::media(doing))?.rtp_parameters;
        let codec = parameters.codecs.iter().find(|codec| codec.rtp_codec.mime_type.eq_ignore_ascii_case(expected));
        let level = parameters.header_extensions.iter().find(|extension| extension.uri == AUDIO_LEVEL_URI);
        Ok(SendFormat {
            payload_type: codec.ok_or_else(missing)?.payload_type,
            audio_level: level.and_then(|extension| u8::try_from(extension.id).ok()),
        })
    }
}

/// Media leaves through the interface that reached the signaling server; on loopback, through both families, since the
/// host name of the signaling URL may have named either.
fn bind_addresses(local: IpAddr) -> Vec<SocketAddr> {
    let addresses = if local.is_loopback() {
        vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]
    } else {
        vec![local]
    };
    addresses.into_iter().map(|address| SocketAddr::new(address, 0)).collect()
}

async fn mid(transceiver: &Arc<dyn RtpTransceiver>) -> Result<String, ClientError> {
    let doing = "reading the mids of the offer";
    let mid = transceiver.mid().await.map_err(ClientError::media(doing))?;
    mid.ok_or(ClientError::Media { doing, source: webrtc::error::Error::ErrPeerConnTransceiverMidNil })
}

async fn send_line(connection: &Arc<dyn PeerConnection>, source: Source) -> Result<SendLine, ClientError> {
    let doing = "adding a published track";
    let (id, kind, codec) = match source {
        Source::Microphone => ("microphone", RtpCodecKind::Audio, opus()),
        Source::Camera | Source::Screen => ("camera", RtpCodecKind::Video, vp8()),
    };
    let ssrc = rand::random();
    // Microphone and camera share the stream "me", so that a browser plays them in sync.
    let track = Arc::new(TrackLocalStaticRTP::new(MediaStreamTrack::new(
        "me".to_owned(),
        id.to_owned(),
        id.to_owned(),
        kind,
        vec![RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(ssrc), ..Default::default() },
            codec: codec.rtp_codec.clone(),
            ..Default::default()
        }],
    )));
    let init = RTCRtpTransceiverInit { direction: RTCRtpTransceiverDirection::Sendonly, ..Default::default() };
    let transceiver =
        connection.add_transceiver_from_track(track.clone(), Some(init)).await.map_err(ClientError::media(doing))?;
    if kind == RtpCodecKind::Video {
        // `webrtc` names an RTX SSRC for the track, but takes only the track's own codec into the line.
        let codecs = vec![codec, rtx()];
        transceiver.set_codec_preferences(codecs).await.map_err(ClientError::media(doing))?;
    }
    Ok(SendLine { source, mid: String::new(), ssrc, track, transceiver })
}

fn media_engine() -> Result<(MediaEngine, Registry), webrtc::error::Error> {
    let mut engine = MediaEngine::default();
    engine.register_codec(opus(), RtpCodecKind::Audio)?;
    engine.register_codec(vp8(), RtpCodecKind::Video)?;
    engine.register_codec(rtx(), RtpCodecKind::Video)?;
    let level = RTCRtpHeaderExtensionCapability { uri: AUDIO_LEVEL_URI.to_owned() };
    engine.register_header_extension(level, RtpCodecKind::Audio, None)?;
    let registry = register_default_interceptors(Registry::new(), &mut engine)?;
    Ok((engine, registry.with(DeliverKeyframeRequests::slot(), DeliverKeyframeRequests::default())))
}

fn opus() -> RTCRtpCodecParameters {
    RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: MIME_TYPE_OPUS.to_owned(),
            clock_rate: 48_000,
            channels: 2,
            sdp_fmtp_line: "minptime=10;useinbandfec=1".to_owned(),
            rtcp_feedback: vec![],
        },
        payload_type: OPUS_PAYLOAD_TYPE,
    }
}

fn vp8() -> RTCRtpCodecParameters {
    let feedback = [("nack", ""), ("nack", "pli"), ("ccm", "fir"), ("transport-cc", "")];
    RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: MIME_TYPE_VP8.to_owned(),
            clock_rate: 90_000,
            channels: 0,
            sdp_fmtp_line: String::new(),
            rtcp_feedback: feedback
                .map(|(typ, parameter)| RTCPFeedback { typ: typ.to_owned(), parameter: parameter.to_owned() })
                .to_vec(),
        },
        payload_type: VP8_PAYLOAD_TYPE,
    }
}

fn rtx() -> RTCRtpCodecParameters {
    RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: "video/rtx".to_owned(),
            clock_rate: 90_000,
            channels: 0,
            sdp_fmtp_line: format!("apt={VP8_PAYLOAD_TYPE}"),
            rtcp_feedback: vec![],
        },
        payload_type: RTX_PAYLOAD_TYPE,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_offer_has_the_published_lines_then_the_slots_then_the_data_channel() {
        let lines = Lines { microphone: true, camera: true, slots: 2 };
        let (peer, _remote, sdp) = Peer::offer(Ipv4Addr::LOCALHOST.into(), lines).await.unwrap();
        let sections: Vec<&str> = sdp.split("\r\nm=").skip(1).collect();
        let shape: Vec<(&str, &str)> = sections
            .iter()
            .map(|section| {
                let direction = ["sendonly", "recvonly", "sctp-port:5000"];
                let found = direction.into_iter().find(|direction| section.contains(&format!("a={direction}")));
                (section.split(' ').next().unwrap(), found.unwrap())
            })
            .collect();
        let expected = [
            ("audio", "sendonly"),
            ("video", "sendonly"),
            ("audio", "recvonly"),
            ("video", "recvonly"),
            ("audio", "recvonly"),
            ("video", "recvonly"),
            ("application", "sctp-port:5000"),
        ];
        assert_eq!(shape, expected, "{sdp}");
        assert!(sections[0].contains(AUDIO_LEVEL_URI), "{sdp}");
        assert!(sections[1].contains("VP8/90000") && sections[1].contains("rtx/90000"), "{sdp}");
        assert_eq!(peer.send.iter().map(|line| line.mid.as_str()).collect::<Vec<_>>(), ["0", "1"]);
        assert_eq!(peer.slots.iter().map(|slot| slot.pair).collect::<Vec<_>>(), [0, 0, 1, 1]);
        peer.connection.close().await.unwrap();
    }
}
