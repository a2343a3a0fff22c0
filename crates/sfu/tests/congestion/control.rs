//! What is tried on the link: our estimator, and others behind the same few methods.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ringback_sfu::congestion::Estimator;
use rtc_interceptor::{BandwidthEstimator, Gcc, PacketReport};

/// An estimator as a flow drives it. Rates are in bits per second.
pub trait Control {
    fn on_sent(&mut self, now: Instant, sequence: u16, bytes: usize);
    fn on_feedback(&mut self, now: Instant, packets: &[(u16, Option<i64>)]);
    /// Each few milliseconds.
    fn tick(&mut self, now: Instant);
    /// Padding that should leave now, in bytes.
    fn padding(&mut self, now: Instant) -> usize;
    fn estimate(&self) -> f64;
    /// So much would be sent if the network took anything, in bits per second.
    fn want(&mut self, _desired: u64) {}
    /// How long packets stand in line, as far as it knows, in ms.
    fn line(&self) -> f64 {
        0.0
    }
    /// What to send.
    fn budget(&self) -> f64 {
        self.estimate()
    }
}

/// Ours.
pub struct Ours(pub Estimator);

impl Ours {
    pub fn new(now: Instant, desired: u64) -> Self {
        let mut estimator = Estimator::new(now);
        estimator.set_desired(desired);
        Self(estimator)
    }
}

impl Control for Ours {
    fn on_sent(&mut self, now: Instant, sequence: u16, bytes: usize) {
        self.0.on_sent(now, sequence, bytes);
    }

    fn on_feedback(&mut self, now: Instant, packets: &[(u16, Option<i64>)]) {
        self.0.on_feedback(now, packets.iter().copied());
    }

    fn tick(&mut self, now: Instant) {
        self.0.handle_timeout(now);
    }

    fn padding(&mut self, now: Instant) -> usize {
        self.0.padding(now)
    }

    fn want(&mut self, desired: u64) {
        self.0.set_desired(desired);
    }

    fn estimate(&self) -> f64 {
        self.0.estimate().unwrap() as f64
    }

    fn line(&self) -> f64 {
        self.0.queue_delay().as_secs_f64() * 1e3
    }

    fn budget(&self) -> f64 {
        self.0.budget().unwrap() as f64
    }
}

/// `rtc-interceptor`'s GCC, which has no probing.
pub struct Interceptor {
    gcc: Gcc,
    sent: VecDeque<PacketReport>,
}

impl Interceptor {
    pub fn new() -> Self {
        Self { gcc: Gcc::new(500_000.0, 40_000.0, 20_000_000.0), sent: VecDeque::new() }
    }
}

impl Control for Interceptor {
    fn on_sent(&mut self, now: Instant, sequence: u16, bytes: usize) {
        self.sent.push_back(PacketReport {
            ssrc: 1,
            id: 0,
            rtp_sequence_number: sequence,
            is_twcc: true,
            twcc_sequence_number: sequence,
            size: bytes,
            arrived: false,
            departure: now,
            arrival: None,
            ecn: Default::default(),
        });
    }

    fn on_feedback(&mut self, now: Instant, packets: &[(u16, Option<i64>)]) {
        let mut reports = Vec::new();
        for &(sequence, arrival) in packets {
            while let Some(first) = self.sent.front() {
                let distance = sequence.wrapping_sub(first.twcc_sequence_number) as i16;
                if distance < 0 {
                    break;
                }
                let Some(mut report) = self.sent.pop_front() else { break };
                if distance == 0 {
                    report.arrived = arrival.is_some();
                    report.arrival = arrival.map(|ticks| Duration::from_micros(ticks as u64 * 250));
                    reports.push(report);
                    break;
                }
            }
        }
        self.gcc.on_reports(now, &reports);
    }

    fn tick(&mut self, now: Instant) {
        self.gcc.handle_timeout(now);
    }

    fn padding(&mut self, _now: Instant) -> usize {
        0
    }

    fn estimate(&self) -> f64 {
        self.gcc.target_bitrate()
    }
}
