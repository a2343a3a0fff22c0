//! Credentials for TURN, told to a session and taken by a real coturn where one is installed.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ringback_signaling::hooks::Hooks;
use ringback_signaling::turn::TurnServer;
use support::{Server, config};

/// Ends coturn with the test.
struct Coturn(Child);

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Allocates a relay at the server and sends a few packets through it; whether that worked.
fn relays(port: u16, username: &str, password: &str) -> bool {
    let run = Command::new("turnutils_uclient")
        .args(["-p", &port.to_string(), "-u", username, "-w", password])
        // To ourselves, over TCP as from a network without UDP, a handful of packets.
        .args(["-y", "-t", "-n", "5", "-m", "1", "-c", "127.0.0.1"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    run.status.success() && String::from_utf8_lossy(&run.stdout).contains("tot_recv_msgs")
}

#[tokio::test]
async fn a_session_is_told_credentials_that_coturn_takes_and_only_those() {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("turn:127.0.0.1:{port}?transport=tcp");
    let config = config().turn_server(TurnServer::new(&[&url], "a shared secret"));
    let server = Server::with(config, Hooks::default()).await;
    let ann = server.client("ann/pc").await;
    let told = ann.hello["ice_servers"][0].clone();
    assert_eq!(told["urls"][0], url);
    let (username, credential) = (told["username"].as_str().unwrap(), told["credential"].as_str().unwrap());
    assert!(username.ends_with(":ann"), "{username}");

    let folder = std::env::temp_dir();
    let coturn = Command::new("turnserver")
        .args(["--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", "--allow-loopback-peers", "--no-tls", "--no-dtls"])
        .args(["--use-auth-secret", "--static-auth-secret=a shared secret", "--realm=ringback.test", "--no-cli"])
        .args([
            format!("--listening-port={port}"),
            format!("--pidfile={}", folder.join("ringback-coturn.pid").display()),
        ])
        .args(["--log-file=stdout", "--simple-log"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(child) = coturn else {
        assert!(std::env::var_os("RINGBACK_REQUIRE_BROWSER").is_none(), "coturn is required here and not installed");
        eprintln!("coturn is not installed: the credentials were compared with computed ones only");
        return;
    };
    let _coturn = Coturn(child);
    let (username, credential) = (username.to_owned(), credential.to_owned());
    let relayed = tokio::task::spawn_blocking(move || {
        for _ in 0..50 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        (relays(port, &username, &credential), relays(port, &username, "a guess"))
    });
    assert_eq!(relayed.await.unwrap(), (true, false));
}
