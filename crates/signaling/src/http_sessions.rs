//! The sessions of participants who came by WHIP or WHEP: no socket, only a resource under an address that nobody can guess. A state
//! machine without a clock: it knows who is there and says who is to be taken out of their room, because their token has expired,
//! their transport is down, or whom they played is gone. The rooms do the rest.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Mutex, OwnedSemaphorePermit};

use crate::media::MediaOffer;
use crate::protocol::Party;
use crate::timers::Timers;

/// By which protocol somebody came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HttpProtocol {
    /// Publishes (RFC 9725).
    Whip,
    /// Plays (draft-ietf-wish-whep).
    Whep,
}

impl HttpProtocol {
    /// As it stands in paths, and at the beginning of devices' names.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Whip => "whip",
            Self::Whep => "whep",
        }
    }
}

/// Somebody who came by HTTP.
#[derive(Debug)]
pub(crate) struct HttpSession {
    pub(crate) protocol: HttpProtocol,
    pub(crate) room: String,
    pub(crate) participant: String,
    pub(crate) party: Party,
    /// Whom they play, where it is one participant; with them they are gone.
    pub(crate) plays: Option<String>,
    /// Held while a restart is under way, so that the media side gets one after the other.
    pub(crate) ice: Mutex<IceSession>,
    /// Counts among the sessions that there may be.
    pub(crate) _place: OwnedSemaphorePermit,
}

/// What restarting ICE needs.
#[derive(Debug)]
pub(crate) struct IceSession {
    /// The last offer, whole: a restart is the same with other credentials.
    pub(crate) offer: MediaOffer,
    /// How often ICE was restarted: names the ICE session.
    pub(crate) restarts: u64,
}

impl IceSession {
    /// The entity-tag of the ICE session (RFC 9725, section 4.3.1).
    pub(crate) fn etag(&self) -> String {
        format!("\"ice-{}\"", self.restarts)
    }
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct HttpSessions {
    by_id: HashMap<String, Arc<HttpSession>>,
    id_of: HashMap<String, String>,
    expiry: Timers,
    ended: VecDeque<Arc<HttpSession>>,
}

impl HttpSessions {
    /// Begins a session, until its token expires.
    pub(crate) fn begin(&mut self, id: &str, session: HttpSession, expires: Instant) {
        self.id_of.insert(session.participant.clone(), id.to_owned());
        self.by_id.insert(id.to_owned(), Arc::new(session));
        self.expiry.set(id, Some(expires));
    }

    /// The session of a resource.
    pub(crate) fn get(&self, protocol: HttpProtocol, id: &str) -> Option<&Arc<HttpSession>> {
        self.by_id.get(id).filter(|session| session.protocol == protocol)
    }

    /// Ends a session. The resource is gone at once.
    pub(crate) fn end(&mut self, id: &str) {
        let Some(session) = self.by_id.remove(id) else { return };
        self.id_of.remove(&session.participant);
        self.expiry.set(id, None);
        self.ended.push_back(session);
    }

    /// The media transport of a participant, of whatever kind, is down: consent ran out (RFC 7675) or they said goodbye.
    pub(crate) fn disconnected(&mut self, participant: &str) {
        if let Some(id) = self.id_of.get(participant).cloned() {
            self.end(&id);
        }
    }

    /// A participant, of whatever kind, is out of their room.
    pub(crate) fn left(&mut self, participant: &str) {
        self.disconnected(participant);
        let players = self.by_id.iter().filter(|(_, session)| session.plays.as_deref() == Some(participant));
        let players: Vec<String> = players.map(|(id, _)| id.clone()).collect();
        players.iter().for_each(|id| self.end(id));
    }

    /// A session that is over, whose participant is to be taken out of their room if they are still in it.
    pub(crate) fn poll_ended(&mut self) -> Option<Arc<HttpSession>> {
        self.ended.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.expiry.next()
    }

    /// Ends the sessions whose token has expired.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some(id) = self.expiry.take_due(now) {
            self.end(&id);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use tokio::sync::Semaphore;

    use super::*;

    fn session(protocol: HttpProtocol, participant: &str, plays: Option<&str>, places: &Arc<Semaphore>) -> HttpSession {
        HttpSession {
            protocol,
            room: "stage".into(),
            participant: participant.into(),
            party: Party { user: "ann".into(), device: participant.into() },
            plays: plays.map(str::to_owned),
            ice: Mutex::new(IceSession { offer: MediaOffer { sdp: String::new(), tracks: Vec::new() }, restarts: 0 }),
            _place: places.clone().try_acquire_owned().unwrap(),
        }
    }

    fn ended(sessions: &mut HttpSessions) -> Vec<String> {
        std::iter::from_fn(|| sessions.poll_ended().map(|session| session.participant.clone())).collect()
    }

    #[test]
    fn a_player_of_one_ends_with_whom_it_plays_and_gives_its_place_back() {
        let (mut sessions, places, now) = (HttpSessions::default(), Arc::new(Semaphore::new(9)), Instant::now());
        let hour = now + Duration::from_secs(3600);
        sessions.begin("a", session(HttpProtocol::Whip, "p1", None, &places), hour);
        sessions.begin("b", session(HttpProtocol::Whep, "p2", Some("p1"), &places), hour);
        sessions.begin("c", session(HttpProtocol::Whep, "p3", None, &places), hour);
        assert!(sessions.get(HttpProtocol::Whep, "a").is_none(), "each under its own path");
        assert_eq!(places.available_permits(), 6);
        sessions.disconnected("p1");
        assert_eq!(ended(&mut sessions), ["p1"]);
        // The room says so once they are out.
        sessions.left("p1");
        assert_eq!(ended(&mut sessions), ["p2"]);
        assert!(sessions.get(HttpProtocol::Whep, "b").is_none() && sessions.get(HttpProtocol::Whep, "c").is_some());
        assert_eq!(places.available_permits(), 8);
    }

    #[test]
    fn a_session_lasts_as_long_as_its_token() {
        let (mut sessions, places, now) = (HttpSessions::default(), Arc::new(Semaphore::new(9)), Instant::now());
        let second = Duration::from_secs(1);
        sessions.begin("a", session(HttpProtocol::Whip, "p1", None, &places), now + 2 * second);
        sessions.begin("b", session(HttpProtocol::Whip, "p2", None, &places), now + second);
        assert_eq!(sessions.poll_timeout(), Some(now + second));
        sessions.handle_timeout(now + second);
        assert_eq!(ended(&mut sessions), ["p2"]);
        sessions.end("a");
        assert_eq!((ended(&mut sessions), sessions.poll_timeout()), (vec!["p1".to_owned()], None));
    }
}
