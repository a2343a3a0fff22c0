//! The picture a video note shows before it plays. A VP8 keyframe is what a lossy WebP holds, so nothing is decoded or encoded (RFC 9649, 2.5).

use bytes::Bytes;

use crate::timeline::VideoFrame;

/// A WebP image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poster {
    /// The file, `image/webp`.
    pub bytes: Bytes,
    /// In pixels.
    pub width: u16,
    /// In pixels.
    pub height: u16,
}

/// How much smaller a keyframe may be than the largest one and still be a good picture: a camera that opens, or a hand in front of it, gives a
/// picture of next to nothing, which is a small file.
const GOOD: usize = 3;

/// Makes a poster of the first good keyframe.
pub(crate) fn of(video: &[VideoFrame]) -> Option<Poster> {
    let keyframes = || video.iter().filter_map(|frame| Some((frame.keyframe?, &frame.data)));
    let largest = keyframes().map(|(_, data)| data.len()).max()?;
    let ((width, height), data) = keyframes().find(|(_, data)| data.len() * GOOD >= largest)?;
    let padding = data.len() % 2;
    let size = u32::try_from(data.len()).ok()?;
    let mut bytes = Vec::with_capacity(data.len() + 21);
    bytes.extend_from_slice(b"RIFF");
    bytes.extend_from_slice(&(12 + size + padding as u32).to_le_bytes());
    bytes.extend_from_slice(b"WEBPVP8 ");
    bytes.extend_from_slice(&size.to_le_bytes());
    bytes.extend_from_slice(data);
    bytes.extend(std::iter::repeat_n(0, padding));
    Some(Poster { bytes: bytes.into(), width, height })
}
