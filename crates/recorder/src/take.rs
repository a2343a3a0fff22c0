//! Takes on their way to disk: one thread writes all of them, so that neither a media worker nor the runtime ever waits for a disk. Each take has a bounded
//! queue; one that cannot be written as fast as it comes, or at all, ends with a reason, and what is on disk stays. The thread wakes five times a second, not for
//! each packet, and hands everything to the operating system then, so that a process that is killed loses less than a second.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::Thread;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use crate::listener::Listener;
use crate::note::TakeReason;
use crate::packet::TakeEvent;
use crate::spool::{self, SpoolHeader, SpoolWriter};

/// How many events of one take may wait to be written: 40 s of sound, four of a large picture. More rides out a slower disk, and costs memory.
const QUEUE: usize = 2_048;

/// A take with this many events waiting wakes the thread early: a burst is no slow disk.
const EARLY: usize = QUEUE / 4;

/// How often what has come is written. Less often costs less per packet, and loses more when the process is killed.
const TICK: Duration = Duration::from_millis(200);

/// How often the disk is asked how much room it has.
const ROOM_INTERVAL: Duration = Duration::from_secs(1);

/// What must stay free beside room for the files of all takes, in bytes: the database goes on, and what comes within [`ROOM_INTERVAL`] fits. More ends takes earlier
/// on a disk that is nearly full.
const ROOM: u64 = 16 << 20;

/// What the takes tell whoever records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TakeNews {
    pub(crate) note: String,
    /// Which take: a late word about one is not about the next.
    pub(crate) take: u32,
    /// Why it ended; `None`: somebody speaks in it.
    pub(crate) ended: Option<TakeReason>,
}

enum Item {
    Event(TakeEvent),
    End(oneshot::Sender<Result<PathBuf, TakeReason>>),
    #[cfg(test)]
    Stall(Receiver<()>),
}

struct Begin {
    header: SpoolHeader,
    items: Receiver<Item>,
    queued: Arc<AtomicUsize>,
    listens: bool,
}

/// The thread that writes takes. It ends when this and all its [`TakeWriter`]s are gone.
#[derive(Debug, Clone)]
pub(crate) struct Takes {
    begins: Sender<Begin>,
    thread: Thread,
    news: mpsc::UnboundedSender<TakeNews>,
}

/// Where a take's events go. Never blocks. Dropping it does not end the take.
#[derive(Debug)]
pub struct TakeWriter {
    note: String,
    take: u32,
    items: Sender<Item>,
    queued: Arc<AtomicUsize>,
    over: AtomicBool,
    thread: Thread,
    news: mpsc::UnboundedSender<TakeNews>,
}

/// What ends a take.
#[derive(Debug)]
pub(crate) struct TakeEnd {
    items: Sender<Item>,
    thread: Thread,
}

impl Takes {
    /// Starts the thread; takes lie in `folder`.
    pub(crate) fn start(folder: PathBuf) -> io::Result<(Self, mpsc::UnboundedReceiver<TakeNews>)> {
        let (begins, begun) = channel();
        let (news, heard) = mpsc::unbounded_channel();
        let told = news.clone();
        let work = move || write(&folder, &begun, &told);
        let thread = std::thread::Builder::new().name("ringback-takes".to_owned()).spawn(work)?.thread().clone();
        Ok((Self { begins, thread, news }, heard))
    }

    /// Begins a take. With `listens`, it is told when somebody speaks.
    pub(crate) fn begin(&self, header: SpoolHeader, listens: bool) -> (TakeWriter, TakeEnd) {
        let (items, waiting) = channel();
        let queued = Arc::new(AtomicUsize::new(0));
        let writer = TakeWriter {
            note: header.note.clone(),
            take: header.take,
            items: items.clone(),
            queued: queued.clone(),
            over: AtomicBool::new(false),
            thread: self.thread.clone(),
            news: self.news.clone(),
        };
        // The thread lives as long as this handle does.
        let _ = self.begins.send(Begin { header, items: waiting, queued, listens });
        self.thread.unpark();
        (writer, TakeEnd { items, thread: self.thread.clone() })
    }
}

impl TakeWriter {
    /// Keeps an event. False once the take cannot be kept any more: whoever feeds it may stop.
    pub fn push(&self, event: TakeEvent) -> bool {
        if self.over.load(Ordering::Relaxed) {
            return false;
        }
        match self.queued.fetch_add(1, Ordering::Relaxed) {
            QUEUE.. => {
                self.end(TakeReason::Overrun);
                return false;
            }
            EARLY => self.thread.unpark(),
            _ => {}
        }
        self.items.send(Item::Event(event)).is_ok()
    }

    /// The take breaks off; what has come is kept.
    pub fn end(&self, reason: TakeReason) {
        if !self.over.swap(true, Ordering::Relaxed) {
            let (note, take, ended) = (self.note.clone(), self.take, Some(reason));
            let _ = self.news.send(TakeNews { note, take, ended });
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
        self.items.send(Item::End(reply)).map_err(|_| TakeReason::Failed)?;
        self.thread.unpark();
        answer.await.map_err(|_| TakeReason::Failed)?
    }
}

/// A take that is being written.
struct Open {
    note: String,
    take: u32,
    path: PathBuf,
    /// `None` once it failed.
    spool: Option<SpoolWriter>,
    items: Receiver<Item>,
    queued: Arc<AtomicUsize>,
    listener: Option<Listener>,
}

/// The thread: writes what has come, five times a second.
fn write(folder: &Path, begun: &Receiver<Begin>, news: &mpsc::UnboundedSender<TakeNews>) {
    let mut takes: Vec<Open> = Vec::new();
    let mut room = Room::default();
    loop {
        if takes.is_empty() {
            match begun.recv() {
                Ok(begin) => takes.push(Open::begin(folder, begin, news)),
                Err(_) => return,
            }
        }
        takes.extend(begun.try_iter().map(|begin| Open::begin(folder, begin, news)));
        takes.retain_mut(|open| open.write(news));
        if !room.suffices(folder, Instant::now(), &takes) {
            let written = takes.iter_mut().filter(|open| open.spool.is_some());
            written.for_each(|open| open.fail("the disk is nearly full", news));
        }
        if !takes.is_empty() {
            std::thread::park_timeout(TICK);
        }
    }
}

impl Open {
    fn begin(folder: &Path, begin: Begin, news: &mpsc::UnboundedSender<TakeNews>) -> Self {
        let path = spool::path(folder, &begin.header.note, begin.header.take);
        let created = SpoolWriter::create(folder, &begin.header);
        // Without a decoder nobody is heard, and the note ends too early: it can be recorded again.
        let listener = begin.listens.then(Listener::new).and_then(Result::ok);
        let (SpoolHeader { note, take, .. }, items, queued) = (begin.header, begin.items, begin.queued);
        let mut open = Self { note, take, path, spool: None, items, queued, listener };
        match created {
            Ok(spool) => open.spool = Some(spool),
            Err(error) => open.fail(error, news),
        }
        open
    }

    /// Writes what has come, and hands it to the operating system; false once the take is over.
    fn write(&mut self, news: &mpsc::UnboundedSender<TakeNews>) -> bool {
        // No take keeps the others waiting by sending faster than can be written.
        for _ in 0..QUEUE {
            match self.items.try_recv() {
                Ok(Item::Event(event)) => {
                    self.queued.fetch_sub(1, Ordering::Relaxed);
                    self.append(&event, news);
                }
                Ok(Item::End(reply)) => {
                    let _ = reply.send(self.finish());
                    return false;
                }
                #[cfg(test)]
                Ok(Item::Stall(until)) => _ = until.recv(),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    let _ = self.finish();
                    return false;
                }
            }
        }
        if let Some(Err(error)) = self.spool.as_mut().map(SpoolWriter::flush) {
            self.fail(error, news);
        }
        true
    }

    fn append(&mut self, event: &TakeEvent, news: &mpsc::UnboundedSender<TakeNews>) {
        let Some(spool) = &mut self.spool else { return };
        if let Err(error) = spool.append(event) {
            return self.fail(error, news);
        }
        if let Some(listener) = &mut self.listener
            && let TakeEvent::Packet(packet) = event
            && listener.hears(packet)
        {
            self.tell(None, news);
        }
    }

    fn finish(&mut self) -> Result<PathBuf, TakeReason> {
        if let Some(Err(error)) = self.spool.take().map(SpoolWriter::finish) {
            tracing::error!(%error, note = self.note, "the end of a take is not on disk");
        }
        if self.path.exists() { Ok(self.path.clone()) } else { Err(TakeReason::Disk) }
    }

    /// Ends it; what is on disk stays.
    fn fail(&mut self, error: impl std::fmt::Display, news: &mpsc::UnboundedSender<TakeNews>) {
        tracing::error!(%error, note = self.note, "a take ends");
        self.spool = None;
        self.tell(Some(TakeReason::Disk), news);
    }

    fn tell(&self, ended: Option<TakeReason>, news: &mpsc::UnboundedSender<TakeNews>) {
        let _ = news.send(TakeNews { note: self.note.clone(), take: self.take, ended });
    }
}

/// Whether the disk has room. A take must end while the file that is made of it, which is as large as the take, still fits beside it.
#[derive(Default)]
struct Room {
    asked: Option<Instant>,
}

impl Room {
    fn suffices(&mut self, folder: &Path, now: Instant, takes: &[Open]) -> bool {
        if self.asked.is_some_and(|asked| now.saturating_duration_since(asked) < ROOM_INTERVAL) {
            return true;
        }
        self.asked = Some(now);
        let files: u64 = takes.iter().filter_map(|open| open.spool.as_ref()).map(SpoolWriter::written).sum();
        // Where the system does not say, writing will.
        fs4::available_space(folder).map_or(true, |available| available >= files + ROOM)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::packet::{Codec, NoteKind, TakePacket, TrackKind};

    fn header(take: u32) -> SpoolHeader {
        SpoolHeader { note: "n".to_owned(), take, kind: NoteKind::Voice, began_at: 0 }
    }

    fn packet(sequence: u16, level: Option<u8>, payload: Vec<u8>) -> TakeEvent {
        TakeEvent::Packet(TakePacket {
            track: TrackKind::Audio,
            codec: Codec::Opus,
            arrival: Duration::from_millis(20 * u64::from(sequence)),
            sequence,
            timestamp: 960 * u32::from(sequence),
            marker: false,
            level,
            payload: payload.into(),
        })
    }

    #[tokio::test]
    async fn a_disk_that_does_not_answer_ends_the_take_and_what_came_before_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (takes, mut news) = Takes::start(folder.path().to_owned()).unwrap();
        let (writer, end) = takes.begin(header(1), false);
        let (answers, until) = channel();
        end.items.send(Item::Stall(until)).unwrap();
        let kept = (0..u16::MAX).take_while(|sequence| writer.push(packet(*sequence, None, vec![8; 40]))).count();
        assert_eq!(kept, QUEUE);
        let ended = Some(TakeReason::Overrun);
        assert_eq!(news.recv().await.unwrap(), TakeNews { note: "n".to_owned(), take: 1, ended });
        assert!(!writer.push(packet(0, None, vec![8])), "it takes no more");
        answers.send(()).unwrap();
        let (_, events) = spool::read_spool(&end.finish().await.unwrap()).unwrap();
        assert_eq!(events.len(), QUEUE);
    }

    #[tokio::test]
    async fn a_burst_longer_than_the_queue_is_no_slow_disk() {
        let folder = tempfile::tempdir().unwrap();
        let (takes, mut news) = Takes::start(folder.path().to_owned()).unwrap();
        let (writer, end) = takes.begin(header(1), false);
        for sequence in 0..3 * QUEUE as u16 {
            assert!(writer.push(packet(sequence, None, vec![8; 40])));
            if usize::from(sequence).is_multiple_of(EARLY) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        let (_, events) = spool::read_spool(&end.finish().await.unwrap()).unwrap();
        assert_eq!(events.len(), 3 * QUEUE);
        assert!(news.try_recv().is_err());
    }

    #[tokio::test]
    async fn what_was_pushed_is_on_disk_within_a_second_without_anybody_ending_the_take() {
        let folder = tempfile::tempdir().unwrap();
        let (takes, _news) = Takes::start(folder.path().to_owned()).unwrap();
        let (writer, _end) = takes.begin(header(1), false);
        (0..50).for_each(|sequence| assert!(writer.push(packet(sequence, None, vec![8; 40]))));
        tokio::time::sleep(Duration::from_millis(900)).await;
        let (_, events) = spool::read_spool(&spool::path(folder.path(), "n", 1)).unwrap();
        assert_eq!(events.len(), 50);
    }

    #[tokio::test]
    async fn a_voice_is_heard_by_its_level_or_where_there_is_none_in_the_sound() {
        let folder = tempfile::tempdir().unwrap();
        let (takes, mut news) = Takes::start(folder.path().to_owned()).unwrap();
        let cases = [(Some(127), 0.5, false), (Some(30), 0.0, true), (None, 0.5, true), (None, 0.0, false)];
        for (take, (level, amplitude, voice)) in (1..).zip(cases) {
            let (writer, end) = takes.begin(header(take), true);
            let mut encoder = opus::Encoder::new(48_000, opus::Channels::Mono, opus::Application::Voip).unwrap();
            for sequence in 0..10 {
                let pcm: Vec<f32> = (0..960).map(|n| amplitude * (n as f32 * 0.03).sin()).collect();
                assert!(writer.push(packet(sequence, level, encoder.encode_vec_float(&pcm, 1_275).unwrap())));
            }
            end.finish().await.unwrap();
            let told = std::iter::from_fn(|| news.try_recv().ok()).count();
            assert_eq!(told, usize::from(voice), "level {level:?}, amplitude {amplitude}");
        }
    }
}
