//! The system calls of Linux: `recvmmsg` with `UDP_GRO`, `sendmmsg` with `UDP_SEGMENT`, and the socket options they
//! need. The only file of the project with unsafe code. Everything a call points at lives on its stack or in the
//! caller's arena or batch, so nothing outlives the call.
#![allow(unsafe_code)]

use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, SystemTime};

use socket2::Socket;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::arena::{SendArena, Train};
use super::batch::{MESSAGES, ReceiveBatch};

/// Most datagrams of one train: `UDP_MAX_SEGMENTS` of Linux before 6.9, which later kernels doubled.
const MAX_TRAIN: u16 = 64;

/// Trains of one `sendmmsg`; enough that the call itself no longer shows.
const SEND_MESSAGES: usize = 64;

/// Datagrams of one `sendmmsg`; at least [`MAX_TRAIN`].
const SEND_SEGMENTS: usize = 512;

/// Words of memory for the control messages of one received message: how long each datagram of a train is.
const TRAIN_WORDS: usize = control_words::<libc::c_int>();

/// That, and when it arrived.
const ARRIVAL_WORDS: usize = control_words::<libc::timespec>() + TRAIN_WORDS;

/// `CMSG_SPACE` of a value, in words that are aligned as `cmsghdr` is.
const fn control_words<T>() -> usize {
    // SAFETY: it only calculates.
    let bytes = unsafe { libc::CMSG_SPACE(mem::size_of::<T>() as libc::c_uint) };
    (bytes as usize).div_ceil(mem::size_of::<u64>())
}

/// A `sockaddr_in` or `sockaddr_in6`, told apart by its family.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct RawAddress([u8; 32]);

impl RawAddress {
    const ZERO: Self = Self([0; 32]);
    const LEN: usize = mem::size_of::<libc::sockaddr_in6>();

    fn new(address: SocketAddr) -> (Self, usize) {
        let mut raw = [0; 32];
        raw[2..4].copy_from_slice(&address.port().to_be_bytes());
        let (family, len) = match address {
            SocketAddr::V4(address) => {
                raw[4..8].copy_from_slice(&address.ip().octets());
                (libc::AF_INET, mem::size_of::<libc::sockaddr_in>())
            }
            SocketAddr::V6(address) => {
                raw[4..8].copy_from_slice(&address.flowinfo().to_ne_bytes());
                raw[8..24].copy_from_slice(&address.ip().octets());
                raw[24..28].copy_from_slice(&address.scope_id().to_ne_bytes());
                (libc::AF_INET6, Self::LEN)
            }
        };
        raw[..2].copy_from_slice(&(family as libc::sa_family_t).to_ne_bytes());
        (Self(raw), len)
    }

    fn address(&self) -> Option<SocketAddr> {
        let raw = &self.0;
        let port = u16::from_be_bytes([raw[2], raw[3]]);
        let word = [raw[4], raw[5], raw[6], raw[7]];
        match libc::c_int::from(u16::from_ne_bytes([raw[0], raw[1]])) {
            libc::AF_INET => Some((Ipv4Addr::from(word), port).into()),
            libc::AF_INET6 => {
                let mut ip = [0; 16];
                ip.copy_from_slice(&raw[8..24]);
                let scope = u32::from_ne_bytes([raw[24], raw[25], raw[26], raw[27]]);
                Some(SocketAddrV6::new(Ipv6Addr::from(ip), port, u32::from_ne_bytes(word), scope).into())
            }
            _ => None,
        }
    }
}

/// A control message to be sent, with one value, laid out as `CMSG_DATA` expects it: the value follows the header directly, since no
/// value here is aligned more strictly than the header.
#[derive(Clone, Copy)]
#[repr(C)]
struct Control<T> {
    header: libc::cmsghdr,
    value: T,
}

impl<T> Control<T> {
    /// `CMSG_LEN` of the value.
    const LEN: usize = mem::size_of::<libc::cmsghdr>() + mem::size_of::<T>();
}

/// Sets an integer option.
fn set_option(fd: RawFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let len = mem::size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the pointer is to a live `c_int` and the length is its size; the kernel only reads it.
    let result = unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Asks for buffers, past the system's cap where this process may.
pub(super) fn set_buffers(socket: &Socket, receive: usize, send: usize) -> io::Result<()> {
    let fd = socket.as_raw_fd();
    let bytes = |wanted: usize| libc::c_int::try_from(wanted).unwrap_or(libc::c_int::MAX);
    if set_option(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes(receive)).is_err() {
        socket.set_recv_buffer_size(receive)?;
    }
    if set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, bytes(send)).is_err() {
        socket.set_send_buffer_size(send)?;
    }
    Ok(())
}

/// Switches on joined receiving and probes for trains; the most datagrams of one train, 1 if there are none.
pub(super) fn enable_trains(socket: &Socket) -> u16 {
    let fd = socket.as_raw_fd();
    if let Err(error) = set_option(fd, libc::SOL_UDP, libc::UDP_GRO, 1) {
        tracing::debug!(%error, "this kernel does not join received datagrams (UDP_GRO)");
    }
    // A segment size of 0 is the default: this changes nothing, and fails where the kernel knows no such option.
    match set_option(fd, libc::SOL_UDP, libc::UDP_SEGMENT, 0) {
        Ok(()) => MAX_TRAIN,
        Err(error) => {
            tracing::info!(%error, "this kernel does not send trains of datagrams (UDP_SEGMENT)");
            1
        }
    }
}

/// Has the kernel tell of each message when it took it in. While one socket of the machine asks for that, the clock is read for every datagram that arrives on it.
pub(super) fn enable_arrival_times(socket: &Socket) -> io::Result<()> {
    set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)
}

/// A socket that the runtime watches for what arrives, and for nothing else: of a socket that is watched for room to send as well, each datagram that leaves the kernel's hands
/// is news, and wakes its thread once more for each that it has sent.
pub(super) type Registered = AsyncFd<Socket>;

/// Has the current runtime watch a socket.
pub(super) fn register(socket: Socket) -> io::Result<Registered> {
    // SAFETY: the socket owns its descriptor, which stays open and the same for as long as the socket lives in there.
    Ok(unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?)
}

/// Waits until something may have arrived.
pub(super) async fn readable(socket: &Registered) -> io::Result<()> {
    socket.readable().await.map(drop)
}

/// Receives up to one batch; with arrival times, if the socket was asked for them.
pub(super) fn receive(socket: &Registered, batch: &mut ReceiveBatch, arrival_times: bool) -> io::Result<()> {
    let mut received = 0;
    let tried = socket.try_io(Interest::READABLE, |socket| {
        let fd = socket.as_raw_fd();
        received = match arrival_times {
            false => receive_now::<TRAIN_WORDS>(fd, batch)?,
            true => receive_now::<ARRIVAL_WORDS>(fd, batch)?,
        };
        // Fewer messages than there was room for: nothing is left. Saying so now spares the call that would find it out, at light load
        // one of four for each wake-up; what arrives later is reported anew, since the runtime is told of every arrival.
        if received < MESSAGES { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    if received > 0 { Ok(()) } else { tried }
}

/// Receives up to one batch, with so much memory for each message's control messages; how many messages it took.
fn receive_now<const CONTROL_WORDS: usize>(fd: RawFd, batch: &mut ReceiveBatch) -> io::Result<usize> {
    // SAFETY: `iovec` and `mmsghdr` are C structs of integers and pointers, for which zero is a valid value.
    let (mut vectors, mut headers) =
        unsafe { (mem::zeroed::<[libc::iovec; MESSAGES]>(), mem::zeroed::<[libc::mmsghdr; MESSAGES]>()) };
    let mut controls = [[0_u64; CONTROL_WORDS]; MESSAGES];
    let mut addresses = [RawAddress::ZERO; MESSAGES];
    let parts = vectors.iter_mut().zip(&mut controls).zip(&mut addresses).zip(batch.slots());
    for (message, (((vector, control), address), slot)) in headers.iter_mut().zip(parts) {
        vector.iov_base = slot.as_mut_ptr().cast();
        vector.iov_len = slot.len();
        let header = &mut message.msg_hdr;
        header.msg_name = (&raw mut *address).cast();
        header.msg_namelen = RawAddress::LEN as _;
        header.msg_iov = vector;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = mem::size_of_val(control) as _;
    }
    // SAFETY: `headers` holds MESSAGES initialised entries whose pointers are to `vectors`, `controls`, `addresses` and the
    // batch's slots, all alive until the call returns, distinct for each entry, and given with their true lengths.
    let received = unsafe {
        libc::recvmmsg(fd, headers.as_mut_ptr(), MESSAGES as _, libc::MSG_DONTWAIT as _, std::ptr::null_mut())
    };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    for (message, address) in headers.iter().zip(&addresses).take(received) {
        // SAFETY: `msg_control` points at the entry of `controls`, alive and aligned as `cmsghdr` is, of which the kernel has filled
        // `msg_controllen` bytes.
        let told = unsafe { told(&message.msg_hdr) };
        batch.push(address.address(), message.msg_len as usize, told.stride, told.arrived);
    }
    Ok(received)
}

/// What the kernel told of a received message.
#[derive(Default)]
struct Told {
    /// Length of the datagrams of a train; 0: it is none.
    stride: usize,
    arrived: Option<SystemTime>,
}

/// Reads a received message's control messages.
///
/// # Safety
/// `msg_control` must be valid for reading `msg_controllen` bytes, which the kernel has filled, and aligned as `cmsghdr` is.
unsafe fn told(header: &libc::msghdr) -> Told {
    let mut told = Told::default();
    // SAFETY: as the caller promises; `CMSG_FIRSTHDR` and `CMSG_NXTHDR` return null, or a header that lies whole in what was filled.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
    while let Some(control) = unsafe { next.as_ref() } {
        let len: usize = control.cmsg_len as _;
        // SAFETY: the value begins right behind the header, which says that all of it is there; it need not be aligned.
        let data = unsafe { libc::CMSG_DATA(control) };
        match (control.cmsg_level, control.cmsg_type) {
            (libc::SOL_UDP, libc::UDP_GRO) if len >= Control::<libc::c_int>::LEN => {
                let stride = unsafe { data.cast::<libc::c_int>().read_unaligned() };
                told.stride = usize::try_from(stride).unwrap_or(0);
            }
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) if len >= Control::<libc::timespec>::LEN => {
                let time = unsafe { data.cast::<libc::timespec>().read_unaligned() };
                let since = u64::try_from(time.tv_sec).ok().zip(u32::try_from(time.tv_nsec).ok());
                told.arrived = since.map(|(seconds, nanos)| SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos));
            }
            _ => {}
        }
        // SAFETY: as above.
        next = unsafe { libc::CMSG_NXTHDR(header, control) };
    }
    told
}

/// Sends the first of `trains`, as many as one call takes.
pub(super) fn send(socket: &Registered, arena: &SendArena, trains: &[Train]) -> io::Result<usize> {
    // Not initialised in advance: that alone would cost a tenth of a call that sends one datagram.
    let mut vectors = [const { MaybeUninit::<libc::iovec>::uninit() }; SEND_SEGMENTS];
    let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; SEND_MESSAGES];
    let mut addresses = [const { MaybeUninit::<RawAddress>::uninit() }; SEND_MESSAGES];
    let mut controls = [const { MaybeUninit::<Control<u16>>::uninit() }; SEND_MESSAGES];

    let mut free = &mut vectors[..];
    let mut count: libc::c_uint = 0;
    let parts = headers.iter_mut().zip(&mut addresses).zip(&mut controls);
    for (train, ((message, address), control)) in trains.iter().zip(parts) {
        let segments = usize::from(train.segments);
        if segments > free.len() {
            break;
        }
        let (own, rest) = free.split_at_mut(segments);
        free = rest;
        for (vector, segment) in own.iter_mut().zip(arena.segments(train)) {
            // The kernel only reads through the pointer, whatever C's type says.
            vector.write(libc::iovec { iov_base: segment.as_ptr().cast_mut().cast(), iov_len: segment.len() });
        }
        let (raw, len) = RawAddress::new(train.destination);
        // SAFETY: `mmsghdr` is a C struct of integers and pointers, for which zero is a valid value.
        let message = message.write(unsafe { mem::zeroed() });
        let header = &mut message.msg_hdr;
        header.msg_name = (&raw mut *address.write(raw)).cast();
        header.msg_namelen = len as _;
        header.msg_iov = own.as_mut_ptr().cast();
        header.msg_iovlen = segments as _;
        if segments > 1 {
            // SAFETY: `Control` is a C struct of integers, for which zero is a valid value.
            let control = control.write(unsafe { mem::zeroed() });
            control.header.cmsg_len = Control::<u16>::LEN as _;
            control.header.cmsg_level = libc::SOL_UDP;
            control.header.cmsg_type = libc::UDP_SEGMENT;
            control.value = train.segment_len;
            header.msg_control = (&raw mut *control).cast();
            header.msg_controllen = mem::size_of::<Control<u16>>() as _;
        }
        count += 1;
    }
    // SAFETY: the first `count` entries of `headers` are initialised; their pointers are to initialised entries of
    // `vectors`, `addresses` and `controls` and, through them, to the arena, all alive and unmoved until the call returns.
    let sent =
        unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr().cast(), count, libc::MSG_DONTWAIT as _) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{SendReport, SocketOptions, UdpSocket as MediaSocket};
    use super::*;

    #[tokio::test]
    async fn what_the_kernel_does_not_take_as_trains_arrives_all_the_same_and_soon_is_not_tried() {
        let loopback = || (Ipv4Addr::LOCALHOST, 0).into();
        let (sender, receiver) = (MediaSocket::bind(loopback()).unwrap(), MediaSocket::bind(loopback()).unwrap());
        // Trains need checksums, which are left to whoever takes them apart; a socket without any has its trains refused.
        set_option(sender.inner.as_raw_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
        let (mut arena, mut batch) = (SendArena::default(), ReceiveBatch::new());
        let mut arrived = 0;
        for round in 0..20 {
            for _ in 0..8 {
                arena.reserve(1000).unwrap().fill(round);
                arena.commit(1000, receiver.local_addr());
            }
            assert_eq!(sender.send(&mut arena), SendReport { sent: 8, dropped: 0, trains: 8 });
            arrived += receiver.try_receive(&mut batch).unwrap();
        }
        assert!(!sender.sends_trains() && receiver.sends_trains());
        while arrived < 20 * 8 {
            tokio::time::timeout(std::time::Duration::from_secs(5), receiver.readable()).await.unwrap().unwrap();
            arrived += receiver.try_receive(&mut batch).unwrap();
        }
    }

    /// How often a thread has gone to sleep.
    fn naps(thread: &std::path::Path) -> u64 {
        let status = std::fs::read_to_string(thread.join("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
        line.trim().parse().unwrap()
    }

    #[test]
    fn what_is_sent_does_not_wake_who_waits_for_what_arrives() {
        let (told, socket) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let socket = std::sync::Arc::new(MediaSocket::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap());
                told.send((socket.clone(), std::fs::read_link("/proc/thread-self").unwrap())).unwrap();
                let _ = socket.readable().await;
            });
        });
        let (waiting, thread) = socket.recv().unwrap();
        let thread = std::path::Path::new("/proc").join(thread);
        let receiver = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (mut arena, pause) = (SendArena::default(), std::time::Duration::from_millis(1));
        std::thread::sleep(pause * 20);
        let before = naps(&thread);
        for _ in 0..200 {
            arena.reserve(100).unwrap();
            arena.commit(100, receiver.local_addr().unwrap());
            waiting.send(&mut arena);
            receiver.recv(&mut [0; 200]).unwrap();
            std::thread::sleep(pause);
        }
        let woken = naps(&thread) - before;
        assert!(woken < 50, "woken {woken} times by 200 datagrams that left");
        receiver.send_to(&[1], waiting.local_addr()).unwrap();
    }

    #[tokio::test]
    async fn what_arrives_after_a_short_batch_wakes_the_receiver_again() {
        let loopback = || (Ipv4Addr::LOCALHOST, 0).into();
        let options = SocketOptions::default();
        let receiver = MediaSocket::bind_with(loopback(), &options).unwrap();
        let sender = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut batch = ReceiveBatch::new();
        for round in 0..100 {
            for _ in 0..=round % 3 {
                sender.send_to(&[7; 100], receiver.local_addr()).unwrap();
            }
            let mut arrived = 0;
            while arrived <= round % 3 {
                tokio::time::timeout(std::time::Duration::from_secs(5), receiver.readable()).await.unwrap().unwrap();
                arrived += receiver.try_receive(&mut batch).unwrap();
            }
            assert_eq!(arrived, round % 3 + 1);
        }
    }

    #[tokio::test]
    async fn a_train_that_lay_in_the_socket_is_told_when_it_arrived_and_only_to_who_asks() {
        let loopback = || (Ipv4Addr::LOCALHOST, 0).into();
        let sender = MediaSocket::bind(loopback()).unwrap();
        let asks = MediaSocket::bind_with(loopback(), &SocketOptions::default().with_arrival_times(true)).unwrap();
        let does_not = MediaSocket::bind(loopback()).unwrap();
        let (mut arena, mut batch) = (SendArena::default(), ReceiveBatch::new());
        // The kernel begins with it a moment after the first socket has asked; until then it tells when it was read.
        for attempt in 1.. {
            for receiver in [&asks, &does_not] {
                for len in [1000, 1000, 300] {
                    arena.reserve(len).unwrap().fill(7);
                    arena.commit(len, receiver.local_addr());
                }
            }
            let before = SystemTime::now();
            assert_eq!(sender.send(&mut arena), SendReport { sent: 6, dropped: 0, trains: 2 });
            let after = SystemTime::now();
            tokio::time::sleep(Duration::from_millis(20)).await;

            assert_eq!(asks.try_receive(&mut batch).unwrap(), 3);
            let told: Vec<_> =
                batch.arrivals().map(|(_, datagram, arrived)| (datagram.len(), arrived.unwrap())).collect();
            assert_eq!(does_not.try_receive(&mut batch).unwrap(), 3);
            assert!(batch.arrivals().all(|(_, _, arrived)| arrived.is_none()));
            if told.iter().all(|(_, arrived)| (before..=after).contains(arrived)) {
                assert_eq!(told.iter().map(|(len, _)| *len).collect::<Vec<_>>(), [1000, 1000, 300]);
                break;
            }
            assert!(attempt < 100, "{before:?} {told:?} {after:?}");
        }
    }

    #[test]
    fn addresses_survive_the_way_into_the_kernels_form_and_back() {
        for text in ["192.0.2.7:65535", "[2001:db8::7]:1", "[fe80::1%3]:443"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(RawAddress::new(address).0.address(), Some(address));
        }
        assert_eq!(RawAddress::ZERO.address(), None);
    }

    #[test]
    fn control_messages_have_the_layout_that_c_gives_them() {
        // SAFETY: both only calculate.
        let (space, len) = unsafe { (libc::CMSG_SPACE(2) as usize, libc::CMSG_LEN(2) as usize) };
        assert_eq!((mem::size_of::<Control<u16>>(), Control::<u16>::LEN), (space, len));
        assert_eq!(mem::align_of::<libc::cmsghdr>(), mem::align_of::<u64>());
        assert!(mem::size_of::<RawAddress>() >= RawAddress::LEN);
    }
}
