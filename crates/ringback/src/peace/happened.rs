//! What an event of the log means for whom: who may be told of something, and who has seen something by themselves. Whoever calls back, or hears a note, needs no notification of it.

use ringback_imagine::ImageInfo;
use ringback_peace::OccurrenceKind;
use ringback_recorder::{LoggedEvent, NoteInfo, OccurrenceRow, Seen};
use ringback_signaling::protocol::{CallInfo, LegState, Outcome, UserRef};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Occurred;

/// The event under which the embedder tells what happened elsewhere.
pub(super) const OCCURRED: &str = "notification.occurred";

/// What follows from an event.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Happened {
    pub(super) new: Vec<OccurrenceRow>,
    pub(super) seen: Vec<Seen>,
}

impl Happened {
    /// Reads an event. One that is none of ours, or cannot be read, means nothing.
    pub(super) fn of(event: &LoggedEvent) -> Self {
        match event.kind.as_str() {
            "call.placed" => read(event).map(|Placed { call }| placed(&call, event.at)),
            "call.ended" => read(event).map(|ended: Ended| call_ended(&ended, event.at)),
            "note.sent" => read(event).map(|NoteEvent { note, .. }| note_sent(&note, event.at)),
            "note.heard" | "note.deleted" => read(event).map(|note| note_seen(note, Some(event.at))),
            "note.unheard" => read(event).map(|note| note_seen(note, None)),
            "image.posted" => read(event).map(|posted| image_posted(&posted, event.at)),
            "image.deleted" => read(event).map(|deleted| image_deleted(&deleted, event.at)),
            OCCURRED => read(event).map(occurred),
            _ => None,
        }
        .unwrap_or_default()
    }

    /// Whom it concerns.
    pub(super) fn users(&self) -> impl Iterator<Item = &String> {
        let seen = self.seen.iter().map(|seen| match seen {
            Seen::One { user, .. } | Seen::Of { user, .. } | Seen::Until { user, .. } => user,
        });
        self.new.iter().map(|row| &row.user).chain(seen)
    }
}

#[derive(Deserialize)]
struct Placed {
    call: CallInfo,
}

#[derive(Deserialize)]
struct Ended {
    call: CallInfo,
    outcome: Outcome,
    by: Option<String>,
    #[serde(default)]
    missed: Vec<UserRef>,
}

#[derive(Deserialize)]
struct NoteEvent {
    note: NoteInfo,
    user: Option<String>,
}

#[derive(Deserialize)]
struct ImageEvent {
    image: ImageInfo,
    #[serde(default)]
    to: Vec<String>,
}

fn read<T: serde::de::DeserializeOwned>(event: &LoggedEvent) -> Option<T> {
    let read = serde_json::from_value(event.body.clone());
    let report = |error: &_| tracing::error!(%error, sequence = event.sequence, "an event cannot be read");
    read.inspect_err(report).ok()
}

fn row(user: &str, id: String, at: u64, kind: OccurrenceKind, from: &str, body: Value) -> OccurrenceRow {
    let (user, from, kind) = (user.to_owned(), from.to_owned(), kind.as_str().to_owned());
    OccurrenceRow { user, id, at, kind, from, body, held: None, notification: None, seen_at: None }
}

/// Whoever calls back knows of the calls they missed.
fn placed(call: &CallInfo, at: u64) -> Happened {
    let seen = call.to.iter().map(|to| knows(&call.from.user, &to.user, at));
    Happened { seen: seen.collect(), ..Happened::default() }
}

fn knows(user: &str, from: &str, at: u64) -> Seen {
    let (user, from) = (user.to_owned(), from.to_owned());
    Seen::Of { user, kind: OccurrenceKind::MissedCall.as_str().to_owned(), from, at }
}

fn call_ended(ended: &Ended, at: u64) -> Happened {
    let Ended { call, outcome, by, missed } = ended;
    let from = &call.from;
    if *outcome == Outcome::Answered && !call.group {
        return Happened {
            seen: call.to.iter().map(|to| knows(&to.user, &from.user, at)).collect(),
            ..Happened::default()
        };
    }
    // In a group whoever was never in it; otherwise whom nobody heard of. Whoever declined knows of the call.
    let callees = if call.group { missed } else { &call.to };
    let declined = |user: &str| {
        let leg = |state| call.legs.iter().any(|leg| leg.user == user && leg.state == state);
        by.as_deref() == Some(user) || leg(LegState::Declined)
    };
    let body = json!({ "from_name": from.name, "thread": call.thread, "call": call.id });
    let new = callees.iter().filter(|to| !declined(&to.user) && to.user != from.user);
    let new = new
        .map(|to| row(&to.user, format!("call:{}", call.id), at, OccurrenceKind::MissedCall, &from.user, body.clone()));
    Happened { new: new.collect(), ..Happened::default() }
}

fn note_sent(note: &NoteInfo, at: u64) -> Happened {
    let body = json!({ "from_name": note.from.name, "thread": note.thread, "call": note.call, "note": note.id });
    let to = note.to.iter().filter(|to| to.user != note.from.user);
    let new = to
        .map(|to| row(&to.user, format!("note:{}", note.id), at, OccurrenceKind::Note, &note.from.user, body.clone()));
    Happened { new: new.collect(), ..Happened::default() }
}

fn note_seen(NoteEvent { note, user }: NoteEvent, at: Option<u64>) -> Happened {
    let Some(user) = user else { return Happened::default() };
    // The call in which it was left as well, which does not become new again with it.
    let call = at.map(|_| Seen::One { user: user.clone(), id: format!("call:{}", note.call), at });
    let note = Seen::One { user, id: format!("note:{}", note.id), at };
    Happened { seen: std::iter::once(note).chain(call).collect(), ..Happened::default() }
}

/// Told at least once for each image; the id makes one row of it.
fn image_posted(ImageEvent { image, to }: &ImageEvent, at: u64) -> Happened {
    let from = &image.from;
    let body = json!({ "from_name": from.name, "thread": image.thread, "about": image.prompt });
    // Whoever asked for it has been waiting for it.
    let to = to.iter().filter(|to| **to != from.user);
    let new = to.map(|to| row(to, format!("image:{}", image.id), at, OccurrenceKind::Image, &from.user, body.clone()));
    Happened { new: new.collect(), ..Happened::default() }
}

fn image_deleted(ImageEvent { image, to }: &ImageEvent, at: u64) -> Happened {
    let gone = |user: &String| Seen::One { user: user.clone(), id: format!("image:{}", image.id), at: Some(at) };
    Happened { seen: to.iter().map(gone).collect(), ..Happened::default() }
}

fn occurred(Occurred { user, item }: Occurred) -> Happened {
    let body = json!({
        "from_name": item.from.name, "thread": item.thread, "call": item.call, "note": item.note, "about": item.about,
    });
    let row = row(&user, item.id, item.at, item.kind, &item.from.user, body);
    Happened { new: vec![row], ..Happened::default() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn event(kind: &str, body: Value) -> LoggedEvent {
        LoggedEvent { sequence: 1, at: 5, kind: kind.to_owned(), body }
    }

    fn call(group: bool, legs: &[(&str, &str)]) -> Value {
        let legs: Vec<_> = legs.iter().map(|(user, state)| json!({ "user": user, "state": state })).collect();
        json!({
            "id": "c", "kind": "voice", "thread": "t", "room": "r", "from": { "user": "ann", "name": "Ann" },
            "to": [{ "user": "ben" }, { "user": "cem" }], "state": "ended", "placed_at": 1, "ring_ms": 9, "legs": legs,
            "group": group, "host": "ann",
        })
    }

    fn told(happened: &Happened) -> Vec<&str> {
        happened.new.iter().map(|row| row.user.as_str()).collect()
    }

    #[test]
    fn whoever_did_not_answer_missed_a_call_and_whoever_declined_did_not() {
        let ended = |outcome: &str, by: &str| json!({ "call": call(false, &[]), "outcome": outcome, "by": by });
        let happened = Happened::of(&event("call.ended", ended("no_answer", "")));
        assert_eq!(told(&happened), ["ben", "cem"]);
        assert_eq!((happened.new[0].id.as_str(), happened.new[0].body["from_name"].as_str()), ("call:c", Some("Ann")));
        assert_eq!(told(&Happened::of(&event("call.ended", ended("declined", "ben")))), ["cem"]);
        assert_eq!(told(&Happened::of(&event("call.ended", ended("answered", "ann")))), Vec::<&str>::new());
    }

    #[test]
    fn in_a_group_only_those_missed_it_who_were_never_in_it_and_did_not_decline() {
        let missed = json!([{ "user": "ben" }, { "user": "cem" }]);
        let call = call(true, &[("ben", "timed_out"), ("cem", "declined")]);
        let ended = json!({ "call": call, "outcome": "answered", "by": null, "missed": missed });
        assert_eq!(told(&Happened::of(&event("call.ended", ended))), ["ben"]);
    }

    #[test]
    fn whoever_calls_back_has_seen_that_they_missed_a_call() {
        let happened = Happened::of(&event("call.placed", json!({ "call": call(false, &[]), "caller": {} })));
        assert_eq!(happened.seen, [knows("ann", "ben", 5), knows("ann", "cem", 5)]);
    }

    #[test]
    fn a_picture_is_news_to_everybody_but_whoever_asked_for_it_and_none_once_it_is_gone() {
        let image = json!({
            "id": "i", "revision": 4, "thread": "t", "from": { "user": "ann", "name": "Ann" }, "prompt": "a lighthouse",
            "state": "posted", "provider": "p", "created_at": 1, "width": 1, "height": 1, "size": 1,
        });
        let body = json!({ "image": image, "to": ["ann", "ben"] });
        let happened = Happened::of(&event("image.posted", body.clone()));
        assert_eq!(told(&happened), ["ben"]);
        assert_eq!((happened.new[0].id.as_str(), happened.new[0].kind.as_str()), ("image:i", "image"));
        let gone = Happened::of(&event("image.deleted", body));
        assert_eq!((gone.new.len(), gone.seen.len()), (0, 2));
    }

    #[test]
    fn an_event_that_means_nothing_here_or_cannot_be_read_changes_nothing() {
        assert_eq!(Happened::of(&event("room.closed", json!({}))), Happened::default());
        assert_eq!(Happened::of(&event("call.ended", json!({ "call": 7 }))), Happened::default());
    }
}
