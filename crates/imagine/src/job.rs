//! One image, from the prompt to the thread, as a state machine without clock, socket or database: Queued → Submitted → Running → Fetching → Posted, Refused, Failed,
//! Cancelled or Expired. It decides what is done next and when, and what may be done again: a submission that may have been taken is repeated only where
//! the provider does not make it twice. Whoever drives it keeps each change before doing what follows from it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::provider::FailReason;

/// The pause before the first retry. Shorter finds a provider that is well again sooner, longer spares one that is not.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// The longest of these pauses, where the provider does not ask for more.
const LAST_RETRY: Duration = Duration::from_secs(30);

/// The pause before the first poll and between the next ones; it grows by a quarter each time. Pictures take 2 to 60 seconds.
const FIRST_POLL: Duration = Duration::from_secs(1);

/// The longest pause between polls: how late a picture may be noticed that takes minutes.
const LAST_POLL: Duration = Duration::from_secs(5);

/// How long a result is tried to be fetched. Black Forest Labs' links live 10 minutes.
const RESULT_HOLDS: Duration = Duration::from_secs(600);

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Nothing has left the server yet.
    Queued,
    /// The prompt is on its way to the provider, which may or may not have it.
    Submitted,
    /// The provider has it, and says so.
    Running,
    /// The picture is made, and is being fetched, checked and kept.
    Fetching,
    /// The picture is in the thread.
    Posted,
    /// The embedder or the provider did not want it made or shown.
    Refused,
    /// It could not be done.
    Failed,
    /// The user did not want it any more.
    Cancelled,
    /// Nobody made it in time.
    Expired,
}

impl JobState {
    const ALL: [Self; 9] = [
        Self::Queued,
        Self::Submitted,
        Self::Running,
        Self::Fetching,
        Self::Posted,
        Self::Refused,
        Self::Failed,
        Self::Cancelled,
        Self::Expired,
    ];

    /// As on the wire and in rows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Submitted => "submitted",
            Self::Running => "running",
            Self::Fetching => "fetching",
            Self::Posted => "posted",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// Reads [`as_str`](Self::as_str).
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Whether nothing more becomes of it.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Posted | Self::Refused | Self::Failed | Self::Cancelled | Self::Expired)
    }
}

/// What the machine needs to know of the provider, and how patient it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobRules {
    /// Whether a submission may be repeated, see [`Capabilities::repeatable`](crate::Capabilities::repeatable).
    pub repeatable: bool,
    /// Whether there will be a handle to cancel with, see [`Capabilities::resumable`](crate::Capabilities::resumable).
    pub resumable: bool,
    /// How long it may take until the provider has made it, from the user's request on.
    pub expires: Duration,
}

/// What is known of a job that a former process left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// Where it stood.
    pub state: JobState,
    /// Whether the picture's bytes are kept already.
    pub kept: bool,
    /// How long ago the user asked.
    pub age: Duration,
}

/// What happens to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobInput {
    /// The prompt may leave, and the provider has a place free: see [`JobOutput::Prepare`].
    Prepared,
    /// The provider has it.
    Accepted,
    /// The provider has not finished.
    Working,
    /// The picture is made.
    Made,
    /// The picture's bytes are kept.
    Kept,
    /// The picture may be shown.
    Approved,
    /// Somebody who may refuses.
    Refused {
        /// Whether the provider counts it as paid.
        paid: bool,
    },
    /// What was tried did not happen: it may be tried again.
    Again {
        /// How long to wait at least.
        after: Option<Duration>,
    },
    /// What was tried may have happened.
    Unknown {
        /// How long to wait at least.
        after: Option<Duration>,
    },
    /// It will never work.
    Failed(FailReason),
    /// The user does not want it any more.
    Cancel,
    /// The provider says that there is news.
    Look,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobOutput {
    /// The state has changed: keep it, and tell it, before anything that follows is done.
    Changed,
    /// Ask whether the prompt may leave, and wait for a place at the provider.
    Prepare,
    /// Hand it over.
    Submit,
    /// Ask how far it is.
    Poll,
    /// Get the picture, check it, and keep its bytes.
    Fetch,
    /// Ask whether the picture may be shown.
    Review,
    /// Tell the provider that it is not wanted any more.
    CancelRemote,
}

/// The state machine of one image.
#[derive(Debug, Clone)]
pub struct Job {
    rules: JobRules,
    state: JobState,
    reason: Option<FailReason>,
    /// Something was asked for and has not been answered.
    busy: bool,
    /// What is done next, and when.
    due: Option<(Instant, JobOutput)>,
    /// Until when the provider may take.
    deadline: Instant,
    /// Until when the result may be fetched.
    result_until: Option<Instant>,
    /// The pause before the next retry, before dice.
    retry: Duration,
    poll: Duration,
    /// It counts as paid.
    paid: bool,
    /// A submission without an answer may have been taken, whatever the next one is told.
    unsure: bool,
    /// Cancel as soon as there is something to cancel with.
    cancelling: bool,
    dice: StdRng,
    outputs: VecDeque<JobOutput>,
}

impl Job {
    /// A job that the user asks for now.
    pub fn new(now: Instant, rules: JobRules, seed: u64) -> Self {
        Self {
            rules,
            state: JobState::Queued,
            reason: None,
            busy: true,
            due: None,
            deadline: now + rules.expires,
            result_until: None,
            retry: FIRST_RETRY,
            poll: FIRST_POLL,
            paid: false,
            unsure: false,
            cancelling: false,
            dice: StdRng::seed_from_u64(seed),
            outputs: VecDeque::from([JobOutput::Prepare]),
        }
    }

    /// A job that a former process left. What was being submitted then is submitted again where that costs nothing more, and has failed otherwise.
    pub fn restore(now: Instant, rules: JobRules, seed: u64, left: Left) -> Self {
        let mut job = Self::new(now, rules, seed);
        job.deadline = now + rules.expires.saturating_sub(left.age);
        if left.state == JobState::Queued {
            return job;
        }
        job.outputs.clear();
        (job.state, job.busy, job.paid, job.unsure) = (left.state, false, true, true);
        match left.state {
            JobState::Submitted if rules.repeatable => job.ask(JobOutput::Submit),
            JobState::Submitted => job.fail(FailReason::Unknown),
            JobState::Running => job.ask(JobOutput::Poll),
            JobState::Fetching => {
                job.result_until = Some(now + RESULT_HOLDS);
                job.ask(if left.kept { JobOutput::Review } else { JobOutput::Fetch });
            }
            _ => {}
        }
        job
    }

    /// Where it stands.
    pub fn state(&self) -> JobState {
        self.state
    }

    /// Why it failed.
    pub fn reason(&self) -> Option<FailReason> {
        self.reason
    }

    /// Whether it counts as paid: it was handed over, and the provider has not said that it did not take it.
    pub fn is_paid(&self) -> bool {
        self.paid
    }

    /// Takes an input. What comes too late, or makes no sense in this state, changes nothing.
    pub fn handle(&mut self, now: Instant, input: JobInput) {
        use JobState::{Cancelled, Fetching, Queued, Refused, Running, Submitted};
        match (input, self.state) {
            (_, state) if state.is_final() => {}
            (JobInput::Cancel, Submitted) if self.busy && self.rules.resumable => self.cancelling = true,
            (JobInput::Cancel, _) => self.end(Cancelled),
            (JobInput::Look, Running) if !self.busy => self.ask(JobOutput::Poll),
            (JobInput::Look, _) => {}
            // The rest answers what was asked; without a question it is none.
            (_, _) if !self.busy => {}
            (JobInput::Prepared, Queued) => self.submit(),
            (JobInput::Accepted, Submitted) => {
                self.answered();
                self.enter(Running);
                match self.cancelling {
                    true => self.end(Cancelled),
                    false => self.due = Some((now + self.poll, JobOutput::Poll)),
                }
            }
            (JobInput::Working, Running) => {
                self.answered();
                self.poll = self.poll.mul_f64(1.25).min(LAST_POLL);
                self.due = Some((now + self.poll, JobOutput::Poll));
            }
            (JobInput::Made, Submitted | Running) if self.cancelling => self.end(Cancelled),
            (JobInput::Made, Submitted | Running) => {
                self.answered();
                self.result_until = Some(now + RESULT_HOLDS);
                self.enter(Fetching);
                self.ask(JobOutput::Fetch);
            }
            (JobInput::Kept, Fetching) => {
                self.answered();
                self.outputs.push_back(JobOutput::Changed);
                self.ask(JobOutput::Review);
            }
            (JobInput::Approved, Fetching) => self.end(JobState::Posted),
            (JobInput::Refused { paid }, _) => {
                self.paid &= paid;
                self.end(Refused);
            }
            (JobInput::Failed(reason), Submitted) => {
                // It answered, and has not taken it.
                self.paid = self.unsure;
                self.fail(reason);
            }
            (JobInput::Failed(reason), _) => self.fail(reason),
            (JobInput::Unknown { .. }, Submitted) if !self.rules.repeatable => self.fail(FailReason::Unknown),
            (JobInput::Again { after } | JobInput::Unknown { after }, _) => {
                self.again(now, after, matches!(input, JobInput::Unknown { .. }));
            }
            _ => {}
        }
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<JobOutput> {
        self.outputs.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due; `None` once it is over, or while an answer is waited for that ends by itself.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = self.due.map(|(at, _)| at);
        [due, self.ends_at()].into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.ends_at().is_some_and(|end| end <= now) {
            return match self.state {
                JobState::Fetching => self.fail(FailReason::Gone),
                _ => self.end(JobState::Expired),
            };
        }
        let Some((_, next)) = self.due.take_if(|(at, _)| *at <= now) else { return };
        match next {
            JobOutput::Submit => self.submit(),
            next => self.ask(next),
        }
    }

    /// When patience ends. A submission that is under way is never given up, since its answer says whether it is paid; it has a time limit of its own.
    fn ends_at(&self) -> Option<Instant> {
        match self.state {
            JobState::Queued | JobState::Running => Some(self.deadline),
            JobState::Submitted if !self.busy => Some(self.deadline),
            JobState::Fetching => self.result_until,
            _ => None,
        }
    }

    fn submit(&mut self) {
        self.paid = true;
        self.enter(JobState::Submitted);
        self.ask(JobOutput::Submit);
    }

    fn ask(&mut self, output: JobOutput) {
        self.due = None;
        self.busy = true;
        self.outputs.push_back(output);
    }

    fn answered(&mut self) {
        self.busy = false;
        self.retry = FIRST_RETRY;
    }

    /// Tries the same once more after a pause.
    fn again(&mut self, now: Instant, after: Option<Duration>, may_have_happened: bool) {
        self.busy = false;
        // Many jobs that failed together must not come back together.
        let pause = self.retry.mul_f64(self.dice.random_range(0.5..=1.0)).max(after.unwrap_or_default());
        self.retry = (self.retry * 2).min(LAST_RETRY);
        let next = match self.state {
            JobState::Queued => JobOutput::Prepare,
            JobState::Submitted => JobOutput::Submit,
            JobState::Running => JobOutput::Poll,
            _ => JobOutput::Fetch,
        };
        self.unsure |= may_have_happened && self.state == JobState::Submitted;
        if self.state == JobState::Submitted && !self.unsure {
            // As if it had never left: a restart tries it again.
            self.paid = false;
            if self.cancelling {
                return self.end(JobState::Cancelled);
            }
            self.enter(JobState::Queued);
        } else if self.cancelling {
            return self.end(JobState::Cancelled);
        }
        // Not much later than patience ends.
        self.due = Some((now + pause.min(self.rules.expires), next));
    }

    fn enter(&mut self, state: JobState) {
        self.state = state;
        self.outputs.push_back(JobOutput::Changed);
    }

    fn fail(&mut self, reason: FailReason) {
        self.reason = Some(reason);
        self.end(JobState::Failed);
    }

    fn end(&mut self, state: JobState) {
        let left_running = self.state == JobState::Running;
        (self.busy, self.due) = (false, None);
        // What was asked for and not begun is not wanted any more.
        self.outputs.retain(|output| *output == JobOutput::Changed);
        self.enter(state);
        if left_running && matches!(state, JobState::Cancelled | JobState::Expired) {
            self.outputs.push_back(JobOutput::CancelRemote);
        }
    }
}
