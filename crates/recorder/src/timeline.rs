//! From packets in order of arrival to frames with media times: a pure pass over a whole take. Each track is put in the order in which it was
//! sent, duplicates are dropped, and every frame is placed by its RTP timestamp, so that mute, DTX and loss leave gaps and not shorter
//! files. The two tracks are laid over one another by RTCP sender reports (RFC 3550, 6.4.1), or where one of them has none, by arrival. It
//! decodes nothing.

mod audio;
mod order;
mod video;

use std::time::Duration;

pub(crate) use audio::AudioFrame;
pub(crate) use video::VideoFrame;

use crate::packet::{Codec, TakeEvent, TakePacket, TrackKind};

/// Opus' clock in Hz: media times of this crate are samples of it.
pub(crate) const AUDIO_CLOCK: i64 = 48_000;

/// VP8's RTP clock in Hz.
const VIDEO_CLOCK: i64 = 90_000;

/// Sender reports that put picture and sound further apart than this beyond what their arrivals say are not believed, in samples: 2 s.
const PLAUSIBLE: i64 = 2 * AUDIO_CLOCK;

/// The frames of a take. Times are samples at 48 kHz since the take's first frame.
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
        let mut audio = audio::frames(order::in_order(packets(events, Codec::Opus), AUDIO_CLOCK));
        let mut video = video::frames(order::in_order(packets(events, Codec::Vp8), VIDEO_CLOCK));
        let wall = |track, clock| Wall::of(events, track, clock);
        let (sound, picture) = (wall(TrackKind::Audio, AUDIO_CLOCK), wall(TrackKind::Video, VIDEO_CLOCK));
        if let (Some(first_sound), Some(first_picture), Some(sound), Some(picture)) =
            (audio.first(), video.first(), sound, picture)
        {
            let by_arrival = picture.by_arrival(first_picture.rtp) - sound.by_arrival(first_sound.rtp);
            let by_reports = picture.by_report(first_picture.rtp).zip(sound.by_report(first_sound.rtp));
            let by_reports = by_reports.map(|(picture, sound)| picture - sound);
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

fn packets(events: &[TakeEvent], codec: Codec) -> impl Iterator<Item = &TakePacket> {
    events.iter().filter_map(move |event| match event {
        TakeEvent::Packet(packet) if packet.codec == codec => Some(packet),
        _ => None,
    })
}

/// The wall clock of one track's RTP timestamps, in samples at 48 kHz. Timestamps are compared over half their range only (12 h of video, 24 h of
/// sound), far longer than a take.
struct Wall {
    clock: i64,
    /// The packet that took the shortest way: its arrival and its timestamp.
    arrival: (i64, u32),
    /// The last sender report: the sender's wall clock and its timestamp.
    report: Option<(i64, u32)>,
}

impl Wall {
    fn of(events: &[TakeEvent], track: TrackKind, clock: i64) -> Option<Self> {
        let mut wall: Option<Self> = None;
        let mut report = None;
        for event in events {
            match event {
                TakeEvent::Packet(packet) if packet.track == track => {
                    let arrival = samples(packet.arrival);
                    let wall = wall.get_or_insert(Self { clock, arrival: (arrival, packet.timestamp), report: None });
                    if arrival < wall.by_arrival(packet.timestamp) {
                        wall.arrival = (arrival, packet.timestamp);
                    }
                }
                TakeEvent::SenderReport { track: of, ntp, rtp_timestamp, .. } if *of == track => {
                    report = Some((ntp_samples(*ntp), *rtp_timestamp));
                }
                _ => {}
            }
        }
        wall.map(|wall| Self { report, ..wall })
    }

    fn by_arrival(&self, rtp: u32) -> i64 {
        self.from(self.arrival, rtp)
    }

    fn by_report(&self, rtp: u32) -> Option<i64> {
        self.report.map(|report| self.from(report, rtp))
    }

    fn from(&self, (at, timestamp): (i64, u32), rtp: u32) -> i64 {
        let elapsed = i64::from(rtp.wrapping_sub(timestamp) as i32);
        at + elapsed * AUDIO_CLOCK / self.clock
    }
}

fn samples(time: Duration) -> i64 {
    i64::try_from(time.as_nanos() * AUDIO_CLOCK as u128 / 1_000_000_000).unwrap_or(i64::MAX / 4)
}

fn ntp_samples(ntp: u64) -> i64 {
    let (seconds, fraction) = ((ntp >> 32) as i64, (ntp & 0xFFFF_FFFF) as i64);
    seconds * AUDIO_CLOCK + ((fraction * AUDIO_CLOCK) >> 32)
}
