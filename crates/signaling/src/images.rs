//! Images on request as signaling sees them: news that it carries to devices, and the one request that comes over the socket. What an image is, and who may ask for one, is decided elsewhere; signaling knows its JSON
//! only as a value.

use serde_json::{Map, Value};

use crate::media::BoxFuture;
use crate::protocol::{ImageReact, UserRef, WireError};

/// Answers what clients ask about images over the socket.
pub trait Images: Send + Sync + 'static {
    /// A user reacts to a picture, or takes that back. Returns the image as it is then.
    ///
    /// # Errors
    /// To be answered as it is.
    fn react<'a>(&'a self, user: &'a UserRef, react: &'a ImageReact) -> BoxFuture<'a, Result<Value, WireError>>;
}

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
