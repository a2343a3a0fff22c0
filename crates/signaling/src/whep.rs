//! WHEP (draft-ietf-wish-whep): a player receives from a room with one HTTP request: what the room shows and lets hear, or one participant of
//! it. In the room it is a participant who publishes nothing, so that nobody looks on unseen. What becomes of it afterwards is in
//! [`http_participant`](crate::http_participant).

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{OriginalUri, Path, Query, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Deserialize;

use crate::http_participant::{Arrival, arrive, resource, text_of};
use crate::http_problem::{Problem, options};
use crate::http_sdp::{self, SDP};
use crate::http_sessions::HttpProtocol;
use crate::hub::http::Play;
use crate::media::MediaOffer;
use crate::signaling::Signaling;

pub(crate) fn router() -> Router<Signaling> {
    let may = || async { options(&[Method::POST], (HeaderName::from_static("accept-post"), SDP)) };
    Router::new()
        .route("/v1/rooms/{room}/whep", post(play).options(may))
        .route("/v1/whep/{id}", resource(HttpProtocol::Whep))
}

/// Whom to play.
#[derive(Debug, Deserialize)]
struct Whom {
    participant: Option<String>,
    user: Option<String>,
}

async fn play(
    State(signaling): State<Signaling>,
    Path(room): Path<String>,
    OriginalUri(uri): OriginalUri,
    whom: Result<Query<Whom>, QueryRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    match arrival(&signaling, room, whom, &headers, body) {
        Ok(arrival) => arrive(signaling, uri, arrival).await,
        Err(problem) => problem.into_response(),
    }
}

fn arrival(
    signaling: &Signaling,
    room: String,
    whom: Result<Query<Whom>, QueryRejection>,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Arrival, Problem> {
    let claims = signaling.authenticate(headers)?;
    let bad = |detail: &str| Problem::new(StatusCode::BAD_REQUEST, detail);
    let Query(whom) = whom.map_err(|_| bad("the query may have participant= or user=, once"))?;
    let play = match (whom.participant, whom.user) {
        (None, None) => Play::Room,
        (Some(participant), None) => Play::Participant(participant),
        (None, Some(user)) => Play::User(user),
        (Some(_), Some(_)) => return Err(bad("the query may have participant= or user=, not both")),
    };
    let sdp = http_sdp::playing(&text_of(headers, SDP, body)?)?;
    let offer = MediaOffer { sdp, tracks: Vec::new() };
    Ok(Arrival { protocol: HttpProtocol::Whep, claims, room, offer, play })
}
