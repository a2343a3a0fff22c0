//! One note, from the offer to its end, as a state machine without clock, file or socket: Offered → Countdown → Recording → Saving → Draft → Sent, Discarded or Expired.
//! It knows no users and no bytes: whoever drives it records takes where it says so, makes their files, and keeps what it says in rows. Nothing is ever
//! sent by itself unless the limits say so, and a take that failed never costs the one before it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::packet::NoteKind;

/// When a draft that is to be sent by itself is tried again. More often bothers a database that is down, less often delays the note.
const SEND_AGAIN: Duration = Duration::from_secs(60);

/// How a note may be left. What the embedder's missed-call hook answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoteLimits {
    /// The longest take; 60 s unless told.
    pub max: Duration,
    /// From the caller's tap until the recording begins; 3 s for a voice, 5 s for a face, unless told. The caller may skip it.
    pub countdown: Duration,
    /// How long the offer stands; 2 minutes unless told. The caller's media stays connected that long.
    pub offer_expires: Duration,
    /// How long a draft waits to be sent; a day unless told. It survives restarts of the app and of the server.
    pub draft_expires: Duration,
    /// End a take after this much silence; never unless told.
    pub stop_on_silence: Option<Duration>,
    /// Send a draft that nobody sent when it expires; false unless told.
    pub send_unsent: bool,
}

impl NoteLimits {
    /// The defaults for a kind of note.
    pub fn of(kind: NoteKind) -> Self {
        let countdown = match kind {
            NoteKind::Voice => Duration::from_secs(3),
            NoteKind::Video => Duration::from_secs(5),
        };
        Self {
            max: Duration::from_secs(60),
            countdown,
            offer_expires: Duration::from_secs(120),
            draft_expires: Duration::from_secs(24 * 3600),
            stop_on_silence: None,
            send_unsent: false,
        }
    }
}

/// Where a note stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoteState {
    /// The caller is asked.
    Offered,
    /// Recording begins in a moment.
    Countdown,
    /// What the caller says is being kept.
    Recording,
    /// The take is over, and its file is being made.
    Saving,
    /// The caller may listen, record again, send or discard.
    Draft,
    /// Delivered.
    Sent,
    /// The caller did not want it.
    Discarded,
    /// Nobody did anything in time.
    Expired,
}

impl NoteState {
    /// As on the wire and in rows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Countdown => "countdown",
            Self::Recording => "recording",
            Self::Saving => "saving",
            Self::Draft => "draft",
            Self::Sent => "sent",
            Self::Discarded => "discarded",
            Self::Expired => "expired",
        }
    }

    /// Reads [`as_str`](Self::as_str).
    pub fn parse(name: &str) -> Option<Self> {
        const ALL: [NoteState; 8] = [
            NoteState::Offered,
            NoteState::Countdown,
            NoteState::Recording,
            NoteState::Saving,
            NoteState::Draft,
            NoteState::Sent,
            NoteState::Discarded,
            NoteState::Expired,
        ];
        ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Whether nothing more becomes of it.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Sent | Self::Discarded | Self::Expired)
    }
}

/// Why a take ended, or was no good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TakeReason {
    /// Nobody says anything in it.
    Silent,
    /// Shorter than anybody could mean.
    TooShort,
    /// The disk is full or fails.
    Disk,
    /// It could not be written as fast as it came.
    Overrun,
    /// No file could be made of it.
    Failed,
    /// The caller's media was not there.
    NoMedia,
    /// The caller's camera or microphone is encoded as notes are not kept: neither VP8 nor Opus.
    Codec,
    /// It became as long as it may.
    Maximum,
    /// Nobody said anything more.
    Silence,
    /// The caller is gone.
    CallerGone,
    /// Whoever was called is there after all.
    CalleeCame,
}

impl TakeReason {
    /// As on the wire and in rows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::TooShort => "too_short",
            Self::Disk => "disk",
            Self::Overrun => "overrun",
            Self::Failed => "failed",
            Self::NoMedia => "no_media",
            Self::Codec => "codec",
            Self::Maximum => "maximum",
            Self::Silence => "silence",
            Self::CallerGone => "caller_gone",
            Self::CalleeCame => "callee_came",
        }
    }

    /// Reads [`as_str`](Self::as_str).
    pub fn parse(name: &str) -> Option<Self> {
        const ALL: [TakeReason; 11] = [
            TakeReason::Silent,
            TakeReason::TooShort,
            TakeReason::Disk,
            TakeReason::Overrun,
            TakeReason::Failed,
            TakeReason::NoMedia,
            TakeReason::Codec,
            TakeReason::Maximum,
            TakeReason::Silence,
            TakeReason::CallerGone,
            TakeReason::CalleeCame,
        ];
        ALL.into_iter().find(|reason| reason.as_str() == name)
    }

    /// Whether it broke the take off, so that nothing about what was kept explains more.
    fn is_failure(self) -> bool {
        matches!(self, Self::Disk | Self::Overrun | Self::Failed | Self::NoMedia | Self::Codec)
    }
}

/// What happens to a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoteInput {
    /// The caller wants to record, for the first time or again.
    Record {
        /// Begin at once.
        skip_countdown: bool,
    },
    /// The caller's media is not connected: they record by themselves, and what they have recorded arrives within this time.
    RecordElsewhere {
        /// From now on.
        within: Duration,
    },
    /// What the caller recorded by themselves has arrived.
    Arrived,
    /// The caller has said it.
    Stop,
    /// The take broke off: the disk, the queue, the caller's media.
    TakeEnded(TakeReason),
    /// The take's file is made and kept, or why not.
    Saved(Result<(), TakeReason>),
    /// Deliver it. Whoever drives the machine has asked the embedder and the quota before.
    Send,
    /// What was [due to be sent](NoteOutput::SendDue) could not be.
    NotSent {
        /// It may be possible in a moment; otherwise it expires.
        again: bool,
    },
    /// The caller does not want it.
    Discard,
    /// The caller's transport is gone for good.
    CallerGone,
    /// Whoever was called calls back, or answers late.
    CalleeCame,
    /// Somebody speaks in the take; matters where silence ends it.
    Voice,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoteOutput {
    /// Keep what the caller sends from now on, as the take of this number.
    StartTake(u32),
    /// That was the take: make its file, and say [`NoteInput::Saved`].
    StopTake(u32),
    /// The state has changed: keep it and tell it.
    Changed,
    /// The draft is to be sent since nobody did: [`NoteInput::Send`] or [`NoteInput::NotSent`] follows.
    SendDue,
    /// The caller's media is not needed any more.
    Release,
}

/// Something cannot be done in this state; the states are in [`RecorderError::Conflict`](crate::RecorderError::Conflict)'s words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotNow {
    /// How the note is.
    pub state: NoteState,
    /// What was asked.
    pub wanted: &'static str,
}

/// The state machine of one note.
#[derive(Debug, Clone)]
pub struct Note {
    limits: NoteLimits,
    state: NoteState,
    /// Counts the takes begun.
    take: u32,
    /// The take is recorded elsewhere, and there is none here to be stopped.
    elsewhere: bool,
    /// There is a take to fall back on, until this time.
    draft_until: Option<Instant>,
    reason: Option<TakeReason>,
    /// When the state ends by itself.
    due: Option<Instant>,
    offer_until: Option<Instant>,
    voice_at: Option<Instant>,
    outputs: VecDeque<NoteOutput>,
}

impl Note {
    /// A note that is offered now.
    pub fn offer(now: Instant, limits: NoteLimits) -> Self {
        let until = now + limits.offer_expires;
        Self {
            state: NoteState::Offered,
            take: 0,
            elsewhere: false,
            draft_until: None,
            reason: None,
            due: Some(until),
            offer_until: Some(until),
            voice_at: None,
            outputs: VecDeque::from([NoteOutput::Changed]),
            limits,
        }
    }

    /// A draft that was there before a restart, and how much longer it waits. Its room is gone: it can be sent or discarded.
    pub fn restore(now: Instant, limits: NoteLimits, take: u32, left: Duration, reason: Option<TakeReason>) -> Self {
        let until = now + left;
        Self {
            state: NoteState::Draft,
            take,
            elsewhere: false,
            draft_until: Some(until),
            reason,
            due: Some(until),
            offer_until: None,
            voice_at: None,
            outputs: VecDeque::new(),
            limits,
        }
    }

    /// A note whose take is recorded elsewhere and was on its way before a restart: it may arrive within this time. `draft` is how much longer the take before it waits, if there is one.
    pub fn restore_elsewhere(
        now: Instant,
        limits: NoteLimits,
        take: u32,
        within: Duration,
        draft: Option<Duration>,
    ) -> Self {
        Self {
            state: NoteState::Recording,
            elsewhere: true,
            draft_until: draft.map(|left| now + left),
            due: Some(now + within),
            ..Self::restore(now, limits, take, Duration::ZERO, None)
        }
    }

    /// Where it stands.
    pub fn state(&self) -> NoteState {
        self.state
    }

    /// Whether what is recorded elsewhere is on its way.
    pub fn awaits_arrival(&self) -> bool {
        self.state == NoteState::Recording && self.elsewhere
    }

    /// How many takes have begun.
    pub fn take(&self) -> u32 {
        self.take
    }

    /// Why the last take ended by itself, or was no good.
    pub fn reason(&self) -> Option<TakeReason> {
        self.reason
    }

    /// The limits it was offered with.
    pub fn limits(&self) -> &NoteLimits {
        &self.limits
    }

    /// Until when it waits as it is; `None` once it is over, or while something else is due.
    pub fn expires(&self) -> Option<Instant> {
        match self.state {
            NoteState::Offered => self.offer_until,
            NoteState::Draft => self.draft_until,
            _ => None,
        }
    }

    /// Takes an input. What follows from it is in [`poll_output`](Self::poll_output).
    ///
    /// # Errors
    /// [`NotNow`] where that cannot be done in this state; nothing has changed then.
    pub fn handle(&mut self, now: Instant, input: NoteInput) -> Result<(), NotNow> {
        self.handle_timeout(now);
        use NoteState::{Countdown, Discarded, Draft, Offered, Recording, Saving, Sent};
        match (input, self.state) {
            // After a restart there is no media any more to record.
            (NoteInput::Record { skip_countdown }, Offered | Draft) if self.offer_until.is_some() => {
                self.reason = None;
                if skip_countdown || self.limits.countdown.is_zero() {
                    self.start(now);
                } else {
                    self.enter(Countdown, Some(now + self.limits.countdown));
                }
            }
            // Whoever taps again does not want to wait.
            (NoteInput::Record { skip_countdown: true }, Countdown) => self.start(now),
            (NoteInput::RecordElsewhere { within }, Offered | Draft) if self.offer_until.is_some() => {
                (self.reason, self.elsewhere, self.voice_at) = (None, true, None);
                self.take += 1;
                self.enter(Recording, Some(now + within));
            }
            (NoteInput::Arrived, Recording) if self.elsewhere => self.enter(Saving, None),
            // Nothing is recorded here that could end.
            (NoteInput::Stop, Recording) if self.elsewhere => self.settle(now),
            (NoteInput::TakeEnded(_) | NoteInput::CallerGone | NoteInput::CalleeCame | NoteInput::Voice, Recording)
                if self.elsewhere => {}
            (NoteInput::Stop, Recording) => self.stop(None),
            (NoteInput::Stop, Countdown) => self.settle(now),
            (NoteInput::TakeEnded(reason), Recording) => self.stop(Some(reason)),
            (NoteInput::Saved(saved), Saving) => {
                match saved {
                    Ok(()) => self.draft_until = Some(now + self.limits.draft_expires),
                    Err(reason) => self.reason = self.reason.filter(|why| why.is_failure()).or(Some(reason)),
                }
                self.settle(now);
            }
            (NoteInput::Send, Draft) => self.end(Sent),
            (NoteInput::NotSent { again: true }, Draft) if self.due.is_none() => self.due = Some(now + SEND_AGAIN),
            (NoteInput::NotSent { again: false }, Draft) if self.due.is_none() => self.end(NoteState::Expired),
            (NoteInput::Discard, state) if !state.is_final() => {
                if state == Recording && !self.elsewhere {
                    self.outputs.push_back(NoteOutput::StopTake(self.take));
                }
                self.end(Discarded);
            }
            (NoteInput::CallerGone, Recording) => self.stop(Some(TakeReason::CallerGone)),
            (NoteInput::CalleeCame, Recording) => self.stop(Some(TakeReason::CalleeCame)),
            (NoteInput::CalleeCame | NoteInput::CallerGone, Countdown) => self.settle(now),
            (NoteInput::Voice, Recording) => self.voice_at = Some(now),
            // News that comes too late, or does not matter.
            (
                NoteInput::CallerGone
                | NoteInput::CalleeCame
                | NoteInput::Voice
                | NoteInput::NotSent { .. }
                | NoteInput::TakeEnded(_)
                | NoteInput::Saved(_),
                _,
            ) => {}
            (input, state) => return Err(NotNow { state, wanted: wanted(input) }),
        }
        Ok(())
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<NoteOutput> {
        self.outputs.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due; `None` once it is over.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.due, self.silence_due()].into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        // A countdown that ran out long ago has begun a take that may be over by now, too.
        while let Some(due) = self.poll_timeout().filter(|due| *due <= now) {
            if self.silence_due() == Some(due) {
                self.stop(Some(TakeReason::Silence));
                continue;
            }
            match self.state {
                NoteState::Countdown => self.start(due),
                NoteState::Recording if self.elsewhere => {
                    self.reason = Some(TakeReason::CallerGone);
                    self.settle(due);
                }
                NoteState::Recording => self.stop(Some(TakeReason::Maximum)),
                NoteState::Draft if self.limits.send_unsent => {
                    self.due = None;
                    self.outputs.push_back(NoteOutput::SendDue);
                }
                _ => self.end(NoteState::Expired),
            }
        }
    }

    fn silence_due(&self) -> Option<Instant> {
        let limit = self.limits.stop_on_silence?;
        self.voice_at.filter(|_| self.state == NoteState::Recording).map(|at| at + limit)
    }

    fn start(&mut self, now: Instant) {
        self.take += 1;
        self.elsewhere = false;
        self.voice_at = Some(now);
        self.outputs.push_back(NoteOutput::StartTake(self.take));
        self.enter(NoteState::Recording, Some(now + self.limits.max));
    }

    fn stop(&mut self, reason: Option<TakeReason>) {
        self.reason = reason;
        self.outputs.push_back(NoteOutput::StopTake(self.take));
        self.enter(NoteState::Saving, None);
    }

    /// Back to what there is: a draft, or the offer, or nothing.
    fn settle(&mut self, now: Instant) {
        match (self.draft_until, self.offer_until) {
            (Some(until), _) => self.enter(NoteState::Draft, Some(until)),
            // Whoever has just tried may try again, for as long as the offer stood at first.
            (None, Some(_)) => {
                let until = now + self.limits.offer_expires;
                self.offer_until = Some(until);
                self.enter(NoteState::Offered, Some(until));
            }
            (None, None) => self.end(NoteState::Expired),
        }
    }

    fn enter(&mut self, state: NoteState, due: Option<Instant>) {
        self.state = state;
        self.due = due;
        self.outputs.push_back(NoteOutput::Changed);
    }

    fn end(&mut self, state: NoteState) {
        self.enter(state, None);
        self.outputs.push_back(NoteOutput::Release);
    }
}

fn wanted(input: NoteInput) -> &'static str {
    match input {
        NoteInput::Record { .. } | NoteInput::RecordElsewhere { .. } => "recorded",
        NoteInput::Stop => "stopped",
        NoteInput::Send => "sent",
        NoteInput::Discard => "discarded",
        _ => "changed",
    }
}
