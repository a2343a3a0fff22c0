//! Records what a Chromium sends for the load generator's meetings: when, and of which size the packets of three simulcast layers and of a
//! microphone are. Not a test of anything but of that this can be done again:
//!
//! ```sh
//! RINGBACK_TRACE=examples/load/chromium.trace cargo test --release -p ringback-examples --test record_shapes -- --ignored
//! ```
#![allow(clippy::unwrap_used)]

mod browser;
mod server;

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use browser::{Browser, FakeMedia, chromium_or_skip};
use ringback_transport::rtp::RtpHeader;
use server::Server;
use tokio::net::UdpSocket;

const SOON: Duration = Duration::from_secs(60);

/// The upper layers come up as the estimate of the network does.
const RAMP: Duration = Duration::from_secs(25);

const RECORDED: Duration = Duration::from_secs(10);

/// What of a packet is not its payload, besides its header: the tag of AES-GCM.
const TAG: usize = 16;

/// A camera of 960 × 540 whose picture changes everywhere; no layer is switched off, whoever watches; and the page reaches the server's port through another.
const PREPARED: &str = "{
    const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (constraints) => {
        const stream = await real(constraints);
        if (!constraints.video) return stream;
        const canvas = Object.assign(document.createElement('canvas'), { width: 960, height: 540 });
        const context = canvas.getContext('2d');
        let frame = 0;
        setInterval(() => {
            frame++;
            for (let i = 0; i < 12; i++) {
                context.fillStyle = `hsl(${(frame * 3 + i * 30) % 360} 80% 50%)`;
                context.fillRect((i * 97 + frame * 5) % 960, (i * 61 + frame * 3) % 540, 140, 100);
            }
        }, 33);
        return new MediaStream([...canvas.captureStream(30).getVideoTracks(), ...stream.getAudioTracks()]);
    };
    RTCRtpSender.prototype.setParameters = async () => {};
    const { setRemoteDescription } = RTCPeerConnection.prototype;
    RTCPeerConnection.prototype.setRemoteDescription = function ({ type, sdp }) {
        return setRemoteDescription.call(this, { type, sdp: sdp.replaceAll(' SERVER typ', ' RELAY typ') });
    };
}";

struct Packet {
    at: Instant,
    ssrc: u32,
    payload: usize,
    /// RID, where the header still says it.
    rid: Option<&'static str>,
}

/// Relays between one client and the server, and keeps what the client's headers say.
async fn relay(front: UdpSocket, server: std::net::SocketAddr, log: Arc<Mutex<Vec<Packet>>>) {
    let back = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (mut up, mut down, mut client) = ([0; 2048], [0; 2048], None);
    loop {
        tokio::select! {
            Ok((len, from)) = front.recv_from(&mut up) => {
                client = Some(from);
                let datagram = &up[..len];
                // RTP, not RTCP (RFC 5761).
                let is_rtp = len > 12 && (128..192).contains(&datagram[0]) && !(64..96).contains(&(datagram[1] & 0x7F));
                if let Some(header) = is_rtp.then(|| RtpHeader::parse_unpadded(datagram).ok()).flatten() {
                    let says = |rid: &&str| header.extensions(datagram).any(|(_, value)| value == rid.as_bytes());
                    let rid = ["q", "h", "f"].into_iter().find(says);
                    let payload = len - header.header_len - TAG;
                    log.lock().unwrap().push(Packet { at: Instant::now(), ssrc: header.ssrc, payload, rid });
                }
                let _ = back.send_to(datagram, server).await;
            }
            Ok((len, _)) = back.recv_from(&mut down) => {
                if let Some(client) = client {
                    let _ = front.send_to(&down[..len], client).await;
                }
            }
        }
    }
}

#[tokio::test]
#[ignore = "records for 40 s, on a machine with nothing else to do"]
async fn what_a_chromium_sends_is_recorded() {
    let Some(chromium) = chromium_or_skip("what_a_chromium_sends_is_recorded") else { return };
    let media = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server =
        Server::start_with(&["--listen", "127.0.0.1:0", "--media", &media.to_string(), "--no-ice-tcp"]).await.unwrap();
    let front = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let script = PREPARED
        .replace("SERVER", &media.port().to_string())
        .replace("RELAY", &front.local_addr().unwrap().port().to_string());
    let log = Arc::new(Mutex::new(Vec::new()));
    let relaying = tokio::spawn(relay(front, media, log.clone()));
    let browser = |tone| Browser::launch(&chromium, FakeMedia { tone: Some(tone), colour: None });
    let (anns, bobs) = (browser(440).await.unwrap(), browser(1_000).await.unwrap());
    let _bob = bobs.open(&server.page("Bob", "&auto=accept")).await.unwrap();
    let ann = anns.open_prepared(&server.page("Ann", "&call=bob&kind=video"), &script).await.unwrap();
    ann.wait_for("ringback.call?.state === 'active' && ringback.room.state === 'connected'", SOON).await.unwrap();
    tokio::time::sleep(RAMP + RECORDED).await;
    relaying.abort();

    let log = std::mem::take(&mut *log.lock().unwrap());
    let begin = log.last().unwrap().at - RECORDED;
    // The first packets name their layer; retransmissions name it too, and are fewer.
    let (mut layer_of, mut count) = (HashMap::new(), HashMap::<u32, usize>::new());
    for packet in &log {
        *count.entry(packet.ssrc).or_default() += 1;
        if let Some(rid) = packet.rid {
            layer_of.insert(packet.ssrc, rid);
        }
    }
    let most = |name: Option<&str>| {
        let of = |(ssrc, _): &(&u32, &usize)| layer_of.get(*ssrc).copied() == name;
        count.iter().filter(of).max_by_key(|(_, count)| **count).map(|(ssrc, _)| *ssrc)
    };
    let streams: Vec<(u32, &str)> = [(None, "audio"), (Some("q"), "q"), (Some("h"), "h"), (Some("f"), "f")]
        .into_iter()
        .map(|(rid, name)| (most(rid).unwrap_or_else(|| panic!("nothing of {name}")), name))
        .collect();

    let mut trace = String::from(
        "# What a Chromium sends in a call, recorded by tests/record_shapes.rs: milliseconds, stream, bytes of payload of each packet.\n",
    );
    let (mut totals, mut lines) = (HashMap::<&str, usize>::new(), Vec::<(Instant, &str, Vec<usize>)>::new());
    for packet in log.iter().filter(|packet| packet.at >= begin) {
        let Some((_, name)) = streams.iter().find(|(ssrc, _)| *ssrc == packet.ssrc) else { continue };
        *totals.entry(name).or_default() += packet.payload;
        // What comes within a millisecond of one another left together.
        let last = lines.iter_mut().rev().find(|(_, other, _)| other == name);
        match last {
            Some((at, _, sizes)) if *name != "audio" && packet.at - *at < Duration::from_millis(1) => {
                sizes.push(packet.payload)
            }
            _ => lines.push((packet.at, name, vec![packet.payload])),
        }
    }
    for (at, name, sizes) in &lines {
        let _ = write!(trace, "{:.1} {name}", (*at - begin).as_secs_f64() * 1e3);
        for size in sizes {
            let _ = write!(trace, " {size}");
        }
        trace.push('\n');
    }
    let _ = writeln!(trace, "{} end", RECORDED.as_millis());
    println!("bytes in {RECORDED:?}: {totals:?}; {} lines, {} bytes", lines.len(), trace.len());
    for (_, name) in &streams {
        assert!(totals.get(name).is_some_and(|bytes| *bytes > 10_000), "{name}: {totals:?}");
    }
    if let Some(path) = std::env::var_os("RINGBACK_TRACE") {
        std::fs::write(path, trace).unwrap();
    }
}
