//! The hub's part in calls: requests in, events, notices and hooks out.

use std::time::{Duration, Instant};

use rand::Rng;
use rand::distr::Alphanumeric;

use super::{Hub, Session};
use crate::call::{CallInput, CallOutput};
use crate::hook_runner::NoticeKind;
use crate::hooks::{EndedCall, Notice};
use crate::kept_call::KeptCall;
use crate::protocol::{CallInfo, CallPlace, ErrorCode, Event, Outcome, Party, Source, WireError};
use crate::signaling_event::{SignalingEvent, unix_ms};
use crate::switchboard::PlaceCall;

/// An id of 22 letters and digits: 131 bits, not to be guessed.
pub(crate) fn random_id(prefix: &str) -> String {
    let letters = rand::rng().sample_iter(Alphanumeric).take(22).map(char::from);
    prefix.chars().chain(letters).collect()
}

impl Hub {
    /// Whether a user could place a call to another now.
    pub(crate) fn check_place(&self, now: Instant, caller: &str, callee: &str) -> Result<(), WireError> {
        self.not_draining()?;
        self.switchboard.check_rate(now, caller, callee)
    }

    pub(super) fn not_draining(&self) -> Result<(), WireError> {
        if self.draining {
            return Err(WireError::new(ErrorCode::Unavailable, "the server is shutting down"));
        }
        Ok(())
    }

    /// Places a call.
    pub(crate) fn place(&mut self, now: Instant, session: &Session, place: CallPlace) -> Result<CallInfo, WireError> {
        self.not_draining()?;
        self.require_current(session)?;
        let place = PlaceCall {
            id: random_id("c_"),
            room: random_id("r_"),
            caller: session.party.clone(),
            callees: place.to,
            kind: place.kind,
            thread: place.thread,
            placed_at: unix_ms(),
        };
        let id = self.switchboard.place(now, place)?;
        self.info(&id)
    }

    /// Passes an input to a call, and returns the call as it is then.
    pub(crate) fn call_input(
        &mut self,
        now: Instant,
        session: &Session,
        call: &str,
        input: CallInput,
    ) -> Result<CallInfo, WireError> {
        self.require_current(session)?;
        self.switchboard.handle(now, call, input)?;
        self.info(call)
    }

    /// Goes on with the calls of a former process, which had them last at a time in Unix milliseconds.
    pub(crate) fn restore(&mut self, now: Instant, calls: Vec<KeptCall>, seen_at: u64) {
        let away = Duration::from_millis(unix_ms().saturating_sub(seen_at));
        for kept in calls {
            let talked = kept.active_since.map_or(0, |since| seen_at.saturating_sub(since));
            self.switchboard.restore(now, kept, Duration::from_millis(talked), away);
        }
    }

    /// Rings more people into a call.
    pub(crate) fn invite(
        &mut self,
        now: Instant,
        session: &Session,
        call: &str,
        to: Vec<String>,
    ) -> Result<CallInfo, WireError> {
        self.not_draining()?;
        self.require_current(session)?;
        self.switchboard.invite(now, call, session.party.clone(), to)?;
        self.info(call)
    }

    /// Somebody asks to be let into a call, under the name that others see.
    pub(crate) fn knock(&mut self, now: Instant, session: &Session, call: &str) -> Result<(), WireError> {
        self.require_current(session)?;
        self.switchboard.handle(now, call, CallInput::Knock(session.party.clone(), session.name.clone()))
    }

    /// The host mutes somebody's track: in which room and as whom they are there.
    pub(crate) fn whom_to_mute(
        &self,
        session: &Session,
        call: &str,
        user: &str,
        source: Source,
    ) -> Result<(String, String), WireError> {
        self.require_current(session)?;
        let found = self.switchboard.call(call).ok_or_else(crate::call::Call::not_found)?;
        found.require_host(&session.party)?;
        let room = found.room();
        let nobody = || WireError::new(ErrorCode::NotFound, "nobody of that name publishes such a track in this call");
        let participant = self.rooms.participant_of_user(room, user).ok_or_else(nobody)?;
        if !self.rooms.publishes(room, participant, source) {
            return Err(nobody());
        }
        Ok((room.to_owned(), participant.to_owned()))
    }

    /// A call, for one of its parties; others do not learn whether it exists.
    pub(crate) fn call_status(&mut self, now: Instant, user: &str, call: &str) -> Result<CallInfo, WireError> {
        self.switchboard.handle_timeout(now);
        let found = self.switchboard.call(call).filter(|call| call.concerns(user));
        found.map(|call| call.info()).ok_or_else(crate::call::Call::not_found)
    }

    pub(super) fn require_current(&self, session: &Session) -> Result<(), WireError> {
        if self.is_current(session) {
            return Ok(());
        }
        Err(WireError::new(ErrorCode::Conflict, "a newer session of this device has taken over"))
    }

    fn info(&self, call: &str) -> Result<CallInfo, WireError> {
        self.switchboard.call(call).map(|call| call.info()).ok_or_else(crate::call::Call::not_found)
    }

    pub(super) fn call_output(&mut self, now: Instant, id: &str, output: CallOutput) {
        let Some(call) = self.switchboard.call(id) else { return };
        let caller = call.caller().clone();
        let at = unix_ms();
        match output {
            CallOutput::Placed => {
                let (info, room) = (call.info(), call.room().to_owned());
                let needs_room = match call.outcome() {
                    None => true,
                    // Over at once, but a note may be left.
                    Some(outcome) => self.may_keep(call, outcome),
                };
                self.hooks.placed(&info);
                self.events.send(SignalingEvent::CallPlaced { at, call: info, caller });
                if needs_room {
                    self.rooms.open_for_call(&room, id);
                }
            }
            CallOutput::Restored => {
                // Otherwise it is over, as the rest of its outputs says.
                if let Some(talked) = call.talked(now) {
                    let (call, active_since) = (call.info(), at.saturating_sub(whole_ms(talked)));
                    self.rooms.open_for_call(&call.room, id);
                    self.events.send(SignalingEvent::CallRestored { at, call, caller, active_since });
                }
            }
            CallOutput::Wake(user) => self.notify(NoticeKind::Incoming, id, &user),
            CallOutput::Hush(user) => self.notify(NoticeKind::Cancelled, id, &user),
            CallOutput::Ring(party) => {
                let expires_ms = call.rings_for(now, &party.user).as_millis().try_into().unwrap_or(u64::MAX);
                self.tell([&party], &Event::CallIncoming { call: call.info(), expires_ms });
            }
            CallOutput::Leg(leg) => {
                // Everyone in a group sees who is being rung; in a call of two only the caller waits.
                self.tell(call.members(), &Event::CallLeg { call: id.to_owned(), leg: leg.clone() });
                self.events.send(SignalingEvent::LegChanged { at, call: id.to_owned(), leg });
            }
            CallOutput::Active(answered_by) => {
                let call = call.info();
                let event = Event::CallActive { call: call.clone(), answered_by: answered_by.clone() };
                self.tell([&caller, &answered_by], &event);
                self.events.send(SignalingEvent::CallActive { at, call, answered_by });
            }
            CallOutput::Joined(party) => {
                let call = call.info();
                self.tell([&party], &Event::CallActive { call: call.clone(), answered_by: party.clone() });
                self.events.send(SignalingEvent::CallJoined { at, call: call.id, party });
            }
            CallOutput::Left(party, reason) => {
                let room = call.room().to_owned();
                // They may never have been in the room.
                let _ = self.rooms.leave(now, &room, &party);
                self.events.send(SignalingEvent::CallLeft { at, call: id.to_owned(), party, reason });
            }
            // Whoever declined knows of the call.
            CallOutput::Missed(_, Outcome::Declined) => {}
            CallOutput::Missed(user, _) => self.notify(NoticeKind::Missed, id, &user),
            CallOutput::Knock { hosts, from, name } => {
                self.tell(&hosts, &Event::CallKnock { call: id.to_owned(), user: from.user, name });
            }
            CallOutput::Admitted(party, admitted) => {
                self.tell([&party], &Event::CallAdmitted { call: id.to_owned(), admitted });
            }
            CallOutput::Changed => self.tell(call.members(), &Event::CallChanged { call: call.info() }),
            CallOutput::Done(party, reason) => {
                let outcome = call.outcome().unwrap_or(Outcome::Answered);
                let (by, talk) = call.ending().map_or((None, Duration::ZERO), |(by, talk)| (by, talk));
                let talk_ms = whole_ms(talk);
                let by = by.map(str::to_owned);
                let room_kept = party == caller && self.is_kept_for(call.room(), &party.user);
                let event = Event::CallEnded { call: call.info(), outcome, reason, talk_ms, by, room_kept };
                self.tell([&party], &event);
            }
            CallOutput::Ended { outcome, by, talk } => {
                let (info, room) = (call.info(), call.room().to_owned());
                let (acknowledged, keep) = (call.acknowledged(), self.may_keep(call, outcome));
                let (talk_ms, away_ms) = (whole_ms(talk), whole_ms(call.away()));
                let ended = SignalingEvent::CallEnded { at, call: info.clone(), outcome, talk_ms, by: by.clone() };
                self.events.send(ended);
                let missed = call.missed().collect();
                let others: Vec<Party> = call.members().filter(|member| **member != caller).cloned().collect();
                if keep {
                    self.keep_room(now, &room, &caller.user, id);
                    for party in others {
                        let _ = self.rooms.leave(now, &room, &party);
                    }
                } else {
                    self.rooms_over.push(room);
                }
                let quality = self.rooms.qualities(&info.room);
                let caller_participant = self.rooms.participant_of_user(&info.room, &caller.user).map(str::to_owned);
                let ended = EndedCall {
                    rang_ms: at.saturating_sub(info.placed_at).saturating_sub(talk_ms).saturating_sub(away_ms),
                    call: info,
                    outcome,
                    ended_at: at,
                    talk_ms,
                    acknowledged,
                    missed,
                    caller,
                    caller_participant,
                    by,
                    quality,
                    room_kept: keep,
                };
                self.ended(ended);
                self.hooks.call_over(id);
            }
        }
    }

    fn ended(&mut self, ended: EndedCall) {
        // In a group each was told when their own ring was over.
        for callee in ended.call.to.iter().filter(|_| ended.is_unanswered() && !ended.call.group) {
            // Whoever declined knows of the call.
            if ended.by.as_ref() != Some(&callee.user) {
                self.notify(NoticeKind::Missed, &ended.call.id, &callee.user);
            }
        }
        self.hooks.call_ended(ended);
    }

    fn notify(&mut self, kind: NoticeKind, call: &str, user: &str) {
        let Some(call) = self.switchboard.call(call).map(|call| call.info()) else { return };
        let notice = Notice {
            user: user.to_owned(),
            live_devices: self.switchboard.devices(user).map(str::to_owned).collect(),
            // One call to one user is one notification on their phone; the call's id alone says so.
            collapse_key: call.id.clone(),
            expires_at: call.placed_at.saturating_add(call.ring_ms),
            call,
        };
        self.hooks.notify(kind, notice);
    }
}

fn whole_ms(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}
