//! What a file of a note is, in FFmpeg's judgement: its codecs, how long it plays, and whether all of it can be decoded. FFmpeg is
//! not part of the project: where it is missing, tests do without its opinion.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::browser::{Page, program_or_skip};

/// `ffprobe` and `ffmpeg`.
pub(crate) struct Ffmpeg {
    ffprobe: PathBuf,
    ffmpeg: PathBuf,
}

/// Both programs, from the `PATH`. Without them, says so past the test runner's capture.
///
/// # Panics
/// Without them, when `RINGBACK_REQUIRE_BROWSER` is `1`.
pub(crate) fn ffmpeg_or_skip(test: &str) -> Option<Ffmpeg> {
    let (ffprobe, ffmpeg) = (program_or_skip(test, "ffprobe"), program_or_skip(test, "ffmpeg"));
    Some(Ffmpeg { ffprobe: ffprobe?, ffmpeg: ffmpeg? })
}

/// What `ffprobe` says of a file.
pub(crate) struct Probed(Value);

impl Probed {
    /// The codecs of its streams.
    pub(crate) fn codecs(&self) -> Vec<&str> {
        let streams = self.0["streams"].as_array().map(Vec::as_slice).unwrap_or_default();
        streams.iter().filter_map(|stream| stream["codec_name"].as_str()).collect()
    }

    /// How long it plays.
    pub(crate) fn seconds(&self) -> f64 {
        self.0["format"]["duration"].as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
    }
}

impl Ffmpeg {
    pub(crate) fn probe(&self, file: &Path) -> Result<Probed> {
        let arguments = ["-v", "error", "-show_format", "-show_streams", "-of", "json"];
        let output =
            Command::new(&self.ffprobe).args(arguments).arg(file).output().context("ffprobe does not start")?;
        ensure!(output.stderr.is_empty(), "ffprobe: {}", String::from_utf8_lossy(&output.stderr));
        Ok(Probed(serde_json::from_slice(&output.stdout)?))
    }

    /// Decodes all of it.
    ///
    /// # Errors
    /// With FFmpeg's own words, where anything in it is wrong.
    pub(crate) fn decode(&self, file: &Path) -> Result<()> {
        let output = Command::new(&self.ffmpeg)
            .args(["-v", "error", "-nostdin", "-i"])
            .arg(file)
            // Milliseconds, as WebM has them: at a guessed frame rate two frames of a busy camera become one instant.
            .args(["-enc_time_base:v", "1:1000", "-f", "null", "-"])
            .output()
            .context("ffmpeg does not start")?;
        if !output.status.success() || !output.stderr.is_empty() {
            bail!("ffmpeg ({}): {}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }
}

/// Fetches an address with the page's eyes, into a file.
pub(crate) async fn fetch(page: &Page, url: &str) -> Result<NamedTempFile> {
    let text: String = page
        .eval_as(&format!(
            "(async () => {{ const response = await fetch({url:?}); if (!response.ok) throw new Error(response.status); \
             const bytes = new Uint8Array(await response.arrayBuffer()); let text = ''; \
             for (const byte of bytes) text += String.fromCharCode(byte); return btoa(text); }})()"
        ))
        .await?;
    let mut file = NamedTempFile::new()?;
    file.write_all(&base64::engine::general_purpose::STANDARD.decode(text)?)?;
    file.flush()?;
    Ok(file)
}
