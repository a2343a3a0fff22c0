//! A server whose every answer a test decides, to speak a provider's documented wire with: what was asked is kept, in order.

#![allow(dead_code, reason = "each test file uses another part of it")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Response, Uri};
use serde_json::Value;

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// `POST /v1/flux`.
    pub(crate) what: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// How often the same was asked before.
    pub(crate) before: usize,
    pub(crate) at: std::time::Instant,
}

impl Asked {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A running server.
pub(crate) struct Server {
    /// `127.0.0.1:port`.
    pub(crate) host: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// Starts one that answers so; `host` is its own.
    pub(crate) async fn start(answer: impl Fn(&Asked, &str) -> Response<Body> + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::<Asked>::new()));
        let app = Router::new().fallback({
            let (asked, host, answer) = (asked.clone(), host.clone(), Arc::new(answer));
            move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| async move {
                let what = format!("{method} {}", uri.path());
                let mut all = asked.lock().unwrap();
                let before = all.iter().filter(|former| former.what == what).count();
                let query = uri.query().unwrap_or_default().to_owned();
                let asked = Asked { what, query, headers, body, before, at: std::time::Instant::now() };
                all.push(asked.clone());
                drop(all);
                answer(&asked, &host)
            }
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { host, asked }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.host)
    }

    /// What was asked, in order.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, what: &str) -> usize {
        self.asked().iter().filter(|asked| asked.what == what).count()
    }
}

pub(crate) fn json(value: Value) -> Response<Body> {
    status(200, value)
}

pub(crate) fn status(status: u16, value: Value) -> Response<Body> {
    let answer = Response::builder().status(status).header("content-type", "application/json");
    answer.body(value.to_string().into()).unwrap()
}

pub(crate) fn retry_after(code: u16, seconds: &str) -> Response<Body> {
    Response::builder().status(code).header("retry-after", seconds).body(Body::empty()).unwrap()
}

pub(crate) fn file(kind: &str, bytes: impl Into<Body>) -> Response<Body> {
    Response::builder().header("content-type", kind).body(bytes.into()).unwrap()
}

/// A body that breaks off.
pub(crate) fn broken(kind: &str) -> Response<Body> {
    let pieces = [Ok(Bytes::from_static(b"\x89PNG\r\n\x1a\n")), Err(std::io::Error::other("gone"))];
    file(kind, Body::from_stream(futures_util::stream::iter(pieces)))
}

/// A body that begins and does not go on.
pub(crate) fn slow(kind: &str) -> Response<Body> {
    use futures_util::StreamExt;
    let first = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"\x89PNG\r\n\x1a\n"))]);
    file(kind, Body::from_stream(first.chain(futures_util::stream::pending())))
}

/// A server that reads a request and hangs up.
pub(crate) async fn hangs_up() -> String {
    use tokio::io::AsyncReadExt;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.read(&mut [0; 4096]).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    url
}
