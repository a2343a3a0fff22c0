//! Clients that bring no library of ours publish by WHIP and play by WHEP, in one room with participants of the usual kind: a browser with
//! `fetch` and `RTCPeerConnection` on a page of another origin, aiortc, and FFmpeg's `whip` muxer. The latter two want a Python
//! that has the packages `aiortc`, `aiohttp` and `av`: `RINGBACK_WHIP_PYTHON` names it, and with `RINGBACK_REQUIRE_WHIP=1` it must.
#![allow(clippy::unwrap_used)]

mod browser;
mod server;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use browser::{Browser, Colour, FakeMedia, MICROPHONE_SWITCH, Page, chromium_or_skip};
use serde::Deserialize;
use serde_json::Value;
use server::Server;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

const SOON: Duration = Duration::from_secs(40);

/// Serves the page that knows WHIP and WHEP, on an origin of its own.
async fn elsewhere() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let app = Router::new().route("/", get(async || Html(include_str!("whip/page.html"))));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    url
}

/// A token by the example server's development login.
async fn token(server: &Server, name: &str) -> String {
    let host = server.link.trim_start_matches("http://").trim_end_matches('/');
    let body = format!("{{\"name\":\"{name}\"}}");
    let length = body.len();
    let request =
        format!("POST /login HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}");
    let mut socket = tokio::net::TcpStream::connect(host).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str::<Value>(body).unwrap()["token"].as_str().unwrap().to_owned()
}

/// A participant of the usual kind, whose page is in the room as `hall`.
async fn participant(browser: &Browser, server: &Server, name: &str) -> Page {
    let page = browser.open_prepared(&server.page(name, ""), MICROPHONE_SWITCH).await.unwrap();
    page.wait_for("ringback.session?.user", SOON).await.unwrap();
    let join = "(async () => {
        window.hall = ringback.session.join('hall');
        window.named = (name) => [...hall.participants.values()].find((one) => one.name === name);
        const tiles = new Map();
        window.watch = (name) => {
            const { id } = named(name);
            if (!tiles.has(id)) {
                const tile = document.body.appendChild(document.createElement('div'));
                tile.style = 'position: fixed; inset: 0 auto auto 0; width: 320px; height: 240px';
                tiles.set(id, tile);
                hall.tile(id, tile);
            }
            return tiles.get(id).querySelector('video');
        };
        const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
        await hall.publish('microphone', stream.getAudioTracks()[0]);
        await hall.publish('camera', stream.getVideoTracks()[0]);
    })()";
    page.eval(join).await.unwrap();
    page.wait_for("hall.state === 'connected'", SOON).await.unwrap();
    page
}

/// Begins to publish or play on a page of [`elsewhere`], as `session`.
async fn begin(page: &Page, what: &str, url: &str, token: &str) {
    page.wait_for("window.publish", SOON).await.unwrap();
    page.eval(&format!("(window.session = await {what}({url:?}, {token:?}), true)")).await.unwrap();
    page.wait_for("session.peer.connectionState === 'connected'", SOON).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_publishes_by_whip_and_players_by_whep_follow_the_stage_or_stay_with_one_user() {
    let name = "a_page_publishes_by_whip_and_players_by_whep_follow_the_stage_or_stay_with_one_user";
    let Some(chromium) = chromium_or_skip(name) else { return };
    let (server, page) = (Server::start().await.unwrap(), elsewhere().await);
    let [whip, whep] = ["whip", "whep"].map(|protocol| format!("{}v1/rooms/hall/{protocol}", server.link));

    let bobs = Browser::launch(&chromium, FakeMedia { tone: Some(1_000), colour: Some(Colour::Blue) }).await.unwrap();
    let bob = participant(&bobs, &server, "Bob").await;
    let anns = Browser::launch(&chromium, FakeMedia { tone: Some(440), colour: Some(Colour::Red) }).await.unwrap();
    let ann = anns.open_prepared(&page, MICROPHONE_SWITCH).await.unwrap();
    begin(&ann, "publish", &whip, &token(&server, "Ann").await).await;
    bob.wait_for("named('Ann')?.tracks.length === 2 && named('Ann').connected", SOON).await.unwrap();
    bob.wait_for_colour("watch('Ann')", Colour::Red, SOON).await.unwrap();
    bob.wait_for_tone("named('Ann').audio", 440, SOON).await.unwrap();

    let viewers = Browser::launch(&chromium, FakeMedia::default()).await.unwrap();
    let of_room = viewers.open(&page).await.unwrap();
    begin(&of_room, "play", &whep, &token(&server, "Vic").await).await;
    let of_ann = viewers.open(&page).await.unwrap();
    begin(&of_ann, "play", &format!("{whep}?user=ann"), &token(&server, "Wim").await).await;
    bob.wait_for("named('Vic')?.tracks.length === 0 && named('Wim')", SOON).await.unwrap();

    // Turns: the player of the room sees and hears whoever has the floor, the player of one user nobody but them.
    ann.eval("microphoneLoud(false)").await.unwrap();
    for (loud, colour, hz) in [(&bob, Colour::Blue, 1_000), (&ann, Colour::Red, 440), (&bob, Colour::Blue, 1_000)] {
        for quiet in [&ann, &bob] {
            quiet.eval("microphoneLoud(false)").await.unwrap();
        }
        loud.eval("microphoneLoud(true)").await.unwrap();
        of_room.wait_for_colour("session.video", colour, SOON).await.unwrap();
        of_room.wait_for_tone("session.stream", hz, SOON).await.unwrap();
        of_ann.wait_for_colour("session.video", Colour::Red, SOON).await.unwrap();
        if hz != 440 {
            let heard = of_ann.tone("session.stream", Duration::from_millis(600)).await.unwrap();
            assert!(!heard.is(hz), "who plays Ann hears Bob: {heard:?}");
        }
    }

    // ICE starts over, and what flows flows on.
    bob.eval("microphoneLoud(false)").await.unwrap();
    ann.eval("microphoneLoud(true)").await.unwrap();
    for session in [&ann, &of_ann] {
        let before = session.eval("(await transport(session)).selectedCandidatePairChanges").await.unwrap();
        let statuses = session.eval("await restart(session)").await.unwrap();
        assert_eq!(statuses, serde_json::json!([200, 412, "\"ice-1\""]));
        let chosen = format!("(await transport(session)).selectedCandidatePairChanges > {before}");
        session.wait_for(&chosen, SOON).await.unwrap();
    }
    let frames = "session.video.getVideoPlaybackQuality().totalVideoFrames";
    let shown = of_ann.eval_as::<u64>(frames).await.unwrap();
    of_ann.wait_for(&format!("{frames} > {}", shown + 30), SOON).await.unwrap();
    of_ann.wait_for_tone("session.stream", 440, SOON).await.unwrap();

    // Ann stops: she is out of the room, and so is who played her.
    assert_eq!(ann.eval("await end(session)").await.unwrap(), 200);
    bob.wait_for("!named('Ann') && !named('Wim') && named('Vic')", SOON).await.unwrap();
    assert_eq!(of_ann.eval("await end(session)").await.unwrap(), 404);
    assert_eq!(of_room.eval("await end(session)").await.unwrap(), 200);
    bob.wait_for("hall.participants.size === 0", SOON).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_that_dies_is_out_of_the_room_once_its_consent_has_run_out() {
    let Some(chromium) = chromium_or_skip("a_publisher_that_dies_is_out_of_the_room") else { return };
    let (server, page) = (Server::start().await.unwrap(), elsewhere().await);
    let bobs = Browser::launch(&chromium, FakeMedia::default()).await.unwrap();
    let bob = participant(&bobs, &server, "Bob").await;
    let anns = Browser::launch(&chromium, FakeMedia::default()).await.unwrap();
    let ann = anns.open(&page).await.unwrap();
    begin(&ann, "publish", &format!("{}v1/rooms/hall/whip", server.link), &token(&server, "Ann").await).await;
    bob.wait_for("named('Ann')?.connected", SOON).await.unwrap();
    drop((ann, anns));
    // Killed, the browser says no goodbye; RFC 7675 gives consent 30 s.
    bob.wait_for("!named('Ann')", Duration::from_secs(60)).await.unwrap();
}

/// The Python that has the other clients. Without one, says so past the test runner's capture.
///
/// # Panics
/// Without one, when `RINGBACK_REQUIRE_WHIP` is `1`.
fn python_or_skip(test: &str) -> Option<PathBuf> {
    let python = std::env::var_os("RINGBACK_WHIP_PYTHON").filter(|python| !python.is_empty()).map(PathBuf::from);
    if python.is_none() {
        let message = "RINGBACK_WHIP_PYTHON names no Python with aiortc, aiohttp and av";
        assert!(std::env::var_os("RINGBACK_REQUIRE_WHIP").is_none_or(|value| value != "1"), "{test}: {message}");
        let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {message}");
    }
    python
}

/// A client in Python; killed when dropped.
struct Client {
    process: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Client {
    fn start(python: &Path, script: &str, arguments: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/whip").join(script);
        let mut process = Command::new(python)
            .arg(script)
            .args(arguments)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", python.display()));
        let (stdin, stdout) = (process.stdin.take(), process.stdout.take().unwrap());
        Self { process, stdin, lines: BufReader::new(stdout).lines() }
    }

    /// The next line that it prints, as JSON.
    async fn line(&mut self) -> Value {
        let line = tokio::time::timeout(SOON, self.lines.next_line()).await.expect("a line in time").unwrap();
        let line = line.expect("the client ended without the line; its errors are above");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    /// Ends its input, which ends it.
    async fn stop(mut self) {
        drop(self.stdin.take());
        let ended = tokio::time::timeout(SOON, self.process.wait()).await.expect("it ends in time").unwrap();
        assert!(ended.success(), "{ended}");
    }
}

/// What a player in Python saw and heard.
#[derive(Debug, Deserialize)]
struct Played {
    frames: u32,
    rgb: Option<[u8; 3]>,
    width: u32,
    hz: f64,
    loudest: u32,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aiortc_publishes_by_whip_and_plays_by_whep() {
    let name = "aiortc_publishes_by_whip_and_plays_by_whep";
    let (Some(chromium), Some(python)) = (chromium_or_skip(name), python_or_skip(name)) else { return };
    let server = Server::start().await.unwrap();
    let bobs = Browser::launch(&chromium, FakeMedia { tone: Some(1_000), colour: Some(Colour::Blue) }).await.unwrap();
    let bob = participant(&bobs, &server, "Bob").await;

    let whip = format!("{}v1/rooms/hall/whip", server.link);
    let [r, g, b] = Colour::Green.rgb().map(|component| component.to_string());
    let token_of_ann = token(&server, "Ann").await;
    let mut ann = Client::start(&python, "aiortc_client.py", &["whip", &whip, &token_of_ann, "440", &r, &g, &b]);
    assert!(ann.line().await["connected"].is_string());
    bob.wait_for("named('Ann')?.tracks.length === 2", SOON).await.unwrap();
    bob.wait_for_colour("watch('Ann')", Colour::Green, SOON).await.unwrap();
    bob.wait_for_tone("named('Ann').audio", 440, SOON).await.unwrap();

    let whep = format!("{}v1/rooms/hall/whep?user=bob", server.link);
    let mut vic = Client::start(&python, "aiortc_client.py", &["whep", &whep, &token(&server, "Vic").await, "6"]);
    assert!(vic.line().await["connected"].is_string());
    let played: Played = serde_json::from_value(vic.line().await).unwrap();
    assert!(played.frames >= 30 && played.width >= 80, "{played:?}");
    assert_eq!(played.rgb.and_then(Colour::nearest), Some(Colour::Blue), "{played:?}");
    assert!((played.hz - 1_000.0).abs() < 15.0 && played.loudest > 300, "{played:?}");
    vic.stop().await;
    ann.stop().await;
    bob.wait_for("hall.participants.size === 0", SOON).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_begins_to_look_at_a_publisher_that_answers_no_request_sees_a_still_before_the_next_keyframe() {
    let name = "who_begins_to_look_at_a_publisher_that_answers_no_request_sees_a_still_before_the_next_keyframe";
    let (Some(chromium), Some(python)) = (chromium_or_skip(name), python_or_skip(name)) else { return };
    let (server, page) = (Server::start().await.unwrap(), elsewhere().await);
    let bobs = Browser::launch(&chromium, FakeMedia::default()).await.unwrap();
    let bob = participant(&bobs, &server, "Bob").await;
    let viewers = Browser::launch(&chromium, FakeMedia::default()).await.unwrap();
    let viewer = viewers.open(&page).await.unwrap();
    let whip = format!("{}v1/rooms/hall/whip", server.link);
    let [r, g, b] = Colour::Green.rgb().map(|component| component.to_string());
    let token_of_ann = token(&server, "Ann").await;
    let mut ann = Client::start(&python, "aiortc_client.py", &["deaf", &whip, &token_of_ann, "440", &r, &g, &b]);
    assert!(ann.line().await["connected"].is_string());
    // Whoever was there first waits for a keyframe, and by that time it is known that none comes when it is asked for.
    bob.wait_for_colour("watch('Ann')", Colour::Green, SOON).await.unwrap();
    let frames = "watch('Ann').getVideoPlaybackQuality().totalVideoFrames";
    let shown = bob.eval_as::<u64>(frames).await.unwrap();
    bob.wait_for(&format!("{frames} > {}", shown + 15), SOON).await.unwrap();

    let whep = format!("{}v1/rooms/hall/whep?user=ann", server.link);
    let token_of_vic = token(&server, "Vic").await;
    // Between two keyframes at some time of two tries: frames that the browser has shown when the first is there, and a second later.
    let mut stills = 0;
    for _ in 0..2 {
        begin(&viewer, "play", &whep, &token_of_vic).await;
        viewer.wait_for_colour("session.video", Colour::Green, SOON).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let frames = "session.video.getVideoPlaybackQuality().totalVideoFrames";
        let shown = viewer.eval_as::<u64>(frames).await.unwrap();
        stills += u32::from(shown <= 2);
        viewer.wait_for(&format!("{frames} > {}", shown + 15), SOON).await.unwrap();
        viewer.eval("(await end(session), session.peer.close(), session.video.remove())").await.unwrap();
    }
    assert!(stills > 0, "the viewer has never come between two keyframes");
    ann.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ffmpeg_publishes_by_whip() {
    let name = "ffmpeg_publishes_by_whip";
    let (Some(chromium), Some(python)) = (chromium_or_skip(name), python_or_skip(name)) else { return };
    let server = Server::start().await.unwrap();
    let bobs = Browser::launch(&chromium, FakeMedia::default()).await.unwrap();
    let bob = participant(&bobs, &server, "Bob").await;
    let (whip, token) = (format!("{}v1/rooms/hall/whip", server.link), token(&server, "Ann").await);
    let publish = |colour: &[&str]| {
        Client::start(&python, "ffmpeg_publish.py", &[&[whip.as_str(), &token, "440"], colour].concat())
    };
    let [r, g, b] = Colour::Green.rgb().map(|component| component.to_string());

    // The muxer knows no picture but H.264. A server that takes none refuses the whole offer instead of half of it.
    let takes_h264 = bob.eval("hall.peer.remoteDescription.sdp.includes('H264/90000')").await.unwrap() == true;
    if takes_h264 {
        let mut ann = publish(&[&r, &g, &b]);
        assert_eq!(ann.line().await["connected"], true);
        bob.wait_for("named('Ann')?.tracks.length === 2", SOON).await.unwrap();
        bob.wait_for_colour("watch('Ann')", Colour::Green, SOON).await.unwrap();
        bob.wait_for_tone("named('Ann').audio", 440, SOON).await.unwrap();
        // It answers no request for a keyframe; whoever comes later waits for its next.
        let cleos = Browser::launch(&chromium, FakeMedia::default()).await.unwrap();
        let cleo = participant(&cleos, &server, "Cleo").await;
        cleo.wait_for_colour("watch('Ann')", Colour::Green, SOON).await.unwrap();
        ann.stop().await;
    } else {
        assert_eq!(publish(&[&r, &g, &b]).line().await["refused"], true);
    }
    bob.wait_for("!named('Ann')", SOON).await.unwrap();

    let mut ann = publish(&["-"]);
    assert_eq!(ann.line().await["connected"], true);
    bob.wait_for("named('Ann')?.tracks.length === 1", SOON).await.unwrap();
    bob.wait_for_tone("named('Ann').audio", 440, SOON).await.unwrap();
    ann.stop().await;
    bob.wait_for("!named('Ann')", SOON).await.unwrap();
}
