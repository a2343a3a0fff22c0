//! The link as a UDP relay before a server: each client address gets a socket of its own toward the server, as behind a NAT, and a
//! [`Link`] for each direction, or all share one pair as behind one access line. A driver: tokio's clock has milliseconds, so a
//! packet may leave up to one later than the model says. Meant for loopback; it admits whoever sends to it.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::link::{Link, LinkStatistics};
use crate::network::Network;

/// Datagrams that may wait between a socket and a link. More would hide a queue that the model does not know.
const CHANNEL: usize = 1024;

/// The most clients: their sockets are the process's file descriptors. Datagrams of further ones are ignored.
const MAX_CLIENTS: usize = 8192;

/// A client of an own link that was silent for so long is forgotten, as by a NAT; much longer than any WebRTC keepalive.
const IDLE: Duration = Duration::from_secs(120);

/// No UDP payload is larger.
const DATAGRAM: usize = 65_536;

/// What a relay is to do.
#[derive(Debug, Clone)]
pub struct RelayConfig {
    /// Where clients send to; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The server.
    pub to: SocketAddr,
    /// What is between them.
    pub network: Network,
    /// Of which every client's and direction's own seed is made.
    pub seed: u64,
    /// Whether all clients share one link, rate and queue included.
    pub shared: bool,
}

/// What a relay has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RelayStatistics {
    /// Client addresses seen.
    pub clients: usize,
    /// From the clients to the server.
    pub up: LinkStatistics,
    /// From the server to the clients.
    pub down: LinkStatistics,
}

/// A running relay. Dropped, it ends at once; [`stop`](Self::stop) says what it did.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    network: watch::Sender<(Instant, Network)>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<RelayStatistics>,
}

impl Relay {
    /// Starts a relay; its profile begins now.
    ///
    /// # Errors
    /// When `listen` cannot be bound.
    pub async fn start(config: RelayConfig) -> io::Result<Self> {
        let socket = Arc::new(UdpSocket::bind(config.listen).await?);
        let address = socket.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let (network, changes) = watch::channel((Instant::now(), config.network.clone()));
        let task = tokio::spawn(Front::new(config, socket, changes).run(stopped));
        Ok(Self { address, network, stop: Some(stop), task })
    }

    /// From now on another network is between all clients and the server, its profile at its beginning. What is under way goes on.
    pub fn change(&self, network: Network) {
        self.network.send_replace((Instant::now(), network));
    }

    /// Where clients send to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it; what is under way is lost.
    pub async fn stop(mut self) -> RelayStatistics {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        (&mut self.task).await.unwrap_or_default()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A datagram with the client it comes from or goes to.
#[derive(Debug, Clone)]
struct Datagram {
    client: SocketAddr,
    bytes: Vec<u8>,
}

impl AsRef<[u8]> for Datagram {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The socket that clients send to; it hands their datagrams to lanes.
struct Front {
    config: RelayConfig,
    socket: Arc<UdpSocket>,
    network: watch::Receiver<(Instant, Network)>,
    lanes: HashMap<SocketAddr, mpsc::Sender<Datagram>>,
    tasks: JoinSet<(LinkStatistics, LinkStatistics)>,
    statistics: RelayStatistics,
}

impl Front {
    fn new(config: RelayConfig, socket: Arc<UdpSocket>, network: watch::Receiver<(Instant, Network)>) -> Self {
        let statistics = RelayStatistics::default();
        Self { config, socket, network, lanes: HashMap::new(), tasks: JoinSet::new(), statistics }
    }

    async fn run(mut self, mut stopped: oneshot::Receiver<()>) -> RelayStatistics {
        let mut buffer = vec![0; DATAGRAM];
        loop {
            tokio::select! {
                _ = &mut stopped => break,
                received = self.socket.recv_from(&mut buffer) => {
                    // An error is a closed port of some client's.
                    let Ok((length, client)) = received else { continue };
                    self.hand_on(Datagram { client, bytes: buffer[..length].to_vec() });
                }
                Some(ended) = self.tasks.join_next() => self.count(ended.unwrap_or_default()),
            }
        }
        self.lanes.clear();
        while let Some(ended) = self.tasks.join_next().await {
            self.count(ended.unwrap_or_default());
        }
        self.statistics
    }

    fn hand_on(&mut self, datagram: Datagram) {
        let client = datagram.client;
        if self.lanes.get(&client).is_none_or(mpsc::Sender::is_closed) {
            if self.lanes.len() >= MAX_CLIENTS {
                self.lanes.retain(|_, lane| !lane.is_closed());
            }
            if self.lanes.len() >= MAX_CLIENTS {
                return;
            }
            let open = self.lanes.values().find(|lane| self.config.shared && !lane.is_closed()).cloned();
            let lane = open.unwrap_or_else(|| self.open_lane());
            self.statistics.clients += 1;
            self.lanes.insert(client, lane);
        }
        if let Some(lane) = self.lanes.get(&client) {
            // A full channel is a relay that cannot keep up: lost, as in a full socket buffer.
            let _ = lane.try_send(datagram);
        }
    }

    fn open_lane(&mut self) -> mpsc::Sender<Datagram> {
        let (sender, receiver) = mpsc::channel(CHANNEL);
        // Clients in order of coming: the same order, the same dice.
        let seed =
            self.config.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(2 * self.statistics.clients as u64);
        let mut network = self.network.clone();
        let (origin, Network { up, down, .. }) = network.borrow_and_update().clone();
        let lane = Lane {
            to: self.config.to,
            downstream: self.socket.clone(),
            up: Link::new(up, seed).with_origin(origin),
            down: Link::new(down, seed + 1).with_origin(origin),
            network,
            upstreams: HashMap::new(),
            readers: JoinSet::new(),
        };
        self.tasks.spawn(lane.run(receiver, (!self.config.shared).then_some(IDLE)));
        sender
    }

    fn count(&mut self, (up, down): (LinkStatistics, LinkStatistics)) {
        self.statistics.up.add(&up);
        self.statistics.down.add(&down);
    }
}

/// The two links of one client, or of all.
struct Lane {
    to: SocketAddr,
    downstream: Arc<UdpSocket>,
    up: Link<Datagram>,
    down: Link<Datagram>,
    network: watch::Receiver<(Instant, Network)>,
    upstreams: HashMap<SocketAddr, Arc<UdpSocket>>,
    readers: JoinSet<()>,
}

impl Lane {
    async fn run(
        mut self,
        mut from_clients: mpsc::Receiver<Datagram>,
        idle: Option<Duration>,
    ) -> (LinkStatistics, LinkStatistics) {
        let (to_lane, mut from_server) = mpsc::channel(CHANNEL);
        let mut heard = Instant::now();
        loop {
            let due = [self.up.poll_timeout(), self.down.poll_timeout(), idle.map(|idle| heard + idle)];
            let due = due.into_iter().flatten().min();
            tokio::select! {
                datagram = from_clients.recv() => {
                    let Some(datagram) = datagram else { break };
                    heard = Instant::now();
                    if self.open(datagram.client, &to_lane).await {
                        self.up.send(heard, datagram);
                    }
                }
                Some(datagram) = from_server.recv() => self.down.send(Instant::now(), datagram),
                // Without the relay's handle nothing changes any more, and the relay ends.
                Ok(()) = self.network.changed() => {
                    let (at, Network { up, down, .. }) = self.network.borrow_and_update().clone();
                    self.up.change(at, up);
                    self.down.change(at, down);
                }
                () = sleep_until(due) => {
                    if idle.is_some_and(|idle| heard.elapsed() >= idle) {
                        break;
                    }
                }
            }
            let now = Instant::now();
            while let Some((_, datagram)) = self.up.poll(now) {
                if let Some(upstream) = self.upstreams.get(&datagram.client) {
                    let _ = upstream.send_to(&datagram.bytes, self.to).await;
                }
            }
            while let Some((_, datagram)) = self.down.poll(now) {
                let _ = self.downstream.send_to(&datagram.bytes, datagram.client).await;
            }
        }
        (self.up.statistics(), self.down.statistics())
    }

    /// Makes sure that a client has a socket toward the server.
    async fn open(&mut self, client: SocketAddr, to_lane: &mpsc::Sender<Datagram>) -> bool {
        if self.upstreams.contains_key(&client) {
            return true;
        }
        // Of the server's family, and on loopback where the server is.
        let any = match self.to {
            SocketAddr::V4(to) if to.ip().is_loopback() => SocketAddr::from(([127, 0, 0, 1], 0)),
            SocketAddr::V4(_) => SocketAddr::from(([0, 0, 0, 0], 0)),
            SocketAddr::V6(to) if to.ip().is_loopback() => SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), 0),
            SocketAddr::V6(_) => SocketAddr::new(std::net::Ipv6Addr::UNSPECIFIED.into(), 0),
        };
        let Ok(upstream) = UdpSocket::bind(any).await.map(Arc::new) else { return false };
        self.upstreams.insert(client, upstream.clone());
        let (to_lane, server) = (to_lane.clone(), self.to);
        self.readers.spawn(async move {
            let mut buffer = vec![0; DATAGRAM];
            loop {
                let Ok((length, from)) = upstream.recv_from(&mut buffer).await else { continue };
                if from != server {
                    continue;
                }
                match to_lane.try_send(Datagram { client, bytes: buffer[..length].to_vec() }) {
                    Err(mpsc::error::TrySendError::Closed(_)) => return,
                    Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => {}
                }
            }
        });
        true
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
