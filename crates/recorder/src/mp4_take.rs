//! A fragmented MP4 file that a browser's `MediaRecorder` made (ISO/IEC 14496-12; Safari before 18.4 records no WebM), as samples on a time line: its boxes are read by a kept crate, and
//! what they say is trusted in nothing. Only AAC or Opus and H.264 are taken, in one track each; the note's [own file](crate::mp4) is made of the samples. Nothing is decoded.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use mp4_atom::{Codec, Decode, FourCC, Ftyp, Header, Matrix, Moof, Moov, Tfhd, Traf, Trak, Trex, TrunEntry};

use crate::note::TakeReason;
use crate::packet::NoteKind;

/// How an MP4 file begins: a box of less than 64 KiB that says the type of the file. `None`: any byte.
const MAGIC: [Option<u8>; 8] = [Some(0), Some(0), None, None, Some(b'f'), Some(b't'), Some(b'y'), Some(b'p')];

/// The kinds of MP4 files that are read: the base format's, MPEG-4's, those of fragments, and Apple's.
const BRANDS: [&[u8; 4]; 16] = [
    b"isom", b"iso2", b"iso3", b"iso4", b"iso5", b"iso6", b"iso8", b"iso9", b"mp41", b"mp42", b"avc1", b"dash",
    b"cmfc", b"M4A ", b"M4V ", b"MSNV",
];

/// The most bytes of the box that describes the tracks. Browsers write about one thousand.
const LARGEST_MOVIE: usize = 128 * 1024;

/// The most bytes of the box that describes a fragment: 16 bytes a sample, and seconds in a fragment.
const LARGEST_FRAGMENT: usize = 1024 * 1024;

/// The most samples of a second: Opus has 400 at most, AAC 94, a camera 240. More is made to cost memory.
const MOST_SAMPLES: usize = 1_000;

/// The largest time scale: 100 ns, as Windows counts.
const LARGEST_SCALE: u32 = 10_000_000;

/// The most pixels of a side.
const LARGEST_SIDE: u16 = 8_192;

/// The flag of a sample that cannot be decoded by itself (ISO/IEC 14496-12, 8.8.3.1).
const NO_SYNC: u32 = 0x1_0000;

/// AAC, in the decoder's configuration (ISO/IEC 14496-1, 7.2.6.6).
const AAC: u8 = 0x40;

/// Why a file is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at byte {at}: expected {expected}")]
pub(crate) struct NotTaken {
    pub(crate) reason: TakeReason,
    at: usize,
    expected: &'static str,
}

/// What of a file is taken.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mp4Take {
    /// The picture, and then the sound: at least one of them.
    pub(crate) tracks: Vec<Mp4Track>,
    /// How long it plays.
    pub(crate) duration: Duration,
}

/// One track.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mp4Track {
    /// How its samples are encoded.
    pub(crate) codec: Codec,
    /// Units of its times in a second.
    pub(crate) scale: u32,
    /// How the picture is turned.
    pub(crate) matrix: Matrix,
    /// When it begins in the take.
    pub(crate) delay: Duration,
    /// How much of its beginning is decoded and not shown, in units: what an encoder needs to begin with.
    pub(crate) skip: u64,
    /// At least one.
    pub(crate) samples: Vec<Sample>,
}

/// One picture, or one packet of sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sample {
    /// When it is decoded, in units since the track's first one.
    pub(crate) at: u64,
    /// How much later it is shown, in units.
    pub(crate) shown: i32,
    /// How long it lasts, in units.
    pub(crate) lasts: u32,
    /// It can be decoded by itself.
    pub(crate) sync: bool,
    /// Where its bytes lie in the file.
    pub(crate) bytes: Range<usize>,
}

impl Mp4Track {
    pub(crate) fn is_video(&self) -> bool {
        matches!(self.codec, Codec::Avc1(_))
    }

    /// Units as a time.
    pub(crate) fn time(&self, units: u64) -> Duration {
        Duration::from_nanos(u64::try_from(nanos(units, self.scale)).unwrap_or(u64::MAX))
    }

    /// How much of it is played.
    pub(crate) fn plays(&self) -> Duration {
        let ends = self.samples.iter().map(|sample| sample.begins() + u64::from(sample.lasts));
        self.time(ends.max().unwrap_or(0).saturating_sub(self.skip))
    }
}

impl Sample {
    /// When it is shown, in units since the first one of the track is decoded.
    fn begins(&self) -> u64 {
        self.at.saturating_add_signed(self.shown.into())
    }
}

/// Whether a file may be one, as far as its first bytes are there.
pub(crate) fn begins(file: &[u8]) -> bool {
    file.iter().zip(MAGIC).all(|(byte, expected)| expected.is_none_or(|expected| expected == *byte))
}

/// Reads a file, as long as the longest take at most.
pub(crate) fn read(file: &[u8], kind: NoteKind, longest: Duration) -> Result<Mp4Take, NotTaken> {
    let mut reader = Reader { file, kind, longest, tracks: Vec::new(), sequence: None, waiting: None, taken: 0 };
    let mut at = 0;
    while at < file.len() {
        at = reader.top(at)?;
    }
    reader.finish()
}

struct Reader<'a> {
    file: &'a [u8],
    kind: NoteKind,
    longest: Duration,
    tracks: Vec<Arriving>,
    /// The number of the last fragment.
    sequence: Option<u32>,
    /// A fragment whose bytes are to follow, and where it begins.
    waiting: Option<(usize, Moof)>,
    /// Bytes of all samples.
    taken: usize,
}

/// A track whose samples arrive.
struct Arriving {
    id: u32,
    defaults: Trex,
    /// When its first unit is played, in nanoseconds.
    offset: i128,
    /// When its first sample is decoded, in units.
    first: u64,
    /// It is as long as a take may be.
    closed: bool,
    track: Mp4Track,
}

fn not(reason: TakeReason, at: usize, expected: &'static str) -> NotTaken {
    NotTaken { reason, at, expected }
}

fn broken(at: usize, expected: &'static str) -> NotTaken {
    not(TakeReason::Failed, at, expected)
}

fn nanos(units: u64, scale: u32) -> i128 {
    i128::from(units) * 1_000_000_000 / i128::from(scale.max(1))
}

impl Reader<'_> {
    /// Reads the box that begins here, and says where the next one does.
    fn top(&mut self, at: usize) -> Result<usize, NotTaken> {
        let mut rest = self.file.get(at..).unwrap_or_default();
        let header = Header::decode(&mut rest).map_err(|_| broken(at, "the head of a box"))?;
        let body = self.file.len() - rest.len();
        let end = body.checked_add(header.size.unwrap_or(rest.len())).filter(|end| *end <= self.file.len());
        let end = end.ok_or_else(|| broken(at, "a box that ends within the file"))?;
        match (<[u8; 4]>::from(header.kind), at) {
            ([b'f', b't', b'y', b'p'], 0) => self.file_type(at, end)?,
            (_, 0) | ([b'f', b't', b'y', b'p'], _) => {
                return Err(not(TakeReason::Codec, at, "the type of the file, once, at its beginning"));
            }
            ([b'm', b'o', b'o', b'v'], _) => self.movie(at, end)?,
            ([b'm', b'o', b'o', b'f'], _) => self.fragment(at, end)?,
            ([b'm', b'd', b'a', b't'], _) => self.data(body..end)?,
            // What helps players to find things, and is of no use in a file that is made anew.
            _ => {}
        }
        Ok(end)
    }

    fn decode<T: Decode>(&self, at: usize, end: usize, most: usize, what: &'static str) -> Result<T, NotTaken> {
        if end - at > most {
            return Err(broken(at, what));
        }
        T::decode(&mut &self.file[at..end]).map_err(|error| {
            tracing::debug!(%error, at, "a box of an MP4 file");
            broken(at, what)
        })
    }

    fn file_type(&self, at: usize, end: usize) -> Result<(), NotTaken> {
        let file: Ftyp = self.decode(at, end, 1_024, "the type of the file")?;
        let known = |brand: &FourCC| BRANDS.iter().any(|known| FourCC::from(*known) == *brand);
        match known(&file.major_brand) || file.compatible_brands.iter().any(known) {
            true => Ok(()),
            false => Err(not(TakeReason::Codec, at, "an MP4 file")),
        }
    }

    fn movie(&mut self, at: usize, end: usize) -> Result<(), NotTaken> {
        if !self.tracks.is_empty() {
            return Err(broken(at, "one description of the tracks"));
        }
        let movie: Moov = self.decode(at, end, LARGEST_MOVIE, "a description of the tracks")?;
        let fragments = movie.mvex.ok_or_else(|| broken(at, "a file in fragments, as browsers record"))?;
        let defaults: HashMap<u32, Trex> = fragments.trex.into_iter().map(|trex| (trex.track_id, trex)).collect();
        for track in movie.trak {
            let id = track.tkhd.track_id;
            let defaults = defaults.get(&id).cloned().ok_or_else(|| broken(at, "a track in fragments"))?;
            let track = arriving(track, defaults, movie.mvhd.timescale, at)?;
            let twice = |other: &Arriving| other.id == id || other.track.is_video() == track.track.is_video();
            if self.tracks.iter().any(twice) {
                return Err(broken(at, "one track of sound and at most one of pictures"));
            }
            self.tracks.push(track);
        }
        Ok(())
    }

    fn fragment(&mut self, at: usize, end: usize) -> Result<(), NotTaken> {
        self.nothing_waits(at)?;
        let fragment: Moof = self.decode(at, end, LARGEST_FRAGMENT, "a description of a fragment")?;
        let number = fragment.mfhd.sequence_number;
        if self.sequence.is_some_and(|last| last >= number) {
            return Err(broken(at, "fragments in order"));
        }
        self.sequence = Some(number);
        self.waiting = Some((at, fragment));
        Ok(())
    }

    fn nothing_waits(&self, at: usize) -> Result<(), NotTaken> {
        let samples = |of: &Traf| of.trun.iter().any(|run| !run.samples.is_empty());
        match self.waiting.as_ref().is_some_and(|(_, fragment)| fragment.traf.iter().any(samples)) {
            true => Err(broken(at, "the bytes of the fragment before")),
            false => Ok(()),
        }
    }

    fn data(&mut self, body: Range<usize>) -> Result<(), NotTaken> {
        let Some((at, fragment)) = self.waiting.take() else { return Ok(()) };
        for part in &fragment.traf {
            let index = self.tracks.iter().position(|track| track.id == part.tfhd.track_id);
            let index = index.ok_or_else(|| broken(at, "fragments of tracks that are described"))?;
            self.part(index, part, at, &body)?;
        }
        Ok(())
    }

    /// Takes the samples of one track in a fragment that begins at `at`.
    fn part(&mut self, index: usize, part: &Traf, at: usize, body: &Range<usize>) -> Result<(), NotTaken> {
        let base = match part.tfhd.base_data_offset {
            Some(base) => usize::try_from(base).map_err(|_| broken(at, "samples within the fragment"))?,
            None => at,
        };
        let begins = part.tfdt.as_ref().ok_or_else(|| broken(at, "a fragment that says when it begins"))?;
        let mut time = begins.base_media_decode_time;
        let mut next = None;
        for run in &part.trun {
            let begin = match run.data_offset {
                Some(offset) => isize::try_from(offset).ok().and_then(|offset| base.checked_add_signed(offset)),
                None => next,
            };
            let mut begin = begin.ok_or_else(|| broken(at, "samples whose place is said"))?;
            for entry in &run.samples {
                let sample = self.sample(index, &part.tfhd, &entry, time, begin, body);
                let (end, lasts) = sample.map_err(|expected| broken(at, expected))?;
                (begin, time) = (end, time.saturating_add(u64::from(lasts)));
            }
            next = Some(begin);
        }
        Ok(())
    }

    /// Takes a sample, and says where the next one lies and how much later it is decoded.
    fn sample(
        &mut self,
        index: usize,
        part: &Tfhd,
        entry: &TrunEntry,
        time: u64,
        begin: usize,
        body: &Range<usize>,
    ) -> Result<(usize, u32), &'static str> {
        let Arriving { defaults, first, closed, track, .. } = &mut self.tracks[index];
        let size = entry.size.or(part.default_sample_size).unwrap_or(defaults.default_sample_size);
        let lasts = entry.duration.or(part.default_sample_duration).unwrap_or(defaults.default_sample_duration);
        let flags = entry.flags.or(part.default_sample_flags).unwrap_or(defaults.default_sample_flags);
        let end = usize::try_from(size).ok().filter(|size| *size > 0).and_then(|size| begin.checked_add(size));
        let end =
            end.filter(|end| begin >= body.start && *end <= body.end).ok_or("samples within the fragment's bytes")?;
        self.taken += end - begin;
        if self.taken > self.file.len() {
            return Err("samples that do not overlap");
        }
        if track.samples.is_empty() {
            *first = time;
        }
        let at = time.checked_sub(*first).ok_or("fragments in order")?;
        if let Some(last) = track.samples.last_mut().filter(|_| !*closed) {
            if at <= last.at {
                return Err("fragments in order");
            }
            // What lasts until the next one lasts as long as that is.
            last.lasts = u32::try_from(at - last.at).map_err(|_| "samples without such a gap")?;
        }
        *closed |= nanos(at, track.scale) >= i128::try_from(self.longest.as_nanos()).unwrap_or(i128::MAX);
        if *closed {
            return Ok((end, lasts));
        }
        let shown = i32::try_from(entry.cts.unwrap_or(0)).ok();
        let shown = shown.filter(|shown| shown.unsigned_abs() / 10 <= track.scale);
        let shown = shown.ok_or("pictures shown when they are decoded, or soon after")?;
        if track.samples.len()
            >= MOST_SAMPLES.saturating_mul(usize::try_from(self.longest.as_secs() + 1).unwrap_or(usize::MAX))
        {
            return Err("no more than a thousand samples a second");
        }
        track.samples.push(Sample { at, shown, lasts, sync: flags & NO_SYNC == 0, bytes: begin..end });
        Ok((end, lasts))
    }

    fn finish(mut self) -> Result<Mp4Take, NotTaken> {
        let end = self.file.len();
        self.nothing_waits(end)?;
        let kind = self.kind;
        self.tracks.retain(|arriving| kind == NoteKind::Video || !arriving.track.is_video());
        self.tracks.retain(|arriving| !arriving.track.samples.is_empty());
        self.tracks.sort_by_key(|arriving| !arriving.track.is_video());
        let longest = i128::try_from(self.longest.as_nanos()).unwrap_or(i128::MAX);
        // Pictures that are shown in another order than they are decoded in begin after the first of them is.
        let shown = |of: &Arriving| of.track.samples.iter().map(Sample::begins).min().unwrap_or(0);
        let begins = |of: &Arriving| of.offset + nanos(of.first.saturating_add(shown(of)), of.track.scale);
        let Some(zero) = self.tracks.iter().map(begins).min() else {
            return Err(not(TakeReason::NoMedia, end, "pictures or sound"));
        };
        for arriving in &mut self.tracks {
            // A recording that begins late begins at its beginning; one that begins before it does is cut there.
            let (begin, shown) = (begins(arriving) - zero.max(0), shown(arriving));
            let track = &mut arriving.track;
            let late = u64::try_from(begin.max(0)).ok().filter(|late| i128::from(*late) <= longest);
            track.delay = late.map(Duration::from_nanos).ok_or_else(|| broken(end, "tracks that begin together"))?;
            let cut = u64::try_from((-begin).max(0) * i128::from(track.scale) / 1_000_000_000).unwrap_or(u64::MAX);
            track.skip = shown.saturating_add(cut);
            let last = track.samples.last_mut().map_or(0, |last| {
                // The last one has no next one, and may say anything.
                last.lasts = last.lasts.min(track.scale);
                last.at + u64::from(last.lasts)
            });
            if track.skip >= last {
                return Err(broken(end, "tracks of which something is played"));
            }
            if track.is_video() {
                pictures(track, self.file)?;
            }
        }
        let tracks: Vec<_> = self.tracks.into_iter().map(|arriving| arriving.track).collect();
        let duration = tracks.iter().map(|track| track.delay + track.plays()).max().unwrap_or_default();
        Ok(Mp4Take { tracks, duration })
    }
}

/// What a track says of itself.
fn arriving(track: Trak, defaults: Trex, movie_scale: u32, at: usize) -> Result<Arriving, NotTaken> {
    let codec = |expected| not(TakeReason::Codec, at, expected);
    let media = track.mdia;
    let mut codecs = media.minf.stbl.stsd.codecs;
    let (Some(mut kind), true) = (codecs.pop(), codecs.is_empty()) else {
        return Err(codec("one codec in a track"));
    };
    let handler = <[u8; 4]>::from(media.hdlr.handler);
    match (&mut kind, &handler) {
        (Codec::Avc1(avc), b"vide") => {
            let (width, height) = (avc.visual.width, avc.visual.height);
            if ![width, height].iter().all(|side| (1..=LARGEST_SIDE).contains(side)) {
                return Err(broken(at, "pictures of 1 to 8192 pixels a side"));
            }
            if avc.avcc.sequence_parameter_sets.is_empty() || !matches!(avc.avcc.length_size, 1 | 2 | 4) {
                return Err(broken(at, "a configuration of H.264"));
            }
            // Which program made it is nobody's business.
            avc.visual.compressor = "".into();
        }
        (Codec::Mp4a(aac), b"soun") => {
            let decoder = &aac.esds.es_desc.dec_config;
            if decoder.object_type_indication != AAC || decoder.dec_specific.is_none() {
                return Err(codec("AAC, with its configuration"));
            }
        }
        (Codec::Opus(opus), b"soun") => {
            if opus.dops.channel_mapping.is_some() || !(1..=2).contains(&opus.dops.output_channel_count) {
                return Err(codec("Opus in one or two channels"));
            }
        }
        _ => return Err(codec("AAC or Opus, and H.264")),
    }
    let scale = media.mdhd.timescale;
    if !(1..=LARGEST_SCALE).contains(&scale) || movie_scale == 0 {
        return Err(broken(at, "a time scale of 1 to 10,000,000 in a second"));
    }
    let mut offset = 0;
    let mut shown = None;
    for edit in track.edts.and_then(|edits| edits.elst).map_or_else(Vec::new, |edits| edits.entries) {
        match (edit.media_time, shown) {
            (None, None) => offset += nanos(edit.segment_duration, movie_scale),
            (Some(from), None) => shown = Some(from),
            (_, Some(_)) => return Err(broken(at, "a track that is played in one piece")),
        }
    }
    offset -= nanos(shown.unwrap_or(0), scale);
    let samples = Vec::new();
    let track = Mp4Track { codec: kind, scale, matrix: track.tkhd.matrix, delay: Duration::ZERO, skip: 0, samples };
    Ok(Arriving { id: defaults.track_id, defaults, offset, first: 0, closed: false, track })
}

/// Whether each picture is made of whole units of H.264 (ISO/IEC 14496-15, 5.3.4), and the first needs no other.
fn pictures(track: &Mp4Track, file: &[u8]) -> Result<(), NotTaken> {
    let Codec::Avc1(avc) = &track.codec else { return Ok(()) };
    let length = usize::from(avc.avcc.length_size);
    for (index, sample) in track.samples.iter().enumerate() {
        let at = sample.bytes.start;
        if index == 0 && !sample.sync {
            return Err(broken(at, "a first picture that needs no other"));
        }
        let mut rest = &file[sample.bytes.clone()];
        while !rest.is_empty() {
            let whole = rest.split_at_checked(length).and_then(|(size, rest)| {
                let size = size.iter().fold(0_usize, |size, byte| (size << 8) | usize::from(*byte));
                rest.get(size..).filter(|_| size > 0)
            });
            rest = whole.ok_or_else(|| broken(at, "units of H.264 that fill their picture"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
