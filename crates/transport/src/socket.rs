//! The UDP socket a media worker owns: batched receiving, and sending in trains. On Linux one `recvmmsg` brings up to 32
//! messages, each of which may be several datagrams that the kernel joined (`UDP_GRO`), and one `sendmmsg` carries trains
//! of same-size datagrams that the kernel or the network card takes apart (`UDP_SEGMENT`, "GSO"); elsewhere it is one call
//! a datagram. It knows nothing of what the datagrams hold, and it does not queue: what the kernel does not take at once
//! is dropped and counted, since late media is worth less than lost media.
//!
//! Where UDP does not come through there is TCP: `socket/stream.rs`.
//!
//! In steady state neither direction allocates: [`ReceiveBatch`] and [`SendArena`] own their memory from the start.

mod arena;
mod batch;
mod flush;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(any(not(target_os = "linux"), test))]
mod plain;
mod stream;

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

pub use arena::SendArena;
pub use batch::ReceiveBatch;
pub use flush::SendReport;
pub use stream::{AcceptedStream, Readiness, TcpListener, TcpStream};

use flush::TrainHealth;
#[cfg(target_os = "linux")]
use linux as platform;
#[cfg(not(target_os = "linux"))]
use plain as platform;

/// How a [`UdpSocket`] is set up. The defaults are for a media worker of some hundred participants on one core.
#[derive(Debug, Clone)]
pub struct SocketOptions {
    receive_buffer: usize,
    send_buffer: usize,
    trains: bool,
    sends_trains: bool,
    arrival_times: bool,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self { receive_buffer: 8 << 20, send_buffer: 4 << 20, trains: true, sends_trains: true, arrival_times: false }
    }
}

impl SocketOptions {
    /// Bytes asked for as `SO_RCVBUF`; 8 MiB unless told. A larger buffer survives longer pauses of the worker without
    /// loss, and keeps media waiting as long: at 200,000 packets a second of 1,200 bytes 8 MiB fill in about 35 ms (the
    /// kernel counts its own bookkeeping too). Linux silently caps this at `net.core.rmem_max` for a process
    /// without `CAP_NET_ADMIN`; see [`UdpSocket::receive_buffer`].
    #[must_use]
    pub fn with_receive_buffer(mut self, bytes: usize) -> Self {
        self.receive_buffer = bytes;
        self
    }

    /// Bytes asked for as `SO_SNDBUF`; 4 MiB unless told. It is the only queue between a worker and the network card: a
    /// larger one drops less of a burst and delays more of it. Linux caps this at `net.core.wmem_max`.
    #[must_use]
    pub fn with_send_buffer(mut self, bytes: usize) -> Self {
        self.send_buffer = bytes;
        self
    }

    /// Whether to send trains and receive joined datagrams where the kernel can; on unless told. Off is for comparing.
    #[must_use]
    pub fn with_trains(mut self, trains: bool) -> Self {
        self.trains = trains;
        self
    }

    /// Whether to send trains, wherever joined datagrams are received; on unless told. Off is what a browser sends.
    #[must_use]
    pub fn with_trains_sent(mut self, sends_trains: bool) -> Self {
        self.sends_trains = sends_trains;
        self
    }

    /// Whether the kernel tells of each datagram when it took it in ([`ReceiveBatch::arrivals`]), as it can on Linux; off unless told. For measuring: the difference from when it was
    /// read is how long it lay in the socket. While one socket of a machine has it on, every datagram that arrives there costs a look at the clock, some 25 ns.
    /// The kernel begins a moment after the first has asked; until then it tells when a datagram was read.
    #[must_use]
    pub fn with_arrival_times(mut self, arrival_times: bool) -> Self {
        self.arrival_times = arrival_times;
        self
    }
}

/// A bound, unconnected UDP socket on the current tokio runtime.
#[derive(Debug)]
pub struct UdpSocket {
    inner: platform::Registered,
    local: SocketAddr,
    health: TrainHealth,
    arrival_times: bool,
}

impl UdpSocket {
    /// Binds with the default [`SocketOptions`].
    ///
    /// # Errors
    /// Those of [`UdpSocket::bind_with`].
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        Self::bind_with(address, &SocketOptions::default())
    }

    /// Binds to `address`; port 0 takes a free one. An IPv6 socket takes IPv6 only, so that the same port can be bound for
    /// IPv4 beside it.
    ///
    /// # Errors
    /// What the system says: address in use, not this machine's, no permission for the port, no IPv6.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub fn bind_with(address: SocketAddr, options: &SocketOptions) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        platform::set_buffers(&socket, options.receive_buffer, options.send_buffer)?;
        let max_train = if options.trains { platform::enable_trains(&socket) } else { 1 };
        let max_train = if options.sends_trains { max_train } else { 1 };
        if options.arrival_times {
            platform::enable_arrival_times(&socket)?;
        }
        socket.bind(&address.into())?;
        let local = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        let inner = platform::register(socket)?;
        Ok(Self { inner, local, health: TrainHealth::new(max_train), arrival_times: options.arrival_times })
    }

    /// The bound address, with the port that was taken.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Bytes of receive buffer the kernel gave; Linux counts its own bookkeeping in, and reports twice what was asked.
    ///
    /// # Errors
    /// Only if the system refuses to tell.
    pub fn receive_buffer(&self) -> io::Result<usize> {
        SockRef::from(&self.inner).recv_buffer_size()
    }

    /// Whether several datagrams to one destination still travel as a train: the kernel can, and no run of failures has
    /// shown that the network card or the route cannot.
    pub fn sends_trains(&self) -> bool {
        self.health.max_train() > 1
    }

    /// Waits until there may be something to receive. Cancel safe.
    ///
    /// # Errors
    /// Only if the runtime is shutting down.
    pub async fn readable(&self) -> io::Result<()> {
        platform::readable(&self.inner).await
    }

    /// Receives what is waiting, up to one batch, without blocking; replaces what `batch` held. `Ok(0)` says that nothing
    /// is left and that [`UdpSocket::readable`] will wait. Otherwise the number of datagrams: call again, or come back to
    /// it, for `readable` returns at once as long as the socket was not drained.
    ///
    /// # Errors
    /// What the system says, such as lack of memory; the socket stays usable.
    pub fn try_receive(&self, batch: &mut ReceiveBatch) -> io::Result<usize> {
        batch.clear();
        loop {
            match platform::receive(&self.inner, batch, self.arrival_times) {
                Ok(()) => return Ok(batch.len()),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(0),
                    // Windows reports a peer's closed port here, on the socket that serves everybody else too.
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionReset => {}
                    _ => return Err(error),
                },
            }
        }
    }

    /// Sends everything in `arena` and leaves it empty. Never blocks and never fails as a whole: when the send buffer is
    /// full the rest is dropped; when one destination cannot be reached (no route, not permitted) only its datagrams are.
    /// Order is kept per destination.
    pub fn send(&self, arena: &mut SendArena) -> SendReport {
        flush::flush(arena, &self.health, &mut |arena, trains| platform::send(&self.inner, arena, trains))
    }
}
