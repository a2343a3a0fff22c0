//! A network of addresses on virtual time: datagrams arrive after a delay with jitter, or are lost, as a seed decides.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

#[derive(Debug, Clone)]
pub struct Datagram {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub bytes: Vec<u8>,
}

pub struct Link {
    rng: StdRng,
    pub loss: f64,
    pub delay: Duration,
    pub jitter: Duration,
    /// Whose datagrams are all lost.
    pub silenced: Option<SocketAddr>,
    in_flight: Vec<(Instant, u64, Datagram)>,
    sent: u64,
}

impl Link {
    pub fn new(seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            loss: 0.0,
            delay: Duration::from_millis(10),
            jitter: Duration::from_millis(1),
            silenced: None,
            in_flight: Vec::new(),
            sent: 0,
        }
    }

    pub fn with_loss(mut self, loss: f64) -> Self {
        self.loss = loss;
        self
    }

    pub fn send(&mut self, now: Instant, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let lost = self.rng.random::<f64>() < self.loss || self.silenced == Some(from);
        let delay = self.delay + self.jitter.mul_f64(self.rng.random());
        self.sent += 1;
        if !lost {
            self.in_flight.push((now + delay, self.sent, Datagram { from, to, bytes: bytes.to_vec() }));
        }
    }

    pub fn next_arrival(&self) -> Option<Instant> {
        self.in_flight.iter().map(|(at, ..)| *at).min()
    }

    /// What has arrived by `now`, in order of arrival.
    pub fn arrivals(&mut self, now: Instant) -> Vec<Datagram> {
        let mut arrived: Vec<_> = self.in_flight.extract_if(.., |(at, ..)| *at <= now).collect();
        arrived.sort_by_key(|(at, sent, _)| (*at, *sent));
        arrived.into_iter().map(|(.., datagram)| datagram).collect()
    }
}
