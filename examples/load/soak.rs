//! The long run: one load in many slices, and what must not change from slice to slice: the server's memory and the packets' delay. The first half
//! is not judged: pools, databases and allocators fill in it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::run::{Coming, Load, While};

/// How many slices a run has, and how short one may be.
const SLICES: u32 = 60;
const SHORTEST: Duration = Duration::from_secs(5);

/// By how much memory may grow from the third quarter to the last: what allocators keep varies by about as much.
const GROWTH: f64 = 1.03;

/// By how much the median delay may, and what is too little to tell from the machine's moods.
const DRIFT: f64 = 1.5;
const MOOD_US: f64 = 200.0;

/// Runs it; the slices' figures with what was found wrong, and the last slice.
pub(crate) async fn run(load: &mut Load, time: Duration, replaced: u32) -> anyhow::Result<(Value, While)> {
    let slice = (time / SLICES).max(SHORTEST);
    let count = (time.as_secs_f64() / slice.as_secs_f64()).round().max(4.0) as usize;
    let (mut memory, mut delay, mut shares, mut wrong) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut received, mut missing, mut joins, mut opened) = (0, 0, 0, 0);
    let mut last = None;
    for number in 0..count {
        let of = load.measure(slice, replaced, Coming::New).await?;
        memory.push(of.rss as f64);
        delay.push(of.delay().p50);
        shares.push(of.cpu_share());
        (received, missing) = (received + of.tally.received, missing + of.tally.missing);
        (joins, opened) = (joins + of.joins(), opened + of.tally.opened);
        if of.tally.wrong > 0 {
            wrong.push(format!("slice {number}: {} packets did not hold what was sent", of.tally.wrong));
        }
        wrong.extend(of.tally.failed.iter().take(3).map(|failure| format!("slice {number}: {failure}")));
        eprintln!(
            "slice {} of {count}: {:.1} MiB, delay p50 {:.0} µs, {} of a core, {} joins",
            number + 1,
            of.rss as f64 / f64::from(1 << 20),
            of.delay().p50,
            of.cpu_share(),
            of.joins()
        );
        last = Some(of);
    }
    wrong.extend(judge(&memory, &delay));
    let report = json!({
        "slices": count,
        "slice_seconds": slice.as_secs_f64(),
        "received": received,
        "missing_in_sequence": missing,
        "sampled": opened,
        "joins": joins,
        "rss_bytes": memory,
        "delay_p50_us": delay,
        "cpu_share": shares,
        "wrong": wrong,
    });
    let last = last.ok_or_else(|| anyhow::anyhow!("a run without slices"))?;
    Ok((report, last))
}

/// What has changed from the third quarter to the last.
fn judge(memory: &[f64], delay: &[f64]) -> Vec<String> {
    let quarter = (memory.len() / 4).max(1);
    let last_two = |values: &[f64]| {
        let at = values.len() - quarter;
        (median(&values[at.saturating_sub(quarter)..at]), median(&values[at..]))
    };
    let mut wrong = Vec::new();
    let (before, after) = last_two(memory);
    if after > before * GROWTH {
        wrong.push(format!("memory has grown from {before} to {after} bytes"));
    }
    let (before, after) = last_two(delay);
    if after > before * DRIFT + MOOD_US {
        wrong.push(format!("the median delay has grown from {before} to {after} µs"));
    }
    wrong
}

pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growing_memory_and_delay_are_found_and_a_rough_start_is_not_held_against_a_run() {
        let flat = [100.0; 12];
        let rising: Vec<f64> = (0..12).map(|slice| 100.0 + 4.0 * f64::from(slice)).collect();
        let rough: Vec<f64> = (0..12).map(|slice| if slice < 6 { f64::from(slice) * 16.0 } else { 100.0 }).collect();
        assert!(judge(&flat, &flat).is_empty() && judge(&rough, &flat).is_empty());
        assert_eq!(judge(&rising, &flat).len(), 1);
        let slow: Vec<f64> = flat.iter().enumerate().map(|(at, _)| if at < 9 { 100.0 } else { 900.0 }).collect();
        assert_eq!(judge(&flat, &slow).len(), 1);
    }
}
