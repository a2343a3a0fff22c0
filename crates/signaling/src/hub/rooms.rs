//! The hub's part in rooms: who may come in, and what is told to whom.

use std::time::Instant;

use super::{Hub, Session};
use crate::call::CallInput;
use crate::media::{MediaAnswer, MediaEvent};
use crate::media_rooms::Opened;
use crate::protocol::{CallState, ErrorCode, Event, Joined, Presence, Source, TrackClaim, WireError};
use crate::reactions::Reactions;
use crate::rooms::{Newcomer, RoomOutput};
use crate::signaling_event::{SignalingEvent, unix_ms};

/// By what right somebody may come into a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// As a party of the call whose room it is.
    Party,
    /// Only by a grant in their token.
    Grant,
}

impl Hub {
    /// By what right this session may come into a room.
    ///
    /// # Errors
    /// `conflict` for a callee who has not accepted.
    pub(crate) fn access(&self, session: &Session, room: &str) -> Result<Access, WireError> {
        self.access_of(&session.party.user, room)
    }

    /// As [`access`](Self::access), for a user without a session.
    pub(super) fn access_of(&self, user: &str, room: &str) -> Result<Access, WireError> {
        if self.is_kept_for(room, user) {
            return Ok(Access::Party);
        }
        match self.rooms.call_of(room).and_then(|call| self.switchboard.call(call)) {
            Some(call) if call.has_member(user) => Ok(Access::Party),
            Some(call) if call.concerns(user) && call.state() == CallState::Ringing => {
                Err(WireError::new(ErrorCode::Conflict, "accept the call before joining its room"))
            }
            _ => Ok(Access::Grant),
        }
    }

    /// Keeps a place in a room, for which the right was established, and says when the room is open on the media side.
    pub(crate) fn reserve(
        &mut self,
        now: Instant,
        session: &Session,
        room: &str,
        by: Access,
        newcomer: Newcomer,
    ) -> Result<Opened, WireError> {
        self.require_current(session)?;
        if !self.rooms.contains(room) {
            self.not_draining()?;
        }
        // The call may have ended since.
        if by == Access::Party && self.access(session, room)? != Access::Party {
            return Err(WireError::new(ErrorCode::Conflict, "the call is over"));
        }
        self.rooms.reserve(now, room, newcomer)?;
        self.drain(now);
        self.media_rooms.opened(room).ok_or_else(|| WireError::new(ErrorCode::Internal, "the room was not opened"))
    }

    /// The media side has taken a newcomer in: answers their request, and tells the others.
    ///
    /// # Errors
    /// `conflict` where the room or the session is gone meanwhile; not answered yet.
    pub(crate) fn commit(
        &mut self,
        now: Instant,
        session: &Session,
        re: u64,
        room: &str,
        participant: String,
        media: MediaAnswer,
    ) -> Result<(), WireError> {
        if let Err(error) = self.require_current(session) {
            self.rooms.abandon(now, room, &participant);
            return Err(error);
        }
        let view = self.rooms.commit(now, room, &participant);
        let view = view.map_err(|_| WireError::new(ErrorCode::Conflict, "the room was closed meanwhile"))?;
        let joined = Joined {
            participant,
            answer: media.answer,
            slots: media.slots,
            roster: view.roster,
            stage: view.stage,
            speaking: view.speaking,
        };
        session.outbox.answer(re, &Ok(joined));
        Ok(())
    }

    /// Gives a place up that was kept for a newcomer.
    pub(crate) fn abandon(&mut self, now: Instant, room: &str, participant: &str) {
        self.rooms.abandon(now, room, participant);
    }

    /// Takes a session's device out of a room.
    pub(crate) fn leave(&mut self, now: Instant, session: &Session, room: &str) -> Result<(), WireError> {
        self.require_current(session)?;
        self.rooms.leave(now, room, &session.party)
    }

    /// As whom a session's device is in a room.
    pub(crate) fn participant(&self, session: &Session, room: &str) -> Result<String, WireError> {
        self.require_current(session)?;
        self.rooms.participant(room, &session.party).map(str::to_owned)
    }

    /// As whom a session's device is in a room, if it publishes such a track.
    pub(crate) fn publisher(&self, session: &Session, room: &str, source: Source) -> Result<String, WireError> {
        let participant = self.participant(session, room)?;
        if self.rooms.publishes(room, &participant, source) {
            return Ok(participant);
        }
        Err(WireError::new(ErrorCode::NotFound, "source: this participant publishes no such track"))
    }

    /// A participant's tracks after a further offer.
    pub(crate) fn set_tracks(&mut self, now: Instant, room: &str, participant: &str, tracks: &[TrackClaim]) {
        self.rooms.set_tracks(now, room, participant, tracks);
    }

    /// A participant's track is muted or not.
    pub(crate) fn set_muted(&mut self, now: Instant, room: &str, participant: &str, source: Source, muted: bool) {
        self.rooms.set_muted(now, room, participant, source, muted);
    }

    /// The host of the call has muted a participant's track.
    pub(crate) fn muted_by_host(&mut self, now: Instant, room: &str, participant: &str, source: Source) {
        self.rooms.set_muted(now, room, participant, source, true);
        let devices = self.rooms.devices_of(room, &[participant.to_owned()]);
        self.tell(devices, &Event::RoomMuted { room: room.to_owned(), source });
    }

    /// Begins or ends to tell a session's device who is in a room.
    pub(crate) fn watch(&mut self, session: &Session, room: &str, on: bool) -> Result<Presence, WireError> {
        self.require_current(session)?;
        if on {
            self.rooms.watch(room, &session.party)?;
        } else {
            self.rooms.unwatch(room, &session.party);
        }
        Ok(self.rooms.presence(room))
    }

    /// Tells some participants of a room what the reactions have to say.
    pub(crate) fn reaction(&self, room: String, participants: &[String], channel: String, message: serde_json::Value) {
        let devices = self.rooms.devices_of(&room, participants);
        self.tell(devices, &Event::Reaction { room: room.clone(), channel, message });
    }

    /// Takes what the media side reports.
    pub(crate) fn media_event(&mut self, now: Instant, event: MediaEvent) {
        if let MediaEvent::RoomClosed { room, reason } = &event {
            tracing::warn!(room, reason, "the media side closed a room");
            self.fail_call_of(now, room);
        }
        if let MediaEvent::Disconnected { participant, .. } = &event {
            self.http.disconnected(participant);
        }
        self.rooms.media_event(now, event);
    }

    /// A room cannot be opened.
    pub(crate) fn room_failed(&mut self, now: Instant, room: &str) {
        self.fail_call_of(now, room);
        self.rooms.close(room, "failed");
    }

    fn fail_call_of(&mut self, now: Instant, room: &str) {
        if let Some(call) = self.rooms.call_of(room).map(str::to_owned) {
            // A call that is over already has nothing to fail.
            let _ = self.switchboard.handle(now, &call, CallInput::Fail);
        }
    }

    fn with_reactions(&self, tell: impl FnOnce(&dyn Reactions)) {
        if let Some(reactions) = &self.hooks.hooks().reactions {
            tell(reactions.as_ref());
        }
    }

    pub(super) fn room_output(&mut self, output: RoomOutput) {
        let at = unix_ms();
        match output {
            RoomOutput::Open(room) => self.media_rooms.open(room),
            RoomOutput::Tell(parties, event) => self.tell(&parties, &event),
            RoomOutput::Joined { room, participant, device } => {
                self.with_reactions(|reactions| reactions.joined(&room, &participant));
                self.events.send(SignalingEvent::RoomJoined { at, room, participant, device });
            }
            RoomOutput::Left { room, participant, party, quality } => {
                self.http.left(&participant);
                self.with_reactions(|reactions| reactions.left(&room, &participant));
                self.media_rooms.media().leave(room.clone(), participant.clone());
                self.events.send(SignalingEvent::RoomLeft { at, room, participant, user: party.user, quality });
            }
            RoomOutput::Close { room, reason } => {
                self.with_reactions(|reactions| reactions.closed(&room));
                self.media_rooms.close(room.clone());
                self.events.send(SignalingEvent::RoomClosed { at, room, reason });
            }
        }
    }
}
