//! A headless participant of Ringback: it signs in, rings and picks up, joins rooms, publishes a tone, a WAV or an IVF
//! file, and counts and hands out what it receives. For bots, tests and load; the media stack is the `webrtc` crate, an
//! implementation independent of the server's, so that one checks the other.
//!
//! It is no product client: it has no jitter buffer and renders nothing, plays files instead of devices, does not
//! adapt its video to the network, and speaks `ws://` only.
//!
//! ```no_run
//! use std::time::Duration;
//! use ringback_client::{AudioSource, CallKind, Client, Publish};
//!
//! # async fn ring(token: &str) -> Result<(), ringback_client::ClientError> {
//! let client = Client::connect("ws://127.0.0.1:8080/v1/ws", token).await?;
//! let call = client.place(&["bob"], CallKind::Voice).await?;
//! let tone = Publish { audio: Some(AudioSource::Tone { hz: 440.0 }), ..Publish::default() };
//! let participant = client.join(&call.room, tone).await?;
//! participant.connected(Duration::from_secs(5)).await?;
//! tokio::time::sleep(Duration::from_secs(10)).await;
//! for slot in participant.slots() {
//!     println!("{} received {:?}", slot.mid, slot.reception);
//! }
//! client.hangup(&call.id).await
//! # }
//! ```

mod camera;
mod client;
mod error;
mod keyframe_request;
mod listen;
mod microphone;
mod participant;
mod peer;
pub mod protocol;
mod publish;
mod reception;
mod socket;

pub use client::{Client, Events};
pub use error::ClientError;
pub use listen::{AudioDecoder, dominant_frequency};
pub use microphone::SAMPLE_RATE;
pub use participant::{DataMessage, Participant, ReceivedPacket, RtpHeader};
pub use protocol::{Call, CallKind, CallState, ErrorCode, Event, Kind, Outcome, SlotView, Source};
pub use publish::{AudioSource, PacketLog, Publish, SentPacket};
pub use reception::{Flow, Reception, SlotReport};
