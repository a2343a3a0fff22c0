//! Somebody who comes into a room by one HTTP request and has no socket: how they get in, and the resource they are known by
//! afterwards (RFC 9725, sections 4.2 and 4.3, which draft-ietf-wish-whep shares): PATCH for ICE, DELETE to leave.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, patch};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::hook_runner::may_join;
use crate::http_problem::{Problem, options};
use crate::http_sdp::{self, FRAGMENT, SDP};
use crate::http_sessions::{HttpProtocol, HttpSession, IceSession};
use crate::hub::calls::random_id;
use crate::hub::http::{HttpPlace, Play};
use crate::media::MediaOffer;
use crate::protocol::{ErrorCode, IceServer, MAX_FRAME, MAX_ID, Party, WireError, check_id};
use crate::rooms::Newcomer;
use crate::serve::{Services, flat};
use crate::session::LONGEST_SESSION;
use crate::signaling::Signaling;
use crate::signaling_event::unix_ms;
use crate::token::Claims;

/// How much of a body is read; an offer is no longer than a frame of the WebSocket.
pub(crate) const MAX_BODY: usize = MAX_FRAME;

/// The text of a request's body, if it is of this media type.
///
/// # Errors
/// 415, 413 or 400.
pub(crate) fn text_of(
    headers: &HeaderMap,
    media_type: &str,
    body: Result<Bytes, BytesRejection>,
) -> Result<String, Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case(media_type) {
        let detail = format!("Content-Type: {media_type} is required, not {essence:?}");
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let body = body.map_err(|rejection| {
        let detail = format!("the body cannot be read, or has more than {MAX_BODY} bytes");
        Problem::new(rejection.status(), detail)
    })?;
    String::from_utf8(body.to_vec()).map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "the body is not UTF-8"))
}

/// Somebody who wants to come in.
pub(crate) struct Arrival {
    pub(crate) protocol: HttpProtocol,
    pub(crate) claims: Claims,
    pub(crate) room: String,
    pub(crate) offer: MediaOffer,
    pub(crate) play: Play,
}

/// Takes somebody in and answers their POST: 201 with the answer, and where their resource is.
pub(crate) async fn arrive(signaling: Signaling, uri: Uri, arrival: Arrival) -> Response {
    let (protocol, user) = (arrival.protocol, arrival.claims.sub.clone());
    let servers = ice_servers(signaling.services(), &user);
    // Not dropped with the connection of whoever asked: what has begun on the media side must be finished or undone.
    let joined = tokio::spawn(join(signaling, arrival)).await;
    let joined = joined.unwrap_or_else(|_| Err(WireError::new(ErrorCode::Internal, "the request failed").into()));
    let (id, etag, answer) = match joined {
        Ok(joined) => joined,
        Err(problem) => return problem.into_response(),
    };
    // Absolute from the host on: some clients do not resolve `..`.
    let base = uri.path().rsplit_once("/rooms/").map_or("/v1", |(base, _)| base);
    let location = format!("{base}/{}/{id}", protocol.name());
    let mut headers = HeaderMap::new();
    let mut say = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            headers.append(name, value);
        }
    };
    say(header::CONTENT_TYPE, SDP);
    say(header::LOCATION, &location);
    say(header::ETAG, &etag);
    servers.iter().flat_map(links).for_each(|link| say(header::LINK, &link));
    (StatusCode::CREATED, headers, answer).into_response()
}

fn ice_servers(services: &Services, user: &str) -> Vec<IceServer> {
    let config = &services.config;
    let turn = config.turn_servers.iter().map(|server| server.for_user(user, unix_ms() / 1_000));
    config.ice_servers.iter().cloned().chain(turn).collect()
}

/// `Link` headers, one for each URL (RFC 9725, section 4.6).
fn links(server: &IceServer) -> impl Iterator<Item = String> + '_ {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    server.urls.iter().map(move |url| {
        let mut link = format!("<{url}>; rel=\"ice-server\"");
        if let (Some(username), Some(credential)) = (&server.username, &server.credential) {
            let (username, credential) = (quoted(username), quoted(credential));
            link += &format!("; username=\"{username}\"; credential=\"{credential}\"; credential-type=\"password\"");
        }
        link
    })
}

/// Takes somebody in; returns the id of their resource, its entity-tag, and the answer.
async fn join(signaling: Signaling, arrival: Arrival) -> Result<(String, String, String), Problem> {
    let Arrival { protocol, claims, room, offer, play } = arrival;
    let services = signaling.services();
    check_id("room", &room, MAX_ID)?;
    if !claims.grants.room(&room) {
        return Err(WireError::new(ErrorCode::Forbidden, "the token does not admit to this room").into());
    }
    let (user, name) = (claims.sub.clone(), room.clone());
    flat(services.hub.ask(move |hub, _| hub.http_access(&user, &name)).await)?;
    may_join(&services.hooks, services.config.hook_limit, &claims.sub, &room).await?;
    let full = || WireError::new(ErrorCode::Unavailable, "shutting down, or too many sessions");
    let place = signaling.take_place().ok_or_else(full)?;

    let participant = random_id("p_");
    let party = Party { user: claims.sub.clone(), device: random_id(&format!("{}_", protocol.name())) };
    let newcomer = Newcomer {
        participant: participant.clone(),
        party: party.clone(),
        name: claims.display_name().to_owned(),
        tracks: offer.tracks.clone(),
    };
    let name = room.clone();
    let kept = flat(services.hub.ask(move |hub, now| hub.reserve_http(now, &name, newcomer, &play)).await)?;

    // From here on the place must be taken or given up, and the media side told if nothing comes of it.
    let plays = kept.plays.clone();
    let answer = match take_in(services, &room, &participant, &offer, kept).await {
        Ok(answer) => answer,
        Err(problem) => {
            let (name, who) = (room.clone(), participant.clone());
            services.hub.ask(move |hub, now| hub.abandon(now, &name, &who)).await.ok();
            services.media.leave(room, participant);
            return Err(problem);
        }
    };
    let lasts = services.config.verifier.session_time(&claims).min(LONGEST_SESSION);
    let expires = (Instant::now() + lasts).into_std();
    let ice = IceSession { offer, restarts: 0 };
    let (id, etag) = (random_id(""), ice.etag());
    let session = HttpSession {
        protocol,
        room: room.clone(),
        participant: participant.clone(),
        party,
        plays,
        ice: Mutex::new(ice),
        _place: place,
    };
    let key = id.clone();
    let committed = services.hub.ask(move |hub, now| hub.commit_http(now, &key, session, expires)).await;
    if let Err(error) = flat(committed) {
        services.media.leave(room, participant);
        return Err(error.into());
    }
    Ok((id, etag, answer))
}

/// What the media side does for a newcomer; returns the answer.
async fn take_in(
    services: &Services,
    room: &str,
    participant: &str,
    offer: &MediaOffer,
    place: HttpPlace,
) -> Result<String, Problem> {
    place.opened.await?;
    let (room, participant) = (room.to_owned(), participant.to_owned());
    let joining = {
        let (room, participant, offer) = (room.clone(), participant.clone(), offer.clone());
        services.media.run("joining", |media| async move { media.join(&room, &participant, offer).await })
    };
    let answer = joining.await?.answer;
    http_sdp::taken_whole(&offer.sdp, &answer)?;
    if let Some(only) = place.plays {
        // Before the client has the answer nothing can flow, so nobody else is seen or heard meanwhile.
        let choosing = services
            .media
            .run("choosing whom to play", |media| async move { media.play_only(&room, &participant, &only).await });
        choosing.await?;
    }
    Ok(answer)
}

/// The resource of a session: PATCH, DELETE, OPTIONS.
pub(crate) fn resource(protocol: HttpProtocol) -> MethodRouter<Signaling> {
    let change = move |State(signaling): State<Signaling>,
                       Path(id): Path<String>,
                       headers: HeaderMap,
                       body: Result<Bytes, BytesRejection>| async move {
        let changed = change(&signaling, protocol, id, &headers, body).await;
        changed.unwrap_or_else(IntoResponse::into_response)
    };
    let end = move |State(signaling): State<Signaling>, Path(id): Path<String>, headers: HeaderMap| async move {
        match end(&signaling, protocol, id, &headers).await {
            Ok(()) => StatusCode::OK.into_response(),
            Err(problem) => problem.into_response(),
        }
    };
    let accepts = (HeaderName::from_static("accept-patch"), FRAGMENT);
    let may = move || async move { options(&[Method::PATCH, Method::DELETE], accepts.clone()) };
    patch(change).delete(end).options(may)
}

async fn end(signaling: &Signaling, protocol: HttpProtocol, id: String, headers: &HeaderMap) -> Result<(), Problem> {
    let user = signaling.authenticate(headers)?.sub;
    Ok(flat(signaling.services().hub.ask(move |hub, _| hub.end_http(protocol, &id, &user)).await)?)
}

/// Takes candidates, which need no doing: this server is ICE-lite and learns its peer's addresses from their checks. Other ICE credentials
/// restart ICE.
async fn change(
    signaling: &Signaling,
    protocol: HttpProtocol,
    id: String,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let (services, user) = (signaling.services().clone(), signaling.authenticate(headers)?.sub);
    let session = flat(services.hub.ask(move |hub, _| hub.http_session(protocol, &id, &user)).await)?;
    let fragment = text_of(headers, FRAGMENT, body)?;
    let condition = headers.get(header::IF_MATCH).and_then(|value| value.to_str().ok());
    let condition = condition.map(str::to_owned).ok_or_else(|| {
        let detail = "If-Match is required: the entity-tag of the ICE session, or * to restart ICE";
        Problem::new(StatusCode::PRECONDITION_REQUIRED, detail)
    })?;
    // Not dropped with the connection: a restart that the media side knows of must be known here.
    let changing = tokio::spawn(async move {
        let mut ice = session.ice.lock().await;
        let current = ice.etag();
        if condition.trim() != "*" && !condition.split(',').any(|tag| tag.trim() == current) {
            let detail = format!("the ICE session is {current}, not {condition}");
            return Err(Problem::new(StatusCode::PRECONDITION_FAILED, detail));
        }
        let Some(credentials) = http_sdp::credentials(&fragment)? else {
            if !fragment.contains("a=candidate:") && !fragment.contains("a=end-of-candidates") {
                let detail = "the fragment has neither candidates nor ICE credentials";
                return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
            }
            return Ok(StatusCode::NO_CONTENT.into_response());
        };
        if http_sdp::credentials(&ice.offer.sdp)?.as_ref() == Some(&credentials) {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        let mut offer = ice.offer.clone();
        offer.sdp = http_sdp::with_credentials(&offer.sdp, &credentials);
        let next = offer.clone();
        let (room, participant) = (session.room.clone(), session.participant.clone());
        let restarting =
            services.media.run("the restart", |media| async move { media.offer(&room, &participant, next).await });
        let answer = restarting.await?.answer;
        ice.offer = offer;
        ice.restarts += 1;
        let headers = [(header::CONTENT_TYPE, FRAGMENT.to_owned()), (header::ETAG, ice.etag())];
        Ok((StatusCode::OK, headers, http_sdp::restart_fragment(&answer)).into_response())
    });
    changing.await.unwrap_or_else(|_| Err(WireError::new(ErrorCode::Internal, "the request failed").into()))
}
