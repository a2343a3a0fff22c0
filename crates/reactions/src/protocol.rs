//! The messages, version 1: flat JSON objects with a `type`. What a participant sends is read here, small and bounded, and refused with a
//! code; what everybody is sent is written in `aggregator.rs` and `hands.rs`. `docs/reactions.md` has it all in a table.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The version of the messages.
pub const VERSION: u64 = 1;

/// Bytes in a message of a participant. The longest that makes sense has less than 300.
pub const MAX_REQUEST: usize = 1024;

/// Bytes in a text that is sent, at most: what every SCTP implementation takes in one message (RFC 8831, section 6.6).
pub const MAX_TEXT: usize = 16 * 1024;

/// In how many further ticks a changed counter is told again. More repair longer runs of loss, and cost a few bytes a tick each.
pub const REPEATS: usize = 2;

/// On which data channel a text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// Unordered, without retransmission: ticks and reactions.
    Reactions,
    /// Ordered and reliable: hands, statuses, snapshots, controls, refusals.
    Hands,
}

impl Channel {
    /// The label of the data channel.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Reactions => "reactions",
            Self::Hands => "hands",
        }
    }
}

/// What is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Reactions, hands and statuses.
    #[default]
    All,
    /// Hands and statuses.
    Hands,
    /// Nothing.
    Off,
}

/// Who may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// Everyone with the right to.
    #[default]
    Everyone,
    /// Hosts only.
    Hosts,
}

/// What is on, and for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Controls {
    /// What is on.
    pub mode: Mode,
    /// For whom.
    pub who: Who,
}

/// What a participant asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ReactionRequest {
    /// React.
    React {
        /// An emoji, or `:id:` of the embedder's own.
        r: String,
    },
    /// Raise or lower one's own hand.
    Hand {
        /// Up.
        up: bool,
    },
    /// Set or clear one's own status.
    Status {
        /// Its id; `None`: clear.
        #[serde(default)]
        status: Option<String>,
    },
    /// A snapshot, please.
    Sync,
    /// Host: lower a hand.
    Lower {
        /// Whose; `None`: everyone's.
        #[serde(default)]
        p: Option<String>,
    },
    /// Host: clear a status.
    Clear {
        /// Whose; `None`: everyone's.
        #[serde(default)]
        p: Option<String>,
    },
    /// Host: what is on; what is left out stays.
    Control {
        /// What is on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mode: Option<Mode>,
        /// For whom.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        who: Option<Who>,
    },
    /// Host: what one participant may do; what is left out stays.
    May {
        /// Who.
        p: String,
        /// React.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        react: Option<bool>,
        /// Raise a hand, and set a status.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hand: Option<bool>,
    },
}

const TYPES: [&str; 8] = ["react", "hand", "status", "sync", "lower", "clear", "control", "may"];

/// Why something was refused, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RefusalCode {
    /// More than [`MAX_REQUEST`] bytes.
    TooLarge,
    /// Not UTF-8.
    NotUtf8,
    /// Not a flat JSON object, or a field is missing or of another kind.
    BadMessage,
    /// Another version than [`VERSION`].
    UnsupportedVersion,
    /// No such type of message.
    UnknownType,
    /// Not one emoji, and none of the room's own.
    NotAnEmoji,
    /// No such status here.
    UnknownStatus,
    /// No such participant here, or not any more.
    NotFound,
    /// Not this participant's to do.
    Forbidden,
    /// Switched off by a host.
    Off,
    /// Too often; `retry_after_ms` says when again.
    RateLimited,
}

/// Why something was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// For programs.
    pub code: RefusalCode,
    /// For people who write programs.
    pub message: String,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// The `id` of the message, where it had one.
    pub re: Option<u64>,
    /// Whether to tell the sender; not each message of a flood is answered.
    pub tell: bool,
}

impl Refusal {
    /// A refusal to be told.
    #[must_use]
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None, re: None, tell: true }
    }

    pub(crate) fn rate(what: &str, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(RefusalCode::RateLimited, format!("too many {what}")) }
    }

    /// When to try again, in milliseconds, rounded up.
    #[must_use]
    pub fn retry_after_ms(&self) -> Option<u64> {
        self.retry_after.map(|wait| wait.as_micros().div_ceil(1000).try_into().unwrap_or(u64::MAX))
    }

    /// The message that tells it, for [`Channel::Hands`].
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = json!({ "v": VERSION, "type": "refused", "code": self.code, "message": self.message });
        if let Some(wait) = self.retry_after_ms() {
            text["retry_after_ms"] = wait.into();
        }
        if let Some(re) = self.re {
            text["re"] = re.into();
        }
        text.to_string()
    }
}

/// Reads a participant's message. The `id` it came with, if any, goes into a refusal.
pub(crate) fn read(bytes: &[u8]) -> (Option<u64>, Result<ReactionRequest, Refusal>) {
    let refused = |code, message: String| (None, Err(Refusal::new(code, message)));
    if bytes.len() > MAX_REQUEST {
        return refused(RefusalCode::TooLarge, format!("{} bytes, at most {MAX_REQUEST} are read", bytes.len()));
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return refused(RefusalCode::NotUtf8, "a message is UTF-8".to_owned());
    };
    let fields = match serde_json::from_str::<Map<String, Value>>(text) {
        Ok(fields) => fields,
        Err(error) => return refused(RefusalCode::BadMessage, format!("not a JSON object: {error}")),
    };
    let id = fields.get("id").and_then(Value::as_u64);
    (id, request(fields))
}

fn request(fields: Map<String, Value>) -> Result<ReactionRequest, Refusal> {
    let bad = |message: String| Err(Refusal::new(RefusalCode::BadMessage, message));
    if fields.values().any(|value| value.is_array() || value.is_object()) {
        return bad("a message is flat: no arrays and no objects inside".to_owned());
    }
    if fields.get("v").is_some_and(|version| version.as_u64() != Some(VERSION)) {
        return Err(Refusal::new(RefusalCode::UnsupportedVersion, format!("v: only {VERSION} is spoken here")));
    }
    match fields.get("type").and_then(Value::as_str) {
        None => bad("type: missing".to_owned()),
        Some(kind) if !TYPES.contains(&kind) => {
            Err(Refusal::new(RefusalCode::UnknownType, format!("type: one of {}", TYPES.join(", "))))
        }
        Some(_) => serde_json::from_value(Value::Object(fields)).or_else(|error| bad(error.to_string())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_type_reads_back_as_it_was_written() {
        let requests = [
            (ReactionRequest::React { r: "👍".into() }, r#"{"type":"react","r":"👍"}"#),
            (ReactionRequest::Hand { up: true }, r#"{"type":"hand","up":true}"#),
            (ReactionRequest::Status { status: None }, r#"{"type":"status","status":null}"#),
            (ReactionRequest::Sync, r#"{"type":"sync"}"#),
            (ReactionRequest::Lower { p: Some("p".into()) }, r#"{"type":"lower","p":"p"}"#),
            (ReactionRequest::Clear { p: None }, r#"{"type":"clear","p":null}"#),
            (ReactionRequest::Control { mode: Some(Mode::Hands), who: None }, r#"{"type":"control","mode":"hands"}"#),
            (
                ReactionRequest::May { p: "p".into(), react: Some(false), hand: None },
                r#"{"type":"may","p":"p","react":false}"#,
            ),
        ];
        assert_eq!(requests.len(), TYPES.len());
        for (request, text) in requests {
            assert_eq!(serde_json::to_string(&request).unwrap(), text);
            let numbered = text.replacen('{', r#"{"v":1,"id":7,"later":"field","#, 1);
            assert_eq!(read(numbered.as_bytes()), (Some(7), Ok(request)));
        }
    }

    #[test]
    fn what_is_not_a_message_is_refused_with_a_code() {
        let deep = format!(r#"{{"type":"react","r":{}"👍"{}}}"#, "[".repeat(400), "]".repeat(400));
        let deep_elsewhere = format!(r#"{{"type":"react","r":"👍","x":{}{}}}"#, "[".repeat(20), "]".repeat(20));
        let long = format!(r#"{{"type":"react","r":"{}"}}"#, "👍".repeat(5000));
        let cases: [(&[u8], RefusalCode); 14] = [
            (long.as_bytes(), RefusalCode::TooLarge),
            (&[0xff; 20], RefusalCode::NotUtf8),
            (b"{\"type\":\"react\",\"r\":\"\xf0\x9f\x91\"}", RefusalCode::NotUtf8),
            (b"", RefusalCode::BadMessage),
            (b"null", RefusalCode::BadMessage),
            (b"[]", RefusalCode::BadMessage),
            (deep.as_bytes(), RefusalCode::BadMessage),
            (deep_elsewhere.as_bytes(), RefusalCode::BadMessage),
            (br#"{"type":"react"}"#, RefusalCode::BadMessage),
            (br#"{"type":"react","r":7}"#, RefusalCode::BadMessage),
            (br#"{"type":"control","mode":"loud"}"#, RefusalCode::BadMessage),
            (br#"{"r":"x"}"#, RefusalCode::BadMessage),
            (br#"{"type":"shout"}"#, RefusalCode::UnknownType),
            (br#"{"v":2,"type":"sync"}"#, RefusalCode::UnsupportedVersion),
        ];
        for (bytes, code) in cases {
            let (_, result) = read(bytes);
            assert_eq!(result.unwrap_err().code, code, "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn a_refusal_says_when_to_try_again_rounded_up() {
        let refusal = Refusal { re: Some(3), ..Refusal::rate("reactions", Duration::from_micros(1500)) };
        let text: Value = serde_json::from_str(&refusal.text()).unwrap();
        assert_eq!(
            (&text["code"], &text["retry_after_ms"], &text["re"]),
            (&json!("rate_limited"), &json!(2), &json!(3))
        );
    }
}
