//! The hub's part in sessions: who is there, the list of people, and the end of it all.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::Hub;
use crate::call::CallInput;
use crate::media::BoxFuture;
use crate::notes::OpenNotes;
use crate::outbox::Outbox;
use crate::protocol::{ErrorCode, Event, HelloOk, Party, Person, VERSION, WireError, close};
use crate::signaling::SignalingStatistics;
use crate::signaling_event::unix_ms;
use crate::token::Grants;

/// A session that has said `hello`.
pub(crate) struct Session {
    /// Tells a device's newer session from its older one.
    pub(crate) number: u64,
    pub(crate) party: Party,
    pub(crate) name: String,
    pub(crate) grants: Grants,
    pub(crate) outbox: Outbox,
}

impl Hub {
    /// Takes a new session in and answers its `hello`. An older session of the same device is closed.
    ///
    /// # Errors
    /// `unavailable`, not answered yet.
    pub(crate) fn open_session(
        &mut self,
        now: Instant,
        re: u64,
        mut session: Session,
        notes: Option<OpenNotes>,
    ) -> Result<Arc<Session>, WireError> {
        if self.draining {
            return Err(WireError::new(ErrorCode::Unavailable, "the server is shutting down"));
        }
        self.switchboard.device_up(now, &session.party, &session.name)?;
        self.sessions += 1;
        session.number = self.sessions;
        let session = Arc::new(session);
        let party = session.party.clone();
        if let Some(older) = self.devices.insert(party.clone(), session.clone()) {
            older.outbox.close((close::REPLACED, "a newer session of this device has taken over"));
        }
        let rooms = self.rooms.device_back(now, &party);
        let list = session.grants.list;
        let others = self.switchboard.people().filter(|person| list && person.user != party.user);
        let calls = self.switchboard.calls_of(&party.user).filter(|call| call.is_on(&party));
        let turn = self.config.turn_servers.iter().map(|server| server.for_user(&party.user, unix_ms() / 1_000));
        let ok = HelloOk {
            version: VERSION,
            user: party.user.clone(),
            name: session.name.clone(),
            device: party.device.clone(),
            heartbeat_ms: self.config.heartbeat.as_millis().try_into().unwrap_or(u64::MAX),
            ice_servers: self.config.ice_servers.iter().cloned().chain(turn).collect(),
            people: others.collect(),
            calls: calls.map(|call| call.info()).collect(),
            rooms,
            notes,
        };
        session.outbox.answer(re, &Ok(ok));
        Ok(session)
    }

    /// A session's socket is gone.
    pub(crate) fn close_session(&mut self, now: Instant, session: &Session) {
        if self.is_current(session) {
            self.devices.remove(&session.party);
            self.switchboard.device_gone(now, &session.party);
            self.rooms.device_gone(now, &session.party);
        }
    }

    /// Whether this is still its device's session.
    pub(super) fn is_current(&self, session: &Session) -> bool {
        self.devices.get(&session.party).is_some_and(|current| current.number == session.number)
    }

    /// Sends an event to those of the devices that have a live session. Written as JSON once.
    pub(super) fn tell<'a>(&self, devices: impl IntoIterator<Item = &'a Party>, event: &Event) {
        let body: Arc<str> = event.body().into();
        for session in devices.into_iter().filter_map(|party| self.devices.get(party)) {
            session.outbox.event(body.clone());
        }
    }

    /// Sends everyone with the `list` grant who else is there.
    pub(super) fn tell_people(&self) {
        let everyone: Vec<Person> = self.switchboard.people().collect();
        for session in self.devices.values().filter(|session| session.grants.list) {
            let people = everyone.iter().filter(|person| person.user != session.party.user).cloned().collect();
            session.outbox.event(Event::People { people }.body().into());
        }
    }

    /// How much is going on.
    pub(crate) fn statistics(&self) -> SignalingStatistics {
        SignalingStatistics {
            sessions: self.devices.len(),
            live_calls: self.switchboard.live_calls().count(),
            occupied_rooms: self.rooms.occupied(),
        }
    }

    /// From now on nothing new begins. Resolves once no call is live and nobody is in a room.
    pub(crate) fn begin_drain(&mut self) -> oneshot::Receiver<()> {
        self.draining = true;
        let (idle, is_idle) = oneshot::channel();
        self.idle = Some(idle);
        is_idle
    }

    /// Ends all calls and rooms and closes all sessions. Resolves once no hook runs any more.
    pub(crate) fn stop(&mut self, now: Instant) -> BoxFuture<'static, ()> {
        self.draining = true;
        let live: Vec<_> = self.switchboard.live_calls().map(|call| call.id().to_owned()).collect();
        for call in live {
            let _ = self.switchboard.handle(now, &call, CallInput::Fail);
        }
        self.drain(now);
        for room in self.rooms.names() {
            self.rooms.close(&room, "shutdown");
        }
        self.drain(now);
        for (_, session) in self.devices.drain() {
            session.outbox.close((close::GOING_AWAY, "the server is shutting down"));
        }
        self.stopped = true;
        Box::pin(self.hooks.finish())
    }
}
