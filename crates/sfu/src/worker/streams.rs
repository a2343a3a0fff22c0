//! The TCP connections of a worker (RFC 6544): strangers, of whom there are few and not for long, and those by which a
//! participant is reached, each with a bounded queue (RFC 4571 framing) in front of its socket. Whose a connection is, is
//! decided by ICE, in the driver; here nothing of a packet is read.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use ringback_transport::framing::{FrameQueue, FrameReader, QueueLimits};
use ringback_transport::path::{Link, Path};
use ringback_transport::socket::{AcceptedStream, Readiness, TcpListener, TcpStream};
use slab::Slab;

use super::WorkerStatistics;
use super::routes::Place;

/// Connections accepted in one round. Each costs some 20 µs, during which media waits; the system keeps the rest.
const ACCEPTS_PER_ROUND: usize = 16;

/// Connections that have not proved anything, all together. When one more comes the oldest goes: in a flood, those who say
/// who they are at once still get in.
const STRANGERS: usize = 256;

/// … and of one address, or one IPv6 /64: a company behind one NAT that joins at once, but nobody fills the list alone.
const STRANGERS_EACH: usize = 32;

/// How long a connection may take for its first whole packet, however many bytes of it come: a browser sends it at once.
const PROOF_WITHIN: Duration = Duration::from_secs(5);

/// Connections of one participant: a browser opens one for each of its addresses and each of ours. The oldest goes first.
const STREAMS_EACH: usize = 8;

/// How often is looked for connections whose time is up.
pub(super) const SWEEP: Duration = Duration::from_secs(1);

/// What may wait for one connection: 192 KiB are a second of good video. Less would cut off video at every keyframe, more
/// would show older pictures after a stall. 64 KiB above that are for what cannot be left out, such as seconds of voices.
const QUEUE: QueueLimits = QueueLimits { congested: 192 << 10, relieved: 48 << 10, full: 256 << 10 };

/// A TCP connection.
#[derive(Debug)]
struct Stream {
    link: Link,
    socket: TcpStream,
    remote: SocketAddr,
    since: Instant,
    reader: FrameReader,
    /// `None`: a stranger.
    member: Option<Member>,
    /// It could not be written to.
    broken: bool,
}

/// What a connection has once it belongs to a participant.
#[derive(Debug)]
struct Member {
    place: Place,
    queue: FrameQueue,
    /// Whether it is among those to be written to.
    listed: bool,
}

/// The TCP side of a worker.
#[derive(Debug)]
pub(super) struct Streams {
    readiness: Readiness,
    listeners: Vec<TcpListener>,
    streams: Slab<Stream>,
    generation: NonZeroU32,
    /// Those that have not proved anything, oldest first.
    strangers: VecDeque<Link>,
    /// Those with something to write.
    waiting: Vec<Link>,
    /// How many are congested; most of the time none is, and then nothing needs to be looked up.
    congested: usize,
}

impl Streams {
    pub(super) fn new(listeners: Vec<TcpListener>, readiness: Readiness) -> Self {
        Self {
            readiness,
            listeners,
            streams: Slab::new(),
            generation: NonZeroU32::MIN,
            strangers: VecDeque::with_capacity(STRANGERS),
            waiting: Vec::new(),
            congested: 0,
        }
    }

    /// Waits until a listener or a connection has something to do.
    pub(super) async fn ready(&self) {
        self.readiness.ready().await;
    }

    /// The next listener or connection that has something to do.
    pub(super) fn next_ready(&self) -> Option<Link> {
        self.readiness.next()
    }

    /// What was not taken up waits for the next round.
    pub(super) fn stay_ready(&self) {
        self.readiness.stays_ready();
    }

    fn get(&self, link: Link) -> Option<&Stream> {
        self.streams.get(link.index()).filter(|stream| stream.link == link)
    }

    fn get_mut(&mut self, link: Link) -> Option<&mut Stream> {
        self.streams.get_mut(link.index()).filter(|stream| stream.link == link)
    }

    /// Connections, strangers among them.
    pub(super) fn len(&self) -> usize {
        self.streams.len()
    }

    /// Accepts what waits at a listener. Returns `false` when the system refuses for now: look again later.
    pub(super) fn accept(&mut self, listener: Link, now: Instant, statistics: &mut WorkerStatistics) -> bool {
        for _ in 0..ACCEPTS_PER_ROUND {
            match self.listeners.get(listener.index()).map(TcpListener::try_accept) {
                Some(Ok(Some((accepted, remote)))) => self.take_in(accepted, remote, now, statistics),
                Some(Ok(None)) | None => return true,
                Some(Err(error)) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Some(Err(error)) => {
                    tracing::warn!(%error, "a media connection could not be accepted");
                    return false;
                }
            }
        }
        self.look_at_listeners();
        true
    }

    /// Puts the listeners among those that may have something to do.
    pub(super) fn look_at_listeners(&self) {
        self.listeners.iter().for_each(TcpListener::look_again);
    }

    fn take_in(
        &mut self,
        accepted: AcceptedStream,
        remote: SocketAddr,
        now: Instant,
        statistics: &mut WorkerStatistics,
    ) {
        let from = network(remote.ip());
        let theirs = self.strangers.iter().filter_map(|&link| self.get(link));
        if theirs.filter(|stream| network(stream.remote.ip()) == from).count() >= STRANGERS_EACH {
            statistics.streams_refused += 1;
            return;
        }
        if self.strangers.len() >= STRANGERS
            && let Some(oldest) = self.strangers.front().copied()
        {
            self.close(oldest, statistics);
        }
        let entry = self.streams.vacant_entry();
        let Ok(index) = u32::try_from(entry.key()) else { return };
        let link = Link::stream(index, self.generation);
        self.generation = self.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        let Ok(socket) = TcpStream::new(accepted, link, &self.readiness) else { return };
        let reader = FrameReader::new();
        entry.insert(Stream { link, socket, remote, since: now, reader, member: None, broken: false });
        self.strangers.push_back(link);
    }

    /// The path by which a connection's packets come. `None`: it is gone.
    pub(super) fn path(&self, link: Link) -> Option<Path> {
        self.get(link).map(|stream| Path::new(stream.remote, link))
    }

    /// Whose a connection is.
    pub(super) fn owner(&self, link: Link) -> Option<Place> {
        Some(self.get(link)?.member.as_ref()?.place)
    }

    /// A connection proved to be this participant's. `links` are the participant's own notes; returns the one that had to go
    /// for it. `current` does not.
    pub(super) fn adopt(
        &mut self,
        link: Link,
        place: Place,
        links: &mut Vec<Link>,
        current: Option<Link>,
    ) -> Option<Link> {
        let stream = self.get_mut(link).filter(|stream| stream.member.is_none())?;
        stream.member = Some(Member { place, queue: FrameQueue::new(QUEUE), listed: false });
        self.strangers.retain(|stranger| *stranger != link);
        links.push(link);
        if links.len() <= STREAMS_EACH {
            return None;
        }
        links.iter().copied().find(|&old| Some(old) != current && old != link)
    }

    /// Takes out a connection's reader, to be read with; it is to be given back.
    pub(super) fn take_reader(&mut self, link: Link) -> FrameReader {
        self.get_mut(link).map(|stream| std::mem::take(&mut stream.reader)).unwrap_or_default()
    }

    /// Gives a reader back.
    pub(super) fn give_back(&mut self, link: Link, reader: FrameReader) {
        if let Some(stream) = self.get_mut(link) {
            stream.reader = reader;
        }
    }

    /// Reads what has arrived. `Ok(None)`: nothing for now. An error: the connection is over.
    pub(super) fn read(&self, link: Link, reader: &mut FrameReader) -> io::Result<Option<usize>> {
        let over = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let stream = self.get(link).filter(|stream| !stream.broken).ok_or_else(over)?;
        match stream.socket.try_read(reader.space())? {
            Some(0) => Err(over()),
            Some(len) => {
                reader.filled(len);
                Ok(Some(len))
            }
            None => Ok(None),
        }
    }

    /// Leaves the rest of a connection's packets for the next round.
    pub(super) fn look_again(&self, link: Link) {
        if let Some(stream) = self.get(link) {
            stream.socket.look_again();
        }
    }

    /// Space for one packet. `None` when the queue is full, or the connection is gone.
    #[inline]
    pub(super) fn reserve(&mut self, link: Link, len: usize) -> Option<&mut [u8]> {
        self.get_mut(link)?.member.as_mut()?.queue.reserve(len)
    }

    /// Queues the first `len` bytes of the space.
    #[inline]
    pub(super) fn commit(&mut self, link: Link, len: usize, statistics: &mut WorkerStatistics) {
        let stream = self.streams.get_mut(link.index()).filter(|stream| stream.link == link);
        let Some(member) = stream.and_then(|stream| stream.member.as_mut()) else { return };
        let before = member.queue.is_congested();
        member.queue.commit(len);
        if member.queue.is_congested() && !before {
            self.congested += 1;
            statistics.streams_congested += 1;
        }
        if !std::mem::replace(&mut member.listed, true) {
            self.waiting.push(link);
        }
    }

    /// Whether [`is_congested`](Self::is_congested) holds for any connection: asked for every video packet, whatever its way.
    #[inline]
    pub(super) fn any_congested(&self) -> bool {
        self.congested > 0
    }

    /// Whether so much waits for a connection that video should not.
    pub(super) fn is_congested(&self, link: Link) -> bool {
        let member = || self.get(link)?.member.as_ref();
        member().is_some_and(|member| member.queue.is_congested())
    }

    /// Writes what waits, as far as the system takes it.
    pub(super) fn flush(&mut self) {
        while let Some(link) = self.waiting.pop() {
            self.write(link);
        }
    }

    /// Writes what waits for one connection. One that is broken is found out when it is read next, which is soon.
    pub(super) fn write(&mut self, link: Link) {
        let stream = self.streams.get_mut(link.index()).filter(|stream| stream.link == link);
        let Some(stream) = stream.filter(|stream| !stream.broken) else { return };
        let Some(member) = &mut stream.member else { return };
        member.listed = false;
        let before = member.queue.is_congested();
        match stream.socket.try_write(member.queue.unsent()) {
            Ok(written) => member.queue.sent(written),
            Err(_) => {
                member.queue.sent(member.queue.len());
                stream.broken = true;
                stream.socket.look_again();
            }
        }
        self.congested -= usize::from(before && !member.queue.is_congested());
    }

    /// Strangers whose time is up.
    pub(super) fn overdue(&self, now: Instant) -> Option<Link> {
        let oldest = self.get(*self.strangers.front()?)?;
        (now.saturating_duration_since(oldest.since) >= PROOF_WITHIN).then_some(oldest.link)
    }

    /// The connections of participants, with whose they are.
    pub(super) fn members(&self) -> impl Iterator<Item = (Path, Place)> {
        self.streams.iter().filter_map(|(_, stream)| {
            let member = stream.member.as_ref()?;
            Some((Path::new(stream.remote, stream.link), member.place))
        })
    }

    /// Closes a connection; what waits is written as far as the system takes it at once.
    pub(super) fn close(&mut self, link: Link, statistics: &mut WorkerStatistics) {
        self.write(link);
        if self.get(link).is_none() {
            return;
        }
        let stream = self.streams.remove(link.index());
        match stream.member {
            Some(member) => self.congested -= usize::from(member.queue.is_congested()),
            None => {
                self.strangers.retain(|stranger| *stranger != link);
                statistics.streams_refused += 1;
            }
        }
    }
}

/// Who counts as one: an address, or the /64 that every IPv6 host has to itself.
fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
    }
}
