//! One system call a datagram, for systems without batches and trains. Slower, with the same behaviour.

use std::io;

use socket2::{SockRef, Socket};
use tokio::net::UdpSocket;

use super::arena::{SendArena, Train};
use super::batch::{MESSAGES, ReceiveBatch};

/// Asks for buffers; the system may give less.
pub(super) fn set_buffers(socket: &Socket, receive: usize, send: usize) -> io::Result<()> {
    socket.set_recv_buffer_size(receive)?;
    socket.set_send_buffer_size(send)
}

/// There are none here.
pub(super) fn enable_trains(_socket: &Socket) -> u16 {
    1
}

/// Nor these: nobody is told any.
pub(super) fn enable_arrival_times(_socket: &Socket) -> io::Result<()> {
    Ok(())
}

/// Receives up to one batch.
pub(super) fn receive(socket: &UdpSocket, batch: &mut ReceiveBatch, _arrival_times: bool) -> io::Result<()> {
    let mut seen = [None; MESSAGES];
    let mut error = None;
    for (slot, seen) in batch.slots().zip(&mut seen) {
        match socket.try_recv_from(slot) {
            Ok(received) => *seen = Some(received),
            Err(refusal) => {
                error = Some(refusal);
                break;
            }
        }
    }
    for (len, from) in seen.into_iter().flatten() {
        batch.push(Some(from), len, 0, None);
    }
    match error {
        Some(error) if batch.is_empty() => Err(error),
        _ => Ok(()),
    }
}

/// Sends the first of `trains`.
pub(super) fn send(socket: &UdpSocket, arena: &SendArena, trains: &[Train]) -> io::Result<usize> {
    // Past tokio's readiness, which would turn away what is sent before the runtime first looked at the socket.
    let socket = SockRef::from(socket);
    let Some(train) = trains.first() else { return Ok(0) };
    for segment in arena.segments(train) {
        socket.send_to(segment, &train.destination.into())?;
    }
    Ok(1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use socket2::{Domain, Type};

    use super::super::flush::{SendReport, TrainHealth, flush};
    use super::*;

    #[tokio::test]
    async fn one_call_a_datagram_carries_the_same() {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        set_buffers(&socket, 1 << 20, 1 << 20).unwrap();
        assert_eq!(enable_trains(&socket), 1);
        enable_arrival_times(&socket).unwrap();
        let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();

        let mut arena = SendArena::default();
        for len in [300, 300, 20] {
            arena.reserve(300).unwrap();
            arena.commit(len, receiver.local_addr().unwrap());
        }
        let report = flush(&mut arena, &TrainHealth::new(1), &mut |arena, trains| send(&sender, arena, trains));
        assert_eq!(report, SendReport { sent: 3, dropped: 0, trains: 3 });

        let mut seen = Vec::new();
        let mut batch = ReceiveBatch::new();
        while seen.len() < 3 {
            tokio::time::timeout(Duration::from_secs(5), receiver.readable()).await.unwrap().unwrap();
            batch.clear();
            if receive(&receiver, &mut batch, false).is_ok() {
                seen.extend(batch.datagrams().map(|(from, datagram)| (from, datagram.len())));
            }
        }
        let from = sender.local_addr().unwrap();
        assert_eq!(seen, [(from, 300), (from, 300), (from, 20)]);
    }
}
