//! Opus packets into an Ogg file (RFC 3533, RFC 7845). The granule position follows the media clock: gaps are filled with packets of no
//! content, which a decoder conceals and which cost a byte each, so that what comes after a pause comes at its time.

use std::borrow::Cow;

use ogg::writing::{PacketWriteEndInfo, PacketWriter};

use crate::error::RecorderError;
use crate::timeline::AudioFrame;

/// The most samples of a page: 1 s, as RFC 7845 asks for where somebody may listen while the file arrives.
const PAGE: i64 = 48_000;

/// Serial numbers tell the streams of one file apart, and there is one.
const SERIAL: u32 = 1;

/// Who wrote it, in the comment header.
const VENDOR: &[u8] = b"ringback";

/// Packets without content, one for each length that fills gaps: samples at 48 kHz and table of contents (RFC 6716, 3.1: CELT, fullband, one frame).
const SILENCE: [(i64, u8); 4] = [(960, 31 << 3), (480, 30 << 3), (240, 29 << 3), (120, 28 << 3)];

/// What is kept of a voice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Voice<'a> {
    /// The packets, in order, not overlapping.
    pub(crate) frames: &'a [AudioFrame],
    /// Samples at the beginning that a player decodes and does not play.
    pub(crate) pre_skip: u16,
}

/// The identification header (RFC 7845, 5.1); WebM's `CodecPrivate` is the same.
pub(crate) fn opus_head(stereo: bool, pre_skip: u16) -> Vec<u8> {
    let mut head = b"OpusHead\x01".to_vec();
    head.push(if stereo { 2 } else { 1 });
    head.extend_from_slice(&pre_skip.to_le_bytes());
    head.extend_from_slice(&48_000_u32.to_le_bytes());
    // No gain, mapping family 0.
    head.extend_from_slice(&[0, 0, 0]);
    head
}

/// The packets that fill a gap of that many samples; what is shorter than the shortest packet (2.5 ms) stays open.
pub(crate) fn filling(gap: i64) -> impl Iterator<Item = (i64, [u8; 1])> {
    let mut left = gap;
    std::iter::from_fn(move || {
        let (samples, toc) = SILENCE.into_iter().find(|(samples, _)| *samples <= left)?;
        left -= samples;
        Some((samples, [toc]))
    })
}

/// Writes a voice as a whole Ogg file.
pub(crate) fn write(voice: Voice<'_>) -> Result<Vec<u8>, RecorderError> {
    let failed = |error: std::io::Error| RecorderError::Container { container: "Ogg", reason: error.to_string() };
    let first = voice.frames.first().ok_or(RecorderError::Take("it holds no sound"))?.at;
    let mut packets: Vec<(i64, Cow<'_, [u8]>)> = Vec::with_capacity(voice.frames.len());
    let mut end = first;
    for frame in voice.frames {
        for (samples, silence) in filling(frame.at - end) {
            end += samples;
            packets.push((end, Cow::Owned(silence.to_vec())));
        }
        end = frame.end();
        packets.push((end, Cow::Borrowed(&frame.data)));
    }

    let mut file = Vec::new();
    let mut writer = PacketWriter::new(&mut file);
    let stereo = voice.frames.iter().any(AudioFrame::is_stereo);
    let head = opus_head(stereo, voice.pre_skip);
    writer.write_packet(head, SERIAL, PacketWriteEndInfo::EndPage, 0).map_err(failed)?;
    let mut tags = b"OpusTags".to_vec();
    tags.extend_from_slice(&(VENDOR.len() as u32).to_le_bytes());
    tags.extend_from_slice(VENDOR);
    tags.extend_from_slice(&[0; 4]);
    writer.write_packet(tags, SERIAL, PacketWriteEndInfo::EndPage, 0).map_err(failed)?;

    let last = packets.len().saturating_sub(1);
    let mut page = first;
    for (index, (end, packet)) in packets.into_iter().enumerate() {
        let info = if index == last {
            PacketWriteEndInfo::EndStream
        } else if end - page >= PAGE - 5_760 {
            page = end;
            PacketWriteEndInfo::EndPage
        } else {
            PacketWriteEndInfo::NormalPacket
        };
        // What a decoder has put out by the end of this packet.
        let granule = u64::try_from(end - first).unwrap_or(0);
        writer.write_packet(packet, SERIAL, info, granule).map_err(failed)?;
    }
    drop(writer);
    Ok(file)
}
