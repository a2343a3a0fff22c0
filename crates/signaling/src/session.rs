//! One WebSocket: `hello` first, then requests one after the other, as long as the token holds and something is heard now and then.
//! It reads; the [`outbox`](crate::outbox) writes; what a request leads to is told in [`serve`](crate::serve).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use futures_util::StreamExt;
use futures_util::stream::SplitStream;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, sleep_until, timeout};

use crate::event_stream::EventStream;
use crate::hub::Session;
use crate::hub::calls::random_id;
use crate::outbox::{Closing, Outbox, write};
use crate::protocol::{ErrorCode, Hello, MAX_FRAME, Party, Request, RequestFrame, VERSION, WireError, close};
use crate::rate::TokenBucket;
use crate::serve::{Services, serve};

/// How many requests of one socket may wait for the one being served.
const MAX_WAITING: usize = 64;
/// How long a closed socket is read on, so that the peer gets to see the close frame instead of a reset connection.
const LINGER: Duration = Duration::from_secs(2);
/// Nobody's session needs a longer timer than this, and timers have their limits.
pub(crate) const LONGEST_SESSION: Duration = Duration::from_secs(365 * 24 * 3600);

/// Runs a socket from `hello` to its end.
pub(crate) async fn run(services: Services, socket: WebSocket, stopping: watch::Receiver<bool>) {
    let (sink, stream) = socket.split();
    let (outbox, outgoings) = Outbox::new(services.config.outbox);
    let mut writer = tokio::spawn(write(outgoings, sink, services.config.heartbeat));
    let now = Instant::now();
    let mut reader = Reader {
        requests: TokenBucket::new(services.config.request_rate, now.into_std()),
        floods: TokenBucket::new(services.config.flood_rate, now.into_std()),
        outbox,
        stream,
        heard: now,
        services,
    };
    let closing = tokio::select! {
        closing = reader.read(stopping) => closing,
        _ = &mut writer => None,
    };
    // Where the peer has closed, nothing more can be said, and this ends the writer.
    let closing = closing.unwrap_or((close::NORMAL, ""));
    reader.outbox.close(closing);
    let Reader { outbox, mut stream, .. } = reader;
    drop(outbox);
    let linger = async {
        if !writer.is_finished() {
            let _ = (&mut writer).await;
        }
        while let Some(Ok(_)) = stream.next().await {}
        if closing.0 == close::TOO_LARGE {
            // The library reads no further after such a frame; waiting is what is left.
            tokio::time::sleep(LINGER / 2).await;
        }
    };
    if timeout(LINGER, linger).await.is_err() {
        writer.abort();
    }
}

struct Reader {
    services: Services,
    stream: SplitStream<WebSocket>,
    outbox: Outbox,
    requests: TokenBucket,
    floods: TokenBucket,
    /// When something was last heard.
    heard: Instant,
}

/// Something that came in.
enum Incoming {
    Request(RequestFrame),
    /// A ping, or something that has been answered already.
    Nothing,
}

impl Reader {
    /// Reads until the end; `None` where the peer has closed.
    async fn read(&mut self, mut stopping: watch::Receiver<bool>) -> Option<Closing> {
        let limit = self.services.config.hello_within;
        let hello = tokio::select! {
            hello = timeout(limit, self.hello()) => hello,
            _ = stopping.wait_for(|stopping| *stopping) => return Some((close::GOING_AWAY, "the server is shutting down")),
        };
        let (session, expires) = match hello {
            Err(_) => return Some((close::BAD_PROTOCOL, "no hello in time")),
            Ok(Err(closing)) => return closing,
            Ok(Ok(opened)) => opened,
        };
        // Also where this future is dropped because the writer has ended.
        let _present = Present { services: self.services.clone(), session: session.clone() };
        self.serve(&session, expires).await
    }

    /// Waits for the `hello` and opens the session; also says when the token expires.
    async fn hello(&mut self) -> Result<(Arc<Session>, Instant), Option<Closing>> {
        let frame = loop {
            match self.next().await? {
                Incoming::Request(frame) => break frame,
                Incoming::Nothing => {}
            }
        };
        let re = frame.id;
        let refuse = |outbox: &Outbox, error: WireError, closing: Closing| {
            outbox.answer::<()>(re, &Err(error));
            Some(closing)
        };
        let Request::Hello(Hello { version, token, device, resume }) = frame.request else {
            let error = WireError::new(ErrorCode::BadRequest, "type: the first request must be hello");
            return Err(refuse(&self.outbox, error, (close::BAD_PROTOCOL, "hello comes first")));
        };
        if version != VERSION {
            let message = format!("version: this server speaks version {VERSION}");
            let error = WireError::new(ErrorCode::UnsupportedVersion, message);
            return Err(refuse(&self.outbox, error, (close::BAD_PROTOCOL, "unsupported version")));
        }
        let verifier = &self.services.config.verifier;
        let claims = match verifier.verify(&token) {
            Ok(claims) => claims,
            Err(error) => return Err(refuse(&self.outbox, error, (close::UNAUTHORIZED, "the token is not valid"))),
        };
        let expires = Instant::now() + verifier.session_time(&claims).min(LONGEST_SESSION);
        let session = Session {
            number: 0,
            name: claims.display_name().to_owned(),
            party: Party { user: claims.sub, device: device.unwrap_or_else(|| random_id("d_")) },
            grants: claims.grants,
            outbox: self.outbox.clone(),
            told: Mutex::new(EventStream::new(random_id("s_"), self.services.config.outbox / 2)),
            in_view: Mutex::new(None),
        };
        let notes = self.services.open_notes(&session.party.user).await;
        let opened = self.services.hub.ask(move |hub, now| hub.open_session(now, re, session, notes, resume)).await;
        match opened.and_then(|opened| opened) {
            Ok(session) => Ok((session, expires)),
            Err(error) => Err(refuse(&self.outbox, error, (close::GOING_AWAY, "not available"))),
        }
    }

    /// Serves requests one after the other, while further ones, pings and the end are still heard.
    async fn serve(&mut self, session: &Arc<Session>, expires: Instant) -> Option<Closing> {
        let silence = self.services.config.heartbeat * 5 / 2;
        let mut waiting: VecDeque<RequestFrame> = VecDeque::new();
        let mut serving: Option<(u64, JoinHandle<()>)> = None;
        loop {
            if serving.is_none()
                && let Some(RequestFrame { id, request }) = waiting.pop_front()
            {
                // Not aborted with the session: what has begun on the media side must be finished or undone.
                serving = Some((id, tokio::spawn(serve(self.services.clone(), session.clone(), id, request))));
            }
            tokio::select! {
                incoming = next_frame(&mut self.stream) => {
                    self.heard = Instant::now();
                    match self.take(incoming) {
                        Err(closing) => return closing,
                        Ok(Incoming::Request(frame)) if waiting.len() >= MAX_WAITING => {
                            let message = format!("{MAX_WAITING} requests are waiting already");
                            let error = WireError::rate_limited(message, Duration::from_secs(1));
                            self.outbox.answer::<()>(frame.id, &Err(error));
                        }
                        Ok(Incoming::Request(RequestFrame { id, request: Request::Ping })) => {
                            self.outbox.answer(id, &Ok(serde_json::json!({})));
                        }
                        Ok(Incoming::Request(frame)) => waiting.push_back(frame),
                        Ok(Incoming::Nothing) => {}
                    }
                }
                served = finished(&mut serving) => {
                    if let Some((re, Err(error))) = served {
                        tracing::error!(re, %error, "a request panicked");
                        self.outbox.answer::<()>(re, &Err(WireError::new(ErrorCode::Internal, "the request failed")));
                    }
                }
                () = sleep_until(self.heard + silence) => return Some((close::SILENT, "nothing heard")),
                () = sleep_until(expires) => return Some((close::UNAUTHORIZED, "the token has expired")),
            }
        }
    }

    async fn next(&mut self) -> Result<Incoming, Option<Closing>> {
        let incoming = next_frame(&mut self.stream).await;
        self.heard = Instant::now();
        self.take(incoming)
    }

    /// Makes a request of what came in, under the rate limit; what is wrong with it is answered here.
    fn take(&mut self, incoming: Option<Result<Message, axum::Error>>) -> Result<Incoming, Option<Closing>> {
        let message = match incoming {
            Some(Ok(message)) => message,
            // The library gives up on a frame that is far too large before it is whole.
            Some(Err(error)) if error.to_string().contains("too long") => {
                self.outbox.answer::<()>(0, &Err(too_large()));
                return Err(Some((close::TOO_LARGE, "the frame is too large")));
            }
            Some(Err(_)) | None => return Err(None),
        };
        let text = match message {
            Message::Text(text) => Some(text),
            Message::Binary(_) => None,
            Message::Ping(_) | Message::Pong(_) => return Ok(Incoming::Nothing),
            Message::Close(_) => return Err(None),
        };
        let now = Instant::now().into_std();
        let limited = self.requests.take(now);
        let parsed = match &text {
            None => Err((0, WireError::new(ErrorCode::BadJson, "a text frame is required"))),
            Some(text) if text.len() > MAX_FRAME => Err((0, too_large())),
            Some(text) => RequestFrame::parse(text),
        };
        let re = parsed.as_ref().map_or_else(|(re, _)| *re, |frame| frame.id);
        if let Err(wait) = limited {
            if self.floods.take(now).is_err() {
                return Err(Some((close::FLOODING, "too many requests")));
            }
            self.outbox.answer::<()>(re, &Err(WireError::rate_limited("too many requests on this socket", wait)));
            return Ok(Incoming::Nothing);
        }
        match parsed {
            Ok(frame) => Ok(Incoming::Request(frame)),
            Err((re, error)) => {
                self.outbox.answer::<()>(re, &Err(error));
                Ok(Incoming::Nothing)
            }
        }
    }
}

fn too_large() -> WireError {
    WireError::new(ErrorCode::TooLarge, format!("a frame may have at most {MAX_FRAME} bytes"))
}

async fn next_frame(stream: &mut SplitStream<WebSocket>) -> Option<Result<Message, axum::Error>> {
    stream.next().await
}

/// Waits for the request being served, if there is one.
async fn finished(serving: &mut Option<(u64, JoinHandle<()>)>) -> Option<(u64, Result<(), JoinError>)> {
    let Some((re, handle)) = serving else { return std::future::pending().await };
    let result = handle.await;
    let re = *re;
    *serving = None;
    Some((re, result))
}

/// A session that is open; closed in the hub when this is dropped.
struct Present {
    services: Services,
    session: Arc<Session>,
}

impl Drop for Present {
    fn drop(&mut self) {
        let (hub, session) = (self.services.hub.clone(), self.session.clone());
        // Without a runtime the hub is gone too.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { hub.ask(move |hub, now| hub.close_session(now, &session)).await });
        }
    }
}
