//! Serves the client library, `ringback.js`, from inside the program: `GET /ringback/ringback.js` and the modules that it imports
//! from beside it. No build step and no package manager stand between an embedder and a first call.

use axum::Router;
use axum::http::header;
use axum::routing::get;

macro_rules! modules {
    ($($name:literal),* $(,)?) => {
        &[$((concat!("/ringback/", $name), include_str!(concat!("../js/", $name)))),*]
    };
}

/// Path and text of each module.
const MODULES: &[(&str, &str)] = modules![
    "ringback.js",
    "attention.js",
    "call.js",
    "connection.js",
    "emitter.js",
    "errors.js",
    "heartbeat.js",
    "http.js",
    "image.js",
    "images.js",
    "key.js",
    "loss-repair.js",
    "media.js",
    "note.js",
    "notes.js",
    "notifications.js",
    "participant.js",
    "patience.js",
    "protocol.js",
    "reactions.js",
    "recorded-take.js",
    "redundancy.js",
    "room.js",
    "sent-layers.js",
    "session.js",
    "slots.js",
    "socket.js",
    "tiles.js",
];

/// The routes of the library's modules. They change only with the program, so a client asks again each time it starts.
pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    MODULES.iter().fold(Router::new(), |router, (path, text)| {
        let headers = [(header::CONTENT_TYPE, "text/javascript; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
        router.route(path, get(move || async move { (headers, *text) }))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_module_beside_the_library_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/js");
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".js") {
                assert!(MODULES.iter().any(|(path, _)| *path == format!("/ringback/{name}")), "{name} is not served");
            }
        }
    }
}
