//! The note machine on virtual time.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use proptest::prelude::*;
use ringback_recorder::{Note, NoteInput, NoteKind, NoteLimits, NoteOutput, NoteState, TakeReason};

const SECOND: Duration = Duration::from_secs(1);
const SKIP: NoteInput = NoteInput::Record { skip_countdown: true };
const RECORD: NoteInput = NoteInput::Record { skip_countdown: false };

fn outputs(note: &mut Note) -> Vec<NoteOutput> {
    std::iter::from_fn(|| note.poll_output()).collect()
}

fn offered() -> (Note, Instant) {
    let now = Instant::now();
    let mut note = Note::offer(now, NoteLimits::of(NoteKind::Voice));
    assert_eq!(outputs(&mut note), [NoteOutput::Changed]);
    (note, now)
}

#[test]
fn a_note_is_recorded_after_the_countdown_saved_and_sent() {
    let (mut note, now) = offered();
    note.handle(now, RECORD).unwrap();
    assert_eq!(note.state(), NoteState::Countdown);
    assert_eq!(note.poll_timeout(), Some(now + 3 * SECOND));
    note.handle_timeout(now + 3 * SECOND);
    assert_eq!(note.state(), NoteState::Recording);
    note.handle(now + 9 * SECOND, NoteInput::Stop).unwrap();
    assert_eq!(note.state(), NoteState::Saving);
    note.handle(now + 9 * SECOND, NoteInput::Saved(Ok(()))).unwrap();
    note.handle(now + 20 * SECOND, NoteInput::Send).unwrap();
    use NoteOutput::{Changed, Release, StartTake, StopTake};
    let all = [Changed, StartTake(1), Changed, StopTake(1), Changed, Changed, Changed, Release];
    assert_eq!(outputs(&mut note), all);
    assert_eq!(note.state(), NoteState::Sent);
    assert_eq!(note.poll_timeout(), None);
    assert!(note.handle(now + 21 * SECOND, NoteInput::Discard).is_err());
}

#[test]
fn a_countdown_can_be_skipped_or_given_up() {
    let (mut note, now) = offered();
    note.handle(now, RECORD).unwrap();
    note.handle(now + SECOND, SKIP).unwrap();
    assert_eq!(note.state(), NoteState::Recording);
    let (mut note, now) = offered();
    note.handle(now, RECORD).unwrap();
    note.handle(now + SECOND, NoteInput::Stop).unwrap();
    assert_eq!(note.state(), NoteState::Offered);
}

#[test]
fn a_take_ends_by_itself_at_its_maximum() {
    let (mut note, now) = offered();
    note.handle(now, SKIP).unwrap();
    note.handle_timeout(now + 60 * SECOND);
    assert_eq!((note.state(), note.reason()), (NoteState::Saving, Some(TakeReason::Maximum)));
}

#[test]
fn silence_ends_a_take_where_the_limits_say_so() {
    let now = Instant::now();
    let limits = NoteLimits { stop_on_silence: Some(3 * SECOND), ..NoteLimits::of(NoteKind::Voice) };
    let mut note = Note::offer(now, limits);
    note.handle(now, SKIP).unwrap();
    note.handle(now + 2 * SECOND, NoteInput::Voice).unwrap();
    note.handle_timeout(now + 4 * SECOND);
    assert_eq!(note.state(), NoteState::Recording);
    note.handle_timeout(now + 5 * SECOND);
    assert_eq!((note.state(), note.reason()), (NoteState::Saving, Some(TakeReason::Silence)));
}

#[test]
fn everything_that_is_due_happens_at_once_however_late_the_clock_is_looked_at() {
    let now = Instant::now();
    let limits = NoteLimits { stop_on_silence: Some(3 * SECOND), ..NoteLimits::of(NoteKind::Voice) };
    let mut note = Note::offer(now, limits);
    note.handle(now, RECORD).unwrap();
    note.handle_timeout(now + 60 * SECOND);
    assert_eq!((note.state(), note.reason()), (NoteState::Saving, Some(TakeReason::Silence)));
}

#[test]
fn a_silent_retake_costs_the_take_before_it_nothing() {
    let (mut note, now) = offered();
    note.handle(now, SKIP).unwrap();
    note.handle(now + SECOND, NoteInput::Stop).unwrap();
    note.handle(now + SECOND, NoteInput::Saved(Ok(()))).unwrap();
    note.handle(now + 2 * SECOND, SKIP).unwrap();
    note.handle(now + 3 * SECOND, NoteInput::Stop).unwrap();
    note.handle(now + 3 * SECOND, NoteInput::Saved(Err(TakeReason::Silent))).unwrap();
    assert_eq!((note.state(), note.reason()), (NoteState::Draft, Some(TakeReason::Silent)));
    note.handle(now + 4 * SECOND, NoteInput::Send).unwrap();
}

#[test]
fn a_first_take_that_is_silent_leaves_the_offer_standing() {
    let (mut note, now) = offered();
    note.handle(now, SKIP).unwrap();
    note.handle(now + SECOND, NoteInput::Stop).unwrap();
    note.handle(now + SECOND, NoteInput::Saved(Err(TakeReason::Silent))).unwrap();
    assert_eq!((note.state(), note.reason()), (NoteState::Offered, Some(TakeReason::Silent)));
    assert!(note.handle(now + SECOND, NoteInput::Send).is_err());
}

#[test]
fn a_caller_who_vanishes_or_is_called_back_keeps_what_was_said() {
    for (input, reason) in
        [(NoteInput::CallerGone, TakeReason::CallerGone), (NoteInput::CalleeCame, TakeReason::CalleeCame)]
    {
        let (mut note, now) = offered();
        note.handle(now, SKIP).unwrap();
        note.handle(now + SECOND, input).unwrap();
        assert_eq!((note.state(), note.reason()), (NoteState::Saving, Some(reason)));
        note.handle(now + SECOND, NoteInput::Saved(Ok(()))).unwrap();
        assert_eq!(note.state(), NoteState::Draft);
    }
}

#[test]
fn an_offer_and_a_draft_expire_and_a_draft_is_sent_by_itself_only_where_the_limits_say_so() {
    let (mut note, now) = offered();
    note.handle_timeout(now + 120 * SECOND);
    assert_eq!(note.state(), NoteState::Expired);
    for send_unsent in [false, true] {
        let now = Instant::now();
        let limits = NoteLimits { send_unsent, ..NoteLimits::of(NoteKind::Voice) };
        let mut note = Note::restore(now, limits, 1, 10 * SECOND, None);
        note.handle_timeout(now + 10 * SECOND);
        if send_unsent {
            assert_eq!(outputs(&mut note), [NoteOutput::SendDue]);
            note.handle(now + 10 * SECOND, NoteInput::Send).unwrap();
            assert_eq!(note.state(), NoteState::Sent);
        } else {
            assert_eq!(note.state(), NoteState::Expired);
        }
    }
}

#[test]
fn what_broke_a_take_off_is_what_the_caller_is_told() {
    for (ended, saved, told) in [
        (TakeReason::Disk, TakeReason::TooShort, TakeReason::Disk),
        (TakeReason::Overrun, TakeReason::Silent, TakeReason::Overrun),
        (TakeReason::Codec, TakeReason::NoMedia, TakeReason::Codec),
        (TakeReason::CallerGone, TakeReason::Silent, TakeReason::Silent),
    ] {
        let (mut note, now) = offered();
        note.handle(now, SKIP).unwrap();
        note.handle(now + SECOND, NoteInput::TakeEnded(ended)).unwrap();
        note.handle(now + SECOND, NoteInput::Saved(Err(saved))).unwrap();
        assert_eq!((note.state(), note.reason()), (NoteState::Offered, Some(told)));
        assert_eq!(TakeReason::parse(told.as_str()), Some(told));
    }
}

#[test]
fn a_draft_from_before_a_restart_can_be_sent_but_not_recorded_again() {
    let now = Instant::now();
    let mut note = Note::restore(now, NoteLimits::of(NoteKind::Voice), 1, 10 * SECOND, None);
    assert!(note.handle(now, SKIP).is_err());
    assert!(note.handle(now, RECORD).is_err());
    note.handle(now, NoteInput::Send).unwrap();
}

#[test]
fn a_draft_that_could_not_be_sent_by_itself_is_tried_again_or_expires() {
    let limits = NoteLimits { send_unsent: true, ..NoteLimits::of(NoteKind::Voice) };
    let now = Instant::now();
    let mut note = Note::restore(now, limits, 1, SECOND, None);
    note.handle_timeout(now + SECOND);
    assert_eq!(outputs(&mut note), [NoteOutput::SendDue]);
    note.handle(now + SECOND, NoteInput::NotSent { again: true }).unwrap();
    let due = note.poll_timeout().unwrap();
    assert!(due > now + SECOND);
    note.handle_timeout(due);
    assert_eq!(outputs(&mut note), [NoteOutput::SendDue]);
    note.handle(due, NoteInput::NotSent { again: false }).unwrap();
    assert_eq!(note.state(), NoteState::Expired);
}

#[test]
fn a_caller_who_goes_after_recording_keeps_the_draft() {
    let (mut note, now) = offered();
    note.handle(now, SKIP).unwrap();
    note.handle(now + SECOND, NoteInput::Stop).unwrap();
    note.handle(now + SECOND, NoteInput::CallerGone).unwrap();
    note.handle(now + SECOND, NoteInput::Saved(Ok(()))).unwrap();
    note.handle(now + SECOND, NoteInput::CallerGone).unwrap();
    assert_eq!((note.state(), note.reason()), (NoteState::Draft, None));
    note.handle(now + 2 * SECOND, NoteInput::Send).unwrap();
}

fn input() -> impl Strategy<Value = NoteInput> {
    prop_oneof![
        3 => any::<bool>().prop_map(|skip_countdown| NoteInput::Record { skip_countdown }),
        2 => Just(NoteInput::Stop),
        2 => Just(NoteInput::Saved(Ok(()))),
        1 => Just(NoteInput::Saved(Err(TakeReason::Silent))),
        1 => Just(NoteInput::TakeEnded(TakeReason::Disk)),
        1 => Just(NoteInput::CallerGone),
        1 => Just(NoteInput::CalleeCame),
        1 => Just(NoteInput::Voice),
        1 => Just(NoteInput::Send),
        1 => any::<bool>().prop_map(|again| NoteInput::NotSent { again }),
        1 => Just(NoteInput::Discard),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_takes_alternate_a_draft_is_never_lost_and_an_end_is_final(
        steps in prop::collection::vec((input(), 0_u64..40), 0..60),
        silence in any::<bool>(),
    ) {
        let mut now = Instant::now();
        let stop_on_silence = silence.then_some(5 * SECOND);
        let mut note = Note::offer(now, NoteLimits { stop_on_silence, ..NoteLimits::of(NoteKind::Video) });
        let (mut recording, mut good, mut began, mut ended) = (None, false, now, None);
        for (input, wait) in steps {
            now += Duration::from_secs(wait);
            let before = note.state();
            note.handle_timeout(now);
            let saving = note.state() == NoteState::Saving;
            let handled = note.handle(now, input);
            if saving && input == NoteInput::Saved(Ok(())) {
                good = true;
            }
            for output in outputs(&mut note) {
                match output {
                    NoteOutput::StartTake(take) => {
                        prop_assert!(recording.is_none());
                        recording = Some(take);
                        began = now;
                    }
                    NoteOutput::StopTake(take) => {
                        prop_assert_eq!(recording.take(), Some(take));
                        prop_assert!(now - began <= Duration::from_secs(60 + 40));
                    }
                    NoteOutput::Release => {
                        prop_assert!(ended.is_none() && recording.is_none());
                        ended = Some(note.state());
                    }
                    NoteOutput::Changed | NoteOutput::SendDue => {}
                }
            }
            let state = note.state();
            prop_assert_eq!(ended.is_some(), state.is_final());
            if let Some(end) = ended {
                prop_assert_eq!(state, end);
                prop_assert_eq!(note.poll_timeout(), None);
            } else if state != NoteState::Saving {
                prop_assert!(note.poll_timeout().is_some_and(|due| due > now), "{:?} waits for ever", state);
            }
            if good && !state.is_final() {
                prop_assert!(state != NoteState::Offered, "the draft is gone");
            }
            prop_assert!(state != NoteState::Sent || good, "sent without a take");
            prop_assert!(handled.is_ok() || !before.is_final() || state == before);
        }
    }
}

#[test]
fn a_take_that_is_recorded_elsewhere_is_waited_for_whatever_becomes_of_the_callers_media() {
    let (mut note, now) = offered();
    note.handle(now, NoteInput::RecordElsewhere { within: 600 * SECOND }).unwrap();
    assert_eq!((note.state(), note.take()), (NoteState::Recording, 1));
    for input in [NoteInput::CallerGone, NoteInput::CalleeCame, NoteInput::TakeEnded(TakeReason::Overrun)] {
        note.handle(now + SECOND, input).unwrap();
    }
    assert!(note.awaits_arrival());
    note.handle(now + 300 * SECOND, NoteInput::Arrived).unwrap();
    note.handle(now + 300 * SECOND, NoteInput::Saved(Ok(()))).unwrap();
    assert_eq!(note.state(), NoteState::Draft);
    assert!(
        !outputs(&mut note).iter().any(|output| matches!(output, NoteOutput::StartTake(_) | NoteOutput::StopTake(_)))
    );
}

#[test]
fn what_was_recorded_elsewhere_and_never_arrives_leaves_the_draft_before_it() {
    let (mut note, now) = offered();
    note.handle(now, SKIP).unwrap();
    note.handle(now + 2 * SECOND, NoteInput::Stop).unwrap();
    note.handle(now + 2 * SECOND, NoteInput::Saved(Ok(()))).unwrap();
    note.handle(now + 3 * SECOND, NoteInput::RecordElsewhere { within: 600 * SECOND }).unwrap();
    note.handle_timeout(now + 603 * SECOND);
    assert_eq!((note.state(), note.reason()), (NoteState::Draft, Some(TakeReason::CallerGone)));
    // And a take from here after it is one like any other.
    note.handle(now + 604 * SECOND, SKIP).unwrap();
    note.handle(now + 606 * SECOND, NoteInput::CallerGone).unwrap();
    assert_eq!(note.state(), NoteState::Saving);
}
