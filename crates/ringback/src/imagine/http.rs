//! Images over HTTP: asking for one in a thread, looking at it, giving it up, asking again, its file, and the route that providers call back. All take a bearer token but the last, which is
//! signed, and the file, which takes a signed link too, since `<img>` sends no headers.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use ringback_imagine::{ImagineError, NewImage, Size};
use ringback_recorder::MediaPart;
use ringback_signaling::Signaling;
use ringback_signaling::protocol::{ErrorCode, WireError};
use ringback_signaling::token::Claims;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ImageDesk, none, wire};
use crate::notes::Refusal;
use crate::reacting;

#[derive(Clone)]
struct Desk {
    images: Option<Arc<ImageDesk>>,
    signaling: Arc<Signaling>,
}

impl Desk {
    fn images(&self) -> Result<&ImageDesk, WireError> {
        self.images.as_deref().ok_or_else(none)
    }
}

/// The routes `v1/images/…` and `v1/threads/{thread}/images`. Without a desk they say that there are no images here.
pub(crate) fn router(images: Option<Arc<ImageDesk>>, signaling: Arc<Signaling>) -> Router {
    Router::new()
        .route("/v1/images", get(offers))
        .route("/v1/threads/{thread}/images", post(ask))
        .route("/v1/images/{image}", get(image).delete(give_up))
        .route("/v1/images/{image}/again", post(again))
        .route("/v1/images/{image}/file", get(file))
        .route("/v1/images/{image}/reaction", put(react).delete(unreact))
        .route("/v1/images/webhooks/{provider}", post(webhook))
        .with_state(Desk { images, signaling })
}

/// What a client may ask for.
async fn offers(State(desk): State<Desk>, headers: HeaderMap) -> Result<Json<Value>, Refusal> {
    desk.signaling.authenticate(&headers)?;
    let offers = desk.images.as_ref().map(|images| images.imagine().offers()).unwrap_or_default();
    Ok(Json(json!({ "offers": offers })))
}

#[derive(Deserialize)]
struct Ask {
    prompt: String,
    key: String,
    #[serde(default)]
    provider: Option<String>,
    #[serde(default)]
    size: Option<Size>,
}

async fn ask(
    State(desk): State<Desk>,
    Path(thread): Path<String>,
    headers: HeaderMap,
    body: Result<Json<Ask>, JsonRejection>,
) -> Result<Response, Refusal> {
    let Claims { sub: user, name, .. } = desk.signaling.authenticate(&headers)?;
    let images = desk.images()?;
    let Ask { prompt, key, provider, size } = read(body)?;
    let user_name = name.unwrap_or_else(|| user.clone());
    let viewers = Vec::new();
    let new = NewImage { thread, user: user.clone(), user_name, viewers, key, prompt, provider, size };
    let image = images.ask(&desk.signaling, new).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "image": images.shown(image, &user) }))).into_response())
}

async fn image(State(desk): State<Desk>, Path(id): Path<String>, headers: HeaderMap) -> Result<Json<Value>, Refusal> {
    let user = desk.signaling.authenticate(&headers)?.sub;
    let images = desk.images()?;
    let image = images.imagine().image(&id, &user).await.map_err(wire::refused)?;
    Ok(Json(json!({ "image": images.shown(image, &user) })))
}

/// Cancels an image that is under way, and takes back one that is over.
async fn give_up(State(desk): State<Desk>, Path(id): Path<String>, headers: HeaderMap) -> Result<StatusCode, Refusal> {
    let user = desk.signaling.authenticate(&headers)?.sub;
    let imagine = desk.images()?.imagine();
    if imagine.image(&id, &user).await.map_err(wire::refused)?.state.is_final() {
        imagine.delete(&id, &user).await.map_err(wire::refused)?;
        return Ok(StatusCode::NO_CONTENT);
    }
    imagine.cancel(&id, &user).await.map_err(wire::refused)?;
    Ok(StatusCode::ACCEPTED)
}

#[derive(Deserialize)]
struct Again {
    key: String,
    #[serde(default)]
    set: Option<String>,
}

async fn again(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Json<Again>, JsonRejection>,
) -> Result<Response, Refusal> {
    let Claims { sub: user, name, .. } = desk.signaling.authenticate(&headers)?;
    let images = desk.images()?;
    let name = name.unwrap_or_else(|| user.clone());
    let Again { key, set } = read(body)?;
    let again = images.imagine().again(&id, &user, &name, &key, set.as_deref()).await;
    let image = again.map_err(wire::refused)?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "image": images.shown(image, &user) }))).into_response())
}

async fn react(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let user = reacting::user(desk.signaling.authenticate(&headers)?);
    let emoji = reacting::emoji(&body)?;
    Ok(Json(json!({ "image": desk.images()?.react(&id, &user, Some(&emoji)).await? })))
}

async fn unreact(State(desk): State<Desk>, Path(id): Path<String>, headers: HeaderMap) -> Result<Json<Value>, Refusal> {
    let user = reacting::user(desk.signaling.authenticate(&headers)?);
    Ok(Json(json!({ "image": desk.images()?.react(&id, &user, None).await? })))
}

/// The query of a signed link.
#[derive(Deserialize)]
struct Link {
    user: Option<String>,
    until: Option<u64>,
    signature: Option<String>,
}

async fn file(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    Query(link): Query<Link>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let images = desk.images()?;
    let user = match (&link.user, link.until, &link.signature) {
        (Some(user), Some(until), Some(signature)) => {
            let forged = || WireError::new(ErrorCode::Unauthorized, "the link has expired, or is not one of ours");
            let checked = images.recorder.check_link(&id, MediaPart::File, user, until, signature);
            checked.ok_or_else(forged)?
        }
        _ => desk.signaling.authenticate(&headers)?.sub,
    };
    // A posted picture never changes.
    let tag = format!("\"{id}\"");
    let known = headers.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    let (bytes, content_type) = images.imagine().picture(&id, &user).await.map_err(wire::refused)?;
    if known.is_some_and(|known| known == "*" || known.contains(&tag)) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let fixed = |text: &'static str| HeaderValue::from_static(text);
    let kind = HeaderValue::from_str(&content_type).unwrap_or_else(|_| fixed("application/octet-stream"));
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, fixed("private, max-age=86400, immutable")),
        (header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff")),
        (header::CONTENT_SECURITY_POLICY, fixed("default-src 'none'; sandbox")),
    ];
    Ok((headers, [(header::ETAG, tag)], bytes).into_response())
}

/// A provider calls back. It is told nothing but that it was heard.
async fn webhook(
    State(desk): State<Desk>,
    Path(provider): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Refusal> {
    match desk.images()?.imagine().webhook(&provider, &headers, &body).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(error) => {
            if let ImagineError::Webhook(_) = error {
                tracing::warn!(%error, provider, "a webhook about an image was refused");
            }
            Err(Refusal(wire::refused(error)))
        }
    }
}

fn read<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, WireError> {
    body.map(|Json(body)| body).map_err(|rejection| WireError::new(ErrorCode::BadRequest, rejection.body_text()))
}
