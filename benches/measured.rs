//! What benches of a worker share: a thread whose CPU time can be read from outside, and a thread that receives what the worker sends.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::peer::Peer;

/// A runtime on the calling thread alone.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A thread whose CPU time can be read from outside.
pub(crate) struct Measured {
    schedstat: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: JoinHandle<()>,
}

impl Measured {
    /// Runs `work` on a runtime of its own until stopped; `work` gets what tells it to stop.
    pub(crate) fn spawn<T: Send + 'static>(
        work: impl AsyncFnOnce(oneshot::Receiver<()>, std::sync::mpsc::Sender<T>) + Send + 'static,
    ) -> (Self, T) {
        let (stop, stopped) = oneshot::channel();
        let (up, is_up) = std::sync::mpsc::channel();
        let (place, its_place) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            let thread = std::fs::read_link("/proc/thread-self").unwrap();
            place.send(PathBuf::from("/proc").join(thread).join("schedstat")).unwrap();
            runtime().block_on(work(stopped, up));
        });
        let schedstat = its_place.recv().unwrap();
        (Self { schedstat, stop: Some(stop), thread }, is_up.recv().unwrap())
    }

    /// CPU time so far.
    pub(crate) fn cpu(&self) -> Duration {
        let text = std::fs::read_to_string(&self.schedstat).unwrap();
        Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
    }

    /// Ends it.
    pub(crate) fn stop(mut self) {
        let _ = self.stop.take().unwrap().send(());
        self.thread.join().unwrap();
    }
}

/// Keeps peers alive and counts what they get, on a thread of its own.
pub(crate) fn drain(mut peers: Vec<Peer>) -> (Arc<AtomicBool>, Arc<AtomicU64>, JoinHandle<()>) {
    let (running, count) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
    let (is_running, counter) = (running.clone(), count.clone());
    let thread = thread::spawn(move || {
        while is_running.load(Ordering::Relaxed) {
            for peer in &mut peers {
                peer.keep = false;
                peer.pump();
            }
            counter.store(peers.iter().map(|peer| peer.rtp_count).sum(), Ordering::Relaxed);
            thread::sleep(Duration::from_micros(100));
        }
    });
    (running, count, thread)
}
