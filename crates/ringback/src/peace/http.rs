//! Notifications over HTTP: what happened and what came of it, with why; what was seen; and a user's settings. Always the bearer's own.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::routing::{get, post};
use axum::{Json, Router};
use ringback_peace::{Hold, Reason, Settings};
use ringback_recorder::{Cursor, OccurrenceRow, Seen};
use ringback_signaling::Signaling;
use ringback_signaling::protocol::{ErrorCode, WireError};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::{PeaceDesk, decided, item, unix_ms};
use crate::notes::Refusal;

/// The most rows of one page.
const MOST: u32 = 100;

/// The rows of a page where the client does not say.
const USUAL: u32 = 30;

#[derive(Clone)]
struct Desk {
    peace: Arc<PeaceDesk>,
    signaling: Arc<Signaling>,
}

/// The routes `v1/notifications`, `v1/notifications/seen` and `v1/notifications/settings`.
pub(crate) fn router(peace: Arc<PeaceDesk>, signaling: Arc<Signaling>) -> Router {
    Router::new()
        .route("/v1/notifications", get(list))
        .route("/v1/notifications/seen", post(seen))
        .route("/v1/notifications/settings", get(settings).put(put_settings))
        .with_state(Desk { peace, signaling })
}

#[derive(Deserialize)]
struct Paging {
    before: Option<String>,
    limit: Option<u32>,
    #[serde(default)]
    waiting: bool,
}

async fn list(
    State(desk): State<Desk>,
    Query(paging): Query<Paging>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let user = desk.signaling.authenticate(&headers)?.sub;
    let before = paging.before.as_ref().map(|text| Cursor::parse(text).ok_or_else(not_a_cursor)).transpose()?;
    let limit = paging.limit.unwrap_or(USUAL).clamp(1, MOST);
    let rows = &desk.peace.rows;
    let page = rows.list(&user, before.as_ref(), limit, paging.waiting).await?;
    let mut shown: Map<String, Value> = Map::new();
    for id in page.rows.iter().filter_map(|row| row.notification.as_ref()) {
        if !shown.contains_key(id)
            && let Some(row) = rows.notification(&user, id).await?
        {
            let decided = decided(&row)?;
            let (why, words) = (decided.why, reason_in_words(decided.why));
            shown.insert(id.clone(), json!({ "id": id, "at": decided.at, "why": why, "in_words": words }));
        }
    }
    let entries = page.rows.iter().map(|row| entry(row, &shown)).collect::<Result<Vec<_>, _>>()?;
    let (counts, next) = (desk.peace.counts(&user).await?, page.next.map(|next| next.encode()));
    Ok(Json(json!({ "entries": entries, "counts": counts, "next": next })))
}

fn entry(row: &OccurrenceRow, shown: &Map<String, Value>) -> Result<Value, Refusal> {
    let mut entry = json!(item(row)?);
    let held = row.held.clone().and_then(|held| serde_json::from_value::<Hold>(held).ok());
    entry["held"] = held.map_or(Value::Null, |held| {
        let mut value = json!(held);
        value["in_words"] = hold_in_words(held, row.seen_at.is_some()).into();
        value
    });
    entry["notification"] = row.notification.as_ref().and_then(|id| shown.get(id)).cloned().unwrap_or_default();
    entry["seen_at"] = json!(row.seen_at);
    Ok(entry)
}

/// Why something waits or had to, in plain words for embedders that have none of their own.
fn hold_in_words(held: Hold, seen: bool) -> &'static str {
    match held {
        Hold::InView { .. } if seen => "You were looking at it.",
        Hold::InView { .. } => "It came into what you had open.",
        Hold::QuietHours { .. } => "It came in your quiet hours.",
        Hold::Budget { .. } => "You had as many notifications within an hour as you want.",
    }
}

fn reason_in_words(why: Reason) -> String {
    match why {
        Reason::Welcome => "Nothing spoke against it.".to_owned(),
        Reason::Favourite => "It is from one of your favourites, who always get through.".to_owned(),
        Reason::RepeatedCalls { times, within_s } => {
            format!("They called {times} times within {} minutes, which gets through.", within_s.div_ceil(60))
        }
        Reason::Digest => "It had to wait, and was told with what else had to.".to_owned(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeenBody {
    #[serde(default)]
    ids: Vec<String>,
    until: Option<u64>,
}

async fn seen(State(desk): State<Desk>, headers: HeaderMap, body: Bytes) -> Result<Json<Value>, Refusal> {
    let user = desk.signaling.authenticate(&headers)?.sub;
    let SeenBody { ids, until } = read(&body)?;
    let now = unix_ms();
    if ids.len() > MOST as usize {
        return Err(WireError::new(ErrorCode::BadRequest, "ids: 100 at most").into());
    }
    for id in ids {
        desk.peace.rows.seen(&Seen::One { user: user.clone(), id, at: Some(now) }).await?;
    }
    if let Some(until) = until {
        desk.peace.rows.seen(&Seen::Until { user: user.clone(), until, at: now }).await?;
    }
    desk.peace.changed(&user);
    Ok(Json(json!({ "counts": desk.peace.counts(&user).await? })))
}

async fn settings(State(desk): State<Desk>, headers: HeaderMap) -> Result<Json<Value>, Refusal> {
    let user = desk.signaling.authenticate(&headers)?.sub;
    let rules = desk.peace.rules(&user).await?;
    Ok(Json(json!({ "settings": rules.settings(), "quiet_until": rules.quiet_until(unix_ms()) })))
}

/// What is left out is as the embedder has it.
async fn put_settings(State(desk): State<Desk>, headers: HeaderMap, body: Bytes) -> Result<Json<Value>, Refusal> {
    let user = desk.signaling.authenticate(&headers)?.sub;
    let said: Map<String, Value> = read(&body)?;
    let mut whole = json!(desk.peace.defaults);
    said.into_iter().for_each(|(name, value)| whole[name] = value);
    let bad = |error: &dyn std::fmt::Display| Refusal::from(WireError::new(ErrorCode::BadRequest, error.to_string()));
    let settings: Settings = serde_json::from_value(whole).map_err(|error| bad(&error))?;
    let rules = settings.rules().map_err(|error| bad(&error))?;
    desk.peace.rows.put_settings(&user, &json!(rules.settings())).await?;
    desk.peace.changed(&user);
    Ok(Json(json!({ "settings": rules.settings(), "quiet_until": rules.quiet_until(unix_ms()) })))
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| WireError::new(ErrorCode::BadRequest, error.to_string()).into())
}

fn not_a_cursor() -> Refusal {
    WireError::new(ErrorCode::BadRequest, "before: the `next` of a former page is required").into()
}
