//! What the engine writes at info level and above names nobody: no user, no name, no token, no address of a client, in no message and no span. Calls, rooms
//! and participants have ids that say nothing.
#![allow(clippy::unwrap_used)]

mod house;

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use house::{House, builder};
use ringback::{Authorize, BoxFuture, Permission, RecorderConfig, WebhookConfig};
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

const CALLER: &str = "u-quillfeather-7731";
const CALLEE: &str = "u-vandermolen-4402";
const NAME: &str = "Zsófia Quillfeather";
const ADDRESS: &str = "203.0.113.77";

#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Paper {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Refuses in words that name people, as a backend might.
struct Blocked;

impl Authorize for Blocked {
    fn may_leave_note<'a>(&'a self, from: &'a str, to: &'a str) -> BoxFuture<'a, Permission> {
        Box::pin(async move { Permission::Forbidden(format!("{to} has blocked {from}, {NAME}")) })
    }
}

/// An offer with the caller's address in it, which no engine can do anything with.
fn offer() -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 {ADDRESS}\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 {ADDRESS}\r\n\
         a=candidate:1 1 udp 1 {ADDRESS} 5000 typ host\r\na=mid:0\r\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_named_at_info_level_by_calls_notes_refused_offers_and_webhooks() {
    let paper = Paper::default();
    tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).with_ansi(false).with_writer(paper.clone()).init();
    let folder = tempfile::tempdir().unwrap();
    // Nobody listens there.
    let password = "hunter2secretpassword";
    let webhook =
        WebhookConfig::new(format!("http://hook:{password}@127.0.0.1:1/"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let builder = builder().notes(RecorderConfig::new(folder.path())).authorize(Blocked).webhook(webhook);
    let house = House::open(builder).await;
    let (mut caller, mut callee) = (house.person(CALLER, NAME).await, house.person(CALLEE, NAME).await);
    let answered = house.call(&mut caller, &mut callee, CALLEE, true).await;
    let declined = house.call(&mut caller, &mut callee, CALLEE, false).await;
    let call = caller.ok("call.place", json!({ "to": [CALLEE], "kind": "video" })).await["call"].clone();
    let join = json!({ "room": call["room"], "offer": offer(), "tracks": [] });
    assert!(caller.request("room.join", join).await.get("error").is_some());
    caller.ok("call.cancel", json!({ "call": call["id"] })).await;
    let wrong = caller.request("room.join", json!({ "room": "lounge", "offer": offer(), "tracks": [] })).await;
    assert!(wrong.get("error").is_some());
    house.until_logged("call.ended", 3).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    house.close().await;

    let written = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
    for id in [&answered, &declined] {
        assert!(written.contains(id.as_str()), "{id} is not in\n{written}");
    }
    assert!(written.contains("an event cannot be posted"), "{written}");
    let token_begin = "eyJ";
    for personal in [CALLER, CALLEE, "quillfeather", "Quillfeather", NAME, ADDRESS, password, token_begin] {
        assert!(!written.contains(personal), "{personal} is in\n{written}");
    }
}
