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
        let event_at = event.at;
        match event.kind.as_str() {
            "call.placed" => read(event).map(|Placed { call }| placed(&call, event.at)),
            "call.ended" => read(event).map(|ended: Ended| call_ended(&ended, event.at)),
            "note.sent" => read(event).map(|NoteEvent { note, .. }| note_sent(&note, event.at)),
            "note.heard" | "note.deleted" => read(event).map(|note| note_seen(note, Some(event.at))),
            "note.reacted" => read(event).map(|event: NoteEvent| reacted(&event.into(), event_at)),
            "note.unreacted" => read(event).map(|event: NoteEvent| unreacted(event.into(), event_at)),
            "note.unheard" => read(event).map(|note| note_seen(note, None)),
            "image.posted" => read(event).map(|posted| image_posted(&posted, event.at)),
            "image.reacted" => read(event).map(|event: ImageEvent| reacted(&event.into(), event_at)),
            "image.unreacted" => read(event).map(|event: ImageEvent| unreacted(event.into(), event_at)),
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
    /// Who reacted.
    #[serde(default)]
    user: Option<String>,
}

/// What somebody reacted to, or took that back from: a note or a picture.
struct ReactedTo {
    id: String,
    author: String,
    by: Option<String>,
    /// With what, and under which name, where it is not taken back.
    said: Option<(String, Option<String>)>,
    /// What it is in the particulars of the occurrence.
    body: Value,
}

impl From<NoteEvent> for ReactedTo {
    fn from(NoteEvent { note, user }: NoteEvent) -> Self {
        let said = note.reactions.into_iter().find(|one| Some(&one.user) == user.as_ref());
        let said = said.map(|one| (one.emoji, one.name));
        let body = json!({ "thread": note.thread, "call": note.call, "note": note.id });
        Self { id: note.id, author: note.from.user, by: user, said, body }
    }
}

impl From<ImageEvent> for ReactedTo {
    fn from(ImageEvent { image, user, .. }: ImageEvent) -> Self {
        let said = image.reactions.into_iter().find(|one| Some(&one.user) == user.as_ref());
        let said = said.map(|one| (one.emoji, Some(one.name)));
        let body = json!({ "thread": image.thread, "image": image.id });
        Self { id: image.id, author: image.from.user, by: user, said, body }
    }
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
    // Whoever deletes a note of their own deletes what others say to it.
    let reactions = note.reactions.iter().filter(|_| note.from.user == user);
    let reactions: Vec<_> =
        reactions.map(|one| Seen::One { user: user.clone(), id: reaction_id(&note.id, &one.user), at }).collect();
    let note = Seen::One { user, id: format!("note:{}", note.id), at };
    Happened { seen: std::iter::once(note).chain(call).chain(reactions).collect(), ..Happened::default() }
}

/// One for each user and note or picture, so that whoever changes their mind makes no second notification.
fn reaction_id(of: &str, user: &str) -> String {
    format!("reaction:{of}:{user}")
}

/// Whoever left the note, or asked for the picture, may be told what others say to it. One that was changed or taken back counts as new again, and is told anew only if it was not told.
fn reacted(to: &ReactedTo, at: u64) -> Happened {
    let by = to.by.as_ref().filter(|by| **by != to.author);
    let (Some(by), Some((emoji, name))) = (by, &to.said) else { return Happened::default() };
    let mut body = to.body.clone();
    (body["about"], body["from_name"]) = (json!(emoji), json!(name));
    let id = reaction_id(&to.id, by);
    let seen = Seen::One { user: to.author.clone(), id: id.clone(), at: None };
    let new = row(&to.author, id, at, OccurrenceKind::Reaction, by, body);
    Happened { new: vec![new], seen: vec![seen] }
}

fn unreacted(ReactedTo { id, author, by, .. }: ReactedTo, at: u64) -> Happened {
    let gone = by.map(|by| Seen::One { user: author, id: reaction_id(&id, &by), at: Some(at) });
    Happened { seen: gone.into_iter().collect(), ..Happened::default() }
}

/// Told at least once for each image; the id makes one row of it.
fn image_posted(ImageEvent { image, to, .. }: &ImageEvent, at: u64) -> Happened {
    let from = &image.from;
    let body = json!({ "from_name": from.name, "thread": image.thread, "image": image.id, "about": image.prompt });
    // Whoever asked for it has been waiting for it.
    let to = to.iter().filter(|to| **to != from.user);
    let new = to.map(|to| row(to, format!("image:{}", image.id), at, OccurrenceKind::Image, &from.user, body.clone()));
    Happened { new: new.collect(), ..Happened::default() }
}

fn image_deleted(ImageEvent { image, to, .. }: &ImageEvent, at: u64) -> Happened {
    let gone = |user: &String, id: String| Seen::One { user: user.clone(), id, at: Some(at) };
    let pictures = to.iter().map(|user| gone(user, format!("image:{}", image.id)));
    // With it goes what others say to it.
    let reactions = image.reactions.iter().map(|one| gone(&image.from.user, reaction_id(&image.id, &one.user)));
    Happened { seen: pictures.chain(reactions).collect(), ..Happened::default() }
}

fn occurred(Occurred { user, item }: Occurred) -> Happened {
    let body = json!({
        "from_name": item.from.name, "thread": item.thread, "call": item.call, "note": item.note, "image": item.image,
        "about": item.about,
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
        let said = json!([{ "user": "ben", "name": "Ben", "emoji": "🎉", "at": 4 }]);
        let mut body = json!({ "image": image, "to": ["ann", "ben"], "user": "ben" });
        body["image"]["reactions"] = said;
        let happened = Happened::of(&event("image.reacted", body.clone()));
        let row = &happened.new[0];
        assert_eq!((row.user.as_str(), row.id.as_str(), row.from.as_str()), ("ann", "reaction:i:ben", "ben"));
        assert_eq!(
            (&row.body["about"], &row.body["from_name"], &row.body["image"]),
            (&json!("🎉"), &json!("Ben"), &json!("i"))
        );
        let gone = Happened::of(&event("image.deleted", body));
        let with_it = Seen::One { user: "ann".into(), id: "reaction:i:ben".into(), at: Some(5) };
        assert!(gone.seen.contains(&with_it), "{gone:?}");
    }

    #[test]
    fn whoever_left_a_note_learns_who_reacted_and_nobody_of_a_reaction_that_was_taken_back() {
        let note = |reactions: Value| {
            json!({
                "id": "n", "call": "c", "thread": "t", "kind": "voice", "state": "sent", "from": { "user": "ann", "name": "Ann" },
                "to": [{ "user": "ben", "heard_at": null }], "reactions": reactions, "created_at": 1, "sent_at": 2,
                "expires_at": null, "max_ms": 1, "countdown_ms": 1, "take": 1, "reason": null, "duration_ms": 1, "size": 1,
                "content_type": null, "peaks": [], "width": null, "height": null, "room": null, "url": null,
                "poster_url": null,
            })
        };
        let by = |user: &str| {
            let note = note(json!([{ "user": user, "name": user.to_uppercase(), "emoji": "❤️", "at": 4 }]));
            Happened::of(&event("note.reacted", json!({ "note": note, "user": user })))
        };
        let happened = by("ben");
        assert_eq!(told(&happened), ["ann"]);
        let row = &happened.new[0];
        assert_eq!((row.id.as_str(), row.kind.as_str(), row.from.as_str()), ("reaction:n:ben", "reaction", "ben"));
        assert_eq!((&row.body["about"], &row.body["from_name"]), (&json!("❤️"), &json!("BEN")));
        assert_eq!(by("ann"), Happened::default(), "nobody is told what they do themselves");
        let gone = Happened::of(&event("note.unreacted", json!({ "note": note(json!([])), "user": "ben" })));
        let seen = Seen::One { user: "ann".into(), id: "reaction:n:ben".into(), at: Some(5) };
        assert_eq!((gone.new.len(), gone.seen), (0, vec![seen]));
    }

    #[test]
    fn an_event_that_means_nothing_here_or_cannot_be_read_changes_nothing() {
        assert_eq!(Happened::of(&event("room.closed", json!({}))), Happened::default());
        assert_eq!(Happened::of(&event("call.ended", json!({ "call": 7 }))), Happened::default());
    }
}
