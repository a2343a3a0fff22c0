//! What a participant publishes, and the two loops that pace it: Opus in frames of 20 ms (RFC 7587), VP8 frames when
//! the clip says they are due (RFC 7741).

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rtc::rtp::codec::vp8::Vp8Payloader;
use rtc::rtp::packetizer::Payloader;
use rtc::rtp::{Header, Packet};
use tokio::time::{Instant, MissedTickBehavior};
use tracing::warn;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_local::{TrackLocal, TrackLocalEvent};

use crate::ClientError;
use crate::camera::{Camera, Clip};
use crate::keyframe_request::is_keyframe_request;
use crate::microphone::{FRAME_SAMPLES, Microphone, SAMPLE_RATE, audio_level};
use crate::peer::SendFormat;

pub use crate::microphone::AudioSource;

/// The duration of one Opus packet.
const FRAME_DURATION: Duration = Duration::from_millis(20);

/// Bitrate of the published sound in bit/s: transparent for speech, and a tone keeps its pitch.
const AUDIO_BITRATE: i32 = 32_000;

/// Packet loss in percent that the encoder prepares for with in-band FEC.
const EXPECTED_LOSS: i32 = 5;

/// The largest Opus packet that is sent, in bytes.
const LARGEST_AUDIO: usize = 1_000;

/// VP8 payload bytes in one packet: what remains of 1,200 bytes, the size every path carries, after RTP, extensions and
/// the SRTP tag.
const VIDEO_PAYLOAD: usize = 1_120;

/// RTP clock of video in Hz.
const VIDEO_CLOCK: u64 = 90_000;

/// What to send into a room and how much to receive.
#[derive(Debug, Clone, PartialEq)]
pub struct Publish {
    /// The microphone; `None` offers none.
    pub audio: Option<AudioSource>,
    /// The camera: an IVF file of VP8 frames, played in a loop; `None` offers none.
    pub video: Option<PathBuf>,
    /// How many pairs of an audio and a video slot to receive in.
    pub slots: usize,
    /// Joins with the microphone muted.
    pub muted: bool,
    /// Keeps every packet of the microphone that is sent, to be held against what arrived.
    pub log: Option<PacketLog>,
}

/// A packet of the microphone, as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentPacket {
    /// When.
    pub at: std::time::Instant,
    /// Its RTP timestamp, in samples at 48 kHz.
    pub timestamp: u32,
    /// Opus.
    pub payload: Bytes,
}

/// The packets of a microphone. Clones share it; it grows for as long as the microphone sends.
#[derive(Debug, Clone, Default)]
pub struct PacketLog(Arc<Mutex<Vec<SentPacket>>>);

impl PacketLog {
    /// What was sent so far.
    pub fn packets(&self) -> Vec<SentPacket> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn push(&self, packet: SentPacket) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(packet);
    }
}

/// Two are equal if they are the same log.
impl PartialEq for PacketLog {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Default for Publish {
    /// Only listens and watches, in four pairs of slots.
    fn default() -> Self {
        Self { audio: None, video: None, slots: 4, muted: false, log: None }
    }
}

/// The opened sources of a [`Publish`].
pub(crate) struct Sources {
    pub(crate) microphone: Option<Microphone>,
    pub(crate) camera: Option<Camera>,
}

impl Publish {
    /// Reads the files, before anybody is told that they will be played.
    pub(crate) fn open(&self) -> Result<Sources, ClientError> {
        Ok(Sources {
            microphone: self.audio.as_ref().map(Microphone::open).transpose()?,
            camera: self.video.as_ref().map(|path| Clip::open(path).map(Camera::new)).transpose()?,
        })
    }
}

/// One published track: where packets go and how they are labelled.
pub(crate) struct Outlet {
    pub(crate) track: Arc<TrackLocalStaticRTP>,
    pub(crate) ssrc: u32,
    pub(crate) format: SendFormat,
    pub(crate) muted: Arc<AtomicBool>,
}

impl Outlet {
    fn is_muted(&self) -> bool {
        self.muted.load(Ordering::Relaxed)
    }

    /// Sends one packet; an error means that the connection is gone.
    async fn send(&self, header: Header, payload: Bytes) -> Result<(), webrtc::error::Error> {
        let header = Header { version: 2, payload_type: self.format.payload_type, ssrc: self.ssrc, ..header };
        self.track.write_rtp(Packet { header, payload }).await
    }
}

/// Sends the microphone until the connection is gone. While muted nothing is sent, but the media clock goes on.
pub(crate) async fn send_microphone(
    mut microphone: Microphone,
    outlet: Outlet,
    log: Option<PacketLog>,
) -> Result<(), ClientError> {
    let setting_up = "setting up the Opus encoder";
    let mut encoder = opus::Encoder::new(SAMPLE_RATE, opus::Channels::Mono, opus::Application::Audio)
        .map_err(ClientError::opus(setting_up))?;
    encoder.set_bitrate(opus::Bitrate::Bits(AUDIO_BITRATE)).map_err(ClientError::opus(setting_up))?;
    encoder.set_inband_fec(true).map_err(ClientError::opus(setting_up))?;
    encoder.set_packet_loss_perc(EXPECTED_LOSS).map_err(ClientError::opus(setting_up))?;

    let mut ticks = tokio::time::interval(FRAME_DURATION);
    // A late tick is caught up with: the media clock must keep to real time.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut sequence_number, mut timestamp): (u16, u32) = (rand::random(), rand::random());
    let mut talkspurt = true;
    let mut frame = [0; FRAME_SAMPLES];
    loop {
        ticks.tick().await;
        microphone.next_frame(&mut frame);
        timestamp = timestamp.wrapping_add(FRAME_SAMPLES as u32);
        if outlet.is_muted() {
            talkspurt = true;
            continue;
        }
        let payload =
            encoder.encode_vec(&frame, LARGEST_AUDIO).map_err(ClientError::opus("encoding the microphone"))?;
        let mut header = Header { marker: talkspurt, sequence_number, timestamp, ..Default::default() };
        if let Some(id) = outlet.format.audio_level {
            let level = Bytes::copy_from_slice(&[audio_level(&frame)]);
            header.set_extension(id, level).map_err(ClientError::media("writing the audio level"))?;
        }
        talkspurt = false;
        sequence_number = sequence_number.wrapping_add(1);
        let payload = Bytes::from(payload);
        if let Some(log) = &log {
            log.push(SentPacket { at: std::time::Instant::now(), timestamp, payload: payload.clone() });
        }
        outlet.send(header, payload).await.map_err(ClientError::media("sending audio"))?;
    }
}

/// Sends the camera until the connection is gone. After a mute it goes on from a keyframe.
pub(crate) async fn send_camera(mut camera: Camera, outlet: Outlet) -> Result<(), ClientError> {
    let mut payloader = Vp8Payloader::default();
    payloader.enable_picture_id = true;
    let mut sequence_number: u16 = rand::random();
    let first_timestamp: u32 = rand::random();
    let started = Instant::now();
    let mut feedback = true;
    while let Some(frame) = camera.next_frame() {
        let due = tokio::time::sleep_until(started + frame.at);
        tokio::pin!(due);
        loop {
            tokio::select! {
                () = &mut due => break,
                event = outlet.track.poll(), if feedback => match event {
                    Some(TrackLocalEvent::OnRtcpPacket(packets)) => {
                        if packets.iter().any(|packet| is_keyframe_request(packet.as_ref())) {
                            camera.request_keyframe();
                        }
                    }
                    Some(_) => {}
                    None => feedback = false,
                },
            }
        }
        if outlet.is_muted() {
            camera.rewind();
            continue;
        }
        let ticks = frame.at.as_micros() as u64 * VIDEO_CLOCK / 1_000_000;
        let timestamp = first_timestamp.wrapping_add(ticks as u32);
        let payloads =
            payloader.payload(VIDEO_PAYLOAD, &frame.data).map_err(ClientError::media("packetizing video"))?;
        let last = payloads.len().saturating_sub(1);
        for (number, payload) in payloads.into_iter().enumerate() {
            let header = Header { marker: number == last, sequence_number, timestamp, ..Default::default() };
            sequence_number = sequence_number.wrapping_add(1);
            outlet.send(header, payload).await.map_err(ClientError::media("sending video"))?;
        }
    }
    Ok(())
}

/// Runs one of the loops; its end is worth a line in the log, no more: the connection's state tells the rest.
pub(crate) async fn until_gone(loop_: impl Future<Output = Result<(), ClientError>>) {
    if let Err(error) = loop_.await {
        warn!(%error, "publishing has stopped");
    }
}
