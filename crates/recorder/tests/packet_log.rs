//! A file against the log of what was sent: exactly those frames, in order, gaps where the log has gaps, and no drift; whatever the network did to the packets on their way.
#![allow(clippy::unwrap_used)]

mod take;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use ringback_recorder::{FileOptions, NoteKind, TakePacket, TrackKind, make_file};
use take::{
    Block, FRAME, camera, decodes_fully, events, ffmpeg_or_skip, ffprobe, ogg_packets, opus_samples, packet, test_card,
    webm_blocks,
};

const KEEP_ALL: FileOptions = FileOptions { trim_silence: false, peaks: 64 };

/// What a microphone sends in a minute: speech with pauses in which DTX sends nothing, and mute.
fn microphone(dice: &mut StdRng, frames: usize) -> Vec<TakePacket> {
    let mut encoder = opus::Encoder::new(48_000, opus::Channels::Mono, opus::Application::Voip).unwrap();
    encoder.set_dtx(true).unwrap();
    let (mut speaks, mut muted, mut sequence) = (true, 0_usize, dice.random::<u16>());
    let (mut phase, begin) = (0.0_f32, dice.random::<u32>());
    let mut sent = Vec::new();
    for index in 0..frames {
        if dice.random_ratio(1, 60) {
            speaks = !speaks;
        }
        if dice.random_ratio(1, 400) {
            muted = dice.random_range(10..200);
        }
        let pitch = dice.random_range(150.0..300.0);
        let pcm: Vec<f32> = (0..FRAME)
            .map(|_| {
                phase = (phase + pitch / 48_000.0).fract();
                if speaks { 0.4 * (phase * std::f32::consts::TAU).sin() } else { 0.0 }
            })
            .collect();
        let payload = encoder.encode_vec_float(&pcm, 1_275).unwrap();
        muted = muted.saturating_sub(1);
        // As browsers do, a packet of DTX is not sent; the clock goes on.
        if muted > 0 || payload.len() <= 2 {
            continue;
        }
        let timestamp = begin.wrapping_add((index * FRAME) as u32);
        let mut sending = packet(TrackKind::Audio, ringback_recorder::Codec::Opus, 0, sequence, timestamp, payload);
        sending.arrival = Duration::from_millis(index as u64 * 20);
        sequence = sequence.wrapping_add(1);
        sent.push(sending);
    }
    sent
}

/// What arrives of it: packets are lost, delivered twice, and overtake one another.
fn network(dice: &mut StdRng, sent: &[TakePacket], loss: f64) -> Vec<TakePacket> {
    let mut arrived = Vec::new();
    for packet in sent {
        if dice.random_bool(loss) {
            continue;
        }
        for _ in 0..1 + u32::from(dice.random_bool(0.02)) {
            let mut packet = packet.clone();
            packet.arrival += Duration::from_millis(dice.random_range(5..70));
            arrived.push(packet);
        }
    }
    arrived.shuffle(dice);
    arrived.sort_by_key(|packet| packet.arrival);
    arrived
}

/// What is to be in the file: each packet that arrived, once, by its time since the first.
fn log(arrived: &[TakePacket], first: &TakePacket) -> BTreeMap<u64, Bytes> {
    let at = |packet: &TakePacket| u64::from(packet.timestamp.wrapping_sub(first.timestamp));
    arrived.iter().map(|packet| (at(packet), packet.payload.clone())).collect()
}

#[test]
fn a_voice_note_holds_exactly_the_frames_that_arrived_at_their_times() {
    for seed in 0..rounds(4, 200) {
        let mut dice = StdRng::seed_from_u64(seed);
        let sent = microphone(&mut dice, 3_000);
        let arrived = network(&mut dice, &sent, if seed.is_multiple_of(4) { 0.0 } else { 0.05 });
        let first = arrived.iter().min_by_key(|packet| packet.timestamp.wrapping_sub(sent[0].timestamp)).unwrap();
        let log = log(&arrived, first);
        let file = make_file(NoteKind::Voice, &events(arrived.clone()), &KEEP_ALL).unwrap();
        let (packets, granule) = ogg_packets(&file.bytes);
        let (mut at, mut kept) = (0, BTreeMap::new());
        for packet in &packets {
            if log.contains_key(&at) {
                kept.insert(at, Bytes::copy_from_slice(packet));
            } else {
                assert_eq!(packet.len(), 1, "seed {seed}: a packet at {at} that never arrived");
            }
            at += opus_samples(packet);
        }
        assert_eq!(kept, log, "seed {seed}");
        assert_eq!(granule, at, "seed {seed}: the granule position is what a decoder has put out");
        let last = log.last_key_value().map(|(at, packet)| at + opus_samples(packet)).unwrap();
        assert!(granule.abs_diff(last) <= 48, "seed {seed}: {granule} instead of {last} samples");
        check("a_voice_note_holds_exactly", "note.ogg", &file.bytes, seed);
    }
}

/// Which of a camera's pictures can be shown, by their number: those of which all packets arrived, from a keyframe on, without one missing in between.
fn shown(pictures: &[Bytes], sent: &[TakePacket], arrived: &[TakePacket]) -> Vec<usize> {
    let whole = |timestamp: u32| {
        let of = |packets: &[TakePacket]| {
            let sequences = packets.iter().filter(|packet| packet.timestamp == timestamp).map(|packet| packet.sequence);
            sequences.collect::<std::collections::BTreeSet<_>>()
        };
        of(sent) == of(arrived)
    };
    let mut timestamps: Vec<u32> = sent.iter().map(|packet| packet.timestamp).collect();
    timestamps.dedup();
    let mut follows = false;
    (0..pictures.len())
        .filter(|&index| {
            follows = whole(timestamps[index]) && (follows || pictures[index][0] & 1 == 0);
            follows
        })
        .collect()
}

#[test]
fn a_video_note_holds_exactly_the_pictures_that_can_be_shown_at_their_times() {
    let card = test_card();
    for seed in 0..rounds(3, 60) {
        let mut dice = StdRng::seed_from_u64(seed);
        // A keyframe a second.
        let pictures: Vec<Bytes> = card[..30].iter().cycle().take(600).cloned().collect();
        let sent = camera(&pictures, 30, 0);
        let arrived = network(&mut dice, &sent, if seed == 0 { 0.0 } else { 0.01 });
        let sound = microphone(&mut dice, 1_000);
        let heard = network(&mut dice, &sound, 0.05);
        let both = events(arrived.iter().chain(&heard).cloned());
        let file = make_file(NoteKind::Video, &both, &KEEP_ALL).unwrap();
        let blocks = webm_blocks(&file.bytes);
        let picture: Vec<&Block> = blocks.iter().filter(|block| block.track == 1).collect();
        let shown = shown(&pictures, &sent, &arrived);
        assert!(shown.len() > 100, "seed {seed}: {} pictures", shown.len());
        assert_eq!(picture.len(), shown.len(), "seed {seed}");
        let begin = picture[0].ms - shown[0] as i64 * 1_000 / 30;
        for (block, index) in picture.iter().zip(&shown) {
            assert_eq!(block.data, pictures[*index], "seed {seed}: picture {index}");
            let at = begin + *index as i64 * 1_000 / 30;
            assert!((block.ms - at).abs() <= 1, "seed {seed}: picture {index} at {} and not {at}", block.ms);
        }
        let mut heard = heard;
        heard.sort_by_key(|packet| packet.timestamp.wrapping_sub(sound[0].timestamp));
        heard.dedup_by_key(|packet| packet.timestamp);
        let voice = blocks.iter().filter(|block| block.track == 2 && block.data.len() > 1);
        let voice: Vec<&[u8]> = voice.map(|block| block.data.as_slice()).collect();
        assert_eq!(voice, heard.iter().map(|packet| packet.payload.as_ref()).collect::<Vec<_>>(), "seed {seed}");
        check("a_video_note_holds_exactly", "note.webm", &file.bytes, seed);
    }
}

/// What FFmpeg says of the file: nothing.
fn check(test: &str, name: &str, file: &[u8], seed: u64) {
    if seed < 4 && ffmpeg_or_skip(test) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, file).unwrap();
        assert!(ffprobe(&path).contains("codec_name=opus"), "seed {seed}");
        decodes_fully(&path);
    }
}

/// How many seeds: `RINGBACK_LONG=1` takes more.
fn rounds(short: u64, long: u64) -> u64 {
    if std::env::var_os("RINGBACK_LONG").is_some_and(|value| value == "1") { long } else { short }
}
