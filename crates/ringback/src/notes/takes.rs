//! Takes at work: the tap of the caller's microphone and camera, carried into the recorder's writer, packet by packet, until the take is
//! stopped or the caller is gone. It understands no packet.

use std::collections::HashMap;
use std::time::Instant;

use ringback_recorder::{Codec, NoteKind, TakeEvent, TakePacket, TakeReason, TakeWriter, TrackKind};
use ringback_sfu::{Source, Tap, TapEnd, TapEvent};
use ringback_transport::sdp::CodecName;
use tokio::task::JoinHandle;

use crate::media::Workers;

/// The takes that are being recorded, by note.
#[derive(Debug, Default)]
pub(super) struct Takes {
    running: HashMap<String, JoinHandle<()>>,
}

impl Takes {
    /// Taps whoever is in the room: the caller, alone.
    pub(super) async fn start(
        &mut self,
        workers: &Workers,
        note: String,
        room: &str,
        kind: NoteKind,
        writer: TakeWriter,
    ) {
        self.running.retain(|_, take| !take.is_finished());
        let sources: &[Source] = match kind {
            NoteKind::Voice => &[Source::Microphone],
            NoteKind::Video => &[Source::Microphone, Source::Camera],
        };
        let began = Instant::now();
        match workers.tap_room(room, sources).await {
            Some(tap) => {
                if let Some(former) = self.running.insert(note, tokio::spawn(feed(tap, writer, began))) {
                    former.abort();
                }
            }
            None => writer.end(TakeReason::NoMedia),
        }
    }

    pub(super) fn stop(&mut self, note: &str) {
        if let Some(take) = self.running.remove(note) {
            take.abort();
        }
    }
}

impl Drop for Takes {
    fn drop(&mut self) {
        self.running.values().for_each(JoinHandle::abort);
    }
}

async fn feed(mut tap: Tap, writer: TakeWriter, began: Instant) {
    while let Some(event) = tap.recv().await {
        let event = match event {
            TapEvent::Packet(packet) => {
                let (Some(track), Some(codec)) = (track(packet.source), codec(packet.codec)) else { continue };
                TakeEvent::Packet(TakePacket {
                    track,
                    codec,
                    arrival: packet.arrival.saturating_duration_since(began),
                    sequence: packet.sequence,
                    timestamp: packet.timestamp,
                    marker: packet.marker,
                    level: packet.level,
                    payload: packet.payload,
                })
            }
            TapEvent::SenderReport { source, arrival, ntp, rtp_timestamp } => {
                let Some(track) = track(source) else { continue };
                let arrival = arrival.saturating_duration_since(began);
                TakeEvent::SenderReport { track, arrival, ntp, rtp_timestamp }
            }
            TapEvent::Muted { source, arrival, muted } => {
                let Some(track) = track(source) else { continue };
                TakeEvent::Muted { track, arrival: arrival.saturating_duration_since(began), muted }
            }
            TapEvent::Ended(end) => {
                return writer.end(match end {
                    TapEnd::Overrun => TakeReason::Overrun,
                    _ => TakeReason::CallerGone,
                });
            }
        };
        if !writer.push(event) {
            return;
        }
    }
}

fn track(source: Source) -> Option<TrackKind> {
    match source {
        Source::Microphone => Some(TrackKind::Audio),
        Source::Camera => Some(TrackKind::Video),
        Source::Screen => None,
    }
}

fn codec(codec: CodecName) -> Option<Codec> {
    match codec {
        CodecName::Opus => Some(Codec::Opus),
        CodecName::Vp8 => Some(Codec::Vp8),
        _ => None,
    }
}
