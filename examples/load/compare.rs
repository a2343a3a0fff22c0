//! Ours and Janus in one command: the same traffic by the same clients to one after the other, several rounds, so that what else the machine
//! does meets both; the medians, and their ratio.

use serde_json::{Value, json};

use crate::Arguments;
use crate::scenario::Plan;
use crate::soak::median;
use crate::target::Kind;

/// Who is compared: its name, and Janus's event loops.
const SERVERS: [(&str, Kind, usize); 3] =
    [("ringback", Kind::Ringback, 0), ("janus_event_loops_1", Kind::Janus, 1), ("janus_as_installed", Kind::Janus, 0)];

/// Figures of which medians are taken.
const FIGURES: [&str; 4] = ["forwarded_per_cpu_second", "delivered", "cpu_share", "offered_per_second"];

pub(crate) async fn run(plan: &Plan, turns: usize, arguments: &Arguments) -> anyhow::Result<Value> {
    let mut rounds: [Vec<Value>; SERVERS.len()] = Default::default();
    for round in 0..turns {
        for ((name, kind, event_loops), reports) in SERVERS.iter().zip(&mut rounds) {
            let report = crate::once(plan.clone(), *kind, *event_loops, arguments).await?;
            eprintln!(
                "round {}: {name} {} a CPU-second, {} delivered",
                round + 1,
                report["forwarded_per_cpu_second"],
                report["delivered"]
            );
            reports.push(report);
        }
    }
    let mut result = json!({ "scenario": plan.name, "rounds": turns, "seconds": arguments.seconds });
    for ((name, ..), reports) in SERVERS.iter().zip(&rounds) {
        let of = |figure: &str, percentile: Option<&str>| {
            let value = |report: &Value| {
                let value = &report[figure];
                percentile.map_or(value, |percentile| &value[percentile]).as_f64().unwrap_or_default()
            };
            median(&reports.iter().map(value).collect::<Vec<_>>())
        };
        for figure in FIGURES {
            result[name][figure] = json!(of(figure, None));
        }
        result[name]["added_delay_us"] =
            json!({ "p50": of("added_delay_us", Some("p50")), "p99": of("added_delay_us", Some("p99")) });
    }
    let forwarded = |result: &Value, name: &str| result[name]["forwarded_per_cpu_second"].as_f64().unwrap_or_default();
    for (name, ..) in &SERVERS[1..] {
        let ratio = forwarded(&result, SERVERS[0].0) / forwarded(&result, name).max(1.0);
        result[format!("ratio_to_{name}")] = json!((ratio * 100.0).round() / 100.0);
    }
    Ok(result)
}
