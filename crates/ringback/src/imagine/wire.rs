//! Images on their way to a client: as JSON, with links, and the service's errors in the protocol's words.

use std::time::{SystemTime, UNIX_EPOCH};

use ringback_imagine::{ImageInfo, ImagineError, JobState};
use ringback_recorder::{MediaPart, Recorder};
use ringback_signaling::protocol::{ErrorCode, WireError};
use serde_json::Value;

/// An image as JSON.
pub(super) fn value(image: &ImageInfo) -> Value {
    serde_json::to_value(image).unwrap_or_else(|error| {
        tracing::error!(%error, image = image.id, "an image cannot be written as JSON");
        Value::Null
    })
}

/// Puts a link in, relative to where the engine's router is nested, if there is something to get. Signed as those of notes are, whose ids begin otherwise.
pub(super) fn linked(recorder: &Recorder, mut image: ImageInfo, user: &str) -> ImageInfo {
    if image.state == JobState::Posted && image.content_type.is_some() {
        let query = recorder.sign(&image.id, MediaPart::File, user);
        image.url = Some(format!("v1/images/{}/file?{query}", image.id));
    }
    image
}

/// What a client is told of an error. What is inside (paths, queries) stays in the log.
pub(super) fn refused(error: ImagineError) -> WireError {
    let code = match &error {
        ImagineError::NotFound(_) | ImagineError::UnknownProvider(_) => ErrorCode::NotFound,
        ImagineError::Conflict { .. } => ErrorCode::Conflict,
        ImagineError::Request(_) => ErrorCode::BadRequest,
        ImagineError::Refused(_) => ErrorCode::Forbidden,
        ImagineError::Quota { .. } | ImagineError::UnderWay(_) | ImagineError::TooManyChanges(_) => {
            ErrorCode::RateLimited
        }
        ImagineError::NoProvider | ImagineError::SpendCap(_) => ErrorCode::Unavailable,
        ImagineError::Webhook(_) => ErrorCode::Unauthorized,
        _ => {
            tracing::error!(%error, "a request about images failed");
            return WireError::new(ErrorCode::Internal, "the request failed");
        }
    };
    WireError::new(code, error.to_string())
}

/// The two users of a thread that is derived from a pair.
pub(super) fn pair(thread: &str) -> Option<[String; 2]> {
    let (first, second) = thread.strip_prefix("direct:")?.split_once(':')?;
    let user = |text: &str| text.replace("%3A", ":").replace("%25", "%");
    Some([user(first), user(second)])
}

/// Now, in Unix milliseconds.
pub(super) fn unix_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    elapsed.as_millis().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pairs_thread_names_its_two_users_whatever_characters_they_are_of() {
        assert_eq!(pair("direct:ann:bob"), Some(["ann".to_owned(), "bob".to_owned()]));
        assert_eq!(pair("direct:a%3Ab%253A:c"), Some(["a:b%3A".to_owned(), "c".to_owned()]));
        assert_eq!(pair("team"), None);
    }
}
