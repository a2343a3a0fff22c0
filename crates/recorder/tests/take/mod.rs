//! Takes made by hand: real Opus from the encoder, real VP8 from the test card, cut into RTP packets as a browser does, and the programs that
//! say whether a file is a good one.
#![allow(dead_code, reason = "each test file uses another part of it")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use ringback_recorder::{Codec, TakeEvent, TakePacket, TrackKind};

/// 20 ms of sound, in samples at 48 kHz.
pub(crate) const FRAME: usize = 960;

/// What a microphone sends: 20 ms a packet, a tone where `loud` says so (by frame) and silence elsewhere.
pub(crate) fn voice(frames: usize, loud: impl Fn(usize) -> bool) -> Vec<TakePacket> {
    let mut encoder = opus::Encoder::new(48_000, opus::Channels::Mono, opus::Application::Voip).unwrap();
    let mut n = 0.0_f32;
    (0..frames)
        .map(|index| {
            let pcm: Vec<f32> = (0..FRAME)
                .map(|_| {
                    n += 1.0;
                    let syllable = 0.6 + 0.4 * (n * 3.0 * std::f32::consts::TAU / 48_000.0).sin();
                    let tone = (n * 220.0 * std::f32::consts::TAU / 48_000.0).sin();
                    if loud(index) { 0.4 * syllable * tone } else { 0.0 }
                })
                .collect();
            let payload = encoder.encode_vec_float(&pcm, 1_275).unwrap();
            packet(
                TrackKind::Audio,
                Codec::Opus,
                index as u64 * 20,
                index as u16,
                5_000 + (index * FRAME) as u32,
                payload,
            )
        })
        .collect()
}

pub(crate) fn packet(
    track: TrackKind,
    codec: Codec,
    arrival_ms: u64,
    sequence: u16,
    timestamp: u32,
    payload: Vec<u8>,
) -> TakePacket {
    TakePacket {
        track,
        codec,
        arrival: Duration::from_millis(arrival_ms),
        // Both wrap early on.
        sequence: sequence.wrapping_sub(20),
        timestamp: timestamp.wrapping_sub(20_000),
        marker: false,
        level: None,
        payload: payload.into(),
    }
}

/// The frames of an IVF file.
pub(crate) fn ivf(path: &Path) -> Vec<Bytes> {
    let file = Bytes::from(std::fs::read(path).unwrap());
    let mut at = usize::from(u16::from_le_bytes([file[6], file[7]]));
    let mut frames = Vec::new();
    while at + 12 <= file.len() {
        let length = u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
        frames.push(file.slice(at + 12..at + 12 + length));
        at += 12 + length;
    }
    frames
}

pub(crate) fn test_card() -> Vec<Bytes> {
    ivf(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../client/media/testcard.ivf"))
}

/// What a camera sends: VP8 frames at `rate` a second in packets of at most 1,100 bytes.
pub(crate) fn camera(frames: &[Bytes], rate: u64, begin_ms: u64) -> Vec<TakePacket> {
    let mut packets = Vec::new();
    let mut sequence = 7_u16;
    for (index, frame) in frames.iter().enumerate() {
        let arrival = begin_ms + index as u64 * 1_000 / rate;
        let timestamp = 900 + (index as u64 * 90_000 / rate) as u32;
        let chunks: Vec<&[u8]> = frame.chunks(1_100).collect();
        for (part, chunk) in chunks.iter().enumerate() {
            // X and I bits, a 15-bit picture id; S on the first packet.
            let mut payload =
                vec![0x80 | if part == 0 { 0x10 } else { 0 }, 0x80, 0x80 | (index >> 8) as u8, index as u8];
            payload.extend_from_slice(chunk);
            let mut packet = packet(TrackKind::Video, Codec::Vp8, arrival, sequence, timestamp, payload);
            packet.marker = part + 1 == chunks.len();
            sequence = sequence.wrapping_add(1);
            packets.push(packet);
        }
    }
    packets
}

/// Packets as events, in order of arrival.
pub(crate) fn events(packets: impl IntoIterator<Item = TakePacket>) -> Vec<TakeEvent> {
    let mut events: Vec<TakeEvent> = packets.into_iter().map(TakeEvent::Packet).collect();
    events.sort_by_key(TakeEvent::arrival);
    events
}

/// The Opus packets inside an Ogg file, without the two headers, and the granule position of the last page.
pub(crate) fn ogg_packets(file: &[u8]) -> (Vec<Vec<u8>>, u64) {
    let mut reader = ogg::PacketReader::new(std::io::Cursor::new(file));
    let mut packets = Vec::new();
    let mut granule = 0;
    while let Some(packet) = reader.read_packet().unwrap() {
        granule = packet.absgp_page();
        packets.push(packet.data);
    }
    (packets.split_off(2), granule)
}

/// A block of a WebM file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    /// 1 is the picture, 2 the sound.
    pub(crate) track: u64,
    /// Milliseconds since the file's beginning.
    pub(crate) ms: i64,
    pub(crate) keyframe: bool,
    pub(crate) data: Vec<u8>,
}

/// The blocks inside a WebM file, in the file's order.
pub(crate) fn webm_blocks(file: &[u8]) -> Vec<Block> {
    use mkv_element::FrameData;
    use mkv_element::io::blocking_impl::ReadFrom;
    use mkv_element::prelude::{Ebml, Segment};
    let mut rest = file;
    assert_eq!(Ebml::read_from(&mut rest).unwrap().doc_type.unwrap().0, "webm");
    let segment = Segment::read_from(&mut rest).unwrap();
    assert!(rest.is_empty(), "{} bytes behind the segment", rest.len());
    let frames = segment.cluster.iter().flat_map(|cluster| cluster.frames()).map(|frame| {
        let frame = frame.unwrap();
        let FrameData::Single(data) = frame.data else { panic!("lacing") };
        Block { track: frame.track_number, ms: frame.timestamp, keyframe: frame.is_keyframe, data: data.to_vec() }
    });
    frames.collect()
}

/// How long an Opus packet sounds, in samples at 48 kHz, as libopus reads it.
pub(crate) fn opus_samples(packet: &[u8]) -> u64 {
    opus::packet::get_nb_samples(packet, 48_000).unwrap() as u64
}

/// Whether FFmpeg is here. CI requires it.
pub(crate) fn ffmpeg_or_skip(test: &str) -> bool {
    let found = Command::new("ffprobe").arg("-version").output().is_ok();
    if !found {
        let required = std::env::var_os("RINGBACK_REQUIRE_BROWSER").is_some_and(|value| value == "1");
        assert!(!required, "{test}: ffprobe and ffmpeg are required");
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), "SKIPPED {test}: no ffprobe found");
    }
    found
}

/// What ffprobe says of a file: `stream=…` and `format=…` entries as `key=value` lines.
pub(crate) fn ffprobe(path: &Path) -> String {
    let entries = "stream=codec_name,width,height:format=duration,format_name";
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-show_entries", entries, "-of", "default=nw=1"]).arg(path);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Decodes everything; FFmpeg must have nothing to complain about.
pub(crate) fn decodes_fully(path: &Path) {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "warning", "-xerror", "-i"]).arg(path).args(["-f", "null", "-"]);
    let output = command.output().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.trim().is_empty(), "{}: {complaints}", path.display());
}

/// The decoded sound as 48 kHz mono.
pub(crate) fn sound(path: &Path) -> Vec<f32> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-i"]).arg(path).args(["-f", "f32le", "-ac", "1", "-ar", "48000", "-"]);
    let bytes = command.output().unwrap().stdout;
    bytes.chunks_exact(4).map(|sample| f32::from_le_bytes(sample.try_into().unwrap())).collect()
}

/// A file in fragments as a browser without WebM records it: words for FFmpeg, between the inputs and the format.
pub(crate) fn fragmented_mp4(arguments: &str) -> Bytes {
    let fragments = ["-movflags", "frag_keyframe+empty_moov+default_base_moof", "-f", "mp4", "pipe:1"];
    let output =
        Command::new("ffmpeg").args(["-v", "error"]).args(arguments.split(' ')).args(fragments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout.into()
}
