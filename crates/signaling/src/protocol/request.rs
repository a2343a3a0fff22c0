//! What a client asks for. Parsed in two steps, so that an error can be answered under the request's `id` and can name the
//! field that is wrong.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{CallKind, ErrorCode, Hello, NoteRequest, SlotView, Source, TrackClaim, WireError};

/// A request by its `type`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type")]
pub enum Request {
    /// Who is this?
    #[serde(rename = "hello")]
    Hello(Hello),
    /// Still there?
    #[serde(rename = "ping")]
    Ping,
    /// Ring somebody.
    #[serde(rename = "call.place")]
    CallPlace(CallPlace),
    /// This device shows the ring.
    #[serde(rename = "call.ring_ack")]
    CallRingAck(CallRef),
    /// Pick up.
    #[serde(rename = "call.accept")]
    CallAccept(CallRef),
    /// Refuse, for all of the user's devices.
    #[serde(rename = "call.decline")]
    CallDecline(CallDecline),
    /// Silence this device only.
    #[serde(rename = "call.ignore")]
    CallIgnore(CallRef),
    /// The caller gives up.
    #[serde(rename = "call.cancel")]
    CallCancel(CallRef),
    /// Hang up an active call.
    #[serde(rename = "call.hangup")]
    CallHangup(CallRef),
    /// Ring more people into a call.
    #[serde(rename = "call.invite")]
    CallInvite(CallInvite),
    /// Ask to be let into a call that did not ring.
    #[serde(rename = "call.knock")]
    CallKnock(CallRef),
    /// Let somebody in, or not.
    #[serde(rename = "call.admit")]
    CallAdmit(CallAdmit),
    /// Take somebody out of a group call.
    #[serde(rename = "call.remove")]
    CallRemove(CallUser),
    /// Mute somebody's track, as the host.
    #[serde(rename = "call.mute")]
    CallMute(CallMute),
    /// End a group call for all.
    #[serde(rename = "call.end")]
    CallEnd(CallRef),
    /// Is this call still ringing?
    #[serde(rename = "call.status")]
    CallStatus(CallRef),
    /// Enter a room with an offer.
    #[serde(rename = "room.join")]
    RoomJoin(RoomJoin),
    /// Offer again: ICE restart, more slots.
    #[serde(rename = "room.offer")]
    RoomOffer(RoomOffer),
    /// Leave a room.
    #[serde(rename = "room.leave")]
    RoomLeave(RoomLeave),
    /// Who is in a room, without going in; changes are told until the session ends or it is asked with `on` false.
    #[serde(rename = "room.watch")]
    RoomWatch(RoomWatch),
    /// Mute or unmute one's own track.
    #[serde(rename = "room.mute")]
    RoomMute(RoomMute),
    /// How large the slots are shown.
    #[serde(rename = "room.view")]
    RoomView(RoomView),
    /// Pin somebody, or nobody.
    #[serde(rename = "room.pin")]
    RoomPin(RoomPin),
    /// React without a data channel.
    #[serde(rename = "reaction.send")]
    ReactionSend(ReactionSend),
    /// React to a picture.
    #[serde(rename = "image.react")]
    ImageReact(ImageReact),
    /// Which thread the user has before them on this device.
    #[serde(rename = "thread.view")]
    ThreadView(ThreadView),
    /// Something about a note; it names its own `type`.
    #[serde(untagged)]
    Note(NoteRequest),
}

/// A request with its `id`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RequestFrame {
    /// Positive, not used before on this socket.
    pub id: u64,
    /// What is asked.
    #[serde(flatten)]
    pub request: Request,
}

/// `call.place`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallPlace {
    /// Whom to ring; more than one makes a group call.
    pub to: Vec<String>,
    /// Voice or video.
    pub kind: CallKind,
    /// The embedding app's conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
}

/// A request about a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRef {
    /// The call's id.
    pub call: String,
}

/// `call.invite`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallInvite {
    /// The call's id.
    pub call: String,
    /// Whom to ring.
    pub to: Vec<String>,
}

/// A request about somebody in a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallUser {
    /// The call's id.
    pub call: String,
    /// Whom it is about.
    pub user: String,
}

/// `call.admit`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallAdmit {
    /// The call's id.
    pub call: String,
    /// Who knocked.
    pub user: String,
    /// Let them in.
    pub admitted: bool,
}

/// `call.mute`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallMute {
    /// The call's id.
    pub call: String,
    /// Whom to mute.
    pub user: String,
    /// Which of their tracks.
    pub source: Source,
}

/// `room.watch`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomWatch {
    /// The room; it need not be open.
    pub room: String,
    /// Watch, or stop watching.
    #[serde(default = "yes")]
    pub on: bool,
}

fn yes() -> bool {
    true
}

/// `call.decline`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallDecline {
    /// The call's id.
    pub call: String,
    /// Why, where the user says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<DeclineReason>,
}

/// What a user may say when declining.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeclineReason {
    /// "I am busy": the call's outcome is busy.
    Busy,
}

/// `room.join`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomJoin {
    /// The room.
    pub room: String,
    /// The SDP offer.
    pub offer: String,
    /// What its sendonly m-lines carry.
    pub tracks: Vec<TrackClaim>,
}

/// `room.offer`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomOffer {
    /// The room.
    pub room: String,
    /// The SDP offer.
    pub offer: String,
    /// What its sendonly m-lines carry.
    pub tracks: Vec<TrackClaim>,
}

/// `room.leave`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomLeave {
    /// The room.
    pub room: String,
}

/// `room.mute`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomMute {
    /// The room.
    pub room: String,
    /// Which of one's tracks.
    pub source: Source,
    /// Muted or not.
    pub muted: bool,
}

/// `room.view`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoomView {
    /// The room.
    pub room: String,
    /// The slots and their sizes.
    pub view: Vec<SlotView>,
}

/// `room.pin`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomPin {
    /// The room.
    pub room: String,
    /// Whom; null: nobody.
    #[serde(deserialize_with = "required_nullable")]
    pub participant: Option<String>,
}

/// `reaction.send`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReactionSend {
    /// The room.
    pub room: String,
    /// A message of docs/reactions.md.
    pub message: Value,
}

/// `image.react`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageReact {
    /// The image.
    pub image: String,
    /// With what, in place of the one before; null to take it back.
    #[serde(deserialize_with = "required_nullable")]
    pub emoji: Option<String>,
}

/// `thread.view`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadView {
    /// The thread; null: none.
    #[serde(deserialize_with = "required_nullable")]
    pub thread: Option<String>,
}

// Serde takes an absent `Option` for null; a pin without its field is a mistake, not an unpin.
pub(super) fn required_nullable<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(deserializer)
}

/// The longest id of a user, call, room or participant, in bytes.
pub(crate) const MAX_ID: usize = 128;
/// The longest thread id, in bytes.
const MAX_THREAD: usize = 256;
/// The most tracks one offer may claim; a client publishes three.
const MAX_TRACKS: usize = 16;
/// The most slots one view may size.
const MAX_VIEW: usize = 256;
/// The longest `a=mid`, in bytes; RFC 8843 section 15.2 sends it in RTP header extensions of at most 255, browsers use one or two.
const MAX_MID: usize = 32;

impl RequestFrame {
    /// Parses one text frame.
    ///
    /// # Errors
    /// The `id` to answer under (0 where there is no usable one) and the error to answer with.
    pub fn parse(text: &str) -> Result<Self, (u64, WireError)> {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| (0, WireError::new(ErrorCode::BadJson, format!("the frame is not JSON: {error}"))))?;
        let Value::Object(fields) = value else {
            return Err((0, WireError::new(ErrorCode::BadJson, "the frame is not a JSON object")));
        };
        let id = fields.get("id").and_then(Value::as_u64).filter(|id| *id > 0);
        let Some(id) = id else {
            return Err((0, bad_request("id", "a positive integer is required")));
        };
        Request::parse(fields).map(|request| Self { id, request }).map_err(|error| (id, error))
    }
}

impl Request {
    fn parse(mut fields: Map<String, Value>) -> Result<Self, WireError> {
        let Some(Value::String(kind)) = fields.remove("type") else {
            return Err(bad_request("type", "a string is required"));
        };
        let request = match kind.as_str() {
            "hello" => Self::Hello(body(fields)?),
            "ping" => Self::Ping,
            "call.place" => Self::CallPlace(body(fields)?),
            "call.ring_ack" => Self::CallRingAck(body(fields)?),
            "call.accept" => Self::CallAccept(body(fields)?),
            "call.decline" => Self::CallDecline(body(fields)?),
            "call.ignore" => Self::CallIgnore(body(fields)?),
            "call.cancel" => Self::CallCancel(body(fields)?),
            "call.hangup" => Self::CallHangup(body(fields)?),
            "call.invite" => Self::CallInvite(body(fields)?),
            "call.knock" => Self::CallKnock(body(fields)?),
            "call.admit" => Self::CallAdmit(body(fields)?),
            "call.remove" => Self::CallRemove(body(fields)?),
            "call.mute" => Self::CallMute(body(fields)?),
            "call.end" => Self::CallEnd(body(fields)?),
            "call.status" => Self::CallStatus(body(fields)?),
            "room.join" => Self::RoomJoin(body(fields)?),
            "room.offer" => Self::RoomOffer(body(fields)?),
            "room.leave" => Self::RoomLeave(body(fields)?),
            "room.watch" => Self::RoomWatch(body(fields)?),
            "room.mute" => Self::RoomMute(body(fields)?),
            "room.view" => Self::RoomView(body(fields)?),
            "room.pin" => Self::RoomPin(body(fields)?),
            "reaction.send" => Self::ReactionSend(body(fields)?),
            "image.react" => Self::ImageReact(body(fields)?),
            "thread.view" => Self::ThreadView(body(fields)?),
            "note.record" | "note.stop" | "note.send" | "note.discard" | "note.heard" | "note.unheard"
            | "note.react" | "note.delete" => {
                fields.insert("type".to_owned(), Value::String(kind));
                Self::Note(body(fields)?)
            }
            other => {
                let shown: String = other.chars().take(40).collect();
                return Err(WireError::new(ErrorCode::UnknownType, format!("there is no request of type {shown:?}")));
            }
        };
        request.check()?;
        Ok(request)
    }

    fn check(&self) -> Result<(), WireError> {
        match self {
            Self::Hello(hello) => {
                hello.resume.iter().try_for_each(|resume| check_id("resume.stream", &resume.stream, MAX_ID))?;
                hello.device.iter().try_for_each(|device| check_device(device))
            }
            Self::Ping => Ok(()),
            Self::CallPlace(place) => {
                check_users(&place.to)?;
                place.thread.iter().try_for_each(|thread| check_id("thread", thread, MAX_THREAD))
            }
            Self::CallRingAck(about) | Self::CallAccept(about) | Self::CallIgnore(about) => {
                check_id("call", &about.call, MAX_ID)
            }
            Self::CallCancel(about) | Self::CallHangup(about) | Self::CallStatus(about) => {
                check_id("call", &about.call, MAX_ID)
            }
            Self::CallKnock(about) | Self::CallEnd(about) => check_id("call", &about.call, MAX_ID),
            Self::CallInvite(invite) => {
                check_id("call", &invite.call, MAX_ID)?;
                check_users(&invite.to)
            }
            Self::CallAdmit(CallAdmit { call, user, .. })
            | Self::CallRemove(CallUser { call, user })
            | Self::CallMute(CallMute { call, user, .. }) => {
                check_id("call", call, MAX_ID)?;
                check_id("user", user, MAX_ID)
            }
            Self::CallDecline(decline) => check_id("call", &decline.call, MAX_ID),
            Self::RoomJoin(RoomJoin { room, offer, tracks }) | Self::RoomOffer(RoomOffer { room, offer, tracks }) => {
                check_id("room", room, MAX_ID)?;
                if offer.is_empty() {
                    return Err(bad_request("offer", "an SDP offer is required"));
                }
                check_tracks(tracks)
            }
            Self::RoomLeave(RoomLeave { room })
            | Self::RoomWatch(RoomWatch { room, .. })
            | Self::RoomMute(RoomMute { room, .. })
            | Self::ReactionSend(ReactionSend { room, .. }) => check_id("room", room, MAX_ID),
            Self::RoomView(view) => {
                check_id("room", &view.room, MAX_ID)?;
                if view.view.len() > MAX_VIEW {
                    return Err(bad_request("view", &format!("at most {MAX_VIEW} slots")));
                }
                view.view
                    .iter()
                    .enumerate()
                    .try_for_each(|(i, slot)| check_id(&format!("view[{i}].mid"), &slot.mid, MAX_MID))
            }
            Self::RoomPin(pin) => {
                check_id("room", &pin.room, MAX_ID)?;
                pin.participant.iter().try_for_each(|participant| check_id("participant", participant, MAX_ID))
            }
            Self::ImageReact(react) => check_id("image", &react.image, MAX_ID),
            Self::ThreadView(view) => view.thread.iter().try_for_each(|thread| check_id("thread", thread, MAX_THREAD)),
            Self::Note(request) => check_id("note", request.note(), MAX_ID),
        }
    }
}

fn body<T: DeserializeOwned>(fields: Map<String, Value>) -> Result<T, WireError> {
    serde_path_to_error::deserialize(Value::Object(fields)).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        let message = if path == "." { inner.to_string() } else { format!("{path}: {inner}") };
        WireError::new(ErrorCode::BadRequest, message)
    })
}

fn bad_request(field: &str, expected: &str) -> WireError {
    WireError::new(ErrorCode::BadRequest, format!("{field}: {expected}"))
}

pub(crate) fn check_id(field: &str, id: &str, max: usize) -> Result<(), WireError> {
    if id.is_empty() || id.len() > max || id.chars().any(char::is_control) {
        return Err(bad_request(field, &format!("1 to {max} bytes without control characters are required")));
    }
    Ok(())
}

fn check_users(users: &[String]) -> Result<(), WireError> {
    const MOST: usize = crate::call::MAX_PEOPLE - 1;
    if users.is_empty() || users.len() > MOST {
        return Err(bad_request("to", &format!("1 to {MOST} users are required")));
    }
    users.iter().enumerate().try_for_each(|(i, user)| check_id(&format!("to[{i}]"), user, MAX_ID))
}

fn check_device(device: &str) -> Result<(), WireError> {
    let fits =
        (1..=64).contains(&device.len()) && device.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if fits { Ok(()) } else { Err(bad_request("device", "1 to 64 characters of [A-Za-z0-9_-] are required")) }
}

fn check_tracks(tracks: &[TrackClaim]) -> Result<(), WireError> {
    if tracks.len() > MAX_TRACKS {
        return Err(bad_request("tracks", &format!("at most {MAX_TRACKS} tracks")));
    }
    for (i, track) in tracks.iter().enumerate() {
        check_id(&format!("tracks[{i}].mid"), &track.mid, MAX_MID)?;
        let before = tracks.iter().take(i);
        if before.clone().any(|other| other.mid == track.mid) {
            return Err(bad_request(&format!("tracks[{i}].mid"), "each mid may be claimed once"));
        }
        if before.clone().any(|other| other.source == track.source) {
            return Err(bad_request(&format!("tracks[{i}].source"), "each source may be published once"));
        }
    }
    Ok(())
}
