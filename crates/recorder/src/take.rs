//! Takes on their way to disk: one thread writes all of them, so that neither a media worker nor the runtime ever waits for a disk. Each take has a bounded
//! queue; one that cannot be written as fast as it comes, or at all, ends with a reason, and what is on disk stays. Everything is handed to the operating
//! system four times a second, so that a process that is killed loses less than a second.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use crate::error::RecorderError;
use crate::note::TakeReason;
use crate::packet::TakeEvent;
use crate::spool::{self, SpoolHeader, SpoolWriter};

/// How many events of one take may wait to be written: 20 s of sound, four of a large picture. More rides out a slower disk, and costs memory.
const QUEUE: usize = 2_048;

/// How often everything is handed to the operating system.
const FLUSH: Duration = Duration::from_millis(250);

/// A level this loud (in -dBov) is somebody speaking.
const VOICE_LEVEL: u8 = 50;

/// What the takes tell whoever records: the note, and why its take ended or that somebody speaks in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TakeNews {
    Ended(String, TakeReason),
    Voice(String),
}

enum Order {
    Begin { number: u64, header: SpoolHeader },
    Event { number: u64, event: TakeEvent, queued: Arc<AtomicUsize> },
    End { number: u64, reply: oneshot::Sender<Result<PathBuf, TakeReason>> },
}

/// The thread that writes takes. It ends when this and all its [`TakeWriter`]s are gone.
#[derive(Debug, Clone)]
pub(crate) struct Takes {
    orders: Sender<Order>,
    numbers: Arc<std::sync::atomic::AtomicU64>,
    news: mpsc::UnboundedSender<TakeNews>,
}

/// Where a take's events go. Never blocks. Dropping it does not end the take.
#[derive(Debug)]
pub struct TakeWriter {
    number: u64,
    note: String,
    orders: Sender<Order>,
    queued: Arc<AtomicUsize>,
    over: AtomicBool,
    news: mpsc::UnboundedSender<TakeNews>,
    /// Tell when somebody speaks: the note ends by silence.
    listens: bool,
}

/// What ends a take.
#[derive(Debug)]
pub(crate) struct TakeEnd {
    number: u64,
    orders: Sender<Order>,
}

impl Takes {
    /// Starts the thread; takes lie in `folder`.
    pub(crate) fn start(folder: PathBuf) -> io::Result<(Self, mpsc::UnboundedReceiver<TakeNews>)> {
        let (orders, waiting) = channel();
        let (news, heard) = mpsc::unbounded_channel();
        let told = news.clone();
        std::thread::Builder::new().name("ringback-takes".to_owned()).spawn(move || write(&folder, &waiting, &told))?;
        Ok((Self { orders, numbers: Arc::default(), news }, heard))
    }

    /// Begins a take.
    pub(crate) fn begin(&self, header: SpoolHeader, listens: bool) -> (TakeWriter, TakeEnd) {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let note = header.note.clone();
        // The thread lives as long as this handle does.
        let _ = self.orders.send(Order::Begin { number, header });
        let writer = TakeWriter {
            number,
            note,
            orders: self.orders.clone(),
            queued: Arc::default(),
            over: AtomicBool::new(false),
            news: self.news.clone(),
            listens,
        };
        (writer, TakeEnd { number, orders: self.orders.clone() })
    }
}

impl TakeWriter {
    /// Keeps an event. False once the take cannot be kept any more: whoever feeds it may stop.
    pub fn push(&self, event: TakeEvent) -> bool {
        if self.over.load(Ordering::Relaxed) {
            return false;
        }
        if self.listens
            && let TakeEvent::Packet(packet) = &event
            && packet.level.is_some_and(|level| level < VOICE_LEVEL)
        {
            let _ = self.news.send(TakeNews::Voice(self.note.clone()));
        }
        if self.queued.fetch_add(1, Ordering::Relaxed) >= QUEUE {
            self.end(TakeReason::Overrun);
            return false;
        }
        self.orders.send(Order::Event { number: self.number, event, queued: self.queued.clone() }).is_ok()
    }

    /// The take breaks off; what has come is kept.
    pub fn end(&self, reason: TakeReason) {
        if !self.over.swap(true, Ordering::Relaxed) {
            let _ = self.news.send(TakeNews::Ended(self.note.clone(), reason));
        }
    }
}

impl TakeEnd {
    /// Everything that was pushed so far is on disk, in this file.
    ///
    /// # Errors
    /// Where not even a file could be made. One that could be written in part is no error.
    pub(crate) async fn finish(self) -> Result<PathBuf, TakeReason> {
        let (reply, answer) = oneshot::channel();
        self.orders.send(Order::End { number: self.number, reply }).map_err(|_| TakeReason::Failed)?;
        answer.await.map_err(|_| TakeReason::Failed)?
    }
}

struct Open {
    note: String,
    path: PathBuf,
    /// `None` once it failed.
    spool: Option<SpoolWriter>,
}

/// The thread: carries out orders, and flushes in between.
fn write(folder: &std::path::Path, orders: &Receiver<Order>, news: &mpsc::UnboundedSender<TakeNews>) {
    let mut takes: HashMap<u64, Open> = HashMap::new();
    let mut flush_at = Instant::now() + FLUSH;
    loop {
        match orders.recv_timeout(flush_at.saturating_duration_since(Instant::now())) {
            Ok(Order::Begin { number, header }) => {
                let path = spool::path(folder, &header.note, header.take);
                let spool = SpoolWriter::create(folder, &header);
                let mut open = Open { note: header.note, path, spool: None };
                match spool {
                    Ok(spool) => open.spool = Some(spool),
                    Err(error) => open.fail(&error, news),
                }
                takes.insert(number, open);
            }
            Ok(Order::Event { number, event, queued }) => {
                queued.fetch_sub(1, Ordering::Relaxed);
                let Some(open) = takes.get_mut(&number) else { continue };
                let Some(spool) = &mut open.spool else { continue };
                if let Err(error) = spool.append(&event) {
                    open.fail(&error, news);
                }
            }
            Ok(Order::End { number, reply }) => {
                let done = match takes.remove(&number) {
                    None => Err(TakeReason::Failed),
                    Some(Open { spool: Some(spool), path, .. }) => {
                        if let Err(error) = spool.finish() {
                            tracing::warn!(%error, "the end of a take is not on disk");
                        }
                        Ok(path)
                    }
                    Some(Open { path, .. }) if path.exists() => Ok(path),
                    Some(_) => Err(TakeReason::Disk),
                };
                let _ = reply.send(done);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if Instant::now() >= flush_at {
            flush_at = Instant::now() + FLUSH;
            for open in takes.values_mut() {
                if let Some(Err(error)) = open.spool.as_mut().map(SpoolWriter::flush) {
                    open.fail(&error, news);
                }
            }
        }
    }
}

impl Open {
    fn fail(&mut self, error: &RecorderError, news: &mpsc::UnboundedSender<TakeNews>) {
        tracing::error!(%error, "a take ends");
        self.spool = None;
        let _ = news.send(TakeNews::Ended(self.note.clone(), TakeReason::Disk));
    }
}
