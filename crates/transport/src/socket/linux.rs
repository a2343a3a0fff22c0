//! The system calls of Linux: `recvmmsg` with `UDP_GRO`, `sendmmsg` with `UDP_SEGMENT`, and the socket options they
//! need. The only file of the project with unsafe code. Everything a call points at lives on its stack or in the
//! caller's arena or batch, so nothing outlives the call.
#![allow(unsafe_code)]

use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd, RawFd};

use socket2::Socket;
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::arena::{SendArena, Train};
use super::batch::{MESSAGES, ReceiveBatch};

/// Most datagrams of one train: `UDP_MAX_SEGMENTS` of Linux before 6.9, which later kernels doubled.
const MAX_TRAIN: u16 = 64;

/// Trains of one `sendmmsg`; enough that the call itself no longer shows.
const SEND_MESSAGES: usize = 64;

/// Datagrams of one `sendmmsg`; at least [`MAX_TRAIN`].
const SEND_SEGMENTS: usize = 512;

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

/// A control message with one value, laid out as `CMSG_DATA` expects it: the value follows the header directly, since no
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

/// Receives up to one batch.
pub(super) fn receive(socket: &UdpSocket, batch: &mut ReceiveBatch) -> io::Result<()> {
    let mut received = 0;
    let tried = socket.try_io(Interest::READABLE, || {
        received = receive_now(socket.as_raw_fd(), batch)?;
        // Fewer messages than there was room for: nothing is left. Saying so now spares the call that would find it out, at light load
        // one of four for each wake-up; what arrives later is reported anew, since the runtime is told of every arrival.
        if received < MESSAGES { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    if received > 0 { Ok(()) } else { tried }
}

/// Receives up to one batch; how many messages it took.
fn receive_now(fd: RawFd, batch: &mut ReceiveBatch) -> io::Result<usize> {
    // SAFETY: `iovec`, `mmsghdr` and `cmsghdr` are C structs of integers and pointers, for which zero is a valid value.
    let (mut vectors, mut headers, mut controls) = unsafe {
        (
            mem::zeroed::<[libc::iovec; MESSAGES]>(),
            mem::zeroed::<[libc::mmsghdr; MESSAGES]>(),
            mem::zeroed::<[Control<libc::c_int>; MESSAGES]>(),
        )
    };
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
        header.msg_control = (&raw mut *control).cast();
        header.msg_controllen = mem::size_of::<Control<libc::c_int>>() as _;
    }
    // SAFETY: `headers` holds MESSAGES initialised entries whose pointers are to `vectors`, `controls`, `addresses` and the
    // batch's slots, all alive until the call returns, distinct for each entry, and given with their true lengths.
    let received = unsafe {
        libc::recvmmsg(fd, headers.as_mut_ptr(), MESSAGES as _, libc::MSG_DONTWAIT as _, std::ptr::null_mut())
    };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    for ((message, control), address) in headers.iter().zip(&controls).zip(&addresses).take(received) {
        let filled: usize = message.msg_hdr.msg_controllen as _;
        let joined = filled >= Control::<libc::c_int>::LEN
            && control.header.cmsg_level == libc::SOL_UDP
            && control.header.cmsg_type == libc::UDP_GRO;
        let stride = if joined { usize::try_from(control.value).unwrap_or(0) } else { 0 };
        batch.push(address.address(), message.msg_len as usize, stride);
    }
    Ok(received)
}

/// Sends the first of `trains`, as many as one call takes.
pub(super) fn send(socket: &UdpSocket, arena: &SendArena, trains: &[Train]) -> io::Result<usize> {
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
        assert!(mem::size_of::<RawAddress>() >= RawAddress::LEN);
    }
}
