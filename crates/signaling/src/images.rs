//! Images on request as signaling sees them: news that it carries to devices. What an image is, and who may ask for one, is decided elsewhere; signaling knows its JSON
//! only as a value.

use serde_json::{Map, Value};

/// Something happened to an image: told to devices, and, where it is more than progress, put into the stream of events.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageNews {
    /// `image.queued`, `image.posted`, `image.progress` …
    pub event: String,
    /// The image as the log has it; `None`: not for the stream of events.
    pub image: Option<Value>,
    /// Whom to tell, and the fields of their event.
    pub tell: Vec<(String, Map<String, Value>)>,
}
