//! The preallocated memory that outgoing datagrams are written into, and the plan by which they travel. Datagrams may be
//! committed in any order of destinations; each destination's are chained, and runs of one size become trains when the
//! arena is flushed. It makes no system call.

use std::net::SocketAddr;

use rand::Rng;

/// Bytes of UDP payload one train may carry: an IPv4 packet's 65,535 less its header and UDP's, rounded down.
const MAX_TRAIN_BYTES: usize = 65_000;

/// The largest UDP payload over IPv4 (65,535 − 20 − 8).
const MAX_DATAGRAM: usize = 65_507;

/// Destinations with more datagrams than this keep their order: what waits for others is a handful.
const FEW: usize = 8;

/// Ends a chain of segments.
const NONE: u16 = u16::MAX;

/// One datagram in the arena.
#[derive(Debug, Clone, Copy)]
struct Segment {
    offset: u32,
    len: u16,
    /// The next datagram to the same destination.
    next: u16,
}

/// An address that datagrams wait for, with the ends of their chain.
#[derive(Debug, Clone, Copy)]
struct Destination {
    address: SocketAddr,
    first: u16,
    last: u16,
    /// The length of the datagrams in the train at the chain's end, which one of that length still joins; 0 if a shorter one has ended it.
    open: u16,
}

/// An entry of the index of destinations, empty unless its generation is the arena's.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    generation: u32,
    position: u16,
}

/// Datagrams to one destination that one system call message carries: all of `segment_len` bytes, but for the
/// last, which may be shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Train {
    pub(super) destination: SocketAddr,
    pub(super) segments: u16,
    pub(super) segment_len: u16,
    first: u16,
}

/// Memory for the datagrams of one flush, allocated once. Write with [`reserve`](Self::reserve) and
/// [`commit`](Self::commit), then hand it to [`UdpSocket::send`](super::UdpSocket::send), which empties it.
#[derive(Debug)]
pub struct SendArena {
    bytes: Box<[u8]>,
    used: usize,
    reserved: usize,
    segments: Vec<Segment>,
    destinations: Vec<Destination>,
    /// Open addressing from a hash of the address to a position in `destinations`; at most half full.
    index: Box<[Slot]>,
    /// What marks slots of the index as of this fill, so that forgetting them all is counting up.
    generation: u32,
    /// The destination of the last commit: the next one is often the same.
    recent: usize,
    /// Random and odd, so that nobody can choose addresses that collide.
    multiplier: u64,
    trains: Vec<Train>,
}

impl Default for SendArena {
    /// Room for 512 datagrams of 1,400 bytes: about 700 KiB, which stays in a core's second-level cache while it is filled
    /// and flushed. A larger one makes longer trains, a smaller one sends sooner.
    fn default() -> Self {
        Self::with_capacity(512 * 1400, 512)
    }
}

impl SendArena {
    /// Room for `datagrams` datagrams of `bytes` bytes altogether. Both are held to sane bounds: 1 to 16,384 datagrams,
    /// 2 KiB to 64 MiB.
    pub fn with_capacity(bytes: usize, datagrams: usize) -> Self {
        let datagrams = datagrams.clamp(1, 1 << 14);
        let bytes = bytes.clamp(2 << 10, 64 << 20);
        Self {
            bytes: vec![0; bytes].into_boxed_slice(),
            used: 0,
            reserved: 0,
            segments: Vec::with_capacity(datagrams),
            destinations: Vec::with_capacity(datagrams),
            index: vec![Slot::default(); (datagrams * 2).next_power_of_two()].into_boxed_slice(),
            generation: 1,
            recent: 0,
            multiplier: rand::rng().random::<u64>() | 1,
            trains: Vec::with_capacity(datagrams),
        }
    }

    /// Space to write a datagram of up to `capacity` bytes into; it counts only once committed, and a second `reserve`
    /// takes back the first. `None` when it does not fit any more (flush, then try again) or never will (more than the
    /// arena holds, or than UDP carries).
    pub fn reserve(&mut self, capacity: usize) -> Option<&mut [u8]> {
        self.reserved = 0;
        if capacity > MAX_DATAGRAM || self.segments.len() == self.segments.capacity() {
            return None;
        }
        let space = self.bytes.get_mut(self.used..self.used + capacity)?;
        self.reserved = capacity;
        Some(space)
    }

    /// Queues the first `len` bytes of the reserved space for `destination`. An empty datagram is not queued.
    ///
    /// # Panics
    /// If `len` is more than was reserved.
    pub fn commit(&mut self, len: usize, destination: SocketAddr) {
        assert!(len <= self.reserved, "committed {len} bytes of {} reserved", self.reserved);
        self.reserved = 0;
        if len == 0 {
            return;
        }
        // Both casts hold: `reserve` checked the count and the length against these types' ranges.
        let position = self.segments.len() as u16;
        self.segments.push(Segment { offset: self.used as u32, len: len as u16, next: NONE });
        self.used += len;
        let chain = self.destination(destination);
        let len = len as u16;
        chain.open = if chain.open <= len { len } else { 0 };
        let last = std::mem::replace(&mut chain.last, position);
        if last == NONE {
            chain.first = position;
        } else {
            self.segments[usize::from(last)].next = position;
        }
    }

    /// The length that the next datagram to `destination` must have to join the train that waits for it, without ending it. `None` if none
    /// waits, or a shorter datagram has ended it: the next one begins a train.
    pub fn waiting_train(&mut self, destination: SocketAddr) -> Option<usize> {
        let position = self.find(destination).ok()?;
        self.recent = position;
        let open = self.destinations.get(position)?.open;
        (open > 0).then_some(open.into())
    }

    /// Puts the datagrams of each destination in order, the longest first: only the last of a train may be shorter, so that this makes fewer trains of those that differ. Those of one
    /// length keep their order, and so does whatever waits in larger numbers than a handful. For datagrams that do not mind, such as the voices of several people.
    pub fn longest_first(&mut self) {
        for destination in &mut self.destinations {
            let (mut chain, mut count) = ([NONE; FEW], 0);
            let mut position = destination.first;
            while let (Some(segment), Some(place)) = (self.segments.get(usize::from(position)), chain.get_mut(count)) {
                *place = position;
                count += 1;
                position = segment.next;
            }
            let sorted = &mut chain[..count];
            if position != NONE || count < 2 {
                continue;
            }
            sorted.sort_by_key(|position| std::cmp::Reverse(self.segments[usize::from(*position)].len));
            for (at, position) in sorted.iter().enumerate() {
                self.segments[usize::from(*position)].next = sorted.get(at + 1).copied().unwrap_or(NONE);
            }
            (destination.first, destination.last) = (sorted[0], sorted[count - 1]);
        }
    }

    /// Datagrams queued.
    pub fn len(&self) -> usize {
        self.segments.len()
    }

    /// Whether nothing is queued.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Forgets what is queued.
    pub fn clear(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        if self.generation == 0 {
            self.index.fill(Slot::default());
            self.generation = 1;
        }
        self.destinations.clear();
        self.segments.clear();
        self.trains.clear();
        self.recent = 0;
        self.used = 0;
        self.reserved = 0;
    }

    /// The chain of `address`, begun if there is none.
    fn destination(&mut self, address: SocketAddr) -> &mut Destination {
        self.recent = match self.find(address) {
            Ok(position) => position,
            Err(slot) => {
                let position = self.destinations.len();
                self.index[slot] = Slot { generation: self.generation, position: position as u16 };
                self.destinations.push(Destination { address, first: NONE, last: NONE, open: 0 });
                position
            }
        };
        &mut self.destinations[self.recent]
    }

    /// Where the chain of `address` is; or else the slot of the index that it would take.
    fn find(&self, address: SocketAddr) -> Result<usize, usize> {
        if self.destinations.get(self.recent).is_some_and(|recent| recent.address == address) {
            return Ok(self.recent);
        }
        let mask = self.index.len() - 1;
        let mut slot = self.hash(address) & mask;
        loop {
            let Slot { generation, position } = self.index[slot];
            if generation != self.generation {
                return Err(slot);
            }
            if self.destinations[usize::from(position)].address == address {
                return Ok(position.into());
            }
            slot = (slot + 1) & mask;
        }
    }

    fn hash(&self, address: SocketAddr) -> usize {
        let mix = |value: u64| value.wrapping_mul(self.multiplier) ^ (value.wrapping_mul(self.multiplier) >> 32);
        let host = match address {
            SocketAddr::V4(address) => u64::from(u32::from(*address.ip())),
            SocketAddr::V6(address) => {
                let bits = u128::from(*address.ip());
                mix((bits >> 64) as u64) ^ bits as u64
            }
        };
        mix(mix(host) ^ u64::from(address.port())) as usize
    }

    /// Lays out what is queued as trains of up to `max_segments` datagrams, destination by destination in the order of
    /// their first datagram.
    pub(super) fn plan(&mut self, max_segments: u16) {
        self.trains.clear();
        for destination in &self.destinations {
            let mut position = destination.first;
            let mut open: Option<Train> = None;
            let mut total = 0;
            while let Some(segment) = self.segments.get(usize::from(position)) {
                total += usize::from(segment.len);
                match &mut open {
                    Some(train)
                        if train.segments < max_segments
                            && segment.len <= train.segment_len
                            && total <= MAX_TRAIN_BYTES =>
                    {
                        train.segments += 1;
                        if segment.len < train.segment_len {
                            // Only the last may be shorter.
                            self.trains.extend(open.take());
                        }
                    }
                    _ => {
                        self.trains.extend(open.take());
                        total = usize::from(segment.len);
                        open = Some(Train {
                            destination: destination.address,
                            segments: 1,
                            segment_len: segment.len,
                            first: position,
                        });
                    }
                }
                position = segment.next;
            }
            self.trains.extend(open);
        }
    }

    /// The planned trains.
    pub(super) fn trains(&self) -> &[Train] {
        &self.trains
    }

    /// The datagrams of a train.
    pub(super) fn segments(&self, train: &Train) -> impl Iterator<Item = &[u8]> {
        self.chain(train).map(|(_, segment)| {
            let start = segment.offset as usize;
            &self.bytes[start..start + usize::from(segment.len)]
        })
    }

    /// The same datagrams as trains of one.
    pub(super) fn split(&self, train: &Train) -> impl Iterator<Item = Train> {
        let destination = train.destination;
        self.chain(train).map(move |(first, segment)| Train {
            destination,
            segments: 1,
            segment_len: segment.len,
            first,
        })
    }

    fn chain(&self, train: &Train) -> impl Iterator<Item = (u16, Segment)> {
        let mut position = train.first;
        (0..train.segments).map(move |_| {
            let (at, segment) = (position, self.segments[usize::from(position)]);
            position = segment.next;
            (at, segment)
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn queue(arena: &mut SendArena, len: usize, to: SocketAddr) {
        let mark = arena.len() as u8;
        arena.reserve(1400).unwrap()[..len].fill(mark);
        arena.commit(len, to);
    }

    fn plan(arena: &mut SendArena, max_segments: u16) -> Vec<(u16, u16, u16)> {
        arena.plan(max_segments);
        arena.trains().iter().map(|train| (train.destination.port(), train.segments, train.segment_len)).collect()
    }

    #[test]
    fn same_size_datagrams_to_one_destination_make_a_train_even_when_others_lie_between() {
        let mut arena = SendArena::default();
        for _ in 0..3 {
            queue(&mut arena, 1000, address(1));
            queue(&mut arena, 900, address(2));
        }
        assert_eq!(plan(&mut arena, 64), [(1, 3, 1000), (2, 3, 900)]);
        let marks: Vec<u8> = arena.segments(&arena.trains()[1]).map(|segment| segment[0]).collect();
        assert_eq!(marks, [1, 3, 5]);
    }

    #[test]
    fn a_shorter_datagram_ends_its_train_and_a_longer_one_begins_another() {
        let mut arena = SendArena::default();
        for len in [1000, 1000, 999, 1000, 1001] {
            queue(&mut arena, len, address(1));
        }
        assert_eq!(plan(&mut arena, 64), [(1, 3, 1000), (1, 1, 1000), (1, 1, 1001)]);
    }

    #[test]
    fn the_arena_tells_which_length_joins_the_train_that_waits() {
        let mut arena = SendArena::default();
        assert_eq!(arena.waiting_train(address(1)), None);
        for (len, waiting) in [(900, Some(900)), (900, Some(900)), (901, Some(901)), (700, None), (600, Some(600))] {
            queue(&mut arena, len, address(1));
            queue(&mut arena, 50, address(2));
            assert_eq!(arena.waiting_train(address(1)), waiting);
        }
        assert_eq!(arena.waiting_train(address(2)), Some(50));
        assert_eq!(plan(&mut arena, 64), [(1, 2, 900), (1, 2, 901), (1, 1, 600), (2, 5, 50)]);
        arena.clear();
        assert_eq!(arena.waiting_train(address(1)), None);
    }

    #[test]
    fn a_handful_that_does_not_mind_makes_fewer_trains_with_the_longest_first() {
        let mut arena = SendArena::with_capacity(1 << 16, 64);
        for (small, others) in [(118, 90), (121, 90), (121, 40), (110, 90)] {
            queue(&mut arena, small, address(1));
            queue(&mut arena, others, address(2));
        }
        for len in 1..=9 {
            queue(&mut arena, len, address(3));
        }
        arena.longest_first();
        let planned = plan(&mut arena, 64);
        assert_eq!(planned[..3], [(1, 3, 121), (1, 1, 110), (2, 4, 90)]);
        assert_eq!(planned.len(), 3 + 9, "many keep their order");
        let marks: Vec<u8> = arena.segments(&arena.trains()[0]).map(|segment| segment[0]).collect();
        assert_eq!(marks, [2, 4, 0]);
        queue(&mut arena, 100, address(1));
        assert_eq!(plan(&mut arena, 64)[1], (1, 2, 110));
    }

    #[test]
    fn a_train_keeps_to_the_kernels_limits() {
        let mut arena = SendArena::with_capacity(1 << 20, 256);
        for _ in 0..130 {
            queue(&mut arena, 1200, address(1));
        }
        assert_eq!(plan(&mut arena, 64), [(1, 54, 1200), (1, 54, 1200), (1, 22, 1200)]);
        assert_eq!(plan(&mut arena, 1).len(), 130);
    }

    #[test]
    fn a_full_arena_says_so_and_is_as_new_once_cleared() {
        let mut arena = SendArena::with_capacity(4096, 3);
        for round in 0..5 {
            for port in 0..3 {
                queue(&mut arena, 10, address(port + round));
            }
            assert!(arena.reserve(1).is_none());
            assert_eq!(plan(&mut arena, 64).len(), 3);
            arena.clear();
            assert!(arena.is_empty());
            assert!(arena.reserve(4097).is_none());
            assert_eq!(arena.reserve(4096).unwrap().len(), 4096);
        }
    }

    #[test]
    fn an_empty_datagram_is_not_queued() {
        let mut arena = SendArena::default();
        arena.reserve(10).unwrap();
        arena.commit(0, address(1));
        assert!(arena.is_empty());
    }

    #[test]
    fn many_destinations_are_kept_apart() {
        let mut arena = SendArena::with_capacity(1 << 20, 1024);
        for round in 0..2u16 {
            for port in 0..500 {
                let v6 = SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, port & 1], port));
                queue(&mut arena, 100, v6);
                assert_eq!(arena.destinations.len(), if round == 0 { usize::from(port) + 1 } else { 500 });
            }
        }
        assert!(plan(&mut arena, 64).iter().all(|train| train.1 == 2));
    }
}
