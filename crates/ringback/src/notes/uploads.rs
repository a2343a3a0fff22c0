//! Takes that arrive over HTTP, from callers whose media is not connected: the core of tus 1.0.0 (<https://tus.io/protocols/resumable-upload>) with its extensions *creation* and
//! *creation-defer-length*. A `POST` makes the note wait for a take, `PATCH`es carry it, `HEAD` says how far it has come; a socket that is cut costs nothing of what has arrived.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{head, post, put};
use axum::{Json, Router};
use futures_util::StreamExt;
use ringback_recorder::{Poster, RecorderError, UploadState};
use ringback_signaling::protocol::{ErrorCode, WireError};
use serde_json::json;

use super::http::{Desk, Refusal};
use super::wire;

/// The version of tus that is spoken.
const VERSION: &str = "1.0.0";

/// The most bytes of a poster as it is sent.
const LARGEST_POSTER: usize = 512 * 1024;

/// The most pixels of a poster's side: as large as any camera's picture is shown.
const LARGEST_SIDE: u32 = 1_920;

const RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
const OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const LENGTH: HeaderName = HeaderName::from_static("upload-length");
const DEFER_LENGTH: HeaderName = HeaderName::from_static("upload-defer-length");

/// A client that sends nothing for so long is gone, and comes back if it likes. Longer keeps sockets of those who are, shorter cuts off who is slow.
const SILENCE: Duration = Duration::from_secs(60);

/// The routes of takes that arrive.
pub(super) fn router() -> Router<Desk> {
    Router::new()
        .route("/v1/notes/{note}/takes", post(create).options(options))
        .route("/v1/notes/{note}/takes/{take}", head(state).patch(append).options(options))
        .route("/v1/notes/{note}/takes/{take}/poster", put(poster).layer(DefaultBodyLimit::max(LARGEST_POSTER)))
}

/// What is answered where something is wrong.
enum Fault {
    /// As the other routes do.
    Plain(Refusal),
    /// With how far the upload has come.
    At(StatusCode, u64, &'static str),
    /// With the version that is expected.
    Version,
    Status(StatusCode, String),
}

impl From<WireError> for Fault {
    fn from(error: WireError) -> Self {
        Self::Plain(error.into())
    }
}

impl From<RecorderError> for Fault {
    fn from(error: RecorderError) -> Self {
        match error {
            RecorderError::Offset(offset) => Self::At(StatusCode::CONFLICT, offset, "the upload goes on elsewhere"),
            RecorderError::TooLarge(_) => Self::Status(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
            RecorderError::NotARecording => Self::Status(StatusCode::UNSUPPORTED_MEDIA_TYPE, error.to_string()),
            error => wire::refused(error).into(),
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let body = |message: &str| Json(json!({ "error": { "code": ErrorCode::BadRequest, "message": message } }));
        let mut response = match self {
            Self::Plain(refusal) => refusal.into_response(),
            Self::At(status, offset, message) => {
                (status, [(OFFSET, offset.to_string())], body(message)).into_response()
            }
            Self::Version => {
                let message = "the header Tus-Resumable: 1.0.0 is required";
                let version = [(HeaderName::from_static("tus-version"), VERSION)];
                (StatusCode::PRECONDITION_FAILED, version, body(message)).into_response()
            }
            Self::Status(status, message) => (status, body(&message)).into_response(),
        };
        response.headers_mut().insert(RESUMABLE, HeaderValue::from_static(VERSION));
        response
    }
}

async fn options() -> impl IntoResponse {
    let version = (HeaderName::from_static("tus-version"), VERSION);
    let extensions = (HeaderName::from_static("tus-extension"), "creation,creation-defer-length");
    (StatusCode::NO_CONTENT, [(RESUMABLE, VERSION), version, extensions])
}

async fn create(State(desk): State<Desk>, Path(note): Path<String>, headers: HeaderMap) -> Result<Response, Fault> {
    let user = desk.signaling.authenticate(&headers)?.sub;
    check_version(&headers)?;
    let length = number(&headers, &LENGTH)?;
    if length.is_none() && !headers.contains_key(DEFER_LENGTH) {
        return Err(bad("Upload-Length, or Upload-Defer-Length: 1 is required").into());
    }
    let state = desk.notes.recorder().begin_upload(&note, &user, length).await?;
    // Relative to the request's own address, wherever the router is nested.
    let location = (header::LOCATION, format!("takes/{}", state.take));
    Ok((StatusCode::CREATED, [location], described(state)).into_response())
}

async fn state(
    State(desk): State<Desk>,
    Path((note, take)): Path<(String, u32)>,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let user = desk.signaling.authenticate(&headers)?.sub;
    check_version(&headers)?;
    let state = desk.notes.recorder().upload(&note, &user, take).await?;
    Ok((StatusCode::OK, [(header::CACHE_CONTROL, "no-store")], described(state)).into_response())
}

async fn append(
    State(desk): State<Desk>,
    Path((note, take)): Path<(String, u32)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    let user = desk.signaling.authenticate(&headers)?.sub;
    check_version(&headers)?;
    if headers.get(header::CONTENT_TYPE).is_none_or(|kind| kind != "application/offset+octet-stream") {
        let message = "Content-Type: application/offset+octet-stream is required".to_owned();
        return Err(Fault::Status(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let offset = number(&headers, &OFFSET)?.ok_or_else(|| bad("Upload-Offset is required"))?;
    let recorder = desk.notes.recorder();
    let mut state = recorder.upload(&note, &user, take).await?;
    if state.offset != offset {
        return Err(RecorderError::Offset(state.offset).into());
    }
    if let Some(length) = number(&headers, &LENGTH)? {
        state = recorder.upload_length(&note, &user, take, length).await?;
    }
    let mut pieces = body.into_data_stream();
    loop {
        match tokio::time::timeout(SILENCE, pieces.next()).await {
            // What has come stays, and is gone on with.
            Err(_) => {
                return Err(Fault::At(StatusCode::REQUEST_TIMEOUT, state.offset, "nothing has come for a minute"));
            }
            Ok(Some(Err(_))) => {
                return Err(Fault::At(StatusCode::BAD_REQUEST, state.offset, "the request was cut off"));
            }
            // The offset tells if another request has gone on with it meanwhile.
            Ok(Some(Ok(piece))) if piece.is_empty() => {}
            Ok(Some(Ok(piece))) => state = recorder.append_upload(&note, &user, take, state.offset, piece).await?,
            Ok(None) => break,
        }
    }
    // Whole without another byte: a length that came late, or after a restart.
    if state.length == Some(state.offset) && state.offset == offset {
        state = recorder.append_upload(&note, &user, take, offset, Default::default()).await?;
    }
    Ok((StatusCode::NO_CONTENT, described(state)).into_response())
}

/// A picture of the take, drawn by the browser that records it: what is seen of it is decoded and written anew, and becomes the poster where none can be made here.
async fn poster(
    State(desk): State<Desk>,
    Path((note, take)): Path<(String, u32)>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Fault> {
    let user = desk.signaling.authenticate(&headers)?.sub;
    let body = body.map_err(|rejection| Fault::Status(rejection.status(), rejection.body_text()))?;
    // Nothing is decoded for whoever records nothing.
    desk.notes.recorder().upload(&note, &user, take).await?;
    let cleaned = tokio::task::spawn_blocking(move || ringback_imagine::clean(&body, LARGEST_SIDE)).await;
    let cleaned = cleaned.map_err(|_| WireError::new(ErrorCode::Internal, "the picture could not be read"))?;
    let cleaned = cleaned.map_err(|error| bad(&error.to_string()))?;
    let side = |pixels: u32| u16::try_from(pixels).unwrap_or(u16::MAX);
    if cleaned.content_type != "image/jpeg" {
        return Err(bad("a poster is opaque").into());
    }
    let poster = Poster::drawn(cleaned.bytes, side(cleaned.width), side(cleaned.height));
    desk.notes.recorder().put_poster(&note, &user, take, poster).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn check_version(headers: &HeaderMap) -> Result<(), Fault> {
    if headers.get(RESUMABLE).is_some_and(|version| version == VERSION) { Ok(()) } else { Err(Fault::Version) }
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Result<Option<u64>, WireError> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| bad(&format!("{name}: a number of bytes is required")))
}

fn bad(message: &str) -> WireError {
    WireError::new(ErrorCode::BadRequest, message)
}

/// How far it has come, as headers.
fn described(state: UploadState) -> HeaderMap {
    let mut headers = HeaderMap::from_iter([
        (RESUMABLE, HeaderValue::from_static(VERSION)),
        (OFFSET, state.offset.into()),
        (HeaderName::from_static("tus-max-size"), state.most.into()),
    ]);
    match state.length {
        Some(length) => headers.insert(LENGTH, length.into()),
        None => headers.insert(DEFER_LENGTH, HeaderValue::from_static("1")),
    };
    headers
}
