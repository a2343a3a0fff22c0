//! The load generator: starts a server as a process of its own, fills its rooms with real ICE, DTLS and SRTP clients, and says what a
//! processor second of the server forwards, how much arrives and how late. The server is Ringback's example server, or for comparison
//! Janus or anything that takes WHIP and WHEP. docs/load.md says how to read the figures.
//!
//! ```sh
//! cargo build --release -p ringback-examples --examples
//! cargo run --release --example load -- livestream --subscribers 100 --limit --rounds 5 --json
//! cargo run --release --example load -- audio --talkers 10 --listeners 100
//! cargo run --release --example load -- meeting --people 8
//! cargo run --release --example load -- churn --subscribers 50 --per-second 100
//! cargo run --release --example load -- mixed --minutes 30
//! cargo run --release --example load -- livestream --subscribers 5 --link 3g --seed 7
//! cargo run --release --example load -- livestream --subscribers 100 --compare
//! ```

mod arrival;
mod compare;
mod handshakes;
mod janus;
mod join;
mod limit;
mod namespace;
mod offer;
mod peer;
mod process;
mod publishers;
mod receivers;
mod rounds;
mod run;
mod scenario;
mod shape;
mod soak;
mod stamp;
mod tally;
mod target;
mod whip;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Parser;
use serde_json::{Value, json};

use process::Pin;
use run::{Coming, Load};
use scenario::{Plan, Scenario};
use shape::Shape;
use target::{Kind, Server};

/// Loads a WebRTC server and says what it did.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    scenario: Scenario,
    /// Seconds that are measured
    #[arg(long, global = true, default_value_t = 10)]
    seconds: u64,
    /// Minutes of a long run, which fails when memory grows or delay drifts; in place of --seconds
    #[arg(long, global = true, conflicts_with = "compare")]
    minutes: Option<f64>,
    /// Packets a second of a livestream's camera
    #[arg(long, global = true, default_value_t = 240.0)]
    rate: f64,
    /// Packets of it that leave together; 1: one by one
    #[arg(long, global = true, default_value_t = 8)]
    burst: u16,
    /// Bytes of payload in each
    #[arg(long, global = true, default_value_t = 1140)]
    payload: u16,
    /// Runs the limit loop too
    #[arg(long, global = true)]
    limit: bool,
    /// The server to load
    #[arg(long, global = true, value_enum, default_value_t = Kind::Ringback)]
    target: Kind,
    /// Janus's event loops; 0, a thread for each connection, is as it is installed
    #[arg(long, global = true, default_value_t = 1)]
    event_loops: usize,
    /// Loads ours and Janus, with one event loop and as it is installed, in turns
    #[arg(long, global = true)]
    compare: bool,
    /// How often all is done, each time with a server of its own; the figures are medians then [default: 1, with --compare 3]
    #[arg(long, global = true, conflicts_with = "minutes")]
    rounds: Option<usize>,
    /// Milliseconds for which our server lets voices wait for one another, at most 5
    #[arg(long, global = true, default_value_t = 0)]
    voice_wait: u64,
    /// Our server's media workers, each on a thread of its own [default: one for each core that it may use, which is one]
    #[arg(long, global = true)]
    workers: Option<usize>,
    /// Participants of one room on one of them, before newcomers are connected to another
    #[arg(long, global = true, requires = "workers")]
    room_part: Option<usize>,
    /// Where another server takes WHIP, with {room} for the room; for --target whip
    #[arg(long, global = true, requires_all = ["whep_url", "server_pid"])]
    whip_url: Option<String>,
    /// Where it takes WHEP
    #[arg(long, global = true, requires = "whip_url")]
    whep_url: Option<String>,
    /// The token to show it
    #[arg(long, global = true)]
    bearer: Option<String>,
    /// Its process, on this machine
    #[arg(long, global = true)]
    server_pid: Option<u32>,
    /// The core that the server is pinned to
    #[arg(long, global = true, default_value_t = 0)]
    pin: usize,
    /// Receivers take datagrams one by one, not joined by the kernel (GRO)
    #[arg(long, global = true)]
    no_gro: bool,
    /// Puts a virtual cable without segmentation offload between clients and server, which run in network namespaces
    #[arg(long, global = true, conflicts_with_all = ["link", "compare"])]
    veth: bool,
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

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if matches!(arguments.scenario, Scenario::LimitLoop) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(limit::forward())?;
        return Ok(ExitCode::SUCCESS);
    }
    let foreign = arguments.target != Kind::Ringback || arguments.compare;
    ensure!(!foreign || (!arguments.veth && arguments.link.is_none()), "--veth and --link are for our server");
    let own_network = arguments.veth || arguments.compare || arguments.target == Kind::Janus;
    if let Some(code) = own_network.then(namespace::enter).transpose()?.flatten() {
        return Ok(code);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(all(&arguments))
}

async fn all(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let camera = Shape::camera(arguments.rate, arguments.burst.max(1), arguments.payload);
    let plan = arguments.scenario.plan(&camera, arguments.other_stack)?;
    let report = match (arguments.compare, arguments.rounds) {
        (true, rounds) => compare::run(&plan, rounds.unwrap_or(3).max(1), arguments).await?,
        (false, Some(rounds @ 2..)) => rounds::run(&plan, rounds, arguments).await?,
        (false, _) => with_limit(&plan, arguments).await?,
    };
    let wrong = report["soak"]["wrong"].as_array().is_some_and(|wrong| !wrong.is_empty());
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else if let Value::Object(fields) = report {
        fields.iter().for_each(|(name, value)| println!("{name:>26}  {value}"));
    }
    Ok(if wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// One run, and where it is asked for the limit loop's right after.
async fn with_limit(plan: &Plan, arguments: &Arguments) -> anyhow::Result<Value> {
    let mut report = once(plan.clone(), arguments.target, arguments.event_loops, arguments).await?;
    if arguments.limit {
        against_limit(&mut report, plan, arguments).await?;
    }
    Ok(report)
}

/// Starts a server, loads it, and reports.
async fn once(plan: Plan, kind: Kind, event_loops: usize, arguments: &Arguments) -> anyhow::Result<Value> {
    // The server keeps calls and notes: in a folder that goes with the run.
    let data = tempfile::tempdir().context("a folder for the server")?;
    let server = Server::start(kind, event_loops, arguments, data.path()).await?;
    let (replaced, steady_first) = (plan.replaced_per_second, plan.steady_first);
    let mut load = Load::fill(plan, server, arguments).await?;
    let time = Duration::from_secs(arguments.seconds);
    let mut more = json!({});
    let of = if let Some(minutes) = arguments.minutes {
        let (soak, last) = soak::run(&mut load, Duration::from_secs_f64(minutes * 60.0), replaced).await?;
        more["soak"] = soak;
        last
    } else if steady_first {
        let steady = load.measure(time, 0, Coming::New).await?;
        let again = load.measure(time, replaced, Coming::Again).await?;
        let of = load.measure(time, replaced, Coming::New).await?;
        more["steady"] = json!({ "cpu_share": steady.cpu_share(), "added_delay_us": steady.added_delay().json(),
            "added_delay_read_us": steady.added_delay_read().json() });
        more["again"] = json!({
            "joins": again.joins(), "joins_per_cpu_second": again.joins_per_cpu_second(&steady).round(),
            "cpu_share": again.cpu_share(), "added_delay_us": again.added_delay().json(),
            "added_delay_read_us": again.added_delay_read().json(), "failures": again.tally.failed,
        });
        more["joins_per_cpu_second"] = json!(of.joins_per_cpu_second(&steady).round());
        let handshakes = tokio::task::spawn_blocking(|| handshakes::per_cpu_second(Duration::from_secs(2))).await??;
        more["handshakes_per_cpu_second"] = json!(handshakes.round());
        of
    } else {
        load.measure(time, replaced, Coming::New).await?
    };
    let mut report = load.finish(of, arguments).await?;
    if let (Value::Object(report), Value::Object(more)) = (&mut report, more) {
        report.extend(more);
    }
    Ok(report)
}

/// Runs the limit loop under the traffic that is next to what was forwarded.
async fn against_limit(report: &mut Value, plan: &Plan, arguments: &Arguments) -> anyhow::Result<()> {
    let time = Duration::from_secs(arguments.seconds);
    let arrived = report["arrived"].as_f64().unwrap_or_default() / time.as_secs_f64();
    let distance = |traffic: &&limit::Traffic| (traffic.forwarded_per_second() - arrived).abs();
    let traffic = plan.limits.iter().min_by(|one, other| distance(one).total_cmp(&distance(other)));
    let traffic = traffic.context("this scenario has no limit to be held against")?.clone();
    let offered = traffic.forwarded_per_second();
    let pin = Pin(Some(arguments.pin));
    let limit = tokio::task::spawn_blocking(move || limit::measure(traffic, pin, time)).await??;
    let forwarded = report["forwarded_per_cpu_second"].as_f64().unwrap_or_default();
    report["limit_per_cpu_second"] = json!(limit.per_cpu_second.round());
    report["limit_forwards_per_second"] = json!(offered.round());
    report["limit_delivered"] = json!(limit.delivered);
    report["ratio_to_limit"] = json!((forwarded / limit.per_cpu_second * 1000.0).round() / 1000.0);
    Ok(())
}
