//! The files of the example's page, built into the program so that it runs from anywhere. No logic lives here.

macro_rules! page {
    ($($name:literal $mime:literal),* $(,)?) => {
        &[("/", "text/html; charset=utf-8", include_str!("web/index.html")),
          $((concat!("/", $name), $mime, include_str!(concat!("web/", $name)))),*]
    };
}

/// Path, media type and text of each file.
pub const PAGE: &[(&str, &str, &str)] = page![
    "style.css" "text/css; charset=utf-8",
    "call.css" "text/css; charset=utf-8",
    "note.css" "text/css; charset=utf-8",
    "player.css" "text/css; charset=utf-8",
    "reactions.css" "text/css; charset=utf-8",
    "thread.css" "text/css; charset=utf-8",
    "app.js" "text/javascript; charset=utf-8",
    "call-view.js" "text/javascript; charset=utf-8",
    "devices.js" "text/javascript; charset=utf-8",
    "dom.js" "text/javascript; charset=utf-8",
    "drafts.js" "text/javascript; charset=utf-8",
    "group.js" "text/javascript; charset=utf-8",
    "inbox.js" "text/javascript; charset=utf-8",
    "incoming.js" "text/javascript; charset=utf-8",
    "layout.js" "text/javascript; charset=utf-8",
    "level.js" "text/javascript; charset=utf-8",
    "lobby.js" "text/javascript; charset=utf-8",
    "names.js" "text/javascript; charset=utf-8",
    "note-card.js" "text/javascript; charset=utf-8",
    "note-view.js" "text/javascript; charset=utf-8",
    "note-words.js" "text/javascript; charset=utf-8",
    "pages.js" "text/javascript; charset=utf-8",
    "player.js" "text/javascript; charset=utf-8",
    "reactions.js" "text/javascript; charset=utf-8",
    "reactions-emoji.js" "text/javascript; charset=utf-8",
    "reactions-summary.js" "text/javascript; charset=utf-8",
    "speaker-overlay.js" "text/javascript; charset=utf-8",
    "stage.js" "text/javascript; charset=utf-8",
    "thread.js" "text/javascript; charset=utf-8",
    "tile.js" "text/javascript; charset=utf-8",
    "title.js" "text/javascript; charset=utf-8",
    "tones.js" "text/javascript; charset=utf-8",
    "waveform.js" "text/javascript; charset=utf-8",
    "words.js" "text/javascript; charset=utf-8",
    "peace.css" "text/css; charset=utf-8",
    "peace.js" "text/javascript; charset=utf-8",
];
