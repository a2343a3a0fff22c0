//! VP8 packets as pictures with times (RFC 7741). A picture of which a packet is missing is left out, and everything up to the next
//! keyframe with it, since it would be decoded on top of a picture that is not there.

use bytes::{Bytes, BytesMut};

use super::order::Placed;
use crate::vp8::{self, Descriptor};

/// One picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VideoFrame {
    /// When it is shown, in samples at 48 kHz since the take's first frame.
    pub(crate) at: i64,
    /// Its size in pixels, where it is a keyframe.
    pub(crate) keyframe: Option<(u16, u16)>,
    /// The VP8 frame.
    pub(crate) data: Bytes,
}

/// Pictures in order, from the first keyframe on.
pub(super) fn frames(packets: Vec<Placed<'_>>) -> Vec<VideoFrame> {
    let mut frames: Vec<VideoFrame> = Vec::new();
    let mut decodable = false;
    let mut next_sequence = None;
    for picture in packets.chunk_by(|a, b| a.packet.timestamp == b.packet.timestamp) {
        let (Some(first), Some(last)) = (picture.first(), picture.last()) else { continue };
        let follows = next_sequence == Some(first.sequence);
        next_sequence = Some(last.sequence + 1);
        let whole = last.sequence - first.sequence + 1 == picture.len() as i64 && last.packet.marker;
        let Some(data) = assemble(picture).filter(|_| whole) else {
            decodable = false;
            continue;
        };
        let keyframe = vp8::keyframe_size(&data);
        let at = first.at * super::AUDIO_CLOCK / super::VIDEO_CLOCK;
        let in_time = frames.last().is_none_or(|last: &VideoFrame| at > last.at);
        decodable = in_time && (keyframe.is_some() || (decodable && follows));
        if decodable {
            frames.push(VideoFrame { at, keyframe, data });
        }
    }
    frames
}

/// The payloads of a picture's packets in a row; `None` where the first does not begin it, or one is malformed.
fn assemble(picture: &[Placed<'_>]) -> Option<Bytes> {
    let mut data = BytesMut::with_capacity(picture.iter().map(|placed| placed.packet.payload.len()).sum());
    for (index, Placed { packet, .. }) in picture.iter().enumerate() {
        let Descriptor { length, begins } = Descriptor::parse(&packet.payload)?;
        if (index == 0) != begins {
            return None;
        }
        data.extend_from_slice(packet.payload.get(length..)?);
    }
    Some(data.freeze()).filter(|data| data.len() > 3)
}
