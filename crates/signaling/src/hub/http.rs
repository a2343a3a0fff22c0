//! The hub's part in participants who come by WHIP or WHEP: into a room, out of it, and the addresses they are known by. They have no
//! socket, so nothing is told to them; everybody else sees them in the roster like anybody.

use std::sync::Arc;
use std::time::Instant;

use super::Hub;
use super::rooms::Access;
use crate::http_sessions::{HttpProtocol, HttpSession};
use crate::media_rooms::Opened;
use crate::protocol::{ErrorCode, WireError};
use crate::rooms::Newcomer;

/// What a player asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Play {
    /// Whoever the room shows and lets hear.
    Room,
    /// One participant.
    Participant(String),
    /// One user: whichever participant of theirs publishes.
    User(String),
}

/// A place that is kept for somebody who comes by HTTP.
pub(crate) struct HttpPlace {
    /// Resolves when the room is open on the media side.
    pub(crate) opened: Opened,
    /// The one participant to play.
    pub(crate) plays: Option<String>,
}

impl Hub {
    /// Whether this user may not come into a room yet, whatever their token grants.
    ///
    /// # Errors
    /// `conflict` for a callee who has not accepted.
    pub(crate) fn http_access(&self, user: &str, room: &str) -> Result<(), WireError> {
        self.access_of(user, room).map(|_: Access| ())
    }

    /// Keeps a place in a room, to which the token admits.
    ///
    /// # Errors
    /// `not_found` where there is nobody to play, `unavailable` where the room is full or the server shuts down.
    pub(crate) fn reserve_http(
        &mut self,
        now: Instant,
        room: &str,
        newcomer: Newcomer,
        play: &Play,
    ) -> Result<HttpPlace, WireError> {
        self.not_draining()?;
        let nobody = |what: &str, who: &str| {
            Err(WireError::new(
                ErrorCode::NotFound,
                format!("{what}: {who:?} is not in the room, or publishes nothing"),
            ))
        };
        let plays = match play {
            Play::Room => None,
            Play::Participant(participant) if self.is_in(room, participant) => Some(participant.clone()),
            Play::Participant(participant) => return nobody("participant", participant),
            Play::User(user) => match self.rooms.publisher_of_user(room, user) {
                Some(participant) => Some(participant.to_owned()),
                None => return nobody("user", user),
            },
        };
        self.rooms.reserve(now, room, newcomer)?;
        self.drain(now);
        let opened = self.media_rooms.opened(room);
        let opened = opened.ok_or_else(|| WireError::new(ErrorCode::Internal, "the room was not opened"))?;
        Ok(HttpPlace { opened, plays })
    }

    fn is_in(&self, room: &str, participant: &str) -> bool {
        !self.rooms.devices_of(room, &[participant.to_owned()]).is_empty()
    }

    /// The media side has taken a newcomer in: from now on everybody sees them, and `id` is their resource's.
    ///
    /// # Errors
    /// `conflict` where the room is gone meanwhile, or whom they play.
    pub(crate) fn commit_http(
        &mut self,
        now: Instant,
        id: &str,
        session: HttpSession,
        expires: Instant,
    ) -> Result<(), WireError> {
        let gone = |message: &str| WireError::new(ErrorCode::Conflict, message);
        if session.plays.as_ref().is_some_and(|played| !self.is_in(&session.room, played)) {
            self.rooms.abandon(now, &session.room, &session.participant);
            return Err(gone("whom to play has left meanwhile"));
        }
        let committed = self.rooms.commit(now, &session.room, &session.participant);
        committed.map_err(|_| gone("the room was closed meanwhile"))?;
        self.http.begin(id, session, expires);
        Ok(())
    }

    /// The session of a resource, for whoever began it.
    ///
    /// # Errors
    /// `not_found`; `forbidden` with another user's token.
    pub(crate) fn http_session(
        &self,
        protocol: HttpProtocol,
        id: &str,
        user: &str,
    ) -> Result<Arc<HttpSession>, WireError> {
        let session = self.http.get(protocol, id);
        let session =
            session.ok_or_else(|| WireError::new(ErrorCode::NotFound, "there is no such session (any more)"))?;
        if session.party.user != user {
            return Err(WireError::new(ErrorCode::Forbidden, "the token is of another user than the session"));
        }
        Ok(session.clone())
    }

    /// Ends a session as its client wishes.
    ///
    /// # Errors
    /// As for [`http_session`](Self::http_session).
    pub(crate) fn end_http(&mut self, protocol: HttpProtocol, id: &str, user: &str) -> Result<(), WireError> {
        self.http_session(protocol, id, user)?;
        self.http.end(id);
        Ok(())
    }
}
