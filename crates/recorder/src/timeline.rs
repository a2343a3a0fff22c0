//! From packets in order of arrival to frames with media times: a pure pass over a whole take. Each track is put in the order in which it was
//! sent, duplicates are dropped, and every frame is placed by its RTP timestamp, so that mute, DTX and loss leave gaps and not shorter
//! files. The two tracks are laid over one another by RTCP sender reports (RFC 3550, 6.4.1), or where one of them has none, by arrival. It
//! decodes nothing.

mod audio;
mod order;
mod video;

use std::time::Duration;

pub(crate) use audio::{AudioFrame, frame_samples};
use order::Placed;
pub(crate) use video::VideoFrame;

use crate::packet::{Codec, TakeEvent, TrackKind};

/// Opus' clock in Hz: media times of this crate are samples of it.
pub(crate) const AUDIO_CLOCK: i64 = 48_000;

/// VP8's RTP clock in Hz.
const VIDEO_CLOCK: i64 = 90_000;

/// Sender reports that put picture and sound further apart than this beyond what their arrivals say are not believed, in samples: 2 s.
const PLAUSIBLE: i64 = 2 * AUDIO_CLOCK;

/// The frames of a take. Times are samples at 48 kHz since the first packet of the track that begins first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Timeline {
    /// In order, none overlapping the next.
    pub(crate) audio: Vec<AudioFrame>,
    /// In order; begins with a keyframe.
    pub(crate) video: Vec<VideoFrame>,
}

impl Timeline {
    /// Reads a take.
    pub(crate) fn of(events: &[TakeEvent]) -> Self {
        let (sound, sound_wall) = track(events, TrackKind::Audio, Codec::Opus, AUDIO_CLOCK);
        let (picture, picture_wall) = track(events, TrackKind::Video, Codec::Vp8, VIDEO_CLOCK);
        let (mut audio, mut video) = (audio::frames(sound), video::frames(picture));
        if let (Some(sound), Some(picture)) = (sound_wall, picture_wall) {
            let by_arrival = picture.by_arrival - sound.by_arrival;
            let by_reports = picture.by_reports.zip(sound.by_reports).map(|(picture, sound)| picture - sound);
            let apart = by_reports.filter(|apart| (apart - by_arrival).abs() < PLAUSIBLE).unwrap_or(by_arrival);
            let (later_sound, later_picture) = if apart < 0 { (-apart, 0) } else { (0, apart) };
            audio.iter_mut().for_each(|frame| frame.at += later_sound);
            video.iter_mut().for_each(|frame| frame.at += later_picture);
        }
        Self { audio, video }
    }

    /// Where the last frame ends.
    pub(crate) fn end(&self) -> i64 {
        let audio = self.audio.last().map_or(0, AudioFrame::end);
        audio.max(self.video.last().map_or(0, |frame| frame.at + 1))
    }
}

/// A track's packets in order, and when its clock began.
fn track(events: &[TakeEvent], track: TrackKind, codec: Codec, clock: i64) -> (Vec<Placed<'_>>, Option<Wall>) {
    let packets = events.iter().filter_map(|event| match event {
        TakeEvent::Packet(packet) if packet.track == track && packet.codec == codec => Some(packet),
        _ => None,
    });
    let muted: Vec<Duration> = events
        .iter()
        .filter_map(|event| match event {
            TakeEvent::Muted { track: of, arrival, .. } if *of == track => Some(*arrival),
            _ => None,
        })
        .collect();
    let placed = order::in_order(packets, clock, &muted);
    let wall = Wall::of(&placed, events, track, clock);
    (placed, wall)
}

/// When a track's clock was at zero, in samples at 48 kHz.
struct Wall {
    /// On the clock of arrivals, by the packet that took the shortest way.
    by_arrival: i64,
    /// On the sender's wall clock, by its last sender report.
    by_reports: Option<i64>,
}

impl Wall {
    fn of(placed: &[Placed<'_>], events: &[TakeEvent], track: TrackKind, clock: i64) -> Option<Self> {
        let zero = |wall: i64, at: i64| wall - at * AUDIO_CLOCK / clock;
        let arrivals = placed.iter().map(|placed| zero(samples(placed.packet.arrival), placed.at));
        let by_arrival = arrivals.min()?;
        let report = events.iter().rev().find_map(|event| match event {
            TakeEvent::SenderReport { track: of, arrival, ntp, rtp_timestamp } if *of == track => {
                Some((*arrival, ntp_samples(*ntp), *rtp_timestamp))
            }
            _ => None,
        });
        let by_reports = report.and_then(|(arrival, wall, timestamp)| {
            // Of the same stretch of the clock, if it was restarted.
            let near = placed.iter().min_by_key(|placed| placed.packet.arrival.abs_diff(arrival))?;
            let elapsed = i64::from(timestamp.wrapping_sub(near.packet.timestamp) as i32);
            Some(zero(wall, near.at + elapsed))
        });
        Some(Self { by_arrival, by_reports })
    }
}

fn samples(time: Duration) -> i64 {
    i64::try_from(time.as_nanos() * AUDIO_CLOCK as u128 / 1_000_000_000).unwrap_or(i64::MAX / 4)
}

fn ntp_samples(ntp: u64) -> i64 {
    let (seconds, fraction) = ((ntp >> 32) as i64, (ntp & 0xFFFF_FFFF) as i64);
    seconds * AUDIO_CLOCK + ((fraction * AUDIO_CLOCK) >> 32)
}
