//! A media worker: one task that owns UDP sockets, TCP listeners on the same ports, the connections on them and their rooms. Nothing is
//! shared with other tasks: commands come in and events go out over bounded channels, so that the packet path needs no lock.
//! `worker/driver.rs` is the loop, `worker/handle.rs` the other end of the channel. Negotiation runs on the caller's task, so that a
//! long offer delays nobody's media.

mod busy;
mod deadlines;
mod delay;
mod driver;
mod endpoint;
mod handle;
mod outbox;
mod peer;
mod relay;
mod routes;
mod shards;
mod streams;
#[cfg(test)]
mod tests;
mod thread;

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringback_transport::dtls::Certificate;
use ringback_transport::path::Link;
use ringback_transport::sdp::CodecPreferences;
use ringback_transport::socket::{Readiness, TcpListener, UdpSocket};
use ringback_transport::srtp::GcmLibrary;
use tokio::sync::{Notify, mpsc};

use crate::error::SfuError;
use crate::events::{EventQueue, SfuEvent};

pub use delay::{DELAY_BOUNDS, Delays};
pub use handle::{JoinOffer, Joined, WorkerHandle};

/// Sockets of one worker: IPv4 and IPv6, and one more of each for a second network.
const MAX_SOCKETS: usize = 4;

/// Commands that wait at most. A full channel makes the caller wait, not the media.
const COMMANDS: usize = 256;

/// What one worker takes on at most.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// Rooms open at the same time.
    pub rooms: usize,
    /// Participants in all rooms together.
    pub participants: usize,
    /// Events that wait for the engine before they are merged.
    pub events: usize,
    /// Threads that decode voices whose client tells no levels; they begin with the first such voice. 0: those voices are never on the
    /// stage.
    pub decoder_threads: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rooms: 10_000, participants: 5_000, events: 1024, decoder_threads: 2 }
    }
}

/// How packets to one participant are made to travel together: as a train of datagrams of one size, which the system takes at the price of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trains {
    /// Whether packets that differ by a few bytes are filled up with RTP padding to one size: at most a twentieth more bytes, and only for those
    /// who have negotiated what probing with padding takes and whose network has room. Unless told, they are.
    pub levelling: bool,
    /// How long a voice may wait for others to the same listeners, so that the loudest of a room leave as one train; at most 5 ms. Zero, unless told: not at all. It is heard as
    /// much later, and rooms in which many listen cost less by it. Pictures never wait. The clock behind it ticks in milliseconds.
    pub voice_wait: Duration,
}

impl Default for Trains {
    fn default() -> Self {
        Self { levelling: true, voice_wait: Duration::ZERO }
    }
}

/// How a worker is set up.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Where its sockets are bound: one IPv4 and/or one IPv6 address; port 0 takes a free one.
    pub bind: Vec<SocketAddr>,
    /// The addresses that answers announce, with the bound ports: what clients can reach. Empty: the bound addresses.
    pub announce: Vec<IpAddr>,
    /// The certificate of all its connections.
    pub certificate: Certificate,
    /// Whether it takes TCP connections on the same ports (ICE-TCP, RFC 6544), for clients whose network lets no UDP out; unless told,
    /// it does.
    pub ice_tcp: bool,
    /// What it takes on at most.
    pub limits: Limits,
    /// The codecs that its rooms take.
    pub codecs: CodecPreferences,
    /// How packets are made to travel together.
    pub trains: Trains,
    /// Whose AES-GCM protects media; `None`: the faster one, which the process finds out once, in about two milliseconds.
    pub gcm: Option<GcmLibrary>,
}

impl WorkerConfig {
    /// A worker on these addresses, UDP and TCP, with the default limits and codecs.
    #[must_use]
    pub fn new(bind: Vec<SocketAddr>, certificate: Certificate) -> Self {
        Self {
            bind,
            announce: Vec::new(),
            certificate,
            ice_tcp: true,
            limits: Limits::default(),
            codecs: CodecPreferences::default(),
            trains: Trains::default(),
            gcm: None,
        }
    }
}

/// What a worker has counted since it began, and what it holds now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerStatistics {
    /// Open rooms.
    pub rooms: usize,
    /// Participants in them.
    pub participants: usize,
    /// TCP connections.
    pub streams: usize,
    /// TCP connections that were ended before they had proved to be a participant's.
    pub streams_refused: u64,
    /// Times that so much waited for a TCP connection that video was left out.
    pub streams_congested: u64,
    /// Datagrams received, and packets over TCP.
    pub datagrams_received: u64,
    /// Datagrams that belong to no connection: garbage, strangers, the departed.
    pub datagrams_unrouted: u64,
    /// Datagrams that a connection refused: forged, replayed, malformed, from an unvalidated address.
    pub datagrams_refused: u64,
    /// Unauthenticated work put off because media goes first, and then dropped.
    pub handshakes_dropped: u64,
    /// RTP packets taken in.
    pub packets_received: u64,
    /// RTP packets queued for subscribers.
    pub packets_forwarded: u64,
    /// RTP packets that could not be sealed or queued.
    pub packets_unsent: u64,
    /// Rooms that span other workers too.
    pub rooms_shared: usize,
    /// RTP packets handed to other workers, and reports: one for each of them.
    pub packets_relayed: u64,
    /// … that were dropped, because the other worker was too far behind.
    pub relays_dropped: u64,
    /// RTP packets that came from other workers.
    pub packets_from_shards: u64,
    /// Datagrams the system took.
    pub datagrams_sent: u64,
    /// Trains in which it took them; a datagram for itself counts as one.
    pub trains_sent: u64,
    /// Bytes of padding that let packets travel in one train.
    pub padding_sent: u64,
    /// Datagrams the system did not take: its buffer was full.
    pub datagrams_dropped: u64,
    /// Rooms and connections that a bug ended.
    pub panics: u64,
    /// Data-channel messages dropped because the engine did not take them.
    pub data_dropped: u64,
    /// Participants whose network is measured, by their transport-wide feedback.
    pub networks_measured: usize,
    /// What these networks take together, in bits per second.
    pub bandwidth: u64,
    /// How long it had packets in its hands, batch by batch.
    pub delays: Delays,
    /// Whose AES-GCM protects media.
    pub gcm: GcmLibrary,
    /// Voice packets that were decoded, because their client tells no levels or is not believed.
    pub voices_decoded: u64,
}

/// A media worker. Only a name for [`Worker::spawn`].
#[derive(Debug)]
pub struct Worker;

impl Worker {
    /// Binds the sockets and starts the task on the current tokio runtime. It ends with [`WorkerHandle::shutdown`], or when every handle is gone.
    ///
    /// # Errors
    /// When a socket cannot be bound, or nothing could be announced.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time enabled.
    pub fn spawn(config: WorkerConfig) -> Result<(WorkerHandle, mpsc::Receiver<SfuEvent>), SfuError> {
        let (driver, handle, events) = Self::prepare(config)?;
        tokio::spawn(driver.run());
        Ok((handle, events))
    }

    /// Binds everything, on the runtime that the driver is to run on.
    fn prepare(config: WorkerConfig) -> Result<(driver::Driver, WorkerHandle, mpsc::Receiver<SfuEvent>), SfuError> {
        if config.bind.is_empty() || config.bind.len() > MAX_SOCKETS {
            return Err(SfuError::Configuration("`bind` needs one to four addresses"));
        }
        let gcm = config.gcm.unwrap_or_else(GcmLibrary::fastest);
        let readiness = Readiness::default();
        let (mut sockets, mut listeners) = (Vec::with_capacity(config.bind.len()), Vec::new());
        for (address, index) in config.bind.iter().zip(0..) {
            let listen = config.ice_tcp.then_some((Link::socket(index), &readiness));
            let (socket, listener) = bind(*address, listen)?;
            sockets.push(socket);
            listeners.extend(listener);
        }
        let bound: Vec<SocketAddr> = sockets.iter().map(UdpSocket::local_addr).collect();
        let candidates = candidates(&bound, &config.announce)?;
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (events, receiver) = EventQueue::new(config.limits.events.max(1));
        let busy = Arc::new(busy::Busy::new(Instant::now()));
        let statistics = WorkerStatistics { gcm, ..WorkerStatistics::default() };
        let streams = streams::Streams::new(listeners, readiness);
        let wake = Arc::new(Notify::new());
        let driver =
            driver::Driver::new(sockets, streams, inbox, events, (busy.clone(), wake.clone()), &config, statistics);
        let shared = handle::Shared {
            bound,
            candidates,
            ice_tcp: config.ice_tcp,
            certificate: config.certificate,
            codecs: config.codecs,
            gcm,
            busy,
            wake,
        };
        Ok((driver, WorkerHandle::new(commands, Arc::new(shared)), receiver))
    }
}

/// Free ports that are tried until one is free for TCP as well, where any will do.
const FREE_PORTS: usize = 16;

/// Binds a UDP socket and, where wanted, a TCP listener on its port.
fn bind(address: SocketAddr, listen: Option<(Link, &Readiness)>) -> Result<(UdpSocket, Option<TcpListener>), SfuError> {
    let mut tried = 0;
    loop {
        let socket = UdpSocket::bind(address).map_err(|source| SfuError::Bind { address, source })?;
        let Some((link, readiness)) = listen else { return Ok((socket, None)) };
        tried += 1;
        let bound = socket.local_addr();
        match TcpListener::bind(bound, link, readiness) {
            Ok(listener) => return Ok((socket, Some(listener))),
            Err(error) if address.port() == 0 && error.kind() == ErrorKind::AddrInUse && tried < FREE_PORTS => {}
            Err(source) => return Err(SfuError::BindTcp { address: bound, source }),
        }
    }
}

/// What answers announce: each announced address with the port of a socket of its family, or the bound addresses.
fn candidates(bound: &[SocketAddr], announce: &[IpAddr]) -> Result<Vec<SocketAddr>, SfuError> {
    if announce.is_empty() {
        if bound.iter().any(|address| address.ip().is_unspecified()) {
            return Err(SfuError::Configuration(
                "a socket bound to every address needs `announce`: clients cannot connect to 0.0.0.0",
            ));
        }
        return Ok(bound.to_vec());
    }
    let with_port = |ip: &IpAddr| {
        let socket = bound.iter().find(|address| address.is_ipv4() == ip.is_ipv4())?;
        Some(SocketAddr::new(*ip, socket.port()))
    };
    announce
        .iter()
        .map(with_port)
        .collect::<Option<Vec<_>>>()
        .ok_or(SfuError::Configuration("`announce` has an address of a family that no socket is bound to"))
}
