//! The image machine on virtual time.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use proptest::prelude::*;
use ringback_imagine::{FailReason, Job, JobInput, JobOutput, JobRules, JobState, Left};

const SECOND: Duration = Duration::from_secs(1);
const AGAIN: JobInput = JobInput::Again { after: None };
const UNKNOWN: JobInput = JobInput::Unknown { after: None };

const CAREFUL: JobRules = JobRules { repeatable: false, resumable: true, expires: Duration::from_secs(600) };
const REPEATABLE: JobRules = JobRules { repeatable: true, ..CAREFUL };

fn outputs(job: &mut Job) -> Vec<JobOutput> {
    std::iter::from_fn(|| job.poll_output()).collect()
}

/// A job that has been brought into a state the usual way.
fn in_state(state: JobState, rules: JobRules, now: Instant) -> Job {
    let mut job = Job::new(now, rules, 1);
    let way = [
        (JobState::Queued, JobInput::Prepared),
        (JobState::Submitted, JobInput::Accepted),
        (JobState::Running, JobInput::Made),
    ];
    for (at, input) in way {
        outputs(&mut job);
        if job.state() == state {
            return job;
        }
        if at == JobState::Running {
            job.handle_timeout(job.poll_timeout().unwrap());
            outputs(&mut job);
        }
        job.handle(now, input);
    }
    outputs(&mut job);
    assert_eq!(job.state(), state);
    job
}

#[test]
fn an_image_is_prepared_submitted_polled_fetched_reviewed_and_posted() {
    use JobOutput::{Changed, Fetch, Poll, Prepare, Review, Submit};
    let now = Instant::now();
    let mut job = Job::new(now, CAREFUL, 1);
    assert_eq!(outputs(&mut job), [Prepare]);
    job.handle(now, JobInput::Prepared);
    assert_eq!(outputs(&mut job), [Changed, Submit], "what is about to be sent is kept first");
    job.handle(now, JobInput::Accepted);
    assert_eq!((job.state(), outputs(&mut job)), (JobState::Running, vec![Changed]));
    let poll = job.poll_timeout().unwrap();
    assert_eq!(poll, now + SECOND);
    job.handle_timeout(poll);
    assert_eq!(outputs(&mut job), [Poll]);
    job.handle(poll, JobInput::Working);
    assert!(job.poll_timeout().unwrap() > poll + SECOND, "polls become rarer");
    job.handle_timeout(job.poll_timeout().unwrap());
    job.handle(poll, JobInput::Made);
    assert_eq!((job.state(), outputs(&mut job)), (JobState::Fetching, vec![Poll, Changed, Fetch]));
    job.handle(poll, JobInput::Kept);
    assert_eq!(outputs(&mut job), [Changed, Review]);
    job.handle(poll, JobInput::Approved);
    assert_eq!((job.state(), outputs(&mut job)), (JobState::Posted, vec![Changed]));
    assert!(job.is_paid());
    assert_eq!(job.poll_timeout(), None);
}

#[test]
fn a_submission_without_an_answer_is_repeated_only_where_that_is_not_paid_twice() {
    let now = Instant::now();
    let mut job = in_state(JobState::Submitted, CAREFUL, now);
    job.handle(now, UNKNOWN);
    assert_eq!((job.state(), job.reason()), (JobState::Failed, Some(FailReason::Unknown)));
    assert!(job.is_paid(), "it may have been taken");
    let mut job = in_state(JobState::Submitted, REPEATABLE, now);
    job.handle(now, UNKNOWN);
    assert_eq!((job.state(), outputs(&mut job)), (JobState::Submitted, vec![]));
    job.handle_timeout(now + SECOND);
    assert_eq!(outputs(&mut job), [JobOutput::Changed, JobOutput::Submit]);
}

#[test]
fn what_a_provider_did_not_take_is_queued_again_and_its_pause_is_obeyed() {
    let now = Instant::now();
    let mut job = in_state(JobState::Submitted, CAREFUL, now);
    job.handle(now, JobInput::Again { after: Some(90 * SECOND) });
    assert_eq!((job.state(), job.is_paid()), (JobState::Queued, false));
    assert_eq!(outputs(&mut job), [JobOutput::Changed]);
    job.handle_timeout(now + 89 * SECOND);
    assert_eq!(outputs(&mut job), []);
    job.handle_timeout(now + 90 * SECOND);
    assert_eq!(outputs(&mut job), [JobOutput::Changed, JobOutput::Submit], "its place is still held");
}

#[test]
fn pauses_grow_and_differ_between_jobs() {
    let now = Instant::now();
    let mut firsts = Vec::new();
    for seed in 0..50 {
        let mut job = Job::new(now, REPEATABLE, seed);
        let mut whole = SECOND;
        for try_number in 0..8 {
            job.handle(now, JobInput::Prepared);
            job.handle(now, AGAIN);
            let pause = job.poll_timeout().unwrap() - now;
            assert!((whole / 2..=whole).contains(&pause), "{pause:?} of {whole:?}");
            if try_number == 0 {
                firsts.push(pause);
            }
            job.handle_timeout(now + pause);
            whole = (whole * 2).min(30 * SECOND);
        }
    }
    firsts.sort_unstable();
    firsts.dedup();
    assert!(firsts.len() > 40);
}

#[test]
fn cancelled_before_it_left_it_costs_nothing_and_afterwards_the_provider_is_told() {
    let now = Instant::now();
    let mut job = in_state(JobState::Queued, CAREFUL, now);
    job.handle(now, JobInput::Cancel);
    assert_eq!((job.state(), job.is_paid()), (JobState::Cancelled, false));
    let mut job = in_state(JobState::Submitted, CAREFUL, now);
    job.handle(now, JobInput::Cancel);
    assert_eq!(job.state(), JobState::Submitted, "there is nothing to cancel with yet");
    job.handle(now, JobInput::Accepted);
    assert_eq!((job.state(), job.is_paid()), (JobState::Cancelled, true));
    assert_eq!(outputs(&mut job).last(), Some(&JobOutput::CancelRemote));
    let mut job = in_state(JobState::Running, CAREFUL, now);
    job.handle(now, JobInput::Cancel);
    assert_eq!(outputs(&mut job), [JobOutput::Changed, JobOutput::CancelRemote]);
    let mut job = in_state(JobState::Submitted, CAREFUL, now);
    job.handle(now, JobInput::Cancel);
    job.handle(now, AGAIN);
    assert_eq!((job.state(), job.is_paid()), (JobState::Cancelled, false), "it was not taken");
}

#[test]
fn a_webhook_makes_it_ask_at_once_and_only_while_it_runs() {
    let now = Instant::now();
    let mut job = in_state(JobState::Running, CAREFUL, now);
    job.handle(now, JobInput::Look);
    assert_eq!(outputs(&mut job), [JobOutput::Poll]);
    job.handle(now, JobInput::Look);
    assert_eq!(outputs(&mut job), [], "one question at a time");
    for state in [JobState::Queued, JobState::Submitted, JobState::Fetching] {
        let mut job = in_state(state, CAREFUL, now);
        job.handle(now, JobInput::Look);
        assert_eq!(outputs(&mut job), []);
    }
}

#[test]
fn patience_ends_after_ten_minutes_and_a_result_is_not_waited_for_longer_than_its_link_lives() {
    let now = Instant::now();
    let mut job = in_state(JobState::Running, CAREFUL, now);
    job.handle_timeout(now + 600 * SECOND);
    assert_eq!((job.state(), job.is_paid()), (JobState::Expired, true));
    assert_eq!(outputs(&mut job), [JobOutput::Changed, JobOutput::CancelRemote]);
    let mut job = in_state(JobState::Queued, CAREFUL, now);
    job.handle_timeout(now + 600 * SECOND);
    assert_eq!((job.state(), job.is_paid()), (JobState::Expired, false));
    let mut job = in_state(JobState::Fetching, CAREFUL, now);
    let mut time = now;
    while job.state() == JobState::Fetching {
        job.handle(time, AGAIN);
        time = job.poll_timeout().unwrap();
        job.handle_timeout(time);
    }
    assert_eq!(job.reason(), Some(FailReason::Gone));
    assert!(time - now <= 660 * SECOND, "{:?}", time - now);
}

#[test]
fn what_a_former_process_left_goes_on_where_it_stood() {
    let now = Instant::now();
    let left = |state, kept| Left { state, kept, age: 60 * SECOND };
    let first = |rules, state, kept| {
        let mut job = Job::restore(now, rules, 1, left(state, kept));
        (job.state(), outputs(&mut job))
    };
    use JobOutput::{Changed, Fetch, Poll, Prepare, Review, Submit};
    assert_eq!(first(CAREFUL, JobState::Queued, false), (JobState::Queued, vec![Prepare]));
    assert_eq!(first(REPEATABLE, JobState::Submitted, false), (JobState::Submitted, vec![Submit]));
    assert_eq!(first(CAREFUL, JobState::Submitted, false), (JobState::Failed, vec![Changed]));
    assert_eq!(first(CAREFUL, JobState::Running, false), (JobState::Running, vec![Poll]));
    assert_eq!(first(CAREFUL, JobState::Fetching, false), (JobState::Fetching, vec![Fetch]));
    assert_eq!(first(CAREFUL, JobState::Fetching, true), (JobState::Fetching, vec![Review]));
    let mut job = Job::restore(now, CAREFUL, 1, left(JobState::Running, false));
    job.handle(now, JobInput::Working);
    job.handle_timeout(now + 540 * SECOND);
    assert_eq!(job.state(), JobState::Expired, "time spent dead counts");
}

fn input() -> impl Strategy<Value = JobInput> {
    let after = prop::option::of((0u64..120).prop_map(Duration::from_secs));
    prop_oneof![
        4 => Just(JobInput::Prepared),
        4 => Just(JobInput::Accepted),
        3 => Just(JobInput::Working),
        3 => Just(JobInput::Made),
        3 => Just(JobInput::Kept),
        3 => Just(JobInput::Approved),
        1 => any::<bool>().prop_map(|paid| JobInput::Refused { paid }),
        3 => after.clone().prop_map(|after| JobInput::Again { after }),
        3 => after.prop_map(|after| JobInput::Unknown { after }),
        1 => Just(JobInput::Failed(FailReason::Provider)),
        1 => Just(JobInput::Cancel),
        2 => Just(JobInput::Look),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever happens in whatever order: nothing is paid twice, nothing hangs, and what is over stays over.
    #[test]
    fn a_job_is_never_paid_twice_never_stuck_and_over_once(
        repeatable: bool,
        resumable: bool,
        seed: u64,
        events in prop::collection::vec((0u64..40, prop::option::of(input())), 1..80),
    ) {
        let rules = JobRules { repeatable, resumable, expires: 600 * SECOND };
        let mut now = Instant::now();
        let mut job = Job::new(now, rules, seed);
        // What the row in the database says, and submissions that may have been taken.
        let (mut kept, mut taken) = (JobState::Queued, 0);
        let mut waiting: Option<JobOutput> = None;
        for (pause, input) in events {
            now += Duration::from_secs(pause);
            let before = job.state();
            match input {
                Some(input) => {
                    // A provider that did not take it says so in these words.
                    if waiting == Some(JobOutput::Submit) && before == JobState::Submitted
                        && matches!(input, JobInput::Again { .. } | JobInput::Failed(_) | JobInput::Refused { paid: false })
                    {
                        taken -= 1;
                    }
                    job.handle(now, input);
                    // The rest is no answer to a submission.
                    let nonsense = matches!(input, JobInput::Prepared | JobInput::Working | JobInput::Kept | JobInput::Approved);
                    if !nonsense && !matches!(input, JobInput::Cancel | JobInput::Look) {
                        waiting = None;
                    }
                }
                None => job.handle_timeout(now),
            }
            while let Some(output) = job.poll_output() {
                match output {
                    JobOutput::Changed => kept = job.state(),
                    JobOutput::Submit => {
                        taken += 1;
                        prop_assert!(repeatable || taken == 1, "submitted again though it may have been taken");
                        prop_assert_eq!(kept, JobState::Submitted, "submitted before that was kept");
                        waiting = Some(output);
                    }
                    other => {
                        prop_assert!(!job.state().is_final() || other == JobOutput::CancelRemote);
                        waiting = Some(other);
                    }
                }
            }
            prop_assert_eq!(kept, job.state(), "a change that is not told");
            if before.is_final() {
                prop_assert_eq!(job.state(), before);
                prop_assert_eq!(job.poll_timeout(), None);
            } else if !job.state().is_final() {
                prop_assert!(job.poll_timeout().is_some() || job.state() == JobState::Submitted);
            }
            if job.state() == JobState::Posted {
                prop_assert!(job.is_paid());
            }
            if job.state().is_final() && taken > 0 && !matches!(job.state(), JobState::Refused) {
                prop_assert!(job.is_paid(), "what may have been taken counts as paid");
            }
        }
        // Left alone it ends, unless a submission is under way, which ends by itself.
        if job.state() == JobState::Submitted {
            job.handle(now, JobInput::Unknown { after: None });
        }
        for _ in 0..10_000 {
            if job.state().is_final() {
                break;
            }
            if job.state() == JobState::Submitted && job.poll_timeout().is_none() {
                job.handle(now, JobInput::Unknown { after: None });
            }
            if let Some(at) = job.poll_timeout() {
                now = now.max(at);
                job.handle_timeout(now);
            }
            while job.poll_output().is_some() {}
        }
        prop_assert!(job.state().is_final(), "stuck as {:?}", job.state());
    }
}
