//! The peer's TCP connection: RFC 4571 frames on a real socket, which may stop reading.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};

use ringback_transport::framing::FrameReader;

/// Small, so that whoever stops reading is soon noticed at the other end.
const RECEIVE_BUFFER: u32 = 16 << 10;

pub struct Tcp {
    stream: TcpStream,
    reader: FrameReader,
    /// What the system has not taken yet.
    unsent: Vec<u8>,
    /// Whether it reads.
    pub reads: bool,
    pub closed: bool,
}

impl Tcp {
    pub async fn connect(from: IpAddr, server: SocketAddr) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(RECEIVE_BUFFER).unwrap();
        socket.bind((from, 0).into()).unwrap();
        let stream = socket.connect(server).await.unwrap().into_std().unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, reader: FrameReader::new(), unsent: Vec::new(), reads: true, closed: false }
    }

    pub fn local(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    pub fn send(&mut self, packet: &[u8]) {
        self.send_raw(&(packet.len() as u16).to_be_bytes());
        self.send_raw(packet);
    }

    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
        self.write();
    }

    pub fn write(&mut self) {
        while !self.unsent.is_empty() && !self.closed {
            match self.stream.write(&self.unsent) {
                Ok(len) => drop(self.unsent.drain(..len)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.closed = true,
            }
        }
    }

    /// The next packet.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Option<usize> {
        while self.reads {
            if let Some(packet) = self.reader.next_frame().unwrap() {
                buffer[..packet.len()].copy_from_slice(packet);
                return Some(packet.len());
            }
            match self.stream.read(self.reader.space()) {
                Ok(0) => self.closed = true,
                Ok(len) => {
                    self.reader.filled(len);
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => self.closed = true,
            }
            return None;
        }
        None
    }
}
