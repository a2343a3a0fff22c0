//! The tables and plots of `docs/congestion.md`, from the seeds, by one command. Tables go between the document's markers, plots into
//! `docs/images/networks`. The same code gives the same files.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use super::control::{Interceptor, Ours};
use super::flow::{PACKET, Picture, World};
use super::summary::{Summary, mean};
use super::{FLUID, LAYERS, WANTED, back_after, constant, delivered, network, plot, run};

const BEGIN: &str = "<!-- tables: begin -->";
const END: &str = "<!-- tables: end -->";
const SEEDS: std::ops::RangeInclusive<u64> = 1..=20;
const NETWORKS: [&str; 7] = ["step-down-up", "rfc8867", "3g", "lift", "congested-wifi", "handover", "loss-10"];
/// Steady links, in bits per second.
const STEADY: [u64; 7] = [300_000, 400_000, 700_000, 1_000_000, 1_500_000, 2_000_000, 3_000_000];
/// The seed that is drawn.
const DRAWN: u64 = 1;

/// Writes everything.
pub fn write() -> anyhow::Result<()> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let page = docs.join("congestion.md");
    let text = std::fs::read_to_string(&page)?;
    let (before, rest) = text.split_once(BEGIN).context("docs/congestion.md has no marker for its tables")?;
    let (_, after) = rest.split_once(END).context("docs/congestion.md has no end of its tables")?;
    let tables = tables()?;
    std::fs::write(&page, format!("{before}{BEGIN}\n\n{tables}\n{END}{after}"))?;
    plots(&docs.join("images/networks"))?;
    println!("{tables}");
    Ok(())
}

fn one(network: &ringback_link::Network, ours: bool, picture: &Picture, seed: u64, seconds: u64) -> World {
    let mut world = World::new(network.down.clone(), network.up.clone(), seed);
    match ours {
        true => world.add(Ours::new(world.start(), WANTED), picture.clone(), Duration::ZERO),
        false => world.add(Interceptor::new(), picture.clone(), Duration::ZERO),
    }
    world.run(seconds);
    world
}

fn name(ours: bool) -> &'static str {
    if ours { "ours" } else { "rtc-interceptor" }
}

fn tables() -> anyhow::Result<String> {
    let mut text = String::new();
    for (title, picture) in [
        (
            "Three layers (150, 500 and 1,700 kbit/s) with three temporal layers each, as the allocator grants them",
            LAYERS,
        ),
        ("A picture of any rate up to 2.5 Mbit/s", FLUID),
    ] {
        writeln!(text, "{title}:\n\n{}", Summary::HEADER)?;
        for network_name in NETWORKS {
            for ours in [true, false] {
                let summary = |seed| Summary::of(&one(&network(network_name), ours, &picture, seed, 90), 0);
                let summaries: Vec<Summary> = SEEDS.map(summary).collect();
                writeln!(text, "| {network_name} | {} | {}", name(ours), Summary::mean(&summaries))?;
            }
        }
        writeln!(text)?;
    }
    step_table(&mut text)?;
    filling_table(&mut text)?;
    steady_table(&mut text)?;
    sharing_table(&mut text)?;
    Ok(text.trim_end().to_owned() + "\n")
}

/// Seconds, or a dash for never.
fn seconds(value: f64) -> String {
    if value.is_finite() { format!("{value:.1} s") } else { "not in 35 s".to_owned() }
}

fn step_table(text: &mut String) -> anyhow::Result<()> {
    writeln!(
        text,
        "From 2 Mbit/s to 300 kbit/s and back: after the step down, and after the step up until the large layer flows again, or without layers nine tenths of before are delivered:\n"
    )?;
    writeln!(
        text,
        "| picture | estimator | queue p95 in the 20 s after the step | longest above 300 ms | back up: median | slowest seed | within 5 s |"
    )?;
    writeln!(text, "|---|---|---|---|---|---|---|")?;
    for (title, picture) in [("layers", LAYERS), ("any rate", FLUID)] {
        for ours in [true, false] {
            let worlds: Vec<World> =
                SEEDS.map(|seed| one(&network("step-down-up"), ours, &picture, seed, 75)).collect();
            let low = |world: &World| {
                super::summary::p95(&world.queue[2000..4000].iter().flatten().copied().collect::<Vec<_>>())
            };
            let queue = mean(&worlds.iter().map(low).collect::<Vec<_>>());
            let over = worlds.iter().map(|world| Summary::of(world, 0).over_300).fold(0.0, f64::max);
            let mut backs: Vec<f64> = worlds.iter().map(back_after).collect();
            backs.sort_by(f64::total_cmp);
            let (median, slowest) = (seconds(backs[backs.len() / 2]), seconds(backs[backs.len() - 1]));
            let in_time = backs.iter().filter(|back| **back <= 5.0).count();
            let count = backs.len();
            writeln!(
                text,
                "| {title} | {} | {queue:.0} ms | {over:.2} s | {median} | {slowest} | {in_time} of {count} |",
                name(ours)
            )?;
        }
    }
    writeln!(text)?;
    Ok(())
}

/// Old packets in place of padding: how much of it there is, and what it does to the way up.
fn filling_table(text: &mut String) -> anyhow::Result<()> {
    writeln!(text, "Probes filled up with padding of 250 bytes, or with old packets of 1,200 (layers):\n")?;
    writeln!(
        text,
        "| network | filled with | of all that is sent | used | back up after the step: median | slowest seed |"
    )?;
    writeln!(text, "|---|---|---|---|---|---|")?;
    for network_name in ["step-down-up", "congested-wifi", "loss-10"] {
        for (title, size) in [("padding", None), ("old packets", Some(PACKET))] {
            let run = |seed| {
                let network = network(network_name);
                let mut world = World::new(network.down, network.up, seed);
                world.padding = size.unwrap_or(world.padding);
                world.add(Ours::new(world.start(), WANTED), LAYERS, Duration::ZERO);
                world.run(75);
                world
            };
            let worlds: Vec<World> = SEEDS.map(run).collect();
            let summary = Summary::mean(&worlds.iter().map(|world| Summary::of(world, 0)).collect::<Vec<_>>());
            let mut backs: Vec<f64> = worlds.iter().map(back_after).collect();
            backs.sort_by(f64::total_cmp);
            let back = |at: usize| if network_name == "step-down-up" { seconds(backs[at]) } else { "–".to_owned() };
            let (median, slowest) = (back(backs.len() / 2), back(backs.len() - 1));
            let (padding, used) = (summary.padding * 100.0, summary.used * 100.0);
            writeln!(text, "| {network_name} | {title} | {padding:.1} % | {used:.0} % | {median} | {slowest} |")?;
        }
    }
    writeln!(text)?;
    Ok(())
}

fn steady_table(text: &mut String) -> anyhow::Result<()> {
    writeln!(
        text,
        "Steady links (50 ms there and back, 300 ms of queue), layers, from the 20th to the 80th second:\n"
    )?;
    writeln!(text, "| link | estimator | layer changes per 10 s: mean | worst seed | used | lost | padding |")?;
    writeln!(text, "|---|---|---|---|---|---|---|")?;
    for rate in STEADY {
        for ours in [true, false] {
            let (mut changes, mut used, mut lost, mut padding) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
            for seed in SEEDS {
                let world = one(&constant(rate, Duration::from_millis(300)), ours, &LAYERS, seed, 80);
                let record = world.record(0);
                changes.push(record.changes.iter().filter(|at| **at > 20.0).count() as f64 / 6.0);
                used.push(delivered(&world, 0, 20..80) / rate.min(WANTED) as f64 * 100.0);
                lost.push((1.0 - record.video.1 as f64 / record.video.0 as f64) * 100.0);
                padding.push(record.padding_bytes as f64 / record.bytes as f64 * 100.0);
            }
            let worst = changes.iter().copied().fold(0.0, f64::max);
            writeln!(
                text,
                "| {:.1} Mbit/s | {} | {:.2} | {worst:.2} | {:.0} % | {:.1} % | {:.1} % |",
                rate as f64 / 1e6,
                name(ours),
                mean(&changes),
                mean(&used),
                mean(&lost),
                mean(&padding)
            )?;
        }
    }
    writeln!(text)?;
    Ok(())
}

fn sharing_table(text: &mut String) -> anyhow::Result<()> {
    writeln!(
        text,
        "Three flows on 3 Mbit/s, each of any rate, from the 60th to the 240th second; the flow that is furthest from a third, by seed:\n"
    )?;
    writeln!(text, "| begun | within a fifth | furthest, by seed (1 to 20), in % |")?;
    writeln!(text, "|---|---|---|")?;
    for (begun, apart) in [("together", 0), ("three seconds apart", 3)] {
        let furthest: Vec<f64> = SEEDS.map(|seed| furthest_from_a_third(&sharing(seed, apart, 240))).collect();
        let within = furthest.iter().filter(|share| **share <= 0.2).count();
        let list: Vec<String> = furthest.iter().map(|share| format!("{:.0}", share * 100.0)).collect();
        writeln!(text, "| {begun} | {within} of {} | {} |", furthest.len(), list.join(", "))?;
    }
    Ok(())
}

/// Three flows on one link, each so many seconds after the one before.
pub fn sharing(seed: u64, apart: u64, seconds: u64) -> World {
    let network = network("shared-3m");
    let mut world = World::new(network.down.clone(), network.up.clone(), seed);
    for flow in 0..3 {
        world.add(Ours::new(world.start(), WANTED), FLUID, Duration::from_secs(flow * apart));
    }
    world.run(seconds);
    world
}

/// How far the flow that is furthest from a third of what all three got is from it, over three minutes.
pub fn furthest_from_a_third(world: &World) -> f64 {
    let got = [0, 1, 2].map(|flow| delivered(world, flow, 60..240));
    let fair = mean(&got);
    got.iter().map(|got| (got / fair - 1.0).abs()).fold(0.0, f64::max)
}

fn plots(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    for (file, network_name, title, seconds) in [
        ("step", "step-down-up", "A step down and up: 2 Mbit/s, 300 kbit/s, 2 Mbit/s", 70),
        ("lift", "lift", "A lift: six seconds of nothing, twice", 60),
        ("3g", "3g", "3G: 1.2 Mbit/s, 250 ms there and back, jitter", 60),
        ("congested-wifi", "congested-wifi", "Congested Wi-Fi: 5 and 1.2 Mbit/s, pauses, losses in bursts", 60),
        ("handover", "handover", "Handover: 3 Mbit/s, 1.5 Mbit/s, 1.5 s of nothing between", 60),
    ] {
        let world = run(&network(network_name), LAYERS, DRAWN, seconds);
        std::fs::write(folder.join(format!("{file}.svg")), plot::one(title, &world))?;
    }
    let world = sharing(DRAWN, 10, 120);
    let shared = plot::several("Three on 3 Mbit/s, ten seconds one after the other", &world, 3);
    std::fs::write(folder.join("shared.svg"), shared)?;
    Ok(())
}
