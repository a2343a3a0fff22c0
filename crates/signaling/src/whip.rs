//! WHIP (RFC 9725): a client publishes into a room with one HTTP request, such as OBS, FFmpeg and GStreamer do. In the room it is a participant like any other.
//! What becomes of it afterwards is in [`http_participant`](crate::http_participant).

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{OriginalUri, Path, State};
use axum::http::{HeaderMap, HeaderName, Method};
use axum::response::{IntoResponse, Response};
use axum::routing::post;

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
        .route("/v1/rooms/{room}/whip", post(publish).options(may))
        .route("/v1/whip/{id}", resource(HttpProtocol::Whip))
}

async fn publish(
    State(signaling): State<Signaling>,
    Path(room): Path<String>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    match arrival(&signaling, room, &headers, body) {
        Ok(arrival) => arrive(signaling, uri, arrival).await,
        Err(problem) => problem.into_response(),
    }
}

fn arrival(
    signaling: &Signaling,
    room: String,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Arrival, Problem> {
    let claims = signaling.authenticate(headers)?;
    let (sdp, tracks) = http_sdp::publishing(&text_of(headers, SDP, body)?)?;
    let offer = MediaOffer { sdp, tracks };
    Ok(Arrival { protocol: HttpProtocol::Whip, claims, room, offer, play: Play::Room })
}
