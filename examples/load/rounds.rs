//! One command several times, each time with a server of its own: of each figure the median, and between which values it lay, so that a guest
//! on the machine who comes by once decides nothing.

use serde_json::{Value, json};

use crate::Arguments;
use crate::scenario::Plan;
use crate::soak::median;

/// The figures, as JSON pointers (RFC 6901) into a run's report; those that a scenario has not are left out.
const FIGURES: [&str; 21] = [
    "/offered_per_second",
    "/delivered",
    "/cpu_share",
    "/forwarded_per_cpu_second",
    "/limit_per_cpu_second",
    "/ratio_to_limit",
    "/added_delay_us/p50",
    "/added_delay_us/p99",
    "/added_delay_read_us/p50",
    "/added_delay_read_us/p99",
    "/steady/added_delay_us/p99",
    "/again/joins_per_cpu_second",
    "/again/added_delay_us/p99",
    "/joins_per_second",
    "/joins_per_cpu_second",
    "/handshakes_per_cpu_second",
    "/rss_bytes",
    "/straight_us/p50",
    "/straight_us/p99",
    "/straight_read_us/p50",
    "/straight_read_us/p99",
];

pub(crate) async fn run(plan: &Plan, rounds: usize, arguments: &Arguments) -> anyhow::Result<Value> {
    let mut reports = Vec::new();
    for round in 1..=rounds {
        let report = crate::with_limit(plan, arguments).await?;
        eprintln!(
            "round {round} of {rounds}: {} a CPU-second, {} delivered",
            report["forwarded_per_cpu_second"], report["delivered"]
        );
        reports.push(report);
    }
    let mut result = json!({ "scenario": plan.name, "rounds": rounds, "seconds": arguments.seconds });
    result["failures"] = reports.iter().filter_map(|report| report["failures"].as_array()).flatten().cloned().collect();
    let wrong = |report: &Value| {
        [&report["sampled_wrong"], &report["other_stack"]["wrong"]].into_iter().filter_map(Value::as_u64).sum::<u64>()
    };
    result["sampled_wrong"] = json!(reports.iter().map(wrong).sum::<u64>());
    for figure in FIGURES {
        if let Some(spread) = spread(&reports, figure) {
            result[figure.trim_start_matches('/').replace('/', ".")] = spread;
        }
    }
    Ok(result)
}

/// The median of a figure, the least and the most.
fn spread(reports: &[Value], figure: &str) -> Option<Value> {
    let values: Vec<f64> = reports.iter().filter_map(|report| report.pointer(figure)?.as_f64()).collect();
    let least = values.iter().copied().reduce(f64::min)?;
    let most = values.iter().copied().reduce(f64::max)?;
    Some(json!({ "median": median(&values), "least": least, "most": most }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_runs_the_one_in_the_middle_is_told_and_how_far_the_others_lay() {
        let report = |delay: f64| json!({ "added_delay_us": { "p99": delay } });
        let reports = [report(40.0), report(9000.0), report(50.0)];
        let told = spread(&reports, "/added_delay_us/p99");
        assert_eq!(told, Some(json!({ "median": 50.0, "least": 40.0, "most": 9000.0 })));
        assert_eq!(spread(&reports, "/ratio_to_limit"), None);
    }
}
