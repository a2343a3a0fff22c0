//! A browser whose network loses packets: the server measures it, whoever has the trouble and whoever talks with them are told, the page shows it, and it goes when the network
//! is good again. What it was like is in the metrics afterwards.
#![allow(clippy::unwrap_used)]

mod browser;
mod network;
mod server;

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use browser::{Browser, FakeMedia, chromium_or_skip};
use network::Relay;
use server::Server;

/// Generous: two browsers share two cores with a compiler, at times.
const SOON: Duration = Duration::from_secs(90);

const ANN: FakeMedia = FakeMedia { tone: Some(440), colour: None };
const BOB: FakeMedia = FakeMedia { tone: Some(1_000), colour: None };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_network_is_measured_shown_to_both_sides_and_forgotten_when_it_is_good_again() {
    let test = "a_bad_network_is_measured_shown_to_both_sides_and_forgotten_when_it_is_good_again";
    let Some(chromium) = chromium_or_skip(test) else { return };
    // The relay must know the server's media port beforehand: one that was free a moment ago.
    let media = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server::start_with(&["--listen", "127.0.0.1:0", "--media", &media.to_string()]).await.unwrap();
    let relay = Relay::start(media).await.unwrap();
    let (bobs, anns) = (Browser::launch(&chromium, BOB).await.unwrap(), Browser::launch(&chromium, ANN).await.unwrap());
    let bob = bobs.open(&server.page("Bob", "&auto=accept")).await.unwrap();
    let page = server.page("Ann", "&call=bob&kind=voice");
    let ann = anns.open_prepared(&page, &relay.script(media)).await.unwrap();
    for page in [&ann, &bob] {
        page.wait_for("ringback.call?.state === 'active' && ringback.room.state === 'connected'", SOON).await.unwrap();
    }
    let ann_at_bob = "[...ringback.room.participants.values()][0]?.quality";
    let trouble = "document.querySelector('#call-trouble').textContent";
    ann.wait_for("ringback.room.quality?.level === 'good'", SOON).await.unwrap();
    bob.wait_for(&format!("{ann_at_bob} === 'good'"), SOON).await.unwrap();
    assert_eq!(ann.eval(trouble).await.unwrap(), "");

    // Every fifth datagram, both ways.
    relay.lose_one_in(5);
    ann.wait_for("ringback.room.quality?.level === 'poor'", SOON).await.unwrap();
    let losses = "[ringback.room.quality.loss_up, ringback.room.quality.loss_down]";
    let [up, down]: [u32; 2] = ann.eval_as(losses).await.unwrap();
    println!("one in five is lost; measured, in 1/1000: {up} up, {down} down");
    assert!(up.max(down) > 100 && up.max(down) < 400, "{up} and {down}");
    bob.wait_for(&format!("{ann_at_bob} === 'poor'"), SOON).await.unwrap();
    ann.wait_for(&format!("{trouble} === 'Your connection is bad'"), SOON).await.unwrap();
    bob.wait_for(&format!("{trouble} === 'Ann has a bad connection'"), SOON).await.unwrap();
    let bars = "document.querySelector('.tile[aria-label=Ann] .tile-quality:not([hidden])')?.dataset.level === 'poor'";
    bob.wait_for(bars, SOON).await.unwrap();
    // A browser reports on a voice each five seconds: by now twice since the losses began.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let bobs = bob.eval("JSON.stringify(ringback.room.quality)").await.unwrap();
    println!("who loses nothing: {bobs}");
    assert!(bobs.as_str().unwrap_or_default().contains(r#""level":"good""#), "the other end is not to blame: {bobs}");

    relay.lose_one_in(0);
    ann.wait_for("ringback.room.quality?.level === 'good'", SOON).await.unwrap();
    bob.wait_for(&format!("{ann_at_bob} === 'good' && {trouble} === ''"), SOON).await.unwrap();
    bob.eval("ringback.call.hangup()").await.unwrap();
    ann.wait_for("!ringback.call || ringback.call.isOver", SOON).await.unwrap();
    let metrics = r#"fetch('/metrics').then((answer) => answer.text()).then((text) =>
        Number(/call_quality_seconds_total.kind="voice",level="poor".\s(\S+)/.exec(text)?.[1] ?? 0))"#;
    bob.wait_for(&format!("({metrics}).then((poor) => poor > 1)"), SOON).await.unwrap();
}

/// Brings so many more into the room in which the page is, who neither send nor receive.
const CROWD: &str = r#"(async (people) => {
    const lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0", "a=ice-ufrag:clientufrag",
        "a=ice-pwd:clientpasswordclientpassword", `a=fingerprint:sha-256 ${Array(32).fill("CD").join(":")}`, "a=setup:actpass",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111", "a=sendonly", "a=rtcp-mux", "a=rtpmap:111 opus/48000/2", "a=mid:0", ""];
    window.crowd = await Promise.all(Array.from({ length: people }, async (_, at) => {
        const body = JSON.stringify({ name: `Quiet ${at}` });
        const login = await fetch("/login", { method: "POST", headers: { "content-type": "application/json" }, body });
        const { token } = await login.json();
        const socket = new WebSocket(new URL("v1/ws", location.href.replace(/^http/, "ws")));
        await new Promise((open) => socket.addEventListener("open", open));
        socket.send(JSON.stringify({ id: 1, type: "hello", version: 1, token }));
        socket.send(JSON.stringify({ id: 2, type: "room.join", room: ringback.room.id, offer: lines.join("\r\n"), tracks: [] }));
        return socket;
    }));
    return true;
})"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "waits for reports on a voice and for a network that is good again, about a minute: see docs/congestion.md"]
async fn in_a_large_room_a_voice_is_sent_twice_while_a_listener_loses_packets() {
    let test = "in_a_large_room_a_voice_is_sent_twice_while_a_listener_loses_packets";
    let Some(chromium) = chromium_or_skip(test) else { return };
    let media = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server::start_with(&["--listen", "127.0.0.1:0", "--media", &media.to_string()]).await.unwrap();
    let relay = Relay::start(media).await.unwrap();
    let (bobs, anns) = (Browser::launch(&chromium, BOB).await.unwrap(), Browser::launch(&chromium, ANN).await.unwrap());
    let bob = bobs.open_prepared(&server.page("Bob", "#chat/Hall"), &relay.script(media)).await.unwrap();
    let ann = anns.open(&server.page("Ann", "#chat/Hall")).await.unwrap();
    for page in [&ann, &bob] {
        page.click("#chats [data-chat=Hall] button", SOON).await.unwrap();
        page.wait_for("ringback.room?.state === 'connected'", SOON).await.unwrap();
    }
    ann.eval(&format!("{CROWD}(31)")).await.unwrap();
    ann.wait_for("ringback.room.participants.size === 32", SOON).await.unwrap();
    let per_packet = "(async () => {
        const sent = async () => [...(await ringback.room.peer.getStats()).values()]
            .find(({ type, kind, packetsSent }) => type === 'outbound-rtp' && kind === 'audio' && packetsSent > 0);
        const before = await sent();
        await new Promise((done) => setTimeout(done, 1_000));
        const after = await sent();
        return (after.bytesSent - before.bytesSent) / (after.packetsSent - before.packetsSent);
    })()";
    let once = ann.eval(per_packet).await.unwrap().as_f64().unwrap();

    relay.lose_one_in(10);
    let since = Instant::now();
    ann.wait_for(&format!("(await {per_packet}) > {}", once * 1.5), SOON).await.unwrap();
    println!("each packet twice after {:?}", since.elapsed());
    let theirs = "[...ringback.room.participants.values()].some(({ quality }) => quality && quality !== 'good')";
    assert_eq!(ann.eval(theirs).await.unwrap(), false, "nobody was told whose network it is");

    relay.lose_one_in(0);
    let since = Instant::now();
    ann.wait_for(&format!("(await {per_packet}) < {}", once * 1.3), SOON).await.unwrap();
    println!("… and once again after {:?}", since.elapsed());
}
