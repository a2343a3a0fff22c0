//! A take on disk while it is recorded: one file, only ever appended to. Each record carries its length and a checksum, so that whatever moment the
//! process is killed at, what was written before is read back and a torn tail is cut off. It is a log of what arrived and no media file: the
//! file of the note is made of it once the take is over. Not flushed by itself: the [writer](crate::take) does, five times a second.

mod record;

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::RecorderError;
use crate::packet::{NoteKind, TakeEvent};

/// What a spool file begins with, its version included.
const MAGIC: &[u8; 8] = b"rbtake\x00\x01";

/// The ending of a spool file's name.
pub(crate) const EXTENSION: &str = "take";

/// As much of a file holds its header: it says nothing but the header's fields.
const HEAD: u64 = 4_096;

/// What waits to be written is handed over at the latest when it is this long, in bytes. More costs memory for each take, less costs system calls.
const PENDING: usize = 64 * 1024;

/// Which take of which note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoolHeader {
    /// The note's id.
    pub note: String,
    /// Counts a note's takes from 1.
    pub take: u32,
    /// What it becomes.
    pub kind: NoteKind,
    /// When it began, in Unix milliseconds.
    pub began_at: u64,
}

/// Writes one take.
#[derive(Debug)]
pub struct SpoolWriter {
    path: PathBuf,
    file: File,
    /// Records that are not handed over yet.
    pending: Vec<u8>,
    /// Bytes that are.
    written: u64,
}

impl SpoolWriter {
    /// Begins a take in a folder. The file is named after the note and the take.
    ///
    /// # Errors
    /// Where the file exists already, or cannot be written.
    pub fn create(folder: &Path, header: &SpoolHeader) -> Result<Self, RecorderError> {
        let path = path(folder, &header.note, header.take);
        let failed = |source| RecorderError::Spool { doing: "creating", path: path.clone(), source };
        let file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(failed)?;
        let header = serde_json::to_vec(header).map_err(|error| failed(error.into()))?;
        let mut writer = Self { path: path.clone(), file, pending: MAGIC.to_vec(), written: 0 };
        record::frame(&header, &mut writer.pending);
        writer.flush()?;
        Ok(writer)
    }

    /// Appends an event. It is on disk after the next [`flush`](Self::flush).
    ///
    /// # Errors
    /// Where the disk is full or fails; what was flushed before stays.
    pub fn append(&mut self, event: &TakeEvent) -> Result<(), RecorderError> {
        record::encode(event, &mut self.pending);
        if self.pending.len() < PENDING { Ok(()) } else { self.flush() }
    }

    /// Hands everything to the operating system: it survives this process from then on, though not the machine's power. That would take waiting for the medium
    /// several times a second, for a file that lives a minute.
    ///
    /// # Errors
    /// Where the disk is full or fails.
    pub fn flush(&mut self) -> Result<(), RecorderError> {
        self.file.write_all(&self.pending).map_err(|source| self.failed("writing", source))?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// How many bytes are on disk.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Flushes, and says where it lies.
    ///
    /// # Errors
    /// Where the disk is full or fails.
    pub fn finish(mut self) -> Result<PathBuf, RecorderError> {
        self.flush()?;
        Ok(self.path)
    }

    fn failed(&self, doing: &'static str, source: std::io::Error) -> RecorderError {
        RecorderError::Spool { doing, path: self.path.clone(), source }
    }
}

/// Where a take lies.
pub(crate) fn path(folder: &Path, note: &str, take: u32) -> PathBuf {
    folder.join(format!("{note}.{take}.{EXTENSION}"))
}

/// Reads a take back, as far as it is whole.
///
/// # Errors
/// Where the file cannot be read, or is no take. A torn tail is no error.
pub fn read_spool(path: &Path) -> Result<(SpoolHeader, Vec<TakeEvent>), RecorderError> {
    let file = std::fs::read(path);
    let file =
        Bytes::from(file.map_err(|source| RecorderError::Spool { doing: "reading", path: path.into(), source })?);
    let (header, mut rest) = header(path, &file)?;
    let mut events = Vec::new();
    while let Some(body) = record::next(&mut rest) {
        let Some(event) = record::decode(body, |payload| file.slice_ref(payload)) else { break };
        events.push(event);
    }
    Ok((header, events))
}

/// Reads which take of which note a file holds.
///
/// # Errors
/// As [`read_spool`].
pub(crate) fn read_header(path: &Path) -> Result<SpoolHeader, RecorderError> {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(HEAD).read_to_end(&mut head));
    read.map_err(|source| RecorderError::Spool { doing: "reading", path: path.into(), source })?;
    header(path, &head).map(|(header, _)| header)
}

/// The header, and what comes after it.
fn header<'a>(path: &Path, file: &'a [u8]) -> Result<(SpoolHeader, &'a [u8]), RecorderError> {
    let not = |reason| RecorderError::NotATake { path: path.to_owned(), reason };
    let mut rest = file.strip_prefix(MAGIC.as_slice()).ok_or_else(|| not("it does not begin as one"))?;
    let header = record::next(&mut rest).ok_or_else(|| not("its header is torn"))?;
    let header = serde_json::from_slice(header).map_err(|_| not("its header is not understood"))?;
    Ok((header, rest))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::packet::{Codec, TakePacket, TrackKind};

    fn events() -> Vec<TakeEvent> {
        let packet = |index: u16| {
            TakeEvent::Packet(TakePacket {
                track: if index.is_multiple_of(2) { TrackKind::Audio } else { TrackKind::Video },
                codec: if index.is_multiple_of(2) { Codec::Opus } else { Codec::Vp8 },
                arrival: Duration::from_micros(u64::from(index) * 20_001),
                sequence: 65_530_u16.wrapping_add(index),
                timestamp: (u32::MAX - 900).wrapping_add(u32::from(index) * 960),
                marker: index.is_multiple_of(3),
                level: index.is_multiple_of(2).then_some(index as u8),
                payload: vec![index as u8; usize::from(index) * 3].into(),
            })
        };
        let arrival = Duration::from_millis(70);
        let mut events: Vec<TakeEvent> = (0..12).map(packet).collect();
        events.push(TakeEvent::SenderReport { track: TrackKind::Video, arrival, ntp: u64::MAX - 5, rtp_timestamp: 7 });
        events.push(TakeEvent::Muted { track: TrackKind::Audio, arrival, muted: true });
        events
    }

    fn header() -> SpoolHeader {
        SpoolHeader { note: "n_1".to_owned(), take: 2, kind: NoteKind::Video, began_at: 1_700_000_000_000 }
    }

    #[test]
    fn what_was_appended_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = SpoolWriter::create(folder.path(), &header()).unwrap();
        events().iter().for_each(|event| writer.append(event).unwrap());
        let path = writer.finish().unwrap();
        assert_eq!(read_spool(&path).unwrap(), (header(), events()));
        assert!(SpoolWriter::create(folder.path(), &header()).is_err(), "a take is never written over");
    }

    #[test]
    fn cut_at_any_byte_it_reads_as_what_was_whole_before_the_cut() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = SpoolWriter::create(folder.path(), &header()).unwrap();
        events().iter().for_each(|event| writer.append(event).unwrap());
        let path = writer.finish().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let torn = folder.path().join("torn.take");
        let mut most = 0;
        for length in 0..bytes.len() {
            std::fs::write(&torn, &bytes[..length]).unwrap();
            match read_spool(&torn) {
                Ok((read, prefix)) => {
                    assert_eq!(read, header());
                    assert_eq!(prefix, events()[..prefix.len()]);
                    assert!(prefix.len() >= most, "a longer file holds no less");
                    most = prefix.len();
                }
                Err(_) => assert_eq!(most, 0, "once the header is there it is a take"),
            }
        }
        assert_eq!(most, events().len() - 1);
    }

    #[test]
    fn a_flipped_bit_ends_it_there() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = SpoolWriter::create(folder.path(), &header()).unwrap();
        events().iter().for_each(|event| writer.append(event).unwrap());
        let path = writer.finish().unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let (_, prefix) = read_spool(&path).unwrap();
        assert!(!prefix.is_empty() && prefix.len() < events().len());
        assert_eq!(prefix, events()[..prefix.len()]);
    }
}
