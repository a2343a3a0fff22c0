//! The HTTP face: an axum router to nest wherever the embedder likes.

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};

use crate::http_participant::MAX_BODY;
use crate::http_problem::open_to_all_origins;
use crate::protocol::{ErrorCode, MAX_FRAME, WireError};
use crate::serve::WithCall;
use crate::session;
use crate::signaling::Signaling;
use crate::token::{Claims, TokenVerifier};
use crate::{whep, whip};

pub(crate) fn router(signaling: Signaling) -> Router {
    let by_http = whip::router()
        .merge(whep::router())
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(map_response(open_to_all_origins));
    Router::new()
        .route("/v1/ws", get(open_socket))
        .route("/v1/calls/{id}", get(call_status))
        .merge(by_http)
        .with_state(signaling)
}

async fn open_socket(State(signaling): State<Signaling>, upgrade: WebSocketUpgrade) -> Response {
    let Some(place) = signaling.take_place() else {
        return refuse(&WireError::new(ErrorCode::Unavailable, "shutting down, or too many sessions"));
    };
    // Somewhat more than allowed is read, so that it can be answered instead of the socket being torn down.
    let upgrade = upgrade.max_message_size(2 * MAX_FRAME).max_frame_size(2 * MAX_FRAME);
    upgrade.on_upgrade(move |socket| async move {
        session::run(signaling.services().clone(), socket, signaling.stopping()).await;
        drop(place);
    })
}

async fn call_status(State(signaling): State<Signaling>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    match authorized_status(&signaling, id, &headers).await {
        Ok(status) => Json(status).into_response(),
        Err(error) => refuse(&error),
    }
}

async fn authorized_status(signaling: &Signaling, id: String, headers: &HeaderMap) -> Result<WithCall, WireError> {
    let claims = signaling.authenticate(headers)?;
    let call = signaling.services().hub.ask(move |hub, now| hub.call_status(now, &claims.sub, &id)).await??;
    Ok(WithCall { call })
}

/// Who a request is from, by its `Authorization: Bearer`.
pub(crate) fn authenticate(verifier: &TokenVerifier, headers: &HeaderMap) -> Result<Claims, WireError> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token =
        bearer.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let (_, token) =
        token.ok_or_else(|| WireError::new(ErrorCode::Unauthorized, "Authorization: Bearer <token> is required"))?;
    verifier.verify(token.trim())
}

fn refuse(error: &WireError) -> Response {
    let status = match error.code {
        ErrorCode::Unauthorized | ErrorCode::TokenExpired => StatusCode::UNAUTHORIZED,
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, Json(serde_json::json!({ "error": error }))).into_response()
}
