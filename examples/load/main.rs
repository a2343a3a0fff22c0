//! The load generator: starts the example server as a process of its own, fills its rooms through its signaling with real ICE, DTLS and
//! SRTP clients, and says what a processor second of the server forwards, how much arrives and how late. docs/load.md says how to read
//! the figures. It loads Ringback's example server only.
//!
//! ```sh
//! cargo build --release -p ringback-examples --examples
//! cargo run --release --example load -- livestream --subscribers 100 --limit --json
//! cargo run --release --example load -- audio --talkers 10 --listeners 100
//! cargo run --release --example load -- meeting --people 8
//! cargo run --release --example load -- livestream --subscribers 5 --link 3g --seed 7
//! ```

mod join;
mod limit;
mod offer;
mod peer;
mod process;
mod publishers;
mod receivers;
mod scenario;
mod stamp;
mod tally;

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Parser;
use ringback_client::Client;
use ringback_link::{Network, Relay, RelayConfig};
use ringback_transport::dtls::Certificate;
use serde_json::{Value, json};

use join::{Door, Other};
use process::{Process, beside};
use publishers::{Publishers, Shape};
use receivers::Receivers;
use scenario::{Plan, Scenario, other_receivers};
use tally::Percentiles;

/// How long all clients together may take to come up, besides a tenth of a second each.
const UP: Duration = Duration::from_secs(20);

/// Traffic before the measured one, in which keyframes are asked for and slots filled, and in which the server finds out what receivers that report arrivals take: it begins at
/// 500 kbit/s.
const WARM_UP: Duration = Duration::from_secs(4);

/// How long what is on its way gets to arrive; a bad network needs the longer one.
const SETTLE: Duration = Duration::from_millis(300);
const SETTLE_LINK: Duration = Duration::from_secs(2);

/// Loads a Ringback server and says what it did.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    scenario: Scenario,
    /// Seconds that are measured
    #[arg(long, global = true, default_value_t = 10)]
    seconds: u64,
    /// Packets a second of a livestream's camera
    #[arg(long, global = true, default_value_t = 240.0)]
    rate: f64,
    /// Packets of it that leave together; 1: one by one
    #[arg(long, global = true, default_value_t = 8)]
    burst: u64,
    /// Bytes of payload in each
    #[arg(long, global = true, default_value_t = 1140)]
    payload: usize,
    /// Runs the limit loop too
    #[arg(long, global = true)]
    limit: bool,
    /// Puts this network between clients and server (`link --profiles` lists them)
    #[arg(long, global = true)]
    link: Option<String>,
    /// The link's seed
    #[arg(long, global = true, default_value_t = 1)]
    seed: u64,
    /// Receivers on the `webrtc` crate besides the others [default: one in a hundred, at least one]
    #[arg(long, global = true)]
    other_stack: Option<usize>,
    /// Prints JSON
    #[arg(long, global = true)]
    json: bool,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if matches!(arguments.scenario, Scenario::LimitLoop) {
        return limit::forward().await;
    }
    let camera = Shape::camera(arguments.rate, arguments.burst.max(1), arguments.payload);
    let plan = arguments.scenario.plan(camera, arguments.other_stack)?;
    let mut report = run(&plan, &arguments).await?;
    if arguments.limit {
        let ((shape, receivers), time) = (plan.limit, Duration::from_secs(arguments.seconds));
        let limit = tokio::task::spawn_blocking(move || limit::measure(shape, receivers, time)).await??;
        let forwarded = report["forwarded_per_cpu_second"].as_f64().unwrap_or_default();
        report["limit_per_cpu_second"] = json!(limit.per_cpu_second.round());
        report["limit_delivered"] = json!(limit.delivered);
        report["ratio_to_limit"] = json!((forwarded / limit.per_cpu_second * 1000.0).round() / 1000.0);
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else if let Value::Object(fields) = report {
        fields.iter().for_each(|(name, value)| println!("{name:>26}  {value}"));
    }
    Ok(())
}

/// The load's parts, kept for as long as it runs.
struct Load {
    door: Door,
    receivers: Receivers,
    publishers: Publishers,
    others: Vec<Other>,
    /// The sessions of subscribers with their numbers and rooms, the longest there first.
    subscribers: std::collections::VecDeque<(u64, String, Client)>,
    /// The sessions of publishers.
    kept: Vec<Client>,
    count: u64,
}

async fn run(plan: &Plan, arguments: &Arguments) -> anyhow::Result<Value> {
    let origin = Instant::now();
    // The server keeps calls and notes: in a folder that goes with the run.
    let data = tempfile::tempdir().context("a folder for the server")?;
    let (server, relay) = start_server(arguments, data.path()).await?;
    let host = server.said.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let receivers = Receivers::start(origin)?;
    let publishers = Publishers::start(origin, receivers.straight)?;
    let door = Door { host, certificate: Certificate::generate()? };
    let mut load = Load {
        door,
        receivers,
        publishers,
        others: Vec::new(),
        subscribers: std::collections::VecDeque::new(),
        kept: Vec::new(),
        count: 0,
    };
    let began = Instant::now();
    let others_in = load.fill(plan, arguments.other_stack, origin).await?;
    load.wait_until_up().await?;
    let up = began.elapsed();

    let settle = if relay.is_some() { SETTLE_LINK } else { SETTLE };
    load.publishers.run(WARM_UP).await;
    tokio::time::sleep(settle).await;
    load.mark();
    let (cpu, measured) = (server.cpu()?, Instant::now());
    let time = Duration::from_secs(arguments.seconds);
    let (sent, joins) = load.measured(plan, time).await?;
    tokio::time::sleep(settle).await;
    let (cpu, wall) = (server.cpu()? - cpu, measured.elapsed());
    let rss = server.rss()?;
    let mut tally = load.receivers.report().await;
    tally.add(load.publishers.report().await);
    if tally.connected < tally.receivers {
        tally.failed.push(format!(
            "{} of {} clients are not connected",
            tally.receivers - tally.connected,
            tally.receivers
        ));
    }

    let (mut other, mut other_missing) = (0, 0);
    for one in &load.others {
        let (packets, missing) = one.counted();
        (other, other_missing) = (other + packets, other_missing + missing);
    }
    let others = load.others.len();
    let (mut other_opened, mut other_wrong) = (0, 0);
    for one in load.others.drain(..) {
        let (opened, wrong) = one.leave().await;
        (other_opened, other_wrong) = (other_opened + opened, other_wrong + wrong);
    }
    let pinned = server.pinned;
    server.stop().await;

    let offered: u64 = sent.iter().sum();
    let (own, others_expected) = expected(plan, &sent, &others_in);
    // Where layers and slots are chosen, only gaps tell what was lost.
    let (own, others_expected) = match plan.all_to_all {
        true => (own, others_expected),
        false => (tally.received + tally.missing, other + other_missing),
    };
    // What it asked for again it counts each time it comes.
    let other = other.min(others_expected);
    let arrived = tally.received + other;
    let share = |part: u64, of: u64| if of == 0 { 0.0 } else { part as f64 / of as f64 };
    let through = Percentiles::of(tally.ages);
    let straight = Percentiles::of(tally.straight);
    tally.failed.truncate(5);
    let mut report = json!({
        "scenario": plan.name,
        "seconds": arguments.seconds,
        "rooms": plan.rooms.len(),
        "clients": tally.receivers + others,
        "up_seconds": (up.as_secs_f64() * 100.0).round() / 100.0,
        "offered": offered,
        "offered_per_second": (offered as f64 / time.as_secs_f64()).round(),
        "expected": own + others_expected,
        "arrived": arrived,
        "delivered": share(arrived, own + others_expected),
        "missing_in_sequence": tally.missing + other_missing,
        "forwarded_per_cpu_second": (arrived as f64 / cpu.as_secs_f64().max(0.01)).round(),
        "cpu_seconds": (cpu.as_secs_f64() * 100.0).round() / 100.0,
        "cpu_share": (cpu.as_secs_f64() / wall.as_secs_f64() * 1000.0).round() / 1000.0,
        "pinned_to_one_core": pinned,
        "rss_bytes": rss,
        "delay_us": through.json(),
        "straight_us": straight.json(),
        "added_delay_us": through.above_median(straight).json(),
        "sampled": tally.opened,
        "sampled_wrong": tally.wrong,
        "other_stack": {
            "receivers": others, "arrived": other, "delivered": share(other, others_expected),
            "opened": other_opened, "wrong": other_wrong,
        },
        "failures": tally.failed,
    });
    if joins > 0 {
        report["joins"] = json!(joins);
    }
    if let (Some(relay), Some(profile)) = (relay, &arguments.link) {
        let link = relay.stop().await;
        report["link"] = json!({
            "profile": profile, "seed": arguments.seed, "up_sent": link.up.sent, "up_delivered": link.up.delivered,
            "down_sent": link.down.sent, "down_delivered": link.down.delivered, "down_lost": link.down.lost,
            "down_dropped": link.down.dropped, "down_longest_wait_ms": link.down.longest_wait.as_millis() as u64,
        });
    }
    Ok(report)
}

/// The server on free loopback ports; with a link, the relay has the server's media port on another loopback address, and that is what the
/// server announces to everybody.
async fn start_server(arguments: &Arguments, data: &Path) -> anyhow::Result<(Process, Option<Relay>)> {
    let sfu = beside("sfu")?;
    let data = data.display().to_string();
    let Some(profile) = &arguments.link else {
        let arguments = ["--listen", "127.0.0.1:0", "--media", "127.0.0.1:0", "--data", &data];
        return Ok((Process::start(sfu, &arguments, "", "Ringback: ").await?, None));
    };
    let network = Network::named(profile).with_context(|| format!("there is no profile {profile:?}"))?;
    // Taken, and given back for the server to take.
    let media = std::net::UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
    let front = SocketAddr::from(([127, 0, 0, 2], media.port()));
    let ip = front.ip().to_string();
    // Over TCP a client would go around the link.
    let with_relay =
        ["--listen", "127.0.0.1:0", "--media", &media.to_string(), "--announce", &ip, "--data", &data, "--no-ice-tcp"];
    let server = Process::start(sfu, &with_relay, "", "Ringback: ").await?;
    let config = RelayConfig { listen: front, to: media, network, seed: arguments.seed, shared: false };
    let relay = Relay::start(config).await.with_context(|| format!("the link cannot listen on {front}"))?;
    Ok((server, Some(relay)))
}

/// How many packets own receivers and those of the other stack should get when everything goes to everybody.
fn expected(plan: &Plan, sent: &[u64], others_in: &[usize]) -> (u64, u64) {
    let mut sent = sent.iter();
    let mut all = (0, 0);
    for (room, others) in plan.rooms.iter().zip(others_in) {
        let offered: u64 = sent.by_ref().take(room.publishers).sum();
        all.0 += offered * room.receivers as u64;
        all.1 += offered * *others as u64;
    }
    all
}

fn room_name(number: usize) -> String {
    format!("load-{number}")
}

impl Load {
    /// Lets everybody in; how many of the other stack each room has.
    async fn fill(&mut self, plan: &Plan, other_stack: Option<usize>, origin: Instant) -> anyhow::Result<Vec<usize>> {
        let receiving: usize = plan.rooms.iter().map(|room| room.receivers.max(room.publishers)).sum();
        let others = other_stack.unwrap_or_else(|| other_receivers(receiving));
        let mut others_in = Vec::new();
        for (number, room) in plan.rooms.iter().enumerate() {
            let name = room_name(number);
            for publisher in 0..room.publishers {
                let user = format!("publisher{number}x{publisher}");
                let (client, setup) = self.door.join(&user, &name, plan.publisher).await?;
                self.kept.push(client);
                self.publishers.join(setup, plan.shapes.clone());
            }
            for _ in 0..room.receivers {
                self.subscribe(&name, plan).await?;
            }
            let here = others / plan.rooms.len() + usize::from(number < others % plan.rooms.len());
            for other in 0..here {
                let user = format!("other{number}x{other}");
                self.others.push(self.door.join_other(&user, &name, plan.receiver.pairs, origin).await?);
            }
            others_in.push(here);
        }
        Ok(others_in)
    }

    async fn subscribe(&mut self, room: &str, plan: &Plan) -> anyhow::Result<()> {
        let number = self.count;
        self.count += 1;
        let (client, setup) = self.door.join(&format!("subscriber{number}"), room, plan.receiver).await?;
        self.receivers.join(number, setup);
        self.subscribers.push_back((number, room.to_owned(), client));
        Ok(())
    }

    async fn wait_until_up(&self) -> anyhow::Result<()> {
        let limit = UP + Duration::from_millis(100) * self.count as u32;
        let began = Instant::now();
        loop {
            let (receivers, publishers) = (self.receivers.report().await, self.publishers.report().await);
            let mut all = receivers;
            all.add(publishers);
            if let Some(failure) = all.failed.first() {
                bail!("a client failed: {failure}");
            }
            if all.connected == self.count as usize + self.kept.len() {
                return Ok(());
            }
            if began.elapsed() > limit {
                bail!("{} of {} clients are up after {limit:?}", all.connected, self.count as usize + self.kept.len());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn mark(&mut self) {
        self.receivers.mark();
        self.publishers.mark();
        self.others.iter_mut().for_each(Other::mark);
    }

    /// Sends, and replaces subscribers meanwhile where the plan says so. What each publisher has sent, and how many joined.
    async fn measured(&mut self, plan: &Plan, time: Duration) -> anyhow::Result<(Vec<u64>, u64)> {
        if plan.replaced_per_second == 0 {
            return Ok((self.publishers.run(time).await, 0));
        }
        let (began, mut joins) = (Instant::now(), 0);
        let every = Duration::from_secs(1) / plan.replaced_per_second;
        // Started, and looked at when the coming and going is over.
        let sending = self.publishers.start_run(time);
        while began.elapsed() < time {
            if let Some((number, room, client)) = self.subscribers.pop_front() {
                let left = client.request("room.leave", json!({ "room": room })).await;
                left.with_context(|| format!("subscriber {number} leaves"))?;
                self.receivers.leave(number);
                self.subscribe(&room, plan).await?;
                joins += 1;
            }
            tokio::time::sleep((every * joins as u32).saturating_sub(began.elapsed())).await;
        }
        Ok((sending.await.unwrap_or_default(), joins))
    }
}
