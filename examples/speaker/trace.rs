//! Scenes of the speaker corpus: `NAME.asl`, the audio levels of a conversation as a server sees them, and their replay
//! through a detector, in order of arrival. docs/speaker.md has the format.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use ringback_sfu::ParticipantId;
use ringback_sfu::speaking::VoiceLight;
use ringback_sfu::stage::{Detector, Preset, StageDetector};
use serde::Deserialize;

/// Who took the stage and when, in ms.
pub(crate) type Switches = Vec<(i64, usize)>;

/// A voice light that goes on or out.
pub(crate) struct Light {
    /// In ms.
    pub(crate) at: i64,
    pub(crate) participant: usize,
    pub(crate) lit: bool,
}

/// How often lights that nobody feeds are looked at, in ms, as in a room.
const TICK: i64 = 20;

#[derive(Deserialize)]
struct Header {
    participants: Vec<Participant>,
}

#[derive(Deserialize)]
struct Participant {
    id: usize,
    ptime: i64,
    n: usize,
    join_ms: i64,
    leave_ms: i64,
    /// How the V bit is presented: always 1, always 0, or as stored.
    vmode: String,
}

/// Something that happens in a scene, at a time in ms.
enum Event {
    Join,
    Packet { media_ms: i64, level: u8, voice: bool },
    Leave,
}

/// One scene.
pub(crate) struct Scene {
    /// In order: time in ms, rank among simultaneous events, participant.
    events: Vec<(i64, i64, usize, Event)>,
}

impl Scene {
    /// Reads a scene's file.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        Self::parse(&bytes).with_context(|| format!("{} is no scene", path.display()))
    }

    fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let rest = bytes.strip_prefix(b"ASL1").context("it does not begin with ASL1")?;
        let (length, rest) = rest.split_first_chunk::<4>().context("it ends before its header")?;
        let length = u32::from_le_bytes(*length) as usize;
        let (header, mut rest) = rest.split_at_checked(length).context("it ends in its header")?;
        let header: Header = serde_json::from_slice(header).context("its header")?;
        let mut events = Vec::new();
        for participant in header.participants {
            let (packets, after) = rest.split_at_checked(2 * participant.n).context("it ends in its packets")?;
            rest = after;
            let Participant { id, ptime, join_ms, leave_ms, ref vmode, .. } = participant;
            ensure!(ptime > 0, "packets of {ptime} ms");
            events.push((join_ms, -2, id, Event::Join));
            // Packets of the very millisecond of the leave still count.
            events.push((leave_ms + 1, -1, id, Event::Leave));
            for (sequence, packet) in packets.chunks_exact(2).enumerate() {
                let (level, delay) = (packet[0] & 0x7F, packet[1]);
                if delay == 255 {
                    continue;
                }
                let voice = match vmode.as_str() {
                    "one" => true,
                    "zero" => false,
                    _ => packet[0] & 0x80 != 0,
                };
                let media_ms = sequence as i64 * ptime;
                let arrival = media_ms + ptime + i64::from(delay);
                events.push((arrival, sequence as i64, id, Event::Packet { media_ms, level, voice }));
            }
        }
        // A stable sort: simultaneous packets by sequence number, then in the file's order.
        events.sort_by_key(|&(at, rank, ..)| (at, rank));
        Ok(Self { events })
    }

    /// What the detector does with this scene.
    pub(crate) fn replay(&self, preset: Preset) -> Switches {
        let mut detector = Detector::new(preset);
        let start = Instant::now();
        let mut switches = Switches::new();
        for &(at, _, id, ref event) in &self.events {
            let now = start + Duration::from_millis(at.max(0) as u64);
            let participant = ParticipantId(id as u64);
            let change = match *event {
                Event::Join => {
                    detector.join(now, participant, false);
                    None
                }
                Event::Leave => detector.leave(now, participant),
                Event::Packet { media_ms, level, voice } => {
                    detector.on_level(now, participant, (media_ms * 48) as u32, level, voice)
                }
            };
            // The scorer knows no empty stage: it counts as its last holder's.
            switches.extend(change.and_then(|change| Some((at, change.participant?.0 as usize))));
        }
        switches
    }

    /// The voice lights that the detector switches.
    pub(crate) fn lights(&self, preset: Preset) -> Vec<Light> {
        let mut detector = Detector::new(preset);
        let (start, mut ticked) = (Instant::now(), 0);
        let mut lights = Vec::new();
        for &(at, _, id, ref event) in &self.events {
            let time = |at: i64| start + Duration::from_millis(at.max(0) as u64);
            let participant = ParticipantId(id as u64);
            let mut told = |detector: &mut Detector, at| {
                while let Some((who, lit)) = detector.poll_speaking() {
                    lights.push(Light { at, participant: who.0 as usize, lit });
                }
            };
            while ticked + TICK <= at {
                ticked += TICK;
                detector.handle_timeout(time(ticked));
                told(&mut detector, ticked);
            }
            match *event {
                Event::Join => detector.join(time(at), participant, false),
                Event::Leave => drop(detector.leave(time(at), participant)),
                Event::Packet { media_ms, level, voice } => {
                    detector.on_level(time(at), participant, (media_ms * 48) as u32, level, voice);
                }
            }
            told(&mut detector, at);
        }
        lights
    }

    /// What lights do that look at each microphone alone.
    pub(crate) fn plain_lights(&self) -> Vec<Light> {
        let mut members: Vec<(usize, VoiceLight)> = Vec::new();
        let (start, mut ticked) = (Instant::now(), 0);
        let mut lights = Vec::new();
        for &(at, _, id, ref event) in &self.events {
            let time = |at: i64| start + Duration::from_millis(at.max(0) as u64);
            while ticked + TICK <= at {
                ticked += TICK;
                for (participant, light) in &mut members {
                    let change = light.on_silence(time(ticked));
                    lights.extend(change.map(|lit| Light { at: ticked, participant: *participant, lit }));
                }
            }
            match *event {
                Event::Join => members.push((id, VoiceLight::new())),
                Event::Leave => members.retain(|(member, _)| *member != id),
                Event::Packet { level, voice, .. } => {
                    let Some((_, light)) = members.iter_mut().find(|(member, _)| *member == id) else { continue };
                    let change = light.on_level(time(at), level, voice);
                    lights.extend(change.map(|lit| Light { at, participant: id, lit }));
                }
            }
        }
        lights
    }
}
