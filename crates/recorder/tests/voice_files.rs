//! Voice takes as Ogg/Opus: what was sent is in the file, bit for bit and in its place.
#![allow(clippy::unwrap_used)]

mod take;

use std::time::Duration;

use ringback_recorder::{FileOptions, NoteKind, TakeEvent, TakePacket, TrackKind, VOICE_TYPE, make_file};
use take::{FRAME, decodes_fully, events, ffmpeg_or_skip, ffprobe, ogg_packets, sound, voice};

const KEEP_ALL: FileOptions = FileOptions { trim_silence: false, peaks: 128 };

fn payloads(packets: &[TakePacket]) -> Vec<Vec<u8>> {
    packets.iter().map(|packet| packet.payload.to_vec()).collect()
}

#[test]
fn the_file_holds_exactly_the_packets_that_were_sent_in_order() {
    let sent = voice(150, |_| true);
    let mut arrived = sent.clone();
    // The network turns some around and delivers some twice.
    arrived.swap(10, 12);
    arrived.swap(40, 41);
    arrived.insert(60, sent[58].clone());
    let file = make_file(NoteKind::Voice, &arrived.into_iter().map(TakeEvent::Packet).collect::<Vec<_>>(), &KEEP_ALL);
    let file = file.unwrap();
    assert_eq!(file.content_type, VOICE_TYPE);
    let (packets, granule) = ogg_packets(&file.bytes);
    assert_eq!(packets, payloads(&sent));
    assert_eq!(granule, 150 * FRAME as u64);
    assert_eq!(file.duration.as_millis(), 3_000);
    assert_eq!(file.peaks.len(), 128);
    assert!(!file.silent);
}

#[test]
fn what_was_lost_or_muted_leaves_a_gap_as_long_as_it_was() {
    if !ffmpeg_or_skip("what_was_lost_or_muted_leaves_a_gap_as_long_as_it_was") {
        return;
    }
    let sent = voice(200, |_| true);
    // Every 20th packet is lost, and the microphone is muted for a second.
    let kept: Vec<TakePacket> = sent
        .iter()
        .enumerate()
        .filter(|(index, _)| index % 20 != 5 && !(100..150).contains(index))
        .map(|(_, packet)| packet.clone())
        .collect();
    let file = make_file(NoteKind::Voice, &events(kept.clone()), &KEEP_ALL).unwrap();
    let (packets, granule) = ogg_packets(&file.bytes);
    assert_eq!(granule, 200 * FRAME as u64);
    // Packets of one byte fill the gaps; the others are what was received.
    let received: Vec<Vec<u8>> = packets.iter().filter(|packet| packet.len() > 1).cloned().collect();
    assert_eq!(received, payloads(&kept));
    assert_eq!(packets.len(), 200);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("note.ogg");
    std::fs::write(&path, &file.bytes).unwrap();
    decodes_fully(&path);
    assert!(ffprobe(&path).contains("codec_name=opus"));
    let sound = sound(&path);
    assert!((sound.len() as i64 - 200 * FRAME as i64).abs() <= 312, "{} samples", sound.len());
    let energy = |frames: std::ops::Range<usize>| {
        sound[frames.start * FRAME..frames.end * FRAME].iter().map(|sample| sample * sample).sum::<f32>()
    };
    assert!(energy(120..145) < energy(155..180) / 100.0, "the gap is not silent");
}

#[test]
fn a_minute_of_voice_drifts_by_less_than_a_millisecond() {
    let sent = voice(3_000, |_| true);
    // A packet in a hundred is lost, and arrivals jitter by up to 30 ms.
    let arrived = sent.iter().enumerate().filter(|(index, _)| index % 100 != 50).map(|(index, packet)| {
        let mut packet = packet.clone();
        packet.arrival += Duration::from_millis((index as u64 * 7_919) % 30);
        packet
    });
    let file = make_file(NoteKind::Voice, &events(arrived), &KEEP_ALL).unwrap();
    let (_, granule) = ogg_packets(&file.bytes);
    assert!((granule as i64 - 3_000 * FRAME as i64).abs() <= 48, "{granule}");
}

#[test]
fn silence_is_cut_off_at_both_ends_and_the_decoder_has_80_ms_to_warm_up() {
    if !ffmpeg_or_skip("silence_is_cut_off_at_both_ends_and_the_decoder_has_80_ms_to_warm_up") {
        return;
    }
    let sent = voice(500, |frame| (150..250).contains(&frame));
    let file = make_file(NoteKind::Voice, &events(sent.clone()), &FileOptions::default()).unwrap();
    // 2 s of voice, 0.2 s before, 0.3 s after.
    assert!((2_400..2_700).contains(&file.duration.as_millis()), "{:?}", file.duration);
    let pre_skip = u16::from_le_bytes([file.bytes[28 + 10], file.bytes[28 + 11]]);
    assert!(pre_skip >= 3_840, "{pre_skip} samples of pre-skip");
    let (packets, _) = ogg_packets(&file.bytes);
    let all = payloads(&sent);
    assert!(all.windows(packets.len()).any(|window| window == packets), "the packets are a stretch of what was sent");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("note.ogg");
    std::fs::write(&path, &file.bytes).unwrap();
    decodes_fully(&path);
    let heard = sound(&path).len() as i64;
    assert!(
        (heard - file.duration.as_millis() as i64 * 48).abs() <= FRAME as i64,
        "{heard} samples, {:?}",
        file.duration
    );
}

#[test]
fn a_take_in_which_nobody_speaks_is_silent() {
    let file = make_file(NoteKind::Voice, &events(voice(150, |_| false)), &FileOptions::default()).unwrap();
    assert!(file.silent);
    // A click is not a voice.
    let file = make_file(NoteKind::Voice, &events(voice(150, |frame| frame == 75)), &FileOptions::default()).unwrap();
    assert!(file.silent);
}

#[test]
fn a_clock_that_jumps_by_hours_tears_no_hours_into_the_file() {
    let mut sent = voice(200, |_| true);
    for packet in &mut sent[100..] {
        packet.timestamp = packet.timestamp.wrapping_add(48_000 * 3_600 * 5);
    }
    let file = make_file(NoteKind::Voice, &events(sent), &KEEP_ALL).unwrap();
    assert!((3_900..4_200).contains(&file.duration.as_millis()), "{:?}", file.duration);
}

#[test]
fn a_clock_that_lies_with_every_packet_makes_no_longer_file_than_the_take_was() {
    let mut sent = voice(300, |_| true);
    for (index, packet) in sent.iter_mut().enumerate() {
        packet.timestamp = packet.timestamp.wrapping_add(index as u32 * 48_000 * 9);
    }
    let file = make_file(NoteKind::Voice, &events(sent), &KEEP_ALL).unwrap();
    assert!(file.duration < Duration::from_secs(6 + 11), "{:?}", file.duration);
}

#[test]
fn timestamps_that_a_sender_rounds_cost_no_packet() {
    let mut sent = voice(300, |_| true);
    for (index, packet) in sent.iter_mut().enumerate() {
        // Now a sample early, now one late.
        packet.timestamp = packet.timestamp.wrapping_add(index as u32 % 3).wrapping_sub(1);
    }
    let file = make_file(NoteKind::Voice, &events(sent.clone()), &KEEP_ALL).unwrap();
    assert_eq!(ogg_packets(&file.bytes).0, payloads(&sent));
    assert!(file.duration.as_millis().abs_diff(6_000) <= 1, "{:?}", file.duration);
}

#[test]
fn a_clock_that_stands_still_while_muted_leaves_the_gap_all_the_same() {
    let mut sent = voice(200, |_| true);
    for packet in &mut sent[100..] {
        packet.arrival += Duration::from_secs(3);
    }
    let mut take = events(sent.clone());
    let gapless = make_file(NoteKind::Voice, &take, &KEEP_ALL).unwrap();
    assert_eq!(gapless.duration.as_millis(), 4_000, "a network that holds packets back opens no gap");
    for (arrival, muted) in [(2_000, true), (4_990, false)] {
        take.push(TakeEvent::Muted { track: TrackKind::Audio, arrival: Duration::from_millis(arrival), muted });
    }
    let file = make_file(NoteKind::Voice, &take, &KEEP_ALL).unwrap();
    assert_eq!(file.duration.as_millis(), 7_000);
    let (packets, granule) = ogg_packets(&file.bytes);
    assert_eq!(granule, 350 * FRAME as u64);
    assert_eq!(packets.iter().filter(|packet| packet.len() > 1).cloned().collect::<Vec<_>>(), payloads(&sent));
}

#[test]
fn a_clock_that_goes_on_while_muted_leaves_the_gap_once() {
    let mut sent = voice(350, |_| true);
    sent.drain(100..250);
    let mut take = events(sent);
    for (arrival, muted) in [(2_000, true), (4_990, false)] {
        take.push(TakeEvent::Muted { track: TrackKind::Audio, arrival: Duration::from_millis(arrival), muted });
    }
    let file = make_file(NoteKind::Voice, &take, &KEEP_ALL).unwrap();
    assert_eq!(file.duration.as_millis(), 7_000);
}

#[test]
fn nothing_at_all_is_an_error() {
    assert!(make_file(NoteKind::Voice, &[], &KEEP_ALL).is_err());
}
