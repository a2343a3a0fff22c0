//! The hub's part in rooms of calls that nobody answered: they stay open to the caller alone, for as long as a note may be left there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::Hub;
use crate::call::Call;
use crate::images::ImageNews;
use crate::notes::{NoteNews, NoteNotice};
use crate::protocol::{CallPlace, CallState, Outcome};
use crate::signaling_event::{SignalingEvent, unix_ms};

/// How long such a room stays open at the most: several takes of several minutes, and no microphone that is forgotten for hours.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// A room that is kept.
#[derive(Debug)]
pub(super) struct Kept {
    /// The caller: nobody else may come in.
    user: String,
    call: String,
    until: Instant,
}

impl Hub {
    /// Whether a call's room may be needed after it ended like this: somebody did not come, and the caller is still there to leave a note.
    pub(super) fn may_keep(&self, call: &Call, outcome: Outcome) -> bool {
        let somebody_missed = outcome != Outcome::Answered || call.is_group() && call.missed().next().is_some();
        let caller_is_in = call.members().any(|member| member == call.caller());
        let has_room = self.rooms.contains(call.room()) || call.away().is_zero();
        // A call whose process ended has no room in which a note could be left.
        somebody_missed && caller_is_in && has_room && self.hooks.hooks().call_log.may_keep_room(&call.info(), outcome)
    }

    /// Keeps the room of a call that has ended, until the call log says what becomes of it.
    pub(super) fn keep_room(&mut self, now: Instant, room: &str, user: &str, call: &str) {
        let kept = Kept { user: user.to_owned(), call: call.to_owned(), until: now + LONGEST };
        self.kept.insert(room.to_owned(), kept);
    }

    /// Whether a room is kept, and for this user.
    pub(super) fn is_kept_for(&self, room: &str, user: &str) -> bool {
        self.kept.get(room).is_some_and(|kept| kept.user == user)
    }

    /// Nobody needs the room of a call that is over any more.
    pub(crate) fn release_room(&mut self, room: &str) {
        if self.kept.remove(room).is_some() {
            self.rooms_over.push(room.to_owned());
        }
    }

    /// When [`release_old_rooms`](Self::release_old_rooms) is due.
    pub(super) fn kept_until(&self) -> Option<Instant> {
        self.kept.values().map(|kept| kept.until).min()
    }

    /// Closes the rooms that were kept for too long.
    pub(super) fn release_old_rooms(&mut self, now: Instant) {
        let old: Vec<_> =
            self.kept.iter().filter(|(_, kept)| kept.until <= now).map(|(room, _)| room.clone()).collect();
        for room in old {
            self.release_room(&room);
        }
    }

    /// A callee who accepts just after the call has ended, while its caller is leaving a note, calls back: this is the call to place.
    pub(crate) fn call_back(&self, user: &str, call: &str) -> Option<CallPlace> {
        let over = self.switchboard.call(call)?;
        let late = over.state() == CallState::Ended && over.is_callee(user);
        let waits = self.kept.values().any(|kept| kept.call == call);
        let info = over.info();
        (late && waits).then(|| CallPlace { to: vec![info.from.user], kind: info.kind, thread: Some(info.thread) })
    }

    /// Tells what happened to a note.
    pub(crate) fn note_news(&mut self, news: NoteNews) {
        for (user, fields) in &news.tell {
            self.tell_user(user, &news.event, fields);
        }
        for notice in news.notices {
            let live_devices = self.switchboard.devices(&notice.user).map(str::to_owned).collect();
            self.hooks.notify_note(NoteNotice { live_devices, ..notice });
        }
        self.events.send(SignalingEvent::Note { at: unix_ms(), what: news.event, note: news.note });
    }

    /// Tells what happened to an image on request.
    pub(crate) fn image_news(&mut self, news: ImageNews) {
        for (user, fields) in &news.tell {
            self.tell_user(user, &news.event, fields);
        }
        if let Some(image) = news.image {
            self.events.send(SignalingEvent::Image { at: unix_ms(), what: news.event, image });
        }
    }

    /// Tells all devices of a user.
    pub(crate) fn tell_user(&self, user: &str, event: &str, fields: &Map<String, Value>) {
        let mut body = fields.clone();
        body.insert("event".to_owned(), event.into());
        let body: Arc<str> = Value::Object(body).to_string().into();
        let away = self.away.values().map(|away| &away.session);
        for session in self.devices.values().chain(away).filter(|session| session.party.user == user) {
            session.event(body.clone());
        }
    }

    /// A user's devices that have a live session.
    pub(crate) fn live_devices(&self, user: &str) -> Vec<String> {
        self.switchboard.devices(user).map(str::to_owned).collect()
    }
}
