//! The signaling WebSocket: requests matched with their answers, events spread to whoever listens, a heartbeat. It
//! knows frames (`docs/protocol.md`), not calls or rooms.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Map, Value};
use tokio::net::TcpStream;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use tracing::{debug, warn};

use crate::ClientError;
use crate::protocol::{self, Event, Hello, Refusal};

/// How long an answer may take. Joining includes a negotiation, which takes the server milliseconds; this is for a
/// server that hangs.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the server may be silent, in heartbeats, before the socket counts as dead; the protocol's own figure.
const SILENT_HEARTBEATS: f64 = 2.5;

/// Events kept for a listener that does not read; then it misses the oldest.
const EVENT_BACKLOG: usize = 1_024;

/// Requests waiting to be written.
const REQUEST_BACKLOG: usize = 64;

/// The close code of a connection that broke without one (RFC 6455 section 7.4.1).
const ABNORMAL: u16 = 1006;

type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Why the socket is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CloseReason {
    pub(crate) code: u16,
    pub(crate) reason: String,
}

impl From<CloseReason> for ClientError {
    fn from(CloseReason { code, reason }: CloseReason) -> Self {
        Self::Closed { code, reason }
    }
}

/// A request on its way to the socket.
struct Request {
    kind: String,
    fields: Map<String, Value>,
    answer: oneshot::Sender<Result<Value, ClientError>>,
}

/// The sending side of an open socket. It is closed when the last one is dropped.
#[derive(Debug)]
pub(crate) struct Socket {
    requests: mpsc::Sender<Request>,
    events: broadcast::Sender<Event>,
    closed: watch::Receiver<Option<CloseReason>>,
    /// The local address that reaches the server.
    pub(crate) local: IpAddr,
}

impl Socket {
    /// Opens the socket and says hello. The returned receiver has every event from the first one on.
    ///
    /// # Errors
    /// When nobody answers at `url`, or the server refuses the token.
    pub(crate) async fn open(
        url: &str,
        token: &str,
        device: Option<&str>,
    ) -> Result<(Self, Hello, broadcast::Receiver<Event>), ClientError> {
        let (stream, _response) = connect_async(url)
            .await
            .map_err(|source| ClientError::Connect { url: url.to_owned(), source: Box::new(source) })?;
        let local = local_address(&stream)
            .map_err(|source| ClientError::Connect { url: url.to_owned(), source: Box::new(source.into()) })?;
        let (events, received) = broadcast::channel(EVENT_BACKLOG);
        let (requests, queue) = mpsc::channel(REQUEST_BACKLOG);
        let (close_sender, closed) = watch::channel(None);
        let mut driver = Driver { stream, events: events.clone(), pending: HashMap::new(), last_id: 0 };
        let hello = tokio::time::timeout(ANSWER_TIMEOUT, driver.hello(token, device))
            .await
            .map_err(|_| ClientError::Unanswered { request: "hello".to_owned(), after: ANSWER_TIMEOUT })??;
        let heartbeat = Duration::from_millis(hello.heartbeat_ms.max(1));
        tokio::spawn(async move {
            let reason = driver.run(queue, heartbeat).await;
            debug!(code = reason.code, reason = %reason.reason, "the signaling socket has closed");
            let event = Event::Closed { code: reason.code, reason: reason.reason.clone() };
            // The reason is there before the pending requests fail (with the driver) and look for it.
            close_sender.send_replace(Some(reason));
            let _ = driver.events.send(event);
        });
        Ok((Self { requests, events, closed, local }, hello, received))
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// When it is refused, the socket is closed, or no answer comes.
    pub(crate) async fn request(&self, kind: &str, fields: Map<String, Value>) -> Result<Value, ClientError> {
        let (answer, answered) = oneshot::channel();
        let request = Request { kind: kind.to_owned(), fields, answer };
        if self.requests.send(request).await.is_err() {
            return Err(self.close_reason());
        }
        match tokio::time::timeout(ANSWER_TIMEOUT, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(self.close_reason()),
            Err(_) => Err(ClientError::Unanswered { request: kind.to_owned(), after: ANSWER_TIMEOUT }),
        }
    }

    /// The events from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    fn close_reason(&self) -> ClientError {
        let reason = self.closed.borrow().clone();
        reason.unwrap_or(CloseReason { code: ABNORMAL, reason: "the socket's task has ended".to_owned() }).into()
    }
}

fn local_address(stream: &Stream) -> std::io::Result<IpAddr> {
    match stream.get_ref() {
        MaybeTlsStream::Plain(tcp) => Ok(tcp.local_addr()?.ip()),
        _ => Err(std::io::Error::other("only ws:// is supported")),
    }
}

/// The task that owns the stream.
struct Driver {
    stream: Stream,
    events: broadcast::Sender<Event>,
    pending: HashMap<u64, (String, oneshot::Sender<Result<Value, ClientError>>)>,
    last_id: u64,
}

impl Driver {
    async fn hello(&mut self, token: &str, device: Option<&str>) -> Result<Hello, ClientError> {
        let mut fields = Map::new();
        fields.insert("version".to_owned(), protocol::VERSION.into());
        fields.insert("token".to_owned(), token.into());
        if let Some(device) = device {
            fields.insert("device".to_owned(), device.into());
        }
        let (answer, mut answered) = oneshot::channel();
        self.write(Request { kind: "hello".to_owned(), fields, answer }).await?;
        loop {
            self.read_one().await?;
            if let Ok(answer) = answered.try_recv() {
                return parse("answer to hello", answer?);
            }
        }
    }

    async fn run(&mut self, mut queue: mpsc::Receiver<Request>, heartbeat: Duration) -> CloseReason {
        let mut beats = tokio::time::interval_at(Instant::now() + heartbeat, heartbeat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            let done = tokio::select! {
                request = queue.recv() => match request {
                    Some(request) => self.write(request).await,
                    None => {
                        let _ = self.stream.close(None).await;
                        Err(CloseReason { code: 1000, reason: "closed by this client".to_owned() })
                    }
                },
                frame = self.stream.next() => {
                    heard = Instant::now();
                    self.read(frame)
                }
                _ = beats.tick() => {
                    if heard.elapsed() > heartbeat.mul_f64(SILENT_HEARTBEATS) {
                        Err(CloseReason { code: 4408, reason: format!("the server was silent for {:?}", heard.elapsed()) })
                    } else {
                        let (answer, _) = oneshot::channel();
                        self.write(Request { kind: "ping".to_owned(), fields: Map::new(), answer }).await
                    }
                }
            };
            if let Err(reason) = done {
                return reason;
            }
        }
    }

    async fn write(&mut self, Request { kind, mut fields, answer }: Request) -> Result<(), CloseReason> {
        self.last_id += 1;
        fields.insert("id".to_owned(), self.last_id.into());
        fields.insert("type".to_owned(), kind.clone().into());
        self.pending.retain(|_, (_, waiting)| !waiting.is_closed());
        self.pending.insert(self.last_id, (kind, answer));
        let frame = Message::text(Value::Object(fields).to_string());
        self.stream.send(frame).await.map_err(|error| broken(&error))
    }

    async fn read_one(&mut self) -> Result<(), CloseReason> {
        let frame = self.stream.next().await;
        self.read(frame)
    }

    fn read(&mut self, frame: Option<Result<Message, tungstenite::Error>>) -> Result<(), CloseReason> {
        match frame {
            Some(Ok(Message::Text(text))) => self.on_text(&text),
            Some(Ok(Message::Close(frame))) => {
                return Err(match frame {
                    Some(frame) => CloseReason { code: frame.code.into(), reason: frame.reason.to_string() },
                    None => CloseReason { code: 1005, reason: "the server gave no reason".to_owned() },
                });
            }
            // Pings are answered by tungstenite.
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(broken(&error)),
            None => return Err(CloseReason { code: ABNORMAL, reason: "the connection was cut".to_owned() }),
        }
        Ok(())
    }

    fn on_text(&mut self, text: &str) {
        let frame: Map<String, Value> = match serde_json::from_str(text) {
            Ok(frame) => frame,
            Err(error) => return warn!(%error, "the server sent a frame that is no JSON object"),
        };
        if frame.contains_key("event") {
            match serde_json::from_value(Value::Object(frame)) {
                // Nobody listening is fine.
                Ok(event) => drop(self.events.send(event)),
                Err(error) => warn!(%error, text, "the server sent an event that cannot be read"),
            }
        } else if let Some(id) = frame.get("re").and_then(Value::as_u64) {
            self.on_answer(id, frame);
        } else {
            warn!(text, "the server sent a frame that is neither an answer nor an event");
        }
    }

    fn on_answer(&mut self, id: u64, mut frame: Map<String, Value>) {
        let Some((request, waiting)) = self.pending.remove(&id) else {
            return debug!(id, ?frame, "an answer nobody waits for");
        };
        let answer = match (frame.remove("ok"), frame.remove("error")) {
            (Some(ok), _) => Ok(ok),
            (None, Some(error)) => match parse::<Refusal>("error", error) {
                Ok(refusal) => Err(ClientError::Refused {
                    request,
                    code: refusal.code,
                    message: refusal.message,
                    retry_after: refusal.retry_after_ms.map(Duration::from_millis),
                }),
                Err(error) => Err(error),
            },
            (None, None) => Err(ClientError::Protocol {
                what: format!("answer to {request}"),
                detail: "it has neither ok nor error".to_owned(),
            }),
        };
        // The asker may have given up.
        let _ = waiting.send(answer);
    }
}

fn broken(error: &tungstenite::Error) -> CloseReason {
    CloseReason { code: ABNORMAL, reason: error.to_string() }
}

/// Reads a part of a frame into its type.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(what: &str, value: Value) -> Result<T, ClientError> {
    serde_json::from_value(value)
        .map_err(|error| ClientError::Protocol { what: what.to_owned(), detail: error.to_string() })
}
