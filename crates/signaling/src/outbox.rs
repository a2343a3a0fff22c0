//! What waits to be sent on one socket: a bounded queue that never makes the sender wait, and the task that writes it out.
//! Whoever does not read is closed; nobody else feels it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures_util::stream::SplitSink;
use futures_util::{Sink, SinkExt};
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use crate::protocol::{Answer, WireError, close, numbered};

/// How long one frame may take to be written. A socket that takes nothing for so long is as good as gone.
const WRITE_LIMIT: Duration = Duration::from_secs(10);
/// How long the last word may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// A close code and what people read with it.
pub(crate) type Closing = (u16, &'static str);

enum Outgoing {
    Text(String),
    Event(u64, Arc<str>),
    Close(Closing),
}

/// The sending end, cheap to clone.
#[derive(Clone)]
pub(crate) struct Outbox {
    queue: mpsc::Sender<Outgoing>,
    /// Ends the writer at once, whatever waits.
    kill: Arc<watch::Sender<Option<Closing>>>,
}

/// The receiving end, for [`write`].
pub(crate) struct Outgoings {
    queue: mpsc::Receiver<Outgoing>,
    kill: watch::Receiver<Option<Closing>>,
}

impl Outbox {
    pub(crate) fn new(capacity: usize) -> (Self, Outgoings) {
        let (queue, waiting) = mpsc::channel(capacity);
        let (kill, killed) = watch::channel(None);
        (Self { queue, kill: Arc::new(kill) }, Outgoings { queue: waiting, kill: killed })
    }

    /// Answers a request.
    pub(crate) fn answer<T: Serialize>(&self, re: u64, result: &Result<T, WireError>) {
        self.push(Outgoing::Text(Answer::frame(re, result)));
    }

    /// Sends the body of an event under its number, which is put in when it is written.
    pub(crate) fn event(&self, seq: u64, body: Arc<str>) {
        self.push(Outgoing::Event(seq, body));
    }

    /// Closes the socket after what waits.
    pub(crate) fn close(&self, closing: Closing) {
        self.push(Outgoing::Close(closing));
    }

    fn push(&self, outgoing: Outgoing) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.queue.try_send(outgoing) {
            self.kill.send_if_modified(|kill| kill.replace((close::TOO_SLOW, "too slow")).is_none());
        }
    }
}

/// Writes what waits until the socket is closed, or closes it.
pub(crate) async fn write(mut outgoings: Outgoings, mut sink: SplitSink<WebSocket, Message>, heartbeat: Duration) {
    let closing = write_until_close(&mut outgoings, &mut sink, heartbeat).await;
    if let Some((code, reason)) = closing {
        let frame = CloseFrame { code, reason: reason.into() };
        let _ = timeout(CLOSE_LIMIT, sink.send(Message::Close(Some(frame)))).await;
    }
    let _ = timeout(CLOSE_LIMIT, sink.close()).await;
}

async fn write_until_close(
    outgoings: &mut Outgoings,
    sink: &mut (impl Sink<Message> + Unpin),
    heartbeat: Duration,
) -> Option<Closing> {
    // Browsers answer WebSocket pings by themselves, also those whose timers sleep in a background tab.
    let mut pings = interval_at(Instant::now() + heartbeat, heartbeat);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let outgoing = tokio::select! {
            biased;
            closing = killed(&mut outgoings.kill) => return Some(closing),
            outgoing = outgoings.queue.recv() => Some(outgoing?),
            _ = pings.tick() => None,
        };
        let message = match outgoing {
            Some(Outgoing::Text(text)) => Message::text(text),
            Some(Outgoing::Event(seq, body)) => Message::text(numbered(seq, &body)),
            Some(Outgoing::Close(closing)) => return Some(closing),
            None => Message::Ping(Default::default()),
        };
        tokio::select! {
            biased;
            closing = killed(&mut outgoings.kill) => return Some(closing),
            written = timeout(WRITE_LIMIT, sink.send(message)) => match written {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return None,
                Err(_) => return Some((close::TOO_SLOW, "too slow")),
            },
        }
    }
}

async fn killed(kill: &mut watch::Receiver<Option<Closing>>) -> Closing {
    let closing = kill.wait_for(Option::is_some).await.map(|closing| *closing);
    match closing {
        Ok(closing) => closing.unwrap_or((close::TOO_SLOW, "too slow")),
        // All outboxes are dropped; the queue ends by itself once it is empty.
        Err(_) => std::future::pending().await,
    }
}
