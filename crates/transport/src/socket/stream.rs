//! The TCP side of a media worker (RFC 6544): listeners, connections, and which of them have something to do. A worker
//! owns hundreds of connections and polls none in vain: each has a waker of its own that puts its [`Link`] on a list and
//! wakes whoever waits in [`Readiness::ready`]. Everything else happens without waiting. It knows nothing of frames or of
//! who is at the other end.
//!
//! The list costs a lock for each time that a connection becomes readable or writable again, not for each packet, and
//! nothing at all where there are no connections.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::sync::Notify;

use crate::path::Link;

/// Connections that the system takes in before they are accepted. A burst of them waits, and a flood is turned away there.
const BACKLOG: i32 = 256;

/// Bytes asked for as `SO_SNDBUF` of a connection. What waits there cannot be left out any more, so more means older media
/// after a stall; less than a round trip's worth slows the connection down: 128 KiB carry 10 Mb/s over 100 ms.
const SEND_BUFFER: usize = 128 << 10;

/// Which listeners and connections have something to do.
#[derive(Debug, Default)]
pub struct Readiness {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    ready: Mutex<VecDeque<Arc<Source>>>,
    notify: Notify,
}

impl Shared {
    fn ready(&self) -> MutexGuard<'_, VecDeque<Arc<Source>>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What wakes for one listener or connection.
#[derive(Debug)]
struct Source {
    link: Link,
    /// Whether it is on the list, so that it is there once.
    listed: AtomicBool,
    shared: Weak<Shared>,
}

impl Wake for Source {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.listed.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Some(shared) = self.shared.upgrade() {
            shared.ready().push_back(self.clone());
            shared.notify.notify_one();
        }
    }
}

impl Readiness {
    fn waker(&self, link: Link) -> Waker {
        let shared = Arc::downgrade(&self.shared);
        Waker::from(Arc::new(Source { link, listed: AtomicBool::new(false), shared }))
    }

    /// Waits until something may have something to do. Cancel safe.
    pub async fn ready(&self) {
        self.shared.notify.notified().await;
    }

    /// Takes the next that may have something to do: it may also be gone by now. Whoever is done with some and leaves others
    /// for later says so with [`stays_ready`](Self::stays_ready).
    #[must_use]
    pub fn next(&self) -> Option<Link> {
        let source = self.shared.ready().pop_front()?;
        // Before it is looked at: what comes up meanwhile lists it anew.
        source.listed.store(false, Ordering::Release);
        Some(source.link)
    }

    /// Lets the next [`ready`](Self::ready) return at once, if anything is left.
    pub fn stays_ready(&self) {
        if !self.shared.ready().is_empty() {
            self.shared.notify.notify_one();
        }
    }
}

/// A listening TCP socket on the current tokio runtime.
#[derive(Debug)]
pub struct TcpListener {
    inner: tokio::net::TcpListener,
    local: SocketAddr,
    waker: Waker,
}

impl TcpListener {
    /// Listens on `address`, and is known as `link` to `readiness`. An IPv6 socket takes IPv6 only.
    ///
    /// # Errors
    /// What the system says: address in use, not this machine's, no permission for the port, no IPv6.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub fn bind(address: SocketAddr, link: Link, readiness: &Readiness) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // Elsewhere this lets a restarted server have its port back at once; on Windows it would let anybody have it.
        #[cfg(not(windows))]
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let inner = tokio::net::TcpListener::from_std(socket.into())?;
        let listener = Self { local: inner.local_addr()?, inner, waker: readiness.waker(link) };
        listener.look_again();
        Ok(listener)
    }

    /// The bound address.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Accepts one connection. `None`: there is none, and the listener is on the list again when there is.
    ///
    /// # Errors
    /// What the system says, such as that no more files may be open. The listener is not on the list then.
    pub fn try_accept(&self) -> io::Result<Option<(AcceptedStream, SocketAddr)>> {
        match self.inner.poll_accept(&mut Context::from_waker(&self.waker)) {
            Poll::Ready(accepted) => accepted.map(|(stream, from)| Some((AcceptedStream(stream), from))),
            Poll::Pending => Ok(None),
        }
    }

    /// Puts the listener on the list.
    pub fn look_again(&self) {
        self.waker.wake_by_ref();
    }
}

/// A connection that has no number yet; dropping it closes it.
#[derive(Debug)]
pub struct AcceptedStream(tokio::net::TcpStream);

/// A TCP connection.
#[derive(Debug)]
pub struct TcpStream {
    inner: tokio::net::TcpStream,
    waker: Waker,
}

impl TcpStream {
    /// Takes up a connection, which is known as `link` to `readiness` from now on, and looked at first thing.
    ///
    /// # Errors
    /// When the system does not set its options, such as that it was reset meanwhile.
    pub fn new(accepted: AcceptedStream, link: Link, readiness: &Readiness) -> io::Result<Self> {
        let socket = SockRef::from(&accepted.0);
        // Media does not wait for more media.
        socket.set_tcp_nodelay(true)?;
        socket.set_send_buffer_size(SEND_BUFFER)?;
        let stream = Self { inner: accepted.0, waker: readiness.waker(link) };
        stream.look_again();
        Ok(stream)
    }

    /// Reads what has arrived. `Ok(Some(0))`: the peer sends no more. `Ok(None)`: nothing now, and the connection is on the
    /// list again when there is.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn try_read(&self, into: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match self.inner.try_read(into) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                done => return done.map(Some),
            }
            match self.inner.poll_read_ready(&mut Context::from_waker(&self.waker)) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => return Ok(None),
            }
        }
    }

    /// Writes as much as the system takes. Less than all of it: the connection is on the list again when it takes more.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        while written < bytes.len() {
            match self.inner.try_write(&bytes[written..]) {
                Ok(len) => {
                    written += len;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            match self.inner.poll_write_ready(&mut Context::from_waker(&self.waker)) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => break,
            }
        }
        Ok(written)
    }

    /// Puts the connection on the list.
    pub fn look_again(&self) {
        self.waker.wake_by_ref();
    }
}
