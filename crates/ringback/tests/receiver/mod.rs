//! A receiver of webhooks that behaves as badly as it is told, and verifies signatures with other code than wrote them.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test file uses another part of it")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;

pub const SECRET: &str = "whsec_cmluZ2JhY2sgdGVzdHMgc2lnbiB3aXRoIHRoaXM=";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Takes,
    Refuses,
    /// Takes the request and never answers.
    Stalls,
    /// Refuses, and asks for so many seconds.
    Asks(u64),
    Gone,
}

/// A request as it came, and what was answered.
#[derive(Debug, Clone)]
pub struct Post {
    pub mood: Mood,
    pub at: Instant,
    pub id: String,
    pub body: Value,
}

impl Post {
    pub fn sequence(&self) -> u64 {
        self.body["sequence"].as_u64().unwrap()
    }
}

#[derive(Clone)]
pub struct Receiver {
    mood: Arc<Mutex<Mood>>,
    posts: Arc<Mutex<Vec<Post>>>,
    address: SocketAddr,
    /// A runtime of its own, so that with it all its connections end at once.
    runtime: Arc<Mutex<Option<tokio::runtime::Runtime>>>,
}

impl Receiver {
    pub fn start() -> Self {
        let receiver = Self {
            mood: Arc::new(Mutex::new(Mood::Takes)),
            posts: Arc::default(),
            address: std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap(),
            runtime: Arc::default(),
        };
        receiver.listen();
        receiver
    }

    /// Listens, again on the same port.
    pub fn listen(&self) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let app = Router::new().route("/hook", post(take)).with_state(self.clone());
        let (address, (ready, listening)) = (self.address, std::sync::mpsc::channel());
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::bind(address).await.unwrap();
            ready.send(()).unwrap();
            axum::serve(listener, app).await.unwrap();
        });
        listening.recv().unwrap();
        *self.runtime.lock().unwrap() = Some(runtime);
    }

    /// Ends like a process that is killed: listener and connections at once.
    pub fn kill(&self) {
        self.runtime.lock().unwrap().take().unwrap().shutdown_background();
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub fn be(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub fn posts(&self) -> Vec<Post> {
        self.posts.lock().unwrap().clone()
    }

    /// The events that were taken, as often as they were.
    pub fn taken(&self) -> Vec<Post> {
        self.posts().into_iter().filter(|post| post.mood == Mood::Takes).collect()
    }

    pub async fn until(&self, what: &str, come: impl Fn(&[Post]) -> bool) {
        let begin = Instant::now();
        while !come(&self.posts()) {
            assert!(begin.elapsed() < Duration::from_secs(60), "{what} has not come: {:#?}", self.posts());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub async fn until_taken(&self, sequence: u64) {
        let taken = |posts: &[Post]| posts.iter().any(|post| post.mood == Mood::Takes && post.sequence() == sequence);
        self.until(&format!("event {sequence}"), taken).await;
    }

    /// Waits until a request has come in this mood.
    pub async fn until_met(&self, mood: Mood, times: usize) {
        self.until(&format!("{mood:?}"), |posts| posts.iter().filter(|post| post.mood == mood).count() >= times).await;
    }
}

async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> Response {
    let id = verify(&headers, &body);
    let mood = *receiver.mood.lock().unwrap();
    let post = Post { mood, at: Instant::now(), id, body: serde_json::from_slice(&body).unwrap() };
    receiver.posts.lock().unwrap().push(post);
    match mood {
        Mood::Takes => StatusCode::NO_CONTENT.into_response(),
        Mood::Refuses => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Mood::Stalls => std::future::pending().await,
        Mood::Asks(seconds) => {
            (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, seconds.to_string())]).into_response()
        }
        Mood::Gone => StatusCode::GONE.into_response(),
    }
}

/// Checks a signature as Standard Webhooks has it; returns the id. A panic here is a connection that breaks, and a test that does not get on.
fn verify(headers: &HeaderMap, body: &[u8]) -> String {
    let text = |name: &str| headers[name].to_str().unwrap().to_owned();
    let (id, timestamp) = (text("webhook-id"), text("webhook-timestamp"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!(now.abs_diff(timestamp.parse().unwrap()) < 60);
    let key = STANDARD.decode(SECRET.strip_prefix("whsec_").unwrap()).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    let signature = text("webhook-signature");
    let given = signature.split(' ').find_map(|one| one.strip_prefix("v1,")).unwrap();
    mac.verify_slice(&STANDARD.decode(given).unwrap()).expect("the signature is wrong");
    assert_eq!(text("content-type"), "application/json");
    id
}
