//! The seeded network link as a UDP relay: stands between clients and a server and treats their packets as a named network would. The
//! same seed throws the same dice.
//!
//! ```sh
//! cargo run --release --example link -- --profiles
//! cargo run --release --example link -- --listen 127.0.0.1:9000 --to 127.0.0.1:8189 --profile lift --seed 7
//! ```

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use ringback_link::{LinkStatistics, Network, Relay, RelayConfig};

/// Relays UDP to a server as a bad network would.
#[derive(Parser)]
struct Arguments {
    /// Where clients send to
    #[arg(long, default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
    /// The server's media port
    #[arg(long, default_value = "127.0.0.1:8189")]
    to: SocketAddr,
    /// Which network (`--profiles` lists them)
    #[arg(long, default_value = "3g")]
    profile: String,
    /// The seed of all chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// All clients share one link, its rate and its queue
    #[arg(long)]
    shared: bool,
    /// Ends after so many seconds [default: with Ctrl-C]
    #[arg(long)]
    seconds: Option<u64>,
    /// Lists the networks with their figures and where these come from
    #[arg(long)]
    profiles: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if arguments.profiles {
        for network in Network::all() {
            println!("{}\n  {}\n  from: {}", network.name, network.about, network.source);
        }
        return Ok(());
    }
    let network = Network::named(&arguments.profile)
        .with_context(|| format!("there is no profile {:?}; --profiles lists them", arguments.profile))?;
    let Arguments { listen, to, seed, shared, .. } = arguments;
    let config = RelayConfig { listen, to, network, seed, shared };
    let relay = Relay::start(config).await.with_context(|| format!("nothing can listen on {listen}"))?;
    println!("Link: {} -> {to}, {}, seed {seed}", relay.address(), arguments.profile);
    match arguments.seconds {
        Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
        None => tokio::signal::ctrl_c().await?,
    }
    let statistics = relay.stop().await;
    println!("{} clients; up: {}; down: {}", statistics.clients, line(statistics.up), line(statistics.down));
    Ok(())
}

fn line(link: LinkStatistics) -> String {
    format!(
        "{} sent, {} delivered, {} lost, {} dropped by the queue, {} doubled, {} held back, queue at most {} B and {:.0} ms",
        link.sent,
        link.delivered,
        link.lost,
        link.dropped,
        link.duplicated,
        link.held_back,
        link.queue_peak,
        link.longest_wait.as_secs_f64() * 1e3
    )
}
