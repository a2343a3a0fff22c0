//! One job at work: does what its machine says, keeps each change before what follows from it is begun, and hears what users and providers say meanwhile.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::steps::{News, Outcome};
use super::{Inner, unix_ms};
use crate::info::ImageInfo;
use crate::job::{Job, JobInput, JobOutput, JobState};
use crate::money::Money;
use crate::store::JobRow;

/// How long to wait until a change that could not be kept is tried again, at first; twice as long each time.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// The longest of these pauses.
const LAST_WAIT: Duration = Duration::from_secs(10);

/// How often a provider is told that a job is not wanted.
const CANCELS: u32 = 3;

/// More than this much must be done since it was last told.
const PROGRESS: f32 = 0.05;

/// A step that is under way, in a task of its own: it ends with this, and a panic in it costs nobody else anything.
type Step = JoinSet<Outcome>;

/// Carries a job on until it is over, somebody else does, or the service stops.
pub(super) async fn drive(inner: Arc<Inner>, row: JobRow, job: Job, told: mpsc::UnboundedReceiver<JobInput>) {
    let id = row.id.clone();
    let mut running = inner.running.clone();
    // What a former process handed over has a place there already.
    let there = matches!(row.state, JobState::Submitted | JobState::Running);
    let provider = inner.provider(&row.provider).filter(|_| there);
    let place = provider.and_then(|provider| provider.places.clone().try_acquire_owned().ok());
    let work = Work { kept: row.clone(), row, job, step: None, inline: None, place, shown: 0.0 };
    tokio::select! {
        () = work.run(&inner, told) => { inner.active().remove(&id); }
        // The service stops, or is gone. It is gone on with by the next one.
        _ = running.changed() => {}
    }
}

struct Work {
    row: JobRow,
    /// As it stands in the database.
    kept: JobRow,
    job: Job,
    step: Option<Step>,
    /// A picture that came with an answer.
    inline: Option<bytes::Bytes>,
    /// Our place at the provider.
    place: Option<tokio::sync::OwnedSemaphorePermit>,
    /// How much was done when it was last told.
    shown: f32,
}

impl Work {
    async fn run(mut self, inner: &Arc<Inner>, mut told: mpsc::UnboundedReceiver<JobInput>) {
        loop {
            while let Some(output) = self.job.poll_output() {
                if output == JobOutput::Changed {
                    if !self.keep(inner).await {
                        tracing::warn!(image = self.row.id, "somebody else carries this image on");
                        return;
                    }
                } else {
                    self.begin(inner, output);
                }
            }
            if self.job.state().is_final() {
                return;
            }
            let timeout = self.job.poll_timeout();
            tokio::select! {
                outcome = answer(&mut self.step) => {
                    self.step = None;
                    let input = self.note(inner, outcome);
                    self.job.handle(Instant::now(), input);
                }
                Some(input) = told.recv() => self.job.handle(Instant::now(), input),
                () = until(timeout) => self.job.handle_timeout(Instant::now()),
            }
        }
    }

    /// Begins what is to be done. What was under way is not wanted any more.
    fn begin(&mut self, inner: &Arc<Inner>, output: JobOutput) {
        let (inner, row) = (inner.clone(), self.row.clone());
        let work: Pin<Box<dyn Future<Output = Outcome> + Send>> = match output {
            JobOutput::Prepare => Box::pin(async move { inner.prepare(&row).await }),
            JobOutput::Submit => Box::pin(async move { inner.submit(&row).await }),
            JobOutput::Poll => Box::pin(async move { inner.poll(&row).await }),
            JobOutput::Fetch => {
                let inline = self.inline.clone();
                Box::pin(async move { inner.fetch(&row, inline).await })
            }
            JobOutput::Review => Box::pin(async move { inner.review(&row).await }),
            JobOutput::CancelRemote => {
                tokio::spawn(async move { cancel(&inner, &row).await });
                return;
            }
            JobOutput::Changed => return,
        };
        let mut step = JoinSet::new();
        step.spawn(work);
        self.step = Some(step);
    }

    /// Notes what a step has found out, and says what it means for the machine.
    fn note(&mut self, inner: &Inner, outcome: Outcome) -> JobInput {
        match outcome.news {
            News::Nothing => {}
            News::Place(place) => self.place = Some(place),
            News::Handle(handle) => self.row.handle = Some(handle),
            News::Link(link) => self.row.link = Some(link),
            News::Inline { bytes, picture } => (self.inline, self.row.picture) = (Some(bytes), picture),
            News::Picture(picture) => self.row.picture = Some(picture),
            News::Detail(detail) => self.row.detail = Some(detail),
            News::Done(done) => {
                if self.job.state() == JobState::Running && done > self.shown + PROGRESS {
                    self.shown = done;
                    let image = ImageInfo { progress: Some(done.min(1.0)), ..ImageInfo::of(&self.row) };
                    inner.emit(&self.row, image, None);
                }
            }
        }
        outcome.input
    }

    /// Keeps where the job stands, however long the database takes, and tells it. False: somebody else has changed it.
    async fn keep(&mut self, inner: &Arc<Inner>) -> bool {
        self.row.state = self.job.state();
        self.row.reason = self.job.reason();
        if self.row == self.kept {
            return true;
        }
        // One that goes back into the queue must not wait for the place that it holds itself.
        if matches!(self.row.state, JobState::Queued | JobState::Fetching) || self.row.state.is_final() {
            self.place = None;
        }
        if self.row.state.is_final() {
            self.row.ended_at = Some(unix_ms());
            self.row.charged = if self.job.is_paid() { self.row.cost } else { Money::ZERO };
            self.row.link = None;
            if self.row.state != JobState::Posted {
                self.row.picture = None;
            }
        }
        if !keep(inner, &mut self.row).await {
            return false;
        }
        if let Some(picture) = self.kept.picture.take().filter(|_| self.row.picture.is_none()) {
            // Otherwise the sweep does.
            let _ = inner.bytes.delete(&picture.key).await;
        }
        self.kept = self.row.clone();
        inner.tell(&self.row);
        true
    }
}

/// Keeps a row, again and again where the database fails.
pub(super) async fn keep(inner: &Inner, row: &mut JobRow) -> bool {
    let mut wait = FIRST_WAIT;
    let mut unsure = false;
    loop {
        match inner.store.change_job(row).await {
            Ok(true) => return true,
            // A commit whose answer was lost looks like somebody else's.
            Ok(false) if unsure => match inner.store.job(&row.id).await {
                Ok(Some(kept))
                    if kept.revision == row.revision + 1 && kept.state == row.state && kept.handle == row.handle =>
                {
                    row.revision = kept.revision;
                    return true;
                }
                Ok(_) => return false,
                Err(error) => tracing::error!(%error, image = row.id, "an image cannot be read"),
            },
            Ok(false) => return false,
            Err(error) => {
                unsure = true;
                tracing::error!(%error, image = row.id, again_in = ?wait, "an image cannot be kept");
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LAST_WAIT);
    }
}

/// Tells a provider that a job is not wanted any more.
async fn cancel(inner: &Inner, row: &JobRow) {
    let (Some(provider), Some(handle)) = (inner.provider(&row.provider), &row.handle) else { return };
    let mut wait = FIRST_WAIT;
    for _ in 0..CANCELS {
        match provider.client.cancel(handle).await {
            Ok(()) => return,
            Err(error) => tracing::debug!(%error, image = row.id, "an image cannot be cancelled at its provider"),
        }
        tokio::time::sleep(wait).await;
        wait *= 2;
    }
}

async fn answer(step: &mut Option<Step>) -> Outcome {
    match step {
        Some(step) => match step.join_next().await {
            Some(Ok(outcome)) => outcome,
            _ => Outcome::broken(),
        },
        None => std::future::pending().await,
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
