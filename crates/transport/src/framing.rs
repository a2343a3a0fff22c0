//! Packets on a byte stream (RFC 4571): each is preceded by its length in two bytes. [`FrameReader`] finds them again in
//! whatever pieces they arrive, in place; [`FrameQueue`] is the bounded memory in which they wait until the stream takes
//! them. Both own their memory from the start and make no system call.

/// Bytes of the length before each packet.
const PREFIX: usize = 2;

/// The longest packet that is taken, in bytes. What browsers send fits one Ethernet frame; the rest is for stacks that
/// write larger handshake records. Longer ones only tie up memory, so a stream that announces one is given up.
pub const MAX_FRAME: usize = 2048;

/// Bytes read at once. More would save system calls of busy streams and cost memory for each idle one.
const READER: usize = 8 << 10;

/// A stream announced a packet longer than [`MAX_FRAME`]: where the next one begins is of no interest any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {len} bytes, of {MAX_FRAME} at most")]
pub struct FrameTooLong {
    /// The announced length.
    pub len: usize,
}

/// Takes a stream's bytes and gives back its packets.
#[derive(Debug, Default)]
pub struct FrameReader {
    bytes: Box<[u8]>,
    begin: usize,
    end: usize,
}

impl FrameReader {
    /// An empty reader, with its 8 KiB of memory. The default one has none, and stands in while another is at work.
    #[must_use]
    pub fn new() -> Self {
        Self { bytes: vec![0; READER].into_boxed_slice(), begin: 0, end: 0 }
    }

    /// Where the stream's next bytes go; then say how many came with [`filled`](Self::filled). It has room for a whole
    /// packet at least, once [`next_frame`](Self::next_frame) has given out what is there.
    pub fn space(&mut self) -> &mut [u8] {
        if self.begin > 0 && self.bytes.len() - self.end < PREFIX + MAX_FRAME {
            self.bytes.copy_within(self.begin..self.end, 0);
            self.end -= self.begin;
            self.begin = 0;
        }
        &mut self.bytes[self.end..]
    }

    /// Takes the first `len` bytes of the space as read.
    ///
    /// # Panics
    /// If there was not that much space.
    pub fn filled(&mut self, len: usize) {
        assert!(len <= self.bytes.len() - self.end, "read {len} bytes into {}", self.bytes.len() - self.end);
        self.end += len;
    }

    /// The next whole packet, to be worked on in place; `None` until more arrives. Empty packets are passed over.
    ///
    /// # Errors
    /// When the packet will be too long; the stream is of no use from then on.
    pub fn next_frame(&mut self) -> Result<Option<&mut [u8]>, FrameTooLong> {
        loop {
            let Some(prefix) = self.bytes[self.begin..self.end].first_chunk::<PREFIX>() else { return Ok(None) };
            let len = usize::from(u16::from_be_bytes(*prefix));
            if len > MAX_FRAME {
                return Err(FrameTooLong { len });
            }
            let begin = self.begin + PREFIX;
            if begin + len > self.end {
                return Ok(None);
            }
            self.begin = begin + len;
            if len > 0 {
                return Ok(Some(&mut self.bytes[begin..begin + len]));
            }
        }
    }
}

/// How much a [`FrameQueue`] holds, in bytes with the lengths.
#[derive(Debug, Clone, Copy)]
pub struct QueueLimits {
    /// From here on the queue is congested: what can be left out should be.
    pub congested: usize,
    /// Down to here it has to come before it no longer is.
    pub relieved: usize,
    /// Nothing goes beyond this.
    pub full: usize,
}

/// Packets that wait until the stream takes them. The memory is allocated once; it is somewhat larger than what may wait,
/// so that what waits is moved together at most once for each so many bytes.
#[derive(Debug)]
pub struct FrameQueue {
    bytes: Box<[u8]>,
    begin: usize,
    end: usize,
    reserved: usize,
    limits: QueueLimits,
    congested: bool,
}

impl FrameQueue {
    /// An empty queue.
    #[must_use]
    pub fn new(limits: QueueLimits) -> Self {
        let bytes = vec![0; limits.full + limits.full / 2].into_boxed_slice();
        Self { bytes, begin: 0, end: 0, reserved: 0, limits, congested: false }
    }

    /// Bytes that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.end - self.begin
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.begin == self.end
    }

    /// Whether so much waits, or has waited until a moment ago, that what can be left out should be.
    #[must_use]
    pub fn is_congested(&self) -> bool {
        self.congested
    }

    /// Space to write a packet of up to `capacity` bytes into; it counts only once committed, and a second `reserve` takes
    /// back the first. `None` when the queue is full.
    pub fn reserve(&mut self, capacity: usize) -> Option<&mut [u8]> {
        self.reserved = 0;
        let framed = PREFIX + capacity;
        if capacity > usize::from(u16::MAX) || self.len() + framed > self.limits.full {
            return None;
        }
        if self.bytes.len() - self.end < framed {
            self.bytes.copy_within(self.begin..self.end, 0);
            self.end -= self.begin;
            self.begin = 0;
        }
        self.reserved = capacity;
        let begin = self.end + PREFIX;
        self.bytes.get_mut(begin..begin + capacity)
    }

    /// Queues the first `len` bytes of the reserved space. An empty packet is not queued.
    ///
    /// # Panics
    /// If `len` is more than was reserved.
    pub fn commit(&mut self, len: usize) {
        assert!(len <= self.reserved, "committed {len} bytes of {} reserved", self.reserved);
        self.reserved = 0;
        if len == 0 {
            return;
        }
        // The cast holds: `reserve` checked it.
        self.bytes[self.end..self.end + PREFIX].copy_from_slice(&(len as u16).to_be_bytes());
        self.end += PREFIX + len;
        self.congested |= self.len() >= self.limits.congested;
    }

    /// What is to be written to the stream next.
    #[must_use]
    pub fn unsent(&self) -> &[u8] {
        &self.bytes[self.begin..self.end]
    }

    /// The stream took the first `len` bytes of [`unsent`](Self::unsent).
    ///
    /// # Panics
    /// If there were not that many.
    pub fn sent(&mut self, len: usize) {
        assert!(len <= self.len(), "sent {len} bytes of {}", self.len());
        self.begin += len;
        self.congested &= self.len() > self.limits.relieved;
        if self.is_empty() {
            (self.begin, self.end, self.reserved) = (0, 0, 0);
        }
    }
}
