//! Threads, inbox and media over HTTP. Listings take a bearer token; media takes one, or a signed link, since `<audio>` and `<video>` send no headers.
//! Ranges are RFC 9110's, one at a time.

use std::ops::Range;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use futures_util::stream;
use http_range_header::parse_range_header;
use ringback_recorder::{Cursor, Media, MediaPart};
use ringback_signaling::Signaling;
use ringback_signaling::protocol::{ErrorCode, WireError};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{NoteDesk, uploads, wire};
use crate::imagine::ImageDesk;
use crate::reacting;

/// How much of a file is read from the store of bytes at a time.
const PIECE: u64 = 256 * 1024;

/// The most rows of one page.
const MOST: u32 = 100;

/// The rows of a page where the client does not say.
const USUAL: u32 = 30;

#[derive(Clone)]
pub(super) struct Desk {
    pub(super) notes: Arc<NoteDesk>,
    pub(super) images: Option<Arc<ImageDesk>>,
    pub(super) signaling: Arc<Signaling>,
}

/// The routes `v1/threads/{thread}`, `v1/inbox` and `v1/notes/…`.
pub(crate) fn router(notes: Arc<NoteDesk>, images: Option<Arc<ImageDesk>>, signaling: Arc<Signaling>) -> Router {
    Router::new()
        .route("/v1/threads/{thread}", get(thread))
        .route("/v1/inbox", get(inbox))
        .route("/v1/notes/{note}", get(note))
        .route("/v1/notes/{note}/reaction", put(react).delete(unreact))
        .route("/v1/notes/{note}/media", get(file))
        .route("/v1/notes/{note}/poster", get(poster))
        .merge(uploads::router())
        .with_state(Desk { notes, images, signaling })
}

/// An error as a response.
pub(crate) struct Refusal(pub(crate) WireError);

impl From<WireError> for Refusal {
    fn from(error: WireError) -> Self {
        Self(error)
    }
}

impl From<ringback_recorder::RecorderError> for Refusal {
    fn from(error: ringback_recorder::RecorderError) -> Self {
        Self(wire::refused(error))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self.0.code {
            ErrorCode::BadRequest => StatusCode::BAD_REQUEST,
            ErrorCode::Unauthorized | ErrorCode::TokenExpired => StatusCode::UNAUTHORIZED,
            ErrorCode::Forbidden => StatusCode::FORBIDDEN,
            ErrorCode::NotFound => StatusCode::NOT_FOUND,
            ErrorCode::Conflict => StatusCode::CONFLICT,
            ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(json!({ "error": self.0 }))).into_response()
    }
}

#[derive(Deserialize)]
struct Paging {
    before: Option<String>,
    limit: Option<u32>,
    #[serde(default)]
    unheard: bool,
}

impl Paging {
    fn cursor(&self) -> Result<Option<Cursor>, Refusal> {
        let parse = |text: &String| {
            let message = "before: the `next` of a former page is required";
            Cursor::parse(text).ok_or_else(|| Refusal(WireError::new(ErrorCode::BadRequest, message)))
        };
        self.before.as_ref().map(parse).transpose()
    }

    fn limit(&self) -> u32 {
        self.limit.unwrap_or(USUAL).clamp(1, MOST)
    }
}

async fn thread(
    State(desk): State<Desk>,
    Path(thread): Path<String>,
    Query(paging): Query<Paging>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let user = desk.signaling.authenticate(&headers)?.sub;
    let before = paging.cursor()?;
    let limit = paging.limit();
    let page = desk.notes.recorder().thread(&user, &thread, before.as_ref(), limit).await?;
    let calls = page.rows.into_iter().map(|(call, note)| {
        let entry = json!({
            "call": call.details.get("call"), "outcome": call.outcome, "placed_at": call.placed_at,
            "ended_at": call.ended_at, "talk_ms": call.talk_ms,
            "note": note.map(|note| wire::value(&desk.notes.shown(note, &user))),
        });
        (call.placed_at, call.id, entry)
    });
    let mut entries: Vec<_> = calls.collect();
    if let Some(images) = &desk.images {
        let before = before.as_ref().map(|cursor| (cursor.at, cursor.id.as_str()));
        entries.extend(images.thread(&user, &thread, before, limit + 1).await?);
    }
    // Of each kind there are as many as fit on a page, so that what is left out is older than all that is shown.
    entries.sort_unstable_by(|(at, id, _), (other, other_id, _)| (other, other_id).cmp(&(at, id)));
    let more = page.next.is_some() || entries.len() > limit as usize;
    entries.truncate(limit as usize);
    let next = entries.last().filter(|_| more).map(|(at, id, _)| Cursor { at: *at, id: id.clone() }.encode());
    let entries: Vec<_> = entries.into_iter().map(|(_, _, entry)| entry).collect();
    Ok(Json(json!({ "entries": entries, "next": next })))
}

async fn inbox(
    State(desk): State<Desk>,
    Query(paging): Query<Paging>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let user = desk.signaling.authenticate(&headers)?.sub;
    let before = paging.cursor()?;
    let recorder = desk.notes.recorder();
    let page = recorder.inbox(&user, before.as_ref(), paging.limit(), paging.unheard).await?;
    let unheard = recorder.unheard(&user).await?;
    let notes = page.rows.into_iter().map(|note| wire::value(&desk.notes.shown(note, &user)));
    let next = page.next.map(|next| next.encode());
    Ok(Json(json!({ "notes": notes.collect::<Vec<_>>(), "unheard": unheard, "next": next })))
}

async fn note(State(desk): State<Desk>, Path(note): Path<String>, headers: HeaderMap) -> Result<Json<Value>, Refusal> {
    let user = desk.signaling.authenticate(&headers)?.sub;
    let note = desk.notes.recorder().note(&note, &user).await?;
    Ok(Json(json!({ "note": wire::value(&desk.notes.shown(note, &user)) })))
}

async fn react(
    State(desk): State<Desk>,
    Path(note): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let user = reacting::user(desk.signaling.authenticate(&headers)?);
    let emoji = reacting::emoji(&body)?;
    Ok(Json(json!({ "note": desk.notes.react(&note, &user, Some(&emoji)).await? })))
}

async fn unreact(
    State(desk): State<Desk>,
    Path(note): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let user = reacting::user(desk.signaling.authenticate(&headers)?);
    Ok(Json(json!({ "note": desk.notes.react(&note, &user, None).await? })))
}

/// The query of a signed link.
#[derive(Deserialize)]
struct Link {
    user: Option<String>,
    until: Option<u64>,
    signature: Option<String>,
}

async fn file(
    state: State<Desk>,
    note: Path<String>,
    link: Query<Link>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    media(state, note, MediaPart::File, link, method, headers).await
}

async fn poster(
    state: State<Desk>,
    note: Path<String>,
    link: Query<Link>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    media(state, note, MediaPart::Poster, link, method, headers).await
}

async fn media(
    State(desk): State<Desk>,
    Path(note): Path<String>,
    part: MediaPart,
    Query(link): Query<Link>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let recorder = desk.notes.recorder();
    let user = match (&link.user, link.until, &link.signature) {
        (Some(user), Some(until), Some(signature)) => {
            let forged = || WireError::new(ErrorCode::Unauthorized, "the link has expired, or is not one of ours");
            recorder.check_link(&note, part, user, until, signature).ok_or_else(forged)?
        }
        _ => desk.signaling.authenticate(&headers)?.sub,
    };
    let media = recorder.media(&note, part, &user).await?;
    let tag = format!("\"{}\"", media.tag);
    let given = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if given(header::IF_NONE_MATCH).is_some_and(|known| known == "*" || known.contains(&tag)) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    // A part of an older file is no use to whoever has the rest of a newer one.
    let ranges_hold = given(header::IF_RANGE).is_none_or(|known| known == tag);
    let range = match given(header::RANGE).filter(|_| ranges_hold) {
        None => None,
        Some(text) => match asked_range(text, media.size) {
            Ok(range) => range,
            Err(()) => {
                let range = format!("bytes */{}", media.size);
                return Ok((StatusCode::RANGE_NOT_SATISFIABLE, [(header::CONTENT_RANGE, range)]).into_response());
            }
        },
    };
    let whole = range.is_none();
    let range = range.unwrap_or(0..media.size);
    let mut response = Response::builder()
        .status(if whole { StatusCode::OK } else { StatusCode::PARTIAL_CONTENT })
        .header(header::CONTENT_TYPE, &media.content_type)
        .header(header::CONTENT_LENGTH, range.end - range.start)
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::ETAG, tag)
        .header(header::CACHE_CONTROL, "private, max-age=3600")
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    if !whole {
        let content = format!("bytes {}-{}/{}", range.start, range.end.saturating_sub(1), media.size);
        response = response.header(header::CONTENT_RANGE, content);
    }
    let body = if method == Method::HEAD { Body::empty() } else { body(desk.notes.clone(), media, range) };
    response.body(body).map_err(|error| {
        tracing::error!(%error, "a note's media cannot be answered");
        Refusal(WireError::new(ErrorCode::Internal, "the request failed"))
    })
}

/// The one range that is asked for; `None` for what is to be ignored (several ranges, other units), an error for one outside the file.
fn asked_range(text: &str, size: u64) -> Result<Option<Range<u64>>, ()> {
    let Ok(parsed) = parse_range_header(text) else { return Ok(None) };
    let ranges = parsed.validate(size).map_err(|_| ())?;
    match ranges.as_slice() {
        [range] => Ok(Some(*range.start()..range.end() + 1)),
        _ => Ok(None),
    }
}

/// Reads piece by piece, as fast as the client takes it.
fn body(notes: Arc<NoteDesk>, media: Media, range: Range<u64>) -> Body {
    let pieces = stream::try_unfold((notes, media, range), |(notes, media, range)| async move {
        if range.is_empty() {
            return Ok::<_, ringback_recorder::RecorderError>(None);
        }
        let end = range.end.min(range.start + PIECE);
        let piece = notes.recorder().read(&media, range.start..end).await?;
        Ok(Some((piece, (notes, media, end..range.end))))
    });
    Body::from_stream(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_within_the_file_is_served_and_what_cannot_be_is_told_apart() {
        assert_eq!(asked_range("bytes=0-", 10), Ok(Some(0..10)));
        assert_eq!(asked_range("bytes=2-4", 10), Ok(Some(2..5)));
        assert_eq!(asked_range("bytes=-3", 10), Ok(Some(7..10)));
        assert_eq!(asked_range("bytes=5-100", 10), Ok(Some(5..10)));
        assert_eq!(asked_range("bytes=20-30", 10), Err(()));
        assert_eq!(asked_range("bytes=0-1,4-5", 10), Ok(None), "all of it answers a request for several parts");
        assert_eq!(asked_range("pages=1-2", 10), Ok(None), "other units are ignored");
    }
}
