//! Reactions from end to end: starts an engine as a process of its own (itself, told to), joins one room with many clients that have nothing but
//! data channels (real ICE, DTLS and SCTP), lets each react some times a second, and says how long it takes from a tap until it is in the
//! hands of everybody, and what the server spends on it. docs/reactions.md has the figures.
//!
//! ```sh
//! cargo run --release --example reactions_load -- --people 1000 --rate 5
//! ```

mod client;
mod clock;
#[path = "../load/process.rs"]
#[allow(dead_code, reason = "only the other program measures servers that run already")]
mod process;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Parser;
use ringback::{Claims, Engine, Grants, TokenIssuer, TokenVerifier};
use ringback_client::Client;
use ringback_transport::dtls::Certificate;
use serde_json::json;

use client::DataClient;
use clock::Clock;
use process::{Pin, Process, beside};

/// Loads a Ringback server with reactions and says how late they come.
#[derive(Parser)]
struct Arguments {
    /// Clients in the room
    #[arg(long, default_value_t = 1000)]
    people: usize,
    /// Reactions a second of each
    #[arg(long, default_value_t = 5.0)]
    rate: f64,
    /// Seconds that are measured
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Is the server instead
    #[arg(long, hide = true)]
    serve: bool,
}

/// Of the tokens of this load, which never leave this machine.
const SECRET: &[u8] = b"a secret of thirty-two bytes, for load only";

/// How long the last clients may take to come up.
const UP: Duration = Duration::from_secs(30);

const ROOM: &str = "reactions";

/// How often timers of clients are looked at.
const TIMERS: Duration = Duration::from_millis(20);

/// Reactions before the measured ones.
const WARM_UP: Duration = Duration::from_secs(2);

/// As different as in a lively meeting.
pub(crate) const EMOJI: [&str; 6] = ["👍", "❤️", "😂", "🎉", "👏", "😮"];

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if arguments.serve {
        return serve().await;
    }
    tokio::task::LocalSet::new().run_until(run(arguments)).await
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let server = Process::start(&[], beside("reactions_load")?, &["--serve"], "", "Ringback: ", Pin(Some(0))).await?;
    let host = server.said.clone();
    let issuer = TokenIssuer::hs256(SECRET)?;
    let clock = Rc::new(RefCell::new(Clock::new(arguments.people)));
    let certificate = Certificate::generate()?;
    let (mut sessions, clients) = (Vec::new(), Rc::new(RefCell::new(Vec::new())));
    tokio::task::spawn_local(keep_time(clients.clone(), clock.clone()));
    let began = Instant::now();
    for number in 0..arguments.people {
        let (session, client) = join(&host, &issuer, number, &certificate).await?;
        let client = Rc::new(RefCell::new(client));
        tokio::task::spawn_local(read(client.clone(), clock.clone(), number));
        sessions.push(session);
        clients.borrow_mut().push(client);
    }
    let clients = clients.borrow().clone();
    let joined = Instant::now();
    while !clients.iter().all(|client| client.borrow().is_open()) {
        if joined.elapsed() > UP {
            let open = clients.iter().filter(|client| client.borrow().is_open()).count();
            bail!("{open} of {} clients are up {UP:?} after the last has joined", clients.len());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (up, joining) = (began.elapsed(), server.cpu()?);
    // What joining has set going comes to rest.
    tokio::time::sleep(Duration::from_secs(3)).await;

    react(&clients, &clock, arguments.rate, WARM_UP).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    clock.borrow_mut().mark();
    let (cpu, measured) = (server.cpu()?, Instant::now());
    react(&clients, &clock, arguments.rate, Duration::from_secs(arguments.seconds)).await;
    let (busy, wall) = (server.cpu()? - cpu, measured.elapsed());
    tokio::time::sleep(Duration::from_millis(1500)).await;

    let report = clock.borrow().report();
    let (rss, pinned) = (server.rss()?, server.pin.is_some());
    server.stop().await;
    let out = json!({
        "people": arguments.people,
        "up_seconds": round(up.as_secs_f64()),
        "server_cpu_seconds_until_all_are_up": round(joining.as_secs_f64()),
        "reactions_per_second": round(report.sent as f64 / wall.as_secs_f64()),
        "sent": report.sent,
        "refused": report.refused,
        "missing_at_the_slowest_receiver": report.missing,
        "texts_per_receiver_and_second": round(report.texts as f64 / arguments.people as f64 / wall.as_secs_f64()),
        "bytes_per_text": report.bytes / report.texts.max(1),
        "delivery_ms": { "p50": report.p50, "p90": report.p90, "p99": report.p99, "max": report.max },
        "server_cpu_share": round(busy.as_secs_f64() / wall.as_secs_f64()),
        "server_pinned_to_one_core": pinned,
        "server_rss_bytes": rss,
    });
    println!("{}", serde_json::to_string_pretty(&out)?);
    Ok(())
}

fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// Lets everybody react, each at their own moments.
async fn react(clients: &[Rc<RefCell<DataClient>>], clock: &Rc<RefCell<Clock>>, rate: f64, time: Duration) {
    let began = Instant::now();
    let per_second = rate * clients.len() as f64;
    let mut sent = 0_usize;
    while began.elapsed() < time {
        let due = (began.elapsed().as_secs_f64() * per_second) as usize;
        for number in sent..due {
            let (who, what) = (number % clients.len(), number / 7 % EMOJI.len());
            let now = Instant::now();
            let mut client = clients[who].borrow_mut();
            if client.react(now, EMOJI[what]) {
                clock.borrow_mut().sent(what, now);
            }
        }
        sent = due.max(sent);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn read(client: Rc<RefCell<DataClient>>, clock: Rc<RefCell<Clock>>, number: usize) {
    let socket = client.borrow().socket.clone();
    while socket.readable().await.is_ok() {
        let mut clock = clock.borrow_mut();
        client.borrow_mut().drain(|now, text| clock.heard(number, now, text));
    }
}

async fn keep_time(clients: Rc<RefCell<Vec<Rc<RefCell<DataClient>>>>>, clock: Rc<RefCell<Clock>>) {
    let mut interval = tokio::time::interval(TIMERS);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let (now, mut clock) = (Instant::now(), clock.borrow_mut());
        for (number, client) in clients.borrow().iter().enumerate() {
            client.borrow_mut().handle_timeout(now, |now, text| clock.heard(number, now, text));
        }
    }
}

/// The server: an engine and nothing else, whose tokens do not list people, so that a thousand sessions are not told of one another.
async fn serve() -> anyhow::Result<()> {
    let engine = Engine::builder()
        .media(&["127.0.0.1:0".parse()?])
        .tokens(TokenVerifier::hs256(SECRET)?)
        .start()
        .await
        .context("the engine did not start")?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("Ringback: {}", listener.local_addr()?);
    axum::serve(listener, engine.router()).await.context("the server ended")
}

/// Joins with an offer of data channels alone.
async fn join(
    host: &str,
    issuer: &TokenIssuer,
    number: usize,
    certificate: &Certificate,
) -> anyhow::Result<(Client, DataClient)> {
    let grants = Grants { rooms: vec![ROOM.to_owned()], ..Grants::default() };
    let claims = Claims::new(format!("person{number}"), Duration::from_secs(3600)).name("Somebody").grants(grants);
    let session = Client::connect(&format!("ws://{host}/v1/ws"), &issuer.issue(&claims)?).await?;
    let (ice, offer) = client::offer(certificate);
    let joined = session.request("room.join", json!({ "room": ROOM, "offer": offer, "tracks": [] })).await;
    let joined = joined.with_context(|| format!("person {number} joins"))?;
    let answer = joined["answer"].as_str().context("room.join was answered without an answer")?;
    Ok((session, DataClient::new(ice, certificate.clone(), answer)?))
}
