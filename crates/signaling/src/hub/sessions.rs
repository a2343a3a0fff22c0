//! The hub's part in sessions: who is there, the list of people, and the end of it all.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use tokio::sync::oneshot;

use super::Hub;
use crate::call::{Call, CallInput};
use crate::event_stream::EventStream;
use crate::media::BoxFuture;
use crate::notes::OpenNotes;
use crate::outbox::Outbox;
use crate::protocol::{CallState, ErrorCode, Event, HelloOk, Party, Person, Resume, VERSION, WireError, close};
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
    /// What the device has been told. Locked by the hub alone, so nobody waits.
    pub(crate) told: Mutex<EventStream>,
    /// The thread that the user has before them on this device. Likewise.
    pub(crate) in_view: Mutex<Option<String>>,
}

impl Session {
    /// Tells the device of an event, and keeps it for when the socket breaks off.
    pub(super) fn event(&self, body: Arc<str>) {
        let seq = self.told.lock().unwrap_or_else(PoisonError::into_inner).push(body.clone());
        self.outbox.event(seq, body);
    }

    /// Whether the user has this thread before them here.
    fn has_in_view(&self, thread: &str) -> bool {
        self.in_view.lock().unwrap_or_else(PoisonError::into_inner).as_deref() == Some(thread)
    }

    /// Goes on with what a former session was told, if the device knows where that stopped; returns what it missed.
    fn resume(&mut self, former: &Session, resume: &Resume) -> Option<Vec<(u64, Arc<str>)>> {
        let mut former = former.told.lock().unwrap_or_else(PoisonError::into_inner);
        let missed = former.after(resume)?.collect();
        let own = self.told.get_mut().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *former, own);
        Some(missed)
    }
}

/// The last session of a device whose socket is gone. What the device would be told is kept in it.
pub(super) struct Away {
    pub(super) session: Arc<Session>,
    until: Instant,
}

/// How long that is. Longer bridges a longer hole in the network, and keeps more memory for devices that do not come back.
const KEPT_AWAY: Duration = Duration::from_secs(60);

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
        resume: Option<Resume>,
    ) -> Result<Arc<Session>, WireError> {
        if self.draining {
            return Err(WireError::new(ErrorCode::Unavailable, "the server is shutting down"));
        }
        self.switchboard.device_up(now, &session.party, &session.name)?;
        self.sessions += 1;
        session.number = self.sessions;
        let party = session.party.clone();
        let older = self.devices.remove(&party);
        if let Some(older) = &older {
            older.outbox.close((close::REPLACED, "a newer session of this device has taken over"));
        }
        let former = older.or(self.away.remove(&party).map(|away| away.session));
        let missed = former.zip(resume).and_then(|(former, resume)| session.resume(&former, &resume));
        let session = Arc::new(session);
        self.devices.insert(party.clone(), session.clone());
        // Whoever goes on where they stopped needs no picture of the whole.
        let rooms = self.rooms.device_back(now, &party, missed.is_none());
        let others = match session.grants.list {
            true => self.people_but(&party.user),
            false => Vec::new(),
        };
        let calls = self.switchboard.calls_of(&party.user).filter(|call| call.is_on(&party));
        let turn = self.config.turn_servers.iter().map(|server| server.for_user(&party.user, unix_ms() / 1_000));
        let ok = HelloOk {
            version: VERSION,
            user: party.user.clone(),
            name: session.name.clone(),
            device: party.device.clone(),
            stream: session.told.lock().unwrap_or_else(PoisonError::into_inner).id().to_owned(),
            resumed: missed.is_some(),
            heartbeat_ms: self.config.heartbeat.as_millis().try_into().unwrap_or(u64::MAX),
            ice_servers: self.config.ice_servers.iter().cloned().chain(turn).collect(),
            people: others.clone(),
            calls: calls.map(|call| call.info()).collect(),
            rooms,
            notes,
        };
        session.outbox.answer(re, &Ok(ok));
        if let Some(missed) = missed {
            for (seq, body) in missed {
                session.outbox.event(seq, body);
            }
            // What was missed may be older than the list in the answer.
            if session.grants.list {
                session.event(Event::People { people: others }.body().into());
            }
        }
        Ok(session)
    }

    /// A session's socket is gone.
    pub(crate) fn close_session(&mut self, now: Instant, session: &Arc<Session>) {
        if self.is_current(session) {
            self.devices.remove(&session.party);
            self.away.insert(session.party.clone(), Away { session: session.clone(), until: now + KEPT_AWAY });
            self.forget_away_at.get_or_insert(now + KEPT_AWAY);
            self.switchboard.device_gone(now, &session.party);
            self.rooms.device_gone(now, &session.party);
        }
    }

    /// Forgets what devices were told that have stayed away.
    pub(super) fn forget_away(&mut self, now: Instant) {
        if self.forget_away_at.is_some_and(|at| at <= now) {
            self.away.retain(|_, away| away.until > now);
            self.forget_away_at = self.away.values().map(|away| away.until).min();
        }
    }

    /// Whether this is still its device's session.
    pub(super) fn is_current(&self, session: &Session) -> bool {
        self.devices.get(&session.party).is_some_and(|current| current.number == session.number)
    }

    /// Sends an event to those of the devices that have a live session. Written as JSON once.
    pub(super) fn tell<'a>(&self, devices: impl IntoIterator<Item = &'a Party>, event: &Event) {
        let body: Arc<str> = event.body().into();
        for party in devices {
            let away = || self.away.get(party).map(|away| &away.session);
            if let Some(session) = self.devices.get(party).or_else(away) {
                session.event(body.clone());
            }
        }
    }

    /// A user has a thread before them on this device, or none any more.
    pub(crate) fn set_view(&self, session: &Session, thread: Option<String>) {
        *session.in_view.lock().unwrap_or_else(PoisonError::into_inner) = thread;
    }

    /// The threads that a user has before them, on devices with a live session.
    pub(crate) fn threads_in_view(&self, user: &str) -> Vec<String> {
        let theirs = self.sessions_of(user);
        theirs.filter_map(|session| session.in_view.lock().unwrap_or_else(PoisonError::into_inner).clone()).collect()
    }

    /// Tells those of a user's devices that have a thread in view.
    pub(crate) fn tell_viewers(&self, user: &str, thread: &str, event: &str, fields: &Map<String, Value>) {
        let mut body = fields.clone();
        body.insert("event".to_owned(), event.into());
        let body: Arc<str> = Value::Object(body).to_string().into();
        for session in self.sessions_of(user).filter(|session| session.has_in_view(thread)) {
            session.event(body.clone());
        }
    }

    fn sessions_of(&self, user: &str) -> impl Iterator<Item = &Arc<Session>> {
        self.devices.values().filter(move |session| session.party.user == user)
    }

    /// Everyone with a live session but one.
    fn people_but(&self, user: &str) -> Vec<Person> {
        self.switchboard.people().filter(|person| person.user != user).collect()
    }

    /// Tells everyone with the `list` grant who has come, gone or changed. Written as JSON once.
    pub(super) fn tell_people_changed(&mut self) {
        let changed = self.switchboard.take_people_changed();
        let people: Vec<Person> = changed.iter().filter_map(|user| self.switchboard.person(user)).collect();
        let gone = changed.into_iter().filter(|user| self.switchboard.person(user).is_none()).collect();
        let body: Arc<str> = Event::PeopleChanged { people, gone }.body().into();
        for session in self.devices.values().filter(|session| session.grants.list) {
            session.event(body.clone());
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

    /// Ends all calls (or those alone that ring, if the others are to go on in the next process) and rooms, and closes all sessions. Resolves once no hook
    /// runs any more.
    pub(crate) fn stop(&mut self, now: Instant, active_go_on: bool) -> BoxFuture<'static, ()> {
        self.draining = true;
        let ends = |call: &&Call| !active_go_on || call.state() == CallState::Ringing;
        let live: Vec<_> = self.switchboard.live_calls().filter(ends).map(|call| call.id().to_owned()).collect();
        for call in live {
            let _ = self.switchboard.handle(now, &call, CallInput::Fail);
        }
        self.drain(now);
        if !active_go_on {
            for room in self.rooms.names() {
                self.rooms.close(&room, "shutdown");
            }
            self.drain(now);
        }
        self.away.clear();
        for (_, session) in self.devices.drain() {
            session.outbox.close((close::GOING_AWAY, "the server is shutting down"));
        }
        self.stopped = true;
        Box::pin(self.hooks.finish())
    }
}
