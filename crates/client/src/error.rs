//! The one error type of this crate.

use std::path::PathBuf;
use std::time::Duration;

use crate::protocol::ErrorCode;

/// What can go wrong between this client, its files and the server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The WebSocket could not be opened: nobody listens there, or what listens is no signaling endpoint.
    #[error("cannot open the WebSocket {url}: {source}")]
    Connect {
        /// The address that was tried.
        url: String,
        /// What the WebSocket layer said.
        source: Box<tokio_tungstenite::tungstenite::Error>,
    },
    /// The signaling socket is closed; see `docs/protocol.md` for the codes.
    #[error("the signaling socket is closed: {code} {reason}")]
    Closed {
        /// The WebSocket close code; 1006 where the connection broke without one.
        code: u16,
        /// The reason that came with it, or what broke.
        reason: String,
    },
    /// The server refused a request.
    #[error("{request} was refused: {code:?}: {message}")]
    Refused {
        /// The request's `type`.
        request: String,
        /// The typed code.
        code: ErrorCode,
        /// The server's words.
        message: String,
        /// How long to wait before trying again, where the server says so.
        retry_after: Option<Duration>,
    },
    /// The server did not answer a request in time.
    #[error("{request} was not answered within {after:?}")]
    Unanswered {
        /// The request's `type`.
        request: String,
        /// How long was waited.
        after: Duration,
    },
    /// The server sent something that `docs/protocol.md` does not allow.
    #[error("unexpected {what} from the server: {detail}")]
    Protocol {
        /// Which message.
        what: String,
        /// What was wrong with it.
        detail: String,
    },
    /// The peer connection refused a step.
    #[error("{doing}: {source}")]
    Media {
        /// The step.
        doing: &'static str,
        /// What the `webrtc` crate said.
        source: webrtc::error::Error,
    },
    /// The server's answer leaves out something this client was asked to publish.
    #[error("the answer has no usable codec for the {line} line (mid {mid}); expected {expected}")]
    NotNegotiated {
        /// `microphone` or `camera`.
        line: &'static str,
        /// The line's mid.
        mid: String,
        /// The codec that was offered.
        expected: &'static str,
    },
    /// Media did not come up.
    #[error("the media connection is {state} (waited {waited:?})")]
    NotConnected {
        /// The state of the peer connection.
        state: String,
        /// How long was waited.
        waited: Duration,
    },
    /// The participant publishes no such track.
    #[error("this participant publishes no {0}")]
    NothingPublished(&'static str),
    /// A file could not be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// A tone outside what 48 kHz audio can carry.
    #[error("a tone of {hz} Hz cannot be played: expected more than 0 and less than 24000 Hz")]
    Tone {
        /// The frequency that was asked for.
        hz: f64,
    },
    /// A WAV file cannot be used as a microphone.
    #[error("{path} cannot be used as a microphone: {reason}", path = path.display())]
    Wav {
        /// The file.
        path: PathBuf,
        /// What is wrong and what was expected.
        reason: String,
    },
    /// An IVF file cannot be used as a camera.
    #[error("{path} cannot be used as a camera: {reason}", path = path.display())]
    Ivf {
        /// The file.
        path: PathBuf,
        /// What is wrong and what was expected.
        reason: String,
    },
    /// The Opus codec refused.
    #[error("{doing}: {source}")]
    Opus {
        /// The step.
        doing: &'static str,
        /// What libopus said.
        source: opus::Error,
    },
}

impl ClientError {
    /// For `map_err` on a call into the `webrtc` crate.
    pub(crate) fn media(doing: &'static str) -> impl FnOnce(webrtc::error::Error) -> Self {
        move |source| Self::Media { doing, source }
    }

    /// For `map_err` on a call into libopus.
    pub(crate) fn opus(doing: &'static str) -> impl FnOnce(opus::Error) -> Self {
        move |source| Self::Opus { doing, source }
    }
}
