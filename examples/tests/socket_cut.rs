//! The signaling socket of a browser is cut in mid-call, by a proxy between it and the example server: the call goes on, sound too, and what happened meanwhile is known
//! afterwards.
#![allow(clippy::unwrap_used)]

mod browser;
mod server;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use browser::{Browser, FakeMedia, chromium_or_skip};
use server::Server;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Generous: two browsers share two cores with a compiler, at times.
const SOON: Duration = Duration::from_secs(60);

/// Where a call says what it has lost.
const PILL: &str = "document.querySelector('#call-link')";

const ANN: FakeMedia = FakeMedia { tone: Some(440), colour: None };
const BOB: FakeMedia = FakeMedia { tone: Some(1_000), colour: None };

/// What a proxy does with its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passing {
    /// All goes through.
    Open,
    /// None is left, and none is taken.
    Cut,
    /// Nothing goes through those there were, and nobody is told; new ones pass. They break off once it is over.
    Frozen,
}

/// Passes TCP connections on, until it is told otherwise.
struct Proxy {
    address: SocketAddr,
    open: watch::Sender<Passing>,
    passed: Arc<Mutex<usize>>,
}

impl Proxy {
    async fn start(to: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (open, is_open) = watch::channel(Passing::Open);
        let passed = Arc::new(Mutex::new(0));
        let count = passed.clone();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (to, mut is_open) = (to.clone(), is_open.clone());
                if *is_open.borrow_and_update() == Passing::Cut {
                    continue;
                }
                *count.lock().unwrap() += 1;
                tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(to).await else { return };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = is_open.changed() => {}
                    }
                    let _ = is_open.wait_for(|passing| *passing != Passing::Frozen).await;
                });
            }
        });
        Self { address, open, passed }
    }

    fn cut(&self) {
        self.open.send_replace(Passing::Cut);
    }

    fn freeze(&self) {
        self.open.send_replace(Passing::Frozen);
    }

    fn mend(&self) {
        self.open.send_replace(Passing::Open);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_outlives_its_socket_and_knows_afterwards_what_happened_meanwhile() {
    let test = "a_call_outlives_its_socket_and_knows_afterwards_what_happened_meanwhile";
    let Some(chromium) = chromium_or_skip(test) else { return };
    let server = Server::start().await.unwrap();
    let host = server.link.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let proxy = Proxy::start(host).await;

    let bobs = Browser::launch(&chromium, BOB).await.unwrap();
    let bob = bobs.open(&server.page("Bob", "&auto=accept")).await.unwrap();
    let anns = Browser::launch(&chromium, ANN).await.unwrap();
    let ann = anns.open(&format!("http://{}/?name=Ann&call=bob&kind=voice", proxy.address)).await.unwrap();
    let connected = "ringback.call?.state === 'active' && ringback.room.state === 'connected'";
    for page in [&ann, &bob] {
        page.wait_for(connected, SOON).await.unwrap();
    }
    let voice = "[...ringback.room.participants.values()][0].audio";
    ann.wait_for_tone(voice, 1_000, SOON).await.unwrap();
    let seen = "(window.rosters = [], ringback.room.on('participants', () => \
                rosters.push([...ringback.room.participants.values()][0]?.isMuted('microphone'))), \
                window.me = ringback.room.me, true)";
    ann.eval(seen).await.unwrap();

    proxy.cut();
    ann.wait_for("ringback.session.state === 'reconnecting'", SOON).await.unwrap();
    // Two changes that she cannot be told of now; far enough apart not to be collected into one.
    bob.eval("ringback.room.mute('microphone')").await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    bob.eval("ringback.room.mute('microphone', false)").await.unwrap();
    ann.wait_for_tone(voice, 1_000, SOON).await.unwrap();
    assert_eq!(ann.eval("ringback.call.state + ringback.session.state").await.unwrap(), "activereconnecting");

    // The page says so, since it lasts, and that they hear each other still; once it is back it says that and is silent.
    let says = |text: &str| format!("!{PILL}.hidden && {PILL}.textContent === {text:?}");
    ann.wait_for(&says("Reaching the server again…"), SOON).await.unwrap();
    assert_eq!(ann.eval("document.querySelector('#call').hasAttribute('data-lost-media')").await.unwrap(), false);

    let before = *proxy.passed.lock().unwrap();
    proxy.mend();
    ann.wait_for("ringback.session.state === 'open'", SOON).await.unwrap();
    ann.wait_for(&says("Connected again"), SOON).await.unwrap();
    ann.wait_for(&format!("{PILL}.hidden"), SOON).await.unwrap();
    ann.wait_for("window.rosters.length >= 2", SOON).await.unwrap();
    assert!(*proxy.passed.lock().unwrap() > before, "it came back through the proxy");
    let rosters = ann.eval("JSON.stringify(window.rosters.slice(0, 2))").await.unwrap();
    assert_eq!(rosters, "[true,false]", "both changes, in order");
    assert_eq!(ann.eval("ringback.call.state + (ringback.room.me === window.me)").await.unwrap(), "activetrue");
    ann.wait_for_tone(voice, 1_000, SOON).await.unwrap();
    bob.eval("ringback.call.hangup()").await.unwrap();
    ann.wait_for("!ringback.call || ringback.call.isOver", SOON).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_comes_to_the_front_does_not_wait_for_a_dead_socket() {
    let test = "a_page_that_comes_to_the_front_does_not_wait_for_a_dead_socket";
    let Some(chromium) = chromium_or_skip(test) else { return };
    let server = Server::start().await.unwrap();
    let host = server.link.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let proxy = Proxy::start(host).await;
    let browser = Browser::launch(&chromium, ANN).await.unwrap();
    let page = browser.open(&format!("http://{}/?name=Ann", proxy.address)).await.unwrap();
    page.wait_for("ringback.session?.state === 'open'", SOON).await.unwrap();
    page.eval("(window.states = [], ringback.session.on('state', (state) => states.push(state)), true)").await.unwrap();

    // As after a sleep: the connection is gone, and no word of it has come.
    proxy.freeze();
    let shown = "document.dispatchEvent(new Event('visibilitychange'))";
    page.eval(shown).await.unwrap();
    // Sooner than a heartbeat would have noticed.
    page.wait_for("window.states.includes('reconnecting')", Duration::from_secs(9)).await.unwrap();
    proxy.mend();
    page.wait_for("ringback.session.state === 'open'", SOON).await.unwrap();

    // Where it lives, nothing happens.
    page.eval("(window.states = [], true)").await.unwrap();
    page.eval(shown).await.unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(page.eval("window.states").await.unwrap(), serde_json::json!([]));
}
