//! A sound of which no two frames are alike, and the file of a note held against the log of a client that sent it.
#![allow(dead_code, reason = "each test file uses another part of it")]

use ringback_client::SentPacket;

/// Samples of an Opus frame of 20 ms, at 48 kHz.
pub(crate) const FRAME: u64 = 960;

/// Half a minute of sound of which no two frames are alike, so that each has one place in the log.
pub(crate) fn sweep(path: &std::path::Path) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 48_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    let mut phase = 0.0_f64;
    for n in 0..48_000 * 30 {
        phase += (200.0 + f64::from(n) / 800.0) / 48_000.0;
        writer.write_sample(((phase * std::f64::consts::TAU).sin() * 12_000.0) as i16).unwrap();
    }
    writer.finalize().unwrap();
}

/// The packets of an Ogg/Opus file behind its two headers, its pre-skip and the granule position of its end.
pub(crate) fn ogg(file: &[u8]) -> (Vec<Vec<u8>>, u64, u64) {
    let mut reader = ogg::PacketReader::new(std::io::Cursor::new(file));
    let (mut packets, mut end) = (Vec::new(), 0);
    while let Some(packet) = reader.read_packet().unwrap() {
        end = packet.absgp_page();
        packets.push(packet.data);
    }
    let skip = u64::from(u16::from_le_bytes([packets[0][10], packets[0][11]]));
    (packets.split_off(2), skip, end)
}

/// Where in the log these packets stand, one after the other: in one place only.
pub(crate) fn position(log: &[SentPacket], packets: &[Vec<u8>]) -> Option<usize> {
    let mut windows = log.windows(packets.len()).enumerate();
    let mut same =
        windows.by_ref().filter(|(_, sent)| sent.iter().zip(packets).all(|(sent, kept)| sent.payload == *kept));
    let first = same.next()?.0;
    assert_eq!(same.next().map(|(again, _)| again), None, "the frames tell no place in the log apart");
    Some(first)
}
