//! The picture a video note shows before it plays. A VP8 keyframe is what a lossy WebP holds, so nothing is decoded or encoded (RFC 9649, 2.5). Of H.264, which is not decoded here, the
//! caller's browser draws it.

use bytes::Bytes;

use crate::timeline::VideoFrame;

/// The largest poster of a caller's that is kept, in bytes: a good JPEG of 1280 × 720 pixels has half as many.
pub(crate) const LARGEST: usize = 512 * 1024;

/// An image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poster {
    /// The file.
    pub bytes: Bytes,
    /// Its media type: `image/webp`, or `image/jpeg` of a caller's.
    pub content_type: &'static str,
    /// In pixels.
    pub width: u16,
    /// In pixels.
    pub height: u16,
}

/// The media type of a poster that was made of a keyframe.
const WEBP: &str = "image/webp";

/// The media type of a poster that a caller's browser has drawn.
const JPEG: &str = "image/jpeg";

/// How the file of a JPEG ends.
const JPEG_EXTENSION: &str = ".jpg";

impl Poster {
    /// One that a caller's browser has drawn: JPEG, decoded and encoded anew by whoever hands it over.
    pub fn drawn(jpeg: Bytes, width: u16, height: u16) -> Self {
        Self { bytes: jpeg, content_type: JPEG, width, height }
    }

    /// How its file ends.
    pub(crate) fn extension(&self) -> &'static str {
        if self.content_type == JPEG { JPEG_EXTENSION } else { ".webp" }
    }
}

/// The media type of a poster that is kept under a key.
pub(crate) fn content_type(key: &str) -> &'static str {
    if key.contains(JPEG_EXTENSION) { JPEG } else { WEBP }
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
    Some(Poster { bytes: bytes.into(), content_type: WEBP, width, height })
}
