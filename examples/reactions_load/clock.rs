//! When what was reacted with, and when each receiver's counters say that it has arrived. The server counts in the order in which taps
//! reach it, so the n-th tap of an emoji has arrived where its counter says n; that mixes up neighbours sent within a millisecond.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::EMOJI;

/// Every so many receivers one's every delay is kept; of the others only that of the oldest in each tick, for the maximum.
const SAMPLE: usize = 20;

/// See the [module](self).
pub(crate) struct Clock {
    /// Of each emoji, when its taps were sent.
    sent: [Vec<Instant>; EMOJI.len()],
    marked: [usize; EMOJI.len()],
    /// Of each receiver, what its counters say.
    known: Vec<[u64; EMOJI.len()]>,
    names: HashMap<&'static str, usize>,
    delays: Vec<Duration>,
    longest: Duration,
    texts: u64,
    bytes: u64,
    refused: u64,
}

pub(crate) struct Report {
    pub(crate) sent: usize,
    pub(crate) refused: u64,
    pub(crate) missing: u64,
    pub(crate) texts: u64,
    pub(crate) bytes: u64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Clock {
    pub(crate) fn new(receivers: usize) -> Self {
        Self {
            sent: Default::default(),
            marked: Default::default(),
            known: vec![[0; EMOJI.len()]; receivers],
            names: EMOJI.iter().enumerate().map(|(at, emoji)| (*emoji, at)).collect(),
            delays: Vec::new(),
            longest: Duration::ZERO,
            texts: 0,
            bytes: 0,
            refused: 0,
        }
    }

    pub(crate) fn sent(&mut self, emoji: usize, now: Instant) {
        self.sent[emoji].push(now);
    }

    /// A text reached a receiver.
    pub(crate) fn heard(&mut self, receiver: usize, now: Instant, text: &[u8]) {
        let Ok(message) = serde_json::from_slice::<Value>(text) else { return };
        match message["type"].as_str() {
            Some("tick") => {}
            Some("refused") => return self.refused += 1,
            _ => return,
        }
        self.texts += 1;
        self.bytes += text.len() as u64;
        for entry in message["counts"].as_array().into_iter().flatten() {
            let (Some(&emoji), Some(total)) =
                (entry[0].as_str().and_then(|name| self.names.get(name)), entry[1].as_u64())
            else {
                continue;
            };
            let known = self.known[receiver][emoji].max(self.marked[emoji] as u64);
            let news = self.sent[emoji].get(known as usize..total as usize).unwrap_or_default();
            if let Some(oldest) = news.first() {
                self.longest = self.longest.max(now.saturating_duration_since(*oldest));
            }
            if receiver.is_multiple_of(SAMPLE) {
                self.delays.extend(news.iter().map(|sent| now.saturating_duration_since(*sent)));
            }
            let known = &mut self.known[receiver][emoji];
            *known = total.max(*known);
        }
    }

    /// What comes is measured from now on.
    pub(crate) fn mark(&mut self) {
        self.marked = std::array::from_fn(|emoji| self.sent[emoji].len());
        self.delays.clear();
        (self.longest, self.texts, self.bytes, self.refused) = (Duration::ZERO, 0, 0, 0);
    }

    pub(crate) fn report(&self) -> Report {
        let mut delays = self.delays.clone();
        delays.sort_unstable();
        let ms = |delay: Duration| (delay.as_secs_f64() * 10_000.0).round() / 10.0;
        let at = |share: f64| {
            delays
                .get(((delays.len() as f64 * share) as usize).min(delays.len().saturating_sub(1)))
                .copied()
                .map_or(0.0, ms)
        };
        let all: u64 = self.sent.iter().map(|sent| sent.len() as u64).sum();
        let slowest = self.known.iter().map(|known| known.iter().sum::<u64>()).min().unwrap_or_default();
        Report {
            sent: self.sent.iter().zip(&self.marked).map(|(sent, marked)| sent.len() - marked).sum(),
            refused: self.refused,
            missing: all.saturating_sub(slowest),
            texts: self.texts,
            bytes: self.bytes,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            max: ms(self.longest),
        }
    }
}
