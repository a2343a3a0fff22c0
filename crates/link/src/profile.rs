//! What a link does to packets, and how that changes over time: [`Conditions`] hold for a stage, a [`Profile`] is a row of stages. Plain
//! values.

use std::time::Duration;

use crate::loss::GilbertElliott;

/// The figures of one direction for some time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conditions {
    /// One way, without queueing.
    pub delay: Duration,
    /// The mean of what is added to `delay`, drawn anew for each packet from an exponential distribution that is cut at eight
    /// times the mean. It never reorders: a packet waits for the one before it.
    pub jitter: Duration,
    /// The share of packets that are held back by `reorder_by` while later ones overtake them.
    pub reorder: f64,
    /// How long those are held back.
    pub reorder_by: Duration,
    /// What is lost behind the queue, on the air.
    pub loss: GilbertElliott,
    /// The share of packets that arrive twice.
    pub duplicate: f64,
    /// Bits per second, headers of IP and UDP included. `None`: no limit and no queue. Zero: nothing leaves the queue, as in an outage.
    pub rate: Option<u64>,
    /// Bytes that may leave at once after a pause. At least one packet of 1,500 bytes.
    pub burst: usize,
    /// Bytes that may wait; what comes when they do not fit is dropped (drop-tail).
    pub queue: usize,
}

impl Conditions {
    /// Nothing happens to packets.
    pub const PERFECT: Self = Self {
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        reorder: 0.0,
        reorder_by: Duration::ZERO,
        loss: GilbertElliott::NONE,
        duplicate: 0.0,
        rate: None,
        burst: 1500,
        queue: 0,
    };

    /// Perfect but for a one-way delay and the mean of its jitter.
    pub const fn delayed(delay: Duration, jitter: Duration) -> Self {
        Self { delay, jitter, ..Self::PERFECT }
    }

    /// With a rate in bits per second, and a queue that takes `queue` to drain at that rate.
    #[must_use]
    pub const fn with_rate(mut self, rate: u64, queue: Duration) -> Self {
        self.rate = Some(rate);
        self.queue = (rate as u128 * queue.as_millis() / 8000) as usize;
        self
    }

    /// With this loss.
    #[must_use]
    pub const fn with_loss(mut self, loss: GilbertElliott) -> Self {
        self.loss = loss;
        self
    }

    /// With nothing getting through for as long as it holds. What fits into `queue` bytes waits, the rest is lost.
    #[must_use]
    pub const fn with_outage(mut self, queue: usize) -> Self {
        self.rate = Some(0);
        self.queue = queue;
        self
    }

    /// With this share of packets held back while others overtake them.
    #[must_use]
    pub const fn with_reordering(mut self, share: f64, by: Duration) -> Self {
        self.reorder = share;
        self.reorder_by = by;
        self
    }

    /// With this share of packets arriving twice.
    #[must_use]
    pub const fn with_duplication(mut self, share: f64) -> Self {
        self.duplicate = share;
        self
    }

    /// The burst that is used: a packet must be able to leave.
    pub(crate) fn burst(&self) -> usize {
        self.burst.max(1500)
    }
}

/// One direction's conditions over time, counted from the link's beginning.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Each stage with its length; empty stages are left out. Never empty.
    stages: Vec<(Duration, Conditions)>,
    repeats: bool,
}

impl Profile {
    /// The same from beginning to end.
    pub fn constant(conditions: Conditions) -> Self {
        Self { stages: vec![(Duration::MAX, conditions)], repeats: false }
    }

    /// One stage after the other, the last one for ever. Without any, a perfect link.
    pub fn stages(stages: impl IntoIterator<Item = (Duration, Conditions)>) -> Self {
        let stages: Vec<_> = stages.into_iter().filter(|(length, _)| !length.is_zero()).collect();
        match stages.is_empty() {
            true => Self::constant(Conditions::PERFECT),
            false => Self { stages, repeats: false },
        }
    }

    /// Begins anew after the last stage.
    #[must_use]
    pub fn repeating(mut self) -> Self {
        self.repeats = true;
        self
    }

    /// The conditions after `elapsed`, and when they end, if they do.
    pub fn at(&self, elapsed: Duration) -> (&Conditions, Option<Duration>) {
        let length = self.stages.iter().fold(Duration::ZERO, |sum, (length, _)| sum.saturating_add(*length));
        let rounds = match self.repeats && length < Duration::MAX {
            true => (elapsed.as_nanos() / length.as_nanos()) as u32,
            false => 0,
        };
        let mut end = length.saturating_mul(rounds);
        let last = self.stages.len().saturating_sub(1);
        for (index, (length, conditions)) in self.stages.iter().enumerate() {
            end = end.saturating_add(*length);
            if index == last && !self.repeats {
                return (conditions, None);
            }
            if elapsed < end {
                return (conditions, Some(end));
            }
        }
        (&Conditions::PERFECT, None)
    }

    /// Every stage with its length.
    pub fn iter(&self) -> impl Iterator<Item = &(Duration, Conditions)> {
        self.stages.iter()
    }
}
