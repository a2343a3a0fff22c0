//! Two browsers that may use nothing but a TURN server (coturn), over TCP as from a network without UDP, with the credentials that the
//! signaling gave them: the call connects, and each sees and hears the other.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod browser;
mod server;

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use browser::{Browser, Colour, FakeMedia, Page, chromium_or_skip, program_or_skip};
use server::Server;

/// Generous: two browsers share two cores with a compiler, at times.
const SOON: Duration = Duration::from_secs(60);

const SECRET: &str = "a shared secret";

const CONNECTED: &str = "ringback.call?.state === 'active' && ringback.room.state === 'connected'";

/// The browser's candidate of the selected pair: its kind, and the protocol to the TURN server.
const SELECTED: &str = "(async () => {
    const stats = await ringback.room.peer.getStats();
    const transport = [...stats.values()].find(({ type }) => type === 'transport');
    const local = stats.get(stats.get(transport.selectedCandidatePairId).localCandidateId);
    return `${local.candidateType} over ${local.relayProtocol}`;
})()";

/// A coturn of this test; it ends with it.
struct Coturn {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Coturn {
    async fn start(program: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::Builder::new().prefix("ringback-coturn-").tempdir().unwrap();
        let child = Command::new(program)
            .args(["-n", "--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", "--allow-loopback-peers"])
            .args(["--no-tls", "--no-dtls", "--no-cli", "--use-auth-secret", "--realm=ringback.test"])
            .args([format!("--static-auth-secret={SECRET}"), format!("--listening-port={port}")])
            .args([format!("--pidfile={}", folder.path().join("pid").display()), "--log-file=stdout".into()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let coturn = Self { child, port, _folder: folder };
        for _ in 0..100 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return coturn;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("coturn does not listen");
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_goes_through_a_turn_server_where_nothing_else_is_allowed() {
    let test = "a_call_goes_through_a_turn_server_where_nothing_else_is_allowed";
    let (Some(chromium), Some(turnserver)) = (chromium_or_skip(test), program_or_skip(test, "turnserver")) else {
        return;
    };
    let coturn = Coturn::start(&turnserver).await;
    let turn = format!("turn:127.0.0.1:{}?transport=tcp", coturn.port);
    let arguments = ["--listen", "127.0.0.1:0", "--media", "127.0.0.1:0", "--turn", &turn, "--turn-secret", SECRET];
    let server = Server::start_with(&arguments).await.unwrap();
    let bobs_media = FakeMedia { tone: Some(1_000), colour: Some(Colour::Blue) };
    let bobs = Browser::launch(&chromium, bobs_media).await.unwrap();
    let bob = bobs.open(&server.page("Bob", "&auto=accept&ice=relay")).await.unwrap();
    let anns_media = FakeMedia { tone: Some(440), colour: Some(Colour::Red) };
    let anns = Browser::launch(&chromium, anns_media).await.unwrap();
    let ann = anns.open(&server.page("Ann", "&call=bob&kind=video&ice=relay")).await.unwrap();
    for page in [&ann, &bob] {
        page.wait_for(CONNECTED, SOON).await.unwrap();
        assert_eq!(page.eval_as::<String>(SELECTED).await.unwrap(), "relay over tcp");
    }
    see_and_hear(&ann, "Bob", 1_000, Colour::Blue).await;
    see_and_hear(&bob, "Ann", 440, Colour::Red).await;
}

async fn see_and_hear(page: &Page, name: &str, tone: u32, colour: Colour) {
    let participant = format!("[...ringback.room.participants.values()].find(({{ name }}) => name === '{name}')");
    page.wait_for_tone(&format!("{participant}.audio"), tone, SOON).await.unwrap();
    let picture = format!("document.querySelector('.tile[aria-label={name}] [data-video=live] video')");
    page.wait_for_colour(&picture, colour, SOON).await.unwrap();
}
