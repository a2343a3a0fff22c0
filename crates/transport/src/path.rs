//! The way a datagram takes between a peer and this machine: the peer's address together with the local end, which is a
//! UDP socket or one TCP connection (RFC 6544). ICE validates and selects paths, not addresses: what one socket may be
//! sent says nothing about another. It owns no socket; the numbers are the driver's.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;

/// The local end of a path, as the driver numbers them: a UDP socket, or a TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Link(u64);

impl Link {
    /// A UDP socket.
    #[must_use]
    pub const fn socket(index: u32) -> Self {
        Self(index as u64)
    }

    /// A TCP connection in this place. The generation tells it from those that had the place before: no path of theirs
    /// may become a path to somebody else.
    #[must_use]
    pub const fn stream(index: u32, generation: NonZeroU32) -> Self {
        Self((generation.get() as u64) << 32 | index as u64)
    }

    /// Whether it is a TCP connection.
    #[inline]
    #[must_use]
    pub const fn is_stream(self) -> bool {
        self.0 >> 32 != 0
    }

    /// The number of the socket, or the place of the connection.
    #[inline]
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as u32 as usize
    }
}

/// Where a peer is, and over what it is reached there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Path {
    /// The peer's address, as it is seen here.
    pub remote: SocketAddr,
    /// The local end.
    pub link: Link,
}

impl Path {
    /// A path to this address.
    #[must_use]
    pub const fn new(remote: SocketAddr, link: Link) -> Self {
        Self { remote, link }
    }
}

/// Over the first UDP socket.
impl From<SocketAddr> for Path {
    fn from(remote: SocketAddr) -> Self {
        Self::new(remote, Link::socket(0))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = if self.link.is_stream() { "TCP" } else { "UDP" };
        write!(f, "{} over {protocol}", self.remote)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_neither_a_socket_nor_the_connection_that_had_its_place_before() {
        let generation = |number| NonZeroU32::new(number).unwrap();
        let (socket, first) = (Link::socket(3), Link::stream(3, generation(1)));
        let second = Link::stream(3, generation(u32::MAX));
        assert!(!socket.is_stream() && first.is_stream() && second.is_stream());
        assert!(socket != first && first != second);
        assert_eq!([socket.index(), first.index(), second.index()], [3, 3, 3]);
        assert_eq!(Link::stream(u32::MAX, generation(1)).index(), u32::MAX as usize);
    }
}
