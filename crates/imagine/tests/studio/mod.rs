//! A studio that makes pictures: a server that speaks the wires of Black Forest Labs and of the contract, remembers what it has made (and would bill), and can be told to keep
//! somebody waiting at any point of the way.

#![allow(dead_code, reason = "each test file uses another part of it")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::watch;

/// Where the way is blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Nowhere.
    Nothing,
    /// A job is taken, and the answer that says so does not come.
    Submission,
    /// The job is never done.
    Work,
    /// The picture's bytes do not come.
    File,
}

#[derive(Default)]
struct Made {
    /// Prompts, by job.
    jobs: HashMap<String, String>,
    /// Jobs by idempotency key.
    keys: HashMap<String, String>,
    cancelled: Vec<String>,
}

/// A running studio.
#[derive(Clone)]
pub(crate) struct Studio {
    /// `127.0.0.1:port`.
    pub(crate) host: String,
    made: Arc<Mutex<Made>>,
    hold: Arc<watch::Sender<Hold>>,
    /// How often somebody was kept waiting.
    held: Arc<watch::Sender<usize>>,
    picture: Arc<Vec<u8>>,
}

impl Studio {
    pub(crate) async fn start(picture: Vec<u8>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let studio = Self {
            host: listener.local_addr().unwrap().to_string(),
            made: Arc::default(),
            hold: Arc::new(watch::Sender::new(Hold::Nothing)),
            held: Arc::default(),
            picture: Arc::new(picture),
        };
        let app = Router::new()
            .route("/v1/{model}", post(bfl_submit))
            .route("/v1/get_result", get(bfl_poll))
            .route("/jobs", post(submit))
            .route("/jobs/{id}", get(poll).delete(cancel))
            .route("/files/{id}", get(file))
            .with_state(studio.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        studio
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.host)
    }

    pub(crate) fn hold(&self, hold: Hold) {
        self.hold.send_replace(hold);
    }

    /// Waits until somebody has been kept waiting this often.
    pub(crate) async fn until_held(&self, times: usize) {
        let mut held = self.held.subscribe();
        let reached = held.wait_for(|held| *held >= times);
        let _ = tokio::time::timeout(Duration::from_secs(30), reached).await.expect("nobody comes").unwrap();
    }

    /// How many jobs it has taken, each of which it bills.
    pub(crate) fn billed(&self) -> usize {
        self.made.lock().unwrap().jobs.len()
    }

    pub(crate) fn prompts(&self) -> Vec<String> {
        self.made.lock().unwrap().jobs.values().cloned().collect()
    }

    pub(crate) fn cancelled(&self) -> usize {
        self.made.lock().unwrap().cancelled.len()
    }

    async fn pass(&self, at: Hold) {
        let mut hold = self.hold.subscribe();
        if *hold.borrow() == at {
            self.held.send_modify(|held| *held += 1);
            let _ = hold.wait_for(|hold| *hold != at).await;
        }
    }

    fn take(&self, prompt: &str, key: Option<&str>) -> String {
        let mut made = self.made.lock().unwrap();
        if let Some(known) = key.and_then(|key| made.keys.get(key)) {
            return known.clone();
        }
        let id = format!("t-{}", made.jobs.len() + 1);
        made.jobs.insert(id.clone(), prompt.to_owned());
        made.keys.extend(key.map(|key| (key.to_owned(), id.clone())));
        id
    }

    /// How a job of this prompt ends: the prompt says so.
    fn end(&self, id: &str) -> Option<String> {
        self.made.lock().unwrap().jobs.get(id).cloned()
    }

    fn file(&self, id: &str) -> String {
        format!("http://{}/files/{id}", self.host)
    }

    fn works(&self) -> bool {
        let works = *self.hold.borrow() == Hold::Work;
        if works {
            self.held.send_modify(|held| *held += 1);
        }
        works
    }
}

async fn bfl_submit(State(studio): State<Studio>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    if headers.get("x-key").is_none() {
        return StatusCode::FORBIDDEN.into_response();
    }
    let prompt = body["prompt"].as_str().unwrap();
    if prompt.contains("later") {
        return (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "60")]).into_response();
    }
    let id = studio.take(prompt, None);
    studio.pass(Hold::Submission).await;
    let polling_url = format!("http://{}/v1/get_result?id={id}", studio.host);
    Json(json!({ "id": id, "polling_url": polling_url })).into_response()
}

async fn bfl_poll(State(studio): State<Studio>, Query(query): Query<HashMap<String, String>>) -> Json<Value> {
    let id = &query["id"];
    let told = match studio.end(id).as_deref() {
        None => json!({ "id": id, "status": "Task not found" }),
        Some(_) if studio.works() => json!({ "id": id, "status": "Pending" }),
        Some(prompt) if prompt.contains("forbidden") => json!({ "id": id, "status": "Request Moderated" }),
        Some(_) => json!({ "id": id, "status": "Ready", "result": { "sample": studio.file(id) } }),
    };
    Json(told)
}

async fn submit(State(studio): State<Studio>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let key = headers["idempotency-key"].to_str().unwrap();
    let id = studio.take(body["prompt"].as_str().unwrap(), Some(key));
    studio.pass(Hold::Submission).await;
    (StatusCode::ACCEPTED, Json(json!({ "id": id, "status": "queued" }))).into_response()
}

async fn poll(State(studio): State<Studio>, Path(id): Path<String>) -> Response {
    match studio.end(&id).as_deref() {
        None => StatusCode::NOT_FOUND.into_response(),
        Some(_) if studio.works() => Json(json!({ "id": id, "status": "running", "progress": 0.4 })).into_response(),
        Some(prompt) if prompt.contains("forbidden") => {
            Json(json!({ "id": id, "status": "refused", "reason": "not this, please" })).into_response()
        }
        Some(_) => Json(json!({ "id": id, "status": "done", "images": [{ "url": studio.file(&id) }] })).into_response(),
    }
}

async fn cancel(State(studio): State<Studio>, Path(id): Path<String>) -> StatusCode {
    studio.made.lock().unwrap().cancelled.push(id);
    StatusCode::NO_CONTENT
}

async fn file(State(studio): State<Studio>) -> Response {
    studio.pass(Hold::File).await;
    ([(header::CONTENT_TYPE, "image/png")], studio.picture.to_vec()).into_response()
}
