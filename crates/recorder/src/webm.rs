//! VP8 and Opus into a WebM file (Matroska, RFC 9559, in WebM's subset). Since the whole take is known by then, duration and cues stand in front, so that
//! players seek without reading to the end. A picture's size may change on the way: each keyframe carries its own, and the header tells the largest.

use bytes::BufMut;
use mkv_element::io::blocking_impl::WriteTo;
use mkv_element::prelude::*;

use crate::error::RecorderError;
use crate::ogg::{filling, opus_head};
use crate::timeline::{AudioFrame, VideoFrame};

/// A cluster lasts this long at most, in milliseconds.
const CLUSTER_MS: i64 = 1_000;

/// What a decoder needs to hear before it is right again after seeking, in nanoseconds: 80 ms (RFC 7845, 4.6).
const SEEK_PRE_ROLL: u64 = 80_000_000;

const VIDEO: u8 = 1;
const AUDIO: u8 = 2;

/// A block of either track.
struct Block<'a> {
    ms: i64,
    track: u8,
    keyframe: bool,
    data: std::borrow::Cow<'a, [u8]>,
}

/// Writes pictures and, where there is one, a voice as a whole WebM file from `begin` to `end`, in the take's samples. No pre-skip is declared (the first
/// packets are heard as they are), since players disagree on whether it moves the sound against the picture.
pub(crate) fn write(
    video: &[VideoFrame],
    voice: &[AudioFrame],
    begin: i64,
    end: i64,
) -> Result<Vec<u8>, RecorderError> {
    let ms = |at: i64| (at - begin).max(0) / 48;
    let mut blocks: Vec<Block<'_>> = video
        .iter()
        .map(|frame| Block {
            ms: ms(frame.at),
            track: VIDEO,
            keyframe: frame.keyframe.is_some(),
            data: frame.data.as_ref().into(),
        })
        .collect();
    let mut heard = voice.first().map_or(0, |frame| frame.at);
    for frame in voice {
        for (samples, silence) in filling(frame.at - heard) {
            blocks.push(Block { ms: ms(heard), track: AUDIO, keyframe: true, data: silence.to_vec().into() });
            heard += samples;
        }
        blocks.push(Block { ms: ms(frame.at), track: AUDIO, keyframe: true, data: frame.data.as_ref().into() });
        heard = frame.end();
    }
    blocks.sort_by_key(|block| block.ms);

    let mut clusters: Vec<(i64, bool, Vec<u8>)> = Vec::new();
    let mut rest = blocks.as_slice();
    while let Some(first) = rest.first() {
        // A new cluster at each picture to seek to, and after a second.
        let ends = |block: &Block<'_>| {
            block.ms - first.ms >= CLUSTER_MS || (block.track == VIDEO && block.keyframe && block.ms > first.ms)
        };
        let (cluster, later) = rest.split_at(rest.iter().position(ends).unwrap_or(rest.len()));
        rest = later;
        let seekable = cluster.iter().any(|block| block.track == VIDEO && block.keyframe);
        clusters.push((first.ms, seekable, encoded(&whole_cluster(first.ms, cluster))?));
    }

    let mut front = encoded(&info(ms(end)))?;
    front.extend(encoded(&tracks(video, voice))?);
    let mut length = 0;
    // The cues tell positions behind themselves, which depend on how long they are.
    let cues = loop {
        let cues = encoded(&cues(&clusters, front.len() + length))?;
        if cues.len() == length || clusters.iter().all(|(_, seekable, _)| !seekable) {
            break cues;
        }
        length = cues.len();
    };
    if clusters.iter().any(|(_, seekable, _)| *seekable) {
        front.extend(cues);
    }
    let size = front.len() + clusters.iter().map(|(.., bytes)| bytes.len()).sum::<usize>();

    let mut file = encoded(&ebml())?;
    Header { id: Segment::ID, size: VInt64::new(size as u64) }.write_to(&mut file).map_err(failed)?;
    file.put_slice(&front);
    clusters.iter().for_each(|(.., bytes)| file.put_slice(bytes));
    Ok(file)
}

fn failed(error: mkv_element::Error) -> RecorderError {
    RecorderError::Container { container: "WebM", reason: error.to_string() }
}

fn encoded(element: &impl WriteTo) -> Result<Vec<u8>, RecorderError> {
    let mut bytes = Vec::new();
    element.write_to(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn ebml() -> Ebml {
    Ebml {
        ebml_version: Some(EbmlVersion(1)),
        ebml_read_version: Some(EbmlReadVersion(1)),
        ebml_max_id_length: EbmlMaxIdLength(4),
        ebml_max_size_length: EbmlMaxSizeLength(8),
        doc_type: Some(DocType("webm".to_owned())),
        doc_type_version: Some(DocTypeVersion(4)),
        doc_type_read_version: Some(DocTypeReadVersion(2)),
        ..Default::default()
    }
}

fn info(duration_ms: i64) -> Info {
    Info {
        timestamp_scale: TimestampScale(1_000_000),
        duration: Some(Duration(duration_ms as f64)),
        muxing_app: MuxingApp("ringback".to_owned()),
        writing_app: WritingApp("ringback".to_owned()),
        ..Default::default()
    }
}

fn tracks(video: &[VideoFrame], voice: &[AudioFrame]) -> Tracks {
    let sizes = || video.iter().filter_map(|frame| frame.keyframe);
    let mut entries = vec![TrackEntry {
        track_number: TrackNumber(VIDEO.into()),
        track_uid: TrackUid(VIDEO.into()),
        track_type: TrackType(1),
        flag_lacing: FlagLacing(0),
        codec_id: CodecId("V_VP8".to_owned()),
        video: Some(Video {
            pixel_width: PixelWidth(sizes().map(|(width, _)| width.into()).max().unwrap_or(0)),
            pixel_height: PixelHeight(sizes().map(|(_, height)| height.into()).max().unwrap_or(0)),
            ..Default::default()
        }),
        ..Default::default()
    }];
    if !voice.is_empty() {
        let stereo = voice.iter().any(AudioFrame::is_stereo);
        entries.push(TrackEntry {
            track_number: TrackNumber(AUDIO.into()),
            track_uid: TrackUid(AUDIO.into()),
            track_type: TrackType(2),
            flag_lacing: FlagLacing(0),
            codec_id: CodecId("A_OPUS".to_owned()),
            codec_private: Some(CodecPrivate(opus_head(stereo, 0).into())),
            seek_pre_roll: SeekPreRoll(SEEK_PRE_ROLL),
            audio: Some(Audio {
                sampling_frequency: SamplingFrequency(48_000.0),
                channels: Channels(if stereo { 2 } else { 1 }),
                ..Default::default()
            }),
            ..Default::default()
        });
    }
    Tracks { track_entry: entries, ..Default::default() }
}

fn whole_cluster(begin_ms: i64, blocks: &[Block<'_>]) -> Cluster {
    let blocks = blocks.iter().map(|block| {
        let mut data = Vec::with_capacity(block.data.len() + 4);
        data.put_u8(0x80 | block.track);
        // A cluster is shorter than what fits 16 bits.
        data.put_i16((block.ms - begin_ms) as i16);
        data.put_u8(if block.keyframe { 0x80 } else { 0 });
        data.put_slice(&block.data);
        SimpleBlock(data.into()).into()
    });
    Cluster { timestamp: Timestamp(begin_ms as u64), blocks: blocks.collect(), ..Default::default() }
}

/// Where each cluster with a keyframe begins, counted from the first byte inside the segment.
fn cues(clusters: &[(i64, bool, Vec<u8>)], before: usize) -> Cues {
    let mut position = before;
    let mut cue_point = Vec::new();
    for (ms, seekable, bytes) in clusters {
        if *seekable {
            cue_point.push(CuePoint {
                cue_time: CueTime(*ms as u64),
                cue_track_positions: vec![CueTrackPositions {
                    cue_track: CueTrack(VIDEO.into()),
                    cue_cluster_position: CueClusterPosition(position as u64),
                    ..Default::default()
                }],
                ..Default::default()
            });
        }
        position += bytes.len();
    }
    Cues { cue_point, ..Default::default() }
}
