//! The file of a note that was recorded as MP4: its samples as they came, in a plain file (ISO/IEC 14496-12) with its description and true times in front, so that it plays and seeks from
//! the first bytes on. All boxes are written anew: nothing of what else stood in the recording is kept.

use std::ops::Range;
use std::time::Duration;

use mp4_atom::{
    Ctts, CttsEntry, Dinf, Dref, DrefEntry, Edts, Elst, ElstEntry, Encode, FixedPoint, FourCC, Ftyp, Hdlr, Mdhd, Mdia,
    Minf, Moov, Mvhd, Smhd, Stbl, Stco, Stsc, StscEntry, Stsd, Stss, Stsz, StszSamples, Stts, SttsEntry, Tkhd, Trak,
    Url, Vmhd,
};

use crate::error::RecorderError;
use crate::mp4_take::{Mp4Take, Mp4Track};

/// Units of the file's own times in a second.
const SCALE: u32 = 1_000;

/// How much of a track lies together. Less lets a player begin with less of the file, and makes more of a table.
const CHUNK: Duration = Duration::from_millis(500);

/// The head of the box that holds the samples, in bytes.
const HEAD: usize = 8;

/// Samples of a track that lie together.
struct Chunk {
    track: usize,
    begins: Duration,
    samples: Range<usize>,
}

/// Writes the file of a take that was read from `recording`.
pub(crate) fn write(take: &Mp4Take, recording: &[u8]) -> Result<Vec<u8>, RecorderError> {
    let failed = |error: mp4_atom::Error| RecorderError::Container { container: "MP4", reason: error.to_string() };
    let chunks = chunks(take);
    let mut file = Vec::new();
    let kind = Ftyp {
        major_brand: FourCC::new(b"isom"),
        minor_version: 512,
        compatible_brands: [b"isom", b"iso2", b"avc1", b"mp41"].into_iter().map(FourCC::from).collect(),
    };
    kind.encode(&mut file).map_err(failed)?;
    // Where the samples lie depends on how long their description is, and that does not depend on where they lie.
    let mut description = Vec::new();
    movie(take, &chunks, 0)?.encode(&mut description).map_err(failed)?;
    let begin = file.len() + description.len() + HEAD;
    movie(take, &chunks, begin)?.encode(&mut file).map_err(failed)?;
    let size: usize = take.tracks.iter().flat_map(|track| &track.samples).map(|sample| sample.bytes.len()).sum();
    let size = u32::try_from(size + HEAD).map_err(|_| too_large())?;
    file.extend_from_slice(&size.to_be_bytes());
    file.extend_from_slice(b"mdat");
    for chunk in &chunks {
        for sample in &take.tracks[chunk.track].samples[chunk.samples.clone()] {
            file.extend_from_slice(&recording[sample.bytes.clone()]);
        }
    }
    Ok(file)
}

fn too_large() -> RecorderError {
    RecorderError::Container { container: "MP4", reason: "it is larger than 4 GiB".to_owned() }
}

/// The samples in the order of the file: what is played together lies together.
fn chunks(take: &Mp4Take) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    for (track, of) in take.tracks.iter().enumerate() {
        let mut begin = 0;
        for index in 1..=of.samples.len() {
            let since = |sample: usize| of.time(of.samples[sample].at);
            if index == of.samples.len() || since(index) >= since(begin) + CHUNK {
                chunks.push(Chunk { track, begins: of.delay + since(begin), samples: begin..index });
                begin = index;
            }
        }
    }
    chunks.sort_by_key(|chunk| (chunk.begins, chunk.track));
    chunks
}

fn movie(take: &Mp4Take, chunks: &[Chunk], begin: usize) -> Result<Moov, RecorderError> {
    let mut offsets = vec![Vec::new(); take.tracks.len()];
    let mut at = begin;
    for chunk in chunks {
        let track = &take.tracks[chunk.track];
        offsets[chunk.track].push((u32::try_from(at).map_err(|_| too_large())?, chunk.samples.len()));
        at += track.samples[chunk.samples.clone()].iter().map(|sample| sample.bytes.len()).sum::<usize>();
    }
    let tracks = take.tracks.iter().zip(&offsets).zip(1..);
    Ok(Moov {
        mvhd: Mvhd {
            timescale: SCALE,
            duration: units(take.duration),
            rate: 1.into(),
            volume: 1.into(),
            next_track_id: take.tracks.len() as u32 + 1,
            ..Mvhd::default()
        },
        trak: tracks.map(|((track, offsets), id)| described(track, offsets, id)).collect(),
        ..Moov::default()
    })
}

/// In the file's own units.
fn units(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn described(track: &Mp4Track, offsets: &[(u32, usize)], id: u32) -> Trak {
    let size = match &track.codec {
        mp4_atom::Codec::Avc1(avc) => Some((avc.visual.width, avc.visual.height)),
        _ => None,
    };
    let (width, height) = size.unwrap_or_default();
    let late = (!track.delay.is_zero()).then(|| edit(track.delay, None));
    let edits = late.into_iter().chain([edit(track.plays(), Some(track.skip))]).collect();
    Trak {
        tkhd: Tkhd {
            track_id: id,
            duration: units(track.delay + track.plays()),
            enabled: true,
            in_movie: true,
            volume: FixedPoint::from(u8::from(size.is_none())),
            matrix: track.matrix.clone(),
            width: width.into(),
            height: height.into(),
            ..Tkhd::default()
        },
        edts: Some(Edts { elst: Some(Elst { entries: edits }) }),
        mdia: Mdia {
            mdhd: Mdhd {
                timescale: track.scale,
                duration: track.samples.last().map_or(0, |last| last.at + u64::from(last.lasts)),
                language: "und".to_owned(),
                ..Mdhd::default()
            },
            hdlr: Hdlr { handler: FourCC::new(if size.is_some() { b"vide" } else { b"soun" }), name: String::new() },
            minf: Minf {
                vmhd: size.map(|_| Vmhd::default()),
                smhd: size.is_none().then(Smhd::default),
                dinf: Dinf { dref: Dref { entries: vec![DrefEntry::Url(Url::default())] } },
                stbl: table(track, offsets),
                ..Minf::default()
            },
        },
        ..Trak::default()
    }
}

fn edit(lasts: Duration, media_time: Option<u64>) -> ElstEntry {
    ElstEntry { segment_duration: units(lasts), media_time, media_rate: 1.into() }
}

/// Runs of the same value.
fn runs<T: PartialEq + Copy>(values: impl Iterator<Item = T>) -> Vec<(u32, T)> {
    let mut runs: Vec<(u32, T)> = Vec::new();
    for value in values {
        match runs.last_mut() {
            Some((count, same)) if *same == value => *count += 1,
            _ => runs.push((1, value)),
        }
    }
    runs
}

fn table(track: &Mp4Track, offsets: &[(u32, usize)]) -> Stbl {
    let samples = &track.samples;
    let lasts = runs(samples.iter().map(|sample| sample.lasts)).into_iter();
    let shown = runs(samples.iter().map(|sample| sample.shown)).into_iter();
    let mut first_chunk = 1;
    let mut together = Vec::new();
    for (chunks, samples) in runs(offsets.iter().map(|(_, samples)| *samples as u32)) {
        together.push(StscEntry { first_chunk, samples_per_chunk: samples, sample_description_index: 1 });
        first_chunk += chunks;
    }
    let sync = (1..).zip(samples).filter(|(_, sample)| sample.sync).map(|(number, _)| number).collect();
    Stbl {
        stsd: Stsd { codecs: vec![track.codec.clone()] },
        stts: Stts {
            entries: lasts.map(|(sample_count, sample_delta)| SttsEntry { sample_count, sample_delta }).collect(),
        },
        ctts: samples.iter().any(|sample| sample.shown != 0).then(|| Ctts {
            entries: shown.map(|(sample_count, of)| CttsEntry { sample_count, sample_offset: of.into() }).collect(),
        }),
        stss: track.is_video().then_some(Stss { entries: sync }),
        stsc: Stsc { entries: together },
        stsz: Stsz {
            samples: StszSamples::Different { sizes: samples.iter().map(|of| of.bytes.len() as u32).collect() },
        },
        stco: Some(Stco { entries: offsets.iter().map(|(offset, _)| *offset).collect() }),
        ..Stbl::default()
    }
}
