//! The preallocated memory that datagrams are received into, and their way out of it: messages that the kernel joined
//! (`UDP_GRO`) are handed out datagram by datagram. It makes no system call.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::SystemTime;

/// Messages of one receive call. Past 32 the cost of the call itself no longer shows in a datagram's cost, while each
/// further message takes 64 KiB of address space.
pub(super) const MESSAGES: usize = 32;

/// Bytes of one message's memory: the 64 KiB that joined datagrams may take, and three cache lines so that the messages'
/// beginnings do not all fall into the same set of the cache.
const SLOT: usize = (64 << 10) + 192;

/// Where one message came from and how it divides.
#[derive(Debug, Clone, Copy)]
struct Message {
    from: SocketAddr,
    len: usize,
    /// Length of each datagram in the message but the last, which may be shorter.
    stride: usize,
    arrived: Option<SystemTime>,
}

/// Memory for what one [`UdpSocket::try_receive`](super::UdpSocket::try_receive) brings, allocated once (2 MiB, of which
/// the system provides what is touched).
#[derive(Debug)]
pub struct ReceiveBatch {
    bytes: Box<[u8]>,
    messages: Vec<Message>,
}

impl Default for ReceiveBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl ReceiveBatch {
    /// An empty batch.
    pub fn new() -> Self {
        Self { bytes: vec![0; MESSAGES * SLOT].into_boxed_slice(), messages: Vec::with_capacity(MESSAGES) }
    }

    /// Number of datagrams held. Empty ones are not counted and not handed out.
    pub fn len(&self) -> usize {
        self.messages.iter().map(|message| message.len.div_ceil(message.stride)).sum()
    }

    /// Whether no datagram is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The datagrams in order of arrival, each with its source, to be worked on in place.
    pub fn datagrams(&mut self) -> impl Iterator<Item = (SocketAddr, &mut [u8])> {
        self.arrivals().map(|(from, datagram, _)| (from, datagram))
    }

    /// Likewise, each with when the kernel took it in, by the system's clock: a train's datagrams arrive together. `None` unless the socket was bound
    /// with [`SocketOptions::with_arrival_times`](super::SocketOptions::with_arrival_times) and the system tells.
    pub fn arrivals(&mut self) -> impl Iterator<Item = (SocketAddr, &mut [u8], Option<SystemTime>)> {
        self.messages.iter().zip(self.bytes.chunks_exact_mut(SLOT)).flat_map(|(message, slot)| {
            let filled = slot.get_mut(..message.len).unwrap_or_default();
            filled.chunks_mut(message.stride).map(|datagram| (message.from, datagram, message.arrived))
        })
    }

    pub(super) fn clear(&mut self) {
        self.messages.clear();
    }

    /// The memory of each message, to be received into; then say what came with [`ReceiveBatch::push`], in this order.
    pub(super) fn slots(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.bytes.chunks_exact_mut(SLOT)
    }

    /// Notes what came into the next slot. `None` for `from`: nothing usable.
    pub(super) fn push(&mut self, from: Option<SocketAddr>, len: usize, stride: usize, arrived: Option<SystemTime>) {
        let unspecified = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let (from, len) = from.map_or((unspecified, 0), |from| (from, len.min(SLOT)));
        let stride = if stride == 0 { len.max(1) } else { stride };
        self.messages.push(Message { from, len, stride, arrived });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_datagrams_are_handed_out_one_by_one() {
        let from = SocketAddr::from(([192, 0, 2, 1], 9));
        let mut batch = ReceiveBatch::new();
        for (position, slot) in batch.slots().take(3).enumerate() {
            slot[..2500].fill(position as u8);
        }
        batch.push(Some(from), 2500, 1000, None);
        batch.push(None, 700, 0, None);
        batch.push(Some(from), 300, 0, None);
        assert_eq!(batch.len(), 4);
        let seen: Vec<(u8, usize)> = batch.datagrams().map(|(_, datagram)| (datagram[0], datagram.len())).collect();
        assert_eq!(seen, [(0, 1000), (0, 1000), (0, 500), (2, 300)]);
        batch.clear();
        assert!(batch.is_empty());
    }
}
