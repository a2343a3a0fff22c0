//! What became of a flow, in a few numbers.

use std::fmt;

use super::flow::World;

#[derive(Debug, Clone, Copy, Default)]
pub struct Summary {
    /// What arrived, of what the link took or the flow could use.
    pub used: f64,
    /// Mean and 95th percentile of the queue before the link, in ms.
    pub queue: (f64, f64),
    /// The longest time that it was above 300 ms, in seconds.
    pub over_300: f64,
    /// The 95th percentile of each 100 ms's latest voice packet, in ms beyond an empty link.
    pub voice_late: f64,
    /// Voice packets that did not arrive.
    pub voice_lost: f64,
    /// Padding, of all that was sent.
    pub padding: f64,
    /// Changes of the layer per minute.
    pub changes: f64,
}

impl Summary {
    pub const HEADER: &'static str = "| network | estimator | used | queue mean / p95 ms | longest above 300 ms | voice late p95 ms | voice lost | padding | layer changes per min |\n|---|---|---|---|---|---|---|---|---|";

    pub fn of(world: &World, flow: usize) -> Self {
        let record = world.record(flow);
        let capacity: f64 = world.capacity.iter().map(|rate| rate.min(2_552_000.0)).sum();
        let (mut longest, mut run) = (0_u32, 0);
        for queue in &world.queue {
            run = if queue.is_some_and(|queue| queue > 300.0) { run + 1 } else { 0 };
            longest = longest.max(run);
        }
        let queues: Vec<f64> = world.queue.iter().flatten().copied().collect();
        Self {
            used: record.delivered.iter().sum::<f64>() / capacity,
            queue: (mean(&queues), p95(&queues)),
            over_300: f64::from(longest) / 100.0,
            voice_late: p95(&record.voice_delay),
            voice_lost: 1.0 - record.voice.1 as f64 / record.voice.0 as f64,
            padding: record.padding_bytes as f64 / record.bytes as f64,
            changes: record.changes.len() as f64 * 600.0 / record.estimates.len() as f64,
        }
    }

    pub fn mean(summaries: &[Self]) -> Self {
        let over = |value: fn(&Self) -> f64| summaries.iter().map(value).sum::<f64>() / summaries.len() as f64;
        Self {
            used: over(|s| s.used),
            queue: (over(|s| s.queue.0), over(|s| s.queue.1)),
            over_300: summaries.iter().map(|s| s.over_300).fold(0.0, f64::max),
            voice_late: over(|s| s.voice_late),
            voice_lost: over(|s| s.voice_lost),
            padding: over(|s| s.padding),
            changes: over(|s| s.changes),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { used, queue, over_300, voice_late, voice_lost, padding, changes } = self;
        write!(f, "{:.0} % | {:.0} / {:.0} | {over_300:.2} s | {voice_late:.0} | ", used * 100.0, queue.0, queue.1)?;
        write!(f, "{:.1} % | {:.1} % | {changes:.1} |", voice_lost * 100.0, padding * 100.0)
    }
}

pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The standard deviation, of the mean.
pub fn swing(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>();
    (squares / values.len() as f64).sqrt() / mean
}

pub fn p95(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(values.len() * 95 / 100).copied().unwrap_or(0.0)
}
