//! What WHIP and WHEP answer when something is wrong: a status of RFC 9725 and a problem text (RFC 9457); and the headers that let a
//! page of another origin use the resources. Tokens come in a header and never in a cookie, so any origin may ask.

use axum::Json;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::http_sdp::SdpError;
use crate::protocol::{ErrorCode, WireError};

/// When somebody who came at a bad moment may try again, in seconds: a server that is restarted is back by then.
const RETRY_AFTER: u32 = 5;

/// How long a browser may remember a preflight, in seconds; what it says hardly ever changes.
const PREFLIGHT_AGE: u32 = 86_400;

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    status: StatusCode,
    /// As in the WebSocket protocol, where the two share the reason.
    code: Option<ErrorCode>,
    detail: String,
}

impl Problem {
    /// A refusal that only HTTP knows.
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, code: None, detail: detail.into() }
    }
}

impl From<WireError> for Problem {
    fn from(error: WireError) -> Self {
        let status = match error.code {
            ErrorCode::BadRequest | ErrorCode::BadJson | ErrorCode::UnknownType | ErrorCode::UnsupportedVersion => {
                StatusCode::BAD_REQUEST
            }
            ErrorCode::Unauthorized | ErrorCode::TokenExpired => StatusCode::UNAUTHORIZED,
            ErrorCode::Forbidden => StatusCode::FORBIDDEN,
            ErrorCode::NotFound => StatusCode::NOT_FOUND,
            ErrorCode::Conflict => StatusCode::CONFLICT,
            ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorCode::BadOffer => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { status, code: Some(error.code), detail: error.message }
    }
}

impl From<SdpError> for Problem {
    fn from(error: SdpError) -> Self {
        let status = match &error {
            SdpError::Malformed(_) => StatusCode::BAD_REQUEST,
            SdpError::Unsuitable(_) => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self { status, code: Some(ErrorCode::BadOffer), detail: error.to_string() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or_default(),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Some(code) = self.code {
            body["code"] = code.as_str().into();
        }
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER));
            }
            _ => {}
        }
        response
    }
}

/// Lets pages of other origins read an answer, with the headers that WHIP and WHEP clients go by.
pub(crate) async fn open_to_all_origins(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers
        .insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Location, Link, ETag, Retry-After"));
    response
}

/// Answers a preflight, or whoever else asks what may be done here.
pub(crate) fn options(methods: &[Method], accepts: (header::HeaderName, &'static str)) -> Response {
    let names: Vec<&str> = methods.iter().map(Method::as_str).chain([Method::OPTIONS.as_str()]).collect();
    let names = names.join(", ");
    let headers = [
        (header::ALLOW, names.clone()),
        (header::ACCESS_CONTROL_ALLOW_METHODS, names),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type, If-Match".to_owned()),
        (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE.to_string()),
        (accepts.0, accepts.1.to_owned()),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}
