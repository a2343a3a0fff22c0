//! Answers to requests, and the errors in them.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Why a request was refused, for programs. The list may grow; treat an unknown code as `internal`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorCode {
    /// A field is missing or out of range; the message names it.
    BadRequest,
    /// The frame is not a JSON object in a text frame.
    BadJson,
    /// There is no request of that type.
    UnknownType,
    /// The server does not speak that protocol version.
    UnsupportedVersion,
    /// The token is invalid.
    Unauthorized,
    /// The token has expired.
    TokenExpired,
    /// The user may not do this.
    Forbidden,
    /// There is no such call, room, participant or user (as far as this user may know).
    NotFound,
    /// Not possible in the present state.
    Conflict,
    /// Too many requests; try again after `retry_after_ms`.
    RateLimited,
    /// The frame is larger than [`MAX_FRAME`](super::MAX_FRAME).
    TooLarge,
    /// The SDP offer cannot be answered; the message names the m-line and what was expected.
    BadOffer,
    /// Shutting down, full, or a part that is needed does not respond.
    Unavailable,
    /// A fault of the server; its log says more.
    Internal,
}

impl ErrorCode {
    /// The code as it stands on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::BadJson => "bad_json",
            Self::UnknownType => "unknown_type",
            Self::UnsupportedVersion => "unsupported_version",
            Self::Unauthorized => "unauthorized",
            Self::TokenExpired => "token_expired",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::RateLimited => "rate_limited",
            Self::TooLarge => "too_large",
            Self::BadOffer => "bad_offer",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The `error` of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct WireError {
    /// For programs.
    pub code: ErrorCode,
    /// For people: what is wrong, where, and what was expected.
    pub message: String,
    /// With [`ErrorCode::RateLimited`]: when to try again, in milliseconds from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl WireError {
    /// An error with a message for people.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after_ms: None }
    }

    /// [`ErrorCode::RateLimited`], to be tried again after `wait`.
    pub fn rate_limited(message: impl Into<String>, wait: Duration) -> Self {
        // Rounded up, so that who waits exactly that long is let through.
        let retry_after_ms = u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        Self { code: ErrorCode::RateLimited, message: message.into(), retry_after_ms: Some(retry_after_ms) }
    }
}

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The `id` of the request; 0 where it had no usable one.
    pub re: u64,
    /// Either `ok` or `error`.
    #[serde(flatten)]
    pub result: AnswerResult,
}

/// The body of an [`Answer`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerResult {
    /// The request was done.
    Ok(serde_json::Value),
    /// The request was refused and changed nothing.
    Error(WireError),
}

impl Answer {
    /// The answer to request `re`, as the text of its frame.
    pub fn frame<T: Serialize>(re: u64, result: &Result<T, WireError>) -> String {
        #[derive(Serialize)]
        struct Frame<'a, T> {
            re: u64,
            #[serde(skip_serializing_if = "Option::is_none")]
            ok: Option<&'a T>,
            #[serde(skip_serializing_if = "Option::is_none")]
            error: Option<&'a WireError>,
        }
        let frame = Frame { re, ok: result.as_ref().ok(), error: result.as_ref().err() };
        serde_json::to_string(&frame).unwrap_or_else(|error| {
            tracing::error!(%error, re, "an answer cannot be written as JSON");
            format!(r#"{{"re":{re},"error":{{"code":"internal","message":"the answer cannot be written as JSON"}}}}"#)
        })
    }
}
