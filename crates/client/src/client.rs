//! One signaling session: who is there, calls placed and answered, rooms joined. Media is `participant`'s business.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::broadcast;
use tracing::warn;

use crate::protocol::{Call, CallKind, Event, Hello};
use crate::socket::{Socket, parse};
use crate::{ClientError, Participant, Publish};

/// A signaling session. Clones share it; when the last clone and the last [`Participant`] are dropped, it is closed.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    socket: Socket,
    hello: Hello,
    /// The receiver that has been listening since the socket opened, for the first [`Client::events`].
    first_events: Mutex<Option<broadcast::Receiver<Event>>>,
}

impl Client {
    /// Opens a session at `url` (`ws://…/v1/ws`) with a token of the embedding application.
    ///
    /// # Errors
    /// [`ClientError::Connect`] when nobody answers there, [`ClientError::Refused`] or [`ClientError::Closed`] when the
    /// server does not accept the token.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn connect(url: &str, token: &str) -> Result<Self, ClientError> {
        Self::open(url, token, None).await
    }

    /// As [`connect`](Self::connect), as a certain device of the user: an older session of the same device is replaced.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_as(url: &str, token: &str, device: &str) -> Result<Self, ClientError> {
        Self::open(url, token, Some(device)).await
    }

    async fn open(url: &str, token: &str, device: Option<&str>) -> Result<Self, ClientError> {
        let (socket, hello, events) = Socket::open(url, token, device).await?;
        Ok(Self { inner: Arc::new(Inner { socket, hello, first_events: Mutex::new(Some(events)) }) })
    }

    /// What the server said about this session when it began.
    pub fn hello(&self) -> &Hello {
        &self.inner.hello
    }

    /// The user the token stands for.
    pub fn user(&self) -> &str {
        &self.inner.hello.user
    }

    /// What the server tells without being asked. The first call returns a stream that starts with the session; a
    /// later one starts when it is made.
    pub fn events(&self) -> Events {
        let mut first = self.inner.first_events.lock().unwrap_or_else(PoisonError::into_inner);
        Events { receiver: first.take().unwrap_or_else(|| self.inner.socket.subscribe()) }
    }

    /// Sends any request of the protocol, for what has no method here; `fields` must be an object.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the server's reason, [`ClientError::Closed`], [`ClientError::Unanswered`].
    pub async fn request(&self, kind: &str, fields: Value) -> Result<Value, ClientError> {
        let fields = match fields {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        self.inner.socket.request(kind, fields).await
    }

    /// Rings somebody (or several, for a group call). The caller then joins [`Call::room`] while it rings.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn place(&self, to: &[&str], kind: CallKind) -> Result<Call, ClientError> {
        self.call_request("call.place", json!({ "to": to, "kind": kind })).await
    }

    /// Says that this device shows the ring.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn ring_ack(&self, call: &str) -> Result<(), ClientError> {
        self.request("call.ring_ack", json!({ "call": call })).await.map(drop)
    }

    /// Picks up; then join [`Call::room`].
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn accept(&self, call: &str) -> Result<Call, ClientError> {
        self.call_request("call.accept", json!({ "call": call })).await
    }

    /// Refuses the call for all of the user's devices.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn decline(&self, call: &str) -> Result<(), ClientError> {
        self.request("call.decline", json!({ "call": call })).await.map(drop)
    }

    /// Silences the ring on this device only.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn ignore(&self, call: &str) -> Result<(), ClientError> {
        self.request("call.ignore", json!({ "call": call })).await.map(drop)
    }

    /// The caller gives up while it rings.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn cancel(&self, call: &str) -> Result<(), ClientError> {
        self.request("call.cancel", json!({ "call": call })).await.map(drop)
    }

    /// Ends an active call.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn hangup(&self, call: &str) -> Result<(), ClientError> {
        self.request("call.hangup", json!({ "call": call })).await.map(drop)
    }

    /// Where a call stands.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn call_status(&self, call: &str) -> Result<Call, ClientError> {
        self.call_request("call.status", json!({ "call": call })).await
    }

    /// Joins a room with one offer and starts publishing. Returns once the answer is applied; media comes up behind it
    /// ([`Participant::connected`]).
    ///
    /// # Errors
    /// When a source cannot be opened, the server refuses, or its answer does not fit the offer.
    pub async fn join(&self, room: &str, publish: Publish) -> Result<Participant, ClientError> {
        Participant::join(self.clone(), room, publish).await
    }

    /// The local address that reaches the server; media uses the same interface.
    pub(crate) fn local_address(&self) -> std::net::IpAddr {
        self.inner.socket.local
    }

    /// The events from now on.
    pub(crate) fn subscribe(&self) -> Events {
        Events { receiver: self.inner.socket.subscribe() }
    }

    async fn call_request(&self, kind: &str, fields: Value) -> Result<Call, ClientError> {
        let mut answer = self.request(kind, fields).await?;
        parse(kind, answer.get_mut("call").map(Value::take).unwrap_or_default())
    }
}

/// A stream of [`Event`]s.
#[derive(Debug)]
pub struct Events {
    receiver: broadcast::Receiver<Event>,
}

impl Events {
    /// The next event; `None` once the socket is closed and everything before was read. A reader that falls 1,024
    /// events behind misses the oldest.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            match self.receiver.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(missed)) => warn!(missed, "events were missed"),
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// Reads on until `wanted` finds what it looks for; `None` when that takes longer than `timeout` or the socket
    /// closes.
    pub async fn wait_for<T>(&mut self, timeout: Duration, mut wanted: impl FnMut(Event) -> Option<T>) -> Option<T> {
        tokio::time::timeout(timeout, async {
            while let Some(event) = self.next().await {
                if let Some(found) = wanted(event) {
                    return Some(found);
                }
            }
            None
        })
        .await
        .ok()
        .flatten()
    }
}
