//! From bytes that came from outside to a picture that is served: decoded within limits of size and memory, and written anew, so that nothing but pixels is left of them: no
//! metadata, no second file behind the first, no animation. What is opaque becomes JPEG, what is not PNG.

use std::io::Cursor;

use bytes::Bytes;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use crate::error::ImagineError;
use crate::provider::FailReason;

/// JPEG's quality, of 100: above it files grow faster than anybody sees.
const QUALITY: u8 = 90;

/// The most memory that decoding takes, in bytes: 8192 × 8192 pixels of 4 bytes, and what the decoder needs besides.
const MEMORY: u64 = 384 * 1024 * 1024;

/// A picture that may be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleaned {
    /// The file.
    pub bytes: Bytes,
    /// Its media type.
    pub content_type: &'static str,
    /// How such files end.
    pub extension: &'static str,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

/// Decodes PNG, JPEG or WebP, at most `max_side` pixels on each side, and encodes what is seen. Takes a core for some 100 ms: not to be called on the runtime's own threads.
///
/// # Errors
/// [`ImagineError::Picture`] where it is none of these, broken, or too large.
pub fn clean(bytes: &[u8], max_side: u32) -> Result<Cleaned, ImagineError> {
    let refused = |detail: String| ImagineError::Picture { reason: FailReason::Picture, detail };
    let broken = |error: image::ImageError| refused(error.to_string());
    let format = image::guess_format(bytes).map_err(broken)?;
    if !matches!(format, ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::WebP) {
        return Err(refused(format!("{format:?} is not taken")));
    }
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height, limits.max_alloc) =
        (Some(max_side), Some(max_side), Some(MEMORY));
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder().map_err(broken)?;
    let (width, height) = decoder.dimensions();
    // Not every decoder looks at these by itself.
    limits.check_dimensions(width, height).map_err(broken)?;
    limits.reserve(decoder.total_bytes()).map_err(broken)?;
    decoder.set_limits(limits).map_err(broken)?;
    // What the metadata said of it is applied, since it is dropped.
    let orientation = decoder.orientation().map_err(broken)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(broken)?;
    picture.apply_orientation(orientation);
    let transparent = picture.color().has_alpha() && picture.to_rgba8().pixels().any(|pixel| pixel.0[3] != 255);
    let (width, height) = (picture.width(), picture.height());
    let mut file = Vec::new();
    let (content_type, extension) = if transparent {
        let rgba = DynamicImage::ImageRgba8(picture.into_rgba8());
        rgba.write_with_encoder(PngEncoder::new(&mut file)).map_err(broken)?;
        ("image/png", "png")
    } else {
        let rgb = DynamicImage::ImageRgb8(picture.into_rgb8());
        rgb.write_with_encoder(JpegEncoder::new_with_quality(&mut file, QUALITY)).map_err(broken)?;
        ("image/jpeg", "jpg")
    };
    Ok(Cleaned { bytes: file.into(), content_type, extension, width, height })
}
